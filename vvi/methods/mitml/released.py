"""Names in the released checkpoint of MITML, read by `vvi.weights`."""

from __future__ import annotations

from torch import Tensor

from vvi.methods.mitml.config import Config

#: Stems, released -> ours.
STEMS = {
    "visible_module.visible.conv1.": "trunk.stems.vis.0.",
    "visible_module.visible.bn1.": "trunk.stems.vis.1.",
    "thermal_module.thermal.conv1.": "trunk.stems.ir.0.",
    "thermal_module.thermal.bn1.": "trunk.stems.ir.1.",
}
#: Modules that keep their inner names, released -> ours.
WHOLE = {
    "bottleneck.": "neck.norm.",
    "classifier.": "neck.classifier.",
    "first_layer.": "modal.blocks.0.",
}


def released_config(tensors: dict[str, Tensor]) -> Config:
    """Read the config of a released checkpoint from its tensors by our names."""
    return Config(
        # 1 where there is none: `vvi.weights.fill` names what is missing
        frames=len(tensors.get("memory.fc.weight", ())) or 1,
        variant="released",
        adversary="third" if "modal.out.weight" in tensors else "none",
    )


def _gate_keys() -> list[tuple]:
    """Map the layers of each frame position t to row t of a stacked parameter."""
    learning, keys = "temporal_feat_learning", []
    for t, letter in enumerate("abcdef"):
        keys.append((f"{learning}.{letter}.", "memory.fc.", t))
        keys.append((f"{learning}.se_{t + 1}.fc.0.", "memory.squeeze.", t))
        keys.append((f"{learning}.se_{t + 1}.fc.2.", "memory.excite.", t))
    return keys


def _ignored() -> list[str]:
    """List networks of which one layer is used, second necks and classifiers."""
    prefixes = [f"visible_module.visible.layer{n}." for n in (1, 2, 3, 4)]
    prefixes += [f"thermal_module.thermal.layer{n}." for n in (1, 2, 3, 4)]
    prefixes += ["base_resnet.base.conv1.", "base_resnet.base.bn1."]
    prefixes += ["bottleneck1.", "classifier1.", "classifier2."]
    prefixes += [f"temporal_feat_learning.se_{t}.l." for t in range(1, 7)]
    return prefixes


#: Released prefix -> ours, and the row of a stacked parameter where there is one.
RELEASED_KEYS: tuple[tuple, ...] = (
    *STEMS.items(),
    *((f"base_resnet.base.layer{n}.", f"trunk.layer{n}.") for n in (1, 2, 3, 4)),
    ("base_resnet.layer4.", "attention."),
    ("lstm.", "memory.lstm."),
    *_gate_keys(),
    *WHOLE.items(),
    *((f"layers.{n}.", f"modal.blocks.{n + 1}.") for n in range(7)),
    ("Liner.", "modal.out."),
)
#: Prefixes of dead weight.
RELEASED_IGNORED = tuple(_ignored())
