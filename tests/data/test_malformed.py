"""Every malformed input is refused with one line that names the file, the line and the
text; the numbers group the cases by kind.
"""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import toys
from scipy.io import savemat

from vvi.data import open_dataset, regdb, sysu, validate, vcm
from vvi.types import DataError

TRAIN, TEST, NAMES, TEST_NAMES, QUERY = (
    "track_train_info.txt",
    "track_test_info.txt",
    "train_name.txt",
    "test_name.txt",
    "query_IDX.txt",
)

# kind, file, line, what stands there instead, what the message must say; errors however
# lenient the reader is
VCM_ERRORS = [
    (
        "1 modality digit",
        NAMES,
        3,
        "0001M3D3T1F1.jpg",
        "'0001M3D3T1F1.jpg' is no frame name",
    ),
    ("1 no track", NAMES, 3, "0001M2D3F11.jpg", "'0001M2D3F11.jpg' is no frame name"),
    (
        "1 three-digit identity",
        NAMES,
        1,
        "001M2D3T1F1.jpg",
        "'001M2D3T1F1.jpg' is no frame name",
    ),
    (
        "1 extension",
        NAMES,
        10,
        "0004M2D11T1F6.gif",
        "'0004M2D11T1F6.gif' is no frame name",
    ),
    (
        "1 trailing text",
        TEST_NAMES,
        2,
        "0503M2D3T1F6.jpg x",
        "'0503M2D3T1F6.jpg x' is no frame name",
    ),
    ("1 digits of another script", NAMES, 1, "٠٠٠١M2D3T1F1.jpg", "is no frame name"),
    ("2 four fields", TRAIN, 2, "2 4 4 1", "'2 4 4 1' is not five integers.*4 fields"),
    ("2 six fields", TRAIN, 2, "2 4 4 1 3 9", "6 fields"),
    ("2 not an integer", TEST, 6, "2 10 x 510 12", "'x' is no integer"),
    ("2 fraction", TEST, 6, "2 10 11.5 510 12", "'11.5' is no integer"),
    ("2 infinity", TEST, 6, "2 10 1.0e999 510 12", "'1.0e999' is no integer"),
    ("2 far too many digits", TRAIN, 1, "2 1 3 1 " + "3" * 5000, "is no integer"),
    ("3 start 0", TRAIN, 1, "2 0 3 1 3", "start 0 is below 1.*'2 0 3 1 3'"),
    ("3 end before start", TRAIN, 1, "2 3 1 1 3", "end 1 is before start 3"),
    (
        "3 end beyond the names",
        TRAIN,
        5,
        "2 9 11 4 11",
        "end 11 is beyond the 10 names.*'2 9 11 4 11'",
    ),
    ("5 m is 3", TRAIN, 1, "3 1 3 1 3", "m is 3, must be 1 .infrared. or 2"),
    ("5 camera 0 in a row", TRAIN, 1, "2 1 3 1 0", "camera 0"),
    (
        "5 camera 0 in a name",
        NAMES,
        1,
        "0001M2D0T1F1.jpg",
        "camera 0 in '0001M2D0T1F1.jpg'",
    ),
    (
        "7 index 0",
        QUERY,
        1,
        "0 3 4",
        "row 0 is outside 1..6; rows count from 1, so this looks like a file that counts from 0",
    ),
    ("7 negative index", QUERY, 1, "-2 3 4", "row -2 is outside 1..6"),
    ("7 index too large", QUERY, 1, "2 3 7", "row 7 is outside 1..6"),
    ("7 repeated index", QUERY, 1, "2 3 4 3", "row 3 is listed twice"),
    ("7 no integer", QUERY, 1, "2 3 4,", "'4,' is no integer"),
    ("13 blank line between names", NAMES, 5, "", "blank line"),
    ("13 blank line between rows", TRAIN, 2, "", "a blank line"),
    (
        "path with ..",
        NAMES,
        4,
        "../../secret/0001M2D3T2F16.jpg",
        "'../../secret/0001M2D3T2F16.jpg' leaves the data folder",
    ),
    (
        "absolute path",
        NAMES,
        4,
        "/etc/0001M2D3T2F16.jpg",
        "'/etc/0001M2D3T2F16.jpg' leaves the data folder",
    ),
]
# what may mean something else than it says: an error by default, a problem with
# strict=False
VCM_DOUBTS = [
    (
        "6 overlapping ranges",
        TRAIN,
        2,
        "2 3 4 1 3",
        "track_train_info.txt, line 2: names 3 to 4 overlap those of line 1 .1 to 3.",
    ),
    (
        "6 duplicate ranges",
        TRAIN,
        2,
        "2 1 3 1 3",
        "track_train_info.txt, line 2: names 1 to 3 overlap those of line 1",
    ),
    (
        "8 visible query",
        QUERY,
        1,
        "2 3 4 5",
        "query_IDX.txt, line 1: row 5 is a visible tracklet",
    ),
    (
        "8 infrared row left out",
        QUERY,
        1,
        "2 4",
        "query_IDX.txt: row 3 is infrared .identity 503. but not listed",
    ),
]
# what is harmless or can be left out: a problem by default, counted in words, an error
# with strict=True
FOREIGN = "1 ranges with frames that belong elsewhere, kept"
ALONE = "1 training identities of one modality left out"
BLANKS = "1 lists with tabs, extra blanks or decimal numbers read all the same"
VCM_SPARES = [
    (
        "4 other identity",
        TRAIN,
        1,
        "2 1 3 2 3",
        "identity 2 disagrees with '0001M2D3T1F1.jpg' .train_name.txt, line 1.; 3 of 3 frames",
        FOREIGN,
    ),
    (
        "4 other modality",
        TRAIN,
        1,
        "1 1 3 1 3",
        "modality ir disagrees with '0001M2D3T1F1.jpg'",
        FOREIGN,
    ),
    (
        "4 one frame of another person",
        NAMES,
        2,
        "0002M2D3T1F6.jpg",
        "line 1: identity 1 disagrees with '0002M2D3T1F6.jpg' .*line 2.; 1 of 3 frames",
        FOREIGN,
    ),
    (
        "4 one frame of the other modality",
        NAMES,
        2,
        "0001M1D3T1F6.jpg",
        "line 1: modality vis disagrees with '0001M1D3T1F6.jpg'",
        FOREIGN,
    ),
    (
        "4 one frame of another camera",
        NAMES,
        2,
        "0001M2D4T1F6.jpg",
        "line 1: camera 3 disagrees with '0001M2D4T1F6.jpg'",
        FOREIGN,
    ),
    (
        "4 other camera",
        TRAIN,
        1,
        "2 1 3 1 4",
        "track_train_info.txt, line 1: camera 4 disagrees with '0001M2D3T1F1.jpg' .train_name.txt, line 1.",
        FOREIGN,
    ),
    (
        "4 several tracks",
        NAMES,
        2,
        "0001M2D3T2F6.jpg",
        "line 1: names 1 to 3 mix tracks T1, T2",
        "1 ranges that mix tracks of one person, kept",
    ),
    (
        "one image in two tracks",
        NAMES,
        4,
        "0001M2D3T1F6.jpg",
        "line 4: frame 6 of identity 0001, camera 3 is already on line 2",
        "1 names of a frame that is listed twice, kept",
    ),
    (
        "10 no infrared tracklet",
        TRAIN,
        3,
        None,
        "training identity 1 has no infrared tracklet",
        ALONE + " .0001 without infrared.",
    ),
    (
        "2 double space",
        TRAIN,
        1,
        "2 1  3 1 3",
        "line 1: 1 lines with tabs, extra blanks",
        BLANKS,
    ),
    ("2 tabs", TRAIN, 2, "2\t4\t4\t1\t3", "line 2: 1 lines with tabs", BLANKS),
    (
        "2 blank at the end",
        TEST,
        6,
        "2 10 11 510 12 ",
        "line 6: 1 lines with tabs",
        BLANKS,
    ),
    (
        "2 decimal",
        TEST,
        6,
        "2 10 11.0 510 12",
        "line 6: 1 lines with tabs, extra blanks or numbers such as 1.0",
        BLANKS,
    ),
    (
        "2 as numpy writes",
        TEST,
        6,
        " ".join(f"{n:.18e}" for n in (2, 10, 11, 510, 12)),
        "line 6: 1 lines with tabs",
        BLANKS,
    ),
    (
        "1 blank behind a name",
        TEST_NAMES,
        2,
        "0503M2D3T1F6.jpg ",
        "line 2: 1 lines with tabs",
        BLANKS,
    ),
]


