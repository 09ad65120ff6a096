"""The network of IBAN as a whole."""

import math

import pytest
import torch
import torch.nn.functional as F
from small_iban import awake, batch, count, near, small

from vvi import methods
from vvi.config import Recipe
from vvi.engine import optim
from vvi.losses import batch_hard_triplet
from vvi.methods import iban
from vvi.types import Batch


def test_anaglyphs_are_redrawn_in_training_alone():
    released, paper, clips = small(variant="released"), small(), batch().vis
    assert not torch.equal(
        released.anaglyphs(clips, "vis", 0), released.anaglyphs(clips, "vis")
    )
    assert torch.equal(
        paper.anaglyphs(clips, "vis", 0), iban.anaglyph(clips, normalised=True)
    )


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
                lambda _, inputs, outputs, name=name: seen.update(
                    {name: tuple(inputs[0].shape)}
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
        predicted = model.cross(out.extra["levels"])
    assert seen == {
        "guide3": (96, 1024, 18, 9),
        "guide4": (96, 2048, 18, 9),
        "bsta": (16, 6, 2048),
    }
    assert out.feat.shape == out.extra["anaglyph feat"].shape == (
        16,
        2048,
    ) and out.logits.shape == (16, 500)
    assert [tuple(level[2].shape) for level in predicted] == [
        (48, 1024, 18, 9),
        (48, 2048, 18, 9),
    ]


def test_at_first_the_frames_teach_only_the_norms_of_the_guides():
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
        gradients = {
            part: torch.autograd.grad(loss, ps, retain_graph=True, allow_unused=True)
            for part, ps in parts.items()
            if ps
        }
        reached[name] = {
            part
            for part, grads in gradients.items()
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
        losses = model.losses(out, clips, model.phases[-1])
        rule = (True, "euclidean") if variant == "released" else (False, "cosine")
        for prefix, feat in (
            ("", out.extra["normed"] if post else out.feat),
            ("anaglyph ", out.extra["anaglyph normed" if post else "anaglyph feat"]),
        ):
            torch.testing.assert_close(
                losses[f"{prefix}triplet"],
                lambdas[0] * batch_hard_triplet(feat, clips.labels, 0.3),
            )
            torch.testing.assert_close(
                losses[f"{prefix}easy sample"],
                lambdas[1]
                * iban.easy_sample_loss(*feat.chunk(2), clips.ids, *rule, reduction),
            )
        scores = (
            out.extra["anaglyph normed"] @ model.neck.classifier.weight.T
        )  # the classifier is shared
        torch.testing.assert_close(
            losses["anaglyph id"], F.cross_entropy(scores, clips.labels)
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


def test_a_search_without_the_second_trunk_is_predicted_by_at_test():
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
        shown = model.inspect(clips, "vis")
        assert {name: tuple(v.shape) for name, v in shown.items()} == {
            "frame weight": (2, 3),
            "guidance": (2, 3, 2, 1),
        }
        torch.testing.assert_close(shown["guidance"].mean((1, 2, 3)), torch.ones(2))
        torch.testing.assert_close(
            model.inspect(clips[1:], "vis")["frame weight"],
            shown["frame weight"][1:],
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


def test_half_precision_trains_to_finite_losses():
    model, clips = awake(small()).train(), batch()
    with torch.autocast("cpu", torch.bfloat16):
        losses = model.losses(model(clips), clips, model.phases[-1])
    sum(losses.values()).backward()
    assert all(torch.isfinite(v) for v in losses.values()) and all(
        torch.isfinite(p.grad).all() for p in model.parameters() if p.requires_grad
    )
