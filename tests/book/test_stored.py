"""Pages that do without runs that are not there."""

import pytest

from vvi import experiment
from vvi.book import stored
from vvi.config import preset
from vvi.experiment import ablation
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


def test_the_command_of_a_run_makes_that_run():
    from vvi.cli.main import main  # the parser knows what the words mean

    config = ablation.configs("cmft", "Same batches", seeds=[2])["Baseline"][0]
    words = stored.command(config).split()
    assert words[:3] == ["vvi", "train", "baseline"] and "--retrain" in words
    assert words[words.index("--seeds") + 1] == "2"
    changes = dict(word.split("=") for word in words[words.index("--set") + 1 :])
    changes = {name: int(value) for name, value in changes.items()}
    assert preset("standard", "baseline", seed=2, **changes) == config and main
