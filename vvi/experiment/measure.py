"""What a record says of a trained method: scores by direction, probes with their intervals, and the arrays that figures show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from vvi.config import RunConfig
from vvi.data import synthetic
from vvi.data.loader import Frames, evaluated_frames
from vvi.data.transforms import normalise
from vvi.evaluation import evaluate, probes
from vvi.evaluation.cam import class_activation_maps
from vvi.methods.base import Method
from vvi.types import Dataset, Direction, Modality, Tracklet

RANKS = (1, 5, 10, 20)
NUMBERS = (
    "/ap",
    "/first_hit",
    "/trials",
)  # arrays that metrics and tests of a difference are made of, by the end of their names
SHOWN = 12  # test identities whose embeddings a record keeps, for t-SNE
MAPPED, KEPT_MAPS = (
    32,
    2,
)  # test tracklets of each modality whose CAM is scored, and whose maps a record keeps


def summary(
    sides: Mapping[Direction, evaluate.Side],
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Scores by direction, and the arrays of a record: AP and first hit of every query, top-10 lists, embeddings of the first `SHOWN` identities."""
    scores, arrays = {}, {}
    for direction, side in sides.items():
        found = side.metrics()
        scores[direction] = {f"rank{k}": found.rank(k) for k in RANKS} | {
            name: getattr(found, name)
            for name in ("mAP", "mINP", "n_valid", "n_skipped")
        }
        arrays[f"{direction}/ap"], arrays[f"{direction}/first_hit"] = (
            found.ap.astype(np.float32),
            found.first_hit.astype(np.int32),
        )
        arrays[f"{direction}/top"] = side.ranked().astype(
            np.int16 if len(side.gallery) < 2**15 else np.int32
        )
    side = sides["ir2vis"]
    shown = sorted({t.identity for t in side.query})[:SHOWN]
    rows = [
        np.array([i for i, t in enumerate(tracklets) if t.identity in shown])
        for tracklets in (side.query, side.gallery)
    ]
    kept = turned(side.query_feat[rows[0]], side.gallery_feat[rows[1]])
    for name, where, feat in zip(("query", "gallery"), rows, kept, strict=True):
        arrays[f"shown/{name}_rows"], arrays[f"shown/{name}_feat"] = (
            where.astype(np.int32),
            feat.astype(np.float16),
        )
    return scores, arrays


def turned(*groups: np.ndarray) -> list[np.ndarray]:
    """The same vectors (N, D) in the space that they span, where D is larger than all N together: every angle and distance between them stays, a record becomes small."""
    every = np.concatenate(groups).astype(np.float64)
    if every.shape[1] > len(every):
        every = every @ np.linalg.qr(every.T)[0]
    return np.split(every, np.cumsum([len(g) for g in groups])[:-1])


def probe(
    method: Method,
    found: Dataset,
    reader: Frames,
    settings: RunConfig,
    sides: Mapping[Direction, evaluate.Side],
) -> tuple[dict[str, dict[str, float]], dict[str, np.ndarray]]:
    """The numbers behind the pictures, each with its interval, and the CAM maps that are shown. What needs known factors is measured on embedded data only."""
    side, ids = sides["ir2vis"], np.array([t.identity for t in sides["ir2vis"].query])
    gap = probes.modality_gap(
        side.gallery_feat,
        side.query_feat,
        np.array([t.identity for t in side.gallery]),
        ids,
    )
    scores = {"gap distance": gap.distance, "gap probe": gap.probe}
    inside = _inside(
        method, found, reader, settings, {"vis": side.gallery, "ir": side.query}
    )
    for name, change in (
        ("shuffled", probes.shuffled()),
        ("occluded", probes.occluded()),
    ):
        altered = evaluate.evaluate(
            method,
            found,
            reader,
            settings.data.frames,
            change=change,
            stride=settings.data.stride,
        )["ir2vis"]
        scores[name] = probes.robustness(side.metrics(), altered.metrics(), groups=ids)
    for name, attributes in method.readings.items():
        with _set(method, attributes):
            altered = evaluate.evaluate(
                method, found, reader, settings.data.frames, stride=settings.data.stride
            )["ir2vis"]
        scores[f"reading {name}"] = probes.robustness(
            side.metrics(), altered.metrics(), groups=ids
        )
    scores, arrays = scores | inside[0], inside[1]
    if settings.data.synthetic:
        groups = synthetic.read_factors(found.root).look_alike_group.to_dict()
        grouped = [groups[i] for i in np.unique(ids) if groups[i] >= 0]
        if len(grouped) > len(
            set(grouped)
        ):  # the people of a small trial of RegDB may have no look-alike among them
            alike = probes.look_alike_rank1(
                *side.protocol, groups=groups, rule=side.rule
            )
            scores |= {"look-alike pair": alike.pair, "look-alike rank1": alike.rank1}
        seen = {
            "vis": (side.gallery, side.gallery_feat),
            "ir": (side.query, side.query_feat),
        }
        for modality, other in (("vis", "ir"), ("ir", "vis")):
            rows, maps, masks = _maps(
                method,
                found,
                reader,
                settings,
                modality,
                seen[modality][0],
                *seen[other],
            )
            arrays |= {
                f"cam/{modality}_rows": rows[:KEPT_MAPS],
                f"cam/{modality}": np.round(
                    255 * maps[:KEPT_MAPS, :, 2::4, 2::4]
                ).astype(np.uint8),
            }
            if maps.any():  # a network of a few steps may have maps without any energy, and a share of nothing is no number
                scores[f"body share {modality}"] = probes.body_share(maps, masks)
    return {name: asdict(score) for name, score in scores.items()}, arrays


