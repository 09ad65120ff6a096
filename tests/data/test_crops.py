"""A folder of one's own pictures becomes tracklets in the order of its names."""

import os
import warnings

import numpy as np
import pytest
from PIL import Image

from vvi.data import crops
from vvi.data.loader import decode
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


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("notes.txt", b"P1 503\nP2 504"),
        ("plan.txt", b"P1 4 4\nto the gate"),
        ("grey.txt", b"P5 40 40 255\nP6"),
        ("features.h5", b"\x89HDF\r\n\x1a\n" + bytes(64)),
        ("fig.eps", EPS),
        ("weather.grib", b"GRIB" + b"\0\0\0\x01" * 8),
        ("film.mpg", b"\0\0\x01\xb3\x14\x00\xf0\x13" + bytes(64)),
        ("no_end", b"\x89PNG\r\n\x1a\n"),
    ],
)
def test_a_file_of_something_else_is_left_out_whatever_its_first_bytes_are(
    name, content, tmp_path
):
    picture(tmp_path / "a.jpg")
    (tmp_path / name).write_bytes(content)
    with pytest.warns(UserWarning, match=f"no pictures and left out: {name}"):
        assert list(crops.read(tmp_path, "ir")[1].name) == ["a.jpg"]


@pytest.mark.parametrize(
    "kind", ["JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF", "PPM", "JPEG2000"]
)
def test_a_picture_whose_name_does_not_say_so_is_known_by_its_content(kind, tmp_path):
    assert crops.is_picture(picture(tmp_path / "frame_0001", kind))


@pytest.mark.parametrize("name", ["a.jpg", "a"])
def test_a_picture_that_is_cut_off_is_no_foreign_file(name, tmp_path):
    path = tmp_path / name
    noise = np.random.default_rng(0).integers(0, 255, (64, 32, 3), np.uint8)
    Image.fromarray(noise).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:-1000])
    found, _ = crops.read(tmp_path, "ir")
    with pytest.raises(DataError, match=f"{path} cannot be decoded"):
        decode(found[0].paths[0], 8, 4)


def test_a_folder_cut_from_videos_leads_to_the_video(tmp_path):
    (tmp_path / "info").mkdir()
    (tmp_path / "info" / "track_test_info.txt").touch()
    (tmp_path / "provisional.json").write_text("{}")
    said = r"cut from videos \(it has provisional.json\): name the .* vvi embed VIDEO"
    with pytest.raises(DataError, match=said):
        crops.read(tmp_path, "ir")


@pytest.mark.parametrize("place", ["{}.jpg", "{}/1.jpg", "anna/{}/1.jpg"])
@pytest.mark.parametrize("single", [True, False])
def test_a_name_that_is_not_utf_8_is_refused_and_shown(place, single, tmp_path):
    picture(tmp_path / "a.jpg")
    path = picture(tmp_path / place.format(os.fsdecode(b"caf\xe9")))
    with pytest.raises(DataError, match=r"caf\\xe9.*: this name is not UTF-8") as error:
        crops.read(path if single else tmp_path, "ir")
    assert str(error.value).encode(), "it can be printed"


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


@pytest.mark.parametrize("name", ["walk.gif", "walk.TIFF", "walk.webp"])
def test_a_picture_of_several_frames_is_named(name, tmp_path):
    frames = [Image.new("RGB", (4, 8), (k, k, k)) for k in (0, 90, 200)]
    kind = {"walk.TIFF": "TIFF"}.get(name)
    options = {"save_all": True, "append_images": frames[1:]}
    frames[0].save(tmp_path / name, kind, **options)
    said = f"with several frames, of which the first is read: 1, {name};"
    for source in (tmp_path, tmp_path / name):
        with pytest.warns(UserWarning, match=said):
            _, table = crops.read(source, "ir")
        assert list(table.frames) == [1]


def test_pictures_of_one_frame_are_read_without_a_word(tmp_path):
    for name in ("a.gif", "b.tiff", "c.webp", "d.png", "e.jpg"):
        picture(tmp_path / name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(crops.read(tmp_path, "ir")[0]) == 5
