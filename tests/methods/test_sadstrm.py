import copy
import math
from collections import Counter

import iterations
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vvi import methods
from vvi.config import Recipe
from vvi.engine import optim, train
from vvi.experiment import ablation
from vvi.losses import batch_hard_triplet
from vvi.methods import sadstrm
from vvi.nn import backbone
from vvi.nn.pool import clip_average
from vvi.types import Batch

RECIPE = Recipe(
    lr=0.01,
    slow=1.0,
    warmup=0,
    milestones=(),
    momentum=0.9,
    nesterov=False,
    weight_decay=5e-4,
)
HEADS = {"bn_att", "bn_def", "w_att", "w_def", "w_se"}
DEFENDER = {"e_def3", "conla4", "cmca3", "cmca4", "bn_def"}
MOVED = {  # Algorithm 1, line by line
    "I.def": {"stems", "w_def"} | DEFENDER,
    "I.stig": {"stems", "e_def3", "conla4", "stig", "w_se"},
    "I.att": {"stems", "imsa", "e_att", "bn_att", "w_att"},
    "II.def": DEFENDER,
    "II.stig": {"stems", "e_def3", "conla4", "stig", "w_se"},
    "II.att": {"stems", "imsa", "e_att", "bn_att", "w_att"},
}
ORDER = [2, 0, 3, 1]


def small(num_ids=5, **options):
    torch.manual_seed(0)
    return methods.load(
        "sadstrm", num_ids=num_ids, backbone="micro", **({"frames": 4} | options)
    )


def awake(model):
    """Attention and necks as after some training: no norm is zero or one."""
    g = torch.Generator().manual_seed(7)
    for part in model.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            nn.init.normal_(part.weight, 1.0, 0.3, generator=g)
            nn.init.normal_(part.bias, 0.0, 0.1, generator=g)
            part.running_var.uniform_(0.5, 1.5, generator=g)
    return model


def batch(frames=4, step=0):
    g = torch.Generator().manual_seed(step)
    vis, ir = (torch.randn(6, frames, 3, 32, 16, generator=g) for _ in range(2))
    return Batch(vis, ir, torch.tensor([0, 0, 1, 1, 2, 2]), None, None, step)


def shuffled(b, vis=True, ir=True):
    return Batch(
        b.vis[:, ORDER] if vis else b.vis,
        b.ir[:, ORDER] if ir else b.ir,
        b.ids,
        None,
        None,
    )


def iterate(model, epoch, recipe=RECIPE, steps=1):
    batches = [batch(step=step) for step in range(steps)]
    return iterations.iterate(model, batches, recipe, epoch)


def active(model, epoch):
    return [
        phase for phase in model.phases if phase.epochs[0] <= epoch < phase.epochs[1]
    ]


def part_of(name):
    return name.split(".")[0]


def count(module):
    return sum(p.numel() for p in module.parameters())


def near(value, expected, tolerance=1e-4):
    torch.testing.assert_close(
        value.detach(), torch.as_tensor(expected), atol=tolerance, rtol=0
    )


def as_map(tokens):
    """Rows are places: (N', C) -> (1, C, N', 1)."""
    return torch.tensor(tokens).T[None, :, :, None]


def plain_attention(query="self"):
    """Two channels, identity maps, no bias, no norm."""
    block = sadstrm.Attention(2, query, inner=2)
    for part in (block.theta, block.phi, block.g, block.out):
        nn.init.eye_(part.weight)
        nn.init.zeros_(part.bias)
    block.norm = nn.Identity()
    return block


A, Y = as_map([[1.0, 0], [0, 1]]), as_map([[1.0, 1], [0, 2]])


@pytest.mark.parametrize(
    ("query", "x", "y", "expected"),
    [
        ("self", A, A, [[1.7311, 0.2689], [0.2689, 1.7311]]),
        ("self", A, Y, [[1.7311, 1.2689], [0.2689, 2.7311]]),
        ("self", Y, A, [[1.5, 1.5], [0.1192, 2.8808]]),
        ("self", Y, Y, [[1.5, 2.5], [0.1192, 3.8808]]),
        ("other", A, Y, [[1.5, 0.5], [0.1192, 1.8808]]),
    ],
)
def test_attention_of_two_places_is_that_of_the_card(query, x, y, expected):
    near(plain_attention(query)(x, y)[0, :, :, 0].T, expected)


