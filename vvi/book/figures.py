"""From results to the figures and tables that every method chapter shows, so that each chapter asks the same questions in one line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vvi import experiment
from vvi.config import RunConfig
from vvi.data import synthetic
from vvi.data.loader import Frames, searched
from vvi.evaluation import evaluate
from vvi.evaluation.probes import Score, modality_gap
from vvi.experiment import Result
from vvi.plots import cam, curves, ranked, style, tsne, weights
from vvi.types import MODALITIES, Dataset, Direction, Modality, Tracklet

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vvi.methods.base import Method

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

    def sides(
        self, direction: Direction
    ) -> tuple[tuple[Tracklet, ...], tuple[Tracklet, ...]]:
        return self.dataset.query(direction), self.dataset.gallery(direction)


def scene(settings: RunConfig, data: str | Path | None = None) -> Scene:
    """Open the data of a config, or the folder `data` in its place."""
    settings = experiment.located(settings, data)
    found = experiment.dataset(settings.data, data, seed=settings.seed)
    reader = experiment.frames(settings.data, found)
    return Scene(settings, found, reader, Frames(*SIZE))


def save_figure(
    fig: Figure, name: str, results: Result | Sequence[Result], alt: str
) -> Figure:
    """Save a figure under figures/<name> with the runs behind it (none behind a drawing of ideas), and return it for the page. alt: what a reader who cannot see it needs."""
    results = [results] if isinstance(results, Result) else results
    style.save(
        fig,
        name,
        run=[r.run_id for r in results],
        alt=alt,
        data=results[0].data_label if results else "none",
    )
    return fig


def method_maps(
    result: Result,
    view: Scene,
    name: str,
    draw: Callable[..., Figure],
    caption: str = "",
) -> Figure:
    """What a method shows of itself, (T, ...) for each clip that its record keeps, drawn with their frames: `draw(frames, values, titles, caption=...)`."""
    frames, values, titles = [], [], []
    for modality, side in zip(MODALITIES, reversed(view.sides("ir2vis")), strict=True):
        for row, value in zip(
            _stored(result, f"inside/{modality}_rows"),
            _stored(result, f"inside/{modality}/{name}"),
            strict=True,
        ):
            frames.append(
                view.large.images(side[row], searched(side[row], result.config.data))
            )
            values.append(value.astype(np.float64))
            titles.append(f"{modality}\nid {side[row].identity}")
    return draw(
        frames,
        values,
        titles,
        caption=caption or f"{view.label} data, run {result.run_id}",
    )


def overlaid(result: Result, view: Scene, name: str) -> Figure:
    """Maps that a method shows of itself, (T, h, w) or one value to a stripe (T, K), over the frames of the clips that its record keeps; each clip on its own scale."""

    def draw(
        frames: Sequence[np.ndarray],
        values: Sequence[np.ndarray],
        titles: Sequence[str],
        caption: str,
    ) -> Figure:
        maps = [v if v.ndim == 3 else v[..., None] for v in values]
        return cam.plot(
            frames,
            [(m - m.min()) / (m.max() - m.min() or 1) for m in maps],
            titles,
            caption=caption,
        )

    return inside(result, view, name, draw)


def sweeps(
    rows: Mapping[str, Sequence[Result]],
    names: Mapping[str, str],
    metrics: Sequence[str] = ("rank1", "mAP"),
) -> Figure:
    """Metrics (ir2vis, mean over runs) against each setting. rows: labelled "name=value"; names: name -> what the figure calls it."""
    first, drawn = next(iter(rows.values())), {}
    for name, title in names.items():
        found = {
            float(label.split("=")[1]): [r.row("ir2vis") for r in runs]
            for label, runs in rows.items()
            if label.split("=")[0] == name
        }
        drawn[title] = (
            list(found),
            {
                m: [float(np.mean([r[m] for r in runs])) for runs in found.values()]
                for m in metrics
            },
        )
    seeds = f"Seed{'s' if len(first) > 1 else ''} {', '.join(str(r.config.seed) for r in first)}"
    return curves.sweeps(drawn, caption=f"{seeds}, ir2vis, {first[0].data_label} data.")


def lengths(
    rows: Mapping[str, Sequence[Result]],
    printed: pd.DataFrame,
    metrics: Sequence[str] = ("rank1", "mAP"),
) -> Figure:
    """Metrics (ir2vis) against the number of frames in a clip. rows, and those that a paper prints: labelled "name n=frames"."""
    first, counts = (
        next(iter(rows.values())),
        [int(label.split("=")[1]) for label in rows],
    )
    values = {
        m: np.array([[r.row("ir2vis")[m] for r in runs] for runs in rows.values()])
        for m in metrics
    }
    known = {
        m: {
            int(label.split("=")[1]): value
            for label, value in printed[m].dropna().items()
        }
        for m in metrics
        if m in printed
    }
    note = (
        f"mean and range of {len(first)} runs"
        if len(first) > 1
        else f"seed {first[0].config.seed}"
    )
    return curves.frames(
        counts,
        values,
        known,
        caption=f"ir2vis, {note}; the paper's points are of real data.",
        ours=f"ours, {first[0].data_label}",
    )


def frame_weights(result: Result, view: Scene) -> Figure:
    """Frame weights of the clips that a record keeps, under their frames, noisy ones marked; the caption says how well low weights find noisy frames in all clips."""
    frames, values, noisy, titles, aucs = [], [], [], [], []
    for modality, side in zip(MODALITIES, reversed(view.sides("ir2vis")), strict=True):
        score = result.record.probes.get(f"noisy frames {modality}")
        aucs += (
            [
                f"{modality} {score['value']:.2f} ({score['low']:.2f} to {score['high']:.2f})"
            ]
            if score
            else []
        )
        for row, weight in zip(
            _stored(result, f"inside/{modality}_rows"),
            _stored(result, f"inside/{modality}/frame weight"),
            strict=True,
        ):
            which = searched(side[row], result.config.data)
            frames.append(view.large.images(side[row], which))
            values.append(weight.astype(np.float64))
            titles.append(f"{modality}\nid {side[row].identity}")
            noisy.append(
                synthetic.read_faults(view.dataset.root, side[row])[which] != "none"
                if view.known
                else np.zeros(len(which), bool)
            )
    caption = (
        "\n".join(
            [
                "AUC of a low weight against a noisy frame",
                f"of the same clip, chance 0.50 ({view.label} data):",
                *aucs,
            ]
        )
        if aucs
        else ""
    )
    return weights.strips(frames, np.array(values), np.array(noisy), titles, caption)


def loss_curves(results: Sequence[Result], smooth: int = 20) -> Figure:
    """Loss terms of the first of some runs, step by step."""
    first = results[0]
    return curves.losses(
        _terms(first.history),
        smooth=smooth,
        unit="step",
        caption=f"Run {first.run_id}, seed {first.config.seed} ({first.data_label} data); running mean of {smooth} steps.",
    )


def _terms(history: Mapping[str, Sequence[float]]) -> dict[str, Sequence[float]]:
    """Loss terms of a run: one line for a term that changes its phase on the way, with the phase in its name only where two are active at once."""
    found: dict[str, np.ndarray] = {}
    for name, values in history.items():
        phase, slash, term = name.partition("/")
        values = np.asarray(values, dtype=float)
        if not slash or phase == "watch":
            continue
        if term not in found:
            found[term] = values
        elif (np.isfinite(found[term]) & np.isfinite(values)).any():
            found[name] = values
        else:
            found[term] = np.where(np.isfinite(values), values, found[term])
    return found


def cmc(results: Sequence[Result]) -> Figure:
    """CMC of both directions, mean and range over runs."""
    values = {
        direction: np.stack([r.metrics(direction).cmc for r in results])
        for direction in results[0].record.scores
    }
    return curves.cmc(
        values,
        caption=f"Mean and range over {len(results)} seeds ({results[0].data_label} data).",
    )


def scores(results: Sequence[Result]) -> pd.DataFrame:
    """Mean and spread over runs of the numbers of both directions, in per cent."""
    rows = {}
    for direction in results[0].record.scores:
        table = pd.DataFrame([r.row(direction) for r in results])
        rows[direction] = {
            name: f"{table[name].mean():.1f} ± {table[name].std(ddof=1):.1f}"
            if len(results) > 1
            else f"{table[name].mean():.1f}"
            for name in table
        }
    return pd.DataFrame(rows).T.rename_axis(
        f"{len(results)} seeds, {results[0].data_label}"
    )


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


def tsne_before_after(result: Result, view: Scene) -> tuple[Figure, dict[str, Score]]:
    """t-SNE of the identities that a record keeps, before training and after, from the same starting places; and the modality gap of both, on the same clips."""
    query, gallery = view.sides("ir2vis")
    shown = [(query, "query"), (gallery, "gallery")]
    rows = [
        [side[i] for i in _stored(result, f"shown/{name}_rows")] for side, name in shown
    ]
    tracklets = [t for side in rows for t in side]
    after = np.concatenate(
        [_stored(result, f"shown/{name}_feat").astype(np.float32) for _, name in shown]
    )
    untrained = experiment.build(result.config, len(view.dataset.labels))
    before = evaluate.embed(
        untrained,
        tracklets,
        view.reader,
        result.config.data.frames,
        stride=result.config.data.stride,
    )
    ids, modality = (
        np.array([t.identity for t in tracklets]),
        np.array([t.modality for t in tracklets]),
    )
    gap = {}
    for name, feat in (("before", before), ("after", after)):
        vis, ir = (feat[modality == m] for m in ("vis", "ir"))
        gap[name] = modality_gap(
            vis, ir, ids[modality == "vis"], ids[modality == "ir"]
        ).distance
    caption = f"Gap (cross-modal over within-modal distance of one person): {gap['before'].value:.2f} before, {gap['after'].value:.2f} after ({view.label} data)."
    return tsne.pair(
        *tsne.embed_pair(before, after),
        ids,
        modality,
        ("untrained", "trained"),
        caption=caption,
    ), gap


def pixel_gap(
    view: Scene,
    changes: Mapping[str, Callable[[Tensor], Tensor]],
    size: tuple[int, int] = (32, 16),
) -> pd.DataFrame:
    """Modality gap of raw pixels, of one small frame of every test clip: visible ones after each change, uint8 (N, 3, h, w) -> the same shape, against infrared ones as they are.

    Beside it how far the three channels of a pixel are spread, in grey levels.
    """
    import torch

    small = Frames(*size)
    ir, vis = (
        torch.stack([small.read(t, np.array([len(t) // 2]))[0] for t in side])
        for side in view.sides("ir2vis")
    )
    ir_ids, vis_ids = (
        np.array([t.identity for t in side]) for side in view.sides("ir2vis")
    )
    found = {}
    for name, change in changes.items():
        changed = change(vis)
        gap = modality_gap(
            *(x.flatten(1).double().numpy() for x in (changed, ir)), vis_ids, ir_ids
        )
        found[name] = {
            f"gap {kind}": f"{s.value:.2f} ({s.low:.2f} to {s.high:.2f})"
            for kind, s in (("distance", gap.distance), ("probe", gap.probe))
        }
        found[name]["spread of the channels"] = (
            f"{changed.double().std(1, correction=0).mean():.1f}"
        )
    return pd.DataFrame(found).T.rename_axis(
        f"pixels against those of infrared (95 %), {view.label}"
    )


def first_clips(
    result: Result, view: Scene, people: int = 8
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Identities (P,) of some test people and embeddings of the first visible and the first infrared clip of each that a record keeps, (P, D) twice."""
    found = []
    for name, side in zip(
        ("gallery", "query"), reversed(view.sides("ir2vis")), strict=True
    ):
        ids = np.array(
            [side[i].identity for i in _stored(result, f"shown/{name}_rows")]
        )
        found.append((ids, _stored(result, f"shown/{name}_feat").astype(np.float32)))
    chosen = np.intersect1d(*(ids for ids, _ in found))[:people]
    return chosen, *(
        feat[[np.flatnonzero(ids == p)[0] for p in chosen]] for ids, feat in found
    )


