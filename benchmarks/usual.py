"""The losses as released code of the field writes them: a Python loop over anchors that
asks the device for values as it goes. What `step.py` compares with; no script.

Only where released code loops: the batch-hard triplet and IBAN's easy sample. The
weighted triplet is vectorised in released code too, and for the losses of CMFT there is
none.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor

from vvi import methods


def batch_hard_triplet(feat: Tensor, ids: Tensor, margin: float = 0.3) -> Tensor:
    """The same number as `vvi.losses.batch_hard_triplet`: (N, D), (N,) -> scalar."""
    return hard_hinge(
        feat,
        ids.expand(len(ids), len(ids)).eq(ids.expand(len(ids), len(ids)).t()),
        margin,
    )


def hard_hinge(feat: Tensor, same: Tensor, margin: float) -> Tensor:
    """The same number as `vvi.losses.hard_hinge`: (N, D), (N, N) -> scalar."""
    n = feat.size(0)
    dist = torch.pow(feat, 2).sum(dim=1, keepdim=True).expand(n, n)
    dist = dist + dist.t() - 2 * torch.matmul(feat, feat.t())
    dist = dist.clamp(min=1e-12).sqrt()
    far, near = [], []
    for i in range(n):
        far.append(dist[i][same[i]].max().unsqueeze(0))
        near.append(dist[i][same[i] == 0].min().unsqueeze(0))
    far, near = torch.cat(far), torch.cat(near)
    return F.margin_ranking_loss(near, far, torch.ones_like(near), margin=margin)


def easy_sample_loss(
    vis: Tensor,
    ir: Tensor,
    ids: Tensor,
    same_id: bool = False,
    metric: str = "cosine",
    reduction: str = "sum",
) -> Tensor:
    """The same number as `vvi.methods.iban.easy_sample_loss`: (B, D) twice, (B,) ->
    scalar.
    """
    terms = []
    for mine, other in ((vis, ir), (ir, vis)):
        for j in range(len(mine)):
            best, chosen = None, None
            for k in range(len(other)):
                if same_id and ids[j] != ids[k]:
                    continue
                apart = (
                    -F.cosine_similarity(mine[j], other[k], 0)
                    if metric == "cosine"
                    else (mine[j] - other[k]).pow(2).sum()
                )
                if best is None or apart < best:
                    best, chosen = apart, other[k].detach()
            terms += [F.mse_loss(row, chosen) for row in other]
    total = sum(terms)
    return total if reduction == "sum" else total / len(terms)


LOOPS = (batch_hard_triplet, hard_hinge, easy_sample_loss)


def users() -> Iterator[tuple[ModuleType, str]]:
    """Yield the modules of methods that call a loss of `LOOPS`, and its name."""
    for name in methods.names():
        methods.module(name)
    for name, module in list(sys.modules.items()):
        if name.startswith("vvi.methods."):
            for loss in LOOPS:
                if hasattr(module, loss.__name__):
                    yield module, loss.__name__


def adopt() -> None:
    """Put the loops in place of the package's losses, for the rest of this process."""
    loops = {loss.__name__: loss for loss in LOOPS}
    for module, name in users():
        setattr(module, name, loops[name])
