"""The rows of the papers at other lengths: planned, trained, collected, read out."""

from __future__ import annotations

import numpy as np
import pytest

from vvi import methods
from vvi.book import comparison, figures, lengths
from vvi.cli.main import main
from vvi.config import preset
from vvi.experiment import ablation, budgets
from vvi.runtime import paths


@pytest.fixture
def folders(tmp_path, monkeypatch):
    for name in ("RUNS", "CACHE", "FIGURES"):
        monkeypatch.setenv(f"VVI_{name}", str(tmp_path / name.lower()))
    monkeypatch.setattr(paths, "records", lambda: tmp_path / "records")
    return tmp_path


def test_every_method_is_asked_at_three_lengths_and_nothing_else_differs():
    rows = budgets.rows()
    assert {row.method for row in rows.values()} == set(methods.names())
    assert len(rows) == len(methods.names()) + 2, "the baseline on anaglyphs, and CAJ"
    for title, row in rows.items():
        usual = ablation.configs(row.method, row.table, seeds=(0,))[row.label][0]
        by_steps = budgets.configs(row)
        assert list(by_steps) == [500, 1500, 3000]
        for steps, (config,) in by_steps.items():
            recipe = vars(config.recipe) | {"steps": usual.recipe.steps}
            assert recipe == vars(usual.recipe), title
            assert config.recipe.steps == steps
            assert (config.data, config.options) == (usual.data, usual.options)
        assert by_steps[1500][0].hash == usual.hash, "the row itself is trained once"


def test_rows_of_one_method():
    assert list(budgets.rows(["mitml"])) == ["MITML"]
    assert list(budgets.rows(["baseline"])) == ["baseline", "baseline on anaglyphs"]
    assert list(budgets.rows(["di2l"])) == ["DI2L", "CAJ"]


def test_a_preset_that_counts_epochs_is_refused():
    with pytest.raises(ValueError, match="preset paper counts epochs"):
        budgets.steps("paper")


def test_lengths_are_trained_once_collected_and_shown(
    folders, monkeypatch, capsys, tiny_root
):
    monkeypatch.setattr(budgets, "SIZE", "tiny")
    view = figures.scene(preset("tiny"), tiny_root)
    assert lengths.stored(view) == {} and lengths.sentence() == ""
    command = ["budgets", "baseline", "mitml", "--preset", "tiny"]
    assert main(command) == 0 and main(command) == 0
    printed = capsys.readouterr().out
    assert "9 runs trained, 9 wanted" in printed
    assert "0 runs trained, 9 wanted" in printed
    assert main([*command, "--collect"]) == 0
    assert "9 of 9 records" in capsys.readouterr().out
    (folders / "runs").rename(folders / "gone")
    known = lengths.stored(view)
    assert list(known) == ["baseline", "baseline on anaglyphs", "MITML"]
    table = lengths.table(known, view)
    short, usual, long = budgets.steps("tiny")
    for title, by_steps in known.items():
        rank1 = {n: 100 * r[0].metrics("ir2vis").rank(1) for n, r in by_steps.items()}
        assert table.loc[title, f"{long:,} steps"] == f"{rank1[long]:.1f}"
        gain = table.loc[title, f"{long:,} over {usual:,}"]
        assert float(gain.split()[0]) == pytest.approx(
            rank1[long] - rank1[usual], abs=0.051
        )
        score = comparison.rank1(by_steps[short], view)
        assert score.value == pytest.approx(rank1[short])
        assert score.low <= score.value <= score.high
    added = lengths.over_starts(known, view)
    rank1 = [100 * known[t][long][0].metrics("ir2vis").rank(1) for t in known]
    for title, value in zip(list(known)[1:], rank1[1:], strict=True):
        text = added.loc[f"{title} minus baseline", f"{long:,} steps"]
        assert float(text.split()[0]) == pytest.approx(value - rank1[0], abs=0.051)
    assert (added.loc["DI2L minus CAJ"] == "–").all(), "not trained"
    said = lengths.sentence()
    assert f"After {long:,} steps in place of {usual:,}" in said and "one seed" in said
    assert all(
        f"{t} {value:.1f}" in said for t, value in zip(known, rank1, strict=True)
    )
    sentence = lengths.finding(known, view)
    assert all(title in sentence for title in known)
    assert lengths.show(known, view) is not None
    assert (folders / "figures" / "comparison" / "lengths.png").is_file()
    assert not (folders / "runs").exists(), "a page trains nothing"


def test_on_other_data_than_those_of_the_runs_nothing_is_shown(tiny_root):
    view = figures.scene(preset("tiny"), tiny_root)
    assert lengths.stored(view) == {}, "the committed records are of standard"


def test_a_length_without_a_result_is_a_dash(folders, tiny_root):
    view = figures.scene(preset("tiny"), tiny_root)
    text = lengths.table({"MITML": {500: [], 1500: []}}, view)
    assert (text == "–").all(axis=None)
    points = lengths._level([], view)
    assert np.isnan(points).all()


def test_the_dry_run_names_the_length(folders, capsys):
    assert main(["budgets", "mitml", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].endswith("mitml, Table 2: Full method, 500 steps")
    assert lines[2].endswith("mitml, Table 2: Full method")
    assert lines[3].endswith("mitml, Table 2: Full method, 3000 steps")