def flops(method: Method, clips: Tensor, modality: Modality = "ir") -> int:
    """Operations of a search embedding of clips (B, T, 3, H, W), a multiply-add counted as two; exact for what torch counts (convolutions and products), also on `meta`."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        method.embed(clips, modality)
    return counter.get_total_flops()


def operations(module: nn.Module, *inputs: object) -> dict[str, int]:
    """Parameters of a module and multiply-adds of one call on the `meta` device, where torch counts all: of weights, and in all (attention multiplies what it is given, too)."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        module(*inputs)
    counts = {
        str(name): count // 2
        for name, count in counter.get_flop_counts()["Global"].items()
    }
    total, products = (
        sum(counts.values()),
        sum(
            count
            for name, count in counts.items()
            if "bmm" in name or "dot_product" in name
        ),
    )
    return {
        "parameters": sum(p.numel() for p in module.parameters()),
        "of weights": total - products,
        "in all": total,
    }


def cams(result: Result, view: Scene) -> Figure:
    """Stored CAM maps over the frames that they explain, the known person outlined, the share of energy on the person as the caption."""
    query, gallery = view.sides("ir2vis")
    frames, maps, titles, masks, shares = [], [], [], [], []
    for modality, side in (("vis", gallery), ("ir", query)):
        if f"body share {modality}" in result.record.probes:
            share = result.probe(f"body share {modality}")
            shares.append(
                f"{modality} {share.value:.2f} ({share.low:.2f} to {share.high:.2f}), where the person covers {share.reference:.2f}"
            )
        else:
            shares.append(f"{modality} none, no map has any energy")
        for row, values in zip(
            _stored(result, f"cam/{modality}_rows"),
            _stored(result, f"cam/{modality}"),
            strict=True,
        ):
            t = side[row]
            which = searched(t, result.config.data)
            frames.append(view.large.images(t, which))
            maps.append(enlarged(values))
            titles.append(f"{modality}\nid {t.identity}")
            masks.append(synthetic.read_masks(view.dataset.root, t)[which])
    return cam.plot(
        frames,
        maps,
        titles,
        masks,
        caption="\n".join(
            [f"Share of map energy on the person ({view.label} data):", *shares]
        ),
    )


