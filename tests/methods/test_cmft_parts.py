import pytest
import torch
import torch.nn.functional as F

from vvi.book.figures import operations
from vvi.methods.cmft import (
    Cascade,
    CrossAttention,
    CrossFusion,
    FusedHead,
    fit_maps,
)

RESNET = (64, 256, 512, 1024, 2048)
SMALL = (16, 32, 64, 128, 192)


def count(module):
    return sum(p.numel() for p in module.parameters())


def maps(channels, sizes, clips=2):
    return [
        [torch.randn(clips, c, *size) for c, size in zip(channels, sizes, strict=True)]
        for _ in range(2)
    ]


def test_attention_agrees_with_a_loop_over_tokens_and_heads():
    torch.manual_seed(0)
    attention, ask, source = (
        CrossAttention(16, 8),
        torch.randn(2, 3, 16),
        torch.randn(2, 5, 16),
    )
    for layer in (attention.query, attention.key, attention.value, attention.out):
        torch.nn.init.normal_(layer.bias)
    slow, table = torch.zeros(2, 3, 16), torch.zeros(2, 3, 5)
    for m in range(2):
        q, k, v = (
            attention.query(ask[m]),
            attention.key(source[m]),
            attention.value(source[m]),
        )
        for n in range(3):
            heads = []
            for h in range(8):
                part = slice(2 * h, 2 * h + 2)
                weight = (
                    torch.stack([q[n, part] @ k[j, part] for j in range(5)])
                    .div(2**0.5)
                    .softmax(0)
                )
                table[m, n] += weight / 8
                heads.append(sum(weight[j] * v[j, part] for j in range(5)))
            slow[m, n] = attention.out(torch.cat(heads))
    torch.testing.assert_close(attention(ask, source), slow, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        attention.weights(ask, source), table, atol=1e-5, rtol=1e-4
    )


def test_with_one_token_to_read_the_question_does_not_matter():
    attention, one = CrossAttention(16), torch.randn(2, 1, 16)
    expected = attention.out(attention.value(one))
    for _ in range(2):
        torch.testing.assert_close(attention(torch.randn(2, 1, 16), one), expected)
    with pytest.raises(ValueError, match="8 heads do not share 12"):
        CrossAttention(12)


def test_the_block_of_one_token_gives_the_value_of_the_card():
    block = CrossFusion(2, 2, branches=1, heads=2)
    with torch.no_grad():
        for layer in (
            block.ask_ir.query,
            block.ask_ir.key,
            block.ask_ir.value,
            block.ask_ir.out,
        ):
            layer.weight.copy_(torch.eye(2))
    vis, ir = (torch.tensor(v).view(1, 2, 1, 1) for v in ([1.0, 3.0], [0.0, 1.0]))
    torch.testing.assert_close(
        block(vis, ir).flatten(), torch.tensor([-1.0, 1.0]), atol=1e-4, rtol=0
    )


def test_the_block_agrees_with_the_equations_place_by_place():
    torch.manual_seed(0)
    block, vis, ir, gate = (
        CrossFusion(32, 16),
        *(torch.randn(2, 32, 3, 2) for _ in range(3)),
    )
    fused = block(vis, ir, gate)
    assert fused.shape == (2, 32, 3, 2)
    for m in range(2):
        places = [(y, x) for y in range(3) for x in range(2)]
        tokens = {
            name: torch.stack(
                [
                    block.reduce[name](seen[m, :, y, x] * gate[m, :, y, x])
                    for y, x in places
                ]
            )
            for name, seen in (("vis", vis), ("ir", ir))
        }
        r = block.norm_vis(
            block.ask_ir(tokens["vis"][None], tokens["ir"][None])[0] + tokens["vis"]
        )
        i = block.norm_ir(
            block.ask_vis(tokens["ir"][None], tokens["vis"][None])[0] + tokens["ir"]
        )
        for n, (y, x) in enumerate(places):
            u = torch.cat((r[n], i[n]))
            torch.testing.assert_close(
                fused[m, :, y, x], block.norm(block.mix(u) + u), atol=1e-5, rtol=1e-4
            )


def test_the_counts_of_the_blocks_are_those_of_the_card():
    with torch.device("meta"):
        full = Cascade(RESNET, 2)
        single = Cascade(RESNET, 6, branches=1)
    assert [count(block) for block in full.blocks] == [
        50_304,
        791_040,
        3_154_944,
        12_601_344,
        16_797_696,
    ]
    assert (
        count(full) == 33_395_328
    )  # nothing but the blocks: a map between stages has no weight
    assert count(single) == 8_396_800 and single.width == 1024 and full.width == 2048


def test_the_cost_of_the_cascade_is_that_of_the_card():
    """Multiplications of the linear layers for one pair of 256x128 frames."""
    tokens, found = {2: 2048, 3: 2048, 4: 512, 5: 128, 6: 128}, {}
    for start in range(2, 7):
        found[start] = 0
        with torch.device("meta"):
            for stage, block in zip(
                range(start, 7), Cascade(RESNET, start).blocks, strict=True
            ):
                found[start] += tokens[stage] * sum(
                    p.numel() for name, p in block.named_parameters() if p.ndim == 2
                )
    assert {start: round(cost / 1e9, 2) for start, cost in found.items()} == {
        2: 7.08,
        3: 6.98,
        4: 5.37,
        5: 3.76,
        6: 2.15,
    }


