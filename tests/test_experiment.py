import json
import re
import shutil
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vvi import experiment
from vvi.config import DataConfig, change, preset
from vvi.data import digest, synthetic
from vvi.engine import checkpoint
from vvi.evaluation import evaluate, protocols
from vvi.evaluation.rerank import rerank
from vvi.evaluation.truth import Truth
from vvi.experiment import store, training
from vvi.metrics import from_similarity, retrieval_metrics
from vvi.types import DataError


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("VVI_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


@pytest.fixture
def tiny(tiny_root, runs):
    def run(config=preset("tiny"), **kwargs):
        return experiment.run(
            config, data=tiny_root, device="cpu", progress=False, **kwargs
        )

    return run


def test_a_direction_that_was_not_searched_is_named_beside_those_that_were():
    record = SimpleNamespace(config=preset("tiny"), scores={"ir2vis": {}}, arrays={})
    result = experiment.Result(record, stored=True)
    for ask in (result.row, result.metrics):
        with pytest.raises(KeyError, match="no direction 'vis2ir'; it has ir2vis"):
            ask("vis2ir")


def test_a_run_is_trained_once_and_found_again(tiny):
    first, second = tiny(), tiny()
    assert not first.stored and second.stored
    assert first.row("ir2vis") == second.row("ir2vis")
    assert tiny(retrain=True).stored is False


def test_a_page_that_shows_a_run_at_several_places_trains_it_a_single_time(
    runs, monkeypatch
):
    run = partial(experiment.run, device="cpu", progress=False)
    first, twin = preset("tiny"), preset("tiny", split="val")  # of one training
    other = preset("tiny", seed=1)
    made = training.MADE_HERE
    trained = []
    train = training._train

    def noted(settings, *rest):
        trained.append(settings.hash)
        return train(settings, *rest)

    monkeypatch.setattr(training, "_train", noted)
    assert not run(first).stored and not run(other).stored
    made -= {first.hash, other.hash}  # as in a new process
    trained.clear()
    assert [run(first, retrain="once").stored for _ in range(3)] == [False, True, True]
    assert not run(twin, retrain="once").stored
    assert trained == [first.hash], "the training of the twin was made here"
    assert not run(other, retrain="once").stored
    assert trained == [first.hash, other.hash]
    assert not run(first, retrain=True).stored, "who asks for it again means it"
    assert trained == [first.hash, other.hash, first.hash]


def test_the_same_config_gives_the_same_losses_and_rankings(tiny):
    first, second = tiny(), tiny(retrain=True)
    assert first.history == second.history
    for name, array in first.arrays.items():
        np.testing.assert_array_equal(array, second.arrays[name], err_msg=name)


def test_a_trained_run_is_scored_after_re_ranking_under_its_own_rule(tiny, tiny_root):
    result = tiny()
    found = experiment.reranked(result.config, tiny_root, k1=20, k2=6, weight=0.3)
    sides = experiment.sides(result.config, tiny_root)
    assert list(found) == list(result.record.scores) == list(sides)
    for direction, side in sides.items():
        plain, again = result.metrics(direction), found[direction]
        assert side.metrics().mAP == plain.mAP and again.n_valid == plain.n_valid
        distance = rerank(side.query_feat, side.gallery_feat, 20, 6, 0.3)
        expected = from_similarity(-distance, *side.protocol[2:], rule="vcm")
        np.testing.assert_array_equal(again.first_hit, expected.first_hit)
        assert again.mAP == expected.mAP != plain.mAP


def test_another_seed_gives_another_run(tiny):
    assert tiny().history != tiny(change(preset("tiny"), seed=1)).history


def test_metrics_of_a_record_are_those_of_its_embeddings(tiny, tiny_root):
    result = tiny()
    settings = result.config
    found = experiment.dataset(settings.data, tiny_root)
    method = experiment.load_trained(settings, len(found.labels))
    sides = evaluate.evaluate(
        method,
        found,
        experiment.frames(settings.data, found, progress=False),
        settings.data.frames,
    )
    for direction, side in sides.items():
        again, stored = (
            retrieval_metrics(*side.protocol, rule="vcm"),
            result.metrics(direction),
        )
        np.testing.assert_allclose(stored.ap, again.ap, atol=1e-6)
        np.testing.assert_array_equal(stored.first_hit, again.first_hit)
        assert stored.mAP == again.mAP and stored.rank(5) == again.rank(5)


def test_a_stale_record_is_reported_and_trained_again(tiny, runs):
    folder = runs / tiny().run_id
    content = json.loads((folder / "record.json").read_text())
    content["versions"]["loop"] = 0
    (folder / "record.json").write_text(json.dumps(content))
    with pytest.warns(UserWarning, match="stale"):
        assert not tiny().stored


def test_one_result_is_kept_without_the_pixels_of_anybody(tiny, runs):
    folder = runs / tiny().run_id
    assert {f.name for f in folder.iterdir()} == {
        "record.json",
        "arrays.safetensors.xz",
        "model.safetensors",
    }
    assert (
        sum(
            (folder / n).stat().st_size
            for n in ("record.json", "arrays.safetensors.xz")
        )
        < 100_000
    )


def test_a_run_that_goes_on_elsewhere_is_refused_or_says_so_in_its_record(
    tiny, runs, monkeypatch
):
    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny(on_step=stop, every=0)
    here = store.environment("cpu")
    monkeypatch.setattr(store, "environment", lambda device: here | {"threads": 99})
    with pytest.raises(
        checkpoint.MismatchError, match=r"step 2: threads \d+ -> 99\).*--resume anyway"
    ):
        tiny()
    with pytest.warns(UserWarning, match="going on anyway"):
        result = tiny(resume="anyway")
    assert result.record.environment["resumed"] == [
        f"step 2: threads {here['threads']} -> 99"
    ]
    assert len(result.history["encoder/id"]) == result.config.recipe.steps
    assert "resumed" not in tiny(retrain=True).record.environment
    with pytest.raises(
        ValueError, match="no resume 'always': choose from same, anyway"
    ):
        tiny(resume="always")


def test_weights_that_are_not_here_are_named(runs):
    with pytest.raises(FileNotFoundError, match="retrain=True"):
        experiment.load_trained(preset("tiny"), 8)


def test_weights_that_are_not_here_are_trained_once(tiny, tiny_root, runs):
    settings, ids = (
        preset("tiny"),
        len(experiment.dataset(preset("tiny").data, tiny_root).labels),
    )
    first = experiment.train_if_missing(
        settings, ids, data=tiny_root, device="cpu", progress=False
    ).state_dict()
    written = (runs / settings.hash / experiment.WEIGHTS).stat().st_mtime_ns
    again = experiment.train_if_missing(settings, ids).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert (runs / settings.hash / experiment.WEIGHTS).stat().st_mtime_ns == written


def test_real_data_that_is_not_set_up_says_which_variable_to_set(monkeypatch):
    monkeypatch.delenv("VVI_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="VVI_DATA"):
        experiment.dataset(DataConfig(source="real"))


def test_shuffled_frames_leave_the_baseline_where_it_was(tiny, tiny_root):
    result = tiny()
    found = experiment.dataset(result.config.data, tiny_root)
    method, reader = (
        experiment.load_trained(result.config, len(found.labels)),
        experiment.frames(result.config.data, found, progress=False),
    )
    plain, shuffled = (
        evaluate.evaluate(method, found, reader, 3, change=c)["ir2vis"]
        for c in (None, lambda clips: clips.flip(1))
    )
    np.testing.assert_allclose(plain.query_feat, shuffled.query_feat, atol=1e-5)


@pytest.mark.parametrize(
    ("layout", "directions"),
    [
        ("sysu-mm01", {"ir2vis"}),
        ("regdb", {"ir2vis", "vis2ir"}),
        ("buptcampus", {"ir2vis", "vis2ir"}),
    ],
)
def test_other_protocols_run_end_to_end_on_embedded_sets(
    layout, directions, common_cache, monkeypatch
):
    monkeypatch.setenv("VVI_CACHE", str(common_cache))
    result = experiment.run(
        preset("tiny", layout=layout, frames=1),
        device="cpu",
        progress=False,
        keep=False,
    )
    assert set(result.record.scores) == directions and result.data_label == "synthetic"
    assert all(
        scores["n_valid"] > (5 if layout == "buptcampus" else 50)
        for scores in result.record.scores.values()
    )
    found = result.trials()
    assert set(found) == (set(protocols.SETTINGS) if layout == "sysu-mm01" else set())
    for name, scores in found.items():
        assert (
            scores["rank1"]
            == pytest.approx(100 * result.arrays[f"{name}/trials"][:, 0].mean())
            and 0 < scores["mAP"] <= 100
        )


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A set as somebody holds it: pixels and lists, nothing that says it was drawn."""
    root = tmp_path_factory.mktemp("real") / "HITSZ-VCM"
    synthetic.write(root, preset="tiny", workers=1, progress=False)
    (root / "manifest.json").unlink()
    return root


def quick(root, **changes):
    """A run of one step."""
    settings = preset("tiny", steps=1, **changes)
    return experiment.run(settings, data=root, device="cpu", progress=False)


def test_results_belong_to_pixels_and_not_to_folders(real, runs, tmp_path, monkeypatch):
    """A copy finds the result, other pixels under the same lists do not."""
    monkeypatch.setattr(digest, "PATIENCE", 0.0)  # also on a slow machine
    first = quick(real)
    copy = tmp_path / "copy"
    shutil.copytree(real, copy)
    again = quick(copy)
    assert again.stored and again.run_id == first.run_id
    path = next((copy / "0001").rglob("*.jpg"))
    path.write_bytes(next((copy / "0002").rglob("*.jpg")).read_bytes())
    other = quick(copy)
    assert not other.stored and other.run_id != first.run_id
    assert quick(real).stored and len(list(runs.iterdir())) == 2


def test_the_embedded_set_is_itself_only_while_nobody_changed_it(
    tiny_root, runs, tmp_path
):
    copy = tmp_path / "mine"
    shutil.copytree(tiny_root, copy)
    settings = preset("tiny", steps=1)
    assert experiment.resolve_data(settings, copy) == settings
    path = next(copy.rglob("*.jpg"))
    path.write_bytes(path.read_bytes()[:-1])
    changed = experiment.resolve_data(settings, copy)
    assert changed.data.source.startswith("real:") and not changed.data.synthetic


def test_a_record_says_which_data_it_is_of(real, tiny, runs):
    made = quick(real)
    content = made.config.data.source.removeprefix("real:")
    assert made.data_name == f"HITSZ-VCM (hitsz-vcm, {content})"
    assert made.record.data == {
        "name": "HITSZ-VCM",
        "layout": "hitsz-vcm",
        "digest": content,
        "people trained on": 8,
    }
    assert store.load_record(runs / made.run_id).data == made.record.data
    drawn = tiny(preset("tiny", steps=1))
    assert drawn.data_name == "synthetic"
    assert drawn.record.data["name"] == "synthetic tiny"


@pytest.fixture
def odd(real, tmp_path):
    """The set with a foreign frame, a person of one modality and lists with tabs."""
    root = tmp_path / "odd"
    shutil.copytree(real, root)
    names, rows = (
        root / "info" / "train_name.txt",
        root / "info" / "track_train_info.txt",
    )
    lines = names.read_text().splitlines()
    lines[1] = next(name for name in lines if name.startswith("0002M2"))
    names.write_text("\n".join(lines))
    kept = [
        r for r in rows.read_text().splitlines() if not re.match(r"1 \d+ \d+ 5 ", r)
    ]
    rows.write_text("\n".join(kept).replace(" ", "\t"))
    return root


def test_what_was_left_out_is_said_once_and_kept_in_the_record(odd, runs):
    with pytest.warns(UserWarning) as caught:
        made = quick(odd)
    said = [str(w.message) for w in caught if "HITSZ-VCM" in str(w.message)]
    assert len(said) == 1 and f"`vvi check {odd}` lists each" in said[0]
    parts = [
        "1 ranges with frames that belong elsewhere, kept "
        "(track_train_info.txt line 1)",
        "1 training identities of one modality left out (0005 without infrared)",
        "1 lists with tabs, extra blanks or decimal numbers read all the same",
        "1 names of a frame that is listed twice, kept",
    ]
    assert all(part in said[0] for part in parts)
    remarks = store.load_record(runs / made.run_id).data["remarks"]
    assert all(any(part in remark for remark in remarks) for part in parts)
    assert made.record.data["people trained on"] == 7


def test_settings_of_the_reader_reach_it_and_make_runs_of_their_own(odd, runs):
    kept, dropped = quick(odd), quick(odd, foreign="drop")
    assert kept.run_id != dropped.run_id
    said = " ".join(dropped.record.data["remarks"])
    assert "belong elsewhere, dropped" in said
    with pytest.raises(DataError, match="refused because strict=true"):
        quick(odd, strict=True)
    with pytest.raises(ValueError, match="hitsz-vcm has no option 'auxiliary'"):
        quick(odd, auxiliary=True)


def test_a_set_that_is_refused_is_refused_also_where_its_result_is_stored(
    real, runs, tmp_path
):
    quick(real)
    linked = tmp_path / "linked"
    linked.mkdir()
    for entry in real.iterdir():
        (linked / entry.name).symlink_to(entry)
    with pytest.raises(
        DataError, match="a link that leaves the data folder.*strict=false"
    ):
        quick(linked)
    assert not quick(linked, strict=False).stored


def test_a_variable_says_how_strictly_data_are_read(real, runs, tmp_path, monkeypatch):
    linked = tmp_path / "linked"
    linked.mkdir()
    for entry in real.iterdir():
        (linked / entry.name).symlink_to(entry)
    first = quick(real)
    monkeypatch.setenv("VVI_STRICT", "false")
    assert quick(linked).run_id == first.run_id
    monkeypatch.setenv("VVI_STRICT", "perhaps")
    with pytest.raises(ValueError, match="VVI_STRICT=perhaps must be true or false"):
        experiment.dataset(first.config.data, real)


@pytest.mark.parametrize("layout", ["sysu-mm01", "regdb", "buptcampus"])
def test_the_layout_of_a_folder_is_taken_by_itself(layout, runs, tmp_path):
    tiny = synthetic.PRESETS["tiny"]
    small = type(tiny)(
        "small", tiny.train, tiny.test, 32, 16, still=(6, 2, 4), paired=12
    )
    root = tmp_path / "sets" / "mine"
    synthetic.write(root, small, layout, workers=1, progress=False)
    (root / "manifest.json").unlink()
    for folder in (root, tmp_path / "sets"):
        made = quick(folder)
        assert made.config.data.layout == layout
        one = "one-gallery " * (layout == "sysu-mm01")
        assert made.data_label == one + layout, "papers report the mean of ten"
    assert made.stored and made.data_name.startswith(f"mine ({layout}, ")
    with pytest.raises(DataError, match=f"holds mine .{layout}., not "):
        other = "regdb" if layout != "regdb" else "sysu-mm01"
        quick(root, layout=other)
    assert experiment.layout_of(made.config.data, root) == layout
    with pytest.raises(DataError, match=f"holds {layout}, not hitsz-vcm"):
        experiment.layout_of(preset("tiny").data, root, layout="hitsz-vcm")


def test_validation_people_of_a_real_set_belong_to_the_same_digest(real):
    test = experiment.resolve_data(preset("tiny"), real)
    val = experiment.resolve_data(preset("tiny", split="val"), real)
    assert test.data.source == val.data.source and test.hash != val.hash
    found = experiment.dataset(val.data, real)
    searched = {t.identity for t in found.query("ir2vis")}
    assert searched and not searched & set(found.labels)


def test_a_trial_without_look_alikes_has_no_probe_of_them(common_cache, monkeypatch):
    monkeypatch.setenv("VVI_CACHE", str(common_cache))
    result = experiment.run(
        preset("tiny", layout="regdb", frames=1, steps=1, seed=1),
        device="cpu",
        progress=False,
        keep=False,
    )
    assert "gap probe" in result.record.probes and not {
        "look-alike pair",
        "look-alike rank1",
    } & set(result.record.probes)


def test_one_folder_may_hold_several_real_sets(tiny_root, tmp_path, monkeypatch):
    for name, layout in (("people", "sysu-mm01"), ("thermal", "regdb")):
        synthetic.write(tmp_path / name, preset="tiny", layout=layout, progress=False)
    (tmp_path / "video").symlink_to(tiny_root)
    monkeypatch.setenv("VVI_DATA", str(tmp_path))
    roots = {
        layout: experiment.dataset(DataConfig("real", layout=layout)).root.name
        for layout in ("hitsz-vcm", "sysu-mm01", "regdb")
    }
    assert roots == {"hitsz-vcm": "video", "sysu-mm01": "people", "regdb": "thermal"}
    monkeypatch.setenv("VVI_DATA", str(tmp_path / "thermal"))
    assert experiment.dataset(DataConfig("real", layout="regdb")).layout == "regdb"


def test_the_seed_of_a_run_names_its_trial_of_regdb(common_cache, monkeypatch):
    monkeypatch.setenv("VVI_CACHE", str(common_cache))
    data = preset("tiny", layout="regdb", frames=1).data
    first, again, second = (
        experiment.dataset(data, progress=False, seed=s) for s in (0, 10, 1)
    )
    assert first.train == again.train and {t.identity for t in first.train} != {
        t.identity for t in second.train
    }


def test_runs_that_differ_in_the_search_alone_share_their_weights(tiny, monkeypatch):
    plain, settings = (
        preset("tiny", "cmft"),
        change(preset("tiny", "cmft"), test_embedding="self_pair"),
    )
    trained = tiny(settings, keep=False)
    first = tiny(plain)
    monkeypatch.setattr(
        "vvi.engine.train.fit", lambda *_: pytest.fail("trained what is already there")
    )
    shared = tiny(settings)
    for name, values in trained.history.items():
        np.testing.assert_allclose(
            shared.history[name], values, rtol=1e-3, err_msg=name
        )  # stored with three digits
    assert shared.row("ir2vis") == trained.row("ir2vis") != first.row("ir2vis")


def test_other_readings_of_a_trained_method_are_measured_and_undone(
    tiny, tiny_root, monkeypatch
):
    from vvi.methods import mitml

    monkeypatch.setattr(
        mitml.Model,
        "readings",
        {
            "no order": {
                "config": mitml.Config(backbone="micro", frames=3, shuffle="both")
            }
        },
    )
    config = preset("tiny", "mitml")
    result = tiny(config)
    found = experiment.dataset(config.data, tiny_root)
    method, reader = (
        experiment.load_trained(config, len(found.labels)),
        experiment.frames(config.data, found, progress=False),
    )
    plain = evaluate.evaluate(method, found, reader, 3)["ir2vis"].metrics()
    assert plain.rank(1) == result.metrics("ir2vis").rank(
        1
    )  # what a reading sets is gone afterwards
    method.config = mitml.Config(backbone="micro", frames=3, shuffle="both")
    hidden = evaluate.evaluate(method, found, reader, 3)["ir2vis"].metrics()
    assert result.probe("reading no order").value == pytest.approx(
        hidden.rank(1) - plain.rank(1)
    )


def test_golden_values_of_a_tiny_run(tiny):
    """Catch a change of what generator, loop or baseline compute without a new VERSION.

    With a new VERSION these numbers are written anew.
    """
    history = tiny().history
    assert {k: v[0] for k, v in history.items() if k != "lr"} == pytest.approx(
        GOLDEN_FIRST, abs=2e-3
    )
    assert history["encoder/id"][-1] == pytest.approx(GOLDEN_LAST_ID, abs=0.05)


GOLDEN_FIRST = {"encoder/id": 2.0802, "encoder/triplet": 1.8430}
GOLDEN_LAST_ID = 2.0775


def test_data_are_opened_with_what_is_known_of_them(tiny_root, real):
    drawn = experiment.open_data(preset("tiny").data, tiny_root, progress=False)
    assert len(drawn.dataset.labels) == 8 and drawn.frames.size == (32, 16)
    tracklet, frames = drawn.dataset.query("ir2vis")[0], np.array([0, 2, 5])
    masks = drawn.truth.masks(tracklet, frames)
    np.testing.assert_array_equal(
        masks, synthetic.read_masks(tiny_root, tracklet)[[0, 2, 5]]
    )
    faults = synthetic.read_faults(tiny_root, tracklet)[[0, 2, 5]]
    assert drawn.truth.noisy(tracklet, frames).tolist() == (faults != "none").tolist()
    settings = experiment.resolve_data(preset("tiny"), real)
    assert experiment.open_data(settings.data, real, progress=False).truth is None


def test_look_alikes_are_two_people_of_one_group(tiny_root):
    truth = Truth(tiny_root)
    groups = truth.look_alike_groups()
    alike = [i for i in groups if groups[i] >= 0 and groups[i] == max(groups.values())]
    alone = [i for i in groups if groups[i] < 0]
    assert truth.has_look_alikes(alike) and len(alike) > 1
    assert not truth.has_look_alikes(alike[:1] + alone)


def test_an_execution_reads_what_people_type_and_names_what_it_does_not_know():
    execution = experiment.Execution(retrain="no", device="GPU", data="none")
    assert (execution.retrain, execution.device, execution.data) == (
        False,
        "cuda",
        None,
    )
    with pytest.raises(TypeError, match="colour"):
        experiment.run(preset("tiny"), colour="red")
    with pytest.raises(ValueError, match="no device 'brain'"):
        experiment.run(preset("tiny"), device="brain")


def test_a_run_takes_an_execution_in_place_of_its_fields(tiny_root, runs):
    execution = experiment.Execution(device="cpu", data=tiny_root, progress=False)
    first = experiment.run(preset("tiny", steps=1), execution)
    again = experiment.run(preset("tiny", steps=1), execution, retrain=True)
    assert not first.stored and not again.stored
    assert first.history == again.history


@pytest.mark.parametrize("layout", ["sysu-mm01", "regdb", "buptcampus"])
def test_an_option_of_another_layout_is_refused_before_data_are_drawn(layout):
    settings = preset("tiny", layout=layout)
    assert experiment.resolve_data(settings) == settings
    for changes in ({"min_seq_len": 3}, {"foreign": "drop"}):
        with pytest.raises(ValueError, match=f"^{layout} has no option"):
            experiment.resolve_data(change(settings, **changes))


@pytest.mark.parametrize("layout", ["sysu-mm01", "regdb"])
def test_a_stride_between_single_images_is_refused(layout):
    with pytest.raises(ValueError, match=f"^stride=2 would .* {layout} is one image"):
        experiment.resolve_data(preset("tiny", layout=layout, stride=2))


@pytest.mark.parametrize("changes", [{"data_seed": 1}, {"source": "half"}])
def test_what_is_drawn_is_no_setting_of_a_folder(changes, real):
    (name,) = changes
    assert experiment.resolve_data(preset("tiny", **changes))
    with pytest.raises(ValueError, match=f"^{name}=.* are read as they are"):
        experiment.resolve_data(preset("tiny", **changes), real)
