"""From a raw video to ranked lists."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from vvi import config, experiment
from vvi.cli.main import main
from vvi.data import open_dataset
from vvi.data.loader import decode
from vvi.data.synthetic.crossing import Crossing, read_truth, write_crossing
from vvi.data.transforms import normalise
from vvi.plots import ranked
from vvi.video import search, tracking
from vvi.video.tracking import CORNERS

SCENE = Crossing(
    people=(503, 505), camera=2, frames=120, height=180, width=280, preset="tiny"
)


def known(truth):
    """Boxes of the truth, frame after frame."""
    state = iter(range(10**6))

    def detect(frames):
        tables = [
            truth[(truth.frame == next(state)) & (truth.visible > 0.5)] for _ in frames
        ]
        return [
            np.concatenate((t[CORNERS].to_numpy(float), np.full((len(t), 1), 0.9)), 1)
            for t in tables
        ]

    return detect


@pytest.mark.parametrize(("modality", "other"), [("ir", "vis"), ("vis", "ir")])
def test_a_video_is_searched_in_a_gallery_of_the_other_modality(
    tiny_root, tmp_path, modality, other
):
    settings = config.preset("tiny", "baseline")
    dataset = open_dataset(tiny_root)
    gallery = dataset.gallery("ir2vis" if modality == "ir" else "vis2ir")
    method = experiment.build(settings, len(dataset.labels)).eval()
    video = write_crossing(SCENE, modality, tmp_path / "scene.mp4")
    truth = read_truth(video)
    found = search.search(
        video,
        modality,
        gallery,
        method,
        settings.data,
        known(truth),
        tmp_path / "set",
        top=5,
    )
    assert {t.modality for t in found.query} == {modality} and {
        t.modality for t in found.gallery
    } == {other}
    assert found.top.shape == found.similarity.shape == (len(found.query), 5)
    _check_against_a_slow_search(found, method, settings.data, modality, other)
    people = tracking.people(found.made.tracks, truth)
    assert set(found.identities(people)) <= set(SCENE.people)
    panel = found.panel("night", people)
    assert panel.marks.shape == (len(set(found.identities(people))), 5) and set(
        panel.marks.flat
    ) <= {"right", "wrong"}
    ranked.draw([panel])


def _check_against_a_slow_search(found, method, data, modality, other):
    """The first tracklet's list, one clip at a time: T frames, the first of each of T
    equal parts, the last one repeated where a tracklet does not divide.
    """
    import torch

    def embedded(tracklet, name):
        starts = [
            min(k * -(-len(tracklet) // data.frames), len(tracklet) - 1)
            for k in range(data.frames)
        ]
        clip = torch.stack(
            [decode(tracklet.paths[k], data.height, data.width) for k in starts]
        )[None]
        with torch.no_grad():
            return method.embed(normalise(clip), name)[0].numpy()

    mine = embedded(found.query[0], modality)
    cosines = np.array([mine @ embedded(t, other) for t in found.gallery])
    np.testing.assert_allclose(
        found.similarity[0], np.sort(cosines)[::-1][:5], atol=1e-4
    )
    np.testing.assert_allclose(cosines[found.top[0]], found.similarity[0], atol=1e-4)


def test_an_empty_gallery_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="gallery is empty"):
        search.search(
            tmp_path / "a.mp4",
            "ir",
            (),
            None,
            config.DataConfig(),
            None,
            tmp_path / "set",
        )
    assert not list(tmp_path.iterdir())


def test_from_the_command_line_a_drawn_scene_goes_to_ranked_lists_and_a_picture_of_them(
    tiny_root, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("VVI_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("VVI_CACHE", str(tmp_path / "cache"))
    video, picture = tmp_path / "night.mp4", tmp_path / "lists.png"
    assert (
        main(
            [
                "scene",
                str(video),
                "--modality",
                "ir",
                "--preset",
                "tiny",
                "--people",
                "503",
                "505",
                "--frames",
                "150",
            ]
        )
        == 0
    )
    assert "503, 505 cross the view" in capsys.readouterr().out
    command = [
        "search",
        str(video),
        "--modality",
        "ir",
        "--preset",
        "tiny",
        "--data",
        str(tiny_root),
        "--figure",
        str(picture),
    ]
    assert main(command) == 0
    shown = capsys.readouterr().out
    gallery = {t.identity for t in open_dataset(tiny_root).gallery("ir2vis")}
    lines = [line for line in shown.splitlines() if line.startswith("track ")]
    assert lines and all(
        re.fullmatch(
            r"track \d+, \d+ frames, shows 50[35]: (\d+ \(camera \d+\) -?\d\.\d\d(, )?){5}",
            line,
        )
        for line in lines
    )
    assert {
        int(i) for line in lines for i in re.findall(r"(\d+) \(camera", line)
    } <= gallery
    assert Image.open(picture).size[0] > 300
    for other in (
        "a,b\n1,2\n",
        "",
        "a\n1,2\n1,2,3\n",
    ):  # a table of something else: who the video shows is not known then
        video.with_suffix(".csv").write_text(other)
        assert main(command) == 0
        assert not re.search(r"shows", capsys.readouterr().out)
    _check_that_a_full_disk_costs_no_picture(command, picture, monkeypatch, capsys)


def _check_that_a_full_disk_costs_no_picture(command, picture, monkeypatch, capsys):
    def full(_):
        raise OSError(28, "No space left on device")

    before = picture.read_bytes()
    monkeypatch.setattr("os.fsync", full)
    assert main(command) == 2
    assert f"cannot write {picture}: No space left" in capsys.readouterr().err
    assert picture.read_bytes() == before


def test_a_search_removes_the_tracklets_of_no_other_video(tiny_root, tmp_path):
    dataset, settings = open_dataset(tiny_root), config.preset("tiny", "baseline")
    method = experiment.build(settings, len(dataset.labels)).eval()
    for take, name in enumerate(("one.mp4", "two.mp4")):
        write_crossing(replace(SCENE, take=take), "ir", tmp_path / name)
    search.write_tracklets(
        tmp_path / "one.mp4",
        tmp_path / "set",
        2,
        "ir",
        known(read_truth(tmp_path / "one.mp4")),
    )
    given = dataset.gallery("ir2vis"), method, settings.data
    before = sorted(tmp_path.rglob("*.jpg"))
    with pytest.raises(
        ValueError, match=r"set holds tracklets of one.mp4, which a search would remove"
    ):
        search.search(
            tmp_path / "two.mp4",
            "ir",
            *given,
            known(read_truth(tmp_path / "two.mp4")),
            tmp_path / "set",
        )
    assert sorted(tmp_path.rglob("*.jpg")) == before
    found = search.search(
        tmp_path / "one.mp4",
        "ir",
        *given,
        known(read_truth(tmp_path / "one.mp4")),
        tmp_path / "set",
    )
    assert len(found.query) == found.made.tracklets
