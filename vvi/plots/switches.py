"""What the rows of a table switch, beside what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vvi.plots import style


@style.drawn
def draw(
    rows: Mapping[str, Mapping[str, str]],
    values: Mapping[str, Sequence[float]],
    base: str,
    metric: str = "rank-1 (%)",
    caption: str = "",
) -> Figure:
    """A line for each row: its switches, those unlike the row `base` in colour and bold, and the mean and spread of its runs.

    rows: row -> switch -> setting as text; values: row -> (S,) of S runs.
    """
    names = list(dict.fromkeys(name for settings in rows.values() for name in settings))
    widths = [
        0.35
        + 0.075
        * max(len(name), *(len(settings.get(name, "")) for settings in rows.values()))
        for name in names
    ]
    share = max(0.1, min(sum(widths), 0.62 * style.WIDTH))
    lines = len(caption.splitlines()) if caption else 0
    fig, axes = style.figure(
        1,
        2,
        height=0.27 * len(rows) + 0.85 + 0.15 * lines,
        sharey=True,
        gridspec_kw={"width_ratios": (share, style.WIDTH - share - 1.3)},
    )
    _matrix(axes[0, 0], rows, names, np.cumsum([0, *widths]), base)
    _results(axes[0, 1], values, base, metric)
    axes[0, 0].set(
        yticks=range(len(rows)), yticklabels=rows, ylim=(len(rows) - 0.5, -0.5)
    )
    style.caption(fig, caption)
    return fig


def _matrix(
    ax: Axes,
    rows: Mapping[str, Mapping[str, str]],
    names: Sequence[str],
    edges: np.ndarray,
    base: str,
) -> None:
    for y, settings in enumerate(rows.values()):
        for name, left, right in zip(names, edges, edges[1:], strict=False):
            text, unlike = (
                settings.get(name, "–"),
                settings.get(name, "–") != rows[base].get(name, "–"),
            )
            look = (
                {"color": style.WRONG, "fontweight": "bold"}
                if unlike
                else {"color": style.INK}
            )
            ax.text(
                (left + right) / 2,
                y,
                text,
                ha="center",
                va="center",
                fontsize=style.SMALL,
                **look,
            )
    ax.set(
        xlim=(0, edges[-1] or 1), xticks=(edges[:-1] + edges[1:]) / 2, xticklabels=names
    )
    ax.xaxis.tick_top()
    ax.tick_params(axis="both", length=0)
    ax.spines[:].set_visible(False)


def _results(
    ax: Axes, values: Mapping[str, Sequence[float]], base: str, metric: str
) -> None:
    for y, (row, found) in enumerate(values.items()):
        spread = np.std(found, ddof=1) if len(found) > 1 else 0.0
        ax.errorbar(
            np.mean(found),
            y,
            xerr=spread,
            fmt="D" if row == base else "o",
            color=style.VIS,
            capsize=3,
        )
    ax.axvline(
        np.mean(values[base]), color="#bbbbbb", linestyle="--", linewidth=1, zorder=0
    )
    ax.set(xlabel=metric)
    ax.margins(x=0.15)
    ax.grid(axis="both")
    ax.set_axisbelow(True)
    ax.tick_params(axis="y", length=0, labelleft=False)
