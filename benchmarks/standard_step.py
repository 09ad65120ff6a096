"""What a training step at `standard` costs, and how much of it is arithmetic.

    python benchmarks/standard_step.py [--methods iban ...] [--rounds 5] [--out FILE]

For the main row of each method, on one thread, on noise of the preset's shape, late in
training when every loss is at work. One process a method, and in it in turn, round by
round:

    step     one training step
    layers   every convolution and linear map that the step called, forward and
             backward alone, on noise of the same shapes, types and memory formats
    losses   the losses alone, on stored outputs, forward and backward

The losses of SADSTRM run layers of the network, so they are not measured alone: their
layers are among the layers, and the ratio is rather too high.

The ratio is the median step over the sum of the medians of the other two. What is left
of a step is shared out by a profile: to operators that belong to the network as well
(`NETWORK`: norms, pooling, activations, attention, LSTMs), and to what is ours (casts,
copies, the optimiser, sums, the interpreter). `ours` is the ratio of a step without the
former; layers that run alone may cost more than in a step, so it can lie below 1.
Seconds are those of the processor, since wall time on a shared machine says little.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from vvi import methods
from vvi.config import RunConfig, preset
from vvi.engine import optim, train
from vvi.experiment import ablation, store
from vvi.experiment.trained_network import method_options
from vvi.methods.base import Method
from vvi.types import Batch

OUT = Path(__file__).parent / "results" / "standard_step.json"
NUM_IDS = 240
LATE = 160.0
LAYERS = (nn.Conv1d, nn.Conv2d, nn.Linear)
#: Beginning of an operator's name -> what a profile calls it, the first that fits.
KINDS = {
    "aten::mkldnn_conv": "convolution",
    "aten::convolution": "convolution",
    "aten::_slow_conv": "convolution",
    "mkldnn::": "convolution",
    "aten::thnn_conv": "convolution",
    "aten::addmm": "linear maps and products",
    "aten::mm": "linear maps and products",
    "aten::bmm": "linear maps and products",
    "aten::baddbmm": "linear maps and products",
    "aten::mkldnn_rnn": "LSTM",
    "aten::lstm": "LSTM",
    "aten::native_batch_norm": "norm",
    "aten::native_layer_norm": "norm",
    "aten::max_pool": "pooling",
    "aten::mean": "pooling",
    "aten::threshold": "activations",
    "aten::clamp_min": "activations",
    "aten::relu": "activations",
    "aten::sigmoid": "activations",
    "aten::tanh": "activations",
    "aten::_softmax": "attention",
    "aten::_scaled_dot_product": "attention",
    "aten::copy_": "casts and copies",
    "aten::cat": "casts and copies",
    "aten::_to_copy": "casts and copies",
    "aten::_foreach": "optimiser",
    "aten::_fused_adam": "optimiser",
    "Optimizer": "optimiser",
}
#: Kinds that a network has beside its convolutions and linear maps.
NETWORK = ("norm", "pooling", "activations", "attention", "LSTM")
#: Their losses run layers of the network.
LAYERS_IN_LOSSES = ("sadstrm",)


@dataclass(frozen=True)
class Call:
    """One call of a layer in a step."""

    layer: nn.Module
    shape: torch.Size
    dtype: torch.dtype
    channels_last: bool
    #: Whether the input had a gradient, which costs a backward pass of its own.
    input_grad: bool


class Bench:
    """The main row of a method at `standard`, ready to make steps on noise."""

    def __init__(self, config: RunConfig):
        torch.set_num_threads(1)
        torch.manual_seed(0)
        self.recipe = config.recipe
        self.engine = train.fabric("cpu", config.recipe.precision)
        method = methods.load(config.method, NUM_IDS, **method_options(config))
        self.method: Method = method.to(memory_format=torch.channels_last).train()
        self.optimisers = optim.build(self.method, self.recipe)
        self.batch = noise(config)
        for _ in range(2):
            self.step()

    def step(self) -> None:
        """Make one training step."""
        rate = self.recipe.lr
        train.iteration(
            self.method, self.batch, self.optimisers, LATE, rate, self.engine
        )

    def calls(self) -> list[Call]:
        """Return every call of a convolution or linear map in one step."""
        calls: list[Call] = []

        def note(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            (given,) = inputs
            last = given.dim() == 4
            last = last and given.is_contiguous(memory_format=torch.channels_last)
            is_input = given.requires_grad
            calls.append(Call(layer, given.shape, given.dtype, last, is_input))

        hooks = []
        for layer in self.method.modules():
            if isinstance(layer, LAYERS):
                hooks.append(layer.register_forward_pre_hook(note))
        self.step()
        for hook in hooks:
            hook.remove()
        return calls

    def layers_alone(self, calls: list[Call]) -> float:
        """Run the calls of a step, forward and backward; return their seconds.

        One call after another, so that memory holds the noise of one.
        """
        spent = 0.0
        for call in calls:
            given = torch.randn(call.shape).to(call.dtype)
            if call.channels_last:
                given = given.contiguous(memory_format=torch.channels_last)
            given.requires_grad_(call.input_grad)
            start = time.process_time()
            with self.engine.autocast():
                out = call.layer(given)
            spent += time.process_time() - start
            if out.requires_grad:
                gradient = torch.randn_like(out.detach())
                start = time.process_time()
                out.backward(gradient)
                spent += time.process_time() - start
        return spent

    def losses_alone(self) -> Callable[[], None]:
        """Return a function that runs the losses that are at work on stored outputs."""
        active = []
        for phase in self.method.phases:
            if phase.epochs[0] <= LATE < phase.epochs[1]:
                active.append(phase)
        calls: list[tuple[Any, ...]] = []
        original = self.method.losses

        def note(out: Any, batch: Batch, phase: Any) -> dict[str, Tensor]:
            calls.append((out, batch, phase))
            return original(out, batch, phase)

        self.method.losses = note  # type: ignore[method-assign]
        self.step()
        del self.method.losses
        prepared = [(_leaves(out), batch, phase) for out, batch, phase in calls]

        def run() -> None:
            for out, batch, phase in prepared:
                with self.engine.autocast():
                    terms = original(out, batch, phase)
                total = sum(term for term in terms.values() if term.requires_grad)
                if isinstance(total, Tensor):
                    total.backward()

        return run

    def profile(self) -> dict[str, float]:
        """Return the share of each kind of operator in one step."""
        with profile(activities=[ProfilerActivity.CPU]) as events:
            self.step()
        seconds: dict[str, float] = {}
        for event in events.key_averages():
            kinds = (kind for p, kind in KINDS.items() if event.key.startswith(p))
            name = next(kinds, "other")
            spent = event.self_cpu_time_total
            seconds[name] = seconds.get(name, 0.0) + spent
        total = sum(seconds.values())
        ordered = sorted(seconds.items(), key=lambda item: -item[1])
        return {name: round(spent / total, 3) for name, spent in ordered}


def _leaves(value: Any) -> Any:
    """Detach every tensor of an output, with a gradient where it had one."""
    if isinstance(value, Tensor):
        return value.detach().requires_grad_(value.requires_grad)
    if isinstance(value, dict):
        return {name: _leaves(part) for name, part in value.items()}
    if isinstance(value, tuple):
        parts = [_leaves(part) for part in value]
        named = hasattr(value, "_fields")
        return type(value)(*parts) if named else tuple(parts)
    if isinstance(value, list):
        return [_leaves(part) for part in value]
    if is_dataclass(value):
        parts = {f.name: _leaves(getattr(value, f.name)) for f in fields(value)}
        return replace(value, **parts)
    return value


def noise(config: RunConfig) -> Batch:
    """Return a batch such as the loader gives at a preset, of random pixels."""
    generator = torch.Generator().manual_seed(0)
    recipe, data = config.recipe, config.data
    ids = torch.arange(recipe.identities).repeat_interleave(recipe.tracklets)
    shape = (len(ids), data.frames, 3, data.height, data.width)
    vis = torch.randn(shape, generator=generator)
    ir = torch.randn(shape, generator=generator)
    rows = torch.arange(len(ids))
    return Batch(vis, ir, ids, rows, rows, 1)


def seconds(call: Callable[[], None]) -> float:
    """Return the seconds of the processor that a call takes."""
    start = time.process_time()
    call()
    return time.process_time() - start


def measure(method: str, size: str, rounds: int) -> dict[str, Any]:
    """Measure the main row of a method; `rounds` of each part in turn."""
    table, row = methods.module(method).MAIN
    config = ablation.configs(method, table, size, (0,))[row][0]
    bench = Bench(config)
    shares = bench.profile()
    calls = bench.calls()
    losses = None if method in LAYERS_IN_LOSSES else bench.losses_alone()
    taken: dict[str, list[float]] = {"step": [], "layers": [], "losses": []}
    for _ in range(rounds):
        taken["step"].append(seconds(bench.step))
        taken["layers"].append(bench.layers_alone(calls))
        taken["losses"].append(seconds(losses) if losses else 0.0)
    medians = {part: statistics.median(values) for part, values in taken.items()}
    ratio = medians["step"] / (medians["layers"] + medians["losses"])
    network = sum(shares.get(kind, 0.0) for kind in NETWORK)
    parts = {part: round(1000 * value, 1) for part, value in medians.items()}
    return {
        "ms": parts,
        "ratio": round(ratio, 2),
        "ours": round(ratio * (1 - network), 2),
        "spread of a step": round(max(taken["step"]) / min(taken["step"]), 2),
        "shares": shares,
        "precision": bench.engine.strategy.precision.precision,
    }


@contextmanager
def alone() -> Iterator[ProcessPoolExecutor]:
    """Give a process of its own to each job."""
    context = get_context("spawn")
    with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as pool:
        yield pool


def main() -> None:
    """Measure the methods one after another and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=methods.names())
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    preset(options.preset)  # refuses an unknown one before anything is built
    by_method = {}
    with alone() as pool:
        for method in options.methods:
            job = pool.submit(measure, method, options.preset, options.rounds)
            by_method[method] = job.result()
            print(method, json.dumps(by_method[method]), flush=True)
    found = {"methods": by_method, "environment": store.environment("cpu")}
    options.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
