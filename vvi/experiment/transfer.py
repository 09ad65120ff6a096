"""Weights that were trained on one data set, tested on another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vvi.config import DataConfig
from vvi.data import NAMES, digest
from vvi.data.layout import DEFAULT
from vvi.evaluation import protocols
from vvi.evaluation.evaluate import Side
from vvi.experiment import measure, store
from vvi.experiment.datasets import REAL, Data, locate_as, open_data, readable_as
from vvi.experiment.result import Result
from vvi.experiment.trained_network import RECORD, WEIGHTS, Trained
from vvi.methods.base import Method
from vvi.runtime import paths
from vvi.types import DataError


@dataclass(frozen=True)
class Target:
    """Data to test on."""

    #: How they are read.
    data: DataConfig
    #: Where they lie. None is the embedded set.
    root: Path | None
    #: What a page calls them.
    name: str


@dataclass(frozen=True)
class Tested:
    """The result of a test."""

    #: To print.
    lines: list[str]
    #: Numbers by direction, where there is one trial.
    scores: Mapping[str, Mapping[str, float]]
    #: Features of queries and gallery by direction, empty over several trials.
    sides: Mapping[str, Side] = field(default_factory=dict)


def data_name(trained: Trained) -> str:
    """Name the data that a network was trained on, as far as its file says."""
    folder = trained.source.parent
    if trained.source.name == WEIGHTS and (folder / RECORD).is_file():
        return Result(store.load_record(folder), stored=True).data_name
    return trained.source.name


def resolve(trained: DataConfig, data: str | Path | None, **options: Any) -> Target:
    """Find the data to test on, to be read at the size that a network was trained with.

    Args:
        trained: data that it was trained on.
        data: a folder. None is what `$VVI_DATA` holds, or the embedded set trained on.
        **options: of the reader (strict, foreign, min_seq_len), and layout.

    Raises:
        FileNotFoundError: there are no data.
        DataError: the data are of another layout than the one asked for.
    """
    wanted = options.pop("layout", None)
    if data is None and trained.synthetic:
        _refuse_other_layout(trained, wanted)
        name = f"synthetic {trained.source}"
        return Target(replace(trained, **options), None, name)
    data = data or paths.real_data()
    if data is None:
        cure = "name its folder with --data, or set VVI_DATA"
        raise FileNotFoundError(f"these weights were trained on a licensed set: {cure}")
    root, layout = locate_as(data, wanted, DEFAULT)
    content = digest.of_set(root, layout, paths.cache())
    config = replace(trained, source=f"{REAL}{content}", split="test")
    config = readable_as(config, layout)
    name = root.resolve().name or NAMES[layout]
    return Target(replace(config, **options), root, f"{name} ({layout}, {content})")


def _refuse_other_layout(trained: DataConfig, wanted: str | None) -> None:
    """Refuse a layout that the drawn data of a run do not have."""
    if wanted not in (None, "auto", trained.layout):
        raise DataError(
            f"the drawn data of this run are {trained.layout}, not {wanted}: "
            "name a folder with --data, or leave the layout out"
        )


def test(
    trained: Trained, target: Target, seed: int = 0, progress: bool = False
) -> Tested:
    """Score a trained method on a data set, by the protocol of that set.

    SYSU-MM01: the mean over ten galleries. RegDB: the mean over the test people of ten
    trials, but of the trial alone whose other people the method was trained on.

    Args:
        trained: from `trained_network.load_run_or_file`.
        target: from `resolve`.
        seed: of the run that is tested. It names its trial of RegDB.
        progress: whether to show a bar.
    """
    data = open_data(target.data, target.root, seed=seed, progress=progress)
    layout = data.dataset.layout
    if layout == "sysu-mm01":
        return _over_galleries(trained.method, data, progress)
    if layout == "regdb" and target.data.source != trained.settings.data.source:
        return _over_trials(trained.method, data, progress)
    sides = measure.evaluate_on(trained.method, data, progress)
    scores, _ = measure.summary(sides)
    return Tested(protocols.protocol_lines(scores, {}), scores, sides)


test.__test__ = False


def _over_galleries(method: Method, data: Data, progress: bool) -> Tested:
    """Score the ten galleries of SYSU-MM01 in each of its settings."""
    embed, strict = measure.embedding(method, data, progress), data.config.strict
    scores = protocols.sysu_scores(data.dataset.root, embed, strict=strict)
    arrays = {f"{name}/trials": values for name, values in scores.items()}
    return Tested(protocols.protocol_lines({}, arrays), {})


def _over_trials(method: Method, data: Data, progress: bool) -> Tested:
    """Score the test people of all trials of RegDB."""
    embed, strict = measure.embedding(method, data, progress), data.config.strict
    scores = protocols.regdb_scores(data.dataset.root, embed, strict=strict)
    return Tested(
        [protocols.format_mean(k, v, "trials") for k, v in scores.items()], {}
    )
