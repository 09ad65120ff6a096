"""How people are filmed: twelve cameras, and the lots drawn for one walk past one of them (direction, phase, light, boxes, faults)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from vvi.data.synthetic.factors import Identity
from vvi.data.synthetic.presets import CAMERAS, Film
from vvi.types import MODALITIES

CAMERA, WALK = 5, 6
FAULTS = ("none", "bad_box", "occluder", "blur")
LIGHT = {"vis": (0.78, 1.2), "ir": (0.65, 1.3)}  # of one sequence: hour and weather, or distance from the lamp
NOISE_ROOM = 64  # a frame's noise is a window of a larger tile, at one of 64 x 64 places


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


def camera(number: int, seed: int) -> Camera:
    """Camera 1 to 12; views are spread evenly, four each from the side, oblique, and front or back."""
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

    def yaw(self, place: Camera) -> float:
        """Where the person looks, in degrees: 0 to the right, 90 towards the camera."""
        return math.remainder(place.view if self.direction > 0 else place.view + 180, 360)

    def known(self, index: int, place: Camera) -> dict[str, object]:
        """What `frames.csv` says of one frame."""
        return dict(
            fault=FAULTS[self.faults[index]],
            direction=self.direction,
            phase=round(float(self.phase[index]) % 1.0, 4),
            view=round(self.yaw(place), 2),
            light=round(float(self.light[index]), 4),
        )


def walk(who: Identity, film: Film, seed: int, take: int = 0) -> Walk:
    """Draw the factors of one sequence; a set holds the first take, others are further walks past the same camera."""
    rng = np.random.default_rng([seed, WALK, who.identity, MODALITIES.index(film.modality), film.camera, take])
    count = film.frames
    time = np.arange(count)
    boxes = np.stack((rng.uniform(-0.03, 0.03, count), rng.uniform(-0.012, 0.012, count), rng.uniform(0.98, 1.02, count)), 1)
    boxes += (rng.uniform(-0.04, 0.04), rng.uniform(-0.015, 0.015), rng.uniform(-0.03, 0.02))
    faults, covers, blurs = np.zeros(count, np.int64), np.zeros((count, 4)), np.zeros(count, np.int64)
    _bad_boxes(rng, boxes, faults)
    _occluders(rng, faults, covers)
    for t in np.flatnonzero((faults == 0) & (rng.random(count) < 0.025)):
        faults[t], blurs[t] = FAULTS.index("blur"), int(rng.choice((7, 9, 11)))
    drift = rng.uniform(-0.12, 0.12) * np.array([math.sin(math.tau * (t / 60)) for t in time])
    return Walk(
        film=film,
        direction=int(rng.choice((-1, 1))),
        phase=rng.random() + who.gait.rate * time,
        light=rng.uniform(*LIGHT[film.modality]) + drift,
        boxes=boxes,
        faults=faults,
        covers=covers,
        cover_grey=int(rng.integers(30, 170)),
        blurs=blurs,
        noise_at=rng.integers(0, NOISE_ROOM, (count, 2)),
        start=float(rng.random()),
    )


def aligned(who: Identity, film: Film, seed: int) -> Walk:
    """Draw the walk that a double camera sees: the same moments in both modalities.

    Light and noise stay those of the modality.
    """
    own = walk(who, film, seed)
    if film.modality == MODALITIES[0]:
        return own
    other = walk(who, replace(film, modality=MODALITIES[0]), seed)
    same = ("direction", "phase", "start", "boxes", "faults", "covers", "blurs")
    return replace(own, **{name: getattr(other, name) for name in same})


def _bad_boxes(rng: np.random.Generator, boxes: np.ndarray, faults: np.ndarray) -> None:
    """About 4 % of the frames: the detector cut the person, or took far too much; runs of one or two frames."""
    for first in np.flatnonzero(rng.random(len(faults)) < 0.027):
        shift = rng.choice((-1, 1), 2) * rng.uniform((0.18, 0.1), (0.38, 0.25))
        scale = rng.choice((rng.uniform(0.55, 0.75), rng.uniform(1.3, 1.6)))
        for t in range(first, min(first + int(rng.integers(1, 3)), len(faults))):
            boxes[t] = (*shift, scale)
            faults[t] = FAULTS.index("bad_box")


def _occluders(rng: np.random.Generator, faults: np.ndarray, covers: np.ndarray) -> None:
    """About 3 % of the frames: something passes in front for three to six frames, across half of the person or more."""
    for first in np.flatnonzero(rng.random(len(faults)) < 0.0075):
        length = int(rng.integers(3, 7))
        width, top, side = rng.uniform(0.5, 0.9), rng.choice((0.0, rng.uniform(0.3, 0.55))), rng.choice((-1, 1))
        for place in range(length):
            t = first + place
            if t < len(faults) and faults[t] == 0:
                middle = 0.5 + side * 0.3 * (2 * (place + 0.5) / length - 1)
                faults[t] = FAULTS.index("occluder")
                covers[t] = (middle - width / 2, top, middle + width / 2, 1.1)
