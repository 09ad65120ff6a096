"""Tables of the book: one header row, caption on top, cells in words."""

import base64
import csv
import re

import numpy as np
import pandas as pd
import pytest

from vvi.plots.tables import Table


def page(*args, **options):
    return Table(pd.DataFrame(*args, **options)).to_html()


def cells(html, tag="td"):
    parts = html.split(f"<{tag} ")[1:]
    texts = [part.split(">", 1)[1].split(f"</{tag}>")[0] for part in parts]
    return [text.replace("\N{NO-BREAK SPACE}", " ") for text in texts]


def test_numbers_of_a_column_have_the_same_digits_and_no_more_than_needed():
    shown = page({"a": [0.84392, 1.3], "b": [480.0, 2.0], "c": [0.5, 0.25]})
    assert cells(shown) == ["0.844", "480", "0.50", "1.300", "2", "0.25"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "yes"),
        (np.False_, "no"),
        (None, "–"),
        (np.nan, "–"),
        (pd.NA, "–"),
        (-0.0, "0"),
        ([True, False], "yes, no"),
        ({"2 x CPU"}, "2 x CPU"),
        ({"seed": 1}, "seed 1"),
        (7, "7"),
        ("a < b", "a &lt; b"),
    ],
)
def test_a_cell_is_said_in_words(value, text):
    assert cells(page({"x": pd.Series([value], dtype=object)})) == [text]


def test_a_number_breaks_in_front_of_its_interval_alone():
    shown = page({"n": ["+1.0 (-2 to 3)", "26.9 ± 1.2"], "w": ["not seen", "1 of 2"]})
    space = "\N{NO-BREAK SPACE}"
    assert f">+1.0 (-2{space}to{space}3)<" in shown
    assert f">26.9{space}±{space}1.2<" in shown
    assert ">not seen<" in shown and ">1 of 2<" in shown


def test_numbers_stand_right_and_words_left():
    shown = page({"n": ["+1.0 (-2 to 3)", "–"], "w": ["seen", "1 of 2"]})
    assert '<th class="r">n</th><th class="l">w</th>' in shown


def test_headers_of_several_levels_become_one_row():
    frame = pd.DataFrame({("mAP", "paper"): [1], ("", "runs"): [3]}, index=["row"])
    shown = Table(frame).to_html()
    assert shown.count("<tr>") == 2
    assert cells(shown, "th") == ["", "mAP, paper", "runs", "row"]


def test_a_phrase_that_names_the_rows_is_the_caption_and_a_word_their_header():
    frame = pd.DataFrame({"x": [1]}, index=["a"])
    phrase = Table(frame.rename_axis("points, synthetic data")).to_html()
    assert "<caption>points, synthetic data</caption>" in phrase
    assert cells(phrase, "th")[0] == ""
    word = Table(frame.rename_axis("method")).to_html()
    assert "<caption>" not in word and cells(word, "th")[0] == "method"
    chosen = Table(frame.rename_axis("two words"), "a caption").to_html()
    assert "<caption>a caption</caption>" in chosen and "two words" not in chosen


def test_rows_that_are_only_counted_have_no_label_and_levels_a_column_each():
    assert cells(page({"x": [1, 2]}), "th") == ["x"]
    index = pd.MultiIndex.from_tuples([("fcos", "day")], names=["detector", "light"])
    shown = page({"f1": [0.5]}, index=index)
    assert cells(shown, "th") == ["detector", "light", "f1", "fcos", "day"]


def test_an_open_notebook_shows_every_table_so():
    from IPython.testing.globalipapp import start_ipython

    from vvi.plots import tables

    shell = start_ipython()
    tables.register()
    to_html = shell.display_formatter.formatters["text/html"]
    to_html.enabled = True  # as in a notebook; a terminal shows text alone
    assert 'class="vvi-table"' in to_html(pd.DataFrame({"x": [0.5]}))
    row = to_html(pd.Series([1.0], ["a"], name="x"))
    assert cells(row, "th") == ["", "x", "a"]


def rows_of_csv(page: str) -> list[list[str]]:
    data = re.search(r'href="data:text/csv;charset=utf-8;base64,([^"]+)"', page)[1]
    return list(csv.reader(base64.b64decode(data).decode().splitlines()))


def test_a_table_can_be_taken_along_as_csv_with_all_its_digits():
    frame = pd.DataFrame({"rank-1": [33.25, np.nan], "α": ["a, b", "c"]}, ["x", "y"])
    rows = rows_of_csv(Table(frame).to_html())
    assert rows == [["", "rank-1", "α"], ["x", "33.25", "a, b"], ["y", "", "c"]]


def test_a_table_of_markup_is_plain_in_csv():
    frame = pd.DataFrame({"score": ["<b>1.5</b> &plusmn; 0.1"]}, ["x"])
    rows = rows_of_csv(Table(frame, escaped=False).to_html())
    assert rows[1] == ["x", "1.5 ± 0.1"]


def test_a_sentence_keeps_a_width_at_which_it_can_be_read():
    frame = pd.DataFrame({"name": ["IBAN"], "note": ["a word and a word, " * 4]})
    shown = Table(frame).to_html()
    assert '<td class="l long">a word' in shown and '<td class="l">IBAN' in shown
