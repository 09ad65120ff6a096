"""The batch-norm neck.

It stands between the feature that the triplet compares and the feature that the
classifier and the search read.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Neck(nn.Module):
    """BatchNorm with a frozen zero bias, then a linear classifier without bias.

    BNNeck of Luo et al. (2019), with initial values of the released code of MITML.

    Paper: MITML does not mention it, its released code has it. IBAN prints the batch
    norm, Eq. (10).

    Args:
        dim: width D of the feature.
        num_ids: classes C.
    """

    def __init__(self, dim: int, num_ids: int):
        super().__init__()
        self.norm = nn.BatchNorm1d(dim)
        self.norm.bias.requires_grad_(False)
        self.classifier = nn.Linear(dim, num_ids, bias=False)
        nn.init.normal_(self.norm.weight, 1.0, 0.01)
        nn.init.normal_(self.classifier.weight, std=0.001)

    def forward(self, feat: Tensor) -> tuple[Tensor, Tensor]:
        """Return normalised features (N, D) and logits (N, C) of features (N, D)."""
        normed = self.norm(feat)
        return normed, self.classifier(normed)

    def embed(self, feat: Tensor) -> Tensor:
        """Return what a search compares: (N, D) -> (N, D) of unit norm."""
        return F.normalize(self.norm(feat).float(), dim=1)
