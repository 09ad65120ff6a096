"""Features in files, by whoever made them, give the numbers that their rows have."""

import io

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import torch as torch_file
from safetensors.numpy import save_file

from vvi import metrics
from vvi.evaluation import features, ranking
from vvi.evaluation.features import Features, FeaturesError

IDS, CAMS = [1, 2, 3, 1, 2, 3, 1], [1, 1, 1, 2, 2, 2, 1]


def made(seed=0, rows=7, width=5):
    r = np.random.default_rng(seed)
    return r.normal(size=(rows, width)).astype(np.float32)


def table(rows=7, **columns):
    names = {"name": [f"{k}.jpg" for k in range(rows)]}
    return pd.DataFrame(names | {k: [str(x) for x in v] for k, v in columns.items()})


def known(seed=0):
    about = {"weights": "net 1", "source": "/pictures"}
    return Features(made(seed), table(identity=IDS, camera=CAMS), about)


@pytest.mark.parametrize("end", [".npz", ".safetensors"])
def test_what_is_written_is_read_back_with_its_table(end, tmp_path):
    file = features.save(known(), tmp_path / f"a{end}")
    found = features.load(file)
    np.testing.assert_array_equal(found.values, known().values)
    assert list(found.column("identity")) == [str(i) for i in IDS]
    assert found.about["weights"] == "net 1" and found.about["source"] == "/pictures"
    assert (
        (tmp_path / "a.csv")
        .read_text()
        .startswith("row,name,identity,camera\n0,0.jpg,1,1")
    )
    assert found.values.dtype == np.float32


def expected(rule="vcm"):
    args = made(), made(1), IDS, IDS, CAMS, CAMS
    return metrics.retrieval_metrics(*args, rule=rule)


def assert_same(found, other):
    np.testing.assert_allclose(found.ap, other.ap)
    np.testing.assert_array_equal(found.first_hit, other.first_hit)


def both(**query):
    gallery = {"gallery": made(1), "gallery_ids": np.array(IDS)}
    return {"query": made(), "query_ids": np.array(IDS)} | gallery | query


def write_npz(folder):
    np.savez(folder / "f.npz", **both(query_cams=CAMS, gallery_cams=CAMS))
    return [folder / "f.npz"]


def write_torch(folder):
    content = both(query_camids=np.array(CAMS), gallery_camids=np.array(CAMS))
    torch.save({k: torch.tensor(v) for k, v in content.items()}, folder / "f.pt")
    return [folder / "f.pt"]


def write_two_npy_with_tables(folder):
    for name, seed in (("q", 0), ("g", 1)):
        np.save(folder / f"{name}.npy", made(seed).astype(np.float64))
        table(identity=IDS, camera=CAMS).to_csv(folder / f"{name}.csv", index=False)
    return [folder / "q.npy", folder / "g.npy"]


def write_two_npz_of_arrays(folder):
    for name, seed in (("q", 0), ("g", 1)):
        arrays = {"feat": made(seed), "pids": np.array(IDS), "camids": np.array(CAMS)}
        np.savez(folder / f"{name}.npz", **arrays)
    return [folder / "q.npz", folder / "g.npz"]


def write_one_with_sides(folder):
    values = np.concatenate([made(), made(1)])
    save_file({"embeddings": values}, folder / "f.safetensors")
    sides = ["query"] * 7 + ["gallery"] * 7
    table(14, identity=IDS * 2, camera=CAMS * 2, side=sides).to_csv(folder / "f.csv")
    return [folder / "f.safetensors"]


def write_words(folder):
    for name, seed in (("q", 0), ("g", 1)):
        people = [f"person {i}" for i in IDS]
        places = ["gate" if c == 1 else "hall" for c in CAMS]
        found = Features(made(seed), table(identity=people, camera=places))
        features.save(found, folder / f"{name}.npz")
    return [folder / "q.npz", folder / "g.npz"]


@pytest.mark.parametrize(
    "write",
    [
        write_npz,
        write_torch,
        write_two_npy_with_tables,
        write_two_npz_of_arrays,
        write_one_with_sides,
        write_words,
    ],
)
def test_features_in_any_of_these_files_are_scored_alike(write, tmp_path):
    files = [features.load(file) for file in write(tmp_path)]
    ((name, (query, gallery)),) = ranking.pairs(*files).items()
    assert name == "query in gallery"
    for rule in ("vcm", "none"):
        assert_same(ranking.score(query, gallery, rule)[0], expected(rule))


