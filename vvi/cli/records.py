"""`vvi switches`, `runs` and `verify`: what can be switched, what is stored."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vvi.cli import arguments, options

if TYPE_CHECKING:
    from vvi.config import DataConfig, Recipe
    from vvi.experiment.ablation import Check
    from vvi.experiment.store import Record


def add(command: arguments.Command) -> None:
    """Add the commands of this file."""
    sub = command(
        "switches",
        switches,
        "list the switches of a method, which `train --set` takes, with what they mean",
    )
    sub.add_argument("method")
    sub = command(
        "runs", runs, "list stored results, each with the row of a table that it is"
    )
    sub.add_argument("methods", nargs="*", metavar="METHOD")
    sub.add_argument("--preset", choices=options.SIZES)
    sub = command(
        "verify", verify, "train a sample of the committed records again and compare"
    )
    sub.add_argument("runs", nargs="*", metavar="RUN", help="ids; default: a sample")
    sub.add_argument("--sample", type=arguments.integer(1), default=1)
    sub.add_argument(
        "--log",
        action="store_true",
        help="add what was trained on another processor than its record to "
        "book/records/processors.csv",
    )
    options.add_device(sub)


def switches(args: argparse.Namespace) -> int:
    """Print the switches of a method."""
    from vvi.experiment import method_switches

    print(method_switches.describe(args.method))
    return 0


def runs(args: argparse.Namespace) -> int:
    """Print a line for each stored result. Return 1 where one is damaged."""
    from vvi.experiment import store

    listed, damaged = 0, 0
    for folder in _folders():
        try:
            record = store.load_record(folder)
        except (ValueError, OSError) as error:
            warnings.warn(str(error), stacklevel=2)
            damaged += 1
            continue
        config = record.config
        method_fits = not args.methods or config.method in args.methods
        if method_fits and args.preset in (None, config.preset):
            print(_line(folder, record))
            listed += 1
    if not listed:
        preset = f" at preset {args.preset}" if args.preset else ""
        whose = ", ".join(args.methods) or "any method"
        print(f"no stored result of {whose}{preset}", file=sys.stderr)
    return 1 if damaged else 0


def _folders() -> Iterator[Path]:
    """Yield folders of results, those of this machine before the committed ones."""
    from vvi.runtime import paths

    for root in (paths.runs(), paths.records()):
        for file in sorted(root.glob("*/record.json")):
            yield file.parent


def _line(folder: Path, record: Record) -> str:
    """Return a stored result as one line: where, size, scores, row of a table."""
    from vvi import experiment
    from vvi.evaluation import protocols
    from vvi.experiment import ablation, store

    config = record.config
    current = store.is_current(record, experiment.versions(config))
    stale = "" if current else "  STALE"
    data = experiment.Result(record, stored=True).data_name
    scores = "  ".join(protocols.short_lines(record.scores, record.arrays))
    row = ablation.row_of(config) or _described(record)
    name = f"{folder.parent.name}/{folder.name}"
    size = f"{config.preset:8s}  seed {config.seed}"
    return f"{name}  {size}  {data}  {scores}{stale}  {row}"


def _described(record: Record) -> str:
    """Return the method and settings of a run that is no row of a table."""
    from vvi.config import preset

    config = record.config
    usual = preset(config.preset, config.method)
    words = [f"{name}={value}" for name, value in config.options.items()]
    for name in ("backbone", "weights"):
        if getattr(config, name) != getattr(usual, name):
            words.append(f"{name}={getattr(config, name)}")
    words += _changes(config.recipe, usual.recipe)
    changes = _changes(replace(config.data, source=usual.data.source), usual.data)
    words += [f"data_{word}" if word.startswith("seed=") else word for word in changes]
    words.append(f"T={config.data.frames}")
    if "+" in config.data.source:
        words.append(config.data.source)
    return f"{config.method}, {' '.join(words)}"


def _changes(part: DataConfig | Recipe, usual: DataConfig | Recipe) -> list[str]:
    """Return "name=value" of the fields in which a part of a config is not as usual."""
    values, before = vars(part), vars(usual)
    return [f"{k}={v}" for k, v in values.items() if k != "frames" and v != before[k]]


def verify(args: argparse.Namespace) -> int:
    """Train some committed records again. Return 1 where one is not reproduced."""
    from vvi.experiment import ablation, elsewhere

    checks = ablation.verify(args.sample, device=args.device, runs=args.runs)
    for check in checks:
        print(_verified(check))
    if args.log:
        elsewhere.add(checks)
    return 0 if all(check.holds for check in checks) else 1


def _verified(check: Check) -> str:
    verdict = "ok  " if check.holds else "FAIL"
    points = "  ".join(f"{k} {v:+.2f}" for k, v in check.difference.items())
    where = "same machine and versions" if check.same_machine else "another machine"
    allowed = f"({where}: {check.allowed} allowed)"
    return f"{verdict} {check.run_id}  {points} points  {allowed}"
