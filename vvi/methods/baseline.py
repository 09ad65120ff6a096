"""The two-stream baseline of MITML, Sec. 4, with which the book compares all methods.

Nothing is special about it. Each modality has a stem, both share a ResNet-50 whose last
stage keeps its resolution. Maps are averaged over positions, then over frames, so that
the order of frames plays no part. A batch-norm neck stands before the classifier:
identity cross-entropy after it, batch-hard triplet before it.

Paper: MITML does not mention a neck. It is that of its released code, and goes back to
Luo et al. (2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from vvi.data.transforms import anaglyph
from vvi.losses import batch_hard_triplet
from vvi.methods.base import (
    FRAME_COUNTS,
    NOT_NEGATIVE,
    Method,
    MethodConfig,
    Output,
    Phase,
    check_clips,
)
from vvi.nn import backbone
from vvi.nn.neck import Neck
from vvi.nn.pool import clip_average
from vvi.types import Batch, Modality

#: Raised when the method computes other numbers, so that stored results are not reused.
VERSION = 2


@dataclass(frozen=True)
class Config(MethodConfig):
    """Switches of the baseline, which takes clips of any number of frames."""

    #: Margin of the triplet.
    margin: float = 0.3
    #: Weight of the triplet.
    lambda_tri: float = 1.0
    #: Whether the network reads frames, or their anaglyphs (IBAN, Fig. 1).
    reads: Literal["frames", "anaglyphs"] = "frames"

    BOUNDS = MethodConfig.BOUNDS | {
        "margin": NOT_NEGATIVE,
        "lambda_tri": NOT_NEGATIVE,
    }


class Model(Method):
    """Two stems, shared stages, mean over positions and frames, neck."""

    phases = (Phase("encoder", ("trunk", "neck")),)
    # Paper: MITML (Sec. 6.1) slows the first unshared convolutions alone. A tenth for
    # all but neck and classifier is the released code's.
    slow = ("trunk",)

    def __init__(self, config: Config, num_ids: int):
        super().__init__()
        self.config = config
        self.trunk = backbone.build(config.backbone, config.weights)
        self.neck = Neck(self.trunk.channels[-1], num_ids)

    def forward(self, batch: Batch) -> Output:
        """Run both modalities through the shared stages in one pass, visible first."""
        frames = batch.vis.shape[1]
        maps = self.trunk.stems_of_pair(self.view(batch.vis), self.view(batch.ir))
        feat = self.clip_feat(maps, frames)
        return Output(feat, self.neck(feat)[1])

    def losses(self, out: Output, batch: Batch, phase: Phase) -> dict[str, Tensor]:
        """Compute identity loss after the neck, triplet before it: MITML, Eq. (1).

        Args and Returns as in `Method.losses`.
        """
        triplet = batch_hard_triplet(out.feat, batch.labels, self.config.margin)
        return {
            "id": F.cross_entropy(out.logits, batch.labels),
            "triplet": self.config.lambda_tri * triplet,
        }

    def embed(self, clips: Tensor, modality: Modality) -> Tensor:
        """Embed clips of one modality: (B, T, 3, H, W) -> (B, D) of unit norm.

        Raises:
            ValueError: clips of another shape or type, or an unknown modality.
        """
        check_clips(clips)
        maps = self.trunk.stem(self.view(clips).flatten(0, 1), modality)
        return self.neck.embed(self.clip_feat(maps, clips.shape[1]))

    def view(self, clips: Tensor) -> Tensor:
        """Return what the network reads of normalised clips, in the same shape."""
        if self.config.reads == "frames":
            return clips
        return anaglyph(clips, normalised=True)

    def clip_feat(self, maps: Tensor, frames: int) -> Tensor:
        """Turn stem maps into clip features: (NT, C0, h0, w0) -> (N, D)."""
        return clip_average(self.trunk(maps), frames)


#: Table or figure of MITML, or of IBAN -> row of the paper, or of ours -> switches that
#: it changes.
ABLATIONS: dict[str, dict[str, dict]] = {
    "Table 2": {"Baseline": {}},
    "Fig. 6": {f"n={n}": {"frames": n} for n in FRAME_COUNTS},
    "Fig. 1 of IBAN": {"anaglyphs": {"reads": "anaglyphs"}},
}
#: The row that stands for the paper.
MAIN = ("Table 2", "Baseline")
#: Tables that run on the first seed only.
SWEEPS = ()
#: What `vvi tune` may choose, beside what every method may (`tune.COMMON`).
TUNED = {
    "lambda_tri": (0.3, 1.0, 3.0),
    "margin": (0.1, 0.3, 0.5),
}
