"""What helps: every idea of the book against the same network without it.

The list of ideas is `vvi.book.ideas`. Verdicts, tables and sentences follow from stored
results. None of them is written by hand.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vvi import experiment
from vvi.book import comparison, formats, ideas, lengths, rates, tuned
from vvi.book.ideas import IDEAS, WHOLE, Row
from vvi.book.scene import Scene
from vvi.data import synthetic
from vvi.data.synthetic import claims
from vvi.evaluation.probes import Score, paired_runs
from vvi.evaluation.rerank import rerank
from vvi.experiment import Result, ablation, method_switches
from vvi.experiment.collapse import has_collapsed
from vvi.experiment.result import UNLIKE_PRECISION
from vvi.metrics import from_similarity, retrieval_metrics
from vvi.plots import intervals, style, tables
from vvi.runtime import paths
from vvi.types import DIRECTIONS

__all__ = ["IDEAS"]

#: A row is under-trained where its identity loss ends this far above the other row's.
LOSS_EXCESS = 0.5
#: Steps at the end of training whose identity loss counts.
LAST_STEPS = 50
#: Ideas that the first sentence and the caption name at most.
NAMED = 4
FILE = "helps.csv"
FIGURE = "comparison/what_helps"
ALT = "Rank-1 without and with each idea, and the difference with its interval."
COLUMNS = ["idea", "direction", "without", "with", "points", "low", "high", "seeds"]
COLUMNS += ["verdict", "note", "runs"]
#: How a line of the file begins that holds a level, not an idea.
LEVEL = "level: "


def measure(
    scene: Scene | None = None,
    size: str = "standard",
    seeds: Sequence[int] = ablation.SEEDS,
    **run: Any,
) -> pd.DataFrame:
    """Measure every idea whose two rows have stored results.

    Args:
        scene: the data, for intervals over people and seeds. None leaves them out.
        size: preset of the runs.
        seeds: runs of an idea. Those that both rows have are used.
        **run: arguments of `experiment.run`.

    Returns:
        A line for each idea and direction, with the columns `COLUMNS`. Where a row has
        no stored result, `seeds` is 0 and the numbers are missing.
    """
    lines: list[dict[str, Any]] = []
    by_hash: dict[str, Result] = {}
    for idea in ideas.everything():
        with_it = _results(idea.row, size, seeds, run, by_hash)
        without = _results(idea.baseline, size, seeds, run, by_hash)
        if comparison.have_common_seed(with_it, without):
            pair = comparison.of_common_seeds(with_it, without)
            lines += _lines(idea, *pair, scene)
        else:
            lines += _untrained_lines(idea)
    return pd.DataFrame(lines, columns=COLUMNS)


def _results(
    row: Row,
    size: str,
    seeds: Sequence[int],
    run: Mapping[str, Any],
    by_hash: dict[str, Result],
) -> list[Result]:
    """Collect the runs of a row, each hash once: many rows share their baseline.

    Args:
        row: method, table and label.
        size: preset of the runs.
        seeds: of the runs.
        run: arguments of `experiment.run`.
        by_hash: results that are there already. New ones are added to it.
    """
    method, table, label = row
    configs = ablation.row_configs(method, table, label, size, seeds)
    if ablation.reads_records(size, run):
        configs = [config for config in configs if not ablation.missing([config])]
    for config in configs:
        if config.hash not in by_hash:
            by_hash[config.hash] = experiment.run(config, **run)
    return [by_hash[config.hash] for config in configs]


def _untrained_lines(idea: ideas.Idea) -> list[dict[str, Any]]:
    """Return the lines of an idea without stored results, one for each direction."""
    line = {"idea": idea.name, "seeds": 0, "verdict": comparison.UNTRAINED}
    line |= {"note": idea.note, "runs": ""}
    return [line | {"direction": direction} for direction in DIRECTIONS]


def _lines(
    idea: ideas.Idea,
    with_it: Sequence[Result],
    without: Sequence[Result],
    scene: Scene | None,
) -> list[dict[str, Any]]:
    """Return the lines of a trained idea, one for each direction.

    Args:
        idea: which it is.
        with_it: runs of its row.
        without: runs of its baseline, of the same seeds.
        scene: the data, for the interval and the verdict.
    """
    notes = list(filter(None, [idea.note, note(with_it, without)]))
    lines = []
    for direction in with_it[0].record.scores:
        before, after = _rank1(without, direction), _rank1(with_it, direction)
        line = {"idea": idea.name, "direction": direction}
        line |= {"without": before, "with": after, "points": after - before}
        line |= {"seeds": len(with_it), "note": ", ".join(notes)}
        line["runs"] = " ".join(r.run_id for r in [*with_it, *without])
        if scene is not None:
            score = comparison.difference(with_it, without, scene, direction=direction)
            line |= {"low": score.low, "high": score.high}
            line["verdict"] = comparison.verdict(score)
        lines.append(line)
    return lines


def _rank1(runs: Sequence[Result], direction: str) -> float:
    """Return the mean rank-1 of some runs in per cent."""
    return float(np.mean([r.row(direction)["rank1"] for r in runs]))


def note(with_it: Sequence[Result], without: Sequence[Result]) -> str:
    """Say what stands against reading a difference as the worth of an idea."""
    notes = _unequal_training(with_it, without)
    if any(map(has_collapsed, with_it)):
        notes.append("collapsed")
    if any(map(has_collapsed, without)):
        notes.append("collapsed without it")
    if min(len(with_it), len(without)) == 1:
        notes.append("one seed")
    if comparison.of_unlike_precision(with_it, without):
        notes.append(UNLIKE_PRECISION)
    return ", ".join(notes)


def _unequal_training(
    with_it: Sequence[Result], without: Sequence[Result]
) -> list[str]:
    """Say which row is under-trained, where the losses of both are of one kind."""
    if _kind_of_identity_loss(with_it) != _kind_of_identity_loss(without):
        return []
    excess = identity_loss(with_it) - identity_loss(without)
    if abs(excess) <= LOSS_EXCESS:
        return []
    return ["under-trained" if excess > 0 else "under-trained without it"]


def _kind_of_identity_loss(runs: Sequence[Result]) -> str:
    """Return "ce", cross-entropy, or what a method has in its place ("focal")."""
    return getattr(method_switches.effective(runs[0].config), "id_loss", "ce")


def identity_loss(runs: Sequence[Result]) -> float:
    """Average the identity loss over last steps, active phases and runs."""
    return float(np.mean([_identity_loss(result) for result in runs]))


def _identity_loss(result: Result) -> float:
    """Return the identity loss at the end of a run, mean over the active phases."""
    ends = []
    for name, values in result.history.items():
        last = np.asarray(values, float)[-LAST_STEPS:]
        if name.endswith("/id") and np.isfinite(last).any():
            ends.append(np.nanmean(last))
    return float(np.mean(ends))


class Groups(NamedTuple):
    """Names of ideas by what was seen of them."""

    #: Seen to help in every direction, the largest gain first.
    seen: list[str]
    #: Seen to harm in every direction.
    opposite: list[str]
    #: Neither.
    others: list[str]


def split(table: pd.DataFrame) -> Groups:
    """Group the ideas of `measure` by what was seen, without untrained ones."""
    by_idea = table[table.seeds > 0].groupby("idea", sort=False)
    gain = by_idea.points.mean().sort_values(ascending=False, kind="stable")
    groups = Groups([], [], [])
    for name in gain.index:
        verdicts = set(by_idea.get_group(name).verdict)
        if verdicts == {"seen"}:
            groups.seen.append(name)
        elif verdicts == {"the opposite"}:
            groups.opposite.append(name)
        else:
            groups.others.append(name)
    return groups


def levels(scene: Scene) -> dict[str, float]:
    """Return rank-1 of chance, and of known factors alone, in per cent.

    Returns:
        Name -> per cent. It is empty where the factors of the people are not known.
    """
    if not scene.known:
        return {}
    factors = synthetic.read_factors(scene.dataset.root)
    rank1 = claims.oracle_claims(factors[factors.split == "test"], seed=0)
    names = {"chance": "oracle_chance", "gait alone": "oracle_gait_rank1"}
    names |= {"looks alone": "oracle_appearance_rank1", "both": "oracle_both_rank1"}
    return {name: 100 * rank1[key] for name, key in names.items()}


def draw(
    table: pd.DataFrame, levels: Mapping[str, float], label: str = "synthetic"
) -> Figure:
    """Draw every trained idea: rank-1 without and with it, and the difference.

    Args:
        table: of `measure`.
        levels: of this module's `levels`.
        label: what the data are called.
    """
    seen, opposite, others = split(table)
    rows = {}
    for name in [*seen, *others, *opposite]:
        lines = table[table.idea == name]
        numbers = lines[["without", "with", "low", "high"]]
        marks = numbers.itertuples(index=False, name=None)
        rows[name] = dict(zip(lines.direction, marks, strict=True))
    return intervals.draw(rows, levels, _caption(table, label))


def _caption(table: pd.DataFrame, label: str) -> str:
    """Say how many ideas were seen to help, which most, and what the marks mean."""
    seen, opposite, others = split(table)
    seen = _by_gain_of_infrared(table, seen)
    trained = len(seen) + len(opposite) + len(others)
    known = table.direction.unique()
    where = "in both directions" if len(known) > 1 else f"({known[0]} alone)"
    finding = f"Of {trained} ideas {len(seen)} are seen to help {where}"
    if seen:
        best = _line(table, seen[0])
        gain = f"{points(best)} points of rank-1"
        finding += f", most {seen[0]}: {gain}, ir2vis"
    harms = [_with_collapse(table, name) for name in opposite]
    weak = [name for name in seen if "under-trained" in _line(table, name).note]
    if weak:
        finding += f" (one of the two rows is under-trained in: {'; '.join(weak)})"
    finding += f". Seen to harm: {formats.joined(harms) or 'none'}."
    marks = "Filled: with the idea; hollow: without; bars: 95 % over people and seeds."
    return f"{finding} {marks} {label.capitalize()} data."


def _with_collapse(table: pd.DataFrame, name: str) -> str:
    """Return the name of an idea, and whether its runs collapsed."""
    collapsed = "collapsed" in _line(table, name).note
    return f"{name} (collapsed)" if collapsed else name


def figure(
    table: pd.DataFrame, levels: Mapping[str, float], label: str = "synthetic"
) -> Figure:
    """Draw the ideas and save the figure with the runs behind it.

    Args:
        table: of `measure`.
        levels: of this module's `levels`.
        label: what the data are called.
    """
    fig = draw(table, levels, label)
    runs = dict.fromkeys(" ".join(table.runs).split())
    style.save(fig, FIGURE, run=list(runs), alt=ALT, data=label)
    return fig


def shown(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Build one line for each of some ideas, ready for a page: text with intervals."""
    lines = {}
    for name in names:
        of_idea = table[table.idea == name].set_index("direction")
        lines[name] = {
            "rank-1 without": _joined_rank1(of_idea["without"]),
            "rank-1 with": _joined_rank1(of_idea["with"]),
        }
        for direction, line in of_idea.iterrows():
            lines[name][f"points, {direction} (95 %)"] = points(line)
        lines[name]["seeds"] = str(of_idea.seeds.iloc[0])
        lines[name]["note"] = of_idea.note.iloc[0] or "–"
    return pd.DataFrame(lines).T.rename_axis("idea")


