"""The one image decoder, so that readers, checks, caches and figures see equal pixels.

The first bytes of a file decide how it is read, whatever its name says. Pixels are what
a viewer shows: rotated as EXIF says, grey and palettes as colours, transparency as
black, the first image of several.

Depth: every image is scaled linearly to 0..255, and white is the largest value of its
depth. A file of 16 bits often holds fewer, right-aligned, as sensors give them. Its
depth is the smallest of 10, 12, 14 and 16 bits that holds its largest value and those
of the other such images of its folder, so that all frames of a folder are scaled alike.
If all values are multiples of 16 or of 257, the image was widened from fewer bits and
uses the whole range. Depths that a file declares itself (TIFF) are believed. Numbers
without a white (floats, 32-bit and signed integers) are refused.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vvi.data.faults import LENIENT, link_problem
from vvi.types import DataError, Dataset, Tracklet

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

#: Raised when the pixels of some file change, so that caches are decoded anew.
VERSION = 1
SUFFIXES = ("jpg", "jpeg", "png", "bmp", "tif", "tiff", "webp")
#: Depths that an image of 16 bits may have.
DEPTHS = (10, 12, 14, 16)
#: Rows of an array are listed as `<file>.npy/<row>`.
ARRAYS = ".npy"
#: Bytes of a JPEG from which its size is checked before it is decoded.
_LARGE = 2**18
#: Images that are decoded at a time by a thread.
_CHUNK = 256
#: EXIF tag of the orientation.
_ORIENTATION = 274
#: TIFF tags.
_BITS_PER_SAMPLE, _MAX_SAMPLE_VALUE, _SAMPLE_FORMAT = 258, 281, 339
_OPAQUE = ("1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV", "LAB", "RGBX")
_TRANSPARENT = ("LA", "PA", "La", "RGBA", "RGBa")


@dataclass(frozen=True)
class ImageInfo:
    """What is special about a file that can be read."""

    #: Significant bits of a channel.
    bits: int = 8
    #: Whether the file is stored rotated or mirrored.
    turned: bool = False
    #: Images in the file, of which the first is read.
    pictures: int = 1
    #: Whether the suffix of the file is written in another case than listed.
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
            return _tensor(array_row(path))
        return _decode(_content(path), path.parent)[0]
    except Exception as error:  # a wrong byte leads decoders to any exception
        raise DataError(f"image {path} {_reason(path, error)}") from error


def describe(path: Path) -> ImageInfo:
    """Decode one image file and return what is special about it.

    Raises:
        DataError: as `read`.
    """
    try:
        info = _decode(_content(path), path.parent, details=True)[1]
        return replace(info, renamed=not path.exists())
    except Exception as error:
        raise DataError(f"image {path} {_reason(path, error)}") from error


def array_row(path: Path) -> np.ndarray:
    """Read a row `<file>.npy/<row>` of an array of images: (H, W, 3) uint8."""
    stat = path.parent.stat()
    return _mapped(path.parent, stat.st_mtime_ns, stat.st_size)[int(path.name)]


def existing_file(path: Path) -> Path:
    """Return the file of a listed image, whose suffix may differ in case."""
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

    An image is missing, empty, undecodable, or a link out of the data folder.

    Args:
        dataset: its images are decoded.
        workers: threads, by default one per core.
        links: whether an image may be a link out of the data folder.
    """
    tracklets = list(dataset.train)
    for query, gallery in dataset.sides.values():
        tracklets += [*query, *gallery]
    return inspect_images(tracklets, dataset.root, workers, links)[0]


def broken_images(
    tracklets: Iterable[Tracklet], root: Path, workers: int | None = None
) -> list[str]:
    """List the images of some tracklets that cannot be used, as `validate`.

    Args:
        tracklets: their images are decoded.
        root: data folder.
        workers: threads, by default one per core.
    """
    return inspect_images(tracklets, root, workers)[0]


def inspect_images(
    tracklets: Iterable[Tracklet],
    root: Path,
    workers: int | None = None,
    links: bool = False,
) -> tuple[list[str], dict[Path, ImageInfo]]:
    """Decode every image of some tracklets once, in threads.

    Args:
        tracklets: their images are decoded in this order.
        root: data folder.
        workers: threads, by default one per core.
        links: whether an image may be a link out of the data folder.

    Returns:
        One line for each image that cannot be used, and what is special about others.
    """
    from tqdm import tqdm

    owners = {}
    for tracklet in tracklets:
        owners |= dict.fromkeys(tracklet.paths, tracklet)
    paths = [path for path in owners if path.parent.suffix != ARRAYS]
    chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]

    def work(chunk: list[Path]) -> list[str | ImageInfo]:
        return [_inspect(path, root, links) for path in chunk]

    problems, special = [], {}
    bar = tqdm(total=len(paths), desc="images", unit="image", delay=2)
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool, bar:
        for chunk, results in zip(chunks, pool.map(work, chunks), strict=True):
            bar.update(len(chunk))
            for path, result in zip(chunk, results, strict=True):
                if isinstance(result, str):
                    problems.append(f"{path}: {result} ({_owner(owners[path])})")
                elif result != ImageInfo():
                    special[path] = result
    return problems, special


