"""Processes that work side by side, started from a script, a notebook or a pipe.

The `spawn` of the standard library imports the main module again in every child: a
script without a guard around its last lines would start itself anew there, without
end, and a program read from a pipe cannot be imported at all. Loky, which joblib (and
so scikit-learn) brings, starts children that never look at the main module.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Executor

from vvi.runtime.atomic import quit_with_parent


def processes(workers: int, prepare: Callable[[], None] | None = None) -> Executor:
    """Start a pool of processes, each of which ends when this one is killed.

    Args:
        workers: how many processes.
        prepare: what each does once, before its first task.
    """
    from joblib.externals.loky.process_executor import ProcessPoolExecutor

    options = (os.getpid(), prepare)
    return ProcessPoolExecutor(workers, initializer=_begin, initargs=options)


def _begin(parent: int, prepare: Callable[[], None] | None) -> None:
    quit_with_parent(parent)
    if prepare:
        prepare()
