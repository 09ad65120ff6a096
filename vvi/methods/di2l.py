"""DI2L: information-balanced identity learning, the image method of this book; AGW and CAJ are configurations of its parts.

Special about it: (a) a third stream, each visible image with one of its colour channels in place of all three; (b) attention among the pixels of a map after the second and third
stage, and among horizontal stripes of the last map (DPA), whose refined stripes are added to the global feature; (c) the identity loss turns to what is not yet told apart
(focal), and the triplet weighs every pair of the batch. Nothing in its losses looks at the modality. A clip is the mean of its pooled frames: the order of frames plays no part.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args, get_origin, get_type_hints

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vvi.data.transforms import MEAN, STD, constant
from vvi.losses import (
    batch_hard_triplet,
    distances,
    same_identity,
    weighted_distances,
    weighted_triplet,
)
from vvi.methods.base import Method, Output, Phase, check_clips, in_main_reading
from vvi.nn import backbone
from vvi.nn.neck import Neck
from vvi.nn.pool import global_average, temporal_mean
from vvi.runtime.random import torch_rng
from vvi.types import Batch, Modality

VERSION = 2
SETTLED = {  # what switches that are None mean: the paper, or the code of AGW, CAJ and DDAG on which it stands (none was released for DI2L itself)
    "paper": dict(
        rca="rgb",
        erase_fill="zero",
        non_local="paper",
        id_on="final",
        tri_numerics="exact",
        tta_flip=False,
        tri_loss="wrt_sq",
        dpa_scale="none",
    ),
    "released": dict(
        rca="rgb_released",
        erase_fill="released",
        non_local="released",
        id_on="both",
        tri_numerics="released",
        tta_flip=True,
        tri_loss="wrt_sq",
        dpa_scale="none",
    ),
}
SETTLED["main"] = (
    SETTLED["paper"] | dict(tri_loss="wrt", dpa_scale="sqrt")
)  # a triplet whose gradient does not vanish, attention that does not start at one stripe
FILL = {
    "zero": (0.0, 0.0, 0.0),
    "released": (0.4914, 0.4822, 0.4465),
}  # both written into normalised frames, where the first is the mean of ImageNet
BLOCKS = {
    "off": (0, 0),
    "paper": (1, 1),
    "released": (2, 3),
}  # non-local blocks, one behind each of the last bottlenecks of layer2 and of layer3


@dataclass(frozen=True)
class Config:
    """Switches of DI2L; those that are None follow `variant`. `frames` is T: the mean over frames takes any number.

    rca: the stream of one channel; erase: how often a frame loses a rectangle, by default half of single images and no frame of a clip, as clips follow the augmentation that all
    methods share; parts: stripes of DPA, from the head down; dpa_residual: whether DPA adds the global feature; id_on: identity loss on the "final" feature or on "both" it and
    the global one; tri_loss: "hard" (margin 0.3), "wrt" (AGW) or "wrt_sq" (CAJ, Eq. 6), before the neck (tri_on="global") or after DPA ("final"); tap: frames are averaged as
    pooled "vector"s or as "map"s; tta_flip: the search averages a clip and its mirror image. dpa_scale: "sqrt" divides the scores of DPA by the root of their width, without which
    their softmax picks one stripe; lambda_tri: weight of the triplet.
    """

    backbone: str = "resnet50"
    weights: str | None = None
    frames: int = 6
    variant: Literal["main", "paper", "released"] = "paper"
    rca: Literal["off", "rgb", "rgb_released"] | None = None
    erase: float | None = None
    erase_fill: Literal["zero", "released"] | None = None
    non_local: Literal["off", "paper", "released"] | None = None
    pool: Literal["gem", "avg"] = "gem"
    dpa: bool = True
    parts: int = 3  # Paper: gives no number
    dpa_residual: Literal["bn_global", "none"] = "bn_global"
    dpa_weights: Literal["learned", "uniform"] = "learned"
    dpa_scale: Literal["none", "sqrt"] | None = None
    id_loss: Literal["focal", "ce"] = "focal"
    focal_gamma: float = 2.0
    id_on: Literal["final", "both"] | None = None
    tri_loss: Literal["hard", "wrt", "wrt_sq"] | None = None
    lambda_tri: float = 1.0
    tri_on: Literal["global", "final"] = "global"
    tri_numerics: Literal["exact", "released"] | None = None
    tap: Literal["vector", "map"] = "vector"
    tta_flip: bool | None = None

    def __post_init__(self):
        for name, hint in get_type_hints(Config).items():
            known = [
                value
                for part in (hint, *get_args(hint))
                if get_origin(part) is Literal
                for value in get_args(part)
            ]
            value = getattr(self, name)
            if (
                known
                and value not in known
                and not (value is None and name in SETTLED["paper"])
            ):
                raise ValueError(
                    f"{name}={value!r}: choose from {', '.join(map(repr, known))}"
                )

    def settled(self) -> Config:
        """The same with every None replaced by what it means."""
        given = {
            name: value
            for name, value in SETTLED[self.variant].items()
            if getattr(self, name) is None
        }
        return replace(
            self,
            erase=self.erase if self.erase is not None else 0.5 * (self.frames == 1),
            **given,
        )


def one_channel(clips: Tensor, channel: Tensor) -> Tensor:
    """Random channel augmentation, Eq. (1): normalised clips (B, T, 3, H, W), the channel 0..2 that each shows (B,) -> the same shape, as if changed before normalising."""
    mean, std = (constant(v, clips.device).view(3, 1, 1) for v in (MEAN, STD))
    raw = ((clips * std + mean) * F.one_hot(channel, 3)[:, None, :, None, None]).sum(
        2, keepdim=True
    )
    return (raw - mean) / std


def one_channel_released(clips: Tensor, choice: Tensor) -> Tensor:
    """The same as released, on normalised values: choice (B,) 0..2 copies R, G or B, 3 the grey of all, 4 leaves the clip as it is."""
    weights = constant(
        ((1, 0, 0), (0, 1, 0), (0, 0, 1), (0.2989, 0.5870, 0.1140)), clips.device
    )[choice.clamp(max=3)]
    return torch.where(
        (choice == 4)[:, None, None, None, None],
        clips,
        (clips * weights[:, None, :, None, None]).sum(2, keepdim=True),
    )


def erased(
    clips: Tensor,
    probability: float,
    fill: tuple[float, ...],
    draw: torch.Generator,
    tries: int = 100,
) -> Tensor:
    """Random erasing of frames of (B, T, 3, H, W): a rectangle of 2 to 40 % of the area, its height 0.3 to 1/0.3 of its width, the first of `tries` that fits."""
    count, (height, width) = clips.shape[0] * clips.shape[1], clips.shape[-2:]
    area = height * width * (0.02 + 0.38 * torch.rand(count, tries, generator=draw))
    ratio = 0.3 + (1 / 0.3 - 0.3) * torch.rand(count, tries, generator=draw)
    tall, wide = (area * ratio).sqrt().round(), (area / ratio).sqrt().round()
    fits = (tall < height) & (wide < width)
    tall, wide = (
        side.gather(1, fits.int().argmax(1, keepdim=True)) for side in (tall, wide)
    )
    place = torch.rand(3, count, 1, generator=draw)
    rows, columns = (
        (torch.arange(n) - (p * (n - side + 1)).floor()) / side
        for n, p, side in ((height, place[0], tall), (width, place[1], wide))
    )
    chosen = (place[2] < probability) & fits.any(1, keepdim=True)
    inside = ((rows >= 0) & (rows < 1) & chosen)[:, :, None] & (
        (columns >= 0) & (columns < 1)
    )[:, None, :]
    inside = inside.view(*clips.shape[:2], 1, height, width).to(
        clips.device, non_blocking=True
    )
    return torch.where(inside, constant(fill, clips.device).view(3, 1, 1), clips)


class NonLocal(nn.Module):
    """Attention among all places of a map, Eqs. (2) and (3). Paper: has no batch norm; it and its zero start, which makes a new block the identity, are the released blocks'.
    `narrow`: the released block, of inner width one and with a mean over places for the softmax: one scalar of the place times one of the image."""

    def __init__(self, channels: int, narrow: bool = False):
        super().__init__()
        inner = 1 if narrow else channels // 2
        self.narrow = narrow
        self.u, self.v, self.g = (
            nn.Linear(channels, inner) for _ in range(3)
        )  # 1x1 convolutions, on places
        self.out = nn.Linear(inner, channels)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, maps: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, C, h, w)."""
        places = maps.flatten(2).mT  # (N, hw, C)
        u, v, g = self.u(places), self.v(places), self.g(places)
        mixed = (
            u * (v * g).mean(1, keepdim=True)
            if self.narrow
            else F.scaled_dot_product_attention(
                u[:, None], v[:, None], g[:, None], scale=1.0
            )[:, 0]
        )
        return maps + self.norm(self.out(mixed).mT.unflatten(2, maps.shape[-2:]))


