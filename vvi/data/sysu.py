"""SYSU-MM01: single images from four visible and two infrared cameras (3 and 6).

Images lie in `<root>/cam<1..6>/<identity>/<image>.jpg`, the identities of each part in
`<root>/exp/*.txt` (or `.mat`). Some copies hold all of it in `ori_data/`. Training uses
train + val. Every infrared test image searches a gallery that a trial number draws.
"""

from __future__ import annotations

import itertools
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
    open_root,
    quote,
    read_lines,
)
from vvi.data.images import SUFFIXES
from vvi.types import MODALITIES, Dataset, Modality, Tracklet

CAMERAS = {"vis": (1, 2, 4, 5), "ir": (3, 6)}
ALL_CAMERAS = range(1, 7)
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

#: Camera -> identity -> images by name.
Images = dict[int, dict[int, list[Path]]]
#: (identity, camera) -> images by name.
Folders = dict[tuple[int, int], list[Path]]


def read(
    root: str | Path,
    mode: Literal["all", "indoor"] = "all",
    shots: Literal[1, 10] = 1,
    trial: int = 0,
    gallery: Literal["agw", "official"] = "agw",
    train: Literal["images", "arrays"] = "images",
    strict: bool | None = None,
) -> Dataset:
    """Read training images (visible first), all queries and the gallery of one trial.

    Args:
        root: folder of the set.
        mode: which cameras the gallery is of.
        shots: images per identity and gallery camera.
        trial: which of the ten galleries, from 0.
        gallery: "agw" draws it as the code of AGW and its successors, "official" takes
            it from the permutations of the official evaluation
            (`exp/rand_perm_cam.mat`).
        train: "arrays" takes the training set from the released `.npy` form
            (`train_arrays`).
        strict: True refuses all faults, False reads on past every readable one, None
            repairs or skips the harmless and refuses the rest.

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
    """Read a set and collect every fault instead of raising the first.

    Args:
        root: folder of the set.
        mode: as in `read`.
        shots: as in `read`.
        trial: as in `read`.
        gallery: as in `read`.
        train: as in `read`.
        strict: as in `read`.

    Returns:
        A survey that lists the tracklets of "train" and "test".
    """
    root, faults = open_root(root, strict)
    _check_options(root, (mode, shots, trial, gallery, train), faults)
    if faults.errors:
        return Survey(None, faults)
    base = data_folder(root)
    check_links([base, base / "exp", *(base / f"cam{c}" for c in ALL_CAMERAS)], faults)
    parts = _parts(base / "exp", faults)
    images = _images(base, faults)
    if parts is None or images is None:
        return Survey(None, faults)
    train_ids, test_ids = sorted(parts["train"] + parts["val"]), sorted(parts["test"])
    learned = _of_both(images, train_ids)
    query = tuple(_walk(images, test_ids, "ir"))
    visible = tuple(_walk(images, test_ids, "vis"))
    listed = {"train": learned, "test": query + visible}
    learned = _check_modalities(base, train_ids, test_ids, listed, faults)
    if train == "arrays":
        arrays = survey_arrays(root, faults)
        learned = arrays.tracklets() if arrays and not faults.errors else ()
        listed["train"] = learned
    folders = _gallery_folders(images, test_ids, mode)
    if gallery == "official":
        permutations = base / "exp" / "rand_perm_cam.mat"
        chosen = _official_gallery(permutations, folders, shots, trial, faults)
    else:
        chosen = _agw_gallery(folders, shots, trial)
    _check_gallery(base, folders, shots, faults)
    _check_sides(base, mode, learned, query, chosen, faults)
    if faults.errors:
        return Survey(None, faults, listed)
    sides, problems = {"ir2vis": (query, chosen)}, tuple(faults.warnings)
    dataset = Dataset("sysu-mm01", root, learned, sides, "sysu", problems)
    return Survey(dataset, faults, listed)


def _check_options(root: Path, values: tuple, faults: Faults) -> None:
    """Refuse values that `OPTIONS` does not allow, in their order."""
    for (name, allowed), value in zip(OPTIONS.items(), values, strict=True):
        if value not in allowed or isinstance(value, (bool, float)):
            known = ", ".join(map(str, allowed))
            faults.error(root, f"{name} must be one of {known}, got {value!r}")


def _of_both(images: Images, identities: list[int]) -> tuple[Tracklet, ...]:
    visible, infrared = (_walk(images, identities, m) for m in MODALITIES)
    return (*visible, *infrared)


def _gallery_folders(images: Images, identities: list[int], mode: str) -> Folders:
    """Return the images of each identity and gallery camera, where there are any."""
    folders = {}
    for identity, camera in itertools.product(identities, GALLERY[mode]):
        if paths := images[camera].get(identity):
            folders[identity, camera] = paths
    return folders


def _check_gallery(base: Path, folders: Folders, shots: int, faults: Faults) -> None:
    """Warn of gallery folders that have fewer images than shots."""
    small = [
        f"cam{camera}/{identity:04d} ({len(paths)})"
        for (identity, camera), paths in folders.items()
        if len(paths) < shots
    ]
    if small:
        what = f"{len(small)} gallery folders have fewer than {shots} images"
        faults.warn(base, f"{what}, all of them are taken: {', '.join(small)}")


def _check_sides(
    base: Path,
    mode: str,
    learned: tuple[Tracklet, ...],
    query: tuple[Tracklet, ...],
    gallery: tuple[Tracklet, ...],
    faults: Faults,
) -> None:
    """Refuse an empty gallery, query or training set: the first that is empty.

    Args:
        base: folder of the cameras.
        mode: which cameras the gallery is of.
        learned: training images.
        query: infrared test images.
        gallery: drawn visible test images.
        faults: collects what is wrong.
    """
    if faults.errors:
        return
    if not gallery:
        cameras = ", ".join(map(str, GALLERY[mode]))
        what = f"the {mode}-search gallery is empty"
        faults.error(base, f"{what}: no test identity in cameras {cameras}")
    elif not query:
        faults.error(base, "no test identity has an infrared image: nothing to search")
    elif not learned:
        faults.error(base, "no training identity has images of both modalities")


def data_folder(root: Path) -> Path:
    """Return the folder of cam1..cam6 and exp: the root, or `ori_data` in it."""
    inner = root / "ori_data"
    return inner if inner.is_dir() and not (root / "cam1").exists() else root


def _walk(
    images: Images, identities: list[int], modality: Modality
) -> Iterator[Tracklet]:
    """Yield the images of a modality, by identity, then camera, then name."""
    for identity in identities:
        for camera in CAMERAS[modality]:
            for path in images[camera].get(identity, []):
                yield Tracklet((path,), identity, camera, modality)


def _parts(folder: Path, faults: Faults) -> dict[str, list[int]] | None:
    """Read the identities of train, val and test.

    Returns:
        None when a file is missing or malformed.
    """
    files = {part: _ids_file(folder, part) for part in PARTS}
    missing = [f"{part}_id.txt" for part in PARTS if files[part] is None]
    if missing:
        what = f"missing {len(missing)} of {len(PARTS)} required files"
        faults.error(folder, f"{what}: {', '.join(missing)} (or .mat)")
        return None
    check_links(files.values(), faults)
    parts = {part: _read_ids(path, faults) for part, path in files.items()}
    owner: dict[int, str] = {}
    for part, ids in parts.items():
        for identity in sorted(set(ids)):
            count = ids.count(identity)
            if count > 1:
                what = f"identity {identity} is listed {count} times"
                faults.error(files[part], what, 1)
            if owner.setdefault(identity, part) != part:
                what = f"identity {identity} is also in {files[owner[identity]].name}"
                faults.error(files[part], what, 1)
    return parts if all(parts.values()) else None


def _ids_file(folder: Path, part: str) -> Path | None:
    for path in (folder / f"{part}_id.txt", folder / f"{part}_id.mat"):
        if path.is_file():
            return path
    return None


def _read_ids(path: Path, faults: Faults) -> list[int]:
    """Read the identities of a part, [] and an error when the file is malformed."""
    is_matlab = path.suffix == ".mat"
    return _ids_of_mat(path, faults) if is_matlab else _ids_of_text(path, faults)


def _ids_of_text(path: Path, faults: Faults) -> list[int]:
    """Read the first line as the released code does. More identities are an error."""
    lines = read_lines(path, faults)
    if not lines:
        return []
    for number, line in enumerate(lines[1:], start=2):
        if re.fullmatch(r"[\d,\s]*\d[\d,\s]*", line, re.ASCII):
            what = f"{quote(line)}: identities of one list stand on its first line"
            faults.error(path, what, number)
            return []
    numbers = [number.strip() for number in lines[0].split(",")]
    wrong = [n for n in numbers if not re.fullmatch(r"\d{1,9}", n, re.ASCII)]
    if wrong:
        what = f"{quote(lines[0])} is not a list of integers with commas"
        faults.error(path, f"{what} ({quote(wrong[0])})", 1)
        return []
    return [int(number) for number in numbers]


def _ids_of_mat(path: Path, faults: Faults) -> list[int]:
    ids = _load_mat(path, "id", faults)
    if ids is None:
        return []
    is_number = ids.dtype.kind in "iuf" and ids.size
    if not is_number or (ids != ids.astype(int)).any():
        array = f"{ids.dtype} of shape {ids.shape}"
        faults.error(path, f"variable id must hold integers, has {array}")
        return []
    return ids.astype(int).ravel().tolist()


def _load_mat(path: Path, variable: str, faults: Faults) -> np.ndarray | None:
    """Read a variable of a MATLAB file, None and an error when that fails."""
    from scipy.io import loadmat

    try:
        content = loadmat(path)
    except Exception as error:  # the parser raises anything, by its first wrong byte
        what = f"unreadable MATLAB file: {type(error).__name__}: {error}"
        faults.error(path, what)
        return None
    if variable not in content:
        names = ", ".join(name for name in content if not name.startswith("__"))
        faults.error(path, f"no variable {variable!r}; the file has {names or 'none'}")
        return None
    return content[variable]


def _images(base: Path, faults: Faults) -> Images | None:
    """Find every image by camera and identity, without names that begin with a dot.

    Returns:
        None when a camera folder is missing.
    """
    missing = [f"cam{c}" for c in ALL_CAMERAS if not (base / f"cam{c}").is_dir()]
    if missing:
        what = f"missing {len(missing)} of {len(ALL_CAMERAS)} camera folders"
        faults.error(base, f"{what}: {', '.join(missing)}")
        return None
    person = "an identity folder of 4 digits"
    picture = "an image name such as 0001.jpg"
    images: Images = {}
    for camera in ALL_CAMERAS:
        images[camera] = {}
        for folder in _entries(base / f"cam{camera}", r"\d{4}", person, True, faults):
            files = _entries(folder, IMAGE, picture, False, faults)
            images[camera][int(folder.name)] = _unique_numbers(folder, files, faults)
    return images


def _entries(
    folder: Path, pattern: str, expected: str, folders: bool, faults: Faults
) -> list[Path]:
    """Return the entries of a folder by name, without unexpected ones.

    Args:
        folder: where to look.
        pattern: of a name that is expected.
        expected: such a name in words.
        folders: whether folders are expected, or files.
        faults: collects entries that are skipped.
    """
    with os.scandir(folder) as scan:
        entries = [entry for entry in scan if not entry.name.startswith(".")]
        states = sorted((e.name, e.is_dir(), e.is_symlink()) for e in entries)
    paths = []
    for name, is_dir, is_link in states:
        if re.fullmatch(pattern, name, re.ASCII) and is_dir == folders:
            paths.append(folder / name)
            check_links([folder / name] if is_link else [], faults)
            continue
        is_litter = LITTER.fullmatch(name) is not None
        kind = (
            "what systems leave behind" if is_litter else "entries that are no images"
        )
        what = f"{quote(name)} is not {expected}"
        label = f"{folder.name}/{name}"
        faults.tolerate(f"{kind}, skipped", folder, what, name=label)
    return paths


def _unique_numbers(folder: Path, images: list[Path], faults: Faults) -> list[Path]:
    """Return the first file of each image number, in the order of their names."""
    first: dict[str, Path] = {}
    for image in images:
        if first.setdefault(image.stem, image) != image:
            what = f"{image.name} has the number of {first[image.stem].name}"
            kind = "images of a number that is there twice, skipped"
            faults.tolerate(kind, folder, what, name=f"{folder.name}/{image.name}")
    return list(first.values())


def _check_modalities(
    base: Path,
    train_ids: list[int],
    test_ids: list[int],
    listed: dict[str, tuple[Tracklet, ...]],
    faults: Faults,
) -> tuple[Tracklet, ...]:
    """Leave out training people of one modality.

    Test people of one modality stay, as queries without a match or gallery items.

    Args:
        base: folder of the cameras.
        train_ids: identities of train and val.
        test_ids: identities of test.
        listed: part -> tracklets.
        faults: collects who is left out.

    Returns:
        Training images of people with both modalities.
    """
    tracklets = listed["train"] + listed["test"]
    seen = {(tracklet.identity, tracklet.modality) for tracklet in tracklets}
    people = [("training", identity) for identity in train_ids]
    people += [("test", identity) for identity in test_ids]
    lonely = set()
    for (part, identity), modality in itertools.product(people, MODALITIES):
        if (identity, modality) not in seen:
            lonely.add(identity)
            _tolerate_lonely(base, part, identity, modality, faults)
    return tuple(t for t in listed["train"] if t.identity not in lonely)


def _tolerate_lonely(
    base: Path, part: str, identity: int, modality: Modality, faults: Faults
) -> None:
    word, cameras = WORD[modality], ", ".join(map(str, CAMERAS[modality]))
    what = f"{part} identity {identity:04d} has no {word} image (cameras {cameras})"
    treatment = "left out"
    if part == "test":
        role = "query" if modality == "ir" else "gallery image"
        what, treatment = f"{what}, so no {role}", "kept"
    kind = f"{part} identities of one modality {treatment}"
    faults.tolerate(kind, base, what, name=f"{identity:04d} without {word}")


def _agw_gallery(folders: Folders, shots: int, trial: int) -> tuple[Tracklet, ...]:
    """Draw the gallery of the AGW code: one generator per trial for all folders.

    Ten shots are a sample in the same loop, as nobody released theirs.

    Args:
        folders: identities and cameras ascending.
        shots: images per folder.
        trial: seed of the generator.
    """
    generator = random.Random(trial)
    chosen = []
    for (identity, camera), paths in folders.items():
        if shots == 1:
            picks = [generator.choice(paths)]
        else:
            picks = generator.sample(paths, min(shots, len(paths)))
        chosen += [Tracklet((path,), identity, camera, "vis") for path in picks]
    return tuple(chosen)


def _official_gallery(
    path: Path, folders: Folders, shots: int, trial: int, faults: Faults
) -> tuple[Tracklet, ...]:
    """Read the gallery of the official evaluation from its permutations.

    Args:
        path: the MATLAB file of permutations of image numbers.
        folders: identities and cameras ascending.
        shots: entries of each permutation that are taken.
        trial: row of each permutation matrix.
        faults: collects what is wrong.
    """
    if not path.is_file():
        what = "needs the permutations of the official evaluation"
        faults.error(path, f"missing; gallery='official' {what}")
        return ()
    cells = _load_mat(path, "rand_perm_cam", faults)
    if cells is None:
        return ()
    chosen = []
    for (identity, camera), paths in folders.items():
        by_number = {int(image.stem): image for image in paths}
        where = f"camera {camera}, identity {identity:04d}, trial {trial}"
        matrix = _permutations(cells, camera, identity)
        if np.ndim(matrix) != 2 or len(matrix) <= trial or matrix.shape[1] == 0:
            shape = f"found an array of shape {np.shape(matrix)}, expected 10 rows"
            faults.error(path, f"{where}: no permutation ({shape})")
            continue
        for number in map(int, matrix[trial][:shots]):
            if number in by_number:
                chosen.append(Tracklet((by_number[number],), identity, camera, "vis"))
            else:
                what = f"entry {number} is none of the {len(paths)} images"
                faults.error(path, f"{where}: {what}")
    return tuple(chosen)


def _permutations(cells: np.ndarray, camera: int, identity: int) -> np.ndarray:
    """Return the (10, images) matrix of a camera and identity, empty if missing."""
    people = cells.ravel()[camera - 1].ravel() if camera <= cells.size else np.empty(0)
    return people[identity - 1] if identity <= people.size else np.empty(0)


@dataclass(frozen=True)
class Arrays:
    """The released `.npy` form of the training set."""

    #: Modality -> memory-mapped RGB images: (N, 288, 144, 3) uint8.
    images: dict[Modality, np.ndarray]
    #: Modality -> labels 0..K-1: (N,).
    labels: dict[Modality, np.ndarray]

    def tracklets(self) -> tuple[Tracklet, ...]:
        """Return visible rows, then infrared rows, in the order of the files.

        Row 7 of `x.npy` has the path `x.npy/7` (see `vvi.data.images.array_row`). The
        camera is 0, as the arrays do not hold it.
        """
        tracklets = []
        for modality in MODALITIES:
            file = Path(self.images[modality].filename)
            for row, label in enumerate(self.labels[modality]):
                paths = (file / str(row),)
                tracklets.append(Tracklet(paths, int(label), 0, modality))
        return tuple(tracklets)


def train_arrays(root: str | Path) -> Arrays:
    """Open the four `.npy` files that the released preprocessing writes.

    They may lie in `root`, beside it with its name as a prefix (the released script
    omits the slash), or in the folder that holds `ori_data`.

    Raises:
        DataError: naming the first fault.
    """
    root, faults = open_root(root)
    arrays = survey_arrays(root, faults) if not faults.errors else None
    faults.raise_first()
    return arrays


#: (modality, kind) -> file name, after a prefix.
ARRAY_FILES: dict[tuple[Modality, str], str] = {
    ("vis", "img"): "train_rgb_resized_img.npy",
    ("vis", "label"): "train_rgb_resized_label.npy",
    ("ir", "img"): "train_ir_resized_img.npy",
    ("ir", "label"): "train_ir_resized_label.npy",
}


def survey_arrays(root: Path, faults: Faults) -> Arrays | None:
    """Open the arrays as `train_arrays` and collect every fault.

    Returns:
        None when a file is missing or unreadable.
    """
    prefixes = [f"{root}/", str(root.resolve())]
    if root.name == "ori_data":
        prefixes.append(f"{root.parent}/")
    missing = {prefix: _missing_arrays(prefix) for prefix in prefixes}
    prefix = min(prefixes, key=lambda prefix: _rank_of_prefix(missing[prefix]))
    if missing[prefix]:
        absent = f"missing {len(missing[prefix])} of {len(ARRAY_FILES)} arrays"
        places = " and ".join(f"{prefix}*" for prefix in prefixes)
        names = ", ".join(missing[prefix])
        faults.error(root, f"{absent}: {names} (looked for {places})")
        return None
    files = {key: Path(prefix + name) for key, name in ARRAY_FILES.items()}
    arrays = {key: _load_array(file, faults) for key, file in files.items()}
    if any(array is None for array in arrays.values()):
        return None
    images = {m: arrays[m, "img"] for m in MODALITIES}
    labels = {m: arrays[m, "label"] for m in MODALITIES}
    for modality in MODALITIES:
        _check_images(files[modality, "img"], images[modality], faults)
        label_file = files[modality, "label"]
        if not _check_labels(label_file, labels[modality], images[modality], faults):
            return Arrays(images, labels)
    _check_same_labels(files["ir", "label"], labels, faults)
    return Arrays(images, labels)


def _missing_arrays(prefix: str) -> list[str]:
    return [name for name in ARRAY_FILES.values() if not Path(prefix + name).is_file()]


def _rank_of_prefix(missing: list[str]) -> int:
    """Order prefixes: complete, then with some of the files, then without any."""
    if not missing:
        return 0
    return 1 if len(missing) < len(ARRAY_FILES) else 2


def _load_array(path: Path, faults: Faults) -> np.ndarray | None:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        faults.error(path, f"unreadable array: {error}")
        return None


def _check_images(path: Path, images: np.ndarray, faults: Faults) -> None:
    """Images must be (N, 288, 144, 3) uint8."""
    if images.dtype != np.uint8:
        faults.error(path, f"dtype is {images.dtype}, must be uint8")
    if images.shape[1:] != (288, 144, 3):
        faults.error(path, f"shape is {images.shape}, must be (N, 288, 144, 3)")


def _check_labels(
    path: Path, labels: np.ndarray, images: np.ndarray, faults: Faults
) -> bool:
    """Labels must be integers (N,), one for each image, from 0 without a gap.

    Args:
        path: the array file.
        labels: its content.
        images: of the same modality.
        faults: collects what is wrong.

    Returns:
        Whether the labels can be compared with those of the other modality.
    """
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        array = f"{labels.dtype} of shape {labels.shape}"
        faults.error(path, f"labels must be integers of shape (N,), are {array}")
        return False
    if len(images) != len(labels):
        faults.error(path, f"{len(labels)} labels for {len(images)} images")
    present = np.unique(labels)
    expected = np.arange(len(present))
    if not np.array_equal(present, expected):
        first = int(np.flatnonzero(present != expected)[0])
        what = f"labels are not 0..{len(present) - 1} without a hole"
        faults.error(path, f"{what}: label {present[first]} in place of {first}")
    return True


def _check_same_labels(path: Path, labels: dict, faults: Faults) -> None:
    """Both modalities must have the same labels."""
    lonely = np.setxor1d(labels["vis"], labels["ir"]).tolist()
    if lonely:
        names = ", ".join(map(str, lonely[:10]))
        what = f"labels of only one modality: {names} ({len(lonely)} in all)"
        faults.error(path, what)
