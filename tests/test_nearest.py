import sys

import numpy as np
import pytest
import torch

from vvi import metrics
from vvi.evaluation import nearest


@pytest.fixture(scope="module")
def people():
    """Queries and a gallery of 60 people, ten embeddings each, of any scale."""
    draw = np.random.default_rng(0)
    centre = draw.standard_normal((60, 24))
    gallery = np.repeat(centre, 10, 0) + 0.6 * draw.standard_normal((600, 24))
    query = centre + 0.6 * draw.standard_normal((60, 24))
    return (query * draw.uniform(0.1, 9, (60, 1))).astype(np.float32), (
        gallery * draw.uniform(0.1, 9, (600, 1))
    ).astype(np.float32)


def slow(query, gallery, top):
    cosine = np.array(
        [
            [
                q @ g / np.linalg.norm(q) / np.linalg.norm(g)
                for g in gallery.astype(float)
            ]
            for q in query.astype(float)
        ]
    )
    return np.argsort(-cosine, 1)[:, :top], -np.sort(-cosine, 1)[:, :top]


@pytest.mark.parametrize("chunk", [1, 7, 64, 600, 10_000])
def test_exact_search_in_chunks_agrees_with_the_slow_loop(chunk, people):
    rows, similarity = slow(*people, 12)
    found = nearest.exact(*people, top=12, chunk=chunk)
    np.testing.assert_array_equal(found.rows, rows)
    np.testing.assert_allclose(found.similarity, similarity, rtol=1e-5, atol=1e-6)
    assert found.rows.dtype == np.int64 and found.similarity.dtype == np.float32


def test_exact_search_ranks_as_the_metrics_do_and_takes_tensors_and_files(
    people, tmp_path
):
    query, gallery = people
    lists = metrics.ranked_lists(
        query,
        gallery,
        np.zeros(60),
        np.ones(600),
        np.zeros(60),
        np.ones(600),
        "none",
        10,
    )
    np.save(tmp_path / "gallery.npy", gallery)
    for side in (
        gallery,
        torch.from_numpy(gallery),
        np.load(tmp_path / "gallery.npy", mmap_mode="r"),
    ):
        np.testing.assert_array_equal(
            nearest.exact(torch.from_numpy(query), side, chunk=100).rows, lists
        )


def test_a_gallery_smaller_than_the_list_is_given_whole(people):
    query, gallery = people
    assert nearest.exact(query, gallery[:3], top=10).rows.shape == (60, 3)


def test_what_cannot_be_searched_is_named(people):
    query, gallery = people
    for wrong, message in (
        ((query, gallery[:0]), "the gallery is empty"),
        ((query[0], gallery), r"query: expected embeddings \(N, D\)"),
        ((query, gallery[:, :5]), "embeddings of 5 numbers in the gallery, of 24"),
        (
            (query, np.where(gallery == gallery[3, 3], np.nan, gallery)),
            "gallery: NaN or infinity",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            nearest.exact(*wrong)
    with pytest.raises(ValueError, match="the gallery is empty"):
        nearest.index(gallery[:0])


def test_faiss_finds_what_exact_search_finds_when_it_looks_everywhere(people):
    query, gallery = people
    truth = nearest.exact(*people)
    for kind, effort in (
        ("Flat", ""),
        ("IVF16,Flat", "nprobe=16"),
        ("HNSW32", "efSearch=600"),
    ):
        found = nearest.search(
            nearest.index(gallery, kind, chunk=100), query, effort=effort
        )
        assert nearest.recall(found, truth) == 1.0, kind
        np.testing.assert_allclose(
            found.similarity, truth.similarity, rtol=1e-5, atol=1e-6
        )


def test_recall_grows_with_the_lists_that_are_looked_at(people):
    query, gallery = people
    truth, index = nearest.exact(*people), nearest.index(gallery, "IVF16,Flat")
    recalls = [
        nearest.recall(nearest.search(index, query, effort=f"nprobe={n}"), truth)
        for n in (1, 4, 16)
    ]
    assert recalls == sorted(recalls) and recalls[0] < recalls[-1] == 1.0


def test_recall_counts_true_neighbours_and_not_their_order():
    def rows(*lists):
        return nearest.Nearest(np.array(lists), np.zeros((len(lists), len(lists[0]))))

    assert nearest.recall(rows([1, 2], [3, -1]), rows([2, 1], [4, 3])) == 0.75
    with pytest.raises(ValueError, match="1 and 2 queries"):
        nearest.recall(rows([1, 2]), rows([2, 1], [4, 3]))


def test_without_faiss_the_error_names_the_extra(people, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    for call in (
        lambda: nearest.index(people[1]),
        lambda: nearest.search(None, people[0]),
    ):
        with pytest.raises(
            RuntimeError,
            match=r"faiss, which is not installed: pip install 'vvi\[search\]'",
        ):
            call()
    assert nearest.exact(*people).rows.shape == (60, 10)


def test_rows_at_the_ends_of_float32_rank_by_their_cosine():
    gallery = np.array([[1e38, 1e38], [1e-30, 0], [1, 0.1], [0, 0]], np.float32)
    result = nearest.exact(np.array([[200.0, 0.0]]), gallery, top=4)
    assert result.rows.tolist() == [[1, 2, 0, 3]]
    expected = [[1, 1 / np.hypot(1, 0.1), np.sqrt(0.5), 0]]
    np.testing.assert_allclose(result.similarity, expected, rtol=1e-6)
    with pytest.raises(ValueError, match="gallery: NaN or infinity"):
        nearest.exact(np.eye(2), np.array([[np.inf, 1.0]]))
