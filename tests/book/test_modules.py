"""Diagrams of modules: each is drawn with words, and their shapes are those of models."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from vvi import methods
from vvi.book import modules
from vvi.plots import diagram, pull, style

SIZE = {"num_ids": 500, "backbone": "resnet50", "frames": 6}
LETTERS = {"BT": 6, "2BT": 12, "3BT": 18, "B": 1, "2B": 2, "3B": 3, "T": 6, "p": 3}


def shape_of(name: str, box: str) -> tuple[int, ...]:
    """Return the shape that a diagram states, for one clip of six frames."""
    boxes, _ = diagram.read(modules.MODULES[name].text)
    text = next(b.shape for b in boxes if b.name == box)
    numbers = re.search(r"\(([^()]*)\)$", text)[1].split(", ")
    return tuple(LETTERS[n] if n in LETTERS else int(n) for n in numbers)


@pytest.fixture
def figures(tmp_path, monkeypatch):
    monkeypatch.setenv("VVI_FIGURES", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", modules.MODULES)
def test_a_module_is_drawn_with_caption_and_alternative_text(name, figures):
    fig = modules.show(name)
    assert fig.caption.endswith(".") and fig.alt.endswith(".")
    assert fig.caption != fig.alt
    assert (figures / f"{name}.png").is_file()


def test_the_shapes_of_tmr_are_those_of_the_model():
    with torch.device("meta"):
        model = methods.load("mitml", **SIZE).eval()
        f1 = f2 = torch.zeros(2, 6, 2048)
        states, clip = model.memory.lstm(f1)[0], model.memory(f1, f2)
    assert tuple(states.shape) == shape_of("mitml/tmr", "L")
    assert tuple(clip.shape) == shape_of("mitml/tmr", "M")
    assert tuple(model.modal(clip).shape) == shape_of("mitml/players", "W")


def test_the_shapes_of_guidance_are_those_of_the_model():
    from vvi.methods import iban

    seen = {}
    with torch.device("meta"):
        model = methods.load("iban", **SIZE).eval()
        guide = next(m for m in model.modules() if isinstance(m, iban.Guide))
        maps = torch.zeros(12, 1024, 18, 9)
        seen["Q"], seen["K"], seen["G"] = guide.query_key_value(maps, maps, 6)
    for box, value in seen.items():
        assert sorted(value.shape[-2:]) == sorted(shape_of("iban/ig", box)[1:]), box


def test_the_shapes_of_stripes_are_those_of_the_model():
    with torch.device("meta"):
        model = methods.load("sadstrm", **SIZE).eval()
        maps = torch.zeros(12, 2048, 18, 9)
        stripes = model.stig.cut(maps, 6)
        motion = model.stig.motion(stripes)
        embedding = model.stig(maps, 6)
    assert tuple(stripes.shape) == shape_of("sadstrm/stig", "K")
    assert tuple(motion.shape) == shape_of("sadstrm/stig", "L")
    assert embedding.flatten(1).shape[1] == shape_of("sadstrm/stig", "C")[1]


def test_the_shapes_of_part_attention_are_those_of_the_model():
    with torch.device("meta"):
        model = methods.load("di2l", **SIZE).eval()
        parts = torch.zeros(3, 3, 2048)
        attention = model.dpa.attention(parts)
    assert tuple(attention.shape) == shape_of("di2l/dpa", "S")
    assert tuple(parts.shape) == shape_of("di2l/dpa", "P")


def test_the_easy_sample_is_the_nearest_and_the_hard_one_the_farthest(figures):
    fig = modules.easy_and_hard()
    assert (figures / "iban" / "easy_and_hard.png").is_file()
    easy, hard = ([t.get_text() for t in ax.texts] for ax in fig.axes[:2])
    assert easy.count("pulls") == hard.count("pulls") == 1
    assert "easy sample" not in easy


def test_an_arrow_is_whole_where_the_clip_and_its_target_show_one_person():
    vis = np.array([[0.0, 0], [1, 0], [2, 0]])
    ids = np.array([1, 2, 2])
    fig = pull.draw(vis, vis + [0, 1], ids, {"a stranger": (0, 1)})
    arrows = [t.arrow_patch for t in fig.axes[0].texts if t.arrow_patch]
    colours = [to_hex(arrow.get_edgecolor()) for arrow in arrows]
    assert colours == [style.WRONG, style.RIGHT]