@contextmanager
def _set(method: Method, attributes: Mapping[str, Any]) -> Iterator[None]:
    before = {name: getattr(method, name) for name in attributes}
    try:
        for name, value in attributes.items():
            setattr(method, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(method, name, value)


def _inside(
    method: Method,
    found: Dataset,
    reader: Frames,
    settings: RunConfig,
    sides: Mapping[Modality, Sequence[Tracklet]],
) -> tuple[dict[str, probes.Score], dict[str, np.ndarray]]:
    """What the method shows of itself for `KEPT_MAPS` tracklets of each modality, evenly spaced among those with a frame known to be noisy; and how well its frame weights
    find such frames in all of them."""
    scores, arrays, count, stride = {}, {}, settings.data.frames, settings.data.stride
    for modality, side in sides.items():
        noisy = np.zeros((len(side), count), bool)
        if settings.data.synthetic:
            noisy = np.stack(
                [
                    synthetic.read_faults(found.root, t)[
                        evaluated_frames(t, settings.data)
                    ]
                    != "none"
                    for t in side
                ]
            )
        usable = np.flatnonzero(noisy.any(1)) if noisy.any() else np.arange(len(side))
        kept = usable[np.linspace(0, len(usable) - 1, KEPT_MAPS).astype(int)]
        seen = evaluate.inspect(
            method, [side[i] for i in kept], reader, count, stride=stride
        )
        arrays |= {
            f"inside/{modality}/{name}": values.astype(np.float16)
            for name, values in seen.items()
        }
        if seen:
            arrays |= {f"inside/{modality}_rows": kept.astype(np.int32)}
        if "frame weight" in seen and (noisy.any(1) & ~noisy.all(1)).any():
            weights = evaluate.inspect(
                method, side, reader, count, only="frame weight", stride=stride
            )["frame weight"]
            scores[f"noisy frames {modality}"] = probes.noisy_auc(
                weights, noisy, within_clip=True
            )
    return scores, arrays


def _maps(
    method: Method,
    found: Dataset,
    reader: Frames,
    settings: RunConfig,
    modality: Modality,
    own: Sequence[Tracklet],
    theirs: Sequence[Tracklet],
    feat: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """CAM of evenly spaced tracklets against the mean embedding of the same person in the other modality: their rows, maps (N, T, H, W), person masks."""
    identities = np.array([t.identity for t in theirs])
    usable = [i for i, t in enumerate(own) if t.identity in identities]
    rows = [
        usable[i]
        for i in np.linspace(0, len(usable) - 1, min(MAPPED, len(usable))).astype(int)
    ]
    which = [evaluated_frames(own[i], settings.data) for i in rows]
    clips = normalise(
        torch.stack([reader.read(own[i], w) for i, w in zip(rows, which, strict=True)])
    )
    reference = torch.stack(
        [torch.from_numpy(feat[identities == own[i].identity].mean(0)) for i in rows]
    )
    device = next(method.parameters()).device
    maps = [
        class_activation_maps(method, method.maps, c.to(device), modality, r.to(device))
        for c, r in zip(clips.split(8), reference.split(8), strict=True)
    ]
    masks = np.stack(
        [
            synthetic.read_masks(found.root, own[i])[w]
            for i, w in zip(rows, which, strict=True)
        ]
    )
    return np.array(rows, np.int32), np.concatenate(maps), masks
