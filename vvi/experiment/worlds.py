"""When does an idea help? Components on and off, in worlds where one cue is dosed.

A world asks after a few components. Of each the same network is trained with it and
without it, at every dose of the world, in the main reading of its paper. `PLAN` is the
whole experiment as data. `vvi worlds` trains what is missing and may be stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vvi import experiment
from vvi.config import DataConfig, RunConfig, change
from vvi.data.synthetic import presets, world_claims
from vvi.data.synthetic.world import DOSES, behind
from vvi.evaluation.probes import Score, paired_runs
from vvi.experiment import Result, ablation
from vvi.experiment.collapse import has_collapsed
from vvi.experiment.result import (
    UNLIKE_PRECISION,
    of_common_seeds,
    of_unlike_precision,
)
from vvi.runtime import atomic, paths, validation
from vvi.types import Direction, Modality

SIZE = "half"
SEEDS = (0, 1)
USUAL = 4  # frames of a clip, for which `COST` holds
#: Of the table that `responses` returns.
COLUMNS = ["component", "dose", "on", "off", "difference", "low", "high", "seeds"]
COLUMNS += ["note"]


@dataclass(frozen=True)
class Row:
    """A row of a paper's tables, as `ABLATIONS` of its method has it."""

    method: str
    table: str
    label: str

    @property
    def name(self) -> str:
        """What tables and figures call it."""
        own = self.method == "baseline"
        return self.label if own else f"{self.method}: {self.label}"

    def configs(self, size: str, seeds: Iterable[int]) -> list[RunConfig]:
        """Return its runs at a size, one config a seed."""
        return ablation.row_configs(self.method, self.table, self.label, size, seeds)


@dataclass(frozen=True)
class Component:
    """One idea: the row that has it, and the row that differs in nothing else."""

    on: Row
    off: Row
    #: Only at the lowest and the highest dose: rows that cost much.
    ends: bool = False

    def at(self, doses: Sequence[float]) -> tuple[float, ...]:
        """Return the doses at which both rows are trained."""
        return (doses[0], doses[-1]) if self.ends else tuple(doses)


@dataclass(frozen=True)
class Question:
    """The comparisons that are made in one world."""

    #: What the knob doses, as a figure says it.
    axis: str
    #: Component -> its rows.
    components: Mapping[str, Component]
    #: Rows that are shown for themselves.
    beside: tuple[Row, ...] = ()
    #: Fields of a run that differ from those of the size.
    changes: Mapping[str, Any] = field(default_factory=dict)
    #: Claims of `world_claims` that a figure draws, the ceilings of the factor.
    oracles: tuple[str, ...] = ()

    def rows(self, dose: float, doses: Sequence[float]) -> tuple[Row, ...]:
        """Return every row that is trained at one of the doses, once."""
        rows = list(self.beside)
        for part in self.components.values():
            if dose in part.at(doses):
                rows += [part.off, part.on]
        return tuple(dict.fromkeys(rows))


BASELINE = Row("baseline", "Table 2", "Baseline")
ANAGLYPHS = Row("baseline", "Fig. 1 of IBAN", "anaglyphs")
GUIDED = Row("iban", "Table II", "Baseline+IG")
WEIGHED = Row("iban", "Table II", "Baseline+BSTA")
RELATIVE = Row("iban", "Readings", "frame weights relative, Baseline+BSTA")
MEMORY = Row("mitml", "Table 2", "Baseline + T")
GAME = Row("mitml", "Table 2", "Baseline + M")
DEFENDER = Row("sadstrm", "Table 1", "Baseline")
ATTACKED = Row("sadstrm", "Table 1", "Baseline+ASAM")
STRIPES = Row("sadstrm", "Table 1", "Baseline+FRM-STIG")
PLAIN = Row("di2l", "Parts of the baseline", "AGW")
AUGMENTED = Row("di2l", "Table 2", "Baseline")
PARTS = Row("di2l", "Table 2", "Baseline+DPA")
STRIPES_KEPT = Row("di2l", "Readings", "DPA of unit vectors, Baseline+DPA")
FUSED = Row("cmft", "Readings", "main")
UNSHIFTED = Row("cmft", "Readings", "main, frames not shifted")
UNREFINED = Row("cmft", "Readings", "neither MSRL nor MDL")

