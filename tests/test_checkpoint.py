"""A checkpoint holds all that the next step depends on.

One of another run, version or machine is never used. What kills do is in
test_interruption.py.
"""

import os

import pytest
import torch
from torch import nn

from vvi.config import Recipe
from vvi.engine import checkpoint, optim, train
from vvi.methods.base import Method, Output, Phase
from vvi.types import Batch

RUN, WHERE = (
    {"config": "abc", "versions": {"loop": 1}},
    {"torch": "1", "device": "cpu", "threads": 1},
)
RECIPES = [
    Recipe(optimiser="adamw", lr=0.01, steps=8, epochs=8, warmup=2, milestones=(5,)),
    Recipe(lr=0.01, steps=8, epochs=8, warmup=2, milestones=(5,)),
]


class Toy(Method):
    """All that a checkpoint must keep.

    Dropout (torch's global generator), statistics, a buffer outside the state dict,
    channels-last weights, and phases that come, go and share optimisers.
    """

    phases = (
        Phase("early", ("net",), (0, 4)),
        Phase("own", ("head",), (2, 6), lr=0.02, optimiser="own"),
        Phase("late", ("net", "head"), (4, 8), fresh=True),
    )

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.net = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)
        ).to(memory_format=torch.channels_last)
        self.head = nn.Linear(4, 2)
        self.register_buffer("seen", torch.zeros(()), persistent=False)

    def forward(self, batch):
        self.seen += 1
        feat = self.net(batch.vis.flatten(0, 1)).mean((2, 3))
        return Output(feat, self.head(feat), watch={"seen": self.seen.clone()})

    def losses(self, out, batch, phase):
        return {
            "id": out.logits.square().mean()
            + (self.head(out.feat.detach()).mean() if phase.name == "own" else 0)
        }

    def embed(self, clips, modality):
        return clips


class Loader:
    def batches(self, start, stop, device, workers):
        for step in range(start, stop):
            clips = torch.randn(
                2, 2, 3, 8, 8, generator=torch.Generator().manual_seed(step)
            )
            yield Batch(
                clips, clips, *(torch.zeros(2, dtype=torch.int64),) * 3, step=step
            )


class Stop(Exception):
    pass


def fit(recipe, kept=None, stop=None):
    def on_step(done, total):
        if done == stop:
            raise Stop

    toy = Toy()
    return toy, train.fit(
        toy,
        Loader(),
        recipe,
        train.fabric("cpu"),
        progress=False,
        on_step=on_step,
        checkpoint=kept,
    )


def kept(folder, run=RUN, where=WHERE, every=0.0):
    return checkpoint.Checkpoint(folder, run, where, every)


def restored(folder, **changes):
    toy = Toy()
    return kept(folder, **changes).restore(toy, optim.build(toy, RECIPES[0]))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: r.optimiser)
@pytest.mark.parametrize("stop", [1, 3, 4, 5, 8])
def test_training_goes_on_to_the_same_bits_through_phases_optimisers_and_dropout(
    recipe, stop, tmp_path
):
    toy, history = fit(recipe)
    with pytest.raises(Stop):
        fit(recipe, kept(tmp_path), stop)
    torch.manual_seed(99)
    again, resumed = fit(recipe, kept(tmp_path))
    for (name, a), b in zip(
        toy.state_dict().items(), again.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b), name
    assert torch.equal(toy.seen, again.seen)
    assert list(history) == list(resumed)
    assert str(history) == str(resumed)  # NaN where a phase was not active


def test_moments_come_back_in_the_memory_layout_of_their_weights(tmp_path):
    recipe = RECIPES[0]
    with pytest.raises(Stop):
        fit(recipe, kept(tmp_path), 3)
    toy = Toy()
    optimisers = optim.build(toy, recipe)
    assert kept(tmp_path).restore(toy, optimisers)[0] == 3
    weight = toy.net[0].weight
    assert (
        optimisers["main"].state[weight]["exp_avg"].stride()
        == weight.stride()
        != weight.contiguous().stride()
    )
    assert set(optimisers) == {"main", "own"}


def test_a_checkpoint_comes_after_so_many_seconds_and_at_the_end(tmp_path):
    fit(RECIPES[0], last := kept(tmp_path, every=1000))
    assert restored(tmp_path)[0] == 8
    assert 0 < last.seconds < 60
    assert not kept(tmp_path, every=1000).due(3, 8) and kept(tmp_path, every=0).due(
        3, 8
    )


