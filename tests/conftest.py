"""What all tests share: one generated data set per run, and a header that says what was
not run.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from vvi.runtime import paths


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--reliability",
        metavar="FILE",
        help="write what the tests of reliability counted to this file "
        "(make reliability)",
    )


def chromium() -> str | None:
    """Path of a browser that tests can drive, None on a machine without one."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


def pytest_collection_modifyitems(config: pytest.Config, items: list) -> None:
    """Leave out the tests of pages in a browser where there is none; the header says so."""
    if chromium():
        return
    left_out = [item for item in items if item.get_closest_marker("browser")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def pytest_report_header(config: pytest.Config) -> list[str]:
    return [_real_data(config), _browser(config)]


def _browser(config: pytest.Config) -> str:
    """Whether pages are tried in a browser, in words."""
    if chromium() is None:
        return "pages in a browser: NOT TESTED, there is no Chromium on this machine"
    if "not browser" in config.getoption("markexpr"):
        return "pages in a browser: NOT TESTED here, make test-browser tries them"
    return f"pages in a browser: {chromium()}"


def _real_data(config: pytest.Config) -> str:
    if paths.real_data() is None:
        cure = "make test-real checks HITSZ-VCM, SYSU-MM01 or RegDB there"
        return f"real data: NOT TESTED, VVI_DATA is not set ({cure})"
    chosen = config.getoption("markexpr")
    run = "real" in chosen and "not real" not in chosen
    return (
        f"real data: {paths.real_data()}"
        if run
        else "real data: NOT TESTED here, make test-real checks VVI_DATA"
    )


@pytest.fixture(scope="session")
def common_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all processes of a run."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def common_cache(common_folder: Path) -> Path:
    """A `VVI_CACHE` of all processes of a run: each generated set is drawn once."""
    cache = common_folder / "cache"
    cache.mkdir(exist_ok=True)
    return cache


@pytest.fixture(scope="session")
def tiny_root(common_cache: Path) -> Path:
    """The generated set at preset `tiny` in HITSZ-VCM layout, written once for all
    processes of a run; read only. It lies where a config looks for it.
    """
    from vvi.data import synthetic

    root = common_cache / "synthetic-hitsz-vcm-tiny-0"
    with FileLock(f"{root}.test-lock"):
        if not root.exists():
            synthetic.write(root, preset="tiny")
    return root


@pytest.fixture(autouse=True)
def no_large_file_stays(request: pytest.FixtureRequest):
    """Remove what a test wrote above 8 MiB: a whole run fits on a small disk."""
    used = "tmp_path" in request.fixturenames
    folder = request.getfixturevalue("tmp_path") if used else None
    yield
    for file in folder.rglob("*") if used else ():
        if file.is_file() and file.stat().st_size > 8 << 20:
            file.unlink()


@pytest.fixture
def under_torchrun(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A function that makes this process the first of two that torchrun started."""

    def start() -> None:
        names = {"TORCHELASTIC_RUN_ID": "test", "WORLD_SIZE": "2", "RANK": "0"}
        for name, value in names.items():
            monkeypatch.setenv(name, value)

    return start


class Reliability:
    """What tests of reliability survived or refused: job -> kind -> how many."""

    TOTALS = ("kills survived", "bad inputs refused", "workers killed")

    def __init__(self):
        self.counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self.totals = dict.fromkeys(self.TOTALS, 0)

    def add(self, job: str, kind: str, count: int, total: str | None = None) -> None:
        self.counts[job][kind] += count
        if total:
            self.totals[total] += count


@pytest.fixture(scope="session")
def reliability(request: pytest.FixtureRequest):
    """Counts of this session; written when `--reliability FILE` asks for it and no test
    failed.
    """
    found = Reliability()
    yield found
    file = request.config.getoption("--reliability")
    if file and not request.session.testsfailed:
        from vvi.experiment import store

        content = found.totals | {
            "by job": found.counts,
            "environment": store.environment(),
        }
        Path(file).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
