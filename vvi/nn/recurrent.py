"""Memory over time that keeps float32 whatever the precision of training."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FloatLSTM(nn.LSTM):
    """An LSTM that computes in float32 under autocast too.

    Its weights are read once a frame, so half precision saves nothing, and on a CPU its
    backward pass in bfloat16 costs more than the convolutions gain.
    """

    def forward(self, feat: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Run over the frames of clips from a state of zeros, with `batch_first`.

        Frame vectors (B, T, D) -> states of all frames (B, T, D), and the last hidden
        and cell state of each layer, all in float32.
        """
        # tensors on `meta` have no autocast
        device = "cpu" if feat.is_meta else feat.device.type
        with torch.autocast(device, enabled=False):
            return super().forward(feat.float())
