"""Every figure from made-up arrays: a Figure with the parts it should have, legible,
and quickly.
"""

import io
import time

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from vvi.plots import (
    curves,
    game,
    pull,
    ranked,
    sheets,
    style,
    tables,
    tsne,
    weights,
)


def draw(function, *args, **options):
    start = time.process_time()
    fig = function(*args, **options)
    content = io.BytesIO(fig._repr_png_())
    assert time.process_time() - start < 2, "a figure must take well under two seconds"
    assert isinstance(fig, Figure)
    picture = np.asarray(Image.open(content).convert("L"))
    assert picture.min() < 60, "something dark is drawn"
    assert picture[0, 0] == 255
    texts = [
        t
        for t in fig.findobj(lambda a: hasattr(a, "get_fontsize"))
        if t.get_text() and t.get_visible()
    ]
    assert texts
    assert min(t.get_fontsize() for t in texts) >= 8
    assert style.cut_off(fig) == []
    return fig


def words(fig):
    texts = [t.get_text() for t in fig.findobj(lambda a: hasattr(a, "get_fontsize"))]
    return " ".join([*texts, fig.caption])


def people(*shape, seed=0):
    return np.random.default_rng(seed).integers(
        0, 256, (*shape, 32, 16, 3), dtype=np.uint8
    )


# -- t-SNE -----------------------------------------------------------------------------


def cloud(seed=0):
    rng = np.random.default_rng(seed)
    ids = np.repeat(np.arange(501, 511), 8)
    return (
        rng.normal(size=(10, 16)).repeat(8, 0) * 3 + rng.normal(size=(80, 16)),
        ids,
        np.tile(["vis"] * 4 + ["ir"] * 4, 10),
    )


def test_a_layout_repeats_with_its_seed_and_keeps_people_together():
    feat, ids, _ = cloud()
    points = tsne.embed_2d(feat, seed=1)
    np.testing.assert_array_equal(points, tsne.embed_2d(feat, seed=1))
    distance = np.linalg.norm(points[:, None] - points, axis=-1) + 1e9 * np.eye(80)
    assert (ids[distance.argmin(1)] == ids).mean() > 0.9


def test_a_pair_of_the_same_features_has_the_same_layout_twice():
    feat, _, _ = cloud()
    before, after = tsne.embed_pair(feat, feat, seed=2)
    np.testing.assert_array_equal(before, after)
    with pytest.raises(ValueError, match="same items twice"):
        tsne.embed_pair(feat, feat[:-1])


def test_too_few_or_undefined_features_are_refused():
    for bad in (np.zeros((3, 4)), np.full((10, 4), np.nan)):
        with pytest.raises(ValueError, match="t-SNE needs"):
            tsne.embed_2d(bad)


def test_a_layout_shows_identity_by_colour_and_modality_by_marker():
    feat, ids, modality = cloud()
    fig = draw(
        tsne.plot,
        feat[:, :2],
        ids,
        modality,
        title="baseline",
        caption="Modality gap 1.21.",
        highlight=4,
    )
    assert len(fig.axes) == 1
    shown = fig.axes[0].collections
    assert sum(len(c.get_offsets()) for c in shown) == 80
    assert len({c.get_paths()[0].vertices.shape for c in shown}) == 2
    assert all(str(i) in words(fig) for i in range(501, 505))
    assert "505" not in words(fig)
    assert "Modality gap 1.21." in words(fig)


def test_a_pair_has_two_panels_of_the_same_people():
    feat, ids, modality = cloud()
    fig = draw(
        tsne.pair, feat[:, :2], feat[:, 2:4], ids, modality, titles=("before", "after")
    )
    assert [ax.get_title() for ax in fig.axes] == ["before", "after"]
    with pytest.raises(ValueError, match="79 ids"):
        tsne.plot(feat[:, :2], ids[1:], modality)


def test_an_unknown_modality_is_refused():
    feat, ids, modality = cloud()
    with pytest.raises(ValueError, match="thermal"):
        tsne.plot(feat[:, :2], ids, np.where(modality == "ir", "thermal", modality))


# -- ranked lists ----------------------------------------------------------------------


def test_chosen_queries_stand_for_good_and_bad_ones_and_never_for_skipped_ones():
    hits = np.array([0, 9, 1, 1, 40, 3, 0, 200, 1, 5])
    rows = ranked.choose(hits, 3)
    assert (hits[rows] > 0).all()
    assert (np.diff(hits[rows]) > 0).all()
    np.testing.assert_array_equal(rows, ranked.choose(hits, 3))
    with pytest.raises(ValueError, match="cannot show 9 queries: 8"):
        ranked.choose(hits, 9)


