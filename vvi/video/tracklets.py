"""Sequence generation: raw video -> boxes -> tracks -> tracklets of HITSZ-VCM.

Nobody has said yet which tracks are one person, so every track is an identity of its
own (`provisional.json` says which). The tracklets are the test part of a set that has
no training part: `open_dataset(root, part="test")` reads them. Videos of several
cameras and both modalities may go into one folder, one after the other.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from vvi.data.vcm import FOLDER, LISTS
from vvi.data.video import Video, open_video
from vvi.runtime import atomic, paths, validation
from vvi.types import MODALITIES, Modality
from vvi.video import tracking
from vvi.video.tracking import CORNERS, Cut

#: Frames (T, H, W, 3) uint8 RGB -> boxes (n, 5) of each.
Detect = Callable[[np.ndarray], list[np.ndarray]]
#: Boxes of all frames and the frame rate -> table of tracks.
Follow = Callable[[Iterator[np.ndarray], float], pd.DataFrame]
DIGIT: dict[Modality, str] = {"ir": "1", "vis": "2"}
NAMES, ROWS, QUERY = (name for name in LISTS if "train" not in name)
WHO = "provisional.json"
KEPT_RATE = 5  # frames a second of a tracklet
MARGIN = 0.05  # a crop is that much larger than the box on each side
ASPECT = 0.5  # a crop is at least that wide, as a share of its height
QUALITY = 90  # of JPEG files
BATCH = 8  # frames that are detected together
MOST = 9999  # identities that frame names have room for


@dataclass(frozen=True)
class Made:
    """What was cut from one video."""

    root: Path
    #: Frames of the video.
    frames: int
    #: Tracklets that were written.
    tracklets: int
    #: Pieces that were too short for a tracklet.
    dropped: int
    #: A table of `vvi.video.tracking`.
    tracks: pd.DataFrame
    #: Track -> the identity that it got.
    identities: dict[int, int]

    def __str__(self) -> str:
        seen = f"{self.tracks.track.nunique()} tracks seen"
        dropped = f"{self.dropped} pieces shorter than the minimum dropped"
        return (
            f"{self.root}: {self.tracklets} tracklets of {len(self.identities)} tracks "
            f"from {self.frames} frames ({seen}, {dropped})"
        )


@dataclass(frozen=True)
class _Source:
    """A video that tracklets are cut from."""

    footage: Video
    content: str
    camera: int
    modality: Modality

    @property
    def name(self) -> str:
        return self.footage.path.name

    def noted(self) -> dict:
        """Return what `provisional.json` says of each of its tracks."""
        return dict(
            video=self.name,
            content=self.content,
            camera=self.camera,
            modality=self.modality,
        )


def write_tracklets(
    video: str | Path,
    root: str | Path,
    camera: int,
    modality: Modality,
    detect: Detect,
    rule: Cut | None = None,
    again: bool = False,
    follow: Follow = tracking.follow,
) -> Made:
    """Cut the tracklets of one video into a folder.

    The folder appears, or changes, when all is written.

    Args:
        video: a file.
        root: a folder that is new, empty, or one that earlier calls made.
        camera: its number, from 1.
        modality: of the video.
        detect: what finds people in frames.
        rule: which frames make a tracklet (default: `usual`).
        again: remove what the folder holds of earlier videos.
        follow: what makes tracks of boxes.

    Raises:
        ValueError: a folder of something else, a video that it holds already, or a
            video that gives no tracklet.
    """
    root = validation.at_home(root)
    source = _source(video, camera, modality)
    _refuse_foreign(root)
    if not again:
        _refuse_twice(root, source, root)
    tracks = _tracks(source.footage, detect, follow)
    return _write_tracks(root, source, tracks, rule, again)


def write_cached(
    video: str | Path,
    camera: int,
    modality: Modality,
    detect: Detect,
    rule: Cut | None = None,
) -> Made:
    """Cut the tracklets of one video into a folder of the cache.

    All that its pictures depend on names the folder: what the file holds, camera,
    modality, tracks and rule. So another call never puts other pictures there.

    Args:
        video: a file.
        camera: its number, from 1.
        modality: of the video.
        detect: what finds people in frames.
        rule: which frames make a tracklet (default: `usual`).

    Raises:
        ValueError: a video that gives no tracklet.
    """
    source = _source(video, camera, modality)
    tracks = _tracks(source.footage, detect, tracking.follow)
    rule = rule or usual(source.footage.rate)
    words = source.noted() | dict(rule=repr(rule), tracks=tracks.to_csv())
    digest = hashlib.sha256(json.dumps(words).encode()).hexdigest()[:16]
    folder = f"{source.footage.path.stem}-{digest}"
    root = paths.cache() / "sequences" / folder
    _refuse_foreign(root)
    return _write_tracks(root, source, tracks, rule, again=True)


def _source(video: str | Path, camera: int, modality: Modality) -> _Source:
    """Open a video.

    Raises:
        ValueError: there is no such camera or modality.
    """
    footage = open_video(video)
    if camera < 1 or modality not in MODALITIES:
        raise ValueError(
            f"camera {camera}, modality {modality!r}: cameras count from 1, "
            f"modalities are {', '.join(MODALITIES)}"
        )
    return _Source(footage, content_digest(footage.path), camera, modality)


def _tracks(footage: Video, detect: Detect, follow: Follow) -> pd.DataFrame:
    """Find people in all frames and follow them: a table of tracks without gaps."""
    return tracking.fill(follow(_boxes(footage, detect), footage.rate))


def _write_tracks(
    root: Path, source: _Source, tracks: pd.DataFrame, rule: Cut | None, again: bool
) -> Made:
    """Write the tracklets of a video whose tracks are known.

    Args:
        root: a folder.
        source: the video.
        tracks: all tracks of it.
        rule: which frames make a tracklet (default: `usual`).
        again: remove what the folder holds of earlier videos.
    """
    footage = source.footage
    rule = rule or usual(footage.rate)
    long, short = tracking.pieces(tracks, rule)
    if not long:
        raise ValueError(
            f"video {footage.path} gives no tracklet: {tracks.track.nunique()} tracks, "
            f"none with {rule.minimum} kept frames in a row ({len(short)} pieces are "
            f"shorter; boxes below {rule.height} pixels do not count)"
        )
    with (
        atomic.exclusive_lock(root),
        atomic.os_errors_explained(root),
        _renewed(root, again) as folder,
    ):
        if not again:  # another process may have come first
            _refuse_twice(folder, source, root)
        identities = _add_identities(folder, source, tracks, long)
        _write_lists(folder, source, long, identities)
        count = _write_crops(folder, source, long, identities)
    return Made(root, count, len(long), len(short), tracks, identities)


def usual(rate: float, height: int = Cut.height) -> Cut:
    """Return the rule for a video of `rate` frames a second: five a second are kept.

    A tracklet has at most 24 and at least 12, of boxes that are `height` pixels high.
    """
    return Cut(step=max(1, round(rate / KEPT_RATE)), height=height)


def other_videos(root: Path, video: Path) -> set[str]:
    """Return names of the videos of a folder that are another than this one.

    Cameras number their files alike, so the content decides, not the name.
    """
    content, others = content_digest(video), set()
    for about in _known(root).values():
        is_same = about["video"] == video.name
        if "content" in about:
            is_same = about["content"] == content
        if not is_same:
            others.add(about["video"])
    return others


def _known(root: Path) -> dict[str, dict]:
    """Return what a folder notes of its identities, {} where it has no notes."""
    file = root / WHO
    return json.loads(file.read_text()) if file.is_file() else {}


def crop(frame: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Cut a person out of a frame, with a margin and wide enough for a walk.

    Args:
        frame: (H, W, 3).
        box: x1, y1, x2, y2 in pixels.
    """
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    high = (box[3] - box[1]) * (1 + 2 * MARGIN)
    wide = max((box[2] - box[0]) * (1 + 2 * MARGIN), ASPECT * high)
    left, right = _inside(x - wide / 2, x + wide / 2, frame.shape[1])
    top, bottom = _inside(y - high / 2, y + high / 2, frame.shape[0])
    return frame[top:bottom, left:right]


