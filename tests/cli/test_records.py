"""`vvi runs` names a run by the row that it is, or by the settings of its own."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from vvi.cli import records
from vvi.cli.main import main
from vvi.config import change, preset
from vvi.experiment import ablation, trained_network
from vvi.runtime import paths


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"lr": 0.5}, "baseline, lr=0.5 T=3"),
        ({"height": 64, "margin": 0.1}, "baseline, margin=0.1 height=64 T=3"),
        ({"backbone": "mine:trunk"}, "baseline, backbone=mine:trunk T=3"),
        ({"frames": 2}, "baseline, T=2"),
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
