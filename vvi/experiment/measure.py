"""What a record says of a trained method.

Scores by direction, probes with their intervals, and the arrays that figures show.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vvi.data.loader import evaluated_frames
from vvi.data.transforms import normalise
from vvi.evaluation import evaluate, probes, protocols
from vvi.evaluation.cam import class_activation_maps
from vvi.evaluation.evaluate import Side
from vvi.experiment.datasets import Data
from vvi.methods.base import Method
from vvi.types import MODALITIES, Direction, Modality, Tracklet

#: How the names of arrays end that metrics and tests of a difference are made of.
NUMBERS = ("/ap", "/first_hit", "/trials")
SHOWN = 12  # test identities whose embeddings a record keeps, for t-SNE
MAPPED = 32  # test tracklets of each modality whose CAM is scored, at most an eighth
KEPT_MAPS = 2  # tracklets of each modality whose maps a record keeps
CAM_BATCH = 8  # clips

Arrays = dict[str, np.ndarray]
Sides = Mapping[Direction, Side]


@dataclass(frozen=True)
class Measured:
    """What is measured of one trained method."""

    #: Direction -> name -> number in 0..1.
    scores: dict[str, Any]
    #: How long each part took.
    seconds: dict[str, float]
    #: Name -> fields of a `probes.Score`.
    probes: dict[str, dict[str, float]] = field(default_factory=dict)
    #: What figures draw, by name.
    arrays: Arrays = field(default_factory=dict)


def measure_run(method: Method, data: Data, progress: bool = False) -> Measured:
    """Evaluate and probe a trained method.

    Validation people are searched to choose by: then only numbers are kept.

    Args:
        method: in place on its device.
        data: with the people who are searched.
        progress: whether to show a bar.
    """
    start = time.perf_counter()
    sides = evaluate_on(method, data, progress)
    scores, arrays = summary(sides)
    seconds = {"evaluate": _since(start)}
    if data.config.split == "val":
        return Measured(scores, seconds, arrays=numbers(arrays))
    start = time.perf_counter()
    if data.dataset.layout == "sysu-mm01":
        arrays |= _sysu_trials(method, data)
    probed, shown = probe(method, data, sides)
    seconds["probe"] = _since(start)
    return Measured(scores, seconds, probed, arrays | shown)


def evaluate_on(
    method: Method,
    data: Data,
    progress: bool = False,
    change: Callable[[Tensor], Tensor] | None = None,
) -> dict[Direction, Side]:
    """Embed the test people of opened data with a method.

    Args:
        method: in place on its device.
        data: with the people who are searched.
        progress: whether to show a bar.
        change: applied to the uint8 clips, as for `evaluate.embed`.
    """
    return evaluate.evaluate(
        method,
        data.dataset,
        data.frames,
        data.config.frames,
        progress=progress,
        change=change,
        stride=data.config.stride,
    )


def embedding(method: Method, data: Data, progress: bool = False) -> protocols.Embed:
    """Return the function that embeds tracklets of opened data: (N, D) float32.

    Args:
        method: in place on its device.
        data: where the tracklets are from.
        progress: whether it shows a bar.
    """

    def embed(tracklets: Sequence[Tracklet]) -> np.ndarray:
        return evaluate.embed(
            method,
            tracklets,
            data.frames,
            data.config.frames,
            progress=progress,
            stride=data.config.stride,
        )

    return embed


def summary(sides: Sides) -> tuple[dict[str, Any], Arrays]:
    """Summarise an evaluation as a record keeps it.

    Returns:
        Scores by direction, and arrays: AP and first hit of every query, top-10 lists,
        embeddings of the first `SHOWN` identities.
    """
    scores, arrays = {}, {}
    for direction, side in sides.items():
        metrics = side.metrics()
        values = {f"rank{k}": metrics.rank(k) for k in protocols.RANKS}
        for name in ("mAP", "mINP", "n_valid", "n_skipped"):
            values[name] = getattr(metrics, name)
        scores[direction] = values
        dtype = np.int16 if len(side.gallery) < 2**15 else np.int32
        arrays[f"{direction}/ap"] = metrics.ap.astype(np.float32)
        arrays[f"{direction}/first_hit"] = metrics.first_hit.astype(np.int32)
        arrays[f"{direction}/top"] = side.ranked().astype(dtype)
    return scores, arrays | _shown_embeddings(sides["ir2vis"])


def numbers(arrays: Mapping[str, np.ndarray]) -> Arrays:
    """Keep the arrays that metrics are made of, without those of pictures."""
    return {k: v for k, v in arrays.items() if k.endswith(NUMBERS)}


def project_to_span(*groups: np.ndarray) -> list[np.ndarray]:
    """Write vectors (N, D) in the space that they span, where D exceeds all N together.

    Every angle and distance between them stays, and a record becomes small.
    """
    vectors = np.concatenate(groups).astype(np.float64)
    if vectors.shape[1] > len(vectors):
        vectors = vectors @ np.linalg.qr(vectors.T)[0]
    return np.split(vectors, np.cumsum([len(g) for g in groups])[:-1])


def probe(
    method: Method, data: Data, sides: Sides
) -> tuple[dict[str, dict[str, float]], Arrays]:
    """Measure the numbers behind the pictures, and make the maps that are shown.

    What needs known factors is measured on drawn data only.

    Args:
        method: in place on its device.
        data: with the people who are searched.
        sides: their embeddings, from `evaluate_on`.

    Returns:
        Name -> score with its interval, and arrays by name.
    """
    side = sides["ir2vis"]
    scores = _gap(side)
    inside, arrays = method_internals(
        method, data, {"vis": side.gallery, "ir": side.query}
    )
    scores |= _robustness(method, data, side) | inside
    if data.truth:
        if data.truth.has_look_alikes(_identities(side.query)):
            scores |= _look_alikes(data, side)
        on_body, cams = _cams_on_bodies(method, data, side)
        scores |= on_body
        arrays |= cams
    return {name: asdict(score) for name, score in scores.items()}, arrays


def method_internals(
    method: Method, data: Data, sides: Mapping[Modality, Sequence[Tracklet]]
) -> tuple[dict[str, probes.Score], Arrays]:
    """Return what a method shows of its inside, and how well its weights find noise.

    Args:
        method: in place on its device.
        data: with the people who are searched.
        sides: test tracklets of each modality.

    Returns:
        AUC of the frame weights against noisy frames in all tracklets, and for
        `KEPT_MAPS` tracklets of each modality what `Method.inspect` gives.
    """
    scores, arrays = {}, {}
    for modality, tracklets in sides.items():
        noisy = _noisy_frames(data, tracklets)
        rows = _shown_rows(noisy)
        shown = _inspect(method, data, [tracklets[i] for i in rows])
        for name, values in shown.items():
            arrays[f"inside/{modality}/{name}"] = values.astype(np.float16)
        if shown:
            arrays[f"inside/{modality}_rows"] = rows.astype(np.int32)
        mixed = noisy.any(1) & ~noisy.all(1)
        if "frame weight" in shown and mixed.any():
            by_name = _inspect(method, data, tracklets, only="frame weight")
            scores[f"noisy frames {modality}"] = probes.noisy_auc(
                by_name["frame weight"], noisy, within_clip=True
            )
    return scores, arrays


def test_cams(
    method: Method,
    data: Data,
    own: Sequence[Tracklet],
    others: Sequence[Tracklet],
    feat: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Map what evenly spaced tracklets share with their person in the other modality.

    Args:
        method: in place on its device.
        data: with the people who are searched.
        own: test tracklets of one modality.
        others: those of the other modality.
        feat: their embeddings (G, D), of which a person's mean is the reference.

    Returns:
        Rows in `own` (N,), CAM maps (N, T, H, W), person masks (N, T, H, W).
    """
    identities = _identities(others)
    usable = [i for i, t in enumerate(own) if t.identity in identities]
    count = min(MAPPED, len(usable), max(KEPT_MAPS, len(usable) // 8))
    rows = [usable[i] for i in _evenly(len(usable), count)]
    tracklets = [own[i] for i in rows]
    positions = [evaluated_frames(t, data.config) for t in tracklets]
    pairs = list(zip(tracklets, positions, strict=True))
    clips = normalise(torch.stack([data.frames.read(t, p) for t, p in pairs]))
    means = [feat[identities == t.identity].mean(0) for t in tracklets]
    reference = torch.stack([torch.from_numpy(mean) for mean in means])
    masks = np.stack([data.truth.masks(t, p) for t, p in pairs])
    maps = _cams(method, clips, own[0].modality, reference)
    return np.array(rows, np.int32), maps, masks


test_cams.__test__ = False


def _since(start: float) -> float:
    return round(time.perf_counter() - start, 2)


def _identities(tracklets: Sequence[Tracklet]) -> np.ndarray:
    return np.array([t.identity for t in tracklets])


def _evenly(count: int, chosen: int) -> np.ndarray:
    """Return evenly spaced positions among `count`, the ends included."""
    return np.linspace(0, count - 1, chosen).astype(int)


def _sysu_trials(method: Method, data: Data) -> Arrays:
    """Score the ten galleries of SYSU-MM01 in each of its settings."""
    embed = embedding(method, data)
    scores = protocols.sysu_scores(data.dataset.root, embed, strict=data.config.strict)
    return {f"{k}/trials": v.astype(np.float32) for k, v in scores.items()}


def _shown_embeddings(side: Side) -> Arrays:
    """Keep the embeddings of the first identities, and their rows."""
    shown = sorted({t.identity for t in side.query})[:SHOWN]
    query_rows = np.flatnonzero(np.isin(_identities(side.query), shown))
    gallery_rows = np.flatnonzero(np.isin(_identities(side.gallery), shown))
    query_feat, gallery_feat = project_to_span(
        side.query_feat[query_rows], side.gallery_feat[gallery_rows]
    )
    return {
        "shown/query_rows": query_rows.astype(np.int32),
        "shown/query_feat": query_feat.astype(np.float16),
        "shown/gallery_rows": gallery_rows.astype(np.int32),
        "shown/gallery_feat": gallery_feat.astype(np.float16),
    }


def _gap(side: Side) -> dict[str, probes.Score]:
    """Measure how far apart the modalities lie, where there are clips enough."""
    vis_ids, ir_ids = _identities(side.gallery), _identities(side.query)
    if not probes.can_measure_gap(vis_ids, ir_ids):
        return {}
    gap = probes.modality_gap(side.gallery_feat, side.query_feat, vis_ids, ir_ids)
    return {"gap distance": gap.distance, "gap probe": gap.probe}


def _robustness(method: Method, data: Data, side: Side) -> dict[str, probes.Score]:
    """Compare altered clips and other readings of the method with the plain search."""
    clean, groups = side.metrics(), _identities(side.query)
    changes = {"shuffled": probes.shuffled(), "occluded": probes.occluded()}
    scores = {}
    for name, change in changes.items():
        altered = evaluate_on(method, data, change=change)["ir2vis"].metrics()
        scores[name] = probes.robustness(clean, altered, groups=groups)
    for name, attributes in method.readings.items():
        with _attributes_set(method, attributes):
            altered = evaluate_on(method, data)["ir2vis"].metrics()
        scores[f"reading {name}"] = probes.robustness(clean, altered, groups=groups)
    return scores


@contextmanager
def _attributes_set(method: Method, attributes: Mapping[str, Any]) -> Iterator[None]:
    before = {name: getattr(method, name) for name in attributes}
    try:
        for name, value in attributes.items():
            setattr(method, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(method, name, value)


def _look_alikes(data: Data, side: Side) -> dict[str, probes.Score]:
    """Measure whether look-alikes are told apart."""
    groups = data.truth.look_alike_groups()
    alike = probes.look_alike_rank1(*side.protocol, groups=groups, rule=side.rule)
    return {"look-alike pair": alike.pair, "look-alike rank1": alike.rank1}


def _cams_on_bodies(
    method: Method, data: Data, side: Side
) -> tuple[dict[str, probes.Score], Arrays]:
    """Score activation maps of both modalities against person masks."""
    embedded = {
        "vis": (side.gallery, side.gallery_feat),
        "ir": (side.query, side.query_feat),
    }
    scores, arrays = {}, {}
    for modality, other in zip(MODALITIES, reversed(MODALITIES), strict=True):
        own, _ = embedded[modality]
        rows, maps, masks = test_cams(method, data, own, *embedded[other])
        small = np.round(255 * maps[:KEPT_MAPS, :, 2::4, 2::4]).astype(np.uint8)
        arrays[f"cam/{modality}_rows"] = rows[:KEPT_MAPS]
        arrays[f"cam/{modality}"] = small
        if maps.any():  # after a few steps maps may have no energy to share
            scores[f"body share {modality}"] = probes.body_share(maps, masks)
    return scores, arrays


def _cams(
    method: Method, clips: Tensor, modality: Modality, reference: Tensor
) -> np.ndarray:
    """Compute activation maps some clips at a time: (N, T, 3, H, W) -> (N, T, H, W)."""
    device = next(method.parameters()).device
    parts = []
    for some, rows in zip(
        clips.split(CAM_BATCH), reference.split(CAM_BATCH), strict=True
    ):
        parts.append(
            class_activation_maps(
                method, method.maps, some.to(device), modality, rows.to(device)
            )
        )
    return np.concatenate(parts)


def _noisy_frames(data: Data, tracklets: Sequence[Tracklet]) -> np.ndarray:
    """Return which searched frames are known to be noisy: (N, T) bool."""
    if data.truth is None:
        return np.zeros((len(tracklets), data.config.frames), bool)
    rows = [data.truth.noisy(t, evaluated_frames(t, data.config)) for t in tracklets]
    return np.stack(rows)


def _shown_rows(noisy: np.ndarray) -> np.ndarray:
    """Choose evenly spaced tracklets among those with a noisy frame, else among all."""
    usable = np.flatnonzero(noisy.any(1)) if noisy.any() else np.arange(len(noisy))
    return usable[_evenly(len(usable), min(KEPT_MAPS, len(usable)))]


def _inspect(
    method: Method, data: Data, tracklets: Sequence[Tracklet], only: str | None = None
) -> dict[str, np.ndarray]:
    return evaluate.inspect(
        method,
        tracklets,
        data.frames,
        data.config.frames,
        only=only,
        stride=data.config.stride,
    )
