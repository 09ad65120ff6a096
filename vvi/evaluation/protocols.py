"""The repetitions that the image protocols ask for.

SYSU-MM01: one model searches ten drawn galleries in each of four settings. RegDB: ten
trials with training people of their own, so ten models. The seed of a run names its
trial.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, product
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
#: Query and gallery of one search.
Pair = tuple[tuple[Tracklet, ...], tuple[Tracklet, ...]]


def regdb_trial(seed: int) -> int:
    """Return the trial of RegDB of a run's seed: seeds 0 to 9 are trials 1 to 10.

    >>> [regdb_trial(seed) for seed in (0, 9, 10)]
    [1, 10, 1]
    """
    return 1 + seed % 10


def sysu_scores(
    root: str | Path,
    embed: Embed,
    gallery: Literal["agw", "official"] = "agw",
    settings: Sequence[str] = tuple(SETTINGS),
    strict: bool | None = None,
) -> dict[str, np.ndarray]:
    """Score one model on every gallery of SYSU-MM01.

    Args:
        root: the folder of the set.
        embed: called once, with every image that is searched or searches.
        gallery: how galleries are drawn.
        settings: names of `SETTINGS`.
        strict: as the reader takes it.

    Returns:
        Setting -> (10, 6) float64 in 0..1: a row for each gallery, the columns of
        `COLUMNS`. The papers print column means.
    """
    pairs: dict[str, list[Pair]] = {}
    for name in settings:
        pairs[name] = []
        for trial in GALLERIES:
            drawn = sysu.read(root, *SETTINGS[name], trial, gallery, strict=strict)
            pairs[name].append(drawn.sides["ir2vis"])
    feat = _embed_once(chain.from_iterable(pairs.values()), embed)
    scores = {}
    for name, drawn_pairs in pairs.items():
        rows = [_row(_score(pair, feat)) for pair in drawn_pairs]
        scores[name] = np.array(rows)
    return scores


def _embed_once(pairs: Iterable[Pair], embed: Embed) -> dict[Tracklet, np.ndarray]:
    """Embed every image of some searches, each once."""
    wanted: dict[Tracklet, None] = {}
    for query, gallery in pairs:
        wanted |= dict.fromkeys(query + gallery)
    tracklets = list(wanted)
    return dict(zip(tracklets, embed(tracklets), strict=True))


def regdb_seeds(root: str | Path) -> list[int]:
    """List the seeds whose trials a copy of RegDB has: 0 to 9 for all ten."""
    seeds = [seed for seed in GALLERIES if _has_trial(root, regdb_trial(seed))]
    return seeds or [0]


def _has_trial(root: str | Path, trial: int) -> bool:
    """Return whether all lists of a trial of RegDB are there."""
    names = product(regdb.SPLITS, regdb.WORD.values())
    files = [f"idx/{split}_{word}_{trial}.txt" for split, word in names]
    return all((Path(root) / file).is_file() for file in files)


def regdb_scores(
    root: str | Path, embed: Embed, **options: Any
) -> dict[str, np.ndarray]:
    """Score one model on the test people of every trial of RegDB.

    Args:
        root: the folder of the set.
        embed: called once, with every image.
        **options: of the reader, such as strict.

    Returns:
        Direction -> (trials, 6) in 0..1, the columns of `COLUMNS`.
    """
    seeds = regdb_seeds(root)
    sets = [regdb.read(root, regdb_trial(seed), **options) for seed in seeds]
    feat = _embed_once((trial.sides["ir2vis"] for trial in sets), embed)
    scores = {}
    for direction in DIRECTIONS:
        pairs = [trial.sides[direction] for trial in sets]
        rows = [_row(_score(pair, feat, "none")) for pair in pairs]
        scores[direction] = np.array(rows)
    return scores


def protocol_lines(
    scores: Mapping[str, Mapping], arrays: Mapping[str, np.ndarray]
) -> list[str]:
    """Write what a record found as papers report it, a line for each protocol.

    Args:
        scores: direction -> numbers of a record.
        arrays: of the record, with the ten galleries of SYSU-MM01 where it has them.
    """
    galleries = []
    for name in SETTINGS:
        if f"{name}/trials" in arrays:
            values = arrays[f"{name}/trials"]
            galleries.append(format_mean(f"ir2vis  {name}", values, "galleries"))
    if galleries:
        return galleries
    return [f"{name}  {format_metrics(metrics)}" for name, metrics in scores.items()]


def format_metrics(metrics: Mapping[str, float]) -> str:
    """Write the numbers of one direction, as metrics print themselves."""
    counts = f"queries {metrics['n_valid']}, skipped {metrics['n_skipped']}"
    return f"Metrics({numbers(metrics)}  {counts})"


def short_lines(
    scores: Mapping[str, Mapping], arrays: Mapping[str, np.ndarray]
) -> list[str]:
    """Write the same for a list of many runs: rank-1, mAP and mINP."""
    rows = dict(scores)
    if f"{FIRST}/trials" in arrays:
        values = arrays[f"{FIRST}/trials"]
        rows = {f"ir2vis, mean of {len(values)} galleries": mean(values)}
    return [f"{name} {_short_numbers(metrics)}" for name, metrics in rows.items()]


def _short_numbers(metrics: Mapping[str, float]) -> str:
    names = {"rank1": "R1", "mAP": "mAP", "mINP": "mINP"}
    return " ".join(f"{word} {100 * metrics[k]:.2f}" for k, word in names.items())


def over_trials(layout: str, scores: Sequence[Mapping[str, Mapping]]) -> list[str]:
    """Write the means over runs that are trials of RegDB, which papers report.

    Args:
        layout: of the data. Other layouts have no such trials.
        scores: direction -> numbers, of one run for each trial.
    """
    if layout != "regdb" or len(scores) < 2:
        return []
    lines = []
    for direction in scores[0]:
        rows = [_columns(run[direction]) for run in scores]
        lines.append(format_mean(direction, np.array(rows), "trials"))
    return lines


def _columns(metrics: Mapping[str, float]) -> list[float]:
    return [metrics[name] for name in COLUMNS]


def format_mean(name: str, values: np.ndarray, what: str) -> str:
    """Write the mean over several repetitions of a protocol.

    The spread of rank-1 is the sample standard deviation, 0 for one repetition.

    Args:
        name: of the protocol.
        values: (N, 6) in 0..1, the columns of `COLUMNS`.
        what: the N repetitions are.
    """
    rank1 = 100 * np.asarray(values, np.float64)[:, 0]
    spread = rank1.std(ddof=1) if len(rank1) > 1 else 0.0
    over = f"mean of {len(values)} {what}, R1 ± {spread:.2f}"
    return f"{name.replace(';', ', ')}  {numbers(mean(values))}  ({over})"


def numbers(metrics: Mapping[str, float]) -> str:
    """Write ranks, mAP and mINP in per cent."""
    ranks = "  ".join(f"R{k} {100 * metrics[f'rank{k}']:.2f}" for k in RANKS)
    means = f"mAP {100 * metrics['mAP']:.2f}  mINP {100 * metrics['mINP']:.2f}"
    return f"{ranks}  {means}"


def mean(scores: np.ndarray) -> dict[str, float]:
    """Average the columns of one setting: name -> mean, as a table prints it."""
    means = np.asarray(scores, np.float64).mean(0).tolist()
    return dict(zip(COLUMNS, means, strict=True))


def _score(
    pair: Pair, feat: Mapping[Tracklet, np.ndarray], rule: Rule = "sysu"
) -> Metrics:
    """Score one search.

    Args:
        pair: query and gallery.
        feat: features of their images.
        rule: which gallery items are removed.
    """
    query, gallery = pair
    return retrieval_metrics(
        np.stack([feat[t] for t in query]),
        np.stack([feat[t] for t in gallery]),
        [t.identity for t in query],
        [t.identity for t in gallery],
        [t.camera for t in query],
        [t.camera for t in gallery],
        rule=rule,
    )


def _row(metrics: Metrics) -> list[float]:
    ranks = [metrics.rank(k) for k in RANKS]
    return [*ranks, metrics.mAP, metrics.mINP]
