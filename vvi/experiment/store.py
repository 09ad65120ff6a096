"""Run folders: one JSON and one safetensors file a record, never pickles.

Files are written whole or not at all. The arrays are packed by xz, which halves their
size. The history of a run lies among them, and record.json names its terms. Older
records have arrays that are not packed, or the history as numbers in record.json, and
are read as well.
"""

from __future__ import annotations

import json
import lzma
import os
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib.metadata import version
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from vvi import config
from vvi.runtime import atomic, cpu, paths

#: What the folder of a record is called.
HASH = re.compile(r"[0-9a-f]{12}")
#: File of the arrays: `xz -d` makes a safetensors file of it.
ARRAYS = "arrays.safetensors.xz"
#: The same of an older record, not packed.
PLAIN_ARRAYS = "arrays.safetensors"
#: How xz packs them. Most numbers take four bytes: which of the four a byte is tells
#: more about it (`lp`) than the byte before it does (`lc`).
PACKING = [{"id": lzma.FILTER_LZMA2, "preset": 6, "lc": 0, "lp": 2}]
#: How the names of arrays begin that hold a term of the history.
HISTORY = "history/"
#: How the names of arrays end that hold average precision, one number a query.
AP = "/ap"
#: Bits of a number of the history: three digits, as many as a curve shows.
HISTORY_BITS = 12
#: Bits of an average precision: four digits.
AP_BITS = 15


