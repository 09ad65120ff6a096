import csv
import math
from collections import Counter
from dataclasses import fields

import pytest
import torch
import torch.nn.functional as F

from vvi import methods
from vvi.config import DataConfig, Recipe, change, preset
from vvi.data.transforms import denormalise, normalise
from vvi.engine import optim, train
from vvi.experiment import ablation
from vvi.losses import batch_hard_triplet, distances
from vvi.methods import di2l
from vvi.metrics import from_similarity
from vvi.runtime import paths
from vvi.types import Batch

RECIPE = Recipe(
    optimiser="adamw", lr=3e-3, slow=1.0, warmup=0, milestones=(), weight_decay=0.0
)
LINE = (
    torch.tensor([[0.0], [0.2], [1.0], [1.5], [1.7], [3.0]]),
    torch.tensor([0, 0, 0, 1, 1, 1]),
)
PLANE = torch.tensor([[0.0, 0], [3, 4], [0, 1], [6, 8]]), torch.tensor([0, 0, 1, 1])


def small(num_ids=6, **options):
    torch.manual_seed(0)
    return methods.load(
        "di2l", num_ids=num_ids, backbone="micro", **({"frames": 2} | options)
    )


def batch(identities=4, tracklets=2, frames=2, step=0):
    g = torch.Generator().manual_seed(step)
    ids = torch.arange(identities).repeat_interleave(tracklets)
    vis, ir = (torch.randn(len(ids), frames, 3, 32, 16, generator=g) for _ in range(2))
    return Batch(vis, ir, ids, torch.arange(len(ids)), torch.arange(len(ids)), step)


def losses(model, given):
    out = model(given)
    return model.losses(out, given, model.phases[0]), out


def count(module):
    return sum(p.numel() for p in module.parameters())


# augmentation


def test_one_channel_of_a_pixel_is_that_of_the_card():
    pixel = torch.tensor([0.2, 0.4, 0.6]).view(1, 1, 3, 1, 1)
    normed = (pixel - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).view(3, 1, 1)
    red = torch.tensor([0])
    assert di2l.one_channel(normed, red).flatten().tolist() == pytest.approx(
        [-1.2445, -1.1429, -0.9156], abs=1e-4
    )
    assert di2l.one_channel_released(normed, red).flatten().tolist() == pytest.approx(
        [-1.2445] * 3, abs=1e-4
    )
    infrared = normalise(
        torch.full((1, 1, 3, 1, 1), 127, dtype=torch.uint8)
    ) + 0.5 / 255 / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)  # 127.5 / 255
    assert di2l.one_channel_released(
        infrared, torch.tensor([4])
    ).flatten().tolist() == pytest.approx([0.0655, 0.1964, 0.4178], abs=1e-4)
    grey = 0.2989 * 0.0655 + 0.5870 * 0.1964 + 0.1140 * 0.4178
    assert di2l.one_channel_released(
        infrared, torch.tensor([3])
    ).flatten().tolist() == pytest.approx([grey] * 3, abs=1e-4)


def test_a_channel_of_raw_bytes_comes_back_exactly():
    raw = torch.randint(
        256,
        (3, 2, 3, 8, 4),
        dtype=torch.uint8,
        generator=torch.Generator().manual_seed(0),
    )
    changed = denormalise(di2l.one_channel(normalise(raw), torch.tensor([0, 1, 2])))
    for n in range(3):
        for k in range(3):
            assert torch.equal(changed[n, :, k], raw[n, :, n])


def test_the_streams_repeat_with_the_step_and_a_clip_shows_one_channel():
    model, given = small(), batch(8, 4, frames=3)
    vis, aug, ir = model.streams(given)
    assert vis is given.vis and ir is given.ir
    assert torch.equal(model.streams(given)[1], aug)
    drawn = []
    for n in range(32):
        fits = [
            c
            for c in range(3)
            if torch.allclose(
                aug[n],
                di2l.one_channel(given.vis[n : n + 1], torch.tensor([c]))[0],
                atol=1e-5,
            )
        ]
        assert len(fits) == 1
        drawn += fits
    assert len(set(drawn)) == 3
    given.step = 1
    assert not torch.equal(model.streams(given)[1], aug)


def test_another_seed_draws_other_channels():
    given, drawn = batch(8, 4), []
    for seed in (0, 1):
        torch.manual_seed(seed)
        drawn.append(methods.load("di2l", 8, backbone="micro").streams(given)[1])
    assert not torch.equal(*drawn)


def test_the_released_streams_have_equal_channels_and_leave_an_eighth_of_the_infrared():
    model, changed = small(variant="released"), Counter()
    for step in range(40):
        given = batch(8, 4, frames=1, step=step)
        vis, aug, ir = model.streams(given)
        assert (
            torch.equal(aug[:, :, 0], aug[:, :, 1])
            and torch.equal(aug[:, :, 0], aug[:, :, 2])
            and vis is given.vis
        )
        for n in range(32):
            single = [
                c for c in range(3) if torch.equal(ir[n, :, 0], given.ir[n, :, c])
            ]
            changed[
                "untouched"
                if torch.equal(ir[n], given.ir[n])
                else single[0]
                if single
                else "grey"
            ] += 1
    share = {key: value / (40 * 32) for key, value in changed.items()}
    assert share == pytest.approx(
        {0: 0.25, 1: 0.25, 2: 0.25, "grey": 0.125, "untouched": 0.125}, abs=0.04
    )


