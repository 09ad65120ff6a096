"""Read what is typed: integers, `name=value`, names of pictures. Imports no torch.

A mistake is one line and exit code 2.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from vvi.cli import settings
from vvi.runtime import validation

#: What runs a command: its arguments -> exit code.
Run = Callable[[argparse.Namespace], int]

#: Words of JSON as people and pages write them.
_WORDS = {
    "true": "true",
    "false": "false",
    "yes": "true",
    "no": "false",
    "none": "null",
    "null": "null",
}


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, as any other mistake.

    Options are typed in full: an abbreviation may mean another one tomorrow.
    """

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, allow_abbrev=False, **options)

    def parse_known_args(self, args=None, namespace=None):
        """Refuse what is unknown by the name of the command that does not know it."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return parsed, unknown

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and exit with code 2."""
        self.exit(2, f"{self.prog}: {message} ({self.prog} --help)\n")


#: Adds a command: its name, what runs it, its help text -> its parser.
Command = Callable[[str, Run, str], Parser]


def integer(least: int) -> Callable[[str], int]:
    """Return what reads an integer that is not below `least`."""

    def read(text: str) -> int:
        is_integer = re.fullmatch(r"-?\d{1,18}", text, re.ASCII)
        if not is_integer or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} must be an integer >= {least}")
        return int(text)

    return read


class Rerank(argparse.Action):
    """Read the parameters of re-ranking: `k1=20 k2=6 lambda=0.3`."""

    def __call__(self, parser, namespace, values, option_string=None):
        """Store the parameters of `rerank`, those at their default value too.

        Raises:
            argparse.ArgumentError: a parameter is unknown or does not fit.
        """
        try:
            setattr(namespace, self.dest, settings.rerank_options(values))
        except ValueError as error:
            raise argparse.ArgumentError(self, str(error)) from error


class Seeds(argparse.Action):
    """Read seeds, however they are separated: `0 1 2`, `0,1,2`, `0-2`."""

    def __call__(self, parser, namespace, values, option_string=None):
        """Store them as a list of integers.

        Raises:
            argparse.ArgumentError: a text names no seeds, or one twice.
        """
        try:
            setattr(namespace, self.dest, validation.seeds(" ".join(values)))
        except ValueError as error:
            raise argparse.ArgumentError(self, str(error)) from error


class Settings(argparse.Action):
    """Collect `FIELD=VALUE` and refuse a field that is set twice."""

    def __call__(self, parser, namespace, values, option_string=None):
        """Add the pairs to those of the same option before.

        Raises:
            argparse.ArgumentError: a field is set twice.
        """
        pairs = [*(getattr(namespace, self.dest) or []), *values]
        names = [name for name, _ in pairs]
        twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
        if twice:
            raise argparse.ArgumentError(self, f"{', '.join(twice)} is set twice")
        setattr(namespace, self.dest, pairs)


def device(text: str) -> str:
    """Read a device, as `vvi.runtime.validation.device` does.

    Raises:
        argparse.ArgumentTypeError: there is no such device.
    """
    return _typed(validation.device, text)


def folder(text: str) -> Path | None:
    """Read a folder of data, or none, as `vvi.runtime.validation.folder` does.

    Raises:
        argparse.ArgumentTypeError: the text names no folder.
    """
    return _typed(lambda value: validation.folder("the folder", value), text)


def path(text: str) -> str:
    """Read the name of a file or folder and fill in `~`.

    Raises:
        argparse.ArgumentTypeError: the text is empty, or names an unknown user.
    """
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty: give the name of a file or run")
    return str(_typed(validation.at_home, text))


def _typed(read: Callable[[str], Any], text: str) -> Any:
    """Read a value and turn a ValueError into an error of the argument."""
    try:
        return read(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def setting(text: str) -> tuple[str, str]:
    """Split `name=value`. The value stays as typed until its field is known.

    Raises:
        argparse.ArgumentTypeError: the text has no name or no "=".

    >>> setting("milestones=35,80")
    ('milestones', '35,80')
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise argparse.ArgumentTypeError(f"{text!r} is not name=value")
    return name.strip(), value.strip()


def field(text: str) -> tuple[str, Any]:
    """Split `name=value` and read the value as JSON or Python, else as a word.

    Raises:
        argparse.ArgumentTypeError: the text has no name or no "=".

    >>> field("lr=0.1"), field("esb = False"), field("temporal=mean")
    (('lr', 0.1), ('esb', False), ('temporal', 'mean'))
    """
    name, value = setting(text)
    try:
        return name, json.loads(_WORDS.get(value.lower(), value))
    except ValueError:
        return name, value


def picture(text: str) -> str:
    """Read the name of a picture that can be written.

    Raises:
        argparse.ArgumentTypeError: another ending, or no such folder.
    """
    file = Path(path(text))
    has_folder = file.absolute().parent.is_dir()
    if file.suffix not in (".png", ".pdf", ".svg") or not has_folder:
        raise argparse.ArgumentTypeError(
            f"{text!r} must end in .png, .pdf or .svg and lie in an existing folder"
        )
    return str(file)


def features_file(text: str) -> str:
    """Read the name of a file of features that can be written.

    Raises:
        argparse.ArgumentTypeError: another ending.
    """
    file = path(text)
    if not file.endswith((".npz", ".safetensors")):
        raise argparse.ArgumentTypeError(f"{text!r} must end in .npz or .safetensors")
    return file
