import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product
from typing import get_args

import numpy as np
import pytest

from vvi import experiment, methods
from vvi.book import comparison, tuned
from vvi.cli.main import main
from vvi.config import Split, change, for_layout, preset
from vvi.engine import checkpoint, optim, train
from vvi.experiment import ablation, budgets, elsewhere, rates, store, tune, worlds
from vvi.runtime import paths


@pytest.fixture(autouse=True)
def names_of_these_tables():
    """Tests here change tables, and the names of runs are read from them once."""
    ablation.names.cache_clear()
    yield
    ablation.names.cache_clear()


@pytest.fixture
def here(tmp_path, monkeypatch, tiny_root, common_cache):
    """Runs and records in a temporary folder, the tiny set where a config seeks it."""
    monkeypatch.setenv("VVI_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("VVI_CACHE", str(common_cache))
    monkeypatch.setattr(paths, "records", lambda: tmp_path / "records")
    return tmp_path


def seeds_of(*args, **kwargs) -> dict[str, list[int]]:
    """Seeds of each row of a table."""
    table = ablation.configs(*args, **kwargs)
    return {label: [c.seed for c in runs] for label, runs in table.items()}


def test_a_table_becomes_one_config_per_row_and_seed():
    assert seeds_of("baseline", "Table 2", "tiny", (0, 1))["Baseline"] == [0, 1]
    curve = seeds_of("baseline", "Fig. 6", "tiny", seeds=(4, 1))
    assert curve == {f"n={n}": [4, 1] for n in (1, 2, 4, 6, 8)}
    six = ablation.configs("baseline", "Fig. 6", "tiny")["n=6"]
    assert {c.data.frames for c in six} == {6}
    assert seeds_of("iban", "Fig. 7", "tiny", seeds=(4, 1))["lambda_1=1.5"] == [4]
    with pytest.raises(ValueError, match="no table 'Table 9'"):
        ablation.configs("baseline", "Table 9")


@pytest.mark.parametrize(("size", "refused"), [("paper", 1), ("half", 0)])
def test_a_sweep_leaves_out_a_row_that_cannot_be_trained_and_says_so(
    size, refused, recwarn
):
    rows = ablation.configs("cmft", "Readings", size, (0, 1))
    wanted = ablation.accepted(rows)
    left_out = {c.hash for c in rows["begun apart"]} - {c.hash for c in wanted}
    assert len(left_out) == 2 * refused == sum(map(len, rows.values())) - len(wanted)
    messages = [str(warning.message) for warning in recwarn]
    assert len(messages) == refused
    assert all("row 'begun apart' is left out: streams_st" in m for m in messages)
    wrong = change(rows["main"][0], mode="main")  # is no option
    with pytest.raises(ValueError, match="cmft has no option mode"):
        ablation.accepted({"a row of one's own": [wrong]})


@pytest.mark.parametrize("size", ["tiny", "paper"])
@pytest.mark.parametrize("method", methods.names())
def test_a_row_alone_is_that_of_its_table(method, size):
    for table in methods.module(method).ABLATIONS:
        for label, runs in ablation.configs(method, table, size, (3, 0), "val").items():
            alone = ablation.row_configs(method, table, label, size, (3, 0), "val")
            assert alone == runs
    with pytest.raises(ValueError, match="has no row 'n=7': choose from"):
        ablation.row_configs(method, table, "n=7")


def test_a_table_of_trials_runs_on_ten_seeds_and_one_of_the_paper_keeps_its_schedule():
    table = "RegDB (images)"
    assert seeds_of("di2l", table, "standard")["DI2L"] == list(range(10))
    paper = ablation.configs("di2l", table, "paper")["DI2L"][0].recipe
    standard = ablation.configs("di2l", table, "standard")["DI2L"][0].recipe
    assert (paper.epochs, paper.milestones) == (120, (20, 50))
    assert standard.milestones == (35, 80) and standard.drops == (0.6, 0.85)


def test_a_row_without_a_stored_result_is_empty_where_nothing_may_be_trained(
    here, monkeypatch, capsys
):
    table = {"Fig. 6": {"n=2": {"frames": 2}, "n=1": {"frames": 1}}}
    monkeypatch.setattr("vvi.methods.baseline.ABLATIONS", table)
    monkeypatch.setattr(ablation, "reads_records", lambda size, run: True)
    with pytest.raises(LookupError, match="no row has a stored result"):
        ablation.results("baseline", "Fig. 6", "tiny", (0,))
    experiment.run(preset("tiny", frames=2, steps=4), device="cpu", progress=False)
    results = ablation.results("baseline", "Fig. 6", "tiny", (0,))
    assert list(results) == ["n=2"] and results["n=2"][0].stored
    assert results["n=1"] == []
    with pytest.raises(KeyError, match="no row 'n=9': choose from n=2, n=1"):
        results["n=9"]
    assert results.absent == ["n=1"]
    below = results.below("first", results["n=2"])
    assert list(below) == ["first", "n=2"] and below.absent == ["n=1"]
    assert results.below("first", []).absent == ["first", "n=1"]
    shown = comparison.table(below, caption="Table 2.").to_html()
    assert "Table 2. ir2vis, synthetic data. Not trained yet: n=1." in shown
    assert "Rows without a stored result: n=1" in capsys.readouterr().out


def test_only_what_is_missing_is_trained_and_the_frame_holds_a_row_per_run(here):
    wanted = [preset("tiny", seed=s) for s in (0, 1)]
    experiment.run(wanted[0], device="cpu", progress=False)
    assert ablation.missing([*wanted, *wanted]) == [wanted[1]]
    assert ablation.train_missing(wanted, device="cpu") == 1
    assert ablation.train_missing(wanted, device="cpu") == 0


def test_an_executor_trains_the_same_numbers(here):
    wanted = [preset("tiny", seed=s, steps=2) for s in (0, 1)]
    with ThreadPoolExecutor(1) as pool:
        assert ablation.train_missing(wanted, pool, device="cpu") == 2
    alone = experiment.run(
        wanted[1], retrain=True, device="cpu", progress=False, keep=False
    )
    stored = experiment.run(wanted[1]).history
    assert stored.keys() == alone.history.keys()
    for name, values in alone.history.items():
        np.testing.assert_allclose(stored[name], values, rtol=2**-12, err_msg=name)


def test_results_by_row_become_one_line_per_run(here, monkeypatch):
    monkeypatch.setattr(
        "vvi.methods.baseline.ABLATIONS", {"Fig. 6": {"n=2": {"frames": 2}}}
    )
    rows = ablation.results(
        "baseline", "Fig. 6", "tiny", (0,), device="cpu", progress=False
    )
    table = ablation.frame(rows, "vis2ir")
    assert table.row.tolist() == ["n=2"] and table.run.item() == rows["n=2"][0].run_id
    assert table.mAP.item() == rows["n=2"][0].row("vis2ir")["mAP"]


def test_records_of_later_seeds_keep_the_numbers_and_not_the_pictures(
    here, monkeypatch
):
    monkeypatch.setattr("vvi.methods.baseline.ABLATIONS", {"Table 2": {"Baseline": {}}})
    monkeypatch.setattr("vvi.methods.baseline.SWEEPS", ())
    ablation.train_missing(
        [
            c
            for cs in ablation.configs("baseline", "Table 2", "tiny", (0, 1)).values()
            for c in cs
        ],
        device="cpu",
    )
    assert ablation.copy_to_records("baseline", "tiny", (0, 1)) == 2
    first, second = (
        store.load_record(here / "records" / preset("tiny", seed=s).hash)
        for s in (0, 1)
    )
    assert {"shown/query_feat", "ir2vis/top", "ir2vis/ap"} <= set(first.arrays)
    assert set(second.arrays) == {
        f"{d}/{n}" for d in ("ir2vis", "vis2ir") for n in ("ap", "first_hit")
    }


def test_collected_records_leave_out_the_rate_which_the_recipe_gives(here, monkeypatch):
    monkeypatch.setattr("vvi.methods.baseline.ABLATIONS", {"Table 2": {"Baseline": {}}})
    monkeypatch.setattr("vvi.methods.baseline.SWEEPS", ())
    config = preset("tiny")
    ablation.train_missing([config], device="cpu")
    assert ablation.copy_to_records("baseline", "tiny", (0,)) == 1
    trained, collected = (
        store.load_record(folder / config.hash).history
        for folder in (paths.runs(), here / "records")
    )
    steps = len(trained["lr"])
    rates = [optim.rate(config.recipe, step, steps) for step in range(steps)]
    assert trained.pop("lr") == pytest.approx(rates, rel=2**-12)
    assert collected == trained


def test_rows_searched_on_validation_people_are_trained_once_and_collected(
    here, monkeypatch
):
    monkeypatch.setattr("vvi.methods.baseline.ABLATIONS", {"Table 2": {"Baseline": {}}})
    monkeypatch.setattr("vvi.methods.baseline.SWEEPS", ())
    command = ["ablate", "baseline", "--preset", "tiny", "--seeds", "0", "--collect"]
    assert main([*command, "--device", "cpu"]) == 0
    assert main([*command, "--device", "cpu", "--split", "val"]) == 0
    test, val = (preset("tiny", split=split) for split in ("test", "val"))
    records = [store.load_record(here / "records" / c.hash) for c in (test, val)]
    losses = [record.history["encoder/id"] for record in records]
    assert losses[0] == losses[1]
    assert "shown/query_feat" in records[0].arrays  # pictures are of test people
    assert "shown/query_feat" not in records[1].arrays


def test_a_run_of_the_old_format_is_collected_in_the_present_one(here, monkeypatch):
    import json

    monkeypatch.setattr("vvi.methods.baseline.ABLATIONS", {"Table 2": {"Baseline": {}}})
    monkeypatch.setattr("vvi.methods.baseline.SWEEPS", ())
    ablation.train_missing([preset("tiny")], device="cpu")
    run = paths.runs() / preset("tiny").hash
    trained = store.load_record(run)
    store.save_record(replace(trained, history={}), paths.runs())
    content = json.loads((run / "record.json").read_text())
    content["history"] = trained.history
    (run / "record.json").write_text(json.dumps(content))
    assert store.is_old_format(run)
    assert ablation.copy_to_records("baseline", "tiny", (0,)) == 1
    target = here / "records" / preset("tiny").hash
    assert not store.is_old_format(target)
    collected = store.load_record(target)
    assert collected.history == ablation.without_rate(trained).history
    assert collected.scores == trained.scores
    assert set(collected.arrays) == set(trained.arrays)


def test_published_numbers_stand_under_their_row():
    table = ablation.published("mitml", "Table 2")
    assert (
        table.loc["Baseline", "rank1"] == 55.58
        and table.loc["Full method", "mAP"] == 45.31
    )
    with pytest.raises(ValueError, match="has nothing for 'Table 77'"):
        ablation.published("mitml", "Table 77")


def test_several_protocols_of_a_published_table_are_never_averaged():
    with pytest.raises(
        ValueError,
        match="several protocols, say which: all-search;single-shot, all-search;multi",
    ):
        ablation.published("di2l", "Table 2")
    assert (
        ablation.published("di2l", "Table 2", protocol="all-search;multi-shot").loc[
            "Baseline", "rank1"
        ]
        == 62.10
    )
    assert (
        ablation.published("di2l", "Table 1", direction=None).loc["DI2L", "mAP"]
        == 81.76
    )


def test_trials_of_regdb_are_ten_seeds_but_for_the_tiny_size():
    seeds = {
        size: [
            c.seed
            for c in ablation.configs("di2l", "RegDB (images)", size, (0, 1))["DI2L"]
        ]
        for size in ("tiny", "standard")
    }
    assert seeds == {"tiny": [0, 1], "standard": list(range(10))}


def test_collected_records_are_verified_by_training_again(here, monkeypatch):
    monkeypatch.setattr(
        "vvi.methods.baseline.ABLATIONS", {"Fig. 6": {"n=2": {"frames": 2}}}
    )
    ablation.train_missing(
        [
            c
            for cs in ablation.configs("baseline", "Fig. 6", "tiny", (0,)).values()
            for c in cs
        ],
        device="cpu",
    )
    assert ablation.copy_to_records("baseline", "tiny", (0,)) == 1
    assert not list((here / "records").rglob("model.safetensors"))
    check = ablation.verify(1, device="cpu")[0]
    assert (
        check.same_machine
        and check.holds
        and set(check.difference)
        == {"ir2vis rank1", "ir2vis mAP", "vis2ir rank1", "vis2ir mAP"}
    )
    folder = next((here / "records").iterdir())
    record = store.load_record(folder)
    record.scores["ir2vis"]["rank1"] += 0.02
    store.save_record(record, here / "records")
    assert not ablation.verify(1, device="cpu")[0].holds


def test_a_sweep_removes_what_a_kill_left_beside_a_finished_run(here):
    ablation.train_missing([preset("tiny")], device="cpu")
    folder = paths.runs() / preset("tiny").hash
    left = folder / checkpoint.FILE
    left.write_bytes(b"of a process that was killed after its record")
    os.utime(left, (0, 0))  # before the record
    assert ablation.train_missing([preset("tiny")], device="cpu") == 0
    assert not left.exists() and (folder / "record.json").is_file()


@pytest.fixture
def older(monkeypatch):
    """Compute as a processor without bfloat16 and without AVX-512 does."""
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "avx2")
    store.environment.cache_clear()
    yield
    store.environment.cache_clear()