def test_attention_costs_what_the_card_says():
    """Multiplications of a pair of 256x128 frames, products of attention included."""
    sizes, found = (
        ((64, 64, 32), (256, 64, 32), (512, 32, 16), (1024, 16, 8), (2048, 16, 8)),
        {},
    )
    with torch.device("meta"):
        one = [torch.zeros(1, *size) for size in sizes]
        every = {"S6F": Cascade(RESNET, 6, branches=1)} | {
            f"S{n}": Cascade(RESNET, n) for n in range(2, 7)
        }
        for name, cascade in every.items():
            counts = operations(cascade, one, one)
            found[name] = (
                round(counts["of weights"] / 1e9, 2),
                round(counts["in all"] / 1e9, 2),
            )
    assert found == {
        "S6F": (1.07, 1.11),
        "S6": (2.15, 2.21),
        "S5": (3.76, 3.89),
        "S4": (5.37, 6.04),
        "S3": (6.98, 11.95),
        "S2": (7.08, 13.12),
    }


def test_a_fused_map_fits_the_next_stage_of_a_resnet_without_a_weight():
    fused = torch.randn(1, 128, 8, 4)
    assert torch.equal(fit_maps(fused, (8, 4), 128), fused)
    assert torch.equal(
        fit_maps(fused, (8, 4), 256), torch.cat((fused, fused), 1)
    )  # stage 2 to 3: the block twice
    torch.testing.assert_close(
        fit_maps(fused, (4, 2), 128)[0, 5, 1, 1], fused[0, 5, 2:4, 2:4].mean()
    )  # a stage of stride 2


@pytest.mark.parametrize(("width", "channels"), [(64, 32), (256, 192), (32, 48)])
def test_other_widths_take_channels_evenly_from_the_repeated_block(width, channels):
    fused, blocks = torch.randn(1, width, 2, 1), 1 if width >= channels else 2
    repeated = torch.cat([fused] * blocks, 1)
    for c in range(channels):
        assert torch.equal(
            fit_maps(fused, (2, 1), channels)[0, c],
            repeated[0, int(c * width * blocks / channels)],
        )


@pytest.mark.parametrize("start", [2, 3, 4, 5, 6])
def test_every_start_runs_on_the_maps_of_the_book_and_every_block_learns(start):
    torch.manual_seed(0)
    vis, ir = maps(SMALL, ((32, 16), (16, 8), (8, 4), (4, 2), (4, 2)))
    cascade = Cascade(SMALL, start)
    fused = cascade(vis, ir)
    assert fused.shape == (2, 192, 4, 2) and len(cascade.blocks) == 7 - start
    fused.square().mul(torch.randn_like(fused)).sum().backward()
    assert all(p.grad is not None for p in cascade.parameters())


def test_at_init_every_fused_token_is_normalised():
    torch.manual_seed(0)
    fused = Cascade(RESNET, 6)(*maps(RESNET, ((1, 1), (1, 1), (1, 1), (1, 1), (2, 1))))
    torch.testing.assert_close(
        fused.square().sum(1), torch.full((2, 2, 1), 2048.0), rtol=1e-3, atol=0
    )
    assert fused.mean(1).abs().max() < 1e-5


def test_the_gate_multiplies_the_next_maps_literally_through_a_sigmoid_or_not_at_all():
    torch.manual_seed(0)
    vis, ir = maps(SMALL, ((32, 16), (16, 8), (8, 4), (4, 2), (4, 2)))
    for gate, turn in (("mul", lambda g: g), ("sigmoid", torch.sigmoid)):
        cascade = Cascade(SMALL, 5, gate=gate)
        first, last = cascade.blocks
        torch.testing.assert_close(
            cascade(vis, ir),
            last(vis[4], ir[4], turn(fit_maps(first(vis[3], ir[3]), (4, 2), 192))),
        )
    torch.manual_seed(1)
    none = Cascade(SMALL, 2, gate="none")
    torch.manual_seed(1)
    assert len(none.blocks) == 1 and torch.equal(
        none(vis, ir), Cascade(SMALL, 6)(vis, ir)
    )


def test_what_figures_show_is_what_the_last_block_does():
    torch.manual_seed(0)
    vis, ir = maps(SMALL, ((32, 16), (16, 8), (8, 4), (4, 2), (4, 2)))
    cascade = Cascade(SMALL, 5)
    shown, (first, last) = cascade.inspect(vis, ir), cascade.blocks
    gate = fit_maps(first(vis[3], ir[3]), (4, 2), 192)
    torch.testing.assert_close(shown["gate"], gate.abs().mean(1))
    for m in range(2):
        assert shown["gate turned"][m].item() == pytest.approx(
            sum(v < 0 for v in gate[m].flatten().tolist()) / gate[m].numel()
        )
    table = last.ask_vis.weights(
        last.tokens(ir[4], "ir", gate), last.tokens(vis[4], "vis", gate)
    )
    torch.testing.assert_close(
        shown["read by ir"][1, 3, 1], sum(table[1, n, 7] for n in range(8))
    )
    torch.testing.assert_close(shown["read by vis"].mean((1, 2)), torch.ones(2))
    assert set(Cascade(SMALL, 6, branches=1).inspect(vis, ir)) == {"read by vis"}


def test_the_fused_head_shares_the_classifier_where_the_widths_agree():
    shared, feat = torch.nn.Linear(8, 5, bias=False), torch.randn(6, 8)
    head = FusedHead(8, 8, 5)
    normed, scores = head(feat, shared)
    torch.testing.assert_close(scores, F.linear(normed, shared.weight))
    assert not head.norm.bias.requires_grad and count(head) == 16
    assert count(FusedHead(4, 8, 5)) == 8 + 20 and FusedHead(4, 8, 5)(
        feat[:, :4], shared
    )[1].shape == (6, 5)
