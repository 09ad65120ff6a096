"""Linear layers with weights of their own for each frame position of a clip."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def check_frames(feat: Tensor, frames: int) -> None:
    """Check the length of clips whose gates are fixed for each frame position.

    Args:
        feat: frame vectors (B, T, D).
        frames: T of the gates.

    Raises:
        ValueError: the clips have another length.
    """
    # a length of 1 would be broadcast silently
    if feat.shape[1] != frames:
        raise ValueError(
            f"this model has gates for {frames} frames, the clips have {feat.shape[1]}"
        )


class PerFrameLinear(nn.Module):
    """One linear map for each frame position, all applied at once.

    Initialised like `nn.Linear`.

    Args:
        positions: frames T of a clip, or 1 for one map that all frames share.
        inside: width of the input.
        outside: width of the output.
        bias: whether each map adds a vector of its own.
    """

    def __init__(self, positions: int, inside: int, outside: int, bias: bool = False):
        super().__init__()
        bound = 1 / math.sqrt(inside)
        weight = torch.empty(positions, outside, inside).uniform_(-bound, bound)
        self.weight = nn.Parameter(weight)
        self.bias = None
        if bias:
            self.bias = nn.Parameter(
                torch.empty(positions, outside).uniform_(-bound, bound)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map each frame by the weights of its position: (B, T, I) -> (B, T, O)."""
        out = torch.einsum("bti,toi->bto", x, self.weight)
        return out if self.bias is None else out + self.bias
