"""The cascade of fusion blocks of CMFT, Sec. 3.3, in the order of the equations."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vvi.methods.cmft.config import Gate
from vvi.nn.neck import Neck
from vvi.runtime.fields import check_choice
from vvi.types import MODALITIES, Modality

#: Heads of an attention (Sec. 4.2).
HEADS = 8


class CrossAttention(nn.Module):
    """Multi-head attention between two sets of tokens: Eqs. (1) to (3).

    Queries come from one set, keys and values from the other. Four linear maps with
    bias, no dropout, no positions.

    Args:
        dim: width C of the tokens.
        heads: must divide the width.

    Raises:
        ValueError: the heads do not divide the width.
    """

    def __init__(self, dim: int, heads: int = HEADS):
        super().__init__()
        if dim % heads:
            raise ValueError(f"{heads} heads do not share {dim} channels evenly")
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)
        for layer in (self.query, self.key, self.value, self.out):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, queries: Tensor, source: Tensor) -> Tensor:
        """Attend from query tokens (BT, N, C) to source tokens (BT, N', C).

        Returns:
            (BT, N, C).
        """
        q = self._split(self.query(queries))
        k = self._split(self.key(source))
        v = self._split(self.value(source))
        width = q.shape[-1]
        # zeros change no product, and on a CPU heads of 2 channels padded to 16 take
        # two thirds of the time, while on `meta` they only miscount
        if width % 16 and not q.is_meta:
            q, k, v = (F.pad(x, (0, -width % 16)) for x in (q, k, v))
        scale = 1 / math.sqrt(width)
        mixed = F.scaled_dot_product_attention(q, k, v, scale=scale)[..., :width]
        return self.out(mixed.transpose(1, 2).flatten(2))

    def weights(self, queries: Tensor, source: Tensor) -> Tensor:
        """Return attention weights, averaged over heads.

        (BT, N, C), (BT, N', C) -> (BT, N, N'), whose rows sum to 1. For figures: all
        weights are held in memory.
        """
        q, k = self._split(self.query(queries)), self._split(self.key(source))
        scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])
        return scores.softmax(-1).mean(1)

    def _split(self, tokens: Tensor) -> Tensor:
        """Split channels into heads: (BT, N, C) -> (BT, heads, N, C / heads)."""
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)


def fit_maps(maps: Tensor, size: tuple[int, int], channels: int) -> Tensor:
    """Bring maps to another size and width without a weight.

    Positions are averaged over areas. Channels are repeated block by block until there
    are enough, then evenly spaced ones are taken: C -> 2C repeats the block, 2C -> C
    takes every second.

    Args:
        maps: (BT, C, h, w).
        size: height h' and width w' of the result.
        channels: C' of the result.

    Returns:
        (BT, C', h', w').
    """
    if maps.shape[2:] != torch.Size(size):
        maps = F.adaptive_avg_pool2d(maps, size)
    width = maps.shape[1]
    if width == channels:
        return maps
    blocks = -(-channels // width)  # rounded up
    repeated = blocks * width
    evenly = torch.arange(channels, device=maps.device) * repeated // channels
    return maps[:, evenly % width]


class CrossFusion(nn.Module):
    """The fusion block of one stage: Eqs. (4) to (6), Fig. 4.

    Args:
        dim: width of the maps.
        inside: width of the tokens, half of `dim` in the last stage, where a linear map
            for each modality halves it.
        branches: 2 for both attentions, 1 for that whose queries are visible.
        heads: of each attention.
    """

    def __init__(self, dim: int, inside: int, branches: int = 2, heads: int = HEADS):
        super().__init__()
        self.reduce = None
        if inside != dim:
            linear = {modality: nn.Linear(dim, inside) for modality in MODALITIES}
            self.reduce = nn.ModuleDict(linear)
        self.ask_ir = CrossAttention(inside, heads)  # visible queries, infrared keys
        self.norm_vis = nn.LayerNorm(inside)
        # of the second branch, with infrared queries
        self.ask_vis = None
        self.norm_ir = None
        self.mix = None
        self.norm = None
        if branches == 2:
            self.ask_vis = CrossAttention(inside, heads)
            self.norm_ir = nn.LayerNorm(inside)
            self.mix = nn.Linear(2 * inside, 2 * inside)
            self.norm = nn.LayerNorm(2 * inside)

    def forward(self, vis: Tensor, ir: Tensor, gate: Tensor | None = None) -> Tensor:
        """Fuse the maps of both modalities.

        Args:
            vis: maps (BT, C, h, w).
            ir: maps (BT, C, h, w).
            gate: maps (BT, C, h, w) that multiply both, from the stage before.

        Returns:
            Fused maps (BT, C'', h, w).
        """
        size = vis.shape[2:]
        vis, ir = self.tokens(vis, "vis", gate), self.tokens(ir, "ir", gate)
        # Paper: Eq. (4) prints one index twice, read as z_12 and z_21. Eq. (5) puts the
        # residual inside the attention, read as added to its output.
        fused = self.norm_vis(self.ask_ir(vis, ir) + vis)
        if self.ask_vis is not None:
            other = self.norm_ir(self.ask_vis(ir, vis) + ir)
            both = torch.cat((fused, other), 2)
            fused = self.norm(self.mix(both) + both)
        return fused.transpose(1, 2).unflatten(2, size)

    def tokens(self, maps: Tensor, modality: Modality, gate: Tensor | None) -> Tensor:
        """Multiply maps by the gate and flatten them: Eq. (6).

        Args:
            maps: (BT, C, h, w).
            modality: of the maps.
            gate: (BT, C, h, w), or None in the first block.

        Returns:
            Tokens (BT, hw, C').
        """
        gated = maps if gate is None else maps * gate
        tokens = gated.flatten(2).transpose(1, 2)
        return tokens if self.reduce is None else self.reduce[modality](tokens)


class Step(NamedTuple):
    """One stage of a cascade: its block, the block's inputs and the fused maps."""

    block: CrossFusion
    vis: Tensor
    ir: Tensor
    gate: Tensor | None
    fused: Tensor


class Cascade(nn.Module):
    """Fusion blocks from stage `start` on, each gates the next: CCF, Sec. 3.3.2.

    Paper: ResNet-50 has five groups of layers and the paper counts to Conv6. Stage 2 is
    the stem here, 3 to 6 are layer1 to layer4. How a fused map is brought to the size
    of the next stage is not said. `fit_maps` does it without a weight, and then the
    blocks of stages 2 to 6 count the 33.40 M parameters of Table 3.

    Args:
        channels: widths of the maps of stages 2 to 6.
        start: first stage.
        branches: attentions of a block.
        gate: how fused maps enter the next stage, "none" leaves the last block alone.

    Raises:
        ValueError: there is no such gate.
    """

    def __init__(
        self,
        channels: tuple[int, ...],
        start: int = 5,
        branches: int = 2,
        gate: Gate = "mul",
    ):
        super().__init__()
        check_choice("gate", gate, Gate)
        self.gate = gate
        self.first = (6 if gate == "none" else start) - 2
        last = channels[-1] // 2  # the last stage halves its width
        inside = (*channels[:-1], last)[self.first :]
        blocks = []
        for dim, width in zip(channels[self.first :], inside, strict=True):
            blocks.append(CrossFusion(dim, width, branches))
        self.blocks = nn.ModuleList(blocks)
        self.width = branches * last

    def steps(self, vis: list[Tensor], ir: list[Tensor]) -> Iterator[Step]:
        """Fuse stage by stage the maps of all five stages of both streams.

        Args:
            vis: maps after each stage, five (BT, C, h, w).
            ir: the same of the infrared stream.

        Returns:
            A step for each block, whose fused maps are (BT, C'', h, w): C'' = 2C, in
            the last stage C, or half of that with one branch.
        """
        pairs = zip(vis[self.first :], ir[self.first :], strict=True)
        gate = None
        for block, (vis_maps, ir_maps) in zip(self.blocks, pairs, strict=True):
            if gate is not None:
                gate = fit_maps(gate, vis_maps.shape[2:], vis_maps.shape[1])
                gate = gate.sigmoid() if self.gate == "sigmoid" else gate
            fused = block(vis_maps, ir_maps, gate)
            yield Step(block, vis_maps, ir_maps, gate, fused)
            gate = fused

    def forward(self, vis: list[Tensor], ir: list[Tensor]) -> Tensor:
        """Fuse the maps of the five stages of both streams.

        Args:
            vis: maps after each stage, five (BT, C, h, w).
            ir: the same of the infrared stream.

        Returns:
            The fused maps of the last stage (BT, `self.width`, h, w).
        """
        *_, last = self.steps(vis, ir)
        return last.fused

    def inspect(self, vis: list[Tensor], ir: list[Tensor]) -> dict[str, Tensor]:
        """Return what the last block does, for figures.

        Returns:
            "read by vis" and "read by ir" (BT, h, w), the attention that each position
            gets, 1 on average. "gate" (BT, h, w), its mean absolute value over
            channels. "gate turned" (BT,), the share of negative values in the gate.
            "read by ir" needs two branches, "gate" and "gate turned" a block before the
            last.
        """
        *_, last = self.steps(vis, ir)
        block, gate, size = last.block, last.gate, last.vis.shape[2:]
        vis_tokens = block.tokens(last.vis, "vis", gate)
        ir_tokens = block.tokens(last.ir, "ir", gate)
        weights = block.ask_ir.weights(vis_tokens, ir_tokens)
        shown = {"read by vis": weights.sum(1).unflatten(1, size)}
        if block.ask_vis is not None:
            weights = block.ask_vis.weights(ir_tokens, vis_tokens)
            shown["read by ir"] = weights.sum(1).unflatten(1, size)
        if gate is not None:
            shown["gate"] = gate.abs().mean(1)
            shown["gate turned"] = (gate < 0).float().mean((1, 2, 3))
        return shown


class FusedHead(nn.Module):
    """Batch norm of the fused feature, and a classifier where the widths differ.

    Args:
        dim: width of the fused feature.
        shared: width of the streams' feature. Where it is the same, their classifier
            serves both.
        num_ids: classes C.
    """

    def __init__(self, dim: int, shared: int, num_ids: int):
        super().__init__()
        neck = Neck(dim, num_ids)
        self.norm = neck.norm
        self.classifier = neck.classifier if dim != shared else None

    def forward(self, feat: Tensor, shared: nn.Linear) -> tuple[Tensor, Tensor]:
        """Return normalised features (B, D) and logits (B, C).

        Args:
            feat: fused features (B, D).
            shared: classifier of the streams.
        """
        normed = self.norm(feat)
        classifier = shared if self.classifier is None else self.classifier
        return normed, classifier(normed)
