"""Training small detectors on synthetic crossings, and Table 1 of CMFT: how well and how fast they find people by day and by night, and how well tracks follow on their boxes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save
from torch import Tensor, nn

from vvi.data import synthetic
from vvi.data.synthetic import crossing
from vvi.data.synthetic.crossing import Crossing
from vvi.experiment import store
from vvi.runtime import atomic, paths
from vvi.runtime.random import rng, seed_everything
from vvi.types import MODALITIES, Modality
from vvi.video import tracking
from vvi.video.detectors import (
    FOLDER,
    HEIGHT,
    NAMES,
    PERSON,
    TITLES,
    Detector,
    build,
    shrink,
    stored,
    tensor,
)

VERSION = 1  # bumped also when crossings are drawn otherwise
CERTAIN = 0.5  # score from which a box counts in a table
COLUMNS, FOLLOWED = (
    ("precision", "recall", "f1", "jaccard"),
    ("MOTA", "IDF1", "switches"),
)
ASKED = 200  # frames of the test by day, and as many by night
HIDDEN = 0.3  # true boxes of which less is seen are neither asked for nor false


@dataclass(frozen=True)
class DetectorRecipe:
    """How a small detector learns: pictures of that height, `steps` batches, one-cycle rate."""

    name: str = "fcos"
    height: int = HEIGHT
    pictures: int = 800  # as many as in the paper, half of them by night
    steps: int = 1000
    batch: int = 8
    lr: float = 2e-3
    seed: int = 0


@dataclass(frozen=True)
class Moments:
    """Frames of crossings with what is known of them: pictures (N, h, w, 3) uint8 at the detector's size, their modality, and boxes (n, 5) with the visible share last."""

    pictures: np.ndarray
    light: tuple[Modality, ...]
    boxes: list[np.ndarray]
    large: tuple[int, int]  # (H, W) of the frames that the boxes refer to


