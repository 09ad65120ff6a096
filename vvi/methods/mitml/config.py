"""Switches of MITML."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vvi.methods.base import (
    AT_LEAST_ONE,
    NOT_NEGATIVE,
    MethodConfig,
)

Adversary = Literal["none", "third", "flip", "uniform"]
Eta = Literal["own", "last"]

#: What a switch that is None means in each variant: (main, paper, released).
READINGS = {
    "eta": ("own", "own", "last"),
    "adv_start": (60, 0, 60),
}
#: Value of `rates` -> parts that learn at the recipe's lower rate.
SLOW = {
    "released": ("trunk", "attention", "memory"),
    "paper": ("trunk.stems",),
    "memory": ("memory",),
}


@dataclass(frozen=True)
class Config(MethodConfig):
    """Switches of MITML, those that are None follow `variant` (see `READINGS`)."""

    #: "paper" is the letter of the paper, "released" the released code, "main" the
    #: paper with the adversarial loss of the encoder as late as in the released code.
    #: The letter has exceptions, which hold in "paper" too: the sum of Eq. (2) is
    #: halved inside the gate (`gate_half_outside`), Eq. (4) has the third class, and
    #: all but neck and classifiers learn at the lower rate (`rates`). Nesterov and the
    #: length of the warm-up are the released code's (`vvi.config.Recipe`).
    variant: Literal["main", "paper", "released"] = "paper"
    #: Temporal memory refinement (TMR), or the mean over frames of the baseline.
    temporal: Literal["mean", "tmr"] = "tmr"
    #: Target of the encoder in adversarial learning (Fig. 5).
    adversary: Adversary = "third"
    #: "both" hides the order of frames in training and in a search.
    shuffle: Literal["none", "both"] = "none"
    #: What drives the gate of frame t: the LSTM's own output h^t, or its last one, h^T.
    eta: Eta | None = None
    #: Eq. (2) as printed, which halves the gate.
    gate_half_outside: bool = False
    #: First epoch of the encoder's adversarial loss, of the recipe's `epochs` (200 by
    #: default). 60 is after the first drop of the learning rate.
    adv_start: float | None = None
    #: Weight of the encoder's adversarial loss.
    lambda_adv: float = 1.0
    #: Constant learning rate of the modality classifier.
    modal_lr: float = 0.01
    #: What learns at the recipe's lower rate: all but neck and classifiers
    #: ("released"), the stems ("paper"), or the memory. Paper: it slows the stems
    #: alone (Sec. 6.1), which risks the pretrained weights of the trunk.
    rates: Literal["released", "paper", "memory"] = "released"
    #: Margin of the triplet.
    margin: float = 0.3
    #: Width of a gate's bottleneck: channels divided by this, from 1 to the channels.
    reduction: int = 16

    BOUNDS = MethodConfig.BOUNDS | {
        "adv_start": NOT_NEGATIVE,
        "lambda_adv": NOT_NEGATIVE,
        "modal_lr": NOT_NEGATIVE,
        "margin": NOT_NEGATIVE,
        "reduction": AT_LEAST_ONE,
    }
    READINGS = READINGS
