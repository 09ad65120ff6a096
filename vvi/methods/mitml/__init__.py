"""MITML: modal-invariant and temporal memory learning (CVPR 2022).

Special about it:

- The encoder hides the modality of a clip from a classifier by pushing both modalities
  to a third class, "neither", where others swap the two labels or make both equally
  likely.
- The last stage exists twice. An LSTM over the frame vectors of one copy drives a gate
  for each frame position, and the gates weigh the channels of the other copy's frame
  vectors before these are averaged. The number of frames T is fixed once the model is
  built.

Eq. (1) is `vvi.methods.baseline`, (2) `TemporalMemory.gates`,
(3) `TemporalMemory.forward`, (4) `confusion_loss`, (5) `Model.losses`,
(6) `modal_loss`.
"""

from vvi.methods.mitml.config import READINGS, SLOW, Adversary, Config
from vvi.methods.mitml.losses import IR, NEITHER, VIS, confusion_loss, modal_loss
from vvi.methods.mitml.model import Model
from vvi.methods.mitml.parts import ModalClassifier, TemporalMemory
from vvi.methods.mitml.released import RELEASED_IGNORED, RELEASED_KEYS, released_config
from vvi.methods.mitml.tables import ABLATIONS, MAIN, SWEEPS, TUNED

#: Raised when the method computes other numbers, so that stored results are not reused.
VERSION = 2

__all__ = [
    "ABLATIONS",
    "Adversary",
    "Config",
    "IR",
    "MAIN",
    "ModalClassifier",
    "Model",
    "NEITHER",
    "READINGS",
    "RELEASED_IGNORED",
    "RELEASED_KEYS",
    "SLOW",
    "SWEEPS",
    "TUNED",
    "TemporalMemory",
    "VERSION",
    "VIS",
    "confusion_loss",
    "modal_loss",
    "released_config",
]
