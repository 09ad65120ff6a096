"""Switches and tables of IBAN, and the protocol of its paper."""

import numpy as np
import pandas as pd
import pytest
import torch
from small_iban import batch, small

from vvi.config import Recipe, change, preset
from vvi.data.clips import test_frames as frames_of_search
from vvi.engine import optim, train
from vvi.methods import iban
from vvi.metrics import retrieval_metrics
from vvi.runtime import paths


def test_none_follows_the_variant_and_wrong_choices_are_named():
    main, paper, released = (
        iban.Config(variant="main"),
        iban.Config(),
        iban.Config(variant="released", plus_one=False),
    )
    for name, (sound, letter, code) in iban.READINGS.items():
        assert (
            getattr(main, name) == sound
            and getattr(paper, name) == letter
            and letter != code
            and sound in (letter, code)
        )
        assert getattr(released, name) == (False if name == "plus_one" else code)
    for options in (
        {"variant": "code"},
        {"ig_layout": "view"},
        {"temporal": None},
        {"metric_feat": "both"},
    ):
        with pytest.raises(ValueError, match=f"{next(iter(options))}=.*choose from"):
            iban.Config(**options)


def test_the_rows_of_the_tables_are_those_that_the_paper_prints():
    printed = pd.read_csv(paths.published() / "iban.csv")
    assert set(printed[printed.table == "Table II"].method) == set(
        iban.ABLATIONS["Table II"]
    )
    assert (
        set(iban.ABLATIONS["Table I"])
        == {"IBAN*", "IBAN"}
        <= set(printed[printed.table == "Table I"].method)
    )
    rows, main = iban.ABLATIONS["Fig. 7"], {"variant": "main"}
    assert (
        rows["lambda_1=1"] == rows["lambda_2=1"] == rows["lambda_3=1"] == main
    )  # the usual setting is one run
    assert rows["lambda_1=1.5"] == main | {"lambda_tri": 1.5}
    assert iban.ABLATIONS["Readings"]["raw view"] == main | {"ig_layout": "raw_view"}
    assert iban.ABLATIONS["Readings"]["literal"] == {"variant": "paper"}


def test_every_row_of_every_table_takes_a_step():
    recipe, engine, clips = (
        Recipe(optimiser="adamw", slow=1.0),
        train.fabric("cpu"),
        batch(),
    )
    runs = {
        tuple(fields.items()): fields
        for rows in iban.ABLATIONS.values()
        for fields in rows.values()
        if "method" not in fields
    }
    runs |= {name: {name: values[2]} for name, values in iban.READINGS.items()} | {
        "Eq. (4) as printed": {"ig_embed": False, "ig_scope": "frame"}
    }
    for fields in runs.values():
        options = change(preset("tiny", "iban"), **fields).options
        model = small(**options).train()
        losses = train.iteration(
            model,
            clips,
            optim.build(model, recipe),
            100,
            optim.rate(recipe, 100, recipe.epochs),
            engine,
        )
        assert all(torch.isfinite(v) for v in losses.values()), fields
        assert hasattr(model, "intermediary") == options.get("ig", True) and hasattr(
            model, "cross"
        ) == (options.get("ig", True) and options.get("cr", True))


def test_the_protocol_gives_the_numbers_of_the_card():
    feat = torch.tensor([[0.9], [0.8], [0.7], [0.6]])
    gallery = torch.cat((feat, (1 - feat**2).sqrt()), 1)
    ids, cams = np.array([1, 2, 1, 1]), np.array([1, 3, 2, 4])
    filtered, wrong = (
        retrieval_metrics(
            torch.tensor([[1.0, 0]]),
            gallery,
            np.array([1]),
            ids,
            np.array([1]),
            cams,
            rule=rule,
        )
        for rule in ("vcm", "none")
    )
    assert (
        (filtered.rank(1), filtered.rank(2)) == (0, 1)
        and filtered.mAP == pytest.approx(0.583333, abs=1e-6)
        and wrong.mAP == pytest.approx(0.805556, abs=1e-6)
    )
    taken = {
        24: [0, 4, 8, 12, 16, 20],
        13: [0, 3, 6, 9, 12, 12],
        12: [0, 2, 4, 6, 8, 10],
        4: [0, 1, 2, 3, 3, 3],
        25: [0, 5, 10, 15, 20, 24],
    }
    assert {n: frames_of_search(n, 6).tolist() for n in taken} == taken
