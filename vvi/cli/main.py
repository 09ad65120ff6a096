"""The command line: argument parsing only. `vvi --help` imports no torch."""

from __future__ import annotations

import contextlib
import sys
import warnings
from pathlib import Path

from vvi.cli import arguments, own

_SIZES = ("tiny", "half", "standard", "full", "paper")
_SETS = "tiny, half, standard or full; behind it a world, as in half+bars=0.3; behind both -val for validation people"
_LAYOUTS = ("hitsz-vcm", "sysu-mm01", "regdb", "buptcampus")
_READING = ("layout", "strict", "foreign", "min_seq_len")  # settings of data alone
WHO = (
    "source",
    "seed",
    "layout",
    "min_seq_len",
    "split",
)  # settings of the data that say who is searched


def main(argv: list[str] | None = None) -> int:
    """Run one command; a mistake of the user ends with one line on stderr and exit code 2, a failed check with 1."""
    args = _parser().parse_args(argv)
    try:
        with _plain_warnings(args.command):
            return args.do(args)
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        if args.debug:
            raise
        print(f"vvi {args.command}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            f"vvi {args.command}: interrupted; the same command goes on where it can",
            file=sys.stderr,
        )
        return 130


@contextlib.contextmanager
def _plain_warnings(command: str):
    """Print a warning as one line, without the place in the code that gave it."""

    def line(message, category, filename, lineno, source=None) -> str:
        return f"vvi {command}: warning: {' '.join(str(message).split())}\n"

    before, warnings.formatwarning = warnings.formatwarning, line
    try:
        yield
    finally:
        warnings.formatwarning = before


def _synth(args) -> int:
    from vvi.data import synthetic

    print(
        synthetic.write(
            args.root,
            preset=args.preset,
            layout=args.layout,
            seed=args.seed,
            workers=args.workers,
        )
    )
    return 0


def _check(args) -> int:
    from vvi.data import check

    options = dict(args.set or [])
    if taken := options.keys() & {"root", "layout", "images"}:
        raise ValueError(
            f"--set cannot change {min(taken)}: give it as ROOT, --layout or --no-images"
        )
    report = check.report(
        args.root, layout=args.layout, images=not args.no_images, **options
    )
    print(report.text)
    return 1 if report.errors else 0


def _settings(args, seed: int):
    """What `--set` makes of the main row of a method, as (name, config); and that row."""
    from vvi import experiment, methods
    from vvi.config import for_layout
    from vvi.experiment import ablation, method_switches

    changes = dict(args.set or [])
    if taken := changes.keys() & {"method", "preset", "seed"}:
        raise ValueError(
            f"--set cannot change {min(taken)}: give it as METHOD, --preset or --seeds"
        )
    changes = method_switches.read(args.method, changes)
    known = ablation.labelled_rows(args.method, args.preset, seed)
    usual = next(iter(known.values())).data
    layout = experiment.layout_of(
        usual, args.data, changes.get("source"), changes.pop("layout", None)
    )
    known = {
        n: for_layout(c, layout) if c.data.layout == usual.layout else c
        for n, c in known.items()
    }
    base = ": ".join(methods.module(args.method).MAIN)
    switches = {switch.name for switch in method_switches.switches(args.method)}
    wanted = {name: changes.pop(name) for name in switches & changes.keys()}
    name, config = method_switches.resolve_settings(known[base], wanted, changes, known)
    return (name if name in known else f"{base}, {name}", config), (base, known[base])


def _seeds(args) -> list[int]:
    """The seeds that were asked for; of RegDB by default all that are trials of it."""
    from vvi import experiment
    from vvi.evaluation import protocols

    if args.seeds is not None:
        return args.seeds
    config = _settings(args, 0)[0][1]
    if config.data.layout != "regdb":
        return [0]
    return protocols.regdb_seeds(experiment.dataset(config.data, args.data).root)


