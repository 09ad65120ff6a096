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
            assert sorted(set(flat.tolist())) == list(range(length)) and (np.diff(flat) >= 0).all()


@pytest.mark.parametrize(("length", "frames"), [(24, 0), (0, 6)])
def test_a_clip_of_nothing_is_refused(length, frames):
    with pytest.raises(ValueError, match="frame"):
        clips.parts(length, frames)
