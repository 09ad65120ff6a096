"""A config becomes a result: the stored one when there is one, else a training run."""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import load_file, save

from vvi import evaluate, methods, paths, probes, store, train, trials
from vvi.config import DataConfig, RunConfig
from vvi.data import open_dataset, synthetic
from vvi.data.clips import test_frames
from vvi.data.loader import Frames, TrainLoader
from vvi.data.transforms import normalise
from vvi.methods.base import Method
from vvi.metrics import Metrics
from vvi.plots import cam
from vvi.seed import seed_everything
from vvi.types import Dataset, Direction, Modality, Tracklet

RANKS = (1, 5, 10, 20)
SHOWN = 12  # test identities whose embeddings a record keeps, for t-SNE
Pixels = Literal["files", "cache", "resident"]
MAPPED, KEPT_MAPS = 32, 2  # test tracklets of each modality whose CAM is scored, and whose maps a record keeps


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
        """What every figure and table of this result must say: "synthetic", or the layout of the real set."""
        return "synthetic" if self.config.data.synthetic else self.config.data.layout

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
        return {name: 100 * scores[name] for name in (*(f"rank{k}" for k in RANKS), "mAP", "mINP")}


def run(
    settings: RunConfig,
    retrain: bool = False,
    device: str = "auto",
    data: str | Path | None = None,
    progress: bool = True,
    keep: bool = True,
    pixels: Pixels = "files",
) -> Result:
    """The result of a config: stored under `$VVI_RUNS` or `book/records`, else trained now and stored.

    retrain: train even when a stored result exists; data: a folder to read in place of the one that the config names; keep: store the result and the weights;
    pixels: where frames come from while training (`frames`), which changes the speed and not the numbers.
    A stored result of other numeric versions is reported in a warning and not used.
    """
    settings = located(settings, data)
    record, notes = (None, []) if retrain else store.find(settings, versions(settings))
    for note in notes:
        warnings.warn(note, stacklevel=2)
    if record:
        return Result(record, stored=True)
    record, method = _train(settings, device, data, progress, pixels)
    if keep:
        folder = store.save_record(record, paths.runs())
        store.write_atomic(folder / "model.safetensors", save({k: v.contiguous().cpu() for k, v in method.state_dict().items()}))
    return Result(record, stored=False)


def versions(settings: RunConfig) -> dict[str, int]:
    """Numeric versions of what makes a run: small integers in the code, bumped only when what they compute changes."""
    found = {"loop": train.VERSION, "method": methods.module(settings.method).VERSION, "evaluate": evaluate.VERSION, "probes": probes.VERSION}
    return found | ({"generator": synthetic.VERSION} if settings.data.synthetic else {})


def located(settings: RunConfig, data: str | Path | None = None) -> RunConfig:
    """The config of a run on the data that is really there: a folder of real data enters it by a digest, so that results on different folders never mix.

    The embedded set that the config names keeps the config as it is, wherever it lies.
    """
    named = settings.data
    if data is None and named.synthetic:
        return settings
    if data is not None and named.synthetic and synthetic.is_complete(data, named.source, named.layout, named.seed):
        return settings
    digest, layout = _digest(DataConfig("real", layout=named.layout, min_seq_len=named.min_seq_len), data or paths.real_data())
    return replace(settings, data=replace(named, source=f"real:{digest}", layout=layout))


@lru_cache(maxsize=16)
def _digest(data: DataConfig, root: str | Path | None) -> tuple[str, str]:
    found = dataset(data, root)
    listed = "\n".join(f"{t.identity} {t.camera} {t.modality} {len(t)}" for side in (found.train, *found.sides["ir2vis"]) for t in side)
    return hashlib.sha256(listed.encode()).hexdigest()[:8], found.layout


def dataset(data: DataConfig, root: str | Path | None = None, progress: bool = True, seed: int = 0) -> Dataset:
    """The data of a config: a folder given, `$VVI_DATA` for "real", else the embedded synthetic set, written on first use. The seed of a run names its trial of RegDB."""
    if root is None and not data.synthetic:
        root = paths.real_data()
        if root is None:
            raise FileNotFoundError(f"this preset reads a licensed data set: put {data.layout} on disk and set VVI_DATA to its folder")
    if root is None:
        root = synthetic_root(data, progress)
    options = {"min_seq_len": data.min_seq_len} if data.layout == "hitsz-vcm" else {"trial": trials.regdb_trial(seed)} if data.layout == "regdb" else {}
    return open_dataset(root, layout=data.layout, **options)


def synthetic_root(data: DataConfig, progress: bool = True) -> Path:
    """The folder of an embedded set, written when it is not complete."""
    root = paths.cache() / f"synthetic-{data.layout}-{data.source}-{data.seed}"
    return synthetic.write(root, preset=data.source, layout=data.layout, seed=data.seed, progress=progress)


