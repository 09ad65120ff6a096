import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from vvi import experiment, methods
from vvi.cli import parser
from vvi.cli import settings as settings_of
from vvi.cli.main import main
from vvi.config import preset
from vvi.data import synthetic
from vvi.experiment import ablation, method_switches, store
from vvi.runtime import paths


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch, common_cache):
    monkeypatch.setenv("VVI_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("VVI_CACHE", str(common_cache))


@pytest.fixture
def real_root(tmp_path):
    """A set as somebody holds it: pixels and lists, nothing of ours beside them."""
    root = synthetic.write(tmp_path / "real", preset="tiny", workers=1, progress=False)
    (root / "manifest.json").unlink()
    shutil.rmtree(root / "masks")
    for name in ("factors.csv", "frames.csv"):
        (root / "info" / name).unlink()
    return root


def test_help_imports_no_torch():
    code = "import sys; from vvi.__main__ import main\ntry: main(['--help'])\nexcept SystemExit: pass\nsys.exit('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "synth" in done.stdout


@pytest.mark.parametrize("command", ["train", "eval", "ablate", "switches"])
def test_an_unknown_method_is_refused_before_torch_is_imported(command):
    code = "import sys; from vvi.__main__ import main; code = main(sys.argv[1:])\n"
    code += "sys.exit(code if 'torch' not in sys.modules else 'torch was imported')"
    done = subprocess.run(
        [sys.executable, "-c", code, command, "nope"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and "no method 'nope'" in done.stderr


@pytest.mark.parametrize("command", ["switches", "runs"])
def test_methods_are_known_in_any_case(command, capsys):
    assert main([command, "IBAN"]) == 0
    said = capsys.readouterr().out
    assert main([command, "iban"]) == 0
    assert capsys.readouterr().out == said


def test_train_prints_both_directions_and_eval_agrees_with_it(tiny_root, capsys):
    assert (
        main(
            [
                "train",
                "baseline",
                "--preset",
                "tiny",
                "--data",
                str(tiny_root),
                "--device",
                "cpu",
                "--set",
                "steps=2",
                "frames=2",
            ]
        )
        == 0
    )
    trained = capsys.readouterr().out
    assert "synthetic data" in trained and "ir2vis" in trained and "vis2ir" in trained
    assert (
        main(
            [
                "eval",
                "baseline",
                "--preset",
                "tiny",
                "--data",
                str(tiny_root),
                "--set",
                "steps=2",
                "frames=2",
            ]
        )
        == 0
    )
    numbers = trained.split("Metrics(")[1].splitlines()[0]
    assert numbers in capsys.readouterr().out
    assert main(["runs"]) == 0
    assert "baseline, Fig. 6: n=2, 2 steps" in capsys.readouterr().out


def test_synth_then_check_is_clean(tmp_path, capsys):
    assert main(["synth", str(tmp_path / "set"), "--preset", "tiny"]) == 0
    assert main(["check", str(tmp_path / "set")]) == 0
    broken = next((tmp_path / "set").rglob("*.jpg"))
    broken.write_bytes(b"")
    capsys.readouterr()
    assert main(["check", str(tmp_path / "set")]) == 1
    assert str(broken.relative_to(tmp_path / "set")) in capsys.readouterr().out
    assert (
        main(["check", str(tmp_path / "set"), "--no-images", "--set", "min_seq_len=2"])
        == 0
    )


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
        (
            ["train", "baseline", "--preset", "tiny", "--set", "colour=1"],
            "no option colour",
        ),
        (
            ["train", "baseline", "--preset", "tiny", "--device", "tpu"],
            "no device 'tpu'",
        ),
        (
            ["eval", "baseline", "--preset", "tiny"],
            "weights of this run are not on this machine",
        ),
        (["check", "/nowhere/at/all"], "/nowhere/at/all"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments, message, capsys, monkeypatch):
    monkeypatch.delenv("VVI_DATA", raising=False)
    try:
        ended = main(arguments)
    except SystemExit as end:  # of the parser of arguments
        ended = end.code
    assert ended in (1, 2)
    shown = capsys.readouterr()
    text = shown.err or shown.out
    assert message in text and "Traceback" not in text


def test_ablate_trains_a_table_in_processes_and_finds_it_afterwards(tiny_root, capsys):
    command = [
        "ablate",
        "baseline",
        "--tables",
        "Table 2",
        "--preset",
        "tiny",
        "--seeds",
        "0",
        "1",
        "--device",
        "cpu",
    ]
    assert main([*command, "--workers", "2", "--pixels", "cache"]) == 0
    assert "2 runs trained, 2 wanted" in capsys.readouterr().out
    assert main(command) == 0
    assert "0 runs trained, 2 wanted" in capsys.readouterr().out


def test_a_value_may_be_spelt_as_in_python_and_a_named_default_makes_no_run_of_its_own():
    def settings(*given):
        args = parser.build().parse_args(["train", "iban", "--preset", "tiny", *given])
        return settings_of.changed_row(args, 0)[0][1]

    assert settings("--set", "temporal=mean", "esb_sample=hard").options == {
        "variant": "main",
        "esb_sample": "hard",
        "temporal": "mean",
    }
    assert settings("--set", "temporal=mean", "--set", "esb_sample=hard") == settings(
        "--set", "temporal=mean", "esb_sample=hard"
    ), "said twice, both count"
    assert settings("--set", "temporal=lstm", "lambda_cr=1.0").hash == settings().hash
    assert settings("--set", "plus_one=True").hash == settings().hash, (
        "the main reading adds one: its default by name"
    )


@pytest.mark.parametrize("method", methods.names())
def test_a_method_alone_is_its_main_row_and_settings_that_make_a_row_of_a_table_are_that_row(
    method,
):
    known = ablation.labelled_rows(method, "tiny")
    args = parser.build().parse_args(["train", method, "--preset", "tiny"])
    (name, config), (base, main) = settings_of.changed_row(args, 0)
    assert name == base and config == main == known[base]
    for label, row in known.items():
        changes = (
            [
                f"{k}={v if isinstance(v, str) else json.dumps(v)}"
                for k, v in row.options.items()
            ]
            if row.method == method
            else []
        )
        if changes and replace(row, options={}) == replace(main, options={}):
            args = parser.build().parse_args(
                ["train", method, "--preset", "tiny", "--set", *changes]
            )
            found = settings_of.changed_row(args, 0)[0]
            assert (
                method_switches.effective(found[1]) == method_switches.effective(row)
                and found[0] in known
            ), label


def test_a_run_of_ones_own_is_set_beside_the_main_row(tiny_root, capsys):
    command = [
        "train",
        "baseline",
        "--preset",
        "tiny",
        "--data",
        str(tiny_root),
        "--device",
        "cpu",
    ]
    assert main([*command, "--set", "margin=0.5"]) == 0
    shown = capsys.readouterr().out
    assert (
        "Table 2: Baseline, margin=0.5" in shown
        and "to compare with Table 2: Baseline, train it: the same command without --set (1 of 1 seeds not stored)"
        in shown
    )
    assert main(command) == 0 and "minus" not in capsys.readouterr().out
    assert main([*command, "--set", "margin=0.5"]) == 0
    assert re.search(
        r"\(stored\).*\n(.*\n)+rank-1 ir2vis minus Table 2: Baseline: [+-]\d+\.\d \(.* to .*, 95 % over identities and 1 seed\(s\)\)",
        capsys.readouterr().out,
    )


def settings(*given, method="baseline"):
    args = parser.build().parse_args(
        ["train", method, "--preset", "tiny", *(["--set", *given] if given else [])]
    )
    return settings_of.changed_row(args, 0)[0][1]


@pytest.mark.parametrize(
    ("typed", "same"),
    [
        (["lr=.001"], ["lr=1e-3"]),
        (["lr=1"], ["lr=1.0"]),
        (["lr = 0.001"], ["lr=+.001"]),
        (["milestones=35,70"], ["milestones=[35, 70]"]),
        (["milestones=(35,70)"], ["milestones=35 70"]),
        (["steps=1e2"], ["steps=100"]),
        (["nesterov=no"], ["nesterov=False"]),
        (["optimiser=sgd", "nesterov=no"], ["optimiser=SGD", "nesterov=False"]),
        (["warmup_steps=none"], ["warmup_steps=null"]),
        (["margin=1"], ["margin=1.0"]),
        (["reads=Anaglyphs"], ["reads='anaglyphs'"]),
        (["weights=None"], []),
        (["lr=3e-3"], []),
    ],
)
def test_two_ways_to_type_a_setting_are_one_run(typed, same):
    assert settings(*typed).hash == settings(*same).hash


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["momentum=.5"], "momentum=0.5 has no effect here: optimiser=adamw has none"),
        (["schedule=cosine", "gamma=.5"], "schedule=cosine has no milestones"),
        (["warmup_steps=2", "warmup=3"], "warmup_steps=2 takes its place"),
        (["schedule=one-cycle", "warmup=3"], "has a rise of its own"),
    ],
)
def test_a_setting_that_is_not_used_is_taken_with_a_warning(typed, said):
    with pytest.warns(UserWarning, match=said):
        config = settings(*typed)
    name, _, _ = typed[-1].partition("=")
    assert getattr(config.recipe, name) != getattr(settings().recipe, name)


