"""Temporal shift: each convolution of a residual branch also sees some channels of the frames next to it, without a weight or a multiplication more (TSM, ICCV 2019)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torchvision.models.resnet import Bottleneck

from vvi.nn.backbone import TwoStream
from vvi.types import Modality


def shift(maps: Tensor, frames: int, divisor: int = 8) -> Tensor:
    """Move channels along time: (BT, C, h, w) -> (BT, C, h, w), T = `frames`.

    With q = C // divisor, channels 0..q-1 take those of frame t+1, channels q..2q-1 those of frame t-1, the rest stay; past either end of a clip stand zeros. A clip of one frame
    has no neighbours, so it is left as it is: the released code would blank a quarter of its channels.
    """
    if frames == 1:
        return maps
    fold, clips = maps.shape[1] // divisor, maps.unflatten(0, (-1, frames))
    out = torch.zeros_like(clips)  # keeps the memory format, unlike torch.cat
    out[:, :-1, :fold] = clips[:, 1:, :fold]
    out[:, 1:, fold : 2 * fold] = clips[:, :-1, fold : 2 * fold]
    out[:, :, 2 * fold :] = clips[:, :, 2 * fold :]
    return out.flatten(0, 1)


class Shifted(nn.Module):
    """A layer on shifted maps; `net` is also its name in the checkpoints of TSM. `frames`: T of the clips that come next."""

    def __init__(self, net: nn.Module, frames: int = 1):
        super().__init__()
        self.net, self.frames = net, frames

    def forward(self, maps: Tensor) -> Tensor:
        return self.net(shift(maps, self.frames))


class Stream(nn.Module):
    """A whole trunk for one modality: a copy of the stem and of all stages, the first convolution of every residual branch shifted.

    The other path of a block sees unshifted maps. `last_stride` is that of the last stage. lender: another stream, whose stages are used from `shared_from` on (3 is layer1, 6 is
    layer4; 7: none); they belong to the lender alone.
    """

    def __init__(
        self,
        trunk: TwoStream,
        modality: Modality,
        shifted: bool = True,
        last_stride: int = 1,
        lender: Stream | None = None,
        shared_from: int = 7,
    ):
        super().__init__()
        self.borrowed = (
            () if lender is None else (lender, shared_from)
        )  # in a tuple: not a part of this module
        self.stem = copy.deepcopy(trunk.stems[modality])
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            copy.deepcopy(getattr(trunk, f"layer{n}")) for n in (1, 2, 3, 4)
        )
        if last_stride != 1:
            _set_stride(self.layer4[0], last_stride)
        for block in (block for stage in self.stages for block in stage):
            if shifted:
                block.conv1 = Shifted(block.conv1)
        if lender is not None:
            for n in range(max(3, shared_from), 7):
                delattr(self, f"layer{n - 2}")
            if shared_from == 2:
                del self.stem

    @property
    def stages(self) -> tuple[nn.Sequential, ...]:
        """The four stages after the stem, whosever they are."""
        return tuple(getattr(self._owner(n + 2), f"layer{n}") for n in (1, 2, 3, 4))

    def _owner(self, stage: int) -> Stream:
        return self.borrowed[0] if self.borrowed and stage >= self.borrowed[1] else self

    @property
    def parts(self) -> tuple[nn.Module, ...]:
        """The stem and the four stages, stages 2 to 6."""
        return self._owner(2).stem, *self.stages

    def set_frames(self, frames: int) -> None:
        """Tell every shifted layer how many frames the next clips have."""
        for part in self.parts:
            for layer in part.modules():
                if isinstance(layer, Shifted):
                    layer.frames = frames

    def forward(self, clips: Tensor) -> list[Tensor]:
        """Clips (B, T, 3, H, W) -> the maps of the stem and of the four stages, each (BT, C, h, w)."""
        self.set_frames(clips.shape[1])
        maps, last = [], clips.flatten(0, 1)
        for part in self.parts:
            last = part(last)
            maps.append(last)
        return maps


def paired(
    first: Stream, second: Stream, vis: Tensor, ir: Tensor
) -> tuple[list[Tensor], list[Tensor]]:
    """Run clips of both modalities through two streams.

    A part that both share sees both modalities in one batch, so that its norms have
    the same statistics in training and in a search.

    Args:
        first: the stream of visible clips.
        second: the stream of infrared clips.
        vis: (B, T, 3, H, W).
        ir: (B, T, 3, H, W).

    Returns:
        The maps of stem and stages of each modality, five (BT, C, h, w) each.
    """
    first.set_frames(vis.shape[1])
    second.set_frames(ir.shape[1])
    left, right = vis.flatten(0, 1), ir.flatten(0, 1)
    maps: tuple[list[Tensor], list[Tensor]] = ([], [])
    for mine, theirs in zip(first.parts, second.parts, strict=True):
        if mine is theirs:
            left, right = mine(torch.cat((left, right))).chunk(2)
        else:
            left, right = mine(left), theirs(right)
        maps[0].append(left)
        maps[1].append(right)
    return maps


def _set_stride(block: nn.Module, stride: int) -> None:
    main = block.conv2 if isinstance(block, Bottleneck) else block.conv1
    main.stride = (stride, stride)
    if block.downsample is None:
        block.downsample = nn.MaxPool2d(
            1, stride
        )  # a stage that keeps its width has no projection: every second place, and no weight
    else:
        block.downsample[0].stride = (stride, stride)
