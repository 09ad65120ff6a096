"""Names that hold content: a file, or the source of a function, with its digest.

A result belongs to what it was computed from. A path says nothing of what the file
holds, so the configuration of a run names a file of weights by its digest, and the
file is copied to where every process of this machine finds it: `$VVI_CACHE/weights`.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable
from importlib import import_module, reload
from importlib.util import cache_from_source
from pathlib import Path
from types import ModuleType

from vvi.runtime import atomic, paths, validation

FILE = "file:"
#: Digest of a file of weights -> the name that it was given by in this process.
_TYPED: dict[str, str] = {}
#: Module -> what its file held when it was imported here.
_SEEN: dict[str, bytes] = {}


def pin_file(file: str | Path) -> str:
    """Name a file by its digest, and keep a copy of it in the cache."""
    content = validation.at_home(file).read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:12]
    copy = paths.cache() / "weights" / digest
    if not copy.is_file():
        atomic.write(copy, content)
    _TYPED[digest] = str(file)
    return FILE + digest


def typed_name(name: str) -> str:
    """Return the name that a pinned file was given by, or its digest if unknown.

    >>> typed_name("file:0123456789ab")
    'file:0123456789ab'
    """
    return _TYPED.get(name.removeprefix(FILE), name)


def pinned_file(name: str) -> Path:
    """Find the file of a digest.

    Raises:
        FileNotFoundError: this machine has no copy.
    """
    copy = paths.cache() / "weights" / name.removeprefix(FILE)
    if not copy.is_file():
        raise FileNotFoundError(
            f"no {copy}: the weights that this run starts from are not on this "
            "machine; give the file again, weights=FILE"
        )
    return copy


def pin_function(name: str) -> str:
    """Name `module:function` with the digest of its source, `module:function@...`.

    Raises:
        ValueError: there is no such module or function, or no file with its source.
    """
    plain = name.partition("@")[0]
    return f"{plain}@{_digest(plain, _import(plain))}"


def pinned_function(name: str) -> Callable:
    """Import `module:function`, with or without a digest, which must then fit.

    Raises:
        ValueError: there is no such module or function, or its source has changed.
    """
    plain, _, digest = name.partition("@")
    function = _import(plain)
    if digest and digest != (now := _digest(plain, function)):
        raise ValueError(
            f"{plain} has changed since this run was made ({digest}, now {now}): its "
            "weights may not fit, train it again"
        )
    return function


def _import(name: str) -> Callable:
    module, colon, function = name.partition(":")
    if not (colon and module and function) or module.endswith(".py") or "/" in module:
        raise ValueError(
            f"{name!r} is not module:function, such as torchvision.models:resnet18, or "
            "mine:trunk for trunk() in mine.py of this folder"
        )
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    try:
        target = getattr(_as_it_is_now(module), function, None)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{name}: no module {error.name} in this folder or on PYTHONPATH"
        ) from error
    except Exception as error:  # whatever the code of a user raises
        kind = type(error).__name__
        raise ValueError(f"{name}: {module} fails with {kind}: {error}") from error
    if not callable(target):
        raise ValueError(f"{name}: {module} has no function {function}")
    return target


def _as_it_is_now(name: str) -> ModuleType:
    """Import a module, again where its file changed: code and digest must agree."""
    module = import_module(name)
    file = getattr(module, "__file__", None)
    content = Path(file).read_bytes() if file else b""
    if _SEEN.setdefault(name, content) != content:
        # compiled code of the same second and size would pass for the new one
        Path(cache_from_source(file)).unlink(missing_ok=True)
        module, _SEEN[name] = reload(module), content
    return module


def _digest(name: str, function: Callable) -> str:
    """Return the digest of the file in which a function stands.

    A `functools.partial`, or another object that is called, counts as the file of the
    module that holds it.

    Raises:
        ValueError: no file holds its source.
    """
    try:
        file = inspect.getsourcefile(inspect.unwrap(function))
    except TypeError:
        module = sys.modules[name.partition(":")[0]]
        file = getattr(module, "__file__", None)
    if file is None:
        raise ValueError(f"{name}: no file holds its source: write a function of yours")
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:8]
