"""Promises of speed that need no clock: how many operators a loss calls, that none
makes the host wait, that the slow losses of the benchmarks give the same numbers.
"""

import importlib
import inspect
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vvi import losses, methods
from vvi.methods import iban
from vvi.runtime.random import seed_everything

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))
operators, step, usual, gpu, gpu_proof = (
    importlib.import_module(name)
    for name in ("operators", "step", "usual", "gpu", "gpu_proof")
)
CASES = operators.cases()
OTHERS = {  # options under which a method draws or compares in another way
    "mitml": [{"variant": "released", "shuffle": "both"}],
    "iban": [{"variant": "released"}],
    "sadstrm": [{"optim_mode": "joint", "triplet_form": "squared_post_bn"}],
    "di2l": [
        {"variant": "released"},
        {"erase": 0.5, "tri_loss": "hard", "id_on": "both"},
    ],
    "cmft": [
        {"msrl": "pmt", "self_pair_prob": 0.5},
        {"msrl": "cosine", "stage2_triplet": True, "mdl": "hard"},
    ],
}


@pytest.mark.parametrize("name", CASES)
def test_a_loss_calls_few_operators_and_as_many_at_any_size_of_a_batch(name):
    small, large = (operators.of_loss(CASES[name], identities) for identities in (2, 7))
    assert small == large and small[0] <= operators.LIMIT


def test_every_loss_of_the_package_is_counted():
    written = {
        name
        for module in (losses, *map(methods.module, methods.names()))
        for name, found in vars(module).items()
        if inspect.isfunction(found)
        and found.__module__.startswith(module.__name__)
        and name.endswith(("_loss", "_triplet", "_ce"))
        and not name.startswith("_")
    }
    assert written == {name.partition(",")[0] for name in CASES}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        (name, options)
        for name in methods.names()
        for options in [{}, *OTHERS.get(name, [])]
    ],
)
def test_the_losses_of_a_phase_loop_over_no_clips_and_never_wait_for_a_gpu(
    name, options
):
    method = operators.build(name, **options)
    for phase in method.phases:
        (small, terms), (large, _) = (
            operators.of_phase(method, phase, identities) for identities in (2, 5)
        )
        assert small == large <= operators.LIMIT * len(terms)
        assert operators.waits(operators.build(name, **options), phase) == []


@pytest.mark.parametrize(
    ("slip", "named"),
    [
        (lambda feat: feat.sum().item(), "_local_scalar_dense"),
        (lambda feat: feat[feat > 0], "nonzero"),
        (lambda feat: feat.cpu(), "_to_copy"),
        (lambda feat: torch.tensor([1.0], device=feat.device), "_to_copy"),
    ],
)
def test_a_wait_would_be_found(slip, named):
    method = operators.build("baseline")
    rest = method.losses
    method.losses = lambda out, batch, phase: (slip(out.feat), rest(out, batch, phase))[
        1
    ]
    assert named in operators.waits(method, method.phases[0])[0]


def test_a_loop_would_be_found():
    case = (usual.batch_hard_triplet, CASES["batch_hard_triplet"][1])
    assert operators.of_loss(case, 2)[0] < operators.of_loss(case, 7)[0]


def test_the_slow_losses_of_the_benchmarks_give_the_same_numbers():
    feat, ids = torch.randn(12, 5), torch.arange(3).repeat_interleave(2).repeat(2)
    torch.testing.assert_close(
        usual.batch_hard_triplet(feat, ids), losses.batch_hard_triplet(feat, ids)
    )
    same = ids[:, None] == ids
    torch.testing.assert_close(
        usual.hard_hinge(feat, same, 0.1), losses.hard_hinge(feat, same, 0.1)
    )
    vis, ir = feat.chunk(2)
    for given in (
        (False, "cosine", "sum"),
        (True, "cosine", "mean"),
        (False, "euclidean", "mean"),
        (True, "euclidean", "sum"),
    ):
        torch.testing.assert_close(
            usual.easy_sample_loss(vis, ir, ids[:6], *given),
            iban.easy_sample_loss(vis, ir, ids[:6], *given),
        )


def test_the_slow_losses_take_the_place_of_ours(monkeypatch):
    users = list(usual.users())
    for module, loss in users:
        monkeypatch.setattr(module, loss, getattr(module, loss))
    usual.adopt()
    for module, loss in users:
        assert getattr(module, loss) is getattr(usual, loss)
    methods_of = {loss: set() for _, loss in users}
    for module, loss in users:
        methods_of[loss].add(module.__name__.split(".")[2])
    assert methods_of["batch_hard_triplet"] == set(methods.names())
    assert methods_of["hard_hinge"] == {"cmft"}
    assert methods_of["easy_sample_loss"] == {"iban"}


