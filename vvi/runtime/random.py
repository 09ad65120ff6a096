"""Determinism: every draw of a run comes from a generator keyed by what it is for, so a resumed or sharded run draws the same."""

from __future__ import annotations

import os
import random
import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def key(*parts: int | str) -> list[int]:
    """Integers for a seed sequence; words are hashed the same on every machine."""
    return [
        zlib.crc32(part.encode()) if isinstance(part, str) else int(part)
        for part in parts
    ]


def rng(*parts: int | str) -> np.random.Generator:
    """A NumPy generator for (seed, purpose, step, ...).

    >>> int(rng(0, "sampler", 3).integers(100)) == int(rng(0, "sampler", 3).integers(100))
    True
    """
    return np.random.default_rng(key(*parts))


def rank_and_world_size() -> tuple[int, int]:
    """Which process of how many that train one run together, counted from 0, as `torchrun` and `fabric run` tell; (0, 1) for one that was started alone."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return 0, 1
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


def torch_rng(*parts: int | str) -> torch.Generator:
    """A CPU torch generator for (seed, purpose, step, ...), another one on each further process of a run: what methods draw with for the clips that they are given."""
    import torch

    state = np.random.SeedSequence(
        key(*parts, *filter(None, rank_and_world_size()[:1]))
    ).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch, and ask torch for deterministic algorithms: called once, before a model is built."""
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - libraries that still draw from the global generator
    torch.manual_seed(seed)
    torch.backends.cudnn.benchmark = False
