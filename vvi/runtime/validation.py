"""What people type, read as what they mean, or refused in one line that shows how.

Each function takes text, or a value that has its type already, and returns the value.
The chapters' parameters, the options of the command line and the arguments of Python
all pass through here. Nothing here imports torch.
"""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

FLAGS = {
    **dict.fromkeys(("true", "yes", "on", "1", "t", "y"), True),
    **dict.fromkeys(("false", "no", "off", "0", "f", "n"), False),
}
NOTHING = ("none", "null", "nothing")
SEEDS = "write 0 or 0,1,2 or [0, 1, 2]"
_UNREAD = object()
FOLDER = "give a folder, such as ~/datasets/HITSZ-VCM, or none for the embedded set"


def choice(name: str, value: Any, choices: Sequence[str]) -> str:
    """Read one word of several, whatever its case and the spaces around it.

    Args:
        name: of the setting, for the error.
        value: the word as it was given.
        choices: the words that are allowed.

    Returns:
        The word as `choices` spells it.

    Raises:
        ValueError: it is none of them. The message names all choices.

    >>> choice("preset", " Tiny", ("tiny", "standard"))
    'tiny'
    """
    word = unquoted(value).lower()
    for known in choices:
        if word == known.lower():
            return known
    raise ValueError(f"no {name} {value!r}: choose from {', '.join(choices)}")


def flag(name: str, value: Any) -> bool:
    """Read a switch that is on or off.

    Raises:
        ValueError: the value is neither on nor off.

    >>> [flag("retrain", text) for text in ("false", "No", 0, "1", True)]
    [False, False, False, True, True]
    """
    word = unquoted(value).lower()
    if word not in FLAGS:
        raise ValueError(f"{name}={value!r} does not fit: write true or false")
    return FLAGS[word]


def is_none(value: Any) -> bool:
    """Return whether a value was left out, or typed as a word for nothing.

    >>> is_none(None), is_none(" None "), is_none(0), is_none("0")
    (True, True, False, False)
    """
    return value is None or (_text(value) and unquoted(value).lower() in NOTHING)


def unquoted(value: Any) -> str:
    """Return the text of a value, without spaces and one pair of quotes around it.

    >>> unquoted(" 'tiny' "), unquoted(3), unquoted("it's")
    ('tiny', '3', "it's")
    """
    text = str(value).strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1].strip()
    return text


def seeds(value: Any) -> list[int]:
    """Read the seeds of runs: integers >= 0, each once.

    Raises:
        ValueError: the value names no seeds, or one twice.

    >>> seeds("0,1 2"), seeds([0]), seeds(3), seeds("0-2")
    ([0, 1, 2], [0], [3], [0, 1, 2])
    """
    parts = value if isinstance(value, Iterable) and not _text(value) else [value]
    numbers: list[int] = []
    for part in parts:
        numbers += _seeds_of(part, value)
    if not numbers:
        raise ValueError(f"seeds={value!r} names no seed: {SEEDS}")
    twice = [seed for seed in numbers if numbers.count(seed) > 1]
    if twice:
        raise ValueError(f"seeds={value!r} names {twice[0]} twice: {SEEDS}")
    return numbers


def device(value: Any) -> str:
    """Read what computes: `auto`, `cpu`, `cuda` or `cuda:N`.

    Raises:
        ValueError: there is no such device.

    >>> [device(text) for text in ("auto", "GPU", "gpu:1", 0, "2", None)]
    ['auto', 'cuda', 'cuda:1', 'cuda:0', 'cuda:2', 'auto']
    """
    if is_none(value):
        return "auto"
    word = unquoted(value).lower()
    if isinstance(value, bool) or not word:
        word = "?"
    if word in ("auto", "cpu"):
        return word
    number = re.fullmatch(r"(?:(?:cuda|gpu)[: ]?)?(\d{1,4})", word, re.ASCII)
    if number:
        return f"cuda:{int(number[1])}"
    if word in ("cuda", "gpu"):
        return "cuda"
    cure = "use auto, cpu, cuda or cuda:N"
    if re.fullmatch(r"\W*\d+(\W+\d+)+\W*", word):
        cure += "; for one run on several, start it with torchrun"
    raise ValueError(f"no device {value!r}: {cure}")


