"""Optimisers by phase and the learning rate by epoch."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from vvi.config import Recipe
    from vvi.methods.base import Method, Phase


def clock(recipe: Recipe, step: int, steps: int) -> float:
    """The paper's epoch at a step of a run: even, or with `drops` running at such speeds that each milestone is reached at its share of the run.

    >>> from vvi.config import Recipe
    >>> even, bent = Recipe(), Recipe(drops=(0.6, 0.85))
    >>> [clock(r, s, 1000) for r in (even, bent) for s in (0, 600, 850)]
    [0.0, 120.0, 170.0, 0.0, 35.0, 80.0]
    """
    if not recipe.drops:
        return step * recipe.epochs / steps
    return float(
        np.interp(
            step / steps,
            (0.0, *recipe.drops, 1.0),
            (0.0, *recipe.milestones, recipe.epochs),
        )
    )


def rate(recipe: Recipe, step: int, steps: int) -> float:
    """Learning rate of a step: linear warm-up by whole epochs, lr (e+1) / warmup, or by steps, then the schedule of the recipe.

    >>> from vvi.config import Recipe
    >>> [round(rate(Recipe(), 100 * e, 20_000), 6) for e in (0, 9, 10, 34, 35, 79, 80)]
    [0.01, 0.1, 0.1, 0.1, 0.01, 0.01, 0.001]
    >>> [round(rate(Recipe(schedule="cosine", warmup_steps=10), s, 1000), 4) for s in (0, 9, 10, 500, 999)]
    [0.01, 0.1, 0.1, 0.05, 0.0]
    """
    share, epoch = step / steps, math.floor(clock(recipe, step, steps) + 1e-9)
    if recipe.schedule == "one-cycle":
        rise = 0.3
        return recipe.lr * (
            0.04 + 0.96 * share / rise
            if share < rise
            else (1 + math.cos(math.pi * (share - rise) / (1 - rise))) / 2
        )
    warm = step + 1, recipe.warmup_steps
    if recipe.warmup_steps is None:
        warm = epoch + 1, recipe.warmup
    if warm[0] <= warm[1]:
        return recipe.lr * warm[0] / warm[1]
    if recipe.schedule == "cosine":
        return recipe.lr * (1 + math.cos(math.pi * share)) / 2
    return recipe.lr * recipe.gamma ** sum(epoch >= m for m in recipe.milestones)


def build(method: Method, recipe: Recipe) -> dict[str, torch.optim.Optimizer]:
    """The optimisers that the phases name, each over the parts of all its phases. ValueError where phases of one optimiser differ in their constant rate."""
    built = {}
    for name in dict.fromkeys(phase.optimiser for phase in method.phases):
        phases = [phase for phase in method.phases if phase.optimiser == name]
        if len({phase.lr for phase in phases}) > 1:
            raise ValueError(
                f"phases {', '.join(phase.name for phase in phases)} share the optimiser {name!r} and differ in their rate"
            )
        whole = replace(
            phases[0],
            parts=tuple(
                dict.fromkeys(part for phase in phases for part in phase.parts)
            ),
        )
        built[name] = _optimiser(method.groups(whole, recipe.slow), recipe, whole)
    return built


def set_rate(optimiser: torch.optim.Optimizer, phase: Phase, rate: float) -> float:
    """Set every group to the rate of this step (or the phase's own constant) times the group's factor; returns the rate."""
    now = phase.lr if phase.lr is not None else rate
    for group in optimiser.param_groups:
        group["lr"] = now * (group["factor"] if phase.lr is None else 1.0)
    return now


def _optimiser(
    groups: list[dict], recipe: Recipe, phase: Phase
) -> torch.optim.Optimizer:
    lr = phase.lr if phase.lr is not None else recipe.lr
    # one kernel for all weights, which rounds other last bits than the loop that made the results stored in float32 on a CPU
    fused = (
        True
        if recipe.precision != "32-true"
        or all(p.is_cuda for group in groups for p in group["params"])
        else None
    )
    if recipe.optimiser == "adamw" and phase.lr is None:
        return torch.optim.AdamW(
            groups, lr=lr, weight_decay=recipe.weight_decay, fused=fused
        )
    decay = recipe.weight_decay if recipe.optimiser == "sgd" else 5e-4
    return torch.optim.SGD(
        groups,
        lr=lr,
        momentum=recipe.momentum,
        weight_decay=decay,
        nesterov=recipe.nesterov,
        fused=fused,
    )
