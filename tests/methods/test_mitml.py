import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vvi import methods
from vvi.config import Recipe
from vvi.engine import optim, train
from vvi.methods import mitml
from vvi.types import Batch

CPU = torch.device("cpu")
VIS, IR = (
    torch.tensor([[0.0, 2, 0], [1, 0, 0]]),
    torch.tensor([[1.0, 0, 1], [0, 0, 3]]),
)  # columns infrared, visible, neither


def small(**options):
    torch.manual_seed(0)
    return methods.load(
        "mitml", num_ids=5, backbone="micro", **({"frames": 4} | options)
    )


def batch(frames=4, step=0):
    g = torch.Generator().manual_seed(step)
    vis, ir = (torch.randn(6, frames, 3, 32, 16, generator=g) for _ in range(2))
    return Batch(vis, ir, torch.tensor([0, 0, 1, 1, 2, 2]), None, None, step)


def near(value, expected):
    assert float(value.detach()) == pytest.approx(expected, abs=1e-5)


def count(module):
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def test_the_parameter_counts_at_paper_size_are_those_of_the_card():
    with torch.device("meta"):
        model = methods.load("mitml", num_ids=500, backbone="resnet50", frames=6)
    assert (
        sum(
            count(getattr(model, part))
            for part in ("trunk", "attention", "memory", "neck")
        )
        == 134_973_824
    )
    assert (count(model.memory.lstm), count(model.memory), count(model.modal)) == (
        67_141_632,
        95_465_472,
        2_802_307,
    )
    assert (
        count(model.memory.fc) == 6 * 4_196_352
        and count(model.memory.squeeze) + count(model.memory.excite) == 6 * 524_288
    )
    assert (
        count(model.attention) == count(model.trunk.layer4) == 14_964_736
        and count(model.trunk.stems) == 19_072
    )


def test_the_parameters_of_tmr_grow_with_the_frames_as_the_card_says():
    with torch.device("meta"):
        for frames in (1, 6, 8):
            assert (
                count(mitml.TemporalMemory(2048, frames))
                == 67_141_632 + 4_720_640 * frames
            )


def test_the_losses_of_the_game_are_those_of_the_card():
    near(mitml.modal_loss(VIS, IR), 2.873954)
    near(mitml.confusion_loss(VIS, IR), 2.373954)
    two = VIS[:, :2], IR[:, :2]
    near(mitml.modal_loss(*two), 1.223299)
    near(mitml.confusion_loss(*two, "flip"), 2.223299)
    near(mitml.confusion_loss(*two, "uniform"), 1.723299)


def test_the_game_at_its_start_and_where_the_uniform_target_stops_pushing():
    zero = [torch.zeros(4, 3, requires_grad=True) for _ in range(2)]
    near(mitml.modal_loss(*zero), 2 * math.log(3))
    mitml.confusion_loss(*zero).backward()
    assert zero[0].grad.abs().max() > 0.01
    two = [torch.zeros(4, 2, requires_grad=True) for _ in range(2)]
    near(mitml.confusion_loss(*two, "flip"), 2 * math.log(2))
    uniform = mitml.confusion_loss(*two, "uniform")
    near(uniform, 2 * math.log(2))
    uniform.backward()
    assert two[0].grad.abs().max() < 1e-7
    with pytest.raises(ValueError, match="no adversary 'swap'"):
        mitml.confusion_loss(*two, "swap")


def toy_memory(eta="own", half_outside=False):
    """TMR of two channels and two frames: only the cell gate of the LSTM has a bias, the maps are the identity."""
    memory = mitml.TemporalMemory(2, 2, eta, half_outside, reduction=1)
    with torch.no_grad():
        for p in memory.parameters():
            p.zero_()
        for layer in (0, 1):
            getattr(memory.lstm, f"bias_ih_l{layer}")[4:6] = (
                1  # gates i, f, g, o of two units each: g
            )
        for part in (memory.fc, memory.squeeze, memory.excite):
            part.weight.copy_(torch.eye(2).expand(2, 2, 2))
    return memory


