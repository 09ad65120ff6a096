"""The number behind each picture, scored against what is known of the data.

Every probe gives a `Score`: the value, its 95 % interval by bootstrap, and the value
that means nothing was found (chance, or the share of the area). The bootstrap draws
whole units (clips, queries or, where `groups` names them, identities), since what
belongs together does not vary independently.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vvi.metrics import Metrics, retrieval_metrics
from vvi.types import Rule

if TYPE_CHECKING:
    from torch import Tensor


#: Raised when a probe gives other numbers, so that stored results are not reused.
VERSION = 1
RESAMPLES = 2000
FOLDS = 5  # over identities, of the probe of the modality gap


@dataclass(frozen=True)
class Score:
    """A number with its interval."""

    value: float
    #: Lower end of the 95 % interval.
    low: float
    #: Upper end of the 95 % interval.
    high: float
    #: Value at chance, or where nothing was found.
    reference: float
    #: Number of units (clips, queries or identities).
    count: int

    def __str__(self) -> str:
        interval = f"{self.low:.3f} to {self.high:.3f}"
        about = f"reference {self.reference:.3f}; n = {self.count}"
        return f"{self.value:.3f} ({interval}; {about})"


def bootstrap(
    values: np.ndarray,
    seed: int = 0,
    n: int = RESAMPLES,
    groups: np.ndarray | None = None,
    reference: float = np.nan,
) -> Score:
    """Return the mean of values with the percentile interval of their resamples.

    Args:
        values: (N,), of which NaN are left out.
        seed: seed of the resamples.
        n: number of resamples.
        groups: (N,), of which whole ones are drawn in place of values.
        reference: mean at chance.

    Raises:
        ValueError: no value is left.

    >>> bootstrap(np.array([1.0, 1.0, 1.0]))
    Score(value=1.0, low=1.0, high=1.0, reference=nan, count=3)
    """
    values = np.asarray(values, dtype=float)
    known = np.isfinite(values)
    if groups is not None:
        groups = np.asarray(groups)[known]
    return _ratio(values[known], np.ones(known.sum()), seed, n, groups, reference)


def paired_bootstrap(
    before: np.ndarray,
    after: np.ndarray,
    seed: int = 0,
    n: int = RESAMPLES,
    groups: np.ndarray | None = None,
) -> Score:
    """Return the mean of after - before over the same units. The reference is 0.

    Pairing takes out what units differ in anyway.

    Args:
        before: (N,).
        after: (N,).
        seed: seed of the resamples.
        n: number of resamples.
        groups: (N,), of which whole ones are drawn in place of units.

    Raises:
        ValueError: the shapes differ, or no unit is left.
    """
    before, after = np.asarray(before, dtype=float), np.asarray(after, dtype=float)
    if before.shape != after.shape:
        raise ValueError(
            f"before {before.shape} and after {after.shape} are not the same units"
        )
    return bootstrap(after - before, seed, n, groups, reference=0.0)


def paired_runs(
    before: np.ndarray,
    after: np.ndarray,
    groups: np.ndarray,
    seed: int = 0,
    n: int = RESAMPLES,
) -> Score:
    """Return the mean of after - before for several runs over the same units.

    Each resample draws whole groups of units, and runs of either side (`draw_runs`):
    both vary. With one run on a side what varies from run to run is not in the
    interval. Which side is drawn first depends on a checksum of its numbers and not on
    the order of the arguments, so swapping `before` and `after` mirrors the interval.

    Args:
        before: (S, Q), S runs over Q units.
        after: (R, Q).
        groups: (Q,).
        seed: seed of the resamples.
        n: number of resamples.

    Raises:
        ValueError: the runs are over other units.
    """
    before, after = (np.atleast_2d(np.asarray(x, dtype=float)) for x in (before, after))
    if not before.shape[1] == after.shape[1] == len(groups):
        raise ValueError(
            f"before {before.shape} and after {after.shape} are not runs over the same "
            f"{len(groups)} units"
        )
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    counts = np.bincount(index).astype(float)
    drawn = np.concatenate(list(_draws(len(counts), seed, n)))
    rng, size = np.random.default_rng([seed, 1]), drawn @ counts
    sides, means = (before, after), {}
    for side in sorted((0, 1), key=lambda side: zlib.crc32(sides[side].tobytes())):
        runs = sides[side]
        sums = np.stack([np.bincount(index, row) for row in runs])  # (S, G)
        of_runs = drawn @ sums.T / size[:, None]  # (n, S)
        chosen = draw_runs(rng, len(runs), n)
        means[side] = np.take_along_axis(of_runs, chosen, 1).mean(1)
    low, high = _interval(means[1] - means[0])
    difference = float(after.mean() - before.mean())
    return Score(difference, low, high, 0.0, len(counts))


def draw_runs(rng: np.random.Generator, runs: int, n: int) -> np.ndarray:
    """Return which runs each resample has, (n, runs - 1) integers.

    One run fewer is drawn than there are. Means of as many as there are would vary too
    little: their variance is (S - 1) / S of that of a mean of S new runs, half of it
    for two runs.

    Args:
        rng: the generator.
        runs: how many there are. Of one, each resample has that one.
        n: number of resamples.
    """
    return rng.integers(0, runs, (n, max(1, runs - 1)))


def body_share(maps: np.ndarray, masks: np.ndarray, seed: int = 0) -> Score:
    """Return the share of the energy of activation maps that lies on the person.

    The reference is the share of the area that the person covers, what a blind map
    would reach. Mean over clips of the mean over frames. Frames whose map is zero
    everywhere are left out of both.

    Args:
        maps: (N, T, h, w) >= 0.
        masks: (N, T, H, W) bool, averaged down to the size of the maps.
        seed: seed of the resamples.

    Raises:
        ValueError: shapes do not fit, maps hold negative or undefined values, or every
            map is zero everywhere.
    """
    maps, masks = np.asarray(maps, dtype=np.float64), np.asarray(masks)
    if maps.ndim != 4 or maps.shape[:2] != masks.shape[:2] or masks.ndim != 4:
        raise ValueError(
            f"maps {maps.shape} and masks {masks.shape} must be (N, T, h, w) and "
            "(N, T, H, W)"
        )
    if not (maps >= 0).all():
        raise ValueError("maps hold negative or undefined values")
    person, total = _shrink(masks, *maps.shape[2:]), maps.sum((2, 3))
    used = total > 0
    if not used.any():
        raise ValueError("every map is zero everywhere")
    on_person = (maps * person).sum((2, 3)) / np.where(used, total, 1)
    share = np.where(used, on_person, np.nan)
    area = np.where(used, person.mean((2, 3)), np.nan)
    clips = used.any(1)
    covered = float(np.nanmean(area[clips], axis=1).mean())
    return bootstrap(np.nanmean(share[clips], axis=1), seed, reference=covered)


@dataclass(frozen=True)
class Gap:
    """Modality gap."""

    #: Mean distance of clips of a person across modalities, divided by that within one
    #: (no gap: 1).
    distance: Score
    #: Balanced accuracy of a linear probe of the modality (no gap: 1/2).
    probe: Score


def modality_gap(
    vis_feat: np.ndarray,
    ir_feat: np.ndarray,
    vis_ids: np.ndarray,
    ir_ids: np.ndarray,
    seed: int = 0,
) -> Gap:
    """Return how far apart the modalities lie, with intervals over identities.

    `distance` is the mean over identities of the mean Euclidean distance of pairs,
    across over within. Identities need 2 clips in one modality and 1 in the other.
    `probe` is the balanced accuracy of a logistic regression on people it was not
    fitted to (5 folds over identities).

    Args:
        vis_feat: (N, D), made unit vectors here.
        ir_feat: (M, D).
        vis_ids: (N,).
        ir_ids: (M,).
        seed: seed of resamples and folds.

    Raises:
        ValueError: no identity has the clips that `distance` needs, or too few people
            are there in both modalities (`can_measure_gap`).
    """
    vis_feat, ir_feat = _unit(vis_feat), _unit(ir_feat)
    vis_ids, ir_ids = np.asarray(vis_ids), np.asarray(ir_ids)
    across, within = [], []
    for identity in np.intersect1d(vis_ids, ir_ids):
        vis, ir = vis_feat[vis_ids == identity], ir_feat[ir_ids == identity]
        same = np.concatenate((_pair_distances(vis), _pair_distances(ir)))
        if len(same):
            across.append(_distances(vis, ir).mean())
            within.append(same.mean())
    if not across:
        raise ValueError(
            "no identity has clips in both modalities and a pair within one"
        )
    distance = _ratio(np.array(across), np.array(within), seed, reference=1.0)
    return Gap(distance, _probe((vis_feat, ir_feat), (vis_ids, ir_ids), seed))


def can_measure_gap(vis_ids: np.ndarray, ir_ids: np.ndarray, seed: int = 0) -> bool:
    """Return whether there are the people and clips that `modality_gap` needs.

    Args:
        vis_ids: identities of visible clips (N,).
        ir_ids: identities of infrared clips (M,).
        seed: seed of the folds.
    """
    vis_ids, ir_ids = np.asarray(vis_ids), np.asarray(ir_ids)
    shared = np.intersect1d(vis_ids, ir_ids)
    clips = [max(np.sum(vis_ids == i), np.sum(ir_ids == i)) for i in shared]
    return max(clips, default=0) > 1 and bool(_folds((vis_ids, ir_ids), seed))


def noisy_auc(
    weights: np.ndarray, noisy: np.ndarray, seed: int = 0, within_clip: bool = False
) -> Score:
    """Return the AUC of "a low weight marks a noisy frame". Chance is 1/2.

    It is how often a noisy frame weighs less than a clean one, equal weights counting
    half.

    Args:
        weights: (N, T).
        noisy: (N, T) bool.
        seed: seed of the resamples.
        within_clip: only over pairs of one clip, where weights of different clips do
            not compare, in place of all pairs of a noisy and a clean frame.

    Raises:
        ValueError: shapes do not fit, a weight is not finite, or no noisy frame can be
            compared with a clean one.
    """
    weights, noisy = np.asarray(weights, dtype=float), np.asarray(noisy, dtype=bool)
    finite = np.isfinite(weights).all()
    if weights.ndim != 2 or weights.shape != noisy.shape or not finite:
        raise ValueError(
            f"weights {weights.shape} must be finite and fit noisy {noisy.shape}, both "
            "(N, T)"
        )
    clips = zip(weights, noisy, strict=True)
    # (N, N): noisy frames of one clip against clean frames of another
    wins = np.stack([_wins(w, bad, weights, noisy) for w, bad in clips])
    bad, good = noisy.sum(1).astype(float), (~noisy).sum(1).astype(float)
    if within_clip:
        both = bad * good > 0
        return _ratio(np.diag(wins)[both], (bad * good)[both], seed, reference=0.5)
    if not bad.any() or not good.any():
        raise ValueError("noisy_auc needs noisy frames and clean ones")
    drawn = np.concatenate(list(_draws(len(weights), seed, RESAMPLES)))
    pairs = (drawn @ bad) * (drawn @ good)
    won = ((drawn @ wins) * drawn).sum(1)
    low, high = _interval(won[pairs > 0] / pairs[pairs > 0])
    value = float(wins.sum() / (bad.sum() * good.sum()))
    return Score(value, low, high, 0.5, len(weights))


@dataclass(frozen=True)
class LookAlike:
    """Scores of the queries whose person has a look-alike."""

    #: How often the best match scores above the best item of the look-alike (chance:
    #: 1/2).
    pair: Score
    #: Their rank-1. The reference is that of the other queries.
    rank1: Score


def look_alike_rank1(
    query: np.ndarray,
    gallery: np.ndarray,
    query_ids: np.ndarray,
    gallery_ids: np.ndarray,
    query_cams: np.ndarray,
    gallery_cams: np.ndarray,
    groups: Mapping[int, int],
    rule: Rule = "vcm",
    seed: int = 0,
) -> LookAlike:
    """Return how well look-alikes are told apart, with intervals over identities.

    For `pair` the look-alike loses its items of the query's camera, as the person does,
    so that neither has more tries. A group of more than two counts each other member
    once. Equal scores count half.

    Args:
        query: features (Q, D).
        gallery: features (G, D).
        query_ids: (Q,).
        gallery_ids: (G,).
        query_cams: (Q,).
        gallery_cams: (G,).
        groups: identity -> look-alike group, below 0 for none.
        rule: of the protocol.
        seed: seed of the resamples.

    Raises:
        ValueError: no query has both a match and an item of a look-alike in another
            camera.
    """
    metrics = retrieval_metrics(
        query, gallery, query_ids, gallery_ids, query_cams, gallery_cams, rule
    )
    query_ids, gallery_ids = np.asarray(query_ids), np.asarray(gallery_ids)
    similarity = _unit(query) @ _unit(gallery).T
    same_camera = np.asarray(query_cams)[:, None] == np.asarray(gallery_cams)
    similarity[same_camera] = -np.inf
    people, best = _best_by_person(similarity, gallery_ids)
    wins = _wins_over_look_alikes(best, people, query_ids, groups)
    wins[metrics.first_hit <= 0] = np.nan
    alike = np.isfinite(wins)
    if not alike.any():
        raise ValueError(
            "no query has both a right item and an item of a look-alike in another "
            "camera"
        )
    hit = (metrics.first_hit == 1).astype(float)
    rest = ~alike & (metrics.first_hit > 0)
    of_rest = float(hit[rest].mean()) if rest.any() else np.nan
    return LookAlike(
        pair=bootstrap(wins, seed, groups=query_ids, reference=0.5),
        rank1=bootstrap(hit[alike], seed, groups=query_ids[alike], reference=of_rest),
    )


def _best_by_person(
    similarity: np.ndarray, gallery_ids: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the people of a gallery, and their best score for each query: (Q, P)."""
    people, column = np.unique(gallery_ids, return_inverse=True)
    best = np.full((len(similarity), len(people)), -np.inf)
    for number in range(len(people)):
        best[:, number] = similarity[:, column == number].max(1)
    return people, best


