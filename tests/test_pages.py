"""What pages get beside their chapters: links to the glossary, a stamp, counts from
files; and the check of links.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from vvi import methods
from vvi.book import figures
from vvi.plots import style

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def pages():
    spec = importlib.util.spec_from_file_location("pages", ROOT / "book" / "pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_first_time_that_a_term_stands_in_a_sentence_it_is_a_link(pages):
    unseen = ["modality gap", "modality", "clip"]
    assert pages.link_terms("The modality gap of Clips, and a modality.", unseen) == (
        "The {term}`modality gap <modality gap>` of {term}`Clips <clip>`, and a {term}`modality <modality>`."
    )
    assert unseen == [] and pages.link_terms("A clip.", unseen) == "A clip."


@pytest.mark.parametrize(
    "kept",
    [
        "# A gate",
        "`gate`",
        "$gate$",
        "$$\ngate\n$$ (eq-gate)",
        "[gate](x)",
        "{eq}`gate`",
        "```\na gate\n```",
        "<a gate>",
        "![gate](gate.png)",
        ":alt: a gate",
        "investigate",
        "gate-like",
    ],
)
def test_code_formulas_headings_links_and_parts_of_words_stay(pages, kept):
    assert pages.link_terms(kept, ["gate"]) == kept
    assert (
        pages.link_terms(f"{kept}\n\nA gate.", ["gate"])
        == f"{kept}\n\nA {{term}}`gate <gate>`."
    )


def test_a_term_in_capitals_is_no_small_word(pages):
    assert pages.link_terms("a map, the mAP", ["mAP"]) == "a map, the {term}`mAP <mAP>`"


def test_terms_are_those_of_the_glossary_of_the_book(pages):
    found = pages.terms((ROOT / "book" / "glossary.md").read_text())
    assert {"modality gap", "rank-k", "rank-1", "mAP"} <= set(
        found
    ) and not pages.COMMON & set(found)
    assert found.index("modality gap") < found.index("modality")


def test_a_page_ends_with_when_where_and_how_it_ran(pages):
    cells = [
        new_markdown_cell("A clip."),
        new_code_cell('preset: str = "standard"  # size\nseeds: list = [0, 1]  # runs'),
    ]
    notebook = new_notebook(cells=cells)
    notebook.metadata["papermill"] = {
        "start_time": "2026-01-02T03:04:05+00:00",
        "duration": 61.7,
        "parameters": {"seeds": [7]},
    }
    where = {
        "python": "3.11",
        "torch": "2.1",
        "torchvision": "0.1",
        "device": "NVIDIA Y",
        "processor": "2 x X",
        "commit": "abc+",
    }
    notebook.metadata["executed"] = where
    pages.finish(notebook, ["clip"])
    assert notebook.cells[0].source == "A {term}`clip <clip>`."
    last = notebook.cells[-1].source
    assert (
        "2026-01-02 in 62 s: `preset='standard', seeds=[7]`; commit `abc+`, python 3.11, torch 2.1, torchvision 0.1, NVIDIA Y (2 x X)"
        in last
    )


def test_counts_of_reliability_come_from_their_file(pages, tmp_path):
    content = {
        "kills survived": 3,
        "by job": {"training": {"kills": 3}},
        "environment": {"commit": "abc", "python": "3.11", "processor": "X"},
    }
    (tmp_path / "r.json").write_text(json.dumps(content))
    text = pages.reliability(tmp_path / "r.json")
    assert (
        text.startswith("**3 kills survived**") and "| training | kills | 3 |" in text
    )


def test_the_table_of_speed_comes_from_the_stored_benchmark(pages, tmp_path):
    times = {"median": 2.0, "min": 1.5, "max": 2.5, "rounds": [1.5, 2.0, 2.5]}
    way = {
        "seconds": times,
        "memory": times | {"rounds": [2.0]},
        "fraction of peak": 0.4,
    }
    ratios = {"bf16 / usual, seconds": times, "bf16 / usual, memory": times}
    one = {
        "variants": {"usual": way, "bf16": way},
        "ratios": ratios,
        "in turn": {"bf16 / float32": times},
    }
    one |= {
        "environment": {"processor": "X", "torch": "2", "commit": "abc"},
        "parameters": 12_340_000,
    }
    split = {
        "forward": 1.0,
        "losses": 0.001,
        "backward": 2.5,
        "optimiser": 0.25,
        "rest": 0.1,
    }
    dearest = [
        {"operator": "aten::convolution_backward", "calls": 3, "share": 0.513},
        {"operator": "aten::add", "calls": 1, "share": 0.08},
    ]
    one["variants"]["float32"] = way | {"split": split, "dearest": dearest}
    one["ratios"] |= {
        "float32 / usual, seconds": times,
        "float32 / usual, memory": times,
    }
    (tmp_path / "step.json").write_text(json.dumps({"methods": {"mitml": one}}))
    text = pages.speed(tmp_path / "step.json")
    assert "| MITML | usual | 3 | 2.0 (1.5 to 2.5) | 1 | 2.0 | 1 | 40% |" in text
    assert (
        "| MITML | bf16 | 3 | 2.0 (1.5 to 2.5) | 2.00 (1.50 to 2.50) | 2.0 | 2.00 (1.50 to 2.50) | 40% |"
        in text
    )
    assert "**2.00 (1.50 to 2.50)** of the time, 3 pairs" in text
    assert (
        "| MITML | 12.3 | 1.000 | 0.001 | 2.500 | 0.250 | convolution backward 51%, add 8% |"
        in pages.parts(tmp_path / "step.json")
    )


def test_the_stored_measurements_are_whole(pages):
    """What the pages say of reliability and speed: every kind of count, every method,
    every search.
    """
    results = ROOT / "benchmarks" / "results"
    counts = json.loads((ROOT / "book" / "records" / "reliability.json").read_text())
    assert all(
        counts[kind] > 0
        for kind in ("kills survived", "bad inputs refused", "workers killed")
    )
    measured = json.loads((results / "step.json").read_text())["methods"]
    assert set(measured) == set(methods.names())
    for name, one in measured.items():
        assert one["without gradient"] == 0 and {"usual", "float32", "bf16"} <= set(
            one["variants"]
        ), name
        assert len(one["variants"]["bf16"]["seconds"]["rounds"]) >= 3 and not one[
            "environment"
        ]["commit"].endswith("+"), name
    rows = json.loads((results / "nearest.json").read_text())["rows"]
    assert {row["gallery"] for row in rows if row["search"] == "exact"} == {
        10**4,
        10**5,
        10**6,
    }
    assert any(
        row["search"].startswith("faiss IVF") and row["recall@10"] for row in rows
    )
    largest = json.loads((results / "rerank.json").read_text())["rows"][-1]
    assert (
        largest["queries"] == largest["gallery"] == 5000
        and largest["CPU s"] < 120
        and largest["peak MB"] < 2048
    )
    assert "| 5,000 | 5,000 |" in pages.rerank(results / "rerank.json")
    assert "| 1,000,000 | exact |" in pages.nearest(
        results / "nearest.json"
    ) and "without" in pages.compiled(results / "step_compiled.json")


def test_the_table_of_a_step_at_standard_comes_from_its_file(pages, tmp_path):
    one = {"ms": {"step": 120.4, "layers": 80.0, "losses": 20.0}, "ratio": 1.2}
    one |= {"ours": 0.98, "shares": {"convolution": 0.7, "norm": 0.2, "other": 0.019}}
    inside = one | {"ms": {"step": 120.4, "layers": 80.0, "losses": 0.0}}
    content = {"methods": {"a": one, "b": inside}}
    content["environment"] = {"processor": "X", "commit": "abc"}
    (tmp_path / "s.json").write_text(json.dumps(content))
    lines = pages.standard_step(tmp_path / "s.json").splitlines()
    assert lines[2] == "| A | 120 | 80 | 20.0 | 1.20 | 0.98 | norm 20% |"
    assert lines[3] == "| B | 120 | 80 | in the layers | 1.20 | 0.98 | norm 20% |"
    assert lines[-1] == (
        "A ratio of at most 1.15 is reached by 0 of 2 methods, and by 2 if only what is "
        "ours is counted (the column *of it ours*). "
        "Measured on one thread of X, commit `abc`."
    )


def test_what_a_step_costs_beside_the_layers_of_its_network_stays_below_the_limit():
    """Of the stored measurement, for every method of the package."""
    file = ROOT / "benchmarks" / "results" / "standard_step.json"
    by_method = json.loads(file.read_text())["methods"]
    assert sorted(by_method) == sorted(methods.names())
    assert all(one["ours"] <= 1.15 for one in by_method.values())


def test_the_tables_of_scale_come_from_their_file(pages, tmp_path):
    rows = [
        {"layout": "a", "frames": 2000, "task": "open", "CPU s": 1.25, "peak MB": 80},
        {"layout": "a", "frames": 1000, "task": "open", "CPU s": 0.5, "peak MB": 60},
        {"layout": "a", "frames": 1000, "task": "clips", "CPU s": 2, "peak MB": 1200},
    ]
    content = {"rows": rows, "start": {"peak MB": 40}}
    content["environment"] = {"processor": "X", "commit": "abc"}
    (tmp_path / "s.json").write_text(json.dumps(content))
    lines = pages.scale(tmp_path / "s.json").splitlines()
    assert lines[0] == "| CPU seconds | frames | open | clips |"
    assert lines[2:4] == ["| a | 1,000 | 0.5 | 2.0 |", "| a | 2,000 | 1.2 | – |"]
    assert lines[7:9] == ["| a | 1,000 | 60 | 1,200 |", "| a | 2,000 | 80 | – |"]
    assert lines[-1].startswith("Python and its packages alone take 40 MB.")


def test_a_set_as_large_as_the_real_one_opens_in_ten_seconds_and_one_gigabyte():
    """Of the stored simulation: the limits, and that cost grows with the frames alone."""
    file = ROOT / "benchmarks" / "results" / "scale.json"
    rows = json.loads(file.read_text())["rows"]
    full = {"hitsz-vcm": 463_259, "buptcampus": 1_704_768}
    for layout, frames in full.items():
        opened = [r for r in rows if r["layout"] == layout and r["task"] == "open"]
        opened.sort(key=lambda row: row["frames"])
        assert len(opened) == 3 and opened[-1]["frames"] == frames
        assert opened[-1]["CPU s"] < 10 and opened[-1]["peak MB"] < 1024
        each = [row["CPU s"] / row["frames"] for row in opened]
        assert max(each) < 2 * min(each), "it grows faster than the set"


def page_with(site, name, *figures):
    (site / "_images").mkdir(exist_ok=True)
    for file, fig in figures:
        (site / "_images" / file).write_bytes(fig._repr_png_())
    images = "".join(
        f'<img alt="_images/{file}" src="_images/{file}" />' for file, _ in figures
    )
    (site / name).write_text(
        f'<p>{images}<img alt="a logo" src="_static/logo.png"></p>'
    )


def test_figures_are_numbered_and_say_what_they_carry(pages, tmp_path, monkeypatch):
    monkeypatch.setenv("VVI_FIGURES", str(tmp_path / "figures"))
    fig, _ = style.figure()
    style.caption(fig, "It rises by 3 < 4 points.")
    figures.save_figure(fig, "data/line", (), 'A line, "straight" & thin.')
    page_with(tmp_path, "05_x.html", ("a.png", fig), ("b.png", fig))
    page_with(tmp_path, "index.html", ("a.png", fig))
    assert pages.caption_figures(tmp_path) == 3
    text = (tmp_path / "05_x.html").read_text()
    alt, width = "A line, &quot;straight&quot; &amp; thin.", 7 * style.PAGE_DPI
    image = f'<img alt="{alt}" src="_images/b.png" width="{width}">'
    linked = f'<a href="_images/b.png">{image}</a>'
    assert f'<figure class="drawn" id="figure-5.2">{linked}' in text
    caption = '<a href="#figure-5.2">Figure 5.2.</a> It rises by 3 &lt; 4 points.'
    assert f"<figcaption>{caption}</figcaption>" in text
    assert 'alt="a logo"' in text
    assert 'id="figure-1"' in (tmp_path / "index.html").read_text()
    assert pages.caption_figures(tmp_path) == 0


def test_a_figure_without_words_stops_the_build(pages, tmp_path):
    page_with(tmp_path, "05_x.html", ("a.png", style.figure()[0]))
    with pytest.raises(SystemExit, match=r"without words:\n05_x.html: _images/a.png"):
        pages.caption_figures(tmp_path)


def test_links_that_lead_nowhere_are_found(pages, tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "a.html").write_text(
        '<a href="b.html#there">x</a><a href="https://far.example/x">x</a><img src="none.png"><a href="#me"></a><p id="me">'
    )
    (tmp_path / "b.html").write_text(
        '<p id="there"></p><a href="a.html#gone"></a><a href="deep/c.html">c</a>'
    )
    (tmp_path / "_static").mkdir()
    (tmp_path / "_static" / "d.html").write_text('<a href="gone.html">of the theme</a>')
    (tmp_path / "deep" / "c.html").write_text(
        '<a href="../b.html">up</a><a href="../b%2Fc.html">no</a>'
    )
    assert sorted(pages.broken(tmp_path)) == [
        "a.html: none.png",
        "b.html: a.html#gone",
        "deep/c.html: ../b%2Fc.html",
    ]


def test_toggles_get_a_name_and_entries_a_role_in_use(pages, tmp_path):
    page = tmp_path / "a.html"
    arrow = (
        '<summary><span class="toctree-toggle" role="presentation"></span></summary>'
    )
    page.write_text(f'{arrow}<div role="doc-biblioentry" id="id1">x</div>')
    pages.mend_markup(tmp_path)
    text = page.read_text()
    assert text.startswith('<summary aria-label="Pages below"><span')
    assert text.endswith('<div role="listitem" id="id1">x</div>')


def test_films_stand_in_their_order_with_their_words(pages, tmp_path):
    for name, position in (("b", 0), ("a", 1)):
        side = {"position": position, "width": 4, "height": 2, "alt": f"<{name}>"}
        side["caption"] = f"caption of {name}"
        (tmp_path / f"{name}.json").write_text(json.dumps(side))
    text = pages.moving(tmp_path)
    assert text.index("film-b") < text.index("film-a")
    assert 'aria-label="&lt;b&gt;"' in text and "caption of a" in text
    assert "autoplay" not in text and "muted loop" in text


def test_the_query_browser_of_a_page_knows_where_its_lists_lie(pages, tmp_path):
    page = tmp_path / "a.html"
    page.write_text('<div id="vvi-queries">x</div>')
    pages.name_lists(page)
    assert page.read_text() == (
        '<div id="vvi-queries" data-lists="_static/queries/">x</div>'
    )
    page.write_text("<p>x</p>")
    with pytest.raises(ValueError, match="no query browser"):
        pages.name_lists(page)
