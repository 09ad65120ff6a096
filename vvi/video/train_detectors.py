"""Training small detectors on synthetic crossings, and Table 1 of CMFT.

The table says how well and how fast they find people by day and by night, and how well
tracks follow on their boxes.
"""

from __future__ import annotations

import json
import lzma
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
    PACKED,
    PERSON,
    TITLES,
    Detector,
    build,
    shrink,
    stored,
    tensor,
)

VERSION = 1  # raised also when crossings are drawn otherwise
CERTAIN = 0.5  # score from which a box counts in a table
COLUMNS = ("precision", "recall", "f1", "jaccard")
FOLLOWED = ("MOTA", "IDF1", "switches")
LIGHT: dict[str, Modality] = {"day": "vis", "night": "ir"}
TESTED = 200  # frames of the test by day, and as many by night
#: How xz packs weights, of which a number takes two bytes.
PACKING = [{"id": lzma.FILTER_LZMA2, "preset": 9, "lc": 0, "lp": 1, "pb": 1}]
HIDDEN = 0.3  # true boxes of which less is seen are neither missed nor false


@dataclass(frozen=True)
class DetectorRecipe:
    """How a small detector learns, with a one-cycle rate."""

    #: One of `vvi.video.detectors.NAMES`.
    name: str = "fcos"
    #: Of the pictures.
    height: int = HEIGHT
    #: As many as in the paper, half of them by night.
    pictures: int = 800
    #: Batches.
    steps: int = 1000
    #: Pictures of a batch.
    batch: int = 8
    #: Highest learning rate.
    lr: float = 2e-3
    seed: int = 0


@dataclass(frozen=True)
class Moments:
    """Frames of crossings with what is known of them."""

    #: (N, h, w, 3) uint8, at the size of the detector.
    pictures: np.ndarray
    #: N modalities.
    light: tuple[Modality, ...]
    #: N times (n, 5): corners, and the visible share.
    boxes: list[np.ndarray]
    #: (H, W) of the frames that the boxes refer to.
    large: tuple[int, int]

    @property
    def shrinkage(self) -> np.ndarray:
        """(4,) factors from corners in large frames to corners in pictures."""
        height, width = self.pictures.shape[1:3]
        return np.tile((width / self.large[1], height / self.large[0]), 2)


