"""Diagrams of a network: boxes on a grid, and arrows that find their way between them. `read` takes a diagram from a text that looks like what it draws."""

from __future__ import annotations

import functools
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon, Rectangle
from matplotlib.path import Path

from vvi.plots import style

LOOKS = {  # what the legend says, fill, line; a modality also has a band at the left, full or hatched, so that grey print tells them apart
    "vis": ("visible only", "#e1eef7", style.VIS),
    "ir": ("infrared only", "#fcf0dc", style.IR),
    "shared": ("both modalities", "#f0f0f0", "#666666"),
    "train": ("training only", "white", "#666666"),
    "loss": ("loss", "#4a4a4a", "#4a4a4a"),
}
TEXT, INK, LOWER = (
    8.5,
    "#4a4a4a",
    "#555555",
)  # size of the text of a box, colours of arrows and of shapes
PAD, BAND, EDGE, GAP, LINE = np.array([0.085, 0.065]), 0.07, 0.06, 0.28, 0.14  # inches
Arrow = tuple[str, str, str]  # from, to, label


@dataclass(frozen=True)
class Box:
    """A part. place: (column, row) of its upper left cell; shape: a last line in small; kind: words of LOOKS, "ir train" is infrared and dashed; span: (columns, rows)."""

    name: str
    text: str
    place: tuple[int, int]
    shape: str = ""
    kind: str = "shared"
    span: tuple[int, int] = (1, 1)


def read(text: str) -> tuple[list[Box], list[Arrow]]:
    """A diagram from a text of three kinds of lines. Names: the layout, "." for an empty cell, a name in several cells spans them, ";" before another row on the line.
    "[kind] name: text; shape": a box, " | " before the next, " / " for a new line. "a -> b": arrows, also in chains, "a, b -> c" from both, "a -label-> b", ";" before the next.

    >>> boxes, arrows = read('''
    ...     V  trunk  mean
    ...     I  trunk  id
    ...     vis V: stem; (B, T, 64) | ir I: stem | loss id: identity / loss
    ...     V, I -> trunk -f-> mean -> id''')
    >>> boxes[0], boxes[1].span, boxes[4].text, arrows[2]
    (Box(name='V', text='stem', place=(0, 0), shape='(B, T, 64)', kind='vis', span=(1, 1)), (1, 2), 'identity\\nloss', ('trunk', 'mean', 'f'))
    """
    layout, told, arrows, boxes = [], {}, [], []
    for line in filter(None, map(str.strip, text.splitlines())):
        if re.match(r"[\w ]+:", line):
            for part in line.split(" | "):
                head, words, shape = re.fullmatch(
                    r"([^:]*):?([^;]*);?(.*)", part.replace(" / ", "\n"), re.DOTALL
                ).groups()
                *kind, name = head.split()
                told[name] = {
                    "text": words.strip(),
                    "shape": shape.strip(),
                    "kind": " ".join(kind) or "shared",
                }
        elif "->" in line:
            for chain in line.split(";"):
                parts = re.split(r"\s*-([^>]*?)-?>\s*", chain)
                for starts, label, ends in zip(
                    parts[:-2:2], parts[1::2], parts[2::2], strict=True
                ):
                    arrows += [
                        (start.strip(), end.strip(), label.strip())
                        for start, end in product(starts.split(","), ends.split(","))
                    ]
        else:
            layout += [row.split() for row in line.split(";")]
    names = dict.fromkeys(name for row in layout for name in row if name != ".")
    if missing := sorted(set(told) - set(names)):
        raise ValueError(f"not in the layout: {', '.join(missing)}")
    for name in names:
        places = [
            (c, r)
            for r, row in enumerate(layout)
            for c, other in enumerate(row)
            if other == name
        ]
        column, row, columns, rows = (
            *np.min(places, 0).tolist(),
            *(np.ptp(places, 0) + 1).tolist(),
        )
        if len(places) != columns * rows:
            raise ValueError(f"the cells of {name!r} are no rectangle")
        boxes.append(
            Box(
                name,
                place=(column, row),
                span=(columns, rows),
                **told.get(name, {"text": name}),
            )
        )
    return boxes, arrows


@functools.lru_cache(maxsize=1024)
def _size(text: str, points: float = style.SMALL) -> np.ndarray:
    """Width and height of a text, inches, as the renderer makes it."""
    fig = Figure(dpi=style.RC["savefig.dpi"])
    box = fig.text(0, 0, text, fontsize=points, linespacing=1.25).get_window_extent(
        FigureCanvasAgg(fig).get_renderer()
    )
    return np.array([box.width, box.height]) / fig.dpi


def _need(box: Box) -> np.ndarray:
    text, shape = _size(box.text, TEXT), _size(box.shape)
    return np.array([max(text[0], shape[0]), text[1] + shape[1]]) + 2 * PAD


