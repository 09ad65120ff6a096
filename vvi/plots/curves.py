"""Lines: CMC, losses over a run, a metric against the number of frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vvi.plots import style

#: Letters of a name that no longer fits beside the lines.
LONG = 28
#: Height of a row of a legend, inches.
ROW = 0.2


@style.drawn
def cmc(
    curves: Mapping[str, np.ndarray], top: int = 20, title: str = "", caption: str = ""
) -> Figure:
    """Draw CMC curves in per cent.

    Args:
        curves: label -> (K,) shares, or (S, K) for S seeds, drawn as mean and range.
        top: last rank that is shown.
        title: above the axes.
        caption: words under the figure.
    """
    fig, axes = style.figure(height=3.2, width=5.0)
    ax = axes[0, 0]
    for n, (label, shares) in enumerate(curves.items()):
        values = 100 * np.atleast_2d(shares)[:, :top]
        _band(ax, np.arange(1, values.shape[1] + 1), values, n, label=label)
    ylabel = "queries with a hit in the first k (%)"
    ax.set(xlabel="rank k", ylabel=ylabel, title=title, xlim=(0.7, top + 0.3))
    ax.set_xticks([1, *range(5, top + 1, 5)])
    return _finish(fig, ax, caption)


@style.drawn
def losses(
    history: Mapping[str, Sequence[float]],
    title: str = "",
    caption: str = "",
    smooth: int = 1,
    unit: str = "epoch",
    ylabel: str = "loss",
) -> Figure:
    """Draw every term of a run.

    Args:
        history: term -> one value per `unit`, NaN where the term was off.
        title: above the axes.
        caption: words under the figure.
        smooth: length of a running mean. The raw line stays pale.
        unit: of the x axis.
        ylabel: of the y axis.
    """
    fig, axes = style.figure(height=3.0, width=5.4)
    ax = axes[0, 0]
    for n, (label, raw) in enumerate(history.items()):
        values = np.asarray(raw, dtype=float)
        steps = np.arange(1, len(values) + 1)
        line = _line(n)
        if smooth > 1:
            ax.plot(steps, values, color=line["color"], alpha=0.25, linewidth=0.8)
        # a lone value is a dot: a line of one point would not be seen
        marker = "o" if len(values) == 1 else None
        ax.plot(steps, running_mean(values, smooth), label=label, marker=marker, **line)
    ax.set(xlabel=unit, ylabel=ylabel, title=title)
    ax.xaxis.set_major_locator(_round_numbers())
    return _finish(fig, ax, caption)


@style.drawn
def history_panels(
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    smooth: int = 1,
    unit: str = "step",
    ylabel: str = "",
    caption: str = "",
) -> Figure:
    """Draw the same terms of several runs on one scale, one panel for each run.

    Args:
        panels: title -> term -> one value per `unit`, or (S, N) for S seeds, drawn as
            mean and range.
        smooth: length of a running mean.
        unit: of the x axis.
        ylabel: of the y axis.
        caption: words under the figure.
    """
    fig, axes = style.figure(1, len(panels), height=2.7, sharey=True)
    for ax, (title, history) in zip(axes[0], panels.items(), strict=True):
        for n, (label, raw) in enumerate(history.items()):
            seeds = np.atleast_2d(np.asarray(raw, dtype=float))
            values = np.stack([running_mean(row, smooth) for row in seeds])
            _band(ax, np.arange(1, values.shape[1] + 1), values, n, label=label)
        ax.set(xlabel=unit, title=title)
        ax.grid(axis="y")
        ax.xaxis.set_major_locator(_round_numbers())
    axes[0, 0].set_ylabel(ylabel)
    _legend_above(fig, axes[0, 0])
    style.caption(fig, caption)
    return fig


def running_mean(values: np.ndarray, length: int) -> np.ndarray:
    """Return the mean of the last `length` finite values at each step.

    NaN stays out of every mean and stays NaN itself.
    """
    known = np.isfinite(values)
    total = np.cumsum(np.where(known, values, 0.0))
    count = np.cumsum(known)
    for sums in (total, count):
        sums[length:] = sums[length:] - sums[:-length].copy()
    return np.where(known, total / np.maximum(count, 1), np.nan)


@style.drawn
def frames(
    counts: Sequence[int],
    values: Mapping[str, np.ndarray],
    published: Mapping[str, Mapping[int, float]] | None = None,
    title: str = "",
    caption: str = "",
    ours: str = "ours, synthetic",
) -> Figure:
    """Draw metrics against the number of frames in a clip.

    Args:
        counts: (N,) numbers of frames.
        values: metric -> (N,) or (N, S) per cent for S seeds.
        published: metric -> {frames: value}, drawn as hollow markers.
        title: above the axes.
        caption: words under the figure.
        ours: what the legend calls our values.
    """
    fig, axes = style.figure(height=3.3, width=5.6)
    ax = axes[0, 0]
    for n, (metric, raw) in enumerate(values.items()):
        table = np.asarray(raw, dtype=float)
        seeds = table[None] if table.ndim == 1 else table.T
        label = f"{metric} ({ours})"
        _band(ax, np.asarray(counts), seeds, n, label=label, marker=_marker(n))
        printed = (published or {}).get(metric, {})
        if printed:
            _printed(ax, printed, n, f"{metric} (paper)")
    ax.set(xlabel="frames in a clip", ylabel="%", title=title)
    ax.set_xticks(list(counts))
    return _finish(fig, ax, caption)


def _printed(ax: Axes, values: Mapping[int, float], n: int, label: str) -> None:
    """Draw a paper's values as hollow markers without a line."""
    ax.plot(
        list(values),
        list(values.values()),
        linestyle="",
        marker=_marker(n),
        color=_colour(n),
        markerfacecolor="white",
        markersize=8,
        markeredgewidth=1.5,
        label=label,
    )


