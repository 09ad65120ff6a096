"""Points: what something costs against what it gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from vvi.plots import style


@style.drawn
def cost(
    panels: Mapping[str, Mapping[str, float]],
    values: Mapping[str, Sequence[float]],
    ylabel: str = "rank-1 (%)",
    caption: str = "",
) -> Figure:
    """A point for each name, one panel for each cost, from zero on. panels: cost -> name -> its amount; values: name -> (S,) of S runs, drawn as their mean and spread."""
    lines = len(caption.splitlines()) if caption else 0
    fig, axes = style.figure(1, len(panels), height=2.9 + 0.15 * lines, sharey=True)
    for ax, (title, amounts) in zip(axes[0], panels.items(), strict=True):
        for n, (name, found) in enumerate(values.items()):
            spread = np.std(found, ddof=1) if len(found) > 1 else 0.0
            look = {
                "color": style.PALETTE[n % len(style.PALETTE)],
                "fmt": style.MARKERS[n % len(style.MARKERS)],
            }
            ax.errorbar(
                amounts[name],
                np.mean(found),
                yerr=spread,
                capsize=3,
                markersize=7,
                alpha=0.85,
                label=name,
                **look,
            )
        ax.set(xlabel=title, xlim=(0, 1.1 * max(amounts.values())))
        ax.grid(axis="both")
        ax.set_axisbelow(True)
    axes[0, 0].set_ylabel(ylabel)
    axes[0, 0].set_ylim(bottom=0)
    fig.legend(
        *axes[0, 0].get_legend_handles_labels(),
        loc="outside upper center",
        ncols=min(len(values), 7),
    )
    style.caption(fig, caption)
    return fig
