"""A network comes back from a run, a folder, a file, or a released checkpoint."""

import shlex
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from vvi import experiment, methods
from vvi.cli import parser
from vvi.cli import settings as cli_settings
from vvi.config import change, preset
from vvi.experiment import ablation, trained_network
from vvi.experiment.trained_network import load_run_or_file
from vvi.nn import backbone
from vvi.runtime import paths
from vvi.runtime.tensors import CheckpointError


@pytest.fixture(scope="module")
def runs(tiny_root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VVI_RUNS", str(folder))
        for method in methods.names():
            options = {"device": "cpu", "data": tiny_root, "progress": False}
            experiment.run(preset("tiny", method, steps=1), **options)
    return folder


@pytest.fixture(autouse=True)
def here(runs, monkeypatch, tmp_path):
    monkeypatch.setenv("VVI_RUNS", str(runs))
    monkeypatch.chdir(tmp_path)


def settings(method="baseline"):
    return preset("tiny", method, steps=1)


def weights(method="baseline"):
    return load_file(paths.runs() / settings(method).hash / "model.safetensors")


def same(net, method="baseline"):
    own, expected = net.method.state_dict(), weights(method)
    return all(torch.equal(own[name], expected[name]) for name in expected)


@pytest.mark.parametrize("method", methods.names())
def test_every_method_comes_back_from_the_id_of_its_run(method):
    net = load_run_or_file(settings(method).hash)
    assert net.settings == settings(method) and same(net, method)
    assert not net.method.training and net.name.startswith(f"{method} ")


def test_a_run_may_be_named_by_how_it_begins_its_folder_its_file_or_its_config(runs):
    name = settings().hash
    for source in (
        name[:6],
        runs / name,
        runs / name / "model.safetensors",
        settings(),
    ):
        assert same(load_run_or_file(source)), source


def test_a_file_alone_says_what_it_holds(runs, tmp_path):
    shutil.copy(runs / settings().hash / "model.safetensors", tmp_path / "moved")
    net = load_run_or_file(tmp_path / "moved")
    assert same(net) and net.settings == settings()


@pytest.mark.parametrize(
    "wrap", [lambda s: s, lambda s: {"model": {f"module.{k}": v for k, v in s.items()}}]
)
def test_a_file_that_does_not_say_it_is_told(wrap, tmp_path):
    torch.save(wrap(weights()), tmp_path / "net.pth")
    assert same(load_run_or_file(tmp_path / "net.pth", settings()))
    with pytest.raises(
        CheckpointError,
        match="does not say which network it holds.*its method and --preset",
    ):
        load_run_or_file(tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match=r"net.pth is no iban: (missing|unknown)"):
        load_run_or_file(tmp_path / "net.pth", settings("iban"))


def test_a_released_checkpoint_is_known_by_its_names(tmp_path):
    from test_weights import released_mitml

    torch.save(released_mitml(), tmp_path / "mitml.t")
    net = load_run_or_file(tmp_path / "mitml.t")
    data = net.settings.data
    assert net.settings.method == "mitml" and net.method.config.variant == "released"
    assert (data.height, data.width, data.frames) == (288, 144, 6)


def test_weights_with_a_hole_are_refused_by_name(tmp_path):
    tensors = weights()
    tensors.pop("neck.norm.weight")
    save_file(tensors, tmp_path / "hole.safetensors", {"config": settings().to_json()})
    with pytest.raises(
        CheckpointError,
        match=r"hole.safetensors is no baseline: missing: neck.norm.weight",
    ):
        load_run_or_file(tmp_path / "hole.safetensors")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            "nowhere",
            "nowhere is no run of .*, no folder and no file: vvi runs lists runs",
        ),
        ("0123456789ab", "0123456789ab is no run of"),
        ("./nowhere.pth", "is no run of"),
    ],
)
def test_what_is_nowhere_is_said_to_be(source, said):
    with pytest.raises(FileNotFoundError, match=said):
        load_run_or_file(source)


