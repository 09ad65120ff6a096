"""The report behind `vvi check ROOT`: counts beside those of the real set, every fault, every broken image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from vvi.data import buptcampus, regdb, sysu, vcm
from vvi.data.faults import Survey
from vvi.data.images import Seen, inspect
from vvi.data.layout import LAYOUTS, check_options, detect, evidence, sets
from vvi.types import MODALITIES, DataError, Tracklet

VCM_MIN = 12  # the released drop rule, and what the expected counts were taken with

# HITSZ-VCM, (part, modality): identities, tracklets, tracklets of 12 images or more, images, images in those; None where nobody published it.
VCM_COUNTS: dict[tuple[str, str], tuple[int | None, ...]] = {
    ("train", "both"): (500, 11061, 9751, 232496, 224757),
    ("train", "ir"): (500, 4919, 4291, None, 98214),
    ("train", "vis"): (500, 6142, 5460, None, 126543),
    ("test", "both"): (427, 10802, 9683, 230763, 224116),
    ("test", "ir"): (427, 5159, 4584, None, 105979),
    ("test", "vis"): (427, 5643, 5099, None, 118137),
    ("all", "both"): (927, 21863, 19434, 463259, 448873),
    ("all", "ir"): (927, 10078, 8875, 211807, 204193),
    ("all", "vis"): (927, 11785, 10559, 251452, 244680),
}
# SYSU-MM01 and RegDB, (part, modality): identities, images. RegDB: of one trial.
SYSU_COUNTS = {
    ("train", "vis"): (395, 22258),
    ("train", "ir"): (395, 11909),
    ("test", "vis"): (96, 6775),
    ("test", "ir"): (96, 3803),
}
SYSU_GALLERY = {
    ("all", 1): 301,
    ("all", 10): 3010,
    ("indoor", 1): 112,
    ("indoor", 10): 1120,
}
REGDB_COUNTS = {
    (part, modality): (206, 2060)
    for part in ("train", "test")
    for modality in MODALITIES
}

# BUPTCampus, (part, modality): identities, tracklets, images.
CAMPUS_COUNTS: dict[tuple[str, str], tuple[int | None, ...]] = {
    ("train", "both"): (1074, 7148, 796_138),
    ("train", "ir"): (1074, 3574, None),
    ("train", "vis"): (1074, 3574, None),
    ("auxiliary", "both"): (930, 1860, 209_150),
    ("query", "both"): (1076, 1076, 101_938),
    ("query", "ir"): (None, 536, None),
    ("query", "vis"): (None, 540, None),
    ("gallery", "both"): (None, 4844, 597_542),
    ("gallery", "ir"): (None, 2422, None),
    ("gallery", "vis"): (None, 2422, None),
}

WORD = {"ir": "infrared", "vis": "visible", "both": "both"}
SURVEYS = {
    "hitsz-vcm": vcm.survey,
    "sysu-mm01": sysu.survey,
    "regdb": regdb.survey,
    "buptcampus": buptcampus.survey,
}
PROVISIONAL = "provisional.json"  # beside tracklets that were cut from videos


@dataclass(frozen=True)
class Report:
    """`text` is for people; the data set can be used when `errors` is empty."""

    text: str
    errors: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Counts found beside the expected ones, ready to print."""

    title: str
    lines: list[str]
    #: How many cells are not equal.
    differ: int


def report(
    root: str | Path, layout: str = "auto", images: bool = True, **options: object
) -> Report:
    """Read a data set of any layout, or several in one folder, and look at every image.

    Counts that differ from the real set's are shown, never an error.

    Args:
        root: the folder of one set, or of several side by side.
        layout: "auto" or one of `LAYOUTS`.
        images: False looks at the lists alone.
        options: those of the reader, except that every trial of RegDB is read when
            none is named.
    """
    root = Path(root).expanduser()
    if layout not in ("auto", *LAYOUTS):
        known = ", ".join(("auto", *LAYOUTS))
        raise ValueError(f"unknown layout {layout!r}; known: {known}")
    try:
        found = {root: detect(root) if layout == "auto" else layout}
    except DataError as err:
        found = sets(root) if root.is_dir() else {}
        if not found or root in found:
            return Report(f"{err}\n1 error", (str(err),))
    reports = [_of_one(place, name, images, options) for place, name in found.items()]
    text = "\n\n".join(one.text for one in reports)
    return Report(text, tuple(error for one in reports for error in one.errors))


