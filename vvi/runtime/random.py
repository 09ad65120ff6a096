"""Determinism: every draw of a run comes from a generator keyed by its purpose.

So a resumed run, or one of several processes, draws the same.
"""

from __future__ import annotations

import os
import random
import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def key(*parts: int | str) -> list[int]:
    """Return integers for a seed sequence. Words hash the same on every machine."""
    return [_number(part) for part in parts]


def _number(part: int | str) -> int:
    return zlib.crc32(part.encode()) if isinstance(part, str) else int(part)


def rng(*parts: int | str) -> np.random.Generator:
    """Return a NumPy generator for (seed, purpose, step, ...).

    >>> one, other = rng(0, "sampler", 3), rng(0, "sampler", 3)
    >>> int(one.integers(100)) == int(other.integers(100))
    True
    """
    return np.random.default_rng(key(*parts))


def rank_and_world_size() -> tuple[int, int]:
    """Return which process of how many that train one run together this is.

    Ranks count from 0, as `torchrun` and `fabric run` tell them. A process that was
    started alone is (0, 1).
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return 0, 1
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


def torch_rng(*parts: int | str) -> torch.Generator:
    """Return a CPU torch generator for (seed, purpose, step, ...).

    Each further rank of a run has another one. Methods draw with it for the clips that
    they are given.
    """
    rank, _ = rank_and_world_size()
    return torch_rng_of_all(*parts, rank) if rank else torch_rng_of_all(*parts)


def torch_rng_of_all(*parts: int | str) -> torch.Generator:
    """Return a CPU torch generator that is the same on all ranks of a run.

    Methods draw with it for a whole batch, of which a rank takes its rows.
    """
    import torch

    state = np.random.SeedSequence(key(*parts)).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch, before a model is built.

    Libraries still draw from the global generator of NumPy.
    """
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
