"""Digests of data sets, so that results and caches belong to pixels.

A digest covers the lists and the content of every listed image, and neither names of
folders nor times. Copies of a folder share their results, and a folder with a changed
image shares nothing with its former state. Only the first reading of all images takes a
while. After that, a stamp of sizes and times shows whether any file was changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from vvi.data import buptcampus, regdb, sysu, vcm
from vvi.data.faults import Survey
from vvi.data.images import ARRAYS, existing_file
from vvi.runtime import atomic, collector
from vvi.types import DataError, Tracklet

#: Number of files from which a digest is stored, together with their stamp.
LONG = 20_000
#: Seconds for which a stamp that took one second to make is trusted.
PATIENCE = 20.0
#: Seconds: a stamp that takes less is made anew every time.
QUICK = 0.25
#: State of a file that is not there.
MISSING = "missing"
#: Files that a thread reads at a time.
CHUNK = 256


@dataclass(frozen=True)
class Listing:
    """Everything that a data set lists, whatever the options of its reader."""

    #: List files.
    files: tuple[Path, ...]
    tracklets: tuple[Tracklet, ...]

    @property
    def paths(self) -> list[Path]:
        """Every listed path, in the order of the lists."""
        return list(itertools.chain.from_iterable(t.paths for t in self.tracklets))

    @property
    def images(self) -> list[Path]:
        """Every image once, in the order of the lists."""
        return list(dict.fromkeys(self.paths))


def listing(root: Path, layout: str) -> Listing:
    """List a whole data set.

    Raises:
        DataError: no option of the reader could make the set readable.
    """
    with collector.paused():
        surveys, files = _SURVEYS[layout](root)
        if all(survey.faults.errors for survey in surveys):
            surveys[0].faults.raise_first()
        tracklets = []
        for survey in surveys:
            tracklets += survey.tracklets()
    return Listing(tuple(p for p in files if p.is_file()), tuple(tracklets))


#: (root, layout) -> the time until which a stamp is trusted, and the stamp.
_SEEN: dict[tuple[Path, str], tuple[float, str]] = {}
#: (root, layout) -> listed files that were not there at the last stamp.
_MISSING: dict[tuple[Path, str], list[str]] = {}


def stamp(root: Path, layout: str) -> str:
    """Return a short digest of the listed files' names, sizes and times.

    Where that takes long, the last stamp is trusted for a while.
    """
    key = (root.absolute(), layout)
    if key in _SEEN and time.monotonic() < _SEEN[key][0]:
        return _SEEN[key][1]
    start = time.monotonic()
    listed = listing(root, layout)
    images = dict.fromkeys(map(str, map(_file, listed.paths)))
    value, _MISSING[key] = _stamp_of(itertools.chain(map(str, listed.files), images))
    duration = time.monotonic() - start
    trusted = duration > QUICK and not _MISSING[key]  # what is missing may be put back
    patience = PATIENCE * duration if trusted else 0.0
    _SEEN[key] = (time.monotonic() + patience, value)
    return value


def of_set(root: Path, layout: str, kept: Path) -> str:
    """Return the digest of a data set: eight hexadecimal digits.

    Args:
        root: folder of the set.
        layout: of the set.
        kept: folder in which the digest of a large set is stored.
    """
    listed = listing(root, layout)
    parts = [layout]
    for file in listed.files:
        parts.append(hashlib.sha256(file.read_bytes()).hexdigest())
    for t in listed.tracklets:
        parts.append(f"{t.identity} {t.camera} {t.modality} {len(t)}")
    parts.append(of_images(listed.paths, kept))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:8]


def of_images(paths: Sequence[Path], kept: Path) -> str:
    """Return the digest of the content of images, in their order.

    Args:
        paths: image files, or rows of arrays, `<file>.npy/<row>`.
        kept: folder in which the digest of many files is stored, with their stamp.
    """
    files = list(dict.fromkeys(map(_file, paths)))
    number = {path: n for n, path in enumerate(files)}
    order = hashlib.sha256()
    for path in paths:
        row = path.name if _is_row(path) else ""
        order.update(f"{number[_file(path)]} {row}\n".encode())
    content = _remembered(files, kept)
    return hashlib.sha256((order.hexdigest() + content).encode()).hexdigest()


def of_files(paths: Iterable[Path], kept: Path) -> str:
    """Return the digest of the names and content of files, in their order."""
    paths = list(paths)
    names = "\n".join(map(str, paths))
    return hashlib.sha256((names + _remembered(paths, kept)).encode()).hexdigest()


def _file(path: Path) -> Path:
    return path.parent if _is_row(path) else path


def _is_row(path: Path) -> bool:
    """Whether a path is a row of an array. The text is checked first, for speed."""
    return f"{ARRAYS}{os.sep}" in str(path) and path.parent.suffix == ARRAYS


def _remembered(files: list[Path], kept: Path) -> str:
    """Return the digest of the contents of files, stored for many untouched ones."""
    if len(files) < LONG:
        return _contents(files)
    name = hashlib.sha256("\n".join(map(str, files)).encode()).hexdigest()[:16]
    memory, current = kept / "digests" / f"{name}.json", stamp_of(files)
    with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
        stored = json.loads(memory.read_text())
        if stored["stamp"] == current:
            return stored["digest"]
    value = _contents(files)
    with contextlib.suppress(atomic.WriteError):  # then it is made again next time
        atomic.write(memory, json.dumps({"stamp": current, "digest": value}).encode())
    return value


def _contents(files: list[Path]) -> str:
    """Return one digest of the contents of files, read in threads."""
    from tqdm import tqdm

    chunks = [files[start : start + CHUNK] for start in range(0, len(files), CHUNK)]
    total = hashlib.sha256()
    bar = tqdm(total=len(files), desc="reading all images", unit="image", delay=3)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool, bar:
        for chunk, hashes in zip(chunks, pool.map(_hashes, chunks), strict=True):
            total.update(hashes)
            bar.update(len(chunk))
    return total.hexdigest()


def _hashes(files: list[Path]) -> bytes:
    return b"".join(map(_hash, files))


def _hash(path: Path) -> bytes:
    """Return the digest of one file, zeros where it cannot be read."""
    try:
        with open(existing_file(path), "rb", buffering=0) as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return bytes(32)


def stamp_of(files: Iterable[Path]) -> str:
    """Return a short digest of the names, sizes and times of files."""
    return _stamp_of(map(str, files))[0]


def _stamp_of(files: Iterable[str]) -> tuple[str, list[str]]:
    """Return the stamp of files, and those that are not there."""
    value, missing = hashlib.sha256(), []
    for path in files:
        state = _state(path)
        if state == MISSING:
            missing.append(path)
        value.update(f"{path} {state}\n".encode())
    return value.hexdigest()[:16], missing


def refuse_missing(root: Path, layout: str) -> None:
    """Refuse a set before hours of training end at an image that is not there.

    Raises:
        DataError: listed files were missing when the set was last stamped.
    """
    missing = _MISSING.get((root.absolute(), layout))
    if missing:
        raise DataError(
            f"{root}: listed files that do not exist: {len(missing)}, first "
            f"{missing[0]}; put them back or take them off the lists (`vvi check "
            f"{root}` names each)"
        )


def _state(path: str) -> str:
    """Return size and times of a file. The change time cannot be set back by tools."""
    try:
        stat = os.stat(path)
    except OSError:
        other = existing_file(Path(path))
        if str(other) == path:
            return MISSING
        stat = os.stat(other)
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}"


def _of_vcm(root: Path) -> tuple[list[Survey], Iterator[Path]]:
    lists = root / "info" if (root / "info").is_dir() else root
    part = "all" if (lists / "track_train_info.txt").is_file() else "test"
    survey = vcm.survey(root, min_seq_len=1, strict=False, part=part)
    return [survey], (lists / name for name in vcm.LISTS)


def _of_sysu(root: Path) -> tuple[list[Survey], Iterator[Path]]:
    lists = sysu.data_folder(root) / "exp"
    names = []
    for part in sysu.PARTS:
        names += [f"{part}_id.txt", f"{part}_id.mat"]
    return [sysu.survey(root, strict=False)], (lists / name for name in names)


def _of_regdb(root: Path) -> tuple[list[Survey], Iterator[Path]]:
    trials = regdb.listed_trials(root)
    surveys = [regdb.survey(root, k, strict=False) for k in trials]
    return surveys, iter(sorted(root.glob("idx/*_*_*.txt")))


def _of_campus(root: Path) -> tuple[list[Survey], Iterator[Path]]:
    names = (buptcampus.INDEX, *buptcampus.LISTS.values())
    return [buptcampus.survey(root, strict=False)], (root / name for name in names)


_SURVEYS = {
    "hitsz-vcm": _of_vcm,
    "sysu-mm01": _of_sysu,
    "regdb": _of_regdb,
    "buptcampus": _of_campus,
}
