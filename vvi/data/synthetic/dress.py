"""The dressed figure: polygons of legs, arms, torso, bag and head, back to front."""

from __future__ import annotations

import numpy as np

from vvi.data.synthetic.body import DEPTH, Joints, Shape, View, limb, oval, patch, quad
from vvi.data.synthetic.factors import Identity

LEFT, RIGHT = 0, 1


def figure(person: Identity, joints: Joints, view: View) -> list[Shape]:
    """Return the polygons of a person, far ones first.

    Args:
        person: who is drawn.
        joints: of all frames.
        view: from which side the person is seen.

    Returns:
        Shapes with corners in shares of the person's height.
    """
    near = RIGHT if view.side > 0 else LEFT
    far = 1 - near
    shade = round(
        256 - 60 * abs(view.side)
    )  # in a side view the far limbs lie in the shadow of the body
    back, bag, hand = (
        _backpack(person, joints, view),
        _shoulder_bag(person, joints, view),
        _hand_bag(person, joints, view),
    )
    faces_us = view.front > 0
    shapes = [
        *_arm(person, joints, view, far, shade),
        *(hand if far == LEFT else []),
        *(bag if far == RIGHT and not faces_us else []),
    ]
    shapes += _leg(person, joints, view, far, shade) + _leg(
        person, joints, view, near, 256
    )
    shapes += (back if faces_us else []) + (
        _long_hair(person, joints, view) if faces_us else []
    )
    shapes += _torso(person, joints, view)
    shapes += _straps(person, joints, view) if faces_us else back
    shapes += bag if near == RIGHT or faces_us else []
    shapes += _head(person, joints, view) + (
        [] if faces_us else _long_hair(person, joints, view)
    )
    shapes += (hand if near == LEFT else []) + _arm(person, joints, view, near, 236)
    return shapes


def _leg(
    person: Identity, joints: Joints, view: View, side: int, shade: int
) -> list[Shape]:
    thick = 0.034 * person.body.girth
    hip, knee, ankle = (
        view(place[side]) for place in (joints.hips, joints.knees, joints.ankles)
    )
    wear = person.garments
    upper, lower = (
        ("skin" if wear.lower == "skirt" else "bottom"),
        ("bottom" if wear.lower == "trousers" else "skin"),
    )
    shin = limb(knee, ankle, 1.05 * thick, 0.75 * thick)
    shapes = [
        Shape(lower, shade, shin),
        Shape(upper, shade, limb(hip, knee, 1.45 * thick, 1.15 * thick)),
    ]
    if wear.boots:
        shapes.append(
            Shape(
                "shoe",
                shade,
                limb(0.45 * knee + 0.55 * ankle, ankle, 1.0 * thick, 0.85 * thick),
            )
        )
    if wear.side_stripe and wear.lower != "skirt":
        shapes.append(
            Shape("second", shade, limb(hip, knee, 0.35 * thick, 0.35 * thick))
        )
        if wear.lower == "trousers" and not wear.boots:
            shapes.append(
                Shape("second", shade, limb(knee, ankle, 0.35 * thick, 0.3 * thick))
            )
    toe = view(joints.ankles[side] + (0.065, -0.005, 0.0))
    return [*shapes, Shape("shoe", shade, limb(ankle, toe, 0.75 * thick, 0.6 * thick))]


def _arm(
    person: Identity, joints: Joints, view: View, side: int, shade: int
) -> list[Shape]:
    thick = 0.024 * person.body.girth
    shoulder, elbow, hand = (
        view(place[side]) for place in (joints.shoulders, joints.elbows, joints.hands)
    )
    upper = "skin" if person.garments.sleeves == "none" else "top"
    lower = "top" if person.garments.sleeves == "long" else "skin"
    return [
        Shape("skin", shade, oval(hand, 0.022, 0.022)),
        Shape(lower, shade, limb(elbow, hand, 1.0 * thick, 0.8 * thick)),
        Shape(upper, shade, limb(shoulder, elbow, 1.3 * thick, 1.05 * thick)),
    ]


