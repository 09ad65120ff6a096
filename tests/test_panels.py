import numpy as np
import pytest
from matplotlib.figure import Figure

from vvi import experiment, panels
from vvi.config import preset


@pytest.fixture(scope="module")
def shown(tiny_root, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VVI_RUNS", str(tmp_path_factory.mktemp("runs")))
        runs = [experiment.run(preset("tiny", seed=s), data=tiny_root, device="cpu", progress=False) for s in (0, 1)]
        yield runs, panels.scene(preset("tiny"), tiny_root)


@pytest.mark.parametrize("name", ["training", "cmc"])
def test_figures_of_runs_are_drawn(shown, name):
    assert isinstance(getattr(panels, name)(shown[0]), Figure)


@pytest.mark.parametrize("name", ["heat", "lists"])
def test_figures_of_a_run_over_its_data_are_drawn(shown, name):
    assert isinstance(getattr(panels, name)(shown[0][0], shown[1]), Figure)


def test_the_layout_comes_with_the_gap_before_and_after(shown):
    fig, gap = panels.layout(shown[0][0], shown[1])
    assert isinstance(fig, Figure) and gap["before"].value > 0 and gap["after"].count > 1


def test_tables_hold_the_means_over_the_runs_and_name_their_data(shown):
    runs, _ = shown
    scores, probes = panels.scores(runs), panels.probes(runs)
    expected = np.mean([r.row("vis2ir")["mAP"] for r in runs])
    assert scores.loc["vis2ir", "mAP"].startswith(f"{expected:.1f} ±")
    assert scores.index.name == "2 seeds, synthetic" and probes.index.name == "synthetic data"
    assert probes.loc["gap probe", "mean"] == pytest.approx(np.mean([r.probe("gap probe").value for r in runs]))


def test_a_folder_that_is_not_the_named_set_counts_as_real_and_gets_a_name_of_its_own(tiny_root, tmp_path):
    import shutil

    assert panels.scene(preset("tiny"), tiny_root).label == "synthetic"
    other = tmp_path / "other"
    shutil.copytree(tiny_root, other)
    (other / "manifest.json").unlink()
    view = panels.scene(preset("tiny"), other)
    assert view.label == "hitsz-vcm" and view.settings.data.source.startswith("real:")
    assert view.settings.hash != preset("tiny").hash
