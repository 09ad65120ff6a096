"""The queries of a run one by one: a panel in JupyterLab for ranked lists, known factors and heat maps. Where nobody can click, as in the built pages, a figure stands instead.

Whether somebody can is told by the kernel: a Jupyter server that started it for an open notebook leaves `JPY_SESSION_NAME`, papermill and `jupyter-book` do not. `VVI_WIDGETS`
set to 0 or 1 decides instead; `book/compile.py` sets 0.
"""

from __future__ import annotations

import base64
import html
import os

import ipywidgets as widgets
import pandas as pd
from matplotlib.figure import Figure

from vvi.book import figures, queries
from vvi.book.figures import Scene
from vvi.experiment import Result


def live() -> bool:
    """Whether somebody can click in this kernel's page; `VVI_WIDGETS=0` or `1` decides instead."""
    told = os.environ.get("VVI_WIDGETS", "")
    if told not in ("", "0", "1"):
        raise ValueError(
            f"VVI_WIDGETS={told!r}: set it to 0 (figures) or 1 (figures), or leave it unset"
        )
    return told == "1" or (not told and "JPY_SESSION_NAME" in os.environ)


def show(result: Result, view: Scene, name: str = "") -> Explorer | Figure:
    """The queries of a run one by one: ranked list, known factors, heat map; where nobody can click, the list of the query in the middle, kept as figures/<name> if it has one."""
    if live():
        return Explorer(result, view)
    rows = queries.order(result, "ir2vis")
    fig = queries.ranked_list(result, view, "ir2vis", int(rows[len(rows) // 2]))
    return (
        figures.save_figure(
            fig,
            name,
            result,
            "The first items of the gallery for one query, right and wrong marked.",
        )
        if name
        else fig
    )


def picture(fig: Figure, alt: str) -> str:
    """A figure as HTML, with words for who cannot see it."""
    return f'<img alt="{html.escape(alt)}" style="max-width: 100%" src="data:image/png;base64,{base64.b64encode(fig._repr_png_()).decode()}">'


def grid(table: pd.DataFrame) -> str:
    """A table as HTML in the colours of the page, row labels on the left; its cells may hold HTML."""
    look = ".vvi th, .vvi td {text-align: right; padding: 0 0.5em; line-height: 1.7} .vvi tbody th {text-align: left; font-weight: inherit; white-space: nowrap}"
    return f"<style>{look}</style>{table.to_html(border=0, classes='vvi', index_names=False, escape=False)}"


class Explorer:
    """Pick a query of a run, from best found to worst: its ranked list, the factors of the people in it, the heat map of its clip."""

    def __init__(self, result: Result, view: Scene):
        self.result, self.view = result, view
        self.direction = widgets.ToggleButtons(
            options=list(result.record.scores), description="search"
        )
        self.place = widgets.IntSlider(
            description="query",
            min=1,
            continuous_update=False,
            layout=widgets.Layout(width="60%"),
        )
        self.note, self.list, self.heat = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.box = widgets.VBox(
            [self.direction, self.place, self.note, self.list, self.heat]
        )
        self.direction.observe(lambda _: self._side(), "value")
        self.place.observe(lambda _: self._draw(), "value")
        self._side()

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.box)

    def _side(self) -> None:
        """Another direction: its queries in their order, the one in the middle first."""
        self.rows = queries.order(self.result, self.direction.value)
        middle = (len(self.rows) + 1) // 2
        self.place.max = len(self.rows)
        if self.place.value == middle:
            self._draw()
        self.place.value = middle

    def _draw(self) -> None:
        direction, row = self.direction.value, int(self.rows[self.place.value - 1])
        found = (self.result, self.view, direction, row)
        try:
            table = queries.known(*found)
            shared = (
                table.eq(table["query"], axis=0)
                & table.ne("–")
                & (table.columns != "query")
            )
            shared.loc[["camera", *shared.index.intersection(["noisy frames"])]] = (
                False  # of the clip, not of the person
            )
            table = table.mask(shared, "<b>" + table + "</b>")
            hit = self.result.metrics(direction).first_hit[row]
            self.note.value = f"Query {self.place.value} of {len(self.rows)}, from best found to worst; its first right item stands at rank {hit}. Bold: as in the query."
            self.list.value = (
                picture(
                    queries.ranked_list(*found),
                    "The query and its first ten items, right, wrong and look-alike marked.",
                )
                + f"<div style='font-size: 85%; overflow-x: auto'>{grid(table)}</div>"
            )
            fig = queries.query_cam(*found)
            none = "No heat map: the record keeps those of a few clips, and the weights of this run are not on this machine (<i>train again</i> makes them)."
            self.heat.value = (
                picture(
                    fig, "Heat map over the frames of the query, the person outlined."
                )
                if fig
                else none
            )
        except ValueError as error:  # a record that keeps numbers alone
            self.note.value, self.list.value, self.heat.value = (
                html.escape(str(error)),
                "",
                "",
            )