def _torso(person: Identity, joints: Joints, view: View) -> list[Shape]:
    """Skirt or coat below, the top with its pattern above."""
    body, wear = person.body, person.garments
    chest, pelvis = view(joints.chest), view(joints.pelvis)
    bulk = 0.6 + 0.4 * body.girth
    shoulders, waist = (
        view.width(wide * bulk, DEPTH * max(wide, 0.17) * bulk)
        for wide in (body.shoulders, body.hips)
    )
    shapes = []
    below = pelvis + (0.0, wear.hem * body.legs)
    if wear.lower == "skirt":
        shapes.append(
            Shape(
                "bottom",
                256,
                quad(pelvis - (0.0, 0.03), below, 1.0 * waist, 1.0 * waist + 0.035),
            )
        )
    if wear.coat:
        shapes.append(
            Shape(
                "top",
                256,
                quad(
                    pelvis - (0.0, 0.04),
                    pelvis + (0.0, 0.8 * wear.hem * body.legs),
                    1.05 * waist,
                    1.15 * waist + 0.01,
                ),
            )
        )
    cloth = quad(chest + (0.0, 0.005), pelvis + (0.0, 0.02), shoulders, waist)
    shapes.append(
        Shape(
            "skin",
            230,
            quad(view(joints.head), chest + (0.0, 0.02), 0.022 * bulk, 0.03 * bulk),
        )
    )
    shapes.append(Shape("top", 256, cloth))
    return shapes + [
        Shape("second", 256, patch(cloth, corners)) for corners in _pattern(person)
    ]


def _box(
    left: float, top: float, right: float, bottom: float
) -> tuple[tuple[float, float], ...]:
    return ((left, top), (right, top), (right, bottom), (left, bottom))


def _pattern(person: Identity) -> list[tuple[tuple[float, float], ...]]:
    """Parts of the torso in the second colour, as shares of its width and height."""
    wear, count = person.garments, person.garments.repeats
    marks = {
        "plain": [],
        "stripes": [
            _box(0, (k + 0.5) / count, 1, (k + 1) / count) for k in range(count)
        ],
        "bars": [
            _box((k + 0.25) / count, 0, (k + 0.75) / count, 1) for k in range(count)
        ],
        "checks": [
            _box(
                (k % 2) * 0.5,
                k / (count + 1),
                (k % 2) * 0.5 + 0.5,
                (k + 1) / (count + 1),
            )
            for k in range(count + 1)
        ],
        "block": [_box(0, 0.2 * count - 0.1, 1, 1)],
        "logo": [_box(0.2, 0.15, 0.8, 0.3 + 0.07 * count)],
        "sash": [
            ((0, 0), (0.3, 0), (1, 0.75), (1, 1)),
            ((0, 0), (1, 1), (0.7, 1), (0, 0.25)),
        ][: 1 + count % 2],
        "vest": [_box(0.25, 0, 0.75, 1), _box(0, 0.8, 1, 1)],
    }
    return marks[wear.pattern]


def _backpack(person: Identity, joints: Joints, view: View) -> list[Shape]:
    if person.garments.bag != "backpack":
        return []
    wide, deep = 0.9 * person.body.shoulders, 0.11
    behind = -0.5 * DEPTH * person.body.shoulders - 0.3 * deep
    top, bottom = (
        view(joints.chest + (behind, 0.0, 0.0)),
        view(joints.chest + (behind, -0.24, 0.0)),
    )
    half = view.width(wide, deep)
    return [
        Shape("bag", 256, quad(top, bottom, 0.85 * half, half)),
        Shape(
            "bag",
            200,
            quad(top + (0.0, 0.13), bottom - (0.0, 0.02), 0.7 * half, 0.7 * half),
        ),
    ]


