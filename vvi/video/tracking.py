"""Boxes -> tracks -> pieces of the length of a tracklet, and how well tracks follow the people of a known scene.

A detection is a row x1, y1, x2, y2, score in pixels. A table of tracks has the columns frame (from 0), track (from 1), x1, y1, x2, y2, score, filled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

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
    """Rule of the data set: every `step`-th frame, at most `length` frames a tracklet, none of fewer than `minimum`; boxes lower than `height` pixels are not used."""

    step: int = 5
    length: int = 24
    minimum: int = 12
    height: int = 64


def overlap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (n, 4+) and (m, 4+): (n, m).

    >>> overlap(np.array([[0, 0, 2, 2]]), np.array([[1, 0, 3, 2], [5, 5, 6, 6]])).round(3).tolist()
    [[0.333, 0.0]]
    """
    a, b = np.asarray(first, float)[:, None, :4], np.asarray(second, float)[None, :, :4]
    sides = np.clip(
        np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None
    )
    shared = sides.prod(-1)
    areas = [(box[..., 2:] - box[..., :2]).prod(-1) for box in (a, b)]
    return shared / np.maximum(areas[0] + areas[1] - shared, 1e-9)


def follow(detections: Iterable[np.ndarray], rate: float) -> pd.DataFrame:
    """Boxes (n, 5) of each frame -> tracks, by ByteTrack: boxes of a low score only prolong tracks. A track begins with its second box."""
    supervision, trackers = (
        optional.load(package, "video") for package in ("supervision", "trackers")
    )
    tracker = trackers.ByteTrackTracker(
        lost_track_buffer=round(30 * LOST), frame_rate=rate
    )
    rows, numbers = [], {}
    for frame, boxes in enumerate(detections):
        boxes = np.asarray(boxes, np.float64).reshape(-1, 5)
        found = tracker.update(
            supervision.Detections(
                xyxy=boxes[:, :4],
                confidence=boxes[:, 4],
                class_id=np.zeros(len(boxes), int),
            )
        )
        for corners, score, own in (
            zip(found.xyxy, found.confidence, found.tracker_id, strict=True)
            if len(found)
            else ()
        ):
            if own >= 0:  # -1: seen once, not confirmed yet
                rows.append(
                    (
                        frame,
                        numbers.setdefault(int(own), len(numbers) + 1),
                        *corners.tolist(),
                        float(score),
                        False,
                    )
                )
    return pd.DataFrame(rows, columns=TABLE).sort_values(
        ["track", "frame"], ignore_index=True
    )


def fill(tracks: pd.DataFrame, longest: int = GAP) -> pd.DataFrame:
    """Missing boxes between two seen ones, at most `longest` in a row, on straight lines; they are marked as filled and have score 0."""
    parts = [tracks]
    for track, table in tracks.groupby("track"):
        times, boxes = table.frame.to_numpy(), table[CORNERS].to_numpy()
        for k in np.flatnonzero((np.diff(times) > 1) & (np.diff(times) <= longest + 1)):
            between = np.arange(times[k] + 1, times[k + 1])
            share = ((between - times[k]) / (times[k + 1] - times[k]))[:, None]
            lines = pd.DataFrame(
                boxes[k] * (1 - share) + boxes[k + 1] * share, columns=CORNERS
            )
            parts.append(
                lines.assign(frame=between, track=track, score=0.0, filled=True)[TABLE]
            )
    return pd.concat(parts).sort_values(["track", "frame"], ignore_index=True)


def pieces(
    tracks: pd.DataFrame, rule: Cut = Cut()
) -> tuple[list[pd.DataFrame], list[pd.DataFrame]]:
    """Tracklets of a table of tracks, and the pieces that are too short for one; each is a run of kept frames of one track without a gap."""
    tall = tracks[
        (tracks.frame % rule.step == 0) & (tracks.y2 - tracks.y1 >= rule.height)
    ]
    cut = []
    for _, table in tall.groupby("track"):
        run = (table.frame.diff() != rule.step).cumsum()
        for _, part in table.groupby(run.to_numpy()):
            cut += [
                part.iloc[start : start + rule.length].reset_index(drop=True)
                for start in range(0, len(part), rule.length)
            ]
    return [part for part in cut if len(part) >= rule.minimum], [
        part for part in cut if len(part) < rule.minimum
    ]


