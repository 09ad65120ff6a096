"""The box on top of a chapter: its question, and answers computed from results."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vvi.book import comparison
from vvi.book.figures import Scene, over_phases
from vvi.experiment import Result
from vvi.experiment.result import UNLIKE_PRECISION


@dataclass(frozen=True)
class Summary:
    """A question and its answers: a box in a page, plain text in a terminal."""

    question: str
    answers: tuple[str, ...]
    title: str = "In short"

    def __repr__(self) -> str:
        lines = [f"- {answer}" for answer in self.answers]
        return "\n".join([f"{self.title}: {self.question}", *lines])

    def _repr_html_(self) -> str:
        items = [f"<li>{html.escape(answer)}</li>" for answer in self.answers]
        return (
            f'<div class="admonition tip"><p class="admonition-title">{self.title}</p>'
            f"<p>{html.escape(self.question)}</p><ul>{''.join(items)}</ul></div>"
        )


def box(question: str, *answers: str) -> Summary:
    """Put a question and its answers into the box of a chapter."""
    return Summary(question, answers)


def gain(
    claim: str, better: Sequence[Result], worse: Sequence[Result], scene: Scene
) -> str:
    """Say in one sentence whether some runs beat others.

    Args:
        claim: its name, such as "guidance added to the baseline".
        better: the runs that the claim says are better, perhaps none.
        worse: the runs that they are measured against, perhaps none.
        scene: the data of the runs.

    Returns:
        Both means of rank-1 (ir2vis), the difference with its interval, the verdict.
    """
    if not comparison.have_common_seed(better, worse):
        return f"{claim}: {comparison.UNTRAINED}."
    sides = comparison.of_common_seeds(better, worse)
    ours, theirs = (_rank1(runs) for runs in sides)
    score = comparison.difference(*sides, scene)
    count = len(sides[0])
    seeds = "over people alone" if count == 1 else f"{count} seeds"
    if comparison.of_unlike_precision(*sides):
        seeds += f", {UNLIKE_PRECISION}"
    hint = ", a hint (one seed)" if count == 1 else ""
    return (
        f"{claim}: rank-1 {ours:.1f} instead of {theirs:.1f}, "
        f"{score.value:+.1f} points "
        f"(95 %: {score.low:+.1f} to {score.high:+.1f}; {seeds}): "
        f"{comparison.verdict(score)}{hint}."
    )


def change(claim: str, runs: Sequence[Result], probe: str) -> str:
    """Say in one sentence how much rank-1 changes under a probe, mean over runs.

    Args:
        claim: its name, such as "Baseline+IG, anaglyphs blank".
        runs: those without the probe are left out, perhaps all.
        probe: name of the probe.

    Returns:
        The mean, and the outermost bounds of the intervals of the runs.
    """
    scores = [r.probe(probe) for r in runs if probe in r.record.probes]
    if not scores:
        return f"{claim}: {comparison.UNTRAINED}."
    mean = 100 * np.mean([s.value for s in scores])
    low = 100 * min(s.low for s in scores)
    high = 100 * max(s.high for s in scores)
    bounds = f"outermost 95 % bounds {low:+.1f} to {high:+.1f}"
    return f"{claim}: {mean:+.1f} points of rank-1 ({bounds})."


def measured(
    claim: str, rows: Mapping[str, Sequence[Result]], probe: str, digits: int = 2
) -> str:
    """Say in one sentence what a probe gives, mean over the runs of each row.

    Args:
        claim: its name, and how to read it.
        rows: what each row is called -> its runs, perhaps none.
        probe: name of the probe.
        digits: behind the point.
    """
    parts = []
    for name, runs in rows.items():
        values = [r.probe(probe).value for r in runs if probe in r.record.probes]
        if values:
            parts.append(f"{np.mean(values):.{digits}f} {name}")
    return f"{claim}: {', '.join(parts) or comparison.UNTRAINED}."


def ended(claim: str, runs: Sequence[Result], term: str, last: int = 50) -> str:
    """Say in one sentence where a term of training ends, mean over runs.

    Args:
        claim: names the term, and how to read it.
        runs: perhaps none.
        term: of the history, without its phase.
        last: steps at the end of training whose mean counts.
    """
    if not runs:
        return f"{claim}: {comparison.UNTRAINED}."
    return f"{claim}: {np.nanmean(over_phases(runs, term)[:, -last:]):.2f}."


def watched(
    claim: str,
    more: Sequence[Result],
    less: Sequence[Result],
    term: str,
    last: int = 50,
    minus: str = "",
) -> str:
    """Say in one sentence whether a term of training ends higher in some runs.

    Args:
        claim: names the term and both sides.
        more: the runs that the claim says end higher, perhaps none.
        less: the runs that they are measured against, perhaps none.
        term: of the history, without its phase, such as "p ir".
        last: steps at the end of training whose mean counts.
        minus: another term, which is subtracted.

    Returns:
        The range of both sides, and "seen" where every run of `more` ends above every
        run of `less`, "the opposite" where every one ends below.
    """
    if not more or not less:
        return f"{claim}: {comparison.UNTRAINED}."
    ends = []
    for runs in (more, less):
        values = over_phases(runs, term)
        if minus:
            values = values - over_phases(runs, minus)
        ends.append(np.nanmean(values[:, -last:], axis=1))
    ours, theirs = ends
    word = "not seen"
    if ours.min() > theirs.max():
        word = "seen"
    elif ours.max() < theirs.min():
        word = "the opposite"
    spans = [f"{e.min():.2f} to {e.max():.2f}" for e in ends]
    return f"{claim}: {spans[0]} against {spans[1]}: {word}."


def _rank1(runs: Sequence[Result]) -> float:
    return float(np.mean([r.row("ir2vis")["rank1"] for r in runs]))
