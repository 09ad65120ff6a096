import numpy as np

from vvi.plots import intervals, style

ROWS = {
    "an idea": {"ir2vis": (30.0, 40.0, 6.0, 13.0), "vis2ir": (31.0, 30.0, -4.0, 2.0)},
    "another": {"ir2vis": (30.0, 29.0, -3.0, 1.0)},
}


def test_each_idea_has_its_levels_its_difference_and_its_interval():
    fig = intervals.draw(ROWS, {"chance": 0.4}, "A caption.")
    left, right = fig.axes[:2]
    assert [t.get_text() for t in left.get_yticklabels()] == list(ROWS)
    means = sorted(float(c.lines[0].get_xdata()[0]) for c in right.containers)
    assert means == [-1.0, -1.0, 10.0]
    bars = [c.lines[2][0].get_segments()[0][:, 0] for c in right.containers]
    assert any(np.allclose(bar, (6.0, 13.0)) for bar in bars)
    words = [t.get_text() for t in left.texts]
    assert words == ["chance"]


def test_no_label_is_cut_off_beside_long_names():
    long = "an idea with a name that is as long as the longest of the book"
    rows = dict.fromkeys(("short", long), ROWS["an idea"])
    fig = intervals.draw(rows, {"chance": 0.4, "both": 98.8}, "A caption.")
    assert style.cut_off(fig) == []


def test_nothing_trained_is_an_empty_figure():
    fig = intervals.draw({})
    assert not fig.axes[1].containers
