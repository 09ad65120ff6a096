"""The picture of one person before all cameras shows that person and nobody else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vvi import config
from vvi.book import figures, one_person


@pytest.fixture(scope="module")
def scene(tiny_root):
    return figures.scene(config.preset("tiny"), tiny_root)


def test_the_person_is_one_whom_most_cameras_see_in_both_modalities(scene):
    own = one_person._seen_by_most(scene)
    assert list(own) == ["vis", "ir"]
    (person,) = {t.identity for tracklets in own.values() for t in tracklets}
    cameras = {}
    for side in scene.by_modality().values():
        for tracklet in side:
            cameras.setdefault(tracklet.identity, set()).add(tracklet.camera)
    assert len(cameras[person]) == max(map(len, cameras.values()))


def test_a_row_has_one_picture_a_camera_and_bad_frames_are_bad(scene):
    for tracklets in one_person._seen_by_most(scene).values():
        pictures = one_person._middle_frames(scene, tracklets)
        assert len(pictures) == len({t.camera for t in tracklets})
        first = min(tracklets, key=lambda t: t.camera)
        middle = scene.large.images(first, np.array([len(first) // 2]))[0]
        assert np.array_equal(pictures[0], middle)
        bad = [
            scene.truth.noisy(tracklet, np.arange(len(tracklet))).any()
            for tracklet in tracklets
        ]
        assert len(one_person._bad_frames(scene, tracklets)) == sum(bad)


def test_on_data_without_factors_there_are_no_rows_of_bad_frames(scene):
    unknown = replace(scene, data=replace(scene.data, truth=None))
    rows = [len(one_person.draw(s).axes) for s in (scene, unknown)]
    pictures = [len(one_person.draw(s).axes[0].images) for s in (scene, unknown)]
    assert rows[0] == rows[1] == 1 and pictures[0] >= pictures[1] > 0
