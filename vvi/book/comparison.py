"""Rows of a paper's tables: what is printed, what we measured, and how sure that is."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from vvi.book import formats
from vvi.book.scene import Scene, identities
from vvi.data.loader import test_clips
from vvi.data.transforms import normalise
from vvi.evaluation.probes import Score, paired_bootstrap, paired_runs
from vvi.experiment import Result, ablation, measure
from vvi.experiment.collapse import has_collapsed
from vvi.experiment.result import (
    have_common_seed,
    of_common_seeds,
    of_unlike_precision,
)
from vvi.metrics import retrieval_metrics
from vvi.plots import curves, tables
from vvi.types import Direction, Rule, Tracklet

if TYPE_CHECKING:
    from torch import Tensor

    from vvi.methods.base import Method

Rows = Mapping[str, Sequence[Result]]
UNTRAINED = "not trained yet"
#: At a difference: the two runs of one of its seeds are of unlike precision.
MARK = "*"
UNLIKE = (
    f"{MARK} the two runs of a seed differ in precision (float32, bfloat16), which "
    "alone moves rank-1: see the data sheet"
)


def table(
    rows: Rows,
    printed: pd.DataFrame | None = None,
    caption: str = "",
    direction: Direction = "ir2vis",
    setting: str = "",
    metrics: Sequence[str] = ("rank1", "mAP"),
) -> tables.Table:
    """Build a table of the book: what the paper prints beside mean and spread of ours.

    Args:
        rows: label -> one result per seed. An `ablation.Rows` names what is missing.
        printed: as `ablation.published` gives it.
        caption: beginning of the words above the table.
        direction: of the search.
        setting: of SYSU-MM01, as in `ablation.frame`.
        metrics: to show.

    Raises:
        ValueError: there is no run in any row.
    """
    every = list(chain.from_iterable(rows.values()))
    if not every:
        raise ValueError("no row has a run: there is nothing to show in a table")
    first = every[0]
    label = first.data_label
    if setting and not first.config.data.synthetic:  # means over ten galleries
        label = first.config.data.layout
    note = f"{caption} {setting or direction}, {label} data.".strip()
    if isinstance(rows, ablation.Rows) and rows.absent:
        note += f" Not trained yet: {'; '.join(rows.absent)}."
    ours = ablation.frame(rows, direction, setting)
    return tables.styled(tables.ablation(ours, printed, metrics, label), note)


def difference(
    ours: Sequence[Result],
    theirs: Sequence[Result],
    scene: Scene,
    look_alikes: bool = False,
    direction: Direction = "ir2vis",
) -> Score:
    """Measure rank-1 of some runs minus that of others, in points.

    Both answer the same queries. The interval is by bootstrap over identities and over
    seeds. Seeds of RegDB are trials with other people: there the difference is taken
    trial by trial, and the bootstrap is over trials.

    Args:
        ours: one result per seed.
        theirs: the runs to subtract. Only common seeds count, if there are any. Tables
            of the book leave out a pair that has none.
        scene: the data of both.
        look_alikes: only queries whose person has a look-alike (drawn data only).
        direction: of the search.

    Raises:
        ValueError: a side has no run, the two are of other trials of RegDB, or
            `look_alikes` is set for several trials.
    """
    if not ours or not theirs:
        raise ValueError("nothing to compare: a row without a stored result has no run")
    if have_common_seed(theirs, ours):
        theirs, ours = of_common_seeds(theirs, ours)
    seeds = [r.config.seed for r in ours]
    their_seeds = [r.config.seed for r in theirs]
    if scene.dataset.layout == "regdb" and len({*seeds, *their_seeds}) > 1:
        if seeds != their_seeds or look_alikes:
            raise ValueError(
                "seeds of RegDB are trials with other people: "
                "compare all queries of the same trials"
            )
        return paired_bootstrap(_rank1(theirs, direction), _rank1(ours, direction))
    hits, people = _same_queries(theirs, ours, scene, direction, look_alikes)
    return paired_runs(*hits, groups=people)


def difference_of_means(
    ours: Sequence[Result],
    theirs: Sequence[Result],
    scene: Scene,
    direction: Direction = "ir2vis",
) -> Score:
    """Measure the same difference with the seeds held: other people, the same networks.

    The interval is by bootstrap over identities alone. It is what is left of the
    interval of `difference` when there are very many seeds.

    Args:
        ours: one result per seed.
        theirs: the runs to subtract, of the same seeds.
        scene: the data of both. Their test people do not change with the seed.
        direction: of the search.
    """
    hits, people = _same_queries(theirs, ours, scene, direction)
    before, after = (runs.mean(axis=0) for runs in hits)
    return paired_runs(before, after, groups=people)


def _same_queries(
    theirs: Sequence[Result],
    ours: Sequence[Result],
    scene: Scene,
    direction: Direction,
    look_alikes: bool = False,
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Return rank-1 of each run and query, and the people of the queries.

    Returns:
        (before, after), each (S, Q) of 0 and 100, and the identities (Q,).
    """
    ids = identities(scene.sides(direction)[0])
    used = ours[0].metrics(direction).first_hit > 0
    if look_alikes:
        groups = scene.truth.look_alike_groups()
        used &= np.array([groups.get(person, -1) >= 0 for person in ids])
    before, after = (100.0 * _hits(runs, direction)[:, used] for runs in (theirs, ours))
    return (before, after), ids[used]


