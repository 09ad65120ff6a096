import os
import threading
from pathlib import Path

import pytest

from vvi.runtime import atomic


def test_files_appear_together_and_leave_no_halves(tmp_path):
    atomic.write_all(tmp_path / "new" / "folder", {"a": b"1", "b": b"2"})
    assert {
        p.name: p.read_bytes() for p in (tmp_path / "new" / "folder").iterdir()
    } == {"a": b"1", "b": b"2"}


def test_a_refusal_leaves_the_old_files_and_says_where_and_why(tmp_path, monkeypatch):
    atomic.write_all(tmp_path, {"a": b"1", "b": b"2"})

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(
        atomic.WriteError,
        match=rf"cannot write {tmp_path / 'b'}: No space left on device",
    ):
        atomic.write_all(tmp_path, {"a": b"3", "b": b"4"})
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {
        "a": b"1",
        "b": b"2",
    }


def test_one_at_a_time_and_the_second_is_told_for_whom_it_waits(tmp_path):
    order, inside, waited = [], threading.Event(), threading.Event()

    def first():
        with atomic.exclusive_lock(tmp_path / "x"):
            inside.set()
            waited.wait(10)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait(10)
    threading.Timer(0.05, waited.set).start()
    with (
        pytest.warns(
            UserWarning,
            match=r"process \d+ on .* works on .*: waiting until it is done",
        ) as told,
        atomic.exclusive_lock(tmp_path / "x"),
    ):
        order.append("second")
    thread.join()
    assert order == ["first", "second"] and len(told) == 1
    assert not list(tmp_path.iterdir())  # nor a lock


def test_halves_of_a_killed_holder_are_removed_and_nothing_else(tmp_path):
    (tmp_path / "folder").mkdir()
    kept = [tmp_path / "folder" / "model.safetensors", tmp_path / ".other.json.7.part"]
    halves = [
        tmp_path / "folder" / ".record.json.7.part",
        tmp_path / ".cache.json.7.part",
    ]
    for path in kept + halves:
        path.write_text("x")
    for target in (tmp_path / "folder", tmp_path / "cache.u8"):
        with atomic.exclusive_lock(target):
            pass
    assert all(path.exists() for path in kept) and not any(
        path.exists() for path in halves
    )


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_refusal_between_two_renames_puts_back_what_was_there(
    tmp_path, monkeypatch, at
):
    old = {"a": b"1", "b": b"2", "c": b"3"}
    atomic.write_all(tmp_path, old)
    seen, replace = [], os.replace

    def refused(source, target):
        seen.append(target)
        if len(seen) == at:
            raise OSError(5, "Input/output error")
        replace(source, target)

    monkeypatch.setattr("os.replace", refused)
    with pytest.raises(
        atomic.WriteError, match="Input/output error; what was there is as it was"
    ):
        atomic.write_all(tmp_path, dict.fromkeys(old, b"new"))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == old


def test_a_folder_in_which_another_target_is_being_made_is_no_half_file(tmp_path):
    (tmp_path / ".night.v2.part").mkdir()
    with (
        atomic.exclusive_lock(tmp_path / "night.v2"),
        atomic.exclusive_lock(tmp_path / "night"),
    ):
        assert (tmp_path / ".night.v2.part").is_dir()


def test_files_of_which_one_is_missing_are_replaced_and_put_back(tmp_path, monkeypatch):
    """A stored result has no weights until it is trained again."""
    (tmp_path / "record").write_bytes(b"old")
    files = {"weights": b"1", "record": b"new"}
    replace = os.replace

    def refuse(source, target):
        new = Path(source).read_bytes() == b"new"
        if new and Path(target).name == "record":
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(atomic.WriteError):
        atomic.write_all(tmp_path, files)
    assert [f.name for f in tmp_path.iterdir()] == ["record"]
    assert (tmp_path / "record").read_bytes() == b"old"
    monkeypatch.undo()
    atomic.write_all(tmp_path, files)
    assert {f.name: f.read_bytes() for f in tmp_path.iterdir()} == files


def test_halves_are_those_of_the_very_name_whatever_letters_it_has(tmp_path):
    mine = [tmp_path / f".set [1].npz.7{end}" for end in (".part", ".old.part")]
    mine.append(tmp_path / ".set [1].csv.7.part")
    others = [tmp_path / ".set 1.npz.7.part", tmp_path / ".set [1].v2.npz.7.part"]
    for file in (*mine, *others):
        file.touch()
    with atomic.exclusive_lock(tmp_path / "set [1].npz"):
        assert not any(file.exists() for file in mine)
        assert all(file.exists() for file in others)
