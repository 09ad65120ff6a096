"""Chapters call, show, ask and explain; what they may not hold, and that each of them
runs, is checked here.
"""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from statistics import median

import jupytext
import nbformat
import pytest

from vvi.data.layout import LAYOUTS

ROOT = Path(__file__).parent.parent
CHAPTERS = sorted((ROOT / "book").glob("*.ipynb"))
NUMBERED = [path for path in CHAPTERS if re.match(r"\d\d_", path.name)]
TWINS = ROOT / "book" / "text"
PARAMETERS = {
    "preset": "standard",
    "data": None,
    "seeds": None,
    "retrain": False,
    "device": "auto",
}
RETRAINED = "03_iban"  # the chapter that README trains anew
KEPT = {"tags", "mystnb"}  # cell metadata that belongs to the text

each_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
each_numbered_chapter = pytest.mark.parametrize(
    "path", NUMBERED, ids=lambda path: path.stem
)


def code_cells(path: Path) -> list:
    return [
        cell
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "code"
    ]


def trees(path: Path) -> list[tuple[int, ast.Module]]:
    """(number of the code cell, its syntax tree); a magic line is not Python and fails
    here, naming the cell.
    """
    found = []
    for number, cell in enumerate(code_cells(path), start=1):
        try:
            found.append((number, ast.parse(cell.source)))
        except SyntaxError as error:
            raise AssertionError(
                f"{path.name}, code cell {number}, line {error.lineno}: not plain Python (no magics, no shell lines): {error.text}"
            ) from error
    return found


def lines_of(node: ast.AST) -> int:
    return node.end_lineno - node.lineno + 1


def length(tree: ast.Module) -> int:
    """Lines of a cell as a reader counts them.

    The call that stores a figure is one, however long its alternative text; so is an
    import, however many its names.
    """
    folded = [
        node
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        or (isinstance(node, ast.Expr) and ast.unparse(node).startswith("style.save("))
    ]
    return (tree.body[-1].end_lineno if tree.body else 0) - sum(
        lines_of(node) - 1 for node in folded
    )


def test_there_are_chapters_and_each_has_its_text_twin():
    assert NUMBERED
    assert {path.stem for path in CHAPTERS} == {
        path.stem for path in TWINS.glob("*.md")
    }, "book/*.ipynb and book/text/*.md must hold the same names: make sync"


@each_chapter
def test_the_text_twin_says_the_same_as_the_notebook(path):
    notebook, twin = (
        nbformat.read(path, as_version=4),
        jupytext.read(TWINS / f"{path.stem}.md"),
    )
    as_text = [
        (
            cell.cell_type,
            cell.source,
            {k: v for k, v in cell.metadata.items() if k in KEPT},
        )
        for cell in twin.cells
    ]
    as_cells = [
        (cell.cell_type, cell.source, dict(cell.metadata)) for cell in notebook.cells
    ]
    for number, (ours, theirs) in enumerate(
        zip(as_cells, as_text, strict=False), start=1
    ):
        assert ours == theirs, (
            f"{path.name}, cell {number} differs from book/text/{path.stem}.md: make sync"
        )
    assert len(as_cells) == len(as_text), (
        f"{path.name} has {len(as_cells)} cells, its text twin {len(as_text)}: make sync"
    )
    same = notebook.metadata["kernelspec"] == twin.metadata["kernelspec"] and set(
        notebook.metadata
    ) == {"kernelspec"}
    assert same, (
        f"{path.name}: its metadata must be the kernel of the text twin and nothing else: make sync"
    )


@each_chapter
def test_no_output_is_committed(path):
    kept = [
        number
        for number, cell in enumerate(code_cells(path), start=1)
        if cell.outputs or cell.execution_count is not None
    ]
    assert not kept, (
        f"{path.name}: code cells {kept} hold outputs or counts: make sync drops them"
    )


@each_chapter
def test_the_first_code_cell_holds_the_five_parameters(path):
    first = code_cells(path)[0]
    assert first.metadata.get("tags") == ["parameters"], (
        f"{path.name}: the first code cell must carry the tag `parameters`"
    )
    tree = ast.parse(first.source)
    assert all(isinstance(node, ast.AnnAssign) for node in tree.body), (
        f"{path.name}: write every parameter as `name: type = value  # what it does`"
    )
    assert {
        node.target.id: ast.literal_eval(node.value) for node in tree.body
    } == PARAMETERS
    for node in tree.body:
        assert re.search(r"  # \w", first.source.splitlines()[node.lineno - 1]), (
            f"{path.name}: parameter {node.target.id} needs a comment (papermill shows it as help)"
        )


