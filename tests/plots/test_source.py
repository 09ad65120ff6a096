"""What is shown is the file's own text."""

import inspect

import pytest

from vvi import metrics
from vvi.book import source
from vvi.plots import style


def test_a_listing_is_the_source_itself_with_its_place():
    shown = source.listing(metrics.ranked_lists)
    assert shown.text == inspect.getsource(metrics.ranked_lists)
    first = inspect.getsourcelines(metrics.ranked_lists)[1]
    assert (
        shown.location
        == f"vvi/metrics.py, lines {first}–{first + len(shown.text.splitlines()) - 1}"
    )
    assert repr(shown).startswith("# vvi/metrics.py")


def test_methods_properties_decorated_functions_and_modules_are_found():
    assert source.listing(metrics.Metrics.rank).text.startswith("def rank(self")
    assert "@drawn" not in source.listing(style.drawn).text.splitlines()[0]
    from vvi.plots import curves
    from vvi.types import Batch

    assert source.listing(curves.cmc).text.startswith("@style.drawn\ndef cmc(")
    assert "def clips" in source.listing(Batch.clips).text
    assert source.listing(metrics).text == inspect.getsource(metrics)
    assert source.listing(metrics).location.startswith("vvi/metrics.py, lines 1–")


def test_a_page_shows_every_word_of_it_in_the_colours_of_its_theme():
    import re
    from html import unescape

    page = source.listing(metrics.Metrics.rank)._repr_html_()
    text = unescape(re.sub(r"<style>.*?</style>|<[^>]+>", "", page))
    for word in source.listing(metrics.Metrics.rank).text.split():
        assert word in text
    assert '<div class="highlight">' in page and '<span class="k">def</span>' in page
    assert "background" not in page and "style=" not in page
    for rule in re.search(r"<style>(.*?)</style>", page)[1].split("} "):
        assert rule.startswith(".jp-RenderedHTML"), "of a notebook, not of the book"


def test_showing_displays_each_thing_in_order(capsys):
    source.show(metrics.ranked_lists, metrics.Metrics.rank)
    printed = capsys.readouterr().out
    assert printed.index("def ranked_lists") < printed.index("def rank(")


def test_what_has_no_source_is_refused():
    with pytest.raises(ValueError, match="no Python source"):
        source.listing(len)
