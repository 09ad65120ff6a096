"""An ablation of your own: a panel in JupyterLab for the switches of a method. Where nobody can click, as in the built pages, a figure stands instead (`vvi.book.query_browser.live`)."""

from __future__ import annotations

import html
import inspect
import logging
import re
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import pandas as pd
from matplotlib.figure import Figure

from vvi import experiment, methods
from vvi.book import comparison, figures, query_browser
from vvi.book.figures import Scene
from vvi.config import RunConfig
from vvi.engine import train
from vvi.experiment import Result, ablation, method_switches, store
from vvi.plots import switches

LOG = logging.getLogger(__name__)
WIDE = {"layout": {"width": "auto"}, "style": {"description_width": "9em"}}
_TURN = (
    threading.Lock()
)  # one run at a time in a kernel: two would share its cores and torch's seeds


def show(
    method: str,
    rows: Mapping[str, Sequence[Result]],
    view: Scene,
    device: str = "auto",
    data: str | Path | None = None,
) -> Bench | Figure:
    """The panel of a method, beginning with the rows of its main table; where nobody can click, what these rows switch and what came of it, kept as figures/<method>/workbench."""
    return (
        Bench(method, rows, view, device, data)
        if query_browser.live()
        else _still(method, rows, view)
    )


def _still(method: str, rows: Mapping[str, Sequence[Result]], view: Scene) -> Figure:
    """The labelled rows of the panel: what each switches, and its rank-1."""
    table, base = methods.module(method).MAIN
    every = {
        label: method_switches.flat(runs[0].config) for label, runs in rows.items()
    }
    names = dict.fromkeys(name for row in every.values() for name in row)
    varied = [
        name
        for name in names
        if len({row[name] for row in every.values() if name in row}) > 1
    ]
    settings = {
        label: {name: row[name] for name in varied if name in row}
        for label, row in every.items()
    }
    values = {
        label: [r.row("ir2vis")["rank1"] for r in runs] for label, runs in rows.items()
    }
    seeds = len(rows[base])
    spread = (
        f"mean and spread of {seeds} seeds"
        if seeds > 1
        else f"seed {rows[base][0].config.seed}"
    )
    caption = f"Settings of {table}; bold: unlike {base}.\nRank-1 of ir2vis, {spread}, {view.label} data.\nIn JupyterLab a panel stands here, which runs these and others."
    fig = switches.draw(settings, values, base, caption=caption)
    alt = f"The rows of {table}: what each of them switches, and its rank-1."
    return figures.save_figure(
        fig, f"{method}/workbench", [r for runs in rows.values() for r in runs], alt
    )


def control(switch: method_switches.Switch, value: Any) -> widgets.Widget:
    """What sets a switch: a box to tick, a list to choose from, or a number to type."""
    if switch.hint is bool:
        return widgets.Checkbox(value=value, description=switch.name, **WIDE)
    if switch.options:
        return widgets.Dropdown(
            options=[switch.word(o) for o in switch.options],
            value=switch.word(value),
            description=switch.name,
            **WIDE,
        )
    return widgets.Text(
        value="" if value is None else str(value),
        placeholder=switch.word(None),
        description=switch.name,
        continuous_update=False,
        **WIDE,
    )


