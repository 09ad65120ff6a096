"""Own material: a folder of crops or tracklets, a picture or a video -> features.

net = load_run_or_file("runs/6e454a79c7c1")
query, gallery = embed("night", net, "ir"), embed("day", net, "vis")
lists = rank(query, gallery)
draw(lists, query, gallery).savefig("ranked.png")
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vvi.data import crops, open_dataset
from vvi.data.loader import Frames, decode
from vvi.data.video import open_video
from vvi.evaluation import evaluate
from vvi.evaluation.features import VIDEO, Features
from vvi.experiment.trained_network import Trained
from vvi.plots import ranked
from vvi.runtime import validation
from vvi.types import DataError, Modality, Tracklet
from vvi.video.detectors import Detector
from vvi.video.tracklets import WHO, Detect, content_digest, usual, write_cached

FILES = "file"  # column of the table: the picture of the middle of a tracklet
HEIGHT, WIDTH = 128, 64  # of a picture in a drawn list


def embed(
    source: str | Path,
    net: Trained,
    modality: Modality,
    camera: int | None = None,
    detect: Detect | None = None,
    height: int = 64,
    progress: bool = False,
) -> Features:
    """Embed one's own pictures.

    Args:
        source: a folder of crops, of tracklet folders or of `person/tracklet/`, a
            single picture, or a video.
        net: a trained network (`vvi.experiment.trained_network.load_run_or_file`).
        modality: what the camera saw, "ir" or "vis": each has a stem of its own.
        camera: its number, for the table, or None.
        detect: what finds people in a video (`vvi.video.detectors.load`).
        height: boxes of people in a video that are fewer pixels high do not count.
        progress: whether to show a bar.

    Returns:
        A row for each tracklet, of unit norm. The table names the tracklets.

    Raises:
        DataError: nothing is there, or a picture cannot be read.
        ValueError: a video without `detect`, or one in which nobody is found.
    """
    source = validation.at_home(source)
    made_from: dict[str, str] = {}
    if source.is_dir() or (source.is_file() and crops.is_picture(source)):
        root = source if source.is_dir() else source.parent
        tracklets, table = crops.read(source, modality, camera)
    elif source.is_file():
        root, tracklets, table = _of_video(source, modality, camera, detect, height)
        made_from = _about_video(source, detect, height)
    else:
        raise DataError(f"{source}: no such file or folder")
    size = net.settings.data
    reader = Frames(size.height, size.width)
    values = evaluate.embed(
        net.method,
        tracklets,
        reader,
        size.frames,
        progress=progress,
        stride=size.stride,
    )
    middle = [_middle(tracklet) for tracklet in tracklets]
    shown = [path.relative_to(root).as_posix() for path in middle]
    about = {"source": str(root.resolve()), **made_from, **net.about}
    return Features(values, table.assign(**{FILES: shown}), about)


def _of_video(
    video: Path,
    modality: Modality,
    camera: int | None,
    detect: Detect | None,
    height: int,
) -> tuple[Path, list[Tracklet], pd.DataFrame]:
    """Cut the tracklets of a video into the cache.

    Args:
        video: a file.
        modality: of the video.
        camera: its number, for the table, or None.
        detect: what finds people.
        height: boxes that are fewer pixels high do not count.

    Returns:
        Their folder, the tracklets, and a table of them.
    """
    footage = open_video(video)
    if detect is None:
        raise ValueError(f"video {video}: give detect=, what finds people in it")
    rule = usual(footage.rate, height)
    root = write_cached(video, camera or 1, modality, detect, rule).root
    direction = "ir2vis" if modality == "ir" else "vis2ir"
    dataset = open_dataset(root, layout="hitsz-vcm", part="test")
    tracklets = list(dataset.query(direction))
    about = json.loads((root / WHO).read_text())
    rows, seen = [], {}
    for tracklet in tracklets:
        track = about[f"{tracklet.identity:04d}"]["track"]
        seen[track] = seen.get(track, 0) + 1
        name = f"{video.name}/track {track}/{seen[track]}"
        known = "" if camera is None else str(camera)
        rows.append([name, "", known, modality, len(tracklet), str(track)])
    return root, tracklets, pd.DataFrame(rows, columns=[*crops.COLUMNS, "track"])


def _about_video(video: Path, detect: Detect, height: int) -> dict[str, str]:
    """Return what a file of features says of the video: what its tracks depend on."""
    if isinstance(detect, Detector):
        detector = detect.digest
    else:
        detector = getattr(detect, "__qualname__", type(detect).__qualname__)
    values = content_digest(video), detector, str(height)
    return dict(zip(VIDEO, values, strict=True))


def _middle(tracklet: Tracklet) -> Path:
    return tracklet.paths[len(tracklet) // 2]


def draw(
    lists: pd.DataFrame,
    query: Features,
    gallery: Features,
    rows: Sequence[int] | None = None,
    title: str = "",
) -> Figure:
    """Draw ranked lists: a query, then its list, right and wrong where it is known.

    Args:
        lists: what `vvi.evaluation.ranking.rank` returns.
        query: rows that searched, with the folder of their pictures.
        gallery: rows that were searched.
        rows: query rows to show, by default the first eight.
        title: what stands above.

    Raises:
        FileNotFoundError: the pictures of the features are not on this machine.
    """
    every = lists["query_row"].unique()
    rows = every[:8] if rows is None else rows
    chosen = [lists[lists["query_row"] == row] for row in rows]
    longest = max(map(len, chosen))
    marks = np.full((len(rows), longest), "", dtype="<U10")
    items = []
    for line, part in enumerate(chosen):
        marks[line, : len(part)] = part["verdict"]
        pictures = [_picture(gallery, row) for row in part["gallery_row"]]
        items.append([*pictures, *[None] * (longest - len(part))])
    queries = [_picture(query, row) for row in rows]
    notes = [_note(query, row) for row in rows]
    panel = ranked.Panel(title, queries, items, marks, notes)
    return ranked.draw([panel])


def missing_pictures(
    lists: pd.DataFrame, query: Features, gallery: Features, rows: Sequence[int]
) -> str:
    """Return why ranked lists cannot be drawn, or nothing.

    Args:
        lists: what `vvi.evaluation.ranking.rank` returns.
        query: rows that searched.
        gallery: rows that were searched.
        rows: query rows to show.
    """
    if not has_pictures(query) or not has_pictures(gallery):
        return "these features do not say where their pictures are"
    shown = lists[lists["query_row"].isin(rows)]
    files = [_file(query, row) for row in rows]
    files += [_file(gallery, row) for row in shown["gallery_row"].unique()]
    missing = [file for file in files if not file.is_file()]
    if not missing:
        return ""
    return f"{len(missing)} of {len(files)} pictures are not there, {missing[0]}"


def has_pictures(features: Features) -> bool:
    """Whether features say where the pictures of their rows are."""
    return FILES in features.table and bool(features.about.get("source"))


def _file(features: Features, row: int) -> Path:
    return Path(features.about["source"]) / features.column(FILES)[row]


def _picture(features: Features, row: int) -> np.ndarray:
    if not has_pictures(features):
        file = features.about.get("file", "features")
        raise FileNotFoundError(
            f"{file}: nothing says where the pictures of its rows are"
        )
    return decode(_file(features, row), HEIGHT, WIDTH).permute(1, 2, 0).numpy()


def _note(features: Features, row: int, longest: int = 12) -> str:
    """Return the text beside a query: its identity, else the end of its name."""
    identity = features.column("identity")[row]
    text = f"id {identity}" if identity else Path(features.column("name")[row]).stem
    return text if len(text) <= longest else text[: longest - 1] + "…"
