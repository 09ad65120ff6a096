"""The data itself: contact sheets, histograms of factors, one look at every camera."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vvi.plots import style
from vvi.types import MODALITIES, Modality

GAP = 0.05  # inches


@style.drawn
def contact(
    tracklets: Sequence[np.ndarray],
    titles: Sequence[str],
    modality: Sequence[Modality],
    caption: str = "",
) -> Figure:
    """Draw one tracklet a row, its frames from left to right.

    Args:
        tracklets: each (T, H, W, 3) or (T, H, W) uint8.
        titles: of the tracklets.
        modality: of the tracklets, shown by bar and word at the left.
        caption: words under the figure.
    """
    count, left = max(len(t) for t in tracklets), 0.95
    cell = min((style.WIDTH - left - GAP) / count, 0.6)
    row = cell * tracklets[0].shape[1] / tracklets[0].shape[2]
    width = max(4.0, left + cell * count + GAP)
    fig, ax = style.board(width, 0.1 + len(tracklets) * (row + GAP))
    for n, frames in enumerate(tracklets):
        top, marks = GAP + n * (row + GAP), style.MODALITY[modality[n]]
        title = f"{titles[n]}\n{marks['label']}"
        style.label(ax, 0.05, top + row / 2, title, va="center")
        dash = "-" if modality[n] == "vis" else (0, (0.6, 0.4))
        bar = {"linewidth": 5, "linestyle": dash, "solid_capstyle": "butt"}
        ax.plot([left - 0.08] * 2, [top, top + row], color=marks["color"], **bar)
        for t, frame in enumerate(frames):
            style.picture(ax, frame, (left + t * cell, top, cell - 0.03, row))
    style.caption(fig, caption)
    return fig


@style.drawn
def followed(
    pictures: Mapping[int, np.ndarray], tracks: pd.DataFrame, caption: str = ""
) -> Figure:
    """Draw moments of a video side by side with the boxes of its tracks.

    Args:
        pictures: number of the frame -> (H, W, 3) uint8.
        tracks: a table of `vvi.video.tracking`.
        caption: words under the figure.
    """
    tall, wide = next(iter(pictures.values())).shape[:2]
    cell = (style.WIDTH - GAP) / len(pictures)
    scale = (cell - GAP) / wide
    fig, ax = style.board(style.WIDTH, 0.35 + scale * tall)
    for n, (number, frame) in enumerate(pictures.items()):
        left, top = GAP + n * cell, 0.25
        style.label(ax, left, 0.05, f"frame {number}")
        style.picture(ax, frame, (left, top, cell - GAP, scale * tall))
        for box in tracks[tracks.frame == number].itertuples():
            _box(ax, box, (left, top, scale), wide, tall)
    style.caption(fig, caption)
    return fig


def _box(
    ax: Axes, box: Any, origin: tuple[float, float, float], wide: int, tall: int
) -> None:
    """Draw the box of a track with its number, cut at the edges of the frame.

    Args:
        ax: of the board.
        box: row of a table of tracks.
        origin: left and top of the frame in inches, inches for a pixel.
        wide: pixels of the frame.
        tall: pixels of the frame.
    """
    left, top, scale = origin
    x1, y1 = max(box.x1, 0), max(box.y1, 0)
    x2, y2 = min(box.x2, wide), min(box.y2, tall)
    corner = (left + scale * x1, top + scale * y1)
    colour = style.PALETTE[(box.track - 1) % len(style.PALETTE)]
    size = (scale * (x2 - x1), scale * (y2 - y1))
    line = {"fill": False, "edgecolor": colour, "linewidth": 1.5}
    ax.add_patch(Rectangle(corner, *size, **line))
    text = {"color": colour, "fontweight": "bold", "va": "bottom"}
    style.label(ax, corner[0], max(corner[1], 0.4), str(box.track), **text)


@style.drawn
def histograms(
    factors: Mapping[str, Sequence], cols: int = 3, caption: str = ""
) -> Figure:
    """Draw one histogram per factor: numbers get bins, words one bar each.

    Args:
        factors: name -> values.
        cols: panels side by side.
        caption: words under the figure.
    """
    rows = -(-len(factors) // cols)
    fig, axes = style.figure(rows, cols, height=1.75 * rows + 0.2)
    for ax in axes.flat[len(factors) :]:
        ax.remove()
    for ax, (name, values) in zip(axes.flat, factors.items(), strict=False):
        _histogram(ax, np.asarray(values))
        ax.set_title(name)
    style.caption(fig, caption)
    return fig


def _histogram(ax: Axes, values: np.ndarray) -> None:
    if values.dtype.kind in "iuf":
        bins = min(20, max(5, len(np.unique(values))))
        ax.hist(values, bins=bins, color=style.VIS, edgecolor="white", linewidth=0.5)
    else:
        words, counts = np.unique(values.astype(str), return_counts=True)
        ax.barh(words[::-1], counts[::-1], color=style.VIS, height=0.7)


@style.drawn
def cameras(
    images: Mapping[int, Mapping[Modality, np.ndarray]],
    caption: str = "",
    cols: int = 6,
) -> Figure:
    """Draw a board of cameras, the visible view beside the infrared one.

    Args:
        images: camera -> modality -> frame. A missing view stays empty.
        caption: words under the figure.
        cols: cameras side by side.
    """
    first = next(iter(next(iter(images.values())).values()))
    rows = -(-len(images) // cols)
    column = (style.WIDTH - 0.1) / min(cols, len(images))
    cell = min((column - 0.15) / 2, 0.6)
    row = cell * first.shape[0] / first.shape[1]
    bottom = rows * (row + 0.42) + GAP
    fig, ax = style.board(style.WIDTH, bottom + 0.25)
    for n, (camera, views) in enumerate(images.items()):
        left = GAP + (n % cols) * column
        top = GAP + (n // cols) * (row + 0.42)
        style.label(ax, left, top, f"camera {camera}")
        for m, name in enumerate(MODALITIES):
            if name in views:
                rect = (left + m * (cell + GAP), top + 0.2, cell, row)
                colour = style.MODALITY[name]["color"]
                style.picture(ax, views[name], rect, outline=colour)
    for m, name in enumerate(MODALITIES):
        left, marks = 0.05 + 1.9 * m, style.MODALITY[name]
        line = {"color": marks["color"], "linewidth": 3}
        ax.plot([left, left + 0.3], [bottom + 0.08] * 2, **line)
        side = ("left", "right")[m]
        style.label(ax, left + 0.37, bottom, f"{side}: {marks['label']}")
    style.caption(fig, caption)
    return fig
