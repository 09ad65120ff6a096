"""Heat maps over the frames of clips."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vvi.plots import style

HEAT = "inferno"  # brighter is hotter in grey print too


@style.drawn
def plot(
    frames: Sequence[np.ndarray],
    maps: Sequence[np.ndarray],
    titles: Sequence[str] = ("visible", "infrared"),
    masks: Sequence[np.ndarray] | None = None,
    caption: str = "",
    heads: Sequence[str] = (),
) -> Figure:
    """Maps over frames: one pair of rows (frame, map) for each clip, one column per frame.

    frames: per clip (T, H, W, 3) or (T, H, W), uint8; maps: per clip (T, H, W) in 0..1; masks: per clip (T, H, W) bool, drawn as the outline of the person.
    heads: what stands above the columns, by default the number of the frame.
    """
    count, (tall, wide) = max(len(f) for f in frames), np.asarray(frames[0]).shape[1:3]
    cell = min((style.WIDTH - 1.5) / count, 0.75)
    row, left = cell * tall / wide, 0.75
    width = max(4.2, left + count * cell + 0.75)
    fig, ax = style.board(
        width,
        0.25
        + len(frames) * (2 * row + 0.14)
        + (0.15 + 0.16 * len(caption.splitlines()) if caption else 0),
    )
    for t in range(count):
        style.label(
            ax,
            left + (t + 0.5) * cell,
            0.05,
            heads[t] if heads else f"frame {t + 1}" if cell > 0.6 else str(t + 1),
            ha="center",
        )
    top = 0.25
    for clip, heat, title, people in zip(
        frames,
        maps,
        titles,
        masks if masks is not None else [None] * len(frames),
        strict=True,
    ):
        style.label(ax, 0.05, top + row / 2, title, va="center")
        style.label(ax, 0.05, top + 1.5 * row, "map", va="center")
        for t, (frame, values) in enumerate(zip(clip, heat, strict=True)):
            place = (left + t * cell, top, cell - 0.03, row - 0.03)
            below = (place[0], top + row, *place[2:])
            style.picture(ax, frame, place)
            style.picture(ax, frame, below)
            style.picture(
                ax,
                values,
                below,
                cmap=HEAT,
                vmax=1,
                alpha=0.25 + 0.5 * np.clip(values, 0, 1),
                interpolation="bilinear",
            )
            if people is not None and people[t].any():
                _outline(ax, people[t], below)
        top += 2 * row + 0.14
    _scale(ax, left + count * cell + 0.15, 0.25, min(1.6, row))
    style.label(ax, 0.05, top + 0.02, caption)
    return fig


def _outline(
    ax: Axes, mask: np.ndarray, place: tuple[float, float, float, float]
) -> None:
    left, top, width, height = place
    x, y = (
        left + (np.arange(mask.shape[1]) + 0.5) * width / mask.shape[1],
        top + (np.arange(mask.shape[0]) + 0.5) * height / mask.shape[0],
    )
    ax.contour(x, y, mask, levels=[0.5], colors="white", linewidths=1.0)


def _scale(ax: Axes, left: float, top: float, height: float) -> None:
    """What the colours of the maps mean."""
    style.picture(
        ax, np.linspace(1, 0, 64)[:, None], (left, top + 0.15, 0.12, height), cmap=HEAT
    )
    style.label(ax, left, top, "most")
    style.label(ax, left, top + height + 0.18, "least")
