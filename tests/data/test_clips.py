import numpy as np
import pytest

from vvi.data import clips


@pytest.mark.parametrize(
    ("length", "frames", "expected"),
    [
        (24, 6, [0, 4, 8, 12, 16, 20]),
        (13, 6, [0, 3, 6, 9, 12, 12]),
        (20, 6, [0, 4, 8, 12, 16, 19]),
        (24, 7, [0, 4, 8, 12, 16, 20, 23]),
        (24, 5, [0, 5, 10, 15, 20]),
        (4, 6, [0, 1, 2, 3, 3, 3]),
        (24, 1, [0]),
    ],
)
def test_frames_of_evaluation_are_those_of_the_card(length, frames, expected):
    assert clips.test_frames(length, frames).tolist() == expected


def test_training_draws_stay_inside_their_part_and_reach_all_of_it():
    rng = np.random.default_rng(0)
    for length, frames in ((24, 6), (13, 6), (20, 6), (4, 6), (24, 7), (1, 3)):
        table = clips.parts(length, frames)
        draws = np.stack([clips.train_frames(length, frames, rng) for _ in range(400)])
        for t in range(frames):
            assert set(draws[:, t]) == set(table[t])


def test_the_parts_hold_every_frame_in_order():
    for length in range(1, 40):
        for frames in range(1, 9):
            flat = clips.parts(length, frames).ravel()
            assert (
                sorted(set(flat.tolist())) == list(range(length))
                and (np.diff(flat) >= 0).all()
            )


@pytest.mark.parametrize(("length", "frames"), [(24, 0), (0, 6)])
def test_a_clip_of_nothing_is_refused(length, frames):
    with pytest.raises(ValueError, match="frame"):
        clips.parts(length, frames)


@pytest.mark.parametrize(
    ("length", "frames", "stride", "expected"),
    [
        (24, 6, 2, [6, 8, 10, 12, 14, 16]),
        (12, 6, 2, [0, 2, 4, 6, 8, 10]),
        (13, 6, 2, [1, 3, 5, 7, 9, 11]),
        (24, 4, 1, [10, 11, 12, 13]),
        (11, 6, 2, [0, 2, 4, 6, 8, 10]),
        (10, 6, 2, [0, 2, 4, 6, 8, 9]),
        (3, 4, 1, [0, 1, 2, 2]),
        (1, 3, 5, [0, 0, 0]),
        (24, 1, 3, [11]),
    ],
)
def test_a_stride_takes_the_middle_of_the_tracklet_in_a_search(
    length, frames, stride, expected
):
    assert clips.test_frames(length, frames, stride).tolist() == expected


@pytest.mark.parametrize(
    ("length", "frames", "stride"), [(24, 6, 2), (12, 6, 2), (14, 4, 3)]
)
def test_a_stride_begins_anywhere_in_training_and_keeps_its_distance(
    length, frames, stride
):
    rng = np.random.default_rng(0)
    draws = np.stack(
        [clips.train_frames(length, frames, rng, stride) for _ in range(600)]
    )
    assert (np.diff(draws, axis=1) == stride).all()
    last = length - 1 - (frames - 1) * stride
    assert clips.last_start(length, frames, stride) == last
    begun, counts = np.unique(draws[:, 0], return_counts=True)
    assert begun.tolist() == list(range(last + 1))
    assert counts.min() > 0.5 * 600 / (last + 1)


def test_a_tracklet_that_is_too_short_for_a_stride_repeats_its_last_frame():
    rng = np.random.default_rng(0)
    for _ in range(5):
        assert clips.train_frames(5, 4, rng, 2).tolist() == [0, 2, 4, 4]


def test_without_a_stride_frames_are_drawn_as_they_were_before_there_were_strides():
    rng = np.random.default_rng(3)
    drawn = [
        clips.train_frames(24, 4, rng).tolist(),
        clips.train_frames(13, 6, rng, 0).tolist(),
    ]
    rng, again = np.random.default_rng(3), []
    for length, frames in ((24, 4), (13, 6)):
        table = clips.parts(length, frames)
        again.append(
            table[np.arange(frames), rng.integers(table.shape[1], size=frames)].tolist()
        )
    assert drawn == again


@pytest.mark.parametrize(("length", "frames"), [(24, 0), (0, 6)])
@pytest.mark.parametrize("draw", [None, np.random.default_rng(0)])
def test_a_strided_clip_of_nothing_is_refused(length, frames, draw):
    with pytest.raises(ValueError, match="frame"):
        if draw is None:
            clips.test_frames(length, frames, 2)
        else:
            clips.train_frames(length, frames, draw, 2)
