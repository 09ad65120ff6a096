"""What the built pages get that the chapters do not hold.

Links to the glossary, a line that says when and where a chapter ran, the parts of prose
pages that are written from files; and a check that every local link leads somewhere.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell
from PIL import Image

# In a sentence these mean something else more often than what the glossary says.
COMMON = {"reading", "direction", "trial", "phase", "record"}
# Code, headings, formulas, roles, links and directives keep their words.
PROTECTED = re.compile(
    r"^```.*?^```|^#[^\n]*|^:[^\n]*|\$\$.*?\$\$|\$[^$\n]+\$|\{[\w:-]+\}`[^`]*`|`[^`]*`"
    r"|!?\[[^\]]*\]\([^)]*\)|<[^>\n]*>|\{[\w:-]+\}",
    re.DOTALL | re.MULTILINE,
)


def terms(glossary: str) -> list[str]:
    """Terms of the glossary page, longest first: no word of one is linked alone."""
    block = re.search(
        r"^```\{glossary\}\n(.*?)^```", glossary, re.DOTALL | re.MULTILINE
    )
    found = re.findall(r"^(?! )(\S.*)$", block[1], re.MULTILINE)
    return sorted(set(found) - COMMON, key=len, reverse=True)


def link_terms(text: str, unseen: list[str]) -> str:
    """The first occurrence of each term as a link; what is linked leaves `unseen`."""
    for term in list(unseen):
        case = re.IGNORECASE if term.islower() else 0
        word = re.compile(rf"(?<![\w-]){re.escape(term)}(?:s|es)?(?![\w-])", case)
        for start, end in _open(text):
            if found := word.search(text, start, end):
                role = f"{{term}}`{found[0]} <{term}>`"
                text = text[: found.start()] + role + text[found.end() :]
                unseen.remove(term)
                break
    return text


def _open(text: str) -> Iterable[tuple[int, int]]:
    """Spans of a text in which words may become links."""
    at = 0
    for kept in PROTECTED.finditer(text):
        yield at, kept.start()
        at = kept.end()
    yield at, len(text)


def finish(notebook: NotebookNode, glossary: list[str]) -> None:
    """Link the words of an executed chapter, and end it with when and where it ran."""
    unseen = list(glossary)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = link_terms(cell.source, unseen)
    notebook.cells.append(new_markdown_cell(stamp(notebook)))


def stamp(notebook: NotebookNode) -> str:
    """Time and duration (of papermill), parameters, commit, versions and device."""
    ran, where = notebook.metadata["papermill"], notebook.metadata["executed"]
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    asked = {n.target.id: ast.unparse(n.value) for n in ast.parse(first.source).body}
    asked |= {name: repr(value) for name, value in ran["parameters"].items()}
    given = ", ".join(f"{name}={value}" for name, value in asked.items())
    versions = ", ".join(f"{n} {where[n]}" for n in ("python", "torch", "torchvision"))
    return (
        f":::{{div}} executed\nThis page was executed on {ran['start_time'][:10]} in "
        f"{ran['duration']:.0f} s: `{given}`; commit `{where['commit']}`, {versions}, "
        f"{where['device']} ({where['processor']}). Figures and tables name the runs "
        "they show; where and when a run was trained stands in its record.\n:::"
    )


def table(counts: dict[str, dict[str, int]]) -> str:
    """What the tests of reliability counted, kind by kind."""
    lines = ["| what | kind | how many |", "|---|---|---|"]
    for job, kinds in counts.items():
        lines += [f"| {job} | {kind} | {n:,} |" for kind, n in kinds.items()]
    return "\n".join(lines)


def reliability(file: Path) -> str:
    """The part of the page on reliability that comes from its stored counts."""
    found = json.loads(file.read_text())
    where = found["environment"]
    total = {k: v for k, v in found.items() if isinstance(v, int)}
    head = "; ".join(f"**{n:,} {kind}**" for kind, n in total.items())
    where = (
        f"commit `{where['commit']}`, Python {where['python']}, {where['processor']}"
    )
    return f"{head}. Nothing was lost. Counted at {where}.\n\n{table(found['by job'])}"


def span(found: dict, digits: int = 2) -> str:
    """Median of the rounds, and their range where there is more than one."""
    if len(found["rounds"]) == 1:
        return f"{found['median']:.{digits}f}"
    low, high = f"{found['min']:.{digits}f}", f"{found['max']:.{digits}f}"
    return f"{found['median']:.{digits}f} ({low} to {high})"


def speed(file: Path) -> str:
    """The part of the page on speed that comes from the stored benchmark."""
    found = json.loads(file.read_text())["methods"]
    head = ["method", "way", "rounds", "CPU seconds", "of the usual", "memory (GB)"]
    head += ["of the usual", "of the peak"]
    lines = [f"| {' | '.join(head)} |", "|---|---|---|---|---|---|---|---|"]
    for name, one in found.items():
        for way, took in one["variants"].items():
            ratio = {
                k: one["ratios"].get(f"{way} / usual, {k}")
                for k in ("seconds", "memory")
            }
            cells = [name.upper(), way, str(len(took["seconds"]["rounds"]))]
            for what, digits in (("seconds", 1), ("memory", 1)):
                cells += [
                    span(took[what], digits),
                    span(ratio[what]) if ratio[what] else "1",
                ]
            lines.append(f"| {' | '.join(cells)} | {took['fraction of peak']:.0%} |")
    turns = {
        name: one["in turn"]["bf16 / float32"]
        for name, one in found.items()
        if "in turn" in one
    }
    lines += [""] + [
        f"{name.upper()}, bf16 against float32, steps in turn within one process: "
        f"**{span(r)}** "
        f"of the time, {len(r['rounds'])} pairs."
        for name, r in turns.items()
    ]
    where = next(iter(found.values()))["environment"]
    return "\n".join(lines) + (
        f"\n\nMeasured on one thread of {where['processor']}, torch {where['torch']}, "
        f"commit `{where['commit']}`."
    )


def parts(file: Path) -> str:
    """Where the seconds of a step go, method by method, and its dearest operators."""
    found = json.loads(file.read_text())["methods"]
    names = ("forward", "losses", "backward", "optimiser")
    head = ["method", "parameters (M)", *names, "dearest operators"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, one in found.items():
        took = one["variants"]["float32"]
        dear = [
            f"{o['operator'].removeprefix('aten::').replace('_', ' ')} {o['share']:.0%}"
            for o in took["dearest"][:3]
        ]
        cells = [name.upper(), f"{one['parameters'] / 1e6:.1f}"]
        spent = (f"{took['split'][part]:.3f}" for part in names)
        cells += [*spent, ", ".join(dear)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


#: What a step may cost, in its layers and losses alone.
STEP_AIM = 1.15


def standard_step(file: Path) -> str:
    """What a step at `standard` costs beside its layers and losses alone."""
    found = json.loads(file.read_text())
    head = [
        "method",
        "step (ms)",
        "layers alone",
        "losses alone",
        "ratio",
        "of it ours",
    ]
    head.append("rest of the profile")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, one in found["methods"].items():
        took, shares = one["ms"], one["shares"]
        rest = [
            f"{kind} {share:.0%}"
            for kind, share in shares.items()
            if share >= 0.02 and kind not in ("convolution", "linear maps and products")
        ]
        losses = f"{took['losses']:.1f}" if took["losses"] else "in the layers"
        cells = [name.upper(), f"{took['step']:.0f}", f"{took['layers']:.0f}", losses]
        cells += [f"{one['ratio']:.2f}", f"{one['ours']:.2f}", ", ".join(rest)]
        lines.append(f"| {' | '.join(cells)} |")
    reached = {
        key: sum(one[key] <= STEP_AIM for one in found["methods"].values())
        for key in ("ratio", "ours")
    }
    where = found["environment"]
    return "\n".join(lines) + (
        f"\n\nA ratio of at most {STEP_AIM} is reached by {reached['ratio']} of "
        f"{len(found['methods'])} methods, and by {reached['ours']} if only what is "
        "ours is counted (the column *of it ours*). "
        f"Measured on one thread of {where['processor']}, commit `{where['commit']}`."
    )


def nearest(file: Path) -> str:
    """The table of searches among ever more embeddings."""
    found = json.loads(file.read_text())
    lines = ["| gallery | search | CPU seconds | extra (MB) | recall@10 |"]
    lines += ["|---|---|---|---|---|"]
    for row in found["rows"]:
        recall = "–" if row["recall@10"] is None else f"{row['recall@10']:.3f}"
        cells = f"{row['gallery']:,}", row["search"], f"{row['CPU s']:.2f}"
        lines.append(f"| {' | '.join(cells)} | {row['extra MB']} | {recall} |")
    where = found["environment"]
    return "\n".join(lines) + (
        f"\n\nMeasured on {where['processor']}, commit `{where['commit']}`."
    )


def rerank(file: Path) -> str:
    """The table of re-rankings of ever more items."""
    found = json.loads(file.read_text())
    lines = ["| queries | gallery | CPU seconds | memory (GB) |", "|---|---|---|---|"]
    for row in found["rows"]:
        size = f"{row['queries']:,} | {row['gallery']:,}"
        cost = f"{row['CPU s']:.1f} | {row['peak MB'] / 1024:.2f}"
        lines.append(f"| {size} | {cost} |")
    where = found["environment"]
    return "\n".join(lines) + (
        f"\n\nMeasured on {where['processor']}, commit `{where['commit']}`."
    )


def scale(file: Path) -> str:
    """The tables of sets as large as the real ones: CPU seconds, then memory."""
    found = json.loads(file.read_text())
    tasks = list(dict.fromkeys(row["task"] for row in found["rows"]))
    by_set: dict[tuple[str, int], dict[str, dict]] = {}
    for row in found["rows"]:
        by_set.setdefault((row["layout"], row["frames"]), {})[row["task"]] = row
    tables = []
    for what, digits in (("CPU s", 1), ("peak MB", 0)):
        head = ["CPU seconds" if what == "CPU s" else "memory (MB)", "frames", *tasks]
        lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
        for layout, frames in sorted(by_set):
            took = by_set[layout, frames]
            cells = [
                f"{took[t][what]:,.{digits}f}" if t in took else "–" for t in tasks
            ]
            lines.append(f"| {layout} | {frames:,} | {' | '.join(cells)} |")
        tables.append("\n".join(lines))
    where = found["environment"]
    return "\n\n".join(tables) + (
        f"\n\nPython and its packages alone take {found['start']['peak MB']:,} MB. "
        f"Measured on {where['processor']}, commit `{where['commit']}`."
    )


def compiled(file: Path) -> str:
    """CPU seconds of a step with and without `torch.compile`, from their own run."""
    found = json.loads(file.read_text())["methods"]
    return "; ".join(
        f"{name.upper()} "
        f"{one['variants']['bf16, compiled']['seconds']['median']:.1f} CPU seconds "
        f"against {one['variants']['bf16']['seconds']['median']:.1f} without"
        for name, one in found.items()
    )


DRAWN = re.compile(r'<img alt="(_images/[^"]+\.png)" src="\1"[^>]*>')


def caption_figures(site: Path) -> int:
    """Give each figure that a chapter drew its number and its words; returns how many.

    A figure carries both inside its file: the alternative text is read out to who
    cannot see it, the caption stands below. A click shows it with all its pixels, of
    which there are two for one of the page. SystemExit names a figure without
    alternative text.
    """
    silent, count = [], 0
    for path in sorted(site.glob("*.html")):
        chapter = re.match(r"(\d+)_", path.name)
        prefix, seen = f"{int(chapter[1])}." if chapter else "", [0]

        def numbered(found: re.Match, prefix=prefix, seen=seen, page=path.name) -> str:
            seen[0] += 1
            with Image.open(site / found[1]) as picture:
                alt = picture.text.get("Description", "")
                caption = escape(picture.text.get("Caption", ""))
                width = picture.width // 2
            silent.extend([] if alt else [f"{page}: {found[1]}"])
            number = f"{prefix}{seen[0]}"
            return (
                f'<figure class="drawn" id="figure-{number}"><a href="{found[1]}">'
                f'<img alt="{escape(alt)}" src="{found[1]}" width="{width}"></a>'
                f'<figcaption><a href="#figure-{number}">Figure {number}.</a> '
                f"{caption}</figcaption></figure>"
            )

        path.write_text(DRAWN.sub(numbered, path.read_text()))
        count += seen[0]
    if silent:
        raise SystemExit("\n".join(["[book] figures without words:", *silent]))
    return count


FILM = """<figure class="drawn" id="film-{name}">
<video class="vvi-film" src="{folder}/{name}.mp4" poster="{folder}/{name}.png"
 width="{width}" height="{height}" muted loop playsinline controls preload="metadata"
 aria-label="{alt}"></video>
