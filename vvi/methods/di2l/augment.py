"""The third stream and the erased rectangles of DI2L, on normalised clips."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vvi.data.transforms import MEAN, STD, constant

#: Written into normalised frames, where zero is the mean of ImageNet.
FILL = {"zero": (0.0, 0.0, 0.0), "released": (0.4914, 0.4822, 0.4465)}
#: Sizes drawn for each rectangle, of which the first that fits is taken. Paper: silent,
#: 100 as in the released code of CAJ.
TRIES = 100


def one_channel(clips: Tensor, channel: Tensor) -> Tensor:
    """Show one colour channel in place of all three: Eq. (1).

    Args:
        clips: normalised (B, T, 3, H, W).
        channel: which of 0..2 each clip shows in all its frames, (B,).

    Returns:
        Clips of the same shape, as if changed before normalising.
    """
    mean = constant(MEAN, clips.device).view(3, 1, 1)
    std = constant(STD, clips.device).view(3, 1, 1)
    mask = F.one_hot(channel, 3)[:, None, :, None, None]
    raw = ((clips * std + mean) * mask).sum(2, keepdim=True)
    return (raw - mean) / std


def random_erase(
    clips: Tensor,
    probability: float,
    fill: tuple[float, ...],
    draw: torch.Generator,
) -> Tensor:
    """Erase a rectangle of some frames.

    Its area is 2 to 40 % of the frame and its height 0.3 to 1/0.3 of its width.

    Args:
        clips: (B, T, 3, H, W).
        probability: how often a frame loses a rectangle.
        fill: value of each channel in the rectangle.
        draw: generator on the CPU.

    Returns:
        Clips of the same shape.
    """
    count = clips.shape[0] * clips.shape[1]
    height, width = clips.shape[-2:]
    tall, wide, fits = _sizes(count, height, width, draw)
    # of each frame: row and column of the rectangle, and whether there is one
    row, column, chance = torch.rand(3, count, 1, generator=draw)
    rows = _span(height, tall, row) & (chance < probability) & fits
    columns = _span(width, wide, column)
    inside = rows[:, :, None] & columns[:, None, :]
    inside = inside.view(*clips.shape[:2], 1, height, width)
    inside = inside.to(clips.device, non_blocking=True)
    return torch.where(inside, constant(fill, clips.device).view(3, 1, 1), clips)


def _sizes(
    count: int, height: int, width: int, draw: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw the sizes of rectangles.

    Args:
        count: rectangles.
        height: rows of a frame.
        width: columns of a frame.
        draw: generator on the CPU.

    Returns:
        Heights, widths, and whether any of the sizes fits, (count, 1) each.
    """
    share = 0.02 + 0.38 * torch.rand(count, TRIES, generator=draw)
    ratio = 0.3 + (1 / 0.3 - 0.3) * torch.rand(count, TRIES, generator=draw)
    area = height * width * share
    tall = (area * ratio).sqrt().round()
    wide = (area / ratio).sqrt().round()
    fits = (tall < height) & (wide < width)
    first = fits.int().argmax(1, keepdim=True)
    return tall.gather(1, first), wide.gather(1, first), fits.any(1, keepdim=True)


def _span(length: int, side: Tensor, position: Tensor) -> Tensor:
    """Mark the pixels of a side of a rectangle along an axis.

    Args:
        length: pixels of the axis.
        side: of the rectangle (N, 1).
        position: 0..1 from the first to the last start that fits (N, 1).

    Returns:
        (N, length) bool.
    """
    start = (position * (length - side + 1)).floor()
    offset = (torch.arange(length) - start) / side
    return (offset >= 0) & (offset < 1)
