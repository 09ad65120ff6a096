"""What a world can teach, measured: how far the dosed cue alone tells people apart.

Each world has an oracle that knows one factor and reads the clips that methods get: the
size at which they are drawn, the frames that a search chooses, one tracklet of each
test person and camera. A world whose oracle does not move with the dose is mended in
how people are drawn, never here. All numbers are about synthetic walkers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import pandas as pd

from vvi.data.clips import test_frames
from vvi.data.synthetic import claims, draw, filming, layouts, leg_phase, presets, store
from vvi.data.synthetic.factors import Identity
from vvi.data.synthetic.leg_phase import Sampling
from vvi.data.synthetic.presets import MINIMUM, TRACKLET, Film, Preset
from vvi.data.synthetic.scene import scene
from vvi.data.synthetic.world import DOSES, World

FRAMES = 4  # of a clip, or `TIMED` in the world of time
TIMED = 6
#: Width and height at which pixels are compared: people shift a little.
COARSE = (16, 32)
BLANK = 100  # grey outside the body, where only the body is compared
GREY = np.array((0.114, 0.587, 0.299), np.float32)  # of blue, green, red
WORN = ("top", "bottom", "shoe", "hair", "skin")  # materials that everybody shows
PER_FRAME = (
    "phase",
    "light",
    "boxes",
    "faults",
    "covers",
    "blurs",
    "noise_at",
    "bars",
    "bar_greys",
)


@dataclass(frozen=True)
class Clips:
    """One clip of each test person, camera and modality, as a search cuts it."""

    #: (N,) who, and by which camera.
    identities: np.ndarray
    cameras: np.ndarray
    #: (N,) whether it is infrared.
    infrared: np.ndarray
    #: (N, T, H, W, 3) uint8, and (N, T, H, W) bool: where the person is seen.
    frames: np.ndarray
    masks: np.ndarray
    #: (N, T) whether a frame has a fault.
    bad: np.ndarray
    #: (N, H, W) bool: what no bar hides.
    clear: np.ndarray


def world_claims(
    preset: str | Preset = "half",
    doses: Mapping[str, Sequence[float]] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure the oracle of every world at every dose.

    Args:
        preset: whose test people are filmed.
        doses: world -> doses, by default those of `world.DOSES`.
        seed: of the set.

    Returns:
        One row a claim: world, knob, dose, claim, value, error (standard error over
        people, where people were sampled) and chance.
    """
    rows = []
    for world, (knob, usual) in DOSES.items():
        chosen = usual if doses is None else doses.get(world, ())
        for dose in chosen:
            dosed = _dosed(presets.find(preset), {knob: dose})
            for claim in ORACLES[world](dosed, seed):
                rows.append({"world": world, "knob": knob, "dose": dose} | claim)
    return pd.DataFrame(rows)


def _dosed(preset: Preset, knobs: Mapping[str, float]) -> Preset:
    return presets.in_world(preset, World(**knobs))


def film_clips(
    preset: Preset,
    seed: int = 0,
    frames: int = FRAMES,
    change: Callable[[filming.Walk], filming.Walk] | None = None,
) -> Clips:
    """Draw the first tracklets of all test people, as far as a search reads them.

    Args:
        preset: with its world.
        seed: of the set.
        frames: T, frames of a clip.
        change: applied to each walk before it is drawn.
    """
    people = layouts.people("hitsz-vcm", preset, seed + preset.people)
    films = presets.films(preset, seed + preset.people)
    clips = []
    for number, person in people.items():
        for film in films[number] if person.split == "test" else ():
            clips.append(_clip(preset, seed, person, film, frames, change))
    names = ("identities", "cameras", "infrared", "frames", "masks", "bad", "clear")
    columns = zip(*clips, strict=True)
    return Clips(**{k: np.stack(v) for k, v in zip(names, columns, strict=True)})


