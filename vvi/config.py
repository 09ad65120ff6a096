"""What a run is: frozen dataclasses, presets, JSON, hash.

A `RunConfig` names a method, the fields of that method's own `Config` that differ from the paper's defaults (`options`), the data, the recipe and the seed. Two runs with one
hash compute the same; what only says where or how fast (device, workers, folders) is no part of it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import Any, Literal

from vvi.runtime import validation
from vvi.runtime.fields import Bounds, check_fields, hints, settle

Preset = Literal["tiny", "half", "standard", "full", "paper"]
Schedule = Literal["steps", "cosine", "one-cycle"]
PRESETS: tuple[Preset, ...] = ("tiny", "half", "standard", "full", "paper")
_BOUNDS: Bounds = {
    **dict.fromkeys(
        ("height", "width", "frames", "identities", "tracklets", "epochs", "steps"),
        (1, math.inf),
    ),
    **dict.fromkeys(
        ("pad", "lr", "slow", "momentum", "weight_decay", "warmup", "gamma"),
        (0, math.inf),
    ),
    "seed": (0, 2**63 - 1),
    "flip": (0, 1),
    "warmup_steps": (0, math.inf),
    "stride": (0, math.inf),
}


@dataclass(frozen=True)
class DataConfig:
    """Which tracklets, and how a clip is cut and changed. `source`: a preset of the embedded synthetic data, with a world behind it or without
    ("half+bars=0.3", `vvi.data.synthetic.world`), or "real" for the folder `$VVI_DATA`.

    split: who is searched, the "test" people or the validation people, "val", on whom alone settings are chosen. Training does not see it.
    """

    source: str = "standard"
    seed: int = 0
    layout: str = "hitsz-vcm"
    height: int = 288
    width: int = 144
    frames: int = 6
    min_seq_len: int = 12
    pad: int = 10
    flip: float = 0.5
    augment_per: Literal["frame", "clip"] = "frame"
    split: Literal["test", "val"] = "test"
    #: True refuses all that is odd in a real set, False reads on past all that can be
    #: read; None mends or leaves out what is harmless and refuses the rest.
    strict: bool | None = None
    #: Frames of HITSZ-VCM in the range of another person, modality or camera.
    foreign: Literal["keep", "drop"] = "keep"
    #: Train on the auxiliary people of BUPTCampus, too.
    auxiliary: bool = False
    #: Frames of a clip: 0 one of each of T equal parts; s: T that stand s apart, from a
    #: random one on in training, in the middle of the tracklet in a search.
    stride: int = 0

    def __post_init__(self):
        settle(self)
        check_fields(DataConfig, vars(self), _BOUNDS)

    @property
    def synthetic(self) -> bool:
        """Whether the pixels were drawn by us; "real:<digest>" names a folder of real data by what its lists hold."""
        return not self.source.startswith("real")


_LATER = {
    name: getattr(DataConfig(), name)
    for name in ("strict", "foreign", "auxiliary", "stride")
}


@dataclass(frozen=True)
class Recipe:
    """Batches, optimiser and schedule; the defaults are the paper's (MITML, section 6).

    The clock of a run counts `epochs` of the paper whatever the number of steps: with `steps=None` an epoch is one pass of the sampler, else `steps` are spread over `epochs`.
    drops: at which share of the run each milestone is reached, so that whatever a paper ties to an epoch stays before or after the same drop of the rate; empty: where the clock
    of equal epochs has it. warmup_steps: length of the warm-up in steps instead of epochs. schedule: a factor `gamma` at each milestone ("steps"), half a cosine down to zero
    ("cosine"), or a rise over three tenths of the run and half a cosine down ("one-cycle", which needs no warm-up).
    """

    identities: int = 8
    tracklets: int = 2
    epochs: int = 200
    steps: int | None = None
    optimiser: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.1
    slow: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    warmup: int = 10
    milestones: tuple[int, ...] = (35, 80)
    gamma: float = 0.1
    schedule: Schedule = "steps"
    warmup_steps: int | None = None
    drops: tuple[float, ...] = ()
    precision: Literal["32-true", "bf16-mixed"] = "32-true"

    def __post_init__(self):
        settle(self)
        check_fields(Recipe, vars(self), _BOUNDS)
        marks = (0.0, *self.drops, 1.0)
        if self.drops and (
            len(self.drops) != len(self.milestones)
            or any(a >= b for a, b in itertools.pairwise(marks))
        ):
            raise ValueError(
                f"drops={self.drops!r} does not fit: one share of the run, ascending between 0 and 1, for each of the milestones {self.milestones}"
            )


@dataclass(frozen=True)
class RunConfig:
    """One training run and its evaluation."""

    method: str = "baseline"
    options: Mapping[str, Any] = field(default_factory=dict)
    data: DataConfig = DataConfig()
    recipe: Recipe = Recipe()
    backbone: str = "resnet50"
    weights: str | None = "imagenet"
    seed: int = 0
    preset: Preset = "paper"

    def __post_init__(self):
        check_fields(RunConfig, vars(self), _BOUNDS)

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces; later fields only where they are set."""
        content = asdict(self) | {"options": dict(self.options)}
        for name, usual in _LATER.items():
            if content["data"][name] == usual:
                del content["data"][name]
        return json.dumps(content, sort_keys=True, separators=(",", ":"))

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits of the canonical JSON: names the run folder."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]


def from_json(text: str) -> RunConfig:
    """The inverse of `RunConfig.to_json`; ValueError naming a field that is unknown or whose value does not fit."""
    return _build(RunConfig, json.loads(text))


