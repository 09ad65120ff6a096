from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from vvi import experiment, methods
from vvi.book import across_methods, comparison, figures
from vvi.book.across_methods import Claim
from vvi.config import preset
from vvi.evaluation.probes import Score
from vvi.experiment import ablation


@pytest.fixture(scope="module")
def shown(tiny_root, tmp_path_factory):
    """Two rows with two runs each, the second with frame weights, and their data."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VVI_RUNS", str(tmp_path_factory.mktemp("runs")))
        how = dict(data=tiny_root, device="cpu", progress=False)
        rows = {
            across_methods.title(m): [
                experiment.run(preset("tiny", m, seed=s), **how) for s in (0, 1)
            ]
            for m in ("baseline", "mitml")
        }
        yield rows, figures.scene(preset("tiny"), tiny_root)


def words(fig):
    texts = [t.get_text() for t in fig.findobj(lambda a: hasattr(a, "get_fontsize"))]
    return " ".join([*texts, fig.caption])


def test_every_method_stands_in_with_the_row_of_its_paper_and_a_baseline(monkeypatch):
    monkeypatch.setattr(ablation.experiment, "run", lambda config, **_: config)
    main, own = (
        across_methods.main_results("tiny", (0, 1)),
        across_methods.baselines("tiny", (0, 1)),
    )
    assert (
        sorted(across_methods.names().values()) == sorted(methods.names())
        and next(iter(main)) == "baseline"
    )
    assert list(own) == [name for name in main if name != "baseline"]
    assert [c.seed for c in main["IBAN"]] == [0, 1] and main[
        "IBAN"
    ] == ablation.configs("iban", "Table II", "tiny", (0, 1))["Baseline+IG+ESB+BSTA"]
    assert (
        own["IBAN"] == ablation.configs("iban", "Table II", "tiny", (0, 1))["Baseline"]
    )
    assert (
        own["CMFT"]
        == ablation.configs("cmft", "Same batches", "tiny", (0, 1))["Baseline"]
        != main["baseline"]
    )


def test_the_protocol_is_one_where_no_field_differs(shown):
    rows, _ = shown
    assert across_methods.config_differences(rows).empty
    other = replace(
        rows["MITML"][0],
        record=replace(rows["MITML"][0].record, config=preset("tiny", "mitml", lr=0.5)),
    )
    assert across_methods.config_differences(
        rows | {"other": [other]}
    ).columns.tolist() == ["lr"]


def test_pairs_mirror_one_another_and_agree_with_the_difference(shown):
    rows, view = shown
    found = across_methods.pairs(rows, view)
    there, back = found["MITML"]["baseline"], found["baseline"]["MITML"]
    assert (there.value, there.low, there.high) == (-back.value, -back.high, -back.low)
    assert there == comparison.difference(rows["MITML"], rows["baseline"], view)
    fig = across_methods.draw_pairs(found, "a caption")
    assert f"{there.value:+.1f}" in words(fig) and "a caption" in words(fig)


def test_a_method_stands_against_its_own_baseline_and_what_is_printed(shown):
    rows, view = shown
    table = across_methods.gains(rows, {"MITML": rows["baseline"]}, view)
    expected = np.mean([r.row("vis2ir")["rank1"] for r in rows["MITML"]]) - np.mean(
        [r.row("vis2ir")["rank1"] for r in rows["baseline"]]
    )
    assert (
        table.loc["MITML", "vis2ir"].startswith(f"{expected:+.1f} (")
        and "look-alikes" in table
    )
    assert table.loc["MITML", "published, not rerun"] == "+8.2 (HITSZ-VCM)"


def test_cost_counts_the_parameters_that_a_search_needs(shown):
    rows, _ = shown
    found = across_methods.cost(rows["baseline"][0])
    assert found["parameters (M)"] - found["used in a search (M)"] == pytest.approx(
        across_methods.IDENTITIES * 2048 / 1e6, abs=0.01
    )  # the classifier
    assert 55 < found["GFLOP"] < 70
    table = across_methods.costs(rows)
    assert (
        table.loc["MITML", "GFLOP"] > table.loc["baseline", "GFLOP"]
        and "cpu" in table.loc["MITML", "on"]
    )


def test_excess_agrees_with_a_bootstrap_where_people_alone_vary():
    one = Score(0.6, 0.5, 0.7, 0.5, 20)
    found = across_methods.excess_over_reference([one], n=20000)
    assert (
        found.value == pytest.approx(0.1)
        and found.low == pytest.approx(0.0, abs=0.01)
        and found.high == pytest.approx(0.2, abs=0.01)
    )
    beside = across_methods.excess_over_reference([one], [one], n=20000)
    assert beside.value == 0 and beside.high == pytest.approx(
        0.1 * np.sqrt(2), abs=0.01
    )  # two errors, as if of other people


def test_excess_grows_with_what_seeds_vary():
    apart = [Score(v, v - 0.01, v + 0.01, 0.5, 20) for v in (0.4, 0.6, 0.8)]
    found = across_methods.excess_over_reference(apart)
    assert found.value == pytest.approx(0.1) and found.low < 0 < found.high
    exact = across_methods.excess_over_reference([Score(0.0, 0.0, 0.0, 0.0, 20)])
    assert (exact.low, exact.high) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("low", "high", "more", "word"),
    [
        (0.1, 0.2, True, "seen"),
        (-0.2, -0.1, True, "the opposite"),
        (-0.1, 0.1, True, "not seen"),
        (-0.2, -0.1, False, "seen"),
        (0.1, 0.2, False, "the opposite"),
    ]
    + [(0.0, 0.0, True, "not seen"), (0.0, 0.0, False, "not seen")],
)
def test_a_word_follows_the_interval(low, high, more, word):
    assert comparison.verdict(Score((low + high) / 2, low, high, 0.0, 9), more) == word


def test_claims_are_read_against_reference_or_baseline_and_dashed_without_either(shown):
    rows, _ = shown
    asked = {
        "gap": Claim("gap distance", more=False, beside=True),
        "weights": Claim("noisy frames vis"),
        "pair": Claim("look-alike pair"),
        "bar": Claim(across_methods.rank1_kept, beside=True),
    }
    found = across_methods.claims(rows, {"MITML": rows["baseline"]}, asked)
    assert found["gap"]["baseline"] == ("", None) and found["weights"]["baseline"] == (
        "",
        None,
    )
    gap = [
        np.mean([r.probe("gap distance").value for r in rows[m]])
        for m in ("MITML", "baseline")
    ]
    word, score = found["gap"]["MITML"]
    assert score.value == pytest.approx(gap[0] - gap[1]) and word == comparison.verdict(
        score, more=False
    )
    pair = np.mean([r.probe("look-alike pair").value for r in rows["MITML"]])
    assert found["pair"]["MITML"][1].value == pytest.approx(pair - 0.5)
    fig = across_methods.draw_claims(found, "synthetic")
    assert (
        isinstance(fig, Figure)
        and "–" in words(fig)
        and f"{pair - 0.5:+.2f}" in words(fig)
    )


def test_what_a_bar_leaves_is_a_share_of_rank_1(shown):
    result = shown[0]["baseline"][0]
    rank1 = result.record.scores["ir2vis"]["rank1"]
    found = across_methods.rank1_kept(result)
    assert (
        np.isnan(found.value)
        if not rank1
        else found.value
        == pytest.approx((rank1 + result.probe("occluded").value) / rank1)
    )


def test_heat_maps_of_several_methods_lie_over_one_frame(shown):
    rows, view = shown
    fig = across_methods.cams_of_methods(
        {name: runs[0] for name, runs in rows.items()}, view
    )
    assert "MITML" in words(fig) and "synthetic" in words(fig)
    first = rows["baseline"][0]
    moved = replace(
        first,
        record=replace(
            first.record,
            arrays=dict(first.arrays)
            | {"cam/ir_rows": first.arrays["cam/ir_rows"] + 1},
        ),
    )
    with pytest.raises(ValueError, match="different ir clips"):
        across_methods.cams_of_methods({"a": first, "b": moved}, view)


def test_a_matrix_begins_its_caption_with_what_is_told_apart():
    score = Score(9.0, 5.0, 12.0, 0.0, 8)
    less = Score(-9.0, -12.0, -5.0, 0.0, 8)
    found = {"IBAN": {"baseline": score}, "baseline": {"IBAN": less}}
    fig = across_methods.draw_pairs(found, "Synthetic data.")
    assert fig.caption == "Higher: IBAN than baseline. Synthetic data."
    claims = {
        "a smaller gap": {"IBAN": ("seen", score), "CMFT": ("seen", score)},
        "time": {"IBAN": ("the opposite", less), "CMFT": ("", None)},
    }
    fig = across_methods.draw_claims(claims, "Synthetic data.")
    assert fig.caption == (
        "Seen: a smaller gap of IBAN and CMFT. The opposite: time of IBAN. "
        "Synthetic data."
    )
    claims = {"time": {"IBAN": ("not seen", score), "CMFT": ("", None)}}
    caption = across_methods.draw_claims(claims).caption
    assert caption == "Seen: none. The opposite: none."
