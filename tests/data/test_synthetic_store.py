"""Synthetic sets on disk: what is written is what is read, in three layouts; the same
bytes from any number of processes and through any interruption.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from small_preset import SMALL

from vvi.data import open_dataset, synthetic
from vvi.data.synthetic import store
from vvi.data.synthetic.presets import Plan, Preset
from vvi.types import DataError, Tracklet

TINY_HASH = "2ab75620304868c74d46548dd7cc5ccb1e4825ded507770282136ddcf5924e11"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`SMALL`, written without interruption by one process."""
    return synthetic.write(
        tmp_path_factory.mktemp("small") / "set", SMALL, workers=1, progress=False
    )


def manifest(root: Path) -> dict:
    return json.loads((root / "manifest.json").read_text())


def rows(table: pd.DataFrame) -> pd.Series:
    return table.groupby(table["mask"], sort=False).size()


def test_the_tiny_set_has_the_same_bytes_on_every_machine(tiny_root: Path):
    assert manifest(tiny_root)["hash"] == TINY_HASH


def test_the_manifest_hash_is_that_of_the_files(tiny_root: Path):
    assert manifest(tiny_root)["hash"] == synthetic.content_hash(tiny_root)
    assert sorted(p.name for p in tiny_root.iterdir() if not p.name.isdigit()) == [
        "info",
        "manifest.json",
        "masks",
    ]


def test_any_number_of_processes_writes_the_same_bytes(whole: Path, tmp_path: Path):
    assert (
        synthetic.content_hash(
            synthetic.write(tmp_path / "two", SMALL, workers=2, progress=False)
        )
        == manifest(whole)["hash"]
    )


def test_another_seed_writes_other_bytes(whole: Path, tmp_path: Path):
    other = synthetic.write(tmp_path / "other", SMALL, seed=1, progress=False)
    assert manifest(other)["hash"] != manifest(whole)["hash"]


def test_the_reader_finds_the_tracklets_that_were_planned(tiny_root: Path):
    frames, dataset = synthetic.read_frames(tiny_root), open_dataset(tiny_root)
    lengths = rows(frames)
    first = frames.drop_duplicates("mask").set_index("mask")
    kept = lengths[lengths >= 12].index
    for split, tracklets in (
        ("train", dataset.train),
        ("test", (*dataset.query("ir2vis"), *dataset.gallery("ir2vis"))),
    ):
        expected = Counter(
            (r.identity, r.camera, r.modality, int(lengths[m]))
            for m, r in first.loc[kept].iterrows()
            if r.split == split
        )
        assert (
            Counter((t.identity, t.camera, t.modality, len(t)) for t in tracklets)
            == expected
        )
    dropped = lengths[lengths < 12].index
    assert len(dropped) == sum(dataset.dropped.values()) > 0
    assert not dataset.problems
    listed = set(frames.path)
    assert all(
        p.relative_to(tiny_root).as_posix() in listed and p.is_file()
        for t in dataset.train
        for p in t.paths
    )


def test_every_tiny_identity_is_kept_by_two_cameras_of_each_modality(tiny_root: Path):
    dataset = open_dataset(tiny_root)
    everyone = (*dataset.train, *dataset.query("ir2vis"), *dataset.gallery("ir2vis"))
    seen: dict[tuple[int, str], set[int]] = {}
    for tracklet in everyone:
        seen.setdefault((tracklet.identity, tracklet.modality), set()).add(
            tracklet.camera
        )
    assert len(seen) == 32
    assert min(map(len, seen.values())) >= 2


def test_frames_continue_from_one_tracklet_to_the_next(tiny_root: Path):
    frames, factors = (
        synthetic.read_frames(tiny_root),
        synthetic.read_factors(tiny_root),
    )
    for (identity, _, _), film in frames.groupby(["identity", "modality", "camera"]):
        assert film.frame.tolist() == list(range(1, 5 * len(film), 5))
        assert film.tracklet.tolist() == [k // 24 + 1 for k in range(len(film))]
        turned = np.diff(film.phase) % 1.0
        assert np.allclose(turned, factors.rate[identity], atol=3e-4)
        assert film.direction.nunique() == 1


def test_pictures_have_three_channels_and_infrared_ones_are_grey(tiny_root: Path):
    for tracklet in (
        *open_dataset(tiny_root).query("ir2vis")[:3],
        *open_dataset(tiny_root).gallery("ir2vis")[:3],
    ):
        with Image.open(tracklet.paths[0]) as picture:
            pixels = np.asarray(picture).astype(int)
        assert pixels.shape == (64, 32, 3)
        assert (np.ptp(pixels, axis=2).max() <= 2) == (tracklet.modality == "ir")


def test_masks_belong_to_the_frames_of_a_tracklet(tiny_root: Path):
    tracklet = open_dataset(tiny_root).train[0]
    masks = synthetic.read_masks(tiny_root, tracklet)
    assert masks.shape == (len(tracklet), 64, 32)
    assert masks.dtype == bool
    picked = Tracklet(
        tracklet.paths[5:2:-1], tracklet.identity, tracklet.camera, tracklet.modality
    )
    assert np.array_equal(synthetic.read_masks(str(tiny_root), picked), masks[5:2:-1])


def test_masked_pixels_stand_out_of_the_infrared_scenery(tiny_root: Path):
    frames = synthetic.read_frames(tiny_root)
    sound = set(frames.path[frames.fault == "none"])
    inside, outside = [], []
    for tracklet in open_dataset(tiny_root).query("ir2vis"):
        for path, mask in zip(
            tracklet.paths, synthetic.read_masks(tiny_root, tracklet), strict=True
        ):
            if path.relative_to(tiny_root).as_posix() in sound:
                grey = np.asarray(Image.open(path).convert("L"))
                inside.append(grey[mask].mean())
                outside.append(grey[~mask].mean())
    assert np.mean(inside) > 2 * np.mean(outside)
    assert np.mean(np.array(inside) > np.array(outside)) > 0.95


def test_factors_have_one_row_per_identity(tiny_root: Path):
    factors = synthetic.read_factors(tiny_root)
    assert factors.index.tolist() == [*range(1, 9), *range(503, 511)]
    assert factors.split.value_counts().to_dict() == {"train": 8, "test": 8}
    for split in ("train", "test"):
        groups = factors.look_alike_group[factors.split == split]
        assert Counter(groups[groups >= 0].value_counts()) == Counter({2: 1})
    assert {
        "height",
        "girth",
        "sleeves",
        "pattern",
        "bag",
        "rate",
        "arm_left",
        "top_vis",
        "top_ir",
    } <= set(factors.columns)


def test_a_table_of_an_unfinished_set_is_a_clear_error(tmp_path: Path):
    with pytest.raises(DataError, match="is no synthetic set"):
        synthetic.read_frames(tmp_path)


def test_a_complete_set_is_returned_at_once(whole: Path):
    before = (whole / "manifest.json").stat().st_mtime_ns
    assert synthetic.write(whole, SMALL, progress=False) == whole
    assert (whole / "manifest.json").stat().st_mtime_ns == before
    assert synthetic.is_complete(whole, SMALL)
    assert not synthetic.is_complete(whole, SMALL, seed=1)
    assert not synthetic.is_complete(whole, "tiny")
    assert not synthetic.is_complete(whole.parent, SMALL)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"layout": "regdb"},
        {"preset": "tiny"},
        {"preset": Preset("small", Plan(2), Plan(2))},
    ],
)
def test_a_folder_with_another_set_is_an_error(whole: Path, change: dict):
    with pytest.raises(ValueError, match="holds a(nother)? synthetic set"):
        synthetic.write(whole, **({"preset": SMALL, "progress": False} | change))


