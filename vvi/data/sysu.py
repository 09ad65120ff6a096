"""SYSU-MM01: single images of people from four visible cameras (1, 2, 4, 5) and two infrared ones (3, 6).

`<root>/cam<1..6>/<identity>/<image>.jpg`, identities of the parts in `<root>/exp/*.txt` (or `.mat`); some copies hold all of it in `ori_data/`. Everybody trains on
train + val; every infrared test image searches a gallery that a trial number draws.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from vvi.data.faults import (
    LITTER,
    Faults,
    Survey,
    check_links,
    existing_root,
    quote,
    read_lines,
)
from vvi.data.images import SUFFIXES
from vvi.types import MODALITIES, Dataset, Modality, Tracklet

CAMERAS = {"vis": (1, 2, 4, 5), "ir": (3, 6)}
GALLERY = {"all": (1, 2, 4, 5), "indoor": (1, 2)}
PARTS = ("train", "val", "test")
OPTIONS = {
    "mode": ("all", "indoor"),
    "shots": (1, 10),
    "trial": tuple(range(10)),
    "gallery": ("agw", "official"),
    "train": ("images", "arrays"),
}
WORD = {"vis": "visible", "ir": "infrared"}
IMAGE = r"\d{4}\.(?i:" + "|".join(SUFFIXES) + ")"

Images = dict[int, dict[int, list[Path]]]  # camera -> identity -> images by name
Folders = dict[tuple[int, int], list[Path]]  # (identity, camera) -> images by name


def read(
    root: str | Path,
    mode: Literal["all", "indoor"] = "all",
    shots: Literal[1, 10] = 1,
    trial: int = 0,
    gallery: Literal["agw", "official"] = "agw",
    train: Literal["images", "arrays"] = "images",
    strict: bool | None = None,
) -> Dataset:
    """Training images (visible, then infrared), all queries, and one trial's gallery.

    Args:
        root: the folder of the set.
        mode: which cameras the gallery is of.
        shots: images per identity and gallery camera.
        trial: which of the ten galleries, from 0.
        gallery: "agw" draws it as the code of AGW and its successors, "official" takes
            it from the permutations of the official evaluation
            (`exp/rand_perm_cam.mat`).
        train: "arrays" takes the training set from the released `.npy` form
            (`train_arrays`).
        strict: True refuses all that is odd, False reads on past all that can be read;
            None mends or leaves out what is harmless and refuses the rest.

    Raises:
        DataError: naming the first fault.
    """
    return survey(root, mode, shots, trial, gallery, train, strict).read()


def survey(
    root: str | Path,
    mode: str = "all",
    shots: int = 1,
    trial: int = 0,
    gallery: str = "agw",
    train: str = "images",
    strict: bool | None = None,
) -> Survey:
    """Do as `read`, with every fault instead of the first."""
    root, faults = existing_root(root, strict)
    given = (mode, shots, trial, gallery, train)
    for (name, allowed), value in zip(OPTIONS.items(), given, strict=True):
        if value not in allowed or isinstance(value, (bool, float)):
            known = ", ".join(map(str, allowed))
            faults.error(root, f"{name} must be one of {known}, got {value!r}")
    if faults.errors:
        return Survey(None, faults)
    base = data_folder(root)
    cameras = [base / f"cam{c}" for group in CAMERAS.values() for c in group]
    check_links([base, base / "exp", *cameras], faults)
    parts = _parts(base / "exp", faults)
    images = _images(base, faults)
    if parts is None or images is None:
        return Survey(None, faults)
    test, known = sorted(parts["test"]), sorted(parts["train"] + parts["val"])
    learn = tuple(t for m in MODALITIES for t in _walk(images, known, m))
    query = tuple(_walk(images, test, "ir"))
    everything = tuple(_walk(images, test, "vis"))
    listed = {"train": learn, "test": query + everything}
    learn = _check_modalities(base, known, test, listed, faults)
    if train == "arrays":
        arrays = survey_arrays(root, faults)
        learn = arrays.tracklets() if arrays and not faults.errors else ()
        listed["train"] = learn
    folders = {
        (i, c): images[c][i] for i in test for c in GALLERY[mode] if images[c].get(i)
    }
    if gallery == "official":
        permutations = base / "exp" / "rand_perm_cam.mat"
        chosen = _official(permutations, folders, shots, trial, faults)
    else:
        chosen = _drawn(folders, shots, trial)
    _check_gallery(base, folders, shots, faults)
    if not faults.errors and not chosen:
        where = ", ".join(map(str, GALLERY[mode]))
        what = f"the {mode}-search gallery is empty"
        faults.error(base, f"{what}: no test identity in cameras {where}")
    if not faults.errors and not query:
        faults.error(base, "no test identity has an infrared image: nothing to search")
    if not faults.errors and not learn:
        faults.error(base, "no training identity has images of both modalities")
    if faults.errors:
        return Survey(None, faults, listed)
    sides, problems = {"ir2vis": (query, chosen)}, tuple(faults.warnings)
    found = Dataset("sysu-mm01", root, learn, sides, "sysu", problems)
    return Survey(found, faults, listed)


def _check_gallery(base: Path, folders: Folders, shots: int, faults: Faults) -> None:
    small = [
        f"cam{camera}/{identity:04d} ({len(paths)})"
        for (identity, camera), paths in folders.items()
        if len(paths) < shots
    ]
    if small:
        what = f"{len(small)} gallery folders have fewer than {shots} images"
        faults.warn(base, f"{what}, all of them are taken: {', '.join(small)}")


def data_folder(root: Path) -> Path:
    """The folder of cam1..cam6 and exp: the root, or `ori_data` in it."""
    return (
        root / "ori_data"
        if (root / "ori_data").is_dir() and not (root / "cam1").exists()
        else root
    )


def _walk(
    images: Images, identities: list[int], modality: Modality
) -> Iterator[Tracklet]:
    """Every image of a modality, identities ascending, cameras ascending, names ascending."""
    for identity in identities:
        for camera in CAMERAS[modality]:
            for path in images[camera].get(identity, []):
                yield Tracklet((path,), identity, camera, modality)


def _parts(folder: Path, faults: Faults) -> dict[str, list[int]] | None:
    """Identities of train, val and test; None when a file is missing or malformed."""
    files = {
        part: next(
            (
                p
                for p in (folder / f"{part}_id.txt", folder / f"{part}_id.mat")
                if p.is_file()
            ),
            None,
        )
        for part in PARTS
    }
    if missing := [f"{part}_id.txt" for part, path in files.items() if path is None]:
        faults.error(
            folder,
            f"missing {len(missing)} of {len(PARTS)} required files: {', '.join(missing)} (or .mat)",
        )
        return None
    check_links(files.values(), faults)
    parts = {
        part: _ids_mat(path, faults)
        if path.suffix == ".mat"
        else _ids_text(path, faults)
        for part, path in files.items()
    }
    owner: dict[int, str] = {}
    for part, ids in parts.items():
        for identity in sorted(set(ids)):
            if ids.count(identity) > 1:
                faults.error(
                    files[part],
                    f"identity {identity} is listed {ids.count(identity)} times",
                    1,
                )
            if owner.setdefault(identity, part) != part:
                faults.error(
                    files[part],
                    f"identity {identity} is also in {files[owner[identity]].name}",
                    1,
                )
    return parts if all(parts.values()) else None


def _ids_text(path: Path, faults: Faults) -> list[int]:
    lines = read_lines(path, faults)
    if not lines:
        return []
    fields = [field.strip() for field in lines[0].split(",")]
    if wrong := [
        field for field in fields if not re.fullmatch(r"\d{1,9}", field, re.ASCII)
    ]:
        faults.error(
            path,
            f"{quote(lines[0])} is not a list of integers with commas ({quote(wrong[0])})",
            1,
        )
        return []
    return [int(field) for field in fields]


def _ids_mat(path: Path, faults: Faults) -> list[int]:
    content = _load_mat(path, "id", faults)
    if content is None:
        return []
    if (
        content.dtype.kind not in "iuf"
        or content.size == 0
        or (content != content.astype(int)).any()
    ):
        faults.error(
            path,
            f"variable id must hold integers, has {content.dtype} of shape {content.shape}",
        )
        return []
    return content.astype(int).ravel().tolist()


def _load_mat(path: Path, variable: str, faults: Faults):
    """A variable of a MATLAB file as an array, None and an error when it cannot be had."""
    from scipy.io import loadmat

    try:
        content = loadmat(path)
    except Exception as err:  # the parser raises whatever its first wrong byte leads to; the file is named and the reading stops
        faults.error(path, f"unreadable MATLAB file: {type(err).__name__}: {err}")
        return None
    if variable not in content:
        faults.error(
            path,
            f"no variable {variable!r}; the file has {', '.join(k for k in content if not k.startswith('__')) or 'none'}",
        )
        return None
    return content[variable]


def _images(base: Path, faults: Faults) -> Images | None:
    """Every image by camera and identity; names that begin with a dot do not count."""
    cameras = sorted(CAMERAS["vis"] + CAMERAS["ir"])
    missing = [f"cam{c}" for c in cameras if not (base / f"cam{c}").is_dir()]
    if missing:
        what = f"missing {len(missing)} of {len(cameras)} camera folders"
        faults.error(base, f"{what}: {', '.join(missing)}")
        return None
    person = "an identity folder of 4 digits"
    picture = "an image name such as 0001.jpg"
    images: Images = {}
    for camera in cameras:
        images[camera] = {}
        for folder in _entries(base / f"cam{camera}", r"\d{4}", person, True, faults):
            found = _entries(folder, IMAGE, picture, False, faults)
            images[camera][int(folder.name)] = _numbered(folder, found, faults)
    return images


def _entries(
    folder: Path, pattern: str, expected: str, folders: bool, faults: Faults
) -> list[Path]:
    """Entries of a folder by name; one that is not as expected is left out."""
    with os.scandir(folder) as scan:
        entries = [entry for entry in scan if not entry.name.startswith(".")]
        found = sorted((e.name, e.is_dir(), e.is_symlink()) for e in entries)
    right = []
    for name, is_dir, is_link in found:
        if re.fullmatch(pattern, name, re.ASCII) and is_dir == folders:
            right.append(folder / name)
            check_links([folder / name] if is_link else [], faults)
            continue
        litter = LITTER.fullmatch(name) is not None
        kind = "what systems leave behind" if litter else "entries that are no images"
        what = f"{quote(name)} is not {expected}"
        place = f"{folder.name}/{name}"
        faults.spare(f"{kind}, skipped", folder, what, name=place)
    return right


def _numbered(folder: Path, images: list[Path], faults: Faults) -> list[Path]:
    """Images of which each number is there once; the first file of a number stays."""
    first: dict[str, Path] = {}
    for image in images:
        if first.setdefault(image.stem, image) != image:
            what = f"{image.name} has the number of {first[image.stem].name}"
            kind = "images of a number that is there twice, skipped"
            faults.spare(kind, folder, what, name=f"{folder.name}/{image.name}")
    return list(first.values())


def _check_modalities(
    base: Path,
    known: list[int],
    test: list[int],
    listed: dict[str, tuple[Tracklet, ...]],
    faults: Faults,
) -> tuple[Tracklet, ...]:
    """Training images of people with both modalities; the others are left out.

    Test people of one modality stay: their images are searched, or search in vain.
    """
    seen = {(t.identity, t.modality) for part in listed.values() for t in part}
    alone = set()
    for part, identities in (("training", known), ("test", test)):
        for identity in identities:
            for modality in MODALITIES:
                if (identity, modality) not in seen:
                    alone.add(identity)
                    _say_alone(base, part, identity, modality, faults)
    return tuple(t for t in listed["train"] if t.identity not in alone)


def _say_alone(
    base: Path, part: str, identity: int, modality: Modality, faults: Faults
):
    word, cameras = WORD[modality], ", ".join(map(str, CAMERAS[modality]))
    role = "query" if modality == "ir" else "gallery image"
    so = f", so no {role}" if part == "test" else ""
    done = "kept" if part == "test" else "left out"
    faults.spare(
        f"{part} identities of one modality {done}",
        base,
        f"{part} identity {identity:04d} has no {word} image (cameras {cameras}){so}",
        name=f"{identity:04d} without {word}",
    )


def _drawn(folders: Folders, shots: int, trial: int) -> tuple[Tracklet, ...]:
    """The gallery of the AGW code: one generator per trial, identities and cameras ascending. Ten shots: a sample in the same loop, as nobody released one."""
    draw = random.Random(trial)
    chosen = []
    for (identity, camera), paths in folders.items():
        picks = (
            [draw.choice(paths)]
            if shots == 1
            else draw.sample(paths, min(shots, len(paths)))
        )
        chosen += [Tracklet((path,), identity, camera, "vis") for path in picks]
    return tuple(chosen)


def _official(
    path: Path, folders: Folders, shots: int, trial: int, faults: Faults
) -> tuple[Tracklet, ...]:
    """The gallery of the official evaluation: the first entries of row `trial` of each folder's permutation of image numbers."""
    if not path.is_file():
        faults.error(
            path,
            "missing; gallery='official' needs the permutations of the official evaluation",
        )
        return ()
    cells = _load_mat(path, "rand_perm_cam", faults)
    if cells is None:
        return ()
    chosen = []
    for (identity, camera), paths in folders.items():
        by_number = {int(p.stem): p for p in paths}
        who = f"camera {camera}, identity {identity:04d}, trial {trial}"
        for number in _permutation(path, cells, camera, identity, trial, who, faults)[
            :shots
        ]:
            if number in by_number:
                chosen.append(Tracklet((by_number[number],), identity, camera, "vis"))
            else:
                faults.error(
                    path, f"{who}: entry {number} is none of the {len(paths)} images"
                )
    return tuple(chosen)


