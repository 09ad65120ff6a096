"""Where the frames lie on disk: folders, names and list files of the real sets."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd

from vvi.data.buptcampus import BOTH, FOLDER, IMAGES, INDEX, LISTS
from vvi.data.buptcampus import CAMERAS as CAMPUS
from vvi.data.synthetic import factors, presets
from vvi.data.synthetic.factors import Identity
from vvi.data.synthetic.presets import TRACKLET, Film, Preset
from vvi.types import MODALITIES, Modality

STILLS, PAIRS = 7, 9  # first words of the seeds of image layouts and of double cameras
#: Frame numbers count 25 frames a second, of which every fifth is kept.
STEP = 5


@dataclass(frozen=True)
class Place:
    """Where one frame of a film goes."""

    #: File of the frame.
    path: str
    #: Number of its tracklet.
    tracklet: int
    #: Number of the frame.
    frame: int
    #: File of the strip of masks.
    mask: str
    #: Position of its mask in the strip.
    place: int


class HitszVcm:
    """Video: `<pid>/<ir|rgb>/D<cam>/<frame>.jpg` and five list files under `info/`."""

    suffix = ".jpg"
    aligned = False  # whether both modalities film the same moments

    def splits(self, preset: Preset) -> dict[str, list[int]]:
        return {
            split: list(numbers)
            for split, numbers in presets.identities(preset).items()
        }

    def films(self, preset: Preset, seed: int) -> dict[int, list[Film]]:
        return presets.films(preset, seed)

    def folders(self, person: Identity) -> list[str]:
        return [f"{person.identity:04d}", f"masks/{person.identity:04d}"]

    def scenery(self, film: Film) -> int:
        """Which of the twelve places this camera looks at."""
        return film.camera

    def place(self, person: Identity, film: Film, index: int) -> Place:
        """Return where one frame of a film goes.

        Args:
            person: who is filmed.
            film: the sequence.
            index: of the frame in the sequence, from 0.
        """
        folder, tracklet = (
            ("ir" if film.modality == "ir" else "rgb"),
            index // TRACKLET + 1,
        )
        frame = 1 + STEP * index
        path = f"{person.identity:04d}/{folder}/D{film.camera}/{frame}.jpg"
        return Place(
            path,
            tracklet,
            frame,
            f"masks/{person.identity:04d}/{folder}_D{film.camera}_T{tracklet}.png",
            index % TRACKLET,
        )

    def lists(self, preset: Preset, seed: int, frames: pd.DataFrame) -> dict[str, str]:
        """Return names and tracklet rows of both splits, and the query rows.

        Every infrared tracklet of the test split is a query.

        Args:
            preset: the set.
            seed: of the people.
            frames: known of each frame, in the order of the lists.
        """
        texts = {}
        for split in ("train", "test"):
            part = frames[frames.split == split]
            sign = part.modality.map({"ir": 1, "vis": 2})
            names = [
                f"{pid:04d}M{m}D{cam}T{track}F{frame}.jpg"
                for pid, m, cam, track, frame in zip(
                    part.identity,
                    sign,
                    part.camera,
                    part.tracklet,
                    part.frame,
                    strict=True,
                )
            ]
            lines = pd.DataFrame(
                {
                    "line": range(1, len(part) + 1),
                    "m": sign.to_numpy(),
                    "pid": part.identity.to_numpy(),
                    "cam": part.camera.to_numpy(),
                }
            )
            rows = lines.groupby(part["mask"].to_numpy(), sort=False).agg(
                m=("m", "first"),
                start=("line", "min"),
                end=("line", "max"),
                pid=("pid", "first"),
                cam=("cam", "first"),
            )
            texts[f"info/{split}_name.txt"] = "".join(f"{name}\n" for name in names)
            texts[f"info/track_{split}_info.txt"] = "".join(
                " ".join(map(str, row)) + "\n" for row in rows.to_numpy().tolist()
            )
        texts["info/query_IDX.txt"] = (
            " ".join(str(k) for k, m in enumerate(rows.m, 1) if m == 1) + "\n"
        )
        return texts


class SysuMm01:
    """Images: `cam<c>/<pid>/<image>.jpg`, and lists of identities under `exp/`.

    Cameras 1, 2, 4 and 5 are visible, 3 (in the room of camera 2) and 6 infrared.
    """

    suffix = ".jpg"
    aligned = False
    cameras: dict[Modality, tuple[int, ...]] = {"vis": (1, 2, 4, 5), "ir": (3, 6)}
    indoor = (1, 2)

    def splits(self, preset: Preset) -> dict[str, list[int]]:
        """Identity numbers of the splits lie scattered among one another."""
        train, val, test = preset.still
        numbers = (
            np.random.default_rng([STILLS, train, val, test]).permutation(
                train + val + test
            )
            + 1
        )
        return {
            name: sorted(part.tolist())
            for name, part in zip(
                ("train", "val", "test"),
                np.split(numbers, (train, train + val)),
                strict=True,
            )
        }

    def films(self, preset: Preset, seed: int) -> dict[int, list[Film]]:
        """Plan 13 to 16 images per camera of a test identity, 6 to 10 of the others.

        Some people are never seen indoors, some not by every camera.
        """
        plan: dict[int, list[Film]] = {}
        for split, numbers in self.splits(preset).items():
            low, high = (13, 16) if split == "test" else (6, 10)
            for number in numbers:
                rng = np.random.default_rng([seed, STILLS, number])
                plan[number] = self._films_of_one(rng, low, high)
        return plan

    def _films_of_one(
        self, rng: np.random.Generator, low: int, high: int
    ) -> list[Film]:
        """Draw the cameras of one identity, and `low` to `high` images of each."""
        seen, films = self._seen(rng), []
        for modality in MODALITIES:
            for camera in seen[modality]:
                images = int(rng.integers(low, high + 1))
                films.append(Film(modality, camera, images))
        return films

    def _seen(self, rng: np.random.Generator) -> dict[Modality, tuple[int, ...]]:
        """Draw the cameras that see one identity.

        Of ten people six are seen everywhere, two outdoors only, and two by one camera
        of each kind.
        """
        kind = rng.random()
        if kind < 0.6:
            return self.cameras
        if kind < 0.8:
            return {"vis": (4, 5), "ir": (6,)}
        return {
            "vis": (int(rng.choice(self.indoor)), int(rng.choice((4, 5)))),
            "ir": (int(rng.choice((3, 6))),),
        }

    def folders(self, person: Identity) -> list[str]:
        return [
            *(f"cam{c}/{person.identity:04d}" for c in range(1, 7)),
            f"masks/{person.identity:04d}",
        ]

    def scenery(self, film: Film) -> int:
        return 2 if film.camera == 3 else film.camera

    def place(self, person: Identity, film: Film, index: int) -> Place:
        pid = f"{person.identity:04d}"
        return Place(
            f"cam{film.camera}/{pid}/{index + 1:04d}.jpg",
            1,
            index + 1,
            f"masks/{pid}/cam{film.camera}.png",
            index,
        )

    def lists(self, preset: Preset, seed: int, frames: pd.DataFrame) -> dict[str, str]:
        splits = self.splits(preset)
        splits["available"] = sorted(sum(splits.values(), []))
        return {
            f"exp/{name}_id.txt": ",".join(map(str, numbers)) + "\n"
            for name, numbers in splits.items()
        }


class RegDb:
    """Images: ten per identity in `Visible/<pid>/` and `Thermal/<pid>/`.

    Lists of ten random halvings lie under `idx/`.

    The thermal camera of the real set is drawn as a near-infrared one.
    """

    suffix = ".bmp"
    aligned = False
    images, trials = 10, 10

    def splits(self, preset: Preset) -> dict[str, list[int]]:
        return {"all": list(range(1, preset.paired + 1))}

    def films(self, preset: Preset, seed: int) -> dict[int, list[Film]]:
        films = [Film(m, c, self.images) for c, m in enumerate(MODALITIES, 1)]
        return {number: list(films) for number in self.splits(preset)["all"]}

    def folders(self, person: Identity) -> list[str]:
        return [
            f"Visible/{person.identity}",
            f"Thermal/{person.identity}",
            f"masks/{person.identity}",
        ]

    def scenery(self, film: Film) -> int:
        """One pair of cameras, mounted together."""
        return 1

    def place(self, person: Identity, film: Film, index: int) -> Place:
        pid, folder, sign = (
            person.identity,
            *(("Visible", "v") if film.modality == "vis" else ("Thermal", "t")),
        )
        sex = "female" if pid % 2 else "male"
        number = self.images * pid + index
        return Place(
            f"{folder}/{pid}/{sex}_front_{sign}_{number:05d}_{pid}.bmp",
            1,
            index + 1,
            f"masks/{pid}/{folder}.png",
            index,
        )

    def lists(self, preset: Preset, seed: int, frames: pd.DataFrame) -> dict[str, str]:
        """Halve the identities anew in each trial. Labels cycle through the lines.

        Args:
            preset: the set.
            seed: of the people and of the halvings.
            frames: known of each frame.
        """
        texts, numbers = {}, np.array(self.splits(preset)["all"])
        by_person = {
            key: group.path.tolist()
            for key, group in frames.groupby(["identity", "modality"])
        }
        for trial in range(1, self.trials + 1):
            mixed = (
                np.random.default_rng([seed, STILLS, trial])
                .permutation(numbers)
                .tolist()
            )
            for split, half in (
                ("train", mixed[: len(mixed) // 2]),
                ("test", mixed[len(mixed) // 2 :]),
            ):
                for modality, folder in (("vis", "visible"), ("ir", "thermal")):
                    paths = [by_person[pid, modality] for pid in half]
                    name = f"idx/{split}_{folder}_{trial}.txt"
                    texts[name] = self._labelled_lines(paths)
        return texts

    def _labelled_lines(self, paths: list[list[str]]) -> str:
        """List the first image of each person, then the second, with its label."""
        lines = []
        for image in range(self.images):
            lines += [f"{p[image]} {label}\n" for label, p in enumerate(paths)]
        return "".join(lines)


class BuptCampus:
    """Video: `DATA/<pid>/<RGB|IR>/<camera>/`, an index of all frames and four lists.

    Six double cameras film the same moments in both modalities, so a tracklet has a
    partner that is aligned with it frame by frame. Each test person searches with one
    tracklet of one modality, whose partner is in no list.
    """

    suffix = ".jpg"
    aligned = True

    def splits(self, preset: Preset) -> dict[str, list[int]]:
        """As many people as in the layout of SYSU-MM01, those of "val" as auxiliary."""
        train, auxiliary, test = preset.still
        lots = np.random.default_rng([PAIRS, train, auxiliary, test])
        numbers = lots.permutation(train + auxiliary + test) + 1
        parts = np.split(numbers, (train, train + auxiliary))
        named = zip(("train", "auxiliary", "test"), parts, strict=True)
        return {name: sorted(part.tolist()) for name, part in named}

    def films(self, preset: Preset, seed: int) -> dict[int, list[Film]]:
        """Two cameras see a training person, one an auxiliary one, three a test person.

        A sequence is one tracklet, but for the first of a test person, which is two.
        """
        plan: dict[int, list[Film]] = {}
        seen = {"train": 2, "auxiliary": 1, "test": 3}
        for split, numbers in self.splits(preset).items():
            for number in numbers:
                rng = np.random.default_rng([seed, PAIRS, number])
                cameras = sorted(
                    rng.choice(len(CAMPUS), seen[split], replace=False) + 1
                )
                frames = rng.integers(12, TRACKLET + 1, len(cameras))
                frames[0] += TRACKLET if split == "test" else 0
                counts = list(zip(map(int, cameras), map(int, frames), strict=True))
                plan[number] = []
                for modality in MODALITIES:
                    plan[number] += [Film(modality, c, n) for c, n in counts]
        return plan

    def folders(self, person: Identity) -> list[str]:
        return [f"{IMAGES}/{person.identity}", f"masks/{person.identity}"]

    def scenery(self, film: Film) -> int:
        return film.camera

    def place(self, person: Identity, film: Film, index: int) -> Place:
        pid, name = person.identity, FOLDER[film.modality]
        camera, tracklet = CAMPUS[film.camera - 1], index // TRACKLET + 1
        frame = 1 + STEP * index
        file = f"{pid}_{name}_{camera}_{tracklet}_{frame}.jpg"
        path = f"{IMAGES}/{pid}/{name}/{camera}/{file}"
        mask = f"masks/{pid}/{name}_{camera}_T{tracklet}.png"
        return Place(path, tracklet, frame, mask, index % TRACKLET)

    def lists(self, preset: Preset, seed: int, frames: pd.DataFrame) -> dict[str, str]:
        keys = ["identity", "modality", "camera", "tracklet"]
        index: dict = {}
        for (pid, modality, camera, tracklet), rows in frames.groupby(keys, sort=False):
            node = index.setdefault(str(pid), {}).setdefault(FOLDER[modality], {})
            node = node.setdefault(CAMPUS[camera - 1], {})
            node[str(tracklet)] = [p.removeprefix(f"{IMAGES}/") for p in rows.path]
        texts = {INDEX: json.dumps(index) + "\n"}
        parts = dict(zip(LISTS, self._parts(preset, frames), strict=True))
        for part, lines in parts.items():
            texts[LISTS[part]] = "".join(
                " ".join(map(str, line)) + "\n" for line in lines
            )
        return texts

    def _parts(self, preset: Preset, frames: pd.DataFrame) -> list[list[tuple]]:
        """Lines of the four lists: pairs to train on, queries, and the gallery."""
        pairs = frames[frames.modality == "vis"].drop_duplicates("mask")
        listed = list(zip(pairs.identity, pairs.camera, pairs.tracklet, strict=True))
        splits = self.splits(preset)
        both = [(p, BOTH, CAMPUS[c - 1], t) for p, c, t in listed]
        train = [line for line in both if line[0] in splits["train"]]
        auxiliary = [line for line in both if line[0] in splits["auxiliary"]]
        query, gallery, seen = [], [], set()
        for p, c, t in listed:
            if p not in splits["test"]:
                continue
            if p in seen:
                gallery += [(p, FOLDER[m], CAMPUS[c - 1], t) for m in MODALITIES]
                continue
            seen.add(p)
            modality = MODALITIES[len(query) % 2]
            query.append((p, FOLDER[modality], CAMPUS[c - 1], t))
        return [train, auxiliary, query, gallery]


Layout = HitszVcm | SysuMm01 | RegDb | BuptCampus
LAYOUTS: dict[str, Layout] = {
    "hitsz-vcm": HitszVcm(),
    "sysu-mm01": SysuMm01(),
    "regdb": RegDb(),
    "buptcampus": BuptCampus(),
}


def find(layout: str) -> Layout:
    """The layout of this name.

    Raises:
        ValueError: there is no such layout.
    """
    if layout not in LAYOUTS:
        raise ValueError(
            f"no layout {layout!r} to write; there are {', '.join(LAYOUTS)}"
        )
    return LAYOUTS[layout]


def people(layout: str, preset: Preset, seed: int) -> dict[int, Identity]:
    """Return every identity of a set by its number, ascending.

    Args:
        layout: name of the layout.
        preset: the set.
        seed: of the people.

    Raises:
        ValueError: there is no such layout.
    """
    everyone = {}
    for split, numbers in find(layout).splits(preset).items():
        groups = presets.look_alikes(numbers, seed, preset.world.alike)
        members = presets.members(groups)
        for number in numbers:
            group, member = groups.get(number, -1), members.get(number, (0, 1))
            person = factors.person(
                number, split, group, seed, member, preset.world.tied
            )
            everyone[number] = person
    return dict(sorted(everyone.items()))
