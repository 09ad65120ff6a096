import copy
import dataclasses
import json
import math
import socket
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from vvi import methods
from vvi.config import Recipe
from vvi.engine import optim, train
from vvi.evaluation import evaluate
from vvi.evaluation.cam import class_activation_maps
from vvi.experiment import ablation
from vvi.losses import batch_hard_triplet
from vvi.methods import cmft
from vvi.metrics import retrieval_metrics
from vvi.runtime import paths
from vvi.types import Batch

IDS = torch.tensor([0, 0, 1, 1])
VIS = torch.tensor([[0.0, 0], [1, 0], [1, 1], [3, 1]])
IR = torch.tensor([[0.0, 1], [0, 3], [2, 2], [2, 3]])
FUSED = torch.tensor([[0.0, 0], [0, 2], [3, 0], [3, 1]])
RNG = np.random.default_rng(0)


def small(**options):
    torch.manual_seed(0)
    return methods.load(
        "cmft", num_ids=5, backbone="micro", **({"frames": 3} | options)
    )


def batch(step=0, frames=3, pairs=2):
    g = torch.Generator().manual_seed(step)
    ids = torch.arange(3).repeat_interleave(pairs)
    return Batch(
        *(torch.randn(len(ids), frames, 3, 32, 16, generator=g) for _ in range(2)),
        ids,
        None,
        None,
        step,
    )


def iterate(model, epoch, steps=1):
    recipe = Recipe(slow=1.0, warmup=0, milestones=(), lr=0.01)
    optimisers, engine = optim.build(model, recipe), train.fabric("cpu")
    return [
        train.iteration(
            model,
            batch(s),
            optimisers,
            epoch,
            optim.rate(recipe, epoch, recipe.epochs),
            engine,
        )
        for s in range(steps)
    ]


def near(value, expected, places=1e-6):
    assert float(value) == pytest.approx(expected, abs=places)


def count(module):
    return sum(p.numel() for p in module.parameters())


def random_features(pairs=(2, 3, 2), dim=6, seed=0):
    """Features of three spaces and identities, in no order and not equally often."""
    g = torch.Generator().manual_seed(seed)
    ids = torch.arange(len(pairs)).repeat_interleave(torch.tensor(pairs))
    ids = ids[torch.randperm(len(ids), generator=g)]
    return *(torch.randn(len(ids), dim, generator=g) for _ in range(3)), ids


# losses


def test_the_losses_of_stage_one_are_those_of_the_card():
    for feat, expected in ((VIS, 0.3), (IR, 0.025), (FUSED, 0.0)):
        near(batch_hard_triplet(feat, IDS, 0.1), expected)
    near(cmft.cross_modal_loss(VIS, IR, FUSED, IDS), 0.325)
    near(cmft.cross_modal_loss(VIS, IR, None, IDS), 0.325)  # the fused part is 0 here


def test_the_replacements_of_table_4_are_those_of_the_card():
    for mode, expected in (("wrt", 0.77986), ("hct", 0.114694), ("cmt", 0.521784)):
        near(cmft.cross_modal_loss(VIS, IR, None, IDS, mode=mode), expected, 5e-6)
    same = torch.ones(4, 2)
    for mode in ("cross", "hct", "cmt"):
        near(
            cmft.cross_modal_loss(same, same, None, IDS, mode=mode),
            0.2 if mode == "cross" else 0.1,
            2e-6,
        )


def test_msrl_is_that_of_the_card_in_each_metric():
    near(cmft.refinement_loss(VIS, IR, FUSED, IDS), 0.5)
    near(cmft.refinement_loss(VIS, IR, None, IDS, "pmt"), 0.777213)
    near(
        cmft.refinement_loss(VIS + 1, IR + 1, FUSED + 1, IDS, "cosine"), 0.0026436, 1e-7
    )


def test_mdl_is_that_of_the_card_with_each_choice_of_negatives():
    for negatives, expected in (
        ("dyn", 0.617766),
        ("all", 0.492849),
        ("hard", 0.772568),
    ):
        near(cmft.discriminative_loss(VIS, IR, IDS, negatives), expected)


@pytest.mark.parametrize("negatives", ["dyn", "all", "hard"])
def test_mdl_keeps_a_negative_when_all_are_equally_far(negatives):
    feat = torch.tensor([[0.0, 0], [2, 0]], requires_grad=True)
    loss = cmft.discriminative_loss(feat, feat, torch.tensor([0, 1]), negatives)
    loss.backward()
    assert float(loss.detach()) == 0 and torch.isfinite(feat.grad).all()
    turned = torch.tensor(
        [[0.1, 0.3], [0.7, -0.9]]
    )  # the mean of equal distances may round below them
    assert torch.isfinite(
        cmft.discriminative_loss(
            turned, turned.flip(1), torch.tensor([0, 1]), negatives
        )
    )


