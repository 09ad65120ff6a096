"""The scenery of a camera: wall, ground, lamp and noise, without the person.

Wall and ground scroll as people walk. A scene is prepared once per camera and modality.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from vvi.data.synthetic.filming import CAMERA, NOISE_ROOM, Camera, camera
from vvi.types import MODALITIES, Modality

#: Widths of a frame after which the scenery repeats.
WALKWAY = 12
#: 1.0 in the fixed-point numbers of light.
ONE = 128


@dataclass(frozen=True)
class Scene:
    """What one camera films in one modality, C = 3 visible (BGR) or 1 infrared."""

    camera: Camera
    #: (3 H, (WALKWAY + 1) W, C) uint8. Its lowest row stands on the horizon.
    wall: np.ndarray
    #: (2 H, (WALKWAY + 1) W, C) uint8. It repeats after H rows.
    ground: np.ndarray
    #: Light of the lamp: (H, W, 1) uint16, `ONE` is full light.
    fall: np.ndarray
    #: Noise that is added: uint8 tile.
    brighter: np.ndarray
    #: Noise that is subtracted: uint8 tile.
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
    """Draw the scenery of a camera, one structure in colour or as a dim grey.

    Args:
        number: of the camera.
        modality: of the frames.
        height: H, of a frame in pixels.
        width: W, of a frame in pixels.
        seed: of the set.
        spread: `World.spread`. At 0 all cameras film one location.
    """
    number = number if spread else 1
    cam = camera(number, seed, spread)
    rng = np.random.default_rng([seed, CAMERA, number, 1])
    wall = _tint(_wall(rng, cam, height, width), cam, modality)
    ground = _tint(_ground(rng, cam, height, width), cam, modality)
    return Scene(
        cam,
        _wrap(wall, width),
        _wrap(np.concatenate((ground, ground)), width),
        _falloff(cam, modality, height, width),
        *_noise(cam, modality, height, width, seed),
    )


def _tint(image: np.ndarray, cam: Camera, modality: Modality) -> np.ndarray:
    """Apply the colour cast of a camera, or turn colours into its dim infrared."""
    if modality == "vis":
        return image * np.array(cam.cast)[::-1]
    return image.mean(2, keepdims=True) * cam.ir_level * cam.ir_gain


def _wrap(image: np.ndarray, width: int) -> np.ndarray:
    """Repeat the first columns at the end, so that a window never leaves: uint8."""
    wrapped = np.concatenate((image, image[:, :width]), 1)
    return np.clip(np.rint(wrapped), 0, 255).astype(np.uint8)


def _wave(size: int, repeats: int, phase: float) -> np.ndarray:
    """Return a triangle wave in [-1, 1] with period size / repeats: (size,).

    Its arithmetic is exact, so the values do not depend on the processor.
    """
    position = (np.arange(size) * repeats / size + phase) % 1.0
    return 4 * np.abs(position - 0.5) - 1


def _wall(rng: np.random.Generator, cam: Camera, height: int, width: int) -> np.ndarray:
    """Draw waves with panels, doors and windows: (3 H, WALKWAY W, 3) float."""
    high, long = 3 * height, WALKWAY * width
    waves = sum(_weave(rng, high, long, weight) for weight in (0.5, 0.3, 0.2))
    image = np.array(cam.wall)[::-1] * (1 + cam.texture * waves[..., None])
    for _ in range(int(rng.integers(8, 30))):
        left, low = rng.integers(0, long), high - int(rng.integers(0, height))
        panel_width = int(rng.uniform(0.15, 1.2) * width)
        panel_height = int(rng.uniform(0.1, 0.8) * height)
        columns = np.arange(left, left + panel_width) % long
        brightness = rng.uniform(-2.2, 2.2, 3).mean() * cam.texture
        colour = rng.uniform(-0.5, 0.5, 3) * cam.texture
        image[max(0, low - panel_height) : low, columns] *= 1 + brightness + colour
    return image


def _weave(rng: np.random.Generator, high: int, long: int, weight: float) -> np.ndarray:
    """Multiply a wave along the rows with one along the columns: (high, long)."""
    along = _wave(long, int(rng.integers(5, 90)), rng.random())[None]
    down = _wave(high, int(rng.integers(1, 24)), rng.random())[:, None]
    return weight * (along * down)


def _ground(
    rng: np.random.Generator, cam: Camera, height: int, width: int
) -> np.ndarray:
    """Draw slabs with darker joints: (H, WALKWAY W, 3) float."""
    long = WALKWAY * width
    along = _wave(long, int(rng.integers(20, 60)), rng.random())
    down = _wave(height, int(rng.integers(4, 9)), rng.random())
    joints = np.maximum(along[None] > 0.85, down[:, None] > 0.7)
    slabs = 0.6 * along[None] * down[:, None] - 2.0 * joints
    return np.array(cam.ground)[::-1] * (1 + cam.texture * slabs[..., None])


def _falloff(cam: Camera, modality: Modality, height: int, width: int) -> np.ndarray:
    """Return the light: even by day, brightest in the middle under an infrared lamp."""
    if modality == "vis":
        return np.full((height, width, 1), ONE, np.uint16)
    rows, columns = (np.arange(size) / (size - 1) - 0.5 for size in (height, width))
    dimmed = 1 - 2 * cam.falloff * (rows[:, None] ** 2 + columns[None] ** 2)
    return np.rint(ONE * dimmed).astype(np.uint16)[..., None]


def _noise(
    cam: Camera, modality: Modality, height: int, width: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the positive and the negative part of one tile of grain, uint8.

    Grain is coloured by day and grey in infrared.
    """
    stream = [seed, CAMERA, cam.number, 2 + MODALITIES.index(modality)]
    rng = np.random.default_rng(stream)
    strength, channels = (cam.noise, 3) if modality == "vis" else (cam.ir_noise, 1)
    shape = (height + NOISE_ROOM, width + NOISE_ROOM, channels)
    grain = np.rint(rng.normal(0, strength, shape)).astype(np.int64)
    brighter = np.clip(grain, 0, 255).astype(np.uint8)
    darker = np.clip(-grain, 0, 255).astype(np.uint8)
    return brighter, darker
