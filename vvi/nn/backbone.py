"""Two-stream trunks: one stem for each modality, stages shared by both.

`resnet50` is the trunk of all papers (last stage at stride 1); `small` and `micro` are the same shape in miniature, for machines without a GPU. All offer
`stem(frames, modality)`, the stages `layer1` .. `layer4`, `forward(maps)` through them and `channels`, their widths.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from vvi.types import MODALITIES, Modality


@dataclass(frozen=True)
class Small:
    """Widths of stem and stages, strides of the stages; each stage is one basic block, the stem a convolution and a pooling at stride 2 each, as in a ResNet."""

    widths: tuple[int, int, int, int, int]
    strides: tuple[int, int, int, int]

    def __post_init__(self):
        # torch 2.13 with two threads on AVX-512: the backward pass of a channels-last 1x1 convolution of 8 channels reads freed memory and kills the process
        if any(width % 16 for width in self.widths):
            raise ValueError(
                f"widths of a small trunk are multiples of 16, got {self.widths}"
            )


SIZES = {
    "small": Small((16, 32, 64, 128, 192), (2, 2, 2, 1)),
    "micro": Small((16, 16, 16, 32, 32), (1, 1, 2, 1)),
}
NAMES = ("resnet50", *SIZES)


class TwoStream(nn.Module):
    """Stems of their own for vis and ir, four shared stages."""

    def __init__(
        self, stem: nn.Module, stages: list[nn.Module], channels: tuple[int, ...]
    ):
        super().__init__()
        self.stems = nn.ModuleDict(
            {modality: copy.deepcopy(stem) for modality in MODALITIES}
        )
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.channels = channels

    def stem(self, frames: Tensor, modality: Modality) -> Tensor:
        """Frames of one modality through its own stem: (N, 3, H, W) -> (N, C0, h0, w0)."""
        if modality not in MODALITIES:
            raise ValueError(
                f"no modality {modality!r}: choose from {', '.join(MODALITIES)}"
            )
        return self.stems[modality](frames)

    def forward(self, maps: Tensor) -> Tensor:
        """The shared stages: (N, C0, h0, w0) -> (N, C4, h, w)."""
        return self.layer4(self.layer3(self.layer2(self.layer1(maps))))

    def both(self, vis: Tensor, ir: Tensor) -> Tensor:
        """Clips of both modalities through their stems, visible first: two (B, T, 3, H, W) -> (2BT, C0, h0, w0)."""
        return torch.cat(
            [
                self.stem(clips.flatten(0, 1), modality)
                for clips, modality in ((vis, "vis"), (ir, "ir"))
            ]
        )


def build(name: str, weights: str | None = None) -> TwoStream:
    """A two-stream trunk by name, or by `module:function` (`vvi.nn.hook`).

    weights: None (random), "imagenet" (resnet50 only: the V1 weights through torchvision's own loading), or a file (`vvi.nn.hook.fill`).
    """
    from vvi.nn import hook

    check(name, weights)
    trunk = (
        hook.load(name)
        if ":" in name
        else _resnet50(weights)
        if name == "resnet50"
        else _small(SIZES[name])
    )
    if weights not in (None, "imagenet"):
        hook.fill(trunk, weights, name)
    return trunk


def check(name: str, weights: str | None) -> None:
    """ValueError when there is no such trunk, or when it has no weights of ImageNet; whether a file fits is seen when it is read."""
    if ":" not in name and name not in NAMES:
        raise ValueError(
            f"no trunk {name!r}: choose from {', '.join(NAMES)}, or say module:function, such as torchvision.models:resnet18"
        )
    if weights == "imagenet" and name != "resnet50":
        raise ValueError(
            f"there are no 'imagenet' weights for the trunk {name!r}: only resnet50 has them; say weights=FILE or weights=none"
        )


def _resnet50(weights: str | None) -> TwoStream:
    net = torchvision.models.resnet50(weights=None)
    if weights == "imagenet":
        net.load_state_dict(_imagenet())
    first = net.layer4[0]
    first.conv2.stride = first.downsample[0].stride = (1, 1)
    stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
    return TwoStream(
        stem,
        [net.layer1, net.layer2, net.layer3, net.layer4],
        (64, 256, 512, 1024, 2048),
    )


def _imagenet() -> dict[str, Tensor]:
    source = torchvision.models.ResNet50_Weights.IMAGENET1K_V1
    try:
        return source.get_state_dict(check_hash=True)
    except OSError as error:
        raise FileNotFoundError(
            f"the ImageNet weights of resnet50 are neither on disk nor to be fetched ({error}): download the file {source.url.rsplit('/', 1)[-1]} named by "
            f"torchvision.models.ResNet50_Weights.IMAGENET1K_V1.url, put it into {torch.hub.get_dir()}/checkpoints/, or train from scratch with weights=None"
        ) from error


def _small(size: Small) -> TwoStream:
    w = size.widths
    stem = nn.Sequential(
        nn.Conv2d(3, w[0], 3, 2, 1, bias=False),
        nn.BatchNorm2d(w[0]),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
    )
    stages = [
        nn.Sequential(_block(*shape))
        for shape in zip(w, w[1:], size.strides, strict=False)
    ]
    for module in nn.ModuleList([stem, *stages]).modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return TwoStream(stem, stages, w)


def _block(inside: int, outside: int, stride: int) -> BasicBlock:
    project = None
    if stride != 1 or inside != outside:
        project = nn.Sequential(
            nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
        )
    return BasicBlock(inside, outside, stride, project)
