"""The dose-response figure, on made-up numbers."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from vvi.plots import doses

DOSES = (0, 0.095, 0.4)
ONE = np.array([(-1.0, -3.0, 1.0), (1.0, -1.0, 2.5), (6.0, 3.0, 9.5)])
TWO = np.array([(0.0, -4.0, 4.0), (np.nan,) * 3, (2.0, -2.0, 6.0)])
ORACLE = {"all": np.array([0.23, 0.21, 0.11]), "good": np.array([0.23, 0.22, 0.19])}


@pytest.fixture
def figure():
    components = {"weights": ONE, "gates": TWO}
    return doses.response(
        DOSES,
        components,
        ORACLE,
        "share of bad frames",
        usual=0.095,
        caption="made up",
    )


def test_differences_stand_at_their_dose_with_their_intervals(figure):
    _, below = figure.axes
    marks = {c.get_label(): c for c in below.containers}
    assert list(marks) == ["weights", "gates"]
    line, _, (bars,) = marks["weights"].lines
    x, y = line.get_data()
    assert y.tolist() == [-1, 1, 6]
    assert np.abs(x - np.arange(3)).max() < 0.5
    ends = np.array([segment[:, 1] for segment in bars.get_segments()])
    np.testing.assert_allclose(ends, ONE[:, 1:])


def test_a_dose_that_was_not_trained_has_no_mark(figure):
    _, below = figure.axes
    line = below.containers[1].lines[0]
    assert line.get_ydata().tolist() == [0, 2]
    assert np.round(line.get_xdata()).tolist() == [0, 2]


def test_components_of_one_dose_do_not_hide_one_another(figure):
    _, below = figure.axes
    first, second = (c.lines[0].get_xdata() for c in below.containers)
    assert abs(first[0] - second[0]) > 0.1
    colours = {c.lines[0].get_color() for c in below.containers}
    markers = {c.lines[0].get_marker() for c in below.containers}
    assert len(colours) == len(markers) == 2


def test_oracles_are_lines_over_the_same_doses_and_the_usual_one_is_named(figure):
    above, below = figure.axes
    for line, (name, values) in zip(above.get_lines(), ORACLE.items(), strict=True):
        assert line.get_label() == name
        assert line.get_ydata().tolist() == values.tolist()
        assert line.get_xdata().tolist() == [0, 1, 2]
    labels = [text.get_text() for text in below.get_xticklabels()]
    assert labels == ["0", "0.095 (usual)", "0.4"]
    assert below.get_xlabel() == "share of bad frames"
    assert above.get_ylim()[0] == 0
    assert figure.drawn_by == "vvi.plots.doses.response"


def test_texts_do_not_overlap(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    boxes = []
    for ax in figure.axes:
        boxes += [ax.yaxis.label.get_window_extent(renderer)]
        boxes += [ax.get_legend().get_window_extent(renderer)]
    boxes += [figure.axes[1].xaxis.label.get_window_extent(renderer)]
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[number + 1 :])


def test_one_component_stands_on_its_dose():
    fig = doses.response((1, 2, 8), {"memory": ONE}, ORACLE, "group")
    line = fig.axes[1].containers[0].lines[0]
    assert line.get_xdata().tolist() == [0, 1, 2]
    assert [t.get_text() for t in fig.axes[1].get_xticklabels()] == ["1", "2", "8"]
