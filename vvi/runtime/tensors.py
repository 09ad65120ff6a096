"""Files of tensors: read without executing anything, and taken out of their wrappers.

A network is saved in many ways: as it is, inside a dictionary beside the epoch and the
optimiser, from under `DataParallel` or `DistributedDataParallel` (every name begins
with `module.`), or compiled (`_orig_mod.`). `unwrap` undoes each of them, and refuses
what is not clear rather than guess.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vvi.runtime import validation

if TYPE_CHECKING:
    from torch import Tensor

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "module")
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")
COMPILED = "_orig_mod."  # also inside a name, where only a part was compiled
#: First bytes of a file that is no checkpoint, and what happened to it.
IMPOSTORS = {
    b"<": "is a web page: the download failed, fetch the file again",
    b"version https://git-lfs": "is a pointer of git-lfs: fetch it with git lfs pull",
    b"\x1f\x8b": "is packed by gzip: unpack it by gunzip",
    b"\xfd7zXZ": "is packed by xz: unpack it by xz -d",
    b"\x93NUMPY": "is an array of NumPy: save tensors by name with torch.save",
}
#: How the messages of torch begin that do not say what is wrong.
FOREIGN = ("Weights only load failed", "[enforce fail", "PytorchStreamReader failed")


class CheckpointError(ValueError):
    """A file that does not hold the network. The message names the file or the keys."""


def read(file: str | Path, alone: str | None = None) -> Mapping[str, Any]:
    """Read what a file of torch or safetensors holds, without executing anything.

    Args:
        file: a checkpoint. Its content tells which kind it is, not its name.
        alone: name for a tensor that was saved without one. None refuses it.

    Returns:
        What was saved: tensors by name, or dictionaries around them.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: it is no checkpoint, or asks for code to be run.
    """
    file = validation.at_home(file)
    if not file.is_file():
        raise FileNotFoundError(
            f"there is no checkpoint {file}: get it from the authors' page and give "
            "its path"
        )
    with open(file, "rb") as opened:
        head = opened.read(64)
    for start, what in IMPOSTORS.items():
        if head.lstrip().startswith(start):
            raise CheckpointError(f"{file} {what}")
    content = _read_safetensors(file) if head[8:9] == b"{" else _read_torch(file)
    if alone and hasattr(content, "shape"):
        return {alone: content}
    if not isinstance(content, Mapping):
        kind = type(content).__name__
        raise CheckpointError(f"{file} holds a {kind}, not a dict of tensors")
    return content


def unwrap(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Take tensors by name out of dictionaries and prefixes around them.

    Args:
        content: what `read` returns.

    Returns:
        Name -> tensor, every name without `module.`, `_orig_mod.` and their like.

    Raises:
        CheckpointError: there is no network in it, there are several, or only some
            of the names carry a prefix.

    >>> import torch
    >>> saved = {"state_dict": {"module.fc.weight": torch.zeros(2)}, "epoch": 3}
    >>> list(unwrap(saved))
    ['fc.weight']
    """
    import torch

    wrapped = [k for k in WRAPPERS if isinstance(content.get(k), Mapping)]
    if len(wrapped) > 1:
        several = ", ".join(wrapped)
        raise CheckpointError(f"several networks ({several}): save one of them alone")
    if wrapped:
        return unwrap(content[wrapped[0]])
    named = {k: v for k, v in content.items() if isinstance(k, str)}
    if len(named) < len(content) or not all(map(torch.is_tensor, named.values())):
        odd = [str(k) for k in content if not torch.is_tensor(content[k])]
        raise CheckpointError(f"no tensors by name under {some(odd or list(content))}")
    if not named:
        raise CheckpointError("no tensors by name: it is empty")
    return _without_prefixes(named)


def some(names: list, count: int = 5) -> str:
    """Name the first few of many."""
    shown = ", ".join(map(str, names[:count]))
    return shown + (f" and {len(names) - count} more" if len(names) > count else "")


def _without_prefixes(named: dict[str, Tensor]) -> dict[str, Tensor]:
    plain = {name.replace(COMPILED, ""): tensor for name, tensor in named.items()}
    if len(plain) < len(named):
        raise CheckpointError("two names are one without _orig_mod.: save it again")
    while prefix := next((p for p in PREFIXES if _all_begin(plain, p)), None):
        plain = {name.removeprefix(prefix): value for name, value in plain.items()}
    if wrapped := [name for name in plain if name.startswith("module.")]:
        raise CheckpointError(
            f"{len(wrapped)} of {len(plain)} names begin with 'module.' "
            f"({some(wrapped, 2)}): save the network inside the wrapper alone"
        )
    return plain


def _all_begin(named: Mapping[str, Any], prefix: str) -> bool:
    return all(name.startswith(prefix) and name != prefix for name in named)


def _read_safetensors(file: Path) -> Mapping[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except SafetensorError as error:
        raise CheckpointError(f"{file} is damaged: {error}") from error


def _read_torch(file: Path) -> Any:
    import torch

    scalar = np._core.multiarray.scalar  # stored scores, also those of NumPy 1
    known = [scalar, (scalar, "numpy.core.multiarray.scalar")]
    known += [np.dtype, type(np.dtype(np.float64))]
    try:
        # opened here, for torch goes by the name of a file
        with torch.serialization.safe_globals(known), open(file, "rb") as opened:
            return torch.load(opened, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle, zip and runtime errors here
        raise CheckpointError(
            f"{file} is no checkpoint that can be read without executing what it "
            f"holds: {_reason(error)}"
        ) from error


def _reason(error: Exception) -> str:
    """Return what torch refused to call, else how its message begins, in one line."""
    text = str(error)
    if refused := re.search(r"GLOBAL (\S+)", text):
        cure = "save its tensors alone, torch.save(net.state_dict(), FILE)"
        return f"it asks for {refused[1]}: {cure}"
    if text.startswith(FOREIGN):
        return "it is damaged, or torch.save did not write it"
    return text.partition("\n")[0].partition(". ")[0] or type(error).__name__
