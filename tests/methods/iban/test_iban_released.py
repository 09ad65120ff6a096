"""The released checkpoint of IBAN."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from vvi import weights
from vvi.methods import iban
from vvi.nn import backbone


def released_shapes(scale=1):
    """List the shapes of all entries of `net` (section 11 of the card).

    Every width is divided by `scale`.
    """
    with torch.device("meta"):
        resnet = {
            k: v.shape
            for k, v in torchvision.models.resnet50().state_dict().items()
            if not k.startswith("fc.")
        }

    def thin(*shape):
        return tuple(
            n // scale if n > 7 else n for n in shape
        )  # sides of kernels and the three colours stay

    prefixes = [
        f"{m}_module{f}.{m}." for m in ("visible", "thermal") for f in ("", "_f")
    ] + ["base_resnet.base."]
    prefixes += [
        f"base_resnet_{half}{f}.base." for half in ("fir", "sec") for f in ("", "_f")
    ]
    net = {prefix + k: thin(*s) for prefix in prefixes for k, s in resnet.items()}
    net |= {
        f"base_resnet.{k}": thin(*s)
        for k, s in resnet.items()
        if k.startswith("layer4.")
    }

    def norm(prefix, n):
        return {
            f"{prefix}.{k}": thin(n)
            for k in ("weight", "bias", "running_mean", "running_var")
        } | {f"{prefix}.num_batches_tracked": ()}

    for part, c, side in (("fir", 1024, 3), ("sec", 2048, 1)):
        net |= {
            f"chonggou_{flow}_{part}.conv.0.weight": thin(c, c, side, side)
            for flow in ("v2t", "t2v")
        }
        layers = {
            "theta": (c // 2, c),
            "phi.0": (c // 2, c),
            "g.0": (c // 2, c),
            "W.0": (c, c // 2),
        }
        net |= {
            f"cross_atten_{part}.cross_atten.{k}.weight": thin(*s, 1, 1, 1)
            for k, s in layers.items()
        }
        net |= {
            f"cross_atten_{part}.cross_atten.{k}.bias": thin(s[0])
            for k, s in layers.items()
        } | norm(f"cross_atten_{part}.cross_atten.W.1", c)
    net |= (
        norm("bottleneck", 2048)
        | norm("bottleneck_f", 2048)
        | {"classifier.weight": (500, *thin(2048))}
    )
    for name in ("lstm_o", "lstm_r"):
        net |= {
            f"{name}.{kind}_{way}_l{n}": thin(8192, 2048)[
                : 2 if kind == "weight" else 1
            ]
            for kind in ("weight", "bias")
            for way in ("ih", "hh")
            for n in (0, 1)
        }
    for t, letter in enumerate("abcdef", 1):
        gate = f"temporal_feat_learning.se_{t}."
        net |= {
            f"temporal_feat_learning.{letter}.weight": thin(2048, 2048),
            f"temporal_feat_learning.{letter}.bias": thin(2048),
        }
        net |= {
            gate + "fc.0.weight": thin(128, 2048),
            gate + "fc.2.weight": thin(2048, 128),
            gate + "l.weight": thin(2048, 2048, 1, 1),
            gate + "l.bias": thin(2048),
        }
    return net


def ours(net):
    """Released tensors by our names; a 1x1x1 convolution is a linear map of places."""
    renamed = weights.rename(net, iban.RELEASED_KEYS, iban.RELEASED_IGNORED)
    return {k: v.flatten(1) if v.ndim == 5 else v for k, v in renamed.items()}


def test_of_the_released_keys_729_fill_the_model_and_2286_are_dead():
    net = {k: torch.empty(s, device="meta") for k, s in released_shapes().items()}
    prefixes = tuple(prefix for prefix, *_ in iban.RELEASED_KEYS)
    live, dead = (
        [k for k in net if k.startswith(prefixes) == wanted] for wanted in (True, False)
    )
    assert (len(net), len(live), len(dead)) == (3015, 729, 2286) and not any(
        k.startswith(iban.RELEASED_IGNORED) for k in live
    )
    assert (
        sum(net[k].numel() for k in dead if "running" not in k and "tracked" not in k)
        == 204_680_000
    )
    assert all(
        any(k.startswith(p) for k in net) for p in (*prefixes, *iban.RELEASED_IGNORED)
    )  # none of them is idle
    renamed = ours(net)
    config = iban.released_config(renamed)
    with torch.device("meta"):
        model = iban.Model(config, 500)
    assert (config.frames, config.variant, config.backbone) == (
        6,
        "released",
        "resnet50",
    )
    assert {k: v.shape for k, v in renamed.items()} == {
        k: v.shape for k, v in model.state_dict().items()
    }
    with pytest.raises(
        weights.CheckpointError, match="unknown keys: lstm.weight_ih_l0"
    ):
        ours(net | {"lstm.weight_ih_l0": torch.zeros(1)})


def random_values(shapes):
    g = torch.Generator().manual_seed(0)

    def draw(key, shape):
        if key.endswith("num_batches_tracked"):
            return torch.tensor(7)
        if key.endswith("running_var"):
            return 0.5 + torch.rand(shape, generator=g)
        fan = max(1, int(np.prod(shape[1:])))
        return (
            torch.randn(shape, generator=g) * (2 / fan) ** 0.5
            if len(shape) > 1
            else 0.5 + 0.2 * torch.randn(shape, generator=g)
        )

    return {key: draw(key, shape) for key, shape in shapes.items()}


class Released:
    """The forward pass of sections 3 and 10 of the card, without code of ours."""

    def __init__(self, net):
        self.net = net

    def norm(self, key, x):
        return F.batch_norm(
            x,
            *(
                self.net[f"{key}.{k}"]
                for k in ("running_mean", "running_var", "weight", "bias")
            ),
        )

    def stage(self, prefix, x, stride):
        for n in itertools.takewhile(
            lambda n: f"{prefix}.{n}.conv1.weight" in self.net, itertools.count()
        ):
            key, step = f"{prefix}.{n}", stride if n == 0 else 1
            y = F.relu(
                self.norm(f"{key}.bn1", F.conv2d(x, self.net[f"{key}.conv1.weight"]))
            )
            y = F.relu(
                self.norm(
                    f"{key}.bn2",
                    F.conv2d(
                        y, self.net[f"{key}.conv2.weight"], stride=step, padding=1
                    ),
                )
            )
            y = self.norm(f"{key}.bn3", F.conv2d(y, self.net[f"{key}.conv3.weight"]))
            if n == 0:
                x = self.norm(
                    f"{key}.downsample.1",
                    F.conv2d(x, self.net[f"{key}.downsample.0.weight"], stride=step),
                )
            x = F.relu(x + y)
        return x

    def third(self, x, side, branch):
        stem = f"{side}_module{branch}.{side}"
        x = F.relu(
            self.norm(
                f"{stem}.bn1",
                F.conv2d(x, self.net[f"{stem}.conv1.weight"], stride=2, padding=3),
            )
        )
        x = F.max_pool2d(x, 3, 2, 1)
        for layer, stride in ((1, 1), (2, 2), (3, 2)):
            x = self.stage(f"base_resnet_fir{branch}.base.layer{layer}", x, stride)
        return x

    def cross(self, part, f, a):
        """Guide maps (T, C, h, w) by anaglyph maps of the same shape.

        The pseudo entry (c', t') is channel s mod C of frame s // C, s = c'T + t'.
        """
        frames, c, key = len(f), f.shape[1], f"cross_atten_{part}.cross_atten"
        slot = torch.arange(c * frames).view(c, frames)
        f_, a_ = (x[slot // c, slot % c][None] for x in (f, a))  # (1, C, T, h, w)

        def conv(name, x):
            return F.conv3d(
                x, self.net[f"{key}.{name}.weight"], self.net[f"{key}.{name}.bias"]
            )

        query = conv("theta", a_).flatten(2)[0]
        keys, values = (
            F.max_pool3d(conv(name, f_), (1, 2, 2)).flatten(2)[0]
            for name in ("phi.0", "g.0")
        )
        mixed = values @ (query.T @ keys).softmax(1).T
        z = f_ + self.norm(f"{key}.W.1", conv("W.0", mixed.view(1, -1, *f_.shape[2:])))
        out = torch.empty_like(f)
        out[slot // c, slot % c] = z[0]
        return out

    def embed(self, clip, anaglyphs, side):
        f3, a3 = self.third(clip, side, ""), self.third(anaglyphs, side, "_f")
        f4 = self.stage("base_resnet_sec.base.layer4", self.cross("fir", f3, a3), 1)
        x = self.cross(
            "sec", f4, self.stage("base_resnet_sec_f.base.layer4", a3, 1)
        ).mean((2, 3))  # (T, D)
        ends = []
        for name, order in (("lstm_o", x), ("lstm_r", x.flip(0))):
            lstm = nn.LSTM(x.shape[1], x.shape[1], 2)
            lstm.load_state_dict(
                {
                    k.removeprefix(f"{name}."): v
                    for k, v in self.net.items()
                    if k.startswith(f"{name}.")
                }
            )
            ends.append(lstm(order[:, None])[0][-1, 0])
        total = torch.zeros(x.shape[1])
        for t, letter in enumerate("abcdef"):
            linear, gate = (
                f"temporal_feat_learning.{letter}.",
                f"temporal_feat_learning.se_{t + 1}.fc.",
            )
            z = (
                F.linear(
                    ends[0], self.net[linear + "weight"], self.net[linear + "bias"]
                )
                + x[t]
            ) / 2
            s = torch.sigmoid(
                F.linear(
                    F.relu(F.linear(z, self.net[gate + "0.weight"])),
                    self.net[gate + "2.weight"],
                )
            )
            w = sum(x[t] @ end / x[t].norm() / end.norm() for end in ends) / 2
            total += (1 + w) * x[t] * (1 + s) / 6
        return F.normalize(self.norm("bottleneck", total[None]))[0]


def narrow_trunk(name, source):
    """The trunk of ResNet-50 at a sixteenth of its widths."""
    with torch.device("meta"):
        net = torchvision.models.resnet50()
    net.inplanes = 4
    shapes = ((4, 3, 1), (8, 4, 2), (16, 6, 2), (32, 3, 1))
    stages = [
        net._make_layer(torchvision.models.resnet.Bottleneck, planes, blocks, stride)
        for planes, blocks, stride in shapes
    ]
    stem = nn.Sequential(
        nn.Conv2d(3, 4, 7, 2, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
    )
    return backbone.TwoStream(stem, stages, (4, 16, 32, 64, 128))


def test_released_weights_give_the_embedding_of_the_released_formula(monkeypatch):
    monkeypatch.setattr(backbone, "build", narrow_trunk)
    net = random_values(released_shapes(scale=16))
    model = weights.load_released("iban", {"net": net})
    assert model.guide3.norm.weight.abs().min() > 1e-3  # the guidance takes part
    clips = F.interpolate(
        3 * torch.randn(12, 3, 3, 2, generator=torch.Generator().manual_seed(1)),
        (96, 48),
    ).unflatten(0, (2, 6))
    anaglyphs = F.interpolate(
        3 * torch.randn(12, 3, 3, 2, generator=torch.Generator().manual_seed(2)),
        (96, 48),
    ).unflatten(0, (2, 6))
    with torch.no_grad():
        for modality, side in (("vis", "visible"), ("ir", "thermal")):
            embeds = model.embed(clips, modality, anaglyphs)
            for n in range(2):
                torch.testing.assert_close(
                    embeds[n],
                    Released(net).embed(clips[n], anaglyphs[n], side),
                    atol=1e-5,
                    rtol=0,
                )
            assert (embeds[0] - embeds[1]).abs().max() > 1e-2
        for part, name, value in (
            (model.guide3, "layout", "permute"),
            (model.guide4, "query", "original"),
            (model.bsta, "plus_one", False),
        ):
            before = getattr(part, name)
            setattr(part, name, value)
            assert (model.embed(clips, "ir", anaglyphs) - embeds).abs().max() > 1e-3, (
                name
            )  # this test sees the other readings
            setattr(part, name, before)
