"""The repetitions that the image protocols ask for.

SYSU-MM01: one model searches ten drawn galleries in each of four settings. RegDB: ten trials with training people of their own, so ten models; the seed of a run names its trial.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vvi.data import regdb, sysu
from vvi.metrics import Metrics, retrieval_metrics
from vvi.types import DIRECTIONS, Rule, Tracklet

GALLERIES = range(10)
SETTINGS = {  # named as in the tables of the papers
    "all-search;single-shot": ("all", 1),
    "all-search;multi-shot": ("all", 10),
    "indoor-search;single-shot": ("indoor", 1),
    "indoor-search;multi-shot": ("indoor", 10),
}
FIRST = next(iter(SETTINGS))  # what papers put first
RANKS = (1, 5, 10, 20)
COLUMNS = (*(f"rank{k}" for k in RANKS), "mAP", "mINP")
#: Tracklets -> features (N, D).
Embed = Callable[[Sequence[Tracklet]], np.ndarray]


def regdb_trial(seed: int) -> int:
    """The trial of RegDB that a run of this seed trains and tests on: seeds 0 to 9 are trials 1 to 10.

    >>> [regdb_trial(seed) for seed in (0, 9, 10)]
    [1, 10, 1]
    """
    return 1 + seed % 10


def sysu_scores(
    root: str | Path,
    embed: Callable[[Sequence[Tracklet]], np.ndarray],
    gallery: Literal["agw", "official"] = "agw",
    settings: Sequence[str] = tuple(SETTINGS),
    strict: bool | None = None,
) -> dict[str, np.ndarray]:
    """What one model reaches on every gallery of SYSU-MM01: setting -> (10, 6) float64 in 0..1, a row for each gallery, the columns of `COLUMNS`. The papers print column means.

    embed: tracklets -> features (N, D), called once with every image that is searched or searches.
    """
    drawn = {
        name: [
            sysu.read(root, *SETTINGS[name], trial, gallery, strict=strict)
            for trial in GALLERIES
        ]
        for name in settings
    }
    sides = {
        name: [found.sides["ir2vis"] for found in sets] for name, sets in drawn.items()
    }
    wanted = list(
        dict.fromkeys(
            t
            for pairs in sides.values()
            for pair in pairs
            for side in pair
            for t in side
        )
    )
    place = {t: row for row, t in enumerate(wanted)}
    feat = embed(wanted)
    return {
        name: np.array([_row(_score(pair, place, feat)) for pair in pairs])
        for name, pairs in sides.items()
    }


def regdb_seeds(root: str | Path) -> list[int]:
    """Seeds of runs whose trials a copy of RegDB has lists of: 0 to 9 for all ten."""
    parts = [f"idx/{s}_{w}" for s in regdb.SPLITS for w in regdb.WORD.values()]

    def has(seed: int) -> bool:
        return all(
            (Path(root) / f"{p}_{regdb_trial(seed)}.txt").is_file() for p in parts
        )

    return [seed for seed in GALLERIES if has(seed)] or [0]


def regdb_scores(
    root: str | Path, embed: Callable[[Sequence[Tracklet]], np.ndarray], **options: Any
) -> dict[str, np.ndarray]:
    """Score one model on the test people of every trial of RegDB.

    Args:
        root: the folder of the set.
        embed: tracklets -> features (N, D), called once with every image.
        options: of the reader, such as strict.

    Returns:
        Direction -> (trials, 6) in 0..1, the columns of `COLUMNS`.
    """
    seeds = regdb_seeds(root)
    sets = [regdb.read(root, regdb_trial(seed), **options) for seed in seeds]
    wanted = list(dict.fromkeys(t for s in sets for t in s.query("ir2vis")))
    wanted += list(dict.fromkeys(t for s in sets for t in s.gallery("ir2vis")))
    place = {t: row for row, t in enumerate(wanted)}
    feat = embed(wanted)
    found = {}
    for direction in DIRECTIONS:
        pairs = [s.sides[direction] for s in sets]
        rows = [_row(_score(pair, place, feat, "none")) for pair in pairs]
        found[direction] = np.array(rows)
    return found


def lines(scores: Mapping[str, Mapping], arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Write what a record found as papers report it, a line for each protocol.

    Args:
        scores: direction -> numbers of a record.
        arrays: of the record, with the ten galleries of SYSU-MM01 where it has them.
    """
    kept = {name: f"{name}/trials" for name in SETTINGS}
    galleries = {name: arrays[key] for name, key in kept.items() if key in arrays}
    if galleries:
        return [
            line(f"ir2vis  {name}", v, "galleries") for name, v in galleries.items()
        ]
    return [f"{direction}  {one(found)}" for direction, found in scores.items()]


def one(found: Mapping[str, float]) -> str:
    """Write the numbers of one direction, as metrics print themselves."""
    counts = f"queries {found['n_valid']}, skipped {found['n_skipped']}"
    return f"Metrics({numbers(found)}  {counts})"


def short(scores: Mapping[str, Mapping], arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Write the same for a list of many runs: rank-1, mAP and mINP."""
    found = {d: (s, "") for d, s in scores.items()}
    if f"{FIRST}/trials" in arrays:
        values = arrays[f"{FIRST}/trials"]
        found = {"ir2vis": (mean(values), f", mean of {len(values)} galleries")}
    return [
        f"{d}{what} R1 {100 * s['rank1']:.2f} mAP {100 * s['mAP']:.2f} mINP {100 * s['mINP']:.2f}"
        for d, (s, what) in found.items()
    ]


def over_trials(layout: str, scores: Sequence[Mapping[str, Mapping]]) -> list[str]:
    """Write the means over runs that are trials of RegDB, which papers report.

    Args:
        layout: of the data; other layouts have no such trials.
        scores: direction -> numbers, of one run for each trial.
    """
    if layout != "regdb" or len(scores) < 2:
        return []
    rows = {
        d: np.array([[s[d][name] for name in COLUMNS] for s in scores])
        for d in scores[0]
    }
    return [line(direction, values, "trials") for direction, values in rows.items()]


def line(name: str, values: np.ndarray, what: str) -> str:
    """Write the mean over several repetitions (N, 6) of a protocol."""
    spread = 100 * np.asarray(values, np.float64)[:, 0].std()
    said = f"mean of {len(values)} {what}, R1 ± {spread:.2f}"
    return f"{name.replace(';', ', ')}  {numbers(mean(values))}  ({said})"


def numbers(found: Mapping[str, float]) -> str:
    """Write ranks, mAP and mINP in per cent."""
    ranks = "  ".join(f"R{k} {100 * found[f'rank{k}']:.2f}" for k in RANKS)
    return f"{ranks}  mAP {100 * found['mAP']:.2f}  mINP {100 * found['mINP']:.2f}"


def mean(scores: np.ndarray) -> dict[str, float]:
    """Column means of one setting by name: what a table prints."""
    return dict(
        zip(COLUMNS, np.asarray(scores, np.float64).mean(0).tolist(), strict=True)
    )


def _score(
    pair: tuple[tuple[Tracklet, ...], ...],
    place: dict[Tracklet, int],
    feat: np.ndarray,
    rule: Rule = "sysu",
) -> Metrics:
    feats = (feat[[place[t] for t in side]] for side in pair)
    labels = (
        [getattr(t, name) for t in side]
        for name in ("identity", "camera")
        for side in pair
    )
    return retrieval_metrics(*feats, *labels, rule=rule)


def _row(found: Metrics) -> list[float]:
    return [*(found.rank(k) for k in RANKS), found.mAP, found.mINP]
