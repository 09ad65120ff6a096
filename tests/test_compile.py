"""The runner of the book: what counts as changed, what a failing chapter leaves, what
`sync` keeps.
"""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

ROOT = Path(__file__).parent.parent


@pytest.fixture
def runner(tmp_path) -> ModuleType:
    """`book/compile.py` at work on a small book in a temporary folder."""
    spec = importlib.util.spec_from_file_location(
        "runner", ROOT / "book" / "compile.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for folder in ("book/text", "book/records", "book/published", "vvi"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("requirements.lock", "jupytext.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "vvi" / "a.py").write_text("A = 1\n")
    places = {
        "ROOT": tmp_path,
        "BOOK": tmp_path / "book",
        "TWINS": tmp_path / "book" / "text",
        "SOURCE": tmp_path / "_build" / "book",
    }
    places |= {
        "EXECUTED": tmp_path / "_build" / "executed",
        "FAILED": tmp_path / "_build" / "failed",
    }
    for name, value in places.items():
        setattr(module, name, value)
    return module


def write(runner: ModuleType, name: str, *cells: str) -> Path:
    path = runner.BOOK / name
    nbformat.write(
        new_notebook(
            cells=[new_code_cell(cell) for cell in cells],
            metadata={"kernelspec": runner.KERNEL},
        ),
        path,
    )
    return path


def test_a_copy_is_stale_once_anything_it_shows_may_have_changed(runner):
    chapter = write(runner, "01_a.ipynb", "1 + 1")
    changes = [
        lambda: chapter.write_text(chapter.read_text() + " "),
        lambda: (runner.ROOT / "vvi" / "a.py").write_text("A = 2\n"),
        lambda: (runner.BOOK / "records" / "r.json").write_text("{}"),
        lambda: (runner.BOOK / "published" / "p.csv").write_text("a\n"),
        lambda: (runner.ROOT / "requirements.lock").write_text(""),
    ]
    seen = [runner.fingerprint(chapter)]
    assert runner.fingerprint(chapter) == seen[0]
    for change in changes:
        change()
        seen.append(runner.fingerprint(chapter))
    assert len(set(seen)) == len(changes) + 1


def test_a_failing_chapter_is_named_with_its_error_and_the_others_still_run(
    runner, monkeypatch
):
    monkeypatch.setattr(runner, "data", lambda: None)
    write(runner, "01_breaks.ipynb", "x = 0", "1 / x")
    write(runner, "02_works.ipynb", "6 * 7")
    with pytest.raises(
        SystemExit,
        match=r"(?s)01_breaks.ipynb, cell \[2\] failed: ZeroDivisionError.*1 of 2 chapters failed",
    ):
        runner.run()
    assert [
        cell.get("execution_count")
        for cell in nbformat.read(runner.FAILED / "01_breaks.ipynb", 4).cells
        if cell.cell_type == "code"
    ] == [1, 2]
    assert not (runner.EXECUTED / "01_breaks.ipynb").exists()
    assert (
        nbformat.read(runner.EXECUTED / "02_works.ipynb", 4)
        .cells[0]
        .outputs[0]
        .data["text/plain"]
        == "42"
    )
    assert (runner.EXECUTED / "02_works.key").read_text() == runner.fingerprint(
        runner.BOOK / "02_works.ipynb"
    )
    where = nbformat.read(runner.EXECUTED / "02_works.ipynb", 4).metadata["executed"]
    assert {"python", "torch", "device", "commit"} <= set(where), (
        "what the page's last line says"
    )


def test_chapters_run_side_by_side_on_one_thread_each(runner, monkeypatch):
    monkeypatch.setattr(runner, "data", lambda: None)
    monkeypatch.setattr("vvi.runtime.cpu.cores", lambda: 2)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    meet = "import os, pathlib, time\n"
    meet += "pathlib.Path({own!r}).touch()\n"
    meet += "until = time.monotonic() + 60\n"
    meet += "while not pathlib.Path({other!r}).exists():\n"
    meet += "    assert time.monotonic() < until\n"
    meet += "os.environ['OMP_NUM_THREADS']"
    names = [str(runner.ROOT / name) for name in ("first", "second")]
    write(runner, "01_a.ipynb", meet.format(own=names[0], other=names[1]))
    write(runner, "02_b.ipynb", meet.format(own=names[1], other=names[0]))
    runner.run()
    for name in ("01_a", "02_b"):
        cell = nbformat.read(runner.EXECUTED / f"{name}.ipynb", 4).cells[0]
        assert cell.outputs[0].data["text/plain"] == "'1'"


