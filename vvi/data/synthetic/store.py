"""Writing a set: one identity at a time into a waiting room, in parallel, then everything moved into place, lists and manifest last.

A killed run leaves finished identities in `.parts/`, from which the same call goes on, and never a manifest: nothing half-written reads as complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
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
from vvi.runtime import atomic, pools
from vvi.types import DataError

QUALITY = 90
WORTH_A_POOL = 10_000  # frames; fewer are drawn sooner than processes start
PARTS, MANIFEST, REQUEST = ".parts", "manifest.json", "request.json"
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
    """Which set; equal jobs give equal bytes."""

    preset: Preset
    layout: str
    seed: int
    version: int

    @property
    def people(self) -> int:
        """The seed of who walks and how; that of the cameras is `seed`."""
        return self.seed + self.preset.people

    def request(self) -> dict[str, object]:
        """What the manifest must say for the set to be this one."""
        return json.loads(
            json.dumps(
                {
                    "preset": self.preset.name,
                    "plan": self.preset.plan(),
                    "layout": self.layout,
                    "seed": self.seed,
                    "version": self.version,
                }
            )
        )


def write(root: Path, job: Job, workers: int | None, progress: bool) -> Path:
    """Complete the set in `root`, from wherever an earlier run of the same job stopped."""
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
    """Whether the manifest is there and says all of this."""
    manifest = root / MANIFEST
    if not manifest.is_file():
        return False
    said = _said(manifest)
    return all(said.get(key) == value for key, value in request.items())


def _said(marker: Path) -> dict[str, object]:
    """What a manifest or a request says; DataError when it is damaged."""
    try:
        said = json.loads(marker.read_text())
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{marker} is damaged ({error}): delete the folder and write the set again"
        ) from error
    if not isinstance(said, dict):
        raise DataError(
            f"{marker} is no manifest of a synthetic set: it holds a {type(said).__name__}, not names with values"
        )
    return said


def content_hash(root: Path) -> str:
    """One sha256 over the sorted (relative path, sha256) of every file but the manifest, read from disk."""
    files = (
        p
        for p in root.rglob("*")
        if p.is_file() and p.name != MANIFEST and p.relative_to(root).parts[0] != PARTS
    )
    return _combined(
        (p.relative_to(root).as_posix(), _sha(p.read_bytes())) for p in files
    )


def _combined(hashes: Iterable[tuple[str, str]]) -> str:
    return _sha("".join(f"{path} {sha}\n" for path, sha in sorted(hashes)).encode())


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _claim(root: Path, job: Job) -> bool:
    """True when the set is already complete; an error when the folder holds anything else than this job's set or an unfinished part of it."""
    wanted, found = job.request(), sorted(p.name for p in root.iterdir())
    if is_complete(root, wanted):
        return True
    marker = next(
        (path for path in (root / MANIFEST, root / PARTS / REQUEST) if path.is_file()),
        None,
    )
    if marker is not None:
        other = _said(marker)
        if differing := [
            f"{key} {other.get(key)!r}, not {value!r}"
            for key, value in wanted.items()
            if key != "plan" and other.get(key) != value
        ]:
            raise ValueError(
                f"{root} holds another synthetic set ({'; '.join(differing)}): choose another folder or delete it"
            )
        if other.get("plan") != wanted["plan"]:
            raise ValueError(
                f"{root} holds a synthetic set of another preset of the same name {job.preset.name!r}: choose another folder or delete it"
            )
    elif [name for name in found if name != PARTS]:
        raise ValueError(
            f"{root} is not empty and holds no synthetic set ({', '.join(found[:5])}{', ...' if len(found) > 5 else ''}): choose another folder"
        )
    (root / PARTS).mkdir(exist_ok=True)
    for leftover in (root / PARTS).glob("*.tmp*"):
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    _put(root / PARTS / REQUEST, json.dumps(wanted, indent=1))
    return False


