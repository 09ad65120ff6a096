"""Diagrams of a network: boxes on a grid, and arrows that find their way between them.

`read` takes a diagram from a text that looks like what it draws.
"""

from __future__ import annotations

import functools
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise, product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon, Rectangle
from matplotlib.path import Path

from vvi.plots import style

#: Kind -> what the legend says, fill, line. A modality also has a band at the left,
#: full or hatched, so that grey print tells them apart.
LOOKS = {
    "vis": ("visible only", "#e1eef7", style.VIS),
    "ir": ("infrared only", "#fcf0dc", style.IR),
    "shared": ("both modalities", "#f0f0f0", "#666666"),
    "train": ("training only", "white", "#666666"),
    "loss": ("loss", "#4a4a4a", "#4a4a4a"),
}
TEXT = 8.5  # points: text of a box
INK, LOWER = "#4a4a4a", "#555555"  # colours of arrows and of shapes
# inches: around text in a box, band of a modality, edge of the figure, between columns,
# height of a line of notes
PAD, BAND, EDGE, GAP, LINE = np.array([0.085, 0.065]), 0.07, 0.06, 0.28, 0.14
Arrow = tuple[str, str, str]  # from, to, label
Ways = Mapping[int, np.ndarray]


@dataclass(frozen=True)
class Box:
    """A part of a network."""

    name: str
    text: str
    #: (column, row) of its upper left cell.
    place: tuple[int, int]
    #: A last line in small.
    shape: str = ""
    #: Words of `LOOKS`: "ir train" is infrared and dashed.
    kind: str = "shared"
    #: (columns, rows).
    span: tuple[int, int] = (1, 1)


def read(text: str) -> tuple[list[Box], list[Arrow]]:
    """Read a diagram from a text of three kinds of lines.

    Names are the layout: "." is an empty cell, a name in several cells spans them,
    ";" begins another row. "[kind] name: text; shape" is a box, " | " begins the next,
    " / " a new line of its text. "a -> b" are arrows, also in chains. "a, b -> c" are
    from both, "a -label-> b" has a label, ";" begins the next chain.

    Raises:
        ValueError: a box has no cell, or the cells of one are no rectangle.

    >>> boxes, arrows = read('''
    ...     V  trunk  mean
    ...     I  trunk  id
    ...     vis V: stem; (B, T, 64) | ir I: stem | loss id: identity / loss
    ...     V, I -> trunk -f-> mean -> id''')
    >>> boxes[0].shape, boxes[1].span, boxes[4].text, arrows[2]
    ('(B, T, 64)', (1, 2), 'identity\\nloss', ('trunk', 'mean', 'f'))
    """
    layout: list[list[str]] = []
    parts: dict[str, dict[str, str]] = {}
    arrows: list[Arrow] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        if re.match(r"[\w ]+:", line):
            parts |= map(_read_part, line.split(" | "))
        elif "->" in line:
            for chain in line.split(";"):
                arrows += _read_chain(chain)
        else:
            layout += map(str.split, line.split(";"))
    cells = _cells_of_names(layout)
    missing = sorted(set(parts) - set(cells))
    if missing:
        raise ValueError(f"not in the layout: {', '.join(missing)}")
    boxes = []
    for name, places in cells.items():
        corner, span = _rectangle(name, places)
        part = parts.get(name, {"text": name})
        boxes.append(Box(name, place=corner, span=span, **part))
    return boxes, arrows


def _read_part(text: str) -> tuple[str, dict[str, str]]:
    """Read "[kind] name: text; shape" -> name, fields of its Box."""
    lines = text.replace(" / ", "\n")
    head, words, shape = re.fullmatch(
        r"([^:]*):?([^;]*);?(.*)", lines, re.DOTALL
    ).groups()
    *kind, name = head.split()
    fields = {"text": words.strip(), "shape": shape.strip()}
    return name, fields | {"kind": " ".join(kind) or "shared"}


