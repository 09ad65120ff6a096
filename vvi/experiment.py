"""A config becomes a result: the stored one when there is one, else a training run."""

from __future__ import annotations

import contextlib
import hashlib
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from vvi import checkpoint, durable, evaluate, findings, methods, paths, probes, shards, store, train, trials
from vvi.config import DataConfig, RunConfig
from vvi.data import open_dataset, synthetic
from vvi.data.layout import holds
from vvi.data.loader import Frames, TrainLoader
from vvi.data.synthetic import presets
from vvi.methods.base import Method
from vvi.metrics import Metrics
from vvi.seed import seed_everything, share
from vvi.types import MODALITIES, Dataset, Direction

Pixels = Literal["files", "cache", "resident"]
WEIGHTS = "model.safetensors"


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
        """What every figure and table of this result must say: "synthetic", or the layout of the real set; and whether validation people were searched."""
        named = "synthetic" if self.config.data.synthetic else self.config.data.layout
        return named if self.config.data.split == "test" else f"{named} (validation people)"

    def probe(self, name: str) -> probes.Score:
        """A score against the known factors; KeyError naming those there are."""
        found = self.record.probes
        if name not in found:
            raise KeyError(f"run {self.run_id} has no probe {name!r}; it has {', '.join(found) or 'none'}")
        return probes.Score(**found[name])

    def metrics(self, direction: Direction) -> Metrics:
        """Metrics of a direction, rebuilt from the record (AP in float32)."""
        scores, arrays = self.record.scores[direction], self.record.arrays
        hit = arrays[f"{direction}/first_hit"].astype(np.int64)
        cmc = np.array([np.mean(hit[hit > 0] <= k) for k in range(1, 21)])
        return Metrics(cmc, scores["mAP"], scores["mINP"], scores["n_valid"], scores["n_skipped"], arrays[f"{direction}/ap"].astype(np.float64), hit)

    def trials(self) -> dict[str, dict[str, float]]:
        """SYSU-MM01: the mean over its ten galleries in each of the four settings, in per cent; empty for other layouts."""
        suffix = "/trials"
        return {k.removesuffix(suffix): {n: 100 * x for n, x in trials.mean(v).items()} for k, v in self.arrays.items() if k.endswith(suffix)}

    def row(self, direction: Direction) -> dict[str, float]:
        """Rank-1, 5, 10, 20, mAP and mINP in per cent."""
        scores = self.record.scores[direction]
        return {name: 100 * scores[name] for name in (*(f"rank{k}" for k in findings.RANKS), "mAP", "mINP")}


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
) -> Result:
    """The result of a config: stored under `$VVI_RUNS` or `book/records`, else trained now and stored.

    retrain: train even when a stored result exists; data: a folder to read in place of the one that the config names; keep: store the result and the weights;
    pixels: where frames come from while training (`frames`), which changes the speed and not the numbers;
    on_step: called after every step of training with (done, total), may raise `train.Cancelled`: then nothing is stored;
    every: seconds between two checkpoints of a run that is kept. Killed at any moment, the same call goes on from the last one to the same numbers; of two processes that want
    one run, one trains and the other waits.
    compiled: train with `torch.compile` (`train.compiled`), which changes numbers as another machine would: the record says so.
    A stored result of other numeric versions is reported in a warning and not used. Under `torchrun` all processes train one run: the first looks, evaluates and writes, all
    return it.
    """
    settings, progress = located(settings, data), progress and share()[0] == 0
    if share()[1] > 1:
        train.fabric(device)  # joins the others before anything is decided
    record, notes = (None, []) if retrain else shards.told(lambda: store.find(settings, versions(settings)))
    for note in notes:
        warnings.warn(note, stacklevel=2)
    if record:
        checkpoint.tidy(paths.runs() / settings.hash)
        return Result(record, stored=True)
    if not keep:
        return Result(_train(settings, device, data, progress, pixels, on_step, None, compiled)[0], stored=False)
    folder = paths.runs() / settings.hash
    with durable.alone(folder) if shards.first() else contextlib.nullcontext():
        if not retrain and (record := shards.told(lambda: store.current(folder, versions(settings)))):  # made by another process while this one waited
            return Result(record, stored=True)
        learned = None if retrain else shards.told(lambda: _twin(settings))
        record, method = _train(settings, device, data, progress, pixels, on_step, every, compiled, learned)
        if shards.first():
            store.save_record(record, paths.runs(), save({k: v.contiguous().cpu() for k, v in method.state_dict().items()}))
            checkpoint.remove(folder)
    return Result(record, stored=False)


def versions(settings: RunConfig) -> dict[str, int]:
    """Numeric versions of what makes a run: small integers in the code, bumped only when what they compute changes."""
    found = {"loop": train.VERSION, "method": methods.module(settings.method).VERSION, "evaluate": evaluate.VERSION, "probes": probes.VERSION}
    return found | ({"generator": synthetic.VERSION} if settings.data.synthetic else {})


