"""From factors to shapes: a walking body as convex polygons, for all frames at once.

Body axes, as shares of the person's height: f forward, u up from the ground, l to the
person's right. The standing foot does not move along the ground. What the body gains by
that (`advance`) is what the background loses, so strides match the ground in every
view.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vvi.data.synthetic.factors import Identity

#: Share of the leg above the knee.
THIGH = 0.52
#: Depth of a chest, as a share of its width.
DEPTH = 0.62
#: Corners of a unit circle.
CIRCLE = np.array(
    [(math.cos(math.tau * k / 12), math.sin(math.tau * k / 12)) for k in range(12)]
)
#: The far end of a limb: corners along and across it.
CAP = np.array([(0.0, -1.0), (0.87, -0.5), (0.87, 0.5), (0.0, 1.0)])


class Shape(NamedTuple):
    """One convex polygon: material, brightness (256: as it is) and corners.

    Corners are (T, K, 2) in shares of the person's height, x right and y down.
    """

    material: str
    shade: int
    points: np.ndarray


@dataclass(frozen=True)
class Joints:
    """Positions (T, 3) in body axes. Pairs are (left, right)."""

    hips: tuple[np.ndarray, np.ndarray]
    knees: tuple[np.ndarray, np.ndarray]
    ankles: tuple[np.ndarray, np.ndarray]
    shoulders: tuple[np.ndarray, np.ndarray]
    elbows: tuple[np.ndarray, np.ndarray]
    hands: tuple[np.ndarray, np.ndarray]
    pelvis: np.ndarray
    #: Middle between the shoulders.
    chest: np.ndarray
    #: Centre of the head.
    head: np.ndarray
    #: Way walked along the ground since phase 1/4: (T,).
    advance: np.ndarray


def _sin(angles: np.ndarray) -> np.ndarray:
    """Sine by the C library: one value on every processor, unlike vectorised ones."""
    return np.array([math.sin(a) for a in angles])


def _at(
    forward: np.ndarray | float, up: np.ndarray | float, right: np.ndarray | float
) -> np.ndarray:
    """Stack coordinates, broadcast to one shape: (..., 3)."""
    shape = np.broadcast_shapes(np.shape(forward), np.shape(up), np.shape(right))
    points = np.empty((*shape, 3))
    points[..., 0], points[..., 1], points[..., 2] = forward, up, right
    return points


def joints(person: Identity, phase: np.ndarray) -> Joints:
    """Return the skeleton at phases (T,), in cycles.

    The left foot stands between phase 1/4 and 3/4, the right one in the other half.
    """
    body, gait = person.body, person.gait
    turn = math.tau * phase
    legs = [
        _leg(
            person,
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
        _advance(phase, legs[0][1][:, 0], legs[1][1][:, 0], *_reach(person)),
    )


def _leg(
    person: Identity, turn: np.ndarray, swing: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return knee and ankle (T, 2) from the hip, forward and down.

    The leg is straight while the foot stands and bent while it swings forward.

    Args:
        person: who is drawn.
        turn: phase of this leg in radians: (T,).
        swing: greatest angle of the thigh in radians.
    """
    bend = person.gait.knee * np.maximum(0.0, _sin(turn + math.pi / 2))
    thigh = swing * _sin(turn) + 0.4 * bend
    shin = thigh - bend
    upper, lower = THIGH * person.body.legs, (1 - THIGH) * person.body.legs
    knee = upper * np.stack((_sin(thigh), _sin(thigh + math.pi / 2)), 1)
    return knee, knee + lower * np.stack((_sin(shin), _sin(shin + math.pi / 2)), 1)


def _reach(person: Identity) -> tuple[float, float]:
    """Return how far left and right foot are ahead of the hip at touch-down."""
    gait = person.gait
    return tuple(
        person.body.legs * math.sin(gait.leg_swing * (1 + sign * gait.leg_asymmetry))
        for sign in (1, -1)
    )


