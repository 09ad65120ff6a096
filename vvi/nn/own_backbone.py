"""Trunks and weights of one's own: `backbone=module:function`, `weights=FILE`.

The function takes no argument. It returns a ResNet of torchvision, which is taken apart
here (`split` sets its last stage to stride 1), or a `TwoStream`: a stem, four stages
and their widths. A stage is an `nn.Sequential`. For CMFT its blocks are residual ones
with `conv1` and `downsample`. The file holds tensors by the names of that ResNet or of
that `TwoStream`. Wrappers around them are taken off, a classifier `fc` is left out, and
every other name must fit.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torchvision.models.resnet import ResNet

from vvi.nn.backbone import TwoStream, check, split
from vvi.runtime import pins, validation
from vvi.runtime.tensors import CheckpointError, read, some, unwrap
from vvi.types import MODALITIES

STAGES = ("layer1", "layer2", "layer3", "layer4")


def pinned(backbone: str, weights: str | None) -> tuple[str, str | None]:
    """Name a trunk and weights of one's own with the digest of what they hold.

    The file is read before a copy of it is kept.

    Raises:
        ValueError: there is no such trunk or function, or no such file.
        CheckpointError: the file holds no tensors by name.
    """
    check(backbone, weights)
    if ":" in backbone:
        backbone = pins.pin_function(backbone)
    if weights not in (None, "imagenet") and not weights.startswith(pins.FILE):
        file = _existing(weights, backbone)
        _tensors(file, weights)
        weights = pins.pin_file(file)
    return backbone, weights


def load(name: str) -> TwoStream:
    """Call a function that makes a trunk, and check what it returns.

    Args:
        name: `module:function`, with or without the digest of its source.

    Raises:
        ValueError: there is no such function, it fails, or it returns no trunk.
    """
    function = pins.pinned_function(name)
    try:
        net = function()
    except Exception as error:  # whatever the code of a user raises
        kind, why = type(error).__name__, " ".join(str(error).split())
        raise ValueError(f"backbone {name} fails with {kind}: {why}") from error
    if isinstance(net, ResNet):
        trunk = split(net, ())
        trunk.channels = widths(trunk, type(net).__name__)
        return trunk
    if not isinstance(net, TwoStream):
        kind = type(net).__name__
        wanted = "a ResNet of torchvision or a vvi.nn.backbone.TwoStream"
        raise ValueError(f"backbone {name} returns a {kind}: it must be {wanted}")
    measured, declared = widths(net, name), tuple(net.channels)
    if measured != declared:
        raise ValueError(
            f"backbone {name}: its channels say {declared}, its maps {measured}"
        )
    return net


@torch.no_grad()
def widths(trunk: TwoStream, name: str) -> tuple[int, ...]:
    """Count the channels of the maps after the stem and after each stage.

    Raises:
        ValueError: a part does not take the maps of the part before it.
    """
    channels = []
    training = trunk.training
    trunk.eval()
    maps = torch.zeros(1, 3, 64, 32)
    for part in ("stem", *STAGES):
        step = trunk.stems["vis"] if part == "stem" else getattr(trunk, part)
        try:
            maps = step(maps)
        except Exception as error:  # whatever the code of a user raises
            why = " ".join(str(error).split())
            raise ValueError(f"backbone {name}: {part} fails, {why}") from error
        if not isinstance(maps, Tensor) or maps.ndim != 4:
            raise ValueError(f"backbone {name}: {part} must return maps (N, C, h, w)")
        channels.append(maps.shape[1])
    trunk.train(training)
    return tuple(channels)


def fill(trunk: TwoStream, weights: str, name: str) -> None:
    """Load a file of weights into a trunk.

    Args:
        trunk: what is filled.
        weights: a path, or `file:<digest>` of a file that was pinned.
        name: what messages call the trunk.

    Raises:
        ValueError: there is no file of that path.
        FileNotFoundError: this machine has no copy of the file of that digest.
        CheckpointError: it is no checkpoint, a name is missing or unknown, a shape is
            another, or a number is not finite.
    """
    pinned = weights.startswith(pins.FILE)
    file = pins.pinned_file(weights) if pinned else _existing(weights, name)
    typed = pins.typed_name(weights)
    tensors = _as_trunk(_tensors(file, typed))
    try:
        _check(trunk.state_dict(), tensors)
    except CheckpointError as error:
        why = f"weights {typed} do not fit the trunk {name}: {error}"
        raise CheckpointError(why) from error
    trunk.load_state_dict(tensors, strict=False)


def _tensors(file: Path, typed: str) -> dict[str, Tensor]:
    """Read the tensors of a file.

    Args:
        file: of weights.
        typed: the name that it was given by, for a message.

    Raises:
        CheckpointError: it is no checkpoint, or holds no tensors by name.
    """
    try:
        return unwrap(read(file))
    except CheckpointError as error:
        why = str(error).replace(f"{file} ", "the file ", 1)
        raise CheckpointError(f"weights {typed}: {why}") from error


def _existing(weights: str, name: str) -> Path:
    file = validation.at_home(weights)
    if not file.is_file():
        raise ValueError(
            f"no weights {weights!r} for {name}: "
            "use imagenet (resnet50 only), a file that exists, or none",
        )
    return file


def _as_trunk(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename tensors of a ResNet, or of a trained method, as those of its trunk."""
    prefix = "trunk."
    of_trunk = {k: v for k, v in tensors.items() if k.startswith(prefix)}
    if of_trunk:
        tensors = {name.removeprefix(prefix): v for name, v in of_trunk.items()}
    stems = {"conv1": "0", "bn1": "1", "stem": ""}
    renamed = {}
    for name, value in tensors.items():
        part, _, rest = name.partition(".")
        if part in stems:
            inside = ".".join(filter(None, (stems[part], rest)))
            for modality in MODALITIES:
                renamed[f"stems.{modality}.{inside}"] = value
        elif part != "fc":
            renamed[name] = value
    return renamed


def _check(own: dict[str, Tensor], tensors: dict[str, Tensor]) -> None:
    """Raise CheckpointError unless tensors of a file fit those of the trunk."""
    # files of before torch 0.4 count no batches
    needed = {name for name in own if not name.endswith("num_batches_tracked")}
    shared = sorted(own.keys() & tensors.keys())
    problems = {
        "missing": sorted(needed - tensors.keys()),
        "unknown": sorted(tensors.keys() - own.keys()),
        "of another shape": _other_shapes(own, tensors, shared),
        "not finite": [name for name in shared if not tensors[name].isfinite().all()],
    }
    for problem, names in problems.items():
        if names:
            raise CheckpointError(f"{problem}: {some(names)}")


def _other_shapes(
    own: dict[str, Tensor], tensors: dict[str, Tensor], shared: list[str]
) -> list[str]:
    lines = []
    for name in shared:
        theirs, ours = tuple(tensors[name].shape), tuple(own[name].shape)
        if theirs != ours:
            lines.append(f"{name} {theirs} in place of {ours}")
    return lines
