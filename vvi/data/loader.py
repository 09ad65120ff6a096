"""From tracklets to tensors: decode, cut clips, augment, normalise.

Frames stay uint8 until the last step. A batch depends on (seed, step) alone, so any
worker may load it, and a resumed run sees what the interrupted one would have seen.
"""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as V
from tqdm import tqdm

from vvi.config import DataConfig, Recipe
from vvi.data import digest, images
from vvi.data.clips import test_frames, train_frames
from vvi.data.layout import IMAGE_LAYOUTS
from vvi.data.sampler import IdentitySampler
from vvi.data.transforms import augment, normalise
from vvi.runtime import atomic, cpu, gpu
from vvi.runtime.random import rng
from vvi.types import Batch, Dataset, Tracklet

#: Frames that are decoded and flushed to the disk at a time.
CHUNK = 1024

GB = 1e9

#: Pixels of a frame so small that thousands of them are kept in memory.
SMALL = 32 * 16

#: A training clip before it is read: its tracklet and frame positions (T,).
Clip = tuple[Tracklet, np.ndarray]


def decode(path: Path, height: int, width: int) -> Tensor:
    """Decode one image at a size, resized bilinearly: (3, height, width) uint8.

    Args:
        path: an image file, as `vvi.data.images.read` takes it.
        height: of the result, in pixels.
        width: of the result, in pixels.

    Raises:
        DataError: naming a file that is missing, empty or damaged.
    """
    if height * width <= SMALL and path.is_file():
        now = path.stat()
        state = (now.st_ino, now.st_mtime_ns, now.st_ctime_ns, now.st_size)
        return _decode_small(path, state, height, width)
    return _decode(path, height, width)


def _decode(path: Path, height: int, width: int) -> Tensor:
    image = images.read(path)
    if image.shape[1:] == (height, width):
        return image
    return V.resize(image, [height, width], antialias=True)


@lru_cache(maxsize=16_384)
def _decode_small(
    path: Path, state: tuple[int, ...], height: int, width: int
) -> Tensor:
    """Decode as `_decode`, once for each state of a file: its times and its size."""
    return _decode(path, height, width)