def test_stage_two_adds_up_as_on_the_card():
    near(
        2
        + 0.3 * cmft.refinement_loss(VIS, IR, FUSED, IDS)
        + 0.7 * cmft.discriminative_loss(VIS, IR, IDS),
        2.582436,
    )


def test_the_triplets_agree_with_loops_over_anchors():
    vis, ir, fused, ids = random_features()
    slow = 0.0
    for feat in (vis, ir, fused):
        for a in range(7):
            far = max((feat[a] - feat[p]).norm() for p in range(7) if ids[p] == ids[a])
            close = min(
                (feat[a] - feat[n]).norm() for n in range(7) if ids[n] != ids[a]
            )
            slow += max(0.0, float(far - close) + 0.1) / 7
    near(cmft.cross_modal_loss(vis, ir, fused, ids), slow, 1e-5)
    across = 0.0
    for one, two in ((vis, ir), (ir, vis)):
        for a in range(7):
            far = max((one[a] - two[p]).norm() for p in range(7) if ids[p] == ids[a])
            close = min((one[a] - two[n]).norm() for n in range(7) if ids[n] != ids[a])
            across += max(0.0, float(far - close) + 0.1) / 14
    near(cmft.cross_modal_loss(vis, ir, None, ids, mode="cmt"), across, 1e-5)


def test_the_triplet_of_centres_agrees_with_a_loop_over_identities_and_modalities():
    vis, ir, fused, ids = random_features((2, 2, 2))
    centre = {
        (y, m): feat[ids == y].mean(0)
        for y in range(3)
        for m, feat in enumerate((vis, ir))
    }
    slow = 0.0
    for y, m in centre:
        close = min((centre[y, m] - c).norm() for (z, _), c in centre.items() if z != y)
        slow += (
            max(0.0, float((centre[y, m] - centre[y, 1 - m]).norm() - close) + 0.1) / 6
        )
    near(cmft.cross_modal_loss(vis, ir, None, ids, mode="hct"), slow, 1e-5)
    near(
        cmft.cross_modal_loss(vis, ir, fused, ids, mode="hct"),
        slow + float(batch_hard_triplet(fused, ids, 0.1)),
        1e-5,
    )


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "pmt"])
def test_msrl_agrees_with_a_loop_over_anchors(metric):
    vis, ir, fused, ids = random_features()
    dist = (
        (lambda a, b: 1 - F.cosine_similarity(a, b, dim=0))
        if metric == "cosine"
        else (lambda a, b: (a - b).norm())
    )

    def mean(values):
        return sum(values) / len(values)

    slow = 0.0
    for own, other in ((vis, ir), (ir, vis)):
        for a in range(7):
            rest = [k for k in range(7) if k != a and ids[k] == ids[a]]
            target = (
                mean([dist(fused[a], fused[k]) for k in rest])
                if metric != "pmt"
                else mean([dist(own[a], other[k]) for k in [a, *rest]])
            )
            slow += float(mean([dist(own[a], own[k]) for k in rest]) - target) ** 2 / 14
    near(cmft.refinement_loss(vis, ir, fused, ids, metric), slow, 1e-5)


@pytest.mark.parametrize("negatives", ["dyn", "all", "hard"])
def test_mdl_agrees_with_a_loop_over_identities_in_any_order_of_rows(negatives):
    vis, ir, _, ids = random_features()
    top = bottom = 0.0
    for y in range(3):
        centre = torch.cat((vis[ids == y], ir[ids == y])).mean(0)
        right = [
            float((z - centre).norm()) for feat in (vis, ir) for z in feat[ids == y]
        ]
        wrong = [
            float((z - centre).norm()) for feat in (vis, ir) for z in feat[ids != y]
        ]
        chosen = {
            "all": wrong,
            "hard": [min(wrong)],
            "dyn": [d for d in wrong if d <= sum(wrong) / len(wrong)],
        }[negatives]
        top, bottom = top + sum(right) / len(right), bottom + sum(chosen) / len(chosen)
    near(cmft.discriminative_loss(vis, ir, ids, negatives), top / bottom, 1e-5)


def test_fused_scores_are_those_of_the_card():
    logits = torch.tensor([[2.0, 0], [0, 1]])
    for fusion, expected in (("score_avg", 0.553613), ("score_mul", 0.313262)):
        model = small(fusion=fusion, msrl=None)
        model.neck.forward = lambda feat: (feat, logits)
        scores = model.run_and_fuse(
            torch.zeros(1, 3, 3, 32, 16), torch.zeros(1, 3, 3, 32, 16)
        ).extra["fused_logits"]
        near(F.cross_entropy(scores, torch.tensor([0])), expected)


# the model


