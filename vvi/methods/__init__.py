"""One module per paper; this folder is the registry."""

from __future__ import annotations

import math
import pkgutil
from importlib import import_module
from numbers import Integral
from types import ModuleType
from typing import TYPE_CHECKING, Any

from vvi.runtime.fields import check_fields

if TYPE_CHECKING:
    from vvi.methods.base import Method


def names() -> tuple[str, ...]:
    """Every method there is: the modules of this folder but `base`."""
    return tuple(
        sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "base")
    )


def module(name: str) -> ModuleType:
    """The module of a method; ValueError naming the known ones otherwise."""
    if name not in names():
        raise ValueError(f"no method {name!r}: choose from {', '.join(names())}")
    return import_module(f"vvi.methods.{name}")


def config(name: str, **chosen: Any) -> Any:
    """The `Config` of a method; ValueError naming an option that it does not have or a value that does not fit."""
    kind = module(name).Config
    if unknown := set(chosen) - set(kind.__dataclass_fields__):
        raise ValueError(
            f"{name} has no option {', '.join(sorted(unknown))}; it has {', '.join(kind.__dataclass_fields__)}"
        )
    made = kind(**chosen)
    check_fields(kind, vars(made), {"frames": (1, math.inf)})
    return made


def load(name: str, num_ids: int, **chosen: Any) -> Method:
    """Build a method: `load("baseline", num_ids=500, backbone="resnet50", frames=6)`. Keyword arguments are fields of the method's `Config`."""
    made = config(name, **chosen)
    if not isinstance(num_ids, Integral) or num_ids < 1:
        raise ValueError(
            f"num_ids={num_ids!r}: a method is trained on at least one identity"
        )
    return module(name).Model(made, num_ids)
