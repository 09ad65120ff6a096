"""What helps: verdicts, sentences and the part of README follow from the numbers."""

import numpy as np
import pandas as pd
import pytest

from vvi import experiment, methods
from vvi.book import across_methods, figures, formats, helps, ideas
from vvi.config import preset
from vvi.experiment import ablation, collapse
from vvi.runtime import paths


def line(idea, direction, without, with_, low, high, verdict, seeds=3, note=""):
    values = idea, direction, without, with_, with_ - without, low, high, seeds
    return dict(zip(helps.COLUMNS, (*values, verdict, note, "r1 r2"), strict=True))


@pytest.fixture
def table():
    first = helps.IDEAS[0].name
    rows = [
        line(first, "ir2vis", 33.0, 50.0, 12.0, 21.0, "seen"),
        line(first, "vis2ir", 34.0, 51.0, 12.0, 22.0, "seen"),
        line("half", "ir2vis", 33.0, 36.0, 0.5, 6.0, "seen"),
        line("half", "vis2ir", 33.0, 33.5, -2.0, 3.0, "not seen", note="one seed"),
        line("large", "ir2vis", 33.0, 60.0, 20.0, 30.0, "seen"),
        line("large", "vis2ir", 33.0, 60.0, 20.0, 30.0, "seen"),
        line("X as a whole", "ir2vis", 33.0, 20.0, -15.0, -9.0, "the opposite"),
        line("X as a whole", "vis2ir", 33.0, 20.0, -15.0, -9.0, "the opposite"),
        line("absent", "ir2vis", *[np.nan] * 4, "not trained yet", seeds=0),
        line("absent", "vis2ir", *[np.nan] * 4, "not trained yet", seeds=0),
    ]
    return pd.DataFrame(rows, columns=helps.COLUMNS)


def test_ideas_are_seen_in_both_directions_or_not_seen(table):
    seen, opposite, others = helps.split(table)
    assert seen == ["large", helps.IDEAS[0].name]
    assert opposite == ["X as a whole"] and others == ["half"]


def test_what_was_not_seen_says_how_large_it_had_to_be(table):
    found = helps.unseen(table)
    assert found.index.tolist() == ["half", "X as a whole"]
    assert found.loc["half", "verdict"] == "ir2vis seen; vis2ir not seen"
    why = "half an interval: 2.8 points (95 %)"
    assert found.loc["half", "why"] == why
    assert found.loc["X as a whole", "why"] == "the interval lies below zero"


def test_three_sentences_say_what_helps_by_how_much_and_on_what(table):
    first, second, third = helps.sentences(table, {"chance": 0.4})
    assert "synthetic" in first
    real = helps.sentences(table, {}, "buptcampus")
    assert "buptcampus data" in real[0] and real[1] == second
    assert not any("synthetic" in sentence for sentence in real)
    order = f"queries most, in points of rank-1: large +27.0 and {helps.IDEAS[0].name} +17.0."
    assert order in second and "+20.0 to +30.0" in second and "half" not in second
    assert (
        "The plain baseline has rank-1 33.0 %. For comparison: chance 0.4 %." in third
    )
    assert "above it none; not told apart from it none; below it X." in third


def test_the_plain_baseline_is_that_of_the_row_with_most_seeds(table):
    assert helps.IDEAS[0].baseline == ideas.PLAIN_OF_IBAN
    more = [line(helps.IDEAS[0].name, "ir2vis", 31.0, 1, 1, 1, "not seen", seeds=1)]
    single = pd.concat([pd.DataFrame(more), table])
    assert "rank-1 33.0 %" in helps.sentences(single, {})[2]
    none = helps.sentences(table[table.idea == "half"], {})[2]
    assert none.startswith("The plain baseline has no stored run. Each paper")
    whole = line("MITML as a whole", "ir2vis", 31.0, 30, -4, 3, "not seen", seeds=5)
    several = pd.concat([pd.DataFrame([whole]), table])
    said = helps.sentences(several, {})[2]
    assert "rank-1 31.0 %" in said, "its baseline is the same network by another label"


def test_several_methods_that_win_are_named_as_a_sentence_does(table):
    won = [line("Y as a whole", d, 1, 9, 7, 9, "seen") for d in ("ir2vis", "vis2ir")]
    won += [line("Z as a whole", d, 1, 8, 6, 8, "seen") for d in ("ir2vis", "vis2ir")]
    third = helps.sentences(pd.concat([pd.DataFrame(won), table]), {})[2]
    assert "above it Y and Z; not told apart from it none; " in third


def test_the_caption_counts_what_was_seen_and_names_the_largest_gain(table):
    caption = helps.draw(table, {"chance": 0.4}).caption
    assert caption.startswith("Of 4 ideas 2 are seen to help in both directions, most ")
    gain = "+27.0 (+20.0 to +30.0) points of rank-1, ir2vis."
    assert f"most large: {gain} Seen to harm: X as a whole." in caption
    assert caption.endswith("Synthetic data.")
    table.loc[table.idea == "X as a whole", "note"] = "collapsed"
    caption = helps.draw(table, {"chance": 0.4}).caption
    assert "Seen to harm: X as a whole (collapsed)." in caption
    table["verdict"] = "not seen"
    assert "directions. Seen to harm: none." in helps.draw(table, {}).caption


def test_where_nothing_is_seen_the_sentences_say_so(table):
    table["verdict"] = "not seen"
    assert helps.sentences(table, {})[1] == "Nothing was seen to help."