@each_chapter
def test_papermill_understands_the_parameters(path):
    import papermill

    found = papermill.inspect_notebook(path)
    assert list(found) == list(PARAMETERS), (
        f"{path.name}: papermill reads only plain types in a parameter (`data: str = None`, not `str | None`)"
    )
    assert all(
        entry["inferred_type_name"] != "None" and entry["help"]
        for entry in found.values()
    ), found


@each_chapter
def test_a_chapter_calls_the_package_and_defines_nothing_big(path):
    for number, tree in trees(path):
        where = f"{path.name}, code cell {number}"
        for node in ast.walk(tree):
            assert not isinstance(node, ast.ClassDef), (
                f"{where}: class {node.name} belongs in the package"
            )
            if isinstance(node, ast.FunctionDef):
                assert lines_of(node) <= 10, (
                    f"{where}: function {node.name} has {lines_of(node)} lines; more than 10 belong in the package"
                )
            if isinstance(node, ast.For | ast.comprehension):
                assert "epoch" not in ast.unparse(node.target), (
                    f"{where}: a loop over epochs belongs in vvi.engine.train"
                )
            if isinstance(node, ast.Attribute | ast.Name):
                name = node.attr if isinstance(node, ast.Attribute) else node.id
                assert name not in {
                    "optim",
                    "SGD",
                    "Adam",
                    "AdamW",
                    "backward",
                    "zero_grad",
                }, f"{where}: `{name}` belongs in vvi.engine.train"


@each_chapter
def test_a_chapter_names_no_place_on_a_disk(path):
    for number, tree in trees(path):
        for text in (
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ):
            assert not re.match(r"(/|~|[A-Za-z]:\\|\.\./)\S", text), (
                f"{path.name}, code cell {number}: path {text!r}; ask vvi.runtime.paths"
            )


@each_chapter
def test_every_import_of_a_chapter_resolves(path):
    for number, tree in trees(path):
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    importlib.import_module(alias.name)
            elif isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module)
                for alias in node.names:
                    found = hasattr(module, alias.name) or importlib.util.find_spec(
                        f"{node.module}.{alias.name}"
                    )
                    assert found, (
                        f"{path.name}, code cell {number}: {node.module} has no {alias.name}"
                    )


@each_numbered_chapter
def test_a_chapter_is_made_of_ten_to_twenty_two_small_cells(path):
    """Solutions of exercises (`hide-cell`) are small, too, and not counted."""
    cells = [(cell, length(ast.parse(cell.source))) for cell in code_cells(path)]
    tags = [cell.metadata.get("tags", []) for cell, _ in cells]
    lengths = [n for _, n in cells]
    counted = [
        n for n, tag in zip(lengths, tags, strict=True) if "hide-cell" not in tag
    ]
    assert 10 <= len(counted) <= 22, f"{path.name} has {len(counted)} code cells"
    shown = [
        n
        for n, tag in zip(lengths, tags, strict=True)
        if not {"hide-input", "hide-cell"} & set(tag)
    ]
    assert median(shown) <= 6, f"{path.name}: the median of {shown} lines is above 6"
    assert max(lengths) <= 20, (
        f"{path.name}: code cell {lengths.index(max(lengths)) + 1} has {max(lengths)} lines"
    )


@each_numbered_chapter
def test_a_chapter_of_a_method_has_exercises_of_three_levels_with_solutions(path):
    """Chapters 1 to 6: each exercise has a hint and, right behind it, a solution."""
    if int(path.stem[:2]) > 6:
        return
    cells = nbformat.read(path, as_version=4).cells
    levels = set()
    for cell, after in zip(cells, cells[1:], strict=False):
        for level in re.findall(r"admonition\} Exercise \d+: (.+)", cell.source):
            levels.add(level)
            assert "{dropdown} Hint" in cell.source, f"{path.name}: {level}: no hint"
            assert "hide-cell" in after.metadata.get("tags", []), (
                f"{path.name}: {level}: no folded solution behind it"
            )
    assert levels == {"look it up", "work it out", "try it"}


