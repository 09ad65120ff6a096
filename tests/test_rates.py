"""Ideas at twice the learning rate: planned, trained, collected, read out."""

from __future__ import annotations

import numpy as np
import pytest

from vvi.book import figures
from vvi.book import rates as page
from vvi.cli.main import main
from vvi.config import change, preset
from vvi.experiment import ablation, rates, worlds
from vvi.runtime import paths


@pytest.fixture
def folders(tmp_path, monkeypatch, common_cache):
    monkeypatch.setenv("VVI_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("VVI_CACHE", str(common_cache))
    monkeypatch.setattr(paths, "records", lambda: tmp_path / "records")
    return tmp_path


def test_nothing_but_the_rate_differs_and_each_run_is_wanted_once():
    runs = rates.wanted()
    assert len(runs) == len({config.hash for config in runs}) == 3 * 5
    for idea in rates.IDEAS.values():
        for row in (idea.on, idea.off):
            usual = row.configs(rates.SIZE, rates.SEEDS)
            faster = rates.configs(row)
            for config, other in zip(usual, faster, strict=True):
                assert other.recipe.lr == 2 * config.recipe.lr
                assert change(other, lr=config.recipe.lr) == config
                assert other in runs
            assert rates.configs(row, factor=1) == usual
            assert ablation.row_of(faster[1]) == (
                f"{ablation.row_of(usual[1])}, 2 times the rate"
            )


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_a_row_at_a_multiple_of_its_rate_has_that_behind_its_name(factor):
    row = next(iter(rates.IDEAS.values())).on
    (usual,), (faster,) = (
        rates.configs(row, seeds=[0], factor=1),
        rates.configs(row, seeds=[0], factor=float(factor)),
    )
    name = f"{ablation.row_of(usual)}, {factor} times the rate"
    assert ablation.row_of(faster) == name


def test_names_may_come_from_an_iterator():
    listed = rates.wanted(["di2l"], seeds=(0, 1))
    assert rates.wanted(iter(["di2l"]), seeds=(0, 1)) == listed


def test_ideas_of_one_method():
    assert list(rates.ideas(["baseline"])) == ["anaglyphs in place of frames"]
    assert len(rates.ideas(["di2l"])) == 2
    with pytest.raises(ValueError, match="no idea of moon .* choose from baseline"):
        rates.ideas(["moon", "di2l"])


def test_ideas_are_trained_once_collected_and_shown(
    folders, monkeypatch, capsys, tiny_root
):
    monkeypatch.setattr(rates, "SIZE", "tiny")
    view = figures.scene(preset("tiny"), tiny_root)
    assert page.table(view).empty
    command = ["rates", "baseline", "--preset", "tiny", "--seeds", "0"]
    assert main([*command, "--dry-run"]) == 0
    assert "Baseline, 2 times the rate" in capsys.readouterr().out
    assert main(command) == 0 and main(command) == 0
    printed = capsys.readouterr().out
    assert "2 runs trained, 2 wanted" in printed
    assert "0 runs trained, 2 wanted" in printed
    assert page.table(view).empty, "the rate of the recipe is not trained"
    usual = ["ablate", "baseline", "--preset", "tiny", "--seeds", "0"]
    assert main([*usual, "--tables", "Fig. 1 of IBAN", "Table 2"]) == 0
    assert main([*command, "--collect"]) == 0
    assert "2 of 2 records" in capsys.readouterr().out
    table = page.table(view)
    idea = "anaglyphs in place of frames"
    assert list(table.index) == [(idea, rate) for rate in page.RATES]
    for line in table.to_dict("records"):
        points = float(line["points"].split()[0])
        gain = float(line["with"]) - float(line["without"])
        assert np.isclose(gain, points, atol=0.11) and line["seeds"] == "1"
    (on,) = rates.configs(rates.IDEAS[idea].on, "tiny", [0])
    rank1 = 100 * page.experiment.run(on, progress=False).metrics("ir2vis").rank(1)
    assert table.loc[(idea, "twice the rate"), "with"] == f"{rank1:.1f}"


def test_the_sentence_has_the_numbers_of_the_committed_records():
    on, off = (
        [page.experiment.run(config, progress=False) for config in rates.configs(row)]
        for row in (rates.IDEAS["DPA and I2L, over CAJ"].on, worlds.AUGMENTED)
    )
    means = [
        np.mean([run.row("ir2vis")["rank1"] for run in runs]) for runs in (off, on)
    ]
    said = page.sentence()
    assert f"CAJ has {means[0]:.1f} and DI2L" in said and "3 seeds" in said
    assert f"{means[1] - means[0]:+.1f} (" in said
    score = worlds.difference(on, off, "ir2vis")
    assert ("no effect" in said) == (score.low <= 0 <= score.high)


def test_without_runs_there_is_no_sentence(folders):
    assert page.sentence() == ""


def test_on_other_data_than_those_of_the_runs_nothing_is_shown(tiny_root):
    view = figures.scene(preset("tiny"), tiny_root)
    assert page.table(view).empty, "the committed records are of standard"
