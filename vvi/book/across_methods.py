"""How the methods stand beside one another: the row that stands for each paper, its own baseline, what it costs, and which claims hold where the factors are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vvi import config, methods
from vvi.book import comparison, figures, published
from vvi.data import synthetic
from vvi.data.loader import searched
from vvi.evaluation.probes import Score
from vvi.experiment import Result, ablation
from vvi.plots import cam, matrix
from vvi.types import MODALITIES, Direction

BASE = "baseline"  # the method under all papers
IDENTITIES = 500  # of HITSZ-VCM, to train on


def title(name: str) -> str:
    """What tables call a method."""
    return name if name == BASE else name.upper()


def names() -> dict[str, str]:
    """Title -> module of every method there is, the baseline first."""
    return {
        title(name): name
        for name in sorted(methods.names(), key=lambda n: (n != BASE, n))
    }


def main_results(
    size: str = "standard", seeds: Sequence[int] = (0, 1, 2), **run
) -> dict[str, list[Result]]:
    """Collect the row that stands for each paper (`MAIN`).

    Args:
        size: preset of the runs.
        seeds: of the runs, as in `ablate.results`.
        **run: arguments of `experiment.run`.

    Returns:
        Title of the method -> one result per seed.
    """
    rows = {t: (name, *methods.module(name).MAIN) for t, name in names().items()}
    return _rows(rows, size, seeds, run)


def _rows(
    rows: Mapping[str, tuple[str, str, str]],
    size: str,
    seeds: Sequence[int],
    run: Mapping,
) -> dict[str, list[Result]]:
    """Title -> (method, table, row) to title -> results."""
    results = {}
    for name, (method, table, row) in rows.items():
        wanted = ablation.configs(method, table, size, seeds)[row]
        results[name] = ablation.of_row(f"{method}, {table}: {row}", wanted, size, run)
    return {name: found for name, found in results.items() if found}


def baseline_of(name: str) -> tuple[str, str, str]:
    """Method, table and row that a paper is measured against: the row "Baseline" of the table that its `MAIN` row stands in, or where it has none the method `baseline`."""
    table = methods.module(name).MAIN[0]
    return (
        (name, table, "Baseline")
        if "Baseline" in methods.module(name).ABLATIONS[table]
        else (BASE, *methods.module(BASE).MAIN)
    )


def baselines(
    size: str = "standard", seeds: Sequence[int] = (0, 1, 2), **run
) -> dict[str, list[Result]]:
    """Collect the results of `baseline_of` each method; none for the baseline itself."""
    rows = {t: baseline_of(name) for t, name in names().items() if name != BASE}
    return _rows(rows, size, seeds, run)


def config_differences(rows: Mapping[str, Sequence[Result]]) -> pd.DataFrame:
    """Fields of data and recipe in which the first runs of some rows differ: the protocol is one where this is empty."""
    found = {label: _fields(runs[0]) for label, runs in rows.items()}
    table = pd.DataFrame(found).T
    return table.loc[:, [len(set(map(str, table[c]))) > 1 for c in table]]


def _fields(result: Result) -> dict:
    c = result.config
    return (
        {"backbone": c.backbone, "weights": c.weights} | vars(c.data) | vars(c.recipe)
    )


def gains(
    rows: Mapping[str, Sequence[Result]],
    own: Mapping[str, Sequence[Result]],
    view: figures.Scene,
) -> pd.DataFrame:
    """Each method minus its own baseline over the same queries, in points of rank-1 with 95 % intervals, and what its paper prints for the same two rows (ir2vis)."""
    told, found = published.numbers(), {}
    for t, base in own.items():
        name = names()[t]
        table, row = methods.module(name).MAIN
        paper = published.gains(
            told,
            name,
            table,
            f"{row} ({name})" if row.startswith("Baseline") else row,
            f"Baseline ({name})",
        )
        start = f"{np.mean([r.row('ir2vis')['rank1'] for r in base]):.1f}" + (
            "" if baseline_of(name)[0] == name else " (the plain one)"
        )
        found[t] = {"its baseline": start} | {
            d: _points(comparison.difference(rows[t], base, view, direction=d))
            for d in rows[t][0].record.scores
        }
        if view.known and view.dataset.layout != "regdb":
            found[t]["look-alikes"] = _points(
                comparison.difference(rows[t], base, view, look_alikes=True)
            )
        found[t]["published, not rerun"] = (
            "; ".join(f"{gain:+.1f} ({data})" for data, gain in paper.items()) or "–"
        )
    return pd.DataFrame(found).T.rename_axis(f"points of rank-1 (95 %), {view.label}")


def _points(score: Score) -> str:
    return f"{score.value:+.1f} ({score.low:+.1f} to {score.high:+.1f})"


def pairs(
    rows: Mapping[str, Sequence[Result]],
    view: figures.Scene,
    direction: Direction = "ir2vis",
) -> dict[str, dict[str, Score]]:
    """Row -> column -> rank-1 of the row minus that of the column over the same queries, in points (`compare.difference`)."""
    labels, found = list(rows), {label: {} for label in rows}
    for n, one in enumerate(labels):
        for two in labels[n + 1 :]:
            s = found[two][one] = comparison.difference(
                rows[two], rows[one], view, direction=direction
            )
            found[one][two] = Score(-s.value, -s.high, -s.low, 0.0, s.count)
    return {
        one: {two: found[one][two] for two in labels if two != one} for one in labels
    }


def draw_pairs(found: Mapping[str, Mapping[str, Score]], caption: str = "") -> Figure:
    """`pairs` as a matrix: which rows are above which columns, and how sure that is."""
    cells = {
        one: {two: (comparison.verdict(s), _short(s, 1)) for two, s in row.items()}
        for one, row in found.items()
    }
    cells = {
        one: {two: row.get(two, ("", "")) for two in cells}
        for one, row in cells.items()
    }
    meanings = {
        "seen": "the row is better",
        "the opposite": "the column is better",
        "not seen": "the interval holds zero",
    }
    return matrix.draw(cells, meanings, caption, "row minus\ncolumn")


def _short(score: Score, digits: int) -> str:
    value, low, high = (
        x + 0.0 for x in (score.value, score.low, score.high)
    )  # a mirrored zero has no sign
    return f"{value:+.{digits}f}\n{low:+.{digits}f} … {high:+.{digits}f}"


def cost(result: Result) -> dict[str, float]:
    """What a method costs at the size of the paper: GFLOP of one search clip, million parameters in all, and those that a search of both directions uses."""
    import torch

    paper, asked = config.preset("paper").data, result.config
    size = {"backbone": config.preset("paper").backbone, "frames": paper.frames}
    with torch.device("meta"):
        model = (
            methods.load(asked.method, IDENTITIES, **(size | dict(asked.options)))
            .eval()
            .requires_grad_(True)
        )
        clips = torch.zeros(1, paper.frames, 3, paper.height, paper.width)
        work = figures.flops(model, clips)
        for modality in MODALITIES:
            model.embed(clips, modality).sum().backward()
    sizes = [(p.numel() / 1e6, p.grad is not None) for p in model.parameters()]
    return {
        "GFLOP": work / 1e9,
        "parameters (M)": sum(n for n, _ in sizes),
        "used in a search (M)": sum(n for n, used in sizes if used),
    }


def costs(rows: Mapping[str, Sequence[Result]]) -> pd.DataFrame:
    """`cost` of every row, and the seconds that its runs took to train with where that was: seconds of unlike machines, or of a busy one, do not compare."""
    found = {}
    for label, runs in rows.items():
        seconds = [r.record.seconds["train"] for r in runs]
        where = dict.fromkeys(
            f"{r.record.environment.get('processor')}, {r.record.environment.get('device')}"
            for r in runs
        )
        found[label] = {k: round(v, 1) for k, v in cost(runs[0]).items()} | {
            "training (s)": f"{min(seconds):.0f} to {max(seconds):.0f}",
            "on": "; ".join(where),
        }
    return pd.DataFrame(found).T


@dataclass(frozen=True)
class Claim:
    """A number that a claim is about: a probe of the record, or a function of a result (None where it has none); the claim holds where it lies above (`more`) or below what it is
    read against: its reference, which is chance, no change or a blind map, or the same of the method's own baseline (`beside`)."""

    measure: str | Callable[[Result], Score | None]
    more: bool = True
    beside: bool = False


