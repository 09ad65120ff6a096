import numpy as np

from vvi.experiment import measure


def test_vectors_wider_than_many_keep_angles_and_distances_in_fewer_numbers():
    rng = np.random.default_rng(0)
    query, gallery = rng.normal(size=(3, 40)), rng.normal(size=(5, 40))
    turned = measure.project_to_span(query, gallery)
    assert [part.shape for part in turned] == [(3, 8), (5, 8)]
    np.testing.assert_allclose(turned[0] @ turned[1].T, query @ gallery.T, atol=1e-12)
    np.testing.assert_allclose(
        np.linalg.norm(turned[1], axis=1), np.linalg.norm(gallery, axis=1), atol=1e-12
    )


def test_vectors_that_are_not_wider_stay_as_they_are():
    query, gallery = np.eye(4)[:3], np.eye(4)
    assert all(
        np.array_equal(a, b)
        for a, b in zip(
            measure.project_to_span(query, gallery), (query, gallery), strict=True
        )
    )
