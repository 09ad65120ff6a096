"""What is known of drawn data, and never of real data: masks, faults, look-alikes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vvi.data import synthetic
from vvi.types import Tracklet


@dataclass(frozen=True)
class Truth:
    """Ground truth of an embedded set."""

    #: The folder of the set.
    root: Path

    def masks(self, tracklet: Tracklet, frames: np.ndarray) -> np.ndarray:
        """Read the person masks of some frames of a tracklet: (T, H, W) bool."""
        return synthetic.read_masks(self.root, tracklet)[frames]

    def noisy(self, tracklet: Tracklet, frames: np.ndarray) -> np.ndarray:
        """Return which frames of a tracklet are noisy: (T,) bool."""
        return synthetic.read_faults(self.root, tracklet)[frames] != "none"

    def look_alike_groups(self) -> dict[int, int]:
        """Return identity -> group of look-alikes, below 0 for none."""
        return synthetic.read_factors(self.root).look_alike_group.to_dict()

    def has_look_alikes(self, identities: Sequence[int]) -> bool:
        """Return whether two of some people look alike.

        The people of a small trial of RegDB may have no look-alike among them.
        """
        groups = self.look_alike_groups()
        grouped = [groups[i] for i in np.unique(identities) if groups[i] >= 0]
        return len(grouped) > len(set(grouped))
