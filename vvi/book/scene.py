"""The data that a chapter looks at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vvi import experiment
from vvi.config import RunConfig
from vvi.data.loader import Frames
from vvi.types import Dataset, Direction, Tracklet

SIZE = (128, 64)  # height and width of frames in figures


@dataclass(frozen=True)
class Scene:
    """A data set that is open, with what reads its pixels."""

    #: Config with its data resolved.
    settings: RunConfig
    #: Lists of tracklets.
    dataset: Dataset
    #: Pixels at the size of the model.
    reader: Frames
    #: Pixels at the size of figures.
    large: Frames

    @property
    def label(self) -> str:
        """What every table and figure must say: "synthetic", or the real layout."""
        return "synthetic" if self.known else self.dataset.layout

    @property
    def known(self) -> bool:
        """Whether the factors of the people are known: whether they were drawn."""
        return self.settings.data.synthetic

    @property
    def look_alikes_known(self) -> bool:
        """Whether enough queries have a known look-alike; of RegDB a trial has few."""
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


def scene(settings: RunConfig, data: str | Path | None = None) -> Scene:
    """Open the data of a config, or the folder `data` in its place."""
    settings = experiment.resolve_data(settings, data)
    dataset = experiment.dataset(settings.data, data, seed=settings.seed)
    reader = experiment.frames(settings.data, dataset)
    return Scene(settings, dataset, reader, Frames(*SIZE))
