"""Tables of a paper -> the runs that are missing -> a data frame beside the published numbers."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from vvi import experiment, methods
from vvi.config import RunConfig, change, preset
from vvi.experiment import Result, measure, store
from vvi.runtime import atomic, paths, validation
from vvi.runtime.random import share
from vvi.types import Direction

FOLDERS = ("VVI_RUNS", "VVI_CACHE", "VVI_DATA")
_ONE = threading.Lock()
PICTURED = 0  # the seed whose records keep what pictures need


def rows(method: str, table: str) -> dict[str, dict]:
    """Row label -> fields to change, of one table of a method; ValueError naming the tables there are."""
    tables = methods.module(method).ABLATIONS
    if table not in tables:
        raise ValueError(
            f"{method} has no table {table!r}: choose from {', '.join(tables)}"
        )
    return tables[table]


def configs(
    method: str, table: str, size: str = "standard", seeds: Iterable[int] = (0, 1, 2)
) -> dict[str, list[RunConfig]]:
    """Row label -> one config per seed; a table that the method lists under `SWEEPS` runs on the first seed only, one under `TRIALS` on seeds 0 to 9 (at `tiny` on those given).

    At the size of the paper a table follows its own schedule where the method's `PAPER_RECIPE` names one.
    """
    module = methods.module(method)
    trials = size != "tiny" and table in getattr(module, "TRIALS", ())
    seeds = validation.seeds(seeds)
    seeds = (
        seeds[:1] if table in module.SWEEPS else list(range(10)) if trials else seeds
    )
    recipe = (
        getattr(module, "PAPER_RECIPE", {}).get(table, {}) if size == "paper" else {}
    )
    return {
        label: [
            change(preset(size, method, seed=seed), **recipe | changes)
            for seed in seeds
        ]
        for label, changes in rows(method, table).items()
    }


def known(method: str, size: str = "standard", seed: int = 0) -> dict[str, RunConfig]:
    """Every labelled row of a method's tables with one seed: "table: row" -> config; those of its main table come first."""
    module = methods.module(method)
    tables = sorted(module.ABLATIONS, key=lambda table: table != module.MAIN[0])
    return {
        f"{table}: {label}": change(found[0], seed=seed)
        for table in tables
        for label, found in configs(method, table, size, [seed]).items()
    }


@cache
def names(size: str, seed: int) -> dict[str, str]:
    """Hash of a run -> "method, table: row" of the first row that it is, over all methods."""
    rows = [
        (config.hash, f"{method}, {label}")
        for method in methods.names()
        for label, config in known(method, size, seed).items()
    ]
    return dict(reversed(rows))


def missing(
    wanted: Iterable[RunConfig], data: str | Path | None = None
) -> list[RunConfig]:
    """The configs without a stored result of the present versions, each once. data: the folder that they read in place of their own."""
    located = [
        experiment.located(c, data) for c in {c.hash: c for c in wanted}.values()
    ]
    return [c for c in located if store.find(c, experiment.versions(c))[0] is None]


def fill(wanted: Iterable[RunConfig], executor: Executor | None = None, **run) -> int:
    """Train what is missing, here or on any `concurrent.futures` executor (`vvi.experiment.executors`); returns how many runs. Killed in the middle, the same call goes on with what is left.

    `run`: arguments of `experiment.run`, such as `device` and `pixels`. On an executor a run that fails does not stop the others: RuntimeError at the end.
    """
    if share()[1] > 1:
        raise ValueError(
            "a sweep trains runs side by side, torchrun trains one run on many processes: start the sweep without it, or the runs one by one with `vvi train`"
        )
    todo, run, failed = missing(wanted, run.get("data")), {"progress": False} | run, {}
    with tqdm(total=len(todo), desc="runs", unit="run") as bar:
        if executor is None:
            for config in todo:
                experiment.run(config, **run)
                bar.update()
        else:
            given = {name: os.environ[name] for name in FOLDERS if name in os.environ}
            started = {
                executor.submit(_elsewhere, config, given, run): config
                for config in todo
            }
            for done in as_completed(started):
                if error := done.exception():
                    failed[started[done].hash] = error
                else:
                    _bring(done.result(), started[done])
                bar.update()
    for name, error in failed.items():
        raise RuntimeError(
            f"{len(failed)} of {len(todo)} runs failed, the others are stored; run {name}: {type(error).__name__}: {error}"
        ) from error
    return len(todo)