def test_a_setting_that_a_method_alone_uses_is_taken():
    assert settings("momentum=.5", method="mitml").recipe.momentum == 0.5
    assert settings("momentum=.9").hash == settings().hash


def test_a_whole_number_in_python_is_the_same_run_as_the_float(tiny_root):
    one, other = (
        preset("tiny", "sadstrm", lr=lr, lambda_1=weight, lambda_2=3 * lr)
        for lr, weight in ((1, 9), (1.0, 9.0))
    )
    assert experiment.resolve_data(one).hash == experiment.resolve_data(other).hash
    assert settings("lambda_1=9.0", method="sadstrm") == settings(
        "lambda_1=9", method="sadstrm"
    )


def test_seeds_may_be_parted_by_commas_spaces_or_a_dash():
    for given in (["0,1,2"], ["0", "1", "2"], ["0-2"], ["[0,", "1,", "2]"]):
        assert parser.build().parse_args(
            ["train", "baseline", "--seeds", *given]
        ).seeds == [0, 1, 2]


@pytest.mark.parametrize(
    "field", ["source=standard", "data_seed=1", "split=val", "source=half margin=0.5"]
)
def test_a_run_that_searches_other_people_is_not_compared(field, monkeypatch, capsys):
    record = SimpleNamespace(scores={}, environment={})

    def run(config, **how):
        return SimpleNamespace(
            config=config,
            run_id="x",
            stored=False,
            data_name="",
            record=record,
            arrays={},
        )

    monkeypatch.setattr(experiment, "run", run)
    typed = field.split()
    assert main(["train", "baseline", "--preset", "tiny", "--set", *typed]) == 0
    assert (
        "not compared with Table 2: Baseline: other people are searched"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("read", "as_read"),
    [
        (["strict=false"], "strict=False"),
        (["strict=no", "min_seq_len=2"], "strict=False, min_seq_len=2"),
        (["strict=false", "foreign=drop"], "strict=False, foreign=drop"),
    ],
)
def test_a_folder_of_links_is_trained_and_compared_with_the_main_row_read_alike(
    read, as_read, real_root, tmp_path, capsys
):
    linked = tmp_path / "linked"
    shutil.copytree(real_root / "info", linked / "info")
    for folder in real_root.iterdir():
        if folder.name != "info":
            (linked / folder.name).symlink_to(folder)
    command = ["train", "baseline", "--preset", "tiny", "--data", str(linked)]
    command += ["--device", "cpu", "--set", "steps=1", *read]
    assert main(command) == 0
    said = capsys.readouterr().out
    typed = " ".join(read)
    base = f"Table 2: Baseline, {as_read}"
    assert (
        f"to compare with {base}, train it: the same command with --set {typed} alone "
        "(1 of 1 seeds not stored)" in said
    )
    (_, config), (name, row) = settings_of.changed_row(
        parser.build().parse_args(command), 0
    )
    assert name == base and row.data == config.data and row.recipe != config.recipe
    assert main([*command[: command.index("--set")], "--set", *read]) == 0
    assert base in capsys.readouterr().out
    assert main(command) == 0
    assert f"rank-1 ir2vis minus {base}: " in capsys.readouterr().out


