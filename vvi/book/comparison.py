"""Rows of a paper's tables beside one another: what is printed, what we measured, and whether a difference is more than identities and seeds make."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from vvi.data import synthetic
from vvi.data.loader import test_clips
from vvi.data.transforms import normalise
from vvi.evaluation import evaluate
from vvi.evaluation.probes import Score, paired_bootstrap, paired_runs
from vvi.experiment import Result, ablation
from vvi.metrics import retrieval_metrics
from vvi.plots import curves, tables
from vvi.types import Direction

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

    from vvi.book import figures
    from vvi.methods.base import Method


def table(
    rows: Mapping[str, Sequence[Result]],
    printed: pd.DataFrame | None = None,
    caption: str = "",
    direction: Direction = "ir2vis",
    setting: str = "",
    metrics: Sequence[str] = ("rank1", "mAP"),
) -> Styler:
    """A table of the book: what the paper prints beside the mean and spread of ours, row by row; `printed` as `ablate.published` gives it, `setting` as in `ablate.frame`."""
    label = next(iter(rows.values()))[0].data_label
    note = " ".join(filter(None, (caption, f"{setting or direction}, {label} data.")))
    return tables.styled(
        tables.ablation(
            ablation.frame(rows, direction, setting), printed, metrics, label
        ),
        caption=note,
    )


def difference(
    ours: Sequence[Result],
    theirs: Sequence[Result],
    view: figures.Scene,
    look_alikes: bool = False,
    direction: Direction = "ir2vis",
) -> Score:
    """Rank-1 of some runs minus that of others over the same queries, in points; the interval is by bootstrap over identities and over seeds.

    look_alikes: only queries whose person has a look-alike (drawn data only). Seeds of RegDB are trials with other people: there the difference is taken trial by trial and the
    bootstrap is over trials.
    """
    theirs, ours = _of_common_seeds(theirs, ours)
    seeds = [[r.config.seed for r in runs] for runs in (theirs, ours)]
    if view.dataset.layout == "regdb" and len({*seeds[0], *seeds[1]}) > 1:
        if seeds[0] != seeds[1] or look_alikes:
            raise ValueError(
                "seeds of RegDB are trials with other people: compare all queries of the same trials"
            )
        return paired_bootstrap(
            *(
                100.0 * np.array([r.metrics(direction).rank(1) for r in runs])
                for runs in (theirs, ours)
            )
        )
    hits = [
        np.stack([r.metrics(direction).first_hit == 1 for r in runs])
        for runs in (theirs, ours)
    ]
    ids = np.array([t.identity for t in view.sides(direction)[0]])
    used = ours[0].metrics(direction).first_hit > 0
    if look_alikes:
        groups = synthetic.read_factors(view.dataset.root).look_alike_group
        used &= groups.reindex(ids).to_numpy() >= 0
    return paired_runs(*(100.0 * h[:, used] for h in hits), groups=ids[used])


def _of_common_seeds(
    *sides: Sequence[Result],
) -> tuple[list[Result], ...] | tuple[Sequence[Result], ...]:
    """Keep the runs of seeds that both sides have, so that runs are paired by seed."""
    common = set.intersection(*({r.config.seed for r in runs} for runs in sides))
    if not common:
        return sides
    return tuple([r for r in runs if r.config.seed in common] for runs in sides)


def differences(
    rows: Mapping[str, Sequence[Result]], base: str, view: figures.Scene
) -> pd.DataFrame:
    """Every row minus the row `base`: rank-1 over all queries and over those with a look-alike, in points with 95 % intervals."""
    found, alike = (
        {},
        view.known and view.dataset.layout != "regdb",
    )  # few people of a trial have a look-alike
    for label, runs in rows.items() if rows[base] else ():
        scores = {"all queries": difference(runs, rows[base], view)} | (
            {"look-alikes": difference(runs, rows[base], view, True)} if alike else {}
        )
        if label != base:
            found[label] = {
                name: f"{s.value:+.1f} ({s.low:+.1f} to {s.high:+.1f})"
                for name, s in scores.items()
            }
    return pd.DataFrame(found).T.rename_axis(
        f"rank-1 minus that of {base} (95 %), {view.label}"
    )


UNTRAINED = "not trained yet"


def verdict(score: Score, more: bool = True) -> str:
    """What an interval says of the claim that a difference lies above zero, or below it where not `more`."""
    above, below = score.low > 0, score.high < 0
    return (
        "seen"
        if (above if more else below)
        else "the opposite"
        if above or below
        else "not seen"
    )


def verdicts(claims: Mapping[str, tuple], view: figures.Scene) -> pd.DataFrame:
    """Claims "the first runs beat the second" against the measured difference of rank-1: seen where its 95 % interval lies above zero (over identities and seeds; with one
    seed over identities alone, which is said; over the trials of RegDB).

    claims: claim -> (better, worse), both sequences of results, or (better, worse, True) where only queries with a look-alike count.
    """
    found = {}
    for claim, (better, worse, *look_alikes) in claims.items():
        if not better or not worse:
            found[claim] = {
                "points of rank-1": "–",
                "seeds": 0,
                "on this data": UNTRAINED,
            }
            continue
        score = difference(better, worse, view, *look_alikes)
        seeds = min(map(len, _of_common_seeds(better, worse)))
        said = word(score) + (", one seed" if seeds == 1 else "")
        found[claim] = {
            "points of rank-1": f"{score.value:+.1f} ({score.low:+.1f} to {score.high:+.1f})",
            "seeds": seeds,
            "on this data": said,
        }
    return pd.DataFrame(found).T.rename_axis(f"{view.label} data")


def final_losses(
    rows: Mapping[str, Sequence[Result]], terms: Mapping[str, str], last: int = 50
) -> pd.DataFrame:
    """Where training ended, row by row: mean over runs of the last steps in which each term of the history was active, and rank-1. terms: column -> term, such as "main/id"; a dash
    where a row has no such term."""
    found = {}
    for label, runs in rows.items():
        lines = {
            column: [
                np.array(r.history[term], dtype=float)
                for r in runs
                if term in r.history
            ]
            for column, term in terms.items()
        }
        found[label] = {
            c: f"{np.mean([v[np.isfinite(v)][-last:].mean() for v in of]):.3f}"
            if of
            else "–"
            for c, of in lines.items()
        }
        found[label]["rank-1"] = (
            f"{np.mean([r.row('ir2vis')['rank1'] for r in runs]):.1f}"
        )
    return pd.DataFrame(found).T.rename_axis(
        f"mean of the last {last} steps, {next(iter(rows.values()))[0].data_label} data"
    )


def first_step_below(
    rows: Mapping[str, Sequence[Result]], term: str, level: float, smooth: int = 20
) -> pd.DataFrame:
    """The first step from which on the running mean of a term of the history stays at or below a level, run by run; one past the last where it does not."""
    found = {}
    for label, runs in rows.items():
        above = [
            np.flatnonzero(
                curves.running_mean(np.array(r.history[term], dtype=float), smooth)
                > level
            )
            for r in runs
        ]
        found[label] = {
            f"seed {r.config.seed}": int(steps.max(initial=-1)) + 2
            for r, steps in zip(runs, above, strict=True)
        }
    steps = len(next(iter(rows.values()))[0].history[term])
    return (
        pd.DataFrame(found)
        .T.astype("Int64")
        .rename_axis(f"step of {steps}, {next(iter(rows.values()))[0].data_label} data")
    )


def probes(rows: Mapping[str, Sequence[Result]], names: Sequence[str]) -> pd.DataFrame:
    """Probes row by row: mean over the runs and, in brackets, the outermost of their 95 % bounds; a dash where a row has no such probe.

    The last row is what to read them against.
    """
    found, first = {}, {}
    for label, runs in rows.items():
        scores = {n: [r.probe(n) for r in runs if n in r.record.probes] for n in names}
        found[label] = {n: _bounds(of) if of else "–" for n, of in scores.items()}
        first = {n: of[0].reference for n, of in scores.items() if of} | first
    found["reference"] = {
        n: f"{first[n]:.2f}" if np.isfinite(first.get(n, np.nan)) else "–"
        for n in names
    }
    return pd.DataFrame(found).T.rename_axis(
        f"mean of the runs (outermost 95 % bounds), {next(iter(rows.values()))[0].data_label}"
    )


def within_modality(rows: Mapping[str, Sequence[Result]], view: figures.Scene) -> pd.DataFrame:
    """Rank-1 of the clips that the first record of each row keeps, searched for inside their own modality and in the other: can a network tell these people at all?"""
    found = {}
    for label, (first, *_) in rows.items():
        kept = {}
        for modality, name, side in zip(
            ("ir", "vis"), ("query", "gallery"), view.sides("ir2vis"), strict=True
        ):
            clips = [side[i] for i in first.arrays[f"shown/{name}_rows"]]
            feat = first.arrays[f"shown/{name}_feat"].astype(np.float32)
            kept[modality] = (
                feat,
                np.array([t.identity for t in clips]),
                np.array([t.camera for t in clips]),
            )
        found[label] = {}
        for a, b in (("ir", "ir"), ("vis", "vis"), ("ir", "vis"), ("vis", "ir")):
            metrics = retrieval_metrics(
                *(part for pair in zip(kept[a], kept[b], strict=True) for part in pair)
            )
            found[label][f"{a} in {b}"] = f"{100 * metrics.rank(1):.1f}"
    people = len(np.unique(kept["ir"][1]))
    return pd.DataFrame(found).T.rename_axis(
        f"rank-1 among {people} people, seed {first.config.seed}, {view.label} data"
    )


def oracle_leak(
    method: Method, view: figures.Scene, people: int = 24, seed: int = 0
) -> pd.DataFrame:
    """What partners chosen by their identity give away: rank-1, mAP and mINP (ir2vis, in per cent) of a method with an `oracle_pair`, over some test people.

    First row: each clip alone; second: its fusion with a clip of the same person in the other modality, under the stamp of `oracle_pair`. That row is no result of the method.
    """
    import torch

    rng, count = np.random.default_rng(seed), view.settings.data.frames
    stride = view.settings.data.stride
    some = sorted({t.identity for t in view.sides("ir2vis")[0]})[:people]
    sides = [[t for t in side if t.identity in some] for side in view.sides("ir2vis")]
    ids, cams = (
        [np.array([t.identity for t in s]) for s in sides],
        [np.array([t.camera for t in s]) for s in sides],
    )
    clips = [
        normalise(torch.cat(list(test_clips(s, view.reader, count, stride=stride))))
        for s in sides
    ]
    alone, fused, stamp = (
        [evaluate.embed(method, s, view.reader, count, stride=stride) for s in sides],
        [],
        "",
    )
    for own, other, modality in ((0, 1, "ir"), (1, 0, "vis")):
        partners = clips[other][
            [int(rng.choice(np.flatnonzero(ids[other] == i))) for i in ids[own]]
        ]
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", UserWarning
            )  # the name of this function and the stamp say it
            parts = [
                method.oracle_pair(*pair, modality)
                for pair in zip(clips[own].split(64), partners.split(64), strict=True)
            ]
        fused.append(np.concatenate([part.feat.numpy() for part in parts]))
        stamp = parts[0].protocol
    found = {
        name: retrieval_metrics(*feats, *ids, *cams)
        for name, feats in (("clip alone", alone), (stamp, fused))
    }
    table = {
        name: {"rank1": m.rank(1), "mAP": m.mAP, "mINP": m.mINP}
        for name, m in found.items()
    }
    return (
        (100 * pd.DataFrame(table).T)
        .round(1)
        .rename_axis(f"{len(some)} people, {view.label} data")
    )


def _bounds(scores: Sequence[Score]) -> str:
    return f"{np.mean([s.value for s in scores]):.2f} ({min(s.low for s in scores):.2f} to {max(s.high for s in scores):.2f})"
