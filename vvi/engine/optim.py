"""Optimisers by phase and the learning rate by epoch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from vvi.config import Recipe
    from vvi.methods.base import Method, Phase

#: Weight decay of SGD for a phase with its own rate where the recipe is AdamW's, whose
#: decay is none for SGD: that of MITML's released code.
SGD_DECAY = 5e-4


def clock(recipe: Recipe, step: int, steps: int) -> float:
    """Return the paper's epoch at a step of a run.

    It runs evenly, or with `drops` at such speeds that each milestone is reached at its
    share of the run.

    Args:
        recipe: with epochs, milestones and drops.
        step: from 0.
        steps: of the run.

    >>> from vvi.config import Recipe
    >>> even, bent = Recipe(), Recipe(drops=(0.6, 0.85))
    >>> [clock(r, s, 1000) for r in (even, bent) for s in (0, 600, 850)]
    [0.0, 120.0, 170.0, 0.0, 35.0, 80.0]
    """
    if not recipe.drops:
        return step * recipe.epochs / steps
    shares = (0.0, *recipe.drops, 1.0)
    epochs = (0.0, *recipe.milestones, recipe.epochs)
    return float(np.interp(step / steps, shares, epochs))


def rate(recipe: Recipe, step: int, steps: int) -> float:
    """Return the learning rate of a step.

    Linear warm-up by whole epochs, lr (e+1) / warmup, or by steps, then the schedule of
    the recipe.

    Args:
        recipe: with the schedule.
        step: from 0.
        steps: of the run.

    >>> from vvi.config import Recipe
    >>> [round(rate(Recipe(), 100 * e, 20_000), 6) for e in (0, 9, 10, 34, 35, 79, 80)]
    [0.01, 0.1, 0.1, 0.1, 0.01, 0.01, 0.001]
    >>> cosine = Recipe(schedule="cosine", warmup_steps=10)
    >>> [round(rate(cosine, s, 1000), 4) for s in (0, 9, 10, 500, 999)]
    [0.01, 0.1, 0.1, 0.05, 0.0]
    """
    share = step / steps
    epoch = math.floor(clock(recipe, step, steps) + 1e-9)
    if recipe.schedule == "one-cycle":
        return recipe.lr * _one_cycle(share)
    done, warmup = step + 1, recipe.warmup_steps
    if warmup is None:
        done, warmup = epoch + 1, recipe.warmup
    if done <= warmup:
        return recipe.lr * done / warmup
    if recipe.schedule == "cosine":
        return recipe.lr * (1 + math.cos(math.pi * share)) / 2
    return recipe.lr * recipe.gamma ** sum(epoch >= m for m in recipe.milestones)


def _one_cycle(share: float) -> float:
    """Rise from 4 % over the first 30 % of a run, then fall as a cosine to zero."""
    rise = 0.3
    if share < rise:
        return 0.04 + 0.96 * share / rise
    return (1 + math.cos(math.pi * (share - rise) / (1 - rise))) / 2


def unused(recipe: Recipe, phases: Iterable[Phase]) -> dict[str, str]:
    """Return the fields of a recipe that change no number of a run, each with why.

    Args:
        recipe: of the run.
        phases: of its method. One with a rate of its own is moved by SGD whatever the
            optimiser of the recipe, and one with epochs of its own reads the clock.

    >>> from vvi.config import Recipe
    >>> unused(Recipe(optimiser="adamw"), ())["momentum"]
    'optimiser=adamw has none'
    """
    phases = list(phases)
    fields: dict[str, str] = {}
    if recipe.optimiser == "adamw" and all(phase.lr is None for phase in phases):
        why = "optimiser=adamw has none"
        fields |= dict.fromkeys(("momentum", "nesterov"), why)
    one_cycle = recipe.schedule == "one-cycle"
    if one_cycle:
        why = "schedule=one-cycle has a rise of its own"
        fields |= dict.fromkeys(("warmup", "warmup_steps"), why)
    elif recipe.warmup_steps is not None:
        fields["warmup"] = f"warmup_steps={recipe.warmup_steps} takes its place"
    if recipe.schedule == "steps":
        return fields
    why = f"schedule={recipe.schedule} has no milestones"
    fields["gamma"] = why
    has_clock = not one_cycle and recipe.warmup_steps is None
    has_clock = has_clock or any(phase.epochs != (0, math.inf) for phase in phases)
    if not has_clock:
        fields |= dict.fromkeys(("milestones", "drops"), why)
    elif not recipe.drops:
        fields["milestones"] = why
    if not has_clock and recipe.steps:
        fields["epochs"] = f"steps={recipe.steps} are the length of the run"
    return fields


def build(method: Method, recipe: Recipe) -> dict[str, torch.optim.Optimizer]:
    """Build the optimisers that the phases name, each over the parts of its phases.

    Raises:
        ValueError: phases of one optimiser differ in their constant rate.
    """
    optimisers = {}
    for name in dict.fromkeys(phase.optimiser for phase in method.phases):
        phases = [phase for phase in method.phases if phase.optimiser == name]
        if len({phase.lr for phase in phases}) > 1:
            several = ", ".join(phase.name for phase in phases)
            raise ValueError(
                f"phases {several} share the optimiser {name!r} and differ in their "
                "rate"
            )
        parts: dict[str, None] = {}
        for phase in phases:
            parts |= dict.fromkeys(phase.parts)
        whole = replace(phases[0], parts=tuple(parts))
        optimisers[name] = _optimiser(method.groups(whole, recipe.slow), recipe, whole)
    return optimisers


def set_rate(optimiser: torch.optim.Optimizer, phase: Phase, usual: float) -> None:
    """Set the rate of every group for one step.

    Args:
        optimiser: of the phase.
        phase: whose constant rate, where it has one, goes to every group.
        usual: rate of this step, else multiplied by the factor of the group.
    """
    for group in optimiser.param_groups:
        group["lr"] = usual * group["factor"] if phase.lr is None else phase.lr


def _optimiser(
    groups: list[dict], recipe: Recipe, phase: Phase
) -> torch.optim.Optimizer:
    lr = phase.lr if phase.lr is not None else recipe.lr
    fused = _fused(groups, recipe)
    if recipe.optimiser == "adamw" and phase.lr is None:
        return torch.optim.AdamW(
            groups, lr=lr, weight_decay=recipe.weight_decay, fused=fused
        )
    decay = recipe.weight_decay if recipe.optimiser == "sgd" else SGD_DECAY
    return torch.optim.SGD(
        groups,
        lr=lr,
        momentum=recipe.momentum,
        weight_decay=decay,
        nesterov=recipe.nesterov and recipe.momentum > 0,  # without it both are one
        fused=fused,
    )


def _fused(groups: list[dict], recipe: Recipe) -> bool | None:
    """Return whether one kernel moves all weights.

    It rounds other last bits than the loop that made the results stored in float32 on a
    CPU.
    """
    params = chain.from_iterable(group["params"] for group in groups)
    if recipe.precision != "32-true" or all(p.is_cuda for p in params):
        return True
    return None