ATTENTION, AGGREGATION = (
    torch.tensor([[[0.6, 0.2], [-1, 1]]]),
    torch.tensor([[[2.0, -4], [1, 1]]]),
)


@pytest.mark.parametrize(
    ("eta", "expected"),
    [("own", (2.346487, -2.268998)), ("last", (2.355649, -2.287893))],
)
def test_the_tiny_memory_gives_the_clip_vector_of_the_card(eta, expected):
    memory = toy_memory(eta)
    torch.testing.assert_close(
        memory.lstm(ATTENTION)[0][0, :, 0],
        torch.tensor([0.181700, 0.258118]),
        atol=1e-5,
        rtol=0,
    )
    torch.testing.assert_close(
        memory(ATTENTION, AGGREGATION)[0], torch.tensor(expected), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(
    ("outside", "expected"), [(False, (3.244919, -6.0)), (True, (2.731059, -5.0))]
)
def test_the_gate_is_that_of_the_card_with_the_halving_inside_and_outside(
    outside, expected
):
    memory = toy_memory(half_outside=outside)
    with torch.no_grad():
        memory.lstm.bias_ih_l1.zero_()  # h = 0, so that the sum is what the attention branch gives
    gate = memory.gates(torch.tensor([[[1.0, 0], [1, 0]]]))[
        0, 0
    ]  # the halved sum is (0.5, 0)
    torch.testing.assert_close(
        torch.tensor([2.0, -4]) * (1 + gate), torch.tensor(expected), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("eta", ["own", "last"])
def test_the_memory_agrees_with_a_loop_over_clips_and_frames(eta):
    torch.manual_seed(1)
    memory, attention, aggregation = (
        mitml.TemporalMemory(32, 3, eta),
        torch.rand(2, 3, 32),
        torch.rand(2, 3, 32),
    )
    slow = torch.zeros(2, 32)
    for b in range(2):
        states = memory.lstm(attention[b : b + 1])[0][0]
        for t in range(3):
            mixed = (
                F.linear(
                    states[t if eta == "own" else 2],
                    memory.fc.weight[t],
                    memory.fc.bias[t],
                )
                + attention[b, t]
            )
            gate = torch.sigmoid(
                F.linear(
                    F.relu(F.linear(mixed / 2, memory.squeeze.weight[t])),
                    memory.excite.weight[t],
                )
            )
            slow[b] += (gate * aggregation[b, t] + aggregation[b, t]) / 3
    torch.testing.assert_close(memory(attention, aggregation), slow)


def test_the_clip_vector_scales_with_the_aggregation_branch_and_lies_between_its_mean_and_twice_that():
    memory, attention, aggregation = (
        mitml.TemporalMemory(32, 4),
        torch.rand(3, 4, 32),
        torch.rand(3, 4, 32),
    )
    out = memory(attention, aggregation)
    torch.testing.assert_close(memory(attention, 3 * aggregation), 3 * out)
    mean = aggregation.mean(1)
    assert (out >= mean).all() and (out <= 2 * mean).all()


@pytest.mark.parametrize("options", [{}, {"eta": "last"}])
def test_shuffled_frames_change_the_embedding_of_tmr_and_not_that_of_the_mean(options):
    clips, order = torch.randn(3, 4, 3, 32, 16), [2, 0, 3, 1]
    full, mean = small(**options).eval(), small(temporal="mean").eval()
    with torch.no_grad():
        assert (
            full.embed(clips, "ir") - full.embed(clips[:, order], "ir")
        ).abs().max() > 1e-4
        torch.testing.assert_close(
            mean.embed(clips, "ir"),
            mean.embed(clips[:, order], "ir"),
            atol=1e-5,
            rtol=1e-4,
        )


def test_the_model_of_hidden_order_sees_no_order_and_repeats_itself():
    model, clips = small(shuffle="both").eval(), torch.randn(3, 4, 3, 32, 16)
    with torch.no_grad():
        torch.testing.assert_close(
            model.embed(clips, "ir"),
            model.embed(clips[:, [2, 0, 3, 1]], "ir"),
            atol=1e-5,
            rtol=1e-4,
        )
        assert torch.equal(model.embed(clips, "ir"), model.embed(clips, "ir"))
    many = torch.randn(200, 4, 3, 32, 16)
    first = model._order(many)[:, 0]
    assert (
        sorted(first.unique().tolist()) == [0, 1, 2, 3] and first.bincount().min() > 25
    )  # every place comes first now and then


def test_the_gates_that_are_shown_belong_to_the_frames_in_their_own_order():
    kept, hidden, clips = (
        small().eval(),
        small(shuffle="both").eval(),
        torch.randn(2, 4, 3, 32, 16),
    )
    with torch.no_grad():
        order = hidden._order(clips)
        sorted_clips = torch.stack(
            [clip[o] for clip, o in zip(clips, order, strict=True)]
        )
        shown, expected = (
            hidden.inspect(clips, "vis")["gate"],
            kept.inspect(sorted_clips, "vis")["gate"],
        )
        for b in range(2):
            torch.testing.assert_close(
                shown[b][order[b]], expected[b], atol=1e-5, rtol=1e-4
            )
    assert small(temporal="mean").inspect(clips, "vis") == {}


def test_a_clip_of_another_length_than_the_gates_is_refused():
    with pytest.raises(ValueError, match="gates for 4 frames, the clips have 6"):
        small().embed(torch.zeros(1, 6, 3, 32, 16), "vis")
    with pytest.raises(ValueError, match="temporal='lstm'"):
        small(temporal="lstm")


def iterate(model, epoch, steps=1, **changes):
    recipe = Recipe(**({"slow": 1.0, "warmup": 0, "milestones": ()} | changes))
    optimisers, engine = optim.build(model, recipe), train.fabric("cpu")
    return [
        train.iteration(
            model,
            batch(step=s),
            optimisers,
            epoch,
            optim.rate(recipe, epoch, recipe.epochs),
            engine,
        )
        for s in range(steps)
    ]


def test_the_classifier_learns_from_its_own_loss_alone_and_the_encoder_is_not_moved_by_it():
    model = small().train()
    model.phases = tuple(p for p in model.phases if p.name == "modal")
    before = copy.deepcopy(dict(model.named_parameters()))
    iterate(model, 0)
    moved = {
        name.split(".")[0]
        for name, p in model.named_parameters()
        if not torch.equal(p, before[name])
    }
    assert moved == {"modal"}
    assert all(
        torch.equal(p, before[name])
        for name, p in model.named_parameters()
        if not name.startswith("modal")
    )


def test_the_encoder_phase_moves_everything_but_the_classifier_and_the_neck_bias():
    model = small().train()
    model.phases = tuple(p for p in model.phases if p.name == "encoder")
    before = copy.deepcopy(dict(model.named_parameters()))
    assert set(iterate(model, 0)[0]) == {
        "encoder/id",
        "encoder/triplet",
        "encoder/confusion",
    }
    moved = {
        name for name, p in model.named_parameters() if not torch.equal(p, before[name])
    }
    assert {name.split(".")[0] for name in moved} == {
        "trunk",
        "attention",
        "memory",
        "neck",
    }
    assert (
        "neck.norm.bias" not in moved
        and {n for n in before if n.startswith("attention")} <= moved
    )


def test_the_game_reaches_the_encoder_through_a_classifier_that_stays_and_leaves_it_no_gradient():
    model = small().train()
    out = model(batch())
    confusion = model.losses(out, batch(), model.phases[-1])["confusion"]
    wanted = [
        p
        for part in ("trunk", "attention", "memory")
        for p in getattr(model, part).parameters()
    ]
    grads = torch.autograd.grad(confusion, wanted, retain_graph=True)
    assert all(g.abs().sum() > 0 for g in grads)
    confusion.backward(inputs=wanted)
    assert all(p.grad is None for p in model.modal.parameters())
    own = model.losses(out, batch(), model.phases[0])["modality"]
    own.backward()
    assert all(p.grad is not None for p in model.modal.parameters())


def test_the_identity_loss_does_not_reach_the_classifier():
    model, b = small().train(), batch()
    out = model(b)
    assert model.losses(out, b, model.phases[-1])["id"].requires_grad
    grads = torch.autograd.grad(
        model.losses(out, b, model.phases[-1])["id"],
        list(model.modal.parameters()),
        allow_unused=True,
    )
    assert all(g is None for g in grads)


def test_before_its_start_the_released_encoder_plays_alone_and_steps_first():
    model = small(variant="released").train()
    early, late = iterate(model, 59.9)[0], iterate(model, 60.0)[0]
    assert [k for k in early if k.startswith(("alone", "modal"))] == [
        "alone/id",
        "alone/triplet",
        "modal/modality",
    ] and "encoder/id" not in early
    assert [k for k in late if "/" in k and not k.startswith("watch")] == [
        "modal/modality",
        "encoder/id",
        "encoder/triplet",
        "encoder/confusion",
    ]
    assert model.memory.eta == "last" and small().memory.eta == "own"


def test_the_classifier_learns_at_its_own_constant_rate_while_the_encoder_follows_the_schedule():
    model = small()
    recipe = Recipe()
    optimisers = optim.build(model, recipe)
    for epoch, rate in {
        0: 0.01,
        9: 0.1,
        34: 0.1,
        35: 0.01,
        79: 0.01,
        80: 0.001,
    }.items():
        for phase in model.phases:
            optim.set_rate(
                optimisers[phase.optimiser], phase, optim.rate(recipe, epoch, 200)
            )
        rates = {
            id(p): g["lr"] for g in optimisers["main"].param_groups for p in g["params"]
        }
        assert rates[id(model.neck.classifier.weight)] == pytest.approx(rate) and rates[
            id(model.memory.fc.weight)
        ] == pytest.approx(rate / 10)
        assert {g["lr"] for g in optimisers["modal"].param_groups} == {0.01}


def test_the_rate_groups_of_the_paper_slow_the_stems_only():
    model = small(rates="paper")
    groups = {
        g["factor"]: {id(p) for p in g["params"]}
        for g in model.groups(model.phases[-1], 0.1)
    }
    assert groups[0.1] == {id(p) for p in model.trunk.stems.parameters()}
    assert (
        id(model.trunk.layer4[0].conv1.weight) in groups[1.0]
        and id(model.memory.fc.weight) in groups[1.0]
    )
    model = small(rates="memory")
    groups = {
        g["factor"]: {id(p) for p in g["params"]}
        for g in model.groups(model.phases[-1], 0.1)
    }
    assert groups[0.1] == {id(p) for p in model.memory.parameters()}


def test_the_copy_of_the_last_stage_starts_equal_and_trains_apart():
    model = small().train()
    pairs = list(
        zip(model.attention.parameters(), model.trunk.layer4.parameters(), strict=True)
    )
    assert all(torch.equal(a, b) and a is not b for a, b in pairs)
    iterate(model, 0)
    assert not all(torch.equal(a, b) for a, b in pairs)


def test_without_its_two_ideas_the_method_is_the_baseline():
    torch.manual_seed(3)
    plain = methods.load("baseline", num_ids=5, backbone="micro", frames=4)
    torch.manual_seed(3)
    bare = methods.load(
        "mitml",
        num_ids=5,
        backbone="micro",
        frames=4,
        temporal="mean",
        adversary="none",
    )
    assert plain.state_dict().keys() == bare.state_dict().keys()
    first, second = (m.train()(batch()) for m in (plain, bare))
    assert torch.equal(first.logits, second.logits)


def test_the_classifier_is_the_stack_of_the_card():
    stack = mitml.ModalClassifier(2048, 3)
    widths = [block[0].out_features for block in stack.blocks]
    assert widths == [1024, 512, 256, 128, 64, 32, 16, 8] and isinstance(
        stack.out, nn.Linear
    )
    assert [
        block[0].out_features for block in mitml.ModalClassifier(192, 2).blocks
    ] == [96, 48, 24, 12, 8, 8, 8, 8]
