"""Who is pulled to whom: clips of two modalities in a plane, with the one that a loss takes as the target."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from vvi.plots import style


@style.drawn
def draw(
    vis: np.ndarray,
    ir: np.ndarray,
    ids: np.ndarray,
    chosen: Mapping[str, tuple[int, int]],
    caption: str = "",
) -> Figure:
    """One panel for each rule of choice: the asking infrared clip, the visible clip that the rule finds, and arrows from all visible clips to it.

    vis, ir: (B, 2) places of the clips; ids: (B,) whom they show, written beside them; chosen: rule -> (row of the asking clip in ir, row of the found one in vis).
    """
    fig, axes = style.figure(1, len(chosen), height=3.6, sharex=True, sharey=True)
    for ax, (rule, (asking, found)) in zip(axes[0], chosen.items(), strict=True):
        for modality, points in (("vis", vis), ("ir", ir)):
            look = style.MODALITY[modality]
            face = look["color"] if modality == "vis" else "white"
            ax.scatter(
                *points.T,
                marker=look["marker"],
                s=42,
                facecolor=face,
                edgecolor=look["color"],
                linewidth=1.2,
                label=look["label"],
                zorder=3,
            )
            for point, identity in zip(points, ids, strict=True):
                ax.annotate(
                    str(identity),
                    point,
                    xytext=(5, 3),
                    textcoords="offset points",
                    fontsize=style.SMALL,
                )
        for n, point in enumerate(vis):
            if n != found:
                look = {
                    "arrowstyle": "->",
                    "color": style.RIGHT if ids[n] == ids[asking] else style.WRONG,
                    "linewidth": 1.0,
                    "shrinkA": 5,
                    "shrinkB": 7,
                }
                ax.annotate(
                    "",
                    vis[found],
                    xytext=point,
                    arrowprops=look
                    | {"linestyle": "-" if ids[n] == ids[asking] else "--"},
                )
        for point, label in ((ir[asking], "asks"), (vis[found], "easy sample")):
            ax.scatter(
                *point,
                s=190,
                facecolor="none",
                edgecolor=style.INK,
                linewidth=1.4,
                zorder=4,
            )
            ax.annotate(
                label,
                point,
                xytext=(0, -16),
                textcoords="offset points",
                ha="center",
                fontsize=style.SMALL,
                fontweight="bold",
                bbox={
                    "facecolor": style.PAPER,
                    "edgecolor": "none",
                    "pad": 0.5,
                    "alpha": 0.8,
                },
                zorder=5,
            )
        ax.set(xticks=(), yticks=(), title=rule)
        ax.margins(0.14)
    fig.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=2
    )
    style.caption(fig, caption)
    return fig
