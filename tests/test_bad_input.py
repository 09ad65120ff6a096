"""The bad input campaign: whatever is wrong with a file, an option or an array, every
public entry says so in one line that names the cause, and leaves nothing half-written.

`CASES` go through Python, `COMMANDS` through the command line. What is wrong inside the
lists of a data set is in tests/data/test_malformed.py. A case makes its bad input in a
folder and returns the call that must fail (for a command: the arguments), beside the
words that the message must hold.
"""

from __future__ import annotations

import json
import lzma
import os
import pickle
import shutil
import struct
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent / "data"))
import toys

from vvi import experiment, losses, methods, metrics, weights
from vvi.book import comparison, parameters
from vvi.cli.main import main
from vvi.config import DataConfig, Recipe, from_json, preset
from vvi.data import (
    buptcampus,
    crops,
    open_dataset,
    regdb,
    synthetic,
    sysu,
    validate,
    vcm,
)
from vvi.data.check import report
from vvi.data.loader import Frames, TrainLoader, decode
from vvi.data.transforms import augment
from vvi.engine import checkpoint, train
from vvi.evaluation import features, nearest, ranking
from vvi.evaluation.features import Features
from vvi.evaluation.rerank import rerank
from vvi.experiment import ablation, store
from vvi.methods import cmft, di2l, iban, mitml, sadstrm
from vvi.types import DataError
from vvi.weights import CheckpointError

CASES, COMMANDS = [], []


def case(entry, name, error, *words):
    def keep(make):
        CASES.append(pytest.param(make, error, words, id=f"{entry}, {name}"))
        return make

    return keep


def execute(pixels, every=1.0):
    return experiment.Execution(pixels=pixels, every=every)


def rank_1(query, k=1, chunk=None):
    """Score four queries against themselves, filmed by another camera."""
    gallery, ids = torch.eye(4), [0, 1, 0, 1]
    sides = (query, gallery, ids, ids, [1] * 4, [2] * 4)
    return metrics.retrieval_metrics(*sides, chunk=chunk).rank(k)


def call(entry, name, error, words, function, *args, **options):
    """A case that needs no file."""
    case(entry, name, error, *words)(lambda folder: partial(function, *args, **options))


def command(name, code, *words):
    def keep(make):
        COMMANDS.append(pytest.param(make, code, words, id=name))
        return make

    return keep


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("runs", "cache"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"VVI_{name.upper()}", str(tmp_path / name))
    for name in ("DATA", "ROOT"):
        monkeypatch.setenv(f"VVI_{name}", "")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def listing(folder):
    """Every entry below a folder, with its content."""
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() else p.is_symlink()
        for p in sorted(folder.rglob("*"))
    }


@pytest.mark.parametrize(("make", "error", "words"), CASES)
def test_python_refuses(folder, reliability, make, error, words):
    bad = make(folder)
    before = listing(folder)
    with pytest.raises(error) as raised:
        bad()
    said = str(raised.value)
    assert "\n" not in said and all(word in said for word in words), said
    assert listing(folder) == before
    reliability.add("bad input", "to a function", 1, "bad inputs refused")


@pytest.mark.parametrize(("make", "code", "words"), COMMANDS)
def test_the_command_line_refuses(
    folder, tiny_root, reliability, capsys, make, code, words
):
    arguments = [str(a) for a in make(folder, tiny_root)]
    before = listing(folder)
    try:
        ended = main(arguments)
    except SystemExit as end:  # of the parser of arguments
        ended = end.code
    shown = capsys.readouterr()
    lines = (
        shown.out.splitlines() if code == 1 else shown.err.splitlines()
    )  # a check that finds errors prints them in its report
    said = next((line for line in lines if line.startswith("error")), lines[0])
    assert (
        ended == code
        and (code == 1 or len(lines) == 1)
        and all(word in said for word in words)
    ), shown
    assert listing(folder) == before
    reliability.add("bad input", "on the command line", 1, "bad inputs refused")


def test_a_mistake_seen_from_the_shell_is_one_line_and_a_code(tmp_path):
    for arguments in (
        ["check", "--layout", "nope", "x"],
        ["train", "nope", "--preset", "tiny"],
        ["synth", str(tmp_path), "--preset", "tiny", "--seed", "-1"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "vvi", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"VVI_RUNS": str(tmp_path)},
        )
        assert (
            done.returncode == 2
            and done.stderr.count("\n") == 1
            and not done.stdout
            and "Traceback" not in done.stderr
        ), done
    assert not list(tmp_path.iterdir())


def test_the_campaign_is_large_and_names_no_case_twice():
    names = [case.id for case in CASES + COMMANDS]
    assert len(CASES) + len(COMMANDS) >= 150 and len(set(names)) == len(names)


# readers
# --------------------------------------------------------------------------------------
MAKE = {
    "vcm": partial(toys.vcm, images=True),
    "sysu": toys.sysu,
    "regdb": toys.regdb,
    "campus": toys.campus,
}
READ = {
    "vcm": partial(vcm.read, min_seq_len=2),
    "sysu": sysu.read,
    "regdb": regdb.read,
    "campus": buptcampus.read,
}
for kind, entry in (
    ("vcm", "info"),
    ("vcm", "info/train_name.txt"),
    ("vcm", "0001"),
    ("vcm", "0001/rgb/D3"),
    ("sysu", "exp/test_id.txt"),
    ("sysu", "cam3"),
    ("sysu", "cam1/0006"),
    ("sysu", "cam1/0006/0001.jpg"),
    ("regdb", "idx/train_visible_1.txt"),
    ("regdb", "Thermal"),
    ("regdb", "Visible/285/male_back_v_00010_285.bmp"),
    ("campus", "data_paths.json"),
    ("campus", "query.txt"),
    ("campus", "DATA"),
    ("campus", "DATA/1/IR/CQ1"),
):

    @case(
        kind,
        f"{entry} is a link out of the root",
        DataError,
        Path(entry).name,
        "a link that leaves the data folder",
        "elsewhere",
    )
    def _(folder, kind=kind, entry=entry):
        root = MAKE[kind](folder / "root")
        shutil.move(root / entry, folder / "elsewhere")
        (root / entry).symlink_to(folder / "elsewhere")
        return lambda: READ[kind](root)


for kind, options, *words in (
    ("vcm", {"min_seq_len": "2"}, "min_seq_len must be an integer >= 1, got '2'"),
    ("vcm", {"min_seq_len": None}, "min_seq_len must be an integer >= 1, got None"),
    ("vcm", {"strict": "no"}, "strict must be true or false, got 'no'"),
    ("sysu", {"strict": 1}, "strict must be true or false, got 1"),
    ("sysu", {"trial": 1.0}, "trial must be one of 0, 1,", "got 1.0"),
    ("sysu", {"trial": True}, "trial must be one of 0, 1,", "got True"),
    ("regdb", {"trial": True}, "trial must be in 1..10, got True"),
    ("regdb", {"trial": 1.0}, "trial must be in 1..10, got 1.0"),
    ("regdb", {"trial": "1"}, "trial must be in 1..10, got '1'"),
    ("vcm", {"foreign": "move"}, "foreign must be keep or drop, got 'move'"),
    ("vcm", {"min_seq_len": True}, "min_seq_len must be an integer >= 1, got True"),
    ("campus", {"auxiliary": 1}, "auxiliary must be true or false, got 1"),
    ("campus", {"strict": "yes"}, "strict must be true or false, got 'yes'"),
):

    @case(kind, f"{options}", DataError, *words)
    def _(folder, kind=kind, options=options):
        root = MAKE[kind](folder / "root")
        return lambda: READ[kind](root, **options)


@case("open_dataset", "unknown layout", ValueError, "unknown layout 'voc'", "hitsz-vcm")
def _(folder):
    root = toys.regdb(folder / "root", images=False)
    return lambda: open_dataset(root, layout="voc")


@case(
    "open_dataset",
    "option of another layout",
    ValueError,
    "regdb has no option 'mode'; it has trial",
)
def _(folder):
    root = toys.regdb(folder / "root", images=False)
    return lambda: open_dataset(root, mode="indoor")


for name, entries in (
    ("MARS", ["bbox_train/"]),
    ("LLCM", ["vis/", "nir/"]),
    ("Market-1501", ["bounding_box_train/0002_c1s1_000451_03.jpg"]),
    ("DukeMTMC-reID", ["bounding_box_test/0002_c1_f0044158.jpg"]),
    ("iLIDS-VID", ["i-LIDS-VID/"]),
):

    @case(
        "open_dataset",
        f"{name} in place of a known set",
        DataError,
        f"this looks like {name}, which is not read here",
    )
    def _(folder, entries=entries):
        for entry in entries:
            path = folder / "root" / entry
            (path if entry.endswith("/") else path.parent).mkdir(parents=True)
            path.is_dir() or path.touch()
        return lambda: open_dataset(folder / "root")


@case("open_dataset", "several sets in one folder", DataError, "no known layout")
def _(folder):
    toys.regdb(folder / "root" / "a"), toys.campus(folder / "root" / "b")
    return lambda: open_dataset(folder / "root")


@case(
    "open_dataset",
    "unknown direction",
    ValueError,
    "sysu-mm01 has no direction 'vis2ir'; it has ir2vis",
)
def _(folder):
    found = open_dataset(toys.sysu(folder / "root"))
    return lambda: found.query("vis2ir")


@case(
    "check", "option that no reader has", ValueError, "hitsz-vcm has no option 'colour'"
)
def _(folder):
    root = toys.vcm(folder / "root")
    return lambda: report(root, colour=1)


@case(
    "sysu arrays",
    "a pickled object in place of an array",
    DataError,
    "train_rgb_resized_label.npy",
    "unreadable array",
)
def _(folder):
    root = toys.sysu(folder / "root")
    for name in ("rgb", "ir"):
        np.save(
            root / f"train_{name}_resized_img.npy", np.zeros((1, 288, 144, 3), np.uint8)
        )
        np.save(
            root / f"train_{name}_resized_label.npy",
            np.array([Trap(folder / "sprung")], object),
            allow_pickle=True,
        )
    return lambda: sysu.read(root, train="arrays")