def _lines(boxes: Sequence[Box], axis: int, gaps: np.ndarray) -> np.ndarray:
    """Where the columns (axis 0) or rows (axis 1) start and end, each as large as its largest box: (count, 2)."""
    sizes = np.zeros(len(gaps) + 1)
    for box in sorted(boxes, key=lambda b: b.span[axis]):
        first, last = box.place[axis], box.place[axis] + box.span[axis]
        have = sizes[first:last].sum() + gaps[first : last - 1].sum()
        sizes[first:last] += max(0, _need(box)[axis] - have) / box.span[axis]
    starts = np.concatenate([[0], np.cumsum(sizes[:-1] + gaps)])
    return np.stack([starts, starts + sizes], 1)


def _columns(boxes: dict[str, Box], arrows: Sequence[Arrow]) -> np.ndarray:
    """The columns over the width of the page, with room between them for the labels of their arrows."""
    gaps = np.full(max(b.place[0] + b.span[0] for b in boxes.values()) - 1, GAP)
    for start, end, label in arrows:
        one, two = sorted((boxes[start], boxes[end]), key=lambda b: b.place)
        if label and one.place[0] + one.span[0] == two.place[0]:
            gaps[two.place[0] - 1] = max(gaps[two.place[0] - 1], _size(label)[0] + 0.2)
    lines = _lines([*boxes.values()], 0, gaps)
    room = style.WIDTH - 2 * EDGE - lines[-1, 1]
    if room < 0:
        wide = max(boxes.values(), key=lambda b: _need(b)[0] / b.span[0]).name
        raise ValueError(
            f"the columns are {-room:.1f} inches too wide for a page: break the text of {wide!r}, or use fewer columns"
        )
    lines += min(0.25, room / max(1, len(gaps))) * np.arange(len(lines))[:, None]
    return lines + (style.WIDTH - lines[-1, 1]) / 2


def plan(
    boxes: Sequence[Box], arrows: Sequence[Arrow]
) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """The rectangle of every box, ((left, top), (right, bottom)), and the corners of every arrow, (n, 2), in inches from the upper left corner of the figure."""
    named, words = (
        {box.name: box for box in boxes},
        {word for box in boxes for word in box.kind.split()},
    )
    cells = [
        (b.place[0] + c, b.place[1] + r)
        for b in boxes
        for c in range(b.span[0])
        for r in range(b.span[1])
    ]
    if len(named) < len(boxes) or len(set(cells)) < len(cells):
        raise ValueError("two boxes with one name or in one place")
    if wrong := sorted(
        ({n for a in arrows for n in a[:2]} - set(named)) | (words - set(LOOKS))
    ):
        raise ValueError(
            f"neither a box nor a kind: {', '.join(wrong)}; kinds are {', '.join(LOOKS)}"
        )
    grid = (
        _columns(named, arrows),
        _lines(boxes, 1, np.full(max(r for _, r in cells), GAP)),
    )
    rects = {
        b.name: np.array(
            [
                [grid[i][b.place[i] + end * (b.span[i] - 1), end] for i in (0, 1)]
                for end in (0, 1)
            ]
        )
        for b in boxes
    }
    tracks = [
        [
            a[1] + part * (b[0] - a[1])
            for part in (0.5, 0.3, 0.7)
            for a, b in pairwise(lines)
        ]
        for lines in grid
    ]
    tracks[1] += [-0.15, grid[1][-1, 1] + 0.15]
    ways: dict[int, np.ndarray] = {}
    for n in sorted(
        range(len(arrows)),
        key=lambda n: np.abs(rects[arrows[n][0]] - rects[arrows[n][1]]).sum(),
    ):  # the short ones first
        ways[n] = _route(
            arrows[n], rects, tracks, [(arrows[m], way) for m, way in ways.items()]
        )
    shift = np.array(
        [
            0,
            EDGE
            - min(points[:, 1].min() for points in (*ways.values(), *rects.values())),
        ]
    )
    return {name: rect + shift for name, rect in rects.items()}, [
        ways[n] + shift for n in range(len(arrows))
    ]


def _ways(
    a: np.ndarray, b: np.ndarray, tracks: Sequence[float]
) -> Iterator[list[tuple[float, float]]]:
    """Ways from box a to box b that start sideways: straight, with one corner or with two, on one of the tracks between the boxes. Some run through boxes."""
    (ax, ay), (bx, by) = a.T, b.T
    starts, ends, tops = (
        [low + part * (high - low) for part in (0.5, 0.25, 0.75)]
        for low, high in (ay, by, bx)
    )
    yield from (
        [(ax[int(bx[0] > ax[0])], y), (bx[int(ax[0] > bx[0])], y)]
        for y in starts + ends
        if max(ay[0], by[0]) < y < min(ay[1], by[1])
    )
    for y in starts:
        yield from (
            [(ax[int(x > ax[0])], y), (x, y), (x, by[int(y > by[0])])] for x in tops
        )
        yield from (
            [(ax[int(x > ax[0])], y), (x, y), (x, last), (bx[int(x > bx[0])], last)]
            for x, last in product(tracks, ends)
            if last != y
        )


