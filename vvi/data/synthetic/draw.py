"""From factors to pixels: frames and person masks of a sequence.

Shapes are filled at twice the size with fixed-point corners and averaged 2 x 2, which gives the smooth edge and the share of each pixel that the person covers; everything after
that is integer arithmetic, so the bytes do not depend on the processor.
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

SHIFT = 4  # bits behind the point of a corner
FINE = 2  # supersampling


def sequence(
    who: Identity, walk: Walk, scene: Scene, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Frames (T, H, W, C) uint8, C = 3 in BGR order or 1 in infrared, and masks (T, H, W) bool of the pixels where the person is seen."""
    view = View(walk.yaw(scene.camera), scene.camera.pitch)
    joints = body.joints(who, walk.phase)
    shapes = dress.figure(who, joints, view)
    figures = rasterise(
        shapes,
        colours(who, walk.film.modality, scene),
        _corners(who, walk, shapes, height, width),
        height,
        width,
    )
    infrared = walk.film.modality == "ir"
    cover, figures = figures[..., 3], figures[..., : 1 if infrared else 3]
    frames = composite(
        figures,
        cover,
        _backgrounds(who, walk, scene, view, joints.advance, height, width),
    )
    masks = cover >= 128
    _occlude(frames, masks, walk)
    return sensed(
        lit(frames, walk.light, scene), walk.noise_at, walk.blurs, scene
    ), masks


def colours(who: Identity, modality: Modality, scene: Scene) -> dict[str, np.ndarray]:
    """Material -> its colour under this camera."""
    infrared = modality == "ir"
    return dress.palette(
        who, infrared, (scene.camera.ir_gain,) if infrared else scene.camera.cast
    )


def _corners(
    who: Identity, walk: Walk, shapes: list[body.Shape], height: int, width: int
) -> list[np.ndarray]:
    """Corners of each shape on the fine canvas in fixed point: (T, K, 2) int32."""
    points = np.concatenate(
        [shape.points for shape in shapes], 1
    )  # all at once: a shape alone is too small to be worth a call
    size = who.body.height * height * walk.boxes[:, 2]
    middle = np.stack(
        (
            width * (0.5 + walk.boxes[:, 0]),
            height * (0.49 + walk.boxes[:, 1]) + size / 2,
        ),
        1,
    )
    fixed = np.rint(
        (points * size[:, None, None] + middle[:, None] - 0.25) * (FINE << SHIFT)
    ).astype(np.int32)
    return np.split(
        fixed, np.cumsum([shape.points.shape[1] for shape in shapes])[:-1], 1
    )


def rasterise(
    shapes: list[body.Shape],
    colours: dict[str, np.ndarray],
    corners: list[np.ndarray],
    height: int,
    width: int,
) -> np.ndarray:
    """(T, H, W, 4) uint8: blue, green, red times cover, and cover (255: all of the pixel)."""
    count = len(corners[0])
    paints = [
        (*np.clip(np.rint(colours[s.material] * (s.shade / 256)), 0, 255).tolist(), 255)
        for s in shapes
    ]
    corners = [np.ascontiguousarray(c) for c in corners]
    fine = np.zeros((FINE * height, FINE * width, 4), np.uint8)
    drawn = np.empty((count, height, width, 4), np.uint8)
    for t in range(count):
        fine.fill(0)
        for paint, points in zip(paints, corners, strict=True):
            cv2.fillConvexPoly(fine, points[t], paint, cv2.LINE_8, SHIFT)
        cv2.resize(fine, (width, height), dst=drawn[t], interpolation=cv2.INTER_AREA)
    return drawn


def _backgrounds(
    who: Identity,
    walk: Walk,
    scene: Scene,
    view: View,
    advance: np.ndarray,
    height: int,
    width: int,
) -> np.ndarray:
    """(T, H, W, C): the scenery moves against the person by the way walked, and with the box."""
    long = scene.wall.shape[1] - width
    way = advance * who.body.height * height
    lefts = (
        np.rint(walk.start * long + way * view.side - walk.boxes[:, 0] * width).astype(
            np.int64
        )
        % long
    )
    shifts = np.rint(walk.boxes[:, 1] * height).astype(np.int64)
    depths = np.rint(way * view.front * view.pitch).astype(np.int64)
    horizons = np.clip(round(scene.camera.horizon * height) + shifts, 1, height - 1)
    frames = np.empty((len(way), height, width, scene.wall.shape[2]), np.uint8)
    for frame, left, shift, depth, horizon in zip(
        frames, lefts, shifts, depths, horizons, strict=True
    ):
        columns = slice(left, left + width)
        frame[:horizon] = scene.wall[len(scene.wall) - horizon :, columns]
        top = (depth - shift) % height
        frame[horizon:] = scene.ground[top : top + height - horizon, columns]
    return frames