@case(
    "sysu arrays",
    "array cut off",
    DataError,
    "train_rgb_resized_img.npy",
    "unreadable array",
)
def _(folder):
    root = toys.sysu(folder / "root")
    for name in ("rgb", "ir"):
        np.save(
            root / f"train_{name}_resized_img.npy", np.zeros((1, 288, 144, 3), np.uint8)
        )
        np.save(root / f"train_{name}_resized_label.npy", np.zeros(1, int))
    file = root / "train_rgb_resized_img.npy"
    file.write_bytes(file.read_bytes()[:1000])
    return lambda: sysu.read(root, train="arrays")


@case(
    "sampler",
    "more identities than there are",
    DataError,
    "a batch needs 5 identities, the training set has 2",
)
def _(folder):
    found = vcm.read(toys.vcm(folder / "root"), min_seq_len=2)
    return lambda: TrainLoader(
        found, Frames(32, 16), DataConfig(), Recipe(identities=5), 0
    )


@case("frames", "no folder for the cache", ValueError, "Frames has no cache folder")
def _(folder):
    return lambda: Frames(32, 16).build([])


@case("frames", "an image vanished", DataError, "1.jpg", "does not exist")
def _(folder):
    found = vcm.read(toys.vcm(folder / "root"), min_seq_len=2)
    return lambda: Frames(32, 16).read(found.train[0], np.arange(2))


# images
# --------------------------------------------------------------------------------------
def jpeg(folder, cut=None):
    toys.write_image(folder / "a.jpg")
    (folder / "a.jpg").write_bytes((folder / "a.jpg").read_bytes()[:cut])
    return folder / "a.jpg"


def bitmap(folder, width=None, height=None, cut=None):
    toys.write_image(folder / "a.bmp")
    content = (folder / "a.bmp").read_bytes()
    size = content[18:26] if width is None else struct.pack("<ii", width, height)
    (folder / "a.bmp").write_bytes((content[:18] + size + content[26:])[:cut])
    return folder / "a.bmp"


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-60])
    return path


def text(
    folder, name="a.jpg", content=b"no image at all, but long enough for a header"
):
    (folder / name).write_bytes(content)
    return folder / name


def picture(folder, values, form="PNG", name="a.png"):
    from PIL import Image

    Image.fromarray(values).save(folder / name, form)
    return folder / name


def array(folder, row):
    np.save(folder / "a.npy", np.zeros((2, 288, 144, 3), np.uint8))
    return folder / "a.npy" / row


for name, make, *words in (
    ("missing", lambda folder: folder / "a.jpg", "a.jpg does not exist"),
    ("empty", partial(jpeg, cut=0), "a.jpg is empty"),
    (
        "JPEG cut in its header",
        partial(jpeg, cut=20),
        "a.jpg cannot be decoded",
        "truncated",
    ),
    (
        "JPEG cut in its pixels",
        partial(jpeg, cut=600),
        "a.jpg cannot be decoded",
        "truncated",
    ),
    (
        "JPEG without its last byte",
        partial(jpeg, cut=-2),
        "a.jpg cannot be decoded",
        "truncated",
    ),
    ("text", text, "a.jpg cannot be decoded", "no image of a known format"),
    (
        "head of a GIF",
        partial(text, content=b"GIF89a" + bytes(50)),
        "a.jpg cannot be decoded",
    ),
    (
        "folder",
        lambda folder: (folder / "a.jpg").mkdir() or folder / "a.jpg",
        "a.jpg cannot be decoded",
    ),
    (
        "bitmap cut off",
        partial(bitmap, cut=200),
        "a.bmp cannot be decoded",
        "truncated",
    ),
    (
        "bitmap of no pixels",
        partial(bitmap, width=0, height=0),
        "a.bmp cannot be decoded",
    ),
    (
        "bitmap of no width",
        partial(bitmap, width=0, height=5),
        "a.bmp cannot be decoded",
    ),
    (
        "bitmap of 10 gigapixels",
        partial(bitmap, width=100_000, height=100_000),
        "a.bmp cannot be decoded",
        "exceeds limit",
    ),
    (
        "floats in a TIFF",
        partial(picture, values=np.ones((4, 4), np.float32), form="TIFF"),
        "a.png cannot be decoded: floating-point numbers of 32 bits",
    ),
    (
        "whole numbers of 32 bits",
        partial(picture, values=np.ones((4, 4), np.int32), form="TIFF"),
        "a.png cannot be decoded: signed whole numbers of 32",
    ),
    (
        "a HEIC picture",
        partial(text, content=b"\0\0\0\x18ftypheic" + bytes(40)),
        "a.jpg cannot be decoded: a HEIC picture or a video",
    ),
    (
        "a web page",
        partial(text, content=b"<!DOCTYPE html><html>"),
        "a.jpg cannot be decoded: no image of a known format",
        "<!DOCTYPE ht",
    ),
    (
        "nothing but blanks",
        partial(text, content=b" " * 99),
        "a.jpg cannot be decoded: no image of a known format",
    ),
    (
        "PNG cut off",
        lambda folder: cut_off(
            picture(folder, np.arange(999, dtype=np.uint16)[None] * 60)
        ),
        "a.png cannot be decoded",
    ),
    (
        "row beyond an array",
        partial(array, row="9"),
        "a.npy/9 cannot be decoded",
        "out of bounds",
    ),
    ("row that is no number", partial(array, row="x"), "a.npy/x cannot be decoded"),
    (
        "row of no array",
        lambda folder: folder / "a.npy" / "1",
        "a.npy/1 does not exist",
    ),
):

    @case("image", name, DataError, *words)
    def _(folder, make=make):
        path = make(folder)
        return lambda: decode(path, 32, 16)


def test_validate_names_an_image_that_is_a_link_out_of_the_root(tmp_path):
    root = toys.vcm(tmp_path / "root", images=True)
    image = root / "0001" / "rgb" / "D3" / "1.jpg"
    shutil.move(image, tmp_path / "elsewhere.jpg")
    image.symlink_to(tmp_path / "elsewhere.jpg")
    assert (
        "1.jpg: a link that leaves the data folder"
        in validate(vcm.read(root, min_seq_len=2))[0]
    )
    assert "a link that leaves" in report(root, min_seq_len=2).errors[0]


def test_links_inside_the_root_and_a_root_that_is_a_link_are_fine(tmp_path):
    root = toys.vcm(tmp_path / "root", images=True)
    shutil.move(root / "0001", root / "moved")
    (root / "0001").symlink_to("moved")
    (tmp_path / "link").symlink_to(root)
    assert validate(vcm.read(tmp_path / "link", min_seq_len=2)) == []


def test_a_link_out_of_the_root_is_read_when_it_is_wanted(tmp_path):
    root = toys.regdb(tmp_path / "root", images=False)
    shutil.move(root / "idx", tmp_path / "lists")
    (root / "idx").symlink_to(tmp_path / "lists")
    assert "leaves the data folder" in regdb.read(root, strict=False).problems[0]


# the embedded set
# --------------------------------------------------------------------------------------
call(
    "synthetic",
    "unknown preset",
    ValueError,
    ["no synthetic preset 'huge'", "tiny, half, standard, full"],
    synthetic.write,
    "x",
    preset="huge",
)
call(
    "synthetic",
    "unknown knob",
    ValueError,
    ["no knob 'colour'", "bad_frames"],
    synthetic.write,
    "x",
    preset="tiny+colour=1",
)
call(
    "synthetic",
    "dose out of range",
    ValueError,
    ["bars=9", "from 0 to 0.5"],
    synthetic.write,
    "x",
    preset="tiny+bars=9",
)
call(
    "synthetic",
    "unknown layout",
    ValueError,
    ["no layout 'voc' to write", "hitsz-vcm"],
    synthetic.write,
    "x",
    preset="tiny",
    layout="voc",
)
for seed in (-1, 1.5, "x", True):
    call(
        "synthetic",
        f"seed {seed!r}",
        ValueError,
        [f"seed={seed!r}", "an integer >= 0"],
        synthetic.write,
        "x",
        preset="tiny",
        seed=seed,
    )
for name, content, *words in (
    ("cut off", b'{"preset": "ti', "manifest.json is damaged"),
    ("not UTF-8", b"\xff\xfe", "manifest.json is damaged", "utf-8"),
    ("a list", b"[1]", "manifest.json is no manifest", "a list"),
    ("nested too deep", b"[" * 100_000, "manifest.json is damaged", "recursion"),
):

    @case("synthetic", f"manifest {name}", DataError, *words)
    def _(folder, content=content):
        (folder / "set").mkdir()
        text(folder / "set", "manifest.json", content)
        return lambda: synthetic.write(folder / "set", preset="tiny")


HEAD = "path,split,identity,modality,camera,tracklet,frame,fault,direction,phase,view,light,mask,place"
for name, table, content, *words in (
    (
        "frames without their faults",
        "frames.csv",
        HEAD.replace(",fault", "") + "\n",
        "frames.csv lacks the column(s) fault; it has path, split",
    ),
    (
        "frames of another file",
        "frames.csv",
        "a,b\n1,2\n",
        "frames.csv lacks the column(s) path, split",
    ),
    ("frames empty", "frames.csv", "", "frames.csv is no table", "No columns"),
    (
        "frames ragged",
        "frames.csv",
        "a,b\n1,2\n1,2,3,4\n",
        "frames.csv is no table",
        "line 3",
    ),
    (
        "frames not UTF-8",
        "frames.csv",
        b"a,\xff\n1,2\n",
        "frames.csv is no table",
        "utf-8",
    ),
    (
        "mask outside of the set",
        "frames.csv",
        HEAD + "\na,train,1,vis,1,1,1,none,0,0,0,0,../../etc/passwd,0\n",
        "frames.csv: mask '../../etc/passwd' leaves the data folder",
    ),
    (
        "mask of an absolute path",
        "frames.csv",
        HEAD + "\na,train,1,vis,1,1,1,none,0,0,0,0,/etc/passwd,0\n",
        "frames.csv: mask '/etc/passwd' leaves the data folder",
    ),
    ("frames missing", "other.csv", "", "frames.csv is missing", "no synthetic set"),
    (
        "factors without identities",
        "factors.csv",
        "split,height\ntrain,1\n",
        "factors.csv lacks the column(s) identity, look_alike_group",
    ),
    ("factors empty", "factors.csv", "", "factors.csv is no table"),
):

    @case("synthetic", name, DataError, *words)
    def _(folder, name=name, table=table, content=content):
        (folder / "info").mkdir()
        text(
            folder / "info",
            table,
            content if isinstance(content, bytes) else content.encode(),
        )
        shown = vcm.read(toys.vcm(folder / "toy"), min_seq_len=2).train[0]
        return (
            partial(synthetic.read_factors, folder)
            if "factors" in name
            else partial(synthetic.read_masks, folder, shown)
        )


