"""Recognise the layout of a folder by several of its entries, never by one alone.

Sets of other projects are known by name, so that they are refused and not misread.
"""

from __future__ import annotations

import inspect
import itertools
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from vvi.data.buptcampus import IMAGES, INDEX
from vvi.data.buptcampus import LISTS as CAMPUS_LISTS
from vvi.data.faults import refuse_undecodable
from vvi.data.sysu import data_folder
from vvi.data.vcm import LISTS
from vvi.runtime import validation
from vvi.types import DataError

LAYOUTS = ("hitsz-vcm", "sysu-mm01", "regdb", "buptcampus")
#: Sets of single images.
IMAGE_LAYOUTS = ("sysu-mm01", "regdb")
NAMES = {
    "hitsz-vcm": "HITSZ-VCM",
    "sysu-mm01": "SYSU-MM01",
    "regdb": "RegDB",
    "buptcampus": "BUPTCampus",
}
#: The layout of a config that does not name its data.
DEFAULT = "hitsz-vcm"
EXPECTED = (
    "list files in info/ or here (hitsz-vcm), cam1..cam6 and exp/ (sysu-mm01), "
    "idx/, Visible/, Thermal/ (regdb) or data_paths.json, DATA/ (buptcampus)"
)
#: Sets that are not read here -> entries that identify them, all of one tuple.
FOREIGN = {
    "MARS": [("bbox_train",), ("bbox_test",)],
    "LLCM": [("vis", "nir"), ("test_vis",), ("test_nir",)],
    "MSMT17": [("list_train.txt", "list_gallery.txt"), ("mask_train_v2",)],
    "LS-VID": [("tracklet_train",), ("tracklet_test",)],
    "iLIDS-VID": [("i-LIDS-VID",), ("train-test people splits",)],
    "PRID-2011": [("multi_shot",), ("single_shot",)],
    "VIPeR": [("cam_a", "cam_b")],
    "CUHK03": [("cuhk-03.mat",), ("cuhk03_release",)],
    "CCVID": [("session1", "session2")],
    "DukeMTMC-VideoReID": [("train", "gallery", "query")],
    "VeRi-776": [("image_train", "image_test")],
}
#: Folders of Market-1501 and of sets in its form.
BOXES = ("bounding_box_train", "bounding_box_test")
#: How these sets name their images.
FORMS = {
    "Market-1501": re.compile(r"-?\d{1,4}_c\ds\d_"),
    "DukeMTMC-reID": re.compile(r"\d{4}_c\d_f\d"),
}


#: Entries that no other layout has. At least one of them must be there.
DISTINCTIVE = {
    "hitsz-vcm": {"track_train_info.txt", "track_test_info.txt", "query_IDX.txt"},
    "sysu-mm01": {"exp", "cam3", "cam6"},
    "regdb": {"idx/train_visible_*", "idx/test_visible_*", "Thermal"},
    "buptcampus": {INDEX},
}


def called(layout: str) -> str:
    """Return what tables call the data of a layout.

    Results search one gallery of SYSU-MM01, of the ten whose mean papers report.
    """
    return f"one-gallery {layout}" if layout == "sysu-mm01" else layout


def evidence(folder: Path) -> dict[str, list[str]]:
    """Return the entries of a folder that speak for each layout."""
    return {
        "hitsz-vcm": _vcm_entries(folder),
        "sysu-mm01": _sysu_entries(folder),
        "regdb": _regdb_entries(folder),
        "buptcampus": _campus_entries(folder),
    }


def _vcm_entries(folder: Path) -> list[str]:
    lists = folder / "info" if (folder / "info").is_dir() else folder
    return [name for name in LISTS if (lists / name).is_file()]


def _sysu_entries(folder: Path) -> list[str]:
    base = data_folder(folder)
    entries = [f"cam{c}" for c in range(1, 7) if (base / f"cam{c}").is_dir()]
    if any((base / "exp").glob("*_id.*")):
        entries.append("exp")
    return entries


def _regdb_entries(folder: Path) -> list[str]:
    words = ("train_visible", "train_thermal", "test_visible", "test_thermal")
    index = [f"idx/{word}_*" for word in words if any(folder.glob(f"idx/{word}_*.txt"))]
    tops = [name for name in ("Visible", "Thermal") if (folder / name).is_dir()]
    return index + tops


def _campus_entries(folder: Path) -> list[str]:
    entries = [INDEX] if (folder / INDEX).is_file() else []
    if (folder / IMAGES).is_dir():
        entries.append(IMAGES)
    lists = CAMPUS_LISTS.values()
    return entries + [name for name in lists if (folder / name).is_file()]


def _is_enough(layout: str, entries: list[str]) -> bool:
    """Whether entries identify a layout: two or more, one of them distinctive."""
    return len(entries) >= 2 and bool(DISTINCTIVE[layout] & set(entries))


def has_layout(folder: Path, layout: str) -> bool:
    """Whether the entries of a folder identify this layout."""
    return _is_enough(layout, evidence(folder)[layout])


def _is_set(folder: Path) -> bool:
    return any(has_layout(folder, layout) for layout in LAYOUTS)