def _joined_rank1(values: pd.Series) -> str:
    return " / ".join(f"{value:.1f}" for value in values)


def points(line: Any) -> str:
    """Return the difference of a line of `measure` with its interval, as text."""
    return formats.points(Score(line["points"], line["low"], line["high"], 0.0, 0))


def unseen(table: pd.DataFrame) -> pd.DataFrame:
    """Show what was not seen to help, and why: one line for each such idea."""
    _, opposite, others = split(table)
    lines = {}
    for name in [*others, *opposite]:
        of_idea = table[table.idea == name]
        verdicts = [f"{r.direction} {r.verdict}" for r in of_idea.itertuples()]
        reason = _why_unseen(of_idea, harms=name in opposite)
        lines[name] = {"verdict": "; ".join(verdicts), "why": reason}
    return pd.DataFrame(lines).T.rename_axis("idea")


def _why_unseen(of_idea: pd.DataFrame, harms: bool) -> str:
    """Give the reasons why an idea was not seen to help.

    Args:
        of_idea: its lines of `measure`.
        harms: whether the opposite was seen in both directions.
    """
    reasons = [of_idea.note.iloc[0]] if of_idea.note.iloc[0] else []
    if not harms:
        half = ((of_idea.high - of_idea.low) / 2).max()
        people = "people only, one seed" if of_idea.seeds.max() == 1 else "95 %"
        reasons.append(f"half an interval: {half:.1f} points ({people})")
    return "; ".join(reasons) or "the interval lies below zero"


