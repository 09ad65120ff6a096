"""From maps to vectors, from frames to clips.

Means keep the type of their maps. Under autocast the pooled feature is in half
precision, and the triplet reads it so, but in float32 behind the LSTMs of IBAN and
behind the generalised mean of DI2L.
"""

from __future__ import annotations

from torch import Tensor


def global_average(maps: Tensor) -> Tensor:
    """Average over the positions of a map: (N, C, h, w) -> (N, C)."""
    return maps.mean((-2, -1))


def temporal_mean(feat: Tensor) -> Tensor:
    """Average over the frames of a clip: (B, T, D) -> (B, D)."""
    return feat.mean(1)


def over_frames(x: Tensor, frames: int) -> Tensor:
    """Average over the frames of each clip: (BT, ...) -> (B, ...)."""
    return temporal_mean(x.unflatten(0, (-1, frames)))


def clip_average(maps: Tensor, frames: int) -> Tensor:
    """Average over positions, then over the frames: (BT, C, h, w) -> (B, C)."""
    return over_frames(global_average(maps), frames)
