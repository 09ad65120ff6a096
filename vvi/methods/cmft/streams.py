"""The two streams of CMFT, Sec. 3.2: networks with temporal shifts.

Each convolution of a residual branch also sees some channels of the frames next to it,
without a weight or a multiplication more (TSM, ICCV 2019).
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from vvi.nn import backbone
from vvi.types import Modality

#: One channel of so many moves in each direction, as in the released code of TSM.
FOLD = 8


def shift(maps: Tensor, frames: int) -> Tensor:
    """Move channels along time: (BT, C, h, w) -> (BT, C, h, w).

    With q = C // 8, channels 0..q-1 take those of frame t+1, channels q..2q-1 those of
    frame t-1, and the rest stay. Zeros stand past either end of a clip. A clip of one
    frame has no neighbours and is left as it is: the released code would blank a
    quarter of its channels.

    Args:
        maps: of all frames of B clips.
        frames: T.

    Returns:
        Maps of the same shape.
    """
    if frames == 1:
        return maps
    fold = maps.shape[1] // FOLD
    clips = maps.unflatten(0, (-1, frames))
    out = torch.zeros_like(clips)  # keeps the memory format, unlike torch.cat
    out[:, :-1, :fold] = clips[:, 1:, :fold]
    out[:, 1:, fold : 2 * fold] = clips[:, :-1, fold : 2 * fold]
    out[:, :, 2 * fold :] = clips[:, :, 2 * fold :]
    return out.flatten(0, 1)


class Shifted(nn.Module):
    """A layer on shifted maps.

    Args:
        net: the layer, by its name in the checkpoints of TSM.
        frames: T of the clips that come next.
    """

    def __init__(self, net: nn.Module, frames: int = 1):
        super().__init__()
        self.net, self.frames = net, frames

    def forward(self, maps: Tensor) -> Tensor:
        """Shift maps (BT, C, h, w) and run the layer."""
        return self.net(shift(maps, self.frames))


class Stream(nn.Module):
    """A whole trunk for one modality, with a stem and stages of its own.

    The first convolution of every residual branch sees shifted maps, the other path of
    a block does not.

    Args:
        trunk: copied.
        modality: whose stem is copied.
        shifted: whether maps are shifted.
        last_stride: of the last stage.
        owner: another stream, whose stages this one shares from `shared_from` on. They
            are parameters of the owner alone.
        shared_from: 2 for the stem, 3 for layer1 to 6 for layer4, 7 for nothing.
    """

    def __init__(
        self,
        trunk: backbone.TwoStream,
        modality: Modality,
        shifted: bool = True,
        last_stride: int = 1,
        owner: Stream | None = None,
        shared_from: int = 7,
    ):
        super().__init__()
        # in a tuple, so that it is no submodule
        self.shared = () if owner is None else (owner, shared_from)
        self.stem = copy.deepcopy(trunk.stems[modality])
        self.layer1 = copy.deepcopy(trunk.layer1)
        self.layer2 = copy.deepcopy(trunk.layer2)
        self.layer3 = copy.deepcopy(trunk.layer3)
        self.layer4 = copy.deepcopy(trunk.layer4)
        if last_stride != 1:
            backbone.set_stride(self.layer4[0], last_stride)
        if owner is not None:
            self._drop_from(shared_from)
        if shifted:
            self._shift_own_stages()

    def _drop_from(self, stage: int) -> None:
        """Delete the modules from a stage on."""
        for number in range(max(3, stage), 7):
            delattr(self, f"layer{number - 2}")
        if stage == 2:
            del self.stem

    def _shift_own_stages(self) -> None:
        """Shift the input of each block's first convolution, once.

        Blocks that are shared were shifted by their owner.
        """
        for number in (1, 2, 3, 4):
            if self._owner(number + 2) is self:
                for block in getattr(self, f"layer{number}"):
                    block.conv1 = Shifted(block.conv1)

    @property
    def stages(self) -> tuple[nn.Sequential, ...]:
        """The four stages after the stem, of this stream or of the owner."""
        return tuple(getattr(self._owner(n + 2), f"layer{n}") for n in (1, 2, 3, 4))

    @property
    def stem_and_stages(self) -> tuple[nn.Module, ...]:
        """The stem and the four stages, stages 2 to 6."""
        return self._owner(2).stem, *self.stages

    def _owner(self, stage: int) -> Stream:
        """Return the stream to which a stage belongs."""
        if not self.shared:
            return self
        owner, first = self.shared
        return owner if stage >= first else self

    def set_frames(self, frames: int) -> None:
        """Set T of the next clips in every shifted layer."""
        for part in self.stem_and_stages:
            for layer in part.modules():
                if isinstance(layer, Shifted):
                    layer.frames = frames

    def forward(self, clips: Tensor) -> list[Tensor]:
        """Run clips (B, T, 3, H, W) through the stem and the four stages.

        Returns:
            The maps after each of them, (BT, C, h, w).
        """
        self.set_frames(clips.shape[1])
        maps, last = [], clips.flatten(0, 1)
        for part in self.stem_and_stages:
            last = part(last)
            maps.append(last)
        return maps


def run_pair(
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

    Raises:
        ValueError: the clips of the two modalities differ in shape.
    """
    if vis.shape != ir.shape:
        shapes = f"{tuple(vis.shape)} and {tuple(ir.shape)}"
        raise ValueError(f"clips of a pair must have one shape, got {shapes}")
    first.set_frames(vis.shape[1])
    second.set_frames(ir.shape[1])
    vis_maps, ir_maps = [], []
    vis_last, ir_last = vis.flatten(0, 1), ir.flatten(0, 1)
    parts = zip(first.stem_and_stages, second.stem_and_stages, strict=True)
    for vis_part, ir_part in parts:
        if vis_part is ir_part:
            both = vis_part(torch.cat((vis_last, ir_last)))
            vis_last, ir_last = both.chunk(2)
        else:
            vis_last, ir_last = vis_part(vis_last), ir_part(ir_last)
        vis_maps.append(vis_last)
        ir_maps.append(ir_last)
    return vis_maps, ir_maps
