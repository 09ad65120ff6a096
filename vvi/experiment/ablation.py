"""Tables of a paper: the runs that are missing, and results beside the printed ones."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from vvi import experiment, methods
from vvi.config import Recipe, RunConfig, Split, change, for_layout, preset
from vvi.engine import checkpoint
from vvi.experiment import Result, measure, store
from vvi.experiment.trained_network import HALF, method_options
from vvi.runtime import atomic, paths, validation
from vvi.runtime.random import rank_and_world_size
from vvi.types import Direction

FOLDERS = ("VVI_RUNS", "VVI_CACHE", "VVI_DATA")
#: Seeds that a page reads. A row has those of them that were trained.
SEEDS = tuple(range(9))
#: Seeds that `vvi ablate` trains where none are named.
USUAL_SEEDS = (0, 1, 2)
PICTURED = 0  # the seed whose records keep what pictures need
REGDB_TRIALS = 10
RATE = "lr"  # the term of a history that is no loss
#: Facts of a record's environment that must agree for equal bits.
MACHINE = ("torch", "numpy", "processor", "threads", "device", "processes")
EXACT = 0.01  # points that a run may differ on its own machine
_ONE_RUN = threading.Lock()
#: Names of folders that a worker was given, by a sweep before this one.
_SET_HERE: set[str] = set()


def rows(method: str, table: str) -> dict[str, dict]:
    """Return the rows of one table of a method: label -> fields to change.

    Raises:
        ValueError: there is no such table. The message names all tables.
    """
    tables = methods.module(method).ABLATIONS
    if table not in tables:
        raise ValueError(
            f"{method} has no table {table!r}: choose from {', '.join(tables)}"
        )
    return tables[table]


def configs(
    method: str,
    table: str,
    size: str = "standard",
    seeds: Iterable[int] = (0, 1, 2),
    split: Split = "test",
) -> dict[str, list[RunConfig]]:
    """Return the runs of a table: row label -> one config per seed.

    At the size of the paper a table follows its own schedule where the method's
    `PAPER_RECIPE` names one.

    Args:
        method: whose table it is.
        table: as `ABLATIONS` of the method lists it.
        size: preset of the runs.
        seeds: of training. A table under `SWEEPS` of the method runs on the first of
            them, one under `TRIALS` on seeds 0 to 9, but at `tiny` on those given.
        split: who is searched. Training does not depend on it.
    """
    seeds = validation.seeds(seeds)
    return {
        label: row_configs(method, table, label, size, seeds, split)
        for label in rows(method, table)
    }


def accepted(rows: Mapping[str, Sequence[RunConfig]]) -> list[RunConfig]:
    """Return the runs of a table but those that need a trunk without weights.

    Their row, which a method refuses at the size of the paper, is named in a warning.

    Args:
        rows: label of a row -> its runs, as `configs` returns them.

    Raises:
        ValueError: a method refuses a row without weights, too.
    """
    runs = []
    for label, of_row in rows.items():
        options = method_options(of_row[0])
        methods.config(of_row[0].method, **options | {"weights": None})
        try:
            methods.config(of_row[0].method, **options)
        except ValueError as error:
            warnings.warn(f"row {label!r} is left out: {error}", stacklevel=2)
        else:
            runs += of_row
    return runs


def row_configs(
    method: str,
    table: str,
    label: str,
    size: str = "standard",
    seeds: Iterable[int] = (0, 1, 2),
    split: Split = "test",
) -> list[RunConfig]:
    """Return the runs of one row of a table, one config per seed, as `configs` does.

    Args:
        method: whose table it is.
        table: as `ABLATIONS` of the method lists it.
        label: of the row.
        size: as in `configs`.
        seeds: as in `configs`.
        split: as in `configs`.

    Raises:
        ValueError: there is no such table or row. The message names all of them.
    """
    labels = rows(method, table)
    if label not in labels:
        known = ", ".join(labels)
        raise ValueError(f"{method}, {table} has no row {label!r}: choose from {known}")
    recipe = _paper_recipe(method, table, labels[label]) if size == "paper" else {}
    seeds = _seeds_of_table(method, table, size, validation.seeds(seeds))
    starts = [preset(size, method, seed=seed, split=split) for seed in seeds]
    return [change(start, **recipe | labels[label]) for start in starts]


def _paper_recipe(method: str, table: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a table changes at the size of the paper.

    Args:
        method: whose table it is.
        table: its title.
        row: what the row changes. One of another method takes no option of this one.
    """
    recipe = getattr(methods.module(method), "PAPER_RECIPE", {}).get(table, {})
    if "method" not in row:
        return recipe
    known = Recipe.__dataclass_fields__
    return {name: value for name, value in recipe.items() if name in known}


