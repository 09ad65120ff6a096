"""Layers that know where in a clip a frame stands."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class PerPlace(nn.Module):
    """One linear map for each of T places in a clip, all applied at once, or one for all (places = 1): (B, T, inside) -> (B, T, outside). Initialised as `nn.Linear`."""

    def __init__(self, places: int, inside: int, outside: int, bias: bool = False):
        super().__init__()
        bound = 1 / math.sqrt(inside)
        self.weight = nn.Parameter(
            torch.empty(places, outside, inside).uniform_(-bound, bound)
        )
        self.bias = (
            nn.Parameter(torch.empty(places, outside).uniform_(-bound, bound))
            if bias
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        out = torch.einsum("bti,toi->bto", x, self.weight)
        return out if self.bias is None else out + self.bias
