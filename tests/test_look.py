"""What `make look` calls a fault: pages made for it, in headless Chromium where there is one."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def look():
    spec = importlib.util.spec_from_file_location("look", ROOT / "book" / "look.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["look"] = module  # a dataclass looks up its module
    spec.loader.exec_module(module)
    return module


PAGE = """<!DOCTYPE html><html lang="en"><head><title>a page</title>
<meta name="viewport" content="width=device-width"><style>{style}</style></head>
<body><main><article>{body}</article></main></body></html>"""


def kinds(look, folder: Path, body: str, style: str = "", width: int = 1400) -> set:
    (folder / "index.html").write_text(PAGE.format(body=body, style=style))
    return {fault.kind for fault in look.look(folder, widths=[width], themes=["light"])}


def test_slices_cover_a_page_once(look):
    assert look.slices(5000, 2400) == [(0, 2400), (2400, 2400), (4800, 200)]
    assert look.slices(2400, 2400) == [(0, 2400)]


def test_pages_are_those_of_the_site_or_those_named(look, tmp_path):
    with pytest.raises(ValueError, match="make book"):
        look.page_files(tmp_path)
    for name in ("b", "a"):
        (tmp_path / f"{name}.html").write_text("")
    assert [path.stem for path in look.page_files(tmp_path)] == ["a", "b"]
    assert [path.stem for path in look.page_files(tmp_path, ["b"])] == ["b"]
    with pytest.raises(ValueError, match="no page c: choose from a, b"):
        look.page_files(tmp_path, ["c"])


def test_each_element_that_breaks_a_rule_is_a_fault(look):
    check = {"message": "contrast of 2"}
    node = {"target": ["p", "a"], "any": [check], "all": [], "none": []}
    rule = {"id": "color-contrast", "nodes": [node, node]}
    faults = list(look.broken_rules([rule], "index.html", 1400, "dark"))
    assert len(faults) == 2
    assert (
        str(faults[0])
        == "index.html at 1400, dark: color-contrast: p a (contrast of 2)"
    )


@pytest.mark.browser
@pytest.mark.parametrize(
    ("body", "style", "width", "wrong"),
    [
        ("<p>Words.</p>", "", 1400, set()),
        ("<p>Words.</p>", "p {color: #aaa}", 1400, {"color-contrast"}),
        ('<img src="a.png">', "", 1400, {"image-alt"}),
        ("<p>Words.</p>", "p {width: 2000px}", 1400, {"page", "sticks out"}),
        ("<p>Words.</p>", "p {width: 600px}", 420, {"page", "sticks out"}),
        (
            "<div><p>Words.</p></div>",
            "p {width: 600px} div {overflow: auto}",
            420,
            set(),
        ),
        (
            "<div><p>Words.</p></div>",
            "p {width: 300px} div {overflow: hidden; width: 200px}",
            420,
            {"cut off"},
        ),
        (
            f'<pre tabindex="0">{"x" * 300}</pre>',
            "pre {overflow: auto}",
            1000,
            {"scrolls"},
        ),
        (f'<pre tabindex="0">{"x" * 300}</pre>', "pre {overflow: auto}", 420, set()),
        (f'<pre tabindex="0">{"x" * 30}</pre>', "pre {overflow: auto}", 1000, set()),
    ],
)
def test_what_a_reader_stumbles_on_is_a_fault(
    look, tmp_path, body, style, width, wrong
):
    assert kinds(look, tmp_path, body, style, width) == wrong


@pytest.mark.browser
def test_screenshots_are_left_and_a_fault_is_the_exit_status(
    look, tmp_path, monkeypatch
):
    monkeypatch.setattr(look, "SHOTS", tmp_path / "look")
    page = tmp_path / "index.html"
    page.write_text(PAGE.format(body="<p>Words.</p>", style="p {height: 3000px}"))
    command = ["--site", str(tmp_path), "--widths", "420"]
    assert look.main(command) == 0
    made = sorted(path.name for path in (tmp_path / "look").glob("*.png"))
    themes = ("dark", "light")
    assert made == [f"index-420-{theme}-0{n}.png" for theme in themes for n in (0, 1)]
    page.write_text(PAGE.format(body="<p>Words.</p>", style="p {width: 3000px}"))
    assert look.main([*command, "--quick"]) == 1
    assert '"sticks out"' in (tmp_path / "look" / "faults.json").read_text()
