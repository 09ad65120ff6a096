"""HITSZ-VCM: video tracklets of people in visible and infrared light.

Five list files describe the released set. They lie in `<root>/info` or in `<root>`.
Images lie in `<root>/<identity>/<ir|rgb>/D<camera>/<frame>.jpg` (flat), or below
`<root>/Train` and `<root>/Test` (split). Folders follow from the lists and are never
searched, so nothing here opens an image.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

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
#: A frame name: identity, modality digit, camera, track, frame number, extension.
NAME = re.compile(
    r"(\d{4})M([12])D(\d{1,9})T(\d{1,9})F(\d{1,9})\.((?i:" + "|".join(SUFFIXES) + "))",
    re.ASCII,
)
INTEGER = re.compile(r"-?\d{1,9}", re.ASCII)
MODALITY: dict[str, Modality] = {"1": "ir", "2": "vis"}
FOLDER = {"1": "ir", "2": "rgb"}
WORD = {"ir": "infrared", "vis": "visible"}
#: Share of ranges with foreign frames above which the lists must be of different sets.
MOST_FOREIGN = 0.5

Foreign = Literal["keep", "drop"]
#: The groups of `NAME`.
Frame = tuple[str, str, str, str, str, str]


class Row(NamedTuple):
    """One line of a track file. `start` and `end` count names from 1, inclusive."""

    line: int
    modality: Modality
    start: int
    end: int
    identity: int
    camera: int

    def owns(self, frame: Frame) -> bool:
        """Whether the name of a frame has this person, modality and camera."""
        identity, modality, camera = frame[:3]
        is_same_person = int(identity) == self.identity
        is_same_camera = int(camera) == self.camera
        return is_same_person and is_same_camera and MODALITY[modality] == self.modality


def read(
    root: str | Path,
    min_seq_len: int = 12,
    strict: bool | None = None,
    part: str = "all",
    foreign: Foreign = "keep",
) -> Dataset:
    """Read the tracklets of a set, in the order of its lists.

    Args:
        root: folder of the set.
        min_seq_len: tracklets with fewer images are dropped.
        strict: True refuses all faults, False reads on past every readable one, None
            repairs or skips the harmless and refuses the rest.
        part: "all", or "test" for a set without training lists, such as tracklets cut
            from videos. Either modality may then be absent.
        foreign: "keep" (as the released code) or "drop" frames in the range of a row
            whose names are of another identity, modality or camera.

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
    """Read a set and collect every fault instead of raising the first.

    Args:
        root: folder of the set.
        min_seq_len: as in `read`.
        strict: as in `read`.
        part: as in `read`.
        foreign: as in `read`.

    Returns:
        A survey that lists the tracklets of "train" and "test".

    Raises:
        ValueError: there is no such part.
    """
    root, faults = open_root(root, strict)
    if part not in ("all", "test"):
        raise ValueError(f"no part {part!r} of hitsz-vcm; there are all, test")
    if foreign not in ("keep", "drop"):
        faults.error(root, f"foreign must be keep or drop, got {foreign!r}")
    _check_min_seq_len(root, min_seq_len, faults)
    lists = root / "info" if (root / "info").is_dir() else root
    required = [name for name in LISTS if part == "all" or "train" not in name]
    if faults.errors or not faults.require(lists, required):
        return Survey(None, faults)
    bases = image_folders(root, faults)
    list_files = [lists / name for name in LISTS]
    check_links([lists, *list_files, *dict.fromkeys(bases.values())], faults)
    rows, listed = {split: [] for split in SPLITS}, {split: [] for split in SPLITS}
    for split in SPLITS if part == "all" else ("test",):
        reader = _Split(lists, split, bases[split], foreign == "drop", faults)
        rows[split], listed[split] = reader.rows, reader.tracklets()
    _check_disjoint(lists, rows, faults)
    query = _query_rows(lists / "query_IDX.txt", rows["test"], part, faults)
    kept = {split: _long_enough(listed[split], min_seq_len) for split in SPLITS}
    dropped = _count_dropped(listed, kept)
    if not faults.errors and part == "all":
        _check_kept(lists, rows, listed, kept, min_seq_len, faults)
    dataset = _dataset(root, kept, dropped, query, faults)
    return Survey(dataset, faults, {split: _present(listed[split]) for split in SPLITS})