def rank1(
    runs: Sequence[Result], scene: Scene, direction: Direction = "ir2vis"
) -> Score:
    """Return rank-1 of some runs in per cent, with an interval over people and seeds.

    Args:
        runs: one result per seed.
        scene: their data.
        direction: of the search.
    """
    ids = identities(scene.sides(direction)[0])
    used = runs[0].metrics(direction).first_hit > 0
    hits = 100.0 * _hits(runs, direction)[:, used]
    return paired_runs(np.zeros_like(hits[:1]), hits, groups=ids[used])


def _rank1(runs: Sequence[Result], direction: Direction) -> np.ndarray:
    """Return rank-1 of each run, (S,) in per cent."""
    return 100.0 * np.array([r.metrics(direction).rank(1) for r in runs])


def _hits(runs: Sequence[Result], direction: Direction) -> np.ndarray:
    """Return which queries of each run have a right first item, (S, Q) bool."""
    return np.stack([r.metrics(direction).first_hit == 1 for r in runs])


def differences(rows: Rows, base: str, scene: Scene) -> pd.DataFrame:
    """Compare every row with the row `base`, in points of rank-1 with 95 % intervals.

    Where look-alikes are known, a second column counts their queries alone. The last
    column counts the seeds that both rows have. With one seed, the interval is over
    people alone. A star marks differences where the two runs of a seed are of unlike
    precision.

    Args:
        rows: label -> one result per seed. A row without a seed of `base` is left out.
        base: label of the row to subtract.
        scene: the data.
    """
    lines = {}
    for label in rows:
        if label == base or not have_common_seed(rows[label], rows[base]):
            continue
        mark = MARK if of_unlike_precision(rows[label], rows[base]) else ""
        gain = difference(rows[label], rows[base], scene)
        lines[label] = {"all queries": formats.points(gain) + mark}
        if scene.look_alikes_known:
            gain = difference(rows[label], rows[base], scene, True)
            lines[label]["look-alikes"] = formats.points(gain) + mark
        lines[label]["seeds"] = min(map(len, of_common_seeds(rows[label], rows[base])))
    note = f"rank-1 minus that of {base} (95 %), ir2vis, {scene.label}"
    note += _meaning_of_mark(line["all queries"] for line in lines.values())
    return pd.DataFrame(lines).T.rename_axis(note)


def _meaning_of_mark(cells: Iterable[str]) -> str:
    """Say what the star means, if a cell has one."""
    return f". {UNLIKE}" if any(cell.endswith(MARK) for cell in cells) else ""


def verdict(score: Score, more: bool = True) -> str:
    """Judge the claim that a difference lies above zero, or below where not `more`."""
    above, below = score.low > 0, score.high < 0
    if above if more else below:
        return "seen"
    return "the opposite" if above or below else "not seen"