def test_both_modalities_in_one_file_are_both_directions():
    modality = ["ir", "ir", "ir", "vis", "vis", "vis", "vis"]
    found = Features(made(), table(identity=IDS, camera=CAMS, modality=modality))
    both = ranking.pairs(found)
    assert list(both) == ["ir2vis", "vis2ir"]
    query, gallery = both["ir2vis"]
    args = made()[:3], made()[3:], IDS[:3], IDS[3:], CAMS[:3], CAMS[3:]
    assert_same(ranking.score(query, gallery)[0], metrics.retrieval_metrics(*args))
    assert len(both["vis2ir"][0]) == 4


def test_re_ranking_is_scored_beside():
    from vvi.evaluation.rerank import rerank

    gallery = Features(known(1).values, known(1).table, {"source": "/others"})
    _, again = ranking.score(known(), gallery, "none", k1=4, k2=2, weight=0.3)
    distance = rerank(made(), made(1), 4, 2, 0.3)
    wanted = metrics.from_similarity(-distance, IDS, IDS, CAMS, CAMS, rule="none")
    assert_same(again, wanted)


def test_numbers_spelt_differently_are_one_person():
    one = Features(made(), table(identity=["01", "2.0", "3", "1", "2", "3", "1"]))
    found = ranking.score(one, known(1), "none")[0]
    assert_same(found, expected("none"))


def test_a_list_is_the_order_of_cosines_with_what_is_known():
    lists = ranking.rank(
        known(), Features(made(1), table(identity=[1, 2, 3, "", "", "", ""])), 4
    )
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (made(), made(1))]
    order = np.argsort(-unit[0] @ unit[1].T, axis=1)[:, :4]
    np.testing.assert_array_equal(lists.gallery_row.to_numpy().reshape(7, 4), order)
    first = lists[lists.query_row == 0]
    assert list(first["rank"]) == [1, 2, 3, 4] and list(first.gallery) == [
        f"{k}.jpg" for k in order[0]
    ]
    np.testing.assert_allclose(
        first.similarity, (unit[0] @ unit[1].T)[0, order[0]], rtol=1e-5
    )
    right = {0: "right", 1: "wrong", 2: "wrong"}
    assert list(first.verdict) == [right.get(k, "unknown") for k in order[0]]


def test_the_picture_that_searches_is_not_found_itself():
    same = ranking.rank(known(), known(), top=3)
    assert not (same["query"] == same["gallery"]).any()
    assert (same.groupby("query").size() == 3).all()
    elsewhere = Features(made(), table(), {"source": "/others"})
    first = ranking.rank(known(), elsewhere, 1)
    assert (first["query"] == first["gallery"]).all()


def test_the_table_is_read_as_often_however_many_rows_search(monkeypatch):
    plain, calls = features.row_table.plain, []
    monkeypatch.setattr(
        features.row_table, "plain", lambda text: calls.append(text) or plain(text)
    )
    gallery = Features(made(1, 50), table(50, identity=range(50)))
    lists = ranking.rank(Features(made(2, 60), table(60, identity=range(60))), gallery)
    assert len(calls) == 60 + 50, "each cell once, not once a query"
    right = lists["query_row"] == lists["gallery_row"]
    assert list(lists.verdict == "right") == list(right) and right.any()
    assert list(lists["rank"]) == [*range(1, 11)] * 60


def test_rows_of_nothing_known_do_not_find_themselves_in_the_same_file(tmp_path):
    np.savez(tmp_path / "a.npz", features=made(), ids=IDS, cams=CAMS)
    query, gallery = (features.load(tmp_path / "a.npz") for _ in range(2))
    for options in ({}, {"k1": 4, "k2": 2}):
        lists = ranking.rank(query, gallery, **options)
        assert (lists["query_row"] != lists["gallery_row"]).all()
        assert len(lists) == 7 * 6
    with pytest.raises(FeaturesError, match="7 pictures stand in query and gallery"):
        ranking.score(query, gallery, "none")
    some = ranking.rank(query, Features(made()[:3], table(3)), top=1)
    assert list(some["gallery_row"][:3]) == [0, 1, 2], "rows of another file"


def test_a_gallery_shorter_than_the_list_and_re_ranking_are_fine():
    gallery = Features(made(1)[:2], table(2))
    lists = ranking.rank(known(), gallery, 10, k1=4, k2=2, weight=0.3)
    steps = lists.groupby("query").distance.diff().dropna()
    assert len(lists) == 14 and (steps >= 0).all()


def bad(folder, name, **arrays):
    np.savez(folder / name, **arrays)
    return folder / name


def with_table(folder, text):
    (folder / "a.csv").write_text(text)
    return bad(folder, "a.npz", features=np.eye(3))


