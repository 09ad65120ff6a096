import os
import socket
import subprocess
import sys

import interrupted
import numpy as np
import pytest
import sharded
import torch

from vvi.config import preset
from vvi.data import open_dataset
from vvi.data.loader import Frames, TrainLoader
from vvi.engine import distributed
from vvi.experiment import store
from vvi.runtime.random import rank_and_world_size, torch_rng


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Case -> what each of two processes with half the batch computed."""
    folder = tmp_path_factory.mktemp("pair")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    variables = {
        "TORCHELASTIC_RUN_ID": "test",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "OMP_NUM_THREADS": "1",
    }
    processes = [
        interrupted.CONTEXT.Process(
            target=sharded.main, args=(folder, variables | {"RANK": rank})
        )
        for rank in "01"
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    return {
        case: [torch.load(folder / f"{i}-{rank}.pt") for rank in (0, 1)]
        for i, case in enumerate(sharded.CASES)
    }


@pytest.mark.parametrize("case", sharded.CASES)
def test_two_processes_with_half_the_batch_have_the_gradient_of_one_with_all_of_it(
    case, pair
):
    alone, (first, second) = sharded.gradients(case, 0, 1), pair[case]
    assert (
        first.keys() == alone.keys()
        and len([name for name in alone if name.count("/") > 2]) > 20
    )
    for name, value in alone.items():
        if (
            "watch/variance" not in name
        ):  # the mean of two variances is not the variance of all
            torch.testing.assert_close(
                first[name],
                value,
                rtol=1e-5,
                atol=1e-5,
                msg=lambda text, name=name: f"{name}: {text}",
            )
        assert torch.equal(first[name], second[name]), (
            f"{name} differs between processes"
        )


@pytest.fixture
def loader(tiny_root):
    settings = preset("tiny", identities=4, tracklets=2)
    return lambda per="frame", share=(0, 1), **recipe: TrainLoader(
        open_dataset(tiny_root),
        Frames(32, 16),
        preset("tiny", augment_per=per).data,
        preset("tiny", **recipe).recipe if recipe else settings.recipe,
        3,
        share,
    )


@pytest.mark.parametrize("per", ["frame", "clip"])
@pytest.mark.parametrize("count", [2, 4])
def test_shares_of_a_batch_hold_other_identities_and_together_are_the_batch(
    per, count, loader
):
    for step in (0, 7):
        whole = loader(per).uint8(step)
        parts = [loader(per, (n, count)).uint8(step) for n in range(count)]
        assert sum(len(set(ids)) for *_, ids, _, _ in parts) == len(set(whole[2])) == 4
        for mine, all_of_it in zip(zip(*parts, strict=True), whole, strict=True):
            np.testing.assert_array_equal(np.concatenate(mine), all_of_it)


def test_a_batch_that_cannot_be_shared_evenly_is_refused(loader):
    with pytest.raises(
        ValueError,
        match="a batch of 4 identities cannot be shared evenly by 3 processes",
    ):
        loader(share=(0, 3))


def test_further_processes_draw_for_their_own_clips(monkeypatch, under_torchrun):
    alone = torch.rand(3, generator=torch_rng(1, "x"))
    assert rank_and_world_size() == (0, 1)
    under_torchrun()
    assert rank_and_world_size() == (0, 2) and torch.equal(
        torch.rand(3, generator=torch_rng(1, "x")), alone
    )
    monkeypatch.setenv("RANK", "1")
    assert rank_and_world_size() == (1, 2) and not torch.equal(
        torch.rand(3, generator=torch_rng(1, "x")), alone
    )


def test_rows_are_of_pairs_or_of_clips_of_every_stream_and_anything_else_is_named():
    rows = {8: 1, 16: 2, 96: 2}
    assert {
        n: distributed._streams(torch.zeros(n, 5), "feat", 8, 2) for n in rows
    } == rows
    for wrong in (
        torch.zeros(7),
        torch.zeros(24),
        torch.zeros(0, 3),
        torch.tensor(1.0),
    ):
        with pytest.raises(
            ValueError, match="levels has the shape .* 8 pairs of clips in 2 streams"
        ):
            distributed._streams(wrong, "levels", 8, 2)


def test_alone_nothing_is_gathered_or_told():
    out, batch = object(), sharded.batch()
    assert (
        distributed.gather_output(out, batch) is out
        and distributed.global_batch(batch) is batch
        and distributed.broadcast_from_first(lambda: 5) == 5
        and distributed.is_first()
    )


def test_torchrun_trains_one_run_on_two_processes_and_writes_its_record_once(
    tiny_root, tmp_path
):
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "vvi",
    ]
    options = [
        "train",
        "baseline",
        "--preset",
        "tiny",
        "--data",
        tiny_root,
        "--device",
        "cpu",
        "--set",
        "steps=2",
        "frames=2",
    ]
    here = os.environ | {"VVI_RUNS": str(tmp_path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, *options], env=here, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ir2vis") == 1 and done.stdout.count("seed 0") == 1
    (folder,) = tmp_path.iterdir()
    assert sorted(f.name for f in folder.iterdir()) == [
        "arrays.safetensors.xz",
        "model.safetensors",
        "record.json",
    ]
    record = store.load_record(folder)
    assert (
        record.environment["processes"] == 2 and len(record.history["encoder/id"]) == 2
    )
