"""Settings that a reader chooses: the switches of a method, from the fields and types of its Config, and the config of a run from what was chosen."""

from __future__ import annotations

import ast
import inspect
import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

from vvi import methods
from vvi.config import DataConfig, Recipe, RunConfig, change
from vvi.runtime import validation
from vvi.runtime.fields import field_docs, hints

ELSEWHERE = (
    "backbone",
    "weights",
    "frames",
)  # fields of every Config that the size of a run decides
FREE = {  # what `parse` takes, with its type: all of recipe and data but who is in the data
    name: hint
    for kind in (Recipe, DataConfig)
    for name, hint in get_type_hints(kind).items()
    if name not in ("source", "seed", "layout", "min_seq_len")
}
COUNTS = ("steps", "epochs", "identities", "tracklets", "frames", "height", "width")


@dataclass(frozen=True)
class Switch:
    """One field of a method's Config: its name, type and default."""

    name: str
    hint: Any
    default: Any

    @property
    def options(self) -> list:
        """What there is to choose from; empty for a number."""
        parts = (self.hint, *get_args(self.hint))
        found = [
            value
            for part in parts
            if get_origin(part) is Literal
            for value in get_args(part)
        ] or ([True, False] if bool in parts else [])
        return [*found, None] if found and type(None) in parts else found

    def word(self, value: Any) -> str:
        """A value as a reader sees it; a default of None mostly follows another switch."""
        return "default" if value is None and self.default is None else str(value)

    def read(self, value: bool | str) -> Any:
        """The value that a ticked box, a chosen word or a typed number stands for; ValueError naming the switch when it stands for none."""
        if self.hint is bool:
            return value
        if self.options:
            return next(option for option in self.options if self.word(option) == value)
        if not value.strip() and type(None) in get_args(self.hint):
            return None
        try:
            number = (
                int(value) if value.strip().lstrip("+-").isdigit() else float(value)
            )
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or (self.hint is int and type(number) is not int):
            raise ValueError(
                f"{self.name}: {value!r} is no {'whole ' if self.hint is int else ''}number"
            )
        return number


def switches(method: str) -> list[Switch]:
    """The switches of a method, from the fields and types of its Config."""
    kind = methods.module(method).Config
    hints = get_type_hints(kind)
    return [
        Switch(f.name, hints[f.name], f.default)
        for f in fields(kind)
        if f.name not in ELSEWHERE
    ]


def describe(method: str) -> str:
    """The switches of a method as a text: name, default, what there is to choose from, and what they mean."""
    lines = [
        f"  {s.name:20s} {s.word(s.default):12s} {' | '.join(map(s.word, s.options)) or kind(s.hint)}"
        for s in switches(method)
    ]
    said = [
        *meaning(method).split("\n\n"),
        f"of every run: {', '.join(sorted(every_run()))}",
    ]
    return "\n".join(
        [
            f"{method}: switch, default, what there is to choose from",
            *lines,
            *("\n" + textwrap.fill(part, 120) for part in said),
        ]
    )


def meaning(method: str) -> str:
    """Return what the Config of a method says of itself and of each switch.

    Paragraphs with an empty line between them.
    """
    kind = methods.module(method).Config
    paragraphs = [inspect.getdoc(kind)]
    for name, text in field_docs(kind).items():
        if name not in ELSEWHERE:
            paragraphs.append(f"{name}: {text}")
    return "\n\n".join(paragraphs)


def effective(config: RunConfig) -> Any:
    """The method's Config of a run, in which what follows another switch has followed; ValueError when a setting is refused."""
    return methods.config(config.method, **config.options)


def parse(text: str) -> dict[str, Any]:
    """Changes of recipe and data as a reader writes them; ValueError in one line for what cannot be read, is unknown or does not fit.

    >>> parse("steps=100, lr=0.01")
    {'steps': 100, 'lr': 0.01}
    """
    try:
        call = ast.parse(f"dict({text})", mode="eval").body
        found = (
            {}
            if not isinstance(call, ast.Call) or call.args
            else {word.arg: ast.literal_eval(word.value) for word in call.keywords}
        )
    except (SyntaxError, ValueError):
        found = {}
    if None in found or (text.strip() and not found):
        raise ValueError(
            f"cannot read {text!r}: write name=value, name=value (words in quotes)"
        )
    for name, value in found.items():
        if name not in FREE:
            raise ValueError(
                f"no setting {name!r}: there are {', '.join(sorted(FREE))}"
            )
        if not _fits(value, FREE[name]) or (
            name in COUNTS and value is not None and value < 1
        ):
            raise ValueError(
                f"{name}={value!r} does not fit: it is {'a whole number from 1' if name in COUNTS else kind(FREE[name])}"
            )
    return found


