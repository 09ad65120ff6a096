"""Modules under the names that they had before the packages."""

import importlib
import subprocess
import sys

import pytest

from vvi import experiment
from vvi.runtime.moved import MOVED


@pytest.mark.parametrize("old", MOVED)
def test_an_old_name_is_the_module_itself(old):
    new = importlib.import_module(f"vvi.{MOVED[old]}")
    sys.modules.pop(f"vvi.{old}", None)
    with pytest.warns(DeprecationWarning, match=f"vvi.{old} is now vvi.{MOVED[old]}"):
        assert importlib.import_module(f"vvi.{old}") is new
    assert new.__name__ == new.__spec__.name == f"vvi.{MOVED[old]}"


def test_old_names_work_in_every_form_of_import():
    code = (
        "from vvi import ablate, evaluate; from vvi.evaluate import embed;"
        "import vvi.train; from vvi.data import tracks;"
        "assert evaluate.embed is embed and ablate.results and vvi.train.fit"
    )
    run = [sys.executable, "-c", code]
    assert subprocess.run(run, capture_output=True, text=True).returncode == 0


def test_a_name_that_never_was_is_an_error():
    with pytest.raises(ImportError):
        importlib.import_module("vvi.nothing")


@pytest.mark.parametrize(
    ("old", "new"), [("located", "resolve_data"), ("ready", "train_if_missing")]
)
def test_an_old_function_is_the_new_one(old, new):
    with pytest.warns(DeprecationWarning, match=f"is now experiment.{new}"):
        assert getattr(experiment, old) is getattr(experiment, new)
    with pytest.raises(AttributeError, match="nothing"):
        experiment.nothing  # noqa: B018
