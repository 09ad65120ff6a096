"""The page of equal tuning: read from logs, no trial is left out or trained."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

from vvi.book import tuned
from vvi.experiment import tune
from vvi.runtime import paths


@pytest.fixture
def records(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "records", lambda: tmp_path)
    monkeypatch.setenv("VVI_RUNS", str(tmp_path / "runs"))
    return tmp_path


def trials(method: str, scores: list[float]) -> pd.DataFrame:
    """Return a log with the drawn knobs and some scores."""
    rows = []
    for number, (knobs, _) in tune.trials(method, len(scores)).items():
        row = {"trial": number} | {name: knobs.get(name) for name in tune.space(method)}
        rows.append(row | {"score": scores[number], "split": "val"})
    table = pd.DataFrame(rows)
    return table.sort_values("score", ascending=False, ignore_index=True)


def test_without_logs_there_is_nothing_to_show(records):
    assert tuned.logs() == {}
    assert tuned.budget([]) is None


@pytest.mark.parametrize("method", ["baseline", "di2l", "mitml"])
def test_the_best_trial_is_shown_with_the_knobs_that_it_was_trained_with(
    records, method
):
    tune.write_log(trials(method, [30.0, 28.0, 33.5]), tune.log_file(method))
    tables = tuned.logs()
    assert tuned.logs(SimpleNamespace(known=False)) == {}, "of real people none"
    assert list(tuned.logs(SimpleNamespace(known=True))) == [method]
    assert list(tables) == [method] and tuned.budget(tables.values()) == 3
    drawn = tune.trials(method, 3)[2][0]
    knobs = tune.best(method, tables[method])
    assert knobs == drawn
    assert {name: type(value) for name, value in knobs.items()} == {
        name: type(value) for name, value in drawn.items()
    }
    line = tuned.summary(tables).iloc[0]
    assert line["validation, one recipe"] == "30.0"
    assert line["validation, best trial"] == "33.5"
    assert all(f"{name}=" in line["its knobs"] for name in drawn)
    assert line["test, ir2vis, tuned"] == "–"


def test_a_main_row_that_stays_the_best_changes_nothing(records):
    tune.write_log(trials("iban", [40.0, 28.0]), tune.log_file("iban"))
    line = tuned.summary(tuned.logs()).iloc[0]
    assert line["its knobs"] == "those of the one recipe"
    columns = ["validation, one recipe", "validation, best trial"]
    assert line[columns].tolist() == ["40.0", "40.0"]


def test_budgets_that_differ_are_no_equal_budget():
    frames = [pd.DataFrame({"trial": range(n)}) for n in (3, 4)]
    assert tuned.budget(frames) is None
    assert tuned.budget(frames[:1]) == 3


def test_one_sentence_has_the_best_trials_on_test_people_the_highest_first(
    records, monkeypatch
):
    assert tuned.sentence({}) == ""
    tables = {m: trials(m, [40.0, 28.0]) for m in ("iban", "mitml")}
    assert tuned.sentence(tables) == "", "no record of a best trial"
    rank1 = {"iban": 41.0, "mitml": 43.0}

    def run(config, progress):
        return SimpleNamespace(row=lambda _: {"rank1": rank1[config.method]})

    monkeypatch.setattr(tuned.ablation, "missing", lambda configs: [])
    monkeypatch.setattr(tuned.experiment, "run", run)
    said = tuned.sentence(tables)
    assert said.startswith("The best of 2 trials of each method")
    assert "MITML 43.0 and IBAN 41.0. Their settings" in said
    assert said.endswith(" comparison of the methods.")
    assert tuned.sentence(tables | {"di2l": trials("di2l", [40.0])}) == ""