def _clip(
    preset: Preset,
    seed: int,
    person: Identity,
    film: Film,
    frames: int,
    change: Callable[[filming.Walk], filming.Walk] | None,
) -> tuple:
    size, spread = (preset.height, preset.width), preset.world.spread
    which = test_frames(min(TRACKLET, film.frames), frames)
    walk = filming.walk(person, film, seed + preset.people, world=preset.world)
    walk = replace(walk, **{name: getattr(walk, name)[which] for name in PER_FRAME})
    walk = walk if change is None else change(walk)
    background = scene(film.camera, film.modality, *size, seed, spread)
    pictures, masks = draw.sequence(person, walk, background, *size)
    clear = draw.clear_of_bars(walk, *size)
    stored = np.stack([store.as_read(picture) for picture in pictures])
    infrared = film.modality == "ir"
    return person.identity, film.camera, infrared, stored, masks, walk.faults > 0, clear


def bad_frames(preset: Preset, seed: int = 0) -> list[dict]:
    """Compare the mean of the frames that are known to be good with that of all."""
    clips = film_clips(preset, seed)
    pixels = coarse(clips.frames)
    everything = np.ones_like(clips.bad)
    good = _or_all(~clips.bad)
    return [
        {"claim": "share of bad frames", "value": float(clips.bad.mean())},
        _within("mean of all frames", average(pixels, everything), clips),
        _within("mean of good frames", average(pixels, good), clips),
    ]


def gap(preset: Preset, seed: int = 0) -> list[dict]:
    """Search infrared clips among visible ones, by what is known and by pixels."""
    people = layouts.people("hitsz-vcm", preset, seed + preset.people).values()
    clips = film_clips(preset, seed)
    good = _or_all(~clips.bad)
    grey = clips.frames.astype(np.float32) @ GREY
    relief = np.stack([claims.anaglyph(clip).astype(np.float32) for clip in grey])
    body = np.where(clips.masks, grey, np.float32(BLANK))
    rows = [_reflectances([person for person in people if person.split == "test"])]
    for name, pixels in (("pixels", grey), ("anaglyphs", relief), ("body", body)):
        rows.append(_across(name, average(coarse(pixels), good), clips))
    return rows


def pace(preset: Preset, seed: int = 0) -> list[dict]:
    """Tell look-alikes apart by appearance, and by leg phase as clips are cut."""
    people = layouts.people("hitsz-vcm", preset, seed + preset.people).values()
    groups = Counter(p.look_alike_group for p in people if p.split == "test")
    alone = groups.pop(-1, 0)
    total = alone + sum(groups.values())
    rows = [{"claim": "appearance", "value": (alone + len(groups)) / total}]
    size = max(groups.values(), default=1)
    for name, sampling in samplings(preset, seed).items():
        walkers, clips = leg_phase.group(size), 1200 // size
        value = leg_phase.accuracy(walkers, sampling, clips, seed)
        claim = {"claim": f"leg phase, {name}", "value": value}
        rows.append(claim | {"chance": 1 / size})
    return rows


def samplings(preset: Preset, seed: int = 0) -> dict[str, Sampling]:
    """Return the ways to cut clips that are compared, in training but for searches."""
    train, test = (lengths(preset, split, seed) for split in ("train", "test"))
    by_label = {}
    for frames in (FRAMES, TIMED):
        usual = Sampling(frames, lengths=train)
        apart = {s: Sampling(frames, s) for s in (1, 2)}
        kinds = {
            "parts, flips per frame": replace(usual, flips="frame"),
            "parts": usual,
            "parts, search": Sampling(frames, search=True, lengths=test),
            "next to one another": apart[1],
            "two apart": apart[2],
            "two apart, flips per frame": replace(apart[2], flips="frame"),
        }
        by_label |= {f"{frames} frames, {name}": kind for name, kind in kinds.items()}
    return by_label