@pytest.mark.parametrize(
    ("start", "expected"), [(5, 77_447_296), (6, 64_845_952), (2, 81_443_584)]
)
def test_the_counts_of_the_whole_model_are_those_of_the_card(start, expected):
    with torch.device("meta"):
        model = methods.load("cmft", num_ids=500, start=start)
    assert (
        count(model) == expected
        and count(model.streams["vis"]) == count(model.streams["ir"]) == 23_508_032
    )


def test_the_shapes_at_the_size_of_the_paper():
    with torch.device("meta"):
        model = methods.load("cmft", num_ids=500)
        clips = torch.zeros(2, 7, 3, 256, 128)
        vis, ir = (model.stage_maps(clips, m) for m in ("vis", "ir"))
        out = model.run_and_fuse(clips, clips)
        first, last = model.fusion.steps(vis, ir)
    assert [tuple(m.shape[1:]) for m in vis] == [
        (64, 64, 32),
        (256, 64, 32),
        (512, 32, 16),
        (1024, 16, 8),
        (2048, 16, 8),
    ]
    # what is fused at stage 5, and what it multiplies at stage 6: 128 tokens
    assert first.fused.shape == last.vis.shape == (14, 2048, 16, 8)
    assert (
        out.feat.shape == (4, 2048)
        and out.extra["fused"].shape == (2, 2048)
        and out.logits.shape == (4, 500)
    )


@pytest.mark.parametrize("start", [2, 3, 4, 5, 6])
def test_every_start_runs_at_the_size_of_the_paper_and_at_that_of_the_book(start):
    with torch.device("meta"):
        for name, clips in (
            ("resnet50", torch.zeros(2, 3, 3, 64, 32)),
            ("small", torch.zeros(2, 4, 3, 128, 64)),
        ):
            model = methods.load("cmft", num_ids=5, backbone=name, start=start)
            assert model.run_and_fuse(clips, clips).extra["fused"].shape == (
                2,
                model.neck.norm.num_features,
            )


def options():
    """Every distinct set of the method's own switches in its tables, weights aside."""
    rows = [
        r
        for table, rows in cmft.ABLATIONS.items()
        for r in rows.values()
        if r.get("method", "cmft") == "cmft" and table not in ("Fig. 6", "Fig. 7")
    ]
    own = [
        {k: v for k, v in r.items() if k in cmft.Config.__dataclass_fields__}
        for r in rows
    ]
    return [
        json.loads(text)
        for text in dict.fromkeys(json.dumps(o, sort_keys=True) for o in own)
    ]


def test_every_row_trains_in_both_stages_and_embeds():
    for changes in options():
        model, frames = small(**changes).train(), changes.get("frames", 3)
        for phase in model.phases:
            some = batch(frames=frames)
            total = sum(model.losses(model(some), some, phase).values())
            total.backward()
            assert torch.isfinite(total), changes
        with torch.no_grad():
            assert (
                model.eval().embed(some.vis, "ir").norm(dim=1).allclose(torch.ones(6))
            ), changes


def test_who_receives_gradient_is_as_on_the_card():
    model, some = small().eval(), batch()
    out = model(some)
    (vis, ir), fused, ids = out.feat.chunk(2), out.extra["fused"], some.ids

    def triplet(feat):
        return batch_hard_triplet(
            feat, ids, 10.0
        )  # a margin that keeps every hinge open

    table = {
        "L^r": (triplet(vis), (True, False, False)),
        "L^i": (triplet(ir), (False, True, False)),
        "L^f": (triplet(fused), (True, True, True)),
        "CE": (F.cross_entropy(out.extra["fused_logits"], ids), (True, True, True)),
        "MSRL": (cmft.refinement_loss(vis, ir, fused, ids), (True, True, True)),
        "MDL": (cmft.discriminative_loss(vis, ir, ids), (True, True, False)),
    }
    for name, (loss, expected) in table.items():
        for part, reached in zip(
            (model.streams["vis"], model.streams["ir"], model.fusion),
            expected,
            strict=True,
        ):
            grads = torch.autograd.grad(
                loss, list(part.parameters()), allow_unused=True, retain_graph=True
            )
            assert (
                any(g is not None and bool(g.abs().sum() > 0) for g in grads) == reached
            ), name
            assert not reached or all(g is not None for g in grads), name


def test_the_order_of_frames_matters_through_the_shifts_alone():
    order, some = [2, 0, 1], batch()
    for shift in (True, False):
        model = small(shift=shift).eval()
        with torch.no_grad():
            plain, moved, one = (
                model.run_and_fuse(some.vis, some.ir),
                model.run_and_fuse(some.vis[:, order], some.ir[:, order]),
                model.run_and_fuse(some.vis[:, order], some.ir),
            )
        changes = [
            float((a - b).abs().max())
            for a, b in (
                (plain.feat, moved.feat),
                (plain.extra["fused"], moved.extra["fused"]),
            )
        ]
        assert min(changes) > 1e-3 if shift else max(changes) < 1e-5
    assert (plain.feat - one.feat).abs().max() < 1e-5 and (
        plain.extra["fused"] - one.extra["fused"]
    ).abs().max() > 1e-4


