"""Sizes of the synthetic set: who is in it, seen by which cameras, in how many frames. The whole plan is known before anything is drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from vvi.data.synthetic import world as worlds
from vvi.data.synthetic.world import World
from vvi.types import MODALITIES, Modality

TRACKLET = 24  # frames of a full tracklet
MINIMUM = 12  # readers drop tracklets with fewer frames
CAMERAS = 12
FIRST_TEST = 503  # as in the real set; later when there are more training identities
VALIDATION = "-val"  # behind the name of a preset
OTHERS = 2**32  # seeds of sets stay below: people of a seed above it belong to no set
PLAN, LOOK_ALIKE = (
    1,
    2,
)  # first words of the seeds, so that no two streams of random numbers are the same


@dataclass(frozen=True)
class Quota:
    """Exact counts of one split and modality: tracklets, those with at least 12 frames (`kept`), and the frames of the kept and of the others."""

    tracklets: int
    kept: int
    kept_frames: int
    dropped_frames: int


@dataclass(frozen=True)
class Plan:
    """How one split is filmed: every identity by `cameras` cameras per modality, `full` tracklets of 24 frames and one of `last` (low, high) frames each.

    With quotas (by modality) the numbers of cameras and frames vary over the identities and the counts come out exactly.
    """

    identities: int
    cameras: int = 2
    full: int = 1
    last: tuple[int, int] = (8, 23)
    quotas: tuple[tuple[Modality, Quota], ...] = ()


@dataclass(frozen=True)
class Preset:
    """Sizes of one synthetic set in each layout; `still` = (train, val, test) identities of SYSU-MM01, `paired` = identities of RegDB.

    people: added to the seed of a set for who walks and how, while its cameras stay: other people at the same places.
    """

    name: str
    train: Plan
    test: Plan
    height: int = 128
    width: int = 64
    still: tuple[int, int, int] = (40, 8, 24)
    paired: int = 60
    people: int = 0
    #: Cues that are dosed (`vvi.data.synthetic.world`).
    world: World = World()

    def plan(self) -> dict[str, Any]:
        """Return all of it by name, as a manifest holds it; no world where usual."""
        said = asdict(self)
        if self.world.usual:
            del said["world"]
        return said


@dataclass(frozen=True)
class Film:
    """One sequence: consecutive frames of one identity by one camera in one modality."""

    modality: Modality
    camera: int
    frames: int

    @property
    def tracklets(self) -> list[int]:
        """Lengths of the tracklets cut from it: full ones, then the rest."""
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
PRESETS: dict[str, Preset] = {
    p.name: p
    for p in (
        Preset(
            "tiny", Plan(8), Plan(8), height=64, width=32, still=(40, 4, 12), paired=20
        ),
        Preset("half", Plan(250, cameras=3), Plan(120, cameras=3, full=1)),
        Preset(
            "standard",
            Plan(500, cameras=3),
            Plan(240, cameras=4, full=1),
            still=(80, 16, 32),
        ),
        Preset("full", _FULL_TRAIN, _FULL_TEST, still=(296, 99, 96), paired=412),
    )
}


def find(preset: str | Preset) -> Preset:
    """Return the preset of a name, "half", "half+bars=0.3" or "half+bars=0.3-val".

    Args:
        preset: a preset, behind it a world (`vvi.data.synthetic.world`), behind both
            "-val" for validation people. A `Preset` of one's own passes through.

    Returns:
        The preset; its name is the one spelling that every equal set has.

    Raises:
        ValueError: when there is no such preset, no such knob or no such dose.
    """
    if isinstance(preset, Preset):
        return preset
    name, plus, knobs = preset.removesuffix(VALIDATION).partition("+")
    if name not in PRESETS:
        known = ", ".join(PRESETS)
        raise ValueError(f"no synthetic preset {preset!r}; there are {known}")
    found = PRESETS[name]
    if plus:
        found = in_world(found, worlds.read(knobs))
    return validation(found) if preset.endswith(VALIDATION) else found


def in_world(preset: Preset, world: World) -> Preset:
    """Return a preset with the cues of a world, named for it."""
    return replace(preset, name=worlds.behind(preset.name, world), world=world)


def from_plan(said: Mapping[str, Any]) -> Preset:
    """Return the preset of a manifest, from its `plan`."""
    parts = {part: Plan(**said[part]) for part in ("train", "test")}
    return Preset(**{**said, **parts, "world": World(**said.get("world", {}))})


def validation(preset: Preset) -> Preset:
    """People to choose settings on: drawn and filmed as the test people of a preset are, by the same cameras, and nobody of the set itself. Their training half is a formality."""
    return replace(preset, name=preset.name + VALIDATION, train=Plan(2), people=OTHERS)


def identities(preset: Preset) -> dict[str, range]:
    """Identity numbers of the two splits."""
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
        alike: `World.alike`, the size of the groups; 0: pairs, one person in five.

    Returns:
        Identity -> its group, named by the smallest number in it; who looks like
        nobody else is left out.
    """
    rng = np.random.default_rng([seed, LOOK_ALIKE, numbers[0]])
    if alike:
        return _groups(rng.permutation(numbers), alike)
    chosen = rng.permutation(numbers)[: 2 * max(1, round(len(numbers) / 10))]
    pairs = [
        sorted(int(i) for i in pair)
        for pair in zip(chosen[::2], chosen[1::2], strict=True)
    ]
    return {identity: first for first, second in pairs for identity in (first, second)}


