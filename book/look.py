"""Open every built page in headless Chromium and report what a reader would stumble on.

    python book/look.py [--site _build/html] [--pages 03_iban index] [--quick]

Each page is opened at three widths, light and dark. Faults are

- the page is wider than the window, an element sticks out of it or is cut off;
- a listing or an equation scrolls sideways in a window as wide as a desk's;
- what axe-core finds by the rules of WCAG 2 A and AA: contrast, alternative texts.

Screenshots are left in `_build/look/`, long pages in slices, beside `faults.json`.
The exit status is 1 when there is a fault. `--quick` takes no screenshots.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "_build" / "html"
SHOTS = ROOT / "_build" / "look"
#: Widths of the window, pixels: a desk, a small laptop, a phone.
WIDTHS = (1400, 1000, 420)
#: From this width on no listing and no equation may scroll.
DESK = 1000
THEMES = ("light", "dark")
HEIGHT = 900
#: Height of a slice of a screenshot, pixels.
SLICE = 2400
#: Sets of rules of axe-core.
RULES = ("wcag2a", "wcag2aa")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

# What of a page is wider than it may be. A box that scrolls holds its content: what is
# inside of one is not looked at.
OVERFLOW = """([desk, slack]) => {
  const room = document.documentElement.clientWidth, found = [];
  const name = e => e.tagName.toLowerCase()
    + (e.id ? '#' + e.id : '')
    + [...e.classList].slice(0, 2).map(c => '.' + c).join('');
  const near = e => {
    const text = (e.innerText || e.alt || '').trim().split('\\n')[0].slice(0, 60);
    return name(e) + (text ? ' "' + text + '"' : '');
  };
  const wide = document.documentElement.scrollWidth;
  if (wide > room + slack) found.push(['page', 'html', wide, room]);
  const visit = e => {
    const style = getComputedStyle(e);
    if (style.display === 'none' || style.visibility === 'hidden') return;
    if (style.position === 'fixed') return;
    const scrolls = ['auto', 'scroll'].includes(style.overflowX);
    const box = e.getBoundingClientRect();
    if (box.width > 1 && box.height > 1 && box.right > room + slack) {
      found.push(['sticks out', near(e), Math.round(box.right), room]);
      return;
    }
    // MathJax hides a copy for screen readers, which may be wider than what is seen
    const formula = e.querySelector(':scope > mjx-math, :scope > mjx-container');
    const wanted = formula
      ? Math.round(formula.getBoundingClientRect().width) : e.scrollWidth;
    const needs = wanted > e.clientWidth + slack;
    if (scrolls) {
      const listing = e.matches('pre, mjx-container');
      if (desk && listing && needs)
        found.push(['scrolls', near(e), wanted, e.clientWidth]);
      return;
    }
    if (['hidden', 'clip'].includes(style.overflowX) && needs && box.width > 1)
      found.push(['cut off', near(e), wanted, e.clientWidth]);
    for (const child of e.children) visit(child);
  };
  const article = document.querySelector('article') || document.body;
  visit(article);
  return found;
}"""


@dataclass(frozen=True)
class Fault:
    """Something on a page that a reader stumbles on."""

    page: str
    #: Width of the window, pixels.
    width: int
    theme: str
    #: "page", "sticks out", "cut off", "scrolls", or the rule of axe-core.
    kind: str
    #: The element, and its first words.
    where: str
    #: Numbers or words that say how bad it is.
    detail: str

    def __str__(self) -> str:
        window = f"{self.page} at {self.width}, {self.theme}"
        return f"{window}: {self.kind}: {self.where} ({self.detail})"


def browser_path() -> str | None:
    """Return the path of Chromium or Chrome on this machine, None without one."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def page_files(site: Path, names: Sequence[str] = ()) -> list[Path]:
    """Return the pages of a built site, all or those named.

    Raises:
        ValueError: a site that was not built, or a page it does not have.
    """
    files = sorted(site.glob("*.html"))
    if not files:
        raise ValueError(f"{site} holds no page: `make book` or `make pages` builds it")
    known = {path.stem: path for path in files}
    if missing := [name for name in names if name not in known]:
        raise ValueError(
            f"{site} has no page {', '.join(missing)}: choose from {', '.join(known)}"
        )
    return [known[name] for name in names] if names else files


def slices(height: int, most: int = SLICE) -> list[tuple[int, int]]:
    """Return (top, height) of the parts of a screenshot, none taller than `most`."""
    return [(top, min(most, height - top)) for top in range(0, height, most)]


def overflow(page: Page, name: str, width: int, theme: str) -> list[Fault]:
    """Return what of an open page is wider than it may be."""
    found = page.evaluate(OVERFLOW, [width >= DESK, 1])
    return [
        Fault(name, width, theme, kind, where, f"{needs} px, there are {room}")
        for kind, where, needs, room in found
    ]


