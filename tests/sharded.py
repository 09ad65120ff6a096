"""What one process of several does in tests/test_shards.py."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from vvi import methods
from vvi.config import Recipe
from vvi.engine import optim, train
from vvi.methods.base import Method
from vvi.runtime.random import rank_and_world_size, seed_everything
from vvi.types import Batch

CASES = {
    **{name: (name, {}) for name in methods.names() if name != "di2l"},
    "di2l": (
        "di2l",
        {"rca": "off"},
    ),  # else each process draws the channels of its own clips
    "di2l, three streams": ("di2l", {"rca": "grey"}),  # see `grey`
    "cmft, mdl and msrl of cosines": ("cmft", {"msrl": "cosine", "switch": 0}),
    "sadstrm, one step": (
        "sadstrm",
        {"optim_mode": "joint", "stig_input": "post_cmca"},
    ),
    "iban, released": ("iban", {"variant": "released", "align": True}),
}


class Engine:
    """What `train.iteration` needs of Fabric."""

    autocast = staticmethod(nullcontext)

    @staticmethod
    def backward(loss, **options):
        loss.backward(**options)


class Kept(torch.optim.SGD):
    """Moves nothing and keeps the gradients that it was given."""

    def __init__(self, method: Method):
        self.names, self.steps = {p: name for name, p in method.named_parameters()}, []
        super().__init__([{"params": list(method.parameters()), "factor": 1.0}])

    def step(self):
        self.steps.append(
            {
                name: p.grad.clone()
                for p, name in self.names.items()
                if p.grad is not None
            }
        )


def batch(identities: int = 4, tracklets: int = 2, frames: int = 3) -> Batch:
    g = torch.Generator().manual_seed(0)
    n = identities * tracklets
    vis, ir = (torch.randn(n, frames, 3, 32, 16, generator=g) for _ in range(2))
    return Batch(
        vis,
        ir,
        torch.arange(identities).repeat_interleave(tracklets),
        torch.arange(n),
        torch.arange(n, 2 * n),
        1,
    )


def part(whole: Batch, number: int, count: int) -> Batch:
    size = len(whole.ids) // count
    mine = slice(number * size, (number + 1) * size)
    return replace(
        whole,
        **{
            name: getattr(whole, name)[mine]
            for name in ("vis", "ir", "ids", "rows_vis", "rows_ir")
        },
    )


def gradients(case: str, number: int, count: int) -> dict[str, torch.Tensor]:
    """Return the gradient of every phase of an iteration, and its losses.

    With batch norm in evaluation mode: "epoch/step/parameter" and "epoch/phase/term".
    """
    name, options = CASES[case]
    seed_everything(0)
    method = methods.load(
        name,
        num_ids=6,
        backbone="micro",
        frames=3,
        **{k: v for k, v in options.items() if v != "grey"},
    ).eval()
    if "grey" in options.values():
        method.streams = lambda b: [
            b.vis,
            b.vis.mean(2, keepdim=True).expand_as(b.vis),
            b.ir,
        ]
    for norm in (
        m
        for m in method.modules()
        if isinstance(m, nn.modules.batchnorm._BatchNorm)
        and m.affine
        and not m.weight.any()
    ):
        nn.init.ones_(
            norm.weight
        )  # one that starts at zero hides what stands before it
    recipe, found = Recipe(), {}
    for epoch in (0.0, 199.0):
        kept = {key: Kept(method) for key in optim.build(method, recipe)}
        terms = train.iteration(
            method,
            part(batch(), number, count),
            kept,
            epoch,
            optim.rate(recipe, epoch, recipe.epochs),
            Engine(),
        )
        found |= {f"{epoch}/{key}": value for key, value in terms.items()}
        found |= {
            f"{epoch}/{key}/{i}/{p}": grad
            for key, kept_ in kept.items()
            for i, step in enumerate(kept_.steps)
            for p, grad in step.items()
        }
    return found


def main(folder: Path, variables: dict[str, str]) -> None:
    """Write the gradients of one process of several.

    Args:
        folder: for "case-process.pt".
        variables: of the environment, as torchrun sets them.
    """
    os.environ.update(variables)
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    number, count = rank_and_world_size()
    for i, case in enumerate(CASES):
        torch.save(gradients(case, number, count), folder / f"{i}-{number}.pt")
    dist.destroy_process_group()