#: World -> what it is asked. Its knob and doses are in `world.DOSES`.
PLAN: dict[str, Question] = {
    "bad-frames": Question(
        "share of bad frames",
        {
            "weights of frames (IBAN, BSTA)": Component(WEIGHED, BASELINE),
            "the same, relative": Component(RELATIVE, BASELINE, ends=True),
            "gates of memory (MITML, T)": Component(MEMORY, BASELINE),
            "gates of stripes (SADSTRM, FRM-STIG)": Component(STRIPES, DEFENDER),
        },
        oracles=("mean of all frames", "mean of good frames"),
    ),
    "gap": Question(
        "how far reflectance follows luminance",
        {
            "anaglyphs in place of frames": Component(ANAGLYPHS, BASELINE),
            "anaglyphs as guides (IBAN, IG)": Component(GUIDED, BASELINE),
            "modality game (MITML, M)": Component(GAME, BASELINE),
            "one channel in place of three (DI2L)": Component(AUGMENTED, PLAIN),
            "MSRL and MDL (CMFT)": Component(FUSED, UNREFINED, ends=True),
        },
        oracles=("reflectances", "body", "anaglyphs", "pixels"),
    ),
    "time": Question(
        "people who share one appearance",
        {
            "memory (MITML, T)": Component(MEMORY, BASELINE),
            "temporal shift (CMFT)": Component(FUSED, UNSHIFTED, ends=True),
        },
        changes={"frames": 6, "stride": 2, "augment_per": "clip"},
        oracles=("appearance", "leg phase, 6 frames, two apart"),
    ),
    "place": Question(
        "spread of views and backgrounds",
        {
            "attack (SADSTRM, ASAM)": Component(ATTACKED, DEFENDER, ends=True),
            "parts (DI2L, DPA)": Component(PARTS, AUGMENTED),
        },
        beside=(BASELINE,),
        oracles=("pixels",),
    ),
    "bars": Question(
        "share of a frame behind a bar",
        {
            "parts (DI2L, DPA)": Component(PARTS, AUGMENTED),
            "the same, all stripes kept": Component(STRIPES_KEPT, AUGMENTED, ends=True),
            "stripes (SADSTRM, FRM-STIG)": Component(STRIPES, DEFENDER),
        },
        beside=(BASELINE,),
        oracles=("whole frames", "visible parts", "without bars"),
    ),
}
#: CPU time of a training step, in steps of the baseline with four frames.
COST: dict[Row, float] = {
    BASELINE: 1.0,
    ANAGLYPHS: 1.2,
    GUIDED: 2.2,
    WEIGHED: 1.05,
    RELATIVE: 1.05,
    MEMORY: 1.5,
    GAME: 1.1,
    DEFENDER: 1.05,
    ATTACKED: 3.2,
    STRIPES: 1.4,
    PLAIN: 1.1,
    AUGMENTED: 1.45,
    PARTS: 1.5,
    STRIPES_KEPT: 1.5,
    FUSED: 1.75,
    UNSHIFTED: 1.6,
    UNREFINED: 1.4,
}


def question(world: str) -> Question:
    """Return the comparisons of a world.

    Raises:
        ValueError: there is no such world. The message names all worlds.
    """
    if world not in PLAN:
        raise ValueError(f"no world {world!r}: choose from {', '.join(PLAN)}")
    return PLAN[world]


def configs(
    world: str,
    size: str = SIZE,
    seeds: Iterable[int] = SEEDS,
) -> dict[float, dict[Row, list[RunConfig]]]:
    """Return the runs of a world: dose -> row -> one config a seed.

    Args:
        world: name of the world.
        size: preset of the runs, whose drawn data is put into the world.
        seeds: of training.

    Raises:
        ValueError: when there is no such world.
    """
    seeds = validation.seeds(seeds)
    of_world, (knob, doses) = question(world), DOSES[world]
    runs: dict[float, dict[Row, list[RunConfig]]] = {}
    for dose in doses:
        runs[dose] = {}
        for row in of_world.rows(dose, doses):
            usual = row.configs(size, seeds)
            source = behind(usual[0].data.source, {knob: dose})
            changes = {"source": source, **of_world.changes}
            runs[dose][row] = [change(config, **changes) for config in usual]
    return runs


