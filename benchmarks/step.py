"""What one training step costs at paper size (ResNet-50, 288x144, T = 6), and where:
forward, losses, backward, optimiser.

    python benchmarks/step.py [--methods mitml iban ...] [--rounds 3] [--in-turn 5]
        [--compile] [--smoke] [--out benchmarks/results/step.json]

Three ways to compute one step of one network, each in a process of its own, in turn,
round by round, on one thread:

    usual       as released code of the field does: float32, maps in the order N, C, H,
                W, a Python loop over the anchors of a loss
    float32     ours: the same numbers with channels last and losses without loops
    bf16        ours with `precision="bf16-mixed"`: convolutions and products in
                bfloat16; LSTMs, distances and the optimiser stay in float32

Each process makes one step to warm up and one that counts. Seconds are those of the
processor (user and system), since wall time on a shared machine says little; both are
kept. Data is noise that lies ready. A batch holds two identities with one clip of each
modality (CMFT needs two); the papers' batches are those of `gpu.py`. Memory is the
largest resident set of the process less what it was before a network was built. The
peak of the machine is the better of a product of matrices and a 3x3 convolution,
measured in every round. An operator is counted at torch's flop counter, twice for a
multiplication with an addition.

--compile adds bf16 with the stages of the trunk through `torch.compile` (needs a C++
compiler); --smoke runs a tiny network to see that all works, and writes only where told
to.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import usual
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from vvi import methods
from vvi.config import Recipe
from vvi.engine import optim, train
from vvi.experiment import store
from vvi.methods.base import Method
from vvi.types import Batch

PARTS = ("forward", "losses", "backward", "optimiser")
NUM_IDS = 500  # identities of HITSZ-VCM that train
LATE = 150.0  # an epoch in which all losses of a paper are at work
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Variant:
    """A way to compute a step. keep_memory: whether the C library is asked to keep what
    a step frees, as `train.fabric` does.
    """

    precision: str = "32-true"
    channels_last: bool = True
    loops: bool = False
    compiled: bool = False
    keep_memory: bool = True


VARIANTS = {
    "usual": Variant(channels_last=False, loops=True, keep_memory=False),
    "float32": Variant(),
    "bf16": Variant("bf16-mixed"),
    "bf16, compiled": Variant("bf16-mixed", compiled=True),
}


@dataclass(frozen=True)
class Job:
    """What one process measures."""

    method: str
    variant: str
    identities: int = 2
    tracklets: int = 1
    device: str = "cpu"
    height: int = 288
    width: int = 144
    frames: int = 6
    backbone: str = "resnet50"
    warm: int = 1
    steps: int = 1
    count: bool = False  # operations, while it warms up
    look: bool = False  # at operators one by one, in a step after those that count

    @property
    def images(self) -> int:
        """Frames of a step, both modalities."""
        return 2 * self.identities * self.tracklets * self.frames


def job(method: str, variant: str, smoke: bool = False, **changes: Any) -> Job:
    """The job of a method at the size of the paper and the smallest batch it takes, or
    a tiny one.
    """
    least = Job(
        method, variant, tracklets=2 if method == "cmft" else 1
    )  # MSRL compares clips of one identity and modality
    return replace(
        replace(least, height=32, width=16, frames=3, backbone="micro")
        if smoke
        else least,
        **changes,
    )


def noise(size: Job, device: torch.device) -> Batch:
    """A batch such as the loader gives, of random pixels."""
    g = torch.Generator().manual_seed(0)
    ids = torch.arange(size.identities).repeat_interleave(size.tracklets)
    vis, ir = (
        torch.randn(len(ids), size.frames, 3, size.height, size.width, generator=g).to(
            device
        )
        for _ in range(2)
    )
    ids, rows = ids.to(device), torch.arange(len(ids), device=device)
    return Batch(vis, ir, ids, rows, rows, 1)


class Split:
    """Seconds of steps by part: each moment belongs to the innermost part that is
    running. Layers that a loss runs count as forward.
    """

    def __init__(self, clock: Callable[[], float]):
        self.clock, self.stack, self.depth = clock, [], 0
        self.seconds, self.last = dict.fromkeys((*PARTS, "rest"), 0.0), 0.0

    def enter(self, part: str) -> None:
        self._book()
        self.stack.append(part)

    def leave(self) -> None:
        self._book()
        self.stack.pop()

    def _book(self) -> None:
        now = self.clock()
        if self.stack:
            self.seconds[self.stack[-1]] += now - self.last
        self.last = now

    def within(self, part: str, call: Callable) -> Callable:
        """The same function, booked."""

        def booked(*args, **kwargs):
            self.enter(part)
            try:
                return call(*args, **kwargs)
            finally:
                self.leave()

        return booked

    def layer_begins(self, *_) -> None:
        self.depth += 1
        if self.depth == 1:
            self.enter("forward")

    def layer_ends(self, *_) -> None:
        self.depth -= 1
        if self.depth == 0:
            self.leave()


@contextmanager
def booked(
    split: Split, method: Method, engine: Any, optimisers: dict
) -> Iterator[None]:
    """Inside, what `train.iteration` calls is booked."""
    layers = nn.modules.module
    hooks = [
        layers.register_module_forward_pre_hook(split.layer_begins),
        layers.register_module_forward_hook(split.layer_ends),
    ]
    places = [
        (method, "losses", "losses"),
        (engine, "backward", "backward"),
        *((o, "step", "optimiser") for o in optimisers.values()),
    ]
    for owner, name, part in places:
        setattr(owner, name, split.within(part, getattr(owner, name)))
    split.enter("rest")
    try:
        yield
    finally:
        split.leave()
        for owner, name, _ in places:
            delattr(owner, name)
        for hook in hooks:
            hook.remove()


class Bench:
    """A method with its optimisers on a device, ready to make steps."""

    def __init__(self, size: Job):
        self.size, self.variant = size, VARIANTS[size.variant]
        self.engine = _engine(size.device, self.variant)
        self.device = self.engine.device
        if self.variant.loops:
            usual.adopt()
        torch.manual_seed(0)
        method = methods.load(
            size.method, NUM_IDS, backbone=size.backbone, frames=size.frames
        )
        self.method = method.to(
            self.device,
            memory_format=torch.channels_last
            if self.variant.channels_last
            else torch.contiguous_format,
        ).train()
        if self.variant.compiled:
            self.compiling = ExitStack()
            self.compiling.enter_context(train.compiled(self.method))
        self.recipe = Recipe(precision=self.variant.precision)
        self.optimisers, self.batch = (
            optim.build(self.method, self.recipe),
            noise(size, self.device),
        )

        self.terms: dict[str, torch.Tensor] = {}

    def step(self) -> None:
        self.terms = train.iteration(
            self.method, self.batch, self.optimisers, LATE, self.recipe.lr, self.engine
        )

    def clock(self, wall: bool = False) -> float:
        """Seconds of the processor; wall time once a GPU has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return (
            time.perf_counter()
            if wall or self.device.type == "cuda"
            else time.process_time()
        )

    def split(self) -> dict[str, float]:
        """Seconds of one step by part; none where layers are compiled, which hooks
        would undo.
        """
        if self.variant.compiled:
            self.step()
            return {}
        found = Split(self.clock)
        with booked(found, self.method, self.engine, self.optimisers):
            self.step()
        return found.seconds

    def operations(self) -> int:
        """Floating-point operations of one step."""
        with FlopCounterMode(display=False, custom_mapping=_OF_LSTMS) as counter:
            self.step()
        return counter.get_total_flops()

    def looked_at(self, rows: int = 10) -> dict[str, Any]:
        """What one step tells: the operators that take most of it, each without those
        that it calls, and what `gradients` says.
        """
        gpu = self.device.type == "cuda"
        with profile(
            activities=[ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * gpu]
        ) as seen:
            reached = self.gradients()
            self.clock()
        took = (
            (lambda e: e.self_device_time_total)
            if gpu
            else (lambda e: e.self_cpu_time_total)
        )
        found, total = (
            sorted(seen.key_averages(), key=took, reverse=True),
            sum(map(took, seen.key_averages())),
        )
        return {
            "dearest": [
                {
                    "operator": e.key,
                    "calls": e.count,
                    "share": round(took(e) / total, 4),
                }
                for e in found[:rows]
            ],
            "gradients": reached,
        }

    def gradients(self) -> dict[str, int]:
        """Of one step: how many numbers of the network could learn, and how many of
        those that its phases move got no gradient.
        """
        active = [p for p in self.method.phases if p.epochs[0] <= LATE < p.epochs[1]]
        moved, reached = (
            {id(x) for phase in active for x in self.method.parameters_of(phase)},
            set(),
        )

        def note(optimiser: torch.optim.Optimizer, *_: Any) -> None:
            reached.update(
                id(x)
                for group in optimiser.param_groups
                for x in group["params"]
                if x.grad is not None
            )

        hooks = [
            optimiser.register_step_pre_hook(note)
            for optimiser in self.optimisers.values()
        ]
        self.step()
        for hook in hooks:
            hook.remove()
        every = [x for x in self.method.parameters() if x.requires_grad]
        return {
            "parameters": sum(x.numel() for x in every),
            "without gradient": sum(
                x.numel() for x in every if id(x) in moved and id(x) not in reached
            ),
        }


