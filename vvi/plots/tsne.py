"""Embeddings on a plane: identity by colour, modality by marker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vvi.plots import style
from vvi.types import MODALITIES

PALE = ("#949494", "#fbafe4", "#ece133")  # they vanish in a thin marker
COLOURS = tuple(colour for colour in style.PALETTE if colour not in PALE)
REST = "#b5b5b5"  # colour of identities without one of their own
NEAR = 0.12  # of the width of a layout: two centres nearer than this are one


def embed_2d(
    feat: np.ndarray,
    seed: int = 0,
    init: str | np.ndarray = "pca",
    perplexity: float = 30.0,
) -> np.ndarray:
    """Lay out features by t-SNE. The same seed gives the same layout.

    Args:
        feat: (N, D).
        seed: of the optimisation.
        init: "pca", "random" or starting points (N, 2).
        perplexity: lowered for few points.

    Returns:
        (N, 2).

    Raises:
        ValueError: fewer than four rows, or values that are not finite.
    """
    from sklearn.manifold import TSNE

    feat = np.asarray(feat, dtype=np.float32)
    if feat.ndim != 2 or len(feat) < 4 or not np.isfinite(feat).all():
        raise ValueError(
            f"t-SNE needs at least 4 finite rows of features, got shape {feat.shape}"
        )
    return TSNE(
        init=init if isinstance(init, str) else np.asarray(init, np.float32),
        random_state=seed,
        perplexity=min(perplexity, (len(feat) - 1) / 3),
        learning_rate="auto",
        n_jobs=1,
    ).fit_transform(feat)


def embed_pair(
    before: np.ndarray, after: np.ndarray, seed: int = 0, perplexity: float = 30.0
) -> tuple[np.ndarray, np.ndarray]:
    """Lay out two sets of features of the same items from the same starting points.

    Only the features make the two layouts differ.

    Args:
        before: (N, D).
        after: (N, E).
        seed: of starting points and optimisation.
        perplexity: of both.

    Returns:
        Two layouts, (N, 2).

    Raises:
        ValueError: the two sets are of different length.
    """
    if len(before) != len(after):
        raise ValueError(
            f"{len(before)} items before, {len(after)} after: "
            "a pair shows the same items twice"
        )
    start = np.random.default_rng(seed).normal(scale=1e-4, size=(len(before), 2))
    first = embed_2d(before, seed, start, perplexity)
    return first, embed_2d(after, seed, start, perplexity)


@style.drawn
def plot(
    points: np.ndarray,
    ids: np.ndarray,
    modality: np.ndarray,
    title: str = "",
    caption: str = "",
    highlight: int = 7,
) -> Figure:
    """Draw one layout.

    Args:
        points: (N, 2).
        ids: (N,) identities.
        modality: (N,) of "vis" or "ir".
        title: above the axes.
        caption: words under the figure.
        highlight: how many identities get a colour and a number. Others are grey.

    Raises:
        ValueError: points, identities and modalities do not belong together.
    """
    fig, axes = style.figure(height=4.4, width=5.2)
    _scatter(axes[0, 0], points, ids, modality, highlight)
    axes[0, 0].set_title(title)
    _legend(fig, len(np.unique(ids)) > highlight)
    style.caption(fig, caption)
    return fig


@style.drawn
def pair(
    before: np.ndarray,
    after: np.ndarray,
    ids: np.ndarray,
    modality: np.ndarray,
    titles: Sequence[str] = ("before", "after"),
    caption: str = "",
    highlight: int = 7,
) -> Figure:
    """Draw two layouts of the same items side by side, with the same colours.

    Args:
        before: (N, 2), of `embed_pair`.
        after: (N, 2), of `embed_pair`.
        ids: (N,) identities.
        modality: (N,) of "vis" or "ir".
        titles: of the two panels.
        caption: words under the figure.
        highlight: how many identities get a colour and a number. Others are grey.

    Raises:
        ValueError: points, identities and modalities do not belong together.
    """
    fig, axes = style.figure(1, 2, height=3.9)
    for ax, points, title in zip(axes[0], (before, after), titles, strict=True):
        _scatter(ax, points, ids, modality, highlight)
        ax.set_title(title)
    _legend(fig, len(np.unique(ids)) > highlight)
    style.caption(fig, caption)
    return fig


def _scatter(
    ax: Axes, points: np.ndarray, ids: np.ndarray, modality: np.ndarray, highlight: int
) -> None:
    """Draw a layout, the first `highlight` identities in colour."""
    points, ids, modality = np.asarray(points), np.asarray(ids), np.asarray(modality)
    same_length = len(points) == len(ids) == len(modality)
    if not same_length or not np.isin(modality, MODALITIES).all():
        words = ", ".join(map(str, np.unique(modality)))
        raise ValueError(
            f"{len(points)} points, {len(ids)} ids, "
            f"{len(modality)} modalities ({words})"
        )
    shown = np.unique(ids)[:highlight].tolist()
    colours = {identity: COLOURS[n % len(COLOURS)] for n, identity in enumerate(shown)}
    for name in MODALITIES:
        of_modality = modality == name
        rest = of_modality & ~np.isin(ids, shown)
        _markers(ax, points[rest], name, None)
        for identity, colour in colours.items():
            _markers(ax, points[of_modality & (ids == identity)], name, colour)
    _numbers(ax, points, ids, modality, colours)
    ax.set(xticks=[], yticks=[])
    ax.margins(0.09)
    ax.set_aspect("equal", adjustable="datalim")
    ax.spines[:].set(visible=True, color="#cccccc")


def _markers(ax: Axes, points: np.ndarray, modality: str, colour: str | None) -> None:
    """Draw points, filled where they are visible clips of a coloured identity."""
    marker = style.MODALITY[modality]["marker"]
    if colour is None:
        marks = {"facecolor": "none", "edgecolor": REST, "linewidth": 0.6, "s": 12}
    elif modality == "vis":
        marks = {"facecolor": colour, "edgecolor": "white", "linewidth": 0.4, "s": 28}
    else:
        marks = {"facecolor": "none", "edgecolor": colour, "linewidth": 1.3, "s": 28}
    ax.scatter(*points.T, marker=marker, zorder=1 if colour is None else 2, **marks)


def _numbers(
    ax: Axes,
    points: np.ndarray,
    ids: np.ndarray,
    modality: np.ndarray,
    colours: Mapping[int, str],
) -> None:
    """Write the number of each coloured identity above its points.

    It stands once per modality where the identity is torn apart. A number that would
    lie on another one moves up.

    Args:
        ax: of the layout.
        points: (N, 2).
        ids: (N,).
        modality: (N,).
        colours: identity -> colour.
    """
    near = NEAR * np.ptp(points, axis=0).max()
    taken: list[np.ndarray] = []
    for identity, colour in colours.items():
        own = points[ids == identity]
        for centre in _centres(own, modality[ids == identity], near):
            close = own[np.linalg.norm(own - centre, axis=1) < near]
            top = close[:, 1].max() if len(close) else centre[1]
            anchor = np.array([centre[0], top])
            lifted = sum(np.linalg.norm(other - anchor) < near / 2 for other in taken)
            taken.append(anchor)
            _number(ax, str(identity), anchor, 6 + 13 * int(lifted), colour)


def _centres(points: np.ndarray, modality: np.ndarray, near: float) -> list[np.ndarray]:
    """Return the centres of the two modalities, or one where these are near."""
    sides = [points[modality == name] for name in MODALITIES]
    centres = [np.median(side, axis=0) for side in sides if len(side)]
    if len(centres) == 2 and np.linalg.norm(centres[0] - centres[1]) < near:
        return [np.median(points, axis=0)]
    return centres


def _number(ax: Axes, text: str, anchor: np.ndarray, lift: int, colour: str) -> None:
    """Write a boxed number `lift` points above a position."""
    box = {
        "boxstyle": "round,pad=0.1",
        "facecolor": "white",
        "edgecolor": colour,
        "linewidth": 0.8,
        "alpha": 0.85,
    }
    marks = {"fontsize": style.SMALL, "ha": "center", "va": "bottom", "zorder": 3}
    offset = {"xytext": (0, lift), "textcoords": "offset points"}
    ax.annotate(text, tuple(anchor), bbox=box, **offset, **marks)


def _legend(fig: Figure, rest: bool) -> None:
    """Explain the markers.

    Args:
        fig: the figure.
        rest: whether some identities have no colour.
    """
    ink = style.INK
    vis = {"markerfacecolor": ink, "markeredgecolor": "white", "markersize": 7}
    ir = {"markerfacecolor": "none", "markeredgecolor": ink, "markersize": 7}
    handles = [
        _handle("visible", style.MODALITY["vis"]["marker"], vis),
        _handle("infrared", style.MODALITY["ir"]["marker"], ir),
    ]
    if rest:
        grey = {"markerfacecolor": "none", "markeredgecolor": REST}
        handles.append(_handle("other identities", "o", grey))
    fig.legend(handles=handles, loc="outside upper center", ncols=len(handles))


def _handle(label: str, marker: str, marks: Mapping) -> Line2D:
    return Line2D([], [], linestyle="", marker=marker, label=label, **marks)