def _check_min_seq_len(root: Path, min_seq_len: object, faults: Faults) -> None:
    if not isinstance(min_seq_len, int) or isinstance(min_seq_len, bool):
        faults.error(root, f"min_seq_len must be an integer >= 1, got {min_seq_len!r}")
    elif min_seq_len < 1:
        faults.error(root, f"min_seq_len must be at least 1, got {min_seq_len!r}")


def _present(tracklets: Sequence[Tracklet | None]) -> tuple[Tracklet, ...]:
    return tuple(tracklet for tracklet in tracklets if tracklet)


def _long_enough(
    tracklets: list[Tracklet | None], min_seq_len: int
) -> list[Tracklet | None]:
    return [t if t and len(t) >= min_seq_len else None for t in tracklets]


def image_folders(root: Path, faults: Faults) -> dict[str, Path]:
    """Return the folder of each split: the root (flat), or `Train` and `Test`.

    A mixture of both layouts is an error.
    """
    splits = [name for name in ("Train", "Test") if (root / name).is_dir()]
    identities = sorted(
        filter(re.compile(r"\d{4}", re.ASCII).fullmatch, _folders(root))
    )
    if splits and identities:
        what = f"both layouts present: {'/ and '.join(splits)}/ beside identity folders"
        faults.error(root, f"{what} ({identities[0]}/, {len(identities)} in all)")
    elif len(splits) == 1:
        absent = "Test" if splits == ["Train"] else "Train"
        faults.error(root, f"{splits[0]}/ without {absent}/")
    if splits:
        return {"train": root / "Train", "test": root / "Test"}
    return {"train": root, "test": root}


def _folders(root: Path) -> list[str]:
    return [entry.name for entry in root.iterdir() if entry.is_dir()]


def _read_frames(path: Path, faults: Faults) -> list[Frame | None]:
    """Read the parts of every frame name, None where a name is malformed."""
    lines = read_lines(path, faults)
    note_blanks(path, lines, faults)
    matches = [NAME.fullmatch(line.strip()) for line in lines]
    frames = [match.groups() if match else None for match in matches]
    for number, (line, frame) in enumerate(zip(lines, frames, strict=True), start=1):
        if frame is None:
            faults.error(path, _why_no_name(line), number)
        elif int(frame[2]) == 0:
            what = f"camera 0 in {quote(line)}; cameras count from 1"
            faults.error(path, what, number)
    _check_distinct(path, frames, faults)
    return frames


def _why_no_name(line: str) -> str:
    """Describe what is wrong with a line of a name file."""
    if not line.strip():
        return "blank line; it would shift the numbers of all following names"
    if escapes(line):
        cure = "only plain frame names are allowed"
        return f"{quote(line)} leaves the data folder; {cure}"
    grammar = "<identity, 4 digits>M<1|2>D<camera>T<track>F<frame>.jpg"
    cure = f"expected {grammar}, such as 0001M2D3T1F6.jpg"
    return f"{quote(line)} is no frame name; {cure}"


def _check_distinct(path: Path, frames: list[Frame | None], faults: Faults) -> None:
    """Note names that differ only in their track, since both mean one file."""
    files = [frame and (*frame[:3], *frame[4:]) for frame in frames]
    if len(set(files)) == len(files):  # the usual case, and fast to see
        return
    first: dict[tuple, int] = {}
    for number, file in enumerate(files, start=1):
        if file is None or first.setdefault(file, number) == number:
            continue
        what = f"frame {file[3]} of identity {file[0]}, camera {file[2]} is already"
        faults.tolerate(
            "names of a frame that is listed twice, kept",
            path,
            f"{what} on line {first[file]}: one image file for both",
            number,
        )


def _read_rows(path: Path, names: int, faults: Faults) -> list[Row | None]:
    """Read the rows of a track file, None where one is malformed.

    Args:
        path: the track file.
        names: length of the name file, 0 when it is unreadable.
        faults: collects malformed rows.
    """
    lines = read_lines(path, faults)
    note_blanks(path, lines, faults)
    numbered = enumerate(lines, start=1)
    return [_parse_row(path, line, number, names, faults) for number, line in numbered]


