"""Tables of DI2L: row of the paper -> switches and data that it changes."""

from __future__ import annotations

from vvi.methods.base import in_main_reading

# CAJ and its rows take the triplet of the variant, which in main is AGW's: the row
# "Baseline, triplet squared" is CAJ to the letter
AGW = dict(rca="off", erase=0.0, dpa=False, id_loss="ce", tri_loss="wrt")
CAJ = dict(dpa=False, id_loss="ce")
DPA = dict(id_loss="ce")
# the paper's batch: 8 x 4 images of each stream
SYSU = dict(layout="sysu-mm01", frames=1, identities=8, tracklets=4)
REGDB = dict(layout="regdb", frames=1, identities=8, tracklets=4)

TABLES: dict[str, dict[str, dict]] = {
    "Table 2": {"Baseline": CAJ, "Baseline+DPA": DPA, "Baseline+DPA+I2L": {}},
    "Parts of the baseline": {
        # clips are not erased: CAJ without its stream of one channel is AGW
        "AGW": CAJ | {"rca": "off"},
        "no non-local blocks": CAJ | {"non_local": "off"},
        "CAJ": CAJ,
    },
    "Readings": {
        "main": {},
        "literal": {"variant": "paper"},
        "released parts": {"variant": "released"},
        "triplet squared": {"tri_loss": "wrt_sq"},
        "DPA not scaled": {"dpa_scale": "none"},
        "DPA of unit vectors": {"dpa_scale": "unit"},
        "DPA of unit vectors, Baseline+DPA": DPA | {"dpa_scale": "unit"},
        "Baseline, triplet squared": CAJ | {"tri_loss": "wrt_sq"},
        # four do not overlap on the four rows of the small trunk, three do
        "Baseline+DPA, four stripes": DPA | {"parts": 4},
        "DPA of unit vectors, Baseline+DPA, four stripes": DPA
        | {"dpa_scale": "unit", "parts": 4},
    },
    # Paper: does not print its grid of gamma, this one is ours
    "Fig. 2(b)": {
        "gamma=0": {"focal_gamma": 0.0},
        "gamma=1": {"focal_gamma": 1.0},
        "gamma=2": {},
        "gamma=5": {"focal_gamma": 5.0},
    },
    "SYSU-MM01 (images)": {
        "AGW": SYSU | AGW,
        "Baseline": SYSU | CAJ,
        "Baseline+DPA": SYSU | DPA,
        "Baseline+DPA+I2L": SYSU,
    },
    "RegDB (images)": {"AGW": REGDB | AGW, "CAJ": REGDB | CAJ, "DI2L": REGDB},
}
#: Table or figure -> row -> switches that it changes, in the main reading.
ABLATIONS = in_main_reading(TABLES)
#: The row that stands for the paper.
MAIN = ("Table 2", "Baseline+DPA+I2L")
#: Tables that are curves over a setting, run on the first seed only.
SWEEPS = ("Fig. 2(b)",)
#: Tables of ten trials, each a model of its own: seeds 0 to 9.
TRIALS = ("RegDB (images)",)
#: Table -> the paper's epochs and milestones, used at the size of the paper. The rates
#: are CAJ's.
PAPER_RECIPE = {
    table: dict(epochs=120, milestones=(20, 50))
    for table in ("SYSU-MM01 (images)", "RegDB (images)")
}
#: What `vvi tune` may choose.
TUNED = {
    "lambda_tri": (0.3, 1.0, 3.0),
    "focal_gamma": (0.5, 1.0, 2.0, 3.0),
    "parts": (1, 2, 3, 4),
}
