"""Losses that two or more methods share.

A loss of one paper stands in the package of its method.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Compute Euclidean distances between rows: (N, D), (M, D) -> (N, M).

    A floor of 1e-6 keeps the gradient of the root finite.
    """
    # a difference of large numbers: the error of half precision would exceed it
    with torch.autocast(a.device.type, enabled=False):
        a, b = a.float(), b.float()
        squared = a.square().sum(1, keepdim=True) + b.square().sum(1) - 2 * a @ b.T
        return squared.clamp_min(1e-12).sqrt()


def exact_distances(a: Tensor, b: Tensor) -> Tensor:
    """Compute the norms of differences of rows, in float32: (N, D), (M, D) -> (N, M).

    Slower than `distances`, and equal rows are at a distance of exactly zero.
    """
    mode = "donot_use_mm_for_euclid_dist"
    return torch.cdist(a.float(), b.float(), compute_mode=mode)


def check_features(feat: Tensor, ids: Tensor) -> None:
    """Check that features are (N, D) and identities (N,), N >= 1, of torch.

    Raises:
        ValueError: they are not.
    """
    for value in (feat, ids):
        if not torch.is_tensor(value):
            raise ValueError(
                "features and identities must be tensors of torch, got "
                f"{type(value).__name__}: torch.as_tensor makes one"
            )
    if feat.ndim != 2 or ids.shape != feat.shape[:1] or not len(ids):
        shapes = f"{tuple(feat.shape)} and {tuple(ids.shape)}"
        raise ValueError(
            f"features must be (N, D) and identities (N,), N >= 1, got {shapes}"
        )


def same_identity(feat: Tensor, ids: Tensor, identities: int = 2) -> Tensor:
    """Compare the identities of all pairs of rows.

    Args:
        feat: features (N, D), of which only shape and device are read.
        ids: identities (N,).
        identities: how many different ones the caller needs, 1 or 2.

    Returns:
        Whether two rows are of one identity, (N, N) bool.

    Raises:
        ValueError: other shapes, or (on a CPU) fewer identities.
    """
    check_features(feat, ids)
    same = ids[:, None] == ids[None, :]
    # skipped on a GPU: the check would force a device sync, and the sampler draws two
    on_cpu = feat.device.type == "cpu"
    if identities > 1 and on_cpu and bool(same.all()):
        raise ValueError(
            "a triplet needs two identities in the batch, "
            f"got only identity {int(ids[0])}"
        )
    return same


def hinges(dist: Tensor, same: Tensor, margin: float, anchors: int = 0) -> Tensor:
    """Compute the batch-hard hinge of each anchor.

    Args:
        dist: distances (N, M).
        same: whether row and column are of one identity, (N, M) bool.
        margin: by how much the nearest negative must be farther.
        anchors: 0 if the rows are the anchors, 1 if the columns are.

    Returns:
        [farthest positive - nearest negative + margin]_+ of each anchor, (N,) or (M,).
    """
    dim = 1 - anchors
    far = dist.masked_fill(~same, -torch.inf).amax(dim)
    near = dist.masked_fill(same, torch.inf).amin(dim)
    return (far - near + margin).relu()


def hard_hinge(feat: Tensor, same: Tensor, margin: float) -> Tensor:
    """Compute `batch_hard_triplet` from a mask of equal identities.

    Args:
        feat: features (N, D).
        same: whether two rows are of one identity, (N, N) bool.
        margin: of the hinge.

    Returns:
        The mean over anchors, a scalar.
    """
    return hinges(distances(feat, feat), same, margin).mean()


def batch_hard_triplet(feat: Tensor, ids: Tensor, margin: float = 0.3) -> Tensor:
    """Average [farthest positive - nearest negative + margin]_+ over all anchors.

    Positives and negatives come from the whole batch, whatever the modality, and an
    anchor counts as one of its own positives. MITML, Sec. 4 (margin from the released
    code). IBAN, Eq. (11). SADSTRM, Eq. (10), which prints squared distances.

    Args:
        feat: features (N, D), compared by Euclidean distance.
        ids: identities (N,).
        margin: of the hinge.

    Returns:
        A scalar.

    Raises:
        ValueError: other shapes, or (on a CPU) one identity only.
    """
    return hard_hinge(feat, same_identity(feat, ids), margin)


