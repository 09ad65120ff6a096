"""What the released code of AGW and CAJ does otherwise than the paper.

No code was released for DI2L itself. `NonLocal(narrow=True)` is the third of these.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vvi.data.transforms import constant
from vvi.losses import distances, same_identity

#: Weights of R, G and B for each choice of `one_channel_released`.
CHANNELS = ((1, 0, 0), (0, 1, 0), (0, 0, 1), (0.2989, 0.5870, 0.1140))
#: Choice that leaves a clip as it is.
UNCHANGED = 4
#: Squared gaps are cut here, so that the worst anchors get no gradient.
LARGEST_SQUARE = 88


def one_channel_released(clips: Tensor, choice: Tensor) -> Tensor:
    """Show one channel as released, which works on normalised values.

    Args:
        clips: normalised (B, T, 3, H, W).
        choice: 0..2 copies R, G or B, 3 the grey of all, 4 changes nothing, (B,).

    Returns:
        Clips of the same shape.
    """
    weights = constant(CHANNELS, clips.device)[choice.clamp(max=3)]
    mixed = (clips * weights[:, None, :, None, None]).sum(2, keepdim=True)
    unchanged = (choice == UNCHANGED)[:, None, None, None, None]
    return torch.where(unchanged, clips, mixed)


def released_triplet(
    feat: Tensor, ids: Tensor, squared: bool = True
) -> tuple[Tensor, dict[str, Tensor]]:
    """Compute the weighted triplet as released.

    An anchor is its own positive. Weights of negatives are not shifted before the
    exponential, so that far from everybody they sum to less than one. Squares above 88
    are cut, and those anchors get no gradient.

    Args:
        feat: features (N, D).
        ids: identities (N,).
        squared: as in `vvi.losses.weighted_triplet`.

    Returns:
        A scalar, and how far its limits reach: "anchors cut", the share of anchors
        whose square is cut, and "negative weight", the mean sum of the weights of
        negatives.

    Raises:
        ValueError: other shapes, or (on a CPU) one identity only.
    """
    same = same_identity(feat, ids)
    dist = distances(feat, feat)
    farthest = (dist * same).amax(1, keepdim=True)
    # masked before the exponential: that of a far negative would be infinite
    pull = _to_sum_one((dist - farthest).masked_fill(~same, -torch.inf).exp())
    push = _to_sum_one((-dist).exp() * ~same)
    weights = pull - push
    gap = (weights * dist).sum(1)
    square = gap.square()
    limits = {
        "anchors cut": (square > LARGEST_SQUARE).float().mean(),
        "negative weight": push.sum(1).mean(),
    }
    if squared:
        gap = gap.sign() * square.clamp(max=LARGEST_SQUARE)
    return F.softplus(gap).mean(), limits


def _to_sum_one(weights: Tensor) -> Tensor:
    return weights / (weights.sum(1, keepdim=True) + 1e-6)
