"""An ablation of your own: a panel in JupyterLab for the switches of a method.

Where nobody can click, as in the built pages, a figure stands instead
(`vvi.book.query_browser.live`).
"""

from __future__ import annotations

import html
import logging
import re
import threading
import time
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vvi import experiment, methods
from vvi.book import comparison, figures, formats, query_browser
from vvi.book.scene import Scene
from vvi.config import RunConfig
from vvi.engine import train
from vvi.experiment import Result, ablation, method_switches, store
from vvi.plots import switches

LOG = logging.getLogger(__name__)
WIDE = {"layout": {"width": "auto"}, "style": {"description_width": "9em"}}
GRID = {"grid_template_columns": "repeat(3, minmax(0, 1fr))", "grid_gap": "0 1em"}
#: One run at a time in a kernel: two would share its cores and torch's seeds.
_RUNNING = threading.Lock()
#: Set where the run of that one is to end: any panel of the kernel may ask for it.
_STOPPING = threading.Event()
#: Fields of the data that decide who is searched.
PEOPLE = ("source", "seed", "layout", "min_seq_len", "foreign", "auxiliary", "split")
PAUSE = 0.2  # seconds between two messages of a run

Rows = Mapping[str, Sequence[Result]]


def show(
    method: str,
    rows: Rows,
    scene: Scene,
    device: str = "auto",
    data: str | Path | None = None,
) -> Bench | Figure:
    """Show the panel of a method, beginning with the rows of its main table.

    Where nobody can click, this is a figure: what these rows switch, and their rank-1.
    It is saved as figures/<method>/workbench.

    Args:
        method: its name.
        rows: label -> results of its main table.
        scene: the data.
        device: where runs train.
        data: a folder in place of the data of the preset.
    """
    if query_browser.live():
        return Bench(method, rows, scene, device, data)
    return _figure(method, rows, scene)


def _figure(method: str, rows: Rows, scene: Scene) -> Figure:
    """Draw the labelled rows of the panel: what each switches, and its rank-1."""
    table, base = methods.module(method).MAIN
    settings = {
        label: method_switches.effective_settings(runs[0].config)
        for label, runs in rows.items()
    }
    values = {}
    for label, runs in rows.items():
        values[label] = [r.row("ir2vis")["rank1"] for r in runs]
    first = rows[base]
    spread = f"seed {first[0].config.seed}"
    counts = sorted({len(runs) for runs in rows.values()})
    if counts[-1] > 1:
        numbers = formats.joined([str(count) for count in counts])
        spread = f"mean and spread of {numbers} seeds"
    if len(counts) > 1:
        spread += " (rows with other seeds cannot be ranked)"
    means = {label: np.mean(of_runs) for label, of_runs in values.items()}
    best = max(means, key=means.get)
    highest = (
        f"Highest mean: {best} ({means[best]:.1f} %), " if len(counts) == 1 else ""
    )
    caption = (
        f"{highest}{base} {means[base]:.1f} %. "
        f"Settings of {table}; bold: unlike {base}. Rank-1 of ir2vis, {spread}, "
        f"{scene.label} data. In JupyterLab a panel stands here, which runs these and "
        "others."
    )
    fig = switches.draw(_varied(settings), values, base, caption=caption)
    alt = f"The rows of {table}: what each of them switches, and its rank-1."
    results = list(chain.from_iterable(rows.values()))
    return figures.save_figure(fig, f"{method}/workbench", results, alt)


