"""The ideas of the book: a row that has each, and the same network without it.

This table stands behind the chapter that compares the methods, the README and the first
page of the book. Whoever adds an idea adds an entry here and nothing else.
"""

from __future__ import annotations

from typing import NamedTuple

from vvi import methods
from vvi.book import across_methods

#: Method, table and label of a row.
Row = tuple[str, str, str]
#: The network that no idea has been added to.
PLAIN: Row = ("baseline", "Table 2", "Baseline")
#: The same network on the schedule of IBAN, which differs at the size of the paper.
PLAIN_OF_IBAN: Row = ("iban", "Fig. 1", "frames")
#: CAJ without its stream of one channel.
AGW: Row = ("di2l", "Parts of the baseline", "AGW")
#: How the names of methods with all of their parts end.
WHOLE = " as a whole"


class Idea(NamedTuple):
    """An idea, the row that has it and the row to subtract."""

    #: What tables call it.
    name: str
    #: The row that has it.
    row: Row
    #: The same network without it.
    baseline: Row
    #: What to know before the difference is read. `helps` adds measured notes.
    note: str = ""


IDEAS = (
    Idea(
        "anaglyphs in place of frames",
        row=("iban", "Fig. 1", "anaglyphs"),
        baseline=PLAIN_OF_IBAN,
    ),
    Idea(
        "IBAN's guidance, losses as released",
        row=("iban", "Table II", "Baseline+IG"),
        baseline=("iban", "Table II", "Baseline"),
    ),
    Idea(
        "IBAN's guidance and literal losses",
        row=("iban", "Readings", "literal, Baseline+IG"),
        baseline=("iban", "Table II", "Baseline"),
    ),
    Idea(
        "IBAN's frame weights (BSTA)",
        row=("iban", "Table II", "Baseline+BSTA"),
        baseline=("iban", "Table II", "Baseline"),
    ),
    Idea(
        "IBAN's frame weights, relative",
        row=("iban", "Readings", "frame weights relative, Baseline+BSTA"),
        baseline=("iban", "Table II", "Baseline"),
        note="a division of ours",
    ),
    Idea(
        "IBAN without frame weights (IBAN*)",
        row=("iban", "Table I", "IBAN*"),
        baseline=("iban", "Table II", "Baseline"),
    ),
    Idea(
        "IBAN's easy samples (ESB)",
        row=("iban", "Table II", "Baseline+ESB"),
        baseline=("iban", "Table II", "Baseline"),
    ),
    Idea(
        "a third stream of one channel (CAJ)",
        row=("di2l", "Table 2", "Baseline"),
        baseline=AGW,
    ),
    Idea("AGW (attention, pooling, triplet)", row=AGW, baseline=PLAIN),
    Idea(
        "CAJ's triplet squared, not AGW's",
        row=("di2l", "Readings", "Baseline, triplet squared"),
        baseline=("di2l", "Table 2", "Baseline"),
    ),
    Idea(
        "DI2L's parts (DPA)",
        row=("di2l", "Table 2", "Baseline+DPA"),
        baseline=("di2l", "Table 2", "Baseline"),
    ),
    Idea(
        "DI2L's parts, all stripes kept",
        row=("di2l", "Readings", "DPA of unit vectors, Baseline+DPA"),
        baseline=("di2l", "Table 2", "Baseline"),
        note="unit vectors are ours",
    ),
    Idea(
        "MITML's memory (T)",
        row=("mitml", "Table 2", "Baseline + T"),
        baseline=("mitml", "Table 2", "Baseline"),
    ),
    Idea(
        "MITML's adversary (M)",
        row=("mitml", "Table 2", "Baseline + M"),
        baseline=("mitml", "Table 2", "Baseline"),
    ),
    Idea(
        "SADSTRM's defence (ADM)",
        row=("sadstrm", "Table 1", "Baseline+ADM"),
        baseline=("sadstrm", "Table 1", "Baseline"),
    ),
    Idea(
        "SADSTRM's stripes (FRM-STIG)",
        row=("sadstrm", "Table 1", "Baseline+FRM-STIG"),
        baseline=("sadstrm", "Table 1", "Baseline"),
    ),
    Idea(
        "four frames in place of one",
        row=("baseline", "Fig. 6", "n=4"),
        baseline=("baseline", "Fig. 6", "n=1"),
    ),
    Idea(
        "eight frames in place of four",
        row=("baseline", "Fig. 6", "n=8"),
        baseline=("baseline", "Fig. 6", "n=4"),
    ),
)


def everything() -> list[Idea]:
    """List `IDEAS`, and every method as a whole against its own baseline."""
    whole = []
    for title, name in across_methods.names().items():
        if name != across_methods.BASE:
            row = (name, *methods.module(name).MAIN)
            baseline = across_methods.baseline_of(name)
            whole.append(Idea(title + WHOLE, row, baseline))
    return [*IDEAS, *whole]