def _engine(device: str, variant: Variant):
    if variant.keep_memory:
        return train.fabric(device, variant.precision)
    from lightning_fabric import Fabric

    kind, _, number = device.partition(":")
    return Fabric(
        accelerator=kind,
        devices=[int(number)] if number else 1,
        precision=variant.precision,
    )


def _lstm(seen: torch.Size, *rest: Any, **_: Any) -> int:
    weights = [
        shape
        for part in rest
        for shape in (part if isinstance(part, list) else [part])
        if isinstance(shape, torch.Size) and len(shape) == 2
    ]
    return (
        2 * seen[0] * seen[1] * sum(a * b for a, b in weights)
    )  # each weight meets each frame of each clip


def _lstm_back(*seen: Any, **rest: Any) -> int:
    return 2 * _lstm(*seen, **rest)


_aten = torch.ops.aten
_OF_LSTMS = {
    _aten.mkldnn_rnn_layer: _lstm,
    _aten.mkldnn_rnn_layer_backward: _lstm_back,
    _aten._cudnn_rnn: _lstm,
    _aten._cudnn_rnn_backward: _lstm_back,
}


def resident() -> float:
    """GB of the largest resident set of this process so far."""
    return (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        * (1 if sys.platform == "darwin" else 1024)
        / 1e9
    )


