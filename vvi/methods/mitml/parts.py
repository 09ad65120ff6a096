"""Modules of MITML: temporal memory (Sec. 5.1), modality classifier (Sec. 5.2)."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vvi.methods.mitml.config import Eta
from vvi.nn.per_frame import PerFrameLinear, check_frames
from vvi.nn.pool import temporal_mean
from vvi.nn.recurrent import FloatLSTM
from vvi.runtime.fields import check_choice


class TemporalMemory(nn.Module):
    """Temporal memory refinement (TMR): Eqs. (2) and (3), Fig. 4.

    Args:
        dim: width D of frame vectors.
        frames: T.
        eta: what drives the gate of frame t: the LSTM's own output h^t (paper), or its
            last output h^T (released code).
        half_outside: halve the gate, as Eq. (2) is printed.
        reduction: D divided by the width of a gate's bottleneck, from 1 to D.

    Raises:
        ValueError: there is no such `eta`, or the reduction leaves the bottleneck no
            channel.
    """

    def __init__(
        self,
        dim: int,
        frames: int,
        eta: Eta = "own",
        half_outside: bool = False,
        reduction: int = 16,
    ):
        super().__init__()
        check_choice("eta", eta, Eta)
        if not 1 <= reduction <= dim:
            raise ValueError(
                f"reduction={reduction}: must be between 1 and {dim}, the channels of "
                "the trunk's last stage, which it divides"
            )
        self.frames = frames
        self.eta = eta
        self.half_outside = half_outside
        self.lstm = FloatLSTM(dim, dim, num_layers=2, batch_first=True)
        self.fc = PerFrameLinear(frames, dim, dim, bias=True)
        self.squeeze = PerFrameLinear(frames, dim, dim // reduction, bias=False)
        self.excite = PerFrameLinear(frames, dim // reduction, dim, bias=False)

    def gates(self, attention: Tensor) -> Tensor:
        """Compute a gate in 0..1 for every frame and channel: Eq. (2).

        Paper: the equation prints the halving outside the gate, which would end it at
        1/2. The released code halves what goes in.

        Args:
            attention: frame vectors f1 of the attention branch, (B, T, D).

        Returns:
            Gates a^t, (B, T, D).

        Raises:
            ValueError: the clips have another T.
        """
        check_frames(attention, self.frames)
        states = self.lstm(attention)[0]  # h^1 .. h^T, (B, T, D)
        if self.eta == "last":
            states = states[:, -1:].expand_as(states)
        mixed = self.fc(states) + attention
        if self.half_outside:
            return 0.5 * self._squeeze_excite(mixed)
        return self._squeeze_excite(0.5 * mixed)

    def _squeeze_excite(self, feat: Tensor) -> Tensor:
        return torch.sigmoid(self.excite(F.relu(self.squeeze(feat))))

    def forward(self, attention: Tensor, aggregation: Tensor) -> Tensor:
        """Average gated frame vectors: Eq. (3).

        Args:
            attention: frame vectors f1, which drive the gates, (B, T, D).
            aggregation: frame vectors f2, which are averaged, (B, T, D).

        Returns:
            Clip vectors F, (B, D).

        Raises:
            ValueError: the clips have another T.
        """
        return temporal_mean(aggregation * (1 + self.gates(attention)))


class ModalClassifier(nn.Module):
    """The modality classifier W_m of clip vectors: (N, D) -> (N, K).

    Each of eight blocks halves the width, down to 8 at least. A linear layer follows.

    Paper: only the number of outputs is given. The released layers are convolutions
    over a sequence of length one, of which only the centre tap meets data: this stack.
    The floor of 8 is ours and matters to small trunks only.

    Args:
        dim: width D of clip vectors.
        outputs: classes K.
    """

    def __init__(self, dim: int, outputs: int):
        super().__init__()
        widths = [max(8, dim >> k) for k in range(9)]
        blocks = [_block(inside, outside) for inside, outside in pairwise(widths)]
        self.blocks = nn.Sequential(*blocks)
        self.out = nn.Linear(widths[-1], outputs)

    def forward(self, feat: Tensor) -> Tensor:
        """Classify clip vectors: (N, D) -> logits (N, K)."""
        return self.out(self.blocks(feat))


def _block(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inside, outside), nn.BatchNorm1d(outside), nn.ReLU())