def _read_chain(text: str) -> Iterator[Arrow]:
    """Read "a, b -> c -label-> d", one arrow after the other."""
    parts = re.split(r"\s*-([^>]*?)-?>\s*", text)
    names, labels = parts[::2], parts[1::2]
    for (starts, ends), label in zip(pairwise(names), labels, strict=True):
        for start, end in product(starts.split(","), ends.split(",")):
            yield start.strip(), end.strip(), label.strip()


def _cells_of_names(layout: Sequence[Sequence[str]]) -> dict[str, list]:
    """Return name -> its cells (column, row), names in the order of the layout."""
    cells: dict[str, list] = {}
    for row, names in enumerate(layout):
        for column, name in enumerate(names):
            if name != ".":
                cells.setdefault(name, []).append((column, row))
    return cells


def _rectangle(
    name: str, places: Sequence[tuple[int, int]]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the upper left cell and the span of some cells."""
    corner = tuple(np.min(places, 0).tolist())
    span = tuple((np.ptp(places, 0) + 1).tolist())
    if len(places) != span[0] * span[1]:
        raise ValueError(f"the cells of {name!r} are no rectangle")
    return corner, span


@functools.lru_cache(maxsize=1024)
def _size(text: str, points: float = style.SMALL) -> np.ndarray:
    """Return width and height of a text in inches, as the renderer makes it."""
    fig = Figure(dpi=style.RC["savefig.dpi"])
    shown = fig.text(0, 0, text, fontsize=points, linespacing=1.25)
    box = shown.get_window_extent(FigureCanvasAgg(fig).get_renderer())
    return np.array([box.width, box.height]) / fig.dpi


def _need(box: Box) -> np.ndarray:
    """Return the least width and height of a box in inches."""
    text, shape = _size(box.text, TEXT), _size(box.shape)
    return np.array([max(text[0], shape[0]), text[1] + shape[1]]) + 2 * PAD


def _lines(boxes: Sequence[Box], axis: int, gaps: np.ndarray) -> np.ndarray:
    """Return where columns (axis 0) or rows (axis 1) start and end, (count, 2).

    Each is as large as its largest box.
    """
    sizes = np.zeros(len(gaps) + 1)
    for box in sorted(boxes, key=lambda b: b.span[axis]):
        first, last = box.place[axis], box.place[axis] + box.span[axis]
        have = sizes[first:last].sum() + gaps[first : last - 1].sum()
        sizes[first:last] += max(0, _need(box)[axis] - have) / box.span[axis]
    starts = np.concatenate([[0], np.cumsum(sizes[:-1] + gaps)])
    return np.stack([starts, starts + sizes], 1)


def _columns(boxes: Mapping[str, Box], arrows: Sequence[Arrow]) -> np.ndarray:
    """Return the columns over the width of the page, (count, 2).

    Between them is room for the labels of their arrows.
    """
    count = max(b.place[0] + b.span[0] for b in boxes.values())
    gaps = np.full(count - 1, GAP)
    for start, end, label in arrows:
        left, right = sorted((boxes[start], boxes[end]), key=lambda b: b.place)
        column = right.place[0]
        if label and left.place[0] + left.span[0] == column:
            gaps[column - 1] = max(gaps[column - 1], _size(label)[0] + 0.2)
    lines = _lines([*boxes.values()], 0, gaps)
    room = style.WIDTH - 2 * EDGE - lines[-1, 1]
    if room < 0:
        wide = max(boxes.values(), key=lambda b: _need(b)[0] / b.span[0]).name
        raise ValueError(
            f"the columns are {-room:.1f} inches too wide for a page: "
            f"break the text of {wide!r}, or use fewer columns"
        )
    lines += min(0.25, room / max(1, len(gaps))) * np.arange(len(lines))[:, None]
    return lines + (style.WIDTH - lines[-1, 1]) / 2


def plan(
    boxes: Sequence[Box], arrows: Sequence[Arrow]
) -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """Place boxes and arrows, in inches from the upper left corner of the figure.

    Returns:
        The rectangle of every box, ((left, top), (right, bottom)), and the corners of
        every arrow, (n, 2).

    Raises:
        ValueError: boxes in one place, names or kinds that are not there, a diagram
            that is too wide, an arrow without a way.
    """
    named = {box.name: box for box in boxes}
    _refuse_wrong(named, boxes, arrows)
    rows = max(box.place[1] + box.span[1] for box in boxes)
    grid = (_columns(named, arrows), _lines(boxes, 1, np.full(rows - 1, GAP)))
    rects = {box.name: _rect(box, grid) for box in boxes}
    tracks = [_tracks(grid[0]), _tracks(grid[1])]
    tracks[1] += [-0.15, grid[1][-1, 1] + 0.15]
    ways = _all_ways(arrows, rects, tracks)
    top = min(points[:, 1].min() for points in (*ways.values(), *rects.values()))
    shift = np.array([0, EDGE - top])
    shifted = {name: rect + shift for name, rect in rects.items()}
    return shifted, [ways[n] + shift for n in range(len(arrows))]


def _refuse_wrong(
    named: Mapping[str, Box], boxes: Sequence[Box], arrows: Sequence[Arrow]
) -> None:
    """Refuse boxes of one name or in one place, and words that name nothing."""
    cells: list[tuple[int, int]] = []
    kinds: set[str] = set()
    for box in boxes:
        column, row = box.place
        columns, rows = range(box.span[0]), range(box.span[1])
        cells += [(column + c, row + r) for c, r in product(columns, rows)]
        kinds |= set(box.kind.split())
    if len(named) < len(boxes) or len(set(cells)) < len(cells):
        raise ValueError("two boxes with one name or in one place")
    ends = set(chain.from_iterable(arrow[:2] for arrow in arrows))
    wrong = sorted((ends - set(named)) | (kinds - set(LOOKS)))
    if wrong:
        raise ValueError(
            f"neither a box nor a kind: {', '.join(wrong)}; "
            f"kinds are {', '.join(LOOKS)}"
        )


def _rect(box: Box, grid: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return ((left, top), (right, bottom)) of a box on the lines of a grid."""
    (column, row), (columns, rows) = box.place, box.span
    first = (grid[0][column, 0], grid[1][row, 0])
    last = (grid[0][column + columns - 1, 1], grid[1][row + rows - 1, 1])
    return np.array([first, last])


def _tracks(lines: np.ndarray) -> list[float]:
    """Return positions between neighbouring lines where arrows may run."""
    tracks = []
    for part in (0.5, 0.3, 0.7):
        for before, after in pairwise(lines):
            tracks.append(before[1] + part * (after[0] - before[1]))
    return tracks


def _all_ways(
    arrows: Sequence[Arrow],
    rects: Mapping[str, np.ndarray],
    tracks: Sequence[Sequence[float]],
) -> Ways:
    """Route every arrow, the short ones first, so that long ones make way.

    Args:
        arrows: from, to, label.
        rects: name -> ((left, top), (right, bottom)).
        tracks: positions between columns, and between rows.

    Returns:
        Number of the arrow -> its corners (n, 2).
    """

    def distance(n: int) -> float:
        start, end, _ = arrows[n]
        return np.abs(rects[start] - rects[end]).sum()

    ways: dict[int, np.ndarray] = {}
    for n in sorted(range(len(arrows)), key=distance):
        others = [(arrows[m], way) for m, way in ways.items()]
        ways[n] = _route(arrows[n], rects, tracks, others)
    return ways


def _ways(
    a: np.ndarray, b: np.ndarray, tracks: Sequence[float]
) -> Iterator[list[tuple[float, float]]]:
    """Yield ways from box a to box b that start sideways, some of them through boxes.

    They are straight, with one corner, or with two on one of the tracks.
    """
    (ax, ay), (bx, by) = a.T, b.T
    starts, ends, tops = map(_ports, (ay, by, bx))
    for y in starts + ends:
        if max(ay[0], by[0]) < y < min(ay[1], by[1]):
            yield [(_facing(ax, bx[0], ax[0]), y), (_facing(bx, ax[0], bx[0]), y)]
    for y in starts:
        for x in tops:
            end = by[int(y > by[0])]
            yield [(ax[int(x > ax[0])], y), (x, y), (x, end)]
        for x, last in product(tracks, ends):
            if last != y:
                first, end = ax[int(x > ax[0])], bx[int(x > bx[0])]
                yield [(first, y), (x, y), (x, last), (end, last)]


def _ports(edge: np.ndarray) -> list[float]:
    """Return where arrows may meet an edge from low to high, the middle first."""
    low, high = edge
    return [low + part * (high - low) for part in (0.5, 0.25, 0.75)]


def _facing(edge: np.ndarray, other: float, own: float) -> float:
    """Return the side of a box that faces another one."""
    return edge[int(other > own)]


def _legs(way: np.ndarray) -> np.ndarray:
    """Return the legs of a way as rectangles without width: (n, 2) -> (n - 1, 2, 2)."""
    return np.sort(np.stack([way[:-1], way[1:]], 1), 1)


def _touch(
    rects: np.ndarray, others: np.ndarray, margin: float | np.ndarray = 0.0
) -> bool:
    """Whether rectangles (n, 2, 2) come nearer to others (m, 2, 2) than a margin."""
    after = rects[:, None, 1] > others[:, 0] - margin
    before = rects[:, None, 0] < others[:, 1] + margin
    return bool((after & before).all(-1).any())


def _clash(legs: np.ndarray, others: np.ndarray) -> float:
    """Return the price of legs that cross (0.8 each) or that run on one line (10)."""
    last = np.minimum(legs[:, None, 1], others[:, 1])
    shared = last - np.maximum(legs[:, None, 0], others[:, 0])
    meet = (shared > -0.05).all(-1)
    vertical = legs[:, None, 0, 1] == legs[:, None, 1, 1]
    parallel = vertical == (others[:, 0, 1] == others[:, 1, 1])
    along = meet & parallel & (shared.max(-1) > 0.02)
    return 0.8 * (meet & ~parallel).sum() + 10 * along.sum()


def _route(
    arrow: Arrow,
    rects: Mapping[str, np.ndarray],
    tracks: Sequence[Sequence[float]],
    others: Sequence[tuple[Arrow, np.ndarray]],
) -> np.ndarray:
    """Return the cheapest way of an arrow past all boxes, (n, 2).

    Cheap is short, of few corners and crossings, from middle to middle. It shares a
    line with another arrow only if both start or end in one box.

    Args:
        arrow: from, to, label.
        rects: name -> ((left, top), (right, bottom)).
        tracks: positions between columns, and between rows.
        others: arrows that are routed already, with their ways.
    """
    start, end, _ = arrow
    a, b = rects[start], rects[end]
    sideways = [np.array(way) for way in _ways(a, b, tracks[0])]
    turned = _ways(a[:, ::-1], b[:, ::-1], tracks[1])
    ways = sideways + [np.array(way)[:, ::-1] for way in turned]
    walls = np.array([*rects.values()])
    margin = np.array([[-0.01 if name in (start, end) else 0.04] for name in rects])
    free = [way for way in ways if not _touch(_legs(way), walls, margin)]
    if not free:
        raise ValueError(
            f"no way from {start!r} to {end!r} past the other boxes: move one of them"
        )
    foreign = _foreign_legs(arrow, others)
    return min(free, key=lambda way: _price(way, a, b, foreign))


def _foreign_legs(
    arrow: Arrow, others: Sequence[tuple[Arrow, np.ndarray]]
) -> np.ndarray:
    """Return the legs of arrows that share no end with this one, (m, 2, 2)."""
    legs = [np.zeros((0, 2, 2))]
    for other, way in others:
        if other[0] != arrow[0] and other[1] != arrow[1]:
            legs.append(_legs(way))
    return np.concatenate(legs)


def _price(way: np.ndarray, a: np.ndarray, b: np.ndarray, foreign: np.ndarray) -> float:
    """Return what a way costs: length, corners, short legs, ends off the middle.

    Args:
        way: (n, 2) corners.
        a: box that it starts at.
        b: box that it ends at.
        foreign: (m, 2, 2) legs that it should not meet.
    """
    lengths = np.abs(np.diff(way, axis=0)).sum(1)
    off = 0.0
    for end, box in ((way[0], a), (way[-1], b)):
        off += (np.abs(end - box.mean(0)) / (box[1] - box[0])).min()
    return (
        lengths.sum()
        + 0.3 * len(way)
        + 0.2 * (lengths < 0.13).sum()
        + 0.4 * off
        + _clash(_legs(way), foreign)
    )


def _label_rect(label: str, way: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """Return a rectangle for a label beside its arrow, on nothing that is taken."""
    size = _size(label)
    half = np.array([-size / 2, size / 2])
    legs = sorted(pairwise(way), key=lambda leg: -np.abs(leg[1] - leg[0]).sum())
    for (start, end), part, sign in product(legs, (0.5, 0.3, 0.7), (-1, 1)):
        if start[1] == end[1]:
            away = np.array([0, size[1] / 2 + 0.02])
        else:
            away = np.array([-size[0] / 2 - 0.05, 0])
        rect = start + part * (end - start) + sign * away + half
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
    """Draw a diagram, and a legend where it has several kinds of boxes.

    Args:
        boxes: Box, or tuples of its fields, or the text of a whole diagram.
        arrows: (from, to[, label]), or lines of such a text.
        caption: words under the figure.
        notes: lines inside the figure, below the diagram.
    """
    boxes, arrows = _resolved(boxes, arrows)
    rects, ways = plan(boxes, arrows)
    bottom = max(points[:, 1].max() for points in (*rects.values(), *ways)) + 0.12
    used = set(chain.from_iterable(box.kind.split() for box in boxes))
    kinds = [kind for kind in LOOKS if kind in used]
    lines = list(chain.from_iterable(textwrap.wrap(note, 110) for note in notes))
    legend = 0.25 if len(kinds) > 1 or lines else 0
    fig, ax = style.board(style.WIDTH, bottom + legend + LINE * len(lines))
    _draw_arrows(ax, boxes, arrows, rects, ways)
    for box in boxes:
        _draw_box(ax, box, rects[box.name])
    if len(kinds) > 1:
        _draw_legend(ax, kinds, bottom)
    style.label(ax, EDGE, bottom + 0.24, "\n".join(lines))
    style.caption(fig, caption)
    return fig


def _resolved(
    boxes: str | Sequence[Box | tuple], arrows: str | Sequence[tuple]
) -> tuple[list[Box], list[Arrow]]:
    """Return boxes and arrows however they were written."""
    if isinstance(boxes, str):
        parts, joined = read(boxes)
    else:
        parts, joined = [b if isinstance(b, Box) else Box(*b) for b in boxes], []
    if isinstance(arrows, str):
        return parts, joined + read(arrows)[1]
    return parts, joined + [(*arrow, "")[:3] for arrow in arrows]


def _draw_arrows(
    ax: Axes,
    boxes: Sequence[Box],
    arrows: Sequence[Arrow],
    rects: Mapping[str, np.ndarray],
    ways: Sequence[np.ndarray],
) -> None:
    """Draw arrows with their labels, dashed for parts that only training has.

    Args:
        ax: of the board.
        boxes: of the diagram.
        arrows: from, to, label.
        rects: name of a box -> its rectangle.
        ways: corners of the arrows.
    """
    training = {"train", "loss"}
    quiet = {box.name for box in boxes if training & set(box.kind.split())}
    taken = list(rects.values())
    for n, ((start, end, label), way) in enumerate(zip(arrows, ways, strict=True)):
        dash = "--" if quiet & {start, end} else "-"
        _draw_arrow(ax, way, linestyle=dash, gid=f"arrow {start} {end}")
        if label:
            others = [_legs(other) for m, other in enumerate(ways) if m != n]
            rect = _label_rect(label, way, np.concatenate([taken, *others]))
            taken.append(rect)
            middle = {"ha": "center", "va": "center", "gid": f"label {start} {end}"}
            style.label(ax, *rect.mean(0), label, **middle)


def _draw_legend(ax: Axes, kinds: Sequence[str], top: float) -> None:
    x = EDGE
    for kind in kinds:
        meaning = LOOKS[kind][0]
        _outline(ax, kind, np.array([[x, top], [x + 0.26, top + 0.14]]))
        style.label(ax, x + 0.32, top + 0.115, meaning, va="baseline")
        x += 0.57 + _size(meaning)[0]


def _outline(ax: Axes, kind: str, rect: np.ndarray, **options: str) -> None:
    """Draw the outline of a box, which tells its kind.

    Args:
        ax: of the board.
        kind: words of `LOOKS`.
        rect: ((left, top), (right, bottom)).
        **options: of the patch.
    """
    words, (width, height) = kind.split(), rect[1] - rect[0]
    colours = [word for word in words if word in ("vis", "ir", "loss")]
    _, fill, line = LOOKS[(colours or words)[0]]
    radius = min(0.14, height / 2) if "loss" in words else 0.03
    patch = FancyBboxPatch(
        rect[0],
        width,
        height,
        f"round,pad=0,rounding_size={radius}",
        facecolor=fill,
        edgecolor=line,
        linestyle=(0, (3, 1.5)) if "train" in words else "-",
        linewidth=1.1,
        zorder=2,
        **options,
    )
    outline = ax.add_patch(patch)
    if "vis" in words:
        band = {"facecolor": line}
    elif "ir" in words:
        band = {"facecolor": "white", "hatch": "/" * 7}
    else:
        return
    band |= {"edgecolor": line, "linewidth": 0.8, "zorder": 2.1}
    ax.add_patch(Rectangle(rect[0], BAND, height, **band)).set_clip_path(outline)


def _draw_box(ax: Axes, box: Box, rect: np.ndarray) -> None:
    """Draw a box with its text, and its shape below in small."""
    _outline(ax, box.kind, rect, gid=f"box {box.name}")
    kinds = set(box.kind.split())
    x, y = rect.mean(0)
    if {"vis", "ir"} & kinds:
        x += BAND / 2
    white = "white" if "loss" in kinds else None
    look = {"ha": "center", "va": "center", "zorder": 4, "gid": f"text {box.name}"}
    up, down = _size(box.shape)[1] / 2, _size(box.text, TEXT)[1] / 2
    ink, lower = white or style.INK, white or LOWER
    style.label(ax, x, y - up, box.text, fontsize=TEXT, color=ink, **look)
    style.label(ax, x, y + down, box.shape, fontsize=style.SMALL, color=lower, **look)


def _draw_arrow(ax: Axes, way: np.ndarray, **options: str) -> None:
    """Draw a line with round corners and a head."""
    steps = np.sign(np.diff(way, axis=0))
    tip, back = way[-1], -steps[-1]
    points, codes = [way[0]], [Path.MOVETO]
    for corner, before, after in zip(way[1:], steps, steps[1:], strict=False):
        points += [corner - 0.05 * before, corner, corner + 0.05 * after]
        codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
    path = Path([*points, tip + 0.07 * back], [*codes, Path.LINETO])
    line = {"fill": False, "edgecolor": INK, "linewidth": 1.1, "zorder": 1}
    ax.add_patch(PathPatch(path, **line, **options))
    root, side = tip + 0.09 * back, 0.035 * back[::-1]
    head = [tip, root - side, root + side]
    ax.add_patch(Polygon(head, facecolor=INK, linewidth=0, zorder=3))
