"""From a folder of crops to a ranked list, on the command line; and what is refused."""

import csv
import shutil

import numpy as np
import own_people
import pytest
import torch
from PIL import Image

from vvi import experiment
from vvi.cli.main import main
from vvi.config import preset

TINY = ["--weights", "baseline", "--preset", "tiny"]
EMBED_RUN = ["embed", "night", "--modality", "ir", "--weights", "RUN"]


@pytest.fixture(scope="module")
def runs(tiny_root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VVI_RUNS", str(folder))
        how = {"data": tiny_root, "device": "cpu", "progress": False}
        experiment.run(preset("tiny"), **how)
    return folder


@pytest.fixture(autouse=True)
def here(runs, tiny_root, tmp_path, monkeypatch):
    """Night: a crop of each person; day: tracklets in folders of people."""
    monkeypatch.setenv("VVI_RUNS", str(runs))
    monkeypatch.setenv("VVI_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    own_people.write(tiny_root, tmp_path)
    return tmp_path


def rows(file):
    return list(csv.DictReader(open(file)))


def test_two_commands_make_a_ranked_list_and_its_picture(here, capsys):
    assert main(["embed", "day", "--modality", "vis", *TINY]) == 0
    assert (
        "30 rows of 32 numbers: day.features.npz, day.features.csv"
        in capsys.readouterr().out
    )
    assert main(["rank", "night", "day.features.npz", "--modality", "ir", *TINY]) == 0
    shown = capsys.readouterr().out
    assert "8 queries among 30 rows: ranked.csv" in shown and "ranked.png" in shown
    lists = rows("ranked.csv")
    assert len(lists) == 80 and [r["rank"] for r in lists[:10]] == [
        str(k) for k in range(1, 11)
    ]
    values = [float(r["similarity"]) for r in lists[:10]]
    assert values == sorted(values, reverse=True)
    assert {r["verdict"] for r in lists} == {"unknown"}, "crops say not who they are"
    with Image.open("ranked.png") as picture:
        assert picture.height > 500


def test_a_picture_of_ones_own_is_not_drawn_over(here, capsys):
    shutil.copy(here / "night" / "503.jpg", here / "query.png")
    before = (here / "query.png").read_bytes()
    command = ["rank", "query.png", "day", "--modality", "ir", *TINY]
    assert main([*command, "--out", "query.csv"]) == 2
    assert "query.png is what is ranked" in capsys.readouterr().err
    (here / "other.png").write_bytes(b"mine")
    assert main([*command, "--out", "other.csv"]) == 2
    assert "other.png is there: say --figure" in capsys.readouterr().err
    assert (here / "query.png").read_bytes() == before
    assert (here / "other.png").read_bytes() == b"mine"


def test_the_gallery_is_of_the_other_modality_than_features_say(here, capsys):
    assert main(["embed", "day", "--modality", "vis", *TINY]) == 0
    capsys.readouterr()
    command = ["rank", "day.features.npz", "night"]
    assert main([*command, "--modality", "ir", *TINY]) == 2
    said = capsys.readouterr().err
    assert "--modality ir is that of the query, and day.features.npz says vis" in said
    assert main([*command, *TINY]) == 0
    first = rows("ranked.csv")
    assert main([*command, "--gallery-modality", "ir", *TINY]) == 0
    assert rows("ranked.csv") == first


def test_pictures_that_have_moved_cost_the_picture_and_not_the_table(here, capsys):
    assert main(["embed", "day", "--modality", "vis", *TINY]) == 0
    (here / "day").rename(here / "elsewhere")
    command = ["rank", "night", "day.features.npz", "--modality", "ir", *TINY]
    assert main([*command, "--figure", "asked.png"]) == 2
    said = capsys.readouterr().err
    assert "--figure cannot be drawn" in said and "pictures are not there, " in said
    assert not (here / "asked.png").exists() and not (here / "ranked.csv").exists()
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "8 queries among 30 rows: ranked.csv" in said and "no picture: " in said
    assert len(rows("ranked.csv")) == 80 and not (here / "ranked.png").exists()


def test_people_named_in_the_table_are_marked_and_scored(here, capsys):
    assert (
        main(["embed", "night", "--modality", "ir", "--out", "q.safetensors", *TINY])
        == 0
    )
    table = (here / "q.csv").read_text().splitlines()
    filled = [
        table[0],
        *(
            line.replace(".jpg,,", f".jpg,{line.split(',')[1][:3]},", 1)
            for line in table[1:]
        ),
    ]
    (here / "q.csv").write_text("\n".join(filled) + "\n")
    assert main(["embed", "day", "--modality", "vis", "--out", "g.npz", *TINY]) == 0
    assert (
        main(
            [
                "rank",
                "q.safetensors",
                "g.npz",
                "--top",
                "30",
                "--out",
                "a.csv",
                "--figure",
                "a.pdf",
            ]
        )
        == 0
    )
    lists = rows("a.csv")
    right = [r["identity"] == r["query_identity"] for r in lists]
    assert [r["verdict"] for r in lists] == ["right" if ok else "wrong" for ok in right]
    assert (here / "a.pdf").stat().st_size > 1000
    capsys.readouterr()
    assert (
        main(
            [
                "eval",
                "--features",
                "q.safetensors",
                "g.npz",
                "--rule",
                "none",
                "--rerank",
            ]
        )
        == 0
    )
    plain, again = capsys.readouterr().out.splitlines()
    first = np.mean([right[k] for k in range(0, len(lists), 30)])
    assert f"R1 {100 * first:.2f}" in plain and again.startswith(
        "query in gallery  re-ranked Metrics("
    )


def test_features_of_a_set_written_by_eval_score_as_eval_does(tiny_root, capsys):
    command = ["eval", "baseline", "--preset", "tiny", "--data", str(tiny_root)]
    assert main([*command, "--out", "set.npz", "--rerank", "k1=8", "k2=3"]) == 0
    there = [
        line.removeprefix("seed 0  ") for line in capsys.readouterr().out.splitlines()
    ]
    assert (
        main(["eval", "--features", "set.npz", "--rerank", "k1=8", "k2=3", "lambda=.3"])
        == 0
    )
    assert sorted(capsys.readouterr().out.splitlines()) == sorted(there[:-1])
    assert there[-1] == "set.npz" and rows("set.csv")[0]["modality"] == "ir"


def test_settings_that_say_how_a_folder_is_read_have_their_types(
    runs, tiny_root, capsys
):
    (record,) = runs.glob("*/record.json")
    command = ["eval", "--weights", record.parent.name, "--data", str(tiny_root)]
    assert main(command) == 0
    usual = capsys.readouterr().out.splitlines()[1:]
    assert main([*command, "--set", "strict=false", "foreign=keep"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == usual
    assert main([*command, "--set", "min_seq_len=5"]) == 0
    assert "ir2vis" in capsys.readouterr().out


def test_a_single_picture_searches_and_does_not_find_itself(capsys):
    command = [
        "rank",
        "night/503.jpg",
        "night",
        "--modality",
        "ir",
        "--gallery-modality",
        "ir",
        *TINY,
    ]
    assert main([*command, "--top", "3", "--rerank"]) == 0
    assert "503.jpg" not in {r["gallery"] for r in rows("ranked.csv")}
    assert "distance" in rows("ranked.csv")[0] and len(rows("ranked.csv")) == 3


def test_a_run_is_named_by_id_folder_or_file(runs, here):
    (folder,) = runs.glob("*/record.json")
    shutil.copy(folder.parent / "model.safetensors", "moved.safetensors")
    made = []
    for weights in (
        folder.parent.name,
        folder.parent.name[:5],
        folder.parent,
        "moved.safetensors",
    ):
        assert (
            main(
                [
                    "embed",
                    "night",
                    "--modality",
                    "ir",
                    "--out",
                    "q.npz",
                    "--weights",
                    str(weights),
                ]
            )
            == 0
        )
        with np.load("q.npz") as file:
            made.append(file["features"])
    assert all(np.array_equal(made[0], other) for other in made)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["embed", "nowhere", "--modality", "ir", *TINY],
            "nowhere: no such file or folder",
        ),
        (["embed", "night", *TINY], "required: --modality"),
        (["embed", "night", "--modality", "ir"], "required: --weights"),
        (
            ["embed", "night", "--modality", "ir", "--weights", "nothing"],
            "nothing is no run of",
        ),
        (
            [
                "embed",
                "night",
                "--modality",
                "ir",
                "--weights",
                "iban",
                "--preset",
                "tiny",
            ],
            "train it again, vvi train iban --preset tiny --retrain",
        ),
        (
            ["embed", "night", "--modality", "ir", "--out", "f.csv", *TINY],
            "'f.csv' must end in .npz or .safetensors",
        ),
        (
            ["embed", "night/503.txt", "--modality", "ir", *TINY],
            "503.txt: no such file or folder",
        ),
        (
            ["embed", "text.txt", "--modality", "ir", *TINY],
            "text.txt cannot be opened: invalid data",
        ),
        (
            ["embed", "SET", "--modality", "ir", *TINY],
            "is a data set (it has info/track_test_info.txt)",
        ),
        (
            ["rank", "night", "day", *TINY],
            "say --modality ir or --modality vis for night",
        ),
        (
            ["rank", "night", "day", "--modality", "ir"],
            "say --weights RUN_OR_FILE: what embeds night",
        ),
        (
            ["rank", "night", "nowhere.npz", "--modality", "ir", *TINY],
            "there is no file of features nowhere.npz",
        ),
        (
            ["rank", "night", "day", "--modality", "ir", "--out", "a.txt", *TINY],
            "a.txt: the name of the table must end in .csv",
        ),
        (
            ["rank", "night", "day", "--modality", "ir", "--figure", "a.doc", *TINY],
            "'a.doc' must end in .png, .pdf or .svg",
        ),
        (
            ["rank", "night", "day", "--modality", "ir", "--rerank", "k3=1", *TINY],
            "--rerank has no option k3: there are k1, k2, lambda",
        ),
        (
            ["rank", "night", "day", "--modality", "ir", "--rerank", "k1=two", *TINY],
            "k1='two' must be an integer >= 1",
        ),
        (
            ["rank", "night", "day", "--modality", "ir", "--rerank", "lambda=2", *TINY],
            "weight=2.0 (lambda) must be from 0 to 1",
        ),
        (
            ["eval", "--features", "a.npz", "b.npz", "c.npz"],
            "--features takes one file, or two",
        ),
        (
            ["eval", "--features", "nowhere.npz"],
            "there is no file of features nowhere.npz",
        ),
        (["eval"], "say what to evaluate: METHOD, --weights"),
        (
            [
                "eval",
                "baseline",
                "--preset",
                "tiny",
                "--seeds",
                "0,1",
                "--out",
                "a.npz",
            ],
            "--out writes the features of one run",
        ),
        (
            [*EMBED_RUN, "--method", "iban", "--preset", "tiny"],
            "are of baseline, not of iban",
        ),
        (
            [*EMBED_RUN, "--method", "baseline", "--preset", "standard"],
            "is of the size tiny",
        ),
        ([*EMBED_RUN, "--set", "frames=2"], "--set would have no effect: "),
        (
            [*EMBED_RUN, "--set", "frams=2", "--data", "/nosuch"],
            "--set --data would have no effect: ",
        ),
        ([*EMBED_RUN, "--preset", "standard"], "--preset standard: "),
        (
            ["eval", "--weights", "RUN", "--seeds", "3"],
            "is one run, of seed 0; leave it out",
        ),
        (
            ["eval", "--weights", "RUN", "--preset", "paper"],
            "--preset paper: ",
        ),
        (
            ["eval", "--weights", "RUN", "--set", "lr=1"],
            "--set lr: a run knows its own",
        ),
        (
            ["eval", "--weights", "RUN", "--set", "strict=maybe"],
            "strict='maybe' must be true or false",
        ),
        (["eval", "--weights", "plain.pt"], "name its method and --preset"),
        (
            ["search", "night", "--modality", "ir", "--preset", "tiny"],
            "night is no video: vvi rank QUERY GALLERY ranks pictures",
        ),
        (
            ["search", "night/503.jpg", "--modality", "ir", "--preset", "tiny"],
            "503.jpg is no video: vvi rank",
        ),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    arguments, said, here, runs, tiny_root, capsys
):
    (here / "text.txt").write_text("no video")
    torch.save({"a.weight": torch.ones(2)}, here / "plain.pt")
    (record,) = runs.glob("*/record.json")
    stand_ins = {"SET": str(tiny_root), "RUN": record.parent.name}
    before = sorted(here.rglob("*"))
    try:
        ended = main([stand_ins.get(a, a) for a in arguments])
    except SystemExit as end:
        ended = end.code
    shown = capsys.readouterr()
    assert (
        ended == 2
        and said in shown.err
        and shown.err.count("\n") == 1
        and not shown.out
    )
    assert sorted(here.rglob("*")) == before


@pytest.mark.parametrize(
    ("command", "name"), [("embed", "taken"), ("rank", "taken.csv")]
)
def test_a_table_of_something_else_is_not_written_over(command, name, here, capsys):
    (here / "taken.csv").write_text("frame,identity\n1,2\n")
    sides = ["day"] if command == "rank" else []
    out = name if command == "rank" else f"{name}.npz"
    given = [command, "night", *sides, "--modality", "ir", "--out", out]
    assert main([*given, *TINY]) == 2
    assert "taken.csv is there and holds something else" in capsys.readouterr().err
    assert (here / "taken.csv").read_text() == "frame,identity\n1,2\n"
    assert not list(here.glob("taken*.[np]*"))


def test_a_broken_picture_in_a_gallery_leaves_no_half_of_a_result(here, capsys):
    (here / "day" / "510" / "x").mkdir()
    (here / "day" / "510" / "x" / "1.jpg").write_bytes(b"")
    assert main(["rank", "night", "day", "--modality", "ir", *TINY]) == 2
    assert "1.jpg is empty" in capsys.readouterr().err
    assert not list(here.glob("ranked*"))
