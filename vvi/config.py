"""Configuration of a run: frozen dataclasses, presets, JSON and hash.

A `RunConfig` names a method, the method options that differ from the paper's defaults,
the data, the recipe and the seed. Two runs with equal hashes compute the same numbers.
Where and how fast a run computes (device, workers, folders) is not part of it.
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
Split = Literal["test", "val"]
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
    """Which tracklets a run reads, and how a clip is cut and augmented."""

    #: Preset of the synthetic data, optionally with a world ("half+bars=0.3", see
    #: `vvi.data.synthetic.world`), or "real" for the folder `$VVI_DATA`.
    source: str = "standard"
    #: Seed that the synthetic data are drawn with.
    seed: int = 0
    #: Layout of the folder, one of `vvi.data.LAYOUTS`.
    layout: str = "hitsz-vcm"
    #: Frame height in pixels.
    height: int = 288
    #: Frame width in pixels.
    width: int = 144
    #: T, frames of a clip.
    frames: int = 6
    #: Tracklets with fewer frames are dropped (HITSZ-VCM).
    min_seq_len: int = 12
    #: Zero padding in pixels before the random crop.
    pad: int = 10
    #: Probability of a horizontal flip.
    flip: float = 0.5
    #: Unit for which crop and flip are drawn.
    augment_per: Literal["frame", "clip"] = "frame"
    #: People of the evaluation. Hyperparameters are chosen on "val" alone, and training
    #: never reads either.
    split: Split = "test"
    #: Treatment of faults in a real set: True refuses all of them, False reads on past
    #: every readable one, None repairs or skips the harmless and refuses the rest.
    strict: bool | None = None
    #: Whether frames of HITSZ-VCM that are listed in the range of another person,
    #: modality or camera stay in the tracklet.
    foreign: Literal["keep", "drop"] = "keep"
    #: Also train on the auxiliary people of BUPTCampus.
    auxiliary: bool = False
    #: Distance between the frames of a clip: 0 takes one from each of T equal parts. A
    #: distance s takes T frames s apart, from a random start in training and from the
    #: middle of the tracklet in evaluation.
    stride: int = 0

    def __post_init__(self):
        settle(self)
        check_fields(DataConfig, vars(self), _BOUNDS)

    @property
    def synthetic(self) -> bool:
        """Whether the pixels are generated. "real:<digest>" names a real data set."""
        return not self.source.startswith("real")


#: Defaults of data fields that were added after records had been stored. A field at its
#: default stays out of the JSON, so older records keep their hashes.
_LATER_FIELDS = {
    name: getattr(DataConfig(), name)
    for name in ("strict", "foreign", "auxiliary", "stride")
}


@dataclass(frozen=True)
class Recipe:
    """Batches, optimiser and schedule. The defaults are those of MITML, Sec. 6.1.

    Paper: silent on Nesterov and on the length of the warm-up, and only the first
    convolutions learn at a tenth (`slow`). These three are the released code's, as are
    padding and the probability of a flip in `DataConfig`.
    """

    #: P, identities of a batch.
    identities: int = 8
    #: K, tracklets per identity and modality.
    tracklets: int = 2
    #: Length of a run on the paper's clock, whatever its number of steps.
    epochs: int = 200
    #: Optimiser steps spread over `epochs`. None makes an epoch one pass of the
    #: sampler.
    steps: int | None = None
    optimiser: Literal["sgd", "adamw"] = "sgd"
    #: Peak learning rate.
    lr: float = 0.1
    #: Factor on `lr` for the parts that a method lists as `slow`, such as the trunk.
    slow: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    #: Length of the linear warm-up in epochs.
    warmup: int = 10
    #: Epochs at which the learning rate drops by `gamma`.
    milestones: tuple[int, ...] = (35, 80)
    gamma: float = 0.1
    #: "steps" multiplies by `gamma` at each milestone. "cosine" is half a cosine down
    #: to zero. "one-cycle" rises over 3/10 of the run and then falls by half a cosine,
    #: without warm-up.
    schedule: Schedule = "steps"
    #: Length of the warm-up in steps, in place of `warmup`.
    warmup_steps: int | None = None
    #: Share of the run at which each milestone is reached, so that whatever a paper
    #: ties to an epoch stays on the same side of each drop. Empty keeps equal epochs.
    drops: tuple[float, ...] = ()
    precision: Literal["32-true", "bf16-mixed"] = "32-true"

    def __post_init__(self):
        settle(self)
        check_fields(Recipe, vars(self), _BOUNDS)
        if self.drops and not self._drops_fit():
            raise ValueError(
                f"drops={self.drops!r} does not fit: one share of the run, ascending "
                f"between 0 and 1, for each of the milestones {self.milestones}, "
                f"which ascend between 0 and epochs={self.epochs}"
            )

    def _drops_fit(self) -> bool:
        ends = itertools.pairwise((0.0, *self.drops, 1.0))
        epochs = itertools.pairwise((0, *self.milestones, self.epochs))
        ascending = all(low < high for low, high in (*ends, *epochs))
        return ascending and len(self.drops) == len(self.milestones)


@dataclass(frozen=True)
class RunConfig:
    """One training run and its evaluation."""

    #: Name of the method (`vvi.methods.names`).
    method: str = "baseline"
    #: Fields of the method's `Config` that differ from the paper's defaults.
    options: Mapping[str, Any] = field(default_factory=dict)
    data: DataConfig = DataConfig()
    recipe: Recipe = Recipe()
    #: Trunk of the network.
    backbone: str = "resnet50"
    #: Pretrained weights of the trunk, None for random ones.
    weights: str | None = "imagenet"
    #: Seed of initialisation, sampling and augmentation.
    seed: int = 0
    #: Preset that the config began as.
    preset: Preset = "paper"

    def __post_init__(self):
        settle(self)
        check_fields(RunConfig, vars(self), _BOUNDS)

    def to_json(self) -> str:
        """Return canonical JSON: sorted keys, no spaces, later fields only if set."""
        content = asdict(self) | {"options": dict(self.options)}
        for name, default in _LATER_FIELDS.items():
            if content["data"][name] == default:
                del content["data"][name]
        return json.dumps(content, sort_keys=True, separators=(",", ":"))

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits of the JSON, the name of the run folder."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]


_RUN_FIELDS = {f.name for f in fields(RunConfig)} - {"options", "data", "recipe"}
_DATA_FIELDS = {f.name for f in fields(DataConfig)}
_RECIPE_FIELDS = {f.name for f in fields(Recipe)}


def from_json(text: str) -> RunConfig:
    """Read what `RunConfig.to_json` wrote.

    Raises:
        ValueError: naming a field that is unknown or whose value does not fit.
    """
    return _build(RunConfig, json.loads(text))


def change(config: RunConfig, /, **changes: Any) -> RunConfig:
    """Copy a config with some fields changed, named without their dataclass.

    `change(config, frames=4, lr=0.01, variant="released")` looks each name up in
    `RunConfig`, `DataConfig` and `Recipe`, in this order. `data_seed` means
    `data.seed`, and every other name is an option of the method, checked by
    `methods.config`. A list becomes a tuple.

    Raises:
        ValueError: naming a value that does not fit.
    """
    run, data, recipe, options = {}, {}, {}, dict(config.options)
    for name, value in changes.items():
        value = validation.of_python(value)
        value = tuple(value) if isinstance(value, list) else value
        if name in _RUN_FIELDS:
            run[name] = value
        elif name == "data_seed":
            data["seed"] = value
        elif name in _DATA_FIELDS:
            data[name] = value
        elif name in _RECIPE_FIELDS:
            recipe[name] = value
        else:
            options[name] = value
    return replace(
        config,
        **run,
        data=replace(config.data, **data) if data else config.data,
        recipe=replace(config.recipe, **recipe) if recipe else config.recipe,
        options=dict(sorted(options.items())),
    )


def preset(
    name: str,
    method: str = "baseline",
    seed: int = 0,
    world: str | Mapping[str, float] | None = None,
    **changes: Any,
) -> RunConfig:
    """Return the config of a method at one of the `PRESETS`.

    Args:
        name: size of the run.
        method: name of the method.
        seed: seed of training.
        world: cues of the synthetic data by dose, {"bars": 0.3} or "bars=0.3".
        **changes: fields that differ, as in `change`.

    Raises:
        ValueError: there is no such preset, or a value does not fit. Knobs of a world
            are checked where the data are opened (`synthetic.presets.find`).
    """
    name = validation.choice("preset", name, PRESETS)
    if name == "paper":
        changes = _layout_changes(changes.get("layout", ""), method) | changes
    base = replace(_PRESETS[name], method=method, seed=seed, preset=name)
    config = change(base, **changes)
    return config if world is None else _with_world(config, world)


def _with_world(config: RunConfig, world: str | Mapping[str, float]) -> RunConfig:
    if not config.data.synthetic:
        raise ValueError(f"world={world!r}: only drawn data have a world")
    if isinstance(world, Mapping):
        world = "+".join(f"{knob}={dose:g}" for knob, dose in world.items())
    return change(config, source="+".join(filter(None, (config.data.source, world))))


def for_layout(config: RunConfig, layout: str) -> RunConfig:
    """Return the config for a data set of another layout than it names.

    At preset "paper" every layout has its own recipe. It replaces what the config took
    from the preset and leaves fields that were changed since.
    """
    if config.preset != "paper" or layout == config.data.layout:
        return change(config, layout=layout)
    usual, current = _flat(preset("paper", config.method)), _flat(config)
    changes = {
        name: value
        for name, value in _layout_changes(layout, config.method).items()
        if current.get(name) == usual.get(name)
    }
    return change(config, layout=layout, **changes)


def _flat(config: RunConfig) -> dict[str, Any]:
    return dict(config.options) | vars(config.data) | vars(config.recipe)


def _layout_changes(layout: str, method: str) -> dict[str, Any]:
    """Return how the recipe of a layout differs from that of HITSZ-VCM.

    BUPTCampus: as its authors print it, except for their trunk (ResNet-34). Image sets:
    one frame per clip and 8 x 4 images of each modality in a batch, as DI2L and AGW.
    """
    if layout in ("sysu-mm01", "regdb"):
        return dict(frames=1, tracklets=4)
    if layout != "buptcampus":
        return {}
    size = dict(height=256, width=128, frames=10, augment_per="clip")
    adam = dict(optimiser="adamw", lr=2e-4, slow=1.0, weight_decay=0.0)
    margin = dict(margin=0.6) if method == "baseline" else {}
    return size | adam | margin


def _build(kind: type, values: Any) -> Any:
    """Make a config dataclass, and those inside it, from parsed JSON."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{kind.__name__} needs fields by name, not {values!r}")
    expected = hints(kind)
    if unknown := set(values) - set(expected):
        raise ValueError(f"{kind.__name__} has no field {', '.join(sorted(unknown))}")
    return kind(**{name: _parse(v, expected[name]) for name, v in values.items()})


def _parse(value: Any, hint: Any) -> Any:
    if is_dataclass(hint):
        return _build(hint, value)
    return tuple(value) if isinstance(value, list) else value


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
