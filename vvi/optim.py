"""Optimisers by phase and the learning rate by epoch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from vvi.config import Recipe
    from vvi.methods.base import Method, Phase


def rate(recipe: Recipe, epoch: float) -> float:
    """Learning rate of an epoch, counted from 0: linear warm-up lr (e+1) / warmup, then a factor `gamma` at each milestone.

    >>> from vvi.config import Recipe
    >>> [round(rate(Recipe(), e), 6) for e in (0, 9, 10, 34, 35, 79, 80)]
    [0.01, 0.1, 0.1, 0.1, 0.01, 0.01, 0.001]
    """
    whole = int(epoch)
    if whole < recipe.warmup:
        return recipe.lr * (whole + 1) / recipe.warmup
    return recipe.lr * recipe.gamma ** sum(whole >= m for m in recipe.milestones)


def build(method: Method, recipe: Recipe) -> dict[str, torch.optim.Optimizer]:
    """The optimisers that the phases name, each over the parts of all its phases. ValueError where phases of one optimiser differ in their constant rate."""
    built = {}
    for name in dict.fromkeys(phase.optimiser for phase in method.phases):
        phases = [phase for phase in method.phases if phase.optimiser == name]
        if len({phase.lr for phase in phases}) > 1:
            raise ValueError(f"phases {', '.join(phase.name for phase in phases)} share the optimiser {name!r} and differ in their rate")
        whole = replace(phases[0], parts=tuple(dict.fromkeys(part for phase in phases for part in phase.parts)))
        built[name] = _optimiser(method.groups(whole, recipe.slow), recipe, whole)
    return built


def set_rate(optimiser: torch.optim.Optimizer, recipe: Recipe, phase: Phase, epoch: float) -> float:
    """Set every group to the rate of this epoch (or the phase's own constant) times the group's factor; returns the rate."""
    now = phase.lr if phase.lr is not None else rate(recipe, epoch)
    for group in optimiser.param_groups:
        group["lr"] = now * (group["factor"] if phase.lr is None else 1.0)
    return now


def _optimiser(groups: list[dict], recipe: Recipe, phase: Phase) -> torch.optim.Optimizer:
    lr = phase.lr if phase.lr is not None else recipe.lr
    # one kernel for all weights, which rounds other last bits than the loop that made the results stored in float32 on a CPU
    fused = True if recipe.precision != "32-true" or all(p.is_cuda for group in groups for p in group["params"]) else None
    if recipe.optimiser == "adamw" and phase.lr is None:
        return torch.optim.AdamW(groups, lr=lr, weight_decay=recipe.weight_decay, fused=fused)
    decay = recipe.weight_decay if recipe.optimiser == "sgd" else 5e-4
    return torch.optim.SGD(groups, lr=lr, momentum=recipe.momentum, weight_decay=decay, nesterov=recipe.nesterov, fused=fused)
