"""Retrieval metrics from features, identities and cameras: CMC, mAP, mINP, AP.

What is special here: no ranking is ever computed in full. CMC, AP and INP need only the
ranks of the matches. Each row of similarities is therefore sorted as plain values, and
the few matches are located in it by bisection. Similarities exist for one block of
queries at a time. The same code serves NumPy and torch tensors on a GPU.

Ties: equal scores rank in gallery order. The rank of a match is 1 + remaining items
with a higher score + remaining items with an equal score that come earlier in the
gallery.

Rules: `vcm` (HITSZ-VCM) removes, for each query, the gallery items of the same identity
and the same camera. `sysu` (SYSU-MM01) removes all of camera 2 for a query of camera 3,
and its CMC counts identities (only the first item of each is ranked). `none` (RegDB)
removes nothing. AP and INP always use all remaining items. A query without a match left
is skipped and counted in `n_skipped`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, get_args

import numpy as np
from numpy.typing import ArrayLike

from vvi.types import Rule

#: An `np.ndarray`, or a `torch.Tensor` on a GPU. Operands are always of one kind.
Array = Any
#: Similarities that are held at a time, by whether they are NumPy.
_BLOCK = {True: 2**23, False: 2**24}
#: Similarities that are ranked at a time. NumPy slices fit the cache of one core.
_SLICE = {True: 2**18, False: 2**24}


@dataclass(frozen=True, eq=False, repr=False)
class Metrics:
    """Scores of one evaluation, all in 0..1.

    Rank-k and mAP over any subset of queries follow from `ap` and `first_hit`.
    """

    #: CMC@k at `cmc[k - 1]`, over the `n_valid` queries: (max(G, 20),). A record keeps
    #: the first 20.
    cmc: np.ndarray
    mAP: float
    mINP: float
    #: Queries with a match in the gallery.
    n_valid: int
    #: Queries without one.
    n_skipped: int
    #: Average precision, NaN where skipped: (Q,) float64.
    ap: np.ndarray
    #: Rank of the first match from 1, 0 where skipped: (Q,) int64.
    first_hit: np.ndarray

    def rank(self, k: int) -> float:
        """Return CMC@k, the share of valid queries with a match among the first k.

        Beyond the end of a short gallery the last value holds.

        Raises:
            ValueError: k is no number, or below 1.
        """
        if not isinstance(k, Real) or not k >= 1:
            raise ValueError(f"rank {k!r}: ranks start at 1, and k is one integer")
        hits = (self.first_hit > 0) & (self.first_hit <= k)
        return float(np.count_nonzero(hits) / self.n_valid)

    def __repr__(self) -> str:
        ranks = "  ".join(f"R{k} {100 * self.rank(k):.2f}" for k in (1, 5, 10, 20))
        means = f"mAP {100 * self.mAP:.2f}  mINP {100 * self.mINP:.2f}"
        queries = f"queries {self.n_valid}, skipped {self.n_skipped}"
        return f"Metrics({ranks}  {means}  {queries})"


def retrieval_metrics(
    query: ArrayLike,
    gallery: ArrayLike,
    query_ids: ArrayLike,
    gallery_ids: ArrayLike,
    query_cams: ArrayLike,
    gallery_cams: ArrayLike,
    rule: Rule = "vcm",
    chunk: int | None = None,
) -> Metrics:
    """Rank the gallery for every query by cosine similarity and score the ranking.

    Args:
        query: features (Q, D), NumPy or torch, on the CPU or a GPU, of any scale. A row
            of zeros has similarity 0 to everything. Float64 is compared in float64,
            everything else in float32.
        gallery: features (G, D), likewise.
        query_ids: identities (Q,), integers.
        gallery_ids: identities (G,), integers.
        query_cams: cameras (Q,), integers.
        gallery_cams: cameras (G,), integers.
        rule: which gallery items are removed (see above).
        chunk: queries per block of similarities. The default fills 32 MB (64 MB on a
            GPU).

    Returns:
        The scores, per query and on average.

    Raises:
        ValueError: features hold NaN or infinity, shapes do not fit, a side is empty,
            labels are no integers, the rule is unknown, chunk is below 1, or no query
            has a match.

    >>> query, gallery = [[1, 0], [0, 1]], [[2, 1], [1, 9], [1, 1]]
    >>> m = retrieval_metrics(query, gallery, [7, 8], [7, 8, 7], [1, 1], [2, 2, 2])
    >>> m.rank(1), m.mAP, m.mINP, m.ap
    (1.0, 1.0, 1.0, array([1., 1.]))
    """
    query, gallery = _features(query, gallery)
    labels = _labels(query_ids, gallery_ids, query_cams, gallery_cams)
    protocol = _Protocol.of(labels, rule, (len(query), len(gallery)))
    return _collect(protocol, _products(query, gallery, chunk))


def from_similarity(
    similarity: ArrayLike,
    query_ids: ArrayLike,
    gallery_ids: ArrayLike,
    query_cams: ArrayLike,
    gallery_cams: ArrayLike,
    rule: Rule = "vcm",
) -> Metrics:
    """Score the ranking of a given similarity matrix, which is left unchanged.

    Args:
        similarity: (Q, G), higher is nearer, any finite range.
        query_ids: identities (Q,), integers.
        gallery_ids: identities (G,), integers.
        query_cams: cameras (Q,), integers.
        gallery_cams: cameras (G,), integers.
        rule: which gallery items are removed (see above).

    Raises:
        ValueError: similarities hold NaN or infinity, shapes do not fit, a side is
            empty, labels are no integers, the rule is unknown, or no query has a match.

    Two infrared queries, three visible tracklets. The second query loses its best hit
    to the camera rule:

    >>> similarity = np.array([[0.9, 0.2, 0.8], [0.5, 0.9, 0.4]])
    >>> labels = ([503, 510], [503, 510, 510], [4, 3], [3, 3, 12])
    >>> m = from_similarity(similarity, *labels)
    >>> m.rank(1), m.rank(2), m.mAP, m.n_valid
    (0.5, 1.0, 0.75, 2)
    >>> labels = ([503, 510, 510], [503, 510], [3, 3, 12], [4, 3])
    >>> back = from_similarity(similarity.T, *labels)
    >>> back.rank(1), back.mAP, back.n_valid, back.n_skipped, back.ap
    (0.5, 0.75, 2, 1, array([1. , nan, 0.5]))
    >>> labels = ([503, 510], [503, 510, 510], [4, 3], [3, 3, 12])
    >>> round(from_similarity(similarity, *labels, rule="none").mAP, 6)
    0.916667
    """
    similarity = _matrix(similarity, "similarity")
    labels = _labels(query_ids, gallery_ids, query_cams, gallery_cams)
    protocol = _Protocol.of(labels, rule, tuple(similarity.shape))
    return _collect(protocol, _copies(similarity))


def ranked_lists(
    query: ArrayLike,
    gallery: ArrayLike,
    query_ids: ArrayLike,
    gallery_ids: ArrayLike,
    query_cams: ArrayLike,
    gallery_cams: ArrayLike,
    rule: Rule = "vcm",
    top: int = 10,
) -> np.ndarray:
    """Return the first gallery items of every query, best first: (Q, top) int64.

    Same similarity, rule and ties as `retrieval_metrics`. No query needs a match.

    Args:
        query: features (Q, D).
        gallery: features (G, D).
        query_ids: identities (Q,), integers.
        gallery_ids: identities (G,), integers.
        query_cams: cameras (Q,), integers.
        gallery_cams: cameras (G,), integers.
        rule: which gallery items are removed (see above).
        top: length of each list.

    Returns:
        Gallery rows, -1 where fewer than `top` items remain for a query.

    Raises:
        ValueError: as in `retrieval_metrics`, or top is below 1.

    >>> query, gallery = [[1.0, 0.0]], [[1, 1], [1, 0], [1, 0]]
    >>> ranked_lists(query, gallery, [5], [6, 7, 5], [1], [1, 1, 1], top=3)
    array([[ 1,  0, -1]])
    """
    query, gallery = _features(query, gallery)
    labels = _labels(query_ids, gallery_ids, query_cams, gallery_cams)
    protocol = _Protocol.of(labels, rule, (len(query), len(gallery)))
    check_top(top)
    lists = np.full((len(query), top), -1, dtype=np.int64)
    for low, block in _products(query, gallery, None):
        protocol.remove(low, block)
        best = _order(block)[:, :top]
        rows = _to_backend(block, np.arange(len(block)))[:, None]
        is_kept = block[rows, best] > -np.inf
        filled = np.where(_to_numpy(is_kept), _to_numpy(best), -1)
        lists[low : low + len(block), : best.shape[1]] = filled
    return lists


def check_top(top: int) -> None:
    """Check the length of ranked lists.

    Raises:
        ValueError: it is no integer, or below 1.
    """
    if not isinstance(top, Integral) or top < 1:
        raise ValueError(f"top={top!r} must be an integer >= 1, the length of a list")


@dataclass(frozen=True, eq=False)
class _Protocol:
    """Which gallery items match a query, and which the rule removes."""

    query_cams: np.ndarray
    gallery_cams: np.ndarray
    rule: Rule
    #: Gallery columns sorted by identity: (G,).
    order: np.ndarray
    #: The items of query q's identity are `order[start[q]:stop[q]]`: (Q,) each.
    start: np.ndarray
    stop: np.ndarray
    #: Positions in `order` at which a new identity begins.
    groups: np.ndarray

    @classmethod
    def of(
        cls, labels: dict[str, np.ndarray], rule: Rule, shape: tuple[int, ...]
    ) -> _Protocol:
        """Check labels against the shape of the similarities and sort them.

        Args:
            labels: identities and cameras of both sides.
            rule: which gallery items are removed.
            shape: of the similarities, (Q, G).

        Raises:
            ValueError: a side is empty, labels do not fit, or the rule is unknown.
        """
        _check_labels(labels, rule, shape)
        query_cams, gallery_cams = labels["query_cams"], labels["gallery_cams"]
        if rule == "sysu":
            _check_sysu_cameras(query_cams, gallery_cams)
        order = np.argsort(labels["gallery_ids"], kind="stable")
        ids = labels["gallery_ids"][order]
        start = np.searchsorted(ids, labels["query_ids"], side="left")
        stop = np.searchsorted(ids, labels["query_ids"], side="right")
        groups = np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]])
        return cls(query_cams, gallery_cams, rule, order, start, stop, groups)

    def pairs(self, low: int, high: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return all pairs of equal identity of queries low..high-1, query by query.

        Returns:
            Row of the query, counted from `low`, gallery column, and whether the rule
            keeps the pair: (pairs,) each.
        """
        counts = self.stop[low:high] - self.start[low:high]
        rows = np.repeat(np.arange(high - low), counts)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        cols = self.order[self.start[low:high][rows] + within]
        return rows, cols, self._keeps(low + rows, cols)

    def _keeps(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        query, gallery = self.query_cams[rows], self.gallery_cams[cols]
        if self.rule == "vcm":
            return query != gallery
        if self.rule == "sysu":
            return (query != 3) | (gallery != 2)
        return np.ones(len(rows), dtype=bool)

    def remove(self, low: int, block: Array) -> None:
        """Set removed items of a block to minus infinity, in place.

        Args:
            low: the query of the block's first row.
            block: similarities (rows, G).
        """
        if self.rule == "vcm":
            rows, cols, is_kept = self.pairs(low, low + len(block))
            rows, cols = rows[~is_kept], cols[~is_kept]
        elif self.rule == "sysu":
            is_cam3 = self.query_cams[low : low + len(block)] == 3
            rows, cols = np.ix_(is_cam3, self.gallery_cams == 2)
        else:
            return
        block[_to_backend(block, rows), _to_backend(block, cols)] = -np.inf


def _labels(query_ids, gallery_ids, query_cams, gallery_cams) -> dict[str, np.ndarray]:
    labels = dict(
        query_ids=query_ids,
        gallery_ids=gallery_ids,
        query_cams=query_cams,
        gallery_cams=gallery_cams,
    )
    return {name: _array(_to_numpy(value), name) for name, value in labels.items()}


def _check_labels(
    labels: dict[str, np.ndarray], rule: Rule, shape: tuple[int, ...]
) -> None:
    """Raise ValueError unless labels fit similarities of a shape (Q, G)."""
    if rule not in get_args(Rule):
        raise ValueError(f"rule {rule!r}: it is one of {', '.join(get_args(Rule))}")
    if 0 in shape:
        side = "query" if shape[0] == 0 else "gallery"
        sizes = f"{shape[0]} queries x {shape[1]} gallery items"
        raise ValueError(f"empty {side} set: {sizes}")
    for (name, values), count in zip(labels.items(), shape * 2, strict=True):
        if values.shape != (count,) or not _is_integral(values):
            raise ValueError(
                f"{name} must be integers of shape ({count},) to match the features or "
                f"similarities; got {values.dtype} {values.shape}"
            )


def _is_integral(values: np.ndarray) -> bool:
    if values.dtype.kind == "f":
        return is_exact(values) and not (values % 1).any()
    return values.dtype.kind in "iub"


def is_exact(values: np.ndarray) -> bool:
    """Return whether the type of an array holds its integers exactly.

    Large identities, such as time stamps, may become one number as floats.

    >>> is_exact(np.array([3e15])), is_exact(np.array([3e16])), is_exact(np.arange(2))
    (True, False, True)
    """
    if values.dtype.kind != "f":
        return True
    finite = values[np.isfinite(values)]
    return bool((abs(finite) < 2 / np.finfo(values.dtype).eps).all())


def _check_sysu_cameras(query: np.ndarray, gallery: np.ndarray) -> None:
    """Refuse cameras not numbered 1 to 6, as the rule of SYSU-MM01 expects them."""
    odd = np.setdiff1d(np.concatenate([query, gallery]), np.arange(1, 7))
    if len(odd):
        known = "rule 'sysu' knows the cameras of SYSU-MM01 as 1 to 6, 3 and 6 infrared"
        why = "were they counted from 0" if odd[0] == 0 else "is it another data set"
        raise ValueError(f"{known}, but there is a camera {odd[0]:g}: {why}?")


def _products(
    query: Array, gallery: Array, chunk: int | None
) -> Iterator[tuple[int, Array]]:
    """Yield the first query and the similarities of each slice of consecutive queries.

    Similarities are cosines up to a positive factor per query, which leaves the ranking
    as it is. The gallery norms divide the product, so the gallery is not copied and
    small integers keep exact ties. Rows of extreme norm, in the gallery those whose
    products could leave the range of float32, are scaled by a power of two first.

    Args:
        query: features (Q, D).
        gallery: features (G, D) of the same type.
        chunk: queries per block, None to fill the default size.

    Raises:
        ValueError: the chunk is below 1, or a feature is NaN or infinite.
    """
    if chunk is not None and (not isinstance(chunk, Integral) or chunk < 1):
        raise ValueError(f"chunk {chunk!r}: at least one query per block, an integer")
    chunk = chunk or max(1, _BLOCK[_is_numpy(query)] // len(gallery))
    scale = _power_of_two_scale(_norms(query, "query"))[:, None]
    norms = _norms(gallery, "gallery")
    gallery_scale = _power_of_two_scale(norms, beyond=60)
    if not (gallery_scale == 1).all():
        factors = _to_backend(gallery, gallery_scale[:, None], gallery.dtype)
        gallery, norms = gallery * factors, norms * gallery_scale
    divisor = _to_backend(gallery, np.where(norms > 0, norms, 1.0), gallery.dtype)
    out = _empty_like(query, (min(chunk, len(query)), len(gallery)))
    for first in range(0, len(query), chunk):
        rows = slice(first, first + chunk)
        part = query[rows]
        if not (scale[rows] == 1).all():
            part = part * _to_backend(query, scale[rows], query.dtype)
        for low, block in _slices(_matmul(part, gallery, out[: len(part)])):
            block /= divisor
            yield first + low, block


def _power_of_two_scale(norms: np.ndarray, beyond: int = 8) -> np.ndarray:
    """Return a power of two per norm that brings extreme norms towards 1, else 1.

    Args:
        norms: (N,).
        beyond: size of the exponent from which a norm is extreme.
    """
    exponent = np.frexp(norms)[1]
    scale = np.where(abs(exponent) > beyond, -exponent, 0)
    return np.ldexp(1.0, scale.clip(-126, 126))  # float32 holds no larger power


def _empty_like(array: Array, shape: tuple[int, int]) -> Array:
    return np.empty(shape, array.dtype) if _is_numpy(array) else array.new_empty(shape)


def _copies(similarity: Array) -> Iterator[tuple[int, Array]]:
    """Yield slices of given similarities, copied because removal writes into them.

    Raises:
        ValueError: a row holds NaN or infinity.
    """
    for low, block in _slices(similarity):
        is_bad = _to_numpy(~(abs(block) < np.inf).all(1))
        if is_bad.any():
            rows = _first_ten(low + np.flatnonzero(is_bad))
            raise ValueError(f"similarity: NaN or infinity in row(s) {rows}")
        yield low, block * 1


def _first_ten(numbers: np.ndarray) -> str:
    return ", ".join(map(str, numbers[:10]))


def _slices(block: Array) -> Iterator[tuple[int, Array]]:
    step = max(1, _SLICE[_is_numpy(block)] // block.shape[1])
    return ((low, block[low : low + step]) for low in range(0, len(block), step))


def _matmul(query: Array, gallery: Array, out: Array) -> Array:
    """Multiply in full precision, whatever training set for tf32 and autocast."""
    if _is_numpy(query):
        return np.matmul(query, gallery.T, out=out)
    import torch

    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(query.device.type, enabled=False):
            return torch.mm(query, gallery.T, out=out)
    finally:
        torch.set_float32_matmul_precision(precision)


def _norms(features: Array, name: str) -> np.ndarray:
    """Return row norms in float64, which also reveal NaN and infinity.

    Raises:
        ValueError: there are any.
    """
    if _is_numpy(features):
        squares = np.einsum("nd,nd->n", features, features, dtype=np.float64)
    else:
        squares = _to_numpy(features.double().square().sum(1))
    bad = np.flatnonzero(~np.isfinite(squares))
    if len(bad):
        rows = f"{len(bad)} row(s): {_first_ten(bad)}"
        raise ValueError(f"{name} features: NaN or infinity (or overflow) in {rows}")
    return np.sqrt(squares)


def _collect(protocol: _Protocol, blocks: Iterator[tuple[int, Array]]) -> Metrics:
    """Score all blocks of similarities and average over the valid queries.

    Raises:
        ValueError: no query has a match.
    """
    total, size = len(protocol.query_cams), len(protocol.gallery_cams)
    ap = np.full(total, np.nan)
    inp = np.full(total, np.nan)
    first_hit = np.zeros(total, np.int64)
    for low, block in blocks:
        rows, cols, is_kept = protocol.pairs(low, low + len(block))
        if is_kept.any():
            protocol.remove(low, block)
            scores = _scores(block, rows[is_kept], cols[is_kept], protocol)
            valid = low + scores[0]
            ap[valid], inp[valid], first_hit[valid] = scores[1:]
    hits = first_hit[first_hit > 0]
    if not len(hits):
        sizes = f"({total} queries x {size} gallery items)"
        raise ValueError(
            "no query has a match left in the gallery under rule "
            f"{protocol.rule!r} {sizes}"
        )
    counts = np.bincount(hits - 1, minlength=max(size, 20))
    return Metrics(
        cmc=np.cumsum(counts) / len(hits),
        mAP=float(np.nanmean(ap)),
        mINP=float(np.nanmean(inp)),
        n_valid=len(hits),
        n_skipped=total - len(hits),
        ap=ap,
        first_hit=first_hit,
    )


def _scores(
    block: Array, rows: np.ndarray, cols: np.ndarray, protocol: _Protocol
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Score the rows of a block that have a match.

    With ranks r_1 < ... < r_P of the matches: AP = mean(k / r_k), INP = P / r_P.

    Args:
        block: similarities, removed items at minus infinity.
        rows: row of every match.
        cols: column of every match.
        protocol: rule and identities.

    Returns:
        Valid rows, and their AP, INP and rank of the first hit.
    """
    ranks = _ranks(block, rows, cols)
    by_rank = np.lexsort((ranks, rows))
    rows, cols, ranks = rows[by_rank], cols[by_rank], ranks[by_rank]
    valid, begin, count = np.unique(rows, return_index=True, return_counts=True)
    nth = np.arange(len(rows)) - np.repeat(begin, count) + 1
    ap = np.add.reduceat(nth / ranks, begin) / count
    inp = count / ranks[begin + count - 1]
    if protocol.rule == "sysu":
        first_hit = _identity_ranks(block, valid, cols[begin], protocol)
    else:
        first_hit = ranks[begin]
    return valid, ap, inp, first_hit


def _ranks(block: Array, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Return the rank, from 1, of each item within its row.

    Args:
        block: similarities, removed items at minus infinity.
        rows: row of each item.
        cols: column of each item.
    """
    rows, cols = _to_backend(block, rows), _to_backend(block, cols)
    values = block[rows, cols]
    ascending = np.sort(block, axis=1) if _is_numpy(block) else block.sort(1).values
    at_most = _count_at_most(ascending, rows, values)
    ranks = 1 + block.shape[1] - at_most
    is_tied = (at_most > 1) & (ascending[rows, (at_most - 2).clip(0)] == values)
    ties = int(is_tied.sum())
    if ties > 16 * len(block):  # one stable sort costs less than a count for each tie
        ranks = 1 + _order(block).argsort(1)[rows, cols]
    elif ties:
        columns = _to_backend(block, np.arange(block.shape[1]))
        is_earlier = columns < cols[is_tied, None]
        is_equal = block[rows[is_tied]] == values[is_tied, None]
        ranks[is_tied] += (is_earlier & is_equal).sum(1)
    return _to_numpy(ranks)


def _count_at_most(ascending: Array, rows: Array, values: Array) -> Array:
    """Count the entries of a row that are at most a value, by bisection.

    Args:
        ascending: rows, each sorted.
        rows: row to count in, (N,).
        values: (N,).

    Returns:
        (N,).
    """
    width = ascending.shape[1]
    flat, first = ascending.reshape(-1), rows * width
    position, left = first, width
    while left > 1:
        half = left // 2
        position = position + half * (flat[position + half - 1] <= values)
        left -= half
    return position + (flat[position] <= values) - first


def _identity_ranks(
    block: Array, rows: np.ndarray, cols: np.ndarray, protocol: _Protocol
) -> np.ndarray:
    """Rank, from 1, the identity of each item among identities, by their best items.

    Args:
        block: similarities, removed items at minus infinity.
        rows: rows to rank in.
        cols: best match of each of these rows.
        protocol: identities of the gallery.
    """
    rows, cols = _to_backend(block, rows), _to_backend(block, cols)[:, None]
    scores, best = block[rows], block[rows[:, None], cols]
    columns = _to_backend(block, np.arange(block.shape[1]))
    is_ahead = (scores > best) | ((scores == best) & (columns < cols))
    by_identity = _to_numpy(is_ahead)[:, protocol.order]
    return 1 + np.logical_or.reduceat(by_identity, protocol.groups, axis=1).sum(1)


def _order(block: Array) -> Array:
    """Return the columns of each row, best first, ties by column."""
    if _is_numpy(block):
        return np.argsort(-block, axis=1, kind="stable")
    return block.argsort(dim=1, descending=True, stable=True)


def _features(query: Any, gallery: Any) -> tuple[Array, Array]:
    """Return both sides as matrices of one float type on one device.

    Torch tensors on the CPU become NumPy views, which multiply faster.

    Raises:
        ValueError: they are no real matrices, or their widths differ or are 0.
    """
    query = _matrix(query, "query features")
    gallery = _matrix(gallery, "gallery features")
    if query.shape[1] != gallery.shape[1] or query.shape[1] == 0:
        raise ValueError(
            f"query features {tuple(query.shape)} and gallery features "
            f"{tuple(gallery.shape)} do not share a width D > 0"
        )
    reference = gallery if _is_numpy(query) else query
    query, gallery = _to_backend(reference, query), _to_backend(reference, gallery)
    if query.dtype != gallery.dtype:
        query, gallery = _to_double(query), _to_double(gallery)
    return query, gallery


def _array(value: Any, name: str) -> np.ndarray:
    """Return a value as an array.

    Raises:
        ValueError: its rows have unequal lengths.
    """
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name}: rows of unequal lengths make no array") from error


def _to_double(array: Array) -> Array:
    return array.astype(np.float64) if _is_numpy(array) else array.double()


def _matrix(value: Any, name: str) -> Array:
    """Return a float32 or float64 matrix without gradient, NumPy unless on a GPU.

    Raises:
        ValueError: the values are no real numbers, or have not two dimensions.
    """
    if hasattr(value, "detach"):
        if value.is_complex() or value.is_sparse:
            kind = "a sparse tensor" if value.is_sparse else value.dtype
            raise ValueError(f"{name}: expected real numbers, got {kind}")
        value = value.detach()
        value = value.double() if value.dtype.itemsize == 8 else value.float()
        value = value if value.is_cuda else value.cpu().numpy()
    else:
        value = _array(value, name)
        if value.dtype.kind not in "fiub":
            raise ValueError(f"{name}: expected real numbers, got {value.dtype}")
        is_single = value.dtype in (np.float16, np.float32)
        value = value.astype(np.float32 if is_single else np.float64, copy=False)
    if value.ndim != 2:
        shape = tuple(value.shape)
        raise ValueError(f"{name}: expected 2 dimensions, got shape {shape}")
    return value


def _to_backend(reference: Array, value: Array, dtype: Any = None) -> Array:
    """Return `value` as the kind of array, and on the device, of `reference`."""
    if _is_numpy(reference):
        return np.asarray(value, dtype=dtype)
    import torch

    return torch.as_tensor(value, dtype=dtype, device=reference.device)


def _to_numpy(value: Any) -> Any:
    return value.detach().cpu().numpy() if hasattr(value, "detach") else value


def _is_numpy(array: Array) -> bool:
    return isinstance(array, np.ndarray)