class Frames:
    """Reads frames of tracklets at one size.

    Frames come from the image files or, after `build`, from one memory-mapped cache.
    """

    def __init__(self, height: int, width: int, cache: Path | None = None):
        """Set the size of the frames.

        Args:
            height: in pixels.
            width: in pixels.
            cache: folder in which `build` writes.
        """
        self.size, self.folder = (height, width), cache
        #: All cached frames: (N, 3, H, W) uint8.
        self.store: np.ndarray | Tensor | None = None
        #: Row in `store` of the first frame of a tracklet, by its paths.
        self.first: dict[tuple[Path, ...], int] = {}

    def read(self, tracklet: Tracklet, positions: np.ndarray) -> Tensor:
        """Read frames of a tracklet by position: (T, 3, H, W) uint8."""
        start = self.first.get(tracklet.paths)
        if self.store is None or start is None:
            frames = [decode(tracklet.paths[i], *self.size) for i in positions]
            return torch.stack(frames)
        rows = start + np.asarray(positions)
        if isinstance(self.store, Tensor):
            return self.store[torch.from_numpy(rows).to(self.store.device)]
        return torch.from_numpy(self.store[rows])

    def views(
        self, tracklet: Tracklet, positions: np.ndarray
    ) -> list[np.ndarray] | Tensor:
        """Read frames of a tracklet without a copy where a cache holds them.

        Returns:
            T arrays (3, H, W) uint8, which must not be written to since they may be
            views of a cache, or one tensor (T, 3, H, W) when the frames are on a
            device.
        """
        start = self.first.get(tracklet.paths)
        if isinstance(self.store, Tensor):
            return self.read(tracklet, positions)
        if self.store is not None and start is not None:
            return [self.store[start + i] for i in positions]
        return [decode(tracklet.paths[i], *self.size).numpy() for i in positions]

    def images(
        self, tracklet: Tracklet, positions: np.ndarray | None = None
    ) -> np.ndarray:
        """Read frames for a figure, all of them by default: (T, H, W, 3) uint8."""
        if positions is None:
            positions = np.arange(len(tracklet))
        frames = self.read(tracklet, np.asarray(positions))
        return frames.permute(0, 2, 3, 1).cpu().numpy()

    def build(self, tracklets: Sequence[Tracklet], progress: bool = True) -> None:
        """Decode every frame once into `<cache>/<key>.u8`, or reuse that file.

        The key is a digest of the image files, so a changed image is decoded anew and a
        copied folder is not. The manifest is written last, so an interrupted build
        never reads as complete, and the next one resumes it. Of several processes that
        need one file, one decodes and the others wait.

        Raises:
            ValueError: there is no cache folder.
        """
        if self.folder is None:
            raise ValueError("Frames has no cache folder to build in")
        paths = list(itertools.chain.from_iterable(t.paths for t in tracklets))
        shape = (len(paths), 3, *self.size)
        content = digest.of_images(paths, self.folder)[:16]
        name = f"{content}-{images.VERSION}-{self.size[0]}x{self.size[1]}"
        file, manifest = self.folder / f"{name}.u8", self.folder / f"{name}.json"
        expected = json.dumps({"shape": list(shape), "bytes": math.prod(shape)})
        if not _is_complete(file, manifest, expected):
            with atomic.exclusive_lock(file):
                if not _is_complete(file, manifest, expected):
                    self._decode_all(paths, file, progress)
                    atomic.write(manifest, expected.encode())
        self.store = np.memmap(file, np.uint8, "r", shape=shape)
        self.first, row = {}, 0
        for tracklet in tracklets:
            self.first[tracklet.paths] = row
            row += len(tracklet)

    def to_device(self, device: torch.device | str) -> None:
        """Move the built cache to a device, where batches are then cut and augmented.

        For GPUs with room: a frame takes 3 H W bytes.

        Raises:
            ValueError: the cache is not built.
        """
        if self.store is None:
            raise ValueError("build the cache before it is moved to a device")
        self.store = torch.from_numpy(np.array(self.store)).to(device)

    def _decode_all(self, paths: list[Path], file: Path, progress: bool) -> None:
        """Write all frames to a file, resuming a partial one."""
        partial = file.with_suffix(atomic.HALF)
        chunk_bytes = CHUNK * 3 * math.prod(self.size)
        with atomic.os_errors_explained(partial), open(partial, "ab") as out:
            # the last chunk may not have reached the disk, so it is decoded again
            complete = max(0, out.tell() // chunk_bytes - 1)
            out.truncate(complete * chunk_bytes)
            bar = tqdm(
                total=len(paths),
                desc="decode",
                unit="frame",
                disable=not progress,
                mininterval=1,
            )
            with ThreadPoolExecutor(os.cpu_count()) as pool, bar:
                bar.update(complete * CHUNK)
                for start in range(complete * CHUNK, len(paths), CHUNK):
                    chunk = paths[start : start + CHUNK]
                    self._append(chunk, out, pool)
                    bar.update(len(chunk))
            os.replace(partial, file)

    def _append(self, paths: list[Path], out: IO, pool: ThreadPoolExecutor) -> None:
        """Decode some frames in threads and flush them to the disk."""
        for image in pool.map(lambda path: decode(path, *self.size), paths):
            out.write(image.numpy().tobytes())
        out.flush()
        os.fsync(out.fileno())


def _is_complete(file: Path, manifest: Path, expected: str) -> bool:
    if not manifest.is_file() or manifest.read_text() != expected:
        return False
    return file.is_file() and file.stat().st_size == json.loads(expected)["bytes"]


@dataclass
class TrainLoader:
    """Loads the training batch of any step: P x K clips of each modality.

    Each rank loads its own identities. Together the ranks hold one global batch.
    """

    dataset: Dataset
    #: Reads the frames.
    frames: Frames
    #: How clips are cut and augmented.
    data: DataConfig
    #: Size of a batch.
    recipe: Recipe
    seed: int
    #: (rank, world size) of this process.
    shard: tuple[int, int] = (0, 1)

    def __post_init__(self):
        if self.recipe.identities % self.shard[1]:
            raise ValueError(
                f"a batch of {self.recipe.identities} identities cannot be shared "
                f"evenly by {self.shard[1]} processes"
            )
        self.sampler = IdentitySampler(
            self.dataset.train,
            self.recipe.identities,
            self.recipe.tracklets,
            self.seed,
            self.dataset.labels,
            images=self.dataset.layout in IMAGE_LAYOUTS,
        )
        self.steps_per_epoch = self.sampler.steps_per_epoch
        self._check_memory()

    def _check_memory(self) -> None:
        """Refuse a batch whose normalised frames alone exceed the memory."""
        data, recipe = self.data, self.recipe
        clips = 2 * recipe.identities * recipe.tracklets // self.shard[1]
        frames = clips * data.frames
        needed = frames * 3 * data.height * data.width * torch.float32.itemsize
        memory = cpu.memory()
        if memory and needed > memory:
            raise ValueError(
                f"a batch of {frames} frames of {data.height} x {data.width} pixels "
                f"takes {needed / GB:,.1f} GB, this machine has {memory / GB:,.1f} GB: "
                "lower height, width, frames, identities or tracklets"
            )

    def uint8(
        self, step: int
    ) -> tuple[Tensor, Tensor, np.ndarray, np.ndarray, np.ndarray]:
        """Load the batch of a step before normalisation.

        Returns:
            Visible and infrared clips (B, T, 3, H, W) uint8, classes (B,), and the rows
            of the visible and of the infrared tracklets in `Dataset.train` (B,).
        """
        draw = self.sampler.draw(step)
        generator = rng(self.seed, "clips", step)
        # every rank draws the clips of the whole batch, so that all draw alike
        vis_clips = [self._sample_clip(row, generator) for row in draw.vis]
        ir_clips = [self._sample_clip(row, generator) for row in draw.ir]
        own = draw.shard(*self.shard)
        vis, ir = self._read(vis_clips[own]), self._read(ir_clips[own])
        vis, ir = self._augment(vis, generator), self._augment(ir, generator)
        return vis, ir, draw.ids[own], draw.vis[own], draw.ir[own]

    def _sample_clip(self, row: int, generator: np.random.Generator) -> Clip:
        tracklet, data = self.dataset.train[row], self.data
        length = len(tracklet)
        return tracklet, train_frames(length, data.frames, generator, data.stride)

    def _read(self, clips: list[Clip]) -> Tensor | list[list[np.ndarray]]:
        frames = [self.frames.views(*clip) for clip in clips]
        return torch.stack(frames) if isinstance(frames[0], Tensor) else frames

    def _augment(
        self, clips: Tensor | list[list[np.ndarray]], generator: np.random.Generator
    ) -> Tensor:
        data = self.data
        return augment(
            clips, generator, data.pad, data.flip, data.augment_per, self.shard
        )

    def batches(
        self,
        start: int,
        stop: int,
        device: torch.device | str = "cpu",
        workers: int = 0,
    ) -> Iterator[Batch]:
        """Yield the batches of steps start..stop-1 in order.

        Args:
            start: first step.
            stop: step after the last.
            device: where the batches are put.
            workers: processes, of one thread each, that load batches ahead.
        """
        steps = range(start, stop)
        loaded = map(self.uint8, steps)
        if workers:
            loaded = _load_ahead(self, steps, workers)
        for step, batch in zip(steps, loaded, strict=True):
            vis, ir, *labels = (_to_device(values, device) for values in batch)
            yield Batch(normalise(vis), normalise(ir), *labels, step=step)


def evaluated_frames(tracklet: Tracklet, data: DataConfig) -> np.ndarray:
    """Return the frame positions of a tracklet that an evaluation reads: (T,)."""
    return test_frames(len(tracklet), data.frames, data.stride)


def test_clips(
    tracklets: Sequence[Tracklet],
    frames: Frames,
    count: int,
    batch: int = 64,
    stride: int = 0,
) -> Iterator[Tensor]:
    """Yield the evaluation clips of tracklets in batches: (B, T, 3, H, W) uint8.

    Args:
        tracklets: one clip of each.
        frames: reads them.
        count: T, frames of a clip.
        batch: B, clips that are read at a time.
        stride: which frames, as `vvi.data.clips.test_frames` takes it.
    """
    for start in range(0, len(tracklets), batch):
        part = tracklets[start : start + batch]
        clips = [frames.read(t, test_frames(len(t), count, stride)) for t in part]
        yield torch.stack(clips)


test_clips.__test__ = False


def _to_device(values: Tensor | np.ndarray, device: torch.device | str) -> Tensor:
    """Move values to a device, from pinned memory so that a GPU needs no sync."""
    values = torch.as_tensor(values)
    if torch.device(device).type == "cuda" and values.device.type == "cpu":
        values = values.pin_memory()
    return values.to(device, non_blocking=True)


class _Steps(torch.utils.data.Dataset):
    """Steps of a loader as a dataset, for the worker processes of torch."""

    def __init__(self, loader: TrainLoader, steps: range):
        self.loader, self.steps = loader, steps

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, i: int):
        return self.loader.uint8(self.steps[i])


def _load_ahead(loader: TrainLoader, steps: range, workers: int):
    return torch.utils.data.DataLoader(
        _Steps(loader, steps),
        batch_size=None,
        num_workers=workers,
        collate_fn=None,
        pin_memory=gpu.is_available(),
        worker_init_fn=lambda _: torch.set_num_threads(1),
        # a generator of its own leaves the global one as it is, with workers or without
        generator=torch.Generator(),
    )
