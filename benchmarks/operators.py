"""How many operators every loss calls, forward and backward, and whether one makes the
host wait for a GPU.

    python benchmarks/operators.py [--out benchmarks/results/operators.json]

The rule of counting: every call that reaches torch's dispatcher counts, views too, but
not what the layers of a network call: where a loss runs a classifier, its layers are no
part of it. Counted at two sizes of a batch: a loop over clips would show as two
different numbers. A wait is found without a GPU: on fake tensors that say they are on
one, whatever needs a value on the host raises.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from vvi import losses, methods
from vvi.experiment import store
from vvi.methods import cmft, di2l, iban, mitml, sadstrm
from vvi.methods.base import Method, Phase
from vvi.nn.recurrent import FloatLSTM
from vvi.types import Batch

WIDTH, CLASSES, LIMIT = 32, 6, 80  # calls forward, at any size of a batch
Case = tuple[
    Callable[..., Tensor], Callable[[int], tuple[Tensor, ...]]
]  # a loss, and from a number of identities what it is given
COPIES = (torch.ops.aten._to_copy, torch.ops.aten.copy_)


class Operators(TorchDispatchMode):
    """Counts operators that are called outside of layers, `kernels` without views of
    tensors that are there; `copied` names those that carry values between kinds of
    devices while the host waits.
    """

    def __init__(self):
        super().__init__()
        self.calls, self.kernels, self.copied, self.depth = Counter(), 0, [], 0

    def __enter__(self) -> Operators:
        module = nn.modules.module
        self.hooks = [
            module.register_module_forward_pre_hook(partial(self._deeper, 1)),
            module.register_module_forward_hook(partial(self._deeper, -1)),
        ]
        return super().__enter__()

    def __exit__(self, *error) -> None:
        for hook in self.hooks:
            hook.remove()
        super().__exit__(*error)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if self.depth == 0:
            self.calls[str(func)] += 1
            self.kernels += not func.is_view
        if (
            func._overloadpacket in COPIES
            and len({x.device.type for x in (*args, out) if isinstance(x, Tensor)}) > 1
            and not _goes_on(func, args, kwargs, out)
        ):
            self.copied.append(str(func))
        return out

    def _deeper(self, by: int, *_) -> None:
        self.depth += by


def _goes_on(func, args, kwargs, out: Tensor) -> bool:
    """Whether the host need not wait for a copy: it was told so, and the way is from
    the host to the device.
    """
    told = (kwargs or {}).get(
        "non_blocking",
        func._overloadpacket is torch.ops.aten.copy_ and len(args) > 2 and args[2],
    )
    return bool(told) and out.device.type != "cpu"


def _rows(identities: int, *widths: int) -> tuple[Tensor, ...]:
    """Two clips of each identity as rows of these widths, and their classes: those of
    one modality.
    """
    ids = torch.arange(identities).repeat_interleave(2)
    return *(torch.randn(len(ids), width, requires_grad=True) for width in widths), ids


def _maps(identities: int) -> tuple[Tensor, ...]:
    return tuple(
        torch.randn(2 * identities, 4, 3, 2, requires_grad=True) for _ in range(4)
    )


def cases() -> dict[str, Case]:
    """Every loss of the package, by name and setting."""
    one, two, three = (lambda n, w=(WIDTH,) * k: _rows(n, *w) for k in (1, 2, 3))
    scores = lambda n: _rows(n, 3, 3)[:2]  # noqa: E731
    found: dict[str, Case] = {
        "batch_hard_triplet": (losses.batch_hard_triplet, one),
        "modal_loss": (mitml.modal_loss, scores),
        "undecided_loss": (losses.undecided_loss, scores),
        "attack_loss": (sadstrm.attack_loss, scores),
        "two_modality_ce": (sadstrm.two_modality_ce, lambda n: _rows(n, 99, 99)),
        "squared_triplet": (sadstrm.squared_triplet, one),
        "focal_loss": (di2l.focal_loss, lambda n: _rows(n, 99)),
        "released_triplet": (lambda *x: di2l.released_triplet(*x)[0], one),
    }
    found |= {
        f"weighted_triplet, squared={s}": (
            partial(losses.weighted_triplet, squared=s),
            one,
        )
        for s in (False, True)
    }
    found |= {
        f"confusion_loss, {a}": (partial(mitml.confusion_loss, adversary=a), scores)
        for a in ("third", "flip", "uniform")
    }
    for same in (False, True):
        for metric in ("cosine", "euclidean"):
            found[f"easy_sample_loss, {metric}, same_id={same}"] = (
                partial(iban.easy_sample_loss, same_id=same, metric=metric),
                two,
            )
    found |= {
        f"reconstruction_loss, {r}": (
            partial(iban.reconstruction_loss, reduction=r),
            _maps,
        )
        for r in ("mse", "l2_sum")
    }
    found |= {
        f"cross_modal_loss, {m}": (partial(cmft.cross_modal_loss, mode=m), three)
        for m in ("cross", "wrt", "hct", "cmt")
    }
    found |= {
        f"refinement_loss, {m}": (partial(cmft.refinement_loss, metric=m), three)
        for m in ("euclidean", "cosine", "pmt")
    }
    return found | {
        f"discriminative_loss, {n}": (
            partial(cmft.discriminative_loss, negatives=n),
            two,
        )
        for n in ("dyn", "all", "hard")
    }


def of_loss(case: Case, identities: int) -> tuple[int, int, int]:
    """Operators of a loss at a number of identities: forward, forward with backward,
    and of the latter those that are no views.
    """
    loss, given = case
    values = given(identities)
    with Operators() as forward:
        value = loss(*values)
    with Operators() as backward:
        torch.autograd.grad(
            value, [x for x in values if x.requires_grad], allow_unused=True
        )
    return (
        forward.calls.total(),
        forward.calls.total() + backward.calls.total(),
        forward.kernels + backward.kernels,
    )


def batch(identities: int, device: str = "cpu") -> Batch:
    """Two clips of each identity and modality, of three small frames, in some step but
    the first, in which a method may look at what it is given.
    """
    ids = torch.arange(identities, device=device).repeat_interleave(2)
    vis, ir = (torch.randn(len(ids), 3, 3, 32, 16, device=device) for _ in range(2))
    return Batch(vis, ir, ids, ids, ids, 1)


def build(name: str, **options) -> Method:
    return methods.load(name, CLASSES, backbone="micro", frames=3, **options).train()


def of_phase(method: Method, phase: Phase, identities: int) -> tuple[int, list[str]]:
    """Operators of all losses of a phase, forward, from an output that is given; names
    of the losses.
    """
    given = batch(identities)
    out = method(given)
    for name in dir(type(out)):
        getattr(
            out, name, None
        )  # branches that run when they are asked for are part of the output
    with Operators() as counted:
        terms = method.losses(out, given, phase)
    return counted.calls.total(), list(terms)


@contextmanager
def as_if_on_a_gpu() -> Iterator[None]:
    """Inside, tensors are shapes that may say they are on "cuda", with or without one.
    LSTMs, which ask the driver, are replaced by a doubling.
    """
    real, FloatLSTM.forward = (
        FloatLSTM.forward,
        lambda self, feat, state=None: (2 * feat.float(), None),
    )
    try:
        with FakeTensorMode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        FloatLSTM.forward = real


def waits(method: Method, phase: Phase) -> list[str]:
    """What makes the host wait for the GPU in forward and losses of a phase: the
    operators that carry values between them. The method is spoilt for all else.
    """
    overwrite = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    try:
        with as_if_on_a_gpu(), Operators() as counted:
            method._apply(lambda x: torch.empty(x.shape, dtype=x.dtype, device="cuda"))
            given = batch(2, "cuda")
            method.losses(method(given), given, phase)
    except Exception as error:  # a value was asked for: torch names the operator
        return [f"{type(error).__name__}: {error}"]
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(overwrite)
    return counted.copied


def table() -> dict[str, dict]:
    """All that is counted: loss -> calls, and method -> phase -> calls, terms and
    waits.
    """
    alone = {
        name: dict(
            zip(("forward", "with backward", "no views"), of_loss(case, 2), strict=True)
        )
        for name, case in cases().items()
    }
    together = {}
    for name in methods.names():
        method = build(name)
        for phase in method.phases:
            calls, terms = of_phase(method, phase, 2)
            together.setdefault(name, {})[phase.name] = {
                "calls": calls,
                "losses": terms,
                "waits": waits(build(name), phase),
            }
    return {"losses": alone, "phases": together}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results" / "operators.json"
    )
    args = parser.parse_args()
    found = table()
    for name, calls in found["losses"].items():
        print(
            f"{name:48s} {calls['forward']:4d} forward "
            f"{calls['with backward']:4d} with backward, "
            f"{calls['no views']:4d} of them no views"
        )
    for name, phases in found["phases"].items():
        for phase, what in phases.items():
            print(
                f"{name + ', ' + phase:32s} {what['calls']:4d} calls of "
                f"{len(what['losses'])} losses, "
                f"host waits: {'; '.join(what['waits']) or 'none'}"
            )
    args.out.parent.mkdir(exist_ok=True)
    args.out.write_text(
        json.dumps(found | {"environment": store.environment()}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
