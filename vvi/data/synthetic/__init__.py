"""Synthetic walkers: people drawn by us in two modalities, written in the layouts of the real data sets, with every factor known.

Nothing here is real data and no number measured on it is anything but synthetic. `write` draws a set, `read_*` say what is known of it; `claims` measures what it can teach.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vvi.data.synthetic.presets import PRESETS, Preset

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from vvi.types import Tracklet

__all__ = [
    "PRESETS",
    "VERSION",
    "Preset",
    "content_hash",
    "is_complete",
    "read_factors",
    "read_faults",
    "read_frames",
    "read_masks",
    "write",
]

VERSION = 1


def write(
    root: Path | str,
    preset: str | Preset = "standard",
    layout: str = "hitsz-vcm",
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> Path:
    """Draw a set into `root` and return it; at once when it is complete, from where it stopped when an earlier run was interrupted.

    A preset may have a world behind it, in which one cue is dosed ("half+bars=0.3", `vvi.data.synthetic.world`), and "-val" for validation people.
    `layout` is "hitsz-vcm", "sysu-mm01", "regdb" or "buptcampus"; equal (preset, layout, seed) give equal bytes with any number of `workers` (default: all cores).
    A folder that holds anything else is an error.
    """
    from vvi.data.synthetic import store

    return store.write(Path(root), _job(preset, layout, seed), workers, progress)


def is_complete(
    root: Path | str,
    preset: str | Preset = "standard",
    layout: str = "hitsz-vcm",
    seed: int = 0,
) -> bool:
    """Whether `root` holds the whole of this set, drawn by this version."""
    from vvi.data.synthetic import store

    return store.is_complete(Path(root), _job(preset, layout, seed).request())


def content_hash(root: Path | str) -> str:
    """One sha256 over the paths and contents of all files of a set; the manifest holds what it was when written."""
    from vvi.data.synthetic import store

    return store.content_hash(Path(root))


def read_factors(root: Path | str) -> pd.DataFrame:
    """One row per identity (the index): split, look_alike_group (-1: none), body, garments, gait, colours in both modalities."""
    from vvi.data.synthetic import read

    return read.read_factors(root)


def read_frames(root: Path | str) -> pd.DataFrame:
    """One row per frame: path, split, identity, modality, camera, tracklet, frame, fault, direction, phase, view (yaw in degrees), light, mask, place."""
    from vvi.data.synthetic import read

    return read.read_frames(root)


def read_faults(root: Path | str, tracklet: Tracklet) -> np.ndarray:
    """(N,) str: the fault of each frame of a tracklet, "none", "bad_box", "occluder" or "blur"."""
    from vvi.data.synthetic import read

    return read.read_faults(root, tracklet)


def read_masks(root: Path | str, tracklet: Tracklet) -> np.ndarray:
    """(N, H, W) bool: the pixels in which the person is seen, occluded ones left out, for each frame of a tracklet."""
    from vvi.data.synthetic import read

    return read.read_masks(root, tracklet)


def _job(preset: str | Preset, layout: str, seed: int):
    from vvi.data.synthetic import layouts, presets, store

    layouts.find(layout)
    if (
        not isinstance(seed, int)
        or isinstance(seed, bool)
        or not 0 <= seed < presets.OTHERS
    ):
        raise ValueError(
            f"seed={seed!r}: the seed of a synthetic set is a whole number from 0 and below 2**32"
        )
    return store.Job(presets.find(preset), layout, seed, VERSION)
