"""Run the chapters and build the pages; the Makefile calls this.

    python book/compile.py book             run what changed, build the site
    python book/compile.py run [--again]    run the chapters (--again: all of them)
    python book/compile.py chapter NAME [key=value ...]    run one, to _build/chapters/
    python book/compile.py data             the embedded data, when missing
    python book/compile.py readme           what helps: README.md and index.md
    python book/compile.py moving           the films of the page of moving pictures
    python book/compile.py thumbnails       the pictures of the query browser
    python book/compile.py print            all pages as one, and as a PDF
    python book/compile.py pages            the site of chapters that `make test` ran
    python book/compile.py sync             pair book/text/*.md and book/*.ipynb

Chapters are executed into `_build/executed/`, never in place. An executed copy is used
again while the hash of its chapter, the package, the stored records and the published
numbers stays the same. A chapter that fails leaves its notebook, with the error marked
in red, in `_build/failed/`; the others still run.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "book"
TWINS = BOOK / "text"
EXECUTED = ROOT / "_build" / "executed"
FAILED = ROOT / "_build" / "failed"
TESTED = ROOT / "_build" / "tested"  # where `make test` leaves chapters run at tiny
STEP = ROOT / "benchmarks" / "results" / "step.json"
RELIABILITY = BOOK / "records" / "reliability.json"
# What Jupyter Book compiles. It looks upwards for _config.yml and puts html beside it.
SOURCE = ROOT / "_build" / "book"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
KEPT = ("tags", "mystnb")  # the part of a cell's metadata that the text holds
PARAMETERS = ("preset", "data", "seeds", "retrain", "device")
AT_ONCE = 4  # chapters in kernels side by side, at most: each takes some 2 GB
NOT_PAGES = (
    "*.ipynb",
    "*.py",
    "text",
    "records",
    "published",
    "_ext",
    "__pycache__",
    ".*",
)
MARKS = ("<!-- results: make readme -->", "<!-- end of results -->")
#: Pages that stand below a chapter, behind its notebooks without a number.
BELOW = {"01": ["moving"], "07": ["query_browser"]}
#: How the names of the pages begin that hold the modules of one package.
API = "api_"
FILMS = ROOT / "figures" / "moving"
SCREENS = {"README.md": "figures", "book/index.md": "../figures"}  # page -> figures
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def chapters() -> list[Path]:
    """Every notebook of the book, numbered ones first."""
    return sorted(
        BOOK.glob("*.ipynb"), key=lambda path: (not path.name[0].isdigit(), path.name)
    )


def fingerprint(chapter: Path) -> str:
    """Hash of all that decides what a chapter shows.

    Itself, the package, the locked environment, the records, the published numbers.
    """
    files = [chapter, ROOT / "requirements.lock", *sorted((ROOT / "vvi").rglob("*.py"))]
    files += sorted(
        path
        for folder in ("records", "published")
        for path in (BOOK / folder).rglob("*")
        if path.is_file()
    )
    digest = hashlib.sha256()
    for path in files:
        digest.update(
            path.relative_to(ROOT).as_posix().encode()
            + b"\0"
            + path.read_bytes()
            + b"\0"
        )
    return digest.hexdigest()


def execute(chapter: Path, output: Path, parameters: dict | None = None) -> str | None:
    """Run one chapter in `book/`: None, or the error of the cell that failed."""
    import nbformat
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    # Nobody can click in a page: `ablation_panel` draws a figure in place of its panel.
    os.environ["VVI_WIDGETS"] = "0"
    FAILED.mkdir(parents=True, exist_ok=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    attempt = FAILED / chapter.name
    try:
        papermill.execute_notebook(
            chapter,
            attempt,
            parameters,
            cwd=BOOK,
            kernel_name="python3",
            progress_bar={"desc": chapter.stem},
            # Or each kernel warns that it talks, to this machine only, in plain text.
            extra_arguments=["--IPKernelApp.log_level=ERROR"],
        )
    except PapermillExecutionError as error:
        trace = ANSI.sub("", "\n".join(error.traceback))
        cell = f"{chapter.name}, cell [{error.exec_count}]"
        return (
            f"{trace}\n[book] {cell} failed: {error.ename}: {error.evalue}\n"
            f"[book] executed so far: {attempt}"
        )
    except DeadKernelError as error:
        return f"[book] {chapter.name}: {error} (memory? a crash in native code?)"
    notebook = nbformat.read(attempt, as_version=4)
    sign(notebook, (parameters or {}).get("device", "auto"))
    nbformat.write(notebook, attempt)
    attempt.replace(output)
    return None


def sign(notebook: NotebookNode, device: str) -> None:
    """Note in an executed chapter where that was: its page ends with it."""
    from vvi.engine import train
    from vvi.experiment import store

    where = store.environment(train.device_name(train.fabric(device)))
    notebook.metadata["executed"] = where


def run(again: bool = False) -> None:
    """Execute what has no fresh executed copy, some chapters side by side.

    Each kernel computes on one thread unless `$OMP_NUM_THREADS` says otherwise. The sum
    of floats depends on the number of threads, and so would the pixels of figures.

    Raises:
        SystemExit: chapters failed. The message has the error of each.
    """
    stale = []
    for chapter in chapters():
        key = EXECUTED / f"{chapter.stem}.key"
        fresh = key.is_file() and key.read_text() == fingerprint(chapter)
        if again or not fresh or not (EXECUTED / chapter.name).is_file():
            stale.append(chapter)
        else:
            print(f"[book] {chapter.name}: nothing changed", flush=True)
    if not stale:
        return
    from vvi.runtime import cpu

    data()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    pool = ThreadPoolExecutor(min(AT_ONCE, cpu.cores()))
    try:  # the last chapters take longest: begun first, none runs on alone at the end
        failures = list(filter(None, pool.map(refresh, reversed(stale))))
    finally:
        pool.shutdown(cancel_futures=True)
    if failures:
        total = f"[book] {len(failures)} of {len(chapters())} chapters failed"
        raise SystemExit("\n\n".join([*failures, total]))


def refresh(chapter: Path) -> str | None:
    """Execute a chapter for its page: None, or the error of the cell that failed."""
    key, now = EXECUTED / f"{chapter.stem}.key", fingerprint(chapter)
    key.unlink(missing_ok=True)
    start = time.perf_counter()
    if error := execute(chapter, EXECUTED / chapter.name):
        return error
    key.write_text(now)
    spent = time.perf_counter() - start
    print(f"[book] {chapter.name}: executed in {spent:.0f} s", flush=True)
    return None


def gather(executed: Path) -> None:
    """Fill `_build/book` with executed chapters and prose pages.

    A link beside it lets `../figures/` mean the same there as in `book/`.
    """
    import nbformat
    import pages

    shutil.rmtree(SOURCE, ignore_errors=True)
    shutil.copytree(BOOK, SOURCE, ignore=shutil.ignore_patterns(*NOT_PAGES))
    if FILMS.is_dir():
        shutil.copytree(FILMS, SOURCE / "_static" / "moving")
    words = pages.terms((BOOK / "glossary.md").read_text())
    for chapter in chapters():
        notebook = nbformat.read(executed / chapter.name, as_version=4)
        pages.finish(notebook, words)
        nbformat.write(notebook, SOURCE / chapter.name)
    (SOURCE / "_toc.yml").write_text(contents())
    for name, text in api_pages().items():
        (SOURCE / f"{name}.md").write_text(text)
    parts = {"modules": api_contents(), "reliability": pages.reliability(RELIABILITY)}
    parts["moving"] = pages.moving(FILMS)
    parts |= {"speed": pages.speed(STEP), "parts": pages.parts(STEP)}
    parts["standard step"] = pages.standard_step(STEP.with_name("standard_step.json"))
    parts["compiled"] = pages.compiled(STEP.with_name("step_compiled.json"))
    parts["nearest"] = pages.nearest(STEP.with_name("nearest.json"))
    parts["rerank"] = pages.rerank(STEP.with_name("rerank.json"))
    parts["scale"] = pages.scale(STEP.with_name("scale.json"))
    parts["gpu lines"] = gpu_lines()
    for page in SOURCE.glob("*.md"):
        text = page.read_text()
        for name, part in parts.items():
            text = text.replace(f"<!-- {name} -->", part)
        page.write_text(text)
    figures = ROOT / "_build" / "figures"
    if not figures.is_symlink():
        figures.symlink_to(Path("..", "figures"), target_is_directory=True)


def gpu_lines() -> str:
    """The lines of the package that run otherwise on a GPU, as a table."""
    sys.path.append(str(ROOT / "benchmarks"))
    found = importlib.import_module("gpu_lines")
    return found.table(found.find())


def contents() -> str:
    """`_toc.yml` with every chapter in its first part.

    Pages without a number, such as the data sheet, stand right behind the first chapter
    and below it, so that a chapter keeps the number of its file.
    """
    import yaml

    toc = yaml.safe_load((BOOK / "_toc.yml").read_text())
    names = [path.stem for path in chapters()]
    numbered = [{"file": name} for name in names if name[0].isdigit()]
    others = [{"file": name} for name in names if not name[0].isdigit()]
    if numbered and others:
        numbered[0]["sections"] = others
    for chapter in numbered:
        below = BELOW.get(chapter["file"][:2], [])
        prose = [{"file": name} for name in below if (BOOK / f"{name}.md").is_file()]
        if prose:
            chapter["sections"] = chapter.get("sections", []) + prose
    toc["parts"][0]["chapters"] = numbered
    for part in toc["parts"]:
        for entry in part["chapters"]:
            if entry["file"] == "api":
                entry["sections"] = [{"file": name} for name in api_pages()]
    return yaml.safe_dump(toc, sort_keys=False)


def packages() -> dict[str, list[str]]:
    """Modules of `vvi` by the package that holds them; "vvi" has the loose ones."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "vvi").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        own = [part for part in parts if part != "__init__"]
        if not any("__" in part for part in own):
            is_loose = len(path.relative_to(ROOT / "vvi").parts) == 1
            package = "vvi" if is_loose else f"vvi.{parts[1]}"
            found.setdefault(package, []).append(".".join(own))
    return found