def _put(path: Path, text: str) -> None:
    """Write all or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.tmp")
    with open(partial, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def _fill(root: Path, job: Job, workers: int | None, progress: bool) -> None:
    """Draw every identity that is not in the waiting room yet."""
    films = layouts.find(job.layout).films(job.preset, job.people)
    everyone = layouts.people(job.layout, job.preset, job.people)
    missing = [
        (root, job, who, films[number])
        for number, who in everyone.items()
        if not (root / PARTS / str(number)).is_dir()
    ]
    frames = sum(film.frames for *_, shots in missing for film in shots)
    workers = min(workers or (_cores() if frames > WORTH_A_POOL else 1), len(missing))
    with tqdm(
        total=len(everyone),
        initial=len(everyone) - len(missing),
        desc=f"synthetic {job.preset.name}",
        unit="id",
        disable=not progress,
    ) as bar:
        for _ in (
            map(_write_identity, missing) if workers < 2 else _pooled(missing, workers)
        ):
            bar.update()


def _cores() -> int:
    """Cores that this process may use."""
    return (
        len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1
    )


def _pooled(
    missing: list[tuple[Path, Job, Identity, list[Film]]], workers: int
) -> Iterator[None]:
    """Any number of processes gives the same bytes: nothing is drawn by lot across identities."""
    with pools.processes(workers, _worker) as pool:
        try:
            yield from pool.map(_write_identity, missing, chunksize=4)
        finally:
            pool.shutdown(kill_workers=True)  # what they were drawing is drawn anew


def _worker() -> None:
    cv2.setNumThreads(1)


def _write_identity(task: tuple[Path, Job, Identity, list[Film]]) -> None:
    """All files of one identity, as one folder of the waiting room that appears when it is whole."""
    root, job, who, films = task
    final = root / PARTS / str(who.identity)
    partial = final.with_name(f"{final.name}.tmp{os.getpid()}")
    hashes, rows, made = [], [], set()
    for path, content in _files(job, who, films, rows):
        target = f"{partial}/files/{path}"
        if (folder := os.path.dirname(target)) not in made:
            os.makedirs(folder)
            made.add(folder)
        with open(target, "wb", buffering=0) as file:
            file.write(content)
        hashes.append((path, _sha(content)))
    pd.DataFrame(rows).to_csv(partial / "frames.csv", index=False, lineterminator="\n")
    (partial / "hashes.json").write_text(json.dumps(hashes))
    os.replace(partial, final)


def _files(
    job: Job, who: Identity, films: list[Film], rows: list[dict[str, object]]
) -> Iterator[tuple[str, bytes]]:
    """Relative path and bytes of every frame and mask strip; what is known of each frame is added to `rows`."""
    layout, (height, width) = (
        layouts.find(job.layout),
        (job.preset.height, job.preset.width),
    )
    draw_walk = filming.aligned if layout.aligned else filming.walk
    for film in films:
        walk = draw_walk(who, film, job.people, world=job.preset.world)
        number, spread = layout.scenery(film), job.preset.world.spread
        view = scene(number, film.modality, height, width, job.seed, spread)
        frames, masks = draw.sequence(who, walk, view, height, width)
        strips: dict[str, list[np.ndarray]] = {}
        for index, (frame, mask) in enumerate(zip(frames, masks, strict=True)):
            place = layout.place(who, film, index)
            strips.setdefault(place.mask, []).append(mask)
            rows.append(
                dict(
                    path=place.path,
                    split=who.split,
                    identity=who.identity,
                    modality=film.modality,
                    camera=film.camera,
                    tracklet=place.tracklet,
                    frame=place.frame,
                )
                | walk.known(index, view.camera)
                | dict(mask=place.mask, place=place.place)
            )
            yield place.path, _encoded(layout.suffix, frame)
        for path, strip in strips.items():
            yield (
                path,
                cv2.imencode(
                    ".png", np.concatenate(strip, 1).astype(np.uint8) * 255, STRIP
                )[1].tobytes(),
            )


def _encoded(suffix: str, frame: np.ndarray) -> bytes:
    """Three channels also in infrared, as in the real sets."""
    picture = frame if frame.shape[2] == 3 else cv2.merge([frame[..., 0]] * 3)
    return cv2.imencode(
        suffix, picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY] if suffix == ".jpg" else []
    )[1].tobytes()


def as_read(frame: np.ndarray) -> np.ndarray:
    """Return a frame as it is after a JPEG file: (H, W, 1 or 3) -> (H, W, 3) uint8."""
    content = np.frombuffer(_encoded(".jpg", frame), np.uint8)
    return cv2.imdecode(content, cv2.IMREAD_COLOR)


def _finish(root: Path, job: Job) -> None:
    """Move identities into place, then write the tables, the lists, and last the manifest; every step may be repeated."""
    layout, everyone = (
        layouts.find(job.layout),
        layouts.people(job.layout, job.preset, job.people),
    )
    hashes: list[tuple[str, str]] = []
    for number, who in everyone.items():
        part = root / PARTS / str(number)
        hashes += [
            tuple(pair) for pair in json.loads((part / "hashes.json").read_text())
        ]
        for folder in layout.folders(who):
            if (part / "files" / folder).is_dir():
                (root / folder).parent.mkdir(parents=True, exist_ok=True)
                os.replace(part / "files" / folder, root / folder)
    frames = pd.concat(
        [pd.read_csv(root / PARTS / str(number) / "frames.csv") for number in everyone],
        ignore_index=True,
    )
    texts = {
        "info/factors.csv": pd.DataFrame(
            [who.row() for who in everyone.values()]
        ).to_csv(index=False, lineterminator="\n")
    }
    texts |= {"info/frames.csv": "".join(_joined(root, everyone))} | layout.lists(
        job.preset, job.people, frames
    )
    for path, text in texts.items():
        _put(root / path, text)
        hashes.append((path, _sha(text.encode())))
    counts = {
        "identities": len(everyone),
        "tracklets": int(frames["mask"].nunique()),
        "frames": len(frames),
    }
    _put(
        root / MANIFEST,
        json.dumps(
            job.request() | {"counts": counts, "hash": _combined(hashes)}, indent=1
        )
        + "\n",
    )


def _joined(root: Path, everyone: Iterable[int]) -> Iterator[str]:
    """The tables of all identities as one, with one head line."""
    for place, number in enumerate(everyone):
        head, body = (
            (root / PARTS / str(number) / "frames.csv").read_text().split("\n", 1)
        )
        yield body if place else f"{head}\n{body}"