def _owner(tracklet: Tracklet) -> str:
    person = f"identity {tracklet.identity}, camera {tracklet.camera}"
    return f"{person}, {tracklet.modality}"


def _inspect(path: Path, root: Path, links: bool) -> str | ImageInfo:
    """Return what is special about an image, or why it cannot be used."""
    if not links and (problem := link_problem(path, root)):
        return problem + LENIENT
    try:
        return describe(path)
    except DataError as error:
        return str(error).removeprefix(f"image {path} ")


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        if (other := existing_file(path)) == path:
            raise
        return other.read_bytes()


def _reason(path: Path, error: Exception) -> str:
    """Say in one line why a file cannot be read."""
    file = path.parent if path.parent.suffix == ARRAYS else existing_file(path)
    if not file.exists():
        return "does not exist"
    if not file.stat().st_size:
        return "is empty"
    message = (str(error).splitlines() or [type(error).__name__])[0]
    return "cannot be decoded: " + re.sub(r"^decode_jpeg.*\.cpp:\d+, ", "", message)


def _is_jpeg(content: bytes) -> bool:
    return content[:2] == b"\xff\xd8"


def _decode(
    content: bytes, folder: Path, details: bool = False
) -> tuple[Tensor, ImageInfo]:
    """Decode the content of a file.

    Args:
        content: bytes of the file.
        folder: where the file lies, whose other images tell the depth of one.
        details: also find out what is special, which takes longer.

    Returns:
        Pixels (3, H, W) uint8, and what is special about them.
    """
    if _is_jpeg(content):
        has_exif = details and b"Exif\0\0" in content[:65536]
        turned = has_exif and _orientation(content) != 1
        return _decode_jpeg(content), ImageInfo(turned=turned)
    with _open(content) as image:
        count = getattr(image, "n_frames", 1) if details else 1
        turned = details and image.getexif().get(_ORIENTATION, 1) != 1
        bits = _declared_bits(image, content)
        if bits > 8 or image.mode not in (*_OPAQUE, *_TRANSPARENT):
            values, bits = _deep_values(image, content, bits)
            bits = bits or _depth(values, folder)
            pixels = _scale(values, bits)
        else:
            pixels = _shallow_pixels(image)
    return _tensor(pixels), ImageInfo(bits, turned, count)


def _decode_jpeg(content: bytes) -> Tensor:
    """Decode a JPEG of 1, 3 or 4 components, upright: (3, H, W) uint8."""
    import torch
    from torchvision.io import ImageReadMode, decode_jpeg

    if len(content) > _LARGE:
        with _open(content):  # refuses an image that would fill the memory
            pass
    buffer = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    return decode_jpeg(buffer, ImageReadMode.RGB, apply_exif_orientation=True)


def _orientation(content: bytes) -> int:
    with _open(content) as image:
        return image.getexif().get(_ORIENTATION, 1)


def _open(content: bytes) -> Image.Image:
    from PIL import Image

    try:
        return Image.open(io.BytesIO(content))
    except Image.UnidentifiedImageError as error:
        heic = "a HEIC picture or a video, which are not read: save it as JPEG or PNG"
        other = f"no image of a known format, it begins with {content[:12]!r}"
        raise OSError(heic if content[4:8] == b"ftyp" else other) from error


def _upright(image: Image.Image) -> Image.Image:
    from PIL import ImageOps

    image.load()  # rotates a TIFF by itself, and then drops its orientation
    return ImageOps.exif_transpose(image)


