"""What a run gives: numbers, history and what figures draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vvi.config import DataConfig, RunConfig
from vvi.data import NAMES
from vvi.data.layout import called
from vvi.evaluation import probes, protocols
from vvi.experiment import store
from vvi.experiment.datasets import REAL
from vvi.metrics import Metrics
from vvi.types import Direction


@dataclass(frozen=True)
class Result:
    """The result of one run."""

    #: What is stored of it.
    record: store.Record
    #: Whether it was stored before, not trained now.
    stored: bool

    @property
    def config(self) -> RunConfig:
        """The config of the run."""
        return self.record.config

    @property
    def run_id(self) -> str:
        """The hash of the config, which names the run."""
        return self.record.config.hash

    @property
    def precision(self) -> str:
        """What it was computed in. Without bfloat16 that is not the recipe's."""
        usual = self.config.recipe.precision
        return self.record.environment.get("precision", usual)

    @property
    def changed_precision(self) -> bool:
        """Whether that is not what the recipe asks for."""
        return self.precision != self.config.recipe.precision

    @property
    def history(self) -> Mapping[str, list[float]]:
        """Losses and learning rate at every step, by name."""
        return self.record.history

    @property
    def arrays(self) -> Mapping[str, np.ndarray]:
        """What figures draw, by name."""
        return self.record.arrays

    @property
    def data_label(self) -> str:
        """What every figure and table of this result must say of its data.

        "synthetic", or what the real set is called, and whether validation people were
        searched.
        """
        data = self.config.data
        label = "synthetic" if data.synthetic else called(data.layout)
        return label if data.split == "test" else f"{label} (validation people)"

    @property
    def data_name(self) -> str:
        """On which data a run was made: name of the folder, layout and digest."""
        data = self.config.data
        people = "" if data.split == "test" else ", validation people"
        if not data.synthetic:
            name = self.record.data.get("name", NAMES[data.layout])
            return f"{name} ({data.layout}, {data.source.removeprefix(REAL)}{people})"
        if data.layout == DataConfig().layout:
            return f"synthetic{people}"
        return f"synthetic, {data.layout}{people}"

    def probe(self, name: str) -> probes.Score:
        """Return a score against the known factors.

        Raises:
            KeyError: there is no such probe. The message names all probes.
        """
        scores = self.record.probes
        if name not in scores:
            known = ", ".join(scores) or "none"
            raise KeyError(f"run {self.run_id} has no probe {name!r}; it has {known}")
        return probes.Score(**scores[name])

    def metrics(self, direction: Direction) -> Metrics:
        """Rebuild the metrics of a direction: AP to four digits, `cmc` of 20 ranks.

        Raises:
            KeyError: it was not searched. The message names the directions that were.
        """
        scores, arrays = self._scores(direction), self.record.arrays
        hits = arrays[f"{direction}/first_hit"].astype(np.int64)
        return Metrics(
            np.array([np.mean(hits[hits > 0] <= k) for k in range(1, 21)]),
            scores["mAP"],
            scores["mINP"],
            scores["n_valid"],
            scores["n_skipped"],
            arrays[f"{direction}/ap"].astype(np.float64),
            hits,
        )

    def trials(self) -> dict[str, dict[str, float]]:
        """Return the means over the ten galleries of SYSU-MM01, in per cent.

        Returns:
            Setting -> column -> mean. Other layouts give an empty dictionary.
        """
        means = {}
        for name, values in self.arrays.items():
            if name.endswith("/trials"):
                columns = protocols.mean(values)
                per_cent = {column: 100 * x for column, x in columns.items()}
                means[name.removesuffix("/trials")] = per_cent
        return means

    def row(self, direction: Direction) -> dict[str, float]:
        """Return rank-1, 5, 10, 20, mAP and mINP in per cent.

        Raises:
            KeyError: it was not searched. The message names the directions that were.
        """
        scores = self._scores(direction)
        return {name: 100 * scores[name] for name in protocols.COLUMNS}

    def _scores(self, direction: Direction) -> dict[str, float]:
        scores = self.record.scores
        if direction not in scores:
            known = ", ".join(scores)
            raise KeyError(
                f"run {self.run_id} has no direction {direction!r}; it has {known}"
            )
        return scores[direction]


def of_common_seeds(*sides: Sequence[Result]) -> tuple[Sequence[Result], ...]:
    """Keep the runs of seeds that all sides have: none where no seed is common."""
    common = set.intersection(*map(_seeds, sides))
    paired = []
    for runs in sides:
        paired.append([r for r in runs if r.config.seed in common])
    return tuple(paired)


def have_common_seed(*sides: Sequence[Result]) -> bool:
    """Return whether all sides have a run of one seed, at least."""
    return bool(set.intersection(*map(_seeds, sides)))


#: What is said of rows of which `of_unlike_precision` is true.
UNLIKE_PRECISION = "not all of one precision"


def of_unlike_precision(ours: Sequence[Result], theirs: Sequence[Result]) -> bool:
    """Return whether both runs of a common seed were computed in unlike precision."""
    ours, theirs = of_common_seeds(ours, theirs)
    precision = {run.config.seed: run.precision for run in theirs}
    return any(run.precision != precision[run.config.seed] for run in ours)


def _seeds(runs: Sequence[Result]) -> set[int]:
    return {r.config.seed for r in runs}
