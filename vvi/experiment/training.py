"""Train the method of a config, or find its weights, and measure it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from vvi import methods
from vvi.config import RunConfig
from vvi.data import synthetic
from vvi.data.loader import TrainLoader
from vvi.engine import checkpoint, distributed, logs, train
from vvi.evaluation import evaluate, probes
from vvi.experiment import measure, store
from vvi.experiment.datasets import Data, data_about, open_data
from vvi.experiment.execution import Execution
from vvi.experiment.trained_network import WEIGHTS, build, load_weights
from vvi.methods.base import Method
from vvi.runtime import paths
from vvi.runtime.random import rank_and_world_size

if TYPE_CHECKING:
    from lightning_fabric import Fabric

SMALL_HEIGHT = 128  # pixels of frames that are decoded faster than handed over
MOST_WORKERS = 8
#: Hashes of the runs that this process made and stored.
MADE_HERE: set[str] = set()


def versions(settings: RunConfig) -> dict[str, int]:
    """Return the numeric versions of what makes a run.

    They are small integers in the code, raised only when what they compute changes.
    """
    numbers = {
        "loop": train.VERSION,
        "method": methods.module(settings.method).VERSION,
        "evaluate": evaluate.VERSION,
        "probes": probes.VERSION,
    }
    if settings.data.synthetic:
        numbers["generator"] = synthetic.VERSION
    return numbers


def train_and_measure(
    settings: RunConfig, execution: Execution
) -> tuple[store.Record, Method]:
    """Train a run, or load the weights of an equal training, and measure it.

    Args:
        settings: of the run, its data resolved.
        execution: where and how.

    Returns:
        The record of the run, and its trained method.
    """
    engine = train.fabric(execution.device, settings.recipe.precision)
    data = open_data(
        settings.data,
        execution.data,
        seed=settings.seed,
        progress=execution.progress,
        pixels=execution.pixels,
        device=engine.device,
    )
    method = build(settings, len(data.dataset.labels))
    training = _train_or_load(settings, execution, engine, data, method)
    measured = distributed.broadcast_from_first(
        lambda: measure.measure_run(method, data, execution.progress)
    )
    record = store.Record(
        config=settings,
        versions=versions(settings),
        environment=training.environment,
        history=training.history,
        scores=measured.scores,
        seconds={"train": round(training.seconds, 2)} | measured.seconds,
        probes=measured.probes,
        arrays=measured.arrays,
        data=data_about(settings.data, data.dataset),
    )
    return record, method


def same_training(settings: RunConfig) -> store.Record | None:
    """Find a stored run with weights here whose training this one would repeat."""
    for twin in _differing_in_search(settings):
        record = _with_weights(twin)
        if record:
            return record
    return None


def _differing_in_search(settings: RunConfig) -> Iterator[RunConfig]:
    """Yield the runs that differ in nothing but what training does not see.

    That is who is searched, and the options under `AT_SEARCH` of the method.
    """
    unseen = getattr(methods.module(settings.method), "AT_SEARCH", ())
    seen = {k: v for k, v in settings.options.items() if k not in unseen}
    splits = ("test", "val") if settings.data.synthetic else (settings.data.split,)
    for split in splits:
        data = replace(settings.data, split=split)
        for options in (seen, settings.options):
            other = replace(settings, options=options, data=data)
            if other.hash != settings.hash:
                yield other


def _with_weights(settings: RunConfig) -> store.Record | None:
    """Return the record of a run whose weights are on this machine."""
    folder = paths.runs() / settings.hash
    if not (folder / WEIGHTS).is_file():
        return None
    return store.current(folder, versions(settings))


def write_log_again(record: store.Record, log: str | None) -> None:
    """Write the log of a result that was trained before, where one is wanted."""
    if log and distributed.is_first():
        logs.write(log, paths.runs() / record.config.hash, record.history)


@dataclass(frozen=True)
class _Training:
    """What the training of a run leaves beside the weights."""

    #: Losses and learning rate at every step.
    history: Mapping[str, list[float]]
    #: By all processes that worked on the run, one after the other.
    seconds: float
    #: Where it happened.
    environment: Mapping[str, Any]


def _train_or_load(
    settings: RunConfig,
    execution: Execution,
    engine: Fabric,
    data: Data,
    method: Method,
) -> _Training:
    """Train a method in place, or fill it with the weights of the same training."""
    environment = _environment(settings, execution, engine)
    repeated = None
    if execution.keep and execution.retrain is not True:
        repeated = distributed.broadcast_from_first(lambda: same_training(settings))
    if repeated and execution.retrain and repeated.config.hash not in MADE_HERE:
        repeated = None
    if not repeated:
        return _train(settings, execution, engine, data, method, environment)
    load_weights(method, repeated.config)
    write_log_again(replace(repeated, config=settings), execution.log)
    method.to(engine.device)
    made = dict(repeated.environment)
    return _Training(repeated.history, repeated.seconds["train"], made)


def _train(
    settings: RunConfig,
    execution: Execution,
    engine: Fabric,
    data: Data,
    method: Method,
    environment: dict[str, Any],
) -> _Training:
    """Train a method in place, going on from its checkpoint where there is one."""
    rank, world_size = rank_and_world_size()
    loader = TrainLoader(
        data.dataset,
        data.frames,
        settings.data,
        settings.recipe,
        settings.seed,
        (rank, world_size),
    )
    saver = None
    if execution.keep:
        saver = _checkpoint(settings, execution, engine.device, environment)
    start = time.perf_counter()
    log = execution.log
    history = train.fit(
        method,
        loader,
        settings.recipe,
        engine,
        workers=_workers(data),
        progress=execution.progress,
        on_step=execution.on_step,
        checkpoint=saver,
        faster=execution.compiled,
        log=logs.Log(log, paths.runs() / settings.hash) if log else None,
    )
    seconds = saver.seconds if saver else time.perf_counter() - start
    if saver and saver.moved:
        environment = environment | {"resumed": saver.moved}
    return _Training(history, seconds, environment)


def _workers(data: Data) -> int:
    """Return how many processes decode images, 0 for images that decode fast."""
    if data.frames.store is not None or data.config.height <= SMALL_HEIGHT:
        return 0
    return min(MOST_WORKERS, torch.get_num_threads())


def _environment(
    settings: RunConfig, execution: Execution, engine: Fabric
) -> dict[str, Any]:
    """Return where a run happens, with all that its numbers depend on.

    Each of several processes normalises its own clips, so their number counts, too.
    """
    environment = dict(store.environment(train.device_name(engine)))
    _, world_size = rank_and_world_size()
    if world_size > 1:
        environment["processes"] = world_size
    if execution.compiled:
        environment["compiled"] = True
    precision = train.usable_precision(settings.recipe.precision, engine.device.type)
    if precision != settings.recipe.precision:
        environment["precision"] = precision
    return environment


def _checkpoint(
    settings: RunConfig,
    execution: Execution,
    device: torch.device,
    environment: Mapping[str, Any],
) -> checkpoint.Checkpoint:
    """Return the checkpoint of a run, bound to what computes the same bits.

    Those of a CPU depend on its kind and on the number of threads, all on the number
    of processes.
    """
    names = ["torch", "device", "precision", "compiled", "processes"]
    if device.type == "cpu":
        names += ["processor", "threads"]
    return checkpoint.Checkpoint(
        folder=paths.runs() / settings.hash,
        run={"config": settings.hash, "versions": versions(settings)},
        where={name: environment[name] for name in names if name in environment},
        every=execution.every,
        anyway=execution.resume == "anyway",
    )