def make_table(text):
    return lambda folder: with_table(folder, text)


#: Tables of three rows, and what is said of them.
TABLES = [
    (
        "row,identity,camera\n0,p0,1,\n1,p1,1,\n2,p2,1,\n",
        "a.csv is no table: line 2 has 4 cells, the header 3",
    ),
    ("row,identity\n0,a\n2,b\n2,c\n", "a.csv: row 2 stands there twice"),
    ("row,identity\n0,a\n1,b\n3,c\n", "a.csv: row '3' is not in a.npz, which has"),
    ("row,identity\n0,a\n1,b\n,c\n", "a.csv: row '' is not in a.npz"),
    ("row,identity\n2,a\n0,b\n", r"a.csv has 2 rows.*row\(s\) 1 are missing"),
    ("Identity,identity\na,b\n", "its columns Identity and identity have one name"),
    ("", "a.csv is no table: it is empty"),
    ('identity\n"a\nb\nc\n', "a.csv is no table: unexpected end of data"),
]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda f: f / "none.npz", "there is no file of features"),
        (
            lambda f: (f / "a.mat").write_bytes(b"x") and f / "a.mat",
            "features end in .npz, .safetensors",
        ),
        (
            lambda f: (f / "a.npz").write_bytes(b"x") and f / "a.npz",
            "holds no features that can be read",
        ),
        (
            lambda f: (f / "a.npy").write_bytes(b"") or f / "a.npy",
            "holds no features that can be read",
        ),
        (
            lambda f: (
                (f / "a.safetensors").write_bytes(b"12345678{") and f / "a.safetensors"
            ),
            "holds no features",
        ),
        (
            lambda f: bad(f, "a.npz", x=np.ones(3)),
            r"holds no array `features`.*it holds x \(3,\)",
        ),
        (
            lambda f: bad(f, "a.npz", x=np.ones((3, 2)), y=np.ones((3, 2))),
            "no array `features`",
        ),
        (
            lambda f: bad(f, "a.npz", features=np.full((3, 2), np.nan)),
            r"NaN or infinity in row\(s\) 0, 1, 2",
        ),
        (
            lambda f: bad(f, "a.npz", features=np.ones((3, 2)), ids=np.ones(4)),
            "4 ids for 3 rows",
        ),
        (
            lambda f: bad(f, "a.npz", features=np.array([["a", "b"]])),
            "array features is of type text",
        ),
        (
            lambda f: bad(f, "a.npz", feats=np.ones((3, 2), bool)),
            "array feats is of type bool; features are real",
        ),
        (
            lambda f: bad(f, "a.npz", features=np.ones((3, 2), complex)),
            "array features is of type complex",
        ),
        (
            lambda f: bad(f, "a.npz", features=np.ones((3, 2)), about="[1]"),
            "a.npz: its array `about` is no JSON object",
        ),
        (
            lambda f: bad(f, "a.npz", features=np.ones((3, 2)), about="{no"),
            "a.npz: its array `about` is no JSON object",
        ),
        (
            lambda f: bad(f, "a.npz", features=np.array([{}, 1], object)),
            "holds no features that can be read",
        ),
        (
            lambda f: bad(f, "a.npz", query=np.ones((3, 2)), gallery=np.ones((3, 4))),
            "query rows have 2 numbers, gallery 4",
        ),
        (
            lambda f: (
                (f / "a.csv").write_text("row,name\n0,x\n")
                and bad(f, "a.npz", features=np.ones((3, 2)))
            ),
            "a.csv has 1 rows, a.npz 3",
        ),
        (
            lambda f: (
                (f / "a.csv").write_text("a,b\n1,2\n1,2,3,4\n")
                and bad(f, "a.npz", features=np.ones((3, 2)))
            ),
            "a.csv is no table: line 3 has 4 cells, the header 2",
        ),
        *((make_table(text), said) for text, said in TABLES),
    ],
)
def test_a_file_that_cannot_be_used_is_named_in_one_line(make, said, tmp_path):
    with pytest.raises((FeaturesError, FileNotFoundError), match=said) as caught:
        features.load(make(tmp_path))
    assert "\n" not in str(caught.value)


