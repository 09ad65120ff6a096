"""The number behind each picture, scored against what is known of the data.

Every probe gives a `Score`: the value, its 95 % interval by bootstrap, and beside it the value that means nothing was found (chance, or the share of the area).
The bootstrap draws whole units (clips, queries or, where `groups` names them, identities), since what belongs together does not vary independently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vvi.metrics import Metrics, retrieval_metrics
from vvi.types import Rule

if TYPE_CHECKING:
    from torch import Tensor


VERSION = 1


@dataclass(frozen=True)
class Score:
    """`value` with its 95 % interval, `reference` to read it against, and the `count` of units that it rests on."""

    value: float
    low: float
    high: float
    reference: float
    count: int

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f}; reference {self.reference:.3f}; n = {self.count})"


def bootstrap(
    values: np.ndarray,
    seed: int = 0,
    n: int = 2000,
    groups: np.ndarray | None = None,
    reference: float = np.nan,
) -> Score:
    """Mean of `values` (N,) with the percentile interval of n resamples of the values, or of whole groups (N,) of them. NaN values are left out.

    >>> bootstrap(np.array([1.0, 1.0, 1.0]))
    Score(value=1.0, low=1.0, high=1.0, reference=nan, count=3)
    """
    values = np.asarray(values, dtype=float)
    known = np.isfinite(values)
    return _ratio(
        values[known],
        np.ones(known.sum()),
        seed,
        n,
        None if groups is None else np.asarray(groups)[known],
        reference,
    )


def paired_bootstrap(
    before: np.ndarray,
    after: np.ndarray,
    seed: int = 0,
    n: int = 2000,
    groups: np.ndarray | None = None,
) -> Score:
    """Mean of after - before over the same units, both (N,); the reference is 0. Pairing takes out what units differ in anyway."""
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
    n: int = 2000,
) -> Score:
    """Mean of after - before, for S and R runs over the same Q units: (S, Q), (R, Q). Each resample draws whole groups (Q,) of units, and runs of either side: both vary.

    With one run on a side what varies from run to run is not in the interval.
    """
    before, after = (np.atleast_2d(np.asarray(x, dtype=float)) for x in (before, after))
    if before.shape[1] != after.shape[1] or before.shape[1] != len(groups):
        raise ValueError(
            f"before {before.shape} and after {after.shape} are not runs over the same {len(groups)} units"
        )
    _, place = np.unique(np.asarray(groups), return_inverse=True)
    sums = [
        np.stack([np.bincount(place, row) for row in runs]) for runs in (before, after)
    ]  # (S, G), (R, G)
    counts = np.bincount(place).astype(float)
    drawn = np.concatenate(list(_draws(len(counts), seed, n)))
    rng, size = np.random.default_rng([seed, 1]), drawn @ counts
    low, high = (
        (drawn @ total.T / size[:, None])[
            np.arange(n)[:, None], rng.integers(0, len(total), (n, len(total)))
        ].mean(1)
        for total in sums
    )
    return Score(
        float(after.mean() - before.mean()), *_interval(high - low), 0.0, len(counts)
    )


def body_share(maps: np.ndarray, masks: np.ndarray, seed: int = 0) -> Score:
    """Share of the energy of activation maps that lies on the person, beside the share of the area that the person covers (what a blind map would reach).

    maps: (N, T, h, w) >= 0, masks: (N, T, H, W) bool; masks are averaged down to the size of the maps. Mean over clips of the mean over frames; frames whose map is
    zero everywhere are left out of both.
    """
    maps, masks = np.asarray(maps, dtype=np.float64), np.asarray(masks)
    if maps.ndim != 4 or maps.shape[:2] != masks.shape[:2] or masks.ndim != 4:
        raise ValueError(
            f"maps {maps.shape} and masks {masks.shape} must be (N, T, h, w) and (N, T, H, W)"
        )
    if not (maps >= 0).all():
        raise ValueError("maps hold negative or undefined values")
    person, total = _shrink(masks, *maps.shape[2:]), maps.sum((2, 3))
    used = total > 0
    share = np.where(
        used, (maps * person).sum((2, 3)) / np.where(used, total, 1), np.nan
    )
    area = np.where(used, person.mean((2, 3)), np.nan)
    clips = used.any(1)
    return bootstrap(
        np.nanmean(share[clips], axis=1),
        seed,
        reference=float(np.nanmean(area[clips], axis=1).mean()),
    )


@dataclass(frozen=True)
class Gap:
    """Modality gap. distance: same person across modalities over same person within one (no gap: 1); probe: how well a plane tells the modality (no gap: 1/2)."""

    distance: Score
    probe: Score


def modality_gap(
    vis_feat: np.ndarray,
    ir_feat: np.ndarray,
    vis_ids: np.ndarray,
    ir_ids: np.ndarray,
    seed: int = 0,
) -> Gap:
    """How far apart the modalities lie in features (N, D) and (M, D), which are made unit vectors here; intervals over identities.

    distance: mean over identities of the mean Euclidean distance of pairs, across over within; identities need 2 clips in one modality and 1 in the other. probe:
    balanced accuracy of a logistic regression on people it was not fitted to (5 folds over identities).
    """
    feats, ids = (
        (_unit(vis_feat), _unit(ir_feat)),
        (np.asarray(vis_ids), np.asarray(ir_ids)),
    )
    across, within = [], []
    for identity in np.intersect1d(*ids):
        vis, ir = (
            feat[rows == identity] for feat, rows in zip(feats, ids, strict=True)
        )
        same = np.concatenate(
            [
                _distances(side, side)[np.triu_indices(len(side), 1)]
                for side in (vis, ir)
            ]
        )
        if len(same):
            across.append(_distances(vis, ir).mean())
            within.append(same.mean())
    if not across:
        raise ValueError(
            "no identity has clips in both modalities and a pair within one"
        )
    return Gap(
        _ratio(np.array(across), np.array(within), seed, 2000, None, 1.0),
        _probe(feats, ids, seed),
    )


def noisy_auc(
    weights: np.ndarray, noisy: np.ndarray, seed: int = 0, within_clip: bool = False
) -> Score:
    """AUC of "a low weight marks a noisy frame": how often a noisy frame weighs less than a clean one, equal weights counting half; chance is 1/2.

    weights, noisy: (N, T). Over all pairs of a noisy and a clean frame, or only over pairs of one clip, where weights of different clips do not compare.
    """
    weights, noisy = np.asarray(weights, dtype=float), np.asarray(noisy, dtype=bool)
    if (
        weights.ndim != 2
        or weights.shape != noisy.shape
        or not np.isfinite(weights).all()
    ):
        raise ValueError(
            f"weights {weights.shape} must be finite and fit noisy {noisy.shape}, both (N, T)"
        )
    wins = np.stack(
        [_wins(weights[i], noisy[i], weights, noisy) for i in range(len(weights))]
    )  # (N, N): noisy frames of i against clean ones of j
    bad, good = noisy.sum(1).astype(float), (~noisy).sum(1).astype(float)
    if within_clip:
        both = bad * good > 0
        return _ratio(np.diag(wins)[both], (bad * good)[both], seed, 2000, None, 0.5)
    if not bad.any() or not good.any():
        raise ValueError("noisy_auc needs noisy frames and clean ones")
    drawn = np.concatenate(list(_draws(len(weights), seed, 2000)))
    pairs = (drawn @ bad) * (drawn @ good)
    low, high = _interval(((drawn @ wins) * drawn).sum(1)[pairs > 0] / pairs[pairs > 0])
    return Score(
        float(wins.sum() / (bad.sum() * good.sum())), low, high, 0.5, len(weights)
    )


@dataclass(frozen=True)
class LookAlike:
    """Queries whose person has a look-alike. pair: the best right item beats the best item of the look-alike (chance 1/2); rank1: theirs, beside that of the rest."""

    pair: Score
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
    """Can the embedding tell look-alikes apart? Features (Q, D), (G, D); groups: identity -> look-alike group, below 0 for none; intervals over identities.

    For `pair` the look-alike loses its items of the query's camera, as the person does, so that neither has more tries; a group of more than two counts each other
    member once. Equal scores count half.
    """
    found = retrieval_metrics(
        query, gallery, query_ids, gallery_ids, query_cams, gallery_cams, rule
    )
    query_ids, gallery_ids, query_cams, gallery_cams = (
        np.asarray(x) for x in (query_ids, gallery_ids, query_cams, gallery_cams)
    )
    similarity = _unit(query) @ _unit(gallery).T
    similarity[query_cams[:, None] == gallery_cams] = -np.inf
    people, column = np.unique(gallery_ids, return_inverse=True)
    best = np.full(
        (len(query_ids), len(people)), -np.inf
    )  # best score of each person for each query
    for number in range(len(people)):
        best[:, number] = similarity[:, column == number].max(1)
    group = np.array([groups.get(int(p), -1) for p in people])
    wins = np.full(len(query_ids), np.nan)
    for q in np.flatnonzero(np.isin(query_ids, people) & (found.first_hit > 0)):
        own = np.searchsorted(people, query_ids[q])
        others = best[
            q, (group == group[own]) & (group >= 0) & (people != query_ids[q])
        ]
        others = others[np.isfinite(others)]
        if len(others) and np.isfinite(best[q, own]):
            wins[q] = np.mean((best[q, own] > others) + 0.5 * (best[q, own] == others))
    alike = np.isfinite(wins)
    if not alike.any():
        raise ValueError(
            "no query has both a right item and an item of a look-alike in another camera"
        )
    hit = (found.first_hit == 1).astype(float)
    rest = ~alike & (found.first_hit > 0)
    rank1 = bootstrap(
        hit[alike],
        seed,
        groups=query_ids[alike],
        reference=float(hit[rest].mean()) if rest.any() else np.nan,
    )
    return LookAlike(bootstrap(wins, seed, groups=query_ids, reference=0.5), rank1)


def robustness(
    clean: Metrics, altered: Metrics, seed: int = 0, groups: np.ndarray | None = None
) -> Score:
    """Change of rank-1 when the clips are altered: altered - clean over the same queries, paired; the reference is 0. groups: (Q,) identities of the queries."""
    counted = clean.first_hit > 0
    if (
        clean.first_hit.shape != altered.first_hit.shape
        or (counted != (altered.first_hit > 0)).any()
    ):
        raise ValueError("clean and altered metrics are not of the same queries")
    hits = ((m.first_hit == 1).astype(float)[counted] for m in (clean, altered))
    return paired_bootstrap(
        *hits, seed=seed, groups=None if groups is None else np.asarray(groups)[counted]
    )


def occluded(share: float = 0.3, seed: int = 0) -> Callable[[Tensor], Tensor]:
    """A change of clips (B, T, 3, H, W): a grey bar over the full width and `share` of the height of every frame, at a height drawn once per clip."""
    import torch

    if not 0 < share < 1:
        raise ValueError(f"share {share}: between 0 and 1, both excluded")
    generator = torch.Generator().manual_seed(seed)

    def change(clips: Tensor) -> Tensor:
        clips, height = clips.clone(), clips.shape[-2]
        bar = max(1, round(share * height))
        for clip, top in zip(
            clips,
            torch.randint(0, height - bar + 1, (len(clips),), generator=generator),
            strict=True,
        ):
            clip[..., int(top) : int(top) + bar, :] = (
                127 if clips.dtype == torch.uint8 else 0
            )
        return clips

    return change


def blurred(sigma: float) -> Callable[[Tensor], Tensor]:
    """A change of clips (B, T, 3, H, W): a Gaussian blur of `sigma` pixels of the network's input, on every frame."""
    from torchvision.transforms.v2.functional import gaussian_blur

    if sigma <= 0:
        raise ValueError(f"sigma {sigma}: must be positive")
    return lambda clips: gaussian_blur(
        clips, [2 * round(3 * sigma) + 1] * 2, [sigma, sigma]
    )


