import numpy as np
import pytest
import torch

from vvi.data import transforms
from vvi.data.transforms import augment, crop_and_flip, denormalise, normalise


def slow_crop_and_flip(frames, top, left, flip, pad):
    out = torch.empty_like(frames)
    n, c, h, w = frames.shape
    for i in range(n):
        for y in range(h):
            for x in range(w):
                sx = w - 1 - x if flip[i] else x
                yy, xx = y + int(top[i]) - pad, sx + int(left[i]) - pad
                out[i, :, y, x] = (
                    frames[i, :, yy, xx] if 0 <= yy < h and 0 <= xx < w else 0
                )
    return out


def test_crop_and_flip_agrees_with_the_slow_loop():
    frames = torch.randint(0, 256, (5, 3, 6, 4), dtype=torch.uint8)
    top, left = torch.tensor([0, 4, 2, 1, 3]), torch.tensor([4, 0, 2, 3, 1])
    flip = torch.tensor([True, False, True, False, True])
    assert torch.equal(
        crop_and_flip(frames, top, left, flip, 2),
        slow_crop_and_flip(frames, top, left, flip, 2),
    )


def test_the_way_of_the_gpu_and_that_of_the_cpu_cut_the_same_pixels():
    rng = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (40, 3, 9, 5), dtype=torch.uint8, generator=rng)
    draws = [torch.randint(0, 7, (40,), generator=rng) for _ in range(2)] + [
        torch.rand(40, generator=rng) < 0.5
    ]
    assert torch.equal(
        transforms._crop_by_copy(list(frames.numpy()), *draws, pad=3),
        transforms._crop_by_index(frames, *draws, pad=3),
    )


def test_per_clip_moves_the_frames_of_a_clip_together_and_per_frame_apart():
    frame = (
        torch.arange(24, dtype=torch.uint8).reshape(1, 1, 1, 6, 4).expand(8, 6, 3, 6, 4)
    )
    together = augment(frame, np.random.default_rng(0), 2, 0.5, "clip")
    apart = augment(frame, np.random.default_rng(0), 2, 0.5, "frame")
    assert all(torch.equal(clip[0], other) for clip in together for other in clip)
    assert any(not torch.equal(clip[0], clip[1]) for clip in apart)


def test_half_of_the_frames_are_mirrored_when_asked():
    frame = torch.zeros(64, 8, 3, 2, 2, dtype=torch.uint8)
    frame[..., 1] = 9
    mirrored = (
        (augment(frame, np.random.default_rng(1), 0, 0.5)[:, :, 0, 0, 0] == 9)
        .float()
        .mean()
    )
    assert 0.4 < mirrored < 0.6
    assert torch.equal(augment(frame, np.random.default_rng(1), 0, 0.0), frame)


def test_normalise_has_the_mean_and_spread_of_imagenet_and_an_inverse():
    frames = torch.randint(0, 256, (2, 3, 3, 5, 4), dtype=torch.uint8)
    assert torch.equal(denormalise(normalise(frames)), frames)
    torch.testing.assert_close(
        normalise(torch.full((3, 1, 1), 255, dtype=torch.uint8))[0].item(),
        (1 - 0.485) / 0.229,
    )


def test_the_table_and_the_arithmetic_give_the_same_bits():
    for shape in ((3, 7, 5), (4, 3, 7, 5), (2, 3, 3, 7, 5)):
        frames = torch.randint(0, 256, shape, dtype=torch.uint8)
        assert torch.equal(
            normalise(frames), transforms._normalise_by_arithmetic(frames)
        )
        turned = frames.transpose(-1, -2)
        assert torch.equal(
            normalise(turned), transforms._normalise_by_arithmetic(turned)
        )


@pytest.mark.parametrize("pad", [6, 9, 40])
def test_a_crop_that_misses_the_frame_is_black(pad):
    """Both ways of cropping: by blocks on a CPU, by an index elsewhere."""
    frames = torch.randint(1, 256, (40, 3, 8, 4), dtype=torch.uint8)
    draws = np.random.default_rng(0)
    top, left = (torch.from_numpy(draws.integers(0, 2 * pad + 1, 40)) for _ in "tl")
    flip = torch.from_numpy(draws.random(40) < 0.5)
    blocks = transforms._crop_by_copy(list(frames.numpy()), top, left, flip, pad)
    index = transforms._crop_by_index(frames, top, left, flip, pad)
    assert torch.equal(blocks, index)
    outside = ((top - pad).abs() >= 8) | ((left - pad).abs() >= 4)
    assert outside.any() and not blocks[outside].any()
