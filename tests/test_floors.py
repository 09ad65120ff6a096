"""The floors of the package: a module imports only from floors strictly below its own.
A new module is given its place in FLOORS.
"""

from __future__ import annotations

import ast
import graphlib
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FLOORS = {
    0: ["types", "runtime", "runtime.*"],
    # what the readers share, videos, which frames make a clip
    0.5: ["data.faults", "data.video", "data.clips"],
    0.7: ["data.images"],  # the one decoder
    1: [
        "config",
        "metrics",
        "losses",
        "nn",
        "evaluation",
        "evaluation.nearest",
        "evaluation.rerank",
        "data.vcm",
        "data.sysu",
        "data.regdb",
        "data.buptcampus",
        "data.transforms",
        "data.sampler",
        "data.crops",
    ],
    1.5: ["data.layout", "data.synthetic", "data.digest"],
    2: ["data", "data.check", "data.loader"],
    3: ["methods", "methods.*"],
    3.5: ["weights"],
    4: ["engine", "engine.*", "evaluation.*"],
    5: ["experiment", "experiment.*"],
    5.5: ["plots", "plots.*"],
    6: ["video", "video.*"],
    7: ["book", "book.*"],
    8: ["cli", "cli.*"],
    9: ["__main__", "vvi"],
}
#: What the thin package never imports.
SATELLITES = ("plots", "video", "book", "cli")
PACKAGES_SEEN_AS_ONE = ("nn", "data.synthetic")  # their modules may import each other


def floor_of(module: str) -> float | None:
    for name in (module, package_of(module) + ".*"):
        for floor, names in FLOORS.items():
            if name in names:
                return floor
    return None


def module_of(path: Path) -> str:
    """vvi/data/synthetic/draw.py -> data.synthetic; vvi/data/__init__.py -> data;
    vvi/__init__.py -> vvi.
    """
    parts = path.relative_to(ROOT / "vvi").with_suffix("").parts
    name = ".".join(part for part in parts if part != "__init__") or "vvi"
    return next(
        (package for package in PACKAGES_SEEN_AS_ONE if name.startswith(package + ".")),
        name,
    )


def imports_of(path: Path) -> set[str]:
    """Modules of the package that a file imports anywhere in it, also inside functions;
    what only a type checker imports does not count.
    """
    here = path.relative_to(ROOT).with_suffix("").parts
    tree = ast.parse(path.read_text(encoding="utf-8"))
    unread = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in (node for node in ast.walk(tree) if node not in unread):
        if isinstance(node, ast.ImportFrom):
            whole = (
                ".".join((*here[: -node.level], *filter(None, [node.module])))
                if node.level
                else node.module
            )
            found |= {
                f"{whole}.{alias.name}" if is_module(f"{whole}.{alias.name}") else whole
                for alias in node.names
            }
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {
        module_of(ROOT / (name.replace(".", "/") + ".py")) if name != "vvi" else "vvi"
        for name in found
        if name.split(".")[0] == "vvi"
    }


def is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return name.startswith("vvi.") and (
        path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()
    )


FILES = sorted((ROOT / "vvi").rglob("*.py"))
IMPORTS: dict[str, set[str]] = {}
for _path in FILES:
    IMPORTS.setdefault(module_of(_path), set()).update(imports_of(_path))


def test_every_module_has_a_floor():
    for module in IMPORTS:
        assert floor_of(module) is not None, f"vvi.{module}: add it to FLOORS"


def package_of(module: str) -> str:
    """experiment.store -> experiment; methods.iban.parts -> methods; config -> config."""
    return module.partition(".")[0]


def test_imports_go_down_or_stay_in_a_package():
    wrong = [
        f"vvi.{module} imports vvi.{name}"
        for module, imported in IMPORTS.items()
        for name in sorted(imported - {module})
        if name != "vvi"
        and floor_of(name) >= floor_of(module)
        and package_of(name) != package_of(module)
    ]
    assert not wrong, "; ".join(wrong)


def test_there_is_no_import_cycle():
    graphlib.TopologicalSorter(
        {module: imported - {module} for module, imported in IMPORTS.items()}
    ).prepare()


def test_the_thin_package_imports_no_satellite():
    wrong = [
        f"vvi.{module} imports vvi.{name}"
        for module, imported in IMPORTS.items()
        for name in sorted(imported)
        if package_of(name) in SATELLITES
        and package_of(module) not in (*SATELLITES, "__main__")
    ]
    assert not wrong, "; ".join(wrong)


def test_experiments_run_without_matplotlib():
    code = (
        "import sys; import vvi.experiment, vvi.experiment.ablation;"
        "sys.exit('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_few_modules_lie_loose_in_the_package():
    assert len(list((ROOT / "vvi").glob("*.py"))) <= 8


def test_methods_do_not_import_one_another():
    def method_of(module: str) -> str:
        parts = module.split(".")
        return parts[1] if parts[0] == "methods" and len(parts) > 1 else ""

    wrong = [
        f"{module} imports {name}"
        for module, imported in IMPORTS.items()
        for name in imported
        if method_of(module) not in ("", "base")
        and method_of(name) not in ("", "base", method_of(module))
    ]
    assert not wrong, "; ".join(wrong)


def test_chapters_do_not_import_the_command_line():
    for path in sorted((ROOT / "book").glob("*.ipynb")):
        code = [
            "".join(cell["source"])
            for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
            if cell["cell_type"] == "code"
        ]
        assert not any("vvi.cli" in cell for cell in code), (
            f"{path.name} imports the command line: call the package instead"
        )
