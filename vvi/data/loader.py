"""From tracklets to tensors: decode (or read the decoded cache), cut clips, augment, normalise.

Frames stay uint8 until the last step. A batch is a function of (seed, step), so any worker may make it, and a resumed run sees what the interrupted one would have seen.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as V
from tqdm import tqdm

from vvi.config import DataConfig, Recipe
from vvi.data import digest, images
from vvi.data.clips import test_frames, train_frames
from vvi.data.sampler import IdentitySampler
from vvi.data.transforms import augment, normalise
from vvi.runtime import atomic
from vvi.runtime.random import rng
from vvi.types import Batch, Dataset, Tracklet

CHUNK = 1024  # frames that are decoded and put on the disk at a time


def decode(path: Path, height: int, width: int) -> Tensor:
    """Decode one image at a size: uint8 (3, height, width), resized bilinearly.

    DataError naming a file that is missing, empty or damaged (`vvi.data.images.read`).
    """
    image = images.read(path)
    same = image.shape[1:] == (height, width)
    return image if same else V.resize(image, [height, width], antialias=True)


class Frames:
    """Reads frames of tracklets at one size, from the image files or, once `build` has run, from one memory-mapped uint8 file."""

    def __init__(self, height: int, width: int, cache: Path | None = None):
        self.size, self.folder = (height, width), cache
        self.store: np.ndarray | Tensor | None = None
        self.first: dict[tuple[Path, ...], int] = {}

    def read(self, tracklet: Tracklet, which: np.ndarray) -> Tensor:
        """Frames number `which` of a tracklet: uint8 (T, 3, H, W)."""
        start = self.first.get(tracklet.paths)
        if self.store is not None and start is not None:
            places = start + np.asarray(which)
            return (
                self.store[torch.from_numpy(places).to(self.store.device)]
                if isinstance(self.store, Tensor)
                else torch.from_numpy(self.store[places])
            )
        return torch.stack([decode(tracklet.paths[i], *self.size) for i in which])

    def views(self, tracklet: Tracklet, which: np.ndarray) -> list[np.ndarray] | Tensor:
        """The same for reading only, frame by frame and not copied where a cache holds them: T arrays (3, H, W), or one tensor where the frames are resident."""
        start = self.first.get(tracklet.paths)
        if isinstance(self.store, Tensor):
            return self.read(tracklet, which)
        if self.store is not None and start is not None:
            return [self.store[start + i] for i in which]
        return [decode(tracklet.paths[i], *self.size).numpy() for i in which]

    def images(self, tracklet: Tracklet, which: np.ndarray | None = None) -> np.ndarray:
        """The same for a figure, all frames by default: uint8 (T, H, W, 3)."""
        return (
            self.read(
                tracklet,
                np.arange(len(tracklet)) if which is None else np.asarray(which),
            )
            .permute(0, 2, 3, 1)
            .cpu()
            .numpy()
        )

    def build(self, tracklets: Sequence[Tracklet], progress: bool = True) -> None:
        """Decode every frame once into `<cache>/<key>.u8`, or take a file of the same.

        The key is of what the image files hold: a changed image is decoded anew, a copy
        of a folder is not. The file is written under a temporary name and moved into
        place with its manifest last, so a killed build leaves nothing that reads as
        complete; the next one goes on from what was decoded. Of two processes that want
        one file, one decodes and the other waits.
        """
        if self.folder is None:
            raise ValueError("Frames has no cache folder to build in")
        paths = [path for t in tracklets for path in t.paths]
        shape = (len(paths), 3, *self.size)
        content = digest.of_images(paths, self.folder)[:16]
        name = f"{content}-{images.VERSION}-{self.size[0]}x{self.size[1]}"
        file, manifest = self.folder / f"{name}.u8", self.folder / f"{name}.json"
        said = json.dumps({"shape": list(shape), "bytes": math.prod(shape)})
        if not _is_whole(file, manifest, said):
            with atomic.exclusive_lock(file):
                if not _is_whole(file, manifest, said):
                    self._write(paths, file, progress)
                    atomic.write(manifest, said.encode())
        self.store = np.memmap(file, np.uint8, "r", shape=shape)
        starts = np.cumsum([0, *(len(t) for t in tracklets)])
        self.first = {
            t.paths: int(start) for t, start in zip(tracklets, starts, strict=False)
        }

    def resident(self, device: torch.device | str) -> None:
        """Hold every frame of the built cache on a device, where batches are then cut and augmented: for GPUs with room (a frame takes 3 H W bytes)."""
        if self.store is None:
            raise ValueError("build the cache before it is made resident")
        self.store = torch.from_numpy(np.array(self.store)).to(device)

    def _write(self, paths: list[Path], file: Path, progress: bool) -> None:
        half, each = file.with_suffix(atomic.HALF), CHUNK * 3 * math.prod(self.size)
        with atomic.os_errors_explained(half), open(half, "ab") as out:
            kept = max(
                0, out.tell() // each - 1
            )  # chunks; of the last one only this process could say that it is on the disk
            out.truncate(kept * each)
            with (
                ThreadPoolExecutor(os.cpu_count()) as pool,
                tqdm(
                    total=len(paths),
                    desc="decode",
                    unit="frame",
                    disable=not progress,
                    mininterval=1,
                ) as bar,
            ):
                bar.update(kept * CHUNK)
                for start in range(kept * CHUNK, len(paths), CHUNK):
                    chunk = paths[start : start + CHUNK]
                    for image in pool.map(lambda p: decode(p, *self.size), chunk):
                        out.write(image.numpy().tobytes())
                    out.flush()
                    os.fsync(out.fileno())
                    bar.update(len(chunk))
            os.replace(half, file)


def _is_whole(file: Path, manifest: Path, said: str) -> bool:
    return (
        manifest.is_file()
        and manifest.read_text() == said
        and file.is_file()
        and file.stat().st_size == json.loads(said)["bytes"]
    )


@dataclass
class TrainLoader:
    """Step -> `Batch`: P x K x modality clips, cut, augmented and normalised; of several processes (`share`: which of how many) each gets identities of its own, and together they
    hold the clips of one."""

    dataset: Dataset
    frames: Frames
    data: DataConfig
    recipe: Recipe
    seed: int
    share: tuple[int, int] = (0, 1)

    def __post_init__(self):
        if self.recipe.identities % self.share[1]:
            raise ValueError(
                f"a batch of {self.recipe.identities} identities cannot be shared evenly by {self.share[1]} processes"
            )
        self.sampler = IdentitySampler(
            self.dataset.train,
            self.recipe.identities,
            self.recipe.tracklets,
            self.seed,
            self.dataset.labels,
        )
        self.steps_per_epoch = self.sampler.steps_per_epoch

    def uint8(
        self, step: int
    ) -> tuple[Tensor, Tensor, np.ndarray, np.ndarray, np.ndarray]:
        """A batch before normalisation: vis and ir clips (B, T, 3, H, W) uint8, classes, places of the vis and of the ir tracklets."""
        draw, r = self.sampler.draw(step), rng(self.seed, "clips", step)
        mine = draw.share(*self.share)
        drawn = [[self._cut(row, r) for row in rows] for rows in (draw.vis, draw.ir)]
        clips = [[self.frames.views(*clip) for clip in part[mine]] for part in drawn]
        clips = [torch.stack(c) if isinstance(c[0], Tensor) else c for c in clips]
        vis, ir = (
            augment(
                c, r, self.data.pad, self.data.flip, self.data.augment_per, self.share
            )
            for c in clips
        )
        return vis, ir, draw.ids[mine], draw.vis[mine], draw.ir[mine]

    def _cut(self, row: int, draw: np.random.Generator) -> tuple[Tracklet, np.ndarray]:
        """Draw a clip of a training tracklet: the tracklet and its frames (T,)."""
        tracklet, data = self.dataset.train[row], self.data
        return tracklet, train_frames(len(tracklet), data.frames, draw, data.stride)

    def batches(
        self,
        start: int,
        stop: int,
        device: torch.device | str = "cpu",
        workers: int = 0,
    ) -> Iterator[Batch]:
        """Batches of steps start..stop-1 on a device, in order; with `workers`, made ahead in that many processes of one thread each."""
        steps = range(start, stop)
        made = _ahead(self, steps, workers) if workers else map(self.uint8, steps)
        for step, (vis, ir, ids, rows_vis, rows_ir) in zip(steps, made, strict=True):
            vis, ir = (normalise(_onto(clips, device)) for clips in (vis, ir))
            yield Batch(
                vis,
                ir,
                *(_onto(a, device) for a in (ids, rows_vis, rows_ir)),
                step=step,
            )


def searched(tracklet: Tracklet, data: DataConfig) -> np.ndarray:
    """Return the frames of a tracklet that a search reads: (T,)."""
    return test_frames(len(tracklet), data.frames, data.stride)


def test_clips(
    tracklets: Sequence[Tracklet],
    frames: Frames,
    count: int,
    batch: int = 64,
    stride: int = 0,
) -> Iterator[Tensor]:
    """Read the clips of an evaluation, `batch` at a time: uint8 (B, T, 3, H, W).

    Args:
        tracklets: one clip of each.
        frames: reads them.
        count: T, frames of a clip.
        batch: how many clips are read at a time.
        stride: which frames, as `vvi.data.clips.test_frames` takes it.
    """
    for start in range(0, len(tracklets), batch):
        part = tracklets[start : start + batch]
        clips = [frames.read(t, test_frames(len(t), count, stride)) for t in part]
        yield torch.stack(clips)


test_clips.__test__ = False


def _onto(values: Tensor | np.ndarray, device: torch.device | str) -> Tensor:
    """A tensor on a device; a GPU fetches it while the host goes on, for which the memory must be pinned."""
    values = torch.as_tensor(values)
    if torch.device(device).type == "cuda" and values.device.type == "cpu":
        values = values.pin_memory()
    return values.to(device, non_blocking=True)


class _Steps(torch.utils.data.Dataset):
    def __init__(self, loader: TrainLoader, steps: range):
        self.loader, self.steps = loader, steps

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, i: int):
        return self.loader.uint8(self.steps[i])


def _ahead(loader: TrainLoader, steps: range, workers: int):
    return torch.utils.data.DataLoader(
        _Steps(loader, steps),
        batch_size=None,
        num_workers=workers,
        collate_fn=None,
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=lambda _: torch.set_num_threads(1),
        generator=torch.Generator(),  # its own: with workers or without, and wherever a run goes on, the global one stays where it is
    )
