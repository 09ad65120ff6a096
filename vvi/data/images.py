"""Look at the images that a data set lists: each exists, is not empty and decodes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from vvi.data.faults import leads_out
from vvi.types import Dataset, Tracklet


def validate(dataset: Dataset, workers: int | None = None) -> list[str]:
    """One line per listed image that is missing, empty, does not decode or is a link out of the data folder, in the order of the lists; [] when all is well."""
    return broken_images([*dataset.train, *(t for sides in dataset.sides.values() for side in sides for t in side)], dataset.root, workers)


def broken_images(tracklets: Iterable[Tracklet], root: Path, workers: int | None = None) -> list[str]:
    """As `validate`, for tracklets; every file is decoded once (in threads: the decoder lets go of the interpreter)."""
    from tqdm import tqdm

    owners = {path: t for t in tracklets for path in t.paths if path.parent.suffix != ".npy"}  # a row of an array is no file
    paths, problems = list(owners), []
    chunks = [paths[start : start + 256] for start in range(0, len(paths), 256)]
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool, tqdm(total=len(paths), desc="images", unit="image", delay=2) as bar:
        for chunk, faults in zip(chunks, pool.map(lambda chunk: [_fault(path, root) for path in chunk], chunks), strict=True):
            bar.update(len(chunk))
            for path, t, what in ((path, owners[path], what) for path, what in zip(chunk, faults, strict=True) if what):
                problems.append(f"{path}: {what} (identity {t.identity}, camera {t.camera}, {t.modality})")
    return problems


def _fault(path: Path, root: Path) -> str | None:
    """What is wrong with an image file, None when nothing is."""
    from PIL import Image

    if outside := leads_out(path, root):
        return outside
    try:
        if path.stat().st_size == 0:
            return "zero-byte image"
        with Image.open(path) as image:
            image.draft(
                "L", (max(1, image.width // 8), max(1, image.height // 8))
            )  # a JPEG is read to its end but drawn at an eighth: less time, the same faults
            image.load()
    except FileNotFoundError:
        return "image does not exist"
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as err:  # what Pillow raises on unreadable files; each one is reported
        return f"unreadable image: {err}"
    return None