def ids(table):
    return [case[0] for case in table]


@pytest.fixture(autouse=True)
def counted(request, reliability):
    """Each test of this file is one malformed data set, but for those that show what is
    fine.
    """
    yield
    if not request.node.originalname.startswith(
        (
            "test_sysu_does_not_mind",
            "test_sysu_takes",
            "test_sysu_keeps",
            "test_regdb_keeps",
        )
    ):
        reliability.add("bad input", "a malformed data set", 1, "bad inputs refused")


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("kind", "file", "line", "text", "says"), VCM_ERRORS, ids=ids(VCM_ERRORS)
)
def test_hitsz_vcm_refuses(tmp_path, kind, file, line, text, says, strict):
    root = toys.vcm(tmp_path)
    toys.replace_line(root / "info" / file, line, text)
    found = vcm.survey(root, min_seq_len=2, strict=strict).faults.errors
    assert any(re.search(says, e) for e in found), found
    with pytest.raises(DataError, match=re.escape(str(root / "info"))) as raised:
        vcm.read(root, min_seq_len=2, strict=strict)
    assert "\n" not in str(raised.value)
    if text is not None and line > 0 and "disagrees" not in says:
        assert any(f"{file}, line {line}: " in e for e in found)


@pytest.mark.parametrize(
    ("kind", "file", "line", "text", "says"), VCM_DOUBTS, ids=ids(VCM_DOUBTS)
)
def test_hitsz_vcm_doubts(tmp_path, kind, file, line, text, says):
    root = toys.vcm(tmp_path)
    toys.replace_line(root / "info" / file, line, text)
    assert any(
        re.search(says, e) for e in vcm.survey(root, min_seq_len=2).faults.errors
    )
    with pytest.raises(DataError, match=r"strict=False"):
        vcm.read(root, min_seq_len=2)
    assert any(
        re.search(says, p) for p in vcm.read(root, min_seq_len=2, strict=False).problems
    )


