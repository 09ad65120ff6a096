import pytest

from vvi import methods
from vvi.config import change, preset
from vvi.experiment import ablation, method_switches

START = preset("tiny", "iban")


def named(method: str, name: str) -> method_switches.Switch:
    return next(s for s in method_switches.switches(method) if s.name == name)


@pytest.mark.parametrize("method", methods.names())
def test_every_field_of_a_config_is_a_switch_that_reads_back_its_default(method):
    switches = method_switches.switches(method)
    assert {s.name for s in switches} == set(
        methods.module(method).Config.__dataclass_fields__
    ) - {"backbone", "weights", "frames"}
    for s in switches:
        shown = (
            s.default
            if s.hint is bool
            else s.word(s.default)
            if s.options
            else ""
            if s.default is None
            else str(s.default)
        )
        assert s.read(shown) == s.default and type(s.read(shown)) is type(s.default), (
            s.name
        )


def test_options_come_from_the_types_and_a_default_none_is_called_default():
    assert named("iban", "directions").options == ["both", "forward"]
    assert [
        named("iban", "plus_one").word(o) for o in named("iban", "plus_one").options
    ] == ["True", "False", "default"]
    assert named("cmft", "msrl").word(None) == "None", "there None switches a loss off"
    assert named("iban", "margin").options == []


@pytest.mark.parametrize("text", ["abc", "nan", "inf", "1e999", "3; 4", ""])
def test_what_is_no_number_is_refused_by_the_name_of_its_switch(text):
    with pytest.raises(ValueError, match="^margin: .* must be a number$"):
        named("iban", "margin").read(text)


def test_a_word_that_is_no_choice_is_refused_with_all_choices():
    fusion = named("cmft", "fusion")
    assert fusion.read("concat") == "concat"
    with pytest.raises(ValueError, match="no fusion 'sum': choose from ccf, concat"):
        fusion.read("sum")


def test_numbers_keep_their_kind_and_an_empty_field_is_none_where_that_is_allowed():
    assert [named("iban", "cr_start").read(t) for t in ("60", "60.5")] == [
        60,
        60.5,
    ] and type(named("iban", "cr_start").read("60")) is int
    assert named("iban", "lambda_tri").read(" ") is None
    with pytest.raises(ValueError, match="parts: '2.5' must be an integer"):
        named("di2l", "parts").read("2.5")


def test_more_changes_are_read_as_python_writes_them():
    assert method_switches.parse("") == {}
    assert method_switches.parse(
        "steps=10, lr=1, milestones=(1, 2), augment_per='clip'"
    ) == {"steps": 10, "lr": 1, "milestones": (1, 2), "augment_per": "clip"}
    assert method_switches.parse("milestones=[1, 2]") == {"milestones": (1, 2)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("foo", "cannot read 'foo'"),
        ("steps=", "cannot read"),
        ("steps=1, steps=2", "steps is set twice"),
        ("5, steps=3", "cannot read"),
        ("steps=open('x')", "cannot read"),
        ("**{'steps': 3}", "cannot read"),
        ("ig=False", "no setting 'ig': there are"),
        ("source='real'", "no setting 'source'"),
        ("split='val'", "no setting 'split'"),
        ("steps='ten'", "steps='ten' must be an integer >= 1"),
        ("steps=0", "steps=0 must be an integer >= 1"),
        ("augment_per='day'", "one of 'frame', 'clip'"),
    ],
)
def test_more_changes_that_make_no_sense_are_refused_in_one_line(text, said):
    with pytest.raises(ValueError) as caught:
        method_switches.parse(text)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_choice_that_computes_what_a_row_computes_is_that_row():
    start = change(START, variant="main")
    table = ablation.configs("iban", "Table II", "tiny", [0])
    known = {f"Table II: {label}": runs[0] for label, runs in table.items()}
    defaults = {s.name: s.default for s in method_switches.switches("iban")}
    wanted = defaults | {"variant": "main"}
    plain = wanted | {"ig": False, "bsta": False, "esb": False}
    baseline = "Table II: Baseline"
    assert method_switches.resolve_settings(start, plain, {}, known) == (
        baseline,
        known[baseline],
    )
    name, config = method_switches.resolve_settings(known[baseline], wanted, {}, known)
    assert name == "Table II: Baseline+IG+ESB+BSTA" and config.hash == start.hash
    same = wanted | {"esb_reduction": "mean"}
    _, config = method_switches.resolve_settings(start, same, {}, known)
    assert config.hash == start.hash, "the default reads mean: the same computation"


def test_another_choice_is_spelt_in_the_shortest_way_and_named_by_its_changes():
    known = {"paper": START}
    wanted = {s.name: s.default for s in method_switches.switches("iban")}
    name, config = method_switches.resolve_settings(
        START, wanted | {"cr": False, "margin": 0.5}, {"steps": 7}, known
    )
    assert name == "cr=False, margin=0.5, steps=7"
    assert config.hash == change(START, cr=False, margin=0.5, steps=7).hash
    off = change(START, cr=False)
    assert (
        method_switches.resolve_settings(off, wanted | {"margin": 0.5}, {}, known)[
            1
        ].hash
        == change(START, margin=0.5).hash
    ), "cr is switched back and leaves no trace"


def test_a_setting_that_the_method_refuses_is_refused_in_words():
    with pytest.raises(ValueError, match="choose from"):
        method_switches.effective(change(START, directions="backward"))


def test_settings_are_listed_as_they_take_effect():
    found = method_switches.effective_settings(
        change(START, esb=False, variant="released")
    )
    assert (found["esb"], found["esb_reduction"], found["frames"], found["method"]) == (
        "off",
        "sum",
        "3",
        "iban",
    )
