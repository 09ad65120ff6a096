"""Tracks, the pieces cut from them and the scores of tracking, against hand-made
numbers and slow counts.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from vvi.video import tracking
from vvi.video.tracking import TABLE, Cut


def table(rows: list[tuple[int, int, float]]) -> pd.DataFrame:
    """(frame, track, x): boxes 40 wide and 100 high whose left edge is at x."""
    return pd.DataFrame(
        [(t, k, x, 0.0, x + 40, 100.0, 0.9, False) for t, k, x in rows], columns=TABLE
    )


def true(rows: list[tuple[int, int, float]], visible: float = 1.0) -> pd.DataFrame:
    return table(rows).rename(columns={"track": "identity"}).assign(visible=visible)


def test_overlap_agrees_with_counted_pixels():
    rng = np.random.default_rng(0)
    boxes = rng.integers(0, 20, (2, 6, 4))
    boxes = np.concatenate(
        (
            np.minimum(boxes[..., :2], boxes[..., 2:]),
            np.maximum(boxes[..., :2], boxes[..., 2:]) + 1,
        ),
        -1,
    )
    for i, a in enumerate(boxes[0]):
        for j, b in enumerate(boxes[1]):
            first, second = (
                {(x, y) for x in range(c[0], c[2]) for y in range(c[1], c[3])}
                for c in (a, b)
            )
            assert tracking.overlap(boxes[0], boxes[1])[i, j] == pytest.approx(
                len(first & second) / len(first | second)
            )


def test_two_people_who_pass_keep_their_tracks():
    detections = [
        np.array(
            [
                [20.0 + 5 * t, 10, 60 + 5 * t, 110, 0.9],
                [300.0 - 5 * t, 60, 340 - 5 * t, 170, 0.8],
            ]
        )
        for t in range(50)
    ]
    found = tracking.follow(detections, 25)
    assert sorted(found.track.unique()) == [1, 2]
    for _, mine in found.groupby("track"):
        assert mine.frame.tolist() == list(range(1, 50)), (
            "a track begins with its second box and misses none"
        )
        steps = np.diff(mine.x1)
        assert (np.sign(steps) == np.sign(steps[0])).all()


def test_a_weak_box_prolongs_a_track_and_begins_none():
    strong, weak = [np.array([[20.0, 10, 60, 110, score]]) for score in (0.9, 0.3)]
    assert tracking.follow([strong] * 5 + [weak] * 5, 25).frame.tolist() == list(
        range(1, 10)
    )
    assert len(tracking.follow([weak] * 10, 25)) == 0
    assert len(tracking.follow([np.zeros((0, 5))] * 4, 25)) == 0


def test_gaps_are_filled_by_straight_lines_up_to_the_limit():
    seen = table([(0, 1, 0.0), (4, 1, 8.0), (20, 1, 40.0)])
    filled = tracking.fill(seen, longest=10)
    assert filled.frame.tolist() == [0, 1, 2, 3, 4, 20]
    assert filled.x1.tolist() == [0, 2, 4, 6, 8, 40] and filled.filled.tolist() == [
        False,
        True,
        True,
        True,
        False,
        False,
    ]
    assert tracking.fill(seen, longest=2).frame.tolist() == [0, 4, 20]


def test_pieces_are_runs_of_kept_frames_of_the_tracklets_length():
    """Frames 3 to 299 of every fifth are 5, 10, ..., 295: 59 kept ones, so 24 + 24 +
    11; the last is too short.
    """
    long, short = tracking.pieces(table([(t, 1, float(t)) for t in range(3, 300)]))
    assert [len(piece) for piece in long] == [24, 24] and [
        len(piece) for piece in short
    ] == [11]
    assert long[0].frame.tolist() == list(range(5, 125, 5)) and long[
        1
    ].frame.tolist() == list(range(125, 245, 5))


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        (11, ([], [11])),
        (12, ([12], [])),
        (24, ([24], [])),
        (25, ([24], [1])),
        (36, ([24, 12], [])),
    ],
)
def test_the_rule_of_twelve_and_twenty_four(kept, expected):
    found = tracking.pieces(table([(5 * k, 1, 0.0) for k in range(kept)]))
    assert tuple([len(piece) for piece in side] for side in found) == expected


def test_a_gap_or_a_low_box_ends_a_piece():
    rows = table([(5 * k, 1, 0.0) for k in range(30) if k != 13])
    assert [len(piece) for piece in tracking.pieces(rows)[0]] == [13, 16]
    rows = table([(5 * k, 1, 0.0) for k in range(30)])
    rows.loc[13, "y2"] = 60.0
    assert [len(piece) for piece in tracking.pieces(rows)[0]] == [13, 16]
    assert [len(piece) for piece in tracking.pieces(rows, Cut(height=50))[0]] == [24]


def test_scores_by_hand():
    """Person 7 is held by track 1, then by track 2 (one switch), and missed once; track
    3 is on nobody for two frames.

    8 true boxes, 7 found: MOTA = 1 - (1 miss + 2 false + 1 switch) / 8 = 0.5. The best
    map gives person 7 to track 2 (4 boxes): IDF1 = 2 * 4 / (8 true + 9 tracked).
    """
    truth = true([(t, 7, 0.0) for t in range(8)])
    mine = table(
        [(t, 1, 2.0) for t in range(3)]
        + [(t, 2, 2.0) for t in range(4, 8)]
        + [(t, 3, 300.0) for t in range(2)]
    )
    found = tracking.scores(mine, truth)
    assert (found["switches"], found["misses"], found["false"], found["boxes"]) == (
        1,
        1,
        2,
        8,
    )
    assert found["MOTA"] == pytest.approx(0.5) and found["IDF1"] == pytest.approx(
        8 / 17
    )
    assert tracking.people(mine, truth) == {1: 7, 2: 7}


def test_hidden_people_neither_count_nor_make_boxes_false():
    truth = pd.concat(
        (
            true([(t, 7, 0.0) for t in range(4)]),
            true([(t, 8, 200.0) for t in range(4)], visible=0.05),
        )
    )
    mine = table([(t, k, x) for t in range(4) for k, x in ((1, 0.0), (2, 200.0))])
    found = tracking.scores(mine, truth)
    assert (found["MOTA"], found["IDF1"], found["boxes"], found["false"]) == (
        1.0,
        1.0,
        4,
        0,
    )
    with pytest.raises(ValueError, match="no visible person"):
        tracking.scores(mine, truth.assign(visible=0.0))


def slow_scores(mine: pd.DataFrame, truth: pd.DataFrame) -> tuple[float, int, float]:
    """MOTA, switches and IDF1 for people far apart, who match by nearness alone,
    written as loops over dictionaries.
    """
    from itertools import permutations

    last, switches, hits, shared = {}, 0, 0, {}
    for t in sorted(truth.frame.unique()):
        for person in truth[truth.frame == t].itertuples():
            for box in mine[mine.frame == t].itertuples():
                if (
                    abs(person.x1 - box.x1) < 40 / 3
                ):  # overlap (40 - d) / (40 + d) >= 1 / 2
                    hits += 1
                    switches += last.get(person.identity, box.track) != box.track
                    last[person.identity] = box.track
                    shared[person.identity, box.track] = (
                        shared.get((person.identity, box.track), 0) + 1
                    )
    people, names = sorted(truth.identity.unique()), sorted(mine.track.unique())
    names += [-1] * len(people)
    best = max(
        sum(shared.get(pair, 0) for pair in zip(people, order, strict=True))
        for order in permutations(names, len(people))
    )
    wrong = len(truth) - hits + len(mine) - hits + switches
    return 1 - wrong / len(truth), switches, 2 * best / (len(truth) + len(mine))


@pytest.mark.parametrize("seed", range(4))
def test_scores_agree_with_the_slow_count(seed):
    rng = np.random.default_rng(seed)
    truth = true(
        [(t, k, 100.0 * k) for t in range(25) for k in (1, 2, 3) if rng.random() < 0.9]
    )
    order, rows = [1, 2, 3], []
    for t in range(25):
        if rng.random() < 0.2:
            order = rng.permutation(order).tolist()
        rows += [
            (t, order[k - 1], 100.0 * k + rng.uniform(-20, 20))
            for k in (1, 2, 3)
            if rng.random() < 0.85
        ]
    found = tracking.scores(table(rows), truth)
    assert (found["MOTA"], found["switches"], found["IDF1"]) == pytest.approx(
        slow_scores(table(rows), truth)
    )
