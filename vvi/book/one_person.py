"""What makes clips of one person differ: cameras, poses, modality, bad frames.

The counterpart of SADSTRM's Fig. 1, which treats all of it as perturbations.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
from matplotlib.figure import Figure

from vvi.book.scene import Scene
from vvi.plots import sheets
from vvi.types import Modality, Tracklet

MOST = 8  # pictures in a row


def draw(scene: Scene) -> Figure:
    """Draw one person as every camera sees them, one row a modality.

    The person is the one whom most cameras see. Of drawn people two more rows have
    frames that are known to be bad.

    Args:
        scene: the data.
    """
    tracklets = _seen_by_most(scene)
    rows, titles, modalities = [], [], []
    for modality, own in tracklets.items():
        rows.append(_middle_frames(scene, own))
        titles.append(f"{len({t.camera for t in own})} cameras")
        modalities.append(modality)
    count = len(_cameras(tracklets))
    caption = f"One person before {count} cameras ({scene.label} data)."
    if scene.known:
        for modality, own in tracklets.items():
            bad = _bad_frames(scene, own)
            if len(bad):
                rows.append(bad)
                titles.append("bad frames")
                modalities.append(modality)
    return sheets.contact(rows, titles, modalities, caption)


def _seen_by_most(scene: Scene) -> dict[Modality, list[Tracklet]]:
    """Return the test tracklets of the person whom most cameras see, by modality."""
    of_person: dict[int, dict[Modality, list[Tracklet]]] = defaultdict(dict)
    for modality, side in scene.by_modality().items():
        for tracklet in side:
            of_person[tracklet.identity].setdefault(modality, []).append(tracklet)

    def seen(identity: int) -> tuple[int, int]:
        both = of_person[identity]
        return len(both), len(_cameras(both))

    return of_person[max(sorted(of_person), key=seen)]


def _cameras(tracklets: Mapping[Modality, Sequence[Tracklet]]) -> set[int]:
    """Return the cameras of some tracklets of both modalities."""
    return {tracklet.camera for tracklet in chain(*tracklets.values())}


def _middle_frames(scene: Scene, tracklets: Sequence[Tracklet]) -> np.ndarray:
    """Return the middle frame of one tracklet a camera, (N, H, W, 3) uint8."""
    by_camera = {t.camera: t for t in reversed(tracklets)}
    chosen = [by_camera[camera] for camera in sorted(by_camera)][:MOST]
    return np.concatenate(
        [scene.large.images(t, np.array([len(t) // 2])) for t in chosen]
    )


def _bad_frames(scene: Scene, tracklets: Sequence[Tracklet]) -> np.ndarray:
    """Return one bad frame of each tracklet that has one, (N, H, W, 3) uint8."""
    pictures = [np.empty((0, *scene.large.size, 3), np.uint8)]
    for tracklet in tracklets:
        bad = np.flatnonzero(scene.truth.noisy(tracklet, np.arange(len(tracklet))))
        if len(bad):
            pictures.append(scene.large.images(tracklet, bad[len(bad) // 2, None]))
    return np.concatenate(pictures)[:MOST]
