"""A config becomes a result: the stored one when there is one, else a training run."""

from __future__ import annotations

import contextlib
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save

from vvi.config import RunConfig
from vvi.engine import checkpoint, distributed, train
from vvi.evaluation import evaluate
from vvi.experiment import measure, store
from vvi.experiment.datasets import open_data, resolve_data
from vvi.experiment.execution import ONCE, Execution
from vvi.experiment.result import Result
from vvi.experiment.trained_network import CONFIG, load_trained
from vvi.experiment.training import (
    MADE_HERE,
    train_and_measure,
    versions,
    write_log_again,
)
from vvi.methods.base import Method
from vvi.metrics import Metrics
from vvi.runtime import atomic, paths
from vvi.runtime.random import rank_and_world_size
from vvi.types import Direction


def run(
    settings: RunConfig, execution: Execution | None = None, **options: Any
) -> Result:
    """Return the result of a config: the stored one, else train it now and store it.

    Stored results are sought under `$VVI_RUNS`, then under `book/records`. One of other
    numeric versions is reported in a warning and not used. Killed at any moment, the
    same call goes on from the last checkpoint to the same numbers. Of two processes
    that want one run, one trains and the other waits. Under `torchrun` all processes
    train one run: the first looks, evaluates and writes, and all return it.

    Args:
        settings: of the run.
        execution: where and how it is executed.
        **options: fields of `Execution`, such as `device="cpu"` or `retrain=True`.

    Raises:
        ValueError: a setting or an option does not fit.
    """
    if not isinstance(settings, RunConfig):
        kind = type(settings).__name__
        raise ValueError(
            f"run takes a RunConfig, got {kind}: vvi.config.preset(SIZE, METHOD) makes "
            "one"
        )
    execution = replace(execution or Execution(), **options)
    settings = resolve_data(settings, execution.data)
    _join_other_processes(execution)
    record = None if _is_due(settings, execution) else _find(settings, execution)
    if record:
        return Result(record, stored=True)
    if execution.keep:
        return _train_and_save(settings, execution)
    record, _ = train_and_measure(settings, execution)
    return Result(record, stored=False)


def _join_other_processes(execution: Execution) -> None:
    """Join the other processes of a run before anything is decided."""
    _, world_size = rank_and_world_size()
    if world_size > 1:
        train.fabric(execution.device)


def _find(settings: RunConfig, execution: Execution) -> store.Record | None:
    """Find the stored record of a run, and warn of one that is stale."""
    record, notes = distributed.broadcast_from_first(
        lambda: store.find(settings, versions(settings))
    )
    for note in notes:
        warnings.warn(note, stacklevel=3)
    if record:
        checkpoint.tidy(paths.runs() / settings.hash)
        write_log_again(record, execution.log)
    return record


def _train_and_save(settings: RunConfig, execution: Execution) -> Result:
    """Train a run while no other process does."""
    folder = paths.runs() / settings.hash
    with _lock(folder):
        due = _is_due(settings, execution)
        record = None if due else _made_meanwhile(settings)
        if record:
            write_log_again(record, execution.log)
            return Result(record, stored=True)
        record, method = train_and_measure(settings, execution)
        if distributed.is_first():
            _save(record, method)
            checkpoint.remove(folder)
    MADE_HERE.add(settings.hash)
    return Result(record, stored=False)


def _is_due(settings: RunConfig, execution: Execution) -> bool:
    """Return whether to train a run in spite of a stored result."""
    if execution.retrain == ONCE:
        return settings.hash not in MADE_HERE
    return bool(execution.retrain)


def _lock(folder: Path) -> contextlib.AbstractContextManager:
    """Lock the folder of a run, in the first of several processes."""
    if distributed.is_first():
        return atomic.exclusive_lock(folder)
    return contextlib.nullcontext()


def _made_meanwhile(settings: RunConfig) -> store.Record | None:
    """Find what another process made while this one waited for the lock."""
    folder = paths.runs() / settings.hash
    return distributed.broadcast_from_first(
        lambda: store.current(folder, versions(settings))
    )


def _save(record: store.Record, method: Method) -> None:
    """Store a record and the weights of its method."""
    state = method.state_dict().items()
    tensors = {name: tensor.contiguous().cpu() for name, tensor in state}
    weights = save(tensors, {CONFIG: record.config.to_json()})
    store.save_record(record, paths.runs(), weights)


def train_if_missing(settings: RunConfig, num_ids: int, **options: Any) -> Method:
    """Load the trained method of a config, trained first where its weights are missing.

    Args:
        settings: of the run.
        num_ids: identities that it is trained on.
        **options: fields of `Execution`.
    """
    try:
        return load_trained(settings, num_ids)
    except FileNotFoundError:
        run(settings, **options | {"retrain": True})
        return load_trained(settings, num_ids)


def sides(
    settings: RunConfig,
    data: str | Path | None = None,
    device: str = "auto",
    progress: bool = False,
) -> dict[Direction, evaluate.Side]:
    """Embed the test people with a trained run, to be scored in any way.

    Args:
        settings: a run whose weights are on this machine.
        data: folder to read in place of the one that the config names.
        device: where features are computed.
        progress: whether to show a bar.

    Returns:
        Direction -> features, identities and cameras of both sides.

    Raises:
        FileNotFoundError: the weights are not here.
    """
    settings = resolve_data(settings, data)
    opened = open_data(settings.data, data, seed=settings.seed, progress=progress)
    method = load_trained(settings, len(opened.dataset.labels))
    method.to(train.fabric(device).device)
    return measure.evaluate_on(method, opened, progress)


def reranked(
    settings: RunConfig,
    data: str | Path | None = None,
    device: str = "auto",
    **options: float,
) -> dict[Direction, Metrics]:
    """Return the metrics of a trained run after k-reciprocal re-ranking, by direction.

    Args:
        settings: a run whose weights are on this machine.
        data: folder to read in place of the one that the config names.
        device: where features are computed.
        **options: k1, k2 and weight of `vvi.evaluation.rerank.rerank`.
    """
    by_direction = sides(settings, data, device)
    return {name: side.reranked(**options) for name, side in by_direction.items()}
