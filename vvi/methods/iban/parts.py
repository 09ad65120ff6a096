"""Modules of IBAN in the order of Algorithm 1: anaglyphs, guidance, aggregation."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vvi.data.transforms import crop_and_flip, denormalise, normalise
from vvi.methods.iban.config import Layout, Query, Scope
from vvi.nn.backbone import TwoStream
from vvi.nn.per_frame import PerFrameLinear, check_frames
from vvi.nn.pool import temporal_mean
from vvi.nn.recurrent import FloatLSTM
from vvi.runtime.fields import check_choice
from vvi.runtime.random import torch_rng
from vvi.types import Modality

#: Anaglyph maps A3 and A4 after the third and the fourth stage, None for blank ones.
Levels = tuple[Tensor | None, Tensor | None]
#: Mean weight of a clip below which relative weights are no longer scaled up.
SMALL = 1e-6


# Step 1: anaglyphs. Eq. (1) is `vvi.data.transforms.anaglyph`.


def redrawn(clips: Tensor, modality: Modality, step: int) -> Tensor:
    """Crop and mirror anaglyph frames anew, each by itself, as the released loader.

    Three things differ from that loader. Here the anaglyph is that of a frame which was
    cropped and mirrored before, there it is that of the whole frame. Padding (a 28.8th
    of the height) and mirroring (half of the frames) are fixed here, whatever the
    settings of the frames are. The draws do not depend on the seed of the run, so runs
    of all seeds share them.

    Args:
        clips: normalised anaglyphs (B, T, 3, H, W).
        modality: seeds the draws.
        step: of training, seeds the draws.

    Returns:
        Clips of the same shape.
    """
    frames = denormalise(clips).flatten(0, 1)
    rng = torch_rng("anaglyph", modality, step)
    pad = round(clips.shape[-2] / 28.8)  # 10 of 288
    top = torch.randint(2 * pad + 1, (len(frames),), generator=rng)
    left = torch.randint(2 * pad + 1, (len(frames),), generator=rng)
    mirror = torch.rand(len(frames), generator=rng) < 0.5
    draws = [x.to(clips.device, non_blocking=True) for x in (top, left, mirror)]
    return normalise(crop_and_flip(frames, *draws, pad=pad)).view(clips.shape)


# Step 2: features of frames and of anaglyphs


def third_stage(trunk: TwoStream, stem: Tensor) -> Tensor:
    """Run stages 1 to 3 of a trunk: the first part of Eq. (2).

    The last stage follows in `Model.refine`.

    Stem maps (NT, C0, h0, w0) -> F3 (NT, C3, h, w).
    """
    return trunk.first_stages(stem)


def anaglyph_levels(trunk: TwoStream, stem: Tensor) -> Levels:
    """Run all stages of the anaglyph trunk, whose maps are not refined: Eq. (3).

    Stem maps (NT, C0, h0, w0) -> A3 (NT, C3, h, w) and A4 (NT, C4, h, w).
    """
    third = third_stage(trunk, stem)
    return third, trunk.layer4(third)


# Step 3: modality discrepancy


class Guide(nn.Module):
    """Intermediary guidance (IG) of one level: Eq. (4), Fig. 4.

    The block is the identity at first, since its norm starts at zero.

    Paper: the equation shows one frame, the text says "3D". Width, pooling and the
    missing scale are those of the released non-local block. The released block takes
    its queries from the anaglyphs and reads its maps by `raw_view`, see `query` and
    `layout`.

    Args:
        channels: of the maps.
        query: which maps form the queries. The other ones give keys and values.
        layout: "raw_view" attends between the pseudo-frames of `raw_view`.
        scope: whether a position attends to the whole clip or to its own frame.
        embed: False compares and mixes the maps themselves, as Eq. (4) is printed.

    Raises:
        ValueError: there is no such query, layout or scope.
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
        check_choice("query", query, Query)
        check_choice("layout", layout, Layout)
        check_choice("scope", scope, Scope)
        self.query, self.layout, self.scope, self.embed = query, layout, scope, embed
        inner = channels // 2 if embed else channels
        if embed:  # 1x1x1 convolutions, as linear maps of channels
            self.theta = nn.Linear(channels, inner)
            self.phi = nn.Linear(channels, inner)
            self.g = nn.Linear(channels, inner)
        self.out = nn.Linear(inner, channels)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, maps: Tensor, intermediary: Tensor | None, frames: int) -> Tensor:
        """Add what the maps attend to in the anaglyph maps: Eq. (4).

        As printed: W(softmax(f a^T) a) + f. Query f and key a come from
        `query_key_value`, W is `norm` after `out`.

        Args:
            maps: maps F of the frames of N clips, (NT, C, h, w).
            intermediary: maps A of their anaglyphs, (NT, C, h, w), None for blank ones.
            frames: T.

        Returns:
            Refined maps (NT, C, h, w).
        """
        tokens = self.query_key_value(maps, intermediary, frames)
        query, key, value = (x[:, None] for x in tokens)  # one head
        # fused: the (L, L') attention weights are never held in memory
        mixed = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        mixed = mixed.reshape(len(maps), *maps.shape[2:], -1)  # (NT, h, w, C')
        update = self.norm(self.out(mixed).movedim(-1, 1))
        if self.layout == "raw_view":
            update = raw_view(update, frames, back=True)
        return maps + update

    def query_key_value(
        self, maps: Tensor, intermediary: Tensor | None, frames: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Project maps to the tokens of the attention: f and a of Eq. (4).

        Args:
            maps: maps F of the frames of N clips, (NT, C, h, w).
            intermediary: maps A of their anaglyphs, (NT, C, h, w), None for blank ones.
            frames: T.

        Returns:
            Queries (N, L, C'), keys and values (N, L', C'), with NT in place of N where
            frames attend alone.
        """
        if intermediary is None:
            intermediary = torch.zeros_like(maps)
        if self.layout == "raw_view":
            maps, intermediary = raw_view(maps, frames), raw_view(intermediary, frames)
        query, key = maps.movedim(1, -1), intermediary.movedim(1, -1)  # (NT, h, w, C)
        if self.query == "anaglyph":
            query, key = key, query
        value = key
        if self.embed:
            query = self.theta(query)
            key, value = self._pool(self.phi(key)), self._pool(self.g(value))
        return tuple(self._tokens(x, frames) for x in (query, key, value))

    def attention_to_keys(
        self, maps: Tensor, intermediary: Tensor | None, frames: int
    ) -> Tensor:
        """Average the attention to each key over the queries, 1 for an even share.

        With "raw_view" each of the T slices mixes all frames.

        Args:
            maps: maps F of the frames of N clips, (NT, C, h, w).
            intermediary: maps A of their anaglyphs, (NT, C, h, w), None for blank ones.
            frames: T.

        Returns:
            (N, T, h', w').
        """
        query, key, _ = self.query_key_value(maps, intermediary, frames)
        weights = (query @ key.mT).softmax(2).mean(1) * key.shape[1]
        height, width = (side // self._stride(side) for side in maps.shape[2:])
        return weights.view(-1, frames, height, width)

    def _tokens(self, maps: Tensor, frames: int) -> Tensor:
        """Make each position of a map a token.

        (NT, h, w, C) -> (N, Thw, C), or (NT, hw, C) where frames attend alone.
        """
        _, height, width, channels = maps.shape
        together = frames if self.scope == "clip" else 1
        return maps.reshape(-1, together * height * width, channels)

    def _pool(self, maps: Tensor) -> Tensor:
        """Pool 2x2 positions: (NT, h, w, C) -> (NT, h/2, w/2, C)."""
        strides = [self._stride(side) for side in maps.shape[1:3]]
        return F.max_pool2d(maps.movedim(-1, 1), strides).movedim(1, -1)

    def _stride(self, side: int) -> int:
        return min(2, side) if self.embed else 1


def raw_view(maps: Tensor, frames: int, back: bool = False) -> Tensor:
    """Read maps (NT, C, h, w) as (N, C, T, h, w) without a permutation.

    A slip of the released code: of T frames of C channels, one after the other, each
    pseudo-frame holds every T-th channel, so some of each frame.

    Args:
        maps: (NT, C, h, w).
        frames: T.
        back: undo it.

    Returns:
        Pseudo-frames (NT, C, h, w).
    """
    if back:
        return maps.unflatten(0, (-1, frames)).transpose(1, 2).reshape(maps.shape)
    viewed = maps.reshape(-1, maps.shape[1], frames, *maps.shape[2:])
    return viewed.transpose(1, 2).flatten(0, 1)


class Reconstruction(nn.Module):
    """Convolutions R that predict one modality's maps from the other's: Eq. (5).

    Paper: one R, "a set of convolution layers". Ours are the four single convolutions
    without bias of the released code, one for each level and direction.

    Args:
        third: channels of A3.
        fourth: channels of A4.
    """

    def __init__(self, third: int, fourth: int):
        super().__init__()
        self.vis_to_ir = _convolutions(third, fourth)
        self.ir_to_vis = _convolutions(third, fourth)

    def forward(
        self, levels: tuple[Tensor, Tensor]
    ) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Predict the maps of both levels in both directions.

        (2N, C, h, w) with visible first -> for each level vis, ir, R(vis), R(ir), of
        (N, C, h, w) each, as `reconstruction_loss` takes them.
        """
        predicted = []
        for level, maps in enumerate(levels):
            vis, ir = maps.chunk(2)
            from_vis = self.vis_to_ir[level](vis)
            from_ir = self.ir_to_vis[level](ir)
            predicted.append((vis, ir, from_vis, from_ir))
        return predicted


def _convolutions(third: int, fourth: int) -> nn.ModuleList:
    return nn.ModuleList(
        [
            nn.Conv2d(third, third, 3, padding=1, bias=False),
            nn.Conv2d(fourth, fourth, 1, bias=False),
        ]
    )


# Step 4: aggregation


class Aggregation(nn.Module):
    """Bidirectional spatial-temporal aggregation (BSTA): Eqs. (6) to (9), Fig. 5.

    Paper: one symbol for the LSTMs of both directions, where the released code has two.
    Only the forward one drives gates, in the released code as here.

    Args:
        dim: width D of frame vectors.
        frames: T, which gates of each frame position fix.
        directions: whether a backward LSTM summarises clips too.
        temporal: "mean" takes the mean over frames as the only summary.
        attention: whether channels are gated.
        gate: one for all frames, from the forward summary, or one for each frame
            position, from the summary and the frame.
        plus_one: frames weigh 1 + w.
        relative: the weights of a clip are divided by their mean.
    """

    def __init__(
        self,
        dim: int,
        frames: int,
        directions: Literal["both", "forward"] = "both",
        temporal: Literal["lstm", "mean"] = "lstm",
        attention: bool = True,
        gate: Literal["shared", "per_place"] = "shared",
        plus_one: bool = False,
        relative: bool = False,
    ):
        super().__init__()
        self.frames = frames
        self.plus_one = plus_one
        self.relative = relative
        self.forth = self.back = None
        if temporal == "lstm":
            self.forth = FloatLSTM(dim, dim, num_layers=2, batch_first=True)
        if temporal == "lstm" and directions == "both":
            self.back = FloatLSTM(dim, dim, num_layers=2, batch_first=True)
        positions = frames if gate == "per_place" else 1
        hidden = max(8, dim // 16)  # the floor is ours and matters to small trunks only
        self.fc = self.squeeze = self.excite = None
        if attention and gate == "per_place":
            self.fc = PerFrameLinear(positions, dim, dim, bias=True)
        if attention:
            self.squeeze = PerFrameLinear(positions, dim, hidden)
            self.excite = PerFrameLinear(positions, hidden, dim)

    def forward(self, feat: Tensor) -> tuple[Tensor, Tensor]:
        """Aggregate frame vectors (B, T, D).

        Returns:
            Clip vectors m (B, D) and frame weights w (B, T).

        Raises:
            ValueError: each frame position has a gate, and clips have another length.
        """
        summaries = self.summaries(feat)
        weights = frame_weights(feat, *summaries)
        gates = self.gates(feat, summaries[0])
        mean = weighted_mean(feat, weights, gates, self.plus_one, self.relative)
        return mean, weights

    def summaries(self, feat: Tensor) -> tuple[Tensor, ...]:
        """Summarise clips by the last outputs t1 and t2 of both LSTMs: Eq. (7).

        Args:
            feat: frame vectors (B, T, D).

        Returns:
            t1 (B, D) of the forward LSTM `forth`, or the mean over frames where there
            are no LSTMs. Then t2 (B, D) of the backward LSTM `back`, which reads the
            frames from last to first, where there is one.
        """
        if self.forth is None:
            return (temporal_mean(feat),)
        first = self.forth(feat)[0][:, -1]
        if self.back is None:
            return (first,)
        second = self.back(feat.flip(1))[0][:, -1]
        return first, second

    def gates(self, feat: Tensor, summary: Tensor) -> Tensor | None:
        """Compute the gates of channels from the forward summary: FC(t1) of Eq. (6).

        Args:
            feat: frame vectors (B, T, D).
            summary: t1 of the forward LSTM (B, D).

        Returns:
            Gates in 0..1, (B, T, D), or (B, 1, D) where all frames share one, or None
            without attention.

        Raises:
            ValueError: each frame position has a gate, and clips have another length.
        """
        if self.squeeze is None:
            return None
        mixed = summary[:, None]
        if self.fc is not None:
            check_frames(feat, self.frames)
            mixed = (self.fc(mixed.expand_as(feat)) + feat) / 2
        return torch.sigmoid(self.excite(F.relu(self.squeeze(mixed))))


def frame_weights(feat: Tensor, *summaries: Tensor) -> Tensor:
    """Compute the mean cosine of each frame with the summaries: Eq. (8).

    Frame vectors (B, T, D), summaries (B, D) -> weights w (B, T) in -1..1, in float32
    where a summary is an LSTM's. Without LSTMs (row -l) both stay in the precision of
    training: in bfloat16 on a CPU a weight 1 + w has steps of 1/128, which is coarse
    beside the differences within a clip.
    """
    cosines = [F.cosine_similarity(feat, summary[:, None], 2) for summary in summaries]
    return sum(cosines) / len(summaries)


def weighted_mean(
    feat: Tensor,
    weights: Tensor,
    gates: Tensor | None = None,
    plus_one: bool = False,
    relative: bool = False,
) -> Tensor:
    """Average gated frame vectors by their weights: Eqs. (6) and (9).

    Paper: weights of fresh networks are near 0, may be negative and are not divided by
    their sum. With `plus_one` they are 1 + w, as in the released code. These can still
    shrink to zero together, and every distance with them. `relative` rules that out.

    Args:
        feat: frame vectors (B, T, D).
        weights: w (B, T).
        gates: (B, T, D) or (B, 1, D), which multiply the frames by 1 + gate.
        plus_one: frames weigh 1 + w.
        relative: the weights of a clip are divided by their mean.

    Returns:
        Clip vectors m (B, D), the weighted sum divided by T.
    """
    gated = feat if gates is None else feat * (1 + gates)
    if plus_one:
        weights = weights + 1
    if relative:
        weights = weights / weights.mean(1, keepdim=True).clamp(min=SMALL)
    return temporal_mean(weights[:, :, None] * gated)
