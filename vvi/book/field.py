"""The page on the field: data sets, methods by year, what they print, real runs."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from vvi.book import published
from vvi.book.figures import save_figure
from vvi.experiment import Result, store
from vvi.plots import timeline
from vvi.runtime import paths

#: Kinds of methods, the subject of the book first.
KINDS = ("video", "images", "one modality")
DASH = "–"


def _read(name: str) -> pd.DataFrame:
    """Read one of the lists of `book/published/field`, all cells as text."""
    return pd.read_csv(paths.published() / "field" / f"{name}.csv", dtype=str)


def datasets() -> pd.DataFrame:
    """List the data sets of the field, with a dash where our sources give no number."""
    return _read("datasets").set_index("data set").drop(columns="cited").fillna(DASH)


def history() -> Figure:
    """Draw the methods that the five papers name, by year."""
    methods = _read("methods")
    methods["order"] = methods.kind.map(KINDS.index)
    years = {}
    for year, group in methods.sort_values(["order", "method"]).groupby("year"):
        columns = group[["method", "venue", "kind"]].fillna(DASH)
        years[int(year)] = list(columns.itertuples(index=False, name=None))
    videos = methods[methods.kind == "video"]
    caption = (
        f"Methods by year: {len(videos)} of {len(methods)} read video in both "
        f"modalities, the first of them in {videos.year.min()}."
    )
    fig = timeline.draw(years, KINDS, caption)
    alt = "Names of methods in a column for each year, marked by the kind of input."
    return save_figure(fig, "field/timeline", (), alt)


def on_video() -> pd.DataFrame:
    """Collect what is published on HITSZ-VCM: the best rank-1 of papers that agree.

    Ablations are left out: a method has one line, its rank-1 and mAP in both
    directions, and who prints it.
    """
    numbers = published.numbers({"sadstrm: Proposed": "SADSTRM"})
    whole = {"TCLNet", "DDAG", "LbA", "MPANet", "VSD", "CAJL", "SGIEL"}
    whole |= {"MITML", "IBAN", "SADSTRM", "CMFT"}
    chosen = numbers[
        (numbers.dataset == "HITSZ-VCM")
        & numbers.method.isin(whole)
        & numbers.metric.isin(["rank1", "mAP"])
        & numbers.direction.notna()
        & numbers.table.str.fullmatch(r"Table [\dI]+")
    ]
    cells = ["direction", "metric"]
    values = chosen.pivot_table("value", "method", cells, aggfunc="first")
    printed = chosen.groupby("method").paper.unique().map(_joined)
    return _with_sources(values, printed)


def later(dataset: str) -> pd.DataFrame:
    """Return what methods outside the five papers print on a data set.

    A method of which our sources hold no number has dashes.
    """
    lines = _read("later")
    lines = lines[lines.dataset == dataset]
    values = lines.melt(["method", "direction"], ["rank1", "mAP"], "metric")
    values["value"] = values["value"].astype(float)
    wide = values.pivot(index="method", columns=["direction", "metric"], values="value")
    return _with_sources(wide, lines.groupby("method").note.first().fillna(""))


def _joined(names: list[str]) -> str:
    return ", ".join(name.upper() for name in names)


def _with_sources(values: pd.DataFrame, sources: pd.Series) -> pd.DataFrame:
    """Order directions and metrics, write two digits, add where numbers stand."""
    columns = pd.MultiIndex.from_product([("ir2vis", "vis2ir"), ("rank1", "mAP")])
    values = values.reindex(columns=columns)
    values = values.sort_values(("ir2vis", "rank1"))
    table = values.map(lambda v: DASH if pd.isna(v) else f"{v:.2f}")
    names = {"rank1": "rank-1", "mAP": "mAP"}
    table.columns = [f"{d} {names[m]}" for d, m in table.columns]
    table["source"] = sources
    return table


def real_runs() -> pd.DataFrame:
    """List stored runs on data that nobody drew, of this machine and of the book.

    Returns:
        A line for each run with its numbers.
    """
    lines = []
    for root in (paths.records(), paths.runs()):
        for file in sorted(root.glob("*/record.json")):
            record = store.load_record(file.parent)
            if not record.config.data.synthetic:
                lines.append(_line(Result(record, stored=True)))
    columns = ["method", "preset", "data", "seed", "rank-1", "mAP", "device"]
    return pd.DataFrame(lines, columns=columns).drop_duplicates()


def _line(result: Result) -> dict[str, object]:
    config, first = result.config, next(iter(result.record.scores))
    row = result.row(first)
    return {
        "method": config.method,
        "preset": config.preset,
        "data": f"{result.data_name}, {first}",
        "seed": config.seed,
        "rank-1": row["rank1"],
        "mAP": row["mAP"],
        "device": result.record.environment["device"],
    }
