"""Does a method need longer? The row that stands for each paper, at other lengths.

A method that trails after a short run may need a longer one. So the same row is trained
for fewer and for more steps. Its schedule and the epochs at which its parts begin
stretch with the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from vvi import experiment, methods
from vvi.config import RunConfig, change, preset
from vvi.experiment import Result, ablation
from vvi.experiment.worlds import ANAGLYPHS, AUGMENTED, Row

SIZE = "standard"
SEEDS = (0,)
#: Lengths, in runs of the preset: a third, the run itself, twice as long.
LENGTHS = (1 / 3, 1.0, 2.0)
#: Rows beside those that stand for a paper, each with its method: CAJ is DI2L without
#: its two ideas.
BESIDE = {"baseline on anaglyphs": ANAGLYPHS, "CAJ": AUGMENTED}


def rows(names: Iterable[str] = ()) -> dict[str, Row]:
    """Return the rows that are trained: what figures call it -> row.

    Args:
        names: methods, or empty for all. They bring their rows of `BESIDE` along.

    Raises:
        ValueError: naming the methods there are.
    """
    chosen = list(names) or sorted(methods.names(), key=lambda n: (n != "baseline", n))
    by_title = {}
    for name in chosen:
        row = Row(name, *methods.module(name).MAIN)
        by_title["baseline" if name == "baseline" else name.upper()] = row
        by_title |= {t: beside for t, beside in BESIDE.items() if beside.method == name}
    return by_title


def steps(size: str = SIZE) -> tuple[int, ...]:
    """Return the lengths in steps of the optimiser, from short to long.

    Raises:
        ValueError: the preset counts epochs in place of steps.
    """
    usual = preset(size).recipe.steps
    if usual is None:
        raise ValueError(f"preset {size} counts epochs: a length is a number of steps")
    return tuple(max(1, round(usual * length)) for length in LENGTHS)


def configs(
    row: Row, size: str = SIZE, seeds: Iterable[int] = SEEDS
) -> dict[int, list[RunConfig]]:
    """Return the runs of a row: number of steps -> one config a seed.

    Args:
        row: whose length is changed.
        size: preset of the runs.
        seeds: of training.
    """
    usual = row.configs(size, seeds)
    by_steps = {}
    for count in steps(size):
        by_steps[count] = [change(config, steps=count) for config in usual]
    return by_steps


def wanted(
    names: Iterable[str] = (), size: str = SIZE, seeds: Sequence[int] = SEEDS
) -> list[RunConfig]:
    """Return the runs of some methods, each once, the short ones first.

    Args:
        names: methods, or empty for all.
        size: preset of the runs.
        seeds: of training.

    Raises:
        ValueError: naming the methods there are.
    """
    by_row = [configs(row, size, seeds) for row in rows(names).values()]
    runs = []
    for count in steps(size):
        for by_steps in by_row:
            runs += by_steps[count]
    return runs


def results(
    size: str = SIZE, seeds: Sequence[int] = SEEDS, **run: Any
) -> dict[str, dict[int, list[Result]]]:
    """Return what is stored of every row, without training.

    Args:
        size: preset of the runs.
        seeds: of training.
        **run: fields of `experiment.Execution`.

    Returns:
        What figures call a row -> number of steps -> one result a stored seed.
    """
    stored: dict[str, dict[int, list[Result]]] = {}
    for title, row in rows().items():
        stored[title] = {}
        for count, runs in configs(row, size, seeds).items():
            known = [config for config in runs if not ablation.missing([config])]
            stored[title][count] = [experiment.run(c, **run) for c in known]
    return stored


def copy_to_records(
    names: Iterable[str] = (), size: str = SIZE, seeds: Sequence[int] = SEEDS
) -> int:
    """Copy what was trained into `book/records`, and return how many runs are there.

    Args:
        names: as in `wanted`, which also raises what this raises.
        size: as in `wanted`.
        seeds: as in `wanted`.
    """
    runs = wanted(names, size, seeds)
    return ablation.copy_records({config.hash: config for config in runs})
