"""From a video to tracklets on disk that the reader takes, and nothing half-written
when it fails.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from test_video import ONE, turned

from vvi.cli.main import main
from vvi.data import open_dataset, validate
from vvi.data.synthetic.crossing import Crossing, film, read_truth, write_crossing
from vvi.data.video import open_video, write_video
from vvi.video import tracking, tracklets
from vvi.video.tracking import CORNERS, Cut
from vvi.video.tracklets import write_tracklets

SCENE = Crossing(
    people=(1, 2), camera=2, frames=120, height=160, width=240, preset="tiny"
)
RULE = Cut(step=5, height=30)


class Known:
    """A detector that knows the truth; counts frames, and finds nobody after `blind` of
    them.
    """

    def __init__(self, truth, blind: int = 10**6):
        self.truth, self.blind, self.frame = truth, blind, 0

    def __call__(self, frames: np.ndarray) -> list[np.ndarray]:
        boxes = []
        for _ in frames:
            now = self.truth[
                (self.truth.frame == self.frame)
                & (self.truth.visible > 0.5)
                & (self.frame < self.blind)
            ]
            boxes.append(
                np.concatenate(
                    (now[CORNERS].to_numpy(float), np.full((len(now), 1), 0.9)), 1
                )
            )
            self.frame += 1
        return boxes


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    return {
        modality: write_crossing(SCENE, modality, folder / f"{modality}.mp4")
        for modality in ("vis", "ir")
    }


def made(videos, modality, root, camera=3, **options):
    return write_tracklets(
        videos[modality],
        root,
        camera,
        modality,
        Known(read_truth(videos[modality])),
        RULE,
        **options,
    )


def content(root) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def test_the_reader_takes_what_was_written(videos, tmp_path):
    done = made(videos, "ir", tmp_path / "set")
    dataset = open_dataset(tmp_path / "set", part="test")
    query = dataset.query("ir2vis")
    assert (
        len(query) == done.tracklets > 0
        and dataset.gallery("ir2vis") == ()
        and dataset.train == ()
    )
    assert {(t.camera, t.modality) for t in query} == {(3, "ir")} and {
        t.identity for t in query
    } == set(done.identities.values())
    assert all(12 <= len(t) <= 24 for t in query)
    assert validate(dataset) == []
    assert done.frames == SCENE.frames and sorted(
        p.name for p in tmp_path.iterdir()
    ) == ["set"]


def test_pictures_show_the_people_of_the_scene(videos, tmp_path):
    """Independent: every picture is compared with the part of the film around the known
    box of the person whom the track follows.
    """
    done = made(videos, "ir", tmp_path / "set")
    frames, truth = film(SCENE, "ir")
    people = tracking.people(done.tracks, truth)
    track = {identity: number for number, identity in done.identities.items()}
    for t in open_dataset(tmp_path / "set", part="test").query("ir2vis"):
        for path in t.paths:
            moment = int(path.stem) - 1
            row = truth[
                (truth.frame == moment) & (truth.identity == people[track[t.identity]])
            ].iloc[0]
            picture = cv2.imread(str(path))[..., ::-1]
            assert moment % 5 == 0 and picture.shape[0] >= min(row.y2 - row.y1, 160) - 2
            box = done.tracks[
                (done.tracks.frame == moment) & (done.tracks.track == track[t.identity])
            ].iloc[0]
            middle = (
                slice(int(box.y1) + 5, int(box.y2) - 5),
                slice(int(box.x1) + 1, int(box.x2) - 1),
            )
            there = tracklets.crop(frames[moment], box[CORNERS].to_numpy(float))
            assert there.shape == picture.shape and frames[moment][middle].size
            assert np.abs(there.astype(int) - picture).mean() < 10


def test_a_video_that_is_stored_lying_gives_the_same_boxes_and_pictures(
    videos, tmp_path
):
    """The truth beside a film is of what a player shows, and so are boxes and pictures."""
    frames = [np.rot90(frame) for frame in open_video(videos["ir"])]
    lying = turned(tmp_path / "lying", (0, ONE, -ONE, 0), frames)
    detect = Known(read_truth(videos["ir"]))
    done = write_tracklets(lying, tmp_path / "lying_set", 3, "ir", detect, RULE)
    plain = made(videos, "ir", tmp_path / "set")
    assert done.tracklets == plain.tracklets > 0
    assert done.tracks.equals(plain.tracks)
    for path in (tmp_path / "set").rglob("*.jpg"):
        other = tmp_path / "lying_set" / path.relative_to(tmp_path / "set")
        shown, again = cv2.imread(str(path)), cv2.imread(str(other))
        assert shown.shape == again.shape
        assert np.abs(shown.astype(int) - again).mean() < 8


def test_a_second_video_is_added_to_the_first(videos, tmp_path):
    first = made(videos, "ir", tmp_path / "set", camera=3)
    before = content(tmp_path / "set")
    second = made(videos, "vis", tmp_path / "set", camera=4)
    assert not set(first.identities.values()) & set(second.identities.values())
    after = content(tmp_path / "set")
    assert all(after[name] == before[name] for name in before if name.endswith(".jpg"))
    assert after["info/test_name.txt"].startswith(before["info/test_name.txt"])
    dataset = open_dataset(tmp_path / "set", part="test")
    assert (len(dataset.query("ir2vis")), len(dataset.gallery("ir2vis"))) == (
        first.tracklets,
        second.tracklets,
    )
    known = json.loads(after["provisional.json"])
    assert {(w["video"], w["camera"], w["modality"]) for w in known.values()} == {
        ("ir.mp4", 3, "ir"),
        ("vis.mp4", 4, "vis"),
    }
    again = made(videos, "vis", tmp_path / "set", camera=4, again=True)
    assert (
        len(open_dataset(tmp_path / "set", part="test").gallery("ir2vis"))
        == again.tracklets
    )
    assert open_dataset(tmp_path / "set", part="test").query("ir2vis") == ()


def test_a_video_is_not_cut_into_one_folder_twice(videos, tmp_path):
    """Told by its content: neither another name nor another camera makes it another."""
    made(videos, "ir", tmp_path / "set")
    before = content(tmp_path / "set")
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(videos["ir"].read_bytes())
    for video, camera in ((videos["ir"], 3), (copy, 5)):
        with pytest.raises(
            ValueError, match=r"set holds the tracklets of .*mp4 already"
        ):
            write_tracklets(video, tmp_path / "set", camera, "ir", lambda _: [], RULE)
    assert content(tmp_path / "set") == before
    made(videos, "ir", tmp_path / "set", again=True)
    assert content(tmp_path / "set") == before


def test_a_folder_of_an_earlier_version_knows_its_videos_by_name(videos, tmp_path):
    made(videos, "ir", tmp_path / "set")
    file = tmp_path / "set" / "provisional.json"
    old = {k: v | {"content": None} for k, v in json.loads(file.read_text()).items()}
    for about in old.values():
        del about["content"]
    file.write_text(json.dumps(old))
    with pytest.raises(ValueError, match="holds the tracklets of ir.mp4 already"):
        made(videos, "ir", tmp_path / "set")
    made(videos, "ir", tmp_path / "set", camera=4)


def test_short_tracks_are_dropped_and_counted(videos, tmp_path):
    truth = read_truth(videos["ir"])
    with pytest.raises(
        ValueError,
        match="gives no tracklet: 2 tracks, none with 12 kept frames in a row",
    ):
        write_tracklets(
            videos["ir"], tmp_path / "set", 1, "ir", Known(truth, blind=40), RULE
        )
    assert list(tmp_path.iterdir()) == []
    truth = truth[(truth.identity == 1) | (truth.frame < 40)]
    done = write_tracklets(videos["ir"], tmp_path / "set", 1, "ir", Known(truth), RULE)
    assert (
        done.dropped >= 1
        and len(done.identities) == 1
        and set(tracking.people(done.tracks, truth).values()) == {1, 2}
    )


def test_the_kept_rate_follows_the_rate_of_the_video(tmp_path):
    """10 frames a second: every second one is kept, so 60 frames are 30 kept ones, 24
    and 6 (the track begins with its second box, so frame 0 is not kept).
    """
    frames = [np.full((96, 96, 3), 90, np.uint8) for _ in range(60)]
    video = write_video(tmp_path / "slow.mp4", frames, rate=10)
    done = write_tracklets(
        video,
        tmp_path / "set",
        1,
        "vis",
        lambda some: [np.array([[30.0, 10, 60, 90, 0.9]])] * len(some),
    )
    assert (done.tracklets, done.dropped) == (1, 1)
    (t,) = open_dataset(tmp_path / "set", part="test").gallery("ir2vis")
    assert [int(path.stem) for path in t.paths] == list(range(3, 51, 2))


def test_crops_are_as_wide_as_half_their_height_and_stay_inside():
    frame = np.arange(100 * 200 * 3).reshape(100, 200, 3)
    assert tracklets.crop(frame, np.array([90, 20, 100, 60])).shape == (44, 22, 3)
    assert tracklets.crop(frame, np.array([90, 20, 130, 60])).shape == (44, 44, 3)
    assert tracklets.crop(frame, np.array([0, 0, 10, 100])).shape == (100, 32, 3)


def test_a_foreign_folder_is_not_touched(videos, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds no tracklets of an earlier video"):
        made(videos, "ir", tmp_path)
    with pytest.raises(ValueError, match="is a file"):
        made(videos, "ir", tmp_path / "notes.txt")
    assert content(tmp_path) == {"notes.txt": b"mine"}


@pytest.mark.parametrize(("camera", "modality"), [(0, "ir"), (1, "rgb")])
def test_a_wrong_camera_or_modality_is_refused(videos, tmp_path, camera, modality):
    with pytest.raises(
        ValueError, match="cameras count from 1, modalities are vis, ir"
    ):
        write_tracklets(
            videos["ir"],
            tmp_path / "set",
            camera,
            modality,
            Known(read_truth(videos["ir"])),
        )


def test_a_failure_while_pictures_are_written_leaves_what_was_there(
    videos, tmp_path, monkeypatch
):
    made(videos, "ir", tmp_path / "set")
    before = content(tmp_path / "set")
    monkeypatch.setattr(
        tracklets,
        "_write_crops",
        lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")),
    )
    with pytest.raises(OSError, match="cannot write .*: No space left on device"):
        made(videos, "vis", tmp_path / "set")
    with pytest.raises(OSError, match="No space left"):
        made(videos, "vis", tmp_path / "new")
    assert content(tmp_path / "set") == before and [
        p.name for p in tmp_path.iterdir()
    ] == ["set"]


def test_what_a_killed_run_left_is_put_back(videos, tmp_path):
    made(videos, "ir", tmp_path / "set")
    (tmp_path / "set").rename(tmp_path / ".set.old")
    (tmp_path / ".set.part").mkdir()
    made(videos, "vis", tmp_path / "set", camera=4)
    assert {
        t.modality
        for side in open_dataset(tmp_path / "set", part="test").sides["ir2vis"]
        for t in side
    } == {"vis", "ir"}
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_only_the_test_part_is_asked_for_when_there_is_no_other(videos, tmp_path):
    made(videos, "vis", tmp_path / "set")
    with pytest.raises(
        ValueError,
        match="missing 2 of 5 required files: train_name.txt, track_train_info.txt",
    ):
        open_dataset(tmp_path / "set")
    with pytest.raises(ValueError, match="no part 'gallery'"):
        open_dataset(tmp_path / "set", part="gallery")


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing", "does not exist"),
        ("empty", "is empty"),
        ("text", "cannot be opened"),
        ("noise", "is damaged|is cut off|gives no tracklet"),
    ],
)
def test_the_command_says_one_line_and_writes_nothing(
    videos, tmp_path, capsys, kind, says
):
    import re

    path = tmp_path / "bad.mp4"
    if kind != "missing":
        whole = videos["ir"].read_bytes()
        third = len(whole) // 3
        path.write_bytes(
            {
                "empty": b"",
                "text": b"no video\n" * 99,
                "noise": whole[:third]
                + np.random.default_rng(0).bytes(third)
                + whole[2 * third :],
            }[kind]
        )
    code = main(
        [
            "tracklets",
            str(path),
            "--out",
            str(tmp_path / "set"),
            "--camera",
            "1",
            "--modality",
            "ir",
        ]
    )
    out = capsys.readouterr()
    assert code == 2 and out.out == ""
    assert (
        len(out.err.splitlines()) == 1
        and str(path) in out.err
        and re.search(says, out.err)
    )
    assert not [p for p in tmp_path.iterdir() if p != path]


def test_the_command_cuts_tracklets_with_the_stored_detector(
    tmp_path, capsys, monkeypatch
):
    """Two people of the test split at the size that the stored detector knows:
    tracklets of both, read back as they are.
    """
    monkeypatch.setenv("VVI_RUNS", str(tmp_path / "none"))
    scene = Crossing(people=(503, 505), camera=2, frames=130)
    video = write_crossing(scene, "ir", tmp_path / "night.mp4")
    assert (
        main(
            [
                "tracklets",
                str(video),
                "--out",
                str(tmp_path / "set"),
                "--camera",
                "2",
                "--modality",
                "ir",
            ]
        )
        == 0
    )
    assert "tracklets of" in capsys.readouterr().out
    query = open_dataset(tmp_path / "set", part="test").query("ir2vis")
    assert (
        query
        and all(12 <= len(t) <= 24 for t in query)
        and len({t.identity for t in query}) >= 2
    )
    assert main(["check", str(tmp_path / "set"), "--set", "part=test"]) == 0


def test_another_process_that_came_first_is_noticed(videos, tmp_path):
    """Both find an empty folder; one has written when the other has detected."""
    known, root = Known(read_truth(videos["ir"])), tmp_path / "set"

    def slow(frames):
        if not root.exists():
            made(videos, "ir", root)
        return known(frames)

    with pytest.raises(ValueError, match="holds the tracklets of ir.mp4 already"):
        write_tracklets(videos["ir"], root, 3, "ir", slow, RULE)
    names = {about["video"] for about in tracklets._known(root).values()}
    made(videos, "ir", tmp_path / "once")
    assert names == {"ir.mp4"}
    assert len(tracklets._known(root)) == len(tracklets._known(tmp_path / "once"))


def test_a_folder_that_is_a_link_stays_one(videos, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    made(videos, "ir", tmp_path / "link")
    made(videos, "vis", tmp_path / "link", camera=4)
    assert (tmp_path / "link").is_symlink()
    assert {path.name for path in tmp_path.iterdir()} == {"disk", "link"}
    assert content(tmp_path / "disk") == content(tmp_path / "link") != {}


def test_the_folder_of_the_process_is_refused_at_once(videos, tmp_path, monkeypatch):
    made(videos, "ir", tmp_path / "set")
    monkeypatch.chdir(tmp_path / "set")
    for root in (".", tmp_path / "set", ".."):
        with pytest.raises(ValueError, match="is the folder you are in"):
            made(videos, "vis", root, camera=4)


def test_a_video_of_another_camera_with_the_same_name_is_another(videos, tmp_path):
    made(videos, "ir", tmp_path / "set")
    (tmp_path / "b").mkdir()
    same = shutil.copy(videos["ir"], tmp_path / "b" / "copy.mp4")
    other = shutil.copy(videos["vis"], tmp_path / "b" / "ir.mp4")
    assert tracklets.other_videos(tmp_path / "set", Path(same)) == set()
    assert tracklets.other_videos(tmp_path / "set", Path(other)) == {"ir.mp4"}
