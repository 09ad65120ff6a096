"""What a training step costs on a GPU with the batches of the papers: frames a second,
fraction of the card's peak, forward, losses, backward, optimiser.

    python benchmarks/gpu.py [--methods mitml iban ...] [--steps 20] [--compile]
        [--autotune] [--out benchmarks/results/gpu.json]

The ways to compute a step are those of `step.py`, each in a process of its own. Steps
that count run without a wait between them; the split, which needs waits, is of three
more. The peak is what a product of large matrices reaches in bf16 on this card, and in
float32 for the float32 ways. For IBAN a frame is a pair, the frame and its anaglyph.
Also: how long a batch of bytes takes to the card from pinned and from ordinary memory.
Without a GPU it says so and ends with status 1; `--device cpu` tries the script on a
tiny network and writes only where told to.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import step
import torch

from vvi import methods

GOALS = {
    "mitml": 3000,
    "iban": 1700,
}  # frames a second in bf16; of IBAN, pairs of a frame and its anaglyph
PAPER = {
    "iban": dict(identities=4, tracklets=2)
}  # the others: 8 identities of 2 tracklets in each modality


def size(method: str, variant: str, device: str) -> step.Job:
    """The batch of the paper on a GPU, a tiny one elsewhere."""
    cpu = device == "cpu"
    return step.job(
        method,
        variant,
        smoke=cpu,
        device=device,
        **({} if cpu else dict(identities=8, tracklets=2) | PAPER.get(method, {})),
    )


def measure(job: step.Job, autotune: bool = False) -> dict[str, Any]:
    """Seconds of a mean step, its split, frames a second and memory."""
    torch.backends.cudnn.benchmark = autotune
    bench = step.Bench(job)
    work = bench.operations() if not bench.variant.compiled else None
    for _ in range(3):
        bench.step()
    start = bench.clock(wall=True)
    for _ in range(job.steps):
        bench.step()
    seconds = (bench.clock(wall=True) - start) / job.steps
    found = {
        "seconds": seconds,
        "frames a second": job.images / seconds,
        "operations": work,
    }
    if bench.device.type == "cuda":
        found["memory"] = torch.cuda.max_memory_allocated(bench.device) / 1e9
    if not bench.variant.compiled:
        splits = [bench.split() for _ in range(3)]
        found |= {
            "split": {
                part: statistics.median(s[part] for s in splits) for part in splits[0]
            }
        } | bench.looked_at()
    return found | {"transfer": transfer(job, bench)}


def transfer(job: step.Job, bench: step.Bench) -> dict[str, float]:
    """Seconds that the clips of a batch take to the device, as bytes."""
    found, ordinary = (
        {},
        torch.zeros(job.images, 3, job.height, job.width, dtype=torch.uint8),
    )
    sources = {"ordinary": ordinary} | (
        {"pinned": ordinary.pin_memory()} if bench.device.type == "cuda" else {}
    )
    for name, source in sources.items():
        times = []
        for _ in range(5):
            start = bench.clock(wall=True)
            source.to(bench.device, non_blocking=True)
            times.append(bench.clock(wall=True) - start)
        found[name] = statistics.median(times)
    return found


def compare(
    method: str, variants: list[str], device: str, steps: int, autotune: bool
) -> dict[str, Any]:
    """All variants of a method, with fractions of the peak."""
    peaks = step.alone(step.peak, device, 8192 if device != "cpu" else 512)
    runs = {
        name: step.alone(
            measure, replace(size(method, name, device), steps=steps), autotune
        )
        for name in variants
    }
    work = next(run["operations"] for run in runs.values() if run["operations"])
    for name, run in runs.items():
        best = (
            max(
                v
                for kind, v in peaks.items()
                if kind.endswith("bf16" if name.startswith("bf16") else "float32")
            )
            * 1e9
        )
        run |= {"operations": work, "fraction of peak": work / run["seconds"] / best}
        unit = "pairs" if method == "iban" else "frames"
        speed = f"{run['frames a second']:9.0f} {unit}/s"
        share = f"{run['fraction of peak']:6.1%} of peak"
        print(
            f"{method:9s} {name:16s} {1e3 * run['seconds']:9.1f} ms {speed} {share}",
            flush=True,
        )
    found = {
        "images": size(method, variants[0], device).images,
        "peak": peaks,
        "variants": runs,
    }
    return found | (
        {
            "goal": GOALS[method],
            "reached": runs["bf16"]["frames a second"] >= GOALS[method],
        }
        if method in GOALS and device != "cpu"
        else {}
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--methods", nargs="+", default=methods.names(), choices=methods.names()
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument(
        "--autotune",
        action="store_true",
        help="let cuDNN try its algorithms and keep the fastest: "
        "runs do not repeat bit by bit",
    )
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.device != "cpu" and not torch.cuda.is_available():
        sys.exit("no GPU: torch sees none here, nothing was measured")
    out = args.out or (None if args.device == "cpu" else step.RESULTS / "gpu.json")
    variants = [
        name for name in step.VARIANTS if args.compile or name != "bf16, compiled"
    ]
    for method in args.methods:
        found = compare(method, variants, args.device, args.steps, args.autotune)
        if out:
            where = (
                args.device
                if args.device == "cpu"
                else torch.cuda.get_device_name(args.device)
            )
            step.keep(out, method, found, __doc__.splitlines()[0], where)


if __name__ == "__main__":
    main()
