"""The panel of each chapter, driven in JupyterLab by headless Chromium."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parent.parent
CHAPTERS = sorted((ROOT / "book").glob("0[2-6]_*.ipynb"))
OPENING = 4  # cells of code that read the results and answer the question in the box
PATIENCE = 600  # seconds for the tiny runs of the chapter, on a busy machine
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

pytestmark = pytest.mark.browser


def short_chapter(chapter: Path, folder: Path, tiny_root: Path) -> Path:
    """The chapter's parameters at tiny, its first cells of code, and its panel."""
    cells = [
        c for c in nbformat.read(chapter, as_version=4).cells if c.cell_type == "code"
    ]
    parameters = f'preset, data, device = "tiny", {str(tiny_root)!r}, "cpu"\n'
    parameters += "seeds, retrain = [0], False"
    panel = next(c for c in cells if "ablation_panel.show(" in c.source)
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(parameters), *cells[1:OPENING], panel]
    )
    notebook.metadata["kernelspec"] = {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    path = folder / "panel.ipynb"
    nbformat.write(notebook, path)
    return path


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(params=CHAPTERS, ids=lambda path: path.stem)
def lab(request, tmp_path, tiny_root):
    """The address of a JupyterLab that has the short chapter."""
    short_chapter(request.param, tmp_path, tiny_root)
    port = free_port()
    environment = os.environ | {
        "VVI_ROOT": str(ROOT),
        "VVI_RUNS": str(tmp_path / "runs"),
        "VVI_FIGURES": str(tmp_path / "figures"),
        "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
        "OMP_NUM_THREADS": "1",
    }
    environment.pop("VVI_WIDGETS", None)
    options = ["--no-browser", "--allow-root", f"--port={port}"]
    options += ["--IdentityProvider.token=", f"--ServerApp.root_dir={tmp_path}"]
    command = [sys.executable, "-m", "jupyterlab", *options]
    with (tmp_path / "lab.log").open("w") as log:
        server = subprocess.Popen(
            command, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            yield answered(f"http://127.0.0.1:{port}", server)
        finally:
            server.terminate()
            server.wait(30)


def answered(address: str, server: subprocess.Popen) -> str:
    """Wait until a server answers."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        assert server.poll() is None, "JupyterLab has ended"
        try:
            urllib.request.urlopen(f"{address}/api", timeout=10).close()
            return address
        except OSError:
            time.sleep(0.5)
    raise AssertionError("JupyterLab does not answer")


def test_a_reader_flips_a_switch_of_the_panel_and_runs_it(lab):
    import shutil

    from playwright.sync_api import expect, sync_playwright

    program = next(filter(None, map(shutil.which, BROWSERS)))
    with sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=program, args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1400, "height": 1400})
        page.set_default_timeout(PATIENCE * 1000)
        page.goto(f"{lab}/lab/tree/panel.ipynb?reset")
        page.locator(".jp-Notebook .jp-Cell").first.click()
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        panel = page.locator(".jp-OutputArea-output .widget-vbox").first
        panel.wait_for()
        lines = panel.locator("table").first.locator("tbody tr")
        expect(lines.first).to_be_visible(timeout=PATIENCE * 1000)
        before = lines.count()
        more = panel.get_by_placeholder("steps=100, lr=0.001")
        more.fill("steps=3")
        more.press("Enter")
        panel.get_by_role("button", name="Run").click()
        expect(lines).to_have_count(before + 1, timeout=PATIENCE * 1000)
        assert "steps=3" in lines.last.inner_text()
        browser.close()