def test_each_moment_of_a_step_belongs_to_the_innermost_part():
    now = iter(range(100))
    split = step.Split(lambda: next(now))
    split.enter("rest")  # at 0
    inner = split.within("forward", lambda: None)
    split.within("losses", inner)()  # losses from 1, forward from 2 to 3, losses to 4
    split.leave()  # at 5
    assert split.seconds == {
        "forward": 1,
        "losses": 2,
        "backward": 0,
        "optimiser": 0,
        "rest": 2,
    }


@pytest.mark.parametrize("name", methods.names())
def test_a_bench_moves_all_that_can_learn_and_knows_where_its_seconds_went(name):
    seed_everything(0)
    bench = step.Bench(step.job(name, "bf16", smoke=True))
    found = bench.gradients()
    assert found["parameters"] > 0 and found["without gradient"] == 0
    seconds = bench.split()
    assert all(seconds[part] > 0 for part in step.PARTS) and bench.operations() > 0
    assert "losses" not in vars(bench.method), "what was wrapped is put back"


def test_a_summary_takes_ratios_within_a_round():
    size = step.job("mitml", "float32", smoke=True)

    def row(s, m):
        return {
            "seconds": s,
            "wall": s,
            "memory": m,
            "split": {"forward": s},
            "losses": {},
            "operations": 10,
        }

    runs = {
        "usual": [row(8.0, 4.0), row(4.0, 4.0)],
        "float32": [row(4.0, 4.0), row(2.0, 4.0)],
        "bf16": [row(2.0, 2.0), row(1.0, 2.0)],
    }
    found = step.summary(
        size, runs, [{"product, float32": 1e-9, "product, bf16": 10e-9}] * 2
    )
    assert found["ratios"]["bf16 / float32, seconds"] == {
        "median": 0.5,
        "min": 0.5,
        "max": 0.5,
        "rounds": [0.5, 0.5],
    }
    assert found["ratios"]["bf16 / usual, memory"]["median"] == 0.5 and found[
        "variants"
    ]["bf16"]["fraction of peak"] == pytest.approx(10 / 1.5 / 10, abs=1e-4)


def test_without_a_gpu_the_benchmark_of_the_gpu_says_so_and_fails(
    monkeypatch, tmp_path
):
    monkeypatch.setattr(torch, "cuda", SimpleNamespace(is_available=lambda: False))
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--out", str(tmp_path / "gpu.json")])
    with pytest.raises(SystemExit, match="no GPU") as end:
        gpu.main()
    assert end.value.code not in (0, None) and not list(tmp_path.iterdir())


def test_without_a_gpu_the_proof_says_so_and_fails(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu_proof.torch.cuda, "is_available", lambda: False)
    out = tmp_path / "proof.json"
    monkeypatch.setattr(sys, "argv", ["gpu_proof.py", "agree", "--out", str(out)])
    with pytest.raises(SystemExit, match="no GPU"):
        gpu_proof.main()
    assert not out.exists()


def test_the_proof_rehearses_its_training_and_writes_one_file(
    monkeypatch, tmp_path, tiny_root
):
    monkeypatch.setattr(gpu_proof.methods, "names", lambda: ("baseline", "mitml"))
    monkeypatch.setenv("VVI_RUNS", str(tmp_path / "runs"))
    out = tmp_path / "proof.json"
    arguments = ["gpu_proof.py", "train", "--rehearse", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", arguments)
    gpu_proof.main()
    proof = json.loads(out.read_text())
    assert proof["machine"]["rehearsal"] and proof["train"]["passed"]
    assert set(proof["train"]["runs"]) == {"baseline", "mitml"}
    run = proof["train"]["runs"]["mitml"]
    assert run["scores"].keys() == {"ir2vis", "vis2ir"}
    identity = [v for n, v in run["last step"].items() if n.endswith("/id")]
    assert identity and np.isfinite(identity).all()


def test_the_proof_compares_losses_and_ranks(monkeypatch, tmp_path, tiny_root):
    monkeypatch.setenv("VVI_RUNS", str(tmp_path / "runs"))
    same = gpu_proof.agreement("baseline", "cpu")
    assert same["passed"] and same["largest relative difference"] == 0
    one, tie = np.array([[0.9, 0.5, 0.1]]), np.array([[0.9, 0.5, 0.500001]])
    assert gpu_proof._same_ranks(one, tie)
    assert not gpu_proof._same_ranks(one, np.array([[0.9, 0.1, 0.5]]))
