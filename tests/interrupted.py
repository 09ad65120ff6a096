"""Jobs in processes of their own, and faults at any event of them."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import io
import json
import multiprocessing
import os
import resource
import shutil
import signal
import threading
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PRELOADED = [  # imported once, by the server that forks the children
    *(
        "pytest",
        "lightning_fabric",
        "pytorch_grad_cam",
        "sklearn.model_selection",
        "sklearn.linear_model",
        "sklearn.pipeline",
        "sklearn.svm",
        "distributed",
    ),
    *(
        "vvi.cli.main",
        "vvi.experiment",
        "vvi.methods.sadstrm",
        "vvi.methods.mitml",
        "vvi.data.synthetic.store",
        "vvi.data.synthetic.read",
    ),
]
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(PRELOADED)
REFUSABLE = (
    "write",
    "fsync",
    "replace",
)  # events at which a system says no; the others are moments to die at


@dataclass
class Fault:
    """What befalls a process."""

    #: Number of the event.
    at: int | None = None
    after: float | None = None
    error: int | None = None
    size: int | None = None
    count: int = 0

    def __call__(self, what: str) -> None:
        if self.error and what not in REFUSABLE:
            return
        self.count += 1
        if self.at is not None and self.count == self.at and not self.error:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.at is not None and self.count >= self.at and self.error:
            raise OSError(self.error, os.strerror(self.error))


def train(folder: Path, event, method: str, **changes) -> None:
    """One run at preset tiny, with a checkpoint after every step."""
    from vvi import experiment
    from vvi.config import preset

    os.environ["VVI_RUNS"] = str(folder / "runs")

    def on_step(done: int, total: int) -> None:
        with open(folder / "steps.log", "a") as file:
            file.write(f"{done}\n")
        event("step")

    data, retrain = changes.pop("data"), changes.pop("retrain", False)
    settings = preset("tiny", method, **changes)
    experiment.run(
        settings,
        retrain=retrain,
        data=data,
        device="cpu",
        progress=False,
        every=0.0,
        on_step=on_step,
    )


def generate(folder: Path, event) -> None:
    """A synthetic set of a few identities."""
    from vvi.data import synthetic
    from vvi.data.synthetic.presets import Plan, Preset

    small = Preset(
        "small", Plan(6, full=0, last=(12, 14)), Plan(4, full=0, last=(12, 14)), 32, 16
    )
    synthetic.write(folder / "set", small, workers=1, progress=False)


def decode(folder: Path, event, data: Path) -> None:
    """The decoded cache of a set, in chunks of some 8 tracklets."""
    from vvi.data import loader, open_dataset

    loader.CHUNK = 160
    loader.Frames(32, 16, folder / "cache").build(
        open_dataset(data).train, progress=False
    )


def record(folder: Path, event) -> None:
    """A record with its weights, over one that is there."""
    from vvi.config import preset
    from vvi.experiment import store
    from vvi.runtime import atomic

    arrays = {"ir2vis/ap": np.linspace(0, 1, 4000, dtype=np.float32)}
    made = store.Record(
        preset("tiny", seed=4),
        {"loop": 1},
        store.environment(),
        {"x": [1.0, 2.5]},
        {"ir2vis": {"rank1": 0.5}},
        {"train": 1.0},
        arrays=arrays,
    )
    with atomic.exclusive_lock(folder / "runs" / made.config.hash):
        store.save_record(made, folder / "runs", weights=bytes(9999))


def command(
    folder: Path, event, cache: Path, arguments: list[str], worlds: int | None = None
) -> None:
    """One command of `vvi`, which logs every run that it trains.

    Args:
        folder: of its runs and results, in place of HERE among the arguments.
        event: unused: a fault watches the disk.
        cache: with the synthetic sets.
        arguments: as they are typed.
        worlds: how many runs of the worlds are wanted.
    """
    from vvi.cli.main import main
    from vvi.engine import train as engine
    from vvi.experiment import worlds as study

    os.environ |= {"VVI_RUNS": str(folder / "runs"), "VVI_CACHE": str(cache)}
    fit, wanted = engine.fit, study.wanted

    def logged(method, *args, **kwargs):
        with open(folder / "trained.log", "a") as file:
            file.write(f"{os.getpid()}\n")
        return fit(method, *args, **kwargs)

    engine.fit = logged
    study.wanted = lambda *args, **kwargs: wanted(*args, **kwargs)[:worlds]
    said = io.StringIO()
    try:
        with (
            contextlib.redirect_stderr(said),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            code = main([word.replace("HERE", str(folder)) for word in arguments])
    finally:
        engine.fit, study.wanted = fit, wanted
    lines = said.getvalue().splitlines()
    for line in lines:
        if "waiting until it is done" in line:
            warnings.warn(line, stacklevel=1)
    if code:
        raise OSError(lines[-1])


def work(job, folder: Path, fault: Fault, options: dict) -> None:
    """Do a job in a child, with `fault` at every event, and report how it ended."""
    import torch

    torch.set_num_threads(1)
    _watch(fault)
    if fault.size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (fault.size, resource.RLIM_INFINITY))
    if fault.after is not None:
        threading.Thread(
            target=lambda: (
                time.sleep(fault.after),
                os.kill(os.getpid(), signal.SIGKILL),
            ),
            daemon=True,
        ).start()
    said, start = {"error": None}, time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            job(folder, fault, **options)
        except OSError as error:
            said["error"] = f"{type(error).__name__}: {error}"
    said |= {
        "events": fault.count,
        "seconds": time.perf_counter() - start,
        "warnings": [str(w.message) for w in caught if w.category is UserWarning],
    }
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    )
    fault.at = None
    Path(f"{folder}.{os.getpid()}.json").write_text(json.dumps(said))


def _watch(event) -> None:
    """Make two events of every touch of the disk, before and after it.

    A file of ours is also half-written for a moment.
    """
    from vvi.runtime import atomic

    def whole(half: Path, content: bytes) -> None:
        event("write")
        half.write_bytes(content[: len(content) // 2])
        event("write")
        original(half, content)

    original, atomic._write = atomic._write, whole
    for module, name in (
        (os, "fsync"),
        (os, "replace"),
        (os, "unlink"),
        (shutil, "rmtree"),
    ):
        setattr(module, name, _around(getattr(module, name), name, event))


def _around(function, name: str, event):
    @functools.wraps(function)
    def watched(*args, **kwargs):
        event(name)
        found = function(*args, **kwargs)
        event(f"after {name}")
        return found

    return watched


class Child:
    """A job in a process of its own."""

    def __init__(self, job, folder: Path, fault: Fault | None = None, **options):
        folder.mkdir(parents=True, exist_ok=True)
        self.process, self.folder = (
            CONTEXT.Process(target=work, args=(job, folder, fault or Fault(), options)),
            folder,
        )
        self.process.start()

    def end(self) -> dict | None:
        """How it ended; None when it was killed."""
        self.process.join(400)
        code, said = (
            self.process.exitcode,
            Path(f"{self.folder}.{self.process.pid}.json"),
        )
        assert code in (0, -signal.SIGKILL), f"exit code {code}"
        return json.loads(said.read_text()) if code == 0 else None


def run(job, folder: Path, fault: Fault | None = None, **options) -> dict | None:
    """A job from start to end, or to its death."""
    return Child(job, folder, fault, **options).end()


def content(folder: Path) -> dict[str, str]:
    """Return file -> digest of everything a job left.

    But for what says when, where and in how many seconds, and for the lock of a dead
    process.
    """
    found = {}
    for path in sorted(
        p
        for p in folder.rglob("*")
        if p.is_file() and p.suffix not in (".log", ".lock")
    ):
        data = path.read_bytes()
        if path.name == "record.json":
            data = json.dumps(
                {
                    k: v
                    for k, v in json.loads(data).items()
                    if k not in ("seconds", "environment")
                }
            ).encode()
        found[path.relative_to(folder).as_posix()] = hashlib.sha256(data).hexdigest()
    return found


def wait_for(true, seconds: float = 200) -> None:
    """Until something holds."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.005)


FULL, READ_ONLY = errno.ENOSPC, errno.EROFS
