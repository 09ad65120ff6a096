"""Which set a folder holds: recognised by several entries; other sets are named and refused."""

from __future__ import annotations

import os

import pytest
import toys

from vvi.data import layout as layouts
from vvi.data.layout import (
    detect,
    evidence,
    find_sets,
    foreign_set,
    has_layout,
    locate,
)
from vvi.types import DataError

WRITE = {
    "hitsz-vcm": toys.vcm,
    "sysu-mm01": toys.sysu,
    "regdb": toys.regdb,
    "buptcampus": toys.campus,
}


@pytest.mark.parametrize("layout", WRITE)
def test_a_set_is_told_by_more_than_one_entry(tmp_path, layout):
    root = WRITE[layout](tmp_path)
    assert detect(root) == layout and has_layout(root, layout)
    assert len(evidence(root)[layout]) >= 2
    others = {name for name in WRITE if has_layout(root, name)}
    assert others == {layout}


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        ("train_name.txt", "hitsz-vcm"),
        ("info/track_train_info.txt", "hitsz-vcm"),
        ("cam1/", "sysu-mm01"),
        ("exp/", "sysu-mm01"),
        ("Thermal/", "regdb"),
        ("idx/train_visible_1.txt", "regdb"),
        ("data_paths.json", "buptcampus"),
        ("DATA/", "buptcampus"),
    ],
)
def test_one_entry_alone_tells_nothing(tmp_path, entry, kind):
    path = tmp_path / entry
    path.parent.mkdir(exist_ok=True)
    path.mkdir() if entry.endswith("/") else path.touch()
    with pytest.raises(DataError, match="no known layout"):
        detect(tmp_path)
    assert not has_layout(tmp_path, kind)


def test_a_set_that_lacks_something_is_told_all_the_same(tmp_path):
    """So that its reader can say what is missing."""
    root = toys.vcm(tmp_path / "vcm")
    (root / "info" / "query_IDX.txt").unlink()
    assert detect(root) == "hitsz-vcm"
    root = toys.sysu(tmp_path / "sysu")
    (root / "cam3").rename(root / "gone")
    assert detect(root) == "sysu-mm01"


# entries of sets that are not read here, and how they are called
OTHERS = {
    "MARS": ["bbox_train/0001/0001C1T0001F001.jpg", "info/train_name.txt"],
    "LLCM": ["vis/0001/1.jpg", "nir/0001/1.jpg", "idx/train_vis.txt"],
    "Market-1501": ["bounding_box_train/0002_c1s1_000451_03.jpg", "query/1.jpg"],
    "DukeMTMC-reID": ["bounding_box_train/0002_c1_f0044158.jpg"],
    "Market-1501, or a set in its form": ["bounding_box_test/x.jpg"],
    "iLIDS-VID": ["i-LIDS-VID/sequences/cam1/person001/1.png"],
    "PRID-2011": ["multi_shot/cam_a/person_0001/0001.png"],
    "MSMT17": ["list_train.txt", "list_gallery.txt"],
    "LS-VID": ["tracklet_train/0001/1.jpg"],
    "DukeMTMC-VideoReID": ["train/0001/1.jpg", "gallery/1.jpg", "query/1.jpg"],
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_set_of_another_project_is_refused_by_name(tmp_path, name):
    for entry in OTHERS[name]:
        path = tmp_path / entry
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert foreign_set(tmp_path) == name
    with pytest.raises(DataError, match=f"this looks like {name}, which is not read"):
        detect(tmp_path)
    with pytest.raises(DataError, match=f"this looks like {name}"):
        locate(tmp_path)


def test_a_folder_that_is_nearly_a_set_is_told_what_it_has(tmp_path):
    toys.write_lines(tmp_path / "info" / "train_name.txt", ["x"])
    with pytest.raises(DataError, match="something of hitsz-vcm by train_name.txt"):
        detect(tmp_path)


@pytest.fixture
def several(tmp_path):
    for name, layout in (("a", "regdb"), ("b", "buptcampus"), ("c", "hitsz-vcm")):
        WRITE[layout](tmp_path / name)
    (tmp_path / "notes").mkdir()
    (tmp_path / "readme.txt").touch()
    return tmp_path


def test_of_several_sets_the_one_that_is_asked_for_is_meant(several):
    assert {p.name: layout for p, layout in find_sets(several).items()} == {
        "a": "regdb",
        "b": "buptcampus",
        "c": "hitsz-vcm",
    }
    for name, layout in (("a", "regdb"), ("b", "buptcampus"), ("c", "hitsz-vcm")):
        assert locate(several, layout) == (several / name, layout)
        assert locate(several / name) == (several / name, layout)
    with pytest.raises(
        DataError, match="holds several sets, a .regdb., b .buptcampus."
    ):
        locate(several)
    with pytest.raises(DataError, match="holds a .regdb., .*, not sysu-mm01"):
        locate(several, "sysu-mm01")


def test_the_usual_layout_gives_way_to_the_one_set_that_is_there(tmp_path):
    toys.sysu(tmp_path / "people")
    assert locate(tmp_path, "hitsz-vcm") == (tmp_path / "people", "sysu-mm01")
    assert locate(tmp_path / "people", "hitsz-vcm")[1] == "sysu-mm01"
    with pytest.raises(DataError, match="holds people .sysu-mm01., not regdb"):
        locate(tmp_path / "people", "regdb")


def test_two_copies_side_by_side_are_not_chosen_from(tmp_path):
    for name in ("old", "new"):
        toys.vcm(tmp_path / name)
    with pytest.raises(DataError, match="several sets, new .hitsz-vcm., old"):
        locate(tmp_path, "hitsz-vcm")


def test_a_folder_that_is_two_sets_is_read_as_what_is_asked_for(tmp_path):
    toys.vcm(tmp_path)
    toys.regdb(tmp_path)
    assert locate(tmp_path, "regdb") == (tmp_path, "regdb")
    with pytest.raises(DataError, match="several layouts at once"):
        locate(tmp_path)


def test_an_unknown_layout_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match="unknown layout 'mars'; known: auto, hitsz-vcm"
    ):
        locate(tmp_path, "mars")


def test_a_folder_that_cannot_be_looked_into_hides_no_set(tmp_path, monkeypatch):
    root = toys.campus(tmp_path / "campus", images=False)
    (tmp_path / "lost+found").mkdir()
    access = os.access
    refused = tmp_path / "lost+found"
    monkeypatch.setattr(
        os, "access", lambda path, mode: path != refused and access(path, mode)
    )
    monkeypatch.setattr(layouts, "_is_set", _refusing(refused, layouts._is_set))
    assert layouts.find_sets(tmp_path) == {root: "buptcampus"}


def _refusing(folder, is_set):
    def asked(path):
        if path == folder:
            raise PermissionError(13, "Permission denied")
        return is_set(path)

    return asked
