"""What every method must do, whatever its paper."""

import copy
from dataclasses import fields, replace

import pytest
import torch
from torch import nn

from vvi import methods
from vvi.config import Recipe
from vvi.engine import optim, train
from vvi.experiment import ablation, method_switches
from vvi.methods.base import MethodConfig
from vvi.runtime.fields import field_docs, hints, literal_values
from vvi.runtime.random import seed_everything
from vvi.types import Batch

RECIPE = Recipe(
    optimiser="adamw",
    lr=3e-3,
    slow=1.0,
    warmup=0,
    milestones=(),
    weight_decay=0.0,
    epochs=200,
)


def batch(step=0, identities=4, tracklets=2, frames=3):
    g = torch.Generator().manual_seed(step)
    ids = torch.arange(identities).repeat_interleave(tracklets)
    n = len(ids)
    look = torch.randn(identities, 1, 3, 32, 16, generator=g)[
        ids
    ]  # an identity looks alike in both modalities, so that a batch can be learned
    vis, ir = (
        look + 0.3 * torch.randn(n, frames, 3, 32, 16, generator=g) for _ in range(2)
    )
    return Batch(vis, ir, ids, torch.arange(n), torch.arange(n, 2 * n), step)


def build(name, seed=0):
    seed_everything(seed)
    return methods.load(name, num_ids=6, backbone="micro", frames=3)


def iterate(method, steps, epoch=0.0, engine=None):
    engine = engine or train.fabric("cpu")
    optimisers = optim.build(method, RECIPE)
    return [
        train.iteration(method, batch(0), optimisers, epoch, RECIPE.lr, engine)
        for _ in range(steps)
    ]


@pytest.mark.parametrize("name", methods.names())
def test_embeddings_have_unit_norm_and_one_row_per_clip(name):
    method = build(name).eval()
    with torch.no_grad():
        for modality in ("vis", "ir"):
            embed = method.embed(torch.randn(5, 3, 3, 32, 16), modality)
            assert embed.ndim == 2 and len(embed) == 5
            torch.testing.assert_close(embed.norm(dim=1), torch.ones(5))


@pytest.mark.parametrize("name", methods.names())
def test_the_embedding_of_a_clip_does_not_depend_on_its_neighbours(name):
    method, clips = build(name).eval(), torch.randn(4, 3, 3, 32, 16)
    with torch.no_grad():
        torch.testing.assert_close(
            method.embed(clips, "ir")[2:3],
            method.embed(clips[2:3], "ir"),
            rtol=1e-4,
            atol=1e-5,
        )


@pytest.mark.parametrize("name", methods.names())
def test_each_phase_moves_its_parts_and_nothing_else(name):
    method = build(name).train()
    for norm in (
        m
        for m in method.modules()
        if isinstance(m, nn.modules.batchnorm._BatchNorm)
        and m.affine
        and not m.weight.any()
    ):
        nn.init.ones_(
            norm.weight
        )  # a norm that starts at zero hides what stands before it from its gradient
    for phase in method.phases:
        before = copy.deepcopy(dict(method.named_parameters()))
        moved = {id(p) for p in method.parameters_of(phase)}
        method_with_one = copy.copy(method.phases)
        method.phases = (phase,)
        iterate(method, 1, epoch=phase.epochs[0])
        method.phases = method_with_one
        for key, p in method.named_parameters():
            changed = not torch.equal(p, before[key])
            assert changed == (id(p) in moved), (
                f"{phase.name}: {key} {'moved' if changed else 'stayed'}"
            )


@pytest.mark.parametrize("name", methods.names())
def test_the_phases_together_move_every_trainable_parameter(name):
    method = build(name)
    reached = {id(p) for phase in method.phases for p in method.parameters_of(phase)}
    assert all(id(p) in reached for p in method.parameters() if p.requires_grad)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("name", methods.names())
def test_a_step_gives_every_parameter_of_its_phases_a_gradient_in_either_precision(
    name, precision, monkeypatch
):
    method, engine = build(name).train(), train.fabric("cpu", precision)
    for phase in method.phases:
        monkeypatch.setattr(method, "phases", (phase,))
        optimisers, reached = optim.build(method, RECIPE), []
        optimisers[phase.optimiser].register_step_pre_hook(
            lambda *_, seen=reached, phase=phase: seen.extend(
                p.grad for p in method.parameters_of(phase)
            )
        )
        train.iteration(
            method, batch(0), optimisers, phase.epochs[0], RECIPE.lr, engine
        )
        assert reached and all(
            grad is not None
            and grad.dtype == torch.float32
            and torch.isfinite(grad).all()
            for grad in reached
        )


@pytest.mark.parametrize("name", methods.names())
def test_losses_are_finite_named_scalars(name):
    terms = iterate(build(name).train(), 1)[0]
    assert terms and all(v.ndim == 0 and torch.isfinite(v) for v in terms.values())


