"""What helps: every idea of the book against the same network without it.

One list of comparisons stands behind the chapter that compares the methods, the README
and the first page of the book. Verdicts follow from stored results; none is written by
hand.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vvi import experiment, methods
from vvi.book import across_methods, comparison
from vvi.book.figures import Scene
from vvi.data import synthetic
from vvi.data.synthetic import claims
from vvi.evaluation.probes import paired_runs
from vvi.evaluation.rerank import rerank
from vvi.experiment import Result, ablation
from vvi.metrics import from_similarity, retrieval_metrics
from vvi.plots import intervals, style
from vvi.runtime import paths

Row = tuple[str, str, str]  # method, table, row
BASE: Row = ("baseline", "Table 2", "Baseline")
UNDER = 0.5  # identity loss above that of its baseline: a row is called under-trained
LAST = 50  # steps over which an identity loss is read
FILE = "helps.csv"
FIGURE = "comparison/what_helps"
ALT = "Rank-1 without and with each idea, and the difference with its interval."
COLUMNS = ["idea", "direction", "without", "with", "points", "low", "high", "seeds"]
COLUMNS += ["verdict", "note", "runs"]


class Comparison(NamedTuple):
    """An idea, the row that has it and the row that does not."""

    idea: str
    ours: Row
    theirs: Row


def _of_iban(row: str, table: str = "Table II") -> Row:
    return "iban", table, row


IDEAS = (
    Comparison(
        "anaglyphs in place of frames",
        _of_iban("anaglyphs", "Fig. 1"),
        _of_iban("frames", "Fig. 1"),
    ),
    Comparison(
        "IBAN's guidance, losses as released",
        _of_iban("Baseline+IG"),
        _of_iban("Baseline"),
    ),
    Comparison(
        "IBAN's guidance, literal losses",
        _of_iban("literal, Baseline+IG", "Readings"),
        _of_iban("Baseline"),
    ),
    Comparison(
        "IBAN's frame weights (BSTA)", _of_iban("Baseline+BSTA"), _of_iban("Baseline")
    ),
    Comparison(
        "IBAN's easy samples (ESB)", _of_iban("Baseline+ESB"), _of_iban("Baseline")
    ),
    Comparison(
        "channel augmentation (CAJ), unsquared triplet",
        ("di2l", "Table 2", "Baseline"),
        BASE,
    ),
    Comparison(
        "channel augmentation (CAJ), squared triplet",
        ("di2l", "Readings", "Baseline, triplet squared"),
        BASE,
    ),
    Comparison(
        "DI2L's parts (DPA)",
        ("di2l", "Table 2", "Baseline+DPA"),
        ("di2l", "Table 2", "Baseline"),
    ),
    Comparison(
        "MITML's memory (T)",
        ("mitml", "Table 2", "Baseline + T"),
        ("mitml", "Table 2", "Baseline"),
    ),
    Comparison(
        "MITML's adversary (M)",
        ("mitml", "Table 2", "Baseline + M"),
        ("mitml", "Table 2", "Baseline"),
    ),
    Comparison(
        "SADSTRM's defence (ADM)",
        ("sadstrm", "Table 1", "Baseline+ADM"),
        ("sadstrm", "Table 1", "Baseline"),
    ),
    Comparison(
        "SADSTRM's stripes (FRM-STIG)",
        ("sadstrm", "Table 1", "Baseline+FRM-STIG"),
        ("sadstrm", "Table 1", "Baseline"),
    ),
    Comparison(
        "four frames in place of one",
        ("baseline", "Fig. 6", "n=4"),
        ("baseline", "Fig. 6", "n=1"),
    ),
    Comparison(
        "eight frames in place of four",
        ("baseline", "Fig. 6", "n=8"),
        ("baseline", "Fig. 6", "n=4"),
    ),
)


def comparisons() -> list[Comparison]:
    """List `IDEAS`, and every method as a whole against its own baseline."""
    whole = []
    for title, name in across_methods.names().items():
        if name != across_methods.BASE:
            ours = (name, *methods.module(name).MAIN)
            whole.append(
                Comparison(all_of(title), ours, across_methods.baseline_of(name))
            )
    return [*IDEAS, *whole]


def all_of(title: str) -> str:
    """What tables call a method with all of its parts."""
    return f"{title} as a whole"


def measure(
    view: Scene | None = None,
    size: str = "standard",
    seeds: Sequence[int] = (0, 1, 2),
    **run: Any,
) -> pd.DataFrame:
    """Measure every comparison whose two rows have stored results.

    Args:
        view: the data, for intervals over people and seeds; without it there are none.
        size: preset of the runs.
        seeds: runs of a comparison; those that both rows have are used.
        **run: arguments of `experiment.run`.

    Returns:
        A line for each comparison and direction, with the columns `COLUMNS`; `seeds` is
        0 and the numbers are missing where a row has no stored result.
    """
    lines = []
    known: dict[str, Result] = {}
    for idea, *rows in comparisons():
        sides = [_results(row, size, seeds, run, known) for row in rows]
        lines += _lines(idea, *comparison.of_common_seeds(*sides), view)
    return pd.DataFrame(lines, columns=COLUMNS)


def _results(
    row: Row,
    size: str,
    seeds: Sequence[int],
    run: Mapping[str, Any],
    known: dict[str, Result],
) -> list[Result]:
    """Collect the runs of a row, each hash once: many rows share their baseline."""
    method, table, label = row
    wanted = ablation.configs(method, table, size, seeds)[label]
    if ablation.reads_records(size, run):
        wanted = [c for c in wanted if not ablation.missing([c])]
    for config in wanted:
        if config.hash not in known:
            known[config.hash] = experiment.run(config, **run)
    return [known[config.hash] for config in wanted]


def _lines(
    idea: str, ours: Sequence[Result], theirs: Sequence[Result], view: Scene | None
) -> list[dict[str, Any]]:
    if not ours or not theirs:
        absent = {"seeds": 0, "verdict": comparison.UNTRAINED, "note": "", "runs": ""}
        return [{"idea": idea, "direction": d} | absent for d in ("ir2vis", "vis2ir")]
    lines = []
    for direction in ours[0].record.scores:
        means = [_rank1(side, direction) for side in (theirs, ours)]
        line = {"idea": idea, "direction": direction}
        line |= {"without": means[0], "with": means[1], "points": means[1] - means[0]}
        line |= {"seeds": len(ours), "note": note(ours, theirs)}
        line["runs"] = " ".join(r.run_id for r in [*ours, *theirs])
        if view is not None:
            score = comparison.difference(ours, theirs, view, direction=direction)
            line |= {"low": score.low, "high": score.high}
            line["verdict"] = comparison.verdict(score)
        lines.append(line)
    return lines


def _rank1(runs: Sequence[Result], direction: str) -> float:
    return float(np.mean([r.row(direction)["rank1"] for r in runs]))


def note(ours: Sequence[Result], theirs: Sequence[Result]) -> str:
    """Say what stands against reading a difference as the worth of an idea."""
    excess = identity_loss(ours) - identity_loss(theirs)
    notes = ["under-trained"] if excess > UNDER else []
    if min(len(ours), len(theirs)) == 1:
        notes.append("one seed")
    return ", ".join(notes)


def identity_loss(runs: Sequence[Result]) -> float:
    """Average the identity loss over last steps, active terms and runs."""
    values = []
    for result in runs:
        last = [
            np.asarray(history, float)[-LAST:]
            for name, history in result.history.items()
            if name.endswith("/id")
        ]
        active = [np.nanmean(v) for v in last if np.isfinite(v).any()]
        values.append(np.mean(active))
    return float(np.mean(values))


def split(table: pd.DataFrame) -> tuple[list[str], list[str], list[str]]:
    """Sort ideas: seen in every direction, the opposite in every one, and the others.

    Ideas without a stored result are in none of the three. Those that are seen come in
    the order of what they add.
    """
    trained = table[table.seeds > 0]
    groups = trained.groupby("idea", sort=False)
    words = {idea: set(group.verdict) for idea, group in groups}
    gain = groups.points.mean()
    order = sorted(words, key=lambda idea: -gain[idea])
    seen = [idea for idea in order if words[idea] == {"seen"}]
    opposite = [idea for idea in order if words[idea] == {"the opposite"}]
    others = [idea for idea in order if idea not in {*seen, *opposite}]
    return seen, opposite, others


def levels(view: Scene) -> dict[str, float]:
    """Rank-1 of chance, and of who knows one kind of factor alone, in per cent."""
    if not view.known:
        return {}
    factors = synthetic.read_factors(view.dataset.root)
    found = claims.oracle_claims(factors[factors.split == "test"], seed=0)
    names = {"chance": "oracle_chance", "gait alone": "oracle_gait_rank1"}
    names |= {"looks alone": "oracle_appearance_rank1", "both": "oracle_both_rank1"}
    return {name: 100 * found[key] for name, key in names.items()}


def draw(
    table: pd.DataFrame, known: Mapping[str, float], label: str = "synthetic"
) -> Figure:
    """Draw every trained comparison: rank-1 without and with, and the difference."""
    seen, opposite, others = split(table)
    ranked = [*seen, *others, *opposite]
    rows = {idea: _marks(table[table.idea == idea]) for idea in ranked}
    caption = f"Rank-1 on {label} data. Filled: with the idea; hollow: without."
    return intervals.draw(rows, known, caption)


def figure(
    table: pd.DataFrame, known: Mapping[str, float], label: str = "synthetic"
) -> Figure:
    """Draw the comparisons and save the figure with the runs behind it."""
    fig = draw(table, known, label)
    runs = dict.fromkeys(run for line in table.runs for run in line.split())
    style.save(fig, FIGURE, run=list(runs), alt=ALT, data=label)
    return fig


def _marks(of: pd.DataFrame) -> dict[str, tuple[float, float, float, float]]:
    numbers = of[["without", "with", "low", "high"]].itertuples(index=False, name=None)
    return dict(zip(of.direction, numbers, strict=True))


def shown(table: pd.DataFrame, ideas: Sequence[str]) -> pd.DataFrame:
    """One line for each idea, ready for a page: text with intervals."""
    found = {}
    for idea in ideas:
        of = table[table.idea == idea].set_index("direction")
        found[idea] = {"rank-1 without": _beside(of.without)}
        found[idea]["rank-1 with"] = _beside(of["with"])
        for direction, line in of.iterrows():
            found[idea][f"points, {direction} (95 %)"] = points(line)
        found[idea]["seeds"] = str(of.seeds.iloc[0])
        found[idea]["note"] = of.note.iloc[0] or "–"
    return pd.DataFrame(found).T.rename_axis("idea")


def _beside(values: pd.Series) -> str:
    return " / ".join(f"{v:.1f}" for v in values)


def points(line: Any) -> str:
    """A difference with its interval, as text."""
    return f"{line['points']:+.1f} ({line['low']:+.1f} to {line['high']:+.1f})"


def unseen(table: pd.DataFrame) -> pd.DataFrame:
    """What was not seen, and why: one line for each idea that has no clear answer."""
    _, opposite, others = split(table)
    found = {}
    for idea in [*others, *opposite]:
        of = table[table.idea == idea]
        verdicts = "; ".join(f"{r.direction} {r.verdict}" for r in of.itertuples())
        found[idea] = {"verdict": verdicts, "why": _why(of, idea in opposite)}
    return pd.DataFrame(found).T.rename_axis("idea")


def _why(of: pd.DataFrame, harms: bool) -> str:
    half = ((of.high - of.low) / 2).max()
    reasons = [of.note.iloc[0]] if of.note.iloc[0] else []
    if not harms:
        reasons.append(f"nothing below {half:.1f} points can be seen with these runs")
    return "; ".join(reasons) or "the interval lies below zero"


def reranked(runs: Sequence[Result], view: Scene) -> dict[str, Any]:
    """Re-rank the embeddings that a record keeps: those of its first test people.

    Args:
        runs: the first one is used: records of later seeds keep no embeddings.
        view: the data of the page.

    Returns:
        The line of a table: infrared queries, rank-1 before and after, the difference.
    """
    arrays = runs[0].arrays
    sides = []
    for name, side in zip(("query", "gallery"), view.sides("ir2vis"), strict=True):
        clips = [side[i] for i in arrays[f"shown/{name}_rows"]]
        feat = arrays[f"shown/{name}_feat"].astype(np.float32)
        ids = np.array([t.identity for t in clips])
        sides.append((feat, ids, np.array([t.camera for t in clips])))
    (query, ids, cams), (gallery, gallery_ids, gallery_cams) = sides
    labels = (ids, gallery_ids, cams, gallery_cams)
    rule = view.dataset.rule
    before = retrieval_metrics(query, gallery, *labels, rule=rule)
    after = from_similarity(-rerank(query, gallery), *labels, rule=rule)
    used = before.first_hit > 0
    hits = [100.0 * (m.first_hit[used] == 1) for m in (before, after)]
    score = paired_runs(hits[0][None], hits[1][None], groups=ids[used])
    line = {"people": len(np.unique(ids)), "rank-1 before": f"{hits[0].mean():.1f}"}
    line["rank-1 after"] = f"{hits[1].mean():.1f}"
    line["points (95 %)"] = (
        f"{score.value:+.1f} ({score.low:+.1f} to {score.high:+.1f})"
    )
    return line | {"verdict": comparison.verdict(score)}


def file() -> Path:
    """Where the numbers of README and first page are kept."""
    return paths.records() / FILE


def save(table: pd.DataFrame, known: Mapping[str, float]) -> None:
    """Write the comparisons and the levels to `file`, to be committed."""
    extra = [{"idea": f"level: {k}", "with": v} for k, v in known.items()]
    whole = pd.concat([table, pd.DataFrame(extra)], ignore_index=True)
    temporary = file().with_suffix(".part")
    whole.round(3).to_csv(temporary, index=False)
    os.replace(temporary, file())


def load() -> tuple[pd.DataFrame, dict[str, float]]:
    """Read comparisons and levels as `save` wrote them, or two empty tables."""
    if not file().is_file():
        return pd.DataFrame(columns=COLUMNS), {}
    whole = pd.read_csv(file())
    level = whole.idea.str.startswith("level: ")
    names = whole.idea[level].str.removeprefix("level: ")
    known = dict(zip(names, whole["with"][level], strict=True))
    table = whole[~level].reset_index(drop=True)
    table["seeds"] = table.seeds.astype(int)
    return table.fillna({"note": "", "runs": ""}), known


def sentences(table: pd.DataFrame, known: Mapping[str, float]) -> list[str]:
    """Say in three sentences what helps, by how much, and on what data."""
    seen, opposite, others = split(table)
    first = _of(table, seen[0]) if seen else None
    helps = [f"{idea} ({_of(table, idea)['points']:+.1f} points)" for idea in seen[:4]]
    said = "Nothing was seen to help"
    if first is not None:
        said = f"What helps on infrared queries: {joined(helps)}"
        low, high = first["low"], first["high"]
        said += f"; the 95 % interval of the first is {low:+.1f} to {high:+.1f}"
    start = table[(table.idea == IDEAS[0].idea) & (table.direction == "ir2vis")]
    base = f"{start.without.iloc[0]:.1f} %" if start.seeds.iloc[0] else "no stored run"
    marks = [f"{name} {value:.1f} %" for name, value in known.items()]
    whole = [i for i in [*seen, *opposite, *others] if i.endswith("as a whole")]
    above = [i.removesuffix(" as a whole") for i in whole if i in seen]
    below = [i.removesuffix(" as a whole") for i in whole if i not in seen]
    return [
        "All numbers are of drawn (synthetic) people: they say which ideas work where "
        "every factor is known, and measure nothing on HITSZ-VCM.",
        f"{said}.",
        f"The plain baseline has rank-1 {base} (known for comparison: "
        f"{', '.join(marks) or 'nothing'}); of the papers' methods as a whole, "
        f"{joined(above) or 'none'} {'is' if len(above) < 2 else 'are'} seen to beat "
        f"the own baseline, {joined(below) or 'none'} "
        f"{'is' if len(below) < 2 else 'are'} not.",
    ]


def _of(table: pd.DataFrame, idea: str) -> Any:
    lines_of = table[(table.idea == idea) & (table.direction == "ir2vis")]
    return lines_of.iloc[0]


def joined(words: Sequence[str]) -> str:
    """Join words as a sentence does: "a, b and c"."""
    *early, last = words or [""]
    return f"{', '.join(early)} and {last}" if early else last


def block(figures: str) -> str:
    """Write the part of README and first page that follows from stored results.

    Args:
        figures: path of the folder of figures, from the page.
    """
    table, known = load()
    if table.empty:
        return "No result is stored yet: `make records` trains them."
    seen, opposite, others = split(table)
    whole = [i for i in [*others, *opposite] if i.endswith("as a whole")]
    heads = ["idea (synthetic data)", "rank-1 ir2vis", "ir2vis", "vis2ir", "seeds"]
    rows = [heads, ["---"] * len(heads)]
    for idea in [*seen, *whole]:
        of = table[table.idea == idea].set_index("direction")
        start = of.loc["ir2vis"]
        cells = [idea, f"{start['without']:.1f} → {start['with']:.1f}"]
        cells += [points(of.loc[d]) for d in ("ir2vis", "vis2ir")]
        rows.append([*cells, str(start["seeds"])])
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
    picture = f"![{ALT}]({figures}/{FIGURE}.png)"
    said = "\n".join(sentences(table, known))
    foot = "Points of rank-1 with 95 % intervals over people and seeds."
    return "\n\n".join([said, picture, text, foot])
