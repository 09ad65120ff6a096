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
    return [(t.paths[0].parent.relative_to(root).as_posix(), [p.stem for p in t.paths], t.identity, t.camera) for t in tracklets]


def score(dataset, direction, similarity, rule="vcm"):
    query, gallery = dataset.query(direction), dataset.gallery(direction)
    ids, cams = ([[getattr(t, field) for t in side] for side in (query, gallery)] for field in ("identity", "camera"))
    return from_similarity(similarity, *ids, *cams, rule=rule)


def test_the_toy_gives_its_training_tracklets_and_labels(root):
    ds = vcm.read(root, min_seq_len=2)
    assert ds.labels == {1: 0, 4: 1}
    assert rows([t for t in ds.train if t.modality == "ir"], root) == [("0001/ir/D5", ["1", "6"], 1, 5), ("0004/ir/D5", ["1", "6"], 4, 5)]
    assert rows([t for t in ds.train if t.modality == "vis"], root) == [("0001/rgb/D3", ["1", "6", "11"], 1, 3), ("0004/rgb/D11", ["1", "6"], 4, 11)]
    assert [(t.identity, t.modality) for t in ds.train] == [(1, "vis"), (1, "ir"), (4, "ir"), (4, "vis")]
    assert ds.train[0].paths[0] == root / "0001" / "rgb" / "D3" / "1.jpg"


def test_the_toy_gives_its_queries_and_galleries_in_order(root):
    ds = vcm.read(root, min_seq_len=2)
    assert [(t.identity, t.camera, t.modality) for t in ds.query("ir2vis")] == [(503, 4, "ir"), (510, 3, "ir")]
    assert [(t.identity, t.camera, t.modality) for t in ds.gallery("ir2vis")] == [(503, 3, "vis"), (510, 3, "vis"), (510, 12, "vis")]
    assert ds.query("vis2ir") == ds.gallery("ir2vis")
    assert ds.gallery("vis2ir") == ds.query("ir2vis")
    assert (ds.layout, ds.rule, ds.problems) == ("hitsz-vcm", "vcm", ())


def test_dropped_tracklets_are_counted_by_split_and_modality(root):
    assert vcm.read(root, min_seq_len=2).dropped == {("train", "vis"): 1, ("train", "ir"): 0, ("test", "vis"): 0, ("test", "ir"): 1}
    assert sum(vcm.read(root, min_seq_len=1).dropped.values()) == 0
    assert len(vcm.read(root, min_seq_len=1).train) == 5


def test_the_toy_scores_as_computed_by_hand(root):
    ds = vcm.read(root, min_seq_len=2)
    similarity = [[0.9, 0.2, 0.8], [0.5, 0.9, 0.4]]
    forward = score(ds, "ir2vis", similarity)
    assert (forward.rank(1), forward.rank(2), forward.mAP) == pytest.approx((0.5, 1.0, 0.75))
    back = score(ds, "vis2ir", [list(column) for column in zip(*similarity, strict=True)])
    assert (back.rank(1), back.rank(2), back.mAP, back.n_valid) == pytest.approx((0.5, 1.0, 0.75, 2))
    unfiltered = score(ds, "ir2vis", similarity, rule="none")
    assert (unfiltered.rank(1), unfiltered.mAP) == pytest.approx((1.0, 0.916667), abs=1e-6)


@pytest.mark.parametrize(("info", "split"), [(True, False), (False, False), (True, True), (False, True)])
def test_every_layout_gives_the_same_tracklets(tmp_path, info, split):
    root = toys.vcm(tmp_path, info=info, split=split, images=True)
    ds = vcm.read(root, min_seq_len=2)
    assert rows(ds.train, root / "Train" if split else root)[0] == ("0001/rgb/D3", ["1", "6", "11"], 1, 3)
    assert rows(ds.gallery("ir2vis"), root / "Test" if split else root)[2] == ("0510/rgb/D12", ["1", "6"], 510, 12)
    assert all(p.is_file() for t in (*ds.train, *ds.query("ir2vis"), *ds.gallery("ir2vis")) for p in t.paths)


def test_a_root_given_as_text_is_read(root):
    assert vcm.read(str(root), min_seq_len=2).train == vcm.read(root, min_seq_len=2).train


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
    assert [t.identity for t in vcm.read(root, min_seq_len=2).query("ir2vis")] == [510, 503]


def test_a_short_tracklet_is_no_fault_by_itself(root):
    assert [len(t) for t in vcm.read(root, min_seq_len=1).query("ir2vis")] == [2, 1, 2]


def test_names_that_belong_to_no_row_are_a_problem_but_no_error(root):
    toys.replace_line(root / "info" / "track_train_info.txt", 2, None)
    (problem,) = vcm.read(root, min_seq_len=2).problems
    assert "track_train_info.txt, line 2: names 4 to 4 belong to no row" in problem


def test_names_before_the_first_and_after_the_last_row_are_a_problem_too(root):
    (root / "info" / "track_test_info.txt").write_text("1 3 4 503 4\n1 6 7 510 3\n2 8 9 510 3\n")
    toys.write_lines(root / "info" / "query_IDX.txt", ["1 2"])
    problems = "; ".join(vcm.read(root, min_seq_len=2).problems)
    assert "names 1 to 2 belong" in problems
    assert "names 5 to 5 belong" in problems
    assert "names 10 to 11 belong" in problems


def test_images_are_not_looked_for(root):
    assert not any(p.exists() for t in vcm.read(root, min_seq_len=2).train for p in t.paths)
