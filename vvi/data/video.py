"""Read and write video files. Errors name the file and the cause in one line."""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vvi.runtime import optional, validation

#: (a, b, c, d) of x' = a x + c y and y' = b x + d y, each 0, 1 or -1.
Turn = tuple[int, int, int, int]
UPRIGHT: Turn = (1, 0, 0, 1)
#: Frames per second below which a file is no moving picture.
LEAST_RATE = 0.1
SUFFIXES = (".mp4", ".mkv", ".mov", ".avi")


@dataclass(frozen=True)
class Video:
    """A video file that could be opened. Each iteration decodes it from the start."""

    path: Path
    #: Frames per second.
    rate: float
    #: Height in pixels, as a player shows it.
    height: int
    #: Width in pixels, as a player shows it.
    width: int
    #: How stored frames are rotated or mirrored to be shown.
    turn: Turn = UPRIGHT

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield frames (H, W, 3) uint8, RGB, upright, in the order they are shown.

        Raises:
            ValueError: the file is damaged or ends too soon.
        """
        av = optional.load("av", "video")
        count, last = 0, 0.0
        try:
            with av.open(_address(self.path)) as file:
                stream = file.streams.video[0]
                # else damaged frames are concealed without an error
                stream.codec_context.options = {"err_detect": "explode"}
                for frame in file.decode(stream):
                    yield upright(frame.to_ndarray(format="rgb24"), self.turn)
                    count, last = count + 1, frame.time or 0.0
                promised, end = stream.frames, _end(file, stream)
                shown = _shown(stream)
        except av.error.FFmpegError as error:
            what = f"{count} frames can be read, then {_cause(error)}"
            raise ValueError(f"video {self.path} is damaged: {what}") from error
        if not count:
            raise ValueError(f"video {self.path} holds no frames")
        if count < promised and last + 3 / self.rate < shown:
            what = f"{count} of {promised} frames are there"
            raise ValueError(f"video {self.path} is cut off: {what}")
        if last + 3 / self.rate < end:
            what = f"its frames end at {last:.1f} of {end:.1f} seconds"
            raise ValueError(f"video {self.path} is cut off: {what}")


def _shown(stream: Any) -> float:
    """Return the seconds that a player shows, infinity if the stream does not say.

    A video that was trimmed without being encoded again keeps frames that no player
    shows, and counts them.
    """
    if not (stream.duration and stream.time_base):
        return math.inf
    return float(stream.duration * stream.time_base)


def _end(file: Any, stream: Any) -> float:
    """Return the seconds that the frames should last, 0 if the file does not say.

    The duration of a file is that of its frames when they are its only stream. It is
    needed only where the stream does not count its frames.
    """
    av = optional.load("av", "video")
    if len(file.streams) > 1 or stream.frames:
        return 0.0
    return (file.duration or 0) / av.time_base


def open_video(path: str | Path) -> Video:
    """Open a video file for reading.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: naming why the file cannot be used, such as that it is empty.
    """
    av = optional.load("av", "video")
    path = validation.at_home(path)
    if not path.exists():
        raise FileNotFoundError(f"video {path} does not exist")
    if not path.is_file():
        raise ValueError(f"video {path} is a folder, not a file")
    if not path.stat().st_size:
        raise ValueError(f"video {path} is empty")
    try:
        with av.open(_address(path)) as file:
            if not file.streams.video:
                kinds = ", ".join(sorted({stream.type for stream in file.streams}))
                what = f"holds no pictures, only {kinds or 'nothing'}"
                raise ValueError(f"video {path} {what}")
            stream = file.streams.video[0]
            rate = float(stream.average_rate or 0)
            height, width = stream.codec_context.height, stream.codec_context.width
            turn = _read_turn(file, path)
    except av.error.FFmpegError as error:
        raise ValueError(f"video {path} cannot be opened: {_cause(error)}") from error
    if rate < LEAST_RATE:
        raise ValueError(f"video {path} names no frame rate")
    if not turn[0]:
        height, width = width, height
    return Video(path, rate, height, width, turn)


def upright(frame: np.ndarray, turn: Turn) -> np.ndarray:
    """Rotate a stored frame (h, w, ...) as a player shows it.

    >>> upright(np.array([[1, 2], [3, 4]]), (0, 1, -1, 0))  # a quarter to the right
    array([[3, 1],
           [4, 2]])
    """
    a, b, c, d = turn
    if turn == UPRIGHT:
        return frame
    if a:
        down, across = d, a
    else:
        frame, down, across = frame.swapaxes(0, 1), b, c
    return np.ascontiguousarray(frame[::down, ::across])


def _read_turn(file: Any, path: Path) -> Turn:
    """Read from the first frame how a file wants its frames rotated.

    Raises:
        ValueError: by less than a quarter.
    """
    av = optional.load("av", "video")
    try:
        frame = next(file.decode(video=0), None)
    except av.error.FFmpegError:  # iterating the video raises the right error
        return UPRIGHT
    side_data = frame.side_data if frame else ()
    matrices = [data for data in side_data if data.type.name == "DISPLAYMATRIX"]
    if not matrices:
        return UPRIGHT
    a, b, _, c, d = struct.unpack("5i", bytes(matrices[0])[:20])
    largest = max(map(abs, (a, b, c, d)))
    turn = tuple(round(v / largest) if largest else 0 for v in (a, b, c, d))
    is_straight = abs(turn[0] * turn[3] - turn[1] * turn[2]) == 1
    if not is_straight or sum(map(abs, turn)) != 2:
        raise ValueError(f"video {path} is shown at a slant: turn it by quarters only")
    return turn


def write_video(
    path: str | Path, frames: Iterable[np.ndarray], rate: int = 25, quality: int = 20
) -> Path:
    """Write an H.264 file, which appears only when it is complete.

    Args:
        path: ends in one of `SUFFIXES`, which names the container.
        frames: (H, W, 3) uint8, RGB, H and W even.
        rate: frames per second.
        quality: 0 (best) to 51.

    Raises:
        ValueError: the suffix names no container, there are no frames, or the file
            cannot be written.
    """
    av = optional.load("av", "video")
    path = validation.at_home(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"video {path}: its name must end in .mp4, .mkv, .mov or .avi")
    partial = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        with av.open(_address(partial), "w") as file:
            stream = None
            for frame in frames:
                if stream is None:
                    stream = _add_stream(file, frame.shape, rate, quality)
                pixels = np.ascontiguousarray(frame)
                picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                file.mux(stream.encode(picture))
            if stream is None:
                raise ValueError(f"no frames to write into {path}")
            file.mux(stream.encode())
        partial.replace(path)
    except av.error.FFmpegError as error:
        what = f"cannot be written: {_cause(error)}"
        raise ValueError(f"video {path} {what}") from error
    finally:
        partial.unlink(missing_ok=True)
    return path


def _address(path: Path) -> str:
    """Return how FFmpeg finds a file: `cam2-12:` at the front would be a protocol."""
    return str(path.absolute())


def _add_stream(file: Any, shape: tuple[int, ...], rate: int, quality: int) -> Any:
    """Add an H.264 stream whose bytes depend on nothing but the frames.

    With the macroblock tree of x264, which is its default, the same frames give other
    bytes each time, also on one thread.
    """
    options = {"crf": str(quality), "threads": "1", "x264-params": "mbtree=0"}
    stream = file.add_stream("libx264", rate=Fraction(rate), options=options)
    stream.height, stream.width = shape[:2]
    stream.pix_fmt = "yuv420p"
    return stream


def _cause(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).splitlines()[0].lower()
