from matplotlib.figure import Figure

from vvi.plots import style, switches

ROWS = {
    "without": {"memory": "off", "game": "on"},
    "other": {"game": "on"},
    "full": {"memory": "on", "game": "on"},
}
VALUES = {"without": [10.0, 14.0], "other": [11.0], "full": [20.0, 22.0]}


def test_settings_unlike_the_base_row_are_bold_and_what_a_row_does_not_have_is_a_dash():
    fig = switches.draw(ROWS, VALUES, "full", caption="two lines\nof words")
    bold = [t.get_text() for t in fig.axes[0].texts if t.get_fontweight() == "bold"]
    assert bold == ["off", "–"] and len(fig.axes[0].texts) == 6
    assert all(t.get_fontsize() >= style.SMALL for t in fig.axes[0].texts)


def test_results_stand_at_their_means_with_their_spread():
    fig = switches.draw(ROWS, VALUES, "full")
    dots = [c.lines[0].get_xdata()[0] for c in fig.axes[1].containers]
    assert dots == [12.0, 11.0, 21.0]


def test_one_row_alone_is_drawn():
    fig = switches.draw({"alone": {}}, {"alone": [5.0]}, "alone")
    assert isinstance(fig, Figure) and fig._repr_png_().startswith(b"\x89PNG")
