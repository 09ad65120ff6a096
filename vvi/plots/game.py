"""An adversarial game: what each player is told to reach, and what a belief costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from vvi.plots import style


@style.drawn
def draw(
    classes: Sequence[str],
    targets: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    belief: np.ndarray,
    costs: Mapping[str, np.ndarray],
    xlabel: str = "classifier's belief in the true modality",
    caption: str = "",
) -> Figure:
    """Left, for each player, the target distribution over `classes` given for a visible and for an infrared clip; right, the loss of each strategy against a belief.

    targets: player -> (of visible, of infrared), each (K,), NaN where a class does not exist for it; belief: (N,) in 0..1; costs: strategy -> (N,), drawn up to 8.
    """
    fig = style.Drawing(
        figsize=(style.WIDTH, 0.62 * len(targets) + 1.5), layout="constrained"
    )
    left, right = fig.subfigures(1, 2, width_ratios=(1.25, 1))
    axes = left.subplots(len(targets), 1, sharex=True, sharey=True)
    for ax, (player, (vis, ir)) in zip(
        np.atleast_1d(axes), targets.items(), strict=True
    ):
        for shift, modality, values in ((-0.2, "vis", vis), (0.2, "ir", ir)):
            look = style.MODALITY[modality]
            hatch = "" if modality == "vis" else "////"
            places, heights = (
                np.arange(len(classes)) + shift,
                np.asarray(values, dtype=float),
            )
            ax.bar(
                places,
                heights,
                0.36,
                facecolor=look["color"] if not hatch else "white",
                edgecolor=look["color"],
                hatch=hatch,
                label=f"{look['label']} clip",
            )
            for place in places[np.isnan(heights)]:
                ax.text(
                    place, 0.03, "–", ha="center", color=style.INK, fontsize=style.SMALL
                )
        ax.set(
            ylim=(0, 1.15),
            yticks=(0, 1),
            xticks=range(len(classes)),
            xticklabels=classes,
        )
        ax.set_ylabel(player, rotation=0, ha="right", va="center")
    left.legend(
        *np.atleast_1d(axes)[0].get_legend_handles_labels(),
        loc="outside upper center",
        ncols=2,
    )
    ax = right.subplots()
    for n, (name, values) in enumerate(costs.items()):
        ax.plot(
            belief,
            np.where(np.asarray(values) <= 8, values, np.nan),
            color=style.PALETTE[n],
            linestyle=style.LINES[n % len(style.LINES)],
            label=name,
        )
    ax.set(xlabel=xlabel, ylabel="loss of the encoder", xlim=(0, 1), ylim=(0, 8))
    ax.grid(axis="y")
    right.legend(loc="outside upper center", ncols=2)
    if caption:
        fig.supxlabel(caption, fontsize=style.SMALL, x=0.01, ha="left")
    return fig
