import itertools
from dataclasses import replace

import pytest
import torch

from vvi import methods
from vvi.config import Recipe, preset
from vvi.engine import optim
from vvi.methods.base import Phase


def test_the_rate_of_each_epoch_is_that_of_the_card():
    expected = {
        0: 0.01,
        9: 0.1,
        10: 0.1,
        34: 0.1,
        35: 0.01,
        79: 0.01,
        80: 0.001,
        199: 0.001,
    }
    assert {
        e: pytest.approx(optim.rate(Recipe(), e, 200)) for e in expected
    } == expected


def test_milestones_are_met_at_their_share_and_events_stay_between_their_drops():
    recipe = Recipe(drops=(0.6, 0.85), warmup_steps=50)
    at = {s: optim.rate(recipe, s, 1000) for s in (0, 49, 50, 599, 600, 849, 850)}
    assert at == {
        0: pytest.approx(0.002),
        49: 0.1,
        50: 0.1,
        599: 0.1,
        600: pytest.approx(0.01),
        849: pytest.approx(0.01),
        850: pytest.approx(0.001),
    }
    epochs = [optim.clock(recipe, s, 1000) for s in range(1000)]
    assert all(a < b for a, b in itertools.pairwise(epochs)) and epochs[0] == 0
    assert next(s for s, e in enumerate(epochs) if e >= 40) in range(
        600, 850
    )  # after the first drop and before the second, as in the paper


@pytest.mark.parametrize(
    "drops", [(0.5,), (0.85, 0.6), (0.5, 1.0), (0.0, 0.5), (0.5, 0.5)]
)
def test_drops_that_do_not_fit_the_milestones_are_refused(drops):
    with pytest.raises(
        ValueError,
        match="one share of the run, ascending between 0 and 1, for each of the mil",
    ):
        Recipe(drops=drops)


@pytest.mark.parametrize(
    "clock", [{"epochs": 60}, {"milestones": (80, 35)}, {"milestones": (0, 35)}]
)
def test_milestones_between_which_the_clock_would_run_backwards_are_refused(clock):
    with pytest.raises(ValueError, match="ascend between 0 and epochs="):
        Recipe(drops=(0.6, 0.85), **clock)


def test_one_cycle_rises_and_falls_and_a_cosine_only_falls():
    one, half = (Recipe(schedule=s, warmup_steps=0) for s in ("one-cycle", "cosine"))
    up, down = ([optim.rate(r, s, 100) for s in range(100)] for r in (one, half))
    assert (
        up.index(max(up)) == 30
        and max(up) == pytest.approx(0.1)
        and up[0] == pytest.approx(0.004)
    )
    assert (
        all(a >= b for a, b in itertools.pairwise(down))
        and down[0] == pytest.approx(0.1)
        and max(up[-1], down[-1]) < 1e-4
    )


def test_the_slow_parts_learn_at_a_tenth():
    method = methods.load("baseline", num_ids=5, backbone="micro")
    optimiser = optim.build(method, Recipe())["main"]
    optim.set_rate(optimiser, method.phases[0], optim.rate(Recipe(), 20, 200))
    rates = {id(p): g["lr"] for g in optimiser.param_groups for p in g["params"]}
    assert [rates[id(p)] for p in method.trunk.parameters()] == pytest.approx(
        [0.01] * len(list(method.trunk.parameters()))
    )
    assert [
        rates[id(p)] for p in method.neck.parameters() if p.requires_grad
    ] == pytest.approx([0.1, 0.1])


