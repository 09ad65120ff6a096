"""`vvi embed`, `vvi rank`, `vvi eval --features`: one's own pictures and features."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vvi.cli import arguments, options, settings
from vvi.runtime import validation

if TYPE_CHECKING:
    import pandas as pd

    from vvi.evaluation.features import Features
    from vvi.experiment.trained_network import Trained

RULES = ("vcm", "sysu", "none")
WEIGHTS = "id or folder of a run, a file of weights, or a method (with --preset, --set)"
#: Options of what embeds pictures, and those that say more of a method.
NETWORK = ("weights", "method", "preset", "set", "data", "device", "camera")
OF_METHOD = ("set", "data")
#: Options of a video, and what two of them are where they are not typed.
OF_VIDEO = ("detector", "detector_weights", "height")
DETECTOR, HEIGHT = "fcos", 64
OTHER = {"ir": "vis", "vis": "ir", None: None}


def add(command: arguments.Command) -> None:
    """Add the commands `embed` and `rank`."""
    embed = command(
        "embed",
        embed_command,
        "write features of one's own pictures or video, and a table of their rows",
    )
    embed.add_argument(
        "source",
        type=arguments.path,
        help="folder of crops or tracklets, picture or video",
    )
    embed.add_argument("--modality", required=True, choices=options.MODALITIES)
    embed.add_argument(
        "--out",
        type=arguments.features_file,
        help="a name that ends in .npz or .safetensors; the table ends in .csv beside "
        "it (default: SOURCE.features.npz, here)",
    )
    embed.add_argument(
        "--weights",
        type=arguments.path,
        required=True,
        metavar="RUN_OR_FILE",
        help=WEIGHTS,
    )
    _add_network(embed)
    _add_rank(command)


def _add_rank(command: arguments.Command) -> None:
    rank = command(
        "rank",
        rank_command,
        "rank a gallery for every query: the lists as a table, and their picture",
    )
    for name in ("query", "gallery"):
        rank.add_argument(
            name,
            type=arguments.path,
            help="folder, picture or video, or features that vvi embed wrote",
        )
    rank.add_argument(
        "--modality",
        choices=options.MODALITIES,
        help="of the query, where it is not features; the gallery is of the other",
    )
    rank.add_argument("--gallery-modality", choices=options.MODALITIES)
    rank.add_argument("--top", type=arguments.integer(1), default=10)
    rank.add_argument(
        "--out", type=arguments.path, default="ranked.csv", metavar="FILE.csv"
    )
    rank.add_argument(
        "--figure",
        type=arguments.picture,
        metavar="FILE",
        help="the picture: a name that ends in .png, .pdf or .svg (default: that of "
        "the table, with .png)",
    )
    rank.add_argument(
        "--rows", type=arguments.integer(1), default=8, help="drawn lists"
    )
    options.add_rerank(rank)
    rank.add_argument(
        "--weights", type=arguments.path, metavar="RUN_OR_FILE", help=WEIGHTS
    )
    _add_network(rank)


def add_features(evaluate: argparse.ArgumentParser) -> None:
    """Add what scores features made elsewhere to the command `eval`."""
    evaluate.add_argument(
        "--features",
        type=arguments.path,
        nargs="+",
        metavar="FILE",
        help="score features made elsewhere: one file with both sides, or two, query "
        "and gallery, each with a table of rows (.csv) beside it",
    )
    evaluate.add_argument(
        "--rule",
        choices=RULES,
        help="of --features: what is removed from the gallery of a query (vcm: same "
        "person and camera; none: nothing); by default what the file says, else vcm",
    )
    evaluate.add_argument(
        "--out",
        type=arguments.features_file,
        help="write the features of queries and gallery, and a table of their rows",
    )
    options.add_rerank(evaluate)


def _add_network(sub: argparse.ArgumentParser) -> None:
    """Add what names a network, and what finds people in a video."""
    sub.add_argument(
        "--method", help="of a file of weights that does not say it, with --preset"
    )
    options.add_preset(sub, None)
    options.add_set(sub)
    options.add_data(sub, "what a method trained on")
    options.add_device(sub, None)
    sub.add_argument("--camera", type=arguments.integer(0), help="its number, if known")
    sub.add_argument(
        "--detector", help=f"what finds people in a video (default: {DETECTOR})"
    )
    sub.add_argument("--detector-weights", type=arguments.path, metavar="FILE")
    sub.add_argument(
        "--height",
        type=arguments.integer(1),
        help="boxes of people in a video that are fewer pixels high do not count "
        f"(default: {HEIGHT})",
    )


def embed_command(args: argparse.Namespace) -> int:
    """Embed a folder or a video, and write the features.

    Raises:
        ValueError: `--out` names a folder or another table.
    """
    from vvi.evaluation import features

    name = os.path.basename(os.path.abspath(args.source))  # of `.`, the folder's own
    out = args.out or f"{name}.features.npz"
    refuse_taken(out)
    _refuse_video_options(args, [args.source])
    rows = _embed(args.source, args.modality, args, _network(args))
    rows = features.keep_filled(rows, out)
    file = features.save(rows, out)
    size = f"{len(rows)} rows of {rows.values.shape[1]} numbers"
    print(f"{size}: {file}, {file.with_suffix('.csv')}")
    return 0


def rank_command(args: argparse.Namespace) -> int:
    """Rank a gallery for every query and write the lists and their picture.

    Raises:
        ValueError: a name would replace something else, or the table is no .csv file.
    """
    from vvi.evaluation import features, ranking, row_table
    from vvi.runtime import atomic

    out = Path(args.out)
    if out.suffix != ".csv":
        raise ValueError(f"{out}: the name of the table must end in .csv")
    features.refuse_foreign(out, "query,rank,")
    figure = Path(args.figure or out.with_suffix(".png"))
    _refuse_picture(args, figure, out)
    query, gallery = _sides(args)
    lists = ranking.rank(query, gallery, args.top, **args.rerank or {})
    rows = lists["query_row"].unique()[: args.rows]
    picture, why = _drawn(args, lists, query, gallery, rows, figure.suffix)
    atomic.write(out, row_table.content(lists, index=False))
    print(f"{len(query)} queries among {len(gallery)} rows: {out}")
    _print_lists(lists)
    if picture is None:
        print(f"no picture: {why}")
        return 0
    atomic.write(figure, picture)
    part = f" shows the first {len(rows)}" if len(rows) < len(query) else ""
    print(f"{figure}{part}")
    return 0


def _refuse_picture(args: argparse.Namespace, figure: Path, out: Path) -> None:
    """Refuse to draw over what is ranked, or over a picture that no ranking drew.

    A picture of an earlier ranking has its table beside it.
    """
    sources = {Path(args.query).resolve(), Path(args.gallery).resolve()}
    if figure.resolve() in sources:
        raise ValueError(f"{figure} is what is ranked: choose another --out, --figure")
    if not args.figure and figure.exists() and not out.exists():
        raise ValueError(f"{figure} is there: say --figure FILE, or another --out")


def refuse_taken(out: str | Path) -> None:
    """Refuse to write features where something else is, before any are made.

    Raises:
        ValueError: their table would replace another, or the name is a folder's.
    """
    from vvi.evaluation import features

    out = Path(out)
    if out.is_dir():
        raise ValueError(f"{out} is a folder: choose another name")
    features.refuse_foreign(out.with_suffix(".csv"), "row,")


def _drawn(
    args: argparse.Namespace,
    lists: pd.DataFrame,
    query: Features,
    gallery: Features,
    rows: Sequence[int],
    suffix: str,
) -> tuple[bytes | None, str]:
    """Draw ranked lists before anything is written.

    Args:
        args: of the command, for the title.
        lists: what `ranking.rank` returned.
        query: rows that searched.
        gallery: rows that were searched.
        rows: query rows to show.
        suffix: .png, .pdf or .svg.

    Returns:
        The content of the picture and "", or None and why there is none: features do
        not say where their pictures are, or these are not there any more.

    Raises:
        FileNotFoundError: `--figure` is given, and a picture to show is missing.
    """
    from vvi.video import own

    missing = own.missing_pictures(lists, query, gallery, rows)
    if missing and args.figure:
        raise FileNotFoundError(f"--figure cannot be drawn: {missing}")
    if missing:
        return None, missing
    title = f"{Path(args.query).name} among {Path(args.gallery).name}"
    if args.rerank is not None:
        title += ", re-ranked"
    buffer = io.BytesIO()
    picture = own.draw(lists, query, gallery, rows, title)
    picture.savefig(buffer, format=suffix.removeprefix("."))
    return buffer.getvalue(), ""


def _print_lists(lists: pd.DataFrame, most: int = 5) -> None:
    """Print the best three of the first lists."""
    for name, part in list(lists.groupby("query", sort=False))[:most]:
        best = [f"{row.gallery} {row[4]:.2f}" for row in part.head(3).itertuples()]
        print(f"  {name}: {', '.join(best)}")


def score_command(args: argparse.Namespace) -> int:
    """Score files of features: `vvi eval --features`.

    Raises:
        ValueError: more than two files, or an option that has no effect.
    """
    from vvi.evaluation import features, ranking

    if len(args.features) > 2:
        raise ValueError("--features takes one file, or two: query and gallery")
    why = "--features takes --rule and --rerank alone"
    if args.method:
        raise ValueError(f"METHOD {args.method} would have no effect: {why}")
    names = ("weights", "preset", "seeds", "set", "data", "device", "out")
    settings.refuse_without_effect(args, names, why)
    files = [features.load(file) for file in args.features]
    rule, rerank = args.rule or _rule_of(files), args.rerank or {}
    for name, (query, gallery) in ranking.pairs(*files).items():
        plain, reranked = ranking.score(query, gallery, rule, **rerank)
        print(f"{name}  {plain}")
        if reranked:
            print(f"{name}  re-ranked {reranked}")
    return 0


def _rule_of(files: Sequence[Features]) -> str:
    """Return the rule that files of features name, vcm where they name none or two."""
    rules = {file.about.get("rule") for file in files}
    rule = rules.pop()
    return rule if not rules and rule in RULES else RULES[0]


def _sides(args: argparse.Namespace) -> list[Features]:
    """Return features of query and gallery, read or made with one network."""
    from vvi.evaluation import features

    sources = {"query": args.query, "gallery": args.gallery}
    _refuse_idle_network(args, sources.values())
    _refuse_video_options(args, sources.values())
    sides: dict[str, Features] = {}
    for side, source in sources.items():
        if Path(source).suffix.lower() in features.ENDS:
            sides[side] = features.load(source)
    modality = _modalities(args, sides.get("query"))
    network = None
    for side, source in sources.items():
        if side not in sides:
            _refuse_unclear(args, side, source, modality)
            network = network or _network(args)
            sides[side] = _embed(source, modality[side], args, network)
    return [sides[side] for side in sources]


def _modalities(
    args: argparse.Namespace, query: Features | None
) -> dict[str, str | None]:
    """Return the modality of query and gallery, None where nobody says it.

    Args:
        args: of the command. The gallery is of the other modality than the query.
        query: features that say their own modality, None for pictures.

    Raises:
        ValueError: `--modality` says another one than the features.
    """
    own = args.modality
    known = set(query.column("modality")) - {""} if query else set()
    if own and known and own not in known:
        raise ValueError(
            f"--modality {own} is that of the query, and {args.query} says "
            f"{', '.join(sorted(known))}: say --gallery-modality for the gallery"
        )
    if own is None and len(known) == 1:
        own = known.pop()
    return {"query": own, "gallery": args.gallery_modality or OTHER.get(own)}


def _refuse_idle_network(args: argparse.Namespace, sources: Iterable[str]) -> None:
    """Refuse what names a network where all features are there already."""
    from vvi.evaluation import features

    ends = [Path(source).suffix.lower() for source in sources]
    if all(end in features.ENDS for end in ends):
        why = "both sides are features already, so no network is needed"
        settings.refuse_without_effect(args, NETWORK, why)


def _refuse_video_options(args: argparse.Namespace, sources: Iterable[str]) -> None:
    """Refuse options of a video where all sources are there and none is a video."""
    from vvi.evaluation import features

    files = [validation.at_home(source) for source in sources]
    others = [file for file in files if file.suffix.lower() not in features.ENDS]
    if all(file.exists() for file in files) and not any(map(_is_video, others)):
        settings.refuse_without_effect(args, OF_VIDEO, "nothing here is a video")


def _is_video(path: Path) -> bool:
    """Return whether a path is a file and no picture, so that it is read as a video."""
    from vvi.data import crops

    return path.is_file() and not crops.is_picture(path)


def _refuse_unclear(
    args: argparse.Namespace, side: str, source: str, modality: Mapping[str, str | None]
) -> None:
    """Refuse pictures of no modality, or without a network to embed them."""
    option = "--modality" if side == "query" else "--gallery-modality"
    if modality[side] is None:
        raise ValueError(f"say {option} ir or {option} vis for {source}")
    if args.weights is None:
        raise ValueError(f"say --weights RUN_OR_FILE: what embeds {source}")


def _embed(
    source: str, modality: str, args: argparse.Namespace, network: Trained
) -> Features:
    """Embed a folder, a picture or a video with a network."""
    from vvi.data.faults import refuse_undecodable
    from vvi.data.video import open_video
    from vvi.video import detectors, own

    path, detect = Path(source), None
    if _is_video(path):
        refuse_undecodable([path])
        open_video(path)  # a bad file is named before a detector is built
        device = str(next(network.method.parameters()).device)
        name = args.detector or DETECTOR
        detect = detectors.load(name, args.detector_weights, device)
    return own.embed(
        path,
        network,
        modality,
        camera=args.camera,
        detect=detect,
        height=args.height or HEIGHT,
        progress=sys.stderr.isatty(),
    )


def _network(args: argparse.Namespace) -> Trained:
    """Load the network that `--weights` names, onto the device of `--device`."""
    from vvi import experiment, methods
    from vvi.engine import train
    from vvi.experiment import trained_network
    from vvi.runtime import paths

    device = train.fabric(args.device or "auto").device
    is_method = args.weights in methods.names()
    name = args.method or (args.weights if is_method else None)
    config: Any = None
    if not name:
        why = (
            f"a run such as {args.weights} knows its own settings; they belong to "
            "--weights METHOD, or to a file of weights with --method METHOD"
        )
        settings.refuse_without_effect(args, OF_METHOD, why)
    if name:
        row = argparse.Namespace(**vars(args) | {"method": name})
        (_, config), _ = settings.changed_row(row, 0)
        config = experiment.resolve_data(config, args.data)
    source = config if args.weights == name else args.weights
    folder = args.data or paths.real_data()
    network = trained_network.load_run_or_file(source, config, folder)
    if config is not None:
        settings.refuse_other_method(args, name, network.settings)
    if network.settings is not config:
        settings.refuse_without_effect(args, OF_METHOD, settings.knows(args.weights))
    settings.refuse_other_run(args, network.settings)
    network.method.to(device)
    return network
