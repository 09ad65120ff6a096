"""`kill -9`, full disks, refused folders, two processes at once: the same bytes.

A kill comes at an event (before and after every rename, sync and removal, in the middle
of a file, after a step) or at a random moment. `make reliability` runs this file with
those of bad input and of lost workers, and keeps the figures in
`book/records/reliability.json`.
"""

from __future__ import annotations

import random
import shutil

import pytest
from interrupted import (
    FULL,
    READ_ONLY,
    Child,
    Fault,
    command,
    content,
    decode,
    generate,
    record,
    run,
    train,
    wait_for,
)

from vvi.experiment import store

SADSTRM = dict(
    method="sadstrm", steps=5
)  # three optimisers, whose phases change after epoch 150 of 200
MITML = dict(
    method="mitml", steps=5, optimiser="sgd", lr=0.01
)  # two, one of them with a constant rate
JOBS = {  # job, its options, and by how many events a process outlives the one before
    "training, AdamW": (train, SADSTRM, 4),
    "training, SGD": (train, MITML, 4),
    "generation": (generate, {}, 8),
    "decoding": (decode, {}, 1),
    "recording": (record, {}, 1),
}


@pytest.fixture(scope="module")
def whole(tiny_root, tmp_path_factory):
    """Job -> what it leaves when nothing happens, number of events and seconds."""
    found = {}

    def of(name: str):
        if name not in found:
            folder = tmp_path_factory.mktemp("whole") / "here"
            said = run(JOBS[name][0], folder, **options(name, tiny_root))
            assert said["error"] is None and not said["warnings"]
            found[name] = content(folder), said["events"], said["seconds"]
        return found[name]

    return of


def options(name: str, data) -> dict:
    job, changes, _ = JOBS[name]
    return changes | ({"data": data} if job in (train, decode) else {})


def steps_of(folder):
    """Return the steps that processes have made there, in order."""
    return (folder / "steps.log").read_text().split()


@pytest.mark.parametrize("name", JOBS)
def test_killed_at_event_after_event_a_job_ends_with_the_same_bytes(
    name, whole, tiny_root, tmp_path, reliability
):
    wanted, events, _ = whole(name)
    job, _, stride = JOBS[name]
    kills = 0
    while (
        run(
            job,
            tmp_path / "here",
            Fault(at=1 + kills * stride),
            **options(name, tiny_root),
        )
        is None
    ):
        kills += 1
        assert kills <= events + 9, "no progress"
    assert content(tmp_path / "here") == wanted
    assert kills >= 3
    reliability.add(name, "kills at an event", kills, "kills survived")


@pytest.mark.parametrize("name", ["training, AdamW", "generation"])
def test_killed_at_random_moments_a_job_ends_with_the_same_bytes(
    name, whole, tiny_root, tmp_path, reliability
):
    wanted, _, seconds = whole(name)
    draw, kills = random.Random(0), 0
    for _ in range(12):
        fault = Fault(after=seconds * draw.uniform(0.05, 0.6))
        done = run(JOBS[name][0], tmp_path / "here", fault, **options(name, tiny_root))
        if done is None:
            kills += 1
        else:  # faster than when it was timed: begin anew, and die sooner
            shutil.rmtree(tmp_path / "here")
            seconds /= 2
        if kills == 5:
            break
    assert (
        run(JOBS[name][0], tmp_path / "here", **options(name, tiny_root))["error"]
        is None
    )
    assert content(tmp_path / "here") == wanted and kills
    reliability.add(name, "kills at a random moment", kills, "kills survived")


@pytest.mark.parametrize(
    "name", ["training, AdamW", "generation", "decoding", "recording"]
)
@pytest.mark.parametrize(
    ("error", "cause"),
    [(FULL, "No space left on device"), (READ_ONLY, "Read-only file system")],
)
def test_a_disk_that_refuses_is_one_line_and_the_job_goes_on_when_it_does_not(
    name, error, cause, whole, tiny_root, tmp_path, reliability
):
    job = JOBS[name][0]
    said = run(
        job, tmp_path / "here", Fault(at=4, error=error), **options(name, tiny_root)
    )
    assert (
        said["error"].startswith("WriteError: cannot write ")
        and cause in said["error"]
        and str(tmp_path / "here") in said["error"]
        and "\n" not in said["error"]
    )
    assert run(job, tmp_path / "here", **options(name, tiny_root))["error"] is None
    assert content(tmp_path / "here") == whole(name)[0]
    reliability.add(name, "refusals survived", 1)


