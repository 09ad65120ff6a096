"""How many tracklets are mapped, and which."""

from __future__ import annotations

import numpy as np
import pytest

from vvi.config import preset
from vvi.evaluation.evaluate import Side
from vvi.experiment import datasets, measure


@pytest.fixture
def data(tiny_root):
    return datasets.open_data(preset("tiny").data, tiny_root, progress=False)


@pytest.fixture
def mapped(data, monkeypatch):
    """A function: two lists of tracklets -> the rows of the first that are mapped."""
    monkeypatch.setattr(
        measure, "_cams", lambda method, clips, *_: np.zeros(clips[:, :, 0].shape)
    )

    def rows(own, others) -> list[int]:
        feat = np.zeros((len(others), 4), np.float32)
        chosen, maps, masks = measure.test_cams(None, data, own, others, feat)
        assert len(chosen) == len(maps) == len(masks)
        return chosen.tolist()

    return rows


@pytest.mark.parametrize(
    ("offered", "chosen"), [(1, [0]), (2, [0, 1]), (9, [0, 8]), (24, [0, 11, 23])]
)
def test_an_eighth_of_the_tracklets_is_mapped_evenly_spaced(
    data, mapped, offered, chosen
):
    query, gallery = data.dataset.sides["ir2vis"]
    assert mapped(gallery[:offered], query) == chosen


@pytest.mark.parametrize(
    ("noisy", "rows"),
    [([1, 0, 0], [0]), ([1, 1, 0], [0, 1]), ([0, 0, 0], [0, 2]), ([0], [0])],
)
def test_shown_rows_are_noisy_where_some_are_and_none_is_there_twice(noisy, rows):
    assert measure._shown_rows(np.array(noisy, bool)[:, None]).tolist() == rows


def test_without_clips_enough_a_run_is_measured_but_for_its_gap(data):
    query, gallery = data.dataset.sides["ir2vis"]
    one_each = [
        [
            next(t for t in s if t.identity == i)
            for i in (query[0].identity, query[-1].identity)
        ]
        for s in (query, gallery)
    ]
    feat = np.eye(2, 4, dtype=np.float32)
    side = Side(*map(tuple, one_each), feat, feat, "none")
    assert measure._gap(side) == {}
    whole = Side(
        query,
        gallery,
        *(np.random.default_rng(0).normal(size=(len(s), 4)) for s in (query, gallery)),
        "none",
    )
    assert set(measure._gap(whole)) == {"gap distance", "gap probe"}


def test_no_more_are_mapped_than_the_most(data, mapped, monkeypatch):
    query, gallery = data.dataset.sides["ir2vis"]
    monkeypatch.setattr(measure, "MAPPED", 2)
    assert mapped(gallery[:24], query) == [0, 23]


def test_those_without_their_person_in_the_other_modality_are_left_out(data, mapped):
    query, gallery = data.dataset.sides["ir2vis"]
    first = gallery[0].identity
    others = [tracklet for tracklet in query if tracklet.identity != first]
    rows = mapped(gallery, others)
    assert rows[0] > 0 and all(gallery[row].identity != first for row in rows)
