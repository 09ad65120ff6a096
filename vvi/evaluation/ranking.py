"""Features scored and ranked, whoever made them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from vvi.evaluation.features import SIDES, UNSAID, Features, FeaturesError, some_rows
from vvi.evaluation.rerank import rerank
from vvi.metrics import Metrics, from_similarity, retrieval_metrics
from vvi.runtime import validation
from vvi.types import DIRECTIONS, Rule


def pairs(*files: Features) -> dict[str, tuple[Features, Features]]:
    """Who searches whom: query and gallery by the name of the search.

    Args:
        files: query and gallery, or one file whose table tells them apart by `side`,
            or both modalities in one file, each searched for in the other.

    Raises:
        FeaturesError: one file that tells no sides apart.
    """
    if len(files) == 2:
        return {"query in gallery": (files[0], files[1])}
    (found,) = files
    side, modality = found.column("side"), found.column("modality")
    if set(side) == set(SIDES):
        query, gallery = (found.part(side == name) for name in SIDES)
        return {"query in gallery": (query, gallery)}
    parts = {name: found.part(modality == name) for name in ("ir", "vis")}
    if all(map(len, parts.values())):
        ends = [direction.split("2") for direction in DIRECTIONS]
        both = [(parts[one], parts[other]) for one, other in ends]
        return dict(zip(DIRECTIONS, both, strict=True))
    raise FeaturesError(
        "one file of features and no two sides in it: give query and gallery as two "
        "files, or fill the column side (query, gallery) or modality (ir, vis)"
    )


def score(
    query: Features, gallery: Features, rule: Rule = "vcm", **reranked: float
) -> tuple[Metrics, Metrics | None]:
    """Retrieval numbers of features.

    Args:
        query: rows that search, with identities and, under most rules, cameras.
        gallery: rows that are searched.
        rule: what is removed from the gallery of a query (`vvi.metrics`).
        reranked: k1, k2, weight of the re-ranking that is scored, too; or none.

    Returns:
        Metrics, and those after re-ranking (None when it is not wanted).

    Raises:
        FeaturesError: an identity or a camera is missing.
    """
    _same_width(query, gallery)
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


def rank(
    query: Features, gallery: Features, top: int = 10, **reranked: float
) -> pd.DataFrame:
    """The nearest gallery rows of every query row.

    The very picture that searches is left out where the gallery holds it, too.

    Args:
        query: rows that search.
        gallery: rows that are searched.
        top: how many are listed of each.
        reranked: k1, k2, weight of re-ranking; by default there is none.

    Returns:
        A row for each place of each list: `query` and `gallery` (names), `rank` from 1,
        `similarity` (cosine) or `distance` (re-ranked), `query_row`, `gallery_row`,
        identities, and `verdict`: right, wrong or unknown.
    """
    _same_width(query, gallery)
    if reranked:
        nearness, column, sign = (
            rerank(query.values, gallery.values, **reranked),
            "distance",
            1,
        )
    else:
        nearness, column, sign = _cosines(query, gallery), "similarity", -1
    lists, (own, theirs) = [], map(_pictures, (query, gallery))
    for row, values in enumerate(nearness):
        order = np.argsort(sign * values, kind="stable")
        itself = (theirs[order] == own[row]) & (own[row] != "")
        order = order[~itself][:top]
        lists.append(
            _list_of(query, row, gallery, order).assign(**{column: values[order]})
        )
    found = pd.concat(lists, ignore_index=True)
    ends = ["query_identity", "identity", "verdict", "query_row", "gallery_row"]
    return found[["query", "rank", "gallery", column, *ends]]


def _list_of(
    query: Features, row: int, gallery: Features, order: np.ndarray
) -> pd.DataFrame:
    who, theirs = query.column("identity")[row], gallery.column("identity")[order]
    verdict = np.where(theirs == who, "right", "wrong").astype(object)
    verdict[(theirs == UNSAID) | (who == UNSAID)] = "unknown"
    return pd.DataFrame(
        {
            "query": query.column("name")[row],
            "rank": np.arange(1, len(order) + 1),
            "gallery": gallery.column("name")[order],
            "query_identity": who,
            "identity": theirs,
            "verdict": verdict,
            "query_row": row,
            "gallery_row": order,
        },
    )


def _pictures(side: Features) -> np.ndarray:
    """The file behind each row, empty where nobody knows it."""
    source = side.about.get("source", "")
    names = side.column("name")
    return np.array(
        [str(Path(source) / name) if source and name else "" for name in names]
    )


def _cosines(query: Features, gallery: Features) -> Iterator[np.ndarray]:
    """Query by query: the cosine with every gallery row."""
    tiny = np.finfo(np.float32).tiny
    unit = [
        side.values
        / np.maximum(np.linalg.norm(side.values, axis=1, keepdims=True), tiny)
        for side in (query, gallery)
    ]
    for row in unit[0]:
        yield unit[1] @ row


def _same_width(query: Features, gallery: Features) -> None:
    for name, side in (("query", query), ("gallery", gallery)):
        if not len(side):
            raise FeaturesError(f"the {name} is empty")
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
    """Text of a column as whole numbers, the same for the same text on both sides."""
    texts = [_said(side, column) for side in sides]
    values = np.unique(np.concatenate(texts), return_inverse=True)[1]
    return tuple(np.split(values, [len(texts[0])]))


def _said(side: Features, column: str) -> np.ndarray:
    """A column in which no row is empty."""
    text = side.column(column)
    empty = np.flatnonzero(text == UNSAID)
    if len(empty):
        file = side.about.get("file", "the features")
        cure = "" if column == "identity" else ", or say --rule none (rule='none')"
        raise FeaturesError(
            f"{file}: no {column} in row(s) {some_rows(empty)}; fill the column {column} "
            f"of its table{cure}"
        )
    return np.array([_plain_number(value) for value in text])


def _plain_number(text: str) -> str:
    """1, 01 and 1.0 are one identity."""
    number = validation.setting(text, int)
    return str(number)


def _cameras_of_sysu(side: Features) -> np.ndarray:
    text = _said(side, "camera")
    if not all(value in "123456" and len(value) == 1 for value in text):
        raise FeaturesError("rule sysu: cameras of SYSU-MM01 are 1 to 6")
    return text.astype(int)
