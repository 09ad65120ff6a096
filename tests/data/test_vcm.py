from pathlib import Path

import pytest
import toys

from vvi.data import vcm
from vvi.metrics import from_similarity


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return toys.vcm(tmp_path / "vcm")


def rows(tracklets, root):
    """(folder below the root, frames, identity, camera) of each tracklet."""
    return [
        (
            t.paths[0].parent.relative_to(root).as_posix(),
            [p.stem for p in t.paths],
            t.identity,
            t.camera,
        )
        for t in tracklets
    ]


def score(dataset, direction, similarity, rule="vcm"):
    query, gallery = dataset.query(direction), dataset.gallery(direction)
    ids, cams = (
        [[getattr(t, field) for t in side] for side in (query, gallery)]
        for field in ("identity", "camera")
    )
    return from_similarity(similarity, *ids, *cams, rule=rule)


def test_the_toy_gives_its_training_tracklets_and_labels(root):
    ds = vcm.read(root, min_seq_len=2)
    assert ds.labels == {1: 0, 4: 1}
    assert rows([t for t in ds.train if t.modality == "ir"], root) == [
        ("0001/ir/D5", ["1", "6"], 1, 5),
        ("0004/ir/D5", ["1", "6"], 4, 5),
    ]
    assert rows([t for t in ds.train if t.modality == "vis"], root) == [
        ("0001/rgb/D3", ["1", "6", "11"], 1, 3),
        ("0004/rgb/D11", ["1", "6"], 4, 11),
    ]
    assert [(t.identity, t.modality) for t in ds.train] == [
        (1, "vis"),
        (1, "ir"),
        (4, "ir"),
        (4, "vis"),
    ]
    assert ds.train[0].paths[0] == root / "0001" / "rgb" / "D3" / "1.jpg"


def test_the_toy_gives_its_queries_and_galleries_in_order(root):
    ds = vcm.read(root, min_seq_len=2)
    assert [(t.identity, t.camera, t.modality) for t in ds.query("ir2vis")] == [
        (503, 4, "ir"),
        (510, 3, "ir"),
    ]
    assert [(t.identity, t.camera, t.modality) for t in ds.gallery("ir2vis")] == [
        (503, 3, "vis"),
        (510, 3, "vis"),
        (510, 12, "vis"),
    ]
    assert ds.query("vis2ir") == ds.gallery("ir2vis")
    assert ds.gallery("vis2ir") == ds.query("ir2vis")
    assert (ds.layout, ds.rule, ds.problems) == ("hitsz-vcm", "vcm", ())


def test_dropped_tracklets_are_counted_by_split_and_modality(root):
    assert vcm.read(root, min_seq_len=2).dropped == {
        ("train", "vis"): 1,
        ("train", "ir"): 0,
        ("test", "vis"): 0,
        ("test", "ir"): 1,
    }
    assert sum(vcm.read(root, min_seq_len=1).dropped.values()) == 0
    assert len(vcm.read(root, min_seq_len=1).train) == 5


def test_the_toy_scores_as_computed_by_hand(root):
    ds = vcm.read(root, min_seq_len=2)
    similarity = [[0.9, 0.2, 0.8], [0.5, 0.9, 0.4]]
    forward = score(ds, "ir2vis", similarity)
    assert (forward.rank(1), forward.rank(2), forward.mAP) == pytest.approx(
        (0.5, 1.0, 0.75)
    )
    back = score(
        ds, "vis2ir", [list(column) for column in zip(*similarity, strict=True)]
    )
    assert (back.rank(1), back.rank(2), back.mAP, back.n_valid) == pytest.approx(
        (0.5, 1.0, 0.75, 2)
    )
    unfiltered = score(ds, "ir2vis", similarity, rule="none")
    assert (unfiltered.rank(1), unfiltered.mAP) == pytest.approx(
        (1.0, 0.916667), abs=1e-6
    )


@pytest.mark.parametrize(
    ("info", "split"), [(True, False), (False, False), (True, True), (False, True)]
)
def test_every_layout_gives_the_same_tracklets(tmp_path, info, split):
    root = toys.vcm(tmp_path, info=info, split=split, images=True)
    ds = vcm.read(root, min_seq_len=2)
    assert rows(ds.train, root / "Train" if split else root)[0] == (
        "0001/rgb/D3",
        ["1", "6", "11"],
        1,
        3,
    )
    assert rows(ds.gallery("ir2vis"), root / "Test" if split else root)[2] == (
        "0510/rgb/D12",
        ["1", "6"],
        510,
        12,
    )
    assert all(
        p.is_file()
        for t in (*ds.train, *ds.query("ir2vis"), *ds.gallery("ir2vis"))
        for p in t.paths
    )


def test_a_root_given_as_text_is_read(root):
    assert (
        vcm.read(str(root), min_seq_len=2).train == vcm.read(root, min_seq_len=2).train
    )


def test_windows_line_ends_and_a_blank_last_line_are_accepted(root):
    plain = vcm.read(root, min_seq_len=2)
    for name, lines in toys.VCM.items():
        toys.write_lines(root / "info" / name, [*lines, ""], end="\r\n")
    assert vcm.read(root, min_seq_len=2) == plain


def test_a_missing_line_end_at_the_end_is_accepted(root):
    plain = vcm.read(root, min_seq_len=2)
    for name, lines in toys.VCM.items():
        (root / "info" / name).write_text("\n".join(lines))
    assert vcm.read(root, min_seq_len=2) == plain


def test_queries_over_several_lines_are_joined_in_their_order(root):
    toys.write_lines(root / "info" / "query_IDX.txt", ["4", "2 3"])
    assert [t.identity for t in vcm.read(root, min_seq_len=2).query("ir2vis")] == [
        510,
        503,
    ]


