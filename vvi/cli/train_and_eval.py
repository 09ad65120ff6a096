"""`vvi train` and `vvi eval`: one method, one or several seeds."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vvi.cli import arguments, dry_run, options, own, settings

if TYPE_CHECKING:
    from vvi.config import RunConfig
    from vvi.experiment import Result
    from vvi.experiment.transfer import Tested


def add(command: arguments.Command) -> None:
    """Add the commands of this file."""
    sub = command(
        "train",
        train,
        "train (or find) the main row of a method, or what --set makes of it, "
        "and print its numbers",
    )
    sub.add_argument("method")
    _add_row(sub, settings.USUAL, "auto")
    sub.add_argument(
        "--retrain",
        action="store_true",
        help="train even when a stored result exists",
    )
    options.add_resume(sub)
    sub.add_argument(
        "--log",
        choices=("csv", "tensorboard"),
        help="the losses beside the run while it trains "
        "(tensorboard: the extra [logs])",
    )
    options.add_pixels(sub)
    options.add_compile(sub)
    dry_run.add_run(sub)
    _add_eval(command)


def _add_eval(command: arguments.Command) -> None:
    sub = command(
        "eval",
        evaluate,
        "evaluate the stored weights of a run again, or features made elsewhere",
    )
    sub.add_argument("method", nargs="?")
    _add_row(sub, None, None)
    sub.add_argument(
        "--weights",
        type=arguments.path,
        metavar="RUN_OR_FILE",
        help="a run (as `vvi runs` lists it) or a file of weights, tested on --data, "
        "which may be another set",
    )
    own.add_features(sub)


def _add_row(
    sub: argparse.ArgumentParser, size: str | None, device: str | None
) -> None:
    """Add the options that name a row, its seeds, its data and its device.

    Args:
        sub: parser of a command.
        size: preset of a row that names none.
        device: as in `options.add_device`.
    """
    options.add_preset(sub, size)
    options.add_seeds(sub, None, "; default: 0, of RegDB 0 to 9, its ten trials")
    options.add_set(
        sub,
        "fields to change, e.g. frames=4 lr=0.001, or switches of the method "
        "(`vvi switches METHOD` lists them)",
    )
    options.add_data(sub, "folder to read in place of the preset's")
    options.add_device(sub, device)


def train(args: argparse.Namespace) -> int:
    """Train a row with each seed, print its scores, compare it with the main row."""
    from vvi import experiment
    from vvi.engine import distributed
    from vvi.evaluation import protocols

    if args.dry_run:
        seeds = settings.wanted_seeds(args)
        wanted = [settings.changed_row(args, seed)[0][1] for seed in seeds]
        print(*dry_run.run(args, wanted), sep="\n")
        return 0
    run_options = _run_options(args)
    results, mains = [], []
    for seed in settings.wanted_seeds(args):
        (name, config), (base, main) = settings.changed_row(args, seed)
        result = experiment.run(config, retrain=args.retrain, **run_options)
        results.append(result)
        mains.append(main)
        if distributed.is_first():
            _print_run(result, name, seed, args.log)
    if not distributed.is_first():
        return 0
    layout = results[0].config.data.layout
    for line in protocols.over_trials(layout, [r.record.scores for r in results]):
        print(line)
    if config != main:
        print(_compared(args, results, config, base, mains))
    return 0


def _run_options(args: argparse.Namespace) -> dict[str, Any]:
    return dict(
        device=args.device,
        data=args.data,
        pixels=args.pixels,
        compiled=args.compile,
        resume=args.resume,
        log=args.log,
    )


def _print_run(result: Result, name: str, seed: int, log: str | None) -> None:
    """Print the scores of one run, and where its losses lie."""
    from vvi.engine import logs
    from vvi.evaluation import protocols
    from vvi.runtime import paths

    stored = "  (stored)" if result.stored else ""
    print(f"seed {seed}  run {result.run_id}{stored}  {result.data_name} data  {name}")
    if log:
        print(f"  losses in {paths.runs() / result.run_id / logs.NAME / log}")
    for change in result.record.environment.get("resumed", []):
        moved = f"  gone on elsewhere at {change}"
        print(f"{moved}: its numbers are those of no one machine")
    for line in protocols.protocol_lines(result.record.scores, result.arrays):
        print(f"  {line}")


def _compared(
    args: argparse.Namespace,
    results: list[Result],
    config: RunConfig,
    base: str,
    mains: list[RunConfig],
) -> str:
    """Return the line that compares runs with the main row, or why it cannot.

    Args:
        args: of the command.
        results: one for each seed.
        config: of the last of them, as it was typed.
        base: name of the main row.
        mains: the main row with the same seeds.
    """
    from vvi import experiment
    from vvi.book import comparison, figures
    from vvi.experiment import ablation

    others = settings.other_people(config, mains[-1])
    if others:
        fields = ", ".join(others)
        return f"not compared with {base}: other people are searched ({fields})"
    lacking = ablation.missing(mains, args.data)
    if lacking:
        seeds = f"{len(lacking)} of {len(mains)} seeds not stored"
        reading = settings.reading_words(args)
        usual = f"with --set {reading} alone" if reading else "without --set"
        return f"to compare with {base}, train it: the same command {usual} ({seeds})"
    run_options = _run_options(args) | {"log": None}
    main_results = [experiment.run(main, **run_options) for main in mains]
    scene = figures.scene(config, args.data)
    gain = comparison.difference(results, main_results, scene)
    interval = f"{gain.low:+.1f} to {gain.high:+.1f}"
    over = f"identities and {len(results)} seed(s)"
    if scene.dataset.layout == "regdb" and len(results) > 1:
        over = f"{len(results)} trials"
    return (
        f"rank-1 ir2vis minus {base}: {gain.value:+.1f} ({interval}, 95 % over {over})"
    )


def evaluate(args: argparse.Namespace) -> int:
    """Evaluate stored weights again, weights on other data, or files of features.

    Raises:
        ValueError: nothing to evaluate is named, an option has no effect, or `--out`
            names a folder or another table.
    """
    from vvi.engine import train as engine

    if args.features:
        return own.score_command(args)
    if not args.method and not args.weights:
        raise ValueError(
            "say what to evaluate: METHOD, --weights RUN_OR_FILE or --features FILE"
        )
    settings.refuse_without_effect(args, ("rule",), "only --features takes a rule")
    if args.out:
        own.refuse_taken(args.out)
    device = engine.fabric(args.device or "auto").device
    if args.weights:
        return _evaluate_weights(args, device)
    return _evaluate_row(args, device)


def _evaluate_row(args: argparse.Namespace, device: Any) -> int:
    """Evaluate the stored weights of a row, seed by seed."""
    from vvi.evaluation import protocols

    seeds = settings.wanted_seeds(args)
    if args.out and len(seeds) > 1:
        raise ValueError("--out writes the features of one run: say one seed")
    scores, layout = [], ""
    for seed in seeds:
        tested, layout = _evaluate_seed(args, seed, device)
        scores.append(tested.scores)
    for line in protocols.over_trials(layout, scores):
        print(line)
    return 0


def _evaluate_seed(
    args: argparse.Namespace, seed: int, device: Any
) -> tuple[Tested, str]:
    """Evaluate and print one seed of a row, and return its scores and its layout."""
    from vvi import experiment
    from vvi.experiment import transfer
    from vvi.runtime import paths

    config = experiment.resolve_data(settings.changed_row(args, seed)[0][1], args.data)
    dataset = experiment.dataset(config.data, args.data, seed=seed)
    _refuse_several_galleries(args, dataset.layout, one_trial=True)
    method = experiment.load_trained(config, len(dataset.labels)).to(device)
    weights = paths.runs() / config.hash / experiment.WEIGHTS
    trained = transfer.Trained(config, method, weights)
    target = transfer.Target(config.data, dataset.root, "")
    tested = transfer.test(trained, target, seed, progress=True)
    _print_tested(args, tested, trained, target, f"seed {seed}  ")
    return tested, dataset.layout


def _evaluate_weights(args: argparse.Namespace, device: Any) -> int:
    """Test weights of a run or a file on data that they may never have seen."""
    from vvi.experiment import transfer
    from vvi.experiment.trained_network import load_run_or_file

    changes = dict(args.set or [])
    reading = settings.how_read(changes)
    config = _config_of_file(args, changes)
    trained = load_run_or_file(args.weights, config)
    method = trained.settings.method
    settings.refuse_other_method(args, args.method or method, trained.settings)
    if trained.settings is not config:
        _refuse_settings(changes)
    settings.refuse_other_run(args, trained.settings)
    target = transfer.resolve(trained.settings.data, args.data, **reading)
    one_trial = target.data.source == trained.settings.data.source
    _refuse_several_galleries(args, target.data.layout, one_trial)
    trained.method.to(device)
    data_name = transfer.data_name(trained)
    print(f"{method}, trained on {data_name}, tested on {target.name}")
    tested = transfer.test(trained, target, trained.settings.seed, progress=True)
    _print_tested(args, tested, trained, target, "  ")
    return 0


def _config_of_file(
    args: argparse.Namespace, changes: dict[str, str]
) -> RunConfig | None:
    """Return the config that METHOD and `--set` name, or None without METHOD."""
    others = {n: v for n, v in changes.items() if n not in settings.READING}
    if args.method:
        alone = vars(args) | {"data": None, "set": list(others.items())}
        return settings.changed_row(argparse.Namespace(**alone), 0)[0][1]
    _refuse_settings(changes)
    return None


def _refuse_settings(changes: Mapping[str, str]) -> None:
    """Refuse settings of a run that knows its own, but for how data are read."""
    others = [name for name in changes if name not in settings.READING]
    if others:
        raise ValueError(
            f"--set {min(others)}: a run knows its own settings; only "
            f"{', '.join(settings.READING)} say how data are read"
        )


def _refuse_several_galleries(
    args: argparse.Namespace, layout: str, one_trial: bool
) -> None:
    """Refuse `--out` and `--rerank` where a protocol has no one gallery.

    Args:
        args: of the command.
        layout: of the data.
        one_trial: whether RegDB is searched by the people of one trial alone.

    Raises:
        ValueError: one of them was typed, and the protocol has several galleries.
    """
    if layout == "sysu-mm01" or (layout == "regdb" and not one_trial):
        why = (
            f"the protocol of {layout} has several galleries, so there is no one file "
            "of features and no one re-ranked line; leave it out, or take folders of "
            "its pictures through vvi embed and vvi rank"
        )
        settings.refuse_without_effect(args, ("out", "rerank"), why)


def _print_tested(
    args: argparse.Namespace, tested: Tested, trained: Any, target: Any, head: str
) -> None:
    """Print scores, re-ranked ones with `--rerank`, and write features with `--out`.

    Args:
        args: of the command.
        tested: what to print.
        trained: the network.
        target: the data.
        head: before each line.
    """
    from vvi.evaluation import features

    for line in tested.lines:
        print(f"{head}{line}")
    if args.rerank:
        for direction, side in tested.sides.items():
            print(f"{head}{direction}  re-ranked {side.reranked(**args.rerank)}")
    if args.out:
        table = features.of_sides(tested.sides, target.root, trained.about)
        print(features.save(table, args.out))
