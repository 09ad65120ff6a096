"""Weights that lie beside a record, for pages that need a network in a fresh clone.

They are halved to float16 and cut into files below a megabyte. A network that is filled
with them is close to the trained one and not equal to it, so nothing that is measured
for a table reads them.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from vvi.config import RunConfig
from vvi.experiment import store
from vvi.experiment.trained_network import HALF, WEIGHTS, build
from vvi.methods.base import Method
from vvi.runtime import atomic, paths

#: Bytes of a file, but for its head.
MOST = 900_000


def folder(settings: RunConfig) -> Path:
    """Return where the files of a run lie, if there are any."""
    return paths.records() / settings.hash


def save_half(run: Path) -> list[Path]:
    """Write the weights of a run beside its record in `book/records`.

    Matrices and kernels become float16. Vectors, such as the statistics of a norm, stay
    what they are.

    Args:
        run: the folder of the run, with its weights.

    Returns:
        The files.

    Raises:
        FileNotFoundError: the run has no record in `book/records`, or no weights.
    """
    target = folder(store.load_record(run).config)
    if not (target / "record.json").is_file():
        raise FileNotFoundError(f"{target} holds no record that weights could go with")
    files = {}
    for number, tensors in enumerate(_portions(load_file(run / WEIGHTS))):
        files[HALF.replace("*", str(number))] = save(tensors)
    atomic.write_all(target, files)
    return [target / name for name in files]


def _portions(state: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """Split a state dict into portions of at most `MOST` bytes."""
    portions: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, value in sorted(state.items()):
        value = value.half() if value.dim() > 1 else value
        if size + value.nbytes > MOST and portions[-1]:
            portions.append({})
            size = 0
        portions[-1][name] = value.contiguous()
        size += value.nbytes
    return portions


def load_half(settings: RunConfig, num_ids: int) -> Method | None:
    """Load the network of a run from the weights beside its record.

    Args:
        settings: of the run.
        num_ids: people that it was trained on.

    Returns:
        The network in evaluation mode, or None where the record has no weights.

    Raises:
        ValueError: a file is damaged, or they are of another network.
    """
    files = sorted(folder(settings).glob(HALF))
    if not files:
        return None
    method = build(replace(settings, weights=None), num_ids)
    state: dict[str, Tensor] = {}
    try:
        for file in files:
            state |= load_file(file)
        method.load_state_dict(state)
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise ValueError(
            f"{files[0].parent} does not hold the weights of this run ({reason}): "
            "git checkout brings them back"
        ) from error
    return method.eval()


def main() -> None:
    """Write the weights of some runs beside their records."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("runs", nargs="+", help="ids of runs (vvi runs)")
    for name in parser.parse_args().runs:
        for file in save_half(paths.runs() / name):
            print(f"{file.name}: {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
