"""Several walkers cross the view of one camera and hide one another.

Frames are as a surveillance camera gives them, by day and by night, and every box is
known. The same values give the same walks in both modalities, so day and night differ
in light alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from vvi.data.synthetic import body, draw, dress, layouts, presets
from vvi.data.synthetic.body import View
from vvi.data.synthetic.factors import Identity
from vvi.data.synthetic.filming import LIGHT, NOISE_ROOM
from vvi.data.synthetic.scene import Scene, scene
from vvi.data.video import write_video
from vvi.runtime import atomic, paths, validation
from vvi.types import MODALITIES, Modality

VERSION = 2
CROSSING = 8  # first word of the seeds
RATE = 25  # frames a second, of which tracklets keep every fifth
CHUNK = 25  # frames that are lit and blurred at a time
SIZES = (
    0.38,
    0.5,
)  # of the picture's height: a person at the far and at the near edge of the walkway
FAR, NEAR = 0.75, 0.97  # the walkway, as shares of the picture's height
SLANT = 20  # degrees by which a way departs from the image plane, at most


@dataclass(frozen=True)
class Crossing:
    """Who crosses which scenery."""

    #: Identities of the synthetic set.
    people: tuple[int, ...]
    camera: int = 1
    frames: int = 200
    height: int = 240
    width: int = 400
    #: Other values draw other walks of the same people.
    take: int = 0
    #: Name of the synthetic set.
    preset: str = "standard"
    seed: int = 0


@dataclass(frozen=True)
class _Walker:
    """One person on the way."""

    person: Identity
    view: View
    #: Height in pixels.
    size: float
    #: 0 (far) to 1 (near).
    depth: float
    #: Point of the picture under the hip: (T, 2).
    feet: np.ndarray
    joints: body.Joints


def film(
    crossing: Crossing, modality: Modality, moments: Sequence[int] | None = None
) -> tuple[np.ndarray, pd.DataFrame]:
    """Draw a crossing.

    Args:
        crossing: who crosses what.
        modality: by day or by night.
        moments: only these frames, all by default.

    Returns:
        Frames (T, H, W, 3) uint8 RGB, and the truth: one row per person in each frame
        that shows any of the body. Columns: frame (from 0), identity, x1, y1, x2, y2
        (of the whole body, clipped to the picture), visible (share of the body's pixels
        that is seen).

    Raises:
        ValueError: there is no such camera or person, or one person is named twice.
    """
    _refuse_impossible(crossing)
    height, width = crossing.height, crossing.width
    moments = np.arange(crossing.frames) if moments is None else np.asarray(moments)
    spread = presets.find(crossing.preset).world.spread
    background = scene(crossing.camera, modality, height, width, crossing.seed, spread)
    walkers = _walkers(crossing, background, moments)
    frames = np.repeat(_scenery(background, height, width)[None], len(moments), 0)
    owner = np.zeros((len(moments), height, width), np.uint8)
    bodies = [
        _paint(frames, owner, number, walker, modality, background)
        for number, walker in enumerate(walkers, 1)
    ]
    return _shown(frames, crossing, modality, background, moments), _truth(
        walkers, bodies, owner, moments
    )


def write_crossing(crossing: Crossing, modality: Modality, path: str | Path) -> Path:
    """Write a video, and the truth as a CSV file of the same name.

    Args:
        crossing: who crosses what.
        modality: by day or by night.
        path: of the video.

    Returns:
        The path of the video.
    """
    path = validation.at_home(path)
    frames, truth = film(crossing, modality)
    write_video(path, frames, RATE)
    atomic.write(
        path.with_suffix(".csv"),
        truth.to_csv(index=False, lineterminator="\n", float_format="%.4f").encode(),
    )
    return path


def stored(crossing: Crossing, modality: Modality) -> Path:
    """Return the video of a crossing in the cache folder, drawn on first use."""
    digest = hashlib.sha256(f"{VERSION} {crossing}".encode()).hexdigest()[:12]
    path = paths.cache() / "crossings" / f"{digest}-{modality}.mp4"
    return (
        path
        if path.is_file() and path.with_suffix(".csv").is_file()
        else write_crossing(crossing, modality, path)
    )


def read_truth(path: str | Path) -> pd.DataFrame:
    """Read the truth of a crossing from the CSV file beside its video.

    Raises:
        ValueError: the file is another table, or none.
    """
    file = validation.at_home(path).with_suffix(".csv")
    try:
        truth = pd.read_csv(file)
    except ValueError as error:  # all that pandas says of a file that it cannot read
        raise ValueError(f"{file} is no table: {str(error).splitlines()[0]}") from error
    if missing := {"frame", "identity", "x1", "y1", "x2", "y2"} - set(truth):
        columns = ", ".join(sorted(missing))
        what = f"is no truth of a crossing: it has no column {columns}"
        raise ValueError(f"{file} {what}")
    return truth


def _refuse_impossible(crossing: Crossing) -> None:
    """Refuse a camera that there is not, and a person who would cross twice."""
    if not 1 <= crossing.camera <= presets.CAMERAS:
        raise ValueError(
            f"camera={crossing.camera}: choose a camera from 1 to {presets.CAMERAS}"
        )
    people = crossing.people
    twice = [number for number in people if people.count(number) > 1]
    if twice:
        raise ValueError(f"identity {twice[0]} is named twice: name each person once")


def _walkers(
    crossing: Crossing, background: Scene, moments: np.ndarray
) -> list[_Walker]:
    """Everybody, the farthest first."""
    known = everyone(crossing.preset, crossing.seed)
    if unknown := [number for number in crossing.people if number not in known]:
        raise ValueError(
            f"the synthetic preset {crossing.preset!r} has no identity {unknown[0]}"
        )
    walkers = [
        _walker(crossing, known[number], background, moments)
        for number in crossing.people
    ]
    return sorted(walkers, key=lambda walker: walker.depth)


@lru_cache(maxsize=4)
def everyone(preset: str, seed: int) -> dict[int, Identity]:
    """Return the people of a synthetic set by identity, test people last."""
    size = presets.find(preset)
    return layouts.people("hitsz-vcm", size, seed + size.people)


def _walker(
    crossing: Crossing, person: Identity, background: Scene, moments: np.ndarray
) -> _Walker:
    """Draw a walk through the middle of the picture, midway in the film.

    The standing foot does not move on the ground.
    """
    rng = np.random.default_rng(
        [crossing.seed, CROSSING, crossing.camera, crossing.take, person.identity]
    )
    near = rng.random()
    size = (
        crossing.height
        * (SIZES[0] + near * (SIZES[1] - SIZES[0]))
        * person.body.height
        / 0.9
    )
    slant = rng.uniform(-SLANT, SLANT)
    view = View(slant if rng.random() < 0.5 else 180 - slant, background.camera.pitch)
    start, meeting = rng.random(), int(crossing.frames * rng.uniform(0.2, 0.8))
    joints, there = (
        body.joints(
            person, start + person.gait.rate / layouts.STEP * np.atleast_1d(when)
        )
        for when in (moments, meeting)
    )
    way = size * (joints.advance - there.advance)
    middle = (
        crossing.width * rng.uniform(0.15, 0.85),
        crossing.height * (FAR + near * (NEAR - FAR)),
    )
    feet = np.stack(
        (middle[0] + way * view.side, middle[1] + way * view.front * view.pitch), 1
    )
    return _Walker(person, view, size, near, feet, joints)


def _scenery(background: Scene, height: int, width: int) -> np.ndarray:
    """(H, W, C): wall above the horizon, ground below."""
    horizon = round(background.camera.horizon * height)
    return np.concatenate(
        (
            background.wall[len(background.wall) - horizon :, :width],
            background.ground[: height - horizon, :width],
        )
    )


def _paint(
    frames: np.ndarray,
    owner: np.ndarray,
    number: int,
    walker: _Walker,
    modality: Modality,
    background: Scene,
) -> pd.DataFrame:
    """Draw one person over the frames, in place.

    Args:
        frames: (T, H, W, C).
        owner: number of the person that each pixel shows: (T, H, W).
        number: of this person.
        walker: who, and where in each frame.
        modality: of the frames.
        background: the scenery.

    Returns:
        A row per frame: x1, y1, x2, y2 of the body, unclipped, and its pixels.
    """
    shapes = dress.figure(walker.person, walker.joints, walker.view)
    points = (
        np.concatenate([shape.points for shape in shapes], 1) * walker.size
        + walker.feet[:, None]
    )
    corner = np.floor(points.min(1)).astype(np.int64) - 1
    wide, tall = np.ceil((points - corner[:, None]).max((0, 1))).astype(int) + 2
    fixed = np.rint(
        (points - corner[:, None] - 0.25) * (draw.FINE << draw.SHIFT)
    ).astype(np.int32)
    fixed = np.split(
        fixed, np.cumsum([shape.points.shape[1] for shape in shapes])[:-1], 1
    )
    figures = draw.rasterise(
        shapes, draw.colours(walker.person, modality, background), fixed, tall, wide
    )
    height, width = frames.shape[1:3]
    rows = []
    for t, (left, top) in enumerate(corner.tolist()):
        solid = figures[t, ..., 3] >= 128
        across, down = np.flatnonzero(solid.any(0)), np.flatnonzero(solid.any(1))
        rows.append(
            (
                left + across[0],
                top + down[0],
                left + across[-1] + 1,
                top + down[-1] + 1,
                solid.sum(),
            )
        )
        window = (
            slice(max(0, top), max(0, min(height, top + tall))),
            slice(max(0, left), max(0, min(width, left + wide))),
        )
        part = (
            figures[
                t,
                window[0].start - top : window[0].stop - top,
                window[1].start - left : window[1].stop - left,
            ]
            if _inside(window)
            else None
        )
        if part is not None:
            frames[t][window] = draw.composite(
                part[..., : frames.shape[3]], part[..., 3], frames[t][window]
            )
            owner[t][window][part[..., 3] >= 128] = number
    return pd.DataFrame(rows, columns=["x1", "y1", "x2", "y2", "pixels"])


def _inside(window: tuple[slice, slice]) -> bool:
    return all(part.start < part.stop for part in window)


def _shown(
    frames: np.ndarray,
    crossing: Crossing,
    modality: Modality,
    background: Scene,
    moments: np.ndarray,
) -> np.ndarray:
    """Light, lens and grain: what the sensor gives, three channels also in infrared."""
    rng = np.random.default_rng(
        [
            crossing.seed,
            CROSSING,
            crossing.camera,
            crossing.take,
            MODALITIES.index(modality),
        ]
    )
    light = rng.uniform(*LIGHT[modality]) + np.zeros(len(frames))
    noise_at = rng.integers(0, NOISE_ROOM, (crossing.frames, 2))[moments]
    seen = np.empty((*frames.shape[:3], 3), np.uint8)
    for start in range(0, len(frames), CHUNK):
        part = slice(start, start + CHUNK)
        drawn = draw.lit(frames[part].astype(np.uint16), light[part], background)
        seen[part] = draw.sensed(
            drawn, noise_at[part], np.zeros(len(drawn), np.int64), background
        )[..., ::-1]
    return seen


def _truth(
    walkers: list[_Walker],
    bodies: list[pd.DataFrame],
    owner: np.ndarray,
    moments: np.ndarray,
) -> pd.DataFrame:
    height, width = owner.shape[1:]
    parts = []
    for number, (walker, table) in enumerate(zip(walkers, bodies, strict=True), 1):
        seen = (owner == number).sum((1, 2))
        table = table.assign(
            frame=moments, identity=walker.person.identity, visible=seen / table.pixels
        )
        for name, limit in (
            ("x1", width),
            ("x2", width),
            ("y1", height),
            ("y2", height),
        ):
            table[name] = table[name].clip(0, limit)
        parts.append(table[(table.x2 > table.x1) & (table.y2 > table.y1)])
    columns = ["frame", "identity", "x1", "y1", "x2", "y2", "visible"]
    if not parts:
        return pd.DataFrame(columns=columns)
    return pd.concat(parts)[columns].sort_values(
        ["frame", "identity"], ignore_index=True
    )