@pytest.mark.parametrize("name", methods.names())
def test_the_same_seed_gives_the_same_losses(name):
    first, second = (iterate(build(name, 3).train(), 3)[-1] for _ in range(2))
    assert {k: v.item() for k, v in first.items()} == {
        k: v.item() for k, v in second.items()
    }


@pytest.mark.parametrize("name", methods.names())
def test_one_batch_can_be_learned_by_heart(name):
    history = iterate(build(name).train(), 60)
    identity = next(k for k in history[0] if k.endswith("/id"))
    assert history[-1][identity] < 0.25 * history[0][identity]


@pytest.mark.parametrize("name", methods.names())
def test_modules_define_what_the_book_reads(name):
    found = methods.module(name)
    assert (
        isinstance(found.VERSION, int)
        and found.Config.__dataclass_params__.frozen
        and found.__doc__
    )
    assert set(found.SWEEPS) <= set(found.ABLATIONS)
    table, row = found.MAIN
    assert row in found.ABLATIONS[table] and table not in found.SWEEPS
    for rows in found.ABLATIONS.values():
        assert rows and all(isinstance(changes, dict) for changes in rows.values())


@pytest.mark.parametrize("name", methods.names())
def test_every_switch_on_the_common_config_says_what_it_means(name):
    kind = methods.module(name).Config
    assert issubclass(kind, MethodConfig)
    assert set(field_docs(kind)) == {field.name for field in fields(kind)}


@pytest.mark.parametrize("name", methods.names())
def test_clips_of_another_shape_are_refused(name):
    with pytest.raises(ValueError, match=r"\(B, T, 3, H, W\)"):
        build(name).embed(torch.zeros(2, 3, 32, 16), "vis")


@pytest.mark.parametrize("name", methods.names())
def test_what_figures_show_is_refused_for_the_same_clips_as_a_search(name):
    method = build(name).eval()
    if not method.inspect(torch.zeros(1, 3, 3, 32, 16), "vis"):
        return  # such as the baseline, which shows nothing
    with pytest.raises(ValueError, match=r"\(B, T, 3, H, W\)"):
        method.inspect(torch.zeros(2, 3, 32, 16), "vis")
    with pytest.raises(ValueError, match="normalised floats"):
        method.inspect(torch.zeros(1, 3, 3, 32, 16, dtype=torch.uint8), "vis")
    with pytest.raises(ValueError, match="modality"):
        method.inspect(torch.zeros(1, 3, 3, 32, 16), "nonsense")


def test_modules_and_packages_are_methods_and_their_base_is_none():
    assert {"baseline", "iban"} <= set(
        methods.names()
    ) and "base" not in methods.names()
    assert not hasattr(methods.module("baseline"), "__path__")
    assert hasattr(methods.module("iban"), "__path__")


def test_a_wrong_name_and_a_wrong_option_are_named():
    with pytest.raises(ValueError, match="no method 'xyz'.*baseline"):
        methods.load("xyz", 5)
    with pytest.raises(ValueError, match="baseline has no option colour"):
        methods.load("baseline", 5, colour=1)


def test_the_helper_of_this_file_sees_a_part_that_should_not_move():
    # the phase test must be able to fail: a phase of one part does not move the other
    method = build("baseline").train()
    method.phases = (type(method.phases[0])("head", ("neck",)),)
    before = copy.deepcopy(method.trunk.layer4.state_dict())
    weight = method.neck.classifier.weight.detach().clone()
    iterate(method, 1)
    assert all(
        torch.equal(before[k], v)
        for k, v in method.trunk.layer4.state_dict().items()
        if "running" not in k and "tracked" not in k
    )
    assert not torch.equal(weight, method.neck.classifier.weight) and isinstance(
        method.trunk, nn.Module
    )


@pytest.mark.parametrize("name", methods.names())
def test_rows_of_one_table_compute_different_things_and_have_one_hash(name):
    """A sweep names its common point once for each curve."""
    module, hashes = methods.module(name), {}
    for table in module.ABLATIONS:
        computed = {}
        for label, (config, *_) in ablation.configs(name, table).items():
            content = method_switches.effective(config)
            key = repr(content), repr(replace(config, options={}))
            computed.setdefault(key, []).append(label)
            hashes.setdefault(key, set()).add(config.hash)
        if table not in module.SWEEPS:
            assert max(map(len, computed.values())) == 1, (table, computed.values())
    assert max(map(len, hashes.values())) == 1


@pytest.mark.parametrize("name", methods.names())
def test_a_config_holds_what_follows_its_variant(name):
    module = methods.module(name)
    for switch, values in getattr(module, "READINGS", {}).items():
        variants = literal_values(hints(module.Config)["variant"])
        for variant, value in zip(variants, values, strict=True):
            assert getattr(module.Config(variant=variant), switch) == value