def undecided_loss(vis: Tensor, ir: Tensor) -> Tensor:
    """Measure how far classifiers are from finding all classes equally likely.

    The least value is 2 log C. Under autocast on a CPU log_softmax is computed in
    bfloat16, unlike cross-entropy, and rounds that value. SADSTRM, Eq. (3), and UCDA in
    Fig. 5a of MITML.

    Args:
        vis: logits of visible clips (B, C).
        ir: logits of infrared clips (B, C).

    Returns:
        A scalar, the sum of the means over the clips of each modality.
    """
    return -(F.log_softmax(vis, 1).mean() + F.log_softmax(ir, 1).mean())


def weighted_distances(
    feat: Tensor, ids: Tensor, own: bool = False
) -> tuple[Tensor, Tensor]:
    """Compute weighted mean distances to positives and negatives: DI2L, Eq. (6).

    Distances are norms of differences, in float32 whatever the precision of training.

    Args:
        feat: features (N, D).
        ids: identities (N,).
        own: whether an anchor is one of its own positives.

    Returns:
        For each anchor, (N,) each: the mean distance to its positives, in which far
        ones weigh most, and to its negatives, in which near ones weigh most.

    Raises:
        ValueError: other shapes, or (on a CPU) an anchor has no positive or no
            negative.
    """
    same = same_identity(feat, ids)
    positive = same if own else same & ~diagonal(ids)
    _check_positives(positive, ids)
    dist = exact_distances(feat, feat)
    far = (dist.masked_fill(~positive, -torch.inf).softmax(1) * dist).sum(1)
    near = (dist.neg().masked_fill(same, -torch.inf).softmax(1) * dist).sum(1)
    return far, near


def weighted_triplet(
    feat: Tensor, ids: Tensor, squared: bool = False, own: bool = False
) -> Tensor:
    """Average log(1 + exp(phi(far - near))) over anchors.

    `far` and `near` are those of `weighted_distances`. There is no margin, and gradient
    flows through the weights. With `squared` the gradient vanishes where far = near, so
    a network whose features are all equal stays as it is, at a loss of ln 2.

    Args:
        feat: features (N, D).
        ids: identities (N,).
        squared: phi(x) = sgn(x) x^2 of CAJ, Eq. (6) of DI2L. Otherwise phi(x) = x, the
            weighted regularised triplet of AGW.
        own: whether an anchor is one of its own positives, as where CMFT compares with
            AGW.

    Returns:
        A scalar.

    Raises:
        ValueError: other shapes, or (on a CPU) an anchor has no positive or no
            negative.
    """
    return soft_margin(*weighted_distances(feat, ids, own), squared)


def soft_margin(far: Tensor, near: Tensor, squared: bool = False) -> Tensor:
    """Average log(1 + exp(phi(far - near))) over anchors: DI2L, Eq. (6).

    Args:
        far: distance of each anchor to its positives (N,).
        near: distance of each anchor to its negatives (N,).
        squared: as in `weighted_triplet`.

    Returns:
        A scalar.
    """
    gap = far - near
    return F.softplus(gap * gap.abs() if squared else gap).mean()


def diagonal(ids: Tensor) -> Tensor:
    """Mark the pairs of a row with itself: (N,) -> (N, N) bool."""
    return torch.eye(len(ids), dtype=torch.bool, device=ids.device)


def _check_positives(positive: Tensor, ids: Tensor) -> None:
    """Raise ValueError if (on a CPU) an anchor has no positive, (N, N) bool."""
    if positive.device.type != "cpu":  # the check would force a device sync
        return
    alone = ~positive.any(1)
    if bool(alone.any()):
        raise ValueError(
            "a weighted triplet needs two clips of each identity, "
            f"identity {int(ids[alone][0])} has one"
        )
