import pytest
import torch

from vvi.nn import backbone
from vvi.nn.neck import Neck
from vvi.nn.pool import temporal_mean


def test_resnet50_keeps_the_shapes_of_the_paper():
    trunk = backbone.build("resnet50").eval()
    with torch.no_grad():
        maps = trunk.stem(torch.zeros(1, 3, 288, 144), "vis")
        assert maps.shape == (1, 64, 72, 36)
        for stage, shape in (
            ("layer1", (256, 72, 36)),
            ("layer2", (512, 36, 18)),
            ("layer3", (1024, 18, 9)),
            ("layer4", (2048, 18, 9)),
        ):
            maps = getattr(trunk, stage)(maps)
            assert maps.shape[1:] == shape


def test_counts_of_the_stages_match_the_card():
    trunk = backbone.build("resnet50")

    def count(*parts):
        return sum(p.numel() for part in parts for p in part.parameters())

    assert count(trunk.stems) == 19_072
    assert count(trunk.layer1, trunk.layer2, trunk.layer3) == 8_533_760
    assert count(trunk.layer4) == 14_964_736


@pytest.mark.parametrize("name", ["small", "micro"])
def test_every_trunk_offers_the_same_interface(name):
    trunk = backbone.build(name)
    maps = trunk.stems_of_pair(
        torch.zeros(2, 3, 3, 32, 16), torch.zeros(2, 3, 3, 32, 16)
    )
    assert maps.shape[:2] == (12, trunk.channels[0])
    for stage, channels in zip(
        ("layer1", "layer2", "layer3", "layer4"), trunk.channels[1:], strict=True
    ):
        maps = getattr(trunk, stage)(maps)
        assert maps.shape[1] == channels


def test_the_stems_start_equal_and_share_nothing():
    trunk = backbone.build("micro")
    vis, ir = (list(trunk.stems[m].parameters()) for m in ("vis", "ir"))
    assert all(torch.equal(a, b) and a is not b for a, b in zip(vis, ir, strict=True))


def test_stems_of_a_pair_put_visible_first_and_keep_time_apart():
    trunk = backbone.build("micro").eval()
    vis, ir = torch.randn(2, 3, 3, 32, 16), torch.randn(2, 3, 3, 32, 16)
    with torch.no_grad():
        maps = trunk.stems_of_pair(vis, ir)
        torch.testing.assert_close(
            maps[1 * 3 + 2], trunk.stem(vis[1, 2][None], "vis")[0]
        )
        torch.testing.assert_close(
            maps[6 + 0 * 3 + 1], trunk.stem(ir[0, 1][None], "ir")[0]
        )


def test_unknown_trunks_and_weights_are_named():
    with pytest.raises(ValueError, match="no trunk 'vgg'"):
        backbone.build("vgg")
    with pytest.raises(ValueError, match="only resnet50"):
        backbone.build("small", "imagenet")
    with pytest.raises(ValueError, match="multiples of 16"):
        backbone.Small((8, 16, 16, 16, 32), (1, 1, 2, 1))
    with pytest.raises(ValueError, match="no weights 'places'"):
        backbone.build("resnet50", "places")


def test_missing_imagenet_weights_say_what_to_download_and_where_to_put_it(
    monkeypatch, tmp_path
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def no_network(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr("torch.hub.download_url_to_file", no_network)
    with pytest.raises(FileNotFoundError, match=r"resnet50-.*\.pth.*checkpoints"):
        backbone.build("resnet50", "imagenet")


def test_a_weight_file_on_disk_is_loaded_with_its_hash_checked_and_goes_to_both_stems(
    monkeypatch, tmp_path
):
    import hashlib

    import torchvision

    state = torchvision.models.resnet50(weights=None).state_dict()
    file = tmp_path / "weights.pth"
    torch.save(state, file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    file.rename(folder / f"resnet50-{digest}.pth")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(
        type(torchvision.models.ResNet50_Weights.IMAGENET1K_V1),
        "url",
        f"file:///resnet50-{digest}.pth",
        raising=False,
    )
    trunk = backbone.build("resnet50", "imagenet")
    for stem in trunk.stems.values():
        torch.testing.assert_close(stem[0].weight, state["conv1.weight"])
    torch.testing.assert_close(
        trunk.layer4[2].conv3.weight, state["layer4.2.conv3.weight"]
    )


def test_the_neck_bias_is_frozen_and_its_embedding_has_unit_norm():
    neck = Neck(8, 5)
    assert not neck.norm.bias.requires_grad and neck.classifier.bias is None
    normed, logits = neck(torch.randn(6, 8))
    assert normed.shape == (6, 8) and logits.shape == (6, 5)
    torch.testing.assert_close(neck.embed(torch.randn(6, 8)).norm(dim=1), torch.ones(6))


def test_the_temporal_mean_forgets_the_order():
    feat = torch.randn(2, 4, 3)
    torch.testing.assert_close(
        temporal_mean(feat), temporal_mean(feat[:, [2, 0, 3, 1]])
    )
