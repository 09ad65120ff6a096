"""The random factors of each person: body, garments, colours in both modalities, gait.

Each identity has random generators of its own, seeded by (seed, stream, identity), so
any part of a set can be drawn alone and in any order. Two identities of a look-alike
group share every factor but the timing of the walk: each pose of one occurs in the
other.
"""

from __future__ import annotations

import colorsys
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np

APPEARANCE, GAIT = 3, 4
PATTERNS = ("plain", "stripes", "bars", "checks", "block", "logo", "sash", "vest")
BAGS = ("none", "backpack", "shoulder bag", "hand bag")
LOWER = ("trousers", "shorts", "skirt")
SLEEVES = ("none", "short", "long")
#: The usual `World.tied`.
TIED = 0.5
#: Stride rates of a look-alike pair, in cycles per frame at 5 frames a second.
SLOW, FAST = (0.10, 0.14), (0.18, 0.24)


class Colour(NamedTuple):
    """One material: visible and near-infrared reflectance, 0 to 255."""

    red: int
    green: int
    blue: int
    ir: int

    @property
    def luminance(self) -> float:
        return 0.299 * self.red + 0.587 * self.green + 0.114 * self.blue


@dataclass(frozen=True)
class Body:
    """Proportions, as shares of the person's height.

    `height` itself is the share of a detector's box that the person fills.
    """

    height: float
    girth: float
    legs: float
    shoulders: float
    hips: float
    head: float
    arms: float


@dataclass(frozen=True)
class Garments:
    """What a person wears and carries, with colours in `Identity.colours`."""

    sleeves: str
    lower: str
    coat: bool
    hem: float
    pattern: str
    repeats: int
    bag: str
    long_hair: bool
    hat: bool
    boots: bool
    side_stripe: bool


@dataclass(frozen=True)
class Gait:
    """How a person walks, in radians and shares of the height.

    Only `rate`, in strides per frame at 5 frames a second, is timing.
    """

    rate: float
    leg_swing: float
    leg_asymmetry: float
    arm_left: float
    arm_right: float
    elbow: float
    knee: float
    lean: float
    bob: float
    sway: float


@dataclass(frozen=True)
class Identity:
    """One person."""

    identity: int
    split: str
    #: Smallest number of those who look the same, -1 for nobody.
    look_alike_group: int
    body: Body
    garments: Garments
    gait: Gait
    colours: dict[str, Colour]

    def row(self) -> dict[str, object]:
        """Return the line of `factors.csv`."""
        columns: dict[str, object] = {
            "identity": self.identity,
            "split": self.split,
            "look_alike_group": self.look_alike_group,
        }
        for part in (self.body, self.garments, self.gait):
            for key, value in asdict(part).items():
                columns[key] = round(value, 5) if isinstance(value, float) else value
        for name, colour in self.colours.items():
            visible = f"#{colour.red:02x}{colour.green:02x}{colour.blue:02x}"
            columns |= {f"{name}_vis": visible, f"{name}_ir": colour.ir}
        return columns


def person(
    number: int,
    split: str,
    group: int,
    seed: int,
    member: tuple[int, int] = (0, 1),
    tied: float = TIED,
) -> Identity:
    """Draw one identity.

    Args:
        number: the identity.
        split: "train" or "test", or what the layout calls its parts.
        group: smallest number of those who share looks and poses, -1 for nobody.
        seed: of the people.
        member: position in the group and its size. Members walk at rates from ranges
            that do not meet.
        tied: `World.tied`.
    """
    look = np.random.default_rng([seed, APPEARANCE, number if group < 0 else group])
    own = np.random.default_rng([seed, GAIT, number])
    body, garments = _body(look), _garments(look)
    colours, shape = _colours(look, tied), _poses(look)
    rate = float(own.uniform(*rates(group, *member)))
    gait = Gait(rate=rate, **shape)
    return Identity(number, split, group, body, garments, gait, colours)


def rates(group: int, position: int, size: int) -> tuple[float, float]:
    """Return the range of stride rates of one member of a group.

    Args:
        group: its smallest number, -1 for nobody.
        position: of the member, from 0.
        size: of the group.
    """
    if group < 0:
        return SLOW[0], FAST[1]
    if size == 2:
        return SLOW if (position == 0) == (group % 2 == 0) else FAST
    step = (FAST[1] - SLOW[0]) / size
    low = SLOW[0] + (position + group) % size * step
    return low, low + step / 2


def _body(rng: np.random.Generator) -> Body:
    """Draw proportions, widely spread since both modalities show them."""
    return Body(
        height=float(rng.uniform(0.84, 0.96)),
        girth=float(rng.uniform(0.7, 1.5)),
        legs=float(rng.uniform(0.41, 0.56)),
        shoulders=float(rng.uniform(0.17, 0.29)),
        hips=float(rng.uniform(0.10, 0.20)),
        head=float(rng.uniform(0.085, 0.16)),
        arms=float(rng.uniform(0.31, 0.40)),
    )


