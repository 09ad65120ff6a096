"""A config becomes a result: the stored one when there is one, else a training run."""

from __future__ import annotations

import contextlib
import json
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from vvi import methods
from vvi.config import DataConfig, RunConfig, change, for_layout, preset
from vvi.data import NAMES, announce, digest, read_dataset, synthetic
from vvi.data.layout import locate
from vvi.data.loader import Frames, TrainLoader
from vvi.data.synthetic import presets
from vvi.engine import checkpoint, distributed, logs, train
from vvi.evaluation import evaluate, probes, protocols
from vvi.experiment import measure, method_switches, store
from vvi.experiment.trained_network import CONFIG
from vvi.methods.base import Method
from vvi.metrics import Metrics
from vvi.nn import hook
from vvi.runtime import atomic, paths, validation
from vvi.runtime.random import seed_everything, share
from vvi.types import MODALITIES, DataError, Dataset, Direction

Pixels = Literal["files", "cache", "resident"]
WEIGHTS = "model.safetensors"
REAL = "real:"  # before the digest of a real set


@dataclass(frozen=True)
class Result:
    """What one run gave. `arrays` holds what figures draw; `run_id` names the config."""

    record: store.Record
    stored: bool

    @property
    def config(self) -> RunConfig:
        return self.record.config

    @property
    def run_id(self) -> str:
        return self.record.config.hash

    @property
    def history(self) -> Mapping[str, list[float]]:
        return self.record.history

    @property
    def arrays(self) -> Mapping[str, np.ndarray]:
        return self.record.arrays

    @property
    def data_label(self) -> str:
        """What every figure and table of this result must say.

        "synthetic", or the layout of the real set; and whether validation people were
        searched.
        """
        named = "synthetic" if self.config.data.synthetic else self.config.data.layout
        return (
            named
            if self.config.data.split == "test"
            else f"{named} (validation people)"
        )

    @property
    def data_name(self) -> str:
        """On which data a run was made: name of the folder, layout and digest."""
        data = self.config.data
        people = "" if data.split == "test" else ", validation people"
        if data.synthetic:
            usual = data.layout == DataConfig().layout
            return (
                f"synthetic{people}" if usual else f"synthetic, {data.layout}{people}"
            )
        name = self.record.data.get("name", NAMES[data.layout])
        return f"{name} ({data.layout}, {data.source.removeprefix(REAL)}{people})"

    def probe(self, name: str) -> probes.Score:
        """A score against the known factors; KeyError naming those there are."""
        found = self.record.probes
        if name not in found:
            raise KeyError(
                f"run {self.run_id} has no probe {name!r}; it has {', '.join(found) or 'none'}"
            )
        return probes.Score(**found[name])

    def metrics(self, direction: Direction) -> Metrics:
        """Metrics of a direction, rebuilt from the record (AP in float32)."""
        scores, arrays = self.record.scores[direction], self.record.arrays
        hit = arrays[f"{direction}/first_hit"].astype(np.int64)
        cmc = np.array([np.mean(hit[hit > 0] <= k) for k in range(1, 21)])
        return Metrics(
            cmc,
            scores["mAP"],
            scores["mINP"],
            scores["n_valid"],
            scores["n_skipped"],
            arrays[f"{direction}/ap"].astype(np.float64),
            hit,
        )

    def trials(self) -> dict[str, dict[str, float]]:
        """SYSU-MM01: the mean over its ten galleries in each of the four settings, in per cent; empty for other layouts."""
        suffix = "/trials"
        return {
            k.removesuffix(suffix): {n: 100 * x for n, x in protocols.mean(v).items()}
            for k, v in self.arrays.items()
            if k.endswith(suffix)
        }

    def row(self, direction: Direction) -> dict[str, float]:
        """Rank-1, 5, 10, 20, mAP and mINP in per cent."""
        scores = self.record.scores[direction]
        return {
            name: 100 * scores[name]
            for name in (*(f"rank{k}" for k in measure.RANKS), "mAP", "mINP")
        }


