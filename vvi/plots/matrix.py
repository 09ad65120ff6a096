"""A table whose cells hold a number and a verdict on it: word, colour and sign."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from itertools import chain

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vvi.plots import style

#: Verdict -> ground of its cell, colour of its sign, sign.
LOOKS = {
    "seen": ("#dcf1ea", style.RIGHT, "✓"),
    "the opposite": ("#fae3d3", style.WRONG, "✗"),
    "": ("#f0f0f0", style.QUIET, ""),
}
OTHER = (style.PAPER, style.INK, "")  # look of a verdict that is not in LOOKS
CELL = 1.0  # inches: least width of a cell
LETTER = 0.068  # inches: width of a letter
LINE = 0.145  # inches: height of a line

Cells = Mapping[str, Mapping[str, tuple[str, str]]]


@style.drawn
def draw(
    cells: Cells,
    meanings: Mapping[str, str] | None = None,
    caption: str = "",
    corner: str = "",
) -> Figure:
    """Draw one line for each row, one column for each of its keys.

    Args:
        cells: row -> column -> (verdict, text), where a text may have several lines. A
            cell that is missing shows a dash.
        meanings: verdict -> what the legend says of it, by default its own word.
        caption: words under the figure.
        corner: what stands above the names of the rows.
    """
    columns = _columns(cells)
    names = {row: textwrap.wrap(row, 26) or [""] for row in cells}
    heights = {row: _height(names[row], cells[row]) for row in cells}
    left = 0.15 + LETTER * _longest([*names.values(), corner.splitlines()])
    cell = max(CELL, (style.WIDTH - left - 0.05) / len(columns))
    head = 0.1 + LINE * max(1, len(corner.splitlines()))
    bottom = head + sum(heights.values())
    fig, ax = style.board(left + cell * len(columns) + 0.05, bottom + 0.35)
    style.label(ax, 0.05, 0.04, corner)
    bold = {"ha": "center", "fontweight": "bold"}
    for n, column in enumerate(columns):
        style.label(ax, left + (n + 0.5) * cell, 0.04, column, **bold)
    top, used = head, []
    for row, height in heights.items():
        name = "\n".join(names[row])
        style.label(ax, 0.05, top + height / 2, name, va="center")
        for n, column in enumerate(columns):
            verdict, text = cells[row].get(column, ("", "–"))
            used.append(verdict)
            _cell(ax, (left + n * cell, top, cell, height), verdict, text)
        top += height
    _legend(ax, bottom + 0.1, _in_order(used), meanings or {})
    style.caption(fig, caption)
    return fig


def _columns(cells: Cells) -> list[str]:
    """Return the columns of all rows in the order of their first use."""
    columns: dict[str, None] = {}
    for row in cells.values():
        columns |= dict.fromkeys(row)
    return list(columns)


def _longest(texts: Sequence[Sequence[str]]) -> int:
    """Return the length of the longest line of some texts."""
    return max(map(len, chain([""], *texts)))


def _height(name: Sequence[str], row: Mapping[str, tuple[str, str]]) -> float:
    """Return the height of a row in inches, as its longest cell needs."""
    lines = [len(text.splitlines()) for _, text in row.values()]
    return 0.14 + LINE * max(len(name), *lines)


def _in_order(used: Sequence[str]) -> list[str]:
    """Return the verdicts that the legend explains, known ones first."""
    verdicts = dict.fromkeys([*LOOKS, *used])
    return [verdict for verdict in verdicts if verdict and verdict in used]


def _cell(
    ax: Axes, rect: tuple[float, float, float, float], verdict: str, text: str
) -> None:
    """Draw a cell: its ground, its text, its sign.

    Args:
        ax: of the board.
        rect: left, top, width, height in inches.
        verdict: word of `LOOKS`, or another.
        text: one or several lines.
    """
    left, top, width, height = rect
    ground, colour, sign = LOOKS.get(verdict, OTHER)
    _ground(ax, rect, ground)
    ink = style.INK if verdict else "#666666"
    middle = {"ha": "center", "va": "center", "color": ink}
    style.label(ax, left + width / 2, top + height / 2, text, **middle)
    if sign:
        corner = {"ha": "right", "color": colour, "fontweight": "bold"}
        style.label(ax, left + width - 0.04, top + 0.03, sign, **corner)


def _ground(ax: Axes, rect: tuple[float, float, float, float], colour: str) -> None:
    left, top, width, height = rect
    line = {"edgecolor": "#bbbbbb", "linewidth": 0.8}
    ax.add_patch(Rectangle((left, top), width, height, facecolor=colour, **line))


def _legend(
    ax: Axes, top: float, verdicts: Sequence[str], meanings: Mapping[str, str]
) -> None:
    """Draw what each verdict means, from left to right.

    Args:
        ax: of the board.
        top: inches.
        verdicts: in order.
        meanings: verdict -> text, by default its own word.
    """
    left = 0.05
    for verdict in verdicts:
        ground, colour, sign = LOOKS.get(verdict, OTHER)
        _ground(ax, (left, top, 0.22, 0.18), ground)
        middle = {"ha": "center", "va": "center", "color": colour, "fontweight": "bold"}
        style.label(ax, left + 0.11, top + 0.09, sign, **middle)
        meaning = meanings.get(verdict, verdict)
        style.label(ax, left + 0.28, top + 0.02, meaning)
        left += 0.55 + LETTER * len(meaning)
