"""Parse the command line and run one command. `vvi --help` imports no torch."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import warnings
from collections.abc import Iterator

from vvi import methods
from vvi.cli import parser


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code.

    A mistake of the user is one line on stderr and exit code 2. A failed check is 1.
    """
    args = parser.build().parse_args(argv)
    args.typed = sys.argv[1:] if argv is None else argv
    try:
        with _plain_warnings(args.command):
            _check_method(args)
            return args.do(args)
    except BrokenPipeError:  # the reader has read enough, such as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        if args.debug:
            raise
        print(f"vvi {args.command}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            f"vvi {args.command}: interrupted; the same command goes on where it can",
            file=sys.stderr,
        )
        return 130


def _check_method(args: argparse.Namespace) -> None:
    """Refuse an unknown method before torch is imported, unless features are scored."""
    if getattr(args, "method", None) and not getattr(args, "features", None):
        methods.check_name(args.method)


@contextlib.contextmanager
def _plain_warnings(command: str) -> Iterator[None]:
    """Print a warning as one line, without the line of code that raised it."""

    def one_line(message, category, filename, lineno, source=None) -> str:
        return f"vvi {command}: warning: {' '.join(str(message).split())}\n"

    before = warnings.formatwarning
    warnings.formatwarning = one_line
    try:
        yield
    finally:
        warnings.formatwarning = before
