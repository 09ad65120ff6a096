"""Batches of P identities x K tracklets of each modality.

The random generator of a batch is keyed by its step, so any step can be drawn again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vvi.runtime.random import rng
from vvi.types import MODALITIES, DataError, Modality, Tracklet


@dataclass(frozen=True)
class Draw:
    """One batch. Entries n of `vis` and `ir` show the same identity."""

    #: Class of each entry: (B,).
    ids: np.ndarray
    #: Rows of visible tracklets in the training list: (B,).
    vis: np.ndarray
    #: Rows of infrared tracklets in the training list: (B,).
    ir: np.ndarray

    def shard(self, rank: int, world_size: int) -> slice:
        """Return which entries of the batch a rank loads.

        Ranks hold equal parts with different identities. In order they are the batch.
        """
        size = len(self.ids) // world_size
        return slice(rank * size, (rank + 1) * size)


class IdentitySampler:
    """Draws the clips of a step: `identities` x `tracklets` of each modality.

    Identities are drawn without replacement in a batch, tracklets with replacement in
    an identity, as in the released code of MITML. An epoch of clips is floor(min(N_vis,
    N_ir) / (P K)) steps (released MITML), one of single images floor(max(N_vis, N_ir) /
    (P K)) + 1 (released AGW and CAJ, on which DI2L stands).
    """

    def __init__(
        self,
        train: Sequence[Tracklet],
        identities: int,
        tracklets: int,
        seed: int,
        labels: Mapping[int, int] | None = None,
        images: bool = False,
    ):
        """Group the training tracklets by identity.

        Args:
            train: training tracklets.
            identities: P.
            tracklets: K.
            seed: seed of the run.
            labels: identity -> class 0..C-1, ascending by default (`Dataset.labels`).
            images: whether the set holds single images.

        Raises:
            DataError: too few identities, or one without a modality.
        """
        order = labels.__getitem__ if labels else None
        people = sorted({tracklet.identity for tracklet in train}, key=order)
        if len(people) < identities:
            raise DataError(
                f"a batch needs {identities} identities, "
                f"the training set has {len(people)}"
            )
        self.rows = {m: _rows_by_class(train, people, m) for m in MODALITIES}
        self.identities, self.tracklets, self.seed = identities, tracklets, seed
        counts = [sum(map(len, rows)) for rows in self.rows.values()]
        batch = identities * tracklets
        if images:
            self.steps_per_epoch = max(counts) // batch + 1
        else:
            self.steps_per_epoch = max(1, min(counts) // batch)

    def draw(self, step: int) -> Draw:
        """Draw the batch of a step, always the same for one (seed, step)."""
        generator = rng(self.seed, "sampler", step)
        classes = len(self.rows["vis"])
        labels = generator.choice(classes, self.identities, replace=False)
        vis = self._draw_rows("vis", labels, generator)
        ir = self._draw_rows("ir", labels, generator)
        return Draw(labels.repeat(self.tracklets), vis, ir)

    def _draw_rows(
        self, modality: Modality, labels: np.ndarray, generator: np.random.Generator
    ) -> np.ndarray:
        rows = self.rows[modality]
        return np.concatenate(
            [generator.choice(rows[label], self.tracklets) for label in labels]
        )


def _rows_by_class(
    train: Sequence[Tracklet], people: Sequence[int], modality: Modality
) -> list[np.ndarray]:
    """Return the rows of `train` that show each person in one modality.

    Args:
        train: training tracklets.
        people: identities, in the order of their classes.
        modality: of the rows.

    Raises:
        DataError: a person has no tracklet of that modality.
    """
    rows: dict[int, list[int]] = {person: [] for person in people}
    for row, tracklet in enumerate(train):
        if tracklet.modality == modality:
            rows[tracklet.identity].append(row)
    missing = [person for person in people if not rows[person]]
    if missing:
        raise DataError(
            f"training identity {missing[0]} has no kept {modality} tracklet "
            f"({len(missing)} such identities)"
        )
    return [np.array(rows[person]) for person in people]
