"""From results to the figures and tables that every method chapter shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vvi import experiment
from vvi.book import formats
from vvi.book.cost import flops, operations
from vvi.book.scene import SIZE, Scene, identities, scene
from vvi.data.loader import Frames, evaluated_frames
from vvi.evaluation import evaluate
from vvi.evaluation.probes import Score, modality_gap
from vvi.experiment import Result
from vvi.plots import cam, curves, ranked, style, tables, tsne, weights
from vvi.types import MODALITIES, Direction, Tracklet

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SIZE", "Scene", "flops", "operations", "scene"]  # from modules of their own

Rows = Mapping[str, Sequence[Result]]
#: Steps at the end of training whose mean a caption says.
LAST_STEPS = 50


def save_figure(
    fig: Figure, name: str, results: Result | Sequence[Result] = (), alt: str = ""
) -> Figure:
    """Save a figure with the runs behind it, and return it for the page.

    Args:
        fig: of `vvi.plots`, with its caption.
        name: "<chapter>/<figure>".
        results: whose numbers it shows. A drawing of ideas has none.
        alt: what a reader who cannot see it needs.
    """
    results = [results] if isinstance(results, Result) else list(results)
    data = results[0].data_label if results else "none"
    style.save(fig, name, run=[r.run_id for r in results], alt=alt, data=data)
    return fig


def _clips(
    result: Result, scene: Scene, key: str
) -> Iterator[tuple[Tracklet, np.ndarray, str]]:
    """Yield the clips that a record keeps something of, visible ones first.

    Args:
        result: with arrays.
        scene: its data.
        key: of the rows, such as "cam/{modality}_rows" with the modality left open.

    Yields:
        Tracklet, the frames of it that are searched, and its title.
    """
    for modality, side in scene.by_modality().items():
        for row in _stored(result, key.format(modality=modality)):
            tracklet = side[row]
            title = f"{modality}\nid {tracklet.identity}"
            yield tracklet, evaluated_frames(tracklet, result.config.data), title


def _stored_both(result: Result, key: str) -> list[np.ndarray]:
    """Return the arrays of a key for both modalities, visible ones first."""
    vis = _stored(result, key.format(modality="vis"))
    return [*vis, *_stored(result, key.format(modality="ir"))]


def _stored(result: Result, name: str) -> np.ndarray:
    if name in result.arrays:
        return result.arrays[name]
    if result.stored and result.config.seed:
        reason = (
            "records keep what pictures need of seed 0 alone: train it again, "
            "or begin `seeds` with 0"
        )
    else:
        reason = f"{result.config.method} shows no such thing of itself"
    run = f"run {result.run_id} (seed {result.config.seed})"
    raise ValueError(f"{run} holds no {name!r}: {reason}")


def method_maps(
    result: Result,
    scene: Scene,
    name: str,
    draw: Callable[..., Figure],
    caption: str = "",
) -> Figure:
    """Draw what a method shows of itself, with the frames of the clips.

    Args:
        result: whose record keeps (T, ...) for some clips.
        scene: its data.
        name: of what it shows, such as "gate".
        draw: called as `draw(frames, values, titles, caption=...)`.
        caption: words under the figure.
    """
    frames, titles = [], []
    for tracklet, which, title in _clips(result, scene, "inside/{modality}_rows"):
        frames.append(scene.large.images(tracklet, which))
        titles.append(title)
    stored = _stored_both(result, "inside/{modality}/" + name)
    values = [value.astype(np.float64) for value in stored]
    caption = caption or f"{scene.label} data, run {result.run_id}"
    return draw(frames, values, titles, caption=caption)


def overlaid(result: Result, scene: Scene, name: str) -> Figure:
    """Draw maps of a method over frames, each clip on its own scale.

    Args:
        result: whose record keeps maps (T, h, w), or one value a stripe (T, K).
        scene: its data.
        name: of the maps.
    """

    def draw(frames, values, titles, caption: str) -> Figure:
        maps = [_scaled(v if v.ndim == 3 else v[..., None]) for v in values]
        return cam.plot(frames, maps, titles, caption=caption)

    return method_maps(result, scene, name, draw)


def _scaled(values: np.ndarray) -> np.ndarray:
    """Return values from 0 to 1."""
    low, high = values.min(), values.max()
    return (values - low) / (high - low or 1)


def sweeps(
    rows: Rows,
    names: Mapping[str, str],
    metrics: Sequence[str] = ("rank1", "mAP"),
) -> Figure:
    """Draw metrics (ir2vis, mean over runs) against each setting.

    Args:
        rows: labelled "name=value".
        names: name -> what the figure calls it.
        metrics: of the record.
    """
    panels, best = {}, []
    for name, title in names.items():
        of_name = {}
        for label, runs in rows.items():
            setting, _, value = label.partition("=")
            if setting == name:
                of_name[float(value)] = runs
        lines = {}
        for metric in metrics:
            lines[metric] = [_mean(runs, metric) for runs in of_name.values()]
        panels[title] = (list(of_name), lines)
        best.append(f"{title} {_best(list(of_name), lines[metrics[0]])}")
    first = next(iter(rows.values()))
    seeds = ", ".join(str(r.config.seed) for r in first)
    word = "Seeds" if len(first) > 1 else "Seed"
    finding = f"Highest {tables.NAMES[metrics[0]]}: {'; '.join(best)}."
    caption = f"{finding} {word} {seeds}, ir2vis, {first[0].data_label} data."
    return curves.sweeps(panels, caption=caption)


def _best(settings: Sequence[float], values: Sequence[float]) -> str:
    """Say which setting has the highest value, in per cent."""
    best = int(np.argmax(values))
    return f"{settings[best]:g} ({values[best]:.1f} %)"


def _mean(runs: Sequence[Result], metric: str) -> float:
    """Return the mean of a metric over runs, in per cent."""
    return float(np.mean(_per_seed(runs, metric)))


def _per_seed(runs: Sequence[Result], metric: str) -> list[float]:
    """Return a metric (ir2vis) of each run, in per cent."""
    return [r.row("ir2vis")[metric] for r in runs]


def lengths(
    rows: Rows, printed: pd.DataFrame, metrics: Sequence[str] = ("rank1", "mAP")
) -> Figure:
    """Draw metrics (ir2vis) against the number of frames in a clip.

    Args:
        rows: labelled "name n=frames".
        printed: the same of a paper.
        metrics: of the record.
    """
    first = next(iter(rows.values()))
    values, published = {}, {}
    for metric in metrics:
        values[metric] = np.array([_per_seed(runs, metric) for runs in rows.values()])
        if metric in printed:
            points = printed[metric].dropna()
            published[metric] = {_frames_of(k): v for k, v in points.items()}
    seeds = f"seed {first[0].config.seed}"
    if len(first) > 1:
        seeds = f"mean and range of {len(first)} runs"
    counts = [_frames_of(label) for label in rows]
    means = [float(np.mean(runs)) for runs in values[metrics[0]]]
    finding = f"Highest {tables.NAMES[metrics[0]]} with {_best(counts, means)} frames"
    caption = f"{finding}; ir2vis, {seeds}; the paper's points are of real data."
    return curves.frames(
        counts,
        values,
        published,
        caption=caption,
        ours=f"ours, {first[0].data_label}",
    )


def _frames_of(label: str) -> int:
    """Read the number of frames from a label "name n=frames"."""
    return int(label.split("=")[1])


def frame_weights(result: Result, scene: Scene) -> Figure:
    """Draw the frame weights of some clips under their frames, noisy ones marked.

    The caption says how well low weights tell noisy frames in all clips.
    """
    frames, noisy, titles = [], [], []
    for tracklet, which, title in _clips(result, scene, "inside/{modality}_rows"):
        frames.append(scene.large.images(tracklet, which))
        noisy.append(_noisy(scene, tracklet, which))
        titles.append(title)
    values = np.array(_stored_both(result, "inside/{modality}/frame weight"))
    bars = f"Bars begin at the lowest weight of these clips, {values.min():.2f}."
    caption = f"{_noise_caption(result, scene)} {bars}".lstrip()
    return weights.strips(
        frames, values.astype(np.float64), np.array(noisy), titles, caption
    )


def _noisy(scene: Scene, tracklet: Tracklet, which: np.ndarray) -> np.ndarray:
    """Return which frames are known to be noisy."""
    if scene.truth is None:
        return np.zeros(len(which), bool)
    return scene.truth.noisy(tracklet, which)


def _noise_caption(result: Result, scene: Scene) -> str:
    """Say how well low weights tell noisy frames, or "" where that is unknown."""
    names = {m: f"noisy frames {m}" for m in ("vis", "ir")}
    scores = [
        f"{modality} {formats.value(result.probe(name))}"
        for modality, name in names.items()
        if name in result.record.probes
    ]
    if not scores:
        return ""
    return (
        "AUC of a low weight against a noisy frame of the same clip, chance 0.50 "
        f"({scene.label} data, seed {result.config.seed}): {'; '.join(scores)}."
    )


def part_attention(rows: Rows, scene: Scene, count: int = 64) -> pd.DataFrame:
    """Show how the stripes of DI2L share their attention, row by row.

    Args:
        rows: label -> results. Rows without this attention are left out.
        scene: the data of the rows.
        count: search clips that the untrained network of the first row reads.

    Returns:
        What each stripe gets, from the head down, and the largest weight of a stripe,
        means over the clips that the first record of a row keeps.
    """
    names = [f"inside/{modality}/part attention" for modality in MODALITIES]
    attention = {}
    for label, (first, *_) in rows.items():
        if not all(name in first.arrays for name in names):
            continue
        if not attention:
            attention["untrained"] = _untrained_attention(first, scene, count)
        stored = np.concatenate([first.arrays[name] for name in names])
        attention[label] = stored.astype(float)
    lines = {}
    for label, alpha in attention.items():  # (clips, p, p), rows sum to one
        shares = [f"{share:.2f}" for share in alpha.mean((0, 1))]
        lines[label] = {
            "each stripe gets": " ".join(shares),
            "largest weight": f"{alpha.max(-1).mean():.2f}",
        }
    return pd.DataFrame(lines).T.rename_axis(f"{scene.label} data")


def _untrained_attention(result: Result, scene: Scene, count: int) -> np.ndarray:
    """Return the part attention of the same network before its training."""
    method = experiment.build(result.config, len(scene.dataset.labels))
    clips, data = scene.by_modality()["ir"][:count], result.config.data
    name = "part attention"
    shown = evaluate.inspect(
        method, clips, scene.reader, data.frames, name, stride=data.stride
    )
    return shown[name]


def over_phases(results: Sequence[Result], term: str) -> np.ndarray:
    """Join one term of the history over all phases of training.

    Args:
        results: runs of the same number of steps.
        term: its name without the phase, such as "id".

    Returns:
        One line per run, (runs, steps), with NaN where the term was off.

    Raises:
        ValueError: a run has no such term.
    """
    lines = []
    for result in results:
        history = result.history.items()
        parts = [v for name, v in history if name.partition("/")[2] == term]
        if not parts:
            raise ValueError(f"run {result.run_id} has no term {term!r}")
        lines.append(np.fmax.reduce(np.array(parts, dtype=float)))
    return np.stack(lines)


def over_steps(
    rows: Rows,
    terms: Mapping[str, str],
    scene: Scene,
    ylabel: str = "loss",
    smooth: int = 20,
) -> Figure:
    """Draw terms of training over the steps, one panel a term, one line a row.

    Args:
        rows: label -> runs, a row without runs is left out.
        terms: title of the panel -> name of the term without its phase.
        scene: the data of the rows.
        ylabel: what the terms are.
        smooth: steps of the running mean.
    """
    with_runs = {label: runs for label, runs in rows.items() if runs}
    panels = {}
    for title, term in terms.items():
        panels[title] = {k: over_phases(runs, term) for k, runs in with_runs.items()}
    note = f"Running mean of {smooth} steps, mean and range over seeds"
    finding = " ".join(f"{title}: {_ends(panels[title])}." for title in terms)
    caption = (
        f"Mean of the last {LAST_STEPS} steps. {finding} {note}; {scene.label} data."
    )
    return curves.history_panels(panels, smooth, ylabel=ylabel, caption=caption)


def loss_curves(results: Sequence[Result], smooth: int = 20) -> Figure:
    """Draw the loss terms of the first of some runs, step by step."""
    first = results[0]
    history = _terms(first.history)
    run = f"Run {first.run_id}, seed {first.config.seed} ({first.data_label} data)"
    finding = f"Mean of the last {LAST_STEPS} steps: {_ends(history)}."
    caption = f"{finding} {run}; running mean of {smooth} steps."
    return curves.losses(history, smooth=smooth, unit="step", caption=caption)


def _ends(lines: Mapping[str, np.ndarray]) -> str:
    """Say where lines (..., steps) end: the mean of their last steps that were on."""
    ends = []
    for label, values in lines.items():
        steps = np.isfinite(values).reshape(-1, values.shape[-1]).any(0)
        last = values[..., np.flatnonzero(steps)[-LAST_STEPS:]]
        ends.append(f"{label} {np.nanmean(last):.2f}" if steps.any() else f"{label} –")
    return "; ".join(ends)


def _terms(history: Mapping[str, Sequence[float]]) -> dict[str, np.ndarray]:
    """Return the loss terms of a run without their phases.

    A term that changes its phase on the way is one line. Its name has the phase only
    where two phases are active at once.
    """
    terms: dict[str, np.ndarray] = {}
    for name, raw in history.items():
        phase, slash, term = name.partition("/")
        values = np.asarray(raw, dtype=float)
        if not slash or phase == "watch":
            continue
        if term not in terms:
            terms[term] = values
        elif (np.isfinite(terms[term]) & np.isfinite(values)).any():
            terms[name] = values
        else:
            terms[term] = np.where(np.isfinite(values), values, terms[term])
    return terms


def cmc(results: Sequence[Result]) -> Figure:
    """Draw the CMC of both directions, mean and range over runs."""
    values = {}
    for direction in results[0].record.scores:
        values[direction] = np.stack([r.metrics(direction).cmc for r in results])
    data = results[0].data_label
    first = [f"{name} {100 * v[:, 0].mean():.1f} %" for name, v in values.items()]
    finding = f"A right item stands first for {' and '.join(first)} of the queries."
    seeds = f"Mean and range over {len(results)} seeds"
    caption = f"{finding} {seeds} ({data} data)."
    return curves.cmc(values, caption=caption)


def scores(results: Sequence[Result]) -> pd.DataFrame:
    """Build the scores of both directions, mean and spread over runs in per cent."""
    rows = {}
    for direction in results[0].record.scores:
        table = pd.DataFrame([r.row(direction) for r in results])
        rows[direction] = {name: _mean_and_spread(table[name]) for name in table}
    note = f"{len(results)} seeds, {results[0].data_label}"
    return pd.DataFrame(rows).T.rename_axis(note)


def _mean_and_spread(values: pd.Series) -> str:
    mean = f"{values.mean():.1f}"
    return mean if len(values) == 1 else f"{mean} ± {values.std(ddof=1):.1f}"


def probes(results: Sequence[Result]) -> pd.DataFrame:
    """Build a line for every probe of some runs.

    It holds mean and range over runs, the 95 % interval of the first run, and the value
    to compare with.
    """
    rows = {}
    for name in results[0].record.probes:
        of_runs = [r.probe(name) for r in results if name in r.record.probes]
        first = of_runs[0]
        values = [score.value for score in of_runs]
        interval = f"95 % of seed {results[0].config.seed}"
        rows[name] = {
            "mean": np.mean(values),
            "over seeds": f"{min(values):.3f} to {max(values):.3f}",
            interval: f"{first.low:.3f} to {first.high:.3f}",
            "reference": first.reference,
            "units": first.count,
        }
    return pd.DataFrame(rows).T.rename_axis(f"{results[0].data_label} data")


def tsne_before_after(result: Result, scene: Scene) -> tuple[Figure, dict[str, Score]]:
    """Draw t-SNE of some identities before and after training, from one start.

    Returns:
        The figure, and the modality gap of "before" and "after" on the same clips.

    Raises:
        ValueError: the record keeps no embeddings.
    """
    tracklets, stored = [], []
    for name, side in zip(("query", "gallery"), scene.sides("ir2vis"), strict=True):
        tracklets += [side[i] for i in _stored(result, f"shown/{name}_rows")]
        stored.append(_stored(result, f"shown/{name}_feat").astype(np.float32))
    after = np.concatenate(stored)
    before = _untrained(result, scene, tracklets)
    ids = identities(tracklets)
    modality = np.array([t.modality for t in tracklets])
    vis, ir = modality == "vis", modality == "ir"
    gaps = {}
    for name, feat in (("before", before), ("after", after)):
        gap = modality_gap(feat[vis], feat[ir], ids[vis], ids[ir])
        gaps[name] = gap.distance
    change = f"{gaps['before'].value:.2f} before, {gaps['after'].value:.2f} after"
    caption = (
        "Gap of the people drawn (distance of one person across modalities, over that "
        f"within one, seed {result.config.seed}): "
        f"{change} ({scene.label} data)."
    )
    layouts = tsne.embed_pair(before, after)
    titles = ("untrained", "trained")
    return tsne.pair(*layouts, ids, modality, titles, caption=caption), gaps


def _untrained(
    result: Result, scene: Scene, tracklets: Sequence[Tracklet]
) -> np.ndarray:
    """Return embeddings (N, D) of the same network before its training."""
    method = experiment.build(result.config, len(scene.dataset.labels))
    data = result.config.data
    return evaluate.embed(
        method, tracklets, scene.reader, data.frames, stride=data.stride
    )


def pixel_gap(
    scene: Scene,
    changes: Mapping[str, Callable[[Tensor], Tensor]],
    size: tuple[int, int] = (32, 16),
) -> pd.DataFrame:
    """Measure the modality gap of raw pixels, of one small frame of every test clip.

    Visible frames are taken after each change, infrared ones as they are. A last column
    says how far the three channels of a pixel are spread, in grey levels.

    Args:
        scene: the data.
        changes: name -> uint8 (N, 3, h, w) to the same shape.
        size: height and width of the frames.
    """
    small = Frames(*size)
    sides = scene.by_modality()
    ir_pixels = _middle_frames(small, sides["ir"]).flatten(1).double().numpy()
    vis_frames = _middle_frames(small, sides["vis"])
    ids = {modality: identities(side) for modality, side in sides.items()}
    rows = {}
    for name, change in changes.items():
        changed = change(vis_frames)
        vis_pixels = changed.flatten(1).double().numpy()
        gap = modality_gap(vis_pixels, ir_pixels, ids["vis"], ids["ir"])
        spread = changed.double().std(1, correction=0).mean()
        rows[name] = {
            "gap distance": formats.value(gap.distance),
            "gap probe": formats.value(gap.probe),
            "spread of the channels": f"{spread:.1f}",
        }
    note = f"pixels against those of infrared (95 %), {scene.label}"
    return pd.DataFrame(rows).T.rename_axis(note)


def _middle_frames(reader: Frames, tracklets: Sequence[Tracklet]) -> Tensor:
    """Return the middle frame of each tracklet, (N, 3, h, w) uint8."""
    import torch

    frames = [reader.read(t, np.array([len(t) // 2]))[0] for t in tracklets]
    return torch.stack(frames)


def first_clips(
    result: Result, scene: Scene, people: int = 8
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return embeddings of the first clip of some people in either modality.

    Args:
        result: whose record keeps embeddings.
        scene: its data.
        people: how many at most.

    Returns:
        Identities (P,), then visible and infrared embeddings, (P, D) each.

    Raises:
        ValueError: the record keeps no embeddings.
    """
    ids, feat = {}, {}
    for modality, name in (("vis", "gallery"), ("ir", "query")):
        side = scene.by_modality()[modality]
        rows = _stored(result, f"shown/{name}_rows")
        ids[modality] = np.array([side[i].identity for i in rows])
        feat[modality] = _stored(result, f"shown/{name}_feat").astype(np.float32)
    chosen = np.intersect1d(ids["vis"], ids["ir"])[:people]
    first = {}
    for modality, own in ids.items():
        rows = [np.flatnonzero(own == person)[0] for person in chosen]
        first[modality] = feat[modality][rows]
    return chosen, first["vis"], first["ir"]


