"""Tables of IBAN: row of the paper, or of ours -> switches that it changes."""

from __future__ import annotations

from vvi.methods.base import in_main_reading

#: What Baseline+IG leaves out.
PLAIN = {"bsta": False, "esb": False}
#: Weights of Fig. 7 by their name in the paper: field, its value in the main reading,
#: all values of the sweep. Paper: it sweeps around 1.5, 1.5 and 1, and its values are
#: not printed. Ours go around the main reading, 1, 1 and 1.
GRID = {
    "lambda_1": ("lambda_tri", 1, (0.5, 1, 1.5, 2.5)),
    "lambda_2": ("lambda_esb", 1, (0.3, 1, 3)),
    "lambda_3": ("lambda_cr", 1, (0.3, 1, 3)),
}


def _sweeps() -> dict[str, dict]:
    """Return the rows of Fig. 7: one weight of the main reading changed."""
    rows = {}
    for label, (name, usual, values) in GRID.items():
        for value in values:
            rows[f"{label}={value}"] = {} if value == usual else {name: value}
    return rows


TABLES: dict[str, dict[str, dict]] = {
    "Fig. 1": {
        "frames": {"method": "baseline"},
        "anaglyphs": {"method": "baseline", "reads": "anaglyphs"},
    },
    "Table I": {"IBAN*": {"bsta": False}, "IBAN": {}},
    "Table II": {
        "Baseline": {"ig": False, "bsta": False, "esb": False},
        "Baseline+IG^-r": {"cr": False, **PLAIN},
        "Baseline+IG": PLAIN,
        "Baseline+BSTA": {"ig": False, "esb": False},
        "Baseline+ESB": {"ig": False, "bsta": False},
        "Baseline+IG+ESB+BSTA^-b": {"directions": "forward"},
        "Baseline+IG+ESB+BSTA^-l": {"temporal": "mean"},
        "Baseline+IG+ESB+BSTA^-a": {"attention": False},
        "Baseline+IG+ESB+BSTA": {},
    },
    "Fig. 6": {
        "easy sample": {},
        "hard sample": {"esb_sample": "hard"},
        "easy sample of the same person": {"esb_same_id": True},
        "neither": {"esb": False},
    },
    "Readings": {
        "main": {},
        "literal": {"variant": "paper"},
        "literal, Baseline+IG": {"variant": "paper", **PLAIN},
        "released": {"variant": "released"},
        "losses after the neck": {"metric_feat": "post"},
        "frame weights w": {"plus_one": False},
        "frame weights relative": {"relative_weights": True},
        "frame weights relative, Baseline+BSTA": {
            "ig": False,
            "esb": False,
            "relative_weights": True,
        },
        "raw view": {"ig_layout": "raw_view"},
    },
    "Fig. 7": _sweeps(),
}

#: Table or figure -> row -> switches that it changes, in the main reading.
ABLATIONS = in_main_reading(TABLES)
#: Recipe at the size of the paper, by table: 16 clips a step.
PAPER_RECIPE = {table: {"identities": 4} for table in ABLATIONS}
#: The row that stands for the paper.
MAIN = ("Table II", "Baseline+IG+ESB+BSTA")
#: Tables that run on the first seed only: curves over a setting.
SWEEPS = ("Fig. 7",)
#: What `vvi tune` may choose.
TUNED = {
    "lambda_tri": (0.5, 1.0, 1.5),
    "lambda_esb": (0.1, 0.3, 1.0, 3.0),
    "lambda_cr": (0.3, 1.0, 3.0),
    "cr_start": (0.0, 40.0, 80.0),
}
