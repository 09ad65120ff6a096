"""Worlds: variants of a drawn set in which one cue is dosed and all else stays.

A world is named behind a preset, "half+bad_frames=0.4" or "half+tied=1+bars=0.15".
With the usual value of every knob a set has the very bytes that it has without one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields

USUAL_BAD = 0.095
BOUNDS = {
    "bad_frames": (0, 0.8),
    "tied": (0, 1),
    "alike": (0, 16),
    "spread": (0, 3),
    "bars": (0, 0.5),
}
#: What each world is about -> its knob and the doses: low, usual or middle, high.
DOSES: dict[str, tuple[str, tuple[float, ...]]] = {
    "bad-frames": ("bad_frames", (0, USUAL_BAD, 0.4)),
    "gap": ("tied", (1, 0.5, 0)),
    "time": ("alike", (1, 2, 8)),
    "place": ("spread", (0, 1, 2)),
    "bars": ("bars", (0, 0.15, 0.3)),
}


@dataclass(frozen=True)
class World:
    """Knobs of the generator, each of one cue that a paper claims to use.

    Raises:
        ValueError: a knob is no number, or out of its bounds.
    """

    #: Share of frames with a fault: a bad box, an occluder that passes, or blur.
    bad_frames: float = USUAL_BAD
    #: How far near-infrared reflectance follows visible luminance: 1 in all, 0 not.
    tied: float = 0.5
    #: Size of the groups that share their whole appearance and differ in the rate of
    #: their strides alone: 1 nobody, n everybody. 0 makes pairs, one person in five.
    alike: int = 0
    #: How far views and backgrounds of the cameras differ: 0 all are alike, 1 usual.
    spread: float = 1.0
    #: Share of a frame's height or width that a bar hides, one bar for each tracklet.
    bars: float = 0.0

    def __post_init__(self):
        for name, (least, most) in BOUNDS.items():
            value = getattr(self, name)
            whole = name == "alike"
            fits = isinstance(value, int) or (not whole and isinstance(value, float))
            if isinstance(value, bool) or not fits or not math.isfinite(value):
                kind = "an integer" if whole else "a number"
                raise ValueError(f"{name}={value!r} of a world must be {kind}")
            if not least <= value <= most:
                allowed = f"from {least} to {most}"
                raise ValueError(f"{name}={value!r} of a world must be {allowed}")

    @property
    def usual(self) -> bool:
        """Whether no knob differs from what every set without a world has."""
        return self == World()

    @property
    def name(self) -> str:
        """Knobs that differ from the usual, as they stand behind a preset."""
        parts = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                parts.append(f"{field.name}={_text(value)}")
        return "+".join(parts)


def read(text: str) -> World:
    """Read knobs, such as "tied=1+bars=0.15".

    Raises:
        ValueError: a knob is unknown, comes twice or has no value that fits.
    """
    knobs: dict[str, float] = {}
    for part in text.split("+"):
        name, equals, value = part.partition("=")
        if name not in BOUNDS:
            known = ", ".join(BOUNDS)
            problem = f"no knob {name!r} in the world {text!r}"
            raise ValueError(f"{problem}; there are {known}")
        if not equals or name in knobs:
            why = "twice" if name in knobs else f"without a value, as in {name}=1"
            raise ValueError(f"the world {text!r} names {name} {why}")
        knobs[name] = _number(name, value)
    return World(**knobs)


def behind(preset: str, world: str | Mapping[str, float] | World) -> str:
    """Name a preset with a world: ("half", {"bars": 0.3}) -> "half+bars=0.3".

    Args:
        preset: name of a preset of the drawn set.
        world: a world, its knobs by name, or its name.

    Returns:
        The name in the one spelling that every equal world has.

    Raises:
        ValueError: a knob is unknown, or its value does not fit.
    """
    if isinstance(world, Mapping):
        if unknown := set(world) - set(BOUNDS):
            known = ", ".join(BOUNDS)
            raise ValueError(f"no knob {min(unknown)!r} of a world; there are {known}")
        world = World(**world)
    elif isinstance(world, str):
        world = read(world) if world else World()
    return "+".join(filter(None, (preset, world.name)))


def _number(name: str, text: str) -> float:
    try:
        return int(text) if text.lstrip("+-").isdigit() else float(text)
    except ValueError:
        raise ValueError(f"{name}={text!r} of a world must be a number") from None


def _text(value: float) -> str:
    """Write a number as short as it can be read back."""
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value) if whole else value)
