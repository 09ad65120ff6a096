"""The identity loss of DI2L.

Its triplet, Eq. (6), is `vvi.losses.weighted_triplet`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def focal_loss(logits: Tensor, labels: Tensor, gamma: float = 2.0) -> Tensor:
    """Average -(1 - p)^gamma log p, p the probability of the true class: Eq. (5).

    Cross-entropy at gamma = 0.

    Paper: sums over all identities and prints gamma <= 0. Only the true class and
    gamma >= 0 make it the focal loss that it cites.

    Args:
        logits: (N, C).
        labels: classes (N,).
        gamma: focusing parameter. The larger it is, the less clips weigh that the
            classifier is sure of.

    Returns:
        A scalar.

    Raises:
        ValueError: gamma is negative or NaN, or shapes do not fit.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        shapes = f"{tuple(logits.shape)} and {tuple(labels.shape)}"
        raise ValueError(f"logits must be (N, K) and labels (N,), got {shapes}")
    if not gamma >= 0:
        raise ValueError(
            f"gamma={gamma}: it must not be negative (the paper prints gamma <= 0, "
            "which would raise the weight of easy clips)"
        )
    log_p = F.log_softmax(logits.float(), 1).gather(1, labels[:, None])
    # 1 - p, with a floor that keeps the gradient finite at p = 1 for gamma below 1
    miss = (-torch.expm1(log_p)).clamp_min(1e-12)
    return -(miss.pow(gamma) * log_p).mean()