def test_what_another_processor_moves_is_logged(here, monkeypatch, request):
    monkeypatch.setattr("vvi.methods.baseline.ABLATIONS", {"Table 2": {"Baseline": {}}})
    config = preset("tiny")
    ablation.train_missing([config], device="cpu")
    assert ablation.copy_to_records("baseline", "tiny", (0,)) == 1
    command = ["verify", config.hash[:6], "--device", "cpu", "--log"]
    assert main(command) == 0
    assert elsewhere.read().empty, "the machine of the record moves nothing"
    request.getfixturevalue("older")
    assert not train.has_bfloat16()
    for _ in range(2):
        checks = ablation.verify(device="cpu", runs=[config.hash], elsewhere=99)
        elsewhere.add(checks)
    (line,) = elsewhere.read().to_dict("records")
    assert ",0," in elsewhere.log_file().read_text(), "a seed is a whole number"
    assert line["run"] == config.hash and line["row"] == "baseline, Table 2: Baseline"
    assert line["again on"] == line["processor"] + ", limited to AVX2"
    record = store.load_record(here / "records" / config.hash)
    stored = 100 * record.scores["ir2vis"]["rank1"]
    (check,) = checks
    assert line["ir2vis rank1"] == pytest.approx(stored, abs=1e-3)
    moved = line["ir2vis rank1, again"] - line["ir2vis rank1"]
    assert moved == pytest.approx(check.difference["ir2vis rank1"], abs=2e-3)
    said = elsewhere.sentence(config.hash)
    assert said.count("Trained again") == 1 and line["again on"] in said
    after = line["vis2ir rank1, again"]
    assert f"vis2ir {line['vis2ir rank1']:.1f} → {after:.1f} %" in said
    assert "was not trained again" in elsewhere.sentence("0123456789ab")