def _straps(person: Identity, joints: Joints, view: View) -> list[Shape]:
    """What one sees of a backpack from the front."""
    if person.garments.bag != "backpack" or view.front < 0.25:
        return []
    half = view.width(person.body.shoulders, DEPTH * person.body.shoulders)
    chest, low = view(joints.chest), view(joints.chest - (0.0, 0.17, 0.0))
    return [
        Shape(
            "bag",
            256,
            limb(
                chest + (sign * 0.55 * half, 0.01),
                low + (sign * 0.65 * half, 0.0),
                0.014,
                0.014,
            ),
        )
        for sign in (-1, 1)
    ]


def _shoulder_bag(person: Identity, joints: Joints, view: View) -> list[Shape]:
    """Strap from the left shoulder to a bag at the right hip."""
    if person.garments.bag != "shoulder bag":
        return []
    strap = limb(
        view(joints.chest - (0.0, 0.0, 0.3 * person.body.shoulders)),
        view(joints.hips[RIGHT]),
        0.012,
        0.012,
    )
    place = view(joints.pelvis + (0.0, 0.0, 0.5 * person.body.hips + 0.03))
    half = view.width(0.06, 0.15)
    return [
        Shape("bag", 256, strap),
        Shape(
            "bag", 256, quad(place - (0.0, 0.03), place + (0.0, 0.1), 0.9 * half, half)
        ),
    ]


def _hand_bag(person: Identity, joints: Joints, view: View) -> list[Shape]:
    """Hangs from the left hand."""
    if person.garments.bag != "hand bag":
        return []
    hand = view(joints.hands[LEFT])
    half = view.width(0.05, 0.14)
    return [
        Shape(
            "bag", 256, quad(hand + (0.0, 0.02), hand + (0.0, 0.13), 0.7 * half, half)
        )
    ]


def _head(person: Identity, joints: Joints, view: View) -> list[Shape]:
    """Hair all round, the face where it looks, and a hat."""
    head, tall = view(joints.head), person.body.head / 2
    half = 0.8 * tall
    shapes = [Shape("hair", 256, oval(head, half, tall))]
    seen = min(1.0, 0.62 + 0.7 * view.front)
    if seen > 0.1:
        shapes.append(
            Shape(
                "skin",
                256,
                oval(
                    head + (0.42 * half * view.side, 0.16 * tall),
                    0.78 * half * seen,
                    0.78 * tall,
                ),
            )
        )
    if person.garments.hat:
        brim = head + (0.5 * half * view.side, -0.3 * tall)
        shapes += [
            Shape(
                "hat",
                256,
                quad(
                    head - (0.0, 1.15 * tall),
                    head - (0.0, 0.3 * tall),
                    0.7 * half,
                    1.1 * half,
                ),
            )
        ]
        shapes += [Shape("hat", 220, oval(brim, 1.2 * half, 0.14 * tall))]
    return shapes


def _long_hair(person: Identity, joints: Joints, view: View) -> list[Shape]:
    if not person.garments.long_hair:
        return []
    tall = person.body.head / 2
    top = view(joints.head - (0.35 * tall, 0.0, 0.0))
    return [
        Shape(
            "hair",
            240,
            quad(
                top,
                top + (0.0, 2.3 * tall),
                0.75 * tall * max(0.7, abs(view.front)),
                0.6 * tall * max(0.7, abs(view.front)),
            ),
        )
    ]


def palette(
    person: Identity, infrared: bool, cast: tuple[float, ...]
) -> dict[str, np.ndarray]:
    """Return the colour of each material under a camera, before shades: BGR.

    Args:
        person: who is drawn.
        infrared: whether colours are one grey value three times.
        cast: gain of each channel, RGB, or the one gain in infrared.
    """
    if infrared:
        return {
            name: np.full(3, cast[0]) * colour.ir
            for name, colour in person.colours.items()
        }
    return {
        name: np.array(
            (colour.blue * cast[2], colour.green * cast[1], colour.red * cast[0])
        )
        for name, colour in person.colours.items()
    }
