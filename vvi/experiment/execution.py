"""How a run is executed, apart from what it computes."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any, Literal, get_args

from vvi.engine import checkpoint, logs, train
from vvi.experiment.datasets import Pixels
from vvi.runtime import validation
from vvi.runtime.random import rank_and_world_size

#: The value of `retrain` that trains a run again once in each process.
ONCE: Literal["once"] = "once"


@dataclass(frozen=True)
class Execution:
    """Where a run is trained, from which pixels, and what is kept of it.

    Raises:
        ValueError: a value does not fit.
        RuntimeError: the package that writes the log is not installed.
    """

    #: Train even when a stored result exists. "once": unless this process made it, so
    #: that a page which shows a run at several places trains it a single time.
    retrain: bool | Literal["once"] = False
    #: "auto" (a GPU where there is one), "cpu", "cuda" or "cuda:1".
    device: str = "auto"
    #: A folder to read in place of the one that the config names.
    data: str | Path | None = None
    #: Whether to show bars. Only the first of several processes shows them.
    progress: bool = True
    #: Store the result and the weights.
    keep: bool = True
    #: Where frames come from in training, which changes the speed and no number.
    pixels: Pixels = "files"
    #: Called with (done, total) after every step. It may raise `train.Cancelled`: then
    #: nothing is stored.
    on_step: train.OnStep | None = None
    #: Seconds between two checkpoints of a run that is kept, 0 for each step.
    every: float = checkpoint.EVERY
    #: Train with `torch.compile`, which changes numbers as another machine would. The
    #: record says so.
    compiled: bool = False
    #: Refuse a checkpoint from where numbers come out differently (processor, device,
    #: number of threads or processes), or go on from it "anyway". The record says so.
    resume: Literal["same", "anyway"] = "same"
    #: "csv" or "tensorboard": write the losses to `$VVI_RUNS/<run>/log`.
    log: str | None = None

    def __post_init__(self) -> None:
        if self.retrain != ONCE:
            self._set("retrain", validation.flag("retrain", self.retrain))
        self._set("device", validation.device(self.device))
        self._set("pixels", validation.choice("pixels", self.pixels, get_args(Pixels)))
        if not isinstance(self.every, Real) or not self.every >= 0:
            raise ValueError(f"every={self.every!r} must be a number of seconds >= 0")
        choices = ("same", "anyway")
        self._set("resume", validation.choice("resume", self.resume, choices))
        logs.check(self.log)
        self._set("data", validation.folder("data", self.data))
        rank, _ = rank_and_world_size()
        self._set("progress", self.progress and rank == 0)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
