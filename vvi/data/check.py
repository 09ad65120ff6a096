"""The report behind `vvi check ROOT`: counts beside those of the real set, every fault, every broken image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vvi.data import regdb, sysu, vcm
from vvi.data.faults import Survey
from vvi.data.images import broken_images
from vvi.data.layout import LAYOUTS, check_options, detect
from vvi.types import MODALITIES, DataError

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
SYSU_COUNTS = {("train", "vis"): (395, 22258), ("train", "ir"): (395, 11909), ("test", "vis"): (96, 6775), ("test", "ir"): (96, 3803)}
SYSU_GALLERY = {("all", 1): 301, ("all", 10): 3010, ("indoor", 1): 112, ("indoor", 10): 1120}
REGDB_COUNTS = {(part, modality): (206, 2060) for part in ("train", "test") for modality in MODALITIES}

WORD = {"ir": "infrared", "vis": "visible", "both": "both"}


@dataclass(frozen=True)
class Report:
    """`text` is for people; the data set can be used when `errors` is empty."""

    text: str
    errors: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Counts found beside the expected ones, ready to print; `differ` counts the cells that are not equal."""

    title: str
    lines: list[str]
    differ: int


def report(root: str | Path, layout: str = "auto", images: bool = True, **options: object) -> Report:
    """Read a data set in any of the three layouts and look at every image (`images=False`: only at the lists).

    Options are those of the reader, except that every trial of RegDB is read when none is named. Counts that differ from the real set's are shown, never an error.
    """
    root = Path(root).expanduser()
    try:
        layout = detect(root) if layout == "auto" else layout
    except DataError as err:
        return Report(f"{err}\n1 error", (str(err),))
    if layout not in LAYOUTS:
        raise ValueError(f"unknown layout {layout!r}; known: auto, {', '.join(LAYOUTS)}")
    check_options(layout, {"hitsz-vcm": vcm.survey, "sysu-mm01": sysu.survey, "regdb": regdb.survey}[layout], options)
    surveys, tables = {"hitsz-vcm": _vcm, "sysu-mm01": _sysu, "regdb": _regdb}[layout](root, options)
    errors = [e for s in surveys for e in s.faults.errors]
    warnings = [w for s in surveys for w in s.faults.warnings]
    if images:
        errors += broken_images((t for s in surveys for part in s.listed.values() for t in part), root)
    lines = [f"{layout} in {root}"]
    for table in tables:
        lines += table.lines
        if table.differ:
            warnings.append(f"{_count(table.differ, 'count')} differ from the real set ({table.title}), as in generated data or a subset")
    lines += [f"error: {e}" for e in errors] + [f"warning: {w}" for w in warnings]
    looked = "" if images else ", images not looked at"
    lines.append(f"{_count(len(errors), 'error')}, {_count(len(warnings), 'warning')}{looked}")
    return Report("\n".join(lines), tuple(errors))


def _vcm(root: Path, options: dict) -> tuple[list[Survey], list[Table]]:
    survey = vcm.survey(root, **options)
    least = options.get("min_seq_len", VCM_MIN)
    found = {}
    for part, modality in VCM_COUNTS:
        of = [t for p, ts in survey.listed.items() if part in (p, "all") for t in ts if modality in (t.modality, "both")]
        kept = [t for t in of if len(t) >= least]
        found[part, modality] = (len({t.identity for t in of}), len(of), len(kept), sum(map(len, of)), sum(map(len, kept)))
    head = ("identities", "tracklets", f"kept (>= {least})", "images", "images kept")
    return [survey], [_table("HITSZ-VCM, kept: at least 12 images", head, found, VCM_COUNTS)] if survey.listed else []


def _sysu(root: Path, options: dict) -> tuple[list[Survey], list[Table]]:
    survey = sysu.survey(root, **options)
    if options.get("train") != "arrays" and any(root.glob("train_*_resized_*.npy")):
        sysu.survey_arrays(root, survey.faults)
    tables = [_table("SYSU-MM01, train holds train + val", ("identities", "images"), _images(survey), SYSU_COUNTS)] if survey.listed else []
    if survey.dataset:
        mode, shots = options.get("mode", "all"), options.get("shots", 1)
        found = {("gallery", "vis"): (len(survey.dataset.gallery("ir2vis")),)}
        tables.append(_table(f"SYSU-MM01, {mode}-search, {_count(shots, 'shot')}", ("images",), found, {("gallery", "vis"): (SYSU_GALLERY[mode, shots],)}))
    return [survey], tables


def _regdb(root: Path, options: dict) -> tuple[list[Survey], list[Table]]:
    """Every trial that has at least one list, or the one asked for; one table for all trials with the same counts."""
    trials = [options["trial"]] if "trial" in options else [k for k in regdb.TRIALS if any(root.glob(f"idx/*_{k}.txt"))] or [1]
    surveys = [regdb.survey(root, k, options.get("strict", True)) for k in trials]
    alike: dict[tuple, list[int]] = {}
    for k, survey in zip(trials, surveys, strict=True):
        if survey.listed:
            alike.setdefault(tuple(_images(survey).items()), []).append(k)
    if "trial" not in options and (absent := [str(k) for k in regdb.TRIALS if k not in trials]):
        surveys[0].faults.warn(root / "idx", f"{len(trials)} of 10 trials have lists; without: {', '.join(absent)}")
    head = ("identities", "images")
    return surveys, [_table(f"RegDB, trial {', '.join(map(str, ks))}", head, dict(found), REGDB_COUNTS) for found, ks in alike.items()]


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
        cells = (f"{n:,} ({'?' if e is None else format(e, ',')})" for n, e in zip(found[key], numbers, strict=True))
        rows.append((key[0], WORD[key[1]], *cells))
    widths = [max(len(row[c]) for row in rows) for c in range(len(rows[0]))]
    lines = ["  " + "  ".join(cell.ljust(w) if c < 2 else cell.rjust(w) for c, (cell, w) in enumerate(zip(row, widths, strict=True))) for row in rows]
    differ = sum(e not in (None, n) for key, numbers in expected.items() for n, e in zip(found[key], numbers, strict=True))
    return Table(title, [f"found (real set: {title})", *lines], differ)


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
