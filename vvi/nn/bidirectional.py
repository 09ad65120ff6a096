"""From frame vectors to a clip vector: summaries of the clip in both directions of time weigh and gate its frames (IBAN, Sec. III-B, step 4)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vvi.nn.per_frame import PerFrameLinear
from vvi.nn.pool import temporal_mean
from vvi.nn.recurrent import FloatLSTM


class Aggregation(nn.Module):
    """Bidirectional spatial-temporal aggregation, BSTA: Eqs. (6) to (9).

    directions: whether a backward network weighs frames too; temporal: "mean" puts the mean over frames in place of both networks; attention: whether channels are gated; gate: one
    for all frames, from the forward summary, or one for each of `frames` places, from the summary and the frame; plus_one: frames weigh 1 + w.

    Paper: one symbol for the networks of both directions; the released code has two. Only the forward one drives gates, in the released code as here.
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
    ):
        super().__init__()
        self.frames, self.plus_one = frames, plus_one
        self.forth = (
            FloatLSTM(dim, dim, num_layers=2, batch_first=True)
            if temporal == "lstm"
            else None
        )
        self.back = (
            FloatLSTM(dim, dim, num_layers=2, batch_first=True)
            if temporal == "lstm" and directions == "both"
            else None
        )
        places, hidden = frames if gate == "per_place" else 1, max(8, dim // 16)
        self.fc = (
            PerFrameLinear(places, dim, dim, bias=True)
            if attention and gate == "per_place"
            else None
        )
        self.squeeze, self.excite = (
            (PerFrameLinear(places, dim, hidden), PerFrameLinear(places, hidden, dim))
            if attention
            else (None, None)
        )

    def forward(self, feat: Tensor) -> tuple[Tensor, Tensor]:
        """Frame vectors (B, T, D) -> clip vector m (B, D) and frame weights w (B, T)."""
        summaries = self.summaries(feat)
        weights = frame_weights(feat, *summaries)
        return weighted_mean(
            feat, weights, self.gates(feat, summaries[0]), self.plus_one
        ), weights

    def summaries(self, feat: Tensor) -> tuple[Tensor, ...]:
        """Frame vectors (B, T, D) -> what the forward and the backward network hold at their ends, (B, D) each: Eq. (7). One for both where they are alike or one is left out."""
        if self.forth is None:
            return (temporal_mean(feat),)
        forth = self.forth(feat)[0][:, -1]
        return (
            (forth,)
            if self.back is None
            else (forth, self.back(feat.flip(1))[0][:, -1])
        )

    def gates(self, feat: Tensor, forth: Tensor) -> Tensor | None:
        """Frame vectors (B, T, D) and forward summary (B, D) -> gates in 0..1, (B, T, D), or (B, 1, D) where all frames share one: FC of Eq. (6)."""
        if self.squeeze is None:
            return None
        seen = forth[:, None]
        if self.fc is not None:
            if feat.shape[1] != self.frames:
                raise ValueError(
                    f"this model has gates for {self.frames} frames, the clips have {feat.shape[1]}"
                )
            seen = (self.fc(seen.expand_as(feat)) + feat) / 2
        return torch.sigmoid(self.excite(F.relu(self.squeeze(seen))))


def frame_weights(feat: Tensor, *summaries: Tensor) -> Tensor:
    """Mean cosine of each frame vector with the summaries: (B, T, D), (B, D) each -> (B, T) in -1..1. Eq. (8)."""
    return sum(
        F.cosine_similarity(feat, summary[:, None], 2) for summary in summaries
    ) / len(summaries)


def weighted_mean(
    feat: Tensor, weights: Tensor, gates: Tensor | None = None, plus_one: bool = False
) -> Tensor:
    """Frame vectors (B, T, D) times 1 + gates (B, T or 1, D), weighed by (B, T) and summed over T, divided by T -> (B, D). Eqs. (6) and (9).

    Paper: weights of fresh networks are near 0, may be negative and are not divided by their sum; with `plus_one` they are 1 + w, as in the released code.
    """
    gated = feat if gates is None else feat * (1 + gates)
    return temporal_mean((weights + 1 if plus_one else weights)[:, :, None] * gated)
