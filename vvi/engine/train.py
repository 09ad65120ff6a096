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
from vvi.runtime import validation
from vvi.runtime.random import rank_and_world_size
from vvi.types import Batch

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from vvi.engine.checkpoint import Checkpoint
    from vvi.engine.logs import Log

VERSION = 1
OnStep = Callable[
    [int, int], None
]  # told after every step: how many are done, of how many
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_CHECK_EVERY = (
    20  # steps between looks at the losses on a GPU: each look makes the host wait
)


class DivergedError(RuntimeError):
    """A loss became NaN or infinite; the message names step, phase and term."""


class Cancelled(Exception):
    """Raised by an `on_step` to end a run between two of its steps; it leaves no result."""


def fabric(device: str = "auto", precision: str = "32-true") -> Fabric:
    """The engine under the loop: device, precision, and with `torchrun` or `fabric run` many processes. device: "auto" (a GPU when there is one), "cpu", "cuda" or "cuda:1"."""
    from lightning_fabric import Fabric

    kind, _, number = validation.device(device).partition(":")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "device cuda was asked for and torch sees no GPU: use auto or cpu"
        )
    if number and int(number) >= torch.cuda.device_count():
        raise ValueError(
            f"no device {device!r}: torch sees {torch.cuda.device_count()} GPU(s), counted from 0"
        )
    keep_memory()
    accelerator = (
        "cuda"
        if kind == "auto" and torch.cuda.is_available()
        else "cpu"
        if kind == "auto"
        else kind
    )
    if rank_and_world_size()[1] > 1:
        if number:
            raise ValueError(
                f"device {device!r} is for one process: with several, say {kind}, and each takes a GPU of its own"
            )
        return _joined(accelerator, precision)
    return Fabric(
        accelerator=accelerator,
        devices=[int(number)] if number else 1,
        precision=usable(precision, accelerator),
    )


def usable(precision: str, accelerator: str) -> str:
    """Return the precision that a run can have: bfloat16 only where the processor has it.

    Elsewhere it would be emulated, at many times the cost, so that float32 takes its
    place: the same training with other roundings.
    """
    if precision == "bf16-mixed" and accelerator == "cpu" and not has_bfloat16():
        return "32-true"
    return precision