@pytest.mark.parametrize(
    ("limit", "has"), [("AVX2", False), ("avx512_core", False), ("all", None)]
)
def test_bfloat16_is_used_where_it_may_be(monkeypatch, limit, has):
    known = train.has_bfloat16()
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert train.has_bfloat16() == (known if has is None else has)


def test_a_record_to_verify_is_named_by_how_it_begins(here):
    (here / "records" / "aaaa").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="no records under"):
        ablation.verify(runs=["aa"])
    (here / "records" / "aaaa" / "record.json").touch()
    with pytest.raises(FileNotFoundError, match="no record of .* begins with 'b'"):
        ablation.verify(runs=["b"])


def test_a_stale_run_never_replaces_a_good_record(here, monkeypatch):
    import json

    monkeypatch.setattr("vvi.methods.baseline.ABLATIONS", {"Table 2": {"Baseline": {}}})
    ablation.train_missing([preset("tiny")], device="cpu")
    assert ablation.copy_to_records("baseline", "tiny", (0,)) == 1
    kept = (here / "records" / preset("tiny").hash / "record.json").read_bytes()
    file = paths.runs() / preset("tiny").hash / "record.json"
    content = json.loads(file.read_text())
    content["versions"]["method"] = 0
    file.write_text(json.dumps(content))
    assert ablation.copy_to_records("baseline", "tiny", (0,)) == 1
    assert (here / "records" / preset("tiny").hash / "record.json").read_bytes() == kept
    assert not ablation.missing([preset("tiny")])


