"""A set of fourteen people that is drawn in a second, in any layout."""

from vvi.data.synthetic.presets import Plan, Preset

SMALL = Preset(
    "small",
    Plan(10, full=0, last=(12, 14)),
    Plan(4, full=0, last=(12, 14)),
    32,
    16,
    still=(6, 2, 3),
    paired=6,
)