def test_the_fused_feature_is_the_mean_of_its_tokens_and_frames():
    model, some = small().eval(), batch()
    with torch.no_grad():
        out = model.run_and_fuse(some.vis, some.ir)
        for n in range(2):
            maps = [
                model.stage_maps(clips[n : n + 1], m)
                for clips, m in ((some.vis, "vis"), (some.ir, "ir"))
            ]
            torch.testing.assert_close(
                out.extra["fused"][n],
                model.fusion(*maps).flatten(2).mean(2).mean(0),
                atol=1e-5,
                rtol=1e-4,
            )
            torch.testing.assert_close(
                out.feat[6 + n],
                maps[1][-1].flatten(2).mean(2).mean(0),
                atol=1e-5,
                rtol=1e-4,
            )


def test_swapped_inputs_neither_swap_nor_keep_the_fused_feature():
    model, some = small(branches=2).eval(), batch()
    with torch.no_grad():
        one, two = (
            model.run_and_fuse(some.vis, some.ir).extra["fused"],
            model.run_and_fuse(some.ir, some.vis).extra["fused"],
        )
    assert (one - two).abs().max() > 1e-2 and (one - two.roll(16, 1)).abs().max() > 1e-2


def test_the_coordinates_of_the_fused_feature_average_to_zero_at_init():
    some = batch()
    assert (
        small().run_and_fuse(some.vis, some.ir).extra["fused"].mean(1).abs().max()
        < 1e-5
    )


def test_one_norm_and_one_classifier_serve_both_streams_and_the_fused_feature():
    model, some = small().eval(), batch()
    with torch.no_grad():
        out = model(some)
        torch.testing.assert_close(
            out.extra["fused_logits"],
            model.fused_head.norm(out.extra["fused"]) @ model.neck.classifier.weight.T,
        )
        torch.testing.assert_close(
            out.logits, model.neck.norm(out.feat) @ model.neck.classifier.weight.T
        )
    one = small(start=6, branches=1)
    assert one.run_and_fuse(some.vis, some.ir).extra["fused"].shape == (
        6,
        16,
    ) and one.fused_head.classifier.weight.shape == (5, 16)


def test_the_streams_start_equal_and_share_nothing():
    vis, ir = (list(small().streams[m].parameters()) for m in ("vis", "ir"))
    assert all(torch.equal(a, b) for a, b in zip(vis, ir, strict=True)) and len(
        vis
    ) == len(ir)
    assert not {id(p) for p in vis} & {id(p) for p in ir}


def test_the_losses_of_each_stage_carry_their_weights():
    model, some = small(lambda1=0.25, lambda2=2.0).eval(), batch()
    out = model(some)
    (vis, ir), fused = out.feat.chunk(2), out.extra["fused"]
    one, two = (model.losses(out, some, phase) for phase in model.phases)
    parts = [
        F.cross_entropy(scores, some.ids)
        for scores in (*out.logits.chunk(2), out.extra["fused_logits"])
    ]
    torch.testing.assert_close(one["id"], sum(parts) / 3)
    torch.testing.assert_close(
        one["cross"], cmft.cross_modal_loss(vis, ir, fused, some.ids, 0.1)
    )
    assert set(one) == {"id", "cross"} and set(two) == {"id", "msrl", "mdl"}
    torch.testing.assert_close(
        two["msrl"], 0.25 * cmft.refinement_loss(vis, ir, fused, some.ids)
    )
    torch.testing.assert_close(
        two["mdl"], 2 * cmft.discriminative_loss(vis, ir, some.ids)
    )


def test_cosine_msrl_looks_behind_the_necks():
    model, some = small(msrl="cosine").eval(), batch()
    out = model(some)
    behind = (
        *model.neck.norm(out.feat).chunk(2),
        model.fused_head.norm(out.extra["fused"]),
    )
    torch.testing.assert_close(
        model.losses(out, some, model.phases[1])["msrl"],
        0.3 * cmft.refinement_loss(*behind, some.ids, "cosine"),
    )


def test_the_second_stage_begins_before_the_first_drop_of_the_rate_as_in_the_paper():
    model = small().train()
    assert [p.epochs for p in model.phases] == [
        (0, 28),
        (28, math.inf),
    ] and 28 / Recipe().milestones[0] == 8 / 10
    paper = ablation.configs("cmft", "Table 6", "paper", (0,))["CMFT"][0]
    assert (
        paper.recipe.epochs,
        paper.recipe.milestones,
        paper.recipe.warmup,
        paper.options["switch"],
    ) == (24, (10, 20), 3, 8)
    early, late, kept = (
        iterate(model, 27.9)[0],
        iterate(model, 28)[0],
        iterate(small(stage2_triplet=True).train(), 100)[0],
    )
    assert set(early) == {"stage1/id", "stage1/cross"} and set(late) == {
        "stage2/id",
        "stage2/msrl",
        "stage2/mdl",
    }
    assert set(kept) == {"stage2/id", "stage2/cross", "stage2/msrl", "stage2/mdl"}
    assert (
        len(optim.build(model, Recipe())) == 1
    )  # momentum lives on from stage to stage


