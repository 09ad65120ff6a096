"""Detectors: counting of right and false boxes, a small one that learns, records and
weights.
"""

from __future__ import annotations

import lzma
import socket
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from vvi.video import detectors, tracking, train_detectors
from vvi.video.detectors import NAMES, Detector
from vvi.video.train_detectors import DetectorRecipe, Moments


def blobs(count: int, seed: int) -> Moments:
    """Dark pictures with one to three bright upright boxes that do not touch: the
    easiest people there are, by day and by night the same.
    """
    rng = np.random.default_rng(seed)
    pictures, boxes = np.full((count, 48, 96, 3), 30, np.uint8), []
    for picture in pictures:
        picture += rng.integers(0, 20, picture.shape).astype(np.uint8)
        own = []
        for column in rng.permutation(3)[: int(rng.integers(1, 4))]:
            x, y, high = (
                4 + 32 * int(column) + int(rng.integers(0, 12)),
                int(rng.integers(2, 10)),
                int(rng.integers(28, 36)),
            )
            wide = round(high / 2.4)
            picture[y : y + high, x : x + wide] = 200
            own.append((2 * x, 2 * y, 2 * (x + wide), 2 * (y + high), 1.0))
        boxes.append(np.array(own, float))
    return Moments(
        pictures,
        tuple("vis" if k % 2 else "ir" for k in range(count)),
        boxes,
        (96, 192),
    )


def slow_hits(boxes, truth, certain=0.5) -> tuple[int, int, int]:
    taken, right, false = set(), 0, 0
    for box in sorted((b for b in boxes if b[4] >= certain), key=lambda b: -b[4]):
        near = [tracking.overlap(box[None], t[None])[0, 0] for t in truth]
        best = max(
            (k for k in range(len(truth)) if k not in taken and truth[k][4] >= 0.3),
            key=lambda k: near[k],
            default=None,
        )
        if best is not None and near[best] >= 0.5:
            taken.add(best)
            right += 1
        elif not any(near[k] >= 0.5 and truth[k][4] < 0.3 for k in range(len(truth))):
            false += 1
    return right, false, sum(t[4] >= 0.3 for t in truth) - right


@pytest.mark.parametrize("seed", range(6))
def test_hits_agree_with_the_slow_count(seed):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 60, (5, 2))
    truth = np.concatenate((corners, corners + (20, 50), rng.uniform(0, 1, (5, 1))), 1)
    boxes = np.concatenate(
        (
            truth[rng.integers(0, 5, 9), :4] + rng.normal(0, 4, (9, 4)),
            rng.uniform(0.2, 1, (9, 1)),
        ),
        1,
    )
    assert train_detectors.hits(boxes, truth) == slow_hits(boxes, truth)


def test_hits_by_hand():
    truth = np.array([[0, 0, 10, 10, 1.0], [100, 0, 110, 10, 0.1]])
    boxes = np.array(
        [
            [0, 0, 10, 10, 0.9],
            [1, 0, 11, 10, 0.8],
            [100, 0, 110, 10, 0.7],
            [50, 0, 60, 10, 0.4],
        ]
    )
    assert train_detectors.hits(boxes, truth) == (1, 1, 0), (
        "the second box is a double, the third on somebody hidden, the fourth too weak to count"
    )
    assert train_detectors.hits(boxes[:0], truth) == (0, 0, 1)
    assert train_detectors.hits(boxes, truth[:0]) == (0, 3, 0)


def test_the_printed_rows_of_table_1_are_harmonic_means():
    """Eq. 22 on the precision and recall that the paper prints gives its F1, but for
    YOLOv7 by day, where the table is 0.001 below.
    """
    for precision, recall, f1 in (
        (0.893, 0.917, 0.905),
        (0.861, 0.874, 0.867),
        (0.909, 0.916, 0.912),
        (0.880, 0.906, 0.893),
        (0.913, 0.936, 0.924),
    ):
        boxes = 10**6
        found = train_detectors.rates(
            round(recall * boxes),
            round(recall * boxes * (1 / precision - 1)),
            boxes - round(recall * boxes),
        )
        assert found["precision"] == pytest.approx(precision, abs=1e-5) and found[
            "recall"
        ] == pytest.approx(recall, abs=1e-5)
        assert found["f1"] == pytest.approx(f1, abs=6e-4)