def test_runs_on_real_data_are_found_again_by_what_the_folder_holds(
    here, tiny_root, tmp_path, monkeypatch
):

    real = shutil.copytree(tiny_root, tmp_path / "real")
    (real / "manifest.json").unlink()
    monkeypatch.setenv("VVI_DATA", str(real))
    small = dict(
        backbone="micro",
        weights=None,
        height=32,
        width=16,
        frames=2,
        steps=1,
        identities=4,
    )
    wanted = [preset("paper", **small)]
    assert (
        ablation.train_missing(wanted, device="cpu") == 1
        and ablation.train_missing(wanted, device="cpu") == 0
    )


STORED = {f.parent.name for f in paths.records().glob("*/record.json")}


def rows_of_the_first_seed(method):
    for table in methods.module(method).ABLATIONS:
        for label, (first, *_) in ablation.configs(method, table).items():
            pictured = not ablation.is_curve_point(method, table, label)
            if first.seed == ablation.PICTURED and pictured:
                yield f"{method}, {table}: {label}", first


@pytest.mark.parametrize("method", methods.names())
def test_committed_records_of_the_first_seed_hold_what_pictures_need(method):
    """A chapter runs in a fresh clone, where nothing but the records is there."""
    for name, config in rows_of_the_first_seed(method):
        if config.hash in STORED:
            held = store.load_record(paths.records() / config.hash).arrays
            needed = {"ir2vis/top", "shown/query_feat", "ir2vis/ap"}
            assert needed <= set(held), f"{name}: {config.hash}"