def lengths(preset: Preset, split: str, seed: int = 0) -> dict[int, float]:
    """Count the tracklets of a split by length, those that readers keep.

    Args:
        preset: the set.
        split: "train" or "test".
        seed: of the set.

    Returns:
        Number of frames -> how many tracklets have it, ascending.
    """
    people = presets.identities(preset)[split]
    films = presets.films(preset, seed + preset.people)
    counts: Counter[int] = Counter()
    for number in people:
        for film in films[number]:
            counts.update(film.tracklets)
    return {n: float(counts[n]) for n in sorted(counts) if n >= MINIMUM}


def place(preset: Preset, seed: int = 0) -> list[dict]:
    """Compare two views of one person with two people in one view."""
    clips = film_clips(preset, seed)
    feat = average(coarse(clips.frames), _or_all(~clips.bad))
    rows = []
    for name, infrared in (("visible", False), ("infrared", True)):
        clip_rows = np.flatnonzero(clips.infrared == infrared)
        ids, cams = clips.identities[clip_rows], clips.cameras[clip_rows]
        dist, same, away = _pairs(feat[clip_rows], ids, cams)
        ratio = float(dist[same & away].mean() / dist[~same & ~away].mean())
        rows.append({"claim": f"two views : two people, {name}", "value": ratio})
    return [*rows, _within("pixels", feat, clips)]


def bars(preset: Preset, seed: int = 0) -> list[dict]:
    """Compare clips by all pixels, and by those that no bar hides in either."""
    clips = film_clips(preset, seed)
    open_view = film_clips(preset, seed, change=_without_bars)
    good = _or_all(~clips.bad)
    seen = clips.masks.sum((2, 3)) / np.maximum(open_view.masks.sum((2, 3)), 1)
    feat = average(coarse(clips.frames), good)
    clear = coarse(clips.clear[:, None].astype(np.float32))[:, 0] > 0.999
    return [
        {"claim": "share of the body that is seen", "value": float(seen[good].mean())},
        _within("whole frames", feat, clips),
        _within("visible parts", feat, clips, clear),
        _within("without bars", average(coarse(open_view.frames), good), open_view),
    ]


#: World -> its oracle: a preset and a seed -> claims.
ORACLES: dict[str, Callable[[Preset, int], list[dict]]] = {
    "bad-frames": bad_frames,
    "gap": gap,
    "time": pace,
    "place": place,
    "bars": bars,
}


def _without_bars(walk: filming.Walk) -> filming.Walk:
    return replace(walk, bars=np.zeros_like(walk.bars))


def _or_all(good: np.ndarray) -> np.ndarray:
    """Good frames (N, T), or all frames of a clip that has no good one."""
    return good | ~good.any(1, keepdims=True)


def coarse(frames: np.ndarray) -> np.ndarray:
    """Average frames down: (N, T, H, W, ...) -> (N, T, 32, 16, ...) float32."""
    flat = frames.reshape(-1, *frames.shape[2:])
    small = np.stack([_averaged_down(frame) for frame in flat])
    return small.reshape(*frames.shape[:2], *small.shape[1:])


def _averaged_down(frame: np.ndarray) -> np.ndarray:
    return cv2.resize(frame.astype(np.float32), COARSE, interpolation=cv2.INTER_AREA)


