"""Measure what the data sheet claims of a written set.

Claims are about what pixels, embossed pixels and the known factors can tell. All
numbers are about synthetic walkers. Distances are Euclidean between single frames
without fault, one per tracklet. A gallery never holds frames of the query's camera.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from vvi.data.synthetic import draw, filming, layouts, presets
from vvi.data.synthetic.factors import Body, Gait, Garments, Identity
from vvi.data.synthetic.filming import CAMERAS
from vvi.data.synthetic.presets import TRACKLET, Film
from vvi.data.synthetic.read import read_factors, read_frames
from vvi.data.synthetic.scene import scene
from vvi.data.synthetic.store import MANIFEST
from vvi.runtime import validation

#: Noise of an oracle's observation, in standard deviations of the factor.
NOISE = 0.7
#: Walks of each member of a look-alike pair past one camera.
TAKES = 4


def measure(
    root: Path | str, split: str = "test", pairs: int = 6, seed: int = 0
) -> dict[str, float]:
    """Measure every claim of the data sheet on one split.

    Args:
        root: folder of the set.
        split: "train" or "test".
        pairs: look-alike pairs that are filmed anew, both members by one camera.
        seed: of the noise of the oracles and the choice of frames.

    Returns:
        Claim -> number. Rates lie in 0..1, with their chance as a claim of its own.
    """
    frames = read_frames(root)
    shots = _shots(frames[(frames.split == split) & (frames.fault == "none")], seed)
    claims = pixel_claims(validation.at_home(root), shots)
    factors = read_factors(root)
    claims |= oracle_claims(factors[factors.split == split], seed)
    return claims | look_alike_claims(root, split, pairs)


def _shots(frames: pd.DataFrame, seed: int) -> pd.DataFrame:
    """One frame per tracklet."""
    return (
        frames.groupby(frames["mask"], sort=False)
        .sample(1, random_state=seed)
        .reset_index(drop=True)
    )


def anaglyph(grey: np.ndarray) -> np.ndarray:
    """Return lower right neighbour minus pixel plus 128: (N, H-1, W-1)."""
    grey = grey.astype(np.int64)
    return np.clip(grey[:, 1:, 1:] - grey[:, :-1, :-1] + 128, 0, 255)


def pixel_claims(root: Path, shots: pd.DataFrame) -> dict[str, float]:
    """Measure nearest neighbours and the modality gap on raw and embossed frames."""
    pictures = np.stack([cv2.imread(str(root / path)) for path in shots.path])
    grey = np.stack([cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) for picture in pictures])
    claims: dict[str, float] = {}
    for name, images in (("raw", pictures), ("anaglyph", anaglyph(grey))):
        dist = distances(images.reshape(len(images), -1).astype(np.float64))
        claims |= {
            f"{name}_{claim}": value for claim, value in _nearest(dist, shots).items()
        }
        claims[f"{name}_gap"] = _gap(dist, shots)
    return claims


def distances(flat: np.ndarray) -> np.ndarray:
    """Return the Euclidean distances of all pairs: (N, D) -> (N, N)."""
    square = (flat**2).sum(1)
    return np.sqrt(np.maximum(square[:, None] + square[None] - 2 * flat @ flat.T, 0.0))


def _nearest(dist: np.ndarray, shots: pd.DataFrame) -> dict[str, float]:
    """Return rank-1 and chance across modalities, within each, and in one camera."""
    ids, cams, ir = (
        shots.identity.to_numpy(),
        shots.camera.to_numpy(),
        (shots.modality == "ir").to_numpy(),
    )
    other_camera, other_shot = (
        cams[:, None] != cams[None],
        ~np.eye(len(ids), dtype=bool),
    )
    within = ir[:, None] == ir[None]
    claims = {}
    for name, allowed in (
        ("cross_modal", ir[:, None] & ~ir[None] & other_camera),
        ("within", within & other_camera),
        ("same_camera", within & other_shot & ~other_camera),
    ):
        same = ids[:, None] == ids[None]
        valid = (allowed & same).any(1)
        best = np.where(allowed, dist, np.inf).argmin(1)
        if valid.any():  # one tracklet per camera leaves nobody to find in the same one
            claims[f"{name}_rank1"] = float((ids[best] == ids)[valid].mean())
            claims[f"{name}_chance"] = float(
                ((allowed & same).sum(1)[valid] / allowed.sum(1)[valid]).mean()
            )
    return claims


def _gap(dist: np.ndarray, shots: pd.DataFrame) -> float:
    """Return the modality gap: distance to oneself across over within modalities.

    Both are means over frames of other cameras.
    """
    ids, cams, ir = (
        shots.identity.to_numpy(),
        shots.camera.to_numpy(),
        (shots.modality == "ir").to_numpy(),
    )
    same = (ids[:, None] == ids[None]) & (cams[:, None] != cams[None])
    across = ir[:, None] != ir[None]
    return float(dist[same & across].mean() / dist[same & ~across].mean())


def oracle_claims(factors: pd.DataFrame, seed: int) -> dict[str, float]:
    """Measure the ceiling of each cue: nearest factors of noisy observations.

    Ties count as shares.

    Colours are left out: they do not cross the modalities. On a look-alike pair the
    choice is between its two members.
    """
    rng = np.random.default_rng(seed)
    looks, gait = (
        _standardised(
            factors[[*Body.__dataclass_fields__, *Garments.__dataclass_fields__]]
        ),
        _standardised(factors[[*Gait.__dataclass_fields__]]),
    )
    group = factors.look_alike_group.to_numpy()
    twins = (group[:, None] == group[None]) & (group >= 0)
    all_pairs = np.ones_like(twins)
    claims = {"oracle_chance": 1 / len(factors)}
    for name, cue in (
        ("appearance", looks),
        ("gait", gait),
        ("both", np.concatenate((looks, gait), 1)),
    ):
        seen = cue + NOISE * rng.normal(size=cue.shape)
        dist = np.sqrt(((seen[:, None] - cue[None]) ** 2).sum(2))
        claims[f"oracle_{name}_rank1"] = shared_rank1(dist, all_pairs).mean()
        if (group >= 0).any():  # in some worlds nobody has a look-alike
            claims[f"oracle_{name}_pairs"] = shared_rank1(dist, twins)[
                group >= 0
            ].mean()
    return {key: float(value) for key, value in claims.items()}


def _standardised(factors: pd.DataFrame) -> np.ndarray:
    """Numbers to zero mean and unit variance, words to one column per word."""
    table = pd.get_dummies(factors, dtype=float).astype(float)
    spread = table.std().to_numpy()
    return (table.to_numpy() - table.mean().to_numpy())[:, spread > 0] / spread[
        spread > 0
    ]


def shared_rank1(dist: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Return 1 / number of nearest columns if the diagonal is among them, else 0."""
    dist = np.where(allowed, dist, np.inf)
    nearest = dist == dist.min(1, keepdims=True)
    return nearest.diagonal() / nearest.sum(1)


