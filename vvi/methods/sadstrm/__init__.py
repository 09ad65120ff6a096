"""SADSTRM: adversarial self-attack defence, spatial-temporal relation mining.

Special about it:

- What makes two clips of a person differ counts as an attack that the clips already
  hold. An attacking encoder teaches the stems to let it through: its features of their
  maps shall leave the defender's classifier undecided, while the defending encoder
  learns identity from the same maps. Every step is a plain minimisation, and no sign is
  turned.
- While the defender learns, both modalities of a person attend to each other.
- One LSTM over time, shared by all body stripes, gives their motion. One over stripes
  reads it and drives a gate on the stripe vectors. A search compares the gated vectors
  plus the motion (Eq. 14), averaged over frames.

Clips may have any number of frames. No code of this paper was released.

Eq. (1) is `Model.forward`, (2) `Attention`, (3) `attack_loss`, (4) `Branches`,
(5) `two_modality_ce`, (6) `Model.levels`, (7) `Attention` and `Model.fuse`,
(8) `Branches`, (9) `two_modality_ce`, (10) `squared_triplet` as printed and
`vvi.losses.batch_hard_triplet` by default, (11) and (12) `StripeRelations.gates`,
(13) to (15) `StripeRelations.forward`, (16) `two_modality_ce`, (17) `Model.losses`.
"""

from vvi.methods.sadstrm.config import READINGS, Config, InSearch
from vvi.methods.sadstrm.losses import attack_loss, squared_triplet, two_modality_ce
from vvi.methods.sadstrm.model import Branches, Levels, Model
from vvi.methods.sadstrm.parts import Attention, StripeRelations
from vvi.methods.sadstrm.tables import ABLATIONS, ADM, MAIN, PAPER_RECIPE, SWEEPS, TUNED

#: Raised when the method computes other numbers, so that stored results are not reused.
VERSION = 2

__all__ = [
    "ABLATIONS",
    "ADM",
    "Attention",
    "Branches",
    "Config",
    "InSearch",
    "Levels",
    "MAIN",
    "PAPER_RECIPE",
    "Model",
    "READINGS",
    "SWEEPS",
    "StripeRelations",
    "TUNED",
    "VERSION",
    "attack_loss",
    "squared_triplet",
    "two_modality_ce",
]