@pytest.mark.parametrize(
    ("kind", "file", "line", "text", "says", "note"), VCM_SPARES, ids=ids(VCM_SPARES)
)
def test_hitsz_vcm_uses_what_it_can_and_says_so(
    tmp_path, kind, file, line, text, says, note
):
    root = toys.vcm(tmp_path)
    toys.replace_line(root / "info" / file, line, text)
    if (
        text is None
    ):  # the row that is gone shifts nothing: its file is that of training
        assert file == TRAIN
    for strict in (None, False):
        found = vcm.read(root, min_seq_len=2, strict=strict)
        assert any(re.search(says, p) for p in found.problems), found.problems
        assert any(re.match(note, remark) for remark in found.remarks), found.remarks
        assert (
            len(found.train) + len(found.query("ir2vis")) + len(found.gallery("ir2vis"))
            >= 6
        )
    with pytest.raises(DataError, match=f"{says}.*refused because strict=true"):
        vcm.read(root, min_seq_len=2, strict=True)


def test_hitsz_vcm_doubts_lists_of_two_sets(tmp_path):
    root = toys.vcm(tmp_path)
    rows = [
        " ".join([*row.split()[:3], str(int(row.split()[3]) + 1), row.split()[4]])
        for row in toys.VCM[TRAIN]
    ]
    toys.write_lines(root / "info" / TRAIN, rows)
    with pytest.raises(
        DataError,
        match=r"track_train_info.txt: 5 of 5 ranges hold frames that belong elsewhere: is it of the same set as .*train_name.txt",
    ):
        vcm.read(root, min_seq_len=2)
    assert {t.identity for t in vcm.read(root, min_seq_len=2, strict=False).train} == {
        2,
        5,
    }


def test_hitsz_vcm_refuses_an_unknown_way_with_foreign_frames(tmp_path):
    with pytest.raises(DataError, match="foreign must be keep or drop, got 'move'"):
        vcm.read(toys.vcm(tmp_path), foreign="move")


def test_hitsz_vcm_doubts_an_identity_that_is_trained_and_tested(tmp_path):
    root = toys.vcm(tmp_path)
    names, rows = root / "info" / TEST_NAMES, root / "info" / TEST
    names.write_text(names.read_text().replace("0503M", "0004M"))
    rows.write_text(rows.read_text().replace(" 503 ", " 4 "))
    with pytest.raises(
        DataError,
        match="track_train_info.txt, line 4: identity 4 is also in track_test_info.txt, line 1",
    ):
        vcm.read(root, min_seq_len=2)
    assert len(vcm.read(root, min_seq_len=2, strict=False).problems) == 1


def test_hitsz_vcm_refuses_a_minimum_length_that_leaves_nobody_both_modalities(
    tmp_path,
):
    root = _one_long_test_pair(tmp_path)
    with pytest.raises(
        DataError,
        match="track_train_info.txt: no training identity has tracklets of at least 3 images in both modalities",
    ):
        vcm.read(root, min_seq_len=3)
    with pytest.raises(
        DataError,
        match="track_train_info.txt, line 1: training identity 1 has no infrared tracklet of at least 3 images .refused",
    ):
        vcm.read(root, min_seq_len=3, strict=True)


def _one_long_test_pair(tmp_path: Path) -> Path:
    """The toy with a longer infrared and visible test tracklet, so that only the
    training set suffers from a minimum of 3.
    """
    root = toys.vcm(tmp_path)
    toys.write_lines(
        root / "info" / TEST_NAMES,
        [f"0503M{m}D{m}T1F{f}.jpg" for m in (1, 2) for f in (1, 6, 11)],
    )
    toys.write_lines(root / "info" / TEST, ["1 1 3 503 1", "2 4 6 503 2"])
    toys.write_lines(root / "info" / QUERY, ["1"])
    return root


