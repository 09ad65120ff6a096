"""Run folders: one JSON and one safetensors file a record, never pickles.

Files are written whole or not at all.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from vvi import config
from vvi.runtime import atomic, paths


@dataclass(frozen=True)
class Record:
    """What a run left."""

    config: config.RunConfig
    #: Numeric versions of what made it.
    versions: Mapping[str, int]
    #: Where it ran: versions of libraries, device, processor, git commit.
    environment: Mapping[str, Any]
    #: Losses and learning rate at every step, by name.
    history: Mapping[str, list[float]]
    #: Direction -> name -> number in 0..1.
    scores: Mapping[str, Any]
    #: How long each part took.
    seconds: Mapping[str, float]
    #: Name -> fields of a `probes.Score`.
    probes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    #: What figures draw, by name.
    arrays: Mapping[str, np.ndarray] = field(repr=False, default_factory=dict)
    #: Which data: name, layout, digest, and what was mended or left out.
    data: Mapping[str, Any] = field(default_factory=dict)


def save_record(record: Record, folder: Path, weights: bytes | None = None) -> Path:
    """Write a record into `<folder>/<hash>/`.

    The files are moved into place whole and in the order weights, arrays, record: a
    folder without record.json holds no record.

    Args:
        record: what is written.
        folder: of all records.
        weights: content of model.safetensors, where it is kept.

    Returns:
        The folder of the record.
    """
    files = {} if weights is None else {"model.safetensors": weights}
    arrays = sorted(record.arrays.items())
    files["arrays.safetensors"] = save({k: np.ascontiguousarray(v) for k, v in arrays})
    files["record.json"] = (_lines(_content(record)) + "\n").encode()
    target = folder / record.config.hash
    atomic.write_all(target, files)
    return target


def _content(record: Record) -> dict[str, Any]:
    """Return what record.json holds; losses have five digits."""
    names = ("versions", "environment", "scores", "seconds", "probes")
    content = {name: dict(getattr(record, name)) for name in names}
    if record.data:
        content["data"] = dict(record.data)
    content["config"] = json.loads(record.config.to_json())
    content["history"] = {k: _five_digits(row) for k, row in record.history.items()}
    return content


def _five_digits(values: list[float]) -> list[float]:
    return [float(f"{value:.5g}") for value in values]


def load_record(folder: Path) -> Record:
    """Read a record folder.

    Raises:
        ValueError: a file is damaged, or was changed by hand; the message names it.
    """
    file = folder / "record.json"
    try:
        content = json.loads(file.read_text())
        settings = config.from_json(json.dumps(content["config"]))
        parts = [_part(content, name, kind) for name, kind in _PARTS.items()]
        data = _part({"data": {}} | content, "data", object)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        why = f"it has no {error}" if isinstance(error, KeyError) else error
        raise ValueError(f"{file} is no record of this version: {why}") from error
    if settings.hash != folder.name:
        raise ValueError(
            f"{file} was changed by hand: its config hashes to {settings.hash}"
        )
    try:
        arrays = load_file(folder / "arrays.safetensors")
        return Record(settings, *parts, arrays, data)
    except SafetensorError as error:
        raise ValueError(
            f"{folder / 'arrays.safetensors'} is damaged ({error}): delete {folder} "
            "and run it again"
        ) from error


#: Entry of record.json -> of what kind its values by name are.
_PARTS = {
    "versions": Real,
    "environment": object,
    "history": list,
    "scores": dict,
    "seconds": Real,
    "probes": dict,
}


def _part(content: Mapping[str, Any], name: str, kind: type) -> dict[str, Any]:
    values = content[name]
    if not isinstance(values, dict) or not _all_are(kind, values):
        raise ValueError(f"{name} does not hold {kind.__name__} values by name")
    return values


def _all_are(kind: type, values: Mapping[str, Any]) -> bool:
    return all(isinstance(value, kind) for value in values.values())


def current(folder: Path, versions: Mapping[str, int]) -> Record | None:
    """Return the record of a folder when there is one and it is of these versions."""
    if not (folder / "record.json").is_file():
        return None
    record = load_record(folder)
    return record if is_current(record, versions) else None


def is_current(record: Record, versions: Mapping[str, int]) -> bool:
    """Return whether a record was made by these versions.

    A part that had no number yet when the record was made counts as in its first.
    """
    return dict.fromkeys(versions, 1) | dict(record.versions) == dict(versions)


def find(
    settings: config.RunConfig, versions: Mapping[str, int]
) -> tuple[Record | None, list[str]]:
    """Find the stored record of a config, under `$VVI_RUNS`, then `book/records`.

    Args:
        settings: of the run.
        versions: of the present code.

    Returns:
        The record, and notes on stale ones, which are never used.
    """
    notes = []
    for folder in (paths.runs() / settings.hash, paths.records() / settings.hash):
        record = current(folder, versions)
        if record:
            return record, notes
        if (folder / "record.json").is_file():
            old = dict(load_record(folder).versions)
            notes.append(
                f"{folder} is stale: made by {old}, this code is {dict(versions)}"
            )
    return None, notes


@cache
def environment(device: str = "cpu") -> dict[str, Any]:
    """Return where a run happens: versions, device, processor, git commit."""
    packages = ("torch", "torchvision", "numpy", "lightning-fabric")
    facts: dict[str, Any] = {name: version(name) for name in packages}
    facts["threads"] = _threads()
    facts["python"] = platform.python_version()
    facts["device"] = device
    facts["processor"] = _processor()
    facts["commit"] = paths.commit()
    return facts


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _processor() -> str:
    """Return how many processors of which kind.

    Family and model tell generations of one name apart.
    """
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    count, first = 0, {}
    for line in lines:
        name, _, value = (part.strip() for part in line.partition(":"))
        count += name == "model name"
        first.setdefault(name, value)
    kind = first.get("model name", platform.machine())
    if {"cpu family", "model"} <= first.keys():
        kind += f" ({first['cpu family']}/{first['model']})"
    return f"{count or os.cpu_count()} x {kind}"


def _lines(content: Mapping[str, Any]) -> str:
    """Write one line for each entry, so that a diff of a record stays readable."""
    entries = [
        f"{json.dumps(name)}: {json.dumps(value, sort_keys=True)}"
        for name, value in sorted(content.items())
    ]
    return "{\n" + ",\n".join(entries) + "\n}"
