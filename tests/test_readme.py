"""The README is held to its word: Python blocks run, commands exist, the tree names what is there."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "CONTRIBUTING.md", "book/index.md", "book/reproduce.md")
# Commands of other programs that a page may show; none of them can be run in a test (network, another package manager, a server).
FOREIGN = ("conda", "export", "uv", "pip", "git", ".")


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


def test_the_results_are_those_of_the_records(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "book"))
    monkeypatch.setenv("VVI_RUNS", str(ROOT / "book" / "records"))
    compile_book = importlib.import_module("compile")
    shown = (
        (ROOT / "README.md")
        .read_text()
        .split(compile_book.MARKS[0])[1]
        .split(compile_book.MARKS[1])[0]
    )
    assert shown.strip() == compile_book.results(), (
        "README's results differ from the records: make readme"
    )
    assert "Baseline" in shown and "±" in shown


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
