"""One look for all figures, and `save`, which writes down what made a figure.

Colours mean the same everywhere, text is legible at page width, and a caption is text
beside the picture, never a part of it.
"""

from __future__ import annotations

import base64
import functools
import html
import io
import json
import os
import platform
import re
import textwrap
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from vvi.runtime import atomic, paths
from vvi.types import Modality

#: seaborn's "colorblind".
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
)
VIS, IR, RIGHT, WRONG, LOOK_ALIKE, _, _, QUIET, _, _ = PALETTE
INK, PAPER = "#222222", "#ffffff"
#: Colour, marker and line of a modality, so that grey print keeps them apart.
MODALITY: dict[Modality, dict[str, Any]] = {
    "vis": {"color": VIS, "marker": "o", "linestyle": "-", "label": "visible"},
    "ir": {"color": IR, "marker": "^", "linestyle": "--", "label": "infrared"},
}
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
#: Entries of a side file that name the code which drew a figure.
CODE = ("commit", "versions")
#: Width of the text of a page, inches.
WIDTH = 7.0
#: Size of the smallest text in any figure, points.
SMALL = 8.0
#: Pixels of a page for an inch of a figure: 7 inches fill its text width.
PAGE_DPI = 110
#: Pixels of a file for one of the page.
SCALE = 2
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
    # never transparent: a page in dark mode shows a white card
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "savefig.dpi": SCALE * PAGE_DPI,
    "figure.dpi": PAGE_DPI,
    "pdf.fonttype": 42,
    "svg.hashsalt": "vvi",
}

#: matplotlib's settings belong to the process, and a panel draws in its own thread.
_LOCK = threading.RLock()
#: What figures looked like when they were drawn last.
_DRAWN: WeakKeyDictionary[Figure, Image.Image] = WeakKeyDictionary()
#: What a saved figure looked like, and the same in 256 colours above its caption.
_SAVED: WeakKeyDictionary[Figure, tuple[Image.Image, Image.Image]] = WeakKeyDictionary()


@contextmanager
def look() -> Iterator[None]:
    """Set the look of all figures, one thread at a time."""
    with _LOCK, mpl.rc_context(RC):
        yield


class Drawing(Figure):
    """A Figure that a notebook shows as the value of a cell, without pyplot.

    Its words travel inside the PNG, from where the built page takes them.
    """

    #: Name of the function that drew it.
    drawn_by = ""
    #: What a reader who cannot see it needs.
    alt = ""
    #: What it shows, in words and numbers, under the picture.
    caption = ""

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """Return what a notebook shows: the figure is drawn once for both forms."""
        data = base64.b64encode(self._repr_png_()).decode()
        return {"image/png": data, "text/html": self._html(data)}

    def _repr_png_(self) -> bytes:
        return encode(_without_caption(self), self.alt, self.caption)

    def _repr_html_(self) -> str:
        return self._repr_mimebundle_()["text/html"]

    def _html(self, data: str) -> str:
        """Return the picture with its caption, for a notebook that is open."""
        width = round(self.get_figwidth() * PAGE_DPI)
        caption = html.escape(self.caption)
        return (
            f'<figure style="margin: 0"><img alt="{html.escape(self.alt)}" '
            f'style="width: {width}px; max-width: 100%" '
            f'src="data:image/png;base64,{data}">'
            f'<figcaption style="font-size: 90%">{caption}</figcaption></figure>'
        )


def pixels(fig: Figure) -> Image.Image:
    """Draw a figure at the resolution of files, again only if it changed since."""
    picture = _DRAWN.get(fig)
    if picture is not None and not fig.stale:
        return picture
    with look(), _resolution_of_files(fig):
        canvas = FigureCanvasAgg(fig)
        canvas.draw()
        picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    _DRAWN[fig] = picture
    return picture


@contextmanager
def _resolution_of_files(fig: Figure) -> Iterator[None]:
    """Draw a figure at the resolution of files, not at that of pages.

    For matplotlib a figure of another resolution is a stale one: here it is not.
    """
    fig.set_dpi(SCALE * PAGE_DPI)
    try:
        yield
    finally:
        fig.set_dpi(PAGE_DPI)
    fig.stale = False


def cut_off(fig: Figure, slack: float = 1.0) -> list[str]:
    """List the texts of a figure that reach over its edges.

    Args:
        fig: what to look at.
        slack: points that a text may reach over.
    """
    pixels(fig)  # lays it out
    with look(), _resolution_of_files(fig):
        renderer = FigureCanvasAgg(fig).get_renderer()
        page = fig.bbox.padded(slack * fig.dpi / 72)
        hidden = _labels_out_of_view(fig)
        outside = []
        for text in fig.findobj(Text):
            if text in hidden or not text.get_visible() or not text.get_text().strip():
                continue
            box = text.get_window_extent(renderer)
            if not (page.contains(box.x0, box.y0) and page.contains(box.x1, box.y1)):
                outside.append(text.get_text())
        return outside


