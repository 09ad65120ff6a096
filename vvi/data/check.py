"""The report of `vvi check ROOT`: counts, faults and broken images of a data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from vvi.data import buptcampus, regdb, sysu, vcm
from vvi.data.faults import Survey
from vvi.data.images import ImageInfo, inspect_images
from vvi.data.layout import LAYOUTS, check_options, detect, evidence, set_folders
from vvi.runtime import validation
from vvi.types import MODALITIES, DataError, Tracklet

#: The minimum length of the released code, with which the expected counts were taken.
VCM_MIN = 12
#: HITSZ-VCM, (part, modality): identities, tracklets, tracklets of 12 images or more,
#: images, images in those. None where nobody published the number.
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
#: SYSU-MM01, (part, modality): identities, images.
SYSU_COUNTS = {
    ("train", "vis"): (395, 22258),
    ("train", "ir"): (395, 11909),
    ("test", "vis"): (96, 6775),
    ("test", "ir"): (96, 3803),
}
#: SYSU-MM01, (mode, shots): images of a gallery.
SYSU_GALLERY = {
    ("all", 1): 301,
    ("all", 10): 3010,
    ("indoor", 1): 112,
    ("indoor", 10): 1120,
}
#: RegDB, one trial, (part, modality): identities, images.
REGDB_COUNTS = {
    ("train", "vis"): (206, 2060),
    ("train", "ir"): (206, 2060),
    ("test", "vis"): (206, 2060),
    ("test", "ir"): (206, 2060),
}
#: BUPTCampus, (part, modality): identities, tracklets, images.
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
#: A file beside tracklets that were cut from videos.
PROVISIONAL = "provisional.json"


@dataclass(frozen=True)
class Report:
    """What a check found."""

    #: For people to read.
    text: str
    #: The data set can be used when there are none.
    errors: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Counts of a set beside the expected ones, ready to print."""

    title: str
    lines: list[str]
    #: Number of cells that are not equal.
    differ: int


def report(
    root: str | Path, layout: str = "auto", images: bool = True, **options: object
) -> Report:
    """Read one data set or several side by side, and decode every image.

    Counts that differ from the real set's are shown, never an error.

    Args:
        root: folder of one set, or of several side by side.
        layout: "auto" or one of `LAYOUTS`.
        images: False checks the lists alone.
        options: of the reader. Without a trial, all trials of RegDB are read.

    Raises:
        ValueError: an unknown layout.
        OptionError: the reader does not have an option.
    """
    root = validation.at_home(root)
    if layout not in ("auto", *LAYOUTS):
        known = ", ".join(("auto", *LAYOUTS))
        raise ValueError(f"unknown layout {layout!r}; known: {known}")
    folders = set_folders(root) if layout == "auto" and root.is_dir() else []
    reports = [
        _report_folder(one, layout, images, options) for one in folders or [root]
    ]
    errors = []
    for one in reports:
        errors += one.errors
    return Report("\n\n".join(one.text for one in reports), tuple(errors))


def _report_folder(root: Path, layout: str, images: bool, options: Mapping) -> Report:
    """Report one folder. A layout that is not clear is the one error of its report."""
    try:
        known = detect(root) if layout == "auto" else layout
    except DataError as error:
        return Report(f"{error}\n1 error", (str(error),))
    return _report_one(root, known, images, options)


def _report_one(root: Path, layout: str, images: bool, options: Mapping) -> Report:
    check_options(layout, SURVEYS[layout], options)
    options = dict(options)
    if layout == "hitsz-vcm" and (root / PROVISIONAL).is_file():
        options.setdefault("part", "test")
    counted = {"hitsz-vcm": _vcm, "sysu-mm01": _sysu, "regdb": _regdb}
    surveys, tables = counted.get(layout, _campus)(root, options)
    errors, warnings, remarks = _faults(surveys)
    if images:
        tracklets = []
        for survey in surveys:
            tracklets += survey.tracklets()
        links = all(survey.faults.strict is False for survey in surveys)
        broken, special = inspect_images(tracklets, root, links=links)
        errors += broken
        warnings += _special(tracklets, special)
    clues = ", ".join(evidence(root)[layout])
    lines = [f"{layout} in {root}" + (f" (recognised by {clues})" if clues else "")]
    for table in tables:
        lines += table.lines
        if table.differ:
            verb = "differs" if table.differ == 1 else "differ"
            what = f"{_count(table.differ, 'count')} {verb} from the real set"
            warnings.append(f"{what} ({table.title}), as in generated data or a subset")
    lines += [f"error: {error}" for error in errors]
    lines += [f"warning: {warning}" for warning in warnings]
    lines += [f"in short: {remark}" for remark in remarks]
    totals = f"{_count(len(errors), 'error')}, {_count(len(warnings), 'warning')}"
    lines.append(totals + ("" if images else ", images not looked at"))
    return Report("\n".join(lines), tuple(errors))


