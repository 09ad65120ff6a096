from pathlib import Path

import pytest
import toys

from vvi.data import regdb
from vvi.types import DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return toys.regdb(tmp_path / "regdb", images=False)


def test_the_toy_gives_its_training_items_and_the_labels_of_its_lists(root):
    ds = regdb.read(root)
    for modality in ("vis", "ir"):
        own = [t for t in ds.train if t.modality == modality]
        assert [t.identity for t in own] == [285, 117, 285, 117]
        labels = [ds.labels[t.identity] for t in own]
        assert labels == [0, 1, 0, 1]
        assert {
            label: [i for i, found in enumerate(labels) if found == label]
            for label in (0, 1)
        } == {0: [0, 2], 1: [1, 3]}
    assert [t.modality for t in ds.train] == ["vis"] * 4 + ["ir"] * 4
    assert ds.train[0].paths == (
        root / "Visible" / "285" / "male_back_v_00010_285.bmp",
    )


def test_the_toy_searches_in_both_directions(root):
    ds = regdb.read(root)
    visible, thermal = ds.query("vis2ir"), ds.query("ir2vis")
    assert [(t.identity, t.modality) for t in visible] == [(20, "vis"), (73, "vis")]
    assert [(t.identity, t.modality) for t in thermal] == [(20, "ir"), (73, "ir")]
    assert (ds.gallery("vis2ir"), ds.gallery("ir2vis")) == (thermal, visible)
    assert (ds.layout, ds.rule, ds.problems) == ("regdb", "none", ())


def test_query_and_gallery_are_of_different_cameras(root):
    ds = regdb.read(root)
    assert {t.camera for t in ds.query("ir2vis")}.isdisjoint(
        t.camera for t in ds.gallery("ir2vis")
    )


def test_each_trial_reads_its_own_lists(root):
    for name, lines in toys.REGDB.items():
        swapped = {"train": "test", "test": "train"}[name.split("_")[0]] + name[
            name.index("_") :
        ]
        toys.write_lines(root / "idx" / swapped.replace("_1", "_10"), lines)
    assert {t.identity for t in regdb.read(root, trial=10).train} == {20, 73}
    assert {t.identity for t in regdb.read(root, trial=1).train} == {285, 117}


def test_windows_line_ends_are_accepted(root):
    plain = regdb.read(root)
    for name, lines in toys.REGDB.items():
        toys.write_lines(root / "idx" / name, lines, end="\r\n")
    assert regdb.read(root) == plain


def test_backslashes_of_windows_are_read_as_slashes(root):
    plain = regdb.read(root)
    for name, lines in toys.REGDB.items():
        backslashes = [line.replace("/", "\\") for line in lines]
        toys.write_lines(root / "idx" / name, backslashes)
    assert regdb.read(root) == plain


@pytest.mark.parametrize("name", ["test_visible_1.txt", "train_thermal_1.txt"])
def test_an_image_that_is_listed_twice_counts_once_and_is_named(root, name):
    plain = regdb.read(root)
    lines = toys.REGDB[name]
    toys.write_lines(root / "idx" / name, [*lines, lines[0]])
    found = regdb.read(root)
    assert found.train == plain.train
    assert found.gallery("ir2vis") == plain.gallery("ir2vis")
    place = f"{name} line {len(lines) + 1}"
    assert found.notes == {"images listed twice, kept once": [place]}
    with pytest.raises(DataError, match="is already on line 1 "):
        regdb.read(root, strict=True)


def test_a_trial_that_is_a_text_is_shown_as_one(root):
    with pytest.raises(DataError, match=r"trial must be in 1..10, got '1'"):
        regdb.read(root, trial="1")