def rank1_kept(result: Result) -> Score:
    """Share of rank-1 that a bar over 30 % of every frame leaves; the undisturbed rank-1 is taken as known."""
    change, rank1 = result.probe("occluded"), result.record.scores["ir2vis"]["rank1"]
    share = [
        1 + x / rank1 if rank1 else np.nan
        for x in (change.value, change.low, change.high)
    ]
    return Score(*share, 1.0, change.count)


def excess_over_reference(
    ours: Sequence[Score], theirs: Sequence[Score] = (), seed: int = 0, n: int = 2000
) -> Score:
    """Mean of a probe over runs minus its reference, or minus its mean over other runs.

    A record holds no more of a probe than its value and interval, so each resample draws runs of either side and one normal error of the size of their intervals, the same for all
    runs of a side, which are of the same people. Both sides are also of the same people: taken as independent the interval of a difference is rather too wide.
    """
    rng = np.random.default_rng(seed)
    sides = [
        _resample(
            [s.value - (0 if theirs else s.reference) for s in ours], ours, rng, n
        )
    ]
    sides += [_resample([s.value for s in theirs], theirs, rng, n)] if theirs else []
    value = np.mean([s.value - (0 if theirs else s.reference) for s in ours]) - (
        np.mean([s.value for s in theirs]) if theirs else 0
    )
    low, high = np.percentile(sides[0] - (sides[1] if theirs else 0), (2.5, 97.5))
    return Score(float(value), float(low), float(high), 0.0, ours[0].count)


