"""Which paper is right about what: each claim, its evidence and ours, in one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from vvi import experiment
from vvi.book import comparison, dose_response, formats, published
from vvi.book.scene import Scene
from vvi.experiment import Result, ablation

#: Claim in a world -> (world, component of it).
World = tuple[str, str]
UNPRINTED = "–"
#: The data set of a printed number where nothing else is said.
USUAL = "HITSZ-VCM"


@dataclass(frozen=True)
class PaperClaim:
    """A statement of a paper that one row of a table lies above another."""

    #: Module of the method, whose file of published numbers has the same name.
    paper: str
    #: The claim in a few words.
    words: str
    #: Table of the paper and of `ABLATIONS`.
    table: str
    #: Label of the row with the idea.
    row: str
    #: Label of the row without it.
    base: str
    #: Component of a world that doses the cue, where one does.
    world: World | None = None


#: In the order of the papers and of their tables.
CLAIMS = (
    PaperClaim(
        "mitml",
        "a modality game makes features modality-free (M)",
        "Table 2",
        "Baseline + M",
        "Baseline",
        ("gap", "modality game (MITML, M)"),
    ),
    PaperClaim(
        "mitml",
        "a temporal memory helps (T)",
        "Table 2",
        "Baseline + T",
        "Baseline",
        ("time", "memory (MITML, T)"),
    ),
    PaperClaim(
        "mitml",
        "the order of frames counts",
        "Table 2",
        "Full method",
        "Full method S (shuffled frames)",
    ),
    PaperClaim(
        "mitml",
        "three classes beat the game of UCDA",
        "Table 3",
        "Our method",
        "UCDA strategy",
    ),
    PaperClaim(
        "mitml", "all parts together help", "Table 2", "Full method", "Baseline"
    ),
    PaperClaim(
        "iban",
        "anaglyphs guide features over the gap (IG)",
        "Table II",
        "Baseline+IG",
        "Baseline",
        ("gap", "anaglyphs as guides (IBAN, IG)"),
    ),
    PaperClaim(
        "iban",
        "guidance needs the reconstruction loss",
        "Table II",
        "Baseline+IG",
        "Baseline+IG^-r",
    ),
    PaperClaim(
        "iban",
        "weights of frames leave out bad ones (BSTA)",
        "Table II",
        "Baseline+BSTA",
        "Baseline",
        ("bad-frames", "weights of frames (IBAN, BSTA)"),
    ),
    PaperClaim(
        "iban",
        "weights of frames help on top of the other parts (BSTA)",
        "Table I",
        "IBAN",
        "IBAN*",
    ),
    PaperClaim(
        "iban",
        "easy samples of both modalities help (ESB)",
        "Table II",
        "Baseline+ESB",
        "Baseline",
    ),
    PaperClaim(
        "iban",
        "all parts together help",
        "Table II",
        "Baseline+IG+ESB+BSTA",
        "Baseline",
    ),
    PaperClaim(
        "sadstrm",
        "an attack alone harms (ASAM)",
        "Table 1",
        "Baseline",
        "Baseline+ASAM",
        ("place", "attack (SADSTRM, ASAM)"),
    ),
    PaperClaim(
        "sadstrm", "a defence helps (ADM)", "Table 1", "Baseline+ADM", "Baseline"
    ),
    PaperClaim(
        "sadstrm",
        "stripes and their relations over time help (FRM-STIG)",
        "Table 1",
        "Baseline+FRM-STIG",
        "Baseline",
        ("bars", "stripes (SADSTRM, FRM-STIG)"),
    ),
    PaperClaim(
        "sadstrm",
        "all parts together help",
        "Table 1",
        "Baseline+ASAM+ADM+FRM-STIG",
        "Baseline",
    ),
    PaperClaim(
        "di2l",
        "aligned body parts help (DPA)",
        "Table 2",
        "Baseline+DPA",
        "Baseline",
        ("bars", "parts (DI2L, DPA)"),
    ),
    PaperClaim(
        "di2l",
        "focal identity learning helps on top (I2L)",
        "Table 2",
        "Baseline+DPA+I2L",
        "Baseline+DPA",
    ),
    PaperClaim(
        "di2l",
        "all parts together help",
        "Table 2",
        "Baseline+DPA+I2L",
        "Baseline",
    ),
    PaperClaim(
        "cmft",
        "two attentions at the last stage (D6F) beat concatenation",
        "Table 2",
        "CMFT_D6F",
        "Feature concatenation",
    ),
    PaperClaim(
        "cmft",
        "the paper's triplets (L_Cross) beat CMT, in our reading of it",
        "Table 4",
        "L_Cross (CMFT)",
        "L_CMT",
    ),
    PaperClaim(
        "cmft",
        "MSRL helps beside MDL",
        "Table 5",
        "MSRL_euclidean+MDL_dyn",
        "MDL_dyn",
        ("gap", "MSRL and MDL (CMFT)"),
    ),
    PaperClaim(
        "cmft",
        "MDL helps beside MSRL",
        "Table 5",
        "MSRL_euclidean+MDL_dyn",
        "MSRL_euclidean",
        ("gap", "MSRL and MDL (CMFT)"),
    ),
)


def table(
    scene: Scene,
    size: str = "standard",
    seeds: Sequence[int] = ablation.SEEDS,
    claims: Sequence[PaperClaim] = CLAIMS,
    **run: Any,
) -> pd.DataFrame:
    """Set each claim beside what its paper prints and what our runs show.

    Args:
        scene: the data, for intervals over people.
        size: preset of the runs.
        seeds: of the runs. Those that both rows have are used.
        claims: to judge.
        **run: arguments of `experiment.run`.

    Returns:
        One line a claim: the printed difference, ours with its interval, seeds, the
        verdict, and for drawn people at which doses of a world the component helps. A
        dash where a paper prints no such row or where nothing is trained.
    """
    printed = published.numbers()
    lines = [_line(claim, printed, scene, size, seeds, run) for claim in claims]
    note = f"points of rank-1, ir2vis; ours: {scene.label} data (95 %)"
    return pd.DataFrame(lines).set_index("paper").rename_axis(note)


def _line(
    claim: PaperClaim,
    printed: pd.DataFrame,
    scene: Scene,
    size: str,
    seeds: Sequence[int],
    run: Mapping[str, Any],
) -> dict[str, str]:
    """Return the line of one claim."""
    line = {"paper": claim.paper.upper(), "claim": claim.words}
    line["the paper prints"] = printed_gain(claim, printed)
    with_idea = _runs(claim, claim.row, size, seeds, run)
    without = _runs(claim, claim.base, size, seeds, run)
    pair = {claim.words: (with_idea, without)}
    judged = comparison.verdicts(pair, scene).loc[claim.words]
    line["we measure"] = judged["points of rank-1"]
    line["seeds"] = str(judged["seeds"])
    line["verdict"] = judged["on this data"]
    if scene.known:  # worlds are of drawn people alone
        line["cue dosed"] = _in_world(claim)
    return line


def printed_gain(claim: PaperClaim, printed: pd.DataFrame) -> str:
    """Return the difference of rank-1 that a paper prints, for each data set.

    The name of `USUAL` is left out.

    Args:
        claim: names the rows.
        printed: of `published.numbers`, where baselines bear the name of their paper.
    """
    labels = []
    for label in (claim.row, claim.base):
        own = label.startswith("Baseline")
        labels.append(f"{label} ({claim.paper})" if own else label)
    gains = published.gains(printed, claim.paper, claim.table, *labels)
    parts = []
    for name, gain in gains.items():
        short = name.replace(", all-search;", " ")
        parts.append(f"{gain:+.1f}" + f" ({short})" * (name != USUAL))
    return "; ".join(parts) or UNPRINTED


def _runs(
    claim: PaperClaim,
    label: str,
    size: str,
    seeds: Sequence[int],
    run: Mapping[str, Any],
) -> list[Result]:
    """Collect the runs of a row. At `standard` only stored ones are taken."""
    configs = ablation.row_configs(claim.paper, claim.table, label, size, seeds)
    if ablation.reads_records(size, run):
        configs = [config for config in configs if not ablation.missing([config])]
    return [experiment.run(config, **run) for config in configs]


def _in_world(claim: PaperClaim) -> str:
    """Say at which doses of its world a component helps or harms."""
    if claim.world is None:
        return UNPRINTED
    world, component = claim.world
    rows = dose_response.stored(world)
    rows = rows[rows.component == component]
    if rows.empty:
        return UNPRINTED
    _, finding = dose_response.finding(rows).split(": ", 1)
    return f"{world}: {finding.removesuffix('.')}"


def counts(table: pd.DataFrame) -> str:
    """Say how many claims were seen, not seen or contradicted, in one sentence.

    A claim whose run collapsed is not judged. Verdicts of one seed, whose intervals are
    over people alone, are counted within.

    Args:
        table: of `table`.
    """
    words = table.verdict.str.split(",").str[0]
    collapsed = table.verdict.str.contains("collapsed")
    words = words.mask(collapsed, "not judged (collapsed)")
    of_one_seed = words[table.verdict.str.contains("one seed")].value_counts()
    parts = []
    for verdict, count in words.value_counts().items():
        alone = of_one_seed.get(verdict, 0)
        parts.append(f"{count} {verdict}" + (f" ({alone} with one seed)" * bool(alone)))
    return f"Of {len(table)} claims: {formats.joined(parts)}."