<figcaption>{caption}</figcaption>
</figure>"""


def moving(folder: Path, where: str = "_static/moving") -> str:
    """The films of a folder, each with its still, its words and its caption.

    Nothing plays by itself: `book.js` starts a film where motion is wanted.
    """
    parts = []
    films = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    order = sorted(films, key=lambda name: films[name]["position"])
    for name in order:
        film = films[name]
        words = {key: escape(film[key]) for key in ("alt", "caption")}
        size = {key: film[key] for key in ("width", "height")}
        parts.append(FILM.format(name=name, folder=where, **size, **words))
    return "\n\n".join(parts)


#: Where the lists of the query browser lie in a built site, and what shows them.
LISTS = "_static/queries/"
BROWSER = '<div id="vvi-queries"'


def name_lists(page: Path) -> None:
    """Name the folder of the lists in the query browser of a page.

    Raises:
        ValueError: the page has no query browser.
    """
    text = page.read_text()
    if BROWSER not in text:
        raise ValueError(f"{page} has no query browser: it needs {BROWSER}>")
    page.write_text(text.replace(BROWSER, f'{BROWSER} data-lists="{LISTS}"'))


def mend_markup(site: Path) -> None:
    """Mend what the theme and docutils write for who reads with a screen reader.

    The arrows that unfold the contents get a name; an entry of a list says so.
    """
    arrow = '<summary><span class="toctree-toggle"'
    named = arrow.replace("<summary", '<summary aria-label="Pages below"')
    for path in site.glob("*.html"):
        text = path.read_text().replace(arrow, named)
        path.write_text(text.replace('role="doc-biblioentry"', 'role="listitem"'))


class Page(HTMLParser):
    """Links of a page, and the places in it that a link may name."""

    def __init__(self, text: str):
        super().__init__()
        self.links, self.places = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Keep what an element is called and what it refers to."""
        found = dict(attrs)
        self.places |= {found[name] for name in ("id", "name") if found.get(name)}
        self.links |= {
            found[name] for name in ("href", "src", "poster") if found.get(name)
        }


def broken(site: Path) -> list[str]:
    """`page: link` for each link of a built site that leads to no file or place in it.

    Folders that begin with `_` are the theme's and the sources': only links to them
    count.
    """
    site = site.resolve()
    pages = {path: Page(path.read_text()) for path in site.rglob("*.html")}
    found = []
    for path, page in pages.items():
        if path.relative_to(site).parts[0].startswith("_"):
            continue
        for link in sorted(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            goal = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            there = goal.exists() and (
                not parts.fragment
                or goal not in pages
                or unquote(parts.fragment) in pages[goal].places
            )
            found += [] if there else [f"{path.relative_to(site)}: {link}"]
    return found
