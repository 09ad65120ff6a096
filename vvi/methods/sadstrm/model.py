"""The network of SADSTRM and its training: Algorithm 1, or Eq. (17) in one step."""

from __future__ import annotations

import copy
import itertools
import math
from functools import cached_property
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vvi.losses import batch_hard_triplet
from vvi.methods.base import Method, Output, Phase, check_clips
from vvi.methods.sadstrm.config import Config, InSearch
from vvi.methods.sadstrm.losses import attack_loss, squared_triplet, two_modality_ce
from vvi.methods.sadstrm.parts import Attention, StripeRelations
from vvi.nn import backbone
from vvi.nn.neck import Neck
from vvi.nn.pool import clip_average
from vvi.runtime.random import rank_and_world_size, torch_rng_of_all
from vvi.types import Batch, Modality, check_modality

#: Maps after the third and the fourth stage of the defender, F_d3 and F_d.
Levels = tuple[Tensor, Tensor]
#: p_d before the neck and f_d after it, (2B, D) each, and logits (2B, C). A tuple, so
#: that ranks gather it.
Path = tuple[Tensor, Tensor, Tensor]
#: Which parts an objective moves: "def", "stig", "att" -> names of attributes.
Moved = dict[str, tuple[str, ...]]


class Branches(Output):
    """Results of forward that are computed when a phase first reads them.

    No phase pays for what it does not read. B clips of each modality, visible first.

    Args:
        model: computes the branches.
        stem: maps of the stems (2BT, C0, h0, w0).
        frames: T.
        step: of the batch, which seeds the draw of partners.
        shard: (rank, world size): which equal part of the global batch the clips are.
    """

    def __init__(
        self,
        model: Model,
        stem: Tensor,
        frames: int,
        step: int,
        shard: tuple[int, int] = (0, 1),
    ):
        self.model, self.stem, self.frames, self.step = model, stem, frames, step
        self.shard = shard
        self.extra, self.watch = {}, {}

    @cached_property
    def levels(self) -> Levels:
        """F_d3 and F_d, Eq. (6)."""
        return self.model.levels(self.stem)

    @cached_property
    def fused(self) -> Tensor:
        """Maps refined by those of the partners, (2BT, D, h, w): Eqs. (7) and (8)."""
        levels = self.levels
        partners = self.model.partners(levels, self.frames, self.step, self.shard)
        return self.model.fuse(levels, partners)

    @cached_property
    def path(self) -> Path:
        """p_d, f_d and logits of the defender: Eq. (8)."""
        return self.model.defend(self.fused, self.frames)

    @cached_property
    def searched_path(self) -> Path:
        """`path` without a partner: of the clip with itself, or of F_d past CMCA."""
        own = self.levels if self.model.cmca_test == "self" else None
        return self.model.defend(self.model.fuse(self.levels, own), self.frames)

    @property
    def feat(self) -> Tensor:
        """p_d, before the neck (2B, D)."""
        return self.path[0]

    @property
    def normed(self) -> Tensor:
        """f_d, after the neck (2B, D)."""
        return self.path[1]

    @property
    def logits(self) -> Tensor:
        """Logits of the defender (2B, C)."""
        return self.path[2]

    @cached_property
    def attacked(self) -> Tensor:
        """f, features of the attacking encoder (2B, D): Eqs. (2) and (4)."""
        maps = self.model.e_att(self.model.imsa(self.stem, self.stem))
        return self.model.bn_att(clip_average(maps, self.frames))

    @cached_property
    def stripes(self) -> Tensor:
        """j_d, vectors of the stripes (2B, KD): Eq. (15)."""
        maps = self.fused if self.model.maps == "fused" else self.levels[1]
        return self.model.stig(maps, self.frames)