def run(
    settings: RunConfig,
    retrain: bool = False,
    device: str = "auto",
    data: str | Path | None = None,
    progress: bool = True,
    keep: bool = True,
    pixels: Pixels = "files",
    on_step: train.OnStep | None = None,
    every: float = checkpoint.EVERY,
    compiled: bool = False,
    resume: Literal["same", "anyway"] = "same",
    log: str | None = None,
) -> Result:
    """The result of a config: stored under `$VVI_RUNS` or `book/records`, else trained now and stored.

    retrain: train even when a stored result exists; data: a folder to read in place of the one that the config names; keep: store the result and the weights;
    pixels: where frames come from while training (`frames`), which changes the speed and not the numbers;
    on_step: called after every step of training with (done, total), may raise `train.Cancelled`: then nothing is stored;
    every: seconds between two checkpoints of a run that is kept. Killed at any moment, the same call goes on from the last one to the same numbers; of two processes that want
    one run, one trains and the other waits.
    compiled: train with `torch.compile` (`train.compiled`), which changes numbers as another machine would: the record says so.
    resume: a checkpoint from where numbers come out differently (another processor, device or number of threads or processes) is refused, or used "anyway": the record says so.
    log: "csv" or "tensorboard", the losses in `$VVI_RUNS/<run>/log` while it trains (of a stored result: those of its history).
    A stored result of other numeric versions is reported in a warning and not used. Under `torchrun` all processes train one run: the first looks, evaluates and writes, all
    return it.
    """
    retrain, device = validation.flag("retrain", retrain), validation.device(device)
    resume = validation.choice("resume", resume, ("same", "anyway"))
    logs.check(log)
    data = validation.folder("data", data)
    settings, progress = located(settings, data), progress and share()[0] == 0
    if share()[1] > 1:
        train.fabric(device)  # joins the others before anything is decided
    record, notes = (
        (None, [])
        if retrain
        else distributed.told(lambda: store.find(settings, versions(settings)))
    )
    for note in notes:
        warnings.warn(note, stacklevel=2)
    if record:
        checkpoint.tidy(paths.runs() / settings.hash)
        _log_again(record, log)
        return Result(record, stored=True)
    if not keep:
        return Result(
            _train(
                settings,
                device,
                data,
                progress,
                pixels,
                on_step,
                None,
                compiled,
                log=log,
            )[0],
            stored=False,
        )
    folder = paths.runs() / settings.hash
    with atomic.alone(folder) if distributed.first() else contextlib.nullcontext():
        if not retrain and (
            record := distributed.told(
                lambda: store.current(folder, versions(settings))
            )
        ):  # made by another process while this one waited
            _log_again(record, log)
            return Result(record, stored=True)
        learned = None if retrain else distributed.told(lambda: _twin(settings))
        record, method = _train(
            settings,
            device,
            data,
            progress,
            pixels,
            on_step,
            every,
            compiled,
            resume == "anyway",
            learned,
            log,
        )
        if distributed.first():
            tensors = {k: v.contiguous().cpu() for k, v in method.state_dict().items()}
            store.save_record(
                record, paths.runs(), save(tensors, {CONFIG: settings.to_json()})
            )
            checkpoint.remove(folder)
    return Result(record, stored=False)


def _log_again(record: store.Record, log: str | None) -> None:
    """The log of a result that was trained before, where one is wanted."""
    if log and distributed.first():
        logs.write(log, paths.runs() / record.config.hash, record.history)


def versions(settings: RunConfig) -> dict[str, int]:
    """Numeric versions of what makes a run: small integers in the code, bumped only when what they compute changes."""
    found = {
        "loop": train.VERSION,
        "method": methods.module(settings.method).VERSION,
        "evaluate": evaluate.VERSION,
        "probes": probes.VERSION,
    }
    return found | ({"generator": synthetic.VERSION} if settings.data.synthetic else {})


