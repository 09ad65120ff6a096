"""Data sets on disk -> tracklets: `open_dataset` recognises the layout, `validate` looks at the images."""

from __future__ import annotations

import warnings
from pathlib import Path

from vvi.data import buptcampus, regdb, sysu, vcm
from vvi.data.images import validate
from vvi.data.layout import LAYOUTS, NAMES, check_options, detect
from vvi.types import Dataset

READERS = {
    "hitsz-vcm": vcm.read,
    "sysu-mm01": sysu.read,
    "regdb": regdb.read,
    "buptcampus": buptcampus.read,
}

__all__ = ["LAYOUTS", "announced", "open_dataset", "read_dataset", "validate"]


def open_dataset(root: str | Path, layout: str = "auto", **options: object) -> Dataset:
    """Open the data set below `root`, in the order its protocol defines.

    No image is opened. What was mended, kept or left out is said in one warning.

    Args:
        root: the folder of one set.
        layout: "auto" or one of `LAYOUTS`.
        options: of `vvi.data.vcm.read` (min_seq_len, strict, part, foreign),
            `vvi.data.sysu.read` (mode, shots, trial, gallery, train, strict),
            `vvi.data.regdb.read` (trial, strict) or `vvi.data.buptcampus.read`
            (auxiliary, strict).

    Raises:
        DataError: naming the first malformed line.
    """
    return announced(read_dataset(root, layout, **options))


def read_dataset(root: str | Path, layout: str = "auto", **options: object) -> Dataset:
    """Do as `open_dataset`, without the warning."""
    layout = detect(root) if layout == "auto" else layout
    if layout not in READERS:
        known = ", ".join(("auto", *LAYOUTS))
        raise ValueError(f"unknown layout {layout!r}; known: {known}")
    read = READERS[layout]
    check_options(layout, read, options)
    return read(root, **options)


def announced(dataset: Dataset, stacklevel: int = 3) -> Dataset:
    """Say in one warning what a reader mended, kept or left out of a data set."""
    if dataset.remarks:
        said = "; ".join(dataset.remarks)
        name, where = NAMES[dataset.layout], dataset.root
        text = f"{name} in {where}: {said}; `vvi check {where}` lists each"
        warnings.warn(text, stacklevel=stacklevel)
    return dataset
