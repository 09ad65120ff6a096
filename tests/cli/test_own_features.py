"""`vvi embed`, `vvi rank` and `vvi eval --features` on files: names, labels, damage."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vvi.cli import own
from vvi.cli.main import main
from vvi.evaluation import features
from vvi.evaluation.features import Features
from vvi.types import DataError

EMBED = own._embed  # which the tests of this file replace


def rows_of(people, seed=0, source="/pictures"):
    values = np.random.default_rng(seed).normal(size=(len(people), 4))
    names = [f"{number}.jpg" for number in range(len(people))]
    columns = {"name": names, "identity": people, "camera": "", "frames": "1"}
    about = {"source": source}
    return Features(values.astype(np.float32), pd.DataFrame(columns), about)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A folder in which a network is not needed to embed."""
    folder = tmp_path / "night.1"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(own, "_network", lambda args: None)
    monkeypatch.setattr(own, "_embed", lambda *args: rows_of(["", ""]))
    return folder


def embed(source):
    return main(["embed", str(source), "--modality", "ir", "--weights", "net"])


def test_what_is_embedded_has_a_name_of_its_own_by_default(here):
    for name in ("night", "night.mp4", "cam.1", "cam.2", "cam.2/", ".", "../day"):
        assert embed(name) == 0
    names = {"cam.1", "cam.2", "day", "night", "night.1", "night.mp4"}
    written = {path.name for path in here.glob("*.npz")}
    assert written == {f"{name}.features.npz" for name in names}


def test_embedding_again_keeps_identities_or_refuses(here, monkeypatch, capsys):
    assert embed("night") == 0
    table = here / "night.features.csv"
    table.write_text(table.read_text().replace("1.jpg,,", "1.jpg,p7,"))
    assert embed("night") == 0
    assert list(pd.read_csv(table)["identity"].fillna("")) == ["", "p7"]
    before = table.read_bytes()
    other = rows_of(["", ""], source="/others")
    monkeypatch.setattr(own, "_embed", lambda *args: other)
    capsys.readouterr()
    assert embed("night") == 2
    shown = capsys.readouterr().err
    assert "1.jpg is filled in" in shown and "move the table" in shown
    assert shown.count("\n") == 1 and table.read_bytes() == before


def test_a_video_whose_name_is_not_utf_8_is_refused_before_anyone_is_detected():
    video = Path(os.fsdecode(b"caf\xe9.mp4"))
    video.write_bytes(b"no video")
    with pytest.raises(DataError, match=r"caf\\xe9.mp4: this name is not UTF-8"):
        EMBED(str(video), "ir", None, None)


def test_rank_and_eval_agree_on_who_is_one_person(capsys):
    features.save(rows_of(["1.0", "01", "1_2", "p"]), "q.npz")
    features.save(rows_of(["1", "12", "p"], 1, "/day"), "g.npz")
    assert main(["rank", "q.npz", "g.npz"]) == 0
    lists = pd.read_csv("ranked.csv", dtype=str)
    right = lists[lists.verdict == "right"]
    assert sorted(right.query_identity) == ["01", "1.0", "p"]
    capsys.readouterr()
    assert main(["eval", "--features", "q.npz", "g.npz", "--rule", "none"]) == 0
    first = 100 * (right["rank"] == "1").mean()  # 1_2 has no match and does not count
    assert f"R1 {first:.2f}" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["rank"], ["eval", "--features"]])
def test_a_file_that_is_cut_off_is_one_line(command, here, capsys):
    file = features.save(rows_of(["1", "2"]), here / "q.npz")
    file.write_bytes(file.read_bytes()[:-30])
    assert main([*command, "q.npz", "q.npz"]) == 2
    shown = capsys.readouterr().err
    assert "q.npz is damaged or cut off: copy or export it again" in shown
    assert shown.count("\n") == 1
