"""The page on the field: cited keys exist, numbers are those of the papers' files."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from vvi.book import field
from vvi.experiment import store
from vvi.runtime import paths

BOOK = Path(__file__).parents[2] / "book"
KEYS = set(re.findall(r"^@\w+\{(\w+),", (BOOK / "references.bib").read_text(), re.M))


def test_every_method_and_data_set_of_the_page_is_in_the_bibliography():
    page = (BOOK / "text" / "the_field.md").read_text()
    cited = set(re.findall(r"\{cite:p\}`(\w+)`", page))
    for name in ("methods", "datasets"):
        listed = set(field._read(name).cited.dropna())
        assert listed <= KEYS
        assert listed <= cited, "a listed method is not cited in the text"
    assert cited <= KEYS


def test_every_key_that_a_page_cites_is_in_the_bibliography():
    for page in [*BOOK.glob("*.md"), *(BOOK / "text").glob("*.md")]:
        for keys in re.findall(r"\{cite:p\}`([^`]+)`", page.read_text()):
            assert {key.strip() for key in keys.split(",")} <= KEYS, page.name


def test_no_key_of_the_bibliography_stands_twice():
    text = (BOOK / "references.bib").read_text()
    keys = re.findall(r"^@\w+\{(\w+),", text, re.M)
    assert len(keys) == len(set(keys))


def test_the_counts_of_hitsz_vcm_are_those_that_mitml_prints():
    row = field.datasets().loc["HITSZ-VCM"]
    printed = pd.read_csv(paths.published() / "mitml.csv")
    printed = printed[printed.dataset == "HITSZ-VCM"].query("table == 'Table 1'")
    printed = printed.set_index("metric").value
    assert int(row["people"]) == printed["identities"]
    assert int(row["pictures"].replace(",", "")) == printed["images"]
    assert row["items"] == f"{int(printed['tracklets']):,} tracklets"
    parts = (int(row[m].replace(",", "")) for m in ("visible", "infrared"))
    assert sum(parts) == printed["tracklets"]


def test_a_data_set_without_sources_has_dashes_only():
    assert set(field.datasets().loc["AG-VPReID.VIR"]) == {field.DASH}


def test_published_numbers_on_video_are_one_line_a_method_from_worst_to_best():
    table = field.on_video()
    assert table.index.is_unique
    first = table["ir2vis rank-1"].astype(float)
    assert first.is_monotonic_increasing
    assert (first["MITML"], first["SADSTRM"], first["CMFT"]) == (63.74, 65.31, 69.88)
    assert table.source["IBAN"] == "CMFT, IBAN"


def test_later_methods_keep_their_dashes():
    table = field.later("HITSZ-VCM")
    assert table.loc["M3-ReID", "ir2vis rank-1"] == "73.21"
    assert set(table.loc["SDN"].iloc[:4]) == {field.DASH}


def test_only_runs_on_real_data_are_listed_as_such(tmp_path, monkeypatch):
    monkeypatch.setenv("VVI_RUNS", str(tmp_path))
    before = field.real_runs()
    drawn = store.load_record(next(paths.records().glob("*/record.json")).parent)
    folder = store.save_record(drawn, tmp_path)
    assert folder.parent == tmp_path
    assert len(field.real_runs()) == len(before), "a drawn set is not a real one"
    pixels = replace(drawn.config.data, source="real:0123abcd")
    real = replace(drawn, config=replace(drawn.config, data=pixels))
    store.save_record(real, tmp_path)
    lines = field.real_runs()
    assert len(lines) == len(before) + 1
    assert lines.iloc[-1]["preset"] == drawn.config.preset


def test_the_timeline_names_every_method_once(tmp_path, monkeypatch):
    monkeypatch.setenv("VVI_FIGURES", str(tmp_path))
    fig = field.history()
    names = [text.get_text() for text in fig.axes[0].texts]
    listed = field._read("methods").method
    assert all(names.count(name) == 1 for name in listed)
    assert "5 of 33" in fig.caption


@pytest.mark.parametrize("name", ["datasets", "methods", "later"])
def test_the_lists_of_the_field_have_no_empty_name(name):
    assert field._read(name).iloc[:, 0].notna().all()
