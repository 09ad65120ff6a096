"""The one loop: walk the phases of a method, knowing no paper."""

from __future__ import annotations

import ctypes
import math
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from vvi.config import Recipe
from vvi.data.loader import TrainLoader
from vvi.engine import distributed, optim
from vvi.engine.progress import Progress
from vvi.methods.base import Method
from vvi.runtime import cpu, gpu, validation
from vvi.runtime.random import rank_and_world_size
from vvi.types import Batch

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from vvi.engine.checkpoint import Checkpoint
    from vvi.engine.logs import Log

#: Raised when training gives other numbers, so that stored results are not reused.
VERSION = 1
#: Called after every step with how many are done, of how many.
OnStep = Callable[[int, int], None]
_M_TRIM_THRESHOLD = -1  # malloc.h
_M_MMAP_THRESHOLD = -3
_CHECK_EVERY = 20  # steps between checks of the losses on a GPU: each forces a sync
_LONGEST_WAIT = timedelta(days=1)  # of other ranks while the first evaluates


class DivergedError(RuntimeError):
    """A loss or a watched value is NaN or infinite. The message names step and term."""


class Cancelled(Exception):
    """An `on_step` raises this to end a run between two steps. No result is left."""


def fabric(device: str = "auto", precision: str = "32-true") -> Fabric:
    """Return the engine under the loop: device, precision, and the other processes.

    Under `torchrun` or `fabric run` the first call waits for all of them.

    Args:
        device: "auto" (a GPU when there is one), "cpu", "cuda" or "cuda:1".
        precision: as Fabric names it.

    Raises:
        ValueError: there is no such device.
    """
    from lightning_fabric import Fabric

    kind, _, number = validation.device(device).partition(":")
    _check_device(device, kind, number)
    keep_memory()
    accelerator = kind
    if kind == "auto":
        accelerator = "cuda" if gpu.is_available() else "cpu"
    _, world_size = rank_and_world_size()
    if world_size > 1:
        if number:
            raise ValueError(
                f"device {device!r} is for one process: with several, say {kind}, and "
                "each takes a GPU of its own"
            )
        return _join(accelerator, precision)
    devices = [int(number)] if number else 1
    precision = usable_precision(precision, accelerator)
    return Fabric(accelerator=accelerator, devices=devices, precision=precision)


def _check_device(device: str, kind: str, number: str) -> None:
    """Refuse a GPU that torch does not see.

    Args:
        device: as it was asked for, for the message.
        kind: "auto", "cpu" or "cuda".
        number: of the GPU, empty where none was asked for.

    Raises:
        ValueError: there is no such GPU.
    """
    if kind == "cuda" and not gpu.is_available():
        raise ValueError(
            "device cuda was asked for and torch sees no GPU: use auto or cpu"
        )
    if number and int(number) >= gpu.count():
        raise ValueError(
            f"no device {device!r}: torch sees {gpu.count()} GPU(s), counted from 0"
        )


def usable_precision(precision: str, accelerator: str) -> str:
    """Return the precision that a run can have.

    On a CPU without bfloat16 it would be emulated at many times the cost, so float32
    takes its place: the same training with other roundings.
    """
    if precision == "bf16-mixed" and accelerator == "cpu" and not has_bfloat16():
        return "32-true"
    return precision


