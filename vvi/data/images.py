"""The one decoder: readers, checks, caches and figures see the same pixels of a file.

Whatever the name of a file says, its first bytes decide how it is read. Pixels are what
a viewer shows: turned as the file asks (EXIF), grey and palettes as colours, what is
transparent as black, the first picture of several.

Depth: every picture is scaled linearly to 0..255, white being the largest value of its
depth. A file of 16 bits often holds fewer, right-aligned, as sensors give them: its depth
is the smallest of 10, 12, 14 and 16 bits that holds its largest value and those of such
pictures beside it, so that all frames of a folder are scaled alike. A picture all whose
values are multiples of 16 or of 257 was widened from fewer bits: it uses the whole range.
Depths that a file declares itself (TIFF) are believed. Numbers without a white (floats,
32-bit and signed integers) are refused.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vvi.data.faults import LENIENT, leads_out
from vvi.types import DataError, Dataset, Tracklet

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

VERSION = 1  # raised when the pixels of some file change: caches are decoded anew
SUFFIXES = ("jpg", "jpeg", "png", "bmp", "tif", "tiff", "webp")
DEPTHS = (10, 12, 14, 16)
BESIDE = 64  # pictures of a folder that are looked at to tell the depth of one
ARRAYS = ".npy"  # rows of an array are listed as <file>.npy/<row>
_LARGE = 2**18  # bytes of a JPEG that may be too large to hold
_PLAIN = ("1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV", "LAB", "RGBX")
_CLEAR = ("LA", "PA", "La", "RGBA", "RGBa")


@dataclass(frozen=True)
class Seen:
    """What a check says of one file that can be read."""

    #: Significant bits of a channel.
    bits: int = 8
    #: Whether the file is stored turned or mirrored.
    turned: bool = False
    #: Pictures in the file, of which the first is read.
    pictures: int = 1
    #: Whether the file is there under the listed name, but for the case of its suffix.
    renamed: bool = False


def read(path: Path) -> Tensor:
    """Decode one image: (3, H, W) uint8, RGB.

    Args:
        path: an image file, or `<file>.npy/<row>` for a row of an array of images.

    Raises:
        DataError: naming a file that is missing, empty or cannot be decoded, and why.
    """
    try:
        if path.parent.suffix == ARRAYS:
            return _tensor(row(path))
        return _decode(_content(path), path.parent)[0]
    except Exception as error:  # a wrong byte leads decoders to anything
        raise DataError(f"image {path} {_reason(path, error)}") from error


def look(path: Path) -> Seen:
    """Decode one image file and say what is special about it; raises as `read`."""
    try:
        raw = _content(path)
        return _decode(raw, path.parent, about=True)[1](not path.exists())
    except Exception as error:
        raise DataError(f"image {path} {_reason(path, error)}") from error


def row(path: Path) -> np.ndarray:
    """Read a row `<file>.npy/<row>` of an array of images: (H, W, 3) uint8."""
    about = path.parent.stat()
    return _mapped(path.parent, about.st_mtime_ns, about.st_size)[int(path.name)]


def located(path: Path) -> Path:
    """Find the file of a listed image: its suffix may be written in another case."""
    if path.exists():
        return path
    for suffix in (path.suffix.upper(), path.suffix.lower()):
        if (other := path.with_suffix(suffix)).exists():
            return other
    return path


def validate(
    dataset: Dataset, workers: int | None = None, links: bool = False
) -> list[str]:
    """List the images of a data set that cannot be used, each with the reason.

    An image is missing, empty, does not decode, or is a link out of the data folder,
    where `links` does not allow that.
    """
    sides = [side for pair in dataset.sides.values() for side in pair]
    tracklets = [*dataset.train, *(t for side in sides for t in side)]
    return inspect(tracklets, dataset.root, workers, links)[0]


def broken_images(
    tracklets: Iterable[Tracklet], root: Path, workers: int | None = None
) -> list[str]:
    """Do as `validate`, for some tracklets."""
    return inspect(tracklets, root, workers)[0]


def inspect(
    tracklets: Iterable[Tracklet],
    root: Path,
    workers: int | None = None,
    links: bool = False,
) -> tuple[list[str], dict[Path, Seen]]:
    """Decode every image of some tracklets once, in threads.

    Args:
        tracklets: their images are looked at in this order.
        root: the data folder.
        workers: threads, as many as there are cores by default.
        links: whether an image may be a link out of the data folder.

    Returns:
        One line for each image that cannot be used, and what is special about others.
    """
    from tqdm import tqdm

    owners = {p: t for t in tracklets for p in t.paths if p.parent.suffix != ARRAYS}
    paths, problems, special = list(owners), [], {}
    chunks = [paths[start : start + 256] for start in range(0, len(paths), 256)]

    def work(chunk: list[Path]) -> list[str | Seen]:
        return [_look(path, root, links) for path in chunk]

    with (
        ThreadPoolExecutor(workers or os.cpu_count()) as pool,
        tqdm(total=len(paths), desc="images", unit="image", delay=2) as bar,
    ):
        for chunk, found in zip(chunks, pool.map(work, chunks), strict=True):
            bar.update(len(chunk))
            for path, what in zip(chunk, found, strict=True):
                t = owners[path]
                if isinstance(what, str):
                    whose = f"identity {t.identity}, camera {t.camera}, {t.modality}"
                    problems.append(f"{path}: {what} ({whose})")
                elif what != Seen():
                    special[path] = what
    return problems, special


def _look(path: Path, root: Path, links: bool) -> str | Seen:
    if not links and (outside := leads_out(path, root)):
        return outside + LENIENT
    try:
        return look(path)
    except DataError as error:
        return str(error).removeprefix(f"image {path} ")


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        if (other := located(path)) == path:
            raise
        return other.read_bytes()


def _reason(path: Path, error: Exception) -> str:
    """Why a file cannot be read, in one line."""
    file = path.parent if path.parent.suffix == ARRAYS else located(path)
    if not file.exists():
        return "does not exist"
    if not file.stat().st_size:
        return "is empty"
    said = (str(error).splitlines() or [type(error).__name__])[0]
    return "cannot be decoded: " + re.sub(r"^decode_jpeg.*\.cpp:\d+, ", "", said)


def _decode(
    raw: bytes, folder: Path, about: bool = False
) -> tuple[Tensor, Callable[[bool], Seen]]:
    """Pixels of a file's content and, where asked for, what is special about it."""
    if raw[:2] == b"\xff\xd8":
        pixels = _jpeg(raw)
        turned = about and b"Exif\0\0" in raw[:65536] and _orientation(raw) != 1
        return pixels, lambda renamed: Seen(8, turned, 1, renamed)
    with _opened(raw) as image:
        count = getattr(image, "n_frames", 1) if about else 1
        turned = image.getexif().get(_TURN, 1) != 1 if about else False
        bits = _depth_of_file(image, raw)
        if bits > 8 or image.mode not in (*_PLAIN, *_CLEAR):
            values, bits = _deep(image, raw, bits)
            bits = bits or _depth(values, folder)
            array = _scaled(values, bits)
        else:
            array = _shallow(image)
    return _tensor(array), lambda renamed: Seen(bits, turned, count, renamed)


