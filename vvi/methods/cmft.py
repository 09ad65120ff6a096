"""CMFT: cross-modality cross-scale fusion transformer. No code was released.

Special about it: (a) two whole networks, one per modality, that share nothing but their neck and classifier; temporal shifts let every block see the frames next to its own;
(b) beside them a cascade of fusion blocks reads the maps of both, frame by frame: visible places ask infrared ones and the other way round, and what a stage fuses multiplies the
maps that the next stage fuses; (c) training in two stages, triplets inside each of three feature spaces, then agreement of their distances (MSRL) and pull to centres (MDL).

What the paper never says is who the partner of a clip is when a search begins: a query has one modality. Here the default is none (`unimodal`), so the cascade only shapes the
streams while they train; see `Model.oracle_pair` for what a partner chosen by identity would give away. The batch needs two pairs of each identity.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args, get_origin, get_type_hints

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vvi.losses import batch_hard_triplet, hard_hinge, same_identity, weighted_triplet
from vvi.methods.base import Method, Output, Phase, check_clips, in_main_reading
from vvi.nn import backbone
from vvi.nn.fusion import Cascade, FusedHead, Gate
from vvi.nn.neck import Neck
from vvi.nn.pool import global_average, temporal_mean
from vvi.nn.shift import Stream, paired
from vvi.runtime.random import torch_rng
from vvi.types import MODALITIES, Batch, Modality

VERSION = 3
ORACLE = "oracle (label leak)"
Cross = Literal["cross", "wrt", "hct", "cmt"]
Metric = Literal["euclidean", "cosine", "pmt"]
Negatives = Literal["dyn", "all", "hard"]
READINGS = {
    "shift": (True, True),
    "shared_from": (3, 7),
    "cross": ("cmt", "cross"),
    "stage2_triplet": (True, False),
}  # what a switch that is None means: (main, paper)


@dataclass(frozen=True)
class Config:
    """Switches of CMFT. `frames` is T; shifts and means take any number, so it only documents what the run feeds.

    fusion: the cascade "ccf", or what Table 2 compares it with; start: first stage of the cascade, 2 (after the stem) to 6; branches: both attentions of a block, or visible asking
    infrared alone; gate: how a fused map enters the next stage ("none" leaves the block of stage 6 alone, whatever `start`); shift, last_stride: of the streams; cross: triplets
    of stage 1 (Table 4); msrl, mdl: distances of MSRL, negatives of MDL, or None (Table 5), weighed by lambda1 and lambda2; stage2_triplet: keep them in stage 2; switch: the
    epoch in which stage 2 begins, of 200: as 8 of 24 stand before their first drop at 10, 28 do before ours at 35; test_embedding: what is searched with, the clip's own stream or the fusion of the clip with itself;
    variant: "main" takes the reading that a search can use for what is None, "paper" the letter; shared_from: first stage that both streams share, 2 to 6, or 7 for none;
    streams_start: whether the two streams begin with the same weights, as from one ImageNet network, or "apart".
    self_pair_prob: share of training pairs that are one clip twice; tta: whether a search averages a clip and its mirror image.
    """

    backbone: str = "resnet50"
    weights: str | None = None
    frames: int = 6
    variant: Literal["main", "paper"] = "paper"
    fusion: Literal["ccf", "concat", "score_avg", "score_mul"] = "ccf"
    start: Literal[2, 3, 4, 5, 6] = 5
    branches: Literal[1, 2] = 2
    gate: Gate = "mul"
    shift: bool | None = None
    last_stride: Literal[1, 2] = 1
    shared_from: Literal[2, 3, 4, 5, 6, 7] | None = None
    streams_start: Literal["alike", "apart"] = "alike"
    cross: Cross | None = None
    margin: float = 0.1
    msrl: Metric | None = "euclidean"
    mdl: Negatives | None = "dyn"
    lambda1: float = 0.3
    lambda2: float = 0.7
    stage2_triplet: bool | None = None
    switch: float = 28
    test_embedding: Literal["unimodal", "self_pair"] = "unimodal"
    self_pair_prob: float = 0.0
    tta: Literal["none", "flip"] = "none"

    def __post_init__(self):
        for name, hint in get_type_hints(Config).items():
            known = [
                value
                for part in (hint, *get_args(hint))
                if get_origin(part) is Literal
                for value in get_args(part)
            ]
            known += (
                [None]
                if known and (type(None) in get_args(hint) or name in READINGS)
                else []
            )
            if known and getattr(self, name) not in known:
                raise ValueError(
                    f"{name}={getattr(self, name)!r}: choose from {', '.join(map(repr, known))}"
                )
        for name, (main, paper) in READINGS.items():
            if getattr(self, name) is None:
                object.__setattr__(
                    self, name, main if self.variant == "main" else paper
                )
        if self.fusion.startswith("score") and self.msrl is not None:
            raise ValueError(
                f"fusion={self.fusion!r} has no fused feature for MSRL to compare with: set msrl=None"
            )


def cross_modal_loss(
    vis: Tensor,
    ir: Tensor,
    fused: Tensor | None,
    ids: Tensor,
    margin: float = 0.1,
    mode: Cross = "cross",
) -> Tensor:
    """Stage 1, Eqs. (7)-(10): features (N, D) of both streams and of their fusion, ids (N,) -> scalar. "cross": a batch-hard triplet inside each of the three spaces.

    The other modes replace the two of the streams by what Table 4 compares: "wrt" the weighted triplet, "hct" the triplet between centres, "cmt" a triplet across modalities.
    Paper: Eqs. (7)-(9) print a sum over anchors and no hinge; the loss "CMT" cannot be identified from its citation, "cmt" is our reading.
    """
    same = same_identity(vis, ids)
    if mode == "cross":
        loss = hard_hinge(vis, same, margin) + hard_hinge(ir, same, margin)
    elif mode == "wrt":
        loss = weighted_triplet(torch.cat((vis, ir)), ids.repeat(2), own=True)
    elif mode == "hct":
        loss = batch_hard_triplet(
            torch.cat((_centres(vis, ids), _centres(ir, ids))), ids.repeat(2), margin
        )
    else:
        dist = _gaps(vis, ir)
        hinges = [
            (
                dist.masked_fill(~same, -torch.inf).amax(n)
                - dist.masked_fill(same, torch.inf).amin(n)
                + margin
            ).relu()
            for n in (0, 1)
        ]
        loss = torch.cat(hinges).mean()
    return loss if fused is None else loss + hard_hinge(fused, same, margin)


def refinement_loss(
    vis: Tensor,
    ir: Tensor,
    fused: Tensor | None,
    ids: Tensor,
    metric: Metric = "euclidean",
) -> Tensor:
    """MSRL, Eqs. (11)-(14): each clip's mean distance to the others of its identity shall be the same in its stream as in the fused space. (N, D) each, ids (N,) -> scalar.

    "cosine": distances 1 - cos, meant for features after the neck; "pmt": the loss it was made from, which compares with the distance to the other modality and needs no `fused`.
    Paper: Eqs. (11)-(13) lack the condition of one identity and divide K - 1 terms by K; Eq. (14) leaves the outer distance open, here a squared difference.
    """
    same = same_identity(vis, ids, 1) & same_identity(ir, ids, 1)
    need_partners(ids)
    others = same & ~torch.eye(len(ids), dtype=torch.bool, device=ids.device)
    dist = _cosine if metric == "cosine" else _gaps
    own = [_mean(dist(feat, feat), others) for feat in (vis, ir)]
    target = (
        [_mean(dist(*pair), same) for pair in ((vis, ir), (ir, vis))]
        if metric == "pmt"
        else 2 * [_mean(dist(fused, fused), others)]
    )
    return sum((a - b).square().mean() for a, b in zip(own, target, strict=True)) / 2


def discriminative_loss(
    vis: Tensor, ir: Tensor, ids: Tensor, negatives: Negatives = "dyn"
) -> Tensor:
    """MDL, Eqs. (15)-(17): clips near the centre of their identity, over both modalities, relative to the clips of others. (N, D) each, ids (N,) -> scalar.

    negatives: those not farther from a centre than they are on average ("dyn"), "all", or the closest alone ("hard"). Gradient flows through centres and distances.
    Paper: Eq. (16) prints (P - 1) outside the fraction, the condition of Eq. (17) is garbled; the loss it was taken from compares with "<", which can leave no negative at all.
    """
    ids, feat = ids.repeat(2), torch.cat((vis, ir))
    same = same_identity(feat, ids)
    dist = _gaps(
        _centres(feat, ids), feat
    )  # row j: from the centre of identity y_j to everything
    other, weight = ~same, 1 / same.sum(1)
    if negatives != "all":
        closest = dist.detach().masked_fill(same, torch.inf).amin(1, keepdim=True)
        limit = (
            closest
            if negatives == "hard"
            else torch.maximum(closest, _mean(dist.detach(), other)[:, None])
        )  # equal distances may round above their mean
        other = other & (dist <= limit)
    return (_mean(dist, same) * weight).sum() / (_mean(dist, other) * weight).sum()


def need_partners(ids: Tensor) -> None:
    """ValueError (on a CPU) when an identity has one pair only: MSRL compares distances inside an identity."""
    if ids.device.type == "cpu" and bool(
        ((ids[:, None] == ids).sum(1) < 2).any()
    ):  # on a GPU the question would make the host wait
        raise ValueError(
            "MSRL needs two clips of each identity and modality in a batch: set tracklets=2 or more in the recipe, or msrl=None"
        )


def _gaps(a: Tensor, b: Tensor) -> Tensor:
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    return 1 - F.normalize(a, dim=1) @ F.normalize(b, dim=1).T


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    return (values * chosen).sum(1) / chosen.sum(1)


def _centres(feat: Tensor, ids: Tensor) -> Tensor:
    same = (ids[:, None] == ids).to(feat)
    return same @ feat / same.sum(1, keepdim=True)


class Stamped(NamedTuple):
    """Embeddings that must not be shown without saying how they came about."""

    feat: Tensor
    protocol: str


class Model(Method):
    """Two shifted streams, their fusion, one neck and one classifier."""

    slow = ("streams",)
    maps = "last_maps"

    def __init__(self, config: Config, num_ids: int):
        super().__init__()
        self.config = config
        trunk = backbone.build(config.backbone, config.weights)
        other = (
            trunk
            if config.streams_start == "alike"
            else backbone.build(config.backbone, config.weights)
        )
        vis = Stream(trunk, "vis", config.shift, config.last_stride)
        ir = Stream(
            other,
            "ir",
            config.shift,
            config.last_stride,
            lender=vis,
            shared_from=config.shared_from,
        )
        self.streams = nn.ModuleDict({"vis": vis, "ir": ir})
        self.last_maps = (
            nn.Identity()
        )  # the last maps of either stream pass here, for heat maps
        dim, parts = trunk.channels[-1], ("streams", "neck")
        self.neck = Neck(dim, num_ids)
        if config.fusion in ("ccf", "concat"):
            cascade = (
                Cascade(trunk.channels, config.start, config.branches, config.gate)
                if config.fusion == "ccf"
                else None
            )
            self.fusion = cascade or nn.Linear(2 * dim, dim)
            self.fused_head = FusedHead(cascade.width if cascade else dim, dim, num_ids)
            parts += ("fusion", "fused_head")
        self.phases = (
            Phase("stage1", parts, (0, config.switch)),
            Phase("stage2", parts, (config.switch, math.inf)),
        )

    def forward(self, batch: Batch) -> Output:
        """Both streams, the features of their last maps, and what is fused of both; Sec. 3."""
        if batch.step == 0 and self.config.msrl:
            need_partners(batch.ids.cpu())
        return self.both(*self._pairs(batch))

    def losses(self, out: Output, batch: Batch, phase: Phase) -> dict[str, Tensor]:
        """Eq. (18) in stage 1, Eq. (19) in stage 2, in float32."""
        c, ids = self.config, batch.ids
        with torch.autocast(out.feat.device.type, enabled=False):
            (vis, ir), fused = (
                out.feat.float().chunk(2),
                None if out.extra["fused"] is None else out.extra["fused"].float(),
            )
            identity = 2 * F.cross_entropy(
                out.logits.float(), batch.labels
            ) + F.cross_entropy(out.extra["fused_logits"].float(), ids)
            terms = {"id": identity / 3}  # the mean over visible, infrared and fused
            if phase.name == "stage1" or c.stage2_triplet:
                terms["cross"] = cross_modal_loss(
                    vis, ir, fused, ids, c.margin, c.cross
                )
            if phase.name == "stage2" and c.msrl:
                seen = (
                    (
                        *out.extra["normed"].float().chunk(2),
                        out.extra["fused_normed"].float(),
                    )
                    if c.msrl == "cosine"
                    else (vis, ir, fused)
                )
                terms["msrl"] = c.lambda1 * refinement_loss(*seen, ids, c.msrl)
            if phase.name == "stage2" and c.mdl:
                terms["mdl"] = c.lambda2 * discriminative_loss(vis, ir, ids, c.mdl)
        return terms

    def embed(self, clips: Tensor, modality: Modality) -> Tensor:
        """(B, T, 3, H, W) -> (B, D), unit norm. No clip has a partner here: "unimodal" uses its own stream alone, "self_pair" shows the clip to both."""
        check_clips(clips)
        views = (clips, clips.flip(-1)) if self.config.tta == "flip" else (clips,)
        if self.config.test_embedding == "self_pair":
            normed = [self.both(view, view).extra["fused_normed"] for view in views]
        else:
            normed = [
                self.neck.norm(
                    _clip_feat(self.stage_maps(view, modality)[-1], view.shape[1])
                )
                for view in views
            ]
        return F.normalize(sum(normed).float(), dim=1)

    def oracle_pair(
        self, clips: Tensor, partners: Tensor, modality: Modality
    ) -> Stamped:
        """Fused embeddings of clips with partners of the other modality that the caller chose by their identity: (B, T, 3, H, W) twice -> (B, D), stamped.

        This needs the label that a search shall find, so no config reaches it, and its numbers belong beside no other method's.
        """
        warnings.warn(
            f"{ORACLE}: partners chosen by identity put the answer into the question; rank it beside no method",
            UserWarning,
            stacklevel=2,
        )
        check_clips(clips)
        pair = (clips, partners) if modality == "vis" else (partners, clips)
        return Stamped(
            F.normalize(self.both(*pair).extra["fused_normed"].float(), dim=1), ORACLE
        )

    def inspect(self, clips: Tensor, modality: Modality) -> dict[str, Tensor]:
        """The last fusion block on each clip paired with itself: "read by vis", "read by ir", "gate" (B, T, h, w) and "gate turned" (B, T), as in `Cascade.inside`."""
        if self.config.fusion != "ccf":
            return {}
        found = self.fusion.inside(*(self.stage_maps(clips, m) for m in MODALITIES))
        return {
            name: values.unflatten(0, clips.shape[:2]) for name, values in found.items()
        }

    def stage_maps(self, clips: Tensor, modality: Modality) -> list[Tensor]:
        """Clips of one modality -> maps of stages 2 to 6 of its stream, (BT, C, h, w) each."""
        *early, last = self.streams[modality](clips)
        return [*early, self.last_maps(last)]

    def both(self, vis: Tensor, ir: Tensor) -> Output:
        """Clips of both modalities, (B, T, 3, H, W) each, and what is fused of both: the feature before and after its norm (B, D), and class scores (B, C). For training, where
        pairs are chosen by identity: what is fused of test clips paired so is an oracle, see `oracle_pair`."""
        *early, last = zip(
            *paired(self.streams["vis"], self.streams["ir"], vis, ir), strict=True
        )
        maps = list(zip(*early, [self.last_maps(maps) for maps in last], strict=True))
        feat = torch.cat([_clip_feat(m[-1], vis.shape[1]) for m in maps])
        normed, logits = self.neck(feat)
        (mine, theirs), (seen, other), mode = (
            normed.chunk(2),
            logits.float().chunk(2),
            self.config.fusion,
        )
        if (
            mode == "score_avg"
        ):  # no fused feature to learn from; what stands for it in a search is the mean of both
            fused, fused_normed, scores = (
                None,
                (mine + theirs) / 2,
                torch.logaddexp(seen.log_softmax(1), other.log_softmax(1))
                - math.log(2),
            )
        elif mode == "score_mul":
            fused, fused_normed, scores = None, mine * theirs, seen + other
        else:
            fused = (
                _clip_feat(self.fusion(*maps), vis.shape[1])
                if mode == "ccf"
                else self.fusion(torch.cat(feat.chunk(2), 1))
            )
            fused_normed, scores = self.fused_head(fused, self.neck.classifier)
        return Output(
            feat,
            logits,
            {
                "normed": normed,
                "fused": fused,
                "fused_normed": fused_normed,
                "fused_logits": scores,
            },
        )

    def _pairs(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Clips for the two streams, where `self_pair_prob` of the pairs are one clip, of either modality, twice."""
        share = self.config.self_pair_prob
        if not share:
            return batch.vis, batch.ir
        draw = torch.rand(
            len(batch.ids), generator=torch_rng("self pair", batch.step)
        ).to(batch.vis.device, non_blocking=True)[:, None, None, None, None]
        return torch.where(draw < share / 2, batch.ir, batch.vis), torch.where(
            draw > 1 - share / 2, batch.vis, batch.ir
        )


