"""The index of the records is derived: it says what the records say, and no more."""

from dataclasses import replace

import pytest

from vvi.config import preset
from vvi.experiment import ablation, record_index, store
from vvi.runtime import paths


def record(settings, rank1=0.5):
    scores = {"rank1": rank1, "mAP": 0.25}
    return store.Record(
        settings,
        {"loop": 1},
        {"processor": "2 x made up"},
        {"x": [1.0]},
        {"ir2vis": scores, "vis2ir": scores | {"mAP": 0.125}},
        {"train": 1.0},
    )


@pytest.fixture
def records(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "records", lambda: tmp_path)
    return tmp_path


def test_the_committed_index_equals_the_records():
    assert record_index.file().read_text() == record_index.text(), "make readme"


def test_no_committed_record_is_of_the_old_format():
    folders = [file.parent for file in paths.records().glob("*/record.json")]
    old = [folder.name for folder in folders if store.is_old_format(folder)]
    assert not old, "make readme rewrites them"


def test_a_record_is_one_line_with_its_scores_in_per_cent(records):
    store.save_record(record(preset("tiny", seed=1)), records)
    (line,) = record_index.table().to_dict("records")
    assert line["hash"] == preset("tiny", seed=1).hash
    assert (line["method"], line["preset"], line["seed"]) == ("baseline", "tiny", 1)
    assert (line["rank1 ir2vis"], line["mAP ir2vis"], line["mAP vis2ir"]) == (
        50.0,
        25.0,
        12.5,
    )
    assert line["row"] == ablation.names("tiny", 1)[preset("tiny", seed=1).hash]
    assert line["row"].startswith("baseline, ")
    assert (line["layout"], line["data"]) == ("hitsz-vcm", "tiny")
    assert line["split"] == "test"
    assert line["versions"] == "loop 1"
    assert line["processor"] == "2 x made up"
    assert line["precision"] == preset("tiny").recipe.precision


def test_runs_are_counted_by_where_they_were_trained(records):
    for seed in (0, 1):
        store.save_record(record(preset("tiny", seed=seed)), records)
    plain = record(preset("tiny", seed=3))
    where = {"processor": "an older one", "precision": "32-true"}
    store.save_record(replace(plain, environment=where), records)
    usual = ("2 x made up", preset("tiny").recipe.precision)
    counted = record_index.by_processor().to_dict("index")
    assert counted == {
        usual: {"runs": 2, "seeds": "0, 1"},
        ("an older one", "32-true"): {"runs": 1, "seeds": "3"},
    }


def test_a_run_on_validation_people_is_the_row_that_it_searched_with(records):
    store.save_record(record(preset("tiny", split="val")), records)
    (line,) = record_index.table().to_dict("records")
    assert line["split"] == "val" and line["hash"] == preset("tiny", split="val").hash
    assert line["row"] == ablation.names("tiny", 0)[preset("tiny").hash]


def test_a_run_that_is_no_row_of_a_table_has_no_label(records):
    store.save_record(record(preset("tiny", lr=0.5)), records)
    store.save_record(record(preset("tiny", lr=0.5, steps=3)), records)
    assert record_index.table().row.tolist() == ["", ""]


def test_a_row_of_another_length_says_its_length(records):
    store.save_record(record(preset("tiny", steps=3)), records)
    row = ablation.names("tiny", 0)[preset("tiny").hash]
    assert record_index.table().row.tolist() == [f"{row}, 3 steps"]


def test_a_row_at_another_rate_says_its_factor(records):
    usual = preset("tiny")
    faster = preset("tiny", lr=2 * usual.recipe.lr)
    store.save_record(record(faster), records)
    row = ablation.names("tiny", 0)[usual.hash]
    assert record_index.table().row.tolist() == [f"{row}, 2 times the rate"]


def test_lines_are_sorted_and_the_file_is_written_whole(records):
    for seed, rank1 in ((2, 0.1), (0, 0.2), (1, 0.3)):
        store.save_record(record(preset("tiny", seed=seed), rank1), records)
    record_index.save()
    assert record_index.table().seed.tolist() == [0, 1, 2]
    head, *lines = record_index.file().read_text().splitlines()
    assert head.split(",") == record_index.columns()
    assert len(lines) == 3 and not list(records.glob("*.part"))
    changed = replace(record(preset("tiny", seed=1)), environment={})
    store.save_record(changed, records)
    assert record_index.text() != record_index.file().read_text()


def test_without_records_the_index_is_its_header(records):
    assert record_index.text() == ",".join(record_index.columns()) + "\n"
