import numpy as np
import pytest

from vvi import experiment
from vvi.book import robustness
from vvi.config import preset
from vvi.plots import curves


@pytest.fixture
def trained(tiny_root, tmp_path, monkeypatch):
    monkeypatch.setenv("VVI_RUNS", str(tmp_path))
    return experiment.run(preset("tiny"), data=tiny_root, device="cpu", progress=False)


def test_disturbances_are_measured_once_and_stay_in_the_record(
    trained, tiny_root, monkeypatch
):
    found = robustness.measured(trained, tiny_root)
    assert {name for name in found.record.probes if name not in trained.record.probes} == {
        "occluded 0.15", "occluded 0.3", "occluded 0.45", "blurred 1", "blurred 2", "blurred 4", *robustness.VIEWS,
    }  # fmt: skip
    assert found.probe("occluded 0.3").value == pytest.approx(
        trained.probe("occluded").value
    )  # the same bar, by another way
    again = experiment.run(preset("tiny"), data=tiny_root, device="cpu", progress=False)
    assert again.stored and again.record.probes == found.record.probes
    monkeypatch.setattr(experiment, "load_trained", None)  # nothing is measured twice
    assert robustness.measured(again, tiny_root) is again


def test_a_record_without_weights_says_what_to_do(trained, tiny_root):
    (robustness.paths.runs() / trained.run_id / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="retrain=True"):
        robustness.measured(trained, tiny_root)


def test_curves_begin_with_the_undisturbed_rank_one(trained, tiny_root):
    panels = robustness.curves({"Baseline": [robustness.measured(trained, tiny_root)]})
    strengths, lines = panels["occluded, share of the height"]
    clean = trained.row("ir2vis")["rank1"]
    assert strengths == [0, 0.15, 0.3, 0.45] and lines["Baseline"][0] == pytest.approx(
        clean
    )
    assert lines["Baseline"][2] == pytest.approx(
        clean + 100 * trained.probe("occluded").value
    )
    table = robustness.rank1_kept(
        {"Baseline": [robustness.measured(trained, tiny_root)]}
    )
    assert table.loc["Baseline", "occluded 0.45"] == pytest.approx(
        lines["Baseline"][3] / clean, abs=0.005
    )
    assert np.isfinite(panels["blurred, pixels"][1]["Baseline"]).all()
    assert len(curves.sweeps(panels).axes) == 2