def measure(size: Job) -> dict[str, Any]:
    """Warm up, then seconds (processor and wall) and split of a mean step, memory, and
    what else the job asks for.
    """
    torch.set_num_threads(1)
    idle, found = resident(), {}
    bench = Bench(size)
    for n in range(size.warm):
        if size.count and n == 0:
            found["operations"] = bench.operations()
        else:
            bench.step()
    terms = {name: round(float(value), 6) for name, value in bench.terms.items()}
    start, wall = bench.clock(), bench.clock(wall=True)
    splits = [bench.split() for _ in range(size.steps)]
    found |= {
        "seconds": (bench.clock() - start) / size.steps,
        "wall": (bench.clock(wall=True) - wall) / size.steps,
    }
    found |= {
        "split": {
            part: sum(s[part] for s in splits) / size.steps for part in splits[0]
        },
        "losses": terms,
        "memory": resident() - idle,
    }
    return found | (bench.looked_at() if size.look else {})


def in_turn(sizes: list[Job], rounds: int) -> dict[str, list[float]]:
    """Seconds of steps of several variants that take turns in one process, so that what
    else the machine does meets all alike. Not for the usual way, whose losses take the
    place of ours.
    """
    torch.set_num_threads(1)
    benches = {size.variant: Bench(size) for size in sizes}
    for bench in benches.values():
        bench.step()
    found: dict[str, list[float]] = {name: [] for name in benches}
    for _ in range(rounds):
        for name, bench in benches.items():
            start = bench.clock()
            bench.step()
            found[name].append(bench.clock() - start)
    return found


