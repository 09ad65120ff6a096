"""Checkpoints that authors released -> our modules.

Weights only, and every key accounted for.
"""

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
    """Load the method of a released checkpoint, `variant="released"`, to evaluate it.

    Wrappers and prefixes around its tensors are taken off (`vvi.runtime.tensors`). A
    file is read without executing anything. The trunk is a ResNet-50. Classes follow
    the authors' list of identities, which is not stored, so the classifier only counts
    them.

    Args:
        name: of the method.
        source: the file, or what it holds once loaded: {"net": ..., optionally
            "net_modal_classifier": ..., "mAP", "epoch"} of tensors by their released
            names, or such a dict of tensors itself.

    Raises:
        CheckpointError: keys are missing, unknown or of another shape, or no code of
            the method was released.
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
    num_ids = len(_of(renamed, "neck.classifier.weight"))
    method = module.Model(module.released_config(renamed), num_ids)
    fill(method, renamed)
    return method.eval()


def rename(
    tensors: Mapping[str, Tensor], keys: tuple[tuple, ...], ignored: tuple[str, ...]
) -> dict[str, Tensor]:
    """Give tensors our names, by prefixes.

    Args:
        tensors: by their released names.
        keys: (released, ours), or (released, ours, t) for row t of a parameter that is
            stacked here.
        ignored: prefixes of dead weight.

    Raises:
        CheckpointError: a name is unknown, or a stacked parameter has gaps.
    """
    renamed, stacked, unknown = {}, {}, []
    for key, value in tensors.items():
        match = next((entry for entry in keys if key.startswith(entry[0])), None)
        if match is None:
            if not key.startswith(ignored):
                unknown.append(key)
            continue
        prefix, ours, *row = match
        name = ours + key.removeprefix(prefix)
        if row:
            stacked.setdefault(name, {})[row[0]] = value
        else:
            renamed[name] = value
    if unknown:
        raise CheckpointError(f"unknown keys: {some(unknown)}")
    return renamed | {name: _stack(name, rows) for name, rows in stacked.items()}


def _stack(name: str, rows: Mapping[int, Tensor]) -> Tensor:
    """Stack the rows of a parameter, which must be 0 to n - 1 and of one shape."""
    if sorted(rows) != list(range(len(rows))):
        raise CheckpointError(
            f"{name}: rows {sorted(rows)} are not 0 to {len(rows) - 1}"
        )
    if len({row.shape for row in rows.values()}) > 1:
        shapes = ", ".join(str(tuple(row.shape)) for row in rows.values())
        raise CheckpointError(f"{name}: rows of different shapes, {shapes}")
    return torch.stack([rows[t] for t in range(len(rows))])


def fill(method: Method, tensors: Mapping[str, Tensor]) -> None:
    """Put tensors by our names into a method.

    Raises:
        CheckpointError: tensors are missing, unknown, of another shape or type, or not
            finite.
    """
    own = method.state_dict()
    fitted = {k: _fitted(v, own.get(k)) for k, v in tensors.items()}
    missing = sorted(own.keys() - fitted.keys())
    unknown = sorted(fitted.keys() - own.keys())
    wrong = []
    for name in sorted(own.keys() & fitted.keys()):
        theirs, ours = tuple(fitted[name].shape), tuple(own[name].shape)
        if theirs != ours:
            wrong.append(f"{name} {theirs} in place of {ours}")
    problems = {"missing": missing, "unknown": unknown, "of another shape": wrong}
    if not missing + unknown:
        odd = [name for name, value in fitted.items() if _is_odd(value, own[name])]
        problems["of another type or not finite"] = sorted(odd)
    for problem, names in problems.items():
        if names:
            raise CheckpointError(f"{problem}: {some(names)}")
    method.load_state_dict(fitted)


def _fitted(weight: Tensor, ours: Tensor | None) -> Tensor:
    """Return a weight as it is, or the linear map that a convolution is."""
    if ours is not None and weight.ndim > ours.ndim == 2:
        return _linear(weight)
    return weight


def _is_odd(theirs: Tensor, ours: Tensor) -> bool:
    """Return whether a tensor is of another type than ours, or not finite."""
    same_type = theirs.is_floating_point() == ours.is_floating_point()
    return not same_type or not theirs.isfinite().all()


def _linear(weight: Tensor) -> Tensor:
    """Return the linear map that a convolution is.

    It is one where its kernel is one, or over a sequence of length one, where only the
    centre tap meets data.
    """
    taps = weight.flatten(2)
    if weight.ndim > 3 and taps.shape[-1] > 1:
        raise CheckpointError(f"a kernel of {tuple(weight.shape)} is no linear map")
    return taps[..., taps.shape[-1] // 2]


def _tensors(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Take out tensors by their released names.

    They are of one network, or of all that stand under names that begin with "net".
    """
    nets = [part for key, part in content.items() if str(key).startswith("net")]
    parts = [part for part in nets if isinstance(part, Mapping)]
    if len(parts) < 2:
        return unwrap(content)
    tensors: dict[str, Tensor] = {}
    for part in parts:
        tensors |= unwrap(part)
    return tensors


def _of(tensors: Mapping[str, Tensor], key: str) -> Tensor:
    if key not in tensors:
        raise CheckpointError(f"missing: {key}")
    return tensors[key]
