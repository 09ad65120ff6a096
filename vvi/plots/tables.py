"""Tables of the book: one look for all, and ablations beside what a paper prints.

A table has its caption on top, one header row, and numbers to the right. Its colours
are those of the page (`book/_static/book.css`), so it reads in the dark theme too.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vvi.plots import style

NAMES = {
    "rank1": "Rank-1",
    "rank5": "Rank-5",
    "rank10": "Rank-10",
    "rank20": "Rank-20",
    "mAP": "mAP",
    "mINP": "mINP",
}
#: What a cell of numbers begins with: a digit, a sign, or the dash of nothing.
NUMBER = re.compile(r"(<b>)?[-+−±]?\d|–$|$")
MOST_DIGITS = 3
SENTENCE = 40  # characters from which a text is no name


@dataclass(frozen=True)
class Table:
    """A table as a page shows it. `print` shows it as text."""

    frame: pd.DataFrame
    #: What stands above it.
    caption: str = ""
    #: Cells that are bold: bool, of the shape of `frame`.
    bold: pd.DataFrame | None = None
    #: Whether cells are text (True) or HTML.
    escaped: bool = field(default=True, repr=False)

    def __repr__(self) -> str:
        text = self.frame.to_string()
        return f"{self.caption}\n{text}" if self.caption else text

    def to_html(self) -> str:
        """Return the table as HTML without any colour of its own."""
        frame, heads = _flat(self.frame)
        caption = self.caption or _caption_of(self.frame)
        texts = [_texts(frame.iloc[:, n]) for n in range(frame.shape[1])]
        if self.escaped:
            texts = [list(map(html.escape, column)) for column in texts]
        names = [html.escape(str(name)) for name in frame.columns]
        sides = ["l" if n < heads else _side(column) for n, column in enumerate(texts)]
        if self.escaped:
            for n, side in enumerate(sides):
                if side == "r":
                    texts[n] = list(map(unbroken, texts[n]))
        if self.bold is not None:
            for n, marked in enumerate(self.bold.to_numpy().T, heads):
                texts[n] = list(map(_in_bold, texts[n], marked))
        lines = ['<div class="vvi-scroll"><table class="vvi-table">']
        if caption:
            lines.append(f"<caption>{html.escape(caption)}</caption>")
        header = "".join(map(_cell, ["th"] * len(names), names, sides))
        lines.append(f"<thead><tr>{header}</tr></thead><tbody>")
        tags = ["th"] * heads + ["td"] * (len(names) - heads)
        for row in zip(*texts, strict=True):
            lines.append(f"<tr>{''.join(map(_cell, tags, row, sides))}</tr>")
        return "\n".join([*lines, "</tbody></table>", self._download(), "</div>"])

    def _download(self) -> str:
        """Return a link that holds the table as CSV, with no file beside the page."""
        plain = _flat(self.frame)[0]
        if not self.escaped:
            plain = plain.map(_without_markup)
        data = base64.b64encode(plain.to_csv(index=False).encode()).decode()
        return (
            '<a class="vvi-csv" download="table.csv" '
            f'href="data:text/csv;charset=utf-8;base64,{data}">CSV</a>'
        )

    _repr_html_ = to_html


def _without_markup(value: Any) -> Any:
    """Return a cell of HTML as text, and anything else as it is."""
    if not isinstance(value, str):
        return value
    return html.unescape(re.sub(r"<[^>]+>", "", value))


def register() -> None:
    """Show every DataFrame and Series of an open notebook as a `Table`."""
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None:
        return
    formatter = shell.display_formatter.formatters["text/html"]
    formatter.for_type(pd.DataFrame, lambda frame: Table(frame).to_html())
    formatter.for_type(pd.Series, lambda row: Table(row.to_frame()).to_html())


def _caption_of(frame: pd.DataFrame) -> str:
    """Return the name of the index where it is a phrase: a caption, not a header."""
    name = frame.index.name
    return name if isinstance(name, str) and " " in name else ""


def _flat(frame: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Return a table whose labels of rows are columns, and how many these are.

    Headers of several levels become one. Rows that are only counted lose their number.
    """
    frame = frame.copy()
    frame.columns = [_joined(label) for label in frame.columns]
    index = frame.index
    counted = isinstance(index, pd.RangeIndex) and index.name is None
    if counted and index.start == 0:
        return frame, 0
    labels = index.to_frame(index=False)
    caption = _caption_of(frame)
    names = ["" if name is None or name == caption else name for name in index.names]
    labels.columns = names
    frame = frame.reset_index(drop=True)
    return pd.concat([labels, frame], axis=1), len(names)