def foreign_set(folder: Path) -> str | None:
    """Return the name of a known set that is not read here, None for other folders."""
    boxes = [folder / name for name in BOXES if (folder / name).is_dir()]
    if boxes:
        return _name_by_images(boxes[0])
    for title, ways in FOREIGN.items():
        for entries in ways:
            if all((folder / name).exists() for name in entries):
                return title
    return None


def _name_by_images(boxes: Path) -> str:
    names = [entry.name for entry in itertools.islice(boxes.iterdir(), 50)]
    for title, form in FORMS.items():
        if any(map(form.match, names)):
            return title
    return "Market-1501, or a set in its form"


def detect(root: str | Path) -> str:
    """Return the layout of a folder.

    Raises:
        DataError: no layout fits, or several do.
    """
    root = _folder(root)
    entries = evidence(root)
    fits = [layout for layout in entries if _is_enough(layout, entries[layout])]
    if len(fits) == 1:
        return fits[0]
    if fits:
        seen = "; ".join(f"{layout}: {', '.join(entries[layout])}" for layout in fits)
        cure = "say which with layout=, on the command line --layout or --set layout="
        raise DataError(f"{root}: several layouts at once ({seen}); {cure}")
    if other := foreign_set(root):
        known = ", ".join(NAMES.values())
        what = f"this looks like {other}, which is not read here"
        raise DataError(f"{root}: {what}; {known} are")
    raise DataError(f"{root}: no known layout{_nearest(entries)}; expected {EXPECTED}")


def find_sets(folder: str | Path) -> dict[Path, str]:
    """Find the sets of a folder, which is one itself or holds some side by side.

    Returns:
        Root of each set -> its layout.

    Raises:
        DataError: there is no such folder, or the layout of a set is not clear.
    """
    return {root: detect(root) for root in set_folders(folder)}


def set_folders(folder: str | Path) -> list[Path]:
    """Return the roots of the sets of a folder, whatever their layouts.

    Raises:
        DataError: there is no such folder.
    """
    folder = _folder(folder)
    if _is_set(folder):
        return [folder]
    subfolders = sorted(entry for entry in folder.iterdir() if _is_readable(entry))
    return [root for root in subfolders if _is_set(root)]


def _is_readable(entry: Path) -> bool:
    """Whether a folder can be read. A disk has some that only root can read."""
    return entry.is_dir() and os.access(entry, os.R_OK | os.X_OK)


def locate(folder: str | Path, wanted: str = "auto") -> tuple[Path, str]:
    """Find the one set that a folder means.

    Args:
        folder: of one set, or of several side by side.
        wanted: a layout, or "auto" for the one that is there. `DEFAULT` only decides
            where there is a choice: a folder of one set of another layout is taken.

    Returns:
        Root and layout of the set.

    Raises:
        ValueError: an unknown layout.
        DataError: naming what is there instead.
    """
    folder = _folder(folder)
    if wanted not in ("auto", *LAYOUTS):
        known = ", ".join(("auto", *LAYOUTS))
        raise ValueError(f"unknown layout {wanted!r}; known: {known}")
    if wanted != "auto" and has_layout(folder, wanted):
        return folder, wanted
    sets = find_sets(folder)
    candidates = [root for root, layout in sets.items() if layout == wanted]
    if not candidates and wanted in ("auto", DEFAULT):
        candidates = list(sets)
    if len(candidates) == 1:
        return candidates[0], sets[candidates[0]]
    if not sets:
        return folder, detect(folder)  # raises the right error
    seen = ", ".join(f"{root.name} ({layout})" for root, layout in sets.items())
    if candidates:
        raise DataError(f"{folder} holds several sets, {seen}: name the folder of one")
    raise DataError(f"{folder} holds {seen}, not {wanted}")


def _folder(root: str | Path) -> Path:
    root = validation.at_home(root)
    refuse_undecodable([root])
    if not root.is_dir():
        what = "not a folder" if root.exists() else "no such folder"
        raise DataError(f"{root}: {what}")
    return root


def _nearest(entries: dict[str, list[str]]) -> str:
    """Describe what a folder has of layouts that it nearly fits."""
    near = [f"{name} by {', '.join(e)}" for name, e in entries.items() if e]
    return f", though it has something of {'; '.join(near)}" if near else ""


class OptionError(ValueError, TypeError):
    """An option that the reader of a layout does not have."""


def options_of(read: Callable) -> list[str]:
    """Return the options of a reader, which come after the folder."""
    return list(inspect.signature(read).parameters)[1:]


def check_options(layout: str, read: Callable, options: Iterable[str]) -> None:
    """Refuse options that the reader of a layout does not take.

    Args:
        layout: for the message.
        read: the reader, or its survey.
        options: names of the options.

    Raises:
        OptionError: naming the first of them, and the options that there are.
    """
    known = options_of(read)
    unknown = [name for name in options if name not in known]
    if unknown:
        has = f"it has {', '.join(known)}"
        raise OptionError(f"{layout} has no option {unknown[0]!r}; {has}")