def located(settings: RunConfig, data: str | Path | None = None) -> RunConfig:
    """The config of a run on the data that are really there.

    A folder of real data enters it by a digest of what its images hold, so that results
    on different folders never mix, and by its layout. The embedded set that the config
    names keeps the config as it is, wherever it lies.

    Args:
        settings: of the run.
        data: a folder to read in place of the one that the config names.

    Raises:
        ValueError: the method refuses its options; said before data are read or drawn.
        DataError: the folder holds no set that is known, or another one than asked for.
    """
    settings, data = _settled(settings), validation.folder("data", data)
    methods.config(settings.method, **_options(settings))
    named = settings.data
    if data is None and (named.synthetic or paths.real_data() is None):
        return settings if named.source != "real" else _absent(named)
    root, layout = locate(data or paths.real_data(), named.layout)
    if named.synthetic and _is_embedded(root, replace(named, layout=layout)):
        return for_layout(settings, layout)
    settings, stamp = for_layout(settings, layout), digest.stamp(root, layout)
    options = reader_options(settings.data, settings.seed)
    _check_readable(root, layout, tuple(options.items()), stamp)
    found = _digest(root, layout, stamp)
    return replace(settings, data=replace(settings.data, source=f"{REAL}{found}"))


@lru_cache(maxsize=64)
def _check_readable(root: Path, layout: str, options: tuple, stamp: str) -> None:
    """Refuse a set that its reader refuses, also where a result is stored already."""
    read_dataset(root, layout, **dict(options))


def layout_of(
    data: DataConfig,
    folder: str | Path | None,
    source: str | None = None,
    layout: str | None = None,
) -> str:
    """The layout of the data that a run will read.

    Args:
        data: of the run.
        folder: to read in place of the one that the config names.
        source: where it is another one than the config's.
        layout: that was asked for; another one that is there is then refused.
    """
    usual = layout or data.layout
    place = folder or (paths.real_data() if (source or data.source) == "real" else None)
    if place is None:
        return data.layout if usual == "auto" else usual
    root, there = locate(place, usual)
    if layout not in (None, "auto", there):
        raise DataError(f"{root} holds {there}, not {layout}")
    return there


def unlocated(settings: RunConfig) -> RunConfig:
    """The config of a run on real data as it was before its data were looked at."""
    usual = preset(settings.preset).data
    return change(settings, source=usual.source, layout=usual.layout)


def _absent(data: DataConfig) -> RunConfig:
    where = f"put {data.layout} on disk and set VVI_DATA to its folder"
    raise FileNotFoundError(f"this preset reads a licensed data set: {where}")


def _is_embedded(root: str | Path, data: DataConfig) -> bool:
    """Whether a folder is the embedded set that a config names, as it was written."""
    root = Path(root).expanduser()
    if not synthetic.is_complete(root, data.source, data.layout, data.seed):
        return False
    files = sorted(p for p in root.rglob("*") if p.is_file())
    return _is_untouched(root, digest.stamp_of(files))


def _settled(settings: RunConfig) -> RunConfig:
    """A config as it is stored: options with the types of their fields, a trunk and weights of one's own by what they hold."""
    settings = method_switches.settled(settings)
    trunk, weights = hook.pinned(settings.backbone, settings.weights)
    return replace(settings, backbone=trunk, weights=weights)


@lru_cache(maxsize=16)
def _is_untouched(root: Path, stamp: str) -> bool:
    said = json.loads((root / "manifest.json").read_text())["hash"]
    return synthetic.content_hash(root) == said


@lru_cache(maxsize=16)
def _digest(root: Path, layout: str, stamp: str) -> str:
    """The digest of a data set while its files are as their stamp says."""
    return digest.of_set(root, layout, paths.cache())


def dataset(
    data: DataConfig,
    root: str | Path | None = None,
    progress: bool = True,
    seed: int = 0,
) -> Dataset:
    """The data of a config.

    With `split="val"` those who are searched are drawn people that no set holds, filmed
    by the same cameras; of real data, where nobody can be drawn, every fifth training
    identity, which then is not trained on.

    Args:
        data: of a run.
        root: a folder; by default what `$VVI_DATA` holds for real data, else the
            embedded set, written on first use.
        progress: show how far the writing is.
        seed: of the run; it names the trial of RegDB.
    """
    if root is None and not data.synthetic:
        root = paths.real_data() or _absent(data)
    layout = data.layout
    if root is None:
        root = synthetic_root(data, progress)
    else:
        root, layout = locate(root, layout)
    options = reader_options(replace(data, layout=layout), seed)
    found = read_dataset(root, layout=layout, **options)
    _announce_once(found)
    if data.split == "test":
        return found
    if not data.synthetic:
        return held_out(found)
    people = replace(data, source=data.source + presets.VALIDATION)
    others = read_dataset(synthetic_root(people, progress), layout=layout, **options)
    return replace(found, sides=others.sides)