def test_what_is_missing_in_a_table_is_named_with_the_cure():
    nobody = Features(made(), table(identity=[1, 2, "", 1, 2, 3, 1]), {"file": "q.npz"})
    with pytest.raises(
        FeaturesError,
        match=r"q.npz: no identity in row\(s\) 2; fill the column identity of its",
    ):
        ranking.score(nobody, known())
    with pytest.raises(
        FeaturesError,
        match=r"no camera in row.*\(its columns: name, identity\), or say",
    ):
        ranking.score(Features(made(), table(identity=IDS)), known())
    with pytest.raises(
        FeaturesError, match="one file of features and no two sides in it"
    ):
        ranking.pairs(known())
    with pytest.raises(
        FeaturesError, match="query rows have 5 numbers, gallery rows 6"
    ):
        ranking.score(
            known(), Features(made(width=6), table(identity=IDS, camera=CAMS))
        )
    other = Features(made(), known().table, {"weights": "net 2"})
    with pytest.raises(FeaturesError, match="by two networks .net 1; net 2."):
        ranking.rank(known(), other)
    with pytest.raises(FeaturesError, match="the gallery is empty"):
        ranking.rank(known(), known().part(np.zeros(7, bool)))
    with pytest.raises(FeaturesError, match="cameras of SYSU-MM01 are 1 to 6"):
        ranking.score(
            Features(made(), table(identity=IDS, camera=["a"] * 7)), known(), "sysu"
        )
    with pytest.raises(ValueError, match="must end in .npz or .safetensors"):
        features.save(known(), "a.txt")


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_table_as_another_program_writes_it_is_read(mark, tmp_path):
    """Columns parted as spreadsheets part them, and named as loaders name them."""
    np.savez(tmp_path / "a.npz", features=made())
    lines = [mark.join((" PID ", "camid", "paths"))]
    for number, (person, camera) in enumerate(zip(IDS, CAMS, strict=True)):
        lines.append(mark.join((str(person), str(camera), f"{number}.jpg")))
    (tmp_path / "a.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    found = features.load(tmp_path / "a.npz")
    assert list(found.column("identity")) == [str(i) for i in IDS]
    assert list(found.column("camera")) == [str(c) for c in CAMS]
    assert found.column("name")[3] == "3.jpg"
    gallery = Features(made(1), table(identity=IDS, camera=CAMS))
    assert_same(ranking.score(found, gallery)[0], expected())


def test_a_tensor_saved_alone_is_features_and_no_checkpoint(tmp_path):
    from vvi.runtime import tensors

    torch.save(torch.from_numpy(made()), tmp_path / "a.pt")
    np.testing.assert_array_equal(features.load(tmp_path / "a.pt").values, made())
    with pytest.raises(tensors.CheckpointError, match="holds a Tensor, not a dict"):
        tensors.read(tmp_path / "a.pt")


def test_identities_that_are_no_numbers_are_unknown(tmp_path):
    ids = np.array([1, 2, np.nan, np.inf, 2.5, 3, 1])
    np.savez(tmp_path / "a.npz", features=made(), pids=ids)
    known = ["1", "2", "", "", "2.5", "3", "1"]
    assert list(features.load(tmp_path / "a.npz").column("identity")) == known


def test_rows_without_a_name_go_by_their_number():
    nameless = Features(made(), pd.DataFrame(index=range(7)))
    lists = ranking.rank(nameless, Features(made(1), table()), top=2)
    assert list(lists["query"][:3]) == ["row 0", "row 0", "row 1"]
    assert all(name.endswith(".jpg") for name in lists["gallery"])


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\nidentity;camera\na;1\nb;\nc;3\n",
        '"sep=,",\r\nidentity,camera\r\na,1\r\nb,\r\nc,3\r\n',
        "SEP=\t\nidentity\tcamera\ta,b,c\na\t1\nb\t\nc\t3\n",
    ],
)
def test_a_line_that_says_what_parts_the_cells_is_no_header(text, tmp_path):
    read = features.load(with_table(tmp_path, text))
    assert list(read.column("identity")) == ["a", "b", "c"]
    assert list(read.column("camera")) == ["1", "", "3"]


def test_lines_that_were_cleared_in_a_spreadsheet_belong_to_no_row(tmp_path):
    text = "row,identity,camera\n2,c,3\n,,\n0,a,1\n1,b,\n,,\n , ,\n"
    read = features.load(with_table(tmp_path, text))
    assert list(read.column("identity")) == ["a", "b", "c"]
    without_numbers = "identity,camera\na,1\n,\nc,3\n,\n,\n"
    read = features.load(with_table(tmp_path, without_numbers))
    assert list(read.column("identity")) == ["a", "", "c"], "the second is of nobody"
    with pytest.raises(FeaturesError, match="a.csv has 4 rows, a.npz 3"):
        features.load(with_table(tmp_path, "identity,camera\na,1\n,\nc,3\nd,4\n"))