def look_alike_claims(root: Path | str, split: str, pairs: int) -> dict[str, float]:
    """Measure how well look-alikes are told apart by single frames and by stride rate.

    Each pair is filmed anew by one camera. Of a larger group (`World.alike`) the first
    two are a pair.

    Args:
        root: folder of the set.
        split: "train" or "test".
        pairs: how many.

    Returns:
        Two-way accuracies with standard errors over pairs, none without look-alikes.
    """
    manifest = json.loads((validation.at_home(root) / MANIFEST).read_text())
    preset = presets.from_plan(manifest["plan"])
    people = layouts.people(
        manifest["layout"], preset, manifest["seed"] + preset.people
    )
    groups: dict[int, list[Identity]] = {}
    for person in people.values():
        if person.split == split and person.look_alike_group >= 0:
            groups.setdefault(person.look_alike_group, []).append(person)
    values: dict[str, list[float]] = {"single_frame": [], "stride_rate": []}
    if not groups:
        return {}
    for number, group in enumerate(list(groups.values())[:pairs]):
        members = group[:2]
        film = Film("ir" if number % 2 else "vis", number * 5 % CAMERAS + 1, TRACKLET)
        takes = [_takes(person, film, preset, manifest["seed"]) for person in members]
        frames, rates = zip(*takes, strict=True)
        values["single_frame"].append(_single_frame_accuracy(np.stack(frames)))
        known = np.array([person.gait.rate for person in members])
        dist = np.abs(known - np.array(rates)[..., None])
        right = dist.argmin(-1) == np.arange(2)[:, None]
        values["stride_rate"].append(float(np.mean(right)))
    claims = {
        f"pairs_{name}": float(np.mean(shares)) for name, shares in values.items()
    }
    errors = {
        f"pairs_{name}_error": float(
            np.std(shares) / math.sqrt(max(1, len(shares) - 1))
        )
        for name, shares in values.items()
    }
    return claims | errors | {"pairs_chance": 0.5}


def _takes(
    person: Identity, film: Film, preset: presets.Preset, seed: int
) -> tuple[np.ndarray, list[float]]:
    """Film walks of a person: frames (TAKES, T, H, W, C) and stride rate of each."""
    size, frames, rates = (preset.height, preset.width), [], []
    for take in range(1, TAKES + 1):
        walk = filming.walk(person, film, seed + preset.people, take, preset.world)
        background = scene(film.camera, film.modality, *size, seed, preset.world.spread)
        pictures, masks = draw.sequence(person, walk, background, *size)
        frames.append(pictures)
        rates.append(stride_rate(masks, walk.faults == 0))
    return np.stack(frames), rates


def _single_frame_accuracy(frames: np.ndarray) -> float:
    """Return the share of frames whose nearest frame shows the same person.

    Candidates are the other walks, equally many of both members: (2, TAKES, T, ...).
    """
    members, takes, count = frames.shape[:3]
    dist = distances(
        frames.reshape(members * takes * count, -1).astype(np.float64)
    ).reshape(members, takes, count, members, takes, count)
    right = []
    for member in range(members):
        for take in range(takes):
            others = [k for k in range(takes) if k != take]
            own, other = (
                dist[member, take, :, k][:, others].min((1, 2))
                for k in (member, 1 - member)
            )
            right.append((own < other).mean())
    return float(np.mean(right))


def stride_rate(masks: np.ndarray, good: np.ndarray) -> float:
    """Measure strides per frame from silhouettes (T, H, W), in `good` frames (T,) only.

    It is the rate whose first two harmonics carry most of the change of all pixels. The
    first weighs a little less: a body that looks the same after half a stride has only
    the second, which must not pass for the first of twice the rate.
    """
    centred = np.stack(
        [
            np.roll(mask, mask.shape[1] // 2 - round(np.nonzero(mask)[1].mean()), 1)
            if mask.any()
            else mask
            for mask in masks
        ]
    )
    flat = centred[good].reshape(good.sum(), -1).astype(np.float64)
    flat = (flat - flat.mean(0))[:, flat.std(0) > 0]
    rates, time = np.linspace(0.09, 0.25, 81), np.flatnonzero(good)
    first, second = (
        (
            np.abs(np.exp(-2j * math.pi * harmonic * rates[:, None] * time) @ flat) ** 2
        ).sum(1)
        for harmonic in (1, 2)
    )
    return float(rates[(0.8 * first + second).argmax()])