def test_marks_say_right_wrong_and_look_alike():
    lists = np.array([[0, 1, 2, 3], [3, 2, -1, -1]])
    marks = ranked.compose(
        lists, np.array([7, 9]), np.array([7, 8, 9, 7]), {7: 0, 8: 0, 9: -1, 5: -1}
    )
    assert marks.tolist() == [
        ["right", "look-alike", "wrong", "right"],
        ["wrong", "right", "", ""],
    ]
    assert (
        ranked.compose(lists, np.array([7, 9]), np.array([7, 8, 9, 7])).tolist()[0][1]
        == "wrong"
    )


def test_loading_takes_the_middle_frame_at_one_size(tmp_path):
    files = [tmp_path / f"{k}.png" for k in range(3)]
    for k, file in enumerate(files):
        Image.new("RGB", (20, 30), (80 * k, 0, 0)).save(file)
    (frame,) = ranked.load([files], height=16, width=8)
    assert frame.shape == (16, 8, 3)
    assert (frame[..., 0] == 80).all()


def test_ranked_lists_outline_every_item_with_colour_and_sign():
    marks = np.array(
        [["right"] + ["wrong"] * 8 + ["look-alike"], ["wrong"] * 7 + [""] * 3]
    )
    items = [list(people(10)), [*people(7), None, None, None]]
    panels = [
        ranked.Panel(title, list(people(2)), items, marks, ["person 1", "person 2"])
        for title in ("infrared query", "visible query")
    ]
    fig = draw(ranked.draw, panels, caption="Rank-1 50 %.")
    (ax,) = fig.axes
    assert len(ax.images) == len(ax.patches) == 2 * (2 + 17)
    text = words(fig)
    assert text.count("✓") == 2 + 1
    assert text.count("≈") == 2 + 1
    assert "infrared query" in text
    assert "visible query" in text
    assert "person 2" in text


# -- curves ----------------------------------------------------------------------------


def test_cmc_curves_show_every_seed_as_mean_and_range():
    curve = 1 - np.exp(-np.arange(1, 41) / 8)
    fig = draw(
        curves.cmc, {"baseline": np.stack([curve, curve**2]), "one": curve}, top=20
    )
    first, second = fig.axes[0].lines
    np.testing.assert_allclose(first.get_ydata(), 100 * (curve + curve**2)[:20] / 2)
    np.testing.assert_allclose(second.get_ydata(), 100 * curve[:20])
    assert len(fig.axes[0].collections) == 1
    assert first.get_linestyle() != second.get_linestyle()


def test_loss_curves_show_terms_that_start_late_and_terms_of_one_value():
    fig = draw(
        curves.losses,
        {
            "identity": [3.0, 2.0, 1.0, 0.5],
            "late": [np.nan, np.nan, 1.0, 2.0],
            "lone": [1.0],
        },
        smooth=2,
    )
    assert [
        line.get_label()
        for line in fig.axes[0].lines
        if not line.get_label().startswith("_")
    ] == ["identity", "late", "lone"]
    assert fig.axes[0].lines[-1].get_marker() == "o"


def test_a_running_mean_equals_the_literal_loop():
    values = np.array([1.0, np.nan, 4.0, 2.0, 8.0, np.nan, 3.0])
    expected = [
        np.nanmean(values[max(0, k - 2) : k + 1]) if np.isfinite(values[k]) else np.nan
        for k in range(7)
    ]
    np.testing.assert_allclose(curves.running_mean(values, 3), expected)
    np.testing.assert_allclose(curves.running_mean(values, 1), values)
    np.testing.assert_allclose(curves.running_mean(values[:2], 9), values[:2])


def test_frames_against_metric_shows_the_published_points_as_hollow_markers():
    fig = draw(
        curves.frames,
        [1, 2, 6],
        {"mAP": np.array([[20.0, 22], [25, 26], [30, 33]])},
        {"mAP": {1: 23.09, 6: 40.8}},
    )
    ours, printed = fig.axes[0].lines
    np.testing.assert_allclose(ours.get_ydata(), [21, 25.5, 31.5])
    assert printed.get_markerfacecolor() == "white"
    np.testing.assert_allclose(printed.get_ydata(), [23.09, 40.8])
    assert "ours, synthetic" in words(fig)


# -- tables ----------------------------------------------------------------------------


def runs():
    rows = [("Baseline", 30.0), ("Full", 40.0)]
    return pd.DataFrame(
        [
            {"row": r, "seed": s, "rank1": v + s, "mAP": v - 10 + s}
            for r, v in rows
            for s in range(3)
        ]
    )


