"""Settings that a reader chooses.

The switches of a method come from the fields and types of its Config, and the config
of a run from what was chosen.
"""

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

#: Fields of every Config that the size of a run decides.
ELSEWHERE = ("backbone", "weights", "frames")
#: Fields of recipe and data that `parse` does not take: they say who is in the data.
_WHO = ("source", "seed", "layout", "min_seq_len", "split")
#: What `parse` takes, with its type.
FREE = {
    name: hint
    for name, hint in (get_type_hints(Recipe) | get_type_hints(DataConfig)).items()
    if name not in _WHO
}
COUNTS = ("steps", "epochs", "identities", "tracklets", "frames", "height", "width")


@dataclass(frozen=True)
class Switch:
    """One field of a method's Config."""

    name: str
    #: Its type.
    hint: Any
    default: Any

    @property
    def options(self) -> list:
        """What there is to choose from, [] for a number."""
        parts = (self.hint, *get_args(self.hint))
        options: list[Any] = []
        for part in parts:
            if get_origin(part) is Literal:
                options += get_args(part)
        if not options and bool in parts:
            options = [True, False]
        if options and type(None) in parts:
            options.append(None)
        return options

    def word(self, value: Any) -> str:
        """Write a value as a reader sees it.

        A default of None mostly follows another switch.
        """
        return "default" if value is None and self.default is None else str(value)

    def read(self, value: bool | str) -> Any:
        """Read what a ticked box, a chosen word or a typed number stands for.

        Raises:
            ValueError: it stands for nothing. The message names the switch.
        """
        if self.hint is bool:
            return value
        if self.options:
            by_word = {self.word(option): option for option in self.options}
            return by_word[validation.choice(self.name, value, tuple(by_word))]
        if not value.strip() and type(None) in get_args(self.hint):
            return None
        return self._number(value)

    def _number(self, text: str) -> int | float:
        try:
            is_whole = text.strip().lstrip("+-").isdigit()
            number = int(text) if is_whole else float(text)
        except ValueError:
            number = math.nan
        if self.hint is int and type(number) is not int:
            raise ValueError(f"{self.name}: {text!r} must be an integer")
        if not math.isfinite(number):
            raise ValueError(f"{self.name}: {text!r} must be a number")
        return number


def switches(method: str) -> list[Switch]:
    """List the switches of a method, from the fields and types of its Config."""
    config = methods.module(method).Config
    types = hints(config)
    own = [f for f in fields(config) if f.name not in ELSEWHERE]
    return [Switch(f.name, types[f.name], f.default) for f in own]


def describe(method: str) -> str:
    """Describe the switches of a method: name, default, choices, and what they mean."""
    lines = [f"{method}: switch, default, what there is to choose from"]
    for switch in switches(method):
        choices = " | ".join(map(switch.word, switch.options)) or kind(switch.hint)
        lines.append(f"  {switch.name:20s} {switch.word(switch.default):12s} {choices}")
    text = [_start(method), *meaning(method).split("\n\n")]
    text.append(f"of every run: {', '.join(sorted(every_run()))}")
    for paragraph in text:
        lines.append("\n" + textwrap.fill(paragraph, 120))
    return "\n".join(lines)


