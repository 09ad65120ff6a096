"""What a page shows of runs that may not be there yet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from vvi import experiment
from vvi.config import RunConfig
from vvi.experiment import ablation, shipped
from vvi.experiment.ablation import Rows
from vvi.experiment.trained_network import command

if TYPE_CHECKING:
    from vvi.book.scene import Scene
    from vvi.methods.base import Method


def tables(
    method: str,
    names: Iterable[str],
    size: str = "standard",
    seeds: Sequence[int] = ablation.SEEDS,
    **run: Any,
) -> dict[str, Rows]:
    """Collect the results of several tables of a method.

    Args:
        method: whose tables they are.
        names: of the tables.
        size: preset of the runs.
        seeds: of the runs, as in `ablation.results`.
        **run: arguments of `experiment.run`.

    Returns:
        Table -> rows, without any row where none of a table has a stored result.
    """
    return {name: _table(method, name, size, seeds, run) for name in names}


def _table(
    method: str, name: str, size: str, seeds: Sequence[int], run: dict[str, Any]
) -> Rows:
    """Collect the results of one table. Without any it prints a note.

    Args:
        method: whose table it is.
        name: of the table.
        size: preset of the runs.
        seeds: of the runs.
        run: arguments of `experiment.run`.
    """
    configs = ablation.configs(method, name, size, seeds)
    if ablation.reads_records(size, run) and not _any_stored(configs.values()):
        command = ablation.training_command(method, name, configs)
        print(f"No stored result yet: {method}, {name}. {command} trains them.")
        return Rows({}, configs)
    return ablation.results(method, name, size, seeds, **run)


def _any_stored(rows: Iterable[Sequence[RunConfig]]) -> bool:
    """Return whether any run of some rows has a stored result."""
    for configs in rows:
        hashes = {config.hash for config in configs}
        if len(ablation.missing(configs)) < len(hashes):
            return True
    return False


def network(settings: RunConfig, scene: Scene, **run: Any) -> Method | None:
    """Load the trained network of a run.

    A page of the book never trains at `standard`. Without weights on this machine it
    takes those that lie beside the record, in half precision, and says so. Without
    these either, it says which command makes them. At other sizes it trains the network
    here.

    Args:
        settings: of the run.
        scene: the data of the page.
        **run: arguments of `experiment.run`.

    Returns:
        The network, or None where the page has to do without.
    """
    people = len(scene.dataset.labels)
    if not ablation.reads_records(settings.preset, run):
        return experiment.train_if_missing(settings, people, **run)
    try:
        return experiment.load_trained(settings, people)
    except FileNotFoundError:
        method = shipped.load_half(settings, people)
        if method:
            print("The network is that of the record, rounded to half precision.")
            return method
        print(f"The weights of this run are not here. {command(settings)} makes them.")
        return None
