"""Re-ranking against the paper, set by set and sum by sum."""

from math import exp

import numpy as np
import pytest
import torch

from vvi import metrics
from vvi.evaluation import rerank as module
from vvi.evaluation.rerank import rerank


def literal(query, gallery, k1, k2, weight):
    """The paper with Python sets and dictionaries, one pair of items at a time."""
    items = [np.asarray(x, float) / np.linalg.norm(x) for x in (*query, *gallery)]
    everyone = range(len(items))
    raw = [[float(((a - b) ** 2).sum()) for b in items] for a in items]
    d = [[value / max(row) for value in row] for row in raw]

    def nearest(p, k):
        others = sorted((round(raw[p][g], 5), g) for g in everyone if g != p)
        return [p, *(g for _, g in others)][:k]

    def reciprocal(p, k):
        return {g for g in nearest(p, k) if p in nearest(g, k)}

    def expanded(p):
        own = reciprocal(p, k1)
        found = set(own)
        for q in own:
            candidate = reciprocal(q, k1 // 2)
            if len(own & candidate) >= 2 / 3 * len(candidate):
                found |= candidate
        return found

    codes = [{g: exp(-d[p][g]) for g in expanded(p)} for p in everyone]
    averaged = []
    for p in everyone:
        near = nearest(p, k2)
        members = set().union(*(codes[g] for g in near))
        averaged.append(
            {m: sum(codes[g].get(m, 0) for g in near) / k2 for m in members}
        )
    final = np.empty((len(query), len(gallery)))
    for p in range(len(query)):
        for g in range(len(gallery)):
            a, b = averaged[p], averaged[len(query) + g]
            union = set(a) | set(b)
            smaller = sum(min(a.get(m, 0), b.get(m, 0)) for m in union)
            larger = sum(max(a.get(m, 0), b.get(m, 0)) for m in union)
            jaccard = 1 - smaller / larger
            final[p, g] = (1 - weight) * jaccard + weight * d[p][len(query) + g]
    return final


def people(seed, queries=9, gallery=17, width=6, apart=2.0):
    r = np.random.default_rng(seed)
    who = r.integers(0, 5, queries + gallery)
    feat = apart * r.normal(size=(5, width))[who] + r.normal(size=(len(who), width))
    return feat[:queries], feat[queries:], who[:queries], who[queries:]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("k1", "k2", "weight"),
    [(20, 6, 0.3), (6, 3, 0.3), (5, 2, 0.0), (4, 1, 0.5), (7, 7, 0.9), (1, 1, 0.1)],
)
def test_it_equals_the_paper_taken_literally(seed, k1, k2, weight):
    query, gallery, *_ = people(seed)
    expected = literal(query, gallery, k1, k2, weight)
    np.testing.assert_allclose(
        rerank(query, gallery, k1, k2, weight), expected, atol=2e-6
    )


def test_equal_distances_rank_in_the_order_of_the_items():
    r = np.random.default_rng(0)
    signs = r.choice([-1.0, 1.0], (24, 4))  # unit norm and distances without rounding
    expected = literal(signs[:8], signs[8:], 6, 3, 0.3)
    np.testing.assert_allclose(
        rerank(signs[:8], signs[8:], 6, 3, 0.3), expected, atol=2e-6
    )


@pytest.mark.parametrize("cells", [1, 60, 26 * 26])
def test_blocks_of_any_size_give_the_same(cells, monkeypatch):
    query, gallery, *_ = people(1)
    whole = rerank(query, gallery, 6, 3)
    monkeypatch.setattr(module, "CELLS", cells)
    monkeypatch.setattr(module, "PAIRS", 7)
    np.testing.assert_allclose(rerank(query, gallery, 6, 3), whole, atol=1e-6)


def test_scale_of_features_and_tensors_play_no_part():
    query, gallery, *_ = people(2)
    scaled = rerank(7 * torch.tensor(query), torch.tensor(gallery) / 3, 6, 3)
    np.testing.assert_allclose(scaled, rerank(query, gallery, 6, 3), atol=1e-6)