def frames(data: DataConfig, found: Dataset, progress: bool = True, pixels: Pixels = "files", device: str | torch.device = "cpu") -> Frames:
    """The reader of pixels at the config's size: from the image "files", from a memory-mapped "cache" of all decoded frames, or with that cache "resident" on a device."""
    reader = Frames(data.height, data.width, paths.cache() / "decoded")
    if pixels != "files":
        test = dict.fromkeys(t for sides in found.sides.values() for side in sides for t in side)
        reader.build([*found.train, *test], progress)
    if pixels == "resident":
        reader.resident(device)
    return reader


def build(settings: RunConfig, num_ids: int) -> Method:
    """The untrained method of a config, the same for the same seed."""
    seed_everything(settings.seed)
    method = methods.load(settings.method, num_ids, backbone=settings.backbone, weights=settings.weights, frames=settings.data.frames, **settings.options)
    return method.to(memory_format=torch.channels_last)  # convolutions run up to twice as fast so, on a CPU and on a GPU


def trained(settings: RunConfig, num_ids: int) -> Method:
    """The trained method of a config, from this machine's run folder; FileNotFoundError when the weights are not there (records hold none)."""
    file = paths.runs() / settings.hash / "model.safetensors"
    if not file.is_file():
        raise FileNotFoundError(f"{file} does not exist: the weights of this run are not on this machine; run it with retrain=True")
    method = build(settings, num_ids)
    method.load_state_dict(load_file(file))
    return method.eval()


def _train(settings: RunConfig, device: str, data: str | Path | None, progress: bool, pixels: Pixels) -> tuple[store.Record, Method]:
    found = dataset(settings.data, data, progress, settings.seed)
    engine = train.fabric(device, settings.recipe.precision)
    reader = frames(settings.data, found, progress, pixels, engine.device)
    method = build(settings, len(found.labels))
    loader = TrainLoader(found, reader, settings.data, settings.recipe, settings.seed)
    workers = 0 if reader.store is not None or settings.data.height <= 128 else min(8, torch.get_num_threads())
    times = [time.perf_counter()]
    history = train.fit(method, loader, settings.recipe, engine, workers, progress)
    times.append(time.perf_counter())
    sides = evaluate.evaluate(method, found, reader, settings.data.frames, progress)
    scores, arrays = summary(sides)
    times.append(time.perf_counter())
    if found.layout == "sysu-mm01":
        scored = trials.sysu_scores(found.root, lambda wanted: evaluate.embed(method, wanted, reader, settings.data.frames))
        arrays |= {f"{name}/trials": values.astype(np.float32) for name, values in scored.items()}
    known, maps = probe(method, found, reader, settings, sides)
    times.append(time.perf_counter())
    seconds = {name: round(after - before, 2) for name, before, after in zip(("train", "evaluate", "probe"), times, times[1:], strict=False)}
    where = store.environment(str(engine.device) if engine.device.type == "cpu" else torch.cuda.get_device_name(engine.device))
    return store.Record(settings, versions(settings), where, history, scores, seconds, known, arrays | maps), method


