import numpy as np
import pytest
import toys
from PIL import Image

from vvi.cli.main import main
from vvi.data import check


def test_counts_stand_beside_those_of_the_real_set(tmp_path):
    report = check.report(toys.vcm(tmp_path, images=True), min_seq_len=2)
    assert report.errors == ()
    cells = {
        tuple(line.split()[:2]): line.split()[2:] for line in report.text.splitlines()
    }
    assert cells["train", "both"] == [
        "2",
        "(500)",
        "5",
        "(11,061)",
        "4",
        "(9,751)",
        "10",
        "(232,496)",
        "9",
        "(224,757)",
    ]
    assert cells["test", "infrared"] == [
        "2",
        "(427)",
        "3",
        "(5,159)",
        "2",
        "(4,584)",
        "5",
        "(?)",
        "4",
        "(105,979)",
    ]
    assert cells["all", "visible"] == [
        "4",
        "(927)",
        "6",
        "(11,785)",
        "5",
        "(10,559)",
        "12",
        "(251,452)",
        "11",
        "(244,680)",
    ]
    assert (
        "counts differ from the real set (HITSZ-VCM, kept: at least 12 images)"
        in report.text
    )
    assert report.text.endswith("0 errors, 1 warning")


def test_expected_counts_add_up():
    for column in range(5):
        for part in ("train", "test", "all"):
            both, ir, vis = (
                check.VCM_COUNTS[part, m][column] for m in ("both", "ir", "vis")
            )
            if column > 0 and None not in (both, ir, vis):
                assert both == ir + vis
        for modality in ("both", "ir", "vis"):
            train, test, everything = (
                check.VCM_COUNTS[p, modality][column] for p in ("train", "test", "all")
            )
            if None not in (train, test):
                assert everything == train + test


def test_every_fault_of_lists_and_images_is_reported(tmp_path):
    root = toys.vcm(tmp_path, images=True)
    toys.replace_line(root / "info" / "train_name.txt", 4, "nonsense")
    toys.replace_line(root / "info" / "query_IDX.txt", 1, "2 0 4")
    (root / "0503" / "ir" / "D4" / "11.jpg").write_bytes(
        b""
    )  # the one frame of a tracklet that the minimum length drops
    (root / "0510" / "rgb" / "D12" / "6.jpg").unlink()
    report = check.report(root, min_seq_len=2)
    says = [
        "train_name.txt, line 4: 'nonsense'",
        "query_IDX.txt, line 1: row 0",
        "query_IDX.txt: row 3",
        "D4/11.jpg: is empty",
        "D12/6.jpg: does not exist",
    ]
    assert len(report.errors) == len(says)
    assert all(any(text in e for e in report.errors) for text in says)
    assert all(f"error: {e}" in report.text for e in report.errors)
    assert report.text.endswith("5 errors, 1 warning")


def test_images_can_be_left_alone(tmp_path):
    report = check.report(toys.vcm(tmp_path), min_seq_len=2, images=False)
    assert report.errors == ()
    assert report.text.endswith("images not looked at")


def test_a_lenient_check_prints_doubts_as_warnings(tmp_path):
    root = toys.vcm(tmp_path, images=True)
    toys.replace_line(root / "info" / "query_IDX.txt", 1, "2 4")
    assert len(check.report(root, min_seq_len=2).errors) == 1
    lenient = check.report(root, min_seq_len=2, strict=False)
    assert lenient.errors == ()
    assert "warning: " in lenient.text
    assert "row 3 is infrared" in lenient.text


def test_sysu_prints_identities_images_and_the_gallery(tmp_path):
    report = check.report(toys.sysu(tmp_path))
    cells = {
        tuple(line.split()[:2]): line.split()[2:] for line in report.text.splitlines()
    }
    assert report.errors == ()
    assert cells["train", "visible"] == ["2", "(395)", "4", "(22,258)"]
    assert cells["test", "infrared"] == ["2", "(96)", "6", "(3,803)"]
    assert cells["gallery", "visible"] == ["5", "(301)"]


