"""Released checkpoints of random values.

Every key accounted for, the same embedding as the released formula, nothing executed.
"""

import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from vvi import weights
from vvi.methods import mitml


def resnet(prefix, generator, dead=()):
    """State dict of a whole ResNet-50 under a prefix; unread parts take no memory."""
    with torch.device("meta"):
        shapes = {
            k: v.shape
            for k, v in torchvision.models.resnet50(weights=None).state_dict().items()
            if not k.startswith("fc.")
        }
    return {
        f"{prefix}{k}": torch.zeros(()).expand(s)
        if k.split(".")[0] in dead
        else random(k, s, generator)
        for k, s in shapes.items()
    }


def random(key, shape, generator):
    if key.endswith("num_batches_tracked"):
        return torch.tensor(7)
    if key.endswith("running_var"):
        return 0.5 + torch.rand(shape, generator=generator)
    fan = max(1, int(np.prod(shape[1:])))
    return (
        torch.randn(shape, generator=generator) * (2 / fan) ** 0.5
        if len(shape) > 1
        else 0.5 + 0.2 * torch.randn(shape, generator=generator)
    )


def norm(prefix, dim, generator):
    shapes = {
        "weight": (dim,),
        "bias": (dim,),
        "running_mean": (dim,),
        "running_var": (dim,),
        "num_batches_tracked": (),
    }
    return {f"{prefix}.{k}": random(k, s, generator) for k, s in shapes.items()}


def released_mitml():
    g = torch.Generator().manual_seed(0)
    stages = ("layer1", "layer2", "layer3", "layer4")
    net = (
        resnet("visible_module.visible.", g, stages)
        | resnet("thermal_module.thermal.", g, stages)
        | resnet("base_resnet.base.", g, ("conv1", "bn1"))
    )
    net |= {
        k.replace(".base.layer4", ".layer4"): random(k, v.shape, g)
        for k, v in net.items()
        if k.startswith("base_resnet.base.layer4.")
    }
    with torch.device("meta"):
        lstm = nn.LSTM(2048, 2048, 2).state_dict()
    net |= {
        f"lstm.{k}": torch.randn(v.shape, generator=g) / 45 for k, v in lstm.items()
    }
    for t, letter in enumerate("abcdef", 1):
        net |= {
            f"temporal_feat_learning.{letter}.weight": random("", (2048, 2048), g),
            f"temporal_feat_learning.{letter}.bias": random("", (2048,), g),
        }
        se = f"temporal_feat_learning.se_{t}."
        net |= {
            se + "fc.0.weight": random("", (128, 2048), g),
            se + "fc.2.weight": random("", (2048, 128), g),
        }
        net |= {
            se + "l.weight": torch.zeros(()).expand(2048, 2048, 1, 1),
            se + "l.bias": torch.zeros(()).expand(2048),
        }
    net |= norm("bottleneck", 2048, g) | norm("bottleneck1", 2048, g)
    net |= {"classifier.weight": random("", (500, 2048), g)} | {
        f"classifier{n}.weight": torch.zeros(()).expand(500, 2048) for n in (1, 2)
    }
    widths = [2048, 1024, 512, 256, 128, 64, 32, 16, 8]
    modal = {"Liner.weight": random("", (3, 8), g), "Liner.bias": random("", (3,), g)}
    for n, (a, b) in enumerate(zip(widths, widths[1:], strict=False)):
        prefix = "first_layer" if n == 0 else f"layers.{n - 1}"
        modal |= {
            f"{prefix}.0.weight": random("", (b, a, 3), g),
            f"{prefix}.0.bias": random("", (b,), g),
        } | norm(f"{prefix}.1", b, g)
    return {
        "net": net,
        "net_modal_classifier": modal,
        "mAP": np.float64(0.4531),
        "epoch": 190,
    }


@pytest.fixture(scope="module")
def mitml_checkpoint():
    return released_mitml()


def test_of_the_released_keys_422_and_the_classifier_are_kept(mitml_checkpoint):
    net, modal = mitml_checkpoint["net"], mitml_checkpoint["net_modal_classifier"]
    assert (len(net), len(modal)) == (1071, 58)
    prefixes = [prefix for prefix, *_ in mitml.RELEASED_KEYS]
    assert sum(key.startswith(tuple(prefixes)) for key in net) == 422
    assert all(
        any(key.startswith(p) for key in [*net, *modal])
        for p in [*prefixes, *mitml.RELEASED_IGNORED]
    )  # none of them is idle
    dead = sum(
        v.numel()
        for k, v in net.items()
        if k.startswith(mitml.RELEASED_IGNORED)
        and "running" not in k
        and "tracked" not in k
    )
    assert dead - 2048 == 74_234_688  # the bias of the second neck is frozen