def cams(result: Result, scene: Scene) -> Figure:
    """Draw stored CAM maps over their frames, the person outlined where it is known.

    The caption says the share of the energy of all maps that lies on the person.
    """
    frames, masks, titles = [], [], []
    for tracklet, which, title in _clips(result, scene, "cam/{modality}_rows"):
        frames.append(scene.large.images(tracklet, which))
        if scene.truth is not None:
            masks.append(scene.truth.masks(tracklet, which))
        titles.append(title)
    maps = [enlarged(values) for values in _stored_both(result, "cam/{modality}")]
    shares = "not known"
    if scene.known:
        shares = "; ".join(_body_share(result, modality) for modality in MODALITIES)
    caption = f"Share of map energy on the person ({scene.label} data): {shares}."
    return cam.plot(frames, maps, titles, masks or None, caption=caption)


def _body_share(result: Result, modality: str) -> str:
    """Say how much of the energy of maps lies on the person."""
    name = f"body share {modality}"
    if name not in result.record.probes:
        return f"{modality} none, no map has any energy"
    share = result.probe(name)
    covered = f"where the person covers {share.reference:.2f}"
    return f"{modality} {formats.value(share)}, {covered}"


def ranked_lists(result: Result, scene: Scene, count: int = 3) -> Figure:
    """Draw ranked lists of both directions and mark look-alikes of the query.

    The queries are the middle ones of `count` parts of the order from best found to
    worst.

    Args:
        result: whose searches are shown.
        scene: its data.
        count: how many queries of each direction.

    Raises:
        ValueError: fewer queries than `count` have a right item.
    """
    panels, medians = [], []
    for direction in result.record.scores:
        hits = result.metrics(direction).first_hit
        rows = ranked.choose(hits, count)
        panels.append(ranked_panel(direction, result, direction, rows, scene))
        medians.append(f"{direction} {np.median(hits[hits > 0]):g}")
    caption = (
        f"Median rank of the first right item: {', '.join(medians)}. "
        f"Shown: the middle query of each of {count} equal parts of the order from "
        f"best found to worst ({scene.label} data, run {result.run_id})."
    )
    return ranked.draw(panels, caption=caption)


