"""The data itself: contact sheets, histograms of the known factors, one look through every camera."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vvi.plots import style
from vvi.types import MODALITIES, Modality


@style.drawn
def contact(
    tracklets: Sequence[np.ndarray],
    titles: Sequence[str],
    modality: Sequence[Modality],
    caption: str = "",
) -> Figure:
    """One tracklet a row, its frames from left to right. tracklets: each (T, H, W, 3) or (T, H, W) uint8; the bar and the word at the left tell the modality."""
    count, left = max(len(t) for t in tracklets), 0.95
    cell = min((style.WIDTH - left - 0.05) / count, 0.6)
    row = cell * tracklets[0].shape[1] / tracklets[0].shape[2]
    fig, ax = style.board(
        max(4.0, left + cell * count + 0.05),
        0.1 + len(tracklets) * (row + 0.05) + (0.3 if caption else 0),
    )
    for n, (frames, title, name) in enumerate(
        zip(tracklets, titles, modality, strict=True)
    ):
        top, look = 0.05 + n * (row + 0.05), style.MODALITY[name]
        style.label(ax, 0.05, top + row / 2, f"{title}\n{look['label']}", va="center")
        ax.plot(
            [left - 0.08] * 2,
            [top, top + row],
            color=look["color"],
            linewidth=5,
            linestyle="-" if name == "vis" else (0, (0.6, 0.4)),
            solid_capstyle="butt",
        )
        for t, frame in enumerate(frames):
            style.picture(ax, frame, (left + t * cell, top, cell - 0.03, row))
    style.label(ax, 0.05, 0.1 + len(tracklets) * (row + 0.05), caption)
    return fig


@style.drawn
def followed(
    pictures: Mapping[int, np.ndarray], tracks: pd.DataFrame, caption: str = ""
) -> Figure:
    """Moments of a video beside one another with the boxes of its tracks. pictures: number of the frame -> (H, W, 3) uint8; tracks: a table of `vvi.video.tracking`."""
    tall, wide = next(iter(pictures.values())).shape[:2]
    cell = (style.WIDTH - 0.05) / len(pictures)
    scale = (cell - 0.05) / wide
    fig, ax = style.board(style.WIDTH, 0.3 + scale * tall + (0.35 if caption else 0.05))
    for n, (moment, frame) in enumerate(pictures.items()):
        left = 0.05 + n * cell
        style.label(ax, left, 0.05, f"frame {moment}")
        style.picture(ax, frame, (left, 0.25, cell - 0.05, scale * tall))
        for box in tracks[tracks.frame == moment].itertuples():
            corner = left + scale * max(box.x1, 0), 0.25 + scale * max(box.y1, 0)
            size = (
                scale * (min(box.x2, wide) - max(box.x1, 0)),
                scale * (min(box.y2, tall) - max(box.y1, 0)),
            )
            colour = style.PALETTE[(box.track - 1) % len(style.PALETTE)]
            ax.add_patch(
                Rectangle(corner, *size, fill=False, edgecolor=colour, linewidth=1.5)
            )
            style.label(
                ax,
                corner[0],
                max(corner[1], 0.4),
                str(box.track),
                color=colour,
                fontweight="bold",
                va="bottom",
            )
    style.label(ax, 0.05, 0.3 + scale * tall, caption)
    return fig


@style.drawn
def histograms(
    factors: Mapping[str, Sequence], cols: int = 3, caption: str = ""
) -> Figure:
    """One histogram per factor. factors: name -> values; numbers get bins, words get one bar each."""
    rows = -(-len(factors) // cols)
    fig, axes = style.figure(rows, cols, height=1.75 * rows + 0.2)
    for ax in axes.flat[len(factors) :]:
        ax.remove()
    for ax, (name, values) in zip(axes.flat, factors.items(), strict=False):
        values = np.asarray(values)
        if values.dtype.kind in "iuf":
            ax.hist(
                values,
                bins=min(20, max(5, len(np.unique(values)))),
                color=style.VIS,
                edgecolor="white",
                linewidth=0.5,
            )
        else:
            words, counts = np.unique(values.astype(str), return_counts=True)
            ax.barh(words[::-1], counts[::-1], color=style.VIS, height=0.7)
        ax.set_title(name)
    style.caption(fig, caption)
    return fig


@style.drawn
def cameras(
    images: Mapping[int, Mapping[Modality, np.ndarray]],
    caption: str = "",
    cols: int = 6,
) -> Figure:
    """A board of cameras, the visible view beside the infrared one. images: camera -> modality -> frame; a missing view stays empty."""
    rows, first = (
        -(-len(images) // cols),
        next(iter(next(iter(images.values())).values())),
    )
    place = (style.WIDTH - 0.1) / min(cols, len(images))
    cell = min((place - 0.15) / 2, 0.6)
    row = cell * first.shape[0] / first.shape[1]
    fig, ax = style.board(
        style.WIDTH, rows * (row + 0.42) + 0.3 + (0.3 if caption else 0)
    )
    for n, (camera, views) in enumerate(images.items()):
        left, top = 0.05 + (n % cols) * place, 0.05 + (n // cols) * (row + 0.42)
        style.label(ax, left, top, f"camera {camera}")
        for m, name in enumerate(MODALITIES):
            if name in views:
                style.picture(
                    ax,
                    views[name],
                    (left + m * (cell + 0.05), top + 0.2, cell, row),
                    outline=style.MODALITY[name]["color"],
                )
    bottom = rows * (row + 0.42) + 0.05
    for m, name in enumerate(MODALITIES):
        ax.plot(
            [0.05 + 1.9 * m, 0.35 + 1.9 * m],
            [bottom + 0.08] * 2,
            color=style.MODALITY[name]["color"],
            linewidth=3,
        )
        style.label(
            ax,
            0.42 + 1.9 * m,
            bottom,
            f"{('left', 'right')[m]}: {style.MODALITY[name]['label']}",
        )
    style.label(ax, 0.05, bottom + 0.25, caption)
    return fig
