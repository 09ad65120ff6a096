"""How many clips a second reach the network: the usual per-frame PIL chain beside ours,
from JPEG, from the decoded cache, and the cache with bytes out.

    python benchmarks/input.py [--tracklets 84] [--rounds 3]

Frames are synthetic, stretched to the sizes of real person boxes (60-130 x 160-290
pixels, JPEG quality 90); a clip is 6 frames at 288x144 with pad 10, crop and mirror
drawn per frame. One thread; CPU seconds, since wall time on a shared machine says
little; all rivals take turns in each round.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision import transforms as v1

from vvi.data import open_dataset, synthetic
from vvi.data.clips import train_frames
from vvi.data.loader import Frames, decode
from vvi.data.transforms import MEAN, STD, augment, normalise
from vvi.engine.train import keep_memory
from vvi.types import Tracklet

HEIGHT, WIDTH, T, PAD = 288, 144, 6, 10


def tracklets(folder: Path, count: int) -> list[Tracklet]:
    """Tracklets of 24 frames, every one with its own box size."""
    rng, found = np.random.default_rng(0), []
    tiny = open_dataset(synthetic.write(folder / "tiny", preset="tiny", progress=False))
    source = [p for t in tiny.train for p in t.paths]
    for n in range(count):
        size = (int(rng.integers(60, 131)), int(rng.integers(160, 291)))
        paths = []
        for k in range(24):
            paths.append(folder / f"{n}-{k}.jpg")
            with Image.open(source[(24 * n + k) % len(source)]) as image:
                image.resize(size, Image.Resampling.BICUBIC).save(paths[-1], quality=90)
        found.append(Tracklet(tuple(paths), n, 1, "vis"))
    return found


def usual(chosen: list[Tracklet], rng: np.random.Generator) -> list[torch.Tensor]:
    """The chain that most released code uses: PIL, one frame at a time, resize, pad,
    crop, flip, to tensor, normalise.
    """
    chain = v1.Compose(
        [
            v1.Resize((HEIGHT, WIDTH)),
            v1.Pad(PAD),
            v1.RandomCrop((HEIGHT, WIDTH)),
            v1.RandomHorizontalFlip(),
            v1.ToTensor(),
            v1.Normalize(MEAN, STD),
        ]
    )
    clips = []
    for t in chosen:
        frames = []
        for i in train_frames(len(t), T, rng):
            with Image.open(t.paths[i]) as image:
                frames.append(chain(image.convert("RGB")))
        clips.append(torch.stack(frames))
    return clips


def ours(
    chosen: list[Tracklet], rng: np.random.Generator, reader: Frames, out: str = "float"
) -> torch.Tensor:
    """What `TrainLoader` does: read as bytes, cut and mirror bytes, one float pass (or
    none, where the device normalises).
    """
    clips = augment(
        [reader.views(t, train_frames(len(t), T, rng)) for t in chosen],
        rng,
        PAD,
        0.5,
        "frame",
    )
    return normalise(clips) if out == "float" else clips


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tracklets", type=int, default=84)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()  # as in a training run, for all rivals
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chosen = tracklets(folder, args.tracklets)
        files, cached = Frames(HEIGHT, WIDTH), Frames(HEIGHT, WIDTH, folder / "cache")
        cached.build(chosen, progress=False)
        batches = [chosen[i : i + 16] for i in range(0, len(chosen), 16)]
        pool = torch.zeros(16, T, 3, HEIGHT, WIDTH, dtype=torch.uint8)
        rivals = {
            "PIL, per frame (the usual chain)": usual,
            "ours, from JPEG": lambda b, r: ours(b, r, files),
            "ours, from the cache": lambda b, r: ours(b, r, cached),
            "ours, from the cache, bytes out": lambda b, r: ours(b, r, cached, "bytes"),
            "copying the bytes of a clip": lambda b, r: pool[: len(b)].clone(),
        }
        times = {label: [] for label in rivals}
        for number in range(args.rounds):
            for label, rival in rivals.items():
                rng, start = np.random.default_rng(number), time.process_time()
                for batch in batches:
                    rival(batch, rng)
                times[label].append(time.process_time() - start)
        report(times, args.tracklets)
        print(
            f"mean difference from PIL bilinear: {difference(chosen):.2f} grey levels"
        )


def report(times: dict[str, list[float]], count: int) -> None:
    """Clips per CPU second (best and median round) and the ratio of best rounds to the
    first rival.
    """
    base = min(next(iter(times.values())))
    print(
        f"{'clips of 6 frames at 288x144, one thread':42s} "
        f"{'best':>9s} {'median':>9s} {'ratio':>7s}"
    )
    for label, found in times.items():
        print(
            f"{label:42s} {count / min(found):9.0f} "
            f"{count / float(np.median(found)):9.0f} {base / min(found):7.1f}"
        )


def difference(chosen: list[Tracklet]) -> float:
    """Mean absolute difference of our decoded and resized pixels from PIL's bilinear
    ones, in grey levels.
    """
    found = []
    for t in chosen[:16]:
        with Image.open(t.paths[0]) as image:
            theirs = np.asarray(
                image.convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR),
                np.int16,
            )
        found.append(
            np.abs(
                decode(t.paths[0], HEIGHT, WIDTH).permute(1, 2, 0).numpy() - theirs
            ).mean()
        )
    return float(np.mean(found))


if __name__ == "__main__":
    main()
