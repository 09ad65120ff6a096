"""Ideas on validation people beside test people, from stored results alone."""

from __future__ import annotations

import numpy as np
import pytest

from vvi import experiment
from vvi.book import both_splits, ideas
from vvi.experiment import ablation
from vvi.runtime import paths

IDEA = ideas.IDEAS[0]


@pytest.fixture(autouse=True)
def no_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("VVI_RUNS", str(tmp_path / "runs"))


@pytest.fixture(scope="module")
def tables():
    """The table of each direction; runs of this machine have no part in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VVI_RUNS", "/nowhere")
        directions = ("ir2vis", "vis2ir")
        return {name: both_splits.table(direction=name) for name in directions}


def rank1(row, split, direction):
    method, table, label = row
    configs = ablation.configs(method, table, seeds=(0, 1, 2), split=split)[label]
    runs = [experiment.run(config, progress=False) for config in configs]
    return np.mean([100 * run.metrics(direction).rank(1) for run in runs])


@pytest.mark.parametrize("direction", ["ir2vis", "vis2ir"])
@pytest.mark.parametrize("split", ["val", "test"])
def test_a_difference_is_that_of_the_committed_records(split, direction, tables):
    line = tables[direction].loc[IDEA.name]
    people = both_splits.PEOPLE[split]
    after, before = (rank1(r, split, direction) for r in (IDEA.row, IDEA.baseline))
    assert line[f"{people}: with"] == f"{after:.1f}"
    assert line[f"{people}: without"] == f"{before:.1f}"
    value = float(line[f"{people}: points"].split()[0])
    assert value == pytest.approx(after - before, abs=0.051)
    assert line.seeds == 3


def test_seeds_that_one_kind_of_people_lacks_count_for_neither(monkeypatch):
    stored = both_splits._stored

    def two_seeds_on_validation_people(row, seeds, split, size):
        return stored(row, [0, 2] if split == "val" else seeds, split, size)

    monkeypatch.setattr(both_splits, "_stored", two_seeds_on_validation_people)
    line = both_splits.table().loc[IDEA.name]
    method, table, label = IDEA.row
    configs = ablation.configs(method, table, seeds=(0, 2), split="test")[label]
    runs = [experiment.run(config, progress=False) for config in configs]
    mean = np.mean([100 * run.metrics("ir2vis").rank(1) for run in runs])
    assert line.seeds == 2 and line["test people: with"] == f"{mean:.1f}"


def test_the_two_kinds_of_people_are_searched_with_one_training():
    searched = {}
    for split in both_splits.PEOPLE:
        configs = ablation.configs("iban", "Table II", split=split)["Baseline"]
        assert {config.data.split for config in configs} == {split}
        searched[split] = configs
    for val, test in zip(searched["val"], searched["test"], strict=True):
        assert val.hash != test.hash
        one = experiment.run(val, progress=False).history
        other = experiment.run(test, progress=False).history
        assert set(one) == set(other)
        assert all(np.array_equal(one[term], other[term], True) for term in one)


def test_an_idea_without_a_result_on_both_kinds_of_people_is_left_out(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(paths, "records", lambda: tmp_path / "records")
    assert both_splits.table().empty
