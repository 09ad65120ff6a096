"""Which frames of a tracklet make a clip."""

from __future__ import annotations

import numpy as np


def parts(length: int, frames: int) -> np.ndarray:
    """Split a tracklet into equal parts, one for each frame of a clip.

    The end is padded with the last frame, so a tracklet of fewer than T frames gives
    all of them followed by copies of the last. MITML, Sec. 6.1, of tracklets of 24
    frames. The padding is that of its released code.

    Args:
        length: frames of the tracklet.
        frames: T, frames of the clip.

    Returns:
        Frame positions 0..length-1: (T, ceil(length / T)).

    Raises:
        ValueError: T or the length is below 1.
    """
    if frames < 1:
        raise ValueError(f"a clip needs at least one frame, got T={frames}")
    if length < 1:
        raise ValueError("a tracklet without frames has no clip")
    size = -(-length // frames)
    return np.minimum(np.arange(frames * size), length - 1).reshape(frames, size)


def test_frames(length: int, frames: int, stride: int = 0) -> np.ndarray:
    """Return the frame positions of an evaluation clip, always the same: (T,).

    Paper: MITML does not say which frames a search reads. The first of each part is its
    released code's, and ours for all methods.

    Args:
        length: frames of the tracklet.
        frames: T, frames of the clip.
        stride: 0 takes the first frame of each of T equal parts. Another s takes T
            frames s apart, in the middle of the tracklet.

    Raises:
        ValueError: T or the length is below 1.

    >>> test_frames(24, 6).tolist(), test_frames(13, 6).tolist()
    ([0, 4, 8, 12, 16, 20], [0, 3, 6, 9, 12, 12])
    >>> test_frames(4, 6).tolist()
    [0, 1, 2, 3, 3, 3]
    >>> test_frames(24, 4, stride=2).tolist(), test_frames(5, 4, stride=2).tolist()
    ([8, 10, 12, 14], [0, 2, 4, 4])
    """
    if stride:
        middle = last_start(length, frames, stride) // 2
        return _strided(length, frames, stride, middle)
    return parts(length, frames)[:, 0]


def train_frames(
    length: int, frames: int, rng: np.random.Generator, stride: int = 0
) -> np.ndarray:
    """Draw the frame positions of a training clip: (T,).

    Args:
        length: frames of the tracklet.
        frames: T, frames of the clip.
        rng: draws one frame of each of T equal parts, or the start of a strided clip.
        stride: 0, or the distance between the frames of a clip.

    Raises:
        ValueError: T or the length is below 1.
    """
    if stride:
        start = int(rng.integers(last_start(length, frames, stride) + 1))
        return _strided(length, frames, stride, start)
    table = parts(length, frames)
    return table[np.arange(frames), rng.integers(table.shape[1], size=frames)]


def last_start(length: int, frames: int, stride: int) -> int:
    """Return the last position at which a strided clip may start.

    A tracklet that is shorter than the clip starts it at 0 and repeats its last frame.

    Args:
        length: frames of the tracklet.
        frames: T, frames of the clip.
        stride: distance between the frames of a clip.

    Raises:
        ValueError: T or the length is below 1.
    """
    if frames < 1 or length < 1:
        parts(length, frames)  # raises the right error
    return max(0, length - 1 - (frames - 1) * stride)


def _strided(length: int, frames: int, stride: int, start: int) -> np.ndarray:
    return np.minimum(start + stride * np.arange(frames), length - 1)


test_frames.__test__ = False  # the field's name for it, not a test of pytest