def summary(sides: Mapping[Direction, evaluate.Side]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Scores by direction, and the arrays of a record: AP and first hit of every query, top-10 lists, embeddings of the first `SHOWN` identities."""
    scores, arrays = {}, {}
    for direction, side in sides.items():
        found = side.metrics()
        scores[direction] = {f"rank{k}": found.rank(k) for k in RANKS} | {name: getattr(found, name) for name in ("mAP", "mINP", "n_valid", "n_skipped")}
        arrays[f"{direction}/ap"], arrays[f"{direction}/first_hit"] = found.ap.astype(np.float32), found.first_hit.astype(np.int32)
        arrays[f"{direction}/top"] = side.ranked().astype(np.int16 if len(side.gallery) < 2**15 else np.int32)
    side = sides["ir2vis"]
    shown = sorted({t.identity for t in side.query})[:SHOWN]
    for name, tracklets, feat in (("query", side.query, side.query_feat), ("gallery", side.gallery, side.gallery_feat)):
        rows = np.array([i for i, t in enumerate(tracklets) if t.identity in shown])
        arrays[f"shown/{name}_rows"], arrays[f"shown/{name}_feat"] = rows.astype(np.int32), feat[rows].astype(np.float16)
    return scores, arrays


def probe(
    method: Method, found: Dataset, reader: Frames, settings: RunConfig, sides: Mapping[Direction, evaluate.Side]
) -> tuple[dict[str, dict[str, float]], dict[str, np.ndarray]]:
    """The numbers behind the pictures, each with its interval, and the CAM maps that are shown. What needs known factors is measured on embedded data only."""
    side, ids = sides["ir2vis"], np.array([t.identity for t in sides["ir2vis"].query])
    gap = probes.modality_gap(side.gallery_feat, side.query_feat, np.array([t.identity for t in side.gallery]), ids)
    scores = {"gap distance": gap.distance, "gap probe": gap.probe}
    inside = _inside(method, found, reader, settings, {"vis": side.gallery, "ir": side.query})
    for name, change in (("shuffled", probes.shuffled()), ("occluded", probes.occluded())):
        altered = evaluate.evaluate(method, found, reader, settings.data.frames, change=change)["ir2vis"]
        scores[name] = probes.robustness(side.metrics(), altered.metrics(), groups=ids)
    for name, attributes in method.readings.items():
        with _set(method, attributes):
            altered = evaluate.evaluate(method, found, reader, settings.data.frames)["ir2vis"]
        scores[f"reading {name}"] = probes.robustness(side.metrics(), altered.metrics(), groups=ids)
    scores, arrays = scores | inside[0], inside[1]
    if settings.data.synthetic:
        groups = synthetic.read_factors(found.root).look_alike_group.to_dict()
        alike = probes.look_alike_rank1(*side.protocol, groups=groups, rule=side.rule)
        scores |= {"look-alike pair": alike.pair, "look-alike rank1": alike.rank1}
        seen = {"vis": (side.gallery, side.gallery_feat), "ir": (side.query, side.query_feat)}
        for modality, other in (("vis", "ir"), ("ir", "vis")):
            rows, maps, masks = _maps(method, found, reader, settings, modality, seen[modality][0], *seen[other])
            arrays |= {f"cam/{modality}_rows": rows[:KEPT_MAPS], f"cam/{modality}": np.round(255 * maps[:KEPT_MAPS, :, 2::4, 2::4]).astype(np.uint8)}
            if maps.any():  # a network of a few steps may have maps without any energy, and a share of nothing is no number
                scores[f"body share {modality}"] = probes.body_share(maps, masks)
    return {name: asdict(score) for name, score in scores.items()}, arrays


@contextmanager
def _set(method: Method, attributes: Mapping[str, Any]) -> Iterator[None]:
    before = {name: getattr(method, name) for name in attributes}
    try:
        for name, value in attributes.items():
            setattr(method, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(method, name, value)


def _inside(
    method: Method, found: Dataset, reader: Frames, settings: RunConfig, sides: Mapping[Modality, Sequence[Tracklet]]
) -> tuple[dict[str, probes.Score], dict[str, np.ndarray]]:
    """What the method shows of itself for `KEPT_MAPS` tracklets of each modality, evenly spaced among those with a frame known to be noisy; and how well its frame weights
    find such frames in all of them."""
    scores, arrays, count = {}, {}, settings.data.frames
    for modality, side in sides.items():
        noisy = np.zeros((len(side), count), bool)
        if settings.data.synthetic:
            noisy = np.stack([synthetic.read_faults(found.root, t)[test_frames(len(t), count)] != "none" for t in side])
        usable = np.flatnonzero(noisy.any(1)) if noisy.any() else np.arange(len(side))
        kept = usable[np.linspace(0, len(usable) - 1, KEPT_MAPS).astype(int)]
        seen = evaluate.inspect(method, [side[i] for i in kept], reader, count)
        arrays |= {f"inside/{modality}/{name}": values.astype(np.float16) for name, values in seen.items()}
        if seen:
            arrays |= {f"inside/{modality}_rows": kept.astype(np.int32)}
        if "frame weight" in seen and (noisy.any(1) & ~noisy.all(1)).any():
            weights = evaluate.inspect(method, side, reader, count, only="frame weight")["frame weight"]
            scores[f"noisy frames {modality}"] = probes.noisy_auc(weights, noisy, within_clip=True)
    return scores, arrays


def _maps(
    method: Method,
    found: Dataset,
    reader: Frames,
    settings: RunConfig,
    modality: Modality,
    own: Sequence[Tracklet],
    theirs: Sequence[Tracklet],
    feat: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """CAM of evenly spaced tracklets against the mean embedding of the same person in the other modality: their rows, maps (N, T, H, W), person masks."""
    identities = np.array([t.identity for t in theirs])
    usable = [i for i, t in enumerate(own) if t.identity in identities]
    rows = [usable[i] for i in np.linspace(0, len(usable) - 1, min(MAPPED, len(usable))).astype(int)]
    which = [test_frames(len(own[i]), settings.data.frames) for i in rows]
    clips = normalise(torch.stack([reader.read(own[i], w) for i, w in zip(rows, which, strict=True)]))
    reference = torch.stack([torch.from_numpy(feat[identities == own[i].identity].mean(0)) for i in rows])
    device = next(method.parameters()).device
    maps = [cam.compute(method, method.maps, c.to(device), modality, r.to(device)) for c, r in zip(clips.split(8), reference.split(8), strict=True)]
    masks = np.stack([synthetic.read_masks(found.root, own[i])[w] for i, w in zip(rows, which, strict=True)])
    return np.array(rows, np.int32), np.concatenate(maps), masks
