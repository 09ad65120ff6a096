"""`vvi scene`, `tracklets` and `search`: videos, drawn or one's own."""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

from vvi.cli import arguments, options, settings


def add(command: arguments.Command) -> None:
    """Add the commands of this file."""
    _add_scene(command)
    _add_tracklets(command)
    _add_search(command)


def _add_scene(command: arguments.Command) -> None:
    sub = command(
        "scene",
        scene,
        "draw a video in which synthetic people cross the view of a camera, "
        "and the truth beside it",
    )
    sub.add_argument("video", type=arguments.path, help="a name that ends in .mp4")
    sub.add_argument("--modality", required=True, choices=("vis", "ir"))
    sub.add_argument(
        "--people",
        type=arguments.integer(0),
        nargs="+",
        metavar="ID",
        help="identities of the synthetic set "
        "(default: the last four of its test half)",
    )
    sub.add_argument(
        "--camera",
        type=arguments.integer(1),
        default=9,
        help="whose view is drawn, 1 to 12 (default: 9)",
    )
    sub.add_argument("--frames", type=arguments.integer(1), default=250)
    sub.add_argument("--preset", default="standard", help=options.SETS)
    sub.add_argument("--seed", type=arguments.integer(0), default=0)


def _add_tracklets(command: arguments.Command) -> None:
    sub = command(
        "tracklets",
        tracklets,
        "cut the tracklets of one video: detect people, track them, "
        "write HITSZ-VCM layout",
    )
    _add_video(sub)
    sub.add_argument(
        "--out",
        type=arguments.path,
        required=True,
        metavar="ROOT",
        help="new folder, or one that this command made: further videos are added",
    )
    sub.add_argument(
        "--again",
        action="store_true",
        help="remove what the folder holds of earlier videos",
    )
    sub.add_argument("--camera", type=arguments.integer(1), required=True)
    sub.add_argument(
        "--height",
        type=arguments.integer(1),
        default=64,
        help="boxes of people that are fewer pixels high do not count (default: 64)",
    )


def _add_search(command: arguments.Command) -> None:
    sub = command(
        "search",
        search,
        "from a video to ranked lists: its tracklets, searched for among the test "
        "tracklets of the other modality",
    )
    _add_video(sub)
    sub.add_argument(
        "method",
        nargs="?",
        default="baseline",
        help="its main row, or what --set makes of it; trained first where its "
        "weights are not here",
    )
    options.add_preset(sub)
    sub.add_argument("--seed", type=arguments.integer(0), default=0)
    options.add_set(sub)
    options.add_data(
        sub, "folder whose test tracklets are the gallery, in place of the preset's"
    )
    sub.add_argument("--camera", type=arguments.integer(1), default=1)
    sub.add_argument(
        "--out",
        type=arguments.path,
        default=None,
        metavar="ROOT",
        help="folder for the tracklets of this video alone (default: in the cache)",
    )
    sub.add_argument(
        "--figure",
        type=arguments.picture,
        metavar="FILE",
        help="draw the ranked lists, too: a name that ends in .png, .pdf or .svg",
    )


def _add_video(sub: argparse.ArgumentParser) -> None:
    """Add a video, its modality and what detects people in it."""
    sub.add_argument("video", type=arguments.path)
    sub.add_argument("--modality", required=True, choices=("vis", "ir"))
    sub.add_argument(
        "--detector",
        default="fcos",
        help="fcos, retinanet or fasterrcnn (small, trained on synthetic scenes) or a "
        "detection network of torchvision",
    )
    sub.add_argument(
        "--weights",
        type=arguments.path,
        default=None,
        help="file of its weights (default: the stored ones, or where torchvision "
        "keeps its own; nothing is downloaded)",
    )
    options.add_device(sub, "cpu")


def scene(args: argparse.Namespace) -> int:
    """Draw a video of synthetic people."""
    from vvi.data.synthetic import crossing

    everyone = sorted(crossing.everyone(args.preset, args.seed))
    people = tuple(args.people or everyone[-4:])
    drawn = crossing.Crossing(
        people, args.camera, args.frames, preset=args.preset, seed=args.seed
    )
    video = crossing.write_crossing(drawn, args.modality, args.video)
    names = ", ".join(map(str, people))
    print(f"{video}: {names} cross the view; the truth lies beside it")
    return 0


def tracklets(args: argparse.Namespace) -> int:
    """Cut the tracklets of a video into a folder."""
    from vvi.data.video import open_video
    from vvi.video.tracklets import usual, write_tracklets

    # a bad file is named before a network is built
    rule = usual(open_video(args.video).rate, args.height)
    detect, _ = _detector(args)
    written = write_tracklets(
        args.video, args.out, args.camera, args.modality, detect, rule, args.again
    )
    print(written)
    return 0


def _detector(args: argparse.Namespace) -> tuple[Any, Any]:
    """Load the detector of `--detector`, and return it and the device."""
    from vvi.engine import train
    from vvi.video import detectors

    device = train.fabric(args.device).device
    return detectors.load(args.detector, args.weights, str(device)), device


def search(args: argparse.Namespace) -> int:
    """Search the people of a video among test tracklets of the other modality.

    Raises:
        ValueError: the file is no video.
    """
    from vvi import experiment
    from vvi.plots import ranked
    from vvi.runtime import atomic
    from vvi.video import search as engine

    _refuse_bad_video(args.video)
    detect, device = _detector(args)
    (name, config), _ = settings.changed_row(args, args.seed)
    config = experiment.resolve_data(config, args.data)
    dataset = experiment.dataset(config.data, args.data, seed=args.seed)
    method = experiment.train_if_missing(
        config, len(dataset.labels), device=args.device, data=args.data
    ).to(device)
    result = engine.search(
        args.video,
        args.modality,
        dataset.gallery("ir2vis" if args.modality == "ir" else "vis2ir"),
        method,
        config.data,
        detect,
        args.out,
        args.camera,
    )
    people = result.people(args.video)
    print(result.made)
    print(f"searched by {args.method}, {name}, among {len(result.gallery)} tracklets")
    print(*result.lines(people), sep="\n")
    if args.figure:
        panel = result.panel(f"{args.video}, searched by {args.method}", people)
        buffer, figure = io.BytesIO(), Path(args.figure)
        ranked.draw([panel]).savefig(buffer, format=figure.suffix.removeprefix("."))
        atomic.write(figure, buffer.getvalue())
        print(args.figure)
    return 0


def _refuse_bad_video(video: str) -> None:
    """Read a video once, so that a bad file is named before anything is trained."""
    from vvi.data import crops
    from vvi.data.video import open_video

    if Path(video).is_dir() or crops.is_picture(Path(video)):
        raise ValueError(
            f"{video} is no video: vvi rank QUERY GALLERY ranks pictures and folders "
            "of them"
        )
    for _ in open_video(video):
        pass
