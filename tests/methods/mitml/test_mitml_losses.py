"""Losses of adversarial learning in MITML."""

import math

import pytest
import torch
from small_mitml import near

from vvi.methods import mitml

VIS, IR = (
    torch.tensor([[0.0, 2, 0], [1, 0, 0]]),
    torch.tensor([[1.0, 0, 1], [0, 0, 3]]),
)  # columns infrared, visible, neither


def test_the_losses_of_the_game_are_those_of_the_card():
    near(mitml.modal_loss(VIS, IR), 2.873954)
    near(mitml.confusion_loss(VIS, IR), 2.373954)
    two = VIS[:, :2], IR[:, :2]
    near(mitml.modal_loss(*two), 1.223299)
    near(mitml.confusion_loss(*two, "flip"), 2.223299)
    near(mitml.confusion_loss(*two, "uniform"), 1.723299)


def test_the_game_at_its_start_and_where_the_uniform_target_stops_pushing():
    zero = [torch.zeros(4, 3, requires_grad=True) for _ in range(2)]
    near(mitml.modal_loss(*zero), 2 * math.log(3))
    mitml.confusion_loss(*zero).backward()
    assert zero[0].grad.abs().max() > 0.01
    two = [torch.zeros(4, 2, requires_grad=True) for _ in range(2)]
    near(mitml.confusion_loss(*two, "flip"), 2 * math.log(2))
    uniform = mitml.confusion_loss(*two, "uniform")
    near(uniform, 2 * math.log(2))
    uniform.backward()
    assert two[0].grad.abs().max() < 1e-7
    with pytest.raises(ValueError, match="adversary='swap': choose from"):
        mitml.confusion_loss(*two, "swap")