def has_bfloat16() -> bool:
    """Return whether this processor has instructions for bfloat16."""
    known = torch.cpu.get_capabilities()
    return any(known.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def device_name(engine: Fabric) -> str:
    """What records and pages call the device of an engine: "cpu", or the GPU by its product name."""
    return (
        str(engine.device)
        if engine.device.type == "cpu"
        else torch.cuda.get_device_name(engine.device)
    )


def _joined(accelerator: str, precision: str) -> Fabric:
    """One of the processes that `torchrun` or `fabric run` started, each with a device of its own; the first call waits for all of them."""
    from lightning_fabric import Fabric
    from lightning_fabric.strategies import DDPStrategy

    here = int(os.environ["LOCAL_WORLD_SIZE"])
    strategy = DDPStrategy(
        timeout=timedelta(days=1)
    )  # others wait while the first evaluates; `torchrun` ends them when one dies
    engine = Fabric(
        accelerator=accelerator,
        devices=here,
        num_nodes=rank_and_world_size()[1] // here,
        strategy=strategy,
        precision=usable(precision, accelerator),
    )
    if "LT_CLI_USED" not in os.environ:  # `fabric run` joins them by itself
        engine.launch()
    return engine


def keep_memory() -> None:
    """Ask glibc to keep what a step frees for the next one: giving large blocks back and faulting them in again takes some 15 % of a step on a CPU."""
    mallopt = (
        getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    )
    if mallopt:  # absent from other C libraries
        mallopt(_M_MMAP_THRESHOLD, 2**30)
        mallopt(_M_TRIM_THRESHOLD, 2**30)


def total_steps(recipe: Recipe, loader: TrainLoader) -> int:
    """Steps of a run: those of the recipe, else its epochs times the sampler's passes."""
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
    """Train in place, each process of a run on its share of every batch; returns the history: "phase/term" -> value at every step (NaN where the phase was not active),
    "watch/name" for what the method watches, plus "lr". An `on_step` may end the run by raising `Cancelled`. With a `checkpoint` training goes on from where it was left and is
    kept now and then. faster: with the stages of the trunks compiled. log: where the losses go beside the history."""
    steps = total_steps(recipe, loader)
    engine.to_device(method)
    method.train()
    optimisers = optim.build(method, recipe)
    start, before = checkpoint.restore(method, optimisers) if checkpoint else (0, {})
    if start != (theirs := distributed.broadcast_from_first(lambda: start)):
        raise ValueError(
            f"the first process goes on from step {theirs}, process {rank_and_world_size()[0]} from {start}: VVI_RUNS must be one folder that all nodes see"
        )
    log = log if distributed.is_first() else None
    if log:
        log.begin(before)
    history = _History(
        1 if engine.device.type == "cpu" else _CHECK_EVERY, start, before, log
    )
    bar = Progress(steps, start, engine.device, progress)
    with (
        bar,
        compiled(method) if faster else nullcontext(),
        closing(log) if log else nullcontext(),
    ):
        for batch in loader.batches(start, steps, engine.device, workers):
            epoch, rate = (
                optim.clock(recipe, batch.step, steps),
                optim.rate(recipe, batch.step, steps),
            )
            terms = iteration(method, batch, optimisers, epoch, rate, engine)
            history.add(batch.step, terms, rate)
            bar.step(2 * rank_and_world_size()[1] * batch.vis.shape[:2].numel())
            if (
                checkpoint
                and distributed.is_first()
                and checkpoint.due(batch.step + 1, steps)
            ):
                checkpoint.save(batch.step + 1, method, optimisers, history.flush())
            if on_step:
                on_step(batch.step + 1, steps)
        return history.close()


@contextmanager
def compiled(method: Method) -> Iterator[None]:
    """The residual stages of a method's trunks through `torch.compile`, within this context: names of weights stay, numbers change by rounding. Needs a C++ compiler, on a GPU
    Triton, and a minute or two for the first step."""
    stages = [
        m
        for m in method.modules()
        if isinstance(m, nn.Sequential)
        and len(m)
        and all(isinstance(block, (BasicBlock, Bottleneck)) for block in m)
    ]
    for stage in stages:
        stage.forward = torch.compile(stage.forward)
    try:
        yield
    finally:
        for stage in stages:
            del stage.forward


def iteration(
    method: Method,
    batch: Batch,
    optimisers: dict,
    epoch: float,
    rate: float,
    engine: Fabric,
) -> dict[str, torch.Tensor]:
    """One pass over the active phases: forward (shared unless a phase asks for a fresh one), losses, gradient for the phase's parts alone, step.

    Of several processes each forwards its share of the batch; the losses see all rows, the gradients are of the whole batch.
    """
    active = [
        phase for phase in method.phases if phase.epochs[0] <= epoch < phase.epochs[1]
    ]
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
        terms |= {
            f"{phase.name}/{name}": value.detach() for name, value in losses.items()
        }
        terms |= {f"watch/{name}": value.detach() for name, value in out.watch.items()}
    return terms


class _History:
    """Keeps losses as tensors until they are looked at, so that a GPU need not wait for the host."""

    def __init__(
        self,
        check_every: int,
        steps: int = 0,
        values: Mapping[str, list[float]] | None = None,
        log: Log | None = None,
    ):
        self.check_every, self.pending, self.steps, self.log = (
            check_every,
            [],
            steps,
            log,
        )
        self.values: dict[str, list[float]] = defaultdict(list, values or {})

    def add(self, step: int, terms: dict[str, torch.Tensor], lr: float) -> None:
        self.pending.append((step, terms, lr))
        if len(self.pending) >= self.check_every:
            self.flush()

    def flush(self) -> dict[str, list[float]]:
        seen = [tensor for _, terms, _ in self.pending for tensor in terms.values()]
        values = iter(
            torch.stack([tensor.double() for tensor in seen]).tolist() if seen else ()
        )  # one wait for all
        for step, terms, lr in self.pending:
            logged = {"lr": lr}
            for name in terms:
                if not math.isfinite(value := next(values)):
                    raise DivergedError(
                        f"step {step}: the loss {name} is {value}; last finite values: {self._last()}"
                    )
                column = self.values[name]
                column.extend([float("nan")] * (self.steps - len(column)))
                column.append(value)
                logged[name] = value
            self.values["lr"].append(lr)
            if self.log:
                self.log.add(step, logged)
            self.steps += 1
        self.pending = []
        return self.values

    def close(self) -> dict[str, list[float]]:
        self.flush()
        for column in self.values.values():
            column.extend([float("nan")] * (self.steps - len(column)))
        return dict(self.values)

    def _last(self) -> str:
        return (
            ", ".join(
                f"{name} {column[-1]:.4g}"
                for name, column in self.values.items()
                if column
            )
            or "none"
        )
