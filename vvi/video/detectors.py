"""Detectors of people: torchvision's detection networks.

Small ones have the weights that `vvi.video.train_detectors` trained, large ones come
from a local file. Nothing is ever downloaded. A detector is called with frames
(T, H, W, 3) uint8 and returns, for each, boxes (n, 5): x1, y1, x2, y2, score.
"""

from __future__ import annotations

import hashlib
import lzma
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_bytes
from safetensors.torch import load_file
from torch import Tensor, nn

from vvi.runtime import paths

if TYPE_CHECKING:
    from torchvision.models.detection.anchor_utils import AnchorGenerator

NAMES = ("fcos", "retinanet", "fasterrcnn")
TITLES = {"fcos": "FCOS", "retinanet": "RetinaNet", "fasterrcnn": "Faster R-CNN"}
PERSON = 1  # class number, here and in torchvision's own weights
HEIGHT = 96  # of the pictures of small detectors, where people have some 40 pixels
CHANNELS = 64
FOLDER = "detectors"  # of records
#: How the names of stored weights end: packed, and as they were written before.
PACKED, PLAIN = ".safetensors.xz", ".safetensors"
#: Convolutions of the trunk of a small detector: channels in, channels out, stride.
LAYERS = (
    (3, 24, 2),
    (24, 32, 2),
    (32, 48, 1),
    (48, 64, 2),
    (64, 64, 1),
    (64, CHANNELS, 1),
)
#: What is wrong with a file that holds no weights.
BAD_FILE = (
    SafetensorError,
    lzma.LZMAError,
    UnpicklingError,
    RuntimeError,
    EOFError,
    AttributeError,
)