def folder(name: str, value: Any) -> Path | None:
    """Read the name of a folder, where `~` and variables are filled in.

    The word `none` gives None.

    Whether the folder exists is for its reader to say.

    Raises:
        ValueError: the value cannot be the name of a folder on this system.

    >>> folder("data", "None") is None, folder("data", " sets/VCM ").as_posix()
    (True, 'sets/VCM')
    """
    if value is None or isinstance(value, Path):
        return at_home(value) if value else None
    if not isinstance(value, str | os.PathLike):
        raise ValueError(f"{name} {value!r} does not fit: {FOLDER}")
    text = unquoted(os.fspath(value))
    if not text:
        raise ValueError(f"{name} is empty: {FOLDER}")
    if text.lower() in NOTHING:
        return None
    if any(ord(letter) < 32 for letter in text):
        raise ValueError(
            f"{name} {text!r} holds a line break or a tab, as Python reads a "
            r'backslash: write r"D:\new\table" or D:/new/table'
        )
    path = at_home(os.path.expandvars(text))
    _refuse_drive(name, text, path)
    return path


def at_home(text: str | Path) -> Path:
    """Put the folder of a user in place of `~` or `~user`.

    Raises:
        ValueError: there is no such user, or this is no name of a file or folder.

    >>> at_home("sets/VCM").as_posix()
    'sets/VCM'
    """
    if not isinstance(text, str | os.PathLike) or not str(text).strip():
        raise ValueError(f"{text!r} is no name of a file or folder: give a path")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        user = Path(text).parts[0]
        raise ValueError(
            f"{str(text)!r}: no home folder is known for {user}; write ./{text} for a "
            "name that begins so"
        ) from error


def _refuse_drive(name: str, text: str, path: Path) -> None:
    """Refuse a folder of Windows on another system."""
    if os.name != "nt" and re.match(r"[A-Za-z]:[\\/]", text) and not path.exists():
        inside = text[2:].replace("\\", "/")
        raise ValueError(
            f"{name} {text}: no such folder, for this system knows no drives; under "
            f"WSL it is /mnt/{text[0].lower()}{inside}"
        )


def setting(text: Any, hint: Any) -> Any:
    """Read the value of a field from text by the field's type.

    What cannot be read comes back as it is, for the field to refuse by its own words.

    >>> setting(".001", float), setting("1", float), setting("35, 80", tuple[int, ...])
    (0.001, 1.0, (35, 80))
    >>> setting("YES", bool), setting("null", int | None), setting("1e3", int)
    (True, None, 1000)
    """
    if not isinstance(text, str):
        return typed(text, hint)
    value = _read(text.strip(), hint)
    return text if value is _UNREAD else value


def of_python(value: Any) -> Any:
    """Return a number or an array of NumPy as one of Python, the rest as it is."""
    return value.tolist() if hasattr(value, "tolist") else value


def typed(value: Any, hint: Any) -> Any:
    """Give a value the type of its field, where an integer may become a float.

    Numbers and arrays of NumPy become those of Python, which JSON can hold.

    >>> typed(1, float), typed(1, int), typed([1, 2], tuple[float, ...])
    (1.0, 1, (1.0, 2.0))
    """
    value = of_python(value)
    kind, parts = kind_and_parts(hint)
    if kind in (Union, UnionType):
        if float in parts and int not in parts:
            return typed(value, float)
        inner = [part for part in parts if get_origin(part) is tuple]
        return typed(value, inner[0]) if inner and value is not None else value
    if kind is tuple and isinstance(value, list | tuple):
        return tuple(typed(item, parts[0]) for item in value)
    if kind is float and type(value) is int and abs(value) < 1e300:
        return float(value)
    return value


@cache
def kind_and_parts(hint: Any) -> tuple[Any, tuple]:
    """Take a type apart, once: configs are checked by the thousand.

    >>> kind_and_parts(tuple[float, ...]), kind_and_parts(int)
    ((<class 'tuple'>, (<class 'float'>, Ellipsis)), (<class 'int'>, ()))
    """
    return get_origin(hint) or hint, get_args(hint)


