"""A link to the glossary says what its word means."""

import importlib.util
from pathlib import Path

import pytest

FILE = Path(__file__).parent.parent / "book" / "hover.py"
GLOSSARY = """
<dl class="simple glossary">
<dt id="term-gate">gate<a class="headerlink" href="#term-gate">#</a></dt>
<dd><p>A number between 0 &amp; 1 for a <em>channel</em>.</p></dd>
<dt id="term-rank-k">rank-k</dt><dt id="term-rank-1">rank-1</dt>
<dd><p>A share of <a class="reference internal" href="#term-gate">gates</a>.</p></dd>
</dl>
"""
PAGE = '<p>A <a class="reference internal" href="glossary.html#{}">word</a>.</p>'


@pytest.fixture
def hover():
    spec = importlib.util.spec_from_file_location("hover", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_link_gets_the_meaning_of_its_term_without_markup(hover, tmp_path):
    (tmp_path / "glossary.html").write_text(GLOSSARY)
    (tmp_path / "page.html").write_text(PAGE.format("term-gate"))
    assert hover.explain(tmp_path) == 2  # and the link inside the glossary
    text = (tmp_path / "page.html").read_text()
    meaning = "A number between 0 &amp; 1 for a channel."
    assert f'href="glossary.html#term-gate" title="{meaning}">word' in text


def test_two_terms_of_one_entry_mean_the_same(hover):
    meanings = hover.Glossary(GLOSSARY).meanings
    assert meanings["term-rank-1"] == meanings["term-rank-k"] == "A share of gates."


def test_a_term_without_a_meaning_is_named(hover, tmp_path):
    (tmp_path / "glossary.html").write_text(GLOSSARY)
    (tmp_path / "page.html").write_text(PAGE.format("term-nobody"))
    with pytest.raises(SystemExit, match=r"page\.html: term-nobody"):
        hover.explain(tmp_path)


def test_the_words_of_the_book_stand_in_alphabetical_order():
    text = (FILE.parent / "glossary.md").read_text()
    block = text.split("```{glossary}\n")[1].split("```")[0]
    first = [entry.split("\n")[0].lower() for entry in block.strip().split("\n\n")]
    assert first == sorted(first, key=lambda word: word.replace("-", ""))
