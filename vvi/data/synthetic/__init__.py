"""Synthetic walkers: generated people in two modalities, with every factor known.

Sets are written in the layouts of the real data sets. Nothing here is real data, and no
number measured on it is anything but synthetic. `write` draws a set, `read_*` return
what is known of it, and `claims` measures what it can teach.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vvi.data.synthetic.presets import PRESETS, Preset
from vvi.runtime import validation

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
    """Draw a set into a folder, at once if it is complete, resuming if it is partial.

    Equal (preset, layout, seed) give equal bytes with any number of workers.

    Args:
        root: the folder. One that holds anything else is an error.
        preset: a preset, optionally with a world in which one cue is dosed
            ("half+bars=0.3", `vvi.data.synthetic.world`), and "-val" for validation
            people.
        layout: "hitsz-vcm", "sysu-mm01", "regdb" or "buptcampus".
        seed: of the set.
        workers: processes, by default one per core.
        progress: whether a bar is shown.

    Returns:
        The folder.

    Raises:
        ValueError: there is no such set, or the folder holds something else.
    """
    from vvi.data.synthetic import store

    return store.write(
        validation.at_home(root), _job(preset, layout, seed), workers, progress
    )


def is_complete(
    root: Path | str,
    preset: str | Preset = "standard",
    layout: str = "hitsz-vcm",
    seed: int = 0,
) -> bool:
    """Whether a folder holds the whole of this set, drawn by this version.

    Args:
        root: the folder.
        preset: as in `write`.
        layout: as in `write`.
        seed: as in `write`.

    Raises:
        ValueError: there is no such set.
        DataError: the manifest of the folder is damaged.
    """
    from vvi.data.synthetic import store

    return store.is_complete(
        validation.at_home(root), _job(preset, layout, seed).request()
    )


def content_hash(root: Path | str) -> str:
    """Return one sha256 over the paths and contents of all files of a set.

    The manifest holds the hash at the time of writing.
    """
    from vvi.data.synthetic import store

    return store.content_hash(validation.at_home(root))


def read_factors(root: Path | str) -> pd.DataFrame:
    """Return the factors of each identity (the index).

    Columns: split, look_alike_group (-1: none), body, garments, gait, and colours in
    both modalities.
    """
    from vvi.data.synthetic import read

    return read.read_factors(root)


def read_frames(root: Path | str) -> pd.DataFrame:
    """Return the factors of each frame, in the order of the list files.

    Columns: path, split, identity, modality, camera, tracklet, frame, fault, direction,
    phase, view (yaw in degrees), light, mask, place.
    """
    from vvi.data.synthetic import read

    return read.read_frames(root)


def read_faults(root: Path | str, tracklet: Tracklet) -> np.ndarray:
    """Return "none", "bad_box", "occluder" or "blur" for each frame: (N,) str."""
    from vvi.data.synthetic import read

    return read.read_faults(root, tracklet)


def read_masks(root: Path | str, tracklet: Tracklet) -> np.ndarray:
    """Return the pixels in which the person is seen in each frame: (N, H, W) bool."""
    from vvi.data.synthetic import read

    return read.read_masks(root, tracklet)


def _job(preset: str | Preset, layout: str, seed: int):
    from vvi.data.synthetic import layouts, presets, store

    layouts.find(layout)
    is_integer = isinstance(seed, int) and not isinstance(seed, bool)
    if not is_integer or not 0 <= seed < presets.OTHERS:
        raise ValueError(
            f"seed={seed!r} of a synthetic set must be an integer >= 0 and below 2**32"
        )
    return store.Job(presets.find(preset), layout, seed, VERSION)