def _wins_over_look_alikes(
    best: np.ndarray,
    people: np.ndarray,
    query_ids: np.ndarray,
    groups: Mapping[int, int],
) -> np.ndarray:
    """Return the share of look-alikes that each query's person beats, NaN for none.

    Args:
        best: best score of each person for each query, (Q, P).
        people: (P,) in rising order.
        query_ids: (Q,).
        groups: identity -> look-alike group.
    """
    group = np.array([groups.get(int(person), -1) for person in people])
    wins = np.full(len(query_ids), np.nan)
    for row in np.flatnonzero(np.isin(query_ids, people)):
        own = np.searchsorted(people, query_ids[row])
        is_alike = (group == group[own]) & (group >= 0) & (people != query_ids[row])
        others = best[row, is_alike]
        others = others[np.isfinite(others)]
        score = best[row, own]
        if len(others) and np.isfinite(score):
            wins[row] = np.mean((score > others) + 0.5 * (score == others))
    return wins


def robustness(
    clean: Metrics, altered: Metrics, seed: int = 0, groups: np.ndarray | None = None
) -> Score:
    """Return the change of rank-1 when clips are altered. The reference is 0.

    Args:
        clean: metrics of the clips as they are.
        altered: of the same queries, altered.
        seed: seed of the resamples.
        groups: (Q,) identities of the queries.

    Raises:
        ValueError: the metrics are of other queries.
    """
    counted = clean.first_hit > 0
    same_shape = clean.first_hit.shape == altered.first_hit.shape
    if not same_shape or (counted != (altered.first_hit > 0)).any():
        raise ValueError("clean and altered metrics are not of the same queries")
    before = (clean.first_hit == 1).astype(float)[counted]
    after = (altered.first_hit == 1).astype(float)[counted]
    if groups is not None:
        groups = np.asarray(groups)[counted]
    return paired_bootstrap(before, after, seed=seed, groups=groups)


