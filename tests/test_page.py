"""How the page of code reads is held to its targets, as `benchmarks/page.py` counts."""

import ast
import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "benchmarks"))
page = importlib.import_module("page")


@pytest.fixture(scope="module")
def measured():
    return page.measure(ROOT / "vvi")


def test_no_comprehension_of_the_package_is_nested(measured):
    assert measured["nested comprehensions"] == []


def test_no_docstring_of_the_package_holds_a_semicolon(measured):
    assert measured["semicolons in docstrings"] == []


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("share of lines over 100 columns", 0.01),
        ("AST nodes per code line", 7),
        ("code lines per function, median", 10),
        ("code lines per function, p99", 50),
        ("modules loose in the package", 8),
        ("first line of a docstring, median", 70),
    ],
)
def test_lines_functions_and_docstrings_stay_short(measured, name, most):
    assert measured[name] <= most


def test_no_function_has_more_than_eighty_lines_of_code(measured):
    assert max(measured["code lines per function, most"].values()) <= 80


def test_most_public_functions_say_what_their_parameters_are(measured):
    assert measured["share of functions of 3 or more parameters with Args"] >= 0.96


def test_what_is_nested_is_counted():
    source = "a = [x for y in z for x in y]\nb = [[x for x in y] for y in z]\nc = [x]"
    lines = [node.lineno for node in page.nested(ast.parse(source))]
    assert lines == [1, 2]


def test_semicolons_are_counted_in_docstrings_alone():
    source = '"""One; two."""\n\ndef f():\n    """Three.\n\n    Four;\n    """\n'
    assert page.semicolon_lines(source + 'x = "a;"; y = 1  # b;\n') == [1, 6]


def test_lines_of_code_are_neither_comments_nor_docstrings():
    source = '"""A docstring."""\n\n# a comment\nx = 1\ny = (\n    2,\n)\n'
    assert page.code_lines(source) == {4, 5, 6, 7}
