"""Losses of a run while it trains: a table, or a file for TensorBoard.

The loggers are those of Lightning Fabric. A log begins anew whenever a run does or goes
on, with the steps that are already behind it, so it has neither a gap nor a step twice.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from vvi.runtime import atomic, optional, validation

if TYPE_CHECKING:
    from lightning_fabric.loggers import Logger

KINDS = ("csv", "tensorboard")
NAME = "log"
EVERY = 50  # steps that the table may lag behind


class Log:
    """Where the losses of one run go, step by step.

    Args:
        kind: one of `KINDS`.
        folder: of the run. The log lies in `<folder>/log/<kind>`.
    """

    def __init__(self, kind: str, folder: Path):
        kind = validation.choice("log", kind, KINDS)
        self.kind = kind
        self.folder = folder / NAME / kind
        check(kind)
        self._logger: Logger | None = None

    def begin(self, history: Mapping[str, Sequence[float]]) -> None:
        """Begin anew, with the steps that were made before."""
        with atomic.os_errors_explained(self.folder):
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
        self._logger = self._new_logger()
        for step in range(max(map(len, history.values()), default=0)):
            values = {k: row[step] for k, row in history.items() if step < len(row)}
            self.add(step, values)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write the finite losses of a step, and its learning rate."""
        finite = {name: x for name, x in values.items() if math.isfinite(x)}
        self._logger.log_metrics(finite, step)

    def close(self) -> None:
        """Write what is still in memory."""
        self._logger.finalize("success")

    def _new_logger(self) -> Logger:
        from lightning_fabric.loggers import CSVLogger, TensorBoardLogger

        root = self.folder.parent.parent
        if self.kind == "tensorboard":
            return TensorBoardLogger(root, name=NAME, version=self.kind)
        return CSVLogger(
            root, name=NAME, version=self.kind, flush_logs_every_n_steps=EVERY
        )


def check(kind: str | None) -> None:
    """Refuse a log that cannot be written, before anything is trained.

    Raises:
        ValueError: there is no such kind.
        RuntimeError: the package that writes it is not installed.
    """
    if kind is None:
        return
    kind = validation.choice("log", kind, KINDS)
    if kind == "tensorboard" and find_spec("tensorboard") is None:
        optional.load("tensorboardX", "logs")


def write(kind: str, folder: Path, history: Mapping[str, Sequence[float]]) -> Path:
    """Write the log of a run that was trained before.

    Args:
        kind: one of `KINDS`.
        folder: of the run.
        history: its losses and rates.

    Returns:
        The folder of the log.
    """
    log = Log(kind, folder)
    log.begin(history)
    log.close()
    return log.folder
