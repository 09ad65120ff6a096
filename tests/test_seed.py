import torch

from vvi.runtime.random import rng, seed_everything, torch_rng


def test_a_generator_depends_on_each_part_of_its_key():
    draws = [
        rng(*key).integers(2**60)
        for key in ((0, "a", 1), (0, "a", 2), (0, "b", 1), (1, "a", 1))
    ]
    assert len(set(draws)) == 4
    assert draws[0] == rng(0, "a", 1).integers(2**60)


def test_the_torch_generator_repeats():
    assert torch.equal(
        torch.rand(3, generator=torch_rng(1, "x")),
        torch.rand(3, generator=torch_rng(1, "x")),
    )


def test_seeding_makes_weights_repeat():
    seed_everything(5)
    first = torch.nn.Linear(3, 3).weight
    seed_everything(5)
    assert torch.equal(first, torch.nn.Linear(3, 3).weight)
