"""The claims of the papers: each names rows that exist, and none is judged by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from vvi import methods
from vvi.book import dose_response, paper_claims, published
from vvi.book.paper_claims import CLAIMS, PaperClaim
from vvi.experiment import ablation, worlds


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda c: f"{c.paper}: {c.words}")
def test_a_claim_names_rows_of_its_paper_and_a_component_of_its_world(claim):
    rows = ablation.rows(claim.paper, claim.table)
    assert claim.row in rows and claim.base in rows and claim.row != claim.base
    assert paper_claims.printed_gain(claim, published.numbers()) != "–"
    if claim.world:
        world, component = claim.world
        assert component in worlds.question(world).components


def test_every_paper_claims_something_and_no_claim_stands_twice():
    papers = set(methods.names()) - {"baseline"}
    assert {claim.paper for claim in CLAIMS} == papers
    pairs = [(c.paper, c.table, c.row, c.base) for c in CLAIMS]
    assert len(set(pairs)) == len(pairs)


def test_a_printed_gain_is_the_difference_of_two_printed_numbers():
    printed = published.numbers()
    game = PaperClaim("mitml", "", "Table 2", "Baseline + M", "Baseline")
    assert paper_claims.printed_gain(game, printed) == "+4.1"
    nothing = PaperClaim("mitml", "", "Table 2", "Baseline + M", "no such row")
    assert paper_claims.printed_gain(nothing, printed) == "–"


def test_a_line_judges_what_is_measured_and_says_where_nothing_is(monkeypatch):
    judged = {
        "points of rank-1": "+1.0 (+0.5 to +1.5)",
        "seeds": 2,
        "on this data": "seen",
    }
    rows = [("memory (MITML, T)", 8, 1.0, 2.0), ("memory (MITML, T)", 1, -1.0, 1.0)]
    world = pd.DataFrame(rows, columns=["component", "dose", "low", "high"])
    world["note"] = ""
    pairs = {}

    def verdicts(pair, scene):
        pairs.update(pair)
        return pd.DataFrame(judged, index=list(pair))

    class Drawn:
        label, known = "synthetic", True

    class Real:
        label, known = "hitsz-vcm", False

    monkeypatch.setattr(paper_claims.comparison, "verdicts", verdicts)
    monkeypatch.setattr(paper_claims, "_runs", lambda claim, label, *_: [label])
    monkeypatch.setattr(dose_response, "stored", lambda name: world)
    memory, order = CLAIMS[1], CLAIMS[2]
    table = paper_claims.table(Drawn(), claims=(memory, order))
    assert pairs[memory.words] == (["Baseline + T"], ["Baseline"])
    assert table.verdict.tolist() == ["seen", "seen"]
    assert table["cue dosed"].tolist() == ["time: helps at 8", "–"]
    assert table["the paper prints"].tolist() == ["+2.9"] * 2
    assert paper_claims.counts(table) == "Of 2 claims: 2 seen."
    real = paper_claims.table(Real(), claims=(memory, order))
    assert real.columns.tolist() == table.columns.tolist()[:-1], "worlds are drawn"


def test_claims_are_counted_by_verdict():
    words = ["seen", "seen, one seed", "not seen", "not trained yet"]
    table = pd.DataFrame({"verdict": words})
    sentence = (
        "Of 4 claims: 2 seen (1 with one seed), 1 not seen and 1 not trained yet."
    )
    assert paper_claims.counts(table) == sentence
