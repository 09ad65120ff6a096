"""One query of a run: its ranked list, what is known of the people in it, and the heat map of its clip."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from vvi import experiment
from vvi.book import figures
from vvi.book.figures import Scene
from vvi.config import DataConfig
from vvi.data import synthetic
from vvi.data.loader import searched
from vvi.data.transforms import normalise
from vvi.evaluation import evaluate
from vvi.evaluation.cam import class_activation_maps
from vvi.experiment import Result
from vvi.plots import cam, ranked
from vvi.types import Direction, Tracklet

KNOWN = {  # factor of a drawn person -> what a reader calls it
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
    "rate": "stride rate",
    "lean": "lean",
}


def order(result: Result, direction: Direction) -> np.ndarray:
    """Rows (Q,) of the queries from best found to worst, by the rank of their first right item; queries without one are left out."""
    hits = result.metrics(direction).first_hit
    valid = np.flatnonzero(hits > 0)
    return valid[np.argsort(hits[valid], kind="stable")]


def ranked_list(result: Result, view: Scene, direction: Direction, row: int) -> Figure:
    """The query in a row of its side, and its first ten."""
    panel = figures.ranked_panel(direction, result, direction, np.array([row]), view)
    return ranked.draw([panel], caption=f"{view.label} data, run {result.run_id}.")


def known(result: Result, view: Scene, direction: Direction, row: int) -> pd.DataFrame:
    """What is known of a query and of its first ten, a column for each: verdict, identity, camera and, where people were drawn, noisy frames, body, clothes and gait."""
    query, gallery = view.sides(direction)
    panel = figures.ranked_panel(direction, result, direction, np.array([row]), view, (16, 8))
    shown = {"query": query[row]} | {
        str(k): gallery[i]
        for k, i in enumerate(result.arrays[f"{direction}/top"][row], 1)
        if i >= 0
    }
    verdict = dict(zip(shown, ["", *panel.marks[0]], strict=False))
    factors = synthetic.read_factors(view.dataset.root) if view.known else None
    return pd.DataFrame(
        {
            name: {"verdict": verdict[name]}
            | _facts(t, view, result.config.data, factors)
            for name, t in shown.items()
        }
    )


def query_cam(result: Result, view: Scene, direction: Direction, row: int) -> Figure | None:
    """Heat map of a query's clip: the one that the record keeps, else computed from the weights of the run; None when this machine holds neither."""
    query = view.sides(direction)[0][row]
    maps, source = _kept(result, view, query), "kept in the record"
    if maps is None:
        maps, source = (
            _computed(result, view, direction, query),
            "computed from the weights",
        )
    if maps is None:
        return None
    which = searched(query, result.config.data)
    masks = (
        [synthetic.read_masks(view.dataset.root, query)[which]] if view.known else None
    )
    caption = f"What resembles the person's clips\nin the other modality; {source}\nof run {result.run_id} ({view.label} data)."
    return cam.plot(
        [view.large.images(query, which)],
        [figures.enlarged(maps)],
        [f"{query.modality}\nid {query.identity}"],
        masks,
        caption,
    )


def _facts(
    tracklet: Tracklet, view: Scene, data: DataConfig, factors: pd.DataFrame | None
) -> dict[str, str]:
    found = {"identity": str(tracklet.identity), "camera": str(tracklet.camera)}
    if factors is None:
        return found
    faults = synthetic.read_faults(view.dataset.root, tracklet)[
        searched(tracklet, data)
    ]
    found["noisy frames"] = f"{(faults != 'none').sum()} of {len(faults)}"
    person = factors.loc[tracklet.identity]
    return found | {label: _words(name, person[name]) for name, label in KNOWN.items()}


def _words(name: str, value: object) -> str:
    if name == "look_alike_group":
        return "–" if value < 0 else str(value)
    if isinstance(value, bool | np.bool_) or value in ("True", "False"):
        return "yes" if str(value) == "True" else "no"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _kept(result: Result, view: Scene, query: Tracklet) -> np.ndarray | None:
    """Maps (T, h, w) of 0..255 that a record keeps of this clip."""
    side = view.sides("ir2vis")[0 if query.modality == "ir" else 1]
    rows = result.arrays.get(f"cam/{query.modality}_rows", ())
    return next(
        (
            result.arrays[f"cam/{query.modality}"][i]
            for i, row in enumerate(rows)
            if side[row] == query
        ),
        None,
    )


def _computed(
    result: Result, view: Scene, direction: Direction, query: Tracklet
) -> np.ndarray | None:
    """The same from the trained weights, against the mean embedding of the person's clips in the other modality; None without weights or such clips."""
    theirs = [t for t in view.sides(direction)[1] if t.identity == query.identity]
    try:
        method = experiment.trained(result.config, len(view.dataset.labels))
    except FileNotFoundError:
        return None
    if not theirs:
        return None
    data = result.config.data
    reader = experiment.frames(data, view.dataset)
    reference = torch.from_numpy(
        evaluate.embed(method, theirs, reader, data.frames, stride=data.stride).mean(0)
    )
    clip = normalise(reader.read(query, searched(query, data)))  # (T, 3, H, W)
    return 255 * class_activation_maps(
        method, method.maps, clip, query.modality, reference
    )