def reader_options(data: DataConfig, seed: int) -> dict[str, Any]:
    """What the reader of a layout is told by a config; ValueError when it has no such."""
    own: dict[str, Any] = {}
    if data.layout == "hitsz-vcm":
        own = {"min_seq_len": data.min_seq_len}
    elif data.layout == "regdb":
        own = {"trial": protocols.regdb_trial(seed)}
    usual = DataConfig()
    chosen = ("strict", "foreign", "auxiliary")
    set_here = {
        k: getattr(data, k) for k in chosen if getattr(data, k) != getattr(usual, k)
    }
    return own | set_here


_ANNOUNCED: set[str] = set()


def _announce_once(found: Dataset) -> None:
    """Warn of what was mended or left out of a set once in a process."""
    said = f"{found.root} {'; '.join(found.remarks)}"
    if said not in _ANNOUNCED:
        _ANNOUNCED.add(said)
        announce(found, stacklevel=4)


def held_out(found: Dataset, every: int = 5) -> Dataset:
    """A data set whose searched people are every fifth training identity: the others are trained on, the test people are left out."""
    chosen = set(list(found.labels)[::every])
    parts = {
        m: tuple(t for t in found.train if t.modality == m and t.identity in chosen)
        for m in MODALITIES
    }
    sides = {
        "ir2vis": (parts["ir"], parts["vis"]),
        "vis2ir": (parts["vis"], parts["ir"]),
    }
    return replace(
        found,
        train=tuple(t for t in found.train if t.identity not in chosen),
        sides={d: sides[d] for d in found.sides},
    )


def synthetic_root(data: DataConfig, progress: bool = True) -> Path:
    """The folder of an embedded set, written when it is not complete."""
    preset = presets.find(data.source)  # equal worlds share a folder however spelt
    root = paths.cache() / f"synthetic-{data.layout}-{preset.name}-{data.seed}"
    return synthetic.write(root, preset, data.layout, data.seed, progress=progress)


def frames(
    data: DataConfig,
    found: Dataset,
    progress: bool = True,
    pixels: Pixels = "files",
    device: str | torch.device = "cpu",
) -> Frames:
    """The reader of pixels at the config's size.

    pixels: from the image "files", training clips from a memory-mapped "cache" of decoded
    frames, or with that cache "resident" on a device.
    """
    if pixels not in get_args(Pixels):
        raise ValueError(
            f"pixels={pixels!r}: choose from {', '.join(get_args(Pixels))}"
        )
    reader = Frames(data.height, data.width, paths.cache() / "decoded")
    if pixels != "files":
        reader.build(found.train, progress)
    if pixels == "resident":
        reader.to_device(device)
    return reader


def build(settings: RunConfig, num_ids: int) -> Method:
    """The untrained method of a config, the same for the same seed."""
    seed_everything(settings.seed)
    method = methods.load(settings.method, num_ids, **_options(settings))
    return method.to(
        memory_format=torch.channels_last
    )  # convolutions run up to twice as fast so, on a CPU and on a GPU


def _options(settings: RunConfig) -> dict[str, Any]:
    return {
        "backbone": settings.backbone,
        "weights": settings.weights,
        "frames": settings.data.frames,
    } | dict(settings.options)


def trained(settings: RunConfig, num_ids: int) -> Method:
    """The trained method of a config, from this machine's run folder; FileNotFoundError when the weights are not there (records hold none), ValueError when they are damaged."""
    method = build(
        replace(settings, weights=None), num_ids
    )  # what training started from plays no part
    _load(method, settings)
    return method