# configs and methods
# --------------------------------------------------------------------------------------
for changes, *words in (
    ({"steps": 0}, "steps=0 must be at least 1"),
    ({"steps": -5}, "steps=-5 must be at least 1"),
    ({"steps": "many"}, "steps='many' must be an integer or nothing"),
    ({"epochs": 0}, "epochs=0", "at least 1"),
    ({"frames": 0}, "frames=0", "at least 1"),
    ({"frames": 1.5}, "frames=1.5", "an integer"),
    ({"frames": True}, "frames=True", "an integer"),
    ({"height": -5}, "height=-5", "at least 1"),
    ({"pad": -1}, "pad=-1", "at least 0"),
    ({"flip": 7}, "flip=7", "at least 0 and at most 1"),
    ({"lr": float("nan")}, "lr=nan", "a finite number"),
    ({"lr": float("inf")}, "lr=inf", "a finite number"),
    ({"lr": None}, "lr=None", "a finite number"),
    ({"lr": -1}, "lr=-1", "at least 0"),
    ({"identities": 0}, "identities=0", "at least 1"),
    ({"tracklets": 0}, "tracklets=0", "at least 1"),
    ({"warmup": -1}, "warmup=-1", "at least 0"),
    ({"gamma": "x"}, "gamma='x'", "a finite number"),
    ({"milestones": 5}, "milestones=5", "a list of integers"),
    ({"milestones": ["a"]}, "milestones=('a',)", "a list of integers"),
    ({"optimiser": "lbfgs"}, "optimiser='lbfgs'", "one of 'sgd', 'adamw'"),
    ({"augment_per": "video"}, "augment_per='video'", "one of 'frame', 'clip'"),
    ({"seed": -1}, "seed=-1", "at least 0"),
    ({"seed": 2**64}, f"seed={2**64}", "at most"),
    ({"data_seed": -3}, "seed=-3", "at least 0"),
    ({"backbone": 3}, "backbone=3", "a word"),
):

    @case("config", str(changes), ValueError, *words)
    def _(folder, changes=changes):
        return lambda: preset("tiny", **changes)


call(
    "config",
    "unknown preset",
    ValueError,
    ["no preset 'huge'", "tiny, half, standard, full, paper"],
    preset,
    "huge",
)
for content, *words in (
    ("[]", "RunConfig needs fields by name, not []"),
    ("null", "RunConfig needs fields by name, not None"),
    ('{"data": 3}', "DataConfig needs fields by name, not 3"),
    ('{"recipe": {"colour": 1}}', "Recipe has no field colour"),
    ('{"seed": "x"}', "seed='x'", "an integer"),
    ('{"options": 3}', "options=3", "values by name"),
    ('{"method": 3}', "method=3", "a word"),
    ('{"preset": "mine"}', "preset='mine'", "one of 'tiny', 'half', 'standard'"),
    ('{"recipe": {"lr": NaN}}', "lr=nan", "a finite number"),
    ("{", "line 1 column 2"),
):
    call("config", f"JSON {content}", ValueError, words, from_json, content)

load = partial(methods.load, backbone="micro", frames=3)
call(
    "methods",
    "unknown method",
    ValueError,
    ["no method 'resnet': choose from baseline"],
    load,
    "resnet",
    4,
)
call(
    "methods",
    "unknown option",
    ValueError,
    ["baseline has no option colour; it has backbone"],
    load,
    "baseline",
    4,
    colour=1,
)
call(
    "methods",
    "unknown trunk",
    ValueError,
    ["no trunk 'vit': choose from resnet50"],
    methods.load,
    "baseline",
    4,
    backbone="vit",
)
call(
    "methods",
    "unknown weights",
    ValueError,
    ["no weights 'coco' for resnet50"],
    methods.load,
    "baseline",
    4,
    weights="coco",
)
call(
    "methods",
    "no frames",
    ValueError,
    ["frames=0", "at least 1"],
    methods.load,
    "baseline",
    4,
    frames=0,
)
call(
    "methods",
    "a word for a number",
    ValueError,
    ["margin='wide'", "a finite number"],
    load,
    "baseline",
    4,
    margin="wide",
)
call(
    "methods",
    "a choice that is none",
    ValueError,
    ["reads='sounds'", "choose from 'frames', 'anaglyphs'"],
    load,
    "baseline",
    4,
    reads="sounds",
)
for num_ids in (0, -1, 1.5, "x"):
    call(
        "methods",
        f"{num_ids!r} identities",
        ValueError,
        [f"num_ids={num_ids!r}", "at least one identity"],
        load,
        "baseline",
        num_ids,
    )
for name, clips, modality, *words in (
    (
        "frames without time",
        torch.zeros(2, 3, 32, 16),
        "vis",
        "clips must be (B, T, 3, H, W)",
        "(2, 3, 32, 16)",
    ),
    ("no clips", torch.zeros(0, 3, 3, 32, 16), "vis", "no empty side"),
    ("one channel", torch.zeros(2, 3, 1, 32, 16), "vis", "(2, 3, 1, 32, 16)"),
    (
        "bytes",
        torch.zeros(2, 3, 3, 32, 16, dtype=torch.uint8),
        "ir",
        "normalised floats, got torch.uint8",
    ),
    ("an array of NumPy", np.zeros((2, 3, 3, 32, 16)), "ir", "torch, got ndarray"),
    (
        "an unknown modality",
        torch.zeros(2, 3, 3, 32, 16),
        "thermal",
        "no modality 'thermal': choose from vis, ir",
    ),
):
    case("embed", name, ValueError, *words)(
        lambda folder, clips=clips, modality=modality: partial(
            load("baseline", 4).eval().embed, clips, modality
        )
    )
FEAT, IDS = torch.eye(4), torch.tensor([0, 0, 1, 1])
for name, words, function, *args in (
    ("mode", "cross, wrt, hct, cmt", cmft.cross_modal_loss, FEAT, FEAT, None, IDS),
    ("metric", "euclidean, cosine, pmt", cmft.refinement_loss, FEAT, FEAT, FEAT, IDS),
    ("negatives", "dyn, all, hard", cmft.discriminative_loss, FEAT, FEAT, IDS),
    ("reduction", "sum, mean", iban.easy_sample_loss, FEAT, FEAT, IDS),
    ("metric", "cosine, euclidean", iban.easy_sample_loss, FEAT, FEAT, IDS),
    ("sample", "easy, hard", iban.easy_samples, FEAT, FEAT),
    ("reduction", "mse, l2_sum", iban.reconstruction_loss, FEAT, FEAT, FEAT, FEAT),
    ("variant", "paper, released", iban.anaglyph, torch.zeros(3, 4, 4)),
    ("per", "frame, clip", augment, [], None, 1, 0.5),
):
    listed = ", ".join(map(repr, words.split(", ")))
    entry, said = function.__name__, [f"{name}='sum of all': choose from {listed}"]
    call(entry, name, ValueError, said, function, *args, **{name: "sum of all"})
for entry, name, words, function, *args in (
    ("anaglyph", "grey", "(..., 3, H, W), got (1, 4, 4)", iban.anaglyph, FEAT[None]),
    ("focal loss", "two labels", "got (4, 4) and (2,)", di2l.focal_loss, FEAT, IDS[:2]),
    ("triplet", "a list", "got list", losses.batch_hard_triplet, FEAT, [0, 0, 1, 1]),
    ("triplet", "NumPy", "got ndarray", losses.weighted_triplet, np.eye(4), IDS),
    ("metrics", "rows", "query features: rows of unequal", rank_1, [[1, 2], [3]]),
    ("metrics", "a rank in quotes", "rank '1': ranks start at 1", rank_1, FEAT, "1"),
    ("metrics", "ranks", "and k is one integer", rank_1, FEAT, [1, 5]),
    ("metrics", "half a query", "chunk 0.5: at least one", rank_1, FEAT, 1, 0.5),
):
    call(entry, name, ValueError, [words], function, *args)
for entry, name, words, function, *args in (
    (
        "run",
        "a name",
        "got str: vvi.config.preset(SIZE, METHOD)",
        experiment.run,
        "iban",
    ),
    ("run", "pixels", "no pixels 'gpu': choose from files, cache", execute, "gpu"),
    ("run", "no time", "every=-1 must be a number of sec", execute, "files", -1),
    ("open_dataset", "nothing", "None is no name of a file", open_dataset, None),
    ("open_dataset", "a space", "' ' is no name of a file", open_dataset, " "),
    ("synthetic", "no name", "'' is no name of a file", synthetic.write, ""),
    ("tables", "no paper", "no paper 'x': choose from", ablation.published, "x", ""),
    ("tables", "no row", "no row has a run", comparison.table, {}),
    ("tables", "an absent row", "nothing to compare", comparison.difference, [], [], 0),
):
    call(entry, name, ValueError, [words], function, *args)
call(
    "tables",
    "unknown table",
    ValueError,
    ["baseline has no table 'Table 99': choose from Table 2"],
    ablation.rows,
    "baseline",
    "Table 99",
)
call(
    "tables",
    "unpublished",
    ValueError,
    ["mitml.csv has nothing for 'Table 99'"],
    ablation.published,
    "mitml",
    "Table 99",
)
for device, *words in (
    ("tpu", "no device 'tpu': use auto, cpu, cuda"),
    ("cpu:3", "no device 'cpu:3'"),
    ("cpu:x", "no device 'cpu:x'"),
    ("cuda:one", "no device 'cuda:one'"),
    ("cuda", "device cuda was asked for and torch sees no GPU"),
    ("cuda:1", "torch sees no GPU"),
    ("", "no device ''"),
):
    call("device", repr(device), ValueError, words, train.fabric, device)
