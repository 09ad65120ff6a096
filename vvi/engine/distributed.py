"""One run on several processes: each holds its share of every batch, the losses see the whole of it.

What is special: a method knows nothing of it. What forward returns is gathered when a loss reads it, so every process computes the same loss of the same rows; a gradient that goes
back to gathered rows is that of a process's own rows times the number of processes, and the mean of the parameters' gradients over processes is then the gradient of one process
with the whole batch, for what stands before and for what stands after the gathering. `torchrun` or `fabric run` starts the processes, `train.fabric` joins them.

Not shared: batch norm in forward takes its statistics from a process's own clips, and what a method draws for itself differs from process to process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from vvi.types import Batch

if TYPE_CHECKING:
    from vvi.methods.base import Output


def is_distributed() -> bool:
    """Whether this process has joined others in one run."""
    return dist.is_available() and dist.is_initialized()


def is_first() -> bool:
    """Whether this is the process that writes and prints: the first of a run, or the only one."""
    return not is_distributed() or dist.get_rank() == 0


def broadcast_from_first(compute: Callable[[], Any]) -> Any:
    """What the first process computes, told to all; without other processes a plain call."""
    if not is_distributed():
        return compute()
    box = [compute() if is_first() else None]
    dist.broadcast_object_list(box)
    return box[0]


def gather(mine: Tensor, streams: int = 1) -> Tensor:
    """Rows of all processes in the order that one process with the whole batch has: (S b, ...) -> (S n b, ...), S streams one after the other, n processes within each."""
    return _Gather.apply(mine, streams)


class _Gather(torch.autograd.Function):
    """Backward asks no other process: each computes the same loss, so the gradient of its own rows is already whole."""

    @staticmethod
    def forward(ctx, mine: Tensor, streams: int) -> Tensor:
        ctx.streams = streams
        parts = [
            torch.empty(mine.shape, dtype=mine.dtype, device=mine.device)
            for _ in range(dist.get_world_size())
        ]
        dist.all_gather(parts, mine.contiguous())
        return torch.stack(
            [part.unflatten(0, (streams, -1)) for part in parts], 1
        ).flatten(0, 2)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        rank, count = dist.get_rank(), dist.get_world_size()
        return count * grad.unflatten(0, (ctx.streams, count, -1))[:, rank].flatten(
            0, 1
        ), None


def global_batch(batch: Batch) -> Batch:
    """The batch that a loss is told: identities and places of all processes; its clips are empty, since no process holds them all."""
    if not is_distributed():
        return batch
    ids, vis, ir = gather(
        torch.stack((batch.ids, batch.rows_vis, batch.rows_ir), 1)
    ).unbind(1)
    return replace(
        batch, vis=batch.vis[:0], ir=batch.ir[:0], ids=ids, rows_vis=vis, rows_ir=ir
    )


def gather_output(out: Output, batch: Batch) -> Output:
    """The output of forward as a loss is told it: rows of all processes. `batch`: the share that this output was made of."""
    return cast("Output", _Gathered(out, len(batch.ids))) if is_distributed() else out


class _Gathered:
    """Reads like the output that it wraps; a tensor, or a tuple of tensors, is gathered when it is first read, for what no loss reads need not travel."""

    def __init__(self, mine: Output, clips: int):
        self.mine, self.clips, self.extra, self.watch = (
            mine,
            clips,
            _Extra(self),
            _mean(mine.watch),
        )

    def __getattr__(self, name: str) -> Any:
        found = self.fetched(getattr(self.mine, name), name)
        setattr(self, name, found)
        return found

    def fetched(self, value: Any, name: str) -> Any:
        if isinstance(value, tuple):
            return tuple(self.fetched(part, name) for part in value)
        return (
            gather(value, _streams(value, name, self.clips, self.mine.streams))
            if isinstance(value, Tensor)
            else value
        )


class _Extra(Mapping):
    def __init__(self, out: _Gathered):
        self.out, self.found = out, {}

    def __getitem__(self, name: str) -> Any:
        if name not in self.found:
            self.found[name] = self.out.fetched(self.out.mine.extra[name], name)
        return self.found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.out.mine.extra)

    def __len__(self) -> int:
        return len(self.out.mine.extra)


def _mean(watch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if not watch:
        return {}
    values = torch.stack([value.detach().float() for value in watch.values()])
    dist.all_reduce(values)
    return dict(zip(watch, (values / dist.get_world_size()).unbind(), strict=True))


def _streams(rows: Tensor, name: str, clips: int, streams: int) -> int:
    """Of how many blocks the rows are: one row for each pair of clips, else the same number for every clip of every stream."""
    count = len(rows) if rows.ndim else 0
    if count == clips:
        return 1
    if count == 0 or count % (streams * clips):
        raise ValueError(
            f"{name} has the shape {tuple(rows.shape)}: {clips} pairs of clips in {streams} streams need {clips} rows or a multiple of {streams * clips}"
        )
    return streams


def average_gradients(params: Iterable[nn.Parameter]) -> None:
    """Replace gradients by their mean over processes, in one message."""
    grads = [p.grad for p in params if p.grad is not None]
    if not is_distributed() or not grads:
        return
    flat = torch.cat([grad.flatten() for grad in grads])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for grad, mean in zip(
        grads, flat.split([grad.numel() for grad in grads]), strict=True
    ):
        grad.copy_(mean.view_as(grad))