def _seeds_of_table(method: str, table: str, size: str, seeds: list[int]) -> list[int]:
    """Return the seeds that a table runs on, of those asked for."""
    module = methods.module(method)
    if table in module.SWEEPS:
        return seeds[:1]
    if size != "tiny" and table in getattr(module, "TRIALS", ()):
        return list(range(REGDB_TRIALS))
    return seeds


def labelled_rows(
    method: str, size: str = "standard", seed: int = 0
) -> dict[str, RunConfig]:
    """Return every row of a method's tables, those of its main table first.

    Args:
        method: name of the method.
        size: preset of the runs.
        seed: of training.

    Returns:
        "table: row" -> config.
    """
    module = methods.module(method)
    labelled = {}
    for table in sorted(module.ABLATIONS, key=lambda table: table != module.MAIN[0]):
        for label, runs in configs(method, table, size, [seed]).items():
            labelled[f"{table}: {label}"] = change(runs[0], seed=seed)
    return labelled


@cache
def names(size: str, seed: int, layout: str | None = None) -> dict[str, str]:
    """Name every run of all methods by the first row that it is.

    Args:
        size: preset of the runs.
        seed: of the runs.
        layout: of a folder that is read in place of the data of the preset.

    Returns:
        Hash of the run -> "method, table: row".
    """
    usual = preset(size).data.layout
    by_hash: dict[str, str] = {}
    for method in methods.names():
        for label, config in labelled_rows(method, size, seed).items():
            if layout and config.data.layout == usual:
                config = for_layout(config, layout)
            by_hash.setdefault(config.hash, f"{method}, {label}")
    return by_hash


def row_of(config: RunConfig) -> str:
    """Return which row a run is, "method, table: row", whoever it searched.

    A row that was trained for another number of steps, or at another rate, has that
    behind it. Empty where it is none, as with settings of one's own.
    """
    known, layout = config, None
    if not config.data.synthetic:
        known, layout = experiment.unresolved(config), config.data.layout
    searched = change(known, split="test")
    rows_by_hash = names(config.preset, config.seed, layout)
    if searched.hash in rows_by_hash:
        return rows_by_hash[searched.hash]
    usual = preset(config.preset, config.method).recipe
    others = {f"{config.recipe.steps} steps": {"steps": usual.steps}}
    factor = round(config.recipe.lr / usual.lr, 6)
    if factor in (2, 3, 4):  # any other rate is a setting of one's own
        others[f"{factor:g} times the rate"] = {"lr": usual.lr}
    for words, changes in others.items():
        row = rows_by_hash.get(change(searched, **changes).hash)
        if row:
            return f"{row}, {words}"
    return ""


def missing(
    runs: Iterable[RunConfig], data: str | Path | None = None
) -> list[RunConfig]:
    """Return the runs without a stored result of the present versions, each once.

    Args:
        runs: configs of the runs.
        data: a folder to read in place of the one that each config names.
    """
    return _without_result(_resolved(runs, data))


