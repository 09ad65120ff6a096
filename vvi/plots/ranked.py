"""Ranked lists: a query and its first ten, right or wrong. Four steps, each of its own: choose the queries, load their frames, compose the marks, draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vvi.data import images
from vvi.plots import style

# colour and sign, so that grey print tells them apart too
MARKS = {
    "right": (style.RIGHT, "✓", "right"),
    "wrong": (style.WRONG, "✗", "wrong"),
    "look-alike": (style.LOOK_ALIKE, "≈", "wrong, a look-alike of the query"),
    "unknown": (style.INK, "?", "not known"),
}


@dataclass(frozen=True)
class Panel:
    """One direction: `queries` R frames, `items` R x K frames (None past the end of a short list), `marks` (R, K): right, wrong, look-alike, unknown or ""."""

    title: str
    queries: Sequence[np.ndarray]
    items: Sequence[Sequence[np.ndarray | None]]
    marks: np.ndarray
    notes: Sequence[str] = ()


def choose(first_hit: np.ndarray, count: int = 3) -> np.ndarray:
    """Rows of queries that stand for all of them: evenly spaced from the best to the worst first hit. Skipped queries (0) are left out; no hand picks them."""
    valid = np.flatnonzero(np.asarray(first_hit) > 0)
    if len(valid) < count:
        raise ValueError(f"{count} queries asked for, {len(valid)} have a right item")
    ordered = valid[np.argsort(np.asarray(first_hit)[valid], kind="stable")]
    return ordered[
        np.linspace(0, len(ordered) - 1, 2 * count + 1).round().astype(int)[1::2]
    ]


def load(
    tracklets: Sequence[Sequence[Path]], height: int = 128, width: int = 64
) -> list[np.ndarray]:
    """The middle frame of each tracklet, a sequence of image files: (height, width, 3) uint8."""
    from PIL import Image

    frames = []
    for files in tracklets:
        pixels = images.read(files[len(files) // 2]).permute(1, 2, 0).numpy()
        picture = Image.fromarray(pixels).resize(
            (width, height), Image.Resampling.BILINEAR
        )
        frames.append(np.asarray(picture))
    return frames


def compose(
    lists: np.ndarray,
    query_ids: np.ndarray,
    gallery_ids: np.ndarray,
    groups: dict[int, int] | None = None,
) -> np.ndarray:
    """Marks (R, K) of lists (R, K) of gallery rows, -1 for none. groups: identity -> look-alike group; identities outside it, or in a group below 0, look like nobody."""
    lists, query_ids, gallery_ids = (
        np.asarray(lists),
        np.asarray(query_ids),
        np.asarray(gallery_ids),
    )
    found = gallery_ids[lists]
    marks = np.where(found == query_ids[:, None], "right", "wrong").astype("<U10")
    if groups:
        group = {identity: number for identity, number in groups.items() if number >= 0}
        alike = np.array(
            [
                [group.get(int(g), -1) == group.get(int(q), -2) for g in row]
                for q, row in zip(query_ids, found, strict=True)
            ]
        ).reshape(found.shape)
        marks[alike & (marks == "wrong")] = "look-alike"
    marks[lists < 0] = ""
    return marks


@style.drawn
def draw(panels: Sequence[Panel], caption: str = "") -> Figure:
    """One block of rows for each panel: the query, then its list from rank 1; border and sign say right, wrong or look-alike."""
    longest = max(panel.marks.shape[1] for panel in panels)
    count = max(longest, 5)  # a short list does not grow to fill the page
    left = 0.75 if any(panel.notes for panel in panels) else 0.05
    cell = (style.WIDTH - left - 0.05) / (count + 1.25)
    tall, wide = np.asarray(panels[0].queries[0]).shape[:2]
    row = cell * tall / wide
    fig, ax = style.board(
        style.WIDTH,
        sum(0.45 + len(p.queries) * row for p in panels)
        + 0.3
        + (0.3 if caption else 0),
    )
    top = 0.05
    for panel in panels:
        style.label(ax, 0.05, top, panel.title, fontsize=9.5)
        for k, name in enumerate(["query", *map(str, range(1, longest + 1))]):
            style.label(
                ax,
                left + (k + 0.25 * (k > 0) + 0.5) * cell,
                top + 0.2,
                name,
                ha="center",
            )
        for r in range(len(panel.queries)):
            _row(ax, panel, r, left, top + 0.37 + r * row, cell - 0.05, row - 0.05)
        top += 0.45 + len(panel.queries) * row
    used = [
        mark for mark in MARKS if any((panel.marks == mark).any() for panel in panels)
    ]
    for k, mark in enumerate(used):
        colour, sign, meaning = MARKS[mark]
        style.sign(ax, sign, (left + 1.2 * k, top, 0.25, 0.2), colour)
        style.label(ax, left + 1.2 * k + 0.3, top + 0.02, meaning)
    style.label(ax, 0.05, top + 0.27, caption)
    return fig


def _row(
    ax: Axes, panel: Panel, r: int, left: float, top: float, width: float, height: float
) -> None:
    if panel.notes:
        style.label(ax, 0.05, top + height / 2, panel.notes[r], va="center")
    style.picture(ax, panel.queries[r], (left, top, width, height), outline=style.INK)
    for k, (item, mark) in enumerate(zip(panel.items[r], panel.marks[r], strict=True)):
        if item is None or not mark:
            continue
        place = (left + (k + 1.25) * (width + 0.05), top, width, height)
        style.picture(ax, item, place, outline=MARKS[mark][0])
        style.sign(ax, MARKS[mark][1], place, MARKS[mark][0])
