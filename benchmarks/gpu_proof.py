"""Prove on a GPU what only a GPU can show, in two parts of at most six minutes each.

    python benchmarks/gpu_proof.py agree  [--out proof.json]
    python benchmarks/gpu_proof.py train  [--out proof.json]
    python benchmarks/gpu_proof.py agree train --rehearse     the same on the CPU, tiny

agree: every method computes one step on the CPU and on the GPU from the same weights
and clips; losses agree to 1e-3 and a search ranks alike. Then `gpu.py`: frames a
second, share of the card's peak and memory, with and without `torch.compile`. train:
the main row of every method for some hundred steps at `full`, with a record.

One JSON holds all of it, with the card, the versions and the seconds spent. A part
stops taking on work when its time is over and says what it left out.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vvi import experiment, methods
from vvi.config import RunConfig, change, preset
from vvi.evaluation.evaluate import embed
from vvi.experiment import ablation
from vvi.runtime.random import seed_everything

HERE = Path(__file__).parent
LIMIT = 330.0  # seconds of a part; the machine is lent for a short time
TOLERANCE = 1e-3  # of a loss, CPU against GPU, in float32


@dataclass(frozen=True)
class Proof:
    """Where the proof runs, and how large it is."""

    #: What computes: "cuda", or "cpu" in a rehearsal.
    device: str
    #: Steps of a training run.
    steps: int
    #: Preset of the training runs.
    size: str
    #: When no more work is taken on, as `time.monotonic` counts.
    until: float

    @property
    def rehearsal(self) -> bool:
        """Whether this is a try on the CPU, which proves nothing about a GPU."""
        return self.device == "cpu"


def main() -> None:
    """Run the parts that are named and write one JSON."""
    args = _parser().parse_args()
    if not args.rehearse and not torch.cuda.is_available():
        sys.exit("no GPU: torch sees none here; --rehearse tries the script on the CPU")
    device, size, steps = "cuda", "full", args.steps
    if args.rehearse:
        device, size, steps = "cpu", "tiny", 2
    results = _read(args.out) | {"machine": machine(device)}
    for part in args.parts:
        until = time.monotonic() + args.limit
        proof = Proof(device, steps, size, until)
        start = time.monotonic()
        results[part] = PARTS[part](proof)
        results[part]["seconds"] = round(time.monotonic() - start, 1)
        args.out.write_text(json.dumps(results, indent=1) + "\n")
    print(args.out)
    if not all(results[part]["passed"] for part in args.parts):
        sys.exit(f"not everything agreed or ran: see {args.out}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="+", choices=tuple(PARTS))
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, tiny")
    parser.add_argument("--steps", type=int, default=300, help="of a training run")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds of a part")
    parser.add_argument("--out", type=Path, default=Path("gpu_proof.json"))
    return parser


def _read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text()) if file.is_file() else {}


def machine(device: str) -> dict[str, Any]:
    """Name what computed: card, driver side and versions."""
    about = {"python": platform.python_version(), "torch": torch.__version__}
    if device == "cpu":
        return about | {"device": "cpu", "rehearsal": True}
    card = torch.cuda.get_device_properties(0)
    about |= {"device": card.name, "memory": round(card.total_memory / 1e9, 1)}
    return about | {"cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}


def agree(proof: Proof) -> dict[str, Any]:
    """Compare CPU and GPU for every method, then measure the speed of steps."""
    by_method = {name: agreement(name, proof.device) for name in methods.names()}
    passed = all(found["passed"] for found in by_method.values())
    left = proof.until - time.monotonic()
    speed = measure_speed(proof, left)
    return {"passed": passed, "methods": by_method, "speed": speed}


def agreement(name: str, device: str) -> dict[str, Any]:
    """Compute one step and one search on the CPU and on a device.

    Returns:
        Losses of both, their largest relative difference, whether the ranked lists are
        equal up to ties of 1e-5, and whether it all passed.
    """
    settings = preset("tiny", name, steps=1, precision="32-true")
    data = experiment.dataset(settings.data)
    reader = experiment.frames(settings.data, data)
    losses, similarity = {}, {}
    for where in ("cpu", device):
        seed_everything(settings.seed)
        method = experiment.build(settings, len(data.labels)).to(where)
        query, gallery = (
            embed(method, side, reader, settings.data.frames)
            for side in (data.query("ir2vis"), data.gallery("ir2vis"))
        )
        similarity[where] = query @ gallery.T
        losses[where] = _losses(settings, where)
    difference = max(
        abs(losses["cpu"][term] - losses[device][term]) / max(1.0, abs(value))
        for term, value in losses["cpu"].items()
    )
    ranks = _same_ranks(similarity["cpu"], similarity[device])
    passed = difference <= TOLERANCE and ranks
    return {
        "losses": losses,
        "largest relative difference": difference,
        "ranks equal": ranks,
        "passed": passed,
    }


def _losses(settings: RunConfig, device: str) -> dict[str, float]:
    """Loss terms of the first step of training, by the one training loop."""
    how = {"device": device, "keep": False, "retrain": True, "progress": False}
    history = experiment.run(settings, **how).history
    terms = {name: float(values[0]) for name, values in history.items()}
    return {name: value for name, value in terms.items() if value == value}


def _same_ranks(one: np.ndarray, other: np.ndarray, tie: float = 1e-5) -> bool:
    """Whether two similarity matrices rank alike, but for pairs closer than a tie."""
    best_first = np.argsort(-one, axis=1, kind="stable")
    ordered = np.take_along_axis(other, best_first, axis=1)
    return bool((np.diff(ordered, axis=1) <= tie).all())


def measure_speed(proof: Proof, seconds: float) -> dict[str, Any]:
    """Run `gpu.py` in a process of its own, for as long as there is time."""
    out = Path("gpu_speed.json").absolute()
    command = [sys.executable, str(HERE / "gpu.py"), "--out", str(out)]
    if proof.rehearsal:
        command += ["--device", "cpu", "--steps", "1", "--methods", "baseline"]
    else:
        command += ["--compile"]
    try:
        done = subprocess.run(command, timeout=max(1.0, seconds), cwd=HERE.parent)
        ended = "complete" if done.returncode == 0 else f"status {done.returncode}"
    except subprocess.TimeoutExpired:
        ended = "out of time: the methods that are missing were not measured"
    return {"ended": ended} | _read(out)


def train(proof: Proof) -> dict[str, Any]:
    """Train the main row of every method for some steps and keep its record."""
    runs, left_out = {}, []
    for name in methods.names():
        if time.monotonic() > proof.until:
            left_out.append(name)
            continue
        runs[name] = _trained(main_row(name, proof), proof.device)
    passed = not left_out and all(run["finite"] for run in runs.values())
    return {"passed": passed, "runs": runs, "left out": left_out}


def main_row(name: str, proof: Proof) -> RunConfig:
    """Return the run that stands for a method, at the size of the proof."""
    table, row = methods.module(name).MAIN
    config = ablation.configs(name, table, proof.size, [0])[row][0]
    return change(config, steps=proof.steps)


def _trained(config: RunConfig, device: str) -> dict[str, Any]:
    start = time.monotonic()
    result = experiment.run(config, device=device, pixels="cache", progress=False)
    seconds = time.monotonic() - start
    last = {name: _last(values) for name, values in result.history.items()}
    finite = all(math.isfinite(value) for value in last.values())
    return {
        "run": result.run_id,
        "environment": result.record.environment,
        "scores": {side: dict(s) for side, s in result.record.scores.items()},
        "last step": last,
        "seconds": round(seconds, 1),
        "finite": finite,
    }


def _last(values: Sequence[float]) -> float:
    """Return the last value of a term; steps of other phases have none."""
    values = [value for value in values if not math.isnan(value)]
    return float(values[-1]) if values else math.nan


PARTS: dict[str, Callable[[Proof], dict[str, Any]]] = {"agree": agree, "train": train}

if __name__ == "__main__":
    main()
