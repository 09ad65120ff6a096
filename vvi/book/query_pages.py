"""The query browser of the pages: stored ranked lists as JSON, thumbnails as sheets.

A page has no kernel, so it reads what the records hold: the first ten items of a query,
the rank of its first right item and its average precision. Records hold neither
distances nor the frame weights of all clips, so a page shows neither. People, cameras
and factors follow from the presets: no data set has to be on this machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vvi.book import across_methods
from vvi.book.queries import KNOWN, words
from vvi.data.synthetic import crossing, draw, filming, presets
from vvi.data.synthetic.presets import Film, Preset
from vvi.data.synthetic.scene import scene
from vvi.experiment import Result, ablation
from vvi.types import DIRECTIONS, MODALITIES, Direction, Modality

PRESET, SEED = "standard", 0
#: Height and width of a thumbnail, and how many stand in a row of a sheet.
HEIGHT, WIDTH, COLUMNS = 80, 40, 40
#: Compression of a sheet (WebP, 100 best).
QUALITY = 55
#: A script hands its JSON to this function: a page from a disk may not read files.
CALL = "vviQueries"

#: Identity and camera of a tracklet.
Place = tuple[int, int]


def sides(
    preset: str | Preset = PRESET, least: int = 12
) -> dict[Modality, list[Place]]:
    """Return identity and camera of the test tracklets, in the order of the lists.

    Args:
        preset: of the set.
        least: readers drop tracklets with fewer frames.
    """
    size = presets.find(preset)
    planned = presets.films(size, SEED + size.people)
    places: dict[Modality, list[Place]] = {modality: [] for modality in MODALITIES}
    for identity in presets.identities(size)["test"]:
        for film in planned[identity]:
            kept = [length for length in film.tracklets if length >= least]
            places[film.modality] += [(identity, film.camera)] * len(kept)
    return places


def query_rows(places: Sequence[Place]) -> list[int]:
    """Return the first tracklet of each person: the queries of a page."""
    first: dict[int, int] = {}
    for row, (identity, _) in enumerate(places):
        first.setdefault(identity, row)
    return list(first.values())


def people() -> dict[str, Any]:
    """Return what is known of the test people, and whose tracklet each row is."""
    everyone = crossing.everyone(PRESET, SEED)
    numbers = presets.identities(presets.find(PRESET))["test"]
    rows = {identity: everyone[identity].row() for identity in numbers}
    factors = {}
    for identity, row in rows.items():
        factors[str(identity)] = [words(name, row[name]) for name in KNOWN]
    groups = {str(identity): row["look_alike_group"] for identity, row in rows.items()}
    tracklets = {}
    for modality, shown in sides().items():
        identities, cameras = zip(*shown, strict=True)
        tracklets[modality] = {"identity": list(identities), "camera": list(cameras)}
    sheet = {"width": WIDTH, "height": HEIGHT, "columns": COLUMNS}
    return {
        "names": list(KNOWN.values()),
        "factors": factors,
        "groups": groups,
        "sides": tracklets,
        "sheet": sheet,
    }


def lists(results: Sequence[Result]) -> dict[str, Any]:
    """Return the ranked lists of one method.

    Args:
        results: its stored runs, one for each seed.

    Returns:
        Direction -> rows of the queries, and for each seed the run, its rank-1, and of
        each query the rank of the first right item, average precision in per cent and,
        where the record keeps lists, the first ten items.
    """
    places = sides()
    content = {}
    for direction in DIRECTIONS:
        rows = query_rows(places[_queries_of(direction)])
        seeds = {str(r.config.seed): _of_run(r, direction, rows) for r in results}
        content[direction] = {"rows": rows, "seeds": seeds}
    return content


def _queries_of(direction: Direction) -> Modality:
    return "ir" if direction == "ir2vis" else "vis"


def _of_run(result: Result, direction: Direction, rows: list[int]) -> dict[str, Any]:
    """Return what a record holds of some queries."""
    arrays = result.arrays
    precision = arrays[f"{direction}/ap"][rows].astype(float)
    content = {
        "run": result.run_id,
        "rank1": round(result.row(direction)["rank1"], 1),
        "hit": arrays[f"{direction}/first_hit"][rows].tolist(),
        "ap": [round(100 * value, 1) for value in precision.tolist()],
    }
    if f"{direction}/top" in arrays:  # records keep lists of seed 0 alone
        content["top"] = arrays[f"{direction}/top"][rows].tolist()
    return content


def script(name: str, content: Mapping[str, Any]) -> str:
    """Write JSON as a script that a page loads when it needs it."""
    text = json.dumps(content, separators=(",", ":"), sort_keys=True)
    return f'{CALL}("{name}",{text});\n'


def write(folder: Path, seeds: Sequence[int] = ablation.SEEDS) -> list[Path]:
    """Write the scripts of the page from stored records, without training.

    Args:
        folder: of the built page.
        seeds: of the runs.

    Returns:
        Their paths: the people first, then a script for each method with a record.
    """
    results = across_methods.main_results(PRESET, seeds)
    about = people()
    about["methods"] = {}
    for name, runs in results.items():
        known = [result.config.seed for result in runs]
        about["methods"][name.lower()] = {"title": name, "seeds": known}
    contents = {"people": about}
    contents |= {name.lower(): lists(runs) for name, runs in results.items()}
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, content in contents.items():
        paths.append(folder / f"{name}.js")
        paths[-1].write_text(script(name, content))
    return paths


def thumbnails(modality: Modality) -> Image.Image:
    """Draw one picture of each sequence of the test people, in the order of the lists.

    It is of the twelfth frame, or of the next good one.
    """
    size = presets.find(PRESET)
    cells = list(dict.fromkeys(sides()[modality]))
    sheet = Image.new("RGB", (COLUMNS * WIDTH, -(-len(cells) // COLUMNS) * HEIGHT))
    planned = presets.films(size, SEED + size.people)
    everyone = crossing.everyone(PRESET, SEED)
    for number, (identity, camera) in enumerate(cells):
        film = next(
            f for f in planned[identity] if (f.modality, f.camera) == (modality, camera)
        )
        picture = _picture(everyone[identity], film, size)
        row, column = divmod(number, COLUMNS)
        sheet.paste(picture, (column * WIDTH, row * HEIGHT))
    return sheet


def _picture(person, film: Film, preset: Preset) -> Image.Image:
    """Draw one good frame of a sequence."""
    walk = filming.walk(person, film, SEED + preset.people, world=preset.world)
    spread = preset.world.spread
    size = (preset.height, preset.width)
    place = scene(film.camera, film.modality, *size, SEED, spread)
    frames, _ = draw.sequence(person, walk, place, *size)
    good = np.flatnonzero(walk.faults == filming.FAULTS.index("none"))
    later = good[good >= 11]
    frame = frames[later[0] if len(later) else good[0]]
    pixels = np.repeat(frame, 3, -1) if frame.shape[-1] == 1 else frame[..., ::-1]
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    return picture.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def write_thumbnails(folder: Path) -> list[Path]:
    """Draw both sheets.

    `make thumbnails` calls this when the drawing has changed.
    """
    paths = [folder / f"{modality}.webp" for modality in MODALITIES]
    for modality, path in zip(MODALITIES, paths, strict=True):
        thumbnails(modality).save(path, "webp", quality=QUALITY, method=6)
    return paths
