"""What a reader brings to the commands of "your own data": crops and tracklets."""

import shutil

from vvi.data import open_dataset


def write(root, folder):
    """Write a crop of each person of the night, and the tracklets of the day by person.

    Args:
        root: of a data set.
        folder: where `night` and `day` are made.
    """
    night, day = open_dataset(root).sides["ir2vis"]
    (folder / "night").mkdir()
    for tracklet in night:
        shutil.copy(tracklet.paths[3], folder / "night" / f"{tracklet.identity}.jpg")
    for number, tracklet in enumerate(day):
        target = folder / "day" / str(tracklet.identity) / str(number)
        target.mkdir(parents=True)
        for path in tracklet.paths:
            shutil.copy(path, target / path.name)
