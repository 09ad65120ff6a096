"""Switches of SADSTRM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vvi.methods.base import (
    AT_LEAST_ONE,
    NOT_NEGATIVE,
    MethodConfig,
)

Query = Literal["self", "other"]
InSearch = Literal["self", "bypass", "cross_stem"]
#: What a switch that is None means in each variant: (main, paper).
READINGS = {
    "optim_mode": ("joint", "alternating"),
    "supervised": ("dual", "fused"),
}


@dataclass(frozen=True)
class Config(MethodConfig):
    """Switches of SADSTRM, those that are None follow `variant`.

    Raises:
        ValueError: a value does not fit, there is no such variant, or `supervised`
            cannot follow `cmca_test`.
    """

    #: "paper" is the letter of the paper. "main" supervises f_d as computed without a
    #: partner, too, and takes all objectives in one step. The letter has exceptions,
    #: which hold in "paper" too: Eq. (10) takes plain distances before the norm
    #: (`triplet_form`), and all but necks and classifiers learn at the lower rate.
    variant: Literal["main", "paper"] = "paper"
    #: The attack (ASAM).
    asam: bool = True
    #: Attention between the modalities (CMCA).
    cmca: bool = True
    #: Stripe relations (FRM-STIG): "fr_e_ti" has no gate, "no_spa" a gate that reads
    #: its own stripe only.
    stig: Literal["none", "fr_e_ti", "no_spa", "full"] = "full"
    #: Objectives in turn (Algorithm 1), or in one step (Eq. 17).
    optim_mode: Literal["alternating", "joint"] | None = None
    #: To which clip a clip attends in training: the same person in the other modality
    #: as in the paper, another person, itself, or itself for half of the clips.
    partner: Literal["person", "stranger", "self", "half"] = "person"
    #: What the losses of the defender read: f_d with the partner, as printed ("fused"),
    #: or the mean over that and f_d as computed without one, from the clip itself or
    #: bypassing CMCA ("dual"), as `cmca_test` has it. Rows with stripes compare j_d in
    #: a search.
    supervised: Literal["fused", "dual"] | None = None
    #: Whether the defender still learns in Step II. Paper: says so, but the loss of 14
    #: points in the row "Baseline+ASAM" is read as attack without defence ("att").
    asam_stage2: Literal["def+att", "att"] = "def+att"
    #: Epoch in which Step II begins, of the recipe's `epochs` (200 by default).
    step_two: float = 150
    #: Weight of the attacker's identity loss, Eq. (17).
    lambda_1: float = 1.0
    #: Weight of the defender's identity loss and triplet, Eq. (17).
    lambda_2: float = 0.5
    #: Weight of the stripes' identity loss, Eq. (17).
    lambda_3: float = 0.5
    #: Distances of the triplet: Euclidean before the neck, or squared after it, which
    #: is Eq. (10) as printed.
    triplet_form: Literal["euclid_pre_bn", "squared_post_bn"] = "euclid_pre_bn"
    #: Margin of the triplet.
    margin: float = 0.3
    #: Which maps form the queries of CMCA: those that it refines, or the other ones.
    cmca_query: Query = "self"
    #: What stands in for the other modality in a search: the clip itself, nothing, or
    #: the clip through the stem of the other modality, which "dual" cannot supervise.
    cmca_test: InSearch = "self"
    #: Whether stripes are cut from the maps before or after CMCA. Paper: prints F_d,
    #: the maps before.
    stig_input: Literal["pre_cmca", "post_cmca"] = "pre_cmca"
    #: Stripes K. Paper: not overlapping, which needs a K that divides the rows of the
    #: last maps: 18 at the size of the paper, 4 of the small trunk, where six overlap.
    parts: int = 6
    #: Layers of both LSTMs. Paper: gives neither their depth nor their width.
    lstm_layers: int = 1

    BOUNDS = MethodConfig.BOUNDS | {
        "step_two": NOT_NEGATIVE,
        "lambda_1": NOT_NEGATIVE,
        "lambda_2": NOT_NEGATIVE,
        "lambda_3": NOT_NEGATIVE,
        "margin": NOT_NEGATIVE,
        "parts": AT_LEAST_ONE,
        "lstm_layers": AT_LEAST_ONE,
    }
    READINGS = READINGS

    def __post_init__(self):
        if self.variant == "released":
            raise ValueError(
                "variant='released': choose from 'main', 'paper', no code was released"
            )
        super().__post_init__()
        is_dual = self.cmca and self.supervised == "dual"
        if is_dual and self.cmca_test == "cross_stem":
            raise ValueError(
                "cmca_test='cross_stem' with supervised='dual': no loss reads a clip "
                "through the other stem; set supervised='fused', or cmca_test='self' "
                "or 'bypass'"
            )