def test_a_kernel_that_dies_is_a_failed_chapter(runner, monkeypatch):
    monkeypatch.setattr(runner, "data", lambda: None)
    write(runner, "01_dies.ipynb", "import os; os._exit(1)")
    with pytest.raises(
        SystemExit, match=r"(?s)01_dies.ipynb: Kernel died.*1 of 1 chapters failed"
    ):
        runner.run()


def test_an_unknown_parameter_or_chapter_is_refused(runner):
    write(runner, "01_a.ipynb", "1 + 1")
    with pytest.raises(
        SystemExit, match="cannot read 'prset=tiny'.*preset, data, seeds"
    ):
        runner.chapter("01_a", ["prset=tiny"])
    with pytest.raises(SystemExit, match="no chapter '02_b': choose from 01_a"):
        runner.chapter("02_b", [])


def test_sync_drops_outputs_and_writes_the_same_notebook_from_the_same_text(runner):
    path = write(runner, "01_a.ipynb", "1 + 1", "1 + 1", "2")
    notebook = nbformat.read(path, 4)
    notebook.cells[0].outputs, notebook.cells[0].execution_count = (
        [new_output("stream", text="2")],
        1,
    )
    notebook.metadata["papermill"] = {"duration": 1}
    nbformat.write(notebook, path)
    runner.sync()
    first = path.read_text()
    cells = nbformat.read(path, 4).cells
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)
    assert len({cell.id for cell in cells}) == 3
    path.unlink()
    runner.sync()
    assert path.read_text() == first
    assert set(nbformat.read(path, 4).metadata) == {"kernelspec"}


def test_every_module_has_a_section_on_the_page_of_its_package(runner):
    import yaml

    package = runner.ROOT / "vvi"
    for name in ("__init__.py", "__main__.py"):
        (package / name).write_text("")
    (package / "data" / "deep").mkdir(parents=True)
    for name in ("__init__.py", "read.py", "deep/__init__.py", "deep/b.py"):
        (package / "data" / name).write_text("")
    heads = {}
    for page, text in runner.api_pages().items():
        heads[page] = [x for x in text.splitlines() if x.startswith("#")]
    assert heads == {
        "api_vvi": ["# Modules of no package", "## vvi", "## vvi.a"],
        "api_data": [
            "# vvi.data",
            "## vvi.data",
            "## vvi.data.deep",
            "## vvi.data.deep.b",
            "## vvi.data.read",
        ],
    }
    assert "- {doc}`api_data`: `vvi.data`, " in runner.api_contents()
    shutil.copy(ROOT / "book" / "_toc.yml", runner.BOOK / "_toc.yml")
    parts = yaml.safe_load(runner.contents())["parts"]
    entries = [entry for part in parts for entry in part["chapters"]]
    (api,) = (entry for entry in entries if entry["file"] == "api")
    assert {entry["file"] for entry in api["sections"]} == set(heads)


def test_prose_pages_stand_below_their_chapter(runner):
    import yaml

    shutil.copy(ROOT / "book" / "_toc.yml", runner.BOOK / "_toc.yml")
    for name in ("01_a.ipynb", "07_b.ipynb", "sheet.ipynb"):
        write(runner, name, "1")
    for name in ("moving", "query_browser"):
        (runner.BOOK / f"{name}.md").write_text("# A page\n")
    first, last = yaml.safe_load(runner.contents())["parts"][0]["chapters"]
    assert first == {
        "file": "01_a",
        "sections": [{"file": "sheet"}, {"file": "moving"}],
    }
    assert last == {"file": "07_b", "sections": [{"file": "query_browser"}]}
