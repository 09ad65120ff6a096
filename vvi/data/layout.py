"""Which layout a folder holds: told by several of its entries, never by one alone.

Sets of other projects are known by name, so that they are refused and not misread.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from vvi.data.buptcampus import IMAGES, INDEX
from vvi.data.buptcampus import LISTS as CAMPUS_LISTS
from vvi.data.sysu import data_folder
from vvi.data.vcm import LISTS
from vvi.types import DataError

LAYOUTS = ("hitsz-vcm", "sysu-mm01", "regdb", "buptcampus")
NAMES = {
    "hitsz-vcm": "HITSZ-VCM",
    "sysu-mm01": "SYSU-MM01",
    "regdb": "RegDB",
    "buptcampus": "BUPTCampus",
}
USUAL = "hitsz-vcm"  # what a config names that says nothing of its data
EXPECTED = (
    "list files in info/ or here (hitsz-vcm), cam1..cam6 and exp/ (sysu-mm01), "
    "idx/, Visible/, Thermal/ (regdb) or data_paths.json, DATA/ (buptcampus)"
)
# entries by which sets that are not read here are known; all of a tuple must be there
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
BOXES = ("bounding_box_train", "bounding_box_test")  # Market-1501 and those in its form
FORMS = {
    "Market-1501": re.compile(r"-?\d{1,4}_c\ds\d_"),
    "DukeMTMC-reID": re.compile(r"\d{4}_c\d_f\d"),
}


def evidence(folder: Path) -> dict[str, list[str]]:
    """Layout -> the entries of a folder that speak for it."""
    lists = folder / "info" if (folder / "info").is_dir() else folder
    base = data_folder(folder)
    cameras = [f"cam{c}" for c in range(1, 7) if (base / f"cam{c}").is_dir()]
    splits = list((base / "exp").glob("*_id.*")) if (base / "exp").is_dir() else []
    words = ("train_visible", "train_thermal", "test_visible", "test_thermal")
    index = [f"idx/{word}_*" for word in words if any(folder.glob(f"idx/{word}_*.txt"))]
    campus = [name for name in CAMPUS_LISTS.values() if (folder / name).is_file()]
    tops = [name for name in ("Visible", "Thermal") if (folder / name).is_dir()]
    return {
        "hitsz-vcm": [name for name in LISTS if (lists / name).is_file()],
        "sysu-mm01": [*cameras, *(["exp"] if splits else [])],
        "regdb": [*index, *tops],
        "buptcampus": [
            *([INDEX] if (folder / INDEX).is_file() else []),
            *([IMAGES] if (folder / IMAGES).is_dir() else []),
            *campus,
        ],
    }


def _is_enough(layout: str, found: list[str]) -> bool:
    """Whether entries tell a layout: two or more, one of which no other set has."""
    own = {
        "hitsz-vcm": {"track_train_info.txt", "track_test_info.txt", "query_IDX.txt"},
        "sysu-mm01": {"exp", "cam3", "cam6"},
        "regdb": {"idx/train_visible_*", "idx/test_visible_*", "Thermal"},
        "buptcampus": {INDEX},
    }
    return len(found) >= 2 and bool(own[layout] & set(found))


def holds(folder: Path, layout: str) -> bool:
    """Whether the entries of a folder tell this layout."""
    return _is_enough(layout, evidence(folder)[layout])


def foreign(folder: Path) -> str | None:
    """The name of a known set that is not read here, None for any other folder."""
    boxes = next((folder / name for name in BOXES if (folder / name).is_dir()), None)
    if boxes:
        names = [
            entry.name for entry, _ in zip(boxes.iterdir(), range(50), strict=False)
        ]
        for title, form in FORMS.items():
            if any(map(form.match, names)):
                return title
        return "Market-1501, or a set in its form"
    for title, ways in FOREIGN.items():
        for way in ways:
            if all((folder / name).exists() for name in way):
                return title
    return None


def detect(root: str | Path) -> str:
    """Tell the layout of a folder; `DataError` when it is none or could be several."""
    root = _folder(root)
    found = evidence(root)
    enough = {name: marks for name, marks in found.items() if _is_enough(name, marks)}
    if len(enough) == 1:
        return next(iter(enough))
    if enough:
        seen = "; ".join(
            f"{name}: {', '.join(marks)}" for name, marks in enough.items()
        )
        say = "say which with layout=, on the command line --layout or --set layout="
        raise DataError(f"{root}: several layouts at once ({seen}); {say}")
    if other := foreign(root):
        known = ", ".join(NAMES.values())
        raise DataError(
            f"{root}: this looks like {other}, which is not read here; {known} are"
        )
    raise DataError(f"{root}: no known layout{_nearest(found)}; expected {EXPECTED}")


def sets(folder: str | Path) -> dict[Path, str]:
    """Folder -> layout of every set in a folder: it is one, or holds some side by side."""
    folder = _folder(folder)
    if any(holds(folder, layout) for layout in LAYOUTS):
        return {folder: detect(folder)}
    inside = sorted(place for place in folder.iterdir() if place.is_dir())
    found = {}
    for place in inside:
        if any(holds(place, layout) for layout in LAYOUTS):
            found[place] = detect(place)
    return found


def locate(folder: str | Path, wanted: str = "auto") -> tuple[Path, str]:
    """Find the set that is meant by a folder: its root and its layout.

    Args:
        folder: of one set, or of several side by side.
        wanted: a layout; "auto": whichever is there. `USUAL` is taken where there is a
            choice, and is no reason to refuse the one set that is there.

    Raises:
        DataError: naming what is there instead.
    """
    folder = _folder(folder)
    if wanted not in ("auto", *LAYOUTS):
        known = ", ".join(("auto", *LAYOUTS))
        raise ValueError(f"unknown layout {wanted!r}; known: {known}")
    if wanted != "auto" and holds(folder, wanted):
        return folder, wanted
    found = sets(folder)
    right = [place for place, layout in found.items() if layout == wanted]
    if not right and wanted in ("auto", USUAL):
        right = list(found)
    if len(right) == 1:
        return right[0], found[right[0]]
    if not found:
        return folder, detect(folder)  # says what is wrong
    seen = ", ".join(f"{place.name} ({layout})" for place, layout in found.items())
    if right:
        raise DataError(f"{folder} holds several sets, {seen}: name the folder of one")
    raise DataError(f"{folder} holds {seen}, not {wanted}")


def _folder(root: str | Path) -> Path:
    root = Path(root).expanduser()
    if not root.is_dir():
        what = "not a folder" if root.exists() else "no such folder"
        raise DataError(f"{root}: {what}")
    return root


def _nearest(found: dict[str, list[str]]) -> str:
    """What a folder has of a layout that it nearly is."""
    marks = {name: entries for name, entries in found.items() if entries}
    if not marks:
        return ""
    said = "; ".join(f"{name} by {', '.join(e)}" for name, e in marks.items())
    return f", though it has something of {said}"


class OptionError(ValueError, TypeError):
    """An option that the reader of a layout does not have."""


def check_options(layout: str, read: Callable, options: Iterable[str]) -> None:
    """Refuse the first option that the reader (or survey) of a layout does not take."""
    known = list(inspect.signature(read).parameters)[1:]
    if unknown := [name for name in options if name not in known]:
        has = f"it has {', '.join(known)}"
        raise OptionError(f"{layout} has no option {unknown[0]!r}; {has}")
