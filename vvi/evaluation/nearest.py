"""The nearest of very many embeddings.

Exact search holds one chunk of the gallery at a time. Where that is too slow the
gallery is handed over to FAISS, and `recall` says what that loses.

Protocol numbers come from `vvi.metrics`. This is for finding people in a gallery that
has grown. One embedding of 2,048 numbers takes 8 kB, a million of them 8.2 GB. The
gallery may be a file (`np.load(..., mmap_mode="r")`).
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
#: A norm below which squares of float32 lose digits.
SMALL = 1e-15


@dataclass(frozen=True)
class Nearest:
    """The best K gallery rows of each of Q queries, best first."""

    #: (Q, K) int64.
    rows: np.ndarray
    #: Cosine, (Q, K) float32.
    similarity: np.ndarray


def exact(
    query: Any,
    gallery: Sequence,
    top: int = 10,
    chunk: int = CHUNK,
    device: str | torch.device = "cpu",
) -> Nearest:
    """Compare every embedding.

    Time grows with Q G D. Memory beyond query and gallery is that of `chunk` rows and
    (Q, chunk) similarities, whatever G is.

    Args:
        query: (Q, D) of any scale.
        gallery: (G, D) of any scale.
        top: how many are returned, all G where there are fewer. Equal ones come in any
            order.
        chunk: gallery rows held at a time.
        device: computes the similarities.

    Raises:
        ValueError: there is no gallery, a shape does not fit, a number is not finite,
            or top or chunk is below 1.

    >>> exact(np.eye(2), np.array([[0.0, 3.0], [1.0, 1.0], [2.0, 0.1]]), top=2).rows
    array([[2, 1],
           [0, 1]])
    """
    query = _unit(query, "query", device)
    rows = torch.empty(len(query), 0, dtype=torch.int64, device=device)
    best = torch.empty(len(query), 0, device=device)
    for first, block in _blocks(gallery, query.shape[1], chunk, device):
        count = min(_positive(top, "top"), len(block))
        near, columns = (query @ block.T).topk(count, 1)
        candidates = torch.cat((best, near), 1)
        best, order = candidates.topk(min(top, candidates.shape[1]), 1)
        rows = torch.cat((rows, first + columns), 1).gather(1, order)
    return Nearest(rows.cpu().numpy(), best.cpu().numpy())


def index(
    gallery: Sequence, kind: str = "Flat", chunk: int = CHUNK, sample: int = 100_000
) -> Any:
    """Build a FAISS index of cosine similarity, which needs the extra [search].

    It can be written to disk, moved to GPUs, searched by other programs.

    Args:
        gallery: (G, D).
        kind: as `faiss.index_factory` reads it, such as "Flat" (exact), "IVF1024,Flat"
            (the lists of a clustering), "HNSW32" (a graph), "IVF1024,PQ64" (64 bytes
            for each embedding).
        chunk: gallery rows held at a time.
        sample: how many embeddings, evenly spaced, it learns its clustering from.

    Returns:
        FAISS's own index.

    Raises:
        ValueError: FAISS knows no such kind, the gallery is empty, or its embeddings
            are unusable.
        RuntimeError: FAISS is not installed.
    """
    faiss, width = optional.load("faiss", "search"), _not_empty(gallery)[0].shape[0]
    try:
        index = faiss.index_factory(width, kind, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise ValueError(
            f"FAISS makes no index {kind!r} of embeddings of {width} numbers"
        ) from error
    if not index.is_trained:
        count = min(sample, len(gallery))
        rows = np.linspace(0, len(gallery) - 1, count, dtype=int)
        sample_rows = np.stack([np.asarray(gallery[i]) for i in rows])
        index.train(_unit(sample_rows, "gallery").numpy())
    for _, block in _blocks(gallery, width, chunk):
        index.add(block.numpy())
    return index


def search(index: Any, query: Any, top: int = 10, effort: str = "") -> Nearest:
    """Search a FAISS index.

    Args:
        index: from `index`.
        query: (Q, D).
        top: how many are returned.
        effort: what trades time for recall: "nprobe=16" (lists) or "efSearch=64".

    Returns:
        The best rows of each query, -1 where the index finds fewer.

    Raises:
        ValueError: the embeddings have another width, the index has no such effort, or
            top is below 1.
        RuntimeError: FAISS is not installed.
    """
    faiss, query = optional.load("faiss", "search"), _unit(query, "query")
    if query.shape[1] != index.d:
        raise ValueError(
            f"embeddings of {query.shape[1]} numbers searched for among embeddings of "
            f"{index.d}"
        )
    if effort:
        try:
            faiss.ParameterSpace().set_index_parameters(index, effort)
        except RuntimeError as error:
            raise ValueError(f"this index has no {effort!r}") from error
    similarity, rows = index.search(query.numpy(), _positive(top, "top"))
    return Nearest(rows, similarity)


def recall(result: Nearest, truth: Nearest) -> float:
    """Return the share of true neighbours that were found, whatever their order.

    Raises:
        ValueError: the two are of other numbers of queries.

    >>> one = Nearest(np.array([[4, 2, 7]]), np.zeros((1, 3)))
    >>> other = Nearest(np.array([[2, 9, 4]]), np.zeros((1, 3)))
    >>> round(recall(one, other), 3)
    0.667
    """
    if len(result.rows) != len(truth.rows):
        raise ValueError(
            f"{len(result.rows)} and {len(truth.rows)} queries cannot be compared"
        )
    pairs = zip(result.rows, truth.rows, strict=True)
    return float(np.mean([np.isin(true, rows).mean() for rows, true in pairs]))


def _blocks(
    gallery: Sequence, width: int, chunk: int, device: str | torch.device = "cpu"
) -> Iterator[tuple[int, Tensor]]:
    """Yield the first row and the unit rows of each chunk of a gallery.

    Args:
        gallery: (G, D).
        width: D of the queries or of the index.
        chunk: rows of a block.
        device: on which blocks lie.
    """
    for first in range(0, len(_not_empty(gallery)), _positive(chunk, "chunk")):
        block = _unit(gallery[first : first + chunk], "gallery", device)
        if block.shape[1] != width:
            raise ValueError(
                f"embeddings of {block.shape[1]} numbers in the gallery, of {width} "
                "elsewhere"
            )
        yield first, block


def _positive(number: int, name: str) -> int:
    if number < 1:
        raise ValueError(f"{name}={number} must be an integer >= 1")
    return number


def _not_empty(gallery: Sequence) -> Sequence:
    if len(gallery) == 0:
        raise ValueError("the gallery is empty")
    return gallery


def _unit(feat: Any, name: str, device: str | torch.device = "cpu") -> Tensor:
    """Return rows of unit norm in float32, (N, D).

    Args:
        feat: embeddings (N, D).
        name: for messages.
        device: on which they lie.

    Raises:
        ValueError: another shape, NaN or infinity.
    """
    if not isinstance(feat, Tensor):
        feat = np.array(feat, np.float32)
    feat = torch.as_tensor(feat).to(device, torch.float32)
    if feat.ndim != 2:
        raise ValueError(f"{name}: expected embeddings (N, D), got {tuple(feat.shape)}")
    # a number that is not finite shows in its row's norm, at a fraction of the time
    norms = feat.norm(dim=1, keepdim=True)
    ordinary = (norms > SMALL) & (norms < torch.inf)
    least = torch.finfo(torch.float32).tiny
    if not bool(ordinary.all()):
        if not bool(torch.isfinite(feat).all()):
            raise ValueError(
                f"{name}: NaN or infinity (or overflow) among the embeddings"
            )
        largest = feat.abs().amax(1, keepdim=True).clamp_min(least)
        feat = torch.where(ordinary, feat, feat / largest)
        norms = feat.norm(dim=1, keepdim=True)
    return feat / norms.clamp_min(least)
