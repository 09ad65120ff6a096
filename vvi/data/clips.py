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


def test_frames(length: int, frames: int) -> np.ndarray:
    """The first frame of each part: (T,). The same at every evaluation.

    >>> test_frames(24, 6).tolist(), test_frames(13, 6).tolist(), test_frames(4, 6).tolist()
    ([0, 4, 8, 12, 16, 20], [0, 3, 6, 9, 12, 12], [0, 1, 2, 3, 3, 3])
    """
    return parts(length, frames)[:, 0]


def train_frames(length: int, frames: int, rng: np.random.Generator) -> np.ndarray:
    """One uniformly drawn frame of each part: (T,)."""
    table = parts(length, frames)
    return table[np.arange(frames), rng.integers(table.shape[1], size=frames)]


test_frames.__test__ = False  # the name is the field's; it is no pytest case
