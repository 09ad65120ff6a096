"""Explain a word where the pointer rests: links to the glossary get a title."""

from __future__ import annotations

import re
from html import escape
from html.parser import HTMLParser
from pathlib import Path

#: A link to a term of the glossary, from any page.
LINK = re.compile(
    r'<a class="reference internal" href="(glossary\.html)?#(term-[^"]+)"'
)


class Glossary(HTMLParser):
    """Reads the built glossary: id of a term -> what it means, as text."""

    def __init__(self, page: str):
        super().__init__()
        self.meanings: dict[str, str] = {}
        self._terms: list[str] = []
        self._inside = 0
        self._words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        """Note the terms that come before a meaning, and where a meaning begins."""
        name = dict(attrs).get("id") or ""
        if tag == "dt" and name.startswith("term-"):
            self._terms.append(name)
        if tag == "dd":
            self._inside += 1

    def handle_endtag(self, tag: str) -> None:
        """Give a meaning to all terms before it."""
        if tag != "dd":
            return
        self._inside -= 1
        if not self._inside:
            meaning = " ".join("".join(self._words).split())
            self.meanings |= dict.fromkeys(self._terms, meaning)
            self._terms, self._words = [], []

    def handle_data(self, data: str) -> None:
        """Collect the words of a meaning."""
        if self._inside:
            self._words.append(data)


def explain(site: Path) -> int:
    """Give every link to the glossary the meaning of its term; returns how many.

    SystemExit names a term without a meaning.
    """
    meanings = Glossary((site / "glossary.html").read_text()).meanings
    count, unknown = 0, []
    for path in sorted(site.glob("*.html")):

        def titled(found: re.Match, page=path.name) -> str:
            meaning = meanings.get(found[2], "")
            if not meaning:
                unknown.append(f"{page}: {found[2]}")
            return f'{found[0]} title="{escape(meaning)}"'

        text, here = LINK.subn(titled, path.read_text())
        path.write_text(text)
        count += here
    if unknown:
        raise SystemExit("\n".join(["[book] words without a meaning:", *unknown]))
    return count
