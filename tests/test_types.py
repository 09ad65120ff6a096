from pathlib import Path

import pytest
import torch

from vvi.types import Batch, Dataset, Tracklet


def test_labels_are_classes_in_ascending_order_of_identity():
    train = tuple(Tracklet((Path("a"),), p, 1, "vis") for p in (9, 4, 7, 4))
    assert Dataset("hitsz-vcm", Path(), train, {}, "vcm").labels == {4: 0, 7: 1, 9: 2}


def test_a_direction_that_a_set_does_not_have_is_named():
    with pytest.raises(ValueError, match="no direction 'vis2ir'; it has ir2vis"):
        Dataset("sysu-mm01", Path(), (), {"ir2vis": ((), ())}, "sysu").query("vis2ir")


def test_clips_and_labels_of_a_batch_are_visible_first():
    vis, ir = torch.zeros(2, 1, 3, 4, 4), torch.ones(2, 1, 3, 4, 4)
    batch = Batch(vis, ir, torch.tensor([5, 6]), torch.arange(2), torch.arange(2))
    assert (
        batch.clips[:2].sum() == 0
        and batch.clips[2:].min() == 1
        and batch.labels.tolist() == [5, 6, 5, 6]
    )
