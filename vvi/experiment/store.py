"""Run folders: one JSON and one safetensors file a record, written atomically, never pickles."""

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
    """What a run left: its config, where and when it ran, numbers, and arrays for figures."""

    config: config.RunConfig
    versions: Mapping[str, int]
    environment: Mapping[str, Any]
    history: Mapping[str, list[float]]
    scores: Mapping[str, Any]
    seconds: Mapping[str, float]
    probes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(repr=False, default_factory=dict)
    #: Which data: name, layout, digest, and what was mended or left out.
    data: Mapping[str, Any] = field(default_factory=dict)


def save_record(record: Record, folder: Path, weights: bytes | None = None) -> Path:
    """Write `<folder>/<hash>/`: model.safetensors where `weights` are given, arrays.safetensors, record.json, each moved into place whole and in this order; a folder without
    record.json holds no record."""
    here = folder / record.config.hash
    files = {"model.safetensors": weights} if weights is not None else {}
    files["arrays.safetensors"] = save(
        {k: np.ascontiguousarray(v) for k, v in sorted(record.arrays.items())}
    )
    content = {
        k: dict(getattr(record, k))
        for k in ("versions", "environment", "scores", "seconds", "probes")
    }
    content |= {"data": dict(record.data)} if record.data else {}
    content |= {
        "config": json.loads(record.config.to_json()),
        "history": {
            k: [float(f"{x:.5g}") for x in v] for k, v in record.history.items()
        },
    }
    atomic.write_all(here, files | {"record.json": (_lines(content) + "\n").encode()})
    return here


def load_record(folder: Path) -> Record:
    """Read a record folder; ValueError naming the file when it is damaged."""
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
            f"{folder / 'arrays.safetensors'} is damaged ({error}): delete {folder} and run it again"
        ) from error


_PARTS = {
    "versions": Real,
    "environment": object,
    "history": list,
    "scores": dict,
    "seconds": Real,
    "probes": dict,
}  # of what kind the values by name are


def _part(content: Mapping[str, Any], name: str, kind: type) -> dict[str, Any]:
    if not isinstance(content[name], dict) or not all(
        isinstance(value, kind) for value in content[name].values()
    ):
        raise ValueError(f"{name} does not hold {kind.__name__} values by name")
    return content[name]


def current(folder: Path, versions: Mapping[str, int]) -> Record | None:
    """The record of a folder when there is one and it is of these versions."""
    if not (folder / "record.json").is_file():
        return None
    record = load_record(folder)
    return record if is_current(record, versions) else None


def is_current(record: Record, versions: Mapping[str, int]) -> bool:
    """Whether a record was made by these versions; a part that had no number yet when it was made counts as in its first."""
    return dict.fromkeys(versions, 1) | dict(record.versions) == dict(versions)


def find(
    settings: config.RunConfig, versions: Mapping[str, int]
) -> tuple[Record | None, list[str]]:
    """The stored record of a config, first under `$VVI_RUNS`, then `book/records`; and the notes on stale ones, which are never used."""
    notes = []
    for folder in (paths.runs() / settings.hash, paths.records() / settings.hash):
        if record := current(folder, versions):
            return record, notes
        if (folder / "record.json").is_file():
            notes.append(
                f"{folder} is stale: made by {dict(load_record(folder).versions)}, this code is {dict(versions)}"
            )
    return None, notes


@cache
def environment(device: str = "cpu") -> dict[str, Any]:
    """Where a run happens: versions, device, processor, git commit."""
    found = {
        name: version(name)
        for name in ("torch", "torchvision", "numpy", "lightning-fabric")
    }
    found["threads"] = _threads()
    return found | {
        "python": platform.python_version(),
        "device": device,
        "processor": _processor(),
        "commit": paths.commit(),
    }


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _processor() -> str:
    """Return how many processors of which kind; family and model tell generations of one name apart."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    pairs = [
        [part.strip() for part in line.split(":", 1)] for line in lines if ":" in line
    ]
    count = sum(name == "model name" for name, _ in pairs)
    first = dict(reversed(pairs))
    kind = first.get("model name", platform.machine())
    if {"cpu family", "model"} <= first.keys():
        kind += f" ({first['cpu family']}/{first['model']})"
    return f"{count or os.cpu_count()} x {kind}"


def _lines(content: Mapping[str, Any]) -> str:
    # one line per top-level entry: a record's diff stays readable and its file small
    return (
        "{\n"
        + ",\n".join(
            f"{json.dumps(k)}: {json.dumps(v, sort_keys=True)}"
            for k, v in sorted(content.items())
        )
        + "\n}"
    )
