"""The intervals of the book, tried on experiments whose truth is known."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from vvi.book import intervals as page

ROOT = Path(__file__).parent.parent


@pytest.fixture
def intervals(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    yield importlib.import_module("intervals")
    sys.modules.pop("intervals", None)


def test_the_true_rank1_is_that_of_many_people_and_runs(intervals):
    rng = np.random.default_rng(1)
    drawn = [intervals.draw(rng, 3, 0.1) for _ in range(60)]
    means = np.array([[side.mean() for side in sides] for sides in drawn])
    true = [intervals.true_rank1(level, 0.1) for level in intervals.LEVELS]
    error = means.std(0) / np.sqrt(len(drawn))
    assert (np.abs(means.mean(0) - true) < 4 * error).all()
    assert drawn[0][0].shape == (3, intervals.PEOPLE * intervals.QUERIES)


def test_most_intervals_hold_the_truth(intervals):
    counted = intervals.check(seeds=3, straying=0.06, experiments=60)
    assert 85 <= counted["held"] <= 100 and counted["experiments"] == 60
    one_run = intervals.draw(np.random.default_rng(0), 3, 0.06)[0].mean(1)
    assert one_run.shape == (3,)


def test_intervals_of_one_run_hold_it_less_often(intervals):
    one, five = (intervals.check(n, straying=0.15, experiments=60) for n in (1, 5))
    assert one["held"] < 80 < five["held"] and one["half"] < five["half"]


def test_rank1_strays_farther_where_runs_do(intervals):
    spreads = [intervals.spread(straying) for straying in intervals.STRAYING]
    assert spreads == sorted(spreads) and spreads[0] > 1 and spreads[-1] < 5
    assert intervals.spread(0.0) < spreads[0]


def test_a_wrong_truth_is_not_held(intervals, monkeypatch):
    monkeypatch.setattr(intervals, "true_rank1", lambda level, straying: 1e3 * level)
    assert intervals.check(seeds=2, straying=0.06, experiments=10)["held"] == 0


def test_the_command_writes_what_the_page_reads(intervals, tmp_path, monkeypatch):
    monkeypatch.setattr(page.paths, "records", lambda: tmp_path)
    file = tmp_path / "intervals.csv"
    monkeypatch.setattr(sys, "argv", ["x", "--experiments", "5", "--out", str(file)])
    intervals.main()
    counted = page.counts()
    assert list(counted.seeds) == list(intervals.SEEDS) * len(intervals.STRAYING)
    assert page.table().shape == (len(intervals.SEEDS), len(intervals.STRAYING))
    by_kind = counted.set_index(["seeds", "spread"]).held.unstack()
    assert (page.table().to_numpy() == by_kind.to_numpy()).all()
    assert f"{5 * len(counted)} made-up experiments" in page.sentence()


def test_the_committed_counts_are_of_the_settings_of_the_script(intervals):
    counted = page.counts()
    assert list(counted.seeds) == list(intervals.SEEDS) * len(intervals.STRAYING)
    assert (counted.experiments == intervals.EXPERIMENTS).all()
    by_straying = counted.half.to_numpy().reshape(len(intervals.STRAYING), -1)
    several = by_straying[:, 1:]
    assert (np.diff(several, axis=1) < 0).all(), "more seeds, narrower intervals"
    assert np.allclose(by_straying[:, 0], 3.7, atol=0.15), "as wide as in the book"
