"""Numbers with their intervals as text, the same on every page."""

from __future__ import annotations

from collections.abc import Sequence

from vvi.evaluation.probes import Score


def points(score: Score, digits: int = 1) -> str:
    """Return a difference with its interval.

    >>> points(Score(1.25, -0.04, 2.5, 0.0, 30))
    '+1.2 (-0.0 to +2.5)'
    """
    numbers = (score.value, score.low, score.high)
    middle, low, high = (f"{number:+.{digits}f}" for number in numbers)
    return f"{middle} ({low} to {high})"


def value(score: Score, digits: int = 2) -> str:
    """Return a value with its interval.

    >>> value(Score(0.5, 0.44, 0.56, 0.0, 30))
    '0.50 (0.44 to 0.56)'
    """
    numbers = (score.value, score.low, score.high)
    middle, low, high = (f"{number:.{digits}f}" for number in numbers)
    return f"{middle} ({low} to {high})"


def joined(words: Sequence[str], comma: str = ", ") -> str:
    """Join words as a sentence does; nothing where there are none.

    >>> joined(["0"]), joined(["0", "0.5", "1"]), joined([])
    ('0', '0, 0.5 and 1', '')
    """
    *early, last = words or [""]
    return f"{comma.join(early)} and {last}" if early else last