def test_the_streams_learn_at_the_lower_rate():
    model = small()
    groups = {
        g["factor"]: {id(p) for p in g["params"]}
        for g in model.groups(model.phases[0], 0.1)
    }
    assert groups[0.1] == {id(p) for p in model.streams.parameters()}


def test_training_repeats_itself_bit_by_bit():
    runs = [iterate(small().train(), 100, steps=3) for _ in range(2)]
    assert all(torch.equal(a[k], b[k]) for a, b in zip(*runs, strict=True) for k in a)


def test_mixed_precision_leaves_the_losses_in_float32():
    model, some = small().train(), batch()
    with torch.autocast("cpu", torch.bfloat16):
        out = model(some)
        terms = {
            k: v
            for phase in model.phases
            for k, v in model.losses(out, some, phase).items()
        }
        assert all(
            v.dtype == torch.float32 and torch.isfinite(v) for v in terms.values()
        )
        assert model.eval().embed(some.vis, "vis").dtype == torch.float32
    sum(terms.values()).backward()


def test_a_batch_of_single_pairs_is_refused_at_the_first_step_unless_msrl_is_off():
    alone = batch(pairs=1)
    with pytest.raises(ValueError, match="tracklets=2 or more"):
        small()(alone)
    assert torch.isfinite(small(msrl=None)(alone).feat).all()
    with pytest.raises(ValueError, match="MSRL needs two"):
        cmft.refinement_loss(VIS, IR, FUSED, torch.arange(4))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test_embedding": "oracle_pair"}, "test_embedding='oracle_pair'"),
        ({"start": 7}, "start=7"),
        ({"msrl": "squared"}, "choose from 'euclidean'.*None"),
        ({"fusion": "score_avg"}, "set msrl=None"),
        ({"variant": "released"}, "choose from 'main', 'paper'"),
    ],
)
def test_switches_that_mean_nothing_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options)


@pytest.mark.parametrize("fusion", ["score_avg", "score_mul"])
def test_fused_scores_train_with_the_loss_that_reads_no_fused_feature(fusion):
    model, some = small(fusion=fusion, msrl="pmt").train(), batch()
    terms = model.losses(model(some), some, model.phases[1])
    assert set(terms) == {"id", "msrl", "mdl"}
    sum(terms.values()).backward()
    assert all(torch.isfinite(value) for value in terms.values())
    with pytest.raises(ValueError, match="set msrl=None, or msrl='pmt'"):
        small(fusion=fusion, msrl="cosine")


def test_losses_refuse_a_batch_of_one_identity():
    one = torch.zeros(4, dtype=torch.int64)
    for mode in ("cross", "wrt", "hct", "cmt"):
        with pytest.raises(ValueError, match="two identities"):
            cmft.cross_modal_loss(VIS, IR, FUSED, one, mode=mode)
    with pytest.raises(ValueError, match="two identities"):
        cmft.discriminative_loss(VIS, IR, one)


@pytest.mark.parametrize("wrong", ["vis", "ir", "fused", "ids"])
def test_losses_name_the_shapes_that_do_not_fit(wrong):
    inputs = {"vis": VIS, "ir": IR, "fused": FUSED, "ids": IDS}
    inputs[wrong] = inputs[wrong][:-1]
    for loss in (cmft.cross_modal_loss, cmft.refinement_loss):
        with pytest.raises(ValueError, match=r"features must be \(N, D\)"):
            loss(**inputs)
    if wrong != "fused":
        del inputs["fused"]
        with pytest.raises(ValueError, match=r"features must be \(N, D\)"):
            cmft.discriminative_loss(**inputs)


def test_msrl_names_what_it_needs_of_the_fused_space():
    with pytest.raises(ValueError, match="metric='cosine' needs fused features"):
        cmft.refinement_loss(VIS, IR, None, IDS, "cosine")
    assert torch.isfinite(cmft.refinement_loss(VIS, IR, None, IDS, "pmt"))


# the search


def test_the_default_embedding_sees_neither_the_cascade_nor_the_other_stream():
    model, clips = small().eval(), batch().vis
    with torch.no_grad():
        before = model.embed(clips, "vis")
        for part in (model.fusion, model.fused_head, model.streams["ir"]):
            for p in part.parameters():
                p.normal_()
        assert torch.equal(model.embed(clips, "vis"), before)
        torch.testing.assert_close(
            model.embed(clips[2:3], "vis"), before[2:3], atol=1e-5, rtol=1e-4
        )
    assert not torch.equal(model.embed(clips, "ir"), before)