def verdicts(claims: Mapping[str, tuple], scene: Scene) -> pd.DataFrame:
    """Judge claims that some runs beat others by the measured difference of rank-1.

    A claim is seen where the 95 % interval lies above zero: over identities and seeds,
    with one seed over identities alone (which is said), over the trials of RegDB. It is
    said, too, where a run collapsed (such a verdict is about training, not the idea),
    and where the two runs of a seed are of unlike precision. Claims about look-alikes
    are not judged where these are not known, as on real data.

    Args:
        claims: claim -> (better, worse), both sequences of results, or
            (better, worse, True) where only queries with a look-alike count.
        scene: the data.
    """
    lines = {}
    for claim, (better, worse, *look_alikes) in claims.items():
        if look_alikes and not scene.look_alikes_known:
            points, seeds, judged = "–", 0, "look-alikes are not known"
        elif have_common_seed(better, worse):
            gain = difference(better, worse, scene, *look_alikes)
            unlike = of_unlike_precision(better, worse)
            points = formats.points(gain) + (MARK if unlike else "")
            seeds = min(map(len, of_common_seeds(better, worse)))
            judged = verdict(gain) + (", one seed" if seeds == 1 else "")
            if any(map(has_collapsed, (*better, *worse))):
                judged += ", collapsed"
        else:
            points, seeds, judged = "–", 0, UNTRAINED
        lines[claim] = {
            "points of rank-1": points,
            "seeds": seeds,
            "on this data": judged,
        }
    note = f"ir2vis, {scene.label} data"
    if any(line["seeds"] == 1 for line in lines.values()):
        note += "; one seed: a hint, since its interval leaves out how seeds vary"
    note += _meaning_of_mark(line["points of rank-1"] for line in lines.values())
    return pd.DataFrame(lines).T.rename_axis(note)


def final_losses(rows: Rows, terms: Mapping[str, str], last: int = 50) -> pd.DataFrame:
    """Show where training ended, row by row, with rank-1 beside it.

    A value is the mean over runs of the last steps in which a term was active. A dash
    stands where a row has no such term.

    Args:
        rows: label -> one result per seed.
        terms: column -> term of the history, such as "main/id".
        last: steps.
    """
    lines = {}
    for label, runs in rows.items():
        line = {}
        for column, term in terms.items():
            ends = [_end(r, term, last) for r in runs if term in r.history]
            line[column] = f"{np.mean(ends):.3f}" if ends else "–"
        rank1 = np.mean([r.row("ir2vis")["rank1"] for r in runs])
        lines[label] = line | {"rank-1": f"{rank1:.1f}"}
    note = f"mean of the last {last} steps, {_label(rows)} data"
    return pd.DataFrame(lines).T.rename_axis(note)


def _end(result: Result, term: str, last: int) -> float:
    """Return the mean of a term over the last steps in which it was active."""
    values = np.array(result.history[term], dtype=float)
    return values[np.isfinite(values)][-last:].mean()


def starts_and_ends(
    rows: Rows, term: str, window: int = 50, first: int = 5
) -> pd.DataFrame:
    """Show whether those who minimise a term end below where they began, row by row.

    Args:
        rows: label -> one result per seed.
        term: of the history. It counts from the first step in which it is active.
        window: steps of a mean.
        first: steps of the mean at the start, few, since a term may fall at once.

    Returns:
        One line for each row that has the term, means over its seeds: the mean of its
        first steps, the lowest mean of `window` steps in a row, that of the last ones,
        in how many runs the last lies below the first, and rank-1, ir2vis.
    """
    lines = {}
    for label, runs in rows.items():
        if not runs or term not in runs[0].history:
            continue
        means = [_means(run.history[term], window) for run in runs]
        starts = [_means(run.history[term], first)[0] for run in runs]
        ends = {
            "first": starts,
            "lowest": [mean.min() for mean in means],
            "last": [mean[-1] for mean in means],
        }
        line = {name: f"{np.mean(values):.2f}" for name, values in ends.items()}
        lower = np.less(ends["last"], ends["first"]).sum()
        line["ends lower"] = f"{lower} of {len(runs)}"
        rank1 = np.mean([run.row("ir2vis")["rank1"] for run in runs])
        lines[label] = line | {"rank-1": f"{rank1:.1f}"}
    name = term.partition("/")[2]
    note = f"{name}; first {first} steps, others means of {window}, {_label(rows)} data"
    return pd.DataFrame(lines).T.rename_axis(note)


