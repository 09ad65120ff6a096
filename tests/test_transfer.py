"""Weights of one data set tested on another, by the protocol of the other."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from vvi import experiment
from vvi.config import preset
from vvi.data import open_dataset, regdb, synthetic
from vvi.evaluation import evaluate, protocols
from vvi.experiment import transfer
from vvi.experiment.trained_network import load_run_or_file
from vvi.metrics import retrieval_metrics


def bare(root):
    """A set as somebody holds it: pixels and lists, nothing that says it was drawn."""
    (root / "manifest.json").unlink()
    shutil.rmtree(root / "masks")
    return root


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """One set of each layout, small."""
    folder, tiny = tmp_path_factory.mktemp("sets"), synthetic.PRESETS["tiny"]
    train, test = tiny.train, tiny.test
    small = type(tiny)("small", train, test, 32, 16, still=(6, 2, 4), paired=8)
    made = {}
    for layout in ("hitsz-vcm", "sysu-mm01", "regdb", "buptcampus"):
        root = folder / layout
        synthetic.write(root, small, layout, seed=3, workers=1, progress=False)
        made[layout] = bare(root)
    return made


@pytest.fixture(scope="module")
def run(tiny_root, tmp_path_factory):
    """A run on the tiny set, and the folder of runs."""
    patch = pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("runs")
    patch.setenv("VVI_RUNS", str(folder))
    settings = preset("tiny", steps=2)
    made = experiment.run(settings, data=tiny_root, device="cpu", progress=False)
    patch.undo()
    return made, folder


@pytest.fixture(autouse=True)
def folders(run, tmp_path, monkeypatch):
    monkeypatch.setenv("VVI_RUNS", str(run[1]))
    monkeypatch.setenv("VVI_CACHE", str(tmp_path))
    monkeypatch.delenv("VVI_DATA", raising=False)


def test_a_run_is_found_by_its_hash_its_first_letters_its_folder_or_its_file(run):
    made, folder = run
    place = folder / made.run_id
    sources = [made.run_id, made.run_id[:5], place, place / "model.safetensors"]
    expected = load_file(place / "model.safetensors")
    for source in sources:
        trained = load_run_or_file(source)
        assert trained.settings == made.config
        assert transfer.data_name(trained) == "synthetic"
        state = trained.method.state_dict()
        assert all(torch.equal(state[k], v) for k, v in expected.items())


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_file_of_weights_needs_to_be_told_its_network(run, tmp_path, wrapped):
    made, folder = run
    tensors = load_file(folder / made.run_id / "model.safetensors")
    file = tmp_path / "mine.pt"
    torch.save({"state_dict": tensors} if wrapped else tensors, file)
    with pytest.raises(ValueError, match="mine.pt does not say which network it holds"):
        load_run_or_file(file)
    trained = load_run_or_file(file, made.config)
    assert transfer.data_name(trained) == "mine.pt"
    with pytest.raises(ValueError, match="mine.pt is no iban"):
        load_run_or_file(file, preset("tiny", "iban"))


def test_another_set_is_scored_with_its_own_protocol(run, sets):
    trained = load_run_or_file(run[0].run_id)
    for layout in ("hitsz-vcm", "buptcampus"):
        target = transfer.resolve(trained.settings.data, sets[layout])
        found = transfer.test(trained, target)
        opened = open_dataset(sets[layout])
        reader = experiment.frames(trained.settings.data, opened, progress=False)
        for direction, side in evaluate.evaluate(
            trained.method, opened, reader, 3
        ).items():
            slow = retrieval_metrics(*side.protocol, rule=opened.rule)
            assert found.scores[direction]["mAP"] == pytest.approx(slow.mAP)
            assert f"{direction}  {slow}" in found.lines
        assert target.name.startswith(f"{layout} ({layout}, ")


def test_sysu_is_scored_on_ten_galleries(run, sets):
    trained = load_run_or_file(run[0].run_id)
    target = transfer.resolve(trained.settings.data, sets["sysu-mm01"])
    lines = transfer.test(trained, target).lines
    assert len(lines) == 4 and all("mean of 10 galleries" in line for line in lines)
    assert lines[0].startswith("ir2vis  all-search, single-shot  R1 ")


def test_regdb_is_scored_on_ten_trials_but_its_own_weights_on_theirs(run, sets):
    trained = load_run_or_file(run[0].run_id)
    target = transfer.resolve(trained.settings.data, sets["regdb"])
    found = transfer.test(trained, target)
    assert [line[:6] for line in found.lines] == ["ir2vis", "vis2ir"]
    assert all("mean of 10 trials" in line for line in found.lines)
    own = replace(trained, settings=_on(trained.settings, target))
    alone = transfer.test(own, target, seed=3)
    third = regdb.read(sets["regdb"], protocols.regdb_trial(3))
    assert alone.scores["ir2vis"]["n_valid"] == len(third.query("ir2vis"))


def _on(settings, target):
    return type(settings)(**vars(settings) | {"data": target.data})


def test_the_mean_over_trials_is_that_of_each_alone(sets):
    def embed(tracklets):
        lots = [
            np.random.default_rng([t.identity, len(str(t.paths[0]))]) for t in tracklets
        ]
        return np.stack([r.normal(size=8) for r in lots])

    found = protocols.regdb_scores(sets["regdb"], embed)
    for trial in (1, 7):
        opened = regdb.read(sets["regdb"], trial)
        for direction, (query, gallery) in opened.sides.items():
            labels = [
                [getattr(t, name) for t in side]
                for name in ("identity", "camera")
                for side in (query, gallery)
            ]
            slow = retrieval_metrics(embed(query), embed(gallery), *labels, rule="none")
            row = found[direction][trial - 1]
            assert row[[0, 4, 5]] == pytest.approx([slow.rank(1), slow.mAP, slow.mINP])


def test_weights_of_a_real_set_ask_where_it_is(run, sets, monkeypatch):
    trained = load_run_or_file(run[0].run_id)
    target = transfer.resolve(trained.settings.data, sets["hitsz-vcm"])
    with pytest.raises(FileNotFoundError, match="name its folder with --data"):
        transfer.resolve(target.data, None)
    monkeypatch.setenv("VVI_DATA", str(sets["hitsz-vcm"]))
    assert transfer.resolve(target.data, None) == target
    with pytest.raises(ValueError, match="holds hitsz-vcm .*, not regdb"):
        transfer.resolve(target.data, sets["hitsz-vcm"], layout="regdb")


def test_a_layout_that_is_not_read_is_refused(run, sets):
    data = run[0].config.data
    with pytest.raises(ValueError, match="drawn data .* are hitsz-vcm, not regdb"):
        transfer.resolve(data, None, layout="regdb")
    with pytest.raises(ValueError, match="holds regdb, not hitsz-vcm"):
        transfer.resolve(data, sets["regdb"], layout="hitsz-vcm")
    for layout in ("hitsz-vcm", "auto"):
        assert transfer.resolve(data, None, layout=layout).data == data
    for layout in ("regdb", "auto"):
        target = transfer.resolve(data, sets["regdb"], layout=layout)
        assert target.data.layout == "regdb"


def test_options_of_the_set_trained_on_do_not_pass_to_one_that_lacks_them(run, sets):
    data = replace(run[0].config.data, min_seq_len=3, foreign="drop", strict=False)
    other = transfer.resolve(data, sets["buptcampus"]).data
    assert (other.min_seq_len, other.foreign, other.strict) == (12, "keep", False)
    same = transfer.resolve(data, sets["hitsz-vcm"]).data
    assert (same.min_seq_len, same.foreign, same.strict) == (3, "drop", False)
    typed = transfer.resolve(data, sets["buptcampus"], min_seq_len=3)
    with pytest.raises(ValueError, match="buptcampus has no option 'min_seq_len'"):
        transfer.test(load_run_or_file(run[0].run_id), typed)
