"""From factors to shapes: a walking body as convex polygons, all frames of a sequence at once.

Body axes, as shares of the person's height: f forward, u up from the ground, l to the person's right. The foot that stands does not move along the ground, and what the body
thereby gains (`advance`) is what the background loses: strides match the ground in every view.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vvi.data.synthetic.factors import Identity

THIGH = 0.52  # share of the leg above the knee
DEPTH = 0.62  # a chest is about this deep, as a share of its width
CIRCLE = np.array(
    [(math.cos(a), math.sin(a)) for a in (math.tau * k / 12 for k in range(12))]
)
CAP = np.array(
    [(0.0, -1.0), (0.87, -0.5), (0.87, 0.5), (0.0, 1.0)]
)  # along and across a limb, at its far end


class Shape(NamedTuple):
    """One convex polygon: what it is made of, how bright (256: as it is), and its corners (T, K, 2) in shares of the person's height; x right, y down."""

    material: str
    shade: int
    points: np.ndarray


@dataclass(frozen=True)
class Joints:
    """Places (T, 3) in body axes; the pairs are (left, right)."""

    hips: tuple[np.ndarray, np.ndarray]
    knees: tuple[np.ndarray, np.ndarray]
    ankles: tuple[np.ndarray, np.ndarray]
    shoulders: tuple[np.ndarray, np.ndarray]
    elbows: tuple[np.ndarray, np.ndarray]
    hands: tuple[np.ndarray, np.ndarray]
    pelvis: np.ndarray
    chest: np.ndarray  # middle between the shoulders
    head: np.ndarray  # centre
    advance: np.ndarray  # (T,) way walked along the ground since phase 1/4


def _sin(angles: np.ndarray) -> np.ndarray:
    """Sine by the C library: one value on every processor, unlike vectorised ones."""
    return np.array([math.sin(a) for a in angles])


def _at(
    forward: np.ndarray | float, up: np.ndarray | float, right: np.ndarray | float
) -> np.ndarray:
    places = np.empty(
        (*np.broadcast_shapes(np.shape(forward), np.shape(up), np.shape(right)), 3)
    )
    places[..., 0], places[..., 1], places[..., 2] = forward, up, right
    return places


def joints(who: Identity, phase: np.ndarray) -> Joints:
    """Skeleton at these phases (T,), in cycles; the left foot stands between phase 1/4 and 3/4, the right one in the other half."""
    body, gait = who.body, who.gait
    turn = math.tau * phase
    legs = [
        _leg(
            who,
            turn + side * math.pi,
            gait.leg_swing * (1 - 2 * side * gait.leg_asymmetry + gait.leg_asymmetry),
        )
        for side in (0, 1)
    ]
    height = np.maximum(legs[0][1][:, 1], legs[1][1][:, 1])  # the longer leg stands
    lift, swing = gait.bob * _sin(2 * turn), gait.sway * _sin(turn)
    torso = 1 - body.legs - body.head - 0.03
    pelvis = _at(0.0, height, 0.3 * swing)
    chest = _at(
        torso * math.sin(gait.lean), height + torso * math.cos(gait.lean) + lift, swing
    )
    head = chest + _at(0.03 * math.sin(gait.lean) + 0.01, 0.025 + body.head / 2, 0.0)
    hips, knees, ankles, shoulders, elbows, hands = ([] for _ in range(6))
    for side, (knee, ankle) in enumerate(legs):
        sign = 2 * side - 1
        hip = pelvis + (0, 0, sign * body.hips / 4)
        hips.append(hip)
        knees.append(hip + _at(knee[:, 0], -knee[:, 1], 0.0))
        ankles.append(hip + _at(ankle[:, 0], -ankle[:, 1], 0.0))
        shoulder = chest + _at(0.0, -0.02, sign * body.shoulders / 2)
        arm = -(gait.arm_left, gait.arm_right)[side] * _sin(turn + side * math.pi)
        elbow = shoulder + 0.5 * body.arms * _at(
            _sin(arm), -_sin(arm + math.pi / 2), sign * 0.1
        )
        fore = arm + gait.elbow * (0.7 + 0.3 * _sin(arm))
        shoulders.append(shoulder)
        elbows.append(elbow)
        hands.append(
            elbow + 0.5 * body.arms * _at(_sin(fore), -_sin(fore + math.pi / 2), 0.0)
        )
    pairs = (tuple(p) for p in (hips, knees, ankles, shoulders, elbows, hands))
    return Joints(
        *pairs,
        pelvis,
        chest,
        head,
        _advance(phase, legs[0][1][:, 0], legs[1][1][:, 0], *_reach(who)),
    )


