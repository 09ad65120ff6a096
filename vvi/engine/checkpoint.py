"""A run in the middle of its training: one safetensors file, written whole every so many seconds, from which the same command goes on to the same bits.

It holds parameters and buffers, the state of every optimiser, the losses so far, the step (from which rates and draws follow) and the state of torch's global generators.
"""

from __future__ import annotations

import contextlib
import json
import time
import warnings
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vvi.runtime import atomic

if TYPE_CHECKING:
    from vvi.methods.base import Method

FILE, FORMAT = "checkpoint.safetensors", 1
EVERY = 30.0  # seconds
SHARE = 0.05  # of the time of a run that checkpoints may take
Optimisers = Mapping[str, torch.optim.Optimizer]
History = dict[str, list[float]]


class MismatchError(ValueError):
    """A checkpoint was made where numbers come out differently: nothing is touched, the message says what to do."""


@dataclass
class Checkpoint:
    """Where and how often a run in training is kept.

    `run`: what must be equal for a checkpoint to be of this run (config, versions), or it is reported and not used; `where`: what must be equal for the same bits (device, torch,
    threads), or the run is refused; `every`: seconds between two, 0 for each step; `anyway`: go on although `where` differs, with a warning; `seconds`: of training, by all
    processes that worked on this run; `moved`: each change of `where` that a run went on in spite of, which its record says.
    """

    folder: Path
    run: Mapping[str, Any]
    where: Mapping[str, Any]
    every: float = EVERY
    anyway: bool = False
    seconds: float = field(default=0.0, init=False)
    moved: list[str] = field(default_factory=list, init=False)

    def __post_init__(self):
        self.file = self.folder / FILE
        self._clock = self._saved = time.monotonic()
        self._cost = 0.0

    def restore(self, method: Method, optimisers: Optimisers) -> tuple[int, History]:
        """Put method, optimisers and generators where they were; returns how many steps are done and their history, (0, {}) when there is nothing to go on from."""
        self._clock = self._saved = time.monotonic()
        found = self._read(method)
        if found is None:
            return 0, {}
        about, tensors = found
        with torch.no_grad():
            for name, tensor in _tensors(method).items():
                tensor.copy_(tensors[f"method/{name}"])
        for name, optimiser in optimisers.items():
            _restore_optimiser(
                optimiser,
                {
                    key: value
                    for key, value in tensors.items()
                    if key.startswith(f"optimiser/{name}/")
                },
            )
        torch.set_rng_state(tensors["random/cpu"])
        device = next(method.parameters()).device
        if "random/cuda" in tensors and device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random/cuda"], device)
        self.seconds, self.moved = (
            about["seconds"],
            [*about.get("moved", []), *self._moves(about)],
        )
        return about["step"], {
            name: row.tolist()
            for name, row in zip(about["history"], tensors["history"], strict=True)
        }

    def due(self, done: int, total: int) -> bool:
        """Whether it is time: after so many seconds, and at the end of training, so that evaluation may be killed too. Where a save is slow it is made less often (`SHARE`)."""
        wait = max(self.every, self._cost / SHARE) if self.every else 0.0
        return done == total or time.monotonic() - self._saved >= wait

    def save(
        self,
        step: int,
        method: Method,
        optimisers: Optimisers,
        history: Mapping[str, list[float]],
    ) -> None:
        """Keep a run of which `step` steps are done."""
        self._count()
        device = next(method.parameters()).device
        tensors = {
            f"method/{name}": tensor for name, tensor in _tensors(method).items()
        }
        for name, optimiser in optimisers.items():
            states = optimiser.state_dict()["state"].items()
            tensors |= {
                f"optimiser/{name}/{place}/{key}": value
                for place, state in states
                for key, value in state.items()
                if value is not None
            }
        tensors |= {"random/cpu": torch.get_rng_state()} | (
            {"random/cuda": torch.cuda.get_rng_state(device)}
            if device.type == "cuda"
            else {}
        )
        rows = [
            column + [float("nan")] * (step - len(column))
            for column in history.values()
        ]
        tensors["history"] = torch.tensor(rows, dtype=torch.float64).reshape(
            len(rows), step
        )
        about = {
            "format": FORMAT,
            "run": self.run,
            "where": self.where,
            "step": step,
            "seconds": self.seconds,
            "history": list(history),
        }
        about |= {"moved": self.moved} if self.moved else {}
        kept = {
            name: tensor.detach().to("cpu", copy=True).contiguous()
            for name, tensor in tensors.items()
        }
        atomic.write(self.file, save(kept, {"about": json.dumps(about)}))
        self._saved = time.monotonic()
        self._cost = self._saved - self._clock

    def _count(self) -> None:
        now = time.monotonic()
        self.seconds, self._clock = self.seconds + now - self._clock, now

    def _read(self, method: Method) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        """The checkpoint when it is of this run; None, with a warning where one is in the way, when there is none to use."""
        if not self.file.is_file() or _is_done(self.folder):
            return None
        try:
            with safe_open(self.file, "pt") as opened:
                about = dict(json.loads(opened.metadata()["about"]))
                tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - not a dictionary
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            return self._unused(f"is damaged ({error})")
        if lacking := ({"run", "where", "step", "seconds", "history"} - set(about)) | (
            {"random/cpu", "history"} - set(tensors)
        ):
            return self._unused(f"is damaged (it has no {', '.join(sorted(lacking))})")
        if not isinstance(about["where"], dict):
            return self._unused("is damaged (it does not say where it was made)")
        if about.get("format") != FORMAT or about["run"] != json.loads(
            json.dumps(self.run)
        ):
            return self._unused(
                f"is of another run or version ({about.get('run')}, not {dict(self.run)})"
            )
        if {n: t.shape for n, t in _tensors(method).items()} != {
            n.removeprefix("method/"): t.shape
            for n, t in tensors.items()
            if n.startswith("method/")
        }:
            return self._unused("has other tensors than this model")
        if moves := self._moves(about):
            elsewhere = f"{self.file} was made elsewhere ({'; '.join(moves)}), where numbers come out differently"
            if not self.anyway:
                raise MismatchError(
                    f"{elsewhere}: go on there, delete the file to start over, or go on here with --resume anyway"
                )
            warnings.warn(
                f"{elsewhere}: going on anyway, and the record says so", stacklevel=5
            )
        return about, tensors

    def _moves(self, about: Mapping[str, Any]) -> list[str]:
        """What is different here from where a checkpoint was made, as "step 3: threads 1 -> 2"."""
        before, moves = about["where"], []
        for name in sorted({*before, *self.where}):
            was, now = before.get(name), self.where.get(name)
            if was != now:
                moves.append(f"step {about['step']}: {name} {was} -> {now}")
        return moves

    def _unused(self, reason: str) -> None:
        warnings.warn(
            f"{self.file} {reason}: training starts from the first step", stacklevel=5
        )