def test_a_table_of_an_old_code_page_is_named_with_the_cure(tmp_path):
    file = with_table(tmp_path, "")
    (tmp_path / "a.csv").write_bytes("identity\nJörg\nb\nc\n".encode("cp1252"))
    with pytest.raises(FeaturesError, match="a.csv is no table: .* as CSV UTF-8"):
        features.load(file)


@pytest.mark.parametrize("spelling", ["{}", "{}.0"])
def test_a_table_that_was_sorted_anew_is_of_the_same_rows(spelling, tmp_path):
    file = features.save(known(), tmp_path / "a.npz")
    ordered = features.load(file)
    lines = (tmp_path / "a.csv").read_text().splitlines()
    shuffled = [lines[0]]
    for number in (3, 0, 6, 1, 5, 2, 4):
        row, rest = lines[1 + number].split(",", 1)
        shuffled.append(f"{spelling.format(row)},{rest}")
    (tmp_path / "a.csv").write_text("\n".join(shuffled))
    again = features.load(file)
    pd.testing.assert_frame_equal(again.table, ordered.table)
    other = Features(made(1), table(identity=IDS, camera=CAMS))
    assert_same(ranking.score(again, other)[0], expected())
    assert ranking.rank(again, other).equals(ranking.rank(ordered, other))


def test_cells_that_are_missing_at_the_end_of_a_line_are_empty(tmp_path):
    file = with_table(tmp_path, "row,identity,camera,\n0,a,1,\n1,b\n2,c,,\n")
    read = features.load(file)
    assert list(read.column("identity")) == ["a", "b", "c"]
    assert list(read.column("camera")) == ["1", "", ""]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1.0", "1", True),
        ("01", "1", True),
        (" p1 ", "p1", True),
        ("000", "0", True),
        ("1_2", "12", False),
        ("1e1", "10", False),
        ("1.5", "1", False),
        ("٣", "3", False),
    ],
)
def test_scores_and_lists_agree_on_who_is_one_person(one, other, same):
    query = Features(made(rows=2), table(2, identity=[one, "somebody"]))
    gallery = Features(made(1, rows=2), table(2, identity=[other, "somebody"]))
    right = ranking.rank(query, gallery).verdict == "right"
    assert right.sum() == 1 + same
    first_hit = ranking.score(query, gallery, "none")[0].first_hit
    assert np.count_nonzero(first_hit) == 1 + same


def test_an_archive_that_is_cut_off_is_named_in_one_line(tmp_path):
    content = features.save(known(), tmp_path / "a.npz").read_bytes()
    for size in (5, 100, len(content) // 2, len(content) - 1):
        (tmp_path / "a.npz").write_bytes(content[:size])
        with pytest.raises(FeaturesError, match="a.npz is damaged or cut off: copy"):
            features.load(tmp_path / "a.npz")
    changed = bytearray(content)
    changed[200] ^= 255
    (tmp_path / "a.npz").write_bytes(changed)
    with pytest.raises(FeaturesError, match="a.npz is damaged or cut off: copy"):
        features.load(tmp_path / "a.npz")


def test_an_array_under_the_name_of_an_archive_is_read(tmp_path):
    with open(tmp_path / "a.npz", "wb") as file:
        np.save(file, made())
    np.testing.assert_array_equal(features.load(tmp_path / "a.npz").values, made())


def embedded(source="/pictures", names=("a.jpg", "b.jpg", "c.jpg"), camera=""):
    rows = {"name": list(names), "identity": "", "camera": camera, "frames": "1"}
    about = {"source": source, "weights": "net"}
    return Features(made(rows=len(names)), pd.DataFrame(rows), about)


def fill(file):
    """Fill in a table as a person does, and sort it by something else."""
    by_hand = pd.read_csv(file, dtype=str, keep_default_na=False)
    by_hand["identity"] = ["7", "", "p 9"]
    by_hand["camera"] = ["2", "", ""]
    by_hand["side"] = ["query", "", "gallery"]
    by_hand[::-1].to_csv(file, index=False)


def test_what_was_filled_in_outlives_embedding_again(tmp_path):
    file = features.save(embedded(), tmp_path / "a.npz")
    fill(tmp_path / "a.csv")
    grown = embedded(names=("0.jpg", "a.jpg", "b.jpg", "c.jpg"))
    features.save(features.keep_filled(grown, file), file)
    again = features.load(file)
    assert list(again.column("identity")) == ["", "7", "", "p 9"]
    assert list(again.column("camera")) == ["", "2", "", ""]
    assert list(again.column("side")) == ["", "query", "", "gallery"]
    kept = features.keep_filled(embedded(names=grown.table["name"], camera="5"), file)
    assert list(kept.column("camera")) == ["5"] * 4, "it was said anew"
    file.unlink()
    kept = features.keep_filled(grown, file)
    assert list(kept.column("identity")) == ["", "7", "", "p 9"]


def by_hand(file):
    """Return the text of a table after its first row got an identity."""
    return file.read_text().replace("a.jpg,,", "a.jpg,7,")


@pytest.mark.parametrize(
    "spell",
    [
        lambda text: "\ufeff" + text.replace(",", ";").replace("\n", "\r\n"),
        lambda text: "sep=\t\n" + text.replace(",", "\t"),
        lambda text: "".join(f'"{x}"\n'.replace(",", '","') for x in text.split()),
        lambda text: pd.read_csv(io.StringIO(text)).iloc[:, ::-1].to_csv(index=False),
    ],
)
def test_a_table_that_a_spreadsheet_saved_is_still_ours(spell, tmp_path):
    file = features.save(embedded(), tmp_path / "a.npz")
    (tmp_path / "a.csv").write_text(spell(by_hand(tmp_path / "a.csv")), newline="")
    features.save(features.keep_filled(embedded(), file), file)
    assert list(features.load(file).labels("identity")) == ["7", "", ""]


@pytest.mark.parametrize("text", ["", "frame,row\n1,2\n", "row\n1,2\n"])
def test_a_table_of_something_else_stays(text, tmp_path):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match="a.csv is (no table|there and holds)"):
        features.save(embedded(), tmp_path / "a.npz")
    assert (tmp_path / "a.csv").read_text() == text