@style.drawn
def sweeps(
    panels: Mapping[str, tuple[Sequence[float], Mapping[str, Sequence[float]]]],
    caption: str = "",
    unit: str = "%",
) -> Figure:
    """Draw a metric against a setting, one small panel for each setting.

    All panels have one scale of y, so that slopes compare. The scale of x is
    logarithmic where values span more than a decade.

    Args:
        panels: setting -> (its values (N,), metric -> (N,) in `unit`).
        caption: words under the figure.
        unit: of the metrics.
    """
    fig, axes = style.figure(1, len(panels), height=2.6, sharey=True)
    for ax, (setting, (values, metrics)) in zip(axes[0], panels.items(), strict=True):
        for n, (metric, scores) in enumerate(metrics.items()):
            ax.plot(values, scores, marker=_marker(n), label=metric, **_line(n))
        ax.set(xlabel=setting)
        if min(values) > 0 and max(values) >= 20 * min(values):
            ax.set_xscale("log")
            ax.minorticks_off()
        ax.set_xticks(list(values), [f"{value:g}" for value in values])
        ax.grid(axis="y")
    axes[0, 0].set_ylabel(unit)
    _legend_above(fig, axes[0, 0])
    style.caption(fig, caption)
    return fig


def _band(ax: Axes, x: np.ndarray, seeds: np.ndarray, n: int, **options: Any) -> None:
    """Draw the mean of (S, N) values, and their range where there are several seeds."""
    ax.plot(x, seeds.mean(0), **options, **_line(n))
    if len(seeds) > 1:
        band = {"color": _colour(n), "alpha": 0.18, "linewidth": 0}
        ax.fill_between(x, seeds.min(0), seeds.max(0), **band)


def _colour(n: int) -> str:
    return style.PALETTE[n % len(style.PALETTE)]


def _marker(n: int) -> str:
    return style.MARKERS[n % len(style.MARKERS)]


def _line(n: int) -> dict[str, Any]:
    """Return colour and dash of the n-th line: both change, for grey print."""
    return {"color": _colour(n), "linestyle": style.LINES[n % len(style.LINES)]}


def _legend_above(fig: Figure, ax: Axes) -> None:
    """Put one legend for all panels above them, in as many columns as fit."""
    handles, labels = ax.get_legend_handles_labels()
    corner = "outside upper right"
    fig.legend(handles, labels, loc=corner, ncols=4, handlelength=3.2)


def _round_numbers() -> MaxNLocator:
    """Return what puts a few ticks at 1, 2 or 5 times a power of ten."""
    return MaxNLocator(5, integer=True, steps=[1, 2, 5, 10])


def _finish(fig: Figure, ax: Axes, caption: str) -> Figure:
    """Add grid, legend and caption. Long names stand above the lines, not beside."""
    ax.grid(axis="y")
    ax.set_axisbelow(True)
    names = ax.get_legend_handles_labels()[1]
    if max(map(len, names), default=0) > LONG:
        fig.set_figheight(fig.get_figheight() + ROW * len(names))
        fig.legend(loc="outside upper left", handlelength=3.2)
    else:
        fig.legend(loc="outside right upper", handlelength=3.2)
    style.caption(fig, caption)
    return fig
