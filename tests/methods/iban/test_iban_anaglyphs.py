"""Anaglyphs of IBAN."""

import itertools

import pytest
import torch

from vvi.data.transforms import denormalise, normalise
from vvi.methods import iban


def grey(rows):
    return torch.tensor(rows).expand(3, -1, -1)


PICTURE = grey([[10, 20, 30], [40, 200, 60], [170, 5, 255]])


@pytest.mark.parametrize(
    ("variant", "picture", "expected"),
    [
        ("released", PICTURE, [[255, 168, 0], [93, 183, 0], [0, 0, 0]]),
        ("paper", PICTURE, [[255, 168, 158], [93, 183, 255], [0, 255, 128]]),
        ("paper", PICTURE.flip(-1), [[255, 148, 158], [73, 98, 255], [0, 255, 128]]),
        (
            "released",
            torch.full((3, 3, 3), 77),
            [[128, 128, 0], [128, 128, 0], [0, 0, 0]],
        ),
        ("paper", torch.full((3, 3, 3), 77), [[128] * 3] * 3),
    ],
)
def test_the_anaglyph_is_that_of_the_card_in_bytes_and_in_normalised_floats(
    variant, picture, expected
):
    torch.testing.assert_close(
        iban.anaglyph(picture.byte(), variant),
        grey(expected).float(),
        atol=1e-4,
        rtol=0,
    )
    relief = iban.anaglyph(
        normalise(picture.byte().contiguous()), variant, normalised=True
    )
    torch.testing.assert_close(
        relief, normalise(grey(expected).byte().contiguous()), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_the_anaglyph_of_coloured_clips_agrees_with_a_loop_over_pixels(variant):
    clips = torch.randint(
        256,
        (2, 2, 3, 5, 4),
        generator=torch.Generator().manual_seed(0),
        dtype=torch.uint8,
    )
    slow = torch.zeros(2, 2, 5, 4)
    for n, t in itertools.product(range(2), range(2)):
        red, green, blue = clips[n, t].double()
        g = 0.299 * red + 0.587 * green + 0.114 * blue
        g = g.round() if variant == "released" else g
        for i, j in itertools.product(range(5), range(4)):
            if variant == "paper" or (i < 4 and j < 3):
                slow[n, t, i, j] = min(
                    255, max(0, g[min(i + 1, 4), min(j + 1, 3)] - g[i, j] + 128)
                )
    slow = slow[:, :, None].expand(clips.shape)
    torch.testing.assert_close(iban.anaglyph(clips, variant), slow, atol=1e-3, rtol=0)
    relief = iban.anaglyph(normalise(clips), variant, normalised=True)
    assert (denormalise(relief).float() - slow).abs().max() <= (
        0 if variant == "released" else 0.51
    )


def test_a_brighter_picture_has_the_same_anaglyph():
    picture = torch.randint(
        100, (3, 6, 5), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    for variant in ("paper", "released"):
        torch.testing.assert_close(
            iban.anaglyph(picture + 100, variant),
            iban.anaglyph(picture, variant),
            atol=1e-3,
            rtol=0,
        )


def test_redrawn_anaglyphs_are_mirrored_half_of_the_time_by_draws_that_repeat():
    clips = normalise(
        torch.arange(100, 104, dtype=torch.uint8).expand(40, 4, 3, 32, 4).contiguous()
    )  # columns of rising grey
    vis, again, ir, later = (
        iban.redrawn(clips, *key)
        for key in (("vis", 7), ("vis", 7), ("ir", 7), ("vis", 8))
    )
    assert (
        torch.equal(vis, again)
        and not torch.equal(vis, ir)
        and not torch.equal(vis, later)
    )
    seen = (
        denormalise(vis).float().flatten(0, 1)[:, 0]
    )  # at most one row and one column are cut off and black
    falling = (seen[:, 16, 1] > seen[:, 16, 2]).float().mean()
    assert 0.4 < falling < 0.6 and 0 < (seen[:, 0] == 0).all(1).float().mean() < 0.6
