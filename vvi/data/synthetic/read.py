"""Read what is known of a written set: factors of identities and frames, and masks."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from vvi.data.faults import escapes, quote
from vvi.runtime import validation
from vvi.types import DataError, Tracklet

FACTORS = ("identity", "split", "look_alike_group")
FRAMES = (
    "path",
    "split",
    "identity",
    "modality",
    "camera",
    "tracklet",
    "frame",
    "fault",
    "direction",
    "phase",
    "view",
    "light",
    "mask",
    "place",
)


def read_factors(root: Path | str) -> pd.DataFrame:
    """Return the factors of each identity (the index).

    Raises:
        DataError: the table is missing or damaged.
    """
    return _rows(_table(root, "factors.csv"), FACTORS).set_index("identity")


def read_frames(root: Path | str) -> pd.DataFrame:
    """Return the factors of each frame, in the order of the list files.

    Raises:
        DataError: the table is missing or damaged.
    """
    return _rows(_table(root, "frames.csv"), FRAMES)


def read_faults(root: Path | str, tracklet: Tracklet) -> np.ndarray:
    """Return the fault of each frame of a tracklet, "none" without one: (N,) str.

    Raises:
        DataError: the table is missing or damaged.
    """
    root = validation.at_home(root)
    known = _faults(root, _table(root, "frames.csv").stat().st_mtime_ns)
    return np.array([known[_relative(path, root)] for path in tracklet.paths])


def read_masks(root: Path | str, tracklet: Tracklet) -> np.ndarray:
    """Return the pixels in which the person is seen in each frame: (N, H, W) bool.

    Occluded pixels are left out.

    Raises:
        DataError: the table is missing or damaged, or names a mask outside the folder.
    """
    from PIL import Image

    root = validation.at_home(root)
    positions = _positions(root, _table(root, "frames.csv").stat().st_mtime_ns)
    strips: dict[str, np.ndarray] = {}
    masks = []
    for path in tracklet.paths:
        name, position, length = positions[_relative(path, root)]
        if name not in strips:
            with Image.open(root / name) as image:
                strips[name] = np.asarray(image.convert("1"))
        width = strips[name].shape[1] // length
        masks.append(strips[name][:, position * width : (position + 1) * width])
    return np.stack(masks)


def _relative(path: Path, root: Path) -> str:
    start, whole = f"{root}{os.sep}", str(path)
    if whole.startswith(start):
        return whole.removeprefix(start).replace(os.sep, "/")
    return path.resolve().relative_to(root.resolve()).as_posix()


@lru_cache(maxsize=4)
def _faults(root: Path, changed: int) -> dict[str, str]:
    frames = read_frames(root)
    return dict(zip(frames.path, frames.fault, strict=True))


@lru_cache(maxsize=4)
def _positions(root: Path, changed: int) -> dict[str, tuple[str, int, int]]:
    """Map the path of a frame to its mask: strip, position in it, length of the strip.

    `changed`, the time of the table, makes the cache look again.
    """
    frames = read_frames(root)
    bad = [name for name in frames["mask"].unique() if escapes(str(name))]
    if bad:
        table, name = _table(root, "frames.csv"), quote(str(bad[0]))
        raise DataError(f"{table}: mask {name} leaves the data folder")
    lengths = frames["mask"].map(frames["mask"].value_counts())
    masks = zip(frames["mask"], frames.place, lengths, strict=True)
    return dict(zip(frames.path, masks, strict=True))


def _rows(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read a table.

    Raises:
        DataError: it is damaged or lacks a column.
    """
    try:
        table = pd.read_csv(path, keep_default_na=False)
    except ValueError as error:  # no columns, a ragged row, or text that is not UTF-8
        raise DataError(f"{path} is no table: {str(error).strip()}") from error
    missing = [name for name in columns if name not in table]
    if missing:
        present = ", ".join(map(str, table.columns))
        lacks = f"lacks the column(s) {', '.join(missing)}"
        raise DataError(f"{path} {lacks}; it has {present}")
    return table


def _table(root: Path | str, name: str) -> Path:
    path = validation.at_home(root) / "info" / name
    if not path.is_file():
        what = f"{root} is no synthetic set (or not a complete one)"
        raise DataError(f"{path} is missing: {what}")
    return path
