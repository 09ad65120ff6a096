"""Networks come out of every wrapper, and what is not clear is refused."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from vvi.runtime.tensors import CheckpointError, read, unwrap

PLAIN = {"conv.weight": torch.ones(2), "conv.bias": torch.zeros(2)}


def under(prefix):
    return {f"{prefix}{name}": value for name, value in PLAIN.items()}


@pytest.mark.parametrize(
    "content",
    [
        PLAIN,
        under("module."),
        under("_orig_mod."),
        under("module._orig_mod."),
        under("_orig_mod.module."),
        under("module.module."),
        {"state_dict": PLAIN, "epoch": 3, "optimizer": {"state": {}}},
        {"model": under("module."), "args": None},
        {"net": PLAIN, "mAP": np.float64(0.5)},
        {"model": {"state_dict": under("model.")}},
        {
            "conv._orig_mod.weight": PLAIN["conv.weight"],
            "conv.bias": PLAIN["conv.bias"],
        },
    ],
)
def test_a_network_comes_out_of_its_wrappers(content):
    found = unwrap(content)
    assert list(found) == list(PLAIN)
    assert all(torch.equal(found[name], PLAIN[name]) for name in PLAIN)


def test_a_network_saved_by_torch_itself_from_inside_wrappers_comes_out(tmp_path):
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    compiled, parallel = torch.compile(net), nn.DataParallel(net)
    for name, saved in (("compiled", compiled), ("parallel", parallel)):
        torch.save({"model": saved.state_dict()}, tmp_path / name)
        assert list(unwrap(read(tmp_path / name))) == list(net.state_dict()), name


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"model": PLAIN, "net": PLAIN}, r"several networks \(model, net\)"),
        ({"epoch": 3}, "no tensors by name under epoch"),
        (PLAIN | {"epoch": 3}, "no tensors by name under epoch"),
        ({}, "it is empty"),
        ({3: torch.zeros(1)}, "no tensors by name under 3"),
        (under("module.") | {"head.weight": torch.ones(1)}, "2 of 3 names begin with"),
        ({"a": torch.ones(1), "_orig_mod.a": torch.ones(1)}, "two names are one"),
    ],
)
def test_what_is_not_clear_is_refused(content, said):
    with pytest.raises(CheckpointError, match=said):
        unwrap(content)


def test_a_file_is_read_by_its_content_whatever_its_name(tmp_path):
    save_file(PLAIN, tmp_path / "a.pt")
    torch.save(PLAIN, tmp_path / "b.safetensors")
    for name in ("a.pt", "b.safetensors"):
        assert list(read(tmp_path / name)) and set(read(tmp_path / name)) == set(PLAIN)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<html>quota exceeded</html>", "is a web page: the download failed"),
        (b"\n <!DOCTYPE html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a pointer of git-lfs"),
        (b"", "without executing"),
        (b"\x1f\x8b\x08\x00", "is packed by gzip: unpack it"),
        (b"\xfd7zXZ\x00", "is packed by xz: unpack it"),
        (b"\x93NUMPY\x01\x00", "is an array of NumPy"),
        (b"PK\x03\x04" + bytes(60), "damaged, or torch.save did not write it"),
    ],
)
def test_what_was_never_a_checkpoint_is_called_what_it_is(content, said, tmp_path):
    (tmp_path / "net.t").write_bytes(content)
    with pytest.raises(CheckpointError, match=said):
        read(tmp_path / "net.t")


def test_a_cut_safetensors_file_and_a_list_are_named(tmp_path):
    save_file(PLAIN, tmp_path / "a.safetensors")
    content = (tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "a.safetensors").write_bytes(content[:-3])
    with pytest.raises(CheckpointError, match=r"a\.safetensors is damaged"):
        read(tmp_path / "a.safetensors")
    torch.save([1], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="holds a list, not a dict"):
        read(tmp_path / "list.pt")


def test_what_asks_for_code_is_refused_with_the_way_out(tmp_path):
    from argparse import Namespace

    torch.save({"net": PLAIN, "opt": Namespace(lr=1)}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"argparse\.Namespace: save its tensors"):
        read(tmp_path / "a.pt")