def located(settings: RunConfig, data: str | Path | None = None) -> RunConfig:
    """The config of a run on the data that is really there: a folder of real data enters it by a digest, so that results on different folders never mix.

    The embedded set that the config names keeps the config as it is, wherever it lies. ValueError, before any data are read or drawn, when the method refuses its options.
    """
    methods.config(settings.method, **_options(settings))
    named = settings.data
    if data is None and named.synthetic:
        return settings
    if data is not None and named.synthetic and synthetic.is_complete(data, named.source, named.layout, named.seed):
        return settings
    digest, layout = _digest(DataConfig("real", layout=named.layout, min_seq_len=named.min_seq_len), data or _real(named.layout))
    return replace(settings, data=replace(named, source=f"real:{digest}", layout=layout))


@lru_cache(maxsize=16)
def _digest(data: DataConfig, root: str | Path | None) -> tuple[str, str]:
    found = dataset(data, root)
    listed = "\n".join(f"{t.identity} {t.camera} {t.modality} {len(t)}" for side in (found.train, *found.sides["ir2vis"]) for t in side)
    return hashlib.sha256(listed.encode()).hexdigest()[:8], found.layout


def dataset(data: DataConfig, root: str | Path | None = None, progress: bool = True, seed: int = 0) -> Dataset:
    """The data of a config: a folder given, what `$VVI_DATA` holds for "real", else the embedded set, written on first use. The seed of a run names its trial of RegDB.

    With `split="val"` those who are searched are drawn people that no set holds, filmed by the same cameras; of real data, where nobody can be drawn, every fifth training
    identity, which then is not trained on.
    """
    if root is None and not data.synthetic:
        root = _real(data.layout)
        if root is None:
            raise FileNotFoundError(f"this preset reads a licensed data set: put {data.layout} on disk and set VVI_DATA to its folder")
    if root is None:
        root = synthetic_root(data, progress)
    options = {"min_seq_len": data.min_seq_len} if data.layout == "hitsz-vcm" else {"trial": trials.regdb_trial(seed)} if data.layout == "regdb" else {}
    found = open_dataset(root, layout=data.layout, **options)
    if data.split == "test":
        return found
    if not data.synthetic:
        return held_out(found)
    others = open_dataset(synthetic_root(replace(data, source=data.source + presets.VALIDATION), progress), layout=data.layout, **options)
    return replace(found, sides=others.sides)


def held_out(found: Dataset, every: int = 5) -> Dataset:
    """A data set whose searched people are every fifth training identity: the others are trained on, the test people are left out."""
    chosen = set(list(found.labels)[::every])
    parts = {m: tuple(t for t in found.train if t.modality == m and t.identity in chosen) for m in MODALITIES}
    sides = {"ir2vis": (parts["ir"], parts["vis"]), "vis2ir": (parts["vis"], parts["ir"])}
    return replace(found, train=tuple(t for t in found.train if t.identity not in chosen), sides={d: sides[d] for d in found.sides})


def _real(layout: str) -> Path | None:
    """`$VVI_DATA`, or the first folder in it that holds this layout: the variable may name one set or the place of several."""
    root = paths.real_data()
    folders = [root, *sorted(f for f in root.iterdir() if f.is_dir())] if root and root.is_dir() else []
    return next((f for f in folders if holds(f, layout)), root)


def synthetic_root(data: DataConfig, progress: bool = True) -> Path:
    """The folder of an embedded set, written when it is not complete."""
    preset = presets.find(data.source)  # equal worlds share a folder however spelt
    root = paths.cache() / f"synthetic-{data.layout}-{preset.name}-{data.seed}"
    return synthetic.write(root, preset, data.layout, data.seed, progress=progress)


def frames(data: DataConfig, found: Dataset, progress: bool = True, pixels: Pixels = "files", device: str | torch.device = "cpu") -> Frames:
    """The reader of pixels at the config's size: from the image "files", training clips from a memory-mapped "cache" of decoded frames, or with that cache "resident" on a device."""
    if pixels not in get_args(Pixels):
        raise ValueError(f"pixels={pixels!r}: choose from {', '.join(get_args(Pixels))}")
    reader = Frames(data.height, data.width, paths.cache() / "decoded")
    if pixels != "files":
        reader.build(found.train, progress)
    if pixels == "resident":
        reader.resident(device)
    return reader


def build(settings: RunConfig, num_ids: int) -> Method:
    """The untrained method of a config, the same for the same seed."""
    seed_everything(settings.seed)
    method = methods.load(settings.method, num_ids, **_options(settings))
    return method.to(memory_format=torch.channels_last)  # convolutions run up to twice as fast so, on a CPU and on a GPU


def _options(settings: RunConfig) -> dict[str, Any]:
    return {"backbone": settings.backbone, "weights": settings.weights, "frames": settings.data.frames} | dict(settings.options)


def trained(settings: RunConfig, num_ids: int) -> Method:
    """The trained method of a config, from this machine's run folder; FileNotFoundError when the weights are not there (records hold none), ValueError when they are damaged."""
    method = build(settings, num_ids)
    _load(method, settings)
    return method


