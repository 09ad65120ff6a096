"""Video files in and out, and what is said of files that are none."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from vvi.data.video import open_video, write_video

ONE = 1 << 16  # of the matrix in the head of a file
RAMP = np.linspace(0, 255, 64).astype(np.uint8)


def pictures(count: int) -> list[np.ndarray]:
    """Soft pictures that differ: a ramp that moves, brighter to the right."""
    return [
        np.repeat(np.repeat(np.roll(RAMP, 5 * k)[None, :, None], 48, 0), 3, 2)
        for k in range(count)
    ]


def test_frames_come_back_in_order_at_their_rate(tmp_path):
    frames = pictures(30)
    video = open_video(write_video(tmp_path / "a.mp4", frames, rate=12, quality=5))
    assert (video.rate, video.height, video.width) == (12.0, 48, 64)
    seen = list(video)
    assert len(seen) == 30 and all(
        frame.shape == (48, 64, 3) and frame.dtype == np.uint8 for frame in seen
    )
    for k, frame in enumerate(
        seen
    ):  # nearest to itself: no frame is lost, doubled or out of place
        assert (
            np.argmin([np.abs(frame.astype(int) - other).mean() for other in frames])
            == k
        )
    assert len(list(video)) == 30, "a video can be read twice"


def test_a_colon_in_a_name_is_no_protocol(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    video = open_video(write_video(Path("cam2-12:30:05.mp4"), pictures(3)))
    assert len(list(video)) == 3 and video.path == Path("cam2-12:30:05.mp4")


def test_pictures_that_cannot_be_encoded_name_the_file(tmp_path):
    with pytest.raises(
        ValueError, match=r"video .*odd\.mp4 cannot be written: "
    ) as said:
        write_video(tmp_path / "odd.mp4", [np.zeros((33, 31, 3), np.uint8)])
    assert "\n" not in str(said.value) and not list(tmp_path.iterdir())


def test_colours_keep_their_channels(tmp_path):
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 200
    (seen,) = open_video(write_video(tmp_path / "red.mp4", [red], quality=5))
    assert seen[..., 0].mean() > 180 and seen[..., 1:].mean() < 20


SHOWN = {  # of a display matrix, what a player makes of a picture
    (ONE, 0, 0, ONE): lambda frame: frame,
    (0, ONE, -ONE, 0): lambda frame: np.rot90(frame, -1),
    (0, -ONE, ONE, 0): lambda frame: np.rot90(frame, 1),
    (-ONE, 0, 0, -ONE): lambda frame: np.rot90(frame, 2),
    (-ONE, 0, 0, ONE): lambda frame: frame[:, ::-1],
    (ONE, 0, 0, -ONE): lambda frame: frame[::-1],
    (0, ONE, ONE, 0): lambda frame: frame.swapaxes(0, 1),
    (0, -ONE, -ONE, 0): lambda frame: np.rot90(frame, 2).swapaxes(0, 1),
}


def turned(path, matrix, frames, suffix=".mp4"):
    """A video whose head says how its pictures are turned, as phones write them."""
    content = bytearray(write_video(path.with_suffix(suffix), frames).read_bytes())
    plain = struct.pack(">9i", ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30)
    at = content.find(plain, content.find(b"tkhd"))
    a, b, c, d = matrix
    content[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.with_suffix(suffix).write_bytes(content)
    return path.with_suffix(suffix)


@pytest.mark.parametrize("matrix", SHOWN)
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_frames_are_turned_as_the_file_says(tmp_path, matrix, suffix):
    stored = np.full((48, 64, 3), 20, np.uint8)
    stored[:16, :16], stored[32:, 48:] = (250, 20, 20), (20, 250, 20)
    video = open_video(turned(tmp_path / "a", matrix, [stored] * 3, suffix))
    shown = SHOWN[matrix](stored)
    seen = list(video)
    assert (video.height, video.width) == shown.shape[:2] and len(seen) == 3
    for frame in seen:
        assert frame.shape == shown.shape and frame.flags["C_CONTIGUOUS"]
        assert np.abs(frame.astype(int) - shown).mean() < 6


def test_a_video_at_a_slant_is_refused(tmp_path):
    part = round(ONE / 2**0.5)
    path = turned(tmp_path / "a", (part, part, -part, part), pictures(2))
    with pytest.raises(ValueError, match="a.mp4 is shown at a slant"):
        open_video(path)


def broken(path, kind: str):
    """A file of each kind that cannot be read as a video."""
    whole = write_video(
        path.with_name("whole.mp4"),
        [
            np.random.default_rng(k).integers(0, 256, (48, 64, 3), np.uint8)
            for k in range(40)
        ],
    ).read_bytes()
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("this is no video\n" * 40)
    elif kind == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "noise inside":
        middle = len(whole) // 4
        path.write_bytes(
            whole[:middle]
            + np.random.default_rng(0).bytes(middle)
            + whole[2 * middle :]
        )
    elif kind == "folder":
        path.mkdir()
    elif kind == "sound":
        _write_sound(path)
    return path


def _write_sound(path) -> None:
    import av

    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 4096), np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate = 8000
        file.mux(stream.encode(frame))
        file.mux(stream.encode())


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".avi"])
@pytest.mark.parametrize("share", [0.4, 0.9])
def test_a_video_that_ends_too_soon_is_refused_in_every_container(
    tmp_path, suffix, share
):
    whole = write_video(
        tmp_path / f"whole{suffix}",
        [
            np.random.default_rng(k).integers(0, 256, (48, 64, 3), np.uint8)
            for k in range(60)
        ],
    )
    assert len(list(open_video(whole))) == 60
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[: int(share * whole.stat().st_size)])
    with pytest.raises(
        ValueError, match=rf"video {cut} (is cut off|is damaged|cannot be opened)"
    ):
        list(open_video(cut))


@pytest.mark.parametrize(
    ("kind", "error", "says"),
    [
        ("missing", FileNotFoundError, "does not exist"),
        ("empty", ValueError, "is empty"),
        ("text", ValueError, "cannot be opened: invalid data"),
        ("cut", ValueError, "cannot be opened: invalid data"),
        ("noise inside", ValueError, "is damaged|is cut off"),
        ("folder", ValueError, "is a folder"),
        ("sound", ValueError, "holds no pictures, only audio"),
    ],
)
def test_a_file_that_is_no_video_is_named_with_its_cause(tmp_path, kind, error, says):
    path = broken(tmp_path / "bad.mp4", kind)
    with pytest.raises(error, match=says) as caught:
        list(open_video(path))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_writer_that_fails_leaves_nothing(tmp_path):
    def some():
        yield from pictures(3)
        raise ValueError("the camera broke")

    with pytest.raises(ValueError, match="the camera broke"):
        write_video(tmp_path / "a.mp4", some())
    with pytest.raises(ValueError, match="no frames"):
        write_video(tmp_path / "a.mp4", [])
    assert list(tmp_path.iterdir()) == []


def test_the_same_frames_are_the_same_bytes_every_time(tmp_path):
    picture = np.random.default_rng(0).integers(0, 40, (240, 400, 3), np.uint8)
    frames = []
    for moment in range(60):
        frame = np.roll(picture, moment, axis=1)
        frame[80:200, 2 * moment : 2 * moment + 30] = 200
        frames.append(frame)
    files = [write_video(tmp_path / f"{take}.mp4", frames) for take in range(4)]
    assert len({file.read_bytes() for file in files}) == 1