def _of_one(root: Path, layout: str, images: bool, options: Mapping) -> Report:
    """The report of one set."""
    check_options(layout, SURVEYS[layout], options)
    options = dict(options)
    if layout == "hitsz-vcm" and (root / PROVISIONAL).is_file():
        options.setdefault("part", "test")
    counted = {"hitsz-vcm": _vcm, "sysu-mm01": _sysu, "regdb": _regdb}
    surveys, tables = counted.get(layout, _campus)(root, options)
    errors = [e for s in surveys for e in s.faults.errors]
    warnings = list(dict.fromkeys(w for s in surveys for w in s.faults.warnings))
    remarks = list(dict.fromkeys(r for s in surveys for r in _remarks(s)))
    if images:
        listed = [t for s in surveys for part in s.listed.values() for t in part]
        broken, special = inspect(listed, root, links=options.get("strict") is False)
        errors += broken
        notes = _special(listed, special)
        warnings += notes
    told = ", ".join(evidence(root)[layout])
    lines = [f"{layout} in {root}" + (f" (told by {told})" if told else "")]
    for table in tables:
        lines += table.lines
        if table.differ:
            count = _count(table.differ, "count")
            what = f"differ from the real set ({table.title})"
            warnings.append(f"{count} {what}, as in generated data or a subset")
    lines += [f"error: {e}" for e in errors] + [f"warning: {w}" for w in warnings]
    lines += [f"in short: {remark}" for remark in remarks]
    looked = "" if images else ", images not looked at"
    lines.append(
        f"{_count(len(errors), 'error')}, {_count(len(warnings), 'warning')}{looked}"
    )
    return Report("\n".join(lines), tuple(errors))


def _remarks(survey: Survey) -> list[str]:
    return [f"{len(names)} {kind}" for kind, names in survey.faults.notes.items()]


def _special(listed: Iterable[Tracklet], special: Mapping[Path, Seen]) -> list[str]:
    """What is special about images that can be read, counted, with the first of each."""
    kinds: dict[str, list[Path]] = {}
    for path, seen in special.items():
        if seen.bits > 8:
            what = f"images of 16 bits, read with the white of {seen.bits} bits"
            kinds.setdefault(what, []).append(path)
        if seen.turned:
            kinds.setdefault("images stored turned, shown upright", []).append(path)
        if seen.pictures > 1:
            what = "files of several pictures, of which the first is read"
            kinds.setdefault(what, []).append(path)
        if seen.renamed:
            what = "images whose suffix is written in another case than listed"
            kinds.setdefault(what, []).append(path)
    said = [f"{len(paths)} {what} (first: {paths[0]})" for what, paths in kinds.items()]
    return said + _unequal_depths(listed, special)


def _unequal_depths(
    listed: Iterable[Tracklet], special: Mapping[Path, Seen]
) -> list[str]:
    """Cameras whose images of 16 bits are not all read with the same white."""
    depths: dict[tuple[int, str], Counter] = {}
    for t in listed:
        bits = [
            special[p].bits for p in t.paths if p in special and special[p].bits > 8
        ]
        if bits:
            depths.setdefault((t.camera, t.modality), Counter()).update(bits)
    return [
        f"camera {camera}, {WORD[modality]}: images of 16 bits are read with different "
        f"whites ({', '.join(f'{b} bits {n}' for b, n in sorted(counts.items()))}), so "
        "their brightness differs: save all with 8 bits to decide it yourself"
        for (camera, modality), counts in depths.items()
        if len(counts) > 1
    ]


def _vcm(root: Path, options: dict) -> tuple[list[Survey], list[Table]]:
    survey = vcm.survey(root, **options)
    least = options.get("min_seq_len", VCM_MIN)
    found = {}
    for part, modality in VCM_COUNTS:
        of = [
            t
            for p, ts in survey.listed.items()
            if part in (p, "all")
            for t in ts
            if modality in (t.modality, "both")
        ]
        kept = [t for t in of if len(t) >= least]
        found[part, modality] = (
            len({t.identity for t in of}),
            len(of),
            len(kept),
            sum(map(len, of)),
            sum(map(len, kept)),
        )
    head = ("identities", "tracklets", f"kept (>= {least})", "images", "images kept")
    return [survey], [
        _table("HITSZ-VCM, kept: at least 12 images", head, found, VCM_COUNTS)
    ] if survey.listed else []