class Bench:
    """Choose settings, run, and see the line in the table, the training curves and the ranked lists.

    Training happens in a thread, so that the notebook stays alive; it ends between two steps when cancelled, and a result is stored whole or not at all.
    """

    def __init__(
        self,
        method: str,
        rows: Mapping[str, Sequence[Result]],
        view: Scene,
        device: str = "auto",
        data: str | Path | None = None,
    ):
        self.method, self.view, self.device, self.data = method, view, device, data
        self.table, self.base = methods.module(method).MAIN
        self.bases = {r.config.seed: r for r in rows[self.base]}
        self.found: dict[str, Result] = {}
        self.shown: Result | None = None
        self.choosing = False
        self.lines: dict[str, dict] = {}
        self.thread: threading.Thread | None = None
        self.stopping, self.done, self.told = threading.Event(), 0, 0.0
        self._controls()
        self.box = self._arranged()
        self._reset()
        for label, runs in rows.items():
            self._add(f"{self.table}: {label}", runs[0])
        self._present(
            next(key for key, r in self.found.items() if r is rows[self.base][0])
        )
        self.start.observe(lambda _: self._reset(), "value")
        for one in (self.seed, self.more, self.again):
            one.observe(lambda _: self._foretell(), "value")
        self.which.observe(lambda _: self._look(), "value")
        self.go.on_click(lambda _: self.run())
        self.stop.on_click(lambda _: self.cancel())

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.box)

    def _controls(self) -> None:
        tables = methods.module(self.method).ABLATIONS
        labels = [
            f"{table}: {label}" for table, rows in tables.items() for label in rows
        ]
        self.start = widgets.Dropdown(
            description="start from",
            options=labels,
            value=f"{self.table}: {self.base}",
            **WIDE,
        )
        self.seed = widgets.Dropdown(
            description="seed",
            options=sorted({0, 1, 2, *self.bases}),
            value=min(self.bases),
            **WIDE,
        )
        self.more = widgets.Text(
            description="more changes",
            placeholder="steps=100, lr=0.001",
            continuous_update=False,
            **WIDE,
        )
        self.again = widgets.Checkbox(description="train again", **WIDE)
        self.go = widgets.Button(description="Run", button_style="primary", icon="play")
        self.stop = widgets.Button(description="Cancel", icon="stop", disabled=True)
        self.bar = widgets.IntProgress(layout={"width": "40%", "visibility": "hidden"})
        self.which = widgets.Dropdown(description="look at", **WIDE)
        self.meaning, self.status, self.lines_shown, self.curves = (
            widgets.HTML() for _ in range(4)
        )
        self.switches = widgets.GridBox(
            layout={
                "grid_template_columns": "repeat(3, minmax(0, 1fr))",
                "grid_gap": "0 1em",
            }
        )
        self.queries = widgets.VBox()

    def _arranged(self) -> widgets.VBox:
        head = widgets.HTML(
            f"<b>Your own ablation of {self.method}</b> at size <i>{self.view.settings.preset}</i>, {self.view.label} data"
        )
        others = widgets.GridBox(
            [self.seed, self.more, self.again], layout=self.switches.layout
        )
        buttons = widgets.HBox([self.go, self.stop, self.bar])
        looks = widgets.Tab(
            [self.queries, self.curves],
            titles=("ranked list of a query", "training curves"),
        )
        return widgets.VBox(
            [
                head,
                self.start,
                self.switches,
                others,
                self.meaning,
                buttons,
                self.status,
                self.lines_shown,
                self.which,
                looks,
            ]
        )

    def known(self) -> dict[str, RunConfig]:
        """The labelled rows of the method's tables at this size and seed; the one to start from comes first."""
        found = ablation.known(self.method, self.view.settings.preset, self.seed.value)
        return {self.start.value: found[self.start.value]} | found

    def settings(self) -> tuple[str, RunConfig]:
        """Name and config of what is chosen; ValueError in one line."""
        known = self.known()
        start = known[self.start.value]
        wanted = {
            s.name: s.read(self.controls[s.name].value)
            for s in method_switches.switches(start.method)
        }
        name, config = method_switches.chosen(
            start, wanted, method_switches.parse(self.more.value), known
        )
        return name if name in known else f"{self.start.value}, {name}", config

    def run(self) -> None:
        """Start what is chosen, in a thread."""
        try:
            name, config = self.settings()
        except ValueError as error:
            self._say(str(error), wrong=True)
            return
        if not _TURN.acquire(blocking=False):
            self._say(
                "A panel of this notebook is training: wait for it, or cancel it there.",
                wrong=True,
            )
            return
        self.stopping.clear()
        self._busy(True)
        self._say(f"{name}: starting")
        self.thread = threading.Thread(
            target=self._work, args=(name, config), daemon=True
        )
        self.thread.start()

    def cancel(self) -> None:
        """Ask the run to end after the step it is in."""
        self.stopping.set()
        self._say("cancelling after this step")

    def _work(self, name: str, config: RunConfig) -> None:
        try:
            result = experiment.run(
                config,
                self.again.value,
                self.device,
                self.data,
                progress=False,
                on_step=self._step,
            )
            self._present(self._add(name, result))
            how = (
                "was stored"
                if result.stored
                else f"trained in {result.record.seconds['train']:.1f} s and is stored now"
            )
            self._say(f"{name}, seed {config.seed}: run {result.run_id} {how}.")
        except train.Cancelled:
            self._say(
                f"Cancelled after step {self.done} of {self.bar.max}. No result was stored; Run goes on from the last checkpoint, where there is one."
            )
        except Exception as error:  # whatever the reader's settings lead to is told in the panel, in a line; the log has the rest
            LOG.debug("run of the panel", exc_info=True)
            self._say(
                f"{name} did not run. {type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}",
                wrong=True,
            )
        finally:
            _TURN.release()
            self._busy(False)

    def _step(self, done: int, total: int) -> None:
        if self.stopping.is_set():
            raise train.Cancelled
        self.done, now = done, time.monotonic()
        if (
            done == total or now - self.told > 0.2
        ):  # the page need not hear of every step
            self.bar.max, self.bar.value, self.told = total, done, now
            self._say(
                f"training, step {done} of {total}"
                if done < total
                else "trained; measuring rank-1, probes and heat maps, which cannot be cancelled"
            )
            self.stop.disabled = done == total

    def _busy(self, on: bool) -> None:
        self.go.disabled, self.stop.disabled, self.bar.value = on, not on, 0
        self.bar.layout.visibility = "visible" if on else "hidden"

    def _say(self, text: str, wrong: bool = False) -> None:
        self.status.value = (
            f'<span style="color: var(--jp-error-color1, #b71c1c)">{html.escape(text)}</span>'
            if wrong
            else html.escape(text)
        )

    def _reset(self) -> None:
        """Another row to start from: its method's switches, as it sets them."""
        start = self.known()[self.start.value]
        found = method_switches.switches(start.method)
        self.controls = {
            s.name: control(s, start.options.get(s.name, s.default)) for s in found
        }
        self.switches.children = list(self.controls.values())
        for one in self.controls.values():
            one.observe(lambda _: self._foretell(), "value")
        said = re.sub(
            "`(.*?)`",
            r"<code>\1</code>",
            html.escape(inspect.getdoc(methods.module(start.method).Config)),
        )
        self.meaning.value = f"<details><summary style='cursor: pointer'>▸ What the switches mean ({start.method}.Config)</summary><i>default</i> stands for None. {said}</details>"
        self.more.value = ""
        self._foretell()

    def _foretell(self) -> None:
        """What Run would do."""
        if self.go.disabled:
            return
        try:
            name, config = self.settings()
        except ValueError as error:
            self._say(str(error), wrong=True)
            return
        located = experiment.located(config, self.data)
        stored = (
            store.find(located, experiment.versions(located))[0] is not None
            and not self.again.value
        )
        took = next(iter(self.bases.values())).record.seconds["train"]
        will = (
            "is stored, Run shows it"
            if stored
            else f"is not stored, Run trains {config.recipe.steps or 'all'} steps ({self.base} took {took:.{int(took < 10)}f} s)"
        )
        self._say(f"{name}, seed {config.seed}: {will}")

    def _add(self, name: str, result: Result) -> str:
        """A line of the table; a run that is there already moves to the end."""
        key, seed, base = (
            f"{name}, seed {result.config.seed}",
            result.config.seed,
            self.bases.get(result.config.seed),
        )
        line = {
            (d, n): f"{result.row(d)[m]:.1f}"
            for d in result.record.scores
            for n, m in (("rank-1", "rank1"), ("mAP", "mAP"))
        }
        apart = (
            comparison.difference([result], [base], self.view)
            if base and base.run_id != result.run_id
            else None
        )
        line["rank-1, ir2vis", f"minus {self.base} (95 %)"] = (
            f"{apart.value:+.1f} ({apart.low:+.1f} to {apart.high:+.1f})"
            if apart
            else "–"
        )
        for shelf, value in (
            (self.found, result),
            (self.lines, {("", "seed"): str(seed)} | line),
        ):
            shelf.pop(key, None)
            shelf[key] = value
        return key

    def _present(self, key: str) -> None:
        """The table as it is now, and a run to look at."""
        names = [html.escape(k.rpartition(", seed ")[0]) for k in self.lines]
        table = pd.DataFrame(list(self.lines.values()), index=names)
        self.lines_shown.value = query_browser.grid(
            table.set_axis(pd.MultiIndex.from_tuples(table.columns), axis=1)
        )
        self.choosing = True  # new options put the first of them in place, which nobody asked to see
        self.which.options = list(self.found)
        self.choosing, self.which.value = False, key
        self._look()

    def _look(self) -> None:
        """The chosen run: its curves and its queries."""
        result = self.found[self.which.value]
        if result is not self.shown and not self.choosing:
            self.shown = result
            self.curves.value = query_browser.picture(
                figures.loss_curves([result]), "Every loss over the steps of training."
            )
            self.queries.children = [query_browser.Explorer(result, self.view).box]
