"""Embeddings on a plane: identity by colour, modality by marker."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vvi.plots import style
from vvi.types import MODALITIES

COLOURS = tuple(
    c for c in style.PALETTE if c not in ("#949494", "#fbafe4", "#ece133")
)  # the pale ones vanish in a thin marker


def embed_2d(
    feat: np.ndarray,
    seed: int = 0,
    init: str | np.ndarray = "pca",
    perplexity: float = 30.0,
) -> np.ndarray:
    """t-SNE of features (N, D) -> (N, 2). init: "pca", "random" or starting points (N, 2); perplexity is lowered for few points. Same seed, same layout."""
    from sklearn.manifold import TSNE

    feat = np.asarray(feat, dtype=np.float32)
    if feat.ndim != 2 or len(feat) < 4 or not np.isfinite(feat).all():
        raise ValueError(
            f"t-SNE needs at least 4 finite rows of features, got shape {feat.shape}"
        )
    start = init if isinstance(init, str) else np.asarray(init, np.float32)
    perplexity = min(perplexity, (len(feat) - 1) / 3)
    return TSNE(
        init=start,
        random_state=seed,
        perplexity=perplexity,
        learning_rate="auto",
        n_jobs=1,
    ).fit_transform(feat)


def embed_pair(
    before: np.ndarray, after: np.ndarray, seed: int = 0, perplexity: float = 30.0
) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of features of the same N items -> two layouts that start from the same random places, so that only the features make them differ."""
    if len(before) != len(after):
        raise ValueError(
            f"{len(before)} items before, {len(after)} after: a pair shows the same items twice"
        )
    start = np.random.default_rng(seed).normal(scale=1e-4, size=(len(before), 2))
    first, second = (
        embed_2d(feat, seed, start, perplexity) for feat in (before, after)
    )
    return first, second


@style.drawn
def plot(
    points: np.ndarray,
    ids: np.ndarray,
    modality: np.ndarray,
    title: str = "",
    caption: str = "",
    highlight: int = 7,
) -> Figure:
    """One layout. points: (N, 2); ids: (N,); modality: (N,) of "vis" or "ir"; the first `highlight` identities get a colour and a number, the rest stay grey."""
    fig, axes = style.figure(height=4.4, width=5.2)
    _scatter(axes[0, 0], points, ids, modality, title, highlight)
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
    """Two layouts (N, 2) of the same items side by side, from `embed_pair`; the same colours in both."""
    fig, axes = style.figure(1, 2, height=3.9)
    for ax, points, title in zip(axes[0], (before, after), titles, strict=True):
        _scatter(ax, points, ids, modality, title, highlight)
    _legend(fig, len(np.unique(ids)) > highlight)
    style.caption(fig, caption)
    return fig


def _scatter(
    ax: Axes,
    points: np.ndarray,
    ids: np.ndarray,
    modality: np.ndarray,
    title: str,
    highlight: int,
) -> None:
    points, ids, modality = np.asarray(points), np.asarray(ids), np.asarray(modality)
    if (
        not len(points) == len(ids) == len(modality)
        or not np.isin(modality, MODALITIES).all()
    ):
        raise ValueError(
            f"{len(points)} points, {len(ids)} ids, {len(modality)} modalities ({', '.join(map(str, np.unique(modality)))})"
        )
    shown = dict(
        zip(
            np.unique(ids)[:highlight].tolist(),
            COLOURS * (1 + highlight // len(COLOURS)),
            strict=False,
        )
    )
    for name in MODALITIES:
        look = style.MODALITY[name]
        rest = (modality == name) & ~np.isin(ids, list(shown))
        ax.scatter(
            *points[rest].T,
            s=12,
            marker=look["marker"],
            facecolor="none",
            edgecolor="#b5b5b5",
            linewidth=0.6,
            zorder=1,
        )
        for identity, colour in shown.items():
            here = (modality == name) & (ids == identity)
            filled = (
                {"facecolor": colour, "edgecolor": "white", "linewidth": 0.4}
                if name == "vis"
                else {"facecolor": "none", "edgecolor": colour, "linewidth": 1.3}
            )
            ax.scatter(*points[here].T, s=28, marker=look["marker"], zorder=2, **filled)
    for identity, colour in shown.items():
        _number(
            ax,
            points[ids == identity],
            modality[ids == identity],
            str(identity),
            colour,
            0.12 * np.ptp(points, axis=0).max(),
        )
    ax.set(title=title, xticks=[], yticks=[])
    ax.margins(0.09)
    ax.set_aspect("equal", adjustable="datalim")
    for spine in ax.spines.values():
        spine.set(visible=True, color="#cccccc")


def _number(
    ax: Axes,
    points: np.ndarray,
    modality: np.ndarray,
    text: str,
    colour: str,
    far: float,
) -> None:
    """The identity's number above its points; once per modality where an identity is torn apart."""
    centres = [
        np.median(points[modality == name], axis=0)
        for name in MODALITIES
        if (modality == name).any()
    ]
    if len(centres) == 2 and np.linalg.norm(centres[0] - centres[1]) < far:
        centres = [np.median(points, axis=0)]
    box = {
        "boxstyle": "round,pad=0.1",
        "facecolor": "white",
        "edgecolor": colour,
        "linewidth": 0.8,
        "alpha": 0.85,
    }
    for centre in centres:
        near = points[np.linalg.norm(points - centre, axis=1) < far]
        top = near[:, 1].max() if len(near) else centre[1]
        ax.annotate(
            text,
            (centre[0], top),
            xytext=(0, 6),
            textcoords="offset points",
            fontsize=style.SMALL,
            ha="center",
            va="bottom",
            bbox=box,
            zorder=3,
        )


def _legend(fig: Figure, rest: bool) -> None:
    vis, ir = (style.MODALITY[m] for m in MODALITIES)
    ink = style.INK
    handles = [
        Line2D(
            [],
            [],
            linestyle="",
            marker=vis["marker"],
            markerfacecolor=ink,
            markeredgecolor="white",
            markersize=7,
            label="visible",
        ),
        Line2D(
            [],
            [],
            linestyle="",
            marker=ir["marker"],
            markerfacecolor="none",
            markeredgecolor=ink,
            markersize=7,
            label="infrared",
        ),
    ]
    if rest:
        handles.append(
            Line2D(
                [],
                [],
                linestyle="",
                marker="o",
                markerfacecolor="none",
                markeredgecolor="#b5b5b5",
                label="other identities",
            )
        )
    fig.legend(handles=handles, loc="outside upper center", ncols=len(handles))