class Model(Method):
    """Two stems, an attacking and a defending encoder, stripe relations.

    `cmca_test` may be set on a trained model.
    """

    # Paper: one rate, 0.12, for all (Sec. IV-A). A tenth for all but necks and
    # classifiers is that of IBAN's released code.
    slow = ("stems", "imsa", "e_att", "e_def3", "conla4", "cmca3", "cmca4", "stig")

    def __init__(self, config: Config, num_ids: int):
        super().__init__()
        self.config, self.cmca_test = config, config.cmca_test
        trunk = backbone.build(config.backbone, config.weights)
        dim = trunk.channels[-1]
        self.stems = trunk.stems
        self.e_def3 = nn.Sequential(trunk.layer1, trunk.layer2, trunk.layer3)
        self.conla4 = trunk.layer4
        if config.asam:
            self.imsa = Attention(trunk.channels[0])
            # the two encoders start equal and train apart
            self.e_att = copy.deepcopy(nn.Sequential(self.e_def3, self.conla4))
            self.bn_att, self.w_att = _norm_and_classifier(dim, num_ids)
        if config.cmca:
            third, fourth = trunk.channels[3:]
            self.cmca3 = Attention(third, config.cmca_query)
            self.cmca4 = Attention(fourth, config.cmca_query)
        # for heat maps: where modalities are fused, the fourth stage runs twice
        self.fused = nn.Identity()
        self.bn_def, self.w_def = _norm_and_classifier(dim, num_ids)
        if config.stig != "none":
            self.stig = StripeRelations(dim, config)
            self.w_se = Neck(config.parts * dim, num_ids).classifier
        # the layer of heat maps: its maps are searched by, or cut into stripes
        after_cmca = config.stig == "none" or config.stig_input == "post_cmca"
        self.maps = "fused" if after_cmca else "conla4"
        if config.cmca and after_cmca:
            others = [mode for mode in get_args(InSearch) if mode != config.cmca_test]
            self.readings = {f"cmca {mode}": {"cmca_test": mode} for mode in others}
        self.phases = self._phases()

    def forward(self, batch: Batch) -> Branches:
        """Run the stems, Eq. (1), visible first. The rest follows on demand.

        Raises:
            ValueError: with `partner="stranger"`, a clip would have a partner of its
                own identity (checked on a GPU in the first step only).
        """
        if self.config.partner == "stranger":
            self._require_strangers(batch)
        vis = self.stems["vis"](batch.vis.flatten(0, 1))
        ir = self.stems["ir"](batch.ir.flatten(0, 1))
        stem, frames = torch.cat((vis, ir)), batch.vis.shape[1]
        return Branches(self, stem, frames, batch.step, rank_and_world_size())

    def levels(self, stem: Tensor) -> Levels:
        """Run the defending encoder on stem maps (N, C0, h0, w0): Eq. (6)."""
        third = self.e_def3(stem)
        return third, self.conla4(third)

    def fuse(self, own: Levels, other: Levels | None) -> Tensor:
        """Refine both levels by another clip's and average: Eq. (7), mean of Eq. (8).

        Args:
            own: levels to refine.
            other: levels of the other modality, or None to leave F_d as it is.

        Returns:
            Maps (N, D, h, w).
        """
        if other is None or not self.config.cmca:
            return self.fused(own[1])
        third = self.conla4(self.cmca3(own[0], other[0]))
        fourth = self.cmca4(own[1], other[1])
        return self.fused((third + fourth) / 2)

    def defend(self, maps: Tensor, frames: int) -> Path:
        """Pool maps (2BT, D, h, w), normalise and classify: Eq. (8)."""
        feat = clip_average(maps, frames)
        normed = self.bn_def(feat)
        return feat, normed, self.w_def(normed)

    def partners(
        self, levels: Levels, frames: int, step: int, shard: tuple[int, int] = (0, 1)
    ) -> Levels:
        """Return the levels of the partner of every clip.

        Args:
            levels: of a batch, visible first, (2BT, C, h, w) each.
            frames: T.
            step: of the batch, which seeds the draw of `partner="half"`. The run's seed
                does not: all seeds share the draws.
            shard: (rank, world size): which equal part of the global batch they are.

        Returns:
            Levels of the same shapes.
        """
        rows = self._partner_rows(len(levels[0]) // frames, step, shard)
        rows = rows.to(levels[0].device, non_blocking=True)
        third, fourth = (maps.unflatten(0, (-1, frames)) for maps in levels)
        return third[rows].flatten(0, 1), fourth[rows].flatten(0, 1)

    def _partner_rows(
        self, count: int, step: int, shard: tuple[int, int] = (0, 1)
    ) -> Tensor:
        """Return the partner of each clip.

        Args:
            count: clips of both modalities, 2B.
            step: seeds the draw of `partner="half"`.
            shard: as in `partners`.

        Returns:
            Rows of the clips, (2B,).
        """
        own = torch.arange(count)
        same_person = own.roll(count // 2)  # the other modality's clip of the pair
        if self.config.partner == "self":
            return own
        if self.config.partner == "stranger":
            # shifted by B/2, since clips of one identity are adjacent
            halves = [half.roll(count // 4) for half in same_person.chunk(2)]
            return torch.cat(halves)
        if self.config.partner == "half":
            rank, world_size = shard
            generator = torch_rng_of_all("partner", step)
            # of the global batch, which holds one modality of all ranks after another
            draw = torch.rand(2, world_size, count // 2, generator=generator)
            draw = draw[:, rank].flatten()
            return torch.where(draw < 0.5, own, same_person)
        return same_person

    def _require_strangers(self, batch: Batch) -> None:
        """Raise ValueError if a chosen partner is of the clip's own identity."""
        on_cpu = batch.ids.device.type == "cpu"
        if batch.step and not on_cpu:  # the check would force a device sync
            return
        labels = batch.labels.cpu()
        rows = self._partner_rows(len(labels), batch.step)
        same = labels[rows] == labels
        if bool(same.any()):
            raise ValueError(
                "partner='stranger' pairs a clip with its own identity "
                f"({int(labels[same][0])}): each process needs clips of two identities "
                "or more"
            )

    def _phases(self) -> tuple[Phase, ...]:
        """List the steps of Algorithm 1, of which Step II needs an attack."""
        first = self._moved_in_step_one()
        if not self.config.asam:
            return self._schedule("I", first, (0, math.inf))
        begin = self.config.step_two
        second = self._moved_in_step_two(first)
        return (
            *self._schedule("I", first, (0, begin)),
            *self._schedule("II", second, (begin, math.inf)),
        )

    def _moved_in_step_one(self) -> Moved:
        """Return what each objective moves in Step I.

        Paper: the text trains Step I without E_def and W_se, Algorithm 1 with both,
        as here. Its line 5 also lists E_def, which Eqs. (3) and (5) do not reach. IMSA
        goes with E_att and CMCA with E_def, which no line lists.
        """
        cmca = ("cmca3", "cmca4") if self.config.cmca else ()
        defender = ("stems", "e_def3", "conla4")
        moved = {"def": (*defender, *cmca, "bn_def", "w_def")}
        if self.config.stig != "none":
            read = cmca if self.maps == "fused" else ()
            moved["stig"] = (*defender, *read, "stig", "w_se")
        if self.config.asam:
            moved["att"] = ("stems", "imsa", "e_att", "bn_att", "w_att")
        return moved

    def _moved_in_step_two(self, first: Moved) -> Moved:
        """Return the same for Step II: the defender leaves stems and classifier."""
        moved = {}
        for name, parts in first.items():
            if name != "def":
                moved[name] = parts
            elif self.config.asam_stage2 == "def+att":
                moved["def"] = tuple(p for p in parts if p not in ("stems", "w_def"))
        return moved

    def _schedule(
        self, step: str, moved: Moved, epochs: tuple[float, float]
    ) -> tuple[Phase, ...]:
        """Return one phase per objective, or one for all of them.

        Args:
            step: "I" or "II".
            moved: which parts each objective moves.
            epochs: first one, and the one before which the step ends.

        Returns:
            Phases in the order of the objectives.
        """
        if self.config.optim_mode == "joint":
            every = itertools.chain.from_iterable(moved.values())
            parts = tuple(dict.fromkeys(every))  # in order, each part once
            return (Phase(f"{step}.joint", parts, epochs),)
        phases = []
        for name, parts in moved.items():
            fresh = name != "def"
            phase = Phase(f"{step}.{name}", parts, epochs, fresh, optimiser=name)
            phases.append(phase)
        return tuple(phases)

    def losses(self, out: Branches, batch: Batch, phase: Phase) -> dict[str, Tensor]:
        """Compute the weighted terms of Eq. (17) whose heads a phase moves.

        Args and Returns as in `Method.losses`.
        """
        terms = {}
        if "bn_def" in phase.parts:
            defended = out
            if "w_def" not in phase.parts:
                # Step II: the defender adapts to stems that stay, so that of a joint
                # step only the other objectives reach them. `out.stem` has the clips of
                # all processes: each computes the defender anew for the whole batch
                stem = out.stem.detach()
                defended = Branches(self, stem, out.frames, out.step)
            terms |= self._defence(defended, batch)
        if "w_se" in phase.parts:
            vis, ir = self.w_se(out.stripes).chunk(2)
            identity = two_modality_ce(vis, ir, batch.ids)
            terms["stripe id"] = self.config.lambda_3 * identity
        if "w_att" in phase.parts:
            terms |= self._attack(out, batch)
        return terms

    def _attack(self, out: Branches, batch: Batch) -> dict[str, Tensor]:
        """Compute Eqs. (3) and (5). Gradient passes W_def and never moves it.

        Paper: W_def is pre-trained. Here it learns in Step I of the run.
        """
        of_defender = F.linear(out.attacked, self.w_def.weight.detach())
        of_attacker = self.w_att(out.attacked)
        _watch(out, "W_def", of_defender, batch.labels)
        _watch(out, "W_att", of_attacker, batch.labels)
        identity = two_modality_ce(*of_attacker.chunk(2), batch.ids)
        return {
            "attack": attack_loss(*of_defender.chunk(2)),
            "attack id": self.config.lambda_1 * identity,
        }

    def _defence(self, out: Branches, batch: Batch) -> dict[str, Tensor]:
        """Compute Eqs. (9) and (10), averaged over the features that are supervised."""
        paths = [out.path]
        if self.config.cmca and self.config.supervised == "dual":
            paths.append(out.searched_path)
        identities, triplets = [], []
        for feat, normed, logits in paths:
            identities.append(two_modality_ce(*logits.chunk(2), batch.ids))
            triplets.append(self._triplet(feat, normed, batch))
        weight = self.config.lambda_2
        return {
            "id": weight * (sum(identities) / len(paths)),
            "triplet": weight * (sum(triplets) / len(paths)),
        }

    def _triplet(self, feat: Tensor, normed: Tensor, batch: Batch) -> Tensor:
        """Compute Eq. (10).

        Paper: the triplet of squared distances after the norm would be over twenty
        times the identity loss at 2048 channels, and a hundred times the plain triplet.
        The default is the plain distance before the norm.

        Args:
            feat: p_d, before the norm (2B, D).
            normed: f_d, after it (2B, D).
            batch: its classes are read.

        Returns:
            A scalar.
        """
        if self.config.triplet_form == "squared_post_bn":
            return squared_triplet(normed, batch.labels, self.config.margin)
        return batch_hard_triplet(feat, batch.labels, self.config.margin)

    def embed(self, clips: Tensor, modality: Modality) -> Tensor:
        """Embed clips of one modality, with unit norm.

        Only the stem of that modality is used, except with `cmca_test="cross_stem"`.

        Args:
            clips: (B, T, 3, H, W).
            modality: of all clips.

        Returns:
            The stripes j_d (B, KD), or without stripes f_d (B, D).

        Raises:
            ValueError: clips of another shape or type, an unknown modality, or an
                unknown `cmca_test`.
        """
        check_clips(clips)
        levels = self.search_levels(clips, modality)
        other = None
        if self.maps == "fused":
            other = self.stand_in(clips, modality, levels)
        maps = self.search_maps(levels, other)
        frames = clips.shape[1]
        if self.config.stig == "none":
            feat = self.bn_def(clip_average(maps, frames))
        else:
            feat = self.stig(maps, frames)
        return F.normalize(feat.float(), dim=1)

    def inspect(self, clips: Tensor, modality: Modality) -> dict[str, Tensor]:
        """Return the attention that positions get and the gates of stripes.

        The mean gate of a frame is its weight: motion enters a clip ungated, so only
        the gate makes a frame count for less in the appearance of a person.

        Args:
            clips: (B, T, 3, H, W).
            modality: of all clips.

        Returns:
            "cmca3 attention" and "cmca4 attention" (B, T, h, w), absent without CMCA or
            where it is bypassed. Where stripes are cut before CMCA, the embedding does
            not contain it. "gate", the mean over channels for each stripe (B, T, K),
            and "frame weight" (B, T), absent without a gate.

        Raises:
            ValueError: clips of another shape or type, or an unknown modality.
        """
        check_clips(clips)
        levels = self.search_levels(clips, modality)
        other = self.stand_in(clips, modality, levels)
        shown = {}
        if other is not None:
            third = self.cmca3.received(levels[0], other[0])
            fourth = self.cmca4.received(levels[1], other[1])
            shown["cmca3 attention"] = third.unflatten(0, clips.shape[:2])
            shown["cmca4 attention"] = fourth.unflatten(0, clips.shape[:2])
        if self.config.stig in ("no_spa", "full"):
            maps = self.search_maps(levels, other)
            feat = self.stig.cut(maps, clips.shape[1])
            gate = self.stig.gates(feat, self.stig.motion(feat)).mean(3)
            shown |= {"gate": gate, "frame weight": gate.mean(2)}
        return shown

    def search_levels(self, clips: Tensor, modality: Modality) -> Levels:
        """Run clips of one modality through stem and defender: (BT, C, h, w) each.

        Raises:
            ValueError: an unknown modality or an unknown `cmca_test`.
        """
        check_modality(modality)
        modes = get_args(InSearch)
        if self.cmca_test not in modes:
            known = ", ".join(map(repr, modes))
            raise ValueError(f"cmca_test={self.cmca_test!r}: choose from {known}")
        return self.levels(self.stems[modality](clips.flatten(0, 1)))

    def stand_in(
        self, clips: Tensor, modality: Modality, levels: Levels
    ) -> Levels | None:
        """Return the levels that clips of one modality attend to in a search.

        Paper: silent on what stands in for the other modality. It is never another
        clip.

        Args:
            clips: (B, T, 3, H, W).
            modality: of all clips.
            levels: their own, (BT, C, h, w) each.

        Returns:
            Levels of the same shapes, or None without CMCA or where it is bypassed.
        """
        if not self.config.cmca or self.cmca_test == "bypass":
            return None
        if self.cmca_test == "self":
            return levels
        opposite = "ir" if modality == "vis" else "vis"
        return self.levels(self.stems[opposite](clips.flatten(0, 1)))

    def search_maps(self, levels: Levels, other: Levels | None) -> Tensor:
        """Return the maps that a search compares or cuts into stripes, (BT, D, h, w).

        Args:
            levels: of the clips, (BT, C, h, w) each.
            other: those that they attend to, read where `self.maps` is "fused".
        """
        return levels[1] if self.maps == "conla4" else self.fuse(levels, other)


@torch.no_grad()
def _watch(out: Output, name: str, logits: Tensor, labels: Tensor) -> None:
    """Record how a classifier scores the attacked features.

    "belief of NAME" is the mean probability of the true class, "doubt of NAME" the mean
    entropy over log C, its greatest value.

    Args:
        out: its `watch` is written to.
        name: of the classifier.
        logits: (2B, C).
        labels: true classes (2B,).
    """
    log = F.log_softmax(logits.float(), 1)
    probability = log.exp()
    of_true_class = probability.gather(1, labels[:, None])
    entropy = -(probability * log).sum(1).mean()
    out.watch[f"belief of {name}"] = of_true_class.mean()
    out.watch[f"doubt of {name}"] = entropy / math.log(log.shape[1])


def _norm_and_classifier(dim: int, num_ids: int) -> tuple[nn.Module, nn.Module]:
    """Build a neck and return its two layers."""
    neck = Neck(dim, num_ids)
    return neck.norm, neck.classifier
