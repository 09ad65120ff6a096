"""IBAN: intermediary-guided bidirectional spatial-temporal aggregation.

IEEE TCSVT 2023. Special about it:

- A second trunk reads the anaglyph of every frame, an emboss filter that keeps relief
  and drops colour. Attention to its maps refines the maps of the frame, and anaglyph
  maps of each modality are predicted from the other's. A search needs both trunks.
- One LSTM in each direction summarises a clip, and a frame has the more weight the more
  it resembles the summaries.
- A clip's nearest clip of the other modality is its easy sample. It pulls all clips of
  its own modality towards itself, whatever their identity.

Eq. (1) is `anaglyph`, (2) `third_stage`, (3) `anaglyph_levels`, (4) `Guide.forward`,
(5) `Reconstruction` and `reconstruction_loss`, (6) `Aggregation.gates` and
`weighted_mean`, (7) `Aggregation.summaries`, (8) `frame_weights`, (9) `weighted_mean`,
(10) `vvi.nn.neck.Neck`, (11) `vvi.losses.batch_hard_triplet`, (12) `easy_sample_loss`,
(13) and (14) `easy_samples`, (15) `Model.losses`.
"""

from vvi.data.transforms import anaglyph
from vvi.methods.iban.config import (
    READINGS,
    Config,
    Layout,
    Metric,
    Operator,
    Query,
    Reduction,
    Scope,
    Variant,
)
from vvi.methods.iban.losses import easy_sample_loss, easy_samples, reconstruction_loss
from vvi.methods.iban.model import Model
from vvi.methods.iban.parts import (
    Aggregation,
    Guide,
    Levels,
    Reconstruction,
    anaglyph_levels,
    frame_weights,
    raw_view,
    redrawn,
    third_stage,
    weighted_mean,
)
from vvi.methods.iban.released import RELEASED_IGNORED, RELEASED_KEYS, released_config
from vvi.methods.iban.tables import (
    ABLATIONS,
    MAIN,
    PAPER_RECIPE,
    PLAIN,
    SWEEPS,
    TUNED,
)

#: Raised when the method computes other numbers, so that stored results are not reused.
VERSION = 2

__all__ = [
    "ABLATIONS",
    "Aggregation",
    "Config",
    "Guide",
    "Layout",
    "Levels",
    "MAIN",
    "Metric",
    "Model",
    "Operator",
    "PAPER_RECIPE",
    "PLAIN",
    "Query",
    "READINGS",
    "RELEASED_IGNORED",
    "RELEASED_KEYS",
    "Reconstruction",
    "Reduction",
    "SWEEPS",
    "Scope",
    "TUNED",
    "VERSION",
    "Variant",
    "anaglyph",
    "anaglyph_levels",
    "easy_sample_loss",
    "easy_samples",
    "frame_weights",
    "raw_view",
    "reconstruction_loss",
    "redrawn",
    "released_config",
    "third_stage",
    "weighted_mean",
]