def view_change(
    similarity: np.ndarray,
    query_ids: np.ndarray,
    gallery_ids: np.ndarray,
    query_views: np.ndarray,
    gallery_views: np.ndarray,
    apart: float = 60,
    seed: int = 0,
) -> tuple[Score, Score]:
    """Rank-1 when the gallery holds a person's clips from views like the query's alone, and the change when it holds those from other views alone.

    similarity: (Q, G); ids and views (yaw in degrees): (Q,), (G,). A view is like another within `apart` degrees. Everybody else's clips stay in both galleries, and queries count
    that have a right clip of either kind, so that nothing differs but the view.
    """
    same = query_ids[:, None] == gallery_ids
    turn = np.abs((query_views[:, None] - gallery_views + 180) % 360 - 180)
    like, other = same & (turn <= apart), same & (turn > apart)
    rows = like.any(1) & other.any(1)
    if not rows.any():
        raise ValueError(f"no query has right clips within {apart} degrees and beyond")
    stranger = np.where(same, -np.inf, similarity).max(1)
    near, far = (
        (np.where(kind, similarity, -np.inf).max(1) > stranger)[rows].astype(float)
        for kind in (like, other)
    )
    groups, chance = query_ids[rows], (like.sum(1) / (~same | like).sum(1))[rows].mean()
    return bootstrap(
        near, seed, groups=groups, reference=float(chance)
    ), paired_bootstrap(near, far, seed, groups=groups)


