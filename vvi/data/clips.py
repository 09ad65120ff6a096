"""Which frames of a tracklet make a clip."""

from __future__ import annotations

import numpy as np


def parts(length: int, frames: int) -> np.ndarray:
    """Frame numbers 0..length-1 cut in `frames` equal parts, the end padded with the last frame: (T, ceil(length/T)).

    A tracklet with fewer images than T gives its frames followed by copies of the last. Section 5 of the MITML paper; the padding rule is the released code's.
    """
    if frames < 1:
        raise ValueError(f"a clip needs at least one frame, got T={frames}")
    if length < 1:
        raise ValueError("a tracklet without frames has no clip")
    each = -(-length // frames)
    return np.minimum(np.arange(each * frames), length - 1).reshape(frames, each)


def test_frames(length: int, frames: int, stride: int = 0) -> np.ndarray:
    """Choose the frames of a clip in a search, the same at every evaluation: (T,).

    Args:
        length: frames of the tracklet.
        frames: T, frames of the clip.
        stride: 0: the first frame of each of T equal parts; s: T frames that stand s
            apart, in the middle of the tracklet.

    >>> test_frames(24, 6).tolist(), test_frames(13, 6).tolist()
    ([0, 4, 8, 12, 16, 20], [0, 3, 6, 9, 12, 12])
    >>> test_frames(4, 6).tolist()
    [0, 1, 2, 3, 3, 3]
    >>> test_frames(24, 4, stride=2).tolist(), test_frames(5, 4, stride=2).tolist()
    ([8, 10, 12, 14], [0, 2, 4, 4])
    """
    if stride:
        return _apart(length, frames, stride, starts(length, frames, stride) // 2)
    return parts(length, frames)[:, 0]


def train_frames(
    length: int, frames: int, rng: np.random.Generator, stride: int = 0
) -> np.ndarray:
    """Draw the frames of a clip in training: (T,).

    Args:
        length: frames of the tracklet.
        frames: T, frames of the clip.
        rng: draws one frame of each of T equal parts, or with a stride the first frame.
        stride: 0, or how far the frames of a clip stand apart.
    """
    if stride:
        first = int(rng.integers(starts(length, frames, stride) + 1))
        return _apart(length, frames, stride, first)
    table = parts(length, frames)
    return table[np.arange(frames), rng.integers(table.shape[1], size=frames)]


def starts(length: int, frames: int, stride: int) -> int:
    """Return the last frame at which a clip of frames a stride apart may begin.

    A tracklet that is too short for the clip gives it from its first frame on, and its
    own last frame for those that it lacks.
    """
    if frames < 1 or length < 1:
        parts(length, frames)  # says what is wrong
    return max(0, length - 1 - (frames - 1) * stride)


def _apart(length: int, frames: int, stride: int, first: int) -> np.ndarray:
    return np.minimum(first + stride * np.arange(frames), length - 1)


test_frames.__test__ = False  # the name is the field's; it is no pytest case