def peak(device: str = "cpu", side: int = 2048, rounds: int = 3) -> dict[str, float]:
    """GFLOP/s of a product of matrices and of a 3x3 convolution, in both precisions:
    what the machine reaches, not what it is sold as.
    """
    torch.set_num_threads(1)
    clock, found = (time.process_time if device == "cpu" else _waiting), {}
    for name, kind in (("float32", torch.float32), ("bf16", torch.bfloat16)):
        square = torch.randn(side, side, device=device, dtype=kind)
        maps = torch.randn(24, 512, 18, 9, device=device, dtype=kind).to(
            memory_format=torch.channels_last
        )
        weight = torch.randn(512, 512, 3, 3, device=device, dtype=kind).to(
            memory_format=torch.channels_last
        )
        for what, call, work in (
            ("product", lambda x=square: x @ x, 2 * side**3),
            (
                "convolution",
                lambda x=maps, w=weight: nn.functional.conv2d(x, w, padding=1),
                2 * 24 * 162 * 9 * 512**2,
            ),
        ):
            call()
            times = [_seconds(call, clock) for _ in range(rounds)]
            found[f"{what}, {name}"] = work / min(times) / 1e9
    return found


def _waiting() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


def _seconds(call: Callable, clock: Callable[[], float]) -> float:
    start = clock()
    call()
    return clock() - start


