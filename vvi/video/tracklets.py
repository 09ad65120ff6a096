"""Sequence generation: raw video -> boxes of people -> tracks -> tracklets in the layout of HITSZ-VCM.

Nobody has said yet which tracks are one person, so every track is an identity of its own (`provisional.json` says which). The tracklets are the test part of a set that
has no training part: `open_dataset(root, part="test")` reads them. Videos of several cameras and both modalities may go into one folder, one after the other.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from vvi.data.vcm import FOLDER, LISTS
from vvi.data.video import Video, open_video
from vvi.runtime import atomic
from vvi.types import MODALITIES, Modality
from vvi.video import tracking
from vvi.video.tracking import CORNERS, Cut

Detect = Callable[
    [np.ndarray], list[np.ndarray]
]  # frames (T, H, W, 3) uint8 RGB -> boxes (n, 5) of each
DIGIT: dict[Modality, str] = {"ir": "1", "vis": "2"}
NAMES, ROWS, QUERY = (name for name in LISTS if "train" not in name)
WHO = "provisional.json"
KEPT_RATE = 5  # frames a second of a tracklet
MARGIN, ASPECT = (
    0.05,
    0.5,
)  # a crop is that much larger than the box on each side, and at least half as wide as it is high
QUALITY = 90
BATCH = 8
MOST = 9999


@dataclass(frozen=True)
class Made:
    """What came of one video: how many tracklets, and pieces too short for one; tracks (a table of `vvi.video.tracking`) and the identities that they were given."""

    root: Path
    frames: int
    tracklets: int
    dropped: int
    tracks: pd.DataFrame
    identities: dict[int, int]

    def __str__(self) -> str:
        return (
            f"{self.root}: {self.tracklets} tracklets of {len(self.identities)} tracks from {self.frames} frames"
            f" ({self.tracks.track.nunique()} tracks seen, {self.dropped} pieces shorter than the minimum dropped)"
        )


def write_tracklets(
    video: str | Path,
    root: str | Path,
    camera: int,
    modality: Modality,
    detect: Detect,
    rule: Cut | None = None,
    again: bool = False,
    follow: Callable[[Iterator[np.ndarray], float], pd.DataFrame] = tracking.follow,
) -> Made:
    """Cut the tracklets of one video into a folder, which appears, or changes, when all is written.

    The folder is new, empty, or one that earlier calls made; `again` begins such a folder anew. rule: which frames make a tracklet (default: `usual`); follow: boxes of all frames and the frame rate -> table of tracks.
    """
    root, footage = Path(root).expanduser(), open_video(video)
    if camera < 1 or modality not in MODALITIES:
        raise ValueError(
            f"camera {camera}, modality {modality!r}: cameras count from 1, modalities are {', '.join(MODALITIES)}"
        )
    _refuse_foreign(root)
    content = _digest(footage.path)
    if not again:
        _refuse_twice(root, footage.path.name, content, camera, modality)
    rule = rule or usual(footage.rate)
    found = tracking.fill(follow(_boxes(footage, detect), footage.rate))
    long, short = tracking.pieces(found, rule)
    if not long:
        why = f"{found.track.nunique()} tracks, none with {rule.minimum} kept frames in a row ({len(short)} pieces are shorter; boxes below {rule.height} pixels do not count)"
        raise ValueError(f"video {footage.path} gives no tracklet: {why}")
    with (
        atomic.exclusive_lock(root),
        atomic.os_errors_explained(root),
        _renewed(root, again) as folder,
    ):
        video = dict(
            video=footage.path.name, content=content, camera=camera, modality=modality
        )
        identities = _add_identities(folder, video, found, long)
        _write_lists(folder, long, identities, camera, modality)
        count = _write_crops(footage, folder, long, identities, camera, modality)
    return Made(root, count, len(long), len(short), found, identities)


def usual(rate: float, height: int = Cut.height) -> Cut:
    """The rule for a video of so many frames a second: five a second, at most 24, at least 12, of boxes that are `height` pixels high."""
    return Cut(step=max(1, round(rate / KEPT_RATE)), height=height)


def videos(root: Path) -> set[str]:
    """Names of the videos whose tracklets a folder holds; empty where there is none."""
    return (
        {about["video"] for about in json.loads((root / WHO).read_text()).values()}
        if (root / WHO).is_file()
        else set()
    )


def crop(frame: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The part of a frame (H, W, 3) around a box (x1, y1, x2, y2): with a margin, wide enough for a walking person, inside the frame."""
    x, y, wide, high = (
        (box[0] + box[2]) / 2,
        (box[1] + box[3]) / 2,
        box[2] - box[0],
        box[3] - box[1],
    )
    high = high * (1 + 2 * MARGIN)
    wide = max(wide * (1 + 2 * MARGIN), ASPECT * high)
    left, right = np.clip(
        np.rint((x - wide / 2, x + wide / 2)).astype(int), 0, frame.shape[1]
    )
    top, bottom = np.clip(
        np.rint((y - high / 2, y + high / 2)).astype(int), 0, frame.shape[0]
    )
    return frame[top:bottom, left:right]


def _boxes(footage: Video, detect: Detect) -> Iterator[np.ndarray]:
    frames = iter(footage)
    while some := list(islice(frames, BATCH)):
        yield from detect(np.stack(some))


def _refuse_foreign(root: Path) -> None:
    if root.exists() and not root.is_dir():
        raise ValueError(f"{root} is a file, not a folder")
    if root.is_dir() and any(root.iterdir()) and not (root / WHO).is_file():
        raise ValueError(
            f"{root} is not empty and holds no tracklets of an earlier video ({WHO} is missing): choose another folder"
        )


