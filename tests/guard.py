"""What a rebuild of the package must not change, as one table.

For every row of every method: the hash of its config at each preset, names and shapes
of its state dict, its phases, and the losses of two steps at the start and late in
training. `python tests/guard.py --write` makes `tests/guard.json` anew, which is right
only where numbers change on purpose.
"""

import argparse
import hashlib
import json
from pathlib import Path

import torch

from vvi import methods
from vvi.config import PRESETS, Recipe
from vvi.engine import optim, train
from vvi.experiment import ablation
from vvi.types import Batch

FILE = Path(__file__).with_name("guard.json")
EPOCHS = (0.0, 160.0)  # before and after everything that starts late
RECIPE = Recipe(optimiser="adamw", lr=1e-3, slow=1.0)


def digest(value) -> str:
    """Return twelve hexadecimal digits of a value that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def batch(frames: int, step: int) -> Batch:
    """Return four pairs of noise clips of two people."""
    noise = torch.Generator().manual_seed(step)
    vis, ir = (torch.randn(4, frames, 3, 32, 16, generator=noise) for _ in range(2))
    rows = torch.arange(4)
    return Batch(vis, ir, torch.tensor([0, 0, 1, 1]), rows, rows, step)


def row_of(config) -> dict:
    """Return what one row computes at the size of the tests."""
    torch.manual_seed(0)
    frames = config.data.frames
    options = {"backbone": "micro", "weights": None, "frames": frames}
    method = methods.load(config.method, 5, **options | dict(config.options)).train()
    state = {name: list(value.shape) for name, value in method.state_dict().items()}
    phases = [
        [p.name, list(p.parts), [str(e) for e in p.epochs], p.fresh, p.lr, p.optimiser]
        for p in method.phases
    ]
    engine, losses = train.fabric("cpu"), []
    for step, epoch in enumerate(EPOCHS):
        terms = train.iteration(
            method,
            batch(frames, step),
            optim.build(method, RECIPE),
            epoch,
            RECIPE.lr,
            engine,
        )
        losses.append({name: float(f"{v:.4g}") for name, v in sorted(terms.items())})
    return {"state": digest(state), "phases": digest(phases), "losses": losses}


def rows(method: str) -> dict[str, dict]:
    """Return every row of a method's tables by its label."""
    table = {}
    for label, config in ablation.labelled_rows(method, "tiny").items():
        hashes = {
            size: ablation.labelled_rows(method, size)[label].hash for size in PRESETS
        }
        table[label] = {"hash": hashes} | row_of(config)
    return table


def everything() -> dict[str, dict]:
    """Return the whole table, method by method."""
    return {method: rows(method) for method in methods.names()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    if parser.parse_args().write:
        FILE.write_text(json.dumps(everything(), indent=0, sort_keys=True) + "\n")