def alone(call: Callable, *args: Any) -> Any:
    """A call in a process of its own, so that its memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(call, args)


def spread(values: list[float]) -> dict[str, Any]:
    """Median and range of what the rounds gave."""
    return {
        "median": round(statistics.median(values), 4),
        "min": round(min(values), 4),
        "max": round(max(values), 4),
        "rounds": [round(v, 4) for v in values],
    }


def compare(
    method: str, variants: list[str], rounds: int, smoke: bool = False
) -> dict[str, Any]:
    """All variants of a method in turn, round by round, and what follows from them."""
    runs: dict[str, list[dict]] = {name: [] for name in variants}
    peaks = []
    for n in range(rounds):
        peaks.append(alone(peak))
        for name in variants:
            first = n == 0
            size = job(
                method,
                name,
                smoke,
                count=first and name == "float32",
                look=first and name in ("float32", "bf16"),
            )
            runs[name].append(alone(measure, size))
            print(
                f"{method:9s} {name:16s} {runs[name][-1]['seconds']:8.2f} CPU s "
                f"{runs[name][-1]['memory']:6.2f} GB",
                flush=True,
            )
    return summary(job(method, variants[0], smoke), runs, peaks)


def turns(method: str, rounds: int, smoke: bool = False) -> dict[str, Any]:
    """Float32 and bf16 of ours, step by step in one process, and the ratio of each pair
    of steps.
    """
    seconds = alone(
        in_turn, [job(method, name, smoke) for name in ("float32", "bf16")], rounds
    )
    found = {name: spread(values) for name, values in seconds.items()}
    found["bf16 / float32"] = spread(
        [b / a for a, b in zip(seconds["float32"], seconds["bf16"], strict=True)]
    )
    print(
        f"{method:9s} in turn: "
        + ", ".join(
            f"{name} {v['median']:.3f} ({v['min']:.3f} to {v['max']:.3f})"
            for name, v in found.items()
        ),
        flush=True,
    )
    return found


def summary(
    size: Job, runs: dict[str, list[dict]], peaks: list[dict]
) -> dict[str, Any]:
    """Medians and ranges; ratios are taken within a round. Fractions are of the better
    peak of the precision in which a variant convolves.
    """
    work = runs["float32"][0]["operations"]
    best = {
        kind: max(v for p in peaks for name, v in p.items() if name.endswith(kind))
        * 1e9
        for kind in ("float32", "bf16")
    }
    found: dict[str, Any] = {
        "batch": asdict(size) | {"images": size.images},
        "operations": work,
        "variants": {},
    }
    found["peak"] = {name: spread([p[name] for p in peaks]) for name in peaks[0]}
    found |= runs["float32"][0].get("gradients", {})
    for name, rows in runs.items():
        kind, middle = (
            "bf16" if name.startswith("bf16") else "float32",
            statistics.median(r["seconds"] for r in rows),
        )
        entry = {
            key: spread([r[key] for r in rows]) for key in ("seconds", "wall", "memory")
        }
        entry |= {
            "split": {
                p: round(statistics.median(r["split"][p] for r in rows), 4)
                for p in rows[0]["split"]
            },
            "losses": rows[0]["losses"],
        }
        found["variants"][name] = entry | {
            "fraction of peak": round(work / middle / best[kind], 4),
            "dearest": rows[0].get("dearest", []),
        }
    found["ratios"] = {
        f"{a} / {b}, {key}": spread(
            [x[key] / y[key] for x, y in zip(runs[a], runs[b], strict=True)]
        )
        for a in runs
        for b in ("usual", "float32")
        for key in ("seconds", "memory")
        if b in runs and a != b and a != "usual"
    }
    return found


def keep(
    out: Path,
    method: str,
    found: dict[str, Any],
    what: str = __doc__.splitlines()[0],
    device: str = "cpu",
) -> None:
    """Put what was found for a method beside that of others in the file, with where it
    was measured.
    """
    known = (
        json.loads(out.read_text()) if out.exists() else {"what": what, "methods": {}}
    )
    known["methods"][method] = found | {
        "environment": store.environment(device),
        "when": time.strftime("%Y-%m-%d"),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(known, indent=1) + "\n")


def show(method: str, found: dict[str, Any]) -> None:
    """The findings as a small table."""
    print(
        f"\n{method}: {found['batch']['images']} frames, "
        f"{found['operations'] / 1e12:.2f} TFLOP, "
        f"{found.get('parameters', 0) / 1e6:.1f} M parameters"
    )
    print(
        f"{'':16s} {'CPU s':>8s} {'min':>7s} {'max':>7s} {'of peak':>8s} {'GB':>6s}  "
        + " ".join(f"{p:>9s}" for p in PARTS)
    )
    for name, v in found["variants"].items():
        s, parts = (
            v["seconds"],
            " ".join(f"{v['split'].get(p, float('nan')):9.2f}" for p in PARTS),
        )
        print(
            f"{name:16s} {s['median']:8.2f} {s['min']:7.2f} {s['max']:7.2f} "
            f"{v['fraction of peak']:8.1%} {v['memory']['median']:6.2f}  {parts}"
        )
    for name, ratio in found["ratios"].items():
        print(
            f"  {name:28s} {ratio['median']:.3f} "
            f"({ratio['min']:.3f} to {ratio['max']:.3f})"
        )
    print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--methods", nargs="+", default=methods.names(), choices=methods.names()
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--in-turn",
        type=int,
        default=0,
        metavar="N",
        help="also N steps of float32 and of bf16, one after the other in one process",
    )
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    out = args.out or (None if args.smoke else RESULTS / "step.json")
    for method in args.methods:
        found = compare(
            method,
            [name for name in VARIANTS if args.compile or name != "bf16, compiled"],
            args.rounds,
            args.smoke,
        )
        if args.in_turn:
            found["in turn"] = turns(method, args.in_turn, args.smoke)
        show(method, found)
        if out:
            keep(out, method, found)


if __name__ == "__main__":
    main()
