"""`--dry-run`: print what a command would start, and start nothing."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vvi.runtime import optional

if TYPE_CHECKING:
    from vvi.config import RunConfig

#: Runs that are named one by one.
MOST = 12
OPTION = "--dry-run"
SHAPE = re.compile(r"([1-9]\d{0,3})(?:x([1-9]\d{0,3}))?", re.ASCII)


def add_sweep(sub: argparse.ArgumentParser) -> None:
    """Add `--dry-run` to a command that trains many runs."""
    sub.add_argument(
        OPTION,
        action="store_true",
        help="print the runs that are missing and what would train them (of slurm the "
        "script of a job); train nothing",
    )


def add_run(sub: argparse.ArgumentParser) -> None:
    """Add `--dry-run` to a command that trains one run."""
    sub.add_argument(
        OPTION,
        type=shape,
        nargs="?",
        const=(1, 1),
        metavar="PROCESSES[xNODES]",
        help="print the runs that are missing and the commands that train one on so "
        "many processes of each node, such as 4 or 4x2; train nothing",
    )


def shape(text: str) -> tuple[int, int]:
    """Read how many processes a node starts, and on how many nodes.

    Raises:
        argparse.ArgumentTypeError: the text is no number of processes and nodes.

    >>> shape("4"), shape("4x2")
    ((4, 1), (4, 2))
    """
    match = SHAPE.fullmatch(text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} must be such as 4 or 4x2")
    return int(match[1]), int(match[2] or 1)


def sweep(
    args: argparse.Namespace,
    wanted: Sequence[RunConfig],
    data: str | None = None,
) -> Iterator[str]:
    """Yield lines that say what a sweep would train, and where.

    Args:
        args: of the command, with those of its executor.
        wanted: its runs.
        data: a folder that is read in place of the preset's.

    Raises:
        ValueError: options that the executor does not have.
    """
    from vvi.experiment import ablation, executors
    from vvi.runtime import paths

    where = args.executor or ("processes" if args.workers else "here")
    todo = ablation.missing(wanted, data)
    unique = len({config.hash for config in wanted})
    yield f"{len(todo)} of {unique} runs are missing and would be trained"
    for config in todo[:MOST]:
        yield f"  {_named(config)}"
    if len(todo) > MOST:
        yield f"  and {len(todo) - MOST} more"
    options = dict(args.options or [])
    executors.refuse_options(where, options, args.workers)
    if where != "slurm":
        yield _where(where, args.workers)
        return
    script = slurm_script(paths.runs() / ".jobs", **options)
    jobs = args.workers or executors.JOBS
    yield f"each as a job of Slurm, at most {jobs} in the queue, by this script:"
    yield from (f"  {line}" for line in script.strip().splitlines())


def _named(config: RunConfig) -> str:
    from vvi.experiment import ablation

    row = ablation.row_of(config) or config.method
    return f"run {config.hash}  {config.preset}  seed {config.seed}  {row}"


def _where(where: str, workers: int) -> str:
    if where == "here":
        return "here, one after the other"
    if where == "processes":
        return f"on {workers or 2} processes of one thread each, here"
    return f"on the workers of {where}"


def slurm_script(folder: Path, **options: Any) -> str:
    """Return the script that submitit hands to `sbatch`, also where there is no Slurm.

    Args:
        folder: what submitit writes.
        **options: parameters of the jobs, as `--options` takes them.

    Raises:
        ValueError: a parameter is unknown or of another type.
    """
    submitit = optional.load("submitit", "cluster")

    class Elsewhere(submitit.SlurmExecutor):
        """Slurm as if it were here: nothing is submitted."""

        @classmethod
        def affinity(cls) -> int:
            return 1

    options = {"name": "vvi"} | options
    shared = set(submitit.AutoExecutor._typed_parameters())
    try:
        with tempfile.TemporaryDirectory() as scratch:  # submitit makes its folder
            submitit.AutoExecutor(scratch, cluster="local").update_parameters(**options)
            executor = Elsewhere(scratch)
        executor.folder = folder.absolute()
        common = {k: v for k, v in options.items() if k in shared}
        own = {
            name.removeprefix("slurm_"): value
            for name, value in options.items()
            if name not in shared
        }
        executor.update_parameters(**executor._convert_parameters(common) | own)
    except (NameError, AssertionError) as error:  # submitit's words for a wrong one
        raise ValueError(" ".join(str(error).split())) from error
    command = executor._submitit_command_str
    return executor._make_submission_file_text(command, "ID")


def run(args: argparse.Namespace, configs: Sequence[RunConfig]) -> Iterator[str]:
    """Yield lines that say how one run would be trained on several processes.

    Args:
        args: of the command. `dry_run` holds processes and nodes, `typed` its words.
        configs: of the seeds.

    Raises:
        ValueError: a batch cannot be shared evenly.
    """
    from vvi.experiment import ablation

    processes, nodes = args.dry_run
    total = processes * nodes
    todo = list(configs) if args.retrain else ablation.missing(configs, args.data)
    why = "" if args.retrain else "are missing and "
    yield f"{len(todo)} of {len(configs)} runs {why}would be trained"
    for config in todo:
        yield f"  {_named(config)}"
    identities = configs[0].recipe.identities
    if identities % total:
        fits = [str(n) for n in range(1, identities + 1) if identities % n == 0]
        raise ValueError(
            f"a batch of {identities} identities cannot be shared evenly by {total} "
            f"processes: take {', '.join(fits)} in all"
        )
    share = identities // total
    yield f"on {total} processes, each with {share} of the {identities} identities"
    if len(todo) > 1 and total > 1:
        yield "one seed after the other"
    for node in range(nodes):
        yield f"node {node}: {shlex.join(fabric_command(args, node))}"


def fabric_command(args: argparse.Namespace, node: int) -> list[str]:
    """Return the command that starts the processes of one node."""
    processes, nodes = args.dry_run
    words = list(args.typed)
    at = next(n for n, word in enumerate(words) if word.startswith(OPTION))
    has_value = "=" not in words[at] and SHAPE.fullmatch((*words, "")[at + 1])
    del words[at : at + 1 + bool(has_value)]
    program = Path(sys.executable).with_name("vvi")
    if processes * nodes == 1:
        return [str(program), *words]
    kind = args.device.partition(":")[0]
    launch = ["fabric", "run", f"--accelerator={kind}", f"--devices={processes}"]
    if nodes > 1:
        launch += [f"--num-nodes={nodes}", f"--node-rank={node}"]
        launch += ["--main-address=NODE_0", "--main-port=29400"]
    return [*launch, str(program), *words]