def test_a_set_of_another_version_is_an_error(
    whole: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(synthetic, "VERSION", synthetic.VERSION + 1)
    assert not synthetic.is_complete(whole, SMALL)
    with pytest.raises(ValueError, match="version"):
        synthetic.write(whole, SMALL, progress=False)


def test_a_folder_with_foreign_files_is_an_error_and_stays_as_it_is(tmp_path: Path):
    (tmp_path / "thesis.txt").write_text("keep me")
    with pytest.raises(ValueError, match=r"not empty.*thesis\.txt"):
        synthetic.write(tmp_path, SMALL, progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_unknown_names_are_errors_that_list_the_known_ones(tmp_path: Path):
    with pytest.raises(ValueError, match="tiny, half, standard, full"):
        synthetic.write(tmp_path / "a", "huge")
    with pytest.raises(ValueError, match="hitsz-vcm, sysu-mm01, regdb"):
        synthetic.write(tmp_path / "a", SMALL, layout="mars")
    assert not (tmp_path / "a").exists()


def finished(root: Path) -> list[Path]:
    """Identities that wait in a folder of an interrupted run."""
    return [p for p in (root / store.PARTS).glob("*") if p.name.isdigit()]


def test_a_run_killed_in_the_middle_reads_as_incomplete_and_goes_on(tmp_path: Path):
    root = tmp_path / "set"
    many = replace(SMALL, train=Plan(96, full=0, last=(12, 14)))
    whole = synthetic.write(tmp_path / "whole", many, workers=2, progress=False)
    script = tmp_path / "run.py"
    script.write_text(
        "import sys\nfrom vvi.data import synthetic\nfrom vvi.data.synthetic.presets import Plan, Preset\n"
        "from vvi.data.synthetic.world import World\n"
        f"if __name__ == '__main__':\n    synthetic.write(sys.argv[1], {many!r}, workers=2)\n"
    )
    run = subprocess.Popen(
        [sys.executable, str(script), str(root)],
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    while not finished(root):
        assert run.poll() is None, "the run ended before it could be killed"
        time.sleep(0.002)
    run.kill()
    run.wait()
    assert not synthetic.is_complete(root, many)
    with pytest.raises(DataError):
        open_dataset(root)
    wait_for_the_end_of(run.pid)
    done = finished(root)
    assert 0 < len(done) < 100
    ages = {
        frame.relative_to(part / "files"): frame.stat().st_mtime_ns
        for part in done
        for frame in (part / "files").rglob("*.jpg")
    }
    synthetic.write(root, many, progress=False)
    assert (
        manifest(root)["hash"]
        == synthetic.content_hash(root)
        == manifest(whole)["hash"]
    )
    assert {path: (root / path).stat().st_mtime_ns for path in ages} == ages
    assert not (root / store.PARTS).exists()


def wait_for_the_end_of(group: int) -> None:
    """Wait until the workers of a killed run have ended by themselves."""
    for _ in range(200):
        if not working(group):
            return
        time.sleep(0.1)
    os.killpg(group, signal.SIGKILL)
    pytest.fail("workers outlived the killed run")


def working(group: int) -> bool:
    """Whether a process of a group works on: one that only waits to be buried does not."""
    lines = subprocess.check_output(["ps", "-A", "-o", "pgid=,stat="], text=True)
    found = [line.split() for line in lines.splitlines()]
    return any(pgid == str(group) and stat[0] != "Z" for pgid, stat in found)


def test_a_tilde_stands_for_the_home_folder(tiny_root, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set").symlink_to(tiny_root)
    assert synthetic.is_complete("~/set", "tiny")
    assert synthetic.write("~/set", "tiny", progress=False) == tmp_path / "set"
    assert len(synthetic.read_factors("~/set")) == 16
    assert not (tmp_path / "~").exists()
