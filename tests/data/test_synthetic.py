"""Synthetic walkers: the plan, the factors, the figure and the pixels."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter

import cv2
import numpy as np
import pytest

from vvi.data.synthetic import (
    PRESETS,
    body,
    draw,
    dress,
    factors,
    filming,
    layouts,
    presets,
)
from vvi.data.synthetic.body import View
from vvi.data.synthetic.presets import Film, Plan, Preset
from vvi.data.synthetic.scene import scene

SIZE = (128, 64)


def people(preset: Preset = PRESETS["tiny"], seed: int = 0) -> list[factors.Identity]:
    return list(layouts.people("hitsz-vcm", preset, seed).values())


def drawn(
    who: factors.Identity, film: Film, seed: int = 0, **changes: object
) -> tuple[np.ndarray, np.ndarray]:
    walk = dataclasses.replace(filming.walk(who, film, seed), **changes)
    return draw.sequence(
        who, walk, scene(film.camera, film.modality, *SIZE, seed), *SIZE
    )


def counts(preset: Preset, seed: int) -> Counter:
    """Tracklets and frames by (split, modality, kept)."""
    films, total = presets.films(preset, seed), Counter()
    for split, numbers in presets.identities(preset).items():
        for film in (film for number in numbers for film in films[number]):
            for length in film.tracklets:
                total[split, film.modality, length >= 12, "tracklets"] += 1
                total[split, film.modality, length >= 12, "frames"] += length
    return total


def test_the_full_plan_has_the_counts_of_the_real_set():
    total = counts(PRESETS["full"], seed=3)
    kept = {
        key[:2]: (value, total[*key[:3], "frames"])
        for key, value in total.items()
        if key[2] and key[3] == "tracklets"
    }
    assert kept == {
        ("train", "ir"): (4291, 98_214),
        ("train", "vis"): (5460, 126_543),
        ("test", "ir"): (4584, 105_979),
        ("test", "vis"): (5099, 118_137),
    }
    every = {
        (split, m): sum(total[split, m, k, "tracklets"] for k in (True, False))
        for split in ("train", "test")
        for m in ("ir", "vis")
    }
    assert every == {
        ("train", "ir"): 4919,
        ("train", "vis"): 6142,
        ("test", "ir"): 5159,
        ("test", "vis"): 5643,
    }
    frames = {
        split: sum(v for k, v in total.items() if k[0] == split and k[3] == "frames")
        for split in ("train", "test")
    }
    assert frames == {"train": 232_496, "test": 230_763}
    assert (
        sum(v for k, v in total.items() if k[1] == "ir" and k[3] == "frames") == 211_807
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_standard_plan_keeps_a_thousand_queries_per_direction(seed: int):
    total = counts(PRESETS["standard"], seed)
    assert min(total["test", m, True, "tracklets"] for m in ("vis", "ir")) >= 1000
    assert (
        min(
            total[split, m, False, "tracklets"]
            for split in ("train", "test")
            for m in ("vis", "ir")
        )
        > 50
    )


@pytest.mark.parametrize("name", ["tiny", "standard", "full"])
def test_everybody_is_kept_by_two_cameras_of_each_modality(name: str):
    for films in presets.films(PRESETS[name], seed=1).values():
        for modality in ("vis", "ir"):
            cameras = [
                film.camera
                for film in films
                if film.modality == modality and film.tracklets[0] >= 12
            ]
            assert len(set(cameras)) == len(cameras) >= 2
            assert max(cameras) <= 12


@pytest.mark.parametrize("name", ["tiny", "standard", "full"])
def test_one_identity_in_five_has_a_look_alike_in_both_splits(name: str):
    for numbers in presets.identities(PRESETS[name]).values():
        groups = presets.look_alikes(numbers, seed=2)
        assert set(Counter(groups.values()).values()) == {2}
        assert set(groups) <= set(numbers)
        assert abs(len(groups) - len(numbers) / 5) <= 1


def test_a_quota_that_cannot_be_met_is_an_error():
    impossible = Plan(4, quotas=(("vis", presets.Quota(20, 12, 12 * 40, 8)),))
    with pytest.raises(ValueError, match="cannot sum to"):
        presets.films(Preset("impossible", impossible, Plan(2)), 0)


def test_look_alikes_share_everything_but_the_stride_rate():
    everyone = people(PRESETS["standard"])
    groups: dict[int, list[factors.Identity]] = {}
    for who in everyone:
        groups.setdefault(who.look_alike_group, []).append(who)
    strangers = groups.pop(-1)
    for first, second in groups.values():
        assert (first.body, first.garments, first.colours) == (
            second.body,
            second.garments,
            second.colours,
        )
        assert dataclasses.replace(first.gait, rate=0) == dataclasses.replace(
            second.gait, rate=0
        )
        assert abs(first.gait.rate - second.gait.rate) >= 0.04
    assert len({who.body for who in strangers}) == len(strangers)


def test_an_identity_does_not_depend_on_who_else_is_drawn():
    small, large = (
        people(Preset("a", Plan(20), Plan(4))),
        people(Preset("b", Plan(30), Plan(4))),
    )
    by_number = {who.identity: who for who in large}
    alone = [
        who
        for who in small
        if who.look_alike_group == by_number[who.identity].look_alike_group == -1
        and who.split == "train"
    ]
    assert len(alone) > 5
    assert all(who == by_number[who.identity] for who in alone)


def test_infrared_follows_half_the_luminance_and_nothing_of_the_hue():
    rng = np.random.default_rng(0)
    dyes = [factors.dye(rng, rng.uniform(25, 225), (0.5, 1.0)) for _ in range(4000)]
    infrared, luminance = (
        np.array([d.ir for d in dyes], float),
        np.array([d.luminance for d in dyes]),
    )
    slope, offset = np.polyfit(luminance, infrared, 1)
    assert 0.47 < slope < 0.53
    rest = infrared - slope * luminance - offset
    assert (
        0.8 < rest.std() / (slope * luminance.std()) < 1.3
    )  # the half left to chance weighs as much
    hues = (
        np.array(
            [
                cv2.cvtColor(np.uint8([[d[:3]]]), cv2.COLOR_RGB2HSV)[0, 0, 0]
                for d in dyes
            ]
        )
        * math.tau
        / 180
    )
    for wave in (np.cos(hues), np.sin(hues), np.cos(2 * hues), np.sin(2 * hues)):
        assert abs(np.corrcoef(rest, wave)[0, 1]) < 4 / math.sqrt(len(dyes))


def test_patterns_have_contrast_in_both_modalities():
    for who in people(PRESETS["standard"]):
        first, second = who.colours["top"], who.colours["second"]
        assert abs(first.luminance - second.luminance) > 65
        assert abs(first.ir - second.ir) >= 49


def test_the_standing_foot_keeps_its_place_and_one_foot_is_on_the_ground():
    phase = np.linspace(0, 3, 601)
    for who in people():
        joints = body.joints(who, phase)
        left, right = (joints.ankles[side][:, 0] + joints.advance for side in (0, 1))
        for foot, stands in (
            (left, (phase - 0.25) % 1 < 0.5),
            (right, (phase - 0.25) % 1 >= 0.5),
        ):
            for stance in np.split(
                np.flatnonzero(stands),
                np.flatnonzero(np.diff(np.flatnonzero(stands)) > 1) + 1,
            ):
                assert np.ptp(foot[stance]) < 1e-9
        lowest = np.minimum(joints.ankles[0][:, 1], joints.ankles[1][:, 1])
        assert np.abs(lowest).max() < 1e-9
        assert (np.diff(joints.advance) > -1e-9).all()


def test_the_background_moves_against_the_walk():
    who, film = people()[0], Film("vis", 1, 24)
    view = View(0.0, 0.1)
    still = {
        "boxes": np.tile((0.0, 0.0, 1.0), (24, 1)),
        "blurs": np.zeros(24, int),
        "covers": np.zeros((24, 4)),
        "faults": np.zeros(24, int),
    }
    walk = dataclasses.replace(filming.walk(who, film, 0), **still)
    place = scene(1, "vis", *SIZE, 0)
    advance = body.joints(who, walk.phase).advance
    way = advance * who.body.height * SIZE[0]
    pictures = draw._backgrounds(walk, place, view, way, *SIZE)
    moved = np.rint(np.diff(way)).astype(int)
    for before, after, step in zip(pictures[:-1], pictures[1:], moved, strict=True):
        matches = [
            np.array_equal(before[:, k:], after[:, : SIZE[1] - k])
            for k in range(max(0, step - 1), step + 2)
        ]
        assert any(matches)


def test_legs_swing_less_across_the_image_when_people_come_and_go():
    who, phase = people()[0], np.linspace(0, 1, 50)
    joints = body.joints(who, phase)
    side, front = (np.ptp(View(yaw, 0.1)(joints.ankles[0])[:, 0]) for yaw in (0, 85))
    assert front < 0.3 * side


def test_shapes_are_convex_and_lie_near_the_box():
    for number, who in enumerate(people(PRESETS["standard"])[:60]):
        joints = body.joints(who, np.linspace(0, 1, 7))
        for shape in dress.figure(who, joints, View(number * 37.0, 0.15)):
            assert 0 < shape.shade <= 256
            assert shape.material in who.colours
            assert np.isfinite(shape.points).all()
            assert np.abs(shape.points[..., 0]).max() < 0.75
            assert (
                shape.points[..., 1].min() > -1.15 and shape.points[..., 1].max() < 0.15
            )
            edges = np.diff(
                np.concatenate((shape.points, shape.points[:, :2]), 1), axis=1
            )
            turns = (
                edges[:, :-1, 0] * edges[:, 1:, 1] - edges[:, :-1, 1] * edges[:, 1:, 0]
            )
            assert (turns > -1e-9).all() or (turns < 1e-9).all()


def test_people_fill_their_box():
    heights = []
    for who in people():
        film = Film("vis", 2, 24)
        masks = drawn(who, film)[1][filming.walk(who, film, 0).faults == 0]
        rows = [np.flatnonzero(mask.any(1)) for mask in masks]
        heights += [(r[-1] - r[0] + 1) / SIZE[0] for r in rows]
    assert 0.8 < np.mean(heights) < 0.95
    assert min(heights) > 0.7


def test_a_mask_covers_the_person_and_not_the_occluder():
    who, film = people()[0], Film("ir", 3, 6)
    none, cover = np.zeros((6, 4)), np.tile((0.0, 0.5, 1.0, 1.1), (6, 1))
    free, free_masks = drawn(who, film, covers=none)
    hidden, masks = drawn(who, film, covers=cover)
    assert free_masks[:, 64:].any((1, 2)).all()
    assert not masks[:, 64:].any()
    assert np.array_equal(masks[:, :64], free_masks[:, :64])
    assert np.array_equal(free[:, :60], hidden[:, :60])


def test_pixels_inside_the_mask_show_the_person_and_outside_the_place():
    first, second = people()[:2]
    film = Film("ir", 4, 8)
    same = {
        key: value
        for key, value in vars(filming.walk(first, film, 0)).items()
        if key != "film"
    }
    (a, a_masks), (b, b_masks) = (
        drawn(dataclasses.replace(who, body=first.body, gait=first.gait), film, **same)
        for who in (first, second)
    )
    outside = ~cv2.dilate(
        (a_masks | b_masks).transpose(1, 2, 0).astype(np.uint8), np.ones((7, 7))
    ).transpose(2, 0, 1).astype(bool)
    assert np.array_equal(a[outside], b[outside])
    assert (a[a_masks & b_masks] != b[a_masks & b_masks]).mean() > 0.5


def test_the_same_walk_gives_the_same_pixels_and_another_seed_gives_others():
    who, film = people()[3], Film("vis", 5, 10)
    first, again = drawn(who, film)[0], drawn(who, film)[0]
    assert np.array_equal(first, again)
    assert not np.array_equal(first, drawn(who, film, seed=1)[0])


def test_halving_a_picture_is_integer_arithmetic_on_this_processor():
    fine = np.random.default_rng(0).integers(0, 256, (64, 48, 4)).astype(np.uint8)
    halved = cv2.resize(fine, (24, 32), interpolation=cv2.INTER_AREA)
    total = sum(fine[i::2, j::2].astype(int) for i in (0, 1) for j in (0, 1))
    assert np.array_equal(halved, total + 2 >> 2)


def test_a_smeared_row_is_the_mean_of_its_neighbours():
    frame = np.random.default_rng(0).integers(0, 256, (3, 12, 1)).astype(np.uint8)
    smeared = draw.smear(frame, 5)
    for row in range(3):
        for column in range(12):
            window = [
                int(frame[row, min(max(column + k, 0), 11), 0]) for k in range(-2, 3)
            ]
            assert smeared[row, column, 0] == (sum(window) + 2) // 5


def test_faults_are_labelled_and_about_one_frame_in_eleven():
    share = Counter()
    for who in people(PRESETS["standard"])[:150]:
        walk = filming.walk(who, Film("vis", 1, 48), 0)
        share.update(filming.FAULTS[fault] for fault in walk.faults)
        assert np.array_equal(
            walk.covers.any(1), walk.faults == filming.FAULTS.index("occluder")
        )
        assert np.array_equal(
            walk.blurs > 0, walk.faults == filming.FAULTS.index("blur")
        )
    total = sum(share.values())
    assert 0.08 < 1 - share["none"] / total < 0.105
    assert min(share[fault] / total for fault in filming.FAULTS) > 0.015


def test_the_infrared_scenery_is_quieter_than_the_visible_one():
    for number in range(1, 13):
        visible, infrared = (
            scene(number, modality, *SIZE, 0) for modality in ("vis", "ir")
        )
        assert infrared.wall.mean() < 0.4 * visible.wall.mean()
        assert infrared.wall.std() < visible.wall.std()


def test_cameras_look_from_the_side_the_front_and_between():
    angles = sorted(abs(filming.camera(number, 0).view) for number in range(1, 13))
    assert angles[2] < 30 and angles[-3] > 60
    assert sum(30 <= angle <= 60 for angle in angles) >= 3