def _joined(label: Any) -> str:
    """Return a header of one or several levels as one."""
    if not isinstance(label, tuple):
        return str(label)
    return ", ".join(str(part) for part in label if str(part))


def _texts(column: pd.Series) -> list[str]:
    """Return the cells of a column as text, its numbers with the same digits."""
    values = column.tolist()
    digits = _digits([v for v in values if _is_number(v)])
    return [_text(value, digits) for value in values]


def _is_number(value: Any) -> bool:
    is_float = isinstance(value, float | np.floating)
    return is_float and bool(np.isfinite(value))


def _digits(values: Sequence[float]) -> int:
    """Return the least number of digits that shows some values, at most three."""
    for digits in range(MOST_DIGITS):
        if all(abs(v - round(v, digits)) < 1e-9 for v in values):
            return digits
    return MOST_DIGITS


def _text(value: Any, digits: int) -> str:
    """Return a value in words: yes and no, a dash for nothing, no minus zero."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_text(v, digits)}" for name, v in value.items())
    if isinstance(value, set | frozenset | list | tuple | np.ndarray):
        return ", ".join(_text(item, digits) for item in value)
    if value is None or pd.isna(value):
        return "–"
    if _is_number(value):
        return f"{round(float(value), digits) + 0.0:.{digits}f}"
    return str(value)


def unbroken(text: str) -> str:
    """Keep a number on one line. A wide table may break in front of its interval.

    >>> unbroken("+1.2 (-0.5 to +2.9)").replace("\N{NO-BREAK SPACE}", "_")
    '+1.2 (-0.5_to_+2.9)'
    """
    space = "\N{NO-BREAK SPACE}"
    return text.replace(" ", space).replace(f"{space}(", " (")


def _side(column: Sequence[str]) -> str:
    """Return the side of a column: numbers to the right, words to the left."""
    return "r" if all(map(NUMBER.match, column)) else "l"


def _in_bold(text: str, marked: bool) -> str:
    return f"<b>{text}</b>" if marked else text


def _cell(tag: str, text: str, side: str) -> str:
    """Return a cell. One with a sentence keeps a width at which it can be read."""
    kind = f"{side} long" if side == "l" and len(text) > SENTENCE else side
    return f'<{tag} class="{kind}">{text}</{tag}>'


def ablation(
    runs: pd.DataFrame,
    published: pd.DataFrame | None = None,
    metrics: Sequence[str] = ("rank1", "mAP"),
    data: str = "synthetic",
    names: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Build one line per row label: the paper's value beside mean and spread of ours.

    Args:
        runs: columns row, seed and the metrics in per cent, one line per run.
        published: row label -> metrics as printed.
        metrics: to show.
        data: what our runs were trained on.
        names: row label -> label in `published` where they differ.

    Returns:
        Columns (metric, "paper" | "ours (<data>)" | "±" | "runs"), rows in the order of
        `runs`. "±" is the sample standard deviation over seeds, NaN for a single run.
        What nobody printed or ran is NaN.

    Raises:
        ValueError: the runs lack a column.
    """
    missing = [c for c in ("row", *metrics) if c not in runs]
    if missing:
        raise ValueError(
            f"runs lack the column(s) {', '.join(missing)}; "
            f"they have {', '.join(map(str, runs.columns))}"
        )
    labels = list(dict.fromkeys(runs["row"]))
    grouped = runs.groupby("row", sort=False)
    columns = {}
    for metric in metrics:
        if published is not None:
            columns[metric, "paper"] = _printed(published, metric, labels, names or {})
        scores = grouped[metric]
        columns[metric, f"ours ({data})"] = scores.mean().reindex(labels).to_numpy()
        columns[metric, "±"] = scores.std(ddof=1).reindex(labels).to_numpy()
    columns["", "runs"] = grouped[metrics[0]].count().reindex(labels).to_numpy()
    return pd.DataFrame(columns, index=pd.Index(labels, name="row"))


