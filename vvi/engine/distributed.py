"""One run on several processes: each rank holds a part of every batch.

What is special: a method knows nothing of it. What forward returns is gathered when a
loss reads it, so every rank computes the same loss of the same rows. In backward each
rank keeps the gradient of its own rows, times the world size. Averaged over ranks, the
gradients of all parameters are then those of one process with the whole batch. This
holds for layers before the gathering, which saw the rows of one rank, and for layers
after it, which saw all rows. `torchrun` or `fabric run` starts the processes,
`train.fabric` joins them.

Not shared: batch norm in forward takes its statistics from a rank's own clips, and what
a method draws for itself differs from rank to rank.
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
    """Return whether this process has joined others in one run."""
    return dist.is_available() and dist.is_initialized()


def is_first() -> bool:
    """Return whether this process writes and prints: rank 0, or the only one."""
    return not is_distributed() or dist.get_rank() == 0


def broadcast_from_first(compute: Callable[[], Any]) -> Any:
    """Compute on rank 0 and broadcast the result. Alone it is a plain call."""
    if not is_distributed():
        return compute()
    box = [compute() if is_first() else None]
    dist.broadcast_object_list(box)
    return box[0]


def gather(own: Tensor, streams: int = 1) -> Tensor:
    """Gather the rows of all ranks, in the order of one process with the whole batch.

    Args:
        own: rows of this rank, (S b, ...): S streams one after the other.
        streams: S.

    Returns:
        (S n b, ...): within each stream the rows of n ranks.
    """
    return _Gather.apply(own, streams)


class _Gather(torch.autograd.Function):
    """Gather without communication in backward.

    Each rank computes the same loss, so the gradient of its own rows is already whole.
    """

    @staticmethod
    def forward(ctx, own: Tensor, streams: int) -> Tensor:
        ctx.streams = streams
        world_size = dist.get_world_size()
        like = {"dtype": own.dtype, "device": own.device}
        parts = [torch.empty(own.shape, **like) for _ in range(world_size)]
        dist.all_gather(parts, own.contiguous())
        by_stream = [part.unflatten(0, (streams, -1)) for part in parts]
        return torch.stack(by_stream, 1).flatten(0, 2)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        rank, world_size = dist.get_rank(), dist.get_world_size()
        by_rank = grad.unflatten(0, (ctx.streams, world_size, -1))
        return world_size * by_rank[:, rank].flatten(0, 1), None


def global_batch(batch: Batch) -> Batch:
    """Return the batch that a loss sees: identities and rows of all ranks.

    Its clips are empty, since no rank holds them all.
    """
    if not is_distributed():
        return batch
    own = torch.stack((batch.ids, batch.rows_vis, batch.rows_ir), 1)
    ids, vis, ir = gather(own).unbind(1)
    return replace(
        batch, vis=batch.vis[:0], ir=batch.ir[:0], ids=ids, rows_vis=vis, rows_ir=ir
    )


def gather_output(out: Output, batch: Batch) -> Output:
    """Return the output of forward as a loss sees it: rows of all ranks.

    Args:
        out: of this rank.
        batch: the part of the batch that it was made of.
    """
    if not is_distributed():
        return out
    return cast("Output", _Gathered(out, len(batch.ids)))


class _Gathered:
    """Read like the output that is wrapped, with the rows of all ranks.

    A tensor, or a tuple of tensors, is gathered when it is first read, for what no loss
    reads need not travel.
    """

    def __init__(self, own: Output, clips: int):
        self.own = own
        self.clips = clips
        self.extra = _Extra(self)
        self.watch = _mean(own.watch)

    def __getattr__(self, name: str) -> Any:
        value = self.gathered(getattr(self.own, name), name)
        setattr(self, name, value)
        return value

    def gathered(self, value: Any, name: str) -> Any:
        """Gather the tensors of one value. `name` is for the message of an error."""
        if isinstance(value, tuple):
            return tuple(self.gathered(part, name) for part in value)
        if not isinstance(value, Tensor):
            return value
        return gather(value, _streams(value, name, self.clips, self.own.streams))


class _Extra(Mapping):
    """The extra values of an output, each gathered when it is first read."""

    def __init__(self, out: _Gathered):
        self.out = out
        self.values_read: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self.values_read:
            value = self.out.own.extra[name]
            self.values_read[name] = self.out.gathered(value, name)
        return self.values_read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.out.own.extra)

    def __len__(self) -> int:
        return len(self.out.own.extra)


def _mean(watch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Average watched scalars over ranks, in one message."""
    if not watch:
        return {}
    values = torch.stack([value.detach().float() for value in watch.values()])
    dist.all_reduce(values)
    means = (values / dist.get_world_size()).unbind()
    return dict(zip(watch, means, strict=True))


def _streams(rows: Tensor, name: str, clips: int, streams: int) -> int:
    """Return the number of streams in the rows of an output.

    One where there is a row for each pair of clips, else the same number of rows for
    every clip of every stream.

    Args:
        rows: of this rank.
        name: of the output, for the message of an error.
        clips: pairs of clips B.
        streams: S of the batch.

    Raises:
        ValueError: there are other numbers of rows.
    """
    count = len(rows) if rows.ndim else 0
    if count == clips:
        return 1
    if count == 0 or count % (streams * clips):
        raise ValueError(
            f"{name} has the shape {tuple(rows.shape)}: {clips} pairs of clips in "
            f"{streams} streams need {clips} rows or a multiple of {streams * clips}"
        )
    return streams


def average_gradients(params: Iterable[nn.Parameter]) -> None:
    """Replace gradients by their mean over ranks, in one message."""
    grads = [p.grad for p in params if p.grad is not None]
    if not is_distributed() or not grads:
        return
    flat = torch.cat([grad.flatten() for grad in grads])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    means = flat.split([grad.numel() for grad in grads])
    for grad, mean in zip(grads, means, strict=True):
        grad.copy_(mean.view_as(grad))
