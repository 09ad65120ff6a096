"""A timeline: names in a column for each year, a colour and a sign for each kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from vvi.plots import style

#: Inches of one name.
LINE = 0.33


@style.drawn
def draw(
    years: Mapping[int, Sequence[tuple[str, str, str]]],
    kinds: Sequence[str],
    caption: str = "",
) -> Figure:
    """Draw a column of names for each year.

    Args:
        years: year -> (name, venue, kind) of each method, top to bottom.
        kinds: in the order of their colours and signs.
        caption: words under the figure.
    """
    most = max(len(names) for names in years.values())
    columns = range(min(years), max(years) + 1)
    fig, axes = style.figure(height=LINE * most + 0.9)
    ax = axes[0, 0]
    for year, names in years.items():
        for n, (name, venue, kind) in enumerate(names):
            look = kinds.index(kind)
            ax.plot(
                year - 0.47,
                -n,
                marker=style.MARKERS[look],
                color=style.PALETTE[look],
                linestyle="none",
                label=kind,
            )
            weight = "bold" if kind == kinds[0] else "normal"
            text = {"fontsize": style.SMALL, "va": "center"}
            ax.text(year - 0.41, -n, name, fontweight=weight, **text)
            ax.text(year - 0.41, -n - 0.42, venue, color="#555555", **text)
    ax.set(xlim=(columns[0] - 0.55, columns[-1] + 0.5), ylim=(0.3 - most, 0.6))
    ax.set(xticks=list(columns), yticks=())
    ax.spines["left"].set_visible(False)
    seen = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    handles = [seen[kind] for kind in kinds if kind in seen]
    names = [kind for kind in kinds if kind in seen]
    fig.legend(handles, names, loc="outside upper center", ncols=len(names))
    style.caption(fig, caption)
    return fig
