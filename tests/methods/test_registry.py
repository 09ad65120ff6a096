"""The folder of methods is their registry."""

import pytest

from vvi import methods


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
