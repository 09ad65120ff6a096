"""Boxes -> tracks -> pieces of the length of a tracklet, and how well tracks follow.

A detection is a row x1, y1, x2, y2, score in pixels. A table of tracks has the columns
frame (from 0), track (from 1), x1, y1, x2, y2, score, filled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from vvi.runtime import optional

CORNERS = ["x1", "y1", "x2", "y2"]
TABLE = ["frame", "track", *CORNERS, "score", "filled"]
LOST = 1.0  # seconds after which nobody is expected back
GAP = 10  # longest run of missing boxes that is filled by straight lines, in frames
HIT = 0.5  # overlap from which a box counts as found


@dataclass(frozen=True)
class Cut:
    """The rule of the data set for cutting tracks into tracklets."""

    #: Every how many frames one is kept.
    step: int = 5
    #: Most frames of a tracklet.
    length: int = 24
    #: Fewest frames of a tracklet.
    minimum: int = 12
    #: Least height of a box, pixels.
    height: int = 64


def overlap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Compute intersection over union of boxes (n, 4+) and (m, 4+) -> (n, m).

    >>> boxes = np.array([[1, 0, 3, 2], [5, 5, 6, 6]])
    >>> overlap(np.array([[0, 0, 2, 2]]), boxes).round(3).tolist()
    [[0.333, 0.0]]
    """
    a = np.asarray(first, float)[:, None, :4]
    b = np.asarray(second, float)[None, :, :4]
    last = np.minimum(a[..., 2:], b[..., 2:])
    begin = np.maximum(a[..., :2], b[..., :2])
    shared = np.clip(last - begin, 0, None).prod(-1)
    areas = [(box[..., 2:] - box[..., :2]).prod(-1) for box in (a, b)]
    return shared / np.maximum(areas[0] + areas[1] - shared, 1e-9)


def follow(detections: Iterable[np.ndarray], rate: float) -> pd.DataFrame:
    """Follow people by ByteTrack, where a track begins with its second box.

    Boxes of a low score only prolong tracks.

    Args:
        detections: boxes (n, 5) of each frame.
        rate: frames a second.

    Returns:
        A table of tracks.
    """
    supervision = optional.load("supervision", "video")
    trackers = optional.load("trackers", "video")
    tracker = trackers.ByteTrackTracker(
        lost_track_buffer=round(30 * LOST), frame_rate=rate
    )
    rows: list[tuple] = []
    numbers: dict[int, int] = {}
    for frame, raw in enumerate(detections):
        boxes = np.asarray(raw, np.float64).reshape(-1, 5)
        detected = supervision.Detections(
            xyxy=boxes[:, :4],
            confidence=boxes[:, 4],
            class_id=np.zeros(len(boxes), int),
        )
        for corners, score, own in _tracked(tracker.update(detected)):
            number = numbers.setdefault(own, len(numbers) + 1)
            rows.append((frame, number, *corners, score, False))
    table = pd.DataFrame(rows, columns=TABLE)
    return table.sort_values(["track", "frame"], ignore_index=True)


def _tracked(boxes) -> Iterator[tuple[list[float], float, int]]:
    """Yield corners, score and the tracker's number of each box that it follows."""
    if not len(boxes):
        return
    columns = (boxes.xyxy, boxes.confidence, boxes.tracker_id)
    for corners, score, own in zip(*columns, strict=True):
        if own >= 0:  # -1: seen once, not confirmed yet
            yield corners.tolist(), float(score), int(own)


def fill(tracks: pd.DataFrame, longest: int = GAP) -> pd.DataFrame:
    """Fill missing boxes between two seen ones on straight lines.

    At most `longest` in a row are filled. They are marked and have score 0.
    """
    parts = [tracks]
    for track, table in tracks.groupby("track"):
        frames, boxes = table.frame.to_numpy(), table[CORNERS].to_numpy()
        gaps = np.diff(frames)
        for k in np.flatnonzero((gaps > 1) & (gaps <= longest + 1)):
            between = np.arange(frames[k] + 1, frames[k + 1])
            share = ((between - frames[k]) / gaps[k])[:, None]
            corners = boxes[k] * (1 - share) + boxes[k + 1] * share
            lines = pd.DataFrame(corners, columns=CORNERS)
            lines = lines.assign(frame=between, track=track, score=0.0, filled=True)
            parts.append(lines[TABLE])
    return pd.concat(parts).sort_values(["track", "frame"], ignore_index=True)


def pieces(
    tracks: pd.DataFrame, rule: Cut = Cut()
) -> tuple[list[pd.DataFrame], list[pd.DataFrame]]:
    """Cut tracks into tracklets, and pieces that are too short for one.

    Each is a run of kept frames of one track without a gap.
    """
    on_step = tracks.frame % rule.step == 0
    tall = tracks.y2 - tracks.y1 >= rule.height
    long, short = [], []
    for _, table in tracks[on_step & tall].groupby("track"):
        run = (table.frame.diff() != rule.step).cumsum()
        for _, part in table.groupby(run.to_numpy()):
            for start in range(0, len(part), rule.length):
                piece = part.iloc[start : start + rule.length].reset_index(drop=True)
                (long if len(piece) >= rule.minimum else short).append(piece)
    return long, short


def people(tracks: pd.DataFrame, truth: pd.DataFrame) -> dict[int, int]:
    """Return track -> the identity that it follows most of the time.

    A box follows the person whose box it covers (overlap `HIT`). Tracks of nobody are
    left out.
    """
    votes = [pd.DataFrame({"track": [], "identity": []})]
    for track, identity in _shared(tracks, truth):
        votes.append(pd.DataFrame({"track": track, "identity": identity}))
    followed = {}
    for track, group in pd.concat(votes[1:] or votes).groupby("track"):
        followed[int(track)] = int(group.identity.mode().iloc[0])
    return followed


