import numpy as np
import pytest

from vvi import experiment
from vvi.config import preset
from vvi.data import regdb, synthetic, sysu
from vvi.evaluation import evaluate, protocols
from vvi.metrics import retrieval_metrics


@pytest.fixture(scope="module")
def sysu_root(tmp_path_factory):
    return synthetic.write(
        tmp_path_factory.mktemp("sysu") / "set",
        preset="tiny",
        layout="sysu-mm01",
        progress=False,
    )


def noisy(tracklets):
    """Features that know the identity through a fog: the same for the same image."""
    rows = [
        np.random.default_rng([t.identity, 1]).normal(size=16)
        + 1.5
        * np.random.default_rng([t.identity, t.camera, int(t.paths[0].stem)]).normal(
            size=16
        )
        for t in tracklets
    ]
    return np.stack(rows).astype(np.float32)


@pytest.fixture(scope="module")
def scored(sysu_root):
    """Scores of the foggy features, and what the features were asked for."""
    asked = []

    def embed(tracklets):
        asked.append(list(tracklets))
        return noisy(tracklets)

    return protocols.sysu_scores(sysu_root, embed), asked


def test_every_gallery_is_scored_as_alone(scored, sysu_root):
    assert list(scored[0]) == list(protocols.SETTINGS)
    for (setting, (mode, shots)), trial in zip(
        protocols.SETTINGS.items(), (0, 3, 7, 9), strict=True
    ):
        alone = sysu.read(sysu_root, mode=mode, shots=shots, trial=trial)
        query, gallery = alone.query("ir2vis"), alone.gallery("ir2vis")
        labels = (
            [getattr(t, name) for t in side]
            for name in ("identity", "camera")
            for side in (query, gallery)
        )
        slow = retrieval_metrics(noisy(query), noisy(gallery), *labels, rule="sysu")
        expected = [
            slow.rank(1),
            slow.rank(5),
            slow.rank(10),
            slow.rank(20),
            slow.mAP,
            slow.mINP,
        ]
        np.testing.assert_allclose(scored[0][setting][trial], expected, atol=1e-12)


def test_ten_galleries_differ_and_their_mean_is_what_a_table_prints(scored):
    for scores in scored[0].values():
        assert scores.shape == (10, 6) and len(np.unique(scores[:, 4])) > 1
        assert protocols.mean(scores) == pytest.approx(
            {name: sum(scores[:, k]) / 10 for k, name in enumerate(protocols.COLUMNS)}
        )


def test_an_image_in_many_galleries_is_embedded_once(scored):
    (asked,) = scored[1]
    assert len(asked) == len(set(asked)) and {t.modality for t in asked} == {
        "vis",
        "ir",
    }


def test_features_that_know_everybody_reach_the_top(sysu_root):
    names = ["all-search;multi-shot", "indoor-search;single-shot"]
    found = protocols.sysu_scores(
        sysu_root,
        lambda tracklets: np.eye(64, dtype=np.float32)[[t.identity for t in tracklets]],
        settings=names,
    )
    assert list(found) == names and all(
        (scores == 1).all() for scores in found.values()
    )


def test_an_untrained_image_model_is_scored_on_all_galleries(sysu_root):
    settings = preset("tiny", "di2l", layout="sysu-mm01", frames=1)
    data = experiment.dataset(settings.data, sysu_root)
    method, reader = (
        experiment.build(settings, len(data.labels)),
        experiment.frames(settings.data, data, progress=False),
    )
    found = protocols.sysu_scores(
        sysu_root,
        lambda tracklets: evaluate.embed(method, tracklets, reader, 1),
        settings=["all-search;single-shot"],
    )
    first = evaluate.evaluate(method, data, reader, 1)["ir2vis"].metrics()
    assert found["all-search;single-shot"][0, 4] == pytest.approx(first.mAP, abs=1e-6)


def test_the_seeds_of_a_table_are_the_trials_of_regdb(tmp_path):
    root = synthetic.write(
        tmp_path / "set", preset="tiny", layout="regdb", progress=False
    )
    assert sorted(protocols.regdb_trial(seed) for seed in range(10)) == list(
        regdb.TRIALS
    )
    people = {
        frozenset(regdb.read(root, protocols.regdb_trial(seed)).labels)
        for seed in range(10)
    }
    assert len(people) == 10


def test_the_spread_over_trials_is_the_sample_deviation_and_zero_for_one():
    values = np.full((2, len(protocols.COLUMNS)), 0.5)
    values[1, 0] = 0.6
    two = protocols.format_mean("ir2vis;all", values, "trials")
    assert two.startswith("ir2vis, all  R1 55.00")
    assert two.endswith("(mean of 2 trials, R1 ± 7.07)")
    one = protocols.format_mean("ir2vis", values[:1], "trials")
    assert one.endswith("(mean of 1 trials, R1 ± 0.00)")
