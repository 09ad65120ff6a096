import pytest
import torch
from torch import nn

from vvi import experiment, methods
from vvi.config import Recipe, preset
from vvi.engine import optim, train
from vvi.methods.base import Method, Output, Phase
from vvi.types import Batch

RECIPE = Recipe(
    lr=0.1,
    slow=1.0,
    warmup=0,
    milestones=(),
    momentum=0.0,
    nesterov=False,
    weight_decay=0.0,
    epochs=10,
    steps=10,
)
PHASES = (
    Phase("a", ("one",)),
    Phase("b", ("two",), fresh=True),
    Phase("late", ("one", "two"), (5, 10), fresh=True),
)


class Toy(Method):
    """Two numbers; the loss of phase a reads both, that of b reads both again."""

    def __init__(self, phases):
        super().__init__()
        self.phases = phases
        self.one, self.two = (
            nn.Parameter(torch.tensor(1.0)),
            nn.Parameter(torch.tensor(2.0)),
        )
        self.forwards = 0

    def forward(self, batch):
        self.forwards += 1
        return Output(self.one * self.two, self.two * 3)

    def losses(self, out, batch, phase):
        return {
            "id": ((out.logits if phase.name == "own" else out.feat) - 1).square(),
            "zero": 0 * out.logits,
        }

    def embed(self, clips, modality):
        return clips


def step(method, epoch=0.0, recipe=RECIPE):
    engine = train.fabric("cpu")
    batch = Batch(*(torch.zeros(1),) * 5)
    return train.iteration(
        method,
        batch,
        optim.build(method, recipe),
        epoch,
        optim.rate(recipe, epoch, recipe.epochs),
        engine,
    )


def test_a_phase_steps_its_parts_with_the_gradient_of_its_own_loss():
    toy = Toy(PHASES[:1])
    step(toy)
    assert (
        toy.one.item() == pytest.approx(1 - 0.1 * 2 * (2 - 1) * 2)
        and toy.two.item() == 2.0
    )
    assert toy.one.grad is None and toy.two.grad is None


def test_a_shared_forward_is_run_once_and_a_fresh_one_reads_what_was_moved():
    shared, fresh = Toy((PHASES[0], Phase("own", ("two",)))), Toy(PHASES[:2])
    step(shared), step(fresh)
    assert (shared.forwards, fresh.forwards) == (1, 2)
    assert shared.two.item() == pytest.approx(2 - 0.1 * 2 * (6 - 1) * 3)
    one = 1 - 0.1 * 2 * (2 - 1) * 2
    assert fresh.two.item() == pytest.approx(2 - 0.1 * 2 * (one * 2 - 1) * one)


def test_a_phase_that_reads_what_an_earlier_one_moved_must_ask_for_a_fresh_forward():
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        step(Toy((PHASES[0], Phase("b", ("two",)))))


def test_phases_are_active_in_their_epochs_only():
    assert set(step(Toy(PHASES), 4.9)) == {"a/id", "a/zero", "b/id", "b/zero"}
    assert {k.split("/")[0] for k in step(Toy(PHASES), 5.0)} == {"a", "b", "late"}


def test_a_loss_that_is_not_finite_stops_the_run_and_names_step_and_term(
    tiny_root, monkeypatch
):
    from vvi.methods import baseline

    def poisoned(self, out, batch, phase):
        return {
            "id": out.logits.square().mean(),
            "triplet": out.feat.sum() * (float("nan") if batch.step == 2 else 1.0),
        }

    monkeypatch.setattr(baseline.Model, "losses", poisoned)
    with pytest.raises(train.DivergedError, match=r"step 2: encoder/triplet is nan"):
        experiment.run(
            preset("tiny"),
            retrain=True,
            data=tiny_root,
            device="cpu",
            progress=False,
            keep=False,
        )


def test_an_unknown_device_and_an_absent_gpu_are_named():
    with pytest.raises(ValueError, match="no device 'tpu'"):
        train.fabric("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="sees no GPU"):
            train.fabric("cuda")


@pytest.mark.parametrize(
    "backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)]
)
def test_compiled_stages_learn_the_same_and_are_what_they_were_afterwards(
    tiny_root, monkeypatch, backend
):
    seen, compile = [], torch.compile
    monkeypatch.setattr(
        torch,
        "compile",
        lambda function: seen.append(function) or compile(function, backend=backend),
    )
    plain = experiment.run(
        preset("tiny", steps=2),
        device="cpu",
        data=tiny_root,
        keep=False,
        progress=False,
    )
    assert not seen
    quick = experiment.run(
        preset("tiny", steps=2),
        device="cpu",
        data=tiny_root,
        keep=False,
        progress=False,
        compiled=True,
    )
    assert len(seen) == 4, "one for each stage of the trunk"
    assert (
        quick.record.environment["compiled"]
        and "compiled" not in plain.record.environment
    )
    for term, values in plain.history.items():
        assert quick.history[term] == pytest.approx(values, rel=1e-3), term
    method = methods.load("baseline", num_ids=3, backbone="micro", frames=3)
    names = list(method.state_dict())
    with train.compiled(method):
        assert list(method.state_dict()) == names and "forward" in vars(
            method.trunk.layer4
        )
    assert "forward" not in vars(method.trunk.layer4)
