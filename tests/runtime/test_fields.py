from dataclasses import dataclass
from typing import Literal

from vvi.runtime.fields import field_docs, literal_values


@dataclass(frozen=True)
class Base:
    """Two fields."""

    #: Of the base.
    first: int = 1
    second: int = 2


@dataclass(frozen=True)
class Derived(Base):
    """Three more, one of them again."""

    #: Over two
    #: lines.
    third: Literal["a", "b"] | None = None
    # no documentation
    fourth: str = "#: nothing"
    #: Documents no field, since a line stands between.

    fifth: float = 0.5
    #: Said anew.
    first: int = 3


def test_comments_above_fields_are_their_documentation():
    assert field_docs(Base) == {"first": "Of the base."}
    assert field_docs(Derived) == {"first": "Said anew.", "third": "Over two lines."}


def test_values_of_a_literal_end_with_none_where_it_may_be_none():
    assert literal_values(Literal["a", 2]) == ("a", 2)
    assert literal_values(Literal["a"] | None) == ("a", None)
    assert literal_values(bool | None) == literal_values(str) == ()
