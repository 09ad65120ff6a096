import numpy as np
import pytest
import toys

from vvi.__main__ import main
from vvi.data import check


def test_counts_stand_beside_those_of_the_real_set(tmp_path):
    report = check.report(toys.vcm(tmp_path, images=True), min_seq_len=2)
    assert report.errors == ()
    cells = {tuple(line.split()[:2]): line.split()[2:] for line in report.text.splitlines()}
    assert cells["train", "both"] == ["2", "(500)", "5", "(11,061)", "4", "(9,751)", "10", "(232,496)", "9", "(224,757)"]
    assert cells["test", "infrared"] == ["2", "(427)", "3", "(5,159)", "2", "(4,584)", "5", "(?)", "4", "(105,979)"]
    assert cells["all", "visible"] == ["4", "(927)", "6", "(11,785)", "5", "(10,559)", "12", "(251,452)", "11", "(244,680)"]
    assert "counts differ from the real set (HITSZ-VCM, kept: at least 12 images)" in report.text
    assert report.text.endswith("0 errors, 1 warning")


def test_expected_counts_add_up():
    for column in range(5):
        for part in ("train", "test", "all"):
            both, ir, vis = (check.VCM_COUNTS[part, m][column] for m in ("both", "ir", "vis"))
            if column > 0 and None not in (both, ir, vis):
                assert both == ir + vis
        for modality in ("both", "ir", "vis"):
            train, test, everything = (check.VCM_COUNTS[p, modality][column] for p in ("train", "test", "all"))
            if None not in (train, test):
                assert everything == train + test


def test_every_fault_of_lists_and_images_is_reported(tmp_path):
    root = toys.vcm(tmp_path, images=True)
    toys.replace_line(root / "info" / "train_name.txt", 4, "nonsense")
    toys.replace_line(root / "info" / "query_IDX.txt", 1, "2 0 4")
    (root / "0503" / "ir" / "D4" / "11.jpg").write_bytes(b"")  # the one frame of a tracklet that the minimum length drops
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
    cells = {tuple(line.split()[:2]): line.split()[2:] for line in report.text.splitlines()}
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


@pytest.mark.parametrize("layout", ["auto", "hitsz-vcm", "sysu-mm01", "regdb"])
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
