"""Losses of IBAN."""

import pytest
import torch
import torch.nn.functional as F
from small_iban import near
from torch import nn

from vvi.losses import batch_hard_triplet
from vvi.methods import iban

VIS, IR, IDS = (
    torch.tensor([[1, 0.2], [0.5, 2], [4, -1], [-1, 1]]),
    torch.tensor([[0.3, 3], [2, 2.5], [5, 1], [1, -1]]),
    torch.tensor([0, 0, 1, 1]),
)


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


def test_the_easy_sample_loss_after_a_norm_starts_large_and_drives_modalities_apart():
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


@pytest.mark.parametrize("sample", ["easy", "hard"])
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_easy_samples_agree_with_a_loop_over_pairs(sample, metric):
    same = IDS[:, None] == IDS
    for allowed in (None, same):
        of_vis, of_ir = iban.easy_samples(VIS, IR, allowed, metric, sample)
        for n in range(4):
            mine = slow_sample(VIS[n], IR, IDS[n] == IDS, allowed, metric, sample)
            assert torch.equal(of_vis[n], mine)
            mine = slow_sample(IR[n], VIS, IDS[n] == IDS, allowed, metric, sample)
            assert torch.equal(of_ir[n], mine)


def slow_sample(anchor, others, same, allowed, metric, sample):
    """Return the row of `others` that is nearest to an anchor, or farthest from it."""
    best, chosen = None, None
    for n, other in enumerate(others):
        if allowed is not None and not same[n]:
            continue
        if metric == "cosine":
            dist = -float(anchor @ other / anchor.norm() / other.norm())
        else:
            dist = float((anchor - other).norm())
        dist = -dist if sample == "hard" else dist
        if best is None or dist < best:
            best, chosen = dist, other
    return chosen


def test_the_easy_sample_loss_refuses_modalities_of_other_shapes():
    for ir in (IR[:3], IR[:, :1]):
        with pytest.raises(ValueError, match="features of both modalities must be"):
            iban.easy_sample_loss(VIS, ir, IDS)


def test_easy_samples_carry_no_gradient():
    vis, ir = VIS.clone().requires_grad_(), IR.clone().requires_grad_()
    assert not any(samples.requires_grad for samples in iban.easy_samples(vis, ir))
