"""Features scored and ranked, whoever made them."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import PurePath

import numpy as np
import pandas as pd

from vvi.evaluation.features import (
    SIDES,
    UNSAID,
    VIDEO,
    Features,
    FeaturesError,
    some_rows,
)
from vvi.evaluation.rerank import rerank, unit_rows
from vvi.metrics import Metrics, check_top, from_similarity, retrieval_metrics
from vvi.types import DIRECTIONS, Rule


def pairs(*files: Features) -> dict[str, tuple[Features, Features]]:
    """Split features into query and gallery, by the name of the search.

    Args:
        files: query and gallery, or one file whose table tells them apart by `side`,
            or by a column for each direction (ir2vis, vis2ir), or both modalities in
            one file, each searched for in the other.

    Raises:
        FeaturesError: one file that tells no sides apart, or by other words.
    """
    if len(files) == 2:
        return {"query in gallery": (files[0], files[1])}
    (both,) = files
    side, modality = both.column("side"), both.column("modality")
    if set(side) - {*SIDES, UNSAID}:
        raise FeaturesError(
            f"the column side says {', '.join(sorted(set(side)))}: it must be query, "
            "gallery or empty"
        )
    if set(SIDES) <= set(side):
        return {"query in gallery": _parts(both, side)}
    directed = {name: both.column(name) for name in DIRECTIONS}
    directed = {
        name: side for name, side in directed.items() if set(SIDES) <= set(side)
    }
    if directed:
        return {name: _parts(both, side) for name, side in directed.items()}
    parts = {name: both.part(modality == name) for name in ("ir", "vis")}
    if all(map(len, parts.values())):
        searches = {}
        for direction in DIRECTIONS:
            one, other = direction.split("2")
            searches[direction] = parts[one], parts[other]
        return searches
    raise FeaturesError(
        "one file of features and no two sides in it: give query and gallery as two "
        "files, or fill the column side (query, gallery) or modality (ir, vis)"
    )


def _parts(both: Features, side: np.ndarray) -> tuple[Features, Features]:
    """Return the rows that a column calls query, and those that it calls gallery."""
    query, gallery = (both.part(side == name) for name in SIDES)
    return query, gallery


def score(
    query: Features, gallery: Features, rule: Rule = "vcm", **reranked: float
) -> tuple[Metrics, Metrics | None]:
    """Score how features retrieve.

    Args:
        query: rows that search, with identities and, under most rules, cameras.
        gallery: rows that are searched.
        rule: what is removed from the gallery of a query (`vvi.metrics`).
        reranked: k1, k2, weight of the re-ranking that is scored, too, or none.

    Returns:
        Metrics, and those after re-ranking (None when it is not wanted).

    Raises:
        FeaturesError: an identity or a camera is missing, or a picture would find
            itself.
    """
    _check_comparable(query, gallery)
    if rule != "vcm":  # which removes whatever has the query's camera and identity
        _refuse_the_same(query, gallery)
    ids = _numbers("identity", query, gallery)
    if rule == "none":
        cams = np.zeros(len(query), int), np.zeros(len(gallery), int)
    elif rule == "sysu":
        cams = tuple(_cameras_of_sysu(side) for side in (query, gallery))
    else:
        cams = _numbers("camera", query, gallery)
    plain = retrieval_metrics(query.values, gallery.values, *ids, *cams, rule=rule)
    if not reranked:
        return plain, None
    distance = rerank(query.values, gallery.values, **reranked)
    return plain, from_similarity(-distance, *ids, *cams, rule=rule)


def _refuse_the_same(query: Features, gallery: Features) -> None:
    """Refuse pictures on both sides: each would be its own right answer."""
    same = _themselves(query, gallery)
    rows = [row for row, others in enumerate(same) if others]
    if rows:
        name = _names(query)[rows[0]]
        raise FeaturesError(
            f"{len(rows)} pictures stand in query and gallery alike, the first is "
            f"{name}: each would find itself; give a gallery without them"
        )


def rank(
    query: Features, gallery: Features, top: int = 10, **reranked: float
) -> pd.DataFrame:
    """Rank the gallery rows of every query row, nearest first.

    The very picture that searches is left out where the gallery holds it, too.

    Args:
        query: rows that search.
        gallery: rows that are searched.
        top: how many are listed of each.
        reranked: k1, k2, weight of re-ranking. By default there is none.

    Returns:
        A row for each rank of each list: `query` and `gallery` (names), `rank` from 1,
        `similarity` (cosine) or `distance` (re-ranked), `query_row`, `gallery_row`,
        identities, and `verdict`: right, wrong or unknown.

    Raises:
        FeaturesError: there is nothing to rank, or the sides are of two networks.
    """
    check_top(top)
    _check_comparable(query, gallery)
    if reranked:
        column, sign = "distance", 1
        nearness = rerank(query.values, gallery.values, **reranked)
    else:
        column, sign = "similarity", -1
        nearness = _cosines(query, gallery)
    themselves = _themselves(query, gallery)
    orders, values = [], []
    for row, near in enumerate(nearness):
        order = np.argsort(sign * near, kind="stable")
        order = order[~np.isin(order, themselves[row])][:top]
        orders.append(order.copy())  # of its own, or all that it was cut from stays
        values.append(near[order])
    lengths = [len(order) for order in orders]
    rows = np.repeat(np.arange(len(query)), lengths)
    table = _listed(query, gallery, rows, np.concatenate(orders))
    if table.empty:
        raise FeaturesError(
            f"the gallery holds nothing but {_names(query)[0]}, which searches: give "
            "it other pictures"
        )
    table["rank"] = np.concatenate([np.arange(n) + 1 for n in lengths])
    table[column] = np.concatenate(values)
    ends = ["query_identity", "identity", "verdict", "query_row", "gallery_row"]
    return table[["query", "rank", "gallery", column, *ends]]


def _listed(
    query: Features, gallery: Features, rows: np.ndarray, others: np.ndarray
) -> pd.DataFrame:
    """Name pairs of a query row and a gallery row, with verdicts.

    Args:
        query: rows that search.
        gallery: rows that are searched.
        rows: the query row of each pair.
        others: its gallery row.
    """
    wanted, labels = query.labels("identity")[rows], gallery.labels("identity")[others]
    verdict = np.where(labels == wanted, "right", "wrong").astype(object)
    verdict[(labels == UNSAID) | (wanted == UNSAID)] = "unknown"
    return pd.DataFrame(
        {
            "query": _names(query)[rows],
            "gallery": _names(gallery)[others],
            "query_identity": query.column("identity")[rows],
            "identity": gallery.column("identity")[others],
            "verdict": verdict,
            "query_row": rows,
            "gallery_row": others,
        },
    )


def _names(side: Features) -> np.ndarray:
    """Return the name of each row, its number where the table has none."""
    names = side.column("name")
    numbers = np.array([f"row {row}" for row in range(len(side))], dtype=object)
    return np.where(names == UNSAID, numbers, names)


def _themselves(query: Features, gallery: Features) -> list[list[int]]:
    """Return, for each query row, the gallery rows of the very same pictures.

    A picture is the same by whatever way its folder was named. The frame of a tracklet
    is the tracklet, too, and the other way round. Where nothing says what is behind the
    rows, two sides of equal rows are one, and each row of them is itself.
    """
    are_known = any(path is not None for path in (*_paths(query), *_paths(gallery)))
    if not are_known and np.array_equal(query.values, gallery.values):
        return [[row] for row in range(len(query))]
    inside, around = defaultdict(list), defaultdict(list)
    for row, path in enumerate(_paths(gallery)):
        if path is not None:
            around[path].append(row)
            for folder in (path, *path.parents):
                inside[folder].append(row)
    same = []
    for path in _paths(query):
        rows = [] if path is None else list(inside[path])
        for folder in path.parents if path is not None else ():
            rows += around.get(folder, ())
        same.append(rows)
    return same


def _paths(side: Features) -> list[PurePath | None]:
    """Return the file or folder behind each row, None where it is not known.

    A tracklet of a video is the same whatever folder its pictures were cut into.
    """
    source = side.about.get("source", "")
    root = PurePath(os.path.realpath(source))
    if "video" in side.about:
        root = PurePath(*(side.about.get(name, "") for name in VIDEO))
    names = side.column("name")
    return [root / name if source and name else None for name in names]


def _cosines(query: Features, gallery: Features) -> Iterator[np.ndarray]:
    """Yield the cosines of each query row with every gallery row."""
    columns = unit_rows(gallery.values, "gallery")
    for row in unit_rows(query.values, "query"):
        yield columns @ row


def _check_comparable(query: Features, gallery: Features) -> None:
    """Refuse sides that are empty, not finite, all alike, or of two networks."""
    for name, side in (("query", query), ("gallery", gallery)):
        file = f" ({side.about['file']})" if "file" in side.about else ""
        if not len(side):
            raise FeaturesError(f"the {name}{file} is empty: it has no rows")
        odd = np.flatnonzero(~np.isfinite(side.values).all(1))
        if len(odd):
            rows = some_rows(odd)
            raise FeaturesError(f"the {name}{file}: NaN or infinity in row(s) {rows}")
        if (
            name == "gallery"
            and len(side) > 1
            and (side.values == side.values[0]).all()
        ):
            raise FeaturesError(
                f"the {len(side)} rows of the gallery{file} are all equal: they tell "
                "nobody apart; embed the pictures again, with trained weights"
            )
    widths = query.values.shape[1], gallery.values.shape[1]
    if widths[0] != widths[1]:
        raise FeaturesError(
            f"query rows have {widths[0]} numbers, gallery rows {widths[1]}: they are "
            "of two networks"
        )
    makers = [side.about.get("weights") for side in (query, gallery)]
    if None not in makers and makers[0] != makers[1]:
        raise FeaturesError(
            f"query and gallery were embedded by two networks ({makers[0]}; "
            f"{makers[1]}): their rows cannot be compared"
        )


def _numbers(column: str, *sides: Features) -> tuple[np.ndarray, ...]:
    """Number the texts of a column, the same text on both sides alike."""
    texts = [_filled_column(side, column) for side in sides]
    values = np.unique(np.concatenate(texts), return_inverse=True)[1]
    return tuple(np.split(values, [len(texts[0])]))


def _filled_column(side: Features, column: str) -> np.ndarray:
    """Return a column without empty cells.

    Raises:
        FeaturesError: a row of it is empty.
    """
    text = side.labels(column)
    empty = np.flatnonzero(text == UNSAID)
    if len(empty):
        file = side.about.get("file", "the features")
        known = ", ".join(map(str, side.table.columns)) or "none"
        columns = "" if column in side.table else f" (its columns: {known})"
        cure = "" if column == "identity" else ", or say --rule none (rule='none')"
        raise FeaturesError(
            f"{file}: no {column} in row(s) {some_rows(empty)}; fill the column "
            f"{column} of its table{columns}{cure}"
        )
    return text.astype(str)


def _cameras_of_sysu(side: Features) -> np.ndarray:
    text = _filled_column(side, "camera")
    if not all(value in "123456" and len(value) == 1 for value in text):
        raise FeaturesError("rule sysu: cameras of SYSU-MM01 are 1 to 6")
    return text.astype(int)
