"""A trained network: from a run, from a file, or as its authors released it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from vvi import methods, weights
from vvi.config import RunConfig, from_json, preset
from vvi.experiment import store
from vvi.methods.base import Method
from vvi.runtime import paths
from vvi.runtime.tensors import CheckpointError, read, unwrap

WEIGHTS, RECORD = "model.safetensors", "record.json"
CONFIG = "config"  # what a file of weights says of the run that made it


@dataclass(frozen=True)
class Trained:
    """A network in evaluation mode, and what it was made with."""

    #: The run: method, size and number of frames, data that it was trained on.
    settings: RunConfig
    #: What embeds clips.
    method: Method
    #: The file of its weights.
    source: Path

    @property
    def name(self) -> str:
        """The method, and the digest of its weights: who made a file of features."""
        digest = hashlib.sha256(self.source.read_bytes()).hexdigest()[:12]
        return f"{self.settings.method} {digest}"


def load_run_or_file(
    source: str | Path | RunConfig, settings: RunConfig | None = None
) -> Trained:
    """Load a trained network.

    Args:
        source: the id of a run, or how it begins (`vvi runs`); its folder; a file of
            weights; or the config of a run.
        settings: what was trained, for a file that does not say it. A file that this
            package wrote does, and so does a checkpoint of the authors.

    Returns:
        The network on the CPU, in evaluation mode.

    Raises:
        FileNotFoundError: there is no such run, folder or file, or the run's weights
            are not on this machine.
        ValueError: the file says not what it holds, or does not fit `settings`.
    """
    if isinstance(source, RunConfig):
        file = _weights_of(paths.runs() / source.hash)
        return Trained(source, _filled(source, unwrap(read(file)), file), file)
    path = Path(source).expanduser()
    if not path.exists():
        path = _run_folder(str(source))
    file = _weights_of(path) if path.is_dir() else path
    content = read(file)
    known = _config_of(file)
    if known is None:
        released = _released(file, content, refuse=settings is None)
        if released:
            return released
        known = settings
    return Trained(known, _filled(known, unwrap(content), file), file)


def _run_folder(name: str) -> Path:
    """The folder of a run by its id or how that begins."""
    runs = paths.runs()
    short = len(name) < 4 or not set(name) <= set("0123456789abcdef")
    found = [] if short else sorted(runs.glob(f"{name}*/{RECORD}"))
    if len(found) > 1:
        several = ", ".join(file.parent.name for file in found)
        raise ValueError(f"several runs begin with {name}: {several}")
    if found:
        return found[0].parent
    if not short and list(paths.records().glob(f"{name}*/{RECORD}")):
        raise FileNotFoundError(
            f"run {name} is a stored result without weights: train it again with "
            "vvi train --retrain"
        )
    raise FileNotFoundError(
        f"{name} is no run of {runs}, no folder and no file: vvi runs lists runs"
    )


def _weights_of(folder: Path) -> Path:
    file = folder / WEIGHTS
    if not file.is_file():
        raise FileNotFoundError(
            f"{file} does not exist: the weights of this run are not on this machine; "
            "train it again with vvi train --retrain"
        )
    return file


def _config_of(file: Path) -> RunConfig | None:
    """What was trained: from the head of the file, else the record beside it."""
    with open(file, "rb") as opened:
        if opened.read(9)[8:] == b"{":
            with safe_open(file, "pt") as tensors:
                said = (tensors.metadata() or {}).get(CONFIG)
            if said:
                return from_json(said)
    if file.name == WEIGHTS and (file.parent / RECORD).is_file():
        return store.load_record(file.parent).config
    return None


def _released(file: Path, content: Mapping, refuse: bool) -> Trained | None:
    """A checkpoint of authors, by the method whose released names it has."""
    reasons = []
    for name in methods.names():
        if not hasattr(methods.module(name), "RELEASED_KEYS"):
            continue
        try:
            method = weights.load_released(name, content)
        except CheckpointError as error:
            reasons.append(f"{name}, {str(error)[:60]}")
            continue
        own = preset("paper", name, variant="released", frames=method.config.frames)
        return Trained(own, method, file)
    if refuse:
        raise CheckpointError(
            f"{file} does not say which network it holds, and is no released one "
            f"({'; '.join(reasons)}): say --method and --preset as it was trained"
        )
    return None


def _filled(settings: RunConfig, tensors: Mapping[str, Tensor], file: Path) -> Method:
    """The method of a run with its weights; a file counts the identities itself."""
    options = {
        "backbone": settings.backbone,
        "weights": None,
        "frames": settings.data.frames,
        **settings.options,
    }
    one = methods.load(settings.method, 1, **options).state_dict()
    method = methods.load(settings.method, _identities(one, tensors), **options)
    try:
        weights.fill(method, tensors)
    except CheckpointError as error:
        raise CheckpointError(f"{file} is no {settings.method}: {error}") from error
    return method.to(memory_format=torch.channels_last).eval()


def _identities(one: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> int:
    """How many identities a file tells apart, beside a method that tells one."""
    counts = set()
    for name, own in one.items():
        theirs = tensors.get(name)
        if theirs is None or theirs.shape == own.shape or not own.ndim:
            continue
        if theirs.shape[1:] == own.shape[1:]:
            counts.add(theirs.shape[0] // own.shape[0])
    return counts.pop() if len(counts) == 1 else 1