def test_sysu_arrays_are_checked_where_they_lie(tmp_path):
    root = toys.sysu(tmp_path)
    np.save(root / "train_ir_resized_label.npy", np.zeros(3))
    assert "missing 3 of 4 arrays" in check.report(root).errors[0]


def test_regdb_is_checked_trial_by_trial(tmp_path):
    root = toys.regdb(tmp_path)
    for name, lines in toys.REGDB.items():
        toys.write_lines(root / "idx" / name.replace("_1", "_3"), lines)
    report = check.report(root)
    assert report.errors == ()
    assert "RegDB, trial 1, 3" in report.text
    assert "2 of 10 trials have lists; without: 2, 4, 5, 6, 7, 8, 9, 10" in report.text
    toys.replace_line(root / "idx" / "test_thermal_3.txt", 1, "broken")
    assert "test_thermal_3.txt, line 1" in check.report(root).errors[0]
    assert check.report(root, trial=1).errors == ()


def test_regdb_without_lists_counts_none(tmp_path):
    root = toys.regdb(tmp_path)
    for file in root.glob("idx/*.txt"):
        file.unlink()
    report = check.report(root, "regdb")
    assert "missing 4 of 4 required files" in report.errors[0]
    assert "trials have lists" not in report.text


@pytest.mark.parametrize(
    "layout", ["auto", "hitsz-vcm", "sysu-mm01", "regdb", "buptcampus"]
)
def test_an_empty_folder_is_reported_not_raised(tmp_path, layout):
    report = check.report(tmp_path, layout=layout)
    assert len(report.errors) >= 1
    assert str(tmp_path) in report.errors[0]


def test_the_command_prints_the_report_and_fails_on_errors(tiny_root, tmp_path, capsys):
    assert main(["check", str(tiny_root)]) == 0
    assert "0 errors" in capsys.readouterr().out
    root = toys.vcm(tmp_path)
    assert main(["check", str(root)]) == 1
    assert "every tracklet is shorter than min_seq_len=12" in capsys.readouterr().out


def test_campus_prints_the_counts_of_every_list(tmp_path):
    report = check.report(toys.campus(tmp_path))
    rows = [line.split() for line in report.text.splitlines()]
    cells = {tuple(row[:2]): row[2:] for row in rows}
    assert report.errors == ()
    expected = ["2", "(1,074)", "6", "(7,148)", "12", "(796,138)"]
    assert cells["train", "both"] == expected
    assert cells["auxiliary", "both"] == [
        "1",
        "(930)",
        "2",
        "(1,860)",
        "2",
        "(209,150)",
    ]
    assert cells["query", "infrared"] == ["1", "(?)", "1", "(536)", "1", "(?)"]
    assert cells["gallery", "visible"] == ["2", "(?)", "2", "(2,422)", "3", "(?)"]
    text = report.text.splitlines()[0]
    assert (
        text.startswith("buptcampus in ")
        and "recognised by data_paths.json, DATA" in text
    )


def test_expected_counts_of_campus_add_up():
    for part in ("train", "query", "gallery"):
        both, ir, vis = (check.CAMPUS_COUNTS[part, m][1] for m in ("both", "ir", "vis"))
        assert both == ir + vis


def test_several_sets_in_one_folder_are_all_checked(tmp_path):
    toys.sysu(tmp_path / "people")
    toys.campus(tmp_path / "campus", images=False)
    report = check.report(tmp_path)
    heads = [line for line in report.text.splitlines() if " (recognised by " in line]
    assert [line.split()[0] for line in heads] == ["buptcampus", "sysu-mm01"]
    assert len(report.errors) == 22 and "does not exist" in report.errors[0]
    (tmp_path / "LLCM" / "vis").mkdir(parents=True)
    (tmp_path / "LLCM" / "nir").mkdir()
    assert "looks like LLCM" in check.report(tmp_path / "LLCM").text


