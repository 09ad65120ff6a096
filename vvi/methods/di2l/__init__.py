"""DI2L: information-balanced identity learning, the image method of this book.

Special about it:

- A third stream shows each visible image with one of its colour channels in place of
  all three.
- There is attention among the pixels of a map after the second and the third stage, and
  among horizontal stripes of the last map (DPA). The refined stripes are added to the
  global feature.
- The identity loss is focal: the surer the classifier is of a clip, the less the clip
  weighs. The triplet weighs every pair of the batch. Nothing in the losses looks at the
  modality.

A clip is the mean of its pooled frames, so the order of frames plays no part. AGW and
CAJ, on whose code the paper stands, are configurations of the same parts (`AGW` and
`CAJ`). Rows called CAJ take the triplet of the variant, which in main is AGW's, without
the square. CAJ to the letter is the row "Baseline, triplet squared". What the released
code of AGW and CAJ does otherwise is in `released`.

Eq. (1) is `one_channel`, (2) and (3) `NonLocal`, (4) `PartAttention`, (5) `focal_loss`,
(6) `vvi.losses.weighted_triplet`.
"""

from vvi.methods.di2l.augment import FILL, one_channel, random_erase
from vvi.methods.di2l.config import READINGS, Config
from vvi.methods.di2l.losses import focal_loss
from vvi.methods.di2l.model import Model
from vvi.methods.di2l.parts import (
    BLOCKS,
    NonLocal,
    PartAttention,
    generalised_mean,
    stripes,
)
from vvi.methods.di2l.released import one_channel_released, released_triplet
from vvi.methods.di2l.tables import (
    ABLATIONS,
    AGW,
    CAJ,
    MAIN,
    PAPER_RECIPE,
    REGDB,
    SWEEPS,
    SYSU,
    TRIALS,
    TUNED,
)

#: Raised when the method computes other numbers, so that stored results are not reused.
VERSION = 2

__all__ = [
    "ABLATIONS",
    "AGW",
    "BLOCKS",
    "CAJ",
    "Config",
    "FILL",
    "MAIN",
    "Model",
    "NonLocal",
    "PAPER_RECIPE",
    "PartAttention",
    "READINGS",
    "REGDB",
    "SWEEPS",
    "SYSU",
    "TRIALS",
    "TUNED",
    "VERSION",
    "focal_loss",
    "generalised_mean",
    "one_channel",
    "one_channel_released",
    "random_erase",
    "released_triplet",
    "stripes",
]