def occluded(share: float = 0.3, seed: int = 0) -> Callable[[Tensor], Tensor]:
    """Return a change of clips: a grey bar over the full width of every frame.

    Args:
        share: of the height of a frame that the bar covers.
        seed: seed of the position of the bar, drawn once per clip.

    Raises:
        ValueError: the share is not between 0 and 1.
    """
    import torch

    if not 0 < share < 1:
        raise ValueError(f"share {share}: must be between 0 and 1, both excluded")
    generator = torch.Generator().manual_seed(seed)

    def change(clips: Tensor) -> Tensor:
        clips, height = clips.clone(), clips.shape[-2]
        bar = max(1, round(share * height))
        grey = 127 if clips.dtype == torch.uint8 else 0
        free = height - bar + 1
        tops = torch.randint(0, free, (len(clips),), generator=generator)
        for clip, top in zip(clips, tops.tolist(), strict=True):
            clip[..., top : top + bar, :] = grey
        return clips

    return change


def blurred(sigma: float) -> Callable[[Tensor], Tensor]:
    """Return a change of clips: a Gaussian blur of `sigma` pixels on every frame.

    Raises:
        ValueError: sigma is not positive.
    """
    from torchvision.transforms.v2.functional import gaussian_blur

    if sigma <= 0:
        raise ValueError(f"sigma {sigma}: must be positive")
    size = 2 * round(3 * sigma) + 1

    def change(clips: Tensor) -> Tensor:
        return gaussian_blur(clips, [size, size], [sigma, sigma])

    return change


