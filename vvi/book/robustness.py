"""What disturbed clips cost a trained model: rank-1 against the strength of an occlusion, of a blur, and across views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd

from vvi import experiment
from vvi.data import synthetic
from vvi.evaluation import evaluate, probes
from vvi.experiment import Result, store
from vvi.runtime import atomic, paths

LEVELS = {
    "occluded": (0.15, 0.3, 0.45),
    "blurred": (1.0, 2.0, 4.0),
}  # share of the height of a frame; pixels of the network's input
UNITS = {"occluded": "occluded, share of the height", "blurred": "blurred, pixels"}
CHANGES = {"occluded": probes.occluded, "blurred": probes.blurred}
VIEWS = ("own view", "other views")  # rank-1; change of rank-1


def measured(result: Result, data: str | Path | None = None) -> Result:
    """The result with its change of rank-1 (ir2vis) under every disturbance of `LEVELS`, and on drawn people across views, as more probes of its record.

    They are measured once, from the weights in the run folder, which FileNotFoundError asks for, and kept in the record there.
    """
    wanted = {
        f"{kind} {level:g}": CHANGES[kind](level)
        for kind, levels in LEVELS.items()
        for level in levels
    }
    if set(result.record.probes) >= {
        *wanted,
        *(VIEWS if result.config.data.synthetic else ()),
    }:
        return result
    settings = result.config
    found = experiment.dataset(settings.data, data, seed=settings.seed)
    method, reader = (
        experiment.trained(settings, len(found.labels)),
        experiment.frames(settings.data, found),
    )
    clean = evaluate.evaluate(
        method, found, reader, settings.data.frames, stride=settings.data.stride
    )["ir2vis"]
    people = np.array([t.identity for t in clean.query])
    scores = {}
    for name, change in wanted.items():
        altered = evaluate.evaluate(
            method,
            found,
            reader,
            settings.data.frames,
            change=change,
            stride=settings.data.stride,
        )["ir2vis"]
        scores[name] = probes.robustness(
            clean.metrics(), altered.metrics(), groups=people
        )
    if settings.data.synthetic:
        yaw = (
            synthetic.read_frames(found.root).set_index("path").view
        )  # one view to a tracklet
        views = [
            yaw[
                [t.paths[0].relative_to(found.root).as_posix() for t in side]
            ].to_numpy()
            for side in (clean.query, clean.gallery)
        ]
        gallery = np.array([t.identity for t in clean.gallery])
        scores |= dict(
            zip(
                VIEWS,
                probes.view_change(
                    clean.query_feat @ clean.gallery_feat.T, people, gallery, *views
                ),
                strict=True,
            )
        )
    more, folder = (
        {name: asdict(score) for name, score in scores.items()},
        paths.runs() / settings.hash,
    )
    with atomic.alone(folder):
        record = (
            store.current(folder, experiment.versions(settings)) or result.record
        )  # as it is by now
        record = replace(record, probes={**record.probes, **more})
        store.save_record(record, paths.runs())
    return Result(record, result.stored)


def rank1_kept(rows: Mapping[str, Sequence[Result]]) -> pd.DataFrame:
    """Share of their undisturbed rank-1 that rows keep under each disturbance: a model that finds few people cannot lose many."""
    found = {
        f"{kind} {x:g}": {k: line[n] / line[0] for k, line in lines.items()}
        for kind, (levels, lines) in zip(LEVELS, curves(rows).values(), strict=True)
        for n, x in enumerate(levels)
        if n
    }
    return (
        pd.DataFrame(found)
        .round(2)
        .rename_axis(
            f"share of rank-1 kept, {next(iter(rows.values()))[0].data_label} data"
        )
    )


def curves(
    rows: Mapping[str, Sequence[Result]],
) -> dict[str, tuple[list[float], dict[str, list[float]]]]:
    """For `plots.curves.sweeps`: disturbance -> its strengths, and per row the mean rank-1 over runs in per cent; results as `measured` gives them."""
    panels = {}
    for kind, levels in LEVELS.items():
        lines = {
            label: [
                np.mean(
                    [
                        100 * r.record.scores["ir2vis"]["rank1"]
                        + 100 * (r.probe(f"{kind} {x:g}").value if x else 0)
                        for r in runs
                    ]
                )
                for x in (0, *levels)
            ]
            for label, runs in rows.items()
        }
        panels[UNITS[kind]] = ([0, *levels], lines)
    return panels