def test_hitsz_vcm_refuses_a_test_set_without_queries(tmp_path):
    root = _one_long_test_pair(tmp_path)
    toys.write_lines(root / "info" / TEST, ["1 1 1 503 1", "2 4 6 503 2"])
    with pytest.raises(
        DataError,
        match="track_test_info.txt: the test set has no infrared tracklet of at least 2 images",
    ):
        vcm.read(root, min_seq_len=2)


def test_hitsz_vcm_refuses_only_short_tracklets(tmp_path):
    with pytest.raises(
        DataError,
        match=r"track_train_info.txt: every tracklet is shorter than min_seq_len=12 \(longest 3 images\)",
    ):
        vcm.read(toys.vcm(tmp_path))


def test_hitsz_vcm_refuses_a_minimum_length_below_1(tmp_path):
    with pytest.raises(DataError, match="min_seq_len must be at least 1, got 0"):
        vcm.read(toys.vcm(tmp_path), min_seq_len=0)


def test_hitsz_vcm_refuses_flat_and_split_layout_at_once(tmp_path):
    root = toys.vcm(tmp_path, split=True)
    (root / "0001").mkdir()
    with pytest.raises(
        DataError,
        match=r"both layouts present: Train/ and Test/ beside identity folders \(0001/, 1 in all\)",
    ):
        vcm.read(root, min_seq_len=2)


@pytest.mark.parametrize(("present", "absent"), [("Train", "Test"), ("Test", "Train")])
def test_hitsz_vcm_refuses_half_a_split_layout(tmp_path, present, absent):
    root = toys.vcm(tmp_path)
    (root / present).mkdir()
    with pytest.raises(DataError, match=f"{present}/ without {absent}/"):
        vcm.read(root, min_seq_len=2)


def test_hitsz_vcm_names_all_missing_lists_at_once(tmp_path):
    root = toys.vcm(tmp_path)
    (root / "info" / QUERY).unlink()
    (root / "info" / NAMES).unlink()
    with pytest.raises(
        DataError, match="missing 2 of 5 required files: train_name.txt, query_IDX.txt"
    ):
        vcm.read(root)


@pytest.mark.parametrize("file", list(toys.VCM))
@pytest.mark.parametrize("content", [b"", b"\n\n", b"\r\n"])
def test_hitsz_vcm_refuses_an_empty_list(tmp_path, file, content):
    root = toys.vcm(tmp_path)
    (root / "info" / file).write_bytes(content)
    with pytest.raises(DataError, match=f"{file}: empty list file"):
        vcm.read(root, min_seq_len=2)


def test_hitsz_vcm_refuses_undecodable_text_and_says_where(tmp_path):
    root = toys.vcm(tmp_path)
    (root / "info" / TEST).write_bytes(b"2 1 2 503 3\n1 3 4 \xff503 4\n")
    with pytest.raises(
        DataError,
        match=r"track_test_info.txt, line 2: undecodable text, byte b'\\xff' is not UTF-8",
    ):
        vcm.read(root, min_seq_len=2)


def test_hitsz_vcm_finds_all_faults_and_the_reader_says_how_many_more(tmp_path):
    root = toys.vcm(tmp_path)
    toys.replace_line(root / "info" / NAMES, 3, "nonsense")
    toys.replace_line(root / "info" / TEST, 2, "1 3 4 503")
    toys.replace_line(root / "info" / QUERY, 1, "2 0 4")
    errors = vcm.survey(root, min_seq_len=2).faults.errors
    assert [e.split("/")[-1].split(":")[0] for e in errors] == [
        "train_name.txt, line 3",
        "track_test_info.txt, line 2",
        "query_IDX.txt, line 1",
        "query_IDX.txt",
    ]
    with pytest.raises(DataError, match=r"'nonsense' .*\(and 3 more; `vvi check "):
        vcm.read(root, min_seq_len=2)


@pytest.mark.parametrize("layout", ["auto", "hitsz-vcm", "sysu-mm01", "regdb"])
def test_a_missing_root_is_refused(tmp_path, layout):
    with pytest.raises(DataError, match=r"nowhere: no such folder"):
        open_dataset(tmp_path / "nowhere", layout=layout)


