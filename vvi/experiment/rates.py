"""Does an idea hold at another learning rate? Pairs of rows at twice the rate.

One recipe is shared by all methods, and its rate need not suit all of them. So the rows
of some ideas, with each and without it, are trained again at twice the rate.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vvi.config import RunConfig
from vvi.experiment import ablation, tune, worlds
from vvi.experiment.worlds import Component, Row

SIZE = "standard"
SEEDS = (0, 1, 2)
#: Factor on the learning rate of the recipe.
FACTOR = 2.0
#: What tables call an idea -> the row that has it, and the row without it.
IDEAS: dict[str, Component] = {
    "DPA and I2L, over CAJ": Component(
        Row("di2l", "Table 2", "Baseline+DPA+I2L"), worlds.AUGMENTED
    ),
    "CAJ's third stream, of one channel": Component(worlds.AUGMENTED, worlds.PLAIN),
    "anaglyphs in place of frames": Component(worlds.ANAGLYPHS, worlds.BASELINE),
}


def ideas(names: Iterable[str] = ()) -> dict[str, Component]:
    """Return the ideas of some methods, or of all where none is named.

    Raises:
        ValueError: naming the methods there are.
    """
    wanted, known = set(names), {idea.on.method for idea in IDEAS.values()}
    if wanted - known:
        unknown, choices = (", ".join(sorted(s)) for s in (wanted - known, known))
        raise ValueError(
            f"no idea of {unknown} is trained at another rate: choose from {choices}"
        )
    return {
        name: idea
        for name, idea in IDEAS.items()
        if not wanted or idea.on.method in wanted
    }


def configs(
    row: Row,
    size: str = SIZE,
    seeds: Iterable[int] = SEEDS,
    factor: float = FACTOR,
) -> list[RunConfig]:
    """Return the runs of a row at a multiple of the rate, one a seed.

    Args:
        row: whose rate is changed.
        size: preset of the runs.
        seeds: of training.
        factor: on the rate of the recipe. A factor of 1 gives the row itself.
    """
    usual = row.configs(size, seeds)
    return [tune.applied(config, {"lr": factor}) for config in usual]


def wanted(
    names: Iterable[str] = (), size: str = SIZE, seeds: Sequence[int] = SEEDS
) -> list[RunConfig]:
    """Return the runs of some methods at the other rate, each once, seed by seed.

    Args:
        names: methods, or empty for all.
        size: preset of the runs.
        seeds: of training.

    Raises:
        ValueError: naming the methods there are.
    """
    by_hash: dict[str, RunConfig] = {}
    chosen = ideas(names).values()
    for seed in seeds:
        for idea in chosen:
            for row in (idea.on, idea.off):
                by_hash |= {c.hash: c for c in configs(row, size, [seed])}
    return list(by_hash.values())


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
