"""Sizes of the synthetic set: its identities, cameras and frames.

The whole plan is known before anything is drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from vvi.data.synthetic import world as worlds
from vvi.data.synthetic.world import World
from vvi.types import MODALITIES, Modality

#: Frames of a full tracklet.
TRACKLET = 24
#: Readers drop tracklets with fewer frames.
MINIMUM = 12
CAMERAS = 12
#: First test identity, as in the real set, unless training has more identities.
FIRST_TEST = 503
#: Suffix of the name of a preset.
VALIDATION = "-val"
#: Seeds of sets stay below. People of a seed above it belong to no set.
OTHERS = 2**32
#: First words of seeds, so that no two random streams are the same.
PLAN, LOOK_ALIKE = 1, 2


@dataclass(frozen=True)
class Quota:
    """Exact counts of one split and modality."""

    tracklets: int
    #: Tracklets of at least `MINIMUM` frames.
    kept: int
    #: Frames in these.
    kept_frames: int
    #: Frames in the others.
    dropped_frames: int


@dataclass(frozen=True)
class Plan:
    """How one split is filmed."""

    identities: int
    #: Cameras of each identity and modality.
    cameras: int = 2
    #: Tracklets of `TRACKLET` frames in each sequence.
    full: int = 1
    #: Least and most frames of the last tracklet of a sequence.
    last: tuple[int, int] = (8, 23)
    #: By modality. With quotas the numbers of cameras and frames vary over the
    #: identities so that the counts come out exactly.
    quotas: tuple[tuple[Modality, Quota], ...] = ()


@dataclass(frozen=True)
class Preset:
    """Sizes of one synthetic set in each layout."""

    name: str
    train: Plan
    test: Plan
    #: Height of a frame in pixels.
    height: int = 128
    #: Width of a frame in pixels.
    width: int = 64
    #: Identities of train, val and test in the layout of SYSU-MM01.
    still: tuple[int, int, int] = (40, 8, 24)
    #: Identities in the layout of RegDB.
    paired: int = 60
    #: Added to the seed for people and walks, not for cameras: others, filmed alike.
    people: int = 0
    #: Cues that are dosed (`vvi.data.synthetic.world`).
    world: World = World()

    def plan(self) -> dict[str, Any]:
        """Return all fields by name, as a manifest holds them.

        The usual world is left out.
        """
        plan = asdict(self)
        if self.world.usual:
            del plan["world"]
        return plan


@dataclass(frozen=True)
class Film:
    """One sequence: consecutive frames of an identity by one camera and modality."""

    modality: Modality
    camera: int
    frames: int

    @property
    def tracklets(self) -> list[int]:
        """Lengths of the tracklets cut from it: full ones, then the remainder."""
        full, rest = divmod(self.frames, TRACKLET)
        return [TRACKLET] * full + [rest] * (rest > 0)


_FULL_TRAIN = Plan(
    500,
    quotas=(
        ("vis", Quota(6142, 5460, 126_543, 3789)),
        ("ir", Quota(4919, 4291, 98_214, 3950)),
    ),
)
_FULL_TEST = Plan(
    427,
    quotas=(
        ("vis", Quota(5643, 5099, 118_137, 2983)),
        ("ir", Quota(5159, 4584, 105_979, 3664)),
    ),
)
_SIZES = (
    Preset("tiny", Plan(8), Plan(8), height=64, width=32, still=(40, 4, 12), paired=20),
    Preset("half", Plan(250, cameras=3), Plan(120, cameras=3, full=1)),
    Preset(
        "standard",
        Plan(500, cameras=3),
        Plan(240, cameras=4, full=1),
        still=(80, 16, 32),
    ),
    Preset("full", _FULL_TRAIN, _FULL_TEST, still=(296, 99, 96), paired=412),
)
PRESETS: dict[str, Preset] = {preset.name: preset for preset in _SIZES}


def find(preset: str | Preset) -> Preset:
    """Return the preset of a name, "half", "half+bars=0.3" or "half+bars=0.3-val".

    Args:
        preset: a preset, behind it a world (`vvi.data.synthetic.world`), behind both
            "-val" for validation people. A `Preset` of one's own passes through.

    Returns:
        The preset. Its name is the one spelling that every equal set has.

    Raises:
        ValueError: when there is no such preset, no such knob or no such dose.
    """
    if isinstance(preset, Preset):
        return preset
    name, plus, knobs = preset.removesuffix(VALIDATION).partition("+")
    if name not in PRESETS:
        known = ", ".join(PRESETS)
        raise ValueError(f"no synthetic preset {preset!r}; there are {known}")
    base = PRESETS[name]
    if plus:
        base = in_world(base, worlds.read(knobs))
    return validation(base) if preset.endswith(VALIDATION) else base


def in_world(preset: Preset, world: World) -> Preset:
    """Return a preset with the cues of a world, named for it."""
    return replace(preset, name=worlds.behind(preset.name, world), world=world)


def from_plan(plan: Mapping[str, Any]) -> Preset:
    """Return the preset of a manifest, from its `plan`."""
    parts = {part: Plan(**plan[part]) for part in ("train", "test")}
    return Preset(**{**plan, **parts, "world": World(**plan.get("world", {}))})


def validation(preset: Preset) -> Preset:
    """Return the preset of validation people, on whom settings are chosen.

    They are drawn and filmed as the test people, by the same cameras, and nobody of the
    set is among them. Their training half is a formality.
    """
    return replace(preset, name=preset.name + VALIDATION, train=Plan(2), people=OTHERS)


def identities(preset: Preset) -> dict[str, range]:
    """Return the identity numbers of both splits."""
    first = max(FIRST_TEST, preset.train.identities + 3)
    return {
        "train": range(1, preset.train.identities + 1),
        "test": range(first, first + preset.test.identities),
    }


def look_alikes(numbers: Sequence[int], seed: int, alike: int = 0) -> dict[int, int]:
    """Return the group of each identity that looks like another.

    Args:
        numbers: identities of one split.
        seed: of the people.
        alike: `World.alike`, the size of the groups. 0 makes pairs, one person in five.

    Returns:
        Identity -> its group, named by the smallest number in it. Identities that look
        like nobody else are left out.
    """
    rng = np.random.default_rng([seed, LOOK_ALIKE, numbers[0]])
    if alike:
        return _groups(rng.permutation(numbers).tolist(), alike)
    mixed = rng.permutation(numbers).tolist()
    return _groups(mixed[: 2 * max(1, round(len(numbers) / 10))], 2)


def _groups(mixed: Sequence[int], size: int) -> dict[int, int]:
    """Cut people into groups of a size. One person left over is in no group."""
    groups: dict[int, int] = {}
    for first in range(0, len(mixed), size):
        members = mixed[first : first + size]
        if len(members) > 1:
            groups |= dict.fromkeys(members, min(members))
    return groups


def members(groups: Mapping[int, int]) -> dict[int, tuple[int, int]]:
    """Return the position of everybody in their group, and its size."""
    sizes, positions = Counter(groups.values()), {}
    seen: Counter[int] = Counter()
    for number in sorted(groups):
        group = groups[number]
        positions[number] = (seen[group], sizes[group])
        seen[group] += 1
    return positions


def films(preset: Preset, seed: int) -> dict[int, list[Film]]:
    """Return the sequences of each identity, visible first, cameras ascending."""
    plan: dict[int, list[Film]] = {}
    for split, numbers in identities(preset).items():
        part = preset.train if split == "train" else preset.test
        plan |= {identity: [] for identity in numbers}
        for modality in MODALITIES:
            rng = np.random.default_rng(
                [seed, PLAN, numbers.start, MODALITIES.index(modality)]
            )
            for identity, film in _filmed(rng, numbers, part, modality):
                plan[identity].append(film)
    return plan


def queries(
    preset: Preset,
    seed: int,
    modality: Modality,
    least: int = MINIMUM,
) -> list[int]:
    """Return the identities of the test tracklets of a modality, in list order.

    Args:
        preset: the set.
        seed: of the set.
        modality: of the tracklets.
        least: readers drop tracklets with fewer frames.
    """
    plan, owners = films(preset, seed + preset.people), []
    for identity in identities(preset)["test"]:
        for film in plan[identity]:
            if film.modality == modality:
                kept = [length for length in film.tracklets if length >= least]
                owners += [identity] * len(kept)
    return owners


def _filmed(
    rng: np.random.Generator,
    numbers: range,
    part: Plan,
    modality: Modality,
) -> Iterator[tuple[int, Film]]:
    """Yield the sequences of one split and modality in the order of identities.

    Args:
        rng: the generator.
        numbers: identities of the split.
        part: its plan.
        modality: of the sequences.
    """
    quota = dict(part.quotas).get(modality)
    if quota:
        counts, frames = _by_quota(rng, len(numbers), quota)
    else:
        counts = np.full(len(numbers), part.cameras)
        low, high = part.last
        last = rng.integers(low, high + 1, counts.sum())
        frames = part.full * TRACKLET + last
    remaining = iter(frames.tolist())
    for identity, count in zip(numbers, counts, strict=True):
        for camera in sorted(rng.choice(CAMERAS, count, replace=False) + 1):
            yield identity, Film(modality, int(camera), next(remaining))


def _by_quota(
    rng: np.random.Generator,
    people: int,
    quota: Quota,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw cameras and frames such that the counts of a quota come out exactly.

    The last tracklet of a sequence has 1 to 24 frames, so about 11 sequences in 24 end
    with one that readers drop. This gives the number of sequences.

    Args:
        rng: the generator.
        people: number of identities.
        quota: the counts.

    Returns:
        Cameras of each identity, frames of each sequence.
    """
    dropped = quota.tracklets - quota.kept
    sequences = max(2 * people, round(dropped * TRACKLET / (MINIMUM - 1)))
    full_frames = TRACKLET * (quota.tracklets - sequences)
    kept_frames = quota.kept_frames - full_frames
    short = _integers_of_sum(rng, dropped, 1, MINIMUM - 1, quota.dropped_frames)
    long = _integers_of_sum(rng, sequences - dropped, MINIMUM, TRACKLET, kept_frames)
    last = np.concatenate((short, long))
    extra = quota.tracklets - 2 * sequences
    full = 1 + rng.multinomial(extra, np.full(sequences, 1 / sequences))
    counts = 2 + rng.multinomial(sequences - 2 * people, np.full(people, 1 / people))
    # more cameras than there are: one goes to the person with the fewest
    while (counts > CAMERAS).any():
        counts[counts.argmax()] -= 1
        counts[counts.argmin()] += 1
    return counts, full * TRACKLET + rng.permutation(last)


def _integers_of_sum(
    rng: np.random.Generator,
    count: int,
    low: int,
    high: int,
    total: int,
) -> np.ndarray:
    """Draw integers of a given sum, close to uniform.

    Args:
        rng: the generator.
        count: how many.
        low: least value.
        high: greatest value.
        total: the sum.
    """
    if not low * count <= total <= high * count:
        raise ValueError(
            f"{count} numbers between {low} and {high} cannot sum to {total}"
        )
    values = rng.integers(low, high + 1, count)
    while (missing := total - int(values.sum())) != 0:
        step = 1 if missing > 0 else -1
        free = np.flatnonzero(values < high if step > 0 else values > low)
        values[rng.choice(free, min(abs(missing), len(free)), replace=False)] += step
    return values
