"""A folder of one's own pictures: single crops, or a folder for each tracklet."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from vvi.types import MODALITIES, DataError, Modality, Tracklet

PICTURES = re.compile(
    r"\.(jpe?g|jpe|jfif|png|bmp|dib|tiff?|webp|gif|p[bgpn]m|jp2|avif|tga)$",
    re.IGNORECASE,
)
LITTER = ("thumbs.db", "desktop.ini", "@eadir", "__macosx")  # what systems leave about
#: Lists that only a data set has: these are read by their own readers.
LISTS = (
    "info/track_test_info.txt",
    "track_test_info.txt",
    "exp/test_id.txt",
    "idx/test_visible_1.txt",
    "data_paths.json",
)
COLUMNS = ["name", "identity", "camera", "modality", "frames"]


def read(
    source: str | Path,
    modality: Modality,
    camera: int | None = None,
) -> tuple[list[Tracklet], pd.DataFrame]:
    """Find the pictures of a folder, in the order of their names.

    A picture at the top is a tracklet of one frame. Below, each folder with pictures is
    a tracklet; in `person/tracklet/` the first folder is the identity. Frames go by the
    numbers in their names, 2 before 10.

    Args:
        source: the folder, or a single picture.
        modality: of all of it, "vis" or "ir".
        camera: of all of it, where it is known.

    Returns:
        The tracklets, and a table with a row for each: `name` (path below the folder),
        `identity` and `camera` (text, empty where unknown), `modality`, `frames`.

    Raises:
        DataError: there is no such folder, no picture in it, or it is a data set.

    """
    source = Path(source).expanduser()
    if modality not in MODALITIES:
        raise ValueError(f"modality {modality!r}: choose from {', '.join(MODALITIES)}")
    alone = {source.name: [source]} if source.is_file() else {}
    rows, tracklets = [], []
    for number, (name, files) in enumerate((alone or _groups(source)).items()):
        person, _, inside = name.partition("/")
        identity = person if inside else ""
        known = "" if camera is None else str(camera)
        rows.append([name, identity, known, modality, len(files)])
        tracklets.append(Tracklet(tuple(files), number, camera or 0, modality))
    return tracklets, pd.DataFrame(rows, columns=COLUMNS)


def is_picture(path: Path) -> bool:
    """Whether a file is a picture, by its name or else by how it begins."""
    from PIL import Image

    if PICTURES.match(path.suffix):
        return path.is_file()
    try:
        with Image.open(path):
            return True
    except (OSError, Image.DecompressionBombError):
        return False


def _groups(root: Path) -> dict[str, list[Path]]:
    """Name -> files of every tracklet below a folder."""
    if not root.is_dir():
        raise DataError(f"{root}: no such file or folder")
    if lists := [name for name in LISTS if (root / name).is_file()]:
        what = f"{root} is a data set (it has {lists[0]}), not a folder of pictures"
        raise DataError(f"{what}: vvi eval METHOD --data FOLDER --out FILE embeds it")
    groups, foreign = {}, []
    folders = [root, *_in_order(path for path in root.rglob("*") if path.is_dir())]
    for folder in folders:
        if any(_is_litter(part) for part in folder.relative_to(root).parts):
            continue
        entries = _in_order(path for path in folder.iterdir() if path.is_file())
        entries = [path for path in entries if not _is_litter(path.name)]
        files = [path for path in entries if is_picture(path)]
        foreign += sorted(set(entries) - set(files))
        if folder == root:
            groups |= {file.name: [file] for file in files}
        elif files:
            groups[folder.relative_to(root).as_posix()] = files
    if not groups:
        raise DataError(f"{root} holds no pictures (such as .jpg or .png)")
    if foreign:
        names = ", ".join(path.name for path in foreign[:3])
        left = f"{len(foreign)} files of {root} are no pictures and left out: {names}"
        warnings.warn(left, stacklevel=4)
    return groups


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name.lower() in LITTER


def _in_order(paths: Iterable[Path]) -> list[Path]:
    """Paths with the numbers in their names in order: 2 before 10."""

    def key(path: Path) -> list[tuple]:
        parts = re.split(r"(\d+)", path.as_posix())
        return [(0, int(p), p) if p.isdecimal() else (1, 0, p) for p in parts]

    return sorted(paths, key=key)
