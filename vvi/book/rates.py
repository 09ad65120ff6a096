"""Ideas at twice the learning rate, beside the rate of the recipe, from records."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vvi import experiment
from vvi.book import comparison, formats
from vvi.book.scene import Scene
from vvi.config import preset
from vvi.experiment import Result, ablation, rates, worlds
from vvi.experiment.worlds import Component, Row
from vvi.types import Direction

#: Title of a group of columns -> factor on the rate.
RATES = {"rate of the recipe": 1.0, "twice the rate": rates.FACTOR}
#: What a verdict on DI2L's two ideas means, in words.
FOUND = {
    "seen": "DPA and I2L are seen to help there",
    "not seen": "no effect of DPA and I2L is seen there",
    "the opposite": "DPA and I2L are seen to harm there",
}


def table(scene: Scene, direction: Direction = "ir2vis") -> pd.DataFrame:
    """Return what ideas add at both rates, without training.

    Args:
        scene: the data of the page. On data other than those of the runs, nothing is
            known.
        direction: of the search.

    Returns:
        Two lines an idea that has runs at twice the rate, one a rate: mean rank-1
        without it and with it in per cent, the difference in points with its 95 %
        interval over people and seeds (one seed: over people), and how many seeds.
        Both lines are of the same seeds: those that all four rows have.
    """
    lines: dict[tuple[str, str], dict[str, str]] = {}
    usual = preset(rates.SIZE).data.source
    ideas = rates.IDEAS if scene.settings.data.source == usual else {}
    for name, idea in ideas.items():
        sides = {words: _stored(idea, factor) for words, factor in RATES.items()}
        (on, off), (fast_on, fast_off) = sides.values()
        if not comparison.have_common_seed(on, off, fast_on, fast_off):
            continue
        rows = comparison.of_common_seeds(on, off, fast_on, fast_off)
        for words, pair in zip(RATES, (rows[:2], rows[2:]), strict=True):
            lines[name, words] = _line(*pair, scene, direction)
    if not lines:
        return pd.DataFrame()
    index = pd.MultiIndex.from_tuples(lines, names=["idea", "learning rate"])
    frame = pd.DataFrame(list(lines.values()), index=index)
    return frame.rename_axis(columns=f"rank-1, {direction}, {scene.label}")


def sentence(direction: Direction = "ir2vis") -> str:
    """Say what the two ideas of DI2L add at twice the rate, or "" if untrained.

    Args:
        direction: of the search.
    """
    on, off = _stored(next(iter(rates.IDEAS.values())), rates.FACTOR)
    if not on:
        return ""
    without, with_it = (_mean(runs, direction) for runs in (off, on))
    score = worlds.difference(on, off, direction)
    seeds = "one seed" if len(on) == 1 else f"{len(on)} seeds"
    return (
        f"At twice the learning rate CAJ has {without} and DI2L, which adds part "
        f"attention (DPA) and a focal loss (I2L) to it, {with_it} "
        f"({direction}, {seeds}): {formats.points(score)} points, "
        f"so {FOUND[comparison.verdict(score)]}."
    )


def _mean(runs: Sequence[Result], direction: Direction) -> str:
    """Return the mean rank-1 of some runs in per cent."""
    return f"{np.mean([run.row(direction)['rank1'] for run in runs]):.1f}"


def _stored(idea: Component, factor: float) -> tuple[list[Result], list[Result]]:
    """Return the results of both rows at a rate, of the seeds that both have."""
    on, off = (_results(row, factor) for row in (idea.on, idea.off))
    seeds = sorted(set(on) & set(off))
    return [on[seed] for seed in seeds], [off[seed] for seed in seeds]


def _results(row: Row, factor: float) -> dict[int, Result]:
    """Return what is stored of a row at a rate: seed -> result."""
    stored = {}
    for config in rates.configs(row, rates.SIZE, rates.SEEDS, factor):
        if not ablation.missing([config]):
            stored[config.seed] = experiment.run(config, progress=False)
    return stored


def _line(
    on: Sequence[Result], off: Sequence[Result], scene: Scene, direction: Direction
) -> dict[str, str]:
    """Return the columns of an idea at a rate.

    Args:
        on: results with the idea.
        off: those without it, of the same seeds.
        scene: the data of the page.
        direction: of the search.
    """
    line = {}
    for name, runs in {"without": off, "with": on}.items():
        line[name] = _mean(runs, direction)
    score = comparison.difference(on, off, scene, direction=direction)
    return line | {"points": formats.points(score), "seeds": str(len(on))}