for name, function, args, *words in (
    (
        "width",
        nearest.search,
        (nearest.index(np.eye(4)), np.ones((1, 3))),
        "embeddings of 3 numbers searched for among embeddings of 4",
    ),
    (
        "nothing wanted",
        nearest.search,
        (nearest.index(np.eye(4)), np.eye(4), 0),
        "top=0 must be an integer >= 1",
    ),
    (
        "nothing wanted, exactly",
        nearest.exact,
        (np.eye(4), np.eye(4), 0),
        "top=0 must be an integer >= 1",
    ),
    (
        "no chunk",
        nearest.exact,
        (np.eye(4), np.eye(4), 1, 0),
        "chunk=0 must be an integer >= 1",
    ),
    (
        "unknown index",
        nearest.index,
        (np.eye(4), "Tree"),
        "FAISS makes no index 'Tree' of embeddings of 4 numbers",
    ),
    (
        "unknown effort",
        nearest.search,
        (nearest.index(np.eye(4)), np.eye(4), 1, "depth=3"),
        "this index has no 'depth=3'",
    ),
):
    call("nearest", name, ValueError, words, function, *args)
call(
    "device", "unknown precision", ValueError, ["'8-bit'"], train.fabric, "cpu", "8-bit"
)


class Trap:
    """What creates a file when it is unpickled."""

    def __init__(self, file):
        self.file = str(file)

    def __reduce__(self):
        return open, (self.file, "w")


# features and scores
# --------------------------------------------------------------------------------------
RNG = np.random.default_rng(0)
GOOD = dict(
    query=RNG.normal(size=(3, 4)),
    gallery=RNG.normal(size=(5, 4)),
    query_ids=[1, 2, 3],
    gallery_ids=[1, 2, 3, 1, 2],
    query_cams=[1] * 3,
    gallery_cams=[2] * 5,
)
for name, changes, *words in (
    (
        "one NaN",
        {"query": np.where(np.eye(3, 4) > 0, np.nan, 1.0)},
        "query features: NaN or infinity",
        "3 row(s): 0, 1, 2",
    ),
    (
        "infinity in the gallery",
        {"gallery": np.full((5, 4), np.inf)},
        "gallery features: NaN or infinity",
        "5 row(s)",
    ),
    (
        "numbers too large to square",
        {"query": np.full((3, 4), 1e300)},
        "query features",
        "overflow",
    ),
    (
        "words",
        {"query": [["a"] * 4] * 3},
        "query features: expected real numbers, got <U1",
    ),
    (
        "complex numbers",
        {"gallery": np.ones((5, 4)) * 1j},
        "gallery features: expected real numbers, got complex128",
    ),
    (
        "None",
        {"query": np.full((3, 4), None)},
        "query features: expected real numbers, got object",
    ),
    (
        "one row",
        {"query": np.ones(4)},
        "query features: expected 2 dimensions, got shape (4,)",
    ),
    (
        "other width",
        {"query": np.ones((3, 5))},
        "query features (3, 5) and gallery features (5, 4) do not share a width",
    ),
    (
        "no width",
        {"query": np.ones((3, 0)), "gallery": np.ones((5, 0))},
        "do not share a width D > 0",
    ),
    (
        "no query",
        {"query": np.ones((0, 4)), "query_ids": [], "query_cams": []},
        "empty query set",
    ),
    (
        "no gallery",
        {"gallery": np.ones((0, 4)), "gallery_ids": [], "gallery_cams": []},
        "empty gallery set",
    ),
    (
        "identities too few",
        {"query_ids": [1, 2]},
        "query_ids must be integers of shape (3,)",
        "(2,)",
    ),
    (
        "identities half",
        {"gallery_ids": [1.5, 2, 3, 4, 5]},
        "gallery_ids must be integers",
        "float64",
    ),
    (
        "identities undefined",
        {"query_ids": [1, np.nan, 3]},
        "query_ids must be integers",
    ),
    (
        "identities by name",
        {"query_ids": ["a", "b", "c"]},
        "query_ids must be integers",
        "<U1",
    ),
    (
        "cameras in a table",
        {"gallery_cams": np.ones((5, 1), int)},
        "gallery_cams must be integers of shape (5,)",
        "(5, 1)",
    ),
    ("no camera", {"query_cams": None}, "query_cams must be integers", "object"),
    (
        "nobody to be found",
        {"query_ids": [7, 8, 9]},
        "no query has a match left in the gallery under rule 'vcm'",
    ),
    ("unknown rule", {"rule": "market"}, "rule 'market': it is one of vcm, sysu, none"),
    (
        "cameras from 0",
        {"rule": "sysu", "query_cams": [2, 2, 5], "gallery_cams": [0, 1, 3, 4, 0]},
        "cameras of SYSU-MM01 as 1 to 6",
        "there is a camera 0: were they counted from 0",
    ),
    ("a camera 7", {"rule": "sysu", "query_cams": [3, 6, 7]}, "there is a camera 7"),
    ("empty blocks", {"chunk": 0}, "chunk 0: at least one query per block"),
):
    call(
        "metrics",
        name,
        ValueError,
        words,
        metrics.retrieval_metrics,
        **(GOOD | changes),
    )
call(
    "metrics",
    "NaN similarity",
    ValueError,
    ["similarity: NaN or infinity in row(s) 0, 1"],
    metrics.from_similarity,
    np.full((2, 2), np.nan),
    [1, 2],
    [1, 2],
    [1, 1],
    [2, 2],
)
call(
    "metrics",
    "similarity of one query",
    ValueError,
    ["similarity: expected 2 dimensions"],
    metrics.from_similarity,
    [1.0, 2.0],
    [1],
    [1, 2],
    [1],
    [2, 2],
)
call(
    "metrics",
    "rank 0",
    ValueError,
    ["rank 0: ranks start at 1"],
    metrics.retrieval_metrics(**GOOD).rank,
    0,
)

for name, changes, *words in (
    ("no neighbours", {"k1": 0}, "k1=0 must be an integer >= 1"),
    ("half a neighbour", {"k1": 2.5}, "k1=2.5 must be an integer"),
    (
        "more to average than neighbours",
        {"k2": 30},
        "k2=30 must be an integer from 1 to k1=20",
    ),
    ("a share above one", {"weight": 1.5}, "weight=1.5 (lambda) must be from 0 to 1"),
    ("NaN", {"query": np.full((3, 4), np.nan)}, "query features: NaN or infinity"),
    ("one row", {"gallery": np.ones(4)}, "gallery features must be (N, D), got (4,)"),
    ("another width", {"gallery": np.ones((5, 3))}, "different widths: 4 and 3"),
):
    call(
        "re-ranking",
        name,
        ValueError,
        words,
        rerank,
        **({name: GOOD[name] for name in ("query", "gallery")} | changes),
    )


def features_of(folder, name="a.npz", table=None, **arrays):
    np.savez(folder / name, **arrays)
    if table:
        (folder / name).with_suffix(".csv").write_text(table)
    return folder / name


def torch_file(path, content):
    torch.save(content, path)
    return path


for name, make, *words in (
    (
        "in a text",
        lambda folder: text(folder, "a.txt"),
        "a.txt: features end in .npz, .safetensors",
    ),
    (
        "in nothing",
        lambda folder: text(folder, "a.npz", b""),
        "a.npz holds no features that can be read",
    ),
    (
        "in a pickle",
        lambda folder: features_of(
            folder, features=np.array([Trap(folder / "sprung")], object)
        ),
        "a.npz holds no features that can be read",
    ),
    (
        "of one dimension",
        lambda folder: features_of(folder, x=np.ones(3)),
        "no array `features` of rows (N, D)",
        "it holds x (3,)",
    ),
    (
        "NaN",
        lambda folder: features_of(folder, features=np.full((2, 3), np.nan)),
        "a.npz: NaN or infinity in row(s) 0, 1",
    ),
    (
        "beyond float32",
        lambda folder: features_of(folder, features=np.full((2, 3), 1e200)),
        "a.npz: NaN or infinity in row(s) 0, 1",
    ),
    (
        "of zeros only",
        lambda folder: features_of(folder, features=np.eye(4)[:, :3]),
        "a.npz: row(s) 3 hold zeros only",
    ),
    (
        "without numbers",
        lambda folder: features_of(folder, features=np.zeros((3, 0))),
        "a.npz: its rows hold no numbers, (3, 0)",
    ),
    (
        "in a text named .npz",
        lambda folder: text(folder, "a.npz"),
        "a.npz holds no features that can be read: it is no file of NumPy",
    ),
    (
        "in a list of torch",
        lambda folder: torch_file(folder / "a.pt", [[0.0, 1.0]]),
        "a.pt holds no features that can be read",
        "a list",
    ),
    (
        "with too few identities",
        lambda folder: features_of(folder, features=np.ones((3, 2)), ids=np.ones(2)),
        "2 ids for 3 rows",
    ),
    (
        "with a table of others",
        lambda folder: features_of(
            folder, table="row,name\n0,x\n", features=np.ones((3, 2))
        ),
        "a.csv has 1 rows, a.npz 3",
    ),
    (
        "with a ragged table",
        lambda folder: features_of(
            folder, table="a,b\n1,2\n1,2,3\n", features=np.ones((2, 2))
        ),
        "a.csv is no table",
    ),
    (
        "of two widths",
        lambda folder: features_of(
            folder, query=np.ones((3, 2)), gallery=np.ones((3, 4))
        ),
        "query rows have 2 numbers, gallery 4",
    ),
):

    @case("features", name, ValueError, *words)
    def _(folder, make=make):
        file = make(folder)
        return lambda: features.load(file)


call(
    "features",
    "missing",
    FileNotFoundError,
    ["there is no file of features nowhere.npz"],
    features.load,
    "nowhere.npz",
)
for name, (query, gallery), *words in (
    (
        "without identities",
        ({}, {"identity": ["1"] * 5}),
        "no identity in row(s) 0, 1, 2; fill the column identity",
    ),
    (
        "without cameras",
        ({"identity": ["1"] * 3}, {"identity": ["1"] * 5}),
        "no camera in row(s) 0, 1, 2",
        "or say --rule none",
    ),
):
    sides = [
        Features(
            GOOD[side].astype(np.float32),
            pd.DataFrame(known, index=range(len(GOOD[side]))),
        )
        for side, known in (("query", query), ("gallery", gallery))
    ]
    call("features", name, ValueError, words, ranking.score, *sides)

