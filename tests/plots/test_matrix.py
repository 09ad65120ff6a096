from vvi.plots import matrix

CELLS = {
    "a claim that is too long for one line of a row": {
        "one": ("seen", "+1.0\n+0.5 … +1.5"),
        "two": ("not seen", "+0.1\n-0.5 … +0.7"),
    },
    "another": {"one": ("the opposite", "-1.0\n-1.5 … -0.5")},
}


def words(fig):
    texts = [t.get_text() for t in fig.findobj(lambda a: hasattr(a, "get_fontsize"))]
    return [*texts, fig.caption]


def test_every_cell_shows_its_text_and_the_sign_of_its_verdict():
    said = words(
        matrix.draw(CELLS, {"seen": "the row is better"}, "a caption", "claim")
    )
    assert {
        "+1.0\n+0.5 … +1.5",
        "-1.0\n-1.5 … -0.5",
        "a caption",
        "claim",
        "the row is better",
        "not seen",
    } <= set(said)
    assert said.count("–") == 1  # no such cell
    assert said.count("✓") == 2 and said.count("✗") == 2  # in a cell and in the legend


def test_the_figure_grows_with_its_columns_and_its_text_stays_legible():
    many = {"row": {f"column {n}": ("seen", "+1.0") for n in range(12)}}
    fig = matrix.draw(many)
    assert fig.get_figwidth() > matrix.draw(CELLS).get_figwidth()
    assert (
        min(
            t.get_fontsize()
            for t in fig.findobj(lambda a: hasattr(a, "get_fontsize"))
            if t.get_text()
        )
        >= 8
    )
    assert fig._repr_png_()
