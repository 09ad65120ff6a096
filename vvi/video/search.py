"""Whom does this video show? From a raw video and a gallery to ranked lists.

Detector, tracker, tracklets, reader, trained model.
"""

from __future__ import annotations

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
from vvi.runtime import validation
from vvi.types import Modality, Tracklet
from vvi.video import tracking
from vvi.video.tracklets import (
    Detect,
    Made,
    other_videos,
    write_cached,
    write_tracklets,
)


@dataclass(frozen=True)
class Found:
    """Tracklets of a video with their ranked lists of a gallery."""

    #: What was cut from the video.
    made: Made
    #: Q tracklets of the video.
    query: tuple[Tracklet, ...]
    gallery: tuple[Tracklet, ...]
    #: (Q, K) best gallery rows of each tracklet.
    top: np.ndarray
    #: (Q, K) their cosine similarity.
    similarity: np.ndarray

    @property
    def tracks(self) -> np.ndarray:
        """(Q,) the track that each tracklet was cut from."""
        track = {identity: number for number, identity in self.made.identities.items()}
        return np.array([track[t.identity] for t in self.query])

    def people(self, video: str | Path) -> dict[int, int]:
        """Return track -> identity, from the truth beside a drawn video.

        It is empty for any other video.
        """
        try:
            return tracking.people(self.made.tracks, read_truth(video))
        except (FileNotFoundError, ValueError):
            return {}  # no table, or one of something else: nobody is known

    def identities(self, people: Mapping[int, int]) -> np.ndarray:
        """Return (Q,) the person of each tracklet, -1 for nobody known.

        Args:
            people: track -> identity (`vvi.video.tracking.people`).
        """
        return np.array([people.get(track, -1) for track in self.tracks])

    def lines(self, people: Mapping[int, int], top: int = 5) -> list[str]:
        """Return a line for each tracklet: its track and the best of its list.

        Args:
            people: track -> identity, said where it is known.
            top: items of a list, each as identity, camera and cosine.
        """
        lines = []
        ids = self.identities(people)
        for n, query in enumerate(self.query):
            person = f", shows {ids[n]}" if ids[n] >= 0 else ""
            items = [self._item(n, rank) for rank in range(len(self.top[n, :top]))]
            track = f"track {self.tracks[n]}, {len(query)} frames{person}"
            lines.append(f"{track}: {', '.join(items)}")
        return lines

    def _item(self, query: int, rank: int) -> str:
        """Return an item of a ranked list as text."""
        item = self.gallery[self.top[query, rank]]
        cosine = self.similarity[query, rank]
        return f"{item.identity} (camera {item.camera}) {cosine:.2f}"

    def panel(
        self,
        title: str,
        people: Mapping[int, int],
        rows: Sequence[int] | None = None,
        height: int = 128,
        width: int = 64,
    ) -> ranked.Panel:
        """Build ranked lists to draw with `vvi.plots.ranked.draw`.

        Right and wrong are marked by what is known of the scene.

        Args:
            title: above the lists.
            people: track -> identity.
            rows: tracklets to show. By default these are the first of each person, or
                of each track where nobody is known.
            height: of a picture.
            width: of a picture.
        """
        ids = self.identities(people)
        if rows is None:
            groups = ids if people else self.tracks
            rows = np.unique(groups, return_index=True)[1]
        rows = np.asarray(rows)
        top = self.top[rows]
        gallery_ids = np.array([t.identity for t in self.gallery])
        marks = ranked.compose(top, ids[rows], gallery_ids)
        marks[ids[rows] < 0] = "unknown"
        items = [self._pictures(line, height, width) for line in top]
        queries = ranked.load([self.query[r].paths for r in rows], height, width)
        notes = [self._note(r, ids[r]) for r in rows]
        return ranked.Panel(title, queries, items, marks, notes)

    def _pictures(self, line: np.ndarray, height: int, width: int) -> list[np.ndarray]:
        return ranked.load([self.gallery[i].paths for i in line], height, width)

    def _note(self, row: int, identity: int) -> str:
        """Return the text beside a query."""
        if identity < 0:
            return f"track {self.tracks[row]}"
        return f"id {identity}\n{len(self.query[row])} frames"


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
    """Rank a gallery for every person of a video.

    The tracklets of the video are written into a folder, read back by the reader and
    compared with every tracklet of the gallery.

    Args:
        video: a file.
        modality: of the video.
        gallery: whom to search among.
        method: a trained network.
        data: size and number of frames that it was trained with.
        detect: what finds people in frames.
        root: a folder that is renewed (default: one of the cache, `write_cached`).
        camera: number of the camera of the video.
        top: length of a list.

    Raises:
        ValueError: an empty gallery, or a `root` that holds another video.
    """
    if not gallery:
        raise ValueError("the gallery is empty: there is nobody to search among")
    video = validation.at_home(video).absolute()
    if root is None:
        made = write_cached(video, camera, modality, detect)
    else:
        root = validation.at_home(root)
        _refuse_other_videos(root, video)
        made = write_tracklets(video, root, camera, modality, detect, again=True)
    dataset = open_dataset(made.root, layout="hitsz-vcm", part="test")
    query = dataset.query("ir2vis" if modality == "ir" else "vis2ir")
    frames = Frames(data.height, data.width)
    query_feat, gallery_feat = (
        embed(method, side, frames, data.frames, stride=data.stride)
        for side in (query, gallery)
    )
    similarity = query_feat @ gallery_feat.T
    best = np.argsort(-similarity, axis=1, kind="stable")[:, :top]
    cosines = np.take_along_axis(similarity, best, 1)
    return Found(made, query, tuple(gallery), best, cosines)


def _refuse_other_videos(root: Path, video: Path) -> None:
    """Refuse a folder that would lose the tracklets of another video."""
    others = other_videos(root, video)
    if others:
        raise ValueError(
            f"{root} holds tracklets of {min(others)}, which a search would remove: "
            "choose another folder"
        )
