"""Switches of CMFT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vvi.methods.base import (
    NOT_NEGATIVE,
    SHARE,
    MethodConfig,
)

Gate = Literal["mul", "sigmoid", "none"]
Cross = Literal["cross", "wrt", "hct", "cmt"]
Metric = Literal["euclidean", "cosine", "pmt"]
Negatives = Literal["dyn", "all", "hard"]
#: What a switch that is None means in each variant: (main, paper).
READINGS = {
    # the same in both: older configs may hold shift=None
    "shift": (True, True),
    "shared_from": (3, 7),
    "cross": ("cmt", "cross"),
    "stage2_triplet": (True, False),
}


@dataclass(frozen=True)
class Config(MethodConfig):
    """Switches of CMFT, those that are None and in `READINGS` follow `variant`.

    Shifts and means take any number of frames.

    Raises:
        ValueError: a value does not fit, streams cannot begin apart, or scores are
            fused where MSRL needs features.
    """

    #: "paper" is the letter of the paper, "main" the reading that a search can use: it
    #: has shared_from=3, cross="cmt" and stage2_triplet=True.
    variant: Literal["main", "paper"] = "paper"
    #: The cascade "ccf", or what Table 2 compares it with.
    fusion: Literal["ccf", "concat", "score_avg", "score_mul"] = "ccf"
    #: First stage of the cascade (Table 3), stage 2 is the stem.
    start: Literal[2, 3, 4, 5, 6] = 5
    #: Both attentions of a block, or only that whose queries are visible.
    branches: Literal[1, 2] = 2
    #: How a fused map enters the next stage. "none" leaves the block of stage 6 alone.
    gate: Gate = "mul"
    #: Whether the streams shift channels along time.
    shift: bool | None = None
    #: Stride of the last stage of both streams.
    last_stride: Literal[1, 2] = 1
    #: First stage that both streams share, or 7 for none.
    shared_from: Literal[2, 3, 4, 5, 6, 7] | None = None
    #: Whether both streams begin with the same weights, as from one ImageNet network,
    #: or with random ones of their own. "apart" needs a trunk without weights.
    streams_start: Literal["alike", "apart"] = "alike"
    #: Triplets of stage 1 (Table 4): inside the streams ("cross", the paper's), AGW's
    #: weighted regularised triplet ("wrt"), the hetero-centre triplet ("hct"), or one
    #: across the modalities for the loss of CMT ("cmt").
    cross: Cross | None = None
    #: Margin of the triplets.
    margin: float = 0.1
    #: Distances of MSRL, Eqs. (11) to (14). None leaves the loss out (Table 5). "pmt"
    #: is the loss of PMT (AAAI 2023) that MSRL was made from, which the paper does not
    #: name.
    msrl: Metric | None = "euclidean"
    #: Negatives of MDL, Eqs. (15) to (17). None leaves the loss out (Table 5).
    mdl: Negatives | None = "dyn"
    #: Weight of MSRL, Eq. (19).
    lambda1: float = 0.3
    #: Weight of MDL, Eq. (19).
    lambda2: float = 0.7
    #: Whether stage 2 keeps the triplets of stage 1.
    stage2_triplet: bool | None = None
    #: Epoch in which stage 2 begins, of the recipe's `epochs` (200 by default). The
    #: paper has 8 of 24 epochs before the rate drops at 10, which is 28 before ours
    #: drops at 35.
    switch: float = 28
    #: What a search compares: the feature of the clip's own stream, or the fusion of
    #: the clip with itself.
    test_embedding: Literal["unimodal", "self_pair"] = "unimodal"
    #: Share of training pairs that are one clip twice.
    self_pair_prob: float = 0.0
    #: Whether a search averages a clip and its mirror image.
    tta: Literal["none", "flip"] = "none"

    BOUNDS = MethodConfig.BOUNDS | {
        "margin": NOT_NEGATIVE,
        "lambda1": NOT_NEGATIVE,
        "lambda2": NOT_NEGATIVE,
        "switch": NOT_NEGATIVE,
        "self_pair_prob": SHARE,
    }
    READINGS = READINGS

    def __post_init__(self):
        super().__post_init__()
        if self.streams_start == "apart" and self.weights is not None:
            raise ValueError(
                f"streams_start='apart' with weights={self.weights!r}: both streams "
                "would begin alike; set weights=None, or streams_start='alike'"
            )
        reads_fused = self.msrl not in (None, "pmt")
        if self.fusion.startswith("score") and reads_fused:
            raise ValueError(
                f"fusion={self.fusion!r} has no fused feature for MSRL to compare "
                "with: set msrl=None, or msrl='pmt', which reads none"
            )