def _printed(
    published: pd.DataFrame,
    metric: str,
    labels: Sequence[str],
    names: Mapping[str, str],
) -> list[float]:
    """Return what a paper prints of a metric for some rows, NaN where nothing.

    Args:
        published: row label -> metrics.
        metric: a column that may be missing.
        labels: our rows.
        names: our label -> label in `published` where they differ.
    """
    if metric not in published:
        return [np.nan] * len(labels)
    column = published[metric]
    return [column.get(names.get(label, label), np.nan) for label in labels]


def styled(table: pd.DataFrame, caption: str = "") -> Table:
    """Return an `ablation` for a page: "61.2 ± 0.8", the best of our means in bold.

    Rows with different numbers of runs cannot be ranked: then nothing is bold.
    """
    texts, bold = {}, {}
    can_rank = table["", "runs"].dropna().nunique() == 1
    for metric, column in table.columns:
        if column == "±":
            continue
        key = f"{NAMES.get(metric, metric)}, {column}" if metric else column
        values = table[metric, column]
        ours = column.startswith("ours")
        texts[key] = _formatted(table, metric, column)
        bold[key] = (values == values.max()) & (ours and can_rank)
    frame = pd.DataFrame(texts, index=table.index.rename(None))
    return Table(frame, caption, pd.DataFrame(bold, index=table.index))


def _formatted(table: pd.DataFrame, metric: str, column: str) -> list[str]:
    """Return the cells of a column of an `ablation`, mean and spread in one."""
    values = table[metric, column]
    if column == "runs":
        return [f"{value:.0f}" for value in values]
    if column == "paper":
        return ["–" if np.isnan(value) else f"{value:.2f}" for value in values]
    return list(map(_spread, values, table[metric, "±"]))


def _spread(value: float, spread: float) -> str:
    if np.isnan(value):
        return "–"
    return f"{value:.1f}" if np.isnan(spread) else f"{value:.1f} ± {spread:.1f}"


@style.drawn
def draw(table: pd.DataFrame, caption: str = "") -> Figure:
    """Draw an `ablation`, one panel per metric.

    The paper's value is a hollow diamond, ours a dot with its spread.
    """
    metrics = [m for m in dict.fromkeys(table.columns.get_level_values(0)) if m]
    height = 0.34 * len(table) + 1.1
    fig, axes = style.figure(1, len(metrics), height=height, sharey=True)
    for ax, metric in zip(axes[0], metrics, strict=True):
        _panel(ax, table, metric)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper right", ncols=2)
    style.caption(fig, caption)
    return fig


def _panel(ax: Axes, table: pd.DataFrame, metric: str) -> None:
    """Draw one metric of every row."""
    rows = np.arange(len(table))
    ours = next(c for c in table[metric] if c.startswith("ours"))
    mean = table[metric, ours].to_numpy(float)
    spread = np.nan_to_num(table[metric, "±"].to_numpy(float))
    point = {"fmt": "o", "color": style.VIS, "capsize": 3, "label": ours}
    ax.errorbar(mean, rows, xerr=spread, **point)
    if (metric, "paper") in table:
        options = {"color": style.WRONG, "markerfacecolor": "white", "markersize": 6}
        printed = table[metric, "paper"].to_numpy(float)
        ax.plot(printed, rows, "D", label="paper (real data)", **options)
    ax.set(xlabel=f"{NAMES.get(metric, metric)} (%)", ylim=(len(table) - 0.5, -0.5))
    ax.set(yticks=rows, yticklabels=table.index)
    ax.margins(x=0.15)
    ax.grid(axis="both")
    ax.set_axisbelow(True)
    ax.tick_params(axis="y", length=0)
