"""The two-stream baseline on which every paper of this book builds (MITML, Sec. 4, Eq. 1).

Special about it: nothing. A stem for each modality, one shared ResNet-50 whose last stage keeps its resolution, average pooling over places and then over frames, a batch-norm
neck; identity cross-entropy after the neck, batch-hard triplet before it. The order of frames plays no part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from vvi.data.transforms import anaglyph
from vvi.losses import batch_hard_triplet
from vvi.methods.base import Method, Output, Phase, check_clips
from vvi.nn import backbone
from vvi.nn.neck import Neck
from vvi.nn.pool import global_average, temporal_mean
from vvi.types import Batch, Modality

VERSION = 2


@dataclass(frozen=True)
class Config:
    """Switches of the baseline. `frames` is T; the mean over frames takes any number, so it only documents what the run feeds. reads: frames, or their anaglyphs (IBAN, Fig. 1);
    lambda_tri: weight of the triplet."""

    backbone: str = "resnet50"
    weights: str | None = None
    frames: int = 6
    margin: float = 0.3
    lambda_tri: float = 1.0
    reads: Literal["frames", "anaglyphs"] = "frames"


class Model(Method):
    """Two stems, shared stages, mean over places and frames, neck."""

    phases = (Phase("encoder", ("trunk", "neck")),)
    slow = ("trunk",)

    def __init__(self, config: Config, num_ids: int):
        super().__init__()
        self.config = config
        self.trunk = backbone.build(config.backbone, config.weights)
        self.neck = Neck(self.trunk.channels[-1], num_ids)

    def forward(self, batch: Batch) -> Output:
        """Both modalities in one pass through the shared stages, visible first."""
        frames = batch.vis.shape[1]
        feat = self.clip_feat(
            self.trunk.both(self.view(batch.vis), self.view(batch.ir)), frames
        )
        return Output(feat, self.neck(feat)[1])

    def losses(self, out: Output, batch: Batch, phase: Phase) -> dict[str, Tensor]:
        """Eq. (1): identity after the neck, triplet before it."""
        return {
            "id": F.cross_entropy(out.logits, batch.labels),
            "triplet": self.config.lambda_tri
            * batch_hard_triplet(out.feat, batch.labels, self.config.margin),
        }

    def embed(self, clips: Tensor, modality: Modality) -> Tensor:
        """(B, T, 3, H, W) -> (B, D), unit norm; only the stem of the clip's own modality is used."""
        check_clips(clips)
        return self.neck.embed(
            self.clip_feat(
                self.trunk.stem(self.view(clips).flatten(0, 1), modality),
                clips.shape[1],
            )
        )

    def view(self, clips: Tensor) -> Tensor:
        """What the network reads of normalised clips: (B, T, 3, H, W) -> the same shape."""
        return (
            clips if self.config.reads == "frames" else anaglyph(clips, normalised=True)
        )

    def clip_feat(self, maps: Tensor, frames: int) -> Tensor:
        """Stem maps of N clips, (NT, C0, h0, w0) -> (N, D)."""
        feat = global_average(self.trunk(maps)).unflatten(0, (-1, frames))  # (N, T, D)
        return temporal_mean(feat)


ABLATIONS: dict[str, dict[str, dict]] = {
    "Table 2": {"Baseline": {}},
    "Fig. 6": {f"n={n}": {"frames": n} for n in (1, 2, 4, 6, 8)},
    "Fig. 1 of IBAN": {"anaglyphs": {"reads": "anaglyphs"}},
}
MAIN = ("Table 2", "Baseline")  # the row that stands for the paper
SWEEPS = ()  # no table is run on the first seed only
TUNED = {
    "lambda_tri": (0.3, 1.0, 3.0),
    "margin": (0.1, 0.3, 0.5),
}  # what `vvi tune` may choose, beside what every method may (`tune.COMMON`)
