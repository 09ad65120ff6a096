"""BUPTCampus: video tracklets of people that six double cameras film in both modalities.

Images lie in `<root>/DATA/<identity>/<IR|RGB>/<camera>/`; `data_paths.json` names the
frames of every tracklet, and the lists say which tracklets are trained on (`train.txt`,
`train_auxiliary.txt`), search (`query.txt`) and are searched (`gallery.txt`), one line
`identity modality camera tracklet` each. Folders are read off the lists, so nothing here
touches an image. No gallery item is ever removed, and no tracklet is too short.
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
    existing_root,
    fields,
    note_blanks,
    quote,
    read_lines,
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
CAMERAS = ("LS3", "G25", "CQ1", "W4", "TSG1", "TSG2")  # camera 1 to 6
FOLDER: dict[Modality, str] = {"vis": "RGB", "ir": "IR"}
WORD = {"vis": "visible", "ir": "infrared"}
BOTH = "RGB/IR"  # a line that stands for two tracklets, aligned frame by frame
IMAGE = re.compile(r".+\.(?i:" + "|".join(SUFFIXES) + ")")


@dataclass(frozen=True)
class Line:
    """One line of a list that can be used: what it says, and its frames by modality."""

    number: int
    identity: int
    camera: int
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
        root: the folder of the set.
        auxiliary: train on the people of `train_auxiliary.txt`, too.
        strict: True refuses all that is odd, False reads on past all that can be read;
            None mends or leaves out what is harmless and refuses the rest.

    Raises:
        DataError: naming the first fault.
    """
    return survey(root, auxiliary, strict).read()


def survey(
    root: str | Path, auxiliary: bool = False, strict: bool | None = None
) -> Survey:
    """Do as `read`, with every fault instead of the first.

    `listed` of what returns holds all tracklets of "train", "auxiliary", "query" and
    "gallery".
    """
    root, faults = existing_root(root, strict)
    if not isinstance(auxiliary, bool):
        faults.error(root, f"auxiliary must be true or false, got {auxiliary!r}")
    named = {part: name for part, name in LISTS.items() if (root / name).is_file()}
    needed = [name for part, name in LISTS.items() if auxiliary or part != "auxiliary"]
    if faults.errors or not faults.require(root, [INDEX, *needed]):
        return Survey(None, faults)
    check_links([root / name for name in (IMAGES, INDEX, *named.values())], faults)
    reader = _Reader(root, faults)
    lines = {part: reader.lines(part) for part in named}
    found = {part: _flat(lines[part]) for part in lines}
    folders = {t.paths[0].parent for part in found.values() for t in part}
    above = {place for f in folders for place in (f, f.parent, f.parent.parent)}
    check_links(sorted(above), faults)
    used = ["train", "auxiliary"] if auxiliary else ["train"]
    _check_disjoint(root, lines, used, faults)
    learn = tuple(t for part in used for t in found.get(part, ()))
    learn = _without_lonely(root, lines, used, learn, faults)
    sides: dict[Direction, tuple] = {
        "ir2vis": (_of(found["query"], "ir"), _of(found["gallery"], "vis")),
        "vis2ir": (_of(found["query"], "vis"), _of(found["gallery"], "ir")),
    }
    _check_sides(root, sides, learn, faults)
    if faults.errors:
        return Survey(None, faults, found)
    problems = tuple(faults.warnings)
    data = Dataset("buptcampus", root, learn, sides, "none", problems)
    return Survey(data, faults, found)


def _flat(lines: list[Line]) -> tuple[Tracklet, ...]:
    return tuple(t for line in lines for t in line.tracklets())


def _of(tracklets: tuple[Tracklet, ...], modality: Modality) -> tuple[Tracklet, ...]:
    return tuple(t for t in tracklets if t.modality == modality)


