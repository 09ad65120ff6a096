import numpy as np
import pytest
import torch

from vvi import experiment
from vvi.config import preset
from vvi.data.clips import test_frames as first_frames
from vvi.data.transforms import normalise
from vvi.evaluation import evaluate
from vvi.metrics import retrieval_metrics


@pytest.fixture(scope="module")
def opened(tiny_root):
    settings = preset("tiny")
    found = experiment.dataset(settings.data, tiny_root)
    return (
        experiment.build(settings, len(found.labels)),
        found,
        experiment.frames(settings.data, found, progress=False),
    )


def test_embeddings_stand_in_the_order_of_their_tracklets_whatever_the_modality(opened):
    method, found, reader = opened
    mixed = [
        *found.query("ir2vis")[:3],
        *found.gallery("ir2vis")[:3],
        found.query("ir2vis")[4],
    ]
    together = evaluate.embed(method, mixed, reader, 3, batch=2)
    with torch.no_grad():
        for t, row in zip(mixed, together, strict=True):
            clip = normalise(reader.read(t, first_frames(len(t), 3)))[None]
            np.testing.assert_allclose(
                row, method.embed(clip, t.modality)[0].numpy(), atol=1e-5
            )


def test_both_directions_use_the_same_embeddings_and_the_protocol_of_the_set(opened):
    method, found, reader = opened
    sides = evaluate.evaluate(method, found, reader, 3)
    np.testing.assert_array_equal(
        sides["ir2vis"].query_feat, sides["vis2ir"].gallery_feat
    )
    side = sides["ir2vis"]
    ids, cams = (
        [np.array([getattr(t, n) for t in s]) for s in (side.query, side.gallery)]
        for n in ("identity", "camera")
    )
    expected = retrieval_metrics(
        side.query_feat, side.gallery_feat, *ids, *cams, rule="vcm"
    )
    np.testing.assert_array_equal(side.metrics().ap, expected.ap)
    top = side.ranked(1)[:, 0]
    hit = np.array(
        [
            found.gallery("ir2vis")[g].identity == q.identity
            for g, q in zip(top, side.query, strict=True)
        ]
    )
    np.testing.assert_array_equal(hit, expected.first_hit == 1)


def test_evaluation_repeats_and_a_change_of_the_clips_reaches_the_model(opened):
    method, found, reader = opened
    first, again, dark = (
        evaluate.evaluate(method, found, reader, 3, change=c)["ir2vis"].query_feat
        for c in (None, None, lambda c: c // 4)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - dark).max() > 1e-3


def test_nothing_to_embed_is_an_error(opened):
    method, _, reader = opened
    with pytest.raises(ValueError, match="no tracklets"):
        evaluate.embed(method, [], reader, 3)
