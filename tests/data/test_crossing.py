"""Scenes of several walkers: boxes, identities and occlusion are as drawn, and day
differs from night in light alone.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from vvi.data.synthetic import crossing
from vvi.data.synthetic.crossing import Crossing, film, read_truth, write_crossing
from vvi.data.video import open_video

SCENE = Crossing(
    people=(1, 2, 3), camera=2, frames=60, height=96, width=160, preset="tiny"
)


def test_equal_scenes_are_equal_and_takes_differ():
    frames, truth = film(SCENE, "vis", [10, 40])
    again, known = film(SCENE, "vis", [10, 40])
    assert (frames == again).all() and truth.equals(known)
    assert not (
        film(dataclasses.replace(SCENE, take=1), "vis", [10, 40])[0] == frames
    ).all()


def test_day_and_night_hold_the_same_walks():
    (day, first), (night, second) = (
        film(SCENE, modality, range(0, 60, 10)) for modality in ("vis", "ir")
    )
    assert first.equals(second)
    assert day.shape == night.shape == (6, 96, 160, 3)
    assert (night[..., 0] == night[..., 1]).all() and not (
        day[..., 0] == day[..., 1]
    ).all()


def test_single_moments_are_those_of_the_whole_film():
    whole, truth = film(SCENE, "ir")
    part, known = film(SCENE, "ir", [7, 30])
    assert (part == whole[[7, 30]]).all()
    assert known.equals(truth[truth.frame.isin([7, 30])].reset_index(drop=True))


def test_a_lone_walker_fills_the_box_and_nothing_else():
    scene = dataclasses.replace(SCENE, people=(5,))
    moments = range(20, 40, 4)
    frames, truth = film(scene, "ir", moments)
    seen = truth.set_index("frame")
    others, _ = film(dataclasses.replace(SCENE, people=()), "ir", moments)
    for k, t in enumerate(moments):
        changed = np.abs(frames[k].astype(int) - others[k]).max(-1) > 12
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        box = seen.loc[t, ["x1", "y1", "x2", "y2"]].to_numpy(float)
        assert (
            np.abs(
                np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) - box
            ).max()
            <= 2
        )
        assert seen.loc[t, "visible"] == pytest.approx(1.0)


def test_what_is_visible_shrinks_only_where_a_nearer_person_stands():
    """Independent count: a person's visible pixels are those of the person alone less
    those of everybody nearer, from films of each alone.
    """
    truth = film(SCENE, "vis")[1]
    alone = {
        who: film(dataclasses.replace(SCENE, people=(who,)), "vis")[1].set_index(
            "frame"
        )
        for who in SCENE.people
    }
    for row in truth.itertuples():
        mine = alone[row.identity].loc[row.frame]
        assert (row.x1, row.y1, row.x2, row.y2) == (mine.x1, mine.y1, mine.x2, mine.y2)
        assert row.visible <= mine.visible + 1e-12
        if row.visible < mine.visible:
            others = truth[
                (truth.frame == row.frame) & (truth.identity != row.identity)
            ]
            assert ((others.x1 < row.x2) & (others.x2 > row.x1)).any()
    assert (truth.visible < 0.7).any(), "somebody is hidden at some time"


def test_the_standing_foot_stays_where_it_is():
    truth = film(dataclasses.replace(SCENE, people=(4,)), "vis")[1]
    middle = (truth.x1 + truth.x2) / 2
    assert abs(middle.iloc[-1] - middle.iloc[0]) > 20
    steps = np.diff(truth.y2)
    assert np.abs(steps).max() <= 2, "feet do not jump"


def test_a_film_and_its_truth_lie_side_by_side(tmp_path):
    path = write_crossing(SCENE, "vis", tmp_path / "scene" / "day.mp4")
    frames, truth = film(SCENE, "vis")
    assert sorted(p.name for p in path.parent.iterdir()) == ["day.csv", "day.mp4"]
    read = read_truth(path)
    assert read.identity.tolist() == truth.identity.tolist() and np.allclose(
        read, truth, atol=1e-4
    )
    seen = np.stack(list(open_video(path)))
    assert seen.shape == frames.shape and np.abs(seen.astype(int) - frames).mean() < 6


def test_a_stored_film_is_drawn_once(tmp_path, monkeypatch):
    monkeypatch.setenv("VVI_CACHE", str(tmp_path))
    scene = dataclasses.replace(SCENE, frames=4)
    path = crossing.stored(scene, "ir")
    first = path.read_bytes()
    monkeypatch.setattr(crossing, "film", lambda *_: pytest.fail("drawn again"))
    assert crossing.stored(scene, "ir") == path and path.read_bytes() == first
    monkeypatch.undo()
    monkeypatch.setenv("VVI_CACHE", str(tmp_path))
    assert crossing.stored(dataclasses.replace(scene, take=1), "ir") != path


def test_an_unknown_person_is_named():
    with pytest.raises(ValueError, match="has no identity 999"):
        film(dataclasses.replace(SCENE, people=(999,)), "vis", [0])
