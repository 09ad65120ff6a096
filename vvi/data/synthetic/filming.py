"""How people are filmed: twelve cameras, and the lots drawn for one walk past one of them (direction, phase, light, boxes, faults, bars)."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import cache

import numpy as np

from vvi.data.synthetic.factors import Identity
from vvi.data.synthetic.presets import CAMERAS, TRACKLET, Film
from vvi.data.synthetic.world import USUAL_BAD, World
from vvi.types import MODALITIES

CAMERA, WALK = 5, 6
FAULT, BAR = 21, 22  # first words of the seeds of what a world adds to a walk
BOXES, OCCLUDERS, BLURS = 0.027, 0.0075, 0.025  # chances that a fault begins, usually
FAULTS = ("none", "bad_box", "occluder", "blur")
LIGHT = {
    "vis": (0.78, 1.2),
    "ir": (0.65, 1.3),
}  # of one sequence: hour and weather, or distance from the lamp
LONGEST = 6  # frames that an occluder needs to pass
NOISE_ROOM = (
    64  # a frame's noise is a window of a larger tile, at one of 64 x 64 places
)


@dataclass(frozen=True)
class Camera:
    """One place, filmed in both modalities; `view` is the angle in degrees between the walkway and the image plane (90: people come and go)."""

    number: int
    view: float
    pitch: float
    wall: tuple[float, float, float]
    ground: tuple[float, float, float]
    cast: tuple[float, float, float]
    ir_gain: float
    ir_level: float
    texture: float
    falloff: float
    blur: int
    noise: float
    ir_noise: float
    horizon: float


def camera(number: int, seed: int, spread: float = 1.0) -> Camera:
    """Camera 1 to 12; views are spread evenly, four each from the side, oblique, and front or back. spread: `World.spread`."""
    place = _usual_camera(number, seed)
    return place if spread == 1 else _spread(place, spread)


def _usual_camera(number: int, seed: int) -> Camera:
    order = np.random.default_rng([seed, CAMERA]).permutation(CAMERAS)
    rng = np.random.default_rng([seed, CAMERA, number])
    angle = 5 + 80 * (order[number - 1] + rng.random()) / CAMERAS
    gain = rng.uniform(0.6, 1.15, 3)
    return Camera(
        number=number,
        view=float(angle * rng.choice((-1, 1))),
        pitch=float(rng.uniform(0.05, 0.2)),
        wall=tuple(rng.uniform(120, 210) + rng.uniform(-45, 45, 3)),
        ground=tuple(rng.uniform(100, 180) + rng.uniform(-20, 20, 3)),
        cast=tuple(0.5 * gain + 0.5 * gain.mean()),
        ir_gain=float(rng.uniform(0.85, 1.15)),
        ir_level=float(rng.uniform(0.08, 0.25)),
        texture=float(rng.uniform(0.08, 0.22)),
        falloff=float(rng.uniform(0.1, 0.4)),
        blur=int(rng.integers(0, 3)),
        noise=float(rng.uniform(2, 5)),
        ir_noise=float(rng.uniform(3, 7)),
        horizon=float(rng.uniform(0.55, 0.8)),
    )


#: Least and greatest value that a camera may take in any world. The middle of the
#: usual values is where all cameras meet when nothing is spread.
LIMITS = {
    "view": (0, 90),
    "pitch": (0.02, 0.4),
    "wall": (20, 250),
    "ground": (20, 250),
    "cast": (0.4, 1.5),
    "ir_gain": (0.6, 1.4),
    "ir_level": (0.03, 0.5),
    "texture": (0.02, 0.45),
    "falloff": (0, 0.6),
    "blur": (0, 3),
    "noise": (0.5, 10),
    "ir_noise": (1, 14),
    "horizon": (0.4, 0.95),
}
MIDDLE = {
    "view": 45,
    "pitch": 0.125,
    "wall": 165,
    "ground": 140,
    "cast": 0.875,
    "ir_gain": 1.0,
    "ir_level": 0.165,
    "texture": 0.15,
    "falloff": 0.25,
    "blur": 1,
    "noise": 3.5,
    "ir_noise": 5,
    "horizon": 0.675,
}


def _spread(place: Camera, spread: float) -> Camera:
    """Move a camera away from the middle of all cameras, or towards it.

    A view has a sign, the side from which it looks; it stays as long as there is any
    spread, since people walk either way.
    """
    values = {}
    for field in fields(Camera):
        if field.name == "number":
            continue
        usual = np.abs(getattr(place, field.name))
        middle = MIDDLE[field.name]
        moved = middle + spread * (usual - middle)
        values[field.name] = np.clip(moved, *LIMITS[field.name])
    side = math.copysign(1, place.view) if spread else 1
    numbers = {name: _plain(value) for name, value in values.items()}
    numbers |= {"view": side * numbers["view"], "blur": round(numbers["blur"])}
    return replace(place, **numbers)


def _plain(value: np.ndarray) -> float | tuple[float, ...]:
    return tuple(value.tolist()) if value.ndim else float(value)


@dataclass(frozen=True)
class Walk:
    """How one person passes one camera: T frames. Boxes are (T, 3): shift right and down as shares of the frame, and scale."""

    film: Film
    direction: int
    phase: np.ndarray  # (T,) in cycles
    light: np.ndarray  # (T,) about 1
    boxes: np.ndarray
    faults: np.ndarray  # (T,) places in FAULTS
    covers: np.ndarray  # (T, 4): left, top, right, bottom of the occluder as shares of the frame; zero where there is none
    cover_grey: int
    blurs: np.ndarray  # (T,) lengths of the motion blur in pixels, odd
    noise_at: np.ndarray  # (T, 2) corner of the noise window
    start: float  # where on the walkway, as a share of its length
    bars: np.ndarray  # (T, 4) as `covers`, for all frames of a tracklet
    bar_greys: np.ndarray  # (T,)

    def yaw(self, place: Camera) -> float:
        """Where the person looks, in degrees: 0 to the right, 90 towards the camera."""
        return math.remainder(
            place.view if self.direction > 0 else place.view + 180, 360
        )

    def known(self, index: int, place: Camera) -> dict[str, object]:
        """What `frames.csv` says of one frame."""
        return dict(
            fault=FAULTS[self.faults[index]],
            direction=self.direction,
            phase=round(float(self.phase[index]) % 1.0, 4),
            view=round(self.yaw(place), 2),
            light=round(float(self.light[index]), 4),
        )


@dataclass
class Faults:
    """What is wrong with the frames of a walk; fields as in `Walk`."""

    boxes: np.ndarray
    faults: np.ndarray
    covers: np.ndarray
    blurs: np.ndarray


def walk(
    who: Identity, film: Film, seed: int, take: int = 0, world: World = World()
) -> Walk:
    """Draw the factors of one sequence.

    Args:
        who: the person.
        film: camera, modality and length.
        seed: of the people.
        take: a set holds the first, others are further walks past the same camera.
        world: what it adds has random numbers of its own, so that all else about a
            walk is the same in every world.
    """
    key = [who.identity, MODALITIES.index(film.modality), film.camera, take]
    rng = np.random.default_rng([seed, WALK, *key])
    count = film.frames
    time = np.arange(count)
    boxes = np.stack(
        (
            rng.uniform(-0.03, 0.03, count),
            rng.uniform(-0.012, 0.012, count),
            rng.uniform(0.98, 1.02, count),
        ),
        1,
    )
    boxes += (
        rng.uniform(-0.04, 0.04),
        rng.uniform(-0.015, 0.015),
        rng.uniform(-0.03, 0.02),
    )
    bad = _faults(rng, boxes)
    if world.bad_frames != USUAL_BAD:
        other = np.random.default_rng([seed, FAULT, *key])
        bad = _dosed(other, boxes, world.bad_frames)
    drift = rng.uniform(-0.12, 0.12) * np.array(
        [math.sin(math.tau * (t / 60)) for t in time]
    )
    return Walk(
        film=film,
        direction=int(rng.choice((-1, 1))),
        phase=rng.random() + who.gait.rate * time,
        light=rng.uniform(*LIGHT[film.modality]) + drift,
        boxes=bad.boxes,
        faults=bad.faults,
        covers=bad.covers,
        cover_grey=int(rng.integers(30, 170)),
        blurs=bad.blurs,
        noise_at=rng.integers(0, NOISE_ROOM, (count, 2)),
        start=float(rng.random()),
        **_bars(np.random.default_rng([seed, BAR, *key]), count, world.bars),
    )


def aligned(who: Identity, film: Film, seed: int, world: World = World()) -> Walk:
    """Draw the walk that a double camera sees: the same moments in both modalities.

    Light and noise stay those of the modality.
    """
    own = walk(who, film, seed, world=world)
    if film.modality == MODALITIES[0]:
        return own
    other = walk(who, replace(film, modality=MODALITIES[0]), seed, world=world)
    same = ("direction", "phase", "start", "boxes", "faults", "covers", "blurs", "bars")
    return replace(own, **{name: getattr(other, name) for name in same})


def _faults(rng: np.random.Generator, jitter: np.ndarray, more: float = 1.0) -> Faults:
    """Draw faults over the boxes of good frames; `more` times as many as usual."""
    count = len(jitter)
    faults, blurs = np.zeros(count, np.int64), np.zeros(count, np.int64)
    bad = Faults(jitter.copy(), faults, np.zeros((count, 4)), blurs)
    _bad_boxes(rng, bad.boxes, bad.faults, BOXES * more)
    _occluders(rng, bad.faults, bad.covers, OCCLUDERS * more)
    for t in np.flatnonzero((bad.faults == 0) & (rng.random(count) < BLURS * more)):
        bad.faults[t], bad.blurs[t] = FAULTS.index("blur"), int(rng.choice((7, 9, 11)))
    return bad


def _dosed(rng: np.random.Generator, jitter: np.ndarray, share: float) -> Faults:
    """Draw faults in a share of the frames; some began before the first one."""
    early = np.zeros((LONGEST, jitter.shape[1]))
    bad = _faults(rng, np.concatenate((early, jitter)), times(share))
    parts = {field.name: getattr(bad, field.name)[LONGEST:] for field in fields(Faults)}
    return Faults(**parts)


def share_of_faults(more: float) -> float:
    """Return the share of frames that have a fault when they are `more` than usual.

    A bad box lasts one or two frames, an occluder three to six; either may have begun
    in a frame before.
    """
    chances = (BOXES, OCCLUDERS, BLURS)
    box, occluder, blur = (min(1.0, more * chance) for chance in chances)
    good = (1 - box) * (1 - box / 2) * (1 - blur)
    for still in (1, 1, 1, 3 / 4, 2 / 4, 1 / 4):
        good *= 1 - occluder * still
    return 1 - good


@cache
def times(share: float) -> float:
    """Return how many times the usual faults there are, for a share of bad frames."""
    low, high = 0.0, 1 / BOXES
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if share_of_faults(middle) < share else (low, middle)
    return low if share else 0.0


def _bars(rng: np.random.Generator, count: int, share: float) -> dict[str, np.ndarray]:
    """Draw one bar for each tracklet, across the frame or from top to bottom."""
    bars, greys = np.zeros((count, 4)), np.zeros(count, np.int64)
    for first in range(0, count, TRACKLET) if share else ():
        part = slice(first, first + TRACKLET)
        start, upright = rng.uniform(0, 1 - share), rng.random() < 0.5
        end = start + share
        bars[part] = (start, 0, end, 1) if upright else (0, start, 1, end)
        greys[part] = rng.integers(30, 170)
    return {"bars": bars, "bar_greys": greys}


def _bad_boxes(
    rng: np.random.Generator, boxes: np.ndarray, faults: np.ndarray, chance: float
) -> None:
    """About 4 % of the frames: the detector cut the person, or took far too much; runs of one or two frames."""
    for first in np.flatnonzero(rng.random(len(faults)) < chance):
        shift = rng.choice((-1, 1), 2) * rng.uniform((0.18, 0.1), (0.38, 0.25))
        scale = rng.choice((rng.uniform(0.55, 0.75), rng.uniform(1.3, 1.6)))
        for t in range(first, min(first + int(rng.integers(1, 3)), len(faults))):
            boxes[t] = (*shift, scale)
            faults[t] = FAULTS.index("bad_box")


def _occluders(
    rng: np.random.Generator, faults: np.ndarray, covers: np.ndarray, chance: float
) -> None:
    """About 3 % of the frames: something passes in front for three to six frames, across half of the person or more."""
    for first in np.flatnonzero(rng.random(len(faults)) < chance):
        length = int(rng.integers(3, 7))
        width, top, side = (
            rng.uniform(0.5, 0.9),
            rng.choice((0.0, rng.uniform(0.3, 0.55))),
            rng.choice((-1, 1)),
        )
        for place in range(length):
            t = first + place
            if t < len(faults) and faults[t] == 0:
                middle = 0.5 + side * 0.3 * (2 * (place + 0.5) / length - 1)
                faults[t] = FAULTS.index("occluder")
                covers[t] = (middle - width / 2, top, middle + width / 2, 1.1)