def _resolved(
    runs: Iterable[RunConfig], data: str | Path | None = None
) -> list[RunConfig]:
    """Return the configs of some runs with their data filled in, each once."""
    unique = {config.hash: config for config in runs}
    return [experiment.resolve_data(config, data) for config in unique.values()]


def _without_result(resolved: Sequence[RunConfig]) -> list[RunConfig]:
    """Return those of some runs, as `_resolved` gives them, that are not stored."""
    return [c for c in resolved if store.find(c, experiment.versions(c))[0] is None]


def train_missing(
    runs: Iterable[RunConfig], executor: Executor | None = None, **run: Any
) -> int:
    """Train the runs that have no stored result.

    If it is killed, the same call trains the rest.

    Args:
        runs: configs of the runs.
        executor: where they are trained (`vvi.experiment.executors`). None trains them
            here, in turn. On an executor a run that fails does not stop the others.
        **run: fields of `experiment.Execution`, such as `device` and `pixels`.

    Returns:
        How many were missing.

    Raises:
        RuntimeError: runs on an executor failed. The others are stored.
        ValueError: several processes train one run here (torchrun).
    """
    _, world_size = rank_and_world_size()
    if world_size > 1:
        raise ValueError(
            "a sweep trains runs side by side, torchrun trains one run on many "
            "processes: start the sweep without it, or the runs one by one with "
            "`vvi train`"
        )
    wanted = _resolved(runs, run.get("data"))
    for config in wanted:  # a sweep that was killed may have left one
        checkpoint.tidy(paths.runs() / config.hash)
    todo = _without_result(wanted)
    options = {"progress": False} | run
    with tqdm(total=len(todo), desc="runs", unit="run") as bar:
        if executor is not None:
            _train_on(executor, todo, options, bar)
        else:
            for config in todo:
                experiment.run(config, **options)
                bar.update()
    return len(todo)


def _train_on(
    executor: Executor, todo: list[RunConfig], options: Mapping[str, Any], bar: tqdm
) -> None:
    """Train runs side by side, store what returns, and raise at the end."""
    folders = {name: os.environ[name] for name in FOLDERS if name in os.environ}
    started = {executor.submit(_run_there, c, folders, options): c for c in todo}
    failed: dict[str, BaseException] = {}
    for future in as_completed(started):
        config = started[future]
        error = future.exception()
        if error:
            failed[config.hash] = error
        else:
            _store_here(future.result(), config)
        bar.update()
    for name, error in failed.items():
        raise RuntimeError(
            f"{len(failed)} of {len(todo)} runs failed, the others are stored; "
            f"run {name}: {type(error).__name__}: {error}"
        ) from error


def _run_there(
    config: RunConfig, folders: Mapping[str, str], options: Mapping[str, Any]
) -> Result:
    """Run where an executor puts it, with the folders of here unless there are others.

    A process does one run at a time, since runs would share its random generators.
    """
    for name, folder in folders.items():
        if name in _SET_HERE or name not in os.environ:
            os.environ[name] = folder
            _SET_HERE.add(name)
    with _ONE_RUN:
        return experiment.run(config, **options)


def _store_here(result: Result, config: RunConfig) -> None:
    """Store a result that was trained on another disk, without its weights.

    Raises:
        RuntimeError: another run was trained there, of other data.
    """
    if result.run_id != config.hash:
        raise RuntimeError(
            f"run {config.hash} came back as {result.run_id}: the worker reads other "
            "data or has another version of this code"
        )
    with atomic.exclusive_lock(paths.runs() / config.hash):
        if store.find(config, experiment.versions(config))[0] is None:
            store.save_record(result.record, paths.runs())


