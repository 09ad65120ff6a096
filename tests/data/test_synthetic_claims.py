"""What the synthetic set claims to teach, measured on three seeds of the generator. A
claim that fails is mended in how people are drawn, never here.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from vvi.data import synthetic
from vvi.data.synthetic import claims, presets
from vvi.data.synthetic.presets import Plan, Preset
from vvi.data.synthetic.world import World

SHEET = Preset("data sheet", Plan(2), Plan(50, cameras=3, full=0, last=(6, 6)), 64, 32)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """One row per seed of the generator, one column per claim."""
    roots = [
        synthetic.write(
            tmp_path_factory.mktemp("sheet") / "set",
            SHEET,
            seed=seed,
            workers=1,
            progress=False,
        )
        for seed in range(3)
    ]
    return pd.DataFrame([claims.measure(root) for root in roots])


def test_raw_pixels_find_people_within_a_modality_and_hardly_across(
    measured: pd.DataFrame,
):
    assert (measured.raw_within_rank1 > 6 * measured.raw_within_chance).all()
    assert measured.raw_within_rank1.mean() > 4 * measured.raw_cross_modal_rank1.mean()
    assert (
        measured.raw_cross_modal_rank1.mean()
        < 2.5 * measured.raw_cross_modal_chance.mean()
    )


def test_embossed_pixels_narrow_the_gap_between_the_modalities(measured: pd.DataFrame):
    assert (measured.raw_gap > 1.3).all()
    assert (measured.anaglyph_gap < 1.2).all()
    assert (measured.anaglyph_gap - 1 < 0.5 * (measured.raw_gap - 1)).all()


def test_embossed_pixels_find_people_across_the_modalities_more_often_than_chance(
    measured: pd.DataFrame,
):
    assert (
        measured.anaglyph_cross_modal_rank1.mean()
        > 1.5 * measured.anaglyph_cross_modal_chance.mean()
    )


def test_appearance_cannot_tell_look_alikes_apart_and_gait_can(measured: pd.DataFrame):
    assert (measured.oracle_appearance_pairs == 0.5).all()
    assert measured.oracle_gait_pairs.mean() > 0.75
    assert (measured.oracle_gait_rank1 > 20 * measured.oracle_chance).all()
    assert (
        measured.oracle_appearance_rank1 <= 0.9 + 1e-9
    ).all()  # one in five has a look-alike: half of them are lost
    assert (
        measured.oracle_both_rank1
        > measured[["oracle_appearance_rank1", "oracle_gait_rank1"]].max(axis=1) - 0.03
    ).all()


def test_single_frames_cannot_tell_look_alikes_apart_and_the_stride_rate_can(
    measured: pd.DataFrame,
):
    error = np.sqrt((measured.pairs_single_frame_error**2).mean() / len(measured))
    assert abs(measured.pairs_single_frame.mean() - 0.5) < max(3 * error, 0.05)
    assert measured.pairs_single_frame.mean() < 0.6
    assert (measured.pairs_stride_rate > 0.8).all()


def test_the_emboss_is_the_difference_to_the_lower_right_neighbour():
    grey = np.random.default_rng(0).integers(0, 256, (2, 5, 4)).astype(np.uint8)
    embossed = claims.anaglyph(grey)
    for n in range(2):
        for i in range(4):
            for j in range(3):
                assert embossed[n, i, j] == min(
                    255, max(0, int(grey[n, i + 1, j + 1]) - int(grey[n, i, j]) + 128)
                )


def test_nearest_neighbours_agree_with_the_slow_loop():
    rng = np.random.default_rng(1)
    shots = pd.DataFrame(
        {
            "identity": rng.integers(0, 4, 40),
            "camera": rng.integers(1, 4, 40),
            "modality": rng.choice(["ir", "vis"], 40),
        }
    )
    dist = rng.random((40, 40))
    hits, chances = [], []
    for q, query in shots.iterrows():
        gallery = [
            g
            for g, item in shots.iterrows()
            if query.modality == "ir"
            and item.modality == "vis"
            and item.camera != query.camera
        ]
        right = [g for g in gallery if shots.identity[g] == query.identity]
        if right:
            hits.append(min(gallery, key=lambda g: dist[q, g]) in right)
            chances.append(len(right) / len(gallery))
    found = claims._nearest(dist, shots)
    assert found["cross_modal_rank1"] == pytest.approx(np.mean(hits))
    assert found["cross_modal_chance"] == pytest.approx(np.mean(chances))


def test_ties_between_look_alikes_count_as_shares():
    dist = np.array([[1.0, 1.0, 3.0], [2.0, 1.0, 0.5], [4.0, 4.0, 0.0]])
    assert claims.shared_rank1(dist, np.ones((3, 3), bool)).tolist() == [0.5, 0.0, 1.0]
    twins = np.array([[True, True, False], [True, True, False], [False, False, True]])
    assert claims.shared_rank1(dist, twins).tolist() == [0.5, 1.0, 1.0]


def test_the_stride_rate_is_read_from_a_swinging_silhouette():
    for rate in (0.11, 0.17, 0.23):
        time = np.arange(24)
        reach = np.rint(9 * np.abs(np.sin(2 * np.pi * rate * time + 0.4))).astype(int)
        masks = np.zeros((24, 20, 30), bool)
        for t, half in enumerate(reach):
            masks[t, :, 14 - half : 15 + half + 1] = True
        good = np.ones(24, bool)
        masks[5], good[5] = True, False
        assert claims.stride_rate(masks, good) == pytest.approx(rate, abs=0.012)


@pytest.mark.parametrize("alike", [1, 3])
def test_the_claims_of_a_set_are_measured_whatever_groups_people_stand_in(
    alike, tmp_path
):
    preset = presets.in_world(
        Preset("few", Plan(2), Plan(9, full=0, last=(12, 12)), 64, 32),
        World(alike=alike),
    )
    found = claims.measure(
        synthetic.write(tmp_path / "set", preset, workers=1, progress=False), pairs=1
    )
    assert np.isfinite(list(found.values())).all()
    pairs = {name for name in found if "pairs" in name}
    assert pairs == (set() if alike == 1 else pairs) and (
        "pairs_stride_rate" in pairs
    ) == (alike > 1)
    if alike == 3:
        assert found["oracle_appearance_pairs"] == pytest.approx(1 / 3)
