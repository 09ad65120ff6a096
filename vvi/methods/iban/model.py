"""Network and losses of IBAN: Algorithm 1."""

from __future__ import annotations

import copy
import math

import torch.nn.functional as F
from torch import Tensor, nn

from vvi.data.transforms import anaglyph
from vvi.losses import batch_hard_triplet
from vvi.methods.base import Method, Output, Phase, check_clips
from vvi.methods.iban.config import Config
from vvi.methods.iban.losses import easy_sample_loss, reconstruction_loss
from vvi.methods.iban.parts import (
    Aggregation,
    Guide,
    Levels,
    Reconstruction,
    anaglyph_levels,
    redrawn,
    third_stage,
)
from vvi.nn import backbone
from vvi.nn.neck import Neck
from vvi.nn.pool import clip_average, global_average, temporal_mean
from vvi.types import Batch, Modality

#: Attributes that hold parameters, where the switches make them.
WITH_PARAMETERS = (
    "trunk",
    "bsta",
    "neck",
    "intermediary",
    "guide3",
    "guide4",
    "anaglyph_norm",
    "cross",
)


class Model(Method):
    """Two trunks of two stems each, guidance, aggregation, neck.

    Paper: its conclusion drops the second trunk after training, but Eq. (4) needs it.
    What a search loses without it is measured by the attribute `at_test` of a trained
    model: "zero" blanks the anaglyph maps, "skip" leaves the guidance out.
    """

    # Paper: one learning rate for all (Sec. IV-B). A tenth for all but neck and
    # classifier is the released code's.
    slow = (
        "trunk",
        "intermediary",
        "guide3",
        "guide4",
        "bsta",
        "cross",
        "anaglyph_norm",
    )
    maps = "refined"

    def __init__(self, config: Config, num_ids: int):
        super().__init__()
        self.config = config
        self.at_test = "full"
        self.trunk = backbone.build(config.backbone, config.weights)
        third, fourth = self.trunk.channels[-2:]
        # for heat maps: the maps that are pooled, whether guided or not
        self.refined = nn.Identity()
        self.neck = Neck(fourth, num_ids)
        if config.bsta:
            self.bsta = _aggregation(config, fourth)
        if config.ig:
            # both trunks begin with the same weights and train apart
            self.intermediary = copy.deepcopy(self.trunk)
            self.guide3 = _guide(config, third)
            self.guide4 = _guide(config, fourth)
            # the norm of a neck alone: anaglyphs share the classifier of the frames
            self.anaglyph_norm = Neck(fourth, 1).norm
            self.readings = {
                "anaglyphs blank": {"at_test": "zero"},
                "anaglyphs unused": {"at_test": "skip"},
            }
        if config.ig and config.cr:
            self.cross = Reconstruction(third, fourth)
        self.phases = self._phases()

    def _phases(self) -> tuple[Phase, ...]:
        """List the steps: one of all parts, and one without reconstruction before."""
        c = self.config
        parts = tuple(name for name in WITH_PARAMETERS if hasattr(self, name))
        start = c.cr_start if c.ig and (c.cr or c.late_branch) else 0
        encoder = Phase("encoder", parts, (start, math.inf))
        if start <= 0:
            return (encoder,)
        without_loss = {"cross"}  # before `start`
        if c.late_branch and c.metric_feat == "pre":
            without_loss.add("anaglyph_norm")
        early = tuple(name for name in parts if name not in without_loss)
        return Phase("before", early, (0, start)), encoder

    def forward(self, batch: Batch) -> Output:
        """Run steps 1 to 4 for both modalities in one pass, visible first."""
        frames = batch.vis.shape[1]
        levels = None
        extra = {}
        if self.config.ig:
            vis = self.anaglyphs(batch.vis, "vis", batch.step)
            ir = self.anaglyphs(batch.ir, "ir", batch.step)
            stem = self.intermediary.stems_of_pair(vis, ir)
            levels = anaglyph_levels(self.intermediary, stem)
            extra = self._anaglyph_feats(levels, frames)
        third = third_stage(self.trunk, self.trunk.stems_of_pair(batch.vis, batch.ir))
        feat, weights = self.clip_feat(self.refine(third, levels, frames), frames)
        extra["normed"], logits = self.neck(feat)
        watch = {}
        if self.config.bsta:
            watch["frame weight"] = weights.detach().mean()
            watch["variance before the neck"] = feat.detach().var(0).mean()
        return Output(feat, logits, extra, watch)

    def _anaglyph_feats(self, levels: Levels, frames: int) -> dict:
        """Average A4 over positions and frames, without aggregation, then normalise.

        Paper: the losses work on anaglyphs too, how these are embedded is not said. The
        plain mean and a batch norm of their own are those of the released code.

        Returns:
            "levels", maps A3 and A4 (2BT, C, h, w). "anaglyph feat" before the norm
            and "anaglyph normed" after it, (2B, D) each.
        """
        mean = clip_average(levels[1], frames)
        return {
            "levels": levels,
            "anaglyph feat": mean,
            "anaglyph normed": self.anaglyph_norm(mean),
        }

    def losses(self, out: Output, batch: Batch, phase: Phase) -> dict[str, Tensor]:
        """Add the losses of frames, of anaglyphs and of their reconstruction: Eq. (15).

        Frames and anaglyphs have an identity, a triplet and an easy-sample loss each.
        Args and Returns as in `Method.losses`.
        """
        c = self.config
        late = phase.name == "encoder"
        normed = out.extra["normed"]
        losses = {"id": F.cross_entropy(out.logits, batch.labels)}
        losses |= self._metric_losses(out.feat, normed, batch, c.esb)
        if c.ig:
            losses |= self._anaglyph_losses(out, batch, late or not c.late_branch)
        if c.ig and c.cr and late:
            predicted = self.cross(out.extra["levels"])
            losses["reconstruction"] = c.lambda_cr * sum(
                reconstruction_loss(*maps, c.cr_reduction) for maps in predicted
            )
        return losses

    def _anaglyph_losses(
        self, out: Output, batch: Batch, every: bool
    ) -> dict[str, Tensor]:
        """Compute the losses of anaglyphs, the triplet alone where `every` is False.

        Paper: it does not say which classifier classifies anaglyphs. They share that of
        the frames, as in the released code.

        Args:
            out: what `forward` returned.
            batch: identities of the clips.
            every: whether there are identity and easy-sample loss.

        Returns:
            Name of a loss, after "anaglyph" -> scalar.
        """
        feat = out.extra["anaglyph feat"]
        normed = out.extra["anaglyph normed"]
        losses = {}
        if every:
            logits = self.neck.classifier(normed)
            losses["id"] = F.cross_entropy(logits, batch.labels)
        losses |= self._metric_losses(feat, normed, batch, self.config.esb and every)
        return {f"anaglyph {name}": value for name, value in losses.items()}

    def _metric_losses(
        self, feat: Tensor, normed: Tensor, batch: Batch, esb: bool
    ) -> dict[str, Tensor]:
        """Compute triplet and easy-sample loss: Eqs. (11) and (12).

        Args:
            feat: features before the neck, (2B, D).
            normed: features after it, (2B, D).
            batch: their identities.
            esb: whether there is an easy-sample loss.

        Returns:
            Name of a loss -> scalar.
        """
        c = self.config
        if c.metric_feat == "post":
            feat = normed
        triplet = batch_hard_triplet(feat, batch.labels, c.margin)
        losses = {"triplet": c.lambda_tri * triplet}
        if esb:
            vis, ir = feat.chunk(2)
            losses["easy sample"] = c.lambda_esb * easy_sample_loss(
                vis,
                ir,
                batch.ids,
                c.esb_same_id,
                c.esb_metric,
                c.esb_reduction,
                c.esb_sample,
            )
        return losses

    def embed(
        self, clips: Tensor, modality: Modality, anaglyphs: Tensor | None = None
    ) -> Tensor:
        """Embed clips of one modality.

        Args:
            clips: (B, T, 3, H, W).
            modality: of the clips.
            anaglyphs: those of the clips, normalised, where they were computed before.

        Returns:
            (B, D) of unit norm.

        Raises:
            ValueError: clips are malformed, or have another T than the gates. Anaglyphs
                are of another shape, `at_test` or `modality` is unknown.
        """
        third, levels, frames = self.read(clips, modality, anaglyphs)
        feat, _ = self.clip_feat(self.refine(third, levels, frames), frames)
        return self.neck.embed(feat)

    def inspect(self, clips: Tensor, modality: Modality) -> dict[str, Tensor]:
        """Compute frame weights and the attention to positions of the keys.

        The keys are the anaglyphs, with `ig_query="anaglyph"` the frames.

        Returns:
            "frame weight", the cosines (B, T). "guidance", attention to positions after
            the third stage, 1 on average, (B, T, h', w'). "frame weight" is absent
            without BSTA, "guidance" without IG or with `at_test="skip"`.
        """
        third, levels, frames = self.read(clips, modality)
        shown = {}
        if self.config.bsta:
            maps = self.refine(third, levels, frames)
            _, shown["frame weight"] = self.clip_feat(maps, frames)
        if levels is not None:
            shown["guidance"] = self.guide3.attention_to_keys(third, levels[0], frames)
        return shown

    def anaglyphs(
        self, clips: Tensor, modality: Modality, step: int | None = None
    ) -> Tensor:
        """Make the anaglyphs of clips: step 1.

        Args:
            clips: normalised, (B, T, 3, H, W).
            modality: of the clips.
            step: of training, in which they may be cropped and mirrored anew.

        Returns:
            Normalised clips of the same shape.
        """
        reliefs = anaglyph(clips, self.config.operator, normalised=True)
        if step is None or self.config.align:
            return reliefs
        return redrawn(reliefs, modality, step)

    def read(
        self, clips: Tensor, modality: Modality, anaglyphs: Tensor | None = None
    ) -> tuple[Tensor, Levels | None, int]:
        """Run both trunks on clips of one modality: steps 1 and 2 of a search.

        Args:
            clips: (B, T, 3, H, W).
            modality: of the clips.
            anaglyphs: those of the clips, normalised, where they were computed before.

        Returns:
            What `refine` takes: F3, the levels as `at_test` says, and T.

        Raises:
            ValueError: clips are malformed, or anaglyphs are of another shape.
                `at_test` or `modality` is unknown.
        """
        check_clips(clips)
        if anaglyphs is not None and anaglyphs.shape != clips.shape:
            raise ValueError(
                f"anaglyphs {tuple(anaglyphs.shape)} must be of the shape of their "
                f"clips, {tuple(clips.shape)}"
            )
        levels = self._search_levels(clips, modality, anaglyphs)
        third = third_stage(self.trunk, self.trunk.stem(clips.flatten(0, 1), modality))
        return third, levels, clips.shape[1]

    def _search_levels(
        self, clips: Tensor, modality: Modality, anaglyphs: Tensor | None
    ) -> Levels | None:
        """Compute the levels of a search.

        Args:
            clips: (B, T, 3, H, W).
            modality: of the clips.
            anaglyphs: those of the clips, None to compute them.

        Returns:
            A3 and A4, (None, None) for blank maps, None for no guidance.

        Raises:
            ValueError: `at_test` is unknown.
        """
        if self.at_test not in ("full", "zero", "skip"):
            raise ValueError(
                f"at_test={self.at_test!r}: choose from 'full', 'zero', 'skip'"
            )
        if not self.config.ig or self.at_test == "skip":
            return None
        if self.at_test == "zero":
            return None, None
        if anaglyphs is None:
            anaglyphs = self.anaglyphs(clips, modality)
        stem = self.intermediary.stem(anaglyphs.flatten(0, 1), modality)
        return anaglyph_levels(self.intermediary, stem)

    def refine(self, third: Tensor, levels: Levels | None, frames: int) -> Tensor:
        """Guide the maps after the third and after the fourth stage: step 3.

        Paper: one IG after the backbone. Two levels, the first of which feeds the last
        stage, are the released code's.

        Args:
            third: maps F3 of the frames of N clips, (NT, C3, h, w).
            levels: A3 and A4 of their anaglyphs, None for no guidance.
            frames: T.

        Returns:
            (NT, D, h, w).
        """
        if levels is None:
            return self.refined(self.trunk.layer4(third))
        third = self.guide3(third, levels[0], frames)
        fourth = self.guide4(self.trunk.layer4(third), levels[1], frames)
        return self.refined(fourth)

    def clip_feat(self, maps: Tensor, frames: int) -> tuple[Tensor, Tensor | None]:
        """Pool and aggregate the frames of N clips: step 4.

        (NT, D, h, w) -> m (N, D), and frame weights (N, T) or None without BSTA.
        """
        feat = global_average(maps).unflatten(0, (-1, frames))  # (N, T, D)
        if not self.config.bsta:
            return temporal_mean(feat), None
        return self.bsta(feat)


def _aggregation(c: Config, dim: int) -> Aggregation:
    return Aggregation(
        dim,
        c.frames,
        c.directions,
        c.temporal,
        c.attention,
        c.gate,
        c.plus_one,
        c.relative_weights,
    )


def _guide(c: Config, channels: int) -> Guide:
    return Guide(channels, c.ig_query, c.ig_layout, c.ig_scope, c.ig_embed)
