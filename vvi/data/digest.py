"""A digest of what a data set holds, so that results and caches belong to pixels.

It covers the lists and the content of every listed image, and neither names of folders
nor times: copies of one folder share their results, and a folder of which any image
changed shares nothing with what it was. Reading all images takes a while once; after
that a stamp of sizes and times says whether any file was touched since.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from vvi.data import buptcampus, regdb, sysu, vcm
from vvi.data.faults import Survey
from vvi.data.images import ARRAYS, located
from vvi.runtime import atomic
from vvi.types import Tracklet

LONG = 20_000  # files from which a digest is kept on the disk, with the stamp it is of
PATIENCE = 20.0  # a stamp that took a second is believed for so many seconds
QUICK = 0.25  # seconds; what takes less is looked at anew every time
CHUNK = 256


@dataclass(frozen=True)
class Listing:
    """Everything that a data set lists, whatever options it is then read with."""

    #: Lists, as they lie on the disk.
    files: tuple[Path, ...]
    tracklets: tuple[Tracklet, ...]

    @property
    def images(self) -> list[Path]:
        """Every image once, in the order of the lists."""
        return list(dict.fromkeys(p for t in self.tracklets for p in t.paths))


def listing(root: Path, layout: str) -> Listing:
    """List a whole data set; `DataError` on what no option could make readable."""
    surveys, files = _SURVEYS[layout](root)
    if all(survey.faults.errors for survey in surveys):
        surveys[0].faults.raise_first()
    listed = (t for s in surveys for part in s.listed.values() for t in part)
    return Listing(tuple(p for p in files if p.is_file()), tuple(listed))


def stamp(root: Path, layout: str) -> str:
    """Say in few letters which files a set lists, and their sizes and times.

    Where looking at all of them takes long, what was seen is believed for a while.
    """
    key = (root.absolute(), layout)
    if key in _SEEN and time.monotonic() < _SEEN[key][0]:
        return _SEEN[key][1]
    start = time.monotonic()
    found = listing(root, layout)
    made = stamp_of([*found.files, *found.images])
    took = time.monotonic() - start
    patience = PATIENCE * took if took > QUICK else 0.0
    _SEEN[key] = (time.monotonic() + patience, made)
    return made


_SEEN: dict[tuple[Path, str], tuple[float, str]] = {}  # until when a stamp is believed


def of_set(root: Path, layout: str, kept: Path) -> str:
    """Digest of a data set: eight hexadecimal digits.

    Args:
        root: the folder of the set.
        layout: of the set.
        kept: folder in which the digest of a large set is kept for the next process.
    """
    found = listing(root, layout)
    said = [layout, *(hashlib.sha256(p.read_bytes()).hexdigest() for p in found.files)]
    for t in found.tracklets:
        said.append(f"{t.identity} {t.camera} {t.modality} {len(t)}")
    said.append(of_images([p for t in found.tracklets for p in t.paths], kept))
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:8]


def of_images(paths: Sequence[Path], kept: Path) -> str:
    """Digest of the content of image files, or rows of arrays, in their order.

    Args:
        paths: image files, or `<file>.npy/<row>`.
        kept: folder in which the digest of many files is kept, with their stamp.
    """
    files = list(dict.fromkeys(map(_file, paths)))
    number = {path: n for n, path in enumerate(files)}
    order = hashlib.sha256()
    for path in paths:
        row = path.name if path.parent.suffix == ARRAYS else ""
        order.update(f"{number[_file(path)]} {row}\n".encode())
    content = _remembered(files, kept)
    return hashlib.sha256((order.hexdigest() + content).encode()).hexdigest()


def of_files(paths: Iterable[Path], kept: Path) -> str:
    """Digest of the names and the content of some files, in their order."""
    paths = list(paths)
    names = "\n".join(map(str, paths))
    return hashlib.sha256((names + _remembered(paths, kept)).encode()).hexdigest()


def _file(path: Path) -> Path:
    return path.parent if path.parent.suffix == ARRAYS else path


def _remembered(files: list[Path], kept: Path) -> str:
    """Digest of the contents of files; that of many is kept while none is touched."""
    if len(files) < LONG:
        return _contents(files)
    name = hashlib.sha256("\n".join(map(str, files)).encode()).hexdigest()[:16]
    memory, seen = kept / "digests" / f"{name}.json", stamp_of(files)
    with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
        said = json.loads(memory.read_text())
        if said["stamp"] == seen:
            return said["digest"]
    made = _contents(files)
    with contextlib.suppress(atomic.WriteError):  # then it is made again next time
        atomic.write(memory, json.dumps({"stamp": seen, "digest": made}).encode())
    return made


def _contents(files: list[Path]) -> str:
    """One digest of the contents of files, read in threads."""
    from tqdm import tqdm

    chunks = [files[start : start + CHUNK] for start in range(0, len(files), CHUNK)]
    whole = hashlib.sha256()
    with (
        ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool,
        tqdm(total=len(files), desc="reading all images", unit="image", delay=3) as bar,
    ):
        for chunk, found in zip(chunks, pool.map(_hashes, chunks), strict=True):
            whole.update(found)
            bar.update(len(chunk))
    return whole.hexdigest()


def _hashes(files: list[Path]) -> bytes:
    return b"".join(map(_hash, files))


def _hash(path: Path) -> bytes:
    """Digest of one file; that of nothing where it cannot be read."""
    try:
        with open(located(path), "rb", buffering=0) as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return bytes(32)


def stamp_of(files: Iterable[Path]) -> str:
    """Names, sizes and times of some files, in few letters."""
    made = hashlib.sha256()
    for path in files:
        made.update(f"{path} {_state(path)}\n".encode())
    return made.hexdigest()[:16]


def _state(path: Path) -> str:
    """Size and times of a file; not even a tool that puts times back hides a change."""
    try:
        seen = os.stat(path)
    except OSError:
        other = located(path)
        if other == path:
            return "missing"
        seen = os.stat(other)
    return f"{seen.st_size} {seen.st_mtime_ns} {seen.st_ctime_ns} {seen.st_ino}"


def _of_vcm(root: Path) -> tuple[list[Survey], Iterator[Path]]:
    lists = root / "info" if (root / "info").is_dir() else root
    part = "all" if (lists / "track_train_info.txt").is_file() else "test"
    survey = vcm.survey(root, min_seq_len=1, strict=False, part=part)
    return [survey], (lists / name for name in vcm.LISTS)


def _of_sysu(root: Path) -> tuple[list[Survey], Iterator[Path]]:
    lists = sysu.data_folder(root) / "exp"
    names = (f"{part}_id.{end}" for part in sysu.PARTS for end in ("txt", "mat"))
    return [sysu.survey(root, strict=False)], (lists / name for name in names)


def _of_regdb(root: Path) -> tuple[list[Survey], Iterator[Path]]:
    trials = [k for k in regdb.TRIALS if any(root.glob(f"idx/*_{k}.txt"))] or [1]
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
