"""Who needs longer, and who never gains: rows at other lengths, from stored results."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vvi.book import comparison, figures, formats
from vvi.book.comparison import MARK
from vvi.book.scene import Scene
from vvi.config import preset
from vvi.evaluation.probes import Score
from vvi.experiment import Result, budgets
from vvi.plots import doses
from vvi.types import Direction

#: Results of `budgets.results`.
Lengths = dict[str, dict[int, list[Result]]]
#: Row -> the row that it starts from, of those that are trained at the same lengths.
STARTS = {
    "baseline on anaglyphs": "baseline",
    "IBAN": "baseline",
    "MITML": "baseline",
    "CAJ": "baseline",
    "DI2L": "CAJ",
}


def stored(scene: Scene) -> Lengths:
    """Return the rows that are stored at two lengths or more, without training.

    Args:
        scene: the data of the page. On data other than those of the runs, nothing is
            known.
    """
    known: Lengths = {}
    if scene.settings.data.source != preset(budgets.SIZE).data.source:
        return known
    for title, by_steps in budgets.results(budgets.SIZE, progress=False).items():
        lengths = {count: runs for count, runs in by_steps.items() if runs}
        if len(lengths) > 1:
            known[title] = lengths
    return known


def table(
    lengths: Lengths, scene: Scene, direction: Direction = "ir2vis"
) -> pd.DataFrame:
    """Return rank-1 at each length, and what each step to a longer run adds.

    Args:
        lengths: of `stored`.
        scene: the data of the page.
        direction: of the search.

    Returns:
        One line a row: rank-1 in per cent at each length, then differences over the
        same queries, in points with 95 % intervals. A dash stands where nothing is
        stored, and `MARK` where the processor changed the precision.
    """
    lines = {}
    for title, by_steps in lengths.items():
        line = {}
        for count in _steps():
            runs = by_steps.get(count, [])
            mark = MARK if any(run.changed_precision for run in runs) else ""
            line[f"{count:,} steps"] = _rank1(runs, direction) + mark
        for short, long in pairwise(_steps()):
            score = _gain(by_steps, short, long, scene, direction)
            text = formats.points(score) if score else "–"
            line[f"{long:,} over {short:,}"] = text
        lines[title] = line
    note = f"rank-1, {direction}, {scene.label}, seed {budgets.SEEDS[0]}"
    return pd.DataFrame(lines).T.rename_axis(note)


def _steps() -> tuple[int, ...]:
    return budgets.steps(budgets.SIZE)


def _rank1(runs: Sequence[Result], direction: Direction) -> str:
    if not runs:
        return "–"
    return f"{np.mean([run.row(direction)['rank1'] for run in runs]):.1f}"


def _gain(
    by_steps: dict[int, list[Result]],
    short: int,
    long: int,
    scene: Scene,
    direction: Direction,
) -> Score | None:
    """Return what the longer run adds, or None where one of them is not stored."""
    runs = by_steps.get(long, []), by_steps.get(short, [])
    return (
        comparison.difference(*runs, scene, direction=direction) if all(runs) else None
    )


def over_starts(
    lengths: Lengths, scene: Scene, direction: Direction = "ir2vis"
) -> pd.DataFrame:
    """Return what rows add at each length to the rows that they start from.

    Args:
        lengths: of `stored`.
        scene: the data of the page.
        direction: of the search.

    Returns:
        One line a row: points of rank-1 with 95 % intervals. A dash stands where
        nothing is stored, and `MARK` where the two runs of a seed are of unlike
        precision.
    """
    lines = {}
    for title, start in STARTS.items():
        line = {}
        for count in _steps():
            runs = [lengths.get(row, {}).get(count, []) for row in (title, start)]
            text = "–"
            if all(runs):
                score = comparison.difference(*runs, scene, direction=direction)
                unlike = comparison.of_unlike_precision(*runs)
                text = formats.points(score) + (MARK if unlike else "")
            line[f"{count:,} steps"] = text
        lines[f"{title} minus {start}"] = line
    note = f"points of rank-1, {direction}, {scene.label}, seed {budgets.SEEDS[0]}"
    return pd.DataFrame(lines).T.rename_axis(note)


def finding(lengths: Lengths, scene: Scene) -> str:
    """Say which rows gain from the longest run, and which do not.

    Args:
        lengths: of `stored`.
        scene: the data of the page.
    """
    *_, usual, longest = _steps()
    words = ("gain", "loss", "no change seen", "no such run yet")
    groups: dict[str, list[str]] = {word: [] for word in words}
    for title, by_steps in lengths.items():
        score = _gain(by_steps, usual, longest, scene, "ir2vis")
        if score is None:
            groups[words[-1]].append(title)
            continue
        change = "gain" if score.low > 0 else "loss" if score.high < 0 else ""
        groups[change or words[2]].append(title)
    parts = [f"{word}: {formats.joined(rows)}" for word, rows in groups.items() if rows]
    what = "; ".join(parts) or "not trained"
    return f"From {usual:,} to {longest:,} steps, ir2vis, {_seeds()}, {what}."


def sentence(direction: Direction = "ir2vis") -> str:
    """Say where rows stand after the longest run, or "" where none is stored.

    Args:
        direction: of the search.
    """
    *_, usual, longest = _steps()
    rank1, marked = {}, set()
    for title, by_steps in budgets.results(budgets.SIZE, progress=False).items():
        if by_steps[longest]:
            rank1[title] = _rank1(by_steps[longest], direction)
            if any(run.changed_precision for run in by_steps[longest]):
                marked.add(title)
    if not rank1:
        return ""
    others = [title for title in budgets.rows() if title not in rank1]
    missing = f" Not trained for as long: {formats.joined(others)}." if others else ""
    order = sorted(rank1, key=lambda title: float(rank1[title]), reverse=True)
    marks = {title: MARK if title in marked else "" for title in order}
    named = formats.joined([f"{t} {rank1[t]}{marks[t]}" for t in order])
    meaning = f" {MARK} Computed in float32, the others in bfloat16." if marked else ""
    return (
        f"After {longest:,} steps in place of {usual:,}, rank-1 is ({direction}, "
        f"{_seeds()}): {named}.{missing}{meaning}"
    )


def _seeds() -> str:
    count = len(budgets.SEEDS)
    return "one seed" if count == 1 else f"{count} seeds"


def show(lengths: Lengths, scene: Scene) -> Figure:
    """Draw and save rank-1 of the rows against the number of steps.

    Args:
        lengths: of `stored`.
        scene: the data of the page.
    """
    steps = _steps()
    curves = {}
    for title, by_steps in lengths.items():
        points = [_level(by_steps.get(count, []), scene) for count in steps]
        curves[title] = np.array(points)
    note = f"{scene.label} data, seed {budgets.SEEDS[0]}, 95 % intervals over people."
    note = (
        note[0].upper() + note[1:] + " Steps are not to scale: slopes do not compare."
    )
    fig = doses.levels(
        steps,
        curves,
        "steps of training",
        "rank-1, ir2vis (%)",
        f"{finding(lengths, scene)}\n{note}",
    )
    runs: list[Result] = []
    for by_steps in lengths.values():
        for stored_runs in by_steps.values():
            runs += stored_runs
    alt = "Rank-1 of every method's main row, with intervals, against steps."
    return figures.save_figure(fig, "comparison/lengths", runs, alt)


def _level(runs: Sequence[Result], scene: Scene) -> tuple[float, float, float]:
    """Return rank-1 and its interval over people and seeds, in per cent."""
    if not runs:
        return (np.nan, np.nan, np.nan)
    score = comparison.rank1(runs, scene)
    return score.value, score.low, score.high
