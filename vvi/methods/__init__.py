"""One module or package per paper: this folder is the registry of methods."""

from __future__ import annotations

import os
import pkgutil
from functools import lru_cache
from importlib import import_module
from numbers import Integral
from types import ModuleType
from typing import TYPE_CHECKING, Any

from vvi.runtime.fields import check_fields

if TYPE_CHECKING:
    from vvi.methods.base import Method


def names() -> tuple[str, ...]:
    """List every method: the modules and packages of this folder but `base`."""
    changed = tuple(os.stat(folder).st_mtime_ns for folder in __path__)
    return _listed(tuple(__path__), changed)


@lru_cache(maxsize=1)
def _listed(folders: tuple[str, ...], changed: tuple[int, ...]) -> tuple[str, ...]:
    """List the methods in some folders, again when one of them changed."""
    modules = {info.name for info in pkgutil.iter_modules(folders)}
    return tuple(sorted(modules - {"base"}))


def module(name: str) -> ModuleType:
    """Import the module or package of a method.

    Raises:
        ValueError: there is no such method.
    """
    if name not in names():
        raise ValueError(f"no method {name!r}: choose from {', '.join(names())}")
    return import_module(f"vvi.methods.{name}")


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
    settings = kind(**options)
    check_fields(kind, vars(settings), kind.BOUNDS)
    return settings


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
