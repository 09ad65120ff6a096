"""CMFT: cross-modality cross-scale fusion transformer. No code was released.

Special about it:

- Two whole networks, one for each modality, share nothing but their neck and
  classifier. Temporal shifts let every block see the frames next to its own.
- Beside them a cascade of fusion blocks reads the maps of both, frame by frame, by
  attention in both directions. What a stage fuses multiplies the maps that the next
  stage fuses.
- Training has two stages: triplets inside each of three feature spaces, then agreement
  of their distances (MSRL) and pull to centres (MDL). The batch needs two pairs of each
  identity.

That is `variant="paper"`. The rows of the tables run `variant="main"` unless they name
another, and it changes three of these:

- Both streams share the stages after the stem (`shared_from=3`).
- The triplets of the streams reach across the modalities (`cross="cmt"`).
- Stage 2 keeps the triplets (`stage2_triplet=True`).

What the paper never says is who the partner of a clip is when a search begins, since a
query has one modality. Here the default is none (`unimodal`), so the cascade only
shapes the streams while they train. See `Model.oracle_pair` for what a partner chosen
by identity would give away.

Eqs. (1) to (3) are `CrossAttention`, (4) and (5) `CrossFusion`,
(6) `CrossFusion.tokens`, (7) to (10) `cross_modal_loss`, (11) to (14)
`refinement_loss`, (15) to (17) `discriminative_loss`, (18) and (19) `Model.losses`.
"""

from vvi.methods.cmft.config import (
    READINGS,
    Config,
    Cross,
    Gate,
    Metric,
    Negatives,
)
from vvi.methods.cmft.losses import (
    cross_modal_loss,
    discriminative_loss,
    refinement_loss,
    require_two_pairs,
)
from vvi.methods.cmft.model import ORACLE, Model, Stamped
from vvi.methods.cmft.parts import (
    Cascade,
    CrossAttention,
    CrossFusion,
    FusedHead,
    fit_maps,
)
from vvi.methods.cmft.streams import Shifted, Stream, run_pair, shift
from vvi.methods.cmft.tables import (
    ABLATIONS,
    ALIGNED,
    AT_SEARCH,
    FUSIONS,
    LOSSES,
    MAIN,
    PAIRS,
    PAPER_RECIPE,
    SWEEPS,
    TUNED,
)

#: Raised when the method computes other numbers, so that stored results are not reused.
VERSION = 4

__all__ = [
    "ABLATIONS",
    "ALIGNED",
    "AT_SEARCH",
    "Cascade",
    "Config",
    "Cross",
    "CrossAttention",
    "CrossFusion",
    "FUSIONS",
    "FusedHead",
    "Gate",
    "LOSSES",
    "MAIN",
    "Metric",
    "Model",
    "Negatives",
    "ORACLE",
    "PAIRS",
    "PAPER_RECIPE",
    "READINGS",
    "SWEEPS",
    "Shifted",
    "Stamped",
    "Stream",
    "TUNED",
    "VERSION",
    "cross_modal_loss",
    "discriminative_loss",
    "fit_maps",
    "refinement_loss",
    "require_two_pairs",
    "run_pair",
    "shift",
]
