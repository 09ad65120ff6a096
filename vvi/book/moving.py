"""Moving pictures of the drawn people: short films that a page loops.

Each is drawn anew from the factors of the synthetic set, so no data set has to be on
this machine. `write` leaves a film, its still and a side file in `figures/moving/`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vvi.data.synthetic import crossing, draw, filming, presets
from vvi.data.synthetic.crossing import Crossing
from vvi.data.synthetic.factors import Identity
from vvi.data.synthetic.presets import Film
from vvi.data.synthetic.scene import scene
from vvi.data.video import write_video
from vvi.plots import style
from vvi.plots.style import RIGHT, WRONG
from vvi.runtime import atomic, paths
from vvi.types import MODALITIES, Modality
from vvi.video import detectors, tracking

FOLDER = "moving"
PRESET, SEED = "standard", 0
#: Size of a person's frame in a film, pixels: that of the papers.
HEIGHT, WIDTH = 288, 144
#: Frames a second of a tracklet.
RATE = 5
FRAMES = 24
#: Pixels between panels, and of the strip of words above each.
GAP, STRIP = 8, 40
#: Compression of H.264 (0 best, 51 worst): a film stays below `LARGEST` bytes.
QUALITY = 27
#: The noise of a night costs more than what moves in it.
QUALITIES = {"night": 37}
LARGEST = 300_000
GROUND, INK = (255, 255, 255), (34, 34, 34)
WORDS = {"vis": "visible", "ir": "infrared"}
FAULT_WORDS = {
    "none": "good",
    "bad_box": "bad box",
    "occluder": "occluder",
    "blur": "blur",
}


@dataclass(frozen=True)
class Moving:
    """A film, and its words."""

    #: (T, H, W, 3) uint8 RGB, H and W even.
    frames: np.ndarray
    #: Frames a second.
    rate: int
    #: What a reader who cannot see it needs.
    alt: str
    #: What it shows, in words and numbers.
    caption: str


@dataclass(frozen=True)
class Take:
    """A person who walks past a camera."""

    person: Identity
    modality: Modality
    camera: int
    #: (T, HEIGHT, WIDTH, 3) uint8 RGB.
    frames: np.ndarray
    #: "none", "bad_box", "occluder" or "blur" of each frame.
    faults: tuple[str, ...]


def take(identity: int, modality: Modality, position: int = 0) -> Take:
    """Draw a tracklet of the synthetic set at the size of a film.

    Args:
        identity: of the standard set.
        modality: of the camera.
        position: of the camera among those that filmed the person.
    """
    preset = presets.find(PRESET)
    person = crossing.everyone(PRESET, SEED)[identity]
    planned = [f for f in _films()[identity] if f.modality == modality]
    film = Film(modality, planned[position].camera, FRAMES)
    walk = filming.walk(person, film, SEED + preset.people, world=preset.world)
    spread = preset.world.spread
    place = scene(film.camera, modality, HEIGHT, WIDTH, SEED, spread)
    frames, _ = draw.sequence(person, walk, place, HEIGHT, WIDTH)
    faults = tuple(filming.FAULTS[number] for number in walk.faults)
    return Take(person, modality, film.camera, _as_rgb(frames), faults)


@lru_cache(maxsize=1)
def _films() -> dict[int, list[Film]]:
    preset = presets.find(PRESET)
    return presets.films(preset, SEED + preset.people)


def _as_rgb(frames: np.ndarray) -> np.ndarray:
    """Turn frames in BGR order, or of one channel, into RGB."""
    if frames.shape[-1] == 1:
        return np.repeat(frames, 3, -1)
    return frames[..., ::-1]


def _test_people() -> range:
    return presets.identities(presets.find(PRESET))["test"]


def walking(people: int = 3) -> Moving:
    """Show people walking, each in colour and in infrared side by side."""
    panels, words = [], []
    for identity in _test_people()[:people]:
        for modality in MODALITIES:
            shown = take(identity, modality)
            panels.append(shown.frames)
            words.append(f"id {identity}, {WORDS[modality]}\ncamera {shown.camera}")
    alt = (
        f"{people} drawn people walk, each filmed by a colour camera and by an "
        "infrared camera; clothes lose their hue, outline and gait stay."
    )
    caption = (
        f"Tracklets of {people} test people, visible beside infrared: hue does not "
        f"cross, outline and gait do ({RATE} frames a second, synthetic)."
    )
    return Moving(_row(panels, [[text] * FRAMES for text in words]), RATE, alt, caption)


def look_alikes() -> Moving:
    """Show two people who look the same and walk differently."""
    pair = look_alike_pair()
    panels, words = [], []
    for modality in MODALITIES:
        for identity in pair:
            shown = take(identity, modality)
            strides = RATE * shown.person.gait.rate
            panels.append(shown.frames)
            text = f"id {identity}, {WORDS[modality]}\n{strides:.2f} strides/s"
            words.append(text)
    first, second = (
        RATE * crossing.everyone(PRESET, SEED)[identity].gait.rate for identity in pair
    )
    alt = (
        f"Identities {pair[0]} and {pair[1]} side by side, visible and infrared: the "
        "same body and clothes, another pace."
    )
    caption = (
        f"Look-alikes {pair[0]} and {pair[1]} share body and clothes; they take "
        f"{first:.2f} and {second:.2f} strides a second, so only motion tells them "
        "apart (synthetic)."
    )
    return Moving(_row(panels, [[text] * FRAMES for text in words]), RATE, alt, caption)


def look_alike_pair() -> tuple[int, int]:
    """Return the two look-alikes of the test part whose paces differ most."""
    preset = presets.find(PRESET)
    numbers = _test_people()
    groups = presets.look_alikes(numbers, SEED + preset.people, preset.world.alike)
    people = crossing.everyone(PRESET, SEED)
    pairs: dict[int, list[int]] = {}
    for identity, group in sorted(groups.items()):
        pairs.setdefault(group, []).append(identity)

    def difference(pair: Sequence[int]) -> float:
        return abs(people[pair[0]].gait.rate - people[pair[1]].gait.rate)

    first, second = max(pairs.values(), key=difference)
    return first, second


def bad_frames(people: int = 60) -> Moving:
    """Show the tracklets with most kinds of faults, each bad frame named and framed.

    Args:
        people: how many test people are searched for them.
    """
    chosen = [_worst(modality, people) for modality in MODALITIES]
    panels, words = [], []
    for shown in chosen:
        panels.append(np.stack(list(map(_framed, shown.frames, shown.faults))))
        head = f"id {shown.person.identity}, {WORDS[shown.modality]}"
        words.append([f"{head}\n{FAULT_WORDS[fault]}" for fault in shown.faults])
    bad = [len(shown.faults) - shown.faults.count("none") for shown in chosen]
    alt = (
        "Two tracklets, visible and infrared, whose bad frames are framed in another "
        "colour and named: bad box, occluder or blur."
    )
    caption = (
        f"Bad frames of two tracklets: {bad[0]} of {FRAMES} in the visible one, "
        f"{bad[1]} of {FRAMES} in the infrared one. A frame that is cut wrongly, "
        "hidden or blurred is framed in orange (synthetic)."
    )
    return Moving(_row(panels, words), RATE, alt, caption)


def _worst(modality: Modality, people: int) -> Take:
    """Return the tracklet with most kinds of faults, then with most bad frames."""
    preset = presets.find(PRESET)
    everyone = crossing.everyone(PRESET, SEED)

    def faults(identity: int) -> tuple[int, int]:
        planned = next(f for f in _films()[identity] if f.modality == modality)
        film = Film(modality, planned.camera, FRAMES)
        seed = SEED + preset.people
        walk = filming.walk(everyone[identity], film, seed, world=preset.world)
        bad = walk.faults[walk.faults != filming.FAULTS.index("none")]
        return len(set(bad.tolist())), len(bad)

    return take(max(_test_people()[:people], key=faults), modality)


def _framed(frame: np.ndarray, fault: str) -> np.ndarray:
    """Frame a picture in the colour of good or bad."""
    framed = np.array(frame)
    colour = _rgb(RIGHT if fault == "none" else WRONG)
    height, width = framed.shape[:2]
    cv2.rectangle(framed, (0, 0), (width - 1, height - 1), colour, 7)
    return framed


def night(frames: int = 200, detector: str = "fcos") -> Moving:
    """Show people who cross before an infrared camera at night, with their tracks.

    Args:
        frames: of the film.
        detector: one with stored weights, whose boxes are followed.
    """
    place = Crossing(tuple(_test_people()[:4]), camera=2, frames=frames)
    pictures, truth = crossing.film(place, "ir")
    detect = detectors.load(detector)
    boxes = (detect(picture[None])[0] for picture in pictures)
    tracks = tracking.follow(boxes, crossing.RATE)
    score = tracking.scores(tracks, truth)
    shown = np.stack(
        [
            _with_boxes(picture, tracks[tracks.frame == number])
            for number, picture in enumerate(pictures)
        ]
    )
    alt = (
        f"{len(place.people)} drawn people cross a walkway at night; a numbered, "
        "coloured box follows each."
    )
    caption = (
        f"{len(place.people)} people cross at night and hide one another; "
        f"{detectors.TITLES[detector]} finds them, ByteTrack follows them. "
        f"IDF1 {score['IDF1']:.2f}, {score['switches']:.0f} switches of identity "
        f"in {score['boxes']:.0f} boxes ({crossing.RATE} frames a second, synthetic)."
    )
    return Moving(shown, crossing.RATE, alt, caption)


def _with_boxes(picture: np.ndarray, tracks) -> np.ndarray:
    """Draw the boxes of one frame, each in the colour of its track."""
    drawn = np.ascontiguousarray(np.repeat(np.repeat(picture, 2, 0), 2, 1))
    for row in tracks.itertuples():
        colour = _rgb(style.PALETTE[(row.track - 1) % len(style.PALETTE)])
        corners = [round(2 * v) for v in (row.x1, row.y1, row.x2, row.y2)]
        left, top, right, bottom = corners
        cv2.rectangle(drawn, (left, top), (right, bottom), colour, 3)
        cv2.rectangle(drawn, (left, top - 22), (left + 30, top), colour, -1)
        place = (left + 6, top - 5)
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(drawn, str(row.track), place, font, 0.6, GROUND, 2)
    return drawn


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = matplotlib.colors.to_rgb(colour)
    return round(255 * red), round(255 * green), round(255 * blue)


def _row(panels: Sequence[np.ndarray], words: Sequence[Sequence[str]]) -> np.ndarray:
    """Put films beside one another, each below its words: controls hide the bottom.

    Args:
        panels: (T, H, W, 3) each.
        words: of each panel, of each frame.
    """
    count, height, width = panels[0].shape[:3]
    total = len(panels) * width + (len(panels) + 1) * GAP
    board = np.full((count, height + GAP + STRIP, total, 3), GROUND, np.uint8)
    for n, (panel, texts) in enumerate(zip(panels, words, strict=True)):
        left = GAP + n * (width + GAP)
        board[:, STRIP : STRIP + height, left : left + width] = panel
        strips = {text: _strip(text, width) for text in set(texts)}
        for t, text in enumerate(texts):
            board[t, :STRIP, left : left + width] = strips[text]
    return board


def _strip(text: str, width: int) -> np.ndarray:
    """Draw two lines of words: (STRIP, width, 3)."""
    file = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    font = ImageFont.truetype(str(file), 13)
    strip = Image.new("RGB", (width, STRIP), GROUND)
    ImageDraw.Draw(strip).multiline_text((2, 3), text, INK, font, spacing=3)
    return np.asarray(strip)


FILMS: dict[str, Callable[[], Moving]] = {
    "walking": walking,
    "look_alikes": look_alikes,
    "bad_frames": bad_frames,
    "night": night,
}
#: Which frame is the still.
STILL = {"night": 90}


def write(name: str, film: Moving | None = None) -> Path:
    """Write a film, its still and its words.

    Args:
        name: of `FILMS`.
        film: what to write. None draws it.

    Returns:
        The path of the film.

    Raises:
        ValueError: the film is larger than a page should load.
    """
    film = film or FILMS[name]()
    path = paths.figures() / FOLDER / f"{name}.mp4"
    write_video(path, film.frames, film.rate, QUALITIES.get(name, QUALITY))
    size = path.stat().st_size
    if size > LARGEST:
        path.unlink()
        raise ValueError(f"{path}: {size} bytes, more than {LARGEST}: raise QUALITY")
    still = Image.fromarray(film.frames[STILL.get(name, 0)])
    atomic.write(
        path.with_suffix(".png"),
        style.encode(still, film.alt, film.caption, smallest=True),
    )
    height, width = film.frames.shape[1:3]
    side = {
        "function": f"{__name__}.{name}",
        "position": list(FILMS).index(name),
        "frames": len(film.frames),
        "rate": film.rate,
        "width": width,
        "height": height,
        "alt": film.alt,
        "caption": film.caption,
        "data": "synthetic",
    }
    text = json.dumps(side, indent=1, ensure_ascii=False) + "\n"
    atomic.write(path.with_suffix(".json"), text.encode())
    return path