@pytest.mark.parametrize("fusion", ["ccf", "concat", "score_avg", "score_mul"])
def test_self_pair_shows_a_clip_to_both_streams(fusion):
    model, clips = (
        small(fusion=fusion, msrl=None, test_embedding="self_pair").eval(),
        batch().vis,
    )
    with torch.no_grad():
        found, out = model.embed(clips, "vis"), model.run_and_fuse(clips, clips)
        vis, ir = (model.neck.norm(feat) for feat in out.feat.chunk(2))
        expected = {"score_avg": lambda: vis + ir, "score_mul": lambda: vis * ir}.get(
            fusion, lambda: model.fused_head.norm(out.extra["fused"])
        )()
        torch.testing.assert_close(found, F.normalize(expected, dim=1))
        assert torch.equal(
            found, model.embed(clips, "ir")
        )  # a pair of one clip has no modality
        torch.testing.assert_close(
            model.embed(clips[2:3], "vis"), found[2:3], atol=1e-5, rtol=1e-4
        )


def test_flipped_clips_are_averaged_before_the_embedding_is_normalised():
    plain, both, clips = small().eval(), small(tta="flip").eval(), batch().vis
    with torch.no_grad():
        parts = [
            plain.neck.norm(plain.run_and_fuse(c, c).feat[:6])
            for c in (clips, clips.flip(-1))
        ]
        torch.testing.assert_close(
            both.embed(clips, "vis"), F.normalize(sum(parts), dim=1)
        )
        torch.testing.assert_close(
            both.embed(clips, "vis"), both.embed(clips.flip(-1), "vis")
        )


def test_a_partner_chosen_by_identity_is_warned_about_and_stamped():
    model, some = small().eval(), batch()
    with torch.no_grad(), pytest.warns(UserWarning, match="label leak"):
        vis, ir = (
            model.oracle_pair(some.vis, some.ir, "vis"),
            model.oracle_pair(some.ir, some.vis, "ir"),
        )
    assert vis.protocol == ir.protocol == "oracle (label leak)"
    assert torch.equal(vis.feat, ir.feat)  # the same pair, asked for from either side
    assert not any("oracle" in json.dumps(rows) for rows in cmft.ABLATIONS.values())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for mode in ("unimodal", "self_pair"):
            small(test_embedding=mode).eval().embed(some.vis, "vis")


def test_a_partner_of_another_shape_is_refused():
    model = small().eval()
    clips, partners = torch.rand(2, 4, 3, 32, 16), torch.rand(4, 2, 3, 32, 16)
    with (
        pytest.warns(UserWarning, match="label leak"),
        pytest.raises(ValueError, match="clips of a pair must have one shape"),
    ):
        model.oracle_pair(clips, partners, "vis")


@pytest.mark.parametrize("mode", ["unimodal", "self_pair"])
def test_an_unknown_modality_is_refused_in_words(mode):
    model, clips = small(test_embedding=mode).eval(), batch().vis
    message = "no modality 'thermal': choose from vis, ir"
    with pytest.raises(ValueError, match=message):
        model.embed(clips, "thermal")
    with pytest.raises(ValueError, match=message):
        model.stage_maps(clips, "thermal")
    with (
        pytest.warns(UserWarning, match="label leak"),
        pytest.raises(ValueError, match=message),
    ):
        model.oracle_pair(clips, clips, "thermal")


def leak(vis, ir, ids):
    """Rank-1 of clips alone, and of clips with a partner chosen by its identity."""

    def partner():
        return np.concatenate(
            [RNG.choice(np.flatnonzero(ids == y), 4) for y in np.unique(ids)]
        )

    paired = np.hstack((vis, ir[partner()])), np.hstack((vis[partner()], ir))
    cams = np.zeros(len(ids), int)
    return [
        retrieval_metrics(query, gallery, ids, ids, cams, cams, rule="none").rank(1)
        for gallery, query in ((vis, ir), paired)
    ]


def test_oracle_pairs_find_everybody_in_vectors_that_know_nobody_across_modalities():
    ids = np.repeat(np.arange(100), 4)
    alone, oracle = leak(*RNG.normal(size=(2, 400, 64)), ids)
    assert alone < 0.05 and oracle > 0.9