def _permutation(
    path: Path,
    cells: np.ndarray,
    camera: int,
    identity: int,
    trial: int,
    who: str,
    faults: Faults,
) -> list[int]:
    """Row `trial` of the (10, images) matrix of a camera and identity; [] and an error when it has another shape."""
    people = cells.ravel()[camera - 1].ravel() if camera <= cells.size else np.empty(0)
    rows = people[identity - 1] if identity <= people.size else np.empty(0)
    if np.ndim(rows) != 2 or len(rows) <= trial or rows.shape[1] == 0:
        faults.error(
            path,
            f"{who}: no permutation (found an array of shape {np.shape(rows)}, expected 10 rows)",
        )
        return []
    return [int(number) for number in rows[trial]]


@dataclass(frozen=True)
class Arrays:
    """The released `.npy` form of the training set; images are memory-mapped, uint8, (N, 288, 144, 3), RGB; labels 0..K-1, (N,)."""

    images: dict[Modality, np.ndarray]
    labels: dict[Modality, np.ndarray]

    def tracklets(self) -> tuple[Tracklet, ...]:
        """Visible rows, then infrared rows, in file order: row 7 of `x.npy` has the path `x.npy/7` (opened by `vvi.data.images.row`); camera 0, as the arrays do not hold it."""
        rows = (
            (m, row, int(label))
            for m in MODALITIES
            for row, label in enumerate(self.labels[m])
        )
        return tuple(
            Tracklet((Path(self.images[m].filename) / str(row),), label, 0, m)
            for m, row, label in rows
        )