def view_change(
    similarity: np.ndarray,
    query_ids: np.ndarray,
    gallery_ids: np.ndarray,
    query_views: np.ndarray,
    gallery_views: np.ndarray,
    cameras: tuple[np.ndarray, np.ndarray],
    apart: float = 60,
    seed: int = 0,
) -> tuple[Score, Score]:
    """Return rank-1 among like views, and the change among other views.

    First the gallery holds a person's clips from views like the query's alone, then
    those from other views alone. Everybody else's clips stay in both, and queries count
    that have a right clip of either kind, so that nothing differs but the view. Clips
    of the query's person and camera are left out, as the protocol of HITSZ-VCM does.

    Args:
        similarity: (Q, G).
        query_ids: (Q,).
        gallery_ids: (G,).
        query_views: (Q,) yaw in degrees.
        gallery_views: (G,).
        cameras: of the queries (Q,) and of the gallery (G,).
        apart: degrees within which a view is like another.
        seed: seed of the resamples.

    Raises:
        ValueError: no query has matches both within and beyond `apart`.
    """
    same = query_ids[:, None] == gallery_ids
    turn = np.abs((query_views[:, None] - gallery_views + 180) % 360 - 180)
    counted = same & (cameras[0][:, None] != cameras[1])
    like, other = counted & (turn <= apart), counted & (turn > apart)
    rows = like.any(1) & other.any(1)
    if not rows.any():
        raise ValueError(f"no query has right clips within {apart} degrees and beyond")
    stranger = np.where(same, -np.inf, similarity).max(1)
    hits = []
    for kind in (like, other):
        right = np.where(kind, similarity, -np.inf).max(1)
        hits.append((right > stranger)[rows].astype(float))
    groups = query_ids[rows]
    chance = float((like.sum(1) / (~same | like).sum(1))[rows].mean())
    near = bootstrap(hits[0], seed, groups=groups, reference=chance)
    return near, paired_bootstrap(*hits, seed, groups=groups)


