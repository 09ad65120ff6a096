"""Pages that do without runs that are not there."""

import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vvi import experiment, methods
from vvi.book import stored
from vvi.cli import parser
from vvi.config import preset
from vvi.data.synthetic import presets
from vvi.experiment import WEIGHTS, ablation, shipped, store
from vvi.experiment.trained_network import load_run_or_file
from vvi.runtime import paths


@pytest.fixture
def nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("VVI_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(paths, "records", lambda: tmp_path / "records")


def test_a_table_without_a_result_has_its_labels_and_no_row(nothing, capsys):
    (rows,) = stored.tables("cmft", ["Table 4"]).values()
    assert not rows and rows["WRT"] == []
    assert "vvi ablate cmft --tables 'Table 4'" in capsys.readouterr().out
    with pytest.raises(KeyError, match="no row 'X'"):
        rows["X"]


def test_the_command_for_a_table_names_seeds_that_it_would_not_train(nothing, capsys):
    args = parser.build().parse_args(["ablate", "cmft"])
    assert tuple(args.seeds) == ablation.USUAL_SEEDS
    stored.tables("cmft", ["Table 4"], seeds=[4, 7])
    said = "vvi ablate cmft --tables 'Table 4' --seeds 4 7 trains them."
    assert said in capsys.readouterr().out
    with pytest.raises(LookupError, match="--tables 'Table 4' --seeds 9$"):
        ablation.results("cmft", "Table 4", seeds=[9])
    with pytest.raises(LookupError, match="--tables 'Table 4' --seeds 0 4$"):
        ablation.results("cmft", "Table 4", seeds=[0, 4])
    for usual in ([2], ablation.SEEDS):
        with pytest.raises(LookupError, match="--tables 'Table 4'$"):
            ablation.results("cmft", "Table 4", seeds=usual)


def test_a_row_that_is_stored_is_found(nothing, monkeypatch, capsys):
    wanted = ablation.configs("cmft", "Table 4")["WRT"][1]
    there = {wanted.hash}
    missing = lambda configs, *_: [c for c in configs if c.hash not in there]  # noqa: E731
    monkeypatch.setattr(ablation, "missing", missing)
    monkeypatch.setattr(experiment, "run", lambda config, **_: config)
    rows = stored.tables("cmft", ["Table 4"])["Table 4"]
    assert rows == {"WRT": [wanted]}
    assert "Rows without a stored result: L_CMT" in capsys.readouterr().out


def test_a_network_without_weights_is_not_trained_on_a_page(nothing, tmp_path, capsys):
    class View:
        class dataset:
            labels = range(3)

    config = ablation.configs("cmft", "Same batches", seeds=[2])["Baseline"][0]
    assert stored.network(config, View) is None
    shown = capsys.readouterr().out
    assert stored.command(config) in shown and not (tmp_path / "runs").exists()


def test_a_network_at_tiny_is_trained_where_it_is_not_there(nothing, tiny_root):
    from vvi.book import figures

    view = figures.scene(preset("tiny"), tiny_root)
    config = preset("tiny", steps=1)
    how = dict(data=tiny_root, device="cpu", progress=False)
    method = stored.network(config, view, **how)
    assert not method.training


def test_the_command_of_every_record_makes_what_it_computed():
    from vvi.cli import parser, settings

    reader = parser.build()
    for file in sorted(paths.records().glob("*/record.json")):
        config = store.load_record(file.parent).config
        words = shlex.split(stored.command(config))
        assert words[:2] == ["vvi", "train"]
        (_, made), _ = settings.changed_row(reader.parse_args(words[1:]), config.seed)
        assert (made.data, made.recipe) == (config.data, config.recipe), words
        fields = [methods.config(c.method, **c.options) for c in (made, config)]
        assert fields[0] == fields[1], words


@pytest.fixture
def trained(tmp_path, monkeypatch, tiny_root):
    """A run of one step whose record has no weights beside it."""
    monkeypatch.setenv("VVI_RUNS", str(tmp_path / "runs"))
    monkeypatch.setattr(paths, "records", lambda: tmp_path / "records")
    how = dict(data=tiny_root, device="cpu", progress=False)
    made = experiment.run(preset("tiny", steps=1), **how).config
    shutil.copytree(tmp_path / "runs", tmp_path / "records")
    (tmp_path / "records" / made.hash / WEIGHTS).unlink()
    return made


def test_weights_beside_a_record_are_those_of_the_run_in_half_precision(trained):
    assert shipped.load_half(trained, 8) is None
    run = paths.runs() / trained.hash
    files = shipped.save_half(run)
    assert files and all(file.stat().st_size < 1_000_000 for file in files)
    exact, half = experiment.load_trained(trained, 8), shipped.load_half(trained, 8)
    assert not half.training
    begun = replace(trained, weights="imagenet")  # of which no file is needed any more
    shutil.copytree(shipped.folder(trained), shipped.folder(begun))
    again = shipped.load_half(begun, 8)
    assert all(
        map(torch.equal, again.state_dict().values(), half.state_dict().values())
    )
    for name, value in exact.state_dict().items():
        rounded = value.half().float() if value.dim() > 1 else value
        assert torch.equal(half.state_dict()[name], rounded), name
    shutil.rmtree(run)
    found = load_run_or_file(trained.hash[:6])
    assert found.settings == trained and found.source == files[0]
    for name, value in half.state_dict().items():
        assert torch.equal(found.method.state_dict()[name], value), name
    shutil.copytree(paths.records() / trained.hash, run)
    files[0].write_bytes(b"damaged")
    with pytest.raises(ValueError, match="does not hold the weights of this run"):
        shipped.load_half(trained, 8)
    shutil.rmtree(paths.records() / trained.hash)
    with pytest.raises(FileNotFoundError, match="no record that weights could go with"):
        shipped.save_half(run)


def test_files_of_weights_stay_below_a_megabyte_whatever_the_network():
    state = {f"layer{n}": torch.randn(300, 700) for n in range(9)}
    state["bias"] = torch.randn(300)
    portions = shipped._portions(state)
    assert len(portions) == 5
    assert sorted(name for portion in portions for name in portion) == sorted(state)
    for portion in portions:
        assert sum(value.nbytes for value in portion.values()) <= shipped.MOST
    assert portions[0]["bias"].dtype == torch.float32


def test_the_network_that_chapter_6_searches_with_lies_beside_its_record():
    rows = ablation.configs("cmft", "Same batches", seeds=[0])
    runs = [experiment.run(c, progress=False) for (c,) in rows.values()]
    best = max(runs, key=lambda run: run.row("ir2vis")["mAP"])
    people = presets.find("standard").train.identities
    assert shipped.load_half(best.config, people) is not None


@pytest.mark.parametrize("page", ["README.md", "book/own_data.md"])
def test_a_page_names_a_run_that_has_weights_in_a_fresh_clone(page, nothing):
    root = Path(__file__).parent.parent.parent
    (name,) = set(re.findall(r"--weights ([0-9a-f]{12})\b", (root / page).read_text()))
    files = sorted((root / "book" / "records" / name).glob("half-*.safetensors"))
    assert files, f"{page} names {name}: python -m vvi.experiment.shipped RUN"


def test_a_page_takes_the_weights_beside_the_record_and_says_so(monkeypatch, capsys):
    class View:
        class dataset:
            labels = range(500)

    monkeypatch.setattr(paths, "runs", lambda: Path("nowhere"))
    config = ablation.configs("cmft", "Same batches", seeds=[0])["Baseline"][0]
    assert stored.network(config, View) is not None
    assert "rounded to half precision" in capsys.readouterr().out


def test_what_has_no_weights_here_is_trained_by_a_command_of_that_run(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("VVI_RUNS", str(tmp_path))
    config = ablation.configs("baseline", "Fig. 6", seeds=[1])["n=1"][0]
    with pytest.raises(FileNotFoundError, match=r"--seeds 1 --set frames=1 --retrain$"):
        load_run_or_file(config.hash)
