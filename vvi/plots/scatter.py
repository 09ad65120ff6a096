"""Points: what something costs against what it gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vvi.plots import style


@style.drawn
def cost(
    panels: Mapping[str, Mapping[str, float]],
    values: Mapping[str, Sequence[float]],
    ylabel: str = "rank-1 (%)",
    caption: str = "",
) -> Figure:
    """Draw a point for each name, one panel for each cost, from zero on.

    Args:
        panels: cost -> name -> its amount.
        values: name -> (S,) of S runs, drawn as their mean and spread.
        ylabel: what the values are.
        caption: words under the figure.
    """
    fig, axes = style.figure(1, len(panels), height=2.9, sharey=True)
    for ax, (title, amounts) in zip(axes[0], panels.items(), strict=True):
        for n, (name, runs) in enumerate(values.items()):
            _point(ax, amounts[name], runs, name, n)
        ax.set(xlabel=title, xlim=(0, 1.1 * max(amounts.values())))
        ax.grid(axis="both")
        ax.set_axisbelow(True)
    axes[0, 0].set_ylabel(ylabel)
    axes[0, 0].set_ylim(bottom=0)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    columns = min(len(values), 7)
    fig.legend(handles, labels, loc="outside upper center", ncols=columns)
    style.caption(fig, caption)
    return fig


def _point(ax: Axes, amount: float, runs: Sequence[float], name: str, n: int) -> None:
    """Draw mean and spread of runs at a cost."""
    ax.errorbar(
        amount,
        np.mean(runs),
        yerr=np.std(runs, ddof=1) if len(runs) > 1 else 0.0,
        color=style.PALETTE[n % len(style.PALETTE)],
        fmt=style.MARKERS[n % len(style.MARKERS)],
        capsize=3,
        markersize=7,
        alpha=0.85,
        label=name,
    )
