"""k-reciprocal re-ranking (Zhong, Zheng, Cao and Li, CVPR 2017).

Two items that stand high in each other's lists are probably one person. Each item is
encoded by such neighbours, and items with like codes come nearer.

What the paper leaves open is read so:

- Neighbours are sought among all queries and gallery items together, and an item is its
  own first neighbour, one of the k.
- d is the squared distance of unit vectors divided by the largest one of its row, so
  that it lies in 0..1 beside the Jaccard distance.
- k/2 is rounded down, and equal distances rank in the order of the items.

What is special here: only the neighbours are kept, N rows of k1, and codes are sparse.
No N x N matrix ever exists.
"""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Real
from typing import Any

import numpy as np
from scipy.sparse import csr_array

SMALL = 1e-15  # norm below which squares of float32 lose digits
CELLS = 2**24  # distances held at a time
PAIRS = 2**13  # pairs of features multiplied at a time


def rerank(
    query: Any, gallery: Any, k1: int = 20, k2: int = 6, weight: float = 0.3
) -> np.ndarray:
    """Return distances of every query to every gallery item after re-ranking.

    The rule of a protocol is applied to them afterwards, as to any distances
    (`vvi.metrics.from_similarity` of the negative).

    Args:
        query: features (Q, D) of any scale.
        gallery: features (G, D).
        k1: neighbours among which those are sought that are so in both directions.
        k2: nearest neighbours whose codes are averaged (local query expansion).
        weight: share of the original distance in the final one, the paper's lambda.

    Returns:
        (Q, G) float32, smaller is nearer.

    Raises:
        ValueError: features are not finite, or have different widths. k1, k2 or weight
            are out of range.

    >>> near = rerank(np.eye(2), np.array([[0.0, 3.0], [1.0, 0.1]]), k1=2, k2=1)
    >>> near.argmin(1)
    array([1, 0])
    """
    feat = _unit_rows(query, gallery)
    queries, count = len(query), len(feat)
    check_options(k1, k2, weight)
    nearest, largest, original = _neighbours(feat, min(k1, count), queries)
    members = _expanded_sets(nearest, min(k1 // 2, count))
    codes = _average(nearest[:, :k2]) @ _codes(members, feat, largest)
    final = _jaccard(codes[:queries], codes[queries:])
    final *= 1 - weight
    original *= weight
    final += original
    return final


def _neighbours(
    feat: np.ndarray, k: int, queries: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the k nearest and largest distance of each item, and query-gallery d.

    Args:
        feat: features of queries, then of gallery items, of unit norm (N, D).
        k: neighbours.
        queries: Q, how many rows are queries.

    Returns:
        Neighbours (N, k), largest distances (N,), and distances d (Q, N - Q).
    """
    count = len(feat)
    nearest = np.empty((count, k), np.int64)
    largest = np.empty(count, np.float32)
    original = np.empty((queries, count - queries), np.float32)
    step = max(1, CELLS // count)
    for low in range(0, count, step):
        distance = 2 - 2 * (feat[low : low + step] @ feat.T)
        np.clip(distance, 0, None, out=distance)
        rows = np.arange(low, low + len(distance))
        distance[rows - low, rows] = 0
        largest[rows] = np.maximum(distance.max(1), np.finfo(np.float32).tiny)
        of_query = rows[rows < queries]
        own = distance[: len(of_query), queries:]
        original[of_query] = own / largest[of_query, None]
        distance[rows - low, rows] = -1  # first, also among copies of itself
        nearest[rows] = _smallest(distance, k)
    return nearest, largest, original


def _smallest(distance: np.ndarray, k: int) -> np.ndarray:
    """Return the columns of the k smallest values of each row, in stable order."""
    bound = np.partition(distance, k - 1, axis=1)[:, k - 1 : k]
    within = distance <= bound
    exact = within.sum(1) == k
    smallest = np.empty((len(distance), k), np.int64)
    columns = np.nonzero(within[exact])[1].reshape(-1, k)
    values = np.take_along_axis(distance[exact], columns, 1)
    order = np.argsort(values, axis=1, kind="stable")
    smallest[exact] = np.take_along_axis(columns, order, 1)
    tied = np.argsort(distance[~exact], axis=1, kind="stable")
    smallest[~exact] = tied[:, :k]
    return smallest


def _expanded_sets(nearest: np.ndarray, half: int) -> csr_array:
    """Return R*(p, k1): reciprocal neighbours, and those of most of them at k1 / 2."""
    wide, narrow = _reciprocal(nearest), _reciprocal(nearest[:, :half])
    shared = (wide @ narrow.T).multiply(wide).tocoo()  # |R(p, k1) and R(q, k1 / 2)|
    size = narrow.sum(axis=1)
    kept = 3 * shared.data >= 2 * size[shared.col]
    rows, columns = shared.row[kept], shared.col[kept]
    taken = csr_array((np.ones(len(rows), np.int32), (rows, columns)), wide.shape)
    members = (wide + taken @ narrow).tocsr()
    members.sort_indices()
    return members


def _reciprocal(nearest: np.ndarray) -> csr_array:
    """Return R(p, k): which neighbours have p among theirs, as ones."""
    listed = _rows_of(nearest, 1)
    return listed.multiply(listed.T).tocsr()


def _rows_of(nearest: np.ndarray, value: float) -> csr_array:
    """Return a square matrix with a value at the neighbours of each row."""
    count, k = nearest.shape
    starts = np.arange(0, count * k + 1, k) if k else np.zeros(count + 1, np.int64)
    kind = np.int32 if isinstance(value, int) else np.float32
    values = np.full(count * k, value, kind)
    return csr_array((values, nearest.ravel(), starts), (count, count))


def _codes(members: csr_array, feat: np.ndarray, largest: np.ndarray) -> csr_array:
    """Return V: exp(-d) at the members of each row's set.

    Args:
        members: which items are in the set of each row, (N, N).
        feat: features of unit norm (N, D).
        largest: distance of each row (N,), by which d is divided.
    """
    rows = np.repeat(np.arange(len(feat)), np.diff(members.indptr))
    values = np.empty(len(rows), np.float32)
    for low in range(0, len(rows), PAIRS):
        pairs = slice(low, low + PAIRS)
        one, other = feat[rows[pairs]], feat[members.indices[pairs]]
        distance = 2 - 2 * np.einsum("nd,nd->n", one, other)
        values[pairs] = np.exp(-np.clip(distance, 0, None) / largest[rows[pairs]])
    return csr_array((values, members.indices, members.indptr), members.shape)


def _average(nearest: np.ndarray) -> csr_array:
    """Return the matrix that averages codes over the neighbours of each row."""
    return _rows_of(nearest, 1 / nearest.shape[1])


def _jaccard(query: csr_array, gallery: csr_array) -> np.ndarray:
    """Return 1 - sum of minima / sum of maxima of the codes, (Q, G) float32."""
    distance = np.empty((query.shape[0], gallery.shape[0]), np.float32)
    totals = query.sum(axis=1), gallery.sum(axis=1)
    for row, smaller in enumerate(_minima(query, gallery)):
        larger = totals[0][row] + totals[1] - smaller
        distance[row] = 1 - smaller / larger
    return distance


def _minima(query: csr_array, gallery: csr_array) -> Iterator[np.ndarray]:
    """Yield the sum of minima of each query with every gallery code, (G,).

    Only gallery codes that share a member with the query are looked at.
    """
    columns = gallery.tocsc()
    counts = np.diff(columns.indptr)
    for row in range(query.shape[0]):
        span = slice(query.indptr[row], query.indptr[row + 1])
        members = query.indices[span]
        sizes = counts[members]
        ends = np.cumsum(sizes)
        offsets = np.repeat(columns.indptr[members] - (ends - sizes), sizes)
        entries = np.arange(sizes.sum()) + offsets
        own = np.repeat(query.data[span], sizes)
        smaller = np.minimum(own, columns.data[entries])
        yield np.bincount(columns.indices[entries], smaller, gallery.shape[0])


def _unit_rows(query: Any, gallery: Any) -> np.ndarray:
    """Stack features of both sides, float32, of unit norm.

    Raises:
        ValueError: other shapes, widths that differ, NaN or infinity.
    """
    sides = []
    for name, feat in (("query", query), ("gallery", gallery)):
        if hasattr(feat, "detach"):
            feat = feat.detach().float().cpu()  # NumPy knows no bfloat16
        feat = np.asarray(feat, np.float32)
        if feat.ndim != 2 or 0 in feat.shape:
            raise ValueError(f"{name} features must be (N, D), got {feat.shape}")
        sides.append(unit_rows(feat, name))
    if sides[0].shape[1] != sides[1].shape[1]:
        widths = " and ".join(str(side.shape[1]) for side in sides)
        raise ValueError(f"query and gallery features have different widths: {widths}")
    return np.concatenate(sides)


def unit_rows(feat: np.ndarray, name: str) -> np.ndarray:
    """Divide rows (N, D) by their norm, in float32. Rows of zeros stay.

    Args:
        feat: float32.
        name: of the side, for messages.

    Raises:
        ValueError: NaN or infinity.
    """
    least = np.finfo(np.float32).tiny
    with np.errstate(over="ignore"):
        norms = np.linalg.norm(feat, axis=1, keepdims=True)
    ordinary = (norms > SMALL) & (norms < np.inf)
    if not ordinary.all():
        if not np.isfinite(feat).all():
            raise ValueError(f"{name} features: NaN or infinity (or overflow)")
        largest = np.maximum(np.abs(feat).max(1, keepdims=True), least)
        feat = np.where(ordinary, feat, feat / largest)
        norms = np.linalg.norm(feat, axis=1, keepdims=True)
    return feat / np.maximum(norms, least)


def check_options(k1: int, k2: int, weight: float) -> None:
    """Refuse parameters of `rerank` that it cannot use.

    Args:
        k1: neighbours.
        k2: neighbours whose codes are averaged.
        weight: share of the original distance.

    Raises:
        ValueError: one is of another type, or out of range.
    """
    if isinstance(k1, bool) or not isinstance(k1, int) or k1 < 1:
        raise ValueError(f"k1={k1!r} must be an integer >= 1")
    if isinstance(k2, bool) or not isinstance(k2, int) or not 1 <= k2 <= k1:
        raise ValueError(f"k2={k2!r} must be an integer from 1 to k1={k1}")
    is_number = isinstance(weight, Real) and not isinstance(weight, bool)
    if not is_number or not 0 <= weight <= 1:
        raise ValueError(f"weight={weight!r} (lambda) must be from 0 to 1, as in 0.3")
