"""The line under a run in training: time left, memory, and frames a second on a GPU."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from vvi.runtime import gpu

if TYPE_CHECKING:
    import torch

EVERY = 1.0  # seconds between two reads of memory
GB = 2**30


class Progress(tqdm):
    """A bar of training steps with the time left.

    Args:
        total: steps of the run.
        done: steps that were made before.
        device: what computes.
        shown: whether anything is printed.
    """

    def __init__(self, total: int, done: int, device: torch.device, shown: bool):
        super().__init__(
            total=total,
            initial=done,
            desc="train",
            unit="step",
            disable=not shown,
            mininterval=EVERY,
        )
        self.device = device
        self.frames = 0
        self.updated = time.monotonic()

    def step(self, frames: int) -> None:
        """Count a step that read so many frames."""
        self.frames += frames
        now = time.monotonic()
        spent = now - self.updated
        if not self.disable and spent >= EVERY:
            text = status_text(self.device, self.frames / spent)
            self.set_postfix_str(text, refresh=False)
            self.frames = 0
            self.updated = now
        self.update()


def status_text(device: torch.device, rate: float) -> str:
    """Write the memory that a run takes and, on a GPU, frames a second.

    On a GPU the memory is the most that torch has held there, on a CPU what the process
    takes now. Reading it forces no sync.
    """
    if device.type == "cuda":
        peak = gpu.peak_memory(device)
        return f"{peak / GB:.1f} GB on the GPU, {rate:,.0f} frames/s"
    resident_bytes = resident()
    return f"{resident_bytes / GB:.1f} GB" if resident_bytes else ""


def resident() -> int:
    """Return the memory of this process in bytes, 0 where the system does not say."""
    file = Path("/proc/self/status")
    if not file.exists():
        return 0
    for line in file.read_text().splitlines():
        if line.startswith("VmRSS"):
            return 1024 * int(line.split()[1])
    return 0
