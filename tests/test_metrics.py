"""The evaluator against a literal loop, on random and on hostile input."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vvi.metrics import from_similarity, ranked_lists, retrieval_metrics

RULES = ("vcm", "sysu", "none")


def slow(similarity, query_ids, gallery_ids, query_cams, gallery_cams, rule):
    """(ap, inp, first_hit) of every query, one gallery item after the other, as the
    protocols are written down.
    """
    results = []
    for row, identity, camera in zip(similarity, query_ids, query_cams, strict=True):
        kept = []
        for place, (score, other, seen_by) in enumerate(
            zip(row, gallery_ids, gallery_cams, strict=True)
        ):
            removed = {
                "vcm": other == identity and seen_by == camera,
                "sysu": camera == 3 and seen_by == 2,
                "none": False,
            }[rule]
            if not removed:
                kept.append((-score, place, other))
        ranking = [other for _, _, other in sorted(kept)]
        ranks = [
            rank for rank, other in enumerate(ranking, start=1) if other == identity
        ]
        if not ranks:
            results.append((np.nan, np.nan, 0))
            continue
        counted = list(dict.fromkeys(ranking)) if rule == "sysu" else ranking
        ap = sum(nth / rank for nth, rank in enumerate(ranks, start=1)) / len(ranks)
        results.append((ap, len(ranks) / ranks[-1], counted.index(identity) + 1))
    ap, inp, first_hit = map(np.array, zip(*results, strict=True))
    return ap, inp, first_hit.astype(int)


def assert_equals_slow(metrics, *args):
    ap, inp, first_hit = slow(*args)
    valid = first_hit > 0
    np.testing.assert_allclose(metrics.ap, ap, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(metrics.first_hit, first_hit)
    assert metrics.mAP == pytest.approx(ap[valid].mean(), abs=1e-9)
    assert metrics.mINP == pytest.approx(inp[valid].mean(), abs=1e-9)
    assert (metrics.n_valid, metrics.n_skipped) == (valid.sum(), (~valid).sum())
    for k in (1, 2, 5, 20, 1000):
        assert metrics.rank(k) == pytest.approx(
            (first_hit[valid] <= k).mean(), abs=1e-12
        )
    assert len(metrics.cmc) >= 20
    assert metrics.cmc[-1] == pytest.approx(1)


def problem(seed, queries=40, gallery=60, identities=8, cameras=4, levels=None):
    """Similarity and labels; with `levels` few distinct scores, so ties everywhere,
    positive, zero and negative.
    """
    rng = np.random.default_rng(seed)
    similarity = (
        rng.normal(size=(queries, gallery))
        if levels is None
        else rng.integers(0, levels, (queries, gallery)) / levels - 0.5
    )
    ids = rng.integers(0, identities, queries), rng.integers(0, identities, gallery)
    return (
        similarity,
        *ids,
        rng.integers(1, cameras + 1, queries),
        rng.integers(1, cameras + 1, gallery),
    )


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("levels", [None, 1, 2, 5, 30])
@pytest.mark.parametrize(
    "sizes",
    [(40, 60, 8), (30, 25, 60), (12, 200, 2), (300, 1, 1), (1, 300, 5)],
    ids=str,
)
def test_numbers_equal_the_literal_loop(rule, levels, sizes):
    args = problem(sum(sizes), *sizes, levels=levels)
    args[1][0], args[2][-1], args[3][0], args[4][-1] = (
        0,
        0,
        1,
        3,
    )  # at least one query with a match under every rule
    assert_equals_slow(from_similarity(*args, rule=rule), *args, rule)
    assert_equals_slow(
        from_similarity(args[0].astype(np.float32), *args[1:], rule=rule),
        args[0].astype(np.float32),
        *args[1:],
        rule,
    )


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    queries=st.integers(1, 12),
    gallery=st.integers(1, 40),
    identities=st.integers(1, 12),
    cameras=st.integers(1, 6),
    levels=st.sampled_from([None, 1, 3, 10]),
    rule=st.sampled_from(RULES),
)
def test_numbers_equal_the_literal_loop_on_whatever_is_drawn(
    seed, queries, gallery, identities, cameras, levels, rule
):
    args = problem(seed, queries, gallery, identities, cameras, levels)
    if not slow(*args, rule)[2].any():
        with pytest.raises(ValueError, match="no query has a match"):
            from_similarity(*args, rule=rule)
    else:
        assert_equals_slow(from_similarity(*args, rule=rule), *args, rule)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("chunk", [None, 1, 7, 1000])
def test_features_give_the_numbers_of_their_cosine(rule, chunk):
    rng = np.random.default_rng(3)
    _, *labels = problem(3)
    query, gallery = (
        rng.normal(size=(40, 16)) * rng.uniform(0.1, 90, (40, 1)),
        rng.normal(size=(60, 16)) * rng.uniform(0.1, 90, (60, 1)),
    )
    cosine = (query / np.linalg.norm(query, axis=1, keepdims=True)) @ (
        gallery / np.linalg.norm(gallery, axis=1, keepdims=True)
    ).T
    assert_equals_slow(
        retrieval_metrics(query, gallery, *labels, rule=rule, chunk=chunk),
        cosine,
        *labels,
        rule,
    )


def test_a_large_problem_is_cut_into_blocks_and_slices_without_a_seam():
    args = problem(5, queries=700, gallery=900, identities=30, levels=200)
    metrics = from_similarity(*args)
    assert_equals_slow(metrics, *args, "vcm")
    rng = np.random.default_rng(5)
    query, gallery = rng.normal(size=(700, 8)), rng.normal(size=(900, 8))
    whole, cut = (
        retrieval_metrics(query, gallery, *args[1:], chunk=chunk)
        for chunk in (None, 11)
    )
    np.testing.assert_array_equal(whole.ap, cut.ap)


def test_numpy_and_torch_of_any_precision_agree():
    rng = np.random.default_rng(4)
    _, *labels = problem(4)
    query, gallery = rng.integers(-3, 4, (40, 8)), rng.integers(-3, 4, (60, 8))
    expected = retrieval_metrics(query, gallery, *labels)
    for dtype in (
        torch.float64,
        torch.float32,
        torch.float16,
        torch.bfloat16,
        torch.int64,
    ):
        tensors = [torch.as_tensor(x) for x in labels]
        got = retrieval_metrics(
            torch.as_tensor(query, dtype=dtype),
            torch.as_tensor(gallery, dtype=dtype),
            *tensors,
        )
        np.testing.assert_allclose(got.ap, expected.ap, atol=1e-12)
    mixed = retrieval_metrics(
        torch.as_tensor(query).float().requires_grad_(),
        gallery.astype(np.float16),
        *labels,
    )
    np.testing.assert_allclose(mixed.ap, expected.ap, atol=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_the_device_route_equals_the_host_route(rule, monkeypatch):
    """The torch branch of every operation, run on the CPU by keeping tensors as they
    are; on a GPU the same code runs.
    """
    from vvi import metrics

    monkeypatch.setattr(metrics, "_matrix", lambda value, name: torch.as_tensor(value))
    for levels in (None, 1, 3):
        args = problem(6, levels=levels)
        assert_equals_slow(from_similarity(*args, rule=rule), *args, rule)
    query, gallery = (
        torch.randn(40, 8, generator=torch.manual_seed(0)),
        torch.randn(60, 8, generator=torch.manual_seed(1)),
    )
    device, lists = (
        retrieval_metrics(query, gallery, *args[1:], rule=rule),
        ranked_lists(query, gallery, *args[1:], rule=rule),
    )
    monkeypatch.undo()
    np.testing.assert_allclose(
        device.ap,
        retrieval_metrics(query, gallery, *args[1:], rule=rule).ap,
        atol=1e-12,
    )
    np.testing.assert_array_equal(
        lists, ranked_lists(query, gallery, *args[1:], rule=rule)
    )


def test_the_device_route_ignores_autocast_and_reduced_precision(monkeypatch):
    from vvi import metrics

    query, gallery = torch.randn(5, 64), torch.randn(9, 64)
    expected = query @ gallery.T
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert (query @ gallery.T).dtype == torch.bfloat16
            product = metrics._matmul(query, gallery, torch.empty(5, 9))
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    torch.testing.assert_close(product, expected)


# -- what the protocols print ----------------------------------------------------------


def test_the_two_modality_toy_set_gives_its_printed_numbers():
    similarity = np.array([[0.9, 0.2, 0.8], [0.5, 0.9, 0.4]])
    ir, vis = ([503, 510], [4, 3]), ([503, 510, 510], [3, 3, 12])
    forward = from_similarity(similarity, ir[0], vis[0], ir[1], vis[1])
    assert (forward.rank(1), forward.rank(2), forward.mAP, forward.n_valid) == (
        0.5,
        1.0,
        0.75,
        2,
    )
    back = from_similarity(similarity.T, vis[0], ir[0], vis[1], ir[1])
    assert (back.rank(1), back.rank(2), back.mAP, back.n_valid, back.n_skipped) == (
        0.5,
        1.0,
        0.75,
        2,
        1,
    )
    unfiltered = from_similarity(similarity, ir[0], vis[0], ir[1], vis[1], rule="none")
    assert unfiltered.rank(1) == 1.0
    assert unfiltered.mAP == pytest.approx(0.916667, abs=1e-6)


def test_the_camera_two_and_three_toy_set_gives_its_printed_numbers():
    similarity = np.tile([0.9, 0.7, 0.5, 0.3, 0.1], (6, 1))
    labels = (
        [6, 6, 6, 10, 10, 10],
        [6, 6, 6, 10, 10],
        [3, 3, 6, 3, 6, 6],
        [1, 2, 4, 4, 5],
    )
    metrics = from_similarity(similarity, *labels, rule="sysu")
    np.testing.assert_allclose(metrics.ap, [1, 1, 1, 0.416667, 0.325, 0.325], atol=1e-6)
    np.testing.assert_array_equal(metrics.first_hit, [1, 1, 1, 2, 2, 2])
    assert (metrics.rank(1), metrics.rank(2)) == (0.5, 1.0)
    assert metrics.mAP == pytest.approx(0.677778, abs=1e-6)
    assert metrics.mINP == pytest.approx(0.716667, abs=1e-6)
    assert from_similarity(similarity, *labels, rule="none").ap[3] == pytest.approx(
        0.325
    )


# -- properties ------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rule=st.sampled_from(RULES))
def test_the_order_of_an_untied_gallery_changes_nothing(seed, rule):
    similarity, query_ids, gallery_ids, query_cams, gallery_cams = problem(seed)
    shuffled = np.random.default_rng(seed).permutation(len(gallery_ids))
    before = from_similarity(
        similarity, query_ids, gallery_ids, query_cams, gallery_cams, rule=rule
    )
    after = from_similarity(
        similarity[:, shuffled],
        query_ids,
        gallery_ids[shuffled],
        query_cams,
        gallery_cams[shuffled],
        rule=rule,
    )
    np.testing.assert_allclose(before.ap, after.ap, atol=1e-12)
    np.testing.assert_array_equal(before.first_hit, after.first_hit)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rule=st.sampled_from(RULES))
def test_a_perfect_embedding_scores_one(seed, rule):
    _, query_ids, gallery_ids, query_cams, gallery_cams = problem(seed)
    metrics = retrieval_metrics(
        np.eye(8)[query_ids],
        3 * np.eye(8)[gallery_ids],
        query_ids,
        gallery_ids,
        query_cams,
        gallery_cams,
        rule=rule,
    )
    assert metrics.rank(1) == metrics.mAP == metrics.mINP == 1


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    rule=st.sampled_from(RULES),
    levels=st.sampled_from([None, 4]),
)
def test_distractors_never_raise_a_query(seed, rule, levels):
    similarity, query_ids, gallery_ids, query_cams, gallery_cams = problem(
        seed, gallery=80, levels=levels
    )
    gallery_ids[60:] += 1000
    fewer = from_similarity(
        similarity[:, :60],
        query_ids,
        gallery_ids[:60],
        query_cams,
        gallery_cams[:60],
        rule=rule,
    )
    more = from_similarity(
        similarity, query_ids, gallery_ids, query_cams, gallery_cams, rule=rule
    )
    valid = fewer.first_hit > 0
    assert (more.ap[valid] <= fewer.ap[valid] + 1e-12).all()
    assert (more.first_hit >= fewer.first_hit).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), exponent=st.integers(-60, 60))
def test_the_scale_of_the_features_changes_nothing(seed, exponent):
    rng = np.random.default_rng(seed)
    _, *labels = problem(seed)
    query, gallery = rng.normal(size=(2, 60, 8)).astype(np.float32)
    plain = retrieval_metrics(query[:40], gallery, *labels)
    scaled = retrieval_metrics(
        np.ldexp(query[:40], exponent), np.ldexp(gallery, exponent), *labels
    )
    np.testing.assert_array_equal(plain.ap, scaled.ap)


def test_equal_scores_rank_in_gallery_order():
    labels = [7], [1, 7, 2, 7, 3], [1], [2] * 5
    metrics = from_similarity(np.zeros((1, 5)), *labels)
    assert metrics.ap[0] == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert (
        from_similarity([[0.0, -0.0, 0.0, -0.0, 0.0]], *labels).ap[0] == metrics.ap[0]
    )
    removed_first = from_similarity(
        np.zeros((1, 5)), [7], [7, 7, 2, 7, 3], [1], [1, 2, 2, 2, 2]
    )
    np.testing.assert_allclose(
        removed_first.ap, [(1 + 2 / 3) / 2]
    )  # what is removed leaves no gap


def test_negative_scores_rank_like_any_other():
    args = problem(8)
    lowered = (args[0] - 100, *args[1:])
    np.testing.assert_array_equal(
        from_similarity(*args).ap, from_similarity(*lowered).ap
    )


def test_a_short_gallery_keeps_its_last_value_up_to_rank_twenty():
    metrics = from_similarity([[0.1, 0.9]], [1], [1, 2], [1], [2, 2])
    np.testing.assert_array_equal(metrics.cmc[:3], [0, 1, 1])
    assert len(metrics.cmc) == 20
    assert metrics.rank(500) == 1


def test_given_arrays_stay_as_they_were():
    args = problem(9)
    copies = [x.copy() for x in args]
    from_similarity(*args)
    for array, copy in zip(args, copies, strict=True):
        np.testing.assert_array_equal(array, copy)


# -- ranked lists ----------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES)
def test_ranked_lists_hold_the_kept_items_best_first(rule):
    rng = np.random.default_rng(10)
    _, query_ids, gallery_ids, query_cams, gallery_cams = problem(10)
    query, gallery = rng.integers(-2, 3, (40, 3)), rng.integers(-2, 3, (60, 3))
    norms = np.linalg.norm(gallery, axis=1)
    scores = query @ gallery.T / np.where(norms > 0, norms, 1)
    lists = ranked_lists(
        query,
        gallery,
        query_ids,
        gallery_ids,
        query_cams,
        gallery_cams,
        rule=rule,
        top=70,
    )
    assert lists.shape == (40, 70)
    for q in range(40):
        same_camera = (gallery_ids == query_ids[q]) & (gallery_cams == query_cams[q])
        removed = {
            "vcm": same_camera,
            "sysu": (query_cams[q] == 3) & (gallery_cams == 2),
            "none": np.zeros(60, bool),
        }[rule]
        expected = sorted(np.flatnonzero(~removed), key=lambda g: (-scores[q, g], g))
        assert lists[q].tolist() == expected + [-1] * (70 - len(expected))


def test_ranked_lists_need_no_right_item():
    assert ranked_lists(
        np.eye(2), np.eye(2), [1, 2], [3, 4], [1, 1], [1, 1], top=1
    ).tolist() == [[0], [1]]


# -- bad input -------------------------------------------------------------------------


def good():
    rng = np.random.default_rng(0)
    return [
        rng.normal(size=(3, 4)),
        rng.normal(size=(5, 4)),
        [1, 2, 3],
        [1, 2, 3, 1, 2],
        [1, 1, 1],
        [2, 2, 2, 2, 2],
    ]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("side", "name"), [(0, "query"), (1, "gallery")])
def test_features_that_are_not_finite_are_refused_with_their_rows(value, side, name):
    args = good()
    args[side][[0, 2], 1] = value
    with pytest.raises(
        ValueError, match=f"{name} features: NaN or infinity .* 2 row.*: 0, 2"
    ):
        retrieval_metrics(*args)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_similarities_that_are_not_finite_are_refused_with_their_rows(value):
    similarity = np.zeros((3, 5))
    similarity[1, 4] = value
    with pytest.raises(ValueError, match=r"similarity: NaN or infinity in row\(s\) 1"):
        from_similarity(similarity, *good()[2:])


@pytest.mark.parametrize("place", [2, 3, 4, 5])
def test_labels_that_do_not_fit_are_refused_by_name(place):
    args = good()
    args[place] = [*args[place], 1]
    name = ("query_ids", "gallery_ids", "query_cams", "gallery_cams")[place - 2]
    with pytest.raises(ValueError, match=name):
        retrieval_metrics(*args)


def test_shapes_that_cannot_be_compared_are_refused():
    args = good()
    with pytest.raises(ValueError, match="do not share a width"):
        retrieval_metrics(args[0][:, :3], *args[1:])
    with pytest.raises(ValueError, match="expected 2 dimensions"):
        retrieval_metrics(args[0][0], *args[1:])
    with pytest.raises(ValueError, match="expected 2 dimensions"):
        from_similarity(np.zeros(5), *args[2:])


def test_an_empty_side_is_refused():
    query, gallery, query_ids, gallery_ids, query_cams, gallery_cams = good()
    with pytest.raises(ValueError, match="empty gallery"):
        retrieval_metrics(query, np.zeros((0, 4)), query_ids, [], query_cams, [])
    with pytest.raises(ValueError, match="empty query"):
        retrieval_metrics(np.zeros((0, 4)), gallery, [], gallery_ids, [], gallery_cams)


def test_no_query_with_a_match_is_an_error_not_a_zero():
    args = good()
    with pytest.raises(ValueError, match="no query has a match"):
        retrieval_metrics(*args[:4], [2, 2, 2], args[5])


def test_an_unknown_rule_or_rank_or_chunk_is_refused():
    with pytest.raises(ValueError, match="rule 'VCM'"):
        retrieval_metrics(*good(), rule="VCM")
    with pytest.raises(ValueError, match="ranks start at 1"):
        retrieval_metrics(*good()).rank(0)
    with pytest.raises(ValueError, match="chunk 0"):
        retrieval_metrics(*good(), chunk=0)


@pytest.mark.parametrize("least", [1, 1e-40, 1e30])
@pytest.mark.parametrize("norm", [200, 1e-43, 1e38])
@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_rows_at_the_ends_of_float32_rank_by_their_cosine(least, norm, kind):
    query = kind(np.array([[norm, 0]], np.float32))
    rows = [[1e38, 1e38], [least, 0], [least, 0.1 * least]]
    gallery = kind(np.array(rows, np.float32))
    labels = [1], [2, 1, 3], [1], [2, 2, 2]
    assert ranked_lists(query, gallery, *labels, top=3).tolist() == [[1, 2, 0]]
    assert retrieval_metrics(query, gallery, *labels).first_hit.tolist() == [1]


def test_a_gallery_whose_norms_exceed_float32_is_ranked():
    rows = np.full((2, 2048), 3e38, np.float32)
    rows[1, :1000] *= -1
    labels = [1, 2], [1, 2], [1, 1], [2, 2]
    assert ranked_lists(rows, rows, *labels, top=2).tolist() == [[0, 1], [1, 0]]


def test_identities_that_floats_do_not_tell_apart_are_refused():
    features, cams = np.eye(3), [0, 0, 0]
    ids = np.array([2**60, 2**60 + 1, 2**60 + 2])
    assert retrieval_metrics(features, features, ids, ids, cams, cams, "none").mAP == 1
    for kind, least in ((np.float64, 2**60), (np.float32, 2**25)):
        merged = (np.arange(3) + least).astype(kind)
        with pytest.raises(ValueError, match="query_ids must be integers"):
            retrieval_metrics(features, features, merged, merged, cams, cams, "none")


@pytest.mark.parametrize(
    "odd", [torch.eye(3) * 1j, torch.eye(3).to_sparse()], ids=["complex", "sparse"]
)
def test_tensors_that_hold_no_rows_of_real_numbers_are_refused(odd):
    with pytest.raises(ValueError, match="query features: expected real numbers, got"):
        retrieval_metrics(odd, torch.eye(3), *[[0, 1, 2]] * 4, "none")


@pytest.mark.parametrize("top", [0, -1, 2.0, "3"])
def test_a_list_holds_at_least_one_item(top):
    labels = [[0, 1, 2]] * 4
    with pytest.raises(ValueError, match=r"top=.* must be an integer >= 1"):
        ranked_lists(np.eye(3), np.eye(3), *labels, "none", top)