@pytest.mark.parametrize("query", ["self", "other"])
def test_fused_attention_agrees_with_the_written_out_form_and_so_do_its_gradients(
    query,
):
    torch.manual_seed(1)
    block = sadstrm.Attention(16, query)
    nn.init.normal_(block.norm.weight)
    x, y = (
        torch.randn(3, 16, 4, 2).to(memory_format=torch.channels_last).requires_grad_()
        for _ in range(2)
    )
    ask, answer = (x, y) if query == "self" else (y, x)

    def written_out():
        conv = {
            name: nn.Conv2d(*getattr(block, name).weight.shape[::-1], 1)
            for name in ("theta", "phi", "g", "out")
        }
        for name, layer in conv.items():
            layer.weight, layer.bias = (
                nn.Parameter(getattr(block, name).weight[:, :, None, None]),
                getattr(block, name).bias,
            )
        q, p, g = (
            conv[name](maps).flatten(2)
            for name, maps in (("theta", ask), ("phi", answer), ("g", answer))
        )  # (N, C', hw)
        mixed = torch.einsum(
            "nqk,nck->ncq", torch.einsum("ncq,nck->nqk", q, p).softmax(2), g
        )
        return x + block.norm(conv["out"](mixed.unflatten(2, (4, 2))))

    torch.testing.assert_close(block(x, y), written_out(), atol=1e-5, rtol=1e-4)
    fused, plain = (
        torch.autograd.grad(out.square().sum(), (x, y))
        for out in (block(x, y), written_out())
    )
    torch.testing.assert_close(fused, plain, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("training", [True, False])
def test_fresh_attention_is_the_identity(training):
    block, (x, y) = sadstrm.Attention(16).train(training), torch.randn(2, 3, 16, 4, 2)
    assert torch.equal(block(x, y), x)


def test_fresh_fusion_gives_the_plain_feature_of_the_defender():
    model, b = small().eval(), batch()
    with torch.no_grad():
        out = model(b)
        plain = out.levels[1].unflatten(0, (12, 4)).mean((1, 3, 4))
        torch.testing.assert_close(out.feat, plain)
        torch.testing.assert_close(out.normed, model.bn_def(plain))


def test_received_attention_is_that_of_a_loop_over_places():
    block, x, y = (
        sadstrm.Attention(16),
        torch.randn(2, 16, 4, 2),
        torch.randn(2, 16, 4, 2),
    )
    slow = torch.zeros(2, 8)
    for n in range(2):
        for i in range(8):
            ask = block.theta(x[n].flatten(1)[:, i])
            slow[n] += (
                torch.stack(
                    [ask @ block.phi(y[n].flatten(1)[:, j]) for j in range(8)]
                ).softmax(0)
                / 8
            )
    torch.testing.assert_close(
        block.received(x, y), slow.unflatten(1, (4, 2)), atol=1e-5, rtol=1e-4
    )
    torch.testing.assert_close(slow.sum(1), torch.ones(2))


VIS, IR, IDS = (
    torch.tensor([[2.0, 0, 0], [0, 1, 0]]),
    torch.tensor([[0.0, 0, 0], [0, 0, 3]]),
    torch.tensor([0, 1]),
)


def test_attack_and_identity_losses_are_those_of_the_card():
    near(sadstrm.attack_loss(VIS, IR), 2.99226)
    near(sadstrm.two_modality_ce(VIS, IR, IDS), 2.49226)
    near(2 * F.cross_entropy(torch.cat((VIS, IR)), IDS.repeat(2)), 2.49226)
    zero = torch.zeros(2, 3)
    near(sadstrm.attack_loss(zero, zero), 2 * math.log(3))
    near(sadstrm.two_modality_ce(zero, zero, IDS), 2 * math.log(3))


def test_the_attack_never_costs_less_than_an_undecided_classifier():
    torch.manual_seed(0)
    for spread in (0.1, 1.0, 10.0):
        vis, ir = (spread * torch.randn(4, 7) for _ in range(2))
        slow = (
            -sum(
                torch.log_softmax(row, 0)[c] / 7
                for side in (vis, ir)
                for row in side
                for c in range(7)
            )
            / 4
        )
        near(sadstrm.attack_loss(vis, ir), slow, 1e-4 * spread)
        assert slow >= 2 * math.log(7)


def test_the_triplets_are_those_of_the_card():
    feat, ids = (
        torch.tensor([[0.0, 0], [3, 0], [1, 0], [3, 4]]),
        torch.tensor([0, 1, 0, 1]),
    )
    near(batch_hard_triplet(feat, ids), 0.575)
    near(sadstrm.squared_triplet(feat, ids), 3.075)


def test_the_squared_triplet_agrees_with_the_slow_loop():
    torch.manual_seed(0)
    feat, ids, total = torch.randn(8, 5), torch.tensor([0, 0, 1, 1, 2, 2, 3, 3]), 0.0
    for a in range(8):
        far = max(
            (feat[a] - feat[p]).square().sum() for p in range(8) if ids[p] == ids[a]
        )
        close = min(
            (feat[a] - feat[n]).square().sum() for n in range(8) if ids[n] != ids[a]
        )
        total += max(0.0, float(far - close) + 0.3)
    near(sadstrm.squared_triplet(feat, ids), total / 8)


def toy_relations(kind):
    """One channel, two stripes: LSTMs of weights one, a gate of one hidden unit."""
    stig = sadstrm.StripeRelations(1, sadstrm.Config(stig=kind, parts=2))
    with torch.no_grad():
        for name, p in stig.named_parameters():
            p.fill_(float("lstm" not in name and "bias" not in name))
        if kind != "fr_e_ti":
            stig.lm1.weight[1:] = 0
            stig.lm2.weight[:, 1:] = 0
    return stig


TOY = torch.tensor([[1.0, 2], [2, 1]])[
    :, None, :, None
]  # frames, one channel, one place for each stripe


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("full", [1.9289, 2.0179]),
        ("no_spa", [1.9634, 2.0454]),
        ("fr_e_ti", [2.0904, 2.1794]),
    ],
)
def test_two_frames_of_two_stripes_give_the_vectors_of_the_card(kind, expected):
    near(toy_relations(kind)(TOY, 2)[0], expected)


def test_motion_and_gates_of_the_toy_are_those_of_the_card():
    stig = toy_relations("full")
    feat = stig.cut(TOY, 2)
    motion = stig.motion(feat)
    near(motion[0, :, :, 0], [[0.3696, 0.6083], [0.8112, 0.7505]])
    near(stig.spa(motion[:, -1])[0][0, -1], [0.5389])
    near(stig.gates(feat, motion)[0, :, :, 0], [[0.8233, 0.9268], [0.9268, 0.8233]])
    near(stig.motion(torch.ones(1, 2, 2, 1))[0, :, 0, 0], [0.3696, 0.6505])


