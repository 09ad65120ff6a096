"""Video files: frames in, frames out. What is wrong with a file is said in one line that names it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from vvi import extras

LEAST_RATE = 0.1  # frames a second; what claims fewer is no moving picture


@dataclass(frozen=True)
class Video:
    """A video file that could be opened; iterating decodes it from the start, and may be done again."""

    path: Path
    rate: float  # frames a second
    height: int
    width: int

    def __iter__(self) -> Iterator[np.ndarray]:
        """Frames (H, W, 3) uint8, RGB, in the order in which they are shown; ValueError where the file is damaged or ends too soon."""
        av = extras.load("av", "video")
        count, last = 0, 0.0
        try:
            with av.open(str(self.path)) as file:
                stream = file.streams.video[0]
                stream.codec_context.options = {"err_detect": "explode"}  # else damaged pictures are patched up in silence
                for frame in file.decode(stream):
                    yield frame.to_ndarray(format="rgb24")
                    count, last = count + 1, frame.time or 0.0
                alone = len(file.streams) == 1 and not stream.frames  # then the file as a whole says how long the pictures go on
                promised, end = stream.frames, (file.duration or 0) / av.time_base if alone else 0.0
        except av.error.FFmpegError as error:
            raise ValueError(f"video {self.path} is damaged: {count} frames can be read, then {_cause(error)}") from error
        if not count:
            raise ValueError(f"video {self.path} holds no frames")
        if count < promised:
            raise ValueError(f"video {self.path} is cut off: {count} of {promised} frames are there")
        if last + 3 / self.rate < end:
            raise ValueError(f"video {self.path} is cut off: its frames end at {last:.1f} of {end:.1f} seconds")


def open_video(path: str | Path) -> Video:
    """A video file, ready to be read; FileNotFoundError when there is none, ValueError naming the cause when it is empty or no video."""
    av = extras.load("av", "video")
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
                raise ValueError(f"video {path} holds no pictures, only {', '.join(sorted({s.type for s in file.streams})) or 'nothing'}")
            stream = file.streams.video[0]
            rate, height, width = float(stream.average_rate or 0), stream.codec_context.height, stream.codec_context.width
    except av.error.FFmpegError as error:
        raise ValueError(f"video {path} cannot be opened: {_cause(error)}") from error
    if rate < LEAST_RATE:
        raise ValueError(f"video {path} names no frame rate")
    return Video(path, rate, height, width)


def write_video(path: str | Path, frames: Iterable[np.ndarray], rate: int = 25, quality: int = 20) -> Path:
    """Frames (H, W, 3) uint8 RGB, H and W even -> an H.264 file; appears when it is whole. quality: 0 (best) to 51. ValueError when the name's end tells no container."""
    av = extras.load("av", "video")
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
                    stream = file.add_stream("libx264", rate=Fraction(rate), options={"crf": str(quality), "threads": "1"})
                    stream.height, stream.width, stream.pix_fmt = *frame.shape[:2], "yuv420p"
                file.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
            if stream is None:
                raise ValueError(f"no frames to write into {path}")
            file.mux(stream.encode())
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)
    return path


def _cause(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).splitlines()[0].lower()
