import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path

import interrupted
import numpy as np
import pytest

from vvi import experiment
from vvi.config import preset
from vvi.experiment import ablation, executors, store
from vvi.runtime import paths


@pytest.fixture
def here(tmp_path, monkeypatch, tiny_root, common_cache):
    """Runs in a temporary folder, the tiny set where the config looks for it."""
    monkeypatch.setenv("VVI_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("VVI_CACHE", str(common_cache))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


def working() -> dict[int, str]:
    """Process -> run, of runs that have a checkpoint: those in the middle."""
    found = {}
    for lock in paths.runs().glob(".*.lock"):
        run, said = lock.name[1:-5], lock.read_text().split()
        if said and (paths.runs() / run / "checkpoint.safetensors").exists():
            found[int(said[1])] = run
    return found


@pytest.fixture
def forked_workers():
    """Dask workers that need not import torch."""
    import dask
    from distributed.utils import get_mp_context

    with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}):
        get_mp_context().set_forkserver_preload(interrupted.PRELOADED)
        yield


def test_dask_workers_killed_in_the_middle_of_a_sweep_lose_nothing(
    here, reliability, forked_workers
):
    from distributed import LocalCluster

    wanted, killed, trained = (
        [preset("tiny", seed=seed, steps=30) for seed in range(3)],
        {},
        [],
    )
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=here
    ) as cluster:

        def sweep():
            with executors.connect(
                cluster.scheduler_address.replace("tcp://", "dask://")
            ) as executor:
                trained.append(
                    ablation.train_missing(wanted, executor, device="cpu", every=0.0)
                )

        thread = threading.Thread(target=sweep)
        thread.start()
        while thread.is_alive() and len(killed) < 2:
            for process, run in [
                item for item in working().items() if item[0] not in killed
            ][:1]:
                os.kill(process, signal.SIGKILL)
                killed[process] = run
            time.sleep(0.01)
        thread.join()
    assert trained == [3] and len(killed) == 2
    assert sorted(f.name for f in paths.runs().iterdir()) == sorted(
        c.hash for c in wanted
    )
    assert {f.name for f in paths.runs().glob("*/*")} == {
        "arrays.safetensors.xz",
        "model.safetensors",
        "record.json",
    }
    of = {c.hash: c for c in wanted}
    for run in set(killed.values()):
        alone = experiment.run(
            of[run], retrain=True, device="cpu", progress=False, keep=False
        )
        stored = store.load_record(paths.runs() / run).history
        assert stored.keys() == alone.history.keys()
        for name, values in alone.history.items():
            np.testing.assert_allclose(stored[name], values, rtol=2**-12, err_msg=name)
    assert ablation.missing(wanted) == []
    reliability.add("a sweep on dask", "runs finished", trained[0])
    reliability.add(
        "a sweep on dask",
        "workers killed in the middle of a run",
        len(killed),
        "workers killed",
    )


def test_workers_that_would_train_two_runs_in_one_process_are_refused(here):
    from distributed import LocalCluster

    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=2,
            processes=False,
            dashboard_address=None,
            local_directory=here,
        ) as cluster,
        pytest.raises(ValueError, match="--nthreads 1"),
        executors.dask(cluster.scheduler_address),
    ):
        pass


def test_jobs_of_submitit_train_and_are_queued_again_with_what_they_were_given(here):
    wanted = [preset("tiny", steps=2)]
    with executors.slurm(here / "jobs", 2, cluster="local", timeout_min=5) as executor:
        assert ablation.train_missing(wanted, executor, device="cpu") == 1
        assert executor.submit(divmod, 7, 2).result() == (3, 1)
    assert ablation.missing(wanted) == []
    again = executors._Again(divmod).checkpoint(7, 2)
    assert again.result() == (3, 1)
    with (
        pytest.raises(ValueError, match="colour"),
        executors.slurm(here / "jobs", 2, cluster="local", colour=1),
    ):
        pass


class Remote(Executor):
    """Runs whose results lie in another folder, as without a common file system."""

    def __init__(self, folder):
        self.folder = folder

    def submit(self, fn, /, *args, **kwargs):
        done, before = Future(), os.environ["VVI_RUNS"]
        os.environ["VVI_RUNS"] = str(self.folder)
        try:
            done.set_result(fn(*args, **kwargs))
        finally:
            os.environ["VVI_RUNS"] = before
        return done


