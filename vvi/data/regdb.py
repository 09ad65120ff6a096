"""RegDB: single images of people, visible and thermal, in ten trials that each train and test on other identities.

`<root>/idx/{train,test}_{visible,thermal}_{trial}.txt` list `<relative path> <label>`; images lie in `<root>/{Visible,Thermal}/<identity>/`.
A label counts the identities of one trial and split from 0, the same for both modalities; it is not the identity.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from vvi.data.faults import (
    Faults,
    Survey,
    check_links,
    escapes,
    existing_root,
    fields,
    note_blanks,
    quote,
    read_lines,
)
from vvi.data.images import SUFFIXES
from vvi.types import MODALITIES, Dataset, Direction, Modality, Tracklet

TRIALS = range(1, 11)
SPLITS = ("train", "test")
WORD = {"vis": "visible", "ir": "thermal"}
IMAGE = re.compile(
    r"(Visible|Thermal)/(\d{1,9})/(?:male|female)_(?:front|back)_([vt])_\d{5}"
    r"_(\d{1,9})\.(?i:" + "|".join(SUFFIXES) + ")",
    re.ASCII,
)
FOLDER = {"vis": "Visible", "ir": "Thermal"}
LETTER = {"vis": "v", "ir": "t"}
# one dual camera; the released code numbers the two sensors so that nothing is filtered
CAMERA = {"vis": 1, "ir": 2}


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


def read(root: str | Path, trial: int = 1, strict: bool | None = None) -> Dataset:
    """Read one trial, in the order of its lists.

    Args:
        root: the folder of the set.
        trial: 1 to 10; each trains and tests on people of its own.
        strict: True refuses all that is odd, False reads on past all that can be read;
            None mends or leaves out what is harmless and refuses the rest.

    Returns:
        Training images (visible, then thermal) and both directions.

    Raises:
        DataError: naming the first fault.
    """
    return survey(root, trial, strict).read()


def survey(root: str | Path, trial: int = 1, strict: bool | None = None) -> Survey:
    """Do as `read`, with every fault instead of the first."""
    root, faults = existing_root(root, strict)
    if trial not in TRIALS or isinstance(trial, (bool, float)):
        faults.error(root, f"trial must be in 1..10, got {trial}")
    files = {
        (split, modality): f"idx/{split}_{WORD[modality]}_{trial}.txt"
        for split in SPLITS
        for modality in MODALITIES
    }
    if faults.errors or not faults.require(root, list(files.values())):
        return Survey(None, faults)
    tops = ["idx", *files.values(), *FOLDER.values()]
    check_links([root / name for name in tops], faults)
    items = {key: _items(root / name, key[1], faults) for key, name in files.items()}
    images = [root / item.path for listed in items.values() for item in listed]
    check_links([*dict.fromkeys(image.parent for image in images), *images], faults)
    # a line that could not be read leaves a hole in the labels that is none
    whole = not faults.errors
    classes = {
        split: _classes(root, split, files, items, whole, faults) for split in SPLITS
    }
    both = {
        i.identity: i for i in reversed(items["train", "vis"] + items["train", "ir"])
    }
    for identity in sorted(classes["train"].keys() & classes["test"].keys()):
        visible = both[identity].path.startswith("Visible")
        where = root / files["train", "vis" if visible else "ir"]
        what = f"identity {identity} is in train and test of trial {trial}"
        faults.error(where, what, both[identity].line)
    found = {key: _tracklets(root, key[1], items[key]) for key in items}
    listed = {split: found[split, "vis"] + found[split, "ir"] for split in SPLITS}
    kept = tuple(t for t in listed["train"] if t.identity in classes["train"])
    if not faults.errors and not kept:
        what = "no training identity has images of both modalities"
        faults.error(root / files["train", "vis"], what)
    if faults.errors:
        return Survey(None, faults, listed)
    vis, ir = found["test", "vis"], found["test", "ir"]
    sides: dict[Direction, tuple] = {"ir2vis": (ir, vis), "vis2ir": (vis, ir)}
    problems = tuple(faults.warnings)
    people = classes["train"]
    data = Trial("regdb", root, kept, sides, "none", problems, classes=people)
    return Survey(data, faults, listed)


def _tracklets(
    root: Path, modality: Modality, items: list[Item]
) -> tuple[Tracklet, ...]:
    camera = CAMERA[modality]
    return tuple(
        Tracklet((root / i.path,), i.identity, camera, modality) for i in items
    )


def _items(path: Path, modality: Modality, faults: Faults) -> list[Item]:
    """The well-formed lines of one list."""
    items, lines = [], read_lines(path, faults)
    note_blanks(path, lines, faults)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            faults.spare("blank lines skipped", path, "a blank line", number)
        elif why := _why_not(line, modality):
            faults.error(path, f"{why} in {quote(line)}", number)
        else:
            listed, label = fields(line)
            identity = int(listed.split("/")[1])
            items.append(Item(number, listed, identity, int(label)))
    return items


def _why_not(line: str, modality: Modality) -> str | None:
    """What is wrong with a line, None when nothing is."""
    parts = fields(line)
    if len(parts) != 2:
        return "not '<path> <label>'"
    listed, label = parts
    if escapes(listed):
        return "the path leaves the data folder"
    if not re.fullmatch(r"\d{1,9}", label, re.ASCII):
        return (
            f"label {quote(label)} is negative"
            if re.fullmatch(r"-\d+", label, re.ASCII)
            else f"label {quote(label)} is no integer"
        )
    match = IMAGE.fullmatch(listed)
    if match is None:
        return f"not an image path such as {FOLDER[modality]}/285/male_front_{LETTER[modality]}_00110_285.bmp"
    folder, identity, letter, named = match.groups()
    if folder != FOLDER[modality] or letter != LETTER[modality]:
        return f"not a {WORD[modality]} image (expected {FOLDER[modality]}/ and _{LETTER[modality]}_)"
    if int(identity) != int(named):
        return f"folder of identity {identity} but file of identity {named}"
    return None


def _classes(
    root: Path, split: str, files: dict, items: dict, whole: bool, faults: Faults
) -> dict[int, int]:
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
                    path,
                    f"label {item.label} means identity {item.identity} here and {identity_of[item.label]} before ({quote(item.path)})",
                    item.line,
                )
            if label_of.setdefault(item.identity, item.label) != item.label:
                faults.error(
                    path,
                    f"identity {item.identity} has label {item.label} here and {label_of[item.identity]} before ({quote(item.path)})",
                    item.line,
                )
    alone = set()
    for modality, other in (MODALITIES, MODALITIES[::-1]) if whole else ():
        path, labels = root / files[split, modality], present[modality]
        every = labels | present[other]
        if labels and (holes := set(range(max(labels) + 1)) - every):
            what = f"{min(holes)} is missing below {max(labels)}"
            faults.error(path, f"labels are not contiguous from 0: {what}")
        lonely = labels - present[other] if present[other] else set()
        for label in sorted(lonely):
            _say_alone(path, split, label, identity_of[label], modality, other, faults)
        alone |= {identity_of[label] for label in lonely}
    if split == "test" or not alone:
        return label_of
    # people of one modality are not trained on, and the labels of the others close up
    people = sorted(label_of.keys() - alone, key=label_of.__getitem__)
    return {identity: label for label, identity in enumerate(people)}


def _say_alone(
    path: Path,
    split: str,
    label: int,
    identity: int,
    modality: Modality,
    other: Modality,
    faults: Faults,
) -> None:
    part, done = ("test", "kept") if split == "test" else ("training", "left out")
    faults.spare(
        f"{part} identities of one modality {done}",
        path,
        f"label {label} is {WORD[modality]} only (identity {identity})",
        name=f"{identity} without {WORD[other]}",
    )
