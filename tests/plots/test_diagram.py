"""Diagrams: what is stated is drawn, arrows go past boxes, text stays inside, kinds
differ without colour. Checks read the drawn artists, not the plan.
"""

import io
import time

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import colors
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from vvi.plots import diagram, style

TWO_STEMS = """
    V  trunk  up    mean
    I  trunk  down  loss
    vis V: visible stem; (BT, 64, 72, 36) | ir I: infrared stem; (BT, 64, 72, 36)
    trunk: stages 1 to 3; (2BT, 1024, 18, 9) | up: stage 4 / attention | down: stage 4 / aggregation; $f_2$ (2B, T, 2048)
    train mean: mean | loss loss: identity
    V, I -> trunk -> up, down -> mean -> loss
"""
GAME = """
    A  B  C  D
    E  .  .  F
    G  H  H  J
    train A: one | vis train B: two / lines; (1, 2) | ir train D: far | loss J: $L_{adv}$
    A -> B -> C -> D -> F -> J; A -> C; A -> D; D -> A; E -> F; F -> E; G -h-> H -> J; B -down-> H; C -> H; E -> G
"""
SIXTEEN = "\n".join(
    [
        *(" ".join(f"n{4 * row + column}" for column in range(4)) for row in range(4)),
        *(
            f"{('vis', 'ir', 'shared', 'train', 'loss')[n % 5]} n{n}: part number {n}; (2BT, {n}, 18, 9)"
            for n in range(16)
        ),
        *(f"n{n} -> n{n + 1}" for n in range(15) if n % 4 < 3),
        *(f"n{n} -> n{n + 4}" for n in range(12)),
        "n0 -> n5; n3 -> n6; n0 -> n2; n1 -> n9; n12 -> n15; n4 -> n13",
    ]
)
DIAGRAMS = {"two stems": TWO_STEMS, "game": GAME, "sixteen": SIXTEEN}


@pytest.fixture(params=DIAGRAMS)
def fig(request):
    return diagram.draw(
        DIAGRAMS[request.param], caption="A caption. " * 20, notes=["A note."]
    )


def drawn(fig, what):
    """name -> artists of one sort, by the id they were given."""
    found = {}
    for artist in fig.axes[0].get_children():
        sort, _, name = (artist.get_gid() or "").partition(" ")
        if sort == what and name:
            found.setdefault(name, []).append(artist)
    return found


def rectangles(fig):
    return {
        name: (
            b.get_x(),
            b.get_y(),
            b.get_x() + b.get_width(),
            b.get_y() + b.get_height(),
        )
        for name, (b,) in drawn(fig, "box").items()
    }


def lines(fig):
    return {
        tuple(name.split()): path.get_path().interpolated(40).vertices
        for name, (path,) in drawn(fig, "arrow").items()
    }


def extent(fig, artist, dpi=150):
    """left, top, right, bottom of an artist in inches from the upper left corner."""
    fig.set_dpi(dpi)
    with mpl.rc_context(style.RC):
        box = artist.get_window_extent(FigureCanvasAgg(fig).get_renderer())
    x, y = (
        np.array([box.x0, box.x1]) / dpi,
        fig.get_figheight() - np.array([box.y1, box.y0]) / dpi,
    )
    return x[0], y[0], x[1], y[1]


def within(point, rect, margin=0.0):
    return (
        rect[0] - margin < point[0] < rect[2] + margin
        and rect[1] - margin < point[1] < rect[3] + margin
    )


def words(fig):
    return [t.get_text() for t in fig.axes[0].texts]


def test_no_arrow_passes_through_a_box_and_each_joins_the_two_it_names(fig):
    boxes, ways = rectangles(fig), lines(fig)
    assert len(ways) >= 7
    for (start, end), points in ways.items():
        for name, rect in boxes.items():
            assert not any(
                within(point, rect, margin=-0.005 if name in (start, end) else 0.03)
                for point in points
            ), (start, end, name)
        assert within(points[0], boxes[start], 0.01)
        assert within(points[-1], boxes[end], 0.08), "the head covers the rest"


def test_text_stays_inside_its_box_in_every_resolution(fig):
    boxes = rectangles(fig)
    for name, texts in drawn(fig, "text").items():
        for text in filter(lambda t: t.get_text(), texts):
            for dpi in (100, 150, 300):
                left, top, right, bottom = extent(fig, text, dpi)
                assert left > boxes[name][0] + 0.01 and right < boxes[name][2] - 0.01, (
                    name,
                    dpi,
                )
                assert top > boxes[name][1] and bottom < boxes[name][3], (name, dpi)


