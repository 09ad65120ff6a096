"""Garbage collection stops inside a block and is as before behind it."""

import gc

import pytest

from vvi.data import open_dataset
from vvi.runtime import collector


def test_it_stops_inside_and_goes_on_behind_even_after_an_error():
    assert gc.isenabled()
    with pytest.raises(KeyError), collector.paused():
        assert not gc.isenabled()
        with collector.paused():
            pass
        assert not gc.isenabled(), "the outer block still holds"
        raise KeyError
    assert gc.isenabled()


def test_reading_a_set_pauses_it(tiny_root, monkeypatch):
    from vvi import data

    seen, read = [], data.READERS["hitsz-vcm"]

    def watched(root, min_seq_len=12):
        seen.append(gc.isenabled())
        return read(root, min_seq_len)

    monkeypatch.setitem(data.READERS, "hitsz-vcm", watched)
    assert open_dataset(tiny_root).layout == "hitsz-vcm"
    assert seen == [False] and gc.isenabled()
