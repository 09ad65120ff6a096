"""Faults of a data set on disk, each with its file, line and text.

A reader collects all of them before it raises the first. List files are read here, too.
"""

from __future__ import annotations

import codecs
import itertools
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from vvi.runtime import paths, validation
from vvi.types import DataError, Dataset, Tracklet

LENIENT = " (--set strict=false reads on; in Python strict=False, or VVI_STRICT=false)"
STRICT = " (refused because strict=true was asked for)"
#: Files that operating systems leave in folders. Names that begin with a dot are never
#: looked at.
DECIMAL = re.compile(r"-?\d+\.\d*([eE][+-]?\d{1,3})?", re.ASCII)
LITTER = re.compile(
    r"(thumbs\.db|ehthumbs(_vista)?\.db|desktop\.ini|@eadir|#recycle|lost\+found"
    r"|\$recycle\.bin|system volume information|__macosx|icon\r|.*:zone\.identifier"
    r"|.*@syno(eastream|resource)|~\$.*|.*~)",
    re.IGNORECASE,
)


@dataclass
class Faults:
    """Faults of one data set, in the order in which they were found.

    A reader raises the first error, `vvi check` prints everything.
    """

    root: Path
    #: True refuses all faults, False reads on past every readable one, None repairs or
    #: skips the harmless and refuses what may change the meaning of the data.
    strict: bool | None = None
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    #: Kind of a tolerated fault -> one entry for each place where it occurs.
    notes: dict[str, list[str]] = field(default_factory=dict)

    def error(self, where: Path, what: str, line: int | None = None) -> None:
        """Add a fault that keeps the data from being read.

        Args:
            where: file or folder.
            what: the fault.
            line: line of the file, from 1.
        """
        self.errors.append(_message(where, what, line))

    def doubt(self, where: Path, what: str, line: int | None = None) -> None:
        """Add a fault that may change the meaning: an error unless `strict` is False.

        Args:
            where: file or folder.
            what: the fault.
            line: line of the file, from 1.
        """
        if self.strict is not False:
            self.error(where, what + LENIENT, line)
        else:
            self.note("doubts passed over", where, what, line)

    def tolerate(
        self,
        kind: str,
        where: Path,
        what: str,
        line: int | None = None,
        name: str | None = None,
    ) -> None:
        """Add a harmless fault: an error only if `strict` is True.

        Args:
            kind: how it was treated, as in "identities of one modality left out".
            where: file or folder.
            what: the fault.
            line: line of the file, from 1.
            name: entry under the kind, by default the file and the line.
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
        """Add a warning that is counted under a kind.

        Args:
            kind: how it was treated, as in "identities of one modality left out".
            where: file or folder.
            what: the fault.
            line: line of the file, from 1.
            name: entry under the kind, by default the file and the line.
        """
        self.warn(where, what, line)
        location = where.name if line is None else f"{where.name} line {line}"
        self.notes.setdefault(kind, []).append(name or location)

    def warn(self, where: Path, what: str, line: int | None = None) -> None:
        """Add a warning, which is never fatal.

        Args:
            where: file or folder.
            what: the warning.
            line: line of the file, from 1.
        """
        self.warnings.append(_message(where, what, line))

    def require(self, folder: Path, names: list[str]) -> bool:
        """Check that a folder has all these files. One error names the missing ones."""
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            count = f"missing {len(missing)} of {len(names)} required files"
            self.error(folder, f"{count}: {', '.join(missing)}")
        return not missing

    def raise_first(self) -> None:
        """Raise the first error, if any, with the number of further ones.

        Raises:
            DataError: the first error.
        """
        if not self.errors:
            return
        further = len(self.errors) - 1
        cure = f" (and {further} more; `vvi check {self.root}` lists them)"
        raise DataError(self.errors[0] + (cure if further else ""))


@dataclass(frozen=True)
class Survey:
    """What a reader found on the disk."""

    #: None when there are errors.
    dataset: Dataset | None
    faults: Faults
    #: Part -> all its tracklets, before any was dropped.
    listed: dict[str, tuple[Tracklet, ...]] = field(default_factory=dict)

    def read(self) -> Dataset:
        """Return the data set.

        Raises:
            DataError: the first fault.
        """
        self.faults.raise_first()
        assert self.dataset is not None, "a survey without errors holds a data set"
        return replace(self.dataset, notes=dict(self.faults.notes))

    def tracklets(self) -> list[Tracklet]:
        """Return the listed tracklets of all parts."""
        return list(itertools.chain.from_iterable(self.listed.values()))


def open_root(root: str | Path, strict: bool | None = None) -> tuple[Path, Faults]:
    """Return the root folder and its faults: none yet, or that there is no folder.

    Raises:
        DataError: the name of the folder is not UTF-8.
    """
    root = validation.at_home(root)
    refuse_undecodable([root])
    faults = Faults(root, paths.strictness() if strict is None else strict)
    if not root.is_dir():
        faults.error(root, "not a folder" if root.exists() else "no such folder")
    if strict is not None and not isinstance(strict, bool):
        faults.error(root, f"strict must be true or false, got {strict!r}")
    return root, faults


def refuse_undecodable(paths: Iterable[Path]) -> None:
    """Refuse names that no table and no digest can hold: they are not UTF-8.

    Raises:
        DataError: showing the first, its odd bytes as `\\xe9`.
    """
    for path in paths:
        try:
            str(path).encode()
        except UnicodeEncodeError as error:
            shown = os.fsencode(path).decode(errors="backslashreplace")
            raise DataError(f"{shown}: this name is not UTF-8: rename it") from error


def check_links(paths: Iterable[Path], faults: Faults) -> None:
    """Add a doubt for each path that is a link out of the data folder."""
    for path in paths:
        problem = link_problem(path, faults.root)
        if problem is None:
            continue
        if faults.strict is not False:
            faults.error(path, problem + LENIENT)
        else:
            faults.note("links out of the data folder followed", path, problem)


def link_problem(path: Path, root: Path) -> str | None:
    """Describe a link that leaves the data folder. Any other path gives None.

    The data folder itself may be a link.
    """
    if not path.is_symlink() or path.resolve().is_relative_to(root.resolve()):
        return None
    return f"a link that leaves the data folder, to {path.resolve()}"


def read_lines(path: Path, faults: Faults) -> list[str]:
    r"""Read a list file, without the line ends (`\n` or `\r\n`).

    Blank lines at the end are left out. An undecodable or empty file is an error and
    gives no lines.
    """
    content = path.read_bytes()
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start : error.start + 1]
        faults.error(path, f"undecodable text, byte {byte!r} is not UTF-8", line)
        return []
    lines = text.replace("\r\n", "\n").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        faults.error(path, "empty list file")
    return lines


def split_fields(line: str) -> list[str]:
    """Split a line at any white space, and cut a fraction of zero off its numbers.

    >>> split_fields("2\\t1  3.0 1.200000000000000000e+01 x ")
    ['2', '1', '3', '12', 'x']
    """
    return [_without_fraction(text) for text in line.split()]


def note_blanks(path: Path, lines: Iterable[str], faults: Faults) -> None:
    """Count the lines of a list that hold tabs, extra blanks or decimal fractions.

    Args:
        path: file of the list.
        lines: its lines, from the first.
        faults: the count is noted here.
    """
    odd = [number for number, line in enumerate(lines, 1) if _has_odd_blanks(line)]
    if odd:
        what = f"{len(odd)} lines with tabs, extra blanks or numbers such as 1.0"
        kind = "lists with tabs, extra blanks or decimal numbers read all the same"
        faults.tolerate(kind, path, what, odd[0], path.name)


def _has_odd_blanks(line: str) -> bool:
    return bool(line.strip()) and " ".join(split_fields(line)) != line


def _without_fraction(text: str) -> str:
    """Write a decimal number without a fraction as an integer, leave other text."""
    if not DECIMAL.fullmatch(text):
        return text
    value = float(text)
    return str(int(value)) if abs(value) < 2**53 and value.is_integer() else text


def escapes(listed: str) -> bool:
    """Whether a listed path would leave the data folder: absolute or with `..`."""
    if listed.startswith(("/", "\\", "~")) or re.match(r"[A-Za-z]:", listed):
        return True
    return ".." in with_slashes(listed).split("/")


def with_slashes(listed: str) -> str:
    r"""Write a listed path as it is here, also where a list was made on Windows.

    >>> with_slashes(r"Visible\19\one.bmp 0")
    'Visible/19/one.bmp 0'
    """
    return listed.replace("\\", "/")


def quote(text: str, longest: int = 80) -> str:
    """Quote offending text for a message, cut when long."""
    return repr(text if len(text) <= longest else text[:longest] + "...")


def _message(where: Path, what: str, line: int | None) -> str:
    return f"{where}: {what}" if line is None else f"{where}, line {line}: {what}"