def _shared(
    tracks: pd.DataFrame, truth: pd.DataFrame
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield tracks and the identities that they cover, frame by frame.

    Each is covered at most once.
    """
    from scipy.optimize import linear_sum_assignment

    known = dict(list(truth.groupby("frame")))
    for frame, tracked in tracks.groupby("frame"):
        if frame not in known:
            continue
        people = known[frame]
        near = overlap(tracked[CORNERS], people[CORNERS])
        rows, columns = linear_sum_assignment(near, maximize=True)
        good = near[rows, columns] >= HIT
        identities = people.identity.to_numpy()[columns[good]]
        yield tracked.track.to_numpy()[rows[good]], identities


@dataclass
class _Counts:
    """What is counted of tracks, frame by frame."""

    switches: int = 0
    misses: int = 0
    false: int = 0
    boxes: int = 0
    #: Identity -> its last track.
    last: dict[int, int] = field(default_factory=dict)
    #: Identity -> its track in the latest frame.
    matches: dict[int, int] = field(default_factory=dict)
    #: (identity, track) -> frames in which they overlap.
    together: Counter[tuple[int, int]] = field(default_factory=Counter)

    def add(
        self, tracked: pd.DataFrame, seen: pd.DataFrame, hidden: pd.DataFrame
    ) -> None:
        """Count one frame.

        Args:
            tracked: boxes of tracks.
            seen: true boxes that can be seen.
            hidden: true boxes that cannot.
        """
        near = overlap(seen[CORNERS], tracked[CORNERS])
        ids, tracks = seen.identity.tolist(), tracked.track.tolist()
        matched = self._matched(near, ids, tracks)
        self.matches = {ids[row]: tracks[column] for row, column in matched}
        unmatched = set(range(len(tracks))) - {column for _, column in matched}
        ignored = _covering(tracked.iloc[sorted(unmatched)], hidden)
        self.boxes += len(ids)
        self.misses += len(ids) - len(self.matches)
        self.false += len(unmatched) - ignored
        for identity, track in self.matches.items():
            self.switches += self.last.get(identity, track) != track
        self.last |= self.matches
        for row, column in np.argwhere(near >= HIT):
            self.together[ids[row], tracks[column]] += 1

    def _matched(
        self, near: np.ndarray, ids: list[int], tracks: list[int]
    ) -> list[tuple[int, int]]:
        """Match true boxes to tracked ones. Who was matched before keeps the track.

        Args:
            near: (n, m) overlaps.
            ids: of the true boxes.
            tracks: of the tracked ones.
        """
        from scipy.optimize import linear_sum_assignment

        goes_on = np.zeros(near.shape)
        for row, identity in enumerate(ids):
            for column, track in enumerate(tracks):
                goes_on[row, column] = self.matches.get(identity) == track
        gain = np.where(near >= HIT, near + 1000 * goes_on, 0)
        pairs = zip(*linear_sum_assignment(gain, maximize=True), strict=True)
        return [(row, column) for row, column in pairs if near[row, column] >= HIT]

    def idf1(self) -> float:
        """Return F1 of boxes under the best one-to-one map of tracks to people."""
        from scipy.optimize import linear_sum_assignment

        best = 0.0
        if self.together:
            counts = pd.Series(self.together, dtype=float)
            table = counts.unstack(fill_value=0.0).to_numpy()
            best = table[linear_sum_assignment(table, maximize=True)].sum()
        tracked = self.boxes - self.misses + self.false
        return float(2 * best / (self.boxes + tracked))


def _covering(boxes: pd.DataFrame, others: pd.DataFrame) -> int:
    """Count the boxes that cover one of the others."""
    if not len(boxes):
        return 0
    near = overlap(boxes[CORNERS], others[CORNERS])
    return int((near >= HIT).any(axis=1).sum())


def scores(
    tracks: pd.DataFrame, truth: pd.DataFrame, least: float = 0.1
) -> dict[str, float]:
    """Score how well tracks follow the people of a known scene.

    MOTA = 1 - (misses + false boxes + switches) / true boxes. IDF1 is the F1 score of
    boxes under the best one-to-one map of tracks to people.

    Args:
        tracks: a table of tracks.
        truth: true boxes with their identity and visible share.
        least: true boxes of which less is seen are no misses, and tracked boxes on
            them do not count.

    Returns:
        MOTA, IDF1, identity switches, misses, false boxes, and the true boxes that all
        refer to.

    Raises:
        ValueError: nobody can be seen.
    """
    counts = _Counts()
    for frame in _frames(tracks, truth, least):
        counts.add(*frame)
    if not counts.boxes:
        raise ValueError(
            "the truth holds no visible person: there is nothing to follow"
        )
    mistakes = counts.misses + counts.false + counts.switches
    return {
        "MOTA": float(1 - mistakes / counts.boxes),
        "IDF1": counts.idf1(),
        "switches": counts.switches,
        "misses": counts.misses,
        "false": counts.false,
        "boxes": counts.boxes,
    }


def _frames(
    tracks: pd.DataFrame, truth: pd.DataFrame, least: float
) -> Iterator[tuple[pd.DataFrame, ...]]:
    """Yield tracked boxes, true boxes that can be seen, and those that cannot."""
    seen = truth[truth.visible >= least]
    hidden = truth[truth.visible < least]
    tables = (tracks, seen, hidden)
    by_frame = [dict(list(table.groupby("frame"))) for table in tables]
    for frame in sorted(set().union(*by_frame)):
        yield tuple(
            frames.get(frame, table.iloc[:0])
            for frames, table in zip(by_frame, tables, strict=True)
        )
