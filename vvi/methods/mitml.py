"""MITML: modal-invariant and temporal memory learning (CVPR 2022).

Special about it: (a) the encoder hides the modality from a classifier by pushing both modalities to a third class, "neither", instead of swapping or levelling two labels; (b) the
last stage exists twice, and an LSTM over the frame vectors of one copy drives a gate of its own for each place in the clip, which weighs the channels of the other copy's frame
vectors before they are averaged. T is fixed once the model is built.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vvi.data.transforms import denormalise
from vvi.losses import batch_hard_triplet
from vvi.methods.base import Method, Output, Phase, check_clips, in_main_reading
from vvi.nn import backbone
from vvi.nn.neck import Neck
from vvi.nn.per_frame import PerFrameLinear
from vvi.nn.pool import global_average, temporal_mean
from vvi.nn.recurrent import FloatLSTM
from vvi.types import Batch, Modality

VERSION = 2
IR, VIS, NEITHER = (
    0,
    1,
    2,
)  # classes of the modality classifier, in the order of the released code
Adversary = Literal["none", "third", "flip", "uniform"]
READINGS = {
    "eta": ("own", "own", "last"),
    "adv_start": (60, 0, 60),
}  # what a switch that is None means: (main, paper, released)
SLOW = {
    "released": ("trunk", "attention", "memory"),
    "paper": ("trunk.stems",),
    "memory": ("memory",),
}


@dataclass(frozen=True)
class Config:
    """Switches of MITML. `frames` is T; `eta` and `adv_start` follow `variant` when None.

    temporal: "mean" of the baseline or "tmr"; adversary: which target the encoder is given (Fig. 5); shuffle: "both" hides the order of frames in training and search; eta: what
    drives the gate of frame t, the LSTM's "own" output h^t (paper) or its "last", h^T (released); gate_half_outside: Eq. (2) as printed; adv_start: first epoch of the encoder's
    adversarial loss (0 paper, 60 released and main: after the first drop of the rate); lambda_adv: weight of that loss; modal_lr: constant rate of the classifier; rates: what learns at the recipe's lower rate, all but neck and classifiers ("released"), the stems ("paper") or the "memory" alone.
    """

    backbone: str = "resnet50"
    weights: str | None = None
    frames: int = 6
    variant: Literal["main", "paper", "released"] = "paper"
    temporal: Literal["mean", "tmr"] = "tmr"
    adversary: Adversary = "third"
    shuffle: Literal["none", "both"] = "none"
    eta: Literal["own", "last"] | None = None
    gate_half_outside: bool = False
    adv_start: float | None = None
    lambda_adv: float = 1.0
    modal_lr: float = 0.01
    rates: Literal["released", "paper", "memory"] = (
        "released"  # Paper: a full rate for the trunk risks its pretrained weights
    )
    margin: float = 0.3
    reduction: int = 16

    def __post_init__(self):
        known = {
            "variant": ("main", "paper", "released"),
            "temporal": ("mean", "tmr"),
            "adversary": ("none", "third", "flip", "uniform"),
        }
        known |= {
            "shuffle": ("none", "both"),
            "eta": (None, "own", "last"),
            "rates": tuple(SLOW),
        }
        for name, allowed in known.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name}={getattr(self, name)!r}: choose from {', '.join(map(repr, allowed))}"
                )
        for name, values in READINGS.items():
            if getattr(self, name) is None:
                object.__setattr__(
                    self, name, values[known["variant"].index(self.variant)]
                )


class TemporalMemory(nn.Module):
    """Temporal memory refinement, TMR: Sec. 5.1, Eqs. (2) and (3)."""

    def __init__(
        self,
        dim: int,
        frames: int,
        eta: Literal["own", "last"] = "own",
        half_outside: bool = False,
        reduction: int = 16,
    ):
        super().__init__()
        self.eta, self.half_outside = eta, half_outside
        self.lstm = FloatLSTM(dim, dim, num_layers=2, batch_first=True)
        self.fc = PerFrameLinear(frames, dim, dim, bias=True)
        self.squeeze = PerFrameLinear(frames, dim, dim // reduction, bias=False)
        self.excite = PerFrameLinear(frames, dim // reduction, dim, bias=False)

    def gates(self, attention: Tensor) -> Tensor:
        """Frame vectors of the attention branch (B, T, D) -> a gate in 0..1 for every frame and channel (B, T, D): Eq. (2)."""
        states = self.lstm(attention)[0]  # (B, T, D): h^1 .. h^T
        if self.eta == "last":
            states = states[:, -1:].expand_as(states)
        mixed = self.fc(states) + attention
        # Paper: Eq. (2) prints the halving outside the gate, which would end it at 1/2; the released code halves what goes in
        inside, outside = (1.0, 0.5) if self.half_outside else (0.5, 1.0)
        return outside * torch.sigmoid(
            self.excite(F.relu(self.squeeze(inside * mixed)))
        )

    def forward(self, attention: Tensor, aggregation: Tensor) -> Tensor:
        """Frame vectors of both branches, two (B, T, D) -> clip vector (B, D): Eq. (3)."""
        return temporal_mean(aggregation * (1 + self.gates(attention)))


class ModalClassifier(nn.Module):
    """Whose modality a clip vector is of: (N, D) -> (N, K). Eight blocks that halve the width, then a linear layer.

    Paper: only the number of outputs is given. The released layers are convolutions over a sequence of length one, of which only the centre tap ever meets data: this stack.
    """

    def __init__(self, dim: int, outputs: int):
        super().__init__()
        widths = [max(8, dim >> k) for k in range(9)]
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU())
                for a, b in zip(widths, widths[1:], strict=False)
            )
        )
        self.out = nn.Linear(widths[-1], outputs)

    def forward(self, feat: Tensor) -> Tensor:
        return self.out(self.blocks(feat))


def modal_loss(vis: Tensor, ir: Tensor) -> Tensor:
    """What the classifier learns from, Eq. (6): its logits (B, K) for clips of each modality -> scalar, each modality a mean over its clips."""
    return _towards(vis, VIS) + _towards(ir, IR)


def confusion_loss(vis: Tensor, ir: Tensor, adversary: Adversary = "third") -> Tensor:
    """What the encoder is told to make of the classifier's logits (B, K), Fig. 5.

    "third" (K = 3): both are neither, Eq. (4); "flip" (K = 2): the labels are swapped; "uniform" (K = 2): all are equally likely.

    Paper: Eq. (4) prints the true labels m_v, m_i, which would help the classifier; the text, Fig. 5c and the released code mean the third class.
    """
    if adversary == "third":
        return _towards(vis, NEITHER) + _towards(ir, NEITHER)
    if adversary == "flip":
        return _towards(vis, IR) + _towards(ir, VIS)
    if adversary == "uniform":
        return -(F.log_softmax(vis, 1).mean() + F.log_softmax(ir, 1).mean())
    raise ValueError(f"no adversary {adversary!r}: choose from third, flip, uniform")


def _towards(logits: Tensor, target: int) -> Tensor:
    return F.cross_entropy(
        logits, torch.full((len(logits),), target, device=logits.device)
    )


class Model(Method):
    """The two-stream baseline with TMR in place of the mean and the modality game beside its losses."""

    def __init__(self, config: Config, num_ids: int):
        super().__init__()
        self.config = config
        self.trunk = backbone.build(config.backbone, config.weights)
        dim = self.trunk.channels[-1]
        self.neck = Neck(dim, num_ids)
        parts = ["trunk", "neck"]
        if config.temporal == "tmr":
            self.attention = copy.deepcopy(
                self.trunk.layer4
            )  # the two copies start equal and train apart
            self.memory = TemporalMemory(
                dim,
                config.frames,
                config.eta,
                config.gate_half_outside,
                config.reduction,
            )
            parts += ["attention", "memory"]
        if config.adversary != "none":
            self.modal = ModalClassifier(dim, 3 if config.adversary == "third" else 2)
        self.slow = SLOW[config.rates]
        self.phases = self._phases(tuple(parts))

    def _phases(self, parts: tuple[str, ...]) -> tuple[Phase, ...]:
        """Eqs. (5) and (6) in turn. Before `adv_start` the encoder steps first, without the game, then the classifier on the same features; after it the classifier comes first."""
        if self.config.adversary == "none":
            return (Phase("encoder", parts),)
        start = self.config.adv_start
        early = (Phase("alone", parts, (0, start)),) if start > 0 else ()
        return (
            *early,
            Phase("modal", ("modal",), lr=self.config.modal_lr, optimiser="modal"),
            Phase("encoder", parts, (start, math.inf)),
        )

    def forward(self, batch: Batch) -> Output:
        """Both modalities in one pass through the shared stages, visible first."""
        feat = self.clip_feat(
            self.trunk.both(batch.vis, batch.ir),
            self._order(batch.clips),
            batch.vis.shape[1],
        )
        return Output(feat, self.neck(feat)[1])

    def losses(self, out: Output, batch: Batch, phase: Phase) -> dict[str, Tensor]:
        """Eq. (6) for the classifier, Eq. (5) for the encoder, all weights 1; Eq. (1) where there is no game."""
        if phase.name == "modal":
            vis, ir = self.modal(out.feat.detach()).chunk(2)
            belief = vis.softmax(1)[:, VIS].mean() + ir.softmax(1)[:, IR].mean()
            out.watch["belief in the true modality"] = belief / 2
            out.watch["confusion"] = confusion_loss(
                vis.detach(), ir.detach(), self.config.adversary
            )
            return {"modality": modal_loss(vis, ir)}
        terms = {
            "id": F.cross_entropy(out.logits, batch.labels),
            "triplet": batch_hard_triplet(out.feat, batch.labels, self.config.margin),
        }
        if phase.name == "encoder" and self.config.adversary != "none":
            terms["confusion"] = self.config.lambda_adv * confusion_loss(
                *self.modal(out.feat).chunk(2), self.config.adversary
            )
        return terms

    def embed(self, clips: Tensor, modality: Modality) -> Tensor:
        """(B, T, 3, H, W) -> (B, D), unit norm; the classifiers play no part. ValueError for another T than the gates were built for."""
        return self.neck.embed(
            self.clip_feat(
                self._stem(clips, modality), self._order(clips), clips.shape[1]
            )
        )

    def inspect(self, clips: Tensor, modality: Modality) -> dict[str, Tensor]:
        """The gates (B, T, D), and their mean over channels as the weight of each frame."""
        if self.config.temporal == "mean":
            return {}
        attention, _ = self.frame_feats(self._stem(clips, modality), clips.shape[1])
        order = self._order(clips)
        gates = self.memory.gates(_place(attention, order))
        if order is not None:
            gates = _place(gates, order.argsort(1))
        return {"gate": gates, "frame weight": gates.mean(2)}

    def clip_feat(self, maps: Tensor, order: Tensor | None, frames: int) -> Tensor:
        """Stem maps of N clips, (NT, C0, h0, w0), and the order of their frames (N, T) or None -> (N, D)."""
        if self.config.temporal == "mean":
            return temporal_mean(
                global_average(self.trunk(maps)).unflatten(0, (-1, frames))
            )
        attention, aggregation = self.frame_feats(maps, frames)
        return self.memory(_place(attention, order), _place(aggregation, order))

    def frame_feats(self, maps: Tensor, frames: int) -> tuple[Tensor, Tensor]:
        """Stem maps (NT, C0, h0, w0) -> frame vectors of the attention and of the aggregation branch, two (N, T, D)."""
        shared = self.trunk.layer3(self.trunk.layer2(self.trunk.layer1(maps)))
        attention, aggregation = (
            global_average(stage(shared)).unflatten(0, (-1, frames))
            for stage in (self.attention, self.trunk.layer4)
        )
        return attention, aggregation

    def _stem(self, clips: Tensor, modality: Modality) -> Tensor:
        check_clips(clips)
        if self.config.temporal == "tmr" and clips.shape[1] != self.config.frames:
            raise ValueError(
                f"this model has gates for {self.config.frames} frames, the clips have {clips.shape[1]}"
            )
        return self.trunk.stem(clips.flatten(0, 1), modality)

    def _order(self, clips: Tensor) -> Tensor | None:
        """Places of the frames, (B, T), as good as random but fixed by what the frames show, so that a search repeats; None where the order is kept."""
        if self.config.shuffle == "none":
            return None
        grey = denormalise(clips).sum((2, 3, 4), dtype=torch.int64)
        return (grey * 40503 % 65521).argsort(dim=1, stable=True)


def _place(feat: Tensor, order: Tensor | None) -> Tensor:
    return feat if order is None else feat.gather(1, order[:, :, None].expand_as(feat))


ABLATIONS = in_main_reading(
    {
        "Table 2": {
            "Baseline": {"method": "baseline"},
            "Baseline + M": {"temporal": "mean"},
            "Baseline + T": {"adversary": "none"},
            "Full method S (shuffled frames)": {"shuffle": "both"},
            "Full method": {},
        },
        "Table 3": {
            "cmGAN strategy": {"adversary": "flip"},
            "UCDA strategy": {"adversary": "uniform"},
            "Our method": {},
        },
        "Fig. 6": {
            f"n={n}": {"method": "baseline", "frames": n} for n in (1, 2, 4, 6, 8)
        },
        "Readings": {
            "main": {},
            "literal": {"variant": "paper"},
            "released": {"variant": "released"},
            "gates driven by the last output": {"eta": "last"},
            "half outside the gate (Eq. 2 as printed)": {"gate_half_outside": True},
        },
        "The game": {
            "no game": {"adversary": "none"},
            "from the first step": {"adv_start": 0},
            "after the first drop": {},
            "after the second drop": {"adv_start": 80},
            "from the first step, weight 0.05": {"adv_start": 0, "lambda_adv": 0.05},
            "from the first step, weight 0.3": {"adv_start": 0, "lambda_adv": 0.3},
            "from the first step, classifier at a hundredth": {
                "adv_start": 0,
                "modal_lr": 1e-4,
            },
        },
    }
)
MAIN = ("Table 2", "Full method")  # the row that stands for the paper
SWEEPS = ()  # no table is run on the first seed only
TUNED = {
    "lambda_adv": (0.05, 0.3, 1.0),
    "adv_start": (0.0, 60.0, 80.0, 120.0),
    "modal_lr": (1e-4, 1e-3, 1e-2),
}  # what `vvi tune` may choose


def released_config(tensors: dict[str, Tensor]) -> Config:
    """The config of a released checkpoint, from its tensors under our names."""
    frames = len(tensors.get("memory.fc.weight", ()))
    return Config(
        frames=frames,
        variant="released",
        adversary="third" if "modal.out.weight" in tensors else "none",
    )


_STAGES = tuple(
    (f"base_resnet.base.layer{n}.", f"trunk.layer{n}.") for n in (1, 2, 3, 4)
)
_PLACES = tuple(
    pair
    for t, letter in enumerate("abcdef")
    for pair in (
        (f"temporal_feat_learning.{letter}.", "memory.fc.", t),
        (f"temporal_feat_learning.se_{t + 1}.fc.0.", "memory.squeeze.", t),
        (f"temporal_feat_learning.se_{t + 1}.fc.2.", "memory.excite.", t),
    )
)
RELEASED_KEYS: tuple[tuple, ...] = (
    ("visible_module.visible.conv1.", "trunk.stems.vis.0."),
    ("visible_module.visible.bn1.", "trunk.stems.vis.1."),
    ("thermal_module.thermal.conv1.", "trunk.stems.ir.0."),
    ("thermal_module.thermal.bn1.", "trunk.stems.ir.1."),
    *_STAGES,
    ("base_resnet.layer4.", "attention."),
    ("lstm.", "memory.lstm."),
    *_PLACES,
    ("bottleneck.", "neck.norm."),
    ("classifier.", "neck.classifier."),
    ("first_layer.", "modal.blocks.0."),
    *((f"layers.{n}.", f"modal.blocks.{n + 1}.") for n in range(7)),
    ("Liner.", "modal.out."),
)
RELEASED_IGNORED = (  # dead weight of the released modules: whole networks of which one layer is used, second necks and classifiers
    *(
        f"{stem}.layer{n}."
        for stem in ("visible_module.visible", "thermal_module.thermal")
        for n in (1, 2, 3, 4)
    ),
    *(
        "base_resnet.base.conv1.",
        "base_resnet.base.bn1.",
        "bottleneck1.",
        "classifier1.",
        "classifier2.",
    ),
    *(f"temporal_feat_learning.se_{t}.l." for t in range(1, 7)),
)