@pytest.mark.parametrize("method", ["baseline", "iban"])
def test_on_real_data_a_run_of_ones_own_is_set_beside_the_main_row_of_these_data(
    method, real_root, monkeypatch, capsys, tmp_path
):
    monkeypatch.setenv(
        "VVI_DATA", str(tmp_path)
    )  # something else, which must not count
    command = [
        "train",
        method,
        "--preset",
        "tiny",
        "--data",
        str(real_root),
        "--device",
        "cpu",
    ]
    assert main([*command, "--set", "steps=1"]) == 0
    assert (
        "train it: the same command without --set (1 of 1 seeds not stored)"
        in capsys.readouterr().out
    )
    assert main(command) == 0
    capsys.readouterr()
    assert main([*command, "--set", "steps=1"]) == 0
    assert "rank-1 ir2vis minus" in capsys.readouterr().out


@pytest.mark.parametrize("method", methods.names())
def test_switches_are_listed_with_their_choices_and_meaning(method, capsys):
    assert main(["switches", method]) == 0
    shown = capsys.readouterr().out
    assert (
        all(
            re.search(rf"^  {s.name} ", shown, re.MULTILINE)
            for s in method_switches.switches(method)
        )
        and "of every run: augment_per" in shown
    )


def test_stored_results_can_be_listed_by_method_and_say_which_row_they_are(
    tiny_root, capsys
):
    train = ("--preset", "tiny", "--device", "cpu", "--data", str(tiny_root))
    for method in ("cmft", "mitml"):
        assert main(["train", method, *train]) == 0
    capsys.readouterr()
    assert main(["runs", "cmft", "--preset", "tiny"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.endswith("cmft, Same batches: CMFT") for line in lines)
    assert not any("mitml" in line for line in lines)
    assert main(["runs", "cmft", "--preset", "full"]) == 0
    assert not capsys.readouterr().out


def test_a_run_on_validation_people_is_listed_as_its_row(capsys):
    assert main(["runs", "iban", "--preset", "standard"]) == 0
    lines = capsys.readouterr().out.splitlines()
    searched = [line for line in lines if "synthetic, validation people" in line]
    rows = [line for line in searched if line.endswith("iban, Table II: Baseline+IG")]
    assert len(rows) == 3, "one a seed"


def test_committed_records_are_listed_and_none_is_called_stale(
    monkeypatch, tmp_path, capsys
):
    """A record of the tests stands in where none is committed."""
    monkeypatch.setenv("VVI_RUNS", str(tmp_path))
    if not any(paths.records().glob("*/record.json")):
        config, stored = preset("tiny"), tmp_path / "records"
        about = experiment.versions(config), store.environment()
        scores = {"ir2vis": {"rank1": 0.5, "mAP": 0.5, "mINP": 0.5}}
        record = store.Record(config, *about, {}, scores, {"train": 1.0}, {}, {})
        store.save_record(record, stored)
        monkeypatch.setattr("vvi.runtime.paths.records", lambda: stored)
    assert main(["runs"]) == 0
    shown = capsys.readouterr().out
    assert "records/" in shown and "STALE" not in shown


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """A folder of three small sets, of which RegDB has the lists of two trials."""
    folder, tiny = tmp_path_factory.mktemp("sets"), synthetic.PRESETS["tiny"]
    small = type(tiny)(
        "small", tiny.train, tiny.test, 32, 16, still=(6, 2, 4), paired=12
    )
    names = {"SYSU": "sysu-mm01", "RegDB": "regdb", "Campus": "buptcampus"}
    for name, layout in names.items():
        synthetic.write(folder / name, small, layout, workers=1, progress=False)
        (folder / name / "manifest.json").unlink()
    for path in (folder / "RegDB" / "idx").iterdir():
        if not path.stem.endswith(("_1", "_2")):
            path.unlink()
    return folder


def vvi(capsys, *arguments, code=0) -> tuple[list[str], str]:
    """Lines that a command prints, and what it says on the error stream."""
    assert main([str(a) for a in arguments]) == code
    shown = capsys.readouterr()
    return shown.out.splitlines(), shown.err


QUICK = ("--preset", "tiny", "--device", "cpu")


def test_image_sets_print_the_means_that_papers_report(sets, capsys):
    train = ("train", "baseline", *QUICK, "--data")
    lines, _ = vvi(capsys, *train, sets / "SYSU", "--set", "steps=1")
    assert re.match(r"seed 0  run \w+  SYSU \(sysu-mm01, \w{8}\) data", lines[0])
    galleries = [line for line in lines if "mean of 10 galleries" in line]
    settings = ["all-search, single-shot", "all-search, multi-shot"]
    assert len(galleries) == 4 and all(
        s in galleries[k] for k, s in enumerate(settings)
    )
    lines, _ = vvi(capsys, *train, sets / "RegDB", "--set", "steps=1")
    assert [line[:6] for line in lines if line.startswith("seed")] == [
        "seed 0",
        "seed 1",
    ]
    means = [line for line in lines if "mean of 2 trials" in line]
    assert [line[:6] for line in means] == ["ir2vis", "vis2ir"]
    each = [line for line in lines if line.startswith("  ir2vis")]
    first = [float(re.search(r"R1 ([\d.]+)", line)[1]) for line in [*each, means[0]]]
    assert first[2] == pytest.approx((first[0] + first[1]) / 2, abs=0.011)
    evaluated, _ = vvi(
        capsys, "eval", "baseline", *QUICK, "--data", sets / "RegDB", "--set", "steps=1"
    )
    assert evaluated[-2:] == means
    alone, _ = vvi(capsys, *train, sets / "RegDB", "--set", "steps=1", "--seeds", "1")
    assert not [line for line in alone if "mean of" in line]


def test_weights_of_a_run_are_tested_on_another_set(sets, tiny_root, capsys):
    lines, _ = vvi(
        capsys, "train", "baseline", *QUICK, "--data", tiny_root, "--set", "steps=1"
    )
    run = lines[0].split()[3]
    tested = ("eval", "--weights", run, "--device", "cpu", "--data")
    lines, _ = vvi(capsys, *tested, sets / "Campus")
    assert re.fullmatch(
        r"baseline, trained on synthetic, tested on Campus \(buptcampus, \w{8}\)",
        lines[0],
    )
    assert [line[:8] for line in lines[1:]] == ["  ir2vis", "  vis2ir"]
    for name, layout in (("SYSU", "sysu-mm01"), ("RegDB", "regdb")):
        for option in (["--out", "never.npz"], ["--rerank"]):
            shown, said = vvi(capsys, *tested, sets / name, *option, code=2)
            assert f"the protocol of {layout} has several galleries" in said
            assert option[0] in said and not shown and said.count("\n") == 1
    assert vvi(capsys, *tested, sets, "--set", "layout=buptcampus")[0] == lines
    _, said = vvi(capsys, *tested, sets / "Campus", "--set", "lr=1", code=2)
    assert "--set lr: a run knows its own settings; only layout, strict" in said
    _, said = vvi(
        capsys,
        "eval",
        "iban",
        *QUICK,
        "--weights",
        run,
        "--data",
        sets / "Campus",
        code=2,
    )
    assert f"--weights {run} are of baseline, not of iban" in said
    _, said = vvi(capsys, "eval", "--preset", "tiny", code=2)
    assert (
        "say what to evaluate: METHOD, --weights RUN_OR_FILE or --features FILE" in said
    )


def test_a_listing_says_on_which_data_a_run_was_made(
    sets, capsys, monkeypatch, tmp_path
):
    monkeypatch.setattr("vvi.runtime.paths.records", lambda: tmp_path / "none")
    vvi(capsys, "train", "baseline", *QUICK, "--data", sets / "Campus")
    vvi(
        capsys, "train", "baseline", *QUICK, "--data", sets / "SYSU", "--set", "steps=1"
    )
    lines, _ = vvi(capsys, "runs")
    (campus,) = [line for line in lines if "Campus (buptcampus, " in line]
    assert campus.endswith("baseline, Table 2: Baseline")
    (sysu,) = [line for line in lines if "SYSU (sysu-mm01, " in line]
    assert "ir2vis, mean of 10 galleries R1 " in sysu


def test_a_folder_of_several_sets_is_checked_set_by_set(sets, capsys):
    lines, _ = vvi(capsys, "check", sets, "--no-images")
    heads = [line.split(" in ")[0] for line in lines if " (recognised by " in line]
    assert heads == ["buptcampus", "regdb", "sysu-mm01"]
    _, said = vvi(capsys, "train", "baseline", *QUICK, "--data", sets, code=2)
    assert "holds several sets, Campus (buptcampus), RegDB (regdb), SYSU" in said
    _, said = vvi(
        capsys,
        "train",
        "baseline",
        *QUICK,
        "--data",
        sets / "SYSU",
        "--set",
        "layout=regdb",
        code=2,
    )
    assert "holds SYSU (sysu-mm01), not regdb" in said


def test_a_warning_is_one_line_of_its_own(tiny_root, tmp_path, capsys):
    root = tmp_path / "odd"
    shutil.copytree(tiny_root, root)
    rows = root / "info" / "track_train_info.txt"
    rows.write_text(rows.read_text().replace(" ", "\t"))
    with pytest.warns(UserWarning):
        vvi(capsys, "train", "baseline", *QUICK, "--data", root, "--set", "steps=1")
    command = [
        sys.executable,
        "-m",
        "vvi",
        "train",
        "baseline",
        *QUICK,
        "--data",
        str(root),
        "--set",
        "steps=1",
        "--retrain",
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    (said,) = [line for line in done.stderr.splitlines() if "warning" in line.lower()]
    assert said.startswith(
        f"vvi train: warning: HITSZ-VCM in {root}: 1 lists with tabs"
    )