def train_arrays(root: str | Path) -> Arrays:
    """The four `.npy` files that the released preprocessing writes; `DataError` on the first fault.

    Looked for in `root`, beside it with its name glued before theirs (the released script forgets the slash), and in the folder that holds `ori_data`.
    """
    root, faults = existing_root(root)
    arrays = survey_arrays(root, faults) if not faults.errors else None
    faults.raise_first()
    return arrays


def survey_arrays(root: Path, faults: Faults) -> Arrays | None:
    """As `train_arrays`, with every fault instead of the first; None when a file is missing or unreadable."""
    names = {
        (m, kind): f"train_{'rgb' if m == 'vis' else 'ir'}_resized_{kind}.npy"
        for m in MODALITIES
        for kind in ("img", "label")
    }
    prefixes = [f"{root}/", str(root.resolve())] + (
        [f"{root.parent}/"] if root.name == "ori_data" else []
    )
    complete = next(
        (
            p
            for p in prefixes
            if all(Path(p + name).is_file() for name in names.values())
        ),
        None,
    )
    if complete is None:
        found = next(
            (
                p
                for p in prefixes
                if any(Path(p + name).is_file() for name in names.values())
            ),
            prefixes[0],
        )
        missing = [name for name in names.values() if not Path(found + name).is_file()]
        faults.error(
            root,
            f"missing {len(missing)} of 4 arrays: {', '.join(missing)} (looked for {' and '.join(p + '*' for p in prefixes)})",
        )
        return None
    loaded = {
        key: _load_array(Path(complete + name), faults) for key, name in names.items()
    }
    if any(array is None for array in loaded.values()):
        return None
    images, labels = (
        {m: loaded[m, kind] for m in MODALITIES} for kind in ("img", "label")
    )
    _check_arrays(
        {key: Path(complete + name) for key, name in names.items()},
        images,
        labels,
        faults,
    )
    return Arrays(images, labels)


