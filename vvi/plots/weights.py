"""Frame weights: what a model makes of each frame of a clip, below the frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vvi.plots import style

HEAT = "cividis"  # brighter is more in grey print too


@style.drawn
def strips(
    frames: np.ndarray,
    weights: np.ndarray,
    noisy: np.ndarray | None = None,
    titles: Sequence[str] | None = None,
    caption: str = "",
) -> Figure:
    """Strips of frames with a bar under each. frames: (N, T, H, W, 3) uint8; weights: (N, T), bars start at 0 or at the lowest.

    noisy: (N, T) bool, known bad frames, marked and hatched.
    """
    weights = np.asarray(weights, dtype=float)
    clips, count = weights.shape
    if len(frames) != clips or len(frames[0]) != count:
        raise ValueError(
            f"{len(frames)} clips of {len(frames[0])} frames, weights {weights.shape}"
        )
    least = min(0.0, weights.min())
    height = (weights - least) / max(weights.max() - least, 1e-9)
    noisy = np.zeros(weights.shape, bool) if noisy is None else np.asarray(noisy, bool)
    cell = min((style.WIDTH - 0.85) / count, 0.8)
    row, low, left = cell * frames[0].shape[1] / frames[0].shape[2], 0.6, 0.8
    fig, ax = style.board(
        max(4.5, left + count * cell + 0.05),
        0.3
        + clips * (row + low + 0.1)
        + (0.15 + 0.16 * len(caption.splitlines()) if caption else 0),
    )
    if noisy.any():
        style.sign(ax, "✗", (left, 0.04, 0.2, 0.2), style.WRONG)
        style.label(
            ax, left + 0.25, 0.06, "frame known to be noisy; its bar is hatched"
        )
    for n in range(clips):
        top = 0.3 + n * (row + low + 0.1)
        style.label(
            ax,
            0.05,
            top + row / 2,
            titles[n] if titles else f"clip {n + 1}",
            va="center",
        )
        style.label(ax, 0.05, top + row + low - 0.12, "weight", va="center")
        for t in range(count):
            place = (left + t * cell, top, cell - 0.04, row - 0.03)
            style.picture(
                ax, frames[n][t], place, outline=style.WRONG if noisy[n, t] else None
            )
            if noisy[n, t]:
                style.sign(ax, "✗", place, style.WRONG)
            _bar(
                ax,
                place[0],
                top + row + low,
                cell - 0.04,
                (low - 0.22) * height[n, t],
                noisy[n, t],
                f"{weights[n, t]:.2f}",
            )
    style.label(ax, 0.05, 0.32 + clips * (row + low + 0.1), caption)
    return fig


@style.drawn
def gates(
    frames: Sequence[np.ndarray],
    values: Sequence[np.ndarray],
    titles: Sequence[str] | None = None,
    caption: str = "",
) -> Figure:
    """A line of channels beside each frame. frames: per clip (T, H, W, 3) uint8; values: per clip (T, D), drawn on one scale, channels in one order for all."""
    low, high = min(v.min() for v in values), max(v.max() for v in values)
    tall, cell, gap = 0.5, 0.27, 0.12
    fig, ax = style.board(
        style.WIDTH,
        0.35 + sum(len(f) * tall + gap for f in frames) + (0.3 if caption else 0),
    )
    style.label(ax, 1.3, 0.03, "channels, sorted by their mean over all clips")
    style.label(ax, 4.75, 0.03, "gate", ha="right")
    style.picture(ax, np.linspace(0, 1, 64)[None], (5.2, 0.07, 0.9, 0.12), cmap=HEAT)
    style.label(ax, 5.15, 0.03, f"{low:.2f}", ha="right")
    style.label(ax, 6.15, 0.03, f"{high:.2f}")
    top = 0.3
    order = np.argsort(np.mean([v.mean(0) for v in values], axis=0))
    for n, (clip, gate) in enumerate(zip(frames, values, strict=True)):
        style.label(
            ax,
            0.05,
            top + len(clip) * tall / 2,
            titles[n] if titles else f"clip {n + 1}",
            va="center",
        )
        for t, (frame, line) in enumerate(zip(clip, gate, strict=True)):
            style.picture(ax, frame, (0.95, top + t * tall, cell, tall - 0.03))
            style.picture(
                ax,
                ((line[order] - low) / max(high - low, 1e-9))[None],
                (1.3, top + t * tall, style.WIDTH - 1.35, tall - 0.03),
                cmap=HEAT,
            )
        top += len(clip) * tall + gap
    style.label(ax, 0.05, top, caption)
    return fig


def _bar(
    ax: Axes,
    left: float,
    bottom: float,
    width: float,
    height: float,
    bad: bool,
    text: str,
) -> None:
    look = (
        {"facecolor": "white", "edgecolor": style.WRONG, "hatch": "////"}
        if bad
        else {"facecolor": style.VIS, "edgecolor": style.VIS}
    )
    ax.add_patch(
        Rectangle(
            (left + 0.15 * width, bottom), 0.7 * width, -height, linewidth=1.2, **look
        )
    )
    style.label(
        ax, left + width / 2, bottom - height - 0.03, text, ha="center", va="bottom"
    )
