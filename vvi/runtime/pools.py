"""Processes that work side by side, started from a script, a notebook or a pipe.

The `spawn` of the standard library imports the main module again in every child: a
script without a guard around its last lines would start itself anew there, without
end, and a program read from a pipe cannot be imported at all. Loky, which joblib (and
so scikit-learn) brings, starts children that never look at the main module.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker

from vvi.runtime.atomic import quit_with_parent


@contextmanager
def processes(
    workers: int, prepare: Callable[[], None] | None = None
) -> Iterator[Executor]:
    """Start a pool of processes, each of which ends when this one is killed.

    Ctrl-C is for this process alone, which then ends the others at once.

    Args:
        workers: how many processes.
        prepare: what each does once, before its first task.
    """
    from joblib.externals.loky.process_executor import ProcessPoolExecutor

    options = (os.getpid(), prepare)
    with ProcessPoolExecutor(workers, initializer=_begin, initargs=options) as pool:
        try:
            with _interrupts_wait():
                pool.submit(_nothing)  # the first task starts all processes
            yield pool
        except KeyboardInterrupt:
            # loky itself would stumble over tasks that were cancelled
            for number in list(pool._processes):
                with suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
            raise


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Let Ctrl-C wait. Processes and threads that start meanwhile never get it."""
    resource_tracker.ensure_running()  # which lets interrupts through where it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _nothing() -> None:
    pass


def _begin(parent: int, prepare: Callable[[], None] | None) -> None:
    quit_with_parent(parent)
    if prepare:
        prepare()
