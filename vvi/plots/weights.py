"""Frame weights: what a model makes of each frame of a clip, below the frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vvi.plots import style

HEAT = "cividis"  # brighter is more in grey print too
LEFT, TOP = 0.8, 0.3  # inches: of the names of clips, of the line above
BAR = 0.6  # inches for the bars of a clip and their numbers
TALL, CELL, GAP = 0.5, 0.27, 0.12  # inches: frames of `gates`, space between clips

Rect = tuple[float, float, float, float]


@style.drawn
def strips(
    frames: np.ndarray,
    weights: np.ndarray,
    noisy: np.ndarray | None = None,
    titles: Sequence[str] | None = None,
    caption: str = "",
) -> Figure:
    """Draw strips of frames with a bar under each, from 0 or from the lowest weight.

    Args:
        frames: (N, T, H, W, 3) uint8.
        weights: (N, T).
        noisy: (N, T) bool, known bad frames, marked and hatched.
        titles: of the clips.
        caption: words under the figure.

    Raises:
        ValueError: frames and weights are of other clips or lengths.
    """
    weights = np.asarray(weights, dtype=float)
    clips, count = weights.shape
    if len(frames) != clips or len(frames[0]) != count:
        raise ValueError(
            f"{len(frames)} clips of {len(frames[0])} frames, weights {weights.shape}"
        )
    noisy = np.zeros(weights.shape, bool) if noisy is None else np.asarray(noisy, bool)
    least = min(0.0, weights.min())
    shares = (weights - least) / max(weights.max() - least, 1e-9)
    cell = min((style.WIDTH - 0.85) / count, 0.8)
    row = cell * frames[0].shape[1] / frames[0].shape[2]
    block = row + BAR + 0.1
    width = max(4.5, LEFT + count * cell + 0.05)
    fig, ax = style.board(width, TOP + clips * block)
    if noisy.any():
        style.sign(ax, "✗", (LEFT, 0.04, 0.2, 0.2), style.WRONG)
        meaning = "frame known to be noisy; its bar is hatched"
        style.label(ax, LEFT + 0.25, 0.06, meaning)
    for n in range(clips):
        top = TOP + n * block
        title = titles[n] if titles else f"clip {n + 1}"
        style.label(ax, 0.05, top + row / 2, title, va="center")
        style.label(ax, 0.05, top + row + BAR - 0.12, "weight", va="center")
        for t in range(count):
            rect = (LEFT + t * cell, top, cell - 0.04, row - 0.03)
            _frame(ax, frames[n][t], rect, noisy[n, t])
            below = (rect[0], top + row, cell - 0.04, BAR)
            _bar(ax, below, shares[n, t], noisy[n, t], f"{weights[n, t]:.2f}")
    style.caption(fig, caption)
    return fig


def _frame(ax: Axes, frame: np.ndarray, rect: Rect, noisy: bool) -> None:
    style.picture(ax, frame, rect, outline=style.WRONG if noisy else None)
    if noisy:
        style.sign(ax, "✗", rect, style.WRONG)


def _bar(ax: Axes, rect: Rect, share: float, noisy: bool, text: str) -> None:
    """Draw a bar of a share of the height of `rect`, and its number above it."""
    left, top, width, height = rect
    bottom, length = top + height, (height - 0.22) * share
    if noisy:
        options = {"facecolor": "white", "edgecolor": style.WRONG, "hatch": "////"}
    else:
        options = {"facecolor": style.VIS, "edgecolor": style.VIS}
    corner = (left + 0.15 * width, bottom)
    ax.add_patch(Rectangle(corner, 0.7 * width, -length, linewidth=1.2, **options))
    middle = {"ha": "center", "va": "bottom"}
    style.label(ax, left + width / 2, bottom - length - 0.03, text, **middle)


@style.drawn
def gates(
    frames: Sequence[np.ndarray],
    values: Sequence[np.ndarray],
    titles: Sequence[str] | None = None,
    caption: str = "",
) -> Figure:
    """Draw a line of channels beside each frame, on one scale and in one order for all.

    Args:
        frames: per clip (T, H, W, 3) uint8.
        values: per clip (T, D).
        titles: of the clips.
        caption: words under the figure.
    """
    low, high = min(v.min() for v in values), max(v.max() for v in values)
    order = np.argsort(np.mean([v.mean(0) for v in values], axis=0))
    scaled = [(v[:, order] - low) / max(high - low, 1e-9) for v in values]
    heights = [len(clip) * TALL + GAP for clip in frames]
    fig, ax = style.board(style.WIDTH, 0.35 + sum(heights))
    _scale(ax, low, high)
    top = TOP
    for n, clip in enumerate(frames):
        title = titles[n] if titles else f"clip {n + 1}"
        style.label(ax, 0.05, top + len(clip) * TALL / 2, title, va="center")
        for t, frame in enumerate(clip):
            height = TALL - 0.03
            style.picture(ax, frame, (0.95, top + t * TALL, CELL, height))
            rect = (1.3, top + t * TALL, style.WIDTH - 1.35, height)
            style.picture(ax, scaled[n][t][None], rect, cmap=HEAT)
        top += heights[n]
    style.caption(fig, caption)
    return fig


def _scale(ax: Axes, low: float, high: float) -> None:
    """Draw what the colours of gates mean."""
    style.label(ax, 1.3, 0.03, "channels, sorted by their mean over all clips")
    style.label(ax, 4.75, 0.03, "gate", ha="right")
    style.picture(ax, np.linspace(0, 1, 64)[None], (5.2, 0.07, 0.9, 0.12), cmap=HEAT)
    style.label(ax, 5.15, 0.03, f"{low:.2f}", ha="right")
    style.label(ax, 6.15, 0.03, f"{high:.2f}")
