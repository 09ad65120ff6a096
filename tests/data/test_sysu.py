from pathlib import Path

import numpy as np
import pytest
import toys
from scipy.io import savemat

from vvi.data import images, sysu, validate
from vvi.metrics import from_similarity
from vvi.types import DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return toys.sysu(tmp_path / "sysu")


def names(tracklets, root):
    return [t.paths[0].relative_to(root).with_suffix("").as_posix() for t in tracklets]


def test_the_toy_trains_on_train_and_val_visible_first(root):
    ds = sysu.read(root)
    assert names(ds.train, root) == [
        "cam1/0001/0001",
        "cam1/0001/0002",
        "cam4/0002/0001",
        "cam4/0002/0002",
        "cam3/0001/0001",
        "cam3/0001/0002",
        "cam6/0002/0001",
    ]
    assert [t.modality for t in ds.train] == ["vis"] * 4 + ["ir"] * 3
    assert ds.labels == {1: 0, 2: 1}


def test_the_toy_gives_its_queries_in_order(root):
    query = sysu.read(root).query("ir2vis")
    assert names(query, root) == [
        "cam3/0006/0001",
        "cam3/0006/0002",
        "cam6/0006/0001",
        "cam3/0010/0001",
        "cam6/0010/0001",
        "cam6/0010/0002",
    ]
    assert [t.identity for t in query] == [6, 6, 6, 10, 10, 10]
    assert [t.camera for t in query] == [3, 3, 6, 3, 6, 6]


def test_the_toy_gives_the_galleries_of_the_released_code(root):
    first, second = (sysu.read(root, trial=k).gallery("ir2vis") for k in (0, 1))
    assert names(first, root) == [
        "cam1/0006/0002",
        "cam2/0006/0002",
        "cam4/0006/0001",
        "cam4/0010/0002",
        "cam5/0010/0002",
    ]
    assert names(second, root) == [
        "cam1/0006/0001",
        "cam2/0006/0001",
        "cam4/0006/0002",
        "cam4/0010/0001",
        "cam5/0010/0002",
    ]
    assert names(sysu.read(root, mode="indoor").gallery("ir2vis"), root) == [
        "cam1/0006/0002",
        "cam2/0006/0002",
    ]


def test_the_toy_scores_as_computed_by_hand(root):
    ds = sysu.read(root)
    query, gallery = ds.query("ir2vis"), ds.gallery("ir2vis")
    found = from_similarity(
        [[0.9, 0.7, 0.5, 0.3, 0.1]] * 6,
        [t.identity for t in query],
        [t.identity for t in gallery],
        [t.camera for t in query],
        [t.camera for t in gallery],
        rule=ds.rule,
    )
    np.testing.assert_allclose(found.ap, [1, 1, 1, 0.416667, 0.325, 0.325], atol=1e-6)
    assert (found.rank(1), found.rank(2), found.mAP, found.mINP) == pytest.approx(
        (0.5, 1.0, 0.677778, 0.716667), abs=1e-6
    )


def test_it_searches_with_infrared_only(root):
    ds = sysu.read(root)
    assert (ds.layout, ds.rule, list(ds.sides)) == ("sysu-mm01", "sysu", ["ir2vis"])
    with pytest.raises(ValueError, match="has no direction 'vis2ir'"):
        ds.query("vis2ir")


def test_ten_shots_take_ten_different_images_and_all_of_a_smaller_folder(tmp_path):
    root = toys.sysu(tmp_path)
    for image in range(1, 15):
        toys.write_image(root / "cam1" / "0006" / f"{image:04d}.jpg")
    ds = sysu.read(root, shots=10)
    drawn = [t.paths[0].stem for t in ds.gallery("ir2vis") if t.camera == 1]
    assert len(set(drawn)) == len(drawn) == 10
    assert sorted(t.paths[0].stem for t in ds.gallery("ir2vis") if t.camera == 2) == [
        "0001",
        "0002",
    ]
    assert (
        "4 gallery folders have fewer than 10 images, all of them are taken: cam2/0006 (2), cam4/0006 (2), cam4/0010 (3), cam5/0010 (2)"
        in ds.problems[0]
    )


def test_a_copy_below_ori_data_reads_the_same(tmp_path, root):
    moved = tmp_path / "copy"
    toys.sysu(moved / "ori_data")
    assert names(sysu.read(moved).train, moved / "ori_data") == names(
        sysu.read(root).train, root
    )


def test_matlab_lists_stand_in_for_text_lists(root):
    expected = sysu.read(root)
    for part, ids in toys.SYSU_IDS.items():
        (root / "exp" / f"{part}_id.txt").unlink()
        savemat(
            root / "exp" / f"{part}_id.mat",
            {"id": np.array([[int(i) for i in ids.split(",")]])},
        )
    assert sysu.read(root) == expected


def test_a_matlab_list_of_fractions_is_refused(root):
    (root / "exp" / "val_id.txt").unlink()
    savemat(root / "exp" / "val_id.mat", {"id": np.array([[1.5]])})
    with pytest.raises(DataError, match="val_id.mat: variable id must hold integers"):
        sysu.read(root)


def test_only_the_first_line_of_a_list_counts(root):
    expected = sysu.read(root)
    toys.write_lines(root / "exp" / "test_id.txt", ["6,10", "remark"], end="\r\n")
    assert sysu.read(root) == expected