def test_phases_of_one_name_share_an_optimiser_and_another_has_its_own_rate():
    method = methods.load("baseline", num_ids=5, backbone="micro")
    early, late, head = (
        Phase("early", ("trunk",), (0, 60)),
        Phase("late", ("trunk", "neck"), (60, 200)),
        Phase("head", ("neck",), lr=0.01, optimiser="own"),
    )
    method.phases = (early, late, head)
    built = optim.build(method, preset("standard").recipe)
    assert (
        len(built) == 2
        and isinstance(built["main"], torch.optim.AdamW)
        and isinstance(built["own"], torch.optim.SGD)
    )
    for epoch in (0, 50, 150):
        optim.set_rate(built["own"], head, optim.rate(Recipe(), epoch, 200))
        assert {g["lr"] for g in built["own"].param_groups} == {0.01}
    assert built["own"].defaults["weight_decay"] == optim.SGD_DECAY
    assert sum(
        p.numel() for g in built["main"].param_groups for p in g["params"]
    ) == sum(p.numel() for p in method.parameters() if p.requires_grad)


def test_nesterov_without_momentum_is_plain_sgd_and_no_error():
    method = methods.load("baseline", num_ids=5, backbone="micro")
    plain = optim.build(method, Recipe(momentum=0))["main"]
    assert plain.defaults["momentum"] == 0 and not plain.defaults["nesterov"]
    assert optim.build(method, Recipe())["main"].defaults["nesterov"]


def test_phases_of_one_optimiser_with_two_rates_are_refused():
    method = methods.load("baseline", num_ids=5, backbone="micro")
    method.phases = (Phase("a", ("trunk",), lr=0.1), Phase("b", ("neck",)))
    with pytest.raises(ValueError, match="phases a, b share the optimiser 'main'"):
        optim.build(method, Recipe())


def test_one_kernel_moves_all_weights_but_in_float32_on_a_cpu():
    for recipe, expected in (
        (Recipe(), None),
        (Recipe(precision="bf16-mixed"), True),
        (preset("tiny").recipe, None),
        (preset("standard").recipe, True),
        (preset("full").recipe, True),
    ):
        built = optim.build(methods.load("mitml", num_ids=5, backbone="micro"), recipe)
        assert {
            group["fused"]
            for optimiser in built.values()
            for group in optimiser.param_groups
        } == {expected}


def test_the_one_kernel_computes_what_the_loop_does():
    ends = []
    for precision in ("32-true", "bf16-mixed"):
        torch.manual_seed(0)
        method = methods.load("mitml", num_ids=5, backbone="micro")
        for optimiser in optim.build(method, Recipe(precision=precision)).values():
            for _ in range(3):
                for group in optimiser.param_groups:
                    for p in group["params"]:
                        p.grad = p.detach().sin()
                optimiser.step()
        ends.append(torch.cat([p.detach().flatten() for p in method.parameters()]))
    torch.testing.assert_close(*ends)


def test_fields_that_play_no_part_change_no_rate():
    ends = {"warmup": 3, "gamma": 0.5, "milestones": (3,), "epochs": 9}
    ends |= {"warmup_steps": 5}
    for schedule in ("steps", "cosine", "one-cycle"):
        for warmup_steps in (None, 20):
            recipe = Recipe(schedule=schedule, warmup_steps=warmup_steps, steps=100)
            unused = optim.unused(recipe, [Phase("all", ())])
            rates = [optim.rate(recipe, s, 100) for s in range(100)]
            for name, value in ends.items():
                other = replace(recipe, **{name: value})
                same = rates == [optim.rate(other, s, 100) for s in range(100)]
                assert same == (name in unused), (schedule, warmup_steps, name)


def test_a_phase_of_its_own_epochs_or_rate_uses_what_others_do_not():
    recipe = Recipe(optimiser="adamw", schedule="cosine", warmup_steps=5, steps=9)
    plain, late = Phase("all", ()), Phase("late", (), epochs=(5, 9))
    clock, moment = {"epochs", "drops"}, {"momentum", "nesterov"}
    assert clock | moment < optim.unused(recipe, [plain]).keys()
    assert not clock & optim.unused(recipe, [plain, late]).keys()
    assert not moment & optim.unused(recipe, [plain, Phase("own", (), lr=1)]).keys()
