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
from vvi.runtime import validation


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code.

    A mistake of the user is one line on stderr and exit code 2. A failed check is 1.
    """
    args = parser.build().parse_args(argv)
    args.typed = sys.argv[1:] if argv is None else argv
    try:
        with _plain_warnings(args.command):
            _spell_methods(args)
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


def _spell_methods(args: argparse.Namespace) -> None:
    """Spell methods as the package does, in place, unless features are scored.

    An unknown method is refused here, before torch is imported.
    """
    if getattr(args, "features", None):
        return
    if getattr(args, "method", None):
        args.method = _spelled(args.method)
    if getattr(args, "methods", None):
        args.methods = [_spelled(name) for name in args.methods]


def _spelled(name: str) -> str:
    return validation.choice("method", name, methods.names())


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