@contextmanager
def _renewed(root: Path, again: bool) -> Iterator[Path]:
    """A waiting room with what the folder holds (as links, so what changes is written anew), which takes the folder's place when the work in it is done.

    Only for one process at a time; what a killed one left is put back or removed.
    """
    waiting, old = (
        root.with_name(f".{root.name}{end}") for end in (atomic.HALF, ".old")
    )
    if old.exists() and not root.exists():
        os.replace(old, root)
    shutil.rmtree(waiting, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    try:
        if root.exists() and not again:
            shutil.copytree(root, waiting, copy_function=atomic.link)
        waiting.mkdir(exist_ok=True)
        yield waiting
        if root.exists():
            os.replace(root, old)
        os.replace(waiting, root)
    finally:
        shutil.rmtree(waiting, ignore_errors=True)
        if old.exists() and not root.exists():
            os.replace(old, root)
        shutil.rmtree(old, ignore_errors=True)


def _digest(video: Path) -> str:
    """Sixteen hexadecimal digits of the content of a file."""
    with open(video, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _refuse_twice(
    root: Path, name: str, content: str, camera: int, modality: Modality
) -> None:
    """A video whose tracklets a folder holds already would double its people."""
    if not (root / WHO).is_file():
        return
    known = json.loads((root / WHO).read_text())
    view = (name, camera, modality)
    double = [number for number, about in known.items() if _is_of(about, content, view)]
    if double:
        who = f"identities {min(double)} to {max(double)}"
        raise ValueError(
            f"{root} holds the tracklets of {name} already ({who}): choose another "
            "folder, or begin this one anew with --again (in Python, again=True)"
        )


def _is_of(about: dict, content: str, view: tuple) -> bool:
    """Whether a track is of a video; earlier versions noted no digest of its content."""
    if "content" in about:
        return about["content"] == content
    return (about["video"], about["camera"], about["modality"]) == view


def _add_identities(
    folder: Path, video: dict, found: pd.DataFrame, long: list[pd.DataFrame]
) -> dict[int, int]:
    """Give each track that has a tracklet the next free number, and note whose it is: track -> identity."""
    known = json.loads((folder / WHO).read_text()) if (folder / WHO).exists() else {}
    first = max(map(int, known), default=0) + 1
    identities = {
        number: first + k
        for k, number in enumerate(
            dict.fromkeys(int(piece.track.iloc[0]) for piece in long)
        )
    }
    if max(identities.values()) > MOST:
        raise ValueError(
            f"{len(known)} tracks are there already: frame names have room for {MOST} identities"
        )
    for number, identity in identities.items():
        frames = found[found.track == number].frame
        seen = [int(frames.min()), int(frames.max())]
        known[f"{identity:04d}"] = video | dict(track=number, frames=seen)
    (folder / WHO).unlink(missing_ok=True)
    (folder / WHO).write_text(json.dumps(known, indent=1) + "\n")
    return identities


def _write_crops(
    footage: Video,
    folder: Path,
    long: list[pd.DataFrame],
    identities: dict[int, int],
    camera: int,
    modality: Modality,
) -> int:
    """Write every picture of every tracklet; returns the number of frames of the video."""
    wanted = dict(list(pd.concat(long).groupby("frame")))
    count = 0
    for count, frame in enumerate(footage, 1):
        for row in wanted[count - 1].itertuples() if count - 1 in wanted else ():
            path = (
                folder
                / f"{identities[row.track]:04d}"
                / FOLDER[DIGIT[modality]]
                / f"D{camera}"
                / f"{count}.jpg"
            )
            path.parent.mkdir(parents=True, exist_ok=True)
            picture = crop(frame, np.array([getattr(row, name) for name in CORNERS]))
            path.write_bytes(
                cv2.imencode(
                    ".jpg",
                    np.ascontiguousarray(picture[..., ::-1]),
                    [cv2.IMWRITE_JPEG_QUALITY, QUALITY],
                )[1].tobytes()
            )
    return count


def _write_lists(
    folder: Path,
    long: list[pd.DataFrame],
    identities: dict[int, int],
    camera: int,
    modality: Modality,
) -> None:
    """Add the new tracklets to the lists: frame names, rows `m start end identity camera` that count from 1, and the rows that are infrared."""
    info = folder / "info"
    info.mkdir(exist_ok=True)
    names, rows = (
        (info / name).read_text().splitlines() if (info / name).exists() else []
        for name in (NAMES, ROWS)
    )
    place: dict[int, int] = {}
    for piece in long:
        identity = identities[int(piece.track.iloc[0])]
        place[identity] = place.get(identity, 0) + 1
        rows.append(
            f"{DIGIT[modality]} {len(names) + 1} {len(names) + len(piece)} {identity} {camera}"
        )
        names += [
            f"{identity:04d}M{DIGIT[modality]}D{camera}T{place[identity]}F{frame + 1}.jpg"
            for frame in piece.frame
        ]
    infrared = [str(k) for k, row in enumerate(rows, 1) if row.startswith(DIGIT["ir"])]
    for name, lines in (
        (NAMES, names),
        (ROWS, rows),
        (QUERY, [" ".join(infrared)] if infrared else []),
    ):
        (info / name).unlink(missing_ok=True)
        (info / name).write_text("".join(f"{line}\n" for line in lines))
