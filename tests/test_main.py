import json
import re
import subprocess
import sys
from dataclasses import replace

import pytest

from vvi import __main__ as main_module
from vvi import ablate, choices, methods
from vvi.__main__ import main


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("VVI_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("VVI_CACHE", str(tmp_path / "cache"))


def test_help_imports_no_torch():
    code = "import sys; from vvi.__main__ import main\ntry: main(['--help'])\nexcept SystemExit: pass\nsys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "synth" in done.stdout


def test_train_prints_both_directions_and_eval_agrees_with_it(tiny_root, capsys):
    assert main(["train", "baseline", "--preset", "tiny", "--data", str(tiny_root), "--device", "cpu", "--set", "steps=2", "frames=2"]) == 0
    trained = capsys.readouterr().out
    assert "synthetic data" in trained and "ir2vis" in trained and "vis2ir" in trained
    assert main(["eval", "baseline", "--preset", "tiny", "--data", str(tiny_root), "--set", "steps=2", "frames=2"]) == 0
    numbers = trained.split("Metrics(")[1].splitlines()[0]
    assert numbers in capsys.readouterr().out
    assert main(["runs"]) == 0 and "baseline, T=2" in capsys.readouterr().out


def test_synth_then_check_is_clean(tmp_path, capsys):
    assert main(["synth", str(tmp_path / "set"), "--preset", "tiny"]) == 0
    assert main(["check", str(tmp_path / "set")]) == 0
    broken = next((tmp_path / "set").rglob("*.jpg"))
    broken.write_bytes(b"")
    capsys.readouterr()
    assert main(["check", str(tmp_path / "set")]) == 1
    assert str(broken.relative_to(tmp_path / "set")) in capsys.readouterr().out
    assert main(["check", str(tmp_path / "set"), "--no-images", "--set", "min_seq_len=2"]) == 0


def test_synth_writes_a_set_of_a_world_and_its_validation_people(tmp_path, capsys):
    for name in ("tiny+bars=0.3+tied=1", "tiny+bars=0.3-val"):
        root = tmp_path / name
        assert main(["synth", str(root), "--preset", name]) == 0
        said = json.loads((root / "manifest.json").read_text())
        assert said["plan"]["world"]["bars"] == 0.3
        assert main(["check", str(root), "--no-images"]) == 0
    assert said["preset"] == "tiny+bars=0.3-val"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nothing", "--preset", "tiny"], "no method 'nothing'"),
        (["train", "baseline", "--preset", "paper"], "VVI_DATA"),
        (["train", "baseline", "--preset", "tiny", "--set", "colour=1"], "no option colour"),
        (["train", "baseline", "--preset", "tiny", "--device", "tpu"], "no device 'tpu'"),
        (["eval", "baseline", "--preset", "tiny"], "weights of this run are not on this machine"),
        (["check", "/nowhere/at/all"], "/nowhere/at/all"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, message, capsys, monkeypatch):
    monkeypatch.delenv("VVI_DATA", raising=False)
    assert main(arguments) in (1, 2)
    shown = capsys.readouterr()
    text = shown.err or shown.out
    assert message in text and "Traceback" not in text


def test_ablate_trains_a_table_in_processes_and_finds_it_afterwards(tiny_root, capsys):
    command = ["ablate", "baseline", "--tables", "Table 2", "--preset", "tiny", "--seeds", "0", "1", "--device", "cpu"]
    assert main([*command, "--workers", "2", "--pixels", "cache"]) == 0
    assert "2 runs trained, 2 wanted" in capsys.readouterr().out
    assert main(command) == 0
    assert "0 runs trained, 2 wanted" in capsys.readouterr().out


def test_a_value_may_be_spelt_as_in_python_and_a_named_default_makes_no_run_of_its_own():
    def settings(*given):
        args = main_module._parser().parse_args(["train", "iban", "--preset", "tiny", *given])
        return main_module._settings(args, 0)[0][1]

    assert settings("--set", "temporal=mean", "plus_one=True").options == {"plus_one": True, "temporal": "mean"}
    assert settings("--set", "temporal=mean", "--set", "plus_one=True") == settings("--set", "temporal=mean", "plus_one=True"), "said twice, both count"
    assert settings("--set", "temporal=lstm", "lambda_cr=1.0").hash == settings().hash
    assert settings("--set", "plus_one=False").hash == settings().hash, "the paper's variant adds nothing: the default by another name"


@pytest.mark.parametrize("method", methods.names())
def test_a_method_alone_is_its_main_row_and_settings_that_make_a_row_of_a_table_are_that_row(method):
    known = ablate.known(method, "tiny")
    args = main_module._parser().parse_args(["train", method, "--preset", "tiny"])
    (name, config), (base, main) = main_module._settings(args, 0)
    assert name == base and config == main == known[base]
    for label, row in known.items():
        changes = [f"{k}={v if isinstance(v, str) else json.dumps(v)}" for k, v in row.options.items()] if row.method == method else []
        if changes and replace(row, options={}) == replace(main, options={}):
            args = main_module._parser().parse_args(["train", method, "--preset", "tiny", "--set", *changes])
            found = main_module._settings(args, 0)[0]
            assert choices.effective(found[1]) == choices.effective(row) and found[0] in known, label


def test_a_run_of_ones_own_is_set_beside_the_main_row(tiny_root, capsys):
    command = ["train", "baseline", "--preset", "tiny", "--data", str(tiny_root), "--device", "cpu"]
    assert main([*command, "--set", "margin=0.5"]) == 0
    shown = capsys.readouterr().out
    assert (
        "Table 2: Baseline, margin=0.5" in shown
        and "to compare with Table 2: Baseline, train it: the same command without --set (1 of 1 seeds not stored)" in shown
    )
    assert main(command) == 0 and "minus" not in capsys.readouterr().out
    assert main([*command, "--set", "margin=0.5"]) == 0
    assert re.search(
        r"\(stored\).*\n(.*\n)+rank-1 ir2vis minus Table 2: Baseline: [+-]\d+\.\d \(.* to .*, 95 % over identities and 1 seed\(s\)\)", capsys.readouterr().out
    )


@pytest.mark.parametrize("method", methods.names())
def test_switches_are_listed_with_their_choices_and_meaning(method, capsys):
    assert main(["switches", method]) == 0
    shown = capsys.readouterr().out
    assert all(re.search(rf"^  {s.name} ", shown, re.MULTILINE) for s in choices.switches(method)) and "of every run: augment_per" in shown


def test_stored_results_can_be_listed_by_method_and_say_which_row_they_are(capsys):
    assert main(["runs", "cmft", "--preset", "standard"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.endswith("cmft, Same batches: CMFT") for line in lines) and not any("mitml" in line for line in lines)
    assert main(["runs", "cmft", "--preset", "full"]) == 0 and not capsys.readouterr().out


def test_no_committed_record_is_called_stale(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("VVI_RUNS", str(tmp_path))
    assert main_module.main(["runs"]) == 0
    shown = capsys.readouterr().out
    assert "records/" in shown and "STALE" not in shown
