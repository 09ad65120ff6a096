"""Do the intervals hold the truth? Of made-up experiments, where it is known.

`benchmarks/intervals.py` makes the experiments and stores what it counts.
"""

from __future__ import annotations

import pandas as pd

from vvi.runtime import paths


def counts() -> pd.DataFrame:
    """Read what was counted.

    Returns:
        One line for each kind of experiment: `seeds` of either method, `spread` of
        rank-1 over seeds in points (standard deviation), `held`, the share of the
        intervals that hold the true difference in per cent, `half` of their mean width
        in points, and the number of `experiments`.
    """
    return pd.read_csv(paths.records() / "intervals.csv")


def table() -> pd.DataFrame:
    """Return what was counted, for a page."""
    titles = {
        "spread": "rank-1 strays over seeds by",
        "held": "intervals that hold the truth (%)",
        "half": "half an interval",
    }
    lines = counts().rename(columns=titles).set_index("seeds")[list(titles.values())]
    return lines.rename_axis("made-up data, points; seeds of either method")


def sentence() -> str:
    """Say how many intervals held the truth."""
    known = counts()
    low, high, number = known.held.min(), known.held.max(), known.experiments.sum()
    return (
        f"Of the 95 % intervals of {number:,} made-up experiments, {low:.0f} to "
        f"{high:.0f} % held the truth, by number of seeds and how far they stray."
    )
