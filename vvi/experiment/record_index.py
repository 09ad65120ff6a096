"""The index of the committed records: one line each, derived from the records alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from vvi.experiment import ablation, store
from vvi.experiment.datasets import REAL
from vvi.runtime import atomic, paths
from vvi.types import DIRECTIONS

FILE = "index.csv"
#: Scores of a direction that the index has, in per cent.
METRICS = ("rank1", "mAP")


def table() -> pd.DataFrame:
    """Build the index from the records under `book/records`.

    Returns:
        A line for each record, sorted by method, row and seed: hash, method, preset,
        seed, the table row that it is (empty where it is none), rank-1 and mAP of both
        directions in per cent, layout and digest of the data (or the name of drawn
        ones), who was searched, the versions of the code that made it, the processor,
        and the precision, which a processor without bfloat16 changes.
    """
    folders = [file.parent for file in paths.records().glob("*/record.json")]
    lines = [_line(store.load_record(folder)) for folder in folders]
    frame = pd.DataFrame(lines, columns=columns())
    by = ["method", "preset", "row", "seed", "hash"]
    return frame.sort_values(by, ignore_index=True)


def by_processor() -> pd.DataFrame:
    """Count the records of each processor and precision.

    Returns:
        (processor, precision) -> how many runs, and of which seeds.
    """
    groups = table().groupby(["processor", "precision"])
    seeds = groups.seed.agg(lambda seed: ", ".join(map(str, sorted(set(seed)))))
    return pd.DataFrame({"runs": groups.size(), "seeds": seeds})


def columns() -> list[str]:
    """List the columns of the index."""
    names = ["hash", "method", "preset", "seed", "row"]
    for direction in DIRECTIONS:
        names += [f"{metric} {direction}" for metric in METRICS]
    return [*names, "layout", "data", "split", "versions", "processor", "precision"]


def _line(record: store.Record) -> dict[str, Any]:
    """Return the line of a record."""
    settings = record.config
    line = {"hash": settings.hash, "method": settings.method}
    line |= {"preset": settings.preset, "seed": settings.seed}
    line["row"] = ablation.row_of(settings)
    for direction in DIRECTIONS:
        scores = record.scores.get(direction, {})
        for metric in METRICS:
            value = scores.get(metric, float("nan"))
            line[f"{metric} {direction}"] = round(100 * value, 3)
    line["layout"] = settings.data.layout
    line["data"] = settings.data.source.removeprefix(REAL)
    line["split"] = settings.data.split
    versions = sorted(record.versions.items())
    line["versions"] = ", ".join(f"{part} {number}" for part, number in versions)
    where = record.environment
    line["processor"] = where.get("processor", "")
    line["precision"] = where.get("precision", settings.recipe.precision)
    return line


def file() -> Path:
    """Return where the index is kept."""
    return paths.records() / FILE


def text() -> str:
    """Return the index as it is written."""
    return table().to_csv(index=False)


def save() -> None:
    """Write the index, to be committed beside the records."""
    atomic.write(file(), text().encode())
