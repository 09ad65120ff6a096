"""`vvi runs` names a run by the row that it is, or by the settings of its own."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from vvi.cli import records
from vvi.cli.main import main
from vvi.config import change, preset
from vvi.experiment import ablation, store, trained_network
from vvi.runtime import paths


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"lr": 0.5}, "baseline, lr=0.5 T=3"),
        ({"height": 64, "margin": 0.1}, "baseline, margin=0.1 height=64 T=3"),
        ({"backbone": "mine:trunk"}, "baseline, backbone=mine:trunk T=3"),
        ({"frames": 2}, "baseline, T=2"),
        ({"data_seed": 1, "stride": 2}, "baseline, data_seed=1 stride=2 T=3"),
    ],
)
def test_a_run_that_is_no_row_is_named_by_what_was_set(changes, line):
    config = change(preset("tiny", "baseline"), **changes)
    assert records._described(SimpleNamespace(config=config)) == line


def test_a_listing_without_a_line_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VVI_RUNS", str(tmp_path))
    assert main(["runs", "iban", "--preset", "tiny"]) == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == (
        "",
        "no stored result of iban at preset tiny\n",
    )


def store_runs(folder, seeds):
    """Store a result for each seed, without training; return their folders."""
    stored = []
    for seed in seeds:
        config = preset("tiny", "baseline", seed=seed)
        scores = {"ir2vis": {"rank1": 0.5, "mAP": 0.5, "mINP": 0.5}}
        arrays = {"ir2vis/ap": np.ones(2, np.float32)}
        made = store.Record(config, {"loop": 1}, {}, {}, scores, {}, {}, arrays)
        stored.append(store.save_record(made, folder))
    return sorted(stored)


def test_a_damaged_run_hides_no_other(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VVI_RUNS", str(tmp_path))
    monkeypatch.setattr(paths, "records", lambda: tmp_path / "none")
    cut, bare, whole = store_runs(tmp_path, range(3))
    assert main(["runs"]) == 0 and capsys.readouterr().out.count("\n") == 3
    (cut / "record.json").write_text('{"config": ')
    (bare / store.ARRAYS).unlink()
    with pytest.warns(UserWarning) as raised:
        assert main(["runs", "baseline", "--preset", "tiny"]) == 1
    shown = capsys.readouterr().out
    assert whole.name in shown and shown.count("\n") == 1
    said = [str(warning.message) for warning in raised]
    assert len(said) == 2 and "record.json is no record" in said[0]
    assert f"{store.ARRAYS} is missing" in said[1]
    assert said[0].endswith(f"move {cut} away and run it again")
    assert said[1].endswith(f"delete {bare} and run it again")


def test_whoever_reads_a_listing_may_stop_early():
    command = f"{sys.executable} -m vvi runs | head -n 1"
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, check=True
    )
    assert done.stdout.count("\n") == 1 and done.stderr == ""


def test_a_run_is_known_as_it_is_listed(tmp_path, monkeypatch):
    monkeypatch.setenv("VVI_RUNS", str(tmp_path))
    run = "a" * 11 + "7"
    (tmp_path / run).mkdir()
    (tmp_path / run / "record.json").write_text("{}")
    for name in (run, run[:5], f"runs/{run}", run.upper()):
        assert trained_network._run_folder(name) == tmp_path / run
    stored = sorted(path for path in paths.records().iterdir() if len(path.name) == 12)
    for name in (stored[0].name, f"records/{stored[0].name}", stored[0].name.upper()):
        assert ablation._folder_of(name, stored) == stored[0]
