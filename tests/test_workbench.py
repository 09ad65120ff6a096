import json
import threading
from dataclasses import replace

import ipywidgets as widgets
import pytest
from matplotlib.figure import Figure

from vvi import config, experiment, methods
from vvi.book import ablation_panel, figures, query_browser
from vvi.engine import train
from vvi.experiment import ablation, measure
from vvi.runtime import paths

TABLE, MAIN = methods.module("mitml").MAIN
SHORT = ("Baseline", MAIN)  # rows that the panel of most tests begins with


@pytest.fixture(scope="module")
def shown(tiny_root, tmp_path_factory):
    """Rows of MITML's main table at the tiny size, with their data."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RUNS", "FIGURES"):
            patch.setenv(f"VVI_{name}", str(tmp_path_factory.mktemp(name.lower())))
        rows = ablation.results(
            "mitml", TABLE, "tiny", [0], data=tiny_root, device="cpu", progress=False
        )
        yield rows, figures.scene(config.preset("tiny", "mitml"), tiny_root)


@pytest.fixture
def bench(shown, tiny_root, monkeypatch):
    monkeypatch.setenv("VVI_WIDGETS", "1")
    return panel(shown, tiny_root)


def panel(shown, root) -> ablation_panel.Bench:
    rows = {label: shown[0][label] for label in SHORT}
    return ablation_panel.show("mitml", rows, shown[1], device="cpu", data=root)


def press(bench: ablation_panel.Bench) -> None:
    bench.go.click()
    bench.thread.join(60)
    assert not bench.thread.is_alive()


@pytest.mark.parametrize(
    ("told", "server", "live"),
    [(None, False, False), (None, True, True), ("0", True, False), ("1", False, True)],
    ids=["build", "lab", "told 0", "told 1"],
)
def test_a_panel_is_shown_where_a_server_opened_the_notebook_unless_the_environment_decides(
    monkeypatch, told, server, live
):
    for name, value in (
        ("VVI_WIDGETS", told),
        ("JPY_SESSION_NAME", "book/03.ipynb" if server else None),
    ):
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(
            name, raising=False
        )
    assert query_browser.live() is live


def test_another_value_of_the_variable_is_refused(monkeypatch):
    monkeypatch.setenv("VVI_WIDGETS", "yes")
    with pytest.raises(ValueError, match="VVI_WIDGETS='yes': set it to 0"):
        query_browser.live()


def test_the_panel_begins_with_the_rows_of_the_table_and_the_switches_of_the_main_one(
    bench,
):
    assert list(bench.results) == [f"{TABLE}: {label}, seed 0" for label in SHORT]
    assert (
        bench.which.value == f"{TABLE}: {MAIN}, seed 0"
        and "is stored, Run shows it" in bench.status.value
    )
    assert (
        bench.controls["temporal"].value == "tmr"
        and bench.controls["eta"].value == "default"
        and bench.controls["gate_half_outside"].value is False
    )
    assert 'alt="Every loss' in bench.curves.value and bench.curves.value.startswith(
        "<figure"
    )


def test_a_switch_flipped_and_run_gives_a_new_line_curves_and_lists(bench):
    bench.controls["margin"].value = "0.5"
    assert "margin=0.5, seed 0: is not stored, Run trains 4 steps" in bench.status.value
    before = bench.queries.children
    press(bench)
    name = f"{TABLE}: {MAIN}, margin=0.5"
    result = bench.results[f"{name}, seed 0"]
    assert (
        result.config.options
        == {
            "variant": "main",
            "margin": 0.5,
        }
        and not result.stored
    )
    assert (
        f"{name}</th>" in bench.lines_shown.value
        and f"{result.row('ir2vis')['rank1']:.1f}" in bench.lines_shown.value
    )
    assert (
        bench.which.value == f"{name}, seed 0"
        and bench.queries.children != before
        and result.run_id in bench.status.value
    )
    assert not bench.go.disabled and bench.stop.disabled
    press(bench)
    assert (
        bench.results[f"{name}, seed 0"].stored
        and list(bench.results).count(f"{name}, seed 0") == 1
    ), "the same again is the stored run, and no second line"


def test_a_choice_that_is_a_row_of_the_paper_is_found_by_its_name(bench):
    bench.controls["adversary"].value = "none"
    assert bench.status.value.startswith(f"{TABLE}: Baseline + T, seed 0: is stored")


def test_a_row_of_another_method_brings_that_methods_switches(bench):
    bench.start.value = f"{TABLE}: Baseline"
    assert set(bench.controls) == {"margin", "reads", "lambda_tri"} and isinstance(
        bench.controls["reads"], widgets.Dropdown
    )


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("margin", "abc", "margin: &#x27;abc&#x27; must be a number"),
        ("more", "stepps=3", "no setting &#x27;stepps&#x27;"),
        ("more", "auxiliary=True", "hitsz-vcm has no option &#x27;auxiliary&#x27;"),
    ],
)
def test_a_bad_value_is_told_in_one_line_and_runs_nothing(bench, field, value, said):
    (bench.more if field == "more" else bench.controls[field]).value = value
    bench.go.click()
    assert (
        said in bench.status.value
        and "color" in bench.status.value
        and bench.thread is None
        and not bench.go.disabled
    )


def test_a_run_of_another_layout_is_shown_over_its_own_people(bench, monkeypatch):
    row = bench.results[f"{TABLE}: {MAIN}, seed 0"]
    settings = config.change(row.config, layout="regdb")
    other = experiment.Result(replace(row.record, config=settings), stored=True)
    monkeypatch.setattr(figures, "scene", lambda settings, data: (settings, data))
    assert bench._scene_of(other) == (settings, bench.data)
    assert bench._scene_of(row) is bench.scene
    assert ablation_panel._same_people(row, row)
    assert not ablation_panel._same_people(other, row)


def test_a_run_that_fails_is_told_in_one_line_without_a_traceback(bench, capfd):
    bench.more.value = "lr=1e30"
    press(bench)
    assert (
        "did not run. DivergedError: step " in bench.status.value
        and "Traceback" not in bench.status.value + "".join(capfd.readouterr())
    )
    assert len(bench.results) == len(SHORT) and not bench.go.disabled
    press(bench)  # the turn was given back


def start(bench, monkeypatch) -> None:
    """Let a panel begin a long training, and wait for its first step."""
    first, step = threading.Event(), bench._step

    def watched(done, total):
        first.set()
        step(done, total)

    monkeypatch.setattr(bench, "_step", watched)
    bench.more.value = "steps=500"
    bench.go.click()
    assert first.wait(60)


def test_cancel_ends_training_between_steps_and_stores_nothing(bench, monkeypatch):
    start(bench, monkeypatch)
    assert bench.go.disabled
    bench.stop.click()
    bench.thread.join(60)
    folder = paths.runs() / bench.settings()[1].hash
    assert (
        "Cancelled after step" in bench.status.value
        and bench.bar.max == 500
        and bench.done < 500
    )
    assert (
        not (folder / "record.json").exists()
        and not (folder / "model.safetensors").exists()
        and len(bench.results) == len(SHORT)
    )
    assert not bench.go.disabled and bench.stop.disabled


def test_two_panels_of_a_kernel_do_not_train_at_once(bench):
    with ablation_panel._RUNNING:
        bench.go.click()
        assert "is training: wait" in bench.status.value and bench.thread is None


def test_a_panel_shown_again_cancels_what_the_first_one_trains(
    bench, shown, tiny_root, monkeypatch
):
    start(bench, monkeypatch)
    again = panel(shown, tiny_root)  # the cell of the panel, run once more
    again.go.click()
    assert "press Cancel" in again.status.value and not again.stop.disabled
    again.stop.click()
    bench.thread.join(60)
    assert "Cancelled after step" in bench.status.value and bench.done < 500
    again.stop.click()
    assert "nothing is training" in again.status.value and again.stop.disabled


def test_a_hook_that_only_listens_hears_every_step_and_leaves_the_numbers_alone(
    tiny_root,
):
    heard, how = [], dict(data=tiny_root, device="cpu", progress=False, keep=False)
    with_hook = experiment.run(
        config.preset("tiny"), retrain=True, on_step=lambda *at: heard.append(at), **how
    )
    without = experiment.run(config.preset("tiny"), retrain=True, **how)
    assert (
        heard == [(k, 4) for k in (1, 2, 3, 4)] and with_hook.history == without.history
    )


def test_a_hook_may_end_the_run(tiny_root):
    def stop(done, total):
        if done == 2:
            raise train.Cancelled

    with pytest.raises(train.Cancelled):
        experiment.run(
            config.preset("tiny"),
            retrain=True,
            data=tiny_root,
            device="cpu",
            progress=False,
            on_step=stop,
        )


def test_the_explorer_walks_through_the_queries_of_both_directions(shown, monkeypatch):
    monkeypatch.setenv("VVI_WIDGETS", "1")
    found = query_browser.show(shown[0][MAIN][0], shown[1])
    for direction in ("ir2vis", "vis2ir"):
        found.direction.value = direction
        found.position.value = 1
        assert (
            found.note.value.startswith(f"Query 1 of {len(found.rows)}")
            and "<b>" in found.list.value
            and 'alt="The query' in found.list.value
        )
        assert 'alt="Heat map' in found.heat.value


def test_the_explorer_says_what_a_record_of_numbers_alone_lacks(shown, monkeypatch):
    from dataclasses import replace

    result = shown[0][MAIN][0]
    bare = replace(
        result.record,
        arrays={k: v for k, v in result.arrays.items() if k.endswith(measure.NUMBERS)},
    )
    monkeypatch.setenv("VVI_WIDGETS", "1")
    found = query_browser.show(replace(result, record=bare), shown[1])
    assert (
        "holds no" in found.note.value and not found.list.value and not found.heat.value
    )


def test_where_nobody_can_click_a_figure_stands_and_is_kept(shown, monkeypatch):
    monkeypatch.setenv("VVI_WIDGETS", "0")
    fig = ablation_panel.show("mitml", *shown)
    said = [t.get_text() for t in fig.findobj(lambda a: hasattr(a, "get_fontsize"))]
    assert {"tmr", "mean", "adversary", "shuffle", "baseline"} <= set(
        said
    ) and "In JupyterLab a panel stands here" in fig.caption
    side = json.loads((paths.figures() / "mitml/workbench.json").read_text())
    assert (
        side["runs"] == [runs[0].run_id for runs in shown[0].values()]
        and side["data"] == "synthetic"
    )
    assert isinstance(query_browser.show(shown[0][MAIN][0], shown[1]), Figure)