def shuffled(seed: int = 0) -> Callable[[Tensor], Tensor]:
    """Return a change of clips: the frames of each clip in an order drawn for it."""
    import torch

    generator = torch.Generator().manual_seed(seed)

    def shuffle(clip: Tensor) -> Tensor:
        return clip[torch.randperm(len(clip), generator=generator)]

    return lambda clips: torch.stack([shuffle(clip) for clip in clips])


def _ratio(
    top: np.ndarray,
    bottom: np.ndarray,
    seed: int,
    n: int = RESAMPLES,
    groups: np.ndarray | None = None,
    reference: float = np.nan,
) -> Score:
    """Return sum(top) / sum(bottom) over units, where each group is one unit.

    Args:
        top: (N,).
        bottom: (N,).
        seed: seed of the resamples.
        n: number of resamples.
        groups: (N,).
        reference: ratio at chance.

    Raises:
        ValueError: there is no unit.
    """
    if len(top) == 0:
        raise ValueError("nothing to average: no unit is left")
    if groups is not None:
        _, index = np.unique(groups, return_inverse=True)
        top, bottom = np.bincount(index, top), np.bincount(index, bottom)
    blocks = _draws(len(top), seed, n)
    values = np.concatenate([(drawn @ top) / (drawn @ bottom) for drawn in blocks])
    low, high = _interval(values)
    value = float(top.sum() / bottom.sum())
    return Score(value, low, high, float(reference), len(top))


