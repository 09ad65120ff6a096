"""Source beside the text that explains it: what is shown is what runs, so it cannot drift."""

from __future__ import annotations

import html
import inspect
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Listing:
    """The text of one definition and where it stands; a notebook shows it highlighted, a terminal as text."""

    text: str
    place: str

    def __repr__(self) -> str:
        return f"# {self.place}\n{self.text}"

    def _repr_html_(self) -> str:
        from pygments import highlight
        from pygments.formatters import HtmlFormatter
        from pygments.lexers import PythonLexer

        # styles within the tags and a ground of its own: the same in a notebook, in the book and in dark mode
        look = HtmlFormatter(
            style="vs",
            noclasses=True,
            cssstyles="background: #f6f6f6; color: #222222; padding: 0.6em 0.8em; border-radius: 4px; overflow-x: auto",
        )
        head = f'<div style="font-size: 85%; color: #555555; background: #ffffff">{html.escape(self.place)}</div>'
        return head + highlight(self.text, PythonLexer(), look)


def listing(thing: Any) -> Listing:
    """The source of a function, method, class or module, whole, as it stands in its file (only the common indent is taken off)."""
    thing = inspect.unwrap(thing.fget if isinstance(thing, property) else thing)
    try:
        lines, first = inspect.getsourcelines(thing)
    except (TypeError, OSError) as error:
        raise ValueError(
            f"{thing!r} has no Python source to show: give a function, a class or a module"
        ) from error
    first = max(first, 1)
    return Listing(
        textwrap.dedent("".join(lines)),
        f"{_place(thing)}, lines {first}–{first + len(lines) - 1}",
    )


def _place(thing: Any) -> str:
    """The file from its package on, with no folder of this machine before it."""
    parts = Path(inspect.getsourcefile(thing)).parts
    package = inspect.getmodule(thing).__name__.split(".")[0]
    return (
        "/".join(parts[len(parts) - 1 - parts[::-1].index(package) :])
        if package in parts
        else parts[-1]
    )


def show(*things: Any) -> None:
    """Display the source of each thing where the call stands."""
    from IPython.display import display

    for thing in things:
        display(listing(thing))
