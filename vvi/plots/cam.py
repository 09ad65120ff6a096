"""Heat maps over the frames of clips."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vvi.plots import style

HEAT = "inferno"  # brighter is hotter in grey print too
LEFT, TOP, GAP = 0.75, 0.25, 0.14  # inches: of the names, of the heads, between clips

Rect = tuple[float, float, float, float]


@style.drawn
def plot(
    frames: Sequence[np.ndarray],
    maps: Sequence[np.ndarray],
    titles: Sequence[str] = ("visible", "infrared"),
    masks: Sequence[np.ndarray] | None = None,
    caption: str = "",
    heads: Sequence[str] = (),
) -> Figure:
    """Draw maps over frames: two rows (frame, map) a clip, one column a frame.

    Args:
        frames: per clip (T, H, W, 3) or (T, H, W), uint8.
        maps: per clip (T, H, W) in 0..1.
        titles: of the clips.
        masks: per clip (T, H, W) bool, drawn as the outline of the person.
        caption: words under the figure.
        heads: what stands above the columns, by default the number of the frame.
    """
    count = max(len(clip) for clip in frames)
    tall, wide = np.asarray(frames[0]).shape[1:3]
    cell = min((style.WIDTH - 1.5) / count, 0.75)
    row = cell * tall / wide
    right = LEFT + count * cell
    height = TOP + len(frames) * (2 * row + GAP)
    fig, ax = style.board(max(4.2, right + 0.75), height)
    for t in range(count):
        number = f"frame {t + 1}" if cell > 0.6 else str(t + 1)
        head = heads[t] if heads else number
        style.label(ax, LEFT + (t + 0.5) * cell, 0.05, head, ha="center")
    for n, title in enumerate(titles[: len(frames)]):
        top = TOP + n * (2 * row + GAP)
        style.label(ax, 0.05, top + row / 2, title, va="center")
        style.label(ax, 0.05, top + 1.5 * row, "map", va="center")
        people = [None] * count if masks is None else masks[n]
        _clip(ax, frames[n], maps[n], people, (LEFT, top, cell, row))
    _scale(ax, right + 0.15, TOP, min(1.6, row))
    style.caption(fig, caption)
    return fig


def _clip(
    ax: Axes,
    clip: np.ndarray,
    maps: np.ndarray,
    people: Sequence[np.ndarray | None],
    first: Rect,
) -> None:
    """Draw the frames of a clip, and below each its map.

    Args:
        ax: of the board.
        clip: (T, H, W, 3) or (T, H, W).
        maps: (T, H, W).
        people: mask of each frame, or None.
        first: cell of the first frame, in inches.
    """
    left, top, cell, row = first
    for t, (frame, values) in enumerate(zip(clip, maps, strict=True)):
        above = (left + t * cell, top, cell - 0.03, row - 0.03)
        below = (left + t * cell, top + row, cell - 0.03, row - 0.03)
        style.picture(ax, frame, above)
        style.picture(ax, frame, below)
        alpha = 0.25 + 0.5 * np.clip(values, 0, 1)
        heat = {"cmap": HEAT, "vmax": 1, "alpha": alpha, "interpolation": "bilinear"}
        style.picture(ax, values, below, **heat)
        if people[t] is not None and people[t].any():
            _outline(ax, people[t], below)


def _outline(ax: Axes, mask: np.ndarray, rect: Rect) -> None:
    left, top, width, height = rect
    rows, columns = mask.shape
    x = left + (np.arange(columns) + 0.5) * width / columns
    y = top + (np.arange(rows) + 0.5) * height / rows
    ax.contour(x, y, mask, levels=[0.5], colors="white", linewidths=1.0)


def _scale(ax: Axes, left: float, top: float, height: float) -> None:
    """Draw what the colours of the maps mean."""
    colours = np.linspace(1, 0, 64)[:, None]
    style.picture(ax, colours, (left, top + 0.15, 0.12, height), cmap=HEAT)
    style.label(ax, left, top, "most")
    style.label(ax, left, top + height + 0.18, "least")