def _shallow_pixels(image: Image.Image) -> np.ndarray:
    """Return pixels (H, W, 3) uint8 of an image of up to 8 bits, on black."""
    is_transparent = image.mode in _TRANSPARENT or "transparency" in image.info
    image = _upright(image)
    if not is_transparent:
        return np.asarray(image.convert("RGB"))
    pixels = np.asarray(image.convert("RGBA")).astype(np.uint16)
    return ((pixels[..., :3] * pixels[..., 3:] + 127) // 255).astype(np.uint8)


def _declared_bits(image: Image.Image, content: bytes) -> int:
    """Return the bits per channel that a file declares, 8 where it does not."""
    if image.format == "PNG":
        return content[24]
    if image.format == "TIFF":
        bits = max(image.tag_v2.get(_BITS_PER_SAMPLE, (1,)))
        white = max(_as_tuple(image.tag_v2.get(_MAX_SAMPLE_VALUE, 0)))
        return white.bit_length() if bits == 16 and 255 < white < 65535 else bits
    return 16 if image.mode.startswith("I;16") else 8


def _as_tuple(tag: object) -> tuple[int, ...]:
    return tag if isinstance(tag, tuple) else (tag,)


def _deep_values(
    image: Image.Image, content: bytes, bits: int
) -> tuple[np.ndarray, int]:
    """Return the values of an image of more than 8 bits.

    Args:
        image: the opened image.
        content: bytes of the file.
        bits: depth that the file declares.

    Returns:
        Values (H, W) or (H, W, C) uint16, and their depth, 0 where nothing declares it.
    """
    is_scaled = image.format == "PPM" and image.mode == "I"  # by Pillow, to 16 bits
    is_wide = image.mode in ("I", "F") and not is_scaled and image.format != "PNG"
    if is_wide or _sample_format(image) != 1:
        numbers = _describe_numbers(image, bits)
        raise ValueError(f"{numbers} have no white: save it with 8 or 16")
    if image.mode.startswith("I;16") or is_scaled:
        values = np.asarray(_upright(image))
    else:
        values = _channels(image, content)
    values = values.astype(np.uint16)
    if values.ndim == 3 and values.shape[2] in (2, 4):
        alpha = values[..., -1:].astype(np.uint64)
        values = (values[..., :-1] * alpha // 65535).astype(np.uint16)
    return values, 16 if is_scaled else bits % 16


def _sample_format(image: Image.Image) -> int:
    """Return what a TIFF says its numbers are: 1 unsigned, 2 signed, 3 float."""
    if image.format != "TIFF":
        return 1
    return max(image.tag_v2.get(_SAMPLE_FORMAT, (1,)))


def _describe_numbers(image: Image.Image, bits: int) -> str:
    if image.mode == "F":
        return f"floating-point numbers of {bits} bits"
    sign = "signed " if _sample_format(image) == 2 else ""
    return f"{sign}whole numbers of {max(bits, 32)} bits"


def _scale(values: np.ndarray, depth: int) -> np.ndarray:
    """Scale values of a depth to pixels (H, W, 3) uint8."""
    white = 2**depth - 1
    scaled = (values.astype(np.uint32).clip(0, white) * 255 + white // 2) // white
    scaled = scaled if scaled.ndim == 3 else scaled[..., None]
    return np.broadcast_to(scaled, (*scaled.shape[:2], 3)).astype(np.uint8)


def _depth(values: np.ndarray, folder: Path) -> int:
    """Return the depth of an image of 16 bits among the others of its folder."""
    own = depth_of(values)
    return max(own, _folder_depth(folder, os.stat(folder).st_mtime_ns)) if own else 16


@lru_cache(maxsize=2**16)
def _folder_depth(folder: Path, changed: int) -> int:
    """Return the largest depth of a folder's images: each of them is read once.

    `changed`, the time of the folder, makes the cache look again.
    """
    names = [entry.name for entry in os.scandir(folder) if entry.is_file()]
    return max((_file_depth(folder / name) for name in names), default=0)


def _file_depth(path: Path) -> int:
    """Return the depth of an image of 16 bits, 0 for any other file."""
    try:
        content = path.read_bytes()
        if _is_jpeg(content):
            return 0
        with _open(content) as image:
            if _declared_bits(image, content) != 16:
                return 0
            values, bits = _deep_values(image, content, 16)
            return bits or depth_of(values)
    except Exception:  # `read` of that file says what is wrong with it
        return 0


def depth_of(values: np.ndarray) -> int:
    """Return the significant bits of an image that is stored with 16, by its values.

    0 where the values were widened to all 16.

    >>> depth_of(np.array([7000, 8021], np.uint16)), depth_of(np.array([257, 514]))
    (14, 0)
    """
    used = int(np.bitwise_or.reduce(values, axis=None))
    if not used & 15 or not (values % 257).any():
        return 0
    return next(bits for bits in DEPTHS if used < 2**bits)


def _channels(image: Image.Image, content: bytes) -> np.ndarray:
    """Return all 16 bits of several channels, of which Pillow gives only 8."""
    import cv2

    is_png = image.format == "PNG"
    orientation = image.getexif().get(_ORIENTATION, 1) if is_png else 1
    values = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16:
        raise ValueError(f"a {image.format} of {image.mode} with 16 bits is not read")
    if values.ndim == 3:  # OpenCV orders blue, green, red, alpha
        values = values[..., [2, 1, 0, 3][: values.shape[2]]]
    return _rotate(values, orientation)


def _rotate(values: np.ndarray, orientation: int) -> np.ndarray:
    """Turn an array (H, W, ...) by an EXIF orientation of 1 to 8."""
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
    """Map an array file. Its time and size make the cache read a changed file again."""
    return np.load(path, mmap_mode="r", allow_pickle=False)