def ready(settings: RunConfig, num_ids: int, **options) -> Method:
    """The trained method of a config; where its weights are not on this machine it is trained here first, with the arguments `options` of `experiment.run`."""
    try:
        return trained(settings, num_ids)
    except FileNotFoundError:
        run(settings, **options | {"retrain": True})
        return trained(settings, num_ids)


def _load(method: Method, settings: RunConfig) -> None:
    file = paths.runs() / settings.hash / WEIGHTS
    if not file.is_file():
        raise FileNotFoundError(
            f"{file} does not exist: the weights of this run are not on this machine; train it again (retrain=True, or vvi train --retrain)"
        )
    try:
        method.load_state_dict(load_file(file))
    except (SafetensorError, RuntimeError) as error:  # no such file, or one of another model
        raise ValueError(f"{file} does not hold the weights of this run ({str(error).splitlines()[-1].strip()}): run it with retrain=True") from error
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
    learned: store.Record | None = None,
) -> tuple[store.Record, Method]:
    """The record and the trained method; without `every` no checkpoint is looked for or left. learned: the run whose training this would repeat (`_twin`)."""
    engine = train.fabric(device, settings.recipe.precision)
    found = dataset(settings.data, data, progress, settings.seed)
    reader = frames(settings.data, found, progress, pixels, engine.device)
    method = build(settings, len(found.labels))
    loader = TrainLoader(found, reader, settings.data, settings.recipe, settings.seed, share())
    workers = 0 if reader.store is not None or settings.data.height <= 128 else min(8, torch.get_num_threads())
    where = store.environment(train.device_name(engine)) | _together() | ({"compiled": True} if compiled else {})
    if (precision := train.usable(settings.recipe.precision, engine.device.type)) != settings.recipe.precision:
        where |= {"precision": precision}
    kept = None if every is None else _checkpoint(settings, engine.device, where, every)
    if learned:
        history, spent = learned.history, learned.seconds["train"]
        _load(method, learned.config)
        method.to(engine.device)
    else:
        start = time.perf_counter()
        history = train.fit(method, loader, settings.recipe, engine, workers, progress, on_step, kept, compiled)
        spent = kept.seconds if kept else time.perf_counter() - start  # by all processes that worked on this run, one after the other
    scores, seconds, known, arrays = shards.told(lambda: _measure(settings, method, found, reader, progress))
    return store.Record(settings, versions(settings), where, history, scores, {"train": round(spent, 2)} | seconds, known, arrays), method


def _twin(settings: RunConfig) -> store.Record | None:
    """A stored run, with weights on this machine, that differs in nothing but what training does not see (who is searched, `AT_SEARCH` of the method)."""
    unseen = getattr(methods.module(settings.method), "AT_SEARCH", ())
    options = {k: v for k, v in settings.options.items() if k not in unseen}
    splits = ("test", "val") if settings.data.synthetic else (settings.data.split,)
    for twin in (replace(settings, options=chosen, data=replace(settings.data, split=split)) for split in splits for chosen in (options, settings.options)):
        folder = paths.runs() / twin.hash
        if twin.hash != settings.hash and (folder / WEIGHTS).is_file() and (record := store.current(folder, versions(twin))):
            return record
    return None


def _measure(settings: RunConfig, method: Method, found: Dataset, reader: Frames, progress: bool) -> tuple[dict, dict, dict, dict]:
    """Scores, seconds that it took, probes and arrays of a trained method."""
    times = [time.perf_counter()]
    sides = evaluate.evaluate(method, found, reader, settings.data.frames, progress, stride=settings.data.stride)
    scores, arrays = findings.summary(sides)
    times.append(time.perf_counter())
    if settings.data.split == "val":  # to choose by: numbers of the search alone
        return scores, {"evaluate": round(times[1] - times[0], 2)}, {}, {k: v for k, v in arrays.items() if k.endswith(findings.NUMBERS)}
    if found.layout == "sysu-mm01":
        scored = trials.sysu_scores(found.root, lambda wanted: evaluate.embed(method, wanted, reader, settings.data.frames, stride=settings.data.stride))
        arrays |= {f"{name}/trials": values.astype(np.float32) for name, values in scored.items()}
    known, maps = findings.probe(method, found, reader, settings, sides)
    times.append(time.perf_counter())
    seconds = {name: round(after - before, 2) for name, before, after in zip(("evaluate", "probe"), times, times[1:], strict=False)}
    return scores, seconds, known, arrays | maps


def _together() -> dict[str, int]:
    """How many processes train a run where it is more than one: each normalises its own clips, so numbers depend on it."""
    return {"processes": share()[1]} if share()[1] > 1 else {}


def _checkpoint(settings: RunConfig, device: torch.device, where: Mapping[str, Any], every: float) -> checkpoint.Checkpoint:
    """Of this run, and for what computes the same bits: a CPU's depend on its kind and on the number of threads."""
    same = ("torch", "device", *(("compiled",) if "compiled" in where else ()), *(("processor", "threads") if device.type == "cpu" else ()))
    run = {"config": settings.hash, "versions": versions(settings)} | _together()
    return checkpoint.Checkpoint(paths.runs() / settings.hash, run, {name: where[name] for name in same}, every)
