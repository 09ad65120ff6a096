"""Cross-attention between the maps of two streams, and a cascade of blocks that fuse them stage by stage (CMFT, Sec. 3)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vvi.nn.neck import Neck
from vvi.types import MODALITIES, Modality

Gate = Literal["mul", "sigmoid", "none"]


class CrossAttention(nn.Module):
    """Multi-head attention whose queries come from one set of tokens, keys and values from another; four linear maps with bias, no dropout, no positions."""

    def __init__(self, dim: int, heads: int = 8):
        super().__init__()
        if dim % heads:
            raise ValueError(f"{heads} heads do not share {dim} channels evenly")
        self.heads = heads
        self.query, self.key, self.value, self.out = (
            nn.Linear(dim, dim) for _ in range(4)
        )
        for layer in (self.query, self.key, self.value, self.out):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, asking: Tensor, source: Tensor) -> Tensor:
        """Tokens that ask (M, N, C) and tokens that answer (M, N', C) -> (M, N, C)."""
        q, k, v = (
            self._split(layer(tokens))
            for layer, tokens in (
                (self.query, asking),
                (self.key, source),
                (self.value, source),
            )
        )
        width = q.shape[-1]
        if (
            width % 16 and not q.is_meta
        ):  # zeros change no product, and heads of 2 channels as 16 take two thirds of the time on a CPU; on `meta` they only miscount
            q, k, v = (F.pad(x, (0, -width % 16)) for x in (q, k, v))
        read = F.scaled_dot_product_attention(q, k, v, scale=1 / math.sqrt(width))[
            ..., :width
        ]
        return self.out(read.transpose(1, 2).flatten(2))

    def weights(self, asking: Tensor, source: Tensor) -> Tensor:
        """How much each token reads of each, mean over heads: (M, N, C), (M, N', C) -> (M, N, N'), rows sum to 1. For figures: the whole table is held in memory."""
        q, k = self._split(self.query(asking)), self._split(self.key(source))
        return (q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])).softmax(-1).mean(1)

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(2, (self.heads, -1)).transpose(
            1, 2
        )  # (M, heads, N, C / heads)