def _draws(units: int, seed: int, n: int) -> Iterator[np.ndarray]:
    """Yield how often each unit is drawn in each resample: blocks (b, units).

    Args:
        units: number of units.
        seed: seed of the resamples.
        n: number of resamples.
    """
    rng, step = np.random.default_rng(seed), max(1, 2**20 // units)
    for first in range(0, n, step):
        size = min(step, n - first)
        drawn = rng.integers(0, units, (size, units))
        cells = drawn + units * np.arange(size)[:, None]
        counts = np.bincount(cells.ravel(), minlength=size * units)
        yield counts.reshape(size, units).astype(float)


def _interval(values: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


def _probe(
    feats: tuple[np.ndarray, np.ndarray], ids: tuple[np.ndarray, np.ndarray], seed: int
) -> Score:
    """Return the balanced accuracy of a plane between modalities on held-out people.

    Args:
        feats: of visible (N, D) and of infrared clips (M, D).
        ids: identities (N,) and (M,).
        seed: seed of resamples and folds.

    Raises:
        ValueError: too few people are there in both modalities.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    feat, people = np.concatenate(feats), np.concatenate(ids)
    counts = np.array([len(side) for side in feats])
    modality = np.repeat([0, 1], counts)
    plane = make_pipeline(
        StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000)
    )
    folds = _folds(ids, seed)
    if not folds:
        raise ValueError(
            "the probe needs clips of both modalities to fit, and other people to test"
        )
    predicted = cross_val_predict(plane, feat, modality, cv=folds)
    weight = 1 / counts.astype(float)[modality]
    correct = (predicted == modality) * weight
    return _ratio(correct, weight, seed, groups=people, reference=0.5)


def _folds(
    ids: tuple[np.ndarray, np.ndarray], seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Split clips into folds of people, each with the rows to fit and those to test.

    Args:
        ids: identities of visible (N,) and of infrared clips (M,).
        seed: of the shuffle.

    Returns:
        [] where there is one person, or a fold has one modality alone to fit.
    """
    from sklearn.model_selection import GroupKFold

    people = np.concatenate(ids)
    modality = np.repeat([0, 1], [len(side) for side in ids])
    count = min(FOLDS, len(np.unique(people)))
    if count < 2:
        return []
    splitter = GroupKFold(count, shuffle=True, random_state=seed)
    folds = list(splitter.split(people, groups=people))
    fits = [len(np.unique(modality[fit])) == 2 for fit, _ in folds]
    return folds if all(fits) else []


def _wins(
    weights: np.ndarray, noisy: np.ndarray, others: np.ndarray, theirs: np.ndarray
) -> np.ndarray:
    """Count the pairs that one clip's noisy frames win against clean frames.

    Args:
        weights: (T,) of the clip.
        noisy: (T,) bool.
        others: (N, T) weights of all clips.
        theirs: (N, T) bool, which of their frames are noisy.

    Returns:
        (N,): by the clip of the clean frames.
    """
    bad = weights[noisy][:, None, None]
    return (((bad < others) + 0.5 * (bad == others)) * ~theirs).sum((0, 2))


def _shrink(masks: np.ndarray, height: int, width: int) -> np.ndarray:
    """Average masks (N, T, H, W) over areas: (N, T, height, width) in 0..1."""
    import cv2

    if masks.shape[2:] == (height, width):
        return masks.astype(np.float64)
    flat = masks.reshape(-1, *masks.shape[2:]).astype(np.float32)
    size, area = (width, height), cv2.INTER_AREA
    small = [cv2.resize(mask, size, interpolation=area) for mask in flat]
    return np.stack(small).reshape(*masks.shape[:2], height, width).astype(np.float64)


def _unit(feat: np.ndarray) -> np.ndarray:
    feat = np.asarray(feat, dtype=np.float64)
    return feat / np.maximum(np.linalg.norm(feat, axis=1, keepdims=True), 1e-12)


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(2 - 2 * a @ b.T, 0))


def _pair_distances(feat: np.ndarray) -> np.ndarray:
    """Return the distances of all pairs of rows."""
    return _distances(feat, feat)[np.triu_indices(len(feat), 1)]
