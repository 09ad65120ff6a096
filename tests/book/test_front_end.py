"""What scripts add to a page, in headless Chromium: query browser, large figures, films."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vvi.book import moving, query_pages
from vvi.data.video import write_video

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "book" / "_static"
PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>a page</title>
<link rel="stylesheet" href="_static/book.css"><script src="_static/book.js"></script>
<script src="_static/queries.js"></script></head><body><article>{}</article></body></html>"""

pytestmark = pytest.mark.browser


def module(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "book" / f"{name}.py")
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        program = module("look").browser_path()
        browser = started.chromium.launch(
            executable_path=program, args=["--no-sandbox"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the scripts of the book and the data of the query browser."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(STATIC, folder / "_static")
    query_pages.write(folder / "_static" / "queries")
    return folder


def opened(browser, site: Path, body: str, **context):
    (site / "index.html").write_text(PAGE.format(body))
    page = browser.new_context(**context).new_page()
    page.set_default_timeout(120_000)
    page.goto((site / "index.html").as_uri())
    return page


def shown(page) -> list[str]:
    """Identities of the query and its ranked list."""
    items = page.locator("li.vvi-item")
    return [item.get_attribute("data-identity") for item in items.all()]


def test_another_query_shows_another_list(chromium, site):
    page = opened(
        chromium,
        site,
        '<div id="vvi-queries" data-lists="_static/queries/"><p>a picture</p></div>',
    )
    page.wait_for_selector("li.vvi-item")
    assert page.get_by_text("a picture").count() == 0
    first, words = shown(page), page.locator(".vvi-note").inner_text()
    assert len(first) == 11 and first[0] in words
    page.get_by_role("slider").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "words => document.querySelector('.vvi-note').textContent !== words", arg=words
    )
    assert shown(page) != first
    right = page.locator("li.vvi-right")
    query = shown(page)[0]
    assert {i.get_attribute("data-identity") for i in right.all()} <= {query}


def test_another_method_keeps_the_query_and_loads_its_lists(chromium, site):
    page = opened(
        chromium, site, '<div id="vvi-queries" data-lists="_static/queries/"></div>'
    )
    page.wait_for_selector("li.vvi-item")
    scripts = "() => [...document.scripts].map(s => s.src.split('/').pop())"
    assert "iban.js" not in page.evaluate(scripts)
    query, run = shown(page)[0], page.locator(".vvi-note").inner_text()
    page.get_by_label("method").select_option("iban")
    page.wait_for_function(
        "words => document.querySelector('.vvi-note').textContent !== words", arg=run
    )
    assert "iban.js" in page.evaluate(scripts)
    assert shown(page)[0] == query


def test_a_page_without_lists_keeps_its_picture(chromium, site):
    body = '<div id="vvi-queries"><p>a picture</p></div>'
    page = opened(chromium, site, body)
    page.wait_for_timeout(500)
    assert page.get_by_text("a picture").is_visible()
    assert page.locator("select").count() == 0


def test_without_scripts_the_picture_stays(chromium, site):
    body = '<div id="vvi-queries" data-lists="_static/queries/"><p>a picture</p></div>'
    page = opened(chromium, site, body, java_script_enabled=False)
    assert page.get_by_text("a picture").is_visible()


def test_a_figure_opens_large_and_closes_by_keyboard(chromium, site):
    Image.new("RGB", (300, 200), "red").save(site / "a.png")
    figure = (
        '<figure class="drawn"><a href="a.png"><img alt="one" src="a.png" width="150">'
        "</a><figcaption>{}</figcaption></figure>"
    )
    page = opened(chromium, site, figure.format("First.") + figure.format("Second."))
    box = page.locator("dialog.vvi-large")
    assert not box.is_visible()
    page.locator("figure.drawn > a").first.focus()
    page.keyboard.press("Enter")
    assert box.is_visible() and box.locator("p").inner_text() == "First."
    assert box.locator("img").bounding_box()["width"] == 300
    page.keyboard.press("ArrowRight")
    assert box.locator("p").inner_text() == "Second."
    page.keyboard.press("Escape")
    assert not box.is_visible()
    assert page.evaluate("() => document.activeElement.tagName") == "A"


@pytest.mark.parametrize(
    ("motion", "plays"), [("no-preference", True), ("reduce", False)]
)
def test_films_hold_still_where_that_is_asked_for(chromium, site, motion, plays):
    frames = np.random.default_rng(0).integers(0, 255, (20, 32, 32, 3), np.uint8)
    write_video(site / "_static" / "a.mp4", frames, 5)
    film = module("pages").FILM.format(
        name="a", folder="_static", width=32, height=32, alt="noise", caption="Noise."
    )
    page = opened(chromium, site, film, reduced_motion=motion)
    video = page.locator("video")
    video.evaluate(
        "v => v.readyState > 1 || new Promise(r => v.addEventListener('loadeddata', r))"
    )
    page.wait_for_timeout(500)
    assert video.evaluate("v => !v.paused") == plays
    assert video.evaluate("v => v.muted && v.loop")


def test_a_shipped_film_plays(chromium, site):
    shutil.copytree(ROOT / "figures" / moving.FOLDER, site / "_static" / "moving")
    page = opened(chromium, site, module("pages").moving(site / "_static" / "moving"))
    page.wait_for_function(
        "() => [...document.querySelectorAll('video')].every(v => v.currentTime > 0.2)"
    )
    lengths = page.evaluate(
        "() => [...document.querySelectorAll('video')].map(v => v.duration)"
    )
    assert len(lengths) == len(moving.FILMS)
    assert all(4 < seconds < 9 for seconds in lengths)
