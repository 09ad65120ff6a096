"""How the page of code reads: the measurements of a rebuild, as one table.

Prints JSON. `python benchmarks/page.py [FOLDER]` measures the package, or another one.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import statistics
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
UNCOUNTED = ast.expr_context
DOCUMENTED = (ast.Module, ast.ClassDef, *FUNCTIONS)
#: Its docstrings quote a small language of its own, which has semicolons.
EXEMPT = "plots/diagram.py"


def docstrings(tree: ast.AST) -> Iterator[ast.stmt]:
    """Yield the docstrings of a module, its classes and functions."""
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None:
            yield node.body[0]


def code_lines(source: str) -> set[int]:
    """Return the numbers of lines that hold code: no comment, docstring or blank."""
    skipped = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in skipped:
            lines.update(range(token.start[0], token.end[0] + 1))
    for text in docstrings(ast.parse(source)):
        lines -= set(range(text.lineno, text.end_lineno + 1))
    return lines


def semicolon_lines(source: str) -> list[int]:
    """Return the numbers of docstring lines that hold a semicolon, ascending."""
    lines = source.splitlines()
    numbers: list[int] = []
    for text in docstrings(ast.parse(source)):
        inside = range(text.lineno, text.end_lineno + 1)
        numbers += [number for number in inside if ";" in lines[number - 1]]
    return sorted(numbers)


def nested(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield comprehensions with a second `for` or another comprehension inside."""
    for node in ast.walk(tree):
        if isinstance(node, COMPREHENSIONS):
            inner = [n for n in ast.walk(node) if isinstance(n, COMPREHENSIONS)]
            if len(node.generators) > 1 or len(inner) > 1:
                yield node


def public_functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    """Yield functions and methods without a leading underscore, none of them inner."""
    for node in tree.body:
        if isinstance(node, FUNCTIONS):
            if not node.name.startswith("_"):
                yield node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            for member in node.body:
                if isinstance(member, FUNCTIONS) and not member.name.startswith("_"):
                    yield member


def parameters(function: ast.FunctionDef) -> int:
    """Return how many parameters a caller may give."""
    given = function.args
    names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    stars = sum(star is not None for star in (given.vararg, given.kwarg))
    return len([name for name in names if name not in ("self", "cls")]) + stars


def percentile(values: list[int], share: float) -> int:
    """Return the value that `share` of the sorted values do not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def measure(folder: Path) -> dict[str, object]:
    """Return all measurements of a package."""
    files = sorted(folder.rglob("*.py"))
    total = {"lines": 0, "code": 0, "nodes": 0, "over 88": 0, "over 100": 0}
    lengths: dict[str, int] = {}
    first_lines: list[int] = []
    documented = many = semicolons = words = 0
    nested_at: list[str] = []
    semicolons_at: list[str] = []
    for file in files:
        source = file.read_text(encoding="utf-8")
        tree, lines = ast.parse(source), source.splitlines()
        code = code_lines(source)
        name = file.relative_to(folder).as_posix()
        total["lines"] += len(lines)
        total["code"] += len(code)
        total["nodes"] += sum(not isinstance(n, UNCOUNTED) for n in ast.walk(tree))
        total["over 88"] += sum(len(line) > 88 for line in lines)
        total["over 100"] += sum(len(line) > 100 for line in lines)
        nested_at += [f"{name}:{node.lineno}" for node in nested(tree)]
        if name != EXEMPT:
            semicolons_at += [f"{name}:{line}" for line in semicolon_lines(source)]
        for node in ast.walk(tree):
            if isinstance(node, FUNCTIONS):
                body = set(range(node.lineno, node.end_lineno + 1))
                lengths[f"{name}:{node.name}:{node.lineno}"] = len(code & body)
            if isinstance(node, DOCUMENTED) and (text := ast.get_docstring(node)):
                first_lines.append(len(text.splitlines()[0]))
                semicolons += text.count(";")
                words += len(text.split())
        for function in public_functions(tree):
            if parameters(function) >= 3:
                many += 1
                documented += "Args:" in (ast.get_docstring(function) or "")
    sizes = list(lengths.values())
    longest = sorted(lengths, key=lengths.__getitem__)[-5:]
    loose = [f.name for f in folder.glob("*.py") if not f.name.startswith("__")]
    return {
        "lines": total["lines"],
        "code lines": total["code"],
        "share of lines over 88 columns": round(total["over 88"] / total["lines"], 4),
        "share of lines over 100 columns": round(total["over 100"] / total["lines"], 4),
        "AST nodes per code line": round(total["nodes"] / total["code"], 2),
        "code lines per function, median": statistics.median(sizes),
        "code lines per function, p90": percentile(sizes, 0.90),
        "code lines per function, p99": percentile(sizes, 0.99),
        "code lines per function, most": {name: lengths[name] for name in longest},
        "nested comprehensions": nested_at,
        "modules loose in the package": len(loose),
        "first line of a docstring, median": statistics.median(first_lines),
        "semicolons per 100 words of docstring": round(100 * semicolons / words, 2),
        "semicolons in docstrings": semicolons_at,
        "share of functions of 3 or more parameters with Args": round(
            documented / max(many, 1), 3
        ),
    }


def main() -> None:
    """Print the measurements of a folder as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "vvi")
    print(json.dumps(measure(parser.parse_args().folder), indent=1))


if __name__ == "__main__":
    main()
