"""One query of a run: its ranked list, the people in it, the heat map of its clip."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from vvi import experiment
from vvi.book import figures
from vvi.book.scene import Scene
from vvi.data import synthetic
from vvi.data.loader import evaluated_frames
from vvi.data.transforms import normalise
from vvi.evaluation import evaluate
from vvi.evaluation.cam import class_activation_maps
from vvi.experiment import Result
from vvi.plots import cam, ranked
from vvi.types import Direction, Tracklet

#: Factor of a drawn person -> what a reader calls it.
KNOWN = {
    "look_alike_group": "look-alike group",
    "height": "height",
    "girth": "girth",
    "pattern": "pattern",
    "sleeves": "sleeves",
    "coat": "coat",
    "lower": "legwear",
    "boots": "boots",
    "bag": "bag",
    "hat": "hat",
    "long_hair": "long hair",
    "rate": "strides per frame",
    "lean": "lean",
}


def order(result: Result, direction: Direction) -> np.ndarray:
    """Return rows (Q,) of the queries from best found to worst.

    They are sorted by the rank of their first right item. Queries without one are left
    out.
    """
    hits = result.metrics(direction).first_hit
    valid = np.flatnonzero(hits > 0)
    return valid[np.argsort(hits[valid], kind="stable")]


def ranked_list(result: Result, scene: Scene, direction: Direction, row: int) -> Figure:
    """Draw a query and its first ten.

    Args:
        result: whose record keeps the lists.
        scene: its data.
        direction: of the search.
        row: of the query in its side.
    """
    rows = np.array([row])
    panel = figures.ranked_panel(direction, result, direction, rows, scene)
    hit = result.metrics(direction).first_hit[row]
    caption = (
        f"The first right item of this {direction} query stands at rank {hit} "
        f"({scene.label} data, run {result.run_id})."
    )
    return ranked.draw([panel], caption=caption)


def known(result: Result, scene: Scene, direction: Direction, row: int) -> pd.DataFrame:
    """Return what is known of a query and of its first ten, a column for each.

    Args:
        result: whose record keeps the lists.
        scene: its data.
        direction: of the search.
        row: of the query in its side.

    Returns:
        Verdict, identity, camera and, where people were drawn, noisy frames, body,
        clothes and gait.
    """
    query, gallery = scene.sides(direction)
    rows = np.array([row])
    panel = figures.ranked_panel(direction, result, direction, rows, scene, (16, 8))
    shown = {"query": query[row]}
    for rank, item in enumerate(result.arrays[f"{direction}/top"][row], 1):
        if item >= 0:
            shown[str(rank)] = gallery[item]
    verdicts = dict(zip(shown, ["", *panel.marks[0]], strict=False))
    columns = {}
    for name, tracklet in shown.items():
        facts = {"verdict": verdicts[name]} | _facts(tracklet, scene, result)
        columns[name] = facts
    return pd.DataFrame(columns)


def _facts(tracklet: Tracklet, scene: Scene, result: Result) -> dict[str, str]:
    """Return what is known of a tracklet and of the person in it."""
    facts = {"identity": str(tracklet.identity), "camera": str(tracklet.camera)}
    if scene.truth is None:
        return facts
    which = evaluated_frames(tracklet, result.config.data)
    noisy = scene.truth.noisy(tracklet, which)
    facts["noisy frames"] = f"{noisy.sum()} of {len(noisy)}"
    person = synthetic.read_factors(scene.dataset.root).loc[tracklet.identity]
    return facts | {label: words(name, person[name]) for name, label in KNOWN.items()}


def words(name: str, value: object) -> str:
    """Return the value of a factor in words."""
    if name == "look_alike_group":
        return "–" if value < 0 else str(value)
    if isinstance(value, bool | np.bool_) or value in ("True", "False"):
        return "yes" if str(value) == "True" else "no"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def query_cam(
    result: Result, scene: Scene, direction: Direction, row: int
) -> Figure | None:
    """Draw the heat map of a query's clip.

    It is the one that the record keeps, else computed from the weights of the run.

    Args:
        result: the run.
        scene: its data.
        direction: of the search.
        row: of the query in its side.

    Returns:
        None when this machine holds neither map nor weights.
    """
    query = scene.sides(direction)[0][row]
    maps, source = _stored_maps(result, scene, query), "kept in the record"
    if maps is None:
        maps = _computed_maps(result, scene, direction, query)
        source = "computed from the weights"
    if maps is None:
        return None
    which = evaluated_frames(query, result.config.data)
    masks = None
    if scene.truth is not None:
        masks = [scene.truth.masks(query, which)]
    caption = (
        "What resembles the person's clips in the other modality; "
        f"{source} of run {result.run_id} ({scene.label} data)."
    )
    return cam.plot(
        [scene.large.images(query, which)],
        [figures.enlarged(maps)],
        [f"{query.modality}\nid {query.identity}"],
        masks,
        caption,
    )


def _stored_maps(result: Result, scene: Scene, query: Tracklet) -> np.ndarray | None:
    """Return maps (T, h, w) of 0..255 that a record keeps of a clip."""
    side = scene.by_modality()[query.modality]
    rows = result.arrays.get(f"cam/{query.modality}_rows", ())
    for n, row in enumerate(rows):
        if side[row] == query:
            return result.arrays[f"cam/{query.modality}"][n]
    return None


def _computed_maps(
    result: Result, scene: Scene, direction: Direction, query: Tracklet
) -> np.ndarray | None:
    """Compute maps from the weights of a run.

    They explain the similarity with the mean embedding of the person's clips in the
    other modality.

    Args:
        result: the run.
        scene: its data.
        direction: of the search.
        query: the clip.

    Returns:
        (T, h, w) of 0..255, or None without weights or such clips.
    """
    gallery = scene.sides(direction)[1]
    same_person = [t for t in gallery if t.identity == query.identity]
    try:
        method = experiment.load_trained(result.config, len(scene.dataset.labels))
    except FileNotFoundError:
        return None
    if not same_person:
        return None
    data = result.config.data
    reader = experiment.frames(data, scene.dataset)
    embeddings = evaluate.embed(
        method, same_person, reader, data.frames, stride=data.stride
    )
    reference = torch.from_numpy(embeddings.mean(0))
    clip = normalise(reader.read(query, evaluated_frames(query, data)))  # (T, 3, H, W)
    return 255 * class_activation_maps(
        method, method.maps, clip, query.modality, reference
    )
