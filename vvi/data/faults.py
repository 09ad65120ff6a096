"""Collect everything that is wrong with a data set on disk, each fault with its file, line and text; read list files line by line."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from vvi.types import DataError, Dataset, Tracklet

LENIENT = " (strict=False reads on)"


@dataclass
class Faults:
    """Errors and warnings of one data set in the order they were found; a reader raises the first, a check prints them all."""

    root: Path
    strict: bool = True
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def error(self, where: Path, what: str, line: int | None = None) -> None:
        """The data cannot be read as they are."""
        self.errors.append(_message(where, what, line))

    def doubt(self, where: Path, what: str, line: int | None = None) -> None:
        """Against the format, but readable: an error when strict, else a warning."""
        if self.strict:
            self.error(where, what + LENIENT, line)
        else:
            self.warn(where, what, line)

    def warn(self, where: Path, what: str, line: int | None = None) -> None:
        """Worth knowing, never fatal."""
        self.warnings.append(_message(where, what, line))

    def require(self, folder: Path, names: list[str]) -> bool:
        """All files `names` of `folder` exist; one error names all that do not."""
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            self.error(folder, f"missing {len(missing)} of {len(names)} required files: {', '.join(missing)}")
        return not missing

    def raise_first(self) -> None:
        """Raise the first error, if any, with the number of further ones."""
        if not self.errors:
            return
        further = len(self.errors) - 1
        more = f" (and {further} more; `vvi check {self.root}` lists them)" if further else ""
        raise DataError(self.errors[0] + more)


@dataclass(frozen=True)
class Survey:
    """What a reader found: the data set (None when unreadable), every fault, and the listed tracklets by part before any was dropped."""

    dataset: Dataset | None
    faults: Faults
    listed: dict[str, tuple[Tracklet, ...]] = field(default_factory=dict)

    def read(self) -> Dataset:
        """The data set, or `DataError` on the first fault."""
        self.faults.raise_first()
        assert self.dataset is not None, "a survey without errors holds a data set"
        return self.dataset


def existing_root(root: str | Path, strict: bool = True) -> tuple[Path, Faults]:
    """The root folder and an empty collection of faults, or one fault when there is no such folder."""
    root = Path(root).expanduser()
    faults = Faults(root, strict)
    if not root.is_dir():
        faults.error(root, "not a folder" if root.exists() else "no such folder")
    if not isinstance(strict, bool):
        faults.error(root, f"strict must be true or false, got {strict!r}")
    return root, faults


def check_links(paths: Iterable[Path], faults: Faults) -> None:
    """A link that leads out of the data folder is doubtful: what a list means lies in there."""
    for path in paths:
        if outside := leads_out(path, faults.root):
            faults.doubt(path, outside)


def leads_out(path: Path, root: Path) -> str | None:
    """What is wrong with a path that is a link out of the data folder, which may itself be one; None for any other path."""
    return f"a link that leaves the data folder, to {path.resolve()}" if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()) else None


def read_lines(path: Path, faults: Faults) -> list[str]:
    r"""Lines of a list file without their ends (`\n` or `\r\n`); blank lines at the end are left out. Undecodable or empty: [] and an error."""
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        line = raw.count(b"\n", 0, err.start) + 1
        faults.error(path, f"undecodable text, byte {raw[err.start : err.start + 1]!r} is not UTF-8", line)
        return []
    lines = text.replace("\r\n", "\n").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        faults.error(path, "empty list file")
    return lines


def escapes(listed: str) -> bool:
    """A listed path would leave the data folder: absolute, or with a `..` part (either slash)."""
    parts = listed.replace("\\", "/").split("/")
    return ".." in parts or listed.startswith(("/", "\\", "~")) or re.match(r"[A-Za-z]:", listed) is not None


def quote(text: str, longest: int = 80) -> str:
    """Offending text as it is shown in a message, cut when long."""
    return repr(text if len(text) <= longest else text[:longest] + "...")


def _message(where: Path, what: str, line: int | None) -> str:
    return f"{where}: {what}" if line is None else f"{where}, line {line}: {what}"