PRINTED = pd.DataFrame(
    {"rank1": [55.58, 60.0], "mAP": [40.8, 1.0]}, index=["Baseline", "Other"]
)


def test_an_ablation_table_holds_the_printed_value_our_mean_and_the_spread():
    table = tables.ablation(runs(), PRINTED)
    assert list(table.index) == ["Baseline", "Full"]
    assert table.loc["Baseline", ("rank1", "paper")] == 55.58
    assert np.isnan(table.loc["Full", ("rank1", "paper")])
    assert table.loc["Full", ("rank1", "ours (synthetic)")] == pytest.approx(41)
    assert table.loc["Full", ("mAP", "±")] == pytest.approx(1)
    assert table.loc["Full", ("", "runs")] == 3
    named = tables.ablation(runs(), PRINTED, names={"Full": "Other"}, data="HITSZ-VCM")
    assert named.loc["Full", ("rank1", "paper")] == 60
    assert ("rank1", "ours (HITSZ-VCM)") in named
    with pytest.raises(ValueError, match="mINP"):
        tables.ablation(runs(), metrics=("mINP",))


def test_a_styled_table_marks_our_best_and_what_nobody_printed():
    page = tables.styled(tables.ablation(runs(), PRINTED), "Synthetic data.").to_html()
    assert "41.0 ± 1.0" in page.replace("\N{NO-BREAK SPACE}", " ")
    assert "55.58" in page
    assert "–" in page
    assert "Synthetic data." in page
    assert page.count("<b>") == 2, "the best rank-1 and the best mAP"
    assert page.count("<thead><tr>") == 1 and page.count("</tr></thead>") == 1
    assert page.index("<caption>") < page.index("<thead>")
    assert "Rank-1, ours (synthetic)" in page
    assert "color" not in page and "style=" not in page, "colours are the page's"
    assert (
        page
        == tables.styled(tables.ablation(runs(), PRINTED), "Synthetic data.").to_html()
    )
    alone = tables.styled(tables.ablation(runs().query("seed == 0"))).to_html()
    assert "30.0" in alone
    assert "±" not in alone


def test_a_drawn_table_has_a_panel_per_metric():
    fig = draw(tables.draw, tables.ablation(runs(), PRINTED), caption="Three seeds.")
    assert [ax.get_xlabel() for ax in fig.axes] == ["Rank-1 (%)", "mAP (%)"]
    assert "ours (synthetic)" in words(fig)
    assert "Baseline" in words(fig)
    draw(tables.draw, tables.ablation(runs(), metrics=("mAP",)))


# -- frames and weights ----------------------------------------------------------------


def test_weight_strips_put_a_bar_under_every_frame_and_mark_the_noisy_ones():
    noisy = np.zeros((2, 6), bool)
    noisy[0, 2] = noisy[1, 5] = True
    fig = draw(
        weights.strips,
        people(2, 6),
        np.random.default_rng(0).dirichlet(np.ones(6), 2),
        noisy,
        titles=("visible", "infrared"),
        caption="AUC 0.7.",
    )
    (ax,) = fig.axes
    assert len(ax.images) == 12
    assert sum(p.get_hatch() is not None for p in ax.patches) == 2
    assert len(ax.patches) == 12 + 2
    assert words(fig).count("✗") == 2 + 1
    draw(weights.strips, people(1, 4), np.ones((1, 4)))
    with pytest.raises(ValueError, match="2 clips of 6 frames"):
        weights.strips(people(2, 6), np.ones((2, 5)))


def test_a_contact_sheet_shows_every_frame_and_names_the_modality():
    fig = draw(
        sheets.contact,
        [people(5), people(3)[..., 0]],
        ["person 1", "person 2"],
        ["vis", "ir"],
    )
    assert len(fig.axes[0].images) == 8
    assert "visible" in words(fig)
    assert "infrared" in words(fig)


def test_followed_people_have_a_numbered_box_where_they_are_seen():
    boxes = pd.DataFrame(
        {
            "frame": [3, 3, 9],
            "track": [1, 12, 1],
            "x1": [2.0, -4, 1],
            "y1": [5.0, 0, 1],
            "x2": [9.0, 6, 5],
            "y2": [30.0, 99, 9],
        }
    )
    fig = draw(
        sheets.followed,
        dict(zip((3, 9), people(2), strict=True)),
        boxes,
        caption="made up",
    )
    (ax,) = fig.axes
    assert len(ax.images) == 2 and len(ax.patches) == 3
    assert all(word in words(fig) for word in ("frame 3", "frame 9", "12", "made up"))


