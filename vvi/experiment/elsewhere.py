"""Runs that were trained again on another processor: what the processor alone moves."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from vvi.experiment import ablation, store
from vvi.experiment.ablation import Check
from vvi.runtime import atomic, paths
from vvi.types import DIRECTIONS

#: What tells one line of the log from another.
KEY = ["run", "processor", "again on"]


def log_file() -> Path:
    """Return where the log is kept, beside the records."""
    return paths.records() / "processors.csv"


def read() -> pd.DataFrame:
    """Read the log, which is empty where nothing was trained again.

    Returns:
        A line a run and processor: run, row of a table, seed, processor of the record,
        processor of the second training, and rank-1 and mAP of both, in per cent.
    """
    file = log_file()
    return pd.read_csv(file) if file.is_file() else pd.DataFrame(columns=KEY)


def add(checks: Iterable[Check]) -> pd.DataFrame:
    """Add checks to the log, whole or not at all, and return the log.

    A second check of one run on one processor takes the place of the first. Checks on
    the processor of the record are left out: they are equal.
    """
    lines = [_line(check) for check in checks if not check.same_machine]
    if not lines:
        return read()
    with atomic.exclusive_lock(log_file()):  # or two that end at once lose a line
        log = pd.concat([read(), pd.DataFrame(lines)], ignore_index=True)
        log = log.astype({"seed": int}).drop_duplicates(KEY, keep="last")
        log = log.sort_values(KEY)
        text = log.to_csv(index=False, lineterminator="\n")
        atomic.write(log_file(), text.encode())
    return log


def sentence(run: str) -> str:
    """Say what a second training of a run gave, or that there was none.

    Args:
        run: id of the run.
    """
    lines = read()
    sentences = []
    for line in lines[lines.run == run].to_dict("records"):
        moves = []
        for direction in DIRECTIONS:
            before = line[f"{direction} rank1"]
            after = line[f"{direction} rank1, again"]
            moves.append(f"{direction} {before:.1f} → {after:.1f}")
        where = f"Trained again on {line['again on']}, seed {line['seed']}: rank-1"
        sentences.append(f"{where} {', '.join(moves)} %.")
    return (
        " ".join(sentences) or f"Run {run} was not trained again on another processor."
    )


def _line(check: Check) -> dict[str, object]:
    """Return the line of a check."""
    config = store.load_record(paths.records() / check.run_id).config
    before, now = check.processors
    line: dict[str, object] = {"run": check.run_id, "row": ablation.row_of(config)}
    line |= {"seed": config.seed, "processor": before, "again on": now}
    for name, stored in check.stored.items():
        line[name] = round(stored, 3)
        line[f"{name}, again"] = round(stored + check.difference[name], 3)
    return line
