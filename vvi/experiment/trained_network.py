"""A trained network: from a run, from a file, or as its authors released it."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from vvi import methods, weights
from vvi.config import RunConfig, change, for_layout, from_json, preset
from vvi.experiment import method_switches, store
from vvi.methods.base import Method
from vvi.runtime import paths, validation
from vvi.runtime.random import seed_everything
from vvi.runtime.tensors import CheckpointError, read, unwrap

WEIGHTS, RECORD = "model.safetensors", "record.json"
HALF = "half-*.safetensors"  # weights beside a record (`vvi.experiment.shipped`)
CONFIG = "config"  # key of the run in the head of a file of weights


@dataclass(frozen=True)
class Trained:
    """A network in evaluation mode, and what it was made with."""

    #: The run: method, size and number of frames, data that it was trained on.
    settings: RunConfig
    #: What embeds clips.
    method: Method
    #: The file of its weights.
    source: Path

    @property
    def name(self) -> str:
        """The method, and the digest of its weights."""
        digest = hashlib.sha256(self.source.read_bytes()).hexdigest()[:12]
        return f"{self.settings.method} {digest}"

    @property
    def about(self) -> dict[str, str]:
        """What a file of features says of the network that made them."""
        return {"weights": self.name, "config": self.settings.hash}


def build(settings: RunConfig, num_ids: int) -> Method:
    """Build the untrained method of a config, the same for the same seed."""
    seed_everything(settings.seed)
    method = methods.load(settings.method, num_ids, **method_options(settings))
    return _channels_last(method)


def method_options(settings: RunConfig) -> dict[str, Any]:
    """Return the keyword arguments of a run's method."""
    return {
        "backbone": settings.backbone,
        "weights": settings.weights,
        "frames": settings.data.frames,
        **settings.options,
    }


def load_trained(settings: RunConfig, num_ids: int) -> Method:
    """Load the trained method of a config from this machine's run folder.

    Raises:
        FileNotFoundError: the weights are not here (records hold none).
        ValueError: they are damaged.
    """
    # what training started from plays no part any more
    method = build(replace(settings, weights=None), num_ids)
    load_weights(method, settings)
    return method


def load_weights(method: Method, settings: RunConfig) -> None:
    """Fill a method with the weights of a run, and put it in evaluation mode.

    Raises:
        FileNotFoundError: the weights are not on this machine.
        ValueError: they are damaged, or of another model.
    """
    file = paths.runs() / settings.hash / WEIGHTS
    if not file.is_file():
        raise FileNotFoundError(
            f"{file} does not exist: the weights of this run are not on this machine; "
            f"train it again (retrain=True, or {command(settings)}), or test those of "
            "another run on these data (vvi eval --weights RUN --data FOLDER)"
        )
    try:
        method.load_state_dict(load_file(file))
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise ValueError(
            f"{file} does not hold the weights of this run ({reason}): run it with "
            "retrain=True"
        ) from error
    method.eval()


def _channels_last(method: Method) -> Method:
    """Lay weights out so that convolutions run up to twice as fast."""
    return method.to(memory_format=torch.channels_last)


def load_run_or_file(
    source: str | Path | RunConfig,
    settings: RunConfig | None = None,
    data: Path | None = None,
) -> Trained:
    """Load a trained network.

    Args:
        source: the id of a run, or how it begins (`vvi runs`), its folder, a file of
            weights, or the config of a run.
        settings: what was trained, for a file that does not say it. A file that this
            package wrote does, and so does a checkpoint of the authors.
        data: the folder that the run of a config reads, for the command of a message.

    Returns:
        The network on the CPU, in evaluation mode.

    Raises:
        FileNotFoundError: there is no such run, folder or file, or the run's weights
            are not on this machine.
        ValueError: the file says not what it holds, or does not fit `settings`.
    """
    if isinstance(source, RunConfig):
        file = _weights_of(paths.runs() / source.hash, command(source, data))
        return _trained(source, _content(file), file)
    path = validation.at_home(source)
    if not path.exists():
        path = _run_folder(str(source))
    file = _weights_of(path, _again(path)) if path.is_dir() else path
    content = _content(file)
    stored = _config_of(file)
    if stored:
        return _trained(stored, content, file)
    released = _released(file, content, refuse=settings is None)
    return released or _trained(settings, content, file)


def _trained(settings: RunConfig, content: Mapping, file: Path) -> Trained:
    try:
        tensors = unwrap(content)
    except CheckpointError as error:
        raise CheckpointError(f"{file}: {error}") from error
    return Trained(settings, _filled(settings, tensors, file), file)


def _run_folder(name: str) -> Path:
    """Find the folder of a run by its id, how that begins, or how it is listed."""
    runs, name = paths.runs(), store.plain_id(name)
    short = len(name) < 4 or not set(name) <= set("0123456789abcdef")
    records = [] if short else sorted(runs.glob(f"{name}*/{RECORD}"))
    if len(records) > 1:
        several = ", ".join(file.parent.name for file in records)
        raise ValueError(f"several runs begin with {name}: {several}")
    if records:
        return records[0].parent
    stored = [] if short else sorted(paths.records().glob(f"{name}*/{RECORD}"))
    if len(stored) == 1 and _half_of(stored[0].parent):
        return stored[0].parent
    if stored:
        config = store.load_record(stored[0].parent).config
        raise FileNotFoundError(
            f"run {name} is a stored result without weights: train it again, "
            f"{command(config)}"
        )
    raise FileNotFoundError(
        f"{name} is no run of {runs}, no folder and no file: vvi runs lists runs"
    )