def test_where_a_save_is_slow_it_is_made_less_often(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])

    def write(*_):
        now[0] += 4

    monkeypatch.setattr(checkpoint.atomic, "write", write)
    toy, often = Toy(), kept(tmp_path, every=30)
    now[0] = 31.0
    assert often.due(1, 99)
    often.save(1, toy, {}, {})  # until 35, in 4 seconds: a twentieth of 80
    for now[0], due in ((66.0, False), (114.0, False), (115.0, True)):
        assert often.due(2, 99) is due


@pytest.mark.parametrize(
    "run", [RUN | {"config": "other"}, RUN | {"versions": {"loop": 2}}]
)
def test_one_of_another_run_or_version_is_reported_and_not_used(run, tmp_path):
    fit(RECIPES[0], kept(tmp_path))
    with pytest.warns(
        UserWarning, match="of another run or version.*starts from the first step"
    ):
        assert restored(tmp_path, run=run) == (0, {})


def test_a_damaged_one_and_one_of_another_shape_are_reported_and_not_used(tmp_path):
    fit(RECIPES[0], kept(tmp_path))
    file, toy = tmp_path / checkpoint.FILE, Toy()
    toy.head = nn.Linear(4, 3)
    with pytest.warns(UserWarning, match="other tensors than this model"):
        assert kept(tmp_path).restore(toy, {})[0] == 0
    for content in (file.read_bytes()[:-9], b"", b"x" * 100):
        file.write_bytes(content)
        with pytest.warns(UserWarning, match="is damaged"):
            assert kept(tmp_path).restore(toy, {})[0] == 0


@pytest.mark.parametrize(
    ("name", "value"), [("device", "NVIDIA H200"), ("threads", 2), ("torch", "2")]
)
def test_one_of_another_machine_is_refused_and_kept(name, value, tmp_path):
    fit(RECIPES[0], kept(tmp_path))
    with pytest.raises(
        checkpoint.MismatchError,
        match=rf"step 8: {name} .* -> {value}\).*delete the file .* --resume anyway",
    ):
        fit(RECIPES[0], kept(tmp_path, where=WHERE | {name: value}))
    assert (tmp_path / checkpoint.FILE).is_file()


def test_one_of_another_machine_is_gone_on_from_when_wanted_and_the_change_is_kept(
    tmp_path,
):
    with pytest.raises(Stop):
        fit(RECIPES[0], kept(tmp_path), 3)
    here = checkpoint.Checkpoint(
        tmp_path, RUN, WHERE | {"threads": 2}, 0.0, anyway=True
    )
    with (
        pytest.warns(UserWarning, match=r"step 3: threads 1 -> 2\).*going on anyway"),
        pytest.raises(Stop),
    ):
        fit(RECIPES[0], here, 5)
    assert here.moved == ["step 3: threads 1 -> 2"]
    there = kept(tmp_path, where=WHERE | {"threads": 2})
    assert (
        there.restore(Toy(), optim.build(Toy(), RECIPES[0]))[0] == 5
        and there.moved == here.moved
    ), "the next one needs no leave, and still says it"
    with pytest.raises(checkpoint.MismatchError, match="step 5: threads 2 -> 1"):
        fit(RECIPES[0], kept(tmp_path))


def test_what_only_one_side_knows_of_is_a_change_too(tmp_path):
    fit(RECIPES[0], kept(tmp_path, where=WHERE | {"compiled": True, "processes": 4}))
    with pytest.raises(
        checkpoint.MismatchError,
        match="compiled True -> None; step 8: processes 4 -> None",
    ):
        restored(tmp_path)


def test_one_that_became_a_record_is_tidied_away_and_one_on_top_of_a_record_is_not(
    tmp_path,
):
    file, record = tmp_path / checkpoint.FILE, tmp_path / "record.json"
    fit(RECIPES[0], kept(tmp_path))
    record.write_text("{}")
    os.utime(record, ns=(1, 1))
    checkpoint.tidy(tmp_path)
    assert file.exists()
    os.utime(file, ns=(0, 0))
    assert restored(tmp_path) == (0, {})
    checkpoint.tidy(tmp_path)
    assert not file.exists() and record.exists()
