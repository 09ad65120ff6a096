"""BUPTCampus: the tracklets of the toy by hand, and what is refused, named or left out."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import toys

from vvi.data import buptcampus, open_dataset, synthetic, validate
from vvi.evaluation import features, ranking
from vvi.evaluation.evaluate import Side
from vvi.metrics import from_similarity
from vvi.types import DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return toys.campus(tmp_path / "campus", images=False)


def rows(tracklets) -> list[tuple]:
    return [(t.identity, t.camera, t.modality, len(t)) for t in tracklets]


def edit(root: Path, change) -> None:
    """Change what the index says."""
    index = json.loads((root / "data_paths.json").read_text())
    change(index)
    (root / "data_paths.json").write_text(json.dumps(index))


def test_a_training_line_stands_for_two_aligned_tracklets(root):
    found = buptcampus.read(root, strict=True)
    assert rows(found.train) == [
        *((1, 3, "vis", 2), (1, 3, "ir", 2)),
        *((1, 1, "vis", 1), (1, 1, "ir", 1)),
        *((4, 4, "vis", 3), (4, 4, "ir", 3)),
    ]
    assert found.labels == {1: 0, 4: 1}
    name = "1/RGB/CQ1/1_RGB_CQ1_1_8535.jpg"
    assert found.train[0].paths[0] == root / "DATA" / name


def test_the_auxiliary_people_are_trained_on_when_asked(root):
    assert buptcampus.read(root, auxiliary=True).labels == {1: 0, 4: 1, 7: 2}
    (root / "train_auxiliary.txt").unlink()
    assert buptcampus.read(root, strict=True).labels == {1: 0, 4: 1}
    with pytest.raises(DataError, match="missing 1 of 5 .*: train_auxiliary.txt"):
        buptcampus.read(root, auxiliary=True)


def test_queries_of_each_modality_search_the_gallery_of_the_other(root):
    found = buptcampus.read(root)
    assert rows(found.query("ir2vis")) == [(11, 5, "ir", 1)]
    assert rows(found.gallery("ir2vis")) == [(11, 6, "vis", 1), (12, 1, "vis", 2)]
    assert rows(found.query("vis2ir")) == [(12, 1, "vis", 1)]
    assert rows(found.gallery("vis2ir")) == [(11, 6, "ir", 1), (12, 1, "ir", 2)]
    assert (found.layout, found.rule, found.problems) == ("buptcampus", "none", ())


def test_a_gallery_item_of_the_same_camera_counts(root):
    """No camera rule: person 12 was searched for and seen by camera LS3 alone."""
    found = buptcampus.read(root)
    query, gallery = found.query("vis2ir"), found.gallery("vis2ir")
    ids = [[t.identity for t in side] for side in (query, gallery)]
    cams = [[t.camera for t in side] for side in (query, gallery)]
    scored = from_similarity([[0.9, 0.1]], *ids, *cams, rule=found.rule)
    assert (scored.n_valid, scored.rank(1), scored.rank(2)) == (1, 0.0, 1.0)


def test_it_is_recognised_and_its_images_are_found(tmp_path):
    root = toys.campus(tmp_path)
    found = open_dataset(root)
    assert found.layout == "buptcampus" and validate(found) == []
    (root / "DATA/1/RGB/CQ1/1_RGB_CQ1_1_8535.jpg").unlink()
    assert "1_8535.jpg: does not exist" in validate(found)[0]


# kind, file, line, what stands there instead, what the message must say
ERRORS = [
    ("three fields", "train.txt", 1, "1 RGB/IR CQ1", "line 1: not 'identity modality"),
    (
        "identity",
        "query.txt",
        1,
        "x IR TSG1 1",
        "line 1: identity 'x' must be an integer",
    ),
    ("modality", "query.txt", 1, "11 NIR TSG1 1", "modality 'NIR' is none of RGB, IR"),
    (
        "camera",
        "gallery.txt",
        2,
        "11 IR TSG9 1",
        "line 2: camera 'TSG9' is none of LS3",
    ),
    (
        "absent",
        "gallery.txt",
        2,
        "11 IR TSG2 9",
        "line 2: tracklet 11 IR TSG2 9 is not",
    ),
    ("no query", "query.txt", 1, None, "no infrared tracklet, so ir2vis has no query"),
]


@pytest.mark.parametrize(("kind", "file", "line", "text", "says"), ERRORS)
@pytest.mark.parametrize("strict", [True, False, None])
def test_a_malformed_line_is_named(root, kind, file, line, text, says, strict):
    toys.replace_line(root / file, line, text)
    with pytest.raises(DataError, match=f"{file}.*{re.escape(says)}"):
        buptcampus.read(root, strict=strict)


def outside(index):
    index["1"]["IR"]["CQ1"]["1"][1] = "../../etc/1.jpg"


def absolute(index):
    index["1"]["IR"]["CQ1"]["1"][0] = "/etc/1.jpg"


def outside_behind_another(index):
    index["1"]["IR"]["CQ1"]["1"] = ["2/IR/CQ1/a.jpg", "/etc/1.jpg"]


def number_behind_another(index):
    index["1"]["IR"]["CQ1"]["1"] = ["2/IR/CQ1/a.jpg", 5]


def no_image(index):
    index["1"]["IR"]["CQ1"]["1"][1] += ".gif"


def empty(index):
    index["1"]["IR"]["CQ1"]["1"] = []


def number(index):
    index["1"]["IR"]["CQ1"]["1"] = 3


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (outside, "has the frame '../../etc/1.jpg', which leaves DATA/"),
        (absolute, "has the frame '/etc/1.jpg', which leaves DATA/"),
        (outside_behind_another, "has the frame '/etc/1.jpg', which leaves DATA/"),
        (number_behind_another, "has the frame '5', which leaves DATA/"),
        (no_image, "1_IR_CQ1_1_8536.jpg.gif', which is no image name"),
        (empty, "tracklet 1 IR CQ1 1 has no frames"),
        (number, "tracklet 1 IR CQ1 1 is not in data_paths.json"),
    ],
)
def test_an_index_that_cannot_be_used_is_named(root, change, says):
    edit(root, change)
    with pytest.raises(DataError, match=f"train.txt, line 1: .*{re.escape(says)}"):
        buptcampus.read(root, strict=False)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"{", "cannot be read as JSON"),
        (b"\xff", "cannot be read as JSON"),
        (b"[1]", "holds a list, not names with values"),
        (b"[" * 100_000, "cannot be read as JSON"),
    ],
)
def test_an_index_that_is_damaged_is_named(root, content, says):
    (root / "data_paths.json").write_bytes(content)
    with pytest.raises(DataError, match=f"data_paths.json: {says}"):
        buptcampus.read(root)


def test_a_pair_that_is_not_aligned_is_doubtful(root):
    edit(root, lambda index: index["4"]["IR"]["W4"]["1"].pop())
    says = "train.txt, line 3: '4 RGB/IR W4 1' is a pair of 3 visible and 2 infrared"
    with pytest.raises(DataError, match=says):
        buptcampus.read(root)
    found = buptcampus.read(root, strict=False)
    assert [len(t) for t in found.train if t.identity == 4] == [3, 2]


def test_an_identity_that_is_trained_and_tested_is_doubtful(root):
    toys.replace_line(root / "train.txt", 3, "12 RGB/IR LS3 2")
    with pytest.raises(DataError, match="identity 12 is also in query.txt, line 2"):
        buptcampus.read(root)
    assert "identity 12" in buptcampus.read(root, strict=False).problems[0]


SPARES = [
    ("train.txt", 3, "4 RGB W4 1", "1 training identities of one modality left out"),
    ("train.txt", 2, "1\tRGB/IR  LS3 2 ", "1 lists with tabs, extra blanks"),
    ("gallery.txt", 2, "", "1 blank lines skipped (gallery.txt line 2)"),
    ("train.txt", 2, "1 RGB/IR CQ1 1", "1 lines listed twice, kept once"),
]


@pytest.mark.parametrize(("file", "line", "text", "says"), SPARES)
def test_what_is_harmless_is_used_and_said(root, file, line, text, says):
    toys.replace_line(root / file, line, text)
    found = buptcampus.read(root)
    assert any(remark.startswith(says) for remark in found.remarks), found.remarks
    left = {1} if "of one modality" in says else {1, 4}
    assert {t.identity for t in found.train} == left
    with pytest.raises(DataError, match="refused because strict=true"):
        buptcampus.read(root, strict=True)


def test_frames_of_elsewhere_are_kept_and_said(root):
    def foreign(index):
        index["1"]["IR"]["CQ1"]["1"][1] = index["4"]["IR"]["W4"]["1"][0]

    edit(root, foreign)
    found = buptcampus.read(root)
    assert found.train[1].paths[1] == root / "DATA/4/IR/W4/4_IR_W4_1_1.jpg"
    kind = "1 tracklets with frames that belong elsewhere, kept (train.txt line 1)"
    assert found.remarks == [kind]


def test_missing_lists_are_named_all_at_once(root):
    for name in ("train.txt", "gallery.txt"):
        (root / name).unlink()
    with pytest.raises(DataError, match="missing 2 of 4 .*: train.txt, gallery.txt"):
        buptcampus.read(root)


def test_a_set_of_which_nobody_can_be_trained_on_is_refused(root):
    toys.write_lines(root / "train.txt", ["1 RGB CQ1 1", "4 IR W4 1"])
    with pytest.raises(DataError, match="no training identity has tracklets of both"):
        buptcampus.read(root)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    root = tmp_path_factory.mktemp("campus") / "set"
    small = synthetic.PRESETS["tiny"]
    small = type(small)(
        "small", small.train, small.test, height=32, width=16, still=(5, 2, 4)
    )
    return synthetic.write(root, small, layout="buptcampus", workers=1, progress=False)


def test_the_embedded_set_is_read_strictly(drawn):
    found = open_dataset(drawn, strict=True, auxiliary=True)
    assert found.layout == "buptcampus" and found.problems == ()
    assert len(found.labels) == 7 and validate(found) == []
    sides = {d: [len(s) for s in pair] for d, pair in found.sides.items()}
    assert sides == {"ir2vis": [2, 12], "vis2ir": [2, 12]}
    for direction in found.sides:
        searched = {t.identity for t in found.gallery(direction)}
        assert {t.identity for t in found.query(direction)} <= searched


def test_pairs_of_the_embedded_set_show_the_same_moments(drawn):
    """Aligned frame by frame: as many frames, and the same phase of the same walk."""
    found = open_dataset(drawn)
    for vis, ir in zip(found.train[::2], found.train[1::2], strict=True):
        assert (vis.identity, vis.camera, len(vis)) == (ir.identity, ir.camera, len(ir))
    frames = synthetic.read_frames(drawn)
    keys = ["identity", "camera", "tracklet", "frame"]
    pairs = frames.pivot(index=keys, columns="modality", values=["phase", "direction"])
    both = pairs.dropna()
    assert len(both) == len(frames) // 2
    for name in ("phase", "direction"):
        assert (both[name]["vis"] == both[name]["ir"]).all()


def test_no_list_holds_the_partner_of_a_query(drawn):
    lines = {
        name: [line.split() for line in (drawn / name).read_text().splitlines()]
        for name in ("query.txt", "gallery.txt")
    }
    partners = [
        [pid, "IR" if modality == "RGB" else "RGB", camera, tracklet]
        for pid, modality, camera, tracklet in lines["query.txt"]
    ]
    assert not [p for p in partners if p in lines["gallery.txt"]]


def test_what_is_known_of_the_embedded_set_is_found(drawn):
    t = open_dataset(drawn).train[0]
    assert synthetic.read_masks(drawn, t).shape == (len(t), 32, 16)
    assert len(synthetic.read_faults(drawn, t)) == len(t)


def test_exported_features_say_who_searches_and_by_which_rule(root, tmp_path):
    """A query of one direction is not in the gallery of the other."""
    found = buptcampus.read(root)
    generator = np.random.default_rng(0)
    sides = {}
    for direction, (query, gallery) in found.sides.items():
        values = [generator.normal(size=(len(side), 4)) for side in (query, gallery)]
        sides[direction] = Side(query, gallery, *values, found.rule)
    features.save(features.of_sides(sides, root), tmp_path / "set.npz")
    again = features.load(tmp_path / "set.npz")
    assert again.about["rule"] == "none"
    searches = ranking.pairs(again)
    assert list(searches) == ["ir2vis", "vis2ir"]
    for direction, (query, gallery) in searches.items():
        side = sides[direction]
        assert (len(query), len(gallery)) == (len(side.query), len(side.gallery))
        scored, _ = ranking.score(query, gallery, "none")
        assert str(scored) == str(side.metrics())


def test_backslashes_of_windows_in_the_index_are_read_as_slashes(root):
    plain = buptcampus.read(root)
    file = root / "data_paths.json"
    file.write_text(file.read_text().replace("/", "\\\\"))
    assert buptcampus.read(root) == plain
