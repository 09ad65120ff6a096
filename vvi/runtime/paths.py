"""Folders, from the environment or from where the repository lies, and its commit.

Nothing else in the package or the book knows a path.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache as remember
from pathlib import Path

from vvi.runtime import validation

#: File by which a folder is known as the repository.
CONFIG = "_config.yml"


def root() -> Path:
    """Return the repository.

    It is `$VVI_ROOT`, else the nearest folder with `_config.yml` and `vvi/` above this
    file or above the current folder.

    Raises:
        FileNotFoundError: there is no repository, or `$VVI_ROOT` is none.
    """
    if set_by_user := _from_environment("VVI_ROOT"):
        if not set_by_user.is_dir():
            raise FileNotFoundError(
                f"VVI_ROOT={set_by_user} is no folder: set it to the repository, or "
                "leave it unset"
            )
        if not _is_repository(set_by_user):
            raise FileNotFoundError(
                f"VVI_ROOT={set_by_user} has no {CONFIG} and vvi/: set it to the "
                "repository, or leave it unset"
            )
        return set_by_user.resolve()
    here = Path(__file__).resolve()
    for folder in (*here.parents, Path.cwd(), *Path.cwd().parents):
        if _is_repository(folder):
            return folder
    raise FileNotFoundError(
        f"cannot find the repository (a folder with {CONFIG} and vvi/): set VVI_ROOT "
        "to it"
    )


def _is_repository(folder: Path) -> bool:
    return (folder / CONFIG).is_file() and (folder / "vvi").is_dir()


def real_data() -> Path | None:
    """Return `$VVI_DATA`, a licensed data set or a folder of several. None if unset."""
    return _from_environment("VVI_DATA")


def strictness() -> bool | None:
    """Return `$VVI_STRICT`, for data that are read without saying. None if unset.

    Raises:
        ValueError: it is neither true nor false.
    """
    value = os.environ.get("VVI_STRICT", "").strip().lower()
    if validation.is_none(value) or not value:
        return None
    if value not in validation.FLAGS:
        raise ValueError(f"VVI_STRICT={value} must be true or false, or unset")
    return validation.FLAGS[value]


def cache() -> Path:
    """Return `$VVI_CACHE`, by default `<root>/data`.

    It holds embedded data and decoded frames, all of it rebuilt when missing.

    Raises:
        NotADirectoryError: a file stands where the variable names a folder.
    """
    return _written("VVI_CACHE", "data")


def runs() -> Path:
    """Return `$VVI_RUNS`, by default `<root>/runs`: what this machine trained.

    Raises:
        NotADirectoryError: a file stands where the variable names a folder.
    """
    return _written("VVI_RUNS", "runs")


def records() -> Path:
    """Return `book/records`: stored results of the standard preset, committed."""
    return root() / "book" / "records"


def published() -> Path:
    """Return `book/published`: the numbers that the papers print."""
    return root() / "book" / "published"


def figures() -> Path:
    """Return `$VVI_FIGURES`, by default `<root>/figures`: written by chapters only.

    Raises:
        NotADirectoryError: a file stands where the variable names a folder.
    """
    return _written("VVI_FIGURES", "figures")


def _written(variable: str, usual: str) -> Path:
    """Return a folder that is made where it is missing, by default one of the root.

    Raises:
        NotADirectoryError: a file stands where the variable wants a folder.
    """
    folder = _from_environment(variable)
    if folder is None:
        return root() / usual
    for place in (folder, *folder.parents):
        if place.is_dir():
            break
        if place.exists():
            raise NotADirectoryError(
                f"{variable}={folder}: {place} is a file: set it to a folder, or leave "
                "it unset"
            )
    return folder


def _from_environment(variable: str) -> Path | None:
    """Return the folder that a variable names, or None where it is unset or empty."""
    text = os.environ.get(variable, "")
    return validation.folder(variable, text) if text.strip() else None


@remember
def commit() -> str:
    """Return the git commit of the repository, with + when the tree differs from it.

    Outside a checkout, or where there is no git, it is "unknown".
    """
    if shutil.which("git") is None:
        return "unknown"
    head = _git("rev-parse", "--short=10", "HEAD")
    if head.returncode:
        return "unknown"
    changes = _git("status", "--porcelain", "--untracked-files=no", "--", "vvi")
    return head.stdout.strip() + ("+" if changes.stdout.strip() else "")


def _git(*words: str) -> subprocess.CompletedProcess[str]:
    command = ["git", "-C", str(root()), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)
