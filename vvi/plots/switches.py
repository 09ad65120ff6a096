"""What the rows of a table switch, beside what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vvi.plots import style

Settings = Mapping[str, Mapping[str, str]]


@style.drawn
def draw(
    rows: Settings,
    values: Mapping[str, Sequence[float]],
    base: str,
    metric: str = "rank-1 (%)",
    caption: str = "",
) -> Figure:
    """Draw a line for each row: its switches, and mean and spread of its runs.

    Switches that differ from those of the row `base` are coloured and bold.

    Args:
        rows: row -> switch -> setting as text.
        values: row -> (S,) of S runs.
        base: the row to compare with.
        metric: what the values are.
        caption: words under the figure.
    """
    names: dict[str, None] = {}
    for settings in rows.values():
        names |= dict.fromkeys(settings)
    widths = [_width(rows, name) for name in names]
    share = max(0.1, min(sum(widths), 0.62 * style.WIDTH))
    ratios = {"width_ratios": (share, style.WIDTH - share - 1.3)}
    height = 0.27 * len(rows) + 0.85
    fig, axes = style.figure(1, 2, height, sharey=True, gridspec_kw=ratios)
    left, right = axes[0]
    _matrix(left, rows, list(names), np.cumsum([0, *widths]), base)
    _results(right, values, base, metric)
    last = len(rows) - 0.5
    left.set(yticks=range(len(rows)), yticklabels=rows, ylim=(last, -0.5))
    style.caption(fig, caption)
    return fig


def _width(rows: Settings, name: str) -> float:
    """Return the width of a column in inches, as its longest setting needs."""
    settings = [len(row.get(name, "")) for row in rows.values()]
    return 0.35 + 0.075 * max(len(name), *settings)


def _matrix(
    ax: Axes, rows: Settings, names: Sequence[str], edges: np.ndarray, base: str
) -> None:
    """Write the settings, those that differ from the base in colour and bold."""
    middles = (edges[:-1] + edges[1:]) / 2
    centred = {"ha": "center", "va": "center", "fontsize": style.SMALL}
    for y, settings in enumerate(rows.values()):
        for name, x in zip(names, middles, strict=True):
            text = settings.get(name, "–")
            differs = text != rows[base].get(name, "–")
            colour = style.WRONG if differs else style.INK
            weight = "bold" if differs else "normal"
            ax.text(x, y, text, color=colour, fontweight=weight, **centred)
    ax.set(xlim=(0, edges[-1] or 1), xticks=middles, xticklabels=names)
    ax.xaxis.tick_top()
    ax.tick_params(axis="both", length=0)
    ax.spines[:].set_visible(False)


def _results(
    ax: Axes, values: Mapping[str, Sequence[float]], base: str, metric: str
) -> None:
    """Draw mean and spread of each row, and a line at the mean of the base."""
    for y, (row, runs) in enumerate(values.items()):
        spread = np.std(runs, ddof=1) if len(runs) > 1 else 0.0
        marker = "D" if row == base else "o"
        point = {"fmt": marker, "color": style.VIS, "capsize": 3}
        ax.errorbar(np.mean(runs), y, xerr=spread, **point)
    line = {"color": "#bbbbbb", "linestyle": "--", "linewidth": 1, "zorder": 0}
    ax.axvline(np.mean(values[base]), **line)
    ax.set(xlabel=metric)
    ax.margins(x=0.15)
    ax.grid(axis="both")
    ax.set_axisbelow(True)
    ax.tick_params(axis="y", length=0, labelleft=False)
