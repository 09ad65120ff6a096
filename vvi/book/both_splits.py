"""What ideas add on validation people, on whom settings are chosen, and on test people.

A choice that was made on validation people is confirmed where the test people agree.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vvi import experiment
from vvi.book import formats, ideas
from vvi.book.comparison import have_common_seed, of_common_seeds
from vvi.config import Split
from vvi.experiment import Result, ablation, worlds
from vvi.types import Direction

#: Results with an idea and without it.
Pair = tuple[Sequence[Result], ...]

PEOPLE: dict[Split, str] = {"val": "validation people", "test": "test people"}


def table(
    seeds: Sequence[int] = ablation.SEEDS,
    direction: Direction = "ir2vis",
    size: str = "standard",
) -> pd.DataFrame:
    """Set the ideas that have stored results on both kinds of people side by side.

    Args:
        seeds: of training. Seeds that a row lacks on one kind of people do not count.
        direction: of the search.
        size: preset of the runs.

    Returns:
        One line an idea. For each kind of people the mean rank-1 without and with the
        idea in per cent, and the difference in points with its 95 % interval over
        people and seeds.
    """
    lines = {}
    for idea in ideas.IDEAS:
        pairs = [_both_rows(idea, seeds, split, size) for split in PEOPLE]
        if not have_common_seed(*pairs[0], *pairs[1]):
            continue
        (with_val, without_val), (with_test, without_test) = _paired(*pairs)
        lines[idea.name] = {
            **_columns(PEOPLE["val"], with_val, without_val, direction),
            **_columns(PEOPLE["test"], with_test, without_test, direction),
            "seeds": len(with_val),
        }
    note = f"{direction}, rank-1 in per cent and points (95 %), synthetic data"
    return pd.DataFrame(lines).T.rename_axis(note)


def _both_rows(
    idea: ideas.Idea, seeds: Sequence[int], split: Split, size: str
) -> tuple[list[Result], list[Result]]:
    """Return the stored results of an idea and of its baseline.

    Args:
        idea: whose rows they are.
        seeds: of training.
        split: who is searched.
        size: preset of the runs.
    """
    with_it = _stored(idea.row, seeds, split, size)
    return with_it, _stored(idea.baseline, seeds, split, size)


def _paired(*pairs: Pair) -> list[Pair]:
    """Keep the runs of seeds that all rows have on all people."""
    sides = of_common_seeds(*pairs[0], *pairs[1])
    return [sides[:2], sides[2:]]


def _stored(
    row: ideas.Row, seeds: Sequence[int], split: Split, size: str
) -> list[Result]:
    """Return the stored results of a row, one a seed."""
    method, table, label = row
    configs = ablation.row_configs(method, table, label, size, seeds, split)
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
