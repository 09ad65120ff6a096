"""Data sets on disk -> tracklets: `open_dataset` recognises the layout, `validate` looks at the images."""

from __future__ import annotations

import inspect
from pathlib import Path

from vvi.data import regdb, sysu, vcm
from vvi.data.images import validate
from vvi.data.layout import LAYOUTS, detect
from vvi.types import Dataset

READERS = {"hitsz-vcm": vcm.read, "sysu-mm01": sysu.read, "regdb": regdb.read}

__all__ = ["LAYOUTS", "open_dataset", "validate"]


def open_dataset(root: str | Path, layout: str = "auto", **options: object) -> Dataset:
    """The data set below `root`, in the order its protocol defines; no image is opened.

    layout: "auto" or one of `LAYOUTS`. Options: `vvi.data.vcm.read` (min_seq_len, strict), `vvi.data.sysu.read` (mode, shots, trial, gallery, strict),
    `vvi.data.regdb.read` (trial). Malformed data: `DataError`.
    """
    layout = detect(root) if layout == "auto" else layout
    if layout not in READERS:
        raise ValueError(f"unknown layout {layout!r}; known: auto, {', '.join(LAYOUTS)}")
    read = READERS[layout]
    known = list(inspect.signature(read).parameters)[1:]
    if unknown := [name for name in options if name not in known]:
        raise TypeError(f"{layout} has no option {unknown[0]!r}; it has {', '.join(known)}")
    return read(root, **options)
