import json
import lzma
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from vvi.config import preset
from vvi.experiment import store
from vvi.runtime import paths


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
        "arrays.safetensors.xz",
    }


def as_of_old(record, folder):
    """Write a record as earlier versions did: with its history in record.json."""
    here = store.save_record(replace(record, history={}), folder)
    content = json.loads((here / "record.json").read_text())
    content["history"] = {k: list(v) for k, v in record.history.items()}
    (here / "record.json").write_text(json.dumps(content))
    return unpacked(here)


def arrays_of(folder):
    """Return the arrays of a folder as another program would read them."""
    return load(lzma.decompress((folder / store.ARRAYS).read_bytes()))


def unpacked(folder):
    """Put plain arrays in place of packed ones, as earlier versions wrote them."""
    (folder / store.PLAIN_ARRAYS).write_bytes(save(arrays_of(folder)))
    (folder / store.ARRAYS).unlink()
    return folder


def test_the_history_is_among_the_arrays_with_three_digits(record, tmp_path):
    values = [6.2158999, float("nan"), 3.0e-7, 0.0, -123456.789]
    here = store.save_record(
        replace(record, history={"b/id": values, "a": []}), tmp_path
    )
    assert json.loads((here / "record.json").read_text())["history"] == ["b/id", "a"]
    stored = arrays_of(here)["history/b/id"]
    assert stored.dtype == np.float32 and stored.shape == (5,)
    again = store.load_record(here)
    assert list(again.history) == ["b/id", "a"] and again.history["a"] == []
    np.testing.assert_allclose(again.history["b/id"], values, rtol=2**-12)
    assert set(again.arrays) == set(record.arrays)
    mantissas, _ = np.frexp(stored[np.isfinite(stored)].astype(float))
    scaled = mantissas * 2**store.HISTORY_BITS
    assert np.array_equal(scaled, np.round(scaled)), "no noise behind the digits"


def test_average_precision_is_stored_with_four_digits_and_nothing_else_is_rounded(
    record, tmp_path
):
    values = np.random.default_rng(0).random(200, dtype=np.float32)
    arrays = {"vis2ir/ap": values, "shown/query_feat": values}
    stored = arrays_of(store.save_record(replace(record, arrays=arrays), tmp_path))
    assert np.array_equal(stored["shown/query_feat"], values)
    assert stored["vis2ir/ap"].dtype == np.float32
    assert not np.array_equal(stored["vis2ir/ap"], values)
    np.testing.assert_allclose(stored["vis2ir/ap"], values, rtol=2**-15)
    assert abs(stored["vis2ir/ap"].mean() - values.mean()) < 1e-5, "mAP is the same"


def test_a_history_survives_being_stored_twice(record, tmp_path):
    values = np.random.default_rng(0).normal(size=100).tolist()
    first = store.save_record(replace(record, history={"x": values}), tmp_path)
    before = (first / store.ARRAYS).read_bytes()
    store.save_record(store.load_record(first), tmp_path)
    assert (first / store.ARRAYS).read_bytes() == before


def test_a_record_of_the_old_format_is_read_and_rewritten_once(record, tmp_path):
    here = as_of_old(replace(record, history={"x": [6.2159, 1.0]}), tmp_path)
    assert store.is_old_format(here)
    old = store.load_record(here)
    assert old.history == {"x": [6.2159, 1.0]}
    assert store.rewrite_old(tmp_path) == [record.config.hash]
    assert not store.is_old_format(here) and store.rewrite_old(tmp_path) == []
    new = store.load_record(here)
    assert new.history["x"] == pytest.approx([6.2159, 1.0], rel=2**-12)
    for name in ("config", "versions", "environment", "scores", "seconds", "probes"):
        assert getattr(new, name) == getattr(old, name), name
    assert all(np.array_equal(new.arrays[k], v) for k, v in record.arrays.items())


def test_a_record_with_plain_arrays_is_read_and_packed_once(record, tmp_path):
    here = unpacked(store.save_record(record, tmp_path))
    assert store.is_old_format(here)
    old = store.load_record(here)
    assert old.history == record.history
    assert store.rewrite_old(tmp_path) == [record.config.hash]
    assert not store.is_old_format(here) and store.rewrite_old(tmp_path) == []
    assert {file.name for file in here.iterdir()} == {"record.json", store.ARRAYS}
    new = store.load_record(here)
    assert new.history == old.history
    assert all(np.array_equal(new.arrays[k], v) for k, v in record.arrays.items())


def test_packed_arrays_are_read_before_plain_ones_that_were_left(record, tmp_path):
    here = store.save_record(record, tmp_path)
    (here / store.PLAIN_ARRAYS).write_bytes(b"of a save that was killed at its end")
    assert store.load_record(here).history == record.history
    store.save_record(record, tmp_path)
    assert not (here / store.PLAIN_ARRAYS).exists()


def test_a_history_that_is_not_among_the_arrays_is_named(record, tmp_path):
    here = store.save_record(record, tmp_path)
    packed = lzma.compress(save(dict(record.arrays)))
    (here / store.ARRAYS).write_bytes(packed)
    with pytest.raises(ValueError, match=f"{store.ARRAYS} lacks the history of 'x'"):
        store.load_record(here)


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
    cure = f"move {here} away and run it again"
    with pytest.raises(ValueError, match=f"changed by hand.*{cure}"):
        store.load_record(here)
    file.write_text("{")
    with pytest.raises(ValueError, match=f"record.json is no record.*{cure}"):
        store.load_record(here)


def test_a_folder_that_was_renamed_linked_or_entered_is_the_same_record(
    record, tmp_path, monkeypatch
):
    here = store.save_record(record, tmp_path)
    (tmp_path / "link").symlink_to(here)
    copy = shutil.copytree(here, tmp_path / "my best run")
    monkeypatch.chdir(here)
    for folder in (tmp_path / "link", copy, Path()):
        assert store.load_record(folder).config == record.config
    other = copy.rename(tmp_path / "0123456789ab")
    with pytest.raises(ValueError, match=f"hashes to {record.config.hash}: put"):
        store.load_record(other)


def test_arrays_that_are_missing_are_named_with_the_cure(record, tmp_path):
    here = store.save_record(record, tmp_path)
    (here / store.ARRAYS).unlink()
    said = f"{store.ARRAYS} is missing: delete {here} and run it again"
    with pytest.raises(FileNotFoundError, match=said):
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


def test_without_git_the_commit_is_unknown(monkeypatch):
    monkeypatch.setattr("vvi.runtime.paths.shutil.which", lambda name: None)
    assert paths.commit.__wrapped__() == "unknown"