def _varied(settings: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    """Keep the settings that are not the same in all rows."""
    values: dict[str, set[str]] = {}
    for row in settings.values():
        for name, value in row.items():
            values.setdefault(name, set()).add(value)
    varied = [name for name, options in values.items() if len(options) > 1]
    differing = {}
    for label, row in settings.items():
        differing[label] = {name: row[name] for name in varied if name in row}
    return differing


def control(switch: method_switches.Switch, value: Any) -> widgets.Widget:
    """Build what sets a switch: a box to tick, a list to choose from, or a text."""
    if switch.hint is bool:
        return widgets.Checkbox(value=value, description=switch.name, **WIDE)
    if switch.options:
        return widgets.Dropdown(
            options=[switch.word(option) for option in switch.options],
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
    """Choose settings, run, and see table, training curves and ranked lists.

    Training happens in a thread, so that the notebook stays alive. When cancelled, it
    ends between two steps. A result is stored whole or not at all.

    Args:
        method: its name.
        rows: label -> results of its main table.
        scene: the data.
        device: where runs train.
        data: a folder in place of the data of the preset.
    """

    def __init__(
        self,
        method: str,
        rows: Rows,
        scene: Scene,
        device: str = "auto",
        data: str | Path | None = None,
    ):
        self.method, self.scene, self.device, self.data = method, scene, device, data
        self.table, self.base = methods.module(method).MAIN
        self.bases = {r.config.seed: r for r in rows[self.base]}
        self.results: dict[str, Result] = {}
        self.lines: dict[str, dict] = {}
        self.shown: Result | None = None
        self.choosing = False
        self.thread: threading.Thread | None = None
        self.done, self.reported = 0, 0.0
        self._build_controls()
        self.box = self._arrange()
        self._reset()
        for label, runs in rows.items():
            self._add(f"{self.table}: {label}", runs[0])
        self._present(self._key(f"{self.table}: {self.base}", rows[self.base][0]))
        self._connect()

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.box)

    def _build_controls(self) -> None:
        """Build what the reader sets and what shows the results."""
        labels = []
        for table, rows in methods.module(self.method).ABLATIONS.items():
            labels += [f"{table}: {label}" for label in rows]
        start = f"{self.table}: {self.base}"
        self.start = _dropdown("start from", labels, start)
        seeds = sorted({0, 1, 2, *self.bases})
        self.seed = _dropdown("seed", seeds, min(self.bases))
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
        self.meaning, self.status = widgets.HTML(), widgets.HTML()
        self.lines_shown, self.curves = widgets.HTML(), widgets.HTML()
        self.switches = widgets.GridBox(layout=GRID)
        self.queries = widgets.VBox()

    def _arrange(self) -> widgets.VBox:
        """Put all parts below one another."""
        size = self.scene.settings.preset
        head = widgets.HTML(
            f"<b>Your own ablation of {self.method}</b> at size <i>{size}</i>, "
            f"{self.scene.label} data"
        )
        others = [self.seed, self.more, self.again]
        buttons = [self.go, self.stop, self.bar]
        titles = ("ranked list of a query", "training curves")
        return widgets.VBox(
            [
                head,
                self.start,
                self.switches,
                widgets.GridBox(others, layout=self.switches.layout),
                self.meaning,
                widgets.HBox(buttons),
                self.status,
                self.lines_shown,
                self.which,
                widgets.Tab([self.queries, self.curves], titles=titles),
            ]
        )

    def _connect(self) -> None:
        """Let the controls act."""
        self.start.observe(lambda _: self._reset(), "value")
        for field in (self.seed, self.more, self.again):
            field.observe(lambda _: self._announce(), "value")
        self.which.observe(lambda _: self._look(), "value")
        self.go.on_click(lambda _: self.run())
        self.stop.on_click(lambda _: self.cancel())

    def known(self) -> dict[str, RunConfig]:
        """Return the labelled rows of the method at this size and seed.

        The one to start from comes first.
        """
        size = self.scene.settings.preset
        rows = ablation.labelled_rows(self.method, size, self.seed.value)
        return {self.start.value: rows[self.start.value]} | rows

    def settings(self) -> tuple[str, RunConfig]:
        """Return name and config of what is chosen.

        Raises:
            ValueError: one line that says which setting does not fit.
        """
        rows = self.known()
        start = rows[self.start.value]
        chosen = {
            switch.name: switch.read(self.controls[switch.name].value)
            for switch in method_switches.switches(start.method)
        }
        more = method_switches.parse(self.more.value)
        name, config = method_switches.resolve_settings(start, chosen, more, rows)
        return name if name in rows else f"{self.start.value}, {name}", config

    def _chosen(self) -> tuple[str, RunConfig, RunConfig] | None:
        """Return name and config of what is chosen, and the config with its data.

        Returns:
            None where a setting does not fit, or the data are not there. The panel then
            says so.
        """
        try:
            name, config = self.settings()
            return name, config, experiment.resolve_data(config, self.data)
        except (ValueError, OSError) as error:
            self._say(str(error), wrong=True)
            return None

    def run(self) -> None:
        """Start what is chosen, in a thread."""
        chosen = self._chosen()
        if chosen is None:
            return
        name, config, _ = chosen
        if not _RUNNING.acquire(blocking=False):
            self._say(
                "A panel of this notebook is training: wait for it, or press Cancel.",
                wrong=True,
            )
            self.stop.disabled = False
            return
        _STOPPING.clear()
        self._set_busy(True)
        self._say(f"{name}: starting")
        work = (name, config)
        self.thread = threading.Thread(target=self._work, args=work, daemon=True)
        self.thread.start()

    def cancel(self) -> None:
        """Let the run end after the step it is in, whichever panel started it."""
        if not _RUNNING.locked():
            self.stop.disabled = True
            self._say("nothing is training")
            return
        _STOPPING.set()
        self._say("cancelling after this step")

    def _work(self, name: str, config: RunConfig) -> None:
        """Train and show the result, or report in one line what goes wrong."""
        try:
            result = experiment.run(
                config,
                retrain=self.again.value,
                device=self.device,
                data=self.data,
                progress=False,
                on_step=self._step,
            )
            self._present(self._add(name, result))
            seed = f"{name}, seed {config.seed}"
            self._say(f"{seed}: run {result.run_id} {_origin(result)}.")
        except train.Cancelled:
            self._say(
                f"Cancelled after step {self.done} of {self.bar.max}. No result was "
                "stored; Run goes on from the last checkpoint, where there is one."
            )
        except Exception as error:  # whatever the reader's settings lead to
            LOG.debug("run of the panel", exc_info=True)
            message = (str(error).splitlines() or ["no message"])[0]
            kind = type(error).__name__
            self._say(f"{name} did not run. {kind}: {message}", wrong=True)
        finally:
            _RUNNING.release()
            self._set_busy(False)

    def _step(self, done: int, total: int) -> None:
        """Report a step of training, or end it."""
        if _STOPPING.is_set():
            raise train.Cancelled
        self.done, now = done, time.monotonic()
        if done < total and now - self.reported <= PAUSE:
            return  # the page need not hear of every step
        self.bar.max, self.bar.value, self.reported = total, done, now
        self.stop.disabled = done == total
        if done < total:
            self._say(f"training, step {done} of {total}")
        else:
            self._say(
                "trained; measuring rank-1, probes and heat maps, which cannot be "
                "cancelled"
            )

    def _set_busy(self, on: bool) -> None:
        self.go.disabled, self.stop.disabled, self.bar.value = on, not on, 0
        self.bar.layout.visibility = "visible" if on else "hidden"

    def _say(self, text: str, wrong: bool = False) -> None:
        """Write one line into the panel."""
        line = html.escape(text)
        if wrong:
            colour = "color: var(--jp-error-color1, #b71c1c)"
            line = f'<span style="{colour}">{line}</span>'
        self.status.value = line

    def _reset(self) -> None:
        """Show the switches of another row, as it sets them."""
        start = self.known()[self.start.value]
        self.controls = {
            switch.name: control(switch, start.options.get(switch.name, switch.default))
            for switch in method_switches.switches(start.method)
        }
        self.switches.children = list(self.controls.values())
        for field in self.controls.values():
            field.observe(lambda _: self._announce(), "value")
        self.meaning.value = _meaning_of(start.method)
        self.more.value = ""
        self._announce()

    def _announce(self) -> None:
        """Say what Run would do."""
        if self.go.disabled:
            return
        chosen = self._chosen()
        if chosen is None:
            return
        name, config, located = chosen
        record, _ = store.find(located, experiment.versions(located))
        if record is not None and not self.again.value:
            will = "is stored, Run shows it"
        else:
            seconds = next(iter(self.bases.values())).record.seconds["train"]
            took = f"{self.base} took {seconds:.{int(seconds < 10)}f} s"
            steps = config.recipe.steps or "all"
            will = f"is not stored, Run trains {steps} steps ({took})"
        self._say(f"{name}, seed {config.seed}: {will}")

    @staticmethod
    def _key(name: str, result: Result) -> str:
        return f"{name}, seed {result.config.seed}"

    def _add(self, name: str, result: Result) -> str:
        """Add a line to the table, or move a run that is already there to the end."""
        key = self._key(name, result)
        self.results.pop(key, None)
        self.lines.pop(key, None)
        self.results[key] = result
        self.lines[key] = self._line(result)
        return key

    def _line(self, result: Result) -> dict[tuple[str, str], str]:
        """Return the cells of a run: scores, and the difference to the base."""
        seed = result.config.seed
        line = {("", "seed"): str(seed)}
        for direction in result.record.scores:
            scores = result.row(direction)
            line[direction, "rank-1"] = f"{scores['rank1']:.1f}"
            line[direction, "mAP"] = f"{scores['mAP']:.1f}"
        base, gain = self.bases.get(seed), "–"
        if base and base.run_id != result.run_id and _same_people(result, base):
            score = comparison.difference([result], [base], self._scene_of(result))
            gain = formats.points(score)
        line["rank-1, ir2vis", f"minus {self.base} (95 %)"] = gain
        return line

    def _scene_of(self, result: Result) -> Scene:
        """Return the data of a run, which may be of another layout than the panel.

        A seed of RegDB is a trial with its own people.
        """
        mine, theirs = self.scene.settings, result.config
        if _searched(mine) == _searched(theirs):
            return self.scene
        return figures.scene(theirs, self.data)

    def _present(self, key: str) -> None:
        """Show the table as it is now, and a run to look at."""
        names = [html.escape(name.rpartition(", seed ")[0]) for name in self.lines]
        table = pd.DataFrame(list(self.lines.values()), index=names)
        table.columns = pd.MultiIndex.from_tuples(table.columns)
        self.lines_shown.value = query_browser.grid(table)
        # new options choose the first of them, which nobody wants to see
        self.choosing = True
        self.which.options = list(self.results)
        self.choosing = False
        self.which.value = key
        self._look()

    def _look(self) -> None:
        """Show curves and queries of the chosen run."""
        result = self.results[self.which.value]
        if result is self.shown or self.choosing:
            return
        self.shown = result
        alt = "Every loss over the steps of training."
        self.curves.value = query_browser.picture(figures.loss_curves([result]), alt)
        explorer = query_browser.Explorer(result, self._scene_of(result))
        self.queries.children = [explorer.box]


def _dropdown(name: str, options: Sequence, value: Any) -> widgets.Dropdown:
    return widgets.Dropdown(description=name, options=options, value=value, **WIDE)


def _searched(config: RunConfig) -> list[Any]:
    """Return what decides who is searched."""
    fields = [getattr(config.data, name) for name in PEOPLE]
    return [*fields, config.seed if config.data.layout == "regdb" else None]


def _same_people(one: Result, other: Result) -> bool:
    """Whether two runs answer the same queries, so that they can be compared."""
    if _searched(one.config) != _searched(other.config):
        return False
    hits = [len(run.metrics("ir2vis").first_hit) for run in (one, other)]
    return hits[0] == hits[1]


def _origin(result: Result) -> str:
    """Say whether a result was stored or trained now."""
    if result.stored:
        return "was stored"
    seconds = result.record.seconds["train"]
    return f"trained in {seconds:.1f} s and is stored now"


def _meaning_of(method: str) -> str:
    """Return what the switches of a method mean, folded away, as HTML."""
    text = html.escape(method_switches.meaning(method)).replace("\n\n", "<br>")
    text = re.sub("`(.*?)`", r"<code>\1</code>", text)
    head = f"▸ What the switches mean ({method}.Config)"
    return (
        f"<details><summary style='cursor: pointer'>{head}</summary>"
        f"<i>default</i> stands for None. {text}</details>"
    )
