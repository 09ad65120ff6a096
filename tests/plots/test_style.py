"""One look, and files that say what made them."""

import base64
import io
import json

import numpy as np
import pytest
from matplotlib import colors
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from vvi.plots import style


@style.drawn
def line():
    fig, axes = style.figure(height=2, width=3)
    axes[0, 0].plot([1, 2], label="a")
    axes[0, 0].set_title("two points")
    style.caption(fig, "a caption")
    return fig


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("VVI_FIGURES", str(tmp_path))
    return tmp_path


def test_a_saved_figure_has_a_picture_and_a_side_file(folder):
    png = style.save(
        line(),
        "data/line_1",
        run=["abc", "def"],
        alt="A rising line.",
        data="synthetic",
    )
    assert png == folder / "data" / "line_1.png"
    with Image.open(png) as picture:
        width, height = picture.size
        assert width == 3 * 2 * style.PAGE_DPI, "two pixels for one of the page"
        assert height > 2 * 2 * style.PAGE_DPI, "the caption stands below"
        assert picture.mode == "P", "at most 256 colours"
        assert picture.text["Description"] == "A rising line."
        assert picture.text["Caption"] == "a caption"
    assert not list(folder.rglob("*.pdf"))
    side = json.loads(png.with_suffix(".json").read_text())
    assert side["function"].endswith("test_style.line")
    assert (side["runs"], side["configs"], side["data"], side["alt"]) == (
        ["abc", "def"],
        ["abc", "def"],
        "synthetic",
        "A rising line.",
    )
    assert set(side["versions"]) == {"vvi", "numpy", "matplotlib", "torch", "python"}
    assert side["commit"]


def shown(fig):
    """What a notebook shows, in RGB."""
    return Image.open(io.BytesIO(fig._repr_png_())).convert("RGB")


def test_a_page_shows_a_saved_figure_as_its_file_does_without_the_caption(folder):
    fig = line()
    file = Image.open(style.save(fig, "data/line", alt="A line.", data="none"))
    page = shown(fig)
    assert page.size == style.pixels(fig).size
    assert np.array_equal(page, file.convert("RGB").crop((0, 0, *page.size)))
    fig.axes[0].set_title("changed since")
    assert not np.array_equal(shown(fig), page)
    assert np.array_equal(shown(fig), shown(line_with_title("changed since")))


def line_with_title(title):
    fig = line()
    fig.axes[0].set_title(title)
    return fig


def test_text_that_reaches_over_the_edges_is_named(folder):
    fig = line()
    assert style.cut_off(fig) == []
    fig.axes[0].set(xlim=(0.2, 0.4), xlabel="x")
    assert style.cut_off(fig) == [], "labels beyond the limits are not drawn"
    fig.axes[0].set_xlabel("a label that is far too long for a figure this narrow")
    fig.axes[0].set_title("short")
    assert style.cut_off(fig) == [fig.axes[0].get_xlabel()]
    fig.axes[0].xaxis.label.set_visible(False)
    assert style.cut_off(fig) == []
    fig.axes[0].xaxis.label.set_visible(True)
    with pytest.warns(UserWarning, match="data/line: cut off at its edges: 'a label"):
        style.save(fig, "data/line", alt="A line.", data="none")


def test_a_pdf_is_written_only_where_it_is_asked_for(folder, monkeypatch):
    monkeypatch.setenv("VVI_PDF", "1")
    png = style.save(line(), "data/line", alt="A line.", data="none")
    assert png.with_suffix(".pdf").read_bytes().startswith(b"%PDF")


def test_the_same_figure_gives_the_same_bytes(folder):
    first, second = (
        style.save(line(), f"data/{name}", run="abc", alt="A line.", data="none")
        for name in ("one", "two")
    )
    for suffix in (".png", ".json"):
        assert (
            first.with_suffix(suffix).read_bytes()
            == second.with_suffix(suffix).read_bytes()
        )


def save_line(alt="A rising line.", fig=None):
    return style.save(fig or line(), "data/line", alt=alt, data="synthetic")


def repack(png):
    """Write a PNG in other bytes with the same pixels and words: what they are."""
    with Image.open(png) as picture:
        words = PngInfo()
        for name, text in picture.text.items():
            words.add_itxt(name, text)
        picture.load()
        picture.save(png, compress_level=1, pnginfo=words)
    return png.read_bytes()


def test_a_file_that_shows_and_says_the_same_is_left_alone(folder, monkeypatch):
    png = save_line()
    first, side = png.read_bytes(), png.with_suffix(".json").read_text()
    repacked = repack(png)
    assert repacked != first
    monkeypatch.setattr("vvi.runtime.paths.commit", lambda: "another")
    save_line()
    assert png.read_bytes() == repacked
    assert png.with_suffix(".json").read_text() == side


@pytest.mark.parametrize("changed", ["words", "pixels", "side", "no side", "damage"])
def test_a_file_that_shows_or_says_another_thing_is_written_anew(
    folder, monkeypatch, changed
):
    png, alt, fig = save_line(), "A rising line.", line()
    side = png.with_suffix(".json")
    repacked = repack(png)
    if changed == "words":
        alt = "A line."
    elif changed == "pixels":
        fig.axes[0].plot([2, 1])
    elif changed == "side":
        side.write_text(side.read_text().replace("synthetic", "none"))
    elif changed == "no side":
        side.unlink()
    else:
        png.write_bytes(repacked[:200])
    monkeypatch.setattr("vvi.runtime.paths.commit", lambda: "another")
    save_line(alt, fig)
    assert png.read_bytes() not in (repacked, repacked[:200])
    now = json.loads(side.read_text())
    assert (now["commit"], now["data"], now["alt"]) == ("another", "synthetic", alt)


