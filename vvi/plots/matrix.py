"""A table whose cells hold a number and a verdict on it, in words, colour and sign."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from vvi.plots import style

# verdict -> ground of its cell, colour of its sign, sign; a verdict that is not here has a white ground and no sign
LOOKS = {
    "seen": ("#dcf1ea", style.RIGHT, "✓"),
    "the opposite": ("#fae3d3", style.WRONG, "✗"),
    "": ("#f0f0f0", style.QUIET, ""),
}
CELL, LETTER, LINE = (
    1.0,
    0.068,
    0.145,
)  # inches: least width of a cell, width of a letter, height of a line


@style.drawn
def draw(
    cells: Mapping[str, Mapping[str, tuple[str, str]]],
    meanings: Mapping[str, str] | None = None,
    caption: str = "",
    corner: str = "",
) -> Figure:
    """One line for each row, one column for each of its keys. cells: row -> column -> (verdict, text; may have several lines); a cell that is missing shows a dash.

    meanings: verdict -> what the legend says of it, by default its own word; corner: what stands above the names of the rows.
    """
    columns = list(dict.fromkeys(column for row in cells.values() for column in row))
    names = {row: textwrap.wrap(row, 26) or [""] for row in cells}
    left = 0.15 + LETTER * max(
        len(line)
        for lines in [*names.values(), corner.splitlines() or [""]]
        for line in lines
    )
    cell = max(CELL, (style.WIDTH - left - 0.05) / len(columns))
    heights = {
        row: 0.14
        + LINE
        * max(len(names[row]), *(len(text.splitlines()) for _, text in found.values()))
        for row, found in cells.items()
    }
    head = 0.1 + LINE * max(1, len(corner.splitlines()))
    below = 0.35 + (0.12 + 0.16 * len(caption.splitlines()) if caption else 0)
    fig, ax = style.board(
        left + cell * len(columns) + 0.05, head + sum(heights.values()) + below
    )
    style.label(ax, 0.05, 0.04, corner)
    for n, column in enumerate(columns):
        style.label(
            ax, left + (n + 0.5) * cell, 0.04, column, ha="center", fontweight="bold"
        )
    top, used = head, []
    for row, found in cells.items():
        style.label(
            ax, 0.05, top + heights[row] / 2, "\n".join(names[row]), va="center"
        )
        for n, column in enumerate(columns):
            verdict, text = found.get(column, ("", "–"))
            used.append(verdict)
            _cell(ax, (left + n * cell, top, cell, heights[row]), verdict, text)
        top += heights[row]
    _legend(
        ax,
        top + 0.1,
        [
            verdict
            for verdict in dict.fromkeys([*LOOKS, *used])
            if verdict and verdict in used
        ],
        dict(meanings or {}),
    )
    style.label(ax, 0.05, top + 0.4, caption)
    return fig


def _cell(
    ax, place: tuple[float, float, float, float], verdict: str, text: str
) -> None:
    left, top, width, height = place
    ground, colour, sign = LOOKS.get(verdict, (style.PAPER, style.INK, ""))
    ax.add_patch(
        Rectangle(
            (left, top),
            width,
            height,
            facecolor=ground,
            edgecolor="#bbbbbb",
            linewidth=0.8,
        )
    )
    style.label(
        ax,
        left + width / 2,
        top + height / 2,
        text,
        ha="center",
        va="center",
        color=style.INK if verdict else "#666666",
    )
    if sign:
        style.label(
            ax,
            left + width - 0.04,
            top + 0.03,
            sign,
            ha="right",
            color=colour,
            fontweight="bold",
        )


def _legend(ax, top: float, verdicts: list[str], meanings: Mapping[str, str]) -> None:
    left = 0.05
    for verdict in verdicts:
        ground, colour, sign = LOOKS.get(verdict, (style.PAPER, style.INK, ""))
        ax.add_patch(
            Rectangle(
                (left, top),
                0.22,
                0.18,
                facecolor=ground,
                edgecolor="#bbbbbb",
                linewidth=0.8,
            )
        )
        style.label(
            ax,
            left + 0.11,
            top + 0.09,
            sign,
            ha="center",
            va="center",
            color=colour,
            fontweight="bold",
        )
        told = meanings.get(verdict, verdict)
        style.label(ax, left + 0.28, top + 0.02, told)
        left += 0.55 + LETTER * len(told)
