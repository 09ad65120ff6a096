"""HITSZ-VCM: video tracklets of people in visible and infrared light, from the five list files of the released set.

Images lie in `<root>/<identity>/<ir|rgb>/D<camera>/<frame>.jpg` (flat) or below `<root>/Train` and `<root>/Test` (split); the lists in `<root>/info` or in
`<root>`. Folders are read off the lists, never searched, so nothing here touches an image.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from vvi.data.faults import Faults, Survey, check_links, escapes, existing_root, quote, read_lines
from vvi.types import MODALITIES, Dataset, Direction, Modality, Tracklet

LISTS = ["train_name.txt", "test_name.txt", "track_train_info.txt", "track_test_info.txt", "query_IDX.txt"]
SPLITS = ("train", "test")
NAME = re.compile(r"(\d{4})M([12])D(\d{1,9})T(\d{1,9})F(\d{1,9})\.(jpg|jpeg|png)", re.ASCII)
ROW = re.compile(r"(-?\d{1,9}) (-?\d{1,9}) (-?\d{1,9}) (-?\d{1,9}) (-?\d{1,9})", re.ASCII)
INTEGER = re.compile(r"-?\d{1,9}", re.ASCII)
MODALITY: dict[str, Modality] = {"1": "ir", "2": "vis"}
FOLDER = {"1": "ir", "2": "rgb"}
WORD = {"ir": "infrared", "vis": "visible"}

Frame = tuple[str, str, str, str, str, str]  # identity, modality digit, camera, track, frame, extension


class Row(NamedTuple):
    """One line of a track file; `start` and `end` count names from 1, both inclusive."""

    line: int
    modality: Modality
    start: int
    end: int
    identity: int
    camera: int


def read(root: str | Path, min_seq_len: int = 12, strict: bool = True, part: str = "all") -> Dataset:
    """Tracklets of at least `min_seq_len` images, in the order of the lists; `DataError` on the first malformed line.

    part="test": a set without training lists, such as tracklets cut from videos; either modality may then be absent.
    """
    return survey(root, min_seq_len, strict, part).read()


def survey(root: str | Path, min_seq_len: int = 12, strict: bool = True, part: str = "all") -> Survey:
    """As `read`, with every fault instead of the first; `listed` holds all tracklets of "train" and "test"."""
    root, faults = existing_root(root, strict)
    if part not in ("all", "test"):
        raise ValueError(f"no part {part!r} of hitsz-vcm; there are all, test")
    splits = SPLITS if part == "all" else ("test",)
    if not isinstance(min_seq_len, int) or min_seq_len < 1:
        faults.error(root, f"min_seq_len must be {'at least 1' if isinstance(min_seq_len, int) else 'a whole number'}, got {min_seq_len!r}")
    lists = root / "info" if (root / "info").is_dir() else root
    if faults.errors or not faults.require(lists, [name for name in LISTS if part == "all" or "train" not in name]):
        return Survey(None, faults)
    bases = image_folders(root, faults)
    check_links([lists, *(lists / name for name in LISTS), *dict.fromkeys(bases.values())], faults)
    rows, listed = {split: [] for split in SPLITS}, {split: [] for split in SPLITS}
    for split in splits:
        names_file, rows_file = lists / f"{split}_name.txt", lists / f"track_{split}_info.txt"
        frames = _frames(names_file, faults)
        rows[split] = _rows(rows_file, len(frames), faults)
        _check_ranges(rows_file, rows[split], len(frames), faults)
        listed[split] = _tracklets(rows_file, names_file, rows[split], frames, bases[split], faults)
    _check_disjoint(lists, rows, faults)
    searching = part == "all" or any(row and row.modality == "ir" for row in rows["test"]) or (lists / "query_IDX.txt").stat().st_size
    query = _query(lists / "query_IDX.txt", rows["test"], faults) if searching else []
    kept = {split: [t if t and len(t) >= min_seq_len else None for t in listed[split]] for split in SPLITS}
    if not faults.errors and part == "all":
        _check_kept(lists, rows, listed, kept, min_seq_len, faults)
    found = {split: tuple(t for t in listed[split] if t) for split in SPLITS}
    return Survey(_dataset(root, listed, kept, query, faults), faults, found)


def image_folders(root: Path, faults: Faults) -> dict[str, Path]:
    """The folder of the identities of each split: the root (flat) or `Train` and `Test`; a mixture is an error."""
    split = [name for name in ("Train", "Test") if (root / name).is_dir()]
    flat = sorted(p.name for p in root.iterdir() if re.fullmatch(r"\d{4}", p.name, re.ASCII) and p.is_dir())
    if split and flat:
        faults.error(root, f"both layouts present: {'/ and '.join(split)}/ beside identity folders ({flat[0]}/, {len(flat)} in all)")
    elif len(split) == 1:
        faults.error(root, f"{split[0]}/ without {'Test' if split == ['Train'] else 'Train'}/")
    return {"train": root / "Train", "test": root / "Test"} if split else {"train": root, "test": root}


def _frames(path: Path, faults: Faults) -> list[Frame | None]:
    """Parts of every frame name, None where a name is outside the grammar."""
    lines = read_lines(path, faults)
    frames = [(match := NAME.fullmatch(line)) and match.groups() for line in lines]
    for number, frame in enumerate(frames, start=1):
        if frame is None:
            faults.error(path, _why_no_name(lines[number - 1]), number)
        elif int(frame[2]) == 0:
            faults.error(path, f"camera 0 in {quote(lines[number - 1])}; cameras count from 1", number)
    _check_distinct(path, frames, faults)
    return frames


def _why_no_name(line: str) -> str:
    if not line.strip():
        return "blank line; it would shift the numbers of all following names"
    if escapes(line):
        return f"{quote(line)} leaves the data folder; only plain frame names are allowed"
    return f"{quote(line)} is no frame name; expected <identity, 4 digits>M<1|2>D<camera>T<track>F<frame>.jpg, such as 0001M2D3T1F6.jpg"


def _check_distinct(path: Path, frames: list[Frame | None], faults: Faults) -> None:
    """Two names that differ only in their track mean one file."""
    files = [frame and (frame[0], frame[1], frame[2], frame[4], frame[5]) for frame in frames]
    if len(set(files)) == len(files):  # the usual case, and the fast one
        return
    first: dict[tuple, int] = {}
    for number, file in enumerate(files, start=1):
        if file and first.setdefault(file, number) != number:
            faults.doubt(path, f"frame {file[3]} of identity {file[0]}, camera {file[2]} is already on line {first[file]}: one image file for both", number)


def _rows(path: Path, names: int, faults: Faults) -> list[Row | None]:
    """The rows of a track file, None where one cannot be used."""
    return [_row(path, line, number, names, faults) for number, line in enumerate(read_lines(path, faults), start=1)]


def _row(path: Path, line: str, number: int, names: int, faults: Faults) -> Row | None:
    match = ROW.fullmatch(line)
    if match is None:
        faults.error(path, f"{quote(line)} is not five integers separated by one space each (m start end identity camera): {_why_no_row(line)}", number)
        return None
    m, start, end, identity, camera = map(int, match.groups())
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
    return None if wrong else Row(number, MODALITY[str(m)], start, end, identity, camera)


def _why_no_row(line: str) -> str:
    fields = line.split(" ")
    if "" in fields:
        return "an empty field" if line.strip() else "a blank line"
    if bad := [f for f in fields if not INTEGER.fullmatch(f)]:
        return f"{quote(bad[0])} is no integer"
    return f"{len(fields)} fields"


def _check_ranges(path: Path, rows: list[Row | None], names: int, faults: Faults) -> None:
    """Rows share no name (doubtful when they do) and leave none out (a warning)."""
    ordered = sorted((row for row in rows if row), key=lambda row: (row.start, row.line))
    if not ordered:
        return
    reach = ordered[0]
    for row in ordered[1:]:
        if row.start <= reach.end:
            faults.doubt(path, f"names {row.start} to {row.end} overlap those of line {reach.line} ({reach.start} to {reach.end})", row.line)
        elif row.start > reach.end + 1:
            faults.warn(path, f"names {reach.end + 1} to {row.start - 1} belong to no row", row.line)
        reach = max(reach, row, key=lambda r: r.end)
    if ordered[0].start > 1:
        faults.warn(path, f"names 1 to {ordered[0].start - 1} belong to no row", ordered[0].line)
    if reach.end < names:
        faults.warn(path, f"names {reach.end + 1} to {names} belong to no row", reach.line)


def _tracklets(path: Path, names: Path, rows: list[Row | None], frames: list[Frame | None], base: Path, faults: Faults) -> list[Tracklet | None]:
    """One tracklet per row; None for a row whose names are malformed or of another person or modality."""
    folders: dict[tuple[str, str, str], Path] = {}
    tracklets: list[Tracklet | None] = []
    for row in rows:
        own = frames[row.start - 1 : row.end] if row else []
        if not own or None in own or not _agrees(path, names, row, own, faults):
            tracklets.append(None)
            continue
        for key in {frame[:3] for frame in own}.difference(folders):
            folders[key] = base / key[0] / FOLDER[key[1]] / f"D{key[2]}"
        paths = tuple([folders[frame[:3]] / f"{frame[4]}.{frame[5]}" for frame in own])
        tracklets.append(Tracklet(paths, row.identity, row.camera, row.modality))
    check_links(dict.fromkeys(place for folder in folders.values() for place in (folder.parent.parent, folder.parent, folder)), faults)
    return tracklets


def _agrees(path: Path, names: Path, row: Row, own: list[Frame], faults: Faults) -> bool:
    """The names of a row are of its identity and modality (else unusable), of its camera and of one track (else doubtful)."""
    kinds = {frame[:4] for frame in own}
    if len(kinds) == 1:
        identity, digit, camera, _ = next(iter(kinds))
        if int(identity) == row.identity and MODALITY[digit] == row.modality and int(camera) == row.camera:
            return True
    fits = True
    claims = (("identity", 0, int, row.identity), ("modality", 1, MODALITY.get, row.modality), ("camera", 2, int, row.camera))
    for what, place, decode, expected in claims:
        wrong = next((n for n, frame in enumerate(own) if decode(frame[place]) != expected), None)
        if wrong is None:
            continue
        name = "{}M{}D{}T{}F{}.{}".format(*own[wrong])
        report = faults.doubt if what == "camera" else faults.error
        report(path, f"{what} {expected} disagrees with {name!r} ({names.name}, line {row.start + wrong})", row.line)
        fits = fits and what == "camera"
    if len(tracks := sorted({frame[3] for frame in own}, key=int)) > 1:
        faults.doubt(path, f"names {row.start} to {row.end} mix tracks T{', T'.join(tracks)} ({names.name})", row.line)
    return fits


def _query(path: Path, rows: list[Row | None], faults: Faults) -> list[int]:
    """Places (from 0) of the listed rows in the test track file, in the listed order; they should be exactly the infrared rows."""
    first: dict[int, int] = {}
    for number, line in enumerate(read_lines(path, faults), start=1):
        for text in line.split():
            if not INTEGER.fullmatch(text):
                faults.error(path, f"{quote(text)} is no integer", number)
            elif not 1 <= (value := int(text)) <= len(rows):
                hint = "; rows count from 1, so this looks like a file that counts from 0" if value == 0 else ""
                faults.error(path, f"row {value} is outside 1..{len(rows)}{hint}", number)
            elif value in first:
                faults.error(path, f"row {value} is listed twice (first on line {first[value]})", number)
            else:
                first[value] = number
                if (row := rows[value - 1]) and row.modality != "ir":
                    faults.doubt(path, f"row {value} is a visible tracklet (identity {row.identity}); queries are the infrared ones", number)
    if first:
        for row in rows:
            if row and row.modality == "ir" and row.line not in first:
                faults.doubt(path, f"row {row.line} is infrared (identity {row.identity}) but not listed as a query")
    return [value - 1 for value in first]


def _check_disjoint(lists: Path, rows: dict[str, list[Row | None]], faults: Faults) -> None:
    """No identity is both trained on and tested."""
    train, test = ({row.identity: row.line for row in reversed(rows[split]) if row} for split in SPLITS)
    for identity in sorted(train.keys() & test.keys()):
        faults.doubt(lists / "track_train_info.txt", f"identity {identity} is also in track_test_info.txt, line {test[identity]}", train[identity])


def _check_kept(lists: Path, rows: dict, listed: dict, kept: dict, least: int, faults: Faults) -> None:
    """After the short tracklets are dropped, every training identity has both modalities and the test has both sides."""
    for split in SPLITS:
        path = lists / f"track_{split}_info.txt"
        if not any(kept[split]):
            faults.error(path, f"every tracklet is shorter than min_seq_len={least} (longest {max(map(len, listed[split]))} images)")
            continue
        found = {(t.identity if split == "train" else 0, t.modality) for t in kept[split] if t}
        owners = {row.identity: row.line for row in reversed(rows[split])} if split == "train" else {0: None}
        for owner, line in sorted(owners.items()):
            for modality in MODALITIES:
                if (owner, modality) not in found:
                    who = f"training identity {owner} has" if split == "train" else "the test set has"
                    faults.error(path, f"{who} no {WORD[modality]} tracklet of at least {least} images", line)


def _dataset(root: Path, listed: dict, kept: dict, query: list[int], faults: Faults) -> Dataset | None:
    """Infrared rows of the query list search the other rows and the reverse; None when there are errors."""
    if faults.errors:
        return None
    test, queries = kept["test"], set(query)
    first = tuple(test[row] for row in query if test[row])
    second = tuple(t for row, t in enumerate(test) if t and row not in queries)
    sides: dict[Direction, tuple] = {"ir2vis": (first, second), "vis2ir": (second, first)}
    dropped = {(split, modality): 0 for split in SPLITS for modality in MODALITIES}
    for split in SPLITS:
        for full, t in zip(listed[split], kept[split], strict=True):
            dropped[split, full.modality] += t is None
    return Dataset("hitsz-vcm", root, tuple(t for t in kept["train"] if t), sides, "vcm", tuple(faults.warnings), dropped)
