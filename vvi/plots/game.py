"""An adversarial game: the target of each player, and what a belief costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from vvi.plots import style

CEILING = 8.0  # losses above it are not drawn

Targets = Mapping[str, tuple[Sequence[float], Sequence[float]]]


@style.drawn
def draw(
    classes: Sequence[str],
    targets: Targets,
    belief: np.ndarray,
    costs: Mapping[str, np.ndarray],
    xlabel: str = "classifier's belief in the true modality",
    caption: str = "",
) -> Figure:
    """Draw the target of each player, and the loss of each strategy.

    Args:
        classes: of the modality classifier, K.
        targets: player -> (of a visible clip, of an infrared clip), each (K,), NaN
            where a class does not exist for it.
        belief: (N,) in 0..1.
        costs: strategy -> (N,) loss against that belief.
        xlabel: what the belief is in.
        caption: words under the figure.
    """
    size = (style.WIDTH, 0.62 * len(targets) + 1.5)
    fig = style.Drawing(figsize=size, layout="constrained")
    left, right = fig.subfigures(1, 2, width_ratios=(1.25, 1))
    _draw_targets(left, classes, targets)
    _draw_costs(right, belief, costs, xlabel)
    style.caption(fig, caption)
    return fig


def _draw_targets(part: SubFigure, classes: Sequence[str], targets: Targets) -> None:
    """Draw one panel of bars for each player."""
    axes = part.subplots(len(targets), 1, sharex=True, sharey=True, squeeze=False)
    for ax, (player, (vis, ir)) in zip(axes[:, 0], targets.items(), strict=True):
        positions = np.arange(len(classes))
        _bars(ax, positions - 0.2, vis, "vis")
        _bars(ax, positions + 0.2, ir, "ir")
        ax.set(ylim=(0, 1.15), yticks=(0, 1), xticks=positions, xticklabels=classes)
        ax.set_ylabel(player, rotation=0, ha="right", va="center")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    part.legend(handles, labels, loc="outside upper center", ncols=2)


def _bars(
    ax: Axes, positions: np.ndarray, values: Sequence[float], modality: str
) -> None:
    """Draw the target of a clip, with a dash where a class does not exist."""
    colour = style.MODALITY[modality]["color"]
    heights = np.asarray(values, dtype=float)
    ax.bar(
        positions,
        heights,
        0.36,
        facecolor=colour if modality == "vis" else "white",
        edgecolor=colour,
        hatch="" if modality == "vis" else "////",
        label=f"{style.MODALITY[modality]['label']} clip",
    )
    dash = {"ha": "center", "color": style.INK, "fontsize": style.SMALL}
    for position in positions[np.isnan(heights)]:
        ax.text(position, 0.03, "–", **dash)


def _draw_costs(
    part: SubFigure, belief: np.ndarray, costs: Mapping[str, np.ndarray], xlabel: str
) -> None:
    """Draw the loss of each strategy against a belief."""
    ax = part.subplots()
    for n, (strategy, loss) in enumerate(costs.items()):
        values = np.where(np.asarray(loss) <= CEILING, loss, np.nan)
        line = style.LINES[n % len(style.LINES)]
        ax.plot(belief, values, color=style.PALETTE[n], linestyle=line, label=strategy)
    ax.set(xlabel=xlabel, ylabel="loss of the encoder", xlim=(0, 1), ylim=(0, CEILING))
    ax.grid(axis="y")
    part.legend(loc="outside upper center", ncols=2)
