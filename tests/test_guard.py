"""A rebuild changes no hash, no weight by name or shape, no phase and no loss."""

import json

import guard
import pytest

from vvi import methods

KEPT = json.loads(guard.FILE.read_text())


@pytest.mark.parametrize("method", methods.names())
def test_rows_compute_what_they_computed(method):
    now, before = guard.rows(method), KEPT[method]
    assert now.keys() == before.keys()
    for label, row in before.items():
        for what in ("hash", "state", "phases"):
            assert now[label][what] == row[what], f"{label}: {what} changed"
        for losses, kept in zip(now[label]["losses"], row["losses"], strict=True):
            assert losses == pytest.approx(kept, rel=2e-2, abs=1e-3), label
