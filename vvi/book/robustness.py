"""Rank-1 of a trained model under occlusion, under blur, and across views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd

from vvi import experiment
from vvi.book.scene import identities
from vvi.data import synthetic
from vvi.evaluation import probes
from vvi.evaluation.evaluate import Side
from vvi.evaluation.probes import Score
from vvi.experiment import Result, measure, store
from vvi.runtime import atomic, paths

Rows = Mapping[str, Sequence[Result]]
#: Shares of the height of a frame, and pixels of the network's input.
LEVELS = {"occluded": (0.15, 0.3, 0.45), "blurred": (1.0, 2.0, 4.0)}
UNITS = {"occluded": "occluded, share of the height", "blurred": "blurred, pixels"}
CHANGES = {"occluded": probes.occluded, "blurred": probes.blurred}
#: The first is rank-1, the second the change of rank-1.
VIEWS = ("own view, other camera", "other views, other camera")


def _names() -> list[tuple[str, str, float]]:
    """Return name of the probe, kind and level of every disturbance."""
    names = []
    for kind, levels in LEVELS.items():
        names += [(f"{kind} {level:g}", kind, level) for level in levels]
    return names


def measured(result: Result, data: str | Path | None = None) -> Result:
    """Return a result with its change of rank-1 under every disturbance of `LEVELS`.

    On drawn people the change across views is measured too. All are measured once
    (ir2vis) from the weights in the run folder, and kept as probes of the record there.

    Raises:
        FileNotFoundError: the weights are not on this machine.
    """
    config = result.config
    names = {name for name, _, _ in _names()}
    names |= set(VIEWS if config.data.synthetic else ())
    if names <= set(result.record.probes):
        return result
    scores = _measure(result, data)
    more = {name: asdict(score) for name, score in scores.items()}
    folder = paths.runs() / config.hash
    with atomic.exclusive_lock(folder):
        # read again, as another process may have added to it
        record = store.current(folder, experiment.versions(config)) or result.record
        record = replace(record, probes={**record.probes, **more})
        store.save_record(record, paths.runs())
    return Result(record, result.stored)


def _measure(result: Result, data: str | Path | None) -> dict[str, Score]:
    """Measure every disturbance, and the change across views of drawn people."""
    config = result.config
    opened = experiment.open_data(config.data, data, seed=config.seed)
    method = experiment.load_trained(config, len(opened.dataset.labels))
    clean = measure.evaluate_on(method, opened)["ir2vis"]
    people = identities(clean.query)
    scores = {}
    for name, kind, level in _names():
        change = CHANGES[kind](level)
        altered = measure.evaluate_on(method, opened, change=change)["ir2vis"]
        scores[name] = probes.robustness(
            clean.metrics(), altered.metrics(), groups=people
        )
    if opened.truth is not None:
        scores |= _view_scores(clean, opened.dataset.root, people)
    return scores


def _view_scores(clean: Side, root: Path, people: np.ndarray) -> dict[str, Score]:
    """Measure rank-1 in the same view, and its change in other views."""
    frames = synthetic.read_frames(root).set_index("path").view

    def views(tracklets: Sequence) -> np.ndarray:
        """Return the view of each tracklet: it has one."""
        names = [t.paths[0].relative_to(root).as_posix() for t in tracklets]
        return frames[names].to_numpy()

    def cameras(tracklets: Sequence) -> np.ndarray:
        """Return the camera of each tracklet."""
        return np.array([t.camera for t in tracklets])

    scores = probes.view_change(
        clean.query_feat @ clean.gallery_feat.T,
        people,
        identities(clean.gallery),
        views(clean.query),
        views(clean.gallery),
        (cameras(clean.query), cameras(clean.gallery)),
    )
    return dict(zip(VIEWS, scores, strict=True))


def rank1_kept(rows: Rows) -> pd.DataFrame:
    """Return the share of their undisturbed rank-1 that rows keep.

    Shares, not points: a model that finds few people cannot lose many.
    """
    panels = curves(rows)
    shares = {}
    for kind, levels in LEVELS.items():
        _, lines = panels[UNITS[kind]]
        for n, level in enumerate(levels, 1):
            column = {label: line[n] / line[0] for label, line in lines.items()}
            shares[f"{kind} {level:g}"] = column
    label = next(iter(rows.values()))[0].data_label
    note = f"share of rank-1 kept, {label} data"
    return pd.DataFrame(shares).round(2).rename_axis(note)


def curves(rows: Rows) -> dict[str, tuple[list[float], dict[str, list[float]]]]:
    """Return disturbances for `plots.curves.sweeps`.

    Args:
        rows: label -> results as `measured` gives them.

    Returns:
        Disturbance -> its strengths, and per row the mean rank-1 in per cent.
    """
    panels = {}
    for kind, levels in LEVELS.items():
        strengths = [0, *levels]
        lines = {}
        for label, runs in rows.items():
            lines[label] = [_rank1(runs, kind, x) for x in strengths]
        panels[UNITS[kind]] = (strengths, lines)
    return panels


def _rank1(runs: Sequence[Result], kind: str, level: float) -> float:
    """Return the mean rank-1 of runs under a disturbance, in per cent."""
    values = []
    for result in runs:
        change = result.probe(f"{kind} {level:g}").value if level else 0
        values.append(100 * result.record.scores["ir2vis"]["rank1"] + 100 * change)
    return np.mean(values)
