"""What the papers print, side by side: the numbers of every paper under one name for each method, and where they disagree with one another."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import pandas as pd

from vvi.runtime import paths

WHERE = ["dataset", "protocol", "direction"]


def numbers(
    names: Mapping[str, str] | None = None, protocols: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Every number of `book/published`, one line each, with the columns of its files.

    names: "paper: label" -> name, for methods that papers call differently; a label that begins with "Baseline" and is not named so gets its paper's name, for every paper has a
    baseline of its own. protocols: words for the same protocol -> one of them.
    """
    found = pd.concat(
        [pd.read_csv(file) for file in sorted(paths.published().glob("*.csv"))],
        ignore_index=True,
    )
    called = dict(names or {})
    own = found.method.where(
        ~found.method.str.startswith("Baseline"),
        found.method + " (" + found.paper + ")",
    )
    methods = [
        called.get(f"{paper}: {label}", alone)
        for paper, label, alone in zip(found.paper, found.method, own, strict=True)
    ]
    return found.assign(
        method=methods, protocol=found.protocol.replace(dict(protocols or {}))
    )


def across_papers(
    numbers: pd.DataFrame,
    dataset: str,
    protocol: str,
    direction: str | None,
    metric: str = "rank1",
) -> pd.DataFrame:
    """What each paper prints for each method, in the order of the files: methods x papers; the first value where a paper prints several.

    direction: None where the papers do not say which.
    """
    asked = (
        numbers.direction.isna()
        if direction is None
        else numbers.direction == direction
    )
    chosen = numbers[
        (numbers.dataset == dataset)
        & (numbers.protocol == protocol)
        & asked
        & (numbers.metric == metric)
    ]
    return chosen.pivot_table(
        index="method", columns="paper", values="value", aggfunc="first", sort=False
    )


def two_digits(table: pd.DataFrame) -> pd.DataFrame:
    """Numbers for a page: two digits, and a dash where nothing is printed."""
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
    """What a paper prints for a row of a table minus what it prints for another: data set (and protocol where it has several) -> points. Labels as in the file."""
    chosen = numbers[
        (numbers.paper == paper)
        & (numbers.table == table)
        & (numbers.metric == metric)
        & (numbers.direction == direction)
    ]
    wide = chosen[chosen.method.isin([row, base])].pivot_table(
        index=["dataset", "protocol"], columns="method", values="value"
    )
    if not {row, base} <= set(wide):
        return {}
    found = (wide[row] - wide[base]).dropna()
    several = found.index.get_level_values("dataset").duplicated(keep=False)
    return {
        f"{data}, {protocol}" if many else data: gain
        for ((data, protocol), gain), many in zip(found.items(), several, strict=True)
    }


def repeated(numbers: pd.DataFrame) -> pd.DataFrame:
    """Numbers that are printed more than once: one line for each method, data set, protocol, direction and metric, with the values and the places of each; `agree` says whether
    all are equal."""
    keys = ["method", *WHERE, "metric"]
    found = []
    for key, group in numbers[numbers.duplicated(keys, keep=False)].groupby(
        keys, dropna=False, sort=False
    ):
        places: dict[float, dict[str, None]] = {}
        for value, place in zip(
            group.value, group.paper + " " + group.table, strict=True
        ):
            places.setdefault(value, {})[place] = None
        told = "; ".join(
            f"{value:g} ({', '.join(where)})" for value, where in places.items()
        )
        found.append(
            dict(zip(keys, key, strict=True))
            | {
                "papers": group.paper.nunique(),
                "agree": len(places) == 1,
                "printed": told,
            }
        )
    return pd.DataFrame(found, columns=[*keys, "papers", "agree", "printed"])


def suspicious_copies(numbers: pd.DataFrame, least: int = 3) -> pd.DataFrame:
    """Pairs of lines of one paper that differ in their method or data set and share at least `least` values of the same metrics: a copy, or a slip."""
    found = []
    for paper, own in numbers.groupby("paper", sort=False):
        wide = own.pivot_table(
            index=["method", "dataset", "protocol", "direction"],
            columns="metric",
            values="value",
            aggfunc="first",
            dropna=False,
            sort=False,
        )
        wide = wide.dropna(how="all")  # pandas makes a line for every combination
        values = wide.to_numpy()
        for (i, one), (j, two) in combinations(enumerate(wide.index), 2):
            same = values[i] == values[j]  # what is not printed equals nothing
            if same.sum() >= least and one[:2] != two[:2]:
                lines = (
                    " ".join(str(part) for part in line if not pd.isna(part))
                    for line in (one, two)
                )
                found.append(
                    {
                        "paper": paper,
                        **dict(zip(("line", "has the numbers of"), lines, strict=True)),
                        "in": ", ".join(wide.columns[same]),
                    }
                )
    return pd.DataFrame(found, columns=["paper", "line", "has the numbers of", "in"])
