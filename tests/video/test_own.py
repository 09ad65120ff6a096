"""Own pictures and videos: the features that a reader of a data set would give."""

import shutil
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vvi import experiment
from vvi.config import preset
from vvi.data import open_dataset
from vvi.data.loader import Frames
from vvi.data.synthetic import crossing
from vvi.evaluation import evaluate, features, ranking
from vvi.experiment.trained_network import Trained
from vvi.types import DataError
from vvi.video import detectors, own


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    settings = preset("tiny")
    file = tmp_path_factory.mktemp("net") / "weights"
    file.write_bytes(b"of a network")
    return Trained(settings, experiment.build(settings, 8).eval(), file)


@pytest.fixture
def sides(tiny_root):
    return open_dataset(tiny_root).sides["ir2vis"]


def copy(tracklet, folder):
    folder.mkdir(parents=True)
    for number, path in enumerate(tracklet.paths):
        shutil.copy(path, folder / f"frame {number}.jpg")


def test_a_folder_of_tracklets_gives_what_the_reader_of_a_set_gives(
    net, sides, tmp_path
):
    some = sides[0][:3]
    for number, tracklet in enumerate(some):
        copy(tracklet, tmp_path / "night" / f"{tracklet.identity}" / str(number))
    found = own.embed(tmp_path / "night", net, "ir", camera=4)
    data = net.settings.data
    expected = evaluate.embed(
        net.method, some, Frames(data.height, data.width), data.frames
    )
    np.testing.assert_allclose(found.values, expected, atol=1e-6)
    assert list(found.column("identity")) == [str(t.identity) for t in some]
    assert set(found.column("camera")) == {"4"} and set(found.column("modality")) == {
        "ir"
    }
    assert found.about["weights"] == net.name
    assert found.column("file")[0].endswith(f"frame {len(some[0]) // 2}.jpg")


def test_a_modality_has_a_stem_of_its_own(net, sides, tmp_path):
    torch.manual_seed(0)
    net.method.trunk.stems["ir"][0].weight.data.add_(0.1)
    copy(sides[0][0], tmp_path / "night" / "walk")
    one, other = (own.embed(tmp_path / "night", net, m).values for m in ("ir", "vis"))
    assert abs(one - other).max() > 1e-3


def test_pictures_of_other_kinds_and_sizes_are_read(net, tmp_path):
    r = np.random.default_rng(0)
    for name in ("query 1.png", "Ünal.JPG", "a.webp", "b.bmp"):
        shape = (*r.integers(20, 90, 2), 3)
        Image.fromarray(r.integers(0, 256, shape, dtype=np.uint8)).save(tmp_path / name)
    found = own.embed(tmp_path, net, "vis")
    assert len(found) == 4
    np.testing.assert_allclose(np.linalg.norm(found.values, axis=1), 1, rtol=1e-5)
    alone = own.embed(tmp_path / "query 1.png", net, "vis")
    row = list(found.column("name")).index("query 1.png")
    np.testing.assert_allclose(alone.values[0], found.values[row], atol=1e-5)
    lists = ranking.rank(alone, found)
    assert len(lists) == 3 and "query 1.png" not in set(lists.gallery), "not itself"


def test_a_picture_that_cannot_be_read_is_named(net, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"broken\.jpg cannot be decoded"):
        own.embed(tmp_path, net, "ir")
    with pytest.raises(DataError, match="no such file or folder"):
        own.embed(tmp_path / "nowhere", net, "ir")


def scene(path, people):
    """Draw a video of some of the last people, and return it."""
    people = tuple(sorted(crossing.everyone("tiny", 0))[people])
    drawn = crossing.Crossing(people, 9, 120, preset="tiny", seed=0)
    return crossing.write_crossing(drawn, "ir", path)


def known(video, higher=0):
    """Return a detector that knows the truth, and shifts its boxes."""
    truth = crossing.read_truth(video)
    numbers = count()

    def detect(frames):
        boxes = []
        for _ in frames:
            now = truth[(truth.frame == next(numbers)) & (truth.visible > 0.5)]
            corners = now[["x1", "y1", "x2", "y2"]].to_numpy(float)
            corners -= (0, higher, 0, higher)
            boxes.append(np.c_[corners, np.full(len(corners), 0.9)])
        return boxes

    return detect


@pytest.fixture
def video(tmp_path, monkeypatch):
    monkeypatch.setenv("VVI_CACHE", str(tmp_path / "cache"))
    return scene(tmp_path / "night.mp4", slice(-2, None))


