"""Retrieval metrics beside their rivals: CPU seconds of one thread and peak memory, all
in turn in one run.

    python benchmarks/metrics.py                 5,159 queries x 5,643 gallery items x
                                                 2,048 numbers, 427 identities, 12
                                                 cameras (the size of HITSZ-VCM's test)
    python benchmarks/metrics.py --quick         1,000 x 1,000
    python benchmarks/metrics.py --growth        1,000 to 20,000 on both sides, without
                                                 the rivals that would take minutes
    python benchmarks/metrics.py --check         the same table, and exit status 1 where
                                                 a promise of the package is broken

Every rival runs in a child process of its own that inherits the features, so that its
peak memory is its own: extra MB above what it started with (Linux; elsewhere a dash).
CPU seconds repeat within some 20 %, also on a busy machine; wall time does not, so what
counts is the ratio of two rivals of the same run.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.metrics import average_precision_score
from threadpoolctl import threadpool_limits

from vvi.metrics import from_similarity, retrieval_metrics

GROWTH = (1_000, 2_000, 5_000, 10_000, 20_000)
SLOW_LIMIT = 6_000  # items of one side up to which the slow rivals are run
SAMPLE = 200  # queries of the rival that only runs on a sample


@dataclass(frozen=True)
class Problem:
    """Unit features with identities that overlap, and the similarities of them."""

    query: np.ndarray
    gallery: np.ndarray
    labels: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
    similarity: np.ndarray

    @classmethod
    def draw(
        cls,
        queries: int,
        gallery: int,
        width: int,
        identities: int = 427,
        cameras: int = 12,
        seed: int = 0,
    ) -> Problem:
        rng = np.random.default_rng(seed)
        centre = rng.standard_normal((identities, width), dtype=np.float32)
        ids = rng.integers(0, identities, queries), rng.integers(0, identities, gallery)
        feats = []
        for side in ids:
            feat = rng.standard_normal((len(side), width), dtype=np.float32)
            feat += 0.25 * centre[side]
            feat /= np.linalg.norm(feat, axis=1, keepdims=True)
            feats.append(feat)
        cams = (
            rng.integers(1, cameras + 1, queries),
            rng.integers(1, cameras + 1, gallery),
        )
        return cls(feats[0], feats[1], (*ids, *cams), feats[0] @ feats[1].T)


Numbers = tuple[float, float, float]  # rank-1, mAP, mINP


def product(p: Problem) -> None:
    _ = p.query @ p.gallery.T


def ours_from_features(p: Problem) -> Numbers:
    found = retrieval_metrics(p.query, p.gallery, *p.labels)
    return found.rank(1), found.mAP, found.mINP


def ours_from_matrix(p: Problem) -> Numbers:
    found = from_similarity(p.similarity, *p.labels)
    return found.rank(1), found.mAP, found.mINP


def literal_loop(p: Problem) -> Numbers:
    """The way the field's scripts do it: the whole matrix is argsorted, then one query
    after the other, one Python list entry per rank.
    """
    query_ids, gallery_ids, query_cams, gallery_cams = p.labels
    order = np.argsort(-p.similarity, axis=1)
    first, ap, inp = [], [], []
    for q, ranking in enumerate(order):
        kept = ranking[
            ~(
                (gallery_ids[ranking] == query_ids[q])
                & (gallery_cams[ranking] == query_cams[q])
            )
        ]
        right = (gallery_ids[kept] == query_ids[q]).astype(np.int32)
        if not right.any():
            continue
        hits = right.cumsum()
        precision = [hits[k] / (k + 1.0) for k in range(len(hits))]
        ap.append((np.asarray(precision) * right).sum() / right.sum())
        last = np.flatnonzero(right)[-1]
        inp.append(hits[last] / (last + 1.0))
        first.append(right[0])
    return float(np.mean(first)), float(np.mean(ap)), float(np.mean(inp))


def full_argsort(p: Problem, rows: int = 256) -> Numbers:
    """Blocks of rows, fully ranked by argsort, everything after it vectorised."""
    query_ids, gallery_ids, query_cams, gallery_cams = p.labels
    first, ap, inp = [], [], []
    for low in range(0, len(p.similarity), rows):
        part = slice(low, low + rows)
        order = np.argsort(-p.similarity[part], axis=1)
        right = gallery_ids[order] == query_ids[part, None]
        removed = right & (gallery_cams[order] == query_cams[part, None])
        right &= ~removed
        rank = np.cumsum(~removed, axis=1)
        valid = right.any(1)
        hits = np.cumsum(right, axis=1)
        count = hits[:, -1]
        ap.append((hits / np.maximum(rank, 1) * right).sum(1)[valid] / count[valid])
        inp.append(count[valid] / (rank * right).max(1)[valid])
        first.append((np.where(right, rank, rank.max() + 1).min(1) == 1)[valid])
    return tuple(float(np.concatenate(x).mean()) for x in (first, ap, inp))


def sklearn_sample(p: Problem) -> None:
    """scikit-learn's average precision of each of the first `SAMPLE` queries; it knows
    mAP only.
    """
    query_ids, gallery_ids, query_cams, gallery_cams = p.labels
    for q in range(min(SAMPLE, len(query_ids))):
        right = gallery_ids == query_ids[q]
        kept = ~(right & (gallery_cams == query_cams[q]))
        if right[kept].any():
            average_precision_score(right[kept], p.similarity[q, kept])


RIVALS: dict[
    str, tuple[Callable[[Problem], Numbers | None], bool]
] = {  # name -> (function, slow)
    "product of the features alone": (product, False),
    "ours, from features": (ours_from_features, False),
    "ours, from the matrix": (ours_from_matrix, False),
    "full argsort in blocks, from the matrix": (full_argsort, True),
    "scikit-learn per query, from the matrix": (sklearn_sample, True),
    "literal loop, from the matrix": (literal_loop, True),
}


@dataclass(frozen=True)
class Run:
    cpu: float
    wall: float
    extra: float  # MB above the start, NaN where it cannot be told
    numbers: Numbers | None


def measure(function: Callable[[Problem], Numbers | None], problem: Problem) -> Run:
    """Run in a forked child: it shares the features, and the peak memory is its own."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(function, problem, theirs))
    child.start()
    theirs.close()
    found = ours.recv()
    child.join()
    return found


