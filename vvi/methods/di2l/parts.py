"""Modules of DI2L, in the order of the network: non-local blocks, pooling, DPA."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vvi.methods.di2l.config import Scale
from vvi.runtime.fields import check_choice

#: Non-local blocks in layer2 and in layer3, behind the last bottlenecks of each.
BLOCKS = {"off": (0, 0), "paper": (1, 1), "released": (2, 3)}


class NonLocal(nn.Module):
    """Attention among all positions of a map: Eqs. (2) and (3).

    The norm starts at zero, so a new block is the identity.

    Paper: has no batch norm. It and its zero start are those of the released blocks.
    No inner width is given, C / 2 is ours.

    Args:
        channels: width C of the maps.
        narrow: the released block, of inner width one and with a mean over positions
            for the softmax: one scalar of the position times one of the image.
    """

    def __init__(self, channels: int, narrow: bool = False):
        super().__init__()
        inner = 1 if narrow else channels // 2
        self.narrow = narrow
        # 1x1 convolutions as linear maps
        self.u = nn.Linear(channels, inner)
        self.v = nn.Linear(channels, inner)
        self.g = nn.Linear(channels, inner)
        self.out = nn.Linear(inner, channels)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, maps: Tensor) -> Tensor:
        """Add to each position what it attends to: (N, C, h, w) -> (N, C, h, w)."""
        tokens = maps.flatten(2).mT  # (N, hw, C)
        query, key, value = self.u(tokens), self.v(tokens), self.g(tokens)
        if self.narrow:
            mixed = query * (key * value).mean(1, keepdim=True)
        else:
            mixed = F.scaled_dot_product_attention(
                query[:, None], key[:, None], value[:, None], scale=1.0
            )[:, 0]
        return maps + self.norm(self.out(mixed).mT.unflatten(2, maps.shape[-2:]))


def generalised_mean(maps: Tensor) -> Tensor:
    """Take the generalised mean (GeM) over positions: (N, C, h, w) -> (N, C).

    The cubic mean, in float32. Maps must not be negative.

    Paper: silent on pooling. This is GeM as in AGW and CAJ, whose exponent stays at 3.
    """
    return (maps.float().pow(3).mean((-2, -1)) + 1e-12).pow(1 / 3)


def stripes(parts: int, height: int) -> list[tuple[int, int]]:
    """Return the rows (from, to) of each part of a map, from the head down.

    Paper: parts that do not overlap. So they are where p divides the height, as 3 does
    18 at the size of the paper. Elsewhere neighbours share a row: of the four rows of
    the small trunk each of three parts has two.
    """
    rows = []
    for part in range(parts):
        start = part * height // parts
        stop = -(-(part + 1) * height // parts)  # rounded up
        rows.append((start, stop))
    return rows


class PartAttention(nn.Module):
    """Attention among parts, DPA: Eq. (4).

    Paper: prints no sum over parts and does not say how they are "aggregated". Here as
    in DDAG, by a learned mean, added to the global feature, with a norm of its own. The
    width of u, v and z is not given: full, as in DDAG.

    Args:
        dim: width C of the features.
        parts: p.
        residual: whether the global feature is added.
        learned: whether the weights of the mean are learned, else they are equal.
        scale: of the scores: "none", divided by the root of their width ("sqrt"), or
            those of unit vectors ("unit"), from -1 to 1: then each part keeps a share
            of 1 / (1 + (p - 1) e^2) at least.

    Raises:
        ValueError: there is no such scale.
    """

    def __init__(
        self,
        dim: int,
        parts: int,
        residual: bool = True,
        learned: bool = True,
        scale: Scale = "none",
    ):
        super().__init__()
        check_choice("scale", scale, Scale)
        self.residual, self.scale = residual, scale
        self.u = nn.Linear(dim, dim)
        self.v = nn.Linear(dim, dim)
        self.z = nn.Linear(dim, dim)
        self.gate = nn.Parameter(torch.full((parts,), 1 / parts), requires_grad=learned)
        self.norm = nn.BatchNorm1d(dim)
        self.norm.bias.requires_grad_(False)
        nn.init.normal_(self.norm.weight, 1.0, 0.01)

    def attention(self, parts: Tensor) -> Tensor:
        """Compute how much each part takes from each.

        Parts (B, p, C) -> (B, p, p), whose rows sum to one.
        """
        query, key = self.u(parts), self.v(parts)
        if self.scale == "unit":
            query, key = F.normalize(query, dim=-1), F.normalize(key, dim=-1)
        factor = query.shape[-1] ** -0.5 if self.scale == "sqrt" else 1.0
        return (factor * query @ key.mT).softmax(-1)

    def forward(self, parts: Tensor, normed: Tensor) -> Tensor:
        """Refine parts by one another and add their mean to the global feature.

        Parts (B, p, C) and the global feature after its neck (B, C) -> (B, C).
        """
        # tensors on `meta` have no autocast
        device = "cpu" if parts.is_meta else parts.device.type
        # scores are sums over all channels, which only some scales divide: half
        # precision would round them by whole units
        with torch.autocast(device, enabled=False):
            parts = parts.float()
            refined = self.attention(parts) @ self.z(parts)  # (B, p, C)
            weights = self.gate.softmax(0)[:, None]
            mean = (weights * refined).sum(1)
            residual = normed.float() * self.residual
            return self.norm(mean + residual)