@pytest.mark.parametrize("kind", ["full", "no_spa", "fr_e_ti"])
def test_stripe_relations_agree_with_a_loop_over_clips_stripes_and_frames(kind):
    torch.manual_seed(2)
    stig, maps = (
        sadstrm.StripeRelations(16, sadstrm.Config(stig=kind, parts=3)),
        torch.randn(2 * 4, 16, 6, 2),
    )
    with torch.no_grad():
        for b in range(2):
            feat = torch.stack(
                [
                    torch.stack(
                        [
                            maps[4 * b + t, :, 2 * k : 2 * k + 2].mean((1, 2))
                            for k in range(3)
                        ]
                    )
                    for t in range(4)
                ]
            )  # (T, K, D)
            motion = torch.stack(
                [stig.mot(feat[None, :, k])[0][0] for k in range(3)], 1
            )
            expected = []
            for k in range(3):
                total = torch.zeros(16)
                for t in range(4):
                    gate = torch.ones(16)
                    if kind != "fr_e_ti":
                        relation = (
                            stig.spa(motion[None, 3])[0][0, 2]
                            if kind == "full"
                            else motion[3, k]
                        )
                        gate = torch.sigmoid(
                            stig.lm2(
                                F.relu(stig.lm1(torch.cat((feat[t, k], relation))))
                            )
                        )
                    total += (feat[t, k] * gate + motion[t, k]) / 4
                expected.append(total)
            torch.testing.assert_close(
                stig(maps, 4)[b], torch.cat(expected), atol=1e-5, rtol=1e-4
            )


