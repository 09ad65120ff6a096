"""Retrieval numbers from features, identities and cameras: CMC, mAP, mINP and the average precision of every query.

What is special here: nothing is ranked in full. CMC, AP and INP need only the ranks of the right items, so each row of similarities is sorted as plain values and the
few right items are placed by bisection; similarities exist for a block of queries at a time. One routine serves NumPy and a GPU.

Ties: equal scores rank in gallery order: a right item's rank is 1 + kept items that score higher + kept items of equal score that stand before it in the gallery.

Rules: `vcm` (HITSZ-VCM) removes, for each query, the gallery items of the same identity and the same camera; `sysu` (SYSU-MM01) removes everything of camera 2 for a
query of camera 3, and its CMC counts identities (only the first item of each is ranked); `none` (RegDB) removes nothing. AP and INP always use all kept items. A query
that has no right item left is skipped, and counted in `n_skipped`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np

from vvi.types import Rule

Array = Any  # np.ndarray or a torch.Tensor on a GPU; both sides of every operation below are of one kind
_BLOCK = {
    True: 2**23,
    False: 2**24,
}  # similarities held at a time, on the host or on a GPU
_SLICE = {
    True: 2**18,
    False: 2**24,
}  # similarities ranked at a time; on the host few enough to stay in the cache of one core


@dataclass(frozen=True, eq=False, repr=False)
class Metrics:
    """What one evaluation says, all in 0..1. Over the `n_valid` queries that had a right item: `cmc[k-1]` = CMC@k, `mAP`, `mINP`.

    ap: (Q,) float64, average precision, NaN where skipped; first_hit: (Q,) int64, rank of the first right item from 1, 0 where skipped. Rank-k and mAP over any
    subset of queries, and their spread, follow from these two.
    """

    cmc: np.ndarray
    mAP: float
    mINP: float
    n_valid: int
    n_skipped: int
    ap: np.ndarray
    first_hit: np.ndarray

    def rank(self, k: int) -> float:
        """CMC@k: share of the counted queries with a right item among the first k; past the end of a short gallery the last value holds."""
        if k < 1:
            raise ValueError(f"rank {k}: ranks start at 1")
        return float(
            np.count_nonzero((self.first_hit > 0) & (self.first_hit <= k))
            / self.n_valid
        )

    def __repr__(self) -> str:
        shown = "  ".join(f"R{k} {100 * self.rank(k):.2f}" for k in (1, 5, 10, 20))
        return f"Metrics({shown}  mAP {100 * self.mAP:.2f}  mINP {100 * self.mINP:.2f}  queries {self.n_valid}, skipped {self.n_skipped})"


def retrieval_metrics(
    query,
    gallery,
    query_ids,
    gallery_ids,
    query_cams,
    gallery_cams,
    rule: Rule = "vcm",
    chunk: int | None = None,
) -> Metrics:
    """Rank the gallery for every query by cosine similarity and score the ranking.

    query: (Q, D), gallery: (G, D), NumPy or torch, on the CPU or a GPU, of any scale: rows are divided by their norms here (a row of zeros is equally similar, 0, to
    everything). Float64 is compared in float64, all else in float32. ids, cams: (Q,) and (G,) integers. chunk: queries per block of similarities, by default as many
    as fill 32 MB (64 MB on a GPU). ValueError on NaN or infinity (naming rows), on shapes that do not fit, on an empty side and when no query has a match.

    >>> m = retrieval_metrics([[1, 0], [0, 1]], [[2, 1], [1, 9], [1, 1]], [7, 8], [7, 8, 7], [1, 1], [2, 2, 2])
    >>> m.rank(1), m.mAP, m.mINP, m.ap
    (1.0, 1.0, 1.0, array([1., 1.]))
    """
    query, gallery = _features(query, gallery)
    protocol = _Protocol.of(
        query_ids,
        gallery_ids,
        query_cams,
        gallery_cams,
        rule,
        (len(query), len(gallery)),
    )
    return _collect(protocol, _products(query, gallery, chunk))


def from_similarity(
    similarity, query_ids, gallery_ids, query_cams, gallery_cams, rule: Rule = "vcm"
) -> Metrics:
    """The same from given similarities (Q, G): higher is nearer, any finite range. The matrix is left as it is.

    Two infrared queries, three visible tracklets; the second query loses its best hit to the camera rule:

    >>> similarity = np.array([[0.9, 0.2, 0.8], [0.5, 0.9, 0.4]])
    >>> m = from_similarity(similarity, [503, 510], [503, 510, 510], [4, 3], [3, 3, 12])
    >>> m.rank(1), m.rank(2), m.mAP, m.n_valid
    (0.5, 1.0, 0.75, 2)
    >>> back = from_similarity(similarity.T, [503, 510, 510], [503, 510], [3, 3, 12], [4, 3])
    >>> back.rank(1), back.mAP, back.n_valid, back.n_skipped, back.ap
    (0.5, 0.75, 2, 1, array([1. , nan, 0.5]))
    >>> round(from_similarity(similarity, [503, 510], [503, 510, 510], [4, 3], [3, 3, 12], rule="none").mAP, 6)
    0.916667
    """
    similarity = _plain(similarity, "similarity")
    protocol = _Protocol.of(
        query_ids, gallery_ids, query_cams, gallery_cams, rule, tuple(similarity.shape)
    )
    return _collect(protocol, _copies(similarity))


def ranked_lists(
    query,
    gallery,
    query_ids,
    gallery_ids,
    query_cams,
    gallery_cams,
    rule: Rule = "vcm",
    top: int = 10,
) -> np.ndarray:
    """The first `top` gallery items of every query, best first: (Q, top) int64 rows of the gallery, -1 where the kept gallery is shorter.
    Same features, rule and ties as `retrieval_metrics`; needs no right item.

    >>> ranked_lists([[1.0, 0.0]], [[1, 1], [1, 0], [1, 0]], [5], [6, 7, 5], [1], [1, 1, 1], top=3)
    array([[ 1,  0, -1]])
    """
    query, gallery = _features(query, gallery)
    protocol = _Protocol.of(
        query_ids,
        gallery_ids,
        query_cams,
        gallery_cams,
        rule,
        (len(query), len(gallery)),
    )
    lists = np.full((len(query), top), -1, dtype=np.int64)
    for low, block in _products(query, gallery, None):
        protocol.remove(low, block)
        first = _order(block)[:, :top]
        kept = block[_like(block, np.arange(len(block)))[:, None], first] > -np.inf
        lists[low : low + len(block), : first.shape[1]] = np.where(
            _host(kept), _host(first), -1
        )
    return lists


@dataclass(frozen=True, eq=False)
class _Protocol:
    """Who is right, who is removed. `order` lists the gallery by identity: that of query q at `start[q]:stop[q]`, the j-th of all identities from `groups[j]`."""

    query_cams: np.ndarray
    gallery_cams: np.ndarray
    rule: Rule
    order: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    groups: np.ndarray

    @classmethod
    def of(
        cls,
        query_ids,
        gallery_ids,
        query_cams,
        gallery_cams,
        rule: Rule,
        shape: tuple[int, ...],
    ) -> _Protocol:
        if rule not in get_args(Rule):
            raise ValueError(f"rule {rule!r}: it is one of {', '.join(get_args(Rule))}")
        if 0 in shape:
            raise ValueError(
                f"empty {'query' if shape[0] == 0 else 'gallery'} set: {shape[0]} queries x {shape[1]} gallery items"
            )
        given = dict(
            query_ids=query_ids,
            gallery_ids=gallery_ids,
            query_cams=query_cams,
            gallery_cams=gallery_cams,
        )
        labels = {name: np.asarray(_host(x)) for name, x in given.items()}
        for (name, value), count in zip(labels.items(), shape * 2, strict=True):
            if value.shape != (count,) or not (
                value.dtype.kind in "iub"
                or (value.dtype.kind == "f" and not (value % 1).any())
            ):
                raise ValueError(
                    f"{name} must be whole numbers of shape ({count},), as the features or similarities have it; got {value.dtype} {value.shape}"
                )
        if rule == "sysu":
            _check_sysu_cameras(labels["query_cams"], labels["gallery_cams"])
        order = np.argsort(labels["gallery_ids"], kind="stable")
        ordered = labels["gallery_ids"][order]
        start, stop = (
            np.searchsorted(ordered, labels["query_ids"], side=side)
            for side in ("left", "right")
        )
        groups = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
        return cls(
            labels["query_cams"],
            labels["gallery_cams"],
            rule,
            order,
            start,
            stop,
            groups,
        )

    def pairs(self, low: int, high: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All pairs of equal identity of queries low..high-1, query by query: row among these, gallery column, whether the rule keeps the pair."""
        counts = self.stop[low:high] - self.start[low:high]
        rows = np.repeat(np.arange(high - low), counts)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        cols = self.order[self.start[low:high][rows] + within]
        query, gallery = self.query_cams[low:high][rows], self.gallery_cams[cols]
        kept = {
            "vcm": query != gallery,
            "sysu": (query != 3) | (gallery != 2),
            "none": query == query,
        }[self.rule]
        return rows, cols, kept

    def remove(self, low: int, block: Array) -> None:
        """Put minus infinity, in place, where the rule removes an item for one of the queries low.. of this block."""
        if self.rule == "vcm":
            rows, cols, kept = self.pairs(low, low + len(block))
            block[_like(block, rows[~kept]), _like(block, cols[~kept])] = -np.inf
        elif self.rule == "sysu":
            rows, cols = np.ix_(
                self.query_cams[low : low + len(block)] == 3, self.gallery_cams == 2
            )
            block[_like(block, rows), _like(block, cols)] = -np.inf