# what chapters are given
# --------------------------------------------------------------------------------------
STANDARD = dict(preset="tiny", data=None, seeds=[0], retrain=False, device="auto")
for changes, *words in (
    ({"preset": "small"}, "no preset 'small': choose from tiny, half, standard"),
    ({"data": ""}, "data is empty: give a folder"),
    ({"data": "/no/such/folder"}, "data /no/such/folder: no such folder"),
    (
        {"data": "D:\\new\\table"},
        "no such folder",
        "under WSL it is",
        "mnt/d/new/table",
    ),
    ({"data": "D:\new\table"}, "holds a line break or a tab", "write r"),
    ({"data": 3}, "data 3 does not fit: give a folder"),
    (
        {"seeds": "x"},
        "seeds='x' does not fit, each is an integer >= 0: write 0 or 0,1,2",
    ),
    ({"seeds": -1}, "seeds=-1 does not fit"),
    ({"seeds": []}, "seeds=[] names no seed"),
    ({"seeds": ""}, "seeds='' names no seed"),
    ({"seeds": "0,0"}, "names 0 twice"),
    ({"seeds": 1.5}, "seeds=1.5 does not fit"),
    ({"retrain": "maybe"}, "retrain='maybe' does not fit: write true or false"),
    ({"retrain": None}, "retrain=None does not fit"),
    ({"device": "mps"}, "no device 'mps': use auto, cpu, cuda or cuda:N"),
    ({"device": "0,1"}, "no device '0,1'", "torchrun"),
    ({"device": -1}, "no device -1"),
):
    call(
        "parameters",
        str(changes),
        ValueError,
        words,
        parameters.read,
        **(STANDARD | changes),
    )

# losses
# --------------------------------------------------------------------------------------
FEAT, ONE, TWO = (
    torch.arange(20.0).view(4, 5),
    torch.full((4,), 7),
    torch.tensor([0, 0, 1, 1]),
)
ALONE = {  # losses of one set of features
    "batch-hard triplet": losses.batch_hard_triplet,
    "weighted triplet": losses.weighted_triplet,
    "squared triplet": sadstrm.squared_triplet,
    "released triplet": di2l.released_triplet,
}
PAIRS = {  # losses of both modalities
    "cross-modal": lambda vis, ir, ids: cmft.cross_modal_loss(vis, ir, vis, ids),
    "discriminative": cmft.discriminative_loss,
    "refinement": lambda vis, ir, ids: cmft.refinement_loss(vis, ir, vis, ids),
    "easy sample": iban.easy_sample_loss,
}
COMPARE = [
    *ALONE,
    "cross-modal",
    "discriminative",
]  # refinement and easy sample do not ask for a second identity
for name, loss in (
    ALONE | {n: lambda feat, ids, f=f: f(feat, feat, ids) for n, f in PAIRS.items()}
).items():
    if name in COMPARE:
        call(
            "losses",
            f"{name}, one identity",
            ValueError,
            ["a triplet needs two identities in the batch, got only identity 7"],
            loss,
            FEAT,
            ONE,
        )
    call(
        "losses",
        f"{name}, no clips",
        ValueError,
        ["features must be (N, D) and identities (N,)", "(0, 5)"],
        loss,
        FEAT[:0],
        TWO[:0],
    )
    call(
        "losses",
        f"{name}, too few identities",
        ValueError,
        ["features must be (N, D) and identities (N,)"],
        loss,
        FEAT,
        TWO[:3],
    )
    call(
        "losses",
        f"{name}, frames in place of clips",
        ValueError,
        ["features must be (N, D)"],
        loss,
        FEAT[:, None],
        TWO,
    )
call(
    "losses",
    "weighted triplet, an identity with one clip",
    ValueError,
    ["identity 1 has one"],
    losses.weighted_triplet,
    FEAT[:3],
    TWO[:3],
)
call(
    "losses",
    "refinement, an identity with one clip",
    ValueError,
    ["MSRL needs two clips", "tracklets=2"],
    PAIRS["refinement"],
    FEAT[:3],
    FEAT[:3],
    TWO[:3],
)
call(
    "losses",
    "confusion, unknown adversary",
    ValueError,
    ["adversary='fourth': choose from 'third', 'flip', 'uniform'"],
    mitml.confusion_loss,
    FEAT,
    FEAT,
    "fourth",
)
call(
    "losses",
    "focal, negative gamma",
    ValueError,
    ["gamma=-1.0: it must not be negative"],
    di2l.focal_loss,
    FEAT,
    TWO,
    -1.0,
)


@case(
    "losses",
    "NaN pixels end a training with the names of step and term",
    train.DivergedError,
    "step 0",
    "encoder/id is nan",
)
def _(folder):
    class Broken:
        steps_per_epoch = 1

        def batches(self, start, stop, device, workers):
            from vvi.types import Batch

            clips, rows = torch.full((4, 3, 3, 32, 16), torch.nan), torch.arange(4)
            yield from (
                Batch(clips, clips, TWO, rows, rows, step)
                for step in range(start, stop)
            )

    return lambda: train.fit(
        load("baseline", 2),
        Broken(),
        Recipe(steps=2),
        train.fabric("cpu"),
        0,
        progress=False,
    )


# checkpoints and records
# --------------------------------------------------------------------------------------
def saved(folder, content):
    torch.save(content, folder / "a.pt")
    return folder / "a.pt"


def cut(folder):
    file = saved(folder, {"net": {"a": torch.zeros(99)}})
    file.write_bytes(file.read_bytes()[:300])
    return file


def object_array(folder):
    np.savez(folder / "a.npz", net=np.array([Trap(folder / "sprung")], object))
    return folder / "a.npz"


for name, make, *words in (
    (
        "a trap",
        lambda folder: saved(folder, {"net": {"a": Trap(folder / "sprung")}}),
        "a.pt",
        "without executing",
        "it asks for",
    ),
    (
        "a trap as plain pickle",
        lambda folder: text(
            folder, "a.pt", pickle.dumps({"net": Trap(folder / "sprung")}, 2)
        ),
        "a.pt",
        "without executing",
    ),
    ("a trap in an array", object_array, "a.npz", "without executing"),
    (
        "a whole module",
        lambda folder: saved(folder, torch.nn.Linear(2, 2)),
        "a.pt",
        "without executing",
        "it asks for torch.nn",
    ),
    (
        "a list",
        lambda folder: saved(folder, [1, 2]),
        "a.pt holds a list, not a dict of tensors",
    ),
    (
        "numbers",
        lambda folder: saved(folder, {"net": {"a": 3}}),
        "no tensors by name under a",
    ),
    (
        "several networks",
        lambda folder: saved(
            folder, {"model": {"a": torch.zeros(1)}, "network": {"a": torch.zeros(1)}}
        ),
        "several networks (model, network)",
    ),
    (
        "half in a wrapper",
        lambda folder: saved(folder, {"module.a": torch.zeros(1), "b": torch.zeros(1)}),
        "1 of 2 names begin with 'module.'",
    ),
    (
        "a web page",
        lambda folder: text(folder, "a.pt", b"<!DOCTYPE html>quota"),
        "a.pt is a web page: the download failed",
    ),
    (
        "a pointer of git-lfs",
        lambda folder: text(
            folder, "a.pt", b"version https://git-lfs.github.com/spec/v1"
        ),
        "a.pt is a pointer of git-lfs",
    ),
    (
        "nothing inside",
        lambda folder: saved(folder, {"net": {}}),
        "no tensors by name: it is empty",
    ),
    (
        "another network",
        lambda folder: saved(folder, {"net": {"fc.weight": torch.zeros(2, 2)}}),
        "unknown keys: fc.weight",
    ),
    ("cut off", cut, "a.pt", "without executing", "it is damaged"),
    ("empty", lambda folder: text(folder, "a.pt", b""), "a.pt", "without executing"),
    ("text", lambda folder: text(folder, "a.pt"), "a.pt", "without executing"),
    (
        "a number for a file",
        lambda folder: 3,
        "a int is neither a file nor a dict of tensors",
    ),
):

    @case("released weights", name, CheckpointError, *words)
    def _(folder, make=make):
        source = make(folder)
        return lambda: weights.load_released("mitml", source)


call(
    "released weights",
    "missing",
    FileNotFoundError,
    ["there is no checkpoint nowhere.pt"],
    weights.load_released,
    "mitml",
    "nowhere.pt",
)
call(
    "released weights",
    "of a method without any",
    CheckpointError,
    ["no code of sadstrm was released"],
    weights.load_released,
    "sadstrm",
    {"net": {}},
)
for name, change in (
    ("NaN", lambda v: v * torch.nan),
    ("whole numbers", lambda v: v.long()),
):

    @case(
        "released weights",
        f"{name} in place of weights",
        CheckpointError,
        "of another type or not finite: neck.classifier.weight",
    )
    def _(folder, change=change):
        method = load("baseline", 4)
        tensors = {
            k: change(v) if k == "neck.classifier.weight" else v
            for k, v in method.state_dict().items()
        }
        return lambda: weights.fill(method, tensors)


def record(folder):
    arrays = {"ir2vis/ap": np.linspace(0, 1, 5, dtype=np.float32)}
    made = store.Record(
        preset("tiny", seed=4),
        {"loop": 1},
        {},
        {"x": [1.0]},
        {"ir2vis": {"rank1": 0.5}},
        {"train": 1.0},
        {},
        arrays,
    )
    return store.save_record(made, folder / "runs")


def odd(**changes):
    return lambda content: json.dumps(json.loads(content) | changes).encode()


def without(name):
    return lambda content: json.dumps(
        {k: v for k, v in json.loads(content).items() if k != name}
    ).encode()


def huge_header(content):
    return struct.pack("<Q", 2**40) + content[8:]


