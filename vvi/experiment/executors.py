"""Where the runs of a sweep are trained: in processes here, on a dask cluster, as jobs of Slurm; each a `concurrent.futures` executor over an engine that exists already."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
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
    """The executor that a name says, open until the context ends: "here" (None: one run after the other), "processes", "dask://host:port" or "slurm".

    workers: how many processes, or how many jobs in the queue; folder: what submitit writes, seen by all nodes; options: parameters of the jobs (`timeout_min=600`,
    `gpus_per_node=1`, `slurm_partition="gpu"`). ValueError on another name, RuntimeError where an extra is missing or a cluster cannot be reached.
    """
    if options and where != "slurm":
        raise ValueError(
            f"{', '.join(options)}: options are parameters of slurm jobs, not of {where!r}"
        )
    if where == "here":
        return nullcontext()
    if where == "processes":
        return processes(workers or 2)
    if where.startswith("dask://"):
        return dask(where.replace("dask://", "tcp://", 1))
    if where == "slurm":
        return slurm(folder, workers or JOBS, **options)
    raise ValueError(
        f"no executor {where!r}: choose from here, processes, dask://host:port, slurm"
    )


def processes(workers: int) -> Executor:
    """That many processes of one thread each: on a CPU two such runs end sooner than one after the other on two threads."""
    return pools.processes(workers, _one_thread)


@contextmanager
def dask(address: str, timeout: float = 20) -> Iterator[Executor]:
    """A dask cluster that runs already. A run whose worker dies is given to another one, which goes on from its checkpoint."""
    distributed = optional.load("distributed", "cluster")
    try:
        client = distributed.Client(address, timeout=timeout)
    except (OSError, ValueError) as error:  # nobody is there, or the address is none
        raise RuntimeError(
            f"no dask scheduler answers at {address}: {error}"
        ) from error
    with client:
        found = client.scheduler_info(n_workers=-1)["workers"]
        if wide := [name for name, about in found.items() if about["nthreads"] > 1]:
            raise ValueError(
                f"{len(wide)} workers, such as {wide[0]}, take several runs at a time in one process: start them with --nthreads 1"
            )
        yield client.get_executor(pure=False)


@contextmanager
def slurm(
    folder: Path, jobs: int = JOBS, /, cluster: str = "slurm", **options: Any
) -> Iterator[Executor]:
    """Jobs of Slurm through submitit; one that is preempted or out of time is queued again and goes on from its checkpoint. cluster="local": processes here, to try it."""
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

    function: Callable

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def checkpoint(self, *args: Any, **kwargs: Any) -> Any:
        return optional.load("submitit", "cluster").helpers.DelayedSubmission(
            self, *args, **kwargs
        )


class _Jobs(Executor):
    """Jobs of submitit are no futures: a thread waits for each."""

    def __init__(self, submitter: Any, count: int):
        self.submitter, self.threads, self.one = (
            submitter,
            ThreadPoolExecutor(count),
            threading.Lock(),
        )

    def submit(self, fn: Callable, /, *args: Any, **kwargs: Any) -> Future:
        return self.threads.submit(self._done, fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self.threads.shutdown(wait, cancel_futures=cancel_futures)

    def _done(self, fn: Callable, args: tuple, kwargs: dict) -> Any:
        with self.one:
            job = self.submitter.submit(_Again(fn), *args, **kwargs)
        return job.result()


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
