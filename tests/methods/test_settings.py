"""Every row can be built at every size, and no setting takes a senseless value."""

from __future__ import annotations

import math
from numbers import Real

import numpy as np
import pytest
import torch

from vvi import methods
from vvi.config import PRESETS
from vvi.data.transforms import augment
from vvi.experiment import ablation
from vvi.methods import cmft, di2l, iban, mitml, sadstrm
from vvi.runtime.fields import literal_values

SOUND = {
    "baseline": {"margin": 0.0},
    "mitml": {"adv_start": 0.0, "reduction": 1},
    "iban": {"lambda_esb": 0.0},
    "sadstrm": {"parts": 1, "step_two": 0.0},
    "di2l": {"erase": 1.0, "focal_gamma": 0.0, "parts": 1},
    "cmft": {"self_pair_prob": 1.0, "switch": 0.0},
}


@pytest.mark.parametrize("size", PRESETS)
@pytest.mark.parametrize("method", methods.names())
def test_every_row_has_settings_that_its_method_takes(method, size):
    for label, config in ablation.labelled_rows(method, size).items():
        settings = methods.config(config.method, **config.options)
        assert settings.frames > 0, label


@pytest.mark.parametrize("method", methods.names())
def test_every_number_of_a_method_has_bounds_and_is_refused_beyond(method):
    kind = methods.module(method).Config
    for name, value in vars(kind()).items():
        hint = kind.__dataclass_fields__[name].type
        is_number = "int" in hint or "float" in hint
        if not is_number or literal_values(hint) or "Literal" in hint:
            continue
        least, most = kind.BOUNDS[name]
        whole = isinstance(value, int) and not isinstance(value, bool)
        beyond = [least - 1] + ([most + 1] if most < math.inf else [])
        for number in beyond:
            with pytest.raises(ValueError, match=f"{name}={number}.* must be at least"):
                methods.config(method, **{name: number if whole else float(number)})
        assert isinstance(value, Real | None)


@pytest.mark.parametrize("method", methods.names())
def test_a_config_made_directly_is_checked_as_one_made_by_name(method):
    kind = methods.module(method).Config
    wrong = {"frames": 0, "margin": -1.0, "backbone": 3, "step_two": "late"}
    wrong |= {"reduction": 0, "parts": 0, "erase": 2.0, "self_pair_prob": 3.0}
    wrong |= {"shift": "no", "plus_one": 2, "gate_half_outside": "x", "gate": "x"}
    for name in wrong.keys() & kind.__dataclass_fields__:
        with pytest.raises(ValueError, match=rf"^{name}=") as by_name:
            methods.config(method, **{name: wrong[name]})
        with pytest.raises(ValueError, match=rf"^{name}=") as directly:
            kind(**{name: wrong[name]})
        assert str(by_name.value) == str(directly.value)


FEAT, IDS = torch.arange(8.0).view(4, 2), torch.tensor([0, 0, 1, 1])
FRAMES = torch.zeros(2, 1, 3, 4, 4)
#: Option -> a public function or block, called with a word that it does not know.
UNKNOWN = {
    "mode": lambda word: cmft.cross_modal_loss(FEAT, FEAT, FEAT, IDS, mode=word),
    "metric": lambda word: cmft.refinement_loss(FEAT, FEAT, FEAT, IDS, word),
    "negatives": lambda word: cmft.discriminative_loss(FEAT, FEAT, IDS, word),
    "gate": lambda word: cmft.Cascade((16,) * 5, gate=word),
    "reduction": lambda word: iban.reconstruction_loss(*[FEAT] * 4, word),
    "reduction ": lambda word: iban.easy_sample_loss(FEAT, FEAT, IDS, reduction=word),
    "metric ": lambda word: iban.easy_sample_loss(FEAT, FEAT, IDS, metric=word),
    "sample": lambda word: iban.easy_samples(FEAT, FEAT, sample=word),
    "query": lambda word: iban.Guide(4, query=word),
    "layout": lambda word: iban.Guide(4, layout=word),
    "scope": lambda word: iban.Guide(4, scope=word),
    "variant": lambda word: iban.anaglyph(FRAMES, word),
    "per": lambda word: augment(FRAMES.byte(), np.random.default_rng(), 1, 0, word),
    "eta": lambda word: mitml.TemporalMemory(16, 2, word),
    "query ": lambda word: sadstrm.Attention(4, word),
    "scale": lambda word: di2l.PartAttention(4, 2, scale=word),
}


@pytest.mark.parametrize("option", UNKNOWN)
def test_a_word_that_a_loss_or_a_block_does_not_know_is_refused(option):
    with pytest.raises(ValueError, match=rf"^{option.strip()}='euclidaen': choose fr"):
        UNKNOWN[option]("euclidaen")


def test_the_third_class_needs_logits_of_three_classes():
    with pytest.raises(ValueError, match="needs logits of K = 3 classes, got K = 2"):
        mitml.confusion_loss(FEAT, FEAT)


@pytest.mark.parametrize("method", methods.names())
def test_a_value_on_the_bound_is_taken(method):
    settings = methods.config(method, **SOUND[method])
    assert all(getattr(settings, k) == v for k, v in SOUND[method].items())


def test_the_plain_row_of_cmft_keeps_the_clock_of_the_paper_and_not_its_switch():
    plain, cmft = (
        ablation.row_configs("cmft", "Same batches", row, "paper", [0])[0]
        for row in ("Baseline", "CMFT")
    )
    assert plain.recipe == cmft.recipe and plain.recipe.epochs == 24
    assert plain.options == {} and cmft.options["switch"] == 8.0


def test_sadstrm_has_the_optimiser_that_its_paper_prints():
    """Sec. IV-B; card, section 5."""
    label = "Baseline+ASAM+ADM+FRM-STIG"
    (config,) = ablation.row_configs("sadstrm", "Table 1", label, "paper", [0])
    assert (config.recipe.lr, config.recipe.nesterov) == (0.12, False)
    (usual,) = ablation.row_configs("sadstrm", "Table 1", label, "standard", [0])
    assert usual.recipe.lr != 0.12


@pytest.mark.parametrize(
    ("method", "base", "rows"),
    [
        (
            "iban",
            "main",
            ("losses after the neck", "frame weights w", "frame weights relative"),
        ),
        (
            "cmft",
            "literal (two whole networks)",
            (
                "begun apart",
                "stages 4 to 6 shared",
                "triplet across the modalities",
                "triplet in stage 2, too",
            ),
        ),
    ],
)
def test_a_reading_that_changes_one_setting_changes_one(method, base, rows):
    readings = ablation.configs(method, "Readings", "standard", [0])
    before = vars(methods.config(method, **readings[base][0].options))
    for row in rows:
        after = vars(methods.config(method, **readings[row][0].options))
        assert len([k for k in after if after[k] != before[k]]) == 1, row
