"""The ideal observer of leg phase: who of several walks, by timing alone.

It sees in each frame of a clip where in a stride the walker is, with an error, and
knows how frames are chosen, but neither when the clip begins nor how long its tracklet
is. No network that reads the same clips can better tell people who differ in stride
rate alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from vvi.data.clips import parts, test_frames, train_frames
from vvi.data.synthetic import factors

#: Error of a phase, in strides: that of the nearest picture of the same person in
#: another walk, 0.035 from the side to 0.057 from the front (90 people, 12 cameras).
ERROR = 0.05
GRID = 96  # phases in a stride that are told apart
RATES = 15  # rates in the range of one walker
FULL = {24: 1.0}

Flips = Literal["frame", "clip"]


@dataclass(frozen=True)
class Sampling:
    """How the frames of a clip are chosen, as `DataConfig` says it."""

    #: T, frames in a clip.
    frames: int
    #: Frames between two of a clip. 0 takes one frame of each of T equal parts.
    stride: int = 0
    #: Whether each frame is mirrored on its own. A mirrored walker swaps legs.
    flips: Flips = "clip"
    #: As in a search: the first frame of each part, no flips.
    search: bool = False
    #: Length of a tracklet -> how often.
    lengths: Mapping[int, float] = field(default_factory=FULL.copy)


def accuracy(
    ranges: Sequence[tuple[float, float]],
    sampling: Sampling,
    clips: int = 600,
    seed: int = 0,
) -> float:
    """Return how often the observer names the right walker.

    Args:
        ranges: least and greatest stride rate of each walker, in strides a frame.
        sampling: how clips are cut.
        clips: how many are drawn of every walker.
        seed: of the clips.
    """
    if len(ranges) == 1:
        return 1.0
    rng = np.random.default_rng([seed, len(ranges), sampling.frames, sampling.stride])
    right = []
    for number, walker in enumerate(ranges):
        seen = _observed(rng, walker, sampling, clips)
        likely = np.stack([_likelihood(seen, other, sampling) for other in ranges])
        best = likely == likely.max(0)
        right.append((best[number] / best.sum(0)).mean())
    return float(np.mean(right))


def group(size: int) -> list[tuple[float, float]]:
    """Return the stride rates of the members of a group of look-alikes."""
    return [factors.rates(0, position, size) for position in range(size)]


def _observed(
    rng: np.random.Generator,
    walker: tuple[float, float],
    sampling: Sampling,
    clips: int,
) -> np.ndarray:
    """Draw clips of a walker: phases that are seen, (N, T) on the grid."""
    rate = rng.uniform(*walker, clips)
    weights = np.array(list(sampling.lengths.values()))
    lengths = rng.choice(list(sampling.lengths), clips, p=weights / weights.sum())
    which = np.stack([_chosen(rng, length, sampling) for length in lengths])
    phase = rng.random((clips, 1)) + rate[:, None] * which
    phase = phase + rng.normal(0, ERROR, phase.shape)
    if sampling.flips == "frame" and not sampling.search:
        phase = phase + 0.5 * rng.integers(0, 2, phase.shape)
    return np.floor(phase * GRID).astype(np.int64) % GRID


def _chosen(rng: np.random.Generator, length: int, sampling: Sampling) -> np.ndarray:
    count, stride = sampling.frames, sampling.stride
    if sampling.search:
        return test_frames(length, count, stride)
    return train_frames(length, count, rng, stride)


def _likelihood(
    seen: np.ndarray,
    walker: tuple[float, float],
    sampling: Sampling,
) -> np.ndarray:
    """Return the likelihood of clips (N, T) under a walker, up to one factor: (N,)."""
    rates = np.linspace(*walker, RATES)
    starts = np.arange(GRID)
    shifted = (seen[:, :, None] - starts) % GRID  # (N, T, GRID)
    total = np.zeros(len(seen))
    lengths = sampling.lengths if not sampling.stride else FULL
    for length, weight in lengths.items():
        moments = _moments(length, sampling)
        tables = [_table(rates, when, sampling) for when in moments]
        for row in range(RATES):
            product = np.ones(shifted[:, 0].shape)
            for frame, table in enumerate(tables):
                product *= table[row][shifted[:, frame]]
            total += weight * product.mean(1)
    return total


def _moments(length: int, sampling: Sampling) -> list[np.ndarray]:
    """Return the frame numbers from which each frame of a clip may come."""
    if sampling.stride:  # whenever the clip begins: a first phase is unknown anyway
        return list(sampling.stride * np.arange(sampling.frames)[:, None])
    table = parts(length, sampling.frames)
    return list(table[:, :1] if sampling.search else table)


def _table(rates: np.ndarray, moments: np.ndarray, sampling: Sampling) -> np.ndarray:
    """Return the density of a seen phase after the first one: (RATES, GRID)."""
    seen = (np.arange(GRID) + 0.5) / GRID
    away = (seen - rates[:, None, None] * moments[:, None] + 0.5) % 1.0 - 0.5
    density = np.exp(-0.5 * (away / ERROR) ** 2).mean(1)
    if sampling.flips == "frame" and not sampling.search:
        density = (density + np.roll(density, GRID // 2, 1)) / 2
    return density
