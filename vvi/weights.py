"""Checkpoints that authors released -> our modules: weights only, and every key accounted for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vvi import methods
from vvi.methods.base import Method
from vvi.runtime.tensors import CheckpointError, read, some, unwrap


def load_released(name: str, source: str | Path | Mapping[str, Any]) -> Method:
    """The method of a released checkpoint, `variant="released"`, in evaluation mode.

    source: the file, or what it holds once loaded: {"net": ..., optionally "net_modal_classifier": ..., "mAP", "epoch"} of tensors by their released names, or such a dict of
    tensors itself; wrappers and prefixes around them are taken off (`vvi.runtime.tensors`). A file is read without executing anything. The trunk is a ResNet-50; classes follow the
    authors' list of identities, which is not stored, so the classifier only counts them. CheckpointError names keys that are missing, unknown or of another shape.
    """
    module = methods.module(name)
    if not hasattr(module, "RELEASED_KEYS"):
        raise CheckpointError(
            f"no code of {name} was released, so there is no checkpoint of it to read"
        )
    content = read(source) if isinstance(source, (str, Path)) else source
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"a {type(content).__name__} is neither a file nor a dict of tensors"
        )
    renamed = rename(_tensors(content), module.RELEASED_KEYS, module.RELEASED_IGNORED)
    method = module.Model(
        module.released_config(renamed), len(_of(renamed, "neck.classifier.weight"))
    )
    fill(method, renamed)
    return method.eval()


def rename(
    tensors: Mapping[str, Tensor], keys: tuple[tuple, ...], ignored: tuple[str, ...]
) -> dict[str, Tensor]:
    """Released names -> ours, by prefixes. keys: (released, ours) or (released, ours, place), where place t is row t of a stacked parameter; ignored: prefixes of dead weight."""
    found, rows, unknown = {}, {}, []
    for key, value in tensors.items():
        for prefix, ours, *place in keys:
            if key.startswith(prefix):
                target = (
                    found
                    if not place
                    else rows.setdefault(ours + key.removeprefix(prefix), {})
                )
                target[place[0] if place else ours + key.removeprefix(prefix)] = value
                break
        else:
            if not key.startswith(ignored):
                unknown.append(key)
    if unknown:
        raise CheckpointError(f"unknown keys: {some(unknown)}")
    for key, values in rows.items():
        if sorted(values) != list(range(len(values))):
            raise CheckpointError(
                f"{key}: places {sorted(values)} are not 0 to {len(values) - 1}"
            )
        if len({v.shape for v in values.values()}) > 1:
            raise CheckpointError(
                f"{key}: places of different shapes, {', '.join(str(tuple(v.shape)) for v in values.values())}"
            )
        found[key] = torch.stack([values[t] for t in range(len(values))])
    return found


def fill(method: Method, tensors: Mapping[str, Tensor]) -> None:
    """Put tensors by our names into a method; CheckpointError naming those that are missing, unknown, of another shape or type, or not finite."""
    own = method.state_dict()
    tensors = {
        k: _linear(v) if k in own and v.ndim > own[k].ndim == 2 else v
        for k, v in tensors.items()
    }
    missing, unknown = (
        sorted(own.keys() - tensors.keys()),
        sorted(tensors.keys() - own.keys()),
    )
    wrong = [
        f"{k} {tuple(tensors[k].shape)} in place of {tuple(own[k].shape)}"
        for k in own.keys() & tensors.keys()
        if tensors[k].shape != own[k].shape
    ]
    odd = (
        sorted(
            k
            for k, v in tensors.items()
            if v.is_floating_point() != own[k].is_floating_point()
            or not v.isfinite().all()
        )
        if not missing + unknown
        else []
    )
    for problem, names in (
        ("missing", missing),
        ("unknown", unknown),
        ("of another shape", sorted(wrong)),
        ("of another type or not finite", odd),
    ):
        if names:
            raise CheckpointError(f"{problem}: {some(names)}")
    method.load_state_dict(tensors)


def _linear(weight: Tensor) -> Tensor:
    """A convolution that is one linear map: of kernel one, or over a sequence of length one, where only the centre tap meets data."""
    taps = weight.flatten(2)
    if weight.ndim > 3 and taps.shape[-1] > 1:
        raise CheckpointError(f"a kernel of {tuple(weight.shape)} is no linear map")
    return taps[..., taps.shape[-1] // 2]


def _tensors(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Tensors by their released names: of one network, or of all that stand beside each other under names that begin with "net"."""
    parts = [
        part
        for key, part in content.items()
        if str(key).startswith("net") and isinstance(part, Mapping)
    ]
    if len(parts) < 2:
        return unwrap(content)
    return {name: tensor for part in parts for name, tensor in unwrap(part).items()}


def _of(tensors: Mapping[str, Tensor], key: str) -> Tensor:
    if key not in tensors:
        raise CheckpointError(f"missing: {key}")
    return tensors[key]
