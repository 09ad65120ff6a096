"""RegDB: single images of people, visible and thermal, in ten trials that each train and test on other identities.

`<root>/idx/{train,test}_{visible,thermal}_{trial}.txt` list `<relative path> <label>`; images lie in `<root>/{Visible,Thermal}/<identity>/`.
A label counts the identities of one trial and split from 0, the same for both modalities; it is not the identity.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from vvi.data.faults import Faults, Survey, check_links, escapes, existing_root, quote, read_lines
from vvi.types import MODALITIES, Dataset, Direction, Modality, Tracklet

TRIALS = range(1, 11)
SPLITS = ("train", "test")
WORD = {"vis": "visible", "ir": "thermal"}
IMAGE = re.compile(r"(Visible|Thermal)/(\d{1,9})/(?:male|female)_(?:front|back)_([vt])_\d{5}_(\d{1,9})\.bmp", re.ASCII)
FOLDER = {"vis": "Visible", "ir": "Thermal"}
LETTER = {"vis": "v", "ir": "t"}
CAMERA = {"vis": 1, "ir": 2}  # one dual camera; the released code numbers the two sensors so that nothing is filtered


@dataclass(frozen=True)
class Trial(Dataset):
    """The data set of one trial; classes are the labels of its lists, not the ascending order of identities."""

    classes: dict[int, int] = field(default_factory=dict)

    @property
    def labels(self) -> dict[int, int]:
        """Training identity -> label in the lists."""
        return dict(self.classes)


@dataclass(frozen=True)
class Item:
    """One line of a list."""

    line: int
    path: str
    identity: int
    label: int


def read(root: str | Path, trial: int = 1, strict: bool = True) -> Dataset:
    """One trial: training images (visible, then thermal) and both directions, in the order of the lists; `DataError` on the first fault."""
    return survey(root, trial, strict).read()


def survey(root: str | Path, trial: int = 1, strict: bool = True) -> Survey:
    """As `read`, with every fault instead of the first."""
    root, faults = existing_root(root, strict)
    if trial not in TRIALS or isinstance(trial, (bool, float)):
        faults.error(root, f"trial must be in 1..10, got {trial}")
    files = {(split, modality): f"idx/{split}_{WORD[modality]}_{trial}.txt" for split in SPLITS for modality in MODALITIES}
    if faults.errors or not faults.require(root, list(files.values())):
        return Survey(None, faults)
    check_links([root / "idx", *(root / name for name in files.values()), *(root / name for name in FOLDER.values())], faults)
    items = {key: _items(root / name, key[1], faults) for key, name in files.items()}
    images = [root / item.path for listed in items.values() for item in listed]
    check_links([*dict.fromkeys(image.parent for image in images), *images], faults)
    whole = not faults.errors  # a line that could not be read leaves a hole in the labels that is none
    classes = {split: _classes(root, split, files, items, whole, faults) for split in SPLITS}
    both = {item.identity: item for item in reversed(items["train", "vis"] + items["train", "ir"])}
    for identity in sorted(classes["train"].keys() & classes["test"].keys()):
        where = root / files["train", "vis" if both[identity].path.startswith("Visible") else "ir"]
        faults.error(where, f"identity {identity} is in train and test of trial {trial}", both[identity].line)
    found = {key: tuple(Tracklet((root / i.path,), i.identity, CAMERA[key[1]], key[1]) for i in items[key]) for key in items}
    listed = {split: found[split, "vis"] + found[split, "ir"] for split in SPLITS}
    if faults.errors:
        return Survey(None, faults, listed)
    vis, ir = found["test", "vis"], found["test", "ir"]
    sides: dict[Direction, tuple] = {"ir2vis": (ir, vis), "vis2ir": (vis, ir)}
    return Survey(Trial("regdb", root, listed["train"], sides, "none", tuple(faults.warnings), classes=classes["train"]), faults, listed)


def _items(path: Path, modality: Modality, faults: Faults) -> list[Item]:
    """The well-formed lines of one list."""
    items = []
    for number, line in enumerate(read_lines(path, faults), start=1):
        why = _why_not(line, modality)
        if why:
            faults.error(path, f"{why} in {quote(line)}", number)
        else:
            listed, label = line.split(" ")
            items.append(Item(number, listed, int(listed.split("/")[1]), int(label)))
    return items


def _why_not(line: str, modality: Modality) -> str | None:
    """What is wrong with a line, None when nothing is."""
    fields = line.split(" ")
    if len(fields) != 2 or not all(fields):
        return "not '<path> <label>' with one space"
    listed, label = fields
    if escapes(listed):
        return "the path leaves the data folder"
    if not re.fullmatch(r"\d{1,9}", label, re.ASCII):
        return f"label {quote(label)} is negative" if re.fullmatch(r"-\d+", label, re.ASCII) else f"label {quote(label)} is no integer"
    match = IMAGE.fullmatch(listed)
    if match is None:
        return f"not an image path such as {FOLDER[modality]}/285/male_front_{LETTER[modality]}_00110_285.bmp"
    folder, identity, letter, named = match.groups()
    if folder != FOLDER[modality] or letter != LETTER[modality]:
        return f"not a {WORD[modality]} image (expected {FOLDER[modality]}/ and _{LETTER[modality]}_)"
    if int(identity) != int(named):
        return f"folder of identity {identity} but file of identity {named}"
    return None


def _classes(root: Path, split: str, files: dict, items: dict, whole: bool, faults: Faults) -> dict[int, int]:
    """Identity -> label of a split, checked: one to one, contiguous from 0, the same in both modalities."""
    label_of: dict[int, int] = {}
    identity_of: dict[int, int] = {}
    present: dict[str, set[int]] = defaultdict(set)
    for modality in MODALITIES:
        path = root / files[split, modality]
        for item in items[split, modality]:
            present[modality].add(item.label)
            if identity_of.setdefault(item.label, item.identity) != item.identity:
                faults.error(
                    path, f"label {item.label} means identity {item.identity} here and {identity_of[item.label]} before ({quote(item.path)})", item.line
                )
            if label_of.setdefault(item.identity, item.label) != item.label:
                faults.error(path, f"identity {item.identity} has label {item.label} here and {label_of[item.identity]} before ({quote(item.path)})", item.line)
    for modality, other in (MODALITIES, MODALITIES[::-1]) if whole else ():
        path, labels = root / files[split, modality], present[modality]
        if labels and (holes := set(range(max(labels) + 1)) - labels):
            faults.error(path, f"labels are not contiguous from 0: {min(holes)} is missing below {max(labels)}")
        if present[other] and (alone := labels - present[other]):
            faults.error(path, f"label {min(alone)} is {WORD[modality]} only ({len(alone)} such labels)")
    return label_of