@pytest.mark.parametrize(
    "other", [embedded("/others"), embedded(names=("a.jpg", "b.jpg"))]
)
def test_what_was_filled_in_of_other_pictures_is_not_replaced(other, tmp_path):
    file = features.save(embedded(), tmp_path / "a.npz")
    features.keep_filled(other, file)  # nothing is filled in
    fill(tmp_path / "a.csv")
    with pytest.raises(ValueError, match="c.jpg is filled in, and is not among what"):
        features.keep_filled(other, file)


def test_a_file_of_both_sides_takes_no_table_of_another_file(tmp_path):
    values = {"query": made(rows=2), "gallery": made(rows=2)}
    ids = {"query_ids": [1, 2], "gallery_ids": [2, 1]}
    np.savez(tmp_path / "set.mine.npz", **values, **ids)
    (tmp_path / "set.csv").write_text("identity\n8\n9\n")
    found = features.load(tmp_path / "set.mine.npz")
    assert list(found.column("identity")) == ["1", "2", "2", "1"]


def both_with_table(folder, text, **arrays):
    """A file of two queries and three gallery rows, and the table beside it."""
    (folder / "a.csv").write_text(text)
    return bad(folder, "a.npz", query=made(0, 2), gallery=made(1, 3), **arrays)


@pytest.mark.parametrize(
    "text",
    [
        "identity,camera\n1,1\n2,1\n1,2\n2,2\n3,2\n",
        "row,identity,camera\n4,3,2\n3,2,2\n2,1,2\n1,2,1\n0,1,1\n",
        "side,identity,camera\nquery,1,1\n,2,1\ngallery,1,2\n,2,2\n,3,2\n",
    ],
)
def test_the_table_of_a_file_of_both_sides_holds_its_queries_first(text, tmp_path):
    file = both_with_table(tmp_path, text, query_ids=[8, 9], query_names=["a", "b"])
    ((query, gallery),) = ranking.pairs(features.load(file)).values()
    assert list(query.column("identity")) == ["1", "2"], "before what the arrays say"
    assert list(query.column("name")) == ["a", "b"], "where the table does not say it"
    assert list(gallery.column("identity")) == ["1", "2", "3"]
    assert list(gallery.column("camera")) == ["2", "2", "2"]
    np.testing.assert_array_equal(query.values, made(0, 2))
    ids, cams = ([1, 2], [1, 2, 3]), ([1, 1], [2, 2, 2])
    wanted = metrics.retrieval_metrics(made(0, 2), made(1, 3), *ids, *cams, rule="none")
    assert_same(ranking.score(query, gallery, "none")[0], wanted)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("identity\n1\n2\n", "a.csv has 2 rows, a.npz 5"),
        (
            "side,identity\ngallery,1\ngallery,2\ngallery,3\nquery,1\nquery,2\n",
            "says 'gallery' in row 0, which is of query in a.npz: sort it, queries",
        ),
    ],
)
def test_a_table_of_other_rows_than_both_sides_is_refused(text, said, tmp_path):
    with pytest.raises(FeaturesError, match=said):
        features.load(both_with_table(tmp_path, text, query_ids=[8, 9]))