def _labels_out_of_view(fig: Figure) -> set[Text]:
    """Return the labels of ticks beyond the limits of their axis: nobody draws them."""
    labels = set()
    for ax in fig.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            shown = ax.axison and axis.get_visible()
            for tick in axis.get_major_ticks() + axis.get_minor_ticks():
                if not (shown and low <= tick.get_loc() <= high):
                    labels |= {tick.label1, tick.label2}
    return labels


def encode(
    picture: Image.Image, alt: str = "", caption: str = "", smallest: bool = False
) -> bytes:
    """Encode a picture as a PNG of at most 256 colours that holds its words.

    Args:
        picture: in RGB, or reduced to 256 colours already.
        alt: what a reader who cannot see it needs.
        caption: what it shows.
        smallest: whether to search for the smallest file, three per cent smaller for
            three times the work.
    """
    info = PngInfo()
    if alt:
        info.add_itxt("Description", alt)
    if caption:
        info.add_itxt("Caption", caption)
    buffer = io.BytesIO()
    reduced = picture if picture.mode == "P" else _in_256_colours(picture)
    reduced.save(buffer, "png", optimize=smallest, pnginfo=info)
    return buffer.getvalue()


def _in_256_colours(picture: Image.Image) -> Image.Image:
    return picture.quantize(256, Image.Quantize.MEDIANCUT)


def drawn(function: Callable[..., Figure]) -> Callable[..., Figure]:
    """Decorate a figure function: it draws in this look, and the figure names it."""

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
    """Make a figure and its axes (rows, cols), laid out so that no text overlaps.

    Args:
        rows: of axes.
        cols: of axes.
        height: inches.
        width: inches.
        **options: of `Figure.subplots`.
    """
    fig = Drawing(figsize=(width, height), layout="constrained")
    return fig, fig.subplots(rows, cols, squeeze=False, **options)


def board(width: float, height: float) -> tuple[Drawing, Axes]:
    """Make a figure of pictures: one axes over all of it, in inches from the top left.

    Many axes would look the same and take seconds to lay out.
    """
    fig = Drawing(figsize=(width, height))
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    ax.axis("off")
    return fig, ax


def caption(fig: Drawing, text: str) -> None:
    """Set the words under a figure. Line breaks become spaces."""
    fig.caption = " ".join(text.split())


def picture(
    ax: Axes,
    image: np.ndarray,
    rect: tuple[float, float, float, float],
    outline: str | None = None,
    **options: Any,
) -> AxesImage:
    """Put a frame on a board.

    Args:
        ax: of the board.
        image: (H, W) or (H, W, 3), uint8 or 0..1.
        rect: left, top, width, height in inches.
        outline: colour of its border.
        **options: of `Axes.imshow`.
    """
    left, top, width, height = rect
    defaults = {
        "cmap": "gray",
        "vmin": 0,
        "vmax": 255 if np.asarray(image).dtype == np.uint8 else 1,
        "interpolation": "nearest",
    }
    extent = (left, left + width, top + height, top)
    shown = ax.imshow(image, extent=extent, aspect="auto", **defaults | options)
    if outline:
        border = {"fill": False, "edgecolor": outline, "linewidth": 2.5, "zorder": 3}
        ax.add_patch(Rectangle((left, top), width, height, **border))
    return shown


def sign(
    ax: Axes, text: str, rect: tuple[float, float, float, float], colour: str
) -> None:
    """Put a small white sign on colour into the upper right corner of a picture.

    Args:
        ax: of the board.
        text: one letter or sign.
        rect: left, top, width, height of the picture in inches.
        colour: of the ground.
    """
    left, top, width, _ = rect
    ax.text(
        left + width - 0.03,
        top + 0.03,
        text,
        ha="right",
        va="top",
        fontsize=8.5,
        fontweight="bold",
        color="white",
        bbox={"boxstyle": "square,pad=0.12", "facecolor": colour, "edgecolor": "none"},
        zorder=4,
    )


def label(ax: Axes, x: float, y: float, text: str, **options: Any) -> None:
    """Put text on a board, by default small, its upper left corner at (x, y) inches.

    Args:
        ax: of the board.
        x: inches from the left.
        y: inches from the top.
        text: one or several lines.
        **options: of `Axes.text`.
    """
    defaults = {"fontsize": SMALL, "va": "top", "ha": "left", "linespacing": 1.25}
    ax.text(x, y, text, **defaults | options)


