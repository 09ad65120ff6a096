"""Ranked lists: a query and its first ten, right or wrong.

Four steps: choose the queries, load their frames, compose the marks, draw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from vvi.data import images
from vvi.plots import style

#: Mark -> colour, sign and meaning: the sign tells marks apart in grey print.
MARKS = {
    "right": (style.RIGHT, "✓", "right"),
    "wrong": (style.WRONG, "✗", "wrong"),
    "look-alike": (style.LOOK_ALIKE, "≈", "wrong, a look-alike of the query"),
    "unknown": (style.INK, "?", "not known"),
}
GAP = 0.05  # inches between pictures


@dataclass(frozen=True)
class Panel:
    """The ranked lists of one direction."""

    title: str
    #: R frames.
    queries: Sequence[np.ndarray]
    #: R x K frames, None past the end of a short list.
    items: Sequence[Sequence[np.ndarray | None]]
    #: (R, K) words of `MARKS`, or "".
    marks: np.ndarray
    #: R texts beside the queries.
    notes: Sequence[str] = ()


def choose(first_hit: np.ndarray, count: int = 3) -> np.ndarray:
    """Return rows of queries, evenly spaced from the best to the worst first hit.

    Skipped queries (0) are left out. Nobody picks queries by hand.

    Raises:
        ValueError: fewer queries than `count` have a right item.
    """
    ranks = np.asarray(first_hit)
    valid = np.flatnonzero(ranks > 0)
    if len(valid) < count:
        raise ValueError(f"cannot show {count} queries: {len(valid)} have a right item")
    ordered = valid[np.argsort(ranks[valid], kind="stable")]
    parts = np.linspace(0, len(ordered) - 1, 2 * count + 1)
    return ordered[parts.round().astype(int)[1::2]]


def load(
    tracklets: Sequence[Sequence[Path]], height: int = 128, width: int = 64
) -> list[np.ndarray]:
    """Return the middle frame of each tracklet, (height, width, 3) uint8.

    Args:
        tracklets: files of the frames of each.
        height: of a returned frame in pixels.
        width: of a returned frame in pixels.
    """
    frames = []
    for files in tracklets:
        pixels = images.read(files[len(files) // 2]).permute(1, 2, 0).numpy()
        size = (width, height)
        picture = Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR)
        frames.append(np.asarray(picture))
    return frames


def compose(
    lists: np.ndarray,
    query_ids: np.ndarray,
    gallery_ids: np.ndarray,
    groups: Mapping[int, int] | None = None,
) -> np.ndarray:
    """Mark the items of ranked lists.

    Args:
        lists: (R, K) gallery rows, -1 for none.
        query_ids: (R,).
        gallery_ids: (G,).
        groups: identity -> look-alike group. Identities outside it, or in a group
            below 0, look like nobody.

    Returns:
        (R, K) words of `MARKS`, "" where there is no item.
    """
    lists, gallery_ids = np.asarray(lists), np.asarray(gallery_ids)
    queries = np.broadcast_to(np.asarray(query_ids)[:, None], lists.shape)
    items = gallery_ids[lists]
    marks = np.where(items == queries, "right", "wrong").astype("<U10")
    if groups:
        query_group = _groups(queries, groups)
        alike = (query_group >= 0) & (query_group == _groups(items, groups))
        marks[alike & (marks == "wrong")] = "look-alike"
    marks[lists < 0] = ""
    return marks


def _groups(ids: np.ndarray, groups: Mapping[int, int]) -> np.ndarray:
    """Return the look-alike group of each identity, -1 for none."""
    flat = [groups.get(int(identity), -1) for identity in ids.ravel()]
    return np.array(flat, dtype=int).reshape(ids.shape)


@style.drawn
def draw(panels: Sequence[Panel], caption: str = "") -> Figure:
    """Draw one block of rows for each panel: a query, then its list from rank 1.

    Border and sign say right, wrong or look-alike.
    """
    longest = max(panel.marks.shape[1] for panel in panels)
    left = 0.75 if any(panel.notes for panel in panels) else 0.05
    count = max(longest, 5)  # a short list does not grow to fill the page
    cell = (style.WIDTH - left - 0.05) / (count + 1.25)
    tall, wide = np.asarray(panels[0].queries[0]).shape[:2]
    row = cell * tall / wide
    heights = [0.45 + len(panel.queries) * row for panel in panels]
    fig, ax = style.board(style.WIDTH, sum(heights) + 0.3)
    top = 0.05
    for panel, height in zip(panels, heights, strict=True):
        style.label(ax, 0.05, top, panel.title, fontsize=9.5)
        _heads(ax, longest, left, top + 0.2, cell)
        for r in range(len(panel.queries)):
            rect = (left, top + 0.37 + r * row, cell - GAP, row - GAP)
            _row(ax, panel, r, rect)
        top += height
    _legend(ax, panels, left, top)
    style.caption(fig, caption)
    return fig


def _heads(ax: Axes, longest: int, left: float, top: float, cell: float) -> None:
    """Write "query" and the ranks above their columns."""
    style.label(ax, left + 0.5 * cell, top, "query", ha="center")
    for rank in range(1, longest + 1):
        style.label(ax, left + (rank + 0.75) * cell, top, str(rank), ha="center")


def _row(
    ax: Axes, panel: Panel, r: int, rect: tuple[float, float, float, float]
) -> None:
    """Draw a query and its list, where `rect` is the place of the query."""
    left, top, width, height = rect
    if panel.notes:
        style.label(ax, 0.05, top + height / 2, panel.notes[r], va="center")
    style.picture(ax, panel.queries[r], rect, outline=style.INK)
    for k, (item, mark) in enumerate(zip(panel.items[r], panel.marks[r], strict=True)):
        if item is None or not mark:
            continue
        colour, sign, _ = MARKS[mark]
        item_rect = (left + (k + 1.25) * (width + GAP), top, width, height)
        style.picture(ax, item, item_rect, outline=colour)
        style.sign(ax, sign, item_rect, colour)


def _legend(ax: Axes, panels: Sequence[Panel], left: float, top: float) -> None:
    used = set().union(*(panel.marks.ravel().tolist() for panel in panels))
    for k, mark in enumerate([mark for mark in MARKS if mark in used]):
        colour, sign, meaning = MARKS[mark]
        style.sign(ax, sign, (left + 1.2 * k, top, 0.25, 0.2), colour)
        style.label(ax, left + 1.2 * k + 0.3, top + 0.02, meaning)