def unknown(name: str, what: str, known: dict[str, Sequence[str]]) -> ValueError:
    """Make the error for a name that nothing has: the nearest one, and all there are.

    Args:
        name: what was typed.
        what: what has no such thing, such as "baseline has no option".
        known: kind -> names, in the order in which a reader looks for them. A single
            kind needs no name.
    """
    names = list(chain.from_iterable(known.values()))
    near = difflib.get_close_matches(name, names, 1)
    last = name.rpartition(".")[2]  # fields are named without the part they stand in
    near = [last] if last in names else near
    guess = f" (did you mean {near[0]}?)" if near else ""
    lists = "; ".join(
        f"{kind}: {', '.join(group)}" if kind else ", ".join(group)
        for kind, group in known.items()
    )
    return ValueError(f"{what} {name}{guess}: there are {lists}")


def _text(value: Any) -> bool:
    return isinstance(value, str | bytes)


def _seeds_of(part: Any, value: Any) -> list[int]:
    """Read the seeds that one part of a list names, one or a range."""
    wrong = f"seeds={value!r} does not fit, each is an integer >= 0: {SEEDS}"
    if isinstance(part, bool):
        raise ValueError(wrong)
    if not isinstance(part, str):
        if not hasattr(part, "__index__") or part < 0:
            raise ValueError(wrong)
        return [int(part)]
    numbers: list[int] = []
    for word in _items(part):
        span = re.fullmatch(
            r"(\d{1,9})(?:\s*(?:-|\.\.|:)\s*(\d{1,9}))?", word, re.ASCII
        )
        if not span:
            raise ValueError(wrong)
        first = int(span[1])
        last = int(span[2]) if span[2] else first
        if last < first or last - first > 1000:
            raise ValueError(wrong)
        numbers += range(first, last + 1)
    return numbers


def _items(text: str) -> list[str]:
    """Split a list, with or without brackets, at commas or spaces."""
    text = unquoted(text)
    if re.fullmatch(r"\[.*\]|\(.*\)|\{.*\}", text, re.DOTALL):
        text = text[1:-1]
    return [item for item in re.split(r"[,;\s]+", text.strip()) if item]


def _read(word: str, hint: Any) -> Any:
    """Read a word by a type, or return `_UNREAD` where it has no such value."""
    kind, parts = get_origin(hint) or hint, get_args(hint)
    plain = word.strip("'\"")
    if kind in (Union, UnionType):
        return _first_that_fits(word, parts)
    if kind is Literal:
        by_word = {str(part).lower(): part for part in parts}
        return by_word.get(plain.lower(), _UNREAD)
    if kind is NoneType:
        return None if word.lower() in (*NOTHING, "default", "") else _UNREAD
    if kind is bool:
        return FLAGS.get(word.lower(), _UNREAD)
    if kind is tuple:
        items = [_read(item, parts[0]) for item in _items(word)]
        return _UNREAD if _UNREAD in items else tuple(items)
    if kind in (int, float):
        return _number(word, kind)
    return plain if kind is str else _UNREAD


def _number(word: str, kind: type) -> Any:
    """Read a number as people write it."""
    try:
        value = float(word)
        if kind is int and re.fullmatch(r"[+-]?[\d_]+", word, re.ASCII):
            return int(word)  # exact, however many digits
    except ValueError:
        return _UNREAD
    if not math.isfinite(value) or (kind is int and not value.is_integer()):
        return _UNREAD
    return kind(value)


def _first_that_fits(word: str, parts: Sequence[Any]) -> Any:
    """Read a word by the first type of several that fits. `str` comes last."""
    order = {Literal: 0, bool: 1, int: 2, float: 3, tuple: 4, NoneType: 5}
    for part in sorted(parts, key=lambda part: order.get(get_origin(part) or part, 6)):
        value = _read(word, part)
        if value is not _UNREAD:
            return value
    return _UNREAD