@pytest.mark.parametrize(
    ("name", "size"),
    [("training, AdamW", 20_000), ("decoding", 300_000), ("recording", 2_000)],
)
def test_a_limit_of_the_system_itself_stops_a_file_in_the_middle_and_leaves_no_half(
    name, size, whole, tiny_root, tmp_path, reliability
):
    said = run(
        JOBS[name][0], tmp_path / "here", Fault(size=size), **options(name, tiny_root)
    )
    assert "File too large" in said["error"] and "\n" not in said["error"]
    if name != "decoding":  # its half is what the next one goes on from
        assert not [
            path for path in content(tmp_path / "here") if path.endswith(".part")
        ]
    assert (
        run(JOBS[name][0], tmp_path / "here", **options(name, tiny_root))["error"]
        is None
    )
    assert content(tmp_path / "here") == whole(name)[0]
    reliability.add(name, "refusals survived", 1)


@pytest.mark.parametrize("at", range(1, 5))
def test_an_old_record_outlives_a_full_disk(at, tmp_path, monkeypatch):
    here = tmp_path / "here"
    record(here, None)
    before, seen = content(here), 0

    def full(*_):
        nonlocal seen
        seen += 1
        if seen == at:
            raise OSError(FULL, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    if at <= 3:
        with pytest.raises(OSError, match=r"cannot write .*No space left on device"):
            record(here, None)
    else:
        record(here, None)  # three files, three syncs
    assert content(here) == before
    assert store.load_record(next((here / "runs").iterdir())).arrays[
        "ir2vis/ap"
    ].shape == (4000,)


def test_a_file_in_place_of_the_folder_is_named_before_anything_is_computed(
    tiny_root, tmp_path
):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "runs").write_text("mine")
    said = run(train, tmp_path / "here", data=tiny_root, **SADSTRM)
    folder = tmp_path / "here" / "runs"
    assert f"VVI_RUNS={folder}: {folder} is a file: set it to a folder" in said["error"]
    assert (
        not (tmp_path / "here" / "steps.log").exists()
        and (tmp_path / "here" / "runs").read_text() == "mine"
    )


def test_training_again_goes_on_from_its_own_checkpoint_not_from_a_recorded_one(
    whole, tiny_root, tmp_path
):
    again = dict(data=tiny_root, retrain=True, **SADSTRM)
    for at in (None, 31, None):
        run(train, tmp_path / "here", Fault(at), **again)
    assert (
        steps_of(tmp_path / "here") == list("12345") * 2
    )  # once, and once in two goes
    assert content(tmp_path / "here") == whole("training, AdamW")[0]


def test_of_two_processes_one_trains_and_the_other_waits_and_finds_its_result(
    whole, tiny_root, tmp_path, reliability
):
    first = Child(train, tmp_path / "here", data=tiny_root, **SADSTRM)
    wait_for((tmp_path / "here" / "steps.log").exists)
    second = Child(train, tmp_path / "here", data=tiny_root, **SADSTRM).end()
    assert (
        first.end()["warnings"] == []
        and "waiting until it is done" in second["warnings"][0]
        and f"process {first.process.pid} on" in second["warnings"][0]
    )
    assert steps_of(tmp_path / "here") == list("12345")
    assert content(tmp_path / "here") == whole("training, AdamW")[0]
    reliability.add("two processes", "runs trained by one alone", 1)


def test_a_process_that_waits_takes_over_from_one_that_is_killed(
    whole, tiny_root, tmp_path, reliability
):
    first = Child(train, tmp_path / "here", Fault(at=31), data=tiny_root, **SADSTRM)
    wait_for((tmp_path / "here" / "steps.log").exists)
    second = Child(train, tmp_path / "here", data=tiny_root, **SADSTRM)
    assert first.end() is None and second.end()["error"] is None
    assert steps_of(tmp_path / "here") == list("12345")
    assert content(tmp_path / "here") == whole("training, AdamW")[0]
    reliability.add("two processes", "taken over", 1)


