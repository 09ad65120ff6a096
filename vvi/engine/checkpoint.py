"""A run in the middle of its training, from which the same command goes on.

One safetensors file, written whole every so many seconds, holds parameters and buffers,
the state of every optimiser, the losses so far, the step (from which rates and draws
follow) and the state of torch's global generators: training goes on to the same bits.
"""

from __future__ import annotations

import contextlib
import json
import math
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

from vvi.runtime import atomic, gpu

if TYPE_CHECKING:
    from vvi.methods.base import Method

FILE = "checkpoint.safetensors"
FORMAT = 1
EVERY = 30.0  # seconds
SHARE = 0.05  # of the time of a run that checkpoints may take
#: What every checkpoint says, and the tensors that every one has.
_ENTRIES = {"run", "where", "step", "seconds", "history"}
_TENSORS = {"random/cpu", "history"}
Optimisers = Mapping[str, torch.optim.Optimizer]
History = dict[str, list[float]]


class MismatchError(ValueError):
    """A checkpoint was made where numbers come out differently.

    Nothing is touched, and the message says what to do.
    """


class _UnusableError(Exception):
    """A checkpoint cannot be resumed. The message says why."""


@dataclass
class Checkpoint:
    """Where and how often the state of a training run is saved."""

    #: Folder of the run.
    folder: Path
    #: What makes a checkpoint one of this run (config, versions). Another one is
    #: reported and not used.
    run: Mapping[str, Any]
    #: What must be equal for the same bits (device, torch, threads). Else the run is
    #: refused.
    where: Mapping[str, Any]
    #: Seconds between two checkpoints, 0 for each step.
    every: float = EVERY
    #: Go on although `where` differs, with a warning.
    anyway: bool = False
    #: Training time in seconds, over all processes that worked on this run.
    seconds: float = field(default=0.0, init=False)
    #: Each change of `where` that the run went on in spite of, for its record.
    moved: list[str] = field(default_factory=list, init=False)

    def __post_init__(self):
        self.file = self.folder / FILE
        self._clock = self._saved = time.monotonic()
        self._cost = 0.0

    def restore(self, method: Method, optimisers: Optimisers) -> tuple[int, History]:
        """Put method, optimisers and generators where they were.

        Args:
            method: filled in place.
            optimisers: by name, filled in place.

        Returns:
            How many steps are done, and their history: (0, {}) when there is nothing to
            go on from.

        Raises:
            MismatchError: numbers come out differently here.
        """
        self._clock = self._saved = time.monotonic()
        content = self._usable_content(method)
        if content is None:
            return 0, {}
        about, tensors = content
        with torch.no_grad():
            for name, tensor in _tensors(method).items():
                tensor.copy_(tensors[f"method/{name}"])
        for name, optimiser in optimisers.items():
            _restore_optimiser(optimiser, _under(f"optimiser/{name}/", tensors))
        torch.set_rng_state(tensors["random/cpu"])
        device = next(method.parameters()).device
        if "random/cuda" in tensors and device.type == "cuda":
            gpu.set_random_state(tensors["random/cuda"], device)
        self.seconds = about["seconds"]
        self.moved = [*about.get("moved", []), *self._moves(about)]
        rows = tensors["history"].tolist()
        return about["step"], dict(zip(about["history"], rows, strict=True))

    def due(self, done: int, total: int) -> bool:
        """Return whether to save now: `every` seconds after the last, or at the end.

        A save at the last step lets a killed evaluation resume. Slow saves are made
        less often, so that they take at most `SHARE` of the run.
        """
        wait = max(self.every, self._cost / SHARE) if self.every else 0.0
        return done == total or time.monotonic() - self._saved >= wait

    def save(
        self,
        step: int,
        method: Method,
        optimisers: Optimisers,
        history: Mapping[str, list[float]],
    ) -> None:
        """Save the state of a run.

        Args:
            step: how many steps are done.
            method: with its parameters and buffers.
            optimisers: by name.
            history: losses and rates of those steps.
        """
        self._count()
        device = next(method.parameters()).device
        tensors = {f"method/{name}": value for name, value in _tensors(method).items()}
        for name, optimiser in optimisers.items():
            tensors |= _optimiser_state(name, optimiser)
        tensors["random/cpu"] = torch.get_rng_state()
        if device.type == "cuda":
            tensors["random/cuda"] = gpu.random_state(device)
        tensors["history"] = _table(history, step)
        about = self._about(step, list(history))
        copies = {name: _on_cpu(tensor) for name, tensor in tensors.items()}
        atomic.write(self.file, save(copies, {"about": json.dumps(about)}))
        self._saved = time.monotonic()
        self._cost = self._saved - self._clock

    def _about(self, step: int, columns: list[str]) -> dict[str, Any]:
        """Return what a checkpoint says of itself."""
        about = {
            "format": FORMAT,
            "run": self.run,
            "where": self.where,
            "step": step,
            "seconds": self.seconds,
            "history": columns,
        }
        if self.moved:
            about["moved"] = self.moved
        return about

    def _count(self) -> None:
        now = time.monotonic()
        self.seconds += now - self._clock
        self._clock = now

    def _usable_content(
        self, method: Method
    ) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
        """Read the checkpoint when it is of this run, and warn of another one."""
        if not self.file.is_file() or _is_done(self.folder):
            return None
        try:
            about, tensors = _read(self.file)
            self._check_run(about, tensors, method)
        except _UnusableError as error:
            warnings.warn(
                f"{self.file} {error}: training starts from the first step",
                stacklevel=4,
            )
            return None
        self._check_where(about)
        return about, tensors

    def _check_run(
        self, about: Mapping[str, Any], tensors: Mapping[str, Tensor], method: Method
    ) -> None:
        """Refuse a checkpoint of another run or of another network.

        Args:
            about: what the checkpoint says of itself.
            tensors: of the checkpoint.
            method: the network of this run.

        Raises:
            _UnusableError: it is of another one.
        """
        run = json.loads(json.dumps(self.run))
        if about.get("format") != FORMAT or about["run"] != run:
            raise _UnusableError(
                f"is of another run or version ({about.get('run')}, not "
                f"{dict(self.run)})"
            )
        stored = _under("method/", tensors)
        shapes = {name.removeprefix("method/"): t.shape for name, t in stored.items()}
        if shapes != {name: t.shape for name, t in _tensors(method).items()}:
            raise _UnusableError("has other tensors than this model")

    def _check_where(self, about: Mapping[str, Any]) -> None:
        """Refuse a checkpoint of another machine, or warn where one goes on anyway.

        Raises:
            MismatchError: it was made elsewhere.
        """
        moves = self._moves(about)
        if not moves:
            return
        elsewhere = (
            f"{self.file} was made elsewhere ({'; '.join(moves)}), where numbers come "
            "out differently"
        )
        if not self.anyway:
            raise MismatchError(
                f"{elsewhere}: go on there, delete the file to start over, or go on "
                "here with --resume anyway"
            )
        warnings.warn(
            f"{elsewhere}: going on anyway, and the record says so", stacklevel=5
        )

    def _moves(self, about: Mapping[str, Any]) -> list[str]:
        """List what differs from where a checkpoint was made.

        Each entry reads "step 3: threads 1 -> 2".
        """
        before, moves = about["where"], []
        for name in sorted({*before, *self.where}):
            was, now = before.get(name), self.where.get(name)
            if was != now:
                moves.append(f"step {about['step']}: {name} {was} -> {now}")
        return moves