def test_a_set_whose_layout_is_not_clear_hides_no_other_set(tmp_path):
    toys.vcm(tmp_path / "a")
    toys.regdb(tmp_path / "a")
    toys.campus(tmp_path / "b")
    toys.regdb(tmp_path / "c")
    report = check.report(tmp_path)
    (error,) = report.errors
    assert f"{tmp_path / 'a'}: several layouts at once" in error
    for name, layout in (("b", "buptcampus"), ("c", "regdb")):
        assert f"{layout} in {tmp_path / name}" in report.text


def test_a_set_of_another_project_is_named(tmp_path):
    (tmp_path / "bbox_train").mkdir()
    report = check.report(tmp_path)
    assert len(report.errors) == 1 and "looks like MARS" in report.text


def save(path, array, form="PNG", **how):
    Image.fromarray(array).save(path, form, **how)


def test_everything_that_is_special_about_a_set_is_named(tmp_path):
    """Depth, orientation, several pictures and suffixes; kinds of the lists in short."""
    root = toys.vcm(tmp_path, images=True)
    shown = np.arange(32 * 16, dtype=np.uint16).reshape(32, 16)
    for folder, white in (("0001/ir/D5", 7), ("0004/ir/D5", 1)):
        for path in sorted((root / folder).iterdir()):
            save(path, shown * white)
    exif = Image.Exif()
    exif[274] = 6
    (turned, other) = sorted((root / "0510" / "rgb" / "D3").iterdir())
    save(turned, np.zeros((16, 32, 3), np.uint8), "JPEG", exif=exif.tobytes())
    (root / "0503/rgb/D3/1.jpg").rename(root / "0503/rgb/D3/1.JPG")
    both = [Image.new("RGB", (16, 32), colour) for colour in ("red", "blue")]
    both[0].save(other, "GIF", save_all=True, append_images=both[1:])
    names = root / "info" / "train_name.txt"
    names.write_text(names.read_text().replace("0001M1D5T1F6", "0004M1D5T1F6", 1))
    report = check.report(root, min_seq_len=2)
    assert report.errors == ()
    says = [
        "line 3: identity 1 disagrees with '0004M1D5T1F6.jpg'",
        "1 images of 16 bits, read with the white of 12 bits",
        "2 images of 16 bits, read with the white of 10 bits",
        "camera 5, infrared: images of 16 bits are read with different whites",
        "1 images stored turned, shown upright",
        "1 files of several pictures, of which the first is read",
        "1 images whose suffix is written in another case than listed",
    ]
    for text in says:
        assert any(
            line.startswith("warning: ") and text in line
            for line in report.text.splitlines()
        ), text
    short = [line for line in report.text.splitlines() if line.startswith("in short")]
    assert "in short: 1 ranges with frames that belong elsewhere, kept" in short


def test_links_of_images_are_allowed_by_the_setting_that_the_message_names(tmp_path):
    root = toys.vcm(tmp_path / "set", images=True)
    image = root / "0001" / "rgb" / "D3" / "1.jpg"
    image.rename(tmp_path / "elsewhere.jpg")
    image.symlink_to(tmp_path / "elsewhere.jpg")
    (error,) = check.report(root, min_seq_len=2).errors
    assert "1.jpg: a link that leaves the data folder" in error
    assert "--set strict=false reads on" in error
    assert check.report(root, min_seq_len=2, strict=False).errors == ()


def test_tracklets_of_a_video_are_checked_as_what_they_are(tmp_path):
    root = toys.vcm(tmp_path, images=True)
    for name in ("train_name.txt", "track_train_info.txt"):
        (root / "info" / name).unlink()
    assert "missing 2 of 5" in check.report(root, min_seq_len=2).errors[0]
    (root / "provisional.json").write_text("{}")
    assert check.report(root, min_seq_len=2).errors == ()
