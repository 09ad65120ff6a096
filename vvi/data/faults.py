"""Collect everything that is wrong with a data set on disk, each fault with its file, line and text; read list files line by line."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from vvi.runtime import paths
from vvi.types import DataError, Dataset, Tracklet

LENIENT = " (--set strict=false reads on; in Python strict=False, or VVI_STRICT=false)"
STRICT = " (refused because strict=true was asked for)"
LITTER = re.compile(
    r"(thumbs\.db|ehthumbs(_vista)?\.db|desktop\.ini|@eadir|#recycle|lost\+found"
    r"|\$recycle\.bin|system volume information|__macosx|icon\r|.*:zone\.identifier"
    r"|.*@syno(eastream|resource)|~\$.*|.*~)",
    re.IGNORECASE,
)  # what systems leave in folders; names that begin with a dot are never looked at


@dataclass
class Faults:
    """What is wrong with one data set, in the order in which it was found.

    A reader raises the first error, a check prints everything.
    """

    root: Path
    #: True refuses all that is odd, False reads on past all that can be read; None mends
    #: or leaves out what is harmless and refuses what may mean something else.
    strict: bool | None = None
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    #: What was mended, kept or left out: in words -> where, one entry for each.
    notes: dict[str, list[str]] = field(default_factory=dict)

    def error(self, where: Path, what: str, line: int | None = None) -> None:
        """Add what keeps the data from being read as they are."""
        self.errors.append(_message(where, what, line))

    def doubt(self, where: Path, what: str, line: int | None = None) -> None:
        """Add what can be read but may mean something else: an error by default."""
        if self.strict is not False:
            self.error(where, what + LENIENT, line)
        else:
            self.note("doubts passed over", where, what, line)

    def spare(
        self,
        kind: str,
        where: Path,
        what: str,
        line: int | None = None,
        name: str | None = None,
    ) -> None:
        """Add what is harmless or can be left out: an error only when strict.

        Args:
            kind: what was done about it, as in "identities of one modality left out".
            where: a file or folder.
            what: what is odd there.
            line: of the file, from 1.
            name: how to list it behind the kind; by default the file and the line.
        """
        if self.strict:
            self.error(where, what + STRICT, line)
        else:
            self.note(kind, where, what, line, name)

    def note(
        self,
        kind: str,
        where: Path,
        what: str,
        line: int | None = None,
        name: str | None = None,
    ) -> None:
        """Add a warning that is counted under a kind, in words."""
        self.warn(where, what, line)
        place = where.name if line is None else f"{where.name} line {line}"
        self.notes.setdefault(kind, []).append(name or place)

    def warn(self, where: Path, what: str, line: int | None = None) -> None:
        """Add what is worth knowing and never fatal."""
        self.warnings.append(_message(where, what, line))

    def require(self, folder: Path, names: list[str]) -> bool:
        """All files `names` of `folder` exist; one error names all that do not."""
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            self.error(
                folder,
                f"missing {len(missing)} of {len(names)} required files: {', '.join(missing)}",
            )
        return not missing

    def raise_first(self) -> None:
        """Raise the first error, if any, with the number of further ones."""
        if not self.errors:
            return
        further = len(self.errors) - 1
        more = (
            f" (and {further} more; `vvi check {self.root}` lists them)"
            if further
            else ""
        )
        raise DataError(self.errors[0] + more)


@dataclass(frozen=True)
class Survey:
    """What a reader found on the disk."""

    #: None when unreadable.
    dataset: Dataset | None
    faults: Faults
    #: All tracklets by part, before any was dropped.
    listed: dict[str, tuple[Tracklet, ...]] = field(default_factory=dict)

    def read(self) -> Dataset:
        """The data set, or `DataError` on the first fault."""
        self.faults.raise_first()
        assert self.dataset is not None, "a survey without errors holds a data set"
        return replace(self.dataset, notes=dict(self.faults.notes))


def existing_root(root: str | Path, strict: bool | None = None) -> tuple[Path, Faults]:
    """The root folder and an empty collection of faults, or one fault when there is no such folder."""
    root = Path(root).expanduser()
    faults = Faults(root, paths.strictness() if strict is None else strict)
    if not root.is_dir():
        faults.error(root, "not a folder" if root.exists() else "no such folder")
    if strict is not None and not isinstance(strict, bool):
        faults.error(root, f"strict must be true or false, got {strict!r}")
    return root, faults


def check_links(paths: Iterable[Path], faults: Faults) -> None:
    """A link that leads out of the data folder is doubtful: what a list means lies in there."""
    for path in paths:
        if not (outside := leads_out(path, faults.root)):
            continue
        if faults.strict is not False:
            faults.error(path, outside + LENIENT)
        else:
            faults.note("links out of the data folder followed", path, outside)


def leads_out(path: Path, root: Path) -> str | None:
    """What is wrong with a path that is a link out of the data folder, which may itself be one; None for any other path."""
    return (
        f"a link that leaves the data folder, to {path.resolve()}"
        if path.is_symlink() and not path.resolve().is_relative_to(root.resolve())
        else None
    )


def read_lines(path: Path, faults: Faults) -> list[str]:
    r"""Lines of a list file without their ends (`\n` or `\r\n`); blank lines at the end are left out. Undecodable or empty: [] and an error."""
    raw = path.read_bytes()
    wide = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = raw.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as err:
        line = raw.count(b"\n", 0, err.start) + 1
        faults.error(
            path,
            f"undecodable text, byte {raw[err.start : err.start + 1]!r} is not UTF-8",
            line,
        )
        return []
    lines = text.replace("\r\n", "\n").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        faults.error(path, "empty list file")
    return lines


def fields(line: str) -> list[str]:
    """Fields of a line, which may be apart by any blanks; numbers without a fraction.

    >>> fields("2\\t1  3.0 1.200000000000000000e+01 x ")
    ['2', '1', '3', '12', 'x']
    """
    return [_whole(text) for text in line.split()]


def note_blanks(path: Path, lines: Iterable[str], faults: Faults) -> None:
    """Count the lines of a list that hold tabs, extra blanks or decimal fractions."""
    odd = [k for k, line in enumerate(lines, 1) if line.strip() and _is_odd(line)]
    if odd:
        what = f"{len(odd)} lines with tabs, extra blanks or numbers such as 1.0"
        kind = "lists with tabs, extra blanks or decimal numbers read all the same"
        faults.spare(kind, path, what, odd[0], path.name)


def _is_odd(line: str) -> bool:
    return " ".join(fields(line)) != line


def _whole(text: str) -> str:
    """A decimal number without a fraction, as a whole one; any other text as it is."""
    if not re.fullmatch(r"-?\d+\.\d*([eE][+-]?\d{1,3})?", text, re.ASCII):
        return text
    value = float(text)
    return str(int(value)) if abs(value) < 2**53 and value.is_integer() else text


def escapes(listed: str) -> bool:
    """A listed path would leave the data folder: absolute, or with a `..` part (either slash)."""
    parts = listed.replace("\\", "/").split("/")
    return (
        ".." in parts
        or listed.startswith(("/", "\\", "~"))
        or re.match(r"[A-Za-z]:", listed) is not None
    )


def quote(text: str, longest: int = 80) -> str:
    """Offending text as it is shown in a message, cut when long."""
    return repr(text if len(text) <= longest else text[:longest] + "...")


def _message(where: Path, what: str, line: int | None) -> str:
    return f"{where}: {what}" if line is None else f"{where}, line {line}: {what}"
