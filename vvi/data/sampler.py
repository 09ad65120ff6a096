"""P identities x K tracklets of each modality, drawn from a generator keyed by the step, so that any step can be drawn again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vvi.runtime.random import rng
from vvi.types import DataError, Tracklet


@dataclass(frozen=True)
class Draw:
    """One batch: classes and places in the training list, (B,) each; entry n of `vis` and of `ir` show the same identity."""

    ids: np.ndarray
    vis: np.ndarray
    ir: np.ndarray

    def share(self, part: int, parts: int) -> slice:
        """Entries of one of several equal parts: identities of its own, and the parts one after the other are the batch."""
        size = len(self.ids) // parts
        return slice(part * size, (part + 1) * size)


class IdentitySampler:
    """Step number -> `Draw` of `identities` x `tracklets` clips per modality.

    Tracklets are drawn with replacement within an identity, identities without within a batch; an epoch is floor(min(N_vis, N_ir) / (P K)) steps (released MITML).
    """

    def __init__(
        self,
        train: Sequence[Tracklet],
        identities: int,
        tracklets: int,
        seed: int,
        labels: Mapping[int, int] | None = None,
    ):
        """labels: identity -> class 0..C-1, ascending by default (`Dataset.labels`)."""
        people = sorted(
            {t.identity for t in train}, key=labels.__getitem__ if labels else None
        )
        if len(people) < identities:
            raise DataError(
                f"a batch needs {identities} identities, the training set has {len(people)}"
            )
        self.rows: dict[str, list[np.ndarray]] = {"vis": [], "ir": []}
        for modality, rows in self.rows.items():
            of = {p: [] for p in people}
            for row, t in enumerate(train):
                if t.modality == modality:
                    of[t.identity].append(row)
            if missing := [p for p, found in of.items() if not found]:
                raise DataError(
                    f"training identity {missing[0]} has no kept {modality} tracklet ({len(missing)} such identities)"
                )
            rows.extend(np.array(of[p]) for p in people)
        self.identities, self.tracklets, self.seed = identities, tracklets, seed
        self.steps_per_epoch = max(
            1,
            min(sum(map(len, r)) for r in self.rows.values())
            // (identities * tracklets),
        )

    def draw(self, step: int) -> Draw:
        """The batch of a step; the same for the same (seed, step)."""
        r = rng(self.seed, "sampler", step)
        labels = r.choice(len(self.rows["vis"]), self.identities, replace=False)
        vis, ir = (
            np.concatenate([r.choice(rows[label], self.tracklets) for label in labels])
            for rows in self.rows.values()
        )
        return Draw(labels.repeat(self.tracklets), vis, ir)