def _sysu(root: Path, options: dict) -> tuple[list[Survey], list[Table]]:
    survey = sysu.survey(root, **options)
    if options.get("train") != "arrays" and any(root.glob("train_*_resized_*.npy")):
        sysu.survey_arrays(root, survey.faults)
    tables = (
        [
            _table(
                "SYSU-MM01, train holds train + val",
                ("identities", "images"),
                _images(survey),
                SYSU_COUNTS,
            )
        ]
        if survey.listed
        else []
    )
    if survey.dataset:
        mode, shots = options.get("mode", "all"), options.get("shots", 1)
        found = {("gallery", "vis"): (len(survey.dataset.gallery("ir2vis")),)}
        tables.append(
            _table(
                f"SYSU-MM01, {mode}-search, {_count(shots, 'shot')}",
                ("images",),
                found,
                {("gallery", "vis"): (SYSU_GALLERY[mode, shots],)},
            )
        )
    return [survey], tables


def _campus(root: Path, options: dict) -> tuple[list[Survey], list[Table]]:
    survey = buptcampus.survey(root, **options)
    if not survey.listed:
        return [survey], []
    found = {}
    for part, modality in CAMPUS_COUNTS:
        listed = survey.listed.get(part, ())
        of = [t for t in listed if modality in (t.modality, "both")]
        found[part, modality] = (
            len({t.identity for t in of}),
            len(of),
            sum(map(len, of)),
        )
    head = ("identities", "tracklets", "images")
    return [survey], [_table("BUPTCampus", head, found, CAMPUS_COUNTS)]


def _regdb(root: Path, options: dict) -> tuple[list[Survey], list[Table]]:
    """Every trial that has at least one list, or the one asked for; one table for all trials with the same counts."""
    trials = (
        [options["trial"]]
        if "trial" in options
        else [k for k in regdb.TRIALS if any(root.glob(f"idx/*_{k}.txt"))] or [1]
    )
    surveys = [regdb.survey(root, k, options.get("strict")) for k in trials]
    alike: dict[tuple, list[int]] = {}
    for k, survey in zip(trials, surveys, strict=True):
        if survey.listed:
            alike.setdefault(tuple(_images(survey).items()), []).append(k)
    if "trial" not in options and (
        absent := [str(k) for k in regdb.TRIALS if k not in trials]
    ):
        surveys[0].faults.warn(
            root / "idx",
            f"{len(trials)} of 10 trials have lists; without: {', '.join(absent)}",
        )
    head = ("identities", "images")
    return surveys, [
        _table(
            f"RegDB, trial {', '.join(map(str, ks))}", head, dict(found), REGDB_COUNTS
        )
        for found, ks in alike.items()
    ]


def _images(survey: Survey) -> dict[tuple[str, str], tuple[int, ...]]:
    """Identities and images by (part, modality)."""
    found = {}
    for part, tracklets in survey.listed.items():
        for modality in MODALITIES:
            of = [t for t in tracklets if t.modality == modality]
            found[part, modality] = (len({t.identity for t in of}), len(of))
    return found


def _table(title: str, head: tuple[str, ...], found: dict, expected: dict) -> Table:
    """One row per (part, modality), each cell `found (expected)`."""
    rows = [("part", "modality", *head)]
    for key, numbers in expected.items():
        cells = (
            f"{n:,} ({'?' if e is None else format(e, ',')})"
            for n, e in zip(found[key], numbers, strict=True)
        )
        rows.append((key[0], WORD[key[1]], *cells))
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    lines = [
        "  "
        + "  ".join(
            cell.ljust(w) if c < 2 else cell.rjust(w)
            for c, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    differ = sum(
        e not in (None, n)
        for key, numbers in expected.items()
        for n, e in zip(found[key], numbers, strict=True)
    )
    return Table(title, [f"found (real set: {title})", *lines], differ)


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
