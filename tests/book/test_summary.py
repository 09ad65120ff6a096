"""The box on top of a chapter: sentences that results decide."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from vvi.book import comparison, summary
from vvi.evaluation.probes import Score


def run(rank1: float, seed: int = 0, probes: dict | None = None, **history):
    """Stand for a result: its rank-1, seed, probes and history."""
    scores = probes or {}
    return SimpleNamespace(
        row=lambda direction: {"rank1": rank1},
        config=SimpleNamespace(seed=seed),
        record=SimpleNamespace(probes=scores),
        probe=scores.get,
        history=history,
        run_id="runs/x",
        precision="32-true",
    )


def test_a_box_is_html_in_a_page_and_text_elsewhere():
    shown = summary.box("Is a < b?", "yes: 1 < 2", "no")
    assert repr(shown) == "In short: Is a < b?\n- yes: 1 < 2\n- no"
    page = shown._repr_html_()
    assert 'class="admonition tip"' in page
    assert "Is a &lt; b?" in page and "<li>yes: 1 &lt; 2</li><li>no</li>" in page


def test_a_gain_says_means_difference_interval_and_verdict(monkeypatch):
    score = Score(10.0, 4.0, 16.0, 0.0, 9)
    monkeypatch.setattr(comparison, "difference", lambda *_: score)
    better, worse = [run(40), run(44, 1), run(0, 2)], [run(30), run(34, 1)]
    assert summary.gain("IG", better, worse, None) == (
        "IG: rank-1 42.0 instead of 32.0, +10.0 points "
        "(95 %: +4.0 to +16.0; 2 seeds): seen."
    )
    alone = summary.gain("IG", better[:1], worse, None)
    assert "over people alone" in alone and alone.endswith("a hint (one seed).")


@pytest.mark.parametrize(
    "sentence",
    [
        lambda runs: summary.gain("x", [], runs, None),
        lambda runs: summary.gain("x", runs, [], None),
        lambda runs: summary.change("x", [], "blank"),
        lambda runs: summary.change("x", runs, "blank"),
        lambda runs: summary.watched("x", runs, [], "p"),
        lambda runs: summary.ended("x", [], "p"),
    ],
)
def test_what_was_not_trained_is_said(sentence):
    assert sentence([run(1)]) == "x: not trained yet."


def test_where_a_term_ends_is_its_mean_over_the_last_steps_and_runs():
    runs = [
        run(1, **{"watch/p": [9.0, 0.2, 0.4]}),
        run(1, **{"watch/p": [9, 0.6, 0.8]}),
    ]
    assert summary.ended("p", runs, "p", last=2) == "p: 0.50."


def test_a_change_is_in_points_with_the_outermost_bounds():
    runs = [
        run(1, probes={"blank": Score(-0.3, -0.34, -0.26, 0.0, 9)}),
        run(1, probes={"blank": Score(-0.2, -0.25, -0.16, 0.0, 9)}),
    ]
    assert summary.change("blank", runs, "blank") == (
        "blank: -25.0 points of rank-1 (outermost 95 % bounds -34.0 to -16.0)."
    )


@pytest.mark.parametrize(
    ("less", "word"),
    [([0.5], "seen"), ([0.7], "not seen"), ([0.95], "the opposite")],
)
def test_a_watched_term_is_seen_where_all_runs_end_higher(less, word):
    more = [
        run(1, **{"watch/p": [0.0, 0.6, 0.6]}),
        run(1, **{"watch/p": [0, 0.9, 0.9]}),
    ]
    less = [run(1, **{"watch/p": [1.0, *2 * less]})]
    sentence = summary.watched("p", more, less, "p", last=2)
    assert sentence.startswith("p: 0.60 to 0.90 against ") and sentence.endswith(
        f": {word}."
    )
