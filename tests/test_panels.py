from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from vvi import experiment
from vvi.book import comparison, figures
from vvi.config import preset
from vvi.experiment import ablation
from vvi.methods.cmft import Cascade


@pytest.fixture(scope="module")
def shown(tiny_root, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VVI_RUNS", str(tmp_path_factory.mktemp("runs")))
        runs = [
            experiment.run(
                preset("tiny", seed=s), data=tiny_root, device="cpu", progress=False
            )
            for s in (0, 1)
        ]
        yield runs, figures.scene(preset("tiny"), tiny_root)


@pytest.mark.parametrize("name", ["loss_curves", "cmc"])
def test_figures_of_runs_are_drawn(shown, name):
    assert isinstance(getattr(figures, name)(shown[0]), Figure)


def test_captions_state_what_the_figures_show(shown):
    runs, view = shown
    rank1 = np.mean([r.row("ir2vis")["rank1"] for r in runs])
    assert f"first for ir2vis {rank1:.1f} % and vis2ir" in figures.cmc(runs).caption
    hits = runs[0].metrics("vis2ir").first_hit
    median = f", vis2ir {np.median(hits[hits > 0]):g}. Shown:"
    assert median in figures.ranked_lists(runs[0], view).caption
    first = [100 * np.mean(r.metrics("ir2vis").first_hit == 1) for r in runs]
    best = "0.5" if np.mean(first) >= first[0] else "2"
    rows = {"a=2": runs[:1], "a=0.5": runs}
    caption = figures.sweeps(rows, {"a": "weight"}).caption
    assert caption.startswith(f"Highest Rank-1: weight {best} (")


@pytest.mark.parametrize("name", ["cams", "ranked_lists"])
def test_figures_of_a_run_over_its_data_are_drawn(shown, name):
    assert isinstance(getattr(figures, name)(shown[0][0], shown[1]), Figure)


def test_the_layout_comes_with_the_gap_before_and_after(shown):
    fig, gap = figures.tsne_before_after(shown[0][0], shown[1])
    assert (
        isinstance(fig, Figure) and gap["before"].value > 0 and gap["after"].count > 1
    )


def test_tables_hold_the_means_over_the_runs_and_name_their_data(shown):
    runs, _ = shown
    scores, probes = figures.scores(runs), figures.probes(runs)
    expected = np.mean([r.row("vis2ir")["mAP"] for r in runs])
    assert scores.loc["vis2ir", "mAP"].startswith(f"{expected:.1f} ±")
    assert (
        scores.index.name == "2 seeds, synthetic"
        and probes.index.name == "synthetic data"
    )
    assert probes.loc["gap probe", "mean"] == pytest.approx(
        np.mean([r.probe("gap probe").value for r in runs])
    )


def test_a_folder_that_is_not_the_named_set_counts_as_real_and_gets_a_name_of_its_own(
    tiny_root, tmp_path
):
    import shutil

    assert figures.scene(preset("tiny"), tiny_root).label == "synthetic"
    other = tmp_path / "other"
    shutil.copytree(tiny_root, other)
    (other / "manifest.json").unlink()
    view = figures.scene(preset("tiny"), other)
    assert view.label == "hitsz-vcm" and view.settings.data.source.startswith("real:")
    assert view.settings.hash != preset("tiny").hash


@pytest.fixture(scope="module")
def remembering(tiny_root, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VVI_RUNS", str(tmp_path_factory.mktemp("runs")))
        yield experiment.run(
            preset("tiny", "mitml"), data=tiny_root, device="cpu", progress=False
        )


def test_frame_weights_are_shown_and_scored_against_noisy_frames(shown, remembering):
    fig = figures.frame_weights(remembering, shown[1])
    assert "AUC of a low weight" in fig.caption
    auc = remembering.probe("noisy frames vis").value
    assert f"vis {auc:.2f}" in fig.caption
    assert remembering.arrays["inside/ir/gate"].shape[1:] == (3, 32)
    assert isinstance(
        figures.overlaid(remembering, shown[1], "gate"), Figure
    )  # one value to a channel, drawn as if to a stripe
    with pytest.raises(ValueError, match="baseline shows no such thing of itself"):
        figures.frame_weights(shown[0][0], shown[1])


def test_a_difference_is_zero_against_itself_and_its_sign_follows_the_better_runs(
    shown, remembering
):
    runs, view = shown
    same = comparison.difference(runs[:1], runs[:1], view)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)
    both = comparison.difference(runs, runs, view)
    assert (
        both.value == 0.0 and both.low < 0 < both.high
    )  # two seeds differ, and the interval knows
    first = comparison.difference([remembering], runs[:1], view)
    expected = remembering.row("ir2vis")["rank1"] - runs[0].row("ir2vis")["rank1"]
    assert (
        first.value == pytest.approx(expected)
        and first.low <= first.value <= first.high
    )
    table = comparison.differences(
        {"base": runs[:1], "mitml": [remembering]}, "base", view
    )
    assert list(table.index) == ["mitml"] and table.loc[
        "mitml", "all queries"
    ].startswith(f"{expected:+.1f} (")
    assert set(table.columns) == {"all queries", "look-alikes", "seeds"}
    assert table.loc["mitml", "seeds"] == 1


def test_a_term_settles_at_the_step_after_its_last_above_the_level(shown, monkeypatch):
    run = shown[0][0]
    monkeypatch.setitem(run.record.history, "made/up", [3.0, 1.0, 3.0, 1.0, 1.0])
    found = [
        comparison.first_step_below({"row": [run]}, "made/up", level, smooth=1).loc[
            "row", "seed 0"
        ]
        for level in (2.0, 3.0, 0.5)
    ]
    assert found == [4, 1, 6]


def test_trials_of_regdb_are_compared_one_by_one(common_cache, monkeypatch):
    monkeypatch.setenv("VVI_CACHE", str(common_cache))
    settings = [
        preset("tiny", layout="regdb", frames=1, steps=1, seed=s) for s in (0, 1)
    ]
    view, runs = (
        figures.scene(settings[0]),
        [experiment.run(c, device="cpu", progress=False, keep=False) for c in settings],
    )
    same = comparison.difference(runs, runs, view)
    assert (same.value, same.low, same.high, same.count) == (0.0, 0.0, 0.0, 2)
    assert list(
        comparison.differences({"base": runs, "again": runs}, "base", view).columns
    ) == ["all queries", "seeds"]
    assert comparison.difference(runs, runs[:1], view).value == 0, "trial 0 with itself"
    with pytest.raises(ValueError, match="of the same trials"):
        comparison.difference(runs[1:], runs[:1], view)


def test_the_gap_of_pixels_is_measured_after_each_change(shown):
    view = shown[1]
    grey = figures.pixel_gap(
        view, {"as it is": lambda x: x, "one channel": lambda x: x[:, :1].expand_as(x)}
    )
    assert (
        float(grey.loc["as it is", "spread of the channels"]) > 1
        and grey.loc["one channel", "spread of the channels"] == "0.0"
    )
    assert (
        grey.loc["as it is", "gap distance"] != grey.loc["one channel", "gap distance"]
    )


def test_a_setting_of_sysu_is_the_mean_over_its_galleries(common_cache, monkeypatch):
    monkeypatch.setenv("VVI_CACHE", str(common_cache))
    result = experiment.run(
        preset("tiny", layout="sysu-mm01", frames=1, steps=1),
        device="cpu",
        progress=False,
        keep=False,
    )
    setting = "indoor-search;single-shot"
    assert (
        ablation.frame({"row": [result]}, setting=setting).mAP.item()
        == result.trials()[setting]["mAP"]
    )
    assert (
        f"Table 1. {setting}, synthetic data."
        in comparison.table(
            {"row": [result]}, caption="Table 1.", setting=setting
        ).to_html()
    )


def test_a_table_says_which_numbers_are_of_one_gallery(shown):
    data = replace(preset("tiny", layout="sysu-mm01").data, source="real:12345678")
    first = shown[0][0]
    record = replace(first.record, config=replace(first.config, data=data))
    real = replace(first, record=record)
    page = comparison.table({"row": [real]}).to_html()
    assert "ir2vis, one-gallery sysu-mm01 data." in page


def test_probes_are_compared_row_by_row_with_a_dash_where_there_is_none(
    shown, remembering
):
    table = comparison.probes(
        {"base": shown[0], "mitml": [remembering]}, ["gap distance", "noisy frames vis"]
    )
    assert (
        table.loc["reference", "noisy frames vis"] == "0.50"
        and table.loc["reference", "gap distance"] == "1.00"
    )
    assert (
        table.loc["base", "noisy frames vis"] == "–"
        and table.loc["mitml", "noisy frames vis"] != "–"
    )
    mean = np.mean([r.probe("gap distance").value for r in shown[0]])
    high = max(r.probe("gap distance").high for r in shown[0])
    assert table.loc["base", "gap distance"].endswith(f"to {high:.2f})")
    assert table.loc["base", "gap distance"].startswith(f"{mean:.2f} (")


def test_the_ablation_table_names_data_and_direction(shown):
    text = comparison.table(
        {"Baseline": shown[0]}, caption="Table 2.", direction="vis2ir"
    ).to_html()
    assert "Table 2. vis2ir, synthetic data." in text and "Baseline" in text


def test_a_kept_figure_names_its_runs(shown, tmp_path, monkeypatch):
    import json

    monkeypatch.setenv("VVI_FIGURES", str(tmp_path))
    fig = figures.cmc(shown[0])
    assert figures.save_figure(fig, "test/cmc", shown[0], "curves") is fig
    side = json.loads((tmp_path / "test/cmc.json").read_text())
    assert side["runs"] == [r.run_id for r in shown[0]] and side["data"] == "synthetic"


def test_a_claim_is_seen_only_where_its_interval_leaves_out_zero(
    shown, remembering, monkeypatch
):
    from vvi.evaluation.probes import Score

    table = comparison.verdicts(
        {
            "nothing beats itself": (shown[0], shown[0]),
            "alone": (shown[0][:1], shown[0][:1]),
        },
        shown[1],
    )
    assert table.loc["alone", "on this data"] == "not seen, one seed"
    assert (
        table.loc["nothing beats itself", "on this data"] == "not seen"
        and table.loc["nothing beats itself", "seeds"] == 2
    )
    for low, high, word in ((0.5, 3.0, "seen"), (-3.0, -0.5, "the opposite")):
        monkeypatch.setattr(
            comparison,
            "difference",
            lambda *_, score=Score(0.5 * (low + high), low, high, 0.0, 9): score,
        )
        assert (
            comparison.verdicts({"claim": (shown[0], shown[0])}, shown[1]).loc[
                "claim", "on this data"
            ]
            == word
        )


def test_of_real_people_nothing_is_said_that_takes_known_factors(shown):
    runs, view = shown
    real = replace(view, data=replace(view.data, truth=None))
    claims = {"look-alikes": (runs, runs, True), "all": (runs, runs)}
    judged = comparison.verdicts(claims, real)["on this data"]
    assert judged.to_dict() == {
        "look-alikes": "look-alikes are not known",
        "all": "not seen",
    }
    caption = figures.cams(runs[0], real).caption
    assert caption == "Share of map energy on the person (hitsz-vcm data): not known."


def test_the_inside_of_a_method_is_drawn_with_its_frames(shown, remembering):
    from vvi.plots import weights

    assert isinstance(
        figures.method_maps(remembering, shown[1], "gate", weights.gates), Figure
    )
    with pytest.raises(ValueError, match="mitml shows no such thing of itself"):
        figures.method_maps(remembering, shown[1], "attention", weights.gates)


def test_lists_of_several_methods_are_of_the_same_queries(shown, remembering):
    fig = figures.ranked_lists_of_methods(
        {"baseline": shown[0][0], "mitml": remembering}, shown[1], count=2
    )
    said = [t.get_text() for t in fig.findobj(lambda a: hasattr(a, "get_fontsize"))]
    asked = [t.split("\n")[0] for t in said if t.startswith("id ")]
    assert len(asked) == 4 and asked[:2] == asked[2:]
    assert "baseline, ir2vis" in said and "mitml, ir2vis" in said
    medians = []
    for name, result in (("baseline", shown[0][0]), ("mitml", remembering)):
        hits = result.metrics("ir2vis").first_hit
        medians.append(f"{name} {np.median(hits[hits > 0]):g}")
    start = f"Median rank of the first right item: {', '.join(medians)}. Shown: 2 "
    assert fig.caption.startswith(start)


def test_a_term_that_changes_its_phase_is_one_line_and_two_at_once_are_two():
    nan = float("nan")
    terms = figures._terms(
        {
            "early/id": [1, 2, nan],
            "late/id": [nan, nan, 3],
            "late/pull": [nan, nan, 5],
            "other/pull": [7, 7, 7],
            "watch/p": [1, 1, 1],
            "lr": [1, 1, 1],
        }
    )
    assert {k: np.asarray(v).tolist() for k, v in terms.items() if k == "id"} == {
        "id": [1, 2, 3]
    }
    assert set(terms) == {"id", "pull", "other/pull"}


def test_where_training_ended_is_the_mean_of_the_last_active_steps(shown):
    runs, _ = shown
    table = comparison.final_losses(
        {"row": runs},
        {"identity loss": "encoder/id", "none": "encoder/nothing"},
        last=2,
    )
    assert (
        table.loc["row", "identity loss"]
        == f"{np.mean([np.mean(r.history['encoder/id'][-2:]) for r in runs]):.3f}"
    )
    assert (
        table.loc["row", "none"] == "–"
        and table.index.name == "mean of the last 2 steps, synthetic data"
    )


def test_a_term_that_is_minimised_is_compared_with_its_own_beginning(shown):
    (run, *_), _ = shown
    nan = float("nan")
    values = [nan, 1.0, 2.0, 0.5, 0.5, 4.0, 5.0], [3.0, 3.0, 2.0, 1.0]
    histories = [{"encoder/confusion": v} for v in values]
    up, down = (
        replace(run, record=replace(run.record, history=history))
        for history in histories
    )
    rows = {"no runs": [], "up": [up], "down": [down], "without it": [run]}
    table = comparison.starts_and_ends(rows, "encoder/confusion", window=2, first=2)
    assert table.index.tolist() == ["up", "down"]
    assert table.loc["up"].tolist()[:4] == ["1.50", "0.50", "4.50", "0 of 1"]
    assert table.loc["down"].tolist()[:4] == ["3.00", "1.50", "1.50", "1 of 1"]
    both = comparison.starts_and_ends({"both": [up, down]}, "encoder/confusion", 2, 2)
    assert both.loc["both"].tolist()[:4] == ["2.25", "1.00", "3.00", "1 of 2"]
    fell = comparison.starts_and_ends({"fell": [up]}, "encoder/confusion", 4, 1)
    assert fell.loc["fell"].tolist()[:4] == ["1.00", "1.00", "2.50", "0 of 1"]
    short = comparison.starts_and_ends(rows, "encoder/confusion", window=50)
    assert short.loc["down", "first"] == short.loc["down", "last"] == "2.25"
    note = "confusion; first 2 steps, others means of 2, synthetic data"
    assert table.index.name == note


def test_sweeps_put_each_setting_into_a_panel(shown):
    runs, _ = shown
    fig = figures.sweeps(
        {"a=1": runs, "a=2": runs[:1], "b=0.5": runs},
        {"a": "weight a", "b": "weight b"},
    )
    assert [ax.get_xlabel() for ax in fig.axes] == ["weight a", "weight b"]
    assert fig.axes[0].lines[0].get_xdata().tolist() == [1.0, 2.0]
    assert fig.axes[0].lines[0].get_ydata()[1] == pytest.approx(
        runs[0].row("ir2vis")["rank1"]
    )


def test_metrics_of_sweeps_lengths_and_tables_are_chosen(shown):
    runs, _ = shown
    fig = figures.sweeps({"a=1": runs, "a=2": runs[:1]}, {"a": "weight a"}, ("mINP",))
    assert [line.get_label() for line in fig.axes[0].lines] == ["mINP"]
    printed = pd.DataFrame(
        {"rank1": {"n=1": 10.0, "n=7": 20.0}, "mAP": {"n=1": np.nan, "n=7": 5.0}}
    )
    fig = figures.lengths(
        {"n=1": runs[:1], "n=6": runs[1:]}, printed, ("rank1", "mAP", "mINP")
    )
    dots = {
        line.get_label(): list(line.get_xdata())
        for line in fig.axes[0].lines
        if "paper" in line.get_label()
    }
    assert dots == {"rank1 (paper)": [1, 7], "mAP (paper)": [7]}
    page = comparison.table({"row": runs}, metrics=("mINP",)).to_html()
    assert "mINP" in page and "Rank-1" not in page


def test_people_are_searched_within_a_modality_as_by_the_metric_itself(shown):
    runs, view = shown
    table, arrays = comparison.within_modality({"row": runs}, view), runs[0].arrays
    side = view.sides("ir2vis")[0]
    clips = [side[i] for i in arrays["shown/query_rows"]]
    feat = arrays["shown/query_feat"].astype(np.float64)
    hits = []
    for q, query in enumerate(clips):
        others = [
            k
            for k, t in enumerate(clips)
            if (t.identity, t.camera) != (query.identity, query.camera)
        ]
        if any(clips[k].identity == query.identity for k in others):
            cosines = feat[others] @ feat[q] / np.linalg.norm(feat[others], axis=1)
            hits.append(clips[others[cosines.argmax()]].identity == query.identity)
    assert table.loc["row", "ir in ir"] == f"{100 * np.mean(hits):.1f}"


@pytest.mark.parametrize(("rule", "across"), [("vcm", "–"), ("none", "100.0")])
def test_nobody_is_searched_within_a_modality_that_one_camera_films(
    shown, monkeypatch, rule, across
):
    """So it is in RegDB, and among the queries of BUPTCampus, which has no rule."""
    runs, view = shown
    clips = comparison.Clips(np.eye(2), np.array([1, 2]), np.array([3, 3]))
    monkeypatch.setattr(comparison, "kept_clips", lambda *_: clips)
    dataset = replace(view.dataset, rule=rule)
    view = replace(view, data=replace(view.data, dataset=dataset))
    row = comparison.within_modality({"row": runs}, view).loc["row"].to_dict()
    assert row == {
        "ir in ir": "–",
        "vis in vis": "–",
        "ir in vis": across,
        "vis in ir": across,
    }


def test_operations_are_those_of_a_pencil():
    with torch.device("meta"):
        block, maps = (
            Cascade((8, 16, 32, 64, 64), start=5),
            [torch.zeros(1, c, 2, 3) for c in (8, 16, 32, 64, 64)],
        )
        found, n, wide = figures.operations(block, maps, maps), 6, 64
    assert found["parameters"] == sum(p.numel() for p in block.parameters())
    weights = n * (
        2 * 4 * wide**2 + (2 * wide) ** 2
    )  # stage 5: two attentions of four maps each, and one map of both together
    weights += n * (
        2 * 64 * 32 + 2 * 4 * 32**2 + 64**2
    )  # stage 6: both modalities to half their width first
    products = (
        2 * 2 * n * n * (wide + 32)
    )  # questions with keys, shares with values, in two attentions
    assert found["of weights"] == weights and found["in all"] == weights + products


def test_partners_chosen_by_identity_give_the_answer_away(shown):
    view = shown[1]
    untrained = experiment.build(preset("tiny", "cmft"), len(view.dataset.labels))
    table = comparison.oracle_leak(untrained, view)
    assert list(table.index) == ["clip alone", "oracle (label leak)"]
    assert table.rank1.iloc[1] > 50 > table.rank1.iloc[0]