def test_a_file_is_no_root(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file: not a folder"):
        vcm.read(tmp_path / "file")


# file, text of the first line, what the message must say
SYSU_IDS = [
    (
        "14 spaces",
        "train_id.txt",
        "1 2",
        "train_id.txt, line 1: '1 2' is not a list of integers with commas",
    ),
    ("14 word", "val_id.txt", "2,x", "val_id.txt, line 1: '2,x' is not .*'x'"),
    ("14 trailing comma", "val_id.txt", "2,", "val_id.txt, line 1: '2,' is not"),
    ("14 negative", "val_id.txt", "-2", "val_id.txt, line 1: '-2' is not"),
    (
        "14 repeated",
        "test_id.txt",
        "6,10,6",
        "test_id.txt, line 1: identity 6 is listed 2 times",
    ),
    (
        "14 in two parts",
        "test_id.txt",
        "6,10,2",
        "test_id.txt, line 1: identity 2 is also in val_id.txt",
    ),
]


@pytest.mark.parametrize(("kind", "file", "text", "says"), SYSU_IDS, ids=ids(SYSU_IDS))
def test_sysu_refuses_the_identity_list(tmp_path, kind, file, text, says):
    root = toys.sysu(tmp_path)
    toys.write_lines(root / "exp" / file, [text])
    found = sysu.survey(root).faults.errors
    assert any(re.search(says, e) for e in found), found
    with pytest.raises(DataError):
        sysu.read(root)


SYSU_ALONE = [
    (
        "16 nowhere",
        "test_id.txt",
        "6,10,11",
        "test identity 0011 has no infrared image .cameras 3, 6., so no query",
        "2 test identities of one modality kept",
    ),
    (
        "16 nowhere",
        "test_id.txt",
        "6,10,11",
        "0011 has no visible image .cameras 1, 2, 4, 5., so no gallery image",
        "2 test identities of one modality kept",
    ),
    (
        "10 nowhere",
        "val_id.txt",
        "3",
        "training identity 0003 has no visible image",
        "2 training identities of one modality left out",
    ),
    (
        "10 one modality",
        "val_id.txt",
        "10",
        "training identity 0001 has no infrared image",
        "1 training identities of one modality left out .0001 without infrared",
    ),
]


@pytest.mark.parametrize(
    ("kind", "file", "text", "says", "note"),
    SYSU_ALONE,
    ids=[f"{n} {case[0]}" for n, case in enumerate(SYSU_ALONE)],
)
def test_sysu_uses_the_people_that_it_can_and_says_so(
    tmp_path, kind, file, text, says, note
):
    root = toys.sysu(tmp_path)
    toys.write_lines(root / "exp" / file, [text])
    if kind == "10 one modality":
        toys.write_lines(root / "exp" / "test_id.txt", ["6"])
        shutil.rmtree(root / "cam3" / "0001")
    found = sysu.read(root)
    assert any(re.search(says, p) for p in found.problems) and any(
        re.match(note, r) for r in found.remarks
    ), found
    assert {t.identity for t in found.train} == (
        {10} if kind == "10 one modality" else {1} if file == "val_id.txt" else {1, 2}
    )
    with pytest.raises(DataError, match="has no .*refused because strict=true"):
        sysu.read(root, strict=True)


def test_sysu_refuses_a_set_of_which_nobody_is_left(tmp_path):
    root = toys.sysu(tmp_path)
    toys.write_lines(root / "exp" / "train_id.txt", ["7"])
    toys.write_lines(root / "exp" / "val_id.txt", ["8"])
    with pytest.raises(
        DataError, match="no training identity has images of both modalities"
    ):
        sysu.read(root)
    toys.write_lines(root / "exp" / "test_id.txt", ["9"])
    with pytest.raises(DataError, match="gallery is empty"):
        sysu.read(root)


def test_sysu_names_all_missing_lists_and_cameras_at_once(tmp_path):
    root = toys.sysu(tmp_path)
    for part in ("val", "test"):
        (root / "exp" / f"{part}_id.txt").unlink()
    for camera in (2, 6):
        (root / f"cam{camera}").rename(root / f"camera{camera}")
    errors = sysu.survey(root).faults.errors
    assert "missing 2 of 3 required files: val_id.txt, test_id.txt" in errors[0]
    assert "missing 2 of 6 camera folders: cam2, cam6" in errors[1]


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("cam1/006/0001.jpg", "cam1: '006' is not an identity folder"),
        ("cam1/0006/1.jpg", "'1.jpg' is not an image"),
        ("cam1/0006/0009.gif", "'0009.gif' is not an"),
        ("cam1/readme.txt", "'readme.txt' is not an identity folder"),
        ("cam1/0006/Thumbs.db", "'Thumbs.db' is not an image"),
        ("cam2/desktop.ini", "'desktop.ini' is not an identity"),
        ("cam1/0006/@eaDir/0001.jpg", "'@eaDir' is not an image"),
        ("cam1/0006/0001.png", "0001.png has the number of 0001.jpg"),
    ],
)
def test_sysu_leaves_out_what_is_no_image_and_says_so(tmp_path, entry, says):
    root = toys.sysu(tmp_path)
    plain = sysu.read(root)
    toys.write_image(root / entry)
    found = sysu.read(root)
    assert found.sides == plain.sides and found.train == plain.train
    assert says.split(": ")[-1] in found.problems[0] and len(found.remarks) == 1
    litter = any(name in entry for name in ("Thumbs", "desktop", "@ea"))
    assert found.remarks[0].startswith(
        "1 what systems leave behind"
        if litter
        else "1 entries"
        if "0001.png" not in entry
        else "1 images of a number"
    )
    with pytest.raises(DataError, match=f"{says}.*refused because strict=true"):
        sysu.read(root, strict=True)