def average(pixels: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Mean over the frames that are used: (N, T, ...), (N, T) -> (N, ...)."""
    weight = (used / used.sum(1, keepdims=True)).astype(np.float32)
    return np.einsum("nt...,nt->n...", pixels, weight)


def _pairs(
    feat: np.ndarray,
    ids: np.ndarray,
    cams: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances of all pairs, whether of one person, and whether of two cameras."""
    dist = claims.distances(feat.reshape(len(feat), -1).astype(np.float64))
    return dist, ids[:, None] == ids[None], cams[:, None] != cams[None]


def distances_where_clear(feat: np.ndarray, clear: np.ndarray) -> np.ndarray:
    """Squared distances by pixels that are clear in both. Others count as expected.

    Args:
        feat: (N, h, w, C).
        clear: (N, h, w) bool.

    Returns:
        (N, N): the sum over clear pixels of squared differences, and for the others
        what two clips differ by there on average. A pair that shares few pixels is so
        no nearer than one that shares many.
    """
    flat = feat.reshape(len(feat), -1, feat.shape[-1]).astype(np.float64)
    known = clear.reshape(len(feat), -1).astype(np.float64)
    count = np.maximum(known.sum(0), 1)[:, None]
    mean = (flat * known[..., None]).sum(0) / count
    spread = ((flat - mean) ** 2 * known[..., None]).sum(0) / count
    total = np.zeros((len(feat), len(feat)))
    for channel in range(flat.shape[2]):
        values = flat[..., channel] * known
        squares = (values**2) @ known.T
        expected = 2 * spread[:, channel]
        total += squares + squares.T - 2 * values @ values.T
        total += expected.sum() - (known * expected) @ known.T
    return total


def _within(
    claim: str,
    feat: np.ndarray,
    clips: Clips,
    clear: np.ndarray | None = None,
) -> dict:
    """Rank-1 among the clips of other cameras in each modality, mean of both."""
    hits, chances, identities = [], [], []
    for infrared in (False, True):
        rows = np.flatnonzero(clips.infrared == infrared)
        ids, cams = clips.identities[rows], clips.cameras[rows]
        dist, same, away = _pairs(feat[rows], ids, cams)
        if clear is not None:
            dist = distances_where_clear(feat[rows], clear[rows])
        hit, chance = _first(dist, same & away, away)
        hits.append(hit)
        chances.append(chance)
        identities.append(ids)
    return _claim(claim, *map(np.concatenate, (hits, chances, identities)))


def _across(claim: str, feat: np.ndarray, clips: Clips) -> dict:
    """Rank-1 of infrared clips among visible ones of other cameras."""
    dist, same, away = _pairs(feat, clips.identities, clips.cameras)
    query, gallery = np.flatnonzero(clips.infrared), np.flatnonzero(~clips.infrared)
    pairs = np.ix_(query, gallery)
    hit, chance = _first(dist[pairs], (same & away)[pairs], away[pairs])
    return _claim(claim, hit, chance, clips.identities[query])


def _first(
    dist: np.ndarray,
    right: np.ndarray,
    allowed: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Whether the nearest allowed column is right, and its chance, or NaN."""
    best = np.where(allowed, dist, np.inf).argmin(1)
    known = right.any(1)
    hit = np.where(known, right[np.arange(len(dist)), best], np.nan)
    chance = np.where(known, right.sum(1) / np.maximum(allowed.sum(1), 1), np.nan)
    return hit, chance


def _claim(
    claim: str, hit: np.ndarray, chance: np.ndarray, identities: np.ndarray
) -> dict:
    """One row: the mean, its standard error over people, and the chance."""
    people = pd.Series(hit).groupby(identities).mean().dropna()
    error = people.std(ddof=1) / np.sqrt(len(people))
    value, luck = float(np.nanmean(hit)), float(np.nanmean(chance))
    return {"claim": claim, "value": value, "error": float(error), "chance": luck}


def _reflectances(people: Iterable[Identity]) -> dict:
    """Nearest neighbour between infrared and visible grey values of what all wear."""
    infrared, luminance = [], []
    for person in people:
        colours = [person.colours[name] for name in WORN]
        infrared.append([colour.ir for colour in colours])
        luminance.append([colour.luminance for colour in colours])
    ir, light = (_standard(np.array(values)) for values in (infrared, luminance))
    dist = ((ir[:, None] - light[None]) ** 2).sum(2)
    hit = claims.shared_rank1(dist, np.ones(dist.shape, bool))
    chance = np.full(len(hit), 1 / len(hit))
    return _claim("reflectances", hit, chance, np.arange(len(hit)))


def _standard(values: np.ndarray) -> np.ndarray:
    return (values - values.mean(0)) / values.std(0)
