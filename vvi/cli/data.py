"""`vvi synth` and `vvi check`: write the synthetic data set, check one on disk."""

from __future__ import annotations

import argparse

from vvi.cli import arguments, options, settings


def add(command: arguments.Command) -> None:
    """Add the commands of this file."""
    _add_synth(command)
    _add_check(command)


def _add_synth(command: arguments.Command) -> None:
    sub = command(
        "synth",
        synth,
        "write the embedded synthetic data set in a real on-disk layout",
    )
    sub.add_argument("root", type=arguments.path)
    sub.add_argument("--preset", default="standard", help=options.SETS)
    sub.add_argument("--layout", default="hitsz-vcm", choices=options.LAYOUTS)
    sub.add_argument("--seed", type=arguments.integer(0), default=0)
    sub.add_argument("--workers", type=arguments.integer(1), default=None)


def _add_check(command: arguments.Command) -> None:
    sub = command(
        "check",
        check,
        "read a data set, print counts beside the expected ones "
        "and every problem found",
    )
    sub.add_argument("root", type=arguments.path)
    sub.add_argument("--layout", default="auto", choices=("auto", *options.LAYOUTS))
    sub.add_argument("--no-images", action="store_true", help="look at the lists only")
    sub.add_argument(
        "--set",
        type=arguments.field,
        action=arguments.Settings,
        nargs="+",
        metavar="OPTION=VALUE",
        help="options of the reader, "
        "e.g. strict=false min_seq_len=2 mode=indoor trial=3",
    )


def synth(args: argparse.Namespace) -> int:
    """Write the synthetic data set."""
    from vvi.data import synthetic

    root = synthetic.write(
        args.root,
        preset=args.preset,
        layout=args.layout,
        seed=args.seed,
        workers=args.workers,
    )
    print(root)
    return 0


def check(args: argparse.Namespace) -> int:
    """Read a data set and print its problems. Return 1 where there are any.

    Raises:
        ValueError: `--set` changes what an option of its own says, or the reader does
            not have an option.
    """
    from vvi.data import check as checks

    changes = dict(args.set or [])
    own = ("root", "layout", "images")
    settings.refuse_options(changes, own, "ROOT, --layout or --no-images")
    report = checks.report(
        args.root, layout=args.layout, images=not args.no_images, **changes
    )
    print(report.text)
    return 1 if report.errors else 0
