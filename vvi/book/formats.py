"""Numbers with their intervals as text, the same on every page."""

from __future__ import annotations

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
    Zero itself has no minus.

    Args:
        score: the value and its interval.
        digits: after the point.
        sign: "+" marks positive numbers.
    """
    ends = (abs(score.low), abs(score.high))
    least = 10.0 ** -(digits + 2)  # of which one digit more shows something
    digits += any(end >= least and not round(end, digits) for end in ends)
    numbers = (score.value, score.low, score.high)
    return [f"{round(number, digits) + 0.0:{sign}.{digits}f}" for number in numbers]


def joined(words: Sequence[str], comma: str = ", ") -> str:
    """Join words as a sentence does; nothing where there are none.

    >>> joined(["0"]), joined(["0", "0.5", "1"]), joined([])
    ('0', '0, 0.5 and 1', '')
    """
    *early, last = words or [""]
    return f"{comma.join(early)} and {last}" if early else last
