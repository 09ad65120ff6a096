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
from vvi.types import MODALITIES, Dataset, Direction, Rule, Tracklet

#: Raised when embeddings or scores change, so that stored results are not reused.
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
    """Embed tracklets, in their order.

    Args:
        method: in place on its device.
        tracklets: of both modalities.
        frames: reads them.
        count: T, frames per clip.
        batch: clips at a time.
        progress: whether to show a bar.
        change: applied to the uint8 clips (B, T, 3, H, W) before they are normalised,
            for robustness probes.
        stride: which frames (`vvi.data.clips.test_frames`).

    Returns:
        (N, D) float32 of unit norm.

    Raises:
        ValueError: there are no tracklets.
    """
    if not tracklets:
        raise ValueError("no tracklets to embed")
    method.eval()
    device = next(method.parameters()).device
    feat: np.ndarray | None = None
    with tqdm(
        total=len(tracklets),
        desc="embed",
        unit="clip",
        disable=not progress,
        mininterval=1,
    ) as bar:
        for modality in MODALITIES:
            rows = [i for i, t in enumerate(tracklets) if t.modality == modality]
            parts = []
            chosen = [tracklets[i] for i in rows]
            for clips in test_clips(chosen, frames, count, batch, stride):
                clips = change(clips) if change else clips
                values = method.embed(normalise(clips.to(device)), modality)
                parts.append(values.float().cpu())
                bar.update(len(clips))
            if parts:
                values = torch.cat(parts).numpy()
                if feat is None:
                    shape = (len(tracklets), values.shape[1])
                    feat = np.empty(shape, np.float32)
                feat[rows] = values
    return feat


@dataclass(frozen=True)
class Side:
    """One direction of an evaluation: query and gallery with their embeddings."""

    query: tuple[Tracklet, ...]
    gallery: tuple[Tracklet, ...]
    #: (Q, D) float32.
    query_feat: np.ndarray
    #: (G, D) float32.
    gallery_feat: np.ndarray
    #: Which gallery items are removed for a query (`vvi.metrics`).
    rule: Rule

    @property
    def protocol(self) -> tuple:
        """Arguments of `vvi.metrics`: features, identities, cameras of both sides."""
        labels = []
        for name in ("identity", "camera"):
            for side in (self.query, self.gallery):
                labels.append(np.array([getattr(t, name) for t in side]))
        return self.query_feat, self.gallery_feat, *labels

    def metrics(self) -> Metrics:
        """Score the search."""
        return retrieval_metrics(*self.protocol, rule=self.rule)

    def reranked(self, **options: float) -> Metrics:
        """Score the search after k-reciprocal re-ranking.

        The rule of the protocol is applied to the new distances.

        Args:
            **options: those of `vvi.evaluation.rerank.rerank`.
        """
        query, gallery, *labels = self.protocol
        distance = rerank(query, gallery, **options)
        return from_similarity(-distance, *labels, rule=self.rule)

    def ranked(self, top: int = 10) -> np.ndarray:
        """Return the gallery rows of the first `top` items of every query: (Q, top)."""
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
    """Evaluate every direction of a protocol. Each tracklet is embedded once.

    Args:
        method: in place on its device.
        dataset: with the people who are searched.
        frames: reads the frames of tracklets.
        count: T, frames per clip.
        progress: whether to show a bar.
        change: of the clips, as for `embed`.
        stride: which frames, as for `embed`.

    Returns:
        Direction -> query and gallery with their embeddings.
    """
    wanted: dict[Tracklet, None] = {}
    for query, gallery in dataset.sides.values():
        wanted |= dict.fromkeys(query + gallery)
    tracklets = list(wanted)
    feat = embed(
        method,
        tracklets,
        frames,
        count,
        progress=progress,
        change=change,
        stride=stride,
    )
    rows = dict(zip(tracklets, feat, strict=True))
    sides = {}
    for direction, (query, gallery) in dataset.sides.items():
        query_feat = np.stack([rows[t] for t in query])
        gallery_feat = np.stack([rows[t] for t in gallery])
        sides[direction] = Side(query, gallery, query_feat, gallery_feat, dataset.rule)
    return sides


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
    """Collect what a method shows of its inside.

    Args:
        method: in place on its device.
        tracklets: of one modality.
        frames: reads them.
        count: T, frames per clip.
        only: the one name that is wanted, None for all.
        batch: clips at a time.
        stride: which frames, as for `embed`.

    Returns:
        Name -> (N, ...), empty for a method that shows nothing.
    """
    method.eval()
    device = next(method.parameters()).device
    parts: dict[str, list[np.ndarray]] = defaultdict(list)
    for clips in test_clips(tracklets, frames, count, batch, stride):
        modality = tracklets[0].modality
        shown = method.inspect(normalise(clips.to(device)), modality)
        for name, values in shown.items():
            if only in (None, name):
                parts[name].append(values.float().cpu().numpy())
        if not parts:
            break
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}
