"""Source beside the text that explains it: what is shown is what runs."""

from __future__ import annotations

import html
import inspect
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Colours of JupyterLab's own editor for the classes that a page's theme colours.
NOTEBOOK = {
    "k kn kc ow": "keyword",
    "nb bp": "builtin",
    "nf nc": "def",
    "c1 c cm": "comment",
    "s1 s2 sd sa si se": "string",
    "mi mf": "number",
    "o": "operator",
}


@dataclass(frozen=True)
class Listing:
    """A definition, which a notebook shows highlighted and a terminal as text."""

    #: Its source.
    text: str
    #: Its file and lines.
    location: str

    def __repr__(self) -> str:
        return f"# {self.location}\n{self.text}"

    def _repr_html_(self) -> str:
        """Return the source with classes that the theme of the page colours."""
        from pygments import highlight
        from pygments.formatters import HtmlFormatter
        from pygments.lexers import PythonLexer

        code = highlight(self.text, PythonLexer(), HtmlFormatter(wrapcode=True))
        head = f'<div class="vvi-location">{html.escape(self.location)}</div>'
        css = f"<style>{_notebook_css()}</style>"
        return f'{css}<div class="vvi-source">{head}{code}</div>'


def _notebook_css() -> str:
    """Return colours for JupyterLab, which has none for these classes."""
    rules = [
        ".jp-RenderedHTML .vvi-location {font-size: 85%; opacity: 0.75}",
        ".jp-RenderedHTML .vvi-source pre {overflow-x: auto}",
    ]
    for classes, colour in NOTEBOOK.items():
        names = [f".jp-RenderedHTML .vvi-source .{name}" for name in classes.split()]
        value = f"var(--jp-mirror-editor-{colour}-color)"
        rules.append(f"{', '.join(names)} {{color: {value}}}")
    return " ".join(rules)


def listing(definition: Any) -> Listing:
    """Return the source of a function, method, class or module as its file has it.

    Only the common indent is taken off.

    Raises:
        ValueError: something without Python source.
    """
    definition = inspect.unwrap(
        definition.fget if isinstance(definition, property) else definition
    )
    try:
        lines, first = inspect.getsourcelines(definition)
    except (TypeError, OSError) as error:
        raise ValueError(
            f"{definition!r} has no Python source to show: "
            "give a function, a class or a module"
        ) from error
    first = max(first, 1)
    location = f"{_file(definition)}, lines {first}–{first + len(lines) - 1}"
    return Listing(textwrap.dedent("".join(lines)), location)


def _file(definition: Any) -> str:
    """Return the file from its package on, with no folder of this machine before it."""
    parts = Path(inspect.getsourcefile(definition)).parts
    package = inspect.getmodule(definition).__name__.split(".")[0]
    if package not in parts:
        return parts[-1]
    position = len(parts) - 1 - parts[::-1].index(package)
    return "/".join(parts[position:])


def show(*definitions: Any) -> None:
    """Display the source of each thing where the call stands."""
    from IPython.display import display

    for definition in definitions:
        display(listing(definition))