def save(
    fig: Drawing,
    name: str,
    *,
    run: str | Sequence[str] = (),
    alt: str,
    data: str,
    config: str | Sequence[str] = (),
) -> Path:
    """Write `<figures>/<name>.png` and the side file `.json`.

    The same figure gives the same bytes: no file holds a time. Files that show and say
    the same already are left alone, so they name the commit that first drew it. The PNG
    shows the caption under the picture. With `VVI_PDF=1` (`make pdfs`) it writes a PDF
    for print, too. A warning names texts that reach over the edges.

    Args:
        fig: what to write.
        name: "<chapter>/<figure>".
        run: the runs whose numbers are shown (a run is named by its config's hash).
        alt: what a reader who cannot see the figure needs.
        data: "synthetic", the name of a real set, or "none" for a drawing of ideas.
        config: config hashes where the names of the runs are others.

    Returns:
        The path of the PNG.

    Raises:
        ValueError: a name of another form, or an empty `alt` or `data`.
    """
    if not re.fullmatch(r"[a-z0-9_]+(/[a-z0-9_]+)+", name):
        raise ValueError(
            f"figure name {name!r}: write <chapter>/<figure> in small letters, "
            "digits and _"
        )
    if not alt.strip() or not data.strip():
        raise ValueError(
            f"figure {name}: say in `alt` what it shows "
            "and in `data` which data made it"
        )
    if texts := cut_off(fig):
        named = "; ".join(map(repr, texts))
        warnings.warn(f"figure {name}: cut off at its edges: {named}", stacklevel=2)
    fig.alt = alt
    runs = [run] if isinstance(run, str) else list(run)
    configs = [config] if isinstance(config, str) else list(config)
    side = {
        "function": getattr(fig, "drawn_by", ""),
        "runs": runs,
        "configs": configs or runs,
        "data": data,
        "alt": alt,
        "caption": fig.caption,
        "versions": _versions(),
        "commit": paths.commit(),
    }
    png = paths.figures() / f"{name}.png"
    reduced = _in_256_colours(_with_caption(fig))
    _SAVED[fig] = pixels(fig), reduced
    content = encode(reduced, alt, fig.caption, smallest=True)
    if not (_shows_the_same(png, content) and _says_the_same(png, side)):
        text = json.dumps(side, indent=1, ensure_ascii=False) + "\n"
        atomic.write(png, content)
        atomic.write(png.with_suffix(".json"), text.encode())
    if os.environ.get("VVI_PDF") == "1":
        buffer = io.BytesIO()
        with look():
            fig.savefig(buffer, format="pdf", metadata={"CreationDate": None})
        atomic.write(png.with_suffix(".pdf"), buffer.getvalue())
    return png


def _shows_the_same(png: Path, content: bytes) -> bool:
    """Return whether a file has the pixels and words of a PNG, however it is packed."""
    try:
        return _shown(png) == _shown(io.BytesIO(content))
    except (OSError, SyntaxError):  # there is none, or a damaged one
        return False


def _shown(png: Path | io.BytesIO) -> tuple[tuple[int, int], bytes, dict[str, str]]:
    """Return the size, the pixels and the words of a PNG."""
    with Image.open(png) as picture:
        pixels = picture.convert("RGB").tobytes()
        return picture.size, pixels, dict(picture.text)


def _says_the_same(png: Path, side: Mapping[str, Any]) -> bool:
    """Return whether the side file of a PNG says the same, whatever code drew it."""
    try:
        before = json.loads(png.with_suffix(".json").read_text())
    except (FileNotFoundError, ValueError):
        return False
    return before | {key: side[key] for key in CODE} == side


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("vvi", "numpy", "matplotlib", "torch")}
    return packages | {"python": platform.python_version()}


def _without_caption(fig: Drawing) -> Image.Image:
    """Return what a page shows: of a figure that was saved, the part that it draws."""
    picture = pixels(fig)
    saved, reduced = _SAVED.get(fig, (None, None))
    if saved is not picture:
        return picture
    return reduced.crop((0, 0, picture.width, picture.height))


def _with_caption(fig: Drawing) -> Image.Image:
    """Draw a figure with its caption in small text below."""
    above = pixels(fig)
    if not fig.caption:
        return above
    width = fig.get_figwidth()
    lines = textwrap.wrap(fig.caption, max(20, int(16 * width)))
    strip, ax = board(width, 0.1 + 0.16 * len(lines))
    with look():
        label(ax, 0.05, 0.03, "\n".join(lines))
    below = pixels(strip)
    whole = Image.new("RGB", (above.width, above.height + below.height), PAPER)
    whole.paste(above, (0, 0))
    whole.paste(below, (0, above.height))
    return whole