def _inside(low: float, high: float, size: int) -> np.ndarray:
    """Round two edges to pixels inside a frame."""
    return np.clip(np.rint((low, high)).astype(int), 0, size)


def _boxes(footage: Video, detect: Detect) -> Iterator[np.ndarray]:
    frames = iter(footage)
    while batch := list(islice(frames, BATCH)):
        yield from detect(np.stack(batch))


def _refuse_foreign(root: Path) -> None:
    """Refuse a file, a folder of something else, and the one of this process."""
    if Path.cwd().is_relative_to(root.resolve()):
        raise ValueError(
            f"{root} is renewed as a whole and is the folder you are in: call this "
            "from another one"
        )
    if root.exists() and not root.is_dir():
        raise ValueError(f"{root} is a file, not a folder")
    if root.is_dir() and any(root.iterdir()) and not (root / WHO).is_file():
        raise ValueError(
            f"{root} is not empty and holds no tracklets of an earlier video "
            f"({WHO} is missing): choose another folder"
        )


@contextmanager
def _renewed(root: Path, again: bool) -> Iterator[Path]:
    """Open a folder that takes the place of `root` when the work in it is done.

    It holds what `root` holds, as links: what changes is written anew. Only one process
    may do so at a time. What a killed process left is put back or removed.
    """
    root = root.resolve()  # a link stays, what it leads to is renewed
    waiting = root.with_name(f".{root.name}{atomic.HALF}")
    old = root.with_name(f".{root.name}.old")
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


