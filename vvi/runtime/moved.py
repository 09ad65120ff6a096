"""Names of modules before they had packages: they import still, with a warning.

Notebooks and scripts of readers hold lines such as `from vvi import ablate`.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

#: Old name in `vvi` -> where the module is now.
MOVED = {
    "ablate": "experiment.ablation",
    "checkpoint": "engine.checkpoint",
    "choices": "experiment.method_switches",
    "compare": "book.comparison",
    "detect": "video.train_detectors",
    "detectors": "video.detectors",
    "evaluate": "evaluation.evaluate",
    "executors": "experiment.executors",
    "explorer": "book.query_browser",
    "findings": "experiment.measure",
    "nearest": "evaluation.nearest",
    "optim": "engine.optim",
    "panels": "book.figures",
    "paths": "runtime.paths",
    "printed": "book.published",
    "probes": "evaluation.probes",
    "queries": "book.queries",
    "search": "video.search",
    "seed": "runtime.random",
    "shards": "engine.distributed",
    "standing": "book.across_methods",
    "store": "experiment.store",
    "stress": "book.robustness",
    "train": "engine.train",
    "trials": "evaluation.protocols",
    "workbench": "book.ablation_panel",
    "data.sequences": "video.tracklets",
    "data.tracks": "video.tracking",
    "nn.fusion": "methods.cmft.parts",
    "nn.places": "nn.per_frame",
    "nn.shift": "methods.cmft.streams",
    "plots.source": "book.source",
}


class _Moved(MetaPathFinder, Loader):
    """Import a module under its old name."""

    def find_spec(self, fullname, path=None, target=None) -> ModuleSpec | None:
        """Find an old name, and return None for all others."""
        package, _, name = fullname.partition(".")
        if package != "vvi" or name not in MOVED:
            return None
        return ModuleSpec(fullname, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Import the module from where it is now."""
        new = f"vvi.{MOVED[spec.name.partition('.')[2]]}"
        text = f"{spec.name} is now {new}"
        warnings.warn(text, DeprecationWarning, stacklevel=2)
        module = importlib.import_module(new)
        self._own = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Give the module its own spec back: it has run already."""
        module.__spec__ = self._own


def install() -> None:
    """Let old names be imported. Further calls change nothing."""
    if not any(isinstance(finder, _Moved) for finder in sys.meta_path):
        sys.meta_path.append(_Moved())