def _child(
    function: Callable[[Problem], Numbers | None], problem: Problem, pipe
) -> None:
    with threadpool_limits(1):
        gc.collect()
        before = _memory(reset=True)
        wall, cpu = time.perf_counter(), time.process_time()
        numbers = function(problem)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        pipe.send(Run(cpu, wall, _memory() - before, numbers))


def _memory(reset: bool = False) -> float:
    """Peak resident MB of this process since the last reset."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    return (
        next(
            int(line.split()[1])
            for line in status.read_text().splitlines()
            if line.startswith("VmHWM")
        )
        / 1024
    )


def table(
    queries: int, gallery: int, width: int, repeat: int, slow: bool
) -> dict[str, list[Run]]:
    """Measure every rival in turn, `repeat` times over, and print what they took."""
    print(
        f"\n{queries:,} queries x {gallery:,} gallery items x {width:,}, "
        "float32, one thread"
    )
    problem = Problem.draw(queries, gallery, width)
    chosen = {
        name: rival for name, (rival, is_slow) in RIVALS.items() if slow or not is_slow
    }
    runs: dict[str, list[Run]] = {name: [] for name in chosen}
    for turn in range(repeat):
        for name, rival in chosen.items():
            if turn == 0 or rival is not literal_loop:
                runs[name].append(measure(rival, problem))
    print(
        f"{'':52}{'CPU s: min':>11}{'median':>9}{'wall s':>9}{'extra MB':>10}"
        f"{'R1 %':>9}{'mAP %':>9}{'mINP %':>9}"
    )
    for name, found in runs.items():
        factor, note = (
            (max(1, queries / SAMPLE), f" ({SAMPLE} x {queries / SAMPLE:.1f})")
            if name.startswith("scikit") and queries > SAMPLE
            else (1, "")
        )
        cpu, wall, numbers = (
            [factor * r.cpu for r in found],
            min(factor * r.wall for r in found),
            found[0].numbers,
        )
        shown = (
            "".join(f"{100 * x:9.4f}" for x in numbers) if numbers else f"{'-':>9}" * 3
        )
        extra = (
            "-" if np.isnan(found[0].extra) else f"{max(r.extra for r in found):.0f}"
        )
        print(
            f"{name + note:52}{min(cpu):11.3f}{statistics.median(cpu):9.3f}"
            f"{wall:9.3f}{extra:>10}{shown}"
        )
    return runs


def promises(runs: dict[str, list[Run]], extra: float = 64 + 32) -> list[str]:
    """What the package promises at full size and this run did not keep. extra: MB,
    including one block of similarities (32).
    """
    cpu = {name: min(r.cpu for r in found) for name, found in runs.items()}
    broken = []
    ours, floor = cpu["ours, from features"], cpu["product of the features alone"]
    print(
        f"ours from features: {ours / floor:.2f} x the product alone "
        "(promised at most 1.5)"
    )
    if ours > 1.5 * floor:
        broken.append("from features above 1.5 x the product")
    if "literal loop, from the matrix" in cpu:
        gain = (cpu["literal loop, from the matrix"] + floor) / ours
        print(
            f"ours from features: {gain:.0f} x faster than product + literal loop "
            "(promised at least 25)"
        )
        if gain < 25:
            broken.append("less than 25 x faster than the literal loop")
    memory = max(r.extra for r in runs["ours, from features"])
    print(
        f"ours from features: {memory:.0f} MB extra (promised at most {extra:.0f}, "
        "one block of similarities included)"
    )
    if memory > extra:
        broken.append("too much memory")
    numbers = [found[0].numbers for found in runs.values() if found[0].numbers]
    apart = max(
        abs(a - b) for other in numbers for a, b in zip(numbers[0], other, strict=True)
    )
    print(f"largest difference between the rivals' numbers: {apart:.1e}")
    if apart > 1e-6:
        broken.append("the rivals' numbers differ")
    return broken


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--queries", type=int, default=5_159)
    parser.add_argument("--gallery", type=int, default=5_643)
    parser.add_argument("--width", type=int, default=2_048)
    parser.add_argument(
        "--repeat", type=int, default=3, help="turns; the literal loop runs once"
    )
    parser.add_argument("--quick", action="store_true", help="1,000 x 1,000")
    parser.add_argument(
        "--growth",
        type=int,
        nargs="*",
        metavar="SIZE",
        help="both sides of these sizes, 1,000 to 20,000 when none is named",
    )
    parser.add_argument(
        "--check", action="store_true", help="exit 1 where a promise is broken"
    )
    options = parser.parse_args()
    with threadpool_limits(1):
        if options.growth is not None:
            for size in options.growth or GROWTH:
                runs = table(
                    size,
                    size,
                    options.width,
                    options.repeat if size <= SLOW_LIMIT else 1,
                    slow=size <= SLOW_LIMIT,
                )
            broken = promises(runs, extra=256)
        else:
            queries, gallery = (
                (1_000, 1_000) if options.quick else (options.queries, options.gallery)
            )
            broken = promises(
                table(queries, gallery, options.width, options.repeat, slow=True)
            )
    print("; ".join(broken) or "every promise kept")
    return 1 if broken and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
