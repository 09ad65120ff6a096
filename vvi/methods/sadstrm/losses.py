"""Losses of SADSTRM, which has its triplet from `vvi.losses` by default."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from vvi.losses import exact_distances, hinges, same_identity, undecided_loss


def attack_loss(vis: Tensor, ir: Tensor) -> Tensor:
    """Measure how decided the defender's classifier is about attacked clips: Eq. (3).

    Logits (B, C) of both modalities -> scalar, least where all classes are equally
    likely.

    Paper: the classifier W_def is pre-trained. Here it learns in Step I of the run.
    """
    return undecided_loss(vis, ir)


def two_modality_ce(vis: Tensor, ir: Tensor, ids: Tensor) -> Tensor:
    """Add the identity losses of both modalities: Eqs. (5), (9) and (16).

    Args:
        vis: logits (B, C) of visible clips.
        ir: logits (B, C) of infrared clips.
        ids: classes (B,).

    Returns:
        A scalar, the sum of two means and so twice the mean over all clips.
    """
    return F.cross_entropy(vis, ids) + F.cross_entropy(ir, ids)


def squared_triplet(feat: Tensor, ids: Tensor, margin: float = 0.3) -> Tensor:
    """Compute the batch-hard triplet of squared distances: Eq. (10) as printed.

    Args:
        feat: features (N, D).
        ids: identities (N,).
        margin: of the hinge.

    Returns:
        The mean over anchors, a scalar.

    Raises:
        ValueError: other shapes, or (on a CPU) one identity only.
    """
    same = same_identity(feat, ids)
    squared = exact_distances(feat, feat).square()
    return hinges(squared, same, margin).mean()
