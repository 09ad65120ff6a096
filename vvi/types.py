"""The words every module shares.

Shape letters, used in every docstring: B clips, T frames, P identities, K tracklets per identity and modality, C channels, D embedding, N tokens, h w map size,
H W frame size, Q queries, G gallery items. Visible always stands before infrared.
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


@dataclass(frozen=True, slots=True)
class Tracklet:
    """Frames of one person from one camera, in temporal order; a single image is a tracklet of one path."""

    paths: tuple[Path, ...]
    identity: int
    camera: int
    modality: Modality

    def __len__(self) -> int:
        return len(self.paths)


@dataclass(frozen=True)
class Dataset:
    """What a reader returns: who is in which file, no pixels.

    `sides` maps a direction to its (query, gallery); `rule` says which gallery items an
    evaluation removes (`vvi.metrics`).
    """

    layout: str
    root: Path
    train: tuple[Tracklet, ...]
    sides: dict[Direction, tuple[tuple[Tracklet, ...], tuple[Tracklet, ...]]]
    rule: Rule
    #: What a reader let pass, a line for each.
    problems: tuple[str, ...] = ()
    #: Tracklets under the minimum length by (split, modality).
    dropped: dict[tuple[str, str], int] = field(default_factory=dict)
    #: What was mended, kept or left out: in words -> where, one entry for each.
    notes: dict[str, list[str]] = field(default_factory=dict, compare=False)

    def query(self, direction: Direction) -> tuple[Tracklet, ...]:
        """Tracklets that search, in the order of the protocol."""
        return self._sides(direction)[0]

    def gallery(self, direction: Direction) -> tuple[Tracklet, ...]:
        """Tracklets that are searched, in the order of the protocol."""
        return self._sides(direction)[1]

    @property
    def remarks(self) -> list[str]:
        """What was mended, kept or left out, in words: counts and the first places."""
        return [
            f"{len(names)} {kind} ({', '.join(names[:5])}{', ...' if names[5:] else ''})"
            for kind, names in self.notes.items()
        ]

    @property
    def labels(self) -> dict[int, int]:
        """Training identity -> class 0..C-1, ascending."""
        return {
            identity: label
            for label, identity in enumerate(sorted({t.identity for t in self.train}))
        }

    def _sides(
        self, direction: Direction
    ) -> tuple[tuple[Tracklet, ...], tuple[Tracklet, ...]]:
        if direction not in self.sides:
            raise ValueError(
                f"{self.layout} has no direction {direction!r}; it has {', '.join(self.sides)}"
            )
        return self.sides[direction]


class DataError(ValueError):
    """Malformed data; the message names the file, the line and the offending text."""


@dataclass
class Batch:
    """P identities x K tracklets of each modality. `ids[n]` is the class of both `vis[n]` and `ir[n]`.

    vis, ir: (B, T, 3, H, W) float, normalised; ids: (B,) int64; rows_vis, rows_ir: (B,) int64, places of the tracklets in `Dataset.train`;
    step: which batch of the run this is (seeds what a method draws for itself).
    """

    vis: Tensor
    ir: Tensor
    ids: Tensor
    rows_vis: Tensor
    rows_ir: Tensor
    step: int = 0

    @property
    def clips(self) -> Tensor:
        """Both modalities, visible first: (2B, T, 3, H, W)."""
        import torch

        return torch.cat((self.vis, self.ir))

    @property
    def labels(self) -> Tensor:
        """Classes of `clips`: (2B,)."""
        return self.ids.repeat(2)