def api_pages() -> dict[str, str]:
    """A page for each package, a section for each module: name of the page -> text.

    A new module needs no line in the book.
    """
    section = "## {0}\n\n```{{eval-rst}}\n.. automodule:: {0}\n   :members:\n"
    section += "   :exclude-members: set\n```\n"  # matplotlib adds it to every artist
    made = {}
    for package, modules in packages().items():
        title = "Modules of no package" if package == "vvi" else package
        sections = [section.format(name) for name in modules]
        made[API + package.removeprefix("vvi.")] = "\n".join(
            [f"# {title}\n", *sections]
        )
    return made


def api_contents() -> str:
    """A line for each of the `api_pages`: its name and its modules."""
    lines = []
    for package, modules in packages().items():
        page = API + package.removeprefix("vvi.")
        names = ", ".join(f"`{name}`" for name in modules)
        lines.append(f"- {{doc}}`{page}`: {names}")
    return "\n".join(lines)


def site(executed: Path) -> Path:
    """Compile the pages with warnings as errors; the path of the first one."""
    import hover
    import pages

    gather(executed)
    tool = str(Path(sys.executable).with_name("jupyter-book"))
    strict = ["--all", "-W", "-n", "--keep-going", "-q"]
    if subprocess.run([tool, "build", str(SOURCE), *strict], cwd=ROOT).returncode:
        raise SystemExit("[book] not built: each warning above counts as an error")
    pages.caption_figures(ROOT / "_build" / "html")
    pages.mend_markup(ROOT / "_build" / "html")
    if (BOOK / "query_browser.md").is_file():
        browse(ROOT / "_build" / "html")
    hover.explain(ROOT / "_build" / "html")
    if dead := pages.broken(ROOT / "_build" / "html"):
        raise SystemExit("\n".join(["[book] links that lead nowhere:", *dead]))
    return ROOT / "_build" / "html" / "index.html"