def reranked(runs: Sequence[Result], scene: Scene) -> dict[str, Any]:
    """Re-rank the embeddings that a record keeps: those of its first test people.

    Args:
        runs: the first one is used: records of later seeds keep no embeddings.
        scene: the data of the page.

    Returns:
        The line of a table: infrared queries, rank-1 before and after, the difference.
    """
    query = comparison.kept_clips(runs[0], scene, "ir")
    gallery = comparison.kept_clips(runs[0], scene, "vis")
    labels = (query.ids, gallery.ids, query.cameras, gallery.cameras)
    rule = scene.dataset.rule
    before = retrieval_metrics(query.feat, gallery.feat, *labels, rule=rule)
    similarity = -rerank(query.feat, gallery.feat)
    after = from_similarity(similarity, *labels, rule=rule)
    used = before.first_hit > 0
    hits = [100.0 * (m.first_hit[used] == 1) for m in (before, after)]
    score = paired_runs(hits[0][None], hits[1][None], groups=query.ids[used])
    return {
        "people": len(np.unique(query.ids)),
        "rank-1 before": f"{hits[0].mean():.1f}",
        "rank-1 after": f"{hits[1].mean():.1f}",
        "points (95 %)": formats.points(score),
        "verdict": comparison.verdict(score),
    }


