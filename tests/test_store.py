import json

import numpy as np
import pytest

from vvi.config import preset
from vvi.experiment import store


@pytest.fixture
def record():
    arrays = {
        "ir2vis/ap": np.linspace(0, 1, 5, dtype=np.float32),
        "a": np.arange(4, dtype=np.int32),
    }
    return store.Record(
        preset("tiny", seed=4),
        {"loop": 1},
        store.environment(),
        {"x": [1.0, 2.5]},
        {"ir2vis": {"rank1": 0.5}},
        {"train": 1.0},
        {"gap": {"value": 1.0}},
        arrays,
    )


def test_a_record_comes_back_as_it_was(record, tmp_path):
    again = store.load_record(store.save_record(record, tmp_path))
    assert (
        again.config == record.config
        and again.scores == record.scores
        and again.history == record.history
        and again.probes == record.probes
    )
    assert all(np.array_equal(again.arrays[k], v) for k, v in record.arrays.items())
    assert {f.name for f in (tmp_path / record.config.hash).iterdir()} == {
        "record.json",
        "arrays.safetensors",
    }


def test_a_record_is_found_in_the_runs_first_and_a_stale_one_is_reported_and_not_used(
    record, tmp_path, monkeypatch
):
    monkeypatch.setenv("VVI_RUNS", str(tmp_path))
    assert store.find(record.config, {"loop": 1}) == (None, [])
    store.save_record(record, tmp_path)
    assert store.find(record.config, {"loop": 1})[0].config == record.config
    found, notes = store.find(record.config, {"loop": 2})
    assert found is None and "stale" in notes[0] and "{'loop': 1}" in notes[0]


def test_a_folder_without_its_json_holds_no_record(record, tmp_path, monkeypatch):
    monkeypatch.setenv("VVI_RUNS", str(tmp_path))
    (store.save_record(record, tmp_path) / "record.json").unlink()
    assert store.find(record.config, {"loop": 1}) == (None, [])


def test_damaged_and_altered_records_are_named(record, tmp_path):
    here = store.save_record(record, tmp_path)
    file = here / "record.json"
    content = json.loads(file.read_text())
    content["config"]["seed"] = 5
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="changed by hand"):
        store.load_record(here)
    file.write_text("{")
    with pytest.raises(ValueError, match="record.json is no record"):
        store.load_record(here)


def test_the_environment_names_versions_processor_and_commit():
    found = store.environment()
    assert {
        "torch",
        "torchvision",
        "numpy",
        "python",
        "device",
        "processor",
        "commit",
    } <= set(found)
