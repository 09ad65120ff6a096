"""Write a set so that a killed run can be resumed and never reads as complete.

Identities are drawn in parallel, each into a folder of `.parts/`. Then everything moves
into place, and lists and manifest are written last.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from vvi.data.synthetic import draw, filming, layouts
from vvi.data.synthetic.factors import Identity
from vvi.data.synthetic.presets import Film, Preset
from vvi.data.synthetic.scene import scene
from vvi.runtime import atomic, cpu, pools
from vvi.types import DataError

#: JPEG quality of frames.
QUALITY = 90
#: Frames from which a pool of processes saves time.
WORTH_A_POOL = 10_000
PARTS, MANIFEST, REQUEST = ".parts", "manifest.json", "request.json"
#: PNG options of mask strips.
STRIP = [
    cv2.IMWRITE_PNG_BILEVEL,
    1,
    cv2.IMWRITE_PNG_COMPRESSION,
    3,
    cv2.IMWRITE_PNG_STRATEGY,
    cv2.IMWRITE_PNG_STRATEGY_RLE,
]


@dataclass(frozen=True)
class Job:
    """Which set is written. Equal jobs give equal bytes."""

    preset: Preset
    layout: str
    seed: int
    version: int

    @property
    def people(self) -> int:
        """Seed of people and walks. The seed of the cameras is `seed`."""
        return self.seed + self.preset.people

    def request(self) -> dict[str, object]:
        """Return what the manifest of this set holds, as JSON gives it back."""
        request = {
            "preset": self.preset.name,
            "plan": self.preset.plan(),
            "layout": self.layout,
            "seed": self.seed,
            "version": self.version,
        }
        return json.loads(json.dumps(request))


def write(root: Path, job: Job, workers: int | None, progress: bool) -> Path:
    """Complete a set, from wherever an earlier run of the same job stopped.

    Args:
        root: folder of the set.
        job: which set.
        workers: processes, None for one per core.
        progress: whether a bar is shown.

    Raises:
        ValueError: the folder holds anything but this set or a part of it.
    """
    if is_complete(root, job.request()) and not (root / PARTS).exists():
        return root
    with atomic.exclusive_lock(root), atomic.os_errors_explained(root):
        root.mkdir(parents=True, exist_ok=True)
        if not _claim(root, job):
            _fill(root, job, workers, progress)
            _finish(root, job)
        shutil.rmtree(root / PARTS, ignore_errors=True)
    return root


def is_complete(root: Path, request: dict[str, object]) -> bool:
    """Whether there is a manifest that holds all of a request.

    Raises:
        DataError: the manifest is damaged.
    """
    manifest = root / MANIFEST
    if not manifest.is_file():
        return False
    content = _read_json(manifest)
    return all(content.get(key) == value for key, value in request.items())


def _read_json(marker: Path) -> dict[str, object]:
    """Read a manifest or a request.

    Raises:
        DataError: it is damaged.
    """
    try:
        content = json.loads(marker.read_text())
    except (ValueError, RecursionError) as error:
        cure = "delete the folder and write the set again"
        raise DataError(f"{marker} is damaged ({error}): {cure}") from error
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise DataError(
            f"{marker} is no manifest of a synthetic set: it holds a {kind}, not names "
            "with values"
        )
    return content


def content_hash(root: Path) -> str:
    """Return one sha256 over paths and contents of all files but the manifest."""
    hashes = []
    for path in root.rglob("*"):
        relative = path.relative_to(root)
        is_part = relative.parts[0] == PARTS
        if path.is_file() and path.name != MANIFEST and not is_part:
            hashes.append((relative.as_posix(), _sha(path.read_bytes())))
    return _combined(hashes)


def _combined(hashes: Iterable[tuple[str, str]]) -> str:
    return _sha("".join(f"{path} {sha}\n" for path, sha in sorted(hashes)).encode())


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _claim(root: Path, job: Job) -> bool:
    """Prepare a folder for a job.

    Returns:
        Whether the set is already complete.

    Raises:
        ValueError: the folder holds anything but this set or a part of it.
    """
    request = job.request()
    if is_complete(root, request):
        return True
    _check_folder(root, job)
    (root / PARTS).mkdir(exist_ok=True)
    for leftover in (root / PARTS).glob("*.tmp*"):
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    _put(root / PARTS / REQUEST, json.dumps(request, indent=1))
    return False


def _check_folder(root: Path, job: Job) -> None:
    """Refuse a folder with another set, or with anything that is no set."""
    names = sorted(entry.name for entry in root.iterdir())
    markers = [root / MANIFEST, root / PARTS / REQUEST]
    markers = [path for path in markers if path.is_file()]
    if markers:
        _check_same(root, job, _read_json(markers[0]))
    elif any(name != PARTS for name in names):
        more = ", ..." if len(names) > 5 else ""
        what = f"is not empty and holds no synthetic set ({', '.join(names[:5])}{more})"
        raise ValueError(f"{root} {what}: choose another folder")


def _check_same(root: Path, job: Job, other: dict[str, object]) -> None:
    """Refuse a folder whose manifest or request is of another set."""
    request = job.request()
    plan = request.pop("plan")
    differences = [
        f"{key} {other.get(key)!r}, not {value!r}"
        for key, value in request.items()
        if other.get(key) != value
    ]
    cure = "choose another folder or delete it"
    if differences:
        what = f"holds another synthetic set ({'; '.join(differences)})"
        raise ValueError(f"{root} {what}: {cure}")
    if other.get("plan") != plan:
        name = f"another preset of the same name {job.preset.name!r}"
        raise ValueError(f"{root} holds a synthetic set of {name}: {cure}")


def _put(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.tmp")
    with open(partial, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def _fill(root: Path, job: Job, workers: int | None, progress: bool) -> None:
    """Draw every identity that has no folder in `.parts/` yet.

    Args:
        root: folder of the set.
        job: which set.
        workers: processes, None for one per core.
        progress: whether a bar is shown.
    """
    films = layouts.find(job.layout).films(job.preset, job.people)
    everyone = layouts.people(job.layout, job.preset, job.people)
    tasks = [
        (root, job, person, films[number])
        for number, person in everyone.items()
        if not (root / PARTS / str(number)).is_dir()
    ]
    frames = sum(_count_frames(films[task[2].identity]) for task in tasks)
    workers = min(workers or (cpu.cores() if frames > WORTH_A_POOL else 1), len(tasks))
    steps = map(_write_identity, tasks)
    if workers > 1:
        steps = _pooled(tasks, workers)
    with tqdm(
        total=len(everyone),
        initial=len(everyone) - len(tasks),
        desc=f"synthetic {job.preset.name}",
        unit="id",
        disable=not progress,
    ) as bar:
        for _ in steps:
            bar.update()


def _count_frames(films: list[Film]) -> int:
    return sum(film.frames for film in films)


def _pooled(
    tasks: list[tuple[Path, Job, Identity, list[Film]]], workers: int
) -> Iterator[None]:
    """Write identities in processes.

    No random draw spans identities, so any number of processes gives the same bytes.
    """
    with pools.processes(workers, _worker) as pool:
        try:
            started = [pool.submit(_write_identity, task) for task in tasks]
            for future in as_completed(started):
                yield future.result()
        finally:
            pool.shutdown(kill_workers=True)  # unfinished identities are drawn anew


def _worker() -> None:
    cv2.setNumThreads(1)


def _write_identity(task: tuple[Path, Job, Identity, list[Film]]) -> None:
    """Write all files of one identity to a folder that appears when it is complete."""
    root, job, person, films = task
    final = root / PARTS / str(person.identity)
    partial = final.with_name(f"{final.name}.tmp{os.getpid()}")
    hashes, rows, folders = [], [], set()
    for path, content in _files(job, person, films, rows):
        target = f"{partial}/files/{path}"
        folder = os.path.dirname(target)
        if folder not in folders:
            os.makedirs(folder)
            folders.add(folder)
        with open(target, "wb", buffering=0) as file:
            file.write(content)
        hashes.append((path, _sha(content)))
    pd.DataFrame(rows).to_csv(partial / "frames.csv", index=False, lineterminator="\n")
    (partial / "hashes.json").write_text(json.dumps(hashes))
    os.replace(partial, final)


def _files(
    job: Job, person: Identity, films: list[Film], rows: list[dict[str, object]]
) -> Iterator[tuple[str, bytes]]:
    """Yield the relative path and content of every frame and mask strip.

    Args:
        job: which set.
        person: whose files.
        films: sequences of the person.
        rows: what is known of each frame is appended here.
    """
    layout = layouts.find(job.layout)
    height, width = job.preset.height, job.preset.width
    draw_walk = filming.aligned if layout.aligned else filming.walk
    for film in films:
        walk = draw_walk(person, film, job.people, world=job.preset.world)
        number, spread = layout.scenery(film), job.preset.world.spread
        view = scene(number, film.modality, height, width, job.seed, spread)
        frames, masks = draw.sequence(person, walk, view, height, width)
        strips: dict[str, list[np.ndarray]] = {}
        for index, (frame, mask) in enumerate(zip(frames, masks, strict=True)):
            place = layout.place(person, film, index)
            strips.setdefault(place.mask, []).append(mask)
            known = walk.known(index, view.camera)
            rows.append(_frame_row(person, film, place, known))
            yield place.path, _encoded(layout.suffix, frame)
        for path, strip in strips.items():
            yield path, _encoded_strip(strip)


def _frame_row(
    person: Identity, film: Film, place: layouts.Place, known: dict[str, object]
) -> dict[str, object]:
    """Return the line of `frames.csv` of one frame.

    Args:
        person: who is seen.
        film: camera and modality.
        place: where the frame goes.
        known: what the walk knows of it.
    """
    named = dict(
        path=place.path,
        split=person.split,
        identity=person.identity,
        modality=film.modality,
        camera=film.camera,
        tracklet=place.tracklet,
        frame=place.frame,
    )
    return named | known | dict(mask=place.mask, place=place.place)


def _encoded(suffix: str, frame: np.ndarray) -> bytes:
    """Encode a frame, with three channels also in infrared, as in the real sets."""
    image = frame if frame.shape[2] == 3 else cv2.merge([frame[..., 0]] * 3)
    options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY] if suffix == ".jpg" else []
    return cv2.imencode(suffix, image, options)[1].tobytes()


def _encoded_strip(masks: list[np.ndarray]) -> bytes:
    """Encode the masks of a tracklet side by side."""
    strip = np.concatenate(masks, 1).astype(np.uint8) * 255
    return cv2.imencode(".png", strip, STRIP)[1].tobytes()


def as_read(frame: np.ndarray) -> np.ndarray:
    """Return a frame as a JPEG file gives it: (H, W, 1 or 3) -> (H, W, 3) uint8."""
    content = np.frombuffer(_encoded(".jpg", frame), np.uint8)
    return cv2.imdecode(content, cv2.IMREAD_COLOR)


def _finish(root: Path, job: Job) -> None:
    """Move identities into place, then write tables, lists and last the manifest.

    Every step may be repeated.
    """
    layout = layouts.find(job.layout)
    everyone = layouts.people(job.layout, job.preset, job.people)
    hashes: list[tuple[str, str]] = []
    for person in everyone.values():
        hashes += _move(root, layout.folders(person), person.identity)
    tables = [root / PARTS / str(number) / "frames.csv" for number in everyone]
    frames = pd.concat(map(pd.read_csv, tables), ignore_index=True)
    factors = pd.DataFrame([person.row() for person in everyone.values()])
    texts = {
        "info/factors.csv": factors.to_csv(index=False, lineterminator="\n"),
        "info/frames.csv": _joined(tables),
    }
    texts |= layout.lists(job.preset, job.people, frames)
    for path, text in texts.items():
        _put(root / path, text)
        hashes.append((path, _sha(text.encode())))
    counts = {
        "identities": len(everyone),
        "tracklets": int(frames["mask"].nunique()),
        "frames": len(frames),
    }
    manifest = job.request() | {"counts": counts, "hash": _combined(hashes)}
    _put(root / MANIFEST, json.dumps(manifest, indent=1) + "\n")


def _move(root: Path, folders: list[str], number: int) -> list[tuple[str, str]]:
    """Move the folders of one identity into place and return its file hashes."""
    part = root / PARTS / str(number)
    for folder in folders:
        if (part / "files" / folder).is_dir():
            (root / folder).parent.mkdir(parents=True, exist_ok=True)
            os.replace(part / "files" / folder, root / folder)
    return [tuple(pair) for pair in json.loads((part / "hashes.json").read_text())]


def _joined(tables: list[Path]) -> str:
    """Join the text of tables under one header."""
    texts = [table.read_text().split("\n", 1) for table in tables]
    return texts[0][0] + "\n" + "".join(body for _, body in texts)
