import numpy as np
import pytest
from matplotlib.figure import Figure

from vvi import experiment
from vvi.book import figures, queries
from vvi.config import preset
from vvi.data import synthetic


@pytest.fixture(scope="module")
def one(tiny_root, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VVI_RUNS", str(tmp_path_factory.mktemp("runs")))
        yield (
            experiment.run(
                preset("tiny"), data=tiny_root, device="cpu", progress=False
            ),
            figures.scene(preset("tiny"), tiny_root),
        )


@pytest.mark.parametrize("direction", ["ir2vis", "vis2ir"])
def test_queries_are_ordered_from_best_found_to_worst(one, direction):
    hits = one[0].metrics(direction).first_hit
    rows = queries.order(one[0], direction)
    assert sorted(rows) == [i for i, hit in enumerate(hits) if hit > 0]
    assert all(hits[a] <= hits[b] for a, b in zip(rows, rows[1:], strict=False))


def test_what_is_known_stands_under_each_item_of_the_list(one):
    result, view = one
    row = int(queries.order(result, "ir2vis")[0])
    table = queries.known(result, view, "ir2vis", row)
    query, gallery = view.sides("ir2vis")
    factors = synthetic.read_factors(view.dataset.root)
    assert list(table.columns) == ["query", *map(str, range(1, 11))]
    for place, item in zip(
        table.columns,
        [query[row], *(gallery[i] for i in result.arrays["ir2vis/top"][row])],
        strict=True,
    ):
        assert table.loc["identity", place] == str(item.identity)
        assert table.loc["pattern", place] == factors.loc[item.identity, "pattern"]
        assert table.loc["boots", place] == (
            "yes" if factors.loc[item.identity, "boots"] else "no"
        )
    first = next(k for k in range(1, 11) if table.loc["verdict", str(k)] == "right")
    assert (
        first == result.metrics("ir2vis").first_hit[row]
        and table.loc["identity", str(first)] == table.loc["identity", "query"]
    )


def test_a_clip_whose_map_is_kept_shows_it_and_another_is_computed_from_the_weights(
    one, monkeypatch, tmp_path
):
    result, view = one
    kept = int(result.arrays["cam/ir_rows"][0])
    other = next(
        i
        for i in range(len(view.sides("ir2vis")[0]))
        if i not in result.arrays["cam/ir_rows"]
    )
    for direction, row, source in (
        ("ir2vis", kept, "kept in the record"),
        ("ir2vis", other, "computed from the weights"),
    ):
        fig = queries.query_cam(result, view, direction, row)
        assert source in fig.caption
    monkeypatch.setenv("VVI_RUNS", str(tmp_path))
    assert queries.query_cam(result, view, "ir2vis", other) is None, (
        "neither map nor weights"
    )
    assert isinstance(queries.query_cam(result, view, "ir2vis", kept), Figure)


def test_the_computed_map_is_the_one_that_a_record_would_keep(one):
    result, view = one
    query = view.sides("ir2vis")[0][result.arrays["cam/ir_rows"][0]]
    kept, now = (
        queries._stored_maps(result, view, query),
        queries._computed_maps(result, view, "ir2vis", query),
    )
    np.testing.assert_allclose(np.round(now[:, 2::4, 2::4]), kept, atol=2)