class Rows(dict[str, list[Result]]):
    """Row label -> results.

    A row of the table that has no stored result is not among the keys, and asking for
    it gives an empty list. Another label is a KeyError.
    """

    def __init__(self, stored: Mapping[str, list[Result]], labels: Iterable[str]):
        super().__init__(stored)
        self.labels = tuple(labels)

    def __missing__(self, label: str) -> list[Result]:
        if label in self.labels:
            return []
        raise KeyError(f"no row {label!r}: choose from {', '.join(self.labels)}")

    @property
    def absent(self) -> list[str]:
        """The rows without a stored result."""
        return [label for label in self.labels if label not in self]

    def below(self, label: str, runs: list[Result]) -> Rows:
        """Return the table with a row of another one above its own."""
        first = {label: runs} if runs else {}
        return Rows(first | dict(self), (label, *self.labels))


def results(
    method: str,
    table: str,
    size: str = "standard",
    seeds: Sequence[int] = (0, 1, 2),
    **run: Any,
) -> Rows:
    """Collect the results of a table.

    A page of the book never trains at `standard`: there a row without a stored result
    is left out and named. At other sizes, on real data and with `retrain` it is
    trained.

    Args:
        method: whose table it is.
        table: as `rows` lists them.
        size: preset of the runs.
        seeds: a row has those of them that are stored.
        **run: fields of `experiment.Execution`.

    Returns:
        Row label -> one result per seed, empty for a row without a stored result.

    Raises:
        LookupError: no row of the table has a stored result.
    """
    by_row = configs(method, table, size, seeds)
    labels = tuple(by_row)
    if reads_records(size, run):
        by_row = stored_rows(by_row, training_command(method, table, by_row))
    collected = {}
    for label, runs in by_row.items():
        collected[label] = [experiment.run(config, **run) for config in runs]
    return Rows(collected, labels)


def results_of_row(
    name: str, runs: Sequence[RunConfig], size: str, run: Mapping[str, Any]
) -> list[Result]:
    """Collect the results of one row, as `results` does: empty where none is stored.

    Args:
        name: of the row, printed where it has no stored result.
        runs: one config per seed.
        size: preset of the runs.
        run: fields of `experiment.Execution`.
    """
    if reads_records(size, run):
        runs = [config for config in runs if not missing([config])]
        if not runs:
            print(f"No stored result yet: {name}")
    return [experiment.run(config, **run) for config in runs]


def reads_records(size: str, run: Mapping[str, Any]) -> bool:
    """Return whether runs with these arguments come from stored results alone."""
    return size == "standard" and not run.get("retrain") and run.get("data") is None


def training_command(
    method: str, table: str, rows: Mapping[str, Sequence[RunConfig]]
) -> str:
    """Return the command that trains a table, with its seeds where they are unusual.

    Args:
        method: whose table it is.
        table: as `rows` of this module lists them.
        rows: label -> the runs that are wanted, one config per seed.
    """
    seeds = {config.seed for config in chain.from_iterable(rows.values())}
    command = f"vvi ablate {method} --tables {table!r}"
    if seeds <= set(USUAL_SEEDS) or seeds >= set(SEEDS):
        return command
    return f"{command} --seeds {' '.join(map(str, sorted(seeds)))}"


def stored_rows(
    rows: Mapping[str, Sequence[RunConfig]], command: str
) -> dict[str, list[RunConfig]]:
    """Keep the runs that have a stored result, and print the rows that have none.

    Args:
        rows: label -> one config per seed.
        command: trains the rows that have none.

    Raises:
        LookupError: no row has a stored result.
    """
    stored = {}
    for label, runs in rows.items():
        stored[label] = [config for config in runs if not missing([config])]
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
    """List results as a data frame.

    Args:
        rows: row label -> results.
        direction: whose scores are listed.
        setting: one of `protocols.SETTINGS`: the means over the galleries of SYSU-MM01
            in place of the scores of a direction.

    Returns:
        One line per (label, seed): scores in per cent, the run, seconds of training.
    """
    lines = []
    for label, results in rows.items():
        for result in results:
            scores = result.trials()[setting] if setting else result.row(direction)
            line = {"row": label, "seed": result.config.seed} | scores
            line["run"] = result.run_id
            line["seconds"] = result.record.seconds["train"]
            lines.append(line)
    return pd.DataFrame(lines)


