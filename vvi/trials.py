"""The repetitions that the image protocols ask for.

SYSU-MM01: one model searches ten drawn galleries in each of four settings. RegDB: ten trials with training people of their own, so ten models; the seed of a run names its trial.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from vvi.data import sysu
from vvi.metrics import Metrics, retrieval_metrics
from vvi.types import Tracklet

GALLERIES = range(10)
SETTINGS = {  # named as in the tables of the papers
    "all-search;single-shot": ("all", 1),
    "all-search;multi-shot": ("all", 10),
    "indoor-search;single-shot": ("indoor", 1),
    "indoor-search;multi-shot": ("indoor", 10),
}
COLUMNS = ("rank1", "rank5", "rank10", "rank20", "mAP", "mINP")


def regdb_trial(seed: int) -> int:
    """The trial of RegDB that a run of this seed trains and tests on: seeds 0 to 9 are trials 1 to 10.

    >>> [regdb_trial(seed) for seed in (0, 9, 10)]
    [1, 10, 1]
    """
    return 1 + seed % 10


def sysu_scores(
    root: str | Path, embed: Callable[[Sequence[Tracklet]], np.ndarray], gallery: Literal["agw", "official"] = "agw", settings: Sequence[str] = tuple(SETTINGS)
) -> dict[str, np.ndarray]:
    """What one model reaches on every gallery of SYSU-MM01: setting -> (10, 6) float64 in 0..1, a row for each gallery, the columns of `COLUMNS`. The papers print column means.

    embed: tracklets -> features (N, D), called once with every image that is searched or searches.
    """
    drawn = {name: [sysu.read(root, *SETTINGS[name], trial, gallery) for trial in GALLERIES] for name in settings}
    sides = {name: [found.sides["ir2vis"] for found in sets] for name, sets in drawn.items()}
    wanted = list(dict.fromkeys(t for pairs in sides.values() for pair in pairs for side in pair for t in side))
    place = {t: row for row, t in enumerate(wanted)}
    feat = embed(wanted)
    return {name: np.array([_row(_score(pair, place, feat)) for pair in pairs]) for name, pairs in sides.items()}


def mean(scores: np.ndarray) -> dict[str, float]:
    """Column means of one setting by name: what a table prints."""
    return dict(zip(COLUMNS, np.asarray(scores, np.float64).mean(0).tolist(), strict=True))


def _score(pair: tuple[tuple[Tracklet, ...], tuple[Tracklet, ...]], place: dict[Tracklet, int], feat: np.ndarray) -> Metrics:
    feats = (feat[[place[t] for t in side]] for side in pair)
    labels = ([getattr(t, name) for t in side] for name in ("identity", "camera") for side in pair)
    return retrieval_metrics(*feats, *labels, rule="sysu")


def _row(found: Metrics) -> list[float]:
    return [*(found.rank(k) for k in (1, 5, 10, 20)), found.mAP, found.mINP]