def _advance(
    phase: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    left_reach: float,
    right_reach: float,
) -> np.ndarray:
    """Return the way of the hip since phase 1/4 if the standing foot does not move.

    Args:
        phase: in cycles: (T,).
        left: left ankle ahead of the hip: (T,).
        right: right ankle ahead of the hip: (T,).
        left_reach: its value at touch-down.
        right_reach: its value at touch-down.
    """
    cycles = np.floor(phase - 0.25)
    left_stands = phase - 0.25 - cycles < 0.5
    within = np.where(
        left_stands, left_reach - left, 2 * left_reach + right_reach - right
    )
    return cycles * 2 * (left_reach + right_reach) + within


class View:
    """Orthographic camera.

    `side` and `front` are the cosine and sine of the yaw (0: walking to the right, 90
    degrees: towards the camera).
    """

    def __init__(self, yaw: float, pitch: float) -> None:
        self.side, self.front = math.cos(math.radians(yaw)), math.sin(math.radians(yaw))
        self.pitch = math.sin(pitch)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Project body axes (T, 3) to the image (T, 2), x right, y down.

        The origin is the point of the ground under the hip.
        """
        forward, up, right = points.T
        image = np.empty((len(points), 2))
        image[:, 0] = forward * self.side - right * self.front
        image[:, 1] = (forward * self.front + right * self.side) * self.pitch - up
        return image

    def width(self, wide: float, deep: float) -> float:
        """Return half the width of an upright elliptic body of these axes."""
        return 0.5 * math.sqrt((wide * self.front) ** 2 + (deep * self.side) ** 2)


def limb(start: np.ndarray, end: np.ndarray, first: float, last: float) -> np.ndarray:
    """Return a tapered stroke with round ends: (T, 8, 2).

    A foreshortened one tapers less, so that it stays convex.

    Args:
        start: (T, 2).
        end: (T, 2).
        first: radius at the start.
        last: radius at the end.
    """
    way = end - start
    length = np.sqrt((way**2).sum(1, keepdims=True))
    along = np.where(length > 1e-3, way / np.maximum(length, 1e-3), (0.0, 1.0))[:, None]
    across = along[..., ::-1] * (-1.0, 1.0)
    last = np.clip(last, first - 0.57 * length, first + 0.57 * length)[:, None]
    # from one side round the end to the other: (T, 4, 2)
    cap = CAP[:, :1] * along + CAP[:, 1:] * across
    return np.concatenate((start[:, None] - first * cap, end[:, None] + last * cap), 1)


def oval(centre: np.ndarray, half_width: float, half_height: float) -> np.ndarray:
    """Return an ellipse around a point (T, 2): (T, 12, 2).

    Args:
        centre: (T, 2).
        half_width: horizontal radius.
        half_height: vertical radius.
    """
    return centre[:, None] + CIRCLE * (half_width, half_height)


def quad(
    top: np.ndarray, bottom: np.ndarray, top_half: float, bottom_half: float
) -> np.ndarray:
    """Return an upright trapezoid, clockwise from the left top: (T, 4, 2).

    Args:
        top: middle of the upper edge: (T, 2).
        bottom: middle of the lower edge: (T, 2).
        top_half: half the length of the upper edge.
        bottom_half: half the length of the lower edge.
    """
    corners = np.stack((top, top, bottom, bottom), 1)
    corners[..., 0] += (-top_half, top_half, bottom_half, -bottom_half)
    return corners


def patch(cloth: np.ndarray, corners: tuple[tuple[float, float], ...]) -> np.ndarray:
    """Return a part of a quad (T, 4, 2): (T, K, 2).

    Corners are shares of its width and height, from the left top.
    """
    x, y = np.array(corners).T[..., None]
    left_top, right_top = cloth[:, 0:1], cloth[:, 1:2]
    right_bottom, left_bottom = cloth[:, 2:3], cloth[:, 3:4]
    upper = left_top * (1 - x) + right_top * x
    lower = left_bottom * (1 - x) + right_bottom * x
    return upper * (1 - y) + lower * y
