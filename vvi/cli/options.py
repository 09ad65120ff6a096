"""Options that several commands share, each with one meaning and one help text."""

from __future__ import annotations

import argparse

from vvi.cli import arguments

SIZES = ("tiny", "half", "standard", "full", "paper")
SETS = (
    "tiny, half, standard or full; behind it a world, as in half+bars=0.3; "
    "behind both -val for validation people"
)
LAYOUTS = ("hitsz-vcm", "sysu-mm01", "regdb", "buptcampus")
MODALITIES = ("ir", "vis")


def add_preset(sub: argparse.ArgumentParser, default: str | None = "standard") -> None:
    """Add `--preset`, the size of an experiment.

    Args:
        sub: parser of a command.
        default: without the option. None where it matters whether it was given.
    """
    sub.add_argument("--preset", default=default, choices=SIZES)


def add_seeds(
    sub: argparse.ArgumentParser, default: list[int] | None, note: str = ""
) -> None:
    """Add `--seeds`, in any way that people write several numbers.

    Args:
        sub: parser of a command.
        default: without the option.
        note: end of the help text.
    """
    sub.add_argument(
        "--seeds",
        nargs="+",
        action=arguments.Seeds,
        default=default,
        help=f"such as 0 1 2, 0,1,2 or 0-2{note}",
    )


def add_set(sub: argparse.ArgumentParser, text: str | None = None) -> None:
    """Add `--set`, which changes fields of a config and keeps their values as typed."""
    sub.add_argument(
        "--set",
        type=arguments.setting,
        action=arguments.Settings,
        nargs="+",
        metavar="FIELD=VALUE",
        help=text,
    )


def add_data(sub: argparse.ArgumentParser, text: str) -> None:
    """Add `--data`, a folder in place of the data of the preset."""
    sub.add_argument("--data", type=arguments.folder, default=None, help=text)


def add_device(sub: argparse.ArgumentParser, default: str | None = "auto") -> None:
    """Add `--device`.

    Args:
        sub: parser of a command.
        default: without the option. None where it matters whether it was given.
    """
    sub.add_argument("--device", type=arguments.device, default=default)


def add_pixels(sub: argparse.ArgumentParser) -> None:
    """Add `--pixels`, where frames are read from."""
    sub.add_argument(
        "--pixels",
        default="files",
        choices=("files", "cache", "resident"),
        help="where frames come from: changes the speed, not the numbers",
    )


def add_compile(sub: argparse.ArgumentParser) -> None:
    """Add `--compile`."""
    sub.add_argument(
        "--compile",
        action="store_true",
        help="train through torch.compile: needs a C++ compiler, a minute at the "
        "start, and changes numbers by rounding",
    )


def add_resume(sub: argparse.ArgumentParser) -> None:
    """Add `--resume`, what to do with a checkpoint of another machine."""
    sub.add_argument(
        "--resume",
        default="same",
        choices=("same", "anyway"),
        help="a checkpoint of another processor, device or number of threads is "
        "refused (same), or gone on from anyway: the record then says so",
    )


def add_executor(sub: argparse.ArgumentParser) -> None:
    """Add what says where many runs are trained: `--workers`, `--executor`."""
    sub.add_argument(
        "--workers",
        type=arguments.integer(0),
        default=0,
        help="processes of one thread each that train side by side "
        "(0: here, one run after the other)",
    )
    sub.add_argument(
        "--executor",
        metavar="WHERE",
        help="here, processes, dask://host:port or slurm "
        "(the last two need the extra [cluster])",
    )
    sub.add_argument(
        "--options",
        type=arguments.field,
        action="extend",
        nargs="+",
        metavar="NAME=VALUE",
        help="parameters of slurm jobs, e.g. timeout_min=600 slurm_partition=gpu",
    )


def add_rerank(sub: argparse.ArgumentParser) -> None:
    """Add `--rerank`, with or without parameters."""
    sub.add_argument(
        "--rerank",
        nargs="*",
        type=arguments.setting,
        action=arguments.Rerank,
        metavar="NAME=VALUE",
        help="k-reciprocal re-ranking: k1=20 k2=6 lambda=0.3, or others",
    )
