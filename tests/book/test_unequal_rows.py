"""Rows that are not quite comparable: other seeds, another precision of the runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vvi import experiment
from vvi.book import across_methods, comparison, figures, helps, lengths, rates, summary
from vvi.book.ideas import IDEAS
from vvi.config import change, preset
from vvi.evaluation.probes import Score
from vvi.experiment import Result


@pytest.fixture(scope="module")
def shown(tiny_root, tmp_path_factory):
    """A run under two seeds, and its scene."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VVI_RUNS", str(tmp_path_factory.mktemp("runs")))
        settings = preset("tiny")
        run = experiment.run(settings, data=tiny_root)
        view = figures.scene(settings, tiny_root)
    return [run, _changed(run, seed=1)], view


def _changed(run: Result, seed: int = 0, **environment: str) -> Result:
    """Return a run under another seed, as if made elsewhere."""
    record = replace(
        run.record,
        config=change(run.config, seed=seed),
        environment=run.record.environment | environment,
    )
    return replace(run, record=record)


def _with_hits(run: Result, rank: int) -> Result:
    """Return a run that answers each query at this rank."""
    hits = {
        key: np.full_like(array, rank) if key.endswith("first_hit") else array
        for key, array in run.record.arrays.items()
    }
    return replace(run, record=replace(run.record, arrays=hits))


def test_rows_without_a_common_seed_are_in_no_table(shown):
    (first, second), view = shown
    assert comparison.of_common_seeds([first], [second]) == ([], [])
    assert not comparison.have_common_seed([first], [])
    claims = {"claim": ([first], [second])}
    judged = comparison.verdicts(claims, view).loc["claim"]
    assert judged["seeds"] == 0 and judged["on this data"] == comparison.UNTRAINED
    rows = {"base": [second], "row": [first], "both": [first, second]}
    assert list(comparison.differences(rows, "base", view).index) == ["both"]
    said = summary.gain("claim", [first], [second], view)
    assert said == f"claim: {comparison.UNTRAINED}."
    assert across_methods.pairs({"a": [first], "b": [second]}, view) == {
        "a": {},
        "b": {},
    }
    assert across_methods.gains({"IBAN": [first]}, {"IBAN": [second]}, view).empty


def test_an_idea_without_a_common_seed_is_not_trained_yet(shown, monkeypatch):
    (first, second), view = shown
    idea = IDEAS[0]
    monkeypatch.setattr(helps.ideas, "everything", lambda: [idea])
    sides = {idea.row: [first], idea.baseline: [second]}
    monkeypatch.setattr(helps, "_results", lambda row, *_: sides[row])
    assert set(helps.measure(view).verdict) == {comparison.UNTRAINED}


def test_runs_of_other_seeds_can_be_compared_by_hand(shown):
    (first, second), view = shown
    assert comparison.difference([first], [second], view).value == 0


def test_verdicts_of_one_seed_are_called_a_hint(shown):
    runs, view = shown
    for count, said in ((1, True), (2, False)):
        table = comparison.verdicts({"claim": (runs[:count], runs[:count])}, view)
        assert ("a hint" in table.index.name) == said


def test_the_precision_is_that_of_the_record_or_else_of_the_recipe(shown):
    (first, second), _ = shown
    usual = first.config.recipe.precision
    assert first.precision == usual and not first.changed_precision
    other = _changed(second, 1, precision="bf16-mixed" if usual != "bf16-mixed" else "")
    assert other.changed_precision and other.precision != usual
    rows = {"A": [first, other], "B": [first]}
    assert across_methods.precisions(rows).endswith("without bfloat16: 1 of A.")
    assert "All runs" in across_methods.precisions({"B": [first]})


def test_lengths_mark_runs_and_differences_of_another_precision(shown):
    (first, _), view = shown
    other = _changed(first, precision="another")
    steps = lengths._steps()
    same = {count: [first] for count in steps}
    known = {"baseline": same, "MITML": same | {steps[-1]: [other]}}
    for table, row in (
        (lengths.table(known, view), "MITML"),
        (lengths.over_starts(known, view), "MITML minus baseline"),
    ):
        cells = [table.loc[row, f"{count:,} steps"] for count in steps]
        assert [cell.endswith(lengths.MARK) for cell in cells] == [False, False, True]
    assert "*" not in "".join(lengths.table(known, view).loc["baseline"])
    known["baseline"] = known["MITML"]
    added = lengths.over_starts(known, view).loc["MITML minus baseline"]
    assert not added.str.endswith(lengths.MARK).any(), "both sides alike"


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(-1, 2, "no effect"), (1, 3, "seen to help"), (-3, -1, "seen to harm")],
)
def test_the_sentence_on_rates_follows_the_interval(monkeypatch, low, high, words):
    score = Score((low + high) / 2, low, high, 0.0, 9)
    monkeypatch.setattr(rates.worlds, "difference", lambda *_: score)
    assert words in rates.sentence()


