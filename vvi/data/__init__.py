"""Data sets on disk -> tracklets: `open_dataset` recognises the layout, `validate` looks at the images."""

from __future__ import annotations

from pathlib import Path

from vvi.data import regdb, sysu, vcm
from vvi.data.images import validate
from vvi.data.layout import LAYOUTS, check_options, detect
from vvi.types import Dataset

READERS = {"hitsz-vcm": vcm.read, "sysu-mm01": sysu.read, "regdb": regdb.read}

__all__ = ["LAYOUTS", "open_dataset", "validate"]


def open_dataset(root: str | Path, layout: str = "auto", **options: object) -> Dataset:
    """The data set below `root`, in the order its protocol defines; no image is opened.

    layout: "auto" or one of `LAYOUTS`. Options: `vvi.data.vcm.read` (min_seq_len, strict, part), `vvi.data.sysu.read` (mode, shots, trial, gallery, strict),
    `vvi.data.regdb.read` (trial, strict). Malformed data: `DataError`.
    """
    layout = detect(root) if layout == "auto" else layout
    if layout not in READERS:
        raise ValueError(f"unknown layout {layout!r}; known: auto, {', '.join(LAYOUTS)}")
    read = READERS[layout]
    check_options(layout, read, options)
    return read(root, **options)