def test_erasing_takes_rectangles_of_the_given_sizes_from_half_of_the_frames():
    height, width = 144, 72
    clips = torch.ones(400, 1, 3, height, width, dtype=torch.float16).expand(
        400, 1, 3, height, width
    )
    found = (
        di2l.random_erase(
            clips, 0.5, (0.0, 0.0, 0.0), torch.Generator().manual_seed(0)
        )[:, 0, 0]
        == 0
    )
    hit = found.flatten(1).any(1)
    assert 0.42 < hit.float().mean() < 0.58
    tall, wide = found[hit].any(2).sum(1), found[hit].any(1).sum(1)
    assert torch.equal(tall * wide, found[hit].sum((1, 2)))  # full rectangles
    share, ratio = tall * wide / (height * width), tall / wide
    assert share.min() > 0.018 and share.max() < 0.41 and 0.1 < share.mean() < 0.26
    assert (
        ratio.min() > 0.27 and ratio.max() < 3.7 and ratio.median() > 1.3
    )  # uniform in the ratio, not in its logarithm
    assert (tall < height).all() and (wide < width).all()


def test_single_images_are_erased_and_clips_are_not_unless_asked():
    assert (
        small(frames=1).config.erase,
        small(frames=2).config.erase,
        small(frames=1, erase=0.0).config.erase,
        small(frames=4, erase=0.3).config.erase,
    ) == (
        0.5,
        0,
        0,
        0.3,
    )
    given = batch(8, 4, frames=1)
    for variant, fill in (
        ("paper", torch.zeros(3)),
        ("released", torch.tensor([0.4914, 0.4822, 0.4465])),
    ):
        vis = small(frames=1, variant=variant).streams(given)[0]
        gone = (vis != given.vis).any(2)[:, 0]
        assert 8 < gone.flatten(1).any(1).sum() < 24
        assert torch.allclose(vis[:, 0].movedim(1, -1)[gone], fill)


# network


def test_a_fresh_non_local_block_is_the_identity_and_learns_through_its_norm():
    for narrow in (False, True):
        block, maps = di2l.NonLocal(16, narrow), torch.randn(3, 16, 4, 2)
        assert torch.equal(block.eval()(maps), maps)
        (block.train()(maps) * torch.randn(3, 16, 4, 2)).sum().backward()
        moved = {name for name, p in block.named_parameters() if p.grad.abs().max() > 0}
        assert moved == {"norm.weight", "norm.bias"}


def opened(narrow):
    torch.manual_seed(1)
    block = di2l.NonLocal(16, narrow).eval()
    torch.nn.init.normal_(block.norm.weight)
    torch.nn.init.normal_(block.norm.bias)
    return block, torch.randn(2, 16, 3, 2)


def test_the_non_local_block_agrees_with_the_slow_loop_over_places():
    block, maps = opened(narrow=False)
    with torch.no_grad():
        found = block(maps)
        for n in range(2):
            x = maps[n].flatten(1).T
            for i in range(6):
                weights = torch.stack(
                    [torch.exp(block.u(x[i]) @ block.v(x[j])) for j in range(6)]
                )
                mixed = sum(
                    w / weights.sum() * block.g(x[j]) for j, w in enumerate(weights)
                )
                z = (
                    block.out(mixed) / math.sqrt(1 + 1e-5) * block.norm.weight
                    + block.norm.bias
                )
                torch.testing.assert_close(
                    found[n].flatten(1)[:, i], x[i] + z, rtol=1e-4, atol=1e-5
                )


def test_the_released_block_is_one_scalar_a_place_times_one_an_image():
    block, maps = opened(narrow=True)
    with torch.no_grad():
        found = block(maps)
        for n in range(2):
            x = maps[n].flatten(1).T
            image = sum(block.v(x[j]) * block.g(x[j]) for j in range(6)) / 6
            for i in range(6):
                z = (
                    block.out.weight[:, 0] * block.u(x[i]) * image + block.out.bias
                ) / math.sqrt(1 + 1e-5) * block.norm.weight + block.norm.bias
                torch.testing.assert_close(
                    found[n].flatten(1)[:, i], x[i] + z, rtol=1e-4, atol=1e-5
                )