def _load_array(path: Path, faults: Faults) -> np.ndarray | None:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as err:
        faults.error(path, f"unreadable array: {err}")
        return None


def _check_arrays(files: dict, images: dict, labels: dict, faults: Faults) -> None:
    """uint8 (N, 288, 144, 3) beside integers (N,) that run from 0 without a hole and are the same set in both modalities."""
    for m in MODALITIES:
        if images[m].dtype != np.uint8:
            faults.error(files[m, "img"], f"dtype is {images[m].dtype}, must be uint8")
        if images[m].shape[1:] != (288, 144, 3):
            faults.error(
                files[m, "img"], f"shape is {images[m].shape}, must be (N, 288, 144, 3)"
            )
        if labels[m].ndim != 1 or labels[m].dtype.kind not in "iu":
            faults.error(
                files[m, "label"],
                f"labels must be integers of shape (N,), are {labels[m].dtype} of shape {labels[m].shape}",
            )
            return
        if len(images[m]) != len(labels[m]):
            faults.error(
                files[m, "label"],
                f"{len(labels[m])} labels for {len(images[m])} images",
            )
        present = np.unique(labels[m])
        if not np.array_equal(present, np.arange(len(present))):
            wrong = next(
                int(label) for place, label in enumerate(present) if label != place
            )
            faults.error(
                files[m, "label"],
                f"labels are not 0..{len(present) - 1} without a hole: label {wrong} in place of {np.searchsorted(present, wrong)}",
            )
    if alone := np.setxor1d(labels["vis"], labels["ir"]).tolist():
        faults.error(
            files["ir", "label"],
            f"labels of only one modality: {', '.join(map(str, alone[:10]))} ({len(alone)} in all)",
        )