def test_both_rates_are_of_the_seeds_that_all_rows_have(shown, monkeypatch):
    (first, second), view = shown
    usual = preset("tiny").data.source
    monkeypatch.setattr(rates.rates, "SIZE", "tiny")
    assert view.settings.data.source == usual
    stored = {
        1.0: ([first, second], [first, second]),
        rates.rates.FACTOR: ([second],) * 2,
    }
    monkeypatch.setattr(rates, "_stored", lambda idea, factor: stored[factor])
    assert set(rates.table(view).seeds) == {"1"}
    stored[rates.rates.FACTOR] = ([], [])
    assert rates.table(view).empty


def test_the_seeds_that_a_gain_would_take_follow_from_people_and_spread(shown):
    (first, second), view = shown
    rows, own = {"IBAN": [first, second]}, {"IBAN": [first, second]}
    (line,) = across_methods.seeds_needed(rows, own, view).to_dict("records")
    assert line["seeds"] == 2
    assert line["people alone"] == line["half an interval"] == "0.0", "equal runs"
    assert line["seeds for 3 points"] == "2"
    alone = across_methods.seeds_needed({"IBAN": [first]}, own, view)
    assert alone.empty, "one seed has no spread"


def test_seeds_held_leave_the_people(shown):
    (first, _), view = shown
    better, worse = _with_hits(first, 1), _with_hits(first, 2)
    runs = [_changed(better), _changed(worse, seed=1)]
    base = [_changed(first), _changed(first, seed=1)]
    gain = comparison.difference(runs, base, view)
    held = comparison.difference_of_means(runs, base, view)
    assert held.value == gain.value
    assert held.high - held.low < gain.high - gain.low


def test_seeds_of_unlike_precision_are_marked(shown):
    (first, second), view = shown
    other = _changed(second, 1, precision="another")
    assert comparison.of_unlike_precision([first, other], [first, second])
    assert not comparison.of_unlike_precision([first, other], [first, other])
    assert not comparison.of_unlike_precision([first, other], [first]), "not common"
    rows = {"base": [first, second], "same": [first, second], "row": [first, other]}
    table = comparison.differences(rows, "base", view)
    marked = table["all queries"].str.endswith(comparison.MARK)
    assert marked.to_dict() == {"same": False, "row": True}
    assert comparison.UNLIKE in table.index.name
    claims = {"claim": (rows["row"], rows["base"]), "same": (rows["same"],) * 2}
    judged = comparison.verdicts(claims, view)
    marked = judged["points of rank-1"].str.endswith(comparison.MARK)
    assert marked.to_dict() == {"claim": True, "same": False}
    said = summary.gain("claim", rows["row"], rows["base"], view)
    assert "2 seeds, not all of one precision" in said
    assert "precision" in helps.note(rows["row"], rows["base"])
    assert "precision" not in helps.note(rows["same"], rows["base"])


def test_a_difference_of_one_seed_is_called_a_hint(shown):
    (first, second), view = shown
    said = summary.gain("claim", [first], [first], view)
    assert "over people alone" in said and said.endswith(", a hint (one seed).")
    assert "hint" not in summary.gain("claim", *[[first, second]] * 2, view)


def test_the_first_page_says_which_baseline_an_idea_starts_from():
    said = helps._own_baselines()
    starts = {idea.name: idea.baseline for idea in helps.ideas.everything()}
    caj = ("di2l", "Table 2", "Baseline")
    assert starts["DI2L as a whole"] == caj and "DI2L is CAJ" in said
    third = next(idea for idea in IDEAS if idea.row == caj)
    assert third.baseline == helps.ideas.AGW and "third stream is AGW" in said
    assert starts["CMFT as a whole"][:2] == ("cmft", "Same batches")
    assert starts["SADSTRM as a whole"] == ("sadstrm", "Table 1", "Baseline")


def test_a_gain_that_is_named_says_what_stands_against_it():
    table, levels = helps.load()
    weak = table[table.note.str.contains("under-trained without it")].iloc[0]
    assert helps._named_gain(weak).endswith(" (under-trained without it)")
    plain = table[(table.note == "") & (table.seeds > 0)].iloc[0]
    assert helps._named_gain(plain) == f"{plain.idea} {plain.points:+.1f}"