def _garments(rng: np.random.Generator) -> Garments:
    return Garments(
        sleeves=SLEEVES[rng.choice(3, p=(0.15, 0.35, 0.5))],
        lower=LOWER[rng.choice(3, p=(0.6, 0.2, 0.2))],
        coat=bool(rng.random() < 0.2),
        hem=float(rng.uniform(0.3, 0.6)),
        pattern=PATTERNS[rng.integers(len(PATTERNS))],
        repeats=int(rng.integers(2, 5)),
        bag=BAGS[rng.choice(4, p=(0.3, 0.3, 0.2, 0.2))],
        long_hair=bool(rng.random() < 0.4),
        hat=bool(rng.random() < 0.2),
        boots=bool(rng.random() < 0.25),
        side_stripe=bool(rng.random() < 0.2),
    )


def _poses(rng: np.random.Generator) -> dict[str, float]:
    """Draw the gait factors that shape poses, all but the rate."""
    return dict(
        leg_swing=float(rng.uniform(0.22, 0.42)),
        leg_asymmetry=float(rng.uniform(-0.2, 0.2)),
        arm_left=float(rng.uniform(0.1, 0.9)),
        arm_right=float(rng.uniform(0.1, 0.9)),
        elbow=float(rng.uniform(0.0, 1.1)),
        knee=float(rng.uniform(0.4, 1.0)),
        lean=float(rng.uniform(-0.06, 0.14)),
        bob=float(rng.uniform(0.0, 0.015)),
        sway=float(rng.uniform(0.0, 0.03)),
    )


def reflectance(rng: np.random.Generator, luminance: float, tied: float = TIED) -> int:
    """Draw a near-infrared grey value, which is the modality gap.

    Usually it is half visible luminance and half chance. It never depends on the hue.

    Args:
        rng: the generator.
        luminance: visible, 0 to 255.
        tied: share of luminance in it.
    """
    return round(tied * luminance + (1 - tied) * rng.uniform(25, 235))


def follow(ir: float, luminance: float, tied: float) -> int:
    """Tie an infrared grey value to luminance where `tied` is above the usual.

    Args:
        ir: the value.
        luminance: visible, 0 to 255.
        tied: `World.tied`.
    """
    more = max(0.0, (tied - TIED) / (1 - TIED))
    return round(more * luminance + (1 - more) * ir)


def dye(
    rng: np.random.Generator,
    luminance: float,
    saturation: tuple[float, float],
    hue: tuple[float, float] = (0, 1),
    tied: float = TIED,
) -> Colour:
    """Draw a colour of a given luminance, scaled to black or mixed with white.

    Hue and luminance are independent by construction.

    Args:
        rng: the generator.
        luminance: 0 to 255.
        saturation: least and greatest.
        hue: least and greatest.
        tied: `World.tied`.
    """
    rgb = colorsys.hsv_to_rgb(rng.uniform(*hue), rng.uniform(*saturation), 1.0)
    own = 255 * (0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2])
    scale, white = 1.0, 0.0
    if luminance <= own:
        scale = luminance / own
    else:
        white = (luminance - own) / (255 - own)
    red, green, blue = (round(255 * (c * scale * (1 - white) + white)) for c in rgb)
    return Colour(red, green, blue, reflectance(rng, luminance, tied))


def _colours(rng: np.random.Generator, tied: float) -> dict[str, Colour]:
    top = dye(rng, rng.uniform(25, 225), (0.1, 1.0), tied=tied)
    colours = {
        "top": top,
        "second": _contrast(rng, top, tied),
        "bottom": dye(rng, rng.uniform(25, 215), (0.1, 1.0), tied=tied),
        "shoe": dye(rng, rng.uniform(15, 235), (0.0, 0.6), tied=tied),
        "bag": dye(rng, rng.uniform(25, 225), (0.1, 1.0), tied=tied),
        "hair": dye(rng, rng.uniform(15, 150), (0.3, 0.8), (0.03, 0.13), tied),
        "hat": dye(rng, rng.uniform(25, 230), (0.1, 1.0), tied=tied),
    }
    skin = dye(rng, rng.uniform(80, 200), (0.3, 0.6), (0.03, 0.09))
    bright = follow(rng.uniform(185, 215), skin.luminance, tied)
    return colours | {"skin": skin._replace(ir=bright)}


def _contrast(rng: np.random.Generator, first: Colour, tied: float) -> Colour:
    """Draw the second colour of a pattern, whose edges survive in both modalities.

    It is at least 70 grey levels from the first in visible light and 50 in infrared.
    Where infrared is less tied than usual, which of both is brighter in infrared is
    independent of luminance. Where it is fully tied, luminance alone decides.

    Args:
        rng: the generator.
        first: the first colour.
        tied: `World.tied`.
    """
    step = rng.uniform(70, 110)
    darker = first.luminance > 125
    luminance = first.luminance - step if darker else first.luminance + step
    second = dye(rng, luminance, (0.0, 1.0))
    infrared = rng.uniform(50, 100)
    up = luminance > first.luminance if tied >= TIED else first.ir < 130
    brighter = first.ir < 90 or (first.ir < 170 and up)
    other = first.ir + infrared if brighter else first.ir - infrared
    return second._replace(ir=follow(other, luminance, tied))
