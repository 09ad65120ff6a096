import math

import pytest
import torch

from vvi import losses
from vvi.losses import batch_hard_triplet, weighted_distances, weighted_triplet

LINE = (
    torch.tensor([[0.0], [0.2], [1.0], [1.5], [1.7], [3.0]]),
    torch.tensor([0, 0, 0, 1, 1, 1]),
)
PLANE = torch.tensor([[0.0, 0], [3, 4], [0, 1], [6, 8]]), torch.tensor([0, 0, 1, 1])


def slow_triplet(feat, ids, margin=0.3):
    total = 0.0
    for a in range(len(ids)):
        far = max(
            (feat[a] - feat[p]).norm() for p in range(len(ids)) if ids[p] == ids[a]
        )
        near = min(
            (feat[a] - feat[n]).norm() for n in range(len(ids)) if ids[n] != ids[a]
        )
        total += max(0.0, float(far - near) + margin)
    return torch.tensor(total / len(ids))


def test_batch_hard_triplet_agrees_with_the_slow_loop():
    for seed in range(5):
        feat = torch.randn(12, 5, generator=torch.Generator().manual_seed(seed))
        ids = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 0, 1, 2, 3])
        torch.testing.assert_close(
            batch_hard_triplet(feat, ids), slow_triplet(feat, ids), rtol=1e-4, atol=1e-5
        )


def test_batch_hard_triplet_gives_the_hand_worked_values():
    four = torch.tensor([[0.0, 0], [2, 0], [1, 0], [5, 0]])
    assert batch_hard_triplet(four, torch.tensor([0, 0, 1, 1])).item() == pytest.approx(
        1.8, abs=1e-5
    )
    eight = torch.tensor(
        [[0.0, 0], [1, 0], [3, 0], [3, 4], [0, 2], [1, 1], [4, 0], [3, 3]]
    )
    assert batch_hard_triplet(
        eight, torch.tensor([0, 0, 1, 1, 0, 0, 1, 1])
    ).item() == pytest.approx(0.713822, abs=1e-5)


def test_equal_features_leave_the_margin_and_finite_gradients():
    feat = torch.zeros(4, 3, requires_grad=True)
    loss = batch_hard_triplet(feat, torch.tensor([0, 0, 1, 1]))
    loss.backward()
    assert loss.item() == pytest.approx(0.3) and torch.isfinite(feat.grad).all()


def test_one_identity_is_refused():
    with pytest.raises(ValueError, match="only identity 7"):
        batch_hard_triplet(torch.randn(4, 2), torch.full((4,), 7))


def slow_weighted(feat, ids, squared, own):
    total = 0.0
    for a in range(len(ids)):
        d = [math.dist(feat[a].tolist(), other.tolist()) for other in feat]
        pull = {
            j: math.exp(d[j])
            for j in range(len(ids))
            if ids[j] == ids[a] and (own or j != a)
        }
        push = {k: math.exp(-d[k]) for k in range(len(ids)) if ids[k] != ids[a]}
        far, near = (
            sum(w * d[j] for j, w in weights.items()) / sum(weights.values())
            for weights in (pull, push)
        )
        gap = far - near
        total += math.log1p(math.exp(math.copysign(gap * gap, gap) if squared else gap))
    return total / len(ids)


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_weighted_triplet_agrees_with_the_slow_loop(squared, own):
    for seed in range(3):
        feat = torch.randn(12, 5, generator=torch.Generator().manual_seed(seed))
        ids = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 0, 1, 2, 3])
        assert weighted_triplet(feat, ids, squared, own).item() == pytest.approx(
            slow_weighted(feat, ids, squared, own), rel=1e-5
        )


def test_weighted_triplet_gives_the_values_of_the_cards():
    far, near = weighted_distances(*LINE)
    assert (far[0].item(), near[0].item()) == pytest.approx(
        (0.75198, 1.74411), abs=1e-5
    )
    assert [
        weighted_triplet(*LINE, squared=s).item() for s in (False, True)
    ] == pytest.approx([0.543149, 0.519366], abs=1e-5)
    far, near = weighted_distances(*PLANE)
    assert far.tolist() == pytest.approx([5, 5, 9.21954, 9.21954], abs=1e-4)
    assert near.tolist() == pytest.approx(
        [1.00111, 4.48440, 1.12190, 5.03346], abs=1e-4
    )
    assert [
        weighted_triplet(*PLANE, squared=s).item() for s in (False, True)
    ] == pytest.approx([4.324999, 24.980284], abs=1e-4)
    eight = torch.tensor(
        [[0.0, 0], [1, 0], [1, 1], [3, 1], [0, 1], [0, 3], [2, 2], [2, 3]]
    )
    assert weighted_triplet(
        eight, torch.tensor([0, 0, 1, 1, 0, 0, 1, 1]), own=True
    ).item() == pytest.approx(0.77986, abs=1e-5)


@pytest.mark.parametrize(
    ("gap", "squared", "gradient"),
    [
        (0, True, 0),
        (0.1, True, 0.1005),
        (1, True, 1.4621),
        (9.5, True, 19),
        (0, False, 0.5),
    ],
)
def test_the_pull_of_an_anchor_by_how_wrong_it_is(gap, squared, gradient, monkeypatch):
    gap = torch.tensor([float(gap)], requires_grad=True)
    monkeypatch.setattr(losses, "weighted_distances", lambda *_: (gap, torch.zeros(1)))
    loss = weighted_triplet(torch.zeros(1, 1), torch.zeros(1), squared)
    loss.backward()
    assert gap.grad.item() == pytest.approx(gradient, abs=1e-4)
    assert gap.item() != 0 or loss.item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("squared", [False, True])
def test_a_collapsed_network_stays_collapsed_under_the_weighted_triplet(squared):
    feat = torch.ones(8, 3, requires_grad=True)
    loss = weighted_triplet(feat, torch.tensor([0, 0, 1, 1, 0, 0, 1, 1]), squared)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2)) and not feat.grad.any()


def test_the_weighted_triplet_keeps_its_precision_when_training_does_not():
    feat, ids = (
        100 + torch.randn(12, 64, generator=torch.Generator().manual_seed(0)),
        torch.arange(4).repeat(3),
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = weighted_triplet(feat, ids)
    assert rough.item() == pytest.approx(
        slow_weighted(feat, ids, False, False), rel=1e-4
    )


def test_an_anchor_without_company_or_without_others_is_refused():
    with pytest.raises(ValueError, match="only identity 7"):
        weighted_triplet(torch.randn(4, 2), torch.full((4,), 7))
    with pytest.raises(ValueError, match="identity 5 has one"):
        weighted_triplet(torch.randn(3, 2), torch.tensor([2, 2, 5]))
