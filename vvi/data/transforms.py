"""Crop, flip and normalise frames.

Frames stay uint8 while crop and flip move bytes. One float pass normalises at the end.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vvi.runtime.fields import check_choice

Anaglyph = Literal["paper", "released"]
Unit = Literal["frame", "clip"]
#: Mean and standard deviation of ImageNet, per channel, for values in 0..1.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: Weights of red, green and blue in a grey image (ITU-R BT.601).
GREY = (0.299, 0.587, 0.114)
#: Grey value of a flat region in an anaglyph: k in Eq. (1) of the IBAN paper.
OFFSET = 128


def constant(values: Sequence, device: torch.device) -> Tensor:
    """Move numbers to a device as a tensor, without a device sync."""
    return torch.tensor(values).to(device, non_blocking=True)


def normalise(frames: Tensor) -> Tensor:
    """Normalise by ImageNet: uint8 (..., 3, H, W) -> float32 of the same shape.

    On a CPU the 256 values of each channel are looked up in a table, which gives the
    bits of the arithmetic in half its time.
    """
    if frames.device.type != "cpu":
        return _normalise_by_arithmetic(frames)
    import cv2

    levels = torch.arange(256, dtype=torch.uint8).expand(3, 1, 256)
    tables = _normalise_by_arithmetic(levels).numpy()
    planes = np.ascontiguousarray(frames.numpy()).reshape(-1, *frames.shape[-2:])
    normalised = np.empty(planes.shape, np.float32)
    for n, (plane, target) in enumerate(zip(planes, normalised, strict=True)):
        cv2.LUT(plane, tables[n % 3], target)
    return torch.from_numpy(normalised).view(frames.shape)


def _normalise_by_arithmetic(frames: Tensor) -> Tensor:
    mean, std = (constant(v, frames.device).view(3, 1, 1) for v in (MEAN, STD))
    return frames.float().sub_(255 * mean).div_(255 * std)


def denormalise(frames: Tensor) -> Tensor:
    """Invert `normalise` and clip: float (..., 3, H, W) -> uint8 of the same shape."""
    mean, std = (constant(v, frames.device).view(3, 1, 1) for v in (MEAN, STD))
    return (frames * (255 * std) + 255 * mean).round().clamp(0, 255).to(torch.uint8)


def anaglyph(
    frames: Tensor,
    variant: Anaglyph = "paper",
    normalised: bool = False,
) -> Tensor:
    """Turn frames into relief images. Eq. (1) of the IBAN paper.

    A relief is the lower right neighbour minus the pixel of the grey image, which is
    the kernel ((-1, 0), (0, 1)), plus 128, clipped to 0..255, in three equal channels.

    Paper: neither names the edge operator nor gives the offset. Both are those of the
    released script, the border of "paper" is ours. The script filters files at their
    native resolution, before they are resized. Here the frames are resized before.

    Args:
        frames: (..., 3, H, W) with values 0..255, or `normalised`.
        variant: "paper" replicates the border. "released" rounds the grey values and
            leaves the last row and column black.
        normalised: whether frames, and so the result, are normalised by ImageNet.

    Returns:
        Floats of the same shape.

    Raises:
        ValueError: frames are not (..., 3, H, W), or there is no such variant.
    """
    check_choice("variant", variant, Anaglyph)
    if frames.ndim < 3 or frames.shape[-3] != 3:
        shape = tuple(frames.shape)
        raise ValueError(f"frames must be (..., 3, H, W), got {shape}")
    scale, shift = (1, 1, 1), (0, 0, 0)
    if normalised:
        scale, shift = [255 * v for v in STD], [255 * v for v in MEAN]
    grey = sum(
        channel.float() * (weight * s)
        for channel, weight, s in zip(frames.unbind(-3), GREY, scale, strict=True)
    )
    if variant == "released":
        grey_mean = sum(weight * m for weight, m in zip(GREY, shift, strict=True))
        grey = (grey + grey_mean).round()
    flat = grey.reshape(-1, *grey.shape[-2:])
    neighbour = F.pad(flat, (0, 1, 0, 1), mode="replicate")[:, 1:, 1:]
    relief = (neighbour - flat + OFFSET).clamp(0, 255)
    if variant == "released":
        relief = F.pad(relief[:, :-1, :-1], (0, 1, 0, 1))
    channels = [(relief - m) / s for s, m in zip(scale, shift, strict=True)]
    return torch.stack(channels, 1).view(frames.shape)


def crop_and_flip(
    frames: Tensor | Sequence[np.ndarray],
    top: Tensor,
    left: Tensor,
    flip: Tensor,
    pad: int,
) -> Tensor:
    """Zero-pad frames, crop them to their old size and mirror some of them.

    Args:
        frames: N frames (3, H, W) uint8.
        top: first row of each crop in the padded frame: (N,) integers.
        left: first column of each crop: (N,) integers.
        flip: which frames are mirrored: (N,) bool.
        pad: pixels added on each side.

    Returns:
        (N, 3, H, W) uint8, on the device of the frames.
    """
    if not isinstance(frames, Tensor):
        return _crop_by_copy(frames, top, left, flip, pad)
    if frames.device.type == "cpu":
        return _crop_by_copy(frames.numpy(), top, left, flip, pad)
    return _crop_by_index(frames, top, left, flip, pad)


def _crop_by_copy(
    frames: Sequence[np.ndarray], top: Tensor, left: Tensor, flip: Tensor, pad: int
) -> Tensor:
    """Crop with one block copy per frame, straight from the image or cache file."""
    import cv2

    height, width = frames[0].shape[-2:]
    out = np.zeros((len(frames), 3, height, width), np.uint8)
    moves = zip((top - pad).tolist(), (left - pad).tolist(), flip.tolist(), strict=True)
    for source, target, (down, right, mirror) in zip(frames, out, moves, strict=True):
        rows, source_rows = _overlap(height, down)
        cols, source_cols = _overlap(width, right)
        target[:, rows, cols] = source[:, source_rows, source_cols]
        if mirror:
            for plane in target:
                cv2.flip(plane, 1, plane)
    return torch.from_numpy(out)


def _overlap(size: int, offset: int) -> tuple[slice, slice]:
    """Return the part of a shifted axis that is filled, and where it comes from."""
    start = min(size, max(0, -offset))
    stop = max(start, min(size, size - offset))
    return slice(start, stop), slice(start + offset, stop + offset)


def _crop_by_index(
    frames: Tensor, top: Tensor, left: Tensor, flip: Tensor, pad: int
) -> Tensor:
    """Crop with a few kernel launches for all frames, for frames on a GPU."""
    height, width = frames.shape[-2:]
    padded = F.pad(frames, (pad, pad, pad, pad))
    # all possible windows as a view: (N, 3, 2 pad + 1, 2 pad + 1, H, W)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)
    cropped = windows[torch.arange(len(frames), device=frames.device), :, top, left]
    return torch.where(flip[:, None, None, None], cropped.flip(-1), cropped)


def augment(
    clips: Tensor | Sequence[Sequence[np.ndarray]],
    rng: np.random.Generator,
    pad: int,
    flip: float,
    per: Unit = "frame",
    shard: tuple[int, int] = (0, 1),
) -> Tensor:
    """Crop clips at random after zero padding and mirror them at random.

    Paper: MITML names crop, padding and flip and is silent on the unit. The released
    code draws per frame, so one clip holds mirrored and unmirrored frames.

    Args:
        clips: B clips of T frames (3, H, W) uint8.
        rng: draws for the global batch, also for the clips of other ranks.
        pad: pixels added on each side.
        flip: probability of a mirrored frame.
        per: draw for each frame, or once for each clip.
        shard: (rank, world size): which equal part of the global batch the clips are.

    Returns:
        (B, T, 3, H, W) uint8, on the device of the clips.

    Raises:
        ValueError: there is no such unit.
    """
    check_choice("per", per, Unit)
    batch, length = len(clips), len(clips[0])
    rank, world_size = shard
    drawn = (batch * world_size, length if per == "frame" else 1)
    own = slice(rank * batch, (rank + 1) * batch)
    top = rng.integers(0, 2 * pad + 1, size=drawn)[own]
    left = rng.integers(0, 2 * pad + 1, size=drawn)[own]
    mirror = rng.random(drawn)[own] < flip
    if isinstance(clips, Tensor):
        frames, device = clips.flatten(0, 1), clips.device
    else:
        frames, device = list(itertools.chain.from_iterable(clips)), "cpu"
    draws = [
        _per_frame(values, (batch, length), device) for values in (top, left, mirror)
    ]
    return crop_and_flip(frames, *draws, pad=pad).unflatten(0, (batch, length))


def _per_frame(
    values: np.ndarray, shape: tuple[int, int], device: torch.device | str
) -> Tensor:
    """Repeat draws for the frames that share them and move them: (B * T,)."""
    flat = np.broadcast_to(values, shape).reshape(-1)
    return torch.from_numpy(np.array(flat)).to(device, non_blocking=True)