for file, name, change, *words in (
    ("record.json", "empty", lambda c: b"", "is no record of this version"),
    ("record.json", "cut off", lambda c: c[:-20], "is no record of this version"),
    (
        "record.json",
        "not UTF-8",
        lambda c: b"\xff" + c,
        "is no record of this version",
        "utf-8",
    ),
    ("record.json", "a list", lambda c: b"[1]", "is no record of this version"),
    ("record.json", "NaN", lambda c: b"NaN", "is no record of this version"),
    (
        "record.json",
        "nested too deep",
        lambda c: b"[" * 100_000,
        "is no record of this version",
        "recursion",
    ),
    (
        "record.json",
        "a pickle",
        lambda c: pickle.dumps({"config": 1}),
        "is no record of this version",
    ),
    ("record.json", "no scores", without("scores"), "it has no 'scores'"),
    ("record.json", "no config", without("config"), "it has no 'config'"),
    (
        "record.json",
        "config null",
        odd(config=None),
        "RunConfig needs fields by name",
    ),
    (
        "record.json",
        "config of another run",
        odd(config={"method": "mitml"}),
        "was changed by hand",
    ),
    ("record.json", "config of words", odd(config={"seed": "four"}), "seed='four'"),
    (
        "record.json",
        "scores in a list",
        odd(scores=[1]),
        "scores does not hold dict values by name",
    ),
    (
        "record.json",
        "a score alone",
        odd(scores={"ir2vis": 0.5}),
        "scores does not hold dict values by name",
    ),
    (
        "record.json",
        "history in words",
        odd(history={"x": "abc"}),
        "history does not hold list values by name",
    ),
    (
        "record.json",
        "history of numbers without names",
        odd(history=[1.0]),
        "history does not hold list values by name",
    ),
    (
        "record.json",
        "versions in words",
        odd(versions={"loop": "one"}),
        "versions does not hold",
    ),
    (
        "arrays.safetensors.xz",
        "empty",
        lambda c: b"",
        "is damaged",
        "delete",
    ),
    (
        "arrays.safetensors.xz",
        "empty once unpacked",
        lambda c: lzma.compress(b""),
        "is damaged",
        "header too small",
        "delete",
    ),
    ("arrays.safetensors.xz", "cut off", lambda c: c[:-5], "is damaged"),
    (
        "arrays.safetensors.xz",
        "cut off before it was packed",
        lambda c: lzma.compress(lzma.decompress(c)[:-5]),
        "is damaged",
    ),
    (
        "arrays.safetensors.xz",
        "a header of a terabyte",
        lambda c: lzma.compress(huge_header(lzma.decompress(c))),
        "is damaged",
        "header too large",
    ),
    (
        "arrays.safetensors.xz",
        "a pickle",
        lambda c: pickle.dumps({"ap": 1}),
        "is damaged",
    ),
):

    @case(file, name, ValueError, file, *words)
    def _(folder, file=file, change=change):
        here = record(folder)
        (here / file).write_bytes(change((here / file).read_bytes()))
        return lambda: store.load_record(here)


@case("record.json", "missing", FileNotFoundError, "record.json")
def _(folder):
    return lambda: store.load_record(folder / "runs" / "0123456789ab")


@case(
    "arrays.safetensors.xz",
    "missing",
    FileNotFoundError,
    "arrays.safetensors.xz is missing: delete",
    "and run it again",
)
def _(folder):
    here = record(folder)
    (here / "arrays.safetensors.xz").unlink()
    return lambda: store.load_record(here)


for name, content, *words in (
    ("cut off", b"12345678", "header too large"),
    ("empty", b"", "header too small"),
    ("a pickle", pickle.dumps({"net": 1}), "header too large"),
    ("of another model", None, "retrain=True"),
):

    @case(
        "model.safetensors",
        name,
        ValueError,
        "model.safetensors does not hold the weights of this run",
        *words,
    )
    def _(folder, content=content):
        from safetensors.torch import save

        settings = preset("tiny")
        (folder / "runs" / settings.hash).mkdir()
        text(
            folder / "runs" / settings.hash,
            "model.safetensors",
            save({"a": torch.zeros(2)}) if content is None else content,
        )
        return lambda: experiment.load_trained(settings, 4)


for name, content in (
    ("cut off", b"12345678"),
    ("a pickle", pickle.dumps({"about": 1})),
    ("without a head", None),
    ("with an odd head", "[1]"),
    ("with a head of words", '{"format": "x"}'),
):

    @case(
        "checkpoint",
        name,
        UserWarning,
        "checkpoint.safetensors",
        "training starts from the first step",
    )
    def _(folder, content=content):
        from safetensors.torch import save

        kept = checkpoint.Checkpoint(folder, {"config": "x"}, {})
        head = {"about": content} if isinstance(content, str) else None
        text(
            folder,
            checkpoint.FILE,
            content
            if isinstance(content, bytes)
            else save({"a": torch.zeros(2)}, head),
        )
        method = load("baseline", 4)

        def restore():
            import warnings

            with warnings.catch_warnings():
                warnings.simplefilter("error")
                kept.restore(method, {})

        return restore


