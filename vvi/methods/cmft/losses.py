"""Losses of CMFT, in the order of the paper: stage 1, then MSRL and MDL of stage 2."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vvi.losses import (
    batch_hard_triplet,
    check_features,
    diagonal,
    exact_distances,
    hard_hinge,
    hinges,
    same_identity,
    weighted_triplet,
)
from vvi.methods.cmft.config import Cross, Metric, Negatives
from vvi.runtime.fields import check_choice


def cross_modal_loss(
    vis: Tensor,
    ir: Tensor,
    fused: Tensor | None,
    ids: Tensor,
    margin: float = 0.1,
    mode: Cross = "cross",
) -> Tensor:
    """Compute the triplets of stage 1: Eqs. (7) to (10).

    Paper: Eqs. (7) to (9) print a sum over anchors and no hinge, and Eq. (9) has its
    maximum over y_k. D is "a distance metric" of Z: here Euclidean, of features before
    the neck. The loss "CMT" cannot be identified from its citation, "cmt" is our
    reading.

    Args:
        vis: features of visible clips before the neck (N, D).
        ir: features of infrared clips before the neck (N, D).
        fused: features of their fusion before the neck (N, D'), or None where there are
            none.
        ids: identities (N,).
        margin: of the hinge.
        mode: "cross" is the paper's, a batch-hard triplet inside each of the three
            spaces. The others replace the two of the streams by what Table 4 compares:
            "wrt" by the weighted triplet, "hct" by a triplet between centres, "cmt" by
            a triplet across modalities.

    Returns:
        A scalar.

    Raises:
        ValueError: no such mode, other shapes, or (on a CPU) one identity only.
    """
    check_choice("mode", mode, Cross)
    for feat in (vis, ir) if fused is None else (vis, ir, fused):
        check_features(feat, ids)
    same = same_identity(vis, ids)
    if mode == "cross":
        loss = hard_hinge(vis, same, margin) + hard_hinge(ir, same, margin)
    elif mode == "wrt":
        loss = weighted_triplet(torch.cat((vis, ir)), ids.repeat(2), own=True)
    elif mode == "hct":
        centres = torch.cat((_centres(vis, ids), _centres(ir, ids)))
        loss = batch_hard_triplet(centres, ids.repeat(2), margin)
    else:
        loss = _triplet_across(vis, ir, same, margin)
    return loss if fused is None else loss + hard_hinge(fused, same, margin)


def _triplet_across(vis: Tensor, ir: Tensor, same: Tensor, margin: float) -> Tensor:
    """Average the hinges of anchors in one modality and others in the other.

    Args:
        vis: features of visible clips (N, D).
        ir: features of infrared clips (N, D).
        same: whether two pairs are of one identity, (N, N) bool.
        margin: of the hinge.

    Returns:
        A scalar.
    """
    dist = exact_distances(vis, ir)
    vis_anchors = hinges(dist, same, margin)
    ir_anchors = hinges(dist, same, margin, anchors=1)
    return torch.cat((ir_anchors, vis_anchors)).mean()


def refinement_loss(
    vis: Tensor,
    ir: Tensor,
    fused: Tensor | None,
    ids: Tensor,
    metric: Metric = "euclidean",
) -> Tensor:
    """Compute MSRL: Eqs. (11) to (14).

    The mean distance of a clip to the others of its identity shall be the same in its
    stream as in the fused space.

    Paper: Eqs. (11) to (13) lack the condition of one identity and divide K - 1 terms
    by K. Eq. (14) leaves the outer distance open, here a squared difference, and its
    double sum is the mean over N here. D is Euclidean, of features before the neck.

    Args:
        vis: features of visible clips before the neck (N, D).
        ir: features of infrared clips before the neck (N, D).
        fused: features of their fusion before the neck (N, D'), which "pmt" does not
            need.
        ids: identities (N,).
        metric: "cosine" has distances 1 - cos, meant for features after the neck. "pmt"
            is the loss of PMT (AAAI 2023) that this one was made from, which compares
            with the distance to the other modality.

    Returns:
        A scalar.

    Raises:
        ValueError: no such metric, other shapes, no fused features where they are
            needed, or (on a CPU) an identity with one pair only.
    """
    check_choice("metric", metric, Metric)
    if fused is None and metric != "pmt":
        raise ValueError(f"metric={metric!r} needs fused features, got None")
    for feat in (vis, ir) if fused is None else (vis, ir, fused):
        check_features(feat, ids)
    require_two_pairs(ids)
    same = same_identity(vis, ids, 1)
    others = same & ~diagonal(ids)
    dist = _cosine_distances if metric == "cosine" else exact_distances
    own_vis, own_ir = _mean(dist(vis, vis), others), _mean(dist(ir, ir), others)
    if metric == "pmt":
        target_vis, target_ir = _mean(dist(vis, ir), same), _mean(dist(ir, vis), same)
    else:
        target_vis = target_ir = _mean(dist(fused, fused), others)
    vis_term = (own_vis - target_vis).square().mean()
    ir_term = (own_ir - target_ir).square().mean()
    return (vis_term + ir_term) / 2


def discriminative_loss(
    vis: Tensor, ir: Tensor, ids: Tensor, negatives: Negatives = "dyn"
) -> Tensor:
    """Compute MDL: Eqs. (15) to (17).

    The distance of clips to the centre of their identity, over both modalities,
    relative to the distance of clips of others. Gradient flows through centres and
    distances. Where all features are equal both distances are zero and the loss is NaN,
    which ends a run.

    Paper: Eq. (15) divides by 2N, here a centre is the mean of its identity. Eq. (16)
    prints (P - 1) outside the fraction, and the condition of Eq. (17) is garbled. The
    loss it was taken from compares with "<", which can leave no negative. Distances
    are of features before the neck.

    Args:
        vis: features of visible clips before the neck (N, D).
        ir: features of infrared clips before the neck (N, D).
        ids: identities (N,).
        negatives: those not farther from a centre than they are on average ("dyn"),
            "all" of them, or the closest one alone ("hard").

    Returns:
        A scalar.

    Raises:
        ValueError: no such negatives, other shapes, or (on a CPU) one identity only.
    """
    check_choice("negatives", negatives, Negatives)
    for feat in (vis, ir):
        check_features(feat, ids)
    ids, feat = ids.repeat(2), torch.cat((vis, ir))
    same = same_identity(feat, ids)
    # row j: from the centre of identity y_j to everything
    dist = exact_distances(_centres(feat, ids), feat)
    chosen = _chosen_negatives(dist.detach(), same, negatives)
    weight = 1 / same.sum(1)  # each identity counts once
    near = (_mean(dist, same) * weight).sum()
    far = (_mean(dist, chosen) * weight).sum()
    return near / far


def _chosen_negatives(dist: Tensor, same: Tensor, negatives: Negatives) -> Tensor:
    """Choose the negatives of each row: Eqs. (16) and (17).

    Args:
        dist: distances from centres to features (N, N).
        same: whether row and column are of one identity, (N, N) bool.
        negatives: "all", "hard" or "dyn", as in `discriminative_loss`.

    Returns:
        Which columns count, (N, N) bool.
    """
    other = ~same
    if negatives == "all":
        return other
    limit = dist.masked_fill(same, torch.inf).amin(1, keepdim=True)
    if negatives == "dyn":
        # equal distances may round above their mean
        limit = torch.maximum(limit, _mean(dist, other)[:, None])
    return other & (dist <= limit)


def require_two_pairs(ids: Tensor) -> None:
    """Raise ValueError if (on a CPU) an identity has one pair only.

    MSRL compares distances inside an identity.
    """
    if ids.device.type != "cpu":  # the check would force a device sync
        return
    pairs = (ids[:, None] == ids).sum(1)
    if bool((pairs < 2).any()):
        raise ValueError(
            "MSRL needs two clips of each identity and modality in a batch: "
            "set tracklets=2 or more in the recipe, or msrl=None"
        )


def _cosine_distances(a: Tensor, b: Tensor) -> Tensor:
    return 1 - F.normalize(a, dim=1) @ F.normalize(b, dim=1).T


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Average each row over the columns of a mask: (N, M) -> (N,)."""
    return (values * mask).sum(1) / mask.sum(1)


def _centres(feat: Tensor, ids: Tensor) -> Tensor:
    """Return for each row the mean of all rows of its identity: Eq. (15).

    (N, D) -> (N, D).
    """
    same = (ids[:, None] == ids).to(feat)
    return same @ feat / same.sum(1, keepdim=True)