def _parse_row(
    path: Path, line: str, number: int, names: int, faults: Faults
) -> Row | None:
    values = split_fields(line)
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
    if names and end > names:  # an empty name file is reported once, not per row
        wrong.append(f"end {end} is beyond the {names} names")
    if camera < 1:
        wrong.append(f"camera {camera}; cameras count from 1")
    for what in wrong:
        faults.error(path, f"{what} in {quote(line)}", number)
    if wrong:
        return None
    return Row(number, MODALITY[str(m)], start, end, identity, camera)


def _why_no_row(values: list[str]) -> str:
    """Describe what is wrong with the fields of a line of a track file."""
    if not values:
        return "a blank line; it would shift the numbers of all following rows"
    bad = [value for value in values if not INTEGER.fullmatch(value)]
    return f"{quote(bad[0])} is no integer" if bad else f"{len(values)} fields"


def _check_ranges(
    path: Path, rows: list[Row | None], names: int, faults: Faults
) -> None:
    """Check that rows share no name (a doubt) and leave none out (a warning).

    Args:
        path: the track file.
        rows: its rows.
        names: length of the name file.
        faults: collects what is wrong.
    """
    ordered = sorted(filter(None, rows), key=lambda row: (row.start, row.line))
    if not ordered:
        return
    furthest = ordered[0]
    for row in ordered[1:]:
        if row.start <= furthest.end:
            shared = f"names {row.start} to {row.end} overlap those of line"
            range_ = f"({furthest.start} to {furthest.end})"
            faults.doubt(path, f"{shared} {furthest.line} {range_}", row.line)
        elif row.start > furthest.end + 1:
            _warn_gap(path, furthest.end + 1, row.start - 1, row.line, faults)
        furthest = max(furthest, row, key=lambda row: row.end)
    if ordered[0].start > 1:
        _warn_gap(path, 1, ordered[0].start - 1, ordered[0].line, faults)
    if furthest.end < names:
        _warn_gap(path, furthest.end + 1, names, furthest.line, faults)


def _warn_gap(path: Path, first: int, last: int, line: int, faults: Faults) -> None:
    faults.warn(path, f"names {first} to {last} belong to no row", line)