# the command line
# --------------------------------------------------------------------------------------
for name, arguments, *words in (
    ("no command", [], "COMMAND"),
    ("unknown command", ["fly"], "invalid choice: 'fly'"),
    ("no method", ["train"], "required: method"),
    (
        "unknown method",
        ["train", "resnet", "--preset", "tiny"],
        "no method 'resnet': choose from baseline",
    ),
    (
        "unknown method to evaluate",
        ["eval", "resnet", "--preset", "tiny"],
        "no method 'resnet': choose from baseline",
    ),
    (
        "unknown preset",
        ["train", "baseline", "--preset", "huge"],
        "--preset: invalid choice: 'huge'",
    ),
    (
        "negative seed",
        ["train", "baseline", "--seeds", "-1"],
        "--seeds: seeds='-1' does not fit, each is an integer >= 0: write 0 or 0,1,2",
    ),
    (
        "half a seed",
        ["train", "baseline", "--seeds", "1.5"],
        "--seeds: seeds='1.5' does not fit",
    ),
    (
        "a seed named twice",
        ["train", "baseline", "--seeds", "0,0"],
        "--seeds: seeds='0,0' names 0 twice",
    ),
    (
        "endless seed",
        ["train", "baseline", "--seeds", "9" * 30],
        "each is an integer >= 0",
    ),
    (
        "a field without a value",
        ["train", "baseline", "--set", "lr"],
        "'lr' is not name=value",
    ),
    (
        "a seed among the fields",
        ["train", "baseline", "--preset", "tiny", "--set", "seed=3"],
        "--set cannot change seed",
    ),
    (
        "a method among the fields",
        ["train", "baseline", "--preset", "tiny", "--set", "method=mitml"],
        "--set cannot change method",
    ),
    (
        "unknown pixels",
        ["train", "baseline", "--pixels", "tape"],
        "--pixels: invalid choice: 'tape'",
    ),
    (
        "unknown option, found before data are drawn",
        ["train", "baseline", "--preset", "tiny", "--set", "colour=1"],
        "baseline has no option colour",
        "its own: margin",
        "lr, milestones",
    ),
    (
        "an option nearly right",
        ["train", "baseline", "--preset", "tiny", "--set", "step=1"],
        "has no option step (did you mean steps?)",
    ),
    (
        "a comma in a number",
        ["train", "baseline", "--preset", "tiny", "--set", "margin=0,3"],
        "margin='0,3' must be a finite number, such as 0.001",
    ),
    (
        "a list of words",
        ["train", "baseline", "--preset", "tiny", "--set", "milestones=a,b"],
        "milestones='a,b' must be a list of integers",
    ),
    (
        "neither true nor false",
        ["train", "baseline", "--preset", "tiny", "--set", "nesterov=maybe"],
        "nesterov='maybe' must be true or false",
    ),
    (
        "a trunk that is none",
        ["train", "baseline", "--preset", "tiny", "--set", "backbone=resnet18"],
        "or say module:function, such as torchvision.models",
    ),
    (
        "a trunk of no module",
        ["train", "baseline", "--preset", "tiny", "--set", "backbone=nowhere:trunk"],
        "no module nowhere in this folder",
    ),
    (
        "weights nowhere",
        ["train", "baseline", "--preset", "tiny", "--set", "weights=nowhere.pth"],
        "no weights 'nowhere.pth' for micro",
        "a file that exists",
    ),
    (
        "weights of ImageNet for another trunk",
        ["train", "baseline", "--preset", "tiny", "--set", "weights=imagenet"],
        "say weights=FILE or weights=none",
    ),
    (
        "a Windows path",
        ["train", "baseline", "--preset", "tiny", "--data", "D:\\new\\table"],
        "--data: the folder D:\\new\\table: no such folder",
        "under WSL",
    ),
    (
        "an empty name of data",
        ["train", "baseline", "--preset", "tiny", "--data", ""],
        "--data: the folder is empty: give a folder",
    ),
    (
        "a GPU of Apple",
        ["train", "baseline", "--preset", "tiny", "--device", "mps"],
        "no device 'mps': use auto, cpu, cuda or cuda:N",
    ),
    (
        "several GPUs by number",
        ["train", "baseline", "--preset", "tiny", "--device", "0,1"],
        "start it with torchrun",
    ),
    (
        "a word for a number",
        ["train", "baseline", "--preset", "tiny", "--set", "margin=wide"],
        "margin='wide' must be",
    ),
    (
        "no steps",
        ["train", "baseline", "--preset", "tiny", "--set", "steps=0"],
        "steps=0 must be at least 1",
    ),
    (
        "no GPU, found before data are drawn",
        ["train", "baseline", "--preset", "tiny", "--device", "cuda"],
        "torch sees no GPU",
    ),
    (
        "a device of another kind",
        ["train", "baseline", "--preset", "tiny", "--device", "cpu:3"],
        "no device 'cpu:3'",
    ),
    ("no real data", ["train", "baseline", "--preset", "paper"], "set VVI_DATA"),
    (
        "data nowhere",
        ["train", "baseline", "--preset", "tiny", "--data", "nowhere"],
        "nowhere: no such folder",
    ),
    (
        "nothing to evaluate",
        ["eval", "--preset", "tiny"],
        "say what to evaluate: METHOD, --weights RUN_OR_FILE or --features FILE",
    ),
    (
        "weights of no run",
        ["eval", "--weights", "0123456789ab", "--data", "TINY"],
        "0123456789ab is no run of",
    ),
    (
        "weights that are nowhere",
        ["eval", "--weights", "nowhere.pt", "--data", "TINY"],
        "nowhere.pt is no run of",
    ),
    (
        "weights of an unknown network",
        ["eval", "--weights", "TINY/manifest.json", "--data", "TINY"],
        "manifest.json is no checkpoint that can be read",
    ),
    (
        "a setting of weights that know their own",
        ["eval", "--weights", "abcd", "--set", "lr=1"],
        "--set lr: a run knows its own settings",
    ),
    (
        "a layout that is none",
        [
            "train",
            "baseline",
            "--preset",
            "tiny",
            "--data",
            "TINY",
            "--set",
            "layout=mars",
        ],
        "unknown layout 'mars'; known: auto",
    ),
    (
        "a layout that is not there",
        [
            "train",
            "baseline",
            "--preset",
            "tiny",
            "--data",
            "TINY",
            "--set",
            "layout=regdb",
        ],
        "(hitsz-vcm), not regdb",
    ),
    (
        "a strictness that is none",
        [
            "train",
            "baseline",
            "--preset",
            "tiny",
            "--data",
            "TINY",
            "--set",
            "strict=perhaps",
        ],
        "strict='perhaps'",
    ),
    (
        "foreign frames in another way",
        [
            "train",
            "baseline",
            "--preset",
            "tiny",
            "--data",
            "TINY",
            "--set",
            "foreign=move",
        ],
        "foreign='move'",
    ),
    (
        "no weights to evaluate",
        ["eval", "iban", "--preset", "tiny", "--data", "TINY"],
        "the weights of this run are not on this machine",
    ),
    (
        "unknown table",
        ["ablate", "baseline", "--tables", "Table 99"],
        "no table 'Table 99'",
    ),
    (
        "workers below none",
        ["ablate", "baseline", "--workers", "-1"],
        "--workers: '-1' must be an integer >= 0",
    ),
    (
        "nothing to verify",
        ["verify", "--sample", "0"],
        "--sample: '0' must be an integer >= 1",
    ),
    (
        "synthetic seed below 0",
        ["synth", "new", "--preset", "tiny", "--seed", "-1"],
        "--seed: '-1' must be an integer >= 0",
    ),
    (
        "synthetic workers below 1",
        ["synth", "new", "--preset", "tiny", "--workers", "0"],
        "--workers: '0' must be an integer >= 1",
    ),
    (
        "unknown set to write",
        ["synth", "new", "--preset", "huge"],
        "no synthetic preset 'huge'; there are tiny, half, standard, full",
    ),
    (
        "unknown knob of a world",
        ["synth", "new", "--preset", "tiny+colour=1"],
        "no knob 'colour' in the world 'colour=1'; there are bad_frames",
    ),
    (
        "dose out of range",
        ["synth", "new", "--preset", "tiny+bars=0.9"],
        "bars=0.9 of a world must be from 0 to 0.5",
    ),
    (
        "a world of no set",
        ["train", "baseline", "--preset", "tiny", "--set", "source=tiny+tied=2"],
        "tied=2 of a world must be from 0 to 1",
    ),
    (
        "stride below 0",
        ["train", "baseline", "--preset", "tiny", "--set", "stride=-1"],
        "stride=-1 must be at least 0",
    ),
    (
        "one field set twice",
        ["train", "baseline", "--dry-run", "--set", "lr=0.1", "lr=0.2"],
        "--set: lr is set twice",
    ),
    (
        "one field in two options",
        ["train", "baseline", "--dry-run", "--set", "lr=0.1", "--set", "lr=0.1"],
        "--set: lr is set twice",
    ),
    (
        "an option of a reader set twice",
        ["check", "new", "--no-images", "--set", "trial=3", "trial=4"],
        "--set: trial is set twice",
    ),
    *(
        (
            f"no device of that name for {name}",
            [*name.split(), "--preset", "tiny", "--dry-run", "--device", "banana"],
            "banana",
        )
        for name in ("tune baseline", "worlds gap", "budgets mitml", "rates")
    ),
    (
        "unknown world",
        ["worlds", "moon", "--preset", "tiny"],
        "no world 'moon': choose from bad-frames, gap, time, place, bars",
    ),
    (
        "unknown method at other lengths",
        ["budgets", "moon", "--preset", "tiny"],
        "no method 'moon'",
    ),
    (
        "unknown method at another rate",
        ["rates", "iban", "--preset", "tiny"],
        "no idea of iban is trained at another rate: choose from baseline, di2l",
    ),
    (
        "other lengths of a preset that counts epochs",
        ["budgets", "mitml", "--preset", "paper"],
        "preset paper counts epochs",
    ),
    (
        "unknown layout to write",
        ["synth", "new", "--layout", "voc"],
        "--layout: invalid choice: 'voc'",
    ),
    (
        "the set of another seed",
        ["synth", "TINY", "--preset", "tiny", "--seed", "5"],
        "holds another synthetic set (seed 0, not 5)",
    ),
    (
        "a folder of something else",
        ["synth", ".", "--preset", "tiny"],
        "is not empty and holds no synthetic set (cache, runs)",
    ),
    (
        "a layout among the options of a reader",
        ["check", "TINY", "--set", "layout=regdb"],
        "--set cannot change layout: give it as ROOT, --layout",
    ),
    (
        "a field called config",
        ["train", "baseline", "--preset", "tiny", "--set", "config=1"],
        "baseline has no option config",
    ),
    (
        "an unknown precision",
        ["train", "baseline", "--preset", "tiny", "--set", "precision=16-mixed"],
        "precision='16-mixed' must be",
    ),
    (
        "options without slurm",
        ["ablate", "baseline", "--preset", "tiny", "--options", "folder=x"],
        "options are parameters of slurm jobs, not of 'here'",
    ),
    (
        "slurm where there is none",
        [
            "ablate",
            "baseline",
            "--preset",
            "tiny",
            "--executor",
            "slurm",
            "--options",
            "workers=3",
        ],
        'Could not detect "srun"',
    ),
    (
        "an address that is none",
        ["ablate", "baseline", "--preset", "tiny", "--executor", "dask://a:b"],
        "no dask scheduler answers at tcp://a:b",
    ),
    (
        "an executor that is none",
        ["ablate", "baseline", "--preset", "tiny", "--executor", "cloud"],
        "no executor 'cloud': choose from here, processes",
    ),
    (
        "a device to evaluate on",
        ["eval", "baseline", "--preset", "tiny", "--device", "tpu"],
        "no device 'tpu'",
    ),
    ("a device to verify on", ["verify", "--device", "tpu"], "no device 'tpu'"),
    (
        "a scene without an end",
        [
            "scene",
            "night.mp4",
            "--modality",
            "ir",
            "--preset",
            "tiny",
            "--frames",
            "9" * 15,
        ],
        "allocate",
    ),
    (
        "a detector that is none",
        [
            "tracklets",
            "TINY/manifest.json",
            "--out",
            "x",
            "--camera",
            "1",
            "--modality",
            "ir",
        ],
        "manifest.json cannot be opened",
    ),
    (
        "lists in a file of no picture",
        ["search", "night.mp4", "--modality", "ir", "--figure", "lists.doc"],
        "'lists.doc' must end in .png, .pdf or .svg",
    ),
    (
        "a scene of nobody",
        [
            "scene",
            "night.mp4",
            "--modality",
            "ir",
            "--preset",
            "tiny",
            "--people",
            "9999",
        ],
        "the synthetic preset 'tiny' has no identity 9999",
    ),
    (
        "a scene in a file of no video",
        ["scene", "night.txt", "--modality", "ir", "--preset", "tiny", "--frames", "2"],
        "night.txt: its name must end in .mp4",
    ),
    (
        "a video that is nowhere",
        ["search", "night.mp4", "--modality", "ir", "--preset", "tiny"],
        "night.mp4",
    ),
    (
        "a video searched by nothing",
        ["search", "TINY/manifest.json", "--modality", "ir", "--preset", "tiny"],
        "manifest.json cannot be opened: invalid data",
    ),
    (
        "the switches of nothing",
        ["switches", "resnet"],
        "no method 'resnet': choose from baseline",
    ),
    (
        "unknown option of a reader",
        ["check", "TINY", "--set", "colour=1"],
        "hitsz-vcm has no option 'colour'",
    ),
):

    @command(name, 2, *words)
    def _(folder, tiny, arguments=arguments):
        return [a.replace("TINY", str(tiny)) for a in arguments]


def drawn(folder):
    """A short film of a drawn scene."""
    assert (
        main(
            [
                "scene",
                str(folder / "night.mp4"),
                "--modality",
                "ir",
                "--preset",
                "tiny",
                "--people",
                "503",
                "--frames",
                "40",
            ]
        )
        == 0
    )
    return folder / "night.mp4"


