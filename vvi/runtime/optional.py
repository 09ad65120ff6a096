"""Packages that only some need, installed with `pip install 'vvi[name]'`."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def load(package: str, extra: str) -> ModuleType:
    """Import an optional package.

    Raises:
        RuntimeError: it is not installed. The message names the extra to install.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise RuntimeError(
            f"this needs {package}, which is not installed: pip install 'vvi[{extra}]'"
        ) from error