def _train(args) -> int:
    from vvi import experiment
    from vvi.book import comparison, figures
    from vvi.engine import distributed, logs
    from vvi.evaluation import protocols
    from vvi.experiment import ablation
    from vvi.runtime import paths

    how = dict(
        device=args.device,
        data=args.data,
        pixels=args.pixels,
        compiled=args.compile,
        resume=args.resume,
        log=args.log,
    )
    found, beside = [], []
    for seed in _seeds(args):
        (name, config), (base, main) = _settings(args, seed)
        found.append(experiment.run(config, retrain=args.retrain, **how))
        beside.append(main)
        if not distributed.is_first():
            continue
        last = found[-1]
        stored = "  (stored)" if last.stored else ""
        print(f"seed {seed}  run {last.run_id}{stored}  {last.data_name} data  {name}")
        if args.log:
            print(f"  losses in {paths.runs() / last.run_id / logs.NAME / args.log}")
        for moved in last.record.environment.get("resumed", []):
            print(
                f"  gone on elsewhere at {moved}: its numbers are those of no one machine"
            )
        for line in protocols.lines(last.record.scores, last.arrays):
            print(f"  {line}")
    if not distributed.is_first():
        return 0
    layout = found[0].config.data.layout
    for line in protocols.over_trials(layout, [r.record.scores for r in found]):
        print(line)
    if config == main:
        return 0
    if others := [
        name for name in WHO if getattr(config.data, name) != getattr(main.data, name)
    ]:
        print(
            f"not compared with {base}: other people are searched ({', '.join(others)})"
        )
        return 0
    if lacking := ablation.missing(beside, args.data):
        print(
            f"to compare with {base}, train it: the same command without --set ({len(lacking)} of {len(beside)} seeds not stored)"
        )
        return 0
    apart = comparison.difference(
        found,
        [experiment.run(main, **how | {"log": None}) for main in beside],
        figures.scene(config, args.data),
    )
    print(
        f"rank-1 ir2vis minus {base}: {apart.value:+.1f} ({apart.low:+.1f} to {apart.high:+.1f}, 95 % over identities and {len(found)} seed(s))"
    )
    return 0


def _eval(args) -> int:
    from vvi import experiment
    from vvi.engine import train
    from vvi.evaluation import features, protocols
    from vvi.experiment import transfer
    from vvi.runtime import paths

    if args.features:
        return own.score_command(args)
    rerank = own.rerank_options(args.rerank)
    device = train.fabric(args.device).device
    if args.weights:
        return _transfer(args, device)
    if not args.method:
        raise ValueError(
            "say what to evaluate: METHOD, --weights RUN_OR_FILE or --features FILE"
        )
    seeds = _seeds(args)
    if args.out and len(seeds) > 1:
        raise ValueError("--out writes the features of one run: say one seed")
    scores, layout = [], ""
    for seed in seeds:
        settings = experiment.resolve_data(_settings(args, seed)[0][1], args.data)
        found = experiment.dataset(settings.data, args.data, seed=seed)
        method = experiment.load_trained(settings, len(found.labels)).to(device)
        weights = paths.runs() / settings.hash / experiment.WEIGHTS
        trained = transfer.Trained(settings, method, weights)
        target = transfer.Target(settings.data, found.root, "")
        tested = transfer.test(trained, target, seed, progress=True)
        scores, layout = [*scores, tested.scores], found.layout
        for line in tested.lines:
            print(f"seed {seed}  {line}")
        if rerank:
            for direction, side in tested.sides.items():
                print(f"seed {seed}  {direction}  re-ranked {side.reranked(**rerank)}")
        if args.out:
            print(features.save(features.of_sides(tested.sides, found.root), args.out))
    for line in protocols.over_trials(layout, scores):
        print(line)
    return 0


def _transfer(args, device) -> int:
    """Weights of a run, or of a file, on data that they may never have seen."""
    from argparse import Namespace

    from vvi.evaluation import features
    from vvi.experiment import transfer
    from vvi.experiment.trained_network import load_run_or_file

    changes = dict(args.set or [])
    reading = {name: changes.pop(name) for name in _READING if name in changes}
    settings = None
    if args.method:
        alone = Namespace(**vars(args) | {"data": None, "set": list(changes.items())})
        settings = _settings(alone, 0)[0][1]
    elif changes:
        raise ValueError(
            f"--set {min(changes)}: a run knows its own settings; only {', '.join(_READING)} say how data are read"
        )
    trained = load_run_or_file(args.weights, settings)
    if args.method and args.method != trained.settings.method:
        raise ValueError(
            f"--weights {args.weights} are of {trained.settings.method}, not of {args.method}"
        )
    target = transfer.resolve(trained.settings.data, args.data, **reading)
    trained.method.to(device)
    print(
        f"{trained.settings.method}, trained on {transfer.data_name(trained)}, tested on {target.name}"
    )
    tested = transfer.test(trained, target, trained.settings.seed, progress=True)
    for line in tested.lines:
        print(f"  {line}")
    rerank = own.rerank_options(args.rerank)
    if rerank:
        for direction, side in tested.sides.items():
            print(f"  {direction}  re-ranked {side.reranked(**rerank)}")
    if args.out:
        print(features.save(features.of_sides(tested.sides, target.root), args.out))
    return 0