def browse(site: Path) -> None:
    """Write what the query browser reads, from records, and say where it lies."""
    import pages

    from vvi.book import query_pages

    query_pages.write(site / pages.LISTS)
    pages.name_lists(site / "query_browser.html")


def moving() -> None:
    """Draw the films of the page of moving pictures."""
    from vvi.book import moving

    for name in moving.FILMS:
        print(moving.write(name))


def thumbnails() -> None:
    """Draw the pictures of the query browser."""
    from vvi.book import query_pages

    folder = BOOK / "_static" / "queries"
    print(*query_pages.write_thumbnails(folder), sep="\n")


def single() -> Path:
    """All pages as one; with Chromium, a PDF of it too: the path of either."""
    import pages

    gather(EXECUTED)
    tool = str(Path(sys.executable).with_name("jupyter-book"))
    build = [tool, "build", str(SOURCE), "--builder", "singlehtml", "--all", "-q"]
    if subprocess.run(build, cwd=ROOT).returncode:
        raise SystemExit("[book] the single page was not built")
    made, goal = ROOT / "_build" / "singlehtml", ROOT / "_build" / "print"
    shutil.rmtree(goal, ignore_errors=True)
    made.replace(goal)
    pages.caption_figures(goal)
    page, pdf = goal / "index.html", goal / "book.pdf"
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        print("[book] no Chromium here: print the page from any browser", flush=True)
        return page
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer"]
    options += ["--virtual-time-budget=60000", f"--print-to-pdf={pdf}"]
    subprocess.run([browser, *options, page.as_uri()], check=True, capture_output=True)
    return pdf