def ready(settings: RunConfig, num_ids: int, **options) -> Method:
    """The trained method of a config; where its weights are not on this machine it is trained here first, with the arguments `options` of `experiment.run`."""
    try:
        return trained(settings, num_ids)
    except FileNotFoundError:
        run(settings, **options | {"retrain": True})
        return trained(settings, num_ids)


def sides(
    settings: RunConfig,
    data: str | Path | None = None,
    device: str = "auto",
    progress: bool = False,
) -> dict[Direction, evaluate.Side]:
    """Every direction of a trained run: features, identities and cameras, to be scored in any way.

    Args:
        settings: a run whose weights are on this machine.
        data: folder to read in place of the one that the config names.
        device: where features are computed.
        progress: whether to show a bar.

    Raises:
        FileNotFoundError: the weights are not here.
    """
    settings = located(settings, data)
    found = dataset(settings.data, data, progress, settings.seed)
    method = trained(settings, len(found.labels)).to(train.fabric(device).device)
    data, reader = settings.data, frames(settings.data, found)
    return evaluate.evaluate(
        method, found, reader, data.frames, progress, stride=data.stride
    )


def reranked(
    settings: RunConfig,
    data: str | Path | None = None,
    device: str = "auto",
    **options: float,
) -> dict[Direction, Metrics]:
    """Metrics of a trained run after k-reciprocal re-ranking, in every direction.

    Args:
        settings: a run whose weights are on this machine.
        data: folder to read in place of the one that the config names.
        device: where features are computed.
        options: k1, k2 and weight of `vvi.evaluation.rerank.rerank`.
    """
    found = sides(settings, data, device)
    return {direction: side.reranked(**options) for direction, side in found.items()}


def _load(method: Method, settings: RunConfig) -> None:
    file = paths.runs() / settings.hash / WEIGHTS
    if not file.is_file():
        raise FileNotFoundError(
            f"{file} does not exist: the weights of this run are not on this machine; train it again (retrain=True, or vvi train --retrain), "
            "or test those of another run on these data (vvi eval --weights RUN --data FOLDER)"
        )
    try:
        method.load_state_dict(load_file(file))
    except (
        SafetensorError,
        RuntimeError,
    ) as error:  # no such file, or one of another model
        raise ValueError(
            f"{file} does not hold the weights of this run ({str(error).splitlines()[-1].strip()}): run it with retrain=True"
        ) from error
    method.eval()


def _train(
    settings: RunConfig,
    device: str,
    data: str | Path | None,
    progress: bool,
    pixels: Pixels,
    on_step: train.OnStep | None,
    every: float | None,
    compiled: bool,
    anyway: bool = False,
    learned: store.Record | None = None,
    log: str | None = None,
) -> tuple[store.Record, Method]:
    """The record and the trained method; without `every` no checkpoint is looked for or left. learned: the run whose training this would repeat (`_twin`)."""
    engine = train.fabric(device, settings.recipe.precision)
    found = dataset(settings.data, data, progress, settings.seed)
    reader = frames(settings.data, found, progress, pixels, engine.device)
    method = build(settings, len(found.labels))
    loader = TrainLoader(
        found, reader, settings.data, settings.recipe, settings.seed, share()
    )
    workers = (
        0
        if reader.store is not None or settings.data.height <= 128
        else min(8, torch.get_num_threads())
    )
    where = (
        store.environment(train.device_name(engine))
        | _together()
        | ({"compiled": True} if compiled else {})
    )
    if (
        precision := train.usable(settings.recipe.precision, engine.device.type)
    ) != settings.recipe.precision:
        where |= {"precision": precision}
    kept = (
        None
        if every is None
        else _checkpoint(settings, engine.device, where, every, anyway)
    )
    if learned:
        history, spent = learned.history, learned.seconds["train"]
        _load(method, learned.config)
        _log_again(replace(learned, config=settings), log)
        method.to(engine.device)
    else:
        start = time.perf_counter()
        losses = logs.Log(log, paths.runs() / settings.hash) if log else None
        history = train.fit(
            method,
            loader,
            settings.recipe,
            engine,
            workers,
            progress,
            on_step,
            kept,
            compiled,
            losses,
        )
        where |= {"resumed": kept.moved} if kept and kept.moved else {}
        spent = (
            kept.seconds if kept else time.perf_counter() - start
        )  # by all processes that worked on this run, one after the other
    scores, seconds, known, arrays = distributed.told(
        lambda: _measure(settings, method, found, reader, progress)
    )
    seconds = {"train": round(spent, 2)} | seconds
    about = data_about(settings.data, found)
    record = store.Record(
        settings,
        versions(settings),
        where,
        history,
        scores,
        seconds,
        known,
        arrays,
        about,
    )
    return record, method