def _ablate(args) -> int:
    from vvi import methods
    from vvi.experiment import ablation, executors
    from vvi.runtime import paths

    tables = args.tables or list(methods.module(args.method).ABLATIONS)
    wanted = [
        c
        for table in tables
        for settings in ablation.configs(
            args.method, table, args.preset, args.seeds
        ).values()
        for c in settings
    ]
    where = args.executor or ("processes" if args.workers else "here")
    with executors.connect(
        where, args.workers, paths.runs() / ".jobs", **dict(args.options or [])
    ) as pool:
        print(
            f"{ablation.train_missing(wanted, pool, device=args.device, pixels=args.pixels, compiled=args.compile, resume=args.resume)} runs trained, {len({c.hash for c in wanted})} wanted"
        )
    if args.collect:
        print(
            f"{ablation.copy_to_records(args.method, args.preset, args.seeds)} records in book/records"
        )
    return 0


def _tune(args) -> int:
    from vvi.experiment import executors, tune
    from vvi.runtime import paths

    where = args.executor or ("processes" if args.workers else "here")
    with executors.connect(
        where, args.workers, paths.runs() / ".jobs", **dict(args.options or [])
    ) as pool:
        table = tune.tune(
            args.method,
            args.trials,
            args.preset,
            executor=pool,
            device=args.device,
            pixels=args.pixels,
        )
    file = tune.write_log(args.method, table, args.out)
    print(table.to_string(index=False, na_rep="-"))
    print(
        f"best on validation people: {tune.best(args.method, table) or 'the main row'}; {len(table)} trials in {file}"
    )
    return 0


def _worlds(args) -> int:
    from vvi.experiment import ablation, executors, worlds
    from vvi.runtime import paths

    names = args.worlds or list(worlds.PLAN)
    if args.plan:
        print(worlds.plan(args.preset, args.seeds).to_string())
        return 0
    if args.oracles:
        print(
            worlds.write_oracles(args.preset)
            .round(3)
            .to_string(index=False, na_rep="-")
        )
        return 0
    runs = worlds.wanted(names, args.preset, args.seeds)
    if args.collect:
        count = worlds.copy_to_records(names, args.preset, args.seeds)
        print(f"{count} of {len(runs)} records in book/records")
        return 0
    where = args.executor or ("processes" if args.workers else "here")
    with executors.connect(
        where, args.workers, paths.runs() / ".jobs", **dict(args.options or [])
    ) as pool:
        count = ablation.train_missing(
            runs, pool, device=args.device, pixels=args.pixels
        )
    print(f"{count} runs trained, {len(runs)} wanted")
    return 0


def _switches(args) -> int:
    from vvi.experiment import method_switches

    print(method_switches.describe(args.method))
    return 0


def _runs(args) -> int:
    from vvi import experiment
    from vvi.evaluation import protocols
    from vvi.experiment import ablation, store
    from vvi.runtime import paths

    for folder in (paths.runs(), paths.records()):
        for file in sorted(folder.glob("*/record.json")):
            record = store.load_record(file.parent)
            if (
                args.methods and record.config.method not in args.methods
            ) or args.preset not in (None, record.config.preset):
                continue
            stale = (
                ""
                if store.is_current(record, experiment.versions(record.config))
                else "  STALE"
            )
            c = record.config
            data = experiment.Result(record, stored=True).data_name
            numbers = "  ".join(protocols.short(record.scores, record.arrays))
            words = [f"{k}={v}" for k, v in c.options.items()] + [f"T={c.data.frames}"]
            options = " ".join(words + [c.data.source] * ("+" in c.data.source))
            plain = c if c.data.synthetic else experiment.unresolved(c)
            what = ablation.names(c.preset, c.seed).get(
                plain.hash, f"{c.method}, {options}"
            )
            print(
                f"{folder.name}/{file.parent.name}  {c.preset:8s}  seed {c.seed}  {data}  {numbers}{stale}  {what}"
            )
    return 0


def _verify(args) -> int:
    from vvi.experiment import ablation

    checks = ablation.verify(args.sample, device=args.device)
    for check in checks:
        shown = "  ".join(f"{k} {v:+.2f}" for k, v in check.difference.items())
        where = "same machine and versions" if check.same_machine else "another machine"
        print(
            f"{'ok  ' if check.holds else 'FAIL'} {check.run_id}  {shown} points  ({where}: {check.allowed} allowed)"
        )
    return 0 if all(check.holds for check in checks) else 1


