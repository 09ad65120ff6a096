"""The page "Add your own method" does what it says: its three files, put into a copy of
the repository in which nothing else is touched, pass what every method must pass.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "book" / "add_a_method.md"
BLOCK = re.compile(
    r"^(`{3,})\{code-block\} \w+\n:caption: (\S+)\n\n(.*?)\n\1$",
    re.MULTILINE | re.DOTALL,
)


def files() -> dict[str, str]:
    """Path -> content, of every file that the page shows whole."""
    return {
        path: content + "\n" for _, path, content in BLOCK.findall(PAGE.read_text())
    }


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """The repository without its chapters and records, which are other methods', and
    with the files of the page.
    """
    there = tmp_path_factory.mktemp("copy")
    unwanted = shutil.ignore_patterns("records", "[0-9]*.ipynb", "[0-9]*.md")
    for name in ("vvi", "book", "tests"):
        shutil.copytree(ROOT / name, there / name, ignore=unwanted)
    names = ("pyproject.toml", "jupytext.toml", "requirements.lock", "README.md")
    for name in (*names, "_config.yml"):
        shutil.copy(ROOT / name, there / name)
    (there / "figures").mkdir()
    for path, content in files().items():
        assert not (there / path).exists(), f"{path}: a new file, not an edited one"
        (there / path).write_text(content)
    call(there, "book/compile.py", "sync")
    return there


def call(there: Path, *command: str) -> str:
    inside = {
        "PYTHONPATH": str(there),
        "VVI_ROOT": str(there),
        "VVI_CACHE": str(there / "data"),
        "VVI_RUNS": str(there / "runs"),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, *command],
        cwd=there,
        env={**os.environ, **inside},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_a_method_is_three_new_files():
    assert list(files()) == [
        "vvi/methods/meet.py",
        "tests/methods/test_meet.py",
        "book/text/08_meet.md",
    ]


@pytest.fixture(scope="module")
def passed(copy) -> dict[str, int]:
    """File -> how many of its tests pass for the new method, all in one process."""
    files = [
        "tests/methods/test_contract.py",
        "tests/methods/test_meet.py",
        "tests/test_floors.py",
        "tests/test_chapters.py",
    ]
    chosen = ["-k", "(meet or floors) and not matplotlib"]
    own = ["-v", "-p", "no:cacheprovider", "--basetemp", str(copy / "temporary")]
    said = call(copy, "-m", "pytest", *own, *files, *chosen)
    assert "skipped" not in said.splitlines()[-1]
    return {file: len(re.findall(f"{file}::.* PASSED", said)) for file in files}


def test_the_contract_the_floors_and_its_own_test_hold_for_the_new_method(passed):
    assert passed["tests/methods/test_contract.py"] >= 10
    assert passed["tests/methods/test_meet.py"] >= 1
    assert passed["tests/test_floors.py"] >= 1


def test_its_chapter_obeys_the_rules_and_runs(passed):
    assert passed["tests/test_chapters.py"] >= 10


def test_it_is_trained_from_the_command_line(copy):
    said = call(
        copy, "-m", "vvi", "train", "meet", "--preset", "tiny", "--device", "cpu"
    )
    assert re.search(
        r"run \w{12}  synthetic data  .+: .+\n  ir2vis .*R1", said
    ) and list((copy / "runs").glob("*/record.json"))
