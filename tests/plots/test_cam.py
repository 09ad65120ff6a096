"""Activation maps of a small network whose attention is known."""

import io

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import nn
from torch.nn import functional as F

from vvi.evaluation.cam import class_activation_maps
from vvi.plots import cam


class Bright(nn.Module):
    """Embeds a clip by the mean of its red and its green places: two channels, two
    dimensions.
    """

    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(3, 2, 1, bias=False), nn.ReLU(), nn.AvgPool2d(2)
        )
        self.trunk[0].weight.data = torch.eye(3)[:2, :, None, None].clone()
        self.drop = nn.Dropout(0.5)
        self.flat = nn.Linear(2, 2)

    def embed(self, clips, modality):
        maps = self.trunk(clips.flatten(0, 1))
        return F.normalize(
            self.drop(maps.mean((2, 3)).unflatten(0, clips.shape[:2]).mean(1)), dim=1
        )


def clip():
    frames = torch.zeros(3, 3, 16, 8)
    frames[:, 0, 2:6, 2:6] = 1  # red at the top
    frames[:, 1, 10:14, 2:6] = 1  # green at the bottom
    return frames


@pytest.mark.parametrize(
    ("reference", "rows"), [((1.0, 0.0), slice(0, 8)), ((0.0, 1.0), slice(8, 16))]
)
def test_a_map_lies_where_the_embedding_comes_nearer_to_the_reference(reference, rows):
    maps = class_activation_maps(
        Bright(), "trunk", clip(), "vis", torch.tensor(reference)
    )
    assert maps.shape == (3, 16, 8)
    assert maps.min() >= 0
    assert maps.max() == pytest.approx(1, abs=1e-4)
    assert (maps[:, rows].sum((1, 2)) > 0.95 * maps.sum((1, 2))).all()


def test_clips_of_a_batch_have_the_maps_they_have_alone():
    clips = torch.stack(
        [
            clip(),
            clip().flip(2),
            torch.rand(3, 3, 16, 8, generator=torch.manual_seed(0)),
        ]
    )
    references = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.2]])
    together = class_activation_maps(Bright(), "trunk", clips, "ir", references)
    for maps, one, reference in zip(together, clips, references, strict=True):
        np.testing.assert_allclose(
            maps,
            class_activation_maps(Bright(), "trunk", one, "ir", reference),
            atol=1e-5,
        )


def test_computing_leaves_the_network_as_it_was():
    network = Bright().train()
    network.drop.eval()
    network.flat.weight.grad = torch.ones(2, 2)
    class_activation_maps(network, "trunk", clip(), "vis", torch.tensor([1.0, 0.0]))
    assert network.training
    assert network.trunk.training
    assert not network.drop.training
    assert network.trunk[0].weight.grad is None
    assert (network.flat.weight.grad == 1).all()
    assert not network.trunk._forward_hooks


def test_a_frozen_network_under_no_grad_still_has_maps():
    network = Bright().requires_grad_(False)
    with torch.no_grad():
        maps = class_activation_maps(
            network, "trunk", clip(), "vis", torch.tensor([1.0, 0.0])
        )
    assert maps.max() == pytest.approx(1, abs=1e-4)


def test_a_layer_that_is_not_there_or_gives_no_maps_is_refused_by_name():
    reference = torch.tensor([1.0, 0.0])
    with pytest.raises(
        ValueError, match=r"no layer 'trunk.layer9'; .* trunk, drop, flat"
    ):
        class_activation_maps(Bright(), "trunk.layer9", clip(), "vis", reference)
    for layer in ("flat", "drop"):
        with pytest.raises(ValueError, match=f"layer '{layer}' gives"):
            class_activation_maps(Bright(), layer, clip(), "vis", reference)
    with pytest.raises(ValueError, match="clips must be"):
        class_activation_maps(Bright(), "trunk", clip()[0], "vis", reference)


def test_a_real_method_has_maps_for_both_modalities():
    from vvi import methods

    method = methods.load("baseline", 4, backbone="small", frames=3)
    clips = torch.randn(2, 3, 3, 64, 32)
    reference = method.eval().embed(clips, "ir").mean(0).detach()
    layer = f"trunk.{[name for name, _ in method.trunk.named_children()][-1]}"
    for modality in ("vis", "ir"):
        maps = class_activation_maps(method, layer, clips, modality, reference)
        assert maps.shape == (2, 3, 64, 32)
        assert np.isfinite(maps).all()
        assert maps.max() > 0.9


def test_maps_are_drawn_under_their_frames_with_the_outline_of_the_person():
    frames = np.random.default_rng(0).integers(
        0, 256, (2, 6, 32, 16, 3), dtype=np.uint8
    )
    maps, masks = (
        np.random.default_rng(1).random((2, 6, 32, 16)),
        np.zeros((2, 6, 32, 16), bool),
    )
    masks[:, :5, 8:24, 4:12] = True  # nobody is seen in the last frame
    fig = cam.plot(frames, maps, masks=masks, caption="Share inside the person 0.6.")
    assert isinstance(fig, Figure)
    (ax,) = fig.axes
    assert len(ax.images) == 2 * 6 * 3 + 1
    assert len(ax.collections) == 2 * 5
    assert (
        np.asarray(Image.open(io.BytesIO(fig._repr_png_())).convert("L"))[0, 0] == 255
    )
    assert (
        len(
            cam.plot([frames[0, :, :, :, 0]], [maps[0]], titles=["infrared"])
            .axes[0]
            .images
        )
        == 6 * 3 + 1
    )
    named = cam.plot(frames, maps, heads=[f"part {n}" for n in range(6)])
    assert {f"part {n}" for n in range(6)} <= {
        t.get_text() for t in named.axes[0].texts
    }
