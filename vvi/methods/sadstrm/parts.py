"""Modules of SADSTRM, in the order of the paper: attention, stripe relations."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vvi.methods.sadstrm.config import Config, Query
from vvi.nn.pool import temporal_mean
from vvi.nn.recurrent import FloatLSTM
from vvi.runtime.fields import check_choice


class Attention(nn.Module):
    """Attention among the positions of a frame, added to the maps that it refines.

    IMSA, Eq. (2), has one input and CMCA, Eq. (7), has two. The norm starts at zero, so
    a new block is the identity.

    Paper: Figs. 3 and 4 name products and a sum only. This is the usual non-local block
    on half the channels, without a scale.

    Args:
        channels: width C of the maps.
        query: which maps form the queries. "self": those to refine, the other ones give
            keys and values. "other": the reverse, as in a sibling paper's code.
        inner: width of queries, keys and values, C / 2 by default. Paper: gives none.

    Raises:
        ValueError: there is no such query.
    """

    def __init__(
        self,
        channels: int,
        query: Query = "self",
        inner: int | None = None,
    ):
        super().__init__()
        check_choice("query", query, Query)
        self.query = query
        inner = inner or channels // 2
        # 1x1 convolutions as linear maps: a channels-last convolution of 8 channels
        # would kill the process (see vvi.nn.backbone)
        self.theta = nn.Linear(channels, inner)
        self.phi = nn.Linear(channels, inner)
        self.g = nn.Linear(channels, inner)
        self.out = nn.Linear(inner, channels)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Refine maps x by attention to maps y: (N, C, h, w) both -> (N, C, h, w).

        The (hw, hw) weights of a frame are never stored.
        """
        query_tokens, key_tokens = self._tokens(x, y)
        query = self.theta(query_tokens)[:, None]  # (N, 1, hw, C'): one head
        key = self.phi(key_tokens)[:, None]
        value = self.g(key_tokens)[:, None]
        mixed = F.scaled_dot_product_attention(query, key, value, scale=1.0)[:, 0]
        return x + self.norm(self.out(mixed).mT.unflatten(2, x.shape[2:]))

    def received(self, x: Tensor, y: Tensor) -> Tensor:
        """Average over queries the attention that each key position gets.

        (N, C, h, w) twice -> (N, h, w), whose sum in a frame is 1.
        """
        query_tokens, key_tokens = self._tokens(x, y)
        scores = self.theta(query_tokens) @ self.phi(key_tokens).mT
        return scores.softmax(2).mean(1).unflatten(1, x.shape[2:])

    def _tokens(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the tokens of queries and of keys, (N, hw, C) both."""
        query, key = (x, y) if self.query == "self" else (y, x)
        return query.flatten(2).mT, key.flatten(2).mT


class StripeRelations(nn.Module):
    """FRM-STIG, Eqs. (11) to (15).

    The motion of each stripe, the relation of stripes at the last frame, and a gate
    that reads the appearance of a stripe and the relation, Eq. (11).

    Paper: gives neither depth nor width of the LSTMs. Their width is that of the maps,
    since Eq. (14) adds states to stripe vectors. It cuts the maps before CMCA.

    Args:
        dim: width D of the maps.
        config: its `stig`, `parts` and `lstm_layers` are read.
    """

    def __init__(self, dim: int, config: Config):
        super().__init__()
        self.kind, self.parts = config.stig, config.parts
        self.mot = FloatLSTM(dim, dim, config.lstm_layers, batch_first=True)
        if self.kind == "full":
            self.spa = FloatLSTM(dim, dim, config.lstm_layers, batch_first=True)
        if self.kind != "fr_e_ti":
            hidden = max(8, dim // 16)  # Paper: gives no width
            self.lm1 = nn.Linear(2 * dim, hidden)
            self.lm2 = nn.Linear(hidden, dim)

    def forward(self, maps: Tensor, frames: int) -> Tensor:
        """Embed clips by their stripes, the vectors j_d: Eqs. (13) to (15).

        Maps of the frames of N clips (NT, D, h, w) -> (N, KD).
        """
        feat = self.cut(maps, frames)
        motion = self.motion(feat)
        gated = feat if self.kind == "fr_e_ti" else feat * self.gates(feat, motion)
        return temporal_mean(gated + motion).flatten(1)

    def cut(self, maps: Tensor, frames: int) -> Tensor:
        """Average over K horizontal stripes, top to bottom.

        Maps (NT, D, h, w) -> (N, T, K, D).

        Paper: K patches that do not overlap. So they are where K divides h, as 6 does
        18 at the size of the paper. Elsewhere neighbours share rows: of the four rows
        of the small trunk the second of six stripes is the mean of the first and the
        third, and the fifth that of the fourth and the sixth.
        """
        stripes = F.adaptive_avg_pool2d(maps, (self.parts, 1)).squeeze(3)
        return stripes.mT.unflatten(0, (-1, frames))

    def motion(self, feat: Tensor) -> Tensor:
        """Run one LSTM over time, the same for every stripe.

        (N, T, K, D) -> (N, T, K, D).
        """
        states = self.mot(feat.transpose(1, 2).flatten(0, 1))[0]  # (NK, T, D)
        return states.unflatten(0, (-1, self.parts)).transpose(1, 2)

    def gates(self, feat: Tensor, motion: Tensor) -> Tensor:
        """Compute gates in 0..1 of stripe vectors: Eqs. (11) and (12).

        Stripe vectors and their motion (N, T, K, D) -> (N, T, K, D). With "full" all
        gates read the output of the LSTM over stripes, with "no_spa" each reads the
        last motion of its own stripe.

        Paper: that output has the symbol of the last stripe's motion, with the index K
        in the sentence and k in Eq. (11). Here they are two things.
        """
        relation = motion[:, -1]  # (N, K, D)
        if self.kind == "full":
            relation = self.spa(relation)[0][:, -1:]  # (N, 1, D)
        relation = relation[:, None].expand_as(feat)
        both = torch.cat((feat, relation), 3)
        hidden = F.relu(self.lm1(both))
        return torch.sigmoid(self.lm2(hidden))
