"""The lines of the package that run in another way on a GPU, read from its source.

    python benchmarks/gpu_lines.py [FOLDER]     as a table of Markdown

Nothing is imported or run. Four kinds: calls of `torch.cuda` (which stand in
`vvi/runtime/gpu.py` alone), uses of that module, lines that ask for the type of a
device, and lines that torch treats otherwise on a GPU (copies that do not wait, pinned
memory, autocast). Of the first three a CPU never runs what is for a GPU.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "vvi"
CUDA, WRAPPED = "torch.cuda", "vvi.runtime.gpu"
ASKED, OTHERWISE = "type of a device", "otherwise on a GPU"
KINDS = (CUDA, WRAPPED, ASKED, OTHERWISE)
#: Kinds of which some lines never run on a CPU.
GPU_ONLY = KINDS[:3]
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True, order=True)
class Line:
    """One line of the package that a GPU takes otherwise."""

    #: Path below the package.
    file: str
    number: int
    #: One of `KINDS`.
    kind: str
    #: Function or method, empty at the top of a module.
    function: str
    #: The line itself.
    source: str


def kind_of(node: ast.AST) -> str | None:
    """Return the kind of a piece of code, None where a GPU changes nothing."""
    if isinstance(node, ast.Attribute):
        name = ast.unparse(node)
        if name == CUDA or name.endswith(".torch.cuda"):
            return CUDA
        if name.startswith("gpu."):
            return WRAPPED
        if node.attr == "is_cuda":
            return ASKED
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        names = {side.value for side in sides if isinstance(side, ast.Constant)}
        asks = any(_is_device_type(side) for side in sides)
        return ASKED if asks and names & {"cuda", "cpu"} else None
    if isinstance(node, ast.keyword) and node.arg in ("non_blocking", "pin_memory"):
        return OTHERWISE
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return OTHERWISE if node.func.attr in ("autocast", "pin_memory") else None
    return None


def _is_device_type(node: ast.AST) -> bool:
    """Whether code reads the type of a device, or a variable that is named for it."""
    words = ("device.type", "accelerator", "kind")
    name = ast.unparse(node)
    return name.endswith(words) or name.endswith(").type")


def lines_of(source: str, file: str) -> Iterator[Line]:
    """Yield every such line of one module, once for each kind."""
    tree, text = ast.parse(source), source.splitlines()
    owners = _owners(tree)
    seen = set()
    for node in ast.walk(tree):
        kind = kind_of(node)
        number = getattr(node, "lineno", 0)
        if kind is None or (number, kind) in seen:
            continue
        seen.add((number, kind))
        function = owners.get(number, "")
        yield Line(file, number, kind, function, text[number - 1].strip())


def _owners(tree: ast.Module) -> dict[int, str]:
    """Return number of a line -> innermost function around it."""
    owners: dict[int, str] = {}
    for node in ast.walk(tree):  # outer functions come before inner ones
        if isinstance(node, FUNCTIONS):
            numbers = range(node.lineno, node.end_lineno + 1)
            owners |= dict.fromkeys(numbers, node.name)
    return owners


def find(folder: Path = PACKAGE) -> list[Line]:
    """Return the lines of a package, in the order of its files."""
    found: list[Line] = []
    for path in sorted(folder.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        found += sorted(lines_of(source, path.relative_to(folder).as_posix()))
    return found


def table(found: Iterable[Line]) -> str:
    """Return lines as a table of Markdown, kind by kind."""
    rows = ["| kind | where | function | line |", "|---|---|---|---|"]
    found = list(found)
    for kind in KINDS:
        for line in found:
            if line.kind == kind:
                source = line.source.replace("|", "\\|")
                where = f"`{line.file}:{line.number}`"
                cells = [kind, where, f"`{line.function}`", f"`{source}`"]
                rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def main() -> None:
    """Print the table, and how many lines there are of each kind."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=PACKAGE)
    found = find(parser.parse_args().folder)
    print(table(found))
    for kind in KINDS:
        print(f"{kind}: {sum(line.kind == kind for line in found)}")


if __name__ == "__main__":
    main()