def test_text_and_shape_of_a_box_do_not_overlap(fig):
    for name, texts in drawn(fig, "text").items():
        (_, _, _, bottom), (_, top, _, _) = (extent(fig, text) for text in texts)
        assert not texts[1].get_text() or bottom < top + 0.01, name


def test_boxes_do_not_overlap_and_everything_is_on_the_page(fig):
    boxes = rectangles(fig)
    for name, one in boxes.items():
        for other, two in boxes.items():
            assert (
                name == other
                or one[0] > two[2]
                or two[0] > one[2]
                or one[1] > two[3]
                or two[1] > one[3]
            )
    assert fig.get_figwidth() == style.WIDTH
    shown = [
        a
        for a in fig.axes[0].get_children()
        if a is not fig.axes[0].patch and (not hasattr(a, "get_text") or a.get_text())
    ]
    for artist in (*shown[: len(boxes)], *fig.axes[0].texts, *fig.axes[0].patches):
        left, top, right, bottom = extent(fig, artist)
        assert (
            left > 0
            and top > 0
            and right < style.WIDTH
            and bottom < fig.get_figheight()
        ), artist


def test_no_text_is_smaller_than_eight_points(fig):
    assert min(t.get_fontsize() for t in fig.axes[0].texts) >= style.SMALL


def test_arrows_that_share_no_end_never_run_on_one_line(fig):
    ways = list(lines(fig).items())
    for n, ((a, b), one) in enumerate(ways):
        for (c, d), two in ways[:n]:
            if a != c and b != d:
                near = np.linalg.norm(one[:, None] - two[None], axis=-1).min(1) < 0.03
                step = np.linalg.norm(np.diff(one, axis=0), axis=1)
                assert step[near[1:] & near[:-1]].sum() < 0.1, (a, b, c, d)


def test_a_label_stands_beside_its_arrow_on_nothing_else():
    fig = diagram.draw(GAME)
    labels = drawn(fig, "label")
    assert {name: label[0].get_text() for name, label in labels.items()} == {
        "G H": "h",
        "B H": "down",
    }
    for name, (label,) in labels.items():
        left, top, right, bottom = rect = extent(fig, label)
        assert not any(
            left < r[2] and r[0] < right and top < r[3] and r[1] < bottom
            for r in rectangles(fig).values()
        )
        distance = {
            way: min(
                np.hypot(max(left - x, x - right, 0), max(top - y, y - bottom, 0))
                for x, y in points
            )
            for way, points in lines(fig).items()
        }
        assert distance.pop(tuple(name.split())) < 0.1
        assert min(distance.values()) > 0, rect


def test_neighbours_are_joined_by_a_straight_line_from_middle_to_middle():
    fig = diagram.draw("a b\nc .\na -> b; a -> c")
    (path,), (down,), box = *drawn(fig, "arrow").values(), rectangles(fig)["a"]
    (_, y), (_, last) = path.get_path().vertices
    assert y == last == pytest.approx((box[1] + box[3]) / 2)
    assert down.get_path().vertices[:, 0] == pytest.approx([(box[0] + box[2]) / 2] * 2)


def test_an_arrow_over_a_neighbour_goes_around_it_and_back_beside_its_partner():
    ways = lines(diagram.draw("a b c\na -> c; c -> a"))
    height = {
        name: (points[:, 1].min(), points[:, 1].max()) for name, points in ways.items()
    }
    assert abs(height["a", "c"][0] - height["c", "a"][0]) > 0.1


def test_an_arrow_turns_once_where_a_corner_is_free():
    (path,) = drawn(diagram.draw("a .\n. b\na -> b"), "arrow")["a b"]
    corners = path.get_path().codes.tolist().count(path.get_path().CURVE3)
    assert corners == 2, "one corner is two points of a curve"


def test_a_way_that_would_need_more_than_two_corners_is_refused_by_name():
    with pytest.raises(ValueError, match="no way from 'A' to 'J'"):
        diagram.draw(GAME, [("A", "J")])