@pytest.mark.parametrize("suffix", ["JPG", "Jpeg", "png", "BMP", "tif"])
def test_sysu_takes_images_of_any_readable_suffix(tmp_path, suffix):
    root = toys.sysu(tmp_path)
    plain = sysu.read(root)
    for path in list(root.glob("cam*/*/*.jpg")):
        path.rename(path.with_suffix(f".{suffix}"))
    found = sysu.read(root, strict=True)
    assert found.problems == () and [t.paths[0].stem for t in found.train] == [
        t.paths[0].stem for t in plain.train
    ]
    assert validate(found) == []


def test_sysu_does_not_mind_hidden_files(tmp_path):
    root = toys.sysu(tmp_path)
    (root / "cam1" / ".DS_Store").touch()
    assert sysu.read(root).problems == ()


@pytest.mark.parametrize(
    ("identity", "cameras", "role"),
    [(10, (3, 6), "no query"), (6, (1, 2, 4, 5), "no gallery image")],
)
def test_sysu_keeps_a_test_identity_of_one_modality(tmp_path, identity, cameras, role):
    root = toys.sysu(tmp_path)
    for image in [
        p for c in cameras for p in (root / f"cam{c}").glob(f"{identity:04d}/*")
    ]:
        image.unlink()
    found = sysu.read(root)
    assert (
        f"test identity {identity:04d} has no" in found.problems[0]
        and role in found.problems[0]
    )
    sides = [{t.identity for t in side} for side in found.sides["ir2vis"]]
    assert sides == ([{6}, {6, 10}] if identity == 10 else [{6, 10}, {10}])


def test_sysu_refuses_an_empty_indoor_gallery(tmp_path):
    root = toys.sysu(tmp_path)
    toys.write_lines(root / "exp" / "test_id.txt", ["10"])
    with pytest.raises(DataError, match="the indoor-search gallery is empty"):
        sysu.read(root, mode="indoor")


@pytest.mark.parametrize(
    "option",
    [
        {"mode": "outdoor"},
        {"shots": 2},
        {"shots": "1"},
        {"trial": 10},
        {"trial": -1},
        {"gallery": "mine"},
        {"train": "video"},
    ],
    ids=str,
)
def test_sysu_refuses_an_option_outside_its_values(tmp_path, option):
    ((name, value),) = option.items()
    with pytest.raises(DataError, match=f"{name} must be one of .*, got {value!r}"):
        sysu.read(toys.sysu(tmp_path), **option)


def permutations(root: Path, change=None) -> Path:
    """`rand_perm_cam.mat` of the toy: row k of a folder of n images is 1..n turned by
    k; `change` edits the table of (camera, identity).
    """
    table = {
        (c, i): [[(k + j) % n + 1 for j in range(n)] for k in range(10)]
        for (c, i), n in _folders().items()
    }
    if change:
        change(table)
    cells = np.empty((6, 1), object)
    for camera in range(1, 7):
        people = np.empty((1, 12), object)
        for identity in range(1, 13):
            people[0, identity - 1] = np.array(
                table.get((camera, identity), np.empty((0, 0)))
            )
        cells[camera - 1, 0] = people
    savemat(root / "exp" / "rand_perm_cam.mat", {"rand_perm_cam": cells})
    return root


def _folders() -> dict[tuple[int, int], int]:
    return {(int(folder[3]), int(folder[5:])): n for folder, n in toys.SYSU.items()}


def test_sysu_takes_the_official_gallery_from_the_permutations(tmp_path):
    root = permutations(toys.sysu(tmp_path))
    names = [
        str(t.paths[0].relative_to(root))
        for t in sysu.read(root, gallery="official", trial=1).gallery("ir2vis")
    ]
    assert names == [
        "cam1/0006/0002.jpg",
        "cam2/0006/0002.jpg",
        "cam4/0006/0002.jpg",
        "cam4/0010/0002.jpg",
        "cam5/0010/0002.jpg",
    ]
    many = sysu.read(root, gallery="official", trial=2, shots=10)
    assert [t.paths[0].stem for t in many.gallery("ir2vis")][:3] == [
        "0003",
        "0001",
        "0002",
    ]