@pytest.mark.parametrize("second", ["10", "10,17", " 10 , "])
def test_identities_below_the_first_line_are_refused_not_dropped(root, second):
    toys.write_lines(root / "exp" / "test_id.txt", ["6", second], end="\n")
    with pytest.raises(DataError, match=r"test_id.txt, line 2: .*on its first line"):
        sysu.read(root)


def write_arrays(prefix: str, **replaced: np.ndarray) -> None:
    """The four released arrays: 3 visible and 2 infrared images of 2 identities; the
    value of a pixel names its row.
    """
    arrays = {
        "rgb_resized_img": np.arange(3, dtype=np.uint8).reshape(3, 1, 1, 1)
        * np.ones((1, 288, 144, 3), np.uint8),
        "rgb_resized_label": np.array([0, 0, 1]),
        "ir_resized_img": 10
        + np.arange(2, dtype=np.uint8).reshape(2, 1, 1, 1)
        * np.ones((1, 288, 144, 3), np.uint8),
        "ir_resized_label": np.array([0, 1]),
    }
    for name, array in (arrays | replaced).items():
        np.save(f"{prefix}train_{name}.npy", array)


def test_the_released_arrays_are_mapped_and_rows_are_found_by_path(root):
    write_arrays(f"{root}/")
    arrays = sysu.train_arrays(root)
    assert isinstance(arrays.images["vis"], np.memmap)
    assert arrays.labels["ir"].tolist() == [0, 1]
    tracklets = arrays.tracklets()
    assert [(t.identity, t.modality, t.camera) for t in tracklets] == [
        (0, "vis", 0),
        (0, "vis", 0),
        (1, "vis", 0),
        (0, "ir", 0),
        (1, "ir", 0),
    ]
    assert tracklets[4].paths == (root / "train_ir_resized_img.npy" / "1",)
    assert [int(images.array_row(t.paths[0])[5, 7, 1]) for t in tracklets] == [
        0,
        1,
        2,
        10,
        11,
    ]
    assert images.array_row(tracklets[0].paths[0]).shape == (288, 144, 3)


def test_the_data_set_can_train_on_the_released_arrays(root):
    write_arrays(f"{root}/")
    ds = sysu.read(root, train="arrays")
    assert ds.train == sysu.train_arrays(root).tracklets()
    assert ds.labels == {0: 0, 1: 1}
    assert ds.sides == sysu.read(root).sides
    assert validate(ds) == []


def test_arrays_are_found_where_the_released_scripts_leave_them(root, tmp_path):
    write_arrays(str(root))  # next to the folder, its name glued before theirs
    assert len(sysu.train_arrays(root).tracklets()) == 5
    toys.sysu(tmp_path / "nested" / "ori_data")
    write_arrays(f"{tmp_path}/nested/")
    assert (
        len(sysu.train_arrays(tmp_path / "nested").tracklets())
        == len(sysu.train_arrays(tmp_path / "nested" / "ori_data").tracklets())
        == 5
    )


IMAGE = np.zeros((3, 288, 144, 3), np.uint8)
ARRAYS = [
    (
        {"rgb_resized_label": np.array([0, 1])},
        "train_rgb_resized_label.npy: 2 labels for 3 images",
    ),
    (
        {"rgb_resized_img": IMAGE.astype(np.float32)},
        "train_rgb_resized_img.npy: dtype is float32, must be uint8",
    ),
    (
        {"rgb_resized_img": IMAGE[:, :256]},
        r"train_rgb_resized_img.npy: shape is \(3, 256, 144, 3\), must be \(N, 288, 144, 3\)",
    ),
    ({"rgb_resized_img": IMAGE.transpose(0, 3, 1, 2)}, r"shape is \(3, 3, 288, 144\)"),
    (
        {"rgb_resized_label": np.array([0, 0, 2])},
        r"train_rgb_resized_label.npy: labels are not 0..1 without a hole: label 2 in place of 1",
    ),
    (
        {"ir_resized_label": np.array([1, 2])},
        "train_ir_resized_label.npy: labels are not 0..1 without a hole: label 1 in place of 0",
    ),
    (
        {"ir_resized_label": np.array([0, 0])},
        r"train_ir_resized_label.npy: labels of only one modality: 1 \(1 in all\)",
    ),
    (
        {"ir_resized_label": np.array([0.0, 1.0])},
        r"train_ir_resized_label.npy: labels must be integers of shape \(N,\), are float64 of shape \(2,\)",
    ),
    (
        {"ir_resized_label": np.array([{}, {}], dtype=object)},
        "train_ir_resized_label.npy: unreadable array: ",
    ),
]


@pytest.mark.parametrize(
    ("replaced", "says"), ARRAYS, ids=[says.split(": ")[-1] for _, says in ARRAYS]
)
def test_malformed_arrays_are_refused(root, replaced, says):
    write_arrays(f"{root}/", **replaced)
    with pytest.raises(DataError, match=says):
        sysu.train_arrays(root)
    with pytest.raises(DataError, match=says):
        sysu.read(root, train="arrays")


def test_missing_arrays_are_named_all_at_once(root):
    with pytest.raises(
        DataError,
        match="missing 4 of 4 arrays: train_rgb_resized_img.npy, train_rgb_resized_label.npy, train_ir_resized_img.npy",
    ):
        sysu.train_arrays(root)
    write_arrays(f"{root}/")
    (root / "train_ir_resized_label.npy").unlink()
    with pytest.raises(
        DataError, match="missing 1 of 4 arrays: train_ir_resized_label.npy"
    ):
        sysu.train_arrays(root)
