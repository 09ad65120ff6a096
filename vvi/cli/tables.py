"""`vvi ablate`, `tune`, `worlds`, `budgets` and `rates`: many runs, in many places."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vvi.cli import arguments, dry_run, options

if TYPE_CHECKING:
    from vvi.config import RunConfig


def add(command: arguments.Command) -> None:
    """Add the commands of this file."""
    _add_ablate(command)
    _add_tune(command)
    _add_worlds(command)
    _add_budgets(command)
    _add_rates(command)


def _add_ablate(command: arguments.Command) -> None:
    sub = command("ablate", ablate, "train the runs that a method's tables miss")
    sub.add_argument("method")
    sub.add_argument("--tables", nargs="+")
    sub.add_argument(
        "--split",
        choices=("test", "val"),
        default="test",
        help="who is searched: the test people, or validation people, on whom settings "
        "are chosen (drawn data only); training is the same",
    )
    options.add_preset(sub)
    options.add_seeds(sub, [0, 1, 2])
    options.add_data(sub, "folder to read in place of the preset's")
    options.add_device(sub)
    options.add_resume(sub)
    options.add_pixels(sub)
    options.add_compile(sub)
    options.add_executor(sub)
    task = sub.add_mutually_exclusive_group()
    dry_run.add_sweep(task)
    task.add_argument(
        "--collect", action="store_true", help="copy the results into book/records"
    )


def _add_tune(command: arguments.Command) -> None:
    sub = command(
        "tune",
        tune,
        "draw settings of a method, train each and score validation people; no choice "
        "looks at test people",
    )
    sub.add_argument("method")
    sub.add_argument(
        "--trials",
        type=arguments.integer(1),
        default=8,
        help="how many, the main row among them (default: 8)",
    )
    sub.add_argument(
        "--out",
        type=arguments.path,
        metavar="FILE",
        help="table of the trials (default: book/records/tuning/METHOD.csv)",
    )
    task = sub.add_mutually_exclusive_group()
    dry_run.add_sweep(task)
    task.add_argument(
        "--collect",
        action="store_true",
        help="at the end search the test people, with the best trial alone, and copy "
        "that result into book/records",
    )
    options.add_preset(sub)
    options.add_device(sub)
    options.add_pixels(sub)
    options.add_executor(sub)


def _add_worlds(command: arguments.Command) -> None:
    sub = command(
        "worlds",
        worlds,
        "train what is missing of the runs in worlds where one cue is dosed, "
        "each idea on and off",
    )
    sub.add_argument(
        "worlds",
        nargs="*",
        metavar="WORLD",
        help="bad-frames, gap, time, place, bars (default: all)",
    )
    options.add_seeds(sub, [0, 1])
    task = sub.add_mutually_exclusive_group()
    task.add_argument(
        "--plan",
        action="store_true",
        help="count the runs and what they cost; train nothing",
    )
    dry_run.add_sweep(task)
    task.add_argument(
        "--oracles",
        action="store_true",
        help="measure how far each cue alone tells people apart, into "
        "book/records/worlds/oracles.csv",
    )
    task.add_argument(
        "--collect",
        action="store_true",
        help="copy the results that are there into book/records; train nothing",
    )
    options.add_preset(sub, "half")
    options.add_device(sub)
    options.add_pixels(sub)
    options.add_executor(sub)


def _add_budgets(command: arguments.Command) -> None:
    sub = command(
        "budgets",
        budgets,
        "train the row that stands for each paper for a third of the steps, all of "
        "them, and twice as many",
    )
    _add_study(sub, [0])


def _add_rates(command: arguments.Command) -> None:
    sub = command(
        "rates",
        rates,
        "train the rows of some ideas, with each and without it, at twice the learning "
        "rate",
    )
    _add_study(sub, [0, 1, 2])


def _add_study(sub: argparse.ArgumentParser, seeds: list[int]) -> None:
    """Add what studies of rows of several methods share.

    Args:
        sub: parser of the command.
        seeds: that are trained by default.
    """
    sub.add_argument("methods", nargs="*", metavar="METHOD", help="default: all")
    options.add_seeds(sub, seeds)
    task = sub.add_mutually_exclusive_group()
    dry_run.add_sweep(task)
    task.add_argument(
        "--collect",
        action="store_true",
        help="copy the results that are there into book/records; train nothing",
    )
    options.add_preset(sub)
    options.add_device(sub)
    options.add_pixels(sub)
    options.add_executor(sub)


def _executor(args: argparse.Namespace) -> AbstractContextManager[Any]:
    """Open what trains the runs: here, processes, Dask or Slurm."""
    from vvi.experiment import executors
    from vvi.runtime import paths

    where = args.executor or ("processes" if args.workers else "here")
    jobs = paths.runs() / ".jobs"
    return executors.connect(where, args.workers, jobs, **dict(args.options or []))


def ablate(args: argparse.Namespace) -> int:
    """Train the missing runs of a method's tables.

    Raises:
        ValueError: `--collect` with `--data`, or a table of another kind of data.
    """
    from vvi import methods
    from vvi.experiment import ablation

    if args.collect and args.data:
        raise ValueError("--collect is for the preset's data: leave out --data")
    wanted = []
    for table in args.tables or list(methods.module(args.method).ABLATIONS):
        rows = ablation.configs(args.method, table, args.preset, args.seeds, args.split)
        if args.data and not args.tables and not _fits(table, rows, args.data):
            continue
        wanted += ablation.accepted(rows)
    if args.dry_run:
        print(*dry_run.sweep(args, wanted, args.data), sep="\n")
        return 0
    run_options = dict(
        data=args.data,
        device=args.device,
        pixels=args.pixels,
        compiled=args.compile,
        resume=args.resume,
    )
    with _executor(args) as executor:
        count = ablation.train_missing(wanted, executor, **run_options)
    print(f"{count} runs trained, {len({c.hash for c in wanted})} wanted")
    if args.collect:
        count = ablation.copy_to_records(
            args.method, args.preset, args.seeds, args.split
        )
        print(f"{count} records in book/records")
    return 0


def _fits(
    table: str, rows: Mapping[str, Sequence[RunConfig]], folder: str | Path
) -> bool:
    """Return whether a folder has the data of a table. Warn where it does not.

    Args:
        table: its name, for the warning.
        rows: label of a row -> its runs.
        folder: of one set, or of several side by side.
    """
    from vvi.data import layout

    held = set(layout.find_sets(folder).values())
    wanted = {c.data.layout for c in chain.from_iterable(rows.values())}
    absent = sorted(wanted - held - {layout.DEFAULT})  # any set stands for the default
    if absent:
        warnings.warn(
            f"table {table!r} is left out: {folder} holds no {' or '.join(absent)}",
            stacklevel=2,
        )
    return not absent


def tune(args: argparse.Namespace) -> int:
    """Train drawn settings of a method and write the table of their scores.

    Raises:
        ValueError: the table would replace something else, or one of more trials.
    """
    from vvi.experiment import tune as tuning

    usual = tuning.log_file(args.method, args.preset)
    out = Path(args.out) if args.out else usual
    _refuse_taken(out)
    if not args.out:
        _refuse_fewer_trials(out, args.trials)
    if args.dry_run:
        drawn = tuning.trials(args.method, args.trials, args.preset)
        wanted = [config for _, config in drawn.values()]
        print(*dry_run.sweep(args, wanted), sep="\n")
        return 0
    run_options = dict(device=args.device, pixels=args.pixels)
    with _executor(args) as executor:
        table = tuning.tune(
            args.method, args.trials, args.preset, executor=executor, **run_options
        )
    file = tuning.write_log(table, out)
    print(table.to_string(index=False, na_rep="-"))
    best = tuning.best(args.method, table) or "the main row"
    print(f"best on validation people: {best}; {len(table)} trials in {file}")
    if args.collect:
        run = tuning.collect(args.method, table, args.preset, **run_options)
        print(f"its result on test people: book/records/{run}")
    return 0


def _refuse_taken(out: Path) -> None:
    """Refuse a table that cannot be written, before any trial is trained.

    Raises:
        ValueError: the name is a folder's, or holds something else than a log.
    """
    from vvi.evaluation import features

    if out.is_dir():
        raise ValueError(f"{out} is a folder: give --out the name of a file")
    features.refuse_foreign(out, "trial,")


def _refuse_fewer_trials(log: Path, count: int) -> None:
    """Refuse to put fewer trials in the place of those that are kept.

    Raises:
        ValueError: the log has more trials.
    """
    kept = len(log.read_text(encoding="utf-8").splitlines()) - 1 if log.exists() else 0
    if kept > count:
        raise ValueError(f"{log} has {kept} trials, not {count}: say --out FILE")


def worlds(args: argparse.Namespace) -> int:
    """Plan, train or collect the runs of the worlds, or measure their oracles.

    Raises:
        ValueError: `--oracles` with the name of a world.
    """
    from vvi.experiment import worlds as study

    names = list(dict.fromkeys(args.worlds)) or list(study.PLAN)
    if args.plan:
        print(study.plan(args.preset, args.seeds, names).to_string())
        return 0
    if args.oracles:
        if args.worlds:
            raise ValueError("--oracles measures every world at once: name none")
        table = study.write_oracles(args.preset).round(3)
        print(table.to_string(index=False, na_rep="-"))
        return 0
    wanted = study.wanted(names, args.preset, args.seeds)
    return _sweep(args, wanted, study.copy_to_records, names)


def budgets(args: argparse.Namespace) -> int:
    """Train or collect the rows of the papers at other lengths."""
    from vvi.experiment import budgets as study

    wanted = study.wanted(args.methods, args.preset, args.seeds)
    return _sweep(args, wanted, study.copy_to_records, args.methods)


def rates(args: argparse.Namespace) -> int:
    """Train or collect the rows of some ideas at another learning rate."""
    from vvi.experiment import rates as study

    wanted = study.wanted(args.methods, args.preset, args.seeds)
    return _sweep(args, wanted, study.copy_to_records, args.methods)


def _sweep(
    args: argparse.Namespace,
    wanted: Sequence[RunConfig],
    copy: Callable[..., int],
    names: Sequence[str],
) -> int:
    """List, collect or train the runs of a study.

    Args:
        args: of the command.
        wanted: all runs.
        copy: puts those that are there into `book/records`.
        names: of the worlds or methods that the command names.
    """
    from vvi.experiment import ablation

    if args.dry_run:
        print(*dry_run.sweep(args, wanted), sep="\n")
        return 0
    if args.collect:
        count = copy(names, args.preset, args.seeds)
        print(f"{count} of {len(wanted)} records in book/records")
        return 0
    with _executor(args) as executor:
        count = ablation.train_missing(
            wanted, executor, device=args.device, pixels=args.pixels
        )
    print(f"{count} runs trained, {len(wanted)} wanted")
    return 0