TUNE = ["tune", "baseline", "--trials", "2", "--out", "HERE/log.csv"]
WORLDS = ["worlds", "bars", "--seeds", "0"]
SWEEPS = {  # command, runs of it, and by how many events one outlives the one before
    "a tuning": (dict(arguments=[*TUNE, "--preset", "tiny", "--device", "cpu"]), 2, 17),
    "a world": (
        dict(arguments=[*WORLDS, "--preset", "tiny", "--device", "cpu"], worlds=2),
        2,
        17,
    ),
}


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory):
    """Name -> what a sweep leaves when nothing happens; sets are drawn once for all."""
    cache, found = tmp_path_factory.mktemp("sets"), {}

    def of(name: str):
        if name not in found:
            folder = tmp_path_factory.mktemp("sweep") / "here"
            said = run(command, folder, cache=cache, **SWEEPS[name][0])
            assert said["error"] is None, said
            trained = (folder / "trained.log").read_text().split()
            assert len(trained) == SWEEPS[name][1]
            found[name] = content(folder)
        return found[name], SWEEPS[name][0] | {"cache": cache}

    return of


@pytest.mark.parametrize("name", SWEEPS)
def test_a_killed_sweep_goes_on_and_ends_with_the_same_bytes(
    name, sweeps, tmp_path, reliability
):
    wanted, options = sweeps(name)
    here, stride, kills = tmp_path / "here", SWEEPS[name][2], 0
    while run(command, here, Fault(at=9 + kills * stride), **options) is None:
        kills += 1
        assert kills < 20, "no progress"
    assert content(here) == wanted
    assert kills >= 2
    trained = (here / "trained.log").read_text().split()
    assert len(set(trained)) > 1, "one process made all of it"
    reliability.add(name, "kills at an event", kills, "kills survived")


def test_of_two_tunings_at_once_each_trial_is_trained_once_and_both_tables_are_one(
    sweeps, tmp_path, reliability
):
    wanted, options = sweeps("a tuning")
    here = tmp_path / "here"
    both = [Child(command, here, **options) for _ in range(2)]
    said = [child.end() for child in both]
    assert [one["error"] for one in said] == [None, None]
    assert content(here) == wanted
    trained = (here / "trained.log").read_text().split()
    assert len(trained) == SWEEPS["a tuning"][1], "a trial was trained twice"
    reliability.add("two tunings at once", "trials trained by one alone", len(trained))


@pytest.fixture(scope="module")
def pictures(tiny_root, tmp_path_factory):
    """A trained network, and pictures to embed: their options, and what embedding leaves."""
    folder = tmp_path_factory.mktemp("embed")
    said = run(train, folder, data=tiny_root, method="baseline", steps=1)
    assert said["error"] is None
    weights = next((folder / "runs").glob("*/model.safetensors"))
    own = folder / "own"
    own.mkdir()
    for number, picture in enumerate(sorted(tiny_root.glob("0001/rgb/*/*.jpg"))[:3]):
        shutil.copy(picture, own / f"{number}.jpg")
    arguments = [
        "embed",
        str(own),
        "--modality",
        "vis",
        "--weights",
        str(weights.parent),
    ]
    arguments += ["--device", "cpu", "--out", "HERE/own.npz"]
    options = {"arguments": arguments, "cache": folder / "cache"}
    here = folder / "whole"
    assert run(command, here, **options)["error"] is None
    assert set(content(here)) == {"own.npz", "own.csv"}
    return options, content(here), own


@pytest.mark.parametrize("at", range(1, 5))
@pytest.mark.parametrize("before", [False, True])
def test_a_disk_that_is_full_while_features_are_written_leaves_what_was_there(
    at, before, pictures, tmp_path, reliability
):
    """`at`: into which write, sync or rename of two files the disk is full."""
    options, wanted, _ = pictures
    here = tmp_path / "here"
    if before:
        assert run(command, here, **options)["error"] is None
    said = run(command, here, Fault(at=at, error=FULL), **options)
    assert "cannot write" in said["error"] and "No space left" in said["error"]
    assert "\n" not in said["error"] and str(here) in said["error"]
    assert content(here) == (wanted if before else {})
    assert run(command, here, **options)["error"] is None
    assert content(here) == wanted
    reliability.add("export of features", "refusals survived", 1)


@pytest.mark.parametrize("at", [1, 4, 9])
def test_an_export_that_is_killed_is_whole_after_the_same_command(
    at, pictures, tmp_path, reliability
):
    options, wanted, _ = pictures
    here = tmp_path / "here"
    assert run(command, here, Fault(at=at), **options) is None
    left = content(here)
    assert "own.npz" not in left or wanted.items() <= left.items()
    assert run(command, here, **options)["error"] is None
    assert content(here) == wanted
    reliability.add("export of features", "kills at an event", 1, "kills survived")