def test_sysu_refuses_a_permutation_entry_beyond_the_images(tmp_path):
    root = permutations(
        toys.sysu(tmp_path), lambda table: table[1, 6][4].__setitem__(0, 4)
    )
    with pytest.raises(
        DataError,
        match="rand_perm_cam.mat: camera 1, identity 0006, trial 4: entry 4 is none of the 3 images",
    ):
        sysu.read(root, gallery="official", trial=4)


def test_sysu_refuses_a_folder_without_permutation(tmp_path):
    root = permutations(toys.sysu(tmp_path), lambda table: table.pop((5, 10)))
    with pytest.raises(
        DataError, match="camera 5, identity 0010, trial 0: no permutation"
    ):
        sysu.read(root, gallery="official")


def test_sysu_refuses_the_official_gallery_without_a_readable_file(tmp_path):
    root = toys.sysu(tmp_path)
    with pytest.raises(DataError, match="rand_perm_cam.mat: missing"):
        sysu.read(root, gallery="official")
    (root / "exp" / "rand_perm_cam.mat").write_bytes(b"no matlab file" * 20)
    with pytest.raises(DataError, match="rand_perm_cam.mat: unreadable MATLAB file"):
        sysu.read(root, gallery="official")
    savemat(root / "exp" / "rand_perm_cam.mat", {"other": np.zeros(3)})
    with pytest.raises(
        DataError, match="no variable 'rand_perm_cam'; the file has other"
    ):
        sysu.read(root, gallery="official")


# kind, file, line, what stands there instead, what the message must say
REGDB = [
    (
        "19 no label",
        "train_visible_1.txt",
        1,
        "Visible/285/male_back_v_00010_285.bmp",
        "not '<path> <label>'",
    ),
    (
        "19 negative label",
        "train_visible_1.txt",
        1,
        "Visible/285/male_back_v_00010_285.bmp -1",
        "label '-1' is negative",
    ),
    (
        "19 word for a label",
        "train_visible_1.txt",
        1,
        "Visible/285/male_back_v_00010_285.bmp one",
        "label 'one' is no integer",
    ),
    (
        "20 wrong folder",
        "train_visible_1.txt",
        1,
        "Thermal/285/male_back_t_00010_285.bmp 0",
        "not a visible image .expected Visible/ and _v_.",
    ),
    (
        "20 wrong letter",
        "train_thermal_1.txt",
        1,
        "Thermal/285/male_back_v_00010_285.bmp 0",
        "not a thermal image .expected Thermal/ and _t_.",
    ),
    (
        "20 folder against name",
        "train_visible_1.txt",
        1,
        "Visible/285/male_back_v_00010_117.bmp 0",
        "folder of identity 285 but file of identity 117",
    ),
    (
        "20 label of two identities",
        "train_thermal_1.txt",
        1,
        "Thermal/300/male_back_t_00410_300.bmp 0",
        "label 0 means identity 300 here and 285 before",
    ),
    (
        "20 identity of two labels",
        "train_thermal_1.txt",
        1,
        "Thermal/285/male_back_t_00410_285.bmp 1",
        "identity 285 has label 1 here and 0 before",
    ),
    (
        "21 trained and tested",
        "test_visible_1.txt",
        1,
        "Visible/285/female_front_v_00020_285.bmp 0",
        "identity 285 is in train and test of trial 1",
    ),
    (
        "path with ..",
        "train_visible_1.txt",
        1,
        "Visible/../285/male_back_v_00010_285.bmp 0",
        "the path leaves the data folder",
    ),
    (
        "absolute path",
        "train_visible_1.txt",
        1,
        "/Visible/285/male_back_v_00010_285.bmp 0",
        "the path leaves the data folder",
    ),
    (
        "drive letter",
        "train_visible_1.txt",
        1,
        "C:/Visible/285/male_back_v_00010_285.bmp 0",
        "the path leaves the data folder",
    ),
    (
        "no image name",
        "train_visible_1.txt",
        1,
        "Visible/285/photo.bmp 0",
        "not an image path such as Visible/285/male_front_v_00110_285.bmp",
    ),
]


@pytest.mark.parametrize(
    ("kind", "file", "line", "text", "says"), REGDB, ids=ids(REGDB)
)
def test_regdb_refuses(tmp_path, kind, file, line, text, says):
    root = toys.regdb(tmp_path, images=False)
    toys.replace_line(root / "idx" / file, line, text)
    found = regdb.survey(root).faults.errors
    assert any(re.search(says, e) for e in found), found
    if kind.startswith("19") or "path" in says:
        assert f"{file}, line {line}: " in found[0]
        assert repr(text) in found[0]
    with pytest.raises(DataError, match=re.escape(str(root / "idx"))):
        regdb.read(root)