def data_about(data: DataConfig, found: Dataset) -> dict[str, Any]:
    """What a record says of its data: name, layout, digest, and what was left out."""
    about = {"layout": found.layout, "people trained on": len(found.labels)}
    if data.synthetic:
        return {"name": f"synthetic {data.source}"} | about
    about |= {
        "name": found.root.resolve().name,
        "digest": data.source.removeprefix(REAL),
    }
    return about | ({"remarks": found.remarks} if found.remarks else {})


def _twin(settings: RunConfig) -> store.Record | None:
    """A stored run, with weights on this machine, that differs in nothing but what training does not see (who is searched, `AT_SEARCH` of the method)."""
    unseen = getattr(methods.module(settings.method), "AT_SEARCH", ())
    options = {k: v for k, v in settings.options.items() if k not in unseen}
    splits = ("test", "val") if settings.data.synthetic else (settings.data.split,)
    for twin in (
        replace(settings, options=chosen, data=replace(settings.data, split=split))
        for split in splits
        for chosen in (options, settings.options)
    ):
        folder = paths.runs() / twin.hash
        if (
            twin.hash != settings.hash
            and (folder / WEIGHTS).is_file()
            and (record := store.current(folder, versions(twin)))
        ):
            return record
    return None


def _measure(
    settings: RunConfig, method: Method, found: Dataset, reader: Frames, progress: bool
) -> tuple[dict, dict, dict, dict]:
    """Scores, seconds that it took, probes and arrays of a trained method."""
    times = [time.perf_counter()]
    sides = evaluate.evaluate(
        method,
        found,
        reader,
        settings.data.frames,
        progress,
        stride=settings.data.stride,
    )
    scores, arrays = measure.summary(sides)
    times.append(time.perf_counter())
    if settings.data.split == "val":  # to choose by: numbers of the search alone
        return (
            scores,
            {"evaluate": round(times[1] - times[0], 2)},
            {},
            {k: v for k, v in arrays.items() if k.endswith(measure.NUMBERS)},
        )
    if found.layout == "sysu-mm01":
        data = settings.data
        embed = partial(
            evaluate.embed,
            method,
            frames=reader,
            count=data.frames,
            stride=data.stride,
        )
        scored = protocols.sysu_scores(found.root, embed, strict=data.strict)
        arrays |= {
            f"{name}/trials": values.astype(np.float32)
            for name, values in scored.items()
        }
    known, maps = measure.probe(method, found, reader, settings, sides)
    times.append(time.perf_counter())
    seconds = {
        name: round(after - before, 2)
        for name, before, after in zip(
            ("evaluate", "probe"), times, times[1:], strict=False
        )
    }
    return scores, seconds, known, arrays | maps


def _together() -> dict[str, int]:
    """How many processes train a run where it is more than one: each normalises its own clips, so numbers depend on it."""
    return {"processes": share()[1]} if share()[1] > 1 else {}


def _checkpoint(
    settings: RunConfig,
    device: torch.device,
    where: Mapping[str, Any],
    every: float,
    anyway: bool,
) -> checkpoint.Checkpoint:
    """Of this run, and for what computes the same bits: a CPU's depend on its kind and on the number of threads, all on the number of processes. anyway: go on elsewhere, too."""
    same = (
        "torch",
        "device",
        "precision",
        "compiled",
        "processes",
        *(("processor", "threads") if device.type == "cpu" else ()),
    )
    run = {"config": settings.hash, "versions": versions(settings)}
    here = {name: where[name] for name in same if name in where}
    return checkpoint.Checkpoint(paths.runs() / settings.hash, run, here, every, anyway)
