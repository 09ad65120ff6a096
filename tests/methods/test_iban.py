import itertools
import math

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from vvi import methods, weights
from vvi.config import Recipe, change, preset
from vvi.data.clips import test_frames as frames_of_search
from vvi.data.transforms import denormalise, normalise
from vvi.engine import optim, train
from vvi.losses import batch_hard_triplet
from vvi.methods import iban
from vvi.metrics import retrieval_metrics
from vvi.nn import backbone
from vvi.runtime import paths
from vvi.types import Batch

VIS, IR, IDS = (
    torch.tensor([[1, 0.2], [0.5, 2], [4, -1], [-1, 1]]),
    torch.tensor([[0.3, 3], [2, 2.5], [5, 1], [1, -1]]),
    torch.tensor([0, 0, 1, 1]),
)


def small(**options):
    torch.manual_seed(0)
    return methods.load(
        "iban", num_ids=5, backbone="micro", **({"frames": 3} | options)
    )


def awake(model):
    """A model whose guides are past their first step: their norms start at zero and then hide all that stands before them."""
    for guide in (model.guide3, model.guide4):
        nn.init.ones_(guide.norm.weight)
    return model


def batch(frames=3, step=0):
    g = torch.Generator().manual_seed(step)
    vis, ir = (torch.randn(6, frames, 3, 32, 16, generator=g) for _ in range(2))
    return Batch(vis, ir, torch.tensor([0, 0, 1, 1, 2, 2]), None, None, step)


def near(value, expected):
    assert float(value.detach()) == pytest.approx(expected, abs=1e-5)


