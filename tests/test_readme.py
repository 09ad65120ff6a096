"""The README is held to its word: Python blocks run, commands exist, the tree names
what is there.
"""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from vvi.book import helps

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "CONTRIBUTING.md", "book/index.md", "book/reproduce.md")
# Commands of other programs that a page may show; none of them can be run in a test
# (network, another package manager, a server).
FOREIGN = ("conda", "export", "uv", "pip", "git", ".", "python3")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```",
        (ROOT / page).read_text(),
        re.MULTILINE | re.DOTALL,
    )


def commands(page: str) -> list[str]:
    lines = "".join(blocks(page, "bash")).splitlines()
    return [
        line.split(" #")[0].split("    ")[0].strip()
        for line in lines
        if line.strip() and not line.startswith("#")
    ]


@pytest.mark.parametrize("page", PAGES)
def test_python_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for block in blocks(page, "python"):
        exec(compile(block, page, "exec"), {})


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_exists(page):
    targets = set(
        re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    )
    named = set(
        re.findall(r"(?:^|`)make ([a-z-]+)", (ROOT / page).read_text(), re.MULTILINE)
    )
    assert named <= targets, f"{page} names unknown targets: {named - targets}"


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_one_that_exists(page):
    for command in commands(page):
        program, *arguments = command.split()
        if program == "papermill":
            assert (ROOT / arguments[0]).is_file(), f"{page}: {command}"
            parameters = {"preset", "data", "seeds", "retrain", "device"}
            assert set(re.findall(r"-p (\w+)", command)) <= parameters, (
                f"{page}: {command}"
            )
        elif program == "vvi":
            shown = subprocess.run(
                [sys.executable, "-m", "vvi", arguments[0], "--help"],
                capture_output=True,
                text=True,
                check=False,
            )
            assert shown.returncode == 0, f"{page}: {command}: {shown.stderr}"
            missing = [
                flag
                for flag in re.findall(r"--[\w-]+", command)
                if flag not in shown.stdout
            ]
            assert not missing, f"{page}: {command}: no {missing}"
        else:
            assert program == "make" or program in FOREIGN, f"{page}: {command}"


def test_the_tree_names_every_entry_and_nothing_else():
    (tree,) = blocks("README.md", "text")
    named = {line.split()[0].rstrip("/") for line in tree.splitlines()}
    there = {
        path.name
        for path in ROOT.iterdir()
        if not path.name.startswith((".", "_build"))
        and not path.name.endswith(".egg-info")
    } | {".ci", ".github"}
    assert named == there - {"data", "runs"}, (
        f"README's tree differs from the folder: {named ^ (there - {'data', 'runs'})}"
    )


def test_help_lists_every_target():
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z-]+):.*", makefile, re.MULTILINE)
    explained = re.findall(r"^([a-z-]+):.*## \S", makefile, re.MULTILINE)
    assert targets == explained
    assert set(re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()) == set(
        targets
    )


@pytest.fixture
def compile_book(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "book"))
    return importlib.import_module("compile")


def shown_results(page: str, compile_book) -> str:
    text = (ROOT / page).read_text()
    return text.split(compile_book.MARKS[0])[1].split(compile_book.MARKS[1])[0].strip()


@pytest.mark.parametrize("page", ["README.md", "book/index.md"])
def test_what_helps_is_what_the_file_of_comparisons_says(page, compile_book):
    shown = shown_results(page, compile_book)
    assert shown == compile_book.results(compile_book.SCREENS[page]), "make readme"


def test_readme_and_first_page_say_the_same(compile_book):
    readme, index = (shown_results(p, compile_book) for p in compile_book.SCREENS)
    assert readme == index.replace("(../figures/", "(figures/")


def test_the_file_of_comparisons_is_that_of_the_records(monkeypatch, tmp_path):
    """Out of date: a record came, went or changed. Intervals need the drawn data."""
    monkeypatch.setenv("VVI_RUNS", str(tmp_path))
    stored, _ = helps.load()
    now = helps.measure().round(3)
    same = ["idea", "direction", "without", "with", "points", "seeds", "runs"]
    if stored.empty:
        assert (now.seeds == 0).all(), "records are there, the file is not: make readme"
    else:
        pd.testing.assert_frame_equal(
            stored[same], now[same], check_dtype=False, obj="make readme: helps.csv"
        )


def test_the_figure_of_what_helps_is_there_when_the_pages_show_it(compile_book):
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", (ROOT / "README.md").read_text())
    assert pictures and all((ROOT / picture).is_file() for picture in pictures)


def test_the_table_of_presets_says_what_the_presets_are():
    from vvi import config
    from vvi.data import synthetic

    page = (ROOT / "book" / "reproduce.md").read_text()
    for name in config.PRESETS:
        (row,) = re.findall(
            rf"^\| `{name}` \| synthetic.*|^\| `{name}` \| a licensed.*",
            page,
            re.MULTILINE,
        )
        data = config.preset(name).data
        assert f"{data.height} x {data.width}" in row, row
        if data.synthetic:
            plan = synthetic.PRESETS[data.source]
            assert (
                f"{plan.train.identities} + {plan.test.identities} identities" in row
            ), row
