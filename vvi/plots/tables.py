"""Ablation tables: what the paper prints beside what we measured, mean and spread over seeds."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vvi.plots import style

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

NAMES = {
    "rank1": "Rank-1",
    "rank5": "Rank-5",
    "rank10": "Rank-10",
    "rank20": "Rank-20",
    "mAP": "mAP",
    "mINP": "mINP",
}


def ablation(
    runs: pd.DataFrame,
    published: pd.DataFrame | None = None,
    metrics: Sequence[str] = ("rank1", "mAP"),
    data: str = "synthetic",
    names: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """One line per row label, in the order of `runs`, columns (metric, "paper" | "ours (<data>)" | "±" | "runs").

    runs: columns row, seed and the metrics in per cent, one line per run; published: row label -> metrics as printed; names: row label -> label in `published` where
    they differ. "±" is the sample standard deviation over seeds, NaN for a single run; what nobody printed or ran is NaN.
    """
    missing = [c for c in ("row", *metrics) if c not in runs]
    if missing:
        raise ValueError(
            f"runs lack the column(s) {', '.join(missing)}; they have {', '.join(map(str, runs.columns))}"
        )
    labels = list(dict.fromkeys(runs["row"]))
    grouped, columns = runs.groupby("row", sort=False), {}
    for metric in metrics:
        if published is not None:
            printed = (
                published[metric] if metric in published else pd.Series(dtype=float)
            )
            columns[metric, "paper"] = [
                printed.get((names or {}).get(label, label), np.nan) for label in labels
            ]
        columns[metric, f"ours ({data})"] = (
            grouped[metric].mean().reindex(labels).to_numpy()
        )
        columns[metric, "±"] = grouped[metric].std(ddof=1).reindex(labels).to_numpy()
    columns["", "runs"] = grouped[metrics[0]].count().reindex(labels).to_numpy()
    return pd.DataFrame(columns, index=pd.Index(labels, name="row"))


def styled(table: pd.DataFrame, caption: str = "") -> Styler:
    """The table for a page: "61.2 ± 0.8", the best of our means in bold, an en dash for what was not printed or not run. White ground, so dark mode reads too."""
    text, best = _cells(table)
    bold = best.map(lambda chosen: "font-weight: bold" if chosen else "")
    css = [
        {
            "selector": "",
            "props": f"background-color: {style.PAPER}; color: {style.INK}; border-collapse: collapse",
        },
        {
            "selector": "th, td",
            "props": f"padding: 0.25em 0.8em; text-align: right; background-color: {style.PAPER}; color: {style.INK}",
        },
        {
            "selector": "th.row_heading",
            "props": "text-align: left; font-weight: normal",
        },
        {
            "selector": "caption",
            "props": f"caption-side: bottom; text-align: left; background-color: {style.PAPER}; color: {style.INK}",
        },
    ]
    page = (
        text.style.apply(lambda _: bold, axis=None)
        .set_table_styles(css)
        .set_uuid(_name(table, caption))
    )
    return page.set_caption(caption) if caption else page


@style.drawn
def draw(table: pd.DataFrame, caption: str = "") -> Figure:
    """The same as a picture: one panel per metric, the paper's value as a hollow diamond, ours as a dot with its spread, the number beside it."""
    metrics = [m for m in dict.fromkeys(table.columns.get_level_values(0)) if m]
    fig, axes = style.figure(
        1, len(metrics), height=0.34 * len(table) + 1.1, sharey=True
    )
    places = np.arange(len(table))
    for ax, metric in zip(axes[0], metrics, strict=True):
        ours = next(c for c in table[metric] if c.startswith("ours"))
        mean, spread = (
            table[metric, ours].to_numpy(float),
            table[metric, "±"].to_numpy(float),
        )
        ax.errorbar(
            mean,
            places,
            xerr=np.nan_to_num(spread),
            fmt="o",
            color=style.VIS,
            capsize=3,
            label=ours,
        )
        if (metric, "paper") in table:
            ax.plot(
                table[metric, "paper"].to_numpy(float),
                places,
                "D",
                color=style.WRONG,
                markerfacecolor="white",
                markersize=6,
                label="paper (real data)",
            )
        ax.set(
            xlabel=f"{NAMES.get(metric, metric)} (%)",
            yticks=places,
            yticklabels=table.index,
            ylim=(len(table) - 0.5, -0.5),
        )
        ax.margins(x=0.15)
        ax.grid(axis="both")
        ax.set_axisbelow(True)
        ax.tick_params(axis="y", length=0)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper right", ncols=2)
    style.caption(fig, caption)
    return fig


def _name(table: pd.DataFrame, caption: str) -> str:
    """A name for the styles of a table, so that those of two on one page do not mix; the same for the same table."""
    return f"table{zlib.crc32((caption + table.to_csv()).encode()):08x}"


def _cells(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The text of every cell, mean and spread in one, and which cells hold the best of our means."""
    text, best = {}, {}
    for metric, column in table.columns:
        if column == "±":
            continue
        values = table[metric, column]
        key = (NAMES.get(metric, metric), column)
        best[key] = (
            (values == values.max())
            if column.startswith("ours")
            else pd.Series(False, index=table.index)
        )
        if column == "runs":
            text[key] = values.map("{:.0f}".format)
        elif column == "paper":
            text[key] = values.map(lambda v: "–" if np.isnan(v) else f"{v:.2f}")
        else:
            text[key] = [
                _spread(v, s) for v, s in zip(values, table[metric, "±"], strict=True)
            ]
    return pd.DataFrame(text, index=table.index), pd.DataFrame(best, index=table.index)


def _spread(value: float, spread: float) -> str:
    if np.isnan(value):
        return "–"
    return f"{value:.1f}" if np.isnan(spread) else f"{value:.1f} ± {spread:.1f}"
