"""A folder of one's own pictures becomes tracklets in the order of its names."""

import warnings

import numpy as np
import pytest
from PIL import Image

from vvi.data import crops
from vvi.types import DataError


def picture(path, kind=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 4, 3), 90, np.uint8)).save(path, kind)
    return path


def test_pictures_at_the_top_are_tracklets_of_one_frame(tmp_path):
    for name in ("b 1.png", "Ünal_02.JPG", "a10.jpeg", "a9.bmp", "c.webp"):
        picture(tmp_path / name, "PNG" if name.endswith("JPG") else None)
    found, table = crops.read(tmp_path, "ir", camera=3)
    assert list(table.name) == [
        "a9.bmp",
        "a10.jpeg",
        "b 1.png",
        "c.webp",
        "Ünal_02.JPG",
    ]
    assert [t.paths[0].name for t in found] == list(table.name) and {
        len(t) for t in found
    } == {1}
    assert {(t.modality, t.camera) for t in found} == {("ir", 3)}
    assert (
        set(table.identity) == {""}
        and set(table.camera) == {"3"}
        and set(table.frames) == {1}
    )


def test_each_folder_is_a_tracklet_and_frames_go_by_their_numbers(tmp_path):
    for frame in (10, 2, 1):
        picture(tmp_path / "walk" / f"{frame}.jpg")
    picture(tmp_path / "stand" / "1.jpg")
    found, table = crops.read(tmp_path, "vis")
    assert list(table.name) == ["stand", "walk"] and list(table.frames) == [1, 3]
    assert [p.name for p in found[1].paths] == ["1.jpg", "2.jpg", "10.jpg"]
    assert set(table.identity) == {""} and set(table.camera) == {""}


def test_in_folders_of_people_the_first_folder_is_the_identity(tmp_path):
    for name in ("anna/1/1.jpg", "anna/2/1.jpg", "10/x/y/1.jpg", "9/1/1.jpg"):
        picture(tmp_path / name)
    _, table = crops.read(tmp_path, "vis")
    assert list(zip(table.name, table.identity, strict=True)) == [
        ("9/1", "9"),
        ("10/x/y", "10"),
        ("anna/1", "anna"),
        ("anna/2", "anna"),
    ]


def test_a_single_picture_will_do(tmp_path):
    found, table = crops.read(picture(tmp_path / "query 1.png"), "ir")
    assert len(found) == 1 and list(table.name) == ["query 1.png"]


def test_litter_is_passed_by_and_what_is_no_picture_is_named(tmp_path):
    picture(tmp_path / "a.jpg")
    picture(tmp_path / "@eaDir" / "a.jpg")
    picture(tmp_path / ".hidden" / "a.jpg")
    picture(tmp_path / "no_suffix", "JPEG")
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini"):
        (tmp_path / name).write_bytes(b"x")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(crops.read(tmp_path, "ir")[1].name) == ["a.jpg", "no_suffix"]
    (tmp_path / "notes.txt").write_text("x")
    with pytest.warns(
        UserWarning, match="1 files of .* are no pictures and left out: notes.txt"
    ):
        crops.read(tmp_path, "ir")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda root: None, "no such file or folder"),
        (lambda root: root.mkdir(), "holds no pictures"),
        (
            lambda root: (
                (root / "Thumbs.db").parent.mkdir()
                or (root / "Thumbs.db").write_bytes(b"x")
            ),
            "holds no pictures",
        ),
        (
            lambda root: (
                (root / "info").mkdir(parents=True)
                or (root / "info" / "track_test_info.txt").write_text("x")
            ),
            "is a data set .*vvi eval METHOD --data",
        ),
        (
            lambda root: (
                (root / "idx").mkdir(parents=True)
                or (root / "idx" / "test_visible_1.txt").write_text("x")
            ),
            "is a data set",
        ),
        (
            lambda root: root.mkdir() or (root / "data_paths.json").write_text("{}"),
            "is a data set",
        ),
    ],
)
def test_what_is_no_folder_of_pictures_is_called_what_it_is(make, said, tmp_path):
    make(tmp_path / "set")
    with pytest.raises(DataError, match=said):
        crops.read(tmp_path / "set", "ir")


def test_a_modality_of_another_name_is_refused(tmp_path):
    with pytest.raises(ValueError, match="modality 'thermal': choose from vis, ir"):
        crops.read(tmp_path, "thermal")


def test_tracklets_behind_links_are_read_and_a_circle_of_links_ends(tmp_path):
    for frame in (1, 2):
        picture(tmp_path / "disk" / "walk" / f"{frame}.jpg")
    own = tmp_path / "own"
    own.mkdir()
    (own / "anna").symlink_to(tmp_path / "disk")
    (own / "circle").symlink_to(own)
    _, table = crops.read(own, "vis")
    assert list(table.name) == ["anna/walk"] and list(table.frames) == [2]
    assert list(table.identity) == ["anna"]
