"""Losses that two or more methods share; what belongs to one paper lives in its module."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances between rows: (N, D), (M, D) -> (N, M), with a floor of 1e-6 that keeps the gradient of the root finite."""
    with torch.autocast(
        a.device.type, enabled=False
    ):  # the difference of large numbers: in half precision it would be off by more than distances differ
        a, b = a.float(), b.float()
        squared = a.square().sum(1, keepdim=True) + b.square().sum(1) - 2 * a @ b.T
        return squared.clamp_min(1e-12).sqrt()


def same_identity(feat: Tensor, ids: Tensor, identities: int = 2) -> Tensor:
    """Whether two rows are of one identity: feat (N, D), ids (N,) -> (N, N) bool. ValueError on other shapes and (on a CPU) on a batch of fewer than one or two `identities`."""
    if feat.ndim != 2 or ids.shape != feat.shape[:1] or not len(ids):
        raise ValueError(
            f"features must be (N, D) and identities (N,), N at least 1, got {tuple(feat.shape)} and {tuple(ids.shape)}"
        )
    same = ids[:, None] == ids[None, :]
    if (
        identities > 1 and feat.device.type == "cpu" and bool(same.all())
    ):  # on a GPU the question would make the host wait; the sampler already draws two or more
        raise ValueError(
            f"a triplet needs two identities in the batch, got only identity {int(ids[0])}"
        )
    return same


def batch_hard_triplet(feat: Tensor, ids: Tensor, margin: float = 0.3) -> Tensor:
    """Mean over anchors of [farthest positive - nearest negative + margin]_+, Euclidean: feat (N, D), ids (N,) -> scalar.

    Positives and negatives come from the whole batch, whatever the modality; the anchor is a legal positive. MITML, Sec. 4 (margin from the released code).
    ValueError (on a CPU) when the batch holds one identity only.
    """
    return hard_hinge(feat, same_identity(feat, ids), margin)


def hard_hinge(feat: Tensor, same: Tensor, margin: float) -> Tensor:
    """What `batch_hard_triplet` computes once it is known which rows are of one identity: feat (N, D), same (N, N) bool -> scalar."""
    dist = distances(feat, feat)
    far = dist.masked_fill(~same, -torch.inf).amax(1)
    near = dist.masked_fill(same, torch.inf).amin(1)
    return (far - near + margin).relu().mean()


def weighted_distances(
    feat: Tensor, ids: Tensor, own: bool = False
) -> tuple[Tensor, Tensor]:
    """What the weighted triplet compares for each anchor: feat (N, D), ids (N,) -> mean distance to its positives, far ones weighing most, and to its negatives, near ones weighing
    most, (N,) each. DI2L, Eq. (6), w^p and w^n.

    own: whether an anchor is one of its own positives. The distances are those of the differences, in float32 whatever the precision of training.
    ValueError (on a CPU) when an anchor has no positive or no negative.
    """
    same = same_identity(feat, ids)
    right = (
        same
        if own
        else same & ~torch.eye(len(ids), dtype=torch.bool, device=ids.device)
    )
    if feat.device.type == "cpu" and not bool(
        right.any(1).all()
    ):  # on a GPU the question would make the host wait
        raise ValueError(
            f"a weighted triplet needs two clips of each identity, identity {int(ids[~right.any(1)][0])} has one"
        )
    dist = torch.cdist(
        feat.float(), feat.float(), compute_mode="donot_use_mm_for_euclid_dist"
    )
    far = (dist.masked_fill(~right, -torch.inf).softmax(1) * dist).sum(1)
    near = (dist.neg().masked_fill(same, -torch.inf).softmax(1) * dist).sum(1)
    return far, near


def weighted_triplet(
    feat: Tensor, ids: Tensor, squared: bool = False, own: bool = False
) -> Tensor:
    """Mean over anchors of log(1 + exp(phi(far - near))), far and near as in `weighted_distances`: feat (N, D), ids (N,) -> scalar.

    phi(x) = x is the weighted regularised triplet of AGW, which CMFT compares with (own=True); squared: phi(x) = sgn(x) x^2 of CAJ, Eq. (6) of DI2L. No margin; gradient flows
    through the weights. With `squared` the gradient vanishes where far = near, so a network whose features are all equal stays where it is, at a loss of ln 2.
    """
    far, near = weighted_distances(feat, ids, own)
    gap = far - near
    return F.softplus(gap * gap.abs() if squared else gap).mean()
