"""Two-stream trunks: one stem for each modality, stages that both share.

`resnet50` is the trunk of all papers, here with its last stage at stride 1. `small` and
`micro` have the same shape in miniature, for machines without a GPU.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from vvi.types import MODALITIES, Modality, check_modality


@dataclass(frozen=True)
class Small:
    """Size of a small trunk.

    Each stage is one basic block. The stem is a convolution and a pooling, both at
    stride 2 as in a ResNet.

    Raises:
        ValueError: a width is no multiple of 16.
    """

    #: Channels of the stem and of the four stages.
    widths: tuple[int, int, int, int, int]
    #: Strides of the four stages.
    strides: tuple[int, int, int, int]

    def __post_init__(self):
        # torch 2.13 with two threads on AVX-512: the backward pass of a channels-last
        # 1x1 convolution of 8 channels reads freed memory and kills the process
        if any(width % 16 for width in self.widths):
            raise ValueError(f"widths must be multiples of 16, got {self.widths}")


SIZES = {
    "small": Small((16, 32, 64, 128, 192), (2, 2, 2, 1)),
    "micro": Small((16, 16, 16, 32, 32), (1, 1, 2, 1)),
}
NAMES = ("resnet50", *SIZES)


class TwoStream(nn.Module):
    """A stem for each modality and four shared stages.

    Args:
        stem: copied once for each modality.
        stages: the modules `layer1` to `layer4`.
        channels: widths of the maps after the stem and after each stage.

    Raises:
        ValueError: there are more or fewer than four stages.
    """

    def __init__(
        self, stem: nn.Module, stages: list[nn.Module], channels: tuple[int, ...]
    ):
        super().__init__()
        if len(stages) != 4:
            raise ValueError(f"a TwoStream has four stages, got {len(stages)}")
        stems = {modality: copy.deepcopy(stem) for modality in MODALITIES}
        self.stems = nn.ModuleDict(stems)
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.channels = channels

    def stem(self, frames: Tensor, modality: Modality) -> Tensor:
        """Run one modality through its stem: (N, 3, H, W) -> (N, C0, h0, w0)."""
        check_modality(modality)
        return self.stems[modality](frames)

    def forward(self, maps: Tensor) -> Tensor:
        """Run the shared stages: (N, C0, h0, w0) -> (N, C4, h, w)."""
        return self.layer4(self.first_stages(maps))

    def first_stages(self, maps: Tensor) -> Tensor:
        """Run stages 1 to 3: (N, C0, h0, w0) -> (N, C3, h, w)."""
        return self.layer3(self.layer2(self.layer1(maps)))

    def stems_of_pair(self, vis: Tensor, ir: Tensor) -> Tensor:
        """Run clips of both modalities through their stems.

        Visible first. The two may hold different numbers of clips, Bv and Bi: with its
        third stream DI2L has twice as many visible ones.

        (Bv, T, 3, H, W), (Bi, T, 3, H, W) -> ((Bv + Bi) T, C0, h0, w0).
        """
        vis_maps = self.stem(vis.flatten(0, 1), "vis")
        ir_maps = self.stem(ir.flatten(0, 1), "ir")
        return torch.cat((vis_maps, ir_maps))


def build(name: str, weights: str | None = None) -> TwoStream:
    """Build a two-stream trunk.

    Args:
        name: one of `NAMES`, or `module:function` (`vvi.nn.own_backbone`).
        weights: None (random), "imagenet" (resnet50 only: torchvision's V1 weights), or
            a file (`vvi.nn.own_backbone.fill`).

    Raises:
        ValueError: there is no such trunk or file, or the trunk has no weights of
            ImageNet.
        FileNotFoundError: weights of ImageNet, or those of a digest, are not on this
            machine.
        CheckpointError: the file is no checkpoint, or does not fit the trunk.
    """
    from vvi.nn import own_backbone

    check(name, weights)
    if ":" in name:
        trunk = own_backbone.load(name)
    elif name == "resnet50":
        trunk = _resnet50(weights)
    else:
        trunk = _small(SIZES[name])
    if weights not in (None, "imagenet"):
        own_backbone.fill(trunk, weights, name)
    return trunk


def check(name: str, weights: str | None) -> None:
    """Check names of a trunk and of its weights, without reading a file.

    Raises:
        ValueError: there is no such trunk, or it has no weights of ImageNet.
    """
    if ":" not in name and name not in NAMES:
        known = ", ".join(NAMES)
        raise ValueError(
            f"no trunk {name!r}: choose from {known}, "
            "or say module:function, such as torchvision.models:resnet18"
        )
    if weights == "imagenet" and name != "resnet50":
        raise ValueError(
            f"there are no 'imagenet' weights for the trunk {name!r}: "
            "only resnet50 has them; say weights=FILE or weights=none"
        )


def _resnet50(weights: str | None) -> TwoStream:
    net = torchvision.models.resnet50(weights=None)
    if weights == "imagenet":
        net.load_state_dict(_imagenet())
    return split(net, (64, 256, 512, 1024, 2048))


def split(net: ResNet, channels: tuple[int, ...]) -> TwoStream:
    """Make a two-stream trunk of a ResNet of torchvision.

    Its last stage keeps the size of the maps.

    Paper: none gives the stride of the last stage. 1 is that of the released code of
    MITML and IBAN, and of AGW, CAJ and DDAG, on which DI2L stands. For SADSTRM and CMFT
    it is ours.

    Args:
        net: is taken apart.
        channels: widths of the maps after the stem and after each stage.
    """
    set_stride(net.layer4[0], 1)
    stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
    stages = [net.layer1, net.layer2, net.layer3, net.layer4]
    return TwoStream(stem, stages, channels)


def set_stride(block: nn.Module, stride: int) -> None:
    """Set the stride of both paths of a residual block."""
    main = block.conv2 if isinstance(block, Bottleneck) else block.conv1
    main.stride = (stride, stride)
    if block.downsample is not None:
        block.downsample[0].stride = (stride, stride)
    elif stride > 1:
        # a stage that keeps its width has no projection: its shortcut takes every
        # second position, without a weight
        block.downsample = nn.MaxPool2d(1, stride)


def _imagenet() -> dict[str, Tensor]:
    source = torchvision.models.ResNet50_Weights.IMAGENET1K_V1
    try:
        return source.get_state_dict(check_hash=True)
    except OSError as error:
        file = source.url.rsplit("/", 1)[-1]
        raise FileNotFoundError(
            "the ImageNet weights of resnet50 are neither on disk nor to be fetched "
            f"({error}): download the file {file} named by "
            "torchvision.models.ResNet50_Weights.IMAGENET1K_V1.url, put it into "
            f"{torch.hub.get_dir()}/checkpoints/, or train from scratch with "
            "weights=None"
        ) from error


def _small(size: Small) -> TwoStream:
    widths = size.widths
    stem = nn.Sequential(
        nn.Conv2d(3, widths[0], 3, 2, 1, bias=False),
        nn.BatchNorm2d(widths[0]),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
    )
    shapes = zip(widths, widths[1:], size.strides, strict=False)
    stages = [nn.Sequential(_block(*shape)) for shape in shapes]
    for module in nn.ModuleList([stem, *stages]).modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return TwoStream(stem, stages, widths)


def _block(inside: int, outside: int, stride: int) -> BasicBlock:
    project = None
    if stride != 1 or inside != outside:
        project = nn.Sequential(
            nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
        )
    return BasicBlock(inside, outside, stride, project)
