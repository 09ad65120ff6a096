"""One decoder: the pixels of every kind of file are those that a viewer shows."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from vvi.data import images
from vvi.data.images import (
    ImageInfo,
    broken_images,
    depth_of,
    describe,
    existing_file,
    read,
)
from vvi.data.loader import Frames, decode
from vvi.plots import ranked
from vvi.types import DataError, Tracklet

H, W = 12, 8
RAMP = np.add.outer(np.arange(H) * 20, np.arange(W) * 4).astype(np.uint8)
GREY = np.repeat(RAMP[..., None], 3, 2)
RGB = np.stack([RAMP, 255 - RAMP, np.full_like(RAMP, 40)], -1)


def pixels(path: Path) -> np.ndarray:
    return read(path).permute(1, 2, 0).numpy()


def save(path: Path, array: np.ndarray, form: str, mode: str | None = None, **how):
    Image.fromarray(array, mode).save(path, form, **how)
    return path


LOSSLESS = {
    "grey": (RAMP, GREY),
    "colour": (RGB, RGB),
    "one bit": (RAMP > 90, np.where(GREY > 90, 255, 0)),
}


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM"])
@pytest.mark.parametrize("kind", LOSSLESS)
def test_every_lossless_format_gives_the_pixels_under_any_suffix(tmp_path, form, kind):
    array, shown = LOSSLESS[kind]
    for suffix in (".jpg", ".png", ".bmp", ".xyz"):
        path = save(tmp_path / f"a{suffix}", array, form)
        np.testing.assert_array_equal(pixels(path), shown)


@pytest.mark.parametrize("form", ["WEBP", "GIF", "JPEG2000", "TGA", "QOI"])
def test_other_formats_are_read_whatever_their_suffix(tmp_path, form):
    how = dict(lossless=True) if form == "WEBP" else {}
    flat = np.full((H, W, 3), (200, 90, 30), np.uint8)
    path = save(tmp_path / "a.jpg", flat, form, **how)
    assert np.abs(pixels(path).astype(int) - flat).max() <= 1


@pytest.mark.parametrize(
    ("form", "suffix"), [("PNG", "png"), ("TIFF", "tif"), ("PNG", "jpg")]
)
def test_sixteen_bits_look_as_eight_do(tmp_path, form, suffix):
    path = save(tmp_path / f"a.{suffix}", RAMP.astype(np.uint16) * 257, form)
    np.testing.assert_array_equal(pixels(path), GREY)
    dark = save(tmp_path / f"b.{suffix}", (RAMP // 8).astype(np.uint16) * 257, form)
    np.testing.assert_array_equal(pixels(dark), GREY // 8)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_fewer_bits_in_sixteen_are_scaled_by_the_sensors_white(tmp_path, bits, form):
    white = 2**bits - 1
    values = np.linspace(0, white, H * W).round().astype(np.uint16).reshape(H, W)
    path = save(tmp_path / "a.png", values, form)
    expected = np.round(values / white * 255)
    assert np.abs(pixels(path)[..., 0] - expected).max() <= 1
    assert pixels(path).max() == 255 and describe(path).bits == bits


@pytest.mark.parametrize("shift", [4, 6])
def test_values_that_were_shifted_to_the_left_use_the_whole_range(tmp_path, shift):
    bits = 16 - shift
    values = (np.arange(H * W) * 2 % 2**bits // 3).astype(np.uint16).reshape(H, W)
    path = save(tmp_path / "a.png", values << shift, "PNG")
    assert np.abs(pixels(path)[..., 0] - values / 2**bits * 255).max() <= 1


def test_dark_and_bright_frames_of_a_folder_are_scaled_alike(tmp_path):
    """A frame that is dark enough to pass for 10 bits is not made brighter than others."""
    for folder, white in (("a", 4095), ("b", 900)):
        (tmp_path / folder).mkdir()
        save(tmp_path / folder / "1.png", np.array([[5, white]], np.uint16), "PNG")
        save(tmp_path / folder / "2.png", np.array([[5, 900]], np.uint16), "PNG")
        (tmp_path / folder / "notes.txt").write_text("no picture")
    assert describe(tmp_path / "a" / "2.png").bits == 12
    assert pixels(tmp_path / "a" / "2.png").max() == round(900 / 4095 * 255)
    assert describe(tmp_path / "b" / "2.png").bits == 10
    assert pixels(tmp_path / "b" / "2.png").max() == round(900 / 1023 * 255)


def test_every_frame_of_a_long_tracklet_has_the_same_white(tmp_path):
    """One hot pixel of one frame decides for all, whichever frame it is in."""
    for number in range(70):
        values = np.full((2, 2), 801, np.uint16)
        values[0, 0] = 4001 if number == 35 else 803
        save(tmp_path / f"{number:03d}.png", values, "PNG")
    grey = {pixels(tmp_path / f"{n:03d}.png")[1, 1].max() for n in (0, 34, 35, 36, 69)}
    assert grey == {round(801 / 4095 * 255)}


def test_raw_counts_of_a_thermal_sensor_are_not_black(tmp_path):
    path = save(tmp_path / "a.png", 7000 + RAMP.astype(np.uint16) * 4, "PNG")
    assert 100 < pixels(path).min() < pixels(path).max() < 130
    assert describe(tmp_path / "a.png").bits == 14
    save(tmp_path / "b.png", RAMP.astype(np.uint16) * 257, "PNG")  # of a viewer
    assert (
        describe(tmp_path / "a.png").bits == 14
        and describe(tmp_path / "b.png").bits == 16
    )
    assert depth_of(np.zeros((2, 2), np.uint16)) == 0


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_of_several_channels_are_all_used(tmp_path, suffix):
    deep = np.stack([RAMP.astype(np.uint16) * k for k in (3, 7, 16)], -1) + 1
    ok, content = cv2.imencode(suffix, deep[..., ::-1])
    assert ok
    (tmp_path / f"a{suffix}").write_bytes(content.tobytes())
    assert np.abs(pixels(tmp_path / f"a{suffix}") - deep / 4095 * 255).max() <= 1


def test_transparent_parts_are_black(tmp_path):
    alpha = np.zeros((H, W), np.uint8)
    alpha[:6], alpha[6:8] = 255, 128
    expected = np.round(RGB * (alpha[..., None] / 255))
    for form in ("PNG", "TIFF"):
        path = save(tmp_path / "a.png", np.dstack([RGB, alpha]), form)
        assert np.abs(pixels(path) - expected).max() <= 1
    path = save(tmp_path / "b.png", np.dstack([RAMP, alpha]), "PNG", "LA")
    assert np.abs(pixels(path) - np.round(GREY * (alpha[..., None] / 255))).max() <= 1
    deep = np.dstack([RGB[..., ::-1], alpha]).astype(np.uint16) * 257
    (tmp_path / "c.png").write_bytes(cv2.imencode(".png", deep)[1].tobytes())
    assert np.abs(pixels(tmp_path / "c.png") - expected).max() <= 1


def test_palettes_and_their_transparent_colour(tmp_path):
    image = Image.fromarray(RGB).quantize(32)
    image.save(tmp_path / "a.png")
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(pixels(tmp_path / "a.png"), expected)
    gone = int(np.asarray(image)[0, 0])
    image.save(tmp_path / "b.png", transparency=gone)
    clear = np.asarray(image)[..., None] == gone
    np.testing.assert_array_equal(
        pixels(tmp_path / "b.png"), np.where(clear, 0, expected)
    )


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_a_file_that_says_how_it_is_turned_is_shown_upright(
    tmp_path, form, orientation
):
    exif = Image.Exif()
    exif[274] = orientation
    flat = np.zeros((32, 16, 3), np.uint8)
    flat[:8, :8, 0] = flat[16:, 8:, 1] = 250
    how = dict(lossless=True) if form == "WEBP" else dict(quality=95)
    Image.fromarray(flat).save(tmp_path / "a.jpg", form, exif=exif.tobytes(), **how)
    stored = Image.fromarray(flat)
    stored.getexif()[274] = orientation
    shown = np.asarray(ImageOps.exif_transpose(stored), int)
    got = pixels(tmp_path / "a.jpg")
    assert got.shape == shown.shape and np.abs(got - shown).mean() < 6
    assert describe(tmp_path / "a.jpg").turned == (orientation != 1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize("kind", ["grey", "colour"])
def test_deep_pictures_are_turned_too(tmp_path, form, orientation, kind):
    exif = Image.Exif()
    exif[274] = orientation
    values = RAMP if kind == "grey" else RGB
    if kind == "grey":
        Image.fromarray(values.astype(np.uint16) * 257).save(
            tmp_path / "a.png", form, exif=exif
        )
    else:
        _deep_colour(tmp_path / "a.png", form, values, orientation)
    stored = Image.fromarray(values)
    stored.getexif()[274] = orientation
    shown = np.asarray(ImageOps.exif_transpose(stored).convert("RGB"))
    np.testing.assert_array_equal(pixels(tmp_path / "a.png"), shown)


def _deep_colour(path: Path, form: str, values: np.ndarray, orientation: int) -> None:
    """A colour picture of 16 bits whose file says that it is turned."""
    deep = values.astype(np.uint16)[..., ::-1] * 257
    if form == "PNG":
        plain = cv2.imencode(".png", deep)[1].tobytes()
        chunk = Image.Exif()
        chunk[274] = orientation
        body = chunk.tobytes().removeprefix(b"Exif\0\0")
        import struct
        import zlib

        exif = struct.pack(">I", len(body)) + b"eXIf" + body
        exif += struct.pack(">I", zlib.crc32(b"eXIf" + body))
        path.write_bytes(plain[:33] + exif + plain[33:])
        return
    content = bytearray(cv2.imencode(".tif", deep)[1].tobytes())
    import struct

    order = "<" if content[:2] == b"II" else ">"
    at = struct.unpack_from(order + "I", content, 4)[0]
    count = struct.unpack_from(order + "H", content, at)[0]
    entries = [content[at + 2 + 12 * k : at + 14 + 12 * k] for k in range(count)]
    entries = [e for e in entries if struct.unpack_from(order + "H", e)[0] != 274]
    entries.append(struct.pack(order + "HHIHH", 274, 3, 1, orientation, 0))
    entries.sort(key=lambda e: struct.unpack_from(order + "H", e)[0])
    table = struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4)
    struct.pack_into(order + "I", content, 4, len(content))
    path.write_bytes(bytes(content) + table)


def test_four_inks_and_a_depth_that_a_file_declares(tmp_path):
    smooth = np.full((32, 16, 3), (200, 90, 30), np.uint8)
    cmyk = Image.fromarray(smooth).convert("CMYK")
    cmyk.save(tmp_path / "a.jpg", quality=95)
    assert np.abs(pixels(tmp_path / "a.jpg").astype(int) - smooth).max() < 6
    values = RAMP.astype(np.uint16)
    image = Image.fromarray(values)
    image.save(tmp_path / "b.tif", tiffinfo={281: 4095})
    assert describe(tmp_path / "b.tif").bits == 12
    assert pixels(tmp_path / "b.tif").max() == round(int(values.max()) * 255 / 4095)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (np.float32, "floating-point numbers of 32 bits have no white"),
        (np.int32, "signed whole numbers of 32 bits have no white"),
    ],
)
def test_numbers_without_a_white_are_refused_by_name(tmp_path, kind, says):
    path = save(tmp_path / "a.tif", RAMP.astype(kind), "TIFF")
    with pytest.raises(DataError, match=f"a.tif cannot be decoded: {says}"):
        read(path)


def test_what_is_no_image_is_named_with_how_it_begins(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"hello, I am no image")
    with pytest.raises(DataError, match="it begins with b'hello, I am '"):
        read(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    with pytest.raises(DataError, match="b.jpg .*HEIC picture or a video"):
        read(tmp_path / "b.jpg")


def test_of_several_pictures_the_first_is_read_and_a_check_says_so(tmp_path):
    first, second = (Image.fromarray(RGB[:, :, [k] * 3]) for k in (0, 1))
    for form in ("GIF", "TIFF", "PNG", "WEBP"):
        how = dict(lossless=True) if form == "WEBP" else {}
        first.save(
            tmp_path / "a.jpg", form, save_all=True, append_images=[second], **how
        )
        np.testing.assert_array_equal(pixels(tmp_path / "a.jpg"), GREY)
        assert describe(tmp_path / "a.jpg").pictures == 2


def test_the_suffix_of_a_listed_image_may_be_written_in_another_case(tmp_path):
    save(tmp_path / "1.JPG", GREY, "PNG")
    np.testing.assert_array_equal(pixels(tmp_path / "1.jpg"), GREY)
    assert existing_file(tmp_path / "1.jpg").name == "1.JPG"
    assert describe(tmp_path / "1.jpg") == ImageInfo(renamed=True)
    with pytest.raises(DataError, match="2.jpg does not exist"):
        read(tmp_path / "2.jpg")


def test_a_row_of_an_array_that_was_written_again_is_read_anew(tmp_path):
    for value in (3, 9):
        np.save(tmp_path / "x.npy", np.full((2, 8, 4, 3), value, np.uint8))
        assert (read(tmp_path / "x.npy" / "1") == value).all()


def _all_kinds(folder: Path) -> list[Path]:
    """Files that can be read and files that cannot."""
    made = [save(folder / f"{f}.jpg", RGB, f) for f in ("PNG", "BMP", "TIFF", "JPEG")]
    made.append(save(folder / "deep.png", RAMP.astype(np.uint16) * 16 + 1, "PNG"))
    made.append(save(folder / "float.tif", RAMP.astype(np.float32), "TIFF"))
    for path in list(made):
        content = path.read_bytes()
        for share in (0, 0.1, 0.5, 0.9):
            cut = folder / f"{path.stem}{share}{path.suffix}"
            cut.write_bytes(content[: int(share * len(content))])
            made.append(cut)
        noisy = bytearray(content)
        noisy[5:40:3] = b"x" * len(noisy[5:40:3])
        (folder / f"noisy_{path.name}").write_bytes(noisy)
        made.append(folder / f"noisy_{path.name}")
    return [*made, folder / "missing.png"]


def test_check_reader_and_figures_agree_about_every_file(tmp_path):
    readable = 0
    for path in _all_kinds(tmp_path):
        t = Tracklet((path,), 1, 1, "ir")
        said = broken_images([t], tmp_path)
        try:
            shown = decode(path, 6, 4)
        except DataError as error:
            assert len(said) == 1, path
            assert str(error).removeprefix(f"image {path} ") in said[0]
            with pytest.raises(DataError):
                ranked.load([(path,)])
            continue
        readable += 1
        assert said == [], path
        np.testing.assert_array_equal(
            Frames(6, 4).images(t)[0], shown.permute(1, 2, 0).numpy()
        )
        assert ranked.load([(path,)], H, W)[0].shape == (H, W, 3)
    assert 5 <= readable < len(_all_kinds(tmp_path))


def test_a_figure_shows_what_a_network_sees(tmp_path):
    exif = Image.Exif()
    exif[274] = 8
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, "PNG", exif=exif)
    (tmp_path / "a.png").write_bytes(buffer.getvalue())
    shown = ranked.load([(tmp_path / "a.png",)], W, H)[0]
    np.testing.assert_array_equal(shown, pixels(tmp_path / "a.png"))
    np.testing.assert_array_equal(shown, np.rot90(RGB))
    assert images.VERSION >= 1