def change(config: RunConfig, /, **changes: Any) -> RunConfig:
    """A copy with fields changed by name, wherever they live: `change(config, frames=4, lr=0.01, variant="released")`.

    Names of `RunConfig`, `DataConfig` and `Recipe` are looked up in this order; `data_seed` is `data.seed`; every other name is an option of the method.
    A list becomes a tuple. ValueError naming a value that does not fit; options are looked at where the method is known (`methods.config`).
    """
    changes = {k: tuple(v) if isinstance(v, list) else v for k, v in changes.items()}
    own = {
        k: v
        for k, v in changes.items()
        if k in {f.name for f in fields(RunConfig)} - {"options", "data", "recipe"}
    }
    data = {
        "seed" if k == "data_seed" else k: v
        for k, v in changes.items()
        if k == "data_seed"
        or (k not in own and k in {f.name for f in fields(DataConfig)})
    }
    recipe = {
        k: v
        for k, v in changes.items()
        if k not in own and k in {f.name for f in fields(Recipe)}
    }
    options = {
        k: v
        for k, v in changes.items()
        if k not in own and k not in data and k not in recipe and k != "data_seed"
    }
    return replace(
        config,
        **own,
        data=replace(config.data, **data),
        recipe=replace(config.recipe, **recipe),
        options=dict(sorted((dict(config.options) | options).items())),
    )


def preset(
    name: str,
    method: str = "baseline",
    seed: int = 0,
    world: str | Mapping[str, float] | None = None,
    **changes: Any,
) -> RunConfig:
    """A run of a method at one of the sizes.

    Args:
        name: the size.
        method: name of the method.
        seed: of training.
        world: cues that are dosed in the drawn data, {"bars": 0.3} or "bars=0.3".
        **changes: fields that differ, as in `change`.

    Raises:
        ValueError: when there is no such size, or a value does not fit. Knobs are
            looked at where the data are opened (`synthetic.presets.find`).
    """
    name = validation.choice("preset", name, PRESETS)
    own = _of_layout(changes.get("layout", ""), method) if name == "paper" else {}
    base = replace(_PRESETS[name], method=method, seed=seed, preset=name)
    made = change(base, **own | changes)
    if world is None:
        return made
    if not made.data.synthetic:
        raise ValueError(f"world={world!r}: only drawn data have a world")
    if isinstance(world, Mapping):
        world = "+".join(f"{knob}={dose:g}" for knob, dose in world.items())
    return change(made, source="+".join(filter(None, (made.data.source, world))))


def for_layout(config: RunConfig, layout: str) -> RunConfig:
    """A run on a data set of another layout than the one that its config names.

    At the size of the papers every layout has a recipe of its own: it takes the place
    of what the config has from the preset, and of nothing else.
    """
    if config.preset != "paper" or layout == config.data.layout:
        return change(config, layout=layout)
    before, now = _flat(preset("paper", config.method)), _flat(config)
    recipe = _of_layout(layout, config.method)
    kept = {name: v for name, v in recipe.items() if now.get(name) == before.get(name)}
    return change(config, layout=layout, **kept)


def _flat(config: RunConfig) -> dict[str, Any]:
    return dict(config.options) | vars(config.data) | vars(config.recipe)


def _of_layout(layout: str, method: str) -> dict[str, Any]:
    """What the recipe of a layout changes in that of HITSZ-VCM.

    BUPTCampus: as its owners print it, but for their trunk (ResNet-34). Image sets: one
    frame a clip, and 8 x 4 images of each modality in a batch, as DI2L and AGW.
    """
    if layout in ("sysu-mm01", "regdb"):
        return dict(frames=1, tracklets=4)
    if layout != "buptcampus":
        return {}
    size = dict(height=256, width=128, frames=10, augment_per="clip")
    adam = dict(optimiser="adamw", lr=2e-4, slow=1.0, weight_decay=0.0)
    return size | adam | (dict(margin=0.6) if method == "baseline" else {})


def _build(kind: type, values: Any) -> Any:
    if not isinstance(values, Mapping):
        raise ValueError(
            f"{kind.__name__} is made of fields by name, not of {values!r}"
        )
    expected = hints(kind)
    if unknown := set(values) - set(expected):
        raise ValueError(f"{kind.__name__} has no field {', '.join(sorted(unknown))}")
    read = {
        k: _build(expected[k], v)
        if is_dataclass(expected[k])
        else tuple(v)
        if isinstance(v, list)
        else v
        for k, v in values.items()
    }
    return kind(**read)


_SMALL = dict(optimiser="adamw", slow=1.0, weight_decay=0.05, lr=3e-3)
_PRESETS: dict[str, RunConfig] = {
    "paper": RunConfig(data=DataConfig(source="real")),
    "full": RunConfig(
        data=DataConfig(source="full"),
        recipe=Recipe(steps=4000, precision="bf16-mixed"),
        weights=None,
    ),
    "standard": RunConfig(
        data=DataConfig(source="standard", height=128, width=64, frames=4, pad=5),
        recipe=Recipe(
            identities=16,
            tracklets=1,
            steps=1500,
            schedule="cosine",
            warmup_steps=50,
            drops=(0.6, 0.85),
            precision="bf16-mixed",
            **_SMALL,
        ),
        backbone="small",
        weights=None,
    ),
    "tiny": RunConfig(
        data=DataConfig(source="tiny", height=32, width=16, frames=3, pad=2),
        recipe=Recipe(identities=4, tracklets=2, steps=4, **_SMALL),
        backbone="micro",
        weights=None,
    ),
}
_STANDARD = _PRESETS["standard"]
_PRESETS["half"] = replace(
    _STANDARD,
    data=replace(_STANDARD.data, source="half"),
    recipe=replace(_STANDARD.recipe, steps=_STANDARD.recipe.steps // 2),
)
