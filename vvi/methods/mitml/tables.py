"""Tables of MITML: row of the paper, or of ours -> switches that it changes."""

from __future__ import annotations

from vvi.methods.base import FRAME_COUNTS, in_main_reading

TABLES: dict[str, dict[str, dict]] = {
    "Table 2": {
        "Baseline": {"method": "baseline"},
        "Baseline + M": {"temporal": "mean"},
        "Baseline + T": {"adversary": "none"},
        "Full method S (shuffled frames)": {"shuffle": "both"},
        "Full method": {},
    },
    # Paper: prints cmGAN and UCDA for the first two rows
    "Table 3": {
        "cmGAN strategy": {"adversary": "flip"},
        "UCDA strategy": {"adversary": "uniform"},
        "Our method": {},
    },
    "Fig. 6": {f"n={n}": {"method": "baseline", "frames": n} for n in FRAME_COUNTS},
    "Readings": {
        "main": {},
        "literal": {"variant": "paper"},
        "released": {"variant": "released"},
        "gates driven by the last output": {"eta": "last"},
        "half outside the gate (Eq. 2 as printed)": {"gate_half_outside": True},
    },
    "The game": {
        "no game": {"adversary": "none"},
        "from the first step": {"adv_start": 0},
        "after the first drop": {},
        "after the second drop": {"adv_start": 80},
        "from the first step, weight 0.05": {"adv_start": 0, "lambda_adv": 0.05},
        "from the first step, weight 0.3": {"adv_start": 0, "lambda_adv": 0.3},
        "from the first step, classifier at a hundredth": {
            "adv_start": 0,
            "modal_lr": 1e-4,
        },
    },
}

#: Table or figure -> row -> switches that it changes, in the main reading.
ABLATIONS = in_main_reading(TABLES)
#: The row that stands for the paper.
MAIN = ("Table 2", "Full method")
#: Tables that run on the first seed only.
SWEEPS = ()
#: What `vvi tune` may choose.
TUNED = {
    "lambda_adv": (0.05, 0.3, 1.0),
    "adv_start": (0.0, 60.0, 80.0, 120.0),
    "modal_lr": (1e-4, 1e-3, 1e-2),
}
