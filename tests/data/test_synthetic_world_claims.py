"""Every world shows its own oracle. What fails is mended in how people are drawn."""

from __future__ import annotations

import cv2
import numpy as np
import pandas as pd
import pytest

from vvi.data import open_dataset, synthetic
from vvi.data.clips import test_frames as searched_frames
from vvi.data.synthetic import presets, world_claims
from vvi.data.synthetic.leg_phase import Sampling
from vvi.data.synthetic.presets import Plan, Preset
from vvi.data.synthetic.world import DOSES, World

SHEET = Preset("sheet", Plan(2), Plan(48, cameras=3, full=0, last=(12, 16)), 64, 32)
PIXELS = {world: doses for world, (_, doses) in DOSES.items() if world != "time"}


@pytest.fixture(scope="module")
def claims() -> pd.DataFrame:
    """All claims but those of time, which reads no pixels."""
    return world_claims.world_claims(SHEET, PIXELS)


def values(claims: pd.DataFrame, world: str, claim: str) -> list[float]:
    """Value of a claim at each dose of a world, in the order of `DOSES`."""
    rows = claims[(claims.world == world) & (claims.claim == claim)]
    measured = rows.set_index("dose").value
    return [measured[dose] for dose in DOSES[world][1]]


def test_one_table_holds_every_claim_at_every_dose(claims):
    assert list(claims.columns) == [
        "world",
        "knob",
        "dose",
        "claim",
        "value",
        "error",
        "chance",
    ]
    assert claims.groupby("world").dose.agg(lambda d: set(d)).to_dict() == {
        world: set(doses) for world, doses in PIXELS.items()
    }
    assert claims.value.notna().all()
    rates = claims[claims.chance.notna()]
    assert (rates.error > 0).sum() > 0.9 * len(rates)
    assert rates.value.between(0, 1).all() and rates.chance.between(0, 0.1).all()


def test_a_mean_over_good_frames_beats_that_over_all_the_more_frames_are_bad(claims):
    shares = values(claims, "bad-frames", "share of bad frames")
    assert shares == pytest.approx([0, 0.095, 0.4], abs=0.03)
    everything = values(claims, "bad-frames", "mean of all frames")
    good = values(claims, "bad-frames", "mean of good frames")
    gains = np.subtract(good, everything)
    assert gains[0] == 0 <= gains[1] < gains[2]
    assert everything[2] < 0.7 * everything[0] and good[2] > 0.75 * good[0]


def test_known_reflectances_find_everybody_where_they_are_tied_and_nobody_where_not(
    claims,
):
    tied, usual, free = values(claims, "gap", "reflectances")
    assert tied == pytest.approx(0.9, abs=0.02), "one in ten is lost to a look-alike"
    assert 0.5 * tied > usual > free
    assert free < 0.1


def test_pixels_cross_the_modalities_the_better_the_more_is_tied(claims):
    chance = 1 / 48
    for claim in ("pixels", "anaglyphs", "body"):
        tied, usual, free = values(claims, "gap", claim)
        assert tied > max(usual, 1.5 * chance), claim
        assert tied > 1.5 * free, claim
    tied, usual, free = values(claims, "gap", "body")
    assert tied > 2 * usual > 2 * free > 2 * chance


def test_the_more_cameras_are_spread_the_farther_two_views_of_one_person_lie_apart(
    claims,
):
    for name in ("visible", "infrared"):
        ratio = values(claims, "place", f"two views : two people, {name}")
        assert ratio == sorted(ratio) and ratio[0] < 0.85 * ratio[2]
    alike, usual, spread = values(claims, "place", "pixels")
    assert alike > 1.5 * usual > 1.8 * spread


def test_bars_hide_the_body_and_the_parts_that_are_seen_say_more_than_whole_frames(
    claims,
):
    seen = values(claims, "bars", "share of the body that is seen")
    assert seen[0] == 1 and 0.75 < seen[1] < 0.9 and 0.5 < seen[2] < 0.7
    whole, parts, clear = (
        values(claims, "bars", claim)
        for claim in ("whole frames", "visible parts", "without bars")
    )
    assert whole[0] == parts[0] == clear[0] == clear[1] == clear[2]
    assert whole[0] > 1.5 * whole[1] > 1.5 * whole[2]
    for dose in (1, 2):
        assert clear[dose] > parts[dose] > 1.1 * whole[dose]


