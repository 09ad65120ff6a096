"""Weights that were trained on one data set, tested on another."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from vvi import evaluate, experiment, findings, paths, store, trials
from vvi.config import DataConfig, RunConfig
from vvi.data import NAMES, digest
from vvi.data.layout import USUAL, locate
from vvi.experiment import REAL, WEIGHTS
from vvi.methods.base import Method
from vvi.types import Tracklet

CLASSIFIER = "neck.classifier.weight"  # (C, D): its rows are the people trained on
RUN = re.compile(r"[0-9a-f]{4,12}")


@dataclass(frozen=True)
class Trained:
    """A method with its weights, the config that it was trained with, and on what."""

    method: Method
    settings: RunConfig
    data_name: str


def load(source: str | Path, settings: RunConfig | None = None) -> Trained:
    """Load a trained method.

    Args:
        source: a run (its hash, or the first letters of it, as `vvi runs` lists them),
            a folder of one, or a file of weights.
        settings: of the weights in a file; a run knows its own.

    Raises:
        FileNotFoundError: there is no such run, or it has no weights on this machine.
        ValueError: the weights are of another network.
    """
    file, record = _find(source)
    if record:
        settings = record.config
        data_name = experiment.Result(record, stored=True).data_name
    elif settings is None:
        what = "holds weights alone: say which network, as METHOD, --preset and --set"
        raise ValueError(f"{file} {what}")
    else:
        data_name = file.name
    tensors = _tensors(file)
    if CLASSIFIER not in tensors:
        raise ValueError(f"{file} holds no {CLASSIFIER}: it is of another network")
    plain = replace(settings, weights=None)  # no need for those of ImageNet
    method = experiment.build(plain, len(tensors[CLASSIFIER]))
    try:
        method.load_state_dict(tensors)
    except RuntimeError as error:
        why = str(error).splitlines()[-1].strip()
        raise ValueError(f"{file} is not of {settings.method}: {why}") from error
    return Trained(method.eval(), settings, data_name)


def _find(source: str | Path) -> tuple[Path, store.Record | None]:
    """The file of weights that is meant, and the record beside it."""
    path = Path(source).expanduser()
    if RUN.fullmatch(str(source)) and not path.exists():
        path = _folder_of_run(str(source))
    file = path / WEIGHTS if path.is_dir() else path
    record = None
    if file.name == WEIGHTS and (file.parent / "record.json").is_file():
        record = store.load_record(file.parent)
    if file.is_file():
        return file, record
    if not record:
        raise FileNotFoundError(f"there are no weights {file}")
    again = f"vvi train {record.config.method} --retrain"
    what = "its weights are not on this machine (records hold none)"
    raise FileNotFoundError(f"run {file.parent.name}: {what}; train it: {again}")


def _folder_of_run(name: str) -> Path:
    """The folder of the one run whose hash begins so, with weights where there are any."""
    folders = (paths.runs(), paths.records())
    found = [f for folder in folders for f in folder.glob(f"{name}*") if f.is_dir()]
    names = sorted({folder.name for folder in found})
    if len(names) > 1:
        raise ValueError(f"{name} may be {', '.join(names)}: give more letters")
    if not names:
        where = f"{paths.runs()} (`vvi runs` lists what there is)"
        raise FileNotFoundError(f"there is no run {name} under {where}")
    return next((f for f in found if (f / WEIGHTS).is_file()), found[0])


def _tensors(file: Path) -> Mapping[str, Tensor]:
    """The tensors of a file, read without executing anything."""
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        content = torch.load(file, map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise ValueError(f"{file} is damaged: {error}") from error
    except Exception as error:  # torch raises errors of pickle and zip here
        why = str(error).splitlines()[0]
        raise ValueError(f"{file} is no file of weights: {why}") from error
    tensors = content.get("state_dict", content) if isinstance(content, dict) else None
    if not tensors or not all(isinstance(v, Tensor) for v in tensors.values()):
        raise ValueError(f"{file} holds no tensors by name")
    return tensors


def resolve(trained: DataConfig, data: str | Path | None, **options: Any) -> Target:
    """Find the data to test on, to be read at the size that a network was trained with.

    Args:
        trained: data that it was trained on.
        data: a folder; None: what `$VVI_DATA` holds, or the embedded set trained on.
        options: of the reader (strict, foreign, min_seq_len), and layout.
    """
    wanted = options.pop("layout", USUAL)
    if data is None and trained.synthetic:
        name = f"synthetic {trained.source}"
        return Target(replace(trained, **options), None, name)
    data = data or paths.real_data()
    if data is None:
        where = "name its folder with --data, or set VVI_DATA"
        raise FileNotFoundError(f"these weights were trained on a licensed set: {where}")
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


def test(trained: Trained, target: Target, seed: int = 0, progress: bool = False) -> Tested:
    """Score a trained method on a data set, by the protocol of that set.

    SYSU-MM01: the mean over ten galleries. RegDB: the mean over the test people of ten
    trials, but of the trial alone whose other people the method was trained on.

    Args:
        trained: from `load`.
        target: from `resolve`.
        seed: of the run that is tested; it names its trial of RegDB.
        progress: show how far it is.
    """
    data, method = target.data, trained.method
    found = experiment.dataset(data, target.root, progress, seed)
    reader = experiment.frames(data, found, progress)

    def embed(tracklets: Sequence[Tracklet]) -> np.ndarray:
        return evaluate.embed(method, tracklets, reader, data.frames, progress=progress)

    if found.layout == "sysu-mm01":
        scores = trials.sysu_scores(found.root, embed, strict=data.strict)
        named = {f"{name}/trials": values for name, values in scores.items()}
        return Tested(trials.lines({}, named), {})
    if found.layout == "regdb" and data.source != trained.settings.data.source:
        scores = trials.regdb_scores(found.root, embed, strict=data.strict)
        lines = [trials.line(name, values, "trials") for name, values in scores.items()]
        return Tested(lines, {})
    sides = evaluate.evaluate(method, found, reader, data.frames, progress)
    scores = findings.summary(sides)[0]
    return Tested(trials.lines(scores, {}), scores)


test.__test__ = False
