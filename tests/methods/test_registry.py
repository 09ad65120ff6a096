"""The folder of methods is their registry."""

import sys

import pytest

import vvi.weights  # noqa: F401  while the folder of methods is whole
from vvi import methods
from vvi.cli.main import main


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of methods without any, whose modules are forgotten afterwards."""
    monkeypatch.setattr(methods, "__path__", [str(tmp_path)])
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("vvi.methods.half")]:
        del sys.modules[name]


def test_a_module_that_was_just_put_there_is_a_method(tmp_path, monkeypatch):
    monkeypatch.setattr(methods, "__path__", [str(tmp_path)])
    (tmp_path / "base.py").touch()
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "__init__.py").touch()
    assert methods.names() == methods.names() == ("first",)
    (tmp_path / "another.py").touch()
    assert methods.names() == ("another", "first")
    (tmp_path / "another.py").unlink()
    assert methods.names() == ("first",)


@pytest.mark.parametrize("name", ["base", "iban.model", "nobody", ""])
def test_what_is_no_method_is_refused_with_the_names_of_those_there_are(name):
    with pytest.raises(ValueError, match="choose from baseline, cmft, di2l, iban"):
        methods.module(name)


def test_a_module_whose_name_begins_with_an_underscore_is_a_helper(folder, capsys):
    (folder / "_tools.py").touch()
    (folder / "first.py").touch()
    assert methods.names() == ("first",)
    for command in ("switches", "train"):
        assert main([command, "_tools"]) == 2
        assert "no method '_tools': choose from first" in capsys.readouterr().err


#: What a half-written method holds, file by file, and what is said of it.
HALF = [
    ({"half.py": "x = 1\ndef f(:\n"}, "half.py, line 2: SyntaxError: invalid syntax: "),
    ({"half.py": "import vvi.no\n"}, "half.py, line 1: ModuleNotFoundError: No module"),
    ({"half.py": "\n\nx = 1 / 0\n"}, "half.py, line 3: ZeroDivisionError: division"),
    ({"half.py": "x = 1\0\n"}, "half.py: SyntaxError: source code string cannot"),
    ({"half.py": "raise KeyError('a\\nb')"}, "half.py, line 1: KeyError: "),
    (
        {"half/__init__.py": "from .a import b", "half/a.py": "b = 1\nb = c\n"},
        "half/a.py, line 2: NameError: name 'c' is not defined",
    ),
    (
        {"half.py": ""},
        "half.py: method half lacks VERSION, Config, Model, ABLATIONS, M",
    ),
    (
        {"half.py": "VERSION, MAIN, SWEEPS, ABLATIONS, Config = 1, (), (), {}, int\n"},
        "half.py: method half lacks Model: add what is missing, or let",
    ),
]


@pytest.mark.parametrize(("files", "said"), HALF)
def test_a_half_written_method_is_one_line_that_names_file_and_line(
    files, said, folder, capsys
):
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    with pytest.raises(ValueError, match="half") as raised:
        methods.module("half")
    assert f"{folder}/{said}" in str(raised.value)
    assert main(["switches", "half"]) == 2
    shown = capsys.readouterr().err
    assert said in shown and shown.count("\n") == 1


def test_the_error_of_a_half_written_method_is_kept_as_the_cause(folder):
    (folder / "half.py").write_text("x = 1 / 0\n")
    with pytest.raises(ValueError, match="mend the file or move it out") as raised:
        methods.module("half")
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
