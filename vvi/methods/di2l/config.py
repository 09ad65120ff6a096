"""Switches of DI2L."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vvi.methods.base import (
    AT_LEAST_ONE,
    NOT_NEGATIVE,
    SHARE,
    MethodConfig,
)

Scale = Literal["none", "sqrt", "unit"]

#: What a switch that is None means in each variant: (main, paper, released). Released
#: is the code of AGW, CAJ and DDAG on which the paper stands: none is out for DI2L
#: itself. Main differs from the paper in a triplet whose gradient does not vanish, and
#: in attention that does not start at one stripe.
READINGS = {
    "rca": ("rgb", "rgb", "rgb_released"),
    "erase_fill": ("zero", "zero", "released"),
    "non_local": ("paper", "paper", "released"),
    "id_on": ("final", "final", "both"),
    "tri_numerics": ("exact", "exact", "released"),
    "tta_flip": (False, False, True),
    "tri_loss": ("wrt", "wrt_sq", "wrt_sq"),
    "dpa_scale": ("sqrt", "none", "none"),
}


@dataclass(frozen=True)
class Config(MethodConfig):
    """Switches of DI2L, those that are None follow `variant`.

    The mean over frames takes any number of them.
    """

    #: "paper" is the letter of the paper, "released" the code that it stands on, and
    #: "main" differs from the letter in the triplet and the scale of DPA.
    variant: Literal["main", "paper", "released"] = "paper"
    #: The stream of one channel.
    rca: Literal["off", "rgb", "rgb_released"] | None = None
    #: How often a frame loses a rectangle. By default half of single images and no
    #: frame of a clip, as clips follow the augmentation that all methods share.
    erase: float | None = None
    #: What fills the rectangle. Paper: silent. "released" is the constant of CAJ.
    erase_fill: Literal["zero", "released"] | None = None
    #: Attention among the pixels of a map.
    non_local: Literal["off", "paper", "released"] | None = None
    #: Pooling over positions: the generalised mean (GeM), or the average. Paper:
    #: silent. GeM is that of AGW and CAJ.
    pool: Literal["gem", "avg"] = "gem"
    #: Attention among stripes (DPA).
    dpa: bool = True
    #: Stripes of DPA, from the head down. Paper: gives no number, and they do not
    #: overlap, which needs one that divides the rows of the last maps: 18 at the size
    #: of the paper, 4 of the small trunk, where three overlap.
    parts: int = 3
    #: Whether DPA adds the global feature.
    dpa_residual: Literal["bn_global", "none"] = "bn_global"
    #: Weights of the mean over refined stripes.
    dpa_weights: Literal["learned", "uniform"] = "learned"
    #: "sqrt" divides the scores of DPA by the root of their width, without which their
    #: softmax begins at one stripe. "unit" takes them of unit vectors, so that it
    #: cannot end at one.
    dpa_scale: Scale | None = None
    #: Identity loss.
    id_loss: Literal["focal", "ce"] = "focal"
    #: Focusing parameter gamma of the focal loss, Eq. (5).
    focal_gamma: float = 2.0
    #: Identity loss on the final feature, or on "both" it and the global one.
    id_on: Literal["final", "both"] | None = None
    #: Triplet: batch-hard (margin 0.3), that of AGW ("wrt"), or that of CAJ, Eq. (6).
    tri_loss: Literal["hard", "wrt", "wrt_sq"] | None = None
    #: Weight of the triplet.
    lambda_tri: float = 1.0
    #: Feature that the triplet compares: before the neck ("global") or after DPA.
    #: Paper: silent. AGW and CAJ compare it before the neck.
    tri_on: Literal["global", "final"] = "global"
    #: How the weighted triplet is computed: the equation, or the released code.
    tri_numerics: Literal["exact", "released"] | None = None
    #: Whether frames are averaged as pooled vectors or as maps.
    tap: Literal["vector", "map"] = "vector"
    #: Whether a search averages a clip and its mirror image. Paper: silent. The test
    #: script of CAJ averages both.
    tta_flip: bool | None = None

    BOUNDS = MethodConfig.BOUNDS | {
        "focal_gamma": NOT_NEGATIVE,
        "lambda_tri": NOT_NEGATIVE,
        "erase": SHARE,
        "parts": AT_LEAST_ONE,
    }
    READINGS = READINGS

    def __post_init__(self):
        super().__post_init__()
        if self.erase is None:
            is_image = self.frames == 1
            object.__setattr__(self, "erase", 0.5 if is_image else 0.0)
