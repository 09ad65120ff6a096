"""Lines: CMC, losses over a run, a metric against the number of frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vvi.plots import style


@style.drawn
def cmc(
    curves: Mapping[str, np.ndarray], top: int = 20, title: str = "", caption: str = ""
) -> Figure:
    """CMC curves in per cent up to rank `top`. curves: label -> (K,) shares, or (S, K) for S seeds, drawn as mean and range."""
    fig, axes = style.figure(height=3.2, width=5.0)
    ax = axes[0, 0]
    for n, (label, values) in enumerate(curves.items()):
        values = 100 * np.atleast_2d(values)[:, :top]
        _band(ax, np.arange(1, values.shape[1] + 1), values, label, n)
    ax.set(
        xlabel="rank k",
        ylabel="queries with a hit in the first k (%)",
        title=title,
        xlim=(0.7, top + 0.3),
    )
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
    """Every term of a run. history: term -> one value per `unit`, NaN where the term was off; smooth: length of a running mean, the raw line stays pale."""
    fig, axes = style.figure(height=3.0, width=5.4)
    ax = axes[0, 0]
    for n, (label, values) in enumerate(history.items()):
        values = np.asarray(values, dtype=float)
        epochs, look = np.arange(1, len(values) + 1), _look(n)
        if smooth > 1:
            ax.plot(epochs, values, color=look["color"], alpha=0.25, linewidth=0.8)
        # a lone value is a dot: a line of one point would not be seen
        ax.plot(
            epochs,
            running_mean(values, smooth),
            label=label,
            **(look | {"marker": "o" if len(values) == 1 else None}),
        )
    ax.set(xlabel=unit, ylabel=ylabel, title=title)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return _finish(fig, ax, caption)


@style.drawn
def beside(
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    smooth: int = 1,
    unit: str = "step",
    ylabel: str = "",
    caption: str = "",
) -> Figure:
    """The same terms of several runs, one panel for each run, on one scale. panels: title -> term -> one value per `unit`, or (S, N) for S seeds, drawn as mean and range."""
    fig, axes = style.figure(1, len(panels), height=2.7, sharey=True)
    for ax, (title, history) in zip(axes[0], panels.items(), strict=True):
        for n, (label, values) in enumerate(history.items()):
            values = np.stack(
                [
                    running_mean(row, smooth)
                    for row in np.atleast_2d(np.asarray(values, dtype=float))
                ]
            )
            _band(ax, np.arange(1, values.shape[1] + 1), values, label, n)
        ax.set(xlabel=unit, title=title)
        ax.grid(axis="y")
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes[0, 0].set_ylabel(ylabel)
    fig.legend(
        *axes[0, 0].get_legend_handles_labels(),
        loc="outside upper right",
        ncols=4,
        handlelength=3.2,
    )
    style.caption(fig, caption)
    return fig


def running_mean(values: np.ndarray, length: int) -> np.ndarray:
    """Mean of the last `length` values at each place, of those there are; NaN stays out of every mean and stays NaN itself."""
    known = np.isfinite(values)
    total, count = np.cumsum(np.where(known, values, 0.0)), np.cumsum(known)
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
    """Metrics against the number of frames in a clip. values: metric -> (N,) or (N, S) per cent for S seeds; published: metric -> {frames: value} as hollow markers."""
    fig, axes = style.figure(height=3.3, width=5.6)
    ax = axes[0, 0]
    for n, (label, found) in enumerate(values.items()):
        found = np.asarray(found, dtype=float)
        _band(
            ax,
            np.asarray(counts),
            found[None] if found.ndim == 1 else found.T,
            f"{label} ({ours})",
            n,
            marker=style.MARKERS[n % len(style.MARKERS)],
        )
        printed = (published or {}).get(label, {})
        if printed:
            look = {
                "color": style.PALETTE[n % len(style.PALETTE)],
                "marker": style.MARKERS[n % len(style.MARKERS)],
            }
            ax.plot(
                list(printed),
                list(printed.values()),
                linestyle="",
                markerfacecolor="white",
                markersize=8,
                markeredgewidth=1.5,
                label=f"{label} (paper)",
                **look,
            )
    ax.set(xlabel="frames in a clip", ylabel="%", title=title)
    ax.set_xticks(list(counts))
    return _finish(fig, ax, caption)


@style.drawn
def sweeps(
    panels: Mapping[str, tuple[Sequence[float], Mapping[str, Sequence[float]]]],
    caption: str = "",
    unit: str = "%",
) -> Figure:
    """A metric against a setting, one small panel for each setting. panels: setting -> (its values (N,), metric -> (N,) in `unit`); one scale of y for all, so that slopes compare;
    that of x is logarithmic where values span more than a decade."""
    fig, axes = style.figure(1, len(panels), height=2.6, sharey=True)
    for ax, (setting, (values, metrics)) in zip(axes[0], panels.items(), strict=True):
        for n, (name, found) in enumerate(metrics.items()):
            ax.plot(
                values,
                found,
                marker=style.MARKERS[n % len(style.MARKERS)],
                label=name,
                **_look(n),
            )
        ax.set(xlabel=setting)
        if min(values) > 0 and max(values) >= 20 * min(values):
            ax.set_xscale("log")
            ax.minorticks_off()
        ax.set_xticks(list(values), [f"{v:g}" for v in values])
        ax.grid(axis="y")
    axes[0, 0].set_ylabel(unit)
    fig.legend(
        *axes[0, 0].get_legend_handles_labels(),
        loc="outside upper right",
        ncols=4,
        handlelength=3.2,
    )
    style.caption(fig, caption)
    return fig


def _band(
    ax: Axes,
    x: np.ndarray,
    values: np.ndarray,
    label: str,
    n: int,
    marker: str | None = None,
) -> None:
    look = _look(n)
    ax.plot(x, values.mean(0), label=label, marker=marker, **look)
    if len(values) > 1:
        ax.fill_between(
            x,
            values.min(0),
            values.max(0),
            color=look["color"],
            alpha=0.18,
            linewidth=0,
        )


def _look(n: int) -> dict:
    # colour and dash change together, for grey print
    return {
        "color": style.PALETTE[n % len(style.PALETTE)],
        "linestyle": style.LINES[n % len(style.LINES)],
    }


def _finish(fig: Figure, ax: Axes, caption: str) -> Figure:
    ax.grid(axis="y")
    ax.set_axisbelow(True)
    fig.legend(loc="outside right upper", handlelength=3.2)
    style.caption(fig, caption)
    return fig
