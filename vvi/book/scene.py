"""The data that a chapter looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vvi import experiment
from vvi.config import RunConfig
from vvi.data.layout import called
from vvi.data.loader import Frames
from vvi.evaluation.truth import Truth
from vvi.experiment import Data
from vvi.types import Dataset, Direction, Tracklet

SIZE = (128, 64)  # height and width of frames in figures


@dataclass(frozen=True)
class Scene:
    """Opened data, with what reads their pixels at the size of figures."""

    #: Config with its data resolved.
    settings: RunConfig
    #: The data: tracklets, pixels at the size of the model, and known factors.
    data: Data
    #: Pixels at the size of figures.
    large: Frames

    @property
    def dataset(self) -> Dataset:
        """Lists of tracklets."""
        return self.data.dataset

    @property
    def reader(self) -> Frames:
        """Pixels at the size of the model."""
        return self.data.frames

    @property
    def truth(self) -> Truth | None:
        """What is known of drawn people, None on real data."""
        return self.data.truth

    @property
    def label(self) -> str:
        """What every table and figure must say: "synthetic", or the real set."""
        return "synthetic" if self.known else called(self.dataset.layout)

    @property
    def known(self) -> bool:
        """Whether the factors of the people are known: whether they were drawn."""
        return self.truth is not None

    @property
    def look_alikes_known(self) -> bool:
        """Whether enough queries have a known look-alike. A trial of RegDB has few."""
        return self.known and self.dataset.layout != "regdb"

    def sides(
        self, direction: Direction
    ) -> tuple[tuple[Tracklet, ...], tuple[Tracklet, ...]]:
        """Return query and gallery of a direction."""
        return self.dataset.query(direction), self.dataset.gallery(direction)

    def by_modality(self) -> dict[str, tuple[Tracklet, ...]]:
        """Return modality -> its test tracklets, visible ones first."""
        ir, vis = self.sides("ir2vis")
        return {"vis": vis, "ir": ir}


def identities(tracklets: Sequence[Tracklet]) -> np.ndarray:
    """Return whom each tracklet shows, (N,)."""
    return np.array([t.identity for t in tracklets])


def scene(settings: RunConfig, data: str | Path | None = None) -> Scene:
    """Open the data of a config, or the folder `data` in its place."""
    settings = experiment.resolve_data(settings, data)
    opened = experiment.open_data(settings.data, data, seed=settings.seed)
    return Scene(settings, opened, Frames(*SIZE))