def remove(folder: Path) -> None:
    """The record is complete: nothing to go on from any more."""
    with atomic.os_errors_explained(folder):
        (folder / FILE).unlink(missing_ok=True)


def tidy(folder: Path) -> None:
    """Remove a checkpoint whose record is complete, of a process that died before it did so itself; where that is refused it does no harm."""
    if _is_done(folder):
        with contextlib.suppress(OSError):
            (folder / FILE).unlink()


def _is_done(folder: Path) -> bool:
    """Whether the record was written after the checkpoint, thus from it."""
    file, record = folder / FILE, folder / "record.json"
    return (
        file.is_file()
        and record.is_file()
        and record.stat().st_mtime_ns >= file.stat().st_mtime_ns
    )


def _tensors(method: Method) -> dict[str, Tensor]:
    """Parameters and buffers, also those that a state dict leaves out."""
    return dict(method.named_parameters()) | dict(method.named_buffers())


def _restore_optimiser(
    optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]
) -> None:
    """Moments get the memory layout of their parameters, as they had it: with another one the rounding of a step may differ."""
    params = [p for group in optimiser.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = defaultdict(dict)
    for name, value in tensors.items():
        place, key = name.split("/")[-2:]
        like = params[int(place)]
        state[int(place)][key] = (
            torch.empty_like(like).copy_(value)
            if value.shape == like.shape and key != "step"
            else value
        )
    optimiser.load_state_dict(
        {"state": dict(state), "param_groups": optimiser.state_dict()["param_groups"]}
    )