@dataclass(frozen=True)
class Record:
    """What a run left."""

    config: config.RunConfig
    #: Numeric versions of what made it.
    versions: Mapping[str, int]
    #: Where it ran: versions of libraries, device, processor, git commit.
    environment: Mapping[str, Any]
    #: Losses and learning rate at every step, by name, with three digits once stored.
    #: The copies in `book/records` have no rate, as `optim.rate` gives it.
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

    The history is rounded to three digits, average precision to four. The files are
    moved into place whole and in the order weights, arrays, record: a folder without
    record.json holds no record.

    Args:
        record: what is written.
        folder: of all records.
        weights: content of model.safetensors, where it is kept.

    Returns:
        The folder of the record.
    """
    files = {} if weights is None else {"model.safetensors": weights}
    files[ARRAYS] = lzma.compress(save(_stored_arrays(record)), filters=PACKING)
    files["record.json"] = (_lines(_content(record)) + "\n").encode()
    target = folder / record.config.hash
    atomic.write_all(target, files)
    (target / PLAIN_ARRAYS).unlink(missing_ok=True)
    return target


def _stored_arrays(record: Record) -> dict[str, np.ndarray]:
    """Return what the file of the arrays holds, by name in order."""
    arrays = dict(record.arrays)
    for name, values in record.arrays.items():
        if name.endswith(AP):
            arrays[name] = _rounded(values, AP_BITS)
    for term, values in record.history.items():
        arrays[HISTORY + term] = _rounded(values, HISTORY_BITS)
    return {name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}


def _content(record: Record) -> dict[str, Any]:
    """Return what record.json holds: of the history no more than its names."""
    names = ("versions", "environment", "scores", "seconds", "probes")
    content = {name: dict(getattr(record, name)) for name in names}
    if record.data:
        content["data"] = dict(record.data)
    content["config"] = json.loads(record.config.to_json())
    content["history"] = list(record.history)
    return content


def _rounded(values: Sequence[float], bits: int) -> np.ndarray:
    """Round to some bits, as float32: noise behind them cannot be compressed."""
    mantissa, exponent = np.frexp(np.asarray(values, np.float64))
    rounded = np.ldexp(np.round(np.ldexp(mantissa, bits)), exponent - bits)
    return rounded.astype(np.float32)


def load_record(folder: Path) -> Record:
    """Read a record folder.

    A folder that is named as the hash of a config holds that config. One that somebody
    copied or renamed may have any other name.

    Args:
        folder: of the record, or a link to it.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged, or was changed by hand. The message names it.
    """
    file = folder / "record.json"
    try:
        content = json.loads(file.read_text())
        settings = config.from_json(json.dumps(content["config"]))
        parts = {name: _part(content, name, kind) for name, kind in _PARTS.items()}
        parts["data"] = _part({"data": {}} | content, "data", object)
        terms = _terms(content)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else error
        raise ValueError(
            f"{file} is no record of this version: {reason}: move {folder} away and "
            "run it again"
        ) from error
    name = folder.resolve().name
    if settings.hash != name and HASH.fullmatch(name):
        raise ValueError(
            f"{file} was changed by hand, its config hashes to {settings.hash}: "
            f"put it back as it was, or move {folder} away and run it again"
        )
    arrays = _load_arrays(_arrays_file(folder))
    history = _history(terms, arrays, folder)
    shown = {k: v for k, v in arrays.items() if not k.startswith(HISTORY)}
    return Record(settings, history=history, arrays=shown, **parts)


def _cure(folder: Path) -> str:
    return f"delete {folder} and run it again"


#: Entry of record.json -> of what kind its values by name are.
_PARTS = {
    "versions": Real,
    "environment": object,
    "scores": dict,
    "seconds": Real,
    "probes": dict,
}


def _part(content: Mapping[str, Any], name: str, kind: type) -> dict[str, Any]:
    """Return an entry of record.json that holds values of a kind by name."""
    values = content[name]
    if not isinstance(values, dict) or not _all_are(kind, values.values()):
        raise ValueError(f"{name} does not hold {kind.__name__} values by name")
    return values


def _all_are(kind: type, values: Iterable[Any]) -> bool:
    return all(isinstance(value, kind) for value in values)


def _terms(content: Mapping[str, Any]) -> list[str] | dict[str, list[float]]:
    """Return the terms of a history by name, with values in an old record."""
    terms = content["history"]
    if isinstance(terms, list) and _all_are(str, terms):
        return terms
    return _part(content, "history", list)


def _arrays_file(folder: Path) -> Path:
    """Return where the arrays of a record are: packed, or not in an older one."""
    plain = folder / PLAIN_ARRAYS
    is_older = plain.is_file() and not (folder / ARRAYS).is_file()
    return plain if is_older else folder / ARRAYS


def _load_arrays(file: Path) -> dict[str, np.ndarray]:
    """Read the arrays of a record, the history among them, as read-only arrays.

    Raises:
        FileNotFoundError: it is missing.
        ValueError: it is damaged.
    """
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing: {_cure(file.parent)}")
    state = file.stat()
    return dict(_unpacked(file, state.st_mtime_ns, state.st_size))


@lru_cache(maxsize=64)  # a page asks first whether a record is there, then for it
def _unpacked(file: Path, changed: int, size: int) -> dict[str, np.ndarray]:
    """Read the arrays of a record, again when its file changed."""
    content = file.read_bytes()
    try:
        arrays = load(lzma.decompress(content) if file.name == ARRAYS else content)
    except (SafetensorError, lzma.LZMAError) as error:
        raise ValueError(
            f"{file} is damaged ({error}): {_cure(file.parent)}"
        ) from error
    for values in arrays.values():
        values.flags.writeable = False
    return arrays


def _history(
    terms: list[str] | dict[str, list[float]],
    arrays: Mapping[str, np.ndarray],
    folder: Path,
) -> dict[str, list[float]]:
    """Return the history of a record by term.

    Args:
        terms: names whose values are arrays, or an old history with its values.
        arrays: of the record.
        folder: of the record, for the message.
    """
    if isinstance(terms, dict):
        return terms
    missing = [name for name in terms if HISTORY + name not in arrays]
    if missing:
        raise ValueError(
            f"{_arrays_file(folder)} lacks the history of {missing[0]!r}: "
            f"{_cure(folder)}"
        )
    return {name: arrays[HISTORY + name].tolist() for name in terms}


def is_old_format(folder: Path) -> bool:
    """Return whether a folder has plain arrays, or the history in record.json."""
    history = json.loads((folder / "record.json").read_text())["history"]
    return isinstance(history, dict) or _arrays_file(folder).name == PLAIN_ARRAYS


def rewrite_old(folder: Path) -> list[str]:
    """Write every record of an old format anew, in the present one.

    Args:
        folder: of all records.

    Returns:
        Names of the records that were rewritten.
    """
    names = []
    for file in sorted(folder.glob("*/record.json")):
        if is_old_format(file.parent):
            save_record(load_record(file.parent), folder)
            names.append(file.parent.name)
    return names


def current(folder: Path, versions: Mapping[str, int]) -> Record | None:
    """Return the record of a folder, if there is one that these versions made."""
    if not (folder / "record.json").is_file():
        return None
    record = load_record(folder)
    return record if is_current(record, versions) else None


def is_current(record: Record, versions: Mapping[str, int]) -> bool:
    """Return whether a record was made by these versions.

    A part that had no number yet when the record was made counts as in its first.
    """
    return dict.fromkeys(versions, 1) | dict(record.versions) == dict(versions)


def plain_id(listed: str) -> str:
    """Return the id of a run that may be written as `vvi runs` lists it.

    >>> plain_id("records/9EE3f37a9fdf"), plain_id("6e45")
    ('9ee3f37a9fdf', '6e45')
    """
    for folder in ("runs", "records", paths.runs().name):
        listed = listed.removeprefix(f"{folder}/")
    return listed.lower()


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
    limited = f", limited to {cpu.limit()}" if cpu.limit() else ""
    return f"{count or os.cpu_count()} x {kind}{limited}"


def _lines(content: Mapping[str, Any]) -> str:
    """Write one line for each entry, so that a diff of a record stays readable."""
    entries = [
        f"{json.dumps(name)}: {json.dumps(value, sort_keys=True)}"
        for name, value in sorted(content.items())
    ]
    return "{\n" + ",\n".join(entries) + "\n}"
