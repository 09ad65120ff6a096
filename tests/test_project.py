"""The repository as a whole: one lock, small files, no trace of a machine."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
LOCK = (ROOT / "requirements.lock").read_text()
UNTRACKED = {
    ".git",
    ".venv",
    "_build",
    "data",
    "runs",
    "__pycache__",
    ".pytest_cache",
    ".ruff_cache",
    ".hypothesis",
    ".ipynb_checkpoints",
}
MEGABYTE = 1_000_000


def files() -> list[Path]:
    """What belongs to the project: asked of git, or, in a copy without history,
    everything outside the folders that .gitignore names.
    """
    asked = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "-z"],
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode == 0 and (ROOT / ".git").exists():
        return [
            path
            for name in asked.stdout.split("\0")
            if name and (path := ROOT / name).is_file()
        ]
    inside = (
        path
        for path in ROOT.rglob("*")
        if not UNTRACKED & set(path.relative_to(ROOT).parts)
    )
    return [
        path
        for path in inside
        if path.is_file() and not any(part.endswith(".egg-info") for part in path.parts)
    ]


FILES = files()


def texts(*suffixes: str) -> list[tuple[Path, str]]:
    return [
        (path, path.read_text(encoding="utf-8"))
        for path in FILES
        if path.suffix in suffixes
    ]


#: A package of the lock, with or without extras in brackets, and its version.
ENTRY = r"^([\w.-]+)(?:\[[\w,-]+\])?==(\S+) \\$"


def locked() -> dict[str, str]:
    return {
        name.lower().replace("_", "-"): version
        for name, version in re.findall(ENTRY, LOCK, re.MULTILINE)
    }


def asked_for(lines: list[str]) -> dict[str, str | None]:
    found = (
        re.fullmatch(r"([\w.-]+)(?:\[[\w,]+\])?(?:==(\S+)|>=\S+)?", line)
        for line in lines
        if line and not line.startswith("#")
    )
    return {match[1].lower(): match[2] for match in found}


def test_the_lock_names_hashes_and_no_host():
    assert "://" not in LOCK and "@" not in LOCK
    entries = re.split(r"^(?=\w)", LOCK, flags=re.MULTILINE)[1:]
    assert len(entries) == len(locked()) > 100
    assert all("--hash=sha256:" in entry for entry in entries)


def test_the_lock_holds_what_is_asked_for():
    for name, version in asked_for(
        (ROOT / "requirements.in").read_text().splitlines()
    ).items():
        assert name in locked(), (
            f"{name} is in requirements.in and not in requirements.lock: make lock"
        )
        assert version in (None, locked()[name]), (
            f"{name}: requirements.in says {version}, the lock {locked()[name]}: make lock"
        )


def test_the_package_asks_for_nothing_that_is_not_locked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name, version in asked_for(project["dependencies"]).items():
        assert version in (None, locked().get(name)), (
            f"{name}: pyproject.toml says {version}, the lock {locked().get(name)}"
        )
        assert name in locked(), (
            f"{name} is in pyproject.toml and not in requirements.lock"
        )


def test_what_is_installed_is_what_the_lock_says():
    from importlib.metadata import version

    for name in (
        "torch",
        "torchvision",
        "jupyter-book",
        "sphinx-book-theme",
        "papermill",
        "jupytext",
    ):
        assert version(name).split("+")[0] == locked()[name], (
            f"{name} {version(name)} is installed: make env"
        )


def test_conda_installs_the_same_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["dependencies"] == [
        "python=3.11",
        "pip",
        {"pip": ["-r requirements.lock"]},
    ]


def test_no_file_is_above_a_megabyte_and_the_records_stay_small():
    large = [
        f"{path.relative_to(ROOT)} ({path.stat().st_size:,} bytes)"
        for path in FILES
        if path.stat().st_size > MEGABYTE
    ]
    assert not large, f"files above 1 MB: {', '.join(large)}"
    assert (
        sum(path.stat().st_size for path in FILES if "records" in path.parts)
        < 40 * MEGABYTE
    )


def test_no_pickle_and_no_image_of_a_real_set_is_committed():
    assert not [
        path
        for path in FILES
        if path.suffix
        in {
            ".pkl",
            ".pickle",
            ".pt",
            ".pth",
            ".ckpt",
            ".mat",
            ".bmp",
            ".jpg",
            ".jpeg",
            ".npy",
        }
    ]


@pytest.mark.parametrize(
    "pattern",
    [
        # a folder of some machine
        r"(?<![\w.$~-])/(?:root|home|work|tmp|mnt|Users|opt)/\w",
        "TO" + "DO|FIX" + "ME|XX" + "X",
        r"pytest\.mark\.(?:skip|xfail)|pytest\.skip\(",
        r"py" + r"pi\.org|files\.pythonhosted|registry\.npm",
        r"shared/(?:methods|stack|style|architecture)",
    ],
)
def test_no_text_holds(pattern):
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path, text in texts(
            ".py",
            ".md",
            ".ipynb",
            ".yml",
            ".yaml",
            ".toml",
            ".in",
            ".cff",
            ".lock",
            ".css",
            ".json",
            "",
        )
        if path != Path(__file__).resolve()
        for match in [re.search(pattern, text)]
        if match
    ]
    assert not found, "; ".join(found)


@pytest.mark.parametrize("name", ["utils", "util", "common", "misc", "helpers"])
def test_no_module_is_named_after_no_idea(name):
    assert not [path for path in FILES if path.stem == name]


def test_functions_of_the_package_stay_short_and_modules_readable():
    """No function above 60 lines after its docstring, no module above 750."""
    for path in sorted((ROOT / "vvi").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 750, f"{path.name} is long"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                documented = ast.get_docstring(node) is not None
                body = node.body[1:] if documented else node.body
                lines = node.end_lineno - body[0].lineno + 1 if body else 0
                assert lines <= 60, f"{path.name}, {node.name}: {lines} lines"


def test_makefile_and_pages_name_one_python_range():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11,<3.13"
    assert (
        "(3, 11) <= sys.version_info[:2] < (3, 13)"
        in (ROOT / ".ci" / "environment").read_text()
    )


def test_the_citation_names_the_version_of_the_package():
    import vvi

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == vvi.__version__
    assert f"Version {vvi.__version__}" in (ROOT / "book" / "cite.md").read_text()


def test_continuous_integration_calls_make_test():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111 and script.read_text().endswith(
        "\nmake coverage\nexec make pages\n"
    )
    assert "$(MAKE) test" in (ROOT / "Makefile").read_text()


def test_the_nightly_run_calls_targets_that_exist():
    steps = yaml.safe_load(
        (ROOT / ".github" / "workflows" / "nightly.yml").read_text()
    )["jobs"]["book"]["steps"]
    called = {
        step["run"].removeprefix("make ").split()[0] for step in steps if "run" in step
    }
    assert (
        {"book", "test-all", "oldest", "reliability"}
        <= called
        <= set(
            re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        )
    )