def accessibility(page: Page, name: str, width: int, theme: str) -> list[Fault]:
    """Return what axe-core says of an open page."""
    from axe_playwright_python.sync_playwright import Axe

    options = {"runOnly": list(RULES), "resultTypes": ["violations"]}
    violations = Axe().run(page, options=options).response["violations"]
    return list(broken_rules(violations, name, width, theme))


def broken_rules(
    violations: Sequence[dict], name: str, width: int, theme: str
) -> Iterable[Fault]:
    """Yield a fault for each element that breaks a rule of axe-core.

    Args:
        violations: of its results.
        name: of the page.
        width: of the window.
        theme: light or dark.
    """
    for rule in violations:
        for node in rule["nodes"]:
            checks = node["any"] + node["all"] + node["none"]
            words = "; ".join(check["message"] for check in checks)
            where = " ".join(map(str, node["target"]))
            yield Fault(name, width, theme, rule["id"], where, words)


def open_page(browser: Browser, path: Path, width: int, theme: str) -> Page:
    """Open a page in a window of a width, in a theme, without moving anything."""
    context = browser.new_context(
        viewport={"width": width, "height": HEIGHT},
        color_scheme=theme,
        reduced_motion="reduce",
    )
    chosen = f"localStorage.setItem('mode', '{theme}');"
    context.add_init_script(f"{chosen} localStorage.setItem('theme', '{theme}')")
    page = context.new_page()
    page.goto(path.resolve().as_uri())
    page.wait_for_load_state("load")
    page.evaluate("() => window.MathJax?.startup?.promise")
    page.evaluate("() => document.fonts.ready.then(() => true)")
    return page


def take(page: Page, stem: str, folder: Path) -> None:
    """Leave screenshots of an open page, in slices that Chromium can draw."""
    folder.mkdir(parents=True, exist_ok=True)
    size = page.viewport_size or {}
    height = page.evaluate("() => document.documentElement.scrollHeight")
    for n, (top, tall) in enumerate(slices(height)):
        area = {"x": 0, "y": top, "width": size["width"], "height": tall}
        file = folder / f"{stem}-{n:02d}.png"
        page.screenshot(path=file, full_page=True, clip=area, animations="disabled")


def look(
    site: Path,
    names: Sequence[str] = (),
    shots: Path | None = None,
    widths: Sequence[int] = WIDTHS,
    themes: Sequence[str] = THEMES,
) -> list[Fault]:
    """Open pages at all widths in both themes; return every fault.

    Args:
        site: folder of the built pages.
        names: of the pages; all of them if empty.
        shots: folder of the screenshots; None takes none.
        widths: of the window, pixels.
        themes: of the page.

    Raises:
        FileNotFoundError: no Chromium on this machine.
    """
    from playwright.sync_api import sync_playwright

    program = browser_path()
    if program is None:
        raise FileNotFoundError(f"no browser here: install one of {BROWSERS}")
    faults: list[Fault] = []
    with sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=program, args=["--no-sandbox"]
        )
        for path in page_files(site, names):
            seen = len(faults)
            for width in widths:
                for theme in themes:
                    faults += _visit(browser, path, width, theme, shots)
            print(f"[look] {path.name}: {len(faults) - seen} faults", flush=True)
        browser.close()
    return faults


def _visit(
    browser: Browser, path: Path, width: int, theme: str, shots: Path | None
) -> list[Fault]:
    """Look at one page in one window. Colours are the same at every width."""
    page = open_page(browser, path, width, theme)
    page.set_default_timeout(180_000)
    faults = overflow(page, path.name, width, theme)
    if width == max(WIDTHS):
        faults += accessibility(page, path.name, width, theme)
    if shots is not None:
        take(page, f"{path.stem}-{width}-{theme}", shots)
    page.context.close()
    return faults


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Look at every built page.")
    parser.add_argument("--site", type=Path, default=SITE)
    parser.add_argument("--pages", nargs="*", default=[], metavar="NAME")
    parser.add_argument("--widths", nargs="*", type=int, default=list(WIDTHS))
    parser.add_argument("--themes", nargs="*", choices=THEMES, default=list(THEMES))
    parser.add_argument("--quick", action="store_true", help="no screenshots")
    given = parser.parse_args(arguments)
    shots = None if given.quick else SHOTS
    try:
        faults = look(given.site, given.pages, shots, given.widths, given.themes)
    except (ValueError, FileNotFoundError) as error:
        raise SystemExit(f"[look] {error}") from error
    SHOTS.mkdir(parents=True, exist_ok=True)
    report = json.dumps([asdict(fault) for fault in faults], indent=1)
    (SHOTS / "faults.json").write_text(report + "\n")
    print("\n".join(map(str, faults)))
    print(f"[look] {len(faults)} faults; screenshots and faults.json: {SHOTS}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