def _means(history: Sequence[float], window: int) -> np.ndarray:
    """Return the mean of each stretch of as many steps in a row that have a value."""
    values = np.array(history, dtype=float)
    values = values[np.isfinite(values)]
    window = min(window, len(values))
    return np.convolve(values, np.full(window, 1 / window), mode="valid")


def _label(rows: Rows) -> str:
    """Return what the data of some rows are called."""
    return next(runs[0].data_label for runs in rows.values() if runs)


def first_step_below(
    rows: Rows, term: str, level: float, smooth: int = 20
) -> pd.DataFrame:
    """Find the step from which on a term stays at or below a level, run by run.

    It is one past the last where the running mean never does.

    Args:
        rows: label -> one result per seed.
        term: of the history.
        level: of the running mean.
        smooth: length of the running mean.
    """
    lines = {}
    for label, runs in rows.items():
        lines[label] = {}
        for result in runs:
            values = np.array(result.history[term], dtype=float)
            above = np.flatnonzero(curves.running_mean(values, smooth) > level)
            step = int(above.max(initial=-1)) + 2
            lines[label][f"seed {result.config.seed}"] = step
    steps = len(next(iter(rows.values()))[0].history[term])
    note = f"step of {steps}, {_label(rows)} data"
    return pd.DataFrame(lines).T.astype("Int64").rename_axis(note)


def probes(rows: Rows, names: Sequence[str]) -> pd.DataFrame:
    """Compare probes row by row: mean over runs (outermost of their 95 % bounds).

    A dash stands where a row has no such probe. The last row is the reference value.
    """
    lines, references = {}, {}
    for label, runs in rows.items():
        line = {}
        for name in names:
            scores = [r.probe(name) for r in runs if name in r.record.probes]
            line[name] = _bounds(scores) if scores else "–"
            if scores:
                references.setdefault(name, scores[0].reference)
        lines[label] = line
    reference = {name: references.get(name, np.nan) for name in names}
    lines["reference"] = {
        name: f"{value:.2f}" if np.isfinite(value) else "–"
        for name, value in reference.items()
    }
    note = f"mean of the runs (outermost 95 % bounds), {_label(rows)}"
    return pd.DataFrame(lines).T.rename_axis(note)


def _bounds(scores: Sequence[Score]) -> str:
    mean = np.mean([s.value for s in scores])
    low, high = min(s.low for s in scores), max(s.high for s in scores)
    return f"{mean:.2f} ({low:.2f} to {high:.2f})"


def within_modality(rows: Rows, scene: Scene) -> pd.DataFrame:
    """Measure rank-1 inside each modality and across: can a network tell people at all?

    The clips are those that the first record of each row keeps. Inside a modality a
    clip searches those of other cameras, across them the rule of the data counts. A
    dash stands where nobody has two such clips.
    """
    lines = {}
    for label, (first, *_) in rows.items():
        clips = {"ir": kept_clips(first, scene, "ir")}
        clips["vis"] = kept_clips(first, scene, "vis")
        lines[label] = {}
        for a, b in (("ir", "ir"), ("vis", "vis"), ("ir", "vis"), ("vis", "ir")):
            rule = "vcm" if a == b else scene.dataset.rule
            lines[label][f"{a} in {b}"] = _rank1_among(clips[a], clips[b], rule)
    people = len(np.unique(clips["ir"].ids))
    seed = f"seed {first.config.seed}"
    note = f"rank-1 among {people} people, {seed}, {scene.label} data"
    return pd.DataFrame(lines).T.rename_axis(note)


def _rank1_among(query: Clips, gallery: Clips, rule: Rule) -> str:
    """Return rank-1 in per cent, a dash where no query has a match to find."""
    matches = query.ids[:, None] == gallery.ids
    if rule == "vcm":
        matches &= query.cameras[:, None] != gallery.cameras
    if not matches.any():
        return "–"
    labels = (query.ids, gallery.ids, query.cameras, gallery.cameras)
    metrics = retrieval_metrics(query.feat, gallery.feat, *labels, rule)
    return f"{100 * metrics.rank(1):.1f}"


@dataclass(frozen=True)
class Clips:
    """Clips whose embeddings a record keeps."""

    #: Embeddings, (N, D).
    feat: np.ndarray
    #: Identities, (N,).
    ids: np.ndarray
    #: Cameras, (N,).
    cameras: np.ndarray


