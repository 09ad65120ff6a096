"""All methods side by side: main rows, own baselines, costs, and claims."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vvi import config, methods
from vvi.book import comparison, figures, formats, published
from vvi.book import cost as costing
from vvi.book.scene import Scene
from vvi.data.loader import evaluated_frames
from vvi.evaluation import probes
from vvi.evaluation.probes import Score
from vvi.experiment import Result, ablation
from vvi.plots import cam, matrix
from vvi.types import MODALITIES, Direction

BASE = "baseline"  # the method under all papers
IDENTITIES = 500  # of HITSZ-VCM, to train on
WIDE = 12  # characters of an interval that fill the cell of a matrix

Rows = Mapping[str, Sequence[Result]]
Row = tuple[str, str, str]  # method, table, label


def title(name: str) -> str:
    """Return what tables call a method."""
    return name if name == BASE else name.upper()


def names() -> dict[str, str]:
    """Return title -> module of every method there is, the baseline first."""
    ordered = sorted(methods.names(), key=lambda name: (name != BASE, name))
    return {title(name): name for name in ordered}


def main_results(
    size: str = "standard", seeds: Sequence[int] = ablation.SEEDS, **run: Any
) -> dict[str, list[Result]]:
    """Collect the row that stands for each paper (`MAIN`).

    Args:
        size: preset of the runs.
        seeds: of the runs, as in `ablation.results`.
        **run: arguments of `experiment.run`.

    Returns:
        Title of the method -> one result per seed.
    """
    rows = {t: (name, *methods.module(name).MAIN) for t, name in names().items()}
    return _results(rows, size, seeds, run)


def _results(
    rows: Mapping[str, Row], size: str, seeds: Sequence[int], run: Mapping[str, Any]
) -> dict[str, list[Result]]:
    """Collect the results of some rows, without the rows that have none.

    Args:
        rows: title -> row.
        size: preset of the runs.
        seeds: of the runs.
        run: arguments of `experiment.run`.
    """
    results = {}
    for name, (method, table, label) in rows.items():
        configs = ablation.row_configs(method, table, label, size, seeds)
        results[name] = ablation.results_of_row(
            f"{method}, {table}: {label}", configs, size, run
        )
    return {name: runs for name, runs in results.items() if runs}


def baseline_of(name: str) -> Row:
    """Return the row that a paper is measured against.

    It is the row "Baseline" of the table that its `MAIN` row stands in, or where it has
    none the method `baseline`.
    """
    table = methods.module(name).MAIN[0]
    if "Baseline" in methods.module(name).ABLATIONS[table]:
        return name, table, "Baseline"
    return BASE, *methods.module(BASE).MAIN


def baselines(
    size: str = "standard", seeds: Sequence[int] = ablation.SEEDS, **run: Any
) -> dict[str, list[Result]]:
    """Collect the results of `baseline_of` each method.

    The baseline itself has none.

    Args:
        size: preset of the runs.
        seeds: of the runs, as in `ablation.results`.
        **run: arguments of `experiment.run`.
    """
    rows = {t: baseline_of(name) for t, name in names().items() if name != BASE}
    return _results(rows, size, seeds, run)


def config_differences(rows: Rows) -> pd.DataFrame:
    """Show the fields of data and recipe in which the first runs of some rows differ.

    Where it is empty, all rows follow one protocol.
    """
    table = pd.DataFrame({label: _fields(runs[0]) for label, runs in rows.items()}).T
    differs = [len(set(map(str, table[column]))) > 1 for column in table]
    return table.loc[:, differs]


def _fields(result: Result) -> dict[str, Any]:
    c = result.config
    fields = {"backbone": c.backbone, "weights": c.weights}
    return fields | vars(c.data) | vars(c.recipe)


def precisions(rows: Rows) -> str:
    """Name the runs that their processor computed in another precision, by their seeds.

    Args:
        rows: title -> one result per seed.
    """
    labels_of: dict[str, list[str]] = {}
    for label, runs in rows.items():
        seeds = [str(run.config.seed) for run in runs if run.changed_precision]
        if seeds:
            labels_of.setdefault(formats.joined(seeds), []).append(label)
    if not labels_of:
        return "All runs have the precision of the recipe."
    parts = [f"{seeds} of {formats.joined(of)}" for seeds, of in labels_of.items()]
    return f"Seeds in float32, on a processor without bfloat16: {'; '.join(parts)}."


def gains(rows: Rows, own: Rows, scene: Scene) -> pd.DataFrame:
    """Compare each method with its own baseline, and with what its paper prints.

    The gains are points of rank-1 over the same queries with 95 % intervals. The
    published gain is the difference of the same two rows (ir2vis).

    Args:
        rows: title -> results, of `main_results`.
        own: title -> results of `baselines`.
        scene: the data.
    """
    printed, lines = published.numbers(), {}
    for name, base in own.items():
        if not comparison.have_common_seed(rows.get(name, []), base):
            continue
        method = names()[name]
        start = f"{np.mean([r.row('ir2vis')['rank1'] for r in base]):.1f}"
        if baseline_of(method)[0] != method:
            start += " (the plain one)"
        line = {"its baseline": start}
        for direction in rows[name][0].record.scores:
            gain = comparison.difference(rows[name], base, scene, direction=direction)
            line[direction] = formats.points(gain)
        if scene.look_alikes_known:
            gain = comparison.difference(rows[name], base, scene, look_alikes=True)
            line["look-alikes"] = formats.points(gain)
        line["published, not rerun"] = _published_gain(printed, method)
        lines[name] = line
    note = f"points of rank-1 (95 %), {scene.label}"
    return pd.DataFrame(lines).T.rename_axis(note)


def seeds_needed(
    rows: Rows,
    own: Rows,
    scene: Scene,
    half_width: float = 3.0,
    direction: Direction = "ir2vis",
) -> pd.DataFrame:
    """Estimate how many seeds make each gain of `gains` known to a few points.

    With n seeds, half an interval h is about h^2 = p^2 + 1.96^2 (s^2 + b^2) / n. Here p
    is half the interval over people alone, and s and b are the standard deviations of
    rank-1 over seeds of the method and of its baseline.

    Args:
        rows: title -> results, of `main_results`.
        own: title -> results of `baselines`.
        scene: the data. Empty for RegDB, whose seeds are trials with other people.
        half_width: the points to reach.
        direction: of the search.
    """
    lines: dict[str, dict[str, Any]] = {}
    if scene.dataset.layout == "regdb":
        return pd.DataFrame(lines)
    for name, base in own.items():
        runs, base = comparison.of_common_seeds(rows.get(name, []), base)
        if len(runs) < 2:
            continue
        gain = comparison.difference(runs, base, scene, direction=direction)
        means = comparison.difference_of_means(runs, base, scene, direction)
        spreads = [_spread(side, direction) for side in (runs, base)]
        people = (means.high - means.low) / 2
        lines[name] = {
            "seeds": len(runs),
            "half an interval": f"{(gain.high - gain.low) / 2:.1f}",
            "people alone": f"{people:.1f}",
            "spread over seeds": f"{spreads[0]:.1f}",
            "of the baseline": f"{spreads[1]:.1f}",
            f"seeds for {half_width:g} points": _seeds_for(half_width, people, spreads),
        }
    note = f"points of rank-1, {direction}, {scene.label}"
    return pd.DataFrame(lines).T.rename_axis(note)


def _spread(runs: Sequence[Result], direction: Direction) -> float:
    """Return the standard deviation of rank-1 over seeds, in points."""
    return float(np.std([run.row(direction)["rank1"] for run in runs], ddof=1))


def _seeds_for(half_width: float, people: float, spreads: Sequence[float]) -> str:
    """Solve the equation of `seeds_needed` for the number of seeds.

    >>> _seeds_for(3.0, 1.8, [2.0, 1.5]), _seeds_for(3.0, 3.1, [2.0, 1.5])
    ('5', 'more people')
    """
    if people >= half_width:
        return "more people"
    variance = 1.96**2 * sum(spread**2 for spread in spreads)
    return str(max(2, math.ceil(variance / (half_width**2 - people**2))))


def _published_gain(printed: pd.DataFrame, method: str) -> str:
    """Return what a paper prints for its main row minus its baseline."""
    table, row = methods.module(method).MAIN
    if row.startswith("Baseline"):
        row = f"{row} ({method})"
    base = f"Baseline ({method})"
    gain = published.gains(printed, method, table, row, base)
    words = [f"{points:+.1f} ({dataset})" for dataset, points in gain.items()]
    return "; ".join(words) or "–"


def pairs(
    rows: Rows, scene: Scene, direction: Direction = "ir2vis"
) -> dict[str, dict[str, Score]]:
    """Compare all rows with one another over the same queries.

    Args:
        rows: label -> one result per seed.
        scene: the data.
        direction: of the search.

    Returns:
        Row -> column -> rank-1 of the row minus that of the column, in points.
    """
    labels = list(rows)
    table: dict[str, dict[str, Score]] = {label: {} for label in labels}
    for n, first in enumerate(labels):
        for second in labels[n + 1 :]:
            if not comparison.have_common_seed(rows[first], rows[second]):
                continue
            gain = comparison.difference(
                rows[second], rows[first], scene, direction=direction
            )
            table[second][first] = gain
            mirrored = (-gain.value, -gain.high, -gain.low)
            table[first][second] = Score(*mirrored, 0.0, gain.count)
    return {row: _in_order(table[row], labels) for row in labels}


def _in_order(line: Mapping[str, Score], labels: Sequence[str]) -> dict[str, Score]:
    return {label: line[label] for label in labels if label in line}


def draw_pairs(table: Mapping[str, Mapping[str, Score]], caption: str = "") -> Figure:
    """Draw `pairs` as a matrix: which rows are above which columns, how surely.

    Its caption begins with the pairs of which one is surely higher.
    """
    above = {}
    for row, line in table.items():
        scores = line.items()
        above[row] = [other for other, s in scores if comparison.verdict(s) == "seen"]
    caption = f"{_finding(above, 'Higher', ' than ')} {caption}".strip()
    cells = {}
    for row, line in table.items():
        cells[row] = {column: _cell(line.get(column), 1) for column in table}
    meanings = {
        "seen": "the row is better",
        "the opposite": "the column is better",
        "not seen": "the interval holds zero",
    }
    return matrix.draw(cells, meanings, caption, "row minus\ncolumn")


def _finding(names: Mapping[str, Sequence[str]], head: str, link: str) -> str:
    """Return "head: name link other names" with all names that have any."""
    parts = [f"{k}{link}{formats.joined(v)}" for k, v in names.items() if v]
    return f"{head}: {'; '.join(parts) or 'none'}."


def _cell(score: Score | None, digits: int) -> tuple[str, str]:
    """Return verdict and text of a cell of a matrix, both empty on its diagonal."""
    if score is None:
        return "", ""
    return comparison.verdict(score), _two_lines(score, digits)


def _two_lines(score: Score, digits: int) -> str:
    """Return a difference above its interval."""
    value, low, high = formats.rounded(score, digits, "+")
    between = " … " if len(low + high) < WIDE else "…"
    return f"{value}\n{low}{between}{high}"


def cost(result: Result) -> dict[str, float]:
    """Measure what a method costs at the size of the paper.

    Returns:
        GFLOP of one search clip, million parameters in all, and those that a search of
        both directions uses.
    """
    import torch

    paper, own = config.preset("paper"), result.config
    data = paper.data
    size = {"backbone": paper.backbone, "frames": data.frames}
    with torch.device("meta"):
        model = methods.load(own.method, IDENTITIES, **(size | dict(own.options)))
        model = model.eval().requires_grad_(True)
        clips = torch.zeros(1, data.frames, 3, data.height, data.width)
        work = costing.flops(model, clips)
        for modality in MODALITIES:
            model.embed(clips, modality).sum().backward()
    parameters = list(model.parameters())
    used = [p for p in parameters if p.grad is not None]
    return {
        "GFLOP": work / 1e9,
        "parameters (M)": sum(p.numel() / 1e6 for p in parameters),
        "used in a search (M)": sum(p.numel() / 1e6 for p in used),
    }


def costs(rows: Rows) -> pd.DataFrame:
    """Build the `cost` of every row, with the seconds of its training and where.

    Seconds of different machines, or of a busy one, do not compare.
    """
    lines = {}
    for label, runs in rows.items():
        line = {name: round(value, 1) for name, value in cost(runs[0]).items()}
        seconds = [r.record.seconds["train"] for r in runs]
        line["training (s)"] = f"{min(seconds):.0f} to {max(seconds):.0f}"
        line["on"] = "; ".join(dict.fromkeys(map(_machine, runs)))
        lines[label] = line
    return pd.DataFrame(lines).T


def _machine(result: Result) -> str:
    where = result.record.environment
    return f"{where.get('processor')}, {where.get('device')}"


@dataclass(frozen=True)
class Claim:
    """A number that a claim is about, and the side of its reference where it holds."""

    #: A probe of the record, or a function of a result (None where it has none).
    measure: str | Callable[[Result], Score | None]
    #: Whether the claim holds above the reference (True) or below it.
    more: bool = True
    #: Whether the reference is the same number of the method's own baseline. If not, it
    #: is the reference of the probe: chance, no change or a blind map.
    beside: bool = False


def rank1_kept(result: Result) -> Score:
    """Return the share of rank-1 that a bar over 30 % of every frame leaves.

    The undisturbed rank-1 is taken as known.
    """
    change = result.probe("occluded")
    rank1 = result.record.scores["ir2vis"]["rank1"]
    changes = (change.value, change.low, change.high)
    shares = [1 + x / rank1 if rank1 else np.nan for x in changes]
    return Score(*shares, 1.0, change.count)


def excess_over_reference(
    ours: Sequence[Score], theirs: Sequence[Score] = (), seed: int = 0, n: int = 2000
) -> Score:
    """Return the mean of a probe over runs minus its reference, or minus other runs.

    A record holds no more of a probe than its value and interval. So each resample
    draws runs of either side and one normal error of the size of their intervals, the
    same for all runs of a side, which are of the same people. Both sides are of the
    same people too: taken as independent, the interval of a difference is rather too
    wide.

    Args:
        ours: the probe of each run.
        theirs: the probe of other runs. Without them the reference of the probe counts.
        seed: of the resampling.
        n: resamples.
    """
    rng = np.random.default_rng(seed)
    values = [s.value if theirs else s.value - s.reference for s in ours]
    middle = np.mean(values)
    samples = _resample(values, ours, rng, n)
    if theirs:
        others = [s.value for s in theirs]
        middle = middle - np.mean(others)
        samples = samples - _resample(others, theirs, rng, n)
    low, high = np.percentile(samples, (2.5, 97.5))
    return Score(float(middle), float(low), float(high), 0.0, ours[0].count)


def _resample(
    values: Sequence[float], scores: Sequence[Score], rng: np.random.Generator, n: int
) -> np.ndarray:
    """Return n means of resampled runs, each with one normal error.

    Args:
        values: of the runs.
        scores: of the runs, for the size of their intervals.
        rng: source of the resamples.
        n: resamples.
    """
    drawn = probes.draw_runs(rng, len(scores), n)
    errors = np.array([(s.high - s.low) / 3.92 for s in scores])
    means = np.asarray(values)[drawn].mean(1)
    return means + rng.standard_normal(n) * errors[drawn].mean(1)


def claims(
    rows: Rows, own: Rows, claims_by_text: Mapping[str, Claim]
) -> dict[str, dict[str, tuple[str, Score | None]]]:
    """Judge claims for every row.

    Args:
        rows: label -> results.
        own: label -> results of its own baseline.
        claims_by_text: text -> claim.

    Returns:
        Claim -> row -> the word of `comparison.verdict`, and the number minus its
        reference. They are "" and None where a row has no such number or no baseline.
    """
    table = {}
    for text, claim in claims_by_text.items():
        table[text] = {
            label: _judge(runs, own.get(label, ()), claim)
            for label, runs in rows.items()
        }
    return table


def _judge(
    runs: Sequence[Result], base: Sequence[Result], claim: Claim
) -> tuple[str, Score | None]:
    """Return verdict and number of a claim for one row."""
    ours = _measured(runs, claim)
    theirs = _measured(base, claim) if claim.beside else []
    if not ours or (claim.beside and not theirs):
        return "", None
    score = excess_over_reference(ours, theirs)
    return comparison.verdict(score, claim.more), score


def _measured(runs: Sequence[Result], claim: Claim) -> list[Score]:
    """Return the number of a claim for each run that has it."""
    scores = [_measure(result, claim.measure) for result in runs]
    return [s for s in scores if s is not None and np.isfinite(s.value)]


def _measure(
    result: Result, measure: str | Callable[[Result], Score | None]
) -> Score | None:
    if callable(measure):
        return measure(result)
    return result.probe(measure) if measure in result.record.probes else None


def draw_claims(
    table: Mapping[str, Mapping[str, tuple[str, Score | None]]], caption: str = ""
) -> Figure:
    """Draw `claims` as a matrix.

    Its caption begins with what was seen, of which methods, and the opposite likewise.
    """
    findings = []
    for wanted in ("seen", "the opposite"):
        labels = {}
        for text, row in table.items():
            labels[text] = [label for label, (word, _) in row.items() if word == wanted]
        findings.append(_finding(labels, wanted.capitalize(), " of "))
    caption = " ".join((*findings, caption)).strip()
    cells = {}
    for text, row in table.items():
        cells[text] = {
            label: (word, _two_lines(score, 2) if score else "–")
            for label, (word, score) in row.items()
        }
    return matrix.draw(cells, caption=caption, corner="claim")


def cams_of_methods(results: Mapping[str, Result], scene: Scene) -> Figure:
    """Draw the heat maps of several methods for the same frame, a column for each.

    It is the middle frame of the first clip of either modality that the records keep.

    Raises:
        ValueError: the records keep maps of different clips.
    """
    runs = list(results.values())
    data = runs[0].config.data
    middle = data.frames // 2
    frames, maps, titles, masks = [], [], [], []
    for modality, side in scene.by_modality().items():
        clip = side[_common_row(runs, modality)]
        number = evaluated_frames(clip, data)[middle]
        picture = scene.large.images(clip, np.array([number]))
        of_runs = [r.arrays[f"cam/{modality}"][0][[middle]] for r in runs]
        frames.append(np.repeat(picture, len(runs), axis=0))
        if scene.truth is not None:
            mask = scene.truth.masks(clip, np.array([number]))
            masks.append(np.repeat(mask, len(runs), axis=0))
        maps.append(np.concatenate([figures.enlarged(values) for values in of_runs]))
        titles.append(f"{modality}\nid {clip.identity}")
    shares = [f"{label} {_body_share(r)}" for label, r in results.items()]
    caption = (
        f"Share of map energy on the person, vis / ir: {', '.join(shares)}. "
        f"One frame of each modality, {scene.label} data; each map on its own scale."
    )
    return cam.plot(frames, maps, titles, masks or None, caption, heads=list(results))


def _body_share(result: Result) -> str:
    """Return how much of the energy of maps lies on the person, in both modalities."""
    shares = []
    for modality in MODALITIES:
        name = f"body share {modality}"
        known = name in result.record.probes
        shares.append(f"{result.probe(name).value:.2f}" if known else "–")
    return " / ".join(shares)


def _common_row(runs: Sequence[Result], modality: str) -> int:
    """Return the row of the first clip of a modality that all records keep maps of."""
    rows = {int(r.arrays[f"cam/{modality}_rows"][0]) for r in runs}
    if len(rows) > 1:
        known = ", ".join(map(str, sorted(rows)))
        raise ValueError(
            f"the records keep maps of different {modality} clips: {known}"
        )
    return rows.pop()
