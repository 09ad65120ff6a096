import pytest
import torch
from torch import nn

from vvi.methods.iban import Guide, Reconstruction, raw_view


def awake(guide):
    """Let the norm of a guide pass its input unchanged in evaluation mode."""
    nn.init.ones_(guide.norm.weight)
    guide.norm.eps = 0.0
    return guide.eval()


def literal(query):
    """Eq. (4) as printed, with the identity as W."""
    guide = awake(Guide(2, query, scope="frame", embed=False))
    with torch.no_grad():
        guide.out.weight.copy_(torch.eye(2))
        guide.out.bias.zero_()
    return guide


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("original", [[2.761594, 0.119203], [0.537883, 1.731059]]),
        ("anaglyph", [[1.880797, 0.119203], [0.268941, 1.731059]]),
    ],
)
def test_the_roles_give_the_refined_features_of_the_card(query, expected):
    places = [
        torch.tensor(x).T.reshape(1, 2, 2, 1)
        for x in ([[1.0, 0], [0, 1]], [[2.0, 0], [0, 1]])
    ]  # two places of two channels
    with torch.no_grad():
        refined = literal(query)(*places, frames=1)
    torch.testing.assert_close(
        refined.reshape(2, 2).T, torch.tensor(expected), atol=1e-5, rtol=0
    )


def slowly(guide, maps, other, frames):
    """Loop over clips and query positions.

    Keys and values are pooled over 2x2 positions of each frame, the odd column dropped.
    """
    source, target = (maps, other) if guide.query == "original" else (other, maps)

    def apply(layer, x):
        return (
            torch.einsum("oc,nchw->nohw", layer.weight, x) + layer.bias[:, None, None]
        )

    q, k, v = (
        apply(guide.theta, source),
        nn.MaxPool2d(2)(apply(guide.phi, target)),
        nn.MaxPool2d(2)(apply(guide.g, target)),
    )
    out = torch.zeros_like(q)
    for n in range(len(maps)):
        first = n - n % frames
        near = range(first, first + frames) if guide.scope == "clip" else [n]
        keys = torch.cat([k[m].flatten(1) for m in near], 1)  # (C', N')
        values = torch.cat([v[m].flatten(1) for m in near], 1)
        for y in range(maps.shape[2]):
            for x in range(maps.shape[3]):
                out[n, :, y, x] = values @ (q[n, :, y, x] @ keys).softmax(0)
    return maps + guide.norm(apply(guide.out, out))


@pytest.mark.parametrize("query", ["original", "anaglyph"])
@pytest.mark.parametrize("scope", ["clip", "frame"])
def test_the_guide_agrees_with_a_loop_over_positions(query, scope):
    torch.manual_seed(0)
    guide, maps, other = (
        awake(Guide(16, query, scope=scope)),
        torch.randn(6, 16, 4, 3),
        torch.randn(6, 16, 4, 3),
    )
    with torch.no_grad():
        torch.testing.assert_close(
            guide(maps, other, 3), slowly(guide, maps, other, 3), atol=1e-5, rtol=1e-4
        )
        torch.testing.assert_close(
            guide(maps, None, 3),
            slowly(guide, maps, torch.zeros_like(maps), 3),
            atol=1e-5,
            rtol=1e-4,
        )


@pytest.mark.parametrize("layout", ["permute", "raw_view"])
def test_a_fresh_guide_is_the_identity_bit_for_bit_and_only_its_norm_learns(layout):
    torch.manual_seed(0)
    guide, maps = Guide(16, layout=layout), torch.randn(6, 16, 4, 2)
    other = torch.randn(6, 16, 4, 2, requires_grad=True)
    out = guide(maps, other, 3)
    assert torch.equal(out, maps)
    out.mul(torch.randn(16, 1, 1)).square().sum().backward()
    reached = {
        name: bool(p.grad.any()) for name, p in guide.named_parameters()
    }  # a gradient that is None would fail here
    assert {name for name, yes in reached.items() if yes} == {
        "norm.weight",
        "norm.bias",
    } and not other.grad.any()


def test_the_bias_of_the_keys_is_without_effect():
    torch.manual_seed(0)
    guide, maps, other = (
        awake(Guide(16)),
        torch.randn(6, 16, 4, 2),
        torch.randn(6, 16, 4, 2),
    )
    with torch.no_grad():
        before = guide(maps, other, 3)
        guide.phi.bias.add_(5 * torch.randn(8))
        torch.testing.assert_close(guide(maps, other, 3), before, atol=1e-4, rtol=1e-4)


