"""The queries of a run one by one: a panel in JupyterLab.

Where nobody can click, as in the built pages, a figure stands instead. Whether somebody
can is known from the kernel: a Jupyter server that started it for an open notebook sets
`JPY_SESSION_NAME`, papermill and `jupyter-book` do not. `VVI_WIDGETS` set to 0 or 1
decides instead, and `book/compile.py` sets 0.
"""

from __future__ import annotations

import html
import os

import ipywidgets as widgets
import pandas as pd
from matplotlib.figure import Figure

from vvi.book import figures, queries
from vvi.book.scene import Scene
from vvi.experiment import Result
from vvi.plots.style import Drawing
from vvi.plots.tables import Table

NO_MAP = (
    "No heat map: the record keeps those of a few clips, and the weights of this run "
    "are not on this machine (<i>train again</i> makes them)."
)


def live() -> bool:
    """Return whether somebody can click in this kernel's page.

    Raises:
        ValueError: `VVI_WIDGETS` is neither 0 nor 1.
    """
    setting = os.environ.get("VVI_WIDGETS", "")
    if setting not in ("", "0", "1"):
        raise ValueError(
            f"VVI_WIDGETS={setting!r}: set it to 0 (figures) or 1 (panels), "
            "or leave it unset"
        )
    if setting:
        return setting == "1"
    return "JPY_SESSION_NAME" in os.environ


def show(result: Result, scene: Scene, name: str = "") -> Explorer | Figure:
    """Show the queries of a run one by one.

    Where nobody can click, this is a figure of the middle one.

    Args:
        result: the run.
        scene: its data.
        name: of the figure, which is then saved.
    """
    if live():
        return Explorer(result, scene)
    rows = queries.order(result, "ir2vis")
    fig = queries.ranked_list(result, scene, "ir2vis", int(rows[len(rows) // 2]))
    if not name:
        return fig
    alt = "The first items of the gallery for one query, right and wrong marked."
    return figures.save_figure(fig, name, result, alt)


def picture(fig: Drawing, alt: str) -> str:
    """Return a figure as HTML, with words for who cannot see it."""
    fig.alt = alt
    return fig._repr_html_()


def grid(table: pd.DataFrame) -> str:
    """Return a table as HTML. Its cells may hold HTML."""
    style = "<style>.vvi-table td, .vvi-table th {padding: 0 0.5em}</style>"
    return style + Table(table, escaped=False).to_html()


class Explorer:
    """Pick a query of a run, from best found to worst.

    Below stand its ranked list, the factors of the people in it, the heat map.
    """

    def __init__(self, result: Result, scene: Scene):
        self.result, self.scene = result, scene
        self.direction = widgets.ToggleButtons(
            options=list(result.record.scores), description="search"
        )
        self.position = widgets.IntSlider(
            description="query",
            min=1,
            continuous_update=False,
            layout=widgets.Layout(width="60%"),
        )
        self.note, self.list, self.heat = (widgets.HTML() for _ in range(3))
        parts = [self.direction, self.position, self.note, self.list, self.heat]
        self.box = widgets.VBox(parts)
        self.direction.observe(lambda _: self._change_direction(), "value")
        self.position.observe(lambda _: self._draw(), "value")
        self._change_direction()

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.box)

    def _change_direction(self) -> None:
        """Order the queries of another direction and begin with the middle one."""
        self.rows = queries.order(self.result, self.direction.value)
        middle = (len(self.rows) + 1) // 2
        self.position.max = len(self.rows)
        if self.position.value == middle:
            self._draw()
        self.position.value = middle

    def _draw(self) -> None:
        direction = self.direction.value
        row = int(self.rows[self.position.value - 1])
        query = (self.result, self.scene, direction, row)
        try:
            self.note.value = self._described(direction, row)
            self.list.value = self._list(query)
            self.heat.value = self._map(query)
        except ValueError as error:  # a record that keeps scores alone
            self.note.value = html.escape(str(error))
            self.list.value = self.heat.value = ""

    def _described(self, direction: str, row: int) -> str:
        hit = self.result.metrics(direction).first_hit[row]
        return (
            f"Query {self.position.value} of {len(self.rows)}, from best found to "
            f"worst; its first right item stands at rank {hit}. Bold: as in the query."
        )

    def _list(self, query: tuple) -> str:
        """Return the ranked list and what is known of its people."""
        alt = "The query and its first ten items, right, wrong and look-alike marked."
        shown = picture(queries.ranked_list(*query), alt)
        table = grid(_shared_in_bold(queries.known(*query)))
        return f"{shown}<div style='font-size: 85%; overflow-x: auto'>{table}</div>"

    def _map(self, query: tuple) -> str:
        fig = queries.query_cam(*query)
        if fig is None:
            return NO_MAP
        alt = "Heat map over the frames of the query, the person outlined."
        return picture(fig, alt)


def _shared_in_bold(table: pd.DataFrame) -> pd.DataFrame:
    """Mark the factors that a person of the list shares with the query."""
    shared = table.eq(table["query"], axis=0) & table.ne("–")
    shared["query"] = False
    of_the_clip = ["camera", *table.index.intersection(["noisy frames"])]
    shared.loc[of_the_clip] = False  # not of the person
    return table.mask(shared, "<b>" + table + "</b>")
