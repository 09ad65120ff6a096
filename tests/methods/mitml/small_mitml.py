"""MITML at the size of tests."""

import pytest
import torch

from vvi import methods
from vvi.types import Batch


def small(**options):
    torch.manual_seed(0)
    return methods.load(
        "mitml", num_ids=5, backbone="micro", **({"frames": 4} | options)
    )


def batch(frames=4, step=0):
    g = torch.Generator().manual_seed(step)
    vis, ir = (torch.randn(6, frames, 3, 32, 16, generator=g) for _ in range(2))
    return Batch(vis, ir, torch.tensor([0, 0, 1, 1, 2, 2]), None, None, step)


def near(value, expected):
    assert float(value.detach()) == pytest.approx(expected, abs=1e-5)


def count(module):
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