def fit(maps: Tensor, size: tuple[int, int], channels: int) -> Tensor:
    """Maps (M, C, h, w) at another size and width, without a weight: (M, channels, h2, w2) where `size` is (h2, w2).

    Places are averaged over areas. Channels are repeated block by block until there are enough, then evenly spaced ones are kept: C -> 2C repeats the block, 2C -> C keeps every
    second.
    """
    if maps.shape[2:] != torch.Size(size):
        maps = F.adaptive_avg_pool2d(maps, size)
    have = maps.shape[1]
    if have == channels:
        return maps
    blocks = -(-channels // have)
    return maps[
        :,
        torch.arange(channels, device=maps.device) * (blocks * have) // channels % have,
    ]


class CrossFusion(nn.Module):
    """The fusion block of one stage: Eqs. (4)-(6), Fig. 4. `dim` is the width of the maps, `inside` that of the tokens: in the last stage a linear map per modality halves them."""

    def __init__(self, dim: int, inside: int, branches: int = 2, heads: int = 8):
        super().__init__()
        self.reduce = (
            nn.ModuleDict({modality: nn.Linear(dim, inside) for modality in MODALITIES})
            if inside != dim
            else None
        )
        self.ask_ir, self.norm_vis = CrossAttention(inside, heads), nn.LayerNorm(inside)
        self.ask_vis, self.norm_ir = (
            (CrossAttention(inside, heads), nn.LayerNorm(inside))
            if branches == 2
            else (None, None)
        )
        self.mix, self.norm = (
            (nn.Linear(2 * inside, 2 * inside), nn.LayerNorm(2 * inside))
            if branches == 2
            else (None, None)
        )

    def tokens(self, maps: Tensor, modality: Modality, gate: Tensor | None) -> Tensor:
        """Maps of one modality (M, C, h, w) times the gate, as tokens: (M, hw, C'). Eq. (6)."""
        tokens = (maps if gate is None else maps * gate).flatten(2).transpose(1, 2)
        return tokens if self.reduce is None else self.reduce[modality](tokens)

    def forward(self, vis: Tensor, ir: Tensor, gate: Tensor | None = None) -> Tensor:
        """Maps of both modalities and of the gate, (M, C, h, w) each -> fused map (M, C'', h, w)."""
        size, vis, ir = (
            vis.shape[2:],
            self.tokens(vis, "vis", gate),
            self.tokens(ir, "ir", gate),
        )
        # Paper: Eq. (4) prints one index twice and Eq. (5) puts the residual inside the attention; Fig. 4 shows this
        fused = self.norm_vis(self.ask_ir(vis, ir) + vis)
        if self.ask_vis is not None:
            both = torch.cat((fused, self.norm_ir(self.ask_vis(ir, vis) + ir)), 2)
            fused = self.norm(self.mix(both) + both)
        return fused.transpose(1, 2).unflatten(2, size)


class Cascade(nn.Module):
    """Fusion blocks from stage `start` to the last, stage 6; each gates the next: CCF, Sec. 3.

    Paper: ResNet-50 has five groups of layers and the paper counts to Conv6. Stage 2 is the stem here, 3 to 6 are layer1 to layer4. How a fused map is brought to the size of the
    next stage is not said; `fit` does it without a weight, and then the blocks of stages 2 to 6 count the 33.40 M parameters of Table 3.
    """

    def __init__(
        self,
        channels: tuple[int, ...],
        start: int = 5,
        branches: int = 2,
        gate: Gate = "mul",
        heads: int = 8,
    ):
        super().__init__()
        self.gate, self.first = gate, (6 if gate == "none" else start) - 2
        widths = [(dim, dim if n < 4 else dim // 2) for n, dim in enumerate(channels)][
            self.first :
        ]
        self.blocks = nn.ModuleList(
            CrossFusion(dim, inside, branches, heads) for dim, inside in widths
        )
        self.width = branches * widths[-1][1]

    def steps(
        self, vis: list[Tensor], ir: list[Tensor]
    ) -> Iterator[tuple[CrossFusion, Tensor, Tensor, Tensor | None, Tensor]]:
        """Stage by stage, from all maps of both streams: block, maps of both modalities, gate, fused map."""
        gate = None
        for block, mine, theirs in zip(
            self.blocks, vis[self.first :], ir[self.first :], strict=True
        ):
            if gate is not None:
                gate = fit(gate, mine.shape[2:], mine.shape[1])
                gate = gate.sigmoid() if self.gate == "sigmoid" else gate
            fused = block(mine, theirs, gate)
            yield block, mine, theirs, gate, fused
            gate = fused

    def forward(self, vis: list[Tensor], ir: list[Tensor]) -> Tensor:
        """Maps of the five stages of both streams -> the fused map of the last, (M, C, h, w)."""
        return list(self.steps(vis, ir))[-1][-1]

    def inside(self, vis: list[Tensor], ir: list[Tensor]) -> dict[str, Tensor]:
        """What the last block does, for figures. (M, h, w): how much of the attention each place gets, 1 on average, "read by vis" and "read by ir"; the mean size of the gate,
        "gate". (M,): the share of channels whose sign the gate turns, "gate turned"."""
        *_, (block, mine, theirs, gate, _) = self.steps(vis, ir)
        tokens, found = (
            (block.tokens(mine, "vis", gate), block.tokens(theirs, "ir", gate)),
            {},
        )
        for name, ask, (asking, source) in (
            ("vis", block.ask_ir, tokens),
            ("ir", block.ask_vis, tokens[::-1]),
        ):
            if ask is not None:
                found[f"read by {name}"] = (
                    ask.weights(asking, source).sum(1).unflatten(1, mine.shape[2:])
                )
        if gate is not None:
            found |= {
                "gate": gate.abs().mean(1),
                "gate turned": (gate < 0).float().mean((1, 2, 3)),
            }
        return found


class FusedHead(nn.Module):
    """The fused feature's own batch norm; its scores come from the classifier of the streams where the widths agree, else from one of its own."""

    def __init__(self, dim: int, shared: int, num_ids: int):
        super().__init__()
        neck = Neck(dim, num_ids)
        self.norm, self.classifier = (
            neck.norm,
            neck.classifier if dim != shared else None,
        )

    def forward(self, feat: Tensor, shared: nn.Linear) -> tuple[Tensor, Tensor]:
        """(B, D) -> normalised feature (B, D) and class scores (B, C)."""
        normed = self.norm(feat)
        return normed, (shared if self.classifier is None else self.classifier)(normed)
