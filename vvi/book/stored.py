"""What a page shows of runs that may not be there yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from vvi import config, experiment
from vvi.config import RunConfig
from vvi.experiment import ablation
from vvi.experiment.ablation import Rows

if TYPE_CHECKING:
    from vvi.book.figures import Scene
    from vvi.methods.base import Method


def tables(
    method: str,
    names: Iterable[str],
    size: str = "standard",
    seeds: Sequence[int] = (0, 1, 2),
    **run: Any,
) -> dict[str, Rows]:
    """Collect the results of several tables of a method.

    Args:
        method: whose tables they are.
        names: of the tables.
        size: preset of the runs.
        seeds: of the runs, as in `ablate.results`.
        **run: arguments of `experiment.run`.

    Returns:
        Table -> rows, without any row where none of a table has a stored result.
    """
    found = {}
    for name in names:
        wanted = ablation.configs(method, name, size, seeds)
        stored = any(_has_result(configs) for configs in wanted.values())
        if ablation.reads_records(size, run) and not stored:
            print(f"No stored result yet: {method}, {name}. {_ablate(method, name)}")
            found[name] = Rows({}, wanted)
        else:
            found[name] = ablation.results(method, name, size, seeds, **run)
    return found


def network(settings: RunConfig, view: Scene, **run: Any) -> Method | None:
    """Load the trained network of a run.

    A page of the book never trains at `standard`: without weights on this machine it
    says which command makes them. At other sizes the network is trained here.

    Args:
        settings: of the run.
        view: the data of the page.
        **run: arguments of `experiment.run`.

    Returns:
        The network, or None where the page has to do without.
    """
    people = len(view.dataset.labels)
    if not ablation.reads_records(settings.preset, run):
        return experiment.train_if_missing(settings, people, **run)
    try:
        return experiment.load_trained(settings, people)
    except FileNotFoundError:
        print(f"The weights of this run are not here. {command(settings)} makes them.")
        return None


def command(settings: RunConfig) -> str:
    """Write the command line that trains a run again, weights included."""
    usual = config.preset(settings.preset, settings.method, seed=settings.seed)
    changes = [
        f"{name}={value}"
        for name, value in _flat(settings).items()
        if _flat(usual).get(name) != value
    ]
    words = ["vvi train", settings.method, "--preset", settings.preset, "--seeds"]
    words += [str(settings.seed), "--retrain"]
    return " ".join([*words, *(["--set", *changes] if changes else [])])


def _flat(settings: RunConfig) -> dict[str, Any]:
    return vars(settings.data) | vars(settings.recipe) | dict(settings.options)


def _has_result(configs: Sequence[RunConfig]) -> bool:
    """Whether any of these runs has a stored result."""
    return len(ablation.missing(configs)) < len({c.hash for c in configs})


def _ablate(method: str, table: str) -> str:
    return f"vvi ablate {method} --tables {table!r} trains them."
