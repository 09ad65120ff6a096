"""From factors to pixels: frames and person masks of a sequence.

Shapes are filled at twice the size with fixed-point corners and averaged 2 x 2. This
gives smooth edges and the cover, the share of each pixel that belongs to the person.
Everything after that is integer arithmetic, so the bytes do not depend on the
processor.
"""

from __future__ import annotations

import cv2
import numpy as np

from vvi.data.synthetic import body, dress
from vvi.data.synthetic.body import View
from vvi.data.synthetic.factors import Identity
from vvi.data.synthetic.filming import Walk
from vvi.data.synthetic.scene import ONE, Scene
from vvi.types import Modality

#: Fractional bits of a corner.
SHIFT = 4
#: Supersampling.
FINE = 2


def sequence(
    person: Identity, walk: Walk, scene: Scene, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the frames of a walk.

    Args:
        person: who walks.
        walk: how.
        scene: of the camera.
        height: H, of a frame in pixels.
        width: W, of a frame in pixels.

    Returns:
        Frames (T, H, W, C) uint8, C = 3 in BGR order or 1 in infrared, and masks
        (T, H, W) bool of the pixels where the person is seen.
    """
    modality = walk.film.modality
    view = View(walk.yaw(scene.camera), scene.camera.pitch)
    joints = body.joints(person, walk.phase)
    shapes = dress.figure(person, joints, view)
    paints = colours(person, modality, scene)
    corners = _corners(person, walk, shapes, height, width)
    drawn = rasterise(shapes, paints, corners, height, width)
    cover, figures = drawn[..., 3], drawn[..., : 3 if modality == "vis" else 1]
    way = joints.advance * person.body.height * height
    backgrounds = _backgrounds(walk, scene, view, way, height, width)
    frames = composite(figures, cover, backgrounds)
    masks = cover >= 128
    _occlude(frames, masks, walk)
    frames = lit(frames, walk.light, scene)
    return sensed(frames, walk.noise_at, walk.blurs, scene), masks


def colours(
    person: Identity, modality: Modality, scene: Scene
) -> dict[str, np.ndarray]:
    """Return the colour of each material under a camera.

    Args:
        person: who is filmed.
        modality: which light the camera sees.
        scene: whose camera it is.

    Returns:
        Material -> BGR. In infrared it is one grey value three times.
    """
    cam, is_infrared = scene.camera, modality == "ir"
    gains = (cam.ir_gain,) if is_infrared else cam.cast
    return dress.palette(person, is_infrared, gains)


def _corners(
    person: Identity, walk: Walk, shapes: list[body.Shape], height: int, width: int
) -> list[np.ndarray]:
    """Place the corners of each shape on the fine canvas, in fixed point.

    Args:
        person: whose height scales the shapes.
        walk: whose boxes place them.
        shapes: with corners in heights of the person.
        height: H, of a frame in pixels.
        width: W, of a frame in pixels.

    Returns:
        (T, K, 2) int32 for each shape of K corners.
    """
    # all shapes at once: one alone is too small to be worth a call
    points = np.concatenate([shape.points for shape in shapes], 1)
    size = person.body.height * height * walk.boxes[:, 2]
    x = width * (0.5 + walk.boxes[:, 0])
    y = height * (0.49 + walk.boxes[:, 1]) + size / 2
    middle = np.stack((x, y), 1)
    pixels = points * size[:, None, None] + middle[:, None] - 0.25
    fixed = np.rint(pixels * (FINE << SHIFT)).astype(np.int32)
    counts = [shape.points.shape[1] for shape in shapes]
    return np.split(fixed, np.cumsum(counts)[:-1], 1)


def rasterise(
    shapes: list[body.Shape],
    colours: dict[str, np.ndarray],
    corners: list[np.ndarray],
    height: int,
    width: int,
) -> np.ndarray:
    """Fill the shapes of all frames.

    Args:
        shapes: from back to front.
        colours: of each material.
        corners: of each shape on the fine canvas.
        height: H, of a frame in pixels.
        width: W, of a frame in pixels.

    Returns:
        (T, H, W, 4) uint8: blue, green and red times cover, and cover (255 is all of
        the pixel).
    """
    count = len(corners[0])
    paints = [_paint(shape, colours) for shape in shapes]
    corners = [np.ascontiguousarray(points) for points in corners]
    fine = np.zeros((FINE * height, FINE * width, 4), np.uint8)
    drawn = np.empty((count, height, width, 4), np.uint8)
    for t in range(count):
        fine.fill(0)
        for paint, points in zip(paints, corners, strict=True):
            cv2.fillConvexPoly(fine, points[t], paint, cv2.LINE_8, SHIFT)
        cv2.resize(fine, (width, height), dst=drawn[t], interpolation=cv2.INTER_AREA)
    return drawn


def _paint(shape: body.Shape, colours: dict[str, np.ndarray]) -> tuple[float, ...]:
    """Return the shaded colour of a shape, and full cover."""
    shaded = colours[shape.material] * (shape.shade / 256)
    return (*np.clip(np.rint(shaded), 0, 255).tolist(), 255)


def _backgrounds(
    walk: Walk, scene: Scene, view: View, way: np.ndarray, height: int, width: int
) -> np.ndarray:
    """Scroll the scenery against the way of the person and the jitter of the box.

    Args:
        walk: where it starts, and its boxes.
        scene: of the camera.
        view: from which side the person is seen.
        way: pixels walked until each frame: (T,).
        height: H, of a frame in pixels.
        width: W, of a frame in pixels.

    Returns:
        (T, H, W, C) uint8.
    """
    long = scene.wall.shape[1] - width
    lefts = walk.start * long + way * view.side - walk.boxes[:, 0] * width
    lefts = np.rint(lefts).astype(np.int64) % long
    shifts = np.rint(walk.boxes[:, 1] * height).astype(np.int64)
    depths = np.rint(way * view.front * view.pitch).astype(np.int64)
    horizons = np.clip(round(scene.camera.horizon * height) + shifts, 1, height - 1)
    tops = (depths - shifts) % height
    frames = np.empty((len(way), height, width, scene.wall.shape[2]), np.uint8)
    positions = zip(lefts, horizons, tops, strict=True)
    for frame, (left, horizon, top) in zip(frames, positions, strict=True):
        columns = slice(left, left + width)
        frame[:horizon] = scene.wall[len(scene.wall) - horizon :, columns]
        frame[horizon:] = scene.ground[top : top + height - horizon, columns]
    return frames


def composite(
    figures: np.ndarray, cover: np.ndarray, backgrounds: np.ndarray
) -> np.ndarray:
    """Put the person over the scenery.

    Args:
        figures: the person times cover: (T, H, W, C) uint8.
        cover: (T, H, W) uint8.
        backgrounds: (T, H, W, C) uint8.

    Returns:
        (T, H, W, C) uint16.
    """
    rest = (256 - cover.astype(np.uint16) - (cover >> 7))[..., None]
    return figures + (backgrounds * rest >> 8)


def _occlude(frames: np.ndarray, masks: np.ndarray, walk: Walk) -> None:
    """Draw occluders and bars over the frames and remove them from the masks."""
    for t in np.flatnonzero(walk.covers.any(1)):
        _hide(frames[t], masks[t], walk.covers[t], walk.cover_grey, walk)
    for t in np.flatnonzero(walk.bars.any(1)):
        _hide(frames[t], masks[t], walk.bars[t], int(walk.bar_greys[t]), walk)


def clear_of_bars(walk: Walk, height: int, width: int) -> np.ndarray:
    """Return the pixels that the bar of the first frame leaves free: (H, W) bool.

    Args:
        walk: whose bars they are.
        height: H, of a frame in pixels.
        width: W, of a frame in pixels.
    """
    frame, mask = np.zeros((height, width, 1), np.uint8), np.ones((height, width), bool)
    if walk.bars[0].any():
        _hide(frame, mask, walk.bars[0], 0, walk)
    return mask


def _hide(
    frame: np.ndarray, mask: np.ndarray, box: np.ndarray, grey: int, walk: Walk
) -> None:
    """Draw one occluder with a darker upper edge, in place.

    Args:
        frame: (H, W, C).
        mask: (H, W).
        box: left, top, right and bottom, as shares of the frame.
        grey: its value in a visible frame, which infrared halves.
        walk: of which modality.
    """
    height, width = mask.shape
    sizes = (width, height, width, height)
    edges = [share * size for share, size in zip(box, sizes, strict=True)]
    left, top, right, bottom = (max(0, round(edge)) for edge in edges)
    grey = grey if walk.film.modality == "vis" else grey // 2
    frame[top:bottom, left:right] = grey
    frame[top : top + 3, left:right] = grey // 2
    mask[top:bottom, left:right] = False


def lit(frames: np.ndarray, light: np.ndarray, scene: Scene) -> np.ndarray:
    """Light frames by the hour and by the lamp.

    Args:
        frames: (T, H, W, C) uint16.
        light: of each frame: (T,) about 1.
        scene: with the lamp.

    Returns:
        (T, H, W, C) uint8.
    """
    light = np.rint(ONE * light).astype(np.uint16)[:, None, None, None]
    level = np.minimum(light * scene.fall // ONE, 257)  # 255 * 257 still fits 16 bits
    return np.minimum(frames * level >> 7, 255).astype(np.uint8)


def sensed(
    frames: np.ndarray, noise_at: np.ndarray, blurs: np.ndarray, scene: Scene
) -> np.ndarray:
    """Blur frames by lens and motion and add the grain of the sensor.

    Args:
        frames: (T, H, W, C) uint8.
        noise_at: corner of each frame in the noise tile: (T, 2).
        blurs: length of the motion blur of each frame: (T,).
        scene: with the lens and the noise tile.
    """
    height, width = frames.shape[1:3]
    if scene.camera.blur:
        frames = _soften(frames, scene.camera.blur)
    for t in np.flatnonzero(blurs):
        frames[t] = smear(frames[t], int(blurs[t]))
    for frame, (row, column) in zip(frames, noise_at.tolist(), strict=True):
        window = (slice(row, row + height), slice(column, column + width))
        brighter = cv2.add(frame, scene.brighter[window])
        grainy = cv2.subtract(brighter, scene.darker[window])
        frame[:] = grainy.reshape(frame.shape)
    return frames


def _soften(frames: np.ndarray, strength: int) -> np.ndarray:
    """Blur by weights (s, 8 - 2 s, s) / 8 along columns and rows, except at the rim."""
    for axis in (1, 2):
        length = frames.shape[axis] - 2
        before, inner, after = (
            np.take(frames, range(start, start + length), axis).astype(np.uint16)
            for start in (0, 1, 2)
        )
        mixed = (8 - 2 * strength) * inner + strength * (before + after) + 4 >> 3
        first, last = np.take(frames, [0], axis), np.take(frames, [-1], axis)
        frames = np.concatenate((first, mixed.astype(np.uint8), last), axis)
    return frames


def smear(frame: np.ndarray, length: int) -> np.ndarray:
    """Average `length` (odd) neighbours along the rows: (H, W, C) -> (H, W, C)."""
    half = length // 2
    padded = np.pad(frame, ((0, 0), (half, half), (0, 0)), "edge").astype(np.uint32)
    total = sum(padded[:, k : k + frame.shape[1]] for k in range(length))
    return ((total + half) // length).astype(np.uint8)
