"""What a camera sees without the person: a wall and a ground that scroll as people walk, the light of the lamp, and the noise. Prepared once per camera and modality."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from vvi.data.synthetic.filming import CAMERA, NOISE_ROOM, Camera, camera
from vvi.types import MODALITIES, Modality

WALKWAY = 12  # widths of a frame after which the scenery repeats
ONE = 128  # 1.0 in the fixed-point numbers of light


@dataclass(frozen=True)
class Scene:
    """wall: (3 H, (WALKWAY + 1) W, C) uint8, its lowest row stands on the horizon; ground: (2 H, same, C), repeats after H rows; C = 3 visible (BGR), 1 infrared.

    fall: (H, W, 1) uint16, `ONE` is full light; brighter, darker: uint8 noise tiles that are added and subtracted.
    """

    camera: Camera
    wall: np.ndarray
    ground: np.ndarray
    fall: np.ndarray
    brighter: np.ndarray
    darker: np.ndarray


@lru_cache(maxsize=64)
def scene(
    number: int,
    modality: Modality,
    height: int,
    width: int,
    seed: int,
    spread: float = 1.0,
) -> Scene:
    """The same place in both modalities: one structure, in colour or as a dim grey. spread: `World.spread`; without any, all cameras look at one place."""
    number = number if spread else 1
    place = camera(number, seed, spread)
    rng = np.random.default_rng([seed, CAMERA, number, 1])
    wall, ground = _wall(rng, place, height, width), _ground(rng, place, height, width)
    if modality == "vis":
        wall, ground = (
            picture * np.array(place.cast)[::-1] for picture in (wall, ground)
        )
    else:
        wall, ground = (
            picture.mean(2, keepdims=True) * place.ir_level * place.ir_gain
            for picture in (wall, ground)
        )
    wrap = [
        np.concatenate((picture, picture[:, :width]), 1)
        for picture in (wall, np.concatenate((ground, ground)))
    ]
    wall, ground = (
        np.clip(np.rint(picture), 0, 255).astype(np.uint8) for picture in wrap
    )
    return Scene(
        place,
        wall,
        ground,
        _falloff(place, modality, height, width),
        *_noise(place, modality, height, width, seed),
    )


def _wave(size: int, repeats: int, phase: float) -> np.ndarray:
    """Triangle wave in [-1, 1] with period size / repeats: exact arithmetic, the same on every processor."""
    place = (np.arange(size) * repeats / size + phase) % 1.0
    return 4 * np.abs(place - 0.5) - 1


def _wall(
    rng: np.random.Generator, place: Camera, height: int, width: int
) -> np.ndarray:
    """(3 H, WALKWAY W, 3) float: waves, and panels, doors and windows of other colours."""
    high, long = 3 * height, WALKWAY * width
    waves = sum(
        weight
        * (
            _wave(long, int(rng.integers(5, 90)), rng.random())[None]
            * _wave(high, int(rng.integers(1, 24)), rng.random())[:, None]
        )
        for weight in (0.5, 0.3, 0.2)
    )
    picture = np.array(place.wall)[::-1] * (1 + place.texture * waves[..., None])
    for _ in range(int(rng.integers(8, 30))):
        left, low = rng.integers(0, long), high - int(rng.integers(0, height))
        wide, tall = (
            int(rng.uniform(0.15, 1.2) * width),
            int(rng.uniform(0.1, 0.8) * height),
        )
        columns = np.arange(left, left + wide) % long
        picture[max(0, low - tall) : low, columns] *= (
            1
            + rng.uniform(-2.2, 2.2, 3).mean() * place.texture
            + rng.uniform(-0.5, 0.5, 3) * place.texture
        )
    return picture


def _ground(
    rng: np.random.Generator, place: Camera, height: int, width: int
) -> np.ndarray:
    """(H, WALKWAY W, 3) float: slabs with darker joints."""
    long = WALKWAY * width
    across, along = (
        _wave(long, int(rng.integers(20, 60)), rng.random()),
        _wave(height, int(rng.integers(4, 9)), rng.random()),
    )
    joints = np.maximum(across[None] > 0.85, along[:, None] > 0.7)
    slabs = 0.6 * across[None] * along[:, None] - 2.0 * joints
    return np.array(place.ground)[::-1] * (1 + place.texture * slabs[..., None])


def _falloff(place: Camera, modality: Modality, height: int, width: int) -> np.ndarray:
    """The infrared lamp lights the middle; by day the light is even."""
    if modality == "vis":
        return np.full((height, width, 1), ONE, np.uint16)
    rows, columns = (np.arange(size) / (size - 1) - 0.5 for size in (height, width))
    dimmed = 1 - 2 * place.falloff * (rows[:, None] ** 2 + columns[None] ** 2)
    return np.rint(ONE * dimmed).astype(np.uint16)[..., None]


def _noise(
    place: Camera, modality: Modality, height: int, width: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Positive and negative part of one tile of grain, coloured by day and grey in infrared."""
    rng = np.random.default_rng(
        [seed, CAMERA, place.number, 2 + MODALITIES.index(modality)]
    )
    shape = (height + NOISE_ROOM, width + NOISE_ROOM, 3 if modality == "vis" else 1)
    grain = np.rint(
        rng.normal(0, place.noise if modality == "vis" else place.ir_noise, shape)
    ).astype(np.int64)
    return np.clip(grain, 0, 255).astype(np.uint8), np.clip(-grain, 0, 255).astype(
        np.uint8
    )
