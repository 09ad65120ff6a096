"""Temporal memory and modality classifier of MITML."""

import pytest
import torch
import torch.nn.functional as F
from small_mitml import count
from torch import nn

from vvi.methods import mitml


def test_the_parameters_of_tmr_grow_with_the_frames_as_the_card_says():
    with torch.device("meta"):
        for frames in (1, 6, 8):
            assert (
                count(mitml.TemporalMemory(2048, frames))
                == 67_141_632 + 4_720_640 * frames
            )


def toy_memory(eta="own", half_outside=False):
    """Make a TMR of two channels and two frames, with linear maps that change nothing.

    Only the cell gate of its LSTM has a bias.
    """
    memory = mitml.TemporalMemory(2, 2, eta, half_outside, reduction=1)
    with torch.no_grad():
        for p in memory.parameters():
            p.zero_()
        for layer in (0, 1):
            getattr(memory.lstm, f"bias_ih_l{layer}")[4:6] = (
                1  # gates i, f, g, o of two units each: g
            )
        for part in (memory.fc, memory.squeeze, memory.excite):
            part.weight.copy_(torch.eye(2).expand(2, 2, 2))
    return memory


ATTENTION, AGGREGATION = (
    torch.tensor([[[0.6, 0.2], [-1, 1]]]),
    torch.tensor([[[2.0, -4], [1, 1]]]),
)


@pytest.mark.parametrize(
    ("eta", "expected"),
    [("own", (2.346487, -2.268998)), ("last", (2.355649, -2.287893))],
)
def test_the_tiny_memory_gives_the_clip_vector_of_the_card(eta, expected):
    memory = toy_memory(eta)
    torch.testing.assert_close(
        memory.lstm(ATTENTION)[0][0, :, 0],
        torch.tensor([0.181700, 0.258118]),
        atol=1e-5,
        rtol=0,
    )
    torch.testing.assert_close(
        memory(ATTENTION, AGGREGATION)[0], torch.tensor(expected), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(
    ("outside", "expected"), [(False, (3.244919, -6.0)), (True, (2.731059, -5.0))]
)
def test_the_gate_is_that_of_the_card_with_the_halving_inside_and_outside(
    outside, expected
):
    memory = toy_memory(half_outside=outside)
    with torch.no_grad():
        memory.lstm.bias_ih_l1.zero_()  # h = 0: the sum is the attention branch
    gate = memory.gates(torch.tensor([[[1.0, 0], [1, 0]]]))[
        0, 0
    ]  # the halved sum is (0.5, 0)
    torch.testing.assert_close(
        torch.tensor([2.0, -4]) * (1 + gate), torch.tensor(expected), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("eta", ["own", "last"])
def test_the_memory_agrees_with_a_loop_over_clips_and_frames(eta):
    torch.manual_seed(1)
    memory, attention, aggregation = (
        mitml.TemporalMemory(32, 3, eta),
        torch.rand(2, 3, 32),
        torch.rand(2, 3, 32),
    )
    slow = torch.zeros(2, 32)
    for b in range(2):
        states = memory.lstm(attention[b : b + 1])[0][0]
        for t in range(3):
            mixed = (
                F.linear(
                    states[t if eta == "own" else 2],
                    memory.fc.weight[t],
                    memory.fc.bias[t],
                )
                + attention[b, t]
            )
            gate = torch.sigmoid(
                F.linear(
                    F.relu(F.linear(mixed / 2, memory.squeeze.weight[t])),
                    memory.excite.weight[t],
                )
            )
            slow[b] += (gate * aggregation[b, t] + aggregation[b, t]) / 3
    torch.testing.assert_close(memory(attention, aggregation), slow)


def test_the_clip_vector_lies_between_the_mean_of_the_aggregation_and_twice_that():
    memory, attention, aggregation = (
        mitml.TemporalMemory(32, 4),
        torch.rand(3, 4, 32),
        torch.rand(3, 4, 32),
    )
    out = memory(attention, aggregation)
    torch.testing.assert_close(memory(attention, 3 * aggregation), 3 * out)
    mean = aggregation.mean(1)
    assert (out >= mean).all() and (out <= 2 * mean).all()


@pytest.mark.parametrize(("gates", "clips"), [(4, 1), (1, 4), (4, 3)])
def test_frames_of_another_number_than_the_gates_are_refused(gates, clips):
    feat = torch.rand(2, clips, 8)
    memory = mitml.TemporalMemory(8, gates, reduction=2)
    said = f"gates for {gates} frames, the clips have {clips}"
    for call in (memory.gates, lambda x: memory(x, x)):
        with pytest.raises(ValueError, match=said):
            call(feat)


@pytest.mark.parametrize("reduction", [-1, 0, 33, 64])
def test_a_bottleneck_without_channels_is_refused(reduction):
    with pytest.raises(ValueError, match=f"reduction={reduction}: .* between 1 and 32"):
        mitml.TemporalMemory(32, 3, reduction=reduction)
    for kept in (1, 32):
        memory = mitml.TemporalMemory(32, 3, reduction=kept)
        assert memory.squeeze.weight.shape == (3, 32 // kept, 32)


def test_the_classifier_is_the_stack_of_the_card():
    stack = mitml.ModalClassifier(2048, 3)
    widths = [block[0].out_features for block in stack.blocks]
    assert widths == [1024, 512, 256, 128, 64, 32, 16, 8] and isinstance(
        stack.out, nn.Linear
    )
    assert [
        block[0].out_features for block in mitml.ModalClassifier(192, 2).blocks
    ] == [96, 48, 24, 12, 8, 8, 8, 8]