def test_the_mean_of_stripes_is_the_average_over_places_where_they_divide_the_map():
    stig, maps = (
        sadstrm.StripeRelations(16, sadstrm.Config(parts=6)),
        torch.randn(4, 16, 18, 9),
    )
    torch.testing.assert_close(
        stig.cut(maps, 2).mean(2).flatten(0, 1), maps.mean((2, 3)), atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize(("trunk", "height"), [("small", 128), ("micro", 32)])
def test_six_stripes_of_a_small_trunk_overlap_and_two_are_means_of_their_neighbours(
    trunk, height
):
    """Paper: they do not, with K = 6 of 18 rows. These maps have four."""
    net = backbone.build(trunk).eval()
    with torch.no_grad():
        maps = net(net.stem(torch.randn(2, 3, height, height // 2), "ir"))
    assert maps.shape[2:] == (4, 2)
    stig = sadstrm.StripeRelations(maps.shape[1], sadstrm.Config(parts=6))
    first, second, third, fourth, fifth, sixth = stig.cut(maps, 1)[0, 0]
    torch.testing.assert_close(second, (first + third) / 2)
    torch.testing.assert_close(fifth, (fourth + sixth) / 2)


@pytest.mark.parametrize(("rows", "even"), [(18, [1, 2, 3, 6]), (4, [1, 2, 4])])
def test_stripes_share_no_row_where_their_number_divides_the_rows(rows, even):
    apart = []
    for parts in range(1, 8):
        stig = sadstrm.StripeRelations(1, sadstrm.Config(parts=parts, stig="fr_e_ti"))
        marked = torch.eye(rows).view(rows, 1, rows, 1)  # each map marks one row
        stripes_of_row = (stig.cut(marked, 1)[:, 0, :, 0] > 0).sum(1)
        if bool((stripes_of_row == 1).all()):
            apart.append(parts)
    assert apart == even


@pytest.mark.parametrize(
    ("kind", "moves"), [("no_spa", False), ("fr_e_ti", False), ("full", True)]
)
def test_turned_stripes_turn_the_blocks_unless_their_relation_is_known(kind, moves):
    torch.manual_seed(2)
    stig, maps = (
        sadstrm.StripeRelations(16, sadstrm.Config(stig=kind, parts=4)),
        torch.randn(6, 16, 4, 2),
    )
    with torch.no_grad():
        kept, turned = (
            stig(maps, 3).unflatten(1, (4, 16)),
            stig(maps.flip(2), 3).unflatten(1, (4, 16)).flip(1),
        )
    assert ((kept - turned).abs().max() > 1e-4) == moves
    if not moves:
        torch.testing.assert_close(kept, turned)


def test_the_parameter_counts_at_paper_size_are_those_of_the_card():
    with torch.device("meta"):
        model = methods.load("sadstrm", num_ids=500, backbone="resnet50")
        two = sadstrm.StripeRelations(2048, sadstrm.Config(lstm_layers=2))
    parts = {name: count(part) for name, part in model.named_children()}
    assert parts == {
        "stems": 2 * 9_536,
        "e_def3": 8_533_760,
        "conla4": 14_964_736,
        "e_att": 23_498_496,
        "imsa": 8_480,
        "cmca3": 2_101_760,
        "cmca4": 8_397_824,
        "bn_att": 4_096,
        "bn_def": 4_096,
        "w_att": 1_024_000,
        "w_def": 1_024_000,
        "w_se": 6_144_000,
        "stig": 2 * 33_570_816 + 524_416 + 264_192,
        "fused": 0,
    }
    assert count(model) == 133_654_560
    assert (
        sum(parts[name] for name in ("stems", "e_def3", "conla4", "stig")) == 91_447_808
    )
    assert count(two.mot) == count(two.spa) == 67_141_632


@pytest.mark.parametrize(("size", "last"), [((288, 144), (18, 9)), ((96, 48), (6, 3))])
def test_the_shapes_at_paper_size_are_those_of_the_card(size, last):
    with torch.device("meta"):
        model = methods.load("sadstrm", num_ids=500, backbone="resnet50")
        out = model(
            Batch(
                torch.randn(2, 3, 3, *size),
                torch.randn(2, 3, 3, *size),
                torch.zeros(2, dtype=torch.int64),
                None,
                None,
            )
        )
    assert out.stem.shape == (12, 64, size[0] // 4, size[1] // 4)
    assert [maps.shape for maps in out.levels] == [
        (12, 1024, *last),
        (12, 2048, *last),
    ] and out.fused.shape == (12, 2048, *last)
    assert (
        out.feat.shape == out.normed.shape == out.attacked.shape == (4, 2048)
        and out.logits.shape == (4, 500)
        and out.stripes.shape == (4, 12_288)
    )


def test_each_step_of_algorithm_1_moves_its_line_and_nothing_else():
    model = awake(small()).train()
    assert [phase.name for phase in active(model, 149.99)] == [
        "I.def",
        "I.stig",
        "I.att",
    ]
    assert [phase.name for phase in active(model, 150)] == [
        "II.def",
        "II.stig",
        "II.att",
    ]
    assert {phase.name: phase.optimiser for phase in model.phases} == {
        name: name.split(".")[1] for name in MOVED
    }
    phases = model.phases
    for phase in phases:
        before, model.phases = copy.deepcopy(dict(model.named_parameters())), (phase,)
        iterate(model, phase.epochs[0])
        moved = {
            name
            for name, p in model.named_parameters()
            if not torch.equal(p, before[name])
        }
        assert {part_of(name) for name in moved} == MOVED[phase.name], phase.name
        assert moved == {
            n
            for n, p in model.named_parameters()
            if part_of(n) in MOVED[phase.name] and p.requires_grad
        }
        assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("mode", ["alternating", "joint"])
def test_weight_decay_and_momentum_leave_the_defenders_classifier_in_step_two(
    mode,
):
    model = small(optim_mode=mode).train()
    optimisers, engine = optim.build(model, RECIPE), train.fabric("cpu")
    first = model.w_def.weight.detach().clone()
    train.iteration(model, batch(), optimisers, 149, RECIPE.lr, engine)
    learned = model.w_def.weight.detach().clone()
    train.iteration(model, batch(), optimisers, 150, RECIPE.lr, engine)
    assert (
        not torch.equal(first, learned)
        and torch.equal(model.w_def.weight, learned)
        and model.w_def.weight.grad is None
    )


def test_in_step_two_the_losses_of_the_defender_have_no_way_to_the_stems():
    model, b = awake(small()).train(), batch()
    one, two = (
        next(p for p in model.phases if p.name == name) for name in ("I.def", "II.def")
    )
    wanted = list(model.stems.parameters())
    for phase, reaches in ((one, True), (two, False)):
        terms = model.losses(model(b), b, phase)
        grads = torch.autograd.grad(sum(terms.values()), wanted, allow_unused=True)
        assert all((g is not None) == reaches for g in grads)


def reached(model, loss):
    grads = torch.autograd.grad(
        loss,
        params := [p for p in model.parameters() if p.requires_grad],
        allow_unused=True,
        retain_graph=True,
    )
    names = {id(p): name for name, p in model.named_parameters()}
    return {
        names[id(p)]
        for p, g in zip(params, grads, strict=True)
        if g is not None and g.abs().sum() > 0
    }


ATTACKER = {"stems", "imsa", "e_att", "bn_att"}


@pytest.mark.parametrize(
    ("phase", "term", "parts", "options"),
    [
        ("I.att", "attack", ATTACKER, {}),
        ("I.att", "attack id", ATTACKER | {"w_att"}, {}),
        ("I.def", "id", DEFENDER | {"stems", "w_def"}, {}),
        ("I.def", "triplet", DEFENDER - {"bn_def"} | {"stems"}, {}),
        ("I.def", "triplet", DEFENDER | {"stems"}, {"triplet_form": "squared_post_bn"}),
        ("I.stig", "stripe id", {"stems", "e_def3", "conla4", "stig", "w_se"}, {}),
        (
            "I.stig",
            "stripe id",
            {"stems", "e_def3", "conla4", "cmca3", "cmca4", "stig", "w_se"},
            {"stig_input": "post_cmca"},
        ),
    ],
)
def test_each_loss_reaches_the_parts_of_the_card(phase, term, parts, options):
    model, b = awake(small(**options)).train(), batch()
    terms = model.losses(model(b), b, next(p for p in model.phases if p.name == phase))
    assert {part_of(name) for name in reached(model, terms[term])} == parts


def test_at_first_only_the_norm_of_an_attention_has_gradient():
    model, b = small().train(), batch()
    terms = [model.losses(model(b), b, p) for p in active(model, 0)]
    names = set.union(
        *(reached(model, loss) for found in terms for loss in found.values())
    )
    assert {n for n in names if part_of(n) in {"imsa", "cmca3", "cmca4"}} == {
        f"{a}.norm.{p}" for a in ("imsa", "cmca3", "cmca4") for p in ("weight", "bias")
    }


@pytest.mark.parametrize(("epoch", "step"), [(0, "I"), (150, "II")])
def test_the_joint_step_adds_for_each_part_the_gradients_of_the_objectives_that_move_it(
    epoch, step
):
    turn, b = awake(small(lambda_1=0.7, lambda_2=0.3, lambda_3=2.0)).train(), batch()
    joint = awake(
        small(lambda_1=0.7, lambda_2=0.3, lambda_3=2.0, optim_mode="joint")
    ).train()
    torch.testing.assert_close(turn.state_dict(), joint.state_dict())
    wanted = {name: torch.zeros_like(p) for name, p in turn.named_parameters()}
    for phase in active(turn, epoch):
        params = {
            name: p
            for name, p in turn.named_parameters()
            if part_of(name) in MOVED[phase.name] and p.requires_grad
        }
        grads = torch.autograd.grad(
            sum(turn.losses(turn(b), b, phase).values()), list(params.values())
        )
        for name, grad in zip(params, grads, strict=True):
            wanted[name] += grad
    (phase,) = active(joint, epoch)
    assert phase.name == f"{step}.joint"
    sum(joint.losses(joint(b), b, phase).values()).backward(
        inputs=joint.parameters_of(phase)
    )
    for name, p in joint.named_parameters():
        torch.testing.assert_close(
            torch.zeros_like(p) if p.grad is None else p.grad,
            wanted[name],
            atol=1e-5,
            rtol=1e-3,
            msg=lambda m, name=name: f"{name}: {m}",
        )


def test_an_iteration_pays_for_three_stems_two_defenders_and_one_attacker():
    for mode, expected in (
        ("alternating", (3, 2, 3, 1, 1)),
        ("joint", (1, 1, 2, 1, 1)),
    ):  # the fourth stage runs once more on what the modalities exchanged
        model, calls = small(optim_mode=mode).train(), Counter()
        parts = {
            "stem": model.stems["ir"],
            "e_def3": model.e_def3,
            "conla4": model.conla4,
            "e_att": model.e_att,
            "stig": model.stig,
        }
        for name, part in parts.items():
            part.register_forward_hook(
                lambda *_, name=name, calls=calls: calls.update([name])
            )
        iterate(model, 0)
        assert tuple(calls[name] for name in parts) == expected, mode


def test_a_search_runs_neither_the_attack_nor_the_other_modality():
    model, calls = small().eval(), Counter()
    for name, part in model.named_children():
        part.register_forward_hook(lambda *_, name=name: calls.update([name]))
    model.stems["vis"].register_forward_hook(lambda *_: calls.update(["vis"]))
    with torch.no_grad():
        model.embed(torch.randn(2, 4, 3, 32, 16), "ir")
    assert calls == {"e_def3": 1, "conla4": 1, "stig": 1}


@pytest.mark.parametrize("mode", ["self", "bypass", "cross_stem"])
def test_a_search_runs_no_layer_whose_result_it_drops(mode):
    model, calls = awake(small(cmca_test=mode)).eval(), Counter()
    clips = batch().ir
    with torch.no_grad():
        expected = model.inspect(clips, "ir")
    hooks = [
        model.conla4.register_forward_hook(lambda *_: calls.update(["conla4"])),
        model.stems["vis"].register_forward_hook(lambda *_: calls.update(["vis"])),
    ]
    with torch.no_grad():
        model.embed(clips, "ir")
        assert calls == {"conla4": 1}
        for hook in hooks:
            hook.remove()
        shown = model.inspect(clips, "ir")
    assert shown.keys() == expected.keys()
    assert ("cmca3 attention" in shown) == (mode != "bypass")
    assert all(torch.equal(shown[name], expected[name]) for name in shown)


@pytest.mark.parametrize("row", sadstrm.ABLATIONS["Table 1"])
def test_the_layer_of_heat_maps_runs_once_in_a_search(row):
    model, calls = small(**sadstrm.ABLATIONS["Table 1"][row]).eval(), Counter()
    model.get_submodule(model.maps).register_forward_hook(
        lambda _, given, out: calls.update([tuple(out.shape)])
    )
    with torch.no_grad():
        model.embed(torch.randn(2, 4, 3, 32, 16), "ir")
    assert calls == {(8, 32, 4, 2): 1}


@pytest.mark.parametrize("row", sadstrm.ABLATIONS["Table 1"])
def test_every_row_trains_in_both_steps_and_searches_by_the_feature_of_the_card(
    row,
):
    model = small(**sadstrm.ABLATIONS["Table 1"][row] | {"variant": "paper"}).train()
    names = {
        epoch: {name for name in iterate(model, epoch)[0] if "watch" not in name}
        for epoch in (0, 150)
    }
    attacked, stripes = "ASAM" in row, "FR" in row
    first = (
        {"I.def/id", "I.def/triplet"}
        | ({"I.stig/stripe id"} if stripes else set())
        | ({"I.att/attack", "I.att/attack id"} if attacked else set())
    )
    second = {f"I{name}" for name in first} if attacked else first
    if row == "Baseline+ASAM":
        second = {"II.att/attack", "II.att/attack id"}
    assert names == {0: first, 150: second}
    with torch.no_grad():
        assert model.eval().embed(torch.randn(2, 4, 3, 32, 16), "ir").shape == (
            2,
            6 * 32 if stripes else 32,
        )


def test_the_rows_are_those_that_the_paper_prints():
    assert set(sadstrm.ABLATIONS["Table 1"]) == set(
        ablation.published("sadstrm", "Table 1").index
    )
    assert (
        len(sadstrm.ABLATIONS["Fig. 8"]) == 3 + 4 + 3
        and sadstrm.ABLATIONS["Fig. 8"]["lambda_2=0.01"]["lambda_2"] == 0.01
    )
    for rows in sadstrm.ABLATIONS.values():
        for changes in rows.values():
            sadstrm.Config(**changes)


def test_none_follows_the_variant():
    main, paper = sadstrm.Config(variant="main"), sadstrm.Config()
    for name, values in sadstrm.READINGS.items():
        assert (getattr(main, name), getattr(paper, name)) == values


@pytest.mark.parametrize("partner", ["person", "stranger", "self", "half"])
def test_partners_are_whom_they_are_named_after(partner):
    model, given = small(partner=partner, supervised="fused"), batch()
    count, pairs = 2 * len(given.ids), len(given.ids)
    maps = (
        torch.arange(count).repeat_interleave(4).view(-1, 1, 1, 1).float()
    )  # every frame of a clip holds its number
    chosen = [
        model.partners((maps, maps), 4, step)[1][::4].flatten().long()
        for step in (0, 1)
    ]
    ids, own = given.labels, torch.arange(count)
    same_person = own.roll(pairs)
    if partner == "person":
        assert torch.equal(chosen[0], same_person) and torch.equal(ids[chosen[0]], ids)
    elif partner == "self":
        assert torch.equal(chosen[0], own)
    elif partner == "stranger":
        assert bool((ids[chosen[0]] != ids).all()) and bool(
            ((chosen[0] < pairs) != (own < pairs)).all()
        ), "another person, the other modality"
    else:
        assert all(
            bool(((c == own) | (c == same_person)).all()) for c in chosen
        ) and not torch.equal(*chosen)
        assert torch.equal(
            chosen[0], model.partners((maps, maps), 4, 0)[1][::4].flatten().long()
        ), "drawn by the step"


@pytest.mark.parametrize("step", [0, 1])
def test_a_stranger_of_the_same_identity_is_refused(step):
    model, given = small(partner="stranger", supervised="fused"), batch(step=step)
    model(given)
    given.ids = torch.zeros(6, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"its own identity \(0\): each process"):
        model(given)
    small(partner="person")(given)


def test_a_search_through_the_other_stem_is_refused_where_its_path_is_supervised():
    crossed = {"cmca_test": "cross_stem"}
    for dual in ({"variant": "main"}, {"supervised": "dual"}):
        with pytest.raises(ValueError, match="'cross_stem' with supervised='dual'"):
            methods.config("sadstrm", **crossed | dual)
        assert not methods.config("sadstrm", **crossed | dual, cmca=False).cmca
    assert methods.config("sadstrm", **crossed).supervised == "fused"


@pytest.mark.parametrize("mode", ["self", "bypass"])
def test_dual_supervises_the_feature_that_a_search_compares(mode):
    options = dict(supervised="dual", stig="none", asam=False, cmca_test=mode)
    model, given = awake(small(**options)).eval(), batch()
    with torch.no_grad():
        supervised = F.normalize(model(given).searched_path[1], dim=1)
        vis, ir = model.embed(given.vis, "vis"), model.embed(given.ir, "ir")
    torch.testing.assert_close(supervised, torch.cat((vis, ir)), atol=1e-5, rtol=1e-4)


def test_all_seeds_share_the_draws_of_partners():
    maps, chosen = torch.arange(12.0).view(12, 1, 1, 1), []
    for seed in (0, 1):
        torch.manual_seed(seed)
        model = methods.load("sadstrm", 5, backbone="micro", partner="half")
        chosen.append(model.partners((maps, maps), 1, 3)[0])
    assert torch.equal(*chosen)


def test_ranks_draw_the_partners_that_one_process_draws_for_their_clips(
    under_torchrun, monkeypatch
):
    model, whole = small(partner="half", supervised="fused"), batch(step=3)
    monkeypatch.setattr(model, "fuse", lambda own, other: other[1])

    def partners_of(pairs):
        rows = torch.tensor(pairs)
        of_rank = Batch(whole.vis[rows], whole.ir[rows], whole.ids[rows], None, None, 3)
        out = model(of_rank)
        numbers = torch.cat((rows, rows + len(whole.ids)))  # of the clips
        maps = numbers.repeat_interleave(4).view(-1, 1, 1, 1)
        out.levels = maps, maps
        chosen = out.fused[::4].flatten().tolist()
        return dict(zip(numbers.tolist(), chosen, strict=True))

    alone = partners_of(range(6))
    assert alone != {clip: (clip + 6) % 12 for clip in range(12)}
    under_torchrun()
    by_rank = {}
    for rank, pairs in (("0", [0, 1, 2]), ("1", [3, 4, 5])):
        monkeypatch.setenv("RANK", rank)
        by_rank |= partners_of(pairs)
    assert by_rank == alone


@pytest.mark.parametrize("mode", ["self", "bypass", "cross_stem"])
def test_an_unknown_modality_is_refused_in_words(mode):
    model, clips = small(cmca_test=mode, stig="none").eval(), batch().ir
    for read in (model.embed, model.inspect):
        with pytest.raises(
            ValueError, match="no modality 'thermal': choose from vis, ir"
        ):
            read(clips, "thermal")


def test_the_squared_triplet_refuses_a_batch_of_one_identity():
    with pytest.raises(ValueError, match="two identities"):
        sadstrm.squared_triplet(torch.randn(4, 3), torch.zeros(4, dtype=torch.int64))


def test_both_paths_are_supervised_by_the_mean_of_their_losses():
    model, given = (
        awake(small(supervised="dual", stig="none", asam=False)).train(),
        batch(),
    )
    out = model(given)
    terms = model.losses(out, given, model.phases[0])
    fused, alone = (
        model.fuse(out.levels, model.partners(out.levels, 4, 0)),
        model.fuse(out.levels, out.levels),
    )
    for name, paths in {"id": [], "triplet": []}.items():
        for maps in (fused, alone):
            feat = clip_average(maps, 4)
            logits = model.w_def(model.bn_def(feat))
            identity = sadstrm.two_modality_ce(*logits.chunk(2), given.ids)
            paths.append(
                0.5
                * (identity if name == "id" else batch_hard_triplet(feat, given.labels))
            )
        torch.testing.assert_close(terms[name], sum(paths) / 2, rtol=1e-4, atol=1e-4)


def stepped(weight, optimiser):
    model = small(lambda_2=weight).train()
    model.phases = model.phases[:1]
    before = model.conla4[0].conv1.weight.detach().clone()
    iterate(
        model,
        0,
        Recipe(optimiser=optimiser, lr=1e-3, slow=1.0, warmup=0, weight_decay=0.0),
    )
    return model.conla4[0].conv1.weight.detach() - before


def test_a_weight_of_a_step_of_its_own_is_a_rate_to_sgd_and_nothing_to_adamw():
    torch.testing.assert_close(
        8 * stepped(0.5, "sgd"), stepped(4.0, "sgd"), atol=1e-6, rtol=1e-3
    )
    low, high = stepped(0.5, "adamw"), stepped(4.0, "adamw")
    assert (low - high).norm() < 0.02 * low.norm()


def test_all_losses_start_where_classifiers_know_nothing_and_the_attack_stays_above():
    model, b = small(num_ids=500).train(), batch()
    terms = {}
    for phase in active(model, 0):
        terms |= model.losses(model(b), b, phase)
    start = 2 * math.log(500)
    for name, weight in {
        "attack": 1.0,
        "attack id": 1.0,
        "id": 0.5,
        "stripe id": 0.5,
    }.items():
        assert float(terms[name].detach()) == pytest.approx(weight * start, rel=2e-3), (
            name
        )
    assert float(terms["attack"].detach()) >= start


def test_both_classifiers_are_watched_on_the_attacked_features():
    model, b = awake(small()).train(), batch()
    nn.init.normal_(model.w_def.weight)
    out = model(b)
    model.losses(out, b, next(p for p in model.phases if p.name == "I.att"))
    for name, layer in (("W_def", model.w_def), ("W_att", model.w_att)):
        chances = (out.attacked @ layer.weight.T).softmax(1).detach()
        near(
            out.watch[f"belief of {name}"],
            sum(float(chances[n, y]) for n, y in enumerate(b.labels)) / 12,
        )
        near(
            out.watch[f"doubt of {name}"],
            float(torch.distributions.Categorical(chances).entropy().mean())
            / math.log(5),
        )
    assert not any(value.requires_grad for value in out.watch.values())


def features(model, b):
    with torch.no_grad():
        out = model(b)
        return out.attacked, out.normed


def test_the_order_of_frames_matters_to_the_stripes_alone():
    b, clips = batch(), batch().ir
    with torch.no_grad():
        for kind in ("full", "no_spa", "fr_e_ti"):
            model = awake(small(stig=kind)).eval()
            assert (
                model.embed(clips, "ir") - model.embed(clips[:, ORDER], "ir")
            ).abs().max() > 1e-5, kind
        for mode in ("self", "bypass"):
            plain = awake(small(stig="none", cmca_test=mode)).eval()
            torch.testing.assert_close(
                plain.embed(clips, "ir"),
                plain.embed(clips[:, ORDER], "ir"),
                atol=1e-6,
                rtol=1e-5,
            )
    model = awake(small()).eval()
    torch.testing.assert_close(
        features(model, b), features(model, shuffled(b)), atol=1e-5, rtol=1e-4
    )


def test_a_clip_attends_to_the_frames_of_its_partner_in_their_places():
    model, b = awake(small()).eval(), batch()
    feat = features(model, b)[1][:6]
    assert (feat - features(model, shuffled(b, vis=False))[1][:6]).abs().max() > 1e-5
    exchanged = Batch(b.vis, b.ir[[1, 0, 2, 3, 4, 5]], b.ids, None, None)
    moved = (feat - features(model, exchanged)[1][:6]).abs().amax(1)
    assert (moved[:2] > 1e-5).all() and (moved[2:] < 1e-6).all()


def test_fusion_agrees_with_a_loop_over_pairs_and_frames():
    model, b = awake(small()).eval(), batch()
    with torch.no_grad():
        out = model(b)
        for n in (0, 4):
            sides = [
                [level[4 * (n + 6 * m) : 4 * (n + 6 * m) + 4] for level in out.levels]
                for m in (0, 1)
            ]
            for m in (0, 1):
                (x3, x4), (y3, y4) = sides[m], sides[1 - m]
                frames = [
                    (
                        model.conla4(model.cmca3(x3[t : t + 1], y3[t : t + 1]))
                        + model.cmca4(x4[t : t + 1], y4[t : t + 1])
                    ).mean((2, 3))[0]
                    / 2
                    for t in range(4)
                ]
                torch.testing.assert_close(
                    out.feat[n + 6 * m],
                    torch.stack(frames).mean(0),
                    atol=1e-5,
                    rtol=1e-4,
                )


@pytest.mark.parametrize("mode", ["self", "bypass", "cross_stem"])
@pytest.mark.parametrize("options", [{"stig": "none"}, {"stig_input": "post_cmca"}])
def test_the_embedding_does_not_depend_on_other_clips_of_the_batch(mode, options):
    model, clips = awake(small(**options)).eval(), batch().ir
    model.cmca_test = mode
    with torch.no_grad():
        torch.testing.assert_close(
            model.embed(clips, "ir")[2:3],
            model.embed(clips[2:3], "ir"),
            rtol=1e-4,
            atol=1e-5,
        )


def test_what_stands_in_for_the_other_modality_can_be_changed_on_a_trained_model():
    model, clips = awake(small(stig="none")).eval(), batch().ir
    assert model.readings == {
        "cmca bypass": {"cmca_test": "bypass"},
        "cmca cross_stem": {"cmca_test": "cross_stem"},
    }
    found = {}
    with torch.no_grad():
        for mode in ("self", "bypass", "cross_stem"):
            model.cmca_test = mode
            found[mode] = model.embed(clips, "ir")
        third, last = model.levels(model.stems["ir"](clips.flatten(0, 1)))
        plain = model.bn_def(last.unflatten(0, (6, 4)).mean((1, 3, 4)))
        own = (model.conla4(model.cmca3(third, third)) + model.cmca4(last, last)) / 2
        other = model.levels(model.stems["vis"](clips.flatten(0, 1)))
        cross = (
            model.conla4(model.cmca3(third, other[0])) + model.cmca4(last, other[1])
        ) / 2
    torch.testing.assert_close(
        found["bypass"], F.normalize(plain, dim=1), atol=1e-6, rtol=1e-4
    )
    for mode, maps in (("self", own), ("cross_stem", cross)):
        torch.testing.assert_close(
            found[mode],
            F.normalize(
                model.bn_def(maps.unflatten(0, (6, 4)).mean((1, 3, 4))), dim=1
            ).detach(),
            atol=1e-6,
            rtol=1e-4,
        )
        assert (found[mode] - found["bypass"]).abs().max() > 1e-3
    model.cmca_test = "pairs"
    with pytest.raises(
        ValueError,
        match="cmca_test='pairs': choose from 'self', 'bypass', 'cross_stem'",
    ):
        model.embed(clips, "ir")
    assert (
        small().readings == {} and small(cmca=False, stig="none").readings == {}
    )  # there the search does not ask


def test_the_full_model_searches_as_if_there_were_no_attention_between_modalities():
    model, clips = awake(small()).eval(), batch().ir
    with torch.no_grad():
        before = model.embed(clips, "ir")
        model.cmca_test = "cross_stem"
        assert torch.equal(model.embed(clips, "ir"), before)


def test_what_is_shown_has_a_row_per_clip_and_a_weight_per_frame():
    model, clips = awake(small()).eval(), batch().ir
    with torch.no_grad():
        shown = model.inspect(clips, "ir")
        feat = model.stig.cut(
            model.levels(model.stems["ir"](clips.flatten(0, 1)))[1], 4
        )
        gates = model.stig.gates(feat, model.stig.motion(feat))
    assert {name: tuple(values.shape) for name, values in shown.items()} == {
        "cmca3 attention": (6, 4, 4, 2),
        "cmca4 attention": (6, 4, 4, 2),
        "gate": (6, 4, 6),
        "frame weight": (6, 4),
    }
    torch.testing.assert_close(shown["cmca4 attention"].sum((2, 3)), torch.ones(6, 4))
    torch.testing.assert_close(shown["frame weight"], gates.mean((2, 3)))
    with torch.no_grad():
        assert set(small(stig="fr_e_ti").inspect(clips, "ir")) == {
            "cmca3 attention",
            "cmca4 attention",
        }
        assert set(small(cmca=False, stig="no_spa").inspect(clips, "ir")) == {
            "gate",
            "frame weight",
        }
        model.cmca_test = "bypass"
        assert set(model.inspect(clips, "ir")) == {"gate", "frame weight"}


def test_the_heads_learn_ten_times_as_fast_as_the_rest_on_the_schedule_of_the_paper():
    model = small()
    recipe = Recipe(lr=0.12, nesterov=False)
    optimisers = optim.build(model, recipe)
    assert set(optimisers) == {"def", "stig", "att"}
    names = {id(p): part_of(name) for name, p in model.named_parameters()}
    for epoch, rate in {
        0: 0.012,
        1: 0.024,
        9: 0.12,
        10: 0.12,
        34: 0.12,
        35: 0.012,
        79: 0.012,
        80: 0.0012,
        149: 0.0012,
        199: 0.0012,
    }.items():
        for phase in active(model, epoch):
            optim.set_rate(
                optimisers[phase.optimiser], phase, optim.rate(recipe, epoch, 200)
            )
            for group in optimisers[phase.optimiser].param_groups:
                for p in group["params"]:
                    assert group["lr"] == pytest.approx(
                        rate if names[id(p)] in HEADS else rate / 10
                    )


def test_the_two_encoders_start_equal_and_train_apart():
    model = small().train()
    pairs = list(
        zip(
            model.e_att.parameters(),
            [*model.e_def3.parameters(), *model.conla4.parameters()],
            strict=True,
        )
    )
    assert all(torch.equal(a, b) and a is not b for a, b in pairs)
    iterate(model, 0)
    assert not any(torch.equal(a, b) for a, b in pairs if a.ndim == 4)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optim_mode": "joint"},
        {"triplet_form": "squared_post_bn"},
        {"stig_input": "post_cmca"},
        {"cmca_query": "other"},
    ],
)
def test_half_precision_gives_nearly_the_same_losses(options):
    model, b = awake(small(**options)).train(), batch()
    for phase in model.phases:
        full = model.losses(model(b), b, phase)
        with torch.autocast("cpu", torch.bfloat16):
            half = model.losses(model(b), b, phase)
        for name, value in full.items():
            assert float(half[name].detach()) == pytest.approx(
                float(value.detach()), rel=0.05, abs=0.05
            ), f"{phase.name}/{name}"


def test_what_the_paper_does_not_offer_is_refused():
    with pytest.raises(ValueError, match="variant='released'.*no code was released"):
        small(variant="released")
    with pytest.raises(
        ValueError, match="stig='lstm': choose from 'none', 'fr_e_ti', 'no_spa', 'full'"
    ):
        small(stig="lstm")
