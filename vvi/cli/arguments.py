"""What the command line reads: numbers, `name=value`, names of pictures; a mistake is one line. Imports no torch."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from vvi.runtime import validation

_PYTHON = {
    "true": "true",
    "false": "false",
    "yes": "true",
    "no": "false",
    "none": "null",
    "null": "null",
}  # as people and pages write them


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, as any other mistake of the command line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and end with exit code 2."""
        self.exit(2, f"{self.prog}: {message} ({self.prog} --help)\n")


def whole(least: int) -> Callable[[str], int]:
    """What reads a whole number that is not below a least one."""

    def read(text: str) -> int:
        if not re.fullmatch(r"-?\d{1,18}", text, re.ASCII) or int(text) < least:
            raise argparse.ArgumentTypeError(
                f"{text!r} is no whole number from {least}"
            )
        return int(text)

    return read


class Seeds(argparse.Action):
    """Reads seeds, however they are parted: `0 1 2`, `0,1,2`, `0-2`."""

    def __call__(self, parser, namespace, values, option_string=None):
        """Keep them as a list of integers."""
        try:
            setattr(namespace, self.dest, validation.seeds(" ".join(values)))
        except ValueError as error:
            raise argparse.ArgumentError(self, str(error)) from error


def device(text: str) -> str:
    """What computes, as `vvi.runtime.validation.device` reads it."""
    return _said_here(validation.device, text)


def folder(text: str) -> Path | None:
    """A folder of data, or none, as `vvi.runtime.validation.folder` reads it."""
    return _said_here(lambda value: validation.folder("the folder", value), text)


def _said_here(read: Callable[[str], Any], text: str) -> Any:
    try:
        return read(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def setting(text: str) -> tuple[str, str]:
    """`name=value`, the value as it was typed: who knows the type of the field reads it.

    >>> setting("milestones=35,80")
    ('milestones', '35,80')
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not name=value")
    return name.strip(), value.strip()


def field(text: str) -> tuple[str, Any]:
    """`name=value` with a value as JSON or Python write it, else a word.

    >>> field("lr=0.1"), field("esb=False"), field("temporal=mean")
    (('lr', 0.1), ('esb', False), ('temporal', 'mean'))
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not name=value")
    try:
        return name, json.loads(_PYTHON.get(value.lower(), value))
    except ValueError:
        return name, value


def picture(text: str) -> str:
    """The name of a picture that can be written."""
    path = Path(text)
    if (
        path.suffix not in (".png", ".pdf", ".svg")
        or not path.absolute().parent.is_dir()
    ):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no .png, .pdf or .svg in a folder that is there"
        )
    return text
