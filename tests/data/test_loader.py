from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from vvi.config import DataConfig, Recipe
from vvi.data import images
from vvi.data.clips import test_frames
from vvi.data.loader import Frames, TrainLoader, decode, evaluated_frames, test_clips
from vvi.data.transforms import normalise
from vvi.types import DataError, Dataset, Tracklet

DATA, RECIPE = (
    DataConfig(height=32, width=16, frames=3, pad=2),
    Recipe(identities=2, tracklets=2),
)


@pytest.fixture
def folder(tmp_path):
    rng, train = np.random.default_rng(0), []
    for identity in (4, 7, 9):
        for modality in ("vis", "ir"):
            for number in range(2):
                paths = []
                for frame in range(5 + number):
                    path = tmp_path / f"{identity}{modality}{number}-{frame}.jpg"
                    smooth = Image.fromarray(
                        rng.integers(0, 256, (6, 4, 3), dtype=np.uint8)
                    ).resize((40, 80), Image.Resampling.BICUBIC)
                    smooth.save(path, quality=90)
                    paths.append(path)
                train.append(Tracklet(tuple(paths), identity, number + 1, modality))
    return Dataset("hitsz-vcm", tmp_path, tuple(train), {}, "vcm")


def test_a_small_frame_is_decoded_once_until_its_file_changes(folder, monkeypatch):
    path, read, times = folder.train[0].paths[0], images.read, []
    monkeypatch.setattr(images, "read", lambda p: times.append(p) or read(p))
    first = decode(path, 32, 16)
    assert torch.equal(decode(path, 32, 16), first) and len(times) == 1
    decode(path, 32, 8)
    assert len(times) == 2, "another size is another frame"
    path.write_bytes(folder.train[1].paths[0].read_bytes())
    assert not torch.equal(decode(path, 32, 16), first) and len(times) == 3
    path.unlink()
    with pytest.raises(DataError, match="does not exist"):
        decode(path, 32, 16)


def test_large_frames_are_not_kept_in_memory(folder, monkeypatch):
    path, read, times = folder.train[0].paths[0], images.read, []
    monkeypatch.setattr(images, "read", lambda p: times.append(p) or read(p))
    for _ in range(2):
        decode(path, 128, 64)
    assert len(times) == 2


def test_decoding_is_within_two_grey_levels_of_pil_bilinear(folder):
    path = folder.train[0].paths[0]
    with Image.open(path) as image:
        expected = np.asarray(
            image.convert("RGB").resize((16, 32), Image.Resampling.BILINEAR), np.int16
        )
    assert (
        np.abs(
            decode(path, 32, 16).permute(1, 2, 0).numpy().astype(np.int16) - expected
        ).mean()
        < 2
    )


def test_a_grey_jpeg_and_a_bitmap_become_three_channels(tmp_path):
    Image.fromarray(np.full((8, 4), 90, np.uint8)).save(tmp_path / "g.jpg")
    Image.fromarray(np.full((8, 4, 3), 90, np.uint8)).save(tmp_path / "c.bmp")
    assert (
        decode(tmp_path / "g.jpg", 8, 4).shape
        == decode(tmp_path / "c.bmp", 8, 4).shape
        == (3, 8, 4)
    )


@pytest.mark.parametrize("name", ["a.jpg", "a.bmp"])
def test_missing_empty_and_truncated_images_are_named_with_the_reason(tmp_path, name):
    path = tmp_path / name
    with pytest.raises(DataError, match=f"{name} does not exist"):
        decode(path, 8, 4)
    path.write_bytes(b"")
    with pytest.raises(DataError, match=f"{name} is empty"):
        decode(path, 8, 4)
    Image.fromarray(
        np.random.default_rng(0).integers(0, 256, (64, 32, 3), dtype=np.uint8)
    ).save(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=f"{name} cannot be decoded"):
        decode(path, 8, 4)


def test_the_cache_returns_the_pixels_of_the_files(folder, tmp_path):
    plain, cached = Frames(32, 16), Frames(32, 16, tmp_path / "cache")
    cached.build(folder.train, progress=False)
    for t in folder.train:
        which = np.arange(len(t))[::-2]
        assert torch.equal(plain.read(t, which), cached.read(t, which))


def test_a_finished_cache_is_not_written_again_and_a_damaged_one_is(folder, tmp_path):
    Frames(32, 16, tmp_path / "cache").build(folder.train, progress=False)
    file = next((tmp_path / "cache").glob("*.u8"))
    before = file.stat().st_mtime_ns
    Frames(32, 16, tmp_path / "cache").build(folder.train, progress=False)
    assert file.stat().st_mtime_ns == before
    file.write_bytes(file.read_bytes()[:-7])
    again = Frames(32, 16, tmp_path / "cache")
    again.build(folder.train, progress=False)
    assert torch.equal(
        again.read(folder.train[-1], np.arange(3)),
        Frames(32, 16).read(folder.train[-1], np.arange(3)),
    )
    assert not list((tmp_path / "cache").glob("*.part"))


@pytest.mark.parametrize(
    ("data", "recipe"),
    [
        ({"height": 10**7}, {}),
        ({"width": 10**7}, {}),
        ({"frames": 10**7}, {}),
        ({}, {"tracklets": 10**8}),
    ],
)
def test_a_batch_beyond_the_memory_is_refused_before_it_is_loaded(folder, data, recipe):
    data, recipe = replace(DATA, **data), replace(RECIPE, **recipe)
    with pytest.raises(ValueError, match=r"a batch of .* GB, this machine has .* GB"):
        TrainLoader(folder, Frames(32, 16), data, recipe, seed=1)


