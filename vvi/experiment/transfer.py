"""Weights that were trained on one data set, tested on another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from vvi import experiment
from vvi.config import DataConfig
from vvi.data import NAMES, digest
from vvi.data.layout import DEFAULT, locate
from vvi.evaluation import evaluate, protocols
from vvi.evaluation.evaluate import Side
from vvi.experiment import REAL, measure, store
from vvi.experiment.trained_network import RECORD, WEIGHTS, Trained
from vvi.runtime import paths
from vvi.types import Tracklet


def data_name(trained: Trained) -> str:
    """Name the data that a network was trained on, as far as its file says."""
    folder = trained.source.parent
    if trained.source.name == WEIGHTS and (folder / RECORD).is_file():
        return experiment.Result(store.load_record(folder), stored=True).data_name
    return trained.source.name


def resolve(trained: DataConfig, data: str | Path | None, **options: Any) -> Target:
    """Find the data to test on, to be read at the size that a network was trained with.

    Args:
        trained: data that it was trained on.
        data: a folder; None: what `$VVI_DATA` holds, or the embedded set trained on.
        options: of the reader (strict, foreign, min_seq_len), and layout.
    """
    wanted = options.pop("layout", DEFAULT)
    if data is None and trained.synthetic:
        name = f"synthetic {trained.source}"
        return Target(replace(trained, **options), None, name)
    data = data or paths.real_data()
    if data is None:
        where = "name its folder with --data, or set VVI_DATA"
        raise FileNotFoundError(
            f"these weights were trained on a licensed set: {where}"
        )
    root, layout = locate(data, wanted)
    found = digest.of_set(root, layout, paths.cache())
    about = replace(trained, source=f"{REAL}{found}", layout=layout, split="test")
    name = root.resolve().name or NAMES[layout]
    return Target(replace(about, **options), root, f"{name} ({layout}, {found})")


@dataclass(frozen=True)
class Target:
    """Data to test on: how they are read, where they lie (None: embedded), a name."""

    data: DataConfig
    root: Path | None
    name: str


@dataclass(frozen=True)
class Tested:
    """What a test found: lines to print; numbers by direction where there is one trial."""

    lines: list[str]
    scores: Mapping[str, Mapping[str, float]]
    #: Features of queries and gallery by direction; empty over several trials.
    sides: Mapping[str, Side] = field(default_factory=dict)


def test(
    trained: Trained, target: Target, seed: int = 0, progress: bool = False
) -> Tested:
    """Score a trained method on a data set, by the protocol of that set.

    SYSU-MM01: the mean over ten galleries. RegDB: the mean over the test people of ten
    trials, but of the trial alone whose other people the method was trained on.

    Args:
        trained: from `evaluation.trained.load_run_or_file`.
        target: from `resolve`.
        seed: of the run that is tested; it names its trial of RegDB.
        progress: show how far it is.
    """
    data, method = target.data, trained.method
    found = experiment.dataset(data, target.root, progress, seed)
    reader = experiment.frames(data, found, progress)

    def embed(tracklets: Sequence[Tracklet]) -> np.ndarray:
        return evaluate.embed(
            method,
            tracklets,
            reader,
            data.frames,
            progress=progress,
            stride=data.stride,
        )

    if found.layout == "sysu-mm01":
        scores = protocols.sysu_scores(found.root, embed, strict=data.strict)
        named = {f"{name}/trials": values for name, values in scores.items()}
        return Tested(protocols.lines({}, named), {})
    if found.layout == "regdb" and data.source != trained.settings.data.source:
        scores = protocols.regdb_scores(found.root, embed, strict=data.strict)
        lines = [
            protocols.line(name, values, "trials") for name, values in scores.items()
        ]
        return Tested(lines, {})
    sides = evaluate.evaluate(
        method, found, reader, data.frames, progress, stride=data.stride
    )
    scores = measure.summary(sides)[0]
    return Tested(protocols.lines(scores, {}), scores, sides)


test.__test__ = False
