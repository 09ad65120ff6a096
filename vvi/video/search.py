"""Whom does this video show? From a raw video of either modality and a gallery to ranked lists: detector, tracker, tracklets, reader, trained model."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vvi.config import DataConfig
from vvi.data import open_dataset
from vvi.data.loader import Frames
from vvi.data.synthetic.crossing import read_truth
from vvi.evaluation.evaluate import embed
from vvi.methods.base import Method
from vvi.plots import ranked
from vvi.runtime import paths
from vvi.types import Modality, Tracklet
from vvi.video import tracking
from vvi.video.tracklets import Detect, Made, videos, write_tracklets


@dataclass(frozen=True)
class Found:
    """Tracklets of the video, the gallery, and for each tracklet its best gallery rows `top` (Q, K) with their cosine `similarity` (Q, K)."""

    made: Made
    query: tuple[Tracklet, ...]
    gallery: tuple[Tracklet, ...]
    top: np.ndarray
    similarity: np.ndarray

    @property
    def tracks(self) -> np.ndarray:
        """(Q,) the track that each tracklet was cut from."""
        track = {identity: number for number, identity in self.made.identities.items()}
        return np.array([track[t.identity] for t in self.query])

    def people(self, video: str | Path) -> dict[int, int]:
        """Track -> identity, from the truth beside a drawn video; empty for any other video."""
        try:
            return tracking.people(self.made.tracks, read_truth(video))
        except (
            FileNotFoundError,
            ValueError,
        ):  # no table, or one of something else: nobody is known
            return {}

    def identities(self, people: Mapping[int, int]) -> np.ndarray:
        """(Q,) who each tracklet shows, from who each track follows (`vvi.video.tracking.people`); -1 for nobody known."""
        return np.array([people.get(track, -1) for track in self.tracks])

    def lines(self, people: Mapping[int, int], top: int = 5) -> list[str]:
        """A line for each tracklet: its track, whom it shows where that is known, and the best of its list as identity, camera and cosine."""
        found = []
        for query, track, who, row, cosines in zip(
            self.query,
            self.tracks,
            self.identities(people),
            self.top,
            self.similarity,
            strict=True,
        ):
            best = [
                f"{self.gallery[i].identity} (camera {self.gallery[i].camera}) {cosine:.2f}"
                for i, cosine in zip(row[:top], cosines, strict=False)
            ]
            found.append(
                f"track {track}, {len(query)} frames{f', shows {who}' if who >= 0 else ''}: {', '.join(best)}"
            )
        return found

    def panel(
        self,
        title: str,
        people: Mapping[int, int],
        rows: Sequence[int] | None = None,
        height: int = 128,
        width: int = 64,
    ) -> ranked.Panel:
        """Ranked lists to draw with `vvi.plots.ranked.draw`, right and wrong marked by what is known of the scene. rows: tracklets to show, the first of each person (of each
        track, where nobody is known) by default."""
        ids = self.identities(people)
        rows = (
            np.unique(ids if people else self.tracks, return_index=True)[1]
            if rows is None
            else np.asarray(rows)
        )
        items = [
            ranked.load([self.gallery[i].paths for i in line], height, width)
            for line in self.top[rows]
        ]
        marks = ranked.compose(
            self.top[rows], ids[rows], np.array([t.identity for t in self.gallery])
        )
        marks[ids[rows] < 0] = "unknown"
        notes = [
            f"id {ids[r]}\n{len(self.query[r])} frames"
            if ids[r] >= 0
            else f"track {self.tracks[r]}"
            for r in rows
        ]
        return ranked.Panel(
            title,
            ranked.load([self.query[r].paths for r in rows], height, width),
            items,
            marks,
            notes,
        )


def search(
    video: str | Path,
    modality: Modality,
    gallery: Sequence[Tracklet],
    method: Method,
    data: DataConfig,
    detect: Detect,
    root: str | Path | None = None,
    camera: int = 1,
    top: int = 10,
) -> Found:
    """Ranked lists of the people in a video: its tracklets, written into `root` anew, are read back by the reader and compared with every tracklet of the gallery.

    data: the size and number of frames that the method was trained with; root: by default a folder of the cache named like the video; ValueError where it holds another video.
    """
    if not gallery:
        raise ValueError("the gallery is empty: there is nobody to search among")
    video = Path(video).expanduser().absolute()
    root = (
        paths.cache()
        / "sequences"
        / f"{video.stem}-{hashlib.sha256(bytes(video)).hexdigest()[:8]}"
        if root is None
        else Path(root).expanduser()
    )
    if others := videos(root) - {video.name}:
        raise ValueError(
            f"{root} holds tracklets of {min(others)}, which a search would remove: choose another folder"
        )
    made = write_tracklets(video, root, camera, modality, detect, again=True)
    opened = open_dataset(made.root, layout="hitsz-vcm", part="test")
    query = opened.query("ir2vis" if modality == "ir" else "vis2ir")
    frames = Frames(data.height, data.width)
    mine, theirs = (
        embed(method, side, frames, data.frames, stride=data.stride)
        for side in (query, gallery)
    )
    similarity = mine @ theirs.T
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :top]
    return Found(
        made, query, tuple(gallery), order, np.take_along_axis(similarity, order, 1)
    )