def has_bfloat16() -> bool:
    """Return whether this processor has instructions for bfloat16, and may use them.

    `ONEDNN_MAX_CPU_ISA`, such as AVX2, has a run computed as on an older processor.
    """
    if cpu.limit() and not cpu.limit().endswith(("BF16", "FP16", "AMX")):
        return False
    known = torch.cpu.get_capabilities()
    return any(known.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def device_name(engine: Fabric) -> str:
    """Return what records call a device: "cpu", or the product name of the GPU."""
    if engine.device.type == "cpu":
        return str(engine.device)
    return gpu.name(engine.device)


def _join(accelerator: str, precision: str) -> Fabric:
    """Join the processes that `torchrun` or `fabric run` started."""
    from lightning_fabric import Fabric
    from lightning_fabric.strategies import DDPStrategy

    _, world_size = rank_and_world_size()
    local_size = int(os.environ["LOCAL_WORLD_SIZE"])
    engine = Fabric(
        accelerator=accelerator,
        devices=local_size,
        num_nodes=world_size // local_size,
        strategy=DDPStrategy(timeout=_LONGEST_WAIT),
        precision=usable_precision(precision, accelerator),
    )
    if "LT_CLI_USED" not in os.environ:  # `fabric run` joins them by itself
        engine.launch()
    return engine


def keep_memory() -> None:
    """Ask glibc to keep what a step frees for the next one.

    Giving large blocks back and faulting them in again takes some 15 % of a step on a
    CPU.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:  # absent from other C libraries
        mallopt(_M_MMAP_THRESHOLD, 2**30)
        mallopt(_M_TRIM_THRESHOLD, 2**30)


def total_steps(recipe: Recipe, loader: TrainLoader) -> int:
    """Return the steps of a run: the recipe's, or epochs times those of a pass."""
    return recipe.steps or recipe.epochs * loader.steps_per_epoch


def fit(
    method: Method,
    loader: TrainLoader,
    recipe: Recipe,
    engine: Fabric,
    workers: int = 0,
    progress: bool = True,
    on_step: OnStep | None = None,
    checkpoint: Checkpoint | None = None,
    faster: bool = False,
    log: Log | None = None,
) -> dict[str, list[float]]:
    """Train a method in place, each rank on its part of every batch.

    Args:
        method: what is trained.
        loader: its batches.
        recipe: optimisers and schedule.
        engine: from `fabric`.
        workers: processes that decode images.
        progress: whether to show a bar.
        on_step: called after every step. It ends the run by raising `Cancelled`.
        checkpoint: file to resume from and to save to at intervals.
        faster: whether to compile the stages of the trunks.
        log: where the losses go beside the history.

    Returns:
        "phase/term" -> value at every step (NaN where the phase was not active),
        "watch/name" for what the method watches, and "lr".

    Raises:
        DivergedError: a loss or a watched value is NaN or infinite.
        Cancelled: `on_step` ended the run.
        MismatchError: the checkpoint was made where numbers come out differently.
        ValueError: ranks resume from different steps.
    """
    steps = total_steps(recipe, loader)
    engine.to_device(method)
    method.train()
    optimisers = optim.build(method, recipe)
    start, before = checkpoint.restore(method, optimisers) if checkpoint else (0, {})
    _check_start(start)
    log = log if distributed.is_first() else None
    if log:
        log.begin(before)
    check_every = 1 if engine.device.type == "cpu" else _CHECK_EVERY
    history = _History(check_every, start, before, log)
    _, world_size = rank_and_world_size()
    bar = Progress(steps, start, engine.device, progress)
    with (
        bar,
        compiled(method) if faster else nullcontext(),
        closing(log) if log else nullcontext(),
    ):
        for batch in loader.batches(start, steps, engine.device, workers):
            epoch = optim.clock(recipe, batch.step, steps)
            rate = optim.rate(recipe, batch.step, steps)
            terms = iteration(method, batch, optimisers, epoch, rate, engine)
            history.add(batch.step, terms, rate)
            bar.step(2 * world_size * batch.vis.shape[:2].numel())
            done = batch.step + 1
            if _is_due(checkpoint, done, steps):
                checkpoint.save(done, method, optimisers, history.flush())
            if on_step:
                on_step(done, steps)
        return history.close()


def _check_start(start: int) -> None:
    """Refuse ranks that go on from different steps.

    Raises:
        ValueError: this rank has another step than the first.
    """
    first = distributed.broadcast_from_first(lambda: start)
    if start != first:
        rank, _ = rank_and_world_size()
        raise ValueError(
            f"the first process goes on from step {first}, process {rank} from "
            f"{start}: VVI_RUNS must be one folder that all nodes see"
        )


def _is_due(checkpoint: Checkpoint | None, done: int, steps: int) -> bool:
    """Return whether this rank saves the run after this step.

    Args:
        checkpoint: None where nothing is saved.
        done: steps that are done.
        steps: of the run.
    """
    if checkpoint is None or not distributed.is_first():
        return False
    return checkpoint.due(done, steps)


@contextmanager
def compiled(method: Method) -> Iterator[None]:
    """Run the residual stages of a method's trunks through `torch.compile`.

    Names of weights stay, numbers change by rounding. Needs a C++ compiler, on a GPU
    Triton, and a minute or two for the first step.
    """
    stages = [module for module in method.modules() if _is_stage(module)]
    for stage in stages:
        stage.forward = torch.compile(stage.forward)
    try:
        yield
    finally:
        for stage in stages:
            del stage.forward


def _is_stage(module: nn.Module) -> bool:
    """Return whether a module is a sequence of residual blocks."""
    if not isinstance(module, nn.Sequential) or not len(module):
        return False
    return all(isinstance(block, BasicBlock | Bottleneck) for block in module)


def iteration(
    method: Method,
    batch: Batch,
    optimisers: dict,
    epoch: float,
    rate: float,
    engine: Fabric,
) -> dict[str, torch.Tensor]:
    """Run the active phases: forward, losses, gradient for their parts alone, step.

    Forward is shared by the phases that do not ask for a fresh one. Each rank forwards
    its part of the batch, the losses see all rows, and the gradients are of the whole
    batch.

    Args:
        method: what is trained.
        batch: the part of this rank.
        optimisers: by the name that phases give them.
        epoch: by the clock of the recipe, which says which phases are active.
        rate: learning rate of this step.
        engine: from `fabric`.

    Returns:
        "phase/term" -> loss, and "watch/name" for what the method watches.
    """
    active = [p for p in method.phases if p.epochs[0] <= epoch < p.epochs[1]]
    whole, out, terms = distributed.global_batch(batch), None, {}
    for i, phase in enumerate(active):
        params = method.parameters_of(phase)
        with engine.autocast():
            if out is None or phase.fresh:
                out = distributed.gather_output(method(batch), batch)
            losses = method.losses(out, whole, phase)
        shared_later = i + 1 < len(active) and not active[i + 1].fresh
        engine.backward(sum(losses.values()), inputs=params, retain_graph=shared_later)
        distributed.average_gradients(params)
        optimiser = optimisers[phase.optimiser]
        optim.set_rate(optimiser, phase, rate)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        terms |= {f"{phase.name}/{k}": value.detach() for k, value in losses.items()}
        terms |= {f"watch/{k}": value.detach() for k, value in out.watch.items()}
    return terms


class _History:
    """Losses by step, kept as tensors until they are checked: a GPU need not sync."""

    def __init__(
        self,
        check_every: int,
        steps: int = 0,
        values: Mapping[str, list[float]] | None = None,
        log: Log | None = None,
    ):
        self.check_every = check_every
        self.steps = steps
        self.log = log
        self.pending: list[tuple[int, dict[str, torch.Tensor], float]] = []
        self.values: dict[str, list[float]] = defaultdict(list, values or {})

    def add(self, step: int, terms: dict[str, torch.Tensor], lr: float) -> None:
        """Add the terms of a step.

        Args:
            step: from 0.
            terms: losses and what is watched, scalars by name.
            lr: learning rate of the step.
        """
        self.pending.append((step, terms, lr))
        if len(self.pending) >= self.check_every:
            self.flush()

    def flush(self) -> dict[str, list[float]]:
        """Check pending terms, write them to the log, and return the history.

        Raises:
            DivergedError: a loss or a watched value is NaN or infinite.
        """
        numbers = self._read_pending()
        for step, terms, lr in self.pending:
            logged = {"lr": lr}
            for name in terms:
                value = next(numbers)
                self._check(step, name, value)
                self._pad(self.values[name])
                self.values[name].append(value)
                logged[name] = value
            self.values["lr"].append(lr)
            if self.log:
                self.log.add(step, logged)
            self.steps += 1
        self.pending = []
        return self.values

    def close(self) -> dict[str, list[float]]:
        """Return the history, every column as long as the run."""
        self.flush()
        for column in self.values.values():
            self._pad(column)
        return dict(self.values)

    def _read_pending(self) -> Iterator[float]:
        """Read all pending tensors with one sync."""
        tensors: list[torch.Tensor] = []
        for _, terms, _ in self.pending:
            tensors += [tensor.double() for tensor in terms.values()]
        return iter(torch.stack(tensors).tolist() if tensors else ())

    def _check(self, step: int, name: str, value: float) -> None:
        """Raise DivergedError if a loss or a watched value is not finite."""
        if not math.isfinite(value):
            raise DivergedError(
                f"step {step}: {name} is {value}; last finite values: {self._last()}"
            )

    def _pad(self, column: list[float]) -> None:
        """Fill the steps at which a phase was not active."""
        column.extend([math.nan] * (self.steps - len(column)))

    def _last(self) -> str:
        columns = self.values.items()
        last = [f"{name} {column[-1]:.4g}" for name, column in columns if column]
        return ", ".join(last) or "none"
