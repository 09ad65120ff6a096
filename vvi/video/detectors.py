"""Detectors of people: torchvision's detection networks, small ones with the weights that `vvi.video.train_detectors` trained, or large ones from a local file.

Nothing is ever downloaded. A detector is called with frames (T, H, W, 3) uint8 and returns, for each, boxes (n, 5): x1, y1, x2, y2, score.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from vvi.runtime import paths

NAMES = ("fcos", "retinanet", "fasterrcnn")
TITLES = {"fcos": "FCOS", "retinanet": "RetinaNet", "fasterrcnn": "Faster R-CNN"}
PERSON = 1  # class number, here and in torchvision's own weights
HEIGHT = 96  # of the pictures that the small detectors see; people are then some 40 pixels tall
CHANNELS = 64
FOLDER = "detectors"  # of records


@dataclass(frozen=True)
class Detector:
    """A network and the height (None: as it comes) at which it sees pictures."""

    network: nn.Module
    height: int | None
    least: float = 0.1

    @torch.no_grad()
    def __call__(self, frames: np.ndarray) -> list[np.ndarray]:
        """Frames (T, H, W, 3) uint8 -> boxes (n, 5) of each, in pixels of the frames."""
        self.network.eval()
        device = next(self.network.parameters()).device
        small = [shrink(frame, self.height) for frame in frames]
        scale = np.array(
            [
                frames[0].shape[1] / small[0].shape[1],
                frames[0].shape[0] / small[0].shape[0],
            ]
            * 2
        )
        return [
            self._boxes(found, scale)
            for found in self.network([tensor(picture).to(device) for picture in small])
        ]

    def _boxes(self, found: dict[str, Tensor], scale: np.ndarray) -> np.ndarray:
        good = (found["labels"] == PERSON) & (found["scores"] >= self.least)
        return np.concatenate(
            (
                found["boxes"][good].cpu().numpy() * scale,
                found["scores"][good, None].cpu().numpy(),
            ),
            1,
        ).astype(np.float64)


def build(name: str, height: int = HEIGHT) -> nn.Module:
    """An untrained small detector of `NAMES` for pictures of this height: torchvision's head on six convolutions of stride 8."""
    from torchvision.models import detection
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.ops import MultiScaleRoIAlign

    size = {
        "min_size": height,
        "max_size": 100 * height,
    }  # torchvision then leaves our pictures as they are
    if name == "fcos":
        return detection.FCOS(
            _Trunk(), 2, anchor_generator=AnchorGenerator(((8,),), ((1.0,),)), **size
        )
    if name == "retinanet":
        return detection.RetinaNet(
            _Trunk(),
            2,
            anchor_generator=AnchorGenerator(((22, 30),), ((2.4,),)),
            **size,
        )
    if name == "fasterrcnn":
        pool = MultiScaleRoIAlign(["0"], (6, 4), 2)
        head = detection.faster_rcnn.TwoMLPHead(CHANNELS * 24, 128)
        few = dict(
            rpn_pre_nms_top_n_train=300,
            rpn_post_nms_top_n_train=60,
            rpn_pre_nms_top_n_test=300,
            rpn_post_nms_top_n_test=60,
            box_batch_size_per_image=32,
        )
        anchors = AnchorGenerator(((22, 30),), ((2.4,),))
        last = detection.faster_rcnn.FastRCNNPredictor(128, 2)
        return detection.FasterRCNN(
            _Trunk(),
            rpn_anchor_generator=anchors,
            box_roi_pool=pool,
            box_head=head,
            box_predictor=last,
            **few,
            **size,
        )
    raise ValueError(f"no small detector {name!r}; there are {', '.join(NAMES)}")


class _Trunk(nn.Sequential):
    """(B, 3, H, W) -> (B, 64, H / 8, W / 8)."""

    out_channels = CHANNELS

    def __init__(self) -> None:
        plan = (
            (3, 24, 2),
            (24, 32, 2),
            (32, 48, 1),
            (48, 64, 2),
            (64, 64, 1),
            (64, CHANNELS, 1),
        )
        super().__init__(
            *(
                layer
                for a, b, s in plan
                for layer in (
                    nn.Conv2d(a, b, 3, s, 1, bias=False),
                    nn.BatchNorm2d(b),
                    nn.ReLU(inplace=True),
                )
            )
        )


def shrink(frame: np.ndarray, height: int | None) -> np.ndarray:
    """(H, W, 3) uint8 -> that height, each pixel the mean of those it covers; the width becomes a multiple of 8."""
    import cv2

    if height is None:
        return frame
    width = max(8, round(frame.shape[1] * height / frame.shape[0] / 8) * 8)
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)


def tensor(picture: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 -> (3, H, W) float in [0, 1]."""
    return (
        torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1))).float() / 255
    )


def load(
    name: str = "fcos", weights: str | Path | None = None, device: str = "cpu"
) -> Detector:
    """A trained detector: one of `NAMES` with the stored weights, or one of torchvision's detection networks with its own (COCO) weights.

    The latter come from a file `weights`, or from where torchvision's loader keeps them; when they are not there, an error says where to put them. Nothing is downloaded.
    """
    if name in NAMES:
        file = (
            Path(weights)
            if weights is not None
            else next(
                (record.with_suffix(".safetensors") for record in stored(name)), None
            )
        )
        if file is None or not file.is_file():
            raise FileNotFoundError(
                f"no weights of the small detector {name!r}{f' at {file}' if file else ''}: train it with vvi.video.train_detectors.run(detect.DetectorRecipe({name!r}))"
            )
        network = _filled(build(name), file, load_file)
        return Detector(network.to(device).eval(), HEIGHT)
    return Detector(_large(name, weights).to(device).eval(), None)


def _large(name: str, weights: str | Path | None) -> nn.Module:
    from torchvision import models

    known = models.list_models(module=models.detection)
    if name not in known:
        raise ValueError(
            f"no detector {name!r}; there are {', '.join((*NAMES, *known))}"
        )
    url = models.get_model_weights(name).DEFAULT.url
    file = Path(
        weights or Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    )
    if not file.is_file():
        raise FileNotFoundError(
            f"weights of {name} are not on this machine: put torchvision's file {file.name} at {file}; nothing is downloaded here"
        )
    return _filled(
        models.get_model(name, weights=None, weights_backbone=None),
        file,
        lambda path: torch.load(path, weights_only=True),
    )


def _filled(
    network: nn.Module, file: Path, read: Callable[[Path], dict[str, Tensor]]
) -> nn.Module:
    try:
        network.load_state_dict(
            {
                key: value.float() if value.is_floating_point() else value
                for key, value in read(file).items()
            }
        )
    except (
        SafetensorError,
        UnpicklingError,
        RuntimeError,
        EOFError,
        AttributeError,
    ) as error:
        raise ValueError(
            f"{file} holds no weights of this detector: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        ) from error
    return network


def stored(name: str) -> list[Path]:
    """Records of a small detector, under `$VVI_RUNS` before `book/records`; the weights lie beside them."""
    return [
        file
        for folder in (paths.runs(), paths.records())
        if (file := folder / FOLDER / f"{name}.json").is_file()
    ]
