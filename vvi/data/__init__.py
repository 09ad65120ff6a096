"""From data sets on disk to tracklets, whatever their layout.

`open_dataset` recognises the layout and reads the lists. `validate` reads the images.
"""

from __future__ import annotations

import warnings
from pathlib import Path

from vvi.data import buptcampus, regdb, sysu, vcm
from vvi.data.images import validate
from vvi.data.layout import LAYOUTS, NAMES, check_options, detect
from vvi.runtime import collector
from vvi.types import Dataset

READERS = {
    "hitsz-vcm": vcm.read,
    "sysu-mm01": sysu.read,
    "regdb": regdb.read,
    "buptcampus": buptcampus.read,
}

__all__ = ["LAYOUTS", "announce", "open_dataset", "read_dataset", "validate"]


def open_dataset(root: str | Path, layout: str = "auto", **options: object) -> Dataset:
    """Open a data set, in the order of its protocol, without opening an image.

    One warning lists the faults that were tolerated.

    Args:
        root: folder of one set.
        layout: "auto" or one of `LAYOUTS`.
        options: of `vvi.data.vcm.read` (min_seq_len, strict, part, foreign),
            `vvi.data.sysu.read` (mode, shots, trial, gallery, train, strict),
            `vvi.data.regdb.read` (trial, strict) or `vvi.data.buptcampus.read`
            (auxiliary, strict).

    Raises:
        DataError: naming the first malformed line.
    """
    return announce(read_dataset(root, layout, **options))


def read_dataset(root: str | Path, layout: str = "auto", **options: object) -> Dataset:
    """Open a data set as `open_dataset`, without the warning.

    Args:
        root: folder of one set.
        layout: "auto" or one of `LAYOUTS`.
        options: as in `open_dataset`.

    Raises:
        ValueError: the layout is unknown, or its reader lacks an option.
        DataError: naming the first malformed line.
    """
    layout = detect(root) if layout == "auto" else layout
    if layout not in READERS:
        known = ", ".join(("auto", *LAYOUTS))
        raise ValueError(f"unknown layout {layout!r}; known: {known}")
    read = READERS[layout]
    check_options(layout, read, options)
    with collector.paused():
        return read(root, **options)


def announce(dataset: Dataset, stacklevel: int = 3) -> Dataset:
    """Warn once about all tolerated faults of a data set and return it."""
    if dataset.remarks:
        remarks = "; ".join(dataset.remarks)
        name, root = NAMES[dataset.layout], dataset.root
        text = f"{name} in {root}: {remarks}; `vvi check {root}` lists each"
        warnings.warn(text, stacklevel=stacklevel)
    return dataset
