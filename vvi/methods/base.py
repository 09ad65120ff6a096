"""The contract between a paper and the one training loop."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from vvi.runtime.fields import check_choice, check_fields, hints, literal_values
from vvi.types import Batch, Modality

#: Frames n of a clip in Fig. 6 of MITML, as we train them. Paper: every n from 1 to 8.
FRAME_COUNTS = (1, 2, 4, 6, 8)

#: Bounds of weights, margins, rates and epochs.
NOT_NEGATIVE = (0, math.inf)
#: Bounds of shares.
SHARE = (0, 1)
#: Bounds of counts.
AT_LEAST_ONE = (1, math.inf)


@dataclass(frozen=True)
class MethodConfig:
    """Fields that the Config of every method has, before switches of its own.

    Raises:
        ValueError: a value is of another type or out of bounds.
    """

    #: Trunk, by name or as module:function, see `vvi.nn.backbone.build`.
    backbone: str = "resnet50"
    #: Weights to begin with: none, "imagenet" or a file.
    weights: str | None = None
    #: Frames T of a clip.
    frames: int = 6

    #: Field -> least and greatest value. A method adds those of its own fields.
    BOUNDS = {"frames": AT_LEAST_ONE}
    #: Switch -> what None means in each variant, as `follow_variant` takes it.
    READINGS = {}

    def __post_init__(self):
        check_choices(self)
        if self.READINGS:
            follow_variant(self, self.READINGS)
        check_fields(type(self), vars(self), self.BOUNDS)


def check_choices(config: MethodConfig) -> None:
    """Check the fields of a config that take one of a few values.

    Raises:
        ValueError: names the first field whose value its `Literal` type does not list.
    """
    for name, hint in hints(type(config)).items():
        if literal_values(hint):
            check_choice(name, getattr(config, name), hint)


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
    """Add `variant="main"` to the rows of a method's tables.

    A row that names its variant, or that is of another method, stays as it is.

    Args:
        tables: title of a table -> label of a row -> switches that it changes.
    """
    marked = {}
    for title, rows in tables.items():
        marked[title] = {label: _in_main(row) for label, row in rows.items()}
    return marked


def _in_main(row: Mapping[str, Any]) -> dict[str, Any]:
    if "variant" in row or "method" in row:
        return dict(row)
    return {"variant": "main", **row}


@dataclass(frozen=True)
class Phase:
    """One optimiser step of an iteration."""

    #: Shown before the names of its losses.
    name: str
    #: Attributes of the method whose parameters it moves. Nothing else gets a gradient.
    parts: tuple[str, ...]
    #: First epoch, and the epoch before which it ends, of the recipe's `epochs`.
    epochs: tuple[float, float] = (0, math.inf)
    #: Run forward again, since an earlier phase moved what this one reads.
    fresh: bool = False
    #: Constant learning rate, in place of the schedule's. SGD moves such a phase,
    #: whatever the optimiser of the recipe, with `optim.SGD_DECAY` under AdamW.
    lr: float | None = None
    #: Phases of one optimiser share momentum and moments over the union of their parts.
    #: A step touches the parts of its own phase only, weight decay included.
    optimiser: str = "main"


@dataclass
class Output:
    """What `Method.forward` hands to `Method.losses`, visible clips first."""

    #: Clip features before the neck, (2B, D).
    feat: Tensor
    #: Class scores, (2B, C).
    logits: Tensor
    #: What the losses of one paper alone read.
    extra: dict[str, Any] = field(default_factory=dict)
    #: Scalars that the history keeps beside the losses, and that nothing minimises.
    watch: dict[str, Tensor] = field(default_factory=dict)
    #: Streams S of a batch. A tensor has B rows, one for each pair, or S B rows (or a
    #: multiple), stream by stream. Ranks gather by this.
    streams: int = 2


class Method(nn.Module, ABC):
    """Base of every method: `phases`, `forward`, `losses`, `embed`."""

    #: Optimiser steps of an iteration, in order.
    phases: tuple[Phase, ...]
    #: Parts, or parts of parts ("trunk.stems"), at the recipe's lower learning rate.
    slow: tuple[str, ...] = ()
    #: The layer whose maps a heat map explains.
    maps: str = "trunk.layer4"
    #: Other ways to embed with the same weights, each measured beside the usual one:
    #: name -> attributes of the method to set.
    readings: Mapping[str, Mapping[str, Any]] = {}

    @abstractmethod
    def forward(self, batch: Batch) -> Output:
        """Compute what the losses read: once a batch, and again for a fresh phase."""

    @abstractmethod
    def losses(self, out: Output, batch: Batch, phase: Phase) -> dict[str, Tensor]:
        """Compute the weighted losses of a phase, whose sum is minimised.

        Args:
            out: what `forward` returned for the batch.
            batch: the clips and their classes.
            phase: one of `phases`.

        Returns:
            Name of a loss -> scalar.
        """

    @abstractmethod
    def embed(self, clips: Tensor, modality: Modality) -> Tensor:
        """Embed clips of one modality, as a search does.

        (B, T, 3, H, W) -> (B, D) of unit norm.
        """

    def inspect(self, clips: Tensor, modality: Modality) -> dict[str, Tensor]:
        """Compute what figures show of the inside, one row for each clip (B, ...).

        "frame weight" (B, T) is also scored against the frames known to be noisy.
        """
        return {}

    def parameters_of(self, phase: Phase) -> list[nn.Parameter]:
        """List the trainable parameters that a phase moves."""
        return [parameter for _, parameter in self._trainable(phase)]

    def groups(self, phase: Phase, slow: float) -> list[dict[str, Any]]:
        """Group the parameters of a phase by the factor of their learning rate.

        Args:
            phase: whose parameters.
            slow: the factor of those that `self.slow` names. Others have 1.
        """
        by_factor: dict[float, list[nn.Parameter]] = {}
        for name, parameter in self._trainable(phase):
            factor = slow if self._is_slow(name) else 1.0
            by_factor.setdefault(factor, []).append(parameter)
        return [
            {"params": params, "factor": factor} for factor, params in by_factor.items()
        ]

    def _trainable(self, phase: Phase) -> list[tuple[str, nn.Parameter]]:
        """List names and parameters that a phase moves, in the order of its parts."""
        named = []
        for part in phase.parts:
            value = getattr(self, part)
            if isinstance(value, nn.Parameter):
                named.append((part, value))
            else:
                named += value.named_parameters(part)
        return [(name, value) for name, value in named if value.requires_grad]

    def _is_slow(self, name: str) -> bool:
        return any(f"{name}.".startswith(f"{part}.") for part in self.slow)


def check_clips(clips: Tensor) -> None:
    """Check the shape and the type of clips.

    A reshape that mixes time with channels is the classic silent error of clip models.

    Raises:
        ValueError: they are not floats of shape (B, T, 3, H, W), a tensor of torch.
    """
    if not torch.is_tensor(clips):
        raise ValueError(
            f"clips must be a tensor of torch, got {type(clips).__name__}: "
            "torch.as_tensor makes one"
        )
    if clips.ndim != 5 or clips.shape[2] != 3 or 0 in clips.shape:
        raise ValueError(
            "clips must be (B, T, 3, H, W) with no empty side, "
            f"got {tuple(clips.shape)}"
        )
    if not torch.is_floating_point(clips):
        raise ValueError(f"clips must be normalised floats, got {clips.dtype}")