def composite(
    figures: np.ndarray, cover: np.ndarray, backgrounds: np.ndarray
) -> np.ndarray:
    """The person, already weighted by cover, over the rest of the scenery: uint8 in, uint16 out."""
    rest = (256 - cover.astype(np.uint16) - (cover >> 7))[..., None]
    return figures + (backgrounds * rest >> 8)


def _occlude(frames: np.ndarray, masks: np.ndarray, walk: Walk) -> None:
    """Draw what stands in front, with a darker seam, and take it out of the mask."""
    for t in np.flatnonzero(walk.covers.any(1)):
        _hide(frames[t], masks[t], walk.covers[t], walk.cover_grey, walk)
    for t in np.flatnonzero(walk.bars.any(1)):
        _hide(frames[t], masks[t], walk.bars[t], int(walk.bar_greys[t]), walk)


def clear_of_bars(walk: Walk, height: int, width: int) -> np.ndarray:
    """Return the pixels that the bar of the first frame leaves free: (H, W) bool."""
    frame, mask = np.zeros((height, width, 1), np.uint8), np.ones((height, width), bool)
    if walk.bars[0].any():
        _hide(frame, mask, walk.bars[0], 0, walk)
    return mask


def _hide(
    frame: np.ndarray, mask: np.ndarray, box: np.ndarray, grey: int, walk: Walk
) -> None:
    """Draw one thing (left, top, right, bottom in shares of the frame) in a grey."""
    height, width = mask.shape
    sizes = (width, height, width, height)
    pairs = zip(box, sizes, strict=True)
    left, top, right, bottom = (max(0, round(share * size)) for share, size in pairs)
    grey = grey if walk.film.modality == "vis" else grey // 2
    frame[top:bottom, left:right] = grey
    frame[top : top + 3, left:right] = grey // 2
    mask[top:bottom, left:right] = False


def lit(frames: np.ndarray, light: np.ndarray, scene: Scene) -> np.ndarray:
    """Light (T,) of the hour and of the lamp: uint16 in, uint8 out."""
    light = np.rint(ONE * light).astype(np.uint16)[:, None, None, None]
    level = np.minimum(light * scene.fall // ONE, 257)  # 255 * 257 still fits 16 bits
    return np.minimum(frames * level >> 7, 255).astype(np.uint8)


def sensed(
    frames: np.ndarray, noise_at: np.ndarray, blurs: np.ndarray, scene: Scene
) -> np.ndarray:
    """Blur of the lens and of the movement (T,), and grain from the corners (T, 2) of the noise tile."""
    height, width = frames.shape[1:3]
    if scene.camera.blur:
        frames = _soft(frames, scene.camera.blur)
    for t in np.flatnonzero(blurs):
        frames[t] = smear(frames[t], int(blurs[t]))
    for frame, (row, column) in zip(frames, noise_at.tolist(), strict=True):
        window = (slice(row, row + height), slice(column, column + width))
        grainy = cv2.subtract(
            cv2.add(frame, scene.brighter[window]), scene.darker[window]
        )
        frame[:] = grainy.reshape(frame.shape)
    return frames


def _soft(frames: np.ndarray, strength: int) -> np.ndarray:
    """Weights (s, 8 - 2 s, s) / 8 along the columns and the rows; the rim stays."""
    for axis in (1, 2):
        inner, before, after = (
            np.take(frames, range(start, frames.shape[axis] + start - 2), axis).astype(
                np.uint16
            )
            for start in (1, 0, 2)
        )
        rim = [np.take(frames, [place], axis) for place in (0, -1)]
        mixed = (
            (8 - 2 * strength) * inner + strength * (before + after) + 4 >> 3
        ).astype(np.uint8)
        frames = np.concatenate((rim[0], mixed, rim[1]), axis)
    return frames


def smear(frame: np.ndarray, length: int) -> np.ndarray:
    """Mean of `length` (odd) neighbours along the rows: (H, W, C) -> (H, W, C)."""
    half = length // 2
    padded = np.pad(frame, ((0, 0), (half, half), (0, 0)), "edge").astype(np.uint32)
    total = sum(padded[:, k : k + frame.shape[1]] for k in range(length))
    return ((total + half) // length).astype(np.uint8)