@pytest.fixture(scope="module")
def runner():
    spec = importlib.util.spec_from_file_location(
        "runner", ROOT / "book" / "compile.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@each_chapter
def test_a_chapter_stands_in_the_table_of_contents(path, runner):
    assert re.search(rf"^\s*- file: {path.stem}$", runner.contents(), re.MULTILINE), (
        f"add {path.stem} to book/_toc.yml (numbered chapters are listed by themselves)"
    )


@pytest.fixture(scope="module")
def shared(common_folder, common_cache):
    """Folders for the runs and the drawn data of all chapters, in all processes."""
    return {"RUNS": common_folder / "chapters", "CACHE": common_cache}


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    """A function that writes a set as its owners ship it: nothing of ours is in it."""
    from vvi.data import synthetic

    def write(layout: str) -> Path:
        root = tmp_path_factory.mktemp("held") / layout
        synthetic.write(root, preset="tiny", layout=layout, progress=False)
        (root / "manifest.json").unlink()
        return root

    return write


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_first_chapter_reads_a_set_of_every_layout(
    layout, held, common_cache, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("VVI_CACHE", str(common_cache))
    monkeypatch.setenv("VVI_FIGURES", str(tmp_path / "figures"))
    first, *cells = code_cells(NUMBERED[0])
    names = {}
    exec(first.source, names)
    names |= {"preset": "tiny", "data": str(held(layout))}
    for cell in cells:
        exec(cell.source, names)
    assert names["label"].endswith(layout) and not names["known"]
    said = capsys.readouterr().out
    lists = {"hitsz-vcm": "query_IDX.txt", "buptcampus": "gallery.txt"}
    lists |= {"sysu-mm01": "test_id.txt", "regdb": "test_thermal_1.txt"}
    assert lists[layout] in said
    side = (tmp_path / "figures" / "task_and_data" / "cameras.json").read_text()
    both = {"sysu-mm01": "Of 6 cameras 0 film", "regdb": "Of 2 cameras 0 film"}
    assert both.get(layout, "cameras") in side and "synthetic" not in side


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["hitsz-vcm", "sysu-mm01"])
@each_numbered_chapter
def test_a_chapter_runs_on_a_set_without_known_factors(
    path, layout, held, shared, tmp_path, monkeypatch
):
    """Images of SYSU-MM01 are tracklets of one frame, searched in one direction."""
    import papermill

    for name, folder in shared.items():
        monkeypatch.setenv(f"VVI_{name}", str(folder))
    monkeypatch.setenv("VVI_FIGURES", str(tmp_path / "figures"))
    chosen = {"preset": "tiny", "seeds": [0], "device": "cpu"}
    papermill.execute_notebook(
        path,
        tmp_path / path.name,
        chosen | {"data": str(held(layout))},
        kernel_name="python3",
        progress_bar=False,
    )


@each_chapter
def test_a_chapter_runs_from_elsewhere_at_the_tiny_preset(
    path, runner, shared, tmp_path, monkeypatch
):
    """Chapters share their runs as those of one reader do; one trains all its own."""
    import nbformat
    import papermill

    monkeypatch.setenv("VVI_FIGURES", str(tmp_path / "figures"))
    for name, folder in shared.items():
        monkeypatch.setenv(f"VVI_{name}", str(folder))
    for name in ("VVI_DATA", "VVI_WIDGETS", "JPY_SESSION_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(
        "OMP_NUM_THREADS", "1"
    )  # two chapters at a time on two cores: more threads only wait for each other
    monkeypatch.chdir(tmp_path)
    tiny = {"preset": "tiny", "seeds": [0], "device": "cpu"}
    tiny["retrain"] = path.stem == RETRAINED
    done = papermill.execute_notebook(
        path, tmp_path / path.name, tiny, kernel_name="python3", progress_bar=False
    )
    assert all(
        cell.execution_count
        for cell in done.cells
        if cell.cell_type == "code" and cell.source
    )
    kinds = {
        kind
        for cell in done.cells
        for output in cell.get("outputs", [])
        for kind in output.get("data", {})
    }
    assert "image/png" in kinds
    assert "widgets" not in done.metadata
    assert not [kind for kind in kinds if "widget" in kind], (
        f"{path.name} leaves a widget in its page, where nobody can use it"
    )
    texts = [
        output.get("text", "")
        for cell in done.cells
        for output in cell.get("outputs", [])
    ]
    cut = [text for text in texts if "cut off at its edges" in text]
    assert not cut, f"{path.name} draws text that nobody can read: {cut}"
    runner.sign(done, "cpu")
    runner.TESTED.mkdir(parents=True, exist_ok=True)
    nbformat.write(
        done, runner.TESTED / path.name
    )  # `.ci/run` builds the pages from these
