"""The nearest of very many embeddings: exact search that holds one chunk of the gallery at a time, a hand-over to FAISS where that is too slow, and what the hand-over loses.

Protocol numbers come from `vvi.metrics`; this is for finding people in a gallery that has grown. One embedding of 2,048 numbers takes 8 kB, a million of them 8.2 GB; the gallery
may be a file (`np.load(..., mmap_mode="r")`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vvi.runtime import optional

CHUNK = 2**14  # rows of the gallery held at a time


@dataclass(frozen=True)
class Nearest:
    """For each of Q queries its best K rows of the gallery, best first, and their cosine similarity: (Q, K) int64 and float32."""

    rows: np.ndarray
    similarity: np.ndarray


def exact(
    query: Any,
    gallery: Sequence,
    top: int = 10,
    chunk: int = CHUNK,
    device: str | torch.device = "cpu",
) -> Nearest:
    """Every embedding is compared: query (Q, D), gallery (G, D) of any scale -> the `top` nearest by cosine (all G where there are fewer); equal ones in any order.

    Time grows with Q G D; memory beyond query and gallery is that of `chunk` rows and (Q, chunk) similarities, whatever G is.

    >>> exact(np.eye(2), np.array([[0.0, 3.0], [1.0, 1.0], [2.0, 0.1]]), top=2).rows
    array([[2, 1],
           [0, 1]])
    """
    query = _unit(query, "query", device)
    rows = torch.empty(len(query), 0, dtype=torch.int64, device=device)
    best = torch.empty(len(query), 0, device=device)
    for first, block in _blocks(gallery, query.shape[1], chunk, device):
        near, places = (query @ block.T).topk(min(_positive(top, "top"), len(block)), 1)
        best, order = torch.cat((best, near), 1).topk(
            min(top, best.shape[1] + near.shape[1]), 1
        )
        rows = torch.cat((rows, first + places), 1).gather(1, order)
    return Nearest(rows.cpu().numpy(), best.cpu().numpy())


def index(
    gallery: Sequence, kind: str = "Flat", chunk: int = CHUNK, sample: int = 100_000
) -> Any:
    """A FAISS index of cosine similarity over a gallery (G, D); needs the extra [search].

    kind: as `faiss.index_factory` reads it, such as "Flat" (exact), "IVF1024,Flat" (the lists of a clustering), "HNSW32" (a graph), "IVF1024,PQ64" (64 bytes for each embedding);
    sample: how many embeddings, evenly spaced, it learns its clustering from. What returns is FAISS's own: it can be written to disk, moved to GPUs, searched by other programs.
    """
    faiss, width = optional.load("faiss", "search"), _inhabited(gallery)[0].shape[0]
    try:
        found = faiss.index_factory(width, kind, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise ValueError(
            f"FAISS makes no index {kind!r} of embeddings of {width} numbers"
        ) from error
    if not found.is_trained:
        some = np.stack(
            [
                np.asarray(gallery[i])
                for i in np.linspace(
                    0, len(gallery) - 1, min(sample, len(gallery)), dtype=int
                )
            ]
        )
        found.train(_unit(some, "gallery").numpy())
    for _, block in _blocks(gallery, width, chunk):
        found.add(block.numpy())
    return found


def search(found: Any, query: Any, top: int = 10, effort: str = "") -> Nearest:
    """The nearest that a FAISS index finds: query (Q, D) -> `Nearest`, rows -1 where it finds fewer. effort: what trades time for recall, "nprobe=16" (lists) or "efSearch=64"."""
    faiss, query = optional.load("faiss", "search"), _unit(query, "query")
    if query.shape[1] != found.d:
        raise ValueError(
            f"embeddings of {query.shape[1]} numbers searched for among embeddings of {found.d}"
        )
    if effort:
        try:
            faiss.ParameterSpace().set_index_parameters(found, effort)
        except RuntimeError as error:
            raise ValueError(f"this index has no {effort!r}") from error
    similarity, rows = found.search(query.numpy(), _positive(top, "top"))
    return Nearest(rows, similarity)


def recall(found: Nearest, truth: Nearest) -> float:
    """Share of the true neighbours that were found, whatever their order.

    >>> a, b = (Nearest(np.array(rows), np.zeros((1, 3))) for rows in ([[4, 2, 7]], [[2, 9, 4]]))
    >>> round(recall(a, b), 3)
    0.667
    """
    if len(found.rows) != len(truth.rows):
        raise ValueError(
            f"{len(found.rows)} and {len(truth.rows)} queries cannot be compared"
        )
    return float(
        np.mean(
            [
                np.isin(true, mine).mean()
                for mine, true in zip(found.rows, truth.rows, strict=True)
            ]
        )
    )


def _blocks(
    gallery: Sequence, width: int, chunk: int, device: str | torch.device = "cpu"
) -> Iterator[tuple[int, Tensor]]:
    for first in range(0, len(_inhabited(gallery)), _positive(chunk, "chunk")):
        block = _unit(gallery[first : first + chunk], "gallery", device)
        if block.shape[1] != width:
            raise ValueError(
                f"embeddings of {block.shape[1]} numbers in the gallery, of {width} elsewhere"
            )
        yield first, block


def _positive(number: int, name: str) -> int:
    if number < 1:
        raise ValueError(f"{name}={number}: it counts from 1")
    return number


def _inhabited(gallery: Sequence) -> Sequence:
    if len(gallery) == 0:
        raise ValueError("the gallery is empty: there is nobody to search among")
    return gallery


def _unit(feat: Any, name: str, device: str | torch.device = "cpu") -> Tensor:
    """Rows of unit norm in float32, (N, D); ValueError on NaN or infinity."""
    feat = torch.as_tensor(
        feat if isinstance(feat, Tensor) else np.array(feat, np.float32)
    ).to(device, torch.float32)
    if feat.ndim != 2:
        raise ValueError(f"{name}: expected embeddings (N, D), got {tuple(feat.shape)}")
    norms = feat.norm(
        dim=1, keepdim=True
    )  # one that is not finite shows in its row's norm, at a fraction of the time
    if not bool(torch.isfinite(norms).all()):
        raise ValueError(f"{name}: NaN or infinity (or overflow) among the embeddings")
    return feat / norms.clamp_min(torch.finfo(torch.float32).tiny)
