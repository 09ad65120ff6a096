import re
import subprocess
import sys

import pytest
import toys

from vvi.data import open_dataset, validate
from vvi.data.layout import detect
from vvi.types import DataError


@pytest.mark.parametrize(
    ("layout", "write"),
    [("hitsz-vcm", toys.vcm), ("sysu-mm01", toys.sysu), ("regdb", toys.regdb)],
)
def test_each_layout_is_recognised(tmp_path, layout, write):
    write(tmp_path)
    options = {"min_seq_len": 2} if layout == "hitsz-vcm" else {}
    assert open_dataset(tmp_path, **options).layout == layout
    assert open_dataset(tmp_path, layout=layout, **options) == open_dataset(
        tmp_path, **options
    )


def test_lists_beside_the_images_are_recognised(tmp_path):
    assert detect(toys.vcm(tmp_path, info=False)) == "hitsz-vcm"


def test_a_copy_below_ori_data_is_recognised(tmp_path):
    toys.sysu(tmp_path / "ori_data")
    assert open_dataset(tmp_path).layout == "sysu-mm01"


def test_options_reach_the_reader(tmp_path):
    toys.sysu(tmp_path)
    assert len(open_dataset(tmp_path, mode="indoor", trial=3).gallery("ir2vis")) == 2


def test_an_option_of_another_layout_is_refused(tmp_path):
    toys.regdb(tmp_path)
    with pytest.raises(TypeError, match="regdb has no option 'mode'; it has trial"):
        open_dataset(tmp_path, mode="all")


def test_an_unknown_layout_is_refused(tmp_path):
    with pytest.raises(
        ValueError,
        match="unknown layout 'market'; known: auto, hitsz-vcm, sysu-mm01, regdb, buptcampus",
    ):
        open_dataset(tmp_path, layout="market")


def test_a_folder_of_no_layout_is_refused(tmp_path):
    with pytest.raises(
        DataError, match="no known layout; expected list files in info/"
    ):
        open_dataset(tmp_path)


def test_a_folder_of_two_layouts_is_refused(tmp_path):
    toys.vcm(tmp_path)
    toys.regdb(tmp_path)
    with pytest.raises(
        DataError,
        match=r"several layouts at once \(hitsz-vcm: .*; regdb: idx/.*, Visible, Thermal\); say which with layout=",
    ):
        open_dataset(tmp_path)
    assert open_dataset(tmp_path, layout="regdb").layout == "regdb"


def test_the_generated_set_opens_without_options(tiny_root):
    ds = open_dataset(tiny_root)
    assert ds.layout == "hitsz-vcm"
    assert ds.problems == ()
    for direction in ("ir2vis", "vis2ir"):
        assert {t.identity for t in ds.query(direction)} & {
            t.identity for t in ds.gallery(direction)
        }


def test_reading_needs_no_torch():
    code = "import sys, vvi.data, vvi.data.check; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.fixture
def vcm(tmp_path):
    return toys.vcm(tmp_path, images=True)


def test_sound_images_are_valid(vcm, tmp_path):
    assert validate(open_dataset(vcm, min_seq_len=2)) == []
    assert validate(open_dataset(toys.regdb(tmp_path / "regdb"))) == []


def test_every_bad_image_is_named_with_its_fault(vcm):
    folder = vcm / "0001" / "rgb" / "D3"
    (folder / "1.jpg").unlink()
    (folder / "6.jpg").write_bytes(b"")
    (folder / "11.jpg").write_bytes((folder / "11.jpg").read_bytes()[:-100])
    (vcm / "0510" / "ir" / "D3" / "1.jpg").write_bytes(b"not an image")
    problems = validate(open_dataset(vcm, min_seq_len=2))
    assert [p.split(":")[0].removeprefix(f"{vcm}/") for p in problems] == [
        "0001/rgb/D3/1.jpg",
        "0001/rgb/D3/6.jpg",
        "0001/rgb/D3/11.jpg",
        "0510/ir/D3/1.jpg",
    ]
    says = [
        "does not exist",
        "is empty",
        "cannot be decoded: .*truncated",
        "cannot be decoded: no image",
    ]
    assert [
        bool(re.search(s, problem)) for s, problem in zip(says, problems, strict=True)
    ] == [True] * 4
    assert "(identity 1, camera 3, vis)" in problems[0]


def test_a_folder_in_place_of_an_image_is_named(vcm):
    path = vcm / "0001" / "rgb" / "D3" / "1.jpg"
    path.unlink()
    path.mkdir()
    assert "cannot be decoded" in validate(open_dataset(vcm, min_seq_len=2))[0]