def _tracklets(args) -> int:
    from vvi.data.video import open_video
    from vvi.engine import train
    from vvi.video import detectors
    from vvi.video.tracklets import usual, write_tracklets

    rule = usual(
        open_video(args.video).rate, args.height
    )  # a bad file is told before a network is built
    device = str(train.fabric(args.device).device)
    detect = detectors.load(args.detector, args.weights, device)
    made = write_tracklets(
        args.video, args.out, args.camera, args.modality, detect, rule, args.again
    )
    print(made)
    return 0


def _scene(args) -> int:
    from vvi.data.synthetic import crossing

    people = tuple(
        args.people or sorted(crossing.everyone(args.preset, args.seed))[-4:]
    )
    drawn = crossing.Crossing(
        people, args.camera, args.frames, preset=args.preset, seed=args.seed
    )
    print(
        f"{crossing.write_crossing(drawn, args.modality, args.video)}: {', '.join(map(str, people))} cross the view; the truth lies beside it"
    )
    return 0


def _search(args) -> int:
    from vvi import experiment
    from vvi.data import crops
    from vvi.data.video import open_video
    from vvi.engine import train
    from vvi.plots import ranked
    from vvi.video import detectors, search

    if Path(args.video).is_dir() or crops.is_picture(Path(args.video)):
        raise ValueError(
            f"{args.video} is no video: vvi rank QUERY GALLERY ranks pictures and folders of them"
        )
    for _ in open_video(
        args.video
    ):  # what is wrong with a file is told before anything is trained
        pass
    device = train.fabric(args.device).device
    detect = detectors.load(args.detector, args.weights, str(device))
    (name, config), _ = _settings(args, args.seed)
    config = experiment.resolve_data(config, args.data)
    data = experiment.dataset(config.data, args.data, seed=args.seed)
    method = experiment.train_if_missing(
        config, len(data.labels), device=args.device, data=args.data
    ).to(device)
    gallery = data.gallery("ir2vis" if args.modality == "ir" else "vis2ir")
    found = search.search(
        args.video,
        args.modality,
        gallery,
        method,
        config.data,
        detect,
        args.out,
        args.camera,
    )
    people = found.people(args.video)
    print(
        found.made,
        f"searched by {args.method}, {name}, among {len(gallery)} tracklets",
        *found.lines(people),
        sep="\n",
    )
    if args.figure:
        ranked.draw(
            [found.panel(f"{args.video}, searched by {args.method}", people)]
        ).savefig(args.figure)
        print(args.figure)
    return 0


