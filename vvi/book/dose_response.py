"""When an idea helps: the worlds of the drawn people on a page, from stored results."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from vvi.book import formats
from vvi.book.scene import Scene
from vvi.data.synthetic.world import DOSES, World
from vvi.evaluation.probes import Score
from vvi.experiment import ablation, worlds
from vvi.experiment.result import UNLIKE_PRECISION
from vvi.plots import doses as plot
from vvi.plots import style
from vvi.types import Direction


def stored(world: str, direction: Direction = "ir2vis") -> pd.DataFrame:
    """Return the table of `worlds.responses` from stored runs, without training."""
    return worlds.responses(
        world, direction, worlds.SIZE, only_stored=True, progress=False
    )


def show(world: str) -> Figure | None:
    """Draw and save the dose-response of a world.

    The caption says which components gain or lose with the dose, as `finding` does.

    Args:
        world: name of the world.

    Returns:
        The figure, or None where nothing is trained yet (`vvi worlds` trains it).
    """
    table = stored(world)
    if table.empty:
        return None
    knob, doses = DOSES[world]
    question = worlds.question(world)
    counted = " or ".join(str(count) for count in sorted(set(table.seeds)))
    runs, over = ("run", "people") if counted == "1" else ("runs", "people and seeds")
    if "1" in counted and counted != "1":
        over += " (people alone where there is one run)"
    size = f"synthetic data, preset {worlds.SIZE}, {counted} {runs} on either side"
    caption = f"{finding(table)}\n95 % intervals over {over}; {size}."
    is_unlike = table.note.str.contains(UNLIKE_PRECISION)
    unlike = table.component[is_unlike].drop_duplicates()
    if len(unlike):
        caption += f" {UNLIKE_PRECISION.capitalize()}: {formats.joined(list(unlike))}."
    missing = [f"{dose:g}" for dose in doses if dose not in set(table.dose)]
    if missing:
        caption += f" Not trained: {formats.joined(missing)}."
    fig = plot.response(
        doses,
        worlds.by_component(table, world),
        worlds.oracles(world),
        question.axis,
        usual=getattr(World(), knob),
        caption=caption,
    )
    name = f"worlds/{world.replace('-', '_')}"
    style.save(fig, name, run=_runs(world), alt=alt(world), data="synthetic")
    return fig


def display(scene: Scene, *worlds: str) -> None:
    """Show the figures of some worlds, of those that are trained.

    Args:
        scene: the data of the page. Only drawn people have worlds.
        *worlds: their names.
    """
    from IPython.display import display as show_on_page

    for fig in filter(None, map(show, worlds if scene.known else ())):
        show_on_page(fig)


def untrained(world: str) -> list[str]:
    """Name what is planned of a world and has no run: "idea at dose, dose".

    Args:
        world: name of the world.
    """
    table = stored(world)
    absent = []
    for component, part in worlds.question(world).components.items():
        trained = set(table.dose[table.component == component])
        doses = [f"{d:g}" for d in part.at(DOSES[world][1]) if d not in trained]
        if doses:
            absent.append(f"{component} at {formats.joined(doses)}")
    return absent


def alt(world: str) -> str:
    """Describe the figure of a world for those who cannot see it."""
    components = formats.joined(list(dict.fromkeys(stored(world).component)))
    axis = worlds.question(world).axis
    return f"What {components} add to rank-1, with intervals, by dose: {axis}."


def table(world: str, direction: Direction = "ir2vis") -> pd.DataFrame:
    """Return what components add at each dose, as text with intervals.

    Args:
        world: name of the world.
        direction: of the search.

    Returns:
        One line a component, one column a dose, with a dash where nothing is trained.
    """
    lines: dict[str, dict[str, str]] = {}
    for row in stored(world, direction).itertuples():
        score = Score(row.difference, row.low, row.high, 0.0, row.seeds)
        cell = [formats.points(score)]
        cell += ["one seed"] if row.seeds == 1 else []
        cell += [row.note] if row.note else []
        lines.setdefault(row.component, {})[f"{row.dose:g}"] = ", ".join(cell)
    columns = [f"{dose:g}" for dose in DOSES[world][1]]
    text = pd.DataFrame(lines, index=columns).T.fillna("–")
    note = f"points of rank-1 (95 %) by {worlds.question(world).axis}, synthetic"
    return text.rename_axis(note)


def finding(table: pd.DataFrame) -> str:
    """Say of each component where its interval lies above or below zero.

    A dose at which a run collapsed says nothing about the component and is named.

    Args:
        table: of `worlds.responses`.
    """
    sentences = []
    for component, rows in table.groupby("component", sort=False):
        sound = ~rows.note.str.contains("collapsed")
        doses = {
            "helps": rows.dose[sound & (rows.low > 0)],
            "harms": rows.dose[sound & (rows.high < 0)],
            "collapsed": rows.dose[~sound],
        }
        parts = []
        for word, at in doses.items():
            if len(at):
                parts.append(f"{word} at {formats.joined([f'{d:g}' for d in at])}")
        name = component[0].upper() + component[1:]
        sentences.append(f"{name}: {formats.joined(parts) or 'no effect seen'}.")
    return "\n".join(sentences)


def _runs(world: str) -> list[str]:
    """Return the ids of the stored runs behind a figure, each once."""
    ids: dict[str, None] = {}
    for rows in worlds.configs(world, worlds.SIZE).values():
        for configs in rows.values():
            for config in configs:
                if not ablation.missing([config]):
                    ids[config.hash] = None
    return list(ids)
