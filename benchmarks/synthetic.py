"""How fast walkers are drawn: frames per second and core at the size of the standard
preset, with JPEG encoding, masks, hashes and files.

python benchmarks/synthetic.py [--identities 40] [--workers 1 2]; the first row draws
only, the others write a set to a temporary folder.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from vvi.data import synthetic
from vvi.data.synthetic import PRESETS, draw, filming, layouts
from vvi.data.synthetic.scene import scene


def cpu_seconds() -> float:
    """Of this process and of the children it has waited for."""
    used = [
        resource.getrusage(who)
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ]
    return sum(u.ru_utime + u.ru_stime for u in used)


def drawing(preset: synthetic.Preset) -> dict[str, float]:
    """Frames and masks only, nothing encoded."""
    people, films = (
        layouts.people("hitsz-vcm", preset, 0),
        layouts.find("hitsz-vcm").films(preset, 0),
    )
    size, frames, start, cpu = (
        (preset.height, preset.width),
        0,
        time.perf_counter(),
        cpu_seconds(),
    )
    for number, who in tqdm(people.items(), desc="draw", unit="id"):
        for film in films[number]:
            frames += len(
                draw.sequence(
                    who,
                    filming.walk(who, film, 0),
                    scene(film.camera, film.modality, *size, 0),
                    *size,
                )[0]
            )
    return speed("draw only", 1, frames, start, cpu)


def writing(preset: synthetic.Preset, workers: int) -> dict[str, float]:
    """A whole set, resumable and hashed."""
    with tempfile.TemporaryDirectory() as folder:
        start, cpu = time.perf_counter(), cpu_seconds()
        root = synthetic.write(Path(folder) / "set", preset, workers=workers)
        frames = json.loads((root / "manifest.json").read_text())["counts"]["frames"]
        return speed("write", workers, frames, start, cpu)


def speed(
    what: str, workers: int, frames: int, start: float, cpu: float
) -> dict[str, float]:
    wall, used = time.perf_counter() - start, cpu_seconds() - cpu
    return {
        "what": what,
        "workers": workers,
        "frames": frames,
        "frames_per_s": round(frames / wall),
        "frames_per_cpu_s": round(frames / used),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--identities", type=int, default=40)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    chosen = parser.parse_args()
    standard = PRESETS["standard"]
    preset = replace(
        standard,
        name="benchmark",
        train=replace(standard.train, identities=chosen.identities),
        test=replace(standard.test, identities=chosen.identities // 4),
    )
    print(
        f"{platform.machine()}, python {platform.python_version()}, "
        f"{preset.height} x {preset.width}"
    )
    for row in (
        drawing(preset),
        *(writing(preset, workers) for workers in chosen.workers),
    ):
        print("  ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