def wanted(
    worlds: Iterable[str] = tuple(PLAN),
    size: str = SIZE,
    seeds: Sequence[int] = SEEDS,
) -> list[RunConfig]:
    """Return every run of some worlds once: a dose that is usual serves several.

    Args:
        worlds: names of worlds.
        size: preset of the runs.
        seeds: of training.

    Raises:
        ValueError: there is no such world. The message names all worlds.
    """
    by_hash: dict[str, RunConfig] = {}
    for world in worlds:
        for rows in configs(world, size, seeds).values():
            for runs in rows.values():
                by_hash |= {config.hash: config for config in runs}
    return list(by_hash.values())


def results(
    world: str,
    size: str = SIZE,
    seeds: Sequence[int] = SEEDS,
    only_stored: bool = False,
    **run: Any,
) -> dict[float, dict[Row, list[Result]]]:
    """Return the results of a world.

    Args:
        world: name of the world.
        size: preset of the runs.
        seeds: of training.
        only_stored: leave out runs without a stored result. Otherwise they are trained.
        **run: fields of `experiment.Execution`.
    """
    by_dose = {}
    for dose, rows in configs(world, size, seeds).items():
        by_dose[dose] = {}
        for row, runs in rows.items():
            if only_stored:
                runs = [config for config in runs if not ablation.missing([config])]
            by_dose[dose][row] = [experiment.run(config, **run) for config in runs]
    return by_dose


def searched_people(config: RunConfig, direction: Direction = "ir2vis") -> np.ndarray:
    """Return whom each query of a direction shows, from the plan of the drawn set.

    Nothing is drawn for it, so that pages compare records without the data.
    """
    return np.array(_planned(config.data, "ir" if direction == "ir2vis" else "vis"))


@cache
def _planned(data: DataConfig, modality: Modality) -> tuple[int, ...]:
    """Return the identities of the queries of a modality, in list order."""
    others = presets.VALIDATION if data.split == "val" else ""
    preset = presets.find(data.source + others)
    return tuple(presets.queries(preset, data.seed, modality, data.min_seq_len))


def difference(
    on: Sequence[Result],
    off: Sequence[Result],
    direction: Direction = "ir2vis",
) -> Score:
    """Return rank-1 of runs minus that of others in one world, in points.

    Args:
        on: runs with the component.
        off: runs without it, on the same data.
        direction: of the search.

    Returns:
        The difference, with a 95 % interval by bootstrap over people and seeds.

    Raises:
        ValueError: when the runs are not of the same data.
    """
    sources = {result.config.data.source for result in (*on, *off)}
    if len(sources) > 1:
        raise ValueError(f"runs of different worlds: {', '.join(sorted(sources))}")
    ids = searched_people(on[0].config, direction)
    hits = []
    for runs in (off, on):
        first = np.stack([result.metrics(direction).first_hit for result in runs])
        hits.append(100.0 * (first == 1))
    counted = on[0].metrics(direction).first_hit > 0
    return paired_runs(*(hit[:, counted] for hit in hits), groups=ids[counted])


def responses(
    world: str,
    direction: Direction = "ir2vis",
    size: str = SIZE,
    seeds: Sequence[int] = SEEDS,
    only_stored: bool = False,
    **run: Any,
) -> pd.DataFrame:
    """Return what each component adds at each dose of a world.

    Args:
        world: name of the world.
        direction: of the search.
        size: preset of the runs.
        seeds: of training. A component uses those that both of its rows have.
        only_stored: leave out what has no stored result. Otherwise it is trained.
        **run: fields of `experiment.Execution`.

    Returns:
        One row a component and dose: rank-1 (in per cent) with it and without it, the
        difference in points and its interval, as `plots.doses` draws it, and a note
        where a run collapsed or both runs of a seed are of unlike precision.
    """
    rows = []
    for dose, by_row in results(world, size, seeds, only_stored, **run).items():
        for component, part in question(world).components.items():
            if dose not in part.at(DOSES[world][1]):
                continue
            on, off = of_common_seeds(by_row[part.on], by_row[part.off])
            if not on:
                continue
            score = difference(on, off, direction)
            line = {"component": component, "dose": dose}
            line |= {"on": _rank1(on, direction), "off": _rank1(off, direction)}
            line |= {"difference": score.value, "low": score.low, "high": score.high}
            rows.append(line | {"seeds": len(on), "note": _note(on, off)})
    return pd.DataFrame(rows, columns=COLUMNS)