def _faults(surveys: list[Survey]) -> tuple[list[str], list[str], list[str]]:
    """Return the errors, warnings and remarks of surveys, the last two once each."""
    errors, warnings, remarks = [], [], []
    for survey in surveys:
        errors += survey.faults.errors
        warnings += survey.faults.warnings
        for kind, places in survey.faults.notes.items():
            remarks.append(f"{len(places)} {kind}")
    return errors, list(dict.fromkeys(warnings)), list(dict.fromkeys(remarks))


def _special(
    tracklets: Iterable[Tracklet], special: Mapping[Path, ImageInfo]
) -> list[str]:
    """Count what is special about readable images, with the first of each kind."""
    kinds: dict[str, list[Path]] = {}
    for path, info in special.items():
        for kind in _peculiarities(info):
            kinds.setdefault(kind, []).append(path)
    lines = [
        f"{len(paths)} {kind} (first: {paths[0]})" for kind, paths in kinds.items()
    ]
    return lines + _unequal_depths(tracklets, special)


def _peculiarities(info: ImageInfo) -> list[str]:
    kinds = []
    if info.bits > 8:
        kinds.append(f"images of 16 bits, read with the white of {info.bits} bits")
    if info.turned:
        kinds.append("images stored turned, shown upright")
    if info.pictures > 1:
        kinds.append("files of several pictures, of which the first is read")
    if info.renamed:
        kinds.append("images whose suffix is written in another case than listed")
    return kinds


def _unequal_depths(
    tracklets: Iterable[Tracklet], special: Mapping[Path, ImageInfo]
) -> list[str]:
    """Name cameras whose images of 16 bits are not all read with the same white."""
    depths: dict[tuple[int, str], Counter] = {}
    for tracklet in tracklets:
        infos = [special[path] for path in tracklet.paths if path in special]
        bits = [info.bits for info in infos if info.bits > 8]
        if bits:
            camera = (tracklet.camera, tracklet.modality)
            depths.setdefault(camera, Counter()).update(bits)
    lines = []
    for (camera, modality), counts in depths.items():
        if len(counts) > 1:
            whites = ", ".join(f"{b} bits {n}" for b, n in sorted(counts.items()))
            lines.append(
                f"camera {camera}, {WORD[modality]}: images of 16 bits are read with "
                f"different whites ({whites}), so their brightness differs: save all "
                "with 8 bits to decide it yourself"
            )
    return lines


def _vcm(root: Path, options: dict) -> tuple[list[Survey], list[Table]]:
    survey = vcm.survey(root, **options)
    if not survey.listed:
        return [survey], []
    least = options.get("min_seq_len", VCM_MIN)
    counts = {}
    for part, modality in VCM_COUNTS:
        listed = survey.tracklets() if part == "all" else survey.listed[part]
        tracklets = _of_modality(listed, modality)
        kept = [t for t in tracklets if len(t) >= least]
        identities, number, images = _sizes(tracklets)
        kept_images = sum(map(len, kept))
        counts[part, modality] = (identities, number, len(kept), images, kept_images)
    head = ("identities", "tracklets", f"kept (>= {least})", "images", "images kept")
    title = "HITSZ-VCM, kept: at least 12 images"
    return [survey], [_table(title, head, counts, VCM_COUNTS)]


def _of_modality(tracklets: Iterable[Tracklet], modality: str) -> list[Tracklet]:
    return [t for t in tracklets if modality in (t.modality, "both")]


def _sizes(tracklets: list[Tracklet]) -> tuple[int, int, int]:
    """Count identities, tracklets and images."""
    identities = {tracklet.identity for tracklet in tracklets}
    return len(identities), len(tracklets), sum(map(len, tracklets))


