"""Class activation maps of a clip, for what its embedding shares with another one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vvi.types import Modality


def class_activation_maps(
    module: nn.Module,
    layer: str,
    clips: Tensor,
    modality: Modality,
    reference: Tensor,
    reshape: Callable[[Tensor], Tensor] | None = None,
) -> np.ndarray:
    """Grad-CAM maps of clips: (B, T, 3, H, W) -> (B, T, H, W) in 0..1 on the scale of each frame; a single clip (T, 3, H, W) -> (T, H, W).

    module: anything with `embed(clips, modality) -> (B, D)` of unit norm; layer: the name of one of its submodules ("trunk.layer4") whose output holds one map
    (C, h, w) per frame; what explains the map is the cosine between a clip's embedding and `reference`, (D,) or (B, D), for example the mean embedding of the same
    person in the other modality. reshape: turns tokens into (B*T, C, h, w) where the layer gives tokens. Weights, gradients and training mode stay as they were.
    """
    from pytorch_grad_cam import GradCAM

    single, clips = clips.ndim == 4, clips[None] if clips.ndim == 4 else clips
    if clips.ndim != 5:
        raise ValueError(
            f"clips must be (B, T, 3, H, W) or one clip (T, 3, H, W), got {tuple(clips.shape)}"
        )
    target, by_frame = (
        _submodule(module, layer),
        _ByFrame(module, modality, len(clips), layer),
    )
    reference = F.normalize(reference.reshape(-1, reference.shape[-1]), dim=1).expand(
        len(clips), -1
    )
    modes, grads = (
        [(m, m.training) for m in module.modules()],
        [(p, p.grad) for p in module.parameters()],
    )
    hook = target.register_forward_hook(
        lambda _, given, output: by_frame.seen.append(
            tuple((reshape or (lambda x: x))(output).shape)
        )
    )
    try:
        # cuDNN cannot differentiate a recurrent layer in evaluation mode
        with (
            torch.enable_grad(),
            torch.backends.cudnn.flags(enabled=False),
            GradCAM(by_frame, [target], reshape) as cam,
        ):
            cam.compute_input_gradient = (
                True  # gradients flow even where every weight is frozen
            )
            maps = cam(clips.flatten(0, 1), targets=[_Cosine(row) for row in reference])
    finally:
        hook.remove()
        for part, mode in modes:
            part.training = mode
        for parameter, grad in grads:
            parameter.grad = grad
    maps = maps.reshape(*clips.shape[:2], *clips.shape[-2:])
    return maps[0] if single else maps


def _submodule(module: nn.Module, layer: str) -> nn.Module:
    try:
        return module.get_submodule(layer)
    except AttributeError as error:
        raise ValueError(
            f"{type(module).__name__} has no layer {layer!r}; at its top it has {', '.join(n for n, _ in module.named_children())}"
        ) from error


class _Cosine:
    """A grad-cam target: the cosine of an embedding with a unit reference."""

    def __init__(self, reference: Tensor):
        self.reference = reference

    def __call__(self, output: Tensor) -> Tensor:
        return output @ self.reference.to(output)


class _ByFrame(nn.Module):
    """The module as grad-cam wants it: frames (B*T, 3, H, W) in, one row per clip (B, D) out. `seen`: shapes that the layer gave, checked before any map is made."""

    def __init__(self, inner: nn.Module, modality: Modality, clips: int, layer: str):
        super().__init__()
        self.inner, self.modality, self.clips, self.layer = (
            inner,
            modality,
            clips,
            layer,
        )
        self.seen: list[tuple[int, ...]] = []

    def forward(self, frames: Tensor) -> Tensor:
        rows = self.inner.embed(frames.unflatten(0, (self.clips, -1)), self.modality)
        if not self.seen or len(self.seen[0]) != 4 or self.seen[0][0] != len(frames):
            given = self.seen[0] if self.seen else "nothing"
            raise ValueError(
                f"layer {self.layer!r} gives {given} for {len(frames)} frames: a map per frame, ({len(frames)}, C, h, w), is needed"
            )
        return rows