def file() -> Path:
    """Return where the numbers of README and first page are kept."""
    return paths.records() / FILE


def save(table: pd.DataFrame, levels: Mapping[str, float]) -> None:
    """Write the ideas and the levels to `file`, to be committed."""
    extra = [{"idea": LEVEL + name, "with": value} for name, value in levels.items()]
    whole = pd.concat([table, pd.DataFrame(extra)], ignore_index=True)
    temporary = file().with_suffix(".part")
    whole.round(3).to_csv(temporary, index=False)
    os.replace(temporary, file())


def load() -> tuple[pd.DataFrame, dict[str, float]]:
    """Read ideas and levels as `save` wrote them. Without a file both are empty."""
    if not file().is_file():
        return pd.DataFrame(columns=COLUMNS), {}
    whole = pd.read_csv(file())
    is_level = whole.idea.str.startswith(LEVEL)
    names = whole.idea[is_level].str.removeprefix(LEVEL)
    levels = dict(zip(names, whole["with"][is_level], strict=True))
    table = whole[~is_level].reset_index(drop=True)
    table["seeds"] = table.seeds.astype(int)
    return table.fillna({"note": "", "runs": ""}), levels


def sentences(
    table: pd.DataFrame, levels: Mapping[str, float], label: str = "synthetic"
) -> list[str]:
    """Say what helps, by how much, and on what data, in three short paragraphs.

    Args:
        table: of `measure`.
        levels: of this module's `levels`.
        label: what the data are called.
    """
    data = "All numbers are of drawn (synthetic) people; they measure no real data set."
    if label != "synthetic":
        data = f"All numbers are of {label} data, of the folder that was given."
    baselines = [*_plain_baseline(table, levels), _whole_methods(table)]
    return [data, " ".join(_what_helps(table)), " ".join(baselines)]


def _what_helps(table: pd.DataFrame) -> list[str]:
    """Name the ideas that were seen to help most, with their gains."""
    seen = _by_gain_of_infrared(table, split(table).seen)
    if not seen:
        return ["Nothing was seen to help."]
    gains = [_named_gain(_line(table, name)) for name in seen]
    first = _line(table, seen[0])
    interval = f"{first['low']:+.1f} to {first['high']:+.1f}"
    named = formats.joined(gains[:NAMED], "; ")
    return [
        "Rank-1 is the share of queries whose first match is the right person.",
        f"What helps infrared queries most, in points of rank-1: {named}.",
        f"The 95 % interval of the first is {interval}.",
    ]


def _named_gain(line: pd.Series) -> str:
    """Return "idea +1.2", and what stands against reading it as the idea's worth."""
    weak = [note for note in line.note.split(", ") if "under-trained" in note]
    return f"{line.idea} {line.points:+.1f}" + f" ({', '.join(weak)})" * bool(weak)