def generalised_mean(maps: Tensor) -> Tensor:
    """Cubic mean over the places of a map that is not negative, in float32: (N, C, h, w) -> (N, C)."""
    return (maps.float().pow(3).mean((-2, -1)) + 1e-12).pow(1 / 3)


def stripes(parts: int, height: int) -> list[tuple[int, int]]:
    """Rows (from, to) of the parts of a map, from the head down; neighbours share a row where the height is no multiple of the parts."""
    return [(i * height // parts, -(-(i + 1) * height // parts)) for i in range(parts)]


class PartAttention(nn.Module):
    """DPA, Eq. (4). Paper: prints no sum over parts and does not say how they are "aggregated"; here as in DDAG, by a learned mean, added to the global feature, with a neck of
    its own."""

    def __init__(
        self,
        dim: int,
        parts: int,
        residual: bool = True,
        learned: bool = True,
        scaled: bool = False,
    ):
        super().__init__()
        self.residual, self.scale = residual, dim**-0.5 if scaled else 1.0
        self.u, self.v, self.z = (nn.Linear(dim, dim) for _ in range(3))
        self.gate = nn.Parameter(torch.full((parts,), 1 / parts), requires_grad=learned)
        self.norm = nn.BatchNorm1d(dim)
        self.norm.bias.requires_grad_(False)
        nn.init.normal_(self.norm.weight, 1.0, 0.01)

    def attention(self, parts: Tensor) -> Tensor:
        """How much each part takes from each: (B, p, C) -> (B, p, p), rows sum to one."""
        return (self.scale * self.u(parts) @ self.v(parts).mT).softmax(-1)

    def forward(self, parts: Tensor, normed: Tensor) -> Tensor:
        """Parts (B, p, C) and the global feature behind its neck (B, C) -> the final feature (B, C)."""
        kind = (
            "cpu" if parts.is_meta else parts.device.type
        )  # shapes alone know no autocast
        with torch.autocast(
            kind, enabled=False
        ):  # scores over all channels, undivided: half precision would round them by whole units
            refined = self.attention(parts.float()) @ self.z(parts.float())  # (B, p, C)
            return self.norm(
                (self.gate.softmax(0)[:, None] * refined).sum(1)
                + normed.float() * self.residual
            )


def focal_loss(logits: Tensor, labels: Tensor, gamma: float = 2.0) -> Tensor:
    """Mean of -(1 - p)^gamma log p, p the probability of the true class, Eq. (5): logits (N, K), labels (N,) -> scalar. Cross-entropy at gamma = 0.

    Paper: sums over all identities and prints gamma <= 0; only the true class and gamma >= 0 make it the focal loss that it cites.
    """
    if gamma < 0:
        raise ValueError(
            f"gamma={gamma}: it must not be negative (the paper prints gamma <= 0, which would raise the weight of easy clips)"
        )
    log_p = F.log_softmax(logits.float(), 1).gather(1, labels[:, None])
    miss = (-torch.expm1(log_p)).clamp_min(
        1e-12
    )  # 1 - p; the floor keeps the gradient finite at p = 1 for gamma below 1
    return -(miss.pow(gamma) * log_p).mean()


def released_triplet(
    feat: Tensor, ids: Tensor, squared: bool = True
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted triplet as released, (N, D), (N,) -> scalar, and how much its oddities bite: an anchor is its own positive, the weights of negatives are not shifted before the
    exponential, so that far from everybody they sum to less than one, and squares above 88 are cut: the worst anchors get no gradient."""
    same, dist = same_identity(feat, ids), distances(feat, feat)
    pull, push = (
        (dist - (dist * same).amax(1, keepdim=True)).exp() * same,
        (-dist).exp() * ~same,
    )
    pull, push = (
        weight / (weight.sum(1, keepdim=True) + 1e-6) for weight in (pull, push)
    )
    gap = ((pull - push) * dist).sum(1)
    odd = {
        "anchors cut": (gap.square() > 88).float().mean(),
        "negative weight": push.sum(1).mean(),
    }
    return F.softplus(
        gap.sign() * gap.square().clamp(max=88) if squared else gap
    ).mean(), odd


class Model(Method):
    """CAJ's network (two stems, three streams, non-local blocks) with DPA, the focal loss and the weighted triplet."""

    slow = ("trunk", "non_local")

    def __init__(self, config: Config, num_ids: int):
        super().__init__()
        self.config = config = config.settled()
        self.seed = (
            torch.initial_seed()
        )  # the run's: what the method draws for itself is keyed by it and the step
        self.trunk = backbone.build(config.backbone, config.weights)
        counts = {
            name: min(n, len(getattr(self.trunk, name)))
            for name, n in zip(
                ("layer2", "layer3"), BLOCKS[config.non_local], strict=True
            )
        }
        blocks = {
            name: [
                NonLocal(
                    self.trunk.channels[int(name[-1])], config.non_local == "released"
                )
                for _ in range(n)
            ]
            for name, n in counts.items()
        }
        self.non_local = nn.ModuleDict(
            {name: nn.ModuleList(found) for name, found in blocks.items()}
        )
        dim = self.trunk.channels[-1]
        self.neck = Neck(dim, num_ids)
        self.dpa = (
            PartAttention(
                dim,
                config.parts,
                config.dpa_residual == "bn_global",
                config.dpa_weights == "learned",
                config.dpa_scale == "sqrt",
            )
            if config.dpa
            else None
        )
        self.gamma = config.focal_gamma if config.id_loss == "focal" else 0.0
        self.phases = (
            Phase(
                "encoder",
                (
                    "trunk",
                    "neck",
                    *["non_local"] * any(counts.values()),
                    *["dpa"] * config.dpa,
                ),
            ),
        )

    def forward(self, batch: Batch) -> Output:
        """All streams in one pass through the shared stages, in the order of `streams`, S of them: `feat` is the global feature, (SB, D), `logits` are of the final one."""
        *seen, ir = self.streams(batch)
        feat, normed, final = self.clip_feats(
            self.maps_of(self.trunk.both(torch.cat(seen), ir)), batch.vis.shape[1]
        )
        return Output(
            feat,
            self.neck.classifier(final),
            {"normed": normed, "final": final},
            streams=len(seen) + 1,
        )

    def losses(self, out: Output, batch: Batch, phase: Phase) -> dict[str, Tensor]:
        """Identity plus triplet, both of weight one. Watched: how sure each stream is of the right identity and its identity loss, and the distances that the triplet compares."""
        config, count = self.config, len(out.logits) // len(batch.ids)
        labels = batch.ids.repeat(count)
        feat, squared, odd = (
            out.feat if config.tri_on == "global" else out.extra["final"],
            config.tri_loss == "wrt_sq",
            {},
        )
        identity = focal_loss(out.logits, labels, self.gamma)
        if config.id_on == "both" and config.dpa:
            identity = identity + focal_loss(
                self.neck.classifier(out.extra["normed"]), labels, self.gamma
            )
        if config.tri_loss == "hard":
            triplet = batch_hard_triplet(feat, labels)
        elif config.tri_numerics == "exact":
            triplet = weighted_triplet(feat, labels, squared)
        else:
            triplet, odd = released_triplet(feat, labels, squared)
        with torch.no_grad():
            for name, logits in zip(
                ("vis", "aug", "ir") if count == 3 else ("vis", "ir"),
                out.logits.chunk(count),
                strict=True,
            ):
                sure = logits.float().softmax(1).gather(1, batch.ids[:, None])
                out.watch |= {
                    f"p {name}": sure.mean(),
                    f"id {name}": focal_loss(logits, batch.ids, self.gamma),
                }
            out.watch |= odd | {
                name: d.mean()
                for name, d in zip(
                    ("far positive", "near negative"),
                    weighted_distances(feat, labels),
                    strict=True,
                )
            }
        return {"id": identity, "triplet": config.lambda_tri * triplet}

    def embed(self, clips: Tensor, modality: Modality) -> Tensor:
        """(B, T, 3, H, W) -> (B, D), unit norm: the final feature; the augmented stream, erasing and the classifier play no part."""
        check_clips(clips)
        views = (clips, clips.flip(-1)) if self.config.tta_flip else (clips,)
        finals = (
            self.clip_feats(
                self.maps_of(self.trunk.stem(view.flatten(0, 1), modality)),
                clips.shape[1],
            )[2].float()
            for view in views
        )
        return F.normalize(sum(F.normalize(final, dim=1) for final in finals), dim=1)

    def inspect(self, clips: Tensor, modality: Modality) -> dict[str, Tensor]:
        """ "part attention": how much each part takes from each, (B, p, p). "part maps": what each place of each frame adds to each refined part, (B, T, p, h, w): the part is a
        weighted sum of z over places, and a place's share is its term along that sum, so that the shares sum to one over T, h, w."""
        if self.dpa is None:
            return {}
        maps = self.maps_of(self.trunk.stem(clips.flatten(0, 1), modality))
        parts, maps = (
            temporal_mean(self.parts_of(maps).unflatten(0, clips.shape[:2])),
            maps.unflatten(0, clips.shape[:2]),
        )
        _, frames, _, height, width = maps.shape
        weight = [
            [
                (start <= y < stop) / (frames * width * (stop - start))
                for y in range(height)
            ]
            for start, stop in stripes(self.config.parts, height)
        ]
        attention = self.dpa.attention(parts)
        refined = attention @ self.dpa.z(parts)  # (B, p, C)
        along = torch.einsum(
            "bthwc,bpc->btphw",
            self.dpa.z(maps.movedim(2, -1)),
            refined / refined.square().sum(-1, keepdim=True),
        )
        return {
            "part attention": attention,
            "part maps": along
            * (attention @ torch.tensor(weight, device=maps.device))[
                :, None, :, :, None
            ],
        }

    def streams(self, batch: Batch) -> list[Tensor]:
        """Visible, augmented (unless `rca` is off) and infrared clips, (B, T, 3, H, W) each, as training sees them: the same for the same seed and step. A clip
        shows one channel in all its frames. Paper: the copy would be cropped and mirrored anew; ours is of the visible clip as the loader cut it."""
        config, draw = self.config, torch_rng(self.seed, "di2l", batch.step)

        def pick(options):
            return torch.tensor(options)[
                torch.randint(len(options), (len(batch.vis),), generator=draw)
            ].to(batch.vis.device, non_blocking=True)

        clips = (
            [batch.vis, batch.ir]
            if config.rca == "off"
            else [batch.vis, batch.vis, batch.ir]
        )
        if config.rca == "rgb":
            clips[1] = one_channel(batch.vis, pick((0, 1, 2)))
        if config.erase:
            clips = [
                erased(x, config.erase, FILL[config.erase_fill], draw) for x in clips
            ]
        if config.rca == "rgb_released":
            clips[1:] = (
                one_channel_released(x, pick(options))
                for x, options in zip(
                    clips[1:], ((0, 1, 2), (0, 0, 1, 1, 2, 2, 3, 4)), strict=True
                )
            )
        return clips

    def maps_of(self, maps: Tensor) -> Tensor:
        """Shared stages with the non-local blocks among them: (N, C0, h0, w0) -> (N, C, h, w)."""
        maps = self.trunk.layer1(maps)
        for name, blocks in self.non_local.items():
            stage = getattr(self.trunk, name)
            for place, bottleneck in enumerate(stage, start=len(blocks) - len(stage)):
                maps = (
                    bottleneck(maps) if place < 0 else blocks[place](bottleneck(maps))
                )
        return self.trunk.layer4(maps)

    def clip_feats(self, maps: Tensor, frames: int) -> tuple[Tensor, Tensor, Tensor]:
        """Last maps of N clips, (NT, C, h, w) -> global feature, the same behind its neck, final feature, (N, C) each."""

        def over_frames(x):
            return temporal_mean(x.unflatten(0, (-1, frames)))

        pool = generalised_mean if self.config.pool == "gem" else global_average
        feat = (
            pool(over_frames(maps))
            if self.config.tap == "map"
            else over_frames(pool(maps))
        )
        normed = self.neck.norm(feat)
        return (
            feat,
            normed,
            normed
            if self.dpa is None
            else self.dpa(over_frames(self.parts_of(maps)), normed),
        )

    def parts_of(self, maps: Tensor) -> Tensor:
        """Means over the stripes: (N, C, h, w) -> (N, p, C)."""
        return torch.stack(
            [
                maps[..., start:stop, :].mean((-2, -1))
                for start, stop in stripes(self.config.parts, maps.shape[-2])
            ],
            1,
        )


AGW = dict(rca="off", erase=0.0, dpa=False, id_loss="ce", tri_loss="wrt")
CAJ = dict(dpa=False, id_loss="ce")
SYSU, REGDB = (
    dict(layout=layout, frames=1, identities=8, tracklets=4)
    for layout in ("sysu-mm01", "regdb")
)  # the paper's batch: 8 x 4 images of each stream
ABLATIONS = in_main_reading(
    {
        "Table 2": {
            "Baseline": CAJ,
            "Baseline+DPA": {"id_loss": "ce"},
            "Baseline+DPA+I2L": {},
        },
        "Parts of the baseline": {
            "AGW": AGW,
            "no augmented stream": CAJ | {"rca": "off"},
            "no non-local blocks": CAJ | {"non_local": "off"},
            "CAJ": CAJ,
        },
        "Readings": {
            "main": {},
            "literal": {"variant": "paper"},
            "released parts": {"variant": "released"},
            "triplet squared": {"tri_loss": "wrt_sq"},
            "DPA not scaled": {"dpa_scale": "none"},
            "Baseline, triplet squared": CAJ | {"tri_loss": "wrt_sq"},
        },
        "Fig. 2(b)": {
            f"gamma={g:g}": {} if g == 2 else {"focal_gamma": float(g)}
            for g in (0, 1, 2, 5)
        },
        "SYSU-MM01 (images)": {
            "AGW": SYSU | AGW,
            "Baseline": SYSU | CAJ,
            "Baseline+DPA": SYSU | {"id_loss": "ce"},
            "Baseline+DPA+I2L": SYSU,
        },
        "RegDB (images)": {"AGW": REGDB | AGW, "CAJ": REGDB | CAJ, "DI2L": REGDB},
    }
)
MAIN = ("Table 2", "Baseline+DPA+I2L")  # the row that stands for the paper
SWEEPS = ("Fig. 2(b)",)  # curves over a setting
TRIALS = ("RegDB (images)",)  # ten trials, each a model of its own: seeds 0 to 9
PAPER_RECIPE = {
    table: dict(epochs=120, milestones=(20, 50))
    for table in ABLATIONS
    if "images" in table
}  # the paper's schedule, at the size of the paper
TUNED = {
    "lambda_tri": (0.3, 1.0, 3.0),
    "focal_gamma": (0.5, 1.0, 2.0, 3.0),
    "parts": (1, 2, 3, 4),
}  # what `vvi tune` may choose
