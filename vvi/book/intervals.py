"""Do the intervals hold the truth? Of made-up experiments, where it is known.

`benchmarks/intervals.py` makes the experiments and stores what it counts.
"""

from __future__ import annotations

import pandas as pd

from vvi.runtime import paths


def counts() -> pd.DataFrame:
    """Read what was counted.

    Returns:
        One line for each kind of experiment: `spread` of rank-1 over seeds in points
        (standard deviation), `seeds` of either method, `held`, the share of the
        intervals that hold the true difference in per cent, `half` of their mean width
        in points, and the number of `experiments`.
    """
    return pd.read_csv(paths.records() / "intervals.csv")


def table() -> pd.DataFrame:
    """Return the share of intervals that hold the truth: seeds by spread of rank-1."""
    shares = counts().pivot(index="seeds", columns="spread", values="held")
    shares.columns = [f"rank-1 strays by {spread:.1f} points" for spread in shares]
    shares.index = ["1 (over people alone)" if n == 1 else str(n) for n in shares.index]
    return shares.rename_axis("made-up data, per cent; seeds of either method")


def sentence() -> str:
    """Say how many intervals held the truth."""
    known = counts()
    alone = known.seeds == 1
    return (
        f"Of the 95 % intervals of {known.experiments.sum():,} made-up experiments, "
        f"{_range(known[~alone].held)} % held the truth with two seeds or more, and "
        f"{_range(known[alone].held)} % with one, by how far rank-1 strays over seeds."
    )


def _range(shares: pd.Series) -> str:
    return f"{shares.min():.0f} to {shares.max():.0f}"
