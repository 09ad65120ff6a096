"""Words and records that every module shares.

Shape letters of all docstrings: B clips, T frames, P identities, K tracklets per
identity and modality, C channels, D embedding, N rows or clips, h w map size, H W frame
size, Q queries, G gallery items. Visible always comes before infrared. N stands for any
number, also of frames or tokens, M for another one. C also counts classes, K outputs of
a classifier and stripes (SADSTRM), and L tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from torch import Tensor

Modality = Literal["vis", "ir"]
Direction = Literal["ir2vis", "vis2ir"]
Rule = Literal["vcm", "sysu", "none"]
MODALITIES: tuple[Modality, ...] = get_args(Modality)
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)


def check_modality(modality: str) -> None:
    """Check that a modality exists.

    Raises:
        ValueError: there is no such modality.
    """
    if modality not in MODALITIES:
        known = ", ".join(MODALITIES)
        raise ValueError(f"no modality {modality!r}: choose from {known}")


@dataclass(frozen=True, slots=True)
class Tracklet:
    """Frames of one person from one camera.

    A single image is a tracklet of one frame.
    """

    #: Image files in temporal order.
    paths: tuple[Path, ...]
    identity: int
    camera: int
    modality: Modality

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True)
class Dataset:
    """Tracklets of a data set as its reader returns them, without pixels."""

    #: Name of the layout, one of `vvi.data.LAYOUTS`.
    layout: str
    root: Path
    train: tuple[Tracklet, ...]
    #: Direction -> (query tracklets, gallery tracklets).
    sides: dict[Direction, tuple[tuple[Tracklet, ...], tuple[Tracklet, ...]]]
    #: Which gallery items an evaluation removes (`vvi.metrics`).
    rule: Rule
    #: One line for each fault that the reader tolerated.
    problems: tuple[str, ...] = ()
    #: Number of tracklets under the minimum length by (split, modality).
    dropped: dict[tuple[str, str], int] = field(default_factory=dict)
    #: Kind of a tolerated fault -> one entry for each place where it occurs.
    notes: dict[str, list[str]] = field(default_factory=dict, compare=False)

    def query(self, direction: Direction) -> tuple[Tracklet, ...]:
        """Return the query tracklets in the order of the protocol.

        Raises:
            ValueError: the data set does not have this direction.
        """
        return self._sides(direction)[0]

    def gallery(self, direction: Direction) -> tuple[Tracklet, ...]:
        """Return the gallery tracklets in the order of the protocol.

        Raises:
            ValueError: the data set does not have this direction.
        """
        return self._sides(direction)[1]

    @property
    def remarks(self) -> list[str]:
        """One line per kind of tolerated fault: its count and first five places."""
        return [_remark(kind, places) for kind, places in self.notes.items()]

    @property
    def labels(self) -> dict[int, int]:
        """Training identity -> class 0..C-1, ascending."""
        identities = sorted({tracklet.identity for tracklet in self.train})
        return {identity: label for label, identity in enumerate(identities)}

    def _sides(
        self, direction: Direction
    ) -> tuple[tuple[Tracklet, ...], tuple[Tracklet, ...]]:
        if direction not in self.sides:
            known = ", ".join(self.sides)
            raise ValueError(
                f"{self.layout} has no direction {direction!r}; it has {known}"
            )
        return self.sides[direction]


def _remark(kind: str, places: list[str]) -> str:
    more = ", ..." if len(places) > 5 else ""
    return f"{len(places)} {kind} ({', '.join(places[:5])}{more})"


class DataError(ValueError):
    """Malformed data: the message names the file, the line and the offending text."""


@dataclass
class Batch:
    """P identities x K tracklets of each modality, as training reads them."""

    #: Visible clips: (B, T, 3, H, W) float, normalised.
    vis: Tensor
    #: Infrared clips: (B, T, 3, H, W) float, normalised.
    ir: Tensor
    #: Class of both `vis[n]` and `ir[n]`: (B,) int64.
    ids: Tensor
    #: Row in `Dataset.train` of each visible clip: (B,) int64.
    rows_vis: Tensor
    #: Row in `Dataset.train` of each infrared clip: (B,) int64.
    rows_ir: Tensor
    #: Number of this batch in the run, which seeds the random draws of a method.
    step: int = 0

    @property
    def clips(self) -> Tensor:
        """Clips of both modalities, visible first: (2B, T, 3, H, W)."""
        import torch

        return torch.cat((self.vis, self.ir))

    @property
    def labels(self) -> Tensor:
        """Classes of `clips`: (2B,)."""
        return self.ids.repeat(2)