def test_where_the_memory_is_unknown_no_batch_is_refused(folder, monkeypatch):
    monkeypatch.setattr("vvi.runtime.cpu.memory", lambda: 0)
    TrainLoader(folder, Frames(32, 16), replace(DATA, height=10**9), RECIPE, seed=1)


def test_a_batch_repeats_for_its_seed_and_step_and_lists_what_it_shows(folder):
    loader = TrainLoader(folder, Frames(32, 16), DATA, RECIPE, seed=1)
    first, second = (list(loader.batches(0, 4)) for _ in range(2))
    alone = list(loader.batches(2, 3))[0]
    for a, b in zip(first, second, strict=True):
        assert (
            torch.equal(a.vis, b.vis)
            and torch.equal(a.ir, b.ir)
            and torch.equal(a.ids, b.ids)
        )
    assert torch.equal(alone.vis, first[2].vis) and alone.step == 2
    assert alone.vis.shape == (4, 3, 3, 32, 16) and alone.clips.shape == (
        8,
        3,
        3,
        32,
        16,
    )
    labels = folder.labels
    for rows, modality in ((alone.rows_vis, "vis"), (alone.rows_ir, "ir")):
        assert [labels[folder.train[r].identity] for r in rows] == alone.ids.tolist()
        assert {folder.train[r].modality for r in rows} == {modality}


def test_batches_made_in_other_processes_are_the_same(folder):
    loader = TrainLoader(folder, Frames(32, 16), DATA, RECIPE, seed=1)
    for here, there in zip(
        loader.batches(0, 3), loader.batches(0, 3, workers=2), strict=True
    ):
        assert torch.equal(here.vis, there.vis) and torch.equal(
            here.rows_ir, there.rows_ir
        )


def test_a_damaged_frame_stops_training_with_its_name_from_a_worker_too(folder):
    for t in folder.train:
        t.paths[0].write_bytes(b"")
    loader = TrainLoader(
        folder,
        Frames(32, 16),
        DataConfig(height=32, width=16, frames=6, pad=2),
        RECIPE,
        seed=1,
    )
    for workers in (0, 1):
        with pytest.raises(DataError, match="-0.jpg is empty"):
            list(loader.batches(0, 1, workers=workers))


def test_clips_of_evaluation_hold_the_first_frame_of_each_part(folder):
    reader = Frames(32, 16)
    clips = torch.cat(list(test_clips(folder.train, reader, 3, batch=5)))
    assert clips.shape == (12, 3, 3, 32, 16)
    t = folder.train[3]
    assert torch.equal(
        clips[3],
        torch.stack([decode(t.paths[i], 32, 16) for i in test_frames(len(t), 3)]),
    )
    assert torch.isfinite(normalise(clips)).all()


def test_clips_of_frames_a_stride_apart_are_read_in_training_and_in_a_search(folder):
    plain = replace(DATA, pad=0, flip=0.0)
    apart = replace(plain, stride=2)
    reader, tracklets = Frames(32, 16), folder.train
    for t in tracklets:
        assert evaluated_frames(t, apart).tolist() == test_frames(len(t), 3, 2).tolist()
        assert evaluated_frames(t, plain).tolist() == test_frames(len(t), 3).tolist()
    clips = torch.cat(list(test_clips(tracklets, reader, 3, batch=5, stride=2)))
    for t, clip in zip(tracklets, clips, strict=True):
        assert torch.equal(clip, reader.read(t, evaluated_frames(t, apart)))
    seen = set()
    for batch in TrainLoader(folder, reader, apart, RECIPE, seed=1).batches(0, 6):
        for clip, row in zip(batch.vis, batch.rows_vis.tolist(), strict=True):
            t = tracklets[row]
            starts = range(len(t) - 4)
            possible = [normalise(reader.read(t, np.arange(3) * 2 + s)) for s in starts]
            found = [s for s in starts if torch.equal(clip, possible[s])]
            assert len(found) == 1
            seen.add((len(t), found[0]))
    assert seen == {(5, 0), (6, 0), (6, 1)}


def test_the_batches_of_a_stride_of_0_are_those_of_no_stride(folder):
    reader = Frames(32, 16)
    batches = []
    for data in (DATA, replace(DATA, stride=0), replace(DATA, stride=1)):
        loader = TrainLoader(folder, reader, data, RECIPE, seed=1)
        batches.append(next(loader.batches(3, 4)))
    assert torch.equal(batches[0].vis, batches[1].vis)
    assert not torch.equal(batches[0].vis, batches[2].vis)


def test_a_row_of_the_released_arrays_is_read_like_a_file(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 288, 144, 3), dtype=np.uint8)
    np.save(tmp_path / "x.npy", images)
    assert torch.equal(
        decode(tmp_path / "x.npy" / "2", 288, 144),
        torch.from_numpy(images[2]).permute(2, 0, 1),
    )


def test_files_cache_and_resident_frames_give_the_same_batch(folder, tmp_path):
    cached, resident = (
        Frames(32, 16, tmp_path / "cache"),
        Frames(32, 16, tmp_path / "cache"),
    )
    for reader in (cached, resident):
        reader.build(folder.train, progress=False)
    resident.to_device("cpu")
    batches = [
        next(TrainLoader(folder, reader, DATA, RECIPE, seed=1).batches(2, 3))
        for reader in (Frames(32, 16), cached, resident)
    ]
    for other in batches[1:]:
        assert torch.equal(batches[0].vis, other.vis) and torch.equal(
            batches[0].ir, other.ir
        )


def test_only_a_built_cache_can_be_moved_to_a_device():
    with pytest.raises(ValueError, match="build the cache"):
        Frames(32, 16).to_device("cpu")