def _by_gain_of_infrared(table: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """Sort ideas by what they add for infrared queries, the largest gain first."""
    return sorted(names, key=lambda name: -_line(table, name)["points"])


def _plain_baseline(table: pd.DataFrame, levels: Mapping[str, float]) -> list[str]:
    """Say what rank-1 the plain baseline has, beside levels known for comparison."""
    plain = _network(ideas.PLAIN)
    added = [idea for idea in ideas.everything() if _network(idea.baseline) == plain]
    names = [idea.name for idea in added]
    lines = table[table.idea.isin(names) & (table.direction == "ir2vis")]
    lines = lines[lines.seeds > 0].sort_values("seeds", kind="stable")
    rank1 = "no stored run"
    if len(lines):
        rank1 = f"rank-1 {lines['without'].iloc[-1]:.1f} %"
    marks = [f"{name} {value:.1f} %" for name, value in levels.items()]
    others = [f"For comparison: {', '.join(marks)}."] if marks else []
    return [f"The plain baseline has {rank1}.", *others]


def _network(row: Row) -> str:
    """Return what rows of one network share under different labels: a hash."""
    (config,) = ablation.row_configs(*row, seeds=[0])
    return config.hash


def _whole_methods(table: pd.DataFrame) -> str:
    """Say which methods as a whole end above, beside or below their own baselines."""
    seen, opposite, others = split(table)
    groups = {
        "above it": seen,
        "not told apart from it": others,
        "below it": opposite,
    }
    parts = []
    for words, names in groups.items():
        whole = [_with_seeds(table, name) for name in names if name.endswith(WHOLE)]
        parts.append(f"{words} {formats.joined(whole) or 'none'}")
    return (
        f"Each paper's method as a whole against its own baseline: {'; '.join(parts)}."
    )


def _with_seeds(table: pd.DataFrame, name: str) -> str:
    """Return the name of a method, and whether it has one run only."""
    method = name.removesuffix(WHOLE)
    return f"{method} (one seed)" if _line(table, name).seeds == 1 else method


def _line(table: pd.DataFrame, name: str) -> pd.Series:
    """Return the line of an idea for infrared queries."""
    return table[(table.idea == name) & (table.direction == "ir2vis")].iloc[0]


def block(figures: str) -> str:
    """Write the part of README and first page that follows from stored results.

    Args:
        figures: path of the folder of figures, from the page.
    """
    table, levels = load()
    if table.empty:
        return "No result is stored yet: `make records` trains them."
    picture = f"![{ALT}]({figures}/{FIGURE}.png)"
    lines = "\n".join(f"- {line}" for line in sentences(table, levels))
    foot = "Points of rank-1 with 95 % intervals over people and seeds; "
    foot += "*ir2vis* searches visible clips by an infrared one, *vis2ir* the reverse."
    foot += "\nAnaglyphs are relief images of the frames; IBAN's guidance trains with "
    foot += "them; CAJ adds clips that show one colour channel."
    foot += f"\n{_own_baselines()}"
    foot += "\nAn idea with fewer seeds is compared with these seeds of its baseline."
    foot += "\nUnder-trained: the identity loss of the row with the idea ends more "
    foot += f"than {LOSS_EXCESS} above that of the row without it; *without it*: the "
    foot += "reverse, so part of the gain is that the other row learned too little."
    notes = (tuned.sentence(tuned.logs()), rates.sentence(), lengths.sentence())
    for sentence in notes:
        foot += f"\n{sentence}" if sentence else ""
    shown = _markdown(table)
    if "collapsed" in shown:
        foot += "\nCollapsed: all clip vectors end as nearly one point, "
        foot += "so the row says nothing about its idea."
    return "\n\n".join([lines, picture, shown, foot])


def _own_baselines() -> str:
    """Say what the number before the arrow belongs to: each idea has its own."""
    return (
        "The number before the arrow is that of the idea's own baseline: that of DI2L "
        "is CAJ, that of CAJ's third stream is AGW, that of CMFT is the plain network "
        "on batches with two clips of a person, that of SADSTRM its row *Baseline*. "
        "The others start from the plain network. "
        "Lines are sorted by the mean gain of both directions."
    )


def _markdown(table: pd.DataFrame) -> str:
    """Write the ideas that were seen, and all whole methods, as a table in Markdown."""
    seen, opposite, others = split(table)
    whole = [name for name in [*others, *opposite] if name.endswith(WHOLE)]
    heads = ["idea (synthetic data)", "rank-1 ir2vis", "ir2vis", "vis2ir"]
    heads += ["seeds", "note"]
    rows = [heads, ["---"] * len(heads)]
    for name in [*seen, *whole]:
        of_idea = table[table.idea == name].set_index("direction")
        first = of_idea.loc["ir2vis"]
        cells = [name, f"{first['without']:.1f} → {first['with']:.1f}"]
        cells += [points(of_idea.loc[direction]) for direction in DIRECTIONS]
        cells[1:] = map(tables.unbroken, cells[1:])
        rows.append([*cells, str(first["seeds"]), first["note"] or "–"])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
