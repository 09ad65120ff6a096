"""What one training step of SADSTRM costs at paper size (ResNet-50, 288x144, T = 6), in time and in memory, beside one of the baseline.

    python benchmarks/sadstrm_step.py [--identities 2] [--tracklets 1] [--steps 1] [--device auto] [--precision 32-true]

The papers' batch is --identities 8 --tracklets 2, which needs a GPU. Every row runs in a process of its own, so that its peak is its own: on a CPU the largest resident set of
the process, on a GPU the most that torch held there. Pixels are noise; the time is that of the quickest step, on a CPU in CPU seconds, since wall time on a shared machine says
little.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time

import torch

from vvi import methods, optim, train
from vvi.config import Recipe
from vvi.types import Batch

HEIGHT, WIDTH, T, NUM_IDS = 288, 144, 6, 500
RIVALS = {  # label -> method, options, epoch
    "baseline": ("baseline", {}, 0),
    "SADSTRM, Step I": ("sadstrm", {}, 0),
    "SADSTRM, Step II": ("sadstrm", {}, 150),
    "SADSTRM, joint, Step I": ("sadstrm", {"optim_mode": "joint"}, 0),
}


def noise(identities: int, tracklets: int, step: int, device: torch.device) -> Batch:
    """A batch of the size that the loader gives."""
    g = torch.Generator().manual_seed(step)
    ids = torch.arange(identities).repeat_interleave(tracklets)
    rows = torch.arange(len(ids))
    vis, ir = (torch.randn(len(ids), T, 3, HEIGHT, WIDTH, generator=g) for _ in range(2))
    return Batch(vis.to(device), ir.to(device), ids.to(device), rows, rows, step)


def measure(label: str, args: argparse.Namespace) -> tuple[float, float, float]:
    """Millions of parameters, seconds of the quickest step, peak in GB."""
    name, options, epoch = RIVALS[label]
    engine = train.fabric(args.device, args.precision)
    method = methods.load(name, NUM_IDS, backbone="resnet50", **options).to(engine.device, memory_format=torch.channels_last).train()
    optimisers, seconds = optim.build(method, Recipe()), []
    clock = time.perf_counter if engine.device.type == "cuda" else time.process_time
    for step in range(args.steps):
        batch = noise(args.identities, args.tracklets, step, engine.device)
        start = clock()
        train.iteration(method, batch, optimisers, Recipe(), epoch, engine)
        if engine.device.type == "cuda":
            torch.cuda.synchronize(engine.device)
        seconds.append(clock() - start)
    if engine.device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(engine.device)
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return sum(p.numel() for p in method.parameters()) / 1e6, min(seconds), peak / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--identities", type=int, default=2)
    parser.add_argument("--tracklets", type=int, default=1)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="32-true")
    args = parser.parse_args()
    clips = 2 * args.identities * args.tracklets
    print(
        f"{f'{clips} clips of {T} frames at {HEIGHT}x{WIDTH}, {torch.get_num_threads()} threads':48s} {'M param':>8s} {'s/step':>8s} {'ratio':>6s} {'peak GB':>8s}"
    )
    base = None
    for label in RIVALS:
        with multiprocessing.get_context("spawn").Pool(1) as alone:
            params, seconds, peak = alone.apply(measure, (label, args))
        base = base or seconds
        print(f"{label:48s} {params:8.1f} {seconds:8.2f} {seconds / base:6.1f} {peak:8.2f}", flush=True)


if __name__ == "__main__":
    main()
