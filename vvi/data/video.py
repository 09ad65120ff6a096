"""Video files: frames in, frames out. What is wrong with a file is said in one line that names it."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vvi.runtime import optional

Turn = tuple[int, int, int, int]  # x' = a x + c y and y' = b x + d y, of 0, 1 and -1
LEAST_RATE = 0.1  # frames a second; what claims fewer is no moving picture


@dataclass(frozen=True)
class Video:
    """A video file that could be opened; iterating decodes it from the start, and may be done again."""

    path: Path
    rate: float  # frames a second
    height: int  # as a player shows it
    width: int
    turn: Turn = (1, 0, 0, 1)  # how stored pictures are turned or mirrored to be shown

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield frames (H, W, 3) uint8, RGB, upright, in the order they are shown.

        ValueError where the file is damaged or ends too soon.
        """
        av = optional.load("av", "video")
        count, last = 0, 0.0
        try:
            with av.open(str(self.path)) as file:
                stream = file.streams.video[0]
                stream.codec_context.options = {
                    "err_detect": "explode"
                }  # else damaged pictures are patched up in silence
                for frame in file.decode(stream):
                    yield upright(frame.to_ndarray(format="rgb24"), self.turn)
                    count, last = count + 1, frame.time or 0.0
                alone = (
                    len(file.streams) == 1 and not stream.frames
                )  # then the file as a whole says how long the pictures go on
                promised, end = (
                    stream.frames,
                    (file.duration or 0) / av.time_base if alone else 0.0,
                )
        except av.error.FFmpegError as error:
            raise ValueError(
                f"video {self.path} is damaged: {count} frames can be read, then {_cause(error)}"
            ) from error
        if not count:
            raise ValueError(f"video {self.path} holds no frames")
        if count < promised:
            raise ValueError(
                f"video {self.path} is cut off: {count} of {promised} frames are there"
            )
        if last + 3 / self.rate < end:
            raise ValueError(
                f"video {self.path} is cut off: its frames end at {last:.1f} of {end:.1f} seconds"
            )


def open_video(path: str | Path) -> Video:
    """A video file, ready to be read; FileNotFoundError when there is none, ValueError naming the cause when it is empty or no video."""
    av = optional.load("av", "video")
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"video {path} does not exist")
    if not path.is_file():
        raise ValueError(f"video {path} is a folder, not a file")
    if not path.stat().st_size:
        raise ValueError(f"video {path} is empty")
    try:
        with av.open(str(path)) as file:
            if not file.streams.video:
                raise ValueError(
                    f"video {path} holds no pictures, only {', '.join(sorted({s.type for s in file.streams})) or 'nothing'}"
                )
            stream = file.streams.video[0]
            rate = float(stream.average_rate or 0)
            height, width = stream.codec_context.height, stream.codec_context.width
            turn = _turn(file, path)
    except av.error.FFmpegError as error:
        raise ValueError(f"video {path} cannot be opened: {_cause(error)}") from error
    if rate < LEAST_RATE:
        raise ValueError(f"video {path} names no frame rate")
    height, width = (width, height) if not turn[0] else (height, width)
    return Video(path, rate, height, width, turn)


def upright(frame: np.ndarray, turn: Turn) -> np.ndarray:
    """A stored picture (h, w, ...) as a player shows it.

    >>> upright(np.array([[1, 2], [3, 4]]), (0, 1, -1, 0))  # a quarter to the right
    array([[3, 1],
           [4, 2]])
    """
    a, b, c, d = turn
    if turn == (1, 0, 0, 1):
        return frame
    if not a:
        frame, down, across = frame.swapaxes(0, 1), b, c
    else:
        down, across = d, a
    return np.ascontiguousarray(frame[::down, ::across])


def _turn(file: Any, path: Path) -> Turn:
    """How a file says its pictures are shown, from its first frame; (1, 0, 0, 1): as stored.

    ValueError where it turns them by less than a quarter.
    """
    av = optional.load("av", "video")
    try:
        frame = next(file.decode(video=0), None)
    except av.error.FFmpegError:  # whoever reads the frames is told
        return (1, 0, 0, 1)
    found = [
        d for d in (frame.side_data if frame else ()) if d.type.name == "DISPLAYMATRIX"
    ]
    if not found:
        return (1, 0, 0, 1)
    a, b, _, c, d = struct.unpack("5i", bytes(found[0])[:20])
    most = max(abs(v) for v in (a, b, c, d))
    turn = tuple(round(v / most) if most else 0 for v in (a, b, c, d))
    straight = abs(turn[0] * turn[3] - turn[1] * turn[2]) == 1
    if not straight or sum(map(abs, turn)) != 2:
        raise ValueError(f"video {path} is shown at a slant: turn it by quarters only")
    return turn


def write_video(
    path: str | Path, frames: Iterable[np.ndarray], rate: int = 25, quality: int = 20
) -> Path:
    """Frames (H, W, 3) uint8 RGB, H and W even -> an H.264 file; appears when it is whole. quality: 0 (best) to 51. ValueError when the name's end tells no container."""
    av = optional.load("av", "video")
    path = Path(path)
    if path.suffix.lower() not in (".mp4", ".mkv", ".mov", ".avi"):
        raise ValueError(f"video {path}: its name must end in .mp4, .mkv, .mov or .avi")
    half = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    half.parent.mkdir(parents=True, exist_ok=True)
    try:
        with av.open(str(half), "w") as file:
            stream = None
            for frame in frames:
                if stream is None:
                    stream = file.add_stream(
                        "libx264",
                        rate=Fraction(rate),
                        options={"crf": str(quality), "threads": "1"},
                    )
                    stream.height, stream.width, stream.pix_fmt = (
                        *frame.shape[:2],
                        "yuv420p",
                    )
                file.mux(
                    stream.encode(
                        av.VideoFrame.from_ndarray(
                            np.ascontiguousarray(frame), format="rgb24"
                        )
                    )
                )
            if stream is None:
                raise ValueError(f"no frames to write into {path}")
            file.mux(stream.encode())
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)
    return path


def _cause(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).splitlines()[0].lower()
