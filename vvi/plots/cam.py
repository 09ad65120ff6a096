"""Where a network looks: class activation maps of a clip, for what its embedding shares with a given one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import functional as F

from vvi.plots import style
from vvi.types import Modality

HEAT = "inferno"  # brighter is hotter in grey print too


def compute(
    module: nn.Module, layer: str, clips: Tensor, modality: Modality, reference: Tensor, reshape: Callable[[Tensor], Tensor] | None = None
) -> np.ndarray:
    """Grad-CAM maps of clips: (B, T, 3, H, W) -> (B, T, H, W) in 0..1 on the scale of each frame; a single clip (T, 3, H, W) -> (T, H, W).

    module: anything with `embed(clips, modality) -> (B, D)` of unit norm; layer: the name of one of its submodules ("trunk.layer4") whose output holds one map
    (C, h, w) per frame; what explains the map is the cosine between a clip's embedding and `reference`, (D,) or (B, D), for example the mean embedding of the same
    person in the other modality. reshape: turns tokens into (B*T, C, h, w) where the layer gives tokens. Weights, gradients and training mode stay as they were.
    """
    from pytorch_grad_cam import GradCAM

    single, clips = clips.ndim == 4, clips[None] if clips.ndim == 4 else clips
    if clips.ndim != 5:
        raise ValueError(f"clips must be (B, T, 3, H, W) or one clip (T, 3, H, W), got {tuple(clips.shape)}")
    target, by_frame = _submodule(module, layer), _ByFrame(module, modality, len(clips), layer)
    reference = F.normalize(reference.reshape(-1, reference.shape[-1]), dim=1).expand(len(clips), -1)
    modes, grads = [(m, m.training) for m in module.modules()], [(p, p.grad) for p in module.parameters()]
    hook = target.register_forward_hook(lambda _, given, output: by_frame.seen.append(tuple((reshape or (lambda x: x))(output).shape)))
    try:
        # cuDNN cannot differentiate a recurrent layer in evaluation mode
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False), GradCAM(by_frame, [target], reshape) as cam:
            cam.compute_input_gradient = True  # gradients flow even where every weight is frozen
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
        raise ValueError(f"{type(module).__name__} has no layer {layer!r}; at its top it has {', '.join(n for n, _ in module.named_children())}") from error


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
        self.inner, self.modality, self.clips, self.layer = inner, modality, clips, layer
        self.seen: list[tuple[int, ...]] = []

    def forward(self, frames: Tensor) -> Tensor:
        rows = self.inner.embed(frames.unflatten(0, (self.clips, -1)), self.modality)
        if not self.seen or len(self.seen[0]) != 4 or self.seen[0][0] != len(frames):
            given = self.seen[0] if self.seen else "nothing"
            raise ValueError(f"layer {self.layer!r} gives {given} for {len(frames)} frames: a map per frame, ({len(frames)}, C, h, w), is needed")
        return rows


@style.drawn
def plot(
    frames: Sequence[np.ndarray],
    maps: Sequence[np.ndarray],
    titles: Sequence[str] = ("visible", "infrared"),
    masks: Sequence[np.ndarray] | None = None,
    caption: str = "",
    heads: Sequence[str] = (),
) -> Figure:
    """Maps over frames: one pair of rows (frame, map) for each clip, one column per frame.

    frames: per clip (T, H, W, 3) or (T, H, W), uint8; maps: per clip (T, H, W) in 0..1; masks: per clip (T, H, W) bool, drawn as the outline of the person.
    heads: what stands above the columns, by default the number of the frame.
    """
    count, (tall, wide) = max(len(f) for f in frames), np.asarray(frames[0]).shape[1:3]
    cell = min((style.WIDTH - 1.5) / count, 0.75)
    row, left = cell * tall / wide, 0.75
    width = max(4.2, left + count * cell + 0.75)
    fig, ax = style.board(width, 0.25 + len(frames) * (2 * row + 0.14) + (0.15 + 0.16 * len(caption.splitlines()) if caption else 0))
    for t in range(count):
        style.label(ax, left + (t + 0.5) * cell, 0.05, heads[t] if heads else f"frame {t + 1}" if cell > 0.6 else str(t + 1), ha="center")
    top = 0.25
    for clip, heat, title, people in zip(frames, maps, titles, masks if masks is not None else [None] * len(frames), strict=True):
        style.label(ax, 0.05, top + row / 2, title, va="center")
        style.label(ax, 0.05, top + 1.5 * row, "map", va="center")
        for t, (frame, values) in enumerate(zip(clip, heat, strict=True)):
            place = (left + t * cell, top, cell - 0.03, row - 0.03)
            below = (place[0], top + row, *place[2:])
            style.picture(ax, frame, place)
            style.picture(ax, frame, below)
            style.picture(ax, values, below, cmap=HEAT, vmax=1, alpha=0.25 + 0.5 * np.clip(values, 0, 1), interpolation="bilinear")
            if people is not None and people[t].any():
                _outline(ax, people[t], below)
        top += 2 * row + 0.14
    _scale(ax, left + count * cell + 0.15, 0.25, min(1.6, row))
    style.label(ax, 0.05, top + 0.02, caption)
    return fig


def _outline(ax: Axes, mask: np.ndarray, place: tuple[float, float, float, float]) -> None:
    left, top, width, height = place
    x, y = left + (np.arange(mask.shape[1]) + 0.5) * width / mask.shape[1], top + (np.arange(mask.shape[0]) + 0.5) * height / mask.shape[0]
    ax.contour(x, y, mask, levels=[0.5], colors="white", linewidths=1.0)


def _scale(ax: Axes, left: float, top: float, height: float) -> None:
    """What the colours of the maps mean."""
    style.picture(ax, np.linspace(1, 0, 64)[:, None], (left, top + 0.15, 0.12, height), cmap=HEAT)
    style.label(ax, left, top, "most")
    style.label(ax, left, top + height + 0.18, "least")