def pictures(found):
    """Return the pictures that rows of features show, as they are now."""
    folder = Path(found.about["source"])
    return [(folder / name).read_bytes() for name in found.column("file")]


def test_pictures_of_features_stay_when_a_video_is_embedded_otherwise(net, video):
    first = own.embed(video, net, "ir", detect=known(video), height=10)
    before = pictures(first)
    other = own.embed(video, net, "ir", detect=known(video, 9), height=10)
    assert pictures(other) != before
    own.embed(video, net, "vis", detect=known(video), height=10)
    own.embed(video, net, "ir", detect=known(video), height=40)
    scene(video, slice(-4, -2))
    own.embed(video, net, "ir", detect=known(video), height=10)
    assert pictures(first) == before


def test_a_video_embedded_again_has_its_pictures_at_the_same_place(net, video):
    first = own.embed(video, net, "ir", detect=known(video), height=10)
    before = pictures(first)
    again = own.embed(video, net, "ir", detect=known(video), height=10)
    assert again.about == first.about and pictures(again) == before
    np.testing.assert_array_equal(again.values, first.values)
    other = own.embed(video, net, "vis", detect=known(video), height=10)
    lists = ranking.rank(first, other)
    assert (lists["query"] != lists["gallery"]).all(), "nobody finds himself"


def test_an_identity_stays_with_the_video_that_it_was_filled_in_for(
    net, video, tmp_path
):
    file = tmp_path / "out.npz"
    first = own.embed(video, net, "ir", detect=known(video), height=10)
    features.save(first, file)
    rows = features.pd.read_csv(tmp_path / "out.csv", dtype=str)
    rows.assign(identity="510").to_csv(tmp_path / "out.csv", index=False)
    again = own.embed(video, net, "ir", 7, known(video), 10)
    kept = features.keep_filled(again, file)
    assert set(kept.column("identity")) == {"510"}
    scene(video, slice(-4, -2))
    about = own.embed(video, net, "ir", detect=known(video), height=10).about
    other = features.Features(first.values, first.table, about)  # named alike
    with pytest.raises(ValueError, match="is filled in, and is not among what"):
        features.keep_filled(other, file)
    file.unlink()
    with pytest.raises(ValueError, match="is filled in, and is not among what"):
        features.keep_filled(other, file)


def test_a_detector_is_known_by_what_it_holds():
    one, other = detectors.build("fcos"), detectors.build("fcos")
    digests = [detectors.Detector(net, 96).digest for net in (one, one, other)]
    assert digests[0] == digests[1] != digests[2]
    assert detectors.Detector(one, None).digest != digests[0]


def test_the_people_of_a_video_are_found_and_embedded(net, video):
    detect = known(video)
    found = own.embed(video, net, "ir", camera=9, detect=detect, height=10)
    assert len(found) >= 2 and set(found.column("identity")) == {""}
    assert found.column("name")[0].startswith("night.mp4/track ")
    assert set(found.column("camera")) == {"9"} and own.has_pictures(found)
    own.draw(ranking.rank(found, found, 2), found, found)
    with pytest.raises(ValueError, match="give detect=, what finds people in it"):
        own.embed(video, net, "ir")


def test_a_drawn_list_marks_right_wrong_and_unknown(net, sides, tmp_path):
    query, gallery = sides[0][:2], sides[1][:6]
    for name, side in (("night", query), ("day", gallery)):
        for number, tracklet in enumerate(side):
            copy(tracklet, tmp_path / name / f"{tracklet.identity}" / str(number))
    copy(sides[1][7], tmp_path / "day" / "stranger")
    found = [
        own.embed(tmp_path / n, net, m) for n, m in (("night", "ir"), ("day", "vis"))
    ]
    lists = ranking.rank(*found)
    fig = own.draw(lists, *found, title="night among day")
    texts = [text.get_text() for text in fig.axes[0].texts]
    assert texts.count("✓") - 1 == (lists.verdict == "right").sum() > 0
    assert texts.count("✗") - 1 == (lists.verdict == "wrong").sum() > 0
    assert texts.count("?") - 1 == (lists.verdict == "unknown").sum() == 2
    assert "night among day" in texts and f"id {query[0].identity}" in texts


def test_features_without_pictures_cannot_be_drawn():
    found = features.Features(
        np.eye(2, dtype=np.float32), features.pd.DataFrame({"name": ["a", "b"]})
    )
    with pytest.raises(FileNotFoundError, match="nothing says where the pictures"):
        own.draw(ranking.rank(found, found), found, found)