@pytest.mark.parametrize(
    ("kind", "after"),
    [
        ("off", []),
        ("paper", ["layer2.3", "layer3.5"]),
        ("released", ["layer2.2", "layer2.3", "layer3.3", "layer3.4", "layer3.5"]),
    ],
)
def test_non_local_blocks_stand_behind_the_bottlenecks_of_the_card(kind, after):
    model, order = (
        methods.load("di2l", 3, backbone="resnet50", non_local=kind, dpa=False).eval(),
        [],
    )
    for stage in ("layer2", "layer3"):
        for i, bottleneck in enumerate(getattr(model.trunk, stage)):
            bottleneck.register_forward_hook(
                lambda *_, name=f"{stage}.{i}": order.append(name)
            )
        for block in model.non_local[stage]:
            block.register_forward_hook(lambda *_: order.append("block"))
    with torch.no_grad():
        model.maps_of(torch.randn(1, 64, 8, 4))
    assert [order[i - 1] for i, name in enumerate(order) if name == "block"] == after


def test_the_generalised_mean_is_that_of_the_card_and_takes_dead_channels():
    maps = torch.tensor([1.0, 2, 3, 4]).view(1, 1, 2, 2)
    assert di2l.generalised_mean(maps).item() == pytest.approx(2.9240, abs=1e-4)
    dead = torch.zeros(1, 2, 2, 2, requires_grad=True)
    di2l.generalised_mean(dead).sum().backward()
    assert torch.isfinite(dead.grad).all()
    assert torch.isfinite(
        di2l.generalised_mean(torch.full((1, 1, 2, 2), 100.0, dtype=torch.float16))
    ).all()  # 100^3 is beyond half precision


def test_where_the_mean_over_frames_sits_matters_for_the_generalised_mean_alone():
    maps = torch.tensor([[1.0, 3.0], [3.0, 1.0]]).view(
        2, 1, 1, 2
    )  # two frames of one clip
    for pool, tap, expected in (
        ("gem", "vector", 2.4101),
        ("gem", "map", 2.0),
        ("avg", "vector", 2.0),
        ("avg", "map", 2.0),
    ):
        model = small(pool=pool, tap=tap, dpa=False).eval()
        assert model.clip_feats(maps.expand(2, 32, 1, 2), 2)[0][
            0, 0
        ].item() == pytest.approx(expected, abs=1e-4)


def plain(parts=2, gate=None):
    """DPA of two channels whose three maps are the identity."""
    dpa = di2l.PartAttention(2, parts, residual=False).eval()
    with torch.no_grad():
        for layer in (dpa.u, dpa.v, dpa.z):
            layer.weight.copy_(torch.eye(2))
            layer.bias.zero_()
        dpa.norm.weight.fill_(
            math.sqrt(1 + 1e-5)
        )  # so that the fresh norm is the identity
        dpa.gate.copy_(torch.tensor(gate or [1 / parts] * parts))
    return dpa


def test_part_attention_gives_the_values_of_the_card():
    parts, nothing = torch.tensor([[[1.0, 0], [0, 1]]]), torch.zeros(1, 2)
    torch.testing.assert_close(
        plain().attention(parts)[0],
        torch.tensor([[0.7311, 0.2689], [0.2689, 0.7311]]),
        atol=1e-4,
        rtol=0,
    )
    assert plain()(parts, nothing)[0].tolist() == pytest.approx([0.5, 0.5], abs=1e-4)
    assert plain(gate=[1.0, 0.0])(parts, nothing)[0].tolist() == pytest.approx(
        [0.6068, 0.3932], abs=1e-4
    )
    longer = torch.tensor([[[1.0, 0], [0, 2]]])
    refined = plain().attention(longer) @ longer
    torch.testing.assert_close(
        refined[0],
        torch.tensor([[0.7311, 0.5379], [0.0180, 1.9640]]),
        atol=1e-4,
        rtol=0,
    )


def test_the_global_feature_is_added_behind_its_neck():
    dpa = plain()
    parts, feat = torch.tensor([[[1.0, 0], [0, 1]]]), torch.tensor([[3.0, -1.0]])
    assert dpa(parts, feat)[0].tolist() == pytest.approx([0.5, 0.5], abs=1e-4)
    dpa.residual = True
    assert dpa(parts, feat)[0].tolist() == pytest.approx([3.5, -0.5], abs=1e-4)


def test_stripes_are_equal_where_they_can_be_and_those_of_adaptive_pooling():
    assert di2l.stripes(3, 18) == [(0, 6), (6, 12), (12, 18)]
    assert di2l.stripes(3, 4) == [(0, 2), (1, 3), (2, 4)]  # of the small trunk
    for rows, even in ((18, [1, 2, 3, 6]), (4, [1, 2, 4])):
        cut = {parts: di2l.stripes(parts, rows) for parts in range(1, 8)}
        sizes = {p: sum(stop - start for start, stop in s) for p, s in cut.items()}
        assert [parts for parts, size in sizes.items() if size == rows] == even
    for parts, height in ((1, 4), (3, 4), (6, 4), (3, 18), (6, 18)):
        model, maps = small(parts=parts), torch.randn(2, 5, height, 3)
        torch.testing.assert_close(
            model.parts_of(maps), F.adaptive_avg_pool2d(maps, (parts, 1))[..., 0].mT
        )


