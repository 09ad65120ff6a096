"""How people are filmed: twelve cameras, and the random factors of each walk.

The factors of a walk past a camera are direction, phase, light, boxes, faults and bars.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import cache

import numpy as np

from vvi.data.synthetic.factors import Identity
from vvi.data.synthetic.presets import CAMERAS, TRACKLET, Film
from vvi.data.synthetic.world import USUAL_BAD, World
from vvi.types import MODALITIES

#: First words of the seeds of cameras and walks.
CAMERA, WALK = 5, 6
#: First words of the seeds of what a world adds to a walk.
FAULT, BAR = 21, 22
#: Chances per frame that a fault begins, without a world.
BOXES, OCCLUDERS, BLURS = 0.027, 0.0075, 0.025
FAULTS = ("none", "bad_box", "occluder", "blur")
#: Range of the light of a sequence: hour and weather, or distance from the lamp.
LIGHT = {"vis": (0.78, 1.2), "ir": (0.65, 1.3)}
#: Most frames that an occluder needs to pass.
LONGEST = 6
#: The noise of a frame is a window of a larger tile, in one of 64 x 64 positions.
NOISE_ROOM = 64


@dataclass(frozen=True)
class Camera:
    """One location, filmed in both modalities."""

    number: int
    #: Angle in degrees between walkway and image plane (90: people come and go).
    view: float
    #: Downward angle of the camera.
    pitch: float
    #: Colour of the wall, RGB.
    wall: tuple[float, float, float]
    #: Colour of the ground, RGB.
    ground: tuple[float, float, float]
    #: Gain of each visible channel, RGB.
    cast: tuple[float, float, float]
    #: Gain in infrared.
    ir_gain: float
    #: Brightness of the scenery in infrared.
    ir_level: float
    #: Contrast of the scenery.
    texture: float
    #: How much darker the corners are under the infrared lamp.
    falloff: float
    #: Strength of the lens blur.
    blur: int
    #: Standard deviation of the visible noise.
    noise: float
    #: Standard deviation of the infrared noise.
    ir_noise: float
    #: Height of the horizon, as a share of the frame from the top.
    horizon: float


def camera(number: int, seed: int, spread: float = 1.0) -> Camera:
    """Draw a camera.

    Views are spread evenly: four cameras each from the side, oblique, and front or
    back.

    Args:
        number: 1 to 12.
        seed: of the set.
        spread: `World.spread`.
    """
    cam = _usual_camera(number, seed)
    return cam if spread == 1 else _spread(cam, spread)


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


#: Least and greatest value that a camera may take in any world.
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
#: Where all cameras meet when nothing is spread: the middle of the usual values.
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


def _spread(cam: Camera, spread: float) -> Camera:
    """Move a camera away from the middle of all cameras, or towards it.

    The sign of a view is the side from which it looks. It stays as long as there is any
    spread, since people walk either way.
    """
    values = {}
    for field in fields(Camera):
        if field.name == "number":
            continue
        usual = np.abs(getattr(cam, field.name))
        middle = MIDDLE[field.name]
        moved = middle + spread * (usual - middle)
        values[field.name] = _plain(np.clip(moved, *LIMITS[field.name]))
    side = math.copysign(1, cam.view) if spread else 1
    values |= {"view": side * values["view"], "blur": round(values["blur"])}
    return replace(cam, **values)


def _plain(value: np.ndarray) -> float | tuple[float, ...]:
    return tuple(value.tolist()) if value.ndim else float(value)


@dataclass(frozen=True)
class Walk:
    """How one person passes one camera, in T frames.

    Positions and sizes are shares of the frame.
    """

    film: Film
    #: 1 or -1 along the walkway.
    direction: int
    #: Phase of the gait in cycles: (T,).
    phase: np.ndarray
    #: About 1: (T,).
    light: np.ndarray
    #: Shift right, shift down and scale of each box: (T, 3).
    boxes: np.ndarray
    #: Index into `FAULTS`: (T,).
    faults: np.ndarray
    #: Left, top, right and bottom of the occluder, zeros without one: (T, 4).
    covers: np.ndarray
    cover_grey: int
    #: Length of the motion blur in pixels, odd, 0 without: (T,).
    blurs: np.ndarray
    #: Corner of the noise window: (T, 2).
    noise_at: np.ndarray
    #: Start on the walkway, as a share of its length.
    start: float
    #: As `covers`, for all frames of a tracklet: (T, 4).
    bars: np.ndarray
    #: Value of each bar: (T,).
    bar_greys: np.ndarray

    def yaw(self, cam: Camera) -> float:
        """Return where the person looks: 0 to the right, 90 degrees to the camera."""
        view = cam.view if self.direction > 0 else cam.view + 180
        return math.remainder(view, 360)

    def known(self, index: int, cam: Camera) -> dict[str, object]:
        """Return what `frames.csv` holds of one frame."""
        return dict(
            fault=FAULTS[self.faults[index]],
            direction=self.direction,
            phase=round(float(self.phase[index]) % 1.0, 4),
            view=round(self.yaw(cam), 2),
            light=round(float(self.light[index]), 4),
        )


@dataclass
class Faults:
    """Faults of the frames of a walk, with the fields of `Walk`."""

    boxes: np.ndarray
    faults: np.ndarray
    covers: np.ndarray
    blurs: np.ndarray


def walk(
    person: Identity, film: Film, seed: int, take: int = 0, world: World = World()
) -> Walk:
    """Draw the factors of one sequence.

    What a world adds has random streams of its own, so that everything else about a
    walk is the same in every world.

    Args:
        person: who walks.
        film: camera, modality and length.
        seed: of the people.
        take: 0 is in the set, others are further walks past the same camera.
        world: how bars and faults are dosed.
    """
    key = [person.identity, MODALITIES.index(film.modality), film.camera, take]
    rng = np.random.default_rng([seed, WALK, *key])
    count = film.frames
    boxes = _jitter(rng, count)
    bad = _faults(rng, boxes)
    if world.bad_frames != USUAL_BAD:
        other = np.random.default_rng([seed, FAULT, *key])
        bad = _dosed_faults(other, boxes, world.bad_frames)
    waves = np.array([math.sin(math.tau * (t / 60)) for t in range(count)])
    drift = rng.uniform(-0.12, 0.12) * waves
    return Walk(
        film=film,
        direction=int(rng.choice((-1, 1))),
        phase=rng.random() + person.gait.rate * np.arange(count),
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


def _jitter(rng: np.random.Generator, count: int) -> np.ndarray:
    """Draw the boxes of good frames: jitter of each, and one offset of all: (T, 3)."""
    x = rng.uniform(-0.03, 0.03, count)
    y = rng.uniform(-0.012, 0.012, count)
    scale = rng.uniform(0.98, 1.02, count)
    x_offset = rng.uniform(-0.04, 0.04)
    y_offset = rng.uniform(-0.015, 0.015)
    scale_offset = rng.uniform(-0.03, 0.02)
    boxes = np.stack((x, y, scale), 1)
    boxes += (x_offset, y_offset, scale_offset)
    return boxes


def aligned(person: Identity, film: Film, seed: int, world: World = World()) -> Walk:
    """Draw the walk that a double camera films: equal moments in both modalities.

    Light and noise stay those of the modality.

    Args:
        person: who walks.
        film: camera, modality and length.
        seed: of the people.
        world: how bars and faults are dosed.
    """
    own = walk(person, film, seed, world=world)
    if film.modality == MODALITIES[0]:
        return own
    visible = replace(film, modality=MODALITIES[0])
    other = walk(person, visible, seed, world=world)
    same = ("direction", "phase", "start", "boxes", "faults", "covers", "blurs", "bars")
    return replace(own, **{name: getattr(other, name) for name in same})


def _faults(rng: np.random.Generator, boxes: np.ndarray, factor: float = 1.0) -> Faults:
    """Draw faults over the boxes of good frames.

    Args:
        rng: the generator.
        boxes: of good frames: (T, 3).
        factor: on the usual chance of a fault.
    """
    count = len(boxes)
    faults, blurs = np.zeros(count, np.int64), np.zeros(count, np.int64)
    bad = Faults(boxes.copy(), faults, np.zeros((count, 4)), blurs)
    _bad_boxes(rng, bad.boxes, bad.faults, BOXES * factor)
    _occluders(rng, bad.faults, bad.covers, OCCLUDERS * factor)
    for t in np.flatnonzero((bad.faults == 0) & (rng.random(count) < BLURS * factor)):
        bad.faults[t], bad.blurs[t] = FAULTS.index("blur"), int(rng.choice((7, 9, 11)))
    return bad


def _dosed_faults(rng: np.random.Generator, boxes: np.ndarray, share: float) -> Faults:
    """Draw faults in a share of the frames, some of which began before the first frame.

    Args:
        rng: the generator.
        boxes: of good frames: (T, 3).
        share: of frames that have a fault.
    """
    early = np.zeros((LONGEST, boxes.shape[1]))
    bad = _faults(rng, np.concatenate((early, boxes)), times(share))
    parts = {field.name: getattr(bad, field.name)[LONGEST:] for field in fields(Faults)}
    return Faults(**parts)


def share_of_faults(factor: float) -> float:
    """Return the share of frames with a fault at a factor on the usual chances.

    A bad box lasts one or two frames, an occluder three to six. Either may have begun
    in an earlier frame.
    """
    box, occluder, blur = (min(1.0, factor * c) for c in (BOXES, OCCLUDERS, BLURS))
    good = (1 - box) * (1 - box / 2) * (1 - blur)
    for still_there in (1, 1, 1, 3 / 4, 2 / 4, 1 / 4):
        good *= 1 - occluder * still_there
    return 1 - good


@cache
def times(share: float) -> float:
    """Return the factor on the usual chances that gives a share of bad frames."""
    low, high = 0.0, 1 / BOXES
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if share_of_faults(middle) < share else (low, middle)
    return low if share else 0.0


def _bars(rng: np.random.Generator, count: int, share: float) -> dict[str, np.ndarray]:
    """Draw one bar for each tracklet, across the frame or from top to bottom.

    Args:
        rng: the generator.
        count: T, frames of the walk.
        share: of the frame that a bar covers.

    Returns:
        The fields `bars` and `bar_greys` of a walk.
    """
    bars, greys = np.zeros((count, 4)), np.zeros(count, np.int64)
    for first in range(0, count, TRACKLET) if share else ():
        part = slice(first, first + TRACKLET)
        start, is_upright = rng.uniform(0, 1 - share), rng.random() < 0.5
        end = start + share
        bars[part] = (start, 0, end, 1) if is_upright else (0, start, 1, end)
        greys[part] = rng.integers(30, 170)
    return {"bars": bars, "bar_greys": greys}


def _bad_boxes(
    rng: np.random.Generator, boxes: np.ndarray, faults: np.ndarray, chance: float
) -> None:
    """Draw boxes that cut the person or are far too large, in place.

    Args:
        rng: the generator.
        boxes: (T, 3), changed for one or two frames at a time.
        faults: (T,), marked there.
        chance: that a fault begins, which at the usual one hits about 4 % of frames.
    """
    for first in np.flatnonzero(rng.random(len(faults)) < chance):
        shift = rng.choice((-1, 1), 2) * rng.uniform((0.18, 0.1), (0.38, 0.25))
        scale = rng.choice((rng.uniform(0.55, 0.75), rng.uniform(1.3, 1.6)))
        for t in range(first, min(first + int(rng.integers(1, 3)), len(faults))):
            boxes[t] = (*shift, scale)
            faults[t] = FAULTS.index("bad_box")


def _occluders(
    rng: np.random.Generator, faults: np.ndarray, covers: np.ndarray, chance: float
) -> None:
    """Draw things that pass in front of at least half of the person, in place.

    Args:
        rng: the generator.
        faults: (T,), marked for three to six frames at a time.
        covers: (T, 4), set there.
        chance: that a fault begins, which at the usual one hits about 3 % of frames.
    """
    for first in np.flatnonzero(rng.random(len(faults)) < chance):
        length = int(rng.integers(3, 7))
        width = rng.uniform(0.5, 0.9)
        top = rng.choice((0.0, rng.uniform(0.3, 0.55)))
        side = rng.choice((-1, 1))
        for step, t in enumerate(range(first, min(first + length, len(faults)))):
            if faults[t] == 0:
                middle = 0.5 + side * 0.3 * (2 * (step + 0.5) / length - 1)
                faults[t] = FAULTS.index("occluder")
                covers[t] = (middle - width / 2, top, middle + width / 2, 1.1)