@pytest.mark.parametrize("name", NAMES)
def test_every_small_detector_takes_a_step_and_gives_boxes_of_the_frame(name):
    recipe = DetectorRecipe(name, height=48, steps=2, batch=2)
    detector, history = train_detectors.train(recipe, blobs(4, 0), "cpu")
    assert len(history) == 2 and np.isfinite(history).all()
    (found,) = replace(detector, least=0.0)(np.zeros((1, 96, 192, 3), np.uint8))
    assert (
        found.shape[1] == 5
        and (found[:, [0, 2]] <= 192).all()
        and (found[:, [1, 3]] <= 96).all()
        and (found >= 0).all()
    )
    assert sum(p.numel() for p in detector.network.parameters()) < 450_000, (
        "half precision must stay below one megabyte"
    )


def test_a_small_detector_learns_bright_boxes_in_seconds():
    detector, _ = train_detectors.train(
        DetectorRecipe("fcos", height=48, steps=60, batch=4), blobs(60, 0)
    )
    found = train_detectors.scores(detector, blobs(20, 1))
    assert found["day"]["f1"] > 0.8 and found["night"]["f1"] > 0.8


def test_moments_hold_the_same_people_by_day_and_by_night():
    known = train_detectors.moments(3, "test", 48, each=2)
    assert known.pictures.shape == (6, 48, 80, 3) and known.light == (
        "vis",
        "vis",
        "ir",
        "ir",
        "vis",
        "ir",
    )
    assert all(
        (a == b).all()
        for a, b in (
            (known.boxes[0], known.boxes[2]),
            (known.boxes[1], known.boxes[3]),
            (known.boxes[4], known.boxes[5]),
        )
    )
    assert (known.pictures[0] != known.pictures[2]).any()


def test_a_record_comes_back_with_its_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("VVI_RUNS", str(tmp_path))
    monkeypatch.setattr(
        train_detectors,
        "follow",
        lambda detector: {
            light: {"MOTA": 0.5, "IDF1": 0.5, "switches": 1}
            for light in ("day", "night")
        },
    )
    monkeypatch.setattr(train_detectors, "speed", lambda detector: 10.0)
    recipe = DetectorRecipe("fcos", height=48, steps=3, batch=2)
    record = train_detectors.run(recipe, known=(blobs(4, 0), blobs(4, 1)))
    assert (
        train_detectors.find(recipe) == record and train_detectors.run(recipe) == record
    ), "the stored record is used"
    assert train_detectors.find(replace(recipe, steps=4)) is None
    detector = replace(detectors.load("fcos"), height=48)
    assert train_detectors.scores(detector, blobs(4, 1)) == record.scores, (
        "what was scored is what is stored"
    )
    table = train_detectors.table({"fcos": record})
    assert table.index.tolist() == [("FCOS", "day"), ("FCOS", "night")]
    assert table.loc[("FCOS", "day"), "fps"] == 10.0 and table.f1.tolist() == [
        record.scores[light]["f1"] for light in ("day", "night")
    ]
    monkeypatch.setattr(train_detectors, "VERSION", 2)
    assert train_detectors.find(recipe) is None, (
        "a record of another version is not used"
    )