class _Reader:
    """The lists of a set, whose frames the index names."""

    def __init__(self, root: Path, faults: Faults):
        self.root, self.faults = root, faults
        self.index = _index(root / INDEX, faults)

    def lines(self, part: str) -> list[Line]:
        """The lines of one list that can be used; what is wrong with others is said."""
        path, found = self.root / LISTS[part], []
        texts = read_lines(path, self.faults)
        note_blanks(path, texts, self.faults)
        first: dict[str, int] = {}
        for number, text in enumerate(texts, start=1):
            if not text.strip():
                self.faults.spare("blank lines skipped", path, "a blank line", number)
                continue
            key = " ".join(fields(text))
            if first.setdefault(key, number) != number:
                what = f"{quote(text)} is already on line {first[key]}"
                self.faults.spare("lines listed twice, kept once", path, what, number)
                continue
            line = self._line(path, number, text)
            if line and line.frames:
                found.append(line)
        return found

    def _line(self, path: Path, number: int, text: str) -> Line | None:
        parts = fields(text)
        wrong = _why_not(parts)
        if wrong:
            self.faults.error(path, f"{wrong} in {quote(text)}", number)
            return None
        pid, modality, camera, tracklet = parts
        pair = modality == BOTH
        names = {m: name for m, name in FOLDER.items() if pair or modality == name}
        frames = {}
        for m, name in names.items():
            if paths := self._frames(path, number, (pid, name, camera, tracklet)):
                frames[m] = paths
        if pair and len({len(paths) for paths in frames.values()}) > 1:
            counts = " and ".join(f"{len(p)} {WORD[m]}" for m, p in frames.items())
            what = f"{quote(text)} is a pair of {counts} frames: they are not aligned"
            self.faults.doubt(path, what, number)
        return Line(number, int(pid), CAMERAS.index(camera) + 1, frames)

    def _frames(
        self, path: Path, number: int, keys: tuple[str, str, str, str]
    ) -> tuple[Path, ...]:
        """Frames of a tracklet; () and an error where the index does not give them."""
        node: Any = self.index
        for key in keys:
            node = node.get(key) if isinstance(node, dict) else None
        where = f"tracklet {' '.join(keys)}"
        if self.index is None:  # the index itself is reported, once
            return ()
        if not isinstance(node, list) or not node:
            what = (
                f"{where} has no frames" if node == [] else f"{where} is not in {INDEX}"
            )
            self.faults.error(path, what, number)
            return ()
        base = "/".join(keys[:3]) + "/"
        for listed in node:
            if (
                isinstance(listed, str)
                and listed.startswith(base)
                and ".." not in listed
            ):
                continue
            if not isinstance(listed, str) or escapes(listed):
                what = f"{where} of {INDEX} has the frame {quote(str(listed))}, which"
                self.faults.error(path, f"{what} leaves {IMAGES}/", number)
                return ()
            what = f"{where} of {INDEX} has the frame {quote(listed)} of elsewhere"
            kind = "tracklets with frames that belong elsewhere, kept"
            self.faults.spare(kind, path, what, number)
            break
        if odd := next((name for name in node if not IMAGE.fullmatch(name)), None):
            what = f"{where} of {INDEX} has {quote(odd)}, which is no image name"
            self.faults.error(path, what, number)
            return ()
        return tuple([self.root / IMAGES / name for name in node])


def _why_not(parts: list[str]) -> str | None:
    """What is wrong with a line, None when nothing is."""
    if len(parts) != 4:
        return f"not 'identity modality camera tracklet' ({len(parts)} fields)"
    pid, modality, camera, _ = parts
    if not re.fullmatch(r"\d{1,9}", pid, re.ASCII):
        return f"identity {quote(pid)} is no whole number from 0"
    if modality not in (*FOLDER.values(), BOTH):
        return f"modality {quote(modality)} is none of RGB, IR, {BOTH}"
    if camera not in CAMERAS:
        return f"camera {quote(camera)} is none of {', '.join(CAMERAS)}"
    return None


def _index(path: Path, faults: Faults) -> dict | None:
    """The frames of every tracklet, by identity, modality, camera and tracklet."""
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
    """No identity is both trained on and searched or searched for."""
    tested = {
        line.identity: (part, line.number)
        for part in ("gallery", "query")
        for line in lines.get(part, [])
    }
    said = set()
    for part in used:
        for line in lines.get(part, []):
            if line.identity in tested and line.identity not in said:
                said.add(line.identity)
                other, number = tested[line.identity]
                what = f"identity {line.identity} is also in {LISTS[other]}"
                faults.doubt(root / LISTS[part], f"{what}, line {number}", line.number)


def _without_lonely(
    root: Path, lines: dict, used: list[str], learn: tuple, faults: Faults
) -> tuple[Tracklet, ...]:
    """Training tracklets of people with both modalities; the others are left out."""
    seen = {(t.identity, t.modality) for t in learn}
    alone = set()
    for part in used:
        for line in lines.get(part, []):
            for modality in MODALITIES:
                if (line.identity, modality) in seen or line.identity in alone:
                    continue
                alone.add(line.identity)
                word = WORD[modality]
                faults.spare(
                    "training identities of one modality left out",
                    root / LISTS[part],
                    f"training identity {line.identity} has no {word} tracklet",
                    line.number,
                    f"{line.identity} without {word}",
                )
    return tuple(t for t in learn if t.identity not in alone)


def _check_sides(root: Path, sides: dict, learn: tuple, faults: Faults) -> None:
    if faults.errors:
        return
    if not learn:
        what = "no training identity has tracklets of both modalities"
        faults.error(root / LISTS["train"], what)
    for direction, pair in sides.items():
        for part, side in zip(("query", "gallery"), pair, strict=True):
            if not side:
                asked = (part == "query") == (direction == "ir2vis")
                word = WORD["ir" if asked else "vis"]
                what = f"no {word} tracklet, so {direction} has no {part}"
                faults.error(root / LISTS[part], what)
