"""The query browser of the pages: its JSON says what the records say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vvi.book import across_methods, query_pages
from vvi.book.queries import KNOWN, words
from vvi.data import open_dataset, synthetic
from vvi.plots import ranked

SHEETS = Path(__file__).parents[2] / "book" / "_static" / "queries"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("queries")
    found = {}
    for path in query_pages.write(folder):
        call, name, text = path.read_text().partition(f'("{path.stem}",')
        assert call == query_pages.CALL and name and text.endswith(");\n")
        found[path.stem] = json.loads(text.removesuffix(");\n"))
    return found


def test_places_are_those_of_the_lists_on_disk(tiny_root):
    dataset = open_dataset(tiny_root)
    places = query_pages.sides("tiny")
    for modality, direction in (("ir", "ir2vis"), ("vis", "vis2ir")):
        expected = [(t.identity, t.camera) for t in dataset.query(direction)]
        assert places[modality] == expected


def test_each_person_asks_once():
    assert query_pages.query_rows([(5, 1), (5, 2), (7, 1), (5, 3)]) == [0, 2]


def test_factors_are_those_on_disk_in_words(tiny_root, monkeypatch):
    monkeypatch.setattr(query_pages, "PRESET", "tiny")
    table, about = synthetic.read_factors(tiny_root), query_pages.people()
    for identity, shown in about["factors"].items():
        row = table.loc[int(identity)]
        assert shown == [words(name, row[name]) for name in KNOWN]
        assert about["groups"][identity] == row.look_alike_group


def test_lists_are_those_of_the_records(written):
    results = across_methods.main_results()
    assert set(written) == {"people", *map(str.lower, results)}
    for title, runs in results.items():
        about = written["people"]["methods"][title.lower()]
        assert about == {"title": title, "seeds": [r.config.seed for r in runs]}
        for direction, side in written[title.lower()].items():
            for result in runs:
                _agrees(side["seeds"][str(result.config.seed)], result, direction, side)


def _agrees(shown, result, direction, side):
    rows, arrays = side["rows"], result.arrays
    assert shown["run"] == result.run_id
    assert shown["hit"] == arrays[f"{direction}/first_hit"][rows].tolist()
    precision = 100 * arrays[f"{direction}/ap"][rows].astype(float)
    assert np.allclose(shown["ap"], precision, atol=0.051)
    assert shown["rank1"] == round(result.row(direction)["rank1"], 1)
    name = f"{direction}/top"
    assert ("top" in shown) == (name in arrays)
    if name in arrays:
        assert shown["top"] == arrays[name][rows].tolist()


def test_the_first_right_item_stands_where_the_record_says(written):
    """Rows of the lists name the people that the record's metrics were counted on."""
    sides = written["people"]["sides"]
    for name in set(written) - {"people"}:
        for direction, side in written[name].items():
            query, gallery = (
                np.array(sides[m]["identity"]) for m in direction.split("2")
            )
            run = side["seeds"]["0"]
            marks = ranked.compose(np.array(run["top"]), query[side["rows"]], gallery)
            for line, hit in zip(marks, run["hit"], strict=True):
                right = np.flatnonzero(line == "right")
                assert (right[0] + 1 if len(right) else 0) == (
                    hit if 0 < hit <= 10 else 0
                )


def test_the_same_records_give_the_same_bytes(written, tmp_path):
    again = query_pages.write(tmp_path)
    total = sum(path.stat().st_size for path in again)
    assert total < 500_000
    for path in again:
        assert path.read_text() == query_pages.script(path.stem, written[path.stem])


@pytest.mark.parametrize("modality", ["vis", "ir"])
def test_a_sheet_holds_a_thumbnail_of_each_sequence(modality):
    cells = len(set(query_pages.sides()[modality]))
    lines = -(-cells // query_pages.COLUMNS)
    with Image.open(SHEETS / f"{modality}.webp") as sheet:
        size = (query_pages.COLUMNS * query_pages.WIDTH, lines * query_pages.HEIGHT)
        assert sheet.size == size
        shades = np.asarray(sheet.convert("L"))
    blocks = shades.reshape(lines, query_pages.HEIGHT, query_pages.COLUMNS, -1)
    spread = blocks.astype(float).std((1, 3)).ravel()
    assert (spread[:cells] > 4).all()
