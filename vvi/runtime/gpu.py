"""All calls of `torch.cuda` in the package, in one place.

Elsewhere a line may compare the type of a device, pin memory or copy without waiting,
all of which torch takes on a CPU as well. `benchmarks/gpu_lines.py` lists those lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def is_available() -> bool:
    """Return whether torch sees a GPU."""
    import torch

    return torch.cuda.is_available()


def count() -> int:
    """Return how many GPUs torch sees."""
    import torch

    return torch.cuda.device_count()


def name(device: torch.device) -> str:
    """Return the product name of a GPU."""
    import torch

    return torch.cuda.get_device_name(device)


def peak_memory(device: torch.device) -> int:
    """Return the most bytes that torch has held on a GPU, without forcing a sync."""
    import torch

    return torch.cuda.max_memory_allocated(device)


def random_state(device: torch.device) -> Tensor:
    """Return the state of the random generator of a GPU."""
    import torch

    return torch.cuda.get_rng_state(device)


def set_random_state(state: Tensor, device: torch.device) -> None:
    """Set the random generator of a GPU back to a state."""
    import torch

    torch.cuda.set_rng_state(state, device)