def released_embedding(net, clip, modality):
    """Section 10 of the card, `released`, frame by frame.

    On modules of torchvision and nn.LSTM that know nothing of ours.
    """
    trunk = torchvision.models.resnet50(weights=None)
    stem = "visible_module.visible." if modality == "vis" else "thermal_module.thermal."
    own = {
        k.removeprefix(stem): v
        for k, v in net.items()
        if k.startswith((stem + "conv1", stem + "bn1"))
    }
    shared = {
        k.removeprefix("base_resnet.base."): v
        for k, v in net.items()
        if k.startswith("base_resnet.base.layer")
    }
    trunk.load_state_dict(own | shared, strict=False)
    attention = torchvision.models.resnet50(weights=None).layer4
    attention.load_state_dict(
        {
            k.removeprefix("base_resnet.layer4."): v
            for k, v in net.items()
            if k.startswith("base_resnet.layer4.")
        }
    )
    lstm = nn.LSTM(2048, 2048, 2)
    lstm.load_state_dict(
        {k.removeprefix("lstm."): v for k, v in net.items() if k.startswith("lstm.")}
    )
    for stage in (trunk.layer4, attention):
        stage[0].conv2.stride = stage[0].downsample[0].stride = (1, 1)
    trunk.eval(), attention.eval()
    first, second = [], []
    for frame in clip:
        x = trunk.maxpool(trunk.relu(trunk.bn1(trunk.conv1(frame[None]))))
        x = trunk.layer3(trunk.layer2(trunk.layer1(x)))
        (
            first.append(attention(x).mean((2, 3))[0]),
            second.append(trunk.layer4(x).mean((2, 3))[0]),
        )
    last = lstm(torch.stack(first)[:, None])[0][-1, 0]
    total = torch.zeros(2048)
    for t, letter in enumerate("abcdef"):
        name = f"temporal_feat_learning.{letter}."
        mixed = (
            F.linear(last, net[name + "weight"], net[name + "bias"]) + first[t]
        ) / 2
        se = f"temporal_feat_learning.se_{t + 1}.fc."
        gate = torch.sigmoid(
            F.linear(
                F.relu(F.linear(mixed, net[se + "0.weight"])), net[se + "2.weight"]
            )
        )
        total += second[t] * (1 + gate) / 6
    g = F.batch_norm(
        total[None],
        *(
            net[f"bottleneck.{k}"]
            for k in ("running_mean", "running_var", "weight", "bias")
        ),
    )
    return F.normalize(g)[0]


def test_the_loaded_network_gives_the_embedding_of_the_released_formula(
    mitml_checkpoint,
):
    method = weights.load_released("mitml", mitml_checkpoint)
    assert (
        method.config.variant == "released"
        and method.config.frames == 6
        and not method.training
    )
    clips = F.interpolate(
        3 * torch.randn(12, 3, 3, 2, generator=torch.Generator().manual_seed(1)),
        (96, 48),
    ).unflatten(0, (2, 6))
    with torch.no_grad():
        for modality in ("vis", "ir"):
            found = method.embed(clips, modality)
            torch.testing.assert_close(
                found[0],
                released_embedding(mitml_checkpoint["net"], clips[0], modality),
                atol=1e-5,
                rtol=0,
            )
            assert (found[0] - found[1]).abs().max() > 1e-3
        method.memory.eta = (
            "own"  # the other reading of Eq. (2) is told apart by this test
        )
        assert (method.embed(clips, "ir") - found).abs().max() > 1e-4


