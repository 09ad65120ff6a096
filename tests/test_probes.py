"""Probes on inputs whose answer is known, and their intervals."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from vvi.evaluation import probes
from vvi.metrics import from_similarity


def rng(seed=0):
    return np.random.default_rng(seed)


# -- bootstrap


def test_the_interval_holds_the_mean_and_has_the_textbook_width():
    values = rng().normal(size=400)
    score = probes.bootstrap(values)
    assert score.value == pytest.approx(values.mean())
    assert (score.high - score.low) / 2 == pytest.approx(
        1.96 * values.std() / 20, rel=0.1
    )
    assert score.low < score.value < score.high


def test_the_interval_covers_the_truth_in_about_nineteen_of_twenty_draws():
    draws = [
        probes.bootstrap(rng(k).normal(size=60), seed=k, n=500) for k in range(200)
    ]
    assert 0.89 <= np.mean([s.low <= 0 <= s.high for s in draws]) <= 0.99


def test_the_same_seed_gives_the_same_interval():
    values = rng().normal(size=50)
    assert probes.bootstrap(values, seed=3) == probes.bootstrap(values, seed=3)
    assert probes.bootstrap(values, seed=3).low != probes.bootstrap(values, seed=4).low


def test_resampling_whole_groups_widens_the_interval_of_what_is_alike_within_them():
    groups = np.repeat(np.arange(20), 30)
    values = rng().normal(size=20)[groups]
    alone, grouped = probes.bootstrap(values), probes.bootstrap(values, groups=groups)
    assert grouped.value == pytest.approx(alone.value)
    assert grouped.count == 20
    assert grouped.high - grouped.low > 4 * (alone.high - alone.low)


def test_missing_values_are_left_out_and_nothing_left_is_an_error():
    assert probes.bootstrap(np.array([1.0, np.nan, 3.0])).value == 2
    with pytest.raises(ValueError, match="nothing to average"):
        probes.bootstrap(np.array([np.nan]))


def test_pairing_narrows_the_interval_of_a_difference():
    before = rng().normal(size=300)
    after = before + 0.1 + 0.01 * rng(1).normal(size=300)
    score = probes.paired_bootstrap(before, after)
    assert score.value == pytest.approx(0.1, abs=0.01)
    assert score.low > score.reference == 0
    with pytest.raises(ValueError, match="not the same units"):
        probes.paired_bootstrap(before, after[:-1])


# -- maps


def test_a_map_on_the_person_scores_one_and_a_blind_map_scores_the_area():
    masks = rng().random((6, 3, 32, 16)) < 0.3
    inside = probes.body_share(masks.astype(float), masks)
    blind = probes.body_share(np.ones(masks.shape), masks)
    assert inside.value == 1
    assert blind.value == pytest.approx(blind.reference)
    assert blind.reference == pytest.approx(masks.mean())
    assert probes.body_share((~masks).astype(float), masks).value == 0


def test_coarse_maps_meet_masks_averaged_over_their_cells():
    masks = np.zeros((2, 1, 8, 4), bool)
    masks[:, :, :4] = True
    maps = np.zeros((2, 1, 4, 2))
    maps[:, :, 1, 0], maps[:, :, 3, 1] = 3, 1
    score = probes.body_share(maps, masks)
    assert score.value == pytest.approx(0.75)
    assert score.reference == pytest.approx(0.5)


def test_frames_without_a_map_are_left_out():
    masks = np.zeros((2, 2, 4, 4), bool)
    masks[:, 0, :2], masks[:, 1] = True, True
    maps = np.ones((2, 2, 4, 4))
    maps[:, 1] = 0
    score = probes.body_share(maps, masks)
    assert (score.value, score.reference) == (pytest.approx(0.5), pytest.approx(0.5))


def test_maps_below_zero_or_of_other_clips_are_refused():
    masks = np.ones((2, 2, 4, 4), bool)
    with pytest.raises(ValueError, match="negative or undefined"):
        probes.body_share(-np.ones((2, 2, 4, 4)), masks)
    with pytest.raises(ValueError, match=r"must be \(N, T, h, w\)"):
        probes.body_share(np.ones((3, 2, 4, 4)), masks)


# -- modality gap


def clips(gap, people=30, each=4, width=16, seed=0):
    draw = rng(seed)
    ids = np.repeat(np.arange(people), each)
    centre = draw.normal(size=(people, width))[ids]
    shift = np.zeros(width)
    shift[0] = gap
    vis, ir = (
        centre + sign * shift / 2 + 0.3 * draw.normal(size=centre.shape)
        for sign in (1, -1)
    )
    return vis, ir, ids, ids


def test_without_a_gap_the_ratio_is_one_and_the_plane_guesses():
    gap = probes.modality_gap(*clips(0))
    assert gap.distance.value == pytest.approx(1, abs=0.06)
    assert gap.probe.value == pytest.approx(0.5, abs=0.12)


def test_a_wide_gap_raises_the_ratio_and_is_seen_by_the_plane():
    narrow, wide = probes.modality_gap(*clips(1)), probes.modality_gap(*clips(8))
    assert wide.distance.low > narrow.distance.high > 1
    assert wide.probe.value > 0.98
    assert wide.probe.low > wide.probe.reference == 0.5


def test_the_distance_ratio_equals_the_literal_loop():
    vis, ir, vis_ids, ir_ids = clips(2, people=5, each=3)

    def unit(x):
        return x / np.linalg.norm(x)

    across, within = [], []
    for who in range(5):
        a, b = (
            [unit(x) for x in vis[vis_ids == who]],
            [unit(x) for x in ir[ir_ids == who]],
        )
        across.append(np.mean([np.linalg.norm(x - y) for x in a for y in b]))
        within.append(
            np.mean(
                [
                    np.linalg.norm(side[i] - side[j])
                    for side in (a, b)
                    for i in range(3)
                    for j in range(i + 1, 3)
                ]
            )
        )
    assert probes.modality_gap(
        vis, ir, vis_ids, ir_ids
    ).distance.value == pytest.approx(np.mean(across) / np.mean(within), abs=1e-9)


def test_unequal_counts_of_the_modalities_do_not_lift_the_plane_above_chance():
    vis, ir, ids, _ = clips(0, people=40)
    few = np.arange(len(ids)) % 4 == 0
    assert probes.modality_gap(
        vis, ir[few], ids, ids[few]
    ).probe.value == pytest.approx(0.5, abs=0.15)


def test_a_gap_needs_people_seen_in_both_modalities():
    vis, ir, ids, _ = clips(0, people=3)
    with pytest.raises(ValueError, match="both modalities"):
        probes.modality_gap(vis, ir, ids, ids + 100)


@pytest.mark.parametrize(
    ("vis_ids", "ir_ids", "enough"),
    [
        ([1, 2], [1, 2], False),  # no pair within a modality
        ([1, 1], [1, 1], False),  # one person
        ([1, 1, 2], [3, 3], False),  # nobody in both modalities
        ([1, 1, 2], [1, 2], True),
        ([1, 2], [1, 1], False),  # nobody infrared is left to fit when 1 is tested
        ([1, 2, 3], [1, 1, 2], True),
    ],
)
def test_whether_a_gap_can_be_measured_is_known_before(vis_ids, ir_ids, enough):
    rng = np.random.default_rng(0)
    vis, ir = (rng.normal(size=(len(ids), 4)) for ids in (vis_ids, ir_ids))
    assert probes.can_measure_gap(vis_ids, ir_ids) == enough
    if enough:
        assert np.isfinite(probes.modality_gap(vis, ir, vis_ids, ir_ids).probe.value)
    else:
        with pytest.raises(ValueError):
            probes.modality_gap(vis, ir, vis_ids, ir_ids)


# -- frame weights


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), levels=st.sampled_from([3, 1000]))
def test_the_auc_equals_that_of_a_library(seed, levels):
    draw = rng(seed)
    weights, noisy = (
        draw.integers(0, levels, (12, 6)) / levels,
        draw.random((12, 6)) < 0.3,
    )
    noisy[0, :2] = True, False
    assert probes.noisy_auc(weights, noisy).value == pytest.approx(
        roc_auc_score(noisy.ravel(), -weights.ravel()), abs=1e-9
    )


def test_weights_that_know_the_noise_score_one_and_inverted_ones_zero():
    noisy = rng().random((20, 6)) < 0.3
    assert probes.noisy_auc(1.0 - noisy, noisy).value == 1
    assert probes.noisy_auc(1.0 * noisy, noisy).value == 0
    blind = probes.noisy_auc(np.ones((20, 6)), noisy)
    assert (blind.value, blind.low, blind.high, blind.reference) == (0.5, 0.5, 0.5, 0.5)


def test_within_clips_the_scale_of_a_clip_plays_no_part():
    noisy = np.zeros((30, 6), bool)
    noisy[:, 2] = True
    weights = np.where(noisy, 0.5, 1.0) * np.logspace(-3, 3, 30)[:, None]
    assert probes.noisy_auc(weights, noisy, within_clip=True).value == 1
    assert probes.noisy_auc(weights, noisy).value < 0.7


def test_an_auc_needs_both_kinds_of_frames():
    with pytest.raises(ValueError, match="noisy frames and clean ones"):
        probes.noisy_auc(np.ones((2, 3)), np.zeros((2, 3), bool))
    with pytest.raises(ValueError, match="must be finite"):
        probes.noisy_auc(np.full((2, 3), np.nan), np.zeros((2, 3), bool))


# -- look-alikes


def crowd(own, group, people=20, each=3, seed=0):
    """Features: own * what only a person has + group * what a pair shares.

    Pairs are (0, 1), (2, 3), ... Queries are in cameras 1 and 2, the gallery in 1 to 3.
    """
    draw = rng(seed)
    ids = np.repeat(np.arange(people), each)
    alone, shared = draw.normal(size=(people, 32)), draw.normal(size=(people, 32))

    def feat():
        return (
            own * alone[ids]
            + group * shared[ids // 2]
            + 0.5 * draw.normal(size=(len(ids), 32))
        )

    cams = np.tile(np.arange(each), people)
    return (
        feat(),
        feat(),
        ids,
        ids,
        cams % 2 + 1,
        cams + 1,
        {i: i // 2 if i < people // 2 else -1 for i in range(people)},
    )


def test_embeddings_that_hold_only_what_look_alikes_share_tell_them_apart_by_chance():
    blind = probes.look_alike_rank1(*crowd(own=0, group=2, people=200))
    assert blind.pair.value == pytest.approx(0.5, abs=0.1)
    assert blind.pair.low < 0.5 < blind.pair.high
    assert blind.pair.count == 100


def test_embeddings_that_hold_the_person_tell_look_alikes_apart():
    seeing = probes.look_alike_rank1(*crowd(own=3, group=2))
    assert seeing.pair.value == 1
    assert seeing.rank1.value == 1
    assert seeing.rank1.reference == 1


def test_look_alike_pairs_equal_the_literal_loop():
    query, gallery, query_ids, gallery_ids, query_cams, gallery_cams, groups = crowd(
        own=0.3, group=2
    )
    wins = []
    for f, who, cam in zip(query, query_ids, query_cams, strict=True):
        if groups[who] < 0:
            continue
        best = {}
        for g, other, seen in zip(gallery, gallery_ids, gallery_cams, strict=True):
            if seen != cam and groups[other] == groups[who]:
                best[other] = max(
                    best.get(other, -9), f @ g / np.linalg.norm(f) / np.linalg.norm(g)
                )
        wins.append(
            best[who] > next(score for other, score in best.items() if other != who)
        )
    score = probes.look_alike_rank1(
        query, gallery, query_ids, gallery_ids, query_cams, gallery_cams, groups
    )
    assert score.pair.value == pytest.approx(np.mean(wins), abs=1e-12)
    assert 0.5 < score.pair.value < 1


def test_a_crowd_without_look_alikes_is_refused():
    *labels, groups = crowd(1, 1)
    with pytest.raises(ValueError, match="look-alike"):
        probes.look_alike_rank1(*labels, dict.fromkeys(groups, -1))


# -- altered clips


def hits(similarity):
    count = len(similarity)
    return from_similarity(
        similarity,
        np.arange(count),
        np.arange(count),
        np.ones(count),
        2 * np.ones(count),
    )


def test_the_drop_of_rank_one_is_that_of_the_same_queries():
    clean = np.eye(100) + 0.01
    altered = clean.copy()
    altered[np.arange(25), np.arange(25)] = -1
    score = probes.robustness(hits(clean), hits(altered))
    assert score.value == pytest.approx(-0.25)
    assert score.high < 0
    assert (
        probes.robustness(hits(clean), hits(clean), groups=np.arange(100) // 2).value
        == 0
    )


def test_other_queries_are_refused():
    with pytest.raises(ValueError, match="not of the same queries"):
        probes.robustness(hits(np.eye(4)), hits(np.eye(5)))


def test_an_occluding_bar_covers_its_share_of_every_frame_and_leaves_the_input():
    given_clips = torch.full((5, 3, 3, 40, 20), 9, dtype=torch.uint8)
    changed = probes.occluded(0.25)(given_clips)
    assert (given_clips == 9).all()
    assert (changed != 9).float().mean().item() == pytest.approx(0.25)
    assert (changed[:, 0] == changed[:, 1]).all()
    assert len({tuple((clip[0, 0, :, 0] != 9).tolist()) for clip in changed}) > 1
    torch.testing.assert_close(changed, probes.occluded(0.25)(given_clips))
    with pytest.raises(ValueError, match="share 1.5"):
        probes.occluded(1.5)


def test_a_blur_spreads_each_pixel_and_leaves_flat_frames_and_the_input():
    clips = torch.zeros(2, 3, 3, 41, 41, dtype=torch.uint8)
    clips[..., 20, 20] = 255
    changed = probes.blurred(2.0)(clips)
    assert changed[0, 0, 0, 20, 20] == round(255 / (2 * np.pi * 4)) and changed[
        0, 0, 0, 20, 22
    ] == round(255 / (2 * np.pi * 4) * np.exp(-0.5))
    assert clips[..., 20, 20].eq(255).all() and changed.shape == clips.shape
    flat = torch.full((1, 1, 3, 8, 8), 90, dtype=torch.uint8)
    assert probes.blurred(1.0)(flat).eq(90).all()
    with pytest.raises(ValueError, match="sigma 0"):
        probes.blurred(0)


def test_a_view_change_takes_away_right_clips_of_one_kind_and_nobody_else():
    ids, views = np.array([1, 1, 2, 2]), np.array([0.0, 170, 10, -170])
    similarity = np.array([[0.9, 0.1, 0.5, 0.2], [0.3, 0.2, 0.4, 0.6]])
    people, cameras = np.array([1, 2]), (np.ones(2), np.full(4, 2))
    # person 1 seen from 0: right from its own view only
    # person 2 seen from 175: wrong, then right
    near, change = probes.view_change(
        similarity, people, ids, np.array([0.0, 175]), views, cameras
    )
    assert (
        near.value == 1.0
        and change.value == -0.5
        and near.count == 2
        and near.reference == pytest.approx(1 / 3)
    )
    similarity[1, 3] = (
        0.1  # the clip from behind no longer beats the stranger, the other (0.4) does
    )
    near, change = probes.view_change(
        similarity, people, ids, np.array([0.0, 175]), views, cameras
    )
    assert near.value == 0.5 and change.value == 0.0
    with pytest.raises(ValueError, match="no query"):
        probes.view_change(similarity, people, ids, np.zeros(2), np.zeros(4), cameras)
    own = cameras[0], np.array([1, 2, 2, 2])  # the first is of the query's camera
    near, _ = probes.view_change(
        similarity, people, ids, np.array([0.0, 175]), views, own
    )
    assert near.count == 1, "person 1 has no right clip from its own view left"


def test_shuffled_clips_keep_their_frames_in_another_order():
    frames = torch.arange(6.0)[None, :, None, None, None].expand(20, 6, 3, 4, 2)
    changed = probes.shuffled(seed=1)(frames)
    assert (changed.sort(dim=1).values == frames).all()
    assert (changed[:, :, 0, 0, 0] != frames[:, :, 0, 0, 0]).any(1).float().mean() > 0.8
    torch.testing.assert_close(changed, probes.shuffled(seed=1)(frames))


def test_a_score_reads_as_a_sentence():
    assert (
        str(probes.Score(0.61, 0.58, 0.64, 0.34, 120))
        == "0.610 (0.580 to 0.640; reference 0.340; n = 120)"
    )


def test_runs_are_compared_over_people_and_over_runs():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(20), 5)
    before, after = rng.random((2, 100)) < 0.4, rng.random((3, 100)) < 0.6
    found = probes.paired_runs(before, after, groups, n=4000)
    assert (
        found.value == pytest.approx(after.mean() - before.mean()) and found.count == 20
    )
    slow = []
    for _ in range(4000):
        people = rng.integers(0, 20, 20)
        units = np.concatenate([np.flatnonzero(groups == p) for p in people])
        sides = []
        for runs in (before, after):
            drawn = rng.integers(0, len(runs), len(runs) - 1)
            sides.append(np.mean([runs[r][units].mean() for r in drawn]))
        slow.append(sides[1] - sides[0])
    assert (found.low, found.high) == pytest.approx(
        tuple(np.percentile(slow, (2.5, 97.5))), abs=0.01
    )


@pytest.mark.parametrize("count", [2, 3, 5])
def test_means_of_drawn_runs_vary_as_those_of_new_runs(count):
    rng = np.random.default_rng(count)
    variances = []
    for _ in range(500):
        runs = rng.normal(size=count)
        drawn = probes.draw_runs(rng, count, 200)
        variances.append(runs[drawn].mean(1).var())
    assert np.mean(variances) == pytest.approx(1 / count, rel=0.1)
    assert (probes.draw_runs(rng, 1, 7) == np.zeros((7, 1))).all()


def test_exchanged_sides_mirror_the_interval():
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(20), 5)
    before, after = rng.random((2, 100)) < 0.4, rng.random((3, 100)) < 0.6
    there = probes.paired_runs(before, after, groups)
    back = probes.paired_runs(after, before, groups)
    assert (back.value, back.low, back.high) == pytest.approx(
        (-there.value, -there.high, -there.low), abs=1e-12
    )
    assert there.low < there.value < there.high


def test_runs_that_differ_among_themselves_widen_the_interval():
    people = np.arange(50)
    same, apart = np.full((3, 50), 0.5), np.array([[0.2] * 50, [0.5] * 50, [0.8] * 50])
    assert probes.paired_runs(same, same, people).high == pytest.approx(0)
    wide = probes.paired_runs(same, apart, people)
    assert (
        wide.value == pytest.approx(0)
        and wide.low == pytest.approx(-0.3)
        and wide.high == pytest.approx(0.3)
    )
    with pytest.raises(ValueError, match="not runs over the same 49 units"):
        probes.paired_runs(same, apart, people[1:])


def test_maps_that_are_zero_everywhere_are_refused_without_a_warning(recwarn):
    with pytest.raises(ValueError, match="every map is zero everywhere"):
        probes.body_share(np.zeros((2, 1, 4, 2)), np.ones((2, 1, 8, 4), bool))
    assert not recwarn.list


def test_the_gap_of_one_identity_is_refused_in_plain_words():
    feat, ids = np.random.default_rng(0).normal(size=(4, 3)), np.zeros(4, int)
    with pytest.raises(
        ValueError, match="both modalities to fit, and other people to test"
    ):
        probes.modality_gap(feat, feat + 1, ids, ids)
