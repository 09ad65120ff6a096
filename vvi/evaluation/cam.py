"""Class activation maps of a clip, for what its embedding shares with another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
    """Compute Grad-CAM maps of clips.

    What explains a map is the cosine between a clip's embedding and a reference, for
    example the mean embedding of the same person in the other modality. Weights,
    gradients and training mode stay as they were.

    Args:
        module: anything with `embed(clips, modality) -> (B, D)` of unit norm.
        layer: name of a submodule ("trunk.layer4") whose output holds one map
            (C, h, w) per frame.
        clips: (B, T, 3, H, W), or a single clip (T, 3, H, W).
        modality: of the clips.
        reference: (D,) or (B, D).
        reshape: turns tokens into (B*T, C, h, w), where the layer gives tokens.

    Returns:
        (B, T, H, W) or (T, H, W) in 0..1, on the scale of each frame.

    Raises:
        ValueError: there is no such layer, or it gives no map per frame.
    """
    from pytorch_grad_cam import GradCAM

    is_single = clips.ndim == 4
    if is_single:
        clips = clips[None]
    if clips.ndim != 5:
        raise ValueError(
            f"clips must be (B, T, 3, H, W) or one clip (T, 3, H, W), got "
            f"{tuple(clips.shape)}"
        )
    target = _submodule(module, layer)
    by_frame = _ByFrame(module, modality, len(clips), layer, reshape)
    rows = F.normalize(reference.reshape(-1, reference.shape[-1]), dim=1)
    targets = [_Cosine(row) for row in rows.expand(len(clips), -1)]
    with (
        _restored(module),
        by_frame.watching(target),
        torch.enable_grad(),
        # cuDNN cannot differentiate a recurrent layer in evaluation mode
        torch.backends.cudnn.flags(enabled=False),
        GradCAM(by_frame, [target], reshape) as cam,
    ):
        # gradients flow even where every weight is frozen
        cam.compute_input_gradient = True
        maps = cam(clips.flatten(0, 1), targets=targets)
    maps = maps.reshape(*clips.shape[:2], *clips.shape[-2:])
    return maps[0] if is_single else maps


@contextmanager
def _restored(module: nn.Module) -> Iterator[None]:
    """Put gradients and training modes back as they were."""
    modes = [(part, part.training) for part in module.modules()]
    grads = [(parameter, parameter.grad) for parameter in module.parameters()]
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
        for parameter, grad in grads:
            parameter.grad = grad


def _submodule(module: nn.Module, layer: str) -> nn.Module:
    try:
        return module.get_submodule(layer)
    except AttributeError as error:
        top = ", ".join(name for name, _ in module.named_children())
        raise ValueError(
            f"{type(module).__name__} has no layer {layer!r}; at its top it has {top}"
        ) from error


class _Cosine:
    """A grad-cam target: the cosine of an embedding with a unit reference."""

    def __init__(self, reference: Tensor):
        self.reference = reference

    def __call__(self, output: Tensor) -> Tensor:
        return output @ self.reference.to(output)


class _ByFrame(nn.Module):
    """The module as grad-cam wants it: frames (B*T, 3, H, W) -> one row a clip (B, D).

    The shape that the layer gives is checked before any map is made.
    """

    def __init__(
        self,
        inner: nn.Module,
        modality: Modality,
        clips: int,
        layer: str,
        reshape: Callable[[Tensor], Tensor] | None,
    ):
        super().__init__()
        self.inner = inner
        self.modality = modality
        self.clips = clips
        self.layer = layer
        self.reshape = reshape
        self.shapes: list[tuple[int, ...]] = []

    @contextmanager
    def watching(self, target: nn.Module) -> Iterator[None]:
        """Note the shapes that a layer gives."""

        def note(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
            maps = self.reshape(output) if self.reshape else output
            self.shapes.append(tuple(maps.shape))

        hook = target.register_forward_hook(note)
        try:
            yield
        finally:
            hook.remove()

    def forward(self, frames: Tensor) -> Tensor:
        rows = self.inner.embed(frames.unflatten(0, (self.clips, -1)), self.modality)
        shape = self.shapes[0] if self.shapes else ()
        if len(shape) != 4 or shape[0] != len(frames):
            raise ValueError(
                f"layer {self.layer!r} gives {shape or 'nothing'} for {len(frames)} "
                f"frames: a map per frame, ({len(frames)}, C, h, w), is needed"
            )
        return rows
