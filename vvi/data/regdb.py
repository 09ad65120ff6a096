"""RegDB: single images of people, visible and thermal, in ten trials.

`<root>/idx/{train,test}_{visible,thermal}_{trial}.txt` list `<relative path> <label>`.
Images lie in `<root>/{Visible,Thermal}/<identity>/`. Each trial trains and tests on
other identities. A label counts the identities of one trial and split from 0, the same
for both modalities. It is not the identity.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from pathlib import Path

from vvi.data.faults import (
    Faults,
    Survey,
    check_links,
    escapes,
    note_blanks,
    open_root,
    quote,
    read_lines,
    split_fields,
    with_slashes,
)
from vvi.data.images import SUFFIXES
from vvi.types import MODALITIES, Dataset, Direction, Modality, Tracklet

TRIALS = range(1, 11)
SPLITS = ("train", "test")
KEYS = tuple(itertools.product(SPLITS, MODALITIES))
WORD = {"vis": "visible", "ir": "thermal"}
IMAGE = re.compile(
    r"(Visible|Thermal)/(\d{1,9})/(?:male|female)_(?:front|back)_([vt])_\d{5}"
    r"_(\d{1,9})\.(?i:" + "|".join(SUFFIXES) + ")",
    re.ASCII,
)
FOLDER = {"vis": "Visible", "ir": "Thermal"}
LETTER = {"vis": "v", "ir": "t"}
#: One dual camera. The released code numbers its sensors so that nothing is removed.
CAMERA = {"vis": 1, "ir": 2}


@dataclass(frozen=True)
class Trial(Dataset):
    """The data set of one trial, whose classes are the labels of its lists."""

    #: Training identity -> label.
    classes: dict[int, int] = field(default_factory=dict)

    @property
    def labels(self) -> dict[int, int]:
        """Training identity -> class 0..C-1, as the lists label it.

        Where some of the people are held out, the others are counted anew.
        """
        people = {t.identity for t in self.train}
        if people == set(self.classes):
            return dict(self.classes)
        ordered = sorted(people, key=self.classes.__getitem__)
        return {identity: n for n, identity in enumerate(ordered)}


@dataclass(frozen=True)
class Item:
    """One line of a list."""

    line: int
    path: str
    identity: int
    label: int


#: (split, modality) -> path of the list, or its items.
Files = dict[tuple[str, Modality], Path]
Items = dict[tuple[str, Modality], list[Item]]


def read(root: str | Path, trial: int = 1, strict: bool | None = None) -> Dataset:
    """Read one trial, in the order of its lists.

    Args:
        root: folder of the set.
        trial: 1 to 10. Each trains and tests on people of its own.
        strict: True refuses all faults, False reads on past every readable one, None
            repairs or skips the harmless and refuses the rest.

    Returns:
        Training images (visible, then thermal) and both directions.

    Raises:
        DataError: naming the first fault.
    """
    return survey(root, trial, strict).read()


def listed_trials(root: Path) -> list[int]:
    """Return the trials of which at least one list is there, [1] without any."""
    trials = [k for k in TRIALS if any(root.glob(f"idx/*_{k}.txt"))]
    return trials or [1]


def survey(root: str | Path, trial: int = 1, strict: bool | None = None) -> Survey:
    """Read a trial and collect every fault instead of raising the first.

    Args:
        root: folder of the set.
        trial: as in `read`.
        strict: as in `read`.

    Returns:
        A survey that lists the tracklets of "train" and "test".
    """
    root, faults = open_root(root, strict)
    if trial not in TRIALS or isinstance(trial, (bool, float)):
        faults.error(root, f"trial must be in 1..10, got {trial!r}")
    names = {key: f"idx/{key[0]}_{WORD[key[1]]}_{trial}.txt" for key in KEYS}
    if faults.errors or not faults.require(root, list(names.values())):
        return Survey(None, faults)
    files = {key: root / name for key, name in names.items()}
    items = _read_items(root, files, faults)
    # an unreadable line leaves a gap in the labels, which is not reported again
    complete = not faults.errors
    classes = {s: _classes(s, files, items, complete, faults) for s in SPLITS}
    _check_disjoint(files, items, classes, trial, faults)
    tracklets = {key: _tracklets(root, key[1], items[key]) for key in KEYS}
    listed = {s: tracklets[s, "vis"] + tracklets[s, "ir"] for s in SPLITS}
    train = tuple(t for t in listed["train"] if t.identity in classes["train"])
    if not faults.errors and not train:
        what = "no training identity has images of both modalities"
        faults.error(files["train", "vis"], what)
    if faults.errors:
        return Survey(None, faults, listed)
    vis, ir = tracklets["test", "vis"], tracklets["test", "ir"]
    sides: dict[Direction, tuple] = {"ir2vis": (ir, vis), "vis2ir": (vis, ir)}
    problems, people = tuple(faults.warnings), classes["train"]
    dataset = Trial("regdb", root, train, sides, "none", problems, classes=people)
    return Survey(dataset, faults, listed)


def _read_items(root: Path, files: Files, faults: Faults) -> Items:
    """Read all lists and check that nothing they name is a link out of the folder."""
    folders = [root / name for name in FOLDER.values()]
    check_links([root / "idx", *files.values(), *folders], faults)
    items = {key: _items(path, key[1], faults) for key, path in files.items()}
    images = []
    for key in files:
        images += [root / item.path for item in items[key]]
    check_links([*dict.fromkeys(image.parent for image in images), *images], faults)
    return items


def _check_disjoint(
    files: Files,
    items: Items,
    classes: dict[str, dict[int, int]],
    trial: int,
    faults: Faults,
) -> None:
    """Refuse identities that are both trained on and tested.

    Args:
        files: the lists.
        items: their lines.
        classes: split -> identity -> label.
        trial: for the message.
        faults: collects what is wrong.
    """
    lines = reversed(items["train", "vis"] + items["train", "ir"])
    first = {item.identity: item for item in lines}
    for identity in sorted(classes["train"].keys() & classes["test"].keys()):
        is_visible = first[identity].path.startswith("Visible")
        path = files["train", "vis" if is_visible else "ir"]
        what = f"identity {identity} is in train and test of trial {trial}"
        faults.error(path, what, first[identity].line)


def _tracklets(
    root: Path, modality: Modality, items: list[Item]
) -> tuple[Tracklet, ...]:
    camera = CAMERA[modality]
    images = [((root / item.path,), item.identity) for item in items]
    return tuple(
        Tracklet(paths, identity, camera, modality) for paths, identity in images
    )


def _items(path: Path, modality: Modality, faults: Faults) -> list[Item]:
    """Return the well-formed lines of one list."""
    items, lines = [], read_lines(path, faults)
    note_blanks(path, lines, faults)
    first: dict[str, int] = {}  # of equal paths the first counts
    for number, line in enumerate(lines, start=1):
        line = with_slashes(line)
        if not line.strip():
            faults.tolerate("blank lines skipped", path, "a blank line", number)
            continue
        if why := _why_not(line, modality):
            faults.error(path, f"{why} in {quote(line)}", number)
            continue
        listed, label = split_fields(line)
        earlier = first.setdefault(listed, number)
        if earlier != number:
            what = f"{quote(listed)} is already on line {earlier}"
            faults.tolerate("images listed twice, kept once", path, what, number)
            continue
        identity = int(listed.split("/")[1])
        items.append(Item(number, listed, identity, int(label)))
    return items


def _why_not(line: str, modality: Modality) -> str | None:
    """Describe what is wrong with a line, None when nothing is."""
    parts = split_fields(line)
    if len(parts) != 2:
        return "not '<path> <label>'"
    listed, label = parts
    if escapes(listed):
        return "the path leaves the data folder"
    if re.fullmatch(r"-\d+", label, re.ASCII):
        return f"label {quote(label)} is negative"
    if not re.fullmatch(r"\d{1,9}", label, re.ASCII):
        return f"label {quote(label)} is no integer"
    own_folder, own_letter = FOLDER[modality], LETTER[modality]
    match = IMAGE.fullmatch(listed)
    if match is None:
        example = f"{own_folder}/285/male_front_{own_letter}_00110_285.bmp"
        return f"not an image path such as {example}"
    folder, identity, letter, named = match.groups()
    if folder != own_folder or letter != own_letter:
        expected = f"expected {own_folder}/ and _{own_letter}_"
        return f"not a {WORD[modality]} image ({expected})"
    if int(identity) != int(named):
        return f"folder of identity {identity} but file of identity {named}"
    return None


def _classes(
    split: str, files: Files, items: Items, complete: bool, faults: Faults
) -> dict[int, int]:
    """Return identity -> label of a split.

    Labels must be one to one, contiguous from 0 and the same in both modalities. People
    of one modality are not trained on, and the labels of the others close up.

    Args:
        split: "train" or "test".
        files: the lists.
        items: their lines.
        complete: whether all lines could be read.
        faults: collects what is wrong.
    """
    label_of, identity_of = _match_labels(split, files, items, faults)
    if not complete:
        return label_of
    lonely = _check_modalities(split, files, items, identity_of, faults)
    if split == "test" or not lonely:
        return label_of
    people = sorted(label_of.keys() - lonely, key=label_of.__getitem__)
    return {identity: label for label, identity in enumerate(people)}


def _match_labels(
    split: str, files: Files, items: Items, faults: Faults
) -> tuple[dict[int, int], dict[int, int]]:
    """Return identity -> label and label -> identity, which must be one to one.

    Args:
        split: "train" or "test".
        files: the lists.
        items: their lines.
        faults: collects what is wrong.
    """
    label_of: dict[int, int] = {}
    identity_of: dict[int, int] = {}
    for modality in MODALITIES:
        path = files[split, modality]
        for item in items[split, modality]:
            identity = identity_of.setdefault(item.label, item.identity)
            if identity != item.identity:
                what = f"label {item.label} means identity {item.identity} here"
                before = f"and {identity} before ({quote(item.path)})"
                faults.error(path, f"{what} {before}", item.line)
            label = label_of.setdefault(item.identity, item.label)
            if label != item.label:
                what = f"identity {item.identity} has label {item.label} here"
                before = f"and {label} before ({quote(item.path)})"
                faults.error(path, f"{what} {before}", item.line)
    return label_of, identity_of


def _check_modalities(
    split: str, files: Files, items: Items, identity_of: dict[int, int], faults: Faults
) -> set[int]:
    """Return the identities of one modality, and check that labels have no gap.

    Args:
        split: "train" or "test".
        files: the lists.
        items: their lines.
        identity_of: label -> identity.
        faults: collects what is wrong.
    """
    present = {m: _labels(items[split, m]) for m in MODALITIES}
    every = present["vis"] | present["ir"]
    lonely = set()
    for modality, other in (MODALITIES, MODALITIES[::-1]):
        path, labels = files[split, modality], present[modality]
        gaps = set(range(max(labels, default=-1) + 1)) - every
        if gaps:
            what = f"{min(gaps)} is missing below {max(labels)}"
            faults.error(path, f"labels are not contiguous from 0: {what}")
        if not present[other]:
            continue
        for label in sorted(labels - present[other]):
            identity = identity_of[label]
            lonely.add(identity)
            _tolerate_lonely(path, split, label, identity, modality, faults)
    return lonely


def _labels(items: list[Item]) -> set[int]:
    return {item.label for item in items}


def _tolerate_lonely(
    path: Path,
    split: str,
    label: int,
    identity: int,
    modality: Modality,
    faults: Faults,
) -> None:
    part, treatment = ("test", "kept") if split == "test" else ("training", "left out")
    other = "ir" if modality == "vis" else "vis"
    faults.tolerate(
        f"{part} identities of one modality {treatment}",
        path,
        f"label {label} is {WORD[modality]} only (identity {identity})",
        name=f"{identity} without {WORD[other]}",
    )
