"""What the papers print, side by side, and where they disagree with one another."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd

from vvi.runtime import paths

WHERE = ["dataset", "protocol", "direction"]
COPIES = ["paper", "line", "has the numbers of", "in"]


def numbers(
    names: Mapping[str, str] | None = None, protocols: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Read every number of `book/published`, one line each.

    A label that begins with "Baseline" and is not in `names` gets its paper's name:
    every paper has a baseline of its own.

    Args:
        names: "paper: label" -> name, for methods that papers call differently.
        protocols: words for the same protocol -> one of them.
    """
    files = sorted(paths.published().glob("*.csv"))
    lines = pd.concat([pd.read_csv(file) for file in files], ignore_index=True)
    is_baseline = lines.method.str.startswith("Baseline")
    with_paper = lines.method + " (" + lines.paper + ")"
    labels = lines.method.where(~is_baseline, with_paper)
    methods = (lines.paper + ": " + lines.method).map(dict(names or {}))
    protocol = lines.protocol.replace(dict(protocols or {}))
    return lines.assign(
        method=methods.where(methods.notna(), labels), protocol=protocol
    )


def across_papers(
    numbers: pd.DataFrame,
    dataset: str,
    protocol: str,
    direction: str | None,
    metric: str = "rank1",
) -> pd.DataFrame:
    """Build a table of what each paper prints for each method.

    Args:
        numbers: of this module's `numbers`.
        dataset: as printed.
        protocol: as printed.
        direction: None where the papers do not say which.
        metric: as in the files.

    Returns:
        Methods x papers in the order of the files. Where a paper prints several values,
        the first is taken.
    """
    if direction is None:
        chosen = numbers[numbers.direction.isna()]
    else:
        chosen = numbers[numbers.direction == direction]
    is_set = (chosen.dataset == dataset) & (chosen.protocol == protocol)
    chosen = chosen[is_set & (chosen.metric == metric)]
    return chosen.pivot_table(
        index="method", columns="paper", values="value", aggfunc="first", sort=False
    )


def two_digits(table: pd.DataFrame) -> pd.DataFrame:
    """Format numbers with two digits, and a dash where nothing is printed."""
    return table.map("{:.2f}".format).replace("nan", "–")


def gains(
    numbers: pd.DataFrame,
    paper: str,
    table: str,
    row: str,
    base: str,
    metric: str = "rank1",
    direction: str = "ir2vis",
) -> dict[str, float]:
    """Return what a paper prints for a row minus what it prints for another.

    Args:
        numbers: of this module's `numbers`.
        paper: as in the file.
        table: as in the file.
        row: label as in the file.
        base: label of the row to subtract.
        metric: as in the file.
        direction: of the search.

    Returns:
        Data set (and protocol where it has several) -> points.
    """
    in_table = (numbers.paper == paper) & (numbers.table == table)
    in_column = (numbers.metric == metric) & (numbers.direction == direction)
    chosen = numbers[in_table & in_column & numbers.method.isin([row, base])]
    wide = chosen.pivot_table(
        index=["dataset", "protocol"], columns="method", values="value"
    )
    if not {row, base} <= set(wide):
        return {}
    gain = (wide[row] - wide[base]).dropna()
    several = gain.index.get_level_values("dataset").duplicated(keep=False)
    names = [
        f"{dataset}, {protocol}" if many else dataset
        for (dataset, protocol), many in zip(gain.index, several, strict=True)
    ]
    return dict(zip(names, gain, strict=True))


def repeated(numbers: pd.DataFrame) -> pd.DataFrame:
    """Find numbers that are printed more than once.

    Returns:
        One line for each method, data set, protocol, direction and metric, with the
        values and where each is printed. `agree` says whether all are equal.
    """
    keys = ["method", *WHERE, "metric"]
    several = numbers[numbers.duplicated(keys, keep=False)]
    lines = []
    for key, group in several.groupby(keys, dropna=False, sort=False):
        sources = _sources(group)
        printed = [f"{value:g} ({', '.join(s)})" for value, s in sources.items()]
        line = dict(zip(keys, key, strict=True))
        line["papers"] = group.paper.nunique()
        line["agree"] = len(sources) == 1
        line["printed"] = "; ".join(printed)
        lines.append(line)
    return pd.DataFrame(lines, columns=[*keys, "papers", "agree", "printed"])


def _sources(group: pd.DataFrame) -> dict[float, dict[str, None]]:
    """Return value -> the papers and tables that print it, in order."""
    sources: dict[float, dict[str, None]] = {}
    for line in group.itertuples():
        sources.setdefault(line.value, {})[f"{line.paper} {line.table}"] = None
    return sources


def suspicious_copies(numbers: pd.DataFrame, least: int = 3) -> pd.DataFrame:
    """Find pairs of lines of one paper that share values: a copy, or a slip.

    They differ in their method or data set, and share at least `least` values of the
    same metrics.
    """
    lines = []
    for paper, own in numbers.groupby("paper", sort=False):
        wide = own.pivot_table(
            index=["method", *WHERE],
            columns="metric",
            values="value",
            aggfunc="first",
            dropna=False,
            sort=False,
        )
        wide = wide.dropna(how="all")  # pandas makes a line for every combination
        for i, j in combinations(range(len(wide)), 2):
            same = _same_values(wide, i, j)
            if same.sum() >= least:
                names = [_name(wide.index[n]) for n in (i, j)]
                lines.append([paper, *names, ", ".join(wide.columns[same])])
    return pd.DataFrame(lines, columns=COPIES)


def _same_values(wide: pd.DataFrame, i: int, j: int) -> np.ndarray:
    """Return the metrics that two lines share, none where both are of one method."""
    same = (
        wide.to_numpy()[i] == wide.to_numpy()[j]
    )  # what is not printed equals nothing
    of_one = wide.index[i][:2] == wide.index[j][:2]
    return same & (not of_one)


def _name(line: tuple) -> str:
    return " ".join(str(part) for part in line if not pd.isna(part))