def _resample(
    values: Sequence[float], scores: Sequence[Score], rng: np.random.Generator, n: int
) -> np.ndarray:
    drawn = rng.integers(0, len(scores), (n, len(scores)))
    errors = np.array([(s.high - s.low) / 3.92 for s in scores])
    return np.asarray(values)[drawn].mean(1) + rng.standard_normal(n) * errors[
        drawn
    ].mean(1)


def claims(
    rows: Mapping[str, Sequence[Result]],
    own: Mapping[str, Sequence[Result]],
    asked: Mapping[str, Claim],
) -> dict[str, dict[str, tuple[str, Score | None]]]:
    """Claim -> row -> the word of `compare.word` and the number minus what it is read against; "" and None where a row has no such number or no baseline to be read against."""
    return {
        text: {
            label: _asked(runs, own.get(label, ()), claim)
            for label, runs in rows.items()
        }
        for text, claim in asked.items()
    }


def _asked(
    runs: Sequence[Result], base: Sequence[Result], claim: Claim
) -> tuple[str, Score | None]:
    ours, theirs = (
        _measured(runs, claim),
        _measured(base, claim) if claim.beside else [],
    )
    if not ours or (claim.beside and not theirs):
        return "", None
    score = excess(ours, theirs)
    return comparison.verdict(score, claim.more), score


def _measured(runs: Sequence[Result], claim: Claim) -> list[Score]:
    measure = (
        claim.measure
        if callable(claim.measure)
        else lambda r: (
            r.probe(claim.measure) if claim.measure in r.record.probes else None
        )
    )
    return [s for s in map(measure, runs) if s is not None and np.isfinite(s.value)]


def draw_claims(
    found: Mapping[str, Mapping[str, tuple[str, Score | None]]], caption: str = ""
) -> Figure:
    """`claims` as a matrix."""
    cells = {
        text: {
            label: (word, _short(s, 2) if s else "–")
            for label, (word, s) in row.items()
        }
        for text, row in found.items()
    }
    return matrix.draw(cells, caption=caption, corner="claim")


def cams_of_methods(results: Mapping[str, Result], view: figures.Scene) -> Figure:
    """Heat maps of several methods for the same frame, one column for each method: the middle frame of the first clip of either modality that the records keep maps of."""
    frames, maps, titles, masks = [], [], [], []
    for modality, side in zip(MODALITIES, reversed(view.sides("ir2vis")), strict=True):
        rows = {int(r.arrays[f"cam/{modality}_rows"][0]) for r in results.values()}
        if len(rows) > 1:
            raise ValueError(
                f"the records keep maps of different {modality} clips: {', '.join(map(str, sorted(rows)))}"
            )
        clip = side[rows.pop()]
        data = next(iter(results.values())).config.data
        count = data.frames
        which = searched(clip, data)[count // 2]
        frames.append(
            np.repeat(view.large.images(clip, np.array([which])), len(results), axis=0)
        )
        maps.append(
            np.concatenate(
                [
                    figures.enlarged(r.arrays[f"cam/{modality}"][0][[count // 2]])
                    for r in results.values()
                ]
            )
        )
        masks.append(
            np.repeat(
                synthetic.read_masks(view.dataset.root, clip)[[which]],
                len(results),
                axis=0,
            )
        )
        titles.append(f"{modality}\nid {clip.identity}")
    return cam.plot(
        frames,
        maps,
        titles,
        masks,
        caption=f"One frame of each modality, {view.label} data; each map on its own scale.",
        heads=list(results),
    )
