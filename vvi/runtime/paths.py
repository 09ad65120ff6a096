"""Folders, from the environment or from where the repository lies, and its commit; nothing else in the package or the book knows a path."""

from __future__ import annotations

import os
import subprocess
from functools import cache as remember
from pathlib import Path


def root() -> Path:
    """The repository: `$VVI_ROOT`, else the nearest folder with `_config.yml` and `vvi/` above this file or above the current folder."""
    if set_by_user := os.environ.get("VVI_ROOT"):
        if not Path(set_by_user).is_dir():
            raise FileNotFoundError(
                f"VVI_ROOT={set_by_user} is no folder: set it to the repository, or leave it unset"
            )
        return Path(set_by_user).resolve()
    here = Path(__file__).resolve()
    for folder in (*here.parents, Path.cwd(), *Path.cwd().parents):
        if (folder / "_config.yml").is_file() and (folder / "vvi").is_dir():
            return folder
    raise FileNotFoundError(
        "cannot find the repository (a folder with _config.yml and vvi/): set VVI_ROOT to it"
    )


def real_data() -> Path | None:
    """`$VVI_DATA`: the licensed data set, or a folder of several, put there by the user; None when unset."""
    value = os.environ.get("VVI_DATA")
    return Path(value).expanduser() if value else None


def strictness() -> bool | None:
    """`$VVI_STRICT`: true or false, for data that are read without saying; else None."""
    value = os.environ.get("VVI_STRICT", "").strip().lower()
    known = {"": None, "true": True, "1": True, "false": False, "0": False}
    if value not in known:
        raise ValueError(f"VVI_STRICT={value} must be true or false, or unset")
    return known[value]


def cache() -> Path:
    """`$VVI_CACHE`, default `<root>/data`: embedded data and decoded frames, all of it rebuilt when missing."""
    return Path(os.environ.get("VVI_CACHE") or root() / "data").expanduser()


def runs() -> Path:
    """`$VVI_RUNS`, default `<root>/runs`: what this machine trained."""
    return Path(os.environ.get("VVI_RUNS") or root() / "runs").expanduser()


def records() -> Path:
    """`book/records`: stored results of the standard preset, committed."""
    return root() / "book" / "records"


def published() -> Path:
    """`book/published`: the numbers that the papers print."""
    return root() / "book" / "published"


def figures() -> Path:
    """`figures`: written by chapters only."""
    return Path(os.environ.get("VVI_FIGURES") or root() / "figures").expanduser()


@remember
def commit() -> str:
    """The git commit of the repository, with + when the tree differs from it; "unknown" outside a checkout."""
    git = ["git", "-C", str(root())]
    head = subprocess.run(
        [*git, "rev-parse", "--short=10", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    if head.returncode:
        return "unknown"
    dirty = subprocess.run(
        [*git, "status", "--porcelain", "--untracked-files=no", "--", "vvi"],
        capture_output=True,
        text=True,
        check=False,
    )
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "")
