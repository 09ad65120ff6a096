"""A second view of each frame as the go-between of two modalities: attention to its maps, and maps of one modality foretold from the other's (IBAN, Sec. III-B, step 3)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Query = Literal["original", "anaglyph"]
Layout = Literal["permute", "raw_view"]
Scope = Literal["clip", "frame"]


class Guide(nn.Module):
    """Intermediary guidance of one level, IG: Eq. (4), Fig. 4. What the attention finds is added to the maps of the clip; an identity at first, since its norm starts at zero.

    query: whose places ask; the other's answer. layout: "raw_view" attends between the pseudo-frames of `raw_view`. scope: whether places of the whole clip answer or those of the
    same frame. embed: False compares and mixes the maps themselves, as Eq. (4) prints it.

    Paper: its equation shows one frame, its figure says "3D"; the defaults are the released non-local block, without a scale, on half the channels and with pooled keys.
    """

    def __init__(
        self,
        channels: int,
        query: Query = "original",
        layout: Layout = "permute",
        scope: Scope = "clip",
        embed: bool = True,
    ):
        super().__init__()
        self.query, self.layout, self.scope, self.embed = query, layout, scope, embed
        inner = channels // 2 if embed else channels
        if embed:  # 1x1x1 convolutions, as linear maps of places
            self.theta, self.phi, self.g = (
                nn.Linear(channels, inner) for _ in range(3)
            )
        self.out, self.norm = nn.Linear(inner, channels), nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, maps: Tensor, intermediary: Tensor | None, frames: int) -> Tensor:
        """Maps of N clips and of their intermediaries (None: blank), (NT, C, h, w) both -> (NT, C, h, w). Fused: the table of weights is never held."""
        ask, answer, value = (
            tokens[:, None] for tokens in self._roles(maps, intermediary, frames)
        )
        mixed = F.scaled_dot_product_attention(ask, answer, value, scale=1.0)
        mixed = self.norm(
            self.out(mixed.reshape(len(maps), *maps.shape[2:], -1)).movedim(-1, 1)
        )
        return maps + (
            raw_view(mixed, frames, back=True) if self.layout == "raw_view" else mixed
        )

    def received(
        self, maps: Tensor, intermediary: Tensor | None, frames: int
    ) -> Tensor:
        """How much attention each answering place gets, 1 on average: (NT, C, h, w) twice -> (N, T, h', w'). With "raw_view" each of the T slices mixes all frames."""
        ask, answer, _ = self._roles(maps, intermediary, frames)
        share = (ask @ answer.mT).softmax(2).mean(1) * answer.shape[1]
        return share.view(
            -1, frames, *(side // self._stride(side) for side in maps.shape[2:])
        )

    def _roles(
        self, maps: Tensor, intermediary: Tensor | None, frames: int
    ) -> tuple[Tensor, ...]:
        """Queries (M, N, C'), keys and values (M, N', C'), for M clips or frames."""
        pair = [maps, torch.zeros_like(maps) if intermediary is None else intermediary]
        pair = (
            [raw_view(x, frames) for x in pair] if self.layout == "raw_view" else pair
        )
        ask, answer = (
            x.movedim(1, -1) for x in (pair if self.query == "original" else pair[::-1])
        )  # (NT, h, w, C)
        roles = (
            (self.theta(ask), self._pool(self.phi(answer)), self._pool(self.g(answer)))
            if self.embed
            else (ask, answer, answer)
        )
        return tuple(
            x.reshape(
                -1,
                (frames if self.scope == "clip" else 1) * x.shape[1] * x.shape[2],
                x.shape[3],
            )
            for x in roles
        )

    def _pool(self, places: Tensor) -> Tensor:
        return F.max_pool2d(
            places.movedim(-1, 1), [self._stride(side) for side in places.shape[1:3]]
        ).movedim(1, -1)

    def _stride(self, side: int) -> int:
        return min(2, side) if self.embed else 1


def raw_view(maps: Tensor, frames: int, back: bool = False) -> Tensor:
    """Maps (NT, C, h, w) read as (N, C, T, h, w) without a permutation, as pseudo-frames (NT, C, h, w); `back` undoes it.

    A slip of the released code of IBAN: of T frames of C channels, laid out one after the other, each pseudo-frame holds every T-th channel, so some of each frame.
    """
    if back:
        return maps.unflatten(0, (-1, frames)).transpose(1, 2).reshape(maps.shape)
    return (
        maps.reshape(-1, maps.shape[1], frames, *maps.shape[2:])
        .transpose(1, 2)
        .flatten(0, 1)
    )


class Reconstruction(nn.Module):
    """The convolutions R that foretell the maps of one modality from those of the other, at two levels of `third` and `fourth` channels: Eq. (5)."""

    def __init__(self, third: int, fourth: int):
        super().__init__()
        self.vis_to_ir, self.ir_to_vis = (
            nn.ModuleList(
                [
                    nn.Conv2d(third, third, 3, padding=1, bias=False),
                    nn.Conv2d(fourth, fourth, 1, bias=False),
                ]
            )
            for _ in range(2)
        )

    def forward(
        self, levels: tuple[Tensor, Tensor]
    ) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Maps of both levels, (2N, C, h, w) with visible first -> for each level vis, ir, R(vis), R(ir), (N, C, h, w) each."""
        halves = (
            (*maps.chunk(2), there, back)
            for maps, there, back in zip(
                levels, self.vis_to_ir, self.ir_to_vis, strict=True
            )
        )
        return [(vis, ir, there(vis), back(ir)) for vis, ir, there, back in halves]
