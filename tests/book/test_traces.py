"""Terms of training as lines over the steps."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from vvi.book import traces
from vvi.config import preset

NAN = float("nan")


def result(**history):
    terms = {name.replace("__", "/"): values for name, values in history.items()}
    return SimpleNamespace(history=terms, run_id="abc", data_label="synthetic")


def test_a_term_is_joined_over_the_phases_that_have_it():
    run = result(I__triplet=[1.0, 2.0, NAN, NAN], II__triplet=[NAN, NAN, 3.0, NAN])
    np.testing.assert_array_equal(traces.of_run(run, "triplet"), [1, 2, 3, NAN])


def test_phases_of_one_step_are_averaged():
    run = result(def__id=[1.0], stig__id=[3.0], watch__other=[9.0])
    np.testing.assert_array_equal(traces.of_run(run, "id"), [2])


def test_a_term_with_its_phase_is_that_of_this_phase_alone():
    run = result(encoder__confusion=[0.5], watch__confusion=[10.0])
    np.testing.assert_array_equal(traces.of_run(run, "watch/confusion"), [10])
    np.testing.assert_array_equal(traces.of_run(run, "confusion"), [5.25])


def test_a_run_without_the_term_has_no_line():
    assert traces.of_run(result(main__id=[1.0], lr=[0.1]), "triplet") is None
    assert traces.of_run(result(lr=[0.1]), "triplet") is None


def test_empty_rows_and_rows_without_the_term_are_left_out(tmp_path, monkeypatch):
    monkeypatch.setenv("VVI_FIGURES", str(tmp_path))
    rows = {
        "a": [result(x__t=[1.0, 1.0])],
        "b": [],
        "c": [result(x__u=[1.0, 1.0])],
        "d": [result(x__t=[4.0, 4.0])],
    }
    fig = traces.draw(rows, "t", "method/t", "Lines.", smooth=1)
    assert [line.get_label() for line in fig.axes[0].get_lines()] == ["a", "d"]
    assert fig.alt == "Lines."
    words = fig.caption
    assert "a (1)" in words
    assert "d (4)" in words
    assert (tmp_path / "method" / "t.png").is_file()


def test_a_single_line_names_no_lowest_and_highest(tmp_path, monkeypatch):
    monkeypatch.setenv("VVI_FIGURES", str(tmp_path))
    fig = traces.draw({"a": [result(x__t=[1.0])]}, "t", "method/t", "A line.")
    assert "Lowest" not in fig.caption


def test_no_row_with_the_term_is_an_error():
    with pytest.raises(ValueError, match="no row has a term 'triplet'"):
        traces.draw({"a": [], "b": [result(main__id=[1.0])]}, "triplet", "m/t", "")


@pytest.mark.parametrize(
    ("method", "options", "weight"),
    [("baseline", {}, 1.0), ("sadstrm", {}, 0.5), ("sadstrm", {"lambda_2": 4.0}, 4.0)],
)
def test_a_term_is_divided_by_its_weight_where_the_method_has_one(
    method, options, weight
):
    config = preset("tiny", method, **options)
    assert traces._weight_of(config, "lambda_2") == weight


def test_an_epoch_is_found_among_the_steps_of_a_run():
    even = preset("tiny", steps=200, drops=(), epochs=200)
    assert traces.when(60, even) == "epoch 60 begins after 60 of 200 steps"
    standard = preset("standard")
    said = traces.when(35, standard)  # the first milestone, at 0.6 of the run
    assert said == "epoch 35 begins after 900 of 1,500 steps"
    assert traces.when(60, preset("paper")) == "epoch 60 is that of the run"
