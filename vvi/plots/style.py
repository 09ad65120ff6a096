"""One look for all figures: colours that mean the same everywhere, fonts that are legible at page width, and `save`, which writes down what made a figure."""

from __future__ import annotations

import functools
import io
import json
import platform
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from vvi.runtime import paths
from vvi.types import Modality

PALETTE = (
    "#0173b2",
    "#de8f05",
    "#029e73",
    "#d55e00",
    "#cc78bc",
    "#ca9161",
    "#fbafe4",
    "#949494",
    "#ece133",
    "#56b4e9",
)  # seaborn's "colorblind"
VIS, IR, RIGHT, WRONG, LOOK_ALIKE, _, _, QUIET, _, _ = PALETTE
INK, PAPER = "#222222", "#ffffff"
MODALITY: dict[
    Modality, dict[str, Any]
] = {  # colour, marker and line, so that grey print keeps them apart
    "vis": {"color": VIS, "marker": "o", "linestyle": "-", "label": "visible"},
    "ir": {"color": IR, "marker": "^", "linestyle": "--", "label": "infrared"},
}
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
WIDTH = 7.0  # inches: the text width of the book's page
SMALL = 8.0  # points: no smaller text in any figure
RC = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#666666",
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "grid.color": "#dddddd",
    "axes.prop_cycle": mpl.cycler(color=PALETTE),
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "hatch.linewidth": 0.8,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,  # never transparent: a page in dark mode shows a white card
    "savefig.dpi": 150,
    "figure.dpi": 110,
    "pdf.fonttype": 42,
    "svg.hashsalt": "vvi",
}


_TURN = threading.RLock()  # matplotlib's settings belong to the process, and a panel draws from a thread of its own


@contextmanager
def look() -> Iterator[None]:
    """The settings of all figures, one thread at a time."""
    with _TURN, mpl.rc_context(RC):
        yield


class Drawing(Figure):
    """A Figure that shows itself as the last value of a notebook cell without pyplot, hence without state that lasts; `drawn_by` names its function.

    `alt`: what a reader who cannot see it needs, told by `save`. It travels inside the image, from where the built page takes it.
    """

    drawn_by = alt = ""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        with look():
            self.savefig(
                buffer,
                format="png",
                dpi=RC["figure.dpi"],
                metadata={"Software": None}
                | ({"Description": self.alt} if self.alt else {}),
            )
        return buffer.getvalue()


def drawn(function: Callable[..., Figure]) -> Callable[..., Figure]:
    """Decorator of every figure function: it runs in this look, and the figure remembers which function drew it."""

    @functools.wraps(function)
    def wrapper(*args: Any, **options: Any) -> Figure:
        with look():
            fig = function(*args, **options)
        fig.drawn_by = f"{function.__module__}.{function.__qualname__}"
        return fig

    return wrapper


def figure(
    rows: int = 1,
    cols: int = 1,
    height: float = 3.0,
    width: float = WIDTH,
    **options: Any,
) -> tuple[Drawing, np.ndarray]:
    """A figure and its axes (rows, cols), laid out so that no text overlaps. `height`, `width`: inches; `options`: those of `Figure.subplots`."""
    fig = Drawing(figsize=(width, height), layout="constrained")
    return fig, fig.subplots(rows, cols, squeeze=False, **options)


def caption(fig: Figure, text: str) -> None:
    """One or two lines under a figure: the number beside the picture."""
    if text:
        fig.supxlabel(text, fontsize=SMALL, x=0.01, ha="left")


def board(width: float, height: float) -> tuple[Drawing, Axes]:
    """A figure of pictures: one axes over all of it, in inches from the top left corner. Many axes would look the same and take seconds to lay out."""
    fig = Drawing(figsize=(width, height))
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    ax.axis("off")
    return fig, ax


def picture(
    ax: Axes,
    image: np.ndarray,
    place: tuple[float, float, float, float],
    outline: str | None = None,
    **options: Any,
) -> AxesImage:
    """Put a frame, (H, W) or (H, W, 3), uint8 or 0..1, on a board. place: left, top, width, height in inches; outline: colour of its border."""
    left, top, width, height = place
    look = {
        "cmap": "gray",
        "vmin": 0,
        "vmax": 255 if np.asarray(image).dtype == np.uint8 else 1,
        "interpolation": "nearest",
    } | options
    shown = ax.imshow(
        image, extent=(left, left + width, top + height, top), aspect="auto", **look
    )
    if outline:
        ax.add_patch(
            Rectangle(
                (left, top),
                width,
                height,
                fill=False,
                edgecolor=outline,
                linewidth=2.5,
                zorder=3,
            )
        )
    return shown


def sign(
    ax: Axes, text: str, place: tuple[float, float, float, float], colour: str
) -> None:
    """A small white sign on colour in the upper right corner of a picture."""
    left, top, width, _ = place
    box = {"boxstyle": "square,pad=0.12", "facecolor": colour, "edgecolor": "none"}
    ax.text(
        left + width - 0.03,
        top + 0.03,
        text,
        ha="right",
        va="top",
        fontsize=8.5,
        fontweight="bold",
        color="white",
        bbox=box,
        zorder=4,
    )


def label(ax: Axes, x: float, y: float, text: str, **options: Any) -> None:
    """Text on a board, by default small and with its upper left corner at (x, y) inches."""
    ax.text(
        x,
        y,
        text,
        **(
            {"fontsize": SMALL, "va": "top", "ha": "left", "linespacing": 1.25}
            | options
        ),
    )


def save(
    fig: Figure,
    name: str,
    *,
    run: str | Sequence[str] = (),
    alt: str,
    data: str,
    config: str | Sequence[str] = (),
) -> Path:
    """Write `<figures>/<name>.png`, `.pdf` and the side file `.json`; returns the path of the PNG.

    name: "<chapter>/<figure>"; run: the run(s) whose numbers are shown (in this project a run is named by the hash of its config); config: their config hashes where
    the run's name is another; alt: what a reader who cannot see the figure needs; data: "synthetic", the name of a real set, or "none" for a drawing of ideas. The
    same figure gives the same bytes: no file holds a time.
    """
    if not re.fullmatch(r"[a-z0-9_]+(/[a-z0-9_]+)+", name):
        raise ValueError(
            f"figure name {name!r}: it is <chapter>/<figure>, in small letters, digits and _"
        )
    if not alt.strip() or not data.strip():
        raise ValueError(
            f"figure {name}: say in `alt` what it shows and in `data` which data made it"
        )
    fig.alt = alt
    stem = paths.figures() / name
    stem.parent.mkdir(parents=True, exist_ok=True)
    with look():
        fig.savefig(
            stem.with_suffix(".png"), metadata={"Software": None, "Description": alt}
        )
        fig.savefig(
            stem.with_suffix(".pdf"), metadata={"CreationDate": None, "Subject": alt}
        )
    runs = [run] if isinstance(run, str) else list(run)
    side = {
        "function": getattr(fig, "drawn_by", ""),
        "runs": runs,
        "configs": ([config] if isinstance(config, str) else list(config)) or runs,
        "data": data,
        "alt": alt,
        "versions": {p: version(p) for p in ("vvi", "numpy", "matplotlib", "torch")}
        | {"python": platform.python_version()},
        "commit": paths.commit(),
    }
    stem.with_suffix(".json").write_text(
        json.dumps(side, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    return stem.with_suffix(".png")
