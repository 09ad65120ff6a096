"""One module or package per paper: this folder is the registry of methods."""

from __future__ import annotations

import os
import pkgutil
import traceback
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from numbers import Integral
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vvi.methods.base import Method


#: What the module of every method has (`tests/methods/test_contract.py`).
REQUIRED = ("VERSION", "Config", "Model", "ABLATIONS", "MAIN", "SWEEPS")


def names() -> tuple[str, ...]:
    """List every method: the modules and packages of this folder but `base`.

    Those that begin with `_` are helpers and no methods.
    """
    changed = tuple(os.stat(folder).st_mtime_ns for folder in __path__)
    return _listed(tuple(__path__), changed)


@lru_cache(maxsize=1)
def _listed(folders: tuple[str, ...], changed: tuple[int, ...]) -> tuple[str, ...]:
    """List the methods in some folders, again when one of them changed."""
    modules = {info.name for info in pkgutil.iter_modules(folders)}
    helpers = {name for name in modules if name.startswith("_")}
    return tuple(sorted(modules - helpers - {"base"}))


def check_name(name: str) -> None:
    """Raise a ValueError that names all methods when there is none of this name."""
    if name not in names():
        raise ValueError(f"no method {name!r}: choose from {', '.join(names())}")


def module(name: str) -> ModuleType:
    """Import the module or package of a method.

    Raises:
        ValueError: there is no such method, or its file cannot be imported or lacks a
            part. The message names the file.
    """
    check_name(name)
    try:
        imported = import_module(f"vvi.methods.{name}")
    except Exception as error:  # the file may do anything
        raise ValueError(
            f"method {name} cannot be imported: {_place(name, error)}: "
            f"{_one_line(error)}: mend the file or move it out of vvi/methods"
        ) from error
    missing = [part for part in REQUIRED if not hasattr(imported, part)]
    if missing:
        raise ValueError(
            f"{imported.__file__}: method {name} lacks {', '.join(missing)}: "
            "add what is missing, or let the name of a helper begin with _"
        )
    return imported


def _place(name: str, error: Exception) -> str:
    """Return the file and, where it is known, the line at which an import ended."""
    spec = find_spec(f"vvi.methods.{name}")
    file, line = spec.origin, None
    for frame in traceback.extract_tb(error.__traceback__):
        if _is_here(frame.filename):
            file, line = frame.filename, frame.lineno
    if isinstance(error, SyntaxError) and error.filename:
        file, line = error.filename, error.lineno
    return file if line is None else f"{file}, line {line}"


def _is_here(file: str) -> bool:
    """Return whether a file is of a method."""
    is_below = any(Path(file).is_relative_to(folder) for folder in __path__)
    return is_below and file != __file__


def _one_line(error: Exception) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return " ".join(f"{type(error).__name__}: {text}".split())


def config(name: str, **options: Any) -> Any:
    """Make the `Config` of a method from some of its fields.

    Raises:
        ValueError: it has no such field, or a value does not fit.
    """
    kind = module(name).Config
    fields = kind.__dataclass_fields__
    if unknown := sorted(options.keys() - fields.keys()):
        raise ValueError(
            f"{name} has no option {', '.join(unknown)}; it has {', '.join(fields)}"
        )
    return kind(**options)


def load(name: str, num_ids: int, **options: Any) -> Method:
    """Build a method: `load("baseline", num_ids=500, backbone="resnet50", frames=6)`.

    Args:
        name: one of `names()`.
        num_ids: training identities, the classes of the classifier.
        options: fields of the method's `Config`.

    Raises:
        ValueError: there is no such method or field, or a value does not fit.
    """
    settings = config(name, **options)
    if not isinstance(num_ids, Integral) or num_ids < 1:
        raise ValueError(
            f"num_ids={num_ids!r}: must be an integer >= 1, "
            "a method is trained on at least one identity"
        )
    return module(name).Model(settings, num_ids)
