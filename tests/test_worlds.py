"""The plan of the experiment in worlds, its runs, and what is read out of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from vvi import experiment, methods
from vvi.cli.main import main
from vvi.config import change, preset
from vvi.data import synthetic
from vvi.data.synthetic import presets, world_claims
from vvi.data.synthetic.presets import Plan, Preset
from vvi.data.synthetic.world import DOSES
from vvi.experiment import ablation, worlds
from vvi.experiment.worlds import ANAGLYPHS, BASELINE, Component, Question
from vvi.runtime import paths
from vvi.types import Batch

ROWS = sorted(worlds.COST, key=lambda row: row.name)
IDEA = {"anaglyphs": Component(ANAGLYPHS, BASELINE)}
SMALL = {"bars": Question("share behind a bar", IDEA, oracles=("whole frames",))}


@pytest.fixture
def folders(tmp_path, monkeypatch, common_cache):
    monkeypatch.setenv("VVI_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("VVI_CACHE", str(common_cache))
    monkeypatch.setattr(paths, "records", lambda: tmp_path / "records")
    return tmp_path


def test_every_world_is_asked_and_every_row_has_a_cost():
    assert list(worlds.PLAN) == list(DOSES)
    used = set()
    for asked in worlds.PLAN.values():
        used |= set(asked.rows(0, (0, 0)))
        assert asked.oracles
    assert used == set(worlds.COST)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_is_one_of_its_papers_tables_in_the_main_reading(row):
    changes = ablation.rows(row.method, row.table)[row.label]
    assert row.method == "baseline" or changes["variant"] == "main"
    assert "method" not in changes, "a row of another method is named by that method"
    config = ablation.configs(row.method, row.table, worlds.SIZE, [0, 1])[row.label]
    assert [c.seed for c in config] == [0, 1] and config[0].method == row.method
    methods.config(row.method, **config[0].options)


def test_on_and_off_differ_in_one_idea():
    options = {}
    for row in ROWS:
        config = ablation.configs(row.method, row.table, worlds.SIZE, [0])[row.label][0]
        options[row] = config
    switches = {}
    for asked in worlds.PLAN.values():
        for name, part in asked.components.items():
            on, off = options[part.on], options[part.off]
            assert on.recipe == off.recipe and on.data == off.data, name
            if on.method == off.method:
                pair = (methods.config(c.method, **c.options) for c in (on, off))
                first, second = (vars(config) for config in pair)
                switches[name] = {k for k in first if first[k] != second[k]}
    assert switches == {
        "gates of stripes (SADSTRM, FRM-STIG)": {"stig"},
        "anaglyphs in place of frames": {"reads"},
        "one channel in place of three (DI2L)": {"rca"},
        "MSRL and MDL (CMFT)": {"msrl", "mdl"},
        "temporal shift (CMFT)": {"shift"},
        "attack (SADSTRM, ASAM)": {"asam", "asam_stage2"},
        "parts (DI2L, DPA)": {"dpa"},
        "the same, all stripes kept": {"dpa", "dpa_scale"},
        "stripes (SADSTRM, FRM-STIG)": {"stig"},
    }


@pytest.mark.parametrize(
    "method, off",
    [
        ("iban", {"ig": False, "bsta": False, "esb": False}),
        ("mitml", {"temporal": "mean", "adversary": "none"}),
    ],
)
def test_the_baseline_is_what_a_method_is_without_its_ideas(method, off):
    """So the plain baseline serves as the row "off" of both methods."""
    built = []
    for config in (preset("tiny"), preset("tiny", method, variant="main", **off)):
        built.append(experiment.build(config, 8).train())
    torch.manual_seed(0)
    clips = torch.randn(2, 8, 3, 3, 32, 16)
    rows = torch.arange(8)
    batch = Batch(clips[0], clips[1], torch.arange(4).repeat_interleave(2), rows, rows)
    terms = []
    for model in built:
        out = model(batch)
        terms.append(model.losses(out, batch, model.phases[0]))
        assert len(model.phases) == 1
    assert terms[0].keys() == terms[1].keys()
    for name, value in terms[0].items():
        assert torch.equal(value, terms[1][name]), name
    feats = [model.eval().embed(clips[0], "vis") for model in built]
    assert torch.equal(*feats)


def test_seeds_may_come_from_an_iterator():
    world = next(iter(worlds.PLAN))
    assert worlds.configs(world, seeds=iter([0, 1])) == worlds.configs(world)


def test_a_run_is_in_its_world_at_its_dose_with_the_clips_that_the_world_asks_for():
    for world, (knob, doses) in DOSES.items():
        found = worlds.configs(world)
        assert list(found) == list(doses)
        for dose, rows in found.items():
            for config in sum(rows.values(), []):
                drawn = presets.find(config.data.source)
                assert getattr(drawn.world, knob) == dose
                assert drawn.name == config.data.source, "in the one spelling"
                assert drawn.train == presets.find("half").train
                timed = (
                    config.data.frames,
                    config.data.stride,
                    config.data.augment_per,
                )
                assert timed == ((6, 2, "clip") if world == "time" else (4, 0, "frame"))
                assert config.data.split == "test" and config.preset == "half"


def test_rows_that_cost_much_are_trained_at_the_ends_of_the_doses_alone():
    place = worlds.configs("place")
    assert [worlds.ATTACKED in rows for rows in place.values()] == [True, False, True]
    assert all(worlds.PARTS in rows and BASELINE in rows for rows in place.values())


def test_a_usual_dose_is_trained_once_for_all_worlds_and_the_plan_fits_its_budget():
    runs = worlds.wanted()
    usual = [c for c in runs if c.data.source == "half"]
    assert len({c.hash for c in runs}) == len(runs)
    separate = sum(len(worlds.wanted([world])) for world in worlds.PLAN)
    assert len(runs) < separate - 15
    by_row = {(c.method, tuple(c.options.items()), c.recipe.identities) for c in usual}
    assert len(usual) == len(by_row) * len(worlds.SEEDS)
    table = worlds.plan()
    assert table.loc["all", "runs"] == len(runs) == table.runs[:-1].sum()
    assert table.loc["all", "cost"] <= 240, "8 hours at 2 CPU minutes a baseline run"
    assert len(worlds.wanted(["time"], seeds=[0])) == 10


def test_an_unknown_world_is_refused():
    with pytest.raises(ValueError, match="no world 'moon': choose from bad-frames"):
        worlds.configs("moon")


@pytest.mark.parametrize("direction", ["ir2vis", "vis2ir"])
def test_people_of_the_queries_are_known_without_the_data(direction, tiny_root):
    from vvi.data import open_dataset

    config = preset("tiny")
    query = open_dataset(tiny_root, min_seq_len=12).query(direction)
    found = worlds.searched_people(config, direction)
    assert found.tolist() == [t.identity for t in query]
    val = worlds.searched_people(change(config, split="val"), direction)
    assert sorted(set(val)) == sorted(set(found)) and val.tolist() != found.tolist()


def test_worlds_are_trained_once_collected_and_read_out(folders, monkeypatch, capsys):
    monkeypatch.setattr(worlds, "PLAN", SMALL)
    monkeypatch.setitem(DOSES, "bars", ("bars", (0, 0.3)))
    command = ["worlds", "bars", "--preset", "tiny", "--seeds", "0", "1"]
    assert main([*command, "--collect"]) == 0
    assert "0 of 8 records" in capsys.readouterr().out
    assert main(command) == 0 and main(command) == 0
    printed = capsys.readouterr().out
    assert "8 runs trained, 8 wanted" in printed
    assert "0 runs trained, 8 wanted" in printed
    assert main([*command, "--collect"]) == 0
    assert "8 of 8 records" in capsys.readouterr().out
    assert main(["runs", "--preset", "tiny"]) == 0
    assert "T=3 tiny+bars=0.3" in capsys.readouterr().out
    (folders / "runs").rename(folders / "gone")
    monkeypatch.setenv("VVI_CACHE", str(folders / "nowhere"))
    table = worlds.responses("bars", size="tiny", progress=False)
    assert table.component.tolist() == ["anaglyphs"] * 2 and table.dose.tolist() == [
        0,
        0.3,
    ]
    assert (table.seeds == 2).all()
    assert not (folders / "runs").exists() and not (folders / "nowhere").exists()
    np.testing.assert_allclose(table.difference, table.on - table.off)
    assert (table.low <= table.difference).all()
    assert (table.difference <= table.high).all()
    found = worlds.results("bars", "tiny", progress=False)
    on, off = (found[0.3][row] for row in (ANAGLYPHS, BASELINE))
    hits = [np.mean([r.metrics("ir2vis").rank(1) for r in runs]) for runs in (on, off)]
    assert table.difference[1] == pytest.approx(100 * (hits[0] - hits[1]))
    with pytest.raises(ValueError, match="runs of different worlds: tiny, tiny"):
        worlds.difference(on, found[0][BASELINE])


def test_responses_become_the_arrays_of_a_figure():
    columns = ("component", "dose", "difference", "low", "high")
    rows = [("a", 0, 1, 0, 2), ("a", 0.3, 3, 2, 4), ("b", 0.15, 5.0, 4.0, 6.0)]
    found = worlds.by_component(pd.DataFrame(rows, columns=columns), "bars")
    assert list(found) == ["a", "b"]
    np.testing.assert_array_equal(found["a"][[0, 2]], [[1, 0, 2], [3, 2, 4]])
    assert np.isnan(found["a"][1]).all() and np.isnan(found["b"][[0, 2]]).all()
    assert found["b"][1].tolist() == [5, 4, 6]


def test_the_plan_is_printed_and_trains_nothing(folders, capsys):
    assert main(["worlds", "--plan"]) == 0
    assert "bad-frames" in (printed := capsys.readouterr().out) and "all" in printed
    assert not list(folders.iterdir())


def test_oracles_are_written_as_a_table_and_read_for_a_figure(folders, monkeypatch):
    few = Preset("few", Plan(2), Plan(6, full=0, last=(12, 16)), 64, 32)
    monkeypatch.setitem(synthetic.PRESETS, "few", few)
    monkeypatch.setattr(world_claims, "ORACLES", {"bars": world_claims.bars})
    monkeypatch.setattr(world_claims, "DOSES", {"bars": DOSES["bars"]})
    table = worlds.write_oracles("few")
    stored = pd.read_csv(worlds.oracle_file("few"))
    pd.testing.assert_frame_equal(stored, table.round(4), check_dtype=False)
    assert not worlds.oracle_file().exists(), "the stored ones are of the usual size"
    found = worlds.oracles("bars", worlds.oracle_file("few"))
    assert list(found) == ["whole frames", "visible parts", "without bars"]
    whole = table[table.claim == "whole frames"].set_index("dose").value
    assert found["whole frames"].tolist() == pytest.approx(whole.round(4).tolist())


@pytest.mark.parametrize("world", worlds.PLAN)
def test_stored_oracles_are_those_that_the_figures_of_the_worlds_draw(world):
    found = worlds.oracles(world)
    assert set(found) == set(worlds.question(world).oracles)
    for values in found.values():
        assert len(values) == len(DOSES[world][1])
        assert np.isfinite(values).any()


def test_a_run_with_a_stride_is_searched_with_the_frames_that_it_says(folders):
    base = preset("tiny", steps=2, stride=2, frames=4, augment_per="clip")
    runs = [base, change(base, stride=0)]
    results = [experiment.run(config, progress=False) for config in runs]
    assert results[0].run_id != results[1].run_id
    model = experiment.load_trained(runs[0], 8)
    data = experiment.dataset(runs[0].data, progress=False)
    reader = experiment.frames(runs[0].data, data, progress=False)
    from vvi.evaluation import evaluate

    for stride, same in ((2, True), (0, False)):
        sides = evaluate.evaluate(model, data, reader, 4, stride=stride)
        again = sides["ir2vis"].metrics()
        stored = results[0].metrics("ir2vis")
        assert np.allclose(again.ap, stored.ap, equal_nan=True, atol=1e-6) == same


@pytest.mark.parametrize("world", ["bad_frames=0", "alike=8", "alike=1", "bars=0.5"])
def test_every_measure_of_a_run_is_taken_in_every_world(folders, world):
    result = experiment.run(preset("tiny", steps=2, world=world), progress=False)
    assert 0 <= result.row("ir2vis")["rank1"] <= 100
    assert ("look-alike pair" in result.record.probes) == (world != "alike=1")
    assert experiment.run(result.config, progress=False).stored
    val = change(result.config, split="val")
    assert experiment.run(val, progress=False).record.scores