_TURN = 274  # the EXIF tag of the orientation


def _jpeg(raw: bytes) -> Tensor:
    """A JPEG of one, three or four components, turned upright: (3, H, W) uint8."""
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg

    if len(raw) > _LARGE:
        with _opened(raw):  # refuses what would fill the memory
            pass
    content = torch.frombuffer(bytearray(raw), dtype=torch.uint8)
    return decode_jpeg(content, ImageReadMode.RGB, apply_exif_orientation=True)


def _orientation(raw: bytes) -> int:
    with _opened(raw) as image:
        return image.getexif().get(_TURN, 1)


def _opened(raw: bytes) -> Image.Image:
    from PIL import Image

    try:
        return Image.open(io.BytesIO(raw))
    except Image.UnidentifiedImageError as error:
        heic = "a HEIC picture or a video, which are not read: save it as JPEG or PNG"
        other = f"no image of a known format, it begins with {raw[:12]!r}"
        raise OSError(heic if raw[4:8] == b"ftyp" else other) from error


def _upright(image: Image.Image) -> Image.Image:
    from PIL import ImageOps

    image.load()  # turns a TIFF by itself, and then says no more that it is turned
    return ImageOps.exif_transpose(image)


def _shallow(image: Image.Image) -> np.ndarray:
    """Pixels (H, W, 3) uint8 of a picture of at most 8 bits; what is clear is black."""
    clear = image.mode in _CLEAR or "transparency" in image.info
    image = _upright(image)
    if not clear:
        return np.asarray(image.convert("RGB"))
    pixels = np.asarray(image.convert("RGBA")).astype(np.uint16)
    return ((pixels[..., :3] * pixels[..., 3:] + 127) // 255).astype(np.uint8)


def _depth_of_file(image: Image.Image, raw: bytes) -> int:
    """Bits that a file says a channel has; 8 where it says nothing."""
    if image.format == "PNG":
        return raw[24]
    if image.format == "TIFF":
        bits = max(image.tag_v2.get(258, (1,)))
        most = max(_numbers_of(image.tag_v2.get(281, 0)))
        return most.bit_length() if bits == 16 and 255 < most < 65535 else bits
    return 16 if image.mode.startswith("I;16") else 8


def _numbers_of(tag: object) -> tuple[int, ...]:
    return tag if isinstance(tag, tuple) else (tag,)


def _deep(image: Image.Image, raw: bytes, bits: int) -> tuple[np.ndarray, int]:
    """Values of a picture of more than 8 bits, and its depth; 0 where nothing says it."""
    scaled = image.format == "PPM" and image.mode == "I"  # by Pillow, to 16 bits
    signed = image.format == "TIFF" and max(image.tag_v2.get(339, (1,))) != 1
    if signed or (image.mode in ("I", "F") and not scaled and image.format != "PNG"):
        raise ValueError(f"{_numbers(image, bits)} have no white: save it with 8 or 16")
    grey = image.mode.startswith("I;16") or scaled
    values = np.asarray(_upright(image)) if grey else _channels(image, raw)
    values = values.astype(np.uint16)
    if values.ndim == 3 and values.shape[2] in (2, 4):
        alpha = values[..., -1:].astype(np.uint64)
        values = (values[..., :-1] * alpha // 65535).astype(np.uint16)
    return values, 16 if scaled else bits % 16


def _scaled(values: np.ndarray, depth: int) -> np.ndarray:
    """Values of so many bits as pixels (H, W, 3) uint8."""
    white = 2**depth - 1
    scaled = (values.astype(np.uint32).clip(0, white) * 255 + white // 2) // white
    scaled = scaled if scaled.ndim == 3 else scaled[..., None]
    return np.broadcast_to(scaled, (*scaled.shape[:2], 3)).astype(np.uint8)


def _depth(values: np.ndarray, folder: Path) -> int:
    """The depth of a picture of 16 bits, seen beside the others of its folder."""
    own = depth_of(values)
    return max(own, _depth_in(folder, os.stat(folder).st_mtime_ns)) if own else 16


@lru_cache(maxsize=2**16)
def _depth_in(folder: Path, changed: int) -> int:
    """The depth of the deepest picture of 16 bits in a folder, of at most `BESIDE`."""
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
    chosen = names[:: -(-len(names) // BESIDE) or 1]
    return max((_depth_at(folder / name) for name in chosen), default=0)


def _depth_at(path: Path) -> int:
    """The depth of a picture of 16 bits; 0 for any other file."""
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\xff\xd8":
            return 0
        with _opened(raw) as image:
            if _depth_of_file(image, raw) != 16:
                return 0
            values, bits = _deep(image, raw, 16)
            return bits or depth_of(values)
    except Exception:  # whoever reads that file is told what is wrong with it
        return 0


def _numbers(image: Image.Image, bits: int) -> str:
    if image.mode == "F":
        return f"floating-point numbers of {bits} bits"
    signed = image.format == "TIFF" and max(image.tag_v2.get(339, (1,))) == 2
    return f"{'signed ' if signed else ''}whole numbers of {max(bits, 32)} bits"


def depth_of(values: np.ndarray) -> int:
    """Significant bits of the values (uint16) of a picture that is stored with 16.

    0 where the values were widened to all 16.

    >>> depth_of(np.array([7000, 8021], np.uint16)), depth_of(np.array([257, 514]))
    (14, 0)
    """
    used = int(np.bitwise_or.reduce(values, axis=None))
    if not used & 15 or not (values % 257).any():
        return 0
    return next(bits for bits in DEPTHS if used < 2**bits)


def _channels(image: Image.Image, raw: bytes) -> np.ndarray:
    """All 16 bits of a picture of several channels, of which Pillow gives only 8."""
    import cv2

    turn = image.getexif().get(_TURN, 1) if image.format == "PNG" else 1
    values = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16:
        raise ValueError(f"a {image.format} of {image.mode} with 16 bits is not read")
    if values.ndim == 3:  # OpenCV puts blue first
        values = values[..., [2, 1, 0, 3][: values.shape[2]]]
    return _turned(values, turn)


def _turned(values: np.ndarray, orientation: int) -> np.ndarray:
    """An array (H, W, ...) as an EXIF orientation of 1 to 8 says it is shown."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return values


def _tensor(pixels: np.ndarray) -> Tensor:
    import torch

    return torch.from_numpy(np.array(pixels)).permute(2, 0, 1)


@lru_cache(maxsize=4)
def _mapped(path: Path, changed: int, size: int) -> np.ndarray:
    return np.load(path, mmap_mode="r", allow_pickle=False)
