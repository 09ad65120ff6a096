"""The contract between a paper and the one training loop."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from vvi.runtime.fields import hints, literal_values
from vvi.types import Batch, Modality


@dataclass(frozen=True)
class MethodConfig:
    """Fields that the Config of every method has; a method adds its switches."""

    #: Trunk, by name or as `module:function` (`vvi.nn.backbone.build`).
    backbone: str = "resnet50"
    #: Weights to begin with: none, "imagenet" or a file.
    weights: str | None = None
    #: Frames T of a clip.
    frames: int = 6


def check_choices(config: MethodConfig) -> None:
    """Check the fields of a config that take one of a few values.

    Raises:
        ValueError: names the first field whose value its `Literal` type does not list.
    """
    for name, hint in hints(type(config)).items():
        allowed, value = literal_values(hint), getattr(config, name)
        if allowed and value not in allowed:
            choices = ", ".join(map(repr, allowed))
            raise ValueError(f"{name}={value!r}: choose from {choices}")


def follow_variant(config: MethodConfig, readings: Mapping[str, tuple]) -> None:
    """Give switches that are None the value of the config's variant, in place.

    Args:
        config: an instance with a field `variant`.
        readings: switch -> its value in each variant, in the order in which the type
            of `variant` lists them.
    """
    variants = literal_values(hints(type(config))["variant"])
    column = variants.index(config.variant)
    for name, values in readings.items():
        if getattr(config, name) is None:
            object.__setattr__(config, name, values[column])


def in_main_reading(
    tables: Mapping[str, Mapping[str, Mapping[str, Any]]],
) -> dict[str, dict[str, dict[str, Any]]]:
    """Tables of ablations whose rows take `variant="main"` unless a row says which variant it takes or is of another method."""
    return {
        table: {
            label: row
            if {"variant", "method"} & row.keys()
            else {"variant": "main"} | row
            for label, row in rows.items()
        }
        for table, rows in tables.items()
    }


@dataclass(frozen=True)
class Phase:
    """One optimiser step of an iteration.

    `parts`: attributes of the method whose parameters this phase moves; everything else gets no gradient. `epochs`: from (inside) to (outside), on the paper's clock. `fresh`: run
    forward again, since an earlier phase moved what this one reads. `lr`: a constant rate of its own instead of the schedule's. `optimiser`: phases of one name share momentum and
    moments over the union of their parts; a step touches only the parts of its own phase, weight decay included.
    """

    name: str
    parts: tuple[str, ...]
    epochs: tuple[float, float] = (0, math.inf)
    fresh: bool = False
    lr: float | None = None
    optimiser: str = "main"


@dataclass
class Output:
    """What forward hands to the losses: clip features before the neck (2B, D), class scores (2B, C), both visible first; `extra` holds what one paper alone needs.

    `watch`: scalars that the history keeps beside the losses and nothing minimises, such as how sure a classifier is. `streams`: how many blocks of B clips stand one after the
    other; a tensor here has B rows, one for each pair, or the same number for every clip of every stream, so that processes that share a batch can put theirs together.
    """

    feat: Tensor
    logits: Tensor
    extra: dict[str, Any] = field(default_factory=dict)
    watch: dict[str, Tensor] = field(default_factory=dict)
    streams: int = 2


class Method(nn.Module, ABC):
    """Base of every method: `phases`, `forward`, `losses`, `embed`.

    `slow` names the parts, or parts of parts ("trunk.stems"), that learn at the recipe's lower rate; `maps` the layer whose maps a heat map explains;
    `readings` other ways to embed with the same trained weights, name -> attributes of the method to set, each of them measured beside the usual one.
    """

    phases: tuple[Phase, ...]
    slow: tuple[str, ...] = ()
    maps: str = "trunk.layer4"
    readings: Mapping[str, Mapping[str, Any]] = {}

    @abstractmethod
    def forward(self, batch: Batch) -> Output:
        """Once per batch, shared by the phases that do not ask for a fresh one."""

    @abstractmethod
    def losses(self, out: Output, batch: Batch, phase: Phase) -> dict[str, Tensor]:
        """The named, weighted scalars of a phase; their sum is minimised."""

    @abstractmethod
    def embed(self, clips: Tensor, modality: Modality) -> Tensor:
        """Clips of one modality, (B, T, 3, H, W) -> (B, D) of unit norm: all that evaluation calls."""

    def inspect(self, clips: Tensor, modality: Modality) -> dict[str, Tensor]:
        """What figures show of the inside of the method, one row per clip (B, ...). "frame weight" (B, T) is also scored against the frames known to be noisy."""
        return {}

    def parameters_of(self, phase: Phase) -> list[nn.Parameter]:
        """The trainable parameters that a phase moves."""
        return [p for part in phase.parts for _, p in _named(part, getattr(self, part))]

    def groups(self, phase: Phase, slow: float) -> list[dict[str, Any]]:
        """Parameter groups of a phase with the factor that multiplies the learning rate."""
        split: dict[float, list[nn.Parameter]] = {}
        for part in phase.parts:
            for name, parameter in _named(part, getattr(self, part)):
                split.setdefault(
                    slow
                    if any(f"{name}.".startswith(f"{s}.") for s in self.slow)
                    else 1.0,
                    [],
                ).append(parameter)
        return [
            {"params": params, "factor": factor} for factor, params in split.items()
        ]


def _named(name: str, part: nn.Module | nn.Parameter) -> list[tuple[str, nn.Parameter]]:
    found = (
        [(name, part)]
        if isinstance(part, nn.Parameter)
        else part.named_parameters(name)
    )
    return [(full, p) for full, p in found if p.requires_grad]


def check_clips(clips: Tensor) -> None:
    """ValueError unless clips are (B, T, 3, H, W) and finite in shape: the classic silent error of clip models is a reshape that mixes time with channels."""
    if clips.ndim != 5 or clips.shape[2] != 3 or 0 in clips.shape:
        raise ValueError(
            f"clips must be (B, T, 3, H, W) with no empty side, got {tuple(clips.shape)}"
        )
    if not torch.is_floating_point(clips):
        raise ValueError(f"clips must be normalised floats, got {clips.dtype}")
