"""Worlds on a page: what is stored is shown, nothing is trained."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from vvi import experiment
from vvi.book import dose_response
from vvi.data.synthetic.world import DOSES
from vvi.experiment import worlds
from vvi.experiment.worlds import ANAGLYPHS, BASELINE, Component, Question
from vvi.runtime import paths

IDEA = {"anaglyphs": Component(ANAGLYPHS, BASELINE)}
SMALL = {"bad-frames": Question("share of bad frames", IDEA, oracles=("whole frames",))}


@pytest.fixture
def small(tmp_path, monkeypatch, common_cache):
    """A world whose name has a hyphen, with one idea."""
    monkeypatch.setenv("VVI_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("VVI_CACHE", str(common_cache))
    monkeypatch.setenv("VVI_FIGURES", str(tmp_path / "figures"))
    monkeypatch.setattr(paths, "records", lambda: tmp_path / "records")
    monkeypatch.setattr(worlds, "PLAN", SMALL)
    monkeypatch.setattr(worlds, "SIZE", "tiny")
    monkeypatch.setattr(worlds, "oracles", lambda world: {"whole frames": np.ones(2)})
    monkeypatch.setitem(DOSES, "bad-frames", ("bad_frames", (0, 0.3)))
    return tmp_path


def test_a_world_without_results_trains_nothing_and_draws_nothing(small):
    assert dose_response.show("bad-frames") is None
    assert not (small / "runs").exists()
    assert not (small / "figures").exists()
    assert dose_response.table("bad-frames").empty


def test_a_dose_that_both_rows_have_is_shown_with_their_common_seeds(
    small, monkeypatch
):
    configs = worlds.configs("bad-frames", "tiny")
    for row, seeds in ((ANAGLYPHS, 2), (BASELINE, 1)):
        for config in configs[0.3][row][:seeds]:
            experiment.run(config, progress=False)
    experiment.run(configs[0][BASELINE][0], progress=False)
    count = len(list((small / "runs").iterdir()))
    rows = dose_response.stored("bad-frames")
    assert rows.dose.tolist() == [0.3] and rows.seeds.tolist() == [1]
    text = dose_response.table("bad-frames")
    assert text.columns.tolist() == ["0", "0.3"]
    assert text.loc["anaglyphs", "0"] == "–"
    assert text.loc["anaglyphs", "0.3"].startswith(f"{rows.difference[0]:+.1f} (")
    assert dose_response.show("bad-frames") is not None
    assert (small / "figures" / "worlds" / "bad_frames.png").is_file()
    assert len(list((small / "runs").iterdir())) == count
    assert rows.note.tolist() == [""]
    mixed = property(lambda run: "bf16-mixed" if run.config.options else "32-true")
    monkeypatch.setattr(experiment.Result, "precision", mixed)
    assert (
        dose_response.table("bad-frames")
        .loc["anaglyphs", "0.3"]
        .endswith("one seed, not all of one precision")
    )
    caption = dose_response.show("bad-frames").caption
    assert "Not all of one precision: anaglyphs." in caption


def test_a_page_shows_the_worlds_that_are_trained_and_those_of_drawn_people_alone(
    monkeypatch,
):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    monkeypatch.setattr(dose_response, "show", {"gap": "a figure"}.get)
    dose_response.display(SimpleNamespace(known=True), "bad-frames", "gap")
    assert shown == ["a figure"]
    dose_response.display(SimpleNamespace(known=False), "bad-frames", "gap")
    assert shown == ["a figure"]


def test_the_finding_names_the_doses_at_which_an_interval_excludes_zero():
    rows = [("a", 0, -1, 2), ("a", 0.5, 1, 2), ("a", 1, 2, 3), ("b", 0, -3, -1)]
    rows += [("c", 0, -1, 1)]
    table = pd.DataFrame(rows, columns=["component", "dose", "low", "high"])
    table["note"] = ""
    collapsed = {"component": "d", "dose": [0, 1], "low": 1, "high": 2}
    collapsed["note"] = ["", "collapsed"]
    table = pd.concat([table, pd.DataFrame(collapsed)])
    assert dose_response.finding(table).splitlines() == [
        "A: helps at 0.5 and 1.",
        "B: harms at 0.",
        "C: no effect seen.",
        "D: helps at 0 and collapsed at 1.",
    ]