def test_weights_are_packed_and_those_that_are_not_are_read_too(tmp_path, monkeypatch):
    monkeypatch.delenv("VVI_RUNS", raising=False)
    folder = tmp_path / detectors.FOLDER
    folder.mkdir()
    packed, record = folder / "fcos.safetensors.xz", folder / "fcos.json"
    committed = detectors.stored("fcos")[-1]
    packed.write_bytes(committed.with_suffix(detectors.PACKED).read_bytes())
    record.write_bytes(committed.read_bytes())
    monkeypatch.setenv("VVI_RUNS", str(tmp_path))
    assert detectors.stored("fcos")[0] == record
    known = detectors.load("fcos").network.state_dict()
    plain = packed.with_suffix("")
    plain.write_bytes(lzma.decompress(packed.read_bytes()))
    packed.write_bytes(packed.read_bytes()[:-9])
    with pytest.raises(ValueError, match="fcos.safetensors.xz holds no weights"):
        detectors.load("fcos")
    packed.unlink()
    for state in (detectors.load("fcos"), detectors.load("fcos", plain)):
        for name, value in state.network.state_dict().items():
            assert torch.equal(value, known[name])


def test_the_stored_records_are_of_this_version_and_complete():
    for name in NAMES:
        record = train_detectors.find(DetectorRecipe(name))
        assert record is not None, (
            f"book/records/detectors/{name}.json is missing or of another version: vvi.video.train_detectors.records(), then collect()"
        )
        for light in ("day", "night"):
            row = record.scores[light]
            assert row["f1"] == pytest.approx(
                2
                * row["precision"]
                * row["recall"]
                / (row["precision"] + row["recall"])
            )
            followed = record.following[light]
            wrong = followed["switches"] + followed["misses"] + followed["false"]
            assert followed["MOTA"] == pytest.approx(1 - wrong / followed["boxes"])
    assert isinstance(
        train_detectors.table(
            {name: train_detectors.find(DetectorRecipe(name)) for name in NAMES}
        ),
        pd.DataFrame,
    )


def test_building_detectors_and_following_people_opens_no_socket(monkeypatch):
    def closed(*_, **__):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", closed)
    for name in NAMES:
        detectors.build(name)
    boxes = [np.array([[10.0 + k, 10.0, 40.0 + k, 110.0, 0.9]]) for k in range(20)]
    assert tracking.follow(iter(boxes), 25).track.nunique() == 1


def test_weights_that_are_not_there_are_never_fetched(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(
        torch.hub,
        "load_state_dict_from_url",
        lambda *_, **__: pytest.fail("something was fetched"),
    )
    with pytest.raises(
        FileNotFoundError,
        match="put torchvision's file fasterrcnn_mobilenet_v3_large_320_fpn-.*; nothing is downloaded",
    ):
        detectors.load("fasterrcnn_mobilenet_v3_large_320_fpn")
    with pytest.raises(
        ValueError, match="no detector 'yolo'; there are fcos, retinanet, fasterrcnn, "
    ):
        detectors.load("yolo")
    with pytest.raises(
        FileNotFoundError, match="no weights of the small detector 'fcos' at"
    ):
        detectors.load("fcos", tmp_path / "nothing")
    for name, content in (
        ("fcos", b"no weights"),
        ("ssdlite320_mobilenet_v3_large", b"no weights"),
        ("ssdlite320_mobilenet_v3_large", b""),
    ):
        (tmp_path / "bad").write_bytes(content)
        with pytest.raises(
            ValueError, match="bad holds no weights of this detector"
        ) as caught:
            detectors.load(name, tmp_path / "bad")
        assert "\n" not in str(caught.value)


def test_torchvision_weights_are_read_from_a_file(tmp_path):
    from torchvision.models import detection

    torch.manual_seed(0)
    network = detection.ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None
    )
    torch.save(network.state_dict(), tmp_path / "ssd.pth")
    detector = detectors.load("ssdlite320_mobilenet_v3_large", tmp_path / "ssd.pth")
    assert isinstance(detector, Detector) and detector.height is None
    assert detector(np.zeros((1, 64, 96, 3), np.uint8))[0].shape[1] == 5
