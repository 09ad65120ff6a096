"""Network and losses of MITML, Fig. 3."""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from vvi.data.transforms import denormalise
from vvi.losses import batch_hard_triplet
from vvi.methods.base import Method, Output, Phase, check_clips
from vvi.methods.mitml.config import SLOW, Config
from vvi.methods.mitml.losses import IR, VIS, confusion_loss, modal_loss
from vvi.methods.mitml.parts import ModalClassifier, TemporalMemory
from vvi.nn import backbone
from vvi.nn.neck import Neck
from vvi.nn.pool import clip_average, global_average
from vvi.types import Batch, Modality

#: The hash of a frame is its brightness times a factor, modulo a prime, which scatters
#: numbers that lie close together. The factor is 2^16 divided by the golden ratio.
HASH_FACTOR = 40503
#: The largest prime below 2^16.
HASH_MODULUS = 65521


class Model(Method):
    """The two-stream baseline with TMR and a modality classifier.

    Encoder and modality classifier learn against one another (Sec. 5.2).
    """

    def __init__(self, config: Config, num_ids: int):
        super().__init__()
        self.config = config
        self.trunk = backbone.build(config.backbone, config.weights)
        dim = self.trunk.channels[-1]
        self.neck = Neck(dim, num_ids)
        if config.temporal == "tmr":
            # both copies of the last stage begin with the same weights and train apart
            self.attention = copy.deepcopy(self.trunk.layer4)
            self.memory = TemporalMemory(
                dim,
                config.frames,
                config.eta,
                config.gate_half_outside,
                config.reduction,
            )
        if config.adversary != "none":
            self.modal = ModalClassifier(dim, 3 if config.adversary == "third" else 2)
        self.slow = SLOW[config.rates]
        self.phases = self._phases()

    def _phases(self) -> tuple[Phase, ...]:
        """Return the steps of encoder, Eq. (5), and modality classifier, Eq. (6).

        Before `adv_start` the encoder steps first, without the adversarial loss, and
        the modality classifier learns from the same features. From then on the
        classifier steps first.

        Paper: says no more than that both alternate. Both orders are those of the
        released code.
        """
        parts = ("trunk", "neck")
        if self.config.temporal == "tmr":
            parts += ("attention", "memory")
        if self.config.adversary == "none":
            return (Phase("encoder", parts),)
        start = self.config.adv_start
        modal = Phase("modal", ("modal",), lr=self.config.modal_lr, optimiser="modal")
        encoder = Phase("encoder", parts, (start, math.inf))
        if start <= 0:
            return modal, encoder
        return Phase("alone", parts, (0, start)), modal, encoder

    def forward(self, batch: Batch) -> Output:
        """Run both modalities through the shared stages in one pass, visible first."""
        frames = batch.vis.shape[1]
        maps = self.trunk.stems_of_pair(batch.vis, batch.ir)
        order = None
        if self.config.shuffle != "none":  # avoids concatenating both modalities
            order = self._frame_order(batch.clips)
        feat = self.clip_feat(maps, order, frames)
        return Output(feat, self.neck(feat)[1])

    def losses(self, out: Output, batch: Batch, phase: Phase) -> dict[str, Tensor]:
        """Compute Eq. (6) for the classifier and Eq. (5) for the encoder.

        Without adversarial learning Eq. (5) is Eq. (1). Args and Returns as in
        `Method.losses`.

        Paper: no weights. All are 1 here, unless `lambda_adv` gives the adversarial
        loss of the encoder another.
        """
        c = self.config
        if phase.name == "modal":
            return {"modality": self._classifier_loss(out)}
        losses = {
            "id": F.cross_entropy(out.logits, batch.labels),
            "triplet": batch_hard_triplet(out.feat, batch.labels, c.margin),
        }
        if phase.name == "encoder" and c.adversary != "none":
            vis, ir = self.modal(out.feat).chunk(2)
            losses["confusion"] = c.lambda_adv * confusion_loss(vis, ir, c.adversary)
        return losses

    def _classifier_loss(self, out: Output) -> Tensor:
        """Compute Eq. (6) without gradient to the encoder, and watch both sides."""
        vis, ir = self.modal(out.feat.detach()).chunk(2)
        vis_belief = vis.float().softmax(1)[:, VIS].mean()
        ir_belief = ir.float().softmax(1)[:, IR].mean()
        out.watch["belief in the true modality"] = (vis_belief + ir_belief) / 2
        out.watch["confusion"] = confusion_loss(
            vis.detach(), ir.detach(), self.config.adversary
        )
        return modal_loss(vis, ir)

    def embed(self, clips: Tensor, modality: Modality) -> Tensor:
        """Embed clips of one modality, without the classifiers.

        (B, T, 3, H, W) -> (B, D) of unit norm.

        Raises:
            ValueError: clips are malformed, or have another T than the gates.
        """
        maps = self._stem(clips, modality)
        order = self._frame_order(clips)
        return self.neck.embed(self.clip_feat(maps, order, clips.shape[1]))

    def inspect(self, clips: Tensor, modality: Modality) -> dict[str, Tensor]:
        """Compute the gates, and their mean over channels as frame weights.

        Returns:
            "gate" (B, T, D) and "frame weight" (B, T), in the order in which the clips
            hold their frames. Nothing for the mean over frames.

        Raises:
            ValueError: clips are malformed, or have another T than the gates.
        """
        if self.config.temporal == "mean":
            return {}
        attention, _ = self.frame_feats(self._stem(clips, modality), clips.shape[1])
        order = self._frame_order(clips)
        gates = self.memory.gates(_reordered(attention, order))
        if order is not None:
            gates = _reordered(gates, order.argsort(1))
        return {"gate": gates, "frame weight": gates.mean(2)}

    def clip_feat(self, maps: Tensor, order: Tensor | None, frames: int) -> Tensor:
        """Turn stem maps into clip features.

        Args:
            maps: of the frames of N clips, (NT, C0, h0, w0).
            order: of the frames, (N, T), None for their own.
            frames: T.

        Returns:
            (N, D).

        Raises:
            ValueError: T is not that of the gates.
        """
        if self.config.temporal == "mean":
            return clip_average(self.trunk(maps), frames)
        attention, aggregation = self.frame_feats(maps, frames)
        return self.memory(_reordered(attention, order), _reordered(aggregation, order))

    def frame_feats(self, maps: Tensor, frames: int) -> tuple[Tensor, Tensor]:
        """Compute frame vectors f1 and f2 of the attention and aggregation branch.

        Stem maps (NT, C0, h0, w0) -> two (N, T, D).
        """
        shared = self.trunk.first_stages(maps)
        attention = global_average(self.attention(shared))
        aggregation = global_average(self.trunk.layer4(shared))
        sizes = (-1, frames)
        return attention.unflatten(0, sizes), aggregation.unflatten(0, sizes)

    def _stem(self, clips: Tensor, modality: Modality) -> Tensor:
        check_clips(clips)
        return self.trunk.stem(clips.flatten(0, 1), modality)

    def _frame_order(self, clips: Tensor) -> Tensor | None:
        """Shuffle the frames of a clip by a hash of their pixels, so a search repeats.

        Paper: it shuffles frames and does not say how. The hash is ours. The new
        position of a frame depends on its pixels and not on its old position.

        Args:
            clips: normalised, (B, T, 3, H, W).

        Returns:
            Frame positions (B, T), None where the order is kept.
        """
        if self.config.shuffle == "none":
            return None
        brightness = denormalise(clips).sum((2, 3, 4), dtype=torch.int64)  # (B, T)
        hashes = brightness * HASH_FACTOR % HASH_MODULUS
        return hashes.argsort(dim=1, stable=True)


def _reordered(feat: Tensor, order: Tensor | None) -> Tensor:
    """Put frames (B, T, D) in an order (B, T)."""
    if order is None:
        return feat
    return feat.gather(1, order[:, :, None].expand_as(feat))
