import pytest
import torch
from torchvision.models.resnet import resnet50

from vvi.methods.cmft import Shifted, Stream, run_pair, shift
from vvi.nn import backbone


def slow(maps, frames):
    """Clip by clip, frame by frame, channel by channel."""
    out, fold = torch.zeros_like(maps), maps.shape[1] // 8
    for n in range(len(maps)):
        first, t = n - n % frames, n % frames
        for c in range(maps.shape[1]):
            source = t + 1 if c < fold else t - 1 if c < 2 * fold else t
            if 0 <= source < frames:
                out[n, c] = maps[first + source, c]
    return out


def test_channels_move_as_on_the_card():
    maps = (8 * torch.arange(3)[:, None] + torch.arange(8)).float()[
        :, :, None, None
    ]  # frame t, channel k holds 8 t + k
    rows = shift(maps, 3)[:, :, 0, 0].tolist()
    assert rows == [
        [8, 0, *range(2, 8)],
        [16, 1, *range(10, 16)],
        [0, 9, *range(18, 24)],
    ]
    assert shift(maps, 1) is maps


@pytest.mark.parametrize(("channels", "frames"), [(16, 2), (17, 3), (40, 5)])
def test_the_shift_agrees_with_the_slow_loop_whatever_the_memory_format(
    channels, frames
):
    maps = torch.randn(4 * frames, channels, 3, 2)
    torch.testing.assert_close(shift(maps, frames), slow(maps, frames))
    last = maps.to(memory_format=torch.channels_last)
    out = shift(last, frames)
    assert torch.equal(out, shift(maps, frames)) and out.is_contiguous(
        memory_format=torch.channels_last
    )


def test_the_gradient_of_a_shift_goes_back_to_where_the_values_came_from():
    maps = torch.randn(6, 16, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda m: shift(m, 3), maps)


def test_a_stream_is_the_whole_network_with_sixteen_shifted_convolutions():
    with torch.device("meta"):
        stream = Stream(backbone.build("resnet50"), "ir")
        plain = resnet50()
    assert (
        sum(p.numel() for p in stream.parameters())
        == 23_508_032
        == sum(p.numel() for n, p in plain.named_parameters() if not n.startswith("fc"))
    )
    assert sum(isinstance(m, Shifted) for m in stream.modules()) == 16


def test_shifts_change_the_residual_branch_of_a_trunk_alone():
    torch.manual_seed(0)
    trunk, clips = backbone.build("micro").eval(), torch.randn(2, 3, 3, 32, 16)
    with torch.no_grad():
        maps = Stream(trunk, "vis", shifted=False).eval()(clips)
        assert len(maps) == 5
        torch.testing.assert_close(
            maps[-1], trunk(trunk.stem(clips.flatten(0, 1), "vis"))
        )
        stream = Stream(trunk, "vis").eval()
        stem = stream(clips)[0]
        block = trunk.layer1[0]
        branch = block.bn2(
            block.conv2(block.relu(block.bn1(block.conv1(slow(stem, 3)))))
        )
        torch.testing.assert_close(
            stream(clips)[1], block.relu(branch + stem), atol=1e-5, rtol=1e-4
        )


def test_the_number_of_frames_is_that_of_the_clips_at_hand():
    torch.manual_seed(0)
    trunk = backbone.build("micro")
    stream, plain = (
        Stream(trunk, "vis").eval(),
        Stream(trunk, "vis", shifted=False).eval(),
    )
    with torch.no_grad():
        long, clips = stream(torch.randn(1, 4, 3, 32, 16)), torch.randn(4, 1, 3, 32, 16)
        assert long[-1].shape[0] == 4
        assert torch.equal(
            stream(clips)[-1], plain(clips)[-1]
        )  # one frame: nothing to shift


@pytest.mark.parametrize("name", ["micro", "small", "resnet50"])
def test_a_strided_last_stage_halves_the_last_map(name):
    with torch.device("meta"):
        trunk, clips = backbone.build(name), torch.zeros(1, 2, 3, 128, 64)
        one, two = (
            Stream(trunk, "vis", last_stride=stride)(clips)[-1].shape
            for stride in (1, 2)
        )
    assert one[:2] == two[:2] and (one[2], one[3]) == (2 * two[2], 2 * two[3])


def test_a_stage_that_keeps_its_width_strides_without_a_weight():
    one, two = (
        Stream(backbone.build("micro"), "vis", last_stride=stride) for stride in (1, 2)
    )
    assert one.state_dict().keys() == two.state_dict().keys()


@pytest.mark.parametrize("shared_from", range(2, 8))
def test_no_block_is_shifted_twice_whoever_owns_it(shared_from):
    trunk = backbone.build("small", None)
    owner = Stream(trunk, "vis")
    stream = Stream(trunk, "ir", owner=owner, shared_from=shared_from)
    for stage in (*owner.stages, *stream.stages):
        for block in stage:
            assert isinstance(block.conv1, Shifted)
            assert isinstance(block.conv1.net, torch.nn.Conv2d)


@pytest.mark.parametrize("shared_from", range(2, 8))
def test_streams_that_share_stages_and_weights_give_equal_maps(shared_from):
    trunk = backbone.build("small", None)
    trunk.stems["ir"] = trunk.stems["vis"]
    owner = Stream(trunk, "vis").eval()
    stream = Stream(trunk, "ir", owner=owner, shared_from=shared_from).eval()
    clips = torch.rand(2, 3, 3, 64, 32)
    with torch.no_grad():
        for expected, maps in zip(owner(clips), stream(clips), strict=True):
            torch.testing.assert_close(maps, expected)


@pytest.mark.parametrize("shared_from", [2, 7])
def test_a_pair_of_clips_of_two_shapes_is_refused(shared_from):
    trunk = backbone.build("micro")
    owner = Stream(trunk, "vis")
    stream = Stream(trunk, "ir", owner=owner, shared_from=shared_from)
    vis, ir = torch.rand(2, 4, 3, 32, 16), torch.rand(4, 2, 3, 32, 16)
    with pytest.raises(ValueError, match=r"one shape, got \(2, 4, .* and \(4, 2, "):
        run_pair(owner, stream, vis, ir)
