"""Python's search for circular garbage, paused while much is made that lives on."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """Stop looking for circular garbage until the block ends.

    A large data set is millions of small objects without a circle. Looking through all
    of them again and again makes the time to open it grow faster than its size.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
