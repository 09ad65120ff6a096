import pytest
import torch

from vvi.losses import batch_hard_triplet


def slow_triplet(feat, ids, margin=0.3):
    total = 0.0
    for a in range(len(ids)):
        far = max((feat[a] - feat[p]).norm() for p in range(len(ids)) if ids[p] == ids[a])
        near = min((feat[a] - feat[n]).norm() for n in range(len(ids)) if ids[n] != ids[a])
        total += max(0.0, float(far - near) + margin)
    return torch.tensor(total / len(ids))


def test_batch_hard_triplet_agrees_with_the_slow_loop():
    for seed in range(5):
        feat = torch.randn(12, 5, generator=torch.Generator().manual_seed(seed))
        ids = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 0, 1, 2, 3])
        torch.testing.assert_close(batch_hard_triplet(feat, ids), slow_triplet(feat, ids), rtol=1e-4, atol=1e-5)


def test_batch_hard_triplet_gives_the_hand_worked_values():
    four = torch.tensor([[0.0, 0], [2, 0], [1, 0], [5, 0]])
    assert batch_hard_triplet(four, torch.tensor([0, 0, 1, 1])).item() == pytest.approx(1.8, abs=1e-5)
    eight = torch.tensor([[0.0, 0], [1, 0], [3, 0], [3, 4], [0, 2], [1, 1], [4, 0], [3, 3]])
    assert batch_hard_triplet(eight, torch.tensor([0, 0, 1, 1, 0, 0, 1, 1])).item() == pytest.approx(0.713822, abs=1e-5)


def test_equal_features_leave_the_margin_and_finite_gradients():
    feat = torch.zeros(4, 3, requires_grad=True)
    loss = batch_hard_triplet(feat, torch.tensor([0, 0, 1, 1]))
    loss.backward()
    assert loss.item() == pytest.approx(0.3) and torch.isfinite(feat.grad).all()


def test_one_identity_is_refused():
    with pytest.raises(ValueError, match="only identity 7"):
        batch_hard_triplet(torch.randn(4, 2), torch.full((4,), 7))
