"""Sets as large as the real ones, by simulation: time and memory to open and read them.

    python benchmarks/scale.py [--out FILE]         both sets at 1/16, 1/4 and full size
    python benchmarks/scale.py --parts 64 16        smaller ones, for a rehearsal

The lists have as many people, tracklets and frames as the real ones. Every frame is a
hard link to one small picture, so the folder has all the names and hardly any pixels.
Each task runs in a process of its own, on one thread. CPU seconds and peak memory
(Linux) are those of that process, without the seconds of its start and with the memory
of Python and its packages, which the entry "start" shows alone. Only the tasks that
decode pictures import torch.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image

PARTS = (16, 4, 1)
#: A file system takes only so many links to one file.
LINKS = 30_000
#: Frames that are decoded, and batches that are drawn, whatever the size of a set.
SAMPLE, BATCHES = 2_000, 20
HEIGHT, WIDTH, FRAMES = 128, 64, 6
#: (people, tracklets of one person, frames) of HITSZ-VCM, half of the people to train.
VCM = (927, 24, 463_259)
#: (lines, frames) of the lists of BUPTCampus; a line is a pair, of queries a tracklet.
CAMPUS = {
    "train": (3_574, 796_138),
    "auxiliary": (930, 209_150),
    "query": (1_076, 101_938),
    "gallery": (2_422, 597_542),
}
PEOPLE = {"train": 1_074, "auxiliary": 930, "query": 1_076, "gallery": 1_076}


class Links:
    """Files that hold one small picture, made as hard links to a few copies of it."""

    def __init__(self, folder: Path):
        """Set the folder of the copies."""
        self.folder, self.count = folder, 0
        folder.mkdir(parents=True)

    def add(self, path: str) -> None:
        """Make one file; its folder is there."""
        copy = self.folder / f"{self.count // LINKS}.jpg"
        if self.count % LINKS == 0:
            grey = np.linspace(0, 255, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
            Image.fromarray(grey.astype(np.uint8)).save(copy)
        os.link(copy, path)
        self.count += 1


def shares(total: int, count: int) -> list[int]:
    """Split a total into parts as equal as integers can be."""
    return np.diff(np.linspace(0, total, count + 1).round().astype(int)).tolist()


def write_vcm(root: Path, part: int) -> int:
    """Write a fraction of HITSZ-VCM; returns its number of frames."""
    people, each, frames = VCM[0] // part, VCM[1], VCM[2] // part
    lengths = iter(shares(frames, people * each))
    links = Links(root.with_name("pixels"))
    (root / "info").mkdir(parents=True)
    lists = {"train": ([], []), "test": ([], [])}
    queries = []
    for person in range(1, people + 1):
        names, rows = lists["train" if person <= people // 2 else "test"]
        for number in range(each):
            modality, camera = number % 2 + 1, number // 2 % 12 + 1
            word = {1: "ir", 2: "rgb"}[modality]
            folder = root / f"{person:04d}" / word / f"D{camera}"
            folder.mkdir(parents=True, exist_ok=True)
            first = len(names) + 1
            for frame in range(1, next(lengths) + 1):
                names.append(f"{person:04d}M{modality}D{camera}T1F{frame}.jpg")
                links.add(f"{folder}/{frame}.jpg")
            rows.append(f"{modality} {first} {len(names)} {person} {camera}")
            if modality == 1 and person > people // 2:
                queries.append(str(len(rows)))
    for split, (names, rows) in lists.items():
        (root / "info" / f"{split}_name.txt").write_text("\n".join(names) + "\n")
        (root / "info" / f"track_{split}_info.txt").write_text("\n".join(rows) + "\n")
    (root / "info" / "query_IDX.txt").write_text(" ".join(queries) + "\n")
    return links.count


def write_campus(root: Path, part: int) -> int:
    """Write a fraction of BUPTCampus; returns its number of frames."""
    from vvi.data import buptcampus

    links, index = Links(root.with_name("pixels")), {}
    root.mkdir(parents=True)
    start = 1
    for name, (pairs, frames) in CAMPUS.items():
        people, pairs, frames = PEOPLE[name] // part, pairs // part, frames // part
        share = frames if name == "query" else frames // 2
        lines, lengths = [], shares(share, pairs)
        for pair, length in enumerate(lengths):
            person = str(start + pair % people)
            # a query has one modality and another camera than the gallery
            camera = buptcampus.CAMERAS[pair // people + (name == "gallery")]
            words = ["IR", "RGB"] if name != "query" else [("IR", "RGB")[pair % 2]]
            lines.append(f"{person} {'/'.join(reversed(words))} {camera} 1")
            for word in words:
                paths = _campus_tracklet(root, person, word, camera, length, links)
                people_of = index.setdefault(person, {}).setdefault(word, {})
                people_of.setdefault(camera, {})["1"] = paths
        (root / buptcampus.LISTS[name]).write_text("\n".join(lines) + "\n")
        start += people if name != "query" else 0
    (root / buptcampus.INDEX).write_text(json.dumps(index))
    return links.count


def _campus_tracklet(
    root: Path, person: str, word: str, camera: str, length: int, links: Links
) -> list[str]:
    """Write the frames of one tracklet; returns their paths as the index has them."""
    folder = f"{person}/{word}/{camera}"
    (root / "DATA" / folder).mkdir(parents=True, exist_ok=True)
    paths = []
    for frame in range(1, length + 1):
        path = f"{folder}/{person}_{word}_{camera}_1_{frame}.jpg"
        links.add(f"{root}/DATA/{path}")
        paths.append(path)
    return paths


WRITE = {"hitsz-vcm": write_vcm, "buptcampus": write_campus}


def nothing(root: Path, layout: str) -> None:
    """Import what the other tasks need."""


def open_set(root: Path, layout: str) -> None:
    """Read the lists: who is in which file."""
    from vvi.data import read_dataset

    read_dataset(root, layout)


def check_lists(root: Path, layout: str) -> None:
    """Check the lists, as `vvi check --no-images` does."""
    from vvi.data.check import report

    found = report(root, layout, images=False)
    if found.errors:
        raise SystemExit(f"the simulated set has an error: {found.errors[0]}")


def stamp(root: Path, layout: str) -> None:
    """Look at size and time of every file, as a run does before it starts."""
    from vvi.data import digest

    digest.stamp(root, layout)


def digest_all(root: Path, layout: str) -> None:
    """Read the content of every file once, as the first run on a set does."""
    from vvi.data import digest

    digest.of_set(root, layout, root.with_name("kept"))


def build_cache(root: Path, layout: str) -> None:
    """Decode a sample of frames into a cache."""
    from vvi.data import read_dataset
    from vvi.data.loader import Frames

    tracklets = read_dataset(root, layout).train
    lengths = np.cumsum([len(tracklet) for tracklet in tracklets])
    count = int(np.searchsorted(lengths, SAMPLE)) + 1
    cache = root.with_name("decoded")
    Frames(HEIGHT, WIDTH, cache).build(tracklets[:count], progress=False)


def draw_clips(root: Path, layout: str) -> None:
    """Draw, decode and augment batches of training clips from files."""
    from vvi.config import DataConfig, Recipe
    from vvi.data import read_dataset
    from vvi.data.loader import Frames, TrainLoader

    data = DataConfig(layout=layout, height=HEIGHT, width=WIDTH, frames=FRAMES)
    dataset = read_dataset(root, layout)
    loader = TrainLoader(dataset, Frames(HEIGHT, WIDTH), data, Recipe(), seed=0)
    for step in range(BATCHES):
        loader.uint8(step)


TASKS: dict[str, Callable[[Path, str], None]] = {
    "nothing": nothing,
    "open": open_set,
    "check": check_lists,
    "stamp": stamp,
    "digest": digest_all,
    "cache": build_cache,
    "clips": draw_clips,
}


def measure_here(task: str, root: Path, layout: str) -> dict[str, float]:
    """Run a task in this process and measure it."""
    import vvi.data  # noqa: F401  what every task imports; two of them torch as well

    wall, cpu = time.perf_counter(), time.process_time()
    TASKS[task](root, layout)
    return {
        "CPU s": round(time.process_time() - cpu, 2),
        "wall s": round(time.perf_counter() - wall, 2),
        "peak MB": peak_megabytes(),
    }


def peak_megabytes() -> int:
    """Return the most memory that this process took (Linux)."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return round(int(line.split()[1]) / 1024)


