"""One module per paper; this folder is the registry."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vvi.methods.base import Method


def names() -> tuple[str, ...]:
    """Every method there is: the modules of this folder but `base`."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "base"))


def module(name: str) -> ModuleType:
    """The module of a method; ValueError naming the known ones otherwise."""
    if name not in names():
        raise ValueError(f"no method {name!r}: choose from {', '.join(names())}")
    return import_module(f"vvi.methods.{name}")


def load(name: str, num_ids: int, **config: Any) -> Method:
    """Build a method: `load("baseline", num_ids=500, backbone="resnet50", frames=6)`. Keyword arguments are fields of the method's `Config`."""
    found = module(name)
    if unknown := set(config) - set(found.Config.__dataclass_fields__):
        raise ValueError(f"{name} has no option {', '.join(sorted(unknown))}; it has {', '.join(found.Config.__dataclass_fields__)}")
    return found.Model(found.Config(**config), num_ids)
