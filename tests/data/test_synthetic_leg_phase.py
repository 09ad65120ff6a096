"""The ideal observer of leg phase, against a slow reference and what is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vvi.data.synthetic import factors, leg_phase
from vvi.data.synthetic.leg_phase import Sampling

#: Lengths of tracklets as in training sets: as many of 24 frames as there are films,
#: and three of four rests are kept.
LENGTHS = {**dict.fromkeys(range(12, 24), 1 / 16), 24: 1.0}
PAIR = [factors.SLOW, factors.FAST]


def told(
    frames: int, stride: int = 0, flips: str = "clip", search: bool = False
) -> float:
    return leg_phase.accuracy(PAIR, Sampling(frames, stride, flips, search, LENGTHS))


def test_slow_and_fast_walkers_are_told_apart_as_far_as_the_sampling_allows():
    assert told(4, flips="frame") == pytest.approx(0.51, abs=0.03)
    assert told(4) == pytest.approx(0.57, abs=0.03)
    assert told(6) == pytest.approx(0.79, abs=0.03)
    assert told(6, search=True) == pytest.approx(0.95, abs=0.03)
    assert told(4, stride=2) > 0.99
    assert told(6, stride=2) > 0.995
    assert told(4) + 0.2 < told(4, search=True) < told(6, search=True)


def test_consecutive_frames_say_more_than_frames_of_random_moments_in_any_group():
    group = leg_phase.group(8)
    parts, near, far = (
        leg_phase.accuracy(group, Sampling(6, stride), clips=100)
        for stride in (0, 1, 2)
    )
    assert 1 / 8 < parts < near < far < 1
    short = leg_phase.accuracy(group, Sampling(4, 2), clips=100)
    assert short < far - 0.1


def test_two_walkers_of_one_rate_are_told_apart_by_chance_and_one_walker_always():
    rate = (0.15, 0.15)
    two = leg_phase.accuracy([rate, rate], Sampling(6, 2), clips=50)
    assert two == pytest.approx(0.5)
    assert leg_phase.accuracy([rate], Sampling(4), clips=10) == 1


@pytest.mark.parametrize("size", [2, 3, 8])
def test_a_group_is_that_of_the_people_who_are_drawn(size):
    expected = [factors.rates(0, position, size) for position in range(size)]
    assert leg_phase.group(size) == expected
    assert len(set(expected)) == size


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(3, lengths={7: 1.0, 9: 2.0}),
        Sampling(3, flips="frame", lengths={9: 1.0}),
        Sampling(3, flips="frame", search=True, lengths={7: 3.0, 9: 1.0}),
        Sampling(3, stride=2),
        Sampling(3, stride=1, flips="frame"),
    ],
)
def test_the_likelihood_equals_the_literal_sum_over_what_is_not_known(sampling):
    walker, rng = (0.11, 0.14), np.random.default_rng(0)
    seen = rng.integers(0, leg_phase.GRID, (4, 3))
    fast = leg_phase._likelihood(seen, walker, sampling)
    slow = np.array([literal(clip, walker, sampling) for clip in seen])
    np.testing.assert_allclose(fast / fast.sum(), slow / slow.sum(), rtol=1e-9)


def literal(clip: np.ndarray, walker: tuple[float, float], sampling: Sampling) -> float:
    """Sum over lengths, rates, first phases, moments and flips, one after the other."""
    total = 0.0
    lengths = {1: 1.0} if sampling.stride else sampling.lengths
    flips = (0, 0.5) if sampling.flips == "frame" and not sampling.search else (0,)
    for length, weight in lengths.items():
        each = math.ceil(length / sampling.frames)
        for rate in np.linspace(*walker, leg_phase.RATES):
            for start in range(leg_phase.GRID):
                product = 1.0
                for frame, phase in enumerate(clip):
                    if sampling.stride:
                        moments = [frame * sampling.stride]
                    else:
                        first = frame * each
                        last = first + (1 if sampling.search else each)
                        moments = [min(m, length - 1) for m in range(first, last)]
                    density = 0.0
                    for moment in moments:
                        for flip in flips:
                            middle = (phase - start + 0.5) / leg_phase.GRID
                            away = (middle - rate * moment + flip + 0.5) % 1 - 0.5
                            density += math.exp(-0.5 * (away / leg_phase.ERROR) ** 2)
                    product *= density / len(moments) / len(flips)
                total += weight * product
    return total


def test_clips_that_are_drawn_show_the_phases_of_the_frames_that_are_chosen():
    rate, rng = 0.125, np.random.default_rng(0)
    sampling = Sampling(4, stride=2)
    seen = leg_phase._observed(rng, (rate, rate), sampling, 4000) / leg_phase.GRID
    turned = np.exp(2j * np.pi * (seen[:, 1:] - seen[:, :-1])).mean(0)
    np.testing.assert_allclose(np.angle(turned) / math.tau, 2 * rate, atol=0.005)
    expected = math.exp(-2 * (math.tau * leg_phase.ERROR) ** 2 / 2)
    np.testing.assert_allclose(np.abs(turned), expected, atol=0.02)
    flipped = Sampling(4, stride=2, flips="frame")
    seen = leg_phase._observed(rng, (rate, rate), flipped, 4000) / leg_phase.GRID
    turned = np.exp(2j * np.pi * (seen[:, 1:] - seen[:, :-1])).mean(0)
    assert np.abs(turned).max() < 0.05
