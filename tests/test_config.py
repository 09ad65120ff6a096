import json
from dataclasses import fields

import numpy as np
import pytest

from vvi import methods
from vvi.config import (
    PRESETS,
    DataConfig,
    Recipe,
    RunConfig,
    change,
    for_layout,
    from_json,
    preset,
)


@pytest.mark.parametrize("name", PRESETS)
def test_json_and_back_is_the_same_config_with_the_same_hash(name):
    config = preset(name, "baseline", seed=3, margin=0.5)
    again = from_json(config.to_json())
    assert again == config and again.hash == config.hash


def test_the_defaults_are_the_paper():
    assert RunConfig().recipe == Recipe(
        identities=8, tracklets=2, epochs=200, lr=0.1, milestones=(35, 80)
    )
    assert (DataConfig().height, DataConfig().width, DataConfig().frames) == (
        288,
        144,
        6,
    )


def test_change_finds_a_field_wherever_it_lives():
    config = change(
        RunConfig(), frames=4, lr=0.5, variant="released", seed=7, data_seed=9
    )
    assert (
        config.data.frames,
        config.recipe.lr,
        dict(config.options),
        config.seed,
        config.data.seed,
    ) == (4, 0.5, {"variant": "released"}, 7, 9)


def test_every_change_changes_the_hash():
    base = preset("standard")
    changed = [
        change(base, **c)
        for c in (
            {"seed": 1},
            {"data_seed": 1},
            {"frames": 2},
            {"lr": 0.1},
            {"margin": 0.1},
            {"steps": 3},
        )
    ]
    assert len({base.hash, *(c.hash for c in changed)}) == 7


def test_the_order_of_options_does_not_matter():
    assert (
        change(RunConfig(), a=1, b=2).hash == change(change(RunConfig(), b=2), a=1).hash
    )


def test_an_unknown_preset_and_an_unknown_field_are_named():
    with pytest.raises(ValueError, match="no preset 'huge'"):
        preset("huge")
    with pytest.raises(ValueError, match="RunConfig has no field colour"):
        from_json('{"colour": 1}')


@pytest.mark.parametrize("method", methods.names())
def test_no_switch_of_a_method_is_called_like_a_field_of_the_run(method):
    """`change` would set the field and leave the switch as it is."""
    taken = {
        f.name for part in (RunConfig, DataConfig, Recipe) for f in fields(part)
    } - {"backbone", "weights", "frames"}
    own = {f.name for f in fields(methods.module(method).Config)}
    assert not own & taken


def test_later_fields_change_the_hash_only_where_they_are_set():
    """So that what was stored before they came is still found."""
    plain = preset("paper")
    content = json.loads(plain.to_json())["data"]
    assert not {"strict", "foreign", "auxiliary"} & content.keys()
    changes = (
        dict(strict=True),
        dict(strict=False),
        dict(foreign="drop"),
        dict(auxiliary=True),
    )
    changed = [change(plain, **fields_set) for fields_set in changes]
    assert len({plain.hash, *(c.hash for c in changed)}) == 5
    for made in (plain, *changed):
        assert from_json(made.to_json()) == made


def test_every_layout_has_a_recipe_at_the_size_of_the_papers():
    plain = preset("paper", "iban")
    campus = preset("paper", "iban", layout="buptcampus")
    data, recipe = campus.data, campus.recipe
    assert (data.height, data.width, data.frames) == (256, 128, 10)
    assert (data.augment_per, recipe.optimiser, recipe.lr) == ("clip", "adamw", 2e-4)
    assert recipe.weight_decay == 0 and recipe.slow == 1
    assert preset("paper", layout="buptcampus").options == {"margin": 0.6}
    for layout in ("sysu-mm01", "regdb"):
        assert preset("paper", layout=layout).data.frames == 1
    assert for_layout(plain, "buptcampus") == campus
    assert for_layout(plain, "hitsz-vcm") == plain
    tiny = preset("tiny", "iban")
    assert for_layout(tiny, "regdb") == change(tiny, layout="regdb")


def test_what_was_chosen_stays_when_the_layout_turns_out_to_be_another():
    mine = preset("paper", "iban", frames=8, lr=0.01)
    made = for_layout(mine, "buptcampus")
    assert (made.data.frames, made.recipe.lr, made.data.height) == (8, 0.01, 256)
    named = preset("paper", "iban", layout="buptcampus", frames=6)
    assert named.data.frames == 6
    assert for_layout(named, "buptcampus") == named


def test_a_stride_changes_the_hash_and_none_leaves_it_as_it_was():
    base = preset("standard")
    assert '"stride"' not in base.to_json()
    assert change(base, stride=0).hash == base.hash
    assert len({change(base, stride=s).hash for s in (0, 1, 2)}) == 3
    again = from_json(change(base, stride=2).to_json())
    assert again.data.stride == 2 and again == change(base, stride=2)
    for wrong in (-1, 1.5, True, None):
        with pytest.raises(ValueError, match="stride=.* must be"):
            change(base, stride=wrong)


def test_half_is_standard_with_other_data_and_half_the_steps():
    half, standard = preset("half"), preset("standard")
    assert half.recipe.steps == standard.recipe.steps // 2
    same = change(
        half, preset="standard", source="standard", steps=standard.recipe.steps
    )
    assert same == standard


def test_a_world_stands_behind_the_source_by_its_knobs_or_its_name():
    named = preset("half", "mitml", world="bars=0.3+tied=1")
    assert named.data.source == "half+bars=0.3+tied=1" and named.data.synthetic
    knobs = preset("half", "mitml", world={"bars": 0.30, "tied": 1.0})
    assert knobs == named
    assert preset("half", world={}) == preset("half", world="") == preset("half")
    assert from_json(named.to_json()) == named
    assert preset("standard", world="alike=8").data.source == "standard+alike=8"
    with pytest.raises(ValueError, match="only drawn data have a world"):
        preset("paper", world="bars=0.3")


def test_numbers_of_numpy_are_those_of_python():
    made = preset(
        "tiny",
        "baseline",
        seed=np.int64(3),
        steps=np.int32(4),
        lr=np.float64(0.01),
        nesterov=np.bool_(False),
        milestones=np.array([3, 5]),
        margin=np.float64(0.5),
    )
    plain = preset(
        "tiny",
        "baseline",
        seed=3,
        steps=4,
        lr=0.01,
        nesterov=False,
        milestones=(3, 5),
        margin=0.5,
    )
    assert made == plain and made.hash == plain.hash


def test_a_list_of_shares_is_asked_for_where_a_field_holds_shares():
    with pytest.raises(ValueError, match="drops='a' must be a list of numbers, such"):
        preset("tiny", "baseline", drops="a")
    with pytest.raises(ValueError, match="milestones=5 must be a list of integers"):
        preset("tiny", "baseline", milestones=5)