def people(tracks: pd.DataFrame, truth: pd.DataFrame) -> dict[int, int]:
    """Track -> the identity that it follows most of the time, of those whose box it covers (overlap `HIT`); tracks of nobody are left out."""
    votes = pd.concat(
        [
            pd.DataFrame(
                {
                    "track": mine.track.to_numpy()[rows],
                    "identity": theirs.identity.to_numpy()[columns],
                }
            )
            for mine, theirs, rows, columns in _shared(tracks, truth)
        ]
        or [pd.DataFrame({"track": [], "identity": []})]
    )
    return {
        int(track): int(group.identity.mode().iloc[0])
        for track, group in votes.groupby("track")
    }


def scores(
    tracks: pd.DataFrame, truth: pd.DataFrame, least: float = 0.1
) -> dict[str, float]:
    """How well tracks follow: MOTA, IDF1, identity switches, misses, false boxes, and the true boxes that all refer to.

    MOTA = 1 - (misses + false boxes + switches) / true boxes; IDF1 is the F1 score of boxes under the best one-to-one map of tracks to people. True boxes of which
    less than `least` is seen are not asked for, and tracked boxes on them do not count.
    """
    from scipy.optimize import linear_sum_assignment

    switches = misses = false = boxes = 0
    last: dict[int, int] = {}  # identity -> the track that held it last
    held: dict[int, int] = {}  # the same, one frame ago
    together: Counter[tuple[int, int]] = Counter()
    for mine, theirs, hidden in _frames(tracks, truth, least):
        near = overlap(theirs[CORNERS], mine[CORNERS])
        ids, names = theirs.identity.tolist(), mine.track.tolist()
        goes_on = np.array(
            [[held.get(i) == n for n in names] for i in ids], float
        ).reshape(near.shape)
        pairs = list(
            zip(
                *linear_sum_assignment(
                    np.where(near >= HIT, near + 1000 * goes_on, 0), maximize=True
                ),
                strict=True,
            )
        )
        held = {ids[r]: names[c] for r, c in pairs if near[r, c] >= HIT}
        matched = {c for r, c in pairs if near[r, c] >= HIT}
        free = {
            c
            for c in range(len(names))
            if c not in matched
            and (overlap(mine[CORNERS].iloc[[c]], hidden[CORNERS]) >= HIT).any()
        }
        boxes, misses, false = (
            boxes + len(ids),
            misses + len(ids) - len(held),
            false + len(names) - len(matched) - len(free),
        )
        switches += sum(last.get(i, n) != n for i, n in held.items())
        last |= held
        together.update(
            (ids[r], names[c]) for r, c in zip(*np.nonzero(near >= HIT), strict=True)
        )
    if not boxes:
        raise ValueError(
            "the truth holds no visible person: there is nothing to follow"
        )
    table = (
        pd.Series(together, dtype=float).unstack(fill_value=0.0).to_numpy()
        if together
        else np.zeros((1, 1))
    )
    best = table[linear_sum_assignment(table, maximize=True)].sum()
    tracked = boxes - misses + false
    return {
        "MOTA": float(1 - (misses + false + switches) / boxes),
        "IDF1": float(2 * best / (boxes + tracked)),
        "switches": switches,
        "misses": misses,
        "false": false,
        "boxes": boxes,
    }


def _frames(
    tracks: pd.DataFrame, truth: pd.DataFrame, least: float
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]]:
    """Frame by frame: tracked boxes, true boxes that can be seen, and those that cannot."""
    tables = [
        dict(list(table.groupby("frame")))
        for table in (
            tracks,
            truth[truth.visible >= least],
            truth[truth.visible < least],
        )
    ]
    for frame in sorted(set().union(*tables)):
        yield tuple(
            table.get(frame, empty.iloc[:0])
            for table, empty in zip(tables, (tracks, truth, truth), strict=True)
        )


def _shared(
    tracks: pd.DataFrame, truth: pd.DataFrame
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame, np.ndarray, np.ndarray]]:
    """Frame by frame: both tables, and the pairs of rows that cover each other, each row at most once."""
    from scipy.optimize import linear_sum_assignment

    known = dict(list(truth.groupby("frame")))
    for frame, mine in tracks.groupby("frame"):
        if frame in known:
            near = overlap(mine[CORNERS], known[frame][CORNERS])
            rows, columns = linear_sum_assignment(near, maximize=True)
            good = near[rows, columns] >= HIT
            yield mine, known[frame], rows[good], columns[good]
