"""Equal tuning: the same number of trials for every method, on validation people."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import pandas as pd

from vvi import experiment, methods
from vvi.config import RunConfig, change
from vvi.experiment import Result, ablation, method_switches
from vvi.runtime import atomic, paths
from vvi.runtime.random import rng

#: What every method may choose: factors of the recipe's learning rate, and of the
#: rate of the trunk, below that of the parts that are new.
COMMON: dict[str, tuple] = {"lr": (1 / 3, 1.0, 2.0), "slow": (0.3, 1.0)}


def space(method: str) -> dict[str, tuple]:
    """Return the values that each knob of a method may take: its own and `COMMON`."""
    return methods.module(method).TUNED | COMMON


def trials(
    method: str, count: int = 8, size: str = "standard", seed: int = 0
) -> dict[int, tuple[dict[str, Any], RunConfig]]:
    """Draw the trials of a method: its main row, then others at random.

    Args:
        method: name of the method.
        count: how many trials, the main row among them.
        size: the preset that each trial is trained at.
        seed: of the draw. The training seed of every trial is 0.

    Returns:
        Number of the trial -> the knobs that it sets, and its run, which searches
        validation people.

    Raises:
        ValueError: when the space holds fewer combinations than trials.
    """
    knobs, draw = space(method), rng(seed, "tune", method)
    combinations = 1
    for values in knobs.values():
        combinations *= len(values)
    if not 1 <= count <= combinations:
        raise ValueError(
            f"trials={count}: {method} has between 1 and {combinations} trials"
        )
    main = main_row(method, size)
    drawn = {0: ({}, main)}
    while len(drawn) < count:
        chosen = {
            name: values[draw.integers(len(values))] for name, values in knobs.items()
        }
        config = method_switches.settled(applied(main, chosen))
        if all(config != other for _, other in drawn.values()):
            drawn[len(drawn)] = (chosen, config)
    return drawn


def main_row(method: str, size: str = "standard", seed: int = 0) -> RunConfig:
    """Return the main row of a method with validation people to search.

    Args:
        method: name of the method.
        size: preset of the run.
        seed: of training.
    """
    label = ": ".join(methods.module(method).MAIN)
    return change(ablation.labelled_rows(method, size, seed)[label], split="val")


def applied(config: RunConfig, knobs: Mapping[str, Any]) -> RunConfig:
    """Return a run with knobs set, where `lr` and `slow` multiply its recipe's."""
    factors = {
        name: getattr(config.recipe, name) * knobs[name]
        for name in COMMON
        if name in knobs
    }
    return change(config, **{**knobs, **factors})


def tune(
    method: str,
    count: int = 8,
    size: str = "standard",
    seed: int = 0,
    executor: Executor | None = None,
    **run: Any,
) -> pd.DataFrame:
    """Train and score the trials of a method. Stored ones are not trained again.

    Args:
        method: name of the method.
        count: how many trials, the main row among them.
        size: the preset that each trial is trained at.
        seed: of the draw.
        executor: where trials are trained (`vvi.experiment.executors`). None trains
            them here.
        **run: arguments of `experiment.run`, such as `device`.

    Returns:
        One row a trial, the best first: its knobs, rank-1 and mAP in both directions
        in per cent, `score` (the mean of both rank-1), the split and the run.
    """
    drawn = trials(method, count, size, seed)
    ablation.train_missing([config for _, config in drawn.values()], executor, **run)
    rows = []
    for number, (knobs, config) in drawn.items():
        row = {"trial": number} | {name: knobs.get(name) for name in space(method)}
        rows.append(row | _scored(experiment.run(config, **run)))
    return pd.DataFrame(rows).sort_values("score", ascending=False, ignore_index=True)


def _scored(result: Result) -> dict[str, Any]:
    """Return the scored columns of a trial."""
    row, rank1 = {}, []
    for direction in result.record.scores:
        values = result.row(direction)
        rank1.append(values["rank1"])
        row[f"rank1 {direction}"] = round(values["rank1"], 2)
        row[f"mAP {direction}"] = round(values["mAP"], 2)
    row["score"] = round(sum(rank1) / len(rank1), 2)
    return row | {"split": result.config.data.split, "run": result.run_id}


def log_file(method: str, size: str = "standard") -> Path:
    """Return where the trials of a method are kept, beside the records.

    Args:
        method: its name.
        size: preset of the trials. Each preset has a file of its own.
    """
    end = "" if size == "standard" else f"-{size}"
    return paths.records() / "tuning" / f"{method}{end}.csv"


def write_log(table: pd.DataFrame, file: Path) -> Path:
    """Write the trials of a method as CSV, whole or not at all."""
    with atomic.exclusive_lock(file):  # also removes what a killed one left
        atomic.write(file, table.to_csv(index=False).encode())
    return file


def best(method: str, table: pd.DataFrame) -> dict[str, Any]:
    """Return the knobs of the best trial, without those that it leaves as they are.

    A CSV turns whole numbers into floats where a cell is empty, so each is the value of
    the declared space that the cell stands for.
    """
    first, chosen = table.iloc[0], {}
    for name, values in space(method).items():
        if pd.notna(first[name]):
            chosen[name] = min(values, key=lambda value: abs(value - first[name]))
    return chosen


def winner(method: str, table: pd.DataFrame, size: str = "standard") -> RunConfig:
    """Return the run of the best trial that searches test people.

    Args:
        method: name of the method.
        table: of `tune`.
        size: preset of its trials.
    """
    config = applied(main_row(method, size), best(method, table))
    return change(method_switches.settled(config), split="test")


def collect(
    method: str, table: pd.DataFrame, size: str = "standard", **run: Any
) -> str:
    """Search test people with the best trial and copy its record to `book/records`.

    Args:
        method: name of the method.
        table: of `tune`.
        size: preset of its trials.
        **run: arguments of `experiment.run`.

    Returns:
        The id of the run.
    """
    config = winner(method, table, size)
    experiment.run(config, **run)
    ablation.copy_records({config.hash: config})
    return config.hash
