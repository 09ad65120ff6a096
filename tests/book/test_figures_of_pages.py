"""Terms of training over all phases, as the figures of chapters take them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from vvi.book import figures

NAN = float("nan")


def run(**history):
    return SimpleNamespace(history=history, run_id="runs/x")


def test_a_term_is_joined_over_phases_run_by_run():
    changing = run(**{"before/id": [3.0, NAN], "encoder/id": [NAN, 2.0]})
    single = run(**{"encoder/id": [5.0, 4.0], "encoder/anaglyph id": [9.0, 9.0]})
    joined = figures.over_phases([changing, single], "id")
    np.testing.assert_array_equal(joined, [[3, 2], [5, 4]])


def test_a_step_without_the_term_stays_unknown():
    late = run(**{"encoder/reconstruction": [NAN, 0.5]})
    np.testing.assert_array_equal(
        figures.over_phases([late], "reconstruction"), [[NAN, 0.5]]
    )


def test_a_run_without_the_term_is_named():
    with pytest.raises(ValueError, match="runs/x has no term 'frame weight'"):
        figures.over_phases([run(**{"encoder/id": [1.0]})], "frame weight")


def test_one_panel_a_term_and_no_line_for_a_row_without_runs():
    rows = {"main": [run(**{"a/id": [2.0, 1.0], "a/triplet": [1.0, 0.5]})], "none": []}
    terms = {"identity": "id", "triplet": "triplet"}
    fig = figures.over_steps(rows, terms, SimpleNamespace(label="synthetic"))
    assert [ax.get_title() for ax in fig.axes] == ["identity", "triplet"]
    for ax in fig.axes:
        assert [line.get_label() for line in ax.lines] == ["main"]
    assert "synthetic data" in fig.caption
    ends = "identity: main 1.50. triplet: main 0.75."
    assert f"Mean of the last 50 steps. {ends}" in fig.caption


def test_the_caption_of_losses_says_where_each_term_ends(monkeypatch):
    monkeypatch.setattr(figures, "LAST_STEPS", 2)
    late = run(**{"a/id": [9.0, 2.0, 1.0, NAN], "a/triplet": [NAN, NAN, NAN, NAN]})
    late = SimpleNamespace(
        **vars(late), config=SimpleNamespace(seed=0), data_label="synthetic"
    )
    caption = figures.loss_curves([late]).caption
    assert caption.startswith("Mean of the last 2 steps: id 1.50; triplet –.")
