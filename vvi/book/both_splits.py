"""What ideas add on validation people, on whom settings are chosen, and on test people.

A choice that was made on validation people is confirmed where the test people agree.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vvi import experiment
from vvi.book import formats, ideas
from vvi.book.comparison import of_common_seeds
from vvi.config import Split
from vvi.experiment import Result, ablation, worlds
from vvi.types import Direction

PEOPLE: dict[Split, str] = {"val": "validation people", "test": "test people"}


def table(
    seeds: Sequence[int] = (0, 1, 2),
    direction: Direction = "ir2vis",
    size: str = "standard",
) -> pd.DataFrame:
    """Set the ideas that have stored results on both kinds of people side by side.

    Args:
        seeds: of training; those count that both rows have on both kinds of people.
        direction: of the search.
        size: preset of the runs.

    Returns:
        One line an idea. For each kind of people the mean rank-1 without and with the
        idea in per cent, and the difference in points with its 95 % interval over
        people and seeds.
    """
    lines = {}
    for idea in ideas.IDEAS:
        sides = [
            _stored(row, seeds, split, size)
            for split in PEOPLE
            for row in (idea.row, idea.baseline)
        ]
        if not all(sides):
            continue
        with_val, without_val, with_test, without_test = of_common_seeds(*sides)
        lines[idea.name] = {
            **_columns(PEOPLE["val"], with_val, without_val, direction),
            **_columns(PEOPLE["test"], with_test, without_test, direction),
            "seeds": len(with_val),
        }
    note = f"{direction}, rank-1 in per cent and points (95 %), synthetic data"
    return pd.DataFrame(lines).T.rename_axis(note)


def _stored(
    row: ideas.Row, seeds: Sequence[int], split: Split, size: str
) -> list[Result]:
    """Return the stored results of a row, one a seed."""
    method, table, label = row
    configs = ablation.configs(method, table, size, seeds, split)[label]
    stored = [config for config in configs if not ablation.missing([config])]
    return [experiment.run(config, progress=False) for config in stored]


def _columns(
    people: str,
    with_it: Sequence[Result],
    without: Sequence[Result],
    direction: Direction,
) -> dict[str, str]:
    """Return the columns of one kind of people."""
    columns = {}
    for name, runs in {"without": without, "with": with_it}.items():
        mean = np.mean([result.row(direction)["rank1"] for result in runs])
        columns[f"{people}: {name}"] = f"{mean:.1f}"
    score = worlds.difference(with_it, without, direction)
    return columns | {f"{people}: points": formats.points(score)}
