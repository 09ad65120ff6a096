"""Worlds: what a knob changes, that nothing else changes, and what is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from small_preset import SMALL

from vvi.data import open_dataset, synthetic
from vvi.data.synthetic import (
    PRESETS,
    crossing,
    draw,
    factors,
    filming,
    layouts,
    presets,
    world,
)
from vvi.data.synthetic.presets import TRACKLET, Film, Plan
from vvi.data.synthetic.scene import scene
from vvi.data.synthetic.world import DOSES, World

SIZE = (128, 64)
#: Content and manifest of sets as they were before there were worlds.
BEFORE = {
    ("tiny", "hitsz-vcm"): ("2ab75620304868c7", "fd42d3531b1f34fd"),
    ("tiny-val", "hitsz-vcm"): ("0a627a07d1e412a9", "a01bdff4ea45fc19"),
    (SMALL, "sysu-mm01"): ("d78768a822d883de", "b69e4fba154a5f17"),
    (SMALL, "regdb"): ("a9057f1279c6c945", "f05adf83f7997783"),
}


def people(name: str, seed: int = 0) -> list[factors.Identity]:
    preset = presets.find(name)
    return list(layouts.people("hitsz-vcm", preset, seed).values())


@pytest.mark.parametrize("preset, layout", BEFORE)
def test_sets_without_a_world_have_the_bytes_they_had_before_there_were_worlds(
    preset,
    layout,
    tmp_path,
):
    root = synthetic.write(tmp_path / "set", preset, layout, workers=1, progress=False)
    manifest = (root / "manifest.json").read_bytes()
    content = synthetic.content_hash(root)[:16]
    found = content, hashlib.sha256(manifest).hexdigest()[:16]
    assert found == BEFORE[preset, layout]


def test_the_usual_world_leaves_no_trace_in_the_name_or_the_plan():
    usual = "half+bad_frames=0.095+tied=0.5+alike=0+spread=1+bars=0"
    assert presets.find(usual) == presets.find("half") == PRESETS["half"]
    assert "world" not in presets.find(usual).plan()


@pytest.mark.parametrize(
    "spelt, name",
    [
        ("half+bars=0.30+tied=1", "half+tied=1+bars=0.3"),
        ("tiny+spread=2.0", "tiny+spread=2"),
        ("half+bad_frames=.4-val", "half+bad_frames=0.4-val"),
        ("standard+alike=8", "standard+alike=8"),
        ("half+tied=0.5", "half"),
    ],
)
def test_a_world_has_one_spelling(spelt, name):
    assert presets.find(spelt).name == name
    assert presets.find(name) == presets.find(spelt)


@pytest.mark.parametrize(
    "name, said",
    [
        ("half+colour=1", "no knob 'colour' in the world 'colour=1'; there are bad_"),
        ("half+", "no knob '' in the world ''"),
        ("half+bars", "the world 'bars' names bars without a value, as in bars=1"),
        ("half+bars=", "bars='' of a world must be a number"),
        ("half+bars=x", "bars='x' of a world must be a number"),
        ("half+bars=nan", "bars=nan of a world must be a number"),
        ("half+bars=inf", "bars=inf of a world must be a number"),
        ("half+bars=0.6", "bars=0.6 of a world must be from 0 to 0.5"),
        ("half+bad_frames=-1", "bad_frames=-1 of a world must be from 0 to 0.8"),
        ("half+tied=1.01", "tied=1.01 of a world must be from 0 to 1"),
        ("half+spread=9", "spread=9 of a world must be from 0 to 3"),
        ("half+alike=1.5", "alike=1.5 of a world must be an integer"),
        ("half+alike=17", "alike=17 of a world must be from 0 to 16"),
        ("half+bars=0.1+bars=0.2", "names bars twice"),
        ("huge+bars=0.1", "no synthetic preset 'huge+bars=0.1'; there are tiny, half"),
        ("half-val+bars=0.1", "no synthetic preset 'half-val+bars=0.1'"),
    ],
)
def test_what_is_no_world_is_refused_in_one_plain_line(name, said, tmp_path):
    with pytest.raises(ValueError) as error:
        presets.find(name)
    assert said in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(ValueError):
        synthetic.write(tmp_path / "set", name, progress=False)
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("value", [True, "0.3", None, float("nan")])
def test_a_knob_of_another_kind_is_refused(value):
    with pytest.raises(ValueError, match="bars=.* of a world must be a number"):
        World(bars=value)


def test_a_world_stands_behind_a_preset_by_its_knobs_or_its_name():
    assert world.behind("half", {"bars": 0.3, "tied": 1.0}) == "half+tied=1+bars=0.3"
    assert world.behind("half", "bars=0.30") == "half+bars=0.3"
    assert world.behind("half", World(alike=2)) == "half+alike=2"
    assert world.behind("half", "") == world.behind("half", {}) == "half"
    with pytest.raises(ValueError, match="no knob 'colour' of a world"):
        world.behind("half", {"colour": 1})


def test_half_is_about_half_of_standard():
    half, standard = PRESETS["half"], PRESETS["standard"]
    assert half.train == Plan(250, cameras=3)
    assert half.test == Plan(120, cameras=3, full=1)
    assert half.train.identities * 2 == standard.train.identities
    sizes = {}
    for preset in (half, standard):
        films = presets.films(preset, 0).values()
        sizes[preset.name] = sum(film.frames for shots in films for film in shots)
    assert 0.4 < sizes["half"] / sizes["standard"] < 0.6


@pytest.mark.parametrize("dose", [0, 0.095, 0.15, 0.4, 0.8])
def test_as_many_frames_are_bad_as_the_knob_says(dose):
    bad = []
    for who in people("half")[:150]:
        walk = filming.walk(who, Film("vis", 1, 48), 0, world=World(bad_frames=dose))
        bad.append(walk.faults > 0)
        occluder, blur = (filming.FAULTS.index(name) for name in ("occluder", "blur"))
        assert np.array_equal(walk.covers.any(1), walk.faults == occluder)
        assert np.array_equal(walk.blurs > 0, walk.faults == blur)
    assert np.mean(bad) == pytest.approx(dose, abs=0.02)


def test_the_usual_share_of_bad_frames_is_the_expected_one():
    assert filming.share_of_faults(1) == pytest.approx(world.USUAL_BAD, abs=0.0005)
    for share in (0.01, 0.3, 0.8):
        assert filming.share_of_faults(filming.times(share)) == pytest.approx(share)


def test_all_that_a_walk_has_but_its_faults_is_the_same_at_every_share_of_bad_frames():
    who, film = people("half")[3], Film("ir", 4, 60)
    usual = filming.walk(who, film, 0)
    dosed = filming.walk(who, film, 0, world=World(bad_frames=0.4))
    for name in ("phase", "light", "noise_at", "start", "direction", "cover_grey"):
        assert np.array_equal(getattr(usual, name), getattr(dosed, name)), name
    good = (usual.faults == 0) & (dosed.faults == 0)
    box, blur = (filming.FAULTS.index(name) for name in ("bad_box", "blur"))
    assert np.array_equal(usual.boxes[good], dosed.boxes[good])
    assert good.sum() > 20
    assert (dosed.faults == box).any() and (dosed.faults == blur).any()


@pytest.mark.parametrize(
    "tied, low, high",
    [(0, -0.15, 0.15), (0.5, 0.5, 0.8), (1, 0.999, 1)],
)
def test_infrared_follows_luminance_as_far_as_the_knob_says(tied, low, high):
    crowd = people(f"standard+tied={tied}")
    for material in ("top", "bottom", "shoe", "bag", "hair", "hat"):
        ir = [who.colours[material].ir for who in crowd]
        light = [who.colours[material].luminance for who in crowd]
        assert low < np.corrcoef(ir, light)[0, 1] <= high, material


def test_tied_in_all_every_material_is_as_bright_in_both_modalities_skin_too():
    for who in people("half+tied=1"):
        for colour in who.colours.values():
            assert abs(colour.ir - colour.luminance) <= 1


def test_what_is_brighter_in_a_pattern_is_no_hint_where_nothing_is_tied():
    same = {}
    for tied in (0, 0.5, 1):
        signs = []
        for who in people(f"standard+tied={tied}"):
            top, second = who.colours["top"], who.colours["second"]
            signs.append((top.ir > second.ir) == (top.luminance > second.luminance))
        same[tied] = np.mean(signs)
    assert abs(same[0] - 0.5) < 0.06 < same[0.5] - 0.5
    assert same[1] == 1


def test_visible_colours_bodies_and_gaits_are_the_same_however_tied():
    crowds = [people(f"half{world}") for world in ("", "+tied=0", "+tied=1")]
    for usual, free, tied in zip(*crowds, strict=True):
        for other in (free, tied):
            assert (other.body, other.garments, other.gait) == (
                usual.body,
                usual.garments,
                usual.gait,
            )
            for name, colour in usual.colours.items():
                assert other.colours[name][:3] == colour[:3]


@pytest.mark.parametrize("size", [1, 2, 3, 8, 16])
@pytest.mark.parametrize("count", [16, 17, 250])
def test_people_stand_in_groups_of_the_size_that_the_knob_says(size, count):
    numbers = range(503, 503 + count)
    groups = presets.look_alikes(numbers, 0, size)
    sizes = Counter(Counter(groups.values()).values())
    whole, rest = divmod(count, size)
    expected = Counter({size: whole} if size > 1 else {})
    expected.update({rest: 1} if rest > 1 else {})
    assert sizes == expected
    assert all(group in numbers and groups[group] == group for group in groups.values())
    assert set(groups) <= set(numbers)


@pytest.mark.parametrize("size", [2, 8])
def test_a_group_shares_all_but_stride_rates_that_do_not_meet(size):
    groups: dict[tuple[str, int], list[factors.Identity]] = {}
    for who in people(f"half+alike={size}"):
        groups.setdefault((who.split, who.look_alike_group), []).append(who)
    assert Counter(map(len, groups.values()))[size] >= 120 // size
    for (_, group), members in groups.items():
        if group < 0:
            continue
        poses = {dataclasses.replace(m.gait, rate=0) for m in members}
        looks = {(m.body, m.garments) for m in members}
        assert len(poses) == len(looks) == 1
        assert all(m.colours == members[0].colours for m in members)
        rates = sorted(m.gait.rate for m in members)
        assert factors.SLOW[0] <= rates[0] and rates[-1] <= factors.FAST[1]
        assert min(np.diff(rates)) >= (0.04 if size == 2 else 0.14 / size / 2) - 1e-9


def test_the_place_in_a_group_does_not_say_who_walks_fast():
    fastest = Counter()
    for group in range(1, 41):
        ranges = [factors.rates(group, position, 8) for position in range(8)]
        fastest[int(np.argmax(ranges, 0)[0])] += 1
        assert sorted(ranges)[0][0] == factors.SLOW[0]
    assert len(fastest) == 8


def test_nobody_has_a_look_alike_in_groups_of_one():
    crowd = people("half+alike=1")
    assert {who.look_alike_group for who in crowd} == {-1}
    assert len({who.body for who in crowd}) == len(crowd)


def test_without_spread_all_cameras_look_at_one_place_in_one_way():
    cameras = [filming.camera(number, 0, 0) for number in range(1, 13)]
    alike = {dataclasses.replace(place, number=0) for place in cameras}
    assert len(alike) == 1 and alike.pop().view == 45
    first, second = (scene(number, "vis", *SIZE, 0, 0) for number in (3, 9))
    assert np.array_equal(first.wall, second.wall)
    assert np.array_equal(first.ground, second.ground)
    assert not np.array_equal(first.wall, scene(3, "vis", *SIZE, 0).wall)


def test_cameras_lie_farther_apart_with_more_spread_and_stay_possible():
    spreads = {}
    for spread in (0.5, 1, 2, 3):
        cameras = [filming.camera(number, 0, spread) for number in range(1, 13)]
        spreads[spread] = {
            "wall": np.std([place.wall for place in cameras]),
            "view": np.std([abs(place.view) for place in cameras]),
            "ir_level": np.std([place.ir_level for place in cameras]),
        }
        for place in cameras:
            for name, (low, high) in filming.LIMITS.items():
                values = np.abs(getattr(place, name))
                assert (low <= values).all() and (values <= high).all(), (spread, name)
            assert isinstance(place.blur, int)
            for modality in ("vis", "ir"):
                assert scene(place.number, modality, 32, 16, 0, spread).wall.any()
    for name in ("wall", "view", "ir_level"):
        measured = [spreads[spread][name] for spread in sorted(spreads)]
        assert measured == sorted(measured) and measured[0] < 0.8 * measured[-1], name
    assert filming.camera(5, 0, 1) == filming.camera(5, 0)


@pytest.mark.parametrize("share", [0.15, 0.3])
def test_a_bar_hides_its_share_of_the_height_or_width_of_every_frame(share):
    kinds = Counter()
    for number, who in enumerate(people("half")[:40]):
        film = Film("vis" if number % 2 else "ir", 1, 2 * TRACKLET + 5)
        walk = filming.walk(who, film, 0, world=World(bars=share))
        for first in range(0, film.frames, TRACKLET):
            tracklet = walk.bars[first : first + TRACKLET]
            assert (tracklet == tracklet[0]).all(), "one bar for each tracklet"
            left, top, right, bottom = tracklet[0]
            upright = (top, bottom) == (0, 1)
            assert upright or (left, right) == (0, 1)
            kinds[upright] += 1
            wide, tall = right - left, bottom - top
            assert min(wide, tall) == pytest.approx(share) and max(wide, tall) == 1
        assert len({tuple(bar) for bar in walk.bars}) == 3
        clear = draw.clear_of_bars(walk, *SIZE)
        assert 1 - clear.mean() == pytest.approx(share, abs=1.5 / 64)
    assert min(kinds.values()) > 0.35 * sum(kinds.values())


@pytest.mark.parametrize("modality", ["vis", "ir"])
def test_a_bar_is_drawn_and_taken_out_of_the_mask_and_all_else_stays(modality):
    who, film = people("half")[0], Film(modality, 3, 8)
    place = scene(3, modality, *SIZE, 0)
    walks = [filming.walk(who, film, 0, world=World(bars=b)) for b in (0, 0.3)]
    free, free_masks = draw.sequence(who, walks[0], place, *SIZE)
    hidden, masks = draw.sequence(who, walks[1], place, *SIZE)
    clear = draw.clear_of_bars(walks[1], *SIZE)
    assert not masks[:, ~clear].any()
    assert np.array_equal(masks[:, clear], free_masks[:, clear])
    inner = clear & np.roll(clear, 1, 0) & np.roll(clear, -1, 0)
    inner &= np.roll(clear, 1, 1) & np.roll(clear, -1, 1)
    still = walks[0].blurs == 0
    assert np.array_equal(free[still][:, inner], hidden[still][:, inner])
    assert not np.array_equal(free, hidden)


def test_a_set_in_a_world_is_written_read_and_named_for_it(tmp_path: Path):
    preset = presets.in_world(SMALL, World(bars=0.3, alike=2, tied=1))
    root = synthetic.write(tmp_path / "set", preset, workers=1, progress=False)
    said = json.loads((root / "manifest.json").read_text())
    assert said["preset"] == "small+tied=1+alike=2+bars=0.3"
    assert said["plan"]["world"] == dataclasses.asdict(preset.world)
    assert presets.from_plan(said["plan"]).world == preset.world
    dataset = open_dataset(root)
    masks = synthetic.read_masks(root, dataset.train[0])
    never = ~masks.any(0)
    assert never.all(0).any() or never.all(1).any(), "a bar hides whole rows or columns"
    assert (synthetic.read_factors(root).look_alike_group >= 0).all()
    assert synthetic.is_complete(root, preset)
    assert not synthetic.is_complete(root, SMALL)
    with pytest.raises(ValueError, match="holds another synthetic set"):
        synthetic.write(root, SMALL, progress=False)


@pytest.mark.parametrize("layout", ["sysu-mm01", "regdb"])
def test_image_layouts_take_worlds_too(layout, tmp_path: Path):
    preset = presets.in_world(SMALL, World(bars=0.3, alike=8, spread=0, bad_frames=0.4))
    root = synthetic.write(tmp_path / "set", preset, layout, workers=1, progress=False)
    frames = synthetic.read_frames(root)
    assert (frames.fault != "none").mean() == pytest.approx(0.4, abs=0.15)
    assert frames[frames.modality == "vis"]["view"].abs().nunique() <= 2
    assert open_dataset(root).train


def test_validation_people_of_a_world_are_other_people_in_the_same_world():
    test, val = (presets.find(f"half+alike=8{end}") for end in ("", "-val"))
    assert val.world == test.world and val.test == test.test
    crowds = [layouts.people("hitsz-vcm", p, p.people) for p in (test, val)]
    bodies = [{who.body for who in crowd.values()} for crowd in crowds]
    assert not bodies[0] & bodies[1]


def test_a_crossing_takes_people_and_place_of_its_world():
    films = {}
    for name in ("half", "half+spread=0", "half+tied=1"):
        who = (sorted(crossing.everyone(name, 0))[-1],)
        scene_of = crossing.Crossing(who, frames=2, preset=name, height=120, width=200)
        films[name] = crossing.film(scene_of, "ir")[0]
    assert not np.array_equal(films["half"], films["half+spread=0"])
    assert not np.array_equal(films["half"], films["half+tied=1"])


def test_doses_go_from_low_to_high_or_back_and_hold_the_usual_value_but_for_time():
    for knob, doses in DOSES.values():
        assert list(doses) in (sorted(doses), sorted(doses, reverse=True))
        assert len(doses) == 3
        assert knob == "alike" or getattr(World(), knob) in doses
        for dose in doses:
            World(**{knob: dose})


@pytest.mark.parametrize("modality, direction", [("ir", "ir2vis"), ("vis", "vis2ir")])
def test_queries_are_known_without_drawing_anybody(tiny_root, modality, direction):
    query = open_dataset(tiny_root).query(direction)
    expected = presets.queries(PRESETS["tiny"], 0, modality)
    assert [tracklet.identity for tracklet in query] == expected
    shorter = open_dataset(tiny_root, min_seq_len=4).query(direction)
    expected = presets.queries(PRESETS["tiny"], 0, modality, 4)
    assert [tracklet.identity for tracklet in shorter] == expected
    assert len(shorter) > len(query)
