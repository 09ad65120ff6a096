"""The floors of the package: a module imports only from floors strictly below its own. A new module is given its place in FLOORS."""

from __future__ import annotations

import ast
import json
from pathlib import Path

ROOT = Path(__file__).parent.parent
FLOORS = {
    -1: ["runtime", "runtime.tensors", "runtime.validation"],
    0: ["vvi", "types", "paths", "seed", "durable", "fields", "extras", "arguments"],
    # what the readers share; videos; which frames make a clip
    0.5: ["data.faults", "data.video", "data.clips", "runtime.pools", "runtime.pins"],
    0.7: ["data.images"],  # the one decoder
    1: ["config", "metrics", "losses", "nn", "data.vcm", "data.sysu", "data.regdb", "data.buptcampus", "data.tracks"]
    + ["data.transforms", "data.sampler", "printed", "executors", "nearest", "evaluation", "evaluation.rerank", "data.crops"],
    1.5: ["data.layout", "data.synthetic", "data.digest"],
    2: ["data", "data.check", "data.loader", "methods.base", "optim", "store", "checkpoint", "shards", "plots.style", "data.sequences", "detectors"],
    3: ["methods", "methods.*", "plots", "plots.*"],
    3.5: ["weights", "detect", "engine", "engine.*"],
    4: ["evaluation.trained", "train", "evaluate", "probes", "trials", "choices"],
    4.5: ["findings", "evaluation.features"],
    4.6: ["evaluation.ranking"],
    5: ["experiment", "search", "video", "video.*"],
    6: ["ablate", "panels", "transfer", "stress"],
    6.5: ["compare", "queries", "tune", "worlds"],
    6.6: ["standing"],
    6.7: ["explorer"],
    6.8: ["workbench", "book", "book.*"],
    6.9: ["cli", "cli.*"],
    7: ["__main__"],
}
PACKAGES_SEEN_AS_ONE = ("nn", "data.synthetic")  # their modules may import each other


def floor_of(module: str) -> float | None:
    for name in (module, module.rpartition(".")[0] + ".*"):
        for floor, names in FLOORS.items():
            if name in names:
                return floor
    return None


def module_of(path: Path) -> str:
    """vvi/data/synthetic/draw.py -> data.synthetic; vvi/data/__init__.py -> data; vvi/__init__.py -> vvi."""
    parts = path.relative_to(ROOT / "vvi").with_suffix("").parts
    name = ".".join(part for part in parts if part != "__init__") or "vvi"
    return next((package for package in PACKAGES_SEEN_AS_ONE if name.startswith(package + ".")), name)


def imports_of(path: Path) -> set[str]:
    """Modules of the package that a file imports anywhere in it, also inside functions; what only a type checker imports does not count."""
    here = path.relative_to(ROOT).with_suffix("").parts
    tree = ast.parse(path.read_text(encoding="utf-8"))
    unread = {inner for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" for inner in ast.walk(node)}
    found = set()
    for node in (node for node in ast.walk(tree) if node not in unread):
        if isinstance(node, ast.ImportFrom):
            whole = ".".join((*here[: -node.level], *filter(None, [node.module]))) if node.level else node.module
            found |= {f"{whole}.{alias.name}" if is_module(f"{whole}.{alias.name}") else whole for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {module_of(ROOT / (name.replace(".", "/") + ".py")) if name != "vvi" else "vvi" for name in found if name.split(".")[0] == "vvi"}


def is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return name.startswith("vvi.") and (path.with_suffix(".py").is_file() or (path / "__init__.py").is_file())


FILES = sorted((ROOT / "vvi").rglob("*.py"))
IMPORTS: dict[str, set[str]] = {}
for _path in FILES:
    IMPORTS.setdefault(module_of(_path), set()).update(imports_of(_path))


def test_every_module_has_a_floor():
    for module, imported in IMPORTS.items():
        below = [floor_of(name) for name in imported - {module}]
        above = [floor_of(name) for name, theirs in IMPORTS.items() if module in theirs - {name}]
        possible = [floor for floor in FLOORS if all(b is None or b < floor for b in below) and all(a is None or a > floor for a in above)]
        where = f"possible floors: {', '.join(map(str, possible)) or 'none, something it imports stands as high as something that imports it'}"
        assert floor_of(module) is not None, f"vvi.{module} has no floor: add it to FLOORS in tests/test_floors.py; {where}"


def test_imports_go_strictly_down():
    wrong = [
        f"vvi.{module} (floor {floor_of(module)}) imports vvi.{name} (floor {floor_of(name)})"
        for module, imported in IMPORTS.items()
        for name in sorted(imported - {module})
        if name != "vvi" and None not in (floor_of(module), floor_of(name)) and floor_of(name) >= floor_of(module)
    ]
    assert not wrong, "; ".join(wrong)


def test_methods_do_not_import_one_another():
    methods = {module for module in IMPORTS if module.startswith("methods.") and module != "methods.base"}
    wrong = [f"{module} imports {', '.join(IMPORTS[module] & methods - {module})}" for module in methods if IMPORTS[module] & methods - {module}]
    assert not wrong, "; ".join(wrong)


def test_chapters_do_not_import_the_command_line():
    for path in sorted((ROOT / "book").glob("*.ipynb")):
        code = ["".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
        assert not any("vvi.__main__" in cell for cell in code), f"{path.name} imports the command line: call the package instead"