def _elsewhere(config: RunConfig, given: Mapping[str, str], run: Mapping) -> Result:
    """A run of a sweep where an executor puts it: folders as here unless that machine has its own, and one run at a time in a process, whose generators they would share."""
    for name, folder in given.items():
        os.environ.setdefault(name, folder)
    with _ONE:
        return experiment.run(config, **run)


def _bring(result: Result, config: RunConfig) -> None:
    """Store a result that was trained where this machine cannot see it; its weights stay there."""
    with atomic.alone(paths.runs() / config.hash):
        if store.find(config, experiment.versions(config))[0] is None:
            store.save_record(result.record, paths.runs())


class Rows(dict[str, list[Result]]):
    """Row label -> results. A row of the table that has no stored result is not among
    the keys, and asking for it gives an empty list; another label is a KeyError."""

    def __init__(self, stored: Mapping[str, list[Result]], labels: Iterable[str]):
        super().__init__(stored)
        self.labels = tuple(labels)

    def __missing__(self, label: str) -> list[Result]:
        if label in self.labels:
            return []
        raise KeyError(f"no row {label!r}: choose from {', '.join(self.labels)}")


def results(
    method: str,
    table: str,
    size: str = "standard",
    seeds: Sequence[int] = (0, 1, 2),
    **run,
) -> Rows:
    """Collect the results of a table.

    A page of the book never trains at `standard`: there a row without a stored result is
    left out and named. At other sizes, on real data and with `retrain` it is trained.

    Args:
        method: whose table it is.
        table: as `rows` lists them.
        size: preset of the runs.
        seeds: a row has those of them that are stored.
        **run: arguments of `experiment.run`.

    Returns:
        Row label -> one result per seed, empty for a row without a stored result.

    Raises:
        LookupError: no row of the table has a stored result.
    """
    wanted = configs(method, table, size, seeds)
    labels = tuple(wanted)
    if reads_records(size, run):
        wanted = stored_rows(wanted, f"vvi ablate {method} --tables {table!r}")
    stored = {
        label: [experiment.run(config, **run) for config in settings]
        for label, settings in wanted.items()
    }
    return Rows(stored, labels)


def of_row(
    name: str, wanted: Sequence[RunConfig], size: str, run: Mapping
) -> list[Result]:
    """Collect the results of one row: as `results`, empty where none is stored."""
    if reads_records(size, run):
        wanted = [c for c in wanted if not missing([c])]
        if not wanted:
            print(f"No stored result yet: {name}")
    return [experiment.run(config, **run) for config in wanted]


def reads_records(size: str, run: Mapping) -> bool:
    """Whether runs with these arguments come from stored results alone."""
    return size == "standard" and not run.get("retrain") and run.get("data") is None


def stored_rows(
    wanted: Mapping[str, Sequence[RunConfig]], command: str
) -> dict[str, list[RunConfig]]:
    """Keep the runs that have a stored result, and print the rows that have none.

    Args:
        wanted: row label -> one config per seed.
        command: trains the rows that have none.

    Raises:
        LookupError: no row has a stored result.
    """
    stored = {
        label: [c for c in runs if not missing([c])] for label, runs in wanted.items()
    }
    absent = [label for label, runs in stored.items() if not runs]
    if len(absent) == len(stored):
        raise LookupError(f"no row has a stored result: train them with {command}")
    if absent:
        print(
            f"Rows without a stored result: {'; '.join(absent)}. {command} trains them."
        )
    return {label: runs for label, runs in stored.items() if runs}


def frame(
    rows: Mapping[str, Sequence[Result]],
    direction: Direction = "ir2vis",
    setting: str = "",
) -> pd.DataFrame:
    """One line per (label, seed) with the scores of a direction in per cent, the run and the seconds of its training; with `setting` (one of `trials.SETTINGS`) the means over the
    galleries of SYSU-MM01."""
    return pd.DataFrame(
        {
            "row": label,
            "seed": r.config.seed,
            **(r.trials()[setting] if setting else r.row(direction)),
            "run": r.run_id,
            "seconds": r.record.seconds["train"],
        }
        for label, found in rows.items()
        for r in found
    )


