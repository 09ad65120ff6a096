import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from vvi import experiment, methods
from vvi.cli.main import main
from vvi.config import change, from_json, preset
from vvi.experiment import ablation, method_switches, store, tune
from vvi.runtime import paths
from vvi.runtime.fields import check_fields


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("VVI_RUNS", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("method", methods.names())
def test_every_method_gets_as_many_different_trials_and_none_sees_a_test_person(
    method,
):
    drawn = tune.trials(method, 8)
    assert list(drawn) == list(range(8)) and drawn[0] == ({}, tune.main_row(method))
    assert len({config.hash for _, config in drawn.values()}) == 8
    assert {config.data.split for _, config in drawn.values()} == {"val"}
    assert drawn == tune.trials(method, 8), "the draw can be repeated"
    for knobs, config in drawn.values():
        assert all(knobs[name] in tune.space(method)[name] for name in knobs)
        check_fields(type(config.recipe), vars(config.recipe), {})
        methods.config(method, **config.options)


@pytest.mark.parametrize("method", methods.names())
def test_a_space_is_declared_in_the_tables_of_a_method_with_the_usual_value_in_it(
    method,
):
    main = ablation.labelled_rows(method)[": ".join(methods.module(method).MAIN)]
    settings = methods.config(method, **main.options)
    assert (
        methods.module(method).TUNED.keys() >= {"margin", "lambda_tri"}
        or len(methods.module(method).TUNED) >= 3
    )
    for name, values in methods.module(method).TUNED.items():
        assert getattr(settings, name) in values, (
            f"{method}: {name} may not stay as it is"
        )


def test_rates_are_factors_of_the_recipe():
    config = tune.applied(
        tune.main_row("baseline"), {"lr": 2.0, "slow": 0.3, "margin": 0.1}
    )
    recipe = tune.main_row("baseline").recipe
    assert (config.recipe.lr, config.recipe.slow, config.options["margin"]) == (
        2 * recipe.lr,
        0.3 * recipe.slow,
        0.1,
    )


def test_more_trials_than_there_are_combinations_are_refused():
    with pytest.raises(ValueError, match="baseline has between 1 and 54 trials"):
        tune.trials("baseline", 55)


def test_a_tuning_is_scored_on_validation_people_resumes_and_writes_its_log(
    runs, tmp_path, capsys
):
    log = tmp_path / "log.csv"
    command = [
        "tune",
        "baseline",
        "--trials",
        "3",
        "--preset",
        "tiny",
        "--out",
        str(log),
    ]
    assert main(command) == 0
    table, first = pd.read_csv(log), log.read_bytes()
    assert (
        len(table) == 3
        and set(table.split) == {"val"}
        and table.score.is_monotonic_decreasing
    )
    trained = {f.parent.name: f.stat().st_mtime_ns for f in runs.glob("*/record.json")}
    assert set(trained) == set(table.run)
    assert main(command) == 0 and log.read_bytes() == first
    assert trained == {
        f.parent.name: f.stat().st_mtime_ns for f in runs.glob("*/record.json")
    }, "nothing is trained twice"
    assert "best on validation people" in capsys.readouterr().out


def test_the_best_trial_alone_is_searched_on_test_people(runs, tmp_path, monkeypatch):
    records = tmp_path / "records"
    monkeypatch.setattr(paths, "records", lambda: records)
    log = tmp_path / "log.csv"
    command = ["tune", "baseline", "--trials", "3", "--preset", "tiny"]
    assert main([*command, "--out", str(log), "--collect"]) == 0
    table = pd.read_csv(log)
    winner = tune.winner("baseline", table, "tiny")
    assert (
        winner.data.split == "test"
        and change(winner, split="val").hash == (table.run[0])
    )
    assert [f.parent.name for f in records.glob("*/record.json")] == [winner.hash]
    searched = [store.load_record(f.parent).config for f in runs.glob("*/record.json")]
    on_test_people = [config for config in searched if config.data.split == "test"]
    assert [config.hash for config in on_test_people] == [winner.hash]


def test_no_stored_tuning_result_names_a_test_person():
    logs = sorted((paths.records() / "tuning").glob("*.csv"))
    budgets = {len(pd.read_csv(file)) for file in logs}
    assert len(budgets) <= 1 and min(budgets, default=2) > 1, "one budget for all"
    assert not logs or [file.stem for file in logs] == sorted(methods.names())
    for file in logs:
        table = pd.read_csv(file)
        assert set(table.split) == {"val"}, file
        assert list(table.columns[:1]) == ["trial"]
        drawn = {
            config.hash for _, config in tune.trials(file.stem, len(table)).values()
        }
        assert set(table.run) == drawn, f"{file.name} is not the log of these trials"


def test_validation_people_are_nobody_of_the_set_and_are_filmed_by_the_same_cameras(
    tmp_path,
):
    from vvi.data import open_dataset, synthetic

    roots = {
        name: synthetic.write(tmp_path / name, name, progress=False)
        for name in ("tiny", "tiny-val")
    }
    sets = {name: open_dataset(root) for name, root in roots.items()}
    assert {
        k: tuple(len(side) > 0 for side in v) for k, v in sets["tiny-val"].sides.items()
    } == {"ir2vis": (True, True), "vis2ir": (True, True)}
    looks = {
        name: synthetic.read_factors(root).drop(columns=["split", "look_alike_group"])
        for name, root in roots.items()
    }
    everybody = pd.concat(looks.values())
    assert not everybody.duplicated().any(), (
        "no two people look and walk alike in all respects"
    )
    assert len(looks["tiny-val"]) == 2 + 8
    said = {
        name: json.loads((root / "manifest.json").read_text())
        for name, root in roots.items()
    }
    assert said["tiny"]["seed"] == said["tiny-val"]["seed"], (
        "cameras come from the seed of the set"
    )


def test_a_run_on_validation_people_keeps_scores_and_shares_its_twins_training(
    runs,
):
    test, val = (
        tune.main_row("baseline", "tiny"),
        ablation.labelled_rows("baseline", "tiny")["Table 2: Baseline"],
    )
    first = experiment.run(test, progress=False)
    assert (
        first.data_label == "synthetic (validation people)" and not first.record.probes
    )
    assert set(first.arrays) == {
        f"{d}/{name}" for d in ("ir2vis", "vis2ir") for name in ("ap", "first_hit")
    }
    second = experiment.run(val, progress=False)
    for name, values in first.history.items():
        assert second.history[name] == pytest.approx(values, rel=2**-12)
    assert second.record.seconds["train"] == first.record.seconds["train"]
    assert second.record.probes and second.run_id != first.run_id
    assert from_json(first.config.to_json()) == first.config


def test_validation_people_of_real_data_are_training_people_who_are_not_trained_on(
    tmp_path,
):
    from vvi.data import open_dataset, synthetic

    found = open_dataset(synthetic.write(tmp_path / "set", "tiny", progress=False))
    held = experiment.held_out(found, every=4)
    people = {t.identity for t in held.train}
    searched = {
        t.identity for sides in held.sides.values() for side in sides for t in side
    }
    assert (
        people | searched == set(found.labels)
        and not people & searched
        and len(searched) == 2
    )
    assert {t.modality for t in held.query("ir2vis")} == {"ir"} and {
        t.modality for t in held.gallery("ir2vis")
    } == {"vis"}


@pytest.mark.parametrize("method", methods.names())
def test_a_trial_is_named_as_its_run_will_be(method):
    for _, config in tune.trials(method).values():
        assert config == method_switches.settled(config)


def test_a_held_out_person_of_regdb_has_no_class(common_cache, monkeypatch):
    monkeypatch.setenv("VVI_CACHE", str(common_cache))
    data = preset("tiny", layout="regdb", frames=1).data
    found = experiment.dataset(data, progress=False)
    held = experiment.held_out(found, every=4)
    people = {t.identity for t in held.train}
    assert people < set(found.labels) and set(held.labels) == people
    assert sorted(held.labels.values()) == list(range(len(people)))
    order = sorted(people, key=found.labels.__getitem__)
    assert sorted(people, key=held.labels.__getitem__) == order


def test_a_trial_of_one_direction_is_scored_by_it():
    scores = {"ir2vis": {}}
    result = SimpleNamespace(
        record=SimpleNamespace(scores=scores),
        row=lambda direction: {"rank1": 40.0, "mAP": 30.0},
        config=preset("tiny", split="val"),
        run_id="abc",
    )
    row = tune._scored(result)
    assert row["score"] == 40.0 and "rank1 vis2ir" not in row


@pytest.mark.parametrize("method", methods.names())
def test_the_winner_has_the_id_of_its_trial(method):
    drawn = tune.trials(method, 8)
    for knobs, config in drawn.values():
        cells = {name: [float(v)] for name, v in knobs.items()}
        table = pd.DataFrame(cells).reindex(columns=list(tune.space(method)))
        if table.empty:
            table.loc[0] = np.nan
        assert tune.winner(method, table).hash == change(config, split="test").hash
