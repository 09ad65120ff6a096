"""Frames as uint8 until the last step: crop and flip move bytes, one float pass normalises."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def normalise(frames: Tensor) -> Tensor:
    """uint8 (..., 3, H, W) -> float32 of the same shape with the mean and spread of ImageNet."""
    mean, std = (torch.tensor(v, device=frames.device).view(3, 1, 1) for v in (MEAN, STD))
    return frames.float().sub_(255 * mean).div_(255 * std)


def denormalise(frames: Tensor) -> Tensor:
    """The inverse of `normalise`, clipped: float (..., 3, H, W) -> uint8."""
    mean, std = (torch.tensor(v, device=frames.device).view(3, 1, 1) for v in (MEAN, STD))
    return (frames * (255 * std) + 255 * mean).round().clamp(0, 255).to(torch.uint8)


def crop_and_flip(frames: Tensor, top: Tensor, left: Tensor, flip: Tensor, pad: int) -> Tensor:
    """Zero-pad by `pad` on each side, cut the old size at (top, left) of the padded frame, mirror where `flip`: uint8 (N, 3, H, W) -> the same shape."""
    height, width = frames.shape[-2:]
    windows = F.pad(frames, (pad, pad, pad, pad)).unfold(2, height, 1).unfold(3, width, 1)  # every window there is, (N, 3, 2 pad + 1, 2 pad + 1, H, W), a view
    cut = windows[torch.arange(len(frames), device=frames.device), :, top, left]
    return torch.where(flip[:, None, None, None], cut.flip(-1), cut)


def augment(clips: Tensor, rng: np.random.Generator, pad: int, flip: float, per: Literal["frame", "clip"] = "frame") -> Tensor:
    """Random crop after zero padding and random mirror, drawn for each frame or once for each clip: uint8 (B, T, 3, H, W) -> the same shape.

    Paper: MITML names crop, padding and flip and is silent on the unit; the released code draws per frame, so one clip holds mirrored and unmirrored frames.
    """
    b, t = clips.shape[:2]
    draws = (b, t) if per == "frame" else (b, 1)
    top, left = (np.broadcast_to(rng.integers(0, 2 * pad + 1, size=draws), (b, t)) for _ in range(2))
    mirror = np.broadcast_to(rng.random(draws) < flip, (b, t))
    flat = (torch.from_numpy(np.array(a)).flatten().to(clips.device) for a in (top, left, mirror))
    return crop_and_flip(clips.flatten(0, 1), *flat, pad=pad).unflatten(0, (b, t))