@dataclass(frozen=True)
class Detector:
    """A network that detects people."""

    network: nn.Module
    #: Height to which pictures are scaled. None leaves them as they come.
    height: int | None
    #: Score of the least certain box.
    least: float = 0.1

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits of all that its boxes depend on."""
        digest = hashlib.sha256(f"{self.height} {self.least}".encode())
        for name, value in self.network.state_dict().items():
            digest.update(name.encode())
            digest.update(value.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:12]

    @torch.no_grad()
    def __call__(self, frames: np.ndarray) -> list[np.ndarray]:
        """Detect people: (T, H, W, 3) uint8 -> boxes (n, 5) of each, in its pixels."""
        self.network.eval()
        device = next(self.network.parameters()).device
        small = [shrink(frame, self.height) for frame in frames]
        height, width = frames[0].shape[:2]
        scale = np.array([width / small[0].shape[1], height / small[0].shape[0]] * 2)
        pictures = [tensor(picture).to(device) for picture in small]
        return [self._boxes(one, scale) for one in self.network(pictures)]

    def _boxes(self, output: dict[str, Tensor], scale: np.ndarray) -> np.ndarray:
        """Return the boxes of people among all that a network puts out."""
        certain = output["scores"] >= self.least
        good = (output["labels"] == PERSON) & certain
        corners = output["boxes"][good].cpu().numpy() * scale
        scores = output["scores"][good, None].cpu().numpy()
        return np.concatenate((corners, scores), 1).astype(np.float64)


def build(name: str, height: int = HEIGHT) -> nn.Module:
    """Build an untrained small detector: torchvision's head on six convolutions.

    Args:
        name: one of `NAMES`.
        height: of its pictures.

    Raises:
        ValueError: there is no such detector.
    """
    from torchvision.models import detection

    # torchvision then leaves our pictures as they are
    size = {"min_size": height, "max_size": 100 * height}
    if name == "fcos":
        anchors = _anchors((8,), 1.0)
        return detection.FCOS(_Trunk(), 2, anchor_generator=anchors, **size)
    if name == "retinanet":
        anchors = _anchors((22, 30), 2.4)
        return detection.RetinaNet(_Trunk(), 2, anchor_generator=anchors, **size)
    if name == "fasterrcnn":
        return _faster_rcnn(size)
    raise ValueError(f"no small detector {name!r}; there are {', '.join(NAMES)}")


def _anchors(sizes: tuple[int, ...], ratio: float) -> AnchorGenerator:
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    return AnchorGenerator((sizes,), ((ratio,),))


def _faster_rcnn(size: dict[str, int]) -> nn.Module:
    """Build Faster R-CNN with few proposals and a small head."""
    from torchvision.models.detection import faster_rcnn
    from torchvision.ops import MultiScaleRoIAlign

    pool = MultiScaleRoIAlign(["0"], (6, 4), 2)
    head = faster_rcnn.TwoMLPHead(CHANNELS * 24, 128)
    anchors = _anchors((22, 30), 2.4)
    predictor = faster_rcnn.FastRCNNPredictor(128, 2)
    return faster_rcnn.FasterRCNN(
        _Trunk(),
        rpn_anchor_generator=anchors,
        box_roi_pool=pool,
        box_head=head,
        box_predictor=predictor,
        rpn_pre_nms_top_n_train=300,
        rpn_post_nms_top_n_train=60,
        rpn_pre_nms_top_n_test=300,
        rpn_post_nms_top_n_test=60,
        box_batch_size_per_image=32,
        **size,
    )


class _Trunk(nn.Sequential):
    """Six convolutions: (B, 3, H, W) -> (B, 64, H / 8, W / 8)."""

    out_channels = CHANNELS

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        for inputs, outputs, stride in LAYERS:
            layers.append(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False))
            layers.append(nn.BatchNorm2d(outputs))
            layers.append(nn.ReLU(inplace=True))
        super().__init__(*layers)


def shrink(frame: np.ndarray, height: int | None) -> np.ndarray:
    """Resize (H, W, 3) uint8 to a height, each pixel the mean of those it covers.

    The width becomes a multiple of 8.
    """
    import cv2

    if height is None:
        return frame
    width = max(8, round(frame.shape[1] * height / frame.shape[0] / 8) * 8)
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)


def tensor(picture: np.ndarray) -> Tensor:
    """Turn (H, W, 3) uint8 into (3, H, W) float in [0, 1]."""
    channels_first = np.ascontiguousarray(picture.transpose(2, 0, 1))
    return torch.from_numpy(channels_first).float() / 255


def load(
    name: str = "fcos", weights: str | Path | None = None, device: str = "cpu"
) -> Detector:
    """Load a trained detector.

    Args:
        name: one of `NAMES`, or one of torchvision's detection networks with its own
            (COCO) weights.
        weights: a file. By default these are the stored weights, or the file where
            torchvision's loader keeps its own.
        device: where it computes.

    Raises:
        FileNotFoundError: the weights are not there. Nothing is downloaded.
        ValueError: an unknown name, or a file of other weights.
    """
    if name not in NAMES:
        return Detector(_large(name, weights).to(device).eval(), None)
    file = Path(weights) if weights is not None else _stored_weights(name)
    if file is None or not file.is_file():
        at = f" at {file}" if file else ""
        raise FileNotFoundError(
            f"no weights of the small detector {name!r}{at}: train it with "
            f"vvi.video.train_detectors.run(DetectorRecipe({name!r}))"
        )
    network = _filled(build(name), file, _read_small)
    return Detector(network.to(device).eval(), HEIGHT)


def _stored_weights(name: str) -> Path | None:
    records = stored(name)
    if not records:
        return None
    packed, plain = (records[0].with_suffix(end) for end in (PACKED, PLAIN))
    return packed if packed.is_file() else plain


def _read_small(file: Path) -> dict[str, Tensor]:
    """Read weights of a small detector, packed by xz or not."""
    if file.suffix == ".xz":
        return load_bytes(lzma.decompress(file.read_bytes()))
    return load_file(file)


def _large(name: str, weights: str | Path | None) -> nn.Module:
    """Load one of torchvision's detection networks from a local file."""
    from torchvision import models

    known = models.list_models(module=models.detection)
    if name not in known:
        raise ValueError(
            f"no detector {name!r}; there are {', '.join((*NAMES, *known))}"
        )
    url = models.get_model_weights(name).DEFAULT.url
    usual = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    file = Path(weights or usual)
    if not file.is_file():
        raise FileNotFoundError(
            f"weights of {name} are not on this machine: put torchvision's file "
            f"{file.name} at {file}; nothing is downloaded here"
        )
    network = models.get_model(name, weights=None, weights_backbone=None)
    return _filled(network, file, _read_torch)


def _read_torch(file: Path) -> Any:
    return torch.load(file, weights_only=True)


def _filled(
    network: nn.Module, file: Path, read: Callable[[Path], dict[str, Tensor]]
) -> nn.Module:
    """Load the weights of a file into a network, in single precision."""
    try:
        state = read(file)
        for key, value in state.items():
            state[key] = value.float() if value.is_floating_point() else value
        network.load_state_dict(state)
    except BAD_FILE as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{file} holds no weights of this detector: {reason}"
        ) from error
    return network


def stored(name: str) -> list[Path]:
    """Return records of a small detector, which have its weights beside them.

    Those of this machine come before the committed ones.
    """
    folders = (paths.runs() / FOLDER, paths.records() / FOLDER)
    files = [folder / f"{name}.json" for folder in folders]
    return [file for file in files if file.is_file()]
