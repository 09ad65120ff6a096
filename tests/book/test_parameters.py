"""The parameters of a chapter, as papermill passes on what was typed."""

import json
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest

from vvi.book import parameters
from vvi.experiment import ablation

ROOT = Path(__file__).parent.parent.parent
GOOD = {
    "preset": "standard",
    "data": None,
    "seeds": [0, 1, 2],
    "retrain": False,
    "device": "auto",
}


def typed(*arguments):
    """What a chapter gets of the arguments of papermill."""
    from papermill.cli import _resolve_type

    names, values = arguments[::2], arguments[1::2]
    return GOOD | dict(zip(names, map(_resolve_type, values), strict=True))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("retrain", "false"), {"retrain": False}),
        (("retrain", "no"), {"retrain": False}),
        (("retrain", "0"), {"retrain": False}),
        (("retrain", "True"), {"retrain": "once"}),
        (("retrain", "1"), {"retrain": "once"}),
        (("seeds", "0"), {"seeds": [0]}),
        (("seeds", "[0]"), {"seeds": [0]}),
        (("seeds", "0,1"), {"seeds": [0, 1]}),
        (("seeds", "0 1"), {"seeds": [0, 1]}),
        (("seeds", "none"), {"seeds": list(ablation.SEEDS)}),
        (("seeds", "None"), {"seeds": list(ablation.SEEDS)}),
        (("data", "none"), {"data": None}),
        (("data", "None"), {"data": None}),
        (("data", "~"), {"data": Path.home()}),
        (("device", "0"), {"device": "cuda:0"}),
        (("device", "gpu"), {"device": "cuda"}),
        (("device", "cuda:0"), {"device": "cuda:0"}),
        (("preset", "Tiny"), {"preset": "tiny"}),
        (("preset", "tiny "), {"preset": "tiny"}),
    ],
)
def test_a_parameter_typed_for_papermill_is_read(arguments, expected):
    found = parameters.read(**typed(*arguments))._asdict()
    assert found == GOOD | expected


def test_what_was_read_is_read_again_as_it_is():
    """The cell that reads the parameters may fail after it, and is run again."""
    once = parameters.read(**GOOD | {"retrain": True, "seeds": None})
    assert once.retrain and parameters.read(*once) == once


def test_seeds_that_are_not_named_are_all_that_can_be_stored_or_three_to_train():
    stored = GOOD | {"preset": "standard", "seeds": None, "retrain": False}
    assert parameters.read(**stored).seeds == list(ablation.SEEDS)
    for change in ({"retrain": True}, {"data": Path.home()}, {"preset": "full"}):
        assert parameters.read(**stored | change).seeds == [0, 1, 2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("retrain", "maybe"), "retrain='maybe' does not fit: write true or false"),
        (("seeds", "x"), "seeds='x' does not fit"),
        (("seeds", "-1"), "seeds=-1 does not fit"),
        (("data", ""), "data is empty"),
        (("data", "/no/such/folder"), "data /no/such/folder: no such folder; give"),
        (("data", "D:\\new\\table"), "under WSL"),
        (("data", str(Path(__file__))), "no such folder"),
        (("device", "mps"), "no device 'mps'"),
        (("preset", "small"), "no preset 'small': choose from tiny, half, standard"),
    ],
)
def test_a_parameter_that_cannot_be_read_is_refused_in_one_line(arguments, said):
    with pytest.raises(ValueError) as caught:
        parameters.read(**typed(*arguments))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_every_chapter_reads_its_parameters_before_anything_else():
    line = "preset, data, seeds, retrain, device = "
    line += "read(preset, data, seeds, retrain, device)"
    for path in sorted((ROOT / "book").glob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        second = [cell for cell in cells if cell.cell_type == "code"][1].source
        body = second.split("\n\n")[-1] if "\n\n" in second else second
        assert body.startswith(line), f"{path.name}: {second}"


def test_papermill_ends_with_the_line_that_says_what_is_wrong(tmp_path):
    text = (ROOT / "book" / "text" / "data_sheet.md").read_text()
    start = text.index("```{code-cell}")
    cells = text[:start] + "".join(text[start:].split("```\n")[0] + "```\n\n")
    cells += "```{code-cell}\nfrom vvi.book.parameters import read\n\nread("
    cells += "preset, data, seeds, retrain, device)\n```\n"
    notebook = tmp_path / "chapter.ipynb"
    jupytext.write(jupytext.reads(cells, "md:myst"), notebook)
    papermill = [Path(sys.executable).with_name("papermill"), "--no-progress-bar"]
    done = subprocess.run(
        [*papermill, notebook, tmp_path / "out.ipynb", "-p", "seed", "0"],
        capture_output=True,
        text=True,
        check=False,
    )
    said = "no parameter seed (did you mean seeds?)"
    assert done.returncode == 1 and said in done.stderr.strip().splitlines()[-1]
    assert json.loads((tmp_path / "out.ipynb").read_text())["cells"]


def test_a_page_of_drawn_people_is_not_taken_for_one_of_real_ones(
    tmp_path, monkeypatch, recwarn
):
    monkeypatch.setenv("VVI_DATA", str(tmp_path))
    parameters.read(**GOOD | {"preset": "paper"})
    for folder in (str(tmp_path), "none"):
        parameters.read(**GOOD | {"data": folder})
    assert not recwarn.list
    with pytest.warns(UserWarning, match="VVI_DATA is set, but the preset standard"):
        parameters.read(**GOOD)
