import numpy as np

from vvi.plots import scatter


def test_a_point_stands_at_its_cost_and_the_mean_of_its_runs():
    fig = scatter.cost(
        {"GFLOP": {"a": 10, "b": 20}, "parameters": {"a": 1, "b": 3}},
        {"a": [30, 40], "b": [50]},
        caption="two costs",
    )
    assert [ax.get_xlabel() for ax in fig.axes] == [
        "GFLOP",
        "parameters",
    ] and fig._repr_png_()
    left = [
        tuple(float(v[0]) for v in line.get_data())
        for line in fig.axes[0].containers[0].lines[:1]
    ]
    assert left == [(10.0, 35.0)] and fig.axes[0].get_xlim()[0] == 0
    assert np.isclose(fig.axes[1].get_ylim()[0], 0)
