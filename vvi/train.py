"""The one loop: walk the phases of a method, knowing no paper."""

from __future__ import annotations

import ctypes
import sys
from collections import defaultdict
from typing import TYPE_CHECKING

import torch
from tqdm import tqdm

from vvi import optim
from vvi.config import Recipe
from vvi.data.loader import TrainLoader
from vvi.methods.base import Method
from vvi.types import Batch

if TYPE_CHECKING:
    from lightning_fabric import Fabric

VERSION = 1
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_CHECK_EVERY = 20  # steps between looks at the losses on a GPU: each look makes the host wait


class DivergedError(RuntimeError):
    """A loss became NaN or infinite; the message names step, phase and term."""


def fabric(device: str = "auto", precision: str = "32-true") -> Fabric:
    """The engine under the loop: device, precision, and later many of them. device: "auto" (a GPU when there is one), "cpu", "cuda" or "cuda:1"."""
    from lightning_fabric import Fabric

    kind, _, number = device.partition(":")
    if kind not in ("auto", "cpu", "cuda"):
        raise ValueError(f"no device {device!r}: use auto, cpu, cuda or cuda:N")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError("device cuda was asked for and torch sees no GPU: use auto or cpu")
    keep_memory()
    accelerator = "cuda" if kind == "auto" and torch.cuda.is_available() else "cpu" if kind == "auto" else kind
    return Fabric(accelerator=accelerator, devices=[int(number)] if number else 1, precision=precision)


def keep_memory() -> None:
    """Ask glibc to keep what a step frees for the next one: giving large blocks back and faulting them in again takes some 15 % of a step on a CPU."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:  # absent from other C libraries
        mallopt(_M_MMAP_THRESHOLD, 2**30)
        mallopt(_M_TRIM_THRESHOLD, 2**30)


def total_steps(recipe: Recipe, loader: TrainLoader) -> int:
    """Steps of a run: those of the recipe, else its epochs times the sampler's passes."""
    return recipe.steps or recipe.epochs * loader.steps_per_epoch


def fit(method: Method, loader: TrainLoader, recipe: Recipe, engine: Fabric, workers: int = 0, progress: bool = True) -> dict[str, list[float]]:
    """Train in place; returns the history: "phase/term" -> value at every step (NaN where the phase was not active), "watch/name" for what
    the method watches, plus "lr"."""
    steps = total_steps(recipe, loader)
    engine.to_device(method)
    method.train()
    optimisers = optim.build(method, recipe)
    history = _History(check_every=1 if engine.device.type == "cpu" else _CHECK_EVERY)
    with tqdm(total=steps, desc="train", unit="step", disable=not progress, mininterval=1) as bar:
        for batch in loader.batches(0, steps, engine.device, workers):
            epoch = batch.step * recipe.epochs / steps
            terms = iteration(method, batch, optimisers, recipe, epoch, engine)
            history.add(batch.step, terms, optim.rate(recipe, epoch))
            bar.update()
    return history.close()


def iteration(method: Method, batch: Batch, optimisers: dict, recipe: Recipe, epoch: float, engine: Fabric) -> dict[str, torch.Tensor]:
    """One pass over the active phases: forward (shared unless a phase asks for a fresh one), losses, gradient for the phase's parts alone, step."""
    active = [phase for phase in method.phases if phase.epochs[0] <= epoch < phase.epochs[1]]
    out, terms = None, {}
    for i, phase in enumerate(active):
        params = method.parameters_of(phase)
        with engine.autocast():
            if out is None or phase.fresh:
                out = method(batch)
            losses = method.losses(out, batch, phase)
        shared_later = i + 1 < len(active) and not active[i + 1].fresh
        engine.backward(sum(losses.values()), inputs=params, retain_graph=shared_later)
        optimiser = optimisers[phase.optimiser]
        optim.set_rate(optimiser, recipe, phase, epoch)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        terms |= {f"{phase.name}/{name}": value.detach() for name, value in losses.items()}
        terms |= {f"watch/{name}": value.detach() for name, value in out.watch.items()}
    return terms


class _History:
    """Keeps losses as tensors until they are looked at, so that a GPU need not wait for the host."""

    def __init__(self, check_every: int):
        self.check_every, self.pending, self.steps = check_every, [], 0
        self.values: dict[str, list[float]] = defaultdict(list)

    def add(self, step: int, terms: dict[str, torch.Tensor], lr: float) -> None:
        self.pending.append((step, terms, lr))
        if len(self.pending) >= self.check_every:
            self.flush()

    def flush(self) -> None:
        for step, terms, lr in self.pending:
            for name, tensor in terms.items():
                value = float(tensor)
                if not torch.isfinite(tensor):
                    raise DivergedError(f"step {step}: the loss {name} is {value}; last finite values: {self._last()}")
                column = self.values[name]
                column.extend([float("nan")] * (self.steps - len(column)))
                column.append(value)
            self.values["lr"].append(lr)
            self.steps += 1
        self.pending = []

    def close(self) -> dict[str, list[float]]:
        self.flush()
        for column in self.values.values():
            column.extend([float("nan")] * (self.steps - len(column)))
        return dict(self.values)

    def _last(self) -> str:
        return ", ".join(f"{name} {column[-1]:.4g}" for name, column in self.values.items() if column) or "none"