def measure(task: str, root: Path, layout: str) -> dict[str, float]:
    """Run a task in a process of its own."""
    command = [sys.executable, __file__, "--task", task, str(root), layout]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = os.environ | threads | {"TQDM_DISABLE": "1"}
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env=environment
    )
    return json.loads(done.stdout.splitlines()[-1])


def rows(layout: str, part: int, folder: Path, tasks: list[str]) -> Iterator[dict]:
    """Write a set and yield the measurements of the tasks."""
    root = folder / f"{layout}-{part}" / "set"
    start = time.perf_counter()
    frames = WRITE[layout](root, part)
    print(f"{layout}: {frames:,} names in {time.perf_counter() - start:.0f} s")
    for task in tasks:
        found = measure(task, root, layout)
        yield {"layout": layout, "frames": frames, "task": task} | found


def empty() -> dict[str, object]:
    """Return what a file of results holds before its first row."""
    from vvi.experiment import store

    start = measure("nothing", Path(), "")
    about = {"sample": SAMPLE, "batches": BATCHES, "environment": store.environment()}
    return {"rows": [], "start": start} | about


def main() -> None:
    """Measure every size, print each row and keep it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    results = Path(__file__).parent / "results"
    parser.add_argument("--out", type=Path, default=results / "scale.json")
    parser.add_argument("--add", action="store_true", help="to the rows that are there")
    parser.add_argument("--parts", type=int, nargs="+", default=PARTS)
    parser.add_argument("--sets", nargs="+", choices=WRITE, default=list(WRITE))
    usual = [task for task in TASKS if task != "nothing"]
    parser.add_argument("--tasks", nargs="+", choices=usual, default=usual)
    parser.add_argument("--folder", type=Path, help="where to write the sets")
    parser.add_argument("--task", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.task:
        task, root, layout = args.task
        print(json.dumps(measure_here(task, Path(root), layout)))
        return
    content = json.loads(args.out.read_text()) if args.add else empty()
    for layout, part in product(args.sets, args.parts):
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            for row in rows(layout, part, Path(folder), args.tasks):
                content["rows"].append(row)
                print(row, flush=True)
                args.out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