def _leg(
    who: Identity, turn: np.ndarray, swing: float
) -> tuple[np.ndarray, np.ndarray]:
    """Knee and ankle (T, 2) below the hip, forward and down; straight while the foot stands, bent while it is carried forward."""
    bend = who.gait.knee * np.maximum(0.0, _sin(turn + math.pi / 2))
    thigh = swing * _sin(turn) + 0.4 * bend
    shin = thigh - bend
    upper, lower = THIGH * who.body.legs, (1 - THIGH) * who.body.legs
    knee = upper * np.stack((_sin(thigh), _sin(thigh + math.pi / 2)), 1)
    return knee, knee + lower * np.stack((_sin(shin), _sin(shin + math.pi / 2)), 1)


def _reach(who: Identity) -> tuple[float, float]:
    """How far the left and the right foot stand ahead of the hip when they touch down."""
    gait = who.gait
    return tuple(
        who.body.legs * math.sin(gait.leg_swing * (1 + sign * gait.leg_asymmetry))
        for sign in (1, -1)
    )


def _advance(
    phase: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    left_reach: float,
    right_reach: float,
) -> np.ndarray:
    """Way of the hip since phase 1/4 such that the standing foot (left: phase 1/4 to 3/4) keeps its place."""
    cycles = np.floor(phase - 0.25)
    left_stands = phase - 0.25 - cycles < 0.5
    within = np.where(
        left_stands, left_reach - left, 2 * left_reach + right_reach - right
    )
    return cycles * 2 * (left_reach + right_reach) + within


class View:
    """Orthographic camera: `side` and `front` are the cosine and sine of the yaw (0: walking to the right, 90 degrees: towards the camera)."""

    def __init__(self, yaw: float, pitch: float) -> None:
        self.side, self.front = math.cos(math.radians(yaw)), math.sin(math.radians(yaw))
        self.pitch = math.sin(pitch)

    def __call__(self, place: np.ndarray) -> np.ndarray:
        """(T, 3) body axes -> (T, 2) on the image: x right, y down from the point under the hip."""
        forward, up, right = place.T
        image = np.empty((len(place), 2))
        image[:, 0] = forward * self.side - right * self.front
        image[:, 1] = (forward * self.front + right * self.side) * self.pitch - up
        return image

    def width(self, wide: float, deep: float) -> float:
        """Half of what an upright elliptic body of these axes covers."""
        return 0.5 * math.sqrt((wide * self.front) ** 2 + (deep * self.side) ** 2)


def limb(start: np.ndarray, end: np.ndarray, first: float, last: float) -> np.ndarray:
    """Tapered stroke with round ends, radii `first` and `last`: (T, 2), (T, 2) -> (T, 8, 2). A foreshortened one tapers less, so that it stays convex."""
    way = end - start
    length = np.sqrt((way**2).sum(1, keepdims=True))
    along = np.where(length > 1e-3, way / np.maximum(length, 1e-3), (0.0, 1.0))[:, None]
    across = along[..., ::-1] * (-1.0, 1.0)
    last = np.clip(last, first - 0.57 * length, first + 0.57 * length)[:, None]
    cap = (
        CAP[:, :1] * along + CAP[:, 1:] * across
    )  # (T, 4, 2), from one side round the end to the other
    return np.concatenate((start[:, None] - first * cap, end[:, None] + last * cap), 1)


def oval(centre: np.ndarray, half_width: float, half_height: float) -> np.ndarray:
    """(T, 2) -> (T, 12, 2)."""
    return centre[:, None] + CIRCLE * (half_width, half_height)


def quad(
    top: np.ndarray, bottom: np.ndarray, top_half: float, bottom_half: float
) -> np.ndarray:
    """Upright trapezoid between two points: (T, 2), (T, 2) -> (T, 4, 2), clockwise from the left top."""
    corners = np.stack((top, top, bottom, bottom), 1)
    corners[..., 0] += (-top_half, top_half, bottom_half, -bottom_half)
    return corners


def patch(cloth: np.ndarray, corners: tuple[tuple[float, float], ...]) -> np.ndarray:
    """Part of a quad (T, 4, 2), its corners given as shares from its left and from its top: (T, K, 2)."""
    x, y = np.array(corners).T[..., None]
    left_top, right_top, right_bottom, left_bottom = (
        cloth[:, k : k + 1] for k in range(4)
    )
    return (left_top * (1 - x) + right_top * x) * (1 - y) + (
        left_bottom * (1 - x) + right_bottom * x
    ) * y
