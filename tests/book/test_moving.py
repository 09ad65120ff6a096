"""Moving pictures: what code draws, and the files that the book ships."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vvi.book import moving
from vvi.data.synthetic import crossing
from vvi.data.video import open_video

SHIPPED = Path(__file__).parents[2] / "figures" / moving.FOLDER


def test_a_take_is_a_tracklet_of_the_size_of_a_film():
    shown = moving.take(503, "ir")
    assert shown.frames.shape == (moving.FRAMES, moving.HEIGHT, moving.WIDTH, 3)
    assert shown.frames.dtype == np.uint8 and len(shown.faults) == moving.FRAMES
    assert (shown.frames[..., 0] == shown.frames[..., 2]).all()  # infrared is grey
    assert (np.diff(shown.frames.astype(int), axis=0) != 0).mean() > 0.05


def test_the_pair_looks_alike_and_walks_differently():
    people = crossing.everyone(moving.PRESET, moving.SEED)
    first, second = (people[identity] for identity in moving.look_alike_pair())
    assert first.look_alike_group == second.look_alike_group >= 0
    assert first.body == second.body and first.garments == second.garments
    assert first.gait.rate != second.gait.rate


def test_bad_frames_are_framed_in_another_colour():
    grey = np.full((20, 10, 3), 128, np.uint8)
    corners = [moving._framed(grey, fault)[0, 0].tolist() for fault in ("none", "blur")]
    right, wrong = moving._rgb(moving.RIGHT), moving._rgb(moving.WRONG)
    assert corners == [list(right), list(wrong)]
    assert (grey == 128).all()


def test_a_film_is_written_with_its_still_and_its_words(tmp_path, monkeypatch):
    monkeypatch.setenv("VVI_FIGURES", str(tmp_path))
    film = moving.walking(people=1)
    path = moving.write("walking", film)
    assert len(list(open_video(path))) == moving.FRAMES
    with Image.open(path.with_suffix(".png")) as still:
        assert still.size == (film.frames.shape[2], film.frames.shape[1])
        assert still.text["Description"] == film.alt
    side = json.loads(path.with_suffix(".json").read_text())
    assert (side["frames"], side["rate"]) == (moving.FRAMES, moving.RATE)
    assert "1 test people" in side["caption"] and side["data"] == "synthetic"


def test_a_film_that_is_too_large_is_refused_and_not_left(tmp_path, monkeypatch):
    monkeypatch.setenv("VVI_FIGURES", str(tmp_path))
    monkeypatch.setattr(moving, "LARGEST", 1000)
    with pytest.raises(ValueError, match="raise QUALITY"):
        moving.write("walking", moving.walking(people=1))
    assert not list(tmp_path.rglob("*.mp4"))


def test_the_book_ships_every_film():
    names = sorted(path.stem for path in SHIPPED.glob("*.mp4"))
    assert names == sorted(moving.FILMS)


@pytest.mark.parametrize("name", moving.FILMS)
def test_a_shipped_film_is_small_and_whole(name):
    path = SHIPPED / f"{name}.mp4"
    side = json.loads(path.with_suffix(".json").read_text())
    assert path.stat().st_size <= moving.LARGEST
    pictures = list(open_video(path))
    assert len(pictures) == side["frames"]
    assert pictures[0].shape == (side["height"], side["width"], 3)
    with Image.open(path.with_suffix(".png")) as still:
        shown = np.asarray(still.convert("RGB")).astype(int)
    number = moving.STILL.get(name, 0)
    assert np.abs(pictures[number].astype(int) - shown).mean() < 6


@pytest.mark.parametrize("name", ["look_alikes", "walking"])
def test_a_shipped_film_is_what_the_code_draws(name):
    drawn = moving.FILMS[name]()
    path = SHIPPED / f"{name}.mp4"
    side = json.loads(path.with_suffix(".json").read_text())
    assert (side["alt"], side["caption"]) == (drawn.alt, drawn.caption)
    for picture, frame in zip(open_video(path), drawn.frames, strict=True):
        assert np.abs(picture.astype(int) - frame).mean() < 6
