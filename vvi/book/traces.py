"""One term of training for several rows, as lines over the steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from vvi import methods
from vvi.book import figures
from vvi.config import RunConfig
from vvi.engine import optim
from vvi.experiment import Result
from vvi.plots import curves


def draw(
    rows: Mapping[str, Sequence[Result]],
    term: str,
    name: str,
    alt: str,
    smooth: int = 50,
    weight: str = "",
) -> Figure:
    """Draw a term of the first run of each row and store the figure.

    Args:
        rows: label -> runs. A row that is empty, or has no such term, is left out.
        term: of the history, with its phase ("watch/confusion") or over all phases
            ("triplet").
        name: of the stored figure, such as "sadstrm/triplet".
        alt: what a reader who cannot see the figure needs.
        smooth: length of the running mean, in steps.
        weight: switch of the method that the term was multiplied by, and is divided by
            before it is drawn. For a method without it the weight is 1.

    Raises:
        ValueError: no row has the term.
    """
    runs, lines = [], {}
    for label, results in rows.items():
        values = of_run(results[0], term) if results else None
        if values is not None:
            runs.append(results[0])
            if weight:
                values = values / _weight_of(results[0].config, weight)
            lines[label] = curves.running_mean(values, smooth)
    if not lines:
        raise ValueError(f"no row has a term {term!r} in its history")
    what = term.split("/")[-1]
    caption = _caption(what, lines, smooth, runs[0].data_label)
    fig = curves.losses(lines, unit="step", ylabel=what, caption=caption)
    return figures.save_figure(fig, name, runs, alt)


def of_run(result: Result, term: str) -> np.ndarray | None:
    """Join a term over the phases of a run, or take that of one phase.

    Returns:
        One value per step: the mean over the phases that have one, or NaN where none
        has. None where the run never has the term.
    """
    named = [k for k in result.history if term in (k, k.partition("/")[2])]
    if not named:
        return None
    values = np.array([result.history[k] for k in named], dtype=float)
    count = np.isfinite(values).sum(0)
    return np.where(count, np.nansum(values, 0) / np.maximum(count, 1), np.nan)


def _weight_of(config: RunConfig, name: str) -> float:
    """Return the value of a switch of a run, or 1 where its method has none."""
    return float(getattr(methods.config(config.method, **config.options), name, 1.0))


def when(epoch: float, config: RunConfig) -> str:
    """Say at which step of a run an epoch of the paper's clock begins.

    Args:
        epoch: of the paper.
        config: of the run.
    """
    recipe, steps = config.recipe, config.recipe.steps
    if steps is None:
        return f"epoch {epoch:g} is that of the run"
    clocks = np.array([optim.clock(recipe, step, steps) for step in range(steps)])
    before = int((clocks < epoch).sum())
    return f"epoch {epoch:g} begins after {before:,} of {steps:,} steps"


def _caption(term: str, lines: Mapping[str, np.ndarray], smooth: int, data: str) -> str:
    """Say what is drawn, and where the lowest and the highest line end.

    Args:
        term: its name.
        lines: label -> values by step.
        smooth: length of the running mean, in steps.
        data: whose they are.
    """
    ends = {label: line[np.isfinite(line)][-1] for label, line in lines.items()}
    low, high = min(ends, key=ends.get), max(ends, key=ends.get)
    drawn = f"{term[0].upper()}{term[1:]} by step"
    caption = f"{drawn}: first run of each row, running mean of {smooth} steps "
    caption += f"({data} data)."
    if len(ends) > 1:
        caption += f"\nLowest at the end: {low} ({ends[low]:.3g})"
        caption += f", highest: {high} ({ends[high]:.3g})."
    return caption
