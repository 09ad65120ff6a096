import pytest
import torch
import torch.nn.functional as F

from vvi import methods
from vvi.methods.iban import Aggregation, frame_weights, weighted_mean

FEAT, FORTH, BACK = (
    torch.tensor([[[1.0, 0], [0, 1]]]),
    torch.tensor([[1.0, 0]]),
    torch.tensor([[1.0, 1]]),
)
HALF = torch.full((1, 1, 2), 0.5)


def near(value, expected):
    torch.testing.assert_close(value, torch.tensor([expected]), atol=1e-6, rtol=0)


def test_the_weights_are_those_of_the_card():
    near(frame_weights(FEAT, FORTH, BACK), [0.853553, 0.353553])
    near(frame_weights(FEAT, FORTH), [1.0, 0.0])


@pytest.mark.parametrize(
    ("gates", "plus_one", "expected"),
    [
        (HALF, False, [0.640165, 0.265165]),
        (HALF, True, [1.390165, 1.015165]),
        (None, False, [0.426777, 0.176777]),
        (None, True, [0.926777, 0.676777]),
    ],
)
def test_the_clip_vectors_are_those_of_the_card(gates, plus_one, expected):
    near(
        weighted_mean(FEAT, frame_weights(FEAT, FORTH, BACK), gates, plus_one), expected
    )


@pytest.mark.parametrize("gate", ["shared", "per_place"])
@pytest.mark.parametrize("plus_one", [False, True])
def test_the_aggregation_agrees_with_a_loop_over_clips_and_frames(gate, plus_one):
    torch.manual_seed(0)
    bsta, feat = Aggregation(32, 3, gate=gate, plus_one=plus_one), torch.rand(2, 3, 32)
    slow, weights = torch.zeros(2, 32), torch.zeros(2, 3)
    for b in range(2):
        forth, back = (
            bsta.forth(feat[b : b + 1])[0][0, -1],
            bsta.back(feat[b : b + 1, [2, 1, 0]])[0][0, -1],
        )
        for t in range(3):
            x, position = feat[b, t], t if gate == "per_place" else 0
            mixed = (
                forth
                if gate == "shared"
                else (F.linear(forth, bsta.fc.weight[t], bsta.fc.bias[t]) + x) / 2
            )
            s = torch.sigmoid(
                F.linear(
                    F.relu(F.linear(mixed, bsta.squeeze.weight[position])),
                    bsta.excite.weight[position],
                )
            )
            weights[b, t] = (
                x @ forth / x.norm() / forth.norm() + x @ back / x.norm() / back.norm()
            ) / 2
            slow[b] += (weights[b, t] + plus_one) * (1 + s) * x / 3
    vectors, cosines = bsta(feat)
    torch.testing.assert_close(vectors, slow)
    torch.testing.assert_close(cosines, weights)


def test_the_switches_leave_out_what_they_name():
    torch.manual_seed(0)
    feat = torch.rand(2, 3, 32)
    forward, mean, plain = (
        Aggregation(32, 3, directions="forward"),
        Aggregation(32, 3, temporal="mean"),
        Aggregation(32, 3, attention=False),
    )
    names = [
        {name.split(".")[0] for name, _ in bsta.named_parameters()}
        for bsta in (forward, mean, plain)
    ]
    assert names == [
        {"forth", "squeeze", "excite"},
        {"squeeze", "excite"},
        {"forth", "back"},
    ]
    torch.testing.assert_close(
        forward(feat)[1], frame_weights(feat, forward.forth(feat)[0][:, -1])
    )
    torch.testing.assert_close(
        mean(feat)[1], F.cosine_similarity(feat, feat.mean(1)[:, None], 2)
    )
    torch.testing.assert_close(
        plain(feat)[0], (feat * plain(feat)[1][:, :, None]).mean(1)
    )


def test_reversed_frames_swap_the_summaries_only_where_both_directions_share_weights():
    torch.manual_seed(0)
    bsta, feat = Aggregation(32, 3), torch.rand(2, 3, 32)
    forth, back = bsta.summaries(feat)
    assert not torch.allclose(bsta.summaries(feat.flip(1))[0], back, atol=1e-4)
    bsta.back.load_state_dict(bsta.forth.state_dict())
    back = bsta.summaries(feat)[1]
    again = bsta.summaries(feat.flip(1))
    torch.testing.assert_close(again[0], back)
    torch.testing.assert_close(again[1], forth)


def test_fresh_networks_weigh_frames_near_zero_so_that_clip_vectors_nearly_vanish():
    torch.manual_seed(0)
    bsta, feat = Aggregation(512, 6), torch.rand(8, 6, 512)
    with torch.no_grad():
        vector, weights = bsta(feat)
    assert (
        weights.abs().max() < 0.1
        and vector.norm(dim=1).max() < 0.1 * feat.mean(1).norm(dim=1).min()
    )


def test_gates_of_their_own_fix_the_number_of_frames():
    with pytest.raises(ValueError, match="gates for 3 frames, the clips have 4"):
        Aggregation(32, 3, gate="per_place")(torch.rand(2, 4, 32))
    assert Aggregation(32, 3)(torch.rand(2, 4, 32))[1].shape == (2, 4)


def test_parameter_counts_at_paper_size_are_those_of_the_card():
    def count(*parts):
        return sum(p.numel() for part in parts for p in part.parameters())

    with torch.device("meta"):
        paper, released = Aggregation(2048, 6), Aggregation(2048, 6, gate="per_place")
    assert (
        count(paper.forth) == 67_141_632
        and count(paper.forth, paper.back) == 134_283_264
    )
    assert (
        count(paper.squeeze, paper.excite) == 524_288
        and count(released.fc, released.squeeze, released.excite) == 28_323_840
    )


def test_relative_weights_say_which_frames_count_and_not_how_long_a_clip_is():
    feat = torch.rand(2, 4, 8, generator=torch.Generator().manual_seed(0))
    weights = torch.tensor([[0.5, 0.1, -0.3, 0.9], [-0.9, -0.99, -0.95, -0.92]])
    shrunk = weighted_mean(feat, weights, plus_one=True)
    relative = weighted_mean(feat, weights, plus_one=True, relative=True)
    share = (1 + weights) / (1 + weights).mean(1, keepdim=True)
    torch.testing.assert_close(relative, (share[:, :, None] * feat).mean(1))
    assert shrunk[1].norm() < 0.1 * feat[1].mean(0).norm()
    assert 0.5 < relative[1].norm() / feat[1].mean(0).norm() < 2
    even = torch.full((2, 4), -0.7)
    torch.testing.assert_close(
        weighted_mean(feat, even, plus_one=True, relative=True), feat.mean(1)
    )
    gone = torch.full((2, 4), -1.0)
    assert weighted_mean(feat, gone, plus_one=True, relative=True).isfinite().all()


def test_relative_weights_need_weights_that_are_not_negative():
    with pytest.raises(ValueError, match="relative_weights=True needs plus_one=True"):
        methods.config("iban", variant="paper", relative_weights=True)
    model = methods.load("iban", 4, variant="main", relative_weights=True, frames=2)
    assert model.bsta.relative