def kept_clips(result: Result, scene: Scene, modality: str) -> Clips:
    """Return the clips of a modality whose embeddings a record keeps.

    Args:
        result: whose record it is.
        scene: its data.
        modality: "ir" for the queries, "vis" for the gallery.
    """
    name = "query" if modality == "ir" else "gallery"
    side = scene.by_modality()[modality]
    tracklets = [side[i] for i in result.arrays[f"shown/{name}_rows"]]
    return Clips(
        result.arrays[f"shown/{name}_feat"].astype(np.float32),
        identities(tracklets),
        _cameras(tracklets),
    )


def _cameras(tracklets: Sequence[Tracklet]) -> np.ndarray:
    return np.array([t.camera for t in tracklets])


def oracle_leak(
    method: Method, scene: Scene, people: int = 24, seed: int = 0
) -> pd.DataFrame:
    """Measure what partners chosen by their identity give away, over some test people.

    The first row is each clip alone. The second is its fusion with a clip of the same
    person in the other modality, under the stamp of `oracle_pair`: no result of the
    method.

    Args:
        method: with an `oracle_pair`, in eval mode.
        scene: the data.
        people: how many.
        seed: of the choice of partners.

    Returns:
        rank-1, mAP and mINP (ir2vis) in per cent.
    """
    ir, vis = scene.sides("ir2vis")
    some = sorted({t.identity for t in ir})[:people]
    ir = [t for t in ir if t.identity in some]
    vis = [t for t in vis if t.identity in some]
    ids = [identities(side) for side in (ir, vis)]
    cameras = [_cameras(side) for side in (ir, vis)]
    embed = measure.embedding(method, scene.data)
    alone = [embed(side) for side in (ir, vis)]
    fused, stamp = _fused(method, scene, (ir, vis), ids, seed)
    lines = {}
    for name, feats in (("clip alone", alone), (stamp, fused)):
        metrics = retrieval_metrics(*feats, *ids, *cameras, scene.dataset.rule)
        lines[name] = {
            "rank1": metrics.rank(1),
            "mAP": metrics.mAP,
            "mINP": metrics.mINP,
        }
    note = f"{len(some)} people, {scene.label} data"
    return (100 * pd.DataFrame(lines).T).round(1).rename_axis(note)


def _fused(
    method: Method,
    scene: Scene,
    sides: tuple[Sequence, Sequence],
    ids: Sequence[np.ndarray],
    seed: int,
) -> tuple[list[np.ndarray], str]:
    """Embed clips with partners of the same person, drawn from the other modality.

    Args:
        method: with an `oracle_pair`.
        scene: the data.
        sides: infrared and visible tracklets.
        ids: their identities.
        seed: of the choice of partners.

    Returns:
        Embeddings of both sides, and the stamp of their protocol.
    """
    rng = np.random.default_rng(seed)
    clips = [_normalised(scene, side) for side in sides]
    fused, stamp = [], ""
    for own, other, modality in ((0, 1, "ir"), (1, 0, "vis")):
        same = [np.flatnonzero(ids[other] == person) for person in ids[own]]
        partners = clips[other][[int(rng.choice(rows)) for rows in same]]
        parts = _oracle_pairs(method, clips[own], partners, modality)
        fused.append(np.concatenate([part.feat.numpy() for part in parts]))
        stamp = parts[0].protocol
    return fused, stamp


def _normalised(scene: Scene, side: Sequence) -> Tensor:
    """Return the searched clips of some tracklets, (N, T, 3, h, w)."""
    import torch

    data = scene.settings.data
    batches = test_clips(side, scene.reader, data.frames, stride=data.stride)
    return normalise(torch.cat(list(batches)))


def _oracle_pairs(
    method: Method, clips: Tensor, partners: Tensor, modality: str, batch: int = 64
) -> list:
    """Fuse clips with their partners, batch by batch."""
    import torch

    batches = zip(clips.split(batch), partners.split(batch), strict=True)
    with torch.no_grad(), warnings.catch_warnings():
        # that the label chooses the partner, the stamp and the caller's name say
        warnings.simplefilter("ignore", UserWarning)
        return [method.oracle_pair(*pair, modality) for pair in batches]
