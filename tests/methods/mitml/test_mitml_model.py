"""The network of MITML as a whole."""

import copy

import iterations
import pytest
import torch
from small_mitml import batch, count, small

from vvi import methods
from vvi.config import Recipe
from vvi.engine import optim


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
    first = model._frame_order(many)[:, 0]
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
        order = hidden._frame_order(clips)
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
    with pytest.raises(ValueError, match="reduction=64: must be between 1 and 32"):
        small(reduction=64)


@pytest.mark.parametrize(("gates", "clips"), [(4, 1), (1, 4)])
def test_a_single_frame_is_not_repeated_for_gates_of_more_nor_a_gate_for_more_frames(
    gates, clips
):
    said, model = (
        f"gates for {gates} frames, the clips have {clips}",
        small(frames=gates),
    )
    with pytest.raises(ValueError, match=said):
        model.train()(batch(clips))
    for call in (model.eval().embed, model.inspect):
        with pytest.raises(ValueError, match=said):
            call(torch.randn(2, clips, 3, 32, 16), "ir")
    assert small(frames=gates, temporal="mean")(batch(clips)).feat.shape == (12, 32)


def test_clips_of_both_modalities_are_joined_only_where_frames_are_shuffled(
    monkeypatch,
):
    joined = []
    clips = property(lambda b: joined.append(b) or torch.cat((b.vis, b.ir)))
    monkeypatch.setattr("vvi.types.Batch.clips", clips)
    small()(batch())
    assert not joined
    small(shuffle="both")(batch())
    assert len(joined) == 1


def iterate(model, epoch, steps=1, **changes):
    recipe = Recipe(**({"slow": 1.0, "warmup": 0, "milestones": ()} | changes))
    batches = [batch(step=step) for step in range(steps)]
    return iterations.iterate(model, batches, recipe, epoch)


def test_the_classifier_learns_from_its_own_loss_which_does_not_move_the_encoder():
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


def test_the_game_reaches_the_encoder_and_leaves_the_classifier_no_gradient():
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


def test_the_classifier_learns_at_its_own_constant_rate():
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
