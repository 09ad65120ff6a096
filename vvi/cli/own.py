"""`vvi embed`, `vvi rank`, `vvi eval --features`: one's own pictures and features."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vvi.cli import arguments

SIZES = ("tiny", "standard", "full", "paper")
RULES = ("vcm", "sysu", "none")
MODALITIES = ("ir", "vis")
#: Options of `--rerank`, as they are typed -> as the function calls them.
RERANK = {"k1": "k1", "k2": "k2", "lambda": "weight", "weight": "weight"}
Command = Callable[[str, Callable, str], arguments.Parser]


def add(command: Command) -> None:
    """Add the commands `embed` and `rank` to the command line."""
    embed = command(
        "embed",
        embed_command,
        "write features of one's own pictures or video, and a table of their rows",
    )
    embed.add_argument("source", help="folder of crops or tracklets, picture or video")
    embed.add_argument("--modality", required=True, choices=MODALITIES)
    embed.add_argument(
        "--out",
        type=features_file,
        help="a name that ends in .npz or .safetensors; the table ends in .csv beside "
        "it (default: SOURCE.features.npz, here)",
    )
    rank = command(
        "rank",
        rank_command,
        "rank a gallery for every query: the lists as a table, and their picture",
    )
    for name in ("query", "gallery"):
        rank.add_argument(
            name, help="folder, picture or video, or features that vvi embed wrote"
        )
    rank.add_argument(
        "--modality",
        choices=MODALITIES,
        help="of the query, where it is not features; the gallery is of the other",
    )
    rank.add_argument("--gallery-modality", choices=MODALITIES)
    rank.add_argument("--top", type=arguments.integer(1), default=10)
    rank.add_argument("--out", default="ranked.csv", metavar="FILE.csv")
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
    add_rerank(rank)
    embed.add_argument("--weights", required=True, metavar="RUN_OR_FILE", help=WEIGHTS)
    rank.add_argument("--weights", metavar="RUN_OR_FILE", help=WEIGHTS)
    for sub in (embed, rank):
        _add_network(sub)


def add_features(evaluate: argparse.ArgumentParser) -> None:
    """Add what scores features made elsewhere to the command `eval`."""
    evaluate.add_argument(
        "--features",
        nargs="+",
        metavar="FILE",
        help="score features made elsewhere: one file with both sides, or two, query "
        "and gallery, each with a table of rows (.csv) beside it",
    )
    evaluate.add_argument(
        "--rule",
        choices=RULES,
        default="vcm",
        help="of --features: what is removed from the gallery of a query (vcm: same "
        "person and camera; none: nothing)",
    )
    evaluate.add_argument(
        "--out",
        type=features_file,
        help="write the features of queries and gallery, and a table of their rows",
    )
    add_rerank(evaluate)


def add_rerank(sub: argparse.ArgumentParser) -> None:
    """Add the option `--rerank`, with or without parameters."""
    sub.add_argument(
        "--rerank",
        nargs="*",
        type=arguments.setting,
        metavar="NAME=VALUE",
        help="k-reciprocal re-ranking: k1=20 k2=6 lambda=0.3, or others",
    )


WEIGHTS = "id or folder of a run, a file of weights, or a method (with --preset, --set)"


def _add_network(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--method", help="of a file of weights that does not say it, with --preset"
    )
    sub.add_argument("--preset", default="standard", choices=SIZES)
    sub.add_argument(
        "--set",
        type=arguments.setting,
        action="extend",
        nargs="+",
        metavar="FIELD=VALUE",
    )
    sub.add_argument("--data", type=arguments.folder, help="what a method trained on")
    sub.add_argument("--device", type=arguments.device, default="auto")
    sub.add_argument("--camera", type=arguments.integer(0), help="its number, if known")
    sub.add_argument("--detector", default="fcos", help="what finds people in a video")
    sub.add_argument("--detector-weights", metavar="FILE")
    sub.add_argument(
        "--height",
        type=arguments.integer(1),
        default=64,
        help="boxes of people in a video that are fewer pixels high do not count",
    )


def features_file(text: str) -> str:
    """Read the name of a file of features that can be written."""
    path = Path(text).expanduser()
    if path.suffix not in (".npz", ".safetensors"):
        wrong = f"{text!r} must end in .npz or .safetensors"
        raise argparse.ArgumentTypeError(wrong)
    return str(path)


def rerank_options(given: list[tuple[str, str]] | None) -> dict[str, Any]:
    """Read `--rerank k1=20 lambda=0.3`; empty without the option.

    >>> rerank_options(None), rerank_options([]), rerank_options([("lambda", ".1")])
    ({}, {'k1': 20, 'k2': 6, 'weight': 0.3}, {'k1': 20, 'k2': 6, 'weight': 0.1})
    """
    from vvi.runtime import validation

    if given is None:
        return {}
    options: dict[str, Any] = {"k1": 20, "k2": 6, "weight": 0.3}
    for name, text in given:
        if name not in RERANK:
            known = {"": ["k1", "k2", "lambda"]}
            raise validation.unknown(name, "--rerank has no option", known)
        hint = float if RERANK[name] == "weight" else int
        options[RERANK[name]] = validation.setting(text, hint)
    return options


def embed_command(args: argparse.Namespace) -> int:
    """Embed a folder or a video, and write the features."""
    from vvi.evaluation import features

    out = args.out or f"{Path(args.source).expanduser().stem}.features.npz"
    found = _embedded(args.source, args.modality, args, _network(args))
    file = features.save(found, out)
    size = f"{len(found)} rows of {found.values.shape[1]} numbers"
    print(f"{size}: {file}, {file.with_suffix('.csv')}")
    return 0


def rank_command(args: argparse.Namespace) -> int:
    """Rank a gallery for every query; write the lists and their picture."""
    from vvi.evaluation import features, ranking
    from vvi.runtime import atomic
    from vvi.video import own

    options = rerank_options(args.rerank)
    out = Path(args.out).expanduser()
    if out.suffix != ".csv":
        raise ValueError(f"{out}: the name of the table must end in .csv")
    features.refuse_foreign(out, "query,rank,")
    sides = {"query": args.query, "gallery": args.gallery}
    query, gallery = _sides(sides, args)
    lists = ranking.rank(query, gallery, args.top, **options)
    shown = lists["query_row"].unique()[: args.rows]
    figure = Path(args.figure or out.with_suffix(".png")).expanduser()
    pictures = own.has_pictures(query) and own.has_pictures(gallery)
    drawn = io.BytesIO()
    if pictures:  # drawn before anything is written
        kind = figure.suffix.removeprefix(".")
        names = [Path(name).name for name in (args.query, args.gallery)]
        title = " among ".join(names) + (", re-ranked" if options else "")
        picture = own.draw(lists, query, gallery, shown, title)
        picture.savefig(drawn, format=kind)
    atomic.write(out, lists.to_csv(index=False, lineterminator="\n").encode())
    print(f"{len(query)} queries among {len(gallery)} rows: {out}")
    for name, part in list(lists.groupby("query", sort=False))[:5]:
        best = [f"{row.gallery} {row[4]:.2f}" for row in part.head(3).itertuples()]
        print(f"  {name}: {', '.join(best)}")
    if not pictures:
        print("no picture: these features do not say where their pictures are")
        return 0
    atomic.write(figure, drawn.getvalue())
    part = f" shows the first {len(shown)}" if len(shown) < len(query) else ""
    print(f"{figure}{part}")
    return 0


def score_command(args: argparse.Namespace) -> int:
    """Score files of features: `vvi eval --features`."""
    from vvi.evaluation import features, ranking

    if len(args.features) > 2:
        raise ValueError("--features takes one file, or two: query and gallery")
    options = rerank_options(args.rerank)
    files = [features.load(file) for file in args.features]
    for name, (query, gallery) in ranking.pairs(*files).items():
        plain, again = ranking.score(query, gallery, args.rule, **options)
        print(f"{name}  {plain}")
        if again:
            print(f"{name}  re-ranked {again}")
    return 0


def _sides(sources: dict[str, str], args: argparse.Namespace) -> list:
    """Features of query and gallery, read, or made with one network."""
    from vvi.evaluation import features

    other = {"ir": "vis", "vis": "ir", None: None}
    wanted = {
        "query": args.modality,
        "gallery": args.gallery_modality or other[args.modality],
    }
    found, net = [], None
    for side, source in sources.items():
        if Path(source).suffix.lower() in features.ENDS:
            found.append(features.load(source))
            continue
        option = "--modality" if side == "query" else "--gallery-modality"
        if wanted[side] is None:
            raise ValueError(f"say {option} ir or {option} vis for {source}")
        if args.weights is None:
            raise ValueError(f"say --weights RUN_OR_FILE: what embeds {source}")
        net = net or _network(args)
        found.append(_embedded(source, wanted[side], args, net))
    return found


def _embedded(source: str, modality: str, args: argparse.Namespace, net: Any) -> Any:
    from vvi.data import crops
    from vvi.data.video import open_video
    from vvi.video import detectors, own

    path, detect = Path(source).expanduser(), None
    if path.is_file() and not crops.is_picture(path):
        open_video(path)  # a bad file is named before a network is built
        device = str(next(net.method.parameters()).device)
        detect = detectors.load(args.detector, args.detector_weights, device)
    options = {"camera": args.camera, "detect": detect, "height": args.height}
    bar = sys.stderr.isatty()
    return own.embed(path, net, modality, **options, progress=bar)


def _network(args: argparse.Namespace) -> Any:
    """The network that `--weights` names, on the device that is asked for."""
    from vvi import methods
    from vvi.engine import train
    from vvi.experiment import trained_network

    device = train.fabric(args.device).device
    name = args.method or (args.weights if args.weights in methods.names() else None)
    settings = _settings_of(name, args) if name else None
    source = settings if args.weights == name else args.weights
    net = trained_network.load_run_or_file(source, settings)
    net.method.to(device)
    return net


def _settings_of(method: str, args: argparse.Namespace) -> Any:
    """The main row of a method at a size, or what `--set` makes of it."""
    from vvi import experiment
    from vvi.experiment import ablation, method_switches

    rows = ablation.labelled_rows(method, args.preset)
    main = next(iter(rows.values()))
    changes = method_switches.read(method, dict(args.set or []))
    own = {switch.name for switch in method_switches.switches(method)}
    wanted = {name: changes.pop(name) for name in own & changes.keys()}
    config = method_switches.resolve_settings(main, wanted, changes, rows)[1]
    return experiment.resolve_data(config, args.data)
