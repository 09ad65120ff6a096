"""Losses of IBAN, Sec. III-B, steps 3 and 5."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vvi.losses import same_identity
from vvi.methods.iban.config import MapReduction, Metric, Reduction, Sample
from vvi.runtime.fields import check_choice


def reconstruction_loss(
    vis: Tensor,
    ir: Tensor,
    from_vis: Tensor,
    from_ir: Tensor,
    reduction: MapReduction = "mse",
) -> Tensor:
    """Compare anaglyph maps with their prediction from the other modality: Eq. (5).

    No gradient flows through the targets.

    Paper: "the gradients of the original features" are detached. That this means the
    targets alone is a reading, and that of the released code. With the sources detached
    too, only R would learn.

    Paper: a frame is compared with one of the same identity. Row n of `vis` is paired
    with row n of `ir`, as in the released code: one identity, another pose and moment.

    Args:
        vis: visible maps of one level, (BT, ...), the target of `from_ir`.
        ir: infrared maps, the target of `from_vis`.
        from_vis: R(vis), the prediction of `ir`.
        from_ir: R(ir), the prediction of `vis`.
        reduction: "mse" for mean squares, as in the released code. Paper: prints a sum
            of norms, "l2_sum", which would outweigh all other losses a thousandfold at
            full size.

    Returns:
        A scalar.

    Raises:
        ValueError: there is no such reduction.
    """
    check_choice("reduction", reduction, MapReduction)
    errors = [from_vis - ir.detach(), from_ir - vis.detach()]
    if reduction == "mse":
        return sum(error.float().square().mean() for error in errors)
    return sum(error.float().flatten(1).norm(dim=1).sum() for error in errors)


def easy_samples(
    vis: Tensor,
    ir: Tensor,
    same: Tensor | None = None,
    metric: Metric = "cosine",
    sample: Sample = "easy",
) -> tuple[Tensor, Tensor]:
    """Find each clip's nearest clip of the other modality: Eqs. (13) and (14).

    Paper: prints argmax, which is an index. The easy sample is the clip at that index.

    Args:
        vis: visible features (B, D).
        ir: infrared features (B, D).
        same: (B, B), which pairs may be chosen. All by default.
        metric: of which distance.
        sample: "hard" finds the farthest clip, which Fig. 6 argues against.

    Returns:
        Infrared samples of the visible clips, Eq. (14), and visible samples of the
        infrared clips, Eq. (13), (B, D) each and without gradient.

    Raises:
        ValueError: there is no such metric or sample.
    """
    check_choice("metric", metric, Metric)
    check_choice("sample", sample, Sample)
    vis, ir = vis.detach(), ir.detach()
    if metric == "cosine":
        dist = -F.cosine_similarity(vis[:, None], ir, 2)  # (B, B)
    else:
        dist = (vis[:, None] - ir).square().sum(2)
    if sample == "hard":
        dist = -dist
    if same is not None:
        dist = dist.masked_fill(~same, torch.inf)
    return ir[dist.argmin(1)], vis[dist.argmin(0)]


def easy_sample_loss(
    vis: Tensor,
    ir: Tensor,
    ids: Tensor,
    same_id: bool = False,
    metric: Metric = "cosine",
    reduction: Reduction = "sum",
    sample: Sample = "easy",
) -> Tensor:
    """Pull all clips of a modality to each easy sample in it: Eq. (12).

    Paper: sums the terms, after the neck, which fixes the variance of a batch. For
    random features the loss then starts at 38 times the identity loss (8 clips a
    modality, 500 identities), 58 with the printed weight of 1.5. It is least where each
    modality is one point, far from the other, so that no identity is learned. `Config`
    takes the mean. The released code sums before the neck, where vectors can shrink.

    Args:
        vis: visible features (B, D).
        ir: infrared features (B, D).
        ids: identities (B,) of both.
        same_id: seek the sample among clips of the same identity only. It still pulls
            clips of every identity.
        metric: distance by which it is the nearest.
        reduction: sum or mean of the 2 B^2 mean squared errors.
        sample: "hard" for the loss that Fig. 6 argues against.

    Returns:
        A scalar.

    Raises:
        ValueError: shapes do not fit, or there is no such metric, reduction or sample.
    """
    check_choice("reduction", reduction, Reduction)
    if vis.shape != ir.shape:
        shapes = f"{tuple(vis.shape)} and {tuple(ir.shape)}"
        raise ValueError(f"features of both modalities must be (B, D), got {shapes}")
    vis, ir = vis.float(), ir.float()
    same = same_identity(vis, ids, 1)
    allowed = same if same_id else None
    easy_of_vis, easy_of_ir = easy_samples(vis, ir, allowed, metric, sample)
    vis_errors = (vis[:, None] - easy_of_ir).square().mean(2)  # (B, B): clip, sample
    ir_errors = (ir[:, None] - easy_of_vis).square().mean(2)
    errors = torch.stack((vis_errors, ir_errors))
    return errors.sum() if reduction == "sum" else errors.mean()