class _Split:
    """The lists of one split: frame names, and rows that are ranges of them."""

    def __init__(self, lists: Path, split: str, base: Path, drop: bool, faults: Faults):
        """Read both lists.

        Args:
            lists: folder of the lists.
            split: "train" or "test".
            base: folder of the identities.
            drop: whether foreign frames are dropped.
            faults: collects what is wrong.
        """
        self.names = lists / f"{split}_name.txt"
        self.path = lists / f"track_{split}_info.txt"
        self.base, self.drop, self.faults = base, drop, faults
        self.frames = _read_frames(self.names, faults)
        self.rows = _read_rows(self.path, len(self.frames), faults)
        self.folders: dict[tuple[str, str, str], Path] = {}
        #: Ranges with foreign frames.
        self.foreign_ranges = 0
        _check_ranges(self.path, self.rows, len(self.frames), faults)

    def tracklets(self) -> list[Tracklet | None]:
        """Return one tracklet per row, None where a row is malformed or empty."""
        tracklets = [self._tracklet(row) if row else None for row in self.rows]
        self._check_foreign()
        folders = {}  # a set that keeps the order
        for camera in self.folders.values():
            folders |= dict.fromkeys((camera.parent.parent, camera.parent, camera))
        check_links(folders, self.faults)
        return tracklets

    def _tracklet(self, row: Row) -> Tracklet | None:
        frames = self.frames[row.start - 1 : row.end]
        if None in frames:
            return None
        if not self._is_plain(row, frames):
            frames = self._check_mixture(row, frames)
        for key in {frame[:3] for frame in frames}.difference(self.folders):
            folder = self.base / key[0] / FOLDER[key[1]] / f"D{key[2]}"
            self.folders[key] = folder
        paths = [self.folders[f[:3]] / f"{f[4]}.{f[5]}" for f in frames]
        if not paths:
            return None
        return Tracklet(tuple(paths), row.identity, row.camera, row.modality)

    def _is_plain(self, row: Row, frames: list[Frame]) -> bool:
        """Whether all frames are of one track of the row's person and camera."""
        tracks = {frame[:4] for frame in frames}
        return len(tracks) == 1 and row.owns(frames[0])

    def _check_mixture(self, row: Row, frames: list[Frame]) -> list[Frame]:
        """Note foreign frames and mixed tracks of a row. Return the frames it keeps."""
        own = [frame for frame in frames if row.owns(frame)]
        if len(own) < len(frames):
            self.foreign_ranges += 1
            treatment = "dropped" if self.drop else "kept"
            kind = f"ranges with frames that belong elsewhere, {treatment}"
            what = self._describe_foreign(row, frames)
            self.faults.tolerate(kind, self.path, what, row.line)
        tracks = sorted({frame[3] for frame in own}, key=int)
        if len(tracks) > 1:
            what = f"names {row.start} to {row.end} mix tracks T{', T'.join(tracks)}"
            kind = "ranges that mix tracks of one person, kept"
            where = f"({self.names.name})"
            self.faults.tolerate(kind, self.path, f"{what} {where}", row.line)
        return own if self.drop else frames

    def _describe_foreign(self, row: Row, frames: list[Frame]) -> str:
        """Name the first foreign frame of a range and count all of them."""
        foreign = [k for k, frame in enumerate(frames) if not row.owns(frame)]
        first = frames[foreign[0]]
        name = "{}M{}D{}T{}F{}.{}".format(*first)
        if int(first[0]) != row.identity:
            claim = f"identity {row.identity}"
        elif MODALITY[first[1]] != row.modality:
            claim = f"modality {row.modality}"
        else:
            claim = f"camera {row.camera}"
        where = f"{self.names.name}, line {row.start + foreign[0]}"
        count = f"{len(foreign)} of {len(frames)} frames of this range belong elsewhere"
        return f"{claim} disagrees with {name!r} ({where}); {count}"

    def _check_foreign(self) -> None:
        """Doubt lists most of whose ranges hold foreign frames."""
        count, usable = self.foreign_ranges, sum(row is not None for row in self.rows)
        if count >= 3 and count > MOST_FOREIGN * usable:
            what = f"{count} of {usable} ranges hold frames that belong elsewhere"
            question = f"is it of the same set as {self.names}?"
            self.faults.doubt(self.path, f"{what}: {question}")


def _query_rows(
    path: Path, rows: list[Row | None], part: str, faults: Faults
) -> list[int]:
    """Read the query list, which should name exactly the infrared rows.

    Args:
        path: the query list.
        rows: rows of the test track file.
        part: with "test", a set without infrared rows may have an empty query list.
        faults: collects what is wrong.

    Returns:
        Positions of query rows in the test track file, from 0, in the listed order.
    """
    has_infrared = any(row and row.modality == "ir" for row in rows)
    if part == "test" and not has_infrared and not path.stat().st_size:
        return []
    first: dict[int, int] = {}  # row -> line that lists it
    for number, line in enumerate(read_lines(path, faults), start=1):
        for text in split_fields(line):
            wrong = _why_no_query(text, len(rows), first)
            if wrong:
                faults.error(path, wrong, number)
                continue
            first[int(text)] = number
            row = rows[int(text) - 1]
            if row and row.modality != "ir":
                person = f"a visible tracklet (identity {row.identity})"
                what = f"row {int(text)} is {person}; queries are the infrared ones"
                faults.doubt(path, what, number)
    _check_all_queried(path, rows, first, faults)
    return [row - 1 for row in first]


def _why_no_query(text: str, rows: int, first: dict[int, int]) -> str | None:
    """Describe what is wrong with an entry of the query list, None if nothing is.

    Args:
        text: the entry.
        rows: number of rows in the test track file.
        first: row -> line that listed it before.
    """
    if not INTEGER.fullmatch(text):
        return f"{quote(text)} is no integer"
    row = int(text)
    if not 1 <= row <= rows:
        hint = "; rows count from 1, so this looks like a file that counts from 0"
        return f"row {row} is outside 1..{rows}{'' if row else hint}"
    if row in first:
        return f"row {row} is listed twice (first on line {first[row]})"
    return None


def _check_all_queried(
    path: Path, rows: list[Row | None], queried: dict[int, int], faults: Faults
) -> None:
    """Doubt a query list that misses infrared rows."""
    if not queried:
        return
    for row in rows:
        if row and row.modality == "ir" and row.line not in queried:
            what = f"row {row.line} is infrared (identity {row.identity})"
            faults.doubt(path, f"{what} but not listed as a query")