def test_the_centre_tap_classifier_is_the_released_stack_of_convolutions(
    mitml_checkpoint,
):
    modal, method = (
        mitml_checkpoint["net_modal_classifier"],
        weights.load_released("mitml", mitml_checkpoint),
    )
    x = feat = torch.randn(4, 2048, generator=torch.Generator().manual_seed(2))
    for prefix in ("first_layer", *(f"layers.{n}" for n in range(7))):
        x = F.conv1d(
            x.reshape(4, -1, 1),
            modal[f"{prefix}.0.weight"],
            modal[f"{prefix}.0.bias"],
            stride=2,
            padding=1,
        )
        x = F.relu(
            F.batch_norm(
                x,
                *(
                    modal[f"{prefix}.1.{k}"]
                    for k in ("running_mean", "running_var", "weight", "bias")
                ),
            )
        )
    expected = F.linear(x.flatten(1), modal["Liner.weight"], modal["Liner.bias"])
    with torch.no_grad():
        torch.testing.assert_close(
            method.modal(feat) / expected.abs().max(),
            expected / expected.abs().max(),
            atol=1e-6,
            rtol=0,
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda net: net.pop("lstm.weight_hh_l1"), "missing: memory.lstm.weight_hh_l1"),
        (lambda net: net.pop("classifier.weight"), "missing: neck.classifier.weight"),
        (
            lambda net: net.pop("temporal_feat_learning.c.bias"),
            r"memory.fc.bias: rows \[0, 1, 3, 4, 5\]",
        ),
        (lambda net: net.update(extra=torch.zeros(1)), "unknown keys: extra"),
        (
            lambda net: net.update({"bottleneck.weight": torch.zeros(7)}),
            r"of another shape: neck.norm.weight \(7,\) in place of \(2048,\)",
        ),
        (lambda net: net.update(epoch=3), "no tensors by name under epoch"),
    ],
)
def test_a_key_that_is_missing_unknown_or_misshapen_is_named(
    mitml_checkpoint, change, message
):
    net = dict(mitml_checkpoint["net"])
    change(net)
    with pytest.raises(weights.CheckpointError, match=message):
        weights.load_released("mitml", {"net": net})


def test_a_file_with_the_numpy_score_is_read_and_one_that_would_run_code_is_refused(
    tmp_path, monkeypatch
):
    seen = {}
    monkeypatch.setattr(
        weights,
        "_tensors",
        lambda content: seen.update(content) or {"extra": torch.zeros(1)},
    )
    torch.save(
        {
            "net": {"classifier.weight": torch.zeros(2, 2)},
            "mAP": np.float64(0.45),
            "epoch": 3,
        },
        tmp_path / "good.t",
    )
    with pytest.raises(weights.CheckpointError, match="unknown keys: extra"):
        weights.load_released("mitml", tmp_path / "good.t")
    assert seen["mAP"] == np.float64(0.45)

    class Evil:
        def __reduce__(self):
            return (print, ("this must not run",))

    (tmp_path / "evil.t").write_bytes(pickle.dumps({"net": Evil()}, protocol=2))
    torch.save({"net": Evil()}, tmp_path / "evil_zip.t")
    for name in ("evil.t", "evil_zip.t"):
        with pytest.raises(
            weights.CheckpointError,
            match=f"{name} is no checkpoint that can be read without executing",
        ):
            weights.load_released("mitml", tmp_path / name)


def test_what_is_no_checkpoint_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        weights.load_released("mitml", tmp_path / "absent.t")
    torch.save([1, 2], tmp_path / "list.t")
    with pytest.raises(weights.CheckpointError, match="holds a list"):
        weights.load_released("mitml", tmp_path / "list.t")
    with pytest.raises(
        weights.CheckpointError, match="no code of baseline was released"
    ):
        weights.load_released("baseline", {})


def test_convolutions_that_are_one_linear_map_become_one():
    weight = torch.randn(4, 3)
    for released in (
        weight[:, :, None, None, None],
        torch.stack((weight + 1, weight, weight + 2), 2),
    ):
        assert torch.equal(weights._linear(released), weight)


def test_a_kernel_that_is_no_linear_map_and_rows_of_two_shapes_are_refused():
    with pytest.raises(
        weights.CheckpointError, match=r"\(4, 3, 3, 3\) is no linear map"
    ):
        weights._linear(torch.zeros(4, 3, 3, 3))
    keys = (("a.", "fc.", 0), ("b.", "fc.", 1))
    with pytest.raises(
        weights.CheckpointError, match="fc.weight: rows of different shapes"
    ):
        weights.rename(
            {"a.weight": torch.zeros(2, 2), "b.weight": torch.zeros(3, 2)}, keys, ()
        )
    with pytest.raises(weights.CheckpointError, match="no tensors by name under 3"):
        weights.load_released("mitml", {"net": {3: torch.zeros(1)}})
