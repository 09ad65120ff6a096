"""Frames as uint8 until the last step: crop and flip move bytes, one float pass normalises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
GREY = (0.299, 0.587, 0.114)


def constant(values: Sequence, device: torch.device) -> Tensor:
    """Numbers as a tensor on a device, without making the host wait until a GPU has done what it was given before."""
    return torch.tensor(values).to(device, non_blocking=True)


def normalise(frames: Tensor) -> Tensor:
    """uint8 (..., 3, H, W) -> float32 of the same shape with the mean and spread of ImageNet.

    On a CPU a table of the 256 values of each channel is looked up: the same bits as the arithmetic in half its time.
    """
    if frames.device.type != "cpu":
        return _arithmetic(frames)
    import cv2

    tables = _arithmetic(torch.arange(256, dtype=torch.uint8).expand(3, 1, 256)).numpy()
    planes = np.ascontiguousarray(frames.numpy()).reshape(-1, *frames.shape[-2:])
    out = np.empty(planes.shape, np.float32)
    for n, (plane, values) in enumerate(zip(planes, out, strict=True)):
        cv2.LUT(plane, tables[n % 3], values)
    return torch.from_numpy(out).view(frames.shape)


def _arithmetic(frames: Tensor) -> Tensor:
    mean, std = (constant(v, frames.device).view(3, 1, 1) for v in (MEAN, STD))
    return frames.float().sub_(255 * mean).div_(255 * std)


def denormalise(frames: Tensor) -> Tensor:
    """The inverse of `normalise`, clipped: float (..., 3, H, W) -> uint8."""
    mean, std = (constant(v, frames.device).view(3, 1, 1) for v in (MEAN, STD))
    return (frames * (255 * std) + 255 * mean).round().clamp(0, 255).to(torch.uint8)


def anaglyph(
    frames: Tensor,
    variant: Literal["paper", "released"] = "paper",
    normalised: bool = False,
) -> Tensor:
    """Lower right neighbour minus pixel of the grey image, plus 128, clipped to 0..255, in three equal channels: (..., 3, H, W) -> floats of the same shape. Eq. (1).

    frames: 0..255, or `normalised` as networks see them, and so is what returns. "paper": the border is replicated; "released": grey is rounded, last row and column stay black.

    Paper: neither names the edge operator nor gives the offset; both are from the released script, the border of "paper" is ours.
    """
    scale, shift = (
        ([255 * v for v in STD], [255 * v for v in MEAN])
        if normalised
        else ((1, 1, 1), (0, 0, 0))
    )
    grey = sum(
        channel.float() * (share * s)
        for channel, share, s in zip(frames.unbind(-3), GREY, scale, strict=True)
    )
    if variant == "released":
        grey = (
            grey + sum(share * m for share, m in zip(GREY, shift, strict=True))
        ).round()
    flat = grey.reshape(-1, *grey.shape[-2:])
    relief = (
        F.pad(flat, (0, 1, 0, 1), mode="replicate")[:, 1:, 1:] - flat + 128
    ).clamp(0, 255)
    if variant == "released":
        relief = F.pad(relief[:, :-1, :-1], (0, 1, 0, 1))
    return torch.stack(
        [(relief - m) / s for s, m in zip(scale, shift, strict=True)], 1
    ).view(frames.shape)


def crop_and_flip(
    frames: Tensor | Sequence[np.ndarray],
    top: Tensor,
    left: Tensor,
    flip: Tensor,
    pad: int,
) -> Tensor:
    """Zero-pad by `pad` on each side, cut the old size at (top, left) of the padded frame, mirror where `flip`: N frames uint8 (3, H, W) -> (N, 3, H, W)."""
    if isinstance(frames, Tensor) and frames.device.type != "cpu":
        return _gathered(frames, top, left, flip, pad)
    return _copied(
        frames.numpy() if isinstance(frames, Tensor) else frames, top, left, flip, pad
    )


def _copied(
    frames: Sequence[np.ndarray], top: Tensor, left: Tensor, flip: Tensor, pad: int
) -> Tensor:
    # one block copy per frame, straight from where the frame lies (a decoded image or the cache file)
    import cv2

    height, width = frames[0].shape[-2:]
    out = np.zeros((len(frames), 3, height, width), np.uint8)
    for source, target, down, right, mirror in zip(
        frames,
        out,
        (top - pad).tolist(),
        (left - pad).tolist(),
        flip.tolist(),
        strict=True,
    ):
        rows, cols = (
            slice(max(0, -d), min(n, n - d))
            for d, n in ((down, height), (right, width))
        )
        target[:, rows, cols] = source[
            :,
            rows.start + down : rows.stop + down,
            cols.start + right : cols.stop + right,
        ]
        for plane in target if mirror else ():
            cv2.flip(plane, 1, plane)
    return torch.from_numpy(out)


def _gathered(
    frames: Tensor, top: Tensor, left: Tensor, flip: Tensor, pad: int
) -> Tensor:
    # a few launches for the whole batch, for frames that live on a GPU
    height, width = frames.shape[-2:]
    windows = (
        F.pad(frames, (pad, pad, pad, pad)).unfold(2, height, 1).unfold(3, width, 1)
    )  # every window there is, (N, 3, 2 pad + 1, 2 pad + 1, H, W), a view
    cut = windows[torch.arange(len(frames), device=frames.device), :, top, left]
    return torch.where(flip[:, None, None, None], cut.flip(-1), cut)


def augment(
    clips: Tensor | Sequence[Sequence[np.ndarray]],
    rng: np.random.Generator,
    pad: int,
    flip: float,
    per: Literal["frame", "clip"] = "frame",
    share: tuple[int, int] = (0, 1),
) -> Tensor:
    """Random crop after zero padding and random mirror, drawn for each frame or once for each clip: B clips of T frames uint8 (3, H, W) -> (B, T, 3, H, W).

    share: the clips are one of several equal parts of a batch, number and count, and get what is drawn for them in the whole.

    Paper: MITML names crop, padding and flip and is silent on the unit; the released code draws per frame, so one clip holds mirrored and unmirrored frames.
    """
    b, t = len(clips), len(clips[0])
    part, parts = share
    draws, mine = (
        (b * parts, t if per == "frame" else 1),
        slice(part * b, (part + 1) * b),
    )
    top, left = (
        np.broadcast_to(rng.integers(0, 2 * pad + 1, size=draws)[mine], (b, t))
        for _ in range(2)
    )
    mirror = np.broadcast_to(rng.random(draws)[mine] < flip, (b, t))
    frames = (
        clips.flatten(0, 1)
        if isinstance(clips, Tensor)
        else [frame for clip in clips for frame in clip]
    )
    where = clips.device if isinstance(clips, Tensor) else "cpu"
    flat = (
        torch.from_numpy(np.array(a)).flatten().to(where, non_blocking=True)
        for a in (top, left, mirror)
    )
    return crop_and_flip(frames, *flat, pad=pad).unflatten(0, (b, t))