def _groups(mixed: np.ndarray, size: int) -> dict[int, int]:
    """Cut people into groups of a size, the last one with what is left over."""
    found: dict[int, int] = {}
    for first in range(0, len(mixed), size):
        members = mixed[first : first + size].tolist()
        if len(members) > 1:
            found |= dict.fromkeys(members, min(members))
    return found


def members(groups: Mapping[int, int]) -> dict[int, tuple[int, int]]:
    """Return position and size of the group of everybody who is in one."""
    sizes, found = Counter(groups.values()), {}
    seen: Counter[int] = Counter()
    for number in sorted(groups):
        group = groups[number]
        found[number] = (seen[group], sizes[group])
        seen[group] += 1
    return found


def films(preset: Preset, seed: int) -> dict[int, list[Film]]:
    """Identity -> its sequences, visible before infrared, cameras ascending; computed without drawing anything."""
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
    """Return whom the test tracklets of a modality show, in the order of the lists.

    Args:
        preset: the set.
        seed: of the set.
        modality: of the tracklets.
        least: readers drop tracklets with fewer frames.
    """
    plan, found = films(preset, seed + preset.people), []
    for identity in identities(preset)["test"]:
        for film in plan[identity]:
            if film.modality == modality:
                found += [identity] * sum(length >= least for length in film.tracklets)
    return found


def _filmed(
    rng: np.random.Generator,
    numbers: range,
    part: Plan,
    modality: Modality,
) -> Iterator[tuple[int, Film]]:
    """Sequences of one split and modality in the order of identities."""
    if quota := dict(part.quotas).get(modality):
        counts, frames = _by_quota(rng, len(numbers), quota)
    else:
        counts = np.full(len(numbers), part.cameras)
        frames = part.full * TRACKLET + rng.integers(
            part.last[0], part.last[1] + 1, counts.sum()
        )
    frames = iter(frames.tolist())
    for identity, count in zip(numbers, counts, strict=True):
        for camera in sorted(rng.choice(CAMERAS, count, replace=False) + 1):
            yield identity, Film(modality, int(camera), next(frames))


def _by_quota(
    rng: np.random.Generator,
    people: int,
    quota: Quota,
) -> tuple[np.ndarray, np.ndarray]:
    """Cameras of each identity and frames of each sequence such that the counts of `quota` come out exactly.

    The last tracklet of a sequence has 1 to 24 frames, so about 11 sequences in 24 end with one that readers drop: this gives the number of sequences.
    """
    dropped = quota.tracklets - quota.kept
    sequences = max(2 * people, round(dropped * TRACKLET / (MINIMUM - 1)))
    last = np.concatenate(
        (
            _integers_of_sum(rng, dropped, 1, MINIMUM - 1, quota.dropped_frames),
            _integers_of_sum(
                rng,
                sequences - dropped,
                MINIMUM,
                TRACKLET,
                quota.kept_frames - TRACKLET * (quota.tracklets - sequences),
            ),
        )
    )
    full = 1 + rng.multinomial(
        quota.tracklets - 2 * sequences, np.full(sequences, 1 / sequences)
    )
    counts = 2 + rng.multinomial(sequences - 2 * people, np.full(people, 1 / people))
    while (
        counts > CAMERAS
    ).any():  # nobody is seen by more cameras than there are: hand the excess to whoever has fewest
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
    """`count` integers in [low, high] with this sum, close to uniform."""
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
