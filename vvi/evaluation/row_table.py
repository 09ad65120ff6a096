"""The table beside a file of features: who each row is, as any program writes it.

The first line names the columns. Where one of them is `row`, it says to which row of
the features a line belongs, so a table may be sorted at will. Else the order counts.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vvi.runtime import tensors

#: What the columns of a table, and the arrays of a file, may be called.
NAMES = {
    "features": ("features", "feature", "feats", "feat", "embeddings", "embedding"),
    "identity": ("identity", "identities", "ids", "pids", "pid", "labels", "label"),
    "camera": ("camera", "cameras", "cams", "camids", "camid", "cam"),
    "modality": ("modality", "modalities"),
    "side": ("side", "sides"),
    "name": ("name", "names", "paths", "files"),
}
#: Columns that name things, each under any of these words. Blanks belong to a name.
NAMING = (*NAMES["name"], "file")
#: What stands between the cells of a table.
SEPARATORS = (",", ";", "\t")
#: A line before the header that tells a spreadsheet what stands between the cells.
SAID_SEPARATOR = re.compile(r'"?sep=([,;\t])"?[,;\t]*(\r\n|\r|\n)', re.IGNORECASE)
UNSAID = ""


class FeaturesError(ValueError):
    """A file of features that cannot be used. The message names it and the cure."""


def read(file: Path) -> pd.DataFrame:
    """Read a table as text, its columns under the names that are used here.

    Args:
        file: text in UTF-8 or UTF-16, its cells parted by commas, semicolons or tabs.

    Returns:
        A row for each line. Cells that are missing at the end of a line are empty.

    Raises:
        FeaturesError: it is no table, a line has more cells than the header, or two
            columns have one name.
    """
    head, lines = _cells(file)
    columns = _plain_head(head)
    table = pd.DataFrame(index=range(len(lines)))
    for column_index, name in enumerate(columns):
        if not name:
            continue
        first = columns.index(name)
        if first < column_index:
            names = f"{head[first].strip()} and {head[column_index].strip()}"
            raise FeaturesError(f"{file}: its columns {names} have one name")
        texts = [cells[column_index] for cells in lines]
        table[name] = texts if name in NAMING else [text.strip() for text in texts]
    for column, names in NAMES.items():
        other = [name for name in table.columns if name in names]
        if other and column not in table and column != "features":
            table = table.rename(columns={other[0]: column})
    return table


def columns_of(file: Path) -> list[str]:
    """Return the names of the columns of a table, in lower case.

    Raises:
        FeaturesError: it is no table.
    """
    return _plain_head(_cells(file)[0])


def _plain_head(head: Sequence[str]) -> list[str]:
    return [name.strip().lower() for name in head]


def _cells(file: Path) -> tuple[list[str], list[list[str]]]:
    """Return the header and the lines, each as long as the header.

    Raises:
        FeaturesError: it is no table.
    """
    try:
        return _split(_text(file.read_bytes()))
    except (ValueError, csv.Error) as error:
        why = " ".join(str(error).split())
        raise FeaturesError(f"{file} is no table: {why}") from error


def _text(content: bytes) -> str:
    """Decode the content of a table.

    Raises:
        ValueError: it is not in Unicode.
    """
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            "it is text neither in UTF-8 nor in UTF-16: save it as CSV UTF-8"
        ) from error


def _split(text: str) -> tuple[list[str], list[list[str]]]:
    """Return the header and the lines of a text, each as long as the header.

    Raises:
        ValueError: there is no header, or a line is longer than it.
    """
    said = SAID_SEPARATOR.match(text)
    text = text[said.end() :] if said else text
    first = re.split(r"[\r\n]", text, maxsplit=1)[0]
    delimiter = said[1] if said else max(SEPARATORS, key=first.count)
    # line breaks as they are, for one may belong to a name
    buffer = io.StringIO(text, newline="")
    reader = csv.reader(buffer, delimiter=delimiter, strict=True)
    head: list[str] = []
    lines = []
    for cells in reader:
        if not cells:
            continue
        if not head:
            head = cells
            continue
        if len(cells) > len(head):
            raise ValueError(
                f"line {reader.line_num} has {len(cells)} cells, the header {len(head)}"
            )
        missing = len(head) - len(cells)
        lines.append(cells + [UNSAID] * missing)
    if not head:
        raise ValueError("it is empty")
    return head, lines


def content(table: pd.DataFrame, **options: Any) -> bytes:
    """Return a table as a file of commas holds it.

    Args:
        table: what is written.
        **options: of `pandas.DataFrame.to_csv`.
    """
    text = table.to_csv(lineterminator="\n", **options)
    if "\r" in text:  # which is only put in quotes where it may end a line
        text = table.to_csv(lineterminator="\r\n", **options)
    return text.encode()


def aligned(table: pd.DataFrame, count: int, file: Path, owner: str) -> pd.DataFrame:
    """Bring a table into the order of its features, by its column `row` if it has one.

    Args:
        table: what `read` returned.
        count: rows of the features.
        file: of the table, for messages.
        owner: name of the file of features, for messages.

    Raises:
        FeaturesError: the table has other rows than the features.
    """
    table = _without_blank_lines(table, count)
    lengths = f"{file} has {len(table)} rows, {owner} {count}"
    if "row" not in table:
        if len(table) != count:
            raise FeaturesError(lengths)
        return table
    numbers = _row_numbers(table["row"], count, file, owner)
    missing = sorted(set(range(count)) - set(numbers))
    if missing:
        raise FeaturesError(f"{lengths}: row(s) {tensors.some(missing)} are missing")
    order = np.argsort(numbers)
    return table.iloc[order].drop(columns="row").reset_index(drop=True)


def _without_blank_lines(table: pd.DataFrame, count: int) -> pd.DataFrame:
    """Leave out lines without a word, which spreadsheets write where rows were cleared.

    Args:
        table: what `read` returned.
        count: rows of the features. Where no column `row` says whose a line is, lines
            count in their order, and only those behind all rows are left out.
    """
    is_blank = table.apply(lambda cells: cells.str.strip() == UNSAID).all(axis=1)
    if "row" not in table:
        is_blank &= np.arange(len(table)) >= count
    return table[~is_blank].reset_index(drop=True)


def _row_numbers(cells: Sequence[str], count: int, file: Path, owner: str) -> list[int]:
    """Read the column `row`.

    Args:
        cells: of the column.
        count: rows of the features.
        file: of the table, for messages.
        owner: name of the file of features, for messages.

    Raises:
        FeaturesError: a cell is no row of the features, or a row comes twice.
    """
    known = {str(number): number for number in range(count)}
    numbers: list[int] = []
    seen = set()
    for cell in cells:
        number = known.get(plain(cell))
        if number is None:
            raise FeaturesError(
                f"{file}: row {cell[:40]!r} is not in {owner}, which has rows 0 to "
                f"{count - 1}"
            )
        if number in seen:
            raise FeaturesError(f"{file}: row {number} stands there twice")
        seen.add(number)
        numbers.append(number)
    return numbers


def plain(text: str) -> str:
    """Write 1, 01 and 1.0 alike: they are one identity. Other text stays as it is.

    >>> [plain(text) for text in ("1", " 01", "1.0", "0", "1_2", "1e3", "p01")]
    ['1', '1', '1', '0', '1_2', '1e3', 'p01']
    """
    text = text.strip()
    number = re.fullmatch(r"(\d+)(\.0)?", text, re.ASCII)
    return (number[1].lstrip("0") or "0") if number else text
