"""A config becomes a result: the stored one when there is one, else a training run."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save

from vvi import evaluate, methods, paths, store, train
from vvi.config import DataConfig, RunConfig
from vvi.data import open_dataset, synthetic
from vvi.data.loader import Frames, TrainLoader
from vvi.methods.base import Method
from vvi.metrics import Metrics
from vvi.seed import seed_everything
from vvi.types import Dataset, Direction

RANKS = (1, 5, 10, 20)
SHOWN = 24  # test identities whose embeddings a record keeps, for t-SNE


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
    def synthetic(self) -> bool:
        return self.config.data.synthetic

    def metrics(self, direction: Direction) -> Metrics:
        """Metrics of a direction, rebuilt from the record (AP in float32)."""
        scores, arrays = self.record.scores[direction], self.record.arrays
        hit = arrays[f"{direction}/first_hit"].astype(np.int64)
        cmc = np.array([np.mean(hit[hit > 0] <= k) for k in range(1, 21)])
        return Metrics(cmc, scores["mAP"], scores["mINP"], scores["n_valid"], scores["n_skipped"], arrays[f"{direction}/ap"].astype(np.float64), hit)

    def row(self, direction: Direction) -> dict[str, float]:
        """Rank-1, 5, 10, 20, mAP and mINP in per cent."""
        scores = self.record.scores[direction]
        return {name: 100 * scores[name] for name in (*(f"rank{k}" for k in RANKS), "mAP", "mINP")}


def run(settings: RunConfig, retrain: bool = False, device: str = "auto", data: str | Path | None = None, progress: bool = True, keep: bool = True) -> Result:
    """The result of a config: stored under `$VVI_RUNS` or `book/records`, else trained now and stored.

    retrain: train even when a stored result exists; data: a folder to read in place of the one that the config names; keep: store the result and the weights.
    A stored result of other numeric versions is reported in a warning and not used.
    """
    record, notes = (None, []) if retrain else store.find(settings, versions(settings))
    for note in notes:
        warnings.warn(note, stacklevel=2)
    if record:
        return Result(record, stored=True)
    record, method = _train(settings, device, data, progress)
    if keep:
        folder = store.save_record(record, paths.runs())
        store.write_atomic(folder / "model.safetensors", save({k: v.contiguous().cpu() for k, v in method.state_dict().items()}))
    return Result(record, stored=False)


def versions(settings: RunConfig) -> dict[str, int]:
    """Numeric versions of what makes a run: small integers in the code, bumped only when what they compute changes."""
    found = {"loop": train.VERSION, "method": methods.module(settings.method).VERSION}
    return found | ({"generator": synthetic.VERSION} if settings.data.synthetic else {})


def dataset(data: DataConfig, root: str | Path | None = None, progress: bool = True) -> Dataset:
    """The data of a config: a folder given, `$VVI_DATA` for "real", else the embedded synthetic set, written on first use."""
    if root is None and not data.synthetic:
        root = paths.real_data()
        if root is None:
            raise FileNotFoundError(f"this preset reads a licensed data set: put {data.layout} on disk and set VVI_DATA to its folder")
    if root is None:
        root = synthetic_root(data, progress)
    options = {"min_seq_len": data.min_seq_len} if data.layout == "hitsz-vcm" else {}
    return open_dataset(root, layout=data.layout, **options)


def synthetic_root(data: DataConfig, progress: bool = True) -> Path:
    """The folder of an embedded set, written when it is not complete."""
    root = paths.cache() / f"synthetic-{data.layout}-{data.source}-{data.seed}"
    return synthetic.write(root, preset=data.source, layout=data.layout, seed=data.seed, progress=progress)


def frames(data: DataConfig, found: Dataset, progress: bool = True, decoded: bool | None = None) -> Frames:
    """The reader of pixels at the config's size; `decoded`: with the memory-mapped cache (default: for small synthetic frames)."""
    reader = Frames(data.height, data.width, paths.cache() / "decoded")
    small = data.synthetic and data.height <= 128
    if small if decoded is None else decoded:
        test = dict.fromkeys(t for sides in found.sides.values() for side in sides for t in side)
        reader.build([*found.train, *test], progress)
    return reader


def build(settings: RunConfig, num_ids: int) -> Method:
    """The untrained method of a config, the same for the same seed."""
    seed_everything(settings.seed)
    return methods.load(settings.method, num_ids, backbone=settings.backbone, weights=settings.weights, frames=settings.data.frames, **settings.options)


def trained(settings: RunConfig, num_ids: int) -> Method:
    """The trained method of a config, from this machine's run folder; FileNotFoundError when the weights are not there (records hold none)."""
    file = paths.runs() / settings.hash / "model.safetensors"
    if not file.is_file():
        raise FileNotFoundError(f"{file} does not exist: the weights of this run are not on this machine; run it with retrain=True")
    method = build(settings, num_ids)
    method.load_state_dict(load_file(file))
    return method.eval()


def _train(settings: RunConfig, device: str, data: str | Path | None, progress: bool) -> tuple[store.Record, Method]:
    found = dataset(settings.data, data, progress)
    reader = frames(settings.data, found, progress)
    method = build(settings, len(found.labels))
    engine = train.fabric(device, settings.recipe.precision)
    loader = TrainLoader(found, reader, settings.data, settings.recipe, settings.seed)
    workers = 0 if reader.store is not None else min(8, torch.get_num_threads())
    start = time.perf_counter()
    history = train.fit(method, loader, settings.recipe, engine, workers, progress)
    middle = time.perf_counter()
    sides = evaluate.evaluate(method, found, reader, settings.data.frames, progress)
    scores, arrays = summary(sides)
    seconds = {"train": round(middle - start, 2), "evaluate": round(time.perf_counter() - middle, 2)}
    where = store.environment(str(engine.device) if engine.device.type == "cpu" else torch.cuda.get_device_name(engine.device))
    return store.Record(settings, versions(settings), where, history, scores, seconds, arrays), method


def summary(sides: Mapping[Direction, evaluate.Side]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Scores by direction, and the arrays of a record: AP and first hit of every query, top-10 lists, embeddings of the first `SHOWN` identities."""
    scores, arrays = {}, {}
    for direction, side in sides.items():
        found = side.metrics()
        scores[direction] = {f"rank{k}": found.rank(k) for k in RANKS} | {
            "mAP": found.mAP,
            "mINP": found.mINP,
            "n_valid": found.n_valid,
            "n_skipped": found.n_skipped,
        }
        arrays |= {
            f"{direction}/ap": found.ap.astype(np.float32),
            f"{direction}/first_hit": found.first_hit.astype(np.int32),
            f"{direction}/top": side.ranked().astype(np.int32),
        }
        shown = sorted({t.identity for t in side.query})[:SHOWN]
        for name, tracklets, feat in (("query", side.query, side.query_feat), ("gallery", side.gallery, side.gallery_feat)):
            rows = np.array([i for i, t in enumerate(tracklets) if t.identity in shown])
            arrays |= (
                {f"{direction}/{name}_rows": rows.astype(np.int32), f"{direction}/{name}_feat": feat[rows].astype(np.float16)} if direction == "ir2vis" else {}
            )
    return scores, arrays