def _legs(way: np.ndarray) -> np.ndarray:
    """The legs of a way as rectangles without width: (n, 2) -> (n - 1, 2, 2)."""
    return np.sort(np.stack([way[:-1], way[1:]], 1), 1)


def _touch(
    ones: np.ndarray, others: np.ndarray, margin: float | np.ndarray = 0.0
) -> bool:
    """True if one of the rectangles (n, 2, 2) overlaps with one of the others (m, 2, 2), or is nearer than its margin."""
    return bool(
        (
            (ones[:, None, 1] > others[:, 0] - margin)
            & (ones[:, None, 0] < others[:, 1] + margin)
        )
        .all(-1)
        .any()
    )


def _clash(ones: np.ndarray, others: np.ndarray) -> float:
    """The price of legs that cross (0.8 for each crossing), or that run on one line (10)."""
    shared = np.minimum(ones[:, None, 1], others[:, 1]) - np.maximum(
        ones[:, None, 0], others[:, 0]
    )
    meet, alike = (
        (shared > -0.05).all(-1),
        (ones[:, None, 0, 1] == ones[:, None, 1, 1])
        == (others[:, 0, 1] == others[:, 1, 1]),
    )
    return (
        0.8 * (meet & ~alike).sum()
        + 10 * (meet & alike & (shared.max(-1) > 0.02)).sum()
    )


def _route(
    arrow: Arrow,
    rects: dict[str, np.ndarray],
    tracks: Sequence[Sequence[float]],
    others: Sequence[tuple[Arrow, np.ndarray]],
) -> np.ndarray:
    """The cheapest way past all boxes: short, few corners and crossings, from middle to middle, on the line of another arrow only if both start or end in one box."""
    a, b = rects[arrow[0]], rects[arrow[1]]
    ways = [np.array(way) for way in _ways(a, b, tracks[0])] + [
        np.array(way)[:, ::-1] for way in _ways(a[:, ::-1], b[:, ::-1], tracks[1])
    ]
    walls, margin = (
        np.array([*rects.values()]),
        np.array([[-0.01 if name in arrow[:2] else 0.04] for name in rects]),
    )
    foreign = np.concatenate(
        [
            np.zeros((0, 2, 2)),
            *(
                _legs(way)
                for other, way in others
                if other[0] != arrow[0] and other[1] != arrow[1]
            ),
        ]
    )

    def price(way: np.ndarray) -> float:
        long = np.abs(np.diff(way, axis=0)).sum(1)
        off = sum(
            (np.abs(end - box.mean(0)) / (box[1] - box[0])).min()
            for end, box in ((way[0], a), (way[-1], b))
        )
        return (
            long.sum()
            + 0.3 * len(way)
            + 0.2 * (long < 0.13).sum()
            + 0.4 * off
            + _clash(_legs(way), foreign)
        )

    free = [way for way in ways if not _touch(_legs(way), walls, margin)]
    if not free:
        raise ValueError(
            f"no way from {arrow[0]!r} to {arrow[1]!r} past the other boxes: move one of them"
        )
    return min(free, key=price)