def published(
    paper: str, table: str, direction: str | None = "ir2vis", protocol: str = ""
) -> pd.DataFrame:
    """What a paper prints in one of its tables: row label -> metric columns, from `book/published/<paper>.csv`.

    direction: None where the paper does not say which; protocol: needed where the table has several (the error names them).
    """
    numbers = pd.read_csv(paths.published() / f"{paper}.csv")
    chosen = numbers[
        (numbers.table == table)
        & (numbers.direction == direction if direction else numbers.direction.isna())
    ]
    if protocol:
        chosen = chosen[chosen.protocol == protocol]
    if chosen.empty:
        raise ValueError(
            f"book/published/{paper}.csv has nothing for {table!r}, {' '.join(filter(None, (direction or 'no direction', protocol)))}"
        )
    if chosen.duplicated(["method", "metric"]).any():
        raise ValueError(
            f"{table!r} of {paper} has several protocols, say which: {', '.join(dict.fromkeys(chosen.protocol))}"
        )
    return chosen.pivot_table(
        index="method", columns="metric", values="value", sort=False
    )


def collect(
    method: str, size: str = "standard", seeds: Sequence[int] = (0, 1, 2)
) -> int:
    """Copy the results of every table of a method from `$VVI_RUNS` into `book/records`; returns how many there are.

    Weights stay behind, and a record that is there stays as it is. What only a picture needs (embeddings, lists, maps) is kept of seed 0 alone, whose pictures the chapters show,
    and not of rows that are no more than a point of a curve (`SWEEPS` that are figures, but for rows under `LISTED`, whose clips a chapter shows).
    """
    rows = [
        (is_point(method, t, row), c)
        for t in methods.module(method).ABLATIONS
        for row, found in configs(method, t, size, seeds).items()
        for c in found
    ]
    wanted = {c.hash: c for _, c in rows}
    pictured = {c.hash for point, c in rows if not point and c.seed == PICTURED}
    return copy_records(wanted, pictured)


def copy_records(
    wanted: Mapping[str, RunConfig],
    pictured: Collection[str] = (),
) -> int:
    """Copy results from `$VVI_RUNS` into `book/records`.

    Args:
        wanted: hash -> config of the runs that are copied where they are finished.
        pictured: hashes of those that keep what only a picture needs.

    Returns:
        How many of the runs are in `book/records` by then.
    """
    count = 0
    for config in map(experiment.located, wanted.values()):
        versions = experiment.versions(config)
        target = paths.records() / config.hash
        record = store.current(paths.runs() / config.hash, versions)
        if record and store.current(target, versions) is None:
            arrays = record.arrays
            if config.hash not in pictured:
                named = arrays.items()
                arrays = {k: v for k, v in named if k.endswith(measure.NUMBERS)}
            store.save_record(replace(record, arrays=arrays), paths.records())
        count += store.current(target, versions) is not None
    return count


def is_point(method: str, table: str, label: str) -> bool:
    """Whether a row is no more than a point of a curve, which needs no pictures."""
    module = methods.module(method)
    return (
        table in module.SWEEPS
        and table.startswith("Fig.")
        and label not in getattr(module, "LISTED", {}).get(table, ())
    )


@dataclass(frozen=True)
class Check:
    """A stored record beside the same config trained now."""

    run_id: str
    same_machine: bool
    difference: dict[str, float]
    allowed: float

    @property
    def holds(self) -> bool:
        return all(abs(d) <= self.allowed for d in self.difference.values())


def verify(
    sample: int = 1, seed: int = 0, device: str = "auto", elsewhere: float = 6.0
) -> list[Check]:
    """Train a sample of the committed records again and compare rank-1 and mAP, in points.

    On the processor and versions of the record the numbers must agree to 0.01 points; on another machine rounding differs, training drifts apart as two seeds would, and
    `elsewhere` points are allowed.
    """
    folders = sorted(f.parent for f in paths.records().glob("*/record.json"))
    if not folders:
        raise FileNotFoundError(f"no records under {paths.records()}")
    chosen = np.random.default_rng(seed).choice(
        len(folders), min(sample, len(folders)), replace=False
    )
    return [_again(store.load_record(folders[i]), device, elsewhere) for i in chosen]


def _again(record: store.Record, device: str, elsewhere: float) -> Check:
    now = experiment.run(record.config, retrain=True, device=device, keep=False)
    difference = {
        f"{direction} {name}": 100 * (now.record.scores[direction][name] - scores[name])
        for direction, scores in record.scores.items()
        for name in ("rank1", "mAP")
    }
    moved = "resumed" in record.environment  # one machine after another made it
    same = not moved and all(
        record.environment.get(k) == now.record.environment.get(k)
        for k in ("torch", "numpy", "processor", "threads", "device", "processes")
    )
    return Check(record.config.hash, same, difference, 0.01 if same else elsewhere)