def test_a_figure_without_alt_text_or_label_or_with_an_odd_name_is_refused(folder):
    for name, alt, data in (
        ("data/x", " ", "synthetic"),
        ("data/x", "A line.", ""),
        ("../x", "A line.", "none"),
        ("x", "A line.", "none"),
    ):
        with pytest.raises(ValueError, match="figure"):
            style.save(line(), name, alt=alt, data=data)
    assert not list(folder.rglob("*.*"))


def test_a_figure_shows_itself_on_white_also_on_a_dark_page(folder):
    for content in (
        io.BytesIO(line()._repr_png_()),
        style.save(line(), "data/line", alt="A line.", data="none"),
    ):
        corner = Image.open(content).convert("RGBA").getpixel((0, 0))
        assert corner == (255, 255, 255, 255)


def test_a_caption_is_text_beside_the_picture_and_no_part_of_it():
    fig = line()
    texts = fig.findobj(lambda artist: hasattr(artist, "get_text"))
    assert fig.caption == "a caption"
    assert "a caption" not in {text.get_text() for text in texts}
    page = fig._repr_html_()
    assert "<figcaption" in page and "a caption</figcaption>" in page
    with Image.open(io.BytesIO(fig._repr_png_())) as picture:
        assert picture.size == (3 * 2 * style.PAGE_DPI, 2 * 2 * style.PAGE_DPI)
        assert picture.text["Caption"] == "a caption"


def test_few_colours_change_no_colour_of_a_plain_figure():
    fig = line()
    before = np.asarray(style.pixels(fig)).astype(int)
    after = np.asarray(Image.open(io.BytesIO(fig._repr_png_())).convert("RGB"))
    assert np.abs(after - before).max() <= 8
    assert len(fig._repr_png_()) < 60_000


def test_no_text_is_smaller_than_eight_points():
    sizes = [
        value
        for name, value in style.RC.items()
        if name.endswith("size") and name != "lines.markersize"
    ]
    assert min(sizes) >= 8
    fig = line()
    fig.draw_without_rendering()
    assert (
        min(
            text.get_fontsize()
            for text in fig.findobj(lambda a: hasattr(a, "get_fontsize"))
            if text.get_text()
        )
        >= 8
    )


def test_colours_of_the_modalities_differ_in_grey_print_too():
    grey = [
        np.dot(colors.to_rgb(style.MODALITY[name]["color"]), (0.299, 0.587, 0.114))
        for name in ("vis", "ir")
    ]
    assert abs(grey[0] - grey[1]) > 0.2
    assert style.MODALITY["vis"]["marker"] != style.MODALITY["ir"]["marker"]
    assert style.MODALITY["vis"]["linestyle"] != style.MODALITY["ir"]["linestyle"]


def test_the_palette_is_that_of_seaborn():
    import seaborn

    assert [c.lower() for c in seaborn.color_palette("colorblind").as_hex()] == list(
        style.PALETTE
    )


def test_drawing_leaves_the_defaults_of_matplotlib_alone():
    import matplotlib

    before = matplotlib.rcParams["font.size"]
    assert line().axes[0].title.get_fontsize() == 9.5
    assert matplotlib.rcParams["font.size"] == before


def test_a_notebook_draws_a_figure_once_for_both_forms(monkeypatch):
    from IPython.core.formatters import DisplayFormatter

    drawn = []
    pixels = style.pixels
    monkeypatch.setattr(style, "pixels", lambda fig: drawn.append(fig) or pixels(fig))
    fig = line()
    fig.alt = "A rising line."
    shown, _ = DisplayFormatter().format(fig)
    assert len(drawn) == 1
    assert {"image/png", "text/html"} <= set(shown)
    with Image.open(io.BytesIO(base64.b64decode(shown["image/png"]))) as picture:
        assert picture.text["Description"] == "A rising line."
    assert shown["image/png"] in shown["text/html"]


def test_a_figure_is_drawn_again_only_after_a_change(folder, monkeypatch):
    drawn = []
    draw = style.FigureCanvasAgg.draw
    monkeypatch.setattr(
        style.FigureCanvasAgg, "draw", lambda self: drawn.append(1) or draw(self)
    )
    fig = line()
    first = np.asarray(style.pixels(fig))
    style.save(fig, "data/line", alt="A line.", data="synthetic")
    captions = len(drawn) - 1
    assert np.array_equal(style.pixels(fig), first)
    assert (len(drawn), captions) == (2, 1), "the figure and the strip of its caption"
    changes = [
        lambda ax: ax.plot([0, 1], [1, 0]),
        lambda ax: ax.set_title("another"),
        lambda ax: ax.lines[0].set_color("red"),
        lambda ax: ax.lines[0].set_ydata([0, 0.5]),
        lambda ax: ax.set_xlim(0, 5),
        lambda ax: ax.figure.set_size_inches(4, 3),
        lambda ax: ax.lines[-1].remove(),
    ]
    for number, change in enumerate(changes):
        before = np.asarray(style.pixels(fig))
        change(fig.axes[0])
        after = np.asarray(style.pixels(fig))
        assert len(drawn) == 3 + number
        assert before.shape != after.shape or (before != after).any()