REGDB_SPARES = [
    (
        "19 two spaces",
        "train_visible_1.txt",
        1,
        "Visible/285/male_back_v_00010_285.bmp  0",
        "line 1: 1 lines with tabs, extra blanks",
        8,
    ),
    (
        "19 a tab",
        "test_thermal_1.txt",
        2,
        "Thermal/73/male_front_t_00421_73.bmp\t1",
        "line 2: 1 lines with tabs, extra blanks",
        8,
    ),
    ("19 a blank line", "train_visible_1.txt", 3, "", "line 3: a blank line", 7),
    (
        "20 a test label of one modality",
        "test_visible_1.txt",
        2,
        None,
        "label 1 is thermal only",
        8,
    ),
]


@pytest.mark.parametrize(
    ("kind", "file", "line", "text", "says", "count"),
    REGDB_SPARES,
    ids=ids(REGDB_SPARES),
)
def test_regdb_uses_what_it_can_and_says_so(
    tmp_path, kind, file, line, text, says, count
):
    root = toys.regdb(tmp_path, images=False)
    toys.replace_line(root / "idx" / file, line, text)
    found = regdb.read(root)
    assert any(re.search(says, p) for p in found.problems), found.problems
    assert (
        len(found.train) == count
        and len(found.remarks) == 1
        and found.labels == {285: 0, 117: 1}
    )
    with pytest.raises(DataError, match=f"{says}.*refused because strict=true"):
        regdb.read(root, strict=True)


def test_regdb_leaves_out_training_people_of_one_modality_and_counts_the_others_anew(
    tmp_path,
):
    root = toys.regdb(tmp_path, images=False)
    for line in (3, 1):
        toys.replace_line(root / "idx" / "train_thermal_1.txt", line, None)
    found = regdb.read(root)
    assert found.labels == {117: 0} and {t.identity for t in found.train} == {117}
    assert found.remarks == [
        "1 training identities of one modality left out (285 without thermal)"
    ]
    with pytest.raises(
        DataError, match="label 0 is visible only.*refused because strict=true"
    ):
        regdb.read(root, strict=True)


def test_regdb_refuses_a_hole_in_the_labels(tmp_path):
    root = toys.regdb(tmp_path, images=False)
    for word, letter in (("visible", "v"), ("thermal", "t")):
        name = f"{word.capitalize()}/73/male_front_{letter}_00021_73.bmp"
        toys.replace_line(root / "idx" / f"test_{word}_1.txt", 2, f"{name} 2")
    with pytest.raises(
        DataError, match="labels are not contiguous from 0: 1 is missing below 2"
    ):
        regdb.read(root)


def test_regdb_refuses_lists_of_which_nobody_is_left(tmp_path):
    root = toys.regdb(tmp_path, images=False)
    toys.write_lines(
        root / "idx" / "train_visible_1.txt", ["Visible/1/male_back_v_00010_1.bmp 0"]
    )
    toys.write_lines(
        root / "idx" / "train_thermal_1.txt", ["Thermal/2/male_back_t_00410_2.bmp 1"]
    )
    with pytest.raises(
        DataError, match="no training identity has images of both modalities"
    ):
        regdb.read(root)


@pytest.mark.parametrize("suffix", ["BMP", "png", "JPG"])
def test_regdb_keeps_images_of_any_readable_suffix(tmp_path, suffix):
    root = toys.regdb(tmp_path)
    for path in list(root.rglob("*.bmp")):
        path.rename(path.with_suffix(f".{suffix}"))
    for path in (root / "idx").iterdir():
        path.write_text(path.read_text().replace(".bmp", f".{suffix}"))
    assert validate(regdb.read(root, strict=True)) == []


@pytest.mark.parametrize("trial", [0, 11, -1])
def test_regdb_refuses_a_trial_outside_1_to_10(tmp_path, trial):
    with pytest.raises(DataError, match=f"trial must be in 1..10, got {trial}"):
        regdb.read(toys.regdb(tmp_path, images=False), trial=trial)


def test_regdb_names_all_missing_lists_at_once(tmp_path):
    root = toys.regdb(tmp_path, images=False)
    with pytest.raises(
        DataError,
        match="missing 4 of 4 required files: idx/train_visible_2.txt, idx/train_thermal_2.txt, idx/test_visible_2.txt",
    ):
        regdb.read(root, trial=2)


def test_regdb_finds_every_bad_line_and_blames_no_label_for_it(tmp_path):
    root = toys.regdb(tmp_path, images=False)
    for line in (1, 2, 4):
        toys.replace_line(root / "idx" / "train_visible_1.txt", line, f"broken {line}")
    assert [
        e.split(": ")[0].split("/")[-1] for e in regdb.survey(root).faults.errors
    ] == [f"train_visible_1.txt, line {n}" for n in (1, 2, 4)]
