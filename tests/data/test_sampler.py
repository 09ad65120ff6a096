from collections import Counter
from pathlib import Path

import pytest

from vvi.data.sampler import IdentitySampler
from vvi.types import DataError, Tracklet


def tracklets(vis: dict[int, int], ir: dict[int, int]) -> list[Tracklet]:
    return [
        Tracklet((Path(f"{m}{p}-{i}"),), p, 1, m)
        for m, counts in (("vis", vis), ("ir", ir))
        for p, n in counts.items()
        for i in range(n)
    ]


def test_a_batch_holds_p_identities_with_k_equal_entries_of_each_modality():
    train = tracklets(dict.fromkeys(range(10, 30), 3), dict.fromkeys(range(10, 30), 2))
    sampler = IdentitySampler(train, identities=8, tracklets=2, seed=0)
    people = sorted({t.identity for t in train})
    for step in range(50):
        draw = sampler.draw(step)
        assert (
            len(set(draw.ids)) == 8
            and (draw.ids[::2] == draw.ids[1::2]).all()
            and len(draw.ids) == 16
        )
        for rows, modality in ((draw.vis, "vis"), (draw.ir, "ir")):
            assert [train[r].identity for r in rows] == [
                people[label] for label in draw.ids
            ]
            assert {train[r].modality for r in rows} == {modality}


def test_every_tracklet_is_drawn_in_the_long_run_and_about_equally_often():
    train = tracklets(dict.fromkeys(range(6), 2), dict.fromkeys(range(6), 2))
    sampler = IdentitySampler(train, 3, 2, seed=1)
    seen = Counter(int(r) for step in range(2000) for r in sampler.draw(step).vis)
    assert len(seen) == 12 and max(seen.values()) < 1.25 * min(seen.values())


def test_steps_per_epoch_follow_the_smaller_modality():
    train = tracklets(
        {p: 11 if p < 460 else 10 for p in range(500)},
        {p: 9 if p < 291 else 8 for p in range(500)},
    )
    assert (
        sum(t.modality == "vis" for t in train) == 5460
        and sum(t.modality == "ir" for t in train) == 4291
    )
    assert IdentitySampler(train, 8, 2, 0).steps_per_epoch == 268


@pytest.mark.parametrize(
    ("vis", "ir", "steps"), [(22258, 11909, 696), (11909, 22258, 696), (2060, 2060, 65)]
)
def test_an_epoch_of_images_follows_the_larger_modality(vis, ir, steps):
    """SYSU-MM01 and RegDB, batches of 8 x 4 (card of DI2L, section 5)."""
    counts = [
        {p: total // 206 + (p < total % 206) for p in range(206)} for total in (vis, ir)
    ]
    train = tracklets(*counts)
    assert IdentitySampler(train, 8, 4, 0, images=True).steps_per_epoch == steps


def test_the_same_seed_draws_the_same_and_another_draws_otherwise():
    train = tracklets(dict.fromkeys(range(9), 3), dict.fromkeys(range(9), 3))
    first, same, other = (IdentitySampler(train, 4, 2, s).draw(7) for s in (0, 0, 1))
    assert (
        (first.vis == same.vis).all()
        and (first.ir == same.ir).all()
        and (first.ids == same.ids).all()
    )
    assert (first.ids != other.ids).any() or (first.vis != other.vis).any()


def test_an_identity_without_a_modality_and_too_few_identities_are_refused():
    with pytest.raises(DataError, match="identity 2 has no kept ir tracklet"):
        IdentitySampler(tracklets({1: 1, 2: 1}, {1: 1}), 2, 1, 0)
    with pytest.raises(DataError, match="needs 3 identities"):
        IdentitySampler(tracklets({1: 1, 2: 1}, {1: 1, 2: 1}), 3, 1, 0)


def test_classes_follow_the_labels_of_the_data_set_when_they_are_given():
    train = tracklets({5: 1, 9: 1}, {5: 1, 9: 1})
    sampler = IdentitySampler(train, 2, 1, 0, labels={5: 1, 9: 0})
    draw = sampler.draw(0)
    assert {
        (int(c), train[r].identity) for c, r in zip(draw.ids, draw.vis, strict=True)
    } == {(1, 5), (0, 9)}