def published(
    paper: str, table: str, direction: str | None = "ir2vis", protocol: str = ""
) -> pd.DataFrame:
    """Read what a paper prints in one of its tables, from `book/published/<paper>.csv`.

    Args:
        paper: name of the file.
        table: as the paper numbers it.
        direction: None where the paper does not say which.
        protocol: needed where the table has several. The error names them.

    Returns:
        Row label -> metric columns.

    Raises:
        ValueError: there is no such paper, there are no such numbers, or those of
            several protocols.
    """
    papers = sorted(file.stem for file in paths.published().glob("*.csv"))
    paper = validation.choice("paper", paper, papers)
    numbers = pd.read_csv(paths.published() / f"{paper}.csv")
    if direction:
        in_direction = numbers.direction == direction
    else:
        in_direction = numbers.direction.isna()
    chosen = numbers[(numbers.table == table) & in_direction]
    if protocol:
        chosen = chosen[chosen.protocol == protocol]
    if chosen.empty:
        where = " ".join(filter(None, (direction or "no direction", protocol)))
        raise ValueError(
            f"book/published/{paper}.csv has nothing for {table!r}, {where}"
        )
    if chosen.duplicated(["method", "metric"]).any():
        several = ", ".join(dict.fromkeys(chosen.protocol))
        raise ValueError(
            f"{table!r} of {paper} has several protocols, say which: {several}"
        )
    return chosen.pivot_table(
        index="method", columns="metric", values="value", sort=False
    )


def copy_to_records(
    method: str,
    size: str = "standard",
    seeds: Sequence[int] = (0, 1, 2),
    split: Split = "test",
) -> int:
    """Copy the results of every table of a method into `book/records`.

    Weights stay behind, and a record that is there stays as it is. What only a picture
    needs (embeddings, lists, maps) is kept of seed 0 on test people alone, whose
    pictures the chapters show, and not of rows that are no more than a point of a
    curve.

    Args:
        method: name of the method.
        size: preset of the runs.
        seeds: of training.
        split: who was searched.

    Returns:
        How many of the runs are in `book/records` by then.
    """
    by_hash, pictured = {}, set()
    for table in methods.module(method).ABLATIONS:
        for label, runs in configs(method, table, size, seeds, split).items():
            by_hash |= {config.hash: config for config in runs}
            if split == "test" and not is_curve_point(method, table, label):
                pictured |= {c.hash for c in runs if c.seed == PICTURED}
    return copy_records(by_hash, pictured)


def copy_records(
    by_hash: Mapping[str, RunConfig],
    pictured: Collection[str] = (),
) -> int:
    """Copy results from `$VVI_RUNS` into `book/records`, without the learning rate.

    Args:
        by_hash: hash -> config of the runs that are copied where they are finished.
        pictured: hashes of those that keep what only a picture needs.

    Returns:
        How many of the runs are in `book/records` by then.
    """
    count = 0
    for config in map(experiment.resolve_data, by_hash.values()):
        versions = experiment.versions(config)
        target = paths.records() / config.hash
        record = store.current(paths.runs() / config.hash, versions)
        if record and store.current(target, versions) is None:
            if config.hash not in pictured:
                record = replace(record, arrays=measure.numbers(record.arrays))
            store.save_record(without_rate(record), paths.records())
            for weights in target.glob(HALF):  # of the record that was replaced
                weights.unlink()
        count += store.current(target, versions) is not None
    return count


def without_rate(record: store.Record) -> store.Record:
    """Leave the learning rate out of a history: `optim.rate` gives it at every step."""
    history = {term: v for term, v in record.history.items() if term != RATE}
    return replace(record, history=history)