def _sysu(root: Path, options: dict) -> tuple[list[Survey], list[Table]]:
    survey = sysu.survey(root, **options)
    if options.get("train") != "arrays" and any(root.glob("train_*_resized_*.npy")):
        sysu.survey_arrays(root, survey.faults)
    tables = []
    if survey.listed:
        title, head = "SYSU-MM01, train holds train + val", ("identities", "images")
        tables.append(_table(title, head, _image_counts(survey), SYSU_COUNTS))
    if survey.dataset:
        mode, shots = options.get("mode", "all"), options.get("shots", 1)
        title = f"SYSU-MM01, {mode}-search, {_count(shots, 'shot')}"
        counts = {("gallery", "vis"): (len(survey.dataset.gallery("ir2vis")),)}
        expected = {("gallery", "vis"): (SYSU_GALLERY[mode, shots],)}
        tables.append(_table(title, ("images",), counts, expected))
    return [survey], tables


def _campus(root: Path, options: dict) -> tuple[list[Survey], list[Table]]:
    survey = buptcampus.survey(root, **options)
    if not survey.listed:
        return [survey], []
    counts = {}
    for part, modality in CAMPUS_COUNTS:
        listed = survey.listed.get(part, ())
        counts[part, modality] = _sizes(_of_modality(listed, modality))
    head = ("identities", "tracklets", "images")
    return [survey], [_table("BUPTCampus", head, counts, CAMPUS_COUNTS)]


def _regdb(root: Path, options: dict) -> tuple[list[Survey], list[Table]]:
    """Read the trial of the options, or every trial that has a list.

    Trials with equal counts share a table.
    """
    trials = [options["trial"]] if "trial" in options else regdb.listed_trials(root)
    surveys = [regdb.survey(root, k, options.get("strict")) for k in trials]
    alike: dict[tuple, list[int]] = {}
    for k, survey in zip(trials, surveys, strict=True):
        if survey.listed:
            counts = tuple(_image_counts(survey).items())
            alike.setdefault(counts, []).append(k)
    absent = [str(k) for k in regdb.TRIALS if k not in trials]
    has_lists = any(root.glob(f"idx/*_{trials[0]}.txt"))  # else an error says so
    if absent and "trial" not in options and has_lists:
        what = f"{len(trials)} of 10 trials have lists"
        surveys[0].faults.warn(root / "idx", f"{what}; without: {', '.join(absent)}")
    tables = []
    for counts, numbers in alike.items():
        title = f"RegDB, trial {', '.join(map(str, numbers))}"
        head = ("identities", "images")
        tables.append(_table(title, head, dict(counts), REGDB_COUNTS))
    return surveys, tables


def _image_counts(survey: Survey) -> dict[tuple[str, str], tuple[int, ...]]:
    """Count identities and images by (part, modality)."""
    counts = {}
    for part, tracklets in survey.listed.items():
        for modality in MODALITIES:
            identities, number, _ = _sizes(_of_modality(tracklets, modality))
            counts[part, modality] = (identities, number)
    return counts


def _table(title: str, head: tuple[str, ...], counts: dict, expected: dict) -> Table:
    """Lay out one row per (part, modality), each cell `count (expected)`.

    Args:
        title: of the table.
        head: names of the columns.
        counts: (part, modality) -> numbers of this set.
        expected: (part, modality) -> numbers of the real set, None where unknown.
    """
    rows = [("part", "modality", *head)]
    differ = 0
    for (part, modality), numbers in expected.items():
        pairs = list(zip(counts[part, modality], numbers, strict=True))
        rows.append((part, WORD[modality], *(_cell(*pair) for pair in pairs)))
        differ += sum(real not in (None, count) for count, real in pairs)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_line(row, widths) for row in rows]
    return Table(title, [f"found (real set: {title})", *lines], differ)


def _cell(count: int, expected: int | None) -> str:
    return f"{count:,} ({'?' if expected is None else format(expected, ',')})"


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    """Align a row: words to the left, numbers to the right."""
    padded = []
    for column, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        padded.append(cell.ljust(width) if column < 2 else cell.rjust(width))
    return "  " + "  ".join(padded)


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
