"""Whether the clip vectors of a run ended as one point."""

from __future__ import annotations

import numpy as np

from vvi import methods
from vvi.experiment.result import Result

#: What methods with frame weights watch, and where clip vectors count as one point.
VARIANCE = "watch/variance before the neck"
SMALL_VARIANCE = 1e-3
#: The triplet, and the share of its margin from which on it counts as resting there.
TRIPLET = "encoder/triplet"
AT_MARGIN = 0.95
#: Steps at the end of training whose mean counts.
LAST = 50


def has_collapsed(result: Result) -> bool:
    """Return whether the clip vectors of a run ended as one point.

    That is where their variance before the neck, which methods with frame weights
    watch, ends below `SMALL_VARIANCE`, and the triplet at its margin. A triplet that
    reads vectors behind the neck does not mind how short they are before it.
    """
    terms = (VARIANCE, TRIPLET)
    values = [np.asarray(result.history.get(term, []), float) for term in terms]
    active = [line[np.isfinite(line)] for line in values]
    if not all(map(len, active)):
        return False
    variance, triplet = (line[-LAST:].mean() for line in active)
    settings = methods.config(result.config.method, **result.config.options)
    margin = settings.lambda_tri * settings.margin
    return bool(variance < SMALL_VARIANCE and triplet > AT_MARGIN * margin)