def _start(method: str) -> str:
    """Say from which settings `vvi train` starts: the main row changes defaults."""
    module = methods.module(method)
    table, label = module.MAIN
    changes = module.ABLATIONS[table][label]
    changed = ", ".join(f"{name}={value}" for name, value in changes.items())
    return (
        f"`vvi train {method}` starts from the main row ({table}: {label}): "
        f"{changed or 'the defaults'}."
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
    """Return the method's Config of a run, with what follows another switch filled in.

    Raises:
        ValueError: the method refuses a setting.
    """
    return methods.config(config.method, **config.options)


def parse(text: str) -> dict[str, Any]:
    """Read changes of recipe and data as a reader writes them.

    Raises:
        ValueError: something cannot be read, is unknown or does not fit.

    >>> parse("steps=100, lr=0.01")
    {'steps': 100, 'lr': 0.01}
    """
    pairs = _keywords(text)
    names = [name for name, _ in pairs]
    if None in names or (text.strip() and not pairs):
        raise ValueError(
            f"cannot read {text!r}: write name=value, name=value (words in quotes)"
        )
    changes = {}
    for name, value in pairs:
        if name in changes:
            raise ValueError(f"{name} is set twice")
        changes[name] = validation.typed(value, FREE.get(name))
        _check_change(name, changes[name])
    return changes


def _keywords(text: str) -> list[tuple[str | None, Any]]:
    """Read keyword arguments. A text of another kind gives none."""
    try:
        call = ast.parse(f"dict({text})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            return []
        return [(word.arg, ast.literal_eval(word.value)) for word in call.keywords]
    except (SyntaxError, ValueError):
        return []


def _check_change(name: str, value: Any) -> None:
    """Refuse a change of recipe or data that is unknown or does not fit."""
    if name not in FREE:
        raise ValueError(f"no setting {name!r}: there are {', '.join(sorted(FREE))}")
    too_small = name in COUNTS and value is not None
    if not _fits(value, FREE[name]) or (too_small and value < 1):
        expected = "an integer >= 1" if name in COUNTS else kind(FREE[name])
        raise ValueError(f"{name}={value!r} must be {expected}")


def every_run() -> dict[str, Any]:
    """Return name -> type of the settings that every run has, whatever its method."""
    types = {name: hints(RunConfig)[name] for name in ("backbone", "weights")}
    types |= hints(Recipe) | hints(DataConfig) | {"data_seed": int}
    types.pop("seed")  # the seed of a run is no setting of it
    return types


def read(method: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Read settings as people type them, each by the type of its field.

    Args:
        method: whose switches count beside the settings of every run.
        changes: name -> text, or a value that has its type already.

    Raises:
        ValueError: there is no such setting. The message lists all settings.

    >>> read("baseline", {"lr": ".001", "milestones": "35,80", "margin": "1"})
    {'lr': 0.001, 'milestones': (35, 80), 'margin': 1.0}
    """
    types = every_run() | {s.name: s.hint for s in switches(method)}
    settings = {}
    for name, text in changes.items():
        if name not in types:
            raise unknown(method, name)
        value = validation.setting(text, types[name])
        settings[name] = _as_tables_spell(method, name, value)
    return settings


def unknown(method: str, name: str) -> ValueError:
    """Return the error for a setting that a method does not have."""
    known = {
        "its own": [s.name for s in switches(method)],
        "those of every run": sorted(every_run()),
    }
    return validation.unknown(name, f"{method} has no option", known)


def settled(config: RunConfig) -> RunConfig:
    """Give the options of a run the types of its method's Config.

    Raises:
        ValueError: the method does not have an option.
    """
    types = {s.name: s.hint for s in switches(config.method)}
    options = {}
    for name, value in config.options.items():
        if name not in types:
            raise unknown(config.method, name)
        typed = validation.typed(value, types[name])
        options[name] = _as_tables_spell(config.method, name, typed)
    return replace(config, options=options)


def _as_tables_spell(method: str, name: str, value: Any) -> Any:
    """Spell a number as the tables of the method do, 60 or 60.0.

    A stored result is named by a hash of the spelling.
    """
    if type(value) is float:
        return _spellings(method).get((name, value), value)
    return value


@cache
def _spellings(method: str) -> dict[tuple[str, float], float]:
    """Return (option, number) -> the number as a table of the method writes it."""
    spellings = {}
    for table in methods.module(method).ABLATIONS.values():
        for row in table.values():
            for name, value in row.items():
                if type(value) in (int, float):
                    spellings[name, float(value)] = value
    return spellings


def _fits(value: Any, hint: Any) -> bool:
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in parts
    if parts and origin is not tuple:
        return any(_fits(value, part) for part in parts)
    is_whole = hint is float and type(value) is int
    return is_whole or type(value) is (origin or hint)


def kind(hint: Any) -> str:
    """Write a type in words."""
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(repr, get_args(hint)))
    return getattr(hint, "__name__", str(hint))


def resolve_settings(
    start: RunConfig,
    values: Mapping[str, Any],
    more: Mapping[str, Any],
    known: Mapping[str, RunConfig],
) -> tuple[str, RunConfig]:
    """Return the run of some settings, and its name.

    Where a known row computes the same, it is that row, so that its stored result is
    found. Else its name lists the changes, spelt in the shortest way.

    Args:
        start: the run that settings are changed of.
        values: switch of the method -> value.
        more: changes of recipe and data.
        known: label -> run.

    Raises:
        ValueError: the method refuses a setting.
    """
    edits = _edits(start, values)
    defaults = {s.name: s.default for s in switches(start.method)}
    options = {}
    for name, value in (dict(start.options) | edits).items():
        if name not in edits or value != defaults[name]:
            options[name] = value
    config = replace(start, options=dict(sorted(options.items())))
    config = change(config, **more)
    label = _same_computation(config, known)
    if label is not None:
        return label, known[label]
    for name, value in more.items():
        if change(start, **{name: value}) != start:
            edits[name] = value
    return ", ".join(f"{name}={value}" for name, value in edits.items()), config


def _edits(start: RunConfig, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the switches whose values differ from those of a run."""
    before = {s.name: s.default for s in switches(start.method)} | dict(start.options)
    edits = {}
    for name, value in values.items():
        value = _as_tables_spell(start.method, name, value)
        if value != before[name]:
            edits[name] = value
    return edits


def _same_computation(config: RunConfig, known: Mapping[str, RunConfig]) -> str | None:
    """Return the label of the known row that computes what a run does."""
    computed, rest = effective(config), replace(config, options={})
    for label, row in known.items():
        if replace(row, options={}) == rest and effective(row) == computed:
            return label
    return None


def effective_settings(config: RunConfig) -> dict[str, str]:
    """Return everything that a row may change, as it takes effect.

    Returns:
        Name -> value in words, of the method, then of recipe and data.
    """
    computed = effective(config)
    values = {"method": config.method}
    for switch in switches(config.method):
        values[switch.name] = getattr(computed, switch.name)
    for part in (config.recipe, config.data):
        for name, value in vars(part).items():
            if name in FREE:
                values.setdefault(name, value)
    return {name: _in_words(value) for name, value in values.items()}


def _in_words(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)
