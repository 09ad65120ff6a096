"""The network of CMFT and its training in two stages."""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vvi.methods.base import Method, Output, Phase, check_clips
from vvi.methods.cmft.config import Config
from vvi.methods.cmft.losses import (
    cross_modal_loss,
    discriminative_loss,
    refinement_loss,
    require_two_pairs,
)
from vvi.methods.cmft.parts import Cascade, FusedHead
from vvi.methods.cmft.streams import Stream, run_pair
from vvi.nn import backbone
from vvi.nn.neck import Neck
from vvi.nn.pool import clip_average
from vvi.runtime.random import torch_rng
from vvi.types import MODALITIES, Batch, Modality, check_modality

#: The protocol of `Model.oracle_pair`, which is no result of a method.
ORACLE = "oracle (label leak)"


class Stamped(NamedTuple):
    """Embeddings that must not be shown without saying how they came about."""

    feat: Tensor
    protocol: str


class Model(Method):
    """Two shifted streams, their fusion, and one classifier.

    Paper: names a batch norm and no more. Here one neck serves both streams, the fused
    feature has a norm of its own, and one classifier serves all three (where the fused
    one is narrower, it has its own).
    """

    # Paper: one rate, 0.1, for all (Sec. 4.2). A tenth for the streams is ours.
    slow = ("streams",)
    maps = "last_maps"

    def __init__(self, config: Config, num_ids: int):
        super().__init__()
        self.config = config
        trunk = backbone.build(config.backbone, config.weights)
        self.streams = self._streams(trunk)
        # the last maps of either stream pass here, for heat maps
        self.last_maps = nn.Identity()
        dim = trunk.channels[-1]
        self.neck = Neck(dim, num_ids)
        parts = ("streams", "neck")
        if config.fusion == "ccf":
            self.fusion = Cascade(
                trunk.channels, config.start, config.branches, config.gate
            )
            self.fused_head = FusedHead(self.fusion.width, dim, num_ids)
            parts += ("fusion", "fused_head")
        if config.fusion == "concat":
            self.fusion = nn.Linear(2 * dim, dim)
            self.fused_head = FusedHead(dim, dim, num_ids)
            parts += ("fusion", "fused_head")
        self.phases = (
            Phase("stage1", parts, (0, config.switch)),
            Phase("stage2", parts, (config.switch, math.inf)),
        )

    def _streams(self, trunk: backbone.TwoStream) -> nn.ModuleDict:
        """Build the streams of both modalities from one trunk, or from two."""
        config = self.config
        other = trunk
        if config.streams_start == "apart":
            other = backbone.build(config.backbone, config.weights)
        vis = Stream(trunk, "vis", config.shift, config.last_stride)
        ir = Stream(
            other,
            "ir",
            config.shift,
            config.last_stride,
            owner=vis,
            shared_from=config.shared_from,
        )
        return nn.ModuleDict({"vis": vis, "ir": ir})

    def forward(self, batch: Batch) -> Output:
        """Run both streams, Sec. 3.2, and fuse their maps, Sec. 3.3.2."""
        if batch.step == 0 and self.config.msrl:
            require_two_pairs(batch.ids.cpu())
        return self.run_and_fuse(*self._pairs(batch))

    def _pairs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the clips for the two streams, (B, T, 3, H, W) each.

        A share `self_pair_prob` of the pairs are one clip, of either modality, twice.
        Which ones depends on the step and not on the run's seed: all seeds share the
        draws.
        """
        share = self.config.self_pair_prob
        if not share:
            return batch.vis, batch.ir
        generator = torch_rng("self pair", batch.step)
        draw = torch.rand(len(batch.ids), generator=generator)
        draw = draw.to(batch.vis.device, non_blocking=True)
        draw = draw[:, None, None, None, None]
        vis = torch.where(draw < share / 2, batch.ir, batch.vis)
        ir = torch.where(draw > 1 - share / 2, batch.vis, batch.ir)
        return vis, ir

    def run_and_fuse(self, vis: Tensor, ir: Tensor) -> Output:
        """Run pairs of clips through both streams and fuse their maps.

        For training, where pairs are chosen by identity. What is fused of test clips
        paired so is an oracle, see `oracle_pair`.

        Paper: Sec. 3.2 averages the logits of N frames and fuses scores. Here features
        are averaged over frames, before the neck.

        Args:
            vis: (B, T, 3, H, W).
            ir: (B, T, 3, H, W).

        Returns:
            Features and logits of the streams, visible first. `extra` holds "normed",
            the features after the neck (2B, D), and of the fusion "fused" (B, D'),
            "fused_normed" (B, D') and "fused_logits" (B, C). D' is D, with one branch
            D / 2. Scores have no "fused", it is None.

        Raises:
            ValueError: the clips of the two modalities differ in shape.
        """
        frames = vis.shape[1]
        vis_maps, ir_maps = run_pair(self.streams["vis"], self.streams["ir"], vis, ir)
        vis_maps[-1] = self.last_maps(vis_maps[-1])
        ir_maps[-1] = self.last_maps(ir_maps[-1])
        vis_feat = clip_average(vis_maps[-1], frames)
        ir_feat = clip_average(ir_maps[-1], frames)
        feat = torch.cat((vis_feat, ir_feat))
        normed, logits = self.neck(feat)
        if self.config.fusion.startswith("score"):
            fused = None
            fused_normed, fused_logits = self._fuse_scores(normed, logits)
        else:
            if self.config.fusion == "ccf":
                fused = clip_average(self.fusion(vis_maps, ir_maps), frames)
            else:
                fused = self.fusion(torch.cat(feat.chunk(2), 1))
            fused_normed, fused_logits = self.fused_head(fused, self.neck.classifier)
        extra = {
            "normed": normed,
            "fused": fused,
            "fused_normed": fused_normed,
            "fused_logits": fused_logits,
        }
        return Output(feat, logits, extra)

    def _fuse_scores(self, normed: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Fuse by scores, Table 2: what stands for the feature (B, D), logits (B, C).

        There is no fused feature to learn from.
        """
        vis, ir = normed.chunk(2)
        vis_logits, ir_logits = logits.float().chunk(2)
        if self.config.fusion == "score_mul":
            return vis * ir, vis_logits + ir_logits
        vis_log, ir_log = vis_logits.log_softmax(1), ir_logits.log_softmax(1)
        return (vis + ir) / 2, torch.logaddexp(vis_log, ir_log) - math.log(2)

    def stage_maps(self, clips: Tensor, modality: Modality) -> list[Tensor]:
        """Run clips of one modality through its stream.

        (B, T, 3, H, W) -> maps of stages 2 to 6, (BT, C, h, w) each.

        Raises:
            ValueError: an unknown modality.
        """
        check_modality(modality)
        *early, last = self.streams[modality](clips)
        return [*early, self.last_maps(last)]

    def losses(self, out: Output, batch: Batch, phase: Phase) -> dict[str, Tensor]:
        """Compute Eq. (18) in stage 1 and Eq. (19) in stage 2, in float32.

        Args and Returns as in `Method.losses`.
        """
        config, ids = self.config, batch.ids
        with torch.autocast(out.feat.device.type, enabled=False):
            vis, ir = out.feat.float().chunk(2)
            fused = out.extra["fused"]
            fused = None if fused is None else fused.float()
            terms = {"id": self._identity(out, batch)}
            if phase.name == "stage1" or config.stage2_triplet:
                terms["cross"] = cross_modal_loss(
                    vis, ir, fused, ids, config.margin, config.cross
                )
            if phase.name == "stage2" and config.msrl:
                feats = (vis, ir, fused)
                if config.msrl == "cosine":
                    vis_normed, ir_normed = out.extra["normed"].float().chunk(2)
                    fused_normed = out.extra["fused_normed"].float()
                    feats = (vis_normed, ir_normed, fused_normed)
                refinement = refinement_loss(*feats, ids, config.msrl)
                terms["msrl"] = config.lambda1 * refinement
            if phase.name == "stage2" and config.mdl:
                discrimination = discriminative_loss(vis, ir, ids, config.mdl)
                terms["mdl"] = config.lambda2 * discrimination
        return terms

    def _identity(self, out: Output, batch: Batch) -> Tensor:
        """Average the identity loss over visible, infrared and fused.

        Paper: Eq. (18) only names L_ID, the mean over the three features is ours.
        """
        streams = F.cross_entropy(out.logits.float(), batch.labels)
        fused = F.cross_entropy(out.extra["fused_logits"].float(), batch.ids)
        return (2 * streams + fused) / 3

    def embed(self, clips: Tensor, modality: Modality) -> Tensor:
        """Embed clips of one modality, with unit norm.

        No clip has a partner here: "unimodal" uses its own stream alone, "self_pair"
        shows the clip to both.

        Paper: Sec. 4.2 prints features of 1024 and 512 dimensions. Here they have the D
        channels of the last stage, with one branch and "self_pair" half of them.

        Args:
            clips: (B, T, 3, H, W).
            modality: of all clips.

        Returns:
            (B, D), or (B, D / 2) with one branch and "self_pair".

        Raises:
            ValueError: clips of another shape or type, or an unknown modality.
        """
        check_clips(clips)
        check_modality(modality)
        views = (clips, clips.flip(-1)) if self.config.tta == "flip" else (clips,)
        normed = [self._normed(view, modality) for view in views]
        return F.normalize(sum(normed).float(), dim=1)

    def _normed(self, clips: Tensor, modality: Modality) -> Tensor:
        """Return the features that a search compares before their normalisation."""
        if self.config.test_embedding == "self_pair":
            return self.run_and_fuse(clips, clips).extra["fused_normed"]
        last = self.stage_maps(clips, modality)[-1]
        return self.neck.norm(clip_average(last, clips.shape[1]))

    def oracle_pair(
        self, clips: Tensor, partners: Tensor, modality: Modality
    ) -> Stamped:
        """Embed clips fused with partners that the caller chose by their identity.

        This needs the label that a search shall find, so no config reaches it, and its
        numbers belong in no table of methods.

        Args:
            clips: (B, T, 3, H, W).
            partners: clips of the other modality, (B, T, 3, H, W).
            modality: of `clips`.

        Returns:
            Embeddings (B, D') of unit norm, D' as in `run_and_fuse`, and the protocol
            that made them.

        Raises:
            ValueError: clips of another shape or type, partners of another shape than
                the clips, or an unknown modality.
        """
        warnings.warn(
            f"{ORACLE}: partners chosen by identity put the label into the query; "
            "rank it with no method",
            UserWarning,
            stacklevel=2,
        )
        check_clips(clips)
        check_modality(modality)
        vis, ir = (clips, partners) if modality == "vis" else (partners, clips)
        fused = self.run_and_fuse(vis, ir).extra["fused_normed"]
        return Stamped(F.normalize(fused.float(), dim=1), ORACLE)

    def inspect(self, clips: Tensor, modality: Modality) -> dict[str, Tensor]:
        """Return what the last fusion block does with each clip paired with itself.

        Args:
            clips: (B, T, 3, H, W).
            modality: of all clips, which changes nothing.

        Returns:
            "read by vis", "read by ir" and "gate" (B, T, h, w), "gate turned" (B, T),
            as in `Cascade.inspect`. Empty without a cascade. "read by ir" needs two
            branches, "gate" and "gate turned" a block before the last.

        Raises:
            ValueError: clips of another shape or type, or an unknown modality.
        """
        if self.config.fusion != "ccf":
            return {}
        check_clips(clips)
        check_modality(modality)
        vis_maps, ir_maps = (self.stage_maps(clips, m) for m in MODALITIES)
        shown = self.fusion.inspect(vis_maps, ir_maps)
        size = clips.shape[:2]
        return {name: values.unflatten(0, size) for name, values in shown.items()}