def test_a_column_is_as_wide_as_its_widest_text_and_a_spanning_box_as_its_cells():
    boxes = rectangles(
        diagram.draw("a b\nc c\nd e\nd: a much longer text than the others")
    )
    assert boxes["a"][0] == boxes["d"][0] and boxes["a"][2] == boxes["d"][2]
    assert boxes["a"][2] - boxes["a"][0] > 3 * (boxes["b"][2] - boxes["b"][0])
    assert (boxes["c"][0], boxes["c"][2]) == (boxes["a"][0], boxes["b"][2])


def test_the_legend_names_the_kinds_that_are_used_and_no_other():
    every = {look[0] for look in diagram.LOOKS.values()}
    assert every & set(words(diagram.draw("a b\nvis a: one | train b: two"))) == {
        "visible only",
        "training only",
    }
    assert every & set(words(diagram.draw(SIXTEEN))) == every


def test_kinds_differ_in_grey_print():
    fig = diagram.draw(
        "a b c d e\nvis a: . | ir b: . | shared c: . | train d: . | loss e: ."
    )
    seen = set()
    for name, (box,) in drawn(fig, "box").items():
        band = [
            p
            for p in fig.axes[0].patches
            if p.get_gid() is None
            and p.get_zorder() == 2.1
            and abs(p.get_x() - box.get_x()) < 1e-6
            and p.get_y() == box.get_y()
        ]
        grey = np.dot(colors.to_rgb(box.get_facecolor()), (0.299, 0.587, 0.114))
        seen.add(
            (
                grey < 0.5,
                box.get_linestyle() != "-",
                bool(band) and (band[0].get_hatch() or "full"),
            )
        )
        assert {"a": style.VIS, "b": style.IR}.get(name, style.VIS) in (
            style.VIS,
            colors.to_hex(box.get_edgecolor()),
        ), name
    assert len(seen) == 5


def test_modalities_have_the_colours_of_the_book_and_a_training_part_may_belong_to_one():
    fig = diagram.draw("a b c\nvis a: one | ir b: two | ir train c: three")
    edge = {
        name: colors.to_hex(box.get_edgecolor())
        for name, (box,) in drawn(fig, "box").items()
    }
    dash = {
        name: box.get_linestyle() not in ("-", "solid")
        for name, (box,) in drawn(fig, "box").items()
    }
    assert edge == {"a": style.VIS, "b": style.IR, "c": style.IR}
    assert dash == {"a": False, "b": False, "c": True}


def test_arrows_of_training_parts_are_dashed():
    fig = diagram.draw("a b c d\ntrain c: c | loss d: d\na -> b -> c -> d")
    assert {
        name: path.get_linestyle() for name, (path,) in drawn(fig, "arrow").items()
    } == {"a b": "-", "b c": "--", "c d": "--"}


def test_a_text_boxes_and_tuples_make_the_same_picture():
    boxes, arrows = diagram.read(TWO_STEMS)
    tuples = [(b.name, b.text, b.place, b.shape, b.kind, b.span) for b in boxes]
    pictures = [
        diagram.draw(*stated)._repr_png_()
        for stated in (
            (TWO_STEMS,),
            (boxes, arrows),
            (tuples, [a[:2] for a in arrows]),
            (boxes, "V, I->trunk->up,down->mean->loss"),
        )
    ]
    assert len(set(pictures)) == 1


def test_rows_of_the_layout_may_stand_on_one_line():
    assert diagram.read("a b .; c c d\na -> d") == diagram.read("a b .\nc c d\na -> d")


def test_sixteen_boxes_are_drawn_quickly():
    start = time.process_time()
    content = io.BytesIO(diagram.draw(SIXTEEN)._repr_png_())
    assert time.process_time() - start < 2
    assert np.asarray(Image.open(content).convert("L")).min() < 60


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a b\nvisual a: one", "neither a box nor a kind: visual"),
        ("a b\na -> c", "neither a box nor a kind: c"),
        ("a b\nc: one", "not in the layout: c"),
        ("a b\na .\n. a", "no rectangle"),
        ("a b\nb a", "no rectangle"),
        ("a b\na: " + "long " * 40, "too wide for a page: break the text of 'a'"),
    ],
)
def test_a_diagram_that_cannot_be_drawn_says_why(text, message):
    with pytest.raises(ValueError, match=message):
        diagram.draw(text)


def test_two_boxes_in_one_place_are_refused():
    for boxes in (
        [("a", "a", (0, 0)), ("b", "b", (0, 0))],
        [("a", "a", (0, 0)), ("a", "b", (1, 0))],
    ):
        with pytest.raises(ValueError, match="one name or in one place"):
            diagram.draw(boxes)