def test_histograms_take_numbers_and_words():
    fig = draw(
        sheets.histograms,
        {
            "height": np.random.default_rng(0).normal(size=99),
            "bag": ["none", "back", "none"],
            "rate": [1.0, 2],
            "hat": [True, False],
        },
    )
    assert [ax.get_title() for ax in fig.axes] == ["height", "bag", "rate", "hat"]


def test_a_camera_board_leaves_a_missing_view_empty():
    fig = draw(
        sheets.cameras,
        {1: {"vis": people(), "ir": people()}, 2: {"ir": people()}},
        cols=4,
    )
    assert len(fig.axes[0].images) == 3
    assert "camera 2" in words(fig)


# -- gates and games -------------------------------------------------------------------


def test_gates_stand_beside_their_frames_on_one_scale():
    rng = np.random.default_rng(0)
    fig = draw(
        weights.gates,
        people(2, 4),
        rng.uniform(0.25, 0.5, (2, 4, 64)),
        ["visible\nid 7", "infrared\nid 9"],
        "a caption",
    )
    assert (
        "channels, sorted" in words(fig)
        and "visible\nid 7" in words(fig)
        and "a caption" in words(fig)
    )
    assert (
        len(fig.axes[0].images) == 2 * 4 * 2 + 1
    )  # a frame and a line each, and the scale


def test_a_game_shows_both_targets_of_each_player_and_what_a_belief_costs():
    belief = np.linspace(0.01, 0.99, 50)
    targets = {
        "classifier": ((0, 1, np.nan), (1, 0, np.nan)),
        "third": ((0, 0, 1), (0, 0, 1)),
    }
    fig = draw(
        game.draw,
        ("infrared", "visible", "neither"),
        targets,
        belief,
        {"third": -np.log(1 - belief)},
        caption="a caption",
    )
    bars, line = fig.axes[:2], fig.axes[-1]
    assert [p.get_height() for p in bars[1].patches] == [0, 0, 1, 0, 0, 1]
    assert np.nanmax(line.lines[0].get_ydata()) <= 8 and "belief" in line.get_xlabel()


def test_runs_beside_one_another_share_one_scale_and_show_their_seeds():
    seeds = np.random.default_rng(0).random((3, 50))
    fig = draw(
        curves.history_panels,
        {
            "plain": {"vis": seeds, "ir": seeds + 1},
            "focal": {"vis": seeds[0], "ir": seeds[1]},
        },
        smooth=5,
        ylabel="p",
        caption="a caption",
    )
    assert [ax.get_title() for ax in fig.axes] == ["plain", "focal"] and fig.axes[
        0
    ].get_ylim() == fig.axes[1].get_ylim()
    assert [len(ax.collections) for ax in fig.axes] == [
        2,
        0,
    ]  # a band where there are several seeds
    np.testing.assert_allclose(
        fig.axes[0].lines[0].get_ydata()[-1], seeds[:, -5:].mean()
    )


def test_a_sweep_has_a_panel_for_each_setting_on_one_scale():
    fig = draw(
        curves.sweeps,
        {
            "lambda 1": ([0.5, 1, 1.5], {"rank1": [30, 31, 29]}),
            "epoch": ([0, 20, 40], {"rank1": [28, 30, 31]}),
        },
        caption="a caption",
    )
    assert [ax.get_xlabel() for ax in fig.axes] == ["lambda 1", "epoch"] and fig.axes[
        0
    ].get_ylim() == fig.axes[1].get_ylim()
    assert [t.get_text() for t in fig.axes[0].get_xticklabels()] == ["0.5", "1", "1.5"]


def test_every_visible_clip_but_the_easy_one_is_pulled_to_it():
    rng = np.random.default_rng(0)
    vis, ir, ids = rng.normal(size=(5, 2)), rng.normal(size=(5, 2)), np.arange(501, 506)
    fig = draw(
        pull.draw, vis, ir, ids, {"any identity": (0, 3), "same identity": (0, 0)}
    )
    for ax, found in zip(fig.axes, (3, 0), strict=True):
        arrows = [t for t in ax.texts if t.arrow_patch is not None]
        assert len(arrows) == 4 and all(np.allclose(a.xy, vis[found]) for a in arrows)
    assert words(fig).count("easy sample") == 2


def test_bars_of_negative_weights_stay_below_their_frames():
    weights_ = np.array([[-0.5, 0.2, 0.4]])
    fig = draw(weights.strips, people(1, 3), weights_)
    heights = [
        abs(p.get_height()) for p in fig.axes[0].patches if abs(p.get_height()) < 0.5
    ]
    assert heights == sorted(heights) and heights[0] == 0 and "-0.50" in words(fig)
