"""The data of a run: which they are, where they lie, and how they are opened."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args

import torch

from vvi import methods
from vvi.config import DataConfig, RunConfig, change, for_layout, preset
from vvi.data import READERS, announce, digest, read_dataset, synthetic
from vvi.data.layout import IMAGE_LAYOUTS, check_options, locate, options_of
from vvi.data.loader import Frames
from vvi.data.synthetic import presets
from vvi.evaluation import protocols
from vvi.evaluation.truth import Truth
from vvi.experiment import method_switches
from vvi.experiment.trained_network import method_options
from vvi.nn import own_backbone
from vvi.runtime import paths, validation
from vvi.types import DataError, Dataset

Pixels = Literal["files", "cache", "resident"]
REAL = "real:"  # before the digest of a real set
#: Fields of a config that are options of readers.
READING = ("min_seq_len", "strict", "foreign", "auxiliary")


@dataclass(frozen=True)
class Data:
    """The opened data of a run."""

    #: How they are read.
    config: DataConfig
    #: Who is in which file.
    dataset: Dataset
    #: Reads pixels.
    frames: Frames
    #: What is known of drawn data, None on real data.
    truth: Truth | None


def open_data(
    config: DataConfig,
    root: str | Path | None = None,
    *,
    seed: int = 0,
    progress: bool = True,
    pixels: Pixels = "files",
    device: str | torch.device = "cpu",
) -> Data:
    """Open the data of a config: tracklets, pixels and what is known of them.

    Args:
        config: of a run.
        root: a folder to read in place of the one that the config names.
        seed: of the run. It names the trial of RegDB.
        progress: whether to show a bar while data are drawn or decoded.
        pixels: where training clips come from, as for `frames`.
        device: holds decoded frames where pixels are "resident".
    """
    opened = dataset(config, root, progress, seed)
    reader = frames(config, opened, progress, pixels, device)
    truth = Truth(opened.root) if config.synthetic else None
    return Data(config, opened, reader, truth)


def resolve_data(settings: RunConfig, data: str | Path | None = None) -> RunConfig:
    """Return the config of a run on the data that are really there.

    A folder of real data enters it by a digest of what its images hold, so that results
    on different folders never mix, and by its layout. The embedded set that the config
    names keeps the config as it is, wherever it lies.

    Args:
        settings: of the run.
        data: a folder to read in place of the one that the config names.

    Raises:
        ValueError: the method refuses its options, before data are read or drawn, or
            a field of the data is changed that these data do not have.
        DataError: the folder holds no known set, another one than asked for, or lists
            images that are not there.
    """
    settings, data = _canonical(settings), validation.folder("data", data)
    methods.config(settings.method, **method_options(settings))
    named = settings.data
    if data is None and (named.synthetic or paths.real_data() is None):
        _refuse_unread(settings)
        return settings if named.source != "real" else _refuse_absent(named)
    root, layout = locate(data or paths.real_data(), named.layout)
    if named.synthetic and _is_embedded(root, replace(named, layout=layout)):
        settings = for_layout(settings, layout)
        _refuse_unread(settings)
        return settings
    _refuse_drawn(settings, root)
    settings, stamp = for_layout(settings, layout), digest.stamp(root, layout)
    _refuse_unread(settings)
    options = reader_options(settings.data, settings.seed)
    _check_readable(root, layout, tuple(options.items()), stamp)
    digest.refuse_missing(root, layout)
    source = f"{REAL}{_digest(root, layout, stamp)}"
    return replace(settings, data=replace(settings.data, source=source))


def unresolved(settings: RunConfig) -> RunConfig:
    """Return the config of a run on real data with the source of its preset again.

    The layout stays, with whatever its recipe has changed (`config.for_layout`).
    """
    return change(settings, source=preset(settings.preset).data.source)


def _canonical(settings: RunConfig) -> RunConfig:
    """Return a config as it is stored.

    Options have the types of their fields, a trunk and weights of one's own are named
    by what they hold.
    """
    settings = method_switches.settled(settings)
    trunk, weights = own_backbone.pinned(settings.backbone, settings.weights)
    return replace(settings, backbone=trunk, weights=weights)


def _refuse_unread(settings: RunConfig) -> None:
    """Refuse changed fields of the data that their layout does not have."""
    data = settings.data
    if data.layout in READERS:  # another one is refused where it is drawn or read
        options = reader_options(data, settings.seed)
        check_options(data.layout, READERS[data.layout], options)
    if data.stride and data.layout in IMAGE_LAYOUTS:
        raise ValueError(
            f"stride={data.stride} would have no effect: a tracklet of {data.layout} "
            "is one image; leave it out"
        )


def _refuse_drawn(settings: RunConfig, root: Path) -> None:
    """Refuse changed fields that say which data are drawn, where a folder is read."""
    data, usual = settings.data, preset(settings.preset).data
    changed = {}
    if data.seed != usual.seed:
        changed["data_seed"] = data.seed
    if data.synthetic and data.source != usual.source:
        changed["source"] = data.source
    for name, value in changed.items():
        raise ValueError(
            f"{name}={value} would have no effect: the images of {root} are read as "
            "they are; leave it out"
        )


def _refuse_absent(data: DataConfig) -> NoReturn:
    cure = f"put {data.layout} on disk and set VVI_DATA to its folder"
    raise FileNotFoundError(f"this preset reads a licensed data set: {cure}")


@lru_cache(maxsize=64)
def _check_readable(root: Path, layout: str, options: tuple, stamp: str) -> None:
    """Refuse a set that its reader refuses, also where a result is stored already."""
    read_dataset(root, layout, **dict(options))


def _is_embedded(root: str | Path, data: DataConfig) -> bool:
    """Return whether a folder is the embedded set of a config, as it was written."""
    root = validation.at_home(root)
    if not synthetic.is_complete(root, data.source, data.layout, data.seed):
        return False
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return _is_untouched(root, digest.stamp_of(files))


@lru_cache(maxsize=16)
def _is_untouched(root: Path, stamp: str) -> bool:
    written = json.loads((root / "manifest.json").read_text())["hash"]
    return synthetic.content_hash(root) == written


@lru_cache(maxsize=16)
def _digest(root: Path, layout: str, stamp: str) -> str:
    """Return the digest of a data set while its files are as their stamp says."""
    return digest.of_set(root, layout, paths.cache())


def layout_of(
    data: DataConfig,
    folder: str | Path | None,
    source: str | None = None,
    layout: str | None = None,
) -> str:
    """Return the layout of the data that a run will read.

    Args:
        data: of the run.
        folder: to read in place of the one that the config names.
        source: where it is another one than the config's.
        layout: the wanted one, if any.

    Raises:
        DataError: the folder holds another layout than the one asked for.
    """
    usual = layout or data.layout
    if not folder and (source or data.source) == "real":
        folder = paths.real_data()
    if not folder:
        return data.layout if usual == "auto" else usual
    _, actual = locate_as(folder, layout, usual)
    return actual


def locate_as(folder: str | Path, wanted: str | None, usual: str) -> tuple[Path, str]:
    """Find the set of a folder, in a wanted layout.

    Args:
        folder: of one set, or of several side by side.
        wanted: the layout. None or "auto" takes the one that is there.
        usual: the layout that decides where none is wanted and there is a choice.

    Returns:
        Root and layout of the set.

    Raises:
        DataError: the folder holds another layout than the one asked for.
    """
    root, actual = locate(folder, wanted or usual)
    if wanted not in (None, "auto", actual):
        raise DataError(f"{root} holds {actual}, not {wanted}")
    return root, actual


def dataset(
    data: DataConfig,
    root: str | Path | None = None,
    progress: bool = True,
    seed: int = 0,
) -> Dataset:
    """Open the tracklets of a config.

    With `split="val"` those who are searched are drawn people that no set holds, filmed
    by the same cameras. Of real data, where nobody can be drawn, they are every fifth
    training identity, which then is not trained on.

    Args:
        data: of a run.
        root: a folder. By default it is what `$VVI_DATA` holds for real data, else the
            embedded set, written on first use.
        progress: whether to show a bar while it is written.
        seed: of the run. It names the trial of RegDB.

    Raises:
        FileNotFoundError: the config reads real data, and no folder is named.
        DataError: the folder holds no set that can be read.
    """
    if root is None and not data.synthetic:
        root = paths.real_data() or _refuse_absent(data)
    layout = data.layout
    if root is None:
        root = synthetic_root(data, progress)
    else:
        root, layout = locate(root, layout)
    options = reader_options(replace(data, layout=layout), seed)
    test_set = read_dataset(root, layout=layout, **options)
    _announce_once(test_set)
    if data.split == "test":
        return test_set
    if not data.synthetic:
        return held_out(test_set)
    people = replace(data, source=data.source + presets.VALIDATION)
    drawn = read_dataset(synthetic_root(people, progress), layout=layout, **options)
    return replace(test_set, sides=drawn.sides)


def reader_options(data: DataConfig, seed: int) -> dict[str, Any]:
    """Return the options that a config gives to the reader of its layout."""
    options: dict[str, Any] = {}
    if data.layout == "hitsz-vcm":
        options["min_seq_len"] = data.min_seq_len
    elif data.layout == "regdb":
        options["trial"] = protocols.regdb_trial(seed)
    usual = DataConfig()
    for name in READING:
        value = getattr(data, name)
        if value != getattr(usual, name):
            options[name] = value
    return options


def readable_as(data: DataConfig, layout: str) -> DataConfig:
    """Return how data of another layout are read, without options that it lacks."""
    usual = DataConfig()
    known = options_of(READERS[layout])
    lacking = [name for name in READING if name not in known]
    defaults = {name: getattr(usual, name) for name in lacking}
    return replace(data, layout=layout, **defaults)


_ANNOUNCED: set[str] = set()


def _announce_once(dataset: Dataset) -> None:
    """Warn once in a process of what was mended or left out of a set."""
    warning = f"{dataset.root} {'; '.join(dataset.remarks)}"
    if warning not in _ANNOUNCED:
        _ANNOUNCED.add(warning)
        announce(dataset, stacklevel=4)


def held_out(dataset: Dataset, every: int = 5) -> Dataset:
    """Search training identities that then are not trained on, not the test people.

    Args:
        dataset: a real set.
        every: which identities are searched: the first of so many.
    """
    chosen = set(list(dataset.labels)[::every])
    searched = [t for t in dataset.train if t.identity in chosen]
    rest = tuple(t for t in dataset.train if t.identity not in chosen)
    vis = tuple(t for t in searched if t.modality == "vis")
    ir = tuple(t for t in searched if t.modality == "ir")
    sides = {"ir2vis": (ir, vis), "vis2ir": (vis, ir)}
    searched = {direction: sides[direction] for direction in dataset.sides}
    return replace(dataset, train=rest, sides=searched)


def synthetic_root(data: DataConfig, progress: bool = True) -> Path:
    """Return the folder of an embedded set, written when it is not complete."""
    preset = presets.find(data.source)  # equal worlds share a folder however spelt
    root = paths.cache() / f"synthetic-{data.layout}-{preset.name}-{data.seed}"
    return synthetic.write(root, preset, data.layout, data.seed, progress=progress)


def frames(
    data: DataConfig,
    dataset: Dataset,
    progress: bool = True,
    pixels: Pixels = "files",
    device: str | torch.device = "cpu",
) -> Frames:
    """Return the reader of pixels at the size of a config.

    Args:
        data: of a run.
        dataset: whose training frames are decoded ahead, unless pixels are "files".
        progress: whether to show a bar meanwhile.
        pixels: from the image "files", training clips from a memory-mapped "cache" of
            decoded frames, or with that cache "resident" on a device.
        device: holds them when they are resident.

    Raises:
        ValueError: there is no such source of pixels.
    """
    if pixels not in get_args(Pixels):
        raise ValueError(
            f"pixels={pixels!r}: choose from {', '.join(get_args(Pixels))}"
        )
    reader = Frames(data.height, data.width, paths.cache() / "decoded")
    if pixels != "files":
        reader.build(dataset.train, progress)
    if pixels == "resident":
        reader.to_device(device)
    return reader


def data_about(data: DataConfig, dataset: Dataset) -> dict[str, Any]:
    """Return what a record says of its data: name, layout, digest, remarks."""
    about = {"layout": dataset.layout, "people trained on": len(dataset.labels)}
    if data.synthetic:
        return {"name": f"synthetic {data.source}"} | about
    about["name"] = dataset.root.resolve().name
    about["digest"] = data.source.removeprefix(REAL)
    if dataset.remarks:
        about["remarks"] = dataset.remarks
    return about