def content_digest(video: Path) -> str:
    """Return sixteen hexadecimal digits of the content of a file."""
    with open(video, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _refuse_twice(folder: Path, source: _Source, root: Path) -> None:
    """Refuse a video that a folder holds already: its people would be there twice.

    Args:
        folder: where to look.
        source: the video.
        root: what the message calls the folder.
    """
    known = _known(folder).items()
    double = [number for number, about in known if _is_of(about, source)]
    if double:
        people = f"identities {min(double)} to {max(double)}"
        raise ValueError(
            f"{root} holds the tracklets of {source.name} already ({people}): choose "
            "another folder, or begin this one anew with --again "
            "(in Python, again=True)"
        )


def _is_of(about: Mapping, source: _Source) -> bool:
    """Whether a track is of a video. Earlier versions noted no digest of it."""
    if "content" in about:
        return about["content"] == source.content
    view = (about["video"], about["camera"], about["modality"])
    return view == (source.name, source.camera, source.modality)


def _track(piece: pd.DataFrame) -> int:
    """Return the track that a piece was cut from."""
    return int(piece.track.iloc[0])


def _add_identities(
    folder: Path, source: _Source, tracks: pd.DataFrame, long: Sequence[pd.DataFrame]
) -> dict[int, int]:
    """Give each track that has a tracklet the next free number, and note whose it is.

    Args:
        folder: to write into.
        source: the video.
        tracks: all tracks of it.
        long: its tracklets.

    Returns:
        Track -> identity.
    """
    known = _known(folder)
    first = max(map(int, known), default=0) + 1
    numbers = dict.fromkeys(map(_track, long))
    identities = {number: first + k for k, number in enumerate(numbers)}
    if max(identities.values()) > MOST:
        raise ValueError(
            f"{len(known)} tracks are there already: "
            f"frame names have room for {MOST} identities"
        )
    for number, identity in identities.items():
        frames = tracks[tracks.track == number].frame
        seen = [int(frames.min()), int(frames.max())]
        about = source.noted() | dict(track=number, frames=seen)
        known[f"{identity:04d}"] = about
    _write(folder / WHO, json.dumps(known, indent=1) + "\n")
    return identities


def _write(file: Path, text: str) -> None:
    """Write a file anew: what is there may be a link into another folder."""
    file.unlink(missing_ok=True)
    file.write_text(text)


def _write_crops(
    folder: Path,
    source: _Source,
    long: Sequence[pd.DataFrame],
    identities: Mapping[int, int],
) -> int:
    """Write every picture of every tracklet.

    Args:
        folder: to write into.
        source: the video.
        long: its tracklets.
        identities: track -> identity.

    Returns:
        The number of frames of the video.
    """
    boxes = dict(list(pd.concat(long).groupby("frame")))
    subfolder = Path(FOLDER[DIGIT[source.modality]]) / f"D{source.camera}"
    count = 0
    for frame in source.footage:
        rows = boxes[count].itertuples() if count in boxes else ()
        count += 1
        for row in rows:
            person = folder / f"{identities[row.track]:04d}" / subfolder
            person.mkdir(parents=True, exist_ok=True)
            box = np.array([getattr(row, name) for name in CORNERS])
            _write_jpeg(person / f"{count}.jpg", crop(frame, box))
    return count


def _write_jpeg(file: Path, picture: np.ndarray) -> None:
    bgr = np.ascontiguousarray(picture[..., ::-1])
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    file.write_bytes(data.tobytes())


def _write_lists(
    folder: Path,
    source: _Source,
    long: Sequence[pd.DataFrame],
    identities: Mapping[int, int],
) -> None:
    """Add the new tracklets to the lists.

    These are frame names, rows `m start end identity camera` that count from 1, and the
    rows that are infrared.

    Args:
        folder: to write into.
        source: the video.
        long: its tracklets.
        identities: track -> identity.
    """
    info = folder / "info"
    info.mkdir(exist_ok=True)
    names, rows = _lines(info / NAMES), _lines(info / ROWS)
    digit, camera = DIGIT[source.modality], source.camera
    count: dict[int, int] = {}
    for piece in long:
        identity = identities[_track(piece)]
        count[identity] = count.get(identity, 0) + 1
        first, last = len(names) + 1, len(names) + len(piece)
        rows.append(f"{digit} {first} {last} {identity} {camera}")
        tracklet = f"{identity:04d}M{digit}D{camera}T{count[identity]}"
        names += [f"{tracklet}F{frame + 1}.jpg" for frame in piece.frame]
    infrared = [str(k) for k, row in enumerate(rows, 1) if row.startswith(DIGIT["ir"])]
    query = [" ".join(infrared)] if infrared else []
    for name, lines in ((NAMES, names), (ROWS, rows), (QUERY, query)):
        _write(info / name, "".join(f"{line}\n" for line in lines))


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []
