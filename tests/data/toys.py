"""Toy data sets in the four layouts, small enough to check by hand; every image is a
real file of 16 x 32 pixels.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

from PIL import Image

VCM = {
    "train_name.txt": [
        "0001M2D3T1F1.jpg", "0001M2D3T1F6.jpg", "0001M2D3T1F11.jpg", "0001M2D3T2F16.jpg", "0001M1D5T1F1.jpg", "0001M1D5T1F6.jpg",
        "0004M1D5T1F1.jpg", "0004M1D5T1F6.jpg", "0004M2D11T1F1.jpg", "0004M2D11T1F6.jpg",
    ],
    "test_name.txt": [
        "0503M2D3T1F1.jpg", "0503M2D3T1F6.jpg", "0503M1D4T1F1.jpg", "0503M1D4T1F6.jpg", "0503M1D4T2F11.jpg", "0510M1D3T1F1.jpg",
        "0510M1D3T1F6.jpg", "0510M2D3T1F1.jpg", "0510M2D3T1F6.jpg", "0510M2D12T1F1.jpg", "0510M2D12T1F6.jpg",
    ],
    "track_train_info.txt": ["2 1 3 1 3", "2 4 4 1 3", "1 5 6 1 5", "1 7 8 4 5", "2 9 10 4 11"],
    "track_test_info.txt": ["2 1 2 503 3", "1 3 4 503 4", "1 5 5 503 4", "1 6 7 510 3", "2 8 9 510 3", "2 10 11 510 12"],
    "query_IDX.txt": ["2 3 4"],
}  # fmt: skip
SYSU = {
    "cam1/0001": 2, "cam1/0006": 3, "cam2/0006": 2, "cam3/0001": 2, "cam3/0006": 2, "cam3/0010": 1, "cam4/0002": 2,
    "cam4/0006": 2, "cam4/0010": 3, "cam5/0010": 2, "cam6/0002": 1, "cam6/0006": 1, "cam6/0010": 2,
}  # fmt: skip
SYSU_IDS = {"train": "1", "val": "2", "test": "6,10"}
REGDB = {
    "train_visible_1.txt": [
        "Visible/285/male_back_v_00010_285.bmp 0", "Visible/117/female_front_v_00011_117.bmp 1",
        "Visible/285/male_front_v_00012_285.bmp 0", "Visible/117/female_back_v_00013_117.bmp 1",
    ],
    "train_thermal_1.txt": [
        "Thermal/285/male_back_t_00410_285.bmp 0", "Thermal/117/female_front_t_00411_117.bmp 1",
        "Thermal/285/male_front_t_00412_285.bmp 0", "Thermal/117/female_back_t_00413_117.bmp 1",
    ],
    "test_visible_1.txt": ["Visible/20/female_front_v_00020_20.bmp 0", "Visible/73/male_front_v_00021_73.bmp 1"],
    "test_thermal_1.txt": ["Thermal/20/female_front_t_00420_20.bmp 0", "Thermal/73/male_front_t_00421_73.bmp 1"],
}  # fmt: skip


# tracklet -> frames; a pair of both modalities is aligned
CAMPUS = {
    ("1", "RGB", "CQ1", "1"): [8535, 8536], ("1", "IR", "CQ1", "1"): [8535, 8536], ("1", "RGB", "LS3", "2"): [5], ("1", "IR", "LS3", "2"): [5],
    ("4", "RGB", "W4", "1"): [1, 2, 3], ("4", "IR", "W4", "1"): [1, 2, 3], ("7", "RGB", "G25", "1"): [9], ("7", "IR", "G25", "1"): [9],
    ("11", "IR", "TSG1", "1"): [1], ("11", "RGB", "TSG2", "1"): [2], ("11", "IR", "TSG2", "1"): [2],
    ("12", "RGB", "LS3", "1"): [4], ("12", "RGB", "LS3", "2"): [5, 6], ("12", "IR", "LS3", "2"): [5, 6],
}  # fmt: skip
CAMPUS_LISTS = {
    "train.txt": ["1 RGB/IR CQ1 1", "1 RGB/IR LS3 2", "4 RGB/IR W4 1"],
    "train_auxiliary.txt": ["7 RGB/IR G25 1"],
    "query.txt": ["11 IR TSG1 1", "12 RGB LS3 1"],
    "gallery.txt": ["11 RGB TSG2 1", "11 IR TSG2 1", "12 RGB LS3 2", "12 IR LS3 2"],
}


def campus(root: Path, images: bool = True) -> Path:
    """The toy of BUPTCampus."""
    index: dict = {}
    for (pid, modality, camera, tracklet), frames in CAMPUS.items():
        paths = [
            f"{pid}/{modality}/{camera}/{pid}_{modality}_{camera}_{tracklet}_{frame}.jpg"
            for frame in frames
        ]
        index.setdefault(pid, {}).setdefault(modality, {}).setdefault(camera, {})[
            tracklet
        ] = paths
        for path in paths if images else []:
            write_image(root / "DATA" / path)
    (root / "DATA").mkdir(parents=True, exist_ok=True)
    (root / "data_paths.json").write_text(json.dumps(index))
    for name, lines in CAMPUS_LISTS.items():
        write_lines(root / name, lines)
    return root


def vcm(
    root: Path, info: bool = True, split: bool = False, images: bool = False
) -> Path:
    """The toy in layout A (default), B (`info=False`) or C (`split=True`); without
    images, as readers need none.
    """
    for name, lines in VCM.items():
        write_lines(root / "info" / name if info else root / name, lines)
    for part in ("train", "test"):
        base = root / part.capitalize() if split else root
        base.mkdir(exist_ok=True)
        for name in VCM[f"{part}_name.txt"] if images else []:
            identity, rest = name.split("M")
            modality, camera, frame = (
                {"1": "ir", "2": "rgb"}[rest[0]],
                rest[2:].split("T")[0],
                name.split("F")[1],
            )
            write_image(base / identity / modality / f"D{camera}" / frame)
    return root


def sysu(root: Path) -> Path:
    """The toy with all its images."""
    for folder, number in SYSU.items():
        for image in range(1, number + 1):
            write_image(root / folder / f"{image:04d}.jpg")
    for part, ids in SYSU_IDS.items():
        write_lines(root / "exp" / f"{part}_id.txt", [ids])
    return root


def regdb(root: Path, images: bool = True) -> Path:
    """Trial 1 of the toy."""
    for name, lines in REGDB.items():
        write_lines(root / "idx" / name, lines)
        for line in lines if images else []:
            write_image(root / line.split(" ")[0])
    return root


def write_lines(path: Path, lines: list[str], end: str = "\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(line + end for line in lines).encode())


def replace_line(path: Path, number: int, text: str | None) -> None:
    """Put `text` in place of line `number` (from 1), or take the line out."""
    lines = path.read_text().splitlines()
    lines[number - 1 : number] = [] if text is None else [text]
    write_lines(path, lines)


def write_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    Image.effect_noise((16, 32), 60).convert("RGB").save(
        buffer, "BMP" if path.suffix == ".bmp" else "JPEG"
    )
    path.write_bytes(buffer.getvalue())