def moments(
    count: int, split: str, height: int, seed: int = 0, each: int = 4
) -> Moments:
    """`count` frames by day and the same moments by night, of crossings of two to five people of the train or test split before one of the twelve cameras."""
    numbers = synthetic.presets.identities(synthetic.PRESETS["standard"])[split]
    pictures, light, boxes = [], [], []
    for take in range(-(-count // each)):
        lots = rng(seed, "crossings", split, take)
        who = tuple(
            sorted(
                lots.choice(numbers, int(lots.integers(2, 6)), replace=False).tolist()
            )
        )
        scene = Crossing(who, camera=int(lots.integers(1, 13)), take=take)
        when = np.sort(
            lots.choice(scene.frames, min(each, count - each * take), replace=False)
        )
        for modality in MODALITIES:
            frames, truth = crossing.film(scene, modality, when)
            pictures += [shrink(frame, height) for frame in frames]
            boxes += [
                truth[truth.frame == t][[*tracking.CORNERS, "visible"]].to_numpy()
                for t in when
            ]
            light += [modality] * len(when)
    return Moments(np.stack(pictures), tuple(light), boxes, (scene.height, scene.width))


def train(
    recipe: DetectorRecipe, known: Moments, device: str = "cpu"
) -> tuple[Detector, list[float]]:
    """A small detector from scratch, and its loss at every step. Pictures are mirrored at random; people of whom nearly nothing is seen are not asked for."""
    seed_everything(recipe.seed)
    network = build(recipe.name, recipe.height).to(device).train()
    optimiser = torch.optim.AdamW(network.parameters(), recipe.lr, weight_decay=0.01)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.lr, recipe.steps)
    history = []
    for step in range(recipe.steps):
        lots = rng(recipe.seed, "detector", step)
        rows = lots.choice(len(known.pictures), recipe.batch, replace=False)
        pictures, targets = zip(
            *(_example(known, row, lots.random() < 0.5, device) for row in rows),
            strict=True,
        )
        loss = sum(network(list(pictures), list(targets)).values())
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        rate.step()
        history.append(loss.item())
    return Detector(network.eval(), recipe.height), history


def _example(
    known: Moments, row: int, mirrored: bool, device: str
) -> tuple[Tensor, dict[str, Tensor]]:
    picture, boxes = known.pictures[row], known.boxes[row]
    boxes = boxes[boxes[:, 4] >= HIDDEN / 2, :4] * np.tile(
        (picture.shape[1] / known.large[1], picture.shape[0] / known.large[0]), 2
    )
    boxes = boxes[(boxes[:, 2:] - boxes[:, :2] > 1).all(1)]
    if mirrored:
        picture, boxes = (
            picture[:, ::-1],
            np.stack(
                (
                    picture.shape[1] - boxes[:, 2],
                    boxes[:, 1],
                    picture.shape[1] - boxes[:, 0],
                    boxes[:, 3],
                ),
                1,
            ),
        )
    labels = torch.full((len(boxes),), PERSON, device=device)
    return tensor(picture).to(device), {
        "boxes": torch.from_numpy(boxes).float().reshape(-1, 4).to(device),
        "labels": labels,
    }


def hits(
    boxes: np.ndarray, truth: np.ndarray, certain: float = CERTAIN
) -> tuple[int, int, int]:
    """Right boxes, false boxes and misses of one frame: boxes (n, 5) with score, truth (m, 5) with visible share.

    From the highest score down, each box takes the true one that it covers best (overlap 0.5 or more) of those left. Boxes that cover only hidden people do not count.
    """
    boxes = boxes[boxes[:, 4] >= certain]
    boxes = boxes[np.argsort(-boxes[:, 4], kind="stable")]
    near = tracking.overlap(boxes, truth)
    hidden = truth[:, 4] < HIDDEN
    right = ignored = 0
    free = ~hidden
    for row in near:
        open_to = np.where(free, row, 0)
        if len(row) and open_to.max() >= tracking.HIT:
            right += 1
            free[open_to.argmax()] = False
        else:
            ignored += bool((row[hidden] >= tracking.HIT).any())
    return right, len(boxes) - right - ignored, int((~hidden).sum()) - right


def scores(detector: Detector, known: Moments) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 (Eqs. 20-22 of CMFT) and TP / (TP + FP + FN) by day and by night.

    Paper: the "accuracy" of Table 1 is not defined there, and no such share of the same counts gives it.
    """
    found = Detector(detector.network, None, detector.least)(known.pictures)
    scale = np.array(
        [
            *np.tile(
                (
                    known.large[1] / known.pictures.shape[2],
                    known.large[0] / known.pictures.shape[1],
                ),
                2,
            ),
            1.0,
        ]
    )
    counts = {modality: np.zeros(3, int) for modality in MODALITIES}
    for modality, boxes, truth in zip(known.light, found, known.boxes, strict=True):
        counts[modality] += hits(boxes * scale, truth)
    return {
        name: rates(*counts[modality])
        for name, modality in (("day", "vis"), ("night", "ir"))
    }


def rates(right: int, false: int, missed: int) -> dict[str, float]:
    """What counts of right boxes, false boxes and misses come to.

    >>> {name: round(value, 3) for name, value in rates(8, 2, 4).items() if name != "boxes"}
    {'precision': 0.8, 'recall': 0.667, 'f1': 0.727, 'jaccard': 0.571}
    """
    precision, recall = right / max(right + false, 1), right / max(right + missed, 1)
    f1 = 2 * precision * recall / max(precision + recall, 1e-9)
    return {
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "jaccard": right / max(right + false + missed, 1),
        "boxes": int(right + missed),
    }


@dataclass(frozen=True)
class Record:
    """What a small detector reached on synthetic crossings, where, and in what time; `scores` has "day" and "night", `following` what ByteTrack makes of its boxes."""

    recipe: DetectorRecipe
    versions: dict[str, int]
    environment: dict[str, Any]
    seconds: dict[str, float]
    parameters: int
    fps: float  # frames a second of one processor thread
    scores: dict[str, dict[str, float]]
    following: dict[str, dict[str, float]]


def versions() -> dict[str, int]:
    return {"detect": VERSION, "generator": synthetic.VERSION}


def run(
    recipe: DetectorRecipe,
    retrain: bool = False,
    device: str = "cpu",
    known: tuple[Moments, Moments] | None = None,
) -> Record:
    """The record of a recipe: stored under `$VVI_RUNS/detectors` or `book/records/detectors`, else made now and stored with the weights in half precision.

    known: frames to learn from and to be scored on; drawn anew when not given.
    """
    if not retrain and (record := find(recipe)):
        return record
    times = [time.process_time()]
    learnt, asked = known or (
        moments(recipe.pictures // 2, "train", recipe.height),
        moments(ASKED, "test", recipe.height),
    )
    times.append(time.process_time())
    detector, _ = train(recipe, learnt, device)
    detector.network.cpu().half().float()  # what is scored is what is stored
    times.append(time.process_time())
    found, following = scores(detector, asked), follow(detector)
    times.append(time.process_time())
    seconds = {
        name: round(b - a, 1)
        for name, a, b in zip(
            ("draw", "train", "score"), times, times[1:], strict=False
        )
    }
    count = sum(p.numel() for p in detector.network.parameters())
    record = Record(
        recipe,
        versions(),
        store.environment(device),
        seconds,
        count,
        round(speed(detector), 1),
        found,
        following,
    )
    weights = {
        name: value.half() if value.is_floating_point() else value
        for name, value in detector.network.state_dict().items()
    }
    files = {
        f"{recipe.name}.safetensors": save(weights),
        f"{recipe.name}.json": (json.dumps(asdict(record), indent=1) + "\n").encode(),
    }
    with atomic.exclusive_lock(paths.runs() / FOLDER):
        atomic.write_all(paths.runs() / FOLDER, files)
    return record


def records(
    names: Sequence[str] = NAMES, retrain: bool = False, device: str = "cpu"
) -> dict[str, Record]:
    """The records of several small detectors by name, all scored on the same frames; what is stored is used, the rest is made now."""
    found = {name: None if retrain else find(DetectorRecipe(name)) for name in names}
    if missing := [name for name in names if found[name] is None]:
        known = tuple(
            moments(count, split, HEIGHT)
            for count, split in (
                (DetectorRecipe().pictures // 2, "train"),
                (ASKED, "test"),
            )
        )
        found |= {
            name: run(DetectorRecipe(name), True, device, known) for name in missing
        }
    return found


def collect(names: Sequence[str] = NAMES) -> list[Path]:
    """Copy records and weights of this machine into `book/records`, to be committed."""
    found = [
        file
        for name in names
        for file in sorted((paths.runs() / FOLDER).glob(f"{name}.*"))
    ]
    for file in found:
        atomic.write(paths.records() / FOLDER / file.name, file.read_bytes())
    return [paths.records() / FOLDER / file.name for file in found]


def table(found: Mapping[str, Record]) -> pd.DataFrame:
    """Table 1 of CMFT: one row per detector and light; precision, recall, F1, jaccard, fps, and how well tracks follow (MOTA, IDF1, switches)."""
    rows = [
        {"detector": TITLES[name], "light": light}
        | {k: record.scores[light][k] for k in COLUMNS}
        | {"fps": record.fps}
        | {k: record.following[light][k] for k in FOLLOWED}
        for name, record in found.items()
        for light in record.scores
    ]
    return pd.DataFrame(rows).set_index(["detector", "light"])


def find(recipe: DetectorRecipe) -> Record | None:
    """The stored record of a recipe, made by this version of the code; None when there is none."""
    return next(
        (
            record
            for record in map(_read, stored(recipe.name))
            if record.versions == versions() and record.recipe == recipe
        ),
        None,
    )


def _read(file: Path) -> Record:
    try:
        content = json.loads(file.read_text())
        return Record(**content | {"recipe": DetectorRecipe(**content["recipe"])})
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is no record of this version: {error}") from error


def follow(detector: Detector, crossings: int = 4) -> dict[str, dict[str, float]]:
    """How well ByteTrack follows people on the detector's boxes: counts over `crossings` scenes of four people of the test split, by day and by night."""
    numbers = synthetic.presets.identities(synthetic.PRESETS["standard"])["test"]
    totals: dict[str, dict[str, float]] = {}
    for name, modality in (("day", "vis"), ("night", "ir")):
        parts = []
        for take in range(crossings):
            lots = rng("follow", take)
            scene = Crossing(
                tuple(sorted(lots.choice(numbers, 4, replace=False).tolist())),
                camera=int(lots.integers(1, 13)),
                take=10_000 + take,
            )
            frames, truth = crossing.film(scene, modality)
            parts.append(
                tracking.scores(
                    tracking.follow(
                        (detector(frame[None])[0] for frame in frames), crossing.RATE
                    ),
                    truth,
                )
            )
        table = pd.DataFrame(parts)
        totals[name] = table[
            ["switches", "misses", "false", "boxes"]
        ].sum().to_dict() | {"IDF1": float(np.average(table.IDF1, weights=table.boxes))}
        t = totals[name]
        t["MOTA"] = 1 - (t["switches"] + t["misses"] + t["false"]) / t["boxes"]
    return totals


def speed(detector: Detector, frames: int = 20, repeats: int = 5) -> float:
    """Frames a second, one at a time on one thread, reduced and searched, in time of the processor: the best of `repeats`, so that a busy machine does not count."""
    picture = crossing.film(Crossing((503, 504, 505)), "vis", [100])[0]
    detector(picture)
    with _one_thread():
        times = []
        for _ in range(repeats):
            start = time.process_time()
            for _ in range(frames):
                detector(picture)
            times.append(time.process_time() - start)
    return frames / min(times)


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
