"""Who is pulled to whom: clips of two modalities in a plane, with a loss's target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vvi.plots import style

#: Where the number of a clip stands beside it, in points: outside of a ring around it.
NUMBER_AT = (8, 3)
RING = 190  # area of the square around a ring, in square points


@style.drawn
def draw(
    vis: np.ndarray,
    ir: np.ndarray,
    ids: np.ndarray,
    chosen: Mapping[str, tuple[int, int]],
    caption: str = "",
    target: str = "easy sample",
) -> Figure:
    """Draw one panel for each rule that chooses the target of a loss.

    It shows the infrared query, the visible clip that the rule chooses for it, and
    arrows from all visible clips to that one.

    Args:
        vis: (B, 2) positions of visible clips.
        ir: (B, 2) positions of infrared clips.
        ids: (B,) identities of both.
        chosen: rule -> (row of the query in `ir`, row of the chosen clip in `vis`).
        caption: words under the figure.
        target: what the chosen clip is called.
    """
    fig, axes = style.figure(1, len(chosen), height=3.6, sharex=True, sharey=True)
    for ax, (rule, (query, easy)) in zip(axes[0], chosen.items(), strict=True):
        _points(ax, vis, ids, "vis")
        _points(ax, ir, ids, "ir")
        for row, point in enumerate(vis):
            if row != easy:
                _pull(ax, point, vis[easy], ids[row] == ids[easy])
        _ring(ax, ir[query], "query")
        _ring(ax, vis[easy], target)
        ax.set(xticks=(), yticks=(), title=rule)
        ax.margins(0.14)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper right", ncols=2)
    style.caption(fig, caption)
    return fig


def _points(ax: Axes, points: np.ndarray, ids: np.ndarray, modality: str) -> None:
    """Draw the clips of a modality with their identities."""
    marks = style.MODALITY[modality]
    ax.scatter(
        *points.T,
        marker=marks["marker"],
        s=42,
        facecolor=marks["color"] if modality == "vis" else "white",
        edgecolor=marks["color"],
        linewidth=1.2,
        label=marks["label"],
        zorder=3,
    )
    for point, identity in zip(points, ids, strict=True):
        _note(ax, str(identity), point, NUMBER_AT)


def _note(
    ax: Axes, text: str, point: np.ndarray, offset: tuple[int, int], **options: Any
) -> None:
    """Write a text beside a point, at an offset in points."""
    near = {"xytext": offset, "textcoords": "offset points", "fontsize": style.SMALL}
    ax.annotate(text, point, **near, **options)


def _pull(ax: Axes, start: np.ndarray, end: np.ndarray, right: bool) -> None:
    """Draw an arrow, whole where it pulls a person to itself, else dashed."""
    arrow = {
        "arrowstyle": "->",
        "color": style.RIGHT if right else style.WRONG,
        "linestyle": "-" if right else "--",
        "linewidth": 1.0,
        "shrinkA": 5,
        "shrinkB": 7,
    }
    ax.annotate("", end, xytext=start, arrowprops=arrow)


def _ring(ax: Axes, point: np.ndarray, name: str) -> None:
    """Draw a ring around a clip, and its name below."""
    ring = {"s": RING, "facecolor": "none", "edgecolor": style.INK, "linewidth": 1.4}
    ax.scatter(*point, zorder=4, **ring)
    ground = {"facecolor": style.PAPER, "edgecolor": "none", "pad": 0.5, "alpha": 0.8}
    options = {"ha": "center", "fontweight": "bold", "bbox": ground, "zorder": 5}
    _note(ax, name, point, (0, -16), **options)