def test_a_short_tracklet_is_no_fault_by_itself(root):
    assert [len(t) for t in vcm.read(root, min_seq_len=1).query("ir2vis")] == [2, 1, 2]


def test_names_that_belong_to_no_row_are_a_problem_but_no_error(root):
    toys.replace_line(root / "info" / "track_train_info.txt", 2, None)
    (problem,) = vcm.read(root, min_seq_len=2).problems
    assert "track_train_info.txt, line 2: names 4 to 4 belong to no row" in problem


def test_names_before_the_first_and_after_the_last_row_are_a_problem_too(root):
    (root / "info" / "track_test_info.txt").write_text(
        "1 3 4 503 4\n1 6 7 510 3\n2 8 9 510 3\n"
    )
    toys.write_lines(root / "info" / "query_IDX.txt", ["1 2"])
    problems = "; ".join(vcm.read(root, min_seq_len=2).problems)
    assert "names 1 to 2 belong" in problems
    assert "names 5 to 5 belong" in problems
    assert "names 10 to 11 belong" in problems


def test_images_are_not_looked_for(root):
    assert not any(
        p.exists() for t in vcm.read(root, min_seq_len=2).train for p in t.paths
    )


def shifted(root, frames=("0004M1D5T1F6.jpg",)):
    """The toy whose third training row, of identity 1, holds frames of identity 4."""
    names = list(toys.VCM["train_name.txt"])
    names[5 : 5 + len(frames)] = frames
    toys.write_lines(root / "info" / "train_name.txt", names)
    return root


def test_foreign_frames_stay_under_the_identity_of_their_row(root):
    """As the released code: the path is that of the name, the label that of the row."""
    found = vcm.read(shifted(root), min_seq_len=2)
    (t,) = [t for t in found.train if (t.identity, t.modality) == (1, "ir")]
    assert [p.relative_to(root).as_posix() for p in t.paths] == [
        "0001/ir/D5/1.jpg",
        "0004/ir/D5/6.jpg",
    ]
    assert t.camera == 5
    assert found.notes == {
        "names of a frame that is listed twice, kept": ["train_name.txt line 8"],
        "ranges with frames that belong elsewhere, kept": [
            "track_train_info.txt line 3"
        ],
    }
    assert "1 of 2 frames of this range belong elsewhere" in found.problems[1]


def test_foreign_frames_are_dropped_when_asked_and_what_is_left_must_be_long_enough(
    root,
):
    found = vcm.read(shifted(root), min_seq_len=1, foreign="drop")
    (t,) = [t for t in found.train if (t.identity, t.modality) == (1, "ir")]
    assert [p.stem for p in t.paths] == ["1"]
    short = vcm.read(root, min_seq_len=2, foreign="drop")
    assert {t.identity for t in short.train} == {4} and short.dropped[
        "train", "ir"
    ] == 1
    assert set(short.notes) == {
        "names of a frame that is listed twice, kept",
        "ranges with frames that belong elsewhere, dropped",
        "training identities of one modality left out",
    }


def test_a_range_that_is_all_foreign_is_gone_when_foreign_frames_are_dropped(root):
    toys.replace_line(root / "info" / "track_train_info.txt", 2, "2 4 4 4 3")
    assert [t.identity for t in vcm.read(root, min_seq_len=1).train] == [1, 4, 1, 4, 4]
    found = vcm.read(root, min_seq_len=1, foreign="drop")
    assert [t.identity for t in found.train] == [1, 1, 4, 4]


@pytest.mark.parametrize("suffix", ["JPG", "Jpg", "jpeg", "PNG", "tif", "bmp", "webp"])
def test_any_readable_suffix_may_be_listed(root, suffix):
    names = [n.replace(".jpg", f".{suffix}") for n in toys.VCM["train_name.txt"]]
    toys.write_lines(root / "info" / "train_name.txt", names)
    found = vcm.read(root, min_seq_len=2)
    assert found.train[0].paths[0].name == f"1.{suffix}" and found.problems == ()


def test_queries_may_stand_apart_by_any_blanks(root):
    plain = vcm.read(root, min_seq_len=2)
    (root / "info" / "query_IDX.txt").write_text(" 2\t3.0  4 \n")
    assert vcm.read(root, min_seq_len=2) == plain


@pytest.mark.parametrize("code", ["utf-8-sig", "utf-16"])
def test_lists_with_a_mark_of_their_code_are_read(root, code):
    plain = vcm.read(root, min_seq_len=2)
    for name, lines in toys.VCM.items():
        text = "".join(line + "\r\n" for line in lines)
        (root / "info" / name).write_bytes(text.encode(code))
    assert vcm.read(root, min_seq_len=2) == plain


def test_people_of_one_modality_are_left_out_of_the_training_alone(root):
    """Identity 1 has no infrared tracklet: it is trained on in neither modality."""
    toys.replace_line(root / "info" / "track_train_info.txt", 3, None)
    found = vcm.read(root, min_seq_len=2)
    assert found.labels == {4: 0} and {t.identity for t in found.train} == {4}
    assert found.remarks == [
        "1 training identities of one modality left out (0001 without infrared)"
    ]
    assert found.dropped[("train", "vis")] == 1  # by length alone


def test_a_searched_person_without_the_other_modality_is_a_query_without_an_answer(
    root,
):
    rows = [
        row for row in toys.VCM["track_test_info.txt"] if not row.startswith("2 1 ")
    ]
    toys.write_lines(root / "info" / "track_test_info.txt", rows)
    toys.write_lines(root / "info" / "query_IDX.txt", ["1 2 3"])
    found = vcm.read(root, min_seq_len=2)
    assert [t.identity for t in found.query("ir2vis")] == [503, 510]
    assert {t.identity for t in found.gallery("ir2vis")} == {510}