def _beside(label: str, way: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """The rectangle of a label beside its arrow, on nothing that is taken."""
    size = _size(label)
    for (start, end), part, sign in product(
        sorted(pairwise(way), key=lambda leg: -np.abs(leg[1] - leg[0]).sum()),
        (0.5, 0.3, 0.7),
        (-1, 1),
    ):
        away = np.array(
            [0, size[1] / 2 + 0.02] if start[1] == end[1] else [-size[0] / 2 - 0.05, 0]
        )
        rect = (
            start + part * (end - start) + sign * away + np.array([-size / 2, size / 2])
        )
        if not _touch(rect[None], taken):
            return rect
    raise ValueError(f"no room for the label {label!r}")


@style.drawn
def draw(
    boxes: str | Sequence[Box | tuple],
    arrows: str | Sequence[tuple] = (),
    caption: str = "",
    notes: Sequence[str] = (),
) -> Figure:
    """A diagram, and a legend of several kinds. boxes: Box, or tuples of its fields, or the text of a whole diagram; arrows: (from, to[, label]), or lines of such a text."""
    boxes, told = (
        read(boxes)
        if isinstance(boxes, str)
        else ([b if isinstance(b, Box) else Box(*b) for b in boxes], [])
    )
    arrows = [
        *told,
        *(
            read(arrows)[1]
            if isinstance(arrows, str)
            else [(*a, "")[:3] for a in arrows]
        ),
    ]
    rects, ways = plan(boxes, arrows)
    bottom, taken, x = (
        max(points[:, 1].max() for points in (*rects.values(), *ways)) + 0.12,
        list(rects.values()),
        EDGE,
    )
    below = [row for text in (*notes, caption) for row in textwrap.wrap(text, 110)]
    kinds = [k for k in LOOKS if any(k in b.kind.split() for b in boxes)]
    fig, ax = style.board(
        style.WIDTH,
        bottom + 0.25 * (len(kinds) > 1 or len(below) > 0) + LINE * len(below),
    )
    quiet = {b.name for b in boxes if {"train", "loss"} & set(b.kind.split())}
    for (start, end, label), way in zip(arrows, ways, strict=True):
        _arrow(
            ax,
            way,
            linestyle="--" if quiet & {start, end} else "-",
            gid=f"arrow {start} {end}",
        )
        if label:
            taken.append(
                _beside(
                    label,
                    way,
                    np.concatenate(
                        [taken, *(_legs(other) for other in ways if other is not way)]
                    ),
                )
            )
            style.label(
                ax,
                *taken[-1].mean(0),
                label,
                ha="center",
                va="center",
                gid=f"label {start} {end}",
            )
    for box in boxes:
        _box(ax, box, rects[box.name])
    for kind in kinds if len(kinds) > 1 else ():
        _outline(ax, kind, np.array([[x, bottom], [x + 0.26, bottom + 0.14]]))
        style.label(ax, x + 0.32, bottom + 0.115, LOOKS[kind][0], va="baseline")
        x += 0.57 + _size(LOOKS[kind][0])[0]
    style.label(ax, EDGE, bottom + 0.24, "\n".join(below))
    return fig


def _outline(ax: Axes, kind: str, rect: np.ndarray, **options: str) -> None:
    """The outline of a box, which tells its kind."""
    words, (width, height) = kind.split(), rect[1] - rect[0]
    _, fill, line = LOOKS[
        next((w for w in words if w in ("vis", "ir", "loss")), words[0])
    ]
    corner = f"round,pad=0,rounding_size={min(0.14, height / 2) if 'loss' in words else 0.03}"
    look = {
        "facecolor": fill,
        "edgecolor": line,
        "linestyle": (0, (3, 1.5)) if "train" in words else "-",
    }
    outline = ax.add_patch(
        FancyBboxPatch(
            rect[0], width, height, corner, linewidth=1.1, zorder=2, **look, **options
        )
    )
    if {"vis", "ir"} & set(words):
        look = (
            {"facecolor": line}
            if "vis" in words
            else {"facecolor": "white", "hatch": "/" * 7}
        )
        ax.add_patch(
            Rectangle(
                rect[0], BAND, height, edgecolor=line, linewidth=0.8, zorder=2.1, **look
            )
        ).set_clip_path(outline)


def _box(ax: Axes, box: Box, rect: np.ndarray) -> None:
    _outline(ax, box.kind, rect, gid=f"box {box.name}")
    x, y = rect.mean(0) + [BAND / 2 if {"vis", "ir"} & set(box.kind.split()) else 0, 0]
    look = {"ha": "center", "va": "center", "zorder": 4, "gid": f"text {box.name}"}
    for text, points, up, colour in (
        (box.text, TEXT, -_size(box.shape)[1], style.INK),
        (box.shape, style.SMALL, _size(box.text, TEXT)[1], LOWER),
    ):
        style.label(
            ax,
            x,
            y + up / 2,
            text,
            fontsize=points,
            color="white" if "loss" in box.kind else colour,
            **look,
        )


def _arrow(ax: Axes, way: np.ndarray, **options: str) -> None:
    """A line with round corners and a head."""
    steps = np.sign(np.diff(way, axis=0))
    tip, back = way[-1], -steps[-1]
    turns = [
        corner + step
        for corner, before, after in zip(way[1:], steps, steps[1:], strict=False)
        for step in (-0.05 * before, 0 * before, 0.05 * after)
    ]
    codes = [
        Path.MOVETO,
        *[Path.LINETO, Path.CURVE3, Path.CURVE3] * (len(way) - 2),
        Path.LINETO,
    ]
    ax.add_patch(
        PathPatch(
            Path([way[0], *turns, tip + 0.07 * back], codes),
            fill=False,
            edgecolor=INK,
            linewidth=1.1,
            zorder=1,
            **options,
        )
    )
    ax.add_patch(
        Polygon(
            [tip, *(tip + 0.09 * back + wing * back[::-1] for wing in (-0.035, 0.035))],
            facecolor=INK,
            linewidth=0,
            zorder=3,
        )
    )