def _note(on: Sequence[Result], off: Sequence[Result]) -> str:
    """Say what to know before a difference is read: "" for nothing."""
    notes = ["collapsed"] if any(map(has_collapsed, (*on, *off))) else []
    if of_unlike_precision(on, off):
        notes.append(UNLIKE_PRECISION)
    return ", ".join(notes)


def by_component(table: pd.DataFrame, world: str) -> dict[str, np.ndarray]:
    """Return what `responses` gave as `plots.doses.response` draws it.

    Args:
        table: of a world.
        world: its name.

    Returns:
        Component -> (D, 3) difference, low and high end, NaN where a dose has none.
    """
    doses = list(DOSES[world][1])
    curves = {}
    for component, rows in table.groupby("component", sort=False):
        columns = rows.set_index("dose")[["difference", "low", "high"]]
        curves[str(component)] = columns.reindex(doses).to_numpy(dtype=float)
    return curves


def _rank1(runs: Sequence[Result], direction: Direction) -> float:
    return float(np.mean([result.row(direction)["rank1"] for result in runs]))


def copy_to_records(
    worlds: Iterable[str] = tuple(PLAN),
    size: str = SIZE,
    seeds: Sequence[int] = SEEDS,
) -> int:
    """Copy what was trained into `book/records`, and return how many runs are there.

    Args:
        worlds: as in `wanted`, which also raises what this raises.
        size: as in `wanted`.
        seeds: as in `wanted`.
    """
    return ablation.copy_records({c.hash: c for c in wanted(worlds, size, seeds)})


def oracle_file(size: str = SIZE) -> Path:
    """Return where the oracles of the worlds are kept, beside the records."""
    end = "" if size == SIZE else f"-{size}"
    return paths.records() / "worlds" / f"oracles{end}.csv"


def write_oracles(size: str = SIZE, file: Path | None = None) -> pd.DataFrame:
    """Measure the oracles of all worlds and write them as CSV, whole or not at all."""
    table = world_claims.world_claims(size)
    file = file or oracle_file(size)
    text = table.round(4).to_csv(index=False, lineterminator="\n")
    atomic.write(file, text.encode())
    return table


def oracles(world: str, file: Path | None = None) -> dict[str, np.ndarray]:
    """Return the stored oracles that a figure of a world draws: claim -> one a dose."""
    table = pd.read_csv(file or oracle_file())
    known: dict[tuple[str, float], float] = {}
    for row in table[table.world == world].itertuples():
        known[row.claim, row.dose] = row.value
    doses, curves = DOSES[world][1], {}
    for claim in question(world).oracles:
        values = [known.get((claim, dose), np.nan) for dose in doses]
        curves[claim] = np.array(values)
    return curves


def plan(
    size: str = SIZE,
    seeds: Sequence[int] = SEEDS,
    worlds: Iterable[str] = tuple(PLAN),
) -> pd.DataFrame:
    """Count the runs, each in the first world that wants it, and what they cost.

    Args:
        size: preset of the runs.
        seeds: of training.
        worlds: those that are counted.

    Returns:
        One row a world: runs, and `cost`, the CPU time of their training in runs of
        the baseline. The last row is the sum.

    Raises:
        ValueError: there is no such world.
    """
    seen: set[str] = set()
    rows = {}
    for world in worlds:
        count, total = 0, 0.0
        for by_row in configs(world, size, seeds).values():
            for row, runs in by_row.items():
                new = [config for config in runs if config.hash not in seen]
                seen |= {config.hash for config in new}
                count += len(new)
                total += sum(COST[row] * config.data.frames / USUAL for config in new)
        rows[world] = {"runs": count, "cost": total}
    table = pd.DataFrame(rows).T
    table.loc["all"] = table.sum()
    return table.astype({"runs": int}).round({"cost": 1})