def ranked_lists_of_methods(
    results: Mapping[str, Result],
    scene: Scene,
    direction: Direction = "ir2vis",
    count: int = 2,
) -> Figure:
    """Draw ranked lists of several methods for the same queries.

    Args:
        results: name -> result. The first chooses the queries as in `ranked_lists`.
        scene: their data.
        direction: of the search.
        count: queries.
    """
    first = next(iter(results.values()))
    rows = ranked.choose(first.metrics(direction).first_hit, count)
    panels, medians = [], []
    for name, result in results.items():
        title = f"{name}, {direction}"
        panels.append(ranked_panel(title, result, direction, rows, scene, (96, 48)))
        hits = result.metrics(direction).first_hit
        medians.append(f"{name} {np.median(hits[hits > 0]):g}")
    which = f"{count} queries, from those that the first row finds well to those it"
    which += " does not"
    if count == 1:
        which = "one query, between those that the first row finds well and badly"
    caption = (
        f"Median rank of the first right item: {', '.join(medians)}. "
        f"Shown: {which}; the same for every row ({scene.label} data)."
    )
    return ranked.draw(panels, caption=caption)


def ranked_panel(
    title: str,
    result: Result,
    direction: Direction,
    rows: np.ndarray,
    scene: Scene,
    size: tuple[int, int] = SIZE,
) -> ranked.Panel:
    """Build the ranked lists of some queries, ready to be drawn.

    Args:
        title: above the lists.
        result: whose record keeps the lists.
        direction: of the search.
        rows: of the queries.
        scene: the data.
        size: height and width of a picture.

    Raises:
        ValueError: the record keeps no lists.
    """
    query, gallery = scene.sides(direction)
    top = _stored(result, f"{direction}/top")[rows]
    hits = result.metrics(direction).first_hit
    gallery_ids = identities(gallery)
    query_ids = identities([query[r] for r in rows])
    marks = ranked.compose(top, query_ids, gallery_ids, _look_alike_groups(scene))
    items = []
    for line in top.tolist():
        items.append([_item(gallery, row, size) for row in line])
    pictures = ranked.load([query[r].paths for r in rows], *size)
    notes = [f"id {query[r].identity}\nfirst hit\nat rank {hits[r]}" for r in rows]
    return ranked.Panel(title, pictures, items, marks, notes)


def _look_alike_groups(scene: Scene) -> dict[int, int] | None:
    """Return identity -> look-alike group, None where that is not known."""
    return None if scene.truth is None else scene.truth.look_alike_groups()


def _item(
    gallery: Sequence[Tracklet], row: int, size: tuple[int, int]
) -> np.ndarray | None:
    """Return a picture of a gallery row, None past the end of a list."""
    return ranked.load([gallery[row].paths], *size)[0] if row >= 0 else None


def enlarged(maps: np.ndarray) -> np.ndarray:
    """Resize maps (T, h, w) of 0..255 to the size of figures, (T, H, W) of 0..1."""
    import cv2

    size = SIZE[::-1]
    scaled = [m.astype(np.float32) / 255 for m in maps]
    linear = {"interpolation": cv2.INTER_LINEAR}
    return np.stack([cv2.resize(m, size, **linear) for m in scaled])
