"""What people type is read as what they mean, or refused in one line with a cure."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch

from vvi.runtime import validation

D = "write 0 or 0,1,2"


@pytest.mark.parametrize("text", ["true", "True", "YES", "on", "1", 1, True, " y "])
def test_on_is_on(text):
    assert validation.flag("retrain", text) is True


@pytest.mark.parametrize("text", ["false", "False", "no", "OFF", "0", 0, False, "n"])
def test_off_is_off(text):
    assert validation.flag("retrain", text) is False


@pytest.mark.parametrize("text", ["maybe", None, 2, "", "truefalse", []])
def test_what_is_neither_on_nor_off_is_refused(text):
    with pytest.raises(
        ValueError, match="retrain=.* does not fit: write true or false"
    ):
        validation.flag("retrain", text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, [0]),
        ("0", [0]),
        ([0], [0]),
        ("[0]", [0]),
        ("0,1", [0, 1]),
        ("0 1", [0, 1]),
        ("0, 1 ,2", [0, 1, 2]),
        ("(0,1)", [0, 1]),
        ("0-2", [0, 1, 2]),
        ("0..2", [0, 1, 2]),
        ((2, 1), [2, 1]),
        (range(3), [0, 1, 2]),
        (["0", 1], [0, 1]),
        (np.arange(2), [0, 1]),
        (["0,1", "5"], [0, 1, 5]),
        (np.int64(4), [4]),
    ],
)
def test_seeds_are_read_however_they_are_parted(value, expected):
    found = validation.seeds(value)
    assert found == expected and all(type(seed) is int for seed in found)


@pytest.mark.parametrize(
    "value",
    [
        "x",
        "-1",
        -1,
        1.5,
        True,
        None,
        "0.5",
        "",
        [],
        "2-0",
        "1e3",
        [None],
        "0,x",
        "0-9999",
    ],
)
def test_seeds_that_are_none_are_refused_with_the_way_to_write_them(value):
    with pytest.raises(ValueError, match=f"^seeds=.*{D}") as caught:
        validation.seeds(value)
    assert "\n" not in str(caught.value)


def test_a_seed_named_twice_would_be_a_spread_of_copies_and_is_refused():
    with pytest.raises(ValueError, match="seeds='0,1,0' names 0 twice"):
        validation.seeds("0,1,0")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("auto", "auto"),
        ("CPU", "cpu"),
        ("cuda", "cuda"),
        ("gpu", "cuda"),
        ("GPU", "cuda"),
        ("cuda:1", "cuda:1"),
        ("gpu:1", "cuda:1"),
        ("cuda1", "cuda:1"),
        (0, "cuda:0"),
        ("0", "cuda:0"),
        ("01", "cuda:1"),
        (None, "auto"),
        (torch.device("cuda:3"), "cuda:3"),
    ],
)
def test_a_device_is_read_as_people_call_it(value, expected):
    assert validation.device(value) == expected


@pytest.mark.parametrize(
    "value", ["mps", "tpu", "", -1, True, "cpu:3", "cuda:one", 1.5]
)
def test_a_device_that_is_none_is_refused_with_those_there_are(value):
    with pytest.raises(ValueError, match="no device .*: use auto, cpu, cuda or cuda:N"):
        validation.device(value)


def test_several_devices_are_told_of_torchrun():
    for value in ("0,1", "[0, 1]", "0 1"):
        with pytest.raises(ValueError, match="torchrun"):
            validation.device(value)


def test_a_folder_may_be_home_a_variable_quoted_or_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("SETS", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    for text in ("~/a b", "$SETS/a b", f'"{tmp_path}/a b"', Path("~/a b")):
        assert validation.folder("data", text) == tmp_path / "a b", text
    for text in (None, "none", "None", " null "):
        assert validation.folder("data", text) is None


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "data is empty: give a folder"),
        ("  ", "data is empty"),
        ('""', "data is empty"),
        ("D:\\new\\table", "no such folder.*WSL.*mnt/d/new/table"),
        ("d:/sets", "mnt/d/sets"),
        ("D:\new\table", r'write r"D:\\new\\table" or D:/new/table'),
        (3, "data 3 does not fit: give a folder"),
        ([], "does not fit"),
    ],
)
def test_a_folder_that_is_none_is_refused_with_the_way_to_write_it(value, said):
    with pytest.raises(ValueError, match=said) as caught:
        validation.folder("data", value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "hint", "expected"),
    [
        (".001", float, 0.001),
        ("1e-3", float, 0.001),
        ("1", float, 1.0),
        ("+5", int, 5),
        ("1e3", int, 1000),
        ("9007199254740993", int, 9007199254740993),
        ("none", int | None, None),
        ("Null", float | None, None),
        ("default", bool | None, None),
        ("7", int | None, 7),
        ("yes", bool, True),
        ("OFF", bool, False),
        ("35,80", tuple[int, ...], (35, 80)),
        ("[35, 80]", tuple[int, ...], (35, 80)),
        ("(35 80)", tuple[int, ...], (35, 80)),
        ("35", tuple[int, ...], (35,)),
        ("[]", tuple[int, ...], ()),
        ("0.2,.5", tuple[float, ...], (0.2, 0.5)),
        ("Mean", Literal["mean", "none"], "mean"),
        ("none", Literal["mean", "none"] | None, "none"),
        ("none", Literal["mean"] | None, None),
        ("no", Literal["yes", "no"], "no"),
        ("2", Literal[1, 2], 2),
        ("'clip'", Literal["clip"], "clip"),
        ("true", str, "true"),
        ("none", str | None, None),
        ("imagenet", str | None, "imagenet"),
        (1, float, 1.0),
        ([35, 80], tuple[int, ...], (35, 80)),
        (True, float, True),
    ],
)
def test_a_setting_is_read_by_the_type_of_its_field(text, hint, expected):
    found = validation.setting(text, hint)
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("1,e-3", float),
        ("0,3", float),
        ("nan", float),
        ("inf", float),
        ("1.5", int),
        ("ten", int),
        ("a,b", tuple[int, ...]),
        ("maybe", bool),
        ("maybe", bool | None),
        ("huge", Literal["mean"]),
    ],
)
def test_what_cannot_be_read_stays_for_its_field_to_refuse(text, hint):
    assert validation.setting(text, hint) == text


def test_an_unknown_name_gets_the_nearest_one_and_all_there_are():
    known = {"its own": ["margin"], "of every run": ["lr", "steps"]}
    said = str(validation.unknown("step", "x has no option", known))
    assert said == (
        "x has no option step (did you mean steps?): there are its own: margin; "
        "of every run: lr, steps"
    )


def test_quotes_around_a_value_are_no_part_of_it():
    assert validation.choice("preset", "'Tiny'", ("tiny",)) == "tiny"
    assert validation.flag("retrain", '"no"') is False
    assert validation.seeds("'0,1'") == validation.seeds('"[0, 1]"') == [0, 1]
    assert validation.device("'cpu'") == "cpu" and validation.device("'1'") == "cuda:1"
    assert validation.folder("data", "'none'") is None
    assert validation.is_none("'None'")


def test_no_device_is_whichever_there_is():
    assert validation.device("None") == validation.device(None) == "auto"


def test_a_field_that_is_named_with_its_part_is_guessed():
    known = {"": ["lr", "steps"]}
    said = str(validation.unknown("recipe.lr", "there is no option", known))
    assert said.startswith("there is no option recipe.lr (did you mean lr?)")