def command(settings: RunConfig, data: Path | None = None) -> str:
    """Write the command line that trains a run again, weights included.

    Args:
        settings: of the run.
        data: the folder of real data that it reads, where it is known.
    """
    words = ["vvi", "train", settings.method]
    if settings.preset != "standard":
        words += ["--preset", settings.preset]
    if settings.seed or settings.data.layout == "regdb":  # by default all its trials
        words += ["--seeds", str(settings.seed)]
    if not settings.data.synthetic:
        words += ["--data", str(data or "FOLDER")]
    changes = _changes(settings)
    if changes:
        words += ["--set", *changes]
    return shlex.join([*words, "--retrain"])


def _changes(settings: RunConfig) -> list[str]:
    """Return what `--set` changes of the main row of a method, as it is typed."""
    usual = _main_row(settings)
    named = preset(settings.preset).data.layout
    before, now = _fields(usual) | {"layout": named}, _fields(settings)
    if not settings.data.synthetic:
        del now["source"]  # the folder of --data
    changes = {name: value for name, value in now.items() if value != before[name]}
    words = [f"{name}={_typed(value)}" for name, value in changes.items()]
    defaults = {s.name: s.default for s in method_switches.switches(settings.method)}
    before, now = defaults | dict(usual.options), defaults | dict(settings.options)
    for name, value in now.items():
        if value != before[name]:
            words.append(f"{name}={_typed(value, nothing='default')}")
    return words


def _main_row(settings: RunConfig) -> RunConfig:
    """Return the main row of a run's method, at its size and for its layout."""
    module = methods.module(settings.method)
    table, label = module.MAIN
    row = preset(settings.preset, settings.method, seed=settings.seed)
    if settings.preset == "paper":
        row = change(row, **getattr(module, "PAPER_RECIPE", {}).get(table, {}))
    row = change(row, **module.ABLATIONS[table][label])
    return for_layout(row, settings.data.layout)


def _fields(settings: RunConfig) -> dict[str, Any]:
    """Return the fields of every config that `--set` knows, by the names it takes."""
    trunk = settings.backbone.partition("@")[0]  # without the digest of its source
    fields = {"backbone": trunk, "weights": settings.weights}
    fields |= vars(settings.data) | vars(settings.recipe)
    fields["data_seed"] = fields.pop("seed")
    return fields


def _typed(value: Any, nothing: str = "none") -> str:
    """Write a value as `--set` reads it.

    >>> _typed((0.3, 0.6)), _typed(None), _typed(True)
    ('0.3,0.6', 'none', 'true')
    """
    if value is None:
        return nothing
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value)


def _again(folder: Path) -> str:
    """Return the command that trains the run of a folder of this machine again."""
    is_run = folder.resolve().parent == paths.runs().resolve()
    if is_run and (folder / RECORD).is_file():
        return command(store.load_record(folder).config)
    return "vvi train METHOD --retrain"


def _weights_of(folder: Path, again: str) -> Path:
    file = folder / WEIGHTS
    if file.is_file():
        return file
    half = _half_of(folder)
    if half:
        return half[0]
    raise FileNotFoundError(
        f"{file} does not exist: the weights of this run are not on this machine; "
        f"train it again, {again}"
    )


def _half_of(folder: Path) -> list[Path]:
    """Return the files of weights beside a record, [] where there are none."""
    return sorted(folder.glob(HALF))


def _content(file: Path) -> Mapping[str, Any]:
    """Read a file of weights, or all files that together lie beside a record."""
    if not file.match(HALF):
        return read(file)
    together: dict[str, Any] = {}
    for part in _half_of(file.parent):
        together |= read(part)
    return together


def _config_of(file: Path) -> RunConfig | None:
    """Read what was trained from the head of a file, else the record beside it."""
    with open(file, "rb") as opened:
        if opened.read(9)[8:] == b"{":
            with safe_open(file, "pt") as tensors:
                text = (tensors.metadata() or {}).get(CONFIG)
            if text:
                return from_json(text)
    of_run = file.name == WEIGHTS or file.match(HALF)
    if of_run and (file.parent / RECORD).is_file():
        return store.load_record(file.parent).config
    return None


def _released(file: Path, content: Mapping, refuse: bool) -> Trained | None:
    """Load a checkpoint of authors by the method whose released names it has."""
    reasons = []
    for name in methods.names():
        if not hasattr(methods.module(name), "RELEASED_KEYS"):
            continue
        try:
            method = weights.load_released(name, content)
        except CheckpointError as error:
            reasons.append(f"{name}, {str(error)[:60]}")
            continue
        own = preset("paper", name, variant="released", frames=method.config.frames)
        return Trained(own, method, file)
    if refuse:
        raise CheckpointError(
            f"{file} does not say which network it holds, and is no released one "
            f"({'; '.join(reasons)}): name its method and "
            "--preset as it was trained (METHOD of vvi eval, else --method)"
        )
    return None


def _filled(settings: RunConfig, tensors: Mapping[str, Tensor], file: Path) -> Method:
    """Fill the method of a run. Its number of identities comes from the file."""
    options = method_options(replace(settings, weights=None))
    one = methods.load(settings.method, 1, **options).state_dict()
    method = methods.load(settings.method, _identities(one, tensors), **options)
    try:
        weights.fill(method, tensors)
    except CheckpointError as error:
        raise CheckpointError(f"{file} is no {settings.method}: {error}") from error
    return _channels_last(method).eval()


def _identities(one: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> int:
    """Count the identities that a file tells apart, by a method that tells one."""
    counts = set()
    for name, own in one.items():
        theirs = tensors.get(name)
        if theirs is None or theirs.ndim != own.ndim or theirs.shape == own.shape:
            continue
        times, rest = divmod(theirs.shape[0], own.shape[0])
        if theirs.shape[1:] == own.shape[1:] and times and not rest:
            counts.add(times)
    return counts.pop() if len(counts) == 1 else 1
