"""The docstring of a package says where each equation of its paper is."""

import pkgutil
import re

import pytest

from vvi.book import source
from vvi.methods import cmft, di2l, iban, mitml, sadstrm

#: Package of a method -> the last equation of its paper.
LAST = {mitml: 6, iban: 15, sadstrm: 17, di2l: 6, cmft: 19}

NUMBERS = r"\(\d+\)(?:(?:,| and| to)\s+\(\d+\))*"
ENTRY = re.compile(rf"({NUMBERS})\s+(?:is\s+|are\s+)?`([\w.]+)`(?: and `([\w.]+)`)?")


def numbers_of(text):
    """Expand "(5), (9) and (16)" or "(13) to (15)" to a set of integers."""
    numbers = {int(number) for number in re.findall(r"\((\d+)\)", text)}
    for first, last in re.findall(r"\((\d+)\) to \((\d+)\)", text):
        numbers |= set(range(int(first), int(last) + 1))
    return numbers


def code_of(package, name):
    """Return the source of what a docstring names, in the package or by full path."""
    path = name if name.startswith("vvi.") else f"{package.__name__}.{name}"
    return source.listing(pkgutil.resolve_name(path)).text


@pytest.mark.parametrize(("package", "last"), LAST.items())
def test_the_code_of_every_equation_is_named_and_names_it(package, last):
    seen = set()
    for text, *names in ENTRY.findall(package.__doc__):
        numbers = numbers_of(text)
        seen |= numbers
        for name in filter(None, names):
            found = re.findall(rf"Eqs?\.\s+{NUMBERS}", code_of(package, name))
            named = set().union(*map(numbers_of, found))
            assert numbers <= named, (name, numbers - named)
    assert seen == set(range(1, last + 1))


def test_ranges_of_equations_are_expanded():
    assert numbers_of("(5), (9) and (16)") == {5, 9, 16}
    assert numbers_of("(13) to (15)") == {13, 14, 15}


@pytest.mark.parametrize("package", LAST)
def test_a_package_shows_the_source_of_what_it_exports(package):
    for name in package.__all__:
        value = getattr(package, name)
        if getattr(value, "__module__", "").startswith(package.__name__):
            assert value.__name__ in source.listing(value).text, name