def ranked_lists(result: Result, view: Scene, count: int = 3) -> Figure:
    """Ranked lists of both directions for the middle query of each of `count` parts of the order from best found to worst; a look-alike of the query is marked."""
    panels = [
        listed(
            direction,
            result,
            direction,
            ranked.choose(result.metrics(direction).first_hit, count),
            view,
        )
        for direction in result.record.scores
    ]
    return ranked.draw(
        panels,
        caption=f"The middle query of each of {count} equal parts of the order from best found to worst ({view.label} data, run {result.run_id}).",
    )


def ranked_lists_of_methods(
    results: Mapping[str, Result],
    view: Scene,
    direction: Direction = "ir2vis",
    count: int = 2,
) -> Figure:
    """Ranked lists of several methods for the same queries, chosen as in `lists` by the first of them."""
    rows = ranked.choose(
        next(iter(results.values())).metrics(direction).first_hit, count
    )
    panels = [
        listed(f"{name}, {direction}", result, direction, rows, view, (96, 48))
        for name, result in results.items()
    ]
    return ranked.draw(
        panels,
        caption=f"Same queries for all: the middle of {f'each of {count} equal parts of ' if count > 1 else ''}the first model's order ({view.label} data).",
    )


def ranked_panel(
    title: str,
    result: Result,
    direction: Direction,
    rows: np.ndarray,
    view: Scene,
    size: tuple[int, int] = SIZE,
) -> ranked.Panel:
    """Ranked lists of some queries, by their rows, ready to be drawn."""
    groups = (
        synthetic.read_factors(view.dataset.root).look_alike_group.to_dict()
        if view.known
        else None
    )
    query, gallery = view.sides(direction)
    top, hits = (
        _stored(result, f"{direction}/top")[rows],
        result.metrics(direction).first_hit,
    )
    marks = ranked.compose(
        top,
        np.array([query[r].identity for r in rows]),
        np.array([t.identity for t in gallery]),
        groups,
    )
    items = [
        [ranked.load([gallery[i].paths], *size)[0] if i >= 0 else None for i in line]
        for line in top
    ]
    notes = [f"id {query[r].identity}\nfirst hit\nat rank {hits[r]}" for r in rows]
    return ranked.Panel(
        title, ranked.load([query[r].paths for r in rows], *size), items, marks, notes
    )


def _stored(result: Result, name: str) -> np.ndarray:
    if name not in result.arrays:
        kept = (
            "records keep what pictures need of seed 0 alone: train it again, or begin `seeds` with 0"
            if result.stored and result.config.seed
            else f"{result.config.method} shows no such thing of itself"
        )
        raise ValueError(
            f"run {result.run_id} (seed {result.config.seed}) holds no {name!r}: {kept}"
        )
    return result.arrays[name]


def enlarged(maps: np.ndarray) -> np.ndarray:
    """Maps (T, h, w) of 0..255 at the size of figures, (T, H, W) of 0..1."""
    import cv2

    return np.stack(
        [
            cv2.resize(
                m.astype(np.float32) / 255, SIZE[::-1], interpolation=cv2.INTER_LINEAR
            )
            for m in maps
        ]
    )
