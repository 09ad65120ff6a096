"""IBAN at the size of tests."""

import pytest
import torch
from torch import nn

from vvi import methods
from vvi.types import Batch


def small(**options):
    torch.manual_seed(0)
    return methods.load(
        "iban", num_ids=5, backbone="micro", **({"frames": 3} | options)
    )


def awake(model):
    """Open the guides of a model, whose norms start at zero and hide the attention."""
    for guide in (model.guide3, model.guide4):
        nn.init.ones_(guide.norm.weight)
    return model


def batch(frames=3, step=0):
    g = torch.Generator().manual_seed(step)
    vis, ir = (torch.randn(6, frames, 3, 32, 16, generator=g) for _ in range(2))
    return Batch(vis, ir, torch.tensor([0, 0, 1, 1, 2, 2]), None, None, step)


def near(value, expected):
    assert float(value.detach()) == pytest.approx(expected, abs=1e-5)


def count(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())