def test_ways_to_cut_clips_are_named_for_what_a_network_is_given():
    found = world_claims.samplings(SHEET)
    assert len(found) == len(set(map(repr, found.values()))) == 12
    assert found["4 frames, parts, flips per frame"].flips == "frame"
    timed = found["6 frames, two apart"]
    assert (timed.frames, timed.stride, timed.flips, timed.search) == (
        6,
        2,
        "clip",
        False,
    )
    lengths = {n: found[f"4 frames, {n}"].lengths for n in ("parts", "parts, search")}
    assert lengths["parts"] == world_claims.lengths(SHEET, "train")
    assert lengths["parts, search"] == world_claims.lengths(SHEET, "test")


def test_appearance_is_worth_one_in_a_group_and_leg_phase_much_more(monkeypatch):
    sampling = {"6 frames, two apart": Sampling(6, 2)}
    monkeypatch.setattr(world_claims, "samplings", lambda preset, seed: sampling)
    by_size = {}
    for size in (1, 2, 8):
        preset = presets.in_world(SHEET, World(alike=size))
        by_size[size] = {c["claim"]: c for c in world_claims.pace(preset)}
        assert by_size[size]["appearance"]["value"] == pytest.approx(1 / size)
    usual = {c["claim"]: c for c in world_claims.pace(SHEET)}
    assert usual["appearance"]["value"] == pytest.approx(1 - 5 / 48), "five pairs"
    timed = "leg phase, 6 frames, two apart"
    assert by_size[2][timed]["value"] > 0.99 and by_size[8][timed]["value"] > 0.7
    assert by_size[2][timed]["chance"] == 1 / 2 and by_size[8][timed]["chance"] == 1 / 8
    assert by_size[1][timed]["value"] == by_size[1][timed]["chance"] == 1


def test_clips_are_those_of_the_written_set_as_a_search_reads_them(tmp_path):
    preset = presets.in_world(
        Preset("few", Plan(2), Plan(4, full=0, last=(12, 16)), 64, 32),
        World(bars=0.15),
    )
    root = synthetic.write(tmp_path / "set", preset, workers=1, progress=False)
    clips = world_claims.film_clips(preset)
    dataset = open_dataset(root)
    sides = (*dataset.query("ir2vis"), *dataset.gallery("ir2vis"))
    by_key = {(t.identity, t.camera, t.modality == "ir"): t for t in sides}
    assert len(by_key) == len(clips.identities) == 16
    for row in range(len(clips.identities)):
        key = clips.identities[row], clips.cameras[row], bool(clips.infrared[row])
        tracklet = by_key[key]
        which = searched_frames(len(tracklet), world_claims.FRAMES)
        read = np.stack([cv2.imread(str(tracklet.paths[i])) for i in which])
        assert np.array_equal(read, clips.frames[row])
        masks = synthetic.read_masks(root, tracklet)[which]
        assert np.array_equal(masks, clips.masks[row])
        faults = synthetic.read_faults(root, tracklet)[which]
        assert np.array_equal(faults != "none", clips.bad[row])
        assert not masks[:, ~clips.clear[row]].any()


def test_distances_by_clear_pixels_equal_the_slow_loop():
    rng = np.random.default_rng(0)
    feat, clear = rng.normal(size=(5, 3, 2, 3)), rng.random((5, 3, 2)) < 0.7
    clear[0] = True
    spread = np.zeros((3, 2, 3))
    for pixel in np.ndindex(3, 2):
        known = feat[clear[:, *pixel]][:, *pixel]
        spread[pixel] = known.var(0)
    found = world_claims.distances_where_clear(feat, clear)
    for a in range(5):
        for b in range(5):
            total = 0.0
            for pixel in np.ndindex(3, 2):
                if clear[a][pixel] and clear[b][pixel]:
                    total += ((feat[a][pixel] - feat[b][pixel]) ** 2).sum()
                else:
                    total += 2 * spread[pixel].sum()
            assert found[a, b] == pytest.approx(total)


def test_an_average_leaves_out_frames_that_are_not_used():
    pixels = np.arange(12, dtype=float).reshape(2, 3, 2)
    used = np.array([[True, False, True], [False, True, False]])
    assert world_claims.average(pixels, used).tolist() == [[2, 3], [8, 9]]
    none = np.array([[False, False], [True, False]])
    assert world_claims._or_all(none).tolist() == [[True, True], [True, False]]


def test_the_lengths_of_tracklets_are_those_that_readers_keep(tiny_root):
    found = world_claims.lengths(presets.find("tiny"), "test")
    dataset = open_dataset(tiny_root)
    sides = (*dataset.query("ir2vis"), *dataset.gallery("ir2vis"))
    lengths, counts = np.unique([len(t) for t in sides], return_counts=True)
    assert found == dict(zip(lengths.tolist(), counts.tolist(), strict=True))
