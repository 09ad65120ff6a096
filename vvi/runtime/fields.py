"""Which values fit the fields of a dataclass.

Every config, of a run or of a method, is checked before anything is computed from it.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from vvi.runtime import validation

Bounds = Mapping[str, tuple[float, float]]  # field -> least and greatest value

hints = cache(get_type_hints)  # of a dataclass: field -> type


def settle(instance: Any) -> None:
    """Give the fields of a frozen dataclass their type.

    An integer becomes a float and a list a tuple where the field holds one, so that 1
    and 1.0 are one setting.
    """
    for name, hint in hints(type(instance)).items():
        value = getattr(instance, name)
        settled = validation.typed(value, hint)
        if settled is not value:
            object.__setattr__(instance, name, settled)


def literal_values(hint: Any) -> tuple:
    """Return the values that a `Literal` type lists, None last where it may be None.

    >>> literal_values(Literal["a", "b"] | None), literal_values(int)
    (('a', 'b', None), ())
    """
    parts = (hint, *get_args(hint))
    literal = next((part for part in parts if get_origin(part) is Literal), None)
    if literal is None:
        return ()
    optional = (None,) if NoneType in parts else ()
    return get_args(literal) + optional


def check_choice(name: str, value: Any, hint: Any) -> None:
    """Check a value that is one of a few.

    Args:
        name: of the value, for the error.
        value: as it was given.
        hint: a `Literal` type that lists the values.

    Raises:
        ValueError: it is none of them. The message names all.

    >>> check_choice("per", "frame", Literal["frame", "clip"])
    """
    allowed = literal_values(hint)
    if value not in allowed:
        choices = ", ".join(map(repr, allowed))
        raise ValueError(f"{name}={value!r}: choose from {choices}")


def field_docs(kind: type) -> dict[str, str]:
    """Read what `#:` comments above the fields of a dataclass say.

    Returns:
        Field -> text, those of base classes first. Fields without a comment are absent.
    """
    docs = {}
    for base in reversed(kind.__mro__):
        if "__dataclass_fields__" in vars(base):
            docs |= _comments(inspect.getsource(base))
    return docs


def _comments(source: str) -> dict[str, str]:
    """Map fields to the `#:` comments directly above them."""
    docs, lines = {}, []
    for line in map(str.strip, source.splitlines()):
        name, colon, _ = line.partition(":")
        if line.startswith("#:"):
            lines.append(line.removeprefix("#:").strip())
            continue
        if lines and colon and name.isidentifier():
            docs[name] = " ".join(lines)
        lines = []
    return docs


def check_fields(kind: type, values: Mapping[str, Any], bounds: Bounds) -> None:
    """Refuse values that are not of the type of their field, or out of bounds.

    Args:
        kind: the dataclass. Numbers are finite, an integer may stand for a float.
        values: field -> value.
        bounds: field -> least and greatest value.

    Raises:
        ValueError: naming the first value that does not fit.
    """
    expected = hints(kind)
    for name, value in values.items():
        if not _fits(value, expected[name]):
            raise ValueError(f"{name}={value!r} must be {_in_words(expected[name])}")
        least, most = bounds.get(name, (-math.inf, math.inf))
        if name in bounds and value is not None and not least <= value <= most:
            upper = f" and at most {most}" if most < math.inf else ""
            raise ValueError(f"{name}={value!r} must be at least {least}{upper}")


def _fits(value: Any, hint: Any) -> bool:
    kind, parts = validation.kind_and_parts(hint)
    if kind is Literal:
        return any(type(value) is type(part) and value == part for part in parts)
    if kind in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if kind is tuple:
        return isinstance(value, tuple) and all(_fits(v, parts[0]) for v in value)
    if kind in (int, float):
        return _is_number(value, kind)
    return isinstance(value, kind)


def _is_number(value: Any, kind: type) -> bool:
    """Return whether a value is a finite number of a kind. An integer fits a float."""
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return True
    return kind is float and isinstance(value, float) and math.isfinite(value)


def _in_words(hint: Any) -> str:
    """Write a type in words."""
    kind, parts = validation.kind_and_parts(hint)
    if kind is Literal:
        return f"one of {', '.join(map(repr, parts))}"
    if kind in (Union, UnionType):
        return " or ".join(map(_in_words, parts))
    words = {
        int: "an integer",
        float: "a finite number, such as 0.001 or 1e-3",
        bool: "true or false",
        str: "a word",
        NoneType: "nothing (null)",
        tuple: "a list of integers",
    }
    if kind is tuple and float in parts:
        return "a list of numbers, such as 0.6,0.85"
    return words.get(kind, "values by name")
