"""Losses of adversarial learning in MITML, Sec. 5.2."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vvi.losses import undecided_loss
from vvi.runtime.fields import check_choice

#: What the encoder wants of the modality classifier.
Target = Literal["third", "flip", "uniform"]
#: Classes of the modality classifier, in the order of the released code.
IR, VIS, NEITHER = 0, 1, 2


def confusion_loss(vis: Tensor, ir: Tensor, adversary: Target = "third") -> Tensor:
    """Push the classifier's logits to the target of the encoder: Eq. (4), Fig. 5.

    Paper: Eq. (4) prints the true labels, which would help the classifier. The text,
    Fig. 5c and the released code mean the third class.

    Paper: it does not say how many classes the other strategies have. K = 2 is ours.

    Args:
        vis: logits of visible clips (B, K).
        ir: logits of infrared clips (B, K).
        adversary: "third" (K = 3, Fig. 5c): both are neither. "flip" (K = 2): the
            labels are swapped, cmGAN in Fig. 5b. "uniform" (K = 2): all classes are
            equally likely, UCDA in Fig. 5a (`vvi.losses.undecided_loss`).

    Returns:
        A scalar, the sum of the means over the clips of each modality.

    Raises:
        ValueError: there is no such adversary, or the logits have no third class.
    """
    check_choice("adversary", adversary, Target)
    if adversary == "third" and vis.shape[1] <= NEITHER:
        raise ValueError(
            f"adversary='third' needs logits of K = 3 classes, got K = {vis.shape[1]}"
        )
    if adversary == "third":
        return _class_loss(vis, NEITHER) + _class_loss(ir, NEITHER)
    if adversary == "flip":
        return _class_loss(vis, IR) + _class_loss(ir, VIS)
    return undecided_loss(vis, ir)


def modal_loss(vis: Tensor, ir: Tensor) -> Tensor:
    """Compare the classifier's logits with the true modality: Eq. (6).

    Logits (B, K) of the clips of each modality -> scalar, the sum of the two means.
    """
    return _class_loss(vis, VIS) + _class_loss(ir, IR)


def _class_loss(logits: Tensor, target: int) -> Tensor:
    """Compute the cross-entropy of logits (B, K) with one class for all rows."""
    targets = torch.full((len(logits),), target, device=logits.device)
    return F.cross_entropy(logits, targets)