def _read(file: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read what a checkpoint says of itself, and its tensors.

    Raises:
        _UnusableError: it is damaged.
    """
    try:
        with safe_open(file, "pt") as opened:
            about = dict(json.loads(opened.metadata()["about"]))
            names = list(opened.keys())
            tensors = {name: opened.get_tensor(name) for name in names}
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise _UnusableError(f"is damaged ({error})") from error
    lacking = (_ENTRIES - set(about)) | (_TENSORS - set(tensors))
    if lacking:
        raise _UnusableError(f"is damaged (it has no {', '.join(sorted(lacking))})")
    if not isinstance(about["where"], dict):
        raise _UnusableError("is damaged (it does not say where it was made)")
    return about, tensors


def remove(folder: Path) -> None:
    """Remove the checkpoint of a run whose record is complete."""
    with atomic.os_errors_explained(folder):
        (folder / FILE).unlink(missing_ok=True)


def tidy(folder: Path) -> None:
    """Remove a checkpoint that a killed process left beside its complete record.

    Where the system refuses it does no harm.
    """
    if _is_done(folder):
        with contextlib.suppress(OSError):
            (folder / FILE).unlink()


def _is_done(folder: Path) -> bool:
    """Return whether the record was written after the checkpoint, thus from it."""
    file, record = folder / FILE, folder / "record.json"
    if not file.is_file() or not record.is_file():
        return False
    return record.stat().st_mtime_ns >= file.stat().st_mtime_ns


def _tensors(method: Method) -> dict[str, Tensor]:
    """Return parameters and buffers, also those that a state dict leaves out."""
    return dict(method.named_parameters()) | dict(method.named_buffers())


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k: value for k, value in tensors.items() if k.startswith(prefix)}


def _on_cpu(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()


def _table(history: Mapping[str, list[float]], step: int) -> Tensor:
    """Write a history as a tensor (columns, step), NaN where a phase is inactive."""
    rows = [column + [math.nan] * (step - len(column)) for column in history.values()]
    return torch.tensor(rows, dtype=torch.float64).reshape(len(rows), step)


def _optimiser_state(name: str, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the moments of an optimiser: "optimiser/name/position/key" -> tensor."""
    tensors = {}
    for position, state in optimiser.state_dict()["state"].items():
        for key, value in state.items():
            if value is not None:
                tensors[f"optimiser/{name}/{position}/{key}"] = value
    return tensors


def _restore_optimiser(
    optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]
) -> None:
    """Fill an optimiser with stored moments.

    Moments get the memory layout of their parameters, as they had it: with another one
    the rounding of a step may differ.
    """
    params: list[Tensor] = []
    for group in optimiser.param_groups:
        params += group["params"]
    state: dict[int, dict[str, Tensor]] = defaultdict(dict)
    for name, value in tensors.items():
        position, key = name.split("/")[-2:]
        like = params[int(position)]
        if value.shape == like.shape and key != "step":
            value = torch.empty_like(like).copy_(value)
        state[int(position)][key] = value
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": dict(state), "param_groups": groups})
