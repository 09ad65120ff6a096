"""Ideas below one another: the level without and with each, and what it adds."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vvi.plots import style

DIRECTIONS = {"ir2vis": (style.IR, "^", -0.16), "vis2ir": (style.VIS, "o", 0.16)}


@style.drawn
def draw(
    rows: Mapping[str, Mapping[str, tuple[float, float, float, float]]],
    levels: Mapping[str, float] | None = None,
    caption: str = "",
) -> Figure:
    """Draw levels on the left and differences with intervals on the right.

    Args:
        rows: idea -> direction -> (without, with, low, high), in per cent and points.
        levels: name -> per cent, dotted lines such as chance and ceilings.
        caption: text under the figure.
    """
    height = 1.6 + 0.4 * max(1, len(rows))
    shares = {"width_ratios": (1, 1)}
    fig, axes = style.figure(1, 2, height=height, sharey=True, gridspec_kw=shares)
    left, right = axes[0]
    for row, directions in enumerate(rows.values()):
        for direction, numbers in directions.items():
            _pair(left, right, row, direction, numbers)
    _levels(left, levels or {})
    right.axvline(0, color="#666666", linewidth=1, zorder=0)
    left.set(xlabel="rank-1 (%)", xlim=(0, 100), ylim=(len(rows) - 0.5, -0.5))
    left.set_yticks(range(len(rows)), list(rows))
    right.set_xlabel("with minus without\n(points, 95 %)")
    for ax in (left, right):
        ax.grid(axis="x")
        ax.set_axisbelow(True)
        ax.tick_params(axis="y", length=0)
    for direction, (color, marker, _) in DIRECTIONS.items():
        right.plot(
            [], [], color=color, marker=marker, linestyle="none", label=direction
        )
    fig.legend(*right.get_legend_handles_labels(), loc="outside upper right", ncols=2)
    style.caption(fig, caption)
    return fig


def _pair(
    left: Axes,
    right: Axes,
    row: int,
    direction: str,
    numbers: tuple[float, float, float, float],
) -> None:
    """Draw an idea in one direction.

    Args:
        left: axes of levels.
        right: axes of differences.
        row: of the idea.
        direction: of the search.
        numbers: without, with, low, high.
    """
    without, with_, low, high = numbers
    color, marker, shift = DIRECTIONS[direction]
    y = row + shift
    options = {"color": color, "marker": marker, "linestyle": "none"}
    left.plot([without, with_], [y, y], color=color, linewidth=1)
    left.plot(without, y, markerfacecolor=style.PAPER, **options)
    left.plot(with_, y, **options)
    value = with_ - without
    errors = np.abs([[value - low], [high - value]])
    right.errorbar(value, y, xerr=errors, capsize=3, **options)


def _levels(ax: Axes, levels: Mapping[str, float]) -> None:
    """Draw each level as a dotted line with its name along it."""
    for name, value in levels.items():
        ax.axvline(value, color=style.QUIET, linestyle=":", zorder=0)
        ax.annotate(
            name,
            (value, 1),
            xycoords=("data", "axes fraction"),
            xytext=(2, -2),
            textcoords="offset points",
            rotation=90,
            va="top",
            ha="left",
            fontsize=style.SMALL,
            color="#666666",
        )