@pytest.mark.parametrize(
    "name",
    [
        " lead.png",
        "end.png ",
        "two\nlines.png",
        "a\rreturn.png",
        "both\r\n.png",
        'a "word".png',
        "'word'.png",
        "1,2;3\t4.png",
    ],
)
def test_a_name_is_kept_letter_by_letter(name, tmp_path):
    pictures = embedded(names=("a.jpg", name))
    pictures = Features(pictures.values, pictures.table.assign(file=["a.jpg", name]))
    file = features.save(pictures, tmp_path / "a.npz")
    again = features.load(file)
    assert list(again.column("name")) == list(again.column("file")) == ["a.jpg", name]
    by_hand = pd.read_csv(tmp_path / "a.csv", dtype=str, keep_default_na=False)
    filled = by_hand.assign(identity=["", "7"])
    filled.to_csv(tmp_path / "a.csv", index=False, lineterminator="\r\n")
    kept = features.keep_filled(pictures, file)
    assert list(kept.column("identity")) == ["", "7"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_as_any_system_ends_them(end, tmp_path):
    (tmp_path / "a.csv").write_bytes(end.join(["name,ids", "a,1", "b,2", ""]).encode())
    found = features.load(bad(tmp_path, "a.npz", features=made(rows=2)))
    assert list(found.column("identity")) == ["1", "2"]


def test_rows_of_neither_side_do_not_count_and_other_words_are_refused():
    sides = ["query", "", "gallery", "gallery"]
    rows = {"side": sides, "modality": ["ir", "ir", "vis", "vis"]}
    found = Features(made(rows=4), pd.DataFrame(rows))
    ((query, gallery),) = ranking.pairs(found).values()
    assert (len(query), len(gallery)) == (1, 2)
    rows["side"] = ["Query", "", "gallery", "gallery"]
    with pytest.raises(FeaturesError, match="column side says .*Query.*must be query"):
        ranking.pairs(Features(made(rows=4), pd.DataFrame(rows)))


def at(source, *names):
    rows = {"name": list(names), "identity": [str(n) for n in range(len(names))]}
    return Features(made(rows=len(names)), pd.DataFrame(rows), {"source": str(source)})


def test_a_picture_does_not_find_itself_however_its_folder_was_named(tmp_path):
    day = tmp_path / "day"
    (tmp_path / "sub").mkdir()
    day.mkdir()
    (tmp_path / "link").symlink_to(day)
    query = at(day, "1/a.jpg", "2/b.jpg")
    for named in (day, tmp_path / "sub" / ".." / "day", tmp_path / "link"):
        listed = ranking.rank(query, at(named, "1/a.jpg", "2/b.jpg", "3/c.jpg"))
        assert (listed["query"] != listed["gallery"]).all() and len(listed) == 4
    frames = at(day / "1", "a.jpg")
    listed = ranking.rank(frames, at(day, "1", "2", "10"))
    assert set(listed["gallery"]) == {"2", "10"}, "a frame of the tracklet 1"
    listed = ranking.rank(at(day, "1"), at(day, "1/a.jpg", "2/a.jpg"))
    assert list(listed["gallery"]) == ["2/a.jpg"], "the tracklet of the frame"


@pytest.mark.parametrize("rule", ["none", "sysu"])
def test_a_score_refuses_pictures_that_would_find_themselves(rule, tmp_path):
    both = at(tmp_path, "a.jpg", "b.jpg")
    both = Features(both.values, both.table.assign(camera="1"), both.about)
    with pytest.raises(FeaturesError, match="2 pictures stand in query and gallery"):
        ranking.score(both, both, rule)
    with pytest.raises(ValueError, match="no query has a match left"):
        ranking.score(both, both, "vcm")  # its rule removes them


def test_features_of_other_pictures_are_replaced_with_a_word(tmp_path):
    file = features.save(embedded(), tmp_path / "a.npz")
    with pytest.warns(UserWarning, match="a.npz held features of other pictures"):
        features.keep_filled(embedded("/others"), file)


def test_features_of_a_video_from_before_it_was_noted_are_read(tmp_path):
    names = ("night.mp4/track 1/1", "night.mp4/track 2/1")
    file = features.save(embedded(names=names), tmp_path / "night.npz")
    assert "video" not in features.load(file).about
    new = embedded(names=names)
    new = Features(new.values, new.table, {**new.about, "video": "0123456789abcdef"})
    with pytest.warns(UserWarning, match="night.npz held features of other pictures"):
        features.keep_filled(new, file)
    features.save(new, file)
    assert features.load(file).about["video"] == "0123456789abcdef"


def test_one_camera_does_not_take_the_place_of_several(tmp_path):
    file = features.save(embedded(), tmp_path / "a.npz")
    rows = pd.read_csv(tmp_path / "a.csv", dtype=str).assign(camera=["2", "5", "1"])
    rows.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(ValueError, match=r"camera is filled in \(1, 2, 5\)"):
        features.keep_filled(embedded(camera="1"), file)
    kept = features.keep_filled(embedded(), file)
    assert list(kept.column("camera")) == ["2", "5", "1"]


def test_a_table_made_in_python_may_hold_numbers_and_nothing():
    numbers = pd.DataFrame({"identity": IDS, "camera": np.array(CAMS, float)})
    plain = ranking.score(Features(made(), numbers), known(1))[0]
    assert_same(plain, expected())
    for nothing in (None, np.nan, pd.NA):
        cells = pd.DataFrame({"identity": [1, nothing, 2, 3, 1, 2, 3]})
        found = Features(made(), cells)
        assert found.column("identity")[1] == "" != found.column("identity")[0]
        verdicts = ranking.rank(found, known(1), top=1)["verdict"]
        assert verdicts[1] == "unknown" and "unknown" not in set(verdicts.drop(1))
        with pytest.raises(FeaturesError, match=r"no identity in row\(s\) 1;"):
            ranking.score(found, known(1))


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float64])
def test_tensors_become_rows_of_float32(kind):
    values = torch.tensor(made()).to(kind).requires_grad_()
    found = Features(values, known().table)
    assert found.values.dtype == np.float32
    np.testing.assert_allclose(found.values, made(), rtol=1e-2)


