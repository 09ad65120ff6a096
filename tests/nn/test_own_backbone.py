"""Trunks and weights of one's own."""

import sys

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock

from vvi import experiment, methods
from vvi.config import preset
from vvi.nn import backbone, own_backbone
from vvi.runtime import pins
from vvi.runtime.tensors import CheckpointError

RESNET18 = "torchvision.models:resnet18"
TOY = """
import functools

import torchvision
from torch import nn

from vvi.nn.backbone import TwoStream


def block(inside, outside):
    conv = nn.Conv2d(inside, outside, 3, 2, 1)
    return nn.Sequential(conv, nn.BatchNorm2d(outside), nn.ReLU())


def toy(widths=(16, 16, 16, 32, 32)):
    stages = [nn.Sequential(block(*pair)) for pair in zip(widths, widths[1:])]
    return TwoStream(block(3, widths[0]), stages, widths)


def wrong():
    trunk = toy()
    trunk.channels = (16, 16, 16, 32, 64)
    return trunk


def broken():
    stages = [nn.Sequential(block(16, 16)), nn.Sequential(block(8, 8))]
    return TwoStream(block(3, 16), [*stages, nn.Sequential(), nn.Sequential()], ())


def flat():
    return TwoStream(block(3, 16), [nn.Flatten()] * 4, ())


def vgg():
    return torchvision.models.vgg11()


def three():
    return TwoStream(block(3, 16), [nn.Sequential(block(16, 16))] * 3, ())


def sized(widths):
    return toy(widths)


narrow = functools.partial(toy, (16, 16, 16, 16, 16))
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.setenv("VVI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VVI_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "toy_trunks", raising=False)
    monkeypatch.delitem(pins._SEEN, "toy_trunks", raising=False)
    (tmp_path / "toy_trunks.py").write_text(TOY)
    return tmp_path


@pytest.mark.parametrize("method", methods.names())
def test_a_resnet18_of_torchvision_serves_every_method(method):
    model = methods.load(method, 5, backbone=RESNET18, frames=3).eval()
    with torch.no_grad():
        feat = model.embed(torch.randn(2, 3, 3, 64, 32), "ir")
    torch.testing.assert_close(feat.norm(dim=1), torch.ones(2))


def test_a_resnet_is_taken_apart_into_its_own_maps_with_the_last_stage_at_stride_one(
    monkeypatch,
):
    net = torchvision.models.resnet18().eval()
    monkeypatch.setattr(torchvision.models, "own_resnet", lambda: net, raising=False)
    trunk = backbone.build("torchvision.models:own_resnet").eval()
    assert trunk.channels == (64, 64, 128, 256, 512)
    frames = torch.randn(2, 3, 64, 32)
    with torch.no_grad():
        maps = net.layer3(
            net.layer2(net.layer1(net.maxpool(net.relu(net.bn1(net.conv1(frames))))))
        )
        assert trunk(trunk.stem(frames, "ir")).shape[2:] == maps.shape[2:]
        torch.testing.assert_close(trunk(trunk.stem(frames, "ir")), net.layer4(maps))


def test_a_bottleneck_resnet_becomes_what_resnet50_is_here():
    own, ours = (
        backbone.build("torchvision.models:resnet50"),
        backbone.build("resnet50"),
    )
    assert own.channels == ours.channels
    assert [(k, v.shape) for k, v in own.state_dict().items()] == [
        (k, v.shape) for k, v in ours.state_dict().items()
    ]
    own.load_state_dict(ours.state_dict())
    frames = torch.randn(1, 3, 64, 32)
    with torch.no_grad():
        assert torch.equal(
            own.eval()(own.stem(frames, "vis")), ours.eval()(ours.stem(frames, "vis"))
        )


@pytest.mark.parametrize("method", ["baseline", "cmft"])
def test_a_resnet_whose_last_stage_keeps_its_width_needs_no_projection(
    method, monkeypatch
):
    net = torchvision.models.resnet18()
    net.layer4 = nn.Sequential(BasicBlock(256, 256))
    monkeypatch.setattr(torchvision.models, "own_resnet", lambda: net, raising=False)
    model = methods.load(method, 5, backbone="torchvision.models:own_resnet", frames=3)
    assert backbone.build("torchvision.models:own_resnet").channels[3:] == (256, 256)
    assert net.layer4[0].downsample is None
    with torch.no_grad():
        feat = model.eval().embed(torch.randn(2, 3, 3, 64, 32), "ir")
    torch.testing.assert_close(feat.norm(dim=1), torch.ones(2))


@pytest.mark.parametrize("stride", [1, 2])
def test_a_stride_is_set_in_both_paths_of_a_block(stride):
    maps = torch.randn(2, 16, 6, 4)
    projected = nn.Sequential(nn.Conv2d(16, 16, 1, 2), nn.BatchNorm2d(16))
    for block in (BasicBlock(16, 16), BasicBlock(16, 16, 2, projected)):
        names = set(block.state_dict())
        backbone.set_stride(block, stride)
        assert block(maps).shape == (2, 16, 6 // stride, 4 // stride)
        assert set(block.state_dict()) == names


def test_a_partial_function_is_named_by_the_module_that_holds_it(here):
    name, _ = own_backbone.pinned("toy_trunks:narrow", None)
    assert backbone.build(name).channels == (16,) * 5
    assert name.partition("@")[2] == own_backbone.pinned("toy_trunks:toy", None)[0][-8:]
    with pytest.raises(ValueError, match="builtins:dict: no file holds its source"):
        own_backbone.pinned("builtins:dict", None)


@pytest.mark.parametrize("trunk", ["toy_trunks:toy", RESNET18])
def test_a_run_with_a_trunk_of_ones_own_is_trained_found_again_and_named_by_its_source(
    trunk, here, tiny_root
):
    settings = preset("tiny", backbone=trunk)
    first = experiment.run(settings, data=tiny_root, device="cpu", progress=False)
    again = experiment.run(settings, data=tiny_root, device="cpu", progress=False)
    assert (
        not first.stored
        and again.stored
        and first.config.backbone.startswith(f"{trunk}@")
    )
    assert experiment.load_trained(first.config, 8).trunk.channels[-1] in (32, 512)


def test_a_changed_source_is_another_run(here, tiny_root):
    settings = preset("tiny", backbone="toy_trunks:toy")
    before = experiment.resolve_data(settings, tiny_root)
    (here / "toy_trunks.py").write_text(TOY + "\n# another thought\n")
    after = experiment.resolve_data(settings, tiny_root)
    assert before.hash != after.hash
    with pytest.raises(
        ValueError, match="toy_trunks:toy has changed since this run was made"
    ):
        experiment.build(before, 8)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "toy_trunks:wrong",
            r"its channels say \(16, 16, 16, 32, 64\), its maps \(16, 16, 16, 32, 32\)",
        ),
        ("toy_trunks:broken", "layer2 fails, .*8"),
        ("toy_trunks:flat", r"layer1 must return maps \(N, C, h, w\)"),
        (
            "toy_trunks:vgg",
            "returns a VGG: it must be a ResNet of torchvision or a "
            "vvi.nn.backbone.TwoStream",
        ),
        (
            "toy_trunks:three",
            "fails with ValueError: a TwoStream has four stages, got 3",
        ),
        ("toy_trunks:sized", "fails with TypeError: .*missing .* 'widths'"),
        ("toy_trunks:missing", "toy_trunks has no function missing"),
        ("toy_trunks.py:toy", "is not module:function"),
        (
            "resnet18",
            "no trunk 'resnet18': choose from resnet50, .* or say module:function, "
            "such as torchvision.models:resnet18",
        ),
    ],
)
def test_what_is_no_trunk_is_refused_with_what_it_must_be(name, message):
    with pytest.raises(ValueError, match=message) as caught:
        backbone.build(name)
    assert "\n" not in str(caught.value)


def saved(here, content):
    torch.save(content, here / "net.pth")
    return str(here / "net.pth")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}, "epoch": 3},
    ],
)
def test_a_file_of_weights_fills_both_stems_and_all_stages(wrap, here):
    net = torchvision.models.resnet18()
    trunk = backbone.build(RESNET18, saved(here, wrap(net.state_dict())))
    for modality in ("vis", "ir"):
        assert torch.equal(trunk.stems[modality][0].weight, net.conv1.weight)
    assert torch.equal(trunk.layer4[1].bn2.running_var, net.layer4[1].bn2.running_var)


def test_files_without_a_classifier_without_counters_and_of_a_trunk_fit(here):
    net = torchvision.models.resnet18().state_dict()
    bare = {
        k: v
        for k, v in net.items()
        if not k.startswith("fc.") and "num_batches" not in k
    }
    assert torch.equal(
        backbone.build(RESNET18, saved(here, bare)).layer1[0].conv1.weight,
        net["layer1.0.conv1.weight"],
    )
    micro = backbone.build("micro").state_dict()
    assert torch.equal(
        backbone.build("micro", saved(here, micro)).stems["ir"][0].weight,
        micro["stems.ir.0.weight"],
    )
    method = methods.load("baseline", 4, backbone="micro")
    filled = backbone.build("micro", saved(here, {"model": method.state_dict()}))
    assert torch.equal(
        filled.layer2[0].conv1.weight, method.trunk.layer2[0].conv1.weight
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda net: net.pop("conv1.weight"),
            "missing: stems.ir.0.weight, stems.vis.0.weight",
        ),
        (lambda net: net.update(extra=torch.zeros(1)), "unknown: extra"),
        (
            lambda net: net.update({"bn1.weight": torch.zeros(3)}),
            r"of another shape: stems.ir.1.weight \(3,\) in place of \(64,\)",
        ),
        (
            lambda net: net["layer1.0.conv1.weight"].mul_(torch.nan),
            "not finite: layer1.0.conv1.weight",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(change, message, here):
    net = torchvision.models.resnet18().state_dict()
    change(net)
    with pytest.raises(
        CheckpointError, match=rf"net\.pth do not fit the trunk {RESNET18}: {message}"
    ):
        backbone.build(RESNET18, saved(here, net))


def test_a_run_that_starts_from_a_file_is_named_by_what_the_file_holds(here, tiny_root):
    torch.manual_seed(1)
    file = saved(here, backbone.build("micro").state_dict())
    first = experiment.run(
        preset("tiny", weights=file, steps=1),
        data=tiny_root,
        device="cpu",
        progress=False,
    )
    plain = experiment.run(
        preset("tiny", steps=1), data=tiny_root, device="cpu", progress=False
    )
    assert first.config.weights.startswith("file:") and first.run_id != plain.run_id
    assert first.history["encoder/id"] != plain.history["encoder/id"]
    torch.manual_seed(2)
    saved(here, backbone.build("micro").state_dict())
    assert not experiment.run(
        preset("tiny", weights=file, steps=1),
        data=tiny_root,
        device="cpu",
        progress=False,
    ).stored
    experiment.load_trained(
        first.config, 8
    )  # what it started from plays no part any more
    with pytest.raises(ValueError, match="no weights 'nowhere.pth' for micro"):
        experiment.run(
            preset("tiny", weights="nowhere.pth"), data=tiny_root, progress=False
        )


def test_only_resnet50_has_weights_of_imagenet():
    with pytest.raises(
        ValueError, match="only resnet50 has them; say weights=FILE or weights=none"
    ):
        backbone.build(RESNET18, "imagenet")


def test_a_stage_may_be_any_module_that_takes_and_gives_maps():
    trunk = backbone.TwoStream(
        nn.Conv2d(3, 16, 3),
        [nn.Conv2d(16, 16, 3, padding=1) for _ in range(4)],
        (16,) * 5,
    )
    assert own_backbone.widths(trunk, "toy") == (16,) * 5


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PK no tensors " * 9, r"the file is no checkpoint"),
        (b"<html>not found</html>", r"the file is a web page"),
        ({"epoch": 3}, r"no tensors by name under epoch"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_named_as_typed_and_not_kept(
    content, said, here
):
    if isinstance(content, bytes):
        (here / "net.pth").write_bytes(content)
    else:
        saved(here, content)
    with pytest.raises(CheckpointError, match=rf"^weights net\.pth: {said}"):
        own_backbone.pinned("micro", "net.pth")
    assert not (here / "cache" / "weights").exists()


def test_weights_of_another_trunk_are_named_as_typed(here, monkeypatch):
    saved(here, backbone.build("micro").state_dict())
    _, name = own_backbone.pinned(RESNET18, "net.pth")
    with pytest.raises(
        CheckpointError, match=r"^weights net\.pth do not fit the trunk"
    ):
        backbone.build(RESNET18, name)
    monkeypatch.setattr(pins, "_TYPED", {})  # as in another process
    with pytest.raises(CheckpointError, match=f"^weights {name} do not fit the trunk"):
        backbone.build(RESNET18, name)
