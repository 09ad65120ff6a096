"""From a configuration to a stored result, and tables of such results."""

from __future__ import annotations

import warnings
from typing import Any

from vvi.experiment.datasets import (
    REAL,
    Data,
    Pixels,
    _digest,  # noqa: F401  scripts that change a folder empty this cache
    data_about,
    dataset,
    frames,
    held_out,
    layout_of,
    open_data,
    reader_options,
    resolve_data,
    synthetic_root,
    unresolved,
)
from vvi.experiment.execution import Execution
from vvi.experiment.result import Result
from vvi.experiment.runs import reranked, run, sides, train_if_missing
from vvi.experiment.trained_network import WEIGHTS, build, load_trained
from vvi.experiment.training import versions

__all__ = [
    "REAL",
    "WEIGHTS",
    "Data",
    "Execution",
    "Pixels",
    "Result",
    "build",
    "data_about",
    "dataset",
    "frames",
    "held_out",
    "layout_of",
    "load_trained",
    "open_data",
    "reader_options",
    "reranked",
    "resolve_data",
    "run",
    "sides",
    "synthetic_root",
    "train_if_missing",
    "unresolved",
    "versions",
]

#: Old name of a function -> its name now.
_RENAMED = {
    "located": "resolve_data",
    "ready": "train_if_missing",
    "trained": "load_trained",
    "unlocated": "unresolved",
}


def __getattr__(name: str) -> Any:
    """Find a function under its old name, with a warning.

    Raises:
        AttributeError: there is no such function.
    """
    if name not in _RENAMED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    text = f"experiment.{name} is now experiment.{_RENAMED[name]}"
    warnings.warn(text, DeprecationWarning, stacklevel=2)
    return globals()[_RENAMED[name]]