def count(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


# --- the anaglyph


def grey(rows):
    return torch.tensor(rows).expand(3, -1, -1)


PICTURE = grey([[10, 20, 30], [40, 200, 60], [170, 5, 255]])


@pytest.mark.parametrize(
    ("variant", "picture", "expected"),
    [
        ("released", PICTURE, [[255, 168, 0], [93, 183, 0], [0, 0, 0]]),
        ("paper", PICTURE, [[255, 168, 158], [93, 183, 255], [0, 255, 128]]),
        ("paper", PICTURE.flip(-1), [[255, 148, 158], [73, 98, 255], [0, 255, 128]]),
        (
            "released",
            torch.full((3, 3, 3), 77),
            [[128, 128, 0], [128, 128, 0], [0, 0, 0]],
        ),
        ("paper", torch.full((3, 3, 3), 77), [[128] * 3] * 3),
    ],
)
def test_the_anaglyph_is_that_of_the_card_in_bytes_and_in_normalised_floats(
    variant, picture, expected
):
    torch.testing.assert_close(
        iban.anaglyph(picture.byte(), variant),
        grey(expected).float(),
        atol=1e-4,
        rtol=0,
    )
    found = iban.anaglyph(
        normalise(picture.byte().contiguous()), variant, normalised=True
    )
    torch.testing.assert_close(
        found, normalise(grey(expected).byte().contiguous()), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_the_anaglyph_of_coloured_clips_agrees_with_a_loop_over_pixels(variant):
    clips = torch.randint(
        256,
        (2, 2, 3, 5, 4),
        generator=torch.Generator().manual_seed(0),
        dtype=torch.uint8,
    )
    slow = torch.zeros(2, 2, 5, 4)
    for n, t in itertools.product(range(2), range(2)):
        red, green, blue = clips[n, t].double()
        g = 0.299 * red + 0.587 * green + 0.114 * blue
        g = g.round() if variant == "released" else g
        for i, j in itertools.product(range(5), range(4)):
            if variant == "paper" or (i < 4 and j < 3):
                slow[n, t, i, j] = min(
                    255, max(0, g[min(i + 1, 4), min(j + 1, 3)] - g[i, j] + 128)
                )
    slow = slow[:, :, None].expand(clips.shape)
    torch.testing.assert_close(iban.anaglyph(clips, variant), slow, atol=1e-3, rtol=0)
    found = iban.anaglyph(normalise(clips), variant, normalised=True)
    assert (denormalise(found).float() - slow).abs().max() <= (
        0 if variant == "released" else 0.51
    )


def test_a_brighter_picture_has_the_same_anaglyph():
    picture = torch.randint(
        100, (3, 6, 5), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    for variant in ("paper", "released"):
        torch.testing.assert_close(
            iban.anaglyph(picture + 100, variant),
            iban.anaglyph(picture, variant),
            atol=1e-3,
            rtol=0,
        )


def test_redrawn_anaglyphs_are_mirrored_half_of_the_time_by_draws_of_their_own_that_repeat():
    clips = normalise(
        torch.arange(100, 104, dtype=torch.uint8).expand(40, 4, 3, 32, 4).contiguous()
    )  # columns of rising grey
    vis, again, ir, later = (
        iban.redrawn(clips, *key)
        for key in (("vis", 7), ("vis", 7), ("ir", 7), ("vis", 8))
    )
    assert (
        torch.equal(vis, again)
        and not torch.equal(vis, ir)
        and not torch.equal(vis, later)
    )
    seen = (
        denormalise(vis).float().flatten(0, 1)[:, 0]
    )  # at most one row and one column are cut off and black
    falling = (seen[:, 16, 1] > seen[:, 16, 2]).float().mean()
    assert 0.4 < falling < 0.6 and 0 < (seen[:, 0] == 0).all(1).float().mean() < 0.6


def test_anaglyphs_are_redrawn_in_training_alone():
    released, paper, clips = small(variant="released"), small(), batch().vis
    assert not torch.equal(
        released.anaglyphs(clips, "vis", 0), released.anaglyphs(clips, "vis")
    )
    assert torch.equal(
        paper.anaglyphs(clips, "vis", 0), iban.anaglyph(clips, normalised=True)
    )


# --- the losses


def test_the_triplet_is_that_of_the_card():
    near(
        batch_hard_triplet(
            torch.tensor([[0.0, 0], [3, 4], [0, 1], [3, 0]]),
            torch.tensor([0, 1, 0, 1]),
            0.3,
        ),
        0.339340,
    )


@pytest.mark.parametrize(
    ("same_id", "metric", "total", "gradient"),
    [
        (True, "euclidean", 167.00, (0, -3.2)),
        (False, "cosine", 170.68, (-2, -2.4)),
        (True, "cosine", 182.70, None),
        (False, "euclidean", 166.88, None),
    ],
)
def test_the_easy_sample_loss_is_that_of_the_card(same_id, metric, total, gradient):
    vis = VIS.clone().requires_grad_()
    loss = iban.easy_sample_loss(vis, IR, IDS, same_id, metric)
    assert loss.item() == pytest.approx(total, abs=5e-3)
    near(iban.easy_sample_loss(VIS, IR, IDS, same_id, metric, "mean"), loss.item() / 32)
    if gradient:
        torch.testing.assert_close(
            torch.autograd.grad(loss, vis)[0][0],
            torch.tensor(gradient, dtype=torch.float32),
            atol=1e-5,
            rtol=0,
        )


@pytest.mark.parametrize(
    ("same_id", "metric"), [(True, "euclidean"), (False, "cosine")]
)
def test_the_easy_sample_loss_agrees_with_a_loop_over_anchors(same_id, metric):
    g = torch.Generator().manual_seed(0)
    vis, ir, ids = (
        torch.randn(6, 5, generator=g),
        torch.randn(6, 5, generator=g),
        torch.tensor([0, 0, 1, 1, 2, 2]),
    )
    total = 0.0
    for anchors, others in ((ir, vis), (vis, ir)):
        for a, anchor in enumerate(anchors):
            likeness = [
                float(
                    F.cosine_similarity(o, anchor, 0)
                    if metric == "cosine"
                    else -(o - anchor).norm()
                )
                for o in others
            ]
            easy = others[
                max(
                    (n for n in range(6) if not same_id or ids[n] == ids[a]),
                    key=likeness.__getitem__,
                )
            ]
            total += sum(float((o - easy).square().mean()) for o in others)
    near(iban.easy_sample_loss(vis, ir, ids, same_id, metric), total)


def test_the_easy_sample_loss_after_a_norm_starts_large_and_is_least_where_modalities_are_apart():
    torch.manual_seed(0)
    feat = torch.randn(16, 2048)
    normed = (feat - feat.mean(0)) / feat.std(0, unbiased=False)
    start = [
        float(iban.easy_sample_loss(*x.chunk(2), IDS.repeat_interleave(2)))
        for x in (feat, normed)
    ]
    assert start == [
        pytest.approx(2 * 8 * 7 * 2, abs=5),
        pytest.approx(2 * 8 * 7 * 2 * 16 / 15, abs=5),
    ]  # rows that sum to zero lie a little farther apart
    norm, free = nn.BatchNorm1d(8), nn.Parameter(torch.randn(16, 8))
    optimiser = torch.optim.Adam([free], 0.05)
    for _ in range(300):
        optimiser.zero_grad()
        iban.easy_sample_loss(*norm(free).chunk(2), IDS.repeat_interleave(2)).backward()
        optimiser.step()
    vis, ir = norm(free).detach().chunk(2)
    assert (
        (vis.mean(0) - ir.mean(0)).square().mean() / 4
    ) > 0.9  # the share of the variance, which is 1, that lies between modalities


@pytest.mark.parametrize(("reduction", "expected"), [("mse", 6.5), ("l2_sum", 10.0)])
def test_the_reconstruction_loss_is_that_of_the_card_and_holds_its_targets(
    reduction, expected
):
    vis, ir = (
        torch.tensor(x, requires_grad=True)
        for x in ([[1.0, 2], [0, 1]], [[1.0, 0], [3, 1]])
    )
    near(iban.reconstruction_loss(vis, ir, vis, ir, reduction), expected)
    iban.reconstruction_loss(vis, ir, vis.detach(), ir, reduction).backward()
    assert (
        vis.grad is None and ir.grad.any()
    )  # as a target neither moves, as a source it does


# --- the model


def test_the_parameter_counts_at_paper_size_are_those_of_the_card():
    with torch.device("meta"):
        models = {
            v: methods.load("iban", num_ids=500, backbone="resnet50", variant=v)
            for v in ("released", "paper")
        }
    m = models["released"]
    assert (
        count(m.trunk) == count(m.intermediary) == 23_517_568
        and count(m.trunk.stems) == 2 * 9_536
    )
    assert (
        count(m.guide3, m.guide4) == 10_499_584
        and count(m.bsta) == 134_283_264 + 28_323_840
    )
    assert (
        count(m.cross) == 27_262_976
        and count(m.neck.norm) == count(m.anaglyph_norm) == 4_096
        and count(m.neck.classifier) == 1_024_000
    )
    totals = {
        name: (
            count(model),
            count(model)
            - count(model.cross, model.anaglyph_norm, model.neck.classifier),
        )
        for name, model in models.items()
    }
    assert totals == {
        "released": (248_436_992, 220_145_920),
        "paper": (220_637_440, 192_346_368),
    }
    assert sum(p.numel() for p in m.parameters() if not p.requires_grad) == 4_096


def test_the_shapes_at_paper_size_are_those_of_the_card():
    seen = {}
    with torch.device("meta"):
        model = methods.load("iban", num_ids=500, backbone="resnet50")
        for name in ("guide3", "guide4", "bsta"):
            model.get_submodule(name).register_forward_hook(
                lambda _, given, found, name=name: seen.update(
                    {name: tuple(given[0].shape)}
                )
            )
        out = model(
            Batch(
                *(torch.zeros(8, 6, 3, 288, 144) for _ in range(2)),
                torch.zeros(8, dtype=torch.int64),
                None,
                None,
            )
        )
        told = model.cross(out.extra["levels"])
    assert seen == {
        "guide3": (96, 1024, 18, 9),
        "guide4": (96, 2048, 18, 9),
        "bsta": (16, 6, 2048),
    }
    assert out.feat.shape == out.extra["anaglyph feat"].shape == (
        16,
        2048,
    ) and out.logits.shape == (16, 500)
    assert [tuple(level[2].shape) for level in told] == [
        (48, 1024, 18, 9),
        (48, 2048, 18, 9),
    ]


def test_at_first_the_frames_teach_the_guides_no_more_than_their_norms_and_the_second_trunk_nothing():
    model, clips = small(), batch()
    out = model.train()(clips)
    losses = model.losses(out, clips, model.phases[-1])
    own = [losses[name] for name in ("id", "triplet", "easy sample")]
    parts = {
        name: p
        for part in ("guide3", "guide4", "intermediary")
        for name, p in getattr(model, part).named_parameters(part)
    }
    grads = dict(
        zip(
            parts,
            torch.autograd.grad(sum(own), parts.values(), retain_graph=True),
            strict=True,
        )
    )  # none of them is None
    assert {name for name, grad in grads.items() if grad.any()} == {
        f"guide{n}.norm.{kind}" for n in (3, 4) for kind in ("weight", "bias")
    }
    with torch.no_grad():
        for n in (3, 4):
            model.get_submodule(f"guide{n}").norm.weight.sub_(
                0.1 * grads[f"guide{n}.norm.weight"].sign()
            )
    out = model(clips)
    losses = model.losses(out, clips, model.phases[-1])
    grads = torch.autograd.grad(
        sum(losses[name] for name in ("id", "triplet", "easy sample")), parts.values()
    )
    assert all(
        grad.any()
        for name, grad in zip(parts, grads, strict=True)
        if not name.endswith("phi.bias")
    )


def test_each_loss_of_the_released_code_reaches_the_parts_that_the_card_lists():
    model, clips = awake(small(variant="released")).train(), batch()
    losses = model.losses(model(clips), clips, model.phases[-1])
    parts = {
        n: [p for p in m.parameters() if p.requires_grad]
        for n, m in model.named_children()
        if n != "neck"
    }
    parts |= {
        "neck": [model.neck.norm.weight],
        "classifier": [model.neck.classifier.weight],
    }
    reached = {}
    for name, loss in losses.items():
        found = {
            part: torch.autograd.grad(loss, ps, retain_graph=True, allow_unused=True)
            for part, ps in parts.items()
            if ps
        }
        reached[name] = {
            part
            for part, grads in found.items()
            if any(g is not None and g.any() for g in grads)
        }
    frames = {"trunk", "guide3", "guide4", "bsta", "intermediary"}
    assert reached == {
        "id": frames | {"neck", "classifier"},
        "triplet": frames,
        "easy sample": frames,
        "anaglyph id": {"intermediary", "anaglyph_norm", "classifier"},
        "anaglyph triplet": {"intermediary"},
        "anaglyph easy sample": {"intermediary"},
        "reconstruction": {"cross", "intermediary"},
    }


def terms(**options):
    model, clips = small(**options), batch()
    return [
        (phase, set(model.losses(model(clips), clips, phase))) for phase in model.phases
    ]


def test_the_losses_change_at_epoch_40_as_the_card_says():
    own = {"id", "triplet", "easy sample"}
    full = own | {f"anaglyph {name}" for name in own}
    (before, few), (encoder, all_) = terms()
    assert (
        (before.epochs, encoder.epochs) == ((0, 40), (40, math.inf))
        and few == full
        and all_ == full | {"reconstruction"}
    )
    assert set(encoder.parts) - set(before.parts) == {"cross"}
    (before, few), (encoder, all_) = terms(variant="released")
    assert (
        before.epochs == (0, 40)
        and few == own | {"anaglyph triplet"}
        and all_ == full | {"reconstruction"}
    )
    assert set(encoder.parts) - set(before.parts) == {"cross", "anaglyph_norm"}
    assert [(p.epochs, t) for p, t in terms(cr=False)] == [((0, math.inf), full)]
    assert [(p.epochs, t) for p, t in terms(cr_start=0)] == [
        ((0, math.inf), full | {"reconstruction"})
    ]
    assert [(p.parts, t) for p, t in terms(ig=False, bsta=False, esb=False)] == [
        (("trunk", "neck"), {"id", "triplet"})
    ]


def test_the_weighted_losses_read_the_features_that_the_variant_says():
    for variant, post, lambdas, reduction in (
        ("paper", True, (1.5, 1.5), "mean"),
        ("released", False, (1, 1), "sum"),
    ):
        model, clips = small(variant=variant).train(), batch()
        out = model(clips)
        found = model.losses(out, clips, model.phases[-1])
        rule = (True, "euclidean") if variant == "released" else (False, "cosine")
        for prefix, feat in (
            ("", out.extra["normed"] if post else out.feat),
            ("anaglyph ", out.extra["anaglyph normed" if post else "anaglyph feat"]),
        ):
            torch.testing.assert_close(
                found[f"{prefix}triplet"],
                lambdas[0] * batch_hard_triplet(feat, clips.labels, 0.3),
            )
            torch.testing.assert_close(
                found[f"{prefix}easy sample"],
                lambdas[1]
                * iban.easy_sample_loss(*feat.chunk(2), clips.ids, *rule, reduction),
            )
        scores = (
            out.extra["anaglyph normed"] @ model.neck.classifier.weight.T
        )  # the classifier is shared
        torch.testing.assert_close(
            found["anaglyph id"], F.cross_entropy(scores, clips.labels)
        )


def test_the_slow_group_is_everything_but_neck_and_classifier():
    model = small()
    groups = {
        g["factor"]: {id(p) for p in g["params"]}
        for g in model.groups(model.phases[-1], slow=0.1)
    }
    assert (
        groups[1.0] == {id(model.neck.norm.weight), id(model.neck.classifier.weight)}
        and id(model.anaglyph_norm.weight) in groups[0.1]
    )
    rates = {e: round(optim.rate(Recipe(), e, 200), 6) for e in (0, 9, 34, 35, 79, 80)}
    assert rates == {0: 0.01, 9: 0.1, 34: 0.1, 35: 0.01, 79: 0.01, 80: 0.001}


@pytest.mark.parametrize(
    ("layout", "follows"), [("permute", True), ("raw_view", False)]
)
def test_without_bsta_the_order_of_frames_plays_a_part_only_in_the_raw_view(
    layout, follows
):
    model, clips, order = (
        awake(small(bsta=False, ig_layout=layout)).eval(),
        torch.randn(3, 3, 3, 32, 16),
        [2, 0, 1],
    )
    with torch.no_grad():
        assert (
            torch.allclose(
                model.embed(clips, "ir"), model.embed(clips[:, order], "ir"), atol=1e-5
            )
            == follows
        )


def test_the_order_of_frames_reaches_the_clip_vector_and_never_that_of_the_anaglyphs():
    model, clips, order = awake(small()).eval(), batch(), [2, 0, 1]
    with torch.no_grad():
        straight, mixed = (
            model(clips),
            model(
                Batch(clips.vis[:, order], clips.ir[:, order], clips.ids, None, None)
            ),
        )
    torch.testing.assert_close(
        straight.extra["anaglyph feat"],
        mixed.extra["anaglyph feat"],
        atol=1e-5,
        rtol=1e-4,
    )
    assert (straight.feat - mixed.feat).abs().max() > 1e-4


def test_training_and_search_embed_alike():
    model, clips = awake(small()).eval(), batch()
    with torch.no_grad():
        out = model(clips)
        for n, (modality, side) in enumerate((("vis", clips.vis), ("ir", clips.ir))):
            torch.testing.assert_close(
                model.embed(side, modality),
                F.normalize(out.extra["normed"].chunk(2)[n], dim=1),
                atol=1e-5,
                rtol=1e-4,
            )


def test_embeddings_repeat_bit_for_bit_and_the_first_identity_loss_is_that_of_a_guess():
    torch.manual_seed(0)
    model, clips = (
        methods.load("iban", num_ids=500, backbone="micro", frames=3),
        batch(),
    )
    near(
        model.losses(model(clips), clips, model.phases[0])["id"] / math.log(500),
        pytest.approx(1, abs=0.1 / math.log(500)),
    )
    with torch.no_grad():
        first, second = (model.eval().embed(clips.ir, "ir") for _ in range(2))
    assert torch.equal(first, second)
    torch.testing.assert_close(first.norm(dim=1), torch.ones(6))


def test_anaglyphs_may_be_computed_before():
    model, clips = awake(small()).eval(), torch.randn(2, 3, 3, 32, 16)
    with torch.no_grad():
        made = iban.anaglyph(clips, normalised=True)
        assert torch.equal(model.embed(clips, "vis", made), model.embed(clips, "vis"))
        assert not torch.allclose(
            model.embed(clips, "vis", made.flip(-1)),
            model.embed(clips, "vis"),
            atol=1e-4,
        )
    with pytest.raises(
        ValueError, match="anaglyphs .* must be of the shape of their clips"
    ):
        model.embed(clips, "vis", made[:, :2])


def test_a_search_without_the_second_trunk_is_told_by_at_test():
    model, clips, runs = awake(small()).eval(), torch.randn(2, 3, 3, 32, 16), []
    model.intermediary.layer1.register_forward_hook(lambda *_: runs.append(1))
    with torch.no_grad():
        full = model.embed(clips, "ir")
        assert len(runs) == 1 and model.readings == {
            "anaglyphs blank": {"at_test": "zero"},
            "anaglyphs unused": {"at_test": "skip"},
        }
        stem = model.trunk.stem(clips.flatten(0, 1), "ir")
        third = model.trunk.layer3(model.trunk.layer2(model.trunk.layer1(stem)))
        blank = model.guide3(third, torch.zeros_like(third), 3)
        fourth = model.trunk.layer4(blank)
        blank, plain = (
            model.guide4(fourth, torch.zeros_like(fourth), 3),
            model.trunk.layer4(third),
        )
        for value, maps in (("zero", blank), ("skip", plain)):
            model.at_test = value
            expected = model.neck.embed(
                model.bsta(maps.mean((2, 3)).unflatten(0, (2, 3)))[0]
            )
            torch.testing.assert_close(
                model.embed(clips, "ir"), expected, atol=1e-5, rtol=1e-4
            )
            assert not torch.allclose(expected, full, atol=1e-4)
        assert len(runs) == 1
        model.at_test = "none"
        with pytest.raises(ValueError, match="at_test='none'"):
            model.embed(clips, "ir")


@pytest.mark.parametrize(
    "options", [{}, {"ig": False, "bsta": False}, {"variant": "released"}]
)
def test_the_layer_for_heat_maps_holds_the_maps_that_are_pooled(options):
    model, clips, seen = small(**options).eval(), torch.randn(2, 3, 3, 32, 16), []
    model.get_submodule(model.maps).register_forward_hook(
        lambda *given: seen.append(given[-1])
    )
    with torch.no_grad():
        embed = model.embed(clips, "vis")
        assert seen[0].shape == (6, 32, 4, 2)
        torch.testing.assert_close(
            model.neck.embed(model.clip_feat(seen[0], 3)[0]), embed
        )


def test_what_is_shown_of_the_inside():
    model, clips = awake(small()).eval(), torch.randn(2, 3, 3, 32, 16)
    with torch.no_grad():
        found = model.inspect(clips, "vis")
        assert {name: tuple(v.shape) for name, v in found.items()} == {
            "frame weight": (2, 3),
            "guidance": (2, 3, 2, 1),
        }
        torch.testing.assert_close(found["guidance"].mean((1, 2, 3)), torch.ones(2))
        torch.testing.assert_close(
            model.inspect(clips[1:], "vis")["frame weight"],
            found["frame weight"][1:],
            atol=1e-5,
            rtol=1e-4,
        )
        model.at_test = "skip"
        assert set(model.inspect(clips, "vis")) == {"frame weight"}
        assert set(small(bsta=False).eval().inspect(clips, "vis")) == {
            "guidance"
        } and not small(bsta=False, ig=False).eval().inspect(clips, "vis")


def test_gates_for_each_place_refuse_another_number_of_frames():
    with pytest.raises(ValueError, match="gates for 3 frames, the clips have 4"):
        small(variant="released").eval().embed(torch.randn(1, 4, 3, 32, 16), "ir")
    with torch.no_grad():
        assert small().eval().embed(torch.randn(1, 4, 3, 32, 16), "ir").shape == (1, 32)


def test_none_follows_the_variant_and_wrong_choices_are_named():
    main, paper, released = (
        iban.Config(variant="main"),
        iban.Config(),
        iban.Config(variant="released", plus_one=False),
    )
    for name, (sound, letter, code) in iban.READINGS.items():
        assert (
            getattr(main, name) == sound
            and getattr(paper, name) == letter
            and letter != code
            and sound in (letter, code)
        )
        assert getattr(released, name) == (False if name == "plus_one" else code)
    for options in (
        {"variant": "code"},
        {"ig_layout": "view"},
        {"temporal": None},
        {"metric_feat": "both"},
    ):
        with pytest.raises(ValueError, match=f"{next(iter(options))}=.*choose from"):
            iban.Config(**options)


def test_half_precision_trains_to_finite_losses():
    model, clips = awake(small()).train(), batch()
    with torch.autocast("cpu", torch.bfloat16):
        losses = model.losses(model(clips), clips, model.phases[-1])
    sum(losses.values()).backward()
    assert all(torch.isfinite(v) for v in losses.values()) and all(
        torch.isfinite(p.grad).all() for p in model.parameters() if p.requires_grad
    )


# --- the tables


def test_the_rows_of_the_tables_are_those_that_the_paper_prints():
    printed = pd.read_csv(paths.published() / "iban.csv")
    assert set(printed[printed.table == "Table II"].method) == set(
        iban.ABLATIONS["Table II"]
    )
    assert (
        set(iban.ABLATIONS["Table I"])
        == {"IBAN*", "IBAN"}
        <= set(printed[printed.table == "Table I"].method)
    )
    rows, main = iban.ABLATIONS["Fig. 7"], {"variant": "main"}
    assert (
        rows["lambda_1=1"] == rows["lambda_2=1"] == rows["lambda_3=1"] == main
    )  # the usual setting is one run
    assert rows["lambda_1=1.5"] == main | {"lambda_tri": 1.5}
    assert iban.ABLATIONS["Readings"]["raw view"] == main | {"ig_layout": "raw_view"}
    assert iban.ABLATIONS["Readings"]["literal"] == {"variant": "paper"}


def test_the_hard_sample_is_the_farthest_and_pulls_in_the_same_way():
    torch.manual_seed(3)
    vis, ir, ids = torch.randn(4, 6), torch.randn(4, 6), torch.tensor([0, 0, 1, 1])
    for sample, best in (("easy", max), ("hard", min)):
        total = 0.0
        for mine, theirs in ((vis, ir), (ir, vis)):
            for anchor in (
                mine
            ):  # its sample in the other modality pulls all clips of that modality
                target = theirs[
                    best(
                        range(4),
                        key=lambda n: float(F.cosine_similarity(anchor, theirs[n], 0)),
                    )
                ]
                total += sum(float((clip - target).square().mean()) for clip in theirs)
        torch.testing.assert_close(
            iban.easy_sample_loss(vis, ir, ids, sample=sample),
            torch.tensor(total),
            rtol=1e-4,
            atol=1e-4,
        )
    assert iban.ABLATIONS["Fig. 6"]["hard sample"] == {
        "variant": "main",
        "esb_sample": "hard",
    }


def test_every_row_of_every_table_takes_a_step():
    recipe, engine, clips = (
        Recipe(optimiser="adamw", slow=1.0),
        train.fabric("cpu"),
        batch(),
    )
    runs = {
        tuple(fields.items()): fields
        for rows in iban.ABLATIONS.values()
        for fields in rows.values()
        if "method" not in fields
    }
    runs |= {name: {name: values[2]} for name, values in iban.READINGS.items()} | {
        "Eq. (4) as printed": {"ig_embed": False, "ig_scope": "frame"}
    }
    for fields in runs.values():
        options = change(preset("tiny", "iban"), **fields).options
        model = small(**options).train()
        found = train.iteration(
            model,
            clips,
            optim.build(model, recipe),
            100,
            optim.rate(recipe, 100, recipe.epochs),
            engine,
        )
        assert all(torch.isfinite(v) for v in found.values()), fields
        assert hasattr(model, "intermediary") == options.get("ig", True) and hasattr(
            model, "cross"
        ) == (options.get("ig", True) and options.get("cr", True))


def test_the_protocol_gives_the_numbers_of_the_card():
    feat = torch.tensor([[0.9], [0.8], [0.7], [0.6]])
    gallery = torch.cat((feat, (1 - feat**2).sqrt()), 1)
    ids, cams = np.array([1, 2, 1, 1]), np.array([1, 3, 2, 4])
    found, wrong = (
        retrieval_metrics(
            torch.tensor([[1.0, 0]]),
            gallery,
            np.array([1]),
            ids,
            np.array([1]),
            cams,
            rule=rule,
        )
        for rule in ("vcm", "none")
    )
    assert (
        (found.rank(1), found.rank(2)) == (0, 1)
        and found.mAP == pytest.approx(0.583333, abs=1e-6)
        and wrong.mAP == pytest.approx(0.805556, abs=1e-6)
    )
    taken = {
        24: [0, 4, 8, 12, 16, 20],
        13: [0, 3, 6, 9, 12, 12],
        12: [0, 2, 4, 6, 8, 10],
        4: [0, 1, 2, 3, 3, 3],
        25: [0, 5, 10, 15, 20, 24],
    }
    assert {n: frames_of_search(n, 6).tolist() for n in taken} == taken


# --- the released checkpoint


def released_shapes(scale=1):
    """Released name -> shape of all entries of `net`, section 11 of the card, every width divided by `scale`."""
    with torch.device("meta"):
        resnet = {
            k: v.shape
            for k, v in torchvision.models.resnet50().state_dict().items()
            if not k.startswith("fc.")
        }

    def thin(*shape):
        return tuple(
            n // scale if n > 7 else n for n in shape
        )  # sides of kernels and the three colours stay

    prefixes = [
        f"{m}_module{f}.{m}." for m in ("visible", "thermal") for f in ("", "_f")
    ] + ["base_resnet.base."]
    prefixes += [
        f"base_resnet_{half}{f}.base." for half in ("fir", "sec") for f in ("", "_f")
    ]
    net = {prefix + k: thin(*s) for prefix in prefixes for k, s in resnet.items()}
    net |= {
        f"base_resnet.{k}": thin(*s)
        for k, s in resnet.items()
        if k.startswith("layer4.")
    }

    def norm(prefix, n):
        return {
            f"{prefix}.{k}": thin(n)
            for k in ("weight", "bias", "running_mean", "running_var")
        } | {f"{prefix}.num_batches_tracked": ()}

    for part, c, side in (("fir", 1024, 3), ("sec", 2048, 1)):
        net |= {
            f"chonggou_{flow}_{part}.conv.0.weight": thin(c, c, side, side)
            for flow in ("v2t", "t2v")
        }
        layers = {
            "theta": (c // 2, c),
            "phi.0": (c // 2, c),
            "g.0": (c // 2, c),
            "W.0": (c, c // 2),
        }
        net |= {
            f"cross_atten_{part}.cross_atten.{k}.weight": thin(*s, 1, 1, 1)
            for k, s in layers.items()
        }
        net |= {
            f"cross_atten_{part}.cross_atten.{k}.bias": thin(s[0])
            for k, s in layers.items()
        } | norm(f"cross_atten_{part}.cross_atten.W.1", c)
    net |= (
        norm("bottleneck", 2048)
        | norm("bottleneck_f", 2048)
        | {"classifier.weight": (500, *thin(2048))}
    )
    for name in ("lstm_o", "lstm_r"):
        net |= {
            f"{name}.{kind}_{way}_l{n}": thin(8192, 2048)[
                : 2 if kind == "weight" else 1
            ]
            for kind in ("weight", "bias")
            for way in ("ih", "hh")
            for n in (0, 1)
        }
    for t, letter in enumerate("abcdef", 1):
        gate = f"temporal_feat_learning.se_{t}."
        net |= {
            f"temporal_feat_learning.{letter}.weight": thin(2048, 2048),
            f"temporal_feat_learning.{letter}.bias": thin(2048),
        }
        net |= {
            gate + "fc.0.weight": thin(128, 2048),
            gate + "fc.2.weight": thin(2048, 128),
            gate + "l.weight": thin(2048, 2048, 1, 1),
            gate + "l.bias": thin(2048),
        }
    return net


def ours(net):
    """Released tensors by our names; a 1x1x1 convolution is a linear map of places."""
    found = weights.rename(net, iban.RELEASED_KEYS, iban.RELEASED_IGNORED)
    return {k: v.flatten(1) if v.ndim == 5 else v for k, v in found.items()}


def test_of_the_released_keys_729_fill_the_model_and_2286_are_dead():
    net = {k: torch.empty(s, device="meta") for k, s in released_shapes().items()}
    prefixes = tuple(prefix for prefix, *_ in iban.RELEASED_KEYS)
    live, dead = (
        [k for k in net if k.startswith(prefixes) == wanted] for wanted in (True, False)
    )
    assert (len(net), len(live), len(dead)) == (3015, 729, 2286) and not any(
        k.startswith(iban.RELEASED_IGNORED) for k in live
    )
    assert (
        sum(net[k].numel() for k in dead if "running" not in k and "tracked" not in k)
        == 204_680_000
    )
    assert all(
        any(k.startswith(p) for k in net) for p in (*prefixes, *iban.RELEASED_IGNORED)
    )  # none of them is idle
    renamed = ours(net)
    config = iban.released_config(renamed)
    with torch.device("meta"):
        model = iban.Model(config, 500)
    assert (config.frames, config.variant, config.backbone) == (
        6,
        "released",
        "resnet50",
    )
    assert {k: v.shape for k, v in renamed.items()} == {
        k: v.shape for k, v in model.state_dict().items()
    }
    with pytest.raises(
        weights.CheckpointError, match="unknown keys: lstm.weight_ih_l0"
    ):
        ours(net | {"lstm.weight_ih_l0": torch.zeros(1)})


def random_values(shapes):
    g = torch.Generator().manual_seed(0)

    def draw(key, shape):
        if key.endswith("num_batches_tracked"):
            return torch.tensor(7)
        if key.endswith("running_var"):
            return 0.5 + torch.rand(shape, generator=g)
        fan = max(1, int(np.prod(shape[1:])))
        return (
            torch.randn(shape, generator=g) * (2 / fan) ** 0.5
            if len(shape) > 1
            else 0.5 + 0.2 * torch.randn(shape, generator=g)
        )

    return {key: draw(key, shape) for key, shape in shapes.items()}


class Released:
    """The forward pass of sections 3 and 10 of the card, `released`, from tensors by their released names; nothing of ours."""

    def __init__(self, net):
        self.net = net

    def norm(self, key, x):
        return F.batch_norm(
            x,
            *(
                self.net[f"{key}.{k}"]
                for k in ("running_mean", "running_var", "weight", "bias")
            ),
        )

    def stage(self, prefix, x, stride):
        for n in itertools.takewhile(
            lambda n: f"{prefix}.{n}.conv1.weight" in self.net, itertools.count()
        ):
            key, step = f"{prefix}.{n}", stride if n == 0 else 1
            y = F.relu(
                self.norm(f"{key}.bn1", F.conv2d(x, self.net[f"{key}.conv1.weight"]))
            )
            y = F.relu(
                self.norm(
                    f"{key}.bn2",
                    F.conv2d(
                        y, self.net[f"{key}.conv2.weight"], stride=step, padding=1
                    ),
                )
            )
            y = self.norm(f"{key}.bn3", F.conv2d(y, self.net[f"{key}.conv3.weight"]))
            if n == 0:
                x = self.norm(
                    f"{key}.downsample.1",
                    F.conv2d(x, self.net[f"{key}.downsample.0.weight"], stride=step),
                )
            x = F.relu(x + y)
        return x

    def third(self, x, side, branch):
        stem = f"{side}_module{branch}.{side}"
        x = F.relu(
            self.norm(
                f"{stem}.bn1",
                F.conv2d(x, self.net[f"{stem}.conv1.weight"], stride=2, padding=3),
            )
        )
        x = F.max_pool2d(x, 3, 2, 1)
        for layer, stride in ((1, 1), (2, 2), (3, 2)):
            x = self.stage(f"base_resnet_fir{branch}.base.layer{layer}", x, stride)
        return x

    def cross(self, part, f, a):
        """(T, C, h, w) twice; the pseudo entry (c', t') is channel s mod C of frame s // C, s = c'T + t'."""
        frames, c, key = len(f), f.shape[1], f"cross_atten_{part}.cross_atten"
        slot = torch.arange(c * frames).view(c, frames)
        f_, a_ = (x[slot // c, slot % c][None] for x in (f, a))  # (1, C, T, h, w)

        def conv(name, x):
            return F.conv3d(
                x, self.net[f"{key}.{name}.weight"], self.net[f"{key}.{name}.bias"]
            )

        query = conv("theta", a_).flatten(2)[0]
        keys, values = (
            F.max_pool3d(conv(name, f_), (1, 2, 2)).flatten(2)[0]
            for name in ("phi.0", "g.0")
        )
        mixed = values @ (query.T @ keys).softmax(1).T
        z = f_ + self.norm(f"{key}.W.1", conv("W.0", mixed.view(1, -1, *f_.shape[2:])))
        out = torch.empty_like(f)
        out[slot // c, slot % c] = z[0]
        return out

    def embed(self, clip, anaglyphs, side):
        f3, a3 = self.third(clip, side, ""), self.third(anaglyphs, side, "_f")
        f4 = self.stage("base_resnet_sec.base.layer4", self.cross("fir", f3, a3), 1)
        x = self.cross(
            "sec", f4, self.stage("base_resnet_sec_f.base.layer4", a3, 1)
        ).mean((2, 3))  # (T, D)
        ends = []
        for name, order in (("lstm_o", x), ("lstm_r", x.flip(0))):
            lstm = nn.LSTM(x.shape[1], x.shape[1], 2)
            lstm.load_state_dict(
                {
                    k.removeprefix(f"{name}."): v
                    for k, v in self.net.items()
                    if k.startswith(f"{name}.")
                }
            )
            ends.append(lstm(order[:, None])[0][-1, 0])
        total = torch.zeros(x.shape[1])
        for t, letter in enumerate("abcdef"):
            linear, gate = (
                f"temporal_feat_learning.{letter}.",
                f"temporal_feat_learning.se_{t + 1}.fc.",
            )
            z = (
                F.linear(
                    ends[0], self.net[linear + "weight"], self.net[linear + "bias"]
                )
                + x[t]
            ) / 2
            s = torch.sigmoid(
                F.linear(
                    F.relu(F.linear(z, self.net[gate + "0.weight"])),
                    self.net[gate + "2.weight"],
                )
            )
            w = sum(x[t] @ end / x[t].norm() / end.norm() for end in ends) / 2
            total += (1 + w) * x[t] * (1 + s) / 6
        return F.normalize(self.norm("bottleneck", total[None]))[0]


def narrow_trunk(name, source):
    """The trunk of ResNet-50 at a sixteenth of its widths."""
    with torch.device("meta"):
        net = torchvision.models.resnet50()
    net.inplanes = 4
    shapes = ((4, 3, 1), (8, 4, 2), (16, 6, 2), (32, 3, 1))
    stages = [
        net._make_layer(torchvision.models.resnet.Bottleneck, planes, blocks, stride)
        for planes, blocks, stride in shapes
    ]
    stem = nn.Sequential(
        nn.Conv2d(3, 4, 7, 2, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    )
    return backbone.TwoStream(stem, stages, (4, 16, 32, 64, 128))


def test_released_weights_give_the_embedding_of_the_released_formula(monkeypatch):
    monkeypatch.setattr(iban.backbone, "build", narrow_trunk)
    net = random_values(released_shapes(scale=16))
    model = weights.load_released("iban", {"net": net})
    assert model.guide3.norm.weight.abs().min() > 1e-3  # the guidance takes part
    clips = F.interpolate(
        3 * torch.randn(12, 3, 3, 2, generator=torch.Generator().manual_seed(1)),
        (96, 48),
    ).unflatten(0, (2, 6))
    anaglyphs = F.interpolate(
        3 * torch.randn(12, 3, 3, 2, generator=torch.Generator().manual_seed(2)),
        (96, 48),
    ).unflatten(0, (2, 6))
    with torch.no_grad():
        for modality, side in (("vis", "visible"), ("ir", "thermal")):
            found = model.embed(clips, modality, anaglyphs)
            for n in range(2):
                torch.testing.assert_close(
                    found[n],
                    Released(net).embed(clips[n], anaglyphs[n], side),
                    atol=1e-5,
                    rtol=0,
                )
            assert (found[0] - found[1]).abs().max() > 1e-2
        for part, name, value in (
            (model.guide3, "layout", "permute"),
            (model.guide4, "query", "original"),
            (model.bsta, "plus_one", False),
        ):
            before = getattr(part, name)
            setattr(part, name, value)
            assert (model.embed(clips, "ir", anaglyphs) - found).abs().max() > 1e-3, (
                name
            )  # the other readings are told apart by this test
            setattr(part, name, before)