def test_every_committed_record_belongs_to_a_row_of_a_table():
    """A record that no row names is stale: a table, a default or a version changed."""
    studies = (*worlds.wanted(), *budgets.wanted(), *rates.wanted())
    rows = {config.hash for config in studies}
    for method in methods.names():
        for table, split in product(methods.module(method).ABLATIONS, get_args(Split)):
            runs = ablation.configs(method, table, seeds=ablation.SEEDS, split=split)
            for configs in runs.values():
                rows |= {config.hash for config in configs}
    rows |= {tune.winner(method, log).hash for method, log in tuned.logs().items()}
    assert rows >= STORED, f"of no row: {', '.join(sorted(STORED - rows))}"


def test_where_any_record_is_committed_every_main_row_and_its_baseline_is():
    mains = {
        "baseline": ("baseline", "Table 2", "Baseline"),
        **{m: (m, *methods.module(m).MAIN) for m in methods.names()},
    }
    found = {}
    for name, (method, table, row) in mains.items():
        first = ablation.configs(method, table, seeds=[0])[row][0]
        found[name] = first.hash in STORED
    assert all(found.values()) or not STORED, f"not stored: {found}"


@pytest.mark.parametrize("layout", ["hitsz-vcm", "sysu-mm01", "regdb", "buptcampus"])
def test_a_row_on_real_data_of_any_layout_has_its_name(layout):
    main = ablation.configs("di2l", "Table 2", "paper", [0])["Baseline+DPA+I2L"][0]
    real = change(for_layout(main, layout), source="real-0123abcd")
    assert ablation.row_of(real) == "di2l, Table 2: Baseline+DPA+I2L"


def test_rows_on_images_have_their_names_on_real_data():
    rows = ablation.configs("di2l", "SYSU-MM01 (images)", "paper", [0])
    for label, (config,) in rows.items():
        real = change(config, source="real-0123abcd")
        assert ablation.row_of(real) == f"di2l, SYSU-MM01 (images): {label}"


def test_a_worker_takes_the_folders_of_every_sweep_and_keeps_its_own(monkeypatch):
    monkeypatch.setattr(ablation, "_SET_HERE", set())
    monkeypatch.setattr(ablation.experiment, "run", lambda config: dict(os.environ))
    monkeypatch.setenv("VVI_CACHE", "/own")
    monkeypatch.delenv("VVI_RUNS", raising=False)
    for sweep in ("/a", "/b"):
        folders = {"VVI_RUNS": sweep, "VVI_CACHE": sweep}
        there = ablation._run_there(preset("tiny"), folders, {})
        assert (there["VVI_RUNS"], there["VVI_CACHE"]) == (sweep, "/own")
    monkeypatch.delenv("VVI_RUNS")


def test_a_result_of_another_run_is_not_stored(here):
    result = experiment.run(preset("tiny", steps=1), device="cpu", progress=False)
    with pytest.raises(RuntimeError, match="came back as"):
        ablation._store_here(result, preset("tiny", steps=2))


def test_weights_of_a_replaced_record_go(here):
    config = preset("tiny", steps=1)
    experiment.run(config, device="cpu", progress=False)
    (here / "records" / config.hash).mkdir(parents=True)
    half = here / "records" / config.hash / "half-0.safetensors"
    half.write_bytes(b"old")
    assert ablation.copy_records({config.hash: config}) == 1
    assert not half.exists()
