"""The command line: argument parsing only. `vvi --help` imports no torch."""

from __future__ import annotations

import argparse
import json
import sys

_SIZES = ("tiny", "standard", "full", "paper")


def main(argv: list[str] | None = None) -> int:
    """Run one command; a mistake of the user ends with one line on stderr and exit code 2, a failed check with 1."""
    args = _parser().parse_args(argv)
    try:
        return args.do(args)
    except (ValueError, OSError, RuntimeError) as error:
        if args.debug:
            raise
        print(f"vvi {args.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"vvi {args.command}: interrupted; the same command goes on where it can", file=sys.stderr)
        return 130


def _synth(args) -> int:
    from vvi.data import synthetic

    print(synthetic.write(args.root, preset=args.preset, layout=args.layout, seed=args.seed, workers=args.workers))
    return 0


def _check(args) -> int:
    from vvi.data import check

    report = check.report(args.root, layout=args.layout, images=not args.no_images, **dict(args.set or []))
    print(report.text)
    return 1 if report.errors else 0


def _settings(args, seed: int):
    from vvi.config import preset

    return preset(args.preset, args.method, seed=seed, **dict(args.set or []))


def _train(args) -> int:
    from vvi import experiment

    for seed in args.seeds:
        result = experiment.run(_settings(args, seed), retrain=args.retrain, device=args.device, data=args.data, pixels=args.pixels)
        print(f"seed {seed}  run {result.run_id}{'  (stored)' if result.stored else ''}  {result.data_label + ' data'}")
        for direction in result.record.scores:
            print(f"  {direction}  {result.metrics(direction)}")
    return 0


def _eval(args) -> int:
    from vvi import evaluate, experiment

    for seed in args.seeds:
        settings = experiment.located(_settings(args, seed), args.data)
        found = experiment.dataset(settings.data, args.data, seed=seed)
        method = experiment.trained(settings, len(found.labels))
        for direction, side in evaluate.evaluate(method, found, experiment.frames(settings.data, found), settings.data.frames, progress=True).items():
            print(f"seed {seed}  {direction}  {side.metrics()}")
    return 0


def _ablate(args) -> int:
    from vvi import ablate, methods

    tables = args.tables or list(methods.module(args.method).ABLATIONS)
    wanted = [c for table in tables for settings in ablate.configs(args.method, table, args.preset, args.seeds).values() for c in settings]
    with _pool(args.workers) as pool:
        print(f"{ablate.fill(wanted, pool, device=args.device, pixels=args.pixels)} runs trained, {len({c.hash for c in wanted})} wanted")
    if args.collect:
        print(f"{ablate.collect(args.method, args.preset, args.seeds)} records in book/records")
    return 0


def _runs(args) -> int:
    from vvi import experiment, paths, store

    for folder in (paths.runs(), paths.records()):
        for file in sorted(folder.glob("*/record.json")):
            record = store.load_record(file.parent)
            stale = "" if dict(record.versions) == experiment.versions(record.config) else "  STALE"
            numbers = "  ".join(f"{d} R1 {100 * s['rank1']:.2f} mAP {100 * s['mAP']:.2f}" for d, s in record.scores.items())
            c = record.config
            what = " ".join([c.preset, c.method, *(f"{k}={v}" for k, v in c.options.items()), f"T={c.data.frames}", f"seed {c.seed}"])
            print(f"{folder.name}/{file.parent.name}  {what}  {numbers}{stale}")
    return 0


def _verify(args) -> int:
    from vvi import ablate

    checks = ablate.verify(args.sample, device=args.device)
    for check in checks:
        shown = "  ".join(f"{k} {v:+.2f}" for k, v in check.difference.items())
        where = "same machine and versions" if check.same_machine else "another machine"
        print(f"{'ok  ' if check.holds else 'FAIL'} {check.run_id}  {shown} points  ({where}: {check.allowed} allowed)")
    return 0 if all(check.holds for check in checks) else 1


def _pool(workers: int):
    """That many processes of one thread each: on a CPU two such runs end sooner than one after the other on two threads."""
    from concurrent.futures import ProcessPoolExecutor
    from contextlib import nullcontext
    from multiprocessing import get_context

    return ProcessPoolExecutor(workers, get_context("spawn"), initializer=_one_thread) if workers else nullcontext()


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def _field(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not name=value")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vvi", description="Video-based visible-infrared person re-identification: data, training, evaluation, records.")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, do, help: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help, description=help)
        sub.set_defaults(do=do)
        return sub

    synth = command("synth", _synth, "write the embedded synthetic data set in a real on-disk layout")
    synth.add_argument("root")
    synth.add_argument("--preset", default="standard", choices=_SIZES[:3])
    synth.add_argument("--layout", default="hitsz-vcm", choices=("hitsz-vcm", "sysu-mm01", "regdb"))
    synth.add_argument("--seed", type=int, default=0)
    synth.add_argument("--workers", type=int, default=None)
    check = command("check", _check, "read a data set, print counts beside the expected ones and every problem found")
    check.add_argument("root")
    check.add_argument("--layout", default="auto", choices=("auto", "hitsz-vcm", "sysu-mm01", "regdb"))
    check.add_argument("--no-images", action="store_true", help="look at the lists only")
    check.add_argument(
        "--set", type=_field, nargs="+", metavar="OPTION=VALUE", help="options of the reader, e.g. strict=false min_seq_len=2 mode=indoor trial=3"
    )
    pixels = {"default": "files", "choices": ("files", "cache", "resident"), "help": "where frames come from: changes the speed, not the numbers"}
    for name, do, text in (
        ("train", _train, "train (or find) one run per seed and print its numbers"),
        ("eval", _eval, "evaluate the stored weights of a run again"),
    ):
        sub = command(name, do, text)
        sub.add_argument("method")
        sub.add_argument("--preset", default="standard", choices=_SIZES)
        sub.add_argument("--seeds", type=int, nargs="+", default=[0])
        sub.add_argument("--set", type=_field, nargs="+", metavar="FIELD=VALUE", help="fields to change, e.g. frames=4 lr=0.001")
        sub.add_argument("--data", default=None, help="folder to read in place of the preset's")
        sub.add_argument("--device", default="auto")
        if name == "train":
            sub.add_argument("--retrain", action="store_true", help="train even when a stored result exists")
            sub.add_argument("--pixels", **pixels)
    ablate = command("ablate", _ablate, "train the runs that a method's tables miss")
    ablate.add_argument("method")
    ablate.add_argument("--tables", nargs="+")
    ablate.add_argument("--preset", default="standard", choices=_SIZES)
    ablate.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    ablate.add_argument("--device", default="auto")
    ablate.add_argument("--pixels", **pixels)
    ablate.add_argument("--workers", type=int, default=0, help="processes of one thread each that train side by side (0: here, one run after the other)")
    ablate.add_argument("--collect", action="store_true", help="copy the results into book/records")
    command("runs", _runs, "list stored results")
    verify = command("verify", _verify, "train a sample of the committed records again and compare")
    verify.add_argument("--sample", type=int, default=1)
    verify.add_argument("--device", default="auto")
    return parser


if __name__ == "__main__":
    sys.exit(main())
