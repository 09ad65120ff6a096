import numpy as np
import pandas as pd
import pytest

from vvi.book import published

HEAD = "paper,table,method,venue,dataset,protocol,direction,metric,value,note\n"
ONE = [
    ("T1", "Baseline", "rank1", 50.0),
    ("T1", "Ours", "rank1", 60.5),
    ("T1", "Old", "rank1", 40.0),
    ("T1", "Old", "mAP", 30.0),
    ("T2", "Ours", "rank1", 61.5),
]
TWO = [
    ("T1", "Older", "rank1", 40.0),
    ("T1", "Older", "mAP", 30.1),
    ("T1", "Copy", "rank1", 40.0),
    ("T1", "Copy", "mAP", 30.1),
    ("T1", "Baseline", "rank1", 55.0),
]


@pytest.fixture
def files(tmp_path, monkeypatch):
    for paper, rows, protocol in (("one", ONE, "video"), ("two", TWO, "standard")):
        lines = [
            f"{paper},{table},{method},,STREET,{protocol},ir2vis,{metric},{value},"
            for table, method, metric, value in rows
        ]
        (tmp_path / f"{paper}.csv").write_text(HEAD + "\n".join(lines) + "\n")
    monkeypatch.setattr(published.paths, "published", lambda: tmp_path)
    return published.numbers({"two: Older": "Old"}, {"standard": "video"})


def test_a_method_gets_one_name_and_a_baseline_that_of_its_paper(files):
    assert set(files.method) == {
        "Baseline (one)",
        "Ours",
        "Old",
        "Copy",
        "Baseline (two)",
    }
    assert set(files.protocol) == {"video"}


def test_papers_stand_beside_one_another_with_a_dash_where_one_prints_nothing(files):
    table = published.across_papers(files, "STREET", "video", "ir2vis")
    assert table.loc["Old"].to_dict() == {"one": 40.0, "two": 40.0} and np.isnan(
        table.loc["Ours", "two"]
    )
    assert published.two_digits(table).loc["Ours"].to_dict() == {
        "one": "60.50",
        "two": "–",
    }
    assert published.across_papers(files, "STREET", "video", None).empty


def test_numbers_that_differ_are_found_with_their_places(files):
    found = published.repeated(files).set_index(["method", "metric"])
    assert found.agree.to_dict() == {
        ("Ours", "rank1"): False,
        ("Old", "rank1"): True,
        ("Old", "mAP"): False,
    }
    assert (
        found.loc[("Old", "mAP"), "printed"] == "30 (one T1); 30.1 (two T1)"
        and found.loc[("Old", "mAP"), "papers"] == 2
    )
    assert (
        found.loc[("Ours", "rank1"), "printed"] == "60.5 (one T1); 61.5 (one T2)"
        and found.loc[("Ours", "rank1"), "papers"] == 1
    )


def test_lines_with_the_numbers_of_another_are_found(files):
    (twin,) = published.suspicious_copies(files, least=2).to_dict("records")
    assert twin["paper"] == "two" and {
        twin["line"].split()[0],
        twin["has the numbers of"].split()[0],
    } == {"Old", "Copy"}
    assert published.suspicious_copies(files, least=3).empty


def test_a_gain_is_taken_within_one_table(files):
    assert published.gains(files, "one", "T1", "Ours", "Baseline (one)") == {
        "STREET": pytest.approx(10.5)
    }
    assert published.gains(files, "one", "T2", "Ours", "Baseline (one)") == {}


def test_the_papers_of_this_book_disagree_where_their_cards_say_so():
    told = published.numbers(
        {"di2l: CAJ": "CAJL"},
        {"standard": "video2video", "all-search": "all-search;single-shot"},
    )
    found = published.repeated(told)
    wrong = (
        found[~found.agree & (found.papers > 1)]
        .set_index(["method", "dataset", "metric"])
        .printed
    )
    assert (
        "43.45" in wrong["VSD", "HITSZ-VCM", "mAP"]
        and "43.35 (sadstrm Table 2)" in wrong["VSD", "HITSZ-VCM", "mAP"]
    )
    assert (
        wrong["CAJL", "SYSU-MM01", "rank20"]
        == "98.46 (cmft Table 7); 98.56 (di2l Table 1)"
    )
    lines = published.suspicious_copies(told)
    assert (
        lines.line.str.startswith("Zero-padding")
        & lines["has the numbers of"].str.contains("RegDB")
    ).any()
    assert pd.api.types.is_bool_dtype(found.agree)
