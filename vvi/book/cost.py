"""What a method and its parts cost: operations and parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vvi.types import Modality

if TYPE_CHECKING:
    from torch import Tensor, nn

    from vvi.methods.base import Method


def flops(method: Method, clips: Tensor, modality: Modality = "ir") -> int:
    """Count the operations of a search embedding, a multiply-add as two.

    Exact for what torch counts (convolutions and products), also on `meta`.

    Args:
        method: in eval mode.
        clips: (B, T, 3, H, W).
        modality: of the clips.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        method.embed(clips, modality)
    return counter.get_total_flops()


def operations(module: nn.Module, *inputs: object) -> dict[str, int]:
    """Count parameters of a module and multiply-adds of one call on the `meta` device.

    Returns:
        "parameters", multiply-adds "of weights" and multiply-adds "in all". The last
        holds the products of attention too, which have no weights.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        module(*inputs)
    total = products = 0
    for operator, count in counter.get_flop_counts()["Global"].items():
        total += count // 2
        if "bmm" in str(operator) or "dot_product" in str(operator):
            products += count // 2
    return {
        "parameters": sum(p.numel() for p in module.parameters()),
        "of weights": total - products,
        "in all": total,
    }