@pytest.mark.parametrize("mode", ["unimodal", "self_pair"])
def test_noise_with_drawn_labels_is_searched_at_chance_whatever_was_learnt_of_noise(
    mode,
):
    model, ids, cams = (
        small(test_embedding=mode).train(),
        np.random.default_rng(0).permutation(np.repeat(np.arange(50), 2)),
        np.zeros(100, int),
    )
    recipe, engine = (
        Recipe(optimiser="adamw", lr=3e-3, slow=1.0, warmup=0, epochs=2, steps=10),
        train.fabric("cpu"),
    )
    optimisers, labels = (
        optim.build(model, recipe),
        torch.arange(3).repeat_interleave(2),
    )
    for step in range(10):  # both stages
        vis, ir = (
            torch.randn(
                6,
                3,
                3,
                32,
                16,
                generator=torch.Generator().manual_seed(100 + 2 * step + n),
            )
            for n in range(2)
        )
        train.iteration(
            model,
            Batch(vis, ir, labels, labels, labels, step),
            optimisers,
            20 * step,
            optim.rate(recipe, 20 * step, recipe.epochs),
            engine,
        )
    model.eval()
    with torch.no_grad():
        vis, ir = (
            model.embed(
                torch.randn(
                    100, 3, 3, 32, 16, generator=torch.Generator().manual_seed(n)
                ),
                m,
            ).numpy()
            for n, m in enumerate(("vis", "ir"))
        )
    assert (
        retrieval_metrics(ir, vis, ids, ids, cams, cams, rule="none").rank(1) < 0.12
    )  # 2 % by chance


def test_evaluation_ranks_without_reading_a_label():
    class Unlabelled:
        modality, paths = "ir", (0,) * 6

        def __len__(self):
            return 6

        def __getattr__(self, name):
            raise AssertionError(f"an embedding read {name}")

    class Reader:
        def read(self, tracklet, which):
            return torch.zeros(len(which), 3, 32, 16, dtype=torch.uint8)

    assert evaluate.embed(small(), [Unlabelled(), Unlabelled()], Reader(), 3).shape == (
        2,
        32,
    )


def test_training_pairs_of_one_clip_are_drawn_as_often_as_asked():
    model, some = small(self_pair_prob=0.5), batch()
    seen = []
    for step in range(100):
        vis, ir = model._pairs(dataclasses.replace(some, step=step))
        seen += [
            ("ir" if torch.equal(a, i) else "vis" if torch.equal(b, v) else "pair")
            for a, b, v, i in zip(vis, ir, some.vis, some.ir, strict=True)
        ]
    shares = {kind: seen.count(kind) / len(seen) for kind in ("vis", "ir", "pair")}
    assert shares["pair"] == pytest.approx(0.5, abs=0.08) and shares[
        "vis"
    ] == pytest.approx(shares["ir"], abs=0.08)
    assert small()._pairs(some)[0] is some.vis


def test_ap_and_inp_of_the_lists_of_the_card():
    for right, ap, inp in (
        ((0, 1, 0, 1, 1), 0.533333, 0.6),
        ((1, 1, 0, 0, 1), 0.866667, 0.6),
    ):
        angle = np.linspace(0.1, 1.0, 5)
        found = retrieval_metrics(
            np.array([[1.0, 0]]),
            np.stack((np.cos(angle), np.sin(angle)), 1),
            np.array([1]),
            np.array(right),
            np.array([0]),
            np.ones(5, int),
            rule="none",
        )
        near(found.mAP, ap)
        near(found.mINP, inp)


@pytest.mark.parametrize(
    ("fusion", "names"), [({}, 4), ({"start": 6}, 2), ({"fusion": "concat"}, 0)]
)
def test_what_is_shown_has_a_row_per_clip_and_is_small(fusion, names):
    model, clips = small(**fusion).eval(), batch().vis
    with torch.no_grad():
        shown = model.inspect(clips, "vis")
        maps = [model.stage_maps(clips[1:2], m) for m in ("vis", "ir")]
    assert len(shown) == names and all(
        v.shape[:2] == (6, 3) and v.numel() <= 6 * 3 * 8 for v in shown.values()
    )
    for name, values in shown.items():
        torch.testing.assert_close(
            values[1], model.fusion.inspect(*maps)[name], atol=1e-5, rtol=1e-4
        )


@pytest.mark.parametrize("modality", ["vis", "ir"])
def test_heat_maps_find_the_last_maps_of_either_stream(modality):
    model, clips = small().eval(), batch().vis[:2]
    maps = class_activation_maps(
        model,
        model.maps,
        clips,
        modality,
        model.embed(batch(1).vis[:1], "vis").detach(),
    )
    assert maps.shape == (2, 3, 32, 16) and maps.max() > 0


# tables


def test_rows_stand_under_the_labels_of_the_published_tables():
    printed = pd.read_csv(paths.published() / "cmft.csv")
    for n in (2, 3, 4, 5):
        assert list(cmft.ABLATIONS[f"Table {n}"]) == list(
            printed[printed.table == f"Table {n}"].method.unique()
        )
    assert set(cmft.ABLATIONS["Table 6"]) <= set(
        printed[printed.table == "Table 6"].method
    )