def _check_disjoint(
    lists: Path, rows: dict[str, list[Row | None]], faults: Faults
) -> None:
    """Doubt identities that are both trained on and tested."""
    train, test = _first_lines(rows["train"]), _first_lines(rows["test"])
    for identity in sorted(train.keys() & test.keys()):
        what = f"identity {identity} is also in track_test_info.txt"
        where = lists / "track_train_info.txt"
        faults.doubt(where, f"{what}, line {test[identity]}", train[identity])


def _first_lines(rows: list[Row | None]) -> dict[int, int]:
    """Identity -> the first line that names it."""
    return {row.identity: row.line for row in reversed(rows) if row}


def _count_dropped(listed: dict, kept: dict) -> dict[tuple[str, str], int]:
    """Count tracklets under the minimum length by split and modality."""
    dropped = {}
    for split in SPLITS:
        dropped |= {(split, modality): 0 for modality in MODALITIES}
        for tracklet, remains in zip(listed[split], kept[split], strict=True):
            if tracklet and not remains:
                dropped[split, tracklet.modality] += 1
    return dropped


def _check_kept(
    lists: Path, rows: dict, listed: dict, kept: dict, least: int, faults: Faults
) -> None:
    """Leave out training people of one modality. The test needs both modalities.

    Args:
        lists: folder of the lists.
        rows: split -> rows.
        listed: split -> tracklets, one per row.
        kept: split -> those of the minimum length. Its training people of one modality
            are removed here.
        least: the minimum length.
        faults: collects what is wrong.
    """
    for split in SPLITS:
        if not any(kept[split]):
            longest = max(map(len, _present(listed[split])), default=0)
            what = f"every tracklet is shorter than min_seq_len={least}"
            path = lists / f"track_{split}_info.txt"
            faults.error(path, f"{what} (longest {longest} images)")
    if faults.errors:
        return
    _leave_out_lonely(lists, rows["train"], kept, least, faults)
    for modality in MODALITIES:
        if not any(t and t.modality == modality for t in kept["test"]):
            what = f"the test set has no {WORD[modality]} tracklet"
            path = lists / "track_test_info.txt"
            faults.error(path, f"{what} of at least {least} images")


def _leave_out_lonely(
    lists: Path, rows: list[Row | None], kept: dict, least: int, faults: Faults
) -> None:
    """Remove the training people of one modality from `kept`."""
    path = lists / "track_train_info.txt"
    seen = {(t.identity, t.modality) for t in _present(kept["train"])}
    lonely = set()
    for identity, line in sorted(_first_lines(rows).items()):
        for modality in MODALITIES:
            if (identity, modality) in seen:
                continue
            lonely.add(identity)
            word = WORD[modality]
            what = f"training identity {identity} has no {word} tracklet"
            faults.tolerate(
                "training identities of one modality left out",
                path,
                f"{what} of at least {least} images",
                line,
                f"{identity:04d} without {word}",
            )
    everyone = kept["train"]
    kept["train"] = [t if t and t.identity not in lonely else None for t in everyone]
    if not any(kept["train"]):
        what = f"no training identity has tracklets of at least {least} images"
        faults.error(path, f"{what} in both modalities")


def _dataset(
    root: Path, kept: dict, dropped: dict, query: list[int], faults: Faults
) -> Dataset | None:
    """Make the data set, or return None when there are errors.

    The rows of the query list search all other test rows, and the reverse.

    Args:
        root: folder of the set.
        kept: split -> tracklets, None where a row is not used.
        dropped: counts of tracklets under the minimum length.
        query: positions of the query rows.
        faults: errors and warnings so far.
    """
    if faults.errors:
        return None
    test, queries = kept["test"], set(query)
    infrared = _present([test[row] for row in query])
    visible = _present([t for row, t in enumerate(test) if row not in queries])
    sides: dict[Direction, tuple] = {
        "ir2vis": (infrared, visible),
        "vis2ir": (visible, infrared),
    }
    train, problems = _present(kept["train"]), tuple(faults.warnings)
    return Dataset("hitsz-vcm", root, train, sides, "vcm", problems, dropped)
