"""From results to the figures and tables that every method chapter shows, so that each chapter asks the same questions in one line each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vvi import evaluate, experiment
from vvi.config import RunConfig
from vvi.data import synthetic
from vvi.data.clips import test_frames
from vvi.data.loader import Frames
from vvi.experiment import Result
from vvi.plots import cam, curves, ranked, tsne
from vvi.probes import Score, modality_gap
from vvi.types import Dataset, Direction, Tracklet

SIZE = (128, 64)  # frames in figures


@dataclass(frozen=True)
class Scene:
    """The data that a chapter looks at: a config with its data in place, the lists, a reader of pixels at the model's size and one at the size of figures."""

    settings: RunConfig
    dataset: Dataset
    reader: Frames
    large: Frames

    @property
    def label(self) -> str:
        """ "synthetic", or the layout of the real set: what every table and figure must say."""
        return "synthetic" if self.known else self.dataset.layout

    @property
    def known(self) -> bool:
        """Whether the factors of the people are known, that is, whether they were drawn."""
        return self.settings.data.synthetic

    def sides(self, direction: Direction) -> tuple[tuple[Tracklet, ...], tuple[Tracklet, ...]]:
        return self.dataset.query(direction), self.dataset.gallery(direction)


def scene(settings: RunConfig, data: str | Path | None = None) -> Scene:
    """Open the data of a config, or the folder `data` in its place."""
    settings = experiment.located(settings, data)
    found = experiment.dataset(settings.data, data)
    reader = experiment.frames(settings.data, found)
    return Scene(settings, found, reader, Frames(*SIZE))


def training(results: Sequence[Result], smooth: int = 20) -> Figure:
    """Loss terms of the first of some runs, step by step."""
    first = results[0]
    history = {name: values for name, values in first.history.items() if name != "lr"}
    return curves.losses(
        history, smooth=smooth, unit="step", caption=f"Run {first.run_id}, seed {first.config.seed} ({first.data_label} data); running mean of {smooth} steps."
    )


def cmc(results: Sequence[Result]) -> Figure:
    """CMC of both directions, mean and range over runs."""
    values = {direction: np.stack([r.metrics(direction).cmc for r in results]) for direction in results[0].record.scores}
    return curves.cmc(values, caption=f"Mean and range over {len(results)} seeds ({results[0].data_label} data).")


def scores(results: Sequence[Result]) -> pd.DataFrame:
    """Mean and spread over runs of the numbers of both directions, in per cent."""
    rows = {}
    for direction in results[0].record.scores:
        table = pd.DataFrame([r.row(direction) for r in results])
        rows[direction] = {
            name: f"{table[name].mean():.1f} ± {table[name].std(ddof=1):.1f}" if len(results) > 1 else f"{table[name].mean():.1f}" for name in table
        }
    return pd.DataFrame(rows).T.rename_axis(f"{len(results)} seeds, {results[0].data_label}")


def probes(results: Sequence[Result]) -> pd.DataFrame:
    """Every probe: mean over runs, their range, the 95 % interval of the first run, and what to read it against."""
    rows = {}
    for name in results[0].record.probes:
        found = [r.probe(name) for r in results]
        values = [s.value for s in found]
        rows[name] = {
            "mean": np.mean(values),
            "over seeds": f"{min(values):.3f} to {max(values):.3f}",
            "95 % of seed 0": f"{found[0].low:.3f} to {found[0].high:.3f}",
            "reference": found[0].reference,
            "units": found[0].count,
        }
    return pd.DataFrame(rows).T.rename_axis(f"{results[0].data_label} data")


def layout(result: Result, view: Scene) -> tuple[Figure, dict[str, Score]]:
    """t-SNE of the identities that a record keeps, before training and after, from the same starting places; and the modality gap of both, on the same clips."""
    query, gallery = view.sides("ir2vis")
    shown = [(query, "query"), (gallery, "gallery")]
    rows = [[side[i] for i in result.arrays[f"shown/{name}_rows"]] for side, name in shown]
    tracklets = [t for side in rows for t in side]
    after = np.concatenate([result.arrays[f"shown/{name}_feat"].astype(np.float32) for _, name in shown])
    untrained = experiment.build(result.config, len(view.dataset.labels))
    before = evaluate.embed(untrained, tracklets, view.reader, result.config.data.frames)
    ids, modality = np.array([t.identity for t in tracklets]), np.array([t.modality for t in tracklets])
    gap = {}
    for name, feat in (("before", before), ("after", after)):
        vis, ir = (feat[modality == m] for m in ("vis", "ir"))
        gap[name] = modality_gap(vis, ir, ids[modality == "vis"], ids[modality == "ir"]).distance
    caption = (
        f"Gap (cross-modal over within-modal distance of one person): {gap['before'].value:.2f} before, {gap['after'].value:.2f} after ({view.label} data)."
    )
    return tsne.pair(*tsne.embed_pair(before, after), ids, modality, ("untrained", "trained"), caption=caption), gap


def heat(result: Result, view: Scene) -> Figure:
    """Stored CAM maps over the frames that they explain, the known person outlined, the share of energy on the person as the caption."""
    query, gallery = view.sides("ir2vis")
    frames, maps, titles, masks, shares = [], [], [], [], []
    for modality, side in (("vis", gallery), ("ir", query)):
        if f"body share {modality}" in result.record.probes:
            share = result.probe(f"body share {modality}")
            shares.append(f"{modality} {share.value:.2f} ({share.low:.2f} to {share.high:.2f}), where the person covers {share.reference:.2f}")
        else:
            shares.append(f"{modality} none, no map has any energy")
        for row, values in zip(result.arrays[f"cam/{modality}_rows"], result.arrays[f"cam/{modality}"], strict=True):
            t = side[row]
            which = test_frames(len(t), result.config.data.frames)
            frames.append(view.large.images(t, which))
            maps.append(_enlarge(values))
            titles.append(f"{modality}\nid {t.identity}")
            masks.append(synthetic.read_masks(view.dataset.root, t)[which])
    return cam.plot(frames, maps, titles, masks, caption="\n".join([f"Share of map energy on the person ({view.label} data):", *shares]))


def lists(result: Result, view: Scene, count: int = 3) -> Figure:
    """Ranked lists of both directions for queries spread evenly from the best found to the worst; a look-alike of the query is marked."""
    groups = synthetic.read_factors(view.dataset.root).look_alike_group.to_dict() if view.known else None
    panels = []
    for direction in result.record.scores:
        query, gallery = view.sides(direction)
        hits = result.metrics(direction).first_hit
        rows = ranked.choose(hits, count)
        top = result.arrays[f"{direction}/top"][rows]
        marks = ranked.compose(top, np.array([query[r].identity for r in rows]), np.array([t.identity for t in gallery]), groups)
        items = [[ranked.load([gallery[i].paths], *SIZE)[0] if i >= 0 else None for i in line] for line in top]
        notes = [f"id {query[r].identity}\nfirst hit\nat rank {hits[r]}" for r in rows]
        panels.append(ranked.Panel(direction, ranked.load([query[r].paths for r in rows], *SIZE), items, marks, notes))
    return ranked.draw(panels, caption=f"Queries at even steps from the best found to the worst, none picked by hand ({view.label} data, run {result.run_id}).")


def _enlarge(maps: np.ndarray) -> np.ndarray:
    import cv2

    return np.stack([cv2.resize(m.astype(np.float32) / 255, SIZE[::-1], interpolation=cv2.INTER_LINEAR) for m in maps])
