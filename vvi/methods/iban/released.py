"""Names in the released checkpoint of IBAN, read by `vvi.weights`."""

from __future__ import annotations

from torch import Tensor

from vvi.methods.iban.config import Config

#: Suffix of a released name -> our trunk: the network of frames, that of anaglyphs.
BRANCHES = {"": "trunk", "_f": "intermediary"}
#: Released modality -> ours.
MODALITIES = {"visible": "vis", "thermal": "ir"}
#: Released half of a trunk -> stage after which its guide stands.
HALVES = {"fir": 3, "sec": 4}
#: Layers of a `Guide`, released -> ours.
ATTENTION = {
    "theta": "theta",
    "phi.0": "phi",
    "g.0": "g",
    "W.0": "out",
    "W.1": "norm",
}
#: Modules that keep their inner names, released -> ours.
WHOLE = {
    "bottleneck": "neck.norm",
    "bottleneck_f": "anaglyph_norm",
    "classifier": "neck.classifier",
    "lstm_o": "bsta.forth",
    "lstm_r": "bsta.back",
}


def released_config(tensors: dict[str, Tensor]) -> Config:
    """Read the config of a released checkpoint from its tensors by our names."""
    # 1 where there is none: `vvi.weights.fill` names what is missing
    frames = len(tensors.get("bsta.fc.weight", ())) or 1
    return Config(frames=frames, variant="released")


def _trunk_keys() -> list[tuple]:
    keys = []
    for suffix, trunk in BRANCHES.items():
        for theirs, modality in MODALITIES.items():
            stem = f"{theirs}_module{suffix}.{theirs}."
            keys.append((f"{stem}conv1.", f"{trunk}.stems.{modality}.0."))
            keys.append((f"{stem}bn1.", f"{trunk}.stems.{modality}.1."))
    for suffix, trunk in BRANCHES.items():
        for n in (1, 2, 3, 4):
            half = "sec" if n == 4 else "fir"
            stage = f"base_resnet_{half}{suffix}.base.layer{n}."
            keys.append((stage, f"{trunk}.layer{n}."))
    return keys


def _guide_keys() -> list[tuple]:
    keys = []
    for half, n in HALVES.items():
        for theirs, ours in ATTENTION.items():
            layer = f"cross_atten_{half}.cross_atten.{theirs}."
            keys.append((layer, f"guide{n}.{ours}."))
    for half, n in HALVES.items():
        level = n - 3
        keys.append((f"chonggou_v2t_{half}.conv.0.", f"cross.vis_to_ir.{level}."))
        keys.append((f"chonggou_t2v_{half}.conv.0.", f"cross.ir_to_vis.{level}."))
    return keys


def _gate_keys() -> list[tuple]:
    """Map the layers of each frame position t to row t of a stacked parameter."""
    learning = "temporal_feat_learning"
    keys = [
        (f"{learning}.{letter}.", "bsta.fc.", t) for t, letter in enumerate("abcdef")
    ]
    for t in range(6):
        keys.append((f"{learning}.se_{t + 1}.fc.0.", "bsta.squeeze.", t))
        keys.append((f"{learning}.se_{t + 1}.fc.2.", "bsta.excite.", t))
    return keys


def _ignored() -> list[str]:
    """List whole networks of which a few layers are used."""
    prefixes = ["base_resnet."]
    for suffix in BRANCHES:
        for theirs in MODALITIES:
            stem = f"{theirs}_module{suffix}.{theirs}."
            prefixes += [f"{stem}layer{n}." for n in (1, 2, 3, 4)]
        first = f"base_resnet_fir{suffix}.base."
        prefixes += [first + layer for layer in ("conv1.", "bn1.", "layer4.")]
        second = f"base_resnet_sec{suffix}.base."
        prefixes += [second + layer for layer in ("conv1.", "bn1.")]
        prefixes += [f"{second}layer{n}." for n in (1, 2, 3)]
    prefixes += [f"temporal_feat_learning.se_{t}.l." for t in range(1, 7)]
    return prefixes


#: Released prefix -> ours, and the row of a stacked parameter where there is one.
RELEASED_KEYS: tuple[tuple, ...] = (
    *_trunk_keys(),
    *_guide_keys(),
    *((f"{theirs}.", f"{ours}.") for theirs, ours in WHOLE.items()),
    *_gate_keys(),
)
#: Prefixes of dead weight.
RELEASED_IGNORED = tuple(_ignored())