def test_features_and_table_that_do_not_belong_together_are_refused():
    with pytest.raises(FeaturesError, match="7 rows of features and a table of 3"):
        Features(made(), table(3))
    with pytest.raises(FeaturesError, match=r"rows \(N, D\), not \(5,\)"):
        Features(made()[0], table(5))


@pytest.mark.parametrize("options", [{}, {"k1": 3, "k2": 1}])
def test_rows_that_are_not_finite_are_never_ranked(options):
    values = made()
    values[4, 0] = np.nan
    odd = Features(values, known().table)
    with pytest.raises(
        FeaturesError, match=r"the query: NaN or infinity in row\(s\) 4"
    ):
        ranking.rank(odd, known(), **options)
    with pytest.raises(FeaturesError, match=r"the gallery: NaN or infinity in row"):
        ranking.score(known(), odd)


@pytest.mark.parametrize("top", [0, -1])
def test_a_ranked_list_has_at_least_one_place(top):
    with pytest.raises(ValueError, match=f"top={top} must be an integer >= 1"):
        ranking.rank(known(), known(1), top=top)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float32])
def test_files_of_tensors_of_every_precision_are_read(kind, tmp_path):
    values = torch.tensor(made()).to(kind)
    torch.save({"features": values.clone().requires_grad_()}, tmp_path / "a.pt")
    torch_file.save_file({"features": values}, tmp_path / "a.safetensors")
    for name in ("a.pt", "a.safetensors"):
        found = features.load(tmp_path / name)
        np.testing.assert_array_equal(found.values, values.float().numpy())


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_identities_that_a_file_does_not_tell_apart_are_refused(kind, tmp_path):
    large = (np.array(IDS) + 2.0**60).astype(kind)
    np.savez(tmp_path / "a.npz", **both(query_ids=large))
    with pytest.raises(FeaturesError, match=r"ids of type float\d\d are too large"):
        features.load(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", **both(query_ids=np.array(IDS) + 2**60))
    assert len(set(features.load(tmp_path / "a.npz").column("identity"))) > 3


def test_a_table_in_the_unicode_of_windows_is_read(tmp_path):
    np.save(tmp_path / "a.npy", made())
    lines = table(identity=IDS).to_csv(index=False, sep="\t")
    (tmp_path / "a.csv").write_text(lines, "utf-16")
    assert list(features.load(tmp_path / "a.npy").column("identity")) == [
        str(i) for i in IDS
    ]


def test_an_array_of_objects_is_called_one(tmp_path):
    np.savez(tmp_path / "a.npz", **both(query_ids=np.array(IDS, object)))
    with pytest.raises(FeaturesError, match="an array of Python objects: save numbers"):
        features.load(tmp_path / "a.npz")