def sync() -> None:
    """Pair notebooks and text twins (the newer one wins); the notebooks keep no output.

    What is left of a notebook follows from the text alone, down to the cells' ids.
    """
    import nbformat

    names = {path.stem for path in chapters()}
    alone = [path for path in sorted(TWINS.glob("*.md")) if path.stem not in names]
    paths = [str(path.relative_to(ROOT)) for path in (*chapters(), *alone)]
    jupytext = [sys.executable, "-m", "jupytext", "--sync", "--quiet"]
    subprocess.run([*jupytext, *paths], cwd=ROOT, check=True)
    for path in chapters():
        notebook = nbformat.read(path, as_version=4)
        notebook.metadata = {"kernelspec": dict(KERNEL)}
        seen: dict[str, int] = {}
        for cell in notebook.cells:
            seen[cell.source] = seen.get(cell.source, 0) + 1
            text = f"{cell.source}#{seen[cell.source]}"
            cell.id = hashlib.sha256(text.encode()).hexdigest()[:8]
            cell.metadata = {k: v for k, v in cell.metadata.items() if k in KEPT}
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        text = nbformat.writes(notebook) + "\n"
        if text != path.read_text():
            path.write_text(text)
        # JupyterLab refuses a pair whose notebook is newer than its text.
        (TWINS / f"{path.stem}.md").touch()


def data() -> None:
    """The embedded data of the standard preset, written when it is not there."""
    from vvi import config, experiment

    print(f"[book] data: {experiment.synthetic_root(config.preset('standard').data)}")


def chapter(name: str, settings: list[str]) -> None:
    """Run one chapter with `key=value` parameters; an unknown one is refused."""
    import yaml

    parameters = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if key not in PARAMETERS or not equals:
            known = ", ".join(PARAMETERS)
            raise SystemExit(
                f"cannot read {setting!r}: write key=value, key in {known}"
            )
        parameters[key] = yaml.safe_load(value)
    source = BOOK / f"{Path(name).stem}.ipynb"
    if not source.is_file():
        known = ", ".join(path.stem for path in chapters())
        raise SystemExit(f"no chapter {name!r}: choose from {known}")
    output = ROOT / "_build" / "chapters" / source.name
    if error := execute(source, output, parameters):
        raise SystemExit(error)
    print(output)


def results(figures: str) -> str:
    """What helps, for README and first page: from stored numbers alone."""
    from vvi.book import helps

    return helps.block(figures)


def fill(text: str, part: str) -> str:
    """Put a part between its marks."""
    head, rest = text.split(MARKS[0])
    return f"{head}{MARKS[0]}\n{part}\n{MARKS[1]}{rest.split(MARKS[1])[1]}"


def readme() -> None:
    """Write what helps into README.md and the first page, and draw its figure.

    The numbers come from the stored results of the standard preset, and are kept in
    `book/records/helps.csv`; a test holds them, the records and both pages together.
    Records of an older format are rewritten, and the index of all records is.
    """
    from vvi import config
    from vvi.book import figures, helps
    from vvi.experiment import record_index, store
    from vvi.runtime import paths

    store.rewrite_old(paths.records())
    record_index.save()
    view = figures.scene(config.preset("standard"))
    table, levels = helps.measure(view), helps.levels(view)
    if (table.seeds > 0).any():
        helps.save(table, levels)
        helps.figure(table, levels)
    for page, folder in SCREENS.items():
        path = ROOT / page
        path.write_text(fill(path.read_text(), results(folder)))


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the chapters, build the pages.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("readme", help="write what helps into README.md and index.md")
    commands.add_parser("data", help="write the embedded data when it is missing")
    commands.add_parser("moving", help="draw the moving pictures")
    commands.add_parser("thumbnails", help="draw the pictures of the query browser")
    commands.add_parser("book", help="run what changed and build the site")
    commands.add_parser("print", help="run what changed and build one page, and a PDF")
    commands.add_parser("pages", help="build the pages from what `make test` ran")
    commands.add_parser("sync", help="pair notebooks and text twins")
    every = commands.add_parser("run", help="run the chapters only")
    every.add_argument(
        "--again", action="store_true", help="also those that did not change"
    )
    one = commands.add_parser("chapter", help="run one chapter with parameters")
    one.add_argument("name")
    one.add_argument("settings", nargs="*", metavar="key=value")
    given = parser.parse_args()
    if given.command in ("sync", "data", "readme", "moving", "thumbnails"):
        globals()[given.command]()
    elif given.command == "pages":
        print(site(TESTED))
    elif given.command == "chapter":
        chapter(given.name, given.settings)
    else:
        run(again=given.command == "run" and given.again)
        if given.command in ("book", "print"):
            print(site(EXECUTED) if given.command == "book" else single())


if __name__ == "__main__":
    main()
