import pytest
import torch

from vvi import methods
from vvi.types import Batch


def small(**options):
    torch.manual_seed(0)
    return methods.load("baseline", num_ids=5, backbone="micro", **options)


def test_the_parameter_count_at_paper_size_is_that_of_the_card():
    model = methods.load("baseline", num_ids=500, backbone="resnet50")
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 24_543_616
    assert sum(p.numel() for p in model.parameters() if not p.requires_grad) == 2_048


def test_shuffled_frames_leave_the_embedding_unchanged():
    model, clips = small().eval(), torch.randn(3, 4, 3, 32, 16)
    with torch.no_grad():
        torch.testing.assert_close(
            model.embed(clips, "ir"),
            model.embed(clips[:, [3, 1, 0, 2]], "ir"),
            rtol=1e-4,
            atol=1e-5,
        )


def test_the_modality_chooses_the_stem():
    model, clips = small().eval(), torch.randn(2, 2, 3, 32, 16)
    with torch.no_grad():
        model.trunk.stems["ir"][0].weight.mul_(-1)
        assert not torch.allclose(model.embed(clips, "vis"), model.embed(clips, "ir"))


def test_a_loss_on_visible_clips_alone_gives_the_infrared_stem_no_gradient():
    model = (
        small().eval()
    )  # in training mode the shared batch statistics of the trunk pass gradient across
    out = model(
        Batch(
            torch.randn(4, 2, 3, 32, 16),
            torch.randn(4, 2, 3, 32, 16),
            torch.tensor([0, 0, 1, 1]),
            None,
            None,
        )
    )
    out.feat[:4].square().sum().backward()
    reached = {
        m: [
            p.grad is not None and bool(p.grad.abs().sum() > 0)
            for p in model.trunk.stems[m].parameters()
        ]
        for m in ("vis", "ir")
    }
    assert all(reached["vis"]) and not any(reached["ir"])


def test_forward_pools_over_places_then_frames():
    model, batch = (
        small().eval(),
        Batch(
            torch.randn(2, 3, 3, 32, 16),
            torch.randn(2, 3, 3, 32, 16),
            torch.tensor([0, 1]),
            None,
            None,
        ),
    )
    with torch.no_grad():
        out = model(batch)
        for n in range(2):
            frames = torch.stack(
                [
                    model.trunk(model.trunk.stem(batch.ir[n, t][None], "ir")).mean(
                        (2, 3)
                    )[0]
                    for t in range(3)
                ]
            )
            torch.testing.assert_close(
                out.feat[2 + n], frames.mean(0), rtol=1e-4, atol=1e-5
            )


def test_the_losses_are_identity_after_the_neck_and_triplet_before_it():
    model = small().eval()
    batch = Batch(
        torch.randn(4, 2, 3, 32, 16),
        torch.randn(4, 2, 3, 32, 16),
        torch.tensor([0, 0, 1, 1]),
        None,
        None,
    )
    out = model(batch)
    losses = model.losses(out, batch, model.phases[0])
    labels = torch.tensor([0, 0, 1, 1, 0, 0, 1, 1])
    by_hand = (
        -sum(
            torch.log_softmax(
                model.neck.norm(out.feat) @ model.neck.classifier.weight.T, 1
            )[i, y]
            for i, y in enumerate(labels)
        )
        / 8
    )
    torch.testing.assert_close(losses["id"], by_hand)
    assert set(losses) == {"id", "triplet"}


@pytest.mark.parametrize("frames", [1, 2, 8])
def test_any_number_of_frames_is_taken_even_a_single_clip_of_one(frames):
    with torch.no_grad():
        assert small().eval().embed(torch.randn(1, frames, 3, 32, 16), "vis").shape == (
            1,
            32,
        )


def test_a_baseline_of_anaglyphs_is_one_of_frames_that_is_shown_anaglyphs():
    from vvi.data.transforms import anaglyph

    plain, relief, clips = (
        small().eval(),
        small(reads="anaglyphs").eval(),
        torch.randn(2, 3, 3, 32, 16),
    )
    with torch.no_grad():
        torch.testing.assert_close(
            relief.embed(clips, "ir"),
            plain.embed(anaglyph(clips, normalised=True), "ir"),
        )
        assert (relief.embed(clips, "ir") - plain.embed(clips, "ir")).abs().max() > 1e-3
