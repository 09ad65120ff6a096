"""The configs that `METHOD`, `--preset`, `--seeds` and `--set` name."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vvi.config import RunConfig

#: Options of `--rerank`, as they are typed -> as the function calls them.
RERANK = {"k1": "k1", "k2": "k2", "lambda": "weight", "weight": "weight"}
#: Fields of the data that decide which people are searched.
PEOPLE = ("source", "seed", "layout", "min_seq_len", "split")
#: Settings that say how a folder is read. Rows that are compared are read alike.
READING = ("layout", "strict", "foreign", "min_seq_len")
#: The preset of commands that do not name one.
USUAL = "standard"

Named = tuple[str, "RunConfig"]


def changed_row(args: argparse.Namespace, seed: int) -> tuple[Named, Named]:
    """Resolve what `--set` makes of the main row of a method.

    Settings that say how data are read change the main row as well: a folder that needs
    `strict=false` needs it for every row.

    Without a preset it is the row of the standard one.

    Returns:
        (name, config) of the changed row, and (name, config) of the main row, read in
        the same way.

    Raises:
        ValueError: `--set` changes what an option of its own says, or a setting is
            unknown or does not fit.
    """
    from vvi import methods
    from vvi.experiment import ablation, method_switches

    changes = dict(args.set or [])
    refuse_options(changes, ("method", "preset", "seed"), "METHOD, --preset or --seeds")
    changes = method_switches.read(args.method, changes)
    rows = ablation.labelled_rows(args.method, args.preset or USUAL, seed)
    reading = {n: changes.pop(n) for n in READING if n in changes}
    rows = _read_alike(rows, reading, changes.get("source"), args.data)
    base = ": ".join(methods.module(args.method).MAIN)
    switches = {switch.name for switch in method_switches.switches(args.method)}
    wanted = {name: changes.pop(name) for name in switches & changes.keys()}
    name, config = method_switches.resolve_settings(rows[base], wanted, changes, rows)
    if name not in rows:
        name = f"{base}, {name}"
    warn_of_unused(config, rows[base], changes)
    read = "".join(f", {n}={v}" for n, v in reading.items() if n != "layout")
    return (name + read, config), (base + read, rows[base])


def warn_of_unused(
    config: RunConfig, main: RunConfig, changes: Mapping[str, Any]
) -> None:
    """Warn of changes of the recipe that change no number of a run.

    Args:
        config: of the run.
        main: the main row of its method.
        changes: settings of every run that were typed.
    """
    from vvi import experiment
    from vvi.engine import optim

    usual, recipe = vars(main.recipe), vars(config.recipe)
    changed = [n for n in changes if n in recipe and recipe[n] != usual[n]]
    unused = optim.unused(config.recipe, ())
    if unused.keys() & set(changed):
        small = replace(config, backbone="micro", weights=None)
        unused = optim.unused(config.recipe, experiment.build(small, 2).phases)
    for name in changed:
        if name in unused:
            why = f"{name}={changes[name]} has no effect here: {unused[name]}"
            warnings.warn(why, stacklevel=2)


def _read_alike(
    rows: Mapping[str, RunConfig],
    reading: Mapping[str, Any],
    source: str | None,
    folder: Any,
) -> dict[str, RunConfig]:
    """Give rows one way of reading, and the recipe of the layout that is read.

    Args:
        rows: of a method.
        reading: settings among `READING`.
        source: where `--set` changes it.
        folder: of `--data`.
    """
    from vvi import experiment
    from vvi.config import change, for_layout

    usual = next(iter(rows.values())).data
    others = {name: value for name, value in reading.items() if name != "layout"}
    layout = experiment.layout_of(usual, folder, source, reading.get("layout"))
    adapted = {}
    for name, config in rows.items():
        is_usual = config.data.layout == usual.layout
        config = for_layout(config, layout) if is_usual else config
        adapted[name] = change(config, **others)
    return adapted


def reading_words(args: argparse.Namespace) -> str:
    """Return the settings of `--set` that say how data are read, as they were typed."""
    typed = [f"{name}={value}" for name, value in args.set or [] if name in READING]
    return " ".join(typed)


def refuse_options(changes: Mapping[str, Any], options: tuple, instead: str) -> None:
    """Refuse `--set` of what an option of its own says.

    Args:
        changes: what `--set` changes.
        options: names that it must not change.
        instead: where these are given, such as "--preset or --seeds".

    Raises:
        ValueError: one of `options` is among the changes.
    """
    taken = changes.keys() & set(options)
    if taken:
        raise ValueError(f"--set cannot change {min(taken)}: give it as {instead}")


def wanted_seeds(args: argparse.Namespace) -> list[int]:
    """Return the seeds of `--seeds`, by default 0 or, of RegDB, all its trials."""
    from vvi import experiment
    from vvi.evaluation import protocols

    if args.seeds is not None:
        return args.seeds
    (_, config), _ = changed_row(args, 0)
    if config.data.layout != "regdb":
        return [0]
    return protocols.regdb_seeds(experiment.dataset(config.data, args.data).root)


def other_people(config: RunConfig, main: RunConfig) -> list[str]:
    """Return the fields of the data that let two runs search other people."""
    return [n for n in PEOPLE if getattr(config.data, n) != getattr(main.data, n)]


def knows(weights: str) -> str:
    """Say why a run or file of weights takes no settings."""
    return f"{weights} knows its own settings, leave them out"


def refuse_other_method(
    args: argparse.Namespace, method: str, trained: RunConfig
) -> None:
    """Refuse weights of another method than the one that was named.

    Args:
        args: the arguments, whose `weights` the error quotes.
        method: the one that was named.
        trained: config of the run whose weights they are.

    Raises:
        ValueError: naming both.
    """
    if method != trained.method:
        raise ValueError(
            f"--weights {args.weights} are of {trained.method}, not of {method}"
        )


def refuse_other_run(args: argparse.Namespace, trained: RunConfig) -> None:
    """Refuse a size or seeds that are not those of the run whose weights are used.

    Raises:
        ValueError: naming both.
    """
    if args.preset not in (None, trained.preset):
        raise ValueError(
            f"--preset {args.preset}: {args.weights} is of the size {trained.preset}"
        )
    if getattr(args, "seeds", None) not in (None, [trained.seed]):
        raise ValueError(
            f"--seeds: {args.weights} is one run, of seed {trained.seed}; leave it out"
        )


def rerank_options(typed: list[tuple[str, str]] | None) -> dict[str, Any]:
    """Read `--rerank k1=20 lambda=0.3`. Without the option the result is empty.

    Raises:
        ValueError: a parameter is unknown or does not fit.

    >>> rerank_options(None), rerank_options([]), rerank_options([("lambda", ".1")])
    ({}, {'k1': 20, 'k2': 6, 'weight': 0.3}, {'k1': 20, 'k2': 6, 'weight': 0.1})
    """
    from vvi.evaluation import rerank
    from vvi.runtime import validation

    if typed is None:
        return {}
    options: dict[str, Any] = {"k1": 20, "k2": 6, "weight": 0.3}
    for name, text in typed:
        if name not in RERANK:
            known = {"": ["k1", "k2", "lambda"]}
            raise validation.unknown(name, "--rerank has no option", known)
        hint = float if RERANK[name] == "weight" else int
        options[RERANK[name]] = validation.setting(text, hint)
    rerank.check_options(**options)
    return options


def how_read(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings among some that say how data are read, by their types.

    >>> how_read({"strict": "false", "min_seq_len": "5", "lr": "1"})
    {'strict': False, 'min_seq_len': 5}
    """
    from vvi.experiment import method_switches
    from vvi.runtime import validation

    types = method_switches.every_run()
    reading = {}
    for name in READING:
        if name in changes:
            reading[name] = validation.setting(changes[name], types[name])
    return reading


def given(args: argparse.Namespace, names: Sequence[str]) -> list[str]:
    """Return which of some options were typed, as `--name`.

    They are options that are None unless they are typed.
    """
    typed = [name for name in names if getattr(args, name) is not None]
    return ["--" + name.replace("_", "-") for name in typed]


def refuse_without_effect(
    args: argparse.Namespace, names: Sequence[str], why: str
) -> None:
    """Refuse options that would be ignored.

    Args:
        args: of the command.
        names: options that have no effect here.
        why: the end of the message.

    Raises:
        ValueError: one of them was typed.
    """
    ignored = given(args, names)
    if ignored:
        raise ValueError(f"{' '.join(ignored)} would have no effect: {why}")
