"""What is known of a written set: factors of the identities, of the frames, and the person masks."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from vvi.data.faults import escapes, quote
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
    """One row per identity (the index): split, look_alike_group (-1: none), body, garments, gait, colours in both modalities."""
    return _rows(_table(root, "factors.csv"), FACTORS).set_index("identity")


def read_frames(root: Path | str) -> pd.DataFrame:
    """One row per frame, in the order of the list files: path, split, identity, modality, camera, tracklet, frame, fault, direction, phase, view, light, mask, place."""
    return _rows(_table(root, "frames.csv"), FRAMES)


def read_faults(root: Path | str, tracklet: Tracklet) -> np.ndarray:
    """(N,) str: what is wrong with each frame of a tracklet, "none" where nothing is."""
    root = Path(root)
    known = _faults(root, _table(root, "frames.csv").stat().st_mtime_ns)
    return np.array([known[_relative(path, root)] for path in tracklet.paths])


def read_masks(root: Path | str, tracklet: Tracklet) -> np.ndarray:
    """(N, H, W) bool: where the person is seen (occluded pixels are left out) in each frame of a tracklet."""
    from PIL import Image

    root = Path(root)
    places = _places(root, _table(root, "frames.csv").stat().st_mtime_ns)
    strips: dict[str, np.ndarray] = {}
    masks = []
    for path in tracklet.paths:
        strip, place, length = places[_relative(path, root)]
        if strip not in strips:
            with Image.open(root / strip) as picture:
                strips[strip] = np.asarray(picture.convert("1"))
        width = strips[strip].shape[1] // length
        masks.append(strips[strip][:, place * width : (place + 1) * width])
    return np.stack(masks)


def _relative(path: Path, root: Path) -> str:
    return (
        path.relative_to(root)
        if path.is_relative_to(root)
        else path.resolve().relative_to(root.resolve())
    ).as_posix()


@lru_cache(maxsize=4)
def _faults(root: Path, changed: int) -> dict[str, str]:
    frames = read_frames(root)
    return dict(zip(frames.path, frames.fault, strict=True))


@lru_cache(maxsize=4)
def _places(root: Path, changed: int) -> dict[str, tuple[str, int, int]]:
    """Relative path of a frame -> its strip, its place in the strip, and how many places the strip has."""
    frames = read_frames(root)
    if bad := [name for name in frames["mask"].unique() if escapes(str(name))]:
        raise DataError(
            f"{_table(root, 'frames.csv')}: mask {quote(str(bad[0]))} leaves the data folder"
        )
    lengths = frames["mask"].map(frames["mask"].value_counts())
    return dict(
        zip(
            frames.path,
            zip(frames["mask"], frames.place, lengths, strict=True),
            strict=True,
        )
    )


def _rows(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """A table with at least these columns; DataError when it is damaged or lacks one."""
    try:
        table = pd.read_csv(path, keep_default_na=False)
    except (
        ValueError
    ) as error:  # no columns, a row of another length, text that is not UTF-8
        raise DataError(f"{path} is no table: {str(error).strip()}") from error
    if missing := [name for name in columns if name not in table]:
        raise DataError(
            f"{path} lacks the column(s) {', '.join(missing)}; it has {', '.join(map(str, table.columns))}"
        )
    return table


def _table(root: Path | str, name: str) -> Path:
    path = Path(root) / "info" / name
    if not path.is_file():
        raise DataError(
            f"{path} is missing: {root} is no synthetic set (or not a complete one)"
        )
    return path
