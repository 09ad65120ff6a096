"""Re-ranking of 5,000 queries and 5,000 gallery items: seconds and memory.

    python benchmarks/rerank.py [--out FILE]    1,000, 2,500 and 5,000 on either side

One thread. Features of 2,048 numbers of people with ten items each. CPU seconds of this
process. Memory is the most that it took meanwhile (Linux), features included.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from nearest import draw, forget, megabytes
from threadpoolctl import threadpool_limits

from vvi import metrics
from vvi.evaluation.rerank import rerank
from vvi.experiment import store

SIZES = (1_000, 2_500, 5_000)


def people(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Features and identities of queries and gallery, both of the same people."""
    feat = draw(2 * size)[1]
    ids = np.repeat(np.arange(2 * size // 10), 10)
    order = np.random.default_rng(1).permutation(2 * size)
    one, other = order[:size], order[size:]
    return feat[one], feat[other], ids[one], ids[other]


def measure(size: int) -> dict[str, float]:
    """Time and memory of one re-ranking, and what it does to mAP."""
    query, gallery, ids, gallery_ids = people(size)
    cams = np.zeros(size, int)
    forget()
    start, cpu = time.perf_counter(), time.process_time()
    distance = rerank(query, gallery)
    row = {
        "queries": size,
        "gallery": size,
        "CPU s": round(time.process_time() - cpu, 2),
        "wall s": round(time.perf_counter() - start, 2),
        "peak MB": round(megabytes("VmHWM")),
    }
    who = ids, gallery_ids, cams, cams
    before = metrics.retrieval_metrics(query, gallery, *who, rule="none")
    after = metrics.from_similarity(-distance, *who, rule="none")
    return row | {"mAP": round(before.mAP, 4), "mAP re-ranked": round(after.mAP, 4)}


def main() -> None:
    """Measure every size, print and keep the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    results = Path(__file__).parent / "results"
    parser.add_argument("--out", type=Path, default=results / "rerank.json")
    args, rows = parser.parse_args(), []
    with threadpool_limits(1):
        for size in SIZES:
            rows.append(measure(size))
            print(rows[-1], flush=True)
    args.out.parent.mkdir(exist_ok=True)
    content = {"rows": rows, "width": 2_048, "environment": store.environment()}
    args.out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
