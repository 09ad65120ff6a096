"""The network of DI2L: two stems, three streams, non-local blocks, parts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vvi.losses import batch_hard_triplet, soft_margin, weighted_distances
from vvi.methods.base import Method, Output, Phase, check_clips
from vvi.methods.di2l.augment import FILL, one_channel, random_erase
from vvi.methods.di2l.config import Config
from vvi.methods.di2l.losses import focal_loss
from vvi.methods.di2l.parts import (
    BLOCKS,
    NonLocal,
    PartAttention,
    generalised_mean,
    stripes,
)
from vvi.methods.di2l.released import one_channel_released, released_triplet
from vvi.nn import backbone
from vvi.nn.neck import Neck
from vvi.nn.pool import global_average, over_frames, temporal_mean
from vvi.runtime.random import torch_rng
from vvi.types import Batch, Modality

#: Choices of `one_channel_released` for the stream of one channel and for infrared.
RELEASED_CHOICES = ((0, 1, 2), (0, 0, 1, 1, 2, 2, 3, 4))


class Model(Method):
    """The network of CAJ with DPA, the focal loss and the weighted triplet."""

    # Paper: one rate, 0.01, for all (Sec. 4.3). 0.1 for neck and classifier, and the
    # warm-up, are those of CAJ's released code. DPA learns at 0.1 as in DDAG.
    slow = ("trunk", "non_local")

    def __init__(self, config: Config, num_ids: int):
        super().__init__()
        self.config = config
        # that of the run: what the method draws is keyed by it and the step
        self.seed = torch.initial_seed()
        self.trunk = backbone.build(config.backbone, config.weights)
        self.non_local = self._non_local_blocks()
        dim = self.trunk.channels[-1]
        # Paper: silent. This is the neck of AGW, CAJ and DDAG
        self.neck = Neck(dim, num_ids)
        self.dpa = None
        if config.dpa:
            self.dpa = PartAttention(
                dim,
                config.parts,
                residual=config.dpa_residual == "bn_global",
                learned=config.dpa_weights == "learned",
                scale=config.dpa_scale,
            )
        self.gamma = config.focal_gamma if config.id_loss == "focal" else 0.0
        parts = ["trunk", "neck"]
        if any(len(blocks) for blocks in self.non_local.values()):
            parts.append("non_local")
        if config.dpa:
            parts.append("dpa")
        self.phases = (Phase("encoder", tuple(parts)),)

    def _non_local_blocks(self) -> nn.ModuleDict:
        """Build the blocks behind layer2 and layer3."""
        channels, narrow = self.trunk.channels, self.config.non_local == "released"
        counts = BLOCKS[self.config.non_local]
        blocks = {}
        for stage, width, count in zip((2, 3), channels[2:4], counts, strict=True):
            bottlenecks = len(getattr(self.trunk, f"layer{stage}"))
            count = min(count, bottlenecks)
            stage_blocks = [NonLocal(width, narrow) for _ in range(count)]
            blocks[f"layer{stage}"] = nn.ModuleList(stage_blocks)
        return nn.ModuleDict(blocks)

    def forward(self, batch: Batch) -> Output:
        """Run all S streams in one pass through the shared stages.

        `feat` is the global feature (SB, D), `logits` are those of the final one. The
        streams stand in the order of `streams`.
        """
        *visible, ir = self.streams(batch)
        maps = self.maps_of(self.trunk.stems_of_pair(torch.cat(visible), ir))
        feat, normed, final = self.clip_feats(maps, batch.vis.shape[1])
        extra = {"normed": normed, "final": final}
        logits = self.neck.classifier(final)
        return Output(feat, logits, extra, streams=len(visible) + 1)

    def streams(self, batch: Batch) -> list[Tensor]:
        """Return the clips of all streams as training sees them.

        Visible, one channel (unless `rca` is off) and infrared, (B, T, 3, H, W) each,
        the same for the same seed and step. A clip shows one channel in all its frames.

        Paper: the copy would be cropped and mirrored anew. Ours is of the visible clip
        as the loader cut it.

        Paper: crops half of the images. The loader crops all, as CAJ does.
        """
        config, draw = self.config, torch_rng(self.seed, "di2l", batch.step)
        clips = [batch.vis, batch.ir]
        if config.rca != "off":
            clips.insert(1, batch.vis)
        if config.rca == "rgb":
            clips[1] = one_channel(batch.vis, _pick((0, 1, 2), batch.vis, draw))
        if config.erase:
            fill = FILL[config.erase_fill]
            clips = [random_erase(x, config.erase, fill, draw) for x in clips]
        if config.rca == "rgb_released":
            for stream, choices in enumerate(RELEASED_CHOICES, start=1):
                choice = _pick(choices, batch.vis, draw)
                clips[stream] = one_channel_released(clips[stream], choice)
        return clips

    def maps_of(self, maps: Tensor) -> Tensor:
        """Run the shared stages with the non-local blocks among them.

        Stem maps (N, C0, h0, w0) -> (N, C, h, w).
        """
        maps = self.trunk.layer1(maps)
        for name, blocks in self.non_local.items():
            stage = getattr(self.trunk, name)
            first = len(stage) - len(blocks)  # the bottlenecks before have no block
            for number, bottleneck in enumerate(stage):
                maps = bottleneck(maps)
                if number >= first:
                    maps = blocks[number - first](maps)
        return self.trunk.layer4(maps)

    def clip_feats(self, maps: Tensor, frames: int) -> tuple[Tensor, Tensor, Tensor]:
        """Pool the last maps of N clips, (NT, C, h, w).

        Args:
            maps: of all frames.
            frames: T.

        Returns:
            The global feature, the same after its neck, and the final feature, (N, C)
            each.
        """
        pool = generalised_mean if self.config.pool == "gem" else global_average
        if self.config.tap == "map":
            feat = pool(over_frames(maps, frames))
        else:
            feat = over_frames(pool(maps), frames)
        normed = self.neck.norm(feat)
        if self.dpa is None:
            return feat, normed, normed
        parts = over_frames(self.parts_of(maps), frames)
        return feat, normed, self.dpa(parts, normed)

    def parts_of(self, maps: Tensor) -> Tensor:
        """Average over the stripes: (N, C, h, w) -> (N, p, C)."""
        rows = stripes(self.config.parts, maps.shape[-2])
        means = [maps[..., start:stop, :].mean((-2, -1)) for start, stop in rows]
        return torch.stack(means, 1)

    def losses(self, out: Output, batch: Batch, phase: Phase) -> dict[str, Tensor]:
        """Compute identity, Eq. (5), and triplet, Eq. (6).

        Args and Returns as in `Method.losses`.
        """
        count = len(out.logits) // len(batch.ids)
        labels = batch.ids.repeat(count)
        feat = out.feat if self.config.tri_on == "global" else out.extra["final"]
        identity = self._identity(out, labels)
        triplet, watch = self._triplet(feat, labels)
        self._watch_streams(out, batch.ids, count)
        out.watch |= watch
        return {"id": identity, "triplet": self.config.lambda_tri * triplet}

    def _identity(self, out: Output, labels: Tensor) -> Tensor:
        """Compute Eq. (5) on the final feature, or on it and the global one."""
        identity = focal_loss(out.logits, labels, self.gamma)
        if self.config.id_on == "both" and self.config.dpa:
            logits = self.neck.classifier(out.extra["normed"])
            identity = identity + focal_loss(logits, labels, self.gamma)
        return identity

    def _triplet(
        self, feat: Tensor, labels: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the triplet, Eq. (6), and what is watched of its distances.

        Args:
            feat: features of all streams (SB, D).
            labels: their classes (SB,).

        Returns:
            A scalar, and name -> scalar: the mean weighted distances, and of the
            released triplet how far its limits reach.
        """
        far, near = weighted_distances(feat, labels)
        watch = {
            "far positive": far.detach().mean(),
            "near negative": near.detach().mean(),
        }
        if self.config.tri_loss == "hard":
            return batch_hard_triplet(feat, labels), watch
        squared = self.config.tri_loss == "wrt_sq"
        if self.config.tri_numerics == "released":
            triplet, limits = released_triplet(feat, labels, squared)
            return triplet, limits | watch
        return soft_margin(far, near, squared), watch

    @torch.no_grad()
    def _watch_streams(self, out: Output, ids: Tensor, count: int) -> None:
        """Record how sure each stream is of the right identity, and its loss.

        Args:
            out: its `watch` is written to.
            ids: of the clips of one stream (B,).
            count: streams S.
        """
        names = ("vis", "aug", "ir") if count == 3 else ("vis", "ir")
        for name, logits in zip(names, out.logits.chunk(count), strict=True):
            probabilities = logits.float().softmax(1)
            of_true_class = probabilities.gather(1, ids[:, None])
            out.watch[f"p {name}"] = of_true_class.mean()
            out.watch[f"id {name}"] = focal_loss(logits, ids, self.gamma)

    def embed(self, clips: Tensor, modality: Modality) -> Tensor:
        """Embed clips of one modality by the final feature, with unit norm.

        The stream of one channel, erasing and the classifier play no part.

        Args:
            clips: (B, T, 3, H, W).
            modality: of all clips.

        Returns:
            (B, C).

        Raises:
            ValueError: clips of another shape or type, or an unknown modality.
        """
        check_clips(clips)
        views = (clips, clips.flip(-1)) if self.config.tta_flip else (clips,)
        finals = []
        for view in views:
            maps = self.maps_of(self.trunk.stem(view.flatten(0, 1), modality))
            _, _, final = self.clip_feats(maps, clips.shape[1])
            finals.append(F.normalize(final.float(), dim=1))
        return F.normalize(sum(finals), dim=1)

    def inspect(self, clips: Tensor, modality: Modality) -> dict[str, Tensor]:
        """Return the attention of DPA among parts and over positions.

        A refined part is a weighted sum of z over positions. The share of a position is
        its term along that sum, so shares sum to one over T, h and w.

        Args:
            clips: (B, T, 3, H, W).
            modality: of all clips.

        Returns:
            "part attention", how much each part takes from each (B, p, p), and "part
            maps", the share of each position in each refined part (B, T, p, h, w).
            Empty without DPA.

        Raises:
            ValueError: clips of another shape or type, or an unknown modality.
        """
        if self.dpa is None:
            return {}
        check_clips(clips)
        size = clips.shape[:2]
        maps = self.maps_of(self.trunk.stem(clips.flatten(0, 1), modality))
        parts = temporal_mean(self.parts_of(maps).unflatten(0, size))
        maps = maps.unflatten(0, size)  # (B, T, C, h, w)
        attention = self.dpa.attention(parts)
        refined = attention @ self.dpa.z(parts)  # (B, p, C)
        direction = refined / refined.square().sum(-1, keepdim=True)
        values = self.dpa.z(maps.movedim(2, -1))
        along = torch.einsum("bthwc,bpc->btphw", values, direction)
        weights = attention @ self._position_weights(maps)  # (B, p, h)
        return {
            "part attention": attention,
            "part maps": along * weights[:, None, :, :, None],
        }

    def _position_weights(self, maps: Tensor) -> Tensor:
        """Return the weight of a position of each row in the mean of each part.

        Maps (B, T, C, h, w) -> (p, h).
        """
        _, frames, _, height, width = maps.shape
        weights = torch.zeros(self.config.parts, height, device=maps.device)
        for part, (start, stop) in enumerate(stripes(self.config.parts, height)):
            weights[part, start:stop] = 1 / (frames * width * (stop - start))
        return weights


def _pick(options: tuple[int, ...], clips: Tensor, draw: torch.Generator) -> Tensor:
    """Draw one of the options for each clip.

    Args:
        options: to draw from.
        clips: (B, ...), whose number and device are read.
        draw: generator on the CPU.

    Returns:
        (B,), on the device of the clips.
    """
    rows = torch.randint(len(options), (len(clips),), generator=draw)
    return torch.tensor(options)[rows].to(clips.device, non_blocking=True)
