"""What a command refuses before it computes anything, in one line."""

from pathlib import Path

import pytest

from vvi.cli.main import main
from vvi.data.synthetic.crossing import Crossing, film
from vvi.experiment import tune, worlds


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("VVI_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("VVI_CACHE", str(tmp_path / "cache"))
    (tmp_path / "home").mkdir()
    (tmp_path / "taken.csv").write_text("mine\n1\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


EVAL = ["eval", "baseline", "--preset", "tiny"]
SCENE = ["scene", "c.mp4", "--modality", "ir", "--preset", "tiny"]
FEATURES = ["eval", "--features", "a.npz"]
TUNE = ["tune", "baseline", "--trials", "1", "--preset", "tiny"]
RANK = ["rank", "a.npz", "b.npz"]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ([*EVAL, "--rerank", "lambda=0,3"], "weight='0,3' (lambda) must be from 0 to"),
        ([*EVAL, "--rerank", "lambda=abc"], "weight='abc' (lambda) must be from 0"),
        ([*EVAL, "--rerank", "lambda=nan"], "weight='nan' (lambda) must be from 0"),
        ([*EVAL, "--rerank", "lambda="], "weight='' (lambda) must be from 0 to 1"),
        ([*EVAL, "--rerank", "k1=0"], "k1=0 must be an integer >= 1"),
        ([*EVAL, "--rerank", "k1=4"], "k2=6 must be an integer from 1 to k1=4"),
        ([*EVAL, "--rule", "none"], "--rule would have no effect: only --features"),
        ([*EVAL, "--out", "taken.npz"], "taken.csv is there and holds something else"),
        ([*EVAL, "--data", "~nouser/x"], "no home folder is known for ~nouser"),
        ([*EVAL, "--out", "~nouser/x.npz"], "no home folder is known for ~nouser"),
        (["eval", "--weights", ""], "argument --weights: it is empty"),
        ([*FEATURES, "--set", "foo=1", "--out", "x.npz"], "--set --out would have no"),
        ([*FEATURES, "--preset", "tiny"], "--preset would have no effect"),
        (["eval", "nosuch", *FEATURES[1:]], "METHOD nosuch would have no effect"),
        ([*RANK, "--weights", "iban"], "--weights would have no effect: both sides"),
        ([*RANK, "--figure", "~nouser/a.png"], "no home folder is known for ~nouser"),
        ([*TUNE, "--out", "taken.csv"], "taken.csv is there and holds something else"),
        ([*TUNE, "--out", "home"], "home is a folder: give --out the name of a file"),
        ([*SCENE, "--camera", "13"], "camera=13: choose a camera from 1 to 12"),
        ([*SCENE, "--people", "503", "503"], "identity 503 is named twice"),
        (["worlds", "nosuch", "--plan"], "no world 'nosuch': choose from bad-frames"),
        (["worlds", "gap", "--oracles"], "--oracles measures every world at once"),
        (["runs", "nosuch"], "no method 'nosuch': choose from baseline, "),
    ],
)
def test_a_refusal_is_one_line_and_leaves_nothing(typed, said, tmp_path, capsys):
    before = sorted(tmp_path.rglob("*"))
    try:
        ended = main(typed)
    except SystemExit as end:  # of the parser of arguments
        ended = end.code
    shown = capsys.readouterr()
    assert ended == 2 and said in shown.err
    assert shown.err.count("\n") == 1 and not shown.out
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "taken.csv").read_text() == "mine\n1\n"


def test_the_home_folder_of_a_path_is_filled_in(home, monkeypatch):
    written = []
    monkeypatch.setattr(tune, "tune", lambda *_, **__: None)
    monkeypatch.setattr(tune, "write_log", lambda _, file: written.append(file))
    with pytest.raises(AttributeError):  # the trials are stubs, there is no table
        main([*TUNE, "--out=~/t.csv"])
    assert written == [home / "t.csv"]
    video = ["scene", "~/c.mp4", "--modality", "ir", "--preset", "tiny"]
    assert main([*video, "--frames", "2"]) == 0
    assert (home / "c.mp4").is_file() and (home / "c.csv").is_file()
    assert not Path("~").exists()


def test_each_preset_has_a_log_of_trials_and_fewer_trials_do_not_replace_more(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("vvi.runtime.paths.records", lambda: tmp_path)
    assert tune.log_file("iban").name == "iban.csv"
    log = tune.log_file("iban", "tiny")
    assert log.name == "iban-tiny.csv"
    log.parent.mkdir()
    log.write_text("trial,lr\n0,\n1,2\n2,3\n")
    typed = ["tune", "iban", "--preset", "tiny", "--dry-run", "--trials"]
    assert main([*typed, "2"]) == 2
    assert "has 3 trials, not 2: say --out FILE" in capsys.readouterr().err
    assert main([*typed, "3"]) == 0


def test_an_option_is_typed_in_full(capsys):
    with pytest.raises(SystemExit):
        main(["train", "iban", "--dry", "4"])
    said = "vvi train: unrecognized arguments: --dry 4 (vvi train --help)\n"
    assert capsys.readouterr().err == said


def test_a_log_of_trials_is_written_over(tmp_path, capsys):
    (tmp_path / "log.csv").write_text("trial,lr\n0,\n")
    assert main([*TUNE, "--out", "log.csv", "--dry-run"]) == 0
    assert "1 " in capsys.readouterr().out


@pytest.mark.parametrize("camera", [0, 13])
def test_a_crossing_before_no_camera_is_refused(camera):
    with pytest.raises(ValueError, match="from 1 to 12"):
        film(Crossing((503,), camera, frames=1, preset="tiny"), "ir")


def test_a_plan_counts_the_runs_of_the_worlds_that_are_named(capsys):
    assert main(["worlds", "gap", "--plan"]) == 0
    shown = capsys.readouterr().out
    assert "gap" in shown and "bars" not in shown
    table = worlds.plan(worlds=["gap"])
    assert table.runs["gap"] == table.runs["all"] == len(worlds.wanted(["gap"]))