def _parser() -> arguments.Parser:
    parser = arguments.Parser(
        prog="vvi",
        description="Video-based visible-infrared person re-identification: data, training, evaluation, records.",
    )
    parser.add_argument(
        "--debug", action="store_true", help="show the traceback of an error"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, do, help: str) -> arguments.Parser:
        sub = commands.add_parser(name, help=help, description=help)
        sub.set_defaults(do=do)
        return sub

    pairs = {"type": arguments.field, "action": "extend", "nargs": "+"}
    settings = pairs | {"type": arguments.setting}
    seeds = {
        "nargs": "+",
        "action": arguments.Seeds,
        "help": "such as 0 1 2, 0,1,2 or 0-2",
    }
    synth = command(
        "synth",
        _synth,
        "write the embedded synthetic data set in a real on-disk layout",
    )
    synth.add_argument("root")
    synth.add_argument("--preset", default="standard", help=_SETS)
    synth.add_argument("--layout", default="hitsz-vcm", choices=_LAYOUTS)
    synth.add_argument("--seed", type=arguments.integer(0), default=0)
    synth.add_argument("--workers", type=arguments.integer(1), default=None)
    check = command(
        "check",
        _check,
        "read a data set, print counts beside the expected ones and every problem found",
    )
    check.add_argument("root")
    check.add_argument("--layout", default="auto", choices=("auto", *_LAYOUTS))
    check.add_argument(
        "--no-images", action="store_true", help="look at the lists only"
    )
    check.add_argument(
        "--set",
        **pairs,
        metavar="OPTION=VALUE",
        help="options of the reader, e.g. strict=false min_seq_len=2 mode=indoor trial=3",
    )
    pixels = {
        "default": "files",
        "choices": ("files", "cache", "resident"),
        "help": "where frames come from: changes the speed, not the numbers",
    }
    compiled = {
        "action": "store_true",
        "help": "train through torch.compile: needs a C++ compiler, a minute at the start, and changes numbers by rounding",
    }
    resume = {
        "default": "same",
        "choices": ("same", "anyway"),
        "help": "a checkpoint of another processor, device or number of threads is refused (same), or gone on from anyway: the record then says so",
    }
    for name, do, text in (
        (
            "train",
            _train,
            "train (or find) the main row of a method, or what --set makes of it, and print its numbers",
        ),
        (
            "eval",
            _eval,
            "evaluate the stored weights of a run again, or features made elsewhere",
        ),
    ):
        sub = command(name, do, text)
        sub.add_argument("method", nargs="?" if name == "eval" else None)
        sub.add_argument("--preset", default="standard", choices=_SIZES)
        sub.add_argument(
            "--seeds",
            **seeds
            | {
                "help": "such as 0 1 2 or 0-2; default: 0, of RegDB 0 to 9, its ten trials"
            },
        )
        sub.add_argument(
            "--set",
            **settings,
            metavar="FIELD=VALUE",
            help="fields to change, e.g. frames=4 lr=0.001, or switches of the method (`vvi switches METHOD` lists them)",
        )
        sub.add_argument(
            "--data",
            type=arguments.folder,
            default=None,
            help="folder to read in place of the preset's",
        )
        sub.add_argument("--device", type=arguments.device, default="auto")
        if name == "eval":
            sub.add_argument(
                "--weights",
                metavar="RUN_OR_FILE",
                help="a run (as `vvi runs` lists it) or a file of weights, tested on --data, which may be another set",
            )
            own.add_features(sub)
        if name == "train":
            sub.add_argument(
                "--retrain",
                action="store_true",
                help="train even when a stored result exists",
            )
            sub.add_argument("--resume", **resume)
            sub.add_argument(
                "--log",
                choices=("csv", "tensorboard"),
                help="the losses beside the run while it trains (tensorboard: the extra [logs])",
            )
            sub.add_argument("--pixels", **pixels)
            sub.add_argument("--compile", **compiled)
    sweep = command("ablate", _ablate, "train the runs that a method's tables miss")
    sweep.add_argument("method")
    sweep.add_argument("--tables", nargs="+")
    sweep.add_argument("--preset", default="standard", choices=_SIZES)
    sweep.add_argument("--seeds", **seeds, default=[0, 1, 2])
    sweep.add_argument("--device", type=arguments.device, default="auto")
    sweep.add_argument("--resume", **resume)
    sweep.add_argument("--pixels", **pixels)
    sweep.add_argument("--compile", **compiled)
    sweep.add_argument(
        "--workers",
        type=arguments.integer(0),
        default=0,
        help="processes of one thread each that train side by side (0: here, one run after the other)",
    )
    sweep.add_argument(
        "--executor",
        metavar="WHERE",
        help="here, processes, dask://host:port or slurm (the last two need the extra [cluster])",
    )
    sweep.add_argument(
        "--options",
        **pairs,
        metavar="NAME=VALUE",
        help="parameters of slurm jobs, e.g. timeout_min=600 slurm_partition=gpu",
    )
    sweep.add_argument(
        "--collect", action="store_true", help="copy the results into book/records"
    )
    tuning = command(
        "tune",
        _tune,
        "draw settings of a method, train each and score validation people; test people are not looked at",
    )
    tuning.add_argument("method")
    tuning.add_argument(
        "--trials",
        type=arguments.integer(1),
        default=8,
        help="how many, the main row among them (default: 8)",
    )
    tuning.add_argument(
        "--out",
        type=Path,
        default=None,
        metavar="FILE",
        help="table of the trials (default: book/records/tuning/METHOD.csv)",
    )
    worlds = command(
        "worlds",
        _worlds,
        "train what is missing of the runs in worlds where one cue is dosed, each idea on and off",
    )
    worlds.add_argument(
        "worlds",
        nargs="*",
        metavar="WORLD",
        help="bad-frames, gap, time, place, bars (default: all)",
    )
    worlds.add_argument("--seeds", type=arguments.integer(0), nargs="+", default=[0, 1])
    what = worlds.add_mutually_exclusive_group()
    what.add_argument(
        "--plan",
        action="store_true",
        help="count the runs and what they cost; train nothing",
    )
    what.add_argument(
        "--oracles",
        action="store_true",
        help="measure how far each cue alone tells people apart, into book/records/worlds/oracles.csv",
    )
    what.add_argument(
        "--collect",
        action="store_true",
        help="copy the results that are there into book/records; train nothing",
    )
    for sub, size in ((tuning, "standard"), (worlds, "half")):
        sub.add_argument("--preset", default=size, choices=_SIZES)
        sub.add_argument("--device", default="auto")
        sub.add_argument("--pixels", **pixels)
        sub.add_argument(
            "--workers",
            type=arguments.integer(0),
            default=0,
            help="processes of one thread each that train side by side (0: here)",
        )
        sub.add_argument(
            "--executor",
            metavar="WHERE",
            help="here, processes, dask://host:port or slurm",
        )
        sub.add_argument(
            "--options",
            **pairs,
            metavar="NAME=VALUE",
            help="parameters of slurm jobs, e.g. timeout_min=600",
        )
    scene = command(
        "scene",
        _scene,
        "draw a video in which synthetic people cross the view of a camera, and the truth beside it",
    )
    scene.add_argument("video", help="a name that ends in .mp4")
    scene.add_argument("--modality", required=True, choices=("vis", "ir"))
    scene.add_argument(
        "--people",
        type=arguments.integer(0),
        nargs="+",
        metavar="ID",
        help="identities of the synthetic set (default: the last four of its test half)",
    )
    scene.add_argument("--camera", type=arguments.integer(1), default=9)
    scene.add_argument("--frames", type=arguments.integer(1), default=250)
    scene.add_argument("--preset", default="standard", help=_SETS)
    scene.add_argument("--seed", type=arguments.integer(0), default=0)
    tracklets = command(
        "tracklets",
        _tracklets,
        "cut the tracklets of one video: detect people, track them, write HITSZ-VCM layout",
    )
    search = command(
        "search",
        _search,
        "from a video to ranked lists: its tracklets, searched for among the test tracklets of the other modality",
    )
    for sub in (tracklets, search):
        sub.add_argument("video")
        sub.add_argument("--modality", required=True, choices=("vis", "ir"))
        sub.add_argument(
            "--detector",
            default="fcos",
            help="fcos, retinanet or fasterrcnn (small, trained on synthetic scenes) or a detection network of torchvision",
        )
        sub.add_argument(
            "--weights",
            default=None,
            help="file of its weights (default: the stored ones, or where torchvision keeps its own; nothing is downloaded)",
        )
        sub.add_argument("--device", type=arguments.device, default="cpu")
    tracklets.add_argument(
        "--out",
        required=True,
        metavar="ROOT",
        help="new folder, or one that this command made: further videos are added",
    )
    tracklets.add_argument(
        "--again",
        action="store_true",
        help="remove what the folder holds of earlier videos",
    )
    tracklets.add_argument("--camera", type=arguments.integer(1), required=True)
    tracklets.add_argument(
        "--height",
        type=arguments.integer(1),
        default=64,
        help="boxes of people that are fewer pixels high do not count (default: 64)",
    )
    search.add_argument(
        "method",
        nargs="?",
        default="baseline",
        help="its main row, or what --set makes of it; trained first where its weights are not here",
    )
    search.add_argument("--preset", default="standard", choices=_SIZES)
    search.add_argument("--seed", type=arguments.integer(0), default=0)
    search.add_argument("--set", **settings, metavar="FIELD=VALUE")
    search.add_argument(
        "--data",
        type=arguments.folder,
        default=None,
        help="folder whose test tracklets are the gallery, in place of the preset's",
    )
    search.add_argument("--camera", type=arguments.integer(1), default=1)
    search.add_argument(
        "--out",
        default=None,
        metavar="ROOT",
        help="folder for the tracklets of this video alone (default: in the cache)",
    )
    search.add_argument(
        "--figure",
        type=arguments.picture,
        metavar="FILE",
        help="draw the ranked lists, too: a name that ends in .png, .pdf or .svg",
    )
    own.add(command)
    switches = command(
        "switches",
        _switches,
        "list the switches of a method, which `train --set` takes, with what they mean",
    )
    switches.add_argument("method")
    runs = command(
        "runs", _runs, "list stored results, each with the row of a table that it is"
    )
    runs.add_argument("methods", nargs="*", metavar="METHOD")
    runs.add_argument("--preset", choices=_SIZES)
    verify = command(
        "verify", _verify, "train a sample of the committed records again and compare"
    )
    verify.add_argument("--sample", type=arguments.integer(1), default=1)
    verify.add_argument("--device", type=arguments.device, default="auto")
    return parser