def _check_sysu_cameras(query: np.ndarray, gallery: np.ndarray) -> None:
    """Refuse cameras of SYSU-MM01 that are not numbered 1 to 6, as its rule has them."""
    odd = np.setdiff1d(np.concatenate([query, gallery]), np.arange(1, 7))
    if len(odd):
        known = "rule 'sysu' knows the cameras of SYSU-MM01 as 1 to 6, 3 and 6 infrared"
        why = "were they counted from 0" if odd[0] == 0 else "is it another data set"
        raise ValueError(f"{known}, but there is a camera {odd[0]:g}: {why}?")


def _products(
    query: Array, gallery: Array, chunk: int | None
) -> Iterator[tuple[int, Array]]:
    """Slices of blocks of similarities of consecutive queries: cosine up to a positive factor per query, which no ranking sees.
    The gallery's norms divide the slice, so it is not copied and small integers keep exact ties; queries of extreme norm are scaled by a power of two.
    """
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk {chunk}: at least one query per block")
    chunk = chunk or max(1, _BLOCK[_on_host(query)] // len(gallery))
    exponent, gallery_norm = (
        np.frexp(_norms(query, "query"))[1],
        _norms(gallery, "gallery"),
    )
    scale = np.ldexp(1.0, np.where(abs(exponent) > 8, -exponent, 0))[:, None]
    divisor = _like(
        gallery, np.where(gallery_norm > 0, gallery_norm, 1.0), gallery.dtype
    )
    shape = min(chunk, len(query)), len(gallery)
    whole = (
        np.empty(shape, query.dtype) if _on_host(query) else query.new_empty(shape)
    )  # one for all blocks: fresh memory costs time
    for first in range(0, len(query), chunk):
        rows = slice(first, first + chunk)
        part = (
            query[rows]
            if (scale[rows] == 1).all()
            else query[rows] * _like(query, scale[rows], query.dtype)
        )
        for low, block in _slices(_matmul(part, gallery, whole[: len(part)])):
            block /= divisor
            yield first + low, block


def _copies(similarity: Array) -> Iterator[tuple[int, Array]]:
    """Slices of given similarities, copied because removal writes into them."""
    for low, block in _slices(similarity):
        if len(bad := low + np.flatnonzero(_host(~(abs(block) < np.inf).all(1)))):
            raise ValueError(
                f"similarity: NaN or infinity in row(s) {', '.join(map(str, bad[:10]))}"
            )
        yield low, block * 1


def _slices(block: Array) -> Iterator[tuple[int, Array]]:
    step = max(1, _SLICE[_on_host(block)] // block.shape[1])
    return ((low, block[low : low + step]) for low in range(0, len(block), step))


def _matmul(query: Array, gallery: Array, out: Array) -> Array:
    if _on_host(query):
        return np.matmul(query, gallery.T, out=out)
    import torch

    before = (
        torch.get_float32_matmul_precision()
    )  # training may have allowed tf32 or autocast, which change ranks
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(query.device.type, enabled=False):
            return torch.mm(query, gallery.T, out=out)
    finally:
        torch.set_float32_matmul_precision(before)


def _norms(features: Array, name: str) -> np.ndarray:
    """Row norms in float64; NaN and infinity show here."""
    squares = (
        np.einsum("nd,nd->n", features, features, dtype=np.float64)
        if _on_host(features)
        else _host(features.double().square().sum(1))
    )
    if len(bad := np.flatnonzero(~np.isfinite(squares))):
        raise ValueError(
            f"{name} features: NaN or infinity (or overflow) in {len(bad)} row(s): {', '.join(map(str, bad[:10]))}"
        )
    return np.sqrt(squares)


def _collect(protocol: _Protocol, blocks: Iterator[tuple[int, Array]]) -> Metrics:
    total, size = len(protocol.query_cams), len(protocol.gallery_cams)
    ap, inp, first_hit = (
        np.full(total, np.nan),
        np.full(total, np.nan),
        np.zeros(total, np.int64),
    )
    for low, block in blocks:
        rows, cols, kept = protocol.pairs(low, low + len(block))
        if kept.any():
            protocol.remove(low, block)
            valid, *scores = _scores(block, rows[kept], cols[kept], protocol)
            ap[low + valid], inp[low + valid], first_hit[low + valid] = scores
    n_valid = int((first_hit > 0).sum())
    if n_valid == 0:
        raise ValueError(
            f"no query has a match left in the gallery under rule {protocol.rule!r} ({total} queries x {size} gallery items)"
        )
    cmc = (
        np.cumsum(np.bincount(first_hit[first_hit > 0] - 1, minlength=max(size, 20)))
        / n_valid
    )
    return Metrics(
        cmc,
        float(np.nanmean(ap)),
        float(np.nanmean(inp)),
        n_valid,
        total - n_valid,
        ap,
        first_hit,
    )


def _scores(
    block: Array, rows: np.ndarray, cols: np.ndarray, protocol: _Protocol
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows that have a right item, and their AP = mean(k / r_k), INP = P / r_P and first hit, r_1 < ... < r_P being the ranks of the right items (rows, cols)."""
    ranks = _ranks(block, rows, cols)
    by_rank = np.lexsort((ranks, rows))
    rows, cols, ranks = rows[by_rank], cols[by_rank], ranks[by_rank]
    valid, begin, count = np.unique(rows, return_index=True, return_counts=True)
    nth = np.arange(len(rows)) - np.repeat(begin, count) + 1
    first_hit = (
        _identity_ranks(block, valid, cols[begin], protocol)
        if protocol.rule == "sysu"
        else ranks[begin]
    )
    return (
        valid,
        np.add.reduceat(nth / ranks, begin) / count,
        count / ranks[begin + count - 1],
        first_hit,
    )


def _ranks(block: Array, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Rank, from 1, of each item (row, column) among its row of `block`, where removed items are minus infinity."""
    rows, cols = _like(block, rows), _like(block, cols)
    values = block[rows, cols]
    ordered = np.sort(block, axis=1) if _on_host(block) else block.sort(1).values
    at_most = _bisect(ordered, rows, values)
    ranks = 1 + block.shape[1] - at_most
    tied = (at_most > 1) & (ordered[rows, (at_most - 2).clip(0)] == values)
    count = int(tied.sum())
    if count > 16 * len(
        block
    ):  # so many ties that one stable sort costs less than a count for each
        ranks = 1 + _order(block).argsort(1)[rows, cols]
    elif count:
        before = _like(block, np.arange(block.shape[1])) < cols[tied, None]
        ranks[tied] += (before & (block[rows[tied]] == values[tied, None])).sum(1)
    return _host(ranks)


def _bisect(ordered: Array, rows: Array, values: Array) -> Array:
    """How many entries of row `rows[n]` are at most `values[n]`, for all n at once."""
    first, flat, left = rows * ordered.shape[1], ordered.reshape(-1), ordered.shape[1]
    place = first
    while left > 1:
        half = left // 2
        place = place + half * (flat[place + half - 1] <= values)
        left -= half
    return place + (flat[place] <= values) - first


def _identity_ranks(
    block: Array, rows: np.ndarray, cols: np.ndarray, protocol: _Protocol
) -> np.ndarray:
    """Rank, from 1, of the identity whose first item is (row, column), when every identity stands once, at its first item."""
    rows, cols = _like(block, rows), _like(block, cols)[:, None]
    kept, best = block[rows], block[rows[:, None], cols]
    ahead = (kept > best) | (
        (kept == best) & (_like(block, np.arange(block.shape[1])) < cols)
    )
    return 1 + np.logical_or.reduceat(
        _host(ahead)[:, protocol.order], protocol.groups, axis=1
    ).sum(1)


def _order(block: Array) -> Array:
    """Columns of each row, best first, ties by column."""
    return (
        np.argsort(-block, axis=1, kind="stable")
        if _on_host(block)
        else block.argsort(dim=1, descending=True, stable=True)
    )


def _features(query: Any, gallery: Any) -> tuple[Array, Array]:
    """Both sides as 2-d floats of one type in one place; torch on the CPU becomes NumPy (a view, and the faster product)."""
    query, gallery = (
        _plain(query, "query features"),
        _plain(gallery, "gallery features"),
    )
    if query.shape[1] != gallery.shape[1] or query.shape[1] == 0:
        raise ValueError(
            f"query features {tuple(query.shape)} and gallery features {tuple(gallery.shape)} do not share a width D > 0"
        )
    place = gallery if _on_host(query) else query
    query, gallery = _like(place, query), _like(place, gallery)
    return (
        (query, gallery)
        if query.dtype == gallery.dtype
        else tuple(
            x.astype(np.float64) if _on_host(x) else x.double()
            for x in (query, gallery)
        )
    )


def _plain(value: Any, name: str) -> Array:
    """2-d, float32 or float64, without history; on the host as NumPy."""
    if hasattr(value, "detach"):
        value = (
            value.detach().double()
            if value.dtype.itemsize == 8
            else value.detach().float()
        )
        value = value if value.is_cuda else value.cpu().numpy()
    else:
        value = np.asarray(value)
        if value.dtype.kind not in "fiub":
            raise ValueError(f"{name}: expected real numbers, got {value.dtype}")
        value = value.astype(
            np.float32 if value.dtype in (np.float16, np.float32) else np.float64,
            copy=False,
        )
    if value.ndim != 2:
        raise ValueError(
            f"{name}: expected 2 dimensions, got shape {tuple(value.shape)}"
        )
    return value


def _like(place: Array, value: Array, dtype: Any = None) -> Array:
    """`value` where `place` lives, in `dtype` if given."""
    if _on_host(place):
        return np.asarray(value, dtype=dtype)
    import torch

    return torch.as_tensor(value, dtype=dtype, device=place.device)


def _host(value: Any) -> Any:
    return value.detach().cpu().numpy() if hasattr(value, "detach") else value


def _on_host(array: Array) -> bool:
    return isinstance(array, np.ndarray)
