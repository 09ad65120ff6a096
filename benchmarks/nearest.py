"""Search among ever more embeddings: seconds and memory of exact search, and what FAISS
gives up for its speed.

    python benchmarks/nearest.py [--out FILE]    1,000 queries x 2,048 numbers among
                                                 10,000 and 100,000; FAISS among 100,000
    python benchmarks/nearest.py --million       and among a million: ten times the same
                                                 100,000, read again each time, so that
                                                 it fits into any memory

One thread. People with ten embeddings each, of cosine 0.5 to one another on average, in
32 directions of the 2,048 and a little noise in all: those of the trained models of the
book keep nine tenths of their variance in 7 to 19. CPU seconds of this process; extra
MB is how far its memory rose meanwhile (Linux), a gallery itself takes what the column
after it says.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from vvi.evaluation import nearest
from vvi.experiment import store

WIDTH, INNER, QUERIES, EACH = 2_048, 32, 1_000, 10
SIZES = (10_000, 100_000, 1_000_000)
FAISS = (
    ("Flat", ""),
    ("IVF256,Flat", "nprobe=1"),
    ("IVF256,Flat", "nprobe=8"),
    ("IVF256,Flat", "nprobe=32"),
)


@dataclass(frozen=True)
class Again:
    """A gallery several times over, as if it were larger."""

    rows: np.ndarray
    times: int

    def __len__(self) -> int:
        return self.times * len(self.rows)

    def __getitem__(self, rows: slice) -> np.ndarray:
        return self.rows[
            np.arange(rows.start, min(rows.stop, len(self))) % len(self.rows)
        ]


def draw(gallery: int) -> tuple[np.ndarray, np.ndarray]:
    """Queries and gallery, float32; every query has ten true neighbours."""
    rng = np.random.default_rng(0)
    people, directions = (
        rng.standard_normal((n, m), dtype=np.float32)
        for n, m in ((gallery // EACH, INNER), (INNER, WIDTH))
    )

    def around(centres: np.ndarray) -> np.ndarray:
        inside = centres + rng.standard_normal(centres.shape, dtype=np.float32)
        return inside @ directions + 0.5 * rng.standard_normal(
            (len(centres), WIDTH), dtype=np.float32
        )

    return around(people[:QUERIES]), around(people.repeat(EACH, 0))


def megabytes(name: str) -> float:
    """What this process takes now (VmRSS) or took at most since `forget` (VmHWM); NaN
    where the system does not say.
    """
    status = Path("/proc/self/status")
    return (
        next(
            (
                int(line.split()[1]) / 1024
                for line in status.read_text().splitlines()
                if line.startswith(name)
            ),
            np.nan,
        )
        if status.exists()
        else np.nan
    )


def forget() -> float:
    """Begin to look for a new peak; returns what is taken now."""
    if Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")
    return megabytes("VmRSS")


def timed(call):
    start, cpu = time.perf_counter(), time.process_time()
    found = call()
    return found, time.process_time() - cpu, time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--million", action="store_true")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results" / "nearest.json"
    )
    args, rows = parser.parse_args(), []
    torch.set_num_threads(1)
    print(
        f"{'gallery':>10} {'search':<24} {'CPU s':>7} {'wall s':>7} {'ms/query':>9} "
        f"{'extra MB':>9} {'gallery GB':>11} {'recall@10':>10}"
    )
    with threadpool_limits(1):
        query, gallery = draw(SIZES[1])
        for size in SIZES if args.million else SIZES[:2]:
            among = (
                gallery[:size]
                if size <= len(gallery)
                else Again(gallery, size // len(gallery))
            )
            before = forget()
            found, cpu, wall = timed(lambda among=among: nearest.exact(query, among))
            line(rows, size, "exact", cpu, wall, megabytes("VmHWM") - before, 1.0)
            if size == len(gallery):
                truth = found
        for kind, effort in FAISS:
            before = forget()
            index, cpu, wall = timed(
                lambda kind=kind: nearest.index(gallery, kind, sample=10_000)
            )
            if not effort or effort == "nprobe=1":
                line(
                    rows,
                    len(gallery),
                    f"faiss {kind}: build",
                    cpu,
                    wall,
                    megabytes("VmHWM") - before,
                    None,
                )
            before = forget()
            found, cpu, wall = timed(
                lambda index=index, effort=effort: nearest.search(
                    index, query, effort=effort
                )
            )
            line(
                rows,
                len(gallery),
                f"faiss {kind} {effort}".strip(),
                cpu,
                wall,
                megabytes("VmHWM") - before,
                nearest.recall(found, truth),
            )
            del index
    args.out.parent.mkdir(exist_ok=True)
    args.out.write_text(
        json.dumps(
            {
                "rows": rows,
                "queries": QUERIES,
                "width": WIDTH,
                "environment": store.environment(),
            },
            indent=1,
        )
        + "\n"
    )


def line(
    rows: list[dict],
    size: int,
    what: str,
    cpu: float,
    wall: float,
    extra: float,
    recall: float | None,
) -> None:
    """Keep a row and print it."""
    rows.append(
        {
            "gallery": size,
            "search": what,
            "CPU s": round(cpu, 3),
            "extra MB": round(extra),
            "recall@10": None if recall is None else round(recall, 4),
        }
    )
    shown = f"{recall:>10.3f}" if recall is not None else f"{'':>10}"
    print(
        f"{size:>10,} {what:<24} {cpu:>7.2f} {wall:>7.2f} {1000 * cpu / QUERIES:>9.2f} "
        f"{extra:>9.0f} {size * WIDTH * 4 / 1e9:>11.2f} {shown}",
        flush=True,
    )


if __name__ == "__main__":
    main()
