"""HITSZ-VCM: video tracklets of people in visible and infrared light, from the five list files of the released set.

Images lie in `<root>/<identity>/<ir|rgb>/D<camera>/<frame>.jpg` (flat) or below `<root>/Train` and `<root>/Test` (split); the lists in `<root>/info` or in
`<root>`. Folders are read off the lists, never searched, so nothing here touches an image.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, NamedTuple

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

LISTS = [
    "train_name.txt",
    "test_name.txt",
    "track_train_info.txt",
    "track_test_info.txt",
    "query_IDX.txt",
]
SPLITS = ("train", "test")
NAME = re.compile(
    r"(\d{4})M([12])D(\d{1,9})T(\d{1,9})F(\d{1,9})\.((?i:" + "|".join(SUFFIXES) + "))",
    re.ASCII,
)
INTEGER = re.compile(r"-?\d{1,9}", re.ASCII)
MODALITY: dict[str, Modality] = {"1": "ir", "2": "vis"}
FOLDER = {"1": "ir", "2": "rgb"}
WORD = {"ir": "infrared", "vis": "visible"}
MOST_FOREIGN = (
    0.5  # of the ranges; with more, lists were put together that do not belong
)

Foreign = Literal["keep", "drop"]
# identity, modality digit, camera, track, frame, extension
Frame = tuple[str, str, str, str, str, str]


class Row(NamedTuple):
    """One line of a track file; `start` and `end` count names from 1, both inclusive."""

    line: int
    modality: Modality
    start: int
    end: int
    identity: int
    camera: int

    def owns(self, frame: Frame) -> bool:
        """Whether a frame is named as one of this person, modality and camera."""
        same = int(frame[0]) == self.identity and int(frame[2]) == self.camera
        return same and MODALITY[frame[1]] == self.modality


def read(
    root: str | Path,
    min_seq_len: int = 12,
    strict: bool | None = None,
    part: str = "all",
    foreign: Foreign = "keep",
) -> Dataset:
    """Read the tracklets of a set, in the order of its lists.

    Args:
        root: the folder of the set.
        min_seq_len: tracklets with fewer images are dropped.
        strict: True refuses all that is odd, False reads on past all that can be read;
            None mends or leaves out what is harmless and refuses the rest.
        part: "test" for a set without training lists, such as tracklets cut from
            videos; either modality may then be absent.
        foreign: frames in the range of a row whose names are of another identity,
            modality or camera are kept, as by the released code, or dropped.

    Raises:
        DataError: naming the first malformed line.
    """
    return survey(root, min_seq_len, strict, part, foreign).read()


def survey(
    root: str | Path,
    min_seq_len: int = 12,
    strict: bool | None = None,
    part: str = "all",
    foreign: Foreign = "keep",
) -> Survey:
    """Do as `read`, with every fault instead of the first.

    `listed` of what returns holds all tracklets of "train" and "test".
    """
    root, faults = existing_root(root, strict)
    if part not in ("all", "test"):
        raise ValueError(f"no part {part!r} of hitsz-vcm; there are all, test")
    if foreign not in ("keep", "drop"):
        faults.error(root, f"foreign must be keep or drop, got {foreign!r}")
    splits = SPLITS if part == "all" else ("test",)
    if not isinstance(min_seq_len, int) or isinstance(min_seq_len, bool):
        faults.error(root, f"min_seq_len must be a whole number, got {min_seq_len!r}")
    elif min_seq_len < 1:
        faults.error(root, f"min_seq_len must be at least 1, got {min_seq_len!r}")
    lists = root / "info" if (root / "info").is_dir() else root
    needed = [name for name in LISTS if part == "all" or "train" not in name]
    if faults.errors or not faults.require(lists, needed):
        return Survey(None, faults)
    bases = image_folders(root, faults)
    check_links(
        [lists, *(lists / name for name in LISTS), *dict.fromkeys(bases.values())],
        faults,
    )
    rows, listed = {split: [] for split in SPLITS}, {split: [] for split in SPLITS}
    for split in splits:
        reader = _Split(lists, split, bases[split], foreign == "drop", faults)
        rows[split], listed[split] = reader.rows, reader.tracklets()
    _check_disjoint(lists, rows, faults)
    query_file = lists / "query_IDX.txt"
    searched = any(row and row.modality == "ir" for row in rows["test"])
    searching = part == "all" or searched or query_file.stat().st_size
    query = _query(query_file, rows["test"], faults) if searching else []
    kept = {
        split: [t if t and len(t) >= min_seq_len else None for t in listed[split]]
        for split in SPLITS
    }
    dropped = _dropped(listed, kept)
    if not faults.errors and part == "all":
        _check_kept(lists, rows, listed, kept, min_seq_len, faults)
    found = {split: tuple(t for t in listed[split] if t) for split in SPLITS}
    return Survey(_dataset(root, kept, dropped, query, faults), faults, found)


def image_folders(root: Path, faults: Faults) -> dict[str, Path]:
    """The folder of the identities of each split: the root (flat) or `Train` and `Test`; a mixture is an error."""
    split = [name for name in ("Train", "Test") if (root / name).is_dir()]
    flat = sorted(
        p.name
        for p in root.iterdir()
        if re.fullmatch(r"\d{4}", p.name, re.ASCII) and p.is_dir()
    )
    if split and flat:
        faults.error(
            root,
            f"both layouts present: {'/ and '.join(split)}/ beside identity folders ({flat[0]}/, {len(flat)} in all)",
        )
    elif len(split) == 1:
        faults.error(
            root, f"{split[0]}/ without {'Test' if split == ['Train'] else 'Train'}/"
        )
    return (
        {"train": root / "Train", "test": root / "Test"}
        if split
        else {"train": root, "test": root}
    )


def _frames(path: Path, faults: Faults) -> list[Frame | None]:
    """Parts of every frame name, None where a name is outside the grammar."""
    lines = read_lines(path, faults)
    note_blanks(path, lines, faults)
    frames = [
        (match := NAME.fullmatch(line.strip())) and match.groups() for line in lines
    ]
    for number, frame in enumerate(frames, start=1):
        if frame is None:
            faults.error(path, _why_no_name(lines[number - 1]), number)
        elif int(frame[2]) == 0:
            name = quote(lines[number - 1])
            faults.error(path, f"camera 0 in {name}; cameras count from 1", number)
    _check_distinct(path, frames, faults)
    return frames


def _why_no_name(line: str) -> str:
    if not line.strip():
        return "blank line; it would shift the numbers of all following names"
    if escapes(line):
        return (
            f"{quote(line)} leaves the data folder; only plain frame names are allowed"
        )
    return f"{quote(line)} is no frame name; expected <identity, 4 digits>M<1|2>D<camera>T<track>F<frame>.jpg, such as 0001M2D3T1F6.jpg"


def _check_distinct(path: Path, frames: list[Frame | None], faults: Faults) -> None:
    """Two names that differ only in their track mean one file."""
    files = [frame and (*frame[:3], *frame[4:]) for frame in frames]
    if len(set(files)) == len(files):  # the usual case, and the fast one
        return
    first: dict[tuple, int] = {}
    for number, file in enumerate(files, start=1):
        if not file or first.setdefault(file, number) == number:
            continue
        what = f"frame {file[3]} of identity {file[0]}, camera {file[2]} is already"
        faults.spare(
            "names of a frame that is listed twice, kept",
            path,
            f"{what} on line {first[file]}: one image file for both",
            number,
        )


def _rows(path: Path, names: int, faults: Faults) -> list[Row | None]:
    """The rows of a track file, None where one cannot be used."""
    lines = read_lines(path, faults)
    note_blanks(path, lines, faults)
    numbered = enumerate(lines, start=1)
    return [_row(path, line, number, names, faults) for number, line in numbered]


def _row(path: Path, line: str, number: int, names: int, faults: Faults) -> Row | None:
    values = fields(line)
    if len(values) != 5 or not all(map(INTEGER.fullmatch, values)):
        shape = "five integers (m start end identity camera)"
        why = _why_no_row(values)
        faults.error(path, f"{quote(line)} is not {shape}: {why}", number)
        return None
    m, start, end, identity, camera = map(int, values)
    wrong = []
    if str(m) not in MODALITY:
        wrong.append(f"m is {m}, must be 1 (infrared) or 2 (visible)")
    if start < 1:
        wrong.append(f"start {start} is below 1; names count from 1")
    if end < start:
        wrong.append(f"end {end} is before start {start}")
    if names and end > names:  # without names the file is reported as empty, once
        wrong.append(f"end {end} is beyond the {names} names")
    if camera < 1:
        wrong.append(f"camera {camera}; cameras count from 1")
    for what in wrong:
        faults.error(path, f"{what} in {quote(line)}", number)
    if wrong:
        return None
    return Row(number, MODALITY[str(m)], start, end, identity, camera)


def _why_no_row(values: list[str]) -> str:
    if not values:
        return "a blank line; it would shift the numbers of all following rows"
    if bad := [value for value in values if not INTEGER.fullmatch(value)]:
        return f"{quote(bad[0])} is no integer"
    return f"{len(values)} fields"


def _check_ranges(
    path: Path, rows: list[Row | None], names: int, faults: Faults
) -> None:
    """Rows share no name (doubtful when they do) and leave none out (a warning)."""
    ordered = sorted(
        (row for row in rows if row), key=lambda row: (row.start, row.line)
    )
    if not ordered:
        return
    reach = ordered[0]
    for row in ordered[1:]:
        if row.start <= reach.end:
            faults.doubt(
                path,
                f"names {row.start} to {row.end} overlap those of line {reach.line} ({reach.start} to {reach.end})",
                row.line,
            )
        elif row.start > reach.end + 1:
            faults.warn(
                path,
                f"names {reach.end + 1} to {row.start - 1} belong to no row",
                row.line,
            )
        reach = max(reach, row, key=lambda r: r.end)
    if ordered[0].start > 1:
        faults.warn(
            path, f"names 1 to {ordered[0].start - 1} belong to no row", ordered[0].line
        )
    if reach.end < names:
        faults.warn(
            path, f"names {reach.end + 1} to {names} belong to no row", reach.line
        )


class _Split:
    """The lists of one split: frame names, and the rows that are ranges of them."""

    def __init__(self, lists: Path, split: str, base: Path, drop: bool, faults: Faults):
        self.names, self.path = (
            lists / f"{split}_name.txt",
            lists / f"track_{split}_info.txt",
        )
        self.base, self.drop, self.faults = base, drop, faults
        self.frames = _frames(self.names, faults)
        self.rows = _rows(self.path, len(self.frames), faults)
        self.folders: dict[tuple[str, str, str], Path] = {}
        self.odd = 0  # ranges with frames that belong elsewhere
        _check_ranges(self.path, self.rows, len(self.frames), faults)

    def tracklets(self) -> list[Tracklet | None]:
        """One tracklet per row; None for a row that is malformed or keeps no frame."""
        found = [self._tracklet(row) if row else None for row in self.rows]
        self._check_foreign()
        places = [
            place
            for folder in self.folders.values()
            for place in (folder.parent.parent, folder.parent, folder)
        ]
        check_links(dict.fromkeys(places), self.faults)
        return found

    def _tracklet(self, row: Row) -> Tracklet | None:
        own = self.frames[row.start - 1 : row.end]
        if None in own:
            return None
        if not self._is_plain(row, own):
            own = self._without_foreign(row, own)
        for key in {frame[:3] for frame in own}.difference(self.folders):
            folder = self.base / key[0] / FOLDER[key[1]] / f"D{key[2]}"
            self.folders[key] = folder
        paths = [self.folders[f[:3]] / f"{f[4]}.{f[5]}" for f in own]
        if not paths:
            return None
        return Tracklet(tuple(paths), row.identity, row.camera, row.modality)

    def _is_plain(self, row: Row, own: list[Frame]) -> bool:
        kinds = {frame[:4] for frame in own}
        return len(kinds) == 1 and row.owns(own[0])

    def _without_foreign(self, row: Row, own: list[Frame]) -> list[Frame]:
        """Frames of a row that are kept; what is odd about the others is noted."""
        foreign = [k for k, frame in enumerate(own) if not row.owns(frame)]
        if foreign:
            self.odd += 1
            done = "dropped" if self.drop else "kept"
            kind = f"ranges with frames that belong elsewhere, {done}"
            self.faults.spare(kind, self.path, self._said(row, own, foreign), row.line)
        tracks = sorted({frame[3] for frame in own if row.owns(frame)}, key=int)
        if len(tracks) > 1:
            what = f"names {row.start} to {row.end} mix tracks T{', T'.join(tracks)}"
            kind = "ranges that mix tracks of one person, kept"
            self.faults.spare(kind, self.path, f"{what} ({self.names.name})", row.line)
        if not self.drop:
            return own
        return [frame for frame in own if row.owns(frame)]

    def _said(self, row: Row, own: list[Frame], foreign: list[int]) -> str:
        """The first frame of a range that belongs elsewhere, and how many there are."""
        first = own[foreign[0]]
        name = "{}M{}D{}T{}F{}.{}".format(*first)
        if int(first[0]) != row.identity:
            claim = f"identity {row.identity}"
        elif MODALITY[first[1]] != row.modality:
            claim = f"modality {row.modality}"
        else:
            claim = f"camera {row.camera}"
        where = f"{self.names.name}, line {row.start + foreign[0]}"
        count = f"{len(foreign)} of {len(own)} frames of this range belong elsewhere"
        return f"{claim} disagrees with {name!r} ({where}); {count}"

    def _check_foreign(self) -> None:
        """Lists most of whose ranges belong elsewhere are of different sets."""
        whole = sum(row is not None for row in self.rows)
        if self.odd >= 3 and self.odd > MOST_FOREIGN * whole:
            what = f"{self.odd} of {whole} ranges hold frames that belong elsewhere"
            self.faults.doubt(
                self.path, f"{what}: is it of the same set as {self.names}?"
            )


def _query(path: Path, rows: list[Row | None], faults: Faults) -> list[int]:
    """Places (from 0) of the listed rows in the test track file, in the listed order; they should be exactly the infrared rows."""
    first: dict[int, int] = {}
    for number, line in enumerate(read_lines(path, faults), start=1):
        for text in fields(line):
            if not INTEGER.fullmatch(text):
                faults.error(path, f"{quote(text)} is no integer", number)
            elif not 1 <= (value := int(text)) <= len(rows):
                hint = (
                    "; rows count from 1, so this looks like a file that counts from 0"
                    if value == 0
                    else ""
                )
                faults.error(
                    path, f"row {value} is outside 1..{len(rows)}{hint}", number
                )
            elif value in first:
                faults.error(
                    path,
                    f"row {value} is listed twice (first on line {first[value]})",
                    number,
                )
            else:
                first[value] = number
                if (row := rows[value - 1]) and row.modality != "ir":
                    faults.doubt(
                        path,
                        f"row {value} is a visible tracklet (identity {row.identity}); queries are the infrared ones",
                        number,
                    )
    if first:
        for row in rows:
            if row and row.modality == "ir" and row.line not in first:
                faults.doubt(
                    path,
                    f"row {row.line} is infrared (identity {row.identity}) but not listed as a query",
                )
    return [value - 1 for value in first]


def _check_disjoint(
    lists: Path, rows: dict[str, list[Row | None]], faults: Faults
) -> None:
    """No identity is both trained on and tested."""
    train, test = (
        {row.identity: row.line for row in reversed(rows[split]) if row}
        for split in SPLITS
    )
    for identity in sorted(train.keys() & test.keys()):
        faults.doubt(
            lists / "track_train_info.txt",
            f"identity {identity} is also in track_test_info.txt, line {test[identity]}",
            train[identity],
        )


def _dropped(listed: dict, kept: dict) -> dict[tuple[str, str], int]:
    """Tracklets under the minimum length by split and modality."""
    dropped = {(split, modality): 0 for split in SPLITS for modality in MODALITIES}
    for split in SPLITS:
        for full, t in zip(listed[split], kept[split], strict=True):
            if full:
                dropped[split, full.modality] += t is None
    return dropped


def _check_kept(
    lists: Path, rows: dict, listed: dict, kept: dict, least: int, faults: Faults
) -> None:
    """Leave out training people of one modality; a test needs both sides.

    Short tracklets are gone from `kept`, from which people are taken out here.
    """
    for split in SPLITS:
        path = lists / f"track_{split}_info.txt"
        if not any(kept[split]):
            longest = max((len(t) for t in listed[split] if t), default=0)
            what = f"every tracklet is shorter than min_seq_len={least}"
            faults.error(path, f"{what} (longest {longest} images)")
    if faults.errors:
        return
    owners = {row.identity: row.line for row in reversed(rows["train"])}
    seen = {(t.identity, t.modality) for t in kept["train"] if t}
    alone = set()
    for identity, line in sorted(owners.items()):
        for modality in MODALITIES:
            if (identity, modality) not in seen:
                alone.add(identity)
                _leave_out(lists, identity, modality, least, line, faults)
    everyone = kept["train"]
    kept["train"] = [t if t and t.identity not in alone else None for t in everyone]
    if not any(kept["train"]):
        what = f"no training identity has tracklets of at least {least} images"
        faults.error(lists / "track_train_info.txt", f"{what} in both modalities")
    for modality in MODALITIES:
        if not any(t and t.modality == modality for t in kept["test"]):
            what = f"the test set has no {WORD[modality]} tracklet"
            path = lists / "track_test_info.txt"
            faults.error(path, f"{what} of at least {least} images")


def _leave_out(
    lists: Path, identity: int, modality: str, least: int, line: int, faults: Faults
) -> None:
    word = WORD[modality]
    what = f"training identity {identity} has no {word} tracklet"
    faults.spare(
        "training identities of one modality left out",
        lists / "track_train_info.txt",
        f"{what} of at least {least} images",
        line,
        f"{identity:04d} without {word}",
    )


def _dataset(
    root: Path, kept: dict, dropped: dict, query: list[int], faults: Faults
) -> Dataset | None:
    """Infrared rows of the query list search the other rows and the reverse.

    None when there are errors.
    """
    if faults.errors:
        return None
    test, queries = kept["test"], set(query)
    first = tuple(test[row] for row in query if test[row])
    second = tuple(t for row, t in enumerate(test) if t and row not in queries)
    sides: dict[Direction, tuple] = {
        "ir2vis": (first, second),
        "vis2ir": (second, first),
    }
    train = tuple(t for t in kept["train"] if t)
    problems = tuple(faults.warnings)
    return Dataset("hitsz-vcm", root, train, sides, "vcm", problems, dropped)
