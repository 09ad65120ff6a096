"""What equal tuning changed: trials on validation people, the winner on test people."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from vvi import experiment, methods
from vvi.book import formats
from vvi.book.across_methods import title
from vvi.book.scene import Scene
from vvi.config import RunConfig, change
from vvi.experiment import ablation, tune


def logs(scene: Scene | None = None) -> dict[str, pd.DataFrame]:
    """Read the stored trials, the best first: method -> its table of `tune.tune`.

    They are of drawn people: of a scene of real ones nothing is known.
    """
    tables = {}
    for method in methods.names() if scene is None or scene.known else ():
        file = tune.log_file(method)
        if file.is_file():
            tables[method] = pd.read_csv(file)
    return tables


def budget(tables: Iterable[pd.DataFrame]) -> int | None:
    """Return how many trials every method had, or None where the numbers differ."""
    counts = {len(table) for table in tables}
    return counts.pop() if len(counts) == 1 else None


def summary(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Set the one recipe beside the best trial of each method.

    Args:
        tables: of `logs`.

    Returns:
        One line a method: trials, the mean rank-1 of both directions on validation
        people of the main row and of the best trial, the knobs of that trial, and
        rank-1 (ir2vis) on test people of both where they are stored, seed 0.
    """
    lines = {}
    for method, table in tables.items():
        knobs = tune.best(method, table)
        main = table[table.trial == 0].score.iloc[0]
        line = {"trials": len(table), "validation, one recipe": f"{main:.1f}"}
        line["validation, best trial"] = f"{table.score.max():.1f}"
        line["its knobs"] = _words(knobs)
        line["test, ir2vis, one recipe"] = _on_test_people(_main(method))
        line["test, ir2vis, tuned"] = _on_test_people(tune.winner(method, table))
        lines[title(method)] = line
    note = "rank-1; validation: mean of both directions; synthetic, seed 0"
    return pd.DataFrame(lines).T.rename_axis(note)


def sentence(tables: dict[str, pd.DataFrame]) -> str:
    """Say what the best trials give on test people.

    Args:
        tables: of `logs`.

    Returns:
        Nothing where the methods had not equally many trials, or one of the best
        trials has no record.
    """
    count = budget(tables.values()) if tables else None
    configs = {m: tune.winner(m, table) for m, table in tables.items()}
    if count is None or ablation.missing(configs.values()):
        return ""
    rank1 = {}
    for method, config in configs.items():
        result = experiment.run(config, progress=False)
        rank1[title(method)] = result.row("ir2vis")["rank1"]
    ordered = sorted(rank1, key=lambda name: -rank1[name])
    named = formats.joined([f"{name} {rank1[name]:.1f}" for name in ordered])
    alone = [m for m, table in tables.items() if tune.best(m, table).get("parts") == 1]
    stripe = f", and {formats.joined([title(m) for m in alone])} is left with one "
    stripe += "stripe, so its part attention has nothing to choose from"
    return (
        f"The best of {count} trials of each method, chosen on validation people, has "
        f"this rank-1 on test people (ir2vis, one seed): {named}. "
        "Their settings are in the comparison of the methods"
        f"{stripe if alone else ''}."
    )


def _words(knobs: dict) -> str:
    """Return knobs as text, "lambda_tri=3, lr=x2": rates are factors of the recipe."""
    parts = []
    for name, value in knobs.items():
        sign = "x" if name in tune.COMMON else ""
        parts.append(f"{name}={sign}{value:.3g}")
    return ", ".join(parts) or "those of the one recipe"


def _main(method: str) -> RunConfig:
    """Return the main row of a method, which searches test people."""
    return change(tune.main_row(method), split="test")


def _on_test_people(config: RunConfig) -> str:
    """Return rank-1 (ir2vis) of a run, or a dash without a record."""
    if ablation.missing([config]):
        return "–"
    result = experiment.run(config, progress=False)
    return f"{result.row('ir2vis')['rank1']:.1f}"
