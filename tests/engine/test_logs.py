"""A log holds every step once, also of a run that was stopped, or trained before."""

import csv

import pytest
import torch

from vvi import experiment
from vvi.config import preset
from vvi.engine import logs, progress
from vvi.runtime import optional


@pytest.fixture
def run(tiny_root, tmp_path, monkeypatch):
    monkeypatch.setenv("VVI_RUNS", str(tmp_path))
    how = {"data": tiny_root, "device": "cpu", "progress": False}
    return lambda **more: experiment.run(preset("tiny", "mitml", steps=6), **how | more)


def table(folder, result):
    file = folder / result.run_id / "log" / "csv" / "metrics.csv"
    return list(csv.DictReader(file.open()))


def events(folder, result):
    """Step -> value by tag, from the files that TensorBoard reads."""
    from tensorboardX.proto.event_pb2 import Event

    found = {}
    place = folder / result.run_id / "log" / "tensorboard"
    for file in place.glob("events.*"):
        content = file.read_bytes()
        while content:  # length, its checksum, the event, its checksum
            size = int.from_bytes(content[:8], "little")
            event = Event.FromString(content[12 : 12 + size])
            content = content[16 + size :]
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found


def assert_holds(rows, history):
    assert [int(row["step"]) for row in rows] == list(range(6))
    assert set(rows[0]) == set(history) | {"step"}
    for name, values in history.items():
        kept = [float(row[name]) for row in rows if row[name]]
        assert kept == pytest.approx([v for v in values if v == v], rel=1e-4), name


def test_a_table_has_a_row_for_each_step(run, tmp_path):
    result = run(log="csv")
    assert_holds(table(tmp_path, result), result.history)


def test_a_run_that_goes_on_has_neither_gap_nor_double(run, tmp_path):
    def stop(done, total):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(log="csv", on_step=stop, every=0)
    result = run(log="csv")
    assert_holds(table(tmp_path, result), result.history)
    assert result.history == run(retrain=True).history, "a log changes no number"


def test_a_stored_result_gets_its_log_too(run, tmp_path):
    result = run()
    assert not (tmp_path / result.run_id / "log").exists()
    again = run(log="csv")
    assert again.stored
    assert_holds(table(tmp_path, again), again.history)


def test_tensorboard_gets_every_loss(run, tmp_path):
    result = run(log="TensorBoard")
    found = events(tmp_path, result)
    for name, values in result.history.items():
        kept = {k: v for k, v in enumerate(values) if v == v}
        tag = name.replace(" ", "_")  # names of TensorBoard have no spaces
        assert found[tag] == pytest.approx(kept, rel=1e-4), name


def test_a_log_of_another_kind_is_refused_before_anything_is_trained(run, tmp_path):
    with pytest.raises(
        ValueError, match="no log 'wandb': choose from csv, tensorboard"
    ):
        run(log="wandb")
    assert not list(tmp_path.iterdir())


def test_without_the_package_the_extra_is_named(run, monkeypatch, tmp_path):
    def absent(package, extra):
        raise RuntimeError(f"this needs {package}: pip install 'vvi[{extra}]'")

    monkeypatch.setattr(optional, "load", absent)
    with pytest.raises(RuntimeError, match=r"tensorboardX.*vvi\[logs\]"):
        run(log="tensorboard")
    assert not list(tmp_path.iterdir())


def test_a_loss_that_is_not_finite_is_left_out_of_its_row(tmp_path):
    history = {"a": [1.0, float("nan"), 3.0], "lr": [0.1, 0.1, 0.1]}
    folder = logs.write("csv", tmp_path, history)
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    assert [row["a"] for row in rows] == ["1.0", "", "3.0"]


def test_the_line_says_time_left_and_memory(capsys, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0.0)
    bar = progress.Progress(5, 2, torch.device("cpu"), shown=True)
    bar.mininterval = 0
    for _ in range(3):
        bar.step(8)
    bar.close()
    line = capsys.readouterr().err.split("\r")[-1]
    assert "5/5" in line and "<00:00" in line and " GB" in line and "frames" not in line


def test_on_a_gpu_it_says_frames_a_second(monkeypatch):
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 * 2**30)
    text = progress.status_text(torch.device("cuda:0"), 1234.5)
    assert text == "3.0 GB on the GPU, 1,234 frames/s"


def test_a_hidden_line_asks_nothing(monkeypatch):
    monkeypatch.setattr(progress, "status_text", None)
    bar = progress.Progress(5, 0, torch.device("cpu"), shown=False)
    bar.step(8)
    bar.close()
