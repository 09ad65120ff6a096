"""SADSTRM: adversarial self-attack defence and spatial-temporal relation mining (no code of this paper was released).

Special about it: (a) what makes two clips of a person differ counts as an attack that the clips already hold. An attacking encoder teaches the stems to let it through: what it
makes of their maps shall leave the defender's classifier undecided, while the defending encoder learns identity from the same maps. Every step is a plain minimisation, no sign is
turned. (b) While the defender learns, both modalities of a person attend to each other. (c) An LSTM over time for each body stripe, then one over stripes, drive a gate on the
stripe vectors, which are what a search compares. Any T is taken.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args, get_origin, get_type_hints

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vvi.losses import batch_hard_triplet, same_identity
from vvi.methods.base import Method, Output, Phase, check_clips, in_main_reading
from vvi.nn import backbone
from vvi.nn.neck import Neck
from vvi.nn.pool import global_average, temporal_mean
from vvi.nn.recurrent import FloatLSTM
from vvi.runtime.random import torch_rng
from vvi.types import Batch, Modality

VERSION = 2
InSearch = Literal["self", "bypass", "cross_stem"]
READINGS = {
    "optim_mode": ("joint", "alternating"),
    "supervised": ("dual", "fused"),
}  # what a switch that is None means: (main, paper)
Levels = tuple[
    Tensor, Tensor
]  # maps after the third and the fourth stage of the defender, F_d3 and F_d


@dataclass(frozen=True)
class Config:
    """Switches of SADSTRM.

    asam: the attack; cmca: attention between modalities; stig: stripe relations, "fr_e_ti" without the gate, "no_spa" with a gate that knows its own stripe only; optim_mode:
    Algorithm 1, or Eq. (17) in one step; asam_stage2: whether the defender still learns in Step II, from epoch `step_two`; triplet_form: "squared_post_bn" is Eq. (10) as printed;
    cmca_query: whose places ask; cmca_test: what stands in for the other modality in a search; stig_input: stripes of the maps before or after cmca; parts: K stripes.
    partner: to whom a clip attends while it trains, the same person in the other modality as in the paper, another clip's person ("stranger"), itself, or half of the clips
    themselves; supervised: whether the losses of the defender read the fused feature alone, as printed, or the mean of them and those of what a search compares ("dual").
    Those that are None follow `variant`: "paper" is the letter, "main" supervises what is searched and takes all objectives in one step.
    """

    backbone: str = "resnet50"
    weights: str | None = None
    frames: int = 6
    variant: Literal["main", "paper"] = "paper"
    asam: bool = True
    cmca: bool = True
    stig: Literal["none", "fr_e_ti", "no_spa", "full"] = "full"
    optim_mode: Literal["alternating", "joint"] | None = None
    partner: Literal["person", "stranger", "self", "half"] = "person"
    supervised: Literal["fused", "dual"] | None = None
    asam_stage2: Literal["def+att", "att"] = "def+att"
    step_two: float = 150
    lambda_1: float = 1.0
    lambda_2: float = 0.5
    lambda_3: float = 0.5
    triplet_form: Literal["euclid_pre_bn", "squared_post_bn"] = "euclid_pre_bn"
    margin: float = 0.3
    cmca_query: Literal["self", "other"] = "self"
    cmca_test: InSearch = "self"
    stig_input: Literal["pre_cmca", "post_cmca"] = "pre_cmca"
    parts: int = 6
    lstm_layers: int = 1

    def __post_init__(self):
        for name, hint in get_type_hints(Config).items():
            known = [
                value
                for part in (hint, *get_args(hint))
                if get_origin(part) is Literal
                for value in get_args(part)
            ]
            if known and getattr(self, name) not in [
                *known,
                *([None] if name in READINGS else []),
            ]:
                why = ", no code was released" if name == "variant" else ""
                raise ValueError(
                    f"{name}={getattr(self, name)!r}: choose from {', '.join(map(repr, known))}{why}"
                )
        for name, (main, paper) in READINGS.items():
            if getattr(self, name) is None:
                object.__setattr__(
                    self, name, main if self.variant == "main" else paper
                )


class Attention(nn.Module):
    """Attention over the places of a frame, added to what it refines: IMSA, Eq. (2), with one input; CMCA, Eq. (7), with two. Its norm starts at zero: an identity at first.

    query="self": places of x ask, those of y answer; "other": places of y ask and x itself answers, as in a sibling paper's code.

    Paper: Figs. 3 and 4 name products and a sum only; this is the usual non-local block on half the channels, without a scale.
    """

    def __init__(
        self,
        channels: int,
        query: Literal["self", "other"] = "self",
        inner: int | None = None,
    ):
        super().__init__()
        inner, self.query = inner or channels // 2, query
        # 1x1 convolutions, as linear maps of places: a channels-last convolution of 8 channels would kill the process (see vvi.nn.backbone)
        self.theta, self.phi, self.g = (nn.Linear(channels, inner) for _ in range(3))
        self.out, self.norm = nn.Linear(inner, channels), nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Maps to refine and maps to attend to, (N, C, h, w) both -> (N, C, h, w). Fused: the (hw, hw) weights of a frame are never held."""
        ask, answer = self._roles(x, y)
        mixed = F.scaled_dot_product_attention(
            *(
                part[:, None]
                for part in (self.theta(ask), self.phi(answer), self.g(answer))
            ),
            scale=1.0,
        )[:, 0]
        return x + self.norm(self.out(mixed).mT.unflatten(2, x.shape[2:]))

    def received(self, x: Tensor, y: Tensor) -> Tensor:
        """How much attention each answering place gets, mean over those that ask: (N, C, h, w) twice -> (N, h, w), of sum 1 in a frame."""
        ask, answer = self._roles(x, y)
        return (
            (self.theta(ask) @ self.phi(answer).mT)
            .softmax(2)
            .mean(1)
            .unflatten(1, x.shape[2:])
        )

    def _roles(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        ask, answer = (x, y) if self.query == "self" else (y, x)
        return ask.flatten(2).mT, answer.flatten(2).mT  # (N, hw, C)


class StripeRelations(nn.Module):
    """FRM-STIG, Eqs. (11) to (15): the motion of each stripe, the relation of stripes at the last frame, a gate from both."""

    def __init__(self, dim: int, config: Config):
        super().__init__()
        self.kind, self.parts = config.stig, config.parts
        self.mot = FloatLSTM(dim, dim, config.lstm_layers, batch_first=True)
        if self.kind == "full":
            self.spa = FloatLSTM(dim, dim, config.lstm_layers, batch_first=True)
        if self.kind != "fr_e_ti":
            hidden = max(8, dim // 16)  # Paper: gives no width
            self.lm1, self.lm2 = nn.Linear(2 * dim, hidden), nn.Linear(hidden, dim)

    def cut(self, maps: Tensor, frames: int) -> Tensor:
        """Maps (NT, D, h, w) -> vectors of K horizontal stripes, top to bottom, (N, T, K, D); neighbours share rows where K does not divide h."""
        return (
            F.adaptive_avg_pool2d(maps, (self.parts, 1))
            .squeeze(3)
            .mT.unflatten(0, (-1, frames))
        )

    def motion(self, feat: Tensor) -> Tensor:
        """One LSTM over time, the same for every stripe: (N, T, K, D) -> (N, T, K, D)."""
        states = self.mot(feat.transpose(1, 2).flatten(0, 1))[0]  # (NK, T, D)
        return states.unflatten(0, (-1, self.parts)).transpose(1, 2)

    def gates(self, feat: Tensor, motion: Tensor) -> Tensor:
        """Stripe vectors and their motion, (N, T, K, D) both -> gates in 0..1 (N, T, K, D): Eqs. (11) and (12).

        Paper: the output of the LSTM over stripes has the symbol of the last stripe's motion; they are two things, and all gates see the former.
        """
        last = motion[:, -1]  # (N, K, D)
        relation = (
            self.spa(last)[0][:, -1:] if self.kind == "full" else last
        )  # (N, 1 or K, D)
        return torch.sigmoid(
            self.lm2(
                F.relu(
                    self.lm1(torch.cat((feat, relation[:, None].expand_as(feat)), 3))
                )
            )
        )

    def forward(self, maps: Tensor, frames: int) -> Tensor:
        """Maps of the frames of N clips, (NT, D, h, w) -> clip vectors j_d (N, KD): Eqs. (13) to (15)."""
        feat = self.cut(maps, frames)
        motion = self.motion(feat)
        seen = feat if self.kind == "fr_e_ti" else feat * self.gates(feat, motion)
        return temporal_mean(seen + motion).flatten(1)


def attack_loss(vis: Tensor, ir: Tensor) -> Tensor:
    """What the attack asks of the defender's classifier, Eq. (3): its logits (B, M) for attacked clips of both modalities -> scalar; least, 2 log M, where it is undecided."""
    return -(F.log_softmax(vis, 1).mean() + F.log_softmax(ir, 1).mean())


def two_modality_ce(vis: Tensor, ir: Tensor, ids: Tensor) -> Tensor:
    """Identity loss of Eqs. (5), (9) and (16): logits (B, M) of both modalities, classes (B,) -> scalar, the sum of two means (twice the mean over all clips)."""
    return F.cross_entropy(vis, ids) + F.cross_entropy(ir, ids)


def squared_triplet(feat: Tensor, ids: Tensor, margin: float = 0.3) -> Tensor:
    """Eq. (10) as printed, with squared distances, hardest positive and negative of each anchor: feat (N, D), ids (N,) -> scalar."""
    same = same_identity(feat, ids)
    dist = torch.cdist(
        feat.float(), feat.float(), compute_mode="donot_use_mm_for_euclid_dist"
    ).square()
    return (
        (
            dist.masked_fill(~same, -torch.inf).amax(1)
            - dist.masked_fill(same, torch.inf).amin(1)
            + margin
        )
        .relu()
        .mean()
    )


class Branches(Output):
    """What forward hands on: the stem maps (2BT, C0, h0, w0), and branches that run when a phase first asks for them, so that none pays for what it does not read."""

    def __init__(self, model: Model, stem: Tensor, frames: int, step: int):
        self.model, self.stem, self.frames, self.step = model, stem, frames, step
        self.extra, self.watch = {}, {}

    levels = cached_property(lambda out: out.model.levels(out.stem))  # F_d3 and F_d
    fused = cached_property(
        lambda out: out.model.fuse(
            out.levels, out.model.partners(out.levels, out.frames, out.step)
        )
    )
    searched = cached_property(
        lambda out: out.model.fuse(
            out.levels, out.levels if out.model.cmca_test == "self" else None
        )
    )  # without a partner, as a search has none
    searched_feat = cached_property(
        lambda out: _clip_mean(out.searched, out.frames)
    )  # (2B, D)
    searched_normed = cached_property(lambda out: out.model.bn_def(out.searched_feat))
    searched_logits = cached_property(lambda out: out.model.w_def(out.searched_normed))
    feat = cached_property(lambda out: _clip_mean(out.fused, out.frames))  # p_d (2B, D)
    normed = cached_property(
        lambda out: out.model.bn_def(out.feat)
    )  # f_d (2B, D), Eq. (8)
    logits = cached_property(lambda out: out.model.w_def(out.normed))  # (2B, M)
    attacked = cached_property(
        lambda out: out.model.bn_att(
            _clip_mean(out.model.e_att(out.model.imsa(out.stem, out.stem)), out.frames)
        )
    )  # f (2B, D), Eq. (4)
    stripes = cached_property(
        lambda out: out.model.stig(
            out.fused if out.model.maps == "fused" else out.levels[1], out.frames
        )
    )  # j_d (2B, KD), Eq. (15)


class Model(Method):
    """Two stems that serve an attacking and a defending encoder, and stripe relations on the defender's maps. `cmca_test` may be set on a trained model."""

    slow = ("stems", "imsa", "e_att", "e_def3", "conla4", "cmca3", "cmca4", "stig")

    def __init__(self, config: Config, num_ids: int):
        super().__init__()
        self.config, self.cmca_test = config, config.cmca_test
        trunk = backbone.build(config.backbone, config.weights)
        dim = trunk.channels[-1]
        self.stems, self.e_def3, self.conla4 = (
            trunk.stems,
            nn.Sequential(trunk.layer1, trunk.layer2, trunk.layer3),
            trunk.layer4,
        )
        if config.asam:
            self.imsa = Attention(trunk.channels[0])
            self.e_att = copy.deepcopy(
                nn.Sequential(self.e_def3, self.conla4)
            )  # the two encoders start equal and train apart
            self.bn_att, self.w_att = Neck(dim, num_ids).children()
        if config.cmca:
            self.cmca3, self.cmca4 = (
                Attention(channels, config.cmca_query)
                for channels in trunk.channels[3:]
            )
        self.fused = (
            nn.Identity()
        )  # for heat maps: where modalities are fused, the fourth stage runs twice
        self.bn_def, self.w_def = Neck(dim, num_ids).children()
        if config.stig != "none":
            self.stig, self.w_se = (
                StripeRelations(dim, config),
                Neck(config.parts * dim, num_ids).classifier,
            )
        self.maps = (
            "fused"
            if config.stig == "none" or config.stig_input == "post_cmca"
            else "conla4"
        )  # also what is searched by, and cut into stripes
        if config.cmca and self.maps == "fused":
            self.readings = {
                f"cmca {name}": {"cmca_test": name}
                for name in get_args(InSearch)
                if name != config.cmca_test
            }
        self.phases = self._phases()

    def _phases(self) -> tuple[Phase, ...]:
        """What each objective moves, Algorithm 1, in turn or all in one step. Without an attack there is no Step II.

        Paper: line 5 also lists E_def, which Eqs. (3) and (5) do not reach; IMSA goes with E_att and CMCA with E_def, which no line lists.
        """
        c, cmca = self.config, ("cmca3", "cmca4") if self.config.cmca else ()
        one = {"def": ("stems", "e_def3", "conla4", *cmca, "bn_def", "w_def")}
        if c.stig != "none":
            one["stig"] = (
                "stems",
                "e_def3",
                "conla4",
                *(cmca if self.maps == "fused" else ()),
                "stig",
                "w_se",
            )
        steps = [("I", one, (0, math.inf))]
        if c.asam:
            one["att"] = ("stems", "imsa", "e_att", "bn_att", "w_att")
            two = (
                {"def": ("e_def3", "conla4", *cmca, "bn_def")}
                if c.asam_stage2 == "def+att"
                else {}
            )
            two |= {name: parts for name, parts in one.items() if name != "def"}
            steps = [("I", one, (0, c.step_two)), ("II", two, (c.step_two, math.inf))]
        if c.optim_mode == "joint":
            return tuple(
                Phase(
                    f"{step}.joint",
                    tuple(dict.fromkeys(sum(sets.values(), ()))),
                    epochs,
                )
                for step, sets, epochs in steps
            )
        return tuple(
            Phase(f"{step}.{name}", parts, epochs, name != "def", optimiser=name)
            for step, sets, epochs in steps
            for name, parts in sets.items()
        )

    def forward(self, batch: Batch) -> Branches:
        """The stems of both modalities, Eq. (1), visible first; the rest follows on demand."""
        stem = torch.cat(
            [
                self.stems["vis"](batch.vis.flatten(0, 1)),
                self.stems["ir"](batch.ir.flatten(0, 1)),
            ]
        )
        return Branches(self, stem, batch.vis.shape[1], batch.step)

    def losses(self, out: Branches, batch: Batch, phase: Phase) -> dict[str, Tensor]:
        """The weighted terms of Eq. (17) of a phase, told by the heads that it moves."""
        terms = {}
        if "bn_def" in phase.parts:
            # in Step II the defender adapts to stems and a classifier that stay: cut off, so that of a joint step only the other objectives reach the stems
            terms |= self._defence(
                out
                if "w_def" in phase.parts
                else Branches(self, out.stem.detach(), out.frames, out.step),
                batch,
            )
        if "w_se" in phase.parts:
            terms["stripe id"] = self.config.lambda_3 * two_modality_ce(
                *self.w_se(out.stripes).chunk(2), batch.ids
            )
        return terms | self._attack(out, batch) if "w_att" in phase.parts else terms

    def _defence(self, out: Branches, batch: Batch) -> dict[str, Tensor]:
        """Eqs. (9) and (10). Paper: squared distances after the norm would outweigh the identity loss a hundredfold at 2048 channels; the default is the distance before it."""
        weight, paths = self.config.lambda_2, [(out.feat, out.normed, out.logits)]
        if self.config.cmca and self.config.supervised == "dual":
            paths.append((out.searched_feat, out.searched_normed, out.searched_logits))
        identity = sum(
            two_modality_ce(*logits.chunk(2), batch.ids) for _, _, logits in paths
        ) / len(paths)
        triplet = sum(
            self._triplet(feat, normed, batch) for feat, normed, _ in paths
        ) / len(paths)
        return {"id": weight * identity, "triplet": weight * triplet}

    def _triplet(self, feat: Tensor, normed: Tensor, batch: Batch) -> Tensor:
        if self.config.triplet_form == "squared_post_bn":
            return squared_triplet(normed, batch.labels, self.config.margin)
        return batch_hard_triplet(feat, batch.labels, self.config.margin)

    def _attack(self, out: Branches, batch: Batch) -> dict[str, Tensor]:
        """Eqs. (3) and (5); gradient passes W_def and never moves it. Watched for the attacked features: "belief" in the true class, "doubt" as entropy over log M."""
        logits = {
            "W_def": F.linear(out.attacked, self.w_def.weight.detach()),
            "W_att": self.w_att(out.attacked),
        }
        for name, scores in logits.items():
            log = F.log_softmax(scores.detach().float(), 1)
            out.watch[f"belief of {name}"] = (
                log.exp().gather(1, batch.labels[:, None]).mean()
            )
            out.watch[f"doubt of {name}"] = -(log.exp() * log).sum(1).mean() / math.log(
                log.shape[1]
            )
        return {
            "attack": attack_loss(*logits["W_def"].chunk(2)),
            "attack id": self.config.lambda_1
            * two_modality_ce(*logits["W_att"].chunk(2), batch.ids),
        }

    def embed(self, clips: Tensor, modality: Modality) -> Tensor:
        """(B, T, 3, H, W) -> (B, KD) of unit norm, the stripes j_d; without stripes f_d, (B, D). Only the stem of the clip's own modality is used, but for "cross_stem"."""
        check_clips(clips)
        maps, frames = self._search(clips, modality)[2], clips.shape[1]
        return F.normalize(
            (
                self.bn_def(_clip_mean(maps, frames))
                if self.config.stig == "none"
                else self.stig(maps, frames)
            ).float(),
            dim=1,
        )

    def inspect(self, clips: Tensor, modality: Modality) -> dict[str, Tensor]:
        """Attention that each place gets in both CMCA (B, T, h, w), and the gate of each stripe, mean over channels (B, T, K).

        The mean gate of a frame is its weight: motion enters a clip ungated, so the gate is all by which a frame counts for less in how a person looks.
        """
        levels, other, maps = self._search(clips, modality)
        found = {}
        if other:
            for name, x, y in zip(("cmca3", "cmca4"), levels, other, strict=True):
                found[f"{name} attention"] = (
                    getattr(self, name).received(x, y).unflatten(0, clips.shape[:2])
                )
        if self.config.stig in ("no_spa", "full"):
            feat = self.stig.cut(maps, clips.shape[1])
            gate = self.stig.gates(feat, self.stig.motion(feat)).mean(3)
            found |= {"gate": gate, "frame weight": gate.mean(2)}
        return found

    def levels(self, stem: Tensor) -> Levels:
        """Eq. (6): stem maps (N, C0, h0, w0) -> maps after the defender's third and fourth stage."""
        third = self.e_def3(stem)
        return third, self.conla4(third)

    def fuse(self, own: Levels, other: Levels | None) -> Tensor:
        """Eq. (7) and the mean in Eq. (8): both levels refined by another modality's -> (N, C, h, w); without another modality F_d as it is."""
        if other is None or not self.config.cmca:
            return self.fused(own[1])
        return self.fused(
            (self.conla4(self.cmca3(own[0], other[0])) + self.cmca4(own[1], other[1]))
            / 2
        )

    def partners(self, levels: Levels, frames: int, step: int) -> Levels:
        """Maps of the partner of every clip of a batch, at both levels, (2BT, C, h, w) each: by default the other modality's clip of the same pair."""
        count = (
            len(levels[0]) // frames
        )  # 2B clips, visible first, the clips of an identity side by side
        own = torch.arange(count)
        chosen = own.roll(count // 2)
        if self.config.partner == "stranger":
            chosen = torch.cat(
                [half.roll(count // 4) for half in chosen.chunk(2)]
            )  # half a batch on: another identity
        elif self.config.partner == "self":
            chosen = own
        elif self.config.partner == "half":
            chosen = torch.where(
                torch.rand(count, generator=torch_rng("partner", step)) < 0.5,
                own,
                chosen,
            )
        chosen = chosen.to(levels[0].device, non_blocking=True)
        return tuple(
            maps.unflatten(0, (-1, frames))[chosen].flatten(0, 1) for maps in levels
        )

    def _search(
        self, clips: Tensor, modality: Modality
    ) -> tuple[Levels, Levels | None, Tensor]:
        """Levels of clips of one modality, what they attend to in place of the other, and the maps that are compared. Paper: silent on it; it is never another clip."""
        frames, other = clips.flatten(0, 1), None
        levels = self.levels(self.stems[modality](frames))
        if self.cmca_test not in get_args(InSearch):
            raise ValueError(
                f"cmca_test={self.cmca_test!r}: choose from {', '.join(map(repr, get_args(InSearch)))}"
            )
        if self.config.cmca and self.cmca_test != "bypass":
            other = (
                levels
                if self.cmca_test == "self"
                else self.levels(
                    self.stems["ir" if modality == "vis" else "vis"](frames)
                )
            )
        return (
            levels,
            other,
            levels[1] if self.maps == "conla4" else self.fuse(levels, other),
        )


def _clip_mean(maps: Tensor, frames: int) -> Tensor:
    return temporal_mean(global_average(maps).unflatten(0, (-1, frames)))


ADM = {"asam": False, "stig": "none"}
_GRID = {
    "lambda_1": (0.1, 1, 9),
    "lambda_2": (0.01, 0.1, 0.5, 4),
    "lambda_3": (0.1, 0.5, 5),
}  # Fig. 8: ends of its axes, optima that the text names
ABLATIONS = in_main_reading(
    {
        "Table 1": {
            "Baseline": {"asam": False, "cmca": False, "stig": "none"},
            "Baseline+ASAM": {"cmca": False, "stig": "none", "asam_stage2": "att"},
            "Baseline+ADM": ADM,
            "Baseline+FRM-STIG": {"asam": False, "cmca": False},
            "Baseline+ASAM+ADM": {"stig": "none"},
            "Baseline+ASAM+ADM+FR-E-TI": {"stig": "fr_e_ti"},
            "Baseline+ASAM+ADM+FRM-STIG*": {"stig": "no_spa"},
            "Baseline+ASAM+ADM+FRM-STIG": {},
        },
        "Readings": {
            "main": {},
            "literal (Algorithm 1, fused path alone)": {"variant": "paper"},
            "alternating (Algorithm 1)": {"optim_mode": "alternating"},
            "fused path alone": {"supervised": "fused"},
        },
        "The partner": {
            "ADM, the same person": ADM | {"supervised": "fused"},
            "ADM, a stranger": ADM | {"supervised": "fused", "partner": "stranger"},
            "ADM, half of the clips themselves": ADM
            | {"supervised": "fused", "partner": "half"},
            "ADM, oneself": ADM | {"supervised": "fused", "partner": "self"},
            "ADM, the same person, search path supervised": ADM,
        },
        # Adam divides the weight of a whole objective out of a step of its own (Algorithm 1): weights are compared where objectives meet, in Eq. (17)
        "Fig. 8": {
            f"{n}={v}": {} if v == getattr(Config, n) else {n: v}
            for n, grid in _GRID.items()
            for v in grid
        },
    }
)
MAIN = ("Table 1", "Baseline+ASAM+ADM+FRM-STIG")  # the row that stands for the paper
SWEEPS = ("Fig. 8",)  # curves over a setting
TUNED = {
    "lambda_1": (0.1, 0.3, 1.0),
    "lambda_2": (0.5, 1.0, 2.0),
    "lambda_3": (0.1, 0.5, 1.0),
    "step_two": (80.0, 150.0, 200.0),
}  # what `vvi tune` may choose