def every_run() -> dict[str, Any]:
    """Name -> type of the settings that every run has, whatever its method."""
    found = {name: hints(RunConfig)[name] for name in ("backbone", "weights")}
    found |= hints(Recipe) | hints(DataConfig) | {"data_seed": int}
    found.pop("seed")  # the seed of a run is no setting of it
    return found


def read(method: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as people type them, each by the type of its field.

    Args:
        method: whose switches count beside the settings of every run.
        changes: name -> text, or a value that has its type already.

    Raises:
        ValueError: nothing is called so; the message lists all there is.

    >>> read("baseline", {"lr": ".001", "milestones": "35,80", "margin": "1"})
    {'lr': 0.001, 'milestones': (35, 80), 'margin': 1.0}
    """
    types = every_run() | {s.name: s.hint for s in switches(method)}
    for name in changes:
        if name not in types:
            raise unknown(method, name)
    return {
        name: _as_tables_spell(method, name, validation.setting(value, types[name]))
        for name, value in changes.items()
    }


def unknown(method: str, name: str) -> ValueError:
    """The error for a setting that a method does not have, with every one that it has."""
    known = {
        "its own": [s.name for s in switches(method)],
        "those of every run": sorted(every_run()),
    }
    return validation.unknown(name, f"{method} has no option", known)


def settled(config: RunConfig) -> RunConfig:
    """A config whose options have the types of the method's Config; ValueError naming one that the method does not have."""
    own = {s.name: s.hint for s in switches(config.method)}
    for name in config.options:
        if name not in own:
            raise unknown(config.method, name)
    options = {
        name: _as_tables_spell(config.method, name, validation.typed(value, own[name]))
        for name, value in config.options.items()
    }
    return replace(config, options=options)


def _as_tables_spell(method: str, name: str, value: Any) -> Any:
    """A number as the tables of the method spell it, 60 or 60.0, since a stored result is named by a hash of the spelling."""
    if type(value) is float:
        return _spellings(method).get((name, value), value)
    return value


@cache
def _spellings(method: str) -> dict[tuple[str, float], float]:
    """(option, number) -> the number as a table of the method writes it."""
    found = {}
    for table in methods.module(method).ABLATIONS.values():
        for row in table.values():
            numbers = {k: v for k, v in row.items() if type(v) in (int, float)}
            found |= {(name, float(value)): value for name, value in numbers.items()}
    return found


def _fits(value: Any, hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if get_args(hint) and get_origin(hint) is not tuple:
        return any(_fits(value, part) for part in get_args(hint))
    return type(value) is (get_origin(hint) or hint) or (
        hint is float and type(value) is int
    )


def kind(hint: Any) -> str:
    """A type in words."""
    return (
        "one of " + ", ".join(map(repr, get_args(hint)))
        if get_origin(hint) is Literal
        else getattr(hint, "__name__", str(hint))
    )


def chosen(
    start: RunConfig,
    wanted: Mapping[str, Any],
    more: Mapping[str, Any],
    known: Mapping[str, RunConfig],
) -> tuple[str, RunConfig]:
    """The run of some settings and its name: that of a known row where one computes the same, so that its stored result is found; else the changes, spelt in the
    shortest way. ValueError when the method refuses a setting."""
    own, before = (
        {s.name: s.default for s in switches(start.method)},
        dict(start.options),
    )
    wanted = {
        name: _as_tables_spell(start.method, name, value)
        for name, value in wanted.items()
    }
    edits = {
        name: value
        for name, value in wanted.items()
        if value != before.get(name, own[name])
    }
    options = {
        name: value
        for name, value in (before | edits).items()
        if name not in edits or value != own[name]
    }
    config = change(replace(start, options=dict(sorted(options.items()))), **more)
    computed = effective(config)
    for label, row in known.items():
        if (
            replace(row, options={}) == replace(config, options={})
            and effective(row) == computed
        ):
            return label, row
    changed = {
        name: value
        for name, value in more.items()
        if change(start, **{name: value}) != start
    }
    return ", ".join(
        f"{name}={value}" for name, value in (edits | changed).items()
    ), config


def flat(config: RunConfig) -> dict[str, str]:
    """Everything a row may change, by name: settings of the method as they take effect, recipe and data."""
    values = {"method": config.method} | {
        s.name: getattr(effective(config), s.name) for s in switches(config.method)
    }
    values |= {
        f.name: getattr(part, f.name)
        for part in (config.recipe, config.data)
        for f in fields(part)
        if f.name in FREE and f.name not in values
    }
    return {
        name: ("off", "on")[value] if isinstance(value, bool) else str(value)
        for name, value in values.items()
    }