def shuffled(seed: int = 0) -> Callable[[Tensor], Tensor]:
    """A change of clips (B, T, 3, H, W): the frames of each clip in an order drawn for it."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    return lambda clips: torch.stack(
        [clip[torch.randperm(len(clip), generator=generator)] for clip in clips]
    )


def _ratio(
    top: np.ndarray,
    bottom: np.ndarray,
    seed: int,
    n: int,
    groups: np.ndarray | None,
    reference: float,
) -> Score:
    """sum(top) / sum(bottom) over units; with `groups` each group is one unit."""
    if len(top) == 0:
        raise ValueError("nothing to average: no unit is left")
    if groups is not None:
        _, place = np.unique(groups, return_inverse=True)
        top, bottom = np.bincount(place, top), np.bincount(place, bottom)
    values = np.concatenate(
        [(drawn @ top) / (drawn @ bottom) for drawn in _draws(len(top), seed, n)]
    )
    return Score(
        float(top.sum() / bottom.sum()), *_interval(values), float(reference), len(top)
    )


def _draws(units: int, seed: int, n: int) -> Iterator[np.ndarray]:
    """How often each unit is drawn in each resample, in blocks (b, units) of n in all."""
    rng, step = np.random.default_rng(seed), max(1, 2**20 // units)
    for first in range(0, n, step):
        size = min(step, n - first)
        places = (
            rng.integers(0, units, (size, units)) + units * np.arange(size)[:, None]
        )
        yield (
            np.bincount(places.ravel(), minlength=size * units)
            .reshape(size, units)
            .astype(float)
        )


def _interval(values: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


def _probe(
    feats: tuple[np.ndarray, np.ndarray], ids: tuple[np.ndarray, np.ndarray], seed: int
) -> Score:
    """Balanced accuracy of a plane between the modalities on held-out identities."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GroupKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    both, people = np.concatenate(feats), np.concatenate(ids)
    modality = np.repeat([0, 1], [len(f) for f in feats])
    plane = make_pipeline(
        StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000)
    )
    folds = GroupKFold(min(5, len(np.unique(people))), shuffle=True, random_state=seed)
    right = (
        cross_val_predict(plane, both, modality, groups=people, cv=folds) == modality
    )
    weight = 1 / np.array([len(f) for f in feats], dtype=float)[modality]
    return _ratio(right * weight, weight, seed, 2000, people, 0.5)


def _wins(
    weights: np.ndarray, noisy: np.ndarray, others: np.ndarray, theirs: np.ndarray
) -> np.ndarray:
    """For one clip's noisy frames: won pairs against the clean frames of each of N clips, (N,)."""
    bad = weights[noisy][:, None, None]
    return (((bad < others) + 0.5 * (bad == others)) * ~theirs).sum((0, 2))


def _shrink(masks: np.ndarray, height: int, width: int) -> np.ndarray:
    """Masks (N, T, H, W) averaged over areas to (N, T, height, width), 0..1."""
    import cv2

    if masks.shape[2:] == (height, width):
        return masks.astype(np.float64)
    flat = masks.reshape(-1, *masks.shape[2:]).astype(np.float32)
    small = [
        cv2.resize(mask, (width, height), interpolation=cv2.INTER_AREA) for mask in flat
    ]
    return np.stack(small).reshape(*masks.shape[:2], height, width).astype(np.float64)


def _unit(feat: np.ndarray) -> np.ndarray:
    feat = np.asarray(feat, dtype=np.float64)
    return feat / np.maximum(np.linalg.norm(feat, axis=1, keepdims=True), 1e-12)


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(2 - 2 * a @ b.T, 0))