def test_a_folder_without_weights_and_two_runs_that_begin_alike_are_named(
    runs, tmp_path, monkeypatch
):
    with pytest.raises(
        FileNotFoundError,
        match=r"model.safetensors does not exist.*again, vvi train METHOD --retrain",
    ):
        load_run_or_file(tmp_path)
    monkeypatch.setenv("VVI_RUNS", str(tmp_path))
    for name in ("abcd1", "abcd2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "record.json").write_text("{}")
    with pytest.raises(ValueError, match="several runs begin with abcd: abcd1, abcd2"):
        load_run_or_file("abcd")


@pytest.mark.parametrize(
    ("table", "label", "seed", "command"),
    [
        ("Table II", "Baseline+IG+ESB+BSTA", 0, "vvi train iban --retrain"),
        (
            "Table II",
            "Baseline+IG+ESB+BSTA",
            2,
            "vvi train iban --seeds 2 --retrain",
        ),
        (
            "Readings",
            "literal",
            0,
            "vvi train iban --set variant=paper --retrain",
        ),
    ],
)
def test_a_stored_result_without_weights_says_how_to_train_it(
    table, label, seed, command, tmp_path, monkeypatch
):
    monkeypatch.setenv("VVI_RUNS", str(tmp_path))
    config = ablation.configs("iban", table, seeds=[seed])[label][0]
    with pytest.raises(FileNotFoundError, match=f"again, {command}$"):
        load_run_or_file(config.hash)


#: Method, size and changes of runs whose command is typed again.
TYPED = [
    ("baseline", "tiny", {}),
    ("baseline", "tiny", {"seed": 3, "margin": 0.1}),
    ("iban", "tiny", {"lr": 1e-2, "milestones": (10, 20), "drops": (0.3, 0.6)}),
    ("baseline", "tiny", {"data_seed": 1, "split": "val"}),
    ("baseline", "tiny", {"backbone": "torchvision.models:resnet18"}),
    ("baseline", "tiny", {"weights": "a net.pth"}),
    ("baseline", "tiny", {"layout": "regdb", "frames": 1}),
    ("sadstrm", "tiny", {"lambda_1": 2, "strict": False, "min_seq_len": 5}),
    ("cmft", "tiny", {"tta": "flip"}),
    ("di2l", "standard", {"variant": "main", "dpa_scale": "none"}),
    ("mitml", "standard", {"variant": "main", "warmup_steps": None, "drops": ()}),
    ("baseline", "half", {"source": "half+bars=0.3", "stride": 2}),
    ("baseline", "paper", {"source": "full", "backbone": "small", "weights": None}),
    ("baseline", "full", {"optimiser": "adamw", "auxiliary": False, "lr": 1e-5}),
]


def typed_again(line):
    """The run that a recommended command trains, read by the parser of the package."""
    words = shlex.split(line)
    args = parser.build().parse_args(words[1:])
    assert words[0] == "vvi" and args.retrain
    (seed,) = cli_settings.wanted_seeds(args)
    (_, config), _ = cli_settings.changed_row(args, seed)
    return experiment.resolve_data(config, args.data)


@pytest.mark.parametrize(("method", "size", "changes"), TYPED)
def test_the_recommended_command_names_the_same_run(
    method, size, changes, tmp_path, monkeypatch
):
    monkeypatch.setenv("VVI_CACHE", str(tmp_path / "cache"))
    torch.save(backbone.build("micro").state_dict(), "a net.pth")
    config = experiment.resolve_data(preset(size, method, **changes))
    assert typed_again(trained_network.command(config)).hash == config.hash


def test_the_recommended_command_names_the_folder_of_real_data(
    tiny_root, tmp_path, monkeypatch
):
    monkeypatch.setenv("VVI_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "real é set"
    shutil.copytree(tiny_root, root)
    (root / "manifest.json").unlink()
    config = experiment.resolve_data(preset("tiny", seed=1, min_seq_len=5), root)
    with pytest.raises(FileNotFoundError) as caught:
        load_run_or_file(config, data=root)
    line = str(caught.value).partition("train it again, ")[2]
    assert typed_again(line).hash == config.hash
    assert " --data FOLDER --set min_seq_len=5" in trained_network.command(config)


def test_a_run_that_lost_its_weights_is_trained_by_its_own_command(
    runs, tmp_path, monkeypatch
):
    monkeypatch.setenv("VVI_RUNS", str(tmp_path))
    moved = tmp_path / settings().hash
    shutil.copytree(runs / settings().hash, moved)
    (moved / "model.safetensors").unlink()
    again = "vvi train baseline --preset tiny --set steps=1 --retrain"
    with pytest.raises(FileNotFoundError, match=f"train it again, {again}$"):
        load_run_or_file(settings().hash)


@pytest.mark.parametrize(
    "size", [{"preset": "standard"}, {"preset": "tiny", "backbone": "small"}]
)
def test_weights_of_another_size_are_named_with_what_does_not_fit(size, tmp_path):
    save_file(weights(), tmp_path / "net.safetensors")
    name = size.pop("preset")
    wanted = change(preset(name, "baseline"), **size)
    with pytest.raises(CheckpointError, match="net.safetensors is no baseline: "):
        load_run_or_file(tmp_path / "net.safetensors", wanted)


@pytest.mark.parametrize("value", [torch.ones(()), torch.ones(0), torch.ones(1, 1)])
def test_a_weight_of_another_shape_is_named_whatever_it_is(value, tmp_path):
    save_file(weights() | {"neck.norm.bias": value}, tmp_path / "net.safetensors")
    said = "is no baseline: of another shape: neck.norm.bias"
    with pytest.raises(CheckpointError, match=said):
        load_run_or_file(tmp_path / "net.safetensors", settings())


def test_a_file_without_a_network_is_named(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match="net.pt: no tensors by name under epoch"):
        load_run_or_file(tmp_path / "net.pt", settings())


def test_a_run_may_be_named_as_it_is_listed_whatever_its_folder_is_called(runs):
    assert same(load_run_or_file(f"{runs.name}/{settings().hash}"))
