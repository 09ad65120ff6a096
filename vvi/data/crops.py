"""A folder of one's own pictures: single crops, or a folder for each tracklet."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import pandas as pd

from vvi.data.faults import refuse_undecodable
from vvi.runtime import validation
from vvi.types import MODALITIES, DataError, Modality, Tracklet

PICTURES = re.compile(
    r"\.(jpe?g|jpe|jfif|png|bmp|dib|tiff?|webp|gif|p[bgpn]m|jp2|avif|tga)$",
    re.IGNORECASE,
)
#: Those of them that may hold several frames.
MOVING = re.compile(r"\.(apng|gif|tiff?|webp|avif)$", re.IGNORECASE)
#: What is decoded of files whose names do not say what they hold.
FORMATS = (
    "JPEG",
    "PNG",
    "BMP",
    "DIB",
    "TIFF",
    "WEBP",
    "GIF",
    "PPM",
    "JPEG2000",
    "AVIF",
)
#: Files that operating systems leave in folders.
LITTER = ("thumbs.db", "desktop.ini", "@eadir", "__macosx")
#: Lists by which a data set is known, which has a reader of its own.
LISTS = (
    "info/track_test_info.txt",
    "track_test_info.txt",
    "exp/test_id.txt",
    "idx/test_visible_1.txt",
    "data_paths.json",
)
#: A file beside tracklets that were cut from videos.
PROVISIONAL = "provisional.json"
COLUMNS = ["name", "identity", "camera", "modality", "frames"]


def read(
    source: str | Path,
    modality: Modality,
    camera: int | None = None,
) -> tuple[list[Tracklet], pd.DataFrame]:
    """Read the pictures of a folder, in the order of their names.

    A picture at the top is a tracklet of one frame. Below it, each folder with pictures
    is a tracklet, and in `person/tracklet/` the first folder is the identity. Frames
    are ordered by the numbers in their names, 2 before 10.

    Args:
        source: the folder, or a single picture.
        modality: of all pictures, "vis" or "ir".
        camera: of all pictures, if known.

    Returns:
        The tracklets, and a table with one row for each: `name` (path below the
        folder), `identity` and `camera` (text, empty where unknown), `modality`,
        `frames`.

    Raises:
        DataError: there is no such folder, it holds no picture, it is a data set, or
            a name is not UTF-8.
        ValueError: there is no such modality.
    """
    source = validation.at_home(source)
    if modality not in MODALITIES:
        raise ValueError(f"modality {modality!r}: choose from {', '.join(MODALITIES)}")
    refuse_undecodable([Path(os.path.realpath(source))])
    groups = {source.name: [source]} if source.is_file() else _groups(source)
    _warn_of_moving(chain.from_iterable(groups.values()))
    rows, tracklets = [], []
    for number, (name, files) in enumerate(groups.items()):
        refuse_undecodable(files)
        person, _, inside = name.partition("/")
        identity = person if inside else ""
        camera_text = "" if camera is None else str(camera)
        rows.append([name, identity, camera_text, modality, len(files)])
        tracklets.append(Tracklet(tuple(files), number, camera or 0, modality))
    return tracklets, pd.DataFrame(rows, columns=COLUMNS)


def _warn_of_moving(files: Iterable[Path]) -> None:
    """Warn of files that hold several frames, for only the first is looked at."""
    from PIL import Image

    moving = []
    for path in files:
        if not MOVING.match(path.suffix):
            continue
        try:
            with Image.open(path, formats=FORMATS) as image:
                if getattr(image, "n_frames", 1) > 1:
                    moving.append(path.name)
        except Exception:  # whoever decodes the file says what is wrong with it
            continue
    if moving:
        warnings.warn(
            f"pictures with several frames, of which the first is read: {len(moving)}, "
            f"{', '.join(moving[:3])}; save frames as pictures of one folder",
            stacklevel=3,
        )


def is_picture(path: Path) -> bool:
    """Whether a file is a picture, by its suffix or else by its content."""
    from PIL import Image

    if PICTURES.match(path.suffix):
        return path.is_file()
    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.format == "PPM":  # a text may begin as its header does
                image.load()
            return True
    except Exception:  # foreign bytes lead Pillow to any exception
        return False


def _groups(root: Path) -> dict[str, list[Path]]:
    """Return the files of every tracklet below a folder by its name."""
    if not root.is_dir():
        raise DataError(f"{root}: no such file or folder")
    lists = [name for name in LISTS if (root / name).is_file()]
    if lists and (root / PROVISIONAL).is_file():
        what = f"{root} holds tracklets cut from videos (it has {PROVISIONAL})"
        raise DataError(f"{what}: name the video itself, as in vvi embed VIDEO")
    if lists:
        what = f"{root} is a data set (it has {lists[0]}), not a folder of pictures"
        raise DataError(f"{what}: vvi eval METHOD --data FOLDER --out FILE embeds it")
    groups, others = {}, []
    for folder in _folders(root):
        entries = _sorted(path for path in folder.iterdir() if not path.is_dir())
        entries = [path for path in entries if not _is_litter(path.name)]
        _refuse_broken_links(entries)
        files = [path for path in entries if is_picture(path)]
        others += sorted(set(entries) - set(files))
        if folder == root:
            groups |= {file.name: [file] for file in files}
        elif files:
            groups[folder.relative_to(root).as_posix()] = files
    if not groups:
        raise DataError(
            f"{root} holds no pictures (such as .jpg or .png){_heic(others)}"
        )
    if others:
        names = ", ".join(path.name for path in others[:3])
        text = f"{len(others)} files of {root} are no pictures and left out: {names}"
        warnings.warn(text + _heic(others), stacklevel=4)
    return groups


def _folders(root: Path) -> list[Path]:
    """Return a folder and all below it, also behind links, each once.

    Folders that operating systems leave are left out.
    """
    seen, folders = set(), []
    for name, inside, _ in os.walk(root, followlinks=True):
        real = os.path.realpath(name)
        if real in seen:
            inside.clear()  # a link to where the walk has been
            continue
        seen.add(real)
        inside[:] = [folder for folder in inside if not _is_litter(folder)]
        folders.append(Path(name))
    return [folders[0], *_sorted(folders[1:])]


def _refuse_broken_links(entries: Iterable[Path]) -> None:
    """Refuse a picture that is a link to nothing.

    Raises:
        DataError: naming it and where it leads.
    """
    for path in entries:
        if PICTURES.match(path.suffix) and path.is_symlink() and not path.exists():
            target = os.readlink(path)
            raise DataError(
                f"{path} is a link to {target}, which is not there: mend or remove it"
            )


def _heic(others: Iterable[Path]) -> str:
    """Return a cure where phones wrote their own format."""
    phone = [path for path in others if path.suffix.lower() in (".heic", ".heif")]
    return f"; save {phone[0].name} and its like as JPEG or PNG" if phone else ""


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name.lower() in LITTER


def _sorted(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=_natural_key)


def _natural_key(path: Path) -> list[tuple]:
    """Return a key that orders the numbers in names by value, 2 before 10."""
    parts = re.split(r"(\d+)", path.as_posix())
    return [(0, int(p), p) if p.isdecimal() else (1, 0, p) for p in parts]