def _clip_feat(maps: Tensor, frames: int) -> Tensor:
    return temporal_mean(global_average(maps).unflatten(0, (-1, frames)))


PAIRS = {
    "identities": 8,
    "tracklets": 2,
}  # MSRL needs two clips of an identity and modality; as many clips a step as the other methods see
FUSIONS = {
    "Score average": {"fusion": "score_avg", "msrl": None},
    "Score multiplication": {"fusion": "score_mul", "msrl": None},
    "Feature concatenation": {"fusion": "concat"},
    "CMFT_S6F": {"start": 6, "branches": 1},
    "CMFT_D6F": {
        "start": 6
    },  # Paper: its numbers are those of row S5 of Table 3, its definition is that of S6
}
LOSSES = {
    "MSRL_cosine": {"msrl": "cosine", "mdl": None},
    "MSRL_euclidean": {"mdl": None},
    "MDL_hard": {"msrl": None, "mdl": "hard"},
    "MDL_all": {"msrl": None, "mdl": "all"},
    "MDL_dyn": {"msrl": None},
    "MSRL_euclidean+MDL_dyn": {},
}
ALIGNED = {
    "literal (two whole networks)": {"variant": "paper"},
    "begun apart": {"variant": "paper", "streams_start": "apart"},
    "stages 4 to 6 shared": {"variant": "paper", "shared_from": 4},
    "stages 3 to 6 shared": {"variant": "paper", "shared_from": 3},
    "triplet across the modalities": {
        "variant": "paper",
        "cross": "cmt",
        "stage2_triplet": True,
    },
    "both (main)": {},
    "both, frames not shifted": {"shift": False},
    "main, self pairs in a quarter of training": {"self_pair_prob": 0.25},
    "the same, searched as a pair with itself": {
        "test_embedding": "self_pair",
        "self_pair_prob": 0.25,
    },
    "neither MSRL nor MDL": {"msrl": None, "mdl": None},
}
_TABLES: dict[str, dict[str, dict]] = {
    "Table 2": FUSIONS,
    "Table 3": {f"CMFT_S{n}": {} if n == 5 else {"start": n} for n in (6, 5, 4, 3, 2)},
    "Table 4": {
        "L_CMT": {},
        "WRT": {"cross": "wrt"},
        "HCT": {"cross": "hct"},
        "L_Cross (CMFT)": {"cross": "cross"},
    },
    "Table 5": LOSSES,
    "Table 6": {"CMFT": {}},
    "Readings": ALIGNED,
    "Same batches": {"Baseline": {"method": "baseline"}, "CMFT": {}},
}
ABLATIONS = in_main_reading(
    {
        table: {label: PAIRS | changes for label, changes in rows.items()}
        for table, rows in _TABLES.items()
    }
)
PAPER_RECIPE = {
    table: dict(epochs=24, milestones=(10, 20), warmup=3, switch=8.0)
    for table in ABLATIONS
}  # the paper's own clock, at the size of the paper
MAIN = (
    "Same batches",
    "CMFT",
)  # the row that stands for the paper, beside the plain network on batches of the same kind
SWEEPS = ()  # no table is run on the first seed only
TUNED = {
    "lambda1": (0.1, 0.3, 0.5),
    "lambda2": (0.3, 0.7, 1.0),
    "switch": (28.0, 60.0, 120.0),
    "margin": (0.1, 0.3),
}  # what `vvi tune` may choose
AT_SEARCH = (
    "test_embedding",
    "tta",
)  # options that training does not see: runs that differ in nothing else share their weights