def test_equal_rows_share_one_run_and_all_draw_two_pairs_of_an_identity():
    configs = {
        (table, label): c[0]
        for table in cmft.ABLATIONS
        for label, c in ablation.configs("cmft", table, "standard", (0,)).items()
    }
    default = configs["Readings", "main"].hash
    same = {key for key, c in configs.items() if c.hash == default}
    assert same == {
        ("Readings", "main"),
        ("Table 3", "CMFT_S5"),
        ("Table 4", "L_CMT"),
        ("Table 5", "MSRL_euclidean+MDL_dyn"),
        ("Table 6", "CMFT"),
        ("Same batches", "CMFT"),
    }
    assert configs["Table 2", "CMFT_D6F"].hash == configs["Table 3", "CMFT_S6"].hash
    assert all(
        (c.recipe.identities, c.recipe.tracklets) == (8, 2) for c in configs.values()
    )


def test_nothing_is_fetched_to_build_the_model(monkeypatch):
    def closed(*args, **kwargs):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", closed)
    with torch.device("meta"):
        methods.load("cmft", num_ids=5)


def test_streams_that_begin_apart_differ_and_those_that_begin_alike_do_not():
    for start, equal in (("alike", True), ("apart", False)):
        vis, ir = (
            small(streams_start=start).streams[m].state_dict() for m in ("vis", "ir")
        )
        assert (
            vis.keys() == ir.keys()
            and all(
                torch.equal(vis[k], ir[k]) for k in vis if k.endswith("conv2.weight")
            )
            == equal
        )


def test_streams_with_weights_cannot_begin_apart():
    """Both trunks would be filled with the same file, and the row be the one above."""
    for weights in ("imagenet", "mine.safetensors"):
        with pytest.raises(ValueError, match="streams_start='apart' with weights="):
            methods.config("cmft", streams_start="apart", weights=weights)
        assert methods.config("cmft", weights=weights).streams_start == "alike"


@pytest.mark.parametrize("first", [2, 3, 4, 5, 6, 7])
def test_stages_that_are_shared_are_one_and_those_before_are_two(first):
    model = small(shared_from=first).train()
    vis, ir = model.streams["vis"], model.streams["ir"]
    assert [a is b for a, b in zip(vis.stages, ir.stages, strict=True)] == [
        stage >= first for stage in (3, 4, 5, 6)
    ]
    names = {
        name.split(".")[2]
        for name in model.state_dict()
        if name.startswith("streams.ir.")
    }
    assert names == {
        part
        for stage, part in zip(
            (2, 3, 4, 5, 6),
            ("stem", "layer1", "layer2", "layer3", "layer4"),
            strict=True,
        )
        if stage < first
    }
    iterate(model, 0)
    copied = copy.deepcopy(model).eval()
    assert (
        copied.streams["ir"].stages[3]
        is (copied.streams["vis"] if first <= 6 else copied.streams["ir"]).layer4
    )
    loaded = small(shared_from=first)
    loaded.load_state_dict(model.state_dict())
    with torch.no_grad():
        clips = batch().ir
        assert torch.equal(
            loaded.eval().embed(clips, "ir"), model.eval().embed(clips, "ir")
        )


def test_shared_stages_receive_the_gradient_of_both_streams():
    model, given = small(shared_from=3, fusion="score_avg", msrl=None).train(), batch()
    grads = {}
    for modality in ("vis", "ir"):
        model.zero_grad()
        clips = getattr(given, modality)
        model.stage_maps(clips, modality)[-1].square().mean().backward()
        grads[modality] = model.streams["vis"].layer1[0].conv2.weight.grad.abs().sum()
    assert all(g > 0 for g in grads.values())


def test_stages_that_are_shared_see_both_modalities_in_one_batch_and_others_see_one():
    model, sizes = small(shared_from=5).train(), {}
    for name in ("layer2", "layer3"):
        model.get_submodule(f"streams.vis.{name}").register_forward_hook(
            lambda _, given, out, name=name: sizes.update({name: len(out)})
        )
    given = batch()
    model(given)
    alone = len(given.vis) * given.vis.shape[1]
    assert sizes == {"layer2": alone, "layer3": 2 * alone}  # layer3 is stage 5


def test_none_follows_the_variant():
    main, paper = cmft.Config(variant="main"), cmft.Config()
    for name, values in cmft.READINGS.items():
        assert (getattr(main, name), getattr(paper, name)) == values
    assert cmft.Config(variant="main", cross="wrt").cross == "wrt"


def test_the_weights_of_the_second_stage_are_the_papers():
    config = cmft.Config()
    assert (
        config.lambda1,
        config.lambda2,
        config.start,
        config.branches,
        config.test_embedding,
    ) == (0.3, 0.7, 5, 2, "unimodal")
