"""A method may be a package: what it exports, and where its equations are."""

import pkgutil
import re
import types

import pytest

from vvi import methods
from vvi.book import source
from vvi.methods import iban, mitml

#: "(4) `Guide.forward`" or "(13) and (14) `easy_samples`" in a docstring.
NUMBERS = r"((?:\(\d+\)(?: and )?)+)"
ENTRY = re.compile(NUMBERS + r"\s+(?:is\s+)?`([\w.]+)`(?: and `([\w.]+)`)?")


def equations(package):
    """Map the equations that a package's docstring lists to the names of their code."""
    places = {}
    for numbers, *names in ENTRY.findall(package.__doc__):
        for number in re.findall(r"\d+", numbers):
            places[int(number)] = [name for name in names if name]
    return places


def definition(package, name):
    """Find what a docstring names: in the package, or by a full path."""
    path = name if name.startswith("vvi.") else f"{package.__name__}.{name}"
    return pkgutil.resolve_name(path)


@pytest.mark.parametrize(
    ("package", "shared", "numbers"),
    [(iban, (10, 11), range(1, 16)), (mitml, (), range(1, 7))],
)
def test_the_code_of_each_equation_is_named_and_names_the_equation(
    package, shared, numbers
):
    places = equations(package)
    assert sorted(places) == list(numbers)
    for number, names in places.items():
        for name in names:
            text = source.listing(definition(package, name)).text
            assert number in shared or number in equations_in(text), (number, name)


def equations_in(text):
    """List the equations that a source names, "Eqs. (6) to (9)" whole."""
    numbers = set()
    for first, last in re.findall(
        r"Eqs?\. \((\d+)\)(?:(?: to| and|,) \((\d+)\))?", text
    ):
        numbers |= {int(first), int(last or first)}
    return numbers


@pytest.mark.parametrize("package", [iban, mitml])
def test_a_package_exports_what_its_chapter_shows(package):
    for name in package.__all__:
        value = getattr(package, name)
        if isinstance(value, (type, types.FunctionType)):
            assert value.__name__ in source.listing(value).text
    assert package.VERSION == 2


def test_modules_and_packages_are_methods_and_the_base_is_none():
    assert {"baseline", "iban", "mitml"} <= set(methods.names())
    assert "base" not in methods.names()
    assert methods.module("iban") is iban
