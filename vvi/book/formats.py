"""Numbers with their intervals as text, the same on every page."""

from __future__ import annotations

import math
from collections.abc import Sequence

from vvi.evaluation.probes import Score


def points(score: Score, digits: int = 1) -> str:
    """Return a difference with its interval.

    >>> points(Score(1.25, -0.1, 2.5, 0.0, 3)), points(Score(1.25, -0.04, 2.5, 0.0, 3))
    ('+1.2 (-0.1 to +2.5)', '+1.25 (-0.04 to +2.50)')
    """
    middle, low, high = rounded(score, digits, "+")
    return f"{middle} ({low} to {high})"


def value(score: Score, digits: int = 2) -> str:
    """Return a value with its interval.

    >>> value(Score(0.5, 0.44, 0.56, 0.0, 30)), value(Score(-1e-9, 0.0, 0.0, 0.0, 30))
    ('0.50 (0.44 to 0.56)', '0.00 (0.00 to 0.00)')
    """
    middle, low, high = rounded(score, digits)
    return f"{middle} ({low} to {high})"


def rounded(score: Score, digits: int, sign: str = "") -> list[str]:
    """Round a value and both ends of its interval.

    There is one digit more where an end would round to zero: its sign is the verdict.
    An end that is nearer to zero has as many digits as show it. Zero itself has no
    minus.

    Args:
        score: the value and its interval.
        digits: after the point.
        sign: "+" marks positive numbers.
    """
    ends = (abs(score.low), abs(score.high))
    least = 10.0 ** -(digits + 2)  # of which one digit more shows something
    digits += any(end >= least and not round(end, digits) for end in ends)
    wanted = [digits, *(_digits_of_end(end, digits) for end in ends)]
    numbers = zip((score.value, score.low, score.high), wanted, strict=True)
    return [f"{round(x, places) + 0.0:{sign}.{places}f}" for x, places in numbers]


def _digits_of_end(end: float, digits: int) -> int:
    """Return how many digits show an end that is not zero (below 1e-6 it counts as)."""
    hidden = end >= 1e-6 and not round(end, digits)
    return math.ceil(-math.log10(end)) if hidden else digits


def joined(words: Sequence[str], comma: str = ", ") -> str:
    """Join words as a sentence does. No words give an empty text.

    >>> joined(["0"]), joined(["0", "0.5", "1"]), joined([])
    ('0', '0, 0.5 and 1', '')
    """
    *early, last = words or [""]
    return f"{comma.join(early)} and {last}" if early else last