@command(
    "a video that is cut off, found before anything is trained", 2, "cut.mkv is cut off"
)
def _(folder, tiny):
    from vvi.data.video import open_video, write_video

    whole = write_video(folder / "whole.mkv", open_video(drawn(folder))).read_bytes()
    return [
        "search",
        text(folder, "cut.mkv", whole[: len(whole) // 2]),
        "--modality",
        "ir",
        "--preset",
        "tiny",
        "--data",
        tiny,
    ]


@command("a video that is empty", 2, "night.mp4 is empty")
def _(folder, tiny):
    return [
        "search",
        text(folder, "night.mp4", b""),
        "--modality",
        "ir",
        "--preset",
        "tiny",
        "--data",
        tiny,
    ]


for name in ("detector=fcos", "detector-weights=f.pth", "height=32"):
    option, _, value = name.partition("=")

    @command(f"--{option} for pictures", 2, f"--{option} would have no effect", "video")
    def _(folder, tiny, option=option, value=value):
        crops = folder / "crops"
        crops.mkdir()
        embed = ["embed", crops, "--modality", "ir", "--weights", "iban"]
        return [*embed, f"--{option}", value]


for name in (
    "ablate baseline --dry-run --collect",
    "tune baseline --dry-run --collect",
    "rates --dry-run --collect",
    "worlds --dry-run --collect",
):

    @command(f"two tasks at once: {name}", 2, "not allowed with argument --dry-run")
    def _(folder, tiny, name=name):
        return [*name.split(), "--preset", "tiny"]


@command("a device for features", 2, "--device would have no effect", "--features")
def _(folder, tiny):
    return ["eval", "--features", folder / "f.npz", "--device", "cpu"]


@command("an unknown detector", 2, "no detector 'yolo'")
def _(folder, tiny):
    return [
        "tracklets",
        drawn(folder),
        "--out",
        folder / "set",
        "--camera",
        1,
        "--modality",
        "ir",
        "--detector",
        "yolo",
    ]


@command("weights of a detector that are nowhere", 2, "nowhere.pth")
def _(folder, tiny):
    return [
        "tracklets",
        drawn(folder),
        "--out",
        folder / "set",
        "--camera",
        1,
        "--modality",
        "ir",
        "--weights",
        folder / "nowhere.pth",
    ]


@command("real data nowhere", 2, "nowhere: no such folder")
def _(folder, tiny):
    os.environ["VVI_DATA"] = str(folder / "nowhere")
    return ["train", "baseline", "--preset", "paper", "--device", "cpu"]


@command(
    "a file where the set goes",
    2,
    "cannot write",
    "taken",
    "what was there is as it was",
)
def _(folder, tiny):
    return ["synth", text(folder, "taken"), "--preset", "tiny"]


@command("a folder below a file", 2, "cannot write", "taken")
def _(folder, tiny):
    return ["synth", text(folder, "taken") / "set", "--preset", "tiny"]


@command("a damaged manifest", 2, "manifest.json is damaged", "delete the folder")
def _(folder, tiny):
    (folder / "set").mkdir()
    text(folder / "set", "manifest.json", b"{")
    return ["synth", folder / "set", "--preset", "tiny"]


@command("runs in a file", 2, "VVI_RUNS=", "taken is a file: set it to a folder")
def _(folder, tiny):
    os.environ["VVI_RUNS"] = str(
        text(folder, "taken")
    )  # the fixture puts back what was there
    return ["train", "baseline", "--preset", "tiny", "--data", tiny, "--device", "cpu"]


@command("a repository that is nowhere", 2, "VVI_ROOT=nowhere is no folder")
def _(folder, tiny):
    os.environ["VVI_ROOT"] = "nowhere"
    return ["verify"]


@command(
    "a folder whose name is not UTF-8", 2, "caf\\xe9: this name is not UTF-8: rename"
)
def _(folder, tiny):
    root = folder / os.fsdecode(b"caf\xe9")
    root.mkdir()
    return ["check", root]


@command("a folder of no set", 2, "set: no known layout; expected list files in info/")
def _(folder, tiny):
    (folder / "set").mkdir()
    return [
        "train",
        "baseline",
        "--preset",
        "tiny",
        "--data",
        folder / "set",
        "--device",
        "cpu",
    ]


@command(
    "a set without some of its lists",
    2,
    "missing 2 of 5 required files: train_name.txt, query_IDX.txt",
)
def _(folder, tiny):
    root = toys.vcm(folder / "set")
    for name in ("train_name.txt", "query_IDX.txt"):
        (root / "info" / name).unlink()
    return ["train", "baseline", "--preset", "tiny", "--data", root, "--device", "cpu"]


@command(
    "a list that leaves the root",
    2,
    "train_name.txt, line 4: '../../etc/passwd' leaves the data folder",
)
def _(folder, tiny):
    root = toys.vcm(folder / "set")
    toys.replace_line(root / "info" / "train_name.txt", 4, "../../etc/passwd")
    return [
        "train",
        "baseline",
        "--preset",
        "tiny",
        "--data",
        root,
        "--set",
        "min_seq_len=2",
    ]


@command(
    "a set that is doubtful",
    2,
    "a link that leaves the data folder",
    "--set strict=false reads on",
)
def _(folder, tiny):
    (folder / "set").mkdir()
    for entry in tiny.iterdir():
        (folder / "set" / entry.name).symlink_to(entry)
    return [
        "train",
        "baseline",
        "--preset",
        "tiny",
        "--data",
        folder / "set",
        "--device",
        "cpu",
    ]


@command(
    "an odd set that is read strictly",
    2,
    "lines with tabs",
    "refused because strict=true",
)
def _(folder, tiny):
    root = toys.vcm(folder / "set")
    rows = root / "info" / "track_train_info.txt"
    rows.write_text(rows.read_text().replace(" ", "\t"))
    return [
        "train",
        "baseline",
        "--preset",
        "tiny",
        "--data",
        root,
        "--set",
        "strict=true",
        "min_seq_len=2",
    ]


@command(
    "an option that the layout does not have",
    2,
    "buptcampus has no option 'foreign'; it has auxiliary, strict",
)
def _(folder, tiny):
    return [
        "train",
        "baseline",
        "--preset",
        "tiny",
        "--data",
        toys.campus(folder / "set"),
        "--set",
        "foreign=drop",
    ]


@command(
    "a set whose images are not where its lists say",
    2,
    "set: listed files that do not exist: ",
    "put them back or take them off the lists (`vvi check",
)
def _(folder, tiny):
    shutil.copytree(tiny / "info", folder / "set")
    return ["train", "baseline", "--preset", "tiny", "--data", folder / "set"]


@case("crops", "a picture that is a link to nothing", DataError, "b.jpg is a link to")
def _(folder):
    (folder / "own").mkdir()
    (folder / "own" / "b.jpg").symlink_to("/nowhere/b.jpg")
    return lambda: crops.read(folder / "own", "ir")


@case("crops", "as phones write them", DataError, "save IMG_1.HEIC and its like as")
def _(folder):
    (folder / "own").mkdir()
    text(folder / "own", "IMG_1.HEIC", b"\0\0\0\x18ftypheic")
    return lambda: crops.read(folder / "own", "ir")


def sides_of(folder, gallery, **arrays):
    """Two files of features: a good query, and this gallery."""
    query = np.eye(3)[:2]
    features_of(folder, "q.npz", features=query, ids=[0, 1], cams=[1, 1])
    return [folder / "q.npz", features_of(folder, "g.npz", features=gallery, **arrays)]


ODD_GALLERIES = {
    "that is empty": (np.zeros((0, 3)), "the gallery (", "g.npz) is empty"),
    "of equal rows": (np.ones((3, 3)), "g.npz) are all equal: they tell nobody apart"),
    "of infinite identities": (np.eye(3), "g.npz: no identity in row(s) 2"),
}
for name, (values, *words) in ODD_GALLERIES.items():

    @command(f"features, a gallery {name}", 2, *words)
    def _(folder, tiny, values=values):
        ids = np.array([0, 1, np.inf])[: len(values)]
        files = sides_of(folder, values, ids=ids, cams=np.full(len(values), 2))
        return ["eval", "--features", *files]


@command("a gallery that is the query alone", 2, "the gallery holds nothing but a.jpg")
def _(folder, tiny):
    features_of(
        folder,
        "q.npz",
        "name\na.jpg\n",
        features=np.ones((1, 3)),
        about=np.array(json.dumps({"source": str(folder)})),
    )
    return ["rank", folder / "q.npz", folder / "q.npz"]


@command("a set of another project", 2, "this looks like LLCM, which is not read here")
def _(folder, tiny):
    for name in ("vis", "nir", "idx"):
        (folder / "set" / name).mkdir(parents=True)
    return ["train", "baseline", "--preset", "tiny", "--data", folder / "set"]


@command(
    "several sets of which none is meant",
    2,
    "holds several sets, a (regdb), b (buptcampus): name the folder of one",
)
def _(folder, tiny):
    toys.regdb(folder / "sets" / "a"), toys.campus(folder / "sets" / "b")
    return ["train", "baseline", "--preset", "tiny", "--data", folder / "sets"]


@command(
    "more identities than a set has",
    2,
    "a batch needs 4 identities, the training set has 2",
)
def _(folder, tiny):
    return [
        "train",
        "baseline",
        "--preset",
        "tiny",
        "--data",
        toys.vcm(folder / "set", images=True),
        "--device",
        "cpu",
        "--set",
        "min_seq_len=2",
    ]


for name, make, options, *words in (
    ("nothing there", lambda root: None, [], "no such folder"),
    ("an empty folder", lambda root: root.mkdir(), [], "no known layout"),
    ("a file", lambda root: root.write_text("x"), [], "not a folder"),
    (
        "a list that is not UTF-8",
        lambda root: (toys.vcm(root) / "info" / "train_name.txt").write_bytes(
            b"a\n\xff\n"
        ),
        ["--set", "min_seq_len=2"],
        "line 2: undecodable text",
    ),
    (
        "a minimum that is a word",
        lambda root: toys.vcm(root),
        ["--set", "min_seq_len=two"],
        "min_seq_len must be an integer >= 1, got 'two'",
    ),
    (
        "a trial that is true",
        lambda root: toys.regdb(root),
        ["--set", "trial=true"],
        "trial must be in 1..10, got True",
    ),
    (
        "a campus whose index is damaged",
        lambda root: (toys.campus(root) / "data_paths.json").write_text("{"),
        [],
        "data_paths.json: cannot be read as JSON",
    ),
    (
        "a thermal image of floats",
        lambda root: floats(toys.regdb(root)),
        [],
        "cannot be decoded: floating-point numbers",
    ),
    (
        "a truncated image",
        lambda root: truncated(toys.regdb(root)),
        [],
        "cannot be decoded: image file is truncated",
    ),
    (
        "an image linked to elsewhere",
        lambda root: astray(toys.vcm(root, images=True)),
        ["--set", "min_seq_len=2"],
        "1.jpg: a link that leaves the data folder",
    ),
):

    @command(f"check, {name}", 1, *words)
    def _(folder, tiny, make=make, options=options):
        make(folder / "set")
        return ["check", folder / "set", *options]


def floats(root):
    picture(
        next((root / "Thermal").rglob("*.bmp")).parent,
        np.ones((4, 4), np.float32),
        "TIFF",
        next((root / "Thermal").rglob("*.bmp")).name,
    )


def truncated(root):
    image = next(root.rglob("*.bmp"))
    image.write_bytes(image.read_bytes()[:200])


def astray(root):
    image = root / "0001" / "rgb" / "D3" / "1.jpg"
    image.unlink()
    image.symlink_to("/etc/passwd")
