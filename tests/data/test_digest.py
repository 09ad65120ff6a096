"""A digest belongs to what images and lists hold: no other folder has the same."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import toys

from vvi.data import digest, synthetic, vcm
from vvi.data.loader import Frames

LISTS = {
    "hitsz-vcm": (lambda root: toys.vcm(root, images=True), "info/query_IDX.txt"),
    "sysu-mm01": (toys.sysu, "exp/test_id.txt"),
    "regdb": (toys.regdb, "idx/test_visible_1.txt"),
    "buptcampus": (toys.campus, "gallery.txt"),
}


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(digest, "_SEEN", {})


def of(root: Path, layout: str) -> str:
    return digest.of_set(root, layout, root.parent / "kept")


@pytest.mark.parametrize("layout", LISTS)
def test_a_copy_has_the_digest_and_any_changed_image_has_another(tmp_path, layout):
    write, _ = LISTS[layout]
    root = write(tmp_path / "set")
    copy = tmp_path / "elsewhere" / "another name"
    shutil.copytree(root, copy)
    for path in copy.rglob("*.*"):
        os.utime(path, (1, 1))
    plain, first = of(root, layout), digest.stamp(root, layout)
    assert of(copy, layout) == plain and len(plain) == 8
    images = [p for p in sorted(copy.rglob("*")) if p.suffix in (".jpg", ".bmp")]
    unlisted = 1 if layout == "buptcampus" else 0  # the partner of a query
    seen = set()
    for path in images:
        before = path.read_bytes()
        path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        seen.add(of(copy, layout))
        path.write_bytes(before)
    assert plain not in seen or unlisted
    assert len(seen) >= len(images) - unlisted
    assert digest.stamp(root, layout) == first


@pytest.mark.parametrize("layout", LISTS)
def test_a_changed_list_has_another_digest(tmp_path, layout):
    write, name = LISTS[layout]
    root = write(tmp_path / "set")
    plain = of(root, layout)
    text = (root / name).read_text()
    (root / name).write_text(text.replace("\n", " \n"))
    assert of(root, layout) != plain
    (root / name).write_text(text)
    assert of(root, layout) == plain


def test_the_other_trials_of_regdb_count_and_a_broken_one_does_not_stop(tmp_path):
    root = toys.regdb(tmp_path / "set")
    plain = of(root, "regdb")
    for name, lines in toys.REGDB.items():
        toys.write_lines(root / "idx" / name.replace("_1", "_2"), lines)
    second = of(root, "regdb")
    toys.write_lines(root / "idx" / "test_visible_2.txt", ["broken"])
    assert len({plain, second, of(root, "regdb")}) == 3


def test_litter_and_hidden_files_change_nothing(tmp_path):
    root = toys.vcm(tmp_path / "set", images=True)
    plain = of(root, "hitsz-vcm")
    (root / "0001" / "rgb" / "D3" / "Thumbs.db").write_bytes(b"x")
    (root / ".DS_Store").touch()
    assert of(root, "hitsz-vcm") == plain


def test_a_stamp_sees_a_change_that_keeps_size_and_time(tmp_path):
    root = toys.regdb(tmp_path / "set")
    path = next(root.rglob("*.bmp"))
    times, content = os.stat(path), path.read_bytes()
    before = digest.stamp(root, "regdb")
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert digest.stamp(root, "regdb") != before


def test_what_takes_long_to_look_at_is_believed_for_a_while(tmp_path, monkeypatch):
    root = toys.regdb(tmp_path / "set")
    monkeypatch.setattr(digest, "QUICK", 0.0)
    before = digest.stamp(root, "regdb")
    next(root.rglob("*.bmp")).write_bytes(b"other")
    assert digest.stamp(root, "regdb") == before
    monkeypatch.setattr(digest, "_SEEN", {})
    assert digest.stamp(root, "regdb") != before


def test_the_digest_of_many_files_is_kept_until_one_is_touched(tmp_path, monkeypatch):
    root, kept, read = toys.vcm(tmp_path / "set", images=True), tmp_path / "kept", []
    plain = digest.of_set(root, "hitsz-vcm", kept)
    assert not kept.exists()
    monkeypatch.setattr(digest, "LONG", 5)
    once = digest._contents
    monkeypatch.setattr(digest, "_contents", lambda f: read.append(len(f)) or once(f))
    for _ in range(3):
        assert digest.of_set(root, "hitsz-vcm", kept) == plain
    assert read == [21]
    path = root / "0001" / "rgb" / "D3" / "1.jpg"
    path.write_bytes(path.read_bytes() + b"x")
    assert digest.of_set(root, "hitsz-vcm", kept) != plain and read == [21, 21]
    (memory,) = (kept / "digests").iterdir()
    memory.write_text("{")
    assert digest.of_set(root, "hitsz-vcm", kept) != plain and read == [21, 21, 21]


def test_the_decoded_cache_follows_the_pixels(tmp_path):
    """Same size, same time, another pixel: a bitmap that was changed is decoded anew."""
    root = toys.regdb(tmp_path / "set")
    found = vcm.Tracklet(tuple(sorted(root.rglob("*.bmp"))), 1, 1, "vis")
    plain = Frames(32, 16, tmp_path / "cache")
    plain.build([found], progress=False)
    path, times = found.paths[3], os.stat(found.paths[3])
    content = path.read_bytes()
    path.write_bytes(content[:-9] + bytes(9))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    again = Frames(32, 16, tmp_path / "cache")
    again.build([found], progress=False)
    which = np.arange(len(found))
    assert (again.read(found, which) == Frames(32, 16).read(found, which)).all()
    assert (again.read(found, which) != plain.read(found, which)).any()
    assert len(list((tmp_path / "cache").glob("*.u8"))) == 2


def test_a_copy_shares_the_decoded_cache(tmp_path):
    caches = []
    for name in ("a", "b"):
        root = toys.regdb(tmp_path / name)
        if caches:
            shutil.rmtree(root)
            shutil.copytree(tmp_path / "a", root)
        found = vcm.Tracklet(tuple(sorted(root.rglob("*.bmp"))), 1, 1, "vis")
        Frames(32, 16, tmp_path / "cache").build([found], progress=False)
        caches.append(sorted(p.name for p in (tmp_path / "cache").iterdir()))
    assert caches[0] == caches[1]


def test_rows_of_an_array_count_by_the_array_and_their_order(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((3, 8, 4, 3), np.uint8))
    rows = [tmp_path / "x.npy" / str(k) for k in range(3)]
    first = digest.of_images(rows, tmp_path)
    assert first != digest.of_images(rows[::-1], tmp_path)
    np.save(tmp_path / "x.npy", np.ones((3, 8, 4, 3), np.uint8))
    assert first != digest.of_images(rows, tmp_path)


def test_a_stamp_with_a_missing_image_is_not_trusted(tmp_path, monkeypatch):
    root = synthetic.write(tmp_path, "tiny", layout="regdb", progress=False)
    monkeypatch.setattr(digest, "QUICK", 0.0)  # so that any stamp is trusted
    image = next(root.glob("Visible/*/*"))
    content = image.read_bytes()
    image.unlink()
    without = digest.stamp(root, "regdb")
    image.write_bytes(content)
    assert digest.stamp(root, "regdb") != without
