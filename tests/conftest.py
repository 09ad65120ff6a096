"""What all tests share: one generated data set per run, and a header that says what was not run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from filelock import FileLock

from vvi import paths


def pytest_report_header(config: pytest.Config) -> str:
    if paths.real_data() is None:
        return "real data: NOT TESTED, VVI_DATA is not set (make test-real checks HITSZ-VCM, SYSU-MM01 or RegDB there)"
    chosen = config.getoption("markexpr")
    run = "real" in chosen and "not real" not in chosen
    return f"real data: {paths.real_data()}" if run else "real data: NOT TESTED here, make test-real checks VVI_DATA"


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generated set at preset `tiny` in HITSZ-VCM layout, written once for all processes of a run; read only."""
    from vvi.data import synthetic

    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "tiny"
    with FileLock(f"{root}.lock"):
        if not root.exists():
            synthetic.write(root, preset="tiny")
    return root