def moments(
    count: int, split: str, height: int, seed: int = 0, each: int = 4
) -> Moments:
    """Draw frames by day, and the same moments by night.

    They are of crossings of two to five people before one of the twelve cameras.

    Args:
        count: frames of either light.
        split: "train" or "test", whose people cross.
        height: of the pictures.
        seed: of the crossings.
        each: frames of one crossing.
    """
    numbers = synthetic.presets.identities(synthetic.PRESETS["standard"])[split]
    pictures, light, boxes = [], [], []
    for take in range(-(-count // each)):
        lots = rng(seed, "crossings", split, take)
        size = int(lots.integers(2, 6))
        people = lots.choice(numbers, size, replace=False).tolist()
        camera = int(lots.integers(1, 13))
        scene = Crossing(tuple(sorted(people)), camera=camera, take=take)
        number = min(each, count - each * take)
        frames = np.sort(lots.choice(scene.frames, number, replace=False))
        for modality in MODALITIES:
            large, truth = crossing.film(scene, modality, frames)
            pictures += [shrink(frame, height) for frame in large]
            boxes += [_true_boxes(truth, frame) for frame in frames]
            light += [modality] * len(frames)
    size = (scene.height, scene.width)
    return Moments(np.stack(pictures), tuple(light), boxes, size)


def _true_boxes(truth: pd.DataFrame, frame: int) -> np.ndarray:
    """Return corners and visible share of the people in a frame, (n, 5)."""
    columns = [*tracking.CORNERS, "visible"]
    return truth[truth.frame == frame][columns].to_numpy()


def train(
    recipe: DetectorRecipe, known: Moments, device: str = "cpu"
) -> tuple[Detector, list[float]]:
    """Train a small detector from scratch.

    Pictures are mirrored at random. People of whom nearly nothing is seen are left out.

    Args:
        recipe: how it learns.
        known: frames with their boxes.
        device: where it computes.

    Returns:
        The detector, and its loss at every step.
    """
    seed_everything(recipe.seed)
    network = build(recipe.name, recipe.height).to(device).train()
    optimiser = torch.optim.AdamW(network.parameters(), recipe.lr, weight_decay=0.01)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, recipe.lr, recipe.steps)
    history = []
    for step in range(recipe.steps):
        lots = rng(recipe.seed, "detector", step)
        rows = lots.choice(len(known.pictures), recipe.batch, replace=False)
        examples = [_example(known, row, lots.random() < 0.5, device) for row in rows]
        pictures, targets = zip(*examples, strict=True)
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
    """Return a picture and its targets as torchvision takes them.

    Args:
        known: frames with their boxes.
        row: of the frame.
        mirrored: whether left and right change places.
        device: where both go.
    """
    picture, boxes = known.pictures[row], known.boxes[row]
    boxes = boxes[boxes[:, 4] >= HIDDEN / 2, :4] * known.shrinkage
    boxes = boxes[(boxes[:, 2:] - boxes[:, :2] > 1).all(1)]
    if mirrored:
        picture, width = picture[:, ::-1], picture.shape[1]
        left, top, right, bottom = boxes.T
        boxes = np.stack((width - right, top, width - left, bottom), 1)
    corners = torch.from_numpy(boxes).float().reshape(-1, 4).to(device)
    labels = torch.full((len(boxes),), PERSON, device=device)
    return tensor(picture).to(device), {"boxes": corners, "labels": labels}


def hits(
    boxes: np.ndarray, truth: np.ndarray, certain: float = CERTAIN
) -> tuple[int, int, int]:
    """Count right boxes, false boxes and misses of one frame.

    From the highest score down, each box takes the true one that it covers best
    (overlap 0.5 or more) of those left. Boxes that cover only hidden people do not
    count.

    Args:
        boxes: (n, 5) with score.
        truth: (m, 5) with visible share.
        certain: score from which a box counts.
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
    missed = int((~hidden).sum()) - right
    return right, len(boxes) - right - ignored, missed


def scores(detector: Detector, known: Moments) -> dict[str, dict[str, float]]:
    """Score boxes by day and by night (Eqs. 20-22 of CMFT, and the Jaccard index).

    Paper: the "accuracy" of Table 1 is not defined there, and no such share of the same
    counts gives it.
    """
    as_they_are = Detector(detector.network, None, detector.least)
    detected = as_they_are(known.pictures)
    height, width = known.pictures.shape[1:3]
    corners = np.tile((known.large[1] / width, known.large[0] / height), 2)
    scale = np.array([*corners, 1.0])
    counts = {modality: np.zeros(3, int) for modality in MODALITIES}
    for modality, boxes, truth in zip(known.light, detected, known.boxes, strict=True):
        counts[modality] += hits(boxes * scale, truth)
    return {name: rates(*counts[modality]) for name, modality in LIGHT.items()}


def rates(right: int, false: int, missed: int) -> dict[str, float]:
    """Turn counts of right boxes, false boxes and misses into rates.

    Args:
        right: how many boxes are right.
        false: how many boxes are false.
        missed: how many true boxes are missed.

    Returns:
        Name of the rate -> its value, and under "boxes" how many true ones there are.

    >>> {name: round(value, 3) for name, value in rates(8, 2, 4).items()}
    {'precision': 0.8, 'recall': 0.667, 'f1': 0.727, 'jaccard': 0.571, 'boxes': 12}
    """
    precision = right / max(right + false, 1)
    recall = right / max(right + missed, 1)
    return {
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / max(precision + recall, 1e-9),
        "jaccard": right / max(right + false + missed, 1),
        "boxes": int(right + missed),
    }


@dataclass(frozen=True)
class Record:
    """What a small detector reached on synthetic crossings, where, and in what time."""

    recipe: DetectorRecipe
    versions: dict[str, int]
    environment: dict[str, Any]
    seconds: dict[str, float]
    parameters: int
    #: Frames a second of one processor thread.
    fps: float
    #: "day" and "night" -> rates of boxes.
    scores: dict[str, dict[str, float]]
    #: "day" and "night" -> how well ByteTrack follows on its boxes.
    following: dict[str, dict[str, float]]


def versions() -> dict[str, int]:
    """Return the versions that a record is of."""
    return {"detect": VERSION, "generator": synthetic.VERSION}


def run(
    recipe: DetectorRecipe,
    retrain: bool = False,
    device: str = "cpu",
    known: tuple[Moments, Moments] | None = None,
) -> Record:
    """Return the record of a recipe, stored or made now.

    A new one is stored under `$VVI_RUNS/detectors` with the weights in half precision.

    Args:
        recipe: how the detector learns.
        retrain: train even where a record is stored.
        device: where it trains.
        known: frames to learn from and to be scored on. None draws them anew.
    """
    record = None if retrain else find(recipe)
    if record is not None:
        return record
    times = [time.process_time()]
    learnt, tested = known or _drawn(recipe)
    times.append(time.process_time())
    detector, _ = train(recipe, learnt, device)
    detector.network.cpu().half().float()  # what is scored is what is stored
    times.append(time.process_time())
    boxes, following = scores(detector, tested), follow(detector)
    times.append(time.process_time())
    seconds = np.diff(times).round(1).tolist()
    record = Record(
        recipe,
        versions(),
        store.environment(device),
        dict(zip(("draw", "train", "score"), seconds, strict=True)),
        sum(p.numel() for p in detector.network.parameters()),
        round(speed(detector), 1),
        boxes,
        following,
    )
    _save(record, detector.network)
    return record


def _drawn(recipe: DetectorRecipe) -> tuple[Moments, Moments]:
    """Draw the frames that a recipe learns from and is scored on."""
    train_moments = moments(recipe.pictures // 2, "train", recipe.height)
    return train_moments, moments(TESTED, "test", recipe.height)


def _save(record: Record, network: nn.Module) -> None:
    """Write a record and the weights, in half precision, both or neither."""
    weights = {
        name: value.half() if value.is_floating_point() else value
        for name, value in network.state_dict().items()
    }
    text = json.dumps(asdict(record), indent=1) + "\n"
    name, folder = record.recipe.name, paths.runs() / FOLDER
    packed = lzma.compress(save(weights), filters=PACKING)
    files = {f"{name}{PACKED}": packed, f"{name}.json": text.encode()}
    with atomic.exclusive_lock(folder):
        atomic.write_all(folder, files)


def records(
    names: Sequence[str] = NAMES, retrain: bool = False, device: str = "cpu"
) -> dict[str, Record]:
    """Return the records of several small detectors, all scored on the same frames.

    Args:
        names: of the detectors.
        retrain: train even where a record is stored.
        device: where they train.
    """
    stored_records = {
        name: None if retrain else find(DetectorRecipe(name)) for name in names
    }
    missing = [name for name, record in stored_records.items() if record is None]
    if not missing:
        return stored_records
    known = _drawn(DetectorRecipe())
    trained = {name: run(DetectorRecipe(name), True, device, known) for name in missing}
    return stored_records | trained


def collect(names: Sequence[str] = NAMES) -> list[Path]:
    """Copy records and weights of this machine into `book/records`, to be committed."""
    copies = []
    for name in names:
        for file in sorted((paths.runs() / FOLDER).glob(f"{name}.*")):
            copy = paths.records() / FOLDER / file.name
            atomic.write(copy, file.read_bytes())
            copies.append(copy)
    return copies


def table(records: Mapping[str, Record]) -> pd.DataFrame:
    """Build Table 1 of CMFT, one row per detector and light.

    Columns are rates of boxes, frames a second, and how well tracks follow.
    """
    rows = []
    for name, record in records.items():
        for light, boxes in record.scores.items():
            row = {"detector": TITLES[name], "light": light}
            row |= {column: boxes[column] for column in COLUMNS}
            row["fps"] = record.fps
            followed = record.following[light]
            rows.append(row | {column: followed[column] for column in FOLLOWED})
    frame = pd.DataFrame(rows).set_index(["detector", "light"])
    return frame.rename_axis(["detector (drawn scenes, synthetic)", "light"])


def find(recipe: DetectorRecipe) -> Record | None:
    """Return the stored record of a recipe by this version of the code, if any.

    Raises:
        ValueError: a stored record is damaged or of another version.
    """
    for file in stored(recipe.name):
        record = _read(file)
        if record.versions == versions() and record.recipe == recipe:
            return record
    return None


def _read(file: Path) -> Record:
    try:
        content = json.loads(file.read_text())
        return Record(**content | {"recipe": DetectorRecipe(**content["recipe"])})
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is no record of this version: {error}") from error


def follow(detector: Detector, crossings: int = 4) -> dict[str, dict[str, float]]:
    """Measure how well ByteTrack follows people on the detector's boxes.

    Args:
        detector: trained.
        crossings: scenes of four people of the test split, by day and by night.

    Returns:
        "day" and "night" -> counts over all scenes, MOTA and IDF1.
    """
    numbers = synthetic.presets.identities(synthetic.PRESETS["standard"])["test"]
    totals = {}
    for light, modality in LIGHT.items():
        parts = []
        for take in range(crossings):
            lots = rng("follow", take)
            people = lots.choice(numbers, 4, replace=False).tolist()
            camera = int(lots.integers(1, 13))
            scene = Crossing(tuple(sorted(people)), camera=camera, take=10_000 + take)
            frames, truth = crossing.film(scene, modality)
            boxes = (detector(frame[None])[0] for frame in frames)
            tracks = tracking.follow(boxes, crossing.RATE)
            parts.append(tracking.scores(tracks, truth))
        totals[light] = _total(pd.DataFrame(parts))
    return totals


def _total(parts: pd.DataFrame) -> dict[str, float]:
    """Add up the counts of several scenes."""
    total = parts[["switches", "misses", "false", "boxes"]].sum().to_dict()
    total["IDF1"] = float(np.average(parts.IDF1, weights=parts.boxes))
    mistakes = total["switches"] + total["misses"] + total["false"]
    total["MOTA"] = 1 - mistakes / total["boxes"]
    return total


def speed(detector: Detector, frames: int = 20, repeats: int = 5) -> float:
    """Measure frames a second, one at a time on one thread, in processor time.

    The best of `repeats` counts, so that a busy machine does not.

    Args:
        detector: what is timed.
        frames: how many calls a repeat times.
        repeats: how often they are timed.
    """
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