def test_the_raw_view_is_that_of_the_card():
    t, c = 6, 1024
    own = torch.arange(t * c).view(t, c, 1, 1)
    pseudo = raw_view(own, t)
    row = [divmod(int(i), c) for i in pseudo[:, 170].flatten()]
    assert row == [(0, 1020), (0, 1021), (0, 1022), (0, 1023), (1, 0), (1, 1)]
    expected = own.flatten().view(c, t).T  # the memory read as (C, T)
    assert torch.equal(pseudo.flatten(1), expected)
    assert 100 * float((pseudo == own).float().mean()) == pytest.approx(
        0.0326, abs=5e-5
    )
    assert all(
        int(((pseudo[k] // c) == frame).sum()) in (170, 171)
        for k in range(t)
        for frame in range(t)
    )


def test_the_raw_view_keeps_clips_apart_and_is_undone_whatever_the_memory_layout():
    maps = torch.randn(6, 16, 3, 2).contiguous(memory_format=torch.channels_last)
    assert torch.equal(raw_view(maps, 3)[3:], raw_view(maps[3:], 3))
    assert torch.equal(raw_view(raw_view(maps, 3), 3, back=True), maps)


def test_only_the_permutation_follows_frames_that_change_order():
    torch.manual_seed(0)
    maps, other, order = (
        torch.rand(6, 32, 4, 2),
        torch.rand(6, 32, 4, 2),
        [3, 0, 5, 1, 4, 2],
    )
    change = {}
    for layout in ("permute", "raw_view"):
        guide = awake(Guide(32, layout=layout))
        with torch.no_grad():
            nn.init.normal_(guide.out.weight)
            change[layout] = (
                (guide(maps, other, 6)[order] - guide(maps[order], other[order], 6))
                .abs()
                .max()
            )
    assert change["permute"] < 1e-5 < 0.1 < change["raw_view"]


@pytest.mark.parametrize("scope", ["clip", "frame"])
def test_the_attention_that_positions_receive_is_one_on_average(scope):
    torch.manual_seed(0)
    guide, maps, other = (
        Guide(16, scope=scope),
        torch.randn(6, 16, 5, 2),
        torch.randn(6, 16, 5, 2),
    )
    with torch.no_grad():
        attention = guide.attention_to_keys(maps, other, 3)
    assert attention.shape == (2, 3, 2, 1)
    torch.testing.assert_close(
        attention.mean((1, 2, 3) if scope == "clip" else (2, 3)),
        torch.ones(2) if scope == "clip" else torch.ones(2, 3),
    )


def test_blocks_at_the_size_of_the_paper_have_the_counts_and_shapes_of_the_card():
    with torch.device("meta"):
        for channels, count in ((1024, 2_101_760), (2048, 8_397_824)):
            guide, maps = Guide(channels), torch.zeros(96, channels, 18, 9)
            assert (
                sum(p.numel() for p in guide.parameters())
                == count
                == 2 * channels**2 + 4.5 * channels
            )
            query, key, value = guide.query_key_value(maps, maps, 6)
            assert (query @ key.mT).shape == (16, 972, 216) and value.shape == (
                16,
                216,
                channels // 2,
            )
            assert guide(maps, maps, 6).shape == maps.shape
        cross = Reconstruction(1024, 2048)
        shapes = [
            [tuple(x.shape) for x in level]
            for level in cross(
                (torch.zeros(96, 1024, 18, 9), torch.zeros(96, 2048, 18, 9))
            )
        ]
    assert shapes == [[(48, 1024, 18, 9)] * 4, [(48, 2048, 18, 9)] * 4]
    assert sum(p.numel() for p in cross.parameters()) == 27_262_976


def test_each_modality_is_predicted_from_the_other_by_a_convolution_of_its_own():
    torch.manual_seed(0)
    cross, levels = (
        Reconstruction(3, 4),
        (torch.randn(4, 3, 5, 2), torch.randn(4, 4, 5, 2)),
    )
    (vis, ir, from_vis, from_ir), fourth = cross(levels)
    assert (
        torch.equal(vis, levels[0][:2])
        and torch.equal(ir, levels[0][2:])
        and torch.equal(fourth[1], levels[1][2:])
    )
    torch.testing.assert_close(
        from_vis, nn.functional.conv2d(vis, cross.vis_to_ir[0].weight, padding=1)
    )
    torch.testing.assert_close(
        from_ir, nn.functional.conv2d(ir, cross.ir_to_vis[0].weight, padding=1)
    )
    torch.testing.assert_close(
        fourth[3],
        torch.einsum("oc,nchw->nohw", cross.ir_to_vis[1].weight[:, :, 0, 0], fourth[1]),
    )
