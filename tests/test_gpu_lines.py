"""What only a GPU runs is listed from the source, and `torch.cuda` stands in one module."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from vvi.runtime import gpu

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))
gpu_lines = importlib.import_module("gpu_lines")

PLANTED = """
def f(x, device, engine, p, loader):
    if device.type == "cuda":
        torch.cuda.synchronize()
    y = x.to(device, non_blocking=True)
    z = x.pin_memory() if p.is_cuda else x
    with engine.autocast():
        gpu.name(device)
    if "cpu" != x.device.type:
        return loader(pin_memory=True)
    return x.device.type
"""


def test_each_kind_of_line_is_seen():
    found = [(x.number, x.kind) for x in gpu_lines.lines_of(PLANTED, "a.py")]
    assert set(found) == {
        (3, gpu_lines.ASKED),
        (4, gpu_lines.CUDA),
        (5, gpu_lines.OTHERWISE),
        (6, gpu_lines.OTHERWISE),
        (6, gpu_lines.ASKED),
        (7, gpu_lines.OTHERWISE),
        (8, gpu_lines.WRAPPED),
        (9, gpu_lines.ASKED),
        (10, gpu_lines.OTHERWISE),
    }


def test_torch_cuda_is_called_in_one_module_alone():
    found = gpu_lines.find()
    files = {line.file for line in found if line.kind == gpu_lines.CUDA}
    assert files == {"runtime/gpu.py"}
    for path in gpu_lines.PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "import torch.cuda" not in text and "from torch import cuda" not in text
        assert "from torch.cuda" not in text, path


def test_every_line_of_the_list_is_there_and_has_a_row():
    found = gpu_lines.find()
    assert {line.kind for line in found} == set(gpu_lines.KINDS)
    for line in found:
        source = (gpu_lines.PACKAGE / line.file).read_text().splitlines()
        assert source[line.number - 1].strip() == line.source
    assert len(gpu_lines.table(found).splitlines()) == 2 + len(found)


@pytest.mark.parametrize(
    ("call", "asked", "given"),
    [
        (lambda device: gpu.is_available(), "is_available", ()),
        (lambda device: gpu.count(), "device_count", ()),
        (gpu.name, "get_device_name", ("cuda:1",)),
        (gpu.peak_memory, "max_memory_allocated", ("cuda:1",)),
        (gpu.random_state, "get_rng_state", ("cuda:1",)),
        (
            lambda device: gpu.set_random_state("state", device),
            "set_rng_state",
            ("state", "cuda:1"),
        ),
    ],
)
def test_each_question_reaches_torch_with_its_device(call, asked, given, monkeypatch):
    """A stand-in for the driver: the lines of `vvi.runtime.gpu` run without a GPU."""
    seen = []

    def answer(*arguments):
        seen.append(tuple(map(str, arguments)))
        return "answer"

    monkeypatch.setattr(torch, "cuda", SimpleNamespace(**{asked: answer}))
    assert call(torch.device("cuda:1")) in ("answer", None)
    assert seen == [given]
