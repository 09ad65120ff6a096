"""What an idea adds, against the dose of the cue that it should use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vvi.plots import style

SPAN = 0.5  # of the way between two doses, over which the marks of one dose spread


@style.drawn
def response(
    doses: Sequence[float],
    components: Mapping[str, np.ndarray],
    oracle: Mapping[str, np.ndarray],
    knob: str,
    unit: str = "rank-1, with minus without",
    usual: float | None = None,
    caption: str = "",
) -> Figure:
    """Draw the dose-response of one world.

    The upper panel shows how far the cue alone goes at each dose. The lower one shows
    what each component adds.

    Args:
        doses: (D,) values of the knob, from low to high.
        components: component -> (D, 3) difference and the ends of its interval over
            people and seeds, NaN where a dose was not trained.
        oracle: claim -> (D,) share from 0 to 1, or another number that is not negative.
        knob: what is dosed.
        unit: of the differences, in points.
        usual: dose that sets have without a world.
        caption: words under the figure.
    """
    lines = len(components) + len(oracle)
    shares = {"height_ratios": (2, 3)}
    height = 4.0 + 0.14 * lines
    fig, axes = style.figure(2, 1, height, sharex=True, gridspec_kw=shares)
    above, below = axes[:, 0]
    x = np.arange(len(doses))
    for number, (name, values) in enumerate(oracle.items()):
        _line(above, x, np.asarray(values, dtype=float), name, number)
    _differences(below, x, components)
    names = [f"{d:g}" + (" (usual)" if d == usual else "") for d in doses]
    below.set_xticks(x, names)
    below.set(xlabel=knob, ylabel=f"{unit} (points)", xlim=(-0.5, len(doses) - 0.5))
    above.set(ylabel="without a network\n(share right)")
    above.set_ylim(bottom=0)
    for ax in (above, below):
        ax.grid(axis="y")
        ax.set_axisbelow(True)
        ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), handlelength=3.2)
    style.caption(fig, caption)
    return fig


@style.drawn
def levels(
    doses: Sequence[float],
    rows: Mapping[str, np.ndarray],
    xlabel: str,
    ylabel: str,
    caption: str = "",
) -> Figure:
    """Draw a score of several rows at a few settings, each mark with its interval.

    Args:
        doses: (D,) the settings, from low to high.
        rows: row -> (D, 3) score and the ends of its interval, NaN where it is unknown.
        xlabel: what is set.
        ylabel: the score.
        caption: words under the figure.
    """
    fig, axes = style.figure(height=3.6)
    ax = axes[0, 0]
    x = np.arange(len(doses))
    _marks(ax, x, rows, span=0.3)
    ax.set_xticks(x, [f"{dose:,g}" for dose in doses])
    ax.set(xlabel=xlabel, ylabel=ylabel, xlim=(-0.5, len(doses) - 0.5))
    ax.set_ylim(bottom=0)
    ax.grid(axis="y")
    ax.set_axisbelow(True)
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), handlelength=3.2)
    style.caption(fig, caption)
    return fig


def _line(ax: Axes, x: np.ndarray, values: np.ndarray, name: str, number: int) -> None:
    """Draw one oracle in grey: colours are those of components."""
    shade = str(0.15 + 0.18 * (number % 4))
    line = style.LINES[number % len(style.LINES)]
    ax.plot(x, values, color=shade, linestyle=line, label=name)


def _differences(ax: Axes, x: np.ndarray, components: Mapping[str, np.ndarray]) -> None:
    """Draw what each component adds at each dose, beside the line of no effect."""
    ax.axhline(0, color="#666666", linewidth=1, zorder=0)
    _marks(ax, x, components)


def _marks(
    ax: Axes, x: np.ndarray, components: Mapping[str, np.ndarray], span: float = SPAN
) -> None:
    """Draw a mark with its interval for each component, side by side at each dose."""
    shifts = np.linspace(-span / 2, span / 2, len(components) + 2)[1:-1]
    for number, (name, values) in enumerate(components.items()):
        value, low, high = np.asarray(values, dtype=float).T
        known = np.isfinite(value)
        ax.errorbar(
            (x + shifts[number])[known],
            value[known],
            yerr=np.stack((value - low, high - value))[:, known],
            color=style.PALETTE[number % len(style.PALETTE)],
            marker=style.MARKERS[number % len(style.MARKERS)],
            linestyle=":",
            linewidth=1,
            elinewidth=1.6,
            capsize=3,
            label=name,
        )
