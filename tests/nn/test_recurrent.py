import torch
from torch import nn

from vvi.nn.recurrent import FloatLSTM


def twins():
    torch.manual_seed(0)
    ours, plain = (
        FloatLSTM(16, 16, 2, batch_first=True),
        nn.LSTM(16, 16, 2, batch_first=True),
    )
    plain.load_state_dict(ours.state_dict())
    return ours, plain, torch.randn(3, 4, 16)


def test_it_is_an_lstm():
    ours, plain, feat = twins()
    (states, last), (expected, end) = ours(feat), plain(feat)
    assert torch.equal(states, expected) and all(
        torch.equal(a, b) for a, b in zip(last, end, strict=True)
    )


def test_half_precision_around_it_changes_nothing_but_what_goes_in():
    ours, plain, feat = twins()
    with torch.autocast("cpu", torch.bfloat16):
        found = ours(feat.bfloat16())[0]
        assert plain(feat.bfloat16())[0].dtype == torch.bfloat16
    assert found.dtype == torch.float32 and torch.equal(
        found, plain(feat.bfloat16().float())[0]
    )
    found.sum().backward()
    assert all(
        p.grad is not None and p.grad.dtype == torch.float32 for p in ours.parameters()
    )