def test_the_file_gives_back_what_was_saved(table, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "records", lambda: tmp_path)
    assert helps.load()[0].empty and "make records" in helps.block("f")
    helps.save(table, {"chance": 0.4})
    again, known = helps.load()
    assert known == {"chance": 0.4}
    pd.testing.assert_frame_equal(again, table, check_dtype=False)
    shown = helps.block("f").replace("\N{NO-BREAK SPACE}", " ")
    assert "(f/comparison/what_helps.png)" in shown
    assert "| large | 33.0 → 60.0 | +27.0 (+20.0 to +30.0) |" in shown
    assert "| half |" not in shown and "| X as a whole |" in shown


def test_the_table_of_the_readme_repeats_the_note_of_each_row(
    table, tmp_path, monkeypatch
):
    monkeypatch.setattr(paths, "records", lambda: tmp_path)
    table.loc[table.idea == "large", "note"] = "under-trained, one seed"
    helps.save(table, {})
    lines = helps.block("f").replace("\N{NO-BREAK SPACE}", " ").splitlines()
    (head,) = [text for text in lines if text.startswith("| idea")]
    (large,) = [text for text in lines if text.startswith("| large")]
    (whole,) = [text for text in lines if text.startswith("| X as")]
    assert head.endswith("| seeds | note |")
    assert large.endswith("| 3 | under-trained, one seed |")
    assert whole.endswith("| 3 | – |")


def test_every_row_of_the_list_exists_and_every_method_is_in_it():
    for idea in ideas.everything():
        for method, table, row in (idea.row, idea.baseline):
            assert row in ablation.rows(method, table), idea.name
    names = [idea.name for idea in ideas.everything()]
    assert len(names) == len(set(names))
    whole = set(names) - {idea.name for idea in helps.IDEAS}
    others = [n for n in methods.names() if n != across_methods.BASE]
    assert whole == {f"{across_methods.title(n)} as a whole" for n in others}


@pytest.fixture(scope="module")
def measured(tiny_root, tmp_path_factory):
    """Two comparisons on the tiny set: one against itself, one against more frames."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VVI_RUNS", str(tmp_path_factory.mktemp("runs")))
        same = ideas.Idea("itself", ideas.PLAIN, ideas.PLAIN, "as declared")
        frames = ("baseline", "Fig. 6", "n=1")
        other = ideas.Idea("frames", ideas.PLAIN, frames)
        patch.setattr(ideas, "everything", lambda: [same, other])
        view = figures.scene(preset("tiny"), tiny_root)
        how = dict(data=tiny_root, device="cpu", progress=False)
        yield helps.measure(view, "tiny", [0, 1], **how), view, how


def test_a_comparison_is_the_difference_of_the_means(measured):
    table, _, how = measured
    assert table.idea.tolist() == ["itself"] * 2 + ["frames"] * 2
    itself = table[table.idea == "itself"]
    assert (itself.points == 0).all() and (itself.verdict == "not seen").all()
    assert itself.note.str.startswith("as declared").all()
    runs = [experiment.run(preset("tiny", seed=s), **how) for s in (0, 1)]
    mean = np.mean([r.row("vis2ir")["rank1"] for r in runs])
    assert table["with"].iloc[3] == pytest.approx(mean)
    assert (table.points - (table["with"] - table.without)).abs().max() < 1e-9
    assert (table.low <= table.points + 1e-9).all() and (table.seeds == 2).all()


def test_levels_are_of_the_factors_and_in_order(measured):
    known = helps.levels(measured[1])
    assert list(known) == ["chance", "gait alone", "looks alone", "both"]
    assert known["chance"] < min(known["gait alone"], known["looks alone"])
    assert known["both"] >= max(known["gait alone"], known["looks alone"])


def test_a_row_of_one_seed_or_with_a_larger_identity_loss_is_marked(measured):
    how = measured[2]
    (run,) = [experiment.run(preset("tiny"), **how)]
    assert helps.note([run], [run]) == "one seed"
    high = {k: [v + 1 for v in values] for k, values in run.history.items()}
    worse = experiment.Result(**vars(run) | {"record": _with(run.record, high)})
    assert helps.note([worse] * 2, [run] * 2) == "under-trained"
    assert helps.note([run] * 2, [worse] * 2) == "under-trained without it"
    assert helps.note([run] * 2, [run] * 2) == ""
    at_margin, below = 0.3, 0.2
    for variance, triplet, note in (
        (2e-4, at_margin, "collapsed"),
        (2e-4, below, ""),  # the triplet reads vectors behind the neck
        (0.02, at_margin, ""),
        (float("nan"), at_margin, ""),
    ):
        watched = run.history | {collapse.VARIANCE: [variance] * 59}
        watched[collapse.TRIPLET] = [1.0] * 9 + [triplet] * 50
        other = experiment.Result(**vars(run) | {"record": _with(run.record, watched)})
        assert helps.note([run, other], [run] * 2) == note
        reverse = f"{note} without it" if note else ""
        assert helps.note([run] * 2, [run, other]) == reverse


def _with(record, history):
    from dataclasses import replace

    return replace(record, history=history)


def test_reranking_is_that_of_the_kept_embeddings(measured):
    _, view, how = measured
    run = experiment.run(preset("tiny"), **how)
    found = helps.reranked([run], view)
    before, after = (float(found[f"rank-1 {w}"]) for w in ("before", "after"))
    assert found["points (95 %)"].startswith(f"{after - before:+.1f} (")
    people = {
        view.sides("ir2vis")[0][i].identity for i in run.arrays["shown/query_rows"]
    }
    assert found["people"] == len(people)


def test_words_are_joined_as_in_a_sentence():
    assert formats.joined([]) == "" and formats.joined(["a"]) == "a"
    assert formats.joined(["a", "b", "c"]) == "a, b and c"
