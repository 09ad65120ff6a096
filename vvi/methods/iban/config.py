"""Switches of IBAN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vvi.methods.base import (
    NOT_NEGATIVE,
    MethodConfig,
)

Variant = Literal["main", "paper", "released"]
Operator = Literal["paper", "released"]
Query = Literal["original", "anaglyph"]
Layout = Literal["permute", "raw_view"]
Scope = Literal["clip", "frame"]
Metric = Literal["cosine", "euclidean"]
Reduction = Literal["sum", "mean"]
MapReduction = Literal["mse", "l2_sum"]
Sample = Literal["easy", "hard"]

#: What a switch that is None means in each variant: (main, paper, released). The main
#: reading takes the released value where the letter of the paper does not train:
#: triplet and easy-sample loss before the neck, weights of 1, frame weights 1 + w.
#: Paper: Eq. (12) is a sum, as in the released code. The mean in "main" and "paper"
#: is ours.
READINGS: dict[str, tuple] = {
    "operator": ("paper", "paper", "released"),
    "align": (True, True, False),
    "ig_query": ("original", "original", "anaglyph"),
    "ig_layout": ("permute", "permute", "raw_view"),
    "gate": ("shared", "shared", "per_place"),
    "plus_one": (True, False, True),
    "esb_same_id": (False, False, True),
    "esb_metric": ("cosine", "cosine", "euclidean"),
    "esb_reduction": ("mean", "mean", "sum"),
    "metric_feat": ("pre", "post", "pre"),
    "late_branch": (False, False, True),
    "lambda_tri": (1, 1.5, 1),
    "lambda_esb": (1, 1.5, 1),
}


@dataclass(frozen=True)
class Config(MethodConfig):
    """Switches of IBAN, those that are None follow `variant` (see `READINGS`).

    Raises:
        ValueError: a value does not fit, or `relative_weights` needs `plus_one`.
    """

    #: "paper" is the letter of the paper, "released" the released code, "main" the
    #: paper with the released value where the letter does not train. The letter has
    #: exceptions, which hold in "paper" too: Eq. (12) is a mean (`esb_reduction`),
    #: Eq. (5) takes mean squares (`cr_reduction`), Eq. (4) compares projections
    #: (`ig_embed`), guidance is on two levels (`Model.refine`), and all but neck and
    #: classifier learn at the lower rate.
    variant: Variant = "paper"
    #: The anaglyph trunk, its losses and the guidance (IG).
    ig: bool = True
    #: The reconstruction loss of the anaglyph maps, Eq. (5).
    cr: bool = True
    #: The aggregation (BSTA). False takes the mean over frames.
    bsta: bool = True
    #: Whether a backward LSTM summarises clips too ("forward": row -b of Table II).
    directions: Literal["both", "forward"] = "both"
    #: "mean": the mean over frames is the summary (row -l of Table II).
    temporal: Literal["lstm", "mean"] = "lstm"
    #: Whether channels are gated (False: row -a of Table II).
    attention: bool = True
    #: The easy-sample loss (ESB), Eq. (12).
    esb: bool = True
    #: Which clip of the other modality pulls: the nearest, or the farthest, the hard
    #: sample of Fig. 6.
    esb_sample: Sample = "easy"
    #: Form of the anaglyph, Eq. (1).
    operator: Operator | None = None
    #: Whether anaglyphs share crop and mirror of their frames.
    align: bool | None = None
    #: Which maps form the queries of the guidance. The other ones give keys and values.
    ig_query: Query | None = None
    #: "raw_view": attention between the pseudo-frames of `raw_view`.
    ig_layout: Layout | None = None
    #: Whether a position attends to the whole clip or to its own frame.
    ig_scope: Scope = "clip"
    #: Whether attention compares projections of the maps. False compares and mixes the
    #: maps themselves, as Eq. (4) prints it.
    ig_embed: bool = True
    #: One gate for all frames, from the summary, or one for each frame position, from
    #: the summary and the frame.
    gate: Literal["shared", "per_place"] | None = None
    #: Whether frames weigh 1 + w in place of w, Eq. (9).
    plus_one: bool | None = None
    #: Whether the weights of a clip are divided by their mean, so that they say which
    #: frames count and not how long the clip vector is. Ours: 1 + w can shrink to zero.
    relative_weights: bool = False
    #: Whether the easy sample is sought among clips of the same identity only.
    esb_same_id: bool | None = None
    #: Distance by which the easy sample is nearest, Eqs. (13) and (14).
    esb_metric: Metric | None = None
    #: Sum or mean of the terms of Eq. (12), which prints a sum.
    esb_reduction: Reduction | None = None
    #: Mean squares, or the sum of norms that Eq. (5) prints.
    cr_reduction: MapReduction = "mse"
    #: Whether triplet and easy-sample loss read features after or before the neck.
    metric_feat: Literal["post", "pre"] | None = None
    #: Whether the anaglyph trunk has no loss but the triplet before `cr_start`.
    late_branch: bool | None = None
    #: Weight of the triplet, lambda 1 of Eq. (15).
    lambda_tri: float | None = None
    #: Weight of the easy-sample loss, lambda 2 of Eq. (15).
    lambda_esb: float | None = None
    #: Weight of the reconstruction loss, lambda 3 of Eq. (15).
    lambda_cr: float = 1
    #: First epoch of the reconstruction loss, of the recipe's `epochs` (200 by
    #: default).
    cr_start: float = 40
    #: Margin of the triplet.
    margin: float = 0.3

    BOUNDS = MethodConfig.BOUNDS | {
        "lambda_tri": NOT_NEGATIVE,
        "lambda_esb": NOT_NEGATIVE,
        "lambda_cr": NOT_NEGATIVE,
        "cr_start": NOT_NEGATIVE,
        "margin": NOT_NEGATIVE,
    }
    READINGS = READINGS

    def __post_init__(self):
        super().__post_init__()
        if self.relative_weights and not self.plus_one:
            raise ValueError(
                "relative_weights=True needs plus_one=True: the weights w may be "
                "negative, and their mean zero"
            )
