"""From a configuration to a stored result, and tables of such results."""

from vvi.experiment.datasets import (
    REAL,
    Data,
    Pixels,
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