def test_with_the_original_distance_alone_the_order_stays():
    query, gallery, *_ = people(3)
    units = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (query, gallery)]
    order = np.argsort(rerank(query, gallery, 6, 3, 1.0), axis=1)
    np.testing.assert_array_equal(order, np.argsort(-units[0] @ units[1].T, axis=1))


def test_people_in_clusters_are_found_better():
    query, gallery, ids, gallery_ids = people(5, 60, 120, 8, 1.2)
    cams = np.zeros(60, int), np.ones(120, int)
    before = metrics.retrieval_metrics(query, gallery, ids, gallery_ids, *cams)
    distance = rerank(query, gallery)
    after = metrics.from_similarity(-distance, ids, gallery_ids, *cams)
    assert after.mAP > before.mAP + 0.05


def test_the_rule_of_cameras_still_holds_afterwards():
    query, gallery, ids, gallery_ids = people(6)
    same, other = np.zeros(9, int), np.arange(17) % 2
    found = metrics.from_similarity(
        -rerank(query, gallery), ids, gallery_ids, same, other
    )
    kept = rerank(query, gallery).copy()
    kept[(ids[:, None] == gallery_ids) & (other == 0)] = 10
    hidden = np.where((ids[:, None] == gallery_ids) & (other == 0), -1, gallery_ids)
    ranks = [
        1 + next(k for k, g in enumerate(np.argsort(kept[q])) if hidden[q, g] == ids[q])
        for q in range(9)
        if (hidden[q] == ids[q]).any()
    ]
    np.testing.assert_array_equal(found.first_hit[found.first_hit > 0], ranks)


def test_one_query_and_one_gallery_item_are_enough():
    assert rerank([[1.0, 0.0]], [[0.0, 2.0]]).shape == (1, 1)
    same = rerank([[1.0, 0.0]], [[2.0, 0.0]])
    np.testing.assert_allclose(same, 0, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"k1": 0}, "k1=0 must be an integer >= 1"),
        ({"k1": 2.5}, "k1=2.5 must be an integer"),
        ({"k2": 30}, "k2=30 must be an integer from 1 to k1=20"),
        ({"k2": 0}, "k2=0 must be an integer from 1"),
        ({"weight": 1.5}, r"weight=1.5 \(lambda\) must be from 0 to 1"),
        ({"weight": float("nan")}, "weight=nan"),
        ({"query": np.ones(3)}, r"query features must be \(N, D\), got \(3,\)"),
        ({"gallery": np.ones((0, 3))}, r"gallery features must be \(N, D\)"),
        ({"gallery": np.ones((4, 2))}, "different widths: 3 and 2"),
        ({"query": np.full((2, 3), np.nan)}, "query features: NaN or infinity"),
    ],
)
def test_what_does_not_fit_is_refused(changes, said):
    given = {"query": np.ones((2, 3)), "gallery": np.ones((4, 3))} | changes
    with pytest.raises(ValueError, match=said):
        rerank(**given)


def test_rows_of_any_size_are_of_unit_norm():
    rows = np.array([[3, 4], [1e38, 1e38], [1e-40, 0], [0, 0]], np.float32)
    unit = module.unit_rows(rows, "query")
    expected = [[0.6, 0.8], [np.sqrt(0.5)] * 2, [1, 0], [0, 0]]
    np.testing.assert_allclose(unit, expected, rtol=1e-6)
    assert unit.dtype == np.float32
    with pytest.raises(ValueError, match="query features: NaN or infinity"):
        module.unit_rows(np.array([[1.0, np.nan]], np.float32), "query")


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float64])
def test_tensors_of_every_precision_are_taken(kind):
    feat = torch.eye(4).to(kind).requires_grad_()
    np.testing.assert_array_equal(
        rerank(feat, feat, 2, 1), rerank(*[np.eye(4)] * 2, 2, 1)
    )
