"""Embeddings of the test tracklets and the protocol over them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from vvi.data.loader import Frames, test_clips
from vvi.data.transforms import normalise
from vvi.evaluation.rerank import rerank
from vvi.methods.base import Method
from vvi.metrics import Metrics, from_similarity, ranked_lists, retrieval_metrics
from vvi.types import Dataset, Direction, Modality, Tracklet

VERSION = 1


@torch.no_grad()
def embed(
    method: Method,
    tracklets: Sequence[Tracklet],
    frames: Frames,
    count: int,
    batch: int = 64,
    progress: bool = False,
    change: Callable[[Tensor], Tensor] | None = None,
    stride: int = 0,
) -> np.ndarray:
    """Embeddings of tracklets in their order: (N, D) float32, unit norm.

    count: T, frames per clip; stride: which (`vvi.data.clips.test_frames`); change: applied to the uint8 clips (B, T, 3, H, W) before they are normalised, for robustness probes.
    """
    method.eval()
    device = next(method.parameters()).device
    found: np.ndarray | None = None
    with tqdm(
        total=len(tracklets),
        desc="embed",
        unit="clip",
        disable=not progress,
        mininterval=1,
    ) as bar:
        for modality in ("vis", "ir"):
            rows = [i for i, t in enumerate(tracklets) if t.modality == modality]
            clips = test_clips(
                [tracklets[i] for i in rows], frames, count, batch, stride
            )
            parts = [
                _embed(
                    method,
                    clip if change is None else change(clip),
                    modality,
                    device,
                    bar,
                )
                for clip in clips
            ]
            if parts:
                values = torch.cat(parts).numpy()
                found = (
                    np.empty((len(tracklets), values.shape[1]), np.float32)
                    if found is None
                    else found
                )
                found[rows] = values
    if found is None:
        raise ValueError("no tracklets to embed")
    return found


@dataclass(frozen=True)
class Side:
    """One direction of an evaluation: who searched what, with which embeddings."""

    query: tuple[Tracklet, ...]
    gallery: tuple[Tracklet, ...]
    query_feat: np.ndarray
    gallery_feat: np.ndarray
    rule: str

    @property
    def protocol(self) -> tuple:
        """Arguments of the functions of `vvi.metrics`: features, identities, cameras of both sides."""
        ids, cams = (
            [
                np.array([getattr(t, name) for t in side])
                for side in (self.query, self.gallery)
            ]
            for name in ("identity", "camera")
        )
        return self.query_feat, self.gallery_feat, *ids, *cams

    def metrics(self) -> Metrics:
        return retrieval_metrics(*self.protocol, rule=self.rule)

    def reranked(self, **options: float) -> Metrics:
        """The same after k-reciprocal re-ranking; the rule of the protocol is applied to the new distances. options: those of `vvi.evaluation.rerank.rerank`."""
        query, gallery, *labels = self.protocol
        return from_similarity(
            -rerank(query, gallery, **options), *labels, rule=self.rule
        )

    def ranked(self, top: int = 10) -> np.ndarray:
        """Places in the gallery of the first `top` items of every query: (Q, top)."""
        return ranked_lists(*self.protocol, rule=self.rule, top=top)


def evaluate(
    method: Method,
    dataset: Dataset,
    frames: Frames,
    count: int,
    progress: bool = False,
    change: Callable[[Tensor], Tensor] | None = None,
    stride: int = 0,
) -> dict[Direction, Side]:
    """Every direction of the data set's protocol; each tracklet is embedded once. Arguments as in `embed`."""
    wanted = list(
        dict.fromkeys(
            t for sides in dataset.sides.values() for side in sides for t in side
        )
    )
    found = embed(
        method, wanted, frames, count, progress=progress, change=change, stride=stride
    )
    feat = dict(zip(wanted, found, strict=True))
    return {
        direction: Side(
            query,
            gallery,
            np.stack([feat[t] for t in query]),
            np.stack([feat[t] for t in gallery]),
            dataset.rule,
        )
        for direction, (query, gallery) in dataset.sides.items()
    }


@torch.no_grad()
def inspect(
    method: Method,
    tracklets: Sequence[Tracklet],
    frames: Frames,
    count: int,
    only: str | None = None,
    batch: int = 32,
    stride: int = 0,
) -> dict[str, np.ndarray]:
    """What a method shows of its inside for tracklets of one modality: name -> (N, ...); with `only`, that name alone."""
    method.eval()
    device, found = next(method.parameters()).device, defaultdict(list)
    for clips in test_clips(tracklets, frames, count, batch, stride):
        for name, values in method.inspect(
            normalise(clips.to(device)), tracklets[0].modality
        ).items():
            if only in (None, name):
                found[name].append(values.float().cpu().numpy())
        if not found:
            break
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _embed(
    method: Method, clips: Tensor, modality: Modality, device: torch.device, bar: tqdm
) -> Tensor:
    feat = method.embed(normalise(clips.to(device)), modality).float().cpu()
    bar.update(len(clips))
    return feat
