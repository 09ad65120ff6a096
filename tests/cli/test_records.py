"""`vvi runs` names a run by the row that it is, or by the settings of its own."""

from types import SimpleNamespace

import pytest

from vvi.cli import records
from vvi.config import change, preset


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"lr": 0.5}, "baseline, lr=0.5 T=3"),
        ({"height": 64, "margin": 0.1}, "baseline, margin=0.1 height=64 T=3"),
        ({"backbone": "mine:trunk"}, "baseline, backbone=mine:trunk T=3"),
        ({"frames": 2}, "baseline, T=2"),
    ],
)
def test_a_run_that_is_no_row_is_named_by_what_was_set(changes, line):
    config = change(preset("tiny", "baseline"), **changes)
    assert records._described(SimpleNamespace(config=config)) == line