def is_curve_point(method: str, table: str, label: str) -> bool:
    """Return whether a row is no more than a point of a curve, which needs no pictures.

    So are the rows of `SWEEPS` that are figures, but for those under `LISTED`, whose
    clips a chapter shows.

    Args:
        method: whose table it is.
        table: its title.
        label: of the row.
    """
    module = methods.module(method)
    listed = getattr(module, "LISTED", {}).get(table, ())
    return table in module.SWEEPS and table.startswith("Fig.") and label not in listed


@dataclass(frozen=True)
class Check:
    """A stored record beside the same config trained now."""

    #: The run.
    run_id: str
    #: Whether both were made where bits are equal.
    same_machine: bool
    #: "direction metric" -> stored, in per cent.
    stored: dict[str, float]
    #: "direction metric" -> now minus stored, in points.
    difference: dict[str, float]
    #: Points that each may differ.
    allowed: float
    #: Processors of the record and of this machine.
    processors: tuple[str, str]

    @property
    def holds(self) -> bool:
        """Whether every difference is allowed."""
        return all(abs(d) <= self.allowed for d in self.difference.values())


def verify(
    sample: int = 1,
    seed: int = 0,
    device: str = "auto",
    elsewhere: float = 6.0,
    runs: Sequence[str] = (),
) -> list[Check]:
    """Train committed records again and compare rank-1 and mAP.

    On the processor and versions of the record the numbers must agree to 0.01 points.
    On another machine rounding differs, and training drifts apart as two seeds would.

    Args:
        sample: how many records are drawn, where none is named.
        seed: of the choice.
        device: where they are trained.
        elsewhere: points that are allowed on another machine.
        runs: ids of the records, or how they begin.

    Raises:
        FileNotFoundError: there is no record, or none of such an id.
    """
    folders = sorted(f.parent for f in paths.records().glob("*/record.json"))
    if not folders:
        raise FileNotFoundError(f"no records under {paths.records()}")
    if runs:
        chosen = [_folder_of(run, folders) for run in runs]
    else:
        count = min(sample, len(folders))
        rng = np.random.default_rng(seed)
        chosen = [folders[i] for i in rng.choice(len(folders), count, replace=False)]
    return [_again(store.load_record(f), device, elsewhere) for f in chosen]


def _folder_of(run: str, folders: Sequence[Path]) -> Path:
    """Return the one folder whose name begins so."""
    begin = store.plain_id(run)
    fitting = [folder for folder in folders if folder.name.startswith(begin)]
    if len(fitting) != 1:
        number = "no record" if not fitting else f"{len(fitting)} records"
        raise FileNotFoundError(f"{number} of {paths.records()} begins with {run!r}")
    return fitting[0]


def _again(record: store.Record, device: str, elsewhere: float) -> Check:
    result = experiment.run(record.config, retrain=True, device=device, keep=False)
    same = _is_same_machine(record, result.record)
    environments = (record.environment, result.record.environment)
    before, now = (facts.get("processor", "") for facts in environments)
    return Check(
        record.config.hash,
        same,
        stored=dict(_points(record)),
        difference=dict(_differences(record, result.record)),
        allowed=EXACT if same else elsewhere,
        processors=(before, now),
    )


def _points(record: store.Record) -> Iterator[tuple[str, float]]:
    """Yield rank-1 and mAP of both directions, in per cent."""
    for direction, scores in record.scores.items():
        for name in ("rank1", "mAP"):
            yield f"{direction} {name}", 100 * scores[name]


def _differences(
    record: store.Record, again: store.Record
) -> Iterator[tuple[str, float]]:
    """Yield rank-1 and mAP of the second record minus the first, in points."""
    now = dict(_points(again))
    for name, before in _points(record):
        yield name, now[name] - before


def _is_same_machine(record: store.Record, again: store.Record) -> bool:
    """Return whether two records were made where bits are equal."""
    before, now = record.environment, again.environment
    if "resumed" in before:  # one machine after another made it
        return False
    return all(before.get(name) == now.get(name) for name in MACHINE)
