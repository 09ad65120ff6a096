"""BUPTCampus: video tracklets from six cameras that film in both modalities at once.

Images lie in `<root>/DATA/<identity>/<IR|RGB>/<camera>/`. `data_paths.json` names the
frames of every tracklet. The lists hold one line `identity modality camera tracklet`
for each tracklet that is trained on (`train.txt`, `train_auxiliary.txt`), is a query
(`query.txt`) or in the gallery (`gallery.txt`). Folders follow from the lists, so
nothing here opens an image. No gallery item is removed, and no tracklet is too short.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

IMAGES, INDEX = "DATA", "data_paths.json"
LISTS = {
    "train": "train.txt",
    "auxiliary": "train_auxiliary.txt",
    "query": "query.txt",
    "gallery": "gallery.txt",
}
#: Names of cameras 1 to 6.
CAMERAS = ("LS3", "G25", "CQ1", "W4", "TSG1", "TSG2")
FOLDER: dict[Modality, str] = {"vis": "RGB", "ir": "IR"}
WORD = {"vis": "visible", "ir": "infrared"}
#: Modality of a line that stands for two tracklets, aligned frame by frame.
BOTH = "RGB/IR"
IMAGE = re.compile(r".+\.(?i:" + "|".join(SUFFIXES) + ")")


@dataclass(frozen=True)
class Line:
    """A usable line of a list."""

    number: int
    identity: int
    camera: int
    #: Modality -> its frames.
    frames: dict[Modality, tuple[Path, ...]]

    def tracklets(self) -> Iterator[Tracklet]:
        """Yield one tracklet or two, visible first."""
        for modality in MODALITIES:
            if modality in self.frames:
                paths = self.frames[modality]
                yield Tracklet(paths, self.identity, self.camera, modality)


def read(
    root: str | Path, auxiliary: bool = False, strict: bool | None = None
) -> Dataset:
    """Read the tracklets of a set, in the order of its lists.

    Args:
        root: folder of the set.
        auxiliary: also train on the people of `train_auxiliary.txt`.
        strict: True refuses all faults, False reads on past every readable one, None
            repairs or skips the harmless and refuses the rest.

    Raises:
        DataError: naming the first fault.
    """
    return survey(root, auxiliary, strict).read()


def survey(
    root: str | Path, auxiliary: bool = False, strict: bool | None = None
) -> Survey:
    """Read a set and collect every fault instead of raising the first.

    Args:
        root: folder of the set.
        auxiliary: as in `read`.
        strict: as in `read`.

    Returns:
        A survey of the parts "train", "auxiliary", "query" and "gallery".
    """
    root, faults = open_root(root, strict)
    if not isinstance(auxiliary, bool):
        faults.error(root, f"auxiliary must be true or false, got {auxiliary!r}")
    present = {part: name for part, name in LISTS.items() if (root / name).is_file()}
    required = [
        name for part, name in LISTS.items() if auxiliary or part != "auxiliary"
    ]
    if faults.errors or not faults.require(root, [INDEX, *required]):
        return Survey(None, faults)
    check_links([root / name for name in (IMAGES, INDEX, *present.values())], faults)
    reader = _Reader(root, faults)
    lines = {part: reader.lines(part) for part in present}
    listed = {part: _tracklets(lines[part]) for part in present}
    _check_folders(listed, faults)
    used = ["train", "auxiliary"] if auxiliary else ["train"]
    _check_disjoint(root, lines, used, faults)
    train = _without_lonely(root, lines, used, faults)
    query, gallery = listed["query"], listed["gallery"]
    sides: dict[Direction, tuple] = {
        "ir2vis": (_of(query, "ir"), _of(gallery, "vis")),
        "vis2ir": (_of(query, "vis"), _of(gallery, "ir")),
    }
    _check_sides(root, sides, train, faults)
    if faults.errors:
        return Survey(None, faults, listed)
    problems = tuple(faults.warnings)
    dataset = Dataset("buptcampus", root, train, sides, "none", problems)
    return Survey(dataset, faults, listed)


def _tracklets(lines: list[Line]) -> tuple[Tracklet, ...]:
    tracklets = []
    for line in lines:
        tracklets += line.tracklets()
    return tuple(tracklets)


def _of(tracklets: tuple[Tracklet, ...], modality: Modality) -> tuple[Tracklet, ...]:
    return tuple(t for t in tracklets if t.modality == modality)


def _check_folders(listed: dict[str, tuple[Tracklet, ...]], faults: Faults) -> None:
    """Check that no folder of images is a link out of the data folder."""
    folders = set()
    for tracklets in listed.values():
        folders |= {tracklet.paths[0].parent for tracklet in tracklets}
    people = {folder.parent.parent for folder in folders}
    modalities = {folder.parent for folder in folders}
    check_links(sorted(folders | modalities | people), faults)


class _Reader:
    """The lists of a set, whose frames the index names."""

    def __init__(self, root: Path, faults: Faults):
        self.root, self.faults = root, faults
        self.images = root / IMAGES
        self.index = _read_index(root / INDEX, faults)

    def lines(self, part: str) -> list[Line]:
        """Return the usable lines of one list."""
        path = self.root / LISTS[part]
        texts = read_lines(path, self.faults)
        note_blanks(path, texts, self.faults)
        lines, first = [], {}  # of equal lines the first counts
        for number, text in enumerate(texts, start=1):
            if not text.strip():
                kind, what = "blank lines skipped", "a blank line"
                self.faults.tolerate(kind, path, what, number)
                continue
            key = " ".join(split_fields(text))
            if first.setdefault(key, number) != number:
                what = f"{quote(text)} is already on line {first[key]}"
                kind = "lines listed twice, kept once"
                self.faults.tolerate(kind, path, what, number)
                continue
            line = self._line(path, number, text)
            if line and line.frames:
                lines.append(line)
        return lines

    def _line(self, path: Path, number: int, text: str) -> Line | None:
        parts = split_fields(text)
        if wrong := _why_not(parts):
            self.faults.error(path, f"{wrong} in {quote(text)}", number)
            return None
        identity, modality, camera, tracklet = parts
        frames = {}
        for m, folder in FOLDER.items():
            if modality in (folder, BOTH):
                keys = (identity, folder, camera, tracklet)
                if paths := self._frames(path, number, keys):
                    frames[m] = paths
        if len({len(paths) for paths in frames.values()}) > 1:
            counts = " and ".join(f"{len(p)} {WORD[m]}" for m, p in frames.items())
            what = f"{quote(text)} is a pair of {counts} frames: they are not aligned"
            self.faults.doubt(path, what, number)
        return Line(number, int(identity), CAMERAS.index(camera) + 1, frames)

    def _frames(
        self, path: Path, number: int, keys: tuple[str, str, str, str]
    ) -> tuple[Path, ...]:
        """Return the frames of a tracklet, () where the index does not give them.

        Args:
            path: the list, for faults.
            number: its line.
            keys: identity, folder of the modality, camera and tracklet.
        """
        if self.index is None:  # the index itself is reported once
            return ()
        tracklet = f"tracklet {' '.join(keys)}"
        names = self._find(keys)
        if not isinstance(names, list) or not names:
            what = "has no frames" if names == [] else f"is not in {INDEX}"
            self.faults.error(path, f"{tracklet} {what}", number)
            return ()
        names = [with_slashes(n) if isinstance(n, str) else n for n in names]
        if not self._check_folder(path, number, keys, names):
            return ()
        odd = [name for name in names if not IMAGE.fullmatch(name)]
        if odd:
            what = f"has {quote(odd[0])}, which is no image name"
            self.faults.error(path, f"{tracklet} of {INDEX} {what}", number)
            return ()
        return tuple([self.images / name for name in names])

    def _find(self, keys: tuple[str, str, str, str]) -> Any:
        """Return what the index holds under these keys, None where it has them not."""
        node: Any = self.index
        for key in keys:
            node = node.get(key) if isinstance(node, dict) else None
        return node

    def _check_folder(
        self, path: Path, number: int, keys: tuple[str, str, str, str], names: list
    ) -> bool:
        """Check the frames that do not lie in the tracklet's own folder.

        Args:
            path: the list, for faults.
            number: its line.
            keys: identity, folder of the modality, camera and tracklet.
            names: frames of the tracklet, from the index.

        Returns:
            Whether the frames can be used.
        """
        base = "/".join(keys[:3]) + "/"
        foreign = [name for name in names if not _is_below(name, base)]
        if not foreign:
            return True
        outside = [name for name in foreign if _leaves(name)]
        name = (outside or foreign)[0]
        what = f"tracklet {' '.join(keys)} of {INDEX} has the frame {quote(str(name))}"
        if outside:
            self.faults.error(path, f"{what}, which leaves {IMAGES}/", number)
            return False
        kind = "tracklets with frames that belong elsewhere, kept"
        self.faults.tolerate(kind, path, f"{what} of elsewhere", number)
        return True


def _leaves(name: object) -> bool:
    return not isinstance(name, str) or escapes(name)


def _is_below(name: object, base: str) -> bool:
    return isinstance(name, str) and name.startswith(base) and ".." not in name


def _why_not(parts: list[str]) -> str | None:
    """Describe what is wrong with the fields of a line, None when nothing is."""
    if len(parts) != 4:
        return f"not 'identity modality camera tracklet' ({len(parts)} fields)"
    identity, modality, camera, _ = parts
    if not re.fullmatch(r"\d{1,9}", identity, re.ASCII):
        return f"identity {quote(identity)} must be an integer >= 0"
    if modality not in (*FOLDER.values(), BOTH):
        return f"modality {quote(modality)} is none of RGB, IR, {BOTH}"
    if camera not in CAMERAS:
        return f"camera {quote(camera)} is none of {', '.join(CAMERAS)}"
    return None


def _read_index(path: Path, faults: Faults) -> dict | None:
    """Read the frames of every tracklet by identity, modality, camera and tracklet."""
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        faults.error(path, f"cannot be read as JSON: {str(error).splitlines()[0]}")
        return None
    if not isinstance(content, dict):
        faults.error(path, f"holds a {type(content).__name__}, not names with values")
        return None
    return content


def _check_disjoint(root: Path, lines: dict, used: list[str], faults: Faults) -> None:
    """Doubt identities that are both trained on and tested.

    Args:
        root: folder of the set.
        lines: part -> its usable lines.
        used: parts that are trained on.
        faults: collects what is wrong.
    """
    tested = {}
    for part in ("gallery", "query"):
        for line in lines.get(part, []):
            tested[line.identity] = (LISTS[part], line.number)
    reported = set()
    for part in used:
        for line in lines.get(part, []):
            if line.identity in tested and line.identity not in reported:
                reported.add(line.identity)
                name, number = tested[line.identity]
                what = f"identity {line.identity} is also in {name}, line {number}"
                faults.doubt(root / LISTS[part], what, line.number)


def _without_lonely(
    root: Path, lines: dict, used: list[str], faults: Faults
) -> tuple[Tracklet, ...]:
    """Return the training tracklets of people who have both modalities.

    Args:
        root: folder of the set.
        lines: part -> its usable lines.
        used: parts that are trained on.
        faults: collects who is left out.
    """
    tracklets = []
    for part in used:
        tracklets += _tracklets(lines.get(part, []))
    modalities: dict[int, set[Modality]] = {}
    for tracklet in tracklets:
        modalities.setdefault(tracklet.identity, set()).add(tracklet.modality)
    lonely = set()
    for part in used:
        for line in lines.get(part, []):
            missing = set(MODALITIES) - modalities[line.identity]
            if missing and line.identity not in lonely:
                lonely.add(line.identity)
                word = WORD[missing.pop()]
                faults.tolerate(
                    "training identities of one modality left out",
                    root / LISTS[part],
                    f"training identity {line.identity} has no {word} tracklet",
                    line.number,
                    f"{line.identity} without {word}",
                )
    return tuple(t for t in tracklets if t.identity not in lonely)


def _check_sides(root: Path, sides: dict, train: tuple, faults: Faults) -> None:
    """Refuse an empty training set, query or gallery.

    Args:
        root: folder of the set.
        sides: direction -> (query, gallery).
        train: training tracklets.
        faults: collects what is wrong.
    """
    if faults.errors:
        return
    if not train:
        what = "no training identity has tracklets of both modalities"
        faults.error(root / LISTS["train"], what)
    for direction, pair in sides.items():
        modalities = direction.split("2")
        for part, side, modality in zip(
            ("query", "gallery"), pair, modalities, strict=True
        ):
            if not side:
                what = f"no {WORD[modality]} tracklet, so {direction} has no {part}"
                faults.error(root / LISTS[part], what)
