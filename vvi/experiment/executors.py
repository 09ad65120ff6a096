"""Where the runs of a sweep are trained.

In processes here, on a dask cluster, or as jobs of Slurm: each is an executor of
`concurrent.futures` over an engine that exists already.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vvi.runtime import optional, pools

JOBS = 64  # of Slurm, in its queue at a time


def connect(
    where: str, workers: int = 0, folder: Path = Path("jobs"), /, **options: Any
) -> AbstractContextManager[Executor | None]:
    """Open the executor of a name until the context ends.

    Args:
        where: "here" (None: one run after the other), "processes", "dask://host:port"
            or "slurm".
        workers: how many processes, or how many jobs in the queue. 0 takes the usual
            number.
        folder: what submitit writes, seen by all nodes.
        **options: parameters of Slurm jobs, such as `timeout_min=600`,
            `gpus_per_node=1`, `slurm_partition="gpu"`.

    Raises:
        ValueError: there is no such executor, or it does not use an option.
        RuntimeError: an extra is missing, or a cluster cannot be reached.
    """
    refuse_options(where, options, workers)
    if where == "here":
        return nullcontext()
    if where == "processes":
        return processes(workers or 2)
    if where.startswith("dask://"):
        return dask(where.replace("dask://", "tcp://", 1))
    return slurm(folder, workers or JOBS, **options)


def refuse_options(where: str, options: Mapping[str, Any], workers: int) -> None:
    """Refuse an executor that there is not, and options that it would not use.

    Args:
        where: name of the executor.
        options: parameters of Slurm jobs.
        workers: how many processes or jobs. 0 takes the usual number.

    Raises:
        ValueError: naming what is refused.
    """
    if options and where != "slurm":
        raise ValueError(
            f"{', '.join(options)}: options are parameters of slurm jobs, not of "
            f"{where!r}"
        )
    if where not in ("here", "processes", "slurm") and not where.startswith("dask://"):
        raise ValueError(
            f"no executor {where!r}: choose from here, processes, dask://host:port, "
            "slurm"
        )
    if workers and where not in ("processes", "slurm"):
        raise ValueError(
            f"{workers} workers would have no effect on the executor {where!r}: "
            f"{_runs_of(where)}; leave --workers out"
        )


def _runs_of(where: str) -> str:
    """Say how an executor trains that takes no number of workers."""
    if where == "here":
        return "it trains one run after the other"
    return "the cluster has workers of its own"


def processes(workers: int) -> AbstractContextManager[Executor]:
    """Open a pool of processes of one thread each.

    On a CPU two such runs end sooner than one after the other on two threads.
    """
    return pools.processes(workers, _one_thread)


@contextmanager
def dask(address: str, timeout: float = 20) -> Iterator[Executor]:
    """Use a dask cluster that runs already.

    A run whose worker dies is given to another one, which goes on from its checkpoint.

    Raises:
        RuntimeError: no scheduler answers, or dask is not installed.
        ValueError: a worker takes several runs at a time.
    """
    distributed = optional.load("distributed", "cluster")
    try:
        client = distributed.Client(address, timeout=timeout)
    except (OSError, ValueError) as error:  # nobody is there, or the address is none
        raise RuntimeError(
            f"no dask scheduler answers at {address}: {error}"
        ) from error
    with client:
        _check_threads(client.scheduler_info(n_workers=-1)["workers"])
        yield client.get_executor(pure=False)


def _check_threads(workers: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse workers of several threads, whose runs would share generators."""
    wide = [name for name, about in workers.items() if about["nthreads"] > 1]
    if wide:
        raise ValueError(
            f"{len(wide)} workers, such as {wide[0]}, take several runs at a time in "
            "one process: start them with --nthreads 1"
        )


@contextmanager
def slurm(
    folder: Path, jobs: int = JOBS, /, cluster: str = "slurm", **options: Any
) -> Iterator[Executor]:
    """Use jobs of Slurm through submitit.

    A job that is preempted or out of time is queued again and goes on from its
    checkpoint.

    Args:
        folder: what submitit writes, seen by all nodes.
        jobs: how many are in the queue at a time.
        cluster: "slurm", or "local" to try it with processes here.
        **options: parameters of the jobs.

    Raises:
        ValueError: jobs have no such parameter.
        RuntimeError: submitit is not installed.
    """
    submitit = optional.load("submitit", "cluster")
    try:
        submitter = submitit.AutoExecutor(folder, cluster=cluster)
        submitter.update_parameters(**{"name": "vvi"} | options)
    except NameError as error:  # submitit's word for an unknown parameter
        raise ValueError(str(error)) from error
    with _Jobs(submitter, jobs) as executor:
        yield executor


@dataclass
class _Again:
    """A call that submitit may queue again."""

    #: What is called.
    function: Callable

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def checkpoint(self, *args: Any, **kwargs: Any) -> Any:
        return optional.load("submitit", "cluster").helpers.DelayedSubmission(
            self, *args, **kwargs
        )


class _Jobs(Executor):
    """An executor of submitit's jobs, which are no futures: a thread waits for each."""

    def __init__(self, submitter: Any, count: int):
        self.submitter = submitter
        self.threads = ThreadPoolExecutor(count)
        self.lock = threading.Lock()

    def submit(self, fn: Callable, /, *args: Any, **kwargs: Any) -> Future:
        return self.threads.submit(self._result, fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.threads.shutdown(wait, cancel_futures=cancel_futures)

    def _result(self, fn: Callable, args: tuple, kwargs: dict) -> Any:
        with self.lock:
            job = self.submitter.submit(_Again(fn), *args, **kwargs)
        return job.result()


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