def final(model, maps):
    with torch.no_grad():
        return model.clip_feats(maps, 1)[2]


def test_places_within_a_stripe_may_be_shuffled_and_a_person_mirrored():
    model, maps = small(parts=3, frames=1).eval(), torch.rand(2, 32, 18, 9)
    shuffled = maps.view(2, 32, 3, 54)[..., torch.randperm(54)].view_as(maps)
    torch.testing.assert_close(
        final(model, shuffled), final(model, maps), rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(
        final(model, maps.flip(3)), final(model, maps), rtol=1e-4, atol=1e-5
    )


def test_a_person_upside_down_is_the_same_only_to_a_uniform_gate():
    model, maps = (
        small(parts=3, frames=1).eval(),
        torch.rand(2, 32, 18, 9) * torch.arange(18).view(18, 1),
    )
    torch.testing.assert_close(
        final(model, maps.flip(2)), final(model, maps), rtol=1e-4, atol=1e-5
    )
    with torch.no_grad():
        model.dpa.gate.copy_(torch.tensor([1.0, 0, 0]))
    assert (final(model, maps.flip(2)) - final(model, maps)).abs().max() > 1e-3
    assert not small(dpa_weights="uniform").dpa.gate.requires_grad


def test_one_part_attends_to_itself_and_the_bias_of_v_is_inert():
    assert (small(parts=1).dpa.attention(torch.randn(4, 1, 32)) == 1).all()
    dpa = di2l.PartAttention(8, 3).double()
    with torch.autocast("cpu", enabled=False):
        (
            dpa.attention(torch.randn(5, 3, 8).double()) @ torch.randn(3, 4).double()
        ).square().sum().backward()
    assert dpa.v.bias.grad.abs().max() < 1e-12 < 1e-3 < dpa.u.bias.grad.abs().max()


def test_parameter_counts_at_paper_size_are_those_of_the_card():
    with torch.device("meta"):

        def build(ids, **options):
            return methods.load("di2l", ids, backbone="resnet50", **options)

        model, released = build(395), build(395, non_local="released", dpa=False)
        assert (count(build(206)), count(model), count(build(500))) == (
            39_165_059,
            39_552_131,
            39_767_171,
        )
        assert [
            count(build(ids, non_local="released", dpa=False))
            for ids in (206, 395, 500)
        ] == [23_972_239, 24_359_311, 24_574_351]
    assert count(model.trunk) == 23_517_568 and count(model.dpa) == 12_593_155
    assert [count(blocks) for blocks in model.non_local.values()] == [
        526_592,
        2_101_760,
    ]
    assert [
        [count(block) for block in blocks] for blocks in released.non_local.values()
    ] == [[3_587] * 2, [7_171] * 3]
    assert (
        count(model) - sum(p.numel() for p in model.parameters() if p.requires_grad)
        == 4_096
    )


# losses


def test_focal_loss_gives_the_values_of_the_card():
    logits, targets = (
        torch.tensor([[2.0, 0, 0], [0, 1, 1]], requires_grad=True),
        torch.tensor([0, 0]),
    )
    found = [di2l.focal_loss(logits, targets, g).item() for g in (0, 1, 2, 5)]
    assert found == pytest.approx([1.050770, 0.811869, 0.669620, 0.400274], abs=1e-6)
    di2l.focal_loss(logits, targets, 2).backward()
    assert logits.grad[1].tolist() == pytest.approx(
        [-0.50767, 0.25384, 0.25384], abs=1e-5
    )


def test_focal_loss_agrees_with_the_slow_loop_and_is_cross_entropy_at_zero():
    logits, targets = (
        3 * torch.randn(7, 5, generator=torch.Generator().manual_seed(0)),
        torch.tensor([0, 1, 2, 3, 4, 0, 1]),
    )
    for gamma in (0.5, 2.0, 3.0):
        p = [
            math.exp(row[y]) / sum(math.exp(v) for v in row)
            for row, y in zip(logits.tolist(), targets.tolist(), strict=True)
        ]
        slow = sum(-((1 - q) ** gamma) * math.log(q) for q in p) / 7
        assert di2l.focal_loss(logits, targets, gamma).item() == pytest.approx(
            slow, rel=1e-5
        )
    torch.testing.assert_close(
        di2l.focal_loss(logits, targets, 0.0), F.cross_entropy(logits, targets)
    )


@pytest.mark.parametrize("gamma", [0, 0.5, 1, 2, 3, 5])
@pytest.mark.parametrize("margin", [0.0, 10.0, 17.0, 40.0, 1000.0])
def test_the_gradient_of_the_focal_loss_is_finite_however_sure_the_classifier_is(
    gamma, margin
):
    for target in (0, 1):
        logits = torch.tensor([[margin, 0.0, 0.0]], requires_grad=True)
        di2l.focal_loss(logits, torch.tensor([target]), gamma).backward()
        assert torch.isfinite(logits.grad).all()


def test_a_negative_gamma_is_refused():
    with pytest.raises(ValueError, match="must not be negative"):
        di2l.focal_loss(torch.zeros(1, 2), torch.tensor([0]), -2.0)


@pytest.mark.parametrize(
    ("ids", "start", "plain"),
    [(206, 5.2763, 5.3279), (395, 5.9487, 5.9789), (500, 6.1898, 6.2146)],
)
def test_a_fresh_model_starts_at_the_loss_of_a_guess(ids, start, plain):
    assert losses(small(ids), batch())[0]["id"].item() == pytest.approx(start, abs=0.05)
    assert losses(small(ids, id_loss="ce"), batch())[0]["id"].item() == pytest.approx(
        plain, abs=0.05
    )


def test_the_released_triplet_gives_the_values_of_the_card():
    assert [
        di2l.released_triplet(*LINE, squared=s)[0].item() for s in (False, True)
    ] == pytest.approx([0.480675, 0.467220], abs=1e-5)
    assert [
        di2l.released_triplet(*PLANE, squared=s)[0].item() for s in (False, True)
    ] == pytest.approx([4.311338, 24.9049], abs=1e-3)


def test_the_released_triplet_forgets_its_worst_anchors():
    feat, ids = (
        torch.tensor([[0.0], [100.0], [0.5], [100.5]], requires_grad=True),
        torch.tensor([0, 0, 1, 1]),
    )
    loss, odd = di2l.released_triplet(feat, ids)
    loss.backward()
    assert (
        loss.item() == pytest.approx(88)
        and odd["anchors cut"].item() == 1
        and not feat.grad.any()
    )


def test_the_released_triplet_is_finite_where_negatives_are_far_beyond_positives():
    points, ids = torch.tensor([0.0, 1, 100, 101]), torch.tensor([0, 0, 1, 1])
    feat = torch.stack((points, torch.zeros(4)), 1).requires_grad_()
    for squared in (False, True):
        loss, limits = di2l.released_triplet(feat, ids, squared)
        (gradient,) = torch.autograd.grad(loss, feat)
        assert torch.isfinite(loss) and torch.isfinite(gradient).all()
        assert all(torch.isfinite(value) for value in limits.values())


def test_the_mask_of_the_released_triplet_changes_no_number_where_it_was_finite():
    draw = torch.Generator().manual_seed(0)
    feat = torch.randn(12, 5, generator=draw, requires_grad=True)
    ids = torch.arange(4).repeat(3)
    same, dist = ids[:, None] == ids, distances(feat, feat)

    def to_sum_one(weights):
        return weights / (weights.sum(1, keepdim=True) + 1e-6)

    pull = to_sum_one((dist - (dist * same).amax(1, keepdim=True)).exp() * same)
    push = to_sum_one((-dist).exp() * ~same)
    gap = ((pull - push) * dist).sum(1)
    as_released = F.softplus(gap.sign() * gap.square().clamp(max=88)).mean()
    loss, _ = di2l.released_triplet(feat, ids)
    assert torch.equal(loss, as_released)
    pair = [torch.autograd.grad(x, feat)[0] for x in (loss, as_released)]
    assert torch.equal(*pair)


def test_far_negatives_lose_their_weight_in_the_released_triplet():
    feat = torch.cat((torch.zeros(2, 64), 20 * torch.eye(64)))
    ids = torch.tensor([0, 0] + [1] * 64)
    _, odd = di2l.released_triplet(feat, ids)

    def weight(n):
        return n * math.exp(-20) / (1e-6 + n * math.exp(-20))

    assert weight(64) == pytest.approx(0.11654, abs=1e-5) and 20 * weight(
        64
    ) == pytest.approx(2.3308, abs=1e-4)
    assert odd["negative weight"].item() == pytest.approx(
        (2 * weight(64) + 64 * weight(2)) / 66, rel=1e-3
    )


@pytest.mark.parametrize("form", ["hard", "wrt", "wrt_sq"])
@pytest.mark.parametrize("numerics", ["exact", "released"])
def test_every_form_of_the_triplet_trains(form, numerics):
    found, out = losses(small(tri_loss=form, tri_numerics=numerics).train(), batch())
    sum(found.values()).backward()
    assert set(found) == {"id", "triplet"} and torch.isfinite(found["triplet"])
    assert ("anchors cut" in out.watch) == (numerics == "released" and form != "hard")


def test_the_triplet_looks_at_the_feature_that_the_config_names():
    given = batch()
    labels = given.ids.repeat(3)
    for on, feat in (
        ("global", lambda out: out.feat),
        ("final", lambda out: out.extra["final"]),
    ):
        found, out = losses(small(tri_on=on, tri_loss="hard").eval(), given)
        torch.testing.assert_close(
            found["triplet"], batch_hard_triplet(feat(out), labels)
        )


def test_the_identity_loss_on_both_features_is_their_sum():
    given = batch()
    one, out = losses(small().eval(), given)
    model = small(id_on="both").eval()
    both, _ = losses(model, given)
    with_global = di2l.focal_loss(
        model.neck.classifier(model.neck.norm(out.feat)), given.ids.repeat(3)
    )
    torch.testing.assert_close(both["id"], one["id"] + with_global)
    torch.testing.assert_close(
        losses(small(id_on="both", dpa=False).eval(), given)[0]["id"],
        losses(small(dpa=False).eval(), given)[0]["id"],
    )


def reached(model, loss):
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    grads = torch.autograd.grad(
        loss,
        [p for p in model.parameters() if p.requires_grad],
        retain_graph=True,
        allow_unused=True,
    )
    return {
        name
        for name, g in zip(names, grads, strict=True)
        if g is not None and g.abs().max() > 0
    }


def test_who_gets_gradient_at_the_first_step():
    model = small().train()
    found, _ = losses(model, batch())
    triplet, identity = (reached(model, found[name]) for name in ("triplet", "id"))
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    trunk = {name for name in trainable if name.startswith("trunk.")}
    fresh = {
        name for name in trainable if name.startswith("non_local.") and "norm" in name
    }
    inert = {"dpa.v.bias"}  # up to rounding
    assert trunk | fresh == triplet
    assert (
        trunk
        | fresh
        | {n for n in trainable if n.startswith(("neck.", "dpa."))} - inert
        == identity - inert
    )
    assert (
        not model.neck.norm.bias.requires_grad and not model.dpa.norm.bias.requires_grad
    )


def test_the_batch_of_the_paper_has_three_streams_and_two_stems():
    model, seen = small(num_ids=8, frames=1), {}
    for modality, stem in model.trunk.stems.items():
        stem.register_forward_hook(
            lambda _, given, out, m=modality: seen.update({m: len(given[0])})
        )
    given = batch(8, 4, frames=1)
    out = model.eval()(given)
    assert len(out.feat) == len(out.logits) == 96 and seen == {"vis": 64, "ir": 32}
    with torch.no_grad():
        for rows, (clips, modality) in zip(
            (slice(0, 32), slice(32, 64), slice(64, 96)),
            zip(model.streams(given), ("vis", "vis", "ir"), strict=True),
            strict=True,
        ):
            torch.testing.assert_close(
                F.normalize(out.extra["final"][rows], dim=1),
                model.embed(clips, modality),
                rtol=1e-4,
                atol=1e-5,
            )
    assert len(small(rca="off")(batch()).feat) == 16


def test_what_is_watched_is_how_sure_each_stream_is():
    model, given = small().eval(), batch()
    _, out = losses(model, given)
    for k, name in enumerate(("vis", "aug", "ir")):
        rows = out.logits[8 * k : 8 * (k + 1)].detach()
        p = [
            torch.softmax(row, 0)[y].item()
            for row, y in zip(rows, given.ids, strict=True)
        ]
        assert out.watch[f"p {name}"].item() == pytest.approx(sum(p) / 8, rel=1e-5)
        assert out.watch[f"id {name}"].item() == pytest.approx(
            sum(-((1 - q) ** 2) * math.log(q) for q in p) / 8, rel=1e-4
        )
    assert {"far positive", "near negative"} < set(out.watch) and not any(
        v.requires_grad for v in out.watch.values()
    )
    assert "p aug" not in losses(small(rca="off"), given)[1].watch


def test_gamma_zero_trains_as_cross_entropy():
    histories = []
    for options in ({"id_loss": "ce"}, {"focal_gamma": 0.0}):
        model = small(**options).train()
        optimisers, engine = optim.build(model, RECIPE), train.fabric("cpu")
        histories.append(
            [
                train.iteration(
                    model, batch(step=k), optimisers, 0.0, RECIPE.lr, engine
                )["encoder/id"].item()
                for k in range(3)
            ]
        )
    assert histories[0] == pytest.approx(histories[1], abs=1e-6)


def test_a_step_in_half_precision_stays_near_the_full_one():
    model, given = small().train(), batch()
    full, _ = losses(model, given)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half, out = losses(model, given)
    sum(half.values()).backward()
    assert out.feat.dtype == torch.float32 and half["id"].item() == pytest.approx(
        full["id"].item(), rel=0.02
    )
    assert half["triplet"].item() == pytest.approx(full["triplet"].item(), rel=0.1)


# search


def test_shuffled_or_repeated_frames_leave_the_embedding_unchanged():
    model, clips = small(frames=3).eval(), torch.randn(3, 3, 3, 32, 16)
    with torch.no_grad():
        maps = model.maps_of(model.trunk.stem(clips.flatten(0, 1), "ir"))
        embed = model.embed(clips, "ir")
        assert maps.shape == (9, 32, 4, 2) and embed.shape == (3, 32)
        torch.testing.assert_close(
            model.embed(clips[:, [2, 0, 1]], "ir"), embed, rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(
            model.embed(clips[:, :1].expand(-1, 5, -1, -1, -1), "ir"),
            model.embed(clips[:, :1], "ir"),
            rtol=1e-4,
            atol=1e-5,
        )
        assert torch.equal(model.embed(clips, "ir"), embed)
        model.trunk.stems["vis"][0].weight.mul_(-1)  # fresh stems are equal
        assert (model.embed(clips, "vis") - embed).abs().max() > 1e-3


def test_the_released_search_averages_a_clip_and_its_mirror_image():
    model, clips = small(tta_flip=True).eval(), torch.randn(2, 2, 3, 32, 16)
    with torch.no_grad():
        both = model.embed(clips, "vis")
        torch.testing.assert_close(
            both, model.embed(clips.flip(-1), "vis"), rtol=1e-4, atol=1e-5
        )
        model.config = small(tta_flip=False).config
        torch.testing.assert_close(
            both,
            F.normalize(
                model.embed(clips, "vis") + model.embed(clips.flip(-1), "vis"), dim=1
            ),
            rtol=1e-4,
            atol=1e-5,
        )


def test_what_it_shows_adds_up_to_its_refined_parts():
    model, clips = small(parts=3, frames=2).eval(), torch.randn(2, 2, 3, 32, 16)
    with torch.no_grad():
        seen = model.inspect(clips, "ir")
        attention, shares = seen["part attention"], seen["part maps"]
        assert attention.shape == (2, 3, 3) and shares.shape == (2, 2, 3, 4, 2)
        torch.testing.assert_close(attention.sum(-1), torch.ones(2, 3))
        torch.testing.assert_close(
            shares.sum((1, 3, 4)), torch.ones(2, 3), rtol=1e-4, atol=1e-4
        )
        maps = model.maps_of(model.trunk.stem(clips.flatten(0, 1), "ir")).unflatten(
            0, (2, 2)
        )
        refined, rows = torch.zeros(3, 32), di2l.stripes(3, 4)
        for i in range(3):  # the first clip, slowly
            for j, (start, stop) in enumerate(rows):
                places = [
                    (t, y, x)
                    for t in range(2)
                    for y in range(start, stop)
                    for x in range(2)
                ]
                refined[i] += sum(
                    attention[0, i, j] / len(places) * model.dpa.z(maps[0, t, :, y, x])
                    for t, y, x in places
                )
        for t, i, y, x in ((0, 0, 0, 0), (1, 2, 3, 1), (0, 1, 2, 0)):
            weight = sum(
                attention[0, i, j] / (4 * (stop - start))
                for j, (start, stop) in enumerate(rows)
                if start <= y < stop
            )
            slow = (
                weight
                * (model.dpa.z(maps[0, t, :, y, x]) @ refined[i])
                / (refined[i] @ refined[i])
            )
            torch.testing.assert_close(
                shares[0, t, i, y, x], slow, rtol=1e-3, atol=1e-5
            )
    assert small(dpa=False).eval().inspect(clips, "ir") == {}


def test_shapes_at_the_size_of_the_paper_need_no_numbers():
    with torch.device("meta"):
        model = methods.load("di2l", num_ids=395, backbone="resnet50", frames=1).eval()
        maps = model.maps_of(model.trunk.stem(torch.zeros(2, 3, 288, 144), "ir"))
        assert model.parts_of(maps).shape == (2, 3, 2048) and all(
            x.shape == (2, 2048) for x in model.clip_feats(maps, 1)
        )


def test_the_image_protocol_scores_as_the_card_computes():
    near_first = [[0.9, 0.8, 0.7, 0.6, 0.5]]

    def score(camera, rule):
        return from_similarity(
            near_first, [1], [2, 2, 3, 1, 1], [camera], [1, 4, 1, 2, 5], rule=rule
        )

    found = score(6, "sysu")
    assert [found.rank(k) for k in (1, 2, 3)] == [0, 0, 1] and (
        found.mAP,
        found.mINP,
    ) == pytest.approx((0.325, 0.4))
    assert score(3, "sysu").mAP == pytest.approx(0.25)
    assert [score(6, "none").rank(k) for k in range(1, 6)] == [0, 0, 0, 1, 1]


# configuration


def test_the_schedule_of_the_paper_is_that_of_the_card():
    recipe = change(preset("paper"), **di2l.PAPER_RECIPE["SYSU-MM01 (images)"]).recipe
    model = small()
    optimiser = optim.build(model, recipe)["main"]
    for epoch, head in {
        0: 0.01,
        9: 0.1,
        19: 0.1,
        20: 0.01,
        49: 0.01,
        50: 0.001,
    }.items():
        optim.set_rate(optimiser, model.phases[0], optim.rate(recipe, epoch, 120))
        rates = {id(p): g["lr"] for g in optimiser.param_groups for p in g["params"]}
        for name, p in model.named_parameters():
            if p.requires_grad:
                assert rates[id(p)] == pytest.approx(
                    head * (0.1 if name.startswith(("trunk.", "non_local.")) else 1)
                )
    assert recipe.epochs == 120 and optim.rate(recipe, 119, 120) == pytest.approx(0.001)


def test_the_rows_of_the_tables_are_those_of_the_paper():
    with (paths.published() / "di2l.csv").open() as file:
        printed = [
            row
            for row in csv.DictReader(file)
            if row["table"] in ("Table 1", "Table 2")
        ]
    assert list(di2l.ABLATIONS["Table 2"]) == list(
        dict.fromkeys(row["method"] for row in printed if row["table"] == "Table 2")
    )
    for table, data in (
        ("RegDB (images)", "RegDB"),
        ("SYSU-MM01 (images)", "SYSU-MM01"),
    ):
        assert set(di2l.ABLATIONS[table]) <= {
            row["method"] for row in printed if row["dataset"] == data
        }
    assert set(di2l.TRIALS + di2l.SWEEPS) | set(di2l.PAPER_RECIPE) <= set(
        di2l.ABLATIONS
    )


def test_every_row_of_every_table_builds_and_takes_a_step():
    names = (
        {f.name for f in fields(di2l.Config)}
        | {f.name for f in fields(DataConfig)}
        | {f.name for f in fields(Recipe)}
    )
    shapes = set()
    for table, rows in di2l.ABLATIONS.items():
        for label, changes in rows.items():
            assert set(changes) <= names
            settings = ablation.configs("di2l", table, "tiny")[label][0]
            options = dict(settings.options)
            if (key := str(sorted(options.items()))) in shapes:
                continue
            shapes.add(key)
            found, _ = losses(
                small(frames=settings.data.frames, **options).train(),
                batch(frames=settings.data.frames),
            )
            assert all(torch.isfinite(v) for v in found.values()), (table, label)


def test_caj_and_agw_are_configurations_of_the_same_parts():
    agw, caj = small(**di2l.AGW), small(**di2l.CAJ)
    assert agw.dpa is None and agw.gamma == 0 and len(agw(batch()).feat) == 16
    assert caj.dpa is None and caj.gamma == 0 and len(caj(batch()).feat) == 24
    assert (
        di2l.ABLATIONS["Parts of the baseline"]["CAJ"]
        == di2l.ABLATIONS["Table 2"]["Baseline"]
        == {"variant": "main"} | di2l.CAJ
    )


def test_the_variant_settles_what_is_left_open_and_nothing_else():
    released = small(variant="released", non_local="paper").config
    assert (
        released.rca,
        released.non_local,
        released.id_on,
        released.tri_numerics,
        released.tta_flip,
    ) == ("rgb_released", "paper", "both", "released", True)
    assert (
        small().config.rca,
        small().config.tta_flip,
        small().config.focal_gamma,
    ) == ("rgb", False, 2.0)
    losses = {
        variant: (
            small(variant=variant).config.tri_loss,
            small(variant=variant).config.dpa_scale,
        )
        for variant in ("main", "paper", "released")
    }
    assert losses == {
        "main": ("wrt", "sqrt"),
        "paper": ("wrt_sq", "none"),
        "released": ("wrt_sq", "none"),
    }


def test_scores_over_the_root_of_their_width_keep_all_stripes_in_play():
    torch.manual_seed(0)
    sharp, soft = (di2l.PartAttention(64, 3, scale=scale) for scale in ("none", "sqrt"))
    soft.load_state_dict(sharp.state_dict())
    parts = torch.randn(8, 3, 64)
    scores = sharp.u(parts) @ sharp.v(parts).mT
    torch.testing.assert_close(soft.attention(parts), (scores / 8).softmax(-1))
    assert (
        sharp.attention(parts).amax(-1).mean() - soft.attention(parts).amax(-1).mean()
        > 0.3
    )


@pytest.mark.parametrize("parts", [2, 3, 6])
def test_scores_of_unit_vectors_cannot_pick_one_stripe(parts):
    torch.manual_seed(0)
    unit = di2l.PartAttention(16, parts, scale="unit")
    with torch.no_grad():
        unit.u.weight *= 1e4  # as far as training might grow it
        unit.v.weight *= 1e4
    feat = torch.randn(32, parts, 16)
    shares = unit.attention(feat)
    torch.testing.assert_close(shares.sum(-1), torch.ones(32, parts))
    query, key = (F.normalize(layer(feat), dim=-1) for layer in (unit.u, unit.v))
    torch.testing.assert_close(shares, (query @ key.mT).softmax(-1))
    assert shares.min() > 1 / (1 + (parts - 1) * math.e**2)


def test_the_weight_of_the_triplet_multiplies_it():
    one, three = (small(lambda_tri=w).train() for w in (1.0, 3.0))
    first, second = (m.losses(m(batch()), batch(), m.phases[0]) for m in (one, three))
    torch.testing.assert_close(second["triplet"], 3 * first["triplet"])
    torch.testing.assert_close(second["id"], first["id"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("variant", "mine"),
        ("rca", "grey"),
        ("pool", "max"),
        ("pool", None),
        ("tri_loss", "soft"),
        ("id_on", "global"),
    ],
)
def test_an_unknown_switch_is_named_with_those_there_are(name, value):
    with pytest.raises(ValueError, match=f"{name}={value!r}: choose from '"):
        small(**{name: value})
