"""Memory over time that keeps float32 whatever the precision of training."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FloatLSTM(nn.LSTM):
    """An LSTM in float32 under autocast too: its weights are read once a frame, so half precision saves nothing, and on a CPU its backward pass in bfloat16 costs more than the
    convolutions gain."""

    def forward(
        self, feat: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """(B, T, D) with `batch_first` -> states of all frames (B, T, D), and the last hidden and cell state of each layer, all float32."""
        kind = (
            "cpu" if feat.is_meta else feat.device.type
        )  # shapes alone know no autocast
        with torch.autocast(kind, enabled=False):
            return super().forward(feat.float(), state)
