"""The five parameters of every chapter, read as people type them."""

from __future__ import annotations

import ast
import sys
import warnings
from pathlib import Path
from typing import Any, Literal, NamedTuple

from vvi.config import PRESETS
from vvi.config import preset as preset_of
from vvi.experiment import ablation
from vvi.experiment.execution import ONCE
from vvi.plots import tables
from vvi.runtime import paths, validation

#: Seeds of a chapter that trains, where none are given.
TRAINED_SEEDS = [0, 1, 2]


class Parameters(NamedTuple):
    """The parameters of a chapter, each of its type."""

    #: Size of the experiment.
    preset: str
    #: Folder of a licensed data set. None is the embedded synthetic one.
    data: Path | None
    #: Runs behind every mean and spread.
    seeds: list[int]
    #: Whether to train again where a stored result exists: each run once, however
    #: often the chapter shows it.
    retrain: Literal["once", False]
    #: auto, cpu, cuda or cuda:N.
    device: str


def read(preset: Any, data: Any, seeds: Any, retrain: Any, device: Any) -> Parameters:
    """Read the parameters of a chapter, however papermill or a reader spelt them.

    As the first call of every chapter it also gives all tables the look of the book.

    Args:
        preset: tiny, half, standard, full or paper.
        data: a folder, with `~` or variables in its name, or none.
        seeds: 0, "0,1,2", "0 1 2", "0-2" or [0, 1, 2]. None takes all that are stored,
            or 0, 1 and 2 where runs are trained.
        retrain: true, false, yes, no, 1 or 0, or what this function made of it: a cell
            that failed is run again.
        device: auto, cpu, cuda, gpu, cuda:0 or 0.

    Raises:
        ValueError: one line that says which of them does not fit, and how to write it.

    >>> read("Tiny", "none", "0,1", "no", 0)[:3]
    ('tiny', None, [0, 1])
    """
    if "IPython" in sys.modules:
        tables.register()
    for name in _injected():
        if name not in Parameters._fields:
            complaint = "a chapter has no parameter"
            raise validation.unknown(name, complaint, {"": Parameters._fields})
    folder = validation.folder("data", data)
    if folder is not None and not folder.is_dir():
        raise ValueError(f"data {folder}: no such folder; {validation.FOLDER}")
    size = validation.choice("preset", preset, PRESETS)
    if data is None and paths.real_data() and preset_of(size).data.synthetic:
        warnings.warn(  # or drawn people are taken for those of the reader
            f"VVI_DATA is set, but the preset {size} draws its people: with preset "
            f"paper, or data {paths.real_data()} at any preset, that folder is read",
            stacklevel=2,
        )
    again = ONCE if retrain == ONCE or validation.flag("retrain", retrain) else False
    if validation.is_none(seeds):
        run = {"data": folder, "retrain": again}
        is_stored = ablation.reads_records(size, run)
        seeds = ablation.SEEDS if is_stored else TRAINED_SEEDS
    return Parameters(
        size, folder, validation.seeds(seeds), again, validation.device(device)
    )


def _injected() -> list[str]:
    """Return the names that papermill set here: of unknown ones it only warns."""
    if "IPython" not in sys.modules:
        return []
    shell = sys.modules["IPython"].get_ipython()
    cells = shell.user_ns.get("In", []) if shell else []
    injected = [cell for cell in cells if cell.startswith("# Parameters\n")]
    names = []
    for statement in ast.parse("\n".join(injected)).body:
        if isinstance(statement, ast.Assign):
            names += [target.id for target in statement.targets]
    return names