def test_a_result_of_a_machine_with_folders_of_its_own_is_brought_home(here):
    wanted = [preset("tiny", steps=1)]
    assert ablation.train_missing(wanted, Remote(here / "there"), device="cpu") == 1
    home, there = (
        folder / wanted[0].hash for folder in (here / "runs", here / "there")
    )
    assert (home / "record.json").read_bytes() == (
        there / "record.json"
    ).read_bytes() and not (home / "model.safetensors").exists()


def test_a_run_that_fails_does_not_stop_the_others_and_is_named(here, monkeypatch):
    wanted, run, seeds = (
        [preset("tiny", seed=s, steps=1) for s in range(3)],
        experiment.run,
        [],
    )

    def faulty(config, **options):
        seeds.append(config.seed)
        if config.seed == 1:
            raise OSError("no space left")
        return run(config, **options)

    monkeypatch.setattr(experiment, "run", faulty)
    with (
        ThreadPoolExecutor(2) as pool,
        pytest.raises(
            RuntimeError,
            match=f"1 of 3 runs failed, .*; run {wanted[1].hash}: OSError: no space left",
        ),
    ):
        ablation.train_missing(wanted, pool, device="cpu")
    assert sorted(seeds) == [0, 1, 2] and ablation.missing(wanted) == [wanted[1]]


def test_a_sweep_under_torchrun_is_refused(under_torchrun):
    under_torchrun()
    with pytest.raises(ValueError, match="side by side"):
        ablation.train_missing([])


@pytest.mark.parametrize(
    ("where", "package"), [("dask://127.0.0.1:1", "distributed"), ("slurm", "submitit")]
)
def test_a_missing_extra_is_named(where, package, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    with (
        pytest.raises(
            RuntimeError,
            match=rf"{package}, which is not installed: pip install 'vvi\[cluster\]'",
        ),
        executors.connect(where, 0, tmp_path),
    ):
        pass


def test_other_names_options_and_absent_clusters_are_named(tmp_path, monkeypatch):
    with pytest.raises(
        ValueError,
        match="no executor 'moon': choose from here, processes, dask://host:port, sl",
    ):
        executors.connect("moon")
    with pytest.raises(
        ValueError,
        match="timeout_min: options are parameters of slurm jobs, not of 'processes'",
    ):
        executors.connect("processes", timeout_min=3)
    monkeypatch.setenv("PATH", "")
    with (
        pytest.raises(RuntimeError, match="slurm"),
        executors.connect("slurm", 0, tmp_path),
    ):
        pass
    with (
        pytest.raises(
            RuntimeError, match="no dask scheduler answers at tcp://127.0.0.1:1"
        ),
        executors.dask("tcp://127.0.0.1:1", timeout=0.1),
    ):
        pass
    with executors.connect("here") as executor:
        assert executor is None


def test_processes_end_with_the_one_that_started_them(tmp_path):
    """Killed, a sweep leaves nobody behind who would go on training for it."""
    code = (
        "import os, time; from vvi import executors\n"
        "def pid(): print(os.getpid(), flush=True); time.sleep(600)\n"
        "if __name__ == '__main__':\n"
        "    with executors.connect('processes', 1) as pool:\n"
        "        pool.submit(pid).result()\n"
    )
    (tmp_path / "sweep.py").write_text(code)
    started = subprocess.Popen(
        [sys.executable, tmp_path / "sweep.py"], stdout=subprocess.PIPE, text=True
    )
    worker = int(started.stdout.readline())
    os.kill(worker, 0)  # it lives
    started.kill()
    started.wait()
    for _ in range(300):
        if (
            not Path(f"/proc/{worker}").exists()
            or Path(f"/proc/{worker}/stat").read_text().split()[2] == "Z"
        ):
            return
        time.sleep(0.1)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the worker went on")


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("here", "it trains one run after the other"),
        ("dask://host:8786", "the cluster has workers of its own"),
    ],
)
def test_workers_that_an_executor_does_not_use_are_refused(where, why):
    said = f"2 workers would have no effect on the executor '{where}': {why}"
    with pytest.raises(ValueError, match=re.escape(said)):
        executors.connect(where, 2)
    for other in ("processes", "slurm"):
        executors.refuse_options(other, {}, 2)
