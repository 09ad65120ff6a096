"""`--dry-run` prints what would be started, and nothing is started or written."""

import os
import shlex
from unittest import mock

import pytest

from vvi import experiment
from vvi.cli import dry_run
from vvi.cli.main import main
from vvi.config import preset
from vvi.experiment import tune

SLURM = ["--executor", "slurm", "--options", "timeout_min=600", "gpus_per_node=1"]


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a dry run trains nothing")

    for name in ("RUNS", "CACHE"):
        monkeypatch.setenv(f"VVI_{name}", str(tmp_path / name.lower()))
    monkeypatch.setattr(experiment, "run", refuse)
    yield
    assert not list(tmp_path.iterdir()), "a dry run writes nothing"


def said(capsys, *arguments):
    assert main(list(arguments)) == 0
    return capsys.readouterr().out.splitlines()


def test_a_tuning_on_slurm_shows_its_runs_and_the_script_of_a_job(capsys):
    partition = ["slurm_partition=gpu", "mem_gb=32"]
    command = ["tune", "baseline", "--preset", "tiny", "--trials", "3", "--dry-run"]
    lines = said(capsys, *command, *SLURM, *partition)
    assert lines[0] == "3 of 3 runs are missing and would be trained"
    drawn = [config.hash for _, config in tune.trials("baseline", 3, "tiny").values()]
    assert [line.split()[1] for line in lines[1:4]] == drawn
    script = [line.strip() for line in lines[5:]]
    assert script[0] == "#!/bin/bash"
    for wanted in ("time=600", "gpus-per-node=1", "partition=gpu", "mem=32GB"):
        assert f"#SBATCH --{wanted}" in script
    assert script[-1].startswith("srun ") and "submitit.core._submit" in script[-1]


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ([], "here, one after the other"),
        (["--workers", "3"], "on 3 processes of one thread each, here"),
        (["--executor", "dask://host:8786"], "on the workers of dask://host:8786"),
    ],
)
def test_other_executors_are_named(given, where, capsys):
    command = ["ablate", "baseline", "--preset", "tiny", "--tables", "Table 2"]
    lines = said(capsys, *command, "--seeds", "0,1", "--dry-run", *given)
    assert lines[0] == "2 of 2 runs are missing and would be trained"
    config = preset("tiny", "baseline")
    assert lines[1] == f"  run {config.hash}  tiny  seed 0  baseline, Table 2: Baseline"
    assert lines[-1] == where


def test_tables_of_sets_that_a_folder_does_not_hold_are_left_out(tiny_root, capsys):
    command = ["ablate", "di2l", "--preset", "tiny", "--seeds", "0", "--dry-run"]
    everything = int(said(capsys, *command)[0].split()[2])
    command += ["--data", str(tiny_root)]
    with pytest.warns(
        UserWarning, match="is left out: .* holds no (sysu|regdb)"
    ) as warned:
        held = int(said(capsys, *command)[0].split()[2])
    said_so = {str(w.message) for w in warned if w.category is UserWarning}
    assert len(said_so) == 2 and 0 < held < everything
    assert main([*command, "--tables", "RegDB (images)"]) == 2
    assert "not regdb" in capsys.readouterr().err


def test_records_of_the_book_are_of_the_data_of_the_preset(tiny_root, capsys):
    command = ["ablate", "baseline", "--preset", "tiny", "--data", str(tiny_root)]
    assert main([*command, "--collect"]) == 2
    assert "leave out --data" in capsys.readouterr().err


def test_of_many_runs_the_first_are_named(capsys):
    lines = said(capsys, "worlds", "--preset", "tiny", "--dry-run")
    count = int(lines[0].split()[0])
    assert count > dry_run.MOST and len(lines) == dry_run.MOST + 3
    assert lines[-2] == f"  and {count - dry_run.MOST} more"


def test_fabric_takes_the_commands_and_starts_what_they_say(capsys, monkeypatch):
    """Each printed command goes through Fabric's own parser up to torchrun."""
    import lightning_fabric.cli as fabric
    import torch.distributed.run as torchrun
    from click.testing import CliRunner

    typed = ["train", "mitml", "--preset", "tiny", "--device", "cpu"]
    lines = said(capsys, *typed, "--dry-run", "2x2", "--set", "steps=3")
    assert lines[2] == "on 4 processes, each with 1 of the 4 identities"
    started = []
    monkeypatch.setattr(torchrun, "main", started.append)
    for node, line in enumerate(lines[3:]):
        head, command = line.split(": ", 1)
        assert head == f"node {node}"
        words = shlex.split(command)
        assert words[:2] == ["fabric", "run"]
        with mock.patch.dict(os.environ):  # Fabric tells its workers through it
            done = CliRunner().invoke(fabric._main, words[1:])
        assert done.exception is None, done.output
    assert len(started) == 2
    for node, words in enumerate(started):
        assert words[:3] == ["--nproc_per_node=2", "--nnodes=2", f"--node_rank={node}"]
        assert words[5].endswith("/vvi")
        assert words[6:] == [*typed, "--set", "steps=3"]


@pytest.mark.parametrize("typed", ["--dry-run", "--dry-run=1", "--dry-run=1x1"])
def test_one_process_needs_no_launcher(typed, capsys):
    lines = said(capsys, "train", "baseline", "--preset", "tiny", typed)
    command = shlex.split(lines[-1].removeprefix("node 0: "))
    assert command[0].endswith("vvi")
    assert command[1:] == ["train", "baseline", "--preset", "tiny"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["train", "baseline", "--dry-run", "3"],
            "4 identities cannot be shared evenly",
        ),
        (["train", "baseline", "--dry-run", "3"], "take 1, 2, 4 in all"),
        (["train", "baseline", "--dry-run", "0"], "'0' must be such as 4 or 4x2"),
        (["train", "baseline", "--dry-run", "4x"], "'4x' must be such as 4 or 4x2"),
        (["tune", "baseline", "--dry-run", *SLURM, "colour=1"], "colour"),
        (["tune", "baseline", "--dry-run", *SLURM, "mem_gb=many"], "mem_gb"),
        (["tune", "baseline", "--dry-run", "--executor", "pbs"], "no executor 'pbs'"),
        (
            ["tune", "baseline", "--dry-run", "--options", "timeout_min=5"],
            "timeout_min: options are parameters of slurm jobs, not of 'here'",
        ),
    ],
)
def test_what_could_not_be_started_is_refused(arguments, words, capsys):
    try:
        code = main([*arguments, "--preset", "tiny"])
    except SystemExit as end:
        code = end.code
    shown = capsys.readouterr()
    assert code == 2 and words in shown.err
    assert shown.err.count("\n") == 1 and not shown.out


@pytest.mark.parametrize(
    "command", ["ablate baseline", "tune baseline", "worlds gap", "budgets", "rates"]
)
@pytest.mark.parametrize("where", ["here", "dask://host:8786"])
def test_workers_that_play_no_part_are_refused(command, where, capsys):
    given = ["--preset", "tiny", "--executor", where, "--workers", "2", "--dry-run"]
    assert main([*command.split(), *given]) == 2
    said = f"2 workers would have no effect on the executor '{where}'"
    assert said in capsys.readouterr().err
