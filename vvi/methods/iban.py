"""IBAN: intermediary-guided bidirectional spatial-temporal aggregation (IEEE TCSVT 2023).

Special about it: (a) a second trunk reads the anaglyph of every frame, an emboss filter that keeps relief and drops colour, and attention between the maps of both trunks refines
those of the frame; a search needs both trunks. (b) An LSTM in each direction sums a clip up, and a frame counts for as much as it resembles the summaries. (c) The clip of a
modality that lies nearest to a clip of the other one, its easy sample, pulls all clips of its own modality, whoever they show.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Literal, get_args, get_origin, get_type_hints

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vvi.data.transforms import anaglyph, crop_and_flip, denormalise, normalise
from vvi.losses import batch_hard_triplet, same_identity
from vvi.methods.base import Method, Output, Phase, check_clips, in_main_reading
from vvi.nn import backbone
from vvi.nn.bidirectional import Aggregation, frame_weights, weighted_mean  # noqa: F401 - all parts of the paper by the name of its module
from vvi.nn.guide import Guide, Layout, Query, Reconstruction, Scope
from vvi.nn.neck import Neck
from vvi.nn.pool import global_average, temporal_mean
from vvi.runtime.random import torch_rng
from vvi.types import Batch, Modality

VERSION = 2
Variant = Literal["main", "paper", "released"]
Operator = Literal["paper", "released"]
Metric = Literal["cosine", "euclidean"]
Reduction = Literal["sum", "mean"]
Levels = tuple[
    Tensor | None, Tensor | None
]  # anaglyph maps after the third and the fourth stage, A3 and A4, or None for blank ones
# What a switch that is None means in each variant: (main, paper, released). The main reading takes the released value where the letter of the paper does not train: triplet and
# easy-sample loss before the neck, weights of 1, frame weights 1 + w.
READINGS: dict[str, tuple] = {
    "operator": ("paper", "paper", "released"),
    "align": (True, True, False),
    "ig_query": ("original", "original", "anaglyph"),
    "ig_layout": ("permute", "permute", "raw_view"),
    "gate": ("shared", "shared", "per_place"),
    "plus_one": (True, False, True),
    "esb_same_id": (False, False, True),
    "esb_metric": ("cosine", "cosine", "euclidean"),
    "esb_reduction": ("mean", "mean", "sum"),
    "metric_feat": ("pre", "post", "pre"),
    "late_branch": (False, False, True),
    "lambda_tri": (1, 1.5, 1),
    "lambda_esb": (1, 1.5, 1),
}


@dataclass(frozen=True)
class Config:
    """Switches of IBAN. Those that are None follow `variant`, see `READINGS`.

    ig: the anaglyph trunk, its losses and the guidance; cr: its reconstruction loss, from epoch `cr_start`; bsta: the aggregation, else a mean; directions, temporal, attention:
    rows -b, -l, -a of Table II; esb: the easy-sample loss; esb_sample: whether the nearest clip of the other modality pulls, or the farthest, the hard sample of Fig. 6. operator:
    `anaglyph`; align: anaglyphs share crop and mirror of their frames; ig_query to ig_embed: `Guide`; gate, plus_one: `Aggregation`; esb_same_id to esb_reduction:
    `easy_sample_loss`; metric_feat: triplet and easy-sample loss after or before the neck; late_branch: the anaglyph trunk has no more than the triplet before `cr_start`;
    lambda_tri, lambda_esb, lambda_cr: lambda 1, 2, 3.
    """

    backbone: str = "resnet50"
    weights: str | None = None
    frames: int = 6
    variant: Variant = "paper"
    ig: bool = True
    cr: bool = True
    bsta: bool = True
    directions: Literal["both", "forward"] = "both"
    temporal: Literal["lstm", "mean"] = "lstm"
    attention: bool = True
    esb: bool = True
    esb_sample: Literal["easy", "hard"] = "easy"
    operator: Operator | None = None
    align: bool | None = None
    ig_query: Query | None = None
    ig_layout: Layout | None = None
    ig_scope: Scope = "clip"
    ig_embed: bool = True
    gate: Literal["shared", "per_place"] | None = None
    plus_one: bool | None = None
    esb_same_id: bool | None = None
    esb_metric: Metric | None = None
    esb_reduction: Reduction | None = None
    cr_reduction: Literal["mse", "l2_sum"] = "mse"
    metric_feat: Literal["post", "pre"] | None = None
    late_branch: bool | None = None
    lambda_tri: float | None = None
    lambda_esb: float | None = None
    lambda_cr: float = 1
    cr_start: float = 40
    margin: float = 0.3

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
                raise ValueError(
                    f"{name}={getattr(self, name)!r}: choose from {', '.join(map(repr, known))}"
                )
        for name, values in READINGS.items():
            if getattr(self, name) is None:
                object.__setattr__(
                    self, name, values[get_args(Variant).index(self.variant)]
                )


def redrawn(clips: Tensor, modality: Modality, step: int) -> Tensor:
    """Normalised anaglyph clips (B, T, 3, H, W) with a crop and a mirror of their own for every frame, as the released loader draws them; a function of the step."""
    frames, draw = (
        denormalise(clips).flatten(0, 1),
        torch_rng("anaglyph", modality, step),
    )
    pad = round(clips.shape[-2] / 28.8)  # 10 of 288
    top, left = (
        torch.randint(2 * pad + 1, (len(frames),), generator=draw) for _ in range(2)
    )
    mirror = torch.rand(len(frames), generator=draw) < 0.5
    return normalise(
        crop_and_flip(
            frames,
            *(x.to(clips.device, non_blocking=True) for x in (top, left, mirror)),
            pad=pad,
        )
    ).view(clips.shape)


def easy_sample_loss(
    vis: Tensor,
    ir: Tensor,
    ids: Tensor,
    same_id: bool = False,
    metric: Metric = "cosine",
    reduction: Reduction = "sum",
    sample: Literal["easy", "hard"] = "easy",
) -> Tensor:
    """Each clip's nearest one in the other modality, its easy sample, is held fast and pulls all of that modality: (B, D) of both, ids (B,) -> scalar. Eqs. (12) to (14).

    The sum of 2 B^2 mean squared errors, or their mean. same_id: the nearest among clips of the same identity only; it still pulls every identity. sample: "hard" takes the
    farthest clip for the nearest, the loss that Fig. 6 argues against.

    Paper: sums, after the neck, which fixes the variance. The term starts fifty times as large as the identity loss and is least where each modality is one point, far from the
    other; training ends there and learns no identity. `Config` takes the mean. The released code sums before the neck, where vectors can shrink.
    """
    vis, ir, same = (
        vis.float(),
        ir.float(),
        same_identity(vis, ids, 1) & same_identity(ir, ids, 1),
    )
    with torch.no_grad():
        apart = (
            -F.cosine_similarity(vis[:, None], ir, 2)
            if metric == "cosine"
            else (vis[:, None] - ir).square().sum(2)
        )  # (B, B)
        apart = apart if sample == "easy" else -apart
        if same_id:
            apart = apart.masked_fill(~same, torch.inf)
        of_vis, of_ir = ir[apart.argmin(1)], vis[apart.argmin(0)]
    pairs = torch.stack(
        (
            (vis[:, None] - of_ir).square().mean(2),
            (ir[:, None] - of_vis).square().mean(2),
        )
    )
    return pairs.sum() if reduction == "sum" else pairs.mean()


def reconstruction_loss(
    vis: Tensor,
    ir: Tensor,
    from_vis: Tensor,
    from_ir: Tensor,
    reduction: Literal["mse", "l2_sum"] = "mse",
) -> Tensor:
    """Anaglyph maps of one level, (BT, ...), against what is foretold of them: ir against from_vis = R(vis), vis against from_ir = R(ir) -> scalar. Eq. (5), targets held fast.

    Paper: prints a sum of norms, "l2_sum", that would outweigh all other losses a thousandfold at full size; the released code takes mean squares.
    """
    errors = [
        (told - target.detach()).float()
        for told, target in ((from_vis, ir), (from_ir, vis))
    ]
    return sum(
        error.square().mean()
        if reduction == "mse"
        else error.flatten(1).norm(dim=1).sum()
        for error in errors
    )


class Model(Method):
    """Two trunks of two stems each, guidance after their last two stages, aggregation, neck.

    Paper: its conclusion drops the second trunk after training, but Eq. (4) needs it. What a search loses without it is measured by setting `at_test` of a trained model: "zero"
    blanks its maps, "skip" leaves the guidance out.
    """

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
        self.config, self.at_test = config, "full"
        c = config
        self.trunk = backbone.build(c.backbone, c.weights)
        *_, third, dim = self.trunk.channels
        self.refined = (
            nn.Identity()
        )  # for heat maps: what is pooled, whether guided or not
        self.neck = Neck(dim, num_ids)
        if c.bsta:
            self.bsta = Aggregation(
                dim, c.frames, c.directions, c.temporal, c.attention, c.gate, c.plus_one
            )
        if c.ig:
            self.intermediary = copy.deepcopy(
                self.trunk
            )  # the trunks start equal, as both do from ImageNet, and train apart
            self.guide3, self.guide4 = (
                Guide(width, c.ig_query, c.ig_layout, c.ig_scope, c.ig_embed)
                for width in (third, dim)
            )
            self.anaglyph_norm = Neck(dim, 1).norm
            self.readings = {
                f"anaglyphs {name}": {"at_test": value}
                for name, value in (("blank", "zero"), ("unused", "skip"))
            }
        if c.ig and c.cr:
            self.cross = Reconstruction(third, dim)
        self.phases = self._phases()

    def _phases(self) -> tuple[Phase, ...]:
        """One optimiser; from `cr_start` on the anaglyph maps must foretell each other."""
        c, order = (
            self.config,
            (
                "trunk",
                "bsta",
                "neck",
                "intermediary",
                "guide3",
                "guide4",
                "anaglyph_norm",
                "cross",
            ),
        )
        parts = tuple(name for name in order if hasattr(self, name))
        idle = (
            {"cross", "anaglyph_norm"}
            if c.late_branch and c.metric_feat == "pre"
            else {"cross"}
        )  # what has no loss before
        start = c.cr_start if c.ig and (c.cr or c.late_branch) else 0
        before = Phase(
            "before", tuple(name for name in parts if name not in idle), (0, start)
        )
        return (
            *((before,) if start > 0 else ()),
            Phase("encoder", parts, (start, math.inf)),
        )

    def forward(self, batch: Batch) -> Output:
        """Algorithm 1, steps 1 to 4, for both modalities in one pass, visible first."""
        frames, levels, extra = batch.vis.shape[1], None, {}
        if self.config.ig:
            made = (
                self.anaglyphs(clips, modality, batch.step)
                for clips, modality in ((batch.vis, "vis"), (batch.ir, "ir"))
            )
            levels = _levels(self.intermediary, self.intermediary.both(*made))
            mean = temporal_mean(global_average(levels[1]).unflatten(0, (-1, frames)))
            extra = {
                "levels": levels,
                "anaglyph feat": mean,
                "anaglyph normed": self.anaglyph_norm(mean),
            }
        feat, weights = self.clip_feat(
            self.refine(
                _third(self.trunk, self.trunk.both(batch.vis, batch.ir)), levels, frames
            ),
            frames,
        )
        normed, logits = self.neck(feat)
        seen = (
            {
                "frame weight": weights.detach().mean(),
                "variance before the neck": feat.detach().var(0).mean(),
            }
            if self.config.bsta
            else {}
        )
        return Output(feat, logits, extra | {"normed": normed}, seen)

    def losses(self, out: Output, batch: Batch, phase: Phase) -> dict[str, Tensor]:
        """Eq. (15): identity, triplet and easy-sample loss of frames and of anaglyphs; the reconstruction of anaglyphs."""
        c, late = self.config, phase.name == "encoder"
        terms = {"id": F.cross_entropy(out.logits, batch.labels)} | self._metric(
            out.feat, out.extra["normed"], batch, c.esb
        )
        if c.ig:
            whole, normed = late or not c.late_branch, out.extra["anaglyph normed"]
            found = (
                {"id": F.cross_entropy(self.neck.classifier(normed), batch.labels)}
                if whole
                else {}
            )
            found |= self._metric(
                out.extra["anaglyph feat"], normed, batch, c.esb and whole
            )
            terms |= {f"anaglyph {name}": value for name, value in found.items()}
        if c.ig and c.cr and late:
            terms["reconstruction"] = c.lambda_cr * sum(
                reconstruction_loss(*maps, c.cr_reduction)
                for maps in self.cross(out.extra["levels"])
            )
        return terms

    def _metric(
        self, pre: Tensor, post: Tensor, batch: Batch, esb: bool
    ) -> dict[str, Tensor]:
        c, feat = self.config, post if self.config.metric_feat == "post" else pre
        terms = {
            "triplet": c.lambda_tri * batch_hard_triplet(feat, batch.labels, c.margin)
        }
        if esb:
            terms["easy sample"] = c.lambda_esb * easy_sample_loss(
                *feat.chunk(2),
                batch.ids,
                c.esb_same_id,
                c.esb_metric,
                c.esb_reduction,
                c.esb_sample,
            )
        return terms

    def embed(
        self, clips: Tensor, modality: Modality, anaglyphs: Tensor | None = None
    ) -> Tensor:
        """(B, T, 3, H, W) -> (B, D), unit norm; anaglyphs: those of the clips, normalised, where they were computed before."""
        return self.neck.embed(
            self.clip_feat(
                self.refine(*self.read(clips, modality, anaglyphs)), clips.shape[1]
            )[0]
        )

    def inspect(self, clips: Tensor, modality: Modality) -> dict[str, Tensor]:
        """Cosine weights of frames (B, T); the attention that places after the third stage get, 1 on average, (B, T, h', w')."""
        third, levels, frames = self.read(clips, modality)
        found = (
            {
                "frame weight": self.clip_feat(
                    self.refine(third, levels, frames), frames
                )[1]
            }
            if self.config.bsta
            else {}
        )
        return found | (
            {"guidance": self.guide3.received(third, levels[0], frames)}
            if levels
            else {}
        )

    def anaglyphs(
        self, clips: Tensor, modality: Modality, step: int | None = None
    ) -> Tensor:
        """Step 1: normalised clips -> their anaglyphs, (B, T, 3, H, W) both; in a step of training they may be cropped and mirrored apart."""
        made = anaglyph(clips, self.config.operator, normalised=True)
        return (
            made if step is None or self.config.align else redrawn(made, modality, step)
        )

    def refine(self, third: Tensor, levels: Levels | None, frames: int) -> Tensor:
        """Step 3: maps of the frames of N clips after the third stage and those of their anaglyphs (None: no guidance) -> (NT, D, h, w)."""
        if levels is None:
            return self.refined(self.trunk.layer4(third))
        return self.refined(
            self.guide4(
                self.trunk.layer4(self.guide3(third, levels[0], frames)),
                levels[1],
                frames,
            )
        )

    def clip_feat(self, maps: Tensor, frames: int) -> tuple[Tensor, Tensor | None]:
        """Step 4: (NT, D, h, w) -> m (N, D) and the weights of frames (N, T), None without BSTA."""
        feat = global_average(maps).unflatten(0, (-1, frames))  # (N, T, D)
        return self.bsta(feat) if self.config.bsta else (temporal_mean(feat), None)

    def read(
        self, clips: Tensor, modality: Modality, anaglyphs: Tensor | None = None
    ) -> tuple[Tensor, Levels | None, int]:
        """Steps 1 and 2 of a search: clips of one modality -> what `refine` takes, levels as `at_test` tells."""
        check_clips(clips)
        if anaglyphs is not None and anaglyphs.shape != clips.shape:
            raise ValueError(
                f"anaglyphs {tuple(anaglyphs.shape)} must be of the shape of their clips, {tuple(clips.shape)}"
            )
        if self.at_test not in ("full", "zero", "skip"):
            raise ValueError(
                f"at_test={self.at_test!r}: choose from 'full', 'zero', 'skip'"
            )
        levels = (None, None) if self.config.ig and self.at_test == "zero" else None
        if self.config.ig and self.at_test == "full":
            made = self.anaglyphs(clips, modality) if anaglyphs is None else anaglyphs
            levels = _levels(
                self.intermediary, self.intermediary.stem(made.flatten(0, 1), modality)
            )
        return (
            _third(self.trunk, self.trunk.stem(clips.flatten(0, 1), modality)),
            levels,
            clips.shape[1],
        )


def _third(trunk: backbone.TwoStream, stem: Tensor) -> Tensor:
    return trunk.layer3(trunk.layer2(trunk.layer1(stem)))


def _levels(trunk: backbone.TwoStream, stem: Tensor) -> Levels:
    third = _third(trunk, stem)
    return third, trunk.layer4(third)  # Eq. (3), neither of them refined


PLAIN = {"bsta": False, "esb": False}  # what Baseline+IG leaves out
_SWEPT = {
    "lambda_1": ("lambda_tri", 1, (0.5, 1, 1.5, 2.5)),
    "lambda_2": ("lambda_esb", 1, (0.3, 1, 3)),
    "lambda_3": ("lambda_cr", 1, (0.3, 1, 3)),
}
ABLATIONS = in_main_reading(
    {
        "Fig. 1": {
            "frames": {"method": "baseline"},
            "anaglyphs": {"method": "baseline", "reads": "anaglyphs"},
        },
        "Table I": {"IBAN*": {"bsta": False}, "IBAN": {}},
        "Table II": {
            "Baseline": {"ig": False, "bsta": False, "esb": False},
            "Baseline+IG^-r": {"cr": False} | PLAIN,
            "Baseline+IG": PLAIN,
            "Baseline+BSTA": {"ig": False, "esb": False},
            "Baseline+ESB": {"ig": False, "bsta": False},
            "Baseline+IG+ESB+BSTA^-b": {"directions": "forward"},
            "Baseline+IG+ESB+BSTA^-l": {"temporal": "mean"},
            "Baseline+IG+ESB+BSTA^-a": {"attention": False},
            "Baseline+IG+ESB+BSTA": {},
        },
        "Fig. 6": {
            "easy sample": {},
            "hard sample": {"esb_sample": "hard"},
            "easy sample of the same person": {"esb_same_id": True},
            "neither": {"esb": False},
        },
        "Readings": {
            "main": {},
            "literal": {"variant": "paper"},
            "literal, Baseline+IG": {"variant": "paper"} | PLAIN,
            "released": {"variant": "released"},
            "losses after the neck": {
                "metric_feat": "post",
                "lambda_tri": 1.5,
                "lambda_esb": 1.5,
            },
            "frame weights w": {"plus_one": False},
            "raw view": {"ig_layout": "raw_view"},
        },
        "Fig. 7": {
            f"{label}={value}": {} if value == usual else {name: value}
            for label, (name, usual, grid) in _SWEPT.items()
            for value in grid
        },
    }
)
PAPER_RECIPE = {
    table: {"identities": 4} for table in ABLATIONS
}  # 16 clips a step at the size of the paper
MAIN = ("Table II", "Baseline+IG+ESB+BSTA")  # the row that stands for the paper
SWEEPS = ("Fig. 7",)  # curves over a setting
TUNED = {
    "lambda_tri": (0.5, 1.0, 1.5),
    "lambda_esb": (0.1, 0.3, 1.0, 3.0),
    "lambda_cr": (0.3, 1.0, 3.0),
    "cr_start": (0.0, 40.0, 80.0),
}  # what `vvi tune` may choose


def released_config(tensors: dict[str, Tensor]) -> Config:
    """The config of a released checkpoint, from its tensors under our names."""
    return Config(frames=len(tensors.get("bsta.fc.weight", ())), variant="released")


_BRANCHES, _PARTS, _FLOWS = (
    (("", "trunk"), ("_f", "intermediary")),
    (("fir", 3), ("sec", 4)),
    (("v2t", "vis_to_ir"), ("t2v", "ir_to_vis")),
)
_STEMS = (
    ("visible", "conv1", "vis.0"),
    ("visible", "bn1", "vis.1"),
    ("thermal", "conv1", "ir.0"),
    ("thermal", "bn1", "ir.1"),
)
_ATTENTION = (
    ("theta", "theta"),
    ("phi.0", "phi"),
    ("g.0", "g"),
    ("W.0", "out"),
    ("W.1", "norm"),
)
_ALONE = (
    ("bottleneck", "neck.norm"),
    ("bottleneck_f", "anaglyph_norm"),
    ("classifier", "neck.classifier"),
    ("lstm_o", "bsta.forth"),
    ("lstm_r", "bsta.back"),
)
RELEASED_KEYS: tuple[tuple, ...] = (
    *(
        (f"{name}_module{f}.{name}.{layer}.", f"{ours}.stems.{place}.")
        for f, ours in _BRANCHES
        for name, layer, place in _STEMS
    ),
    *(
        (
            f"base_resnet_{'sec' if n == 4 else 'fir'}{f}.base.layer{n}.",
            f"{ours}.layer{n}.",
        )
        for f, ours in _BRANCHES
        for n in (1, 2, 3, 4)
    ),
    *(
        (f"cross_atten_{part}.cross_atten.{theirs}.", f"guide{n}.{ours}.")
        for part, n in _PARTS
        for theirs, ours in _ATTENTION
    ),
    *(
        (f"chonggou_{flow}_{part}.conv.0.", f"cross.{ours}.{n - 3}.")
        for part, n in _PARTS
        for flow, ours in _FLOWS
    ),
    *((f"{theirs}.", f"{ours}.") for theirs, ours in _ALONE),
    *(
        (f"temporal_feat_learning.{letter}.", "bsta.fc.", t)
        for t, letter in enumerate("abcdef")
    ),
    *(
        (f"temporal_feat_learning.se_{t + 1}.fc.{n}.", f"bsta.{ours}.", t)
        for t in range(6)
        for n, ours in ((0, "squeeze"), (2, "excite"))
    ),
)
RELEASED_IGNORED = (  # dead weight of the released modules: whole networks of which a few layers are used
    "base_resnet.",
    *(
        f"{name}_module{f}.{name}.layer{n}."
        for f, _ in _BRANCHES
        for name in ("visible", "thermal")
        for n in (1, 2, 3, 4)
    ),
    *(
        f"base_resnet_fir{f}.base.{dead}."
        for f, _ in _BRANCHES
        for dead in ("conv1", "bn1", "layer4")
    ),
    *(
        f"base_resnet_sec{f}.base.{dead}."
        for f, _ in _BRANCHES
        for dead in ("conv1", "bn1", "layer1", "layer2", "layer3")
    ),
    *(f"temporal_feat_learning.se_{t}.l." for t in range(1, 7)),
)
