"""How often does a 95 % interval hold the truth? Experiments whose truth is known.

    python benchmarks/intervals.py [--out FILE] [--experiments N]

An experiment has two methods, one a little better than the other. Each is trained a few
times, and every run searches for the same 240 people with seven queries each. A query
is a hit where a normal number is positive: the sum of a level of the method and of what
comes from the person, from the run, from the run and the person, from the query (the
same for both methods), and from the query in this run. So the true rank-1 of a method
over all people and runs follows from its level, and `probes.paired_runs`, which makes
the intervals of the book, can be checked against it. With one run of either method that
interval is over people alone. The numbers below were chosen so that it is then as wide
as in the book: half of it has 3.7 points.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pandas as pd

from vvi.evaluation.probes import paired_runs
from vvi.runtime import atomic, paths

PEOPLE, QUERIES = 240, 7
SEEDS = (1, 2, 3, 5)
#: Standard deviation of what comes from the run.
STRAYING = (0.06, 0.1, 0.15)
#: Level of either method: rank-1 of about 34 and 38 %.
LEVELS = (-0.6, -0.45)
#: Standard deviations of what comes from the person, of which `SHARED` is the same for
#: both methods, from the run and the person, from the query, and from both.
PERSON, SHARED, PERSON_IN_RUN, QUERY, QUERY_IN_RUN = 1.0, 0.85, 0.45, 0.7, 0.7
EXPERIMENTS = 1000
#: Experiments, and runs of each, from which it is counted how far rank-1 strays.
SPREAD_OF = (200, 10)


def true_rank1(level: float, straying: float) -> float:
    """Return rank-1 of a method over all people and runs, in per cent.

    Args:
        level: of the method.
        straying: standard deviation of what comes from the run.
    """
    parts = (PERSON, straying, PERSON_IN_RUN, QUERY, QUERY_IN_RUN)
    return 100 * NormalDist().cdf(level / np.linalg.norm(parts))


def draw(rng: np.random.Generator, seeds: int, straying: float) -> list[np.ndarray]:
    """Draw the hits of one experiment.

    Args:
        rng: the generator.
        seeds: runs of either method.
        straying: standard deviation of what comes from the run.

    Returns:
        For either method (seeds, PEOPLE * QUERIES), 100 for a hit and 0 for none.
    """
    common = rng.normal(size=(1, PEOPLE, 1))
    query = QUERY * rng.normal(size=(1, PEOPLE, QUERIES))
    sides = []
    for level in LEVELS:
        own = rng.normal(size=common.shape)
        person = np.sqrt(SHARED) * common + np.sqrt(1 - SHARED) * own
        value = level + PERSON * person + query
        value = value + straying * rng.normal(size=(seeds, 1, 1))
        value = value + PERSON_IN_RUN * rng.normal(size=(seeds, PEOPLE, 1))
        value = value + QUERY_IN_RUN * rng.normal(size=(seeds, PEOPLE, QUERIES))
        sides.append(100.0 * (value > 0).reshape(seeds, -1))
    return sides


def spread(straying: float) -> float:
    """Return how far rank-1 strays over runs: their standard deviation in points.

    Args:
        straying: standard deviation of what comes from the run.
    """
    experiments, runs = SPREAD_OF
    rng = np.random.default_rng(1)
    variances = []
    for _ in range(experiments):
        before, _ = draw(rng, runs, straying)
        variances.append(before.mean(1).var(ddof=1))
    return float(np.sqrt(np.mean(variances)))


def check(seeds: int, straying: float, experiments: int) -> dict[str, float]:
    """Count the intervals that hold the true difference.

    Args:
        seeds: runs of either method.
        straying: standard deviation of what comes from the run.
        experiments: how many.

    Returns:
        The seeds, the share of the intervals that hold it (per cent), half of their
        mean width (points), and the number of experiments.
    """
    low, high = (true_rank1(level, straying) for level in LEVELS)
    groups = np.repeat(np.arange(PEOPLE), QUERIES)
    rng = np.random.default_rng(0)
    held, halves = [], []
    for number in range(experiments):
        before, after = draw(rng, seeds, straying)
        score = paired_runs(before, after, groups, seed=number)
        held.append(score.low <= high - low <= score.high)
        halves.append((score.high - score.low) / 2)
    return {
        "seeds": seeds,
        "held": round(100 * float(np.mean(held)), 1),
        "half": round(float(np.mean(halves)), 2),
        "experiments": experiments,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--out", type=Path, default=paths.records() / "intervals.csv", metavar="FILE"
    )
    parser.add_argument("--experiments", type=int, default=EXPERIMENTS, metavar="N")
    args = parser.parse_args()
    rows = []
    for straying in STRAYING:
        points = {"spread": round(spread(straying), 2)}
        for seeds in SEEDS:
            rows.append(points | check(seeds, straying, args.experiments))
            print(rows[-1], flush=True)
    content = pd.DataFrame(rows).to_csv(index=False)
    atomic.write(args.out, content.encode())


if __name__ == "__main__":
    main()
