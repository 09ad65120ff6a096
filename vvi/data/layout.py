"""Which of the three on-disk layouts a folder holds, told by the entries at its top."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path

from vvi.types import DataError

MARKERS = {
    "hitsz-vcm": (
        "info/track_train_info.txt",
        "info/track_test_info.txt",
        "track_train_info.txt",
        "track_test_info.txt",
        "info/train_name.txt",
        "train_name.txt",
    ),
    "sysu-mm01": ("cam1", "cam3", "exp", "ori_data"),
    "regdb": ("idx", "Visible", "Thermal"),
}
LAYOUTS = tuple(MARKERS)


def holds(folder: Path, layout: str) -> bool:
    """Whether an entry at the top of a folder is one that tells this layout."""
    return any((folder / marker).exists() for marker in MARKERS[layout])


def detect(root: str | Path) -> str:
    """Name of the layout below `root`; `DataError` when it looks like none or like several."""
    root = Path(root).expanduser()
    if not root.is_dir():
        raise DataError(f"{root}: {'not a folder' if root.exists() else 'no such folder'}")
    found = {layout: [m for m in markers if (root / m).exists()] for layout, markers in MARKERS.items()}
    found = {layout: markers for layout, markers in found.items() if markers}
    if len(found) == 1:
        return next(iter(found))
    if not found:
        raise DataError(
            f"{root}: no known layout; expected list files in info/ or here (hitsz-vcm), cam1..cam6 and exp/ (sysu-mm01) or idx/, Visible/, Thermal/ (regdb)"
        )
    seen = "; ".join(f"{layout}: {', '.join(markers)}" for layout, markers in found.items())
    raise DataError(f"{root}: several layouts at once ({seen}); say which with layout=")


class OptionError(ValueError, TypeError):
    """An option that the reader of a layout does not have."""


def check_options(layout: str, read: Callable, options: Iterable[str]) -> None:
    """`OptionError` naming the first option that the reader (or survey) of a layout does not take."""
    known = list(inspect.signature(read).parameters)[1:]
    if unknown := [name for name in options if name not in known]:
        raise OptionError(f"{layout} has no option {unknown[0]!r}; it has {', '.join(known)}")
