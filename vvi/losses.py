"""Losses that two or more methods share; what belongs to one paper lives in its module."""

from __future__ import annotations

import torch
from torch import Tensor


def distances(a: Tensor, b: Tensor) -> Tensor:
    """Euclidean distances between rows: (N, D), (M, D) -> (N, M), with a floor of 1e-6 that keeps the gradient of the root finite."""
    squared = a.square().sum(1, keepdim=True) + b.square().sum(1) - 2 * a @ b.T
    return squared.clamp_min(1e-12).sqrt()


def batch_hard_triplet(feat: Tensor, ids: Tensor, margin: float = 0.3) -> Tensor:
    """Mean over anchors of [farthest positive - nearest negative + margin]_+, Euclidean: feat (N, D), ids (N,) -> scalar.

    Positives and negatives come from the whole batch, whatever the modality; the anchor is a legal positive. MITML, Sec. 4 (margin from the released code).
    ValueError (on a CPU) when the batch holds one identity only.
    """
    same = ids[:, None] == ids[None, :]
    if feat.device.type == "cpu" and bool(same.all()):  # on a GPU the question would make the host wait; the sampler already draws two identities or more
        raise ValueError(f"a triplet needs two identities in the batch, got only identity {int(ids[0])}")
    dist = distances(feat, feat)
    far = dist.masked_fill(~same, -torch.inf).amax(1)
    near = dist.masked_fill(same, torch.inf).amin(1)
    return (far - near + margin).relu().mean()
